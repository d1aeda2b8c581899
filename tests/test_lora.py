"""An adapter adds (alpha / rank) · B A to a frozen matrix, everywhere; merged, it is gone."""

import copy
import os
import subprocess
import sys
from contextlib import nullcontext

import pytest
import torch
from peft import LoraConfig, get_peft_model, inject_adapter_in_model
from torch import nn
from torch.nn import functional as F

from helpers.freezing import ADAPTED_MATRICES, FreezePlan, classifier_without_weights, replace_head
from helpers.loading import load_pretrained
from helpers.lora import adapters_in, effective_weight, is_adapter, merge, put_adapters
from helpers.training import POSITIONS, logits_at
from tests.conftest import ROOT, TINY, random_model
from tests.test_fine_tuning import (
    TRAIN,
    VALIDATION,
    assert_near,
    assert_same_weights,
    classifier,
    made_up,
    simply_tune,
    tune,
)

IDS = torch.randint(50257, (4, 9), generator=torch.Generator().manual_seed(0))
PLANS = {
    "the last block": FreezePlan.lora(3, 1),
    "the last two": FreezePlan.lora(3, 2, rank=1, alpha=3),
    "all": FreezePlan.lora(3, rank=4, alpha=2.5),
    "the widest rank": FreezePlan.lora(3, 1, rank=8, alpha=1),
    "attention of the middle": FreezePlan(3, {"out_head"}, {"trf_blocks.1.att"}, rank=2),
    "feed-forward and norms": FreezePlan(
        3, {"trf_blocks.2.norm1", "final_norm"}, {"trf_blocks.0.ff", "trf_blocks.2.ff"}, rank=3
    ),
    "adapters alone": FreezePlan(3, frozenset(), {"trf_blocks.2.att"}, rank=2),
}
every_plan = pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)


def adapted(plan: FreezePlan, **changes) -> nn.Module:
    """A classifier whose adapters, as after some training, add something."""
    model = plan.apply(classifier(**changes))
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if is_adapter(name):
                parameter.normal_(std=0.3)
    return model


def by_hand(plain: nn.Module, adapters: dict[str, tuple], alpha: float, token_ids) -> torch.Tensor:
    """The logits of `plain`, each matrix W in `adapters` replaced by W + (alpha / r) · B A."""
    weights = dict(plain.named_parameters())
    for matrix, (a, b) in adapters.items():
        weights[f"{matrix}.weight"] = weights[f"{matrix}.weight"] + alpha / len(a) * (b @ a)
    return torch.func.functional_call(plain, weights, (token_ids,))


# --- what an adapter computes ---


@every_plan
def test_logits_and_gradients_are_those_of_the_formula_written_out(plan):
    model, plain = adapted(plan).double(), plan_without_adapters(plan, classifier()).double()
    names = [name.removesuffix(".lora_A.default.weight") for name, _ in model.named_parameters()
             if name.endswith("lora_A.default.weight")]  # fmt: skip
    parameters = dict(model.named_parameters())
    copies = {
        name: tuple(
            parameters[f"{name}.lora_{side}.default.weight"].detach().clone().requires_grad_()
            for side in "AB"
        )
        for name in names
    }
    labels = torch.tensor([0, 1, 1, 0])
    logits, expected = model(IDS), by_hand(plain, copies, plan.alpha, IDS)
    assert_near(logits, expected, 1e-12)
    for out in (logits, expected):
        F.cross_entropy(out[:, -1], labels).backward()
    for name, (a, b) in copies.items():
        assert_near(parameters[f"{name}.lora_A.default.weight"].grad, a.grad, 1e-12)
        assert_near(parameters[f"{name}.lora_B.default.weight"].grad, b.grad, 1e-12)
        assert a.grad.abs().max() > 1e-6 and b.grad.abs().max() > 1e-6
    for name, parameter in plain.named_parameters():
        if parameter.requires_grad:
            assert_near(parameters[name].grad, parameter.grad, 1e-12)


def plan_without_adapters(plan: FreezePlan, model: nn.Module) -> nn.Module:
    return FreezePlan(plan.n_layers, plan.trainable).apply(model)


