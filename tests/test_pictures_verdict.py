"""The pictures of a verdict show what was counted, and say it in words."""

import re
from xml.etree import ElementTree

import pytest

from helpers.measures import (
    FIELDS,
    Counts,
    calibration_bins,
    counts_at,
    precision_recall_curve,
    shares_right,
)
from tests.drawings import check_that_all_can_be_seen, check_that_no_words_overlap
from workshop.pictures.svg import side_by_side
from workshop.pictures.verdict import (
    FIELD,
    draw_curve,
    draw_matrix,
    draw_reliability,
    draw_slices,
    percent,
    say_figures,
)

SVG = "{http://www.w3.org/2000/svg}"
LABELS = [0, 0, 0, 0, 1, 1, 1, 1, 1, 0]
P_SPAM = [0.02, 0.3, 0.6, 0.97, 0.98, 0.95, 0.8, 0.4, 0.03, 0.1]
COUNTS = Counts(0.5, dict(zip(FIELDS, (64, 16, 4, 16), strict=True)))


def texts(drawing) -> list[str]:
    root = ElementTree.fromstring(drawing.svg)
    return ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]


def all_drawings():
    counts = counts_at(LABELS, P_SPAM)
    kinds = {"short <b>": [True] * 5 + [False] * 5, "none": [False] * 10}
    return {
        "matrix": draw_matrix(counts),
        "curve": draw_curve(precision_recall_curve(LABELS, P_SPAM), counts),
        "reliability": draw_reliability(calibration_bins(LABELS, P_SPAM)),
        "slices": draw_slices(shares_right(LABELS, P_SPAM, kinds)),
        "both": side_by_side(draw_matrix(counts), draw_matrix(counts)),
    }


@pytest.mark.parametrize("name", all_drawings())
def test_a_picture_is_whole_has_its_words_for_a_name_and_no_number_that_is_none(name):
    drawing = all_drawings()[name]
    root = ElementTree.fromstring(drawing.svg)
    assert root.get("aria-label").split() == drawing.words.split()
    assert not re.search(r"\b(nan|None|inf)\b", drawing.svg + drawing.words)
    if name != "both":  # whose pieces are moved
        check_that_all_can_be_seen(drawing)
        check_that_no_words_overlap(drawing)


# --- the four fields ------------------------------------------------------------------------------


def test_the_area_of_a_square_is_the_fields_share_and_a_mark_says_right_or_wrong():
    drawing = draw_matrix(COUNTS)
    sides = [float(side) for side in re.findall(r'<rect [^>]*width="([\d.]+)"', drawing.svg)[1:]]
    areas = [(inner / FIELD) ** 2 for inner in sides[1::2]]
    assert sides[::2] == [FIELD] * 4 and areas == pytest.approx([0.64, 0.16, 0.04, 0.16], abs=1e-3)
    shown = texts(drawing)
    assert [words for words in shown if words.isdigit()] == ["64", "16", "4", "16"]
    assert shown.count("✓ right") == shown.count("✗ mistakes") == 2
    for field, count, kind in zip(FIELDS, (64, 16, 4, 16), ("right", "mistakes") * 2, strict=True):
        if field == ("spam", "ham"):
            kind = "mistakes"
        elif field == ("spam", "spam"):
            kind = "right"
        assert f"{field[0]} called {field[1]}: {count} ({kind})" in drawing.words


def test_the_figures_are_said_in_percent_and_a_missing_one_is_explained():
    assert "Accuracy 80 %: 80 of 100 are right. Precision 50 %" in say_figures(COUNTS)
    assert "Recall 80 %" in say_figures(COUNTS)
    nothing_called = counts_at([0, 1], [0.1, 0.2])
    assert "No precision: nothing is called spam." in say_figures(nothing_called)
    assert "No recall: none of these messages is spam." in say_figures(counts_at([0], [0.9]))
    assert percent(None) == "–" and percent(0.996) == "100 %"


@pytest.mark.parametrize(
    ("threshold", "words"), [(0.5, "0.50"), (0, "0.00"), (1, "1.00"), (0.9985, "0.9985")]
)
def test_a_threshold_near_1_is_not_called_1(threshold, words):
    counts = counts_at(LABELS, P_SPAM, threshold)
    assert f"at threshold {words}, of 10 messages" in draw_matrix(counts).words
    assert f"at {words}: " in draw_curve((), counts).words


