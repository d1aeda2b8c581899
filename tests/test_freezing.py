"""A plan says what torch will do, the report counts what torch counts, and shapes are real ones."""

import random
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import nn

from helpers.config import MODEL_CONFIGS, gpt_config
from helpers.freezing import (
    ADAPTED,
    ADAPTED_MATRICES,
    PIECES,
    PRESETS,
    FreezePlan,
    classifier_without_weights,
    frozen_blocks,
    gradient_reach,
    num_classes_of,
    parameter_report,
    pieces_of,
    preset_of,
    record,
    replace_head,
    trace_shapes,
)
from helpers.model import part_names
from tests.conftest import TINY, random_model

PLANS = PRESETS | {"no block, but norm and head": lambda n: FreezePlan.last_blocks(n, 0)}
NAMES = sorted({*part_names(3), *(piece for part in part_names(3) for piece in pieces_of(part))})
SIZES = [
    pytest.param(name, marks=pytest.mark.proof if name.endswith(("(774M)", "(1558M)")) else ())
    for name in MODEL_CONFIGS
]


def torch_counts(model) -> tuple[int, int]:
    parameters = list(model.parameters())
    return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)


def random_plans(number: int, seed: int, adapters: bool = False) -> list[FreezePlan]:
    rng, plans = random.Random(seed), []
    pieces = [f"trf_blocks.{i}.{kind}" for i in range(3) for kind in ADAPTED_MATRICES]
    for _ in range(number):
        plan = FreezePlan(3, frozenset(rng.sample(NAMES, rng.randrange(len(NAMES)))))
        for piece in rng.sample(pieces, rng.randint(1, len(pieces))) if adapters else ():
            plan = plan if plan.state(piece) == "trainable" else plan.toggle(piece, state=ADAPTED)
        plans.append(replace(plan, rank=rng.randint(1, 8), alpha=rng.choice([1, 2.5, 16])))
    return plans


def test_the_new_head_is_the_one_that_the_book_makes_with_as_many_classes_as_wanted():
    model = random_model(TINY)
    with pytest.raises(ValueError, match="language-model head with 50,257 outputs; give it a new"):
        num_classes_of(model)
    torch.manual_seed(123)
    assert replace_head(model) is model
    torch.manual_seed(123)
    expected = nn.Linear(8, 2)
    assert torch.equal(model.out_head.weight, expected.weight)
    assert torch.equal(model.out_head.bias, expected.bias) and model.out_head.weight.requires_grad
    assert replace_head(model.to(torch.float64), 5).out_head.weight.dtype == torch.float64
    assert num_classes_of(model) == 5


def test_the_counts_of_124M_are_the_books():
    report = parameter_report(gpt_config("gpt2-small (124M)"), FreezePlan.book(12))
    assert (report.total, report.trainable) == (124_441_346, 7_090_946)
    assert report.frozen == 117_350_400 and f"{report.percent:.2f}" == "5.70"
    counts = {part.part: part.parameters for part in report.parts}
    assert counts["trf_blocks.3"] == 7_087_872
    assert (counts["final_norm"], counts["out_head"]) == (1536, 1538)
    lines = str(report).splitlines()
    assert lines[0] == "part               parameters      trainable  state"
    assert lines[-2] == "out_head                1,538          1,538  trainable"
    assert lines[-1] == "total             124,441,346      7,090,946  5.70 % trainable"
    head_only = parameter_report(gpt_config("gpt2-small (124M)"), FreezePlan.head_only(12))
    assert head_only.percent_text == "0.001 %"  # what is not zero never reads as zero


