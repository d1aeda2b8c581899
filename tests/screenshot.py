"""Takes the README's picture of the Freeze Explorer, as a part of `make images`.

Alone: `python -m tests.screenshot`.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import nbformat

from helpers.diagrams import IMAGES
from notebooks.build import NOTEBOOK_METADATA
from tests import lab
from tests.conftest import ROOT

NOTEBOOK = "notebooks/06_5_classification_head.ipynb"
LAB_NOTEBOOK = "notebooks/06_B_freeze_lab.ipynb"
MICROSCOPE_NOTEBOOK = "microscope.ipynb"
MICROSCOPE = """\
import torch
from helpers.classify import SpamClassifier
from helpers.freezing import replace_head
from helpers.loading import load_pretrained
from helpers.widgets import MessageMicroscope

torch.manual_seed(123)
model = replace_head(load_pretrained("gpt2-nano (12M)"))
microscope = MessageMicroscope(SpamClassifier(model, max_length=82, position="last_token"))
microscope"""


def course_in(folder: Path) -> Path:
    """Put section 6.5, and the way to `helpers`, into an empty folder; return it.

    So the notebook here stays as it is.
    """
    (folder / "notebooks").mkdir()
    shutil.copy(ROOT / NOTEBOOK, folder / "notebooks")
    (folder / "helpers").symlink_to(ROOT / "helpers")
    return folder


def lab_in(folder: Path) -> Path:
    """Put the cells of appendix 6.B up to the Freeze Lab, and the way to `helpers`, into `folder`."""
    notebook = nbformat.read(ROOT / LAB_NOTEBOOK, 4)
    last = next(i for i, cell in enumerate(notebook.cells) if "lab = FreezeLab(" in cell.source)
    del notebook.cells[last + 1 :]
    (folder / "notebooks").mkdir()
    nbformat.write(notebook, folder / LAB_NOTEBOOK)
    (folder / "helpers").symlink_to(ROOT / "helpers")
    return folder


def microscope_in(folder: Path) -> Path:
    """Put a notebook with the Microscope alone, and the way to `helpers`, into `folder`.

    Its classifier is the nano with a head that knows nothing.
    """
    cells = [nbformat.v4.new_code_cell(MICROSCOPE)]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=NOTEBOOK_METADATA)
    nbformat.write(notebook, folder / MICROSCOPE_NOTEBOOK)
    (folder / "helpers").symlink_to(ROOT / "helpers")
    return folder


def take(path: Path) -> None:
    """Save GPT-2 124M under the book's plan and one block more, as section 6.5 shows it."""
    with (
        tempfile.TemporaryDirectory() as folder,
        lab.lab(course_in(Path(folder))) as address,
        lab.browser() as browser,
    ):
        page = lab.open_notebook(browser, address, NOTEBOOK, height=1900)
        lab.run_all(page)
        page.locator(".fx-choice", has_text="gpt2-small (124M)").click()
        page.locator(".fx-part-trf_blocks-7").click()
        page.locator(".fx-reach", has_text="trf_blocks.7").wait_for()
        page.locator(".fx-total", has_text="124,441,346").wait_for()
        page.evaluate("document.activeElement.blur()")
        page.locator(".freeze-explorer").screenshot(path=path)


if __name__ == "__main__":
    if reason := lab.missing():
        sys.exit(f"the picture of the Explorer stays as it is: {reason}")
    take(IMAGES / "freeze_explorer.png")
    print("took freeze_explorer.png")
