"""The Message Microscope reads a message, leaves tokens out and shows what that does, without a browser."""

import re

import pytest
import torch

from helpers.classify import SpamClassifier
from helpers.config import END_OF_TEXT
from helpers.freezing import replace_head
from helpers.tokenizer import get_tokenizer
from helpers.training import class_logits
from tests.clicks import MARKS, choose, chosen, click, each, one, press, static_form, text_of
from tests.conftest import TINY, random_model
from workshop import inside
from workshop.pictures.message import token_button
from workshop.widgets import MessageMicroscope
from workshop.widgets.microscope import POSITIONS

MESSAGE = "Win a free phone now"
IDS = get_tokenizer().encode(MESSAGE)

pytestmark = MARKS


def classifier(position: str = "last", max_length: int = 12) -> SpamClassifier:
    """A tiny one with random weights, whose answers differ from message to message."""
    model = random_model(TINY, seed=1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 3
        replace_head(model).out_head.weight *= 60
    return SpamClassifier(model, max_length, position=position)


@pytest.fixture(params=["last", "last_token"])
def microscope(request) -> MessageMicroscope:
    return MessageMicroscope(classifier(request.param), MESSAGE)


def chips(microscope) -> list:
    return each(microscope, "mm-token")


def picture(microscope, css: str) -> str:
    return re.search(r'aria-label="(.*?)"', one(microscope, css).value)[1]


def check_answer(microscope, ids: list[int], num_padding: int) -> torch.Tensor:
    """The probabilities are the model's own, in the state and on the page; return them."""
    model, row = microscope.classifier.model, torch.tensor([ids + num_padding * [END_OF_TEXT]])
    expected = class_logits(model, row, microscope.position)[0].softmax(dim=-1)
    torch.testing.assert_close(microscope.probabilities, expected, atol=1e-6, rtol=0)
    words = f"ham {expected[0]:.2f}, spam {expected[1]:.2f}"
    assert picture(microscope, "mm-probability") == words
    return expected


@pytest.mark.parametrize("microscope", POSITIONS, indirect=True)
def test_each_token_is_a_chip_whose_words_mark_and_colour_agree_with_its_influence(microscope):
    assert chosen(microscope, "mm-position") == POSITIONS[microscope.position]
    assert POSITIONS[microscope.position] in picture(microscope, "mm-attention")
    check_answer(microscope, IDS, 7)
    model, row = microscope.classifier.model, IDS + 7 * [END_OF_TEXT]
    influence = inside.token_influence(model, row, microscope.position, label=1)[: len(IDS)]
    torch.testing.assert_close(microscope.influence, influence, atol=1e-6, rtol=0)
    tokens, nats = ["Win", "␣a", "␣free", "␣phone", "␣now"], influence.tolist()
    for chip, token, value in zip(chips(microscope), tokens, nats, strict=True):
        shown = chip.description, chip.tooltip, chip._dom_classes[-1]
        assert shown == token_button(token, value, False) and not chip.value
    click(microscope, "the numbers")
    assert one(microscope, "mm-table").value == inside.influence_table(tokens, nats)
    click(microscope, "what this does not show")
    assert "Wiegreffe and Pinter (2019)" in text_of(microscope, "mm-limits")


def test_a_press_leaves_a_token_out_and_a_second_restores_it(microscope):
    whole, chip = microscope.probabilities, chips(microscope)[2]
    press(chip)
    without = check_answer(microscope, IDS[:2] + IDS[3:], 7)
    change = f"without ␣free: spam {whole[1]:.2f} → {without[1]:.2f}"
    assert text_of(microscope, "mm-change").startswith(change) and microscope.left_out == (2,)
    assert chip.value and chip.description == "␣free  ✕ left out"
    assert "restore it" in chip.tooltip and "␣free" not in picture(microscope, "mm-attention")
    press(chip)
    check_answer(microscope, IDS, 7)
    assert text_of(microscope, "mm-change") == ""


def test_a_press_after_the_model_was_changed_shows_nothing_of_the_old_one(microscope):
    press(chips(microscope)[2])
    with torch.no_grad():
        microscope.classifier.model.out_head.weight *= -1
    press(chips(microscope)[4])
    expected = MessageMicroscope(microscope.classifier, MESSAGE)
    assert torch.equal(microscope.influence, expected.influence)
    for chip in (2, 4):
        press(chips(expected)[chip])
    for css in ("mm-change", "mm-probability", "mm-shares"):
        assert one(microscope, css).value == one(expected, css).value
    assert chips(microscope)[0].tooltip == chips(expected)[0].tooltip


def test_the_last_token_that_is_left_stays_and_a_sentence_says_why(microscope):
    for chip in chips(microscope):
        press(chip)
    assert "all tokens are left out" in text_of(microscope, "mm-problem")
    assert microscope.left_out == (0, 1, 2, 3) and not chips(microscope)[4].value
    press(chips(microscope)[0])
    assert text_of(microscope, "mm-problem") == "" and microscope.left_out == (1, 2, 3)
    microscope.text = "hi"
    (chip,) = chips(microscope)
    assert chip.description == "hi  ·" and chip.tooltip.startswith("the only token")


def test_several_tokens_are_left_out_until_a_button_or_another_message_brings_all_back(microscope):
    influence, gone = microscope.influence.clone(), chips(microscope)[4]
    press(gone)
    nats = re.search(r"\((.*) nats\)", text_of(microscope, "mm-change"))[1]
    assert float(nats.replace("−", "-")) == pytest.approx(-influence[4].item(), abs=0.0051)
    press(chips(microscope)[1])
    assert torch.equal(microscope.influence, influence)  # the colours stay those of the whole
    assert text_of(microscope, "mm-change").startswith("without ␣a, ␣now: spam")
    choose(microscope, "mm-padding", "10")
    assert microscope.left_out == (1, 4) and "␣a" in text_of(microscope, "mm-change")
    click(microscope, "Restore all tokens")
    assert microscope.left_out == () and not any(chip.value for chip in chips(microscope))
    microscope.text = "hi you"
    press(gone)  # by a click that was still on its way
    assert microscope.left_out == () and text_of(microscope, "mm-change") == ""


@pytest.mark.parametrize("padding", inside.PADDINGS)
def test_position_and_padding_are_those_that_the_answer_is_for(microscope, padding):
    count = 7 if padding == "as in training" else int(padding)
    choose(microscope, "mm-padding", padding)
    for name, position in (("padded end", "last"), ("last real token", "last_token")):
        choose(microscope, "mm-position", name)
        check_answer(microscope, IDS, count)
        assert microscope.position == position and chosen(microscope, "mm-position") == name
        assert f"5 tokens, then {count} of padding" in text_of(microscope, "mm-row")
        assert chosen(microscope, "mm-padding") == padding


@pytest.mark.parametrize(("block", "head"), [(0, "mean of all heads"), (0, "1"), (2, "0")])
def test_attention_is_that_of_the_classifying_token_in_the_chosen_block_and_head(
    microscope, block, head
):
    model, row = microscope.classifier.model, torch.tensor([IDS + 7 * [END_OF_TEXT]])
    steps = inside.class_after_each_block(model, row, microscope.position)[:, 1].tolist()
    after = re.findall(r"(\d\.\d\d) after (\d)", picture(microscope, "mm-after"))
    assert after == [(f"{p:.2f}", str(i)) for i, p in enumerate(steps)]
    position = 11 if microscope.position == "last" else 4
    heads = inside.attention_weights(model, row)[block, 0, :, position]  # (n_heads, n)
    choose(microscope, "mm-block", str(block))
    choose(microscope, "mm-head", head)
    shares = heads.mean(dim=0) if head.startswith("mean") else heads[int(head)]
    words = picture(microscope, "mm-attention")
    said = dict(found.rsplit(" ", 1) for found in words.split(": ", 2)[-1].split(", "))
    assert f"block {block}, " + (head if len(head) > 1 else f"head {head}") in words
    numbers = {"␣free": shares[2], "␣now (itself)": shares[4]}
    if microscope.position == "last":
        numbers = {"␣free": shares[2], "6 × &lt;|endoftext|&gt;": shares[5:11].sum()}
        numbers["&lt;|endoftext|&gt; (itself)"] = shares[11]
    for token, share in numbers.items():
        assert float(said[token]) == pytest.approx(share.item(), abs=0.0051)
    line = picture(microscope, "mm-shares").split("sum: ")[1].split()
    assert float(line[block]) == pytest.approx(shares[:5].sum().item(), abs=0.0051)
    assert f"▸{block}<" in one(microscope, "mm-shares").value


def test_an_odd_message_is_read(microscope):
    for text, count in (("<b>&amp;</b>" + "word " * 500, 12), ("<|endoftext|>", 7)):
        microscope.text = text
        assert len(chips(microscope)) == count == len(microscope.influence)
        assert text_of(microscope, "mm-unread") == ""
        assert "<b>" not in one(microscope, "mm-attention").value
    assert "7 tokens, then 5" in text_of(microscope, "mm-row")
    microscope.text = " "
    assert one(microscope, "mm-unread").value.startswith('<p role="alert">the message is empty')
    assert len(chips(microscope)) == 7  # those of the last message that can be read


def test_a_choice_that_the_model_fails_at_is_taken_back(microscope):
    before = chosen(microscope, "mm-position")
    with torch.no_grad():
        microscope.classifier.model.out_head.weight.fill_(torch.nan)
    for name in ("last real token", "padded end"):
        choose(microscope, "mm-position", name)
    choose(microscope, "mm-padding", "0")
    assert "its weights are damaged" in text_of(microscope, "mm-problem")
    assert chosen(microscope, "mm-position") == before
    assert chosen(microscope, "mm-padding") == "as in training"


def test_a_page_without_a_kernel_gets_picture_table_and_words(microscope, monkeypatch):
    press(chips(microscope)[1])
    data = static_form(microscope, monkeypatch)
    assert data["image/svg+xml"].startswith("<svg") and "␣free" in data["image/svg+xml"]
    for words in ("␣a left out", "mean of all heads", "after 0, "):
        assert words in data["text/plain"]
    assert data["text/html"].startswith("<table>")
