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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from math import ceil, prod

from helpers.checks import one_of, whole_number
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
from helpers.training import POSITIONS
from workshop.fast import MEASURED_AT_ONCE, batch_order, in_batches_by_length

SCALES = {
    "bytes": ("bytes", "kB", "MB", "GB", "TB"),
    "multiply-adds": tuple(
        f"{s}multiply-adds" for s in ("", "thousand ", "million ", "billion ", "trillion ")
    ),
}
NOTHING_LEARNS = "no trainable part, no backward pass"
EVAL_FREQ, EVAL_ITER = 50, 5  # the book's loop measures every 50 steps, on 5 batches


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


def _sum_up(what: str, unit: str, terms: dict[str, Sequence[tuple[int, str]]]) -> Cost:
    """Return the sum of products of (number, noun) factors, which are written out in the formula.

    A term is "label: 2 moments × 4 bytes"; without a label it is the product alone. The formula
    leaves out labelled terms that are zero.
    """
    amount, written = 0, []
    for label, factors in terms.items():
        product = prod(number for number, _ in factors)
        amount += product
        texts = []
        for number, noun in factors:
            plural = "s" if noun and number != 1 else ""
            texts.append(f"{number:,} {noun}{plural}".rstrip())
        text = " × ".join(texts)
        if not label:
            written.append(text)
        elif product:
            written.append(f"{label}: {text}")
    return Cost(what, amount, unit, " + ".join(written) or NOTHING_LEARNS)


# --- one step -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainingCost:
    """The six costs of one training step.

    Iterating gives them in this order. Memory in bytes: `weights`, `gradients`, `optimizer` and
    `activations`, which the forward pass keeps for the backward pass. Compute in multiply-adds:
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

    The memory is that of float32, 4 bytes each, for a model without dropout. Not counted: the token
    ids, what the loss keeps (4 bytes for each message and class), what torch needs for a moment
    only (such as scores before softmax), AdamW's step counter of 4 bytes per tensor, and compute
    that is no matrix product, such as layer norm, softmax and GELU. Embeddings are look-ups and need
    no compute here. Attention fills the whole table of n × n scores, as the causal mask only hides
    half of it.

    Raises ValueError for a batch size or number of tokens below 1, for more tokens than the context
    length, for fewer than two classes, and for a plan of another depth.
    """
    b, num_classes = (
        whole_number("batch_size", batch_size),
        whole_number("num_classes", num_classes, 2),
    )
    n, d = whole_number("num_tokens", num_tokens), cfg["emb_dim"]
    if n > cfg["context_length"]:
        raise ValueError(f"{n} tokens are more than the context length of {cfg['context_length']}")
    report = parameter_report(cfg, plan, num_classes)
    count = _ForwardPass(cfg, plan, num_classes)
    for part in part_names(cfg["n_layers"]):
        count.run(part)

    float32, trained = (4, "byte"), (report.trainable, "trainable parameter")
    tokens = ((b, "message"), (n, "token"))
    pairs = ((n, ""), (n, "token pair"))
    crossed = (count.attentions_crossed, "block")
    products = ((b, "message"), *pairs, (d, "dimension"))
    kept = {kind: (float32, *tokens, (numbers, "number")) for kind, numbers in count.kept.items()}
    kept["attention weights"] = (float32, crossed, (b, "message"), (cfg["n_heads"], "head"), *pairs)
    kept["causal masks"] = ((1, "byte"), crossed, *pairs)
    if plan.state("pos_emb") == TRAINABLE:
        kept["positions"] = ((8, "byte"), (n, "token"))
    forward = {
        "matrices": (*tokens, (count.forward["token"], "weight")),
        "attention": ((cfg["n_layers"], "block"), (2, "product"), *products),
    }
    backward = {
        "weight gradients of trainable matrices": (
            *tokens,
            (count.weight_gradients["token"], "weight"),
        ),
        "input gradients of matrices crossed": (
            *tokens,
            (count.input_gradients["token"], "weight"),
        ),
        "attention": (crossed, (4, "product"), *products),
    }
    weights = {"": (float32, (report.total, "parameter"))}
    return TrainingCost(
        _sum_up("memory for the weights", "bytes", weights),
        _sum_up("memory for the gradients", "bytes", {"": (float32, trained)}),
        _sum_up("memory for AdamW's moments", "bytes", {"": ((2, "moment"), float32, trained)}),
        _sum_up("memory kept for the backward pass", "bytes", kept),
        _sum_up("work of the forward pass", "multiply-adds", forward),
        _sum_up("work of the backward pass", "multiply-adds", backward),
    )


# --- the forward pass -----------------------------------------------------------------------------

# what the steps keep of each token for the backward pass
MATRIX_INPUTS = "inputs of trainable matrices"
NORM_INPUTS = "inputs and statistics of layer norms"
ATTENTION_INPUTS = "queries, keys and values"
GELU_INPUTS = "inputs of GELU"


