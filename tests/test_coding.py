"""A learner's code hears what is off, whatever it is."""

import pytest
import torch

from workshop.exercises import check_code, coding
from workshop.exercises.coding import Exercise, Mistake, judge, number_of, tensor_of
from workshop.exercises.record import OPEN, SOLVED, TRIED


def _try_double(solve):
    got = number_of(solve(3), "the double")
    if got == 9:
        raise Mistake("you squared.")
    if got != 6:
        raise Mistake("that is not the double.")
    return "the number 3"


DOUBLE = Exercise(_try_double)


def written(source: str, name: str = "f"):
    names: dict = {}
    exec(compile(source, "<a cell>", "exec"), names)
    return names[name]


@pytest.mark.parametrize(
    "source",
    [
        'def f(x):\n    """What it does."""\n    ...',
        "def f(x): ...",
        "def f(x):\n    pass",
        'def f(x, more=1):\n    """Only words."""',
        "def f(x):\n    return None",
    ],
)
def test_a_stub_is_not_written_yet(source):
    assert judge(written(source), DOUBLE) == (OPEN, coding.NOT_YET_WRITTEN)


def test_a_class_is_a_stub_while_its_method_is():
    two = Exercise(lambda cls: _try_double(cls().get), method="get")
    begin = "class f:\n    def get(self, x):\n        "
    assert judge(written(begin + "..."), two)[0] == OPEN
    assert judge(written(begin + "return 2 * x"), two)[0] == SOLVED
    assert "no get any more" in judge(written("class f:\n    pass"), two)[1]


@pytest.mark.parametrize(
    ("body", "state", "words"),
    [
        ("return 2 * x", SOLVED, "Right: tried with the number 3."),
        ("return torch.tensor(2 * x)", SOLVED, "Right"),
        ("return x * x", TRIED, "Not yet: you squared."),
        ("return 7", TRIED, "that is not the double."),
        ("y = 2 * x", TRIED, "returns nothing where the double is due"),
        ("return 'six'", TRIED, "the double should be a number, not a str."),
        ("return torch.ones(2)", TRIED, "should be one number, not several."),
        ("return x[0]", TRIED, "your line 3 raised TypeError: 'int' object is not subscriptable"),
        ("return [1][x]", TRIED, "your line 3 raised IndexError: list index out of range"),
        ("raise SystemExit", TRIED, "your line 3 raised SystemExit"),
    ],
)
def test_each_kind_of_code_hears_what_is_the_matter_with_it(body, state, words):
    got, text = judge(written(f"import torch\ndef f(x):\n    {body}"), DOUBLE)
    assert got == state and words in text
    assert "coding.py" not in text and "_try_double" not in text


def test_an_error_deep_inside_is_shown_with_the_learners_line():
    text = judge(
        written("import json\n\ndef f(x):\n    y = '{'\n    return json.loads(y)"), DOUBLE
    )[1]
    assert "your line 5 raised JSONDecodeError" in text


def test_another_first_line_is_said_to_be_the_matter():
    text = judge(written("def f(): return 6"), DOUBLE)[1]
    assert "the stub's first line has changed (f() takes 0 positional arguments" in text


def test_what_a_trial_cant_look_at_is_of_another_kind():
    odd = Exercise(lambda solve: solve(1).shape)
    assert (
        "of another kind than asked for (AttributeError"
        in judge(written("def f(x): return x"), odd)[1]
    )


@pytest.mark.parametrize("given", [None, 3, "f", len, lambda x: x, torch.nn.Linear, print])
def test_what_is_no_exercise_is_answered_kindly(given, capsys):
    check_code(given)
    assert "keep the stub's name" in capsys.readouterr().out


def test_a_tensor_of_another_shape_is_said_to_be_one():
    with pytest.raises(Mistake, match=r"the mask should have the shape \(2,\), not \(3,\)"):
        tensor_of(torch.ones(3), (2,), "the mask")
    with pytest.raises(Mistake, match="should be a tensor, not a list"):
        tensor_of([1], (1,))
    with pytest.raises(Mistake, match="returns nothing"):
        tensor_of(None, (1,))
