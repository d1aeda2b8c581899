"""Attention, step by step: query, key and value of one word (6.4), and the causal mask (6.5).

Every number comes out of the model's own pass (Vaswani et al. 2017, section 3.2). n is the number
of tokens, m that of the numbers which a head has for each of them.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from helpers.checks import instance_of, whole_number
from helpers.model import GPTModel
from workshop.inside import attention_weights
from workshop.pictures.svg import (
    BLUE,
    CHIP_AROUND,
    CHIP_EDGE,
    ORANGE,
    TEXT,
    Drawing,
    chip,
    chip_width,
    cut,
    length,
    mixed,
    path,
    picture,
    rect,
    text,
)

MOST_TOKENS = 12  # for which a picture has room


@dataclass(frozen=True, eq=False)
class AttentionStep:
    """What one head computes for token `at`, from the k tokens that it sees.

    Those are itself and the ones before it; without the causal mask all. `query` (m,), `keys` and
    `values` (k, m), `scores` and `weights` (k,), and `gathered` (m,), the sum of the values, each
    times its weight; all on the CPU.
    """

    at: int
    query: torch.Tensor
    keys: torch.Tensor
    values: torch.Tensor
    scores: torch.Tensor
    weights: torch.Tensor
    gathered: torch.Tensor


@torch.no_grad()
def attention_step(
    model: GPTModel, token_ids: torch.Tensor, at: int, block: int, head: int
) -> AttentionStep:
    """Return what a head computes for token `at` of one message (1, n); block and head from 0.

    Raises ValueError for another shape, and for a token, a block or a head that is not there.
    """
    instance_of("model", model, torch.nn.Module, "a GPTModel")
    _check_message(token_ids)
    at = whole_number("at", at, 0, token_ids.shape[1] - 1, ", the message's last token")
    block = whole_number("block", block, 0, len(model.trf_blocks) - 1, ", the last block")
    attention = model.trf_blocks[block].att
    head = whole_number("head", head, 0, attention.num_heads - 1, ", the last head")
    seen = at + 1 if attention.causal else token_ids.shape[1]
    found: dict[str, torch.Tensor] = {}
    layers = {"query": attention.W_query, "key": attention.W_key, "value": attention.W_value}
    handles = [
        layer.register_forward_hook(lambda _, __, out, name=name: found.update({name: out}))
        for name, layer in layers.items()
    ]
    try:
        weights = attention_weights(model, token_ids)[block, 0, head, at, :seen].float().cpu()
    finally:
        for handle in handles:
            handle.remove()
    query, keys, values = (
        out[0, :seen].chunk(attention.num_heads, dim=-1)[head].float().cpu()
        for out in found.values()
    )
    scores = keys @ query[at] / math.sqrt(query.shape[-1])
    return AttentionStep(at, query[at], keys, values, scores, weights, weights @ values)


def _check_message(token_ids: torch.Tensor) -> None:
    instance_of("token ids", token_ids, torch.Tensor, "a torch.Tensor")
    if token_ids.ndim != 2 or len(token_ids) != 1 or not 1 <= token_ids.shape[1] <= MOST_TOKENS:
        raise ValueError(
            f"give one message of 1 to {MOST_TOKENS} tokens, (1, n), not {tuple(token_ids.shape)}"
        )


# --- one word's query, the keys and the values ----------------------------------------------------

WIDTH = 600  # what a window of 800 pixels has room for


TOKEN_END, KEY_LEFT, SCORE_END, BAR_LEFT, VALUE_LEFT = 114, 122, 306, 316, 440  # the columns


STRIP_WIDTH, STRIP_HEIGHT, BAR_WIDTH, STEP = 140, 26, 66, 32


TOP = 66  # of the query's strip


def draw_attention_step(
    model: GPTModel,
    token_ids: torch.Tensor,
    tokens: Sequence[str],
    at: int,
    block: int = 0,
    head: int = 0,
) -> Drawing:
    """Draw how token `at` of a message (1, n) gathers in one head, block and head from 0.

    Its query is compared with the keys of the tokens that it sees; the scores become weights, and
    the values are added, each times its weight. `tokens` is how the tokens are written. Raises what
    `attention_step` raises, and ValueError for another number of tokens.
    """
    step = attention_step(model, token_ids, at, block, head)
    tokens = _check_tokens(tokens, token_ids)
    m, rows = len(step.query), range(len(step.keys))
    percents = [round(100 * weight) for weight in step.weights.tolist()]
    scores = [f"{score:.1f}".replace("-", "−") for score in step.scores.tolist()]
    title = f"block {block}, head {head}: what {tokens[at]} gathers, with {m} numbers a token"
    below = TOP + 66 + STEP * len(rows)  # the sum's strip
    largest_key, largest_value = step.keys.abs().max().item(), step.values.abs().max().item()
    drawn = [
        text(WIDTH / 2, 18, title, 13, "middle"),
        text(KEY_LEFT, TOP - 8, f"the query of {tokens[at]}"),
        *_strip(step.query, step.query.abs().max().item(), KEY_LEFT, TOP, ORANGE),
        text(KEY_LEFT + STRIP_WIDTH + 12, TOP + 17, f"query × key / √{m} = score → weight"),
        text(KEY_LEFT, TOP + 52, "keys"),
        text(SCORE_END, TOP + 52, "score", anchor="end"),
        text(BAR_LEFT, TOP + 52, "weight"),
        text(VALUE_LEFT, TOP + 52, "values"),
    ]
    for i in rows:
        y = TOP + 60 + STEP * i
        width = min(chip_width(tokens[i]), TOKEN_END - 6)
        drawn += chip(_cut_to(tokens[i], width - 8), TOKEN_END - width, y + 2, width)
        drawn += _strip(step.keys[i], largest_key, KEY_LEFT, y, BLUE)
        drawn.append(text(SCORE_END, y + 16, scores[i], anchor="end"))
        drawn.append(rect(BAR_LEFT, y + 3, BAR_WIDTH * percents[i] / 100, 16, ORANGE))
        edge = BAR_LEFT + BAR_WIDTH * percents[i] / 100
        drawn.append(text(edge + 5, y + 16, f"{percents[i]} %", bold=i == step.weights.argmax()))
        drawn += _strip(step.values[i], largest_value, VALUE_LEFT, y, BLUE)
    drawn.append(text(VALUE_LEFT - 10, below + 16, "the sum of weight × value", anchor="end"))
    drawn += _strip(step.gathered, largest_value, VALUE_LEFT, below, ORANGE)
    lines = [f"{tokens[i]}: score {scores[i]}, weight {percents[i]} %" for i in rows]
    words = "\n".join(
        (
            title,
            f"the query of {tokens[at]} times each key, divided by √{m}, is the score:",
            *lines,
            f"the values, each times its weight, add up to the {m} numbers that {tokens[at]} gathers",
            "query, keys, values and sum are drawn as a bar for each number, up if it is above 0, "
            "down if it is below",
        )
    )
    return picture(drawn, words, WIDTH, below + STRIP_HEIGHT + 12)


def _strip(numbers: torch.Tensor, largest: float, x: float, y: float, colour: str) -> Iterator[str]:
    """A bar for each number, from the middle up or down, in whole pixels."""
    half = STRIP_HEIGHT // 2
    step = STRIP_WIDTH / len(numbers)
    bars = []
    for i, number in enumerate(numbers.tolist()):
        height = round(half * number / (largest or 1.0))
        if height:
            bars.append(f"M{x + step * i + step / 2:.1f},{y + half}v{-height}")
    yield path(f"M{x},{y + half}h{STRIP_WIDTH}", width=0.5)
    yield path("".join(bars), colour, max(1.0, step - 1)) if bars else ""


def _check_tokens(tokens: Sequence[str], token_ids: torch.Tensor) -> list[str]:
    if len(tokens) != token_ids.shape[1]:
        raise ValueError(f"give {token_ids.shape[1]} tokens, one for each id, not {len(tokens)}")
    return [cut(token) for token in tokens]


# --- the causal mask ------------------------------------------------------------------------------

GRID_LEFT, GRID_TOP, CELL_HEIGHT = 124, 76, 34


NOTE_WIDTH, CELL_WIDEST = 122, 88  # of the words beside a row; of a cell


def draw_mask(model: GPTModel, token_ids: torch.Tensor, tokens: Sequence[str]) -> Drawing:
    """Draw which token of a message (1, n) may look at which, as the model's own pass has it.

    A row is the token that looks, a column the one looked at. A cell holds the mean weight of all
    heads in all blocks in percent, or × where every one of them is exactly 0. `tokens` is how the
    tokens are written. Raises ValueError for another shape or number of tokens.
    """
    _check_message(token_ids)
    tokens = _check_tokens(tokens, token_ids)
    weights = attention_weights(model, token_ids).float().cpu()[:, 0]  # (n_layers, n_heads, n, n)
    seen = (weights != 0).any(dim=0).any(dim=0).tolist()
    percents = [[round(100 * w) for w in row] for row in weights.mean(dim=(0, 1)).tolist()]
    n = len(tokens)
    width = min(CELL_WIDEST, (WIDTH - GRID_LEFT - NOTE_WIDTH) / n)
    right = GRID_LEFT + width * n
    title = "which token looks at which: mean weights of all heads, in percent"
    drawn = [
        text(WIDTH / 2, 18, title, 13, "middle"),
        text(GRID_LEFT, 42, "looked at →", size=11),
        text(WIDTH - 20, 42, "×: exactly 0 in every head", size=11, anchor="end"),
        text(GRID_LEFT - 12, GRID_TOP - 8, "looks ↓", size=11, anchor="end"),
    ]
    lines = [title, "× stands for a weight that is 0 in every head"]
    for i, token in enumerate(tokens):
        x, y = GRID_LEFT + width * i, GRID_TOP + CELL_HEIGHT * i
        drawn.append(
            text(x + width / 2, GRID_TOP - 8, _cut_to(token, width - 6), 12, "middle", True)
        )
        chip_wide = min(chip_width(token), GRID_LEFT - 12)
        drawn += chip(_cut_to(token, chip_wide - 8), GRID_LEFT - 8 - chip_wide, y + 7, chip_wide)
        count = sum(seen[i])
        note = "sees them all" if count == n else f"sees {count} of {n}"
        drawn.append(text(right + 10, y + 22, note, bold=count == n))
        for j in range(n):
            left, middle = GRID_LEFT + width * j, GRID_LEFT + width * (j + 0.5)
            share = percents[i][j] / 100
            fill = mixed(share, BLUE) if seen[i][j] else "#ffffff"
            drawn.append(rect(left, y, width, CELL_HEIGHT, fill, CHIP_EDGE))
            mark = f"{percents[i][j]}" if seen[i][j] else "×"
            drawn.append(text(middle, y + 22, mark, anchor="middle", fill=TEXT))
        looked_at = ", ".join(
            f"{other} {percents[i][j]} %" if seen[i][j] else f"{other} ×"
            for j, other in enumerate(tokens)
        )
        lines.append(f"{token} {note}: {looked_at}")
    drawn.append(
        f'<rect x="{GRID_LEFT}" y="{GRID_TOP + CELL_HEIGHT * (n - 1)}" width="{length(width * n)}" '
        f'height="{CELL_HEIGHT}" fill="none" stroke="{ORANGE}" stroke-width="3"/>'
    )
    return picture(drawn, "\n".join(lines), WIDTH, GRID_TOP + CELL_HEIGHT * n + 12)


def _cut_to(token: str, width: float) -> str:
    """Return a token cut to what fits into a width."""
    while len(token) > 1 and chip_width(token) - CHIP_AROUND > width:
        token = token.removesuffix("…")[:-1] + "…"
    return token
