"""What happens inside a classifier, as numbers: attention, influence of tokens, answer after each block.

Nothing is computed by a second forward pass of our own: `helpers.freezing.record` reads what the
model's own pass computes. b is the batch size, n the number of tokens, d = emb_dim. Every function
leaves the model in eval mode, and its weights and hooks as they were.

`read_message` prepares one message as a classifier reads it: its tokens, the padding after them, and
what is left out. `influence_on_spam` and `answer` say what the classifier makes of it. There n is the
number of the message's tokens, m that of all tokens of a sequence, with the padding.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch

from helpers.classify import NOT_FINITE, SpamClassifier
from helpers.config import END_OF_TEXT
from helpers.data import LABELS
from helpers.freezing import record
from helpers.model import GPTModel, has_causal_mask
from helpers.tokenizer import encode_message, visible_tokens
from helpers.training import classifying_place, take_position
from workshop.forward import message_logits
from workshop.pictures.message import mark
from workshop.tables import html_table
from workshop.texts import counted

SPAM = LABELS.index("spam")
AS_IN_TRAINING = "as in training"
PADDINGS = ("0", "1", "10", AS_IN_TRAINING)  # how many padding tokens follow a message


# --- attention, and the answer after each block ---------------------------------------------------


@torch.no_grad()
def attention_weights(model: GPTModel, token_ids: torch.Tensor) -> torch.Tensor:
    """Return all attention weights for token ids (b, n): (n_layers, b, n_heads, n, n).

    Entry [l, i, h, q, k] is the weight of token k's value in the output of head h of block l for
    token q of message i. The weights of each q sum to 1, and under the causal mask what follows q
    gets exactly 0 (Vaswani et al. 2017). They are on the model's device. Raises what the model
    raises.
    """
    dropouts = [f"trf_blocks.{i}.att.dropout" for i in range(len(model.trf_blocks))]
    with record(model, *dropouts) as recorded:
        model.eval()(token_ids.to(model.tok_emb.weight.device))
    return torch.stack([of_block.input for of_block in recorded.values()])  # what dropout is given


@torch.no_grad()
def class_after_each_block(
    model: GPTModel, token_ids: torch.Tensor, position: str = "last"
) -> torch.Tensor:
    """Return the answer as it forms, for one message (1, n): float32 (n_layers + 1, num_classes).

    Entry i holds the probabilities that the final norm and the head give for the vectors after i
    blocks: entry 0 for the embeddings, the last one is the model's answer (the "logit lens",
    nostalgebraist 2020). The head was trained on the vectors after the last block only.
    """
    names = [*(f"trf_blocks.{i}" for i in range(len(model.trf_blocks))), "final_norm"]
    token_ids = token_ids.to(model.tok_emb.weight.device)
    with record(model, *names) as recorded:
        model.eval()(token_ids)
    # what goes into each block, and into the norm after the last one: (n_layers + 1, n, d)
    vectors = torch.cat([of_module.input for of_module in recorded.values()])
    logits = model.out_head(model.final_norm(vectors))  # (n_layers + 1, n, classes)
    logits = take_position(logits, token_ids.expand(len(logits), -1), position)
    return logits.float().softmax(dim=-1).cpu()


# --- influence of tokens --------------------------------------------------------------------------


def token_influence(
    model: GPTModel, token_ids: Sequence[int], position: str, label: int
) -> torch.Tensor:
    """Return the influence of each token of a message, (n,), on a class: float32 (n,), in nats.

    That is how much the log-odds ln(p / (1 - p)) of class `label` fall when the token is left out
    (Zeiler & Fergus 2014; Li et al. 2016): above 0 it is evidence for the class, below 0 against it.
    What follows the gap moves up by one position. All messages with one token less run together; of
    those that are equal, as within padding, only one.
    """
    ids = list(token_ids)
    shortened_ids = [(*ids[:i], *ids[i + 1 :]) for i in range(len(ids))]
    distinct = list(dict.fromkeys(shortened_ids))
    groups = [[ids], distinct]  # apart, as without the causal mask a batch has one length
    if position != "mean" and has_causal_mask(model):
        groups = [[ids, *distinct]]
    logits = torch.cat([message_logits(model, rows, position) for rows in groups])
    others = [i for i in range(logits.shape[1]) if i != label]
    log_odds = logits[:, label] - logits[:, others].logsumexp(dim=1)
    indices = {row: i for i, row in enumerate(distinct, start=1)}
    return log_odds[0] - log_odds[[indices[row] for row in shortened_ids]]


# --- principal components of vectors --------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Directions:
    """The directions in which vectors differ most: their principal components.

    `axes` (2, d) are of length 1 and at right angles to each other, `shares` (2,) the fractions of
    the variance, 0 … 1, that lie along each, `mean` (d,) is the vectors' mean.
    """

    mean: torch.Tensor
    axes: torch.Tensor
    shares: torch.Tensor

    def place(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return the coordinates of vectors along the directions: (b, d) → (b, 2)."""
        return (vectors - self.mean) @ self.axes.T


def main_directions(vectors: torch.Tensor) -> Directions:
    """Return the two directions in which vectors (b, d) differ most.

    This is principal component analysis (Pearson 1901). The sign of a direction is arbitrary. Raises
    ValueError for fewer than two vectors, or numbers in each, for vectors that are all alike, and
    for values that are not finite.
    """
    from sklearn.decomposition import PCA  # slow to import

    centred = vectors - vectors.mean(dim=0)
    if centred.square().sum() <= 1e-12 * vectors.square().sum():  # what there is, is rounding
        raise ValueError("the vectors are all alike, so they differ in no direction")
    pca = PCA(2, svd_solver="full").fit(vectors.numpy())
    found = pca.mean_, pca.components_, pca.explained_variance_ratio_
    return Directions(*map(torch.from_numpy, found))


