"""The pictures of a verdict show what was counted, and say it in words."""

import re

import pytest

from helpers import measures
from helpers.measures import Counts, calibration_bins, counts_at, shares_right
from tests.drawings import check_chart, check_drawing, elements, written
from workshop.pictures import verdict
from workshop.pictures.svg import joined
from workshop.pictures.verdict import draw_curve, draw_matrix, draw_reliability, draw_slices

LABELS = [0, 0, 0, 0, 1, 1, 1, 1, 1, 0]
P_SPAM = [0.02, 0.3, 0.6, 0.97, 0.98, 0.95, 0.8, 0.4, 0.03, 0.1]
POINTS = measures.precision_recall_curve(LABELS, P_SPAM)
COUNTS = Counts(0.5, dict(zip(measures.FIELDS, (64, 16, 4, 16), strict=True)))


def centres(drawing) -> list[tuple[float, float]]:
    return [(float(c.get("cx")), float(c.get("cy"))) for c in elements(drawing, "circle")]


def test_the_area_of_a_square_is_the_fields_fraction_and_a_mark_says_right_or_wrong():
    drawing = draw_matrix(COUNTS)
    sides = [float(box.get("width")) for box in elements(drawing, "rect", rx="0")]
    areas = [(inner / outer) ** 2 for outer, inner in zip(sides[::2], sides[1::2], strict=True)]
    assert areas == pytest.approx([0.64, 0.16, 0.04, 0.16], abs=1e-3)
    fields = " ".join(check_drawing(drawing)[6:])
    assert fields == "64 ✓ right 16 ✗ mistakes 4 ✗ mistakes 16 ✓ right"
    title, _, mistakes, *_, figures = drawing.words.splitlines()
    assert title == "the confusion matrix at threshold 0.50, of 100 messages"
    assert mistakes == "ham predicted as spam: 16 (mistakes)"
    assert figures == (
        "Accuracy 80 %: 80 of 100 are correct. Precision 50 % of those predicted as spam. "
        "Recall 80 % of the spam."
    )


def test_a_missing_number_is_explained_and_a_threshold_near_1_is_not_called_1():
    nothing_called, no_spam = counts_at([0, 1], [0.1, 0.2]), counts_at([0], [0.9])
    assert "No precision: no message is predicted as spam." in verdict.say_figures(nothing_called)
    assert "No recall: none of these messages is spam." in verdict.say_figures(no_spam)
    assert [verdict.percent(share) for share in (None, 0.996, 0.5)] == ["–", "100 %", "50 %"]
    shown = [verdict.say_threshold(t) for t in (0.5, 0, 0.9985)]
    assert shown == ["0.50", "0.00", "0.9985"]


def test_the_point_lies_on_the_curve_where_recall_and_precision_say():
    drawing = draw_curve(POINTS, counts_at(LABELS, P_SPAM))  # 3 of 5 predicted as spam, of 5 spam
    assert "at 0.50: recall 60 %, precision 60 %" in check_drawing(drawing)
    assert centres(drawing) == [(52 + 310 * 0.6, 56 + 240 * 0.4)]
    curve = max((path.get("d") for path in elements(drawing, "path")), key=len)
    for x, y in re.findall(r"([\d.]+),([\d.]+)", curve):
        near = [(52 + 310 * recall, 296 - 240 * precision) for recall, precision in POINTS]
        assert (float(x), float(y)) in [pytest.approx(point, abs=0.1) for point in near]
    first, *lines = drawing.words.splitlines()
    at_all = "precision against recall at all thresholds: "
    assert first == f"{at_all}at 0.50: recall 60 %, precision 60 %"
    for line, recall, best in zip(lines, (50, 75, 90, 100), (75, 67, 56, 56), strict=True):
        assert line == f"for a recall of {recall} % or more the precision is {best} % at best"


def test_where_there_is_no_precision_there_is_no_point_and_a_sentence():
    drawing = draw_curve(POINTS, counts_at(LABELS, P_SPAM, 1.0))
    assert not centres(drawing)
    assert "at 1.00: no message is predicted as spam, so no precision" in written(drawing)
    no_spam = draw_curve((), counts_at([0, 0], [0.1, 0.9]))
    assert "at 0.50: no recall, because no message is spam" in check_drawing(no_spam)
    assert no_spam.words.endswith("there is no curve without spam") and not centres(no_spam)


def test_a_bar_is_as_high_as_the_fraction_right_and_a_circle_as_the_mean_confidence():
    drawing = draw_reliability(calibration_bins([1, 1, 0, 1], [0.9, 0.2, 0.4, 0.6], num_bins=2))
    assert [bar.get_height() for bar in drawing.figure.axes[0].patches] == [1.0, 0.5]
    assert check_chart(drawing).count("messages: 2") == 2
    ends = [x for line in drawing.figure.axes[0].lines for x in line.get_xydata().ravel()]
    assert ends == pytest.approx([0.6, 0.6, 0.6, 1, 0.85, 0.85, 0.85, 0.5, 0.5, 0.5, 1, 1])
    _, low, _, error = drawing.words.splitlines()
    assert low == "confidence 0.50 to 0.75: 2 messages, mean confidence 60 %, accuracy 100 %"
    assert error == "expected calibration error 38 %"
    drawing = draw_reliability(calibration_bins([1, 0], [0.95, 0.05]))
    assert len(drawing.figure.axes[0].patches) == 1 and drawing.words.count("no message") == 4


def test_a_slice_is_a_dot_in_its_interval_with_its_counts():
    kinds = {"first <b>four</b>": [True] * 4 + [False] * 6, "none": [False] * 10}
    drawing = draw_slices(shares_right(LABELS, P_SPAM, kinds))
    assert centres(drawing) == [(210 + 220 * 0.5, 41)]
    (ends,) = re.findall(r'd="M([\d.]+),41L([\d.]+),41"', drawing.svg)
    assert [float(x) for x in ends] == pytest.approx([210 + 220 * 0.15, 210 + 220 * 0.85], abs=0.1)
    assert {"first <b>four</b>", "2 of 4, 50 % (15 to 85 %)", "none"} <= {*check_drawing(drawing)}
    first, none = "first <b>four</b>: 2 of 4, 50 % (15 to 85 %)", "none: no such message"
    assert drawing.words == f"accuracies, with 95 % confidence intervals\n{first}\n{none}"


def test_pictures_beside_or_below_each_other_overlap_nowhere():
    left, right = draw_matrix(COUNTS), draw_slices(shares_right([1], [0.9], {"a": [True]}))
    both, column = joined([left, right]), joined([left, right], ["one", "two"])
    moved = [group.get("transform") for group in elements(both, "g") + elements(column, "g")]
    (width, height), (wide, high) = left.size, right.size
    assert moved[:2] == ["translate(0 0)", f"translate({width:g} 0)"]
    assert moved[2:] == ["translate(0 26)", f"translate(0 {52 + height:g})"]
    assert (both.size, column.size) == ((width + wide, height), (wide, 52 + height + high))
    assert both.words == f"{left.words}\n{right.words}"
    assert column.words == f"one: {left.words}\ntwo: {right.words}"
    assert written(both) == written(left) + written(right)
    assert written(column) == ["one", *written(left), "two", *written(right)]
