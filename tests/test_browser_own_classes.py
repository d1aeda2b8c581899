"""One's own classes as a learner meets them in a real JupyterLab: chosen, trained, read, saved.

Screenshots are left in the folder that the environment variable SCREENSHOTS names, if it does.
"""

import re

import nbformat
import pytest

from helpers.classify import TextClassifier
from notebooks.build import NOTEBOOK_METADATA
from tests import lab
from tests.conftest import ROOT
from tests.own_texts import own_file, own_table

NOTEBOOK = "own.ipynb"
SOURCE = """\
from workshop.widgets import OwnClasses

OwnClasses()"""

pytestmark = pytest.mark.skipif(
    lab.missing() is not None, reason=f"one's own classes in a browser: {lab.missing()}"
)


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    folder = tmp_path_factory.mktemp("course")
    cells = [nbformat.v4.new_code_cell(SOURCE)]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=NOTEBOOK_METADATA)
    nbformat.write(notebook, folder / NOTEBOOK)
    (folder / "helpers").symlink_to(ROOT / "helpers")
    own_file(folder, "odd.csv", text="what", topic="kind")
    return folder


@pytest.fixture(scope="module")
def page(course):
    with lab.opened(course, NOTEBOOK, ".oc-read", 2200) as page:
        yield page


def shows(page, css: str, words: str) -> None:
    """Wait until what has this class holds these words."""
    lab.shows(page.locator(f".{css}", has_text=words).first)


def type_in(page, css: str, text: str) -> None:
    box = page.locator(f".{css} input")
    box.fill(text)
    box.press("Enter")


def choose(page, css: str, name: str) -> None:
    from playwright.sync_api import expect

    row, exactly = page.locator(f".{css}"), re.compile(rf"^(✓ )?{re.escape(name)}$")
    row.locator(".fx-choice", has_text=exactly).click()
    expect(row.locator(".fx-choice", has_text="✓")).to_have_text([f"✓ {name}"])


# the tests go on from each other, as a learner does: one session, one training


def test_a_path_is_typed_and_the_columns_are_named_where_they_are_asked_for(page):
    type_in(page, "oc-path", "nothing.csv")
    shows(page, "oc-unread", "nothing.csv does not exist")
    assert page.locator(".oc-unread").get_by_role("alert").count() == 1
    type_in(page, "oc-path", "odd.csv")
    shows(page, "oc-unread", "no column is called text or the like; it has 'what', 'kind'")
    type_in(page, "oc-text-column", "what")
    shows(page, "oc-unread", "no column is called label")
    type_in(page, "oc-label-column", "kind")
    shows(page, "oc-report", "Read: 90 texts in 3 classes, from odd.csv.")
    assert page.locator(".oc-unread").inner_text().strip() == ""


def test_a_file_is_chosen_on_the_learners_own_computer(page):
    content = own_table(per_class=40).to_csv(index=False).encode()
    with page.expect_file_chooser() as chooser:
        page.locator(".oc-upload").click()
    file = {"name": "mine.csv", "mimeType": "text/csv", "buffer": content}
    chooser.value.set_files(files=[file])
    shows(page, "oc-report", "Read: 120 texts in 3 classes, from mine.csv.")
    assert page.locator(".oc-classes tbody tr").count() == 3
    assert page.locator(".oc-path input").input_value() == ""


def test_train_is_pressed_by_keyboard_and_ends_in_figures_and_a_matrix(page):
    choose(page, "oc-plan", "head only")
    type_in(page, "fx-epochs", "3")
    page.locator(".fx-train").focus()
    page.keyboard.press("Space")
    shows(page, "fx-status", "Done: of 24 test texts this classifier gets")
    assert page.evaluate("document.activeElement.innerText") == "▶ Train"
    page.locator(".own-classes").get_by_role("progressbar").wait_for(state="detached")
    lab.shows(page.locator(".oc-matrix svg"))
    label = page.locator(".oc-matrix svg").get_attribute("aria-label")
    assert label.startswith("the confusion matrix of 24 texts")
    assert page.locator(".oc-summary tbody th").all_inner_texts()[0] == "this classifier"


def test_a_field_is_pressed_by_keyboard_and_its_texts_are_read(page):
    button = page.locator(".oc-field .fx-choice").first
    words = button.inner_text()
    button.focus()
    page.keyboard.press("Space")
    correct, called, number = re.match(r"(\w+) → (\w+): (\d+)", words).groups()
    shows(page, "oc-heading", f"{correct}, called {called}: ")
    assert page.locator(".oc-texts li").count() == min(10, int(number))
    assert page.evaluate("document.activeElement.innerText") == f"✓ {words}"


def test_a_text_of_ones_own_is_answered(page):
    type_in(page, "fx-text", "ripe <i>plum</i>")
    shows(page, "oc-answer", "Answer: ")
    assert page.locator(".oc-answer tbody tr").count() == 3


def test_every_control_says_what_it_is_and_tab_reaches_it(page):
    root = page.locator(".own-classes")
    for label in ("Path", "Your own text", "File name"):
        assert root.get_by_role("textbox", name=label, exact=True).count() == 1, label
    for label in ("Epochs", "Learning rate"):
        assert root.get_by_role("spinbutton", name=label).count() == 1, label
    for name in ("Choose a file", "Read the table", "Train", "Stop", "class weights", "Save"):
        assert root.get_by_role("button", name=name).count() >= 1, name
    assert root.get_by_role("status").count() >= 4  # the table, the training, a field, an answer
    lab.tab_reaches_every_control(root)


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 1280), ("light", 800)])
def test_it_can_be_read_in_both_themes_and_in_a_narrow_window(page, theme, width):
    lab.set_theme(page, theme)
    page.set_viewport_size({"width": width, "height": 2200 if width > 1000 else 3000})
    root = page.locator(".own-classes")
    root.scroll_into_view_if_needed()
    lab.assert_readable(root, f"own_classes_{theme}_{width}")


def test_the_classifier_is_saved_beside_the_notebook_and_not_overwritten_unasked(page, course):
    path = course / "mine.safetensors"
    assert page.locator(".oc-name input").input_value() == path.name
    page.get_by_role("button", name="Save", exact=True).click()
    shows(page, "oc-saved", "TextClassifier.load('mine.safetensors')")
    assert TextClassifier.load(path).labels == ("fruit", "sport", "weather")
    saved = path.stat().st_mtime_ns
    page.get_by_role("button", name="Save", exact=True).click()
    shows(page, "oc-saved", "mine.safetensors is there already")
    assert path.stat().st_mtime_ns == saved
    page.get_by_role("button", name="Replace the file").click()
    shows(page, "oc-saved", "Saved: mine.safetensors.")
    assert path.stat().st_mtime_ns > saved
