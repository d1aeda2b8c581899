"""A check cell says what is off, whatever it is given."""

import math
import warnings
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch

from helpers.freezing import FreezePlan
from workshop.costs import training_cost
from workshop.exercises import check, check_cheapest_block, check_long_way, check_temperature
from workshop.widgets import FreezeExplorer

HINT = "Think of the bias."
LETTERS = {"a", "c", "e"}
CYCLIC = [1]
CYCLIC.append(CYCLIC)


def count_parameters():
    return 386


RIGHT = [
    (386, 386, "Right: 386."),
    (1538, 1538, "Right: 1,538."),
    (386.0, 386, "Right: 386."),
    (1, 1.0, "Right: 1."),
    (0.2877, 0.28768, "Right: 0.2877."),
    ("890,498", 890498, "Right: 890,498."),
    ("890 498", 890498, "Right: 890,498."),
    ("890\u202f498", 890498, "Right: 890,498."),
    ("890_498", 890498, "Right: 890,498."),
    (" 5 ", 5, "Right: 5."),
    ("−5", -5, "Right: -5."),
    ("0,75", 0.75, "Right: 0.75."),
    ("0,288", 0.28768, "Right: 0.2877."),
    ("75 %", 75, "Right: 75."),
    (np.int64(1045), 1045, "Right: 1,045."),
    (np.float32(0.2877), 0.28768, "Right: 0.2877."),
    (np.array([[386]]), 386, "Right: 386."),
    (torch.tensor(7), 7, "Right: 7."),
    (torch.tensor([7.0], requires_grad=True), 7, "Right: 7."),
    (torch.tensor([[0.2877]], dtype=torch.bfloat16), 0.28768, "Right: 0.2877."),
    (7, torch.tensor([7]), "Right: 7."),
    (pd.Series([386], index=["head"]), 386, "Right: 386."),
    (Decimal("0.2877"), 0.28768, "Right: 0.2877."),
    (Fraction(3, 4), 0.75, "Right: 0.75."),
    ("final_norm", "final_norm", "Right: final_norm."),
    (" Recall", "recall", "Right: recall."),
    (np.array(["recall"]), "recall", "Right: recall."),
    (["a", "C ", "e", "a"], LETTERS, "Right: {'a', 'c', 'e'}."),
    (np.array(["a", "c", "e"]), LETTERS, "Right: {'a', 'c', 'e'}."),
    (torch.Size([1, 4, 2]), (1, 4, 2), "Right: (1, 4, 2)."),
    (torch.tensor([1, 4, 2]), (1, 4, 2), "Right: (1, 4, 2)."),
    ([torch.tensor(1), np.int64(4), "2"], (1, 4, 2), "Right: (1, 4, 2)."),
    ([[1, 4], [2, 3]], ((1, 4), (2, 3)), "Right: ((1, 4), (2, 3))."),
    ((5,), (5,), "Right: (5,)."),
    (np.bool_(True), True, "Right: True."),
]
UNANSWERED = [
    (None, 5, "put your answer in the place of None and run both cells again."),
    (..., 5, "put your answer in the place of None"),
    ("", "recall", "the text is empty."),
    (set(), LETTERS, "there is nothing between the brackets."),
    (torch.ones(0, 3), 5, "there is nothing between the brackets."),
    (["a", None], LETTERS, "there is still a None in your answer."),
    ((1, None, 2), (1, 4, 2), "there is still a None in your answer."),
    (np.array([1, None]), 5, "there is still a None in your answer."),
]
WRONG = [
    # how far off a number is, and in which direction
    (384, 386, "384 is not it: too low, by less than 1 %."),
    (4, 5, "4 is not it: too low, by about 20 %."),
    (torch.tensor([4]), 5, "4 is not it: too low, by about 20 %."),
    (0.3, 0.28768, "0.3 is not it: too high, by about 4 %."),
    ("890,500", 890498, "890,500 is not it: too high, by less than 1 %."),
    (386.4, 386, "386.4 is not it: too high, by less than 1 %; the answer is whole."),
    (890497.5, 890498, "890,497.5 is not it: too low, by less than 1 %; the answer is whole."),
    (7000, 386, "7,000 is not it: too high, by a factor of about 18."),
    (30, 386, "30 is not it: too low, by a factor of about 13."),
    (0, 386, "0 is not it: too low; the answer is above 0."),
    (-3, 386, "-3 is not it: too low; the answer is above 0."),
    (3, 0, "3 is not it: too high; the answer is 0."),
    (1e308, 1e-300, "1e+308 is not it: too high, by a factor of a million or more."),
    (10**5000, 0.5, "a number of more than 60 digits is not it: the answer is a finite number."),
    ("9" * 5000, 5, f"{'9' * 60}… is not it: the answer is a number."),
    # what is the sign's or a factor's fault
    (-0.2877, 0.28768, "-0.2877 is not it: only its sign is wrong."),
    (772, 386, "772 is not it: it is 2 times the right number."),
    (96.5, 386, "96.5 is not it: it is the right number divided by 4."),
    (86, 0.86, "86 is not it: it is 100 times the right number (a fraction is not its per"),
    ("0.86", 86, "0.86 is not it: it is the right number divided by 100 (a fraction is not"),
    (890.498, 890498, "890.5 is not it: it is the right number divided by 1,000 (a comma"),
    # no number where one is due
    (math.nan, 0.5, "nan is not it: it stands for an undefined result, such as 0 · ∞."),
    (np.float64("nan"), 386, "nan is not it: it stands for an undefined result"),
    (-math.inf, 386, "-inf is not it: the answer is a finite number."),
    (True, 1, "True is not it: the answer is a number."),
    (torch.tensor(True), 1, "True is not it: the answer is a number."),
    ("five", 5, "five is not it: the answer is a number."),
    ("890,49", 5, "890,49 is not it: too high, by a factor of about 178; the answer is whole."),
    ((890, 498), 890498, "(890, 498) is not it: a comma made it 2 numbers; without it Python"),
    ({5}, 5, "{5} is not it: the answer is a number."),
    ([[1, 2], [3, 4]], 5, "[[1, 2], [3, 4]] is not it: the answer is a number."),
    (torch.ones(2), 5, "[1, 1] is not it: the answer is a number."),
    (torch.ones(50, 50), 5, "Tensor of shape (50, 50) is not it: the answer is a number."),
    (torch.ones(2, device="meta"), 5, "Tensor of shape (2,) is not it: the answer is a number."),
    (torch.eye(2).to_sparse(), 5, "Tensor of shape (2, 2) is not it: the answer is a number."),
    (np.zeros(3), 5, "[0, 0, 0] is not it: the answer is a number."),
    (pd.Series([1, 2]), 5, "[1, 2] is not it: the answer is a number."),
    (pd.DataFrame({"n": [5]}), 5, "DataFrame of shape (1, 1) is not it: the answer is a number."),
    (pd.NA, 5, "NAType is not it: the answer is a number."),
    (3 + 4j, 5, "complex is not it: the answer is a number."),
    ({"n": 5}, 5, "dict is not it: the answer is a number."),
    (torch.Tensor, 5, "_TensorMeta is not it: the answer is a number."),
    (count_parameters, 386, "the function count_parameters is not it: a function has to be called"),
    (torch.tensor(7).item, 7, "the function item is not it: a function has to be called"),
    # texts
    ("precision", "recall", "precision is not it."),
    (5, "recall", "5 is not it: the answer is a text, in quotes."),
    (["a", "b"], "recall", "['a', 'b'] is not it: the answer is a text, in quotes."),
    ("a\x1b[2J\ud800", "recall", r"'a\x1b[2J\ud800' is not it."),
    (1, True, "1 is not it: the answer is True or False."),
    # what is missing, what is too much
    ({"a", "c"}, LETTERS, "{'a', 'c'} is not it: missing: 'e'."),
    ([*"abcde"], LETTERS, "['a', 'b', 'c', 'd', 'e'] is not it: too much: 'b', 'd'."),
    ({"a", "b"}, LETTERS, "{'a', 'b'} is not it: missing: 'c', 'e'; too much: 'b'."),
    ({"b"}, LETTERS, "{'b'} is not it: nothing in it belongs there."),
    ([["a"], "c", "e"], LETTERS, "[['a'], 'c', 'e'] is not it: missing: 'a'; too much: ['a']."),
    (["a", pd.NA], LETTERS, "['a', NAType] is not it: missing: 'c', 'e'; too much: NAType."),
    (["a", np.array([1, 2])], LETTERS, "['a', [1, 2]] is not it: missing: 'c', 'e'; too much: [1"),
    ("ace", LETTERS, "ace is not it: the answer is a set: entries in curly brackets"),
    (5, LETTERS, "5 is not it: the answer is a set"),
    (range(9), {0, 1}, "(0, 1, 2, 3, 4, 5, … (3 more)) is not it: too much: 2, 3, 4, 5, 6, 7, …"),
    # which place
    ((1, 4, 3), (1, 4, 2), "(1, 4, 3) is not it: counted from 0, what differs is place 2 (3)."),
    ([4, 1], (1, 4), "[4, 1] is not it: all that is in it belongs there, but in other places."),
    (torch.Size([1, 4]), (1, 4, 2), "(1, 4) is not it: it has 2 entries, the answer has 3; miss"),
    ((4, 4, 2), (4, 2), "(4, 4, 2) is not it: it has 3 entries, the answer has 2."),
    ([[1, 4, 2]], (1, 4, 2), "[[1, 4, 2]] is not it: there is one pair of brackets too many"),
    ({1, 4, 2}, (1, 4, 2), "{1, 2, 4} is not it: a set has no order; use round brackets."),
    ("1, 4, 2", (1, 4, 2), "1, 4, 2 is not it: the answer is entries in order: in round brackets"),
    ((1, math.nan), (1, 4), "(1, nan) is not it: counted from 0, what differs is place 1 (nan)."),
    (CYCLIC, (1, 4), "[1, […]] is not it: counted from 0, what differs is place 1 ([…])."),
]  # fmt: skip


