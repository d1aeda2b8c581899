"""How good a classifier is, measured on messages whose labels are known.

One accuracy hides much. The four counts say which mistakes are made, and at which threshold; the
bins say whether it is right as often as it is sure; the slices say on what. Labels are 0 for ham and
1 for spam; p_spam is the probability of spam, 0 … 1, that the classifier gives each message.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from helpers.checks import finite_number, finite_numbers, instance_of, whole_number
from helpers.data import LABELS
from helpers.tokenizer import encode_message

FEWEST_MESSAGES = 10  # for a paired interval


# --- intervals -----------------------------------------------------------------------------------


def wilson_interval(share: float, count: int, level: float = 0.95) -> tuple[float, float]:
    """Return the score interval, (low, high), of a `share` (0 … 1) of `count` messages.

    Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference". It stays
    within 0 … 1, and does not shrink to a point where all or none are right. It speaks of other
    messages of the same kind, not of other trainings. Raises ValueError for what is no share, no
    count from 1, or no level between 0 and 1.
    """
    finite_number("share", share, inclusive=True, most=1.0)
    finite_number("count", count)
    z = NormalDist().inv_cdf((1 + _checked_level(level)) / 2)
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
    return max(0.0, middle - half), min(1.0, middle + half)


def paired_interval(a, b, level: float = 0.95) -> tuple[float, float, float]:
    """Return the mean difference a - b in the share of right answers, and its interval (low, high).

    `a` and `b` are (num_seeds, num_messages) of 1 (right) and 0 (wrong), on the same messages; the
    numbers of seeds may differ. For each message the mean over the seeds is taken, and the
    differences of these means get Student's t interval for paired samples (Student 1908, "The
    Probable Error of a Mean"). It speaks of other messages of the same kind, not of other seeds,
    splits or settings. Raises ValueError for other shapes and values, and for fewer than
    FEWEST_MESSAGES messages.
    """
    from scipy import stats  # slow to import

    a, b = _right_answers("a", a), _right_answers("b", b)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"a has {a.shape[1]} messages and b has {b.shape[1]}: these are no pairs")
    count = a.shape[1]
    if count < FEWEST_MESSAGES:
        raise ValueError(
            f"{count} messages are too few for an interval; take {FEWEST_MESSAGES} or more"
        )
    differences = a.mean(axis=0) - b.mean(axis=0)  # (num_messages,)
    mean = differences.mean()
    error = differences.std(ddof=1) / math.sqrt(count)
    half = error * stats.t.ppf((1 + _checked_level(level)) / 2, count - 1)
    return float(mean), float(mean - half), float(mean + half)


def _right_answers(name: str, values) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 2 or not array.size or not np.isin(array, (0, 1)).all():
        raise ValueError(
            f"{name} must be (num_seeds, num_messages) of 0 and 1, not {array.dtype} {array.shape}"
        )
    return array.astype(float)


def _checked_level(level: float) -> float:
    finite_number("level", level, most=1.0)
    if level == 1:
        raise ValueError("level must be below 1: only an interval without an end is that sure")
    return level


FIELDS = tuple((correct, called) for correct in LABELS for called in LABELS)  # in reading order


# --- at a threshold -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Counts:
    """How many messages have each pair of correct and called label, at a threshold.

    `table[correct, called]` are the four counts, the keys those of FIELDS. A share of nothing is
    None: precision where nothing is called spam, recall where nothing is spam.
    """

    threshold: float
    table: dict[tuple[str, str], int]

    @property
    def total(self) -> int:
        """How many messages there are."""
        return sum(self.table.values())

    @property
    def right(self) -> int:
        """How many are called what they are."""
        return sum(self.table[label, label] for label in LABELS)

    @property
    def accuracy(self) -> float:
        """Of all messages, the share that is called what it is."""
        return self.right / self.total

    @property
    def precision(self) -> float | None:
        """Of all that is called spam, the share that is spam."""
        called = self.table["ham", "spam"] + self.table["spam", "spam"]
        return self.table["spam", "spam"] / called if called else None

    @property
    def recall(self) -> float | None:
        """Of all spam, the share that is called spam."""
        spam = self.table["spam", "ham"] + self.table["spam", "spam"]
        return self.table["spam", "spam"] / spam if spam else None


def counts_at(labels, p_spam, threshold: float = 0.5) -> Counts:
    """Return the four counts when a message is called spam if its p_spam is above `threshold`.

    `labels` and `p_spam` are (num_messages,). Raises ValueError for other shapes and values, for no
    message at all, and for a threshold outside 0 … 1.
    """
    from sklearn.metrics import confusion_matrix  # slow to import

    labels, p_spam = _checked(labels, p_spam)
    called = _called_spam(p_spam, threshold)
    table = confusion_matrix(labels, called, labels=[0, 1])  # rows: correct, columns: called
    numbers = (int(number) for number in table.flatten())
    return Counts(float(threshold), dict(zip(FIELDS, numbers, strict=True)))


def field_at(labels, p_spam, threshold: float, correct: str, called: str) -> list[int]:
    """Return which messages are in one of the four fields, the surest first.

    The surest ham has the lowest p_spam, the surest spam the highest; equal ones keep their order.
    Raises ValueError for what `counts_at` does, and for a field that is none of FIELDS.
    """
    if (correct, called) not in FIELDS:
        raise ValueError(f"there is no field {(correct, called)!r}; choose one of {FIELDS}")
    labels, p_spam = _checked(labels, p_spam)
    named = _called_spam(p_spam, threshold)
    inside = (labels == LABELS.index(correct)) & (named == LABELS.index(called))
    sure = p_spam if called == "spam" else -p_spam
    return sorted(np.flatnonzero(inside).tolist(), key=lambda i: -sure[i])


def precision_recall_curve(labels, p_spam) -> tuple[tuple[float, float], ...]:
    """Return (recall, precision) at every threshold that changes one, recall falling.

    At the first point the most is called spam; the last one has only what the classifier is surest
    of. Without spam there is no recall, and no curve: an empty tuple. Raises ValueError for what
    `counts_at` does.
    """
    from sklearn import metrics  # slow to import

    labels, p_spam = _checked(labels, p_spam)
    if not labels.any():
        return ()
    precision, recall, _ = metrics.precision_recall_curve(labels, p_spam)
    points = zip(recall.tolist(), precision.tolist(), strict=True)
    return tuple(points)[:-1]  # scikit-learn adds one at which nothing is called spam


# --- as sure as right? ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Bin:
    """The messages whose confidence is above `low` and at most `high`; exactly 0.5 is in the first.

    The confidence of an answer is the probability of the label that it names, 0.5 … 1.
    `confidence` is the mean of it and `right` the share of right answers; of no message both are
    None.
    """

    low: float
    high: float
    count: int
    confidence: float | None
    right: float | None


def calibration_bins(labels, p_spam, num_bins: int = 5) -> tuple[Bin, ...]:
    """Return confidence and share right in bins of equal width from 0.5 to 1 (Guo et al. 2017).

    Guo et al., "On Calibration of Modern Neural Networks", divide 0 … 1; of two classes the named one
    has at least 0.5, so that five bins here are ten of theirs. Raises ValueError for what
    `counts_at` does, and for no bins.
    """
    num_bins = whole_number("num_bins", num_bins)
    labels, p_spam = _checked(labels, p_spam)
    confidence, is_right = _confidence(p_spam), _called_spam(p_spam, 0.5) == labels
    edges = np.linspace(0.5, 1, num_bins + 1)
    number = np.searchsorted(edges[1:-1], confidence)  # (num_messages,), from 0
    return tuple(
        _bin(edges[i], edges[i + 1], confidence[number == i], is_right[number == i])
        for i in range(num_bins)
    )


def _bin(low: float, high: float, confidence: np.ndarray, is_right: np.ndarray) -> Bin:
    count = len(confidence)
    means = (float(confidence.mean()), float(is_right.mean())) if count else (None, None)
    return Bin(float(low), float(high), count, *means)


def expected_calibration_error(bins: Iterable[Bin]) -> float:
    """Return how far confidence and share right are apart: the mean over bins, by their messages.

    0 is best; the sign of each difference is lost (Guo et al. 2017, equation 3). It depends on the
    number of bins. Raises ValueError for bins without a message.
    """
    filled = [bin for bin in bins if bin.count]
    if not filled:
        raise ValueError("there is no message in any bin")
    gaps = sum(bin.count * abs(bin.confidence - bin.right) for bin in filled)
    return gaps / sum(bin.count for bin in filled)


def mean_confidence(p_spam) -> float:
    """Return the mean probability of the named label, 0.5 … 1.

    `p_spam` is (num_messages,); raises ValueError for what is no probability.
    """
    return float(_confidence(_checked_probabilities(p_spam)).mean())


def _confidence(p_spam: np.ndarray) -> np.ndarray:
    return np.maximum(p_spam, 1 - p_spam)


def spam_probabilities(logits, temperature: float = 1.0) -> np.ndarray:
    """Return p_spam of logits (num_messages, 2), divided by `temperature` first: (num_messages,).

    Above 1 it makes every answer less sure; no label changes. Raises ValueError for other shapes and
    values.
    """
    finite_number("temperature", temperature)
    margins = _margins(logits) / temperature
    return np.exp(-np.logaddexp(0, -margins))


def cross_entropy(labels, logits, temperature: float = 1.0) -> float:
    """Return the mean of −ln p of the correct label, in nats, at a temperature.

    `labels` are (num_messages,), `logits` (num_messages, 2). Raises ValueError for other shapes and
    values.
    """
    finite_number("temperature", temperature)
    margins = _correct_margins(labels, logits)
    return float(np.logaddexp(0, -margins / temperature).mean())


def fit_temperature(labels, logits) -> float:
    """Return the temperature at which the cross-entropy on these messages is least.

    `labels` are (num_messages,), `logits` (num_messages, 2). This is temperature scaling (Guo et al.
    2017, section 4.2); take messages that the model was not trained on. The loss is convex in
    1 / temperature, so that it is least where its slope is 0. Raises ValueError where there is no
    such place: every answer is right, or they are no better than chance.
    """
    from scipy.optimize import brentq  # slow to import

    margins = _correct_margins(labels, logits)
    margins = margins / (np.abs(margins).max() or 1.0)  # any scale will do
    if margins.min() >= 0 and margins.max() > 0:
        raise ValueError(
            "every answer is right, so that a lower temperature is always better; take more messages"
        )
    if margins.mean() <= 0:
        raise ValueError(
            "the logits are no better than chance, so that a higher temperature is always better"
        )

    def slope(sharpness: float) -> float:
        return float(-(margins * np.exp(-np.logaddexp(0, margins * sharpness))).mean())

    high = 1.0
    while slope(high) < 0:
        high *= 2
    sharpness = brentq(slope, 0, high)
    return float(np.abs(_margins(logits)).max() / sharpness)


def _correct_margins(labels, logits) -> np.ndarray:
    """Return by how much the correct logit is above the other one: (num_messages,)."""
    labels, margins = _checked_labels(labels), _margins(logits)
    _same_length(labels, "logits", margins)
    return np.where(labels == 1, margins, -margins)


def _margins(logits) -> np.ndarray:
    """Return the logits of spam less those of ham: (num_messages, 2) → (num_messages,)."""
    array = finite_numbers("logits", logits)
    if array.ndim != 2 or array.shape[1] != 2 or not len(array):
        raise ValueError(f"logits must be (num_messages, 2), not {array.shape}")
    return array[:, 1] - array[:, 0]


# --- on what --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Slice:
    """How many of the messages of one kind are called what they are.

    `share` and `interval`, 95 % by Wilson's formula, are None where there is no such message.
    """

    name: str
    right: int
    count: int
    share: float | None
    interval: tuple[float, float] | None


def shares_right(
    labels, p_spam, kinds: Mapping[str, Iterable], threshold: float = 0.5
) -> tuple[Slice, ...]:
    """Return the share of right answers on each kind of message.

    `kinds` has, for each name, which messages are of that kind: True or False, (num_messages,).
    Raises ValueError for what `counts_at` does, and for a kind of another length or with other
    values, TypeError for what is no dictionary by names.
    """
    instance_of("kinds", kinds, Mapping, "a dictionary: for each name True or False a message")
    labels, p_spam = _checked(labels, p_spam)
    is_right = _called_spam(p_spam, threshold) == labels
    slices = []
    for name, chosen in kinds.items():
        instance_of("the name of a kind", name, str, "a text")
        chosen = np.asarray(chosen)
        if chosen.dtype != bool or chosen.shape != labels.shape:
            raise ValueError(
                f"{name!r} must say True or False of each of {len(labels)} messages, "
                f"not {chosen.dtype} {chosen.shape}"
            )
        slices.append(_slice(name, is_right[chosen]))
    return tuple(slices)


def _slice(name: str, is_right: np.ndarray) -> Slice:
    count, right = len(is_right), int(is_right.sum())
    if not count:
        return Slice(name, 0, 0, None, None)
    return Slice(name, right, count, right / count, wilson_interval(right / count, count))


def short_and_long(texts: Iterable[str], tokenizer, limit: int = 10) -> dict[str, np.ndarray]:
    """Return which messages have fewer than `limit` tokens, and which have as many or more."""
    limit = whole_number("limit", limit)
    lengths = np.array([len(encode_message(text, tokenizer)) for text in texts])
    is_short = lengths < limit
    return {f"fewer than {limit} tokens": is_short, f"{limit} tokens or more": ~is_short}


# --- what is given --------------------------------------------------------------------------------


def _called_spam(p_spam: np.ndarray, threshold: float) -> np.ndarray:
    finite_number("threshold", threshold, inclusive=True, most=1.0)
    return (p_spam > threshold).astype(int)


def _checked(labels, p_spam) -> tuple[np.ndarray, np.ndarray]:
    labels, p_spam = _checked_labels(labels), _checked_probabilities(p_spam)
    _same_length(labels, "p_spam", p_spam)
    return labels, p_spam


def _checked_labels(labels) -> np.ndarray:
    array = finite_numbers("labels", labels)
    if array.ndim != 1 or not np.isin(array, (0, 1)).all():
        raise ValueError("labels must be (num_messages,) of 0, ham, and 1, spam")
    if not array.size:
        raise ValueError("there is no message to measure on")
    return array.astype(int)


def _checked_probabilities(p_spam) -> np.ndarray:
    array = finite_numbers("p_spam", p_spam)
    if array.ndim != 1 or not ((array >= 0) & (array <= 1)).all():
        raise ValueError("p_spam must be (num_messages,) of probabilities, from 0 to 1")
    if not array.size:
        raise ValueError("there is no message to measure on")
    return array


def _same_length(labels: np.ndarray, name: str, others: np.ndarray) -> None:
    if len(labels) != len(others):
        raise ValueError(f"{len(labels)} labels and {len(others)} {name} are not of one length")
