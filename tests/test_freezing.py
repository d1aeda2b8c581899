"""A plan says what torch will do, and the report counts what torch counts."""

import random

import pytest
import torch

from helpers.config import MODEL_CONFIGS, gpt_config
from helpers.freezing import (
    PIECES,
    PRESETS,
    FreezePlan,
    classifier_without_weights,
    parameter_report,
    part_names,
    pieces_of,
    preset_of,
    replace_head,
    resize,
)
from helpers.gradient_reach import gradient_reach
from tests.conftest import TINY, random_model

PLANS = PRESETS | {
    "no block, but norm and head": lambda n_layers: FreezePlan.last_blocks(n_layers, 0)
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
    rng, model = random.Random(0), replace_head(random_model(TINY))
    for _ in range(200):
        plan = random_plan(3, rng)
        plan.apply(model)
        assert FreezePlan.of(model) == plan
        for count in parameter_report(TINY, plan).parts:
            total, trainable = torch_counts(model.get_submodule(count.part))
            assert (count.parameters, count.trainable) == (total, trainable)
            expected = (
                "trainable" if trainable == total else "partly trainable" if trainable else "frozen"
            )
            assert count.state == expected


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
    model, rng, parts = replace_head(random_model(TINY)), random.Random(5), part_names(3)
    single = [FreezePlan(3, {name}) for part in parts for name in {part, *pieces_of(part)}]
    some = [random_plan(3, rng) for _ in range(70)]
    for plan in [preset(3) for preset in PLANS.values()] + single + some:
        reach = gradient_reach(plan)
        assert (reach.lowest, reach.crossed) == torch_reach(plan.apply(model)), plan
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
    rng, model = random.Random(6), replace_head(random_model(TINY), 3)
    for _ in range(60):
        plan = random_plan(3, rng)
        plan.apply(model)
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
        assert run.state == (
            "trainable"
            if run.trainable == run.parameters
            else "partly trainable"
            if run.trainable
            else "frozen"
        )


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
