"""The Message Microscope reads a message, leaves tokens out and shows what that does, without a browser."""

import random
import re

import pytest
import torch

from helpers.classify import SpamClassifier
from helpers.config import END_OF_TEXT
from helpers.freezing import replace_head
from helpers.tokenizer import get_tokenizer
from helpers.training import class_probabilities
from tests.clicks import choose, chosen, click, each, one, press, rows, static_form, text_of
from tests.conftest import TINY, random_model
from workshop.inside import (
    PADDINGS,
    attention_weights,
    class_after_each_block,
    token_influence,
)
from workshop.pictures.message import chip_class, mark, say_influence
from workshop.widgets import MessageMicroscope

MESSAGE = "Win a free phone now"
IDS = get_tokenizer().encode(MESSAGE)

pytestmark = [
    pytest.mark.usefixtures("no_callback_fails"),
    pytest.mark.filterwarnings("ignore:The `ipykernel.comm.Comm` class:DeprecationWarning"),
]


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


def spam_of(microscope) -> str:
    return picture(microscope, "mm-probability")


# --- a message ------------------------------------------------------------------------------------


def test_each_token_is_a_chip_whose_words_mark_and_colour_agree_with_its_influence(microscope):
    expected = microscope.classifier.probabilities([MESSAGE])[0]
    torch.testing.assert_close(microscope.probabilities, expected, atol=1e-6, rtol=0)
    assert spam_of(microscope) == f"ham {expected[0]:.2f}, spam {expected[1]:.2f}"
    row = IDS + [END_OF_TEXT] * (12 - len(IDS))
    influence = token_influence(microscope.classifier.model, row, microscope.position)[: len(IDS)]
    if microscope.probabilities.argmax() == 0:
        influence = -influence
    torch.testing.assert_close(microscope.influence, influence, atol=1e-6, rtol=0)
    assert influence.abs().max() > 0.1
    tokens = ["Win", "␣a", "␣free", "␣phone", "␣now"]
    for chip, token, value in zip(chips(microscope), tokens, influence.tolist(), strict=True):
        assert chip.description == f"{token}  {mark(value)}" and not chip.value
        assert chip_class(value) in chip._dom_classes
        assert chip.tooltip == f"{say_influence(value)}; press to leave it out"


# --- a token left out -----------------------------------------------------------------------------


def test_a_press_leaves_a_token_out_and_a_second_brings_it_back(microscope):
    whole, before, chip = microscope.probabilities, spam_of(microscope), chips(microscope)[2]
    press(chip)
    row = torch.tensor([IDS[:2] + IDS[3:] + [END_OF_TEXT] * (12 - len(IDS))])
    expected = class_probabilities(microscope.classifier.model, row, microscope.position)[0]
    torch.testing.assert_close(microscope.probabilities, expected, atol=1e-6, rtol=0)
    change = f"without ␣free: spam {whole[1]:.2f} → {expected[1]:.2f}"
    assert text_of(microscope, "mm-change").startswith(change) and microscope.left_out == (2,)
    assert chip.value and chip.description == "␣free  ✕ left out"
    assert "bring it back" in chip.tooltip and "␣free" not in picture(microscope, "mm-attention")
    press(chip)
    assert spam_of(microscope) == before and text_of(microscope, "mm-change") == ""
    assert chip.description.startswith("␣free  ") and "left out" not in chip.description


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
    press(chip)
    assert "all tokens are left out" in text_of(microscope, "mm-problem") and not chip.value


def test_several_presses_leave_out_several_until_a_button_or_another_message_brings_all_back(
    microscope,
):
    influence, gone = microscope.influence.clone(), chips(microscope)[4]
    press(gone)
    nats = re.search(r"\((.*) nats\)", text_of(microscope, "mm-change"))[1]
    assert float(nats.replace("−", "-")) == pytest.approx(-influence[4].item(), abs=0.0051)
    press(chips(microscope)[1])
    assert torch.equal(microscope.influence, influence)  # the colours stay those of the whole
    assert microscope.left_out == (1, 4)
    assert text_of(microscope, "mm-change").startswith("without ␣a, ␣now: spam")
    click(microscope, "Bring all back")
    assert microscope.left_out == () and not any(chip.value for chip in chips(microscope))
    press(chips(microscope)[1])
    choose(microscope, "mm-padding", "10")
    assert microscope.left_out == (1,) and "␣a" in text_of(microscope, "mm-change")
    microscope.text = "hi you"
    press(gone)  # by a click that was still on its way
    assert microscope.left_out == () and text_of(microscope, "mm-change") == ""


