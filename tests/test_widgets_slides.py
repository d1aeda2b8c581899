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


def slides(count: int = 5, **settings) -> Slides:
    return Slides(drawings(count), [f"number {i}" for i in range(count)], **settings)


def click(shown: Slides, css: str) -> None:
    one(shown, css).click()


def test_the_slider_shows_the_picture_that_it_stands_at_and_says_its_words():
    shown = slides(start=2, label="Size")
    assert shown.index == 2 and one(shown, "sl-slider").description == "Size"
    assert one(shown, "sl-picture").value == shown.drawings[2].svg == shown.drawing.svg
    one(shown, "sl-slider").value = 4
    assert shown.index == 4 and one(shown, "sl-picture").value == shown.drawings[4].svg
    assert text_of(shown, "sl-words") == "number 4: radius 4"
    assert 'role="status"' in one(shown, "sl-words").value
    shown.index = 0
    assert one(shown, "sl-picture").value == shown.drawings[0].svg


def test_a_press_on_a_button_moves_by_one_and_stays_at_the_ends():
    shown = slides(3)
    seen = []
    for css in ("sl-back", "sl-next", "sl-next", "sl-next", "sl-back"):
        click(shown, css)
        seen.append(shown.index)
    assert seen == [0, 1, 2, 2, 1]


def test_names_may_be_alike_and_are_shown_as_text():
    shown = Slides(drawings(3), ["<b>a</b>", "<b>a</b>", "c"])
    one(shown, "sl-slider").value = 1
    assert shown.index == 1 and text_of(shown, "sl-words") == "<b>a</b>: radius 1"
    assert "<b>a" not in one(shown, "sl-words").value


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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([], []), "at least 2 pictures, not 0"),
        ((drawings(1), ["a"]), "at least 2 pictures, not 1"),
        ((drawings(2), ["a"]), "2 pictures have 1 names"),
        ((drawings(2), ["a", "b"], "Size", 2), "from 0 to 1, not 2"),
        ((drawings(2), ["a", "b"], "Size", -1), "from 0 to 1, not -1"),
        ((drawings(2), ["a", "b"], "Size", 0.5), "from 0 to 1, not 0.5"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_a_sentence(arguments, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        Slides(*arguments)


def test_an_index_beyond_the_last_is_refused_and_the_picture_stays():
    shown = slides(3, start=1)
    with pytest.raises(ValueError, match="from 0 to 2, not 3"):
        shown.index = 3
    assert shown.index == 1 and shown.drawing == shown.drawings[1]


def test_on_the_saved_page_of_section_6_7_the_film_is_three_pictures_and_a_table():
    path = ROOT / "notebooks" / "06_7_fine_tuning.ipynb"
    assert path.stat().st_size < 400_000
    cells = nbformat.read(path, 4).cells
    (cell,) = [cell for cell in cells if "Slides(frames" in cell.source]
    picture_of, table = (output["data"] for output in cell.outputs)
    titles = re.findall(r">([^<]+): \d+ of 100 right<", picture_of["image/svg+xml"])
    assert titles == ["before the training", "after epoch 2 of 5", "after epoch 5 of 5"]
    rows = re.findall(r'<th scope="row">([^<]+)</th>', table["text/html"])
    assert rows == ["before the training", *(f"after epoch {epoch}" for epoch in range(1, 6))]
