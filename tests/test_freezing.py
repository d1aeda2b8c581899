"""A plan says what torch will do, and the report counts what torch counts."""

import random
from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from helpers.config import MODEL_CONFIGS, gpt_config
from helpers.freezing import (
    ADAPTED_MATRICES,
    PIECES,
    PRESETS,
    FreezePlan,
    classifier_without_weights,
    frozen_blocks,
    gradient_reach,
    parameter_report,
    part_names,
    pieces_of,
    preset_of,
    replace_head,
    resize,
)
from tests.conftest import TINY, random_model

PLANS = PRESETS | {
    "no block, but norm and head": lambda n_layers: FreezePlan.last_blocks(n_layers, 0)
}


KINDS = [*ADAPTED_MATRICES]


def torch_counts(model) -> tuple[int, int]:
    parameters = list(model.parameters())
    return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)


def random_plan(n_layers: int, rng: random.Random, adapters: bool = False) -> FreezePlan:
    names = list(part_names(n_layers))
    names += [f"trf_blocks.{i}.{piece}" for i in range(n_layers) for piece in PIECES]
    plan = FreezePlan(n_layers, frozenset(rng.sample(names, rng.randrange(len(names)))))
    if not adapters:
        return plan
    pieces = [f"trf_blocks.{i}.{kind}" for i in range(n_layers) for kind in ADAPTED_MATRICES]
    for piece in rng.sample(pieces, rng.randint(1, len(pieces))):
        plan = plan if plan.state(piece) == "trainable" else plan.adapt(piece)
    return replace(plan, rank=rng.randint(1, 8), alpha=rng.choice([1, 2.5, 16]))


def test_the_counts_of_124M_are_the_books():
    report = parameter_report(gpt_config("gpt2-small (124M)"), FreezePlan.book(12))
    assert (report.total, report.trainable) == (
        124_441_346,
        7_090_946,
    ) and f"{report.percent:.2f}" == "5.70"
    counts = {part.part: part.parameters for part in report.parts}
    assert (counts["trf_blocks.3"], counts["final_norm"], counts["out_head"]) == (
        7_087_872,
        1536,
        1538,
    )
    assert "total             124,441,346      7,090,946  5.70 % trainable" in str(report)


@pytest.mark.parametrize("name", MODEL_CONFIGS)
@pytest.mark.parametrize("preset", PLANS)
def test_the_report_equals_torchs_own_sums_for_every_size_and_preset(name, preset):
    cfg = gpt_config(name)
    plan = PLANS[preset](cfg["n_layers"])
    report = parameter_report(cfg, plan, num_classes=3)
    model = plan.apply(classifier_without_weights(cfg, 3))
    assert (report.total, report.trainable) == torch_counts(model)
    assert (
        report.frozen + report.trainable
        == report.total
        == sum(part.parameters for part in report.parts)
    )


def test_the_report_equals_torchs_sums_part_by_part_for_random_plans():
    rng, plain = random.Random(0), classifier_without_weights(TINY)
    for adapters in [False, True] * 100:
        plan = random_plan(3, rng, adapters)
        model = plan.apply(classifier_without_weights(TINY) if plan.adapted else plain)
        assert FreezePlan.of(model) == plan
        for count in parameter_report(TINY, plan).parts:
            total, trainable = torch_counts(model.get_submodule(count.part))
            assert (count.parameters, count.trainable) == (total, trainable)
            if plan.state(count.part) != "frozen with an adapter":
                mixed = "partly trainable" if trainable else "frozen"
                assert count.state == ("trainable" if trainable == total else mixed)


def test_presets_are_the_parts_that_their_names_say():
    assert part_names(2) == (
        "tok_emb",
        "pos_emb",
        "trf_blocks.0",
        "trf_blocks.1",
        "final_norm",
        "out_head",
    )
    assert FreezePlan.nothing(2).trainable == set()
    assert FreezePlan.head_only(2).trainable == {"out_head"}
    assert FreezePlan.book(2) == FreezePlan.last_blocks(2, 1)
    assert FreezePlan.book(2).trainable == {"trf_blocks.1", "final_norm", "out_head"}
    assert FreezePlan.last_blocks(2, 2).trainable == {
        "trf_blocks.0",
        "trf_blocks.1",
        "final_norm",
        "out_head",
    }
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
    assert (
        plan.state("trf_blocks.0") == "partly trainable"
        and plan.state("trf_blocks.0.ff") == "frozen"
    )
    assert plan.toggle("trf_blocks.0").state("trf_blocks.0") == "trainable"
    assert plan.toggle("trf_blocks.0").toggle("trf_blocks.0") == FreezePlan.nothing(2)
    three = FreezePlan.everything(2).toggle("trf_blocks.1.norm1")
    assert (
        three.state("trf_blocks.1.att") == "trainable"
        and three.state("trf_blocks.1.norm1") == "frozen"
    )
    assert three.toggle("trf_blocks.1.norm1") == FreezePlan.everything(2)


