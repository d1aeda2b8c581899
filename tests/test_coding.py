"""A learner's function is answered with what is wrong with it, and the page continues with it."""

import ast
import copy
import inspect
import re
import tomllib
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from torch.utils.data import Dataset

import workshop.exercises
from tests.conftest import ROOT
from workshop.exercises import check_code, progress
from workshop.exercises.coding import judge
from workshop.exercises.mistakes import Exercise, Mistake, call, expect
from workshop.exercises.record import OPEN, SOLVED, TRIED
from workshop.exercises.trials import EXERCISES, section_6_3

pytestmark = pytest.mark.filterwarnings("ignore:the message has")  # the course's own truncates
SOLUTIONS = tomllib.loads((ROOT / "tests" / "wrong" / "solutions.toml").read_text("utf-8"))
FURTHER = tomllib.loads((ROOT / "tests" / "wrong" / "further.toml").read_text("utf-8"))["solution"]
NO_CAUSE = "Not yet: your line "  # an error, as Python describes it
ALSO_RIGHT = [
    (name, SOLUTIONS[name]["right"].replace(*other))
    for name in SOLUTIONS
    for other in SOLUTIONS[name].get("also_right", [])
] + [(name, whole) for name in SOLUTIONS for whole in SOLUTIONS[name].get("whole", [])]


def written(source: str):
    """What a learner's cell defines."""
    names = {"np": np, "pd": pd, "torch": torch, "Dataset": Dataset}  # as on the pages
    exec(compile(source, "<a cell>", "exec"), names)
    return [value for name, value in names.items() if name.lower().startswith("my")][-1]


def right(name: str):
    return written(SOLUTIONS[name]["right"])


@cache
def reply_to(name: str, source: str) -> tuple[str, str]:
    return judge(written(source), EXERCISES[name])


def wrong_solutions() -> list[tuple[str, str, str]]:
    """The exercise, the source, and words of the reply to it."""
    wrong = [(w["exercise"], w["source"], w.get("heard", NO_CAUSE)) for w in FURTHER]
    for name, solution in SOLUTIONS.items():
        for old, new, words in solution["wrong"]:
            assert old in solution["right"]
            wrong.append((name, solution["right"].replace(old, new), words))
    return wrong


WRONG = wrong_solutions()


@pytest.mark.parametrize(("name", "source", "words"), WRONG)
def test_a_wrong_solution_gets_its_own_sentence(name, source, words):
    state, reply = reply_to(name, source)
    assert state == TRIED and words in reply, reply


@pytest.mark.parametrize("name", EXERCISES)
def test_a_right_solution_is_right(name):
    state, reply = judge(right(name), EXERCISES[name])
    assert state == SOLVED and reply.startswith("Right: tried with "), reply
    assert len(SOLUTIONS[name]["wrong"]) >= 10


@pytest.mark.parametrize(("name", "source"), ALSO_RIGHT)
def test_an_exercise_may_be_solved_in_another_way_such_as_the_books(name, source):
    state, reply = judge(written(source), EXERCISES[name])
    assert state == SOLVED, reply


@pytest.mark.parametrize("name", EXERCISES)
def test_the_courses_own_function_passes_the_trial(name):
    assert EXERCISES[name].trial(EXERCISES[name].course)


def with_first(solution, argument: str):
    """A solution that takes for an argument what it was given in the first call.

    Without an argument: one that always returns what it returned then, and changes nothing.
    """
    seen: list = []
    signature = inspect.signature(solution)

    def ignoring(*arguments, **settings):
        bound = signature.bind(*arguments, **settings)
        bound.apply_defaults()
        if not seen:
            given = copy.deepcopy(bound.arguments)
            seen.append(given[argument] if argument else solution(*given.values()))
        if not argument:
            return copy.deepcopy(seen[0])
        values = [
            copy.deepcopy(seen[0]) if name == argument else value
            for name, value in bound.arguments.items()
        ]
        return solution(*values)

    return ignoring


IGNORING = [
    (name, argument)
    for name in EXERCISES
    for argument in ["", *inspect.signature(right(name)).parameters]
]


@pytest.mark.parametrize(("name", "argument"), IGNORING)
def test_a_constant_and_what_ignores_an_argument_never_passes(name, argument):
    state, reply = judge(with_first(right(name), argument), EXERCISES[name])
    assert state == TRIED, reply


SILENT = {"Invalid file path"}  # no sentence to a learner


def sentences_in(path: Path) -> list[str]:
    """The texts of a file that may be said, without docstrings and what a trial says it has tried."""
    texts = []
    for part in ast.parse(path.read_text(encoding="utf-8")).body:
        nodes = [*ast.walk(part)] if not isinstance(part, ast.Import | ast.ImportFrom) else []
        silent = [node.value for node in nodes if isinstance(node, ast.Return | ast.Expr)]
        constants = [node for node in nodes if isinstance(node, ast.Constant)]
        texts += [node.value for node in constants if node not in silent]
    words = re.compile("[a-z]{2} [a-z]+ [a-z]")
    return [text for text in texts if isinstance(text, str) and words.search(text)]


