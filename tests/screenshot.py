"""Takes the README's pictures of the Explorer and the Microscope, as a part of `make images`.

Alone: `python -m tests.screenshot`.
"""

import sys
import tempfile
from pathlib import Path

import nbformat

from tests import lab
from workshop.explorer import explorer_page
from workshop.pictures.model import IMAGES

MICROSCOPE = """\
from workshop.fast import load_or_train
from workshop.widgets import MessageMicroscope

classifier = load_or_train("spam-classifier.safetensors", "gpt2-nano (12M)", "sms-mini")
MessageMicroscope(classifier, text="Your free prize is waiting, call now")"""


def take_explorer(path: Path) -> None:
    """Save GPT-2 124M under the book's plan and one block more, as the site shows it."""
    with tempfile.TemporaryDirectory() as folder, lab.browser() as chromium:
        file = Path(folder, "explorer.html")
        file.write_text(f'<!doctype html><meta charset="utf-8">{explorer_page()}', encoding="utf-8")
        page = chromium.new_page(viewport={"width": 1200, "height": 650})
        page.goto(file.as_uri())
        page.locator('[data-part="trf_blocks.7"]').click()
        page.mouse.move(0, 0)
        page.evaluate("document.activeElement.blur()")
        page.locator(".freeze-explorer").screenshot(path=path)


def take_microscope(path: Path) -> None:
    """Save a message under the Microscope, one token left out, as section 6.8 shows it."""
    with tempfile.TemporaryDirectory() as folder:
        course = lab.link_the_packages(Path(folder))
        nbformat.write(lab.notebook_of(MICROSCOPE), course / "page.ipynb")
        with lab.opened(course, "page.ipynb", '[data-token="3"]', 1300) as page:
            page.get_by_role("button", name="free").click()
            page.locator(".mm-change", has_text="free").wait_for()
            page.evaluate("document.activeElement.blur()")
            page.locator(".message-microscope").screenshot(path=path)


if __name__ == "__main__":
    if reason := lab.missing():
        sys.exit(f"the pictures of the widgets stay as they are: {reason}")
    for name, take in {"freeze_explorer": take_explorer, "microscope": take_microscope}.items():
        take(IMAGES / f"{name}.png")
        print(f"took {name}.png")
