"""The notebooks as they lie in the folder: executed, paired, tidy, and honest about what is not
compared. That their outputs repeat is nbval's to say, which runs with these tests.
"""

import configparser
import re

import nbformat
import pytest
from tqdm import tqdm

from notebooks import build
from tests.conftest import ROOT
from tests.learners import answers
from workshop.exercises.prediction import questions
from workshop.exercises.tasks import TASKS
from workshop.exercises.trials import EXERCISES
from workshop.explorer import MODULE

NAMES = build.names()
NOTEBOOKS = {name: build.read(name) for name in NAMES}
SECTIONS = {f"6.{name[3]}": notebook for name, notebook in NOTEBOOKS.items()}


def code_cells(name):
    return build.code_cells(NOTEBOOKS[name])


def text_of(name):
    return "\n".join(cell.source for cell in NOTEBOOKS[name].cells if cell.cell_type == "markdown")


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_was_run_once_without_errors_and_holds_nothing_that_changes(name):
    notebook, code = NOTEBOOKS[name], code_cells(name)
    assert build.in_step(name), "its script differs: run `make notebooks`"
    nbformat.validate(notebook)
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    for cell in code:
        for output in cell.outputs:
            assert output.output_type != "error" and output.get("name") != "stderr", cell.source
            assert not re.search(r" at 0x[0-9a-f]{6}|/home/|/root/|/Users/|/tmp/", str(output))
    ids = [f"cell-{i:02d}" for i in range(1, len(notebook.cells) + 1)]
    assert notebook.metadata == build.NOTEBOOK_METADATA
    assert [cell.id for cell in notebook.cells] == ids
    assert code[0].metadata == build.FOLDED_AWAY
    assert build.WIDGET_VIEW not in nbformat.writes(notebook)
    assert (ROOT / "notebooks" / f"{name}.ipynb").stat().st_size < 400_000  # it opens quickly


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_has_the_parts_that_every_notebook_has(name):
    cells, code, text = NOTEBOOKS[name].cells, code_cells(name), text_of(name)
    section = name[:4].replace("06_", "6.")
    assert cells[0].source.startswith(f"# {section} ")
    assert "After this notebook you" in cells[0].source
    assert f"/blob/main/notebooks/{name}.ipynb)" in cells[0].source  # the Colab badge
    assert code[0].source == build.setup_cell()
    assert code[1].source == build.CHOICES
    assert "## Try it" in text and "## What to take away" in text
    assert "<details><summary>Solution</summary>" in text
    assert sum("key-figure" in cell.metadata.get("tags", []) for cell in code) == 1
    if name != NAMES[-1]:
        assert f"({NAMES[NAMES.index(name) + 1]}.ipynb)" in cells[-1].source
    (questions,) = [c.source for c in cells if re.match(r"## (Two|Five) questions", c.source)]
    numbers = re.findall(r"<details><summary>(\d)\. .*\?</summary>", questions)
    assert numbers == list("12" if "## Two" in questions else "12345")
    assert questions.count("</details>") == len(numbers)


FOLD = re.compile(r"<details>.*?</details>", re.DOTALL)
EXERCISE = re.compile(r"^> \*\*.+\*\* \((?:easy|medium|hard), (\d+) minutes\)", re.MULTILINE)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_not_all_reading(name):
    read = FOLD.sub("", text_of(name))  # without what is folded
    pieces = [c.source for c in NOTEBOOKS[name].cells if c.cell_type == "markdown"]
    assert max(len(FOLD.sub("", piece).split()) for piece in pieces) <= 120
    assert len(read.split()) < 50 * len(code_cells(name))


def test_each_section_and_appendix_has_a_notebook_and_links_between_them_lead_somewhere():
    assert [name[:4] for name in NAMES] == [f"06_{section}" for section in "12345678ABCDE"]
    for name in NAMES:
        for target in re.findall(r"\]\((?!http)([^)]+)\)", text_of(name)):
            path = target.partition("#")[0]
            assert (ROOT / "notebooks" / path).exists(), (name, target)


