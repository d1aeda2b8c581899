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

The work of a whole fine-tuning in two ways: the book's, and with the frozen part run once.

Every matrix product is counted, as in `costs`: those of the steps, of measuring on the way, and of
the one run of the frozen part. The book's way is `training.train_classifier_simple`: each step runs
all of the model on rows that are padded to one length. `fine_tuning.fine_tune` runs what lies below
the lowest part that learns once for each message, and in each step only what is above it. Its last
block answers for one token of each message (`frozen_cache.attention_at`).

Below, b is the number of messages in a batch, n that of their tokens with padding, d = emb_dim and
h the number of heads.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from math import prod
from typing import NamedTuple

from helpers.checks import instance_of, whole_number
from helpers.freezing import (
    ADAPTED,
    FROZEN,
    TRAINABLE,
    FreezePlan,
    frozen_blocks,
    gradient_reach,
    parameter_report,
)
from helpers.model import part_names
from helpers.training import check_position, in_batches_by_length
from workshop.fast import MEASURED_AT_ONCE, batch_order

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


EVAL_FREQ, EVAL_ITER = 50, 5  # the book's loop measures every 50 steps, on 5 batches


@dataclass(frozen=True)
class TrainingWork:
    """The work of a whole fine-tuning, in multiply-adds. Iterating gives the book's way first."""

    book: Cost
    fine_tune: Cost

    def __iter__(self) -> Iterator[Cost]:
        return iter((self.book, self.fine_tune))


