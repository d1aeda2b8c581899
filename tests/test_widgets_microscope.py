"""The Message Microscope reads a message, leaves tokens out and shows what that does, without a browser."""

import random
import re
import warnings

import pytest
import torch

from helpers.classify import SpamClassifier
from helpers.config import END_OF_TEXT
from helpers.freezing import replace_head
from helpers.model import without_causal_mask
from helpers.tokenizer import get_tokenizer
from helpers.training import class_probabilities
from tests.clicks import choose, chosen, click, each, one, press, rows, static_form, text_of
from tests.conftest import TINY, random_model
from workshop.inside import (
    PADDINGS,
    attention_weights,
    class_after_each_block,
    influence_on_spam,
    read_message,
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


def test_the_answer_is_the_classifiers(microscope):
    expected = microscope.classifier.probabilities([MESSAGE])[0]
    torch.testing.assert_close(microscope.probabilities, expected, atol=1e-6, rtol=0)
    assert spam_of(microscope) == f"ham {expected[0]:.2f}, spam {expected[1]:.2f}"
    assert microscope.text == MESSAGE and microscope.position == microscope.classifier.position


def test_each_token_is_a_chip_whose_words_mark_and_colour_agree_with_its_influence(microscope):
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


def test_another_message_uses_the_same_buttons_again(microscope):
    before = chips(microscope)
    microscope.text = "Win a free phone now, you lucky one"
    assert chips(microscope)[:5] == before and len(chips(microscope)) == 9
    microscope.text = "hi"
    assert chips(microscope) == before[:1] and before[0].description.startswith("hi")
    colours = [
        css for css in before[0]._dom_classes if css.startswith(("mm-spam", "mm-ham", "mm-n"))
    ]
    assert len(colours) == 1


# --- a token left out -----------------------------------------------------------------------------


def test_a_press_leaves_a_token_out_and_a_second_brings_it_back(microscope):
    whole, model = microscope.probabilities, microscope.classifier.model
    before = spam_of(microscope)
    press(chips(microscope)[2])
    row = IDS[:2] + IDS[3:] + [END_OF_TEXT] * (12 - len(IDS))
    expected = class_probabilities(model, torch.tensor([row]), microscope.position)[0]
    torch.testing.assert_close(microscope.probabilities, expected, atol=1e-6, rtol=0)
    change = f"without ␣free: spam {whole[1]:.2f} → {expected[1]:.2f}"
    assert text_of(microscope, "mm-change").startswith(change) and microscope.left_out == (2,)
    chip = chips(microscope)[2]
    assert chip.value and chip.description == "␣free  ✕ left out"
    assert "bring it back" in chip.tooltip and "␣free" not in picture(microscope, "mm-attention")
    press(chip)
    assert spam_of(microscope) == before and text_of(microscope, "mm-change") == ""
    assert chip.description.startswith("␣free  ") and "left out" not in chip.description


def test_a_press_does_what_the_chip_had_said(microscope):
    influence = microscope.influence.clone()
    for i, chip in enumerate(chips(microscope)):
        press(chip)
        nats = re.search(r"\((.*) nats\)", text_of(microscope, "mm-change"))[1]
        assert float(nats.replace("−", "-")) == pytest.approx(-influence[i].item(), abs=0.0051)
        press(chip)
    assert torch.equal(microscope.influence, influence)  # the colours stay those of the whole


def test_several_presses_leave_out_several_and_one_button_brings_them_back(microscope):
    for i in (4, 1):
        press(chips(microscope)[i])
    assert microscope.left_out == (1, 4)
    assert text_of(microscope, "mm-change").startswith("without ␣a, ␣now: spam")
    click(microscope, "Bring all back")
    assert microscope.left_out == () and not any(chip.value for chip in chips(microscope))


def test_the_last_token_that_is_left_stays_and_a_sentence_says_why(microscope):
    for chip in chips(microscope):
        press(chip)
    assert "all tokens are left out" in text_of(microscope, "mm-problem")
    assert microscope.left_out == (0, 1, 2, 3) and not chips(microscope)[4].value
    press(chips(microscope)[0])
    assert text_of(microscope, "mm-problem") == "" and microscope.left_out == (1, 2, 3)


def test_another_message_is_whole_and_other_padding_keeps_what_is_left_out(microscope):
    gone = chips(microscope)[4]
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


def test_without_the_causal_mask_the_padding_that_the_last_real_token_sees_is_shown():
    whole = classifier("last_token")
    without_causal_mask(whole.model)
    microscope = MessageMicroscope(whole, MESSAGE)
    expected = whole.probabilities([MESSAGE])[0]
    torch.testing.assert_close(microscope.probabilities, expected, atol=1e-6, rtol=0)
    assert "7 × &lt;|endoftext|&gt;" in picture(microscope, "mm-attention")


def test_the_answer_after_each_block_is_said(microscope):
    row = torch.tensor([IDS + 7 * [END_OF_TEXT]])
    steps = class_after_each_block(microscope.classifier.model, row, microscope.position)[:, 1]
    said = re.findall(r"(\d\.\d\d) after (\d)", picture(microscope, "mm-after"))
    assert said == [(f"{p:.2f}", str(i)) for i, p in enumerate(steps.tolist())]


@pytest.mark.parametrize(("position", "name"), [("first", "first token"), ("mean", "mean of all")])
def test_a_classifier_of_another_position_has_that_one_to_choose_too(position, name):
    microscope = MessageMicroscope(classifier(position), MESSAGE)
    assert chosen(microscope, "mm-position") == name and microscope.position == position
    expected = microscope.classifier.probabilities([MESSAGE])[0]
    torch.testing.assert_close(microscope.probabilities, expected, atol=1e-6, rtol=0)
    assert name in picture(microscope, "mm-attention")
    choose(microscope, "mm-position", "padded end")
    assert microscope.position == "last" and text_of(microscope, "mm-problem") == ""


def test_small_leaves_out_the_heads_and_the_answer_after_each_block():
    microscope = MessageMicroscope(classifier(), MESSAGE, small=True)
    assert each(microscope, "mm-head") == each(microscope, "mm-after") == []
    for css in ("mm-tokens", "mm-probability", "mm-attention", "mm-shares", "mm-padding"):
        assert len(each(microscope, css)) == 1, css


# --- what may be typed ----------------------------------------------------------------------------

ODD = {
    "one token": ("hi", 1, "1 token, then 11 of padding"),
    "markup": ("<b>&amp;</b><script>alert(1)</script>", 12, "reads the first 12"),
    "an emoji": ("😀", 2, "only a part of a character"),
    "longer than the context": ("word " * 500, 12, "The message has 501 tokens"),
    "the mark of the end": ("<|endoftext|>", 7, "7 tokens, then 5"),
}


@pytest.mark.parametrize(("text", "count", "words"), ODD.values(), ids=ODD)
def test_an_odd_message_is_read(microscope, text, count, words):
    microscope.text = text
    assert len(chips(microscope)) == count and words in text_of(microscope, "mm-row")
    assert text_of(microscope, "mm-unread") == "" and len(microscope.influence) == count
    assert "<b>" not in one(microscope, "mm-attention").value


def test_of_one_token_nothing_can_be_compared_and_a_sentence_says_so(microscope):
    microscope.text = "hi"
    (chip,) = chips(microscope)
    assert chip.description == "hi  ·" and chip.tooltip.startswith("the only token")
    press(chip)
    assert "all tokens are left out" in text_of(microscope, "mm-problem")
    assert not chip.value and microscope.left_out == ()


def test_an_empty_message_gets_a_sentence_and_the_last_one_stays(microscope):
    before, tokens = spam_of(microscope), len(chips(microscope))
    microscope.text = " \n"
    assert "the message is empty" in text_of(microscope, "mm-unread")
    assert '<p role="alert">' in one(microscope, "mm-unread").value
    assert spam_of(microscope) == before and len(chips(microscope)) == tokens
    choose(microscope, "mm-padding", "1")
    other = "last real token" if microscope.position == "last" else "padded end"
    choose(microscope, "mm-position", other)
    press(chips(microscope)[1])
    row = torch.tensor([[IDS[0], *IDS[2:], END_OF_TEXT]])  # of the message that is shown
    expected = class_probabilities(microscope.classifier.model, row, microscope.position)[0]
    torch.testing.assert_close(microscope.probabilities, expected, atol=1e-6, rtol=0)
    assert "the message is empty" in text_of(microscope, "mm-unread")  # which it still is
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
    microscope.text = "hello you"
    assert "its weights are damaged" in text_of(microscope, "mm-unread")


def test_a_first_message_that_cannot_be_read_is_refused():
    with pytest.raises(ValueError, match="the message is empty"):
        MessageMicroscope(classifier(), "")


@pytest.mark.parametrize("position", ["last", "last_token"])
def test_on_the_edge_between_spam_and_ham_no_sign_turns(position):
    whole = classifier(position)
    reading, head = read_message(whole, MESSAGE), whole.model.out_head
    expected = influence_on_spam(whole, reading)  # which a bias can't change
    ham, spam = whole.logits([MESSAGE])[0]
    start = head.bias[1].item() - (spam - ham).item()
    for step in range(-20, 21):
        with torch.no_grad():
            head.bias[1] = start + 5e-8 * step
        torch.testing.assert_close(influence_on_spam(whole, reading), expected, atol=1e-4, rtol=0)


# --- what is shown --------------------------------------------------------------------------------


def test_the_numbers_are_a_press_away_and_so_is_what_they_do_not_show(microscope):
    click(microscope, "the numbers")
    found = rows(microscope, "mm-table")
    assert [row[1] for row in found] == [mark(value) for value in microscope.influence.tolist()]
    for row, value in zip(found, microscope.influence.tolist(), strict=True):
        assert float(row[2].replace("−", "-")) == pytest.approx(value, abs=0.0051)
    click(microscope, "what this does not show")
    assert "Wiegreffe and Pinter (2019)" in text_of(microscope, "mm-limits")


def test_a_token_that_multiplies_the_odds_beyond_all_numbers_is_shown(microscope):
    click(microscope, "the numbers")
    found = set()
    for factor, text in ((1e6, "hello you"), (-1, "hello you there")):  # the second turns the sides
        with torch.no_grad():
            microscope.classifier.model.out_head.weight *= factor
        microscope.text = text
        assert microscope.influence.abs().max() > 1000
        found |= {row[3] for row in rows(microscope, "mm-table")}
    assert found == {"× 0.00", "more than × 485,165,195"}


def test_a_page_without_a_kernel_gets_picture_table_and_words(microscope, monkeypatch):
    press(chips(microscope)[1])
    data = static_form(microscope, monkeypatch)
    assert data["image/svg+xml"].startswith("<svg") and "␣free" in data["image/svg+xml"]
    for words in ("␣a left out", "mean of all heads", "after 0, "):
        assert words in data["text/plain"], words
    assert data["text/html"].startswith("<table>") and "<td>" in data["text/html"]
    small = MessageMicroscope(microscope.classifier, MESSAGE, small=True)
    assert "after 0, " not in static_form(small, monkeypatch)["text/plain"]


def test_nothing_that_it_does_is_deprecated():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        press(chips(MessageMicroscope(classifier(), MESSAGE))[0])
    assert [str(w.message) for w in caught if "`ipykernel.comm.Comm`" not in str(w.message)] == []


SHOWN = ("row", "probability", "change", "attention", "shares", "after", "table")


def shown_by(microscope) -> dict[str, object]:
    """All that a learner sees of the message and its answer."""
    click(microscope, "the numbers")
    found = {name: one(microscope, f"mm-{name}").value for name in SHOWN}
    click(microscope, "the numbers")
    tokens = [
        (c.description, c.tooltip, c.value, sorted(c._dom_classes)) for c in chips(microscope)
    ]
    return found | {"tokens": tokens}


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
