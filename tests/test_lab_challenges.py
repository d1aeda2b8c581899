"""A challenge of the Lab says of each wrong attempt what is wrong, and of a right one why."""

from types import SimpleNamespace

import pytest

from tests.labs import BOOK, HEAD, made_up_run
from workshop.challenges import check_a_tenth, check_more_is_worse, check_within_five_seconds

BOOKS = made_up_run("book", BOOK, (0.80, 0.82, 0.78), trainable=445_634)


def small(**changes):
    given = {"accuracies": (0.83, 0.82, 0.84), "position": "last_token"} | changes
    return made_up_run("small", HEAD, trainable=386, **given)


def said(capsys, check, *runs, **more) -> str:
    check(SimpleNamespace(rows=runs), **more)
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        ((), "No run yet: press Train"),
        ((small(),), "nothing to compare with: train the book's choice"),
        ((BOOKS,), "A tenth of the book's 445,634 are 44,563"),
        ((BOOKS, small(accuracies=(0.6,) * 3, position="last")), "Change what is read"),
        ((BOOKS, small(accuracies=(0.5,) * 3, position="first")), "sees nothing of the message"),
        ((BOOKS, small(accuracies=(0.7,) * 3)), "Try another position, more epochs"),
        ((BOOKS, small(accuracies=(0.85,))), "one of the two has been trained with 1 seed only"),
        ((BOOKS, small()), "Right."),
    ],
)
def test_a_tenth_of_the_parameters(capsys, runs, words):
    assert words in said(capsys, check_a_tenth, *runs)


def quick(accuracies=(0.8, 0.8, 0.8), id="q", **changes):
    return made_up_run(id, HEAD, accuracies, **({"seconds": 1.0} | changes))


TRIES = quick((0.7,), "t1", epochs=1), quick((0.7,), "t2", epochs=2)


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        ((quick(seconds=9.0),), "Your quickest training took 9.0 s"),
        ((quick(after_test=True),), "came after the test set was seen"),
        ((quick(), quick(id="again")), "The best of 1 is no choice"),
        ((quick(), *TRIES, quick((0.95,), "slow", seconds=30.0)), "reached 0.950 in 30.0 s"),
        ((quick((0.9,), epochs=9), *TRIES), "with 1 seed only"),
        ((quick(), *TRIES, quick((0.79,), "n", epochs=7)), "within that interval: 1;"),
    ],
)
def test_the_best_within_five_seconds(capsys, runs, words):
    assert words in said(capsys, check_within_five_seconds, *runs)


SHORT = made_up_run("s", BOOK, (0.88,), (0.40,), epochs=2, train_accs=(0.93,))
FALLEN = made_up_run("f", BOOK, (0.5,), (9.0,), epochs=9, train_accs=(0.5,))
LONG = made_up_run("l", BOOK, (0.84,), (0.70,), epochs=9, train_accs=(0.99,))


@pytest.mark.parametrize(
    ("runs", "reason", "words"),
    [
        ((SHORT,), "b", "Two runs are needed"),
        ((SHORT, made_up_run("l", HEAD, (0.8,), epochs=9)), "b", "Two runs are needed"),
        ((SHORT, made_up_run("l", BOOK, (0.9,), (0.3,), epochs=9)), "b", "more was better"),
        ((SHORT, LONG), None, "Half of it. From 2 to 9 epochs the validation loss rises from 0.40"),
        ((SHORT, LONG), "z", "one of the letters a, b, c, d, not 'z'"),
        ((SHORT, LONG), "a", "it goes on rising"),
        ((SHORT, FALLEN), "b", "the training accuracy fell as well"),
        ((SHORT, LONG), " B ", "overfitting"),
    ],
)
def test_where_more_training_is_worse(capsys, runs, reason, words):
    assert words in said(capsys, check_more_is_worse, *runs, reason=reason)