def work_of_training(
    cfg: dict,
    plan: FreezePlan,
    train_lengths: Sequence[int],
    validation_lengths: Sequence[int],
    *,
    epochs: int = 5,
    batch_size: int = 8,
    seed: int = 123,
    position: str = "last",
    num_classes: int = 2,
) -> TrainingWork:
    """Return the work of fine-tuning on messages of these numbers of tokens, without padding.

    Rows are padded, or cut, to the longest training message. Both ways take the same steps, and
    each measures as it does: the book's loop on 5 batches of training and 5 of validation messages
    every 50 steps and after each epoch, `fine_tune` on all validation messages after each epoch.
    Nothing is cached yet, so the frozen part runs. Where nothing learns there is no training: 0.

    Raises ValueError for no messages or an empty one, and what `training_cost` and `batch_order`
    raise.
    """
    check_position(position)
    whole_number("batch_size", batch_size)
    whole_number("epochs", epochs)
    for name, lengths in {"train": train_lengths, "validation": validation_lengths}.items():
        if not lengths or min(lengths) < 1:
            raise ValueError(
                f"{name}_lengths must be at least one number of tokens, each from 1, "
                f"not {min(lengths, default='none')}"
            )
    longest = max(train_lengths)
    one_message = training_cost(cfg, plan, 1, longest, num_classes)
    train, validation = (
        tuple(_tokens_taken(length, longest, position) for length in lengths)
        for lengths in (train_lengths, validation_lengths)
    )
    steps = _batches_of_steps(train, batch_size, epochs, seed)

    num_messages = sum(b * count for (b, _), count in steps.items())
    num_measurings = -(-steps.total() // EVAL_FREQ) + epochs
    at_most = EVAL_ITER * batch_size
    num_measured = min(at_most, num_messages // epochs) + min(at_most, len(validation))
    forward, backward = one_message.forward.amount, one_message.backward.amount
    book = {
        "steps": ((num_messages, "message"), (forward + backward, "multiply-add")),
        "measuring": ((num_measurings * num_measured, "message"), (forward, "multiply-add")),
    }

    below, above = _passes_below_and_above(cfg, plan, num_classes, one_token=position != "mean")
    once = below.forward.on(_batches_by_length(train) + _batches_by_length(validation))
    each_epoch = above.forward.on(_batches_measured(validation))
    fast = {
        "the frozen part, once": ((once, "multiply-add"),),
        "steps": ((above.forward.on(steps) + above.backward.on(steps), "multiply-add"),),
        "measuring": ((epochs, "epoch"), (each_epoch, "multiply-add")),
    }
    if gradient_reach(plan).lowest is None:
        book = fast = {}
    return TrainingWork(
        sum_up("work, all of the model in each step (the book's way)", "multiply-adds", book),
        sum_up("work, the frozen part only once (fine_tune's way)", "multiply-adds", fast),
    )


def _tokens_taken(length: int, longest: int, position: str) -> int:
    """Return how many tokens of a message's row of `longest` `fine_tune` takes."""
    return {"first": 1, "last_token": min(length, longest)}.get(position, longest)


# --- batches --------------------------------------------------------------------------------------

Batches = Counter[tuple[int, int]]  # (b, n) → how many such batches


@lru_cache(maxsize=8)
def _batches_of_steps(lengths: tuple[int, ...], batch_size: int, epochs: int, seed: int) -> Batches:
    if len(set(lengths)) == 1:  # no need to know which messages come together
        b = min(batch_size, len(lengths))
        return Counter({(b, lengths[0]): epochs * (len(lengths) // b)})
    order = batch_order(len(lengths), batch_size, epochs, seed)
    return _counted([batch for batches in order for batch in batches], lengths)


@lru_cache(maxsize=8)
def _batches_by_length(lengths: tuple[int, ...]) -> Batches:
    return _counted(in_batches_by_length(lengths), lengths)


@lru_cache(maxsize=8)
def _batches_measured(lengths: tuple[int, ...]) -> Batches:
    numbers = range(len(lengths))
    starts = numbers[::MEASURED_AT_ONCE]
    return _counted([numbers[start : start + MEASURED_AT_ONCE] for start in starts], lengths)


def _counted(batches: Iterable[Sequence[int]], lengths: tuple[int, ...]) -> Batches:
    """Count batches of message numbers; each is padded to its longest message."""
    return Counter((len(batch), max(lengths[i] for i in batch)) for batch in batches)


# --- passes through some of the parts -------------------------------------------------------------


@dataclass(frozen=True)
class _Work:
    """The multiply-adds of a pass, by what they grow with."""

    per_batch: int
    per_message: int
    per_token: int
    per_pair: int

    def on(self, batches: Batches) -> int:
        return sum(
            count * (self.per_batch + b * self._of_message(n)) for (b, n), count in batches.items()
        )

    def _of_message(self, n: int) -> int:
        return self.per_message + n * self.per_token + n * n * self.per_pair


class _Passes(NamedTuple):
    forward: _Work
    backward: _Work


def _passes_below_and_above(
    cfg: dict, plan: FreezePlan, num_classes: int, one_token: bool
) -> tuple[_Passes, _Passes]:
    """Return the passes through the frozen part, which runs once, and through what is above it."""
    parts, blocks = part_names(cfg["n_layers"]), frozen_blocks(plan)
    start = 0 if blocks is None else parts.index("trf_blocks.0") + blocks
    below = _passes(cfg, plan, num_classes, parts[:start], one_token)
    return below, _passes(cfg, plan, num_classes, parts[start:], one_token)


def _passes(
    cfg: dict, plan: FreezePlan, num_classes: int, parts: Sequence[str], one_token: bool
) -> _Passes:
    """Return the passes through `parts`.

    With `one_token` only one token of each message goes on from the last block, where attention's
    two products are of (h, d) with (d, n) and of (h, n) with (n, d). Without, all go on, and only
    their mean goes into the head.
    """
    d, h, last_block = cfg["emb_dim"], cfg["n_heads"], f"trf_blocks.{cfg['n_layers'] - 1}"
    # the head meets one vector of each message: one token's, or the mean of all
    of_one_token = (last_block, "final_norm", "out_head") if one_token else ("out_head",)

    every = StepCount()  # what every token goes through
    for part in parts:
        if part not in of_one_token:
            every.add(steps_of(cfg, plan, num_classes, part))

    one = StepCount(gradient=every.gradient)  # what one token of each message goes through
    operands = 0  # of the two products there: those that get a gradient
    for part in parts:
        if part == last_block and one_token:
            one.add([norm_step(plan, f"{part}.norm1", d)])
            operands += 2 * one.gradient  # all tokens, twice
            one.add(_attention_at_one(cfg, plan, part))
            operands += 2 * one.attentions_crossed  # what meets them
            one.add(feed_forward_steps(plan, part, d))
        elif part in of_one_token:
            one.add(steps_of(cfg, plan, num_classes, part))

    adapted = one.attentions and plan.state(f"{last_block}.att") == ADAPTED
    sums = 2 * plan.rank * d * d if adapted else 0  # B A for keys and B A for values
    return _Passes(
        _Work(
            per_batch=sums,
            per_message=one.weights,
            per_token=every.weights + 2 * one.attentions * h * d,
            per_pair=2 * every.attentions * d,
        ),
        _Work(
            per_batch=2 * sums,
            per_message=one.learning + one.crossed,
            per_token=every.learning + every.crossed + operands * h * d,
            per_pair=4 * every.attentions_crossed * d,
        ),
    )


def _attention_at_one(cfg: dict, plan: FreezePlan, block: str) -> Iterator[Step]:
    """Yield the steps of `frozen_cache.attention_at`, in which every matrix meets one token.

    The key matrix meets the query, whose product with the key bias comes on top; the value matrix
    meets the weighted sum. Where there are adapters these two matrices are summed up with B A.
    """
    att, d = f"{block}.att", cfg["emb_dim"]
    state = plan.state(att)
    yield from matrix_steps(plan, att, d, d)  # W_query
    yield Step(MATRIX, state != FROZEN, 0, d * d)  # W_key
    yield Step(MATRIX, state == TRAINABLE, 0, d * cfg["qkv_bias"])
    yield Step(ATTENTION, False, 0)
    yield Step(MATRIX, state != FROZEN, 0, d * d)  # W_value
    yield from matrix_steps(plan, att, d, d)  # out_proj
