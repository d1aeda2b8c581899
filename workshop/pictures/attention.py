"""Attention, step by step: query, key and value of one token (6.4), and the causal mask (6.5).

All numbers are those of the model's own forward pass (Vaswani et al. 2017, section 3.2). n is the
number of tokens, m the number of components that a head has for each token.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Rectangle

from helpers.checks import whole_number
from helpers.freezing import record
from helpers.model import GPTModel
from workshop.inside import attention_weights
from workshop.pictures.charts import STYLE, Chart, chart, draw_grid, new_figure
from workshop.pictures.svg import (
    BLUE,
    ORANGE,
    Drawing,
    chip,
    chip_width,
    path,
    picture,
    rect,
    shortened,
    text,
)

MOST_TOKENS = 12  # that a picture has room for


@dataclass(frozen=True, eq=False)
class AttentionStep:
    """What one head computes for the token at position `at`, from the k tokens that it sees.

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
    """Return what a head computes for the token `at` of one message (1, n); all three from 0.

    Raises ValueError for another shape, and for a token, a block or a head that is not there.
    """
    check_message(token_ids)
    at = whole_number("at", at, 0, token_ids.shape[1] - 1, ", the message's last token")
    block = whole_number("block", block, 0, len(model.trf_blocks) - 1, ", the last block")
    attention = model.trf_blocks[block].att
    head = whole_number("head", head, 0, attention.num_heads - 1, ", the last head")
    seen = at + 1 if attention.causal else token_ids.shape[1]
    names = [f"trf_blocks.{block}.att.{name}" for name in ("W_query", "W_key", "W_value")]
    with record(model, *names) as recorded:
        weights = attention_weights(model, token_ids)[block, 0, head, at, :seen].float().cpu()
    queries, keys, values = (
        recorded[name].output[0, :seen].chunk(attention.num_heads, dim=-1)[head].float().cpu()
        for name in names
    )
    scores = keys @ queries[at] / math.sqrt(keys.shape[-1])
    return AttentionStep(at, queries[at], keys, values, scores, weights, weights @ values)


def check_message(token_ids: torch.Tensor, tokens: Sequence[str] | None = None) -> None:
    """Raise ValueError unless this is one message (1, n) with n ≤ MOST_TOKENS and n `tokens`."""
    if token_ids.ndim != 2 or len(token_ids) != 1 or not 1 <= token_ids.shape[1] <= MOST_TOKENS:
        raise ValueError(
            f"give one message of 1 to {MOST_TOKENS} tokens, (1, n), not {tuple(token_ids.shape)}"
        )
    if tokens is not None and len(tokens) != token_ids.shape[1]:
        raise ValueError(f"give {token_ids.shape[1]} tokens, one for each id, not {len(tokens)}")


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
    """Return a picture of what the token `at` of a message (1, n) gathers in one head.

    Its query is compared with the keys of the tokens that it sees; the scores become weights, and
    the values are added, each times its weight. `tokens` is how the tokens are written; token,
    block and head are counted from 0. Raises what `attention_step` raises, and ValueError for
    another number of tokens.
    """
    check_message(token_ids, tokens)
    step = attention_step(model, token_ids, at, block, head)
    m, query, largest_weight = len(step.query), shortened(tokens[at]), step.weights.max()
    largest_key, largest_value = step.keys.abs().max().item(), step.values.abs().max().item()
    title = f"block {block}, head {head}: what {query} gathers, with {m} numbers a token"
    lines = [title, f"the query of {query} times each key, divided by √{m}, is the score:"]
    drawn = [
        text(WIDTH / 2, 18, title, 13, "middle"),
        text(KEY_LEFT, TOP - 8, f"the query of {query}"),
        *_strip(step.query, step.query.abs().max().item(), KEY_LEFT, TOP, ORANGE),
        text(KEY_LEFT + STRIP_WIDTH + 12, TOP + 17, f"query × key / √{m} = score → weight"),
        text(KEY_LEFT, TOP + 52, "keys"),
        text(SCORE_END, TOP + 52, "score", anchor="end"),
        text(BAR_LEFT, TOP + 52, "weight"),
        text(VALUE_LEFT, TOP + 52, "values"),
    ]
    for i, weight in enumerate(step.weights):
        y, percent = TOP + 60 + STEP * i, round(100 * weight.item())
        score, bar = f"{step.scores[i]:.1f}".replace("-", "−"), BAR_WIDTH * percent / 100
        token = shortened(tokens[i], 12)  # 13 letters would be wider than the column
        width = chip_width(token)
        drawn += [
            *chip(token, TOKEN_END - width, y + 2, width),
            *_strip(step.keys[i], largest_key, KEY_LEFT, y, BLUE),
            text(SCORE_END, y + 16, score, anchor="end"),
            rect(BAR_LEFT, y + 3, bar, 16, ORANGE),
            text(BAR_LEFT + bar + 5, y + 16, f"{percent} %", bold=bool(weight == largest_weight)),
            *_strip(step.values[i], largest_value, VALUE_LEFT, y, BLUE),
        ]
        lines.append(f"{shortened(tokens[i])}: score {score}, weight {percent} %")
    below = TOP + 66 + STEP * len(step.weights)
    drawn.append(text(VALUE_LEFT - 10, below + 16, "the sum of weight × value", anchor="end"))
    drawn += _strip(step.gathered, largest_value, VALUE_LEFT, below, ORANGE)
    lines += [
        f"the values, each times its weight, add up to the {m} numbers that {query} gathers",
        "query, keys, values and sum are drawn as a bar for each number, up if it is above 0, down "
        "if it is below",
    ]
    return picture(drawn, "\n".join(lines), WIDTH, below + STRIP_HEIGHT + 12)


