"""Slides show one picture at a time, and all that there is to read without a kernel."""

import re
from xml.etree import ElementTree

import nbformat
import pytest

from tests.clicks import one, static_form, text_of
from tests.conftest import ROOT
from workshop.pictures.svg import circle, picture
from workshop.widgets import Slides

pytestmark = [
    pytest.mark.usefixtures("no_callback_fails"),
    pytest.mark.filterwarnings("ignore:The `ipykernel.comm.Comm` class:DeprecationWarning"),
]


def drawings(count: int) -> list:
    return [picture([circle(9, 9, i + 1, "red")], f"radius {i}", 40 + i, 30) for i in range(count)]


def slides(count: int) -> Slides:
    return Slides(drawings(count), [f"number {i}" for i in range(count)])


def test_the_slider_shows_the_picture_that_it_stands_at_and_says_its_words():
    shown = Slides(drawings(3), ["a", "<b>c</b>", "<b>c</b>"], start=0, label="Size")
    assert shown.index == 0 and one(shown, "sl-slider").description == "Size"
    assert one(shown, "sl-picture").value == shown.drawings[0].svg == shown.drawing.svg
    one(shown, "sl-slider").value = 2
    assert shown.index == 2 and one(shown, "sl-picture").value == shown.drawings[2].svg
    assert text_of(shown, "sl-words") == "<b>c</b>: radius 2"
    words = one(shown, "sl-words").value
    assert 'role="status"' in words and "<b>c" not in words
    shown.index = 1
    assert one(shown, "sl-picture").value == shown.drawings[1].svg


def test_a_press_on_a_button_moves_by_one_and_stays_at_the_ends():
    shown, seen = slides(3), []
    for css in ("sl-back", "sl-next", "sl-next", "sl-next", "sl-back"):
        one(shown, css).click()
        seen.append(shown.index)
    assert seen == [0, 1, 2, 2, 1]


@pytest.mark.parametrize(
    ("count", "in_picture", "in_table"),
    [
        (2, [0, 1], [0, 1]),
        (6, [0, 2, 5], [0, 1, 2, 3, 4, 5]),
        (99, [0, 49, 98], [0, 10, 20, 29, 39, 49, 59, 69, 78, 88, 98]),
    ],
)
def test_where_nothing_is_live_first_middle_and_last_are_shown_and_told(
    count, in_picture, in_table, monkeypatch
):
    sent = static_form(slides(count), monkeypatch)
    svg = ElementTree.fromstring(sent["image/svg+xml"])
    radii = [c.get("r") for c in svg.iter("{http://www.w3.org/2000/svg}circle")]
    assert radii == [str(i + 1) for i in in_picture]
    titles = ["".join(t.itertext()) for t in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert titles == [f"number {i}" for i in in_picture]
    words = [f"number {i}: radius {i}" for i in in_picture]
    assert sent["text/plain"].split("\n") == words and svg.get("aria-label") == " ".join(words)
    assert len(list(svg.iter("{http://www.w3.org/2000/svg}svg"))) == 1  # none within another
    assert svg.get("viewBox") == f"0 0 {40 + count - 1} {len(in_picture) * (30 + 26)}"
    cells = re.findall(r'<th scope="row">number (\d+)</th><td>radius (\d+)</td>', sent["text/html"])
    assert cells == [(str(i), str(i)) for i in in_table]


def test_on_the_saved_page_of_section_6_7_the_film_is_three_pictures_and_a_table():
    path = ROOT / "notebooks" / "06_7_fine_tuning.ipynb"
    assert path.stat().st_size < 400_000
    cells = nbformat.read(path, 4).cells
    (cell,) = [cell for cell in cells if "Slides(frames" in cell.source]
    picture_of, table = (output["data"] for output in cell.outputs)
    titles = re.findall(r">([^<]+): \d+ of 100 right<", picture_of["image/svg+xml"])
    assert titles == ["before the training", "after epoch 2", "after epoch 5"]
    rows = re.findall(r'<th scope="row">([^<]+)</th>', table["text/html"])
    assert rows == ["before the training", *(f"after epoch {epoch}" for epoch in range(1, 6))]
