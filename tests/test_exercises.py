"""A check cell says what is wrong, whatever it is given."""

import warnings

import numpy as np
import pytest
import torch

from helpers.freezing import FreezePlan
from workshop.costs import training_cost
from workshop.exercises import check, check_cheapest_block, check_long_way, check_temperature
from workshop.widgets import FreezeExplorer

HINT = "Think of the bias."
LETTERS = {"a", "c", "e"}


def count_parameters():
    return 386


RIGHT = [
    (386, 386, "386."),
    (0.2877, 0.28768, "0.2877."),
    ("890\u202f498", 890498, "890,498."),
    ("−5", -5, "-5."),
    ("0,75", 0.75, "0.75."),
    ("75 %", 75, "75."),
    (torch.tensor([7.0], requires_grad=True), 7, "7."),
    (torch.tensor([[0.2877]], dtype=torch.bfloat16), 0.28768, "0.2877."),
    ("final_norm", "final_norm", "final_norm."),
    (["a", "C ", "e", "a"], LETTERS, "{'a', 'c', 'e'}."),
    (np.array(["a", "c", "e"]), LETTERS, "{'a', 'c', 'e'}."),
]
NO_NUMBER = "is not it: the answer is a number."
WRONG = [
    (384, 386, "384 is not it: too low."),
    ("9" * 5000, 5, f"{'9' * 60}… {NO_NUMBER}"),
    (True, 1, f"True {NO_NUMBER}"),
    ((890, 498), 890498, f"(890, 498) {NO_NUMBER}"),
    (count_parameters, 386, "the function count_parameters is not it: a function has to be called"),
    ("precision", "recall", "precision is not it. Think"),
    (5, "recall", "5 is not it: the answer is a text, in quotes."),
    ({"a", "b"}, LETTERS, "{'a', 'b'} is not it: missing: c, e; too much: b."),
    ({"b"}, LETTERS, "{'b'} is not it: nothing in it belongs there."),
    (5, LETTERS, "5 is not it: the answer is a set: entries in curly brackets"),
]  # fmt: skip


def reply(given, expected, capsys) -> str:
    """What `check` prints; a warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(given, expected, HINT)
    return capsys.readouterr().out


@pytest.mark.parametrize(("given", "expected", "words"), RIGHT)
def test_the_right_answer_is_right_in_whatever_form(given, expected, words, capsys):
    assert reply(given, expected, capsys) == f"Right: {words}\n"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "put your answer in the place of None and run both cells again."),
        (set(), "your answer is empty."),
        (["a", None], "there is still a None in your answer."),
    ],
)
def test_what_is_not_answered_yet_is_not_called_wrong(given, words, capsys):
    assert reply(given, LETTERS, capsys) == f"Not answered yet: {words}\n"


@pytest.mark.parametrize(("given", "expected", "words"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_answer_hears_what_is_wrong_and_then_the_hint(given, expected, words, capsys):
    printed = reply(given, expected, capsys)
    assert words in printed and printed.endswith(f". {HINT}\n"), printed


def reply_to_plan(check_plan, explorer, plan, capsys) -> str:
    explorer.plan = plan
    check_plan(explorer)
    return capsys.readouterr().out


def test_each_wrong_choice_in_the_explorer_gets_its_own_remark(capsys):
    explorer = FreezeExplorer("gpt2-nano (12M)", num_classes=5)
    top, low = "trf_blocks.5", "trf_blocks.0"
    for parts, remark in (
        ({"out_head"}, "No block is wholly trainable"),
        ({f"{top}.att"}, "No block is wholly trainable"),
        ({top, low}, "The gradient goes down to trf_blocks.0"),
        ({top, "pos_emb"}, "The gradient goes down to pos_emb"),
        ({top, "final_norm", "out_head"}, "Not yet. That is the book's choice"),
    ):
        assert remark in reply_to_plan(check_cheapest_block, explorer, FreezePlan(6, parts), capsys)
    for parts, remark in (
        (set(), "Nothing is trainable"),
        ({"tok_emb"}, "% are trainable: too many"),
        ({"out_head"}, "The backward pass has 0 % of that work"),
        ({"trf_blocks.3.norm1"}, "% of that work"),
        ({f"{low}.norm1"}, "Right."),
        ({f"{low}.norm2"}, "Right."),
    ):
        assert remark in reply_to_plan(check_long_way, explorer, FreezePlan(6, parts), capsys)


def test_right_is_every_plan_but_the_books_whose_extra_work_is_only_the_heads_matrix(capsys):
    explorer = FreezeExplorer("gpt2-nano (12M)", "Do you have time")
    for task in (check_cheapest_block, check_long_way):  # before anything is toggled
        task(explorer)
        assert capsys.readouterr().out.startswith("Not yet.")
    work, replies = {}, {}
    for i in range(6):
        for more in ((), ("out_head",), ("final_norm",), ("final_norm", "out_head"), ("pos_emb",)):
            plan = FreezePlan(6, {f"trf_blocks.{i}", *more})
            work[plan] = training_cost(explorer.cfg, plan, 1, 4, 2).backward.amount
            replies[plan] = reply_to_plan(check_cheapest_block, explorer, plan, capsys)
    heads_matrix = 4 * 192 * 2
    for plan, amount in work.items():
        is_cheap = amount - min(work.values()) in (0, heads_matrix)
        is_right = is_cheap and plan != FreezePlan.book(6)
        assert replies[plan].startswith("Right.") == is_right, plan
    numbers = f"{heads_matrix:,} of {min(work.values()) + heads_matrix:,} multiply-adds"
    alone = replies[FreezePlan(6, {"trf_blocks.5"})]
    assert f"let it learn, too; its matrix takes {numbers}." in alone
    with_head = replies[FreezePlan(6, {"trf_blocks.5", "out_head"})]
    assert f"Only a frozen head would be cheaper, by {numbers}." in with_head


# made up so that the least loss, 0.562, is at temperature 2 / ln 3 = 1.82: three of four are right
CONFIDENT = ([1, 1, 1, 0], [[0.0, 2.0]] * 4)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "Not answered yet"),
        (1.82, "Right: at 1.82 the loss is 0.562; without a temperature it is 0.627."),
        (1, "Not yet: at 1 the loss is 0.627. It falls if the answers become less sure: go higher"),
        (9, "It falls if the answers become surer: go lower."),
        (0, "0 is not it: a temperature is a number above 0."),
        ("warm", "warm is not it: a temperature is a number above 0."),
    ],
)
def test_a_temperature_near_the_best_is_right_and_another_hears_which_way(given, words, capsys):
    check_temperature(given, *CONFIDENT)
    assert words in capsys.readouterr().out


def test_where_every_answer_is_right_no_temperature_is_best(capsys):
    check_temperature(1, [1, 1], [[0.0, 2.0]] * 2)
    assert capsys.readouterr().out.startswith("On these messages no temperature is best: ")
