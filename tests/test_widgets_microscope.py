"""The Message Microscope reads a message, leaves tokens out and shows what that does, without a browser."""

import json
import math

import pytest
import torch

from helpers.classify import SpamClassifier
from helpers.config import END_OF_TEXT
from helpers.freezing import replace_head
from helpers.tokenizer import get_tokenizer
from helpers.training import class_logits
from tests.clicks import MARKS, static_form
from tests.conftest import TINY, random_model
from workshop import inside
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


def send(microscope, **values) -> None:
    """What the page sends after a key or a click."""
    microscope.set_state(values)


def choose(microscope, name: str, option: str) -> None:
    send(microscope, chosen={**microscope.chosen, name: option})


def sent(microscope, *names: str) -> list:
    """What the page is sent of traits: JSON, without values that JSON does not have."""
    state = microscope.get_state([*names])
    return [json.loads(json.dumps(state[name], allow_nan=False)) for name in names]


def check_answer(microscope, ids: list[int], num_padding: int) -> torch.Tensor:
    """The probabilities are the model's own, for code and for the page; return them."""
    model, row = microscope.classifier.model, torch.tensor([ids + num_padding * [END_OF_TEXT]])
    expected = class_logits(model, row, microscope.position)[0].softmax(dim=-1)
    torch.testing.assert_close(microscope.probabilities, expected, atol=1e-6, rtol=0)
    assert sent(microscope, "probabilities")[0] == pytest.approx(expected.tolist(), abs=1e-5)
    return expected


@pytest.mark.parametrize("microscope", POSITIONS, indirect=True)
def test_each_token_comes_with_its_influence_and_a_table_of_it(microscope):
    position = POSITIONS[microscope.position]
    assert microscope.chosen["position"] == position
    assert {"padded end", "last real token", position} == {*microscope.choices[0]["options"]}
    assert f"at the {position}: block 2" in microscope.attention["title"]
    whole = check_answer(microscope, IDS, 7)
    assert torch.equal(microscope.whole, microscope.probabilities) and whole.shape == (2,)
    model, row = microscope.classifier.model, IDS + 7 * [END_OF_TEXT]
    influence = inside.token_influence(model, row, microscope.position, label=1)[: len(IDS)]
    torch.testing.assert_close(microscope.influence, influence, atol=1e-6, rtol=0)
    tokens, nats = sent(microscope, "tokens", "influence")
    assert tokens == ["Win", "␣a", "␣free", "␣phone", "␣now"]
    assert nats == pytest.approx(influence.tolist(), abs=1e-4)
    assert microscope.table == inside.influence_table(tokens, influence.tolist())
    assert (microscope.labels[microscope.label], microscope.text) == ("spam", MESSAGE)
    assert "Wiegreffe and Pinter (2019)" in microscope.limits


def test_a_click_leaves_a_token_out_and_a_second_restores_it(microscope):
    whole = microscope.probabilities
    send(microscope, left_out=[2])
    check_answer(microscope, IDS[:2] + IDS[3:], 7)
    assert microscope.left_out == microscope.without == [2]
    assert torch.equal(microscope.whole, whole)
    assert "␣free" not in microscope.attention["names"] and "␣free" in microscope.tokens
    send(microscope, left_out=[])
    check_answer(microscope, IDS, 7)
    assert microscope.without == [] and "␣free" in microscope.attention["names"]


def test_a_click_after_the_model_was_changed_shows_nothing_of_the_old_one(microscope):
    microscope.left_out = [2]
    with torch.no_grad():
        microscope.classifier.model.out_head.weight *= -1
    microscope.left_out = [2, 4]
    expected = MessageMicroscope(microscope.classifier, MESSAGE)
    assert torch.equal(microscope.influence, expected.influence)
    expected.left_out = [2, 4]
    names = "whole", "probabilities", "without", "after", "sums", "attention", "table"
    assert sent(microscope, *names) == sent(expected, *names)


def test_the_last_token_that_is_left_stays_and_a_sentence_says_why(microscope):
    for i in range(5):
        send(microscope, left_out=[*range(i + 1)])
    assert microscope.problem.startswith("all tokens are left out: bring one back")
    assert microscope.left_out == microscope.without == [0, 1, 2, 3]
    send(microscope, left_out=[1, 2, 3])
    assert microscope.problem == "" and microscope.left_out == [1, 2, 3]
    microscope.text = "hi"
    assert microscope.tokens == ["hi"] and microscope.left_out == []
    assert sent(microscope, "influence") == [[None]]  # there is nothing to compare with


