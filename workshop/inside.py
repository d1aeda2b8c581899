"""What happens inside a classifier, as numbers: where it looks, what tips it, when it knows.

Nothing is computed by a second forward pass of our own: hooks read what the model's own pass
computes. b is the batch size, n the number of tokens, d = emb_dim. Every function leaves the model
in eval mode, and its weights and hooks as they were.

One message as a classifier reads it: its tokens, the padding behind them, and what is left out.

`read_message` takes a text apart; `influence_on_spam` says what each token does for the answer, and
`answer` what the classifier says of what is left. n is the number of the message's tokens, m that
of all tokens of a row, with the padding.
"""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape

import torch

from helpers.checks import instance_of, whole_number
from helpers.classify import SpamClassifier
from helpers.config import END_OF_TEXT
from helpers.data import LABELS
from helpers.model import GPTModel, has_causal_mask
from helpers.tokenizer import encode_message, visible_tokens
from helpers.training import check_position, class_vectors, classifying_place, take_position
from workshop.pictures.message import mark, shortened
from workshop.tables import html_table

__all__ = [
    "Directions",
    "attention_and_answers",
    "attention_weights",
    "class_after_each_block",
    "class_vectors",
    "main_directions",
    "token_influence",
]


# --- where it looks -------------------------------------------------------------------------------


@torch.no_grad()
def attention_weights(model: GPTModel, token_ids: torch.Tensor) -> torch.Tensor:
    """Return all attention weights for token ids (b, n): (n_layers, b, n_heads, n, n).

    Entry [l, i, h, q, k] is the share of token k's value in what head h of block l gathers for token
    q of message i. Each row sums to 1, and under the causal mask what follows q gets exactly 0
    (Vaswani et al. 2017). The numbers are on the model's device. Raises what the model raises.
    """
    return _in_one_pass(model, token_ids)[0]


# --- what tips it ---------------------------------------------------------------------------------


@torch.no_grad()
def token_influence(
    model: GPTModel,
    token_ids: torch.Tensor | Sequence[int],
    position: str = "last",
    label: int | None = None,
) -> torch.Tensor:
    """Return what each token of a message, (n,), does for a class: float32 (n,), in nats.

    That is how much the log-odds ln(p / (1 - p)) of class `label` (None: the one that the model
    names) fall when the token is left out (Zeiler & Fergus 2014; Li et al. 2016): above 0 it speaks
    for the class, below 0 against it. What follows the gap moves up by one position. All messages
    with one token less run together; of those that are equal, as within padding, only one. Raises
    ValueError for another position or label and for fewer than two tokens, of which none can be
    left out.
    """
    instance_of("model", model, torch.nn.Module, "a GPTModel")
    try:
        ids = torch.as_tensor(token_ids).tolist()
    except (TypeError, ValueError, RuntimeError):  # texts, None, rows of different lengths
        ids = None
    if not isinstance(ids, list) or not all(type(token) is int for token in ids):
        raise ValueError("give the token ids of one message, (n,): a list or a tensor")
    if len(ids) < 2:
        raise ValueError(f"of {len(ids)} tokens none can be left out; give at least 2")
    if label is not None:
        label = whole_number("label", label, 0, model.out_head.out_features - 1)
    shortened = [(*ids[:i], *ids[i + 1 :]) for i in range(len(ids))]
    distinct = list(dict.fromkeys(shortened))
    groups = [[ids], distinct]
    if position != "mean" and has_causal_mask(model):  # then rows of two lengths can run together
        groups = [[ids, *distinct]]
    vectors = torch.cat([class_vectors(model, rows, position) for rows in groups])
    vectors = vectors.to(model.out_head.weight)  # on its device, in its precision
    logits = model.out_head(vectors).float().cpu()  # (1 + distinct, classes)
    odds = _log_odds(logits, logits[0].argmax().item() if label is None else label)
    number = {row: i for i, row in enumerate(distinct, start=1)}
    return odds[0] - odds[[number[row] for row in shortened]]


def _log_odds(logits: torch.Tensor, label: int) -> torch.Tensor:
    """Return ln(p / (1 - p)) of a class: (b, num_classes) → (b,)."""
    others = [i for i in range(logits.shape[1]) if i != label]
    return logits[:, label] - logits[:, others].logsumexp(dim=1)


