"""Pictures of one message: bars and chips are as long and as dark as their numbers, and all is said
in words.
"""

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
from workshop.pictures.message import (
    chip_class,
    chip_colours,
    chip_hint,
    chip_words,
    draw_after_blocks,
    draw_attention,
    draw_influence,
    draw_probabilities,
    draw_shares,
    draw_tokens,
    named_shares,
)
from workshop.pictures.svg import CHIP_FILL

PAD, SHARES = "<|endoftext|>", [0.1, 0.2, 0.2, 0.1, 0.1, 0.3]
TOKENS = ["Win", "␣a", "␣free", "<b>", "␣x" * 30]


def numbers(drawing, kind: str, name: str) -> list[float]:
    """An attribute of all shapes of a kind, without the paper."""
    return [float(e.get(name)) for e in elements(drawing, kind) if e.get("class") != "paper"]


@pytest.mark.parametrize(
    "text", ["Congratulations!! tinyurl 💰", "</text> &amp; 数字\x00", "word " * 400]
)
def test_each_token_has_a_box_with_its_id_below_it(text):
    drawing = draw_tokens([text, "x" * 300])
    check_that_all_can_be_seen(drawing)
    check_that_no_words_overlap(drawing)
    ids, (line, _) = get_tokenizer().encode(text), drawing.words.splitlines()
    tokens = [token[:24] for token in visible_tokens(ids, get_tokenizer())]
    said, shown = written(drawing), min(len(ids), line.count(", ") + (len(ids) < 100))
    assert said[0] == f"{len(ids):,} tokens" and line.startswith(said[0])
    pairs = list(zip(said[1 : 1 + 2 * shown : 2], said[2 : 2 + 2 * shown : 2], strict=True))
    assert pairs == list(zip(tokens, map(str, ids), strict=True))[:shown]
    assert (f"… {len(ids) - shown:,} more" in said) == (shown < len(ids))
    assert all(f"{token} {token_id}" in line for token, token_id in pairs)


def test_a_piece_that_continues_a_word_has_a_dashed_border_and_is_said_to():
    drawing = draw_tokens(["do u hav time", "Congratulations!! tinyurl"])
    dashed = [chip.get("stroke-dasharray") for chip in elements(drawing, "rect", fill=CHIP_FILL)]
    assert [bool(dash) for dash in dashed] == [False] * 3 + [True] + [False] * 4 + [True]
    assert "v 85 (goes on with the word before it), ␣time 640\n7 tokens" in drawing.words.replace(
        "4 tokens", "7 tokens"
    )
    assert "dashed border: goes on with the word before it" in written(drawing)
    for texts in ([], "Do you", ["  "]):
        with pytest.raises(ValueError, match=r"at least one text|the message is empty"):
            draw_tokens(texts)


def test_bars_are_as_high_as_the_shares_and_every_share_is_said():
    drawing = draw_attention(["Win", "␣a", "␣free", "!"], [0.4, 0.2, 0.104, 0.0], "Where it looks")
    assert numbers(drawing, "rect", "height") == [24, 19, 12, 19, 6, 19, 19]  # 60 is all
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
        (3, SHARES[:4], ["a", "b", PAD, f"{PAD} (itself)"], [0.1, 0.2, 0.2, 0.1]),
        (2, SHARES[:3], ["a", "b", f"{PAD} (itself)"], [0.1, 0.2, 0.2]),
        (None, SHARES, ["a", "b", f"4 × {PAD}"], [0.1, 0.2, 0.7]),
        (1, [0.4, 0.6, 0, 0, 0, 0], ["a", "b (itself)"], [0.4, 0.6]),  # it sees no padding
        (1, SHARES, ["a", "b (itself)", f"4 × {PAD}"], [0.1, 0.2, 0.7]),  # without the causal mask
    ],
)
def test_padding_is_added_up_and_the_token_that_classifies_is_marked(place, shares, names, values):
    found = named_shares(["a", "b"], torch.tensor(shares), place)
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
    assert [t for t in written(drawing) if set(t) <= set("+−·")] == ["+++", "−−", "·", "+", "·"]
    assert drawing.words == (
        "spam 0.40: Win 1.20 nats towards spam; ␣a left out; ␣free 0.01 nats towards spam; <b> 0.10 "
        f"nats towards spam; {TOKENS[4]} the only token"
    )
    assert len(elements(drawing, "path")) == 1  # through the one that is left out
    assert chip_words("␣now", -3.0, False) == "␣now  −−−" and "✕ left out" in chip_words(
        "a", 1, True
    )
    assert chip_hint(0.001, True) == "0.00 nats; press to bring it back"
    assert [chip_class(value) for value in influences[:3]] == [
        "mm-spam-3",
        "mm-ham-2",
        "mm-neither",
    ]
    assert (
        ".mm-ham-2 { background: #a1c9e3; border-color: #2e86c1; border-bottom-width: 5px; }"
        in (chip_colours())
    )


@pytest.mark.parametrize("spam", [0.0, 0.25, 0.5, 1.0])
def test_the_bar_is_as_long_as_the_probabilities(spam):
    drawing = draw_probabilities(spam)
    assert numbers(drawing, "rect", "width") == [360 * (1 - spam), 360 * spam]
    assert drawing.words == f"ham {1 - spam:.2f}, spam {spam:.2f}" == ", ".join(written(drawing))
    (bold,) = elements(drawing, "text", **{"font-weight": "bold"})
    assert bold.text.startswith("spam" if spam >= 0.5 else "ham")


def test_the_probability_after_each_block_is_a_point_for_each():
    drawing = draw_after_blocks([0.0, 1.0, 0.5])
    check_that_all_can_be_seen(draw_after_blocks([0.5] * 49))
    points = zip(numbers(drawing, "circle", "cx"), numbers(drawing, "circle", "cy"), strict=True)
    assert list(points) == [(58, 100), (198, 24), (338, 62)]
    assert drawing.words == (
        "probability of spam by the number of blocks that the head reads after: 0.00 after 0, 1.00 "
        "after 1, 0.50 after 2"
    )


def test_numbers_that_differ_by_less_than_rounding_are_the_same_picture():
    for draw in (
        lambda share: draw_shares({"a": [share, 0.5]}, "t"),
        lambda share: draw_attention(["a", "b"], [share, 0.5], "t"),
        lambda share: draw_influence(["a", "b"], [share, -0.5], "t"),
        lambda share: draw_probabilities(share),
        lambda share: draw_after_blocks([share, 0.5]),
    ):
        assert draw(0.1201).svg == draw(0.1249).svg != draw(0.22).svg
