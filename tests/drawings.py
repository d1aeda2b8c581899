"""Reading a picture back from its SVG: its words, and where its texts and boxes stand."""

import re
import unicodedata
from functools import cache
from itertools import combinations
from xml.etree import ElementTree

from matplotlib.font_manager import findfont, get_font
from matplotlib.ft2font import LoadFlags
from matplotlib.text import Text

SVG = "{http://www.w3.org/2000/svg}"


def elements(drawing, kind: str, **attributes: str) -> list[ElementTree.Element]:
    found = ElementTree.fromstring(drawing.svg).iter(SVG + kind)
    return [element for element in found if attributes.items() <= element.attrib.items()]


def words_of(element: ElementTree.Element) -> str:
    return "".join(element.itertext())


def written(drawing) -> list[str]:
    return [words_of(text) for text in elements(drawing, "text")]


@cache
def advance(character: str, font: str) -> float:
    """The width of a character in ems in DejaVu, the widest font that a browser may well take."""
    font = get_font(findfont(font))
    font.set_size(100, 72)
    if unicodedata.east_asian_width(character) in "WF" or not font.get_char_index(ord(character)):
        return 1.25
    return font.load_char(ord(character), LoadFlags.NO_HINTING).linearHoriAdvance / 65536 / 100


def extent(element: ElementTree.Element) -> tuple[float, float, float, float]:
    """Where a text, a box, a disc or an arrow's head stands: left, top, right, bottom."""
    of = element.attrib
    if "points" in of:
        numbers = [float(number) for number in re.split("[ ,]", of["points"])]
        return min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2])
    if "r" in of:
        x, y, r = (float(of[name]) for name in ("cx", "cy", "r"))
        return x - r, y - r, x + r, y + r
    x, y = float(of.get("x", 0)), float(of.get("y", 0))
    if "font-size" not in of:
        return x, y, x + float(of["width"]), y + float(of["height"])
    font, size = "DejaVu Sans", float(of["font-size"])
    if "font-family" in of:
        font = "DejaVu Sans Mono"
    elif "font-weight" in of:
        font = "DejaVu Sans:bold"
    width = size * sum(advance(character, font) for character in words_of(element))
    left = x - {"start": 0, "middle": width / 2, "end": width}[of.get("text-anchor", "start")]
    return left, y - 0.8 * size, left + width, y + 0.25 * size


def check_drawing(drawing) -> list[str]:
    """Nothing lies outside the picture, and no text on any other; return the texts."""
    width, height = drawing.size
    for kind in ("rect", "circle", "polygon", "text"):
        for element in elements(drawing, kind):
            left, top, right, bottom = extent(element)
            assert min(left, top) >= 0 and right <= width and bottom <= height, element.attrib
    texts = [(*extent(text), words_of(text)) for text in elements(drawing, "text")]
    for (left, top, right, bottom, one), (x, y, end, lower, other) in combinations(texts, 2):
        apart = right <= x or end <= left or bottom <= y or lower <= top
        assert apart, f"{one!r} and {other!r} overlap"
    check_that_it_has_its_words(drawing)
    return written(drawing)


def check_that_it_has_its_words(drawing) -> None:
    (svg,) = elements(drawing, "svg", role="img")
    assert svg.get("aria-label").split() == drawing.words.split() != []
    assert (drawing._repr_svg_(), repr(drawing)) == (drawing.svg, drawing.words)
    assert not re.search(r"\b(nan|None|inf)\b", drawing.svg + drawing.words)


def check_chart(chart) -> list[str]:
    """No text of a matplotlib chart lies outside it or on another one; return the texts."""
    check_that_it_has_its_words(chart)
    chart.figure.draw_without_rendering()
    for plot in chart.figure.axes:
        for axis in (plot.xaxis, plot.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks():  # those beyond the axis's ends are not drawn
                if not low <= tick.get_loc() <= high:
                    tick.label1.set_visible(False)
    texts = [text for text in chart.figure.findobj(Text) if text.get_visible() and text.get_text()]
    shown = [text for text in texts if text.get_text() in written(chart)]  # no ticks of hidden axes
    boxes = [(Text.get_window_extent(text), text.get_text()) for text in shown]
    whole = chart.figure.bbox.padded(1)
    for box, words in boxes:
        assert whole.contains(box.x0, box.y0) and whole.contains(box.x1, box.y1), words
    for (one, words), (other, more) in combinations(boxes, 2):
        apart = not one.padded(-0.5).overlaps(other.padded(-0.5))
        assert apart, f"{words!r} and {more!r} overlap"
    return written(chart)
