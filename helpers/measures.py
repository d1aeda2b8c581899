"""How good a classifier is, measured on messages whose labels are known.

One accuracy hides much. The four counts say which mistakes are made at a threshold, the bins whether
the classifier is right as often as it is confident, the slices on which messages it is right. Labels
are 0 for ham and 1 for spam; p_spam is the probability of spam, 0 … 1, of each message.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise, product
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import torch

from helpers.checks import finite_number, one_of
from helpers.data import LABELS
from helpers.tokenizer import encode_message

# scikit-learn and scipy are imported where they are needed: they are slow to import


# --- intervals -----------------------------------------------------------------------------------


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """Return the 95 % score interval, (low, high), of a fraction `share` (0 … 1) of `count` messages.

    It stays within 0 … 1, and has a width even where all or none are right. It is about other
    messages of the same kind, not about other trainings.
    Source: Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference".
    """
    # by hand, as scipy's takes whole counts only, and a mean over seeds is none
    z = NormalDist().inv_cdf(0.975)
    scale = 1 + z**2 / count
    middle = (share + z**2 / (2 * count)) / scale
    half = z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / scale
    return max(0.0, middle - half), min(1.0, middle + half)


VERDICTS = BETTER, WORSE, CANT_TELL = "better", "worse", "can't tell"
DRAWS = 4000  # of a bootstrap
FEW = 25  # messages that differ: the usual bound below which McNemar's test is done exactly


class Difference(NamedTuple):
    """A difference of two mean accuracies, and the ends of its 95 % interval."""

    mean: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """One of VERDICTS; "can't tell" where the interval contains zero."""
        if self.low <= 0 <= self.high:
            return CANT_TELL
        return BETTER if self.mean > 0 else WORSE

    def __str__(self) -> str:
        mean, low, high = map(format_points, self)
        return f"{mean} points (95 % interval {low} to {high})"


def format_points(difference: float) -> str:
    """Return a difference of accuracies in percentage points, with a sign: "−3.2", "0.0"."""
    points = round(100 * difference, 1)
    return f"{points:+.1f}".replace("-", "−") if points else "0.0"


def paired_interval(a, b) -> Difference:
    """Return the mean difference a - b of two accuracies, and its 95 % interval.

    `a` and `b` are (num_seeds, num_messages) of 1 (right) and 0 (wrong), for the same seeds and
    messages; a method without a seed has one line. The interval is that of a two-way bootstrap:
    seeds and messages are both drawn with replacement. So it is about other messages of the same
    kind and about other seeds, not about other splits or settings; one seed alone tells nothing
    about others. In simulations with 3 to 5 seeds it contained the true difference in 94 % of cases or
    more, but where the seeds differed much in only 85 to 90 %.

    Where fewer than FEW messages differ, it is widened to the interval of the exact sign test.
    Sources: Owen 2007, "The pigeonhole bootstrap"; Clopper and Pearson 1934.
    """
    from scipy.stats import binomtest

    differences = np.subtract(a, b, dtype=float)
    rng = np.random.default_rng(0)  # the same data give the same interval
    seeds, messages = (rng.multinomial(n, [1 / n] * n, DRAWS) / n for n in differences.shape)
    low, high = np.quantile(((seeds @ differences) * messages).sum(axis=1), [0.025, 0.975])
    of_messages = differences.mean(axis=0)
    num_positive, num_differing = int((of_messages > 0).sum()), np.count_nonzero(of_messages)
    if 0 < num_differing < FEW:
        exact = binomtest(num_positive, num_differing).proportion_ci()
        scale = np.abs(of_messages).mean()  # the difference if all had the same sign
        low, high = min(low, (2 * exact.low - 1) * scale), max(high, (2 * exact.high - 1) * scale)
    return Difference(float(of_messages.mean()), float(low), float(high))


# --- at a threshold -------------------------------------------------------------------------------

FIELDS = tuple(product(LABELS, LABELS))  # (correct, predicted), in reading order


@dataclass(frozen=True)
class Counts:
    """How many messages have each pair of correct and predicted label, at a threshold.

    `table[correct, predicted]` are the four counts, with the keys FIELDS. Precision is None where
    nothing is predicted as spam, recall where nothing is spam.
    """

    threshold: float
    table: dict[tuple[str, str], int]

    @property
    def total(self) -> int:
        """The number of messages."""
        return sum(self.table.values())

    @property
    def right(self) -> int:
        """The number of messages whose predicted label is correct."""
        return self.table["ham", "ham"] + self.table["spam", "spam"]

    @property
    def accuracy(self) -> float:
        """The fraction of all messages whose predicted label is correct."""
        return self.right / self.total

    @property
    def precision(self) -> float | None:
        """The fraction of the messages predicted as spam that are spam."""
        caught = self.table["spam", "spam"]
        predicted = caught + self.table["ham", "spam"]
        return caught / predicted if predicted else None

    @property
    def recall(self) -> float | None:
        """The fraction of the spam that is predicted as spam."""
        caught = self.table["spam", "spam"]
        spam = caught + self.table["spam", "ham"]
        return caught / spam if spam else None


def counts_at(labels, p_spam, threshold: float = 0.5) -> Counts:
    """Return the four counts when a message is predicted as spam if p_spam is above `threshold`.

    `labels` and `p_spam` are (num_messages,). Raises ValueError for other shapes and values, for no
    message at all, and for a threshold outside 0 … 1.
    """
    from sklearn.metrics import confusion_matrix

    labels, p_spam = _checked(labels, p_spam)
    finite_number("threshold", threshold, inclusive=True, most=1.0)
    matrix = confusion_matrix(labels, p_spam > threshold, labels=[0, 1])  # rows: correct labels
    return Counts(float(threshold), dict(zip(FIELDS, matrix.flatten().tolist(), strict=True)))


def field_at(labels, p_spam, threshold: float, correct: str, called: str) -> list[int]:
    """Return the indices of the messages in one of the four fields, the most confident first.

    For ham that is the lowest p_spam, for spam the highest; equal ones keep their order. Raises
    ValueError for a field that is none of FIELDS, and as `counts_at` does.
    """
    one_of("the field", (correct, called), FIELDS)
    labels, p_spam = _checked(labels, p_spam)
    is_called = (p_spam > threshold) == LABELS.index(called)
    inside = np.flatnonzero(is_called & (labels == LABELS.index(correct)))
    order = p_spam[inside] if called == "ham" else -p_spam[inside]
    return inside[np.argsort(order, kind="stable")].tolist()


def precision_recall_curve(labels, p_spam) -> list[list[float]]:
    """Return [recall, precision] at every threshold that changes one of them, recall falling.

    At the first point most messages are predicted as spam, at the last only the most confident.
    Without spam there is no recall, and the curve is empty. Raises ValueError as `counts_at` does.
    """
    from sklearn import metrics

    labels, p_spam = _checked(labels, p_spam)
    if not labels.any():
        return []
    precision, recall, _ = metrics.precision_recall_curve(labels, p_spam)
    points = np.stack([recall, precision], axis=1)
    return points[:-1].tolist()  # at scikit-learn's last point nothing is predicted as spam


def _checked(labels, p_spam) -> tuple[np.ndarray, np.ndarray]:
    labels, p_spam = np.asarray(labels), np.asarray(p_spam, dtype=float)
    if not labels.size or labels.shape != p_spam.shape or not np.isin(labels, (0, 1)).all():
        raise ValueError(
            "labels must be 0 for ham or 1 for spam, one for each probability of spam, "
            f"not {labels.shape} labels for {p_spam.shape} probabilities"
        )
    return labels, p_spam


# --- calibration ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bin:
    """The messages whose confidence is above `low` and at most `high`; exactly 0.5 is in the first.

    The confidence is the probability of the predicted label, 0.5 … 1. `confidence` is its mean and
    `right` the accuracy; both are None where there is no message.
    """

    low: float
    high: float
    count: int
    confidence: float | None
    right: float | None


def calibration_bins(labels, p_spam, num_bins: int = 5) -> list[Bin]:
    """Return the mean confidence and the accuracy in bins of equal width from 0.5 to 1.

    Raises ValueError as `counts_at` does. Source: Guo et al. 2017, "On Calibration of Modern Neural
    Networks". They divide 0 … 1, so five bins here are ten of theirs.
    """
    labels, p_spam = _checked(labels, p_spam)
    confidence, is_right = np.maximum(p_spam, 1 - p_spam), (p_spam > 0.5) == labels
    bins = []
    for low, high in pairwise(np.linspace(0.5, 1, num_bins + 1).tolist()):
        inside = ((confidence > low) | (low == 0.5)) & (confidence <= high)
        count, mean, accuracy = int(inside.sum()), None, None
        if count:
            mean, accuracy = float(confidence[inside].mean()), float(is_right[inside].mean())
        bins.append(Bin(low, high, count, mean, accuracy))
    return bins


def expected_calibration_error(bins: Iterable[Bin]) -> float:
    """Return the mean distance of confidence and accuracy, each bin weighted by its messages.

    0 is best. It depends on the number of bins. Source: Guo et al. 2017, equation 3.
    """
    filled = [bin for bin in bins if bin.count]
    gaps = [abs(bin.confidence - bin.right) for bin in filled]
    return float(np.average(gaps, weights=[bin.count for bin in filled]))


def mean_confidence(p_spam) -> float:
    """Return the mean probability of the predicted label, 0.5 … 1; `p_spam` is (num_messages,)."""
    p_spam = np.asarray(p_spam, dtype=float)
    return float(np.maximum(p_spam, 1 - p_spam).mean())


def spam_probabilities(logits, temperature: float = 1.0) -> np.ndarray:
    """Return p_spam, (num_messages,), of logits (num_messages, 2) divided by `temperature`.

    Above 1 it makes every answer less confident; no label changes. Raises ValueError for a
    temperature that is no number above 0.
    """
    from scipy.special import softmax

    finite_number("temperature", temperature)
    return softmax(np.asarray(logits, dtype=float) / temperature, axis=1)[:, 1]


def cross_entropy(labels, logits, temperature: float = 1.0) -> float:
    """Return the mean of −ln p of the correct label, in nats, at a temperature.

    `labels` are (num_messages,), `logits` (num_messages, 2). Raises ValueError for a temperature that
    is no number above 0.
    """
    finite_number("temperature", temperature)
    logits = torch.as_tensor(np.asarray(logits, dtype=float))
    labels = torch.as_tensor(np.array(labels))  # a copy: pandas' own may be read-only
    return torch.nn.functional.cross_entropy(logits / temperature, labels).item()


def fit_temperature(labels, logits) -> float:
    """Return the temperature at which the cross-entropy on these messages is lowest.

    `labels` are (num_messages,), `logits` (num_messages, 2), of messages that the model was not
    trained on. Raises ValueError where there is no lowest one: every answer is right, or they are no
    better than chance. Source: Guo et al. 2017, section 4.2, "temperature scaling".
    """
    from scipy.optimize import minimize_scalar

    # by how much the correct label's logit exceeds the other one, (num_messages,)
    margins = (2 * np.asarray(labels) - 1) * np.diff(logits)[:, 0]
    if not margins.min() < 0 < margins.mean():
        raise ValueError(
            "every answer is right, or the answers are no better than chance; take other messages"
        )

    found = minimize_scalar(
        lambda log_temperature: cross_entropy(labels, logits, math.exp(log_temperature)),
        bounds=(-20, 20),
        options={"xatol": 1e-9},
    )
    return math.exp(found.x)


# --- slices ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Slice:
    """How many of the messages of one kind have the correct label predicted.

    `share` (the accuracy) and `interval` (95 %, Wilson's) are None where there is no such message.
    """

    name: str
    right: int
    count: int
    share: float | None
    interval: tuple[float, float] | None


def shares_right(
    labels, p_spam, kinds: Mapping[str, Iterable], threshold: float = 0.5
) -> list[Slice]:
    """Return the accuracy on each kind of message.

    `kinds` has for each name True or False for each message, (num_messages,). Raises ValueError as
    `counts_at` does, IndexError for a kind of another length.
    """
    labels, p_spam = _checked(labels, p_spam)
    is_right = (p_spam > threshold) == labels
    slices = []
    for name, chosen in kinds.items():
        chosen = is_right[np.asarray(chosen, dtype=bool)]
        right, count = int(chosen.sum()), len(chosen)
        share = right / count if count else None
        interval = wilson_interval(share, count) if count else None
        slices.append(Slice(name, right, count, share, interval))
    return slices


def short_and_long(texts: Iterable[str], tokenizer) -> dict[str, np.ndarray]:
    """Return which messages have fewer than 10 tokens, and which have as many or more."""
    is_short = np.array([len(encode_message(text, tokenizer)) < 10 for text in texts])
    return {"fewer than 10 tokens": is_short, "10 tokens or more": ~is_short}