def test_toggling_one_piece_or_part_twice_gives_the_same_plan():
    rng = random.Random(1)
    for _ in range(100):
        plan = random_plan(2, rng)
        for part in ("tok_emb", "out_head", "trf_blocks.1.att", "trf_blocks.0.norm2"):
            assert plan.toggle(part).toggle(part) == plan and plan.toggle(part) != plan


def test_several_parts_toggled_together_all_become_trainable_and_then_all_frozen():
    plan = FreezePlan.book(4)
    once = plan.toggle("trf_blocks.2", "trf_blocks.3")  # one of them is trainable already
    assert once.trainable == plan.trainable | {"trf_blocks.2"}
    assert once.toggle("trf_blocks.2", "trf_blocks.3").trainable == {"final_norm", "out_head"}
    in_pieces = FreezePlan(2, {"trf_blocks.0.att", "trf_blocks.1"})
    assert in_pieces.toggle("trf_blocks.0", "trf_blocks.1").trainable == {
        "trf_blocks.0",
        "trf_blocks.1",
    }
    assert in_pieces.toggle("trf_blocks.0.att", "trf_blocks.1.ff").trainable == {
        "trf_blocks.1.att", "trf_blocks.1.norm1", "trf_blocks.1.norm2",
    }  # fmt: skip


def test_parts_toggled_together_end_in_one_state_and_nothing_else_changes():
    rng, names = (
        random.Random(2),
        [*part_names(3), *(f"trf_blocks.{i}.{piece}" for i in range(3) for piece in PIECES)],
    )
    pieces = {piece for part in part_names(3) for piece in pieces_of(part)}
    for _ in range(200):
        plan, chosen = random_plan(3, rng), rng.sample(names, rng.randint(1, 4))
        wanted = (
            "frozen" if all(plan.state(name) == "trainable" for name in chosen) else "trainable"
        )
        toggled = plan.toggle(*chosen)
        assert {toggled.state(name) for name in chosen} == {wanted}
        for piece in pieces.difference(*(pieces_of(name) for name in chosen)):
            assert toggled.state(piece) == plan.state(piece)


def test_one_unknown_name_among_several_refuses_the_whole_toggle():
    with pytest.raises(ValueError, match="no part is called 'trf_blocks.9'"):
        FreezePlan.everything(2).toggle("out_head", "trf_blocks.9")


def test_four_pieces_are_the_block():
    pieces = frozenset(f"trf_blocks.1.{piece}" for piece in PIECES)
    assert FreezePlan(2, pieces) == FreezePlan(2, frozenset({"trf_blocks.1"}))
    assert hash(FreezePlan(2, pieces)) == hash(FreezePlan(2, {"trf_blocks.1", "trf_blocks.1.ff"}))


@pytest.mark.parametrize(
    "part", ["trf_blocks.2", "trf_blocks.0.mlp", "head", "", "tok_emb.weight", "trf_blocks.-1"]
)
def test_a_part_that_does_not_exist_is_refused_by_name(part):
    for use in (
        lambda: FreezePlan(2, {part}),
        lambda: FreezePlan(2).toggle(part),
        lambda: FreezePlan(2).state(part),
    ):
        with pytest.raises(
            ValueError, match=f"no part is called '{part}'; a model with 2 blocks has tok_emb"
        ):
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
    with pytest.raises(ValueError, match="num_classes must be a whole number from 2, not"):
        replace_head(random_model(TINY), num_classes)
    with pytest.raises(ValueError, match="num_classes must be a whole number from 2, not"):
        parameter_report(TINY, FreezePlan.book(3), num_classes)


def test_a_plan_that_cannot_be_said_is_not_misread():
    model = random_model(TINY)
    model.trf_blocks[0].att.W_query.weight.requires_grad = False
    with pytest.raises(
        ValueError, match=r"trf_blocks.0.att is trainable in some of its tensors only"
    ):
        FreezePlan.of(model)


