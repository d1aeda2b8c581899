"""How good a classifier is, measured on messages whose labels are known.

One accuracy hides much. The four counts say which mistakes are made at a threshold, the bins whether
the classifier is right as often as it is confident, the slices on which messages it is right. Labels
are 0 for ham and 1 for spam; p_spam is the probability of spam, 0 … 1, of each message.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from helpers.checks import finite_number, whole_number
from helpers.data import LABELS
from helpers.tokenizer import encode_message

# scikit-learn and scipy are imported where they are needed: they are slow to import

FEWEST_MESSAGES = 10  # for a paired interval


# --- intervals -----------------------------------------------------------------------------------


def wilson_interval(share: float, count: int, level: float = 0.95) -> tuple[float, float]:
    """Return the score interval, (low, high), of a fraction `share` (0 … 1) of `count` messages.

    It stays within 0 … 1, and has a width even where all or none are right. It is about other
    messages of the same kind, not about other trainings.
    Source: Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference".
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
    return max(0.0, middle - half), min(1.0, middle + half)


def paired_interval(a, b, level: float = 0.95) -> tuple[float, float, float]:
    """Return the mean difference a - b of two accuracies, and its interval: (mean, low, high).

    `a` and `b` are (num_seeds, num_messages) of 1 (right) and 0 (wrong), on the same messages; the
    numbers of seeds may differ. Each message counts with its mean over the seeds. The interval is
    about other messages of the same kind, not about other seeds, splits or settings. Raises
    ValueError for fewer than FEWEST_MESSAGES messages. Source: Student 1908,
    "The Probable Error of a Mean", for paired samples.
    """
    from scipy.stats import ttest_rel

    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if a.shape[1] < FEWEST_MESSAGES:
        raise ValueError(
            f"{a.shape[1]} messages are too few for an interval; take {FEWEST_MESSAGES} or more"
        )
    low, high = ttest_rel(a.mean(axis=0), b.mean(axis=0)).confidence_interval(level)
    return float(a.mean() - b.mean()), float(low), float(high)


# --- at a threshold -------------------------------------------------------------------------------

FIELDS = tuple((correct, called) for correct in LABELS for called in LABELS)  # in reading order


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
        predicted = self.table["ham", "spam"] + self.table["spam", "spam"]
        return self.table["spam", "spam"] / predicted if predicted else None

    @property
    def recall(self) -> float | None:
        """The fraction of the spam that is predicted as spam."""
        spam = self.table["spam", "ham"] + self.table["spam", "spam"]
        return self.table["spam", "spam"] / spam if spam else None


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
    if (correct, called) not in FIELDS:
        raise ValueError(f"there is no field {(correct, called)!r}; choose one of {FIELDS}")
    labels, p_spam = _checked(labels, p_spam)
    predicted = np.where(p_spam > threshold, "spam", "ham")
    inside = (labels == LABELS.index(correct)) & (predicted == called)
    order = np.argsort(-p_spam if called == "spam" else p_spam, kind="stable")
    return order[inside[order]].tolist()


def precision_recall_curve(labels, p_spam) -> tuple[tuple[float, float], ...]:
    """Return (recall, precision) at every threshold that changes one of them, recall falling.

    At the first point most messages are predicted as spam, at the last only the most confident.
    Without spam there is no recall, and the curve is empty. Raises ValueError as `counts_at` does.
    """
    from sklearn import metrics

    labels, p_spam = _checked(labels, p_spam)
    if not labels.any():
        return ()
    precision, recall, _ = metrics.precision_recall_curve(labels, p_spam)
    points = zip(recall.tolist(), precision.tolist(), strict=True)
    return tuple(points)[:-1]  # scikit-learn adds one at which nothing is predicted as spam


def _checked(labels, p_spam) -> tuple[np.ndarray, np.ndarray]:
    labels, p_spam = np.asarray(labels), np.asarray(p_spam, dtype=float)
    if not labels.size:
        raise ValueError("there is no message to measure on")
    if labels.shape != p_spam.shape or not np.isin(labels, (0, 1)).all():
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


