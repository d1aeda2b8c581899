"""The trials of appendix 6.A: texts in two parts, and macro-F1."""

import numpy as np

from workshop.exercises.mistakes import Exercise, Mistake, call, expect, rows, unrecognised
from workshop.texts import normalised

# --- the same text in two parts -------------------------------------------------------------------


def shared_texts(train_texts, test_texts) -> list[str]:
    """Return the test texts that the training part has, too, but for case and white space."""
    return find(normalised, train_texts, test_texts)


def find(form, train_texts, test_texts) -> list[str]:
    """Return the test texts whose form is that of a training text."""
    known = {form(text) for text in train_texts}
    return [text for text in test_texts if form(text) in known]


def spaced(text: str) -> str:
    """Return a text with one space for each piece of white space."""
    return " ".join(text.split())


TEXT_MISTAKES = (
    ("only equal texts are found. Case and white space make no difference here.",
     lambda train, test: find(str, train, test)),
    ("white space still makes a difference. `' '.join(text.split())` leaves one space each.",
     lambda train, test: find(str.lower, train, test)),
    ("white space inside a text still makes a difference.",
     lambda train, test: find(lambda text: text.strip().lower(), train, test)),
    ("case still makes a difference. `text.lower()` has none.",
     lambda train, test: find(spaced, train, test)),
    ("these are the texts that the training part does *not* have.",
     lambda train, test: [text for text in test if text not in shared_texts(train, test)]),
    ("return each text as it is written in the test part.",
     lambda train, test: [spaced(text).lower() for text in shared_texts(train, test)]),
    ("return each text as it is written in the test part.",
     lambda train, test: [spaced(text) for text in shared_texts(train, test)]),
    ("a text that occurs twice in the test part should be returned twice.",
     lambda train, test: list(dict.fromkeys(shared_texts(train, test)))),
    ("you return texts of the training part. Return those of the test part.",
     lambda train, test: shared_texts(test, train)),
    ("without its space, “no where” is “nowhere”. Leave one space between words.",
     lambda train, test: find(lambda text: "".join(text.lower().split()), train, test)),
    ("“okay” only contains “ok”. Compare whole texts.",
     lambda train, test: [text for text in test
                          if any(normalised(known) in normalised(text) for known in train)]),
    ("“to go” is only a part of a training text. Compare whole texts.",
     lambda train, test: [text for text in test
                          if any(normalised(text) in normalised(known) for known in train)]),
    ("you sorted the texts. Keep the order of the test part.",
     lambda train, test: sorted(shared_texts(train, test))),
)  # fmt: skip
PARTS = (
    (
        ["Call me NOW", "see  you at six", "Ok", "No where to go", "lunch?"],
        ["call me now", "see you\nat six ", "nowhere to go", "to go", "okay", "ok", "lunch? ",
         "ok"],
    ),
    (
        ["On my way", "thanks"],
        ["THANKS", "on  my way", "thanks!", "later", "way on my", "on my bike", "On my way"],
    ),
)  # fmt: skip


def try_shared_texts(solve) -> str:
    """`solve` takes the texts of two parts; it returns those of the second that the first has, too."""
    results = [call(solve, *case) for case in PARTS]
    for got in results:
        if not isinstance(got, list):
            raise Mistake(
                f"return a list, in the order of the test part, not a {type(got).__name__}."
            )
    right = [shared_texts(*case) for case in PARTS]
    if results == right:
        return "two pairs of lists, made by hand"
    for sentence, wrong in TEXT_MISTAKES:
        if results == [wrong(*case) for case in PARTS]:
            raise Mistake(sentence)
    i = 0 if results[0] != right[0] else 1
    given = f"training part {PARTS[i][0]}, test part {PARTS[i][1]}"
    raise unrecognised(given, right[i], results[i])


# --- macro-F1 -------------------------------------------------------------------------------------


def macro_f1(table) -> float:
    """Return the mean F1 of the classes, by a confusion matrix whose rows are correct classes."""
    return f1_scores(table).mean()


def f1_scores(table) -> np.ndarray:
    """Return the F1 of each class."""
    return 2 * table.diagonal() / (table.sum(axis=1) + table.sum(axis=0))


def precisions(table) -> np.ndarray:
    """Return the precision of each class, 0 for one that is never predicted."""
    return table.diagonal() / np.maximum(table.sum(axis=0), 1)


def recalls(table) -> np.ndarray:
    """Return the recall of each class."""
    return table.diagonal() / table.sum(axis=1)


def harmonic(p: float, r: float) -> float:
    """Return the harmonic mean."""
    return 2 * p * r / (p + r)


def by_division(table) -> float:
    """Return the macro-F1 by precision and recall: nan where a class is never predicted."""
    with np.errstate(all="ignore"):
        return harmonic(table.diagonal() / table.sum(axis=0), recalls(table)).mean()


F1_MISTAKES = (
    ("that is the accuracy. It gives each *text* the same weight, macro-F1 each *class*.",
     lambda table: table.trace() / table.sum()),
    ("that is the mean of the precisions. F1 also contains the recall.",
     lambda table: precisions(table).mean()),
    ("that is the mean of the recalls. F1 also contains the precision.",
     lambda table: recalls(table).mean()),
    ("you added the F1 scores. Take their mean.", lambda table: f1_scores(table).sum()),
    ("large classes have a larger weight in yours: it is weighted by their numbers of texts.",
     lambda table: np.average(f1_scores(table), weights=table.sum(axis=1))),
    ("F1 is the *harmonic* mean of precision and recall, 2 · P · R / (P + R).",
     lambda table: (precisions(table) + recalls(table)).mean() / 2),
    ("first compute the F1 of each class, then their mean. You took means first.",
     lambda table: harmonic(precisions(table).mean(), recalls(table).mean())),
    ("you left out a class of which nothing is right. Its F1 is 0, and it counts.",
     lambda table: f1_scores(table)[f1_scores(table) > 0].mean()),
    ("it is nan, 0 / 0, where a class is never predicted. The F1 of that class is 0.", by_division),
    ("you took the first two classes only. Use all rows and columns of the table.",
     lambda table: f1_scores(table)[:2].mean()),
    ("that is the F1 of each class. Return their mean.", f1_scores),
)  # fmt: skip
TABLES = tuple(
    (rows(numbers).numpy(),)
    for numbers in (
        "8 2 0; 1 4 1; 0 3 6",
        "9 1 0; 2 3 0; 4 1 0",
        "5 1 0 2; 0 3 1 1; 2 0 7 0; 1 1 0 2",
    )
)


def try_macro_f1(solve) -> str:
    """`solve` takes a table (num_classes, num_classes), a row for each correct class."""
    expect(solve, TABLES, macro_f1, F1_MISTAKES)
    return "tables of three and four classes, in one of which a class is never predicted"


EXERCISES = {
    "6.A shared texts": Exercise(try_shared_texts, shared_texts),
    "6.A macro-F1": Exercise(try_macro_f1, macro_f1),
}
