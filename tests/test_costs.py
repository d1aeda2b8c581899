"""The costs are those that torch itself has: its gradients, AdamW's state, what it keeps for the
backward pass, its own count of operations in a step and in whole trainings.
"""

import itertools
import random

import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from helpers.config import MODEL_CONFIGS, gpt_config
from helpers.data import SpamDataset
from helpers.freezing import FreezePlan, classifier_without_weights, pieces_of, replace_head
from helpers.model import part_names
from helpers.tokenizer import get_tokenizer
from helpers.training import POSITIONS, train_classifier_simple
from tests.conftest import TINY, random_model
from workshop.costs import Cost, training_cost, work_of_training
from workshop.fast import fine_tune

NARROW = TINY | {"n_layers": 1, "n_heads": 1, "qkv_bias": False}
QUICK = ("gpt2-nano (12M)", "gpt2-small (124M)")
SIZES = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.proof) for name in MODEL_CONFIGS
]
PRESETS = {
    "nothing": FreezePlan.nothing,
    "head only": FreezePlan.head_only,
    "book": FreezePlan.book,
    "last two": lambda n: FreezePlan.last_blocks(n, 2),
    "everything": FreezePlan.everything,
    "adapters": FreezePlan.lora,
    "adapters in the last two": lambda n: FreezePlan.lora(n, 2, rank=4),
}


def plans_for_tiny(number: int) -> list[FreezePlan]:
    """Every preset, `number` random plans of parts and pieces, and as many with adapters."""
    rng, parts = random.Random(0), part_names(3)
    pieces = [piece for part in parts for piece in pieces_of(part)]
    names = sorted({*parts, *pieces})
    plans = [preset(3) for preset in PRESETS.values()]
    for _ in range(number):
        plans.append(FreezePlan(3, rng.sample(names, rng.choice((1, 1, 2, 5, 9)))))
        some = set(rng.sample(pieces, rng.randint(1, len(pieces))))
        adapted = {p for p in some if p.endswith((".att", ".ff")) and rng.random() < 0.6}
        plans.append(FreezePlan(3, some - adapted, adapted, rng.choice((1, 2, 5))))
    return plans


def multiply_adds(run) -> int:
    """What torch counts while `run()` runs; to it a multiply-add is two operations."""

    def fused(queries, keys, values, *_, **__) -> int:  # torch doesn't know its name on a CPU
        return sdpa_flop_count(queries, keys, values)

    on_cpu = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: fused}
    with FlopCounterMode(display=False, custom_mapping=on_cpu) as counter:
        run()
    return counter.get_total_flops() // 2


def torch_multiply_adds(model, token_ids) -> tuple[int, int]:
    """What torch counts in one forward and in one backward pass of the classifying token's logits."""
    sums = []
    forward = multiply_adds(lambda: sums.append(model(token_ids)[:, -1, :].sum()))
    backward = multiply_adds(lambda: sums[0].backward() if sums[0].requires_grad else None)
    return forward, backward


def size_in_bytes(tensors) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def torch_keeps(model, token_ids) -> int:
    """The bytes that torch keeps from the forward pass for the backward pass.

    Each storage counts once, and those of the parameters and of the token ids not at all.
    """
    own = {tensor.untyped_storage()._cdata for tensor in (token_ids, *model.parameters())}
    kept = {}  # held until the end, so that no storage gets the place of one that is gone

    def note(tensor):
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        logits = model(token_ids)[:, -1, :]  # as in the book's loop
    assert len(logits) == len(token_ids)
    return sum(storage.nbytes() for place, storage in kept.items() if place not in own)


def test_the_costs_of_the_books_plan_read_as_in_the_text():
    cost = training_cost(gpt_config("gpt2-small (124M)"), FreezePlan.book(12))
    bytes, work = ["497.8 MB", "28.4 MB", "56.7 MB", "222.1 kB"], ["340.0 million", "56.7 million"]
    assert [str(each) for each in cost] == bytes + [f"{each} multiply-adds" for each in work]


def check_against_torch(cfg, plan, batch_size: int, num_tokens: int, num_classes: int = 2) -> None:
    model = plan.apply(classifier_without_weights(cfg, num_classes))
    cost = training_cost(cfg, plan, batch_size, num_tokens, num_classes)
    token_ids = torch.ones(batch_size, num_tokens, dtype=torch.long, device="meta")
    counted = torch_multiply_adds(model, token_ids)
    assert (cost.forward.amount, cost.backward.amount) == counted, plan
    assert cost.activations.amount == torch_keeps(model, token_ids), plan
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert cost.gradients.amount == size_in_bytes(gradients), plan
    assert cost.optimizer.amount == 2 * cost.gradients.amount
    assert cost.weights.amount == size_in_bytes(model.parameters())


