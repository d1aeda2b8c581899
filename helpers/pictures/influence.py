"""What each token of a message does for the answer: as chips and in words.

An influence is in nats, above 0 towards spam, below 0 towards ham, and not a number where there is
nothing to compare with (see `helpers.reading`). It is rounded to two digits before anything is drawn
of it. Colour, sign and size of the mark say the same.
"""

import math
import unicodedata
from collections.abc import Collection, Iterator, Sequence

from helpers.svg import BLUE, INK, ORANGE, TEXT, Drawing, mixed, path, picture, rect, text

FACTORS = (1.1, 1.5, 3.0)  # of the odds, from which on a mark has one, two, three signs
SIGNS = {"spam": "+", "ham": "−"}
COLOURS = {"spam": ORANGE, "ham": BLUE}
SHADES = (0.0, 0.2, 0.45, 0.7)  # how much of the colour lies on white, by the size of the mark
WIDTH = 720
LETTERS = 24  # of a token that are drawn, at most
LEGEND = (  # two lines
    "+ towards spam, − towards ham, · hardly anything.",
    f"One sign: the token changes the odds of spam by a factor of {FACTORS[0]:g} or more; two: of "
    f"{FACTORS[1]:g}; three: of {FACTORS[2]:g}.",
)


def towards(influence: float) -> str:
    """Return "spam" or "ham"; "" where it is too little for a mark."""
    return ("spam" if influence > 0 else "ham") if size_of_mark(influence) else ""


def size_of_mark(influence: float) -> int:
    """Return how many signs a mark has, 0 to 3."""
    if math.isnan(influence):
        return 0
    size = abs(round(influence, 2))
    return sum(size >= math.log(factor) for factor in FACTORS)


def mark(influence: float) -> str:
    """Return the mark: "++" towards spam, "−" towards ham, "·" for hardly anything."""
    return SIGNS.get(towards(influence), "·") * max(1, size_of_mark(influence))


def say_influence(influence: float) -> str:
    """Return an influence in words: "1.20 nats towards spam"."""
    if math.isnan(influence):
        return "the only token"
    size = f"{abs(influence):.2f}"
    side = " towards " + ("spam" if influence > 0 else "ham")
    return f"{size} nats{side if float(size) else ''}"


# --- on a button ----------------------------------------------------------------------------------


def chip_words(token: str, influence: float, left_out: bool) -> str:
    """Return what stands on a token's button."""
    return f"{shortened(token)}  {'✕ left out' if left_out else mark(influence)}"


def chip_hint(influence: float, left_out: bool) -> str:
    """Return what a press on a token's button does, and what its colour says."""
    return f"{say_influence(influence)}; press to {'bring it back' if left_out else 'leave it out'}"


def chip_class(influence: float) -> str:
    """Return the CSS class of a token's button, by direction and size: "mm-spam-2"."""
    side = towards(influence)
    return f"mm-{side}-{size_of_mark(influence)}" if side else "mm-neither"


def chip_colours() -> str:
    """Return the buttons' colours as CSS rules."""
    rules = [".message-microscope .mm-neither { background: #ffffff; }"]
    for side, colour in COLOURS.items():
        for size in (1, 2, 3):
            rules.append(
                f".message-microscope .mm-{side}-{size} {{ background: "
                f"{mixed(SHADES[size], colour)}; border-color: {colour}; "
                f"border-bottom-width: {1 + 2 * size}px; }}"
            )
    return "\n".join(rules)


# --- as a picture --------------------------------------------------------------------------------


def draw_influence(
    tokens: Sequence[str],
    influences: Sequence[float],
    title: str = "",
    left_out: Collection[int] = (),
) -> Drawing:
    """Draw a message's tokens as chips, each with its mark, and under it a bar as long as that."""
    drawn, x, y = [text(0, 14, title, size=13, bold=True)] if title else [], 0.0, 26.0
    for i, (token, value) in enumerate(zip(tokens, influences, strict=True)):
        width = chip_width(shortened(token))
        if x and x + width > WIDTH:
            x, y = 0.0, y + 52
        drawn += _chip(shortened(token), value, i in left_out, x, y, width)
        x += width
    drawn += [text(0, y + 60 + 16 * i, line, size=11) for i, line in enumerate(LEGEND)]
    words = "; ".join(
        f"{token} {'left out' if i in left_out else say_influence(value)}"
        for i, (token, value) in enumerate(zip(tokens, influences, strict=True))
    )
    return picture(drawn, f"{title}: {words}" if title else words, WIDTH, y + 84)


def shortened(token: str) -> str:
    """Return a token, cut where it is too long to be shown."""
    return token if len(token) <= LETTERS else token[: LETTERS - 1] + "…"


def chip_width(token: str) -> float:
    """Return how wide a token's box is, in pixels; Chinese and Japanese letters take two places."""
    wide = sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in token)
    return 18 + 7.3 * max(wide, 2)


def _chip(
    token: str, influence: float, left_out: bool, x: float, y: float, width: float
) -> Iterator[str]:
    colour, size = COLOURS.get(towards(influence), INK), size_of_mark(influence)
    yield rect(x + 2, y, width - 4, 20, mixed(SHADES[size], colour), "#767676", rx=4)
    middle = x + width / 2
    yield text(middle, y + 14, token, anchor="middle", mono=True, fill=TEXT)
    if left_out:
        yield path(f"M{x + 4:.1f},{y + 10:g}H{x + width - 4:.1f}")
    yield text(middle, y + 34, mark(influence), size=13, anchor="middle", bold=True)
