"""The notebooks as they lie in the folder: executed, paired, tidy, and honest about what is not
compared. That their outputs repeat is nbval's to say, which runs with these tests.
"""

import base64
import configparser
import re
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
    assert all(set(cell.metadata) <= {"tags"} for cell in notebook.cells if cell is not code[0])
    assert build.WIDGET_VIEW not in nbformat.writes(notebook)
    assert (ROOT / "notebooks" / f"{name}.ipynb").stat().st_size < 400_000  # it opens quickly


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_has_the_parts_that_every_notebook_has(name):
    cells, code, text = NOTEBOOKS[name].cells, code_cells(name), text_of(name)
    section = name[:4].replace("06_", "6.")
    assert cells[0].source.startswith(f"# {section} ")
    assert "After this notebook you" in cells[0].source
    assert f"/blob/main/notebooks/{name}.ipynb)" in cells[0].source  # the Colab badge
    assert code[0].source == code_cells(NAMES[0])[0].source  # the same setup cell everywhere
    assert code[1].source == build.CHOICES
    assert "## Try it" in text and "## What to take away" in text
    assert "<details><summary>Solution</summary>" in text
    assert sum("key-figure" in cell.metadata.get("tags", []) for cell in code) == 1
    if name != NAMES[-1]:
        assert f"({NAMES[NAMES.index(name) + 1]}.ipynb)" in cells[-1].source
    (questions,) = [c.source for c in cells if c.source.startswith("## Five questions")]
    numbers = re.findall(r"<details><summary>(\d)\. .*\?</summary>", questions)
    assert numbers == list("12345") and questions.count("</details>") == 5
    assert f'progress("{section}")' in code[-1].source


FOLD = re.compile(r"<details>.*?</details>", re.DOTALL)
EXERCISE = re.compile(r"^\*\*.+\*\* (?:difficulty .*?|\((?:[a-z]+, )?)(\d+) minutes", re.MULTILINE)
WORDS_A_MINUTE, MINUTES_A_PREDICTION = 200, 0.5


@pytest.mark.parametrize("name", NAMES)
def test_there_is_more_to_do_than_to_read_and_the_minutes_stated_are_those_it_takes(name):
    # the words of each text cell, without what is folded
    cells = [cell.source for cell in NOTEBOOKS[name].cells if cell.cell_type == "markdown"]
    words = [len(FOLD.sub("", cell).split()) for cell in cells]
    assert max(words) <= 120
    assert sum(words) / len(code_cells(name)) < 50
    (stated,) = re.findall(r"About (\d+) minutes", cells[0])
    predictions = sum(cell.source.count("predict(") for cell in code_cells(name))
    doing = sum(map(int, EXERCISE.findall(text_of(name)))) + MINUTES_A_PREDICTION * predictions
    minutes = sum(words) / WORDS_A_MINUTE + doing
    assert minutes <= int(stated) <= min(40, minutes + 7)


@pytest.mark.parametrize("name", [name for name in NAMES if "06_2" <= name < "06_9"])
def test_a_section_draws_the_learners_own_choice(name):
    code = code_cells(name)
    drawn = [cell for cell in code if re.search(r"^(draw_|Slides\()", cell.source, re.M)]
    outputs = [output for cell in drawn for output in cell.outputs]
    assert any("image/svg+xml" in output.get("data", {}) for output in outputs)
    assert any("CHOOSE_" in cell.source for cell in code[2:])


def test_each_section_and_appendix_has_a_notebook_and_links_between_them_lead_somewhere():
    assert [name[:4] for name in NAMES] == [f"06_{section}" for section in "12345678ABCDE"]
    assert sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb")) == NAMES
    for name in NAMES:
        for target in re.findall(r"\]\((?!http)([^)]+)\)", text_of(name)):
            assert (ROOT / "notebooks" / target).exists(), (name, target)
    assert set(re.findall(r'"(gpt2-[^"]+)"', build.CHOICES)) <= set(MODEL_CONFIGS)


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
    assert listed == tagged and len(listed) == len(rows) <= 17


def test_every_rule_of_the_sanitise_file_matches_a_saved_output():
    parser = configparser.RawConfigParser()
    parser.read(ROOT / "tests" / "sanitize.cfg", encoding="utf-8")  # as nbval reads it
    saved = "".join(str(cell.outputs) for name in NAMES for cell in code_cells(name))
    for rule in parser.sections():
        assert re.search(parser[rule]["regex"], saved), rule
    live, (bar, *_) = "fine-tuning:   0%|          | 0/435 [00:00<?, ?step/s]", parser.sections()
    assert re.sub(parser[bar]["regex"], parser[bar]["replace"], live) == parser[bar]["replace"]


SHOWN = {  # the notebook, what its widget shows where nothing is live, and of its picture
    "06_5_classification_head": ["<td>445,634</td><td>3.56 % trainable</td>", "<td>50.1 MB</td>"],
    "06_B_freeze_lab": ["<td>0.001</td>", "<p>No run yet.</p>"],
}
DRAWN = {
    "06_5_classification_head": "stops here</text>",
    "06_B_freeze_lab": "445,634 of 12,515,906 parameters trainable",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_reads_as_a_page_without_a_kernel_or_anybodys_runs(name):
    with warnings.catch_warnings(action="error"):
        page, _ = HTMLExporter(template_name="lab").from_notebook_node(NOTEBOOKS[name])
    assert "widget-view" not in page and "model not found" not in page.lower()
    for words in SHOWN.get(name, []):
        assert words in page
    encoded = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', page)
    pictures = "".join(base64.b64decode(picture).decode() for picture in encoded)
    assert DRAWN.get(name, "") in pictures
