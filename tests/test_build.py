"""`notebooks/build.py` executes, saves and stamps, or says why not, and leaves whole files."""

import re
import runpy
import shutil
import signal
import subprocess
import sys
import time

import jupytext
import nbformat
import pytest
from tqdm import tqdm

from notebooks import build
from tests.conftest import ROOT, copy_of_the_course

NAMES = build.names()
PAGE = """\
# %% [markdown]
# # A page

# %%
one = 1

# %%
choices = "go here"

# %% tags=["key-figure"]
print("one is", one)
"""


def test_tidying_strips_what_is_volatile():
    metadata = {"tags": ["a"], "execution": {"iopub.status.busy": "now"}}
    cell = nbformat.v4.new_code_cell("x", metadata=metadata)
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"widgets": {}})
    view = {build.WIDGET_VIEW: {"model_id": "1"}}
    bar = {"text/plain": "saving:  40%|████      | 2/5 [00:01<00:02]"}
    drawn = {"text/plain": "words", "image/svg+xml": "<svg/>"}
    table = {"text/html": "<table/>"}
    cell.outputs = [
        nbformat.v4.new_output("display_data", data) for data in (bar | view, drawn | table | view)
    ]
    tidy = build.tidy(notebook)
    shown = [output.data for output in tidy.cells[0].outputs]
    assert shown == [{"text/plain": "[a progress bar: saving]"}, drawn, table]
    assert tidy.metadata == build.NOTEBOOK_METADATA
    assert tidy.cells[0].metadata == build.FOLDED_AWAY


def test_the_code_of_a_cell_that_would_give_an_answer_away_can_be_folded():
    cells = [nbformat.v4.new_code_cell("setup")]
    for tags in (["hide-input", "nbval-ignore-output"], ["key-figure"]):
        cells.append(nbformat.v4.new_code_cell("x", metadata={"tags": tags}))
    tidy = build.tidy(nbformat.v4.new_notebook(cells=cells))
    assert tidy.cells[1].metadata == {
        "jupyter": {"source_hidden": True},
        "tags": ["hide-input", "nbval-ignore-output"],
    }
    assert tidy.cells[2].metadata == {"tags": ["key-figure"]}


@pytest.fixture
def course(tmp_path):
    """A course with the builder, and the notebooks `first` and `second`, executed and in step."""
    (tmp_path / "notebooks" / "scripts").mkdir(parents=True)
    (tmp_path / "helpers").mkdir()
    for path in (ROOT / "helpers").glob("*.py"):
        shutil.copy(path, tmp_path / "helpers")
    shutil.copy(ROOT / "notebooks" / "build.py", tmp_path / "notebooks")
    (tmp_path / "README.md").write_text(f"github.com/{build.TEMPLATE}", encoding="utf-8")
    (tmp_path / "notebooks" / "repository.txt").write_text(build.TEMPLATE, encoding="utf-8")
    for name in ("first", "second"):
        notebook = jupytext.reads(PAGE, fmt="py:percent")
        for number, cell in enumerate(notebook.cells):
            cell.id = f"cell-{number}"
        nbformat.write(notebook, tmp_path / "notebooks" / f"{name}.ipynb")
        script(tmp_path, name).write_text(build.to_script(notebook), encoding="utf-8")
    return tmp_path


def script(course, name="first"):
    return course / "notebooks" / "scripts" / f"{name}.py"


def add_cell(course, source):
    script(course).write_bytes(script(course).read_bytes() + f"\n# %%\n{source}\n".encode())


@pytest.fixture
def build_py(course, monkeypatch, capsys):
    """Runs the course's own build.py; returns what it printed, its refusal at the end."""

    def run(*arguments):
        path = str(course / "notebooks" / "build.py")
        monkeypatch.setattr(sys, "path", sys.path.copy())
        monkeypatch.setattr(sys, "argv", [path, *arguments])
        try:
            runpy.run_path(path, run_name="__main__")
        except SystemExit as end:
            print(f"refused: {end.code}")
        return "".join(capsys.readouterr())

    return run


def everything_in(course):
    files = [path for path in course.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    return {path.relative_to(course).as_posix(): path.read_bytes() for path in files}


FIRST_FROM_PY = ["save", "--from", "py", "first"]
DIFFER = "first: the notebook and its script differ; say which one holds: FROM=py or FROM=ipynb"
NO_CHOICES = "first needs a second code cell, for the two choices, and one tagged key-figure"
EMPTY = b'{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
FAULTS = [  # a cell that is added, or a file and its content; the command; what must be said
    (None, ["save", "06_9"], "no notebook is called '06_9'; there are first, second"),
    ("1 + 1", ["save", "first"], DIFFER),
    (("first.ipynb", b"<<<<<<< HEAD\n{}"), ["save", "first"], "first.ipynb is no whole notebook"),
    (("scripts/first.py", b"# %%\n'\xe9'"), FIRST_FROM_PY, "first.py is not UTF-8"),
    (("first.ipynb", EMPTY), ["run"], NO_CHOICES),
    ("one / 0", FIRST_FROM_PY, "first, cell 5 raised ZeroDivisionError: division by zero"),
    ("import sys; print('a warning', file=sys.stderr)", FIRST_FROM_PY, "first, cell 5 wrote to stderr:\na warning"),
    ("import os; os._exit(1)", FIRST_FROM_PY, "first, cell 5: the kernel died"),
    (None, ["colab", "https://github.com/a/b"], "'https://github.com/a/b' is not owner/name"),
    (None, ["colab", "a/b.git"], "'a/b.git' is not owner/name"),
    (None, ["colab", "a/b\n"], r"'a/b\n' is not owner/name"),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "arguments", "expected"), FAULTS)
