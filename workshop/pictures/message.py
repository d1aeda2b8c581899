"""Pictures of one message: its tokens, what is predicted for it, attention, each token's influence.

Fractions and influences are rounded to two digits before anything is drawn of them, so that a
picture is the same on another processor. An influence is in nats: above 0 towards spam, below 0
towards ham, and nan where there is nothing to compare with (see `workshop.inside`).
"""

import math
from collections.abc import Collection, Sequence

import torch

from helpers.tokenizer import encode_message, get_tokenizer, visible_tokens
from workshop.pictures.svg import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    Axes,
    Drawing,
    circle,
    draw_chips,
    line,
    mixed,
    picture,
    text,
)
from workshop.texts import counted

# --- tokens and their ids -------------------------------------------------------------------------


def draw_tokens(texts: Sequence[str]) -> Drawing:
    """Return a picture of each text's tokens, a chip for each, with the token's id below it.

    A space is shown as ␣. Six lines of a long text are drawn; the words hold all of it. Raises
    ValueError for a text of nothing but white space.
    """
    drawn, lines, y = [], [], 0.0
    for message in texts:
        ids = encode_message(message, get_tokenizer())
        tokens, below = visible_tokens(ids, get_tokenizer()), [str(token_id) for token_id in ids]
        title = counted(len(ids), "token")
        drawn.append(text(20, y + 20, title, bold=True))
        chips, y = draw_chips(tokens, 20, y + 28, 560, 6, below)
        drawn += chips
        pairs = [f"{token} {number}" for token, number in zip(tokens, below, strict=True)]
        lines.append(f"{title}: {', '.join(pairs)}")
    return picture(drawn, "\n".join(lines), 600, y + 6)


# --- what is predicted ----------------------------------------------------------------------------


def draw_after_blocks(spam: Sequence[float]) -> Drawing:
    """Return a curve of the probability of spam if the head read the vectors after 0, 1, … blocks."""
    last = len(spam) - 1
    axes = Axes((58, 24, 280, 76), (0, last), (0, 1))
    ticks = range(0, last + 1, 1 + last // 13)
    drawn = [*axes.drawn("number of blocks", "spam", ticks, (0, 0.5, 1))]
    drawn.append(line([axes.at(0, 0.5), axes.at(last, 0.5)], GREY, 1))
    points, steps = [], []
    for i, p in enumerate(spam):
        points.append(axes.at(i, round(p, 2)))
        steps.append(f"{p:.2f} after {i}")
        drawn.append(circle(*points[-1], 3.5, ORANGE))
    drawn.append(line(points, ORANGE))
    words = (
        f"probability of spam by the number of blocks that the head reads after: {', '.join(steps)}"
    )
    return picture(drawn, words, 360, 142)


# --- attention ------------------------------------------------------------------------------------

WIDTH = 720
PAD = "<|endoftext|>"


def draw_attention(tokens: Sequence[str], shares: Sequence[float], title: str) -> Drawing:
    """Return a picture of a message's tokens as chips, each with its share of attention below it.

    A chip is the darker the larger the share; "·" stands for a share below 0.005.
    """
    below, fills, lines = [], [], []
    for token, share in zip(tokens, shares, strict=True):
        number = f"{share:.2f}".removeprefix("0")
        below.append("·" if number == ".00" else number)
        fills.append(mixed(0.7 * round(share, 2), BLUE))
        if number != ".00":
            lines.append(f"{token} {share:.2f}")
    drawn, y = draw_chips(tokens, 0, 26, WIDTH, None, below, fills)
    drawn.append(text(0, 14, title, 13, bold=True))
    return picture(drawn, f"{title}: {', '.join(lines)}", WIDTH, y + 6)


def named_shares(
    tokens: Sequence[str], shares: torch.Tensor, place: int | None
) -> tuple[list[str], list[float]]:
    """Return names and shares of attention, with the padding behind the message added up.

    `tokens` are those of the message, `shares` (m,) the shares of the whole sequence, and `place` is
    the position of the token that classifies, None if there is no single one. That token is marked
    as "(itself)". Padding that can't be seen is left out.
    """
    num_tokens = len(tokens)
    names, values = list(tokens), shares[:num_tokens].tolist()
    padding, itself = shares[num_tokens:].tolist(), []
    if place is not None and place >= num_tokens:
        itself = [padding.pop()]
    elif place is not None:
        names[place] += " (itself)"
    if any(padding):
        names.append(f"{len(padding)} × {PAD}" if len(padding) > 1 else PAD)
        values.append(sum(padding))
    if itself:
        names.append(f"{PAD} (itself)")
    return names, values + itself


# --- influence ------------------------------------------------------------------------------------

FACTORS = (1.1, 1.5, 3.0)  # of the odds; from each on a mark has one more sign
SIGNS = {"spam": "+", "ham": "−", "neither": "·"}
COLOURS = {"spam": ORANGE, "ham": BLUE, "neither": INK}
SHADES = (0.0, 0.2, 0.45, 0.7)  # how strong the colour is, by the size of the mark
LEGEND = (  # two lines
    "+ towards spam, − towards ham, · hardly anything.",
    "One sign: the token changes the odds of spam by a factor of {:g} or more; two: of {:g}; "
    "three: of {:g}.".format(*FACTORS),
)


def side_and_size(influence: float) -> tuple[str, int]:
    """Return "spam", "ham" or "neither", and how many signs the mark has, 0 to 3."""
    nats = round(influence, 2)  # nan is larger than no factor
    size = sum(abs(nats) >= math.log(factor) for factor in FACTORS)
    if not size:
        return "neither", 0
    return ("spam" if nats > 0 else "ham"), size


def mark(influence: float) -> str:
    """Return the mark: "++" towards spam, "−" towards ham, "·" for hardly anything."""
    side, size = side_and_size(influence)
    return SIGNS[side] * max(1, size)


def say_influence(influence: float) -> str:
    """Return an influence in words: "1.20 nats towards spam"."""
    if math.isnan(influence):
        return "the only token"
    size = f"{abs(influence):.2f} nats"
    if size == "0.00 nats":
        return size
    return f"{size} towards {'spam' if influence > 0 else 'ham'}"


def draw_influence(
    tokens: Sequence[str], influences: Sequence[float], title: str, left_out: Collection[int]
) -> Drawing:
    """Return a picture of a message's tokens as chips, each with its mark below it.

    The tokens at the indices `left_out` have a ✕ instead.
    """
    below, fills, lines = [], [], []
    for i, influence in enumerate(influences):
        side, size = side_and_size(influence)
        fills.append(mixed(SHADES[size], COLOURS[side]))
        below.append("✕" if i in left_out else mark(influence))
        lines.append(f"{tokens[i]} {'left out' if i in left_out else say_influence(influence)}")
    drawn, y = draw_chips(tokens, 0, 26, WIDTH, None, below, fills)
    drawn.append(text(0, 14, title, 13, bold=True))
    for i, legend in enumerate(LEGEND):
        drawn.append(text(0, y + 16 + 16 * i, legend, 11))
    return picture(drawn, f"{title}: {'; '.join(lines)}", WIDTH, y + 40)