class _ForwardPass:
    """Adds up what the steps of a forward pass under a plan compute and keep.

    `forward` counts the multiply-adds of its products, `weight_gradients` and `input_gradients`
    those of the backward pass, by what they grow with: "batch", "message", "token" or "pair" (of
    tokens). `kept` counts the numbers that are kept of each token, and `attentions_crossed` the
    attentions that pass a gradient on. `has_gradient` says whether something before the next step
    is trainable, so that its input needs a gradient.
    """

    def __init__(self, cfg: dict, plan: FreezePlan, num_classes: int):
        self.cfg, self.plan, self.num_classes = cfg, plan, num_classes
        self.forward, self.weight_gradients, self.input_gradients = Counter(), Counter(), Counter()
        self.kept = Counter()
        self.attentions_crossed = 0
        self.has_gradient = False

    def run(self, part: str, per: str = "token") -> None:
        """Run a part for every token, or the head `per` message."""
        d = self.cfg["emb_dim"]
        if part.endswith("_emb"):
            self.has_gradient = self.has_gradient or self.plan.state(part) == TRAINABLE
        elif part == "final_norm":
            self._norm(part)
        elif part == "out_head":
            self._matrices(part, d, self.num_classes, per=per)
        else:
            self._norm(f"{part}.norm1")
            self._matrices(f"{part}.att", d, d, 3)  # W_query, W_key and W_value
            self.forward["pair"] += 2 * d  # queries by keys, weights by values
            if self.has_gradient:
                self.input_gradients["pair"] += 4 * d  # of both factors of both products
                self.attentions_crossed += 1
                self.kept[ATTENTION_INPUTS] += 3 * d
            self._matrices(f"{part}.att", d, d)  # out_proj
            self._feed_forward(part, per)

    def run_for_one_token(self, block: str) -> None:
        """Run a block for one token of each message, as `workshop.fast.attention_at` does.

        There the key matrix meets the query, and the value matrix the weighted sum of the tokens.
        Where there are adapters B A is added to these two matrices.
        """
        d, piece = self.cfg["emb_dim"], f"{block}.att"
        state = self.plan.state(piece)
        product = self.cfg["n_heads"] * d  # (h, d) with (d, n), and (h, n) with (n, d)
        self._norm(f"{block}.norm1")
        self.forward["token"] += 2 * product
        if self.has_gradient:  # the tokens are a factor of both products
            self.input_gradients["token"] += 2 * product
        self._matrices(piece, d, d, per="message")  # W_query
        self._matrix(d, d, state != FROZEN, "message")  # W_key
        if self.cfg["qkv_bias"]:
            self._matrix(d, 1, state == TRAINABLE, "message")  # the query with the key bias
        if self.has_gradient:  # the queries and the weights are the other factors
            self.input_gradients["token"] += 2 * product
        self._matrix(d, d, state != FROZEN, "message")  # W_value
        self._matrices(piece, d, d, per="message")  # out_proj
        if state == ADAPTED:
            merging = 2 * self.plan.rank * d * d  # B A for keys and B A for values
            self.forward["batch"] += merging
            self.weight_gradients["batch"] += 2 * merging  # of A and of B
        self._feed_forward(block, "message")

    def _norm(self, piece: str) -> None:
        is_trainable = self.plan.state(piece) == TRAINABLE
        if is_trainable or self.has_gradient:
            # its input, its mean and 1 / standard deviation
            self.kept[NORM_INPUTS] += self.cfg["emb_dim"] + 2
        self.has_gradient = self.has_gradient or is_trainable

    def _feed_forward(self, block: str, per: str) -> None:
        d = self.cfg["emb_dim"]
        self._norm(f"{block}.norm2")
        self._matrices(f"{block}.ff", d, 4 * d, per=per)
        if self.has_gradient:
            self.kept[GELU_INPUTS] += 4 * d
        self._matrices(f"{block}.ff", 4 * d, d, per=per)

    def _matrices(
        self, piece: str, num_in: int, num_out: int, side_by_side: int = 1, per: str = "token"
    ) -> None:
        """Run matrices (num_in, num_out), `side_by_side` on one input, and their adapters."""
        state, rank = self.plan.state(piece), side_by_side * self.plan.rank
        self._matrix(num_in, side_by_side * num_out, state == TRAINABLE, per)
        if state == ADAPTED:
            self._matrix(num_in, rank, True, per)  # A of each, on the same input
            self._matrix(rank, num_out, True, per)  # B of each

    def _matrix(self, num_in: int, num_out: int, is_trainable: bool, per: str) -> None:
        self.forward[per] += num_in * num_out
        if is_trainable:
            self.weight_gradients[per] += num_in * num_out
            self.kept[MATRIX_INPUTS] += num_in
        if self.has_gradient:
            self.input_gradients[per] += num_in * num_out
        self.has_gradient = self.has_gradient or is_trainable


