"""Pictures of one message: its tokens, what is predicted for it, attention, each token's influence.

Fractions and influences are rounded to two digits before anything is drawn of them, so that a
picture is the same on another processor. An influence is in nats: above 0 towards spam, below 0
towards ham, and nan where there is nothing to compare with (see `workshop.inside`).
"""

import math
from collections.abc import Collection, Mapping, Sequence

import tiktoken
import torch

from helpers.tokenizer import encode_message, get_tokenizer, visible_tokens
from workshop.pictures.svg import (
    BLUE,
    BYTES_NOTE,
    GREY,
    INK,
    ORANGE,
    TEXT,
    Axes,
    Drawing,
    chip,
    circle,
    line,
    mixed,
    path,
    picture,
    place_chips,
    rect,
    shortened,
    text,
)
from workshop.texts import counted

# --- tokens and their ids -------------------------------------------------------------------------

TOKENS_WIDTH, MARGIN = 600, 20
MOST_LINES, LINE_STEP = 6, 42  # of one text's tokens


def draw_tokens(texts: Sequence[str], tokenizer: tiktoken.Encoding | None = None) -> Drawing:
    """Return a picture of each text's tokens, a chip for each, with the token's id below it.

    A space is shown as ␣. A dashed border marks a token that continues the word of the token before
    it. Raises ValueError for no text, and for one of nothing but white space.
    """
    if not texts or isinstance(texts, str):
        raise ValueError(f"give a list of at least one text, not {texts!r}")
    tokenizer = tokenizer or get_tokenizer()
    drawn, lines, notes, y = [], [], [], 0
    for message in texts:
        ids = encode_message(message, tokenizer)
        tokens = visible_tokens(ids, tokenizer)
        title, shown, before = counted(len(ids), "token"), [], " "
        drawn.append(text(MARGIN, y + 20, title, bold=True))
        narrowest = 10 + 6.5 * max(len(str(token_id)) for token_id in ids)
        places = place_chips(tokens, TOKENS_WIDTH - 2 * MARGIN, MOST_LINES, narrowest)
        for token, token_id, (row, x, width) in zip(tokens, ids, places, strict=False):
            left, top = MARGIN + x, y + 28 + LINE_STEP * row
            piece = tokenizer.decode([token_id])
            continues = before[-1].isalnum() and piece[0].isalnum()
            before = piece
            drawn += chip(token, left, top, width, dashes="3 2" if continues else "")
            drawn.append(text(left + width / 2, top + 32, f"{token_id}", 11, "middle"))
            remark = " (goes on with the word before it)" if continues else ""
            shown.append(f"{token} {token_id}{remark}")
            if continues:
                notes.append("dashed border: goes on with the word before it")
        if len(places) < len(ids):
            more = f"… {len(ids) - len(places):,} more"
            drawn.append(text(left + width + 6, top + 14, more))
            shown.append(more)
        if any("⟨" in token for token in tokens):
            notes.append(BYTES_NOTE)
        lines.append(f"{title}: {', '.join(shown)}")
        y = top + LINE_STEP
    for note in dict.fromkeys(notes):
        drawn.append(text(MARGIN, y + 12, note, size=11))
        y += 18
    return picture(drawn, "\n".join(lines), TOKENS_WIDTH, y + 6)


# --- what is predicted ----------------------------------------------------------------------------


def draw_probabilities(spam: float) -> Drawing:
    """Return one message's two probabilities as one bar: ham on the left, spam on the right."""
    spam, width = round(spam, 2), 360
    ham_width = round(width * (1 - spam))
    ham_words, spam_words = f"ham {1 - spam:.2f}", f"spam {spam:.2f}"
    drawn = [
        rect(0, 3, ham_width, 24, mixed(0.45, BLUE)),
        rect(ham_width, 3, width - ham_width, 24, mixed(0.45, ORANGE)),
        text(8, 20, ham_words, 13, bold=spam < 0.5, fill=TEXT),
        text(width - 8, 20, spam_words, 13, "end", bold=spam >= 0.5, fill=TEXT),
    ]
    return picture(drawn, f"{ham_words}, {spam_words}", width, 30)


