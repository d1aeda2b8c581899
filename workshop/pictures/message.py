"""Texts as the tokens that a tokenizer cuts them into, with their ids: section 6.3.

What a classifier answers, as a bar, and how the answer forms from block to block.

Where the token that classifies looks: its attention to each token, and block by block.

Shares are rounded to two digits before anything is drawn of them.

What each token of a message does for the answer: as chips and in words.

An influence is in nats, above 0 towards spam, below 0 towards ham, and not a number where there is
nothing to compare with (see `helpers.reading`). It is rounded to two digits before anything is drawn
of it. Colour, sign and size of the mark say the same.
"""

import math
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence

import tiktoken
import torch

from helpers.checks import instance_of
from helpers.tokenizer import encode_message, get_tokenizer, visible_tokens
from workshop.pictures.svg import (
    BLUE,
    BYTES_NOTE,
    CHIP_AROUND,
    CHIP_HEIGHT,
    INK,
    ORANGE,
    TEXT,
    Axes,
    Drawing,
    chip,
    circle,
    line,
    lines_of_chips,
    mixed,
    path,
    picture,
    rect,
    text,
)

WIDTH, MARGIN = 600, 20


TEXT_STEP, LINE_STEP = 28, 42  # above a text's first line; from one line of its tokens to the next


MOST_LINES = 6  # of one text


DIGIT = 6.5  # an id's, in pixels


DASHES = "3 2"  # of the border of a token that goes on with a word


def draw_tokens(texts: Sequence[str], tokenizer: tiktoken.Encoding | None = None) -> Drawing:
    """Draw each text as its tokens, a chip for each, with the token's id below it.

    A space is shown as ␣. A dashed border marks a token that goes on with the word of the one before
    it. Raises ValueError for no text, and for one of nothing but white space.
    """
    instance_of("texts", texts, (list, tuple), "a list of texts")
    if not texts:
        raise ValueError("there is no text to draw; give at least one")
    tokenizer = tokenizer or get_tokenizer()
    drawn, lines, notes, y = [], [], [], 0
    for message in texts:
        ids = encode_message(message, tokenizer)
        tokens = visible_tokens(ids, tokenizer)
        goes_on = _goes_on(ids, tokenizer)
        count = "1 token" if len(ids) == 1 else f"{len(ids):,} tokens"
        drawn.append(text(MARGIN, y + 20, count, bold=True))
        y += TEXT_STEP
        narrowest = CHIP_AROUND + DIGIT * max(len(str(i)) for i in ids) - 4
        rows = lines_of_chips(tokens, WIDTH - 2 * MARGIN, MOST_LINES, narrowest)
        number = 0
        for row in rows:
            x = float(MARGIN)
            for token, width in row:
                drawn += chip(token, x, y, width, DASHES if goes_on[number] else "")
                middle = x + width / 2
                drawn.append(text(middle, y + CHIP_HEIGHT + 13, f"{ids[number]}", 11, "middle"))
                x, number = x + width, number + 1
            if row is rows[-1] and number < len(ids):
                drawn.append(text(x + 6, y + 14, f"… {len(ids) - number:,} more"))
            y += LINE_STEP
        lines.append(f"{count}: {_say(tokens, ids, goes_on, number)}")
        if any(goes_on[:number]):
            notes.append("dashed border: goes on with the word before it")
        if any("⟨" in token for token in tokens):
            notes.append(BYTES_NOTE)
    for note in dict.fromkeys(notes):
        drawn.append(text(MARGIN, y + 12, note, size=11))
        y += 18
    return picture(drawn, "\n".join(lines), WIDTH, y + 6)


def _goes_on(ids: list[int], tokenizer: tiktoken.Encoding) -> list[bool]:
    """Say of each token whether it goes on with a word: a letter or digit follows another one."""
    pieces = [tokenizer.decode([token_id]) for token_id in ids]
    before = [" ", *pieces[:-1]]
    return [old[-1].isalnum() and new[0].isalnum() for old, new in zip(before, pieces, strict=True)]