# --- position, padding, block and head ------------------------------------------------------------


@pytest.mark.parametrize("padding", PADDINGS)
def test_position_and_padding_are_those_that_the_answer_is_for(microscope, padding):
    count = 12 - len(IDS) if padding == "as in training" else int(padding)
    choose(microscope, "mm-padding", padding)
    for name, position in (("padded end", "last"), ("last real token", "last_token")):
        choose(microscope, "mm-position", name)
        row = torch.tensor([IDS + count * [END_OF_TEXT]])
        expected = class_probabilities(microscope.classifier.model, row, position)[0]
        torch.testing.assert_close(microscope.probabilities, expected, atol=1e-6, rtol=0)
        assert microscope.position == position and chosen(microscope, "mm-position") == name
        assert f"5 tokens, then {count} of padding" in text_of(microscope, "mm-row")
        assert chosen(microscope, "mm-padding") == padding


def test_attention_is_that_of_the_classifying_token_in_the_chosen_block_and_head(microscope):
    model, row = microscope.classifier.model, torch.tensor([IDS + 7 * [END_OF_TEXT]])
    steps = class_after_each_block(model, row, microscope.position)[:, 1].tolist()
    after = re.findall(r"(\d\.\d\d) after (\d)", picture(microscope, "mm-after"))
    assert after == [(f"{p:.2f}", str(i)) for i, p in enumerate(steps)]
    weights = attention_weights(model, row)[:, 0]  # (n_layers, n_heads, n, n)
    position = 11 if microscope.position == "last" else 4
    for block, name in ((0, "mean of all heads"), (0, "1"), (2, "0")):
        choose(microscope, "mm-block", str(block))
        choose(microscope, "mm-head", name)
        heads = weights[block, :, position]
        shares = heads.mean(dim=0) if name.startswith("mean") else heads[int(name)]
        words = picture(microscope, "mm-attention")
        said = dict(found.rsplit(" ", 1) for found in words.split(": ", 2)[-1].split(", "))
        assert f"block {block}, " + (name if len(name) > 1 else f"head {name}") in words
        assert float(said["␣free"]) == pytest.approx(shares[2].item(), abs=0.0051)
        if microscope.position == "last":
            padding = float(said["6 × &lt;|endoftext|&gt;"])
            assert padding == pytest.approx(shares[5:11].sum().item(), abs=0.0051)
            assert "&lt;|endoftext|&gt; (itself)" in said
        else:
            assert "␣now (itself)" in said and len(said) == 5
        line = picture(microscope, "mm-shares").split("share: ")[1].split()
        assert float(line[block]) == pytest.approx(shares[:5].sum().item(), abs=0.0051)
        assert f"▸{block}<" in one(microscope, "mm-shares").value


@pytest.mark.parametrize(("position", "name"), [("first", "first token"), ("mean", "mean of all")])
def test_a_classifier_of_another_position_has_that_one_to_choose_too(position, name):
    microscope = MessageMicroscope(classifier(position), MESSAGE)
    assert chosen(microscope, "mm-position") == name and microscope.position == position
    expected = microscope.classifier.probabilities([MESSAGE])[0]
    torch.testing.assert_close(microscope.probabilities, expected, atol=1e-6, rtol=0)
    assert name in picture(microscope, "mm-attention")
    choose(microscope, "mm-position", "padded end")
    assert microscope.position == "last" and text_of(microscope, "mm-problem") == ""


# --- what may be typed ----------------------------------------------------------------------------


def test_an_odd_message_is_read(microscope):
    for text, count, words in (
        ("<b>&amp;</b>" + "word " * 500, 12, "The message has "),
        ("😀", 2, "only a part of a character"),
        ("<|endoftext|>", 7, "7 tokens, then 5"),
    ):
        microscope.text = text
        assert len(chips(microscope)) == count and words in text_of(microscope, "mm-row")
        assert text_of(microscope, "mm-unread") == "" and len(microscope.influence) == count
        assert "<b>" not in one(microscope, "mm-attention").value


