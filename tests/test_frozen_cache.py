"""The frozen layers run once for each message, and their output is used again only where it is the
same.
"""

import copy

import pytest
import torch
from torch import nn

from helpers.freezing import FreezePlan
from helpers.model import MultiHeadAttention, TransformerBlock, without_causal_mask
from helpers.training import POSITIONS, class_logits
from tests.conftest import TINY
from tests.test_fine_tuning import BOOK, PLANS, TRAIN, assert_near, classifier, data, tune
from workshop import forward
from workshop.forward import Messages, attention_at, block_at, forget, precision_on

TEXTS = TRAIN.data["Text"].tolist()


@pytest.fixture(autouse=True)
def nothing_cached():
    forget()
    yield
    forget()


@pytest.mark.parametrize("n", [1, 9])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("qkv_bias", [True, False])
@pytest.mark.parametrize(
    ("kind", "at"), [(MultiHeadAttention, attention_at), (TransformerBlock, block_at)]
)
def test_one_position_of_a_block_has_the_values_and_gradients_of_all_positions(
    kind, at, qkv_bias, causal, n
):
    torch.manual_seed(0)
    block = kind(TINY | {"qkv_bias": qkv_bias, "drop_rate": 0.5 if n == 1 else 0.0}).double()
    getattr(block, "att", block).causal = causal
    x, out_gradient = torch.randn(5, n, 8).double(), torch.randn(5, 8).double()
    positions = torch.tensor([0, 3, 8, 5, 0]) % n
    results = []
    for run in (lambda x: block(x)[range(5), positions], lambda x: at(block, x, positions)):
        given = x.clone().requires_grad_()
        torch.manual_seed(1)  # with one token each, both ways draw as many random numbers
        out = run(given)
        block.zero_grad()
        out.backward(out_gradient)
        gradients = [parameter.grad for parameter in block.parameters()]
        results.append([out.detach(), given.grad, *gradients])
    for all_positions, one in zip(*results, strict=True):
        assert_near(one, all_positions, 1e-12)
    if n == 1:
        assert (results[0][0] - block.eval()(x)[:, 0]).abs().mean() > 0.1  # dropout acted


def encoded(model, num_blocks=2, position="last") -> Messages:
    result = Messages(model, TRAIN.encoded_texts, position)
    list(result.encode(num_blocks, "float32"))
    return result


def spoil(model) -> None:
    """Make the cached outputs wrong: whoever uses them shows it."""
    for output in encoded(model).outputs.values():
        output.fill_(1.0)


def first_loss(model, plan=BOOK, train=TRAIN, **settings) -> float:
    """The loss over all training messages, before the first step."""
    model = copy.deepcopy(model)
    return tune(model, plan, train, epochs=1, batch_size=len(train), **settings).step_losses[0]


@pytest.mark.parametrize("mask", ["causal", "none"])
@pytest.mark.parametrize("position", POSITIONS)
def test_each_messages_output_is_that_of_the_frozen_blocks_for_it_alone(position, mask):
    model = classifier() if mask == "causal" else without_causal_mask(classifier())
    for num_blocks in range(4):  # from the second on, it begins with the cached output
        messages = encoded(model, num_blocks, position=position)
        for i, ids in enumerate(messages.rows):
            with torch.no_grad():
                alone = model.trf_blocks[:num_blocks](model.embed(torch.tensor([ids])))[0]
            if num_blocks == 3 and messages.positions is not None:
                alone = alone[messages.positions[i]].unsqueeze(0)
            assert_near(messages.outputs[i], alone, 1e-5)


@pytest.mark.parametrize("num_cached", [0, 2, 3])
def test_a_mean_over_own_tokens_is_the_same_alone_and_beside_longer_messages(num_cached):
    rows = [[5, 6], [7, 8, 9, 7, 8, 9], [1, 2, 3], [4, *[50256] * 8]]
    messages = Messages(classifier(), rows, "mean_tokens")
    if num_cached:
        list(messages.encode(num_cached, "float32"))
    with torch.no_grad():
        together = messages.logits([0, 1, 2, 3])
        for i, row in enumerate(rows):
            assert_near(messages.logits([i])[0], together[i], 1e-5)
            readable = class_logits(messages.model, torch.tensor([row]), "mean_tokens")
            assert_near(together[i], readable[0], 1e-5)


