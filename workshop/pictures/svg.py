"""Drawings in SVG: the shapes, axes and boxes of tokens that the course's own pictures consist of.

Lengths are in pixels; x grows to the right and y downwards, and a text's y is that of its baseline.
What is drawn in INK has the class "ink", which a widget fills with the page's own text colour, so
that it can be read on dark paper. ORANGE and BLUE can be seen on white and on dark paper.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape

import numpy as np
from matplotlib.colors import to_hex, to_rgb
from matplotlib.ticker import MaxNLocator

INK, TEXT = "#333333", "#111111"  # on the paper, in a filled box
WAY = "#a3326e"  # of the gradient
CSS = {INK: ' class="ink"', WAY: ' class="way"'}  # on dark paper their colour changes
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


def joined(drawings: Sequence[Drawing], titles: Sequence[str] = ()) -> Drawing:
    """Return several drawings as one, each below its title; next to each other without titles.

    Their words follow in the same order.
    """
    drawn, lines, width, height = [], [], 0.0, 0.0
    for i, drawing in enumerate(drawings):
        inside = drawing.svg.partition(">")[2].removesuffix("</svg>").strip()
        if titles:
            drawn.append(text(12, height + 19, titles[i], 14, bold=True))
            x, y, words = 0, height + 26, f"{titles[i]}: {drawing.words}"
        else:
            x, y, words = width, 0, drawing.words
        drawn.append(f'<g transform="translate({x:g} {y:g})">\n{inside}\n</g>')
        lines.append(words)
        width, height = max(width, x + drawing.size[0]), max(height, y + drawing.size[1])
    return picture(drawn, "\n".join(lines), width, height)


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
) -> str:
    """Return a text; `anchor` is "start", "middle" or "end"."""
    attributes = CSS.get(fill, "")
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
    more = CSS.get(colour, "")
    more += f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<path d="{strokes}" fill="none" stroke="{colour}" stroke-width="{width:g}"{more}/>'


def line(points: Sequence[tuple[float, float]], colour: str, width: float = 2) -> str:
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


def circle(x: float, y: float, radius: float, fill: str, stroke: str = "none") -> str:
    """Return a disc, or a ring where `fill` is "none"."""
    return (
        f'<circle cx="{length(x)}" cy="{length(y)}" r="{radius:g}" fill="{fill}" '
        f'stroke="{stroke}" stroke-width="1.5"/>'
    )


@cache  # there are few fractions, and a token has one at every key
def mixed(fraction: float, colour: str) -> str:
    """Return a colour mixed with white: 0 is white, 1 the colour itself."""
    return to_hex(1 - fraction * (1 - np.array(to_rgb(colour))))


# --- axes -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Axes:
    """A frame (left, top, width, height) in pixels, and the values that it spans."""

    frame: tuple[float, float, float, float]
    xs: tuple[float, float]
    ys: tuple[float, float]

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return where a point lies, in pixels; a point outside is moved to the edge."""
        left, top, width, height = self.frame
        right = np.interp(x, self.xs, (left, left + width))
        down = np.interp(y, self.ys, (top + height, top))
        return round(float(right), 1), round(float(down), 1)

    def drawn(
        self,
        x_label: str,
        y_label: str,
        x_ticks: Sequence[float],
        y_ticks: Sequence[float] | None = None,
    ) -> Iterator[str]:
        """Yield both axes with their names and ticks; by default those of y are round numbers."""
        left, top, width, height = self.frame
        yield path(f"M{left:g},{top:g}v{height:g}h{width:g}", width=1)
        for tick in x_ticks:
            x, y = self.at(tick, self.ys[0])
            yield path(f"M{x:g},{y:g}v4", width=1)
            yield text(x, y + 17, f"{tick:,g}", 11, "middle")
        for tick in round_ticks(*self.ys) if y_ticks is None else y_ticks:
            x, y = self.at(self.xs[0], tick)
            yield path(f"M{x:g},{y:g}h-4", width=1)
            yield text(x - 7, y + 4, f"{tick:,g}", 11, "end")
        yield text(left + width / 2, top + height + 34, x_label, anchor="middle")
        yield text(left, top - 10, y_label, anchor="middle")


def round_ticks(low: float, high: float, whole: bool = False) -> list[float]:
    """Return at most about seven evenly spaced round numbers from `low` to `high`."""
    ticks = MaxNLocator(6, steps=[1, 2, 5, 10], integer=whole).tick_values(low, high)
    return [tick for tick in ticks.round(10).tolist() if low <= tick <= high]


# --- tokens as chips: a small box for each --------------------------------------------------------

CHIP_STEP = 24  # from one line of boxes to the next
NARROWEST = 42  # a chip with an id of five digits below it


def draw_chips(
    tokens: Sequence[str],
    x: float,
    y: float,
    room: float,
    most_lines: int | None = None,
    below: Sequence[str] = (),
    fills: Sequence[str] = (),
) -> tuple[list[str], float]:
    """Return the tokens' chips in lines from (x, y), and the y of what may follow below them.

    A line is `room` wide; tokens that don't fit into `most_lines` are only counted. `below` has a
    word for each token, `fills` a colour.
    """
    drawn, left, line, right = [], x, 0, x + room
    step = CHIP_STEP + 20 if below else CHIP_STEP
    for i, token in enumerate(tokens):
        width = max(chip_width(token), NARROWEST if below else 0)
        is_last = line + 1 == most_lines
        if left > x and left + width > (right - 170 if is_last else right):  # for the count
            if is_last:
                drawn.append(text(left + 6, y + step * line + 14, f"… {len(tokens) - i:,} more"))
                break
            left, line = x, line + 1
        top, middle, fill = y + step * line, left + width / 2, fills[i] if fills else "#eeeeee"
        drawn += [
            rect(left + 2, top, width - 4, 19, fill, GREY, 4),
            text(middle, top + 14, shortened(token), 12, "middle", mono=True, fill=TEXT),
        ]
        if below:
            drawn.append(text(middle, top + 34, below[i], anchor="middle"))
        left += width
    bottom = y + step * (line + 1) - 2
    if any("⟨" in token for token in tokens):
        note = "⟨ ⟩ holds the bytes of a token that is only a part of a character"
        drawn.append(text(x, bottom + 12, note, 11))
        bottom += 18
    return drawn, bottom


def shortened(token: str, most: int = 24) -> str:
    """Return a token with at most `most` letters, the last of them "…" if some are missing."""
    return token if len(token) <= most else token[: most - 1] + "…"


def chip_width(token: str) -> float:
    """Return how wide a token's chip is, with the gap to the next one."""
    return 14 + 7.3 * len(shortened(token))  # a letter in the monospaced font, and the space around