def test_the_new_head_is_the_one_that_the_book_makes():
    model = random_model(TINY)
    torch.manual_seed(123)
    replace_head(model)
    torch.manual_seed(123)
    expected = torch.nn.Linear(8, 2)
    assert torch.equal(model.out_head.weight, expected.weight) and torch.equal(
        model.out_head.bias, expected.bias
    )
    assert model.out_head.weight.requires_grad


# --- presets --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_layers", [2, 6, 12, 48])
def test_a_preset_is_known_by_its_name_however_its_toggles_were_set(n_layers):
    assert [*PRESETS] == [
        "nothing",
        "head only",
        "LoRA, last block",
        "LoRA, all blocks",
        "the book's choice",
        "last two blocks",
        "everything",
    ]
    for name, preset in PRESETS.items():
        wanted = preset(n_layers)
        assert preset_of(wanted) == name
        by_hand = FreezePlan.nothing(n_layers)
        for part in wanted.trainable:
            for piece in pieces_of(part):
                by_hand = by_hand.toggle(piece)
        for block in wanted.adapted:
            by_hand = by_hand.adapt(f"{block}.att").adapt(f"{block}.ff")
        assert preset_of(by_hand) == name


def test_toggles_that_are_no_preset_have_no_presets_name():
    book, presets = FreezePlan.book(6), [preset(6) for preset in PRESETS.values()]
    assert preset_of(book.toggle("trf_blocks.0.norm1")) is None
    assert preset_of(FreezePlan(6, {"tok_emb"})) is None
    rng = random.Random(3)
    for plan in (random_plan(6, rng) for _ in range(100)):
        assert (preset_of(plan) is None) == (plan not in presets)


def test_in_a_model_of_one_block_the_last_two_blocks_are_the_only_one():
    assert PRESETS["last two blocks"](1) == FreezePlan.book(1)
    assert preset_of(PRESETS["last two blocks"](1)) == "the book's choice"


def test_another_size_keeps_the_preset():
    for name, preset in PRESETS.items():
        for n_layers in (2, 12, 48):
            assert resize(preset(6), n_layers) == preset(n_layers), name


def test_another_size_keeps_what_was_toggled_as_far_as_it_exists_there():
    plan = FreezePlan(
        12, {"tok_emb", "trf_blocks.1.att", "trf_blocks.5", "trf_blocks.11.ff", "final_norm"}
    )
    assert resize(plan, 6).trainable == {
        "tok_emb",
        "trf_blocks.1.att",
        "trf_blocks.5",
        "final_norm",
    }
    assert resize(plan, 24) == FreezePlan(24, plan.trainable) and resize(plan, 24).n_layers == 24
    assert resize(resize(plan, 48), 12) == plan
    rng = random.Random(4)
    for plan in (random_plan(3, rng) for _ in range(100)):
        for part in part_names(2):
            if preset_of(plan) is None:
                assert resize(plan, 2).state(part) == plan.state(part)


# --- how far down the gradient goes ---------------------------------------------------------------


def torch_reach(model) -> tuple[str | None, tuple[str, ...]]:
    """The lowest part that gets a gradient in a real backward pass, and the parts that pass one on
    to their input.
    """
    passed, parts, handles = set(), part_names(len(model.trf_blocks)), []

    def look(part):
        def hook(_, inputs):
            if inputs[0].requires_grad:
                inputs[0].register_hook(lambda gradient: passed.add(part))

        return hook

    for part in parts:
        handles.append(model.get_submodule(part).register_forward_pre_hook(look(part)))
    model.zero_grad(set_to_none=True)
    loss = torch.nn.functional.cross_entropy(
        model(torch.tensor([[5, 6, 7]]))[:, -1, :], torch.tensor([1])
    )
    if loss.requires_grad:
        loss.backward()
    for handle in handles:
        handle.remove()
    learns = [
        part
        for part in parts
        if any(p.grad is not None for p in model.get_submodule(part).parameters())
    ]
    return learns[0] if learns else None, tuple(part for part in parts if part in passed)


