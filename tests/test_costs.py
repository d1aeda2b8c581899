"""The costs are those that torch itself has: its gradients, AdamW's state, what it keeps for the
backward pass, its own count of operations in a step and in whole trainings.
"""

import itertools
import random

import pandas as pd
import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from helpers.config import MODEL_CONFIGS, gpt_config
from helpers.data import SpamDataset
from helpers.freezing import FreezePlan, classifier_without_weights, pieces_of, replace_head
from helpers.model import part_names
from helpers.tokenizer import get_tokenizer
from helpers.training import POSITIONS, train_classifier_simple
from tests.conftest import TINY, random_model
from workshop.costs import NOTHING_LEARNS, Cost, training_cost, work_of_training
from workshop.fast import fine_tune

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


def last_loss(model, batch_size: int, num_tokens: int) -> torch.Tensor:
    device = model.out_head.weight.device
    token_ids = torch.ones(batch_size, num_tokens, dtype=torch.long, device=device)
    return cross_entropy(
        model(token_ids)[:, -1, :], torch.zeros(batch_size, dtype=torch.long, device=device)
    )


def multiply_adds(run) -> int:
    """What torch counts while `run()` runs; to it a multiply-add is two operations."""

    def fused(queries, keys, values, *_, **__) -> int:  # torch doesn't know its name on a CPU
        return sdpa_flop_count(queries, keys, values)

    on_cpu = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: fused}
    with FlopCounterMode(display=False, custom_mapping=on_cpu) as counter:
        run()
    return counter.get_total_flops() // 2


def torch_multiply_adds(model, batch_size: int, num_tokens: int) -> tuple[int, int]:
    """What torch counts in one forward and in one backward pass."""
    losses = []
    forward = multiply_adds(lambda: losses.append(last_loss(model, batch_size, num_tokens)))
    backward = multiply_adds(lambda: losses[0].backward() if losses[0].requires_grad else None)
    return forward, backward


def size_in_bytes(tensors) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def torch_keeps(model, batch_size: int, num_tokens: int) -> int:
    """The bytes that torch keeps from the forward pass for the backward pass.

    Each storage counts once, and those of the parameters and of the token ids not at all.
    """
    device = model.out_head.weight.device
    token_ids = torch.ones(batch_size, num_tokens, dtype=torch.long, device=device)
    own = {tensor.untyped_storage()._cdata for tensor in (token_ids, *model.parameters())}
    kept = {}  # held until the end, so that no storage gets the place of one that is gone

    def note(tensor):
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        logits = model(token_ids)[:, -1, :]  # as in the book's loop
    assert logits.shape[0] == batch_size
    return sum(storage.nbytes() for place, storage in kept.items() if place not in own)


def test_the_costs_of_the_books_plan_read_as_in_the_text():
    cost = training_cost(gpt_config("gpt2-small (124M)"), FreezePlan.book(12))
    assert [str(each) for each in cost] == [
        "497.8 MB",
        "28.4 MB",
        "56.7 MB",
        "222.1 kB",
        "340.0 million multiply-adds",
        "56.7 million multiply-adds",
    ]
    assert cost.weights.formula == "4 bytes × 124,441,346 parameters"
    assert cost.optimizer.formula == "2 moments × 4 bytes × 7,090,946 trainable parameters"
    assert cost.forward.formula == (
        "matrices: 1 message × 4 tokens × 84,936,192 weights"
        " + attention: 12 blocks × 2 products × 1 message × 4 × 4 token pairs × 768 dimensions"
    )
    assert cost.backward.formula == (
        "weight gradients of trainable matrices: 1 message × 4 tokens × 7,079,424 weights"
        " + input gradients of matrices crossed: 1 message × 4 tokens × 7,079,424 weights"
        " + attention: 1 block × 4 products × 1 message × 4 × 4 token pairs × 768 dimensions"
    )
    assert cost.activations.formula.startswith(
        "inputs and statistics of layer norms:"
        " 4 bytes × 1 message × 4 tokens × 2,310 numbers"
        " + inputs of trainable matrices: 4 bytes × 1 message × 4 tokens × 6,144 numbers + "
    )
    assert cost.activations.formula.endswith(
        " + attention weights: 4 bytes × 1 block × 1 message × 12 heads × 4 × 4 token pairs"
        " + causal masks: 1 byte × 1 block × 4 × 4 token pairs"
    )


def check_against_torch(cfg, plan, batch_size: int, num_tokens: int, num_classes: int = 2) -> None:
    model = plan.apply(classifier_without_weights(cfg, num_classes))
    cost = training_cost(cfg, plan, batch_size, num_tokens, num_classes)
    counted = torch_multiply_adds(model, batch_size, num_tokens)
    assert (cost.forward.amount, cost.backward.amount) == counted, plan
    assert cost.activations.amount == torch_keeps(model, batch_size, num_tokens), plan
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


