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
    for name, lengths in {"train": train_lengths, "validation": validation_lengths}.items():
        if not lengths or min(lengths) < 1:
            raise ValueError(f"{name}_lengths must be numbers of tokens from 1, not {lengths}")
    longest = max(train_lengths)
    of_one = training_cost(cfg, plan, 1, longest, num_classes)
    train, validation = (
        tuple(_tokens_taken(length, longest, position) for length in lengths)
        for lengths in (train_lengths, validation_lengths)
    )
    steps = _batches_of_steps(train, batch_size, epochs, seed)
    measured = _measured_by_the_book(steps, epochs, batch_size, len(validation))

    parts = part_names(cfg["n_layers"])
    blocks = frozen_blocks(plan)
    start = 0 if blocks is None else parts.index("trf_blocks.0") + blocks
    below, above = (
        _passes(cfg, plan, num_classes, some, one_token=position != "mean")
        for some in (parts[:start], parts[start:])
    )
    once = below.forward.on(_batches_by_length(train) + _batches_by_length(validation))
    each_step = above.forward.on(steps) + above.backward.on(steps)
    each_epoch = above.forward.on(_batches_measured(validation))

    forward, both = of_one.forward.amount, of_one.forward.amount + of_one.backward.amount
    book = {
        "steps": ((_messages_in(steps), "message"), (both, "multiply-add")),
        "measuring": ((measured, "message"), (forward, "multiply-add")),
    }
    fast = {
        "the frozen part, once": ((once, "multiply-add"),),
        "steps": ((each_step, "multiply-add"),),
        "measuring": ((epochs, "epoch"), (each_epoch, "multiply-add")),
    }
    learns = gradient_reach(plan).lowest is not None
    return TrainingWork(
        sum_up("work of the training, the book's way", "multiply-adds", book if learns else {}),
        sum_up("work of the training, fine_tune's way", "multiply-adds", fast if learns else {}),
    )


def _tokens_taken(length: int, longest: int, position: str) -> int:
    """Return how many tokens of a message's row of `longest` `fine_tune` takes."""
    return {"first": 1, "last_token": min(length, longest)}.get(position, longest)


def _measured_by_the_book(
    steps: "Batches", epochs: int, batch_size: int, num_validation: int
) -> int:
    """Return how many messages the book's loop runs to measure loss and accuracy."""
    times = -(-steps.total() // EVAL_FREQ) + epochs
    at_most = EVAL_ITER * batch_size
    return times * (min(at_most, _messages_in(steps) // epochs) + min(at_most, num_validation))


# --- batches --------------------------------------------------------------------------------------

Batches = Counter[tuple[int, int]]  # (b, n) → how many such batches


def _messages_in(batches: Batches) -> int:
    return sum(b * count for (b, _), count in batches.items())


@lru_cache(maxsize=8)
def _batches_of_steps(lengths: tuple[int, ...], batch_size: int, epochs: int, seed: int) -> Batches:
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


def _passes(
    cfg: dict, plan: FreezePlan, num_classes: int, parts: Sequence[str], one_token: bool
) -> _Passes:
    """Return the passes through `parts`.

    With `one_token` only one token of each message goes on from the last block. Its attention is
    two products of (h, d) with (d, n) or of (h, n) with (n, d).
    """
    d, h, last = cfg["emb_dim"], cfg["n_heads"], f"trf_blocks.{cfg['n_layers'] - 1}"
    from_last = part_names(cfg["n_layers"])[-3:] if one_token else ()

    every = StepCount()  # what each token goes through
    for part in parts:
        if part not in from_last:
            every.add(steps_of(cfg, plan, num_classes, part))
    one = StepCount(gradient=every.gradient)  # what one token of each message goes through
    all_crossed = False  # does a gradient come down to all tokens that the last block looks at?
    for part in parts:
        if part == last and one_token:
            one.add([norm_step(plan, f"{last}.norm1", d)])
            all_crossed = one.gradient
            one.add(_attention_at_one(cfg, plan, last))
            one.add(feed_forward_steps(plan, last, d))
        elif part in from_last:
            one.add(steps_of(cfg, plan, num_classes, part))

    adapted = last in parts and one_token and plan.state(f"{last}.att") == ADAPTED
    summed = 2 * plan.rank * d * d * adapted  # B A for keys and for values
    crossed = 2 * one.attentions_crossed + 2 * all_crossed  # products' operands with a gradient
    return _Passes(
        _Work(
            summed,
            one.weights,
            every.weights + 2 * one.attentions * h * d,
            2 * every.attentions * d,
        ),
        _Work(
            2 * summed,
            one.learning + one.crossed,
            every.learning + every.crossed + crossed * h * d,
            4 * every.attentions_crossed * d,
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