# --- one message ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reading:
    """A message's token ids, (n,), and `tokens`, the same as one can see them.

    `num_cut` more tokens are truncated, `padding` padding tokens follow, and `position` says which
    token classifies.
    """

    token_ids: tuple[int, ...]
    tokens: tuple[str, ...]
    num_cut: int
    padding: int
    position: str

    def kept(self, left_out: Collection[int]) -> list[int]:
        """Return the indices of the tokens that stay."""
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
    """Return a text's tokens as a classifier reads them.

    `padding` is one of PADDINGS; the last one pads a message to the classifier's `max_length`. No
    sequence is longer than the model's context. `position` None is the classifier's own. Raises
    ValueError for an empty message, TypeError for anything but a text.
    """
    all_ids, longest = encode_message(text, classifier.tokenizer), classifier.max_length
    token_ids = all_ids[:longest]
    tokens, num_cut = visible_tokens(token_ids, classifier.tokenizer), len(all_ids[longest:])
    num_padding = longest - len(token_ids) if padding == AS_IN_TRAINING else int(padding)
    num_padding = min(num_padding, classifier.model.pos_emb.num_embeddings - len(token_ids))
    position = position or classifier.position
    return Reading(tuple(token_ids), tuple(tokens), num_cut, num_padding, position)


def influence_on_spam(classifier: SpamClassifier, reading: Reading) -> torch.Tensor:
    """Return the influence of each token of a message on "spam": float32 (n,), in nats.

    That is how much the log-odds of spam fall when it is left out: above 0 it is evidence for spam,
    below 0 for ham. The number of padding tokens stays the same. For a message of one token, which
    can't be left out, it is not a number.
    """
    n = len(reading.token_ids)
    if n == 1:
        return torch.tensor([torch.nan])
    return token_influence(classifier.model, reading.row(), reading.position, SPAM)[:n]


@dataclass(frozen=True, eq=False)
class Answer:
    """A classifier's answer for a message, and its attention.

    `after_blocks` (n_layers + 1, 2) are the probabilities of ham and spam that the head gives for
    the vectors after that many blocks; `attention` (n_layers, n_heads, m) the weights of each token
    of the sequence for the classifying token, or the mean of all; `place` is the position of that
    token, or None; `num_kept` of the m tokens are the message's.
    """

    after_blocks: torch.Tensor
    attention: torch.Tensor
    place: int | None
    num_kept: int

    @property
    def probabilities(self) -> torch.Tensor:
        """The probabilities of ham and spam, (2,)."""
        return self.after_blocks[-1]

    def shares(self, head: int | None) -> torch.Tensor:
        """Return the weights in each block, (n_layers, m): of a head, or the mean of all (None)."""
        return self.attention.mean(dim=1) if head is None else self.attention[:, head]

    def to_the_message(self, head: int | None) -> torch.Tensor:
        """Return the sum of the weights of the message's tokens, in each block: (n_layers,)."""
        return self.shares(head)[:, : self.num_kept].sum(dim=1)


def answer(classifier: SpamClassifier, reading: Reading, left_out: Collection[int] = ()) -> Answer:
    """Return a classifier's answer for a message without the tokens at these indices.

    Raises ValueError where none is left, and for a damaged model.
    """
    num_kept = len(reading.kept(left_out))
    if not num_kept:
        raise ValueError("all tokens are left out: bring one back to have something to classify")
    model, row, position = classifier.model, reading.row(left_out), reading.position
    dropouts = [f"trf_blocks.{i}.att.dropout" for i in range(len(model.trf_blocks))]
    with record(model, *dropouts) as recorded:  # the attention weights, in the same forward pass
        after_blocks = class_after_each_block(model, torch.tensor([row]), position)
    if not after_blocks.isfinite().all():
        raise ValueError(NOT_FINITE)
    weights = torch.stack([of_block.input[0] for of_block in recorded.values()]).float().cpu()
    place = classifying_place(row, position)
    if position == "mean_tokens":
        weights = weights[:, :, :num_kept]  # the padding's own attention has no effect
    attention = weights.mean(dim=2) if place is None else weights[:, :, place]
    return Answer(after_blocks, attention, place, num_kept)


# --- as text --------------------------------------------------------------------------------------


def influence_table(tokens: Sequence[str], influences: Sequence[float]) -> str:
    """Return an HTML table with the influence of each token, and what that is in odds."""
    rows = []
    for i, (token, nats) in enumerate(zip(tokens, influences, strict=True)):
        shown = factor = "–"
        if not math.isnan(nats):
            nearest = round(nats, 2) + 0.0  # no minus before zero
            shown = f"{nearest:+.2f}".replace("-", "−")
            factor = f"× {math.exp(nearest):.2f}"
        rows.append((f"{i}  {token}", mark(nats), shown, factor))
    header = ("token", "sign", "nats towards spam", "factor of the odds of spam")
    return html_table(header, rows, "The influence of each token")


def describe_input(reading: Reading) -> str:
    """Return in sentences what goes into the model, and what does not."""
    count = len(reading.token_ids)
    text = f"{counted(count, 'token')}, then {reading.padding} of padding."
    if reading.num_cut:
        text += (
            f" The message has {count + reading.num_cut:,} tokens; the classifier reads the first "
            f"{count} of them."
        )
    if any("⟨" in token for token in reading.tokens):
        text += " ⟨ ⟩ holds the bytes of a token that is only a part of a character."
    return text