def calibration_bins(labels, p_spam, num_bins: int = 5) -> tuple[Bin, ...]:
    """Return the mean confidence and the accuracy in bins of equal width from 0.5 to 1.

    Raises ValueError for no bins, and as `counts_at` does. Source: Guo et al. 2017, "On Calibration
    of Modern Neural Networks". They divide 0 … 1, so five bins here are ten of theirs.
    """
    num_bins = whole_number("num_bins", num_bins)
    labels, p_spam = _checked(labels, p_spam)
    confidence, is_right = np.maximum(p_spam, 1 - p_spam), (p_spam > 0.5) == labels
    edges = np.linspace(0.5, 1, num_bins + 1)
    bin_of = np.searchsorted(edges[1:-1], confidence)  # (num_messages,), from 0
    bins = []
    for i in range(num_bins):
        inside, mean, accuracy = bin_of == i, None, None
        if inside.any():
            mean, accuracy = float(confidence[inside].mean()), float(is_right[inside].mean())
        bins.append(Bin(float(edges[i]), float(edges[i + 1]), int(inside.sum()), mean, accuracy))
    return tuple(bins)


def expected_calibration_error(bins: Iterable[Bin]) -> float:
    """Return the mean distance of confidence and accuracy, each bin weighted by its messages.

    0 is best. It depends on the number of bins. Raises ValueError for bins without a message.
    Source: Guo et al. 2017, equation 3.
    """
    filled = [bin for bin in bins if bin.count]
    if not filled:
        raise ValueError("there is no message in any bin")
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
    from scipy.special import expit

    finite_number("temperature", temperature)
    logits = np.asarray(logits, dtype=float)
    return expit((logits[:, 1] - logits[:, 0]) / temperature)


def cross_entropy(labels, logits, temperature: float = 1.0) -> float:
    """Return the mean of −ln p of the correct label, in nats, at a temperature.

    `labels` are (num_messages,), `logits` (num_messages, 2). Raises ValueError for a temperature that
    is no number above 0.
    """
    finite_number("temperature", temperature)
    return float(np.logaddexp(0, -_margins(labels, logits) / temperature).mean())


def fit_temperature(labels, logits) -> float:
    """Return the temperature at which the cross-entropy on these messages is lowest.

    `labels` are (num_messages,), `logits` (num_messages, 2), of messages that the model was not
    trained on. Raises ValueError where there is no lowest one: every answer is right, or they are no
    better than chance. Source: Guo et al. 2017, section 4.2, "temperature scaling".
    """
    from scipy.optimize import minimize_scalar

    margins = _margins(labels, logits)
    if margins.mean() <= 0:
        raise ValueError(
            "the logits are no better than chance, so that a higher temperature is always better"
        )
    if margins.min() >= 0:
        raise ValueError(
            "every answer is right, so that a lower temperature is always better; take more messages"
        )
    scale = np.abs(margins).max()  # the best temperature grows with the logits

    def loss(log_temperature: float) -> float:
        return np.logaddexp(0, -margins / scale / math.exp(log_temperature)).mean()

    lowest = minimize_scalar(loss, bounds=(-20, 20), method="bounded", options={"xatol": 1e-9})
    return float(scale * math.exp(lowest.x))


def _margins(labels, logits) -> np.ndarray:
    """Return by how much the correct label's logit exceeds the other one: (num_messages,)."""
    logits = np.asarray(logits, dtype=float)
    difference = logits[:, 1] - logits[:, 0]
    return np.where(np.asarray(labels) == 1, difference, -difference)


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
) -> tuple[Slice, ...]:
    """Return the accuracy on each kind of message.

    `kinds` has for each name True or False for each message, (num_messages,). Raises ValueError for
    other shapes or values of these, and as `counts_at` does.
    """
    labels, p_spam = _checked(labels, p_spam)
    is_right = (p_spam > threshold) == labels
    slices = []
    for name, chosen in kinds.items():
        chosen = np.asarray(chosen)
        if chosen.dtype != bool or chosen.shape != labels.shape:
            raise ValueError(
                f"{name!r} must say True or False of each of {len(labels)} messages, "
                f"not {chosen.dtype} {chosen.shape}"
            )
        count, right = int(chosen.sum()), int(is_right[chosen].sum())
        share = right / count if count else None
        interval = wilson_interval(share, count) if count else None
        slices.append(Slice(name, right, count, share, interval))
    return tuple(slices)


def short_and_long(texts: Iterable[str], tokenizer, limit: int = 10) -> dict[str, np.ndarray]:
    """Return which messages have fewer than `limit` tokens, and which have as many or more."""
    limit = whole_number("limit", limit)
    lengths = np.array([len(encode_message(text, tokenizer)) for text in texts])
    is_short = lengths < limit
    return {f"fewer than {limit} tokens": is_short, f"{limit} tokens or more": ~is_short}
