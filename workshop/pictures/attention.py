"""Attention, step by step: query, key and value of one token (6.4), and the causal mask (6.5).

All numbers are those of the model's own forward pass (Vaswani et al. 2017, section 3.2). n is the
number of tokens, m the number of components that a head has for each token.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

from helpers.checks import whole_number
from helpers.freezing import record
from helpers.model import GPTModel
from workshop.inside import attention_weights
from workshop.pictures.charts import WIDTH, Chart, chart, course_style, new_figure
from workshop.pictures.svg import shortened

MOST_TOKENS = 12  # that a picture has room for


@torch.no_grad()
def attention_step(
    model: GPTModel, token_ids: torch.Tensor, at: int, block: int, head: int
) -> dict[str, torch.Tensor]:
    """Return what a head computes for the token `at` of one message (1, n); all three from 0.

    That token attends to k tokens: itself and the ones before it; without the causal mask all. The
    tensors, on the CPU, are `query` (m,), `keys` and `values` (k, m), `scores` and `weights` (k,),
    and `sum` (m,), of the values, each times its weight. Raises ValueError for another shape, and
    for a token, a block or a head that is not there.
    """
    check_message(token_ids)
    whole_number("at", at, 0, token_ids.shape[1] - 1)
    whole_number("block", block, 0, len(model.trf_blocks) - 1)
    attention = model.trf_blocks[block].att
    whole_number("head", head, 0, attention.num_heads - 1)
    seen = at + 1 if attention.causal else token_ids.shape[1]
    names = [f"trf_blocks.{block}.att.{name}" for name in ("W_query", "W_key", "W_value")]
    with record(model, *names) as recorded:
        weights = attention_weights(model, token_ids)[block, 0, head, at, :seen].float().cpu()
    vectors = torch.stack([recorded[name].output[0, :seen] for name in names]).float().cpu()
    queries, keys, values = vectors.chunk(attention.num_heads, dim=-1)[head]  # (seen, m) each
    query = queries[at]
    scores = keys @ query / math.sqrt(len(query))
    return {
        "query": query,
        "keys": keys,
        "values": values,
        "scores": scores,
        "weights": weights,
        "sum": weights @ values,
    }


def check_message(token_ids: torch.Tensor) -> None:
    """Raise ValueError unless this is one message (1, n) with n ≤ MOST_TOKENS."""
    if token_ids.ndim != 2 or len(token_ids) != 1 or not 1 <= token_ids.shape[1] <= MOST_TOKENS:
        raise ValueError(
            f"give one message of 1 to {MOST_TOKENS} tokens, (1, n), not {tuple(token_ids.shape)}"
        )


@course_style
def draw_attention_step(
    model: GPTModel,
    token_ids: torch.Tensor,
    tokens: Sequence[str],
    at: int,
    block: int = 0,
    head: int = 0,
) -> Chart:
    """Return a chart of what the token `at` of a message (1, n) gathers in one head.

    Its query is compared with the keys of the tokens that it attends to; the scores become weights,
    and the values are added, each times its weight. `tokens` is how the tokens are written; token,
    block and head are counted from 0. Raises what `attention_step` raises.
    """
    step = attention_step(model, token_ids, at, block, head)
    count, m = step["keys"].shape
    figure = Figure((WIDTH / 72, 2.6 + 0.36 * count), layout="constrained")
    figure.suptitle(
        f"block {block}, head {head}: the attention of {tokens[at]}, {m} numbers a token"
    )
    rows = [["query", ".", "."], ["keys", "weights", "values"], [".", ".", "sum"]]
    plots = figure.subplot_mosaic(rows, height_ratios=[1, count, 1])
    for name in ("query", "keys", "values", "sum"):
        largest = step["values" if name == "sum" else name].abs().max().item()
        plots[name].imshow(
            np.atleast_2d(step[name]),
            "PuOr",
            vmin=-largest,
            vmax=largest,
            aspect="auto",
            interpolation="none",
        )
        plots[name].set(xticks=[], yticks=[])
        plots[name].set_title(name, loc="left")
    plots["keys"].set_yticks(range(count), [shortened(token) for token in tokens[:count]])
    labels, lines = [], []
    for token, score, weight in zip(tokens, step["scores"], step["weights"], strict=False):
        labels.append(f"{score:.1f} → {weight:.0%}")
        lines.append(f"{token} {labels[-1]}")
    plot = plots["weights"]
    bars = plot.barh(range(count), step["weights"].numpy().round(2))
    plot.bar_label(bars, labels, padding=3)
    plot.set_title(f"query × key / √{m}\n= score → weight", loc="left")
    plot.set_xlim(0, 2.5)
    plot.invert_yaxis()
    plot.set_axis_off()
    figure.supxlabel("orange: below 0, purple: above 0; sum: of the values, each times its weight")
    return chart(figure, f"score → weight of each token: {', '.join(lines)}")


@course_style
def draw_mask(model: GPTModel, token_ids: torch.Tensor, tokens: Sequence[str]) -> Chart:
    """Return a chart of which token of a message (1, n) attends to which, in the model's own pass.

    A row is the token that attends, a column the one attended to. A field holds the mean weight of
    all heads in all blocks in percent, or × where all of them are exactly 0. `tokens` is how the
    tokens are written. Raises ValueError for another shape.
    """
    check_message(token_ids)
    weights = attention_weights(model, token_ids).float().cpu()[:, 0]  # (n_layers, n_heads, n, n)
    is_zero = (weights == 0).flatten(0, 1).all(dim=0)
    percents = (100 * weights.mean(dim=(0, 1))).numpy().round().astype(int)
    labels = [shortened(token) for token in tokens]
    figure, plot = new_figure(170 + 32 * len(tokens))
    figure.suptitle("mean attention weights of all heads in percent; ×: 0 in every head")
    plot.imshow(percents, "Blues", vmin=0, vmax=180, interpolation="none")
    for (i, j), percent in np.ndenumerate(percents):
        plot.text(j, i, "×" if is_zero[i, j] else percent, ha="center", va="center")
    plot.set_xticks(range(len(tokens)), labels, rotation="vertical")
    plot.set_yticks(range(len(tokens)), labels)
    plot.set(xlabel="attended to", ylabel="attends")
    lines = []
    for i, token in enumerate(tokens):
        seen = [f"{tokens[j]} {percents[i, j]} %" for j in np.flatnonzero(~is_zero[i])]
        lines.append(f"{token} attends to {len(seen)} of {len(tokens)}: {', '.join(seen)}")
    return chart(figure, *lines)
