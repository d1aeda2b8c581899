"""What appendix 6.D asks: to write, and to predict."""

import warnings
from collections.abc import Callable

import numpy as np

from workshop.exercises.coding import Exercise, Mistake, number_of, returned
from workshop.exercises.prediction import Number, OneOf, Question

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
        (str.lower, "white space still makes a difference: `' '.join(text.split())` leaves one space each."),
        (lambda text: text.strip().lower(), "inside a text white space still makes a difference."),
        (lambda text: " ".join(text.split()), "capitals still make a difference: `text.lower()` has none."),
        (lambda text: "".join(text.lower().split()), "without a space “no where” is “nowhere”: leave one between words."),
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
    raise Mistake(f"of the texts {TEST} the training part {TRAIN} has {SHARED}; you return {got}.")


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
            (right.sum() / table.sum(), "that is the accuracy: each *text* counts the same in it, not each *class*."),
            (precision.mean(), "that is the mean of the precisions; F1 has the recall in it, too."),
            (recall.mean(), "that is the mean of the recalls; F1 has the precision in it, too."),
            (f1.sum(), "you added the classes' F1; take the mean."),
            ((f1 * correct).sum() / correct.sum(), "large classes count more in yours: it is weighted by their texts."),
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


QUESTIONS = {
    "6.D never looks": Question(
        "The bundled table has 840 texts in seven classes; the largest, money, has 173. A classifier "
        "that *never looks* at a text: which share of its answers can be right?",
        Number(within=1, unit="%"),
        right="Yes: it says “money” every time.",
        wrong={
            14.3: "So it is with a class by lot, one of seven. It does better by naming the largest class every time.",
            50: "So it would be with two classes of equal size.",
            "too low": "Higher: it may name the largest class every time.",
            "too high": "Lower: it can't be right about more texts than the largest class has.",
        },
        then="This is the line that any classifier has to beat, and with classes of other sizes it lies "
        "elsewhere. Above are the topics of the eight texts.",
    ),
    "6.D set aside": Question(
        "32 rows: 9 are of class `Spam`, 3 of `spam ` with a space, 12 of `ham`, 5 of `unsure`. One more has "
        "no text, one no label, and one repeats the first text in capitals. How many rows are set aside?",
        Number(),
        right="Yes: the two that lack something, and the five of a class that is too small.",
        wrong={
            2: "The class `unsure` goes, too: five texts can't be trained with, validated with and tested with.",
            10: "`spam ` differs from `Spam` only in case and a space: it is read as the same class.",
            8: "The text that repeats another stays: it is counted here, and taken care of in the split.",
            "else": "Ask of each row whether it can be trained on: does it have a text, a label, and at least "
            "seven others of its class?",
        },
        then="Each sentence above has a number that you can check. Above all read what was *changed* or "
        "*set aside*: it may be your table that is wrong.",
    ),
    "6.D copies": Question(
        "Each text now stands twice in the table, which is cut by lot: 70 % to train with, 10 % to validate "
        "with, 20 % to test with. Which share of the test texts has its copy in the training part?",
        Number(within=5, unit="%"),
        right="Yes: the copy lies wherever the lot has put it.",
        wrong={
            100: "Its copy may lie in the other two parts as well.",
            20: "That is how many texts are tested with; where is the copy of each?",
            "too low": "More: the copy can lie anywhere, and the training part is the largest.",
            "too high": "Fewer: some copies lie in the validation part or in the test part itself.",
        },
        then="Whoever has the training texts by heart is right about all of these, and has understood nothing.",
    ),
    "6.D flattered": Question(
        "A simple method is trained on each split of the doubled table: the one by lot, and one that keeps "
        "copies together. With copies together it is right about half of the test texts. And by lot?",
        Number(within=5, unit="%"),
        right="Yes: nearly all texts with a copy, and half of the others.",
        wrong={
            50: "So it would be if it gained nothing from the copies.",
            100: "Not all test texts have a copy in the training part.",
            "too low": "More: seven in ten have a copy in the training part, and half of the rest it gets anyway.",
            "too high": "Less: three in ten have no copy in the training part, and half of these are wrong.",
        },
        then="Same method, same texts. The higher figure tells nothing about a text that is really new: "
        "*leakage*, the commonest way to fool oneself.",
    ),
    "6.D always the largest": Question(
        "“Always money” is right about 21 % of the test texts. What is its macro-F1, between 0 and 1?",
        Number(within=0.015),
        right="Yes: one F1 of about a third, six of 0, and the mean of the seven.",
        wrong={
            0.21: "That is its accuracy. Six of the seven classes have an F1 of 0.",
            0.34: "That is the F1 of money alone; the mean has six zeros in it.",
            0: "A little is left: the class that it always names has an F1 above 0.",
            "else": "Money has recall 1 and precision 0.21, so an F1 of about 0.34; each other class has 0.",
        },
        then="So a low macro-F1 beside a fair accuracy says: some classes are never found.",
    ),
    "6.D beside counting words": Question(
        "The nano, fine-tuned on 586 texts as the book does, or logistic regression on word counts: which "
        "is right about more of the test texts? (Within five points they are about the same.)",
        OneOf("the nano", "counting words", "about the same"),
        right="So it is.",
        wrong={
            "the nano": "It has read far more text than these. But it is tiny, and 80 texts of a class are few.",
            "about the same": "Here a difference can be seen.",
        },
        then="A topic shows in single words (“parcel”, “rent”), and for that counting is hard to beat. Without the "
        "simple method beside it you would never have known. Where the order of words matters, counting "
        "can't see it.",
    ),
    "6.D class weights": Question(
        "One text in ten is about prizes. Now a prize counts about nine times as much in the loss as another text. "
        "What becomes of the recall of prizes, and of the accuracy on all texts?",
        OneOf(
            "recall rises, accuracy rises",
            "recall rises, accuracy falls",
            "recall falls, accuracy rises",
            "recall falls, accuracy falls",
        ),
        right="Yes: a missed prize has become dear, and a false alarm cheap.",
        wrong={
            "recall rises, accuracy rises": "More prizes are found, but more of the other texts are called "
            "prizes, too, and those are many.",
            "recall falls, accuracy rises": "The other way round: what counts more is missed less.",
            "recall falls, accuracy falls": "What counts more in the loss is missed less, so recall rises.",
        },
        then="Which of the two classifiers is better? That is no question of arithmetic: what does a missed "
        "prize cost you, and what a false alarm?",
    ),
}
