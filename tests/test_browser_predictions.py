"""Predictions in JupyterLab: with a keyboard, in both themes, narrow; nothing is revealed before."""

import nbformat
import pytest

from tests import lab
from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(lab.missing() is not None, reason=str(lab.missing()))
NOTEBOOK = "predictions.ipynb"
CELL = """\
from IPython.display import display

from workshop.exercises.prediction import Number, OneOf, Order, Question
from workshop.pictures.svg import Drawing
from workshop.widgets.prediction import Prediction

svg = '<svg class="fx-drawing" width="90" height="20" role="img" aria-label="a bar"><rect width="60" height="20"/></svg>'
share = Question(
    "How much of the rectangle is padding?", Number(within=5, unit="%"),
    "Yes: {answer}.", {"too low": "More than that.", "too high": "Less."}, "It is `<|endoftext|>`.",
)
long_option = "neither: what has learned nothing has no opinion, and says the same of every message"
label = Question("Which label does it say?", OneOf("ham", "spam", long_option), "Yes.", {"else": "No."})
order = Question("In which order?", Order("a: one", "b: two", "c: three"), "Yes.", {"else": "No."})
display(
    Prediction("9.9 share", share, 60.2, Drawing(svg, "a bar")),
    Prediction("9.9 label", label, "ham"),
    Prediction("9.9 order", order, ("b", "a", "c")),
)
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("course")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, folder / NOTEBOOK)
    (folder / "helpers").symlink_to(ROOT / "helpers")
    with lab.opened(folder, NOTEBOOK, ".prediction .pr-commit") as page:
        yield page


def asked(page, number: int):
    return page.locator(".prediction").nth(number)


def test_nothing_is_revealed_and_every_control_has_a_name_and_is_reached(page):
    for number in range(3):
        root = asked(page, number)
        lab.tab_reaches_every_control(root)
        assert root.get_by_role("status").count() == 0 and root.locator("svg").count() == 0
        assert root.get_by_role("button", name="Commit").count() == 1
    assert asked(page, 0).get_by_label("Your guess (%)").count() == 1
    assert asked(page, 1).get_by_role("button").count() == 4


def test_a_guess_is_typed_and_committed_without_a_mouse(page):
    root = asked(page, 0)
    field = root.get_by_label("Your guess (%)")
    field.focus()
    page.keyboard.type("much")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    root.get_by_role("alert").filter(has_text="'much' is no number").wait_for()
    field.fill("40")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    root.get_by_role("status").filter(has_text="60.2 %, you said 40 %.").wait_for()
    root.get_by_text("More than that.").wait_for()
    assert root.get_by_role("img", name="a bar").count() == 1
    assert root.get_by_role("alert").count() == 0 and field.is_disabled()
    committed = root.get_by_role("button", name="✓ Committed")
    assert committed.evaluate("e => e === document.activeElement")


def test_an_option_is_pressed_and_committed(page):
    root = asked(page, 1)
    root.get_by_role("button", name="spam", exact=True).click()
    root.get_by_role("button", name="✓ spam", exact=True).wait_for()
    root.get_by_role("button", name="Commit").click()
    root.get_by_role("status").filter(has_text="ham, you said spam.").wait_for()


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 1280), ("light", 800)])
def test_it_can_be_read_in_both_themes_and_in_a_narrow_window(page, theme, width):
    lab.set_theme(page, theme)
    page.set_viewport_size({"width": width, "height": 1000})
    for number in range(3):
        lab.assert_readable(asked(page, number), f"prediction_{number}_{theme}_{width}")