def _say(tokens: list[str], ids: list[int], goes_on: list[bool], number: int) -> str:
    """Return the first `number` tokens in words, with their ids, and how many there are beside."""
    said = [
        f"{token} {token_id}{' (goes on with the word before it)' if on else ''}"
        for token, token_id, on in zip(tokens, ids, goes_on, strict=True)
    ]
    more = [f"… {len(ids) - number:,} more"] if number < len(ids) else []
    return ", ".join([*said[:number], *more])


WIDTH_answer, HEIGHT = 360, 30


def draw_probabilities(spam: float) -> Drawing:
    """Draw one message's two probabilities as one bar: ham on the left, spam on the right."""
    spam = round(spam, 2)
    width = round(WIDTH_answer * (1 - spam))
    ham, rest = mixed(0.45, BLUE), mixed(0.45, ORANGE)
    drawn = [
        rect(0, 3, width, HEIGHT - 6, ham),
        rect(width, 3, WIDTH_answer - width, HEIGHT - 6, rest),
        text(8, 20, f"ham {1 - spam:.2f}", size=13, bold=spam < 0.5, fill="#111111"),
        text(
            WIDTH_answer - 8, 20, f"spam {spam:.2f}",
            size=13, anchor="end", bold=spam >= 0.5, fill="#111111",
        ),
    ]  # fmt: skip
    return picture(drawn, f"ham {1 - spam:.2f}, spam {spam:.2f}", WIDTH_answer, HEIGHT)


