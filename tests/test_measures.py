"""Counts, curve, intervals, calibration and slices are what scikit-learn, scipy or a pencil give."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from helpers.measures import (
    FIELDS,
    Bin,
    Difference,
    calibration_bins,
    counts_at,
    cross_entropy,
    expected_calibration_error,
    field_at,
    fit_temperature,
    format_points,
    mean_confidence,
    paired_interval,
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


def test_the_interval_of_an_accuracy_is_wilsons():
    for right, count in ((0, 20), (300, 300), (83, 100)):
        expected = stats.binomtest(right, count).proportion_ci(method="wilson")
        assert wilson_interval(right / count, count) == pytest.approx(expected, abs=1e-6)
    below, above = wilson_interval(0.82, 100), wilson_interval(0.83, 100)
    for low, between, high in zip(below, wilson_interval(0.827, 100), above, strict=True):
        assert low < between < high  # a mean over seeds, of no whole number of messages


def test_one_seed_is_compared_by_the_bootstrap_over_messages():
    rng = np.random.default_rng(0)
    a, b = rng.random((1, 400)) < 0.9, rng.random((1, 400)) < 0.8
    (message_wise,) = a.astype(float) - b
    found = stats.bootstrap((message_wise,), np.mean, rng=1, method="percentile")
    difference = paired_interval(a, b)
    assert difference.mean == pytest.approx(message_wise.mean())
    assert difference[1:] == pytest.approx(found.confidence_interval, abs=0.005)
    assert difference == paired_interval(a, b)  # no chance from one call to the next


def test_seeds_that_disagree_make_an_interval_wide_and_one_of_two_methods_may_have_no_seed():
    steady, baseline = np.ones((5, 200)), np.array([[1, 0] * 100])
    unsteady = np.repeat([[1], [1], [1], [0], [0]], 200, axis=1)  # two of five seeds failed
    assert paired_interval(steady, baseline).verdict == "better"
    assert paired_interval(baseline, steady).verdict == "worse"
    both = paired_interval(unsteady, baseline)
    assert both.mean == pytest.approx(0.1) and both.verdict == "can't tell"
    # by hand: the five seeds alone have the variance 0.24 / 5, the messages 0.25 / 200
    half = 1.96 * (0.24 / 5 + 0.25 / 200) ** 0.5
    assert (both.high - both.low) / 2 == pytest.approx(half, abs=0.04)


@pytest.mark.parametrize(
    ("gained", "lost", "verdict"),
    [(4, 0, "can't tell"), (5, 0, "can't tell"), (6, 0, "better"), (0, 6, "worse"), (15, 6, "can't tell")],
)  # fmt: skip
def test_where_few_messages_differ_the_verdict_is_that_of_the_exact_test(gained, lost, verdict):
    before = np.array([[0] * gained + [1] * (100 - gained)])
    after = np.array([[1] * gained + [0] * lost + [1] * (100 - gained - lost)])
    difference = paired_interval(after, before)
    assert difference.mean == pytest.approx((gained - lost) / 100)
    assert difference.verdict == verdict
    p = stats.binomtest(gained, gained + lost).pvalue
    assert (p < 0.05) == (verdict != "can't tell")
    assert paired_interval(after, after) == (0, 0, 0)


def test_points_have_their_sign_and_zero_has_none():
    assert str(Difference(0.031, -0.0049, 0.0704)) == "+3.1 points (95 % interval −0.5 to +7.0)"
    assert [format_points(value) for value in (-0.0001, 0)] == ["0.0", "0.0"]


def test_a_message_is_predicted_as_spam_above_the_threshold_and_not_on_it():
    counts = counts_at(LABELS, P_SPAM, 0.5)
    assert [counts.table[field] for field in FIELDS] == [2, 1, 1, 2]
    assert (counts.total, counts.right, counts.threshold) == (6, 4, 0.5)
    assert counts.accuracy == counts.precision == counts.recall == 2 / 3
    assert counts_at(LABELS, P_SPAM, 0.49).recall == 1
    for kind in (pd.Series, torch.tensor):
        assert counts_at(kind(LABELS), kind(P_SPAM)) == counts
    nothing_predicted, no_spam = counts_at(LABELS, P_SPAM, 1), counts_at([0, 0], [0.2, 0.9])
    assert nothing_predicted.precision is None and nothing_predicted.recall == 0
    assert no_spam.recall is None and no_spam.precision == 0


def test_the_four_fields_hold_every_message_once_the_most_confident_first():
    labels, logits = made_up(1)
    p_spam = spam_probabilities(logits)
    counts = counts_at(labels, p_spam, 0.7)
    fields = {field: field_at(labels, p_spam, 0.7, *field) for field in FIELDS}
    assert sorted(itertools.chain(*fields.values())) == list(range(200))
    for (correct, predicted), inside in fields.items():
        assert len(inside) == counts.table[correct, predicted]
        assert {labels[i] for i in inside} == {int(correct == "spam")}
        confidence = [p_spam[i] if predicted == "spam" else 1 - p_spam[i] for i in inside]
        assert confidence == sorted(confidence, reverse=True)
    assert field_at([0, 0, 0], [0.9, 0.9, 0.95], 0.5, "ham", "spam") == [2, 0, 1]


def test_the_curve_goes_through_the_figures_of_every_threshold():
    labels, logits = made_up(2)
    p_spam = spam_probabilities(logits)
    points = precision_recall_curve(labels, p_spam)
    assert points[0] == pytest.approx([1.0, labels.mean()])
    recalls = [recall for recall, _ in points]
    assert recalls == sorted(recalls, reverse=True) and len(points) == len(set(p_spam))
    for threshold in np.linspace(0, 0.9, 10):
        counts = counts_at(labels, p_spam, threshold)
        expected = pytest.approx([counts.recall, counts.precision])
        assert any(point == expected for point in points)
    assert precision_recall_curve([0, 0], [0.1, 0.9]) == []


def test_the_calibration_error_of_small_cases_is_what_a_pencil_finds():
    # confidences .9 .8 .6 .6; right: yes no yes yes; two bins: above and up to .75
    bins = calibration_bins([1, 1, 0, 1], [0.9, 0.2, 0.4, 0.6], num_bins=2)
    assert [(bin.low, bin.high, bin.count) for bin in bins] == [(0.5, 0.75, 2), (0.75, 1.0, 2)]
    assert bins[0].confidence == pytest.approx(0.6) and bins[0].right == 1
    assert bins[1].confidence == pytest.approx(0.85) and bins[1].right == 0.5
    assert expected_calibration_error(bins) == pytest.approx((2 * 0.4 + 2 * 0.35) / 4)
    assert mean_confidence([0.9, 0.2, 0.4, 0.6]) == pytest.approx(2.9 / 4)
    uneven = calibration_bins([1, 0, 0], [0.95, 0.05, 0.4])  # weighted by their messages
    assert uneven[0] == Bin(0.5, 0.6, 1, 0.6, 1.0) and uneven[1] == Bin(0.6, 0.7, 0, None, None)
    assert expected_calibration_error(uneven) == pytest.approx((2 * 0.05 + 0.4) / 3)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_probabilities_and_loss_are_those_of_torch(temperature):
    labels, logits = made_up(4)
    scaled = torch.tensor(logits) / temperature
    p_spam = spam_probabilities(torch.tensor(logits), temperature)
    assert p_spam == pytest.approx(scaled.softmax(dim=1)[:, 1].numpy())
    loss = torch.nn.functional.cross_entropy(scaled, torch.tensor(labels)).item()
    assert cross_entropy(labels, logits, temperature) == pytest.approx(loss)
    assert spam_probabilities([[0, 5000], [5000, 0]]).tolist() == [1, 0]


@pytest.mark.parametrize("seed", range(5))
def test_no_temperature_nearby_has_a_lower_loss_whatever_the_size_of_the_logits(seed):
    labels, logits = made_up(seed)
    best = fit_temperature(labels, logits)
    lowest = cross_entropy(labels, logits, best)
    for factor in (0.5, 0.99, 1.01, 2):
        assert cross_entropy(labels, logits, best * factor) > lowest
    for scale in (1e-6, 7, 1e6):
        assert fit_temperature(labels, logits * scale) == pytest.approx(best * scale, rel=1e-5)
    assert fit_temperature(labels, logits + 100) == pytest.approx(best, rel=1e-5)


def test_each_kind_has_its_accuracy_with_wilsons_interval():
    is_late = [False, False, True, True, True, True]
    kinds = {"late": is_late, "early": np.logical_not(is_late), "none": pd.Series([False] * 6)}
    late, early, none = shares_right(LABELS, P_SPAM, kinds)
    assert (late.name, late.right, late.count, late.share) == ("late", 3, 4, 0.75)
    assert late.interval == wilson_interval(0.75, 4) and early.right == 1
    assert (none.right, none.count, none.share, none.interval) == (0, 0, None, None)
    assert shares_right(LABELS, P_SPAM, {"late": is_late}, 0.4)[0].right == 4
    kinds = short_and_long(["one " * 8 + "nine", "one " * 9 + "ten"], get_tokenizer())
    wanted = {"fewer than 10 tokens": [True, False], "10 tokens or more": [False, True]}
    assert {name: which.tolist() for name, which in kinds.items()} == wanted


BAD_INPUT = {
    r"not \(2,\) labels for \(1,\) probabilities": lambda: counts_at([0, 1], [0.5]),
    "labels must be 0 for ham or 1 for spam": lambda: counts_at([2], [0.5]),
    "from 0 to 1, not 50": lambda: counts_at([1], [0.5], 50),  # in percent
    "every answer is right": lambda: fit_temperature([1], [[0.0, 1.0]]),
    "no better than chance": lambda: fit_temperature([0], [[0.0, 1.0]]),
}


@pytest.mark.parametrize("message", BAD_INPUT)
def test_what_cannot_be_measured_is_refused_in_a_sentence(message):
    with pytest.raises(ValueError, match=message):
        BAD_INPUT[message]()
