"""Where the token that classifies looks: its attention to each token, and block by block.

Shares are rounded to two digits before anything is drawn of them.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch

from helpers.pictures.influence import chip_width, shortened
from helpers.svg import BLUE, TEXT, Drawing, mixed, picture, rect, text

WIDTH, BAR = 720, 60  # pixels
PAD = "<|endoftext|>"


def draw_attention(tokens: Sequence[str], shares: Sequence[float], title: str) -> Drawing:
    """Draw a bar above each token, as high as its share; a share of 1 is BAR high."""
    shares = [round(share, 2) for share in shares]
    drawn, x, y = [text(0, 14, title, size=13, bold=True)], 0.0, 24.0
    for token, share in zip(tokens, shares, strict=True):
        width = max(chip_width(shortened(token)), 36)
        if x and x + width > WIDTH:
            x, y = 0.0, y + BAR + 46
        drawn += _column(shortened(token), share, x, y, width)
        x += width
    said = ", ".join(
        f"{token} {share:.2f}" for token, share in zip(tokens, shares, strict=True) if share
    )
    return picture(drawn, f"{title}: {said}", WIDTH, y + BAR + 46)


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
    step = min(58.0, (WIDTH - left) / len(blocks))
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
