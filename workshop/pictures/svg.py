"""Strokes, words and axes in SVG: what all the course's own pictures are drawn with.

Lengths are in pixels; x grows to the right and y downwards, and a text's y is that of its baseline.
What is drawn in INK has the class "ink", to which a widget gives the page's own colour, so that it
stands out on dark paper, too; ORANGE and BLUE stand out on both.

Tokens as chips: a small box for each, in lines.

The picture of the classifier has them below its input, those of a message hold nothing else. A
token is what `visible_tokens` returns. Lengths are in pixels, as in `svg`.
"""

import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

INK, TEXT = "#333333", "#111111"  # on the paper, in a filled box


ORANGE, BLUE = "#d55e00", "#2e86c1"


@dataclass(frozen=True, repr=False)
class Drawing:
    """A picture as SVG, and what it shows in words.

    A notebook shows the picture, or the words where it can't.
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
    """Return a whole picture on white paper; `words` are for who can't see it."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="fx-drawing" '
        f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" '
        f'style="max-width:100%;height:auto" role="img" aria-label="{escape(words)}" '
        'font-family="system-ui, Helvetica, Arial, sans-serif">',
        f'<rect class="paper" width="{width:g}" height="{height:g}" fill="white"/>',
        *filter(None, drawn),
        "</svg>",
    ]
    return Drawing("\n".join(lines), words)


def below_each_other(drawings: Sequence[Drawing], titles: Sequence[str]) -> Drawing:
    """Return several pictures as one, each below its title; the words, too, in this order."""
    room, y, drawn = 26, 0.0, []
    for drawing, title in zip(drawings, titles, strict=True):
        drawn.append(text(12, y + 19, title, size=14, bold=True))
        drawn.append(_moved(drawing, 0, y + room))
        y += room + drawing.size[1]
    lines = (f"{title}: {each.words}" for title, each in zip(titles, drawings, strict=True))
    return picture(drawn, "\n".join(lines), max(each.size[0] for each in drawings), y)


def side_by_side(*drawings: Drawing) -> Drawing:
    """Return several pictures as one, beside each other; the words, too, in this order."""
    x, drawn = 0.0, []
    for drawing in drawings:
        drawn.append(_moved(drawing, x, 0))
        x += drawing.size[0]
    words = "\n".join(each.words for each in drawings)
    return picture(drawn, words, x, max(each.size[1] for each in drawings))


def _moved(drawing: Drawing, x: float, y: float) -> str:
    """What a picture shows, without its frame, moved right and down."""
    svg = drawing.svg
    inside = svg[svg.index(">") + 1 : svg.rindex("</svg>")].strip("\n")
    return f'<g transform="translate({length(x)} {length(y)})">\n{inside}\n</g>'


# --- strokes --------------------------------------------------------------------------------------


def length(value: float) -> str:
    """Return a length with at most one digit after the point."""
    return f"{round(value, 1):g}" if abs(value) < 1e5 else f"{value:.0f}"


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
    """Return words at a place; `anchor` is "start", "middle" or "end", `css` a class."""
    css = css or ("ink" if fill == INK else "")
    attributes = f' class="{css}"' if css else ""
    attributes += ' font-family="monospace"' if mono else ""
    attributes += ' font-weight="bold"' if bold else ""
    attributes += f' text-anchor="{anchor}"' if anchor != "start" else ""
    return (
        f'<text x="{length(x)}" y="{length(y)}" font-size="{size}" fill="{fill}"{attributes}>'
        f"{escape(words)}</text>"
    )


def path(strokes: str, colour: str = INK, width: float = 1.5, dashes: str = "") -> str:
    """Return lines, which are not filled, from SVG's path commands.

    `dashes`, "6 4", are the lengths of strokes and of gaps.
    """
    more = ' class="ink"' if colour == INK else ""
    more += f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<path d="{strokes}" fill="none" stroke="{colour}" stroke-width="{width:g}"{more}/>'


def line(points: Sequence[tuple[float, float]], colour: str = INK, width: float = 2) -> str:
    """Return a line through points; none through no points."""
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
    x: float, y: float, width: float, height: float, fill: str, stroke: str = "none", rx: float = 0
) -> str:
    """Return a box."""
    return (
        f'<rect x="{length(x)}" y="{length(y)}" width="{length(width)}" '
        f'height="{length(height)}" rx="{rx:g}" fill="{fill}" stroke="{stroke}"/>'
    )


def circle(
    x: float, y: float, radius: float, fill: str, stroke: str = "none", width: float = 1.5
) -> str:
    """Return a disc, or with `fill` "none" a ring."""
    return (
        f'<circle cx="{length(x)}" cy="{length(y)}" r="{radius:g}" fill="{fill}" '
        f'stroke="{stroke}" stroke-width="{width:g}"/>'
    )


def within(share: float) -> float:
    """Return a share, cut to 0 … 1."""
    return min(max(share, 0.0), 1.0)


def mixed(share: float, colour: str, ground: str = "#ffffff") -> str:
    """Return a colour laid over a ground, 0 none of it … 1 nothing else."""
    top, below = ([int(code[i : i + 2], 16) for i in (1, 3, 5)] for code in (colour, ground))
    share = within(share)
    return "#" + "".join(
        f"{round(share * a + (1 - share) * b):02x}" for a, b in zip(top, below, strict=True)
    )


