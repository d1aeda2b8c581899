"""Slides as a learner meets them: in a real JupyterLab, by mouse, keyboard and name.

Screenshots are left in the folder that the environment variable SCREENSHOTS names, if it does.
"""

import nbformat
import pytest

from tests import lab
from tests.conftest import ROOT

NOTEBOOK = "slides.ipynb"
CELL = """
from workshop.pictures.svg import BLUE, circle, picture, text
from workshop.widgets import Slides

drawings = [
    picture(
        [circle(40 + 5 * i, 60, 9, BLUE), text(40, 30, f"the disc lies at {i}")],
        f"a disc at {i} of 9",
        600,
        120,
    )
    for i in range(10)
]
Slides(drawings, [f"the disc at {i}" for i in range(10)], "Place", start=3)
"""

FILM = """
import torch

from workshop.fast import History
from workshop.pictures.film import draw_frame
from workshop.film import Film, Frame

torch.manual_seed(0)
labels = torch.arange(60) % 2
start = torch.randn(60, 8)
move = torch.where(labels == 1, 2.0, -2.0)[:, None] * torch.eye(8)[0]
labels[:4] = 1 - labels[:4]  # four mistakes
head = torch.stack([torch.zeros(8), torch.eye(8)[0]]), torch.zeros(2)
frames = tuple(Frame(i, start + i * move, *head) for i in range(4))
history = History([0.6, 0.4, 0.3], [0.8] * 3, [0.5] * 3, [0.8] * 3)
film = Film(frames, labels, history, 3)
Slides([draw_frame(film, i) for i in range(4)], film.names, "The training")
"""

pytestmark = pytest.mark.skipif(
    lab.missing() is not None, reason=f"Slides in a browser: {lab.missing()}"
)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    folder = tmp_path_factory.mktemp("course")
    cells = [nbformat.v4.new_code_cell(source) for source in (CELL, FILM)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, folder / NOTEBOOK)
    (folder / "helpers").symlink_to(ROOT / "helpers")
    with lab.opened(folder, NOTEBOOK, ".sl-picture svg") as page:
        yield page


@pytest.fixture
def page(opened):
    """The page in the light theme, at the first picture."""
    lab.set_theme(opened, "light")
    opened.set_viewport_size({"width": 1280, "height": 1000})
    handle(opened).press("Home")
    shows(opened, 0)
    return opened


def place(page):
    """The slides of the first cell."""
    return page.locator(".picture-slides").first


def handle(page):
    return place(page).get_by_role("slider")


def shows(page, number: int) -> None:
    """Wait until the picture and what is said are those of a number."""
    place(page).locator(".sl-picture svg text", has_text=f"the disc lies at {number}").wait_for()
    words = f"the disc at {number}: a disc at {number} of 9"
    place(page).locator(".sl-words [role=status]", has_text=words).wait_for()


def test_the_arrow_keys_move_the_slider_which_keeps_the_focus(page):
    handle(page).focus()
    for key, number in (
        ("ArrowRight", 1), ("ArrowUp", 2), ("ArrowLeft", 1), ("End", 9), ("ArrowRight", 9),
        ("Home", 0), ("ArrowDown", 0),
    ):  # fmt: skip
        page.keyboard.press(key)
        shows(page, number)
    assert handle(page).evaluate("e => e === document.activeElement")


def test_a_press_on_the_slider_moves_it(page):
    box = place(page).locator(".slider-container").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    place(page).locator(".sl-picture svg text", has_text="lies at 0").wait_for(state="detached")
    assert place(page).locator(".sl-picture svg text").text_content()[-1] in "345"


def test_buttons_that_say_what_they_do_move_it_by_keyboard(page):
    root = place(page)
    on = root.get_by_role("button", name="next")
    on.focus()
    for number in (1, 2):
        page.keyboard.press("Space")
        shows(page, number)
    page.keyboard.press("Enter")
    shows(page, 3)
    assert on.evaluate("e => e === document.activeElement")
    root.get_by_role("button", name="previous").click()
    shows(page, 2)


def test_tab_reaches_the_slider_and_both_buttons(page):
    handle(page).focus()
    reached = []
    for _ in range(2):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.innerText"))
    assert reached == ["◀ previous", "next ▶"]
    page.keyboard.press("Tab")
    assert not place(page).evaluate("e => e.contains(document.activeElement)")


def test_the_picture_says_what_it_shows(page):
    root = place(page)
    assert root.get_by_role("img", name="a disc at 0 of 9").count() == 1
    assert root.locator(".sl-slider").get_by_text("Place").count() == 1
    assert root.get_by_role("status").count() == 1


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 1280), ("light", 800)])
def test_it_can_be_read_in_both_themes_and_in_a_narrow_window(page, theme, width):
    lab.set_theme(page, theme)
    page.set_viewport_size({"width": width, "height": 1000})
    handle(page).press("End")
    shows(page, 9)
    ring = handle(page).evaluate("e => getComputedStyle(e).boxShadow")
    assert "0px 0px 0px 4px" in ring  # who moves it by keyboard sees where the focus is
    lab.assert_readable(place(page), f"slides_{theme}_{width}")


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 1280), ("light", 800)])
def test_a_training_film_can_be_read_in_both_themes_and_in_a_narrow_window(page, theme, width):
    lab.set_theme(page, theme)
    page.set_viewport_size({"width": width, "height": 1000})
    film = page.locator(".picture-slides").last
    film.get_by_role("slider").press("End")
    film.locator("svg text", has_text="after epoch 3 of 3").wait_for()
    film.get_by_role("img", name="after epoch 3 of 3: 56 of 60 right").wait_for()
    lab.assert_readable(film, f"film_{theme}_{width}")
