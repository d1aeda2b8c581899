"""The work of a whole fine-tuning in two ways: the book's, and with the frozen part run once.

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
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from helpers.checks import whole_number
from helpers.classifying_token import check_position
from helpers.costs import (
    ATTENTION,
    MATRIX,
    Cost,
    Step,
    StepCount,
    feed_forward_steps,
    matrix_steps,
    norm_step,
    steps_of,
    sum_up,
    training_cost,
)
from helpers.fine_tuning import MEASURED_AT_ONCE, batch_order
from helpers.freezing import ADAPTED, FROZEN, TRAINABLE, FreezePlan
from helpers.frozen_cache import in_batches_by_length
from helpers.gradient_reach import frozen_blocks, gradient_reach
from helpers.model import part_names

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