# --- when it knows --------------------------------------------------------------------------------


@torch.no_grad()
def class_after_each_block(
    model: GPTModel, token_ids: torch.Tensor, position: str = "last"
) -> torch.Tensor:
    """Return the answer as it forms, for one message (1, n): float32 (n_layers + 1, num_classes).

    Row i holds the probabilities if the final norm and the head read the vectors after i blocks
    already; row 0 is what they say of the embeddings, and the last row is the model's answer (the
    "logit lens", nostalgebraist 2020). The head was trained for the last row: the others are its
    reading of vectors that it has never met. Raises ValueError for another position and for more
    than one message, and what the model raises.
    """
    return attention_and_answers(model, token_ids, position)[1]


@torch.no_grad()
def attention_and_answers(
    model: GPTModel, token_ids: torch.Tensor, position: str = "last"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what `attention_weights` and `class_after_each_block` do, from one pass of one message.

    Raises what these raise.
    """
    check_position(position)
    instance_of("token ids", token_ids, torch.Tensor, "a torch.Tensor")
    if token_ids.ndim != 2 or len(token_ids) != 1:
        raise ValueError(f"give one message, (1, n), not {tuple(token_ids.shape)}")
    weights, streams = _in_one_pass(model, token_ids)
    logits = model.out_head(model.final_norm(streams))  # (n_layers + 1, n, classes)
    taken = take_position(logits, token_ids.to(logits.device).expand(len(logits), -1), position)
    return weights, taken.float().softmax(dim=-1).cpu()


def _in_one_pass(model: GPTModel, token_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return all attention weights, (n_layers, b, n_heads, n, n), and what goes into each block and
    into the norm after the last one, ((n_layers + 1) · b, n, d).
    """
    weights: list[torch.Tensor] = []
    streams: list[torch.Tensor] = []
    token_ids = _on_device(model, token_ids)
    with (
        # what attention's dropout is given are the weights
        _hooked(lambda _, inputs: weights.append(inputs[0]), *_dropouts(model)),
        _hooked(lambda _, inputs: streams.append(inputs[0]), *model.trf_blocks, model.final_norm),
    ):
        model.eval()(token_ids)
    return torch.stack(weights), torch.cat(streams)


def _dropouts(model: GPTModel) -> list[torch.nn.Module]:
    return [block.att.dropout for block in model.trf_blocks]


# --- where messages lie ---------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Directions:
    """The directions in which vectors differ most.

    `axes` (k, d) are of length 1 and at right angles to each other, `shares` (k,) the shares of the
    variance, 0 … 1, that lie along each, `mean` (d,) where they start.
    """

    mean: torch.Tensor
    axes: torch.Tensor
    shares: torch.Tensor

    def place(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return where vectors lie along the directions: (b, d) → (b, k)."""
        return (vectors - self.mean) @ self.axes.T


def main_directions(vectors: torch.Tensor, count: int = 2) -> Directions:
    """Return the `count` directions in which vectors (b, d) differ most, by SVD.

    This is principal component analysis (Pearson 1901). The sign of a direction is arbitrary; it is
    set so that its largest component is positive. Raises ValueError for fewer vectors, or shorter
    ones, than directions, for vectors that are all alike, and for numbers that are no floats or not
    finite.
    """
    instance_of("vectors", vectors, torch.Tensor, "a torch.Tensor")
    if vectors.ndim != 2 or min(vectors.shape) < count:
        raise ValueError(
            f"{count} directions need at least {count} vectors of {count} numbers, "
            f"not {tuple(vectors.shape)}"
        )
    if not vectors.is_floating_point():
        raise ValueError(f"vectors must be floats, not {vectors.dtype}; use .float()")
    if not vectors.isfinite().all():
        raise ValueError("the vectors hold values that are not finite: the model is damaged")
    mean = vectors.mean(dim=0)
    _, sizes, axes = torch.linalg.svd(vectors - mean, full_matrices=False)
    variances = sizes.square()
    if not variances.sum() > 1e-12 * vectors.square().sum():  # or what there is, is rounding
        raise ValueError("the vectors are all alike, so they differ in no direction")
    axes = axes[:count]
    largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
    return Directions(mean, axes * largest.sign(), variances[:count] / variances.sum())


# --- hooks ----------------------------------------------------------------------------------------


@contextmanager
def _hooked(note: Callable, *modules: torch.nn.Module) -> Iterator[None]:
    """Have `note` called with each module and what goes into it, for the time of this context."""
    handles = []
    try:
        handles += [module.register_forward_pre_hook(note) for module in modules]
        yield
    finally:
        for handle in handles:
            handle.remove()


def _on_device(model: GPTModel, token_ids: torch.Tensor) -> torch.Tensor:
    instance_of("model", model, torch.nn.Module, "a GPTModel")
    instance_of("token ids", token_ids, torch.Tensor, "a torch.Tensor")
    return token_ids.to(model.tok_emb.weight.device)


SPAM = LABELS.index("spam")


AS_IN_TRAINING = "as in training"


PADDINGS = ("0", "1", "10", AS_IN_TRAINING)  # how many padding tokens follow a message


MOST_NATS = 20.0  # above it a factor of the odds has more digits than say anything


DAMAGED = "the model's answer is not a number: its weights are damaged; load or train again"


@dataclass(frozen=True)
class Reading:
    """A message's token ids, (n,), and the same as one can see them.

    `num_cut` tokens behind them are not read, `padding` padding tokens follow, and `position` says
    which token classifies.
    """

    token_ids: tuple[int, ...]
    tokens: tuple[str, ...]
    num_cut: int
    padding: int
    position: str

    def kept(self, left_out: Collection[int] = ()) -> list[int]:
        """Return which of the tokens stay."""
        return [i for i in range(len(self.token_ids)) if i not in left_out]

    def row(self, left_out: Collection[int] = ()) -> list[int]:
        """Return the token ids that go into the model, (m,); what follows a gap moves up."""
        kept = [self.token_ids[i] for i in self.kept(left_out)]
        return kept + self.padding * [END_OF_TEXT]


def read_message(
    classifier: SpamClassifier,
    text: str,
    padding: str = AS_IN_TRAINING,
    position: str | None = None,
) -> Reading:
    """Take a text apart as a classifier does.

    `padding` is one of PADDINGS; the last one fills a message up to the classifier's `max_length`.
    No row is longer than the model's context. `position` None is the classifier's own. Raises
    ValueError for an empty message, another position or padding, TypeError for what is no text.
    """
    position = position or classifier.position
    check_position(position)
    if padding not in PADDINGS:
        raise ValueError(f"padding must be one of {', '.join(PADDINGS)}, not {padding!r}")
    token_ids = encode_message(text, classifier.tokenizer)
    read = token_ids[: classifier.max_length]
    room = classifier.model.pos_emb.num_embeddings - len(read)
    wanted = classifier.max_length - len(read) if padding == AS_IN_TRAINING else int(padding)
    return Reading(
        tuple(read),
        tuple(visible_tokens(read, classifier.tokenizer)),
        len(token_ids) - len(read),
        min(wanted, room),
        position,
    )


def influence_on_spam(classifier: SpamClassifier, reading: Reading) -> torch.Tensor:
    """Return what each token of a message does for "spam": float32 (n,), in nats.

    That is how much the log-odds of spam fall when it is left out: above 0 it speaks for spam, below
    0 for ham. The number of padding tokens stays the same. Of a message of one token, which can't
    be left out, it is not a number. Raises ValueError for a damaged model.
    """
    if len(reading.token_ids) == 1:
        return torch.tensor([torch.nan])
    row = reading.row()
    influence = token_influence(classifier.model, row, reading.position, SPAM)
    if not influence.isfinite().all():
        raise ValueError(DAMAGED)
    return influence[: len(reading.token_ids)]


@dataclass(frozen=True, eq=False)
class Answer:
    """What a classifier says of a message, and where it looks.

    `after_blocks` (n_layers + 1, 2) are the probabilities of ham and spam if the head read the
    vectors after that many blocks already; `attention` (n_layers, n_heads, m) are the shares that the
    classifying token gathers from each token of the row, of which `num_kept` are the message's.
    """

    after_blocks: torch.Tensor
    attention: torch.Tensor
    num_kept: int

    @property
    def probabilities(self) -> torch.Tensor:
        """Those of ham and spam: (2,)."""
        return self.after_blocks[-1]

    @property
    def spam(self) -> float:
        """The probability of spam."""
        return self.probabilities[SPAM].item()

    @property
    def log_odds(self) -> float:
        """Those of spam, in nats; infinite where a probability is too small to be told from 0."""
        ham, spam = self.probabilities[1 - SPAM], self.probabilities[SPAM]
        return (spam.log() - ham.log()).item()

    def shares(self, block: int, head: int | None = None) -> torch.Tensor:
        """Return the shares of one block, (m,): those of a head, or the mean of all (None)."""
        heads = self.attention[block]  # (n_heads, m)
        return heads.mean(dim=0) if head is None else heads[head]

    def to_the_message(self, head: int | None = None) -> torch.Tensor:
        """Return how much goes to the message's tokens together, in each block: (n_layers,)."""
        blocks = range(len(self.attention))
        return torch.stack([self.shares(i, head)[: self.num_kept].sum() for i in blocks])


def answer(classifier: SpamClassifier, reading: Reading, left_out: Collection[int] = ()) -> Answer:
    """Return what a classifier says of a message without the tokens of these numbers.

    Raises ValueError where none is left, and for a damaged model.
    """
    kept = reading.kept(left_out)
    if not kept:
        raise ValueError("all tokens are left out: bring one back to have something to classify")
    row = reading.row(left_out)
    token_ids = torch.tensor([row])  # (1, m)
    weights, after_blocks = attention_and_answers(classifier.model, token_ids, reading.position)
    if not after_blocks.isfinite().all():
        raise ValueError(DAMAGED)
    weights = weights[:, 0].float().cpu()  # (n_layers, n_heads, m, m)
    place = classifying_place(row, reading.position)
    attention = weights.mean(dim=2) if place is None else weights[:, :, place]
    return Answer(after_blocks, attention, len(kept))


# --- in words -------------------------------------------------------------------------------------


def influence_table(tokens: Sequence[str], influences: Sequence[float]) -> str:
    """Return the numbers as HTML: for each token its influence, and what that is in odds."""
    rows = [
        (
            f"{i}  {token}",
            mark(value),
            "–" if math.isnan(value) else f"{round(value, 2) + 0.0:+.2f}".replace("-", "−"),
            "–" if math.isnan(value) else _factor(round(value, 2)),
        )
        for i, (token, value) in enumerate(zip(tokens, influences, strict=True))
    ]
    header = ("token", "mark", "nats towards spam", "what it does to the odds of spam")
    return html_table(header, rows, "What each token does for the answer")


def _factor(nats: float) -> str:
    """Return what so many nats do to the odds."""
    if nats > MOST_NATS:
        return f"more than × {math.exp(MOST_NATS):,.0f}"
    return f"× {math.exp(nats):.2f}"


def say_change(reading: Reading, left_out: Collection[int], before: Answer, after: Answer) -> str:
    """Return as HTML what leaving tokens out does to the probability of spam; "" without any."""
    if not left_out:
        return ""
    tokens = ", ".join(
        f"<code>{escape(shortened(reading.tokens[i]))}</code>" for i in sorted(left_out)
    )
    change = after.log_odds - before.log_odds
    nats = f" ({change:+.2f} nats)".replace("-", "−") if math.isfinite(change) else ""
    return f"without {tokens}: spam {before.spam:.2f} → {after.spam:.2f}{nats}"


def say_row(reading: Reading) -> str:
    """Return as HTML what goes into the model, and what does not."""
    count = len(reading.token_ids)
    words = [f"{count} token{'s' * (count != 1)}, then {reading.padding} of padding."]
    if reading.num_cut:
        words.append(
            f"The message has {count + reading.num_cut:,} tokens; the classifier reads the first "
            f"{count} of them."
        )
    if any("⟨" in token for token in reading.tokens):
        words.append("⟨ ⟩ holds the bytes of a token that is only a part of a character.")
    return escape(" ".join(words))
