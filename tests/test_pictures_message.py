"""Pictures of one message: chips are as dark as their numbers, and all is said in words."""

import math

import pytest
import torch

from helpers.tokenizer import get_tokenizer, visible_tokens
from tests.drawings import check_drawing, elements, written
from workshop.pictures import message
from workshop.pictures.message import draw_attention, draw_influence, draw_tokens

PAD, SHARES = "<|endoftext|>", [0.1, 0.2, 0.2, 0.1, 0.1, 0.3]
TOKENS = ["Win", "␣a", "␣free", "<b>", "␣x" * 30]


@pytest.mark.parametrize("text", ["</text> &amp; tinyurl 💰数字\x00", "word " * 400])
def test_each_token_has_a_box_with_its_id_below_it(text):
    drawing = draw_tokens([text, "ok"])
    said, ids, pairs = " ".join(check_drawing(drawing)), get_tokenizer().encode(text), []
    for token, token_id in zip(visible_tokens(ids, get_tokenizer()), ids, strict=True):
        pairs.append(f"{token} {token_id}")
    shown = len(elements(drawing, "rect", height="19")) - 1  # the other one is "ok"
    assert said.startswith(f"{len(ids):,} tokens {' '.join(pairs[:shown])} ") and shown > 5
    assert (f" … {len(ids) - shown:,} more " in said) == (shown < len(ids))
    assert said.count("⟨ ⟩ holds the bytes") == ("⟨" in "".join(pairs))
    title = f"{len(ids):,} tokens"
    assert drawing.words.splitlines() == [f"{title}: {', '.join(pairs)}", "1 token: ok 482"]


def test_chips_are_as_dark_as_the_shares_and_every_share_is_said():
    drawing = draw_attention(["Win", "␣a", "␣free", "!"], [0.4, 0.2, 0.104, 0.0], "Where it looks")
    assert drawing.words == "Where it looks: Win 0.40, ␣a 0.20, ␣free 0.10"
    assert [t for t in written(drawing) if t[0] in ".·"] == [".40", ".20", ".10", "·"]
    fills = [box.get("fill") for box in elements(drawing, "rect", height="19")]
    assert fills == ["#c4ddee", "#e2eef6", "#f0f7fb", "#ffffff"]
    check_drawing(draw_attention(TOKENS * 8, [0.5, 0.3, 0.2, 0, 0] * 8, "Long"))


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


def test_chips_say_direction_and_size_by_colour_by_sign_and_in_words():
    influences = [1.2, -0.5, 0.01, 0.1, math.nan]
    drawing = draw_influence(TOKENS, influences, "spam 0.40", {1})
    check_drawing(drawing)
    fills = [box.get("fill") for box in elements(drawing, "rect", rx="4")]
    assert fills == ["#e28e4d", "#a1c9e3", "#ffffff", "#f7dfcc", "#ffffff"]
    assert [t for t in written(drawing) if set(t) <= set("+−·✕")] == ["+++", "✕", "·", "+", "·"]
    assert drawing.words == (
        "spam 0.40: Win 1.20 nats towards spam; ␣a left out; ␣free 0.01 nats towards spam; <b> 0.10 "
        f"nats towards spam; {TOKENS[4]} the only token"
    )


def test_the_curve_has_the_height_of_the_probabilities():
    drawing = message.draw_after_blocks([0.0, 1.0, 0.5])
    check_drawing(message.draw_after_blocks([0.5] * 49))
    points = [(disc.get("cx"), disc.get("cy")) for disc in elements(drawing, "circle")]
    assert points == [("58", "100"), ("198", "24"), ("338", "62")]
    assert drawing.words.endswith("reads after: 0.00 after 0, 1.00 after 1, 0.50 after 2")
