"""One word's attention and the causal mask are drawn with the model's own numbers.

The nano's heads do what sections 6.4 and 6.5 say of them.
"""

import re

import pytest
import torch

from helpers.loading import load_pretrained
from helpers.model import without_causal_mask
from helpers.tokenizer import get_tokenizer, text_to_token_ids, visible_tokens
from tests.drawings import (
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
from workshop.pictures.svg import BLUE, CHIP_FILL, ORANGE

NANO = load_pretrained("gpt2-nano (12M)")
LONG = "Congratulations and antidisestablishment </text> 💰"


def message(text: str) -> tuple[torch.Tensor, list[str]]:
    token_ids = text_to_token_ids(text)
    return token_ids, visible_tokens(token_ids[0].tolist(), get_tokenizer())


IDS, TOKENS = message("My sister lost her phone")


def bars(path: str) -> list[int]:
    """The heights of a strip's bars that are not 0, upwards, in whole pixels."""
    return [-int(height) for height in re.findall(r"v(-?\d+)", path)]


# --- one word's attention -------------------------------------------------------------------------


@pytest.mark.parametrize(("at", "block", "head"), [(3, 4, 3), (0, 0, 0), (4, 5, 5)])
def test_what_a_head_gathers_is_what_the_model_itself_puts_together(at, block, head):
    step = attention_step(NANO, IDS, at, block, head)
    given = {}
    hook = NANO.trf_blocks[block].att.out_proj.register_forward_pre_hook(
        lambda _, inputs: given.update(context=inputs[0])
    )
    NANO(IDS)
    hook.remove()
    heads = given["context"][0, at].reshape(6, 32)  # side by side, as out_proj takes them
    assert torch.allclose(step.gathered, heads[head], atol=1e-5)
    assert torch.allclose(step.scores.softmax(dim=0), step.weights, atol=1e-6)
    assert len(step.weights) == at + 1 and step.weights.sum() == pytest.approx(1, abs=1e-5)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in NANO.modules())


def test_without_the_causal_mask_a_token_gathers_from_those_after_it_too():
    model = without_causal_mask(load_pretrained("gpt2-nano (12M)"))
    step = attention_step(model, IDS, 1, 4, 3)
    assert len(step.weights) == 5 and step.weights.sum() == pytest.approx(1, abs=1e-5)
    drawing = draw_attention_step(model, IDS, TOKENS, 1, 4, 3)
    check_that_all_can_be_seen(drawing)
    assert all(f"{token}: score" in drawing.words for token in TOKENS)


def test_the_picture_of_attention_holds_the_steps_numbers():
    step = attention_step(NANO, IDS, 3, 4, 3)
    drawing = draw_attention_step(NANO, IDS, TOKENS, 3, 4, 3)
    check_that_all_can_be_seen(drawing)
    check_that_no_words_overlap(drawing)
    shares = [float(r.get("width")) / BAR_WIDTH for r in elements(drawing, "rect", height="16")]
    assert shares == pytest.approx(step.weights.tolist(), abs=0.006)
    percents = [f"{100 * weight:.0f} %" for weight in step.weights.tolist()]
    scores = [f"{score:.1f}".replace("-", "−") for score in step.scores.tolist()]
    assert [words for words in written(drawing) if words.endswith(" %")] == percents
    for token, score, percent in zip(TOKENS, scores, percents, strict=False):
        assert f"{token}: score {score}, weight {percent}" in drawing.words
    strips = [p for p in elements(drawing, "path") if float(p.get("stroke-width")) > 1]
    assert [strip.get("stroke") for strip in strips] == [ORANGE, *[BLUE] * 8, ORANGE]
    keys, values = step.keys.abs().max(), step.values.abs().max()
    vectors = [step.query / step.query.abs().max()]
    for key, value in zip(step.keys, step.values, strict=True):
        vectors += [key / keys, value / values]
    vectors.append(step.gathered / values)
    for strip, vector in zip(strips, vectors, strict=True):
        heights = [round(STRIP_HEIGHT / 2 * number) for number in vector.tolist()]
        assert bars(strip.get("d")) == [height for height in heights if height]