@pytest.mark.parametrize("number", [5, pytest.param(100, marks=pytest.mark.proof)])
def test_the_costs_are_those_that_torch_has_for_any_plan(number):
    rng = random.Random(1)
    for plan in plans_for_tiny(number):
        b, n, classes = rng.choice((1, 2, 5)), rng.choice((1, 2, 9, 32)), rng.choice((2, 3, 7))
        check_against_torch(TINY, plan, b, n, classes)
    for names in (part_names(1), {"trf_blocks.0.att"}, {"pos_emb"}):
        check_against_torch(NARROW, FreezePlan(1, names), rng.choice((1, 3)), rng.choice((1, 4)))


@pytest.mark.parametrize("name", SIZES)
def test_the_costs_are_those_that_torch_has_for_every_size_and_preset(name):
    cfg = gpt_config(name)
    for preset in PRESETS.values():
        check_against_torch(cfg, preset(cfg["n_layers"]), 2, 7)


@pytest.mark.parametrize(
    ("batch", "last", "first"),
    [
        ((1, 4), "55.8 kB", "196.4 kB"),
        ((100, 4), "5.6 MB", "19.6 MB"),
        ((8, 82), "10.4 MB", "39.6 MB"),  # of the bundled messages
    ],
)
def test_the_first_block_in_the_last_ones_place_keeps_as_much_more_as_section_6_5_says(
    batch, last, first
):
    cfg, low = gpt_config("gpt2-nano (12M)"), {"trf_blocks.0", "final_norm", "out_head"}
    of_last = training_cost(cfg, FreezePlan.book(6), *batch)
    of_first = training_cost(cfg, FreezePlan(6, low), *batch)
    assert of_last[1:3] == of_first[1:3]  # gradients and moments
    assert (str(of_last.activations), str(of_first.activations)) == (last, first)


def test_where_nothing_is_trainable_there_is_no_backward_pass_and_no_training():
    cost = training_cost(TINY, FreezePlan.nothing(3))
    zero = (cost.gradients, cost.optimizer, cost.backward, cost.activations)
    for each in (*zero, *work(FreezePlan.nothing(3))):
        assert (each.amount, str(each)) == (0, "0")


def test_an_amount_is_shown_in_the_unit_of_its_size():
    memory = [str(Cost("", amount, "bytes")) for amount in (999, 999_949, 999_960, 6.23e9)]
    assert memory == ["999 bytes", "999.9 kB", "1.0 MB", "6.2 GB"]
    work = [str(Cost("", amount, "multiply-adds")) for amount in (6400, 1673 * 10**8, 10**16)]
    shown = ["6.4 thousand", "167.3 billion", "10,000.0 trillion"]
    assert work == [f"{each} multiply-adds" for each in shown]


def test_what_cannot_be_a_training_is_refused_with_the_reason():
    with pytest.raises(ValueError, match="batch_size must be a whole number from 1, not 0"):
        training_cost(TINY, FreezePlan.book(3), batch_size=0)
    with pytest.raises(ValueError, match="33 tokens are more than the context length of 32"):
        training_cost(TINY, FreezePlan.book(3), num_tokens=33)
    with pytest.raises(ValueError, match="the plan is for 12 blocks, the configuration has 3"):
        training_cost(TINY, FreezePlan.book(12))
    with pytest.raises(ValueError, match="33 tokens are more than the context length of 32"):
        work_of_training(TINY, FreezePlan.book(3), [33], [3])


# the 34 to measure are more than are measured at once
LENGTHS = TRAIN_LENGTHS, VALIDATION_LENGTHS = (3, 1, 7, 2, 5, 7, 4), (*range(1, 8), 9) * 4 + (6, 2)
SETTINGS = {"epochs": 2, "batch_size": 3}
SEEDS = itertools.count()
TRAINED = {
    "head only": FreezePlan.head_only(3),
    "the last block": FreezePlan.book(3),
    "two blocks": FreezePlan.last_blocks(3, 2),
    "everything": FreezePlan.everything(3),
    "attention of the last block": FreezePlan(3, {"trf_blocks.2.att"}),
    "a norm of the last block": FreezePlan(3, {"trf_blocks.2.norm1"}),
    "a piece below a frozen last block": FreezePlan(3, {"trf_blocks.1.ff", "out_head"}),
    "adapters in two blocks": FreezePlan.lora(3, 2, rank=1),
    "an adapter below a frozen last block": FreezePlan(3, {"out_head"}, {"trf_blocks.1.att"}, 3),
    "an adapter on one piece": FreezePlan(3, {"trf_blocks.2.norm1"}, {"trf_blocks.2.ff"}, 2),
}


