"""Drawings in SVG: the shapes, axes and boxes of tokens that the course's own pictures consist of.

Lengths are in pixels; x grows to the right and y downwards, and a text's y is that of its baseline.
What is drawn in INK has the class "ink", which a widget fills with the page's own text colour, so
that it can be read on dark paper. ORANGE and BLUE can be seen on white and on dark paper.
"""

import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from matplotlib.ticker import MaxNLocator

INK, TEXT = "#333333", "#111111"  # on the paper, in a filled box
ORANGE, BLUE, GREY = "#d55e00", "#2e86c1", "#767676"


@dataclass(frozen=True, repr=False)
class Drawing:
    """A picture as SVG, and all that it shows as text.

    A notebook shows the picture, or the text where it can't.
    """

    svg: str
    words: str

    @property
    def size(self) -> tuple[float, float]:
        """Width and height."""
        width, height = re.search(r'viewBox="0 0 (\S+) (\S+)"', self.svg).groups()
        return float(width), float(height)

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return self.words


def picture(drawn: Iterable[str], words: str, width: float, height: float) -> Drawing:
    """Return a drawing of `drawn` shapes on white paper; `words` is all that they show, as text."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="fx-drawing" '
        f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" '
        f'style="max-width:100%;height:auto" role="img" aria-label="{escape(words)}" '
        'font-family="system-ui, Helvetica, Arial, sans-serif">',
        f'<rect class="paper" width="{width:g}" height="{height:g}" fill="white"/>',
        *drawn,
        "</svg>",
    ]
    return Drawing("\n".join(lines), words)


def below_each_other(drawings: Sequence[Drawing], titles: Sequence[str]) -> Drawing:
    """Return several drawings as one, each below its title; their words in the same order."""
    drawn, lines, y = [], [], 0.0
    for drawing, title in zip(drawings, titles, strict=True):
        drawn.append(text(12, y + 19, title, size=14, bold=True))
        drawn.append(_moved(drawing, 0, y + 26))
        lines.append(f"{title}: {drawing.words}")
        y += 26 + drawing.size[1]
    return picture(drawn, "\n".join(lines), max(drawing.size[0] for drawing in drawings), y)


def side_by_side(*drawings: Drawing) -> Drawing:
    """Return several drawings as one, beside each other; their words in the same order."""
    drawn, x = [], 0.0
    for drawing in drawings:
        drawn.append(_moved(drawing, x, 0))
        x += drawing.size[0]
    words = "\n".join(drawing.words for drawing in drawings)
    return picture(drawn, words, x, max(drawing.size[1] for drawing in drawings))


def _moved(drawing: Drawing, x: float, y: float) -> str:
    """What a drawing shows, without its frame, moved right and down."""
    svg = drawing.svg
    inside = svg[svg.index(">") + 1 : svg.rindex("</svg>")].strip("\n")
    return f'<g transform="translate({length(x)} {length(y)})">\n{inside}\n</g>'


# --- shapes ---------------------------------------------------------------------------------------


def length(value: float) -> str:
    """Return a length with at most one digit after the point."""
    return f"{value:.1f}".removesuffix(".0")


def text(
    x: float,
    y: float,
    words: str,
    size: float = 12,
    anchor: str = "start",
    mono: bool = False,
    bold: bool = False,
    fill: str = INK,
    css: str = "",
) -> str:
    """Return a text; `anchor` is "start", "middle" or "end", `css` a class."""
    attributes = ""
    if css or fill == INK:
        attributes += f' class="{css or "ink"}"'
    if mono:
        attributes += ' font-family="monospace"'
    if bold:
        attributes += ' font-weight="bold"'
    if anchor != "start":
        attributes += f' text-anchor="{anchor}"'
    return (
        f'<text x="{length(x)}" y="{length(y)}" font-size="{size}" fill="{fill}"{attributes}>'
        f"{escape(words)}</text>"
    )


def path(strokes: str, colour: str = INK, width: float = 1.5, dashes: str = "") -> str:
    """Return lines from SVG's path commands; `dashes` are lengths of strokes and gaps: "6 4"."""
    more = ' class="ink"' if colour == INK else ""
    more += f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<path d="{strokes}" fill="none" stroke="{colour}" stroke-width="{width:g}"{more}/>'


