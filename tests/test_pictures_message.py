"""Pictures of one message: chips are as dark as their numbers, and all is said in words."""

import math

import pytest
import torch

from helpers.tokenizer import get_tokenizer, visible_tokens
from tests.drawings import (
    check_that_all_can_be_seen,
    check_that_no_words_overlap,
    elements,
    written,
)
from workshop.pictures import message
from workshop.pictures.message import draw_attention, draw_influence, draw_shares, draw_tokens

PAD, SHARES = "<|endoftext|>", [0.1, 0.2, 0.2, 0.1, 0.1, 0.3]
TOKENS = ["Win", "␣a", "␣free", "<b>", "␣x" * 30]


def numbers(drawing, kind: str, name: str) -> list[float]:
    """An attribute of all shapes of a kind, without the paper."""
    return [float(e.get(name)) for e in elements(drawing, kind) if e.get("class") != "paper"]


@pytest.mark.parametrize("text", ["</text> &amp; tinyurl 💰数字\x00", "word " * 400])
def test_each_token_has_a_box_with_its_id_below_it(text):
    drawing = draw_tokens([text, "x" * 300])
    check_that_all_can_be_seen(drawing)
    check_that_no_words_overlap(drawing)
    ids, said = get_tokenizer().encode(text), written(drawing)
    tokens = visible_tokens(ids, get_tokenizer())
    shown = said.index(f"{len(get_tokenizer().encode('x' * 300))} tokens") - 1
    shown = (shown - len({"… ", "⟨ "} & {line[:2] for line in said[: shown + 1]})) // 2
    pairs = list(zip(said[1 : 1 + 2 * shown : 2], said[2 : 2 + 2 * shown : 2], strict=True))
    assert pairs == list(zip(tokens, map(str, ids), strict=True))[:shown] != []
    assert (f"… {len(ids) - shown:,} more" in said) == (shown < len(ids))
    all_of_it = ", ".join(f"{token} {number}" for token, number in zip(tokens, ids, strict=True))
    line = drawing.words.splitlines()[0]
    assert line == f"{said[0]}: {all_of_it}" and said[0] == f"{len(ids):,} tokens"


def test_chips_are_as_dark_as_the_shares_and_every_share_is_said():
    drawing = draw_attention(["Win", "␣a", "␣free", "!"], [0.4, 0.2, 0.104, 0.0], "Where it looks")
    assert drawing.words == "Where it looks: Win 0.40, ␣a 0.20, ␣free 0.10"
    assert [t for t in written(drawing) if t[0] in ".·"] == [".40", ".20", ".10", "·"]
    fills = [box.get("fill") for box in elements(drawing, "rect", height="19")]
    assert fills == ["#c4ddee", "#e2eef6", "#f0f7fb", "#ffffff"]
    drawing = draw_attention(TOKENS * 8, [0.5, 0.3, 0.2, 0, 0] * 8, "Long")
    check_that_all_can_be_seen(drawing)
    check_that_no_words_overlap(drawing)


@pytest.mark.parametrize(
    ("place", "shares", "names", "values"),
    [
        (5, SHARES, ["a", "b", f"3 × {PAD}", f"{PAD} (itself)"], [0.1, 0.2, 0.4, 0.3]),
        (2, SHARES[:3], ["a", "b", f"{PAD} (itself)"], [0.1, 0.2, 0.2]),
        (None, SHARES, ["a", "b", f"4 × {PAD}"], [0.1, 0.2, 0.7]),
        (1, [0.4, 0.6, 0, 0, 0, 0], ["a", "b (itself)"], [0.4, 0.6]),  # it sees no padding
    ],
)
def test_padding_is_added_up_and_the_token_that_classifies_is_marked(place, shares, names, values):
    found = message.named_shares(["a", "b"], torch.tensor(shares), place)
    assert found[0] == names and found[1] == pytest.approx(values)


def test_a_row_of_shares_is_darker_where_more_goes_and_marks_the_chosen_block():
    drawing = draw_shares({"1 × .": [0.9, 0.1, 1.0]}, "To the message", chosen=2)
    light = [int(box.get("fill")[1:3], 16) for box in elements(drawing, "rect", height="27")]
    assert light[1] > light[0] > light[2]
    shown = ["To the message", "block", "0", "1", "▸2", "1 × .", ".90", ".10", "1.00"]
    assert written(drawing) == shown
    assert drawing.words == "To the message, by block from 0: 1 × .: .90 .10 1.00"
    for num_blocks in (12, 48):
        drawing = draw_shares({"1 × .": [0.9] * num_blocks, "50 × .": [0.1] * num_blocks}, "S", 1)
        check_that_all_can_be_seen(drawing)
        check_that_no_words_overlap(drawing)
        assert drawing.words.count(".90") == num_blocks


def test_chips_say_direction_and_size_by_colour_by_sign_and_in_words():
    influences = [1.2, -0.5, 0.01, 0.1, math.nan]
    drawing = draw_influence(TOKENS, influences, "spam 0.40", {1})
    check_that_all_can_be_seen(drawing)
    fills = [box.get("fill") for box in elements(drawing, "rect", rx="4")]
    assert fills == ["#e28e4d", "#a1c9e3", "#ffffff", "#f7dfcc", "#ffffff"]
    assert [t for t in written(drawing) if set(t) <= set("+−·✕")] == ["+++", "✕", "·", "+", "·"]
    assert drawing.words == (
        "spam 0.40: Win 1.20 nats towards spam; ␣a left out; ␣free 0.01 nats towards spam; <b> 0.10 "
        f"nats towards spam; {TOKENS[4]} the only token"
    )
    assert message.chip_words("␣now", -3.0, False) == "␣now  −−−"
    assert "✕ left out" in message.chip_words("a", 1, True)
    assert message.chip_hint(0.001, True) == "0.00 nats; press to bring it back"
    classes = ["mm-spam-3", "mm-ham-2", "mm-neither"]
    assert [message.chip_class(value) for value in influences[:3]] == classes
    rule = "{ background: #a1c9e3; border-color: #2e86c1; border-bottom-width: 5px; }"
    assert f".mm-ham-2 {rule}" in message.chip_colours()


def test_bar_and_curve_have_the_length_and_height_of_the_probabilities():
    for spam in (0.0, 0.25, 0.5, 1.0):
        drawing = message.draw_probabilities(spam)
        assert numbers(drawing, "rect", "width") == [360 * (1 - spam), 360 * spam]
        words = f"ham {1 - spam:.2f}, spam {spam:.2f}"
        assert drawing.words == words == ", ".join(written(drawing))
        (bold,) = elements(drawing, "text", **{"font-weight": "bold"})
        assert bold.text.startswith("spam" if spam >= 0.5 else "ham")
    drawing = message.draw_after_blocks([0.0, 1.0, 0.5])
    check_that_all_can_be_seen(message.draw_after_blocks([0.5] * 49))
    points = zip(numbers(drawing, "circle", "cx"), numbers(drawing, "circle", "cy"), strict=True)
    assert list(points) == [(58, 100), (198, 24), (338, 62)]
    assert drawing.words.endswith("reads after: 0.00 after 0, 1.00 after 1, 0.50 after 2")
