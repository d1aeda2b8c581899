"""Tokens as chips: a small box for each, in lines.

The picture of the classifier has them below its input, those of a message hold nothing else. A
token is what `visible_tokens` returns. Lengths are in pixels, as in `svg`.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from helpers.svg import TEXT, text

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
