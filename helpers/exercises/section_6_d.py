"""What appendix 6.D asks: to write, and to predict."""

import warnings
from collections.abc import Callable

import numpy as np

from helpers.exercises.coding import Exercise, Mistake, number_of, returned
from helpers.exercises.prediction import Number, OneOf, Question

TRAIN = ["Call me NOW", "see  you at six", "Ok", "No where to go", "lunch?"]
TEST = [
    "call me now", "Ok", "see you\nat six ", "nowhere to go", "okay", "ok", " lunch?", "new", "Ok",
]  # fmt: skip
SHARED = ["call me now", "Ok", "see you\nat six ", "ok", " lunch?", "Ok"]


def _try_shared_texts(solve):
    train, test = [*TRAIN], [*TEST]
    got = returned(solve(train, test), "the list of texts")
    if (train, test) != (TRAIN, TEST):
        raise Mistake("your function changed a list that it was given: leave both as they are.")
    if isinstance(got, set):
        raise Mistake(
            "a set has no order, and each text once: return a list, as the texts stand in the test part."
        )
    if not isinstance(got, list):
        raise Mistake(f"it returns a {type(got).__name__}, where a list of texts is due.")
    if got == SHARED:
        return "nine texts to test with and five to train with, made by hand"
    for same, sentence in (
        (str, "only texts that are equal to the letter are found: turn capitals into small letters, in both parts."),
        (str.lower, "white space still makes a difference: `text.split()` takes a text apart at it, `\" \".join` puts one space between."),
        (lambda text: text.strip().lower(), "you cut white space off at both ends; inside a text it makes a difference still."),
        (lambda text: " ".join(text.split()), "capitals still make a difference: `text.lower()` has none."),
        (lambda text: "".join(text.lower().split()), "without any space “no where” and “nowhere” are the same: leave one between two words."),
    ):  # fmt: skip
        if got == _shared(same):
            raise Mistake(sentence)
    known = {_plain(text) for text in TRAIN}
    if got == [text for text in TEST if _plain(text) not in known]:
        raise Mistake("these are the texts that the training part does *not* have.")
    if got == [_plain(text) for text in SHARED]:
        raise Mistake("return each text as it is written in the test part, capitals and all.")
    if set(got) & set(TRAIN) - set(TEST):
        raise Mistake("you return the texts of the training part: those of the test part are due.")
    if got == [*dict.fromkeys(SHARED)]:
        raise Mistake("a text that stands twice in the test part counts twice, as in an accuracy.")
    if "okay" in got:
        raise Mistake(
            "“okay” only contains “ok”, as a text contains a word: ask whether whole texts are equal."
        )
    raise Mistake(
        f"of the texts {TEST} the training part {TRAIN} has {SHARED}; you return {got}."
    )


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def _shared(same: Callable[[str], str]) -> list[str]:
    """Return the test texts that the training part has, where `same` makes equal what counts so."""
    known = {same(text) for text in TRAIN}
    return [text for text in TEST if same(text) in known]


TABLES = (
    ([[8, 2, 0], [1, 4, 1], [0, 3, 6]], "a table of 25 texts"),
    ([[9, 1, 0], [2, 3, 0], [4, 1, 0]], "a table where nothing is called by the last class's name"),
)


def _try_macro_f1(solve):
    for rows, _ in TABLES:
        table = np.array(rows)
        given = table.copy()
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # 0 / 0
            got = number_of(solve(given), "the macro-F1")
        if not np.array_equal(given, table):
            raise Mistake("your function changed the table that it was given: leave it as it is.")
        right, correct, called = table.diagonal(), table.sum(axis=1), table.sum(axis=0)
        f1 = 2 * right / (correct + called)
        if abs(got - f1.mean()) < 1e-6:
            continue
        if np.isnan(got):
            raise Mistake(
                "it is `nan`, 0 / 0: nothing is called by the last class's name, so it has no precision; "
                "its F1 counts 0."
            )
        precision, recall = right / np.maximum(called, 1), right / correct
        means = (precision.mean(), recall.mean())
        for value, sentence in (
            (right.sum() / table.sum(), "that is the accuracy: each *text* counts the same in it, here each *class* should."),
            (precision.mean(), "that is the mean of the precisions; F1 has the recall in it, too."),
            (recall.mean(), "that is the mean of the recalls; F1 has the precision in it, too."),
            (f1.sum(), "you added the classes' F1; take the mean."),
            ((f1 * correct).sum() / correct.sum(), "large classes count more in yours: that mean is weighted by their texts."),
            (((precision + recall) / 2).mean(), "F1 is the *harmonic* mean of precision and recall, 2 · P · R / (P + R)."),
            (2 * means[0] * means[1] / sum(means), "first the F1 of each class, then their mean; you took means first."),
            (f1[f1 > 0].mean(), "a class of which nothing is right counts 0; you left it out of the mean."),
        ):  # fmt: skip
            if abs(got - value) < 1e-6:
                raise Mistake(sentence)
        raise Mistake(f"of {rows} the classes' F1 are {f1.round(3).tolist()}; their mean is due.")
    return " and ".join(what for _, what in TABLES)


EXERCISES = {
    "my_shared_texts": Exercise(_try_shared_texts),
    "my_macro_f1": Exercise(_try_macro_f1),
}