def test_cells_that_are_not_compared_are_listed_with_their_reason():
    page = (ROOT / "tests" / "NOT_COMPARED.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (06_\w+) \| `(.+)` \| .+ \|$", page, re.MULTILINE)
    listed, tagged = set(), set()
    for name in NAMES:
        for cell in code_cells(name):
            if any(name == row and cell.source.startswith(start) for row, start in rows):
                listed.add((name, cell.id))
            if "nbval" in " ".join(cell.metadata.get("tags", [])) or "NBVAL" in cell.source:
                tagged.add((name, cell.id))
    assert listed == tagged and len(listed) == len(rows) <= 18


def test_every_rule_of_the_sanitise_file_matches_a_saved_output():
    parser = configparser.RawConfigParser()
    parser.read(ROOT / "tests" / "sanitize.cfg", encoding="utf-8")  # as nbval reads it
    saved = "".join(str(cell.outputs) for name in NAMES for cell in code_cells(name))
    for rule in parser.sections():
        assert re.search(parser[rule]["regex"], saved), rule


def test_where_no_script_runs_6_5_shows_the_explorer_as_a_diagram_and_tables():
    code = code_cells("06_5_classification_head")
    (shown,) = [cell for cell in code if "FreezeExplorer(" in cell.source]
    html = shown.outputs[0].data["text/html"]
    assert f"{MODULE}\nstartPages();" in html, "the Explorer has changed: run `make notebooks`"
    assert 'alt="input: token ids (1, 4)\ntoken embedding  (tok_emb): 9,649,344 parameters' in html
    assert "<td>445,634</td><td>3.56 % trainable</td>" in html and "<td>50.1 MB</td>" in html


def test_6_5_without_the_step_that_replaces_the_head_ends_in_a_sentence_and_asks_nothing():
    page = build.read("06_5_classification_head")
    page.cells = [cell for cell in page.cells if "model.out_head = " not in cell.source]
    sentence = r"language-model head with 50,257 outputs; give it a new one"
    with pytest.raises(build.CannotBuild, match=sentence):
        build.execute("06_5", page, tqdm(disable=True))
    (asking,) = [cell for cell in page.cells if '"6.5 the shape with the new head"' in cell.source]
    assert [output.output_type for output in asking.outputs] == ["error"]


@pytest.mark.parametrize("exercise", EXERCISES)
def test_every_exercise_stands_on_its_page_with_a_solution_and_the_page_uses_it(exercise):
    checks = [check for _, check in answers(SECTIONS[exercise.split()[0]])]
    (check,) = [" ".join(check.split()) for check in checks if f'"{exercise}"' in check]
    assert re.search(rf'\w+ = check_code\( ?"{re.escape(exercise)}", \w+ ?\)', check)


@pytest.mark.parametrize("task", TASKS)
def test_every_short_task_stands_on_its_page(task):
    code = "\n".join(cell.source for cell in SECTIONS[task.split()[0]].cells)
    assert f'check("{task}", ' in code


def test_no_exercise_is_without_its_box_and_none_states_its_difficulty_twice():
    for name in NAMES:
        text = text_of(name)
        starts = re.findall(
            r"^(.*)\*\*(?:Write it|\d\.|[A-Z]\.) ?.*\d+ minutes", text, re.MULTILINE
        )
        assert set(starts) <= {"> "} and "difficulty" not in text


def test_every_question_is_asked_once_on_its_page_and_no_other_is():
    asked = []
    for section, page in SECTIONS.items():
        for cell in build.code_cells(page):
            names = re.findall(r'^predict\(\s*"([^"]+)"', cell.source, re.MULTILINE)
            assert all(name.split()[0] == section for name in names)
            asked += names
    assert sorted(asked) == sorted(questions())
    assert len(EXERCISES) == 14 and "fourteen functions" in (ROOT / "README.md").read_text("utf-8")


def test_the_last_cell_of_every_page_shows_its_progress_and_a_learner_answers_every_page(request):
    for section, page in SECTIONS.items():
        assert f'progress("{section}")' in build.code_cells(page)[-1].source
    pages = {item.path for item in request.session.items if item.name == "Cell 0"}
    learners = [item.path for item in request.session.items if item.name == "a learner's answers"]
    assert sorted(learners) == sorted(pages)
