"""Counts, curve, calibration and slices are what scikit-learn, torch or a pencil find."""

import itertools
import math
import random

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import metrics
from sklearn.calibration import calibration_curve

from helpers.measures import (
    FIELDS,
    Bin,
    calibration_bins,
    counts_at,
    cross_entropy,
    expected_calibration_error,
    field_at,
    fit_temperature,
    mean_confidence,
    precision_recall_curve,
    shares_right,
    short_and_long,
    spam_probabilities,
    wilson_interval,
)
from helpers.tokenizer import get_tokenizer

LABELS, P_SPAM = [0, 0, 1, 1, 1, 0], [0.1, 0.8, 0.9, 0.5, 0.6, 0.3]


def made_up(seed: int, count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and logits (count, 2) that are sometimes right; some are equal."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    margins = np.round((2 * labels - 1) * rng.normal(2, 3, count), 1)
    return labels, np.stack([-margins / 2, margins / 2], axis=1)


# --- at a threshold -------------------------------------------------------------------------------


def test_a_message_is_called_spam_if_it_is_above_the_threshold_and_not_on_it():
    counts = counts_at(LABELS, P_SPAM, 0.5)
    assert [counts.table[field] for field in FIELDS] == [2, 1, 1, 2]
    assert (counts.total, counts.right) == (6, 4)
    assert counts.accuracy == counts.precision == counts.recall == 2 / 3
    assert counts_at(LABELS, P_SPAM, 0.49).recall == 1


@pytest.mark.parametrize("threshold", [0, 0.01, 0.5, 0.9, 1])
def test_the_figures_are_those_of_scikit_learn(threshold):
    labels, logits = made_up(0)
    p_spam = spam_probabilities(logits)
    counts, called = counts_at(labels, p_spam, threshold), p_spam > threshold
    assert counts.accuracy == pytest.approx(metrics.accuracy_score(labels, called))
    assert counts.recall == pytest.approx(metrics.recall_score(labels, called))
    if called.any():
        assert counts.precision == pytest.approx(metrics.precision_score(labels, called))
    else:
        assert counts.precision is None


def test_a_share_of_nothing_is_none_and_never_a_number():
    nothing_called, no_spam = counts_at(LABELS, P_SPAM, 1), counts_at([0, 0], [0.2, 0.9])
    assert nothing_called.precision is None and nothing_called.recall == 0
    assert no_spam.recall is None and no_spam.precision == 0
    assert counts_at([0], [0.2]).precision is None


def test_the_four_fields_hold_every_message_once_the_surest_first():
    labels, logits = made_up(1)
    p_spam = spam_probabilities(logits)
    counts = counts_at(labels, p_spam, 0.7)
    found = {field: field_at(labels, p_spam, 0.7, *field) for field in FIELDS}
    assert sorted(itertools.chain(*found.values())) == list(range(200))
    for (correct, called), inside in found.items():
        assert len(inside) == counts.table[correct, called]
        assert {labels[i] for i in inside} <= {int(correct == "spam")}
        sure = [p_spam[i] if called == "spam" else 1 - p_spam[i] for i in inside]
        assert sure == sorted(sure, reverse=True)
    assert field_at([0, 0, 0], [0.9, 0.9, 0.95], 0.5, "ham", "spam") == [2, 0, 1]


def test_the_curve_goes_through_the_figures_of_every_threshold():
    labels, logits = made_up(2)
    p_spam = spam_probabilities(logits)
    points = precision_recall_curve(labels, p_spam)
    assert points[0] == (1.0, pytest.approx(labels.mean()))
    recalls = [recall for recall, _ in points]
    assert recalls == sorted(recalls, reverse=True) and len(points) == len(set(p_spam))
    for threshold in np.linspace(0, 1, 21):
        counts = counts_at(labels, p_spam, threshold)
        if counts.precision is not None:
            assert any(
                point == pytest.approx((counts.recall, counts.precision)) for point in points
            )
    assert precision_recall_curve([0, 0], [0.1, 0.9]) == ()


# --- as sure as right? ----------------------------------------------------------------------------


def test_the_calibration_error_of_small_cases_is_what_a_pencil_finds():
    # confidences .9 .8 .6 .6; right: yes no yes yes; two bins: above and up to .75
    bins = calibration_bins([1, 1, 0, 1], [0.9, 0.2, 0.4, 0.6], num_bins=2)
    assert [(bin.low, bin.high, bin.count) for bin in bins] == [(0.5, 0.75, 2), (0.75, 1.0, 2)]
    assert bins[0].confidence == pytest.approx(0.6) and bins[0].right == 1
    assert bins[1].confidence == pytest.approx(0.85) and bins[1].right == 0.5
    assert expected_calibration_error(bins) == pytest.approx((2 * 0.4 + 2 * 0.35) / 4)
    (one,) = calibration_bins([1, 1, 0, 1], [0.9, 0.2, 0.4, 0.6], num_bins=1)
    assert expected_calibration_error([one]) == pytest.approx(abs(2.9 / 4 - 3 / 4))
    assert mean_confidence([0.9, 0.2, 0.4, 0.6]) == pytest.approx(2.9 / 4)


def test_bins_are_those_of_scikit_learn():
    for seed in range(5):
        labels, logits = made_up(seed)
        logits[logits[:, 0] == 0] = 1, 0  # scikit-learn has what is exactly 0.5 in another bin
        p_spam = spam_probabilities(logits, 2.0)
        confidence, is_right = np.maximum(p_spam, 1 - p_spam), (p_spam > 0.5) == labels
        shares, means = calibration_curve(is_right, confidence, n_bins=10)  # over 0 … 1
        filled = [bin for bin in calibration_bins(labels, p_spam) if bin.count]
        assert [bin.right for bin in filled] == pytest.approx(shares[-len(filled) :].tolist())
        assert [bin.confidence for bin in filled] == pytest.approx(means[-len(filled) :].tolist())
        assert sum(bin.count for bin in filled) == 200


def test_a_bin_without_a_message_has_no_share_and_counts_for_nothing():
    bins = calibration_bins([1, 0], [0.95, 0.05])
    assert bins[0] == Bin(0.5, 0.6, 0, None, None)
    assert expected_calibration_error(bins) == pytest.approx(0.05)


def test_who_is_as_often_right_as_sure_has_no_error_and_who_is_always_wrong_the_largest():
    assert expected_calibration_error(calibration_bins([1] * 4 + [0], [0.8] * 5)) < 1e-9
    assert expected_calibration_error(calibration_bins([0] * 5, [1.0] * 5)) == 1


def test_probabilities_are_those_of_softmax_whatever_the_size_of_the_logits():
    _, logits = made_up(3)
    for temperature in (0.5, 1.0, 3.0):
        expected = torch.softmax(torch.tensor(logits) / temperature, dim=1)[:, 1]
        assert spam_probabilities(logits, temperature) == pytest.approx(expected.numpy())
    assert spam_probabilities([[0, 5000], [5000, 0]]).tolist() == [1, 0]


def test_the_loss_is_torchs():
    labels, logits = made_up(4)
    for temperature in (0.5, 1.0, 3.0):
        expected = torch.nn.functional.cross_entropy(
            torch.tensor(logits) / temperature, torch.tensor(labels)
        )
        assert cross_entropy(labels, logits, temperature) == pytest.approx(expected.item())


def test_no_temperature_nearby_has_a_lower_loss():
    for seed in range(5):
        labels, logits = made_up(seed)
        best = fit_temperature(labels, logits)
        least = cross_entropy(labels, logits, best)
        for factor in (0.5, 0.9, 0.99, 1.01, 1.1, 2):
            assert cross_entropy(labels, logits, best * factor) > least


def test_the_temperature_is_the_one_that_torch_finds_by_going_downhill():
    labels, logits = made_up(5)
    log_temperature = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_temperature], max_iter=200, tolerance_grad=1e-12)

    def closure():
        optimizer.zero_grad()
        scaled = torch.tensor(logits) / log_temperature.exp()
        loss = torch.nn.functional.cross_entropy(scaled, torch.tensor(labels))
        loss.backward()
        return loss

    optimizer.step(closure)
    assert fit_temperature(labels, logits) == pytest.approx(log_temperature.exp().item(), rel=1e-4)