def test_what_goes_wrong_ends_in_a_sentence_and_changes_nothing(
    course, build_py, fault, arguments, expected
):
    if isinstance(fault, tuple):
        (course / "notebooks" / fault[0]).write_bytes(fault[1])
    elif fault:
        add_cell(course, fault)
    before = everything_in(course)
    said = build_py(*arguments)
    assert "refused" in said and expected in said and everything_in(course) == before


@pytest.mark.skipif(sys.platform == "win32", reason="Windows can't send SIGINT to one process")
def test_an_interruption_while_a_cell_runs_leaves_whole_files(course):
    add_cell(course, "import time; open('../begun', 'w').close(); time.sleep(60)")
    before = everything_in(course)
    command = [sys.executable, course / "notebooks" / "build.py", *FIRST_FROM_PY]
    settings = {"stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(command, **settings) as child:
        while not (course / "begun").exists() and child.poll() is None:
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        said = child.stderr.read()
    (course / "begun").unlink()
    assert child.returncode != 0 and everything_in(course) == before
    assert "interrupted: what was saved before is whole" in said and "Traceback" not in said


def test_a_cell_that_does_not_end_is_named(monkeypatch):
    monkeypatch.setattr(build, "SECONDS_A_CELL", 1)
    notebook = jupytext.reads("# %%\n1\n\n# %%\nimport time; time.sleep(60)", "py:percent")
    with pytest.raises(build.CannotBuild, match="first, cell 2 took more than 1 seconds"):
        build.execute("first", notebook, tqdm(disable=True))


def test_a_notebook_can_be_named_by_its_path_and_both_files_are_written(course, build_py):
    add_cell(course, "print('new')")
    build_py("save", "--from", "py", "notebooks/first.ipynb", "scripts/first.py")
    saved = build.read("first", course / "notebooks")
    assert saved.cells[-1].outputs[0].text == "new\n" and saved.cells[-1].execution_count == 4
    assert build.in_step("first", course / "notebooks")
    assert build.read("second", course / "notebooks").cells[-1].execution_count is None
    left = {path.name for path in (course / "notebooks").iterdir()} - {"__pycache__"}
    assert left == {"build.py", "first.ipynb", "second.ipynb", "repository.txt", "scripts"}
    printed = build_py("run", "second")
    assert "one is 1" in printed and "first" not in printed
    seconds = re.findall(r"^(?:first|second|in all) +(\d+\.\d)", build_py("run"), re.MULTILINE)
    first, second, in_all = map(float, seconds)
    assert in_all == pytest.approx(first + second, abs=0.2)


def test_a_raw_cell_stays_one_in_both_files(course, build_py):
    path = course / "notebooks" / "first.ipynb"
    notebook = nbformat.read(path, 4)
    notebook.cells.append(nbformat.v4.new_raw_cell("neither code nor text"))
    nbformat.write(notebook, path)
    assert "refused" not in build_py("save", "--from", "ipynb", "first")
    assert build.in_step("first", course / "notebooks")
    assert build.read("first", course / "notebooks").cells[-1].cell_type == "raw"
    assert "# %% [raw]\n# neither code" in script(course).read_text(encoding="utf-8")


def test_an_error_while_the_second_file_of_a_pair_is_written_leaves_both(course, build_py):
    script(course).unlink()
    (script(course) / "mine").mkdir(parents=True)
    before = everything_in(course)
    said = build_py("save", "--from", "ipynb", "first")
    assert "first.py can't be written" in said and "what was saved before is whole" in said
    assert everything_in(course) == before


def test_stamping_puts_the_address_everywhere_and_keeps_pairs_in_step(tmp_path):
    copy = copy_of_the_course(tmp_path)
    old = (copy / "notebooks" / "repository.txt").read_text(encoding="utf-8").strip()
    later = copy / "later.md"  # a page that came after an earlier stamping
    later.write_text(f"https://github.com/{build.TEMPLATE}.git", encoding="utf-8")
    in_step = [build.in_step(name, copy / "notebooks") for name in NAMES]
    changed = build.stamp("someone/my.course-2", copy)
    assert {later.name, "README.md", "repository.txt"} <= {path.name for path in changed}
    assert len([path for path in changed if path.suffix != ".md"]) == 2 * len(NAMES) + 1
    for path in changed:
        text = path.read_text(encoding="utf-8")
        assert old not in text and build.TEMPLATE not in text and "someone/my.course-2" in text
    assert [build.in_step(name, copy / "notebooks") for name in NAMES] == in_step
    assert build.stamp("someone/my.course-2", copy) == []
    build.stamp(old, copy)
    for path in set(changed) - {later}:
        assert path.read_bytes() == (ROOT / path.relative_to(copy)).read_bytes()
