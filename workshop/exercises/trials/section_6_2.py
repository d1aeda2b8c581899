"""The trial of section 6.2: a balanced table."""

import numpy as np
import pandas as pd

from helpers.data import create_balanced_dataset
from workshop.exercises.mistakes import Exercise, Mistake, call, refuse

TABLES = {(30, 5): 0, (6, 6): 40, (9, 1): 7}  # numbers of ham and spam: the first row's index


def table_of(num_ham: int, num_spam: int, start: int) -> pd.DataFrame:
    """Return a table of messages in mixed order, whose index begins at `start`."""
    labels = np.array(["ham"] * num_ham + ["spam"] * num_spam)
    labels = np.random.default_rng(1).permutation(labels)
    texts = [f"message {i}" for i in range(len(labels))]
    index = range(start, start + len(labels))
    return pd.DataFrame({"Label": labels, "Text": texts}, index)


def try_balanced(solve) -> str:
    """`solve` takes a table and returns a balanced one, ham first."""
    for (num_ham, num_spam), start in TABLES.items():
        df = table_of(num_ham, num_spam, start)
        try:
            got = call(solve, df)
        except ValueError as error:
            if "larger sample" in str(error):
                raise Mistake(
                    "`sample` was asked for more rows than there are. Draw as many rows from the "
                    "*ham* as there are spam rows."
                ) from error
            raise
        check_table(df, got)
        if not call(solve, df).equals(got):
            raise Mistake("called twice, it selects different rows. Set `random_state=123`.")
        check_order(df, got)
    return "tables of 30 ham and 5 spam, of 6 and 6, of 9 and 1"


def check_table(df: pd.DataFrame, got) -> None:
    """Raise Mistake where a result is no table, or has other columns, labels or counts."""
    if not isinstance(got, pd.DataFrame):
        raise Mistake(f"return a DataFrame, not a {type(got).__name__}.")
    if [*got.columns] != ["Label", "Text"]:
        raise Mistake(f"the columns should still be Label and Text, not {[*got.columns]}.")
    if not set(got["Label"]) <= {"ham", "spam"}:
        raise Mistake(
            f"Label should still be “ham” or “spam”; yours has {sorted(set(got['Label']))}."
        )
    ham, spam = (int((df["Label"] == label).sum()) for label in ("ham", "spam"))
    got_ham, got_spam = (int((got["Label"] == label).sum()) for label in ("ham", "spam"))
    kept = f"of {ham} ham and {spam} spam messages you kept {got_ham} and {got_spam}"
    refuse({
        f"{kept}. Do not copy spam; leave out ham instead.": got_spam > spam,
        f"{kept}. Keep all spam and the same number of ham messages.": {got_ham, got_spam} != {spam},
    })  # fmt: skip


def check_order(df: pd.DataFrame, got: pd.DataFrame) -> None:
    """Raise Mistake where other messages were selected, or they are in another order."""
    right = create_balanced_dataset(df)
    if got.to_numpy().tolist() == right.to_numpy().tolist():
        return
    ham, spam = (df["Text"][df["Label"] == label].tolist() for label in ("ham", "spam"))
    got_ham, got_spam = (got["Text"][got["Label"] == label].tolist() for label in ("ham", "spam"))
    drawn = right["Text"][right["Label"] == "ham"].tolist()
    refuse({
        "the rows are in another order: first all ham, then all spam.":
            [*got["Label"]] != [*right["Label"]],
        "your sample comes from all rows. Take it from the ham rows alone.":
            got_ham == df.sample(len(spam), random_state=123)["Text"].tolist() != drawn,
        "you took the first ham messages. Select them at random: the messages that were collected "
        "first may differ from the rest.": got_ham == ham[: len(spam)] and got_ham != drawn,
        "you shuffled the spam as well. Keep it in its old order.":
            got_spam != spam and sorted(got_spam) == sorted(spam),
        "some of the spam is missing, and some is there twice.": sorted(got_spam) != sorted(spam),
        "these are the expected ham messages in another order. Keep the order in which `sample` "
        "returns them.": sorted(got_ham) == sorted(drawn),
        f"other ham messages were expected from `sample` with `random_state=123`:\n"
        f"    expected: {drawn}\n    returned: {got_ham}": True,
    })  # fmt: skip


EXERCISES = {
    "6.2 balanced data": Exercise(
        try_balanced,
        create_balanced_dataset,
    ),
}