def test_logits_that_are_larger_need_a_temperature_that_is_as_much_larger():
    labels, logits = made_up(6)
    best = fit_temperature(labels, logits)
    for scale in (1e-6, 7, 1e6):
        assert fit_temperature(labels, logits * scale) == pytest.approx(best * scale)
    assert fit_temperature(labels, logits + 100) == pytest.approx(best)  # only differences count


def test_a_temperature_changes_no_label_and_mends_confidence():
    labels, logits = made_up(7, count=2000)
    logits = 4 * logits  # overconfident
    before, after = (
        spam_probabilities(logits),
        spam_probabilities(logits, fit_temperature(labels, logits)),
    )
    assert ((before > 0.5) == (after > 0.5)).all()
    errors = [expected_calibration_error(calibration_bins(labels, p)) for p in (before, after)]
    assert errors[1] < errors[0] / 2


# --- on what --------------------------------------------------------------------------------------


def test_each_kind_has_its_share_with_wilsons_interval():
    is_late = [False, False, True, True, True, True]
    kinds = {"late": is_late, "early": np.logical_not(is_late), "none": pd.Series([False] * 6)}
    late, early, none = shares_right(LABELS, P_SPAM, kinds)
    assert (late.name, late.right, late.count, late.share) == ("late", 3, 4, 0.75)
    assert late.interval == wilson_interval(0.75, 4) and early.right == 1
    assert (none.count, none.share, none.interval) == (0, None, None)
    assert shares_right(LABELS, P_SPAM, {"late": is_late}, 0.4)[0].right == 4