# --- axes -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Axes:
    """A frame (left, top, width, height) in pixels, and the values that it spans."""

    frame: tuple[float, float, float, float]
    xs: tuple[float, float]
    ys: tuple[float, float]
    log_x: bool = False

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return where a point lies, in pixels; what is outside lies on the edge."""
        left, top, width, height = self.frame
        low, high = map(math.log, self.xs) if self.log_x else self.xs
        share = ((math.log(x) if self.log_x else x) - low) / (high - low)
        up = (y - self.ys[0]) / (self.ys[1] - self.ys[0])
        return left + width * within(share), top + height * (1 - within(up))

    def drawn(
        self, x_label: str, y_label: str, x_ticks: Sequence[float], y_ticks: Sequence[float] = ()
    ) -> Iterator[str]:
        """Yield the two axes with their names and ticks; those of y are round ones by default."""
        left, top, width, height = self.frame
        bottom, right = top + height, left + width
        yield path(f"M{left:g},{top:g}V{bottom:g}H{right:g}", width=1)
        for tick in x_ticks:
            x, _ = self.at(tick, self.ys[0])
            yield path(f"M{length(x)},{bottom:g}v4", width=1)
            yield text(x, bottom + 17, f"{tick:,g}", size=11, anchor="middle")
        for tick in y_ticks or linear_ticks(*self.ys):
            _, y = self.at(self.xs[0], tick)
            yield path(f"M{left - 4:g},{length(y)}H{left:g}", width=1)
            words = f"{tick:,g}" if y_ticks else f"{tick:.1f}"
            yield text(left - 7, y + 4, words, size=11, anchor="end")
        yield text((left + right) / 2, bottom + 34, x_label, anchor="middle")
        yield text(left, top - 10, y_label, anchor="middle")


def linear_ticks(low: float, high: float) -> list[float]:
    """Return at most about six multiples of 0.1, 0.2 or 0.5 within a range."""
    step = next((step for step in (0.1, 0.2, 0.5) if (high - low) / step <= 6), 1.0)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 10, 100 … within a range; with 2 and 5 between them where these are few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1,), (1, 3), (1, 2, 5)):
        ticks = [digit * 10.0**power for power in powers for digit in digits]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) >= 3:
            return inside
    return inside


def whole_ticks(last: int) -> list[int]:
    """Return at most seven or so whole numbers from 0, evenly spaced, up to `last`."""
    return list(range(0, last + 1, max(1, math.ceil(last / 6))))


CHIP_FILL, CHIP_EDGE = "#eeeeee", "#767676"


CHIP_LINES = 3  # more tokens than fit into these are counted


CHIP_HEIGHT, CHIP_STEP = 19, 24  # of a box, and from one line of them to the next


CHIP_LETTERS, LETTER_WIDTH = 24, 7.3  # at most, and in the monospaced font


CHIP_GAP, CHIP_AROUND = 4, 14  # between two boxes; that and what is left free around the letters


COUNT_WIDTH = 170  # for "… 1,000 more"


BYTES_NOTE = "⟨ ⟩ holds the bytes of a token that is only a part of a character"


@dataclass(frozen=True)
class Chips:
    """The boxes of the tokens, as SVG, and the y below them."""

    drawn: tuple[str, ...]
    bottom: float


def draw_chips(tokens: Sequence[str], middle: float, top: float, room: float) -> Chips:
    """Draw tokens in lines of at most `room` around `middle`, in as many as CHIP_LINES."""
    lines = lines_of_chips(tokens, room, CHIP_LINES)
    more = len(tokens) - sum(map(len, lines))
    drawn, y = [], top
    for line in lines:
        x = middle - sum(width for _, width in line) / 2
        for token, width in line:
            drawn += chip(token, x, y, width)
            x += width
        if more and line is lines[-1]:
            drawn.append(text(x + 6, y + 14, f"… {more:,} more", size=12))
        y += CHIP_STEP
    if any("⟨" in token for token in tokens):
        drawn.append(text(middle, y + 10, BYTES_NOTE, size=11, anchor="middle"))
        y += 18
    return Chips(tuple(drawn), y - 2)


def lines_of_chips(
    tokens: Sequence[str], room: float, most: int, narrowest: float = 0
) -> list[list[tuple[str, float]]]:
    """Return at most `most` lines of (token, width), each line at most `room` wide.

    A token is cut to CHIP_LETTERS; no chip is narrower than `narrowest`. Where not all fit, the last
    line leaves COUNT_WIDTH free.
    """
    lines: list[list[tuple[str, float]]] = []
    used = 0.0
    for token in map(cut, tokens):
        width = max(narrowest, chip_width(token))
        free = room - (COUNT_WIDTH if len(lines) == most else 0)
        if not lines or used + width > free:
            if len(lines) == most:
                break
            lines.append([])
            used = 0.0
        lines[-1].append((token, width))
        used += width
    return lines


def cut(token: str) -> str:
    """Return a token with at most CHIP_LETTERS letters, the last of them "…" if some are missing."""
    return token if len(token) <= CHIP_LETTERS else token[: CHIP_LETTERS - 1] + "…"


def chip_width(token: str) -> float:
    """Return how wide a token's chip is, the gap to the next one included."""
    return CHIP_AROUND + LETTER_WIDTH * sum(map(_letters_wide, token))


def _letters_wide(character: str) -> int:
    """Return how many letters' width a character takes: Chinese and Japanese ones two."""
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def chip(token: str, x: float, y: float, width: float, dashes: str = "") -> Iterator[str]:
    """Yield one chip with its upper left corner at a place; `dashes` are those of its border."""
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    yield (
        f'<rect x="{x + CHIP_GAP / 2:g}" y="{y:g}" width="{width - CHIP_GAP:g}" '
        f'height="{CHIP_HEIGHT}" rx="4" fill="{CHIP_FILL}" stroke="{CHIP_EDGE}"{dashed}/>'
    )
    yield text(x + width / 2, y + 14, token, size=12, anchor="middle", mono=True, fill=TEXT)