def line(points: Sequence[tuple[float, float]], colour: str = INK, width: float = 2) -> str:
    """Return a line through points; an empty text for no points."""
    joined = "L".join(f"{length(x)},{length(y)}" for x, y in points)
    return path(f"M{joined}", colour, width) if points else ""


def arrow(x: float, start: float, end: float) -> str:
    """Return a vertical arrow from `start` up to `end`."""
    neck = end + 7  # where the head begins
    head = f"{x - 4:g},{neck:g} {x + 4:g},{neck:g} {x:g},{end:g}"
    return (
        f'<path d="M{x:g},{start:g}V{neck:g}" stroke="{INK}" stroke-width="1.5" class="ink"/>'
        f'<polygon points="{head}" fill="{INK}" class="ink"/>'
    )


def rect(
    x: float,
    y: float,
    width: float,
    height: float,
    fill: str,
    stroke: str = "none",
    rx: float = 0,
    stroke_width: float = 1,
    dashes: str = "",
) -> str:
    """Return a box; `rx` rounds its corners, `dashes` are those of its border."""
    more = f' stroke-width="{stroke_width:g}"' if stroke_width != 1 else ""
    more += f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'<rect x="{length(x)}" y="{length(y)}" width="{length(width)}" '
        f'height="{length(height)}" rx="{rx:g}" fill="{fill}" stroke="{stroke}"{more}/>'
    )


def circle(
    x: float, y: float, radius: float, fill: str, stroke: str = "none", width: float = 1.5
) -> str:
    """Return a disc, or a ring where `fill` is "none"."""
    return (
        f'<circle cx="{length(x)}" cy="{length(y)}" r="{radius:g}" fill="{fill}" '
        f'stroke="{stroke}" stroke-width="{width:g}"/>'
    )


def within(fraction: float) -> float:
    """Return a fraction, limited to 0 … 1."""
    return min(max(fraction, 0.0), 1.0)


def mixed(fraction: float, colour: str) -> str:
    """Return a colour mixed with white: 0 is white, 1 the colour itself."""
    fraction = within(fraction)
    code = "#"
    for i in (1, 3, 5):
        code += f"{round(fraction * int(colour[i : i + 2], 16) + (1 - fraction) * 255):02x}"
    return code