def draw_after_blocks(spam: Sequence[float]) -> Drawing:
    """Draw the probability of spam if the head read the vectors after 0, 1, … blocks already."""
    spam = [round(p, 2) for p in spam]
    last = len(spam) - 1
    axes = Axes((58, 24, 280, 76), (0, max(last, 1)), (0.0, 1.0))
    step = max(1, -(-last // 12))
    drawn = [
        *axes.drawn("after so many blocks", "spam", range(0, last + 1, step), (0, 0.5, 1)),
        line([axes.at(0, 0.5), axes.at(max(last, 1), 0.5)], "#767676", 1),
        line([axes.at(i, p) for i, p in enumerate(spam)], ORANGE),
        *(circle(*axes.at(i, p), 3.5, ORANGE) for i, p in enumerate(spam)),
    ]
    steps = ", ".join(f"{p:.2f} after {i}" for i, p in enumerate(spam))
    words = f"probability of spam by the number of blocks that the head reads after: {steps}"
    return picture(drawn, words, 360, 142)


WIDTH_attention, BAR = 720, 60  # pixels


PAD = "<|endoftext|>"


def draw_attention(tokens: Sequence[str], shares: Sequence[float], title: str) -> Drawing:
    """Draw a bar above each token, as high as its share; a share of 1 is BAR high."""
    shares = [round(share, 2) for share in shares]
    drawn, x, y = [text(0, 14, title, size=13, bold=True)], 0.0, 24.0
    for token, share in zip(tokens, shares, strict=True):
        width = max(chip_width(shortened(token)), 36)
        if x and x + width > WIDTH_attention:
            x, y = 0.0, y + BAR + 46
        drawn += _column(shortened(token), share, x, y, width)
        x += width
    said = ", ".join(
        f"{token} {share:.2f}" for token, share in zip(tokens, shares, strict=True) if share
    )
    return picture(drawn, f"{title}: {said}", WIDTH_attention, y + BAR + 46)


def _column(token: str, share: float, x: float, y: float, width: float) -> Iterator[str]:
    middle, bottom = x + width / 2, y + 14 + BAR
    height = round(BAR * share)
    if height:
        yield rect(middle - 9, bottom - height, 18, height, BLUE)
    words = _two_digits(share) if share else "·"
    yield text(middle, bottom - height - 3, words, size=11, anchor="middle")
    yield rect(x + 2, bottom + 2, width - 4, 20, mixed(0.7 * share, BLUE), "#767676", rx=4)
    yield text(middle, bottom + 16, token, anchor="middle", mono=True, fill=TEXT)


def _two_digits(share: float) -> str:
    return f"{share:.2f}".removeprefix("0")


def named_shares(
    tokens: Sequence[str], shares: torch.Tensor, place: int | None
) -> tuple[list[str], list[float]]:
    """Return names and shares, the padding behind the message added up.

    `tokens` are the message's that are read, `shares` (m,) those of the whole row, and `place` is
    where in it the token that classifies stands (None: there is no single one). Padding that this
    token can't see is left out, and the token itself is told apart.
    """
    names, values = list(tokens), shares[: len(tokens)].tolist()
    behind, in_message = shares[len(tokens) :], place is not None and place < len(tokens)
    others = behind if place is None or in_message else behind[:-1]
    if len(others) and (not in_message or others.any()):
        names.append(f"{len(others)} × {PAD}" if len(others) > 1 else PAD)
        values.append(others.sum().item())
    if in_message:
        names[place] += " (itself)"
    elif place is not None:
        names.append(f"{PAD} (itself)")
        values.append(behind[-1].item())
    return names, values


def draw_shares(
    rows: Mapping[str, Sequence[float]], title: str, chosen: int | None = None
) -> Drawing:
    """Draw a line of boxes for each row, one for each block, the darker the larger the share.

    A row is a name and the share that goes to the message in each block; block `chosen` is marked.
    Of a model of very many blocks only the words hold the figures.
    """
    rows = {name: [round(share, 2) for share in shares] for name, shares in rows.items()}
    blocks = range(max(map(len, rows.values())))
    left = 14 + max(7.3 * max(map(len, rows)), 40)
    step = min(58.0, (WIDTH_attention - left) / len(blocks))
    size = 12 if step > 30 else 9
    width, height = left + step * len(blocks), 48 + 30 * len(rows)
    drawn = [text(0, 14, title, size=13, bold=True), text(0, 38, "block", size=12)]
    for block in blocks:
        name, middle = f"▸{block}" if block == chosen else str(block), left + step * (block + 0.5)
        drawn.append(text(middle, 38, name, size, "middle", bold=block == chosen))
    for number, (name, shares) in enumerate(rows.items()):
        y = 46 + 30 * number
        drawn.append(text(0, y + 18, name, mono=True))
        for block, share in enumerate(shares):
            x = left + step * block
            drawn.append(rect(x + 1, y, step - 2, 27, mixed(0.7 * share, BLUE), "#767676"))
            if step > 2 * size:  # else there is no room for the figure
                figure = _two_digits(share)
                drawn.append(text(x + step / 2, y + 18, figure, size, anchor="middle", fill=TEXT))
    said = "; ".join(
        f"{name}: {' '.join(_two_digits(share) for share in shares)}"
        for name, shares in rows.items()
    )
    return picture(drawn, f"{title}, by block from 0: {said}", max(width, 8 * len(title)), height)


FACTORS = (1.1, 1.5, 3.0)  # of the odds, from which on a mark has one, two, three signs


SIGNS = {"spam": "+", "ham": "−"}


COLOURS = {"spam": ORANGE, "ham": BLUE}


SHADES = (0.0, 0.2, 0.45, 0.7)  # how much of the colour lies on white, by the size of the mark


WIDTH_influence = 720


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
        if x and x + width > WIDTH_influence:
            x, y = 0.0, y + 52
        drawn += _chip(shortened(token), value, i in left_out, x, y, width)
        x += width
    drawn += [text(0, y + 60 + 16 * i, line, size=11) for i, line in enumerate(LEGEND)]
    words = "; ".join(
        f"{token} {'left out' if i in left_out else say_influence(value)}"
        for i, (token, value) in enumerate(zip(tokens, influences, strict=True))
    )
    return picture(drawn, f"{title}: {words}" if title else words, WIDTH_influence, y + 84)


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