def test_the_gradient_goes_as_far_as_torch_carries_it():
    plain, rng, parts = replace_head(random_model(TINY)), random.Random(5), part_names(3)
    single = [FreezePlan(3, {name}) for part in parts for name in {part, *pieces_of(part)}]
    adapted = [FreezePlan(3).adapt(f"{block}.{kind}") for block in parts[2:-2] for kind in KINDS]
    some = [random_plan(3, rng, adapters) for adapters in [False, True] * 35]
    for plan in [preset(3) for preset in PLANS.values()] + single + adapted + some:
        reach = gradient_reach(plan)
        model = plan.apply(deepcopy(plain) if plan.adapted else plain)
        assert (reach.lowest, reach.crossed) == torch_reach(model), plan
        assert not {"tok_emb", "pos_emb"} & set(reach.crossed)


def test_training_only_an_embedding_crosses_every_block_and_only_the_head_none():
    for part in ("tok_emb", "pos_emb"):
        reach = gradient_reach(FreezePlan(12, {part}))
        assert reach.lowest == part and reach.crossed == part_names(12)[2:]
    assert gradient_reach(FreezePlan.head_only(12)).crossed == ()
    assert gradient_reach(FreezePlan.book(12)).crossed == ("final_norm", "out_head")
    nothing = gradient_reach(FreezePlan.nothing(12))
    assert nothing.lowest is None and nothing.crossed == ()


# --- counts of parts, pieces and several together -------------------------------------------------


def test_each_piece_and_each_run_of_blocks_is_counted_as_torch_counts_it():
    rng, plain = random.Random(6), classifier_without_weights(TINY, 3)
    for adapters in [False, True] * 30:
        plan = random_plan(3, rng, adapters)
        model = plan.apply(classifier_without_weights(TINY, 3) if plan.adapted else plain)
        report = parameter_report(TINY, plan, 3)
        for name in (
            *part_names(3),
            *(piece for part in part_names(3) for piece in pieces_of(part)),
        ):
            count, (total, trainable) = report.count(name), torch_counts(model.get_submodule(name))
            assert (count.part, count.parameters, count.trainable) == (name, total, trainable)
            assert count.state == plan.state(name)
        first, last = sorted(rng.sample(range(3), 2))
        run = report.count(*(f"trf_blocks.{i}" for i in range(first, last + 1)))
        counts = [torch_counts(model.trf_blocks[i]) for i in range(first, last + 1)]
        assert (run.parameters, run.trainable) == tuple(map(sum, zip(*counts, strict=True)))
        assert run.part == f"trf_blocks.{first} – {last}"
        states = {plan.state(f"trf_blocks.{i}") for i in range(first, last + 1)}
        assert run.state == (states.pop() if len(states) == 1 else "partly trainable")


def test_a_block_in_the_report_holds_its_four_pieces_and_they_add_up():
    report = parameter_report(TINY, FreezePlan.book(3).toggle("trf_blocks.0.ff"))
    for part in report.parts:
        if part.part.startswith("trf_blocks."):
            assert [piece.part for piece in part.pieces] == [
                f"{part.part}.{piece}" for piece in PIECES
            ]
            assert sum(piece.parameters for piece in part.pieces) == part.parameters
            assert sum(piece.trainable for piece in part.pieces) == part.trainable
        else:
            assert part.pieces == ()
    assert [piece.state for piece in report.parts[2].pieces] == [
        "frozen",
        "trainable",
        "frozen",
        "frozen",
    ]


# --- adapters -------------------------------------------------------------------------------------


def test_an_adapter_on_a_matrix_has_rank_times_the_sum_of_its_sides_parameters():
    cfg = gpt_config("gpt2-small (124M)")
    report = parameter_report(cfg, FreezePlan.lora(12, 1, rank=4))
    attention, feed_forward = 4 * 4 * (768 + 768), 2 * 4 * (768 + 3072)
    assert report.count("trf_blocks.11.att").trainable == attention
    assert report.count("trf_blocks.11.ff").trainable == feed_forward
    assert report.trainable == attention + feed_forward + 1538
    assert report.frozen == 124_441_346 - 1538  # every weight that was there before, but the head's


def test_a_block_with_adapters_on_its_matrices_and_frozen_norms_has_a_state_of_its_own():
    plan = FreezePlan(2, {"out_head"}, {"trf_blocks.1.att", "trf_blocks.1.ff"})
    assert plan == FreezePlan.lora(2, 1) and plan.adapted == {"trf_blocks.1"}
    assert plan.state("trf_blocks.1") == plan.state("trf_blocks.1.att") == "frozen with an adapter"
    assert plan.state("trf_blocks.1.norm1") == plan.state("trf_blocks.0") == "frozen"
    for other in (plan.adapt("trf_blocks.1.ff"), plan.toggle("trf_blocks.1.norm1")):
        assert other.state("trf_blocks.1") == "partly trainable"
        assert other.state("trf_blocks.1.att") == "frozen with an adapter"


