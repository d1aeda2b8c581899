"""The measures of a classifier of any classes, and the tables of plain text that show them.

An accuracy says little alone: with nine texts of ten in one class, 90 % right is what a classifier
has that always predicts this class. Labels are numbers here, 0 … num_classes - 1; a label's name is
`labels[number]`.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from helpers.measures import wilson_interval
from workshop.pictures.svg import shortened
from workshop.texts import counted

MOST_CLASSES = 20  # that a table shows
WIDEST_NAME = 50  # letters


class ClassMeasures:
    """The measures of texts of the classes `correct` that were predicted as `predicted`.

    `labels` are the names of the classes; `correct` and `predicted` are (num_texts,) of their numbers.
    `table`, (num_classes, num_classes) of int, says how many texts have each pair of classes: rows
    are correct classes, columns predicted ones. `right` of `total` texts are predicted correctly, the
    fraction `accuracy`, with `interval`, its 95 % interval (low, high) by Wilson's formula.
    `by_class` has a row for each label, NaN for a fraction of nothing, and the columns "texts" of
    the class, those "predicted" as it, "precision", "recall" and "F1", which is 0 where
    nothing is right. `macro_f1` is the mean of F1: a small class counts as much as a large one.
    """

    def __init__(self, labels: Sequence[str], correct, predicted):
        self.labels = tuple(labels)
        self.table = np.zeros((len(labels), len(labels)), dtype=int)
        np.add.at(self.table, (correct, predicted), 1)
        right = self.table.diagonal()
        texts, predicted_so = self.table.sum(axis=1), self.table.sum(axis=0)
        self.total, self.right = int(texts.sum()), int(right.sum())
        self.accuracy = self.right / self.total
        self.interval = wilson_interval(self.accuracy, self.total)
        by_class = pd.DataFrame({"texts": texts, "predicted": predicted_so}, index=self.labels)
        by_class["precision"] = right / by_class["predicted"]
        by_class["recall"] = right / by_class["texts"]
        by_class["F1"] = 2 * right / np.maximum(1, texts + predicted_so)
        self.by_class, self.macro_f1 = by_class, by_class["F1"].mean()


# --- tables of plain text -------------------------------------------------------------------------


def summary_table(measures: Mapping[str, ClassMeasures]) -> str:
    """Return measures by their names as lines of plain text."""
    rows = {}
    for name, measured in measures.items():
        low, high = measured.interval
        rows[name] = {
            "accuracy": f"{measured.accuracy:.3f}",
            "95 %": f"{low:.3f} – {high:.3f}",
            "macro-F1": f"{measured.macro_f1:.3f}",
        }
    return format_table(pd.DataFrame(rows).T, "what")


def class_table(measures: ClassMeasures) -> str:
    """Return the measures of each class as lines of plain text, the largest class first.

    Of more than MOST_CLASSES classes it shows the largest and says how many are left out. "–" stands
    where there is nothing to take a fraction of.
    """
    frame = measures.by_class.sort_values("texts", ascending=False, kind="stable")
    table, left_out = format_table(frame[:MOST_CLASSES], "class"), frame[MOST_CLASSES:]
    if len(left_out):
        classes = counted(len(left_out), "class", "classes")
        table += f"\nleft out: {classes} with {counted(left_out['texts'].sum(), 'text')} in all"
    return table


def format_table(frame: pd.DataFrame, header: str) -> str:
    """Return a table as lines of plain text, with `header` above its index, which is shortened."""
    names = [shortened(" ".join(label.split()), WIDEST_NAME) for label in frame.index]
    frame = frame.set_axis(names).rename_axis(columns=header)
    with pd.option_context("display.unicode.east_asian_width", True):
        return frame.to_string(float_format="{:.3f}".format, na_rep="–")
