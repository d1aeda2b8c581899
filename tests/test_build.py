"""`notebooks/build.py` executes, saves and stamps, or says why not, and leaves whole files."""

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


def test_tidying_strips_what_is_volatile_and_refuses_what_was_written_to_stderr():
    metadata = {"tags": ["a"], "execution": {"iopub.status.busy": "now"}}
    cell = nbformat.v4.new_code_cell("x", metadata=metadata)
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"widgets": {}})
    view = {build.WIDGET_VIEW: {"model_id": "1"}}
    bar = {"text/plain": "saving:  40%|████      | 2/5 [00:01<00:02]", **view}
    drawn = {"text/plain": "words", "image/svg+xml": "<svg/>"}
    table = {"text/html": "<table/>"}
    tidied = [{"text/plain": "[a progress bar: saving]"}]
    for data, left in ((bar, tidied), (drawn | table | view, [drawn, table])):
        cell.outputs = [nbformat.v4.new_output("display_data", data)]
        tidy = build.tidy(notebook)
        assert [output.data for output in tidy.cells[0].outputs] == left
        assert tidy.metadata == build.NOTEBOOK_METADATA
        assert tidy.cells[0].metadata == build.FOLDED_AWAY
    cell.outputs = [nbformat.v4.new_output("stream", name="stderr", text="a warning")]
    with pytest.raises(ValueError, match="cell 1 wrote to stderr:\na warning"):
        build.tidy(notebook)


@pytest.fixture
def course(tmp_path):
    """A course with the builder, and the notebooks `first` and `second`, executed and in step."""
    (tmp_path / "notebooks" / "scripts").mkdir(parents=True)
    (tmp_path / "helpers").mkdir()
    for name in ("__init__", "config", "download"):
        shutil.copy(ROOT / "helpers" / f"{name}.py", tmp_path / "helpers")
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


def add_cell(source):
    def add(course):
        with script(course).open("a", encoding="utf-8", newline="\n") as file:
            file.write(f"\n# %%\n{source}\n")

    return add


def spoil(name, content):
    return lambda course: (course / "notebooks" / name).write_bytes(content)


@pytest.fixture
def build_py(course, monkeypatch, capsys):
    """Runs the course's own build.py; returns what it printed, and its refusal or None."""

    def run(*arguments):
        path = str(course / "notebooks" / "build.py")
        monkeypatch.setattr(sys, "path", sys.path.copy())
        monkeypatch.setattr(sys, "argv", [path, *arguments])
        try:
            runpy.run_path(path, run_name="__main__")
        except SystemExit as end:
            return "", f"{capsys.readouterr().err}{end.code}"
        return capsys.readouterr().out, None

    return run


def everything_in(course):
    return {
        path.relative_to(course).as_posix(): path.read_bytes()
        for path in course.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


FIRST_FROM_PY = ["save", "--from", "py", "first"]
SAVE = ["save", "first"]
EMPTY = b'{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
FAULTS = {  # what was done to the course, the command, what must be said
    "an unknown notebook": (
        None, ["save", "06_9"], "no notebook is called '06_9'; there are first, second",
    ),
    "a script and a notebook that differ": (
        add_cell("1 + 1"), SAVE,
        "first: the notebook and its script differ; say which one holds: FROM=py or FROM=ipynb",
    ),
    "a conflict in the notebook": (
        spoil("first.ipynb", b"<<<<<<< HEAD\n{}"), SAVE, "first.ipynb is no whole notebook",
    ),
    "a script that is not UTF-8": (
        spoil("scripts/first.py", b"# %%\n'\xe9'"), FIRST_FROM_PY, "first.py is not UTF-8",
    ),
    "a page without choices": (
        spoil("first.ipynb", EMPTY), ["run"],
        "first needs a second code cell, for the two choices, and one tagged key-figure",
    ),
    "a cell that raises": (
        add_cell("one / 0"), FIRST_FROM_PY,
        "first, cell 5 raised ZeroDivisionError: division by zero",
    ),
    "a cell that writes to stderr": (
        add_cell("import sys; print('a warning', file=sys.stderr)"), FIRST_FROM_PY,
        "first, cell 5 wrote to stderr:\na warning",
    ),
    "a kernel that dies": (
        add_cell("import os; os._exit(1)"), FIRST_FROM_PY, "first, cell 5: the kernel died",
    ),
    **{
        f"colab {wrong!r}": (None, ["colab", wrong], f"{wrong!r} is not owner/name")
        for wrong in ("name", "https://github.com/a/b", "a/b.git", "a/b\n")
    },
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_what_goes_wrong_ends_in_a_sentence_and_changes_nothing(course, build_py, fault):
    prepare, arguments, expected = FAULTS[fault]
    if prepare:
        prepare(course)
    before = everything_in(course)
    _, said = build_py(*arguments)
    assert expected in said and everything_in(course) == before


@pytest.mark.skipif(sys.platform == "win32", reason="Windows can't send SIGINT to one process")
def test_an_interruption_while_a_cell_runs_leaves_whole_files(course):
    add_cell("import time; open('../begun', 'w').close(); time.sleep(60)")(course)
    before = everything_in(course)
    command = [sys.executable, course / "notebooks" / "build.py", *FIRST_FROM_PY]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as child:
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
    add_cell("print('new')")(course)
    _, said = build_py("save", "--from", "py", "notebooks/first.ipynb", "scripts/first.py")
    assert said is None
    saved = build.read("first", course / "notebooks")
    assert saved.cells[-1].outputs[0].text == "new\n" and saved.cells[-1].execution_count == 4
    assert build.in_step("first", course / "notebooks")
    assert build.read("second", course / "notebooks").cells[-1].execution_count is None
    left = {path.name for path in (course / "notebooks").iterdir()} - {"__pycache__"}
    assert left == {"build.py", "first.ipynb", "second.ipynb", "repository.txt", "scripts"}
    printed, said = build_py("run", "second")
    assert said is None and "one is 1" in printed and "first" not in printed


def test_stamping_puts_the_address_everywhere_and_keeps_pairs_in_step(tmp_path):
    copy = copy_of_the_course(tmp_path)
    old = (copy / "notebooks" / "repository.txt").read_text(encoding="utf-8").strip()
    in_step = [build.in_step(name, copy / "notebooks") for name in NAMES]
    changed = build.stamp("someone/my.course-2", copy)
    assert {path.name for path in changed} >= {"README.md", "repository.txt"}
    assert len([path for path in changed if path.suffix != ".md"]) == 2 * len(NAMES) + 1
    for path in changed:
        text = path.read_text(encoding="utf-8")
        assert old not in text and "someone/my.course-2" in text
    assert [build.in_step(name, copy / "notebooks") for name in NAMES] == in_step
    assert build.stamp("someone/my.course-2", copy) == []
    build.stamp(old, copy)
    for path in changed:
        assert path.read_bytes() == (ROOT / path.relative_to(copy)).read_bytes()


def test_a_page_that_came_later_is_stamped_the_next_time(course):
    build.stamp("first/name", course)
    later = course / "later.md"
    for old in ("first/name", build.TEMPLATE):
        later.write_text(f"https://github.com/{old}.git", encoding="utf-8")
        assert later in build.stamp("second/name", course)
        assert later.read_text(encoding="utf-8") == "https://github.com/second/name.git"
