"""The trial of appendix 6.D: attention for the last token alone."""

import torch
from torch.nn import functional as F

from workshop.exercises.mistakes import Exercise, expect


def last_query_attention(queries, keys, values) -> torch.Tensor:
    """Return attention's output for the last token: three times (b, n, d) → (b, d)."""
    return F.scaled_dot_product_attention(queries, keys, values, is_causal=True)[:, -1]


def attend(queries, keys, values, position=-1, scale=None, dim=1) -> torch.Tensor:
    """Return the sum of `values` that a token takes, with the softmax over another dimension."""
    scale = queries.shape[-1] ** 0.5 if scale is None else scale
    scores = (keys * queries[:, position, None]).sum(-1, keepdim=True) / scale  # (b, n, 1)
    weights = scores if dim is None else scores.softmax(dim)
    return (weights * values).sum(1)


ATTENTION_MISTAKES = (
    ("the scores are not weights yet. `softmax` makes them positive, with the sum 1.",
     lambda q, k, v: attend(q, k, v, dim=None)),
    ("the scores are not divided by the root of d, as GPT-2 does.",
     lambda q, k, v: attend(q, k, v, scale=1)),
    ("divide the scores by the *root* of d, not by d.",
     lambda q, k, v: attend(q, k, v, scale=q.shape[-1])),
    ("`softmax` goes over the tokens (`dim=-1`), not over the messages.",
     lambda q, k, v: attend(q, k, v, dim=0)),
    ("every weight is 1. `softmax` goes over the tokens, not over a dimension of length 1.",
     lambda q, k, v: v.sum(1)),
    ("you divided by the root of the number of tokens. Divide by that of d, `queries.shape[-1]`.",
     lambda q, k, v: attend(q, k, v, scale=q.shape[1] ** 0.5)),
    ("you averaged the outputs of all tokens. Return that of the last one.",
     lambda q, k, v: F.scaled_dot_product_attention(q, k, v).mean(1)),
    ("that is the query of the first token. Take that of the last one.",
     lambda q, k, v: attend(q, k, v, position=0)),
    ("the weights are for the *values*. You multiplied the keys.",
     lambda q, k, v: attend(q, k, k)),
    ("the roles are swapped: compare the last *query* with all keys.",
     lambda q, k, v: attend(k, q, v)),
    ("you return the outputs of all tokens. Take the query of the last one, `queries[:, -1]`.",
     lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True)),
)  # fmt: skip


def heads() -> list[tuple]:
    """Return queries, keys and values, each (b, n, d), of three heads of different sizes."""
    generator = torch.Generator().manual_seed(3)
    sizes = ((2, 5, 4), (3, 1, 4), (1, 6, 3))
    return [tuple(2 * torch.randn(3, *size, generator=generator)) for size in sizes]


def try_last_query_attention(solve) -> str:
    """`solve` takes queries, keys, values (batch, num_tokens, d) of a head; it returns (batch, d)."""
    expect(solve, heads(), last_query_attention, ATTENTION_MISTAKES)
    return "three heads, against the last position of causal attention for all tokens"


EXERCISES = {
    "6.D attention of the last token": Exercise(
        try_last_query_attention,
        last_query_attention,
    ),
}
