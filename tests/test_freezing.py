"""A plan says what torch will do, and the report counts what torch counts."""

import random

import pytest
import torch

from helpers.config import MODEL_CONFIGS, gpt_config
from helpers.freezing import (
    PIECES,
    FreezePlan,
    classifier_without_weights,
    parameter_report,
    part_names,
    replace_head,
)
from tests.conftest import TINY, random_model

PRESETS = {
    "nothing": FreezePlan.nothing,
    "head only": FreezePlan.head_only,
    "book": FreezePlan.book,
    "last two": lambda n: FreezePlan.last_blocks(n, 2),
    "last zero": lambda n: FreezePlan.last_blocks(n, 0),
    "everything": FreezePlan.everything,
}


def torch_counts(model) -> tuple[int, int]:
    parameters = list(model.parameters())
    return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)


def random_plan(n_layers: int, rng: random.Random) -> FreezePlan:
    names = list(part_names(n_layers))
    names += [f"trf_blocks.{i}.{piece}" for i in range(n_layers) for piece in PIECES]
    return FreezePlan(n_layers, frozenset(rng.sample(names, rng.randrange(len(names)))))


def test_the_counts_of_124M_are_the_books():
    report = parameter_report(gpt_config("gpt2-small (124M)"), FreezePlan.book(12))
    assert (report.total, report.trainable) == (124_441_346, 7_090_946) and f"{report.percent:.2f}" == "5.70"
    counts = {part.part: part.parameters for part in report.parts}
    assert (counts["trf_blocks.3"], counts["final_norm"], counts["out_head"]) == (7_087_872, 1536, 1538)
    assert "total             124,441,346      7,090,946  5.70 % trainable" in str(report)


@pytest.mark.parametrize("name", MODEL_CONFIGS)
@pytest.mark.parametrize("preset", PRESETS)
def test_the_report_equals_torchs_own_sums_for_every_size_and_preset(name, preset):
    cfg = gpt_config(name)
    plan = PRESETS[preset](cfg["n_layers"])
    report = parameter_report(cfg, plan, num_classes=3)
    model = plan.apply(classifier_without_weights(cfg, 3))
    assert (report.total, report.trainable) == torch_counts(model)
    assert report.frozen + report.trainable == report.total == sum(part.parameters for part in report.parts)


def test_the_report_equals_torchs_sums_part_by_part_for_random_plans():
    rng, model = random.Random(0), replace_head(random_model(TINY))
    for _ in range(200):
        plan = random_plan(3, rng)
        plan.apply(model)
        assert FreezePlan.of(model) == plan
        for count in parameter_report(TINY, plan).parts:
            total, trainable = torch_counts(model.get_submodule(count.part))
            assert (count.parameters, count.trainable) == (total, trainable)
            expected = "trainable" if trainable == total else "partly trainable" if trainable else "frozen"
            assert count.state == expected


def test_presets_are_the_parts_that_their_names_say():
    assert part_names(2) == ("tok_emb", "pos_emb", "trf_blocks.0", "trf_blocks.1", "final_norm", "out_head")
    assert FreezePlan.nothing(2).trainable == set()
    assert FreezePlan.head_only(2).trainable == {"out_head"}
    assert FreezePlan.book(2) == FreezePlan.last_blocks(2, 1)
    assert FreezePlan.book(2).trainable == {"trf_blocks.1", "final_norm", "out_head"}
    assert FreezePlan.last_blocks(2, 2).trainable == {"trf_blocks.0", "trf_blocks.1", "final_norm", "out_head"}
    assert FreezePlan.everything(2).trainable == set(part_names(2))


def test_the_books_loops_give_the_books_plan():
    model = replace_head(random_model(TINY))
    for param in model.parameters():
        param.requires_grad = False
    for module in (model.trf_blocks[-1], model.final_norm, model.out_head):
        for param in module.parameters():
            param.requires_grad = True
    assert FreezePlan.of(model) == FreezePlan.book(3)


