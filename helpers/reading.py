"""One message as a classifier reads it: its tokens, the padding behind them, and what is left out.

`read_message` takes a text apart; `influence_on_spam` says what each token does for the answer, and
`answer` what the classifier says of what is left. n is the number of the message's tokens, m that
of all tokens of a row, with the padding.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from html import escape

import torch

from helpers.classify import SpamClassifier
from helpers.classifying_token import check_position, classifying_place
from helpers.config import END_OF_TEXT
from helpers.data import LABELS
from helpers.inside import attention_and_answers, token_influence
from helpers.pictures.influence import mark, shortened
from helpers.tables import html_table
from helpers.tokenizer import encode_message, visible_tokens

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
