"""The course works as it was cloned, in whatever folder it lies, and each notebook works alone."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from notebooks import build
from tests.conftest import ROOT, copy_of_the_course

NAMES = build.names()
pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or shutil.which("make") is None or sys.prefix == sys.base_prefix,
    reason="a fresh clone is tested with make and the virtual environment that make has made",
)


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A fresh clone in a folder with a space and brackets; its .venv is the one that runs this."""
    clone = copy_of_the_course(tmp_path_factory.mktemp("fresh") / "course [2026]")
    (clone / ".venv").mkdir()
    for path in Path(sys.prefix).iterdir():
        if path.name != "installed":
            (clone / ".venv" / path.name).symlink_to(path)
    (clone / ".venv" / "installed").touch()
    for overlay in ("colab", "ipykernel6", "axe"):
        (clone / ".overlays" / overlay).mkdir(parents=True)
        (clone / ".overlays" / overlay / "installed").touch()
    return clone


def make(clone, *arguments):
    environment = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    return subprocess.run(
        ["make", *arguments], cwd=clone, env=environment, capture_output=True, text=True
    )


def names_of_files(name):
    """The files that a notebook's code names."""
    code = build.script_of(name)
    code = re.sub(r"^#.*$", "", code, flags=re.MULTILINE)
    return set(re.findall(r"""["']([\w./-]+\.(?:safetensors|csv|tsv|pth|pt|json))["']""", code))


def read_or_write_files_of_an_earlier_one():
    met, found = set(), []
    for name in NAMES:
        if met & names_of_files(name):
            found.append(name)
        met |= names_of_files(name)
    return found


def test_make_works_in_a_folder_with_a_space_and_brackets(clone):
    done = make(clone, "colab", "REPO=someone/course")
    assert done.returncode == 0 and "now name someone/course" in done.stdout, done.stderr


def commands_of(page):
    """What a page tells to type, in a block or in a line of text, each once."""
    text = page.read_text(encoding="utf-8")
    blocks = "".join(re.findall(r"^ *```sh\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL))
    lines = [line.partition("#")[0].strip() for line in blocks.splitlines()]
    lines += re.findall(r"`((?:make|\.venv/bin/)[^`]+)`", text)
    return list(dict.fromkeys(lines))


COMMANDS = commands_of(ROOT / "CONTRIBUTING.md")
LONG = ["make test", "make bench", "make bench ONLY=explorer", "make images"]


def test_the_page_on_contributing_has_its_commands():
    assert set(LONG) < set(COMMANDS) and len(COMMANDS) >= 9


@pytest.mark.parametrize("command", COMMANDS)
def test_what_the_page_on_contributing_tells_to_type_works_in_such_a_folder(clone, command):
    program, *arguments = command.split()
    if command in LONG:
        done = make(clone, "--dry-run", *arguments)
    elif program == "make":
        done = make(clone, *arguments)
    else:
        done = subprocess.run(command, shell=True, cwd=clone, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_one_notebook_can_be_run_for_its_key_figure_in_such_a_folder(clone):
    command = [clone / ".venv" / "bin" / "python", "notebooks/build.py", "run", NAMES[0]]
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True)
    assert done.returncode == 0 and NAMES[0] in done.stdout, done.stderr[-3000:]


@pytest.mark.parametrize("name", read_or_write_files_of_an_earlier_one())
def test_a_notebook_passes_without_what_an_earlier_one_leaves_on_disk(clone, name):
    left = [clone / "notebooks" / file for file in names_of_files(name)]
    assert not any(path.exists() for path in left)
    done = make(clone, "test", f"ARGS=notebooks/{name}.ipynb")
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout[-3000:] + done.stderr


def test_the_classifier_that_two_notebooks_share_is_found():
    assert read_or_write_files_of_an_earlier_one() == ["06_8_using_the_classifier"]


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
def test_make_lab_finds_the_widgets_in_a_folder_with_brackets():
    """JupyterLab globs for its extensions, so that it finds them by a relative path only."""
    make = subprocess.run(["make", "-n", "lab"], cwd=ROOT, capture_output=True, text=True)
    assert "JUPYTER_PATH=.venv/share/jupyter" in make.stdout