def test_several_tokens_are_left_out_until_a_button_or_another_message_brings_all_back(microscope):
    influence = microscope.influence.clone()
    send(microscope, left_out=[4])
    odds = [math.log(p[1] / p[0]) for p in (microscope.probabilities, microscope.whole)]
    assert odds[0] - odds[1] == pytest.approx(-influence[4].item(), abs=1e-3)
    send(microscope, left_out=[1, 4])
    assert torch.equal(microscope.influence, influence)  # it stays that of the whole message
    choose(microscope, "padding", "10")
    assert microscope.left_out == [1, 4]
    check_answer(microscope, [IDS[0], *IDS[2:4]], 10)
    send(microscope, text="hi you", left_out=[])
    assert microscope.left_out == microscope.without == []
    send(microscope, left_out=[4])  # by a click that was still on its way
    assert microscope.left_out == microscope.without == [] and microscope.problem == ""
    microscope.left_out = [1]
    microscope.text = MESSAGE
    assert microscope.left_out == microscope.without == [] and len(microscope.tokens) == 5


@pytest.mark.parametrize("padding", inside.PADDINGS)
def test_position_and_padding_are_those_that_the_answer_is_for(microscope, padding):
    count = 7 if padding == "as in training" else int(padding)
    choose(microscope, "padding", padding)
    for name, position in (("padded end", "last"), ("last real token", "last_token")):
        choose(microscope, "position", name)
        check_answer(microscope, IDS, count)
        assert microscope.position == position and microscope.chosen["position"] == name
        assert microscope.note == f"5 tokens, then {count} of padding."
        assert microscope.chosen["padding"] == padding


@pytest.mark.parametrize(("block", "head"), [(0, "mean of all heads"), (0, "1"), (2, "0")])
def test_attention_is_that_of_the_classifying_token_in_the_chosen_block_and_head(
    microscope, block, head
):
    model, row = microscope.classifier.model, torch.tensor([IDS + 7 * [END_OF_TEXT]])
    steps = inside.class_after_each_block(model, row, microscope.position)[:, 1].tolist()
    position = 11 if microscope.position == "last" else 4
    heads = inside.attention_weights(model, row)[block, 0, :, position]  # (n_heads, n)
    choose(microscope, "block", str(block))
    choose(microscope, "head", head)
    after, sums, attention = sent(microscope, "after", "sums", "attention")
    assert after == pytest.approx(steps, abs=1e-5)
    shares = heads.mean(dim=0) if head.startswith("mean") else heads[int(head)]
    assert f"block {block}, " + (head if len(head) > 1 else f"head {head}") in attention["title"]
    weights = dict(zip(attention["names"], attention["weights"], strict=True))
    numbers = {"␣free": shares[2], "␣now (itself)": shares[4]}
    if microscope.position == "last":
        numbers = {"␣free": shares[2], "6 × <|endoftext|>": shares[5:11].sum()}
        numbers["<|endoftext|> (itself)"] = shares[11]
    for token, share in numbers.items():
        assert weights[token] == pytest.approx(share.item(), abs=1e-5)
    assert sums[block] == pytest.approx(shares[:5].sum().item(), abs=1e-5) and len(sums) == 3


def test_an_odd_message_is_read_and_one_that_cannot_be_read_gets_a_sentence(microscope):
    for text, count in (("<b>&amp;</b>" + "word " * 500, 12), ("<|endoftext|>", 7)):
        send(microscope, text=text, left_out=[])
        assert len(microscope.tokens) == count == len(microscope.influence)
        assert microscope.problem == ""
    assert microscope.note == "7 tokens, then 5 of padding."
    send(microscope, text=" ")
    assert microscope.problem.startswith("the message is empty")
    assert len(microscope.tokens) == 7  # those of the last message that can be read
    send(microscope, left_out=[1])
    assert microscope.without == [1] and microscope.problem.startswith("the message is empty")
    send(microscope, text="<|endoftext|>", left_out=[])
    assert microscope.without == [] and microscope.problem == ""
    with pytest.raises(ValueError, match="the message is empty"):
        MessageMicroscope(microscope.classifier, " ")


def test_a_choice_that_the_model_fails_at_is_taken_back(microscope):
    before = microscope.chosen
    with torch.no_grad():
        microscope.classifier.model.out_head.weight.fill_(torch.nan)
    for name in ("last real token", "padded end"):
        choose(microscope, "position", name)
    choose(microscope, "padding", "0")
    assert "its weights are damaged" in microscope.problem
    assert microscope.chosen == before


def test_a_page_without_a_kernel_gets_picture_table_and_words(microscope, monkeypatch):
    microscope.left_out = [1]
    data = static_form(microscope, monkeypatch)
    assert data["image/svg+xml"].startswith("<svg") and "␣free" in data["image/svg+xml"]
    for words in ("␣a left out", "mean of all heads", "after 0, "):
        assert words in data["text/plain"]
    assert data["text/html"].startswith("<table>") and "Run All Cells" in data["text/html"]