def draw_after_blocks(spam: Sequence[float]) -> Drawing:
    """Return a curve of the probability of spam if the head read the vectors after 0, 1, … blocks."""
    spam = [round(p, 2) for p in spam]
    last = len(spam) - 1
    axes = Axes((58, 24, 280, 76), (0, max(last, 1)), (0.0, 1.0))
    points = [axes.at(i, p) for i, p in enumerate(spam)]
    ticks = range(0, last + 1, max(1, math.ceil(last / 12)))
    drawn = [
        *axes.drawn("after so many blocks", "spam", ticks, (0, 0.5, 1)),
        line([axes.at(0, 0.5), axes.at(max(last, 1), 0.5)], GREY, 1),
        line(points, ORANGE),
        *(circle(x, y, 3.5, ORANGE) for x, y in points),
    ]
    steps = ", ".join(f"{p:.2f} after {i}" for i, p in enumerate(spam))
    words = f"probability of spam by the number of blocks that the head reads after: {steps}"
    return picture(drawn, words, 360, 142)


# --- attention ------------------------------------------------------------------------------------

WIDTH, BAR = 720, 60
PAD = "<|endoftext|>"


def draw_attention(tokens: Sequence[str], shares: Sequence[float], title: str) -> Drawing:
    """Return a picture with a bar above each token; a share of 1 is BAR high."""
    drawn, lines, bottom = [text(0, 14, title, 13, bold=True)], [], 0
    places = place_chips(tokens, WIDTH, narrowest=36)
    for token, share, (row, x, width) in zip(tokens, shares, places, strict=True):
        share = round(share, 2)
        height, middle, bottom = round(BAR * share), x + width / 2, 38 + BAR + (BAR + 46) * row
        if height:
            drawn.append(rect(middle - 9, bottom - height, 18, height, BLUE))
        if share:
            lines.append(f"{token} {share:.2f}")
        number = _two_digits(share) if share else "·"
        drawn.append(text(middle, bottom - height - 3, number, 11, "middle"))
        drawn += chip(token, x, bottom + 2, width, fill=mixed(0.7 * share, BLUE))
    return picture(drawn, f"{title}: {', '.join(lines)}", WIDTH, bottom + 32)


def _two_digits(share: float) -> str:
    return f"{share:.2f}".removeprefix("0")


def named_shares(
    tokens: Sequence[str], shares: torch.Tensor, place: int | None
) -> tuple[list[str], list[float]]:
    """Return names and shares of attention, with the padding behind the message added up.

    `tokens` are those of the message, `shares` (m,) the shares of the whole sequence, and `place` is
    the position of the token that classifies, None if there is no single one. That token is marked
    as "(itself)". Padding that a token of the message can't see is left out.
    """
    names, values = list(tokens), shares[: len(tokens)].tolist()
    padding = shares[len(tokens) :]
    in_message = place is not None and place < len(tokens)
    in_padding = place is not None and not in_message
    others = padding[:-1] if in_padding else padding
    if len(others) and (others.any() or not in_message):
        names.append(f"{len(others)} × {PAD}" if len(others) > 1 else PAD)
        values.append(others.sum().item())
    if in_message:
        names[place] += " (itself)"
    if in_padding:
        names.append(f"{PAD} (itself)")
        values.append(padding[-1].item())
    return names, values


def draw_shares(
    rows: Mapping[str, Sequence[float]], title: str, chosen: int | None = None
) -> Drawing:
    """Return a line of boxes for each row, one for each block, the darker the larger the share.

    A row is a name and the share of attention in each block; block `chosen` is marked. Where there
    are too many blocks for numbers in the boxes, only the words hold them.
    """
    num_blocks = max(len(shares) for shares in rows.values())
    left = 14 + max(7.3 * max(len(name) for name in rows), 40)
    step = min(58.0, (WIDTH - left) / num_blocks)
    size = 12 if step > 30 else 9
    drawn, lines = [text(0, 14, title, 13, bold=True), text(0, 38, "block")], []
    for block in range(num_blocks):
        name = f"▸{block}" if block == chosen else f"{block}"
        middle = left + step * (block + 0.5)
        drawn.append(text(middle, 38, name, size, "middle", bold=block == chosen))
    for i, (name, shares) in enumerate(rows.items()):
        y, numbers = 46 + 30 * i, []
        drawn.append(text(0, y + 18, name, mono=True))
        for block, share in enumerate(shares):
            share, x = round(share, 2), left + step * block
            numbers.append(_two_digits(share))
            drawn.append(rect(x + 1, y, step - 2, 27, mixed(0.7 * share, BLUE), GREY))
            if step > 2 * size:
                drawn.append(text(x + step / 2, y + 18, numbers[-1], size, "middle", fill=TEXT))
        lines.append(f"{name}: {' '.join(numbers)}")
    words = f"{title}, by block from 0: {'; '.join(lines)}"
    return picture(drawn, words, max(left + step * num_blocks, 8 * len(title)), 48 + 30 * len(rows))