def ids_of(rows) -> list[str]:
    return [says for _, _, says in rows]


def said_of(given, expected, capsys) -> str:
    """What `check` prints; a warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(given, expected, HINT)
    printed = capsys.readouterr().out
    printed.encode()  # or a page could not show it
    return printed


@pytest.mark.parametrize(("given", "expected", "says"), RIGHT, ids=ids_of(RIGHT))
def test_the_right_answer_is_right_in_whatever_form(given, expected, says, capsys):
    assert said_of(given, expected, capsys) == f"{says}\n"


@pytest.mark.parametrize(("given", "expected", "says"), UNANSWERED, ids=ids_of(UNANSWERED))
def test_what_is_not_answered_yet_is_not_called_wrong(given, expected, says, capsys):
    printed = said_of(given, expected, capsys)
    assert printed.startswith(f"Not answered yet: {says}") and HINT not in printed


@pytest.mark.parametrize(("given", "expected", "says"), WRONG, ids=ids_of(WRONG))
def test_a_wrong_answer_hears_what_is_off_and_then_the_hint(given, expected, says, capsys):
    printed = said_of(given, expected, capsys)
    assert printed.startswith(says) and printed.endswith(f". {HINT}\n"), printed


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
        ({"out_head"}, "No block is wholly trainable"),
        ({f"{top}.att"}, "No block is wholly trainable"),
        ({top, low}, "The gradient goes down to trf_blocks.0"),
        ({top, "pos_emb"}, "The gradient goes down to pos_emb"),
        ({top}, "Right."),
        ({top, "final_norm"}, "Right."),
        ({top, "out_head"}, "Right."),
        ({top, "final_norm", "out_head"}, "Not yet. That is the book's choice"),
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


def test_the_cheapest_block_is_right_with_and_without_the_head_and_hears_what_the_head_costs(
    capsys,
):
    explorer = FreezeExplorer("gpt2-nano (12M)")
    figures = "1,536 of 3,554,304 multiply-adds, less than 0.1 %"
    plan = FreezePlan(6, {"trf_blocks.5", "out_head"})
    with_head = said(check_cheapest_block, explorer, plan, capsys)
    assert f"Only a frozen head would be cheaper, by {figures}." in with_head
    assert "its weights are random: it has to learn" in with_head
    without = said(check_cheapest_block, explorer, FreezePlan(6, {"trf_blocks.5"}), capsys)
    assert "let it learn, too" in without and figures in without


def test_a_head_of_many_classes_is_not_called_nearly_free(capsys):
    explorer = FreezeExplorer("gpt2-nano (12M)", num_classes=1000)
    plan = FreezePlan(6, {"trf_blocks.5", "out_head"})
    printed = said(check_cheapest_block, explorer, plan, capsys)
    assert "768,000 of 5,087,232 multiply-adds, 15.1 %" in printed


@pytest.mark.parametrize(("text", "num_classes"), [("Do you have time", 2), ("free " * 90, 1000)])
def test_right_is_every_plan_but_the_books_whose_extra_work_is_only_the_heads_matrix(
    text, num_classes, capsys
):
    explorer = FreezeExplorer("gpt2-nano (12M)", text, num_classes)
    b, n = next(shape.shape for shape in explorer.shapes if shape.part == "out_head")[:2]
    head = b * n * 192 * num_classes

    def backward(plan):
        return training_cost(explorer.cfg, plan, b, n, num_classes).backward.amount

    plans = [
        FreezePlan(6, {f"trf_blocks.{i}", *more})
        for i in range(6)
        for more in ((), ("out_head",), ("final_norm",), ("final_norm", "out_head"), ("pos_emb",))
    ]
    least = min(map(backward, plans))
    for plan in plans:
        right = said(check_cheapest_block, explorer, plan, capsys).startswith("Right.")
        cheap = backward(plan) - least in (0, head)
        assert right == (cheap and plan != FreezePlan.book(6)), plan


def test_before_anything_is_toggled_no_task_of_the_explorer_is_solved(capsys):
    explorer = FreezeExplorer("gpt2-nano (12M)")
    for task in (check_cheapest_block, check_long_way):
        task(explorer)
        assert capsys.readouterr().out.startswith("Not yet.")


# made up so that the least loss, 0.562, is at temperature 2 / ln 3 = 1.82: three of four are right
SURE = ([1, 1, 1, 0], [[0.0, 2.0]] * 4)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "Not answered yet"),
        (1.82, "Right: at 1.82 the loss is 0.562; without a temperature it is 0.627."),
        ("1.8", "Right: at 1.8"),
        (torch.tensor(2), "Right: at 2"),
        (
            1,
            "Not yet: at 1 the loss is 0.627. It falls if the answers become less sure: go higher.",
        ),
        (9, "It falls if the answers become surer: go lower."),
        (1e-300, "less sure: go higher"),
        (0, "0 is not it: a temperature is a number above 0."),
        (-1, "a number above 0"),
        (math.nan, "a number above 0"),
        (math.inf, "a number above 0"),
        ("warm", "warm is not it: a temperature is a number above 0."),
        ([1, 2], "a number above 0"),
        (len, "a number above 0"),
        (10**400, "a number above 0"),
    ],
)
def test_a_temperature_near_the_best_is_right_and_another_hears_which_way(given, words, capsys):
    check_temperature(given, *SURE)
    assert words in capsys.readouterr().out


def test_where_every_answer_is_right_no_temperature_is_best(capsys):
    check_temperature(2, [1], [[0.0, 2.0]])
    assert "no temperature is best: every answer is right" in capsys.readouterr().out