@every_plan
def test_a_new_adapter_adds_nothing_and_learns_from_the_first_step(plan):
    plain = classifier()
    model = plan.apply(copy.deepcopy(plain))
    assert torch.equal(model(IDS), plain(IDS))
    F.cross_entropy(model(IDS)[:, -1], torch.tensor([0, 1, 1, 0])).backward()
    learning = [p for name, p in model.named_parameters() if "lora_B" in name]
    assert learning and all(p.grad.abs().max() > 0 for p in learning)


@every_plan
def test_the_classifying_token_alone_gets_the_logits_and_gradients_that_it_gets_among_all(plan):
    model = adapted(plan)
    positions, labels = torch.tensor([8, 3, 0, 5]), torch.tensor([0, 1, 1, 0])
    results = []
    for logits in (model(IDS)[range(4), positions], logits_at(model, model.embed(IDS), positions)):
        model.zero_grad()
        F.cross_entropy(logits, labels).backward()
        learned = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
        results.append((logits.detach(), learned))
    (all_logits, gradients), (one, others) = results
    assert_near(one, all_logits, 1e-5)
    for name, gradient in gradients.items():
        assert_near(others[name], gradient, 1e-5)


def test_an_adapter_has_no_parameters_beside_a_and_b_and_starts_as_the_paper_says():
    model = FreezePlan.lora(3, 1, rank=2).apply(classifier())
    adapters = {name: p for name, p in model.named_parameters() if is_adapter(name)}
    assert len(adapters) == 2 * sum(map(len, ADAPTED_MATRICES.values()))
    for name, parameter in adapters.items():
        assert parameter.requires_grad and (parameter.abs().max() == 0) == ("lora_B" in name)
    assert model.trf_blocks[2].ff.layers[0].lora_A.default.weight.shape == (2, 8)
    assert model.trf_blocks[2].ff.layers[0].lora_B.default.weight.shape == (32, 2)
    assert type(model) is type(classifier()) and not model.training


# --- merged ---


@every_plan
def test_merged_the_model_is_a_plain_one_with_the_same_logits(plan):
    model, plain = adapted(plan), classifier()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    merged = merge(model)
    assert type(merged) is type(plain) and vars(merged).keys() == vars(plain).keys()
    assert [*merged.state_dict()] == [*plain.state_dict()] and adapters_in(merged) == {}
    assert {type(module) for module in merged.modules()} == {type(m) for m in plain.modules()}
    assert_near(merged(IDS), model(IDS), 1e-5)
    assert (merged(IDS) - plain(IDS)).abs().max() > 1e-3
    assert FreezePlan.of(merged) == FreezePlan(3, plan.trainable)
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in before.items())
    assert FreezePlan.of(plan.apply(merged)) == plan  # it may get new ones


def test_the_nano_merged_gives_the_same_logits_but_for_float32s_rounding():
    model = FreezePlan.lora(6).apply(replace_head(load_pretrained("gpt2-nano (12M)")))
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.02)
    with torch.no_grad():
        plain = replace_head(load_pretrained("gpt2-nano (12M)"))
        plain.out_head = model.out_head
        assert (plain(IDS) - model(IDS)).abs().max() > 0.1  # the adapters say something
        assert_near(merge(model)(IDS), model(IDS), 1e-5)
        model = model.double()
        assert_near(merge(model)(IDS), model(IDS), 1e-12)


def test_a_model_without_adapters_is_merged_into_a_copy():
    model = classifier()
    merged = merge(model)
    assert merged is not model
    assert_same_weights(merged, model, 0)


def test_the_weight_that_counts_is_the_frozen_one_and_what_the_adapter_adds():
    model = adapted(FreezePlan.lora(3, 1, rank=2, alpha=6))
    layer = model.trf_blocks[2].ff.layers[2]
    a, b = layer.lora_A.default.weight, layer.lora_B.default.weight
    assert_near(effective_weight(layer), layer.base_layer.weight + 3 * b @ a, 1e-6)
    assert effective_weight(model.out_head) is model.out_head.weight
    with pytest.raises(
        TypeError, match="not known by what a torch.nn.modules.sparse.Embedding multiplies"
    ):
        effective_weight(model.tok_emb)