def test_toggling_a_part_flips_it_and_a_partly_trainable_block_becomes_whole():
    plan = FreezePlan.nothing(2).toggle("trf_blocks.0.att")
    assert plan.state("trf_blocks.0") == "partly trainable" and plan.state("trf_blocks.0.ff") == "frozen"
    assert plan.toggle("trf_blocks.0").state("trf_blocks.0") == "trainable"
    assert plan.toggle("trf_blocks.0").toggle("trf_blocks.0") == FreezePlan.nothing(2)
    three = FreezePlan.everything(2).toggle("trf_blocks.1.norm1")
    assert three.state("trf_blocks.1.att") == "trainable" and three.state("trf_blocks.1.norm1") == "frozen"
    assert three.toggle("trf_blocks.1.norm1") == FreezePlan.everything(2)


def test_toggling_one_piece_or_part_twice_gives_the_same_plan():
    rng = random.Random(1)
    for _ in range(100):
        plan = random_plan(2, rng)
        for part in ("tok_emb", "out_head", "trf_blocks.1.att", "trf_blocks.0.norm2"):
            assert plan.toggle(part).toggle(part) == plan and plan.toggle(part) != plan


def test_four_pieces_are_the_block():
    pieces = frozenset(f"trf_blocks.1.{piece}" for piece in PIECES)
    assert FreezePlan(2, pieces) == FreezePlan(2, frozenset({"trf_blocks.1"}))
    assert hash(FreezePlan(2, pieces)) == hash(FreezePlan(2, {"trf_blocks.1", "trf_blocks.1.ff"}))


@pytest.mark.parametrize("part", ["trf_blocks.2", "trf_blocks.0.mlp", "head", "", "tok_emb.weight", "trf_blocks.-1"])
def test_a_part_that_does_not_exist_is_refused_by_name(part):
    for use in (lambda: FreezePlan(2, {part}), lambda: FreezePlan(2).toggle(part), lambda: FreezePlan(2).state(part)):
        with pytest.raises(ValueError, match=f"no part is called '{part}'; a model with 2 blocks has tok_emb"):
            use()


def test_a_plan_for_another_depth_is_refused():
    with pytest.raises(ValueError, match="the plan is for 12 blocks, the model has 3"):
        FreezePlan.book(12).apply(random_model(TINY))
    with pytest.raises(ValueError, match="the plan is for 12 blocks, the configuration has 3"):
        parameter_report(TINY, FreezePlan.book(12))
    for k in (-1, 3, 1.0):
        with pytest.raises(ValueError, match="k must be a whole number from 0 to 2"):
            FreezePlan.last_blocks(2, k)
    with pytest.raises(ValueError, match="n_layers"):
        FreezePlan(0)


@pytest.mark.parametrize("num_classes", [1, 0, -2, 2.0, True, None])
def test_fewer_than_two_classes_are_refused(num_classes):
    with pytest.raises(ValueError, match="at least 2 classes"):
        replace_head(random_model(TINY), num_classes)
    with pytest.raises(ValueError, match="at least 2 classes"):
        parameter_report(TINY, FreezePlan.book(3), num_classes)


def test_a_plan_that_cannot_be_said_is_not_misread():
    model = random_model(TINY)
    model.trf_blocks[0].att.W_query.weight.requires_grad = False
    with pytest.raises(ValueError, match=r"trf_blocks.0.att is trainable in some of its tensors only"):
        FreezePlan.of(model)


def test_the_new_head_is_the_one_that_the_book_makes():
    model = random_model(TINY)
    torch.manual_seed(123)
    replace_head(model)
    torch.manual_seed(123)
    expected = torch.nn.Linear(8, 2)
    assert torch.equal(model.out_head.weight, expected.weight) and torch.equal(model.out_head.bias, expected.bias)
    assert model.out_head.weight.requires_grad