@pytest.mark.parametrize("name", SIZES)
def test_counts_and_shapes_are_torchs_for_every_size_and_preset_without_weights(name):
    cfg = gpt_config(name)
    model = classifier_without_weights(cfg, 3)
    for preset in PLANS.values():
        plan = preset(cfg["n_layers"])
        report = parameter_report(cfg, plan, num_classes=3)
        counted = torch_counts(plan.apply(deepcopy(model)))
        assert (report.total, report.trainable) == counted, plan
    traced = trace_shapes(model, torch.ones(1, 4).long(), last_token=True)
    shapes = {shape.part: shape.shape for shape in traced}
    assert list(shapes) == ["token_ids", *part_names(cfg["n_layers"]), "last_token"]
    inside = (1, 4, cfg["emb_dim"])
    assert shapes["token_ids"] == (1, 4) and shapes["pos_emb"] == inside[1:]
    assert shapes["tok_emb"] == shapes["trf_blocks.0"] == shapes["final_norm"] == inside
    assert shapes["out_head"] == (1, 4, 3) and shapes["last_token"] == (1, 3)
    assert str(traced[-2]) == "out_head       (1, 4, 3)"
    if name.startswith("gpt2-nano"):
        live = replace_head(random_model(cfg), 3)
        assert trace_shapes(live, torch.ones(1, 4).long(), last_token=True) == traced


@pytest.mark.parametrize("cfg", [TINY, TINY | {"qkv_bias": not TINY["qkv_bias"]}])
def test_each_part_piece_and_run_of_blocks_is_counted_as_torch_counts_it(cfg):
    plain = classifier_without_weights(cfg, 3)
    for plan in random_plans(15, 0) + random_plans(15, 1, adapters=True):
        model = plan.apply(deepcopy(plain) if plan.adapted else plain)
        assert FreezePlan.of(model) == plan
        report = parameter_report(cfg, plan, 3)
        for name in NAMES:
            count, torchs = report.count(name), torch_counts(model.get_submodule(name))
            assert (count.part, count.parameters, count.trainable) == (name, *torchs)
            assert count.state == plan.state(name)
        run = report.count("trf_blocks.1", "trf_blocks.2")
        assert run.part == "trf_blocks.1 – 2"
        assert (run.parameters, run.trainable) == torch_counts(model.trf_blocks[1:])
        states = {plan.state("trf_blocks.1"), plan.state("trf_blocks.2")}
        assert run.state == (states.pop() if len(states) == 1 else "partly trainable")


def test_presets_are_the_parts_that_their_names_say():
    blocks = ("trf_blocks.0", "trf_blocks.1")
    assert part_names(2) == ("tok_emb", "pos_emb", *blocks, "final_norm", "out_head")
    assert FreezePlan.nothing(2).trainable == set()
    assert FreezePlan.head_only(2).trainable == {"out_head"}
    assert FreezePlan.book(2).trainable == {"trf_blocks.1", "final_norm", "out_head"}
    assert FreezePlan.last_blocks(2, 2).trainable == {*blocks, "final_norm", "out_head"}
    assert FreezePlan.everything(2).trainable == set(part_names(2))
    assert FreezePlan.lora(3, 2) == FreezePlan(3, {"out_head"}, {"trf_blocks.1", "trf_blocks.2"})
    assert FreezePlan.lora(2) == FreezePlan(2, {"out_head"}, set(blocks), rank=8, alpha=16.0)
    pieces = {f"trf_blocks.1.{piece}" for piece in PIECES}
    assert FreezePlan(2, pieces) == FreezePlan(2, {"trf_blocks.1", "trf_blocks.1.ff"})
    assert FreezePlan(2, pieces).trainable == {"trf_blocks.1"}


def test_toggling_a_part_flips_it_and_a_partly_trainable_block_becomes_whole():
    plan = FreezePlan.nothing(2).toggle("trf_blocks.0.att")
    assert plan.state("trf_blocks.0") == "partly trainable"
    assert plan.state("trf_blocks.0.ff") == "frozen"
    assert plan.toggle("trf_blocks.0").state("trf_blocks.0") == "trainable"
    assert plan.toggle("trf_blocks.0").toggle("trf_blocks.0") == FreezePlan.nothing(2)


