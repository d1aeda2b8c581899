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

Gradients are made from what went into a step, or came out, so the forward pass keeps that for the
backward pass. These numbers, the *activations*, are often most of the memory: Korthikanti et al.
2022, section 4.1. How many each step keeps stands in `_block_steps`.

An adapter (LoRA, Hu et al. 2021) is two more matrices that learn, beside one that is frozen: what
comes in meets A (in, rank), that meets B (rank, out), and the sum with the frozen one's goes on.

Below, b is the batch size, n the number of tokens, d = emb_dim and h the number of heads.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from math import prod
from typing import NamedTuple

from helpers.checks import instance_of, whole_number
from helpers.freezing import ADAPTED, TRAINABLE, FreezePlan, parameter_report
from helpers.model import part_names

SCALES = {
    "bytes": ("bytes", "kB", "MB", "GB", "TB"),
    "multiply-adds": tuple(
        f"{s}multiply-adds" for s in ("", "thousand ", "million ", "billion ", "trillion ")
    ),
}
NOTHING_LEARNS = "no trainable part, no backward pass"


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
    """The six costs of one training step.

    Iterating gives them in this order. Memory in bytes: `weights`, `gradients`, `optimizer` and
    `activations`, which the forward pass keeps for the backward pass. Work in multiply-adds:
    `forward` and `backward`.
    """

    weights: Cost
    gradients: Cost
    optimizer: Cost
    activations: Cost
    forward: Cost
    backward: Cost

    def __iter__(self) -> Iterator[Cost]:
        return (getattr(self, cost.name) for cost in fields(self))


def training_cost(
    cfg: dict, plan: FreezePlan, batch_size: int = 1, num_tokens: int = 4, num_classes: int = 2
) -> TrainingCost:
    """Return the costs of one training step on token ids (batch_size, num_tokens).

    No weights are allocated. The memory is that of float32, 4 bytes each, for a model without
    dropout. Not counted: the token ids, what the loss keeps (4 bytes for each message and class),
    what torch needs for a moment only (such as scores before softmax), AdamW's step counter of 4
    bytes per tensor, and work that is no matrix product, such as layer norm, softmax and GELU.
    Embeddings are look-ups: no work here. Attention fills the whole table of n × n scores, as the
    causal mask only hides half of it.

    Raises ValueError for a batch size or number of tokens below 1, for more tokens than the context
    length, for fewer than two classes, and for a plan of another depth.
    """
    instance_of("cfg", cfg, dict, "the dictionary of gpt_config")
    whole_number("batch_size", batch_size)
    if whole_number("num_tokens", num_tokens) > cfg["context_length"]:
        raise ValueError(
            f"{num_tokens} tokens are more than the context length of {cfg['context_length']}"
        )
    report = parameter_report(cfg, plan, num_classes)
    count = StepCount()
    for part in part_names(cfg["n_layers"]):
        count.add(steps_of(cfg, plan, num_classes, part))

    b, n, d = batch_size, num_tokens, cfg["emb_dim"]
    float32, learned = (4, "byte"), (report.trainable, "trainable parameter")
    tokens = ((b, "message"), (n, "token"))
    pairs = ((n, ""), (n, "token pair"))
    crossed = (count.attentions_crossed, "block")
    kept = {
        what: (float32, *tokens, (numbers, "number"))
        for what, numbers in count.numbers_kept.items()
    } | {
        ATTENTION_WEIGHTS: (float32, crossed, (b, "message"), (cfg["n_heads"], "head"), *pairs),
        CAUSAL_MASKS: ((1, "byte"), crossed, *pairs),
        POSITIONS: ((8, "byte"), (n * (plan.state("pos_emb") == TRAINABLE), "token")),
    }
    table = ((b, "message"), *pairs, (d, "dimension"))
    return TrainingCost(
        weights=_memory("memory for the weights", float32, (report.total, "parameter")),
        gradients=_memory("memory for the gradients", float32, learned),
        optimizer=_memory("memory for AdamW's moments", (2, "moment"), float32, learned),
        activations=sum_up("memory kept for the backward pass", "bytes", kept),
        forward=sum_up(
            "work of the forward pass",
            "multiply-adds",
            {
                "matrices": (*tokens, (count.weights, "weight")),
                "attention": ((count.attentions, "block"), (2, "product"), *table),
            },
        ),
        backward=sum_up(
            "work of the backward pass",
            "multiply-adds",
            {
                "weight gradients of trainable matrices": (*tokens, (count.learning, "weight")),
                "input gradients of matrices crossed": (*tokens, (count.crossed, "weight")),
                "attention": (crossed, (4, "product"), *table),
            },
        ),
    )


# --- the steps of the forward pass ----------------------------------------------------------------

# kinds of steps, each called by what it keeps of each token for the backward pass
MATRIX = "inputs of trainable matrices"
NORM = "inputs and statistics of layer norms"
ATTENTION = "queries, keys and values"
GELU = "inputs of GELU"
EMBEDDING = "nothing"

