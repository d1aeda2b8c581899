"""What happens inside a classifier, as two other implementations and a hand-made model have it."""

import math

import pytest
import torch
from captum.attr import FeatureAblation
from transformers import GPT2LMHeadModel

from helpers.classify import SpamClassifier
from helpers.config import END_OF_TEXT
from helpers.freezing import replace_head
from helpers.model import GPTModel, without_causal_mask
from helpers.tokenizer import encode_message, get_tokenizer
from helpers.training import POSITIONS, class_logits
from tests.conftest import TINY, random_model
from tests.test_parity import ours, random_params, transformers_model
from workshop.inside import (
    answer,
    attention_weights,
    class_after_each_block,
    describe_input,
    influence_on_spam,
    influence_table,
    main_directions,
    read_message,
    token_influence,
)

MESSAGE = [11, 500, 11, 42, 7000, 3, 3, 3]
PADDED = [*MESSAGE, END_OF_TEXT, END_OF_TEXT, END_OF_TEXT]


@pytest.fixture
def model() -> GPTModel:
    return classifier()


def classifier(num_classes: int = 2) -> GPTModel:
    """A classifier whose every tensor is random; its answers are far from sure and from equal."""
    model = random_model(TINY)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 3
        replace_head(model, num_classes).out_head.weight *= 10
    return model.eval()


def ids(*rows: list[int]) -> torch.Tensor:
    return torch.tensor(rows)


@pytest.mark.parametrize("cfg", [TINY, TINY | {"n_heads": 1, "n_layers": 1}])
def test_attention_equals_transformers_attention_on_the_same_weights(cfg):
    flat, nested = random_params(cfg)
    other: GPT2LMHeadModel = transformers_model(cfg, flat)
    other.set_attn_implementation("eager")
    rows = torch.randint(cfg["vocab_size"], (2, 20), generator=torch.Generator().manual_seed(1))
    weights = attention_weights(ours(cfg, nested), rows)
    with torch.no_grad():
        expected = torch.stack(other(rows, output_attentions=True).attentions)
    assert weights.shape == (cfg["n_layers"], 2, cfg["n_heads"], 20, 20)
    torch.testing.assert_close(weights, expected, atol=1e-5, rtol=0)
    assert expected.std() > 1e-3  # not all alike


def test_only_the_causal_mask_hides_what_follows_and_dropout_changes_no_attention(model):
    first = attention_weights(model, ids(MESSAGE))
    assert (first.triu(diagonal=1) == 0).all() and (first[..., -1, :] > 0).all()
    for block in model.trf_blocks:
        block.att.dropout.p = 0.5
    assert torch.equal(attention_weights(model.train(), ids(MESSAGE)), first)
    assert not model.training
    assert (attention_weights(without_causal_mask(model), ids(MESSAGE)) > 0).all()


def ablation_by_captum(model: GPTModel, row: list[int], position: str, label: int) -> torch.Tensor:
    """Captum's influence: on a mask of ones, one for each token, whose zeros delete tokens."""

    def log_odds(masks: torch.Tensor) -> torch.Tensor:
        kept = [ids(torch.tensor(row)[mask.bool()].tolist()) for mask in masks]
        p = torch.cat([class_logits(model, row, position).softmax(dim=-1) for row in kept]).double()
        return (p / (1 - p)).log()[:, label]

    return FeatureAblation(log_odds).attribute(torch.ones(1, len(row)), baselines=0)[0]


@pytest.mark.parametrize(
    ("row", "num_classes", "position"),
    [(PADDED, 4, "last"), (MESSAGE, 2, "mean"), ([5, 6], 2, "first"), (PADDED, 2, "last_token")],
)
def test_influence_equals_captums_ablation(row, num_classes, position):
    model = classifier(num_classes)
    label = class_logits(model, ids(row), position)[0].argmax().item()
    influence = token_influence(model, row, position, label)
    expected = ablation_by_captum(model, row, position, label).float()
    assert influence.shape == (len(row),) and influence.dtype == torch.float32
    torch.testing.assert_close(influence, expected, atol=2e-5, rtol=0)
    assert expected.abs().max() > 0.02 or position == "first" or len(row) == 2


@pytest.mark.parametrize("position", POSITIONS)
def test_the_answer_after_each_block_is_that_of_a_model_cut_there(model, position):
    steps = class_after_each_block(model, ids(PADDED), position)
    assert steps.shape == (4, 2) and steps.dtype == torch.float32
    assert steps.std(dim=0).max() > 0.01
    for blocks in (3, 2, 1, 0):
        model.trf_blocks = model.trf_blocks[:blocks]
        expected = class_logits(model, ids(PADDED), position)[0].softmax(dim=-1)
        torch.testing.assert_close(steps[blocks], expected, atol=1e-6, rtol=0)


