"""Words as the rows of the token embedding: where they lie, and which lie nearest (section 6.4).

All rows are brought to length 1, so that only their directions count: how alike two of them are is
the cosine of the angle between them, 1 where they point the same way.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import tiktoken
import torch
from torch.nn import functional as F

from helpers.checks import instance_of, whole_number
from helpers.inside import main_directions
from helpers.model import GPTModel
from helpers.svg import BLUE, ORANGE, TEXT, Drawing, circle, path, picture, rect, text
from helpers.tokenizer import get_tokenizer, visible_tokens

WIDTH = 600  # what a window of 800 pixels has room for
AT_ONCE = 8192  # rows in float64: all of a large model's would take half a gigabyte


def word_id(word: str, tokenizer: tiktoken.Encoding) -> int:
    """Return the id of a word inside a sentence, that is with a space before it.

    Raises ValueError for an empty word, and for one that is more than one token.
    """
    instance_of("a word", word, str, "a text")
    if not word.strip():
        raise ValueError(f"a word must have a letter, not {word!r}")
    ids = tokenizer.encode(f" {word.strip()}", disallowed_special=())
    if len(ids) != 1:
        raise ValueError(f"{word!r} is {len(ids)} tokens; give a word that is one token")
    return ids[0]


def _unit_rows(model: GPTModel, ids: Sequence[int]) -> torch.Tensor:
    """Return the embedding's rows of some tokens at length 1: float64 (k, emb_dim), on the CPU."""
    instance_of("model", model, torch.nn.Module, "a GPTModel")
    return F.normalize(model.tok_emb.weight.detach()[list(ids)].double().cpu(), dim=-1)


# --- the nearest ones -----------------------------------------------------------------------------


def nearest_tokens(
    model: GPTModel, word: str, count: int = 6, tokenizer: tiktoken.Encoding | None = None
) -> list[tuple[str, float]]:
    """Return the tokens whose rows are most alike to that of a word, and how alike: (token, cosine).

    Of all tokens but the word itself, the most alike first; a token's space is shown as ␣.
    """
    tokenizer = tokenizer or get_tokenizer()
    whole_number("count", count, 1, 20)
    token_id = word_id(word, tokenizer)
    (row,), every = _unit_rows(model, [token_id]), torch.arange(tokenizer.n_vocab)
    alike = torch.cat([_unit_rows(model, some.tolist()) @ row for some in every.split(AT_ONCE)])
    alike[token_id] = -torch.inf
    best = alike.topk(count)
    tokens = visible_tokens(best.indices.tolist(), tokenizer)
    return list(zip(tokens, best.values.tolist(), strict=True))


NEAR_COLUMNS, NEAR_STEP, NEAR_BAR = 3, 20, 60  # beside each other; of a line; of a cosine of 1