# --- trained ---


@pytest.mark.parametrize("position", POSITIONS)
@every_plan
def test_adapters_learn_by_the_fast_loop_what_they_learn_by_the_readable_one(plan, position):
    fast, slow = adapted(plan), adapted(plan)
    before = copy.deepcopy(fast)
    expected = simply_tune(slow, plan, TRAIN, VALIDATION, position=position)
    history = tune(fast, plan, position=position)
    assert_near(history.step_losses, expected)
    assert_same_weights(fast, slow)
    for (name, parameter), old in zip(fast.named_parameters(), before.parameters(), strict=True):
        assert torch.equal(parameter, old) != parameter.requires_grad, name


def test_a_plan_with_adapters_is_trained_from_a_plain_model_with_the_seeds_numbers():
    weights = []
    for global_seed, seed in ((9, 4), (10, 4), (10, 5)):
        model = classifier()
        torch.manual_seed(global_seed)
        before = torch.get_rng_state()
        history = tune(model, FreezePlan.lora(3, 2), seed=seed)
        assert torch.equal(torch.get_rng_state(), before)
        assert history.cached == "the embeddings and 1 block"
        weights.append(model.trf_blocks[1].att.W_key.lora_A.default.weight.detach())
    assert_near(weights[0], weights[1], 1e-6)
    assert (weights[1] - weights[2]).abs().max() > 1e-2


def test_adapters_alone_can_be_trained():
    model = classifier()
    tune(model, FreezePlan(3, frozenset(), {"trf_blocks.2.att"}), epochs=1)
    assert torch.equal(model.out_head.weight, classifier().out_head.weight)
    assert model.trf_blocks[2].att.W_query.lora_B.default.weight.abs().max() > 0


def test_a_language_model_is_refused_before_it_gets_adapters():
    model = random_model(TINY)
    with pytest.raises(ValueError, match="a language-model head .* replace_head"):
        tune(model, FreezePlan.lora(3, 1))
    assert adapters_in(model) == {}


def test_training_goes_on_with_the_adapters_that_are_there():
    model, train = classifier(), made_up(16, seed=3)
    plan = FreezePlan.lora(3, 1)
    tune(model, plan, train, epochs=1)
    first = copy.deepcopy(model)
    tune(model, plan, train, epochs=1)
    assert FreezePlan.of(model) == plan
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, first.get_parameter(name)) != parameter.requires_grad


# --- adapters by other code ---


def somebody_elses(**settings) -> nn.Module:
    model = replace_head(random_model(TINY))
    matrices = settings.pop("matrices", ["trf_blocks.2.att.W_query"])
    name = settings.pop("name", "default")
    inject_adapter_in_model(LoraConfig(target_modules=matrices, **settings), model, name)
    return model


STRANGE = {
    "on one matrix of four": ({}, "adapters that no FreezePlan puts in, such as on trf_blocks.2"),
    "on the head": ({"matrices": ["out_head"]}, "no FreezePlan puts in, such as on out_head"),
    "under another name": ({"name": "mine"}, "W_query has an adapter of another kind"),
    "DoRA": ({"use_dora": True}, "W_query has an adapter of another kind"),
    "with dropout": ({"lora_dropout": 0.1}, "W_query has an adapter of another kind"),
    "with a bias": ({"lora_bias": True}, "W_query has an adapter of another kind"),
    "of another scale": ({"use_rslora": True}, "W_query has an adapter of another kind"),
    "on an embedding": ({"matrices": ["pos_emb"]}, "pos_emb has an adapter of another kind"),
}


@pytest.mark.parametrize(("settings", "words"), STRANGE.values(), ids=STRANGE)
def test_other_codes_adapters_are_refused_and_not_passed_over(settings, words):
    model = somebody_elses(**settings)
    for use in (FreezePlan.of, FreezePlan.book(3).apply, FreezePlan.lora(3, 1).apply):
        with pytest.raises(ValueError, match=f"{words}.*load the model anew"):
            use(model)