def test_vectors_that_are_all_alike_have_no_main_directions():
    with pytest.raises(ValueError, match="all alike"):
        main_directions(torch.full((7, 4), 0.1))


def spam_filter(position="last_token", max_length=12) -> SpamClassifier:
    return SpamClassifier(classifier(), max_length, position=position)


def test_a_message_is_read_as_the_classifier_reads_it():
    reading = read_message(spam_filter(), "win a prize 🎉")
    assert reading.tokens[:3] == ("win", "␣a", "␣prize") and reading.tokens[-1].startswith("⟨")
    ids = encode_message("win a prize 🎉", get_tokenizer())
    assert reading.token_ids == tuple(ids) and reading.position == "last_token"
    assert (reading.num_cut, reading.padding) == (0, 12 - len(ids))
    assert reading.row() == [*ids, *[END_OF_TEXT] * reading.padding]
    assert reading.row({0, 2}) == [ids[1], *ids[3:], *[END_OF_TEXT] * reading.padding]
    assert reading.kept({0, 2}) == [1, *range(3, len(ids))]
    for padding, number in (("0", 0), ("1", 1)):
        assert read_message(spam_filter(), "see you at eight", padding).padding == number
    # the context takes 32 tokens
    reading = read_message(spam_filter(max_length=30), "word" + " word" * 39, "10", "first")
    assert (len(reading.token_ids), reading.num_cut, reading.padding) == (30, 10, 2)
    assert reading.position == "first"


@pytest.mark.parametrize("position", POSITIONS)
def test_the_answer_is_the_classifiers_and_its_attention_that_of_the_classifying_token(position):
    named = spam_filter(position)
    reading = read_message(named, "win a free prize now")
    got = answer(named, reading)
    expected = named.probabilities(["win a free prize now"])[0]
    torch.testing.assert_close(got.probabilities, expected, atol=1e-5, rtol=0)
    weights = attention_weights(named.model, ids(reading.row()))[:, 0]
    query = {"first": 0, "last": 11, "last_token": 4}.get(position)
    queries = weights[:, :, :5] if position == "mean_tokens" else weights
    expected = queries.mean(dim=2) if query is None else weights[:, :, query]
    assert torch.equal(got.attention, expected)
    assert torch.equal(got.shares(0), expected[:, 0])
    torch.testing.assert_close(got.shares(None), expected.mean(dim=1))
    to_the_message = torch.stack([expected[i].mean(dim=0)[:5].sum() for i in range(3)])
    torch.testing.assert_close(got.to_the_message(None), to_the_message)


def test_what_is_left_out_is_gone_from_the_answer():
    named = spam_filter("last")
    reading = read_message(named, "win a free prize", "0")
    with pytest.raises(ValueError, match="all tokens are left out: bring one back"):
        answer(named, reading, {0, 1, 2, 3})
    left = answer(named, reading, {0})
    expected = class_after_each_block(named.model, ids(reading.row({0})), "last")
    assert torch.equal(left.after_blocks, expected) and left.num_kept == 3
    whole = answer(named, reading)
    influence = influence_on_spam(named, reading)
    odds = [math.log(p[1] / p[0]) for p in (whole.probabilities, left.probabilities)]
    assert abs(odds[0] - odds[1] - influence[0]) < 1e-3 and len(influence) == 4
    assert influence_on_spam(named, read_message(named, "hi")).isnan().tolist() == [True]
    named.model.final_norm.scale.data[0] = torch.nan
    with pytest.raises(ValueError, match="the model's answer is not a number"):
        answer(named, reading)


def test_the_table_of_influences_gives_nats_and_what_they_do_to_the_odds():
    table = influence_table(["a", "<b>", "c", "d", "e"], [0.694, -1.5, float("nan"), 6.0, -0.001])
    assert "0  a</th><td>++</td><td>+0.69</td><td>× 1.99</td>" in table
    assert "1  &lt;b&gt;</th><td>−−−</td><td>−1.50</td><td>× 0.22</td>" in table
    assert "<td>–</td><td>–</td>" in table and "<td>+6.00</td><td>× 403.43</td>" in table
    assert "<td>+0.00</td><td>× 1.00</td>" in table


def test_the_input_is_described_with_what_is_truncated_and_what_is_a_part_of_a_character():
    assert describe_input(read_message(spam_filter(), "hi", "1")) == "1 token, then 1 of padding."
    text = describe_input(read_message(spam_filter(max_length=3), "🎉 you are here now"))
    assert text == (
        "3 tokens, then 0 of padding. The message has 7 tokens; the classifier reads the first 3 of "
        "them. ⟨ ⟩ holds the bytes of a token that is only a part of a character."
    )
