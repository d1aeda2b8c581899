"""A check cell says what is off."""

import numpy as np
import pytest
import torch

from helpers.config import gpt_config
from helpers.costs import training_cost
from helpers.exercises import check, check_cheapest_block, check_long_way
from helpers.freezing import FreezePlan
from helpers.widgets import FreezeExplorer


@pytest.mark.parametrize(
    ("given", "expected", "says"),
    [
        (None, 5, "Not answered yet"),
        (386, 386, "Right: 386."),
        (1538, 1538, "Right: 1,538."),
        (384, 386, "384 is not it. Think of the bias."),
        (0.2877, 0.28768, "Right: 0.2877."),
        (0.3, 0.28768, "0.3 is not it."),
        (1, 1.0, "Right"),
        ("final_norm", "final_norm", "Right: final_norm."),
        ("5", 5, "5 is not it."),
        (386.0, 386, "Right: 386."),
        (386.4, 386, "386.4 is not it."),
        (np.int64(1045), 1045, "Right: 1,045."),
        (torch.tensor(7), 7, "Right: 7."),
        (" Recall", "recall", "Right: recall."),
        (["a", "c"], {"c", "a"}, "Right"),
        (torch.Size([1, 4, 2]), (1, 4, 2), "Right"),
        ("ac", {"a", "c"}, "ac is not it."),
        ({"a"}, {"a", "c"}, "{'a'} is not it."),
        (float("nan"), 0.5, "nan is not it."),
        (True, 1, "True is not it."),
    ],
)
def test_the_answer_is_judged_and_the_hint_given_only_when_wrong(given, expected, says, capsys):
    check(given, expected, "Think of the bias.")
    printed = capsys.readouterr().out
    assert printed.startswith(says) and ("Think of the bias." in printed) == ("is not it" in says)


# --- the tasks of section 6.5 ---


def said(check, explorer, plan, capsys) -> str:
    explorer.plan = plan
    check(explorer)
    return capsys.readouterr().out


@pytest.mark.parametrize("name", ["gpt2-nano (12M)", "gpt2-xl (1558M)"])
def test_each_wrong_choice_in_the_explorer_gets_its_own_remark(name, capsys):
    explorer = FreezeExplorer(name, num_classes=5)
    n = explorer.plan.n_layers
    top, low = f"trf_blocks.{n - 1}", "trf_blocks.0"
    for parts, remark in (
        ({top, "final_norm", "out_head"}, "the book's choice"),
        ({"out_head"}, "No block is wholly trainable"),
        ({f"{top}.att"}, "No block is wholly trainable"),
        ({top, low}, "The gradient goes down to trf_blocks.0"),
        ({top, "pos_emb"}, "The gradient goes down to pos_emb"),
        ({top, "out_head"}, "multiply-adds. One more part has a matrix"),
        ({top}, "Right."),
        ({top, "final_norm"}, "Right."),
    ):
        assert remark in said(check_cheapest_block, explorer, FreezePlan(n, parts), capsys), parts
    for parts, remark in (
        (set(), "Nothing is trainable"),
        ({"tok_emb"}, "% are trainable: too many"),
        ({"out_head"}, "The backward pass has 0 % of that work"),
        ({f"trf_blocks.{n // 2}.norm1"}, "% of that work"),
        ({f"{low}.norm1"}, "Right."),
        ({f"{low}.norm2"}, "Right."),
    ):
        assert remark in said(check_long_way, explorer, FreezePlan(n, parts), capsys), parts


def test_no_choice_that_trains_a_block_is_cheaper_than_the_one_called_right():
    cfg = gpt_config("gpt2-nano (12M)")
    least = training_cost(cfg, FreezePlan(6, {"trf_blocks.5"})).backward.amount
    others = [
        FreezePlan(6, {f"trf_blocks.{i}", *more})
        for i in range(6)
        for more in ((), ("out_head",), ("final_norm",))
    ]
    assert min(training_cost(cfg, plan).backward.amount for plan in others) == least