@pytest.mark.parametrize("mask", ["causal", "none"])
def test_padding_changes_the_mean_of_a_messages_own_tokens_only_without_the_causal_mask(mask):
    model = classifier() if mask == "causal" else without_causal_mask(classifier())
    with torch.no_grad():
        alone, padded = (
            class_logits(model, torch.tensor([ids]), "mean_tokens")
            for ids in ([5, 6, 7], [5, 6, 7] + [50256] * 9)
        )
    difference = (alone - padded).abs().max()
    assert difference < 1e-5 if mask == "causal" else difference > 0.1


def test_what_is_cached_serves_other_plans_with_the_same_boundary():
    model, below = classifier(), PLANS["two blocks"]
    model.trf_blocks[2].norm2.scale.data += 0.5  # above the boundary: of no matter
    right, right_below = (first_loss(model, plan, cache=False) for plan in (BOOK, below))
    spoil(model)
    assert abs(first_loss(model) - right) > 1e-2
    assert first_loss(model, below) == pytest.approx(right_below, abs=1e-5)


CHANGES = {  # what is done to the model, and what is asked for then
    "a weight of a token": ("tok_emb.weight", {}),
    "a weight of a position": ("pos_emb.weight", {}),
    "a weight of the last frozen block": ("trf_blocks.1.norm2.shift", {}),
    "the heads": (None, {}),
    "the activation": (None, {}),
    "the causal mask": (None, {}),
    "a word": (None, {"train": data(TEXTS[0] + " sorry", *TEXTS[1:], max_length=TRAIN.max_length)}),
    "the order": (None, {"train": data(*reversed(TEXTS))}),
    "the position": (None, {"position": "last_token"}),
    "the precision": (None, {"precision": "bfloat16"}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_cached_is_not_used_when_anything_below_the_boundary_differs(change, monkeypatch):
    monkeypatch.setattr(forward, "bfloat16_is_faster", lambda: True)
    model, (parameter, settings) = classifier(), CHANGES[change]
    spoil(model)
    if parameter:
        row = TRAIN.encoded_texts[0][0] if parameter == "tok_emb.weight" else 3
        model.get_parameter(parameter).data[row] += 0.01
    for block in model.trf_blocks:
        block.att.num_heads = 4 if change == "the heads" else 2
        block.att.causal = change != "the causal mask"
        if change == "the activation":
            block.ff.layers[1] = torch.nn.ReLU()
    loss = first_loss(model, **settings)
    forget()
    assert loss == pytest.approx(first_loss(model, **settings), abs=1e-6)


def test_what_is_cached_is_not_used_when_an_adapter_below_the_boundary_differs():
    plain, state = classifier(), None
    models = [FreezePlan.lora(3, rank=2, alpha=a).apply(copy.deepcopy(plain)) for a in (4, 8, 8)]
    for model, value in zip(models, (0.1, 0.1, 0.2), strict=True):
        model.load_state_dict(state or model.state_dict())  # alike but for alpha, or a weight
        state = model.state_dict()
        for block in model.trf_blocks:
            nn.init.constant_(block.ff.layers[2].lora_A.default.weight, 0.1)
            nn.init.constant_(block.ff.layers[2].lora_B.default.weight, value)
    for model in (plain, *models):
        output = encoded(model, position="mean").outputs[0]
        with torch.no_grad():
            x = model.embed(torch.tensor(TRAIN.encoded_texts[:1]))
            assert_near(output, model.trf_blocks[:2](x)[0], 1e-5)


def test_a_stop_between_two_steps_leaves_no_half_filled_cache(monkeypatch):
    monkeypatch.setattr(forward, "TOKENS_AT_ONCE", 20)
    steps = Messages(classifier(), TRAIN.encoded_texts, "last").encode(2, "float32")
    assert 0 < next(filter(None, steps)) < len(TRAIN) and torch.is_grad_enabled()
    steps.close()
    assert forward._cache == {}


def test_a_gpu_without_bfloat16_gets_float16(monkeypatch):
    capabilities = {0: (7, 5), 1: (8, 0)}
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda gpu: capabilities[gpu.index])
    assert precision_on(torch.device("cuda:0"), "bfloat16") == "float16"
    assert precision_on(torch.device("cuda:1"), "bfloat16") == "bfloat16"
    assert precision_on(torch.device("cuda:0"), "float32") == "float32"


def test_what_is_larger_than_the_cache_runs_in_every_step_and_the_history_says_so(monkeypatch):
    right = tune(classifier()).step_losses
    monkeypatch.setattr(forward, "CACHE_LIMIT", 1000)
    history = tune(classifier())
    assert_near(history.step_losses, right, 1e-5)
    assert not history.seconds_encoding and "would take 0.0 GB, so nothing" in history.notes[0]