def test_adapters_on_the_matrices_of_a_block_give_it_a_state_of_its_own():
    adapted = FreezePlan.book(3).toggle("trf_blocks.0", "trf_blocks.2", state=ADAPTED)
    assert adapted.adapted == {"trf_blocks.0", "trf_blocks.2"}
    assert adapted.trainable == {"final_norm", "out_head"}  # the last block's norms are frozen, too
    assert adapted.toggle("trf_blocks.0", "trf_blocks.2", state=ADAPTED).adapted == set()
    assert adapted.toggle("trf_blocks.1", state=ADAPTED).adapted == {
        f"trf_blocks.{i}" for i in range(3)
    }
    assert adapted.state("trf_blocks.2") == "frozen with an adapter"
    assert adapted.state("trf_blocks.2.norm1") == adapted.state("trf_blocks.1") == "frozen"
    whole = adapted.toggle("trf_blocks.0.att")
    assert whole.state("trf_blocks.0.att") == "trainable"
    assert whole.adapted == {"trf_blocks.0.ff", "trf_blocks.2"}
    for other in (
        adapted.toggle("trf_blocks.2.ff", state=ADAPTED),
        adapted.toggle("trf_blocks.2.norm1"),
    ):
        assert other.state("trf_blocks.2") == "partly trainable"
        assert other.state("trf_blocks.2.att") == "frozen with an adapter"
    matrices = {"trf_blocks.1.att", "trf_blocks.1.ff"}
    assert FreezePlan(2, {"out_head"}, matrices) == FreezePlan.lora(2, 1)


def test_parts_toggled_together_end_in_one_state_and_nothing_else_changes():
    rng = random.Random(2)
    for plan in random_plans(60, 2, adapters=True):
        chosen = rng.sample(NAMES, rng.randint(1, 4))
        all_trainable = all(plan.state(name) == "trainable" for name in chosen)
        toggled = plan.toggle(*chosen)
        states = {toggled.state(name) for name in chosen}
        assert states == {"frozen" if all_trainable else "trainable"}
        pieces = {piece for name in NAMES for piece in pieces_of(name)}
        for piece in pieces.difference(*(pieces_of(name) for name in chosen)):
            assert toggled.state(piece) == plan.state(piece)


@pytest.mark.parametrize("n_layers", [2, 12, 48])
def test_a_preset_is_known_by_its_name_however_its_toggles_were_set(n_layers):
    names = "nothing|head only|LoRA, last block|LoRA, all blocks|the book's choice|last two blocks"
    assert list(PRESETS) == [*names.split("|"), "everything"]
    for name, preset in PRESETS.items():
        wanted = preset(n_layers)
        assert preset_of(wanted) == name
        by_hand = FreezePlan.nothing(n_layers)
        for part in wanted.trainable:
            for piece in pieces_of(part):
                by_hand = by_hand.toggle(piece)
        for block in wanted.adapted:
            by_hand = by_hand.toggle(f"{block}.att", state=ADAPTED).toggle(
                f"{block}.ff", state=ADAPTED
            )
        assert preset_of(by_hand) == name


def test_a_preset_has_its_name_with_any_rank_and_other_plans_have_none():
    plan = FreezePlan(12, {"tok_emb", "trf_blocks.1.att", "trf_blocks.5", "final_norm"})
    assert preset_of(plan) is None and preset_of(FreezePlan.lora(6, 2)) is None
    larger = FreezePlan.lora(12, 1, rank=3, alpha=5)
    assert preset_of(larger) == "LoRA, last block"
    assert larger != FreezePlan.lora(12, 1) and hash(larger) != hash(FreezePlan.lora(12, 1))
    assert larger.toggle("trf_blocks.11", state=ADAPTED) == FreezePlan.head_only(
        12
    )  # rank and alpha mean nothing


REFUSED = {
    "num_classes .* whole number from 2, not 1": lambda: replace_head(random_model(TINY), 1),
    "no part is called 'trf_blocks.2'; a model with 2": lambda: FreezePlan(2, {"trf_blocks.2"}),
    "k .* from 0 to 2, the number of blocks, not 3": lambda: FreezePlan.last_blocks(2, 3),
    "alpha must be a finite number above 0, not 0": lambda: FreezePlan.lora(3, alpha=0),
    "norm1 takes no adapter: .* such as trf_": lambda: FreezePlan(3).toggle(
        "trf_blocks.0.norm1", state=ADAPTED
    ),
    "rank .* 1 to 8, .* not 9": lambda: parameter_report(TINY, FreezePlan.lora(3, rank=9)),
    "12 blocks, the configuration has 3": lambda: parameter_report(TINY, FreezePlan.book(12)),
    "12 blocks, the model has 3": lambda: FreezePlan.book(12).apply(random_model(TINY)),
}


