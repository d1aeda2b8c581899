"""Texts as the tokens that a tokenizer cuts them into, with their ids: section 6.3."""

from collections.abc import Sequence

import tiktoken

from helpers.checks import instance_of
from helpers.chips import BYTES_NOTE, CHIP_AROUND, CHIP_HEIGHT, chip, lines_of_chips
from helpers.svg import Drawing, picture, text
from helpers.tokenizer import encode_message, get_tokenizer, visible_tokens

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