def _strip(numbers: torch.Tensor, largest: float, x: float, y: float, colour: str) -> list[str]:
    """Return a bar for each number, from the middle up or down, in whole pixels."""
    middle, step, bars = y + STRIP_HEIGHT // 2, STRIP_WIDTH / len(numbers), ""
    for i, number in enumerate(numbers.tolist()):
        height = round(STRIP_HEIGHT // 2 * number / (largest or 1.0))
        if height:
            bars += f"M{x + step * i + step / 2:.1f},{middle}v{-height}"
    strip = [path(f"M{x},{middle}h{STRIP_WIDTH}", width=0.5)]
    return [*strip, path(bars, colour, max(1.0, step - 1))] if bars else strip


@rc_context(STYLE)
def draw_mask(model: GPTModel, token_ids: torch.Tensor, tokens: Sequence[str]) -> Chart:
    """Return a chart of which token of a message (1, n) attends to which, in the model's own pass.

    A row is the token that looks, a column the one looked at. A field holds the mean weight of all
    heads in all blocks in percent, or × where all of them are exactly 0. `tokens` is how the tokens
    are written. Raises ValueError for another shape or number of tokens.
    """
    check_message(token_ids, tokens)
    weights = attention_weights(model, token_ids).float().cpu()[:, 0]  # (n_layers, n_heads, n, n)
    seen = (weights != 0).any(dim=0).any(dim=0)
    percents = (100 * weights.mean(dim=(0, 1))).numpy().round().astype(int)
    n, tokens = len(tokens), [shortened(token) for token in tokens]
    title = "which token looks at which: mean weights of all heads, in percent"
    lines, marks, notes = [title, "× stands for a weight that is 0 in every head"], [], []
    for i, token in enumerate(tokens):
        marks.append([f"{percents[i, j]}" if seen[i, j] else "×" for j in range(n)])
        count = int(seen[i].sum())
        notes.append("sees them all" if count == n else f"sees {count} of {n}")
        fields = zip(tokens, marks[-1], strict=True)
        looked_at = ", ".join(f"{other} ×" if m == "×" else f"{other} {m} %" for other, m in fields)
        lines.append(f"{token} {notes[-1]}: {looked_at}")
    figure = new_figure(WIDTH, 120 + 34 * n)
    figure.suptitle(title)
    plot = figure.subplots()
    draw_grid(
        plot, percents / 100, LinearSegmentedColormap.from_list("", [BLUE, "white", BLUE]), marks
    )
    plot.add_patch(Rectangle((0, n - 1), n, 1, fill=False, edgecolor=ORANGE, linewidth=3))
    centres = np.arange(n) + 0.5
    plot.set_xticks(centres, [shortened(token, 30 // n + 4) for token in tokens])
    plot.set_yticks(centres, tokens)
    for centre, note in zip(centres, notes, strict=True):
        plot.text(n + 0.1, centre, note, va="center")
    plot.set(xlabel="looked at →", ylabel="← looks")
    plot.xaxis.set_label_position("top")
    figure.supxlabel("×: exactly 0 in every head", fontsize=11)
    return chart(figure, "\n".join(lines))
