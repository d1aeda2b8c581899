"""What a training costs under a freeze plan: the memory and compute of a step, and a whole training's.

A step is one forward pass, one backward pass of the cross-entropy on the last position's logits, and
one step of AdamW, in float32. Almost all of the compute lies in matrix products, so these are
counted, in multiply-adds, each as torch carries it out.

A product of (n, in) with (in, out) takes n·in·out multiply-adds, so each token meets each weight of
each matrix once. The backward pass does as much again for the gradient of a trainable matrix (its
weight gradient), and as much again for the gradient of a matrix's input (its input gradient), where
something before it is trainable: Rumelhart et al. 1986. Attention adds two products, queries by
keys and weights by values, and their four gradients: Chowdhery et al. 2022 (PaLM), appendix B,
where a multiply-add is two operations. AdamW's two moments: Loshchilov & Hutter 2019, algorithm 2.

Gradients are made from the inputs or outputs of a layer, so the forward pass keeps these for the
backward pass. These numbers, the *activations*, are often most of the memory: Korthikanti et al.
2022, section 4.1. An adapter (LoRA, Hu et al. 2021) is two more matrices that are trained, beside
one that is frozen: A (rank, in) and B (out, rank).

A whole training is counted in two ways. `helpers.training.train_classifier_simple` runs all of the
model in each step, on sequences that are padded to one length. `workshop.fast.fine_tune` runs the
frozen part once for each message, and in each step only what is above it, where the last block runs
for the classifying position only.

Below, b is the batch size, n the number of tokens, d = emb_dim and h the number of heads.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import ceil
from typing import NamedTuple

import numpy as np

from helpers.checks import whole_number
from helpers.freezing import (
    ADAPTED,
    FROZEN,
    TRAINABLE,
    FreezePlan,
    frozen_blocks,
    kind_of,
    parameter_report,
    pieces_of,
)
from helpers.model import part_names
from workshop.fast import EVAL_FREQ, batch_order
from workshop.forward import MEASURED_AT_ONCE, in_batches_by_length

LARGER_UNITS = {  # each 1000 times the one before
    "bytes": ("kB", "MB", "GB", "TB"),
    "multiply-adds": (
        "thousand multiply-adds",
        "million multiply-adds",
        "billion multiply-adds",
        "trillion multiply-adds",
    ),
}
# the pieces of a block, in the order of the forward pass
DATA_FLOW = ("norm1", "att", "norm2", "ff")
EVAL_ITER = 5  # batches on which the book's loop measures

_batch_order = lru_cache(maxsize=8)(batch_order)  # a widget asks again for each number of tokens


@dataclass(frozen=True)
class Cost:
    """One amount in whole `unit`s, "bytes" or "multiply-adds".

    `str(cost)` is short, for reading: "497.8 MB", "340.0 million multiply-adds", "0"; 1 MB is 10⁶
    bytes.
    """

    what: str
    amount: int
    unit: str

    def __str__(self):
        if self.amount < 1000:
            return f"{self.amount} {self.unit}" if self.amount else "0"
        value, unit = self.amount, self.unit
        for larger in LARGER_UNITS[self.unit]:
            if round(value, 1) < 1000:
                break
            value, unit = value / 1000, larger
        return f"{value:,.1f} {unit}"


# --- one step -------------------------------------------------------------------------------------


class TrainingCost(NamedTuple):
    """The six costs of one training step.

    Memory in bytes: `weights`, `gradients`, `optimizer` and `activations`, which the forward pass
    keeps for the backward pass. Compute in multiply-adds: `forward` and `backward`.
    """

    weights: Cost
    gradients: Cost
    optimizer: Cost
    activations: Cost
    forward: Cost
    backward: Cost


def training_cost(
    cfg: dict, plan: FreezePlan, batch_size: int = 1, num_tokens: int = 4, num_classes: int = 2
) -> TrainingCost:
    """Return the costs of one training step on token ids (batch_size, num_tokens).

    The memory is that of float32, 4 bytes each, for a model without dropout. Not counted: the token
    ids, what the loss keeps (4 bytes for each message and class), what torch needs for a moment
    only (such as scores before softmax), AdamW's step counter of 4 bytes per tensor, and compute
    that is no matrix product, such as layer norm, softmax and GELU. Embeddings are look-ups and need
    no compute here. Attention fills the whole table of n × n scores, as the causal mask only hides
    half of it.

    Raises ValueError for a batch size or number of tokens below 1, for more tokens than the context
    length, for fewer than two classes, and for a plan of another depth.
    """
    b, n = whole_number("batch_size", batch_size), whole_number("num_tokens", num_tokens)
    if n > cfg["context_length"]:
        raise ValueError(f"{n} tokens are more than the context length of {cfg['context_length']}")
    report = parameter_report(cfg, plan, num_classes)
    passed = ForwardPass(cfg, plan, num_classes)
    for part in part_names(cfg["n_layers"]):
        passed.run(part, "token")

    gradients = passed.weight_gradients + passed.input_gradients
    kept = 4 * b * n * passed.kept
    kept += 4 * b * cfg["n_heads"] * n * n * passed.crossed  # the attention weights
    kept += n * n * passed.crossed  # the causal masks, one byte for each pair of tokens
    if plan.state("pos_emb") == TRAINABLE:
        kept += 8 * n  # the positions' indices
    return TrainingCost(
        Cost("memory for the weights", 4 * report.total, "bytes"),
        Cost("memory for the gradients", 4 * report.trainable, "bytes"),
        Cost("memory for AdamW's moment estimates", 2 * 4 * report.trainable, "bytes"),
        Cost("memory kept for the backward pass", kept, "bytes"),
        Cost("compute of the forward pass", _on_a_batch(passed.forward, b, n), "multiply-adds"),
        Cost("compute of the backward pass", _on_a_batch(gradients, b, n), "multiply-adds"),
    )


def _on_a_batch(amounts: Counter, batch_size: int, num_tokens: int) -> int:
    """Return the multiply-adds of one pass on a batch."""
    message = amounts["message"] + num_tokens * amounts["token"] + num_tokens**2 * amounts["pair"]
    return amounts["batch"] + batch_size * message


# --- the forward pass -----------------------------------------------------------------------------


@dataclass
class ForwardPass:
    """Adds up what the steps of a forward pass under a plan compute and keep.

    `forward` counts the multiply-adds of its products, `weight_gradients` and `input_gradients`
    those of the backward pass, by what they grow with: "batch", "message", "token" or "pair" (of
    tokens). `kept` counts the numbers that are kept of each token, and `crossed` the attentions
    that pass a gradient on. `has_gradient` says whether something before the next step is
    trainable, so that its input needs a gradient.
    """

    cfg: dict
    plan: FreezePlan
    num_classes: int
    forward: Counter = field(default_factory=Counter)
    weight_gradients: Counter = field(default_factory=Counter)
    input_gradients: Counter = field(default_factory=Counter)
    kept: int = 0
    crossed: int = 0
    has_gradient: bool = False

    def run(self, part: str, per: str) -> None:
        """Run a part `per` "token", or the head or a block for one token of each "message"."""
        for piece in pieces_of(part, DATA_FLOW):
            self.run_piece(piece, per)

    def run_piece(self, piece: str, per: str = "token") -> None:
        """Run a piece of a block, or a part that has no pieces; see `run`."""
        d, kind = self.cfg["emb_dim"], kind_of(piece)
        if kind == "out_head":
            self._matrices(piece, d, self.num_classes, per)
        elif kind == "att":
            if per == "token":
                self._matrices(piece, d, d, per, 3)  # W_query, W_key and W_value
                self.forward["pair"] += 2 * d  # queries by keys, weights by values
                if self.has_gradient:
                    self.input_gradients["pair"] += 4 * d  # of both factors of both products
                    self.crossed += 1
                    self.kept += 3 * d
            else:
                self._attend_for_one_token(piece)
            self._matrices(piece, d, d, per)  # out_proj
        elif kind == "ff":
            self._matrices(piece, d, 4 * d, per)
            if self.has_gradient:
                self.kept += 4 * d
            self._matrices(piece, 4 * d, d, per)
        else:  # an embedding or a layer norm
            self.has_gradient = self.has_gradient or self.plan.state(piece) == TRAINABLE
            if self.has_gradient and "norm" in kind:
                self.kept += d + 2  # its input, its mean and 1 / standard deviation

    def _attend_for_one_token(self, piece: str) -> None:
        """Run attention for one token of each message, as `workshop.forward.attention_at` does.

        There the key matrix meets the query, and the value matrix the weighted sum of the tokens.
        Where there are adapters B A is added to these two matrices.
        """
        d, state = self.cfg["emb_dim"], self.plan.state(piece)
        products = 2 * self.cfg["n_heads"] * d  # (h, d) with (d, n), and (h, n) with (n, d)
        self.forward["token"] += products
        if self.has_gradient:  # the tokens are a factor of both products
            self.input_gradients["token"] += products
        self._matrices(piece, d, d, "message")  # W_query
        if self.has_gradient or state == ADAPTED:  # so are the queries and the weights
            self.input_gradients["token"] += products
        self._matrix(d, 2 * d, state != FROZEN, "message")  # W_key and W_value
        if self.cfg["qkv_bias"]:
            self._matrix(d, 1, state == TRAINABLE, "message")  # the query with the key bias
        if state == ADAPTED:
            merging = 2 * self.plan.rank * d * d  # B A for keys and B A for values
            self.forward["batch"] += merging
            self.weight_gradients["batch"] += 2 * merging  # of A and of B

    def _matrices(
        self, piece: str, num_in: int, num_out: int, per: str, side_by_side: int = 1
    ) -> None:
        """Run matrices (num_in, num_out), `side_by_side` on one input, and their adapters."""
        state, rank = self.plan.state(piece), side_by_side * self.plan.rank
        self._matrix(num_in, side_by_side * num_out, state == TRAINABLE, per)
        if state == ADAPTED:
            self._matrix(num_in, rank, True, per)  # A of each, on the same input
            self._matrix(rank, num_out, True, per)  # B of each

    def _matrix(self, num_in: int, num_out: int, is_trainable: bool, per: str) -> None:
        self.forward[per] += num_in * num_out
        if self.has_gradient:
            self.input_gradients[per] += num_in * num_out
        if is_trainable:
            self.weight_gradients[per] += num_in * num_out
            self.kept += num_in
            self.has_gradient = True


# --- a whole training -----------------------------------------------------------------------------


class TrainingWork(NamedTuple):
    """The compute of a whole fine-tuning, in multiply-adds."""

    book: Cost
    fine_tune: Cost

    @classmethod
    def of(cls, book: int, fine_tune: int) -> "TrainingWork":
        """Return the work of these numbers of multiply-adds."""
        return cls(
            Cost("compute, all of the model in each step (the book's way)", book, "multiply-adds"),
            Cost(
                "compute, the frozen part only once (fine_tune's way)", fine_tune, "multiply-adds"
            ),
        )


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
) -> TrainingWork:
    """Return the compute of fine-tuning on messages of these numbers of tokens, without padding.

    Sequences are padded, or truncated, to the longest training message. Both ways take the same
    steps, and each measures as it does: the book's loop on 5 batches of training and 5 of
    validation messages every 50 steps and after each epoch, `fine_tune` on all validation messages
    after each epoch. Nothing is cached yet, so the frozen part runs. Where nothing is trainable
    there is no training: 0.

    The classifier has two classes; `position` is one of `helpers.training.POSITIONS`. Raises what
    `training_cost` and `batch_order` raise.
    """
    longest = max(train_lengths)
    step = training_cost(cfg, plan, 1, longest)
    if not step.gradients.amount:  # nothing is trainable
        return TrainingWork.of(0, 0)
    order = _batch_order(len(train_lengths), batch_size, epochs, seed)
    batches = [batch for epoch in order for batch in epoch]

    num_messages = sum(len(batch) for batch in batches)
    num_measurements = ceil(len(batches) / EVAL_FREQ) + epochs
    most = EVAL_ITER * batch_size
    num_measured = min(most, num_messages // epochs) + min(most, len(validation_lengths))
    book = num_messages * (step.forward.amount + step.backward.amount)
    book += num_measurements * num_measured * step.forward.amount

    frozen, trained = ForwardPass(cfg, plan, 2), ForwardPass(cfg, plan, 2)
    parts, blocks = part_names(cfg["n_layers"]), frozen_blocks(plan)
    num_frozen = 0 if blocks is None else 2 + blocks  # the embeddings come first
    for number, part in enumerate(parts):
        # the head gets one vector of each message, and so does the last block but for a mean
        in_last_block = part == parts[-3] and position not in ("mean", "mean_tokens")
        for_one_token = part == "out_head" or in_last_block
        passed = frozen if number < num_frozen else trained
        passed.run(part, "message" if for_one_token else "token")

    shortest_read = longest if position in ("last", "mean") else 1
    longest_read = 1 if position == "first" else longest
    train = np.clip(train_lengths, shortest_read, longest_read).tolist()
    validation = np.clip(validation_lengths, shortest_read, longest_read).tolist()
    each_step = trained.forward + trained.weight_gradients + trained.input_gradients
    indices = range(len(validation))
    measured = [indices[i : i + MEASURED_AT_ONCE] for i in indices[::MEASURED_AT_ONCE]]
    fast = _total(frozen.forward, in_batches_by_length(train), train)
    fast += _total(frozen.forward, in_batches_by_length(validation), validation)
    fast += _total(each_step, batches, train)
    fast += epochs * _total(trained.forward, measured, validation)
    return TrainingWork.of(book, fast)


def _total(amounts: Counter, batches: Sequence[Sequence[int]], lengths: Sequence[int]) -> int:
    """Return the multiply-adds of passes on batches, each padded to its longest message."""
    total = 0
    for batch in batches:
        total += _on_a_batch(amounts, len(batch), max(lengths[i] for i in batch))
    return total
