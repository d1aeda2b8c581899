"""The costs are those that torch itself has: its gradients, AdamW's state, its own count of
operations.
"""

import math
import random
import re

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from helpers.config import MODEL_CONFIGS, gpt_config
from helpers.costs import Cost, training_cost
from helpers.freezing import FreezePlan, classifier_without_weights, pieces_of, replace_head
from helpers.model import part_names
from tests.conftest import TINY, random_model

PRESETS = {
    "nothing": FreezePlan.nothing,
    "head only": FreezePlan.head_only,
    "book": FreezePlan.book,
    "last two": lambda n: FreezePlan.last_blocks(n, 2),
    "everything": FreezePlan.everything,
}


def plans_for_tiny(number: int) -> list[FreezePlan]:
    """Every preset, every part and piece alone, and `number` random plans of parts and pieces."""
    rng, parts = random.Random(0), part_names(3)
    names = sorted({*parts, *(piece for part in parts for piece in pieces_of(part))})
    choices = [[name] for name in names] + [
        rng.sample(names, rng.randint(1, len(names) // 2)) for _ in range(number)
    ]
    return [preset(3) for preset in PRESETS.values()] + [
        FreezePlan(3, frozenset(choice)) for choice in choices
    ]


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


def test_the_costs_of_the_books_plan_read_as_in_the_text():
    cost = training_cost(gpt_config("gpt2-small (124M)"), FreezePlan.book(12))
    assert [str(each) for each in cost] == [
        "497.8 MB",
        "28.4 MB",
        "56.7 MB",
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
    assert [each.what for each in cost][1::2] == [
        "memory for the gradients",
        "work of the forward pass",
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
def test_work_equals_torchs_own_count_for_every_size_and_preset(name):
    cfg = gpt_config(name)
    model = classifier_without_weights(cfg)
    for preset in PRESETS.values():
        plan = preset(cfg["n_layers"])
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
        assert cost.weights.amount == size_in_bytes(model.parameters())


def test_a_plan_with_nothing_trainable_needs_no_gradients_and_no_backward_pass():
    cost = training_cost(TINY, FreezePlan.nothing(3))
    assert [each.amount for each in (cost.gradients, cost.optimizer, cost.backward)] == [0, 0, 0]
    assert str(cost.gradients) == str(cost.backward) == "0"
    assert cost.gradients.formula == "4 bytes × 0 trainable parameters"
    assert cost.backward.formula == "no trainable part, no backward pass"


def test_a_backward_formula_shows_only_the_parts_that_are_there():
    assert training_cost(TINY, FreezePlan.head_only(3), 2, 3).backward.formula == (
        "weight gradients of trainable matrices: 2 messages × 3 tokens × 16 weights"
    )
    assert training_cost(TINY, FreezePlan(3, {"final_norm"}), 1, 1).backward.formula == (
        "input gradients of matrices crossed: 1 message × 1 token × 16 weights"
    )


def test_every_formula_gives_the_amount_beside_it():
    for plan in plans_for_tiny(40):
        for cost in training_cost(TINY, plan, 3, 17, 5):
            terms = cost.formula.split(" + ") if any(map(str.isdigit, cost.formula)) else []
            factors = [
                [int(number.replace(",", "")) for number in re.findall(r"[\d,]+", term)]
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
