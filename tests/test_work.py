"""The work of a whole fine-tuning is what torch counts while the two loops run."""

import re

import pandas as pd
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from helpers.config import gpt_config
from helpers.data import SpamDataset
from helpers.freezing import FreezePlan
from helpers.tokenizer import get_tokenizer
from helpers.training import POSITIONS
from tests.conftest import TINY
from tests.test_fine_tuning import classifier, simply_tune, tune
from workshop import fast as frozen_cache
from workshop.costs import NOTHING_LEARNS, work_of_training

TRAIN_LENGTHS = (3, 1, 7, 2, 5, 7, 4)
VALIDATION_LENGTHS = (*range(1, 8), 9) * 4 + (6, 2)  # 34: more than are measured at once
SETTINGS = {"epochs": 2, "batch_size": 3}
PLANS = {
    "head only": FreezePlan.head_only(3),
    "the last block": FreezePlan.book(3),
    "two blocks": FreezePlan.last_blocks(3, 2),
    "everything": FreezePlan.everything(3),
    "attention of the last block": FreezePlan(3, {"trf_blocks.2.att"}),
    "feed-forward of the last block": FreezePlan(3, {"trf_blocks.2.ff"}),
    "a norm of the last block": FreezePlan(3, {"trf_blocks.2.norm1"}),
    "a piece below a frozen last block": FreezePlan(3, {"trf_blocks.1.ff", "out_head"}),
    "adapters in the last block": FreezePlan.lora(3, 1, rank=2),
    "adapters in two blocks": FreezePlan.lora(3, 2, rank=1),
    "an adapter below a frozen last block": FreezePlan(3, {"out_head"}, {"trf_blocks.1.att"}, 3),
    "an adapter on one piece": FreezePlan(3, {"trf_blocks.2.norm1"}, {"trf_blocks.2.ff"}, 2),
}


def messages(lengths, longest) -> SpamDataset:
    """Messages of these numbers of tokens, padded or cut to `longest`."""
    table = pd.DataFrame({"Label": 0, "Text": [" word" * length for length in lengths]})
    return SpamDataset(table, get_tokenizer(), longest)


TRAIN, VALIDATION = messages(TRAIN_LENGTHS, 7), messages(VALIDATION_LENGTHS, 7)


def multiply_adds(run) -> int:
    """What torch counts while `run()` runs; to it a multiply-add is two operations.

    It has a formula for fused attention, but does not know its name on a CPU.
    """

    def fused(queries, keys, values, *_, **__) -> int:  # of their shapes
        return sdpa_flop_count(queries, keys, values)

    on_cpu = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: fused}
    with FlopCounterMode(display=False, custom_mapping=on_cpu) as counter:
        run()
    return counter.get_total_flops() // 2


def work(plan, position="last", cfg=TINY, **settings):
    lengths = (TRAIN_LENGTHS, VALIDATION_LENGTHS)
    return work_of_training(cfg, plan, *lengths, position=position, **SETTINGS | settings)


def counted_in_fine_tune(plan, position="last", cfg=TINY, **settings) -> int:
    frozen_cache.forget()
    model = classifier(**cfg)
    settings = SETTINGS | settings
    return multiply_adds(
        lambda: tune(model, plan, TRAIN, VALIDATION, position=position, **settings)
    )


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_the_work_of_fine_tune_is_what_torch_counts_in_it(plan):
    assert work(plan).fine_tune.amount == counted_in_fine_tune(plan)


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("name", ["head only", "two blocks", "everything"])
def test_the_work_of_fine_tune_is_what_torch_counts_at_each_position(name, position):
    plan = PLANS[name]
    assert work(plan, position).fine_tune.amount == counted_in_fine_tune(plan, position)


@pytest.mark.parametrize("settings", [{"batch_size": 1, "epochs": 1}, {"batch_size": 8}])
def test_the_work_of_fine_tune_is_what_torch_counts_with_other_batches_and_without_biases(settings):
    cfg = TINY | {"qkv_bias": False, "n_heads": 1}
    counted = counted_in_fine_tune(PLANS["the last block"], cfg=cfg, **settings)
    assert work(PLANS["the last block"], cfg=cfg, **settings).fine_tune.amount == counted