# --- precision against recall ---------------------------------------------------------------------


def test_the_point_lies_where_recall_and_precision_say():
    points = precision_recall_curve(LABELS, P_SPAM)
    drawing = draw_curve(points, counts_at(LABELS, P_SPAM))  # 3 of 5 called spam, of 5 spam
    ((x, y),) = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', drawing.svg)
    assert float(x) == pytest.approx(52 + 310 * 0.6, abs=0.1)
    assert float(y) == pytest.approx(56 + 240 * 0.4, abs=0.1)
    assert "at 0.50: recall 60 %, precision 60 %" in texts(drawing)
    assert "for a recall of 100 % or more the precision is 56 % at best" in drawing.words


def test_where_there_is_no_precision_there_is_no_point_and_a_sentence():
    points = precision_recall_curve(LABELS, P_SPAM)
    drawing = draw_curve(points, counts_at(LABELS, P_SPAM, 1.0))
    assert "<circle" not in drawing.svg
    assert "at 1.00: nothing is called spam, so no precision" in texts(drawing)
    no_spam = draw_curve((), counts_at([0, 0], [0.1, 0.9]))
    assert "there is no curve without spam" in no_spam.words and "<circle" not in no_spam.svg


# --- as sure as right? ----------------------------------------------------------------------------


def test_a_bar_is_as_high_as_the_share_right_and_a_circle_as_the_mean_confidence():
    bins = calibration_bins([1, 1, 0, 1], [0.9, 0.2, 0.4, 0.6], num_bins=2)
    drawing = draw_reliability(bins)
    heights = [float(h) for h in re.findall(r'<rect [^>]*height="([\d.]+)" rx', drawing.svg)]
    assert heights == pytest.approx([224 * 1, 224 * 0.5], abs=0.1)
    circles = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', drawing.svg)
    places = [52 + 310 * 0.2, 72 + 224 * 0.4], [52 + 310 * 0.7, 72 + 224 * 0.15]
    for circle, place in zip(circles, places, strict=True):
        assert list(map(float, circle)) == pytest.approx(place, abs=0.1)
    assert [words for words in texts(drawing) if words == "2"] == ["2", "2"]  # messages in each
    assert "confidence 0.75 to 1.00: 2 messages, mean confidence 85 %, right 50 %" in drawing.words
    assert drawing.words.endswith("expected calibration error 38 %")


def test_a_bin_without_a_message_has_no_bar_and_says_so():
    drawing = draw_reliability(calibration_bins([1, 0], [0.95, 0.05]))
    assert drawing.svg.count("<circle") == 1 and drawing.words.count("no message") == 4


# --- on what --------------------------------------------------------------------------------------


def test_a_slice_is_a_dot_in_its_interval_with_its_counts():
    chosen = [True] * 4 + [False] * 6
    kinds = {"first <b>four</b>": chosen, "none": [False] * 10}
    drawing = draw_slices(shares_right(LABELS, P_SPAM, kinds))
    ((x,),) = [re.findall(r'<circle cx="([\d.]+)"', drawing.svg)]
    assert float(x) == pytest.approx(210 + 220 * 0.5, abs=0.1)
    low, high = re.search(r'd="M([\d.]+),[\d.]+L([\d.]+),[\d.]+"', drawing.svg).groups()
    assert float(low) < float(x) < float(high)
    assert "first <b>four</b>" in texts(drawing) and "<b>" not in drawing.svg
    assert "first <b>four</b>: 2 of 4, 50 % (15 to 85 %)" in drawing.words
    assert "none: no such message" in drawing.words


def test_pictures_beside_each_other_are_as_wide_as_both_and_overlap_nowhere():
    left, right = draw_matrix(COUNTS), draw_reliability(calibration_bins([1], [0.9]))
    drawing = side_by_side(left, right)
    moved = ElementTree.fromstring(drawing.svg).findall(f"{SVG}g")
    width = left.size[0]
    assert [g.get("transform") for g in moved] == ["translate(0 0)", f"translate({width:g} 0)"]
    assert drawing.size == (width + right.size[0], max(left.size[1], right.size[1]))
    assert len(list(moved[1].iter())) == len(list(ElementTree.fromstring(right.svg).iter()))
    assert drawing.words == f"{left.words}\n{right.words}"
