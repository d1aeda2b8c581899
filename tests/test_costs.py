"""The costs are those that torch itself has: its gradients, AdamW's state, what it keeps for the
backward pass, its own count of operations.
"""

import math
import random
import re

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from helpers.config import MODEL_CONFIGS, gpt_config
from helpers.freezing import FreezePlan, classifier_without_weights, pieces_of, replace_head
from helpers.model import part_names
from tests.conftest import TINY, random_model
from workshop.costs import NOTHING_LEARNS, Cost, training_cost

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
    """Every preset, every part and piece alone, and `number` random plans of parts and pieces."""
    rng, parts = random.Random(0), part_names(3)
    names = sorted({*parts, *(piece for part in parts for piece in pieces_of(part))})
    choices = [[name] for name in names] + [
        rng.sample(names, rng.randint(1, len(names) // 2)) for _ in range(number)
    ]
    presets = [preset(3) for preset in PRESETS.values()]
    plain = [plan for plan in presets if not plan.adapted]  # they can share a model
    return plain + [FreezePlan(3, frozenset(choice)) for choice in choices]


def plans_with_adapters(number: int) -> list[FreezePlan]:
    """Random plans of pieces of the tiny model that are frozen, trainable, or have adapters."""
    rng, plans = random.Random(4), []
    pieces = [piece for part in part_names(3) for piece in pieces_of(part)]
    for _ in range(number):
        some = rng.sample(pieces, rng.randint(1, len(pieces)))
        adapted = {p for p in some if p.endswith((".att", ".ff")) and rng.random() < 0.6}
        rank = rng.choice((1, 2, 5))
        plans.append(FreezePlan(3, frozenset(some) - adapted, frozenset(adapted), rank))
    return plans


def last_loss(model, batch_size: int, num_tokens: int) -> torch.Tensor:
    device = model.out_head.weight.device
    token_ids = torch.ones(batch_size, num_tokens, dtype=torch.long, device=device)
    return cross_entropy(
        model(token_ids)[:, -1, :], torch.zeros(batch_size, dtype=torch.long, device=device)
    )


def torch_multiply_adds(model, batch_size: int, num_tokens: int) -> tuple[int, int]:
    """What torch counts in one forward and in one backward pass.

    To it a multiply-add is two operations.
    """
    with FlopCounterMode(display=False) as forward:
        loss = last_loss(model, batch_size, num_tokens)
    with FlopCounterMode(display=False) as backward:
        if loss.requires_grad:
            loss.backward()
    return forward.get_total_flops() // 2, backward.get_total_flops() // 2


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
    assert [each.what for each in cost][1::2] == [
        "memory for the gradients",
        "memory kept for the backward pass",
        "work of the backward pass",
    ]


def test_memory_equals_the_bytes_that_one_step_of_torch_and_adamw_fills():
    for plan in plans_for_tiny(40):
        model = plan.apply(replace_head(random_model(TINY)))
        optimizer = torch.optim.AdamW(model.parameters())
        loss = last_loss(model, 2, 5)
        if loss.requires_grad:
            loss.backward()
        optimizer.step()
        moments = [
            state[key] for state in optimizer.state.values() for key in ("exp_avg", "exp_avg_sq")
        ]
        cost = training_cost(TINY, plan)
        assert cost.weights.amount == size_in_bytes(model.parameters())
        assert cost.gradients.amount == size_in_bytes(
            p.grad for p in model.parameters() if p.grad is not None
        ), plan
        assert cost.optimizer.amount == size_in_bytes(moments), plan


@pytest.mark.parametrize("name", MODEL_CONFIGS)
def test_memory_kept_for_the_backward_pass_is_what_torch_keeps_for_every_size_and_preset(name):
    cfg = gpt_config(name)
    for preset in PRESETS.values():
        plan, model = preset(cfg["n_layers"]), classifier_without_weights(cfg)
        counted = training_cost(cfg, plan, batch_size=8, num_tokens=82).activations.amount
        assert counted == torch_keeps(plan.apply(model), 8, 82), plan


def test_memory_kept_for_the_backward_pass_is_what_torch_keeps_for_random_plans_and_batches():
    rng, model = random.Random(2), replace_head(random_model(TINY), 3)
    for plan in plans_for_tiny(120):
        b, n = rng.choice((1, 2, 5)), rng.choice((1, 2, 9, 32))
        counted = training_cost(TINY, plan, b, n, 3).activations.amount
        assert counted == torch_keeps(plan.apply(model.train()), b, n), (plan, b, n)


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


@pytest.mark.parametrize("name", MODEL_CONFIGS)
def test_work_equals_torchs_own_count_for_every_size_and_preset(name):
    cfg = gpt_config(name)
    for preset in PRESETS.values():
        plan, model = preset(cfg["n_layers"]), classifier_without_weights(cfg)
        cost = training_cost(cfg, plan, batch_size=2, num_tokens=7)
        assert (cost.forward.amount, cost.backward.amount) == torch_multiply_adds(
            plan.apply(model), 2, 7
        )


def test_work_equals_torchs_own_count_for_random_plans_batches_lengths_and_classes():
    rng = random.Random(1)
    models = {
        num_classes: replace_head(random_model(TINY), num_classes) for num_classes in (2, 3, 7)
    }
    for plan in plans_for_tiny(120):
        b, n, num_classes = rng.choice((1, 2, 5)), rng.choice((1, 2, 9, 32)), rng.choice((2, 3, 7))
        cost = training_cost(TINY, plan, b, n, num_classes)
        counted = torch_multiply_adds(plan.apply(models[num_classes]), b, n)
        assert (cost.forward.amount, cost.backward.amount) == counted, (plan, b, n)


def test_the_costs_of_adapters_are_those_that_torch_has_of_pefts():
    for plan in plans_with_adapters(60):
        b, n = (rng := random.Random(str(plan))).choice((1, 2, 5)), rng.choice((1, 2, 9, 32))
        model, cost = plan.apply(classifier_without_weights(TINY)), training_cost(TINY, plan, b, n)
        counted = (cost.forward.amount, cost.backward.amount)
        assert counted == torch_multiply_adds(model, b, n), (plan, b, n)
        assert cost.activations.amount == torch_keeps(model, b, n), (plan, b, n)
        learned = [p for p in model.parameters() if p.requires_grad]
        assert cost.weights.amount == size_in_bytes(model.parameters())
        assert cost.optimizer.amount == 2 * cost.gradients.amount == 2 * size_in_bytes(learned)


def test_one_block_and_one_head_without_qkv_bias_are_counted_as_torch_does():
    cfg = TINY | {"n_layers": 1, "n_heads": 1, "qkv_bias": False}
    for plan in (
        FreezePlan.everything(1),
        FreezePlan(1, {"trf_blocks.0.att"}),
        FreezePlan(1, {"pos_emb"}),
    ):
        model = plan.apply(replace_head(random_model(cfg)))
        for b, n in ((1, 1), (1, 4), (3, 1)):
            cost = training_cost(cfg, plan, b, n)
            assert (cost.forward.amount, cost.backward.amount) == torch_multiply_adds(model, b, n)
            assert cost.activations.amount == torch_keeps(model, b, n)
        assert cost.weights.amount == size_in_bytes(model.parameters())


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


def test_every_formula_gives_the_amount_beside_it():
    for plan in plans_for_tiny(40) + plans_with_adapters(20):
        for cost in training_cost(TINY, plan, 3, 17, 5):
            terms = cost.formula.split(" + ") if any(map(str.isdigit, cost.formula)) else []
            factors = [
                [int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", term)]
                for term in terms
            ]
            assert sum(map(math.prod, factors)) == cost.amount, cost


@pytest.mark.parametrize(
    "amount, unit, shown",
    [
        (0, "bytes", "0"),
        (0, "multiply-adds", "0"),
        (999, "bytes", "999 bytes"),
        (1000, "bytes", "1.0 kB"),
        (999_949, "bytes", "999.9 kB"),
        (999_960, "bytes", "1.0 MB"),
        (6_230_000_000, "bytes", "6.2 GB"),
        (640, "multiply-adds", "640 multiply-adds"),
        (6_400, "multiply-adds", "6.4 thousand multiply-adds"),
        (167_300_000_000, "multiply-adds", "167.3 billion multiply-adds"),
        (12_345_678_000_000_000, "multiply-adds", "12,345.7 trillion multiply-adds"),
    ],
)
def test_an_amount_is_shown_in_the_unit_of_its_size(amount, unit, shown):
    assert str(Cost("", amount, unit, "")) == shown


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"batch_size": 0}, "batch_size must be a whole number from 1, not 0"),
        ({"batch_size": 1.5}, "batch_size must be a whole number from 1, not 1.5"),
        ({"num_tokens": -1}, "num_tokens must be a whole number from 1, not -1"),
        ({"num_tokens": "4"}, "num_tokens must be a whole number from 1, not '4'"),
        ({"num_tokens": 33}, "33 tokens are more than the context length of 32"),
        ({"num_classes": 1}, "num_classes must be a whole number from 2, not 1"),
        ({"plan": FreezePlan.book(12)}, "the plan is for 12 blocks, the configuration has 3"),
    ],
)
def test_what_cannot_be_a_training_step_is_refused_with_the_reason(arguments, message):
    with pytest.raises(ValueError, match=message):
        training_cost(**{"cfg": TINY, "plan": FreezePlan.book(3)} | arguments)
