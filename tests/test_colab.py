"""Plays Colab: ipywidgets 7.7.1, no jupyterlab, one notebook alone, the rest to be cloned."""

import os
import shutil
import subprocess
import sys

import nbformat
import pytest

from notebooks.build import key_figure
from tests.conftest import ROOT, copy_of_the_course

OVERLAY = ROOT / ".overlays" / "colab"
NAME = "06_5_classification_head"
VERSIONS = """import ipywidgets, pandas, sys
print(ipywidgets.__version__, pandas.__version__, sys.modules["jupyterlab"])"""
BLOCK = """import sys, types
sys.modules["jupyterlab"] = None  # there is none in Colab
sys.modules["google.colab"] = types.ModuleType("google.colab")
"""
pytestmark = pytest.mark.skipif(
    not OVERLAY.exists(), reason="`make test` first installs ipywidgets 7.7.1 into .overlays/colab"
)


def output_of(*command, **settings) -> str:
    """What a command prints; its complaint is shown where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, **settings)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_the_widgets_work_with_colabs_ipywidgets():
    settings = {"cwd": ROOT, "env": {**os.environ, "PYTHONPATH": str(OVERLAY)}}
    version = "import ipywidgets; print(ipywidgets.__version__)"
    assert output_of(sys.executable, "-c", version, **settings) == "7.7.1\n"
    names = ("", "_lab", "_microscope", "_slides", "_dashboard", "_own_classes")
    files = [f"tests/test_widgets{name}.py" for name in names]
    command = (sys.executable, "-m", "pytest", "-q", *files, "-k", "not random")
    assert " passed" in output_of(*command, **settings)


@pytest.mark.proof
def test_section_6_5_runs_in_colab_from_nothing_but_the_notebook(tmp_path):
    repository = copy_of_the_course(tmp_path / "published")
    git = ("git", "-c", "user.name=test", "-c", "user.email=test@example.com")
    for arguments in ("init -q -b main", "add -A", "commit -q -m published"):
        output_of(*git, *arguments.split(), cwd=repository)
    empty, block = tmp_path / "content", tmp_path / "block"
    empty.mkdir()
    block.mkdir()
    shutil.copy(ROOT / "notebooks" / f"{NAME}.ipynb", empty)
    (block / "sitecustomize.py").write_text(BLOCK)
    stamped = (ROOT / "notebooks" / "repository.txt").read_text(encoding="utf-8").strip()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (block, OVERLAY))),
        "PIP_NO_DEPS": "1",  # the overlay lacks the old Jupyter that ipywidgets 7.7.1 asks for
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{repository}.insteadOf",
        "GIT_CONFIG_VALUE_0": f"https://github.com/{stamped}.git",
    }
    python = {"cwd": empty, "env": environment}
    assert output_of(sys.executable, "-c", VERSIONS, **python).split() == ["7.7.1", "2.2.3", "None"]
    before = output_of(sys.executable, "-m", "pip", "freeze", **python)
    run = ("-m", "nbconvert", "--execute", "--to", "notebook", "--output", "executed")
    output_of(sys.executable, *run, f"{NAME}.ipynb", **python)
    assert (empty / "course" / "helpers" / "model.py").exists()
    executed = nbformat.read(empty / "executed.ipynb", 4)
    saved = nbformat.read(ROOT / "notebooks" / f"{NAME}.ipynb", 4)
    assert key_figure(executed) == key_figure(saved)
    for cell in executed.cells:
        for output in cell.get("outputs", []):
            assert output.get("name") != "stderr", output["text"]
    assert output_of(sys.executable, "-m", "pip", "freeze", **python) == before