@pytest.mark.parametrize("name", SIZES)
def test_the_costs_are_those_that_torch_has_for_every_size_and_preset(name):
    cfg = gpt_config(name)
    for preset in PRESETS.values():
        check_against_torch(cfg, preset(cfg["n_layers"]), 2, 7)


def test_one_block_and_one_head_without_qkv_bias_are_counted_as_torch_does():
    cfg = TINY | {"n_layers": 1, "n_heads": 1, "qkv_bias": False}
    for names in (part_names(1), {"trf_blocks.0.att"}, {"pos_emb"}):
        for b, n in ((1, 1), (1, 4), (3, 1)):
            check_against_torch(cfg, FreezePlan(1, names), b, n)


def test_adamw_keeps_the_bytes_that_the_costs_say():
    model, plan = replace_head(random_model(TINY)), FreezePlan.book(3)
    optimizer = torch.optim.AdamW(plan.apply(model).parameters())
    last_loss(model, 2, 5).backward()
    optimizer.step()
    states = optimizer.state.values()
    moments = [state[key] for state in states for key in ("exp_avg", "exp_avg_sq")]
    assert training_cost(TINY, plan).optimizer.amount == size_in_bytes(moments)


def test_the_first_block_in_the_last_ones_place_keeps_as_much_more_as_section_6_5_says():
    plans = FreezePlan.book(6), FreezePlan(6, {"trf_blocks.0", "final_norm", "out_head"})

    def of_both(**batch):
        return [training_cost(gpt_config("gpt2-nano (12M)"), plan, **batch) for plan in plans]

    last, first = of_both()
    assert (last.gradients, last.optimizer) == (first.gradients, first.optimizer)
    assert (str(last.activations), str(first.activations)) == ("55.8 kB", "196.4 kB")
    last, first = of_both(batch_size=100)
    assert (str(last.activations), str(first.activations)) == ("5.6 MB", "19.6 MB")
    assert last.gradients.amount + last.optimizer.amount < last.activations.amount
    last, first = of_both(batch_size=8, num_tokens=82)  # a batch of the bundled messages
    assert (str(last.activations), str(first.activations)) == ("10.4 MB", "39.6 MB")


def test_a_plan_with_nothing_trainable_needs_no_gradients_and_no_backward_pass():
    cost = training_cost(TINY, FreezePlan.nothing(3))
    assert [each.amount for each in (cost.gradients, cost.optimizer, cost.backward)] == [0, 0, 0]
    assert (cost.activations.amount, str(cost.activations)) == (0, "0")
    assert str(cost.gradients) == str(cost.backward) == "0"
    assert cost.gradients.formula == "4 bytes × 0 trainable parameters"
    assert cost.backward.formula == cost.activations.formula == NOTHING_LEARNS


def test_a_backward_formula_shows_only_the_parts_that_are_there():
    assert training_cost(TINY, FreezePlan.head_only(3), 2, 3).backward.formula == (
        "weight gradients of trainable matrices: 2 messages × 3 tokens × 16 weights"
    )
    assert training_cost(TINY, FreezePlan(3, {"final_norm"}), 1, 1).backward.formula == (
        "input gradients of matrices crossed: 1 message × 1 token × 16 weights"
    )


@pytest.mark.parametrize(
    ("amount", "unit", "shown"),
    [
        (0, "bytes", "0"),
        (999, "bytes", "999 bytes"),
        (999_949, "bytes", "999.9 kB"),
        (999_960, "bytes", "1.0 MB"),
        (6_230_000_000, "bytes", "6.2 GB"),
        (6_400, "multiply-adds", "6.4 thousand multiply-adds"),
        (167_300_000_000, "multiply-adds", "167.3 billion multiply-adds"),
        (12_345_678_000_000_000, "multiply-adds", "12,345.7 trillion multiply-adds"),
    ],
)
def test_an_amount_is_shown_in_the_unit_of_its_size(amount, unit, shown):
    assert str(Cost("", amount, unit, "")) == shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size must be a whole number from 1, not 0"),
        ({"num_tokens": -1}, "num_tokens must be a whole number from 1, not -1"),
        ({"num_tokens": 33}, "33 tokens are more than the context length of 32"),
        ({"num_classes": 1}, "num_classes must be a whole number from 2, not 1"),
        ({"plan": FreezePlan.book(12)}, "the plan is for 12 blocks, the configuration has 3"),
    ],
)
def test_what_cannot_be_a_training_step_is_refused_with_the_reason(arguments, message):
    with pytest.raises(ValueError, match=message):
        training_cost(**{"cfg": TINY, "plan": FreezePlan.book(3)} | arguments)


# --- a whole training -----------------------------------------------------------------------------

