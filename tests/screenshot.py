"""Takes the README's pictures of the Explorer and the Microscope, as a part of `make images`.

Alone: `python -m tests.screenshot`.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat

from tests import lab
from tests.conftest import ROOT
from workshop.pictures.model import IMAGES

if TYPE_CHECKING:
    from playwright.sync_api import Page

NOTEBOOK = "notebooks/06_5_classification_head.ipynb"
LAB_NOTEBOOK = "notebooks/06_B_freeze_lab.ipynb"
MICROSCOPE_NOTEBOOK = "microscope.ipynb"
MICROSCOPE = """\
import torch
from helpers.classify import SpamClassifier
from helpers.freezing import replace_head
from helpers.loading import load_pretrained
from workshop.widgets import MessageMicroscope

torch.manual_seed(123)
model = replace_head(load_pretrained("gpt2-nano (12M)"))
microscope = MessageMicroscope(SpamClassifier(model, max_length=82, position="last_token"))
microscope"""
TRAINED = """\
from workshop.fast import load_or_train
from workshop.widgets import MessageMicroscope

classifier = load_or_train("spam-classifier.safetensors", "gpt2-nano (12M)", "sms-mini")
MessageMicroscope(classifier, text="Your free prize is waiting, call now")"""


def course_in(folder: Path) -> Path:
    """Put section 6.5, and the ways to the packages, into an empty folder; return it.

    So the notebook here stays as it is.
    """
    (folder / "notebooks").mkdir()
    shutil.copy(ROOT / NOTEBOOK, folder / "notebooks")
    return lab.link_the_packages(folder)


def lab_in(folder: Path) -> Path:
    """Put the cells of appendix 6.B up to the Freeze Lab, and the ways to the packages, into `folder`."""
    notebook = nbformat.read(ROOT / LAB_NOTEBOOK, 4)
    last = next(i for i, cell in enumerate(notebook.cells) if "lab = FreezeLab(" in cell.source)
    del notebook.cells[last + 1 :]
    (folder / "notebooks").mkdir()
    nbformat.write(notebook, folder / LAB_NOTEBOOK)
    return lab.link_the_packages(folder)


def microscope_in(folder: Path, source: str = MICROSCOPE) -> Path:
    """Put a notebook with the Microscope alone, and the ways to the packages, into `folder`.

    Unless the cell's `source` says otherwise, its classifier is the nano with a head that knows
    nothing.
    """
    lab.write_notebook(folder / MICROSCOPE_NOTEBOOK, source)
    return lab.link_the_packages(folder)


def take_explorer(path: Path) -> None:
    """Save GPT-2 124M under the book's plan and one block more, as section 6.5 shows it."""
    with _opened(course_in, NOTEBOOK, height=1900) as page:
        page.locator(".fx-choice", has_text="gpt2-small (124M)").click()
        page.locator(".fx-part-trf_blocks-7").click()
        page.locator(".fx-reach", has_text="trf_blocks.7").wait_for()
        page.locator(".fx-counts", has_text="124,441,346").wait_for()
        page.evaluate("document.activeElement.blur()")
        page.locator(".freeze-explorer").screenshot(path=path)


def take_microscope(path: Path) -> None:
    """Save a message under the Microscope, one token left out, as section 6.8 shows it."""
    with _opened(partial(microscope_in, source=TRAINED), MICROSCOPE_NOTEBOOK, height=1300) as page:
        page.get_by_role("button", name="free").click()
        page.locator(".mm-change", has_text="free").wait_for()
        page.evaluate("document.activeElement.blur()")
        page.locator(".message-microscope").screenshot(path=path)


@contextmanager
def _opened(course: Callable[[Path], Path], notebook: str, height: int) -> Iterator["Page"]:
    """A notebook of a course in a temporary folder, all its cells run."""
    with (
        tempfile.TemporaryDirectory() as folder,
        lab.lab(course(Path(folder))) as address,
        lab.browser() as browser,
    ):
        page = lab.open_notebook(browser, address, notebook, height=height)
        lab.run_all(page)
        yield page


if __name__ == "__main__":
    if reason := lab.missing():
        sys.exit(f"the pictures of the widgets stay as they are: {reason}")
    for name, take in {"freeze_explorer": take_explorer, "microscope": take_microscope}.items():
        take(IMAGES / f"{name}.png")
        print(f"took {name}.png")
