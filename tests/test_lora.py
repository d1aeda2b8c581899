"""An adapter adds (alpha / rank) · B A to a frozen matrix, everywhere; merged, it is gone."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from helpers.freezing import ADAPTED_MATRICES, FreezePlan
from helpers.lora import adapters_in, is_adapter, merge
from tests.test_fine_tuning import (
    TRAIN,
    VALIDATION,
    assert_near,
    assert_same_weights,
    classifier,
    simply_tune,
)
from workshop.fast import fine_tune

IDS = torch.randint(50257, (4, 9), generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 1, 0])
PLANS = {
    "the last two": FreezePlan.lora(3, 2, rank=1, alpha=3),
    "all": FreezePlan.lora(3, rank=4, alpha=2.5),
    "feed-forward and norms": FreezePlan(
        3, {"trf_blocks.2.norm1", "final_norm"}, {"trf_blocks.0.ff", "trf_blocks.2.ff"}, rank=3
    ),
}
every_plan = pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)


def adapted(plan: FreezePlan) -> nn.Module:
    """A classifier whose adapters, as after some training, add something."""
    model = plan.apply(classifier())
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if is_adapter(name):
                parameter.normal_(std=0.3)
    return model


@every_plan
def test_logits_and_gradients_are_those_of_the_formula_written_out(plan):
    model = adapted(plan).double()
    plain = FreezePlan(plan.n_layers, plan.trainable).apply(classifier()).double()
    parameters = dict(model.named_parameters())
    weights, copies = dict(plain.named_parameters()), {}
    for matrix in adapters_in(model):
        names = [f"{matrix}.lora_{side}.default.weight" for side in "AB"]
        a, b = (parameters[name].detach().clone().requires_grad_() for name in names)
        copies |= {names[0]: a, names[1]: b}
        weights[f"{matrix}.weight"] = weights[f"{matrix}.weight"] + plan.alpha / len(a) * (b @ a)
    logits, expected = model(IDS), torch.func.functional_call(plain, weights, (IDS,))
    assert_near(logits, expected, 1e-12)
    for out in (logits, expected):
        F.cross_entropy(out[:, -1], LABELS).backward()
    assert all(parameter.grad.abs().max() > 1e-6 for parameter in copies.values())
    trained = {name: p for name, p in plain.named_parameters() if p.requires_grad}
    for name, parameter in (trained | copies).items():
        assert_near(parameters[name].grad, parameter.grad, 1e-12)


def test_a_new_adapter_adds_nothing_and_starts_as_the_paper_says():
    plain, plan = classifier(), FreezePlan.lora(3, 1, rank=2)
    model = plan.apply(copy.deepcopy(plain))
    assert torch.equal(model(IDS), plain(IDS))
    assert type(model) is type(plain) and not model.training
    adapters = {name: p for name, p in model.named_parameters() if is_adapter(name)}
    assert len(adapters) == 2 * sum(map(len, ADAPTED_MATRICES.values()))
    F.cross_entropy(model(IDS)[:, -1], LABELS).backward()
    for name, parameter in adapters.items():
        assert parameter.requires_grad and (parameter.abs().max() == 0) == ("lora_B" in name)
        assert (parameter.grad.abs().max() > 0) == ("lora_B" in name)  # it learns at once
    assert model.trf_blocks[2].ff.layers[0].lora_A.default.weight.shape == (2, 8)
    assert model.trf_blocks[2].ff.layers[0].lora_B.default.weight.shape == (32, 2)


def too_old():
    raise ImportError("Found an incompatible version of torchao")


@every_plan
def test_merged_the_model_is_a_plain_one_with_the_same_logits(plan, monkeypatch):
    # an old torchao beside peft, as in Colab, does no harm
    monkeypatch.setattr("peft.tuners.lora.torchao.is_torchao_available", too_old)
    model, plain = adapted(plan), classifier()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    merged = merge(model)
    assert str(merged) == str(plain) and vars(merged).keys() == vars(plain).keys()
    assert [*merged.state_dict()] == [*plain.state_dict()] and adapters_in(merged) == {}
    assert_near(merged(IDS), model(IDS), 1e-5)
    assert (merged(IDS) - plain(IDS)).abs().max() > 1e-3
    assert FreezePlan.of(merged) == FreezePlan(3, plan.trainable)
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in before.items())
    assert FreezePlan.of(plan.apply(merged)) == plan  # it may get new ones


@pytest.mark.parametrize("position", ["last", pytest.param("first", marks=pytest.mark.proof)])
def test_adapters_learn_by_the_fast_loop_what_they_learn_by_the_readable_one(position):
    plan = PLANS["the last two"]
    fast, slow = adapted(plan), adapted(plan)
    before = copy.deepcopy(fast)
    expected = simply_tune(slow, plan, TRAIN, VALIDATION, position=position)
    settings = {"epochs": 2, "batch_size": 5, "lr": 1e-3, "position": position}
    history = fine_tune(fast, TRAIN, VALIDATION, plan, progress=False, device="cpu", **settings)
    assert_near(history.step_losses, expected)
    assert_same_weights(fast, slow)
    for (name, parameter), old in zip(fast.named_parameters(), before.parameters(), strict=True):
        assert torch.equal(parameter, old) != parameter.requires_grad, name
