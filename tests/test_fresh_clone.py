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
    made = [clone / ".venv" / "lab", clone / ".venv" / "dev"]
    made += [clone / ".overlays" / name / "installed" for name in ("colab", "ipykernel6", "axe")]
    (clone / ".venv").mkdir()
    for path in Path(sys.prefix).iterdir():
        if path.name not in ("lab", "dev"):
            (clone / ".venv" / path.name).symlink_to(path)
    for path in made:  # in this order, since make compares their times
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return clone


def make(clone, *arguments):
    environment = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    return subprocess.run(
        ["make", *arguments], cwd=clone, env=environment, capture_output=True, text=True
    )


def test_a_notebook_runs_for_its_key_figure_in_a_folder_with_a_space_and_brackets(clone):
    command = [clone / ".venv" / "bin" / "python", "notebooks/build.py", "run", NAMES[0]]
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    heading, row, _ = done.stdout.splitlines()
    assert heading.split() == ["notebook", "seconds", "key", "figure"] and NAMES[0] in row


def test_make_lab_installs_what_a_learner_needs_and_finds_the_widgets(clone):
    """JupyterLab globs for its extensions, so that it finds them by a relative path only."""
    dry = make(clone, "--dry-run", "lab").stdout
    assert "JUPYTER_PATH=.venv/share/jupyter" in dry and "pip" not in dry
    (clone / ".venv" / "lab").unlink()
    dry = make(clone, "--dry-run", "lab").stdout
    for name in ("lab", "dev"):  # in this order, since make compares their times
        (clone / ".venv" / name).touch()
    assert "requirements-lab.txt" in dry and "requirements-dev.txt" not in dry


PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCKS = "".join(re.findall(r"^ *```sh\n(.*?)^ *```", PAGE, re.MULTILINE | re.DOTALL))
COMMANDS = [line.partition("#")[0].strip() for line in BLOCKS.splitlines()]
COMMANDS += re.findall(r"`((?:make|\.venv/bin/)[^`]+)`", PAGE)
LONG = ["make test", "make proofs", "make bench", "make bench ONLY=explorer", "make images"]


@pytest.mark.proof
@pytest.mark.parametrize("command", dict.fromkeys(COMMANDS))
def test_what_the_page_on_contributing_tells_to_type_works_in_such_a_folder(clone, command):
    program, *arguments = command.split()
    if command in LONG:
        done = make(clone, "--dry-run", *arguments)
    elif program == "make":
        done = make(clone, *arguments)
    else:
        done = subprocess.run(command, shell=True, cwd=clone, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