def test_adapting_flips_between_frozen_with_an_adapter_and_without():
    plan = FreezePlan.book(3)
    adapted = plan.adapt("trf_blocks.0", "trf_blocks.2")
    assert adapted.adapted == {"trf_blocks.0", "trf_blocks.2"}
    assert adapted.trainable == {"final_norm", "out_head"}  # the last block's norms are frozen, too
    assert adapted.adapt("trf_blocks.0", "trf_blocks.2").adapted == set()
    assert adapted.adapt("trf_blocks.0", "trf_blocks.1").adapted == {
        f"trf_blocks.{i}" for i in range(3)
    }
    whole = adapted.toggle("trf_blocks.0.att")
    assert whole.state("trf_blocks.0.att") == "trainable" and whole.adapted == {
        "trf_blocks.0.ff", "trf_blocks.2",
    }  # fmt: skip
    assert whole.toggle("trf_blocks.0.att").state("trf_blocks.0.att") == "frozen"


def test_rank_and_alpha_mean_nothing_where_nothing_is_adapted():
    assert FreezePlan(3, {"out_head"}, rank=2, alpha=1) == FreezePlan.head_only(3)
    low = FreezePlan.lora(3, 1, rank=2, alpha=1)
    assert low != FreezePlan.lora(3, 1) and hash(low) != hash(FreezePlan.lora(3, 1))
    assert low.adapt("trf_blocks.2") == FreezePlan.head_only(3)


def test_a_preset_is_known_and_resized_with_any_rank_and_alpha():
    for name, plan in (
        ("LoRA, last block", FreezePlan.lora(6, 1, rank=3, alpha=5)),
        ("LoRA, all blocks", FreezePlan.lora(6, rank=3, alpha=5)),
    ):
        assert preset_of(plan) == name
        larger = resize(plan, 12)
        assert preset_of(larger) == name and (larger.rank, larger.alpha) == (3, 5)
    by_hand = FreezePlan(6, {"tok_emb"}, {"trf_blocks.1.ff", "trf_blocks.5"}, rank=3)
    assert resize(by_hand, 3) == FreezePlan(3, {"tok_emb"}, {"trf_blocks.1.ff"}, rank=3)


def test_presets_train_ever_more_parameters():
    for name in MODEL_CONFIGS:
        cfg = gpt_config(name)
        plans = [preset(cfg["n_layers"]) for preset in PRESETS.values()]
        counts = [parameter_report(cfg, plan).trainable for plan in plans]
        assert counts == sorted(counts), name


def test_where_adapters_are_the_lowest_that_learns_the_blocks_below_stay_as_they_are():
    assert frozen_blocks(FreezePlan.lora(12, 3)) == 9
    assert frozen_blocks(FreezePlan.lora(12)) == 0
    assert frozen_blocks(FreezePlan.book(12).adapt("trf_blocks.4.ff")) == 4


def test_a_plan_leaves_a_model_that_it_refuses_as_it_was():
    model = FreezePlan.lora(3, 1).apply(replace_head(random_model(TINY)))
    for plan in (FreezePlan.book(3), FreezePlan.lora(3), FreezePlan.lora(3, 1, rank=4)):
        with pytest.raises(ValueError, match="the model has adapters of rank 8 and alpha 16 in"):
            plan.apply(model)
        assert FreezePlan.of(model) == FreezePlan.lora(3, 1)
    plain = FreezePlan.book(3).apply(replace_head(random_model(TINY)))
    with pytest.raises(ValueError, match="rank must be a whole number from 1 to 8, .*, not 9"):
        FreezePlan.lora(3, rank=9).apply(plain)
    assert FreezePlan.of(plain) == FreezePlan.book(3)


def test_adapters_stay_when_their_own_plan_comes_again_with_other_parts_to_train():
    model = FreezePlan.lora(3, 1).apply(replace_head(random_model(TINY)))
    before = [parameter.clone() for parameter in model.parameters()]
    more = FreezePlan.lora(3, 1).toggle("trf_blocks.0", "trf_blocks.2.norm1")
    assert FreezePlan.of(more.apply(model)) == more
    assert all(map(torch.equal, before, model.parameters()))