def test_an_empty_message_gets_a_sentence_and_the_last_one_stays(microscope):
    before, tokens = spam_of(microscope), len(chips(microscope))
    microscope.text = " \n"
    assert "the message is empty" in text_of(microscope, "mm-unread")
    assert '<p role="alert">' in one(microscope, "mm-unread").value
    assert spam_of(microscope) == before and len(chips(microscope)) == tokens
    microscope.text = "hello you"
    assert text_of(microscope, "mm-unread") == "" and len(chips(microscope)) == 2


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


# --- what is shown --------------------------------------------------------------------------------


def test_the_numbers_are_a_press_away_and_so_is_what_they_do_not_show(microscope):
    click(microscope, "the numbers")
    for row, nats in zip(rows(microscope, "mm-table"), microscope.influence.tolist(), strict=True):
        assert row[1] == mark(nats)
        assert float(row[2].replace("−", "-")) == pytest.approx(nats, abs=0.0051)
    click(microscope, "what this does not show")
    assert "Wiegreffe and Pinter (2019)" in text_of(microscope, "mm-limits")


def test_a_page_without_a_kernel_gets_picture_table_and_words(microscope, monkeypatch):
    press(chips(microscope)[1])
    data = static_form(microscope, monkeypatch)
    assert data["image/svg+xml"].startswith("<svg") and "␣free" in data["image/svg+xml"]
    for words in ("␣a left out", "mean of all heads", "after 0, "):
        assert words in data["text/plain"], words
    assert data["text/html"].startswith("<table>") and "<td>" in data["text/html"]
    small = MessageMicroscope(microscope.classifier, MESSAGE, small=True)
    assert each(small, "mm-head") == each(small, "mm-after") == []
    assert one(small, "mm-tokens") and one(small, "mm-attention") and one(small, "mm-padding")
    assert "after 0, " not in static_form(small, monkeypatch)["text/plain"]


def shown_by(microscope) -> dict[str, object]:
    """All that a learner sees of the message and its answer."""
    click(microscope, "the numbers")
    names = ("row", "probability", "change", "attention", "shares", "after", "table")
    found = {name: one(microscope, f"mm-{name}").value for name in names}
    click(microscope, "the numbers")
    for i, chip in enumerate(chips(microscope)):
        found[i] = chip.description, chip.tooltip, chip.value, sorted(chip._dom_classes)
    return found


@pytest.mark.parametrize("presses", [60, pytest.param(600, marks=pytest.mark.proof)])
def test_after_random_clicks_what_is_shown_is_what_a_new_one_would_show(presses):
    rng, whole = random.Random(0), classifier()
    microscope = MessageMicroscope(whole, MESSAGE)
    texts = (MESSAGE, "hi", " ", "", "you won 😀", "x" * 300, "call me later")
    readable = MESSAGE
    for number in range(presses):
        kind = rng.choice(["text", "chip", "chip", "chip", "block", "head", "position", "padding"])
        if kind == "text":
            microscope.text = rng.choice(texts)
            readable = microscope.text if microscope.text.strip() else readable
        elif kind == "chip":
            press(rng.choice(chips(microscope)))
        else:
            press(rng.choice(each(one(microscope, f"mm-{kind}"), "fx-choice")))
        print(kind)  # pytest shows this only where the test fails
        pressed = tuple(i for i, chip in enumerate(chips(microscope)) if chip.value)
        assert microscope.left_out == pressed and len(pressed) < len(chips(microscope))
        unread = text_of(microscope, "mm-unread")
        assert ("the message is empty" in unread) == (not microscope.text.strip())
        if number % 8:  # a new one takes a while
            continue
        new = MessageMicroscope(whole, readable)
        for css in ("mm-block", "mm-head", "mm-position", "mm-padding"):
            choose(new, css, chosen(microscope, css))
        for i in pressed:
            press(chips(new)[i])
        assert shown_by(microscope) == shown_by(new)