def draw_nearest(
    model: GPTModel,
    words: Sequence[str],
    count: int = 6,
    tokenizer: tiktoken.Encoding | None = None,
) -> Drawing:
    """Draw for each word the `count` tokens of all that are most alike, a bar for how alike.

    Raises ValueError for no word, and for one that is more than one token.
    """
    instance_of("words", words, (list, tuple), "a list of words")
    if not words:
        raise ValueError("there is no word to draw; give at least one")
    title = "the most alike of all tokens, and the cosine between the two rows"
    drawn, lines = [text(20, 18, title, 13)], [title]
    column, block = (WIDTH - 40) / NEAR_COLUMNS, NEAR_STEP * count + 44
    for i, word in enumerate(words):
        found = nearest_tokens(model, word, count, tokenizer)
        x, top = 20 + column * (i % NEAR_COLUMNS), 48 + block * (i // NEAR_COLUMNS)
        drawn.append(text(x, top, word.strip(), 13, bold=True))
        for place, (token, cosine) in enumerate(found, start=1):
            y = top + NEAR_STEP * place
            drawn.append(rect(x, y - 11, NEAR_BAR * max(0.0, round(cosine, 2)), 14, "#bcdcf2"))
            drawn.append(text(x + 4, y, f"{cosine:.2f}", size=11, fill=TEXT))
            drawn.append(text(x + NEAR_BAR + 8, y, _short(token), mono=True))
        lines.append(f"{word.strip()}: {', '.join(f'{t} {c:.2f}' for t, c in found)}")
    rows = -(-len(words) // NEAR_COLUMNS)
    return picture(drawn, "\n".join(lines), WIDTH, 48 + block * rows - 30)


def _short(token: str) -> str:
    return token if len(token) <= 15 else token[:14] + "…"


# --- a map ----------------------------------------------------------------------------------------

MAP = (20, 78, 560, 380)  # left, top, width, height of the frame
NEAR_EDGE = 40  # pixels that are left free inside the frame
LETTER, LINE = 7.0, 14  # of a word beside its mark
MARKS = (  # of the groups: how each is drawn, at (x, y), and in which colour
    ("disc", BLUE),
    ("square", ORANGE),
    ("triangle", "#007a5a"),
    ("diamond", "#a3326e"),
    ("cross", "#555555"),
)


def draw_words(
    model: GPTModel,
    groups: Mapping[str, Sequence[str]],
    tokenizer: tiktoken.Encoding | None = None,
) -> Drawing:
    """Draw where words lie along the two directions in which their rows differ most.

    `groups` holds at most five lists of words; each has a mark of its own, but where a word lies
    does not depend on its group. The title says how much of the words' variance these two
    directions carry. Raises ValueError for other numbers of groups, for fewer than three words, and
    for a word that is more than one token.
    """
    instance_of("groups", groups, Mapping, "a dictionary: a group's name and its words")
    if not 1 <= len(groups) <= len(MARKS):
        raise ValueError(f"give 1 to {len(MARKS)} groups, not {len(groups)}")
    tokenizer = tokenizer or get_tokenizer()
    named = [(name, word.strip()) for name, words in groups.items() for word in words]
    if len(named) < 3:
        raise ValueError(f"a map needs at least three words, not {len(named)}")
    rows = _unit_rows(model, [word_id(word, tokenizer) for _, word in named])
    directions = main_directions(rows, 2)
    places = _in_the_frame(directions.place(rows))
    title = f"{len(named)} words along the two directions in which their rows differ most"
    carried = f"these two carry {directions.shares.sum().item():.0%} of the variance"
    drawn = [
        text(WIDTH / 2, 18, title, 13, "middle"),
        text(WIDTH / 2, 36, carried, 12, "middle"),
    ]
    left, top, width, height = MAP
    drawn.append(
        f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" '
        'stroke="#767676"/>'
    )
    x = left
    for (mark, colour), name in zip(MARKS, groups, strict=False):
        drawn.append(_mark(mark, colour, x + 6, 56))
        drawn.append(text(x + 18, 60, name))
        x += 40 + LETTER * len(name)
    marks = dict(zip(groups, MARKS, strict=False))
    boxes = [(x - 7, y - 7, x + 7, y + 7) for x, y in places]
    for (name, word), (x, y) in zip(named, places, strict=True):
        box = _free_place(x, y, LETTER * len(word), boxes)
        boxes.append(box)
        drawn += _tie(x, y, box)
        drawn.append(_mark(*marks[name], x, y))
        drawn.append(text(box[0], box[3] - 3, word))
    lines = [title, carried]
    for name in groups:
        at = ", ".join(
            f"{word} {round(100 * (x - left) / width)} % across, "
            f"{round(100 * (top + height - y) / height)} % up"
            for (group, word), (x, y) in zip(named, places, strict=True)
            if group == name
        )
        lines.append(f"{name} ({marks[name][0]}): {at}")
    return picture(drawn, "\n".join(lines), WIDTH, top + height + 14)


def _in_the_frame(points: torch.Tensor) -> list[tuple[int, int]]:
    """Return where points (k, 2) stand in the frame, in whole pixels, one scale for both axes."""
    left, top, width, height = MAP
    low, high = points.min(dim=0).values, points.max(dim=0).values
    room = torch.tensor([width, height]) - 2 * NEAR_EDGE
    scale = (room / (high - low).clamp(min=1e-9)).min()
    middle = (low + high) / 2
    return [
        (round(left + width / 2 + x), round(top + height / 2 - y))
        for x, y in ((points - middle) * scale).tolist()
    ]


Box = tuple[float, float, float, float]  # left, top, right, bottom


def _free_place(x: int, y: int, width: float, taken: Sequence[Box]) -> Box:
    """Return the nearest place around a mark where a word of a width lies on nothing else.

    Where there is none, it is the one on the mark's right.
    """
    left, top, frame_width, frame_height = MAP
    places = []
    for away in range(10, 160, 5):
        for degrees in (0, 180, 345, 15, 165, 195, 330, 30, 150, 210, 300, 60, 120, 240, 270, 90):
            right, down = (round(away * way(math.radians(degrees))) for way in (math.cos, math.sin))
            start = x + right - (0 if right > 4 else width if right < -4 else width / 2)
            places.append((start, y + down - LINE / 2, start + width, y + down + LINE / 2))
    for box in places:
        inside = left + 2 < box[0] and box[2] < left + frame_width - 2
        inside = inside and top + 2 < box[1] and box[3] < top + frame_height - 2
        if inside and not any(_meet(box, other) for other in taken):
            return box
    return places[0]


def _meet(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _tie(x: int, y: int, box: Box) -> Iterator[str]:
    """A thin line from a mark to its word, where that is not beside it."""
    near_x, near_y = min(max(x, box[0]), box[2]), min(max(y, box[1] + 4), box[3] - 4)
    if abs(near_x - x) + abs(near_y - y) > 15:
        yield path(f"M{x},{y}L{near_x:g},{near_y:g}", "#999999", 0.7)


def _mark(kind: str, colour: str, x: float, y: float) -> str:
    """A mark of a group, about ten pixels wide."""
    if kind == "disc":
        return circle(x, y, 4.5, colour)
    if kind == "square":
        return rect(x - 4, y - 4, 8, 8, colour)
    if kind == "cross":
        return path(f"M{x - 4:g},{y - 4:g}l8,8m0,-8l-8,8", colour, 2.5)
    corners = (
        ((0, -6), (6, 5), (-6, 5)) if kind == "triangle" else ((0, -6), (6, 0), (0, 6), (-6, 0))
    )
    points = " ".join(f"{x + right:g},{y + down:g}" for right, down in corners)
    return f'<polygon points="{points}" fill="{colour}"/>'
