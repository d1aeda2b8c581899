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
from helpers.freezing import PRESETS, FreezePlan, classifier_without_weights, replace_head
from helpers.model import part_names
from helpers.tokenizer import get_tokenizer
from helpers.training import POSITIONS, train_classifier_simple
from tests.conftest import TINY, random_model
from tests.test_freezing import random_plans
from workshop.costs import Cost, training_cost, work_of_training
from workshop.fast import fine_tune

BOOK = FreezePlan.book(3)
NARROW = TINY | {"n_layers": 1, "n_heads": 1, "qkv_bias": False}
SIZES = [
    pytest.param(name, marks=() if name in list(MODEL_CONFIGS)[:2] else pytest.mark.proof)
    for name in MODEL_CONFIGS
]


def multiply_adds(run) -> int:
    """What torch counts while `run()` runs; to it a multiply-add is two operations."""

    def fused(queries, keys, values, *_, **__) -> int:  # torch doesn't know its name on a CPU
        return sdpa_flop_count(queries, keys, values)

    on_cpu = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: fused}
    with FlopCounterMode(display=False, custom_mapping=on_cpu) as counter:
        run()
    return counter.get_total_flops() // 2


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
    model, sums = plan.apply(classifier_without_weights(cfg, num_classes)), []
    cost = training_cost(cfg, plan, batch_size, num_tokens, num_classes)
    token_ids = torch.ones(batch_size, num_tokens, dtype=torch.long, device="meta")
    forward = multiply_adds(lambda: sums.append(model(token_ids)[:, -1, :].sum()))
    assert cost.forward.amount == forward, plan
    backward = multiply_adds(sums[0].backward) if sums[0].requires_grad else 0
    assert cost.backward.amount == backward, plan
    assert cost.activations.amount == torch_keeps(model, token_ids), plan
    gradients = [p.grad.nbytes for p in model.parameters() if p.grad is not None]
    assert cost.gradients.amount == sum(gradients), plan
    assert cost.optimizer.amount == 2 * cost.gradients.amount
    assert cost.weights.amount == sum(p.nbytes for p in model.parameters())


@pytest.mark.parametrize("number", [5, pytest.param(100, marks=pytest.mark.proof)])
def test_the_costs_are_those_that_torch_has_for_any_plan(number):
    rng, plans = random.Random(1), [preset(3) for preset in PRESETS.values()]
    plans += random_plans(number, 0) + random_plans(number, 1, adapters=True)
    for plan in plans:
        b, n, classes = rng.choice((1, 2, 5)), rng.choice((1, 2, 9, 32)), rng.choice((2, 3, 7))
        check_against_torch(TINY, plan, b, n, classes)
    for names in (part_names(1), {"trf_blocks.0.att"}, {"pos_emb"}):
        check_against_torch(NARROW, FreezePlan(1, names), rng.choice((1, 3)), rng.choice((1, 4)))


@pytest.mark.parametrize("name", SIZES)
def test_the_costs_are_those_that_torch_has_for_every_size_and_preset(name):
    cfg = gpt_config(name)
    for preset in PRESETS.values():
        check_against_torch(cfg, preset(cfg["n_layers"]), 2, 7)


@pytest.mark.parametrize("name", SIZES)
def test_the_first_block_costs_as_much_more_than_the_last_as_section_6_5_says(name):
    cfg, low = gpt_config(name), {"trf_blocks.0", "final_norm", "out_head"}
    n_layers, batch = cfg["n_layers"], (8, 120)
    of_last = training_cost(cfg, FreezePlan.book(n_layers), *batch)
    of_first = training_cost(cfg, FreezePlan(n_layers, low), *batch)
    assert of_last[1:3] == of_first[1:3]  # gradients and moment estimates
    assert of_first.activations.amount > 3 * of_last.activations.amount
    assert of_first.backward.amount > 3 * of_last.backward.amount
    in_a_frozen_block = (of_first.backward.amount - of_last.backward.amount) / (n_layers - 1)
    assert in_a_frozen_block / of_last.backward.amount == pytest.approx(0.5, abs=0.06)


def test_where_nothing_is_trainable_there_is_no_backward_pass_and_no_training():
    _, *memory, _, backward = training_cost(TINY, FreezePlan.nothing(3))
    for cost in (*memory, backward, *work(FreezePlan.nothing(3))):
        assert (cost.amount, str(cost)) == (0, "0")


def test_an_amount_is_shown_in_the_unit_of_its_size():
    memory = [str(Cost("", amount, "bytes")) for amount in (999, 999_949, 999_960, 6.23e9)]
    assert memory == ["999 bytes", "999.9 kB", "1.0 MB", "6.2 GB"]
    work = [str(Cost("", amount, "multiply-adds")) for amount in (6400, 1673 * 10**8, 10**16)]
    shown = ["6.4 thousand", "167.3 billion", "10,000.0 trillion"]
    assert work == [f"{each} multiply-adds" for each in shown]


REFUSED = {
    "batch_size must be a whole number from 1, not 0": {"batch_size": 0},
    "33 tokens are more than the context length of 32": {"num_tokens": 33},
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_a_training_is_refused_with_the_reason(message):
    with pytest.raises(ValueError, match=message):
        training_cost(TINY, BOOK, **REFUSED[message])


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


OTHER = {"cfg": TINY | {"qkv_bias": False, "n_heads": 1}, "batch_size": 8}
COUNTED = [("adapters in two blocks", {}), ("an adapter on one piece", {})]
COUNTED += [("a norm of the last block", {}), ("the last block", OTHER)]
for position in POSITIONS:
    COUNTED += [(name, {"position": position}) for name in ("head only", "two blocks")]
COUNTED += [pytest.param(name, {}, marks=pytest.mark.proof) for name in TRAINED]


@pytest.mark.parametrize(("name", "settings"), COUNTED)
def test_the_work_of_fine_tune_is_what_torch_counts_in_it(name, settings):
    options = SETTINGS | {"progress": False, "device": "cpu"} | settings
    # a model of its own seed: nothing of it is cached yet
    model = replace_head(random_model(options.pop("cfg", TINY), seed=next(SEEDS)))
    plan = TRAINED[name]
    counted = multiply_adds(lambda: fine_tune(model, TRAIN, VALIDATION, plan, **options))
    assert work(plan, **settings).fine_tune.amount == counted


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
