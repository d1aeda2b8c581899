"""Plays Colab: one notebook alone in an empty folder, ipywidgets 7.7.1, no jupyterlab, the rest to
be cloned.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from notebooks.build import key_figure
from tests.conftest import ROOT, copy_of_the_course

OVERLAY = ROOT / ".overlays" / "colab"
NAME = "06_5_classification_head"
RUN = """
import asyncio, sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
nbformat.write(notebook, "executed.ipynb")
"""
VERSIONS = """
import ipywidgets, pandas
try:
    import jupyterlab
except ModuleNotFoundError:
    print(ipywidgets.__version__, pandas.__version__)
"""
BLOCK = """
import sys

class NoJupyterLab:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "jupyterlab":
            raise ModuleNotFoundError(f"No module named {name!r}: there is none in Colab")

sys.meta_path.insert(0, NoJupyterLab())
"""


def published(folder: Path) -> Path:
    """A repository with the working tree's files as its one commit, as it would be published."""
    copy_of_the_course(folder)
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@example.com"]
    for arguments in (
        ["init", "-q", "-b", "main"],
        ["add", "-A"],
        ["commit", "-q", "-m", "as published"],
    ):
        subprocess.run([*git, *arguments], cwd=folder, check=True)
    return folder


WITHOUT_OVERLAY = pytest.mark.skipif(
    not OVERLAY.exists(), reason="`make test` first installs ipywidgets 7.7.1 into .overlays/colab"
)


@WITHOUT_OVERLAY
def test_the_widgets_work_with_colabs_ipywidgets():
    environment = {**os.environ, "PYTHONPATH": str(OVERLAY)}
    names = ("", "_lab", "_microscope", "_slides", "_dashboard", "_own_classes")
    files = [f"tests/test_widgets{name}.py" for name in names]
    command = [sys.executable, "-m", "pytest", "-q", *files, "-k", "not random"]
    version = [sys.executable, "-c", "import ipywidgets; print(ipywidgets.__version__)"]
    for arguments, expected in ((version, "7.7.1"), (command, " passed")):
        run = subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert run.returncode == 0 and expected in run.stdout, (
            run.stdout[-3000:] + run.stderr[-1000:]
        )


@pytest.mark.proof
@WITHOUT_OVERLAY
def test_section_6_5_runs_in_colab_from_nothing_but_the_notebook(tmp_path):
    repository = published(tmp_path / "published")
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
    versions = [sys.executable, "-c", VERSIONS]
    found = subprocess.run(
        versions, cwd=empty, env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert found.split() == ["7.7.1", "2.2.3"]
    freeze = [sys.executable, "-m", "pip", "freeze"]
    before = subprocess.run(
        freeze, env=environment, capture_output=True, text=True, check=True
    ).stdout

    run = subprocess.run(
        [sys.executable, "-c", RUN, f"{NAME}.ipynb"],
        cwd=empty,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    executed = nbformat.read(empty / "executed.ipynb", 4)
    assert (empty / "course" / "helpers" / "model.py").exists()
    saved = nbformat.read(ROOT / "notebooks" / f"{NAME}.ipynb", 4)
    assert key_figure(executed) == key_figure(saved)
    for cell in executed.cells:
        for output in cell.get("outputs", []):
            assert output.get("name") != "stderr", output["text"]
    assert (
        subprocess.run(freeze, env=environment, capture_output=True, text=True, check=True).stdout
        == before
    )