# --- influence: its mark, and a token's button ----------------------------------------------------

FACTORS = (1.1, 1.5, 3.0)  # of the odds; from each on a mark has one more sign
SIGNS = {"spam": "+", "ham": "−", "": "·"}
COLOURS = {"spam": ORANGE, "ham": BLUE, "": INK}
SHADES = (0.0, 0.2, 0.45, 0.7)  # how strong the colour is, by the size of the mark
LEGEND = (  # two lines
    "+ towards spam, − towards ham, · hardly anything.",
    f"One sign: the token changes the odds of spam by a factor of {FACTORS[0]:g} or more; two: of "
    f"{FACTORS[1]:g}; three: of {FACTORS[2]:g}.",
)


def towards(influence: float) -> str:
    """Return "spam" or "ham"; "" where the influence is too small for a mark."""
    return ("spam" if influence > 0 else "ham") if size_of_mark(influence) else ""


def size_of_mark(influence: float) -> int:
    """Return how many signs a mark has, 0 to 3."""
    size = abs(round(influence, 2))  # nan is larger than no factor
    return sum(size >= math.log(factor) for factor in FACTORS)


def mark(influence: float) -> str:
    """Return the mark: "++" towards spam, "−" towards ham, "·" for hardly anything."""
    return SIGNS[towards(influence)] * max(1, size_of_mark(influence))


def say_influence(influence: float) -> str:
    """Return an influence in words: "1.20 nats towards spam"."""
    if math.isnan(influence):
        return "the only token"
    size = f"{abs(influence):.2f} nats"
    if size == "0.00 nats":
        return size
    return f"{size} towards {'spam' if influence > 0 else 'ham'}"


def chip_words(token: str, influence: float, left_out: bool) -> str:
    """Return the text on a token's button."""
    return f"{shortened(token)}  {'✕ left out' if left_out else mark(influence)}"


def chip_hint(influence: float, left_out: bool) -> str:
    """Return a token's influence in words, and what a press on its button does."""
    return f"{say_influence(influence)}; press to {'bring it back' if left_out else 'leave it out'}"


def chip_class(influence: float) -> str:
    """Return the CSS class of a token's button, by direction and size: "mm-spam-2"."""
    side = towards(influence)
    return f"mm-{side}-{size_of_mark(influence)}" if side else "mm-neither"


def chip_colours() -> str:
    """Return the buttons' colours as CSS rules."""
    rules = [".message-microscope .mm-neither { background: #ffffff; }"]
    for side in ("spam", "ham"):
        for size in (1, 2, 3):
            rules.append(
                f".message-microscope .mm-{side}-{size} {{ background: "
                f"{mixed(SHADES[size], COLOURS[side])}; border-color: {COLOURS[side]}; "
                f"border-bottom-width: {1 + 2 * size}px; }}"
            )
    return "\n".join(rules)


def draw_influence(
    tokens: Sequence[str],
    influences: Sequence[float],
    title: str = "",
    left_out: Collection[int] = (),
) -> Drawing:
    """Return a picture of a message's tokens as chips, each with its mark below it.

    The tokens at the indices `left_out` are struck through.
    """
    drawn, lines, y = [text(0, 14, title, 13, bold=True)] if title else [], [], 0
    places = place_chips(tokens, WIDTH, narrowest=33)
    for i, (token, influence) in enumerate(zip(tokens, influences, strict=True)):
        row, x, width = places[i]
        y, colour = 26 + 52 * row, COLOURS[towards(influence)]
        drawn += chip(token, x, y, width, fill=mixed(SHADES[size_of_mark(influence)], colour))
        drawn.append(text(x + width / 2, y + 34, mark(influence), 13, "middle", bold=True))
        if i in left_out:
            drawn.append(path(f"M{x + 4:.1f},{y + 10}H{x + width - 4:.1f}"))
        lines.append(f"{token} {'left out' if i in left_out else say_influence(influence)}")
    for i, legend in enumerate(LEGEND):
        drawn.append(text(0, y + 60 + 16 * i, legend, size=11))
    words = "; ".join(lines)
    return picture(drawn, f"{title}: {words}" if title else words, WIDTH, y + 84)
