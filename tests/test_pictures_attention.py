"""One token's attention and the causal mask are drawn with the model's own numbers.

The nano's heads do what sections 6.4 and 6.5 say of them.
"""

import re

import pytest
import torch

from helpers.loading import load_pretrained
from helpers.model import without_causal_mask
from helpers.tokenizer import get_tokenizer, text_to_token_ids, visible_tokens
from tests.drawings import (
    check_chart,
    check_that_all_can_be_seen,
    check_that_no_words_overlap,
    elements,
    written,
)
from workshop.inside import attention_weights
from workshop.pictures.attention import (
    BAR_WIDTH,
    STRIP_HEIGHT,
    attention_step,
    draw_attention_step,
    draw_mask,
)

NANO = load_pretrained("gpt2-nano (12M)")
OPEN = without_causal_mask(load_pretrained("gpt2-nano (12M)"))
LONG = "Congratulations and antidisestablishment </text> 💰"


def message(text: str) -> tuple[torch.Tensor, list[str]]:
    token_ids = text_to_token_ids(text)
    return token_ids, visible_tokens(token_ids[0].tolist(), get_tokenizer())


IDS, TOKENS = message("My sister lost her phone")


@pytest.mark.parametrize(("at", "block", "head"), [(3, 4, 3), (4, 5, 0)])
def test_what_a_head_gathers_is_what_the_model_itself_puts_together(at, block, head):
    step, given = attention_step(NANO, IDS, at, block, head), []
    hook = NANO.trf_blocks[block].att.out_proj.register_forward_pre_hook(
        lambda module, inputs: given.append(inputs[0])
    )
    NANO(IDS)
    hook.remove()
    heads = given[0][0, at].reshape(6, 32)  # side by side, as out_proj takes them
    assert torch.allclose(step.gathered, heads[head], atol=1e-5)
    assert torch.allclose(step.scores.softmax(dim=0), step.weights, atol=1e-6)
    assert len(step.weights) == at + 1
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in NANO.modules())


def test_the_picture_of_attention_holds_the_steps_numbers():
    step = attention_step(NANO, IDS, 3, 4, 3)
    drawing = draw_attention_step(NANO, IDS, TOKENS, 3, 4, 3)
    check_that_all_can_be_seen(drawing)
    check_that_no_words_overlap(drawing)
    shares = [float(r.get("width")) / BAR_WIDTH for r in elements(drawing, "rect", height="16")]
    assert shares == pytest.approx(step.weights.tolist(), abs=0.006)
    lines = ["block 4, head 3: what ␣her gathers, with 32 numbers a token"]
    lines.append("the query of ␣her times each key, divided by √32, is the score:")
    for token, score, weight in zip(TOKENS, step.scores, step.weights, strict=False):
        score = f"{score:.1f}".replace("-", "−")
        assert {score, f"{100 * weight:.0f} %", token} <= {*written(drawing)}
        lines.append(f"{token}: score {score}, weight {100 * weight:.0f} %")
    assert drawing.words.startswith(
        "\n".join([*lines, "the values, each times its weight, add up"])
    )
    strips = [p.get("d") for p in elements(drawing, "path") if float(p.get("stroke-width")) > 1]
    keys, values = step.keys.abs().max(), step.values.abs().max()
    vectors = [step.query / step.query.abs().max()]
    for key, value in zip(step.keys, step.values, strict=True):
        vectors += [key / keys, value / values]
    for strip, vector in zip(strips, [*vectors, step.gathered / values], strict=True):
        heights = [round(STRIP_HEIGHT / 2 * number) for number in vector.tolist()]
        assert [-int(bar) for bar in re.findall(r"v(-?\d+)", strip)] == [h for h in heights if h]


def test_without_the_causal_mask_a_token_sees_those_after_it_too():
    assert len(attention_step(OPEN, IDS, 1, 4, 3).weights) == 5
    drawing = draw_attention_step(OPEN, IDS, TOKENS, 1, 4, 3)
    assert all(f"{token}: score" in drawing.words for token in TOKENS)
    texts = check_chart(draw_mask(OPEN, IDS, TOKENS))
    assert texts.count("sees them all") == 5 and "×" not in texts
    check_that_all_can_be_seen(draw_attention_step(NANO, *message(LONG), 10))


@pytest.mark.parametrize(
    ("sentence", "at", "block", "head", "seen"),
    [
        ("My sister lost her phone", 3, 4, 3, "␣sister"), ("My sister lost her phone", 3, 1, 4, "␣lost"),
        ("My brother sold his car", 3, 4, 3, "␣brother"), ("The dog chased the cat", 3, 1, 4, "␣chased"),
    ],
)  # fmt: skip
def test_the_two_heads_do_in_the_sentences_of_section_6_4_what_it_says(
    sentence, at, block, head, seen
):
    ids, tokens = message(sentence)
    assert tokens[attention_step(NANO, ids, at, block, head).weights.argmax()] == seen


@pytest.mark.parametrize("text", ["Do you have time", LONG])
def test_each_field_of_the_mask_says_whether_and_how_much_a_token_looks(text):
    ids, tokens = message(text)
    chart, n = draw_mask(NANO, ids, tokens), len(tokens)
    texts = check_chart(chart)
    marks = [words for words in texts if re.fullmatch(r"×|\d+", words)]
    weights = attention_weights(NANO, ids)[:, 0].mean(dim=(0, 1))
    assert len(marks) == n * n
    for i, mark in enumerate(marks):
        row, column = divmod(i, n)
        if column > row:
            assert mark == "×" and weights[row, column] == 0
        else:
            assert abs(int(mark) - 100 * weights[row, column].item()) < 0.51
            assert f"{tokens[column][:24]} {mark} %" in chart.words.splitlines()[row + 2]
    notes = [words for words in texts if words.startswith("sees")]
    assert notes == [f"sees {i} of {n}" for i in range(1, n)] + ["sees them all"]
    assert f"{tokens[-1]} sees them all: " in chart.words


@pytest.mark.proof
def test_the_pictures_of_the_pages_are_the_same_on_another_processor():
    """Nothing that is rounded for them lies so near an edge that an error of 1e-5 tips it."""
    rounded = []
    for block, head in ((4, 3), (1, 4)):
        step = attention_step(NANO, IDS, 3, block, head)
        for vectors, of in (
            (step.query, step.query), (step.keys, step.keys), (step.values, step.values),
            (step.gathered, step.values),
        ):  # fmt: skip
            rounded += (STRIP_HEIGHT / 2 * vectors / of.abs().max()).flatten().tolist()
        rounded += (100 * step.weights).tolist() + (10 * step.scores).tolist()
    do, _ = message("Do you have time")
    rounded += (100 * attention_weights(NANO, do)[:, 0].mean(dim=(0, 1))).flatten().tolist()
    assert min(abs(abs(number) % 1 - 0.5) for number in rounded) > 2e-4


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: draw_mask(NANO, IDS, TOKENS[:2]), "give 5 tokens, .*not 2"),
        (lambda: draw_mask(NANO, IDS[0], TOKENS), r"\(1, n\), not \(5,\)"),
        (lambda: draw_mask(NANO, torch.ones(1, 13).long(), ["a"] * 13), "1 to 12 tokens"),
        (lambda: draw_attention_step(NANO, IDS, TOKENS, 5), "at must be .*0 to 4"),
        (
            lambda: draw_attention_step(NANO, IDS, TOKENS, 3, block=6),
            "block must be .*0 to 5, .*not 6",
        ),
        (
            lambda: draw_attention_step(NANO, IDS, TOKENS, 3, head=-1),
            "head must be .*0 to 5, .*not -1",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_a_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()
