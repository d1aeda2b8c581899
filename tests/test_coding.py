"""A learner's code is answered with what is wrong with it, whatever it is."""

import ast
import inspect
import re
import tomllib

import pytest
import torch

from tests.conftest import ROOT
from workshop.exercises import check_code, mistakes, trials
from workshop.exercises.coding import NOT_YET_WRITTEN, judge
from workshop.exercises.mistakes import Mistake, call, compare
from workshop.exercises.record import OPEN, SOLVED, TRIED
from workshop.exercises.trials import TRIALS

SOLUTIONS = tomllib.loads((ROOT / "tests" / "wrong" / "solutions.toml").read_text("utf-8"))
EXERCISES = {exercise.split()[1]: trial for exercise, trial in TRIALS.items()}
WRONG = [(name, *wrong) for name in SOLUTIONS for wrong in SOLUTIONS[name]["wrong"]]


def written(source: str, name: str = "f"):
    names: dict = {}
    exec(compile(source, "<a cell>", "exec"), names)
    return names[name]


def try_double(solve) -> str:
    compare(call(solve, 3), 6, {"you squared.": 9})
    return "the number 3"


def reply_with(name: str, old: str, new: str) -> tuple[str, str]:
    right = SOLUTIONS[name]["right"]
    assert old in right
    return judge(written(right.replace(old, new), name), EXERCISES[name])


@pytest.mark.parametrize(("name", "old", "new", "words"), WRONG)
def test_a_wrong_solution_gets_its_own_sentence(name, old, new, words):
    state, reply = reply_with(name, old, new)
    assert state == TRIED and words in reply, reply


@pytest.mark.parametrize("name", EXERCISES)
def test_a_right_solution_is_right(name):
    state, reply = judge(written(SOLUTIONS[name]["right"], name), EXERCISES[name])
    assert state == SOLVED and reply.startswith("Right: tried with "), reply
    assert len(SOLUTIONS[name]["wrong"]) >= 3


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("my_frozen_blocks", "return 0", "return None"),  # as the course's own says it
        ("my_precision_recall", "precision, recall", "[precision, recall]"),
        ("my_loss_of_last_position", "labels)\n", "labels).item()\n"),
        ("my_last_query_attention", "queries[:, -1:]", "queries[:, [-1]]"),
    ],
)
def test_an_exercise_may_be_solved_in_another_way(name, old, new):
    assert reply_with(name, old, new)[0] == SOLVED


def test_every_sentence_of_a_trial_is_said_to_some_wrong_solution():
    heard = "\n".join(reply_with(name, old, new)[1] for name, old, new, _ in WRONG)
    source = "".join(map(inspect.getsource, (mistakes, trials)))
    for function in ast.parse(source).body:
        if not isinstance(function, ast.FunctionDef | ast.ClassDef):
            continue
        nodes = [*ast.walk(function)]
        # docstrings, and what was tried
        silent = [node.value for node in nodes if isinstance(node, ast.Return | ast.Expr)]
        for node in nodes:
            is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
            if is_text and node not in silent and re.search("[a-z]{2} [a-z]+ [a-z]", node.value):
                assert node.value in heard, node.value


def test_a_stub_is_not_written_yet(capsys):
    for source in (
        'def f(x):\n    """What it does."""\n    ...',
        "def f(x):\n    pass",
        "import torch\n@torch.no_grad()\ndef f(x):\n    ...",
        "class f:\n    def get(self, x):\n        ...\n    def __len__(self):\n        return 3",
    ):
        assert judge(written(source), try_double) == (OPEN, NOT_YET_WRITTEN)
    check_code(len)  # which is no exercise
    assert "keep the stub's name" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("body", "state", "words"),
    [
        ("return 2 * x", SOLVED, "Right: tried with the number 3."),
        ("return x * x", TRIED, "Not yet: you squared."),
        ("return 6.01", TRIED, "Not yet: the result should be 6.0, not 6.01."),
        ("y = 2 * x", TRIED, "Not yet: it returns nothing: is there a `return` at its end?"),
        ("return torch.ones(2)", TRIED, "the shape of the result should be (), not (2,)."),
        ("return x[0]", TRIED, "your line 3 raised TypeError: 'int' object is not subscriptable"),
        ("return 'six'", TRIED, "another kind than asked for (ValueError: could not convert"),
    ],
)
def test_each_kind_of_code_hears_what_is_wrong_with_it(body, state, words):
    got, reply = judge(written(f"import torch\ndef f(x):\n    {body}"), try_double)
    assert got == state and words in reply
    assert "coding.py" not in reply and "try_double" not in reply


def test_another_first_line_and_a_changed_argument_are_said_to_be_the_mistake():
    reply = judge(written("def f(): return 6"), try_double)[1]
    assert "the stub's first line has changed (f() takes 0 positional arguments" in reply
    numbers = torch.arange(3)
    with pytest.raises(Mistake, match="changed what it was given"):
        call(lambda given: given.add_(1), numbers)
    assert numbers.tolist() == [0, 1, 2]