TRAIN_LENGTHS = (3, 1, 7, 2, 5, 7, 4)
VALIDATION_LENGTHS = (*range(1, 8), 9) * 4 + (6, 2)  # 34: more than are measured at once
SETTINGS = {"epochs": 2, "batch_size": 3}
SEEDS = itertools.count()
TRAINED = {
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


def work(plan, position="last", cfg=TINY, **settings):
    lengths = (TRAIN_LENGTHS, VALIDATION_LENGTHS)
    return work_of_training(cfg, plan, *lengths, position=position, **SETTINGS | settings)


def counted_in_fine_tune(plan, train=TRAIN, validation=VALIDATION, cfg=TINY, **settings) -> int:
    model = replace_head(random_model(cfg, seed=next(SEEDS)))  # nothing of it is cached yet
    settings = SETTINGS | settings
    return multiply_adds(
        lambda: fine_tune(model, train, validation, plan, progress=False, device="cpu", **settings)
    )


def counted_in_the_books_loop(plan) -> int:
    model = plan.apply(replace_head(random_model(TINY)))
    loaders = DataLoader(TRAIN, 3, shuffle=True, drop_last=True), DataLoader(VALIDATION, 3)
    optimizer = torch.optim.AdamW(model.parameters())
    return multiply_adds(
        lambda: train_classifier_simple(model, *loaders, optimizer, "cpu", 2, 50, 5)
    )


@pytest.mark.parametrize(
    "name",
    [
        *("a norm of the last block", "adapters in two blocks", "an adapter on one piece"),
        *(pytest.param(name, marks=pytest.mark.proof) for name in TRAINED),
    ],
)
def test_the_work_of_fine_tune_is_what_torch_counts_in_it(name):
    assert work(TRAINED[name]).fine_tune.amount == counted_in_fine_tune(TRAINED[name])


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize(
    "name",
    [
        "two blocks",
        *(pytest.param(n, marks=pytest.mark.proof) for n in ("head only", "everything")),
    ],
)
def test_the_work_of_fine_tune_is_what_torch_counts_at_each_position(name, position):
    plan = TRAINED[name]
    assert work(plan, position).fine_tune.amount == counted_in_fine_tune(plan, position=position)


def test_the_work_of_fine_tune_is_what_torch_counts_with_other_batches_and_without_biases():
    cfg, plan = TINY | {"qkv_bias": False, "n_heads": 1}, TRAINED["the last block"]
    counted = counted_in_fine_tune(plan, cfg=cfg, batch_size=8)
    assert work(plan, cfg=cfg, batch_size=8).fine_tune.amount == counted


@pytest.mark.parametrize(
    "name", ["the last block", pytest.param("adapters in two blocks", marks=pytest.mark.proof)]
)
def test_the_work_of_the_books_loop_is_what_torch_counts_in_it(name):
    assert work(TRAINED[name]).book.amount == counted_in_the_books_loop(TRAINED[name])


def test_the_books_loop_measures_every_50_steps_too():
    plan = FreezePlan.head_only(3)
    few, many = (work(plan, epochs=epochs, batch_size=1).book for epochs in (7, 8))
    assert few.formula.startswith("steps: 49 messages × ")
    assert f"measuring: {(1 + 7) * 10} messages" in few.formula
    assert f"measuring: {(2 + 8) * 10} messages" in many.formula


def test_costs_and_formulas_say_of_what_they_are():
    costs = (*training_cost(TINY, FreezePlan.book(3)), *work(FreezePlan.book(3)))
    assert [cost.what for cost in costs] == [
        "memory for the weights",
        "memory for the gradients",
        "memory for AdamW's moments",
        "memory kept for the backward pass",
        "work of the forward pass",
        "work of the backward pass",
        "work, all of the model in each step (the book's way)",
        "work, the frozen part only once (fine_tune's way)",
    ]
    formula = work(TRAINED["the last block"]).fine_tune.formula
    assert formula.startswith("the frozen part, once: ") and " + steps: " in formula
    assert " + measuring: 2 epochs × " in formula
    assert work(TRAINED["everything"]).fine_tune.formula.startswith("steps: ")  # no frozen part


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
        ({"train_lengths": [33]}, "33 tokens are more than the context length of 32"),
        ({"position": "middle"}, "not 'middle'"),
        ({"batch_size": 0}, "batch_size must be a whole number from 1, not 0"),
        ({"epochs": 0}, "epochs must be a whole number from 1, not 0"),
    ],
)
def test_what_cannot_be_a_training_is_refused_with_the_reason(changes, message):
    arguments = {"cfg": TINY, "plan": FreezePlan.book(3), "train_lengths": [3]}
    with pytest.raises(ValueError, match=message):
        work_of_training(**arguments | {"validation_lengths": [3]} | changes)
