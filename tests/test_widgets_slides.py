"""Slides show one picture at a time, and all that there is to read without a kernel."""

import re

import pytest

from tests.clicks import MARKS, static_form
from tests.drawings import check_that_it_has_its_words, elements, written
from workshop.pictures.svg import Drawing, circle, picture
from workshop.widgets import Slides

pytestmark = MARKS


def slides(count: int) -> Slides:
    drawings, names = [], []
    for i in range(count):
        drawings.append(picture([circle(9, 9, i + 1, "red")], f"radius {i}", 40 + i, 30))
        names.append(f"number <{i}>")
    return Slides(drawings, names, label="Size")


def test_the_page_is_sent_the_pictures_their_names_and_their_words():
    shown = slides(3)
    assert (shown.index, shown.label) == (0, "Size")
    assert shown.pictures == [drawing.svg for drawing in shown.drawings]
    assert shown.names == [f"number <{i}>" for i in range(3)]
    assert shown.words == [f"radius {i}" for i in range(3)]
    for count, words in ((1, "at least 2 pictures"), (3, "start must be a whole number")):
        with pytest.raises(ValueError, match=words):
            Slides(shown.drawings[:count], shown.names[:count], start=7)


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
    drawing = Drawing(sent["image/svg+xml"], sent["text/plain"])
    radii = [circle.get("r") for circle in elements(drawing, "circle")]
    assert radii == [str(i + 1) for i in in_picture]
    assert written(drawing) == [f"number <{i}>" for i in in_picture]
    assert drawing.words.split("\n") == [f"number <{i}>: radius {i}" for i in in_picture]
    assert drawing.size == (40 + count - 1, len(in_picture) * (30 + 26))
    check_that_it_has_its_words(drawing)  # and that no picture is within another
    cells = re.findall(r">number &lt;(\d+)&gt;</th><td>radius (\d+)</td>", sent["text/html"])
    assert cells == [(str(i), str(i)) for i in in_table]