# --- axes -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Axes:
    """A frame (left, top, width, height) in pixels, and the values that it spans."""

    frame: tuple[float, float, float, float]
    xs: tuple[float, float]
    ys: tuple[float, float]
    log_x: bool = False

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return where a point lies, in pixels; a point outside is moved to the edge."""
        left, top, width, height = self.frame
        start, end = self.xs
        if self.log_x:
            x, start, end = math.log(x), math.log(start), math.log(end)
        right = (x - start) / (end - start)
        up = (y - self.ys[0]) / (self.ys[1] - self.ys[0])
        return left + width * within(right), top + height * (1 - within(up))

    def drawn(
        self, x_label: str, y_label: str, x_ticks: Sequence[float], y_ticks: Sequence[float] = ()
    ) -> Iterator[str]:
        """Yield both axes with their names and ticks; by default those of y are round numbers."""
        left, top, width, height = self.frame
        bottom, right = top + height, left + width
        yield path(f"M{left:g},{top:g}V{bottom:g}H{right:g}", width=1)
        for tick in x_ticks:
            x, _ = self.at(tick, self.ys[0])
            yield path(f"M{length(x)},{bottom:g}v4", width=1)
            yield text(x, bottom + 17, f"{tick:,g}", size=11, anchor="middle")
        for tick in y_ticks or round_ticks(*self.ys):
            _, y = self.at(self.xs[0], tick)
            yield path(f"M{left - 4:g},{length(y)}H{left:g}", width=1)
            yield text(left - 7, y + 4, f"{tick:,g}", size=11, anchor="end")
        yield text((left + right) / 2, bottom + 34, x_label, anchor="middle")
        yield text(left, top - 10, y_label, anchor="middle")


def round_ticks(low: float, high: float, whole: bool = False) -> list[float]:
    """Return at most about seven evenly spaced round numbers from `low` to `high`."""
    ticks = MaxNLocator(6, steps=[1, 2, 5, 10], integer=whole).tick_values(low, high)
    return [tick for tick in ticks.round(10).tolist() if low <= tick <= high]


# --- tokens as chips: a small box for each --------------------------------------------------------

CHIP_FILL = "#eeeeee"
CHIP_LINES = 3  # below a picture; tokens that don't fit into these are only counted
CHIP_HEIGHT, CHIP_STEP = 19, 24  # of a box, and from one line of boxes to the next
CHIP_LETTERS, LETTER_WIDTH = 24, 7.3  # at most, and in the monospaced font
CHIP_GAP, CHIP_AROUND = 4, 14  # between two boxes; that and what is left free around the letters
COUNT_WIDTH = 170  # for "… 1,000 more"
BYTES_NOTE = "⟨ ⟩ holds the bytes of a token that is only a part of a character"


def draw_chips(
    tokens: Sequence[str], middle: float, top: float, room: float
) -> tuple[list[str], float]:
    """Return the tokens' chips in at most CHIP_LINES centred lines, and the y below them."""
    places = place_chips(tokens, room, CHIP_LINES)
    line_widths = {line: x + width for line, x, width in places}
    drawn, bottom = [], top + CHIP_STEP * len(line_widths)
    for token, (line, x, width) in zip(tokens, places, strict=False):
        if x == 0:
            left = middle - line_widths[line] / 2
        drawn += chip(token, left, top + CHIP_STEP * line, width)
        left += width
    if len(places) < len(tokens):
        more = f"… {len(tokens) - len(places):,} more"
        drawn.append(text(left + 6, bottom - 10, more))
    if any("⟨" in token for token in tokens):
        drawn.append(text(middle, bottom + 10, BYTES_NOTE, size=11, anchor="middle"))
        bottom += 18
    return drawn, bottom - 2


def place_chips(
    tokens: Sequence[str], room: float, most_lines: int | None = None, narrowest: float = 0
) -> list[tuple[int, float, float]]:
    """Return (line from 0, x, width) of the tokens' chips, for the tokens that fit.

    A line is at most `room` wide, a chip at least `narrowest`. The last of `most_lines` leaves
    COUNT_WIDTH free.
    """
    places, line, x = [], 0, 0.0
    for token in tokens:
        is_last = line + 1 == most_lines
        width = max(narrowest, chip_width(shortened(token)))
        if x and x + width > room - (COUNT_WIDTH if is_last else 0):
            if is_last:
                break
            line, x = line + 1, 0.0
        places.append((line, x, width))
        x += width
    return places


def shortened(token: str, most: int = CHIP_LETTERS) -> str:
    """Return a token with at most `most` letters, the last of them "…" if some are missing."""
    return token if len(token) <= most else token[: most - 1] + "…"


def chip_width(token: str) -> float:
    """Return how wide a token's chip is, with the gap to the next one.

    Chinese and Japanese letters are as wide as two others.
    """
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in token)
    return CHIP_AROUND + LETTER_WIDTH * (len(token) + wide)


def chip(
    token: str, x: float, y: float, width: float, dashes: str = "", fill: str = CHIP_FILL
) -> list[str]:
    """Return a token's box and text; `dashes` are those of its border."""
    left, wide = x + CHIP_GAP / 2, width - CHIP_GAP
    box = rect(left, y, wide, CHIP_HEIGHT, fill, GREY, rx=4, dashes=dashes)
    middle = x + width / 2
    return [box, text(middle, y + 14, shortened(token), 12, "middle", mono=True, fill=TEXT)]