# --- a whole training -----------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainingWork:
    """The compute of a whole fine-tuning, in multiply-adds. Iterating gives the book's way first."""

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
    """Return the compute of fine-tuning on messages of these numbers of tokens, without padding.

    Sequences are padded, or truncated, to the longest training message. Both ways take the same
    steps, and each measures as it does: the book's loop on 5 batches of training and 5 of
    validation messages every 50 steps and after each epoch, `fine_tune` on all validation messages
    after each epoch. Nothing is cached yet, so the frozen part runs. Where nothing is trainable
    there is no training: 0.

    Raises ValueError for no messages or an empty one, and what `training_cost` and `batch_order`
    raise.
    """
    one_of("position", position, POSITIONS)
    batch_size, epochs = whole_number("batch_size", batch_size), whole_number("epochs", epochs)
    num_classes = whole_number("num_classes", num_classes, 2)
    train_lengths = [whole_number("a message's tokens", n) for n in train_lengths]
    validation_lengths = [whole_number("a message's tokens", n) for n in validation_lengths]
    if not train_lengths or not validation_lengths:
        raise ValueError("give the numbers of tokens of at least one message of either kind")
    longest = max(train_lengths)
    step = training_cost(cfg, plan, 1, longest, num_classes)
    forward, backward = step.forward.amount, step.backward.amount
    train = _tokens_read(train_lengths, longest, position)
    validation = _tokens_read(validation_lengths, longest, position)
    steps = _sizes_of(_batches(len(train), batch_size, epochs, seed), train)

    num_messages = sum(b * count for (b, _), count in steps.items())
    num_measurements = ceil(steps.total() / EVAL_FREQ) + epochs
    most = EVAL_ITER * batch_size
    num_measured = min(most, num_messages // epochs) + min(most, len(validation))
    book = {
        "steps": ((num_messages, "message"), (forward + backward, "multiply-add")),
        "measuring": ((num_measurements * num_measured, "message"), (forward, "multiply-add")),
    }

    parts, blocks = part_names(cfg["n_layers"]), frozen_blocks(plan)
    start = 0 if blocks is None else 2 + blocks  # the embeddings come first
    frozen = _fast_pass(cfg, plan, num_classes, parts[:start], position)
    trained = _fast_pass(cfg, plan, num_classes, parts[start:], position)
    at_once = _sizes_of(in_batches_by_length(train), train)
    at_once += _sizes_of(in_batches_by_length(validation), validation)
    once = _total(frozen.forward, at_once)
    each_step = trained.forward + trained.weight_gradients + trained.input_gradients
    numbers = range(len(validation))
    measured = [numbers[i : i + MEASURED_AT_ONCE] for i in numbers[::MEASURED_AT_ONCE]]
    each_epoch = _total(trained.forward, _sizes_of(measured, validation))
    fast = {
        "the frozen part, once": ((once, "multiply-add"),),
        "steps": ((_total(each_step, steps), "multiply-add"),),
        "measuring": ((epochs, "epoch"), (each_epoch, "multiply-add")),
    }
    if not gradient_reach(plan).ends:
        book = fast = {}
    return TrainingWork(
        _sum_up("work, all of the model in each step (the book's way)", "multiply-adds", book),
        _sum_up("work, the frozen part only once (fine_tune's way)", "multiply-adds", fast),
    )


def _tokens_read(lengths: Sequence[int], longest: int, position: str) -> list[int]:
    """Return how many tokens of each message's sequence `fine_tune` runs."""
    if position == "first":
        return [1] * len(lengths)
    if position == "last_token":
        return [min(length, longest) for length in lengths]
    return [longest] * len(lengths)


def _fast_pass(
    cfg: dict, plan: FreezePlan, num_classes: int, parts: Sequence[str], position: str
) -> _ForwardPass:
    """Return the pass of `fine_tune` through some neighbouring parts."""
    last_block = f"trf_blocks.{cfg['n_layers'] - 1}"
    count = _ForwardPass(cfg, plan, num_classes)
    for part in parts:
        if part == last_block and position != "mean":
            count.run_for_one_token(part)
        else:  # the head gets one vector of each message, at "mean" the mean of all
            count.run(part, per="message" if part == "out_head" else "token")
    return count


def _total(amounts: Counter, batches: Counter) -> int:
    """Return the multiply-adds of passes on batches of these sizes."""
    total = 0
    for (b, n), count in batches.items():
        message = amounts["message"] + n * amounts["token"] + n * n * amounts["pair"]
        total += count * (amounts["batch"] + b * message)
    return total


@lru_cache(maxsize=8)  # a widget asks again for each number of tokens
def _batches(num_messages: int, batch_size: int, epochs: int, seed: int) -> list[Sequence[int]]:
    """Return the batches of message numbers of all steps."""
    order = batch_order(num_messages, batch_size, epochs, seed)
    return [batch for batches in order for batch in batches]


def _sizes_of(batches: Iterable[Sequence[int]], lengths: Sequence[int]) -> Counter:
    """Return how many batches have each size (b, n); each is padded to its longest message."""
    return Counter((len(batch), max(lengths[i] for i in batch)) for batch in batches)
