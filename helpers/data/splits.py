"""Training, validation and test parts of any classes, and two answers to classes of unequal size.

A text that stands in the training and in the test part is known by heart before it is asked
about, and the figures flatter: so texts that are equal, but for case and white space, stay together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from helpers.checks import finite_number, instance_of, whole_number
from helpers.data.frames import need_columns
from helpers.data.table_files import listed
from helpers.data.texts import TextTable, counted, normalised

PARTS = ("training", "validation", "test")


@dataclass(frozen=True)
class Split:
    """The three parts of a table, each with the columns `Text` and `Label` (a class's number).

    A number is the class's place in `labels`; `report` holds sentences on what was kept together.
    """

    train: pd.DataFrame
    validation: pd.DataFrame
    test: pd.DataFrame
    labels: tuple[str, ...]
    report: tuple[str, ...]


def split_stratified(
    table: TextTable, fractions: tuple[float, float, float] = (0.7, 0.1, 0.2), seed: int = 123
) -> Split:
    """Cut a table into training, validation and test part, each class by the same fractions.

    Equal texts, as `normalised` has them, are in one part. Every class has a text in the training
    part, and in each part that is wanted where it has three different texts or more; only where
    texts stand under several labels this may fail, and the report says so. The rows of each part
    are shuffled. Raises ValueError for fractions that are not three numbers with the sum 1, the
    first above 0.
    """
    instance_of("table", table, TextTable, "read_texts's")
    fractions = _need_fractions(fractions)
    whole_number("seed", seed, 0, 2**32 - 1)
    frame = table.frame
    need_columns(frame, "the table")
    if not len(frame):
        raise ValueError("there are no texts to split")
    generator = np.random.default_rng(seed)
    texts = frame["Text"].astype(object).tolist()
    groups, _ = pd.factorize(np.array([normalised(text) for text in texts], dtype=object))
    part = _parts_of_groups(groups, frame["Label"].to_numpy(), fractions, generator)[groups]
    order = generator.permutation(len(frame))
    rows = [order[part[order] == number] for number in range(3)]
    parts = [frame.iloc[chosen].reset_index(drop=True) for chosen in rows]
    return Split(*parts, table.labels, _report(parts, groups, table.labels, fractions))


def _need_fractions(fractions) -> tuple[float, float, float]:
    if not isinstance(fractions, Sequence) or len(fractions) != 3:
        raise ValueError(f"fractions must be three numbers, not {fractions!r}")
    finite_number("the training fraction", fractions[0], most=1.0)
    for name, fraction in zip(PARTS[1:], fractions[1:], strict=True):
        finite_number(f"the {name} fraction", fraction, inclusive=True, most=1.0)
    if abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(f"the fractions {fractions} have the sum {sum(fractions):g}, not 1")
    return tuple(map(float, fractions))


def _parts_of_groups(
    groups: np.ndarray, labels: np.ndarray, fractions: tuple, generator: np.random.Generator
) -> np.ndarray:
    """Return each group's part: 0, 1 or 2. `groups` and `labels` are each row's.

    A group goes where most is missing of its classes, the large ones first: so each class ends
    within the size of its largest group of what is wanted, but for what `_Parts.spread` adds.
    """
    parts = _Parts(groups, labels, fractions)
    chance = generator.permutation(parts.num_groups)
    parts.spread(chance)
    several = parts.total > 1
    order = np.lexsort((chance, -parts.total, ~parts.mixed))  # under several labels first
    for group in order[several[order]].tolist():
        if parts.part[group] < 0:
            parts.put_where_most_is_missing(group)
    parts.fill_up(chance)
    return parts.part


class _Parts:
    """Which part each group is in, -1 for none yet, and how many rows of each class are missing."""

    def __init__(self, groups: np.ndarray, labels: np.ndarray, fractions: tuple):
        self.num_groups, self.num_classes = groups.max() + 1, labels.max() + 1
        pairs, self.sizes = np.unique(groups * self.num_classes + labels, return_counts=True)
        self.group_of, self.class_of = np.divmod(pairs, self.num_classes)
        self.starts = np.searchsorted(self.group_of, np.arange(self.num_groups + 1))
        self.total = np.bincount(groups)  # rows of each group
        self.mixed = np.diff(self.starts) > 1  # groups whose text stands under several labels
        self.wanted = [into for into in (0, 2, 1) if fractions[into] > 0]
        self.part = np.full(self.num_groups, -1)
        in_class = np.bincount(labels, minlength=self.num_classes)
        self.missing = in_class[:, None] * np.array(fractions)  # (num_classes, 3)
        self.present = np.zeros((self.num_classes, 3), dtype=bool)

    def put(self, group: int, into: int) -> None:
        here = slice(self.starts[group], self.starts[group + 1])
        self.part[group] = into
        self.missing[self.class_of[here], into] -= self.sizes[here]
        self.present[self.class_of[here], into] = True

    def put_where_most_is_missing(self, group: int) -> None:
        here = slice(self.starts[group], self.starts[group + 1])
        missing = self.sizes[here] @ self.missing[self.class_of[here]]  # (3,)
        self.put(group, max(self.wanted, key=missing.__getitem__))

    def spread(self, chance: np.ndarray) -> None:
        """Put one group of each class into each part, training first, then test.

        The classes with the fewest groups choose first, and each takes the smallest of those that
        no other class shares.
        """
        order = np.lexsort(
            (chance[self.group_of], self.sizes, self.mixed[self.group_of], self.class_of)
        )
        bounds = np.searchsorted(self.class_of[order], np.arange(self.num_classes + 1))
        members = [self.group_of[order[a:b]] for a, b in pairwise(bounds)]
        for into in self.wanted:
            for label in np.argsort(np.diff(bounds), kind="stable").tolist():
                if not self.present[label, into]:
                    group = next((g for g in members[label] if self.part[g] < 0), None)
                    if group is not None:
                        self.put(group, into)

    def fill_up(self, chance: np.ndarray) -> None:
        """Put all other groups, of one row each, where their class is missing most, one by one."""
        others = np.flatnonzero(self.part < 0)
        classes = self.class_of[self.starts[others]]
        order = np.lexsort((chance[others], classes))
        bounds = np.searchsorted(classes[order], np.arange(self.num_classes + 1))
        for label, (a, b) in enumerate(pairwise(bounds)):
            # a part that misses 1.5 rows asks for 1.5, for 0.5 and last for -0.5 of a row
            asked = [
                self.missing[label, into] - np.arange(max(0, self.missing[label, into]) + 1)
                for into in self.wanted
            ]
            who = np.repeat(self.wanted, [len(levels) for levels in asked])
            loudest = np.argsort(-np.concatenate(asked), kind="stable")[: b - a]
            self.part[others[order[a:b]]] = who[loudest]


def _report(
    parts: list[pd.DataFrame], groups: np.ndarray, labels: tuple[str, ...], fractions: tuple
) -> tuple[str, ...]:
    sizes = [counted(len(part), "text") for part in parts]
    sentences = [f"{sizes[0]} to train with, {sizes[1]} to validate with, {sizes[2]} to test with."]
    alike = np.bincount(groups)
    if kept := int(alike[alike > 1].sum()):
        sentences.append(
            f"{kept:,} texts are equal to another, but for case and white space; "
            "equal ones are in the same part."
        )
    for name, part, fraction in zip(PARTS, parts, fractions, strict=True):
        there = set(part["Label"])
        lacking = [label for number, label in enumerate(labels) if number not in there]
        if lacking and fraction:
            sentences.append(
                f"{counted(len(lacking), 'class has', 'classes have')} no text in the {name} part: "
                f"{listed(lacking)}."
            )
    return tuple(sentences)


# --- classes of unequal size ----------------------------------------------------------------------


def undersample(frame: pd.DataFrame, seed: int = 123) -> pd.DataFrame:
    """Return as many rows of each class as the smallest has, in the frame's order.

    The book's way (section 6.2): of two classes the same rows as `create_balanced_dataset` draws.
    `frame` has the columns `Label` and `Text`. Raises ValueError for one without rows.
    """
    need_columns(frame, "the table")
    whole_number("seed", seed, 0, 2**32 - 1)
    if not len(frame):
        raise ValueError("there are no texts to draw from")
    if frame["Label"].isna().any():
        raise ValueError("a label is missing; set the rows without one aside first")
    frame = frame.reset_index(drop=True)
    smallest = int(frame["Label"].value_counts().min())
    drawn = frame.groupby("Label").sample(n=smallest, random_state=seed)
    return drawn.sort_index().reset_index(drop=True)


def class_weights(labels: Sequence[int], num_classes: int) -> tuple[float, ...]:
    """Return a weight for each class: the fewer messages it has, the larger.

    All classes weigh the same in all, and the mean over the messages is 1: n / (num_classes · n_c).
    Raises ValueError for a number beyond the classes, and for a class without a message.
    """
    whole_number("num_classes", num_classes)
    numbers = [whole_number("a label", label, 0, num_classes - 1) for label in labels]
    counts = np.bincount(np.array(numbers, dtype=np.int64), minlength=num_classes)
    if without := np.flatnonzero(counts == 0).tolist():
        raise ValueError(
            f"no message is of {'class' if len(without) == 1 else 'the classes'} {listed(without)}; "
            "a class needs messages to have a weight"
        )
    return tuple((len(numbers) / (num_classes * counts)).tolist())
