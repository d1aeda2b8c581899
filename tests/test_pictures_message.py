"""Pictures of one message: bars and chips are as long and as dark as their numbers, and all is said
in words.
"""

import math
import re
from xml.etree import ElementTree

import pytest
import torch

from tests.drawings import check_that_all_can_be_seen, check_that_no_words_overlap
from workshop.pictures.charts import draw_loss
from workshop.pictures.message import (
    draw_after_blocks,
    draw_attention,
    draw_influence,
    draw_probabilities,
    draw_shares,
    named_shares,
)

SVG = "{http://www.w3.org/2000/svg}"
PAD, SHARES = "<|endoftext|>", [0.1, 0.2, 0.2, 0.1, 0.1, 0.3]
TOKENS = ["Win", "␣a", "␣free", "<b>", "␣x" * 30]


def parts(drawing, kind: str) -> list:
    """All shapes of a kind, without the paper."""
    found = ElementTree.fromstring(drawing.svg).iter(f"{SVG}{kind}")
    return [shape for shape in found if shape.get("class") != "paper"]


def texts(drawing) -> list[str]:
    return [text.text for text in parts(drawing, "text")]


def number(shape, name: str) -> float:
    return float(shape.get(name))


def all_pictures():
    shares = [0.5, 0.25, 0.25, 0.0, 0.0]
    yield draw_attention(TOKENS, shares, "Where it looks")
    yield draw_attention(TOKENS * 20, shares * 20, "Where it looks")
    yield draw_influence(TOKENS, [1.2, -0.5, 0.0, math.nan, -3], "spam 0.40", {1})
    yield draw_influence(TOKENS * 20, [0.1] * 100)
    yield draw_shares({"1 × .": [0.9, 0.1], f"50 × {PAD}": [0.0, 1.0]}, "Goes to the message", 1)
    yield draw_shares({"share": [0.01] * 48}, "Goes to the message", 47)
    yield from map(draw_probabilities, (0.0, 0.004, 0.5, 1.0))
    yield from map(draw_after_blocks, ([0.1, 0.9], [0.5] * 49))
    yield from map(draw_loss, (1.0, 0.5, 0.01, 1e-9))


@pytest.mark.parametrize("drawing", [*all_pictures()])
def test_everything_lies_on_the_paper_and_words_are_there_for_who_cannot_see_it(drawing):
    root = ElementTree.fromstring(drawing.svg)
    width, height = number(root, "width"), number(root, "height")
    assert root.get("role") == "img" and root.get("aria-label") == drawing.words != ""
    for box in parts(drawing, "rect"):
        assert number(box, "x") >= 0 and number(box, "x") + number(box, "width") <= width + 0.1
        assert number(box, "y") >= 0 and number(box, "y") + number(box, "height") <= height
    for text in parts(drawing, "text"):
        long = len(text.text) * float(text.get("font-size")) * 0.5
        anchor = {"middle": 0.5, "end": 1.0}.get(text.get("text-anchor"), 0.0)
        left = number(text, "x") - anchor * long
        assert left >= -2 and left + long <= width + 2, text.text
        assert number(text, "y") <= height


# --- attention ------------------------------------------------------------------------------------


def test_bars_are_as_high_as_the_shares_and_every_share_is_said():
    drawing = draw_attention(["Win", "␣a", "␣free", "!"], [0.4, 0.2, 0.104, 0.0], "Where it looks")
    bars = [number(box, "height") for box in parts(drawing, "rect") if number(box, "width") == 18]
    assert bars == [24, 12, 6]  # of 60 pixels; nothing has none
    assert drawing.words == "Where it looks: Win 0.40, ␣a 0.20, ␣free 0.10"
    assert [t for t in texts(drawing) if t[0] in ".·"] == [".40", ".20", ".10", "·"]


@pytest.mark.parametrize(
    ("place", "shares", "names", "values"),
    [
        (5, SHARES, ["a", "b", f"3 × {PAD}", f"{PAD} (itself)"], [0.1, 0.2, 0.4, 0.3]),
        (None, SHARES, ["a", "b", f"4 × {PAD}"], [0.1, 0.2, 0.7]),
        (1, [0.4, 0.6, 0, 0, 0, 0], ["a", "b (itself)"], [0.4, 0.6]),  # it sees no padding
        (0, [1, 0, 0, 0, 0, 0], ["a (itself)", "b"], [1, 0]),
        (1, SHARES, ["a", "b (itself)", f"4 × {PAD}"], [0.1, 0.2, 0.7]),  # without the causal mask
    ],
)
def test_padding_is_added_up_and_the_token_that_classifies_is_told_apart(
    place, shares, names, values
):
    found = named_shares(["a", "b"], torch.tensor(shares), place)
    assert found[0] == names and found[1] == pytest.approx(values)


@pytest.mark.parametrize(
    ("padding", "names"),
    [
        ([0.7], ["a", f"{PAD} (itself)"]),
        ([0.3, 0.4], ["a", PAD, f"{PAD} (itself)"]),
    ],
)
def test_one_or_two_padding_tokens_have_no_number_before_them(padding, names):
    shares = torch.tensor([0.3, *padding])
    assert named_shares(["a"], shares, len(padding))[0] == names


