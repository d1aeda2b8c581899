"""What one training step costs under a freeze plan: memory for its numbers, work of its passes.

One forward pass, one backward pass of the cross-entropy on the last position's logits, one step of
AdamW, in float32. Almost all of the work lies in matrix products, so these are counted, in
multiply-adds, each as torch carries it out.

A product of (n, in) with (in, out) takes n·in·out multiply-adds, so each token meets each weight of
each matrix once. The backward pass does as much again for the gradient of a trainable matrix (its
weight gradient), and as much again for the gradient of a matrix's input (its input gradient), where
something before it is trainable: Rumelhart et al. 1986. Attention adds two products, queries by
keys and weights by values, and their four gradients: Chowdhery et al. 2022 (PaLM), appendix B,
where a multiply-add is two operations. AdamW's two moments: Loshchilov & Hutter 2019, algorithm 2.

Below, b is the batch size, n the number of tokens and d = emb_dim.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from math import prod
from typing import NamedTuple

from helpers.checks import whole_number
from helpers.freezing import TRAINABLE, FreezePlan, parameter_report

SCALES = {
    "bytes": ("bytes", "kB", "MB", "GB", "TB"),
    "multiply-adds": tuple(
        f"{s}multiply-adds" for s in ("", "thousand ", "million ", "billion ", "trillion ")
    ),
}


@dataclass(frozen=True)
class Cost:
    """One amount in whole `unit`s, and the formula that gives it, with its numbers.

    Units are "bytes" and "multiply-adds". `str(cost)` is short, for reading: "497.8 MB", "340.0
    million multiply-adds", "0"; 1 MB is 10⁶ bytes.
    """

    what: str
    amount: int
    unit: str
    formula: str

    def __str__(self):
        if self.amount < 1000:
            return f"{self.amount} {self.unit}" if self.amount else "0"
        value, scales = float(self.amount), list(SCALES[self.unit])
        while round(value, 1) >= 1000 and len(scales) > 1:
            value, scales = value / 1000, scales[1:]
        return f"{value:,.1f} {scales[0]}"


@dataclass(frozen=True)
class TrainingCost:
    """The five costs of one training step.

    Iterating gives them in this order. Memory in bytes, work in multiply-adds. `weights`,
    `gradients` and `optimizer` are memory, `forward` and `backward` are work.
    """

    weights: Cost
    gradients: Cost
    optimizer: Cost
    forward: Cost
    backward: Cost

    def __iter__(self) -> Iterator[Cost]:
        return (getattr(self, field.name) for field in fields(self))


def training_cost(
    cfg: dict, plan: FreezePlan, batch_size: int = 1, num_tokens: int = 4, num_classes: int = 2
) -> TrainingCost:
    """Return the costs of one training step on token ids (batch_size, num_tokens).

    No weights are allocated. The memory is that of float32, 4 bytes each. Not counted: what the
    forward pass keeps for the backward pass (activations), AdamW's step counter of 4 bytes per
    tensor, and work that is no matrix product, such as layer norm, softmax and GELU. Embeddings
    are look-ups: no work here. Attention fills the whole table of n × n scores, as the causal mask
    only hides half of it.

    Raises ValueError for a batch size or number of tokens below 1, for more tokens than the context
    length, for fewer than two classes, and for a plan of another depth.
    """
    whole_number("batch_size", batch_size)
    if whole_number("num_tokens", num_tokens) > cfg["context_length"]:
        raise ValueError(
            f"{num_tokens} tokens are more than the context length of {cfg['context_length']}"
        )
    report = parameter_report(cfg, plan, num_classes)

    # numbers of weights in matrices, and of blocks
    all_weights = trained = crossed = attentions_crossed = 0
    needs_gradient = False  # what comes into the next step: is something before it trainable?
    for step in _steps(cfg, num_classes):
        all_weights += step.weights
        if needs_gradient:
            crossed += step.weights
            attentions_crossed += step.after_attention
        if plan.state(step.piece) == TRAINABLE:
            trained += step.weights
            needs_gradient = True

    b, n, d = batch_size, num_tokens, cfg["emb_dim"]
    float32, learned = (4, "byte"), (report.trainable, "trainable parameter")
    tokens = ((b, "message"), (n, "token"))
    table = ((b, "message"), (n, ""), (n, "token pair"), (d, "dimension"))
    return TrainingCost(
        weights=_memory("memory for the weights", float32, (report.total, "parameter")),
        gradients=_memory("memory for the gradients", float32, learned),
        optimizer=_memory("memory for AdamW's moments", (2, "moment"), float32, learned),
        forward=_work(
            "work of the forward pass",
            {
                "matrices": (*tokens, (all_weights, "weight")),
                "attention": ((cfg["n_layers"], "block"), (2, "product"), *table),
            },
        ),
        backward=_work(
            "work of the backward pass",
            {
                "weight gradients of trainable matrices": (*tokens, (trained, "weight")),
                "input gradients of matrices crossed": (*tokens, (crossed, "weight")),
                "attention": ((attentions_crossed, "block"), (4, "product"), *table),
            },
        ),
    )


class _Step(NamedTuple):
    """A step of the forward pass: its piece, and how many weights its matrix has.

    `after_attention`: queries meet keys, and weights meet values, just before it.
    """

    piece: str
    weights: int
    after_attention: bool = False


def _steps(cfg: dict, num_classes: int) -> Iterator[_Step]:
    """Yield the steps of the forward pass."""
    d = cfg["emb_dim"]
    yield _Step("tok_emb", 0)
    yield _Step("pos_emb", 0)
    for i in range(cfg["n_layers"]):
        block = f"trf_blocks.{i}"
        yield _Step(f"{block}.norm1", 0)
        yield _Step(f"{block}.att", 3 * d * d)  # W_query, W_key, W_value
        yield _Step(f"{block}.att", d * d, after_attention=True)  # out_proj
        yield _Step(f"{block}.norm2", 0)
        yield _Step(f"{block}.ff", d * 4 * d)
        yield _Step(f"{block}.ff", 4 * d * d)
    yield _Step("final_norm", 0)
    yield _Step("out_head", d * num_classes)


def _memory(what: str, *factors: tuple[int, str]) -> Cost:
    return Cost(what, _amount(factors), "bytes", _written(factors))


def _work(what: str, terms: dict[str, tuple]) -> Cost:
    """Add up labelled products; the formula leaves out those that are zero."""
    present = {label: factors for label, factors in terms.items() if _amount(factors)}
    formula = " + ".join(f"{label}: {_written(factors)}" for label, factors in present.items())
    amount = sum(map(_amount, present.values()))
    return Cost(what, amount, "multiply-adds", formula or "no trainable part, no backward pass")


def _amount(factors: Iterable[tuple[int, str]]) -> int:
    return prod(number for number, _ in factors)


def _written(factors: Iterable[tuple[int, str]]) -> str:
    """Write a product's (number, noun) factors out: "2 moments × 4 bytes"."""
    words = []
    for number, noun in factors:
        plural = "s" if noun and number != 1 else ""
        words.append(f"{number:,} {noun}{plural}".rstrip())
    return " × ".join(words)