def test_a_matrix_that_is_a_layer_of_another_kind_gets_no_adapter_and_gives_no_wrong_logits():
    class Other(nn.Linear):
        """Like a linear layer, but it computes something else."""

    model = replace_head(random_model(TINY))
    model.trf_blocks[2].att.W_key = Other(8, 8)
    with pytest.raises(ValueError, match=r"trf_blocks.2.att.W_key is a .*Other; .* anew"):
        FreezePlan.lora(3).apply(model)
    assert adapters_in(model) == {}
    with pytest.raises(TypeError, match=r"not known by what a .*Other multiplies"):
        logits_at(model, model.embed(IDS), torch.tensor([8, 3, 0, 5]))
    inject_adapter_in_model(LoraConfig(target_modules=["W_key"]), model)
    with pytest.raises(ValueError, match="W_key has an adapter of another kind"):
        FreezePlan.of(model)


def test_an_adapter_that_peft_merged_or_switched_off_is_refused():
    for switch in (lambda layer: layer.merge(), lambda layer: layer.enable_adapters(False)):
        model = adapted(FreezePlan.lora(3, 1))
        switch(model.trf_blocks[2].att.W_key)
        with pytest.raises(ValueError, match="W_key has an adapter of another kind"):
            FreezePlan.of(model)
        with pytest.raises(TypeError, match=r"not known by what a peft\..*Linear multiplies"):
            logits_at(model, model.embed(IDS), torch.tensor([8, 3, 0, 5]))


def test_a_model_in_pefts_own_wrapper_is_refused():
    plain = replace_head(random_model(TINY))
    wrapped = get_peft_model(plain, LoraConfig(target_modules=["W_query"]))
    with pytest.raises(ValueError, match=r"adapters that no FreezePlan puts in"):
        FreezePlan.lora(3).apply(wrapped)


def test_an_adapter_that_is_frozen_itself_is_not_misread():
    model = FreezePlan.lora(3, 1).apply(classifier())
    model.requires_grad_(False)
    with pytest.raises(ValueError, match="has an adapter, but something else than just that is"):
        FreezePlan.of(model)


def test_pieces_with_different_ranks_are_not_misread():
    model = classifier()
    for block, rank in ((1, 2), (2, 3)):
        names = [f"trf_blocks.{block}.att.{name}" for name in ADAPTED_MATRICES["att"]]
        with pytest.warns(UserWarning, match="peft_config") if block == 2 else nullcontext():
            put_adapters(model, names, rank, 16)
    with pytest.raises(ValueError, match="all have one rank and alpha"):
        FreezePlan.of(model)


# --- where it runs ---


def test_an_old_torchao_beside_peft_as_in_colab_does_no_harm(tmp_path):
    (tmp_path / "torchao").mkdir()
    (tmp_path / "torchao" / "__init__.py").write_text("raise ImportError('too old')")
    (tmp_path / "torchao-0.10.0.dist-info").mkdir()
    metadata = "Metadata-Version: 2.1\nName: torchao\nVersion: 0.10.0\n"
    (tmp_path / "torchao-0.10.0.dist-info" / "METADATA").write_text(metadata)
    code = (
        "from tests.test_lora import IDS, PLANS, adapted, merge\n"
        "model = adapted(PLANS['all'])\n"
        "print((merge(model)(IDS) - model(IDS)).abs().max() < 1e-5)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0 and "True" in run.stdout, run.stderr[-2000:]


def test_without_weights_adapters_take_no_memory_and_no_random_numbers():
    before = torch.get_rng_state()
    model = FreezePlan.lora(3, rank=8).apply(classifier_without_weights(TINY))
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    assert torch.equal(torch.get_rng_state(), before)


def test_peft_is_imported_only_when_an_adapter_is_put_in():
    code = (
        "import sys, helpers.classify\n"
        "from helpers.freezing import *\n"
        "from helpers.config import gpt_config\n"
        "parameter_report(gpt_config('gpt2-nano (12M)'), FreezePlan.lora(6))\n"
        "print('peft' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout == "False\n", run.stderr[-2000:]