def test_every_sentence_of_a_trial_is_said_to_some_wrong_solution():
    heard = "\n".join(reply_to(name, source)[1] for name, source, _ in WRONG)
    folder = Path(workshop.exercises.__file__).parent
    files = [folder / "mistakes.py", *folder.glob("trials/section_*.py")]
    sentences = {text for path in files for text in sentences_in(path)}
    assert sentences - SILENT - set(EXERCISES) == {t for t in sentences if t in heard}


def double(x):
    return 2 * x


def try_double(solve) -> str:
    expect(solve, [(3,), (5,)], double, [("you squared.", lambda x: x * x)])
    return "the numbers 3 and 5"


DOUBLE = Exercise(try_double, double)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ('def my(x):\n    """What it does."""\n    ...', "function"),
        ("def my(x):\n    pass", "function"),
        ("import torch\n@torch.no_grad()\ndef my(x):\n    ...", "function"),
        ("class my:\n    def get(self, x):\n        ...\n    def __len__(self):\n        return 3", "class"),
    ],
)  # fmt: skip
def test_a_stub_is_not_written_yet(source, name):
    assert judge(written(source), DOUBLE) == (OPEN, "")


@pytest.mark.parametrize(
    ("body", "state", "words"),
    [
        ("return 2 * x", SOLVED, "Right: tried with the numbers 3 and 5."),
        ("return x * x", TRIED, "Not yet: you squared."),
        ("return 9", TRIED, "Not yet: your function returns 9 whatever its arguments are."),
        ("return 6.01 if x == 3 else 10", TRIED, "    input:    x = 3\n    expected: 6\n    returned: 6.01"),
        ("y = 2 * x", TRIED, "Not yet: your function returns None. Did you forget `return`?"),
        ("return torch.ones(2) * x", TRIED, "the result has the shape (2,); it should be ()."),
        ("return x[0]", TRIED, "your line 3 raised TypeError: 'int' object is not subscriptable"),
        ("return 'six'", TRIED, "your function returns six, of type str; it should return a number."),
    ],
)  # fmt: skip
def test_each_kind_of_code_hears_what_is_wrong_with_it(body, state, words):
    got, reply = judge(written(f"import torch\ndef my(x):\n    {body}"), DOUBLE)
    assert got == state and words in reply
    assert "coding.py" not in reply and "try_double" not in reply


def test_another_first_line_a_called_function_and_a_changed_argument_are_said_to_be_the_mistake():
    reply = judge(written("def my(): return 6"), DOUBLE)[1]
    assert "the first line of the stub has changed (my() takes 0 positional arguments" in reply
    assert "without brackets after its name" in judge(6, DOUBLE)[1]
    assert judge(written("my = lambda x: 2 * x"), DOUBLE)[0] == SOLVED
    given = torch.arange(3)
    with pytest.raises(Mistake, match="changed its input"):
        call(lambda given: given.add_(1), given)
    assert given.tolist() == [0, 1, 2]


def test_the_page_continues_with_the_learners_function_once_it_is_right(capsys):
    name, stub = "6.6 accuracy", written("def my_accuracy(data_loader, predict_labels):\n    ...")
    course = EXERCISES[name].course
    assert check_code(name, stub) is course
    assert capsys.readouterr().out.startswith(
        "Not written yet: the page continues with the course's `accuracy` until yours passes."
    )
    wrong = written("def my_accuracy(data_loader, predict_labels):\n    return 0.5")
    assert check_code(name, wrong) is course
    assert "\nThe page continues with the course's `accuracy` until" in capsys.readouterr().out
    solution = right(name)
    assert check_code(name, solution) is solution
    assert "The page continues with your function.\n" in capsys.readouterr().out
    progress("6.6")
    assert "1 of 1 solved" in capsys.readouterr().out
    with pytest.raises(ValueError, match="no exercise is called '6.6 acuracy'; there are 6.2 bal"):
        check_code("6.6 acuracy", solution)


def test_a_dataset_of_csv_files_such_as_the_books_takes_the_pages_tables(capsys):
    books = check_code("6.3 dataset", written(SOLUTIONS["6.3 dataset"]["whole"][0]))
    assert "The page continues with your class." in capsys.readouterr().out
    dataset = books(section_6_3.OTHERS, section_6_3.WordTokenizer(), max_length=3)
    assert dataset[1][0].tolist() == [51, 52, 50256] and dataset.max_length == 3


def test_gradients_are_on_again_after_a_function_that_switched_them_off():
    source = "import torch\ndef my(a, b):\n    torch.set_grad_enabled(False)\n    return 1"
    check_code("6.6 loss", written(source))
    assert torch.is_grad_enabled()


@pytest.fixture
def shell():
    """IPython, as a notebook's kernel has it."""
    shell = InteractiveShell.instance()
    yield shell
    InteractiveShell.clear_instance()


def test_after_a_syntax_error_the_reply_says_that_the_version_before_is_checked(shell, capsys):
    def run(*cells) -> str:
        capsys.readouterr()
        for cell in cells:
            shell.run_cell(cell, store_history=True)
        return capsys.readouterr().out

    check = 'from workshop.exercises import check_code\n_ = check_code("6.6 loss", my_loss)'
    cell = "def my_loss(logits, labels):\n    return 1"
    note = "This is an older version of `my_loss`: its cell has changed since"
    assert note not in run(cell, check)
    assert note in run(cell + " +", check)
    assert note not in run(cell + " + 1", check)