def messages(lengths, longest) -> SpamDataset:
    """Messages of these numbers of tokens, padded or cut to `longest`."""
    table = pd.DataFrame({"Label": 0, "Text": [" word" * length for length in lengths]})
    return SpamDataset(table, get_tokenizer(), longest)


TRAIN, VALIDATION = messages(TRAIN_LENGTHS, 7), messages(VALIDATION_LENGTHS, 7)


def work(plan, position="last", cfg=TINY, **settings):
    return work_of_training(cfg, plan, *LENGTHS, position=position, **SETTINGS | settings)


def counted_in_fine_tune(plan, cfg=TINY, **settings) -> int:
    model = replace_head(random_model(cfg, seed=next(SEEDS)))  # nothing of it is cached yet
    settings = SETTINGS | {"progress": False, "device": "cpu"} | settings
    return multiply_adds(lambda: fine_tune(model, TRAIN, VALIDATION, plan, **settings))


QUICKLY = ("a norm of the last block", "adapters in two blocks", "an adapter on one piece")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICKLY else pytest.mark.proof) for name in TRAINED],
)
def test_the_work_of_fine_tune_is_what_torch_counts_in_it(name):
    assert work(TRAINED[name]).fine_tune.amount == counted_in_fine_tune(TRAINED[name])


@pytest.mark.parametrize("position", POSITIONS)
def test_the_work_of_fine_tune_is_what_torch_counts_at_each_position(position):
    for name in ("head only", "two blocks"):
        plan = TRAINED[name]
        counted = counted_in_fine_tune(plan, position=position)
        assert work(plan, position).fine_tune.amount == counted


def test_the_work_of_fine_tune_is_what_torch_counts_with_other_batches_and_without_biases():
    cfg, plan = TINY | {"qkv_bias": False, "n_heads": 1}, TRAINED["the last block"]
    counted = counted_in_fine_tune(plan, cfg=cfg, batch_size=8)
    assert work(plan, cfg=cfg, batch_size=8).fine_tune.amount == counted


@pytest.mark.parametrize("name", ["the last block", "adapters in two blocks"])
def test_the_work_of_the_books_loop_is_what_torch_counts_in_it(name):
    model = TRAINED[name].apply(replace_head(random_model(TINY)))
    loaders = DataLoader(TRAIN, 3, shuffle=True, drop_last=True), DataLoader(VALIDATION, 3)
    rest = torch.optim.AdamW(model.parameters()), "cpu", 2, 50, 5
    counted = multiply_adds(lambda: train_classifier_simple(model, *loaders, *rest))
    assert work(TRAINED[name]).book.amount == counted


def test_the_books_loop_measures_every_50_steps_too():
    plan = FreezePlan.head_only(3)
    step = training_cost(TINY, plan, 1, 7)
    for epochs, measurements in ((7, 1 + 7), (8, 2 + 8)):  # 49 and 56 steps
        steps = 7 * epochs * (step.forward.amount + step.backward.amount)
        expected = steps + measurements * 10 * step.forward.amount
        assert work(plan, epochs=epochs, batch_size=1).book.amount == expected


def test_each_cost_says_of_what_it_is():
    costs = (*training_cost(TINY, FreezePlan.book(3)), *work(FreezePlan.book(3)))
    assert [cost.what for cost in costs] == [
        "memory for the weights",
        "memory for the gradients",
        "memory for AdamW's moment estimates",
        "memory kept for the backward pass",
        "compute of the forward pass",
        "compute of the backward pass",
        "compute, all of the model in each step (the book's way)",
        "compute, the frozen part only once (fine_tune's way)",
    ]


def test_the_work_of_the_books_training_reads_as_in_the_text():
    cfg = gpt_config("gpt2-small (124M)")
    cost = work_of_training(cfg, FreezePlan.book(12), [120] * 1045, [120] * 149)
    said = ["78.5 trillion multiply-adds", "11.6 trillion multiply-adds"]
    assert [str(each) for each in cost] == said


@pytest.mark.parametrize(
    ("plan", "book", "fine_tune"),
    [(FreezePlan.book(6), "86.0", "18.0"), (FreezePlan.everything(6), "178.7", "153.2")],
)
def test_the_work_of_five_epochs_with_the_nano_is_what_section_6_5_says(plan, book, fine_tune):
    cfg = gpt_config("gpt2-nano (12M)")
    cost = work_of_training(cfg, plan, [4] * 1045, [4] * 149, batch_size=1)
    said = [f"{billions} billion multiply-adds" for billions in (book, fine_tune)]
    assert [str(each) for each in cost] == said