def test_a_row_of_shares_is_darker_where_more_goes_and_marks_the_block_that_is_chosen():
    drawing = draw_shares({"1 × .": [0.9, 0.1, 1.0]}, "To the message", chosen=2)
    boxes = [box.get("fill") for box in parts(drawing, "rect")]
    light = [int(colour[1:3], 16) for colour in boxes]
    assert light[1] > light[0] > light[2]
    assert texts(drawing) == [
        "To the message", "block", "0", "1", "▸2", "1 × .", ".90", ".10", "1.00",
    ]  # fmt: skip
    assert drawing.words == "To the message, by block from 0: 1 × .: .90 .10 1.00"


def test_shares_that_differ_by_less_than_rounding_are_the_same_picture():
    for draw in (
        lambda share: draw_shares({"a": [share, 0.5]}, "t"),
        lambda share: draw_attention(["a", "b"], [share, 0.5], "t"),
        lambda share: draw_influence(["a", "b"], [share, -0.5], "t"),
        lambda share: draw_probabilities(share),
        lambda share: draw_after_blocks([share, 0.5]),
    ):
        assert draw(0.1201).svg == draw(0.1249).svg != draw(0.22).svg


# --- influence and answer -------------------------------------------------------------------------


def test_chips_say_direction_and_size_by_colour_by_sign_and_in_words():
    drawing = draw_influence(["Win", "␣a", "␣now"], [1.2, -0.5, 0.01], "spam 0.40", {1})
    win, a, now = (box.get("fill") for box in parts(drawing, "rect"))
    red, blue = (lambda c: int(c[1:3], 16)), (lambda c: int(c[5:7], 16))
    assert red(win) > blue(win) and blue(a) > red(a) and now == "#ffffff"
    marks = [t for t in texts(drawing) if set(t) <= set("+−·")]
    assert marks == ["+++", "−−", "·"]
    assert drawing.words == (
        "spam 0.40: Win 1.20 nats towards spam; ␣a left out; ␣now 0.01 nats towards spam"
    )
    assert len(parts(drawing, "path")) == 1  # through the one that is left out


@pytest.mark.parametrize("spam", [0.0, 0.25, 0.5, 1.0])
def test_the_bar_is_as_long_as_the_probabilities(spam):
    drawing = draw_probabilities(spam)
    ham_box, spam_box = parts(drawing, "rect")
    assert number(ham_box, "width") + number(spam_box, "width") == 360
    assert number(spam_box, "width") == pytest.approx(360 * spam, abs=1)
    assert drawing.words == f"ham {1 - spam:.2f}, spam {spam:.2f}"
    assert [t.text for t in parts(drawing, "text") if t.get("font-weight")] == [
        f"spam {spam:.2f}" if spam >= 0.5 else f"ham {1 - spam:.2f}"
    ]


def test_the_answer_after_each_block_is_a_point_for_each():
    drawing = draw_after_blocks([0.0, 1.0, 0.5])
    points = [(number(c, "cx"), number(c, "cy")) for c in parts(drawing, "circle")]
    assert points == [(58, 100), (198, 24), (338, 62)]
    assert drawing.words.endswith("0.00 after 0, 1.00 after 1, 0.50 after 2")


# --- loss -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("p", "loss"), [(1.0, "0.00"), (0.5, "0.69"), (0.1, "2.30"), (0.01, "4.61"), (1e-9, "20.72")]
)
def test_the_loss_of_a_probability_is_marked_and_said(p, loss):
    drawing = draw_loss(p)
    assert drawing.words.endswith(f"{p:g} for the correct class costs {loss}")
    (point,) = parts(drawing, "circle")
    assert number(point, "cx") == pytest.approx(62 + 470 * p, abs=0.1)
    height = min(-math.log(p), 5.0) / 5 * 220
    assert number(point, "cy") == pytest.approx(254 - height, abs=0.1)
    curve = max((path.get("d") for path in parts(drawing, "path")), key=len)
    for x, y in (map(float, pair.split(",")) for pair in re.findall(r"[\d.]+,[\d.]+", curve)):
        assert y == pytest.approx(254 + math.log(max((x - 62) / 470, 1e-9)) * 44, abs=1.5)


@pytest.mark.parametrize("p", [0, -0.1, 1.01, float("nan"), None, "half", True])
def test_what_is_no_probability_above_0_is_refused(p):
    with pytest.raises(ValueError, match="p must be a finite number above 0 to 1"):
        draw_loss(p)


@pytest.mark.parametrize("num_blocks", [6, 12, 48])
def test_the_shares_of_a_model_of_any_depth_can_be_seen(num_blocks):
    drawing = draw_shares({"1 × .": [0.9] * num_blocks, "50 × .": [0.1] * num_blocks}, "Shares", 1)
    check_that_all_can_be_seen(drawing)
    check_that_no_words_overlap(drawing)
    assert drawing.words.count(".90") == drawing.words.count(".10") == num_blocks