@pytest.mark.parametrize("message", REFUSED)
def test_a_plan_that_cannot_be_is_refused_with_the_reason(message):
    with pytest.raises(ValueError, match=message):
        REFUSED[message]()


def test_adapters_stay_when_their_plan_comes_again_and_other_adapters_are_refused():
    model = FreezePlan.lora(3, 1).apply(replace_head(random_model(TINY)))
    before = [parameter.clone() for parameter in model.parameters()]
    for plan in (FreezePlan.book(3), FreezePlan.lora(3), FreezePlan.lora(3, 1, rank=4)):
        message = "has adapters of rank 8 and alpha 16 in trf_blocks.2, and the plan .*; merge them"
        with pytest.raises(ValueError, match=message):
            plan.apply(model)
        assert FreezePlan.of(model) == FreezePlan.lora(3, 1)
    more = FreezePlan.lora(3, 1).toggle("trf_blocks.0", "trf_blocks.2.norm1")
    assert FreezePlan.of(more.apply(model)) == more
    assert all(map(torch.equal, before, model.parameters()))


def torch_reach(model) -> tuple[str | None, tuple[str, ...]]:
    """The lowest part that gets a gradient in a real backward pass, and those that pass one on."""
    modules = {part: model.get_submodule(part) for part in part_names(len(model.trf_blocks))}
    model.zero_grad(set_to_none=True)
    passed = set()
    with record(model, *modules) as recorded, torch.enable_grad():
        logits = model(torch.tensor([[5, 6, 7]]))[:, -1, :]
    for part, of_part in recorded.items():
        if of_part.input.requires_grad:
            of_part.input.register_hook(lambda _, part=part: passed.add(part))
    if logits.requires_grad:
        nn.functional.cross_entropy(logits, torch.tensor([1])).backward()
    trained = [name for name, p in model.named_parameters() if p.grad is not None]
    lowest = (part for part in modules if any(name.startswith(part) for name in trained))
    return next(lowest, None), tuple(part for part in modules if part in passed)


def test_the_gradient_goes_as_far_as_torch_carries_it():
    plain = replace_head(random_model(TINY))
    plans = [preset(3) for preset in PLANS.values()] + [FreezePlan(3, {name}) for name in NAMES]
    plans += [
        FreezePlan(3).toggle(name, state=ADAPTED)
        for name in NAMES
        if name.endswith((".att", ".ff"))
    ]
    plans += random_plans(10, 5) + random_plans(10, 6, adapters=True)
    for plan in plans:
        reach = gradient_reach(plan)
        model = plan.apply(deepcopy(plain) if plan.adapted else plain)
        assert (reach.lowest, reach.crossed) == torch_reach(model), plan


def test_the_blocks_below_the_lowest_trainable_part_are_frozen():
    assert frozen_blocks(FreezePlan.book(12)) == 11
    assert frozen_blocks(FreezePlan.nothing(12)) == 12
    assert frozen_blocks(FreezePlan(12, {"pos_emb"})) is None
    assert frozen_blocks(FreezePlan.lora(12, 3)) == 9
    assert frozen_blocks(FreezePlan.book(12).toggle("trf_blocks.4.ff", state=ADAPTED)) == 4
    assert gradient_reach(FreezePlan(3, {"pos_emb", "tok_emb"})).ends == ("tok_emb", "pos_emb")
    assert gradient_reach(FreezePlan.nothing(3)).ends == ()


def test_what_is_recorded_is_what_the_modules_get_and_return():
    model, ids = random_model(TINY), torch.tensor([[5, 6, 7]])
    with torch.no_grad(), record(model, "trf_blocks.1", "trf_blocks.0", "final_norm") as recorded:
        logits = model(ids)
    assert list(recorded) == ["trf_blocks.0", "trf_blocks.1", "final_norm"]
    assert torch.equal(recorded["trf_blocks.0"].input, model.embed(ids))
    assert torch.equal(recorded["trf_blocks.0"].output, recorded["trf_blocks.1"].input)
    assert torch.equal(model.out_head(recorded["final_norm"].output), logits)
    assert not any(module._forward_hooks for module in model.modules())
