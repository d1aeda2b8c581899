"""The notebooks as they lie in the folder: executed, paired, tidy, and honest about what is not
compared.

That their outputs repeat is nbval's to say, which runs with these tests.
"""

import base64
import configparser
import re
import shutil
import warnings

import nbformat
import pytest
from nbconvert import HTMLExporter

from helpers.config import MODEL_CONFIGS
from notebooks import build
from tests.conftest import ROOT

NAMES = build.names()
NOTEBOOKS = {name: nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", 4) for name in NAMES}


def code_cells(name):
    return [cell for cell in NOTEBOOKS[name].cells if cell.cell_type == "code"]


def text_of(name):
    return "\n".join(cell.source for cell in NOTEBOOKS[name].cells if cell.cell_type == "markdown")


def test_there_is_one_notebook_for_each_section_and_appendix():
    assert [name[:4] for name in NAMES] == [f"06_{section}" for section in "12345678ABCDE"]
    assert sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_and_its_script_are_in_step(name):
    assert build.in_step(name), f"run `make notebooks`: {name}"


def test_a_pair_out_of_step_is_noticed(tmp_path):
    shutil.copytree(ROOT / "notebooks" / "scripts", tmp_path / "scripts")
    shutil.copy(ROOT / "notebooks" / f"{NAMES[0]}.ipynb", tmp_path)
    assert build.in_step(NAMES[0], tmp_path)
    script = tmp_path / "scripts" / f"{NAMES[0]}.py"
    script.write_text(script.read_text(encoding="utf-8").replace("spam", "Spam", 1))
    assert not build.in_step(NAMES[0], tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_was_run_once_from_top_to_bottom_without_errors(name):
    nbformat.validate(NOTEBOOKS[name])
    assert [cell.execution_count for cell in code_cells(name)] == list(
        range(1, len(code_cells(name)) + 1)
    )
    for cell in code_cells(name):
        for output in cell.outputs:
            assert output.output_type != "error" and output.get("name") != "stderr", cell.source


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_holds_nothing_that_changes_from_run_to_run(name):
    notebook = NOTEBOOKS[name]
    assert notebook.metadata == build.NOTEBOOK_METADATA
    assert [cell.id for cell in notebook.cells] == [
        f"cell-{i:02d}" for i in range(1, len(notebook.cells) + 1)
    ]
    setup = code_cells(name)[0]
    assert setup.metadata == build.FOLDED_AWAY
    assert all(set(cell.metadata) <= {"tags"} for cell in notebook.cells if cell is not setup)
    assert build.WIDGET_VIEW not in nbformat.writes(notebook)
    printed = "".join(str(output) for cell in code_cells(name) for output in cell.outputs)
    assert not re.search(r" at 0x[0-9a-f]{6}|/home/|/root/|/Users/|/tmp/", printed)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_has_the_parts_that_every_notebook_has(name):
    cells, first = NOTEBOOKS[name].cells, NOTEBOOKS[NAMES[0]].cells
    section = name[:4].replace("06_", "6.")
    assert (
        cells[0].source.startswith(f"# {section} ") and "After this notebook you" in cells[0].source
    )
    assert f"/blob/main/notebooks/{name}.ipynb)" in cells[0].source  # the Colab badge
    code = code_cells(name)
    assert code[0].source == code_cells(NAMES[0])[0].source  # the same setup cell everywhere
    assert code[1].source == build.CHOICES
    assert "## Try it" in text_of(name) and "## What to take away" in text_of(name)
    assert "<details><summary>Solution</summary>" in text_of(name)
    assert sum("key-figure" in cell.metadata.get("tags", []) for cell in code) == 1
    if name != NAMES[-1]:
        assert f"({NAMES[NAMES.index(name) + 1]}.ipynb)" in cells[-1].source
    assert first[0].cell_type == "markdown"


FOLD = re.compile(r"<details>.*?</details>", re.DOTALL)
EXERCISE = re.compile(r"^\*\*.+\*\* (?:difficulty .*?|\((?:[a-z]+, )?)(\d+) minutes", re.MULTILINE)
WRITE_IT = re.compile(
    r"^\*\*Write it: .+\*\* difficulty (●+)(○*) \((\d) of 5\), "
    r"importance (●+)(○*) \((\d) of 5\), \d+ minutes\.?$",
    re.MULTILINE,
)
WORDS_A_MINUTE, MINUTES_A_PREDICTION = 200, 0.5


def read_words(name):
    """The words of each text cell, without what is folded."""
    cells = [cell for cell in NOTEBOOKS[name].cells if cell.cell_type == "markdown"]
    return [len(FOLD.sub("", cell.source).split()) for cell in cells]


@pytest.mark.parametrize("name", NAMES)
def test_there_is_more_to_do_than_to_read(name):
    words = read_words(name)
    assert max(words) <= 120
    assert sum(words) / len(code_cells(name)) < 50


@pytest.mark.parametrize("name", NAMES)
def test_the_minutes_stated_are_those_that_reading_and_doing_take(name):
    (stated,) = re.findall(r"About (\d+) minutes", NOTEBOOKS[name].cells[0].source)
    predictions = sum(cell.source.count("predict(") for cell in code_cells(name))
    doing = sum(map(int, EXERCISE.findall(text_of(name)))) + MINUTES_A_PREDICTION * predictions
    minutes = sum(read_words(name)) / WORDS_A_MINUTE + doing
    assert minutes <= int(stated) <= min(40, minutes + 7)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_to_be_written_says_how_hard_and_how_important_it_is(name):
    exercises = WRITE_IT.findall(text_of(name))
    for full, rest, number, full_2, rest_2, number_2 in exercises:
        assert len(full) == int(number) and len(full_2) == int(number_2)
        assert len(full + rest) == len(full_2 + rest_2) == 5
    checks = [cell for cell in code_cells(name) if re.search(r"^check_code\(", cell.source, re.M)]
    assert len(exercises) == text_of(name).count("**Write it") == len(checks)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_ends_with_five_questions_and_ones_own_progress(name):
    (questions,) = [
        cell.source for cell in NOTEBOOKS[name].cells if cell.source.startswith("## Five questions")
    ]
    numbers = re.findall(r"<details><summary>(\d)\. .*\?</summary>", questions)
    assert numbers == list("12345") and questions.count("</details>") == 5
    section = name[:4].replace("06_", "6.")
    assert f'progress("{section}")' in code_cells(name)[-1].source


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_opens_quickly(name):
    assert (ROOT / "notebooks" / f"{name}.ipynb").stat().st_size < 400_000


@pytest.mark.parametrize("name", [name for name in NAMES if "06_2" <= name < "06_9"])
def test_a_section_draws_the_learners_own_choice(name):
    drawn = [
        cell for cell in code_cells(name) if re.search(r"^(draw_|Slides\()", cell.source, re.M)
    ]
    pictures = [
        cell for cell in drawn if any("image/svg+xml" in o.get("data", {}) for o in cell.outputs)
    ]
    assert pictures and any("CHOOSE_" in cell.source for cell in code_cells(name)[2:])


def test_links_between_notebooks_lead_somewhere():
    for name in NAMES:
        for target in re.findall(r"\]\((?!http)([^)]+)\)", text_of(name)):
            assert (ROOT / "notebooks" / target).exists(), (name, target)


def test_every_model_of_a_choice_exists():
    source = code_cells(NAMES[0])[1].source
    assert set(re.findall(r'"(gpt2-[^"]+)"', source)) <= set(MODEL_CONFIGS)


def test_cells_that_are_not_compared_are_listed_with_their_reason():
    page = (ROOT / "tests" / "NOT_COMPARED.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (06_\w+) \| `(.+)` \| .+ \|$", page, re.MULTILINE)
    listed = {
        (name, cell.id)
        for name, start in rows
        for cell in code_cells(name)
        if cell.source.startswith(start)
    }
    tagged = {
        (name, cell.id)
        for name in NAMES
        for cell in code_cells(name)
        if any(tag.startswith("nbval") for tag in cell.metadata.get("tags", []))
        or "NBVAL" in cell.source
    }
    assert listed == tagged and len(listed) == len(rows) <= 17


def test_every_rule_of_the_sanitise_file_loads_and_matches_a_saved_and_a_live_output():
    text = (ROOT / "tests" / "sanitize.cfg").read_text(encoding="utf-8")
    rules = re.findall(r"^regex: (.*)\nreplace: (.*)$", text, re.MULTILINE)
    assert len(rules) == text.count("regex:") == text.count("replace:")
    parser = configparser.ConfigParser()
    parser.read_string(text)  # as nbval does: a section for each rule
    assert len(parser.sections()) == len(rules)
    saved = []
    for name in NAMES:
        for cell in code_cells(name):
            for output in cell.outputs:
                data = output.get("data", {})
                saved += [data[kind] for kind in ("text/plain", "text/html") if kind in data]
    for regex, _ in rules:
        assert any(re.search(regex, text) for text in saved), regex
    bars = [text for text in saved if text.startswith("[a progress bar")]
    for bar in [*bars, "fine-tuning:   0%|          | 0/435 [00:00<?, ?step/s]"]:
        assert re.sub(*rules[0], bar) == rules[0][1], bar


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_reads_as_a_page_without_a_kernel(name):
    with warnings.catch_warnings(action="error"):
        page, _ = HTMLExporter(template_name="lab").from_notebook_node(NOTEBOOKS[name])
    assert "widget-view" not in page and "model not found" not in page.lower()


def test_where_nothing_is_live_the_explorer_is_a_picture_and_a_table():
    page, _ = HTMLExporter(template_name="lab").from_notebook_node(
        NOTEBOOKS["06_5_classification_head"]
    )
    shown = page[page.index("FreezeExplorer</span>") : page.index("say_reach</span>")]
    (picture,) = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', shown)
    assert "ends here</text>" in base64.b64decode(picture).decode()
    assert "<td>445,634</td><td>3.56 % trainable</td>" in shown and "<td>50.1 MB</td>" in shown


def test_where_nothing_is_live_the_lab_is_a_picture_and_a_table_without_anybodys_runs():
    page, _ = HTMLExporter(template_name="lab").from_notebook_node(NOTEBOOKS["06_B_freeze_lab"])
    shown = page[page.index("FreezeLab</span>") : page.index("draw_runs</span>")]
    (picture,) = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', shown)
    assert "445,634 of 12,515,906 parameters trainable" in base64.b64decode(picture).decode()
    assert "<td>0.001</td>" in shown and "<p>No run yet.</p>" in shown