def test_the_pictures_of_the_pages_are_the_same_on_another_processor():
    """Nothing that is rounded for them lies so near an edge that an error of 1e-5 tips it."""
    rounded = []
    for block, head in ((4, 3), (1, 4)):
        step = attention_step(NANO, IDS, 3, block, head)
        for vectors, of in (
            (step.query, step.query),
            (step.keys, step.keys),
            (step.values, step.values),
            (step.gathered, step.values),
        ):
            rounded += (STRIP_HEIGHT / 2 * vectors / of.abs().max()).flatten().tolist()
        rounded += (100 * step.weights).tolist() + (10 * step.scores).tolist()
    do, _ = message("Do you have time")
    rounded += (100 * attention_weights(NANO, do)[:, 0].mean(dim=(0, 1))).flatten().tolist()
    assert min(abs(abs(number) % 1 - 0.5) for number in rounded) > 2e-4


def largest(sentence: str, word: str, block: int, head: int) -> tuple[str, int]:
    ids, tokens = message(sentence)
    at = len(tokens) - 1 - tokens[::-1].index(word)
    weights = attention_step(NANO, ids, at, block, head).weights
    return tokens[int(weights.argmax())], round(100 * weights.max().item())


def test_the_two_heads_do_in_the_sentences_of_section_6_4_what_it_says():
    assert largest("My sister lost her phone", "␣her", 4, 3) == ("␣sister", 82)
    assert largest("My sister lost her phone", "␣her", 1, 4) == ("␣lost", 89)
    for block, head, token in ((4, 3, "␣brother"), (1, 4, "␣sold")):
        found, percent = largest("My brother sold his car", "␣his", block, head)
        assert found == token and percent > 60
    assert largest("The dog chased the cat", "␣the", 1, 4)[0] == "␣chased"
    assert largest("The dog chased the cat", "␣the", 4, 3)[1] < 40


# --- the causal mask ------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["Do you have time", "Hi", LONG])
def test_each_cell_of_the_mask_says_whether_and_how_much_a_token_looks(text):
    ids, tokens = message(text)
    drawing, n = draw_mask(NANO, ids, tokens), ids.shape[1]
    check_that_all_can_be_seen(drawing)
    check_that_no_words_overlap(drawing)
    marks = [words for words in written(drawing) if re.fullmatch(r"×|\d+", words)]
    weights = attention_weights(NANO, ids)[:, 0]
    assert len(marks) == n * n
    for row in range(n):
        for column in range(n):
            here, mark = weights[:, :, row, column], marks[row * n + column]
            if column > row:
                assert mark == "×" and (here == 0).all()
            else:
                assert abs(int(mark) - 100 * here.mean().item()) < 0.51
    notes = [words for words in written(drawing) if words.startswith("sees")]
    assert notes == [f"sees {i} of {n}" for i in range(1, n)] + ["sees them all"]
    assert drawing.words.count("×") == 1 + n * (n - 1) // 2
    assert len(elements(drawing, "rect", fill=CHIP_FILL)) == n


def test_without_a_mask_every_token_would_see_them_all():
    model = load_pretrained("gpt2-nano (12M)")
    for block in model.trf_blocks:
        block.att.causal = False
    drawing = draw_mask(model, *message("Do you have time"))
    assert written(drawing).count("sees them all") == 4 and "×" not in written(drawing)


# --- what can't be drawn --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: draw_mask(NANO, IDS, TOKENS[:2]), ValueError, "give 5 tokens, .*not 2"),
        (lambda: draw_mask(NANO, IDS[0], TOKENS), ValueError, r"\(1, n\), not \(5,\)"),
        (
            lambda: draw_mask(NANO, torch.ones(1, 13, dtype=torch.long), ["a"] * 13),
            ValueError,
            "1 to 12 tokens",
        ),
        (lambda: draw_mask(NANO, [[1]], ["a"]), TypeError, "token ids must be a torch.Tensor"),
        (lambda: draw_mask(5, IDS, TOKENS), TypeError, "model must be a GPTModel, not 5"),
        (lambda: draw_attention_step(NANO, IDS, TOKENS, 5), ValueError, "at must be .*0 to 4"),
        (
            lambda: draw_attention_step(NANO, IDS, TOKENS, 3, block=6),
            ValueError,
            "block must be .*0 to 5, the last block, not 6",
        ),
        (
            lambda: draw_attention_step(NANO, IDS, TOKENS, 3, head=-1),
            ValueError,
            "head must be .*0 to 5, the last head, not -1",
        ),
        (lambda: draw_attention_step(5, IDS, TOKENS, 3), TypeError, "model must be a GPTModel"),
        (lambda: draw_attention_step(NANO, IDS, ["a"], 3), ValueError, "give 5 tokens, .*not 1"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_a_sentence(call, error, words):
    with pytest.raises(error, match=words):
        call()