@pytest.mark.parametrize("name", ["the last block", "adapters in two blocks"])
def test_the_work_of_the_books_loop_is_what_torch_counts_in_it(name):
    plan = PLANS[name]
    model = plan.apply(classifier())
    counted = multiply_adds(lambda: simply_tune(model, plan, TRAIN, VALIDATION, **SETTINGS))
    assert work(plan).book.amount == counted


def test_messages_of_one_length_take_the_same_work_in_any_order():
    plan, lengths = PLANS["two blocks"], ([7] * 7, [7] * 5)
    frozen_cache.forget()
    alike = [messages(each, 7) for each in lengths]
    counted = multiply_adds(lambda: tune(classifier(), plan, *alike, **SETTINGS))
    cost = work_of_training(TINY, plan, *lengths, **SETTINGS)
    assert cost.fine_tune.amount == counted


def test_the_books_loop_measures_every_50_steps_too():
    plan = FreezePlan.head_only(3)
    few, many = (work(plan, epochs=epochs, batch_size=1).book for epochs in (7, 8))
    assert few.formula.startswith("steps: 49 messages × ")
    assert f"measuring: {(1 + 7) * 10} messages" in few.formula
    assert f"measuring: {(2 + 8) * 10} messages" in many.formula


def test_a_formula_says_of_what_the_work_is():
    assert [cost.what for cost in work(PLANS["the last block"])] == [
        "work, all of the model in each step (the book's way)",
        "work, the frozen part only once (fine_tune's way)",
    ]
    formula = work(PLANS["the last block"]).fine_tune.formula
    assert formula.startswith("the frozen part, once: ") and " + steps: " in formula
    assert " + measuring: 2 epochs × " in formula
    assert work(PLANS["everything"]).fine_tune.formula.startswith("steps: ")  # no frozen part


def test_with_the_books_plan_and_messages_hardly_more_is_left_than_the_frozen_part_once():
    cfg = gpt_config("gpt2-small (124M)")
    cost = work_of_training(cfg, FreezePlan.book(12), [120] * 1045, [120] * 149)
    assert [str(each) for each in cost] == [
        "78.5 trillion multiply-adds",
        "11.6 trillion multiply-adds",
    ]
    assert cost.book.formula == (
        "steps: 5,200 messages × 12,201,062,400 multiply-adds"
        " + measuring: 1,440 messages × 10,457,763,840 multiply-adds"
    )
    once = int(
        re.match("the frozen part, once: ([0-9,]+)", cost.fine_tune.formula)[1].replace(",", "")
    )
    assert 0.98 < once / cost.fine_tune.amount < 1


@pytest.mark.parametrize(
    ("plan", "book", "fine_tune"),
    [(FreezePlan.book(6), "86.0", "18.0"), (FreezePlan.everything(6), "178.7", "153.2")],
)
def test_the_work_of_five_epochs_with_the_nano_is_what_section_6_5_says(plan, book, fine_tune):
    cfg = gpt_config("gpt2-nano (12M)")
    cost = work_of_training(cfg, plan, [4] * 1045, [4] * 149, batch_size=1)
    said = [f"{billions} billion multiply-adds" for billions in (book, fine_tune)]
    assert [str(each) for each in cost] == said


def test_where_nothing_learns_there_is_no_training():
    for cost in work(FreezePlan.nothing(3)):
        assert (cost.amount, str(cost), cost.formula) == (0, "0", NOTHING_LEARNS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_lengths": []}, "train_lengths must be at least one number .*not none"),
        ({"validation_lengths": [3, 0]}, "validation_lengths must be .* each from 1, not 0"),
        ({"train_lengths": [33]}, "33 tokens are more than the context length of 32"),
        ({"position": "middle"}, "not 'middle'"),
        ({"batch_size": 0}, "batch_size must be a whole number from 1, not 0"),
        ({"epochs": 0}, "epochs must be a whole number from 1, not 0"),
        ({"plan": FreezePlan.book(12)}, "the plan is for 12 blocks, the configuration has 3"),
    ],
)
def test_what_cannot_be_a_training_is_refused_with_the_reason(changes, message):
    arguments = {"cfg": TINY, "plan": FreezePlan.book(3), "train_lengths": [3]}
    with pytest.raises(ValueError, match=message):
        work_of_training(**arguments | {"validation_lengths": [3]} | changes)