# what else is kept, not for each token alone
ATTENTION_WEIGHTS, CAUSAL_MASKS, POSITIONS = "attention weights", "causal masks", "positions"


class Step(NamedTuple):
    """A step of the forward pass: its kind, and whether it has parameters that learn.

    `kept` is how many numbers it keeps of each token for the backward pass, if it has to: a matrix
    where it learns, another step where a gradient comes down to it. `weights` is the size of a
    matrix, or of several side by side.
    """

    kind: str
    learns: bool
    kept: int
    weights: int = 0


def steps_of(cfg: dict, plan: FreezePlan, num_classes: int, part: str) -> Iterator[Step]:
    """Yield the steps of one part of the model, in the order of the forward pass."""
    d = cfg["emb_dim"]
    if part.endswith("_emb"):
        yield Step(EMBEDDING, plan.state(part) == TRAINABLE, 0)
    elif part == "final_norm":
        yield norm_step(plan, part, d)
    elif part == "out_head":
        yield from matrix_steps(plan, part, d, num_classes)
    else:
        yield from _block_steps(plan, part, d)


def _block_steps(plan: FreezePlan, block: str, d: int) -> Iterator[Step]:
    yield norm_step(plan, f"{block}.norm1", d)
    yield from matrix_steps(plan, f"{block}.att", d, d, side_by_side=3)  # W_query, W_key, W_value
    yield Step(ATTENTION, False, 3 * d)
    yield from matrix_steps(plan, f"{block}.att", d, d)  # out_proj
    yield from feed_forward_steps(plan, block, d)


def feed_forward_steps(plan: FreezePlan, block: str, d: int) -> Iterator[Step]:
    """Yield a block's steps after its attention."""
    yield norm_step(plan, f"{block}.norm2", d)
    yield from matrix_steps(plan, f"{block}.ff", d, 4 * d)
    yield Step(GELU, False, 4 * d)
    yield from matrix_steps(plan, f"{block}.ff", 4 * d, d)


def norm_step(plan: FreezePlan, piece: str, d: int) -> Step:
    """Return a layer norm, which keeps what comes in, its mean and 1 / standard deviation."""
    return Step(NORM, plan.state(piece) == TRAINABLE, d + 2)


def matrix_steps(
    plan: FreezePlan, piece: str, num_in: int, num_out: int, side_by_side: int = 1
) -> Iterator[Step]:
    """Yield matrices (num_in, num_out), `side_by_side` of them on one input, and their adapters."""
    state, rank = plan.state(piece), side_by_side * plan.rank
    yield Step(MATRIX, state == TRAINABLE, num_in, side_by_side * num_in * num_out)
    if state == ADAPTED:
        yield Step(MATRIX, True, num_in, num_in * rank)  # A of each, on the same input
        yield Step(MATRIX, True, rank, rank * num_out)  # B of each


@dataclass
class StepCount:
    """What steps of a forward pass add up to, taken in their order.

    `weights` are those of all matrices, `learning` of the trainable ones, `crossed` of those that
    pass a gradient on to their input. `attentions_crossed` counts the attentions that do so, and
    `numbers_kept` has for each kind of step how many numbers are kept of each token. `gradient`
    says whether a gradient comes down to what the next step takes: whether something before it
    learns.
    """

    gradient: bool = False
    weights: int = 0
    learning: int = 0
    crossed: int = 0
    attentions: int = 0
    attentions_crossed: int = 0
    numbers_kept: Counter = field(default_factory=Counter)

    def add(self, steps: Iterable[Step]) -> None:
        for kind, learns, kept, weights in steps:
            if kind == MATRIX:
                self.weights += weights
                self.learning += weights * learns
                self.crossed += weights * self.gradient
            elif kind == ATTENTION:
                self.attentions += 1
                self.attentions_crossed += self.gradient
            if learns or (self.gradient and kind != MATRIX):
                self.numbers_kept[kind] += kept
            self.gradient = self.gradient or learns


# --- in words -------------------------------------------------------------------------------------


def _memory(what: str, *factors: tuple[int, str]) -> Cost:
    return Cost(what, _amount(factors), "bytes", _written(factors))


def sum_up(what: str, unit: str, terms: dict[str, tuple]) -> Cost:
    """Add up labelled products; the formula leaves out those that are zero."""
    present = {label: factors for label, factors in terms.items() if _amount(factors)}
    formula = " + ".join(f"{label}: {_written(factors)}" for label, factors in present.items())
    amount = sum(map(_amount, present.values()))
    return Cost(what, amount, unit, formula or NOTHING_LEARNS)


def _amount(factors: Iterable[tuple[int, str]]) -> int:
    return prod(number for number, _ in factors)


def _written(factors: Iterable[tuple[int, str]]) -> str:
    """Write a product's (number, noun) factors out: "2 moments × 4 bytes"."""
    words = []
    for number, noun in factors:
        plural = "s" if noun and number != 1 else ""
        words.append(f"{number:,} {noun}{plural}".rstrip())
    return " × ".join(words)