def test_short_messages_have_fewer_tokens_than_the_limit():
    texts = ["one two three", "one two three four", "one"]
    kinds = short_and_long(texts, get_tokenizer(), limit=4)
    assert {name: which.tolist() for name, which in kinds.items()} == {
        "fewer than 4 tokens": [True, False, True],
        "4 tokens or more": [False, True, False],
    }


# --- what is given --------------------------------------------------------------------------------


def test_lists_arrays_series_and_tensors_give_the_same():
    expected = counts_at(LABELS, P_SPAM)
    for kind in (np.array, pd.Series, torch.tensor):
        assert counts_at(kind(LABELS), kind(P_SPAM)) == expected
    assert counts_at(LABELS, torch.tensor(P_SPAM, requires_grad=True)) == expected


LOGITS = [[0.0, 1.0], [1.0, 0.0]]
BAD_INPUT = {
    "no message": (lambda: counts_at([], []), "there is no message to measure on"),
    "not of one length": (lambda: counts_at([0, 1], [0.5]), "2 labels and 1 p_spam"),
    "words for labels": (lambda: counts_at(["ham"], [0.5]), "labels must be numbers"),
    "a third label": (lambda: counts_at([2], [0.5]), "0, ham, and 1, spam"),
    "labels in two dimensions": (lambda: counts_at([[0]], [0.5]), "labels must be (num_messages,)"),
    "no probability": (lambda: counts_at([1], [1.2]), "from 0 to 1"),
    "both probabilities": (lambda: counts_at([1], [[0.2, 0.8]]), "p_spam must be (num_messages,)"),
    "not a number": (lambda: counts_at([1], [math.nan]), "not finite"),
    "ragged": (lambda: counts_at([1], [[1], [1, 2]]), "p_spam must be numbers"),
    "a threshold in percent": (lambda: counts_at([1], [0.5], 50), "from 0 to 1, not 50"),
    "a threshold that is none": (lambda: counts_at([1], [0.5], math.nan), "not nan"),
    "no such field": (lambda: field_at([1], [0.5], 0.5, "ham", "eggs"), "no field ('ham', 'eggs')"),
    "no bins": (lambda: calibration_bins([1], [0.5], 0), "num_bins must be a whole number from 1"),
    "bins without messages": (
        lambda: expected_calibration_error([Bin(0.5, 1, 0, None, None)]), "no message in any bin"
    ),
    "probabilities for logits": (lambda: fit_temperature([1], [0.5]), "(num_messages, 2), not (1,)"),
    "a temperature of 0": (lambda: spam_probabilities(LOGITS, 0), "above 0, not 0"),
    "labels and logits apart": (lambda: fit_temperature([1], LOGITS), "1 labels and 2 logits"),
    "everything right": (lambda: fit_temperature([1, 0], LOGITS), "every answer is right"),
    "no better than chance": (lambda: fit_temperature([0, 1], LOGITS), "no better than chance"),
    "all logits alike": (lambda: fit_temperature([0, 1], [[1, 1]] * 2), "no better than chance"),
    "a kind of another length": (
        lambda: shares_right([1], [0.5], {"odd": [True, False]}), "'odd' must say True or False"
    ),
    "a kind by number": (lambda: shares_right([1], [0.5], {"odd": [0]}), "not int64 (1,)"),
    "an empty message": (lambda: short_and_long([" "], get_tokenizer()), "the message is empty"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_INPUT)
def test_what_cannot_be_measured_is_said(case):
    attempt, words = BAD_INPUT[case]
    with pytest.raises(ValueError) as raised:
        attempt()
    assert words in str(raised.value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_measured_as_it_is(dtype):
    labels, logits = made_up(8)
    halves = torch.tensor(logits).to(dtype)
    assert fit_temperature(labels, halves) == fit_temperature(labels, halves.double().numpy())
    p_spam = halves.softmax(dim=1)[:, 1]
    assert counts_at(labels, p_spam) == counts_at(labels, p_spam.double().numpy())


def test_the_order_of_the_messages_does_not_matter():
    rng = random.Random(0)
    labels, logits = made_up(8)
    order = rng.sample(range(200), 200)
    p_spam = spam_probabilities(logits)
    assert counts_at(labels, p_spam) == counts_at(labels[order], p_spam[order])
    assert fit_temperature(labels, logits) == pytest.approx(
        fit_temperature(labels[order], logits[order])
    )
    pairs = zip(
        calibration_bins(labels, p_spam),
        calibration_bins(labels[order], p_spam[order]),
        strict=True,
    )
    assert all(a.count == b.count and a.right == pytest.approx(b.right) for a, b in pairs)
