"""The three parts of a reader's table: no text in two parts, each class in each part by its fraction;
and what is done about imbalanced classes.
"""

import random
from collections import Counter

import pandas as pd
import pytest

from workshop.texts import (
    FRACTIONS,
    TextTable,
    class_weights,
    normalised,
    split_stratified,
    undersample,
)


def split_of(rows):
    """The split of (text, class's number), and its three parts."""
    frame = pd.DataFrame(rows, columns=["Text", "Label"])
    names = tuple(f"c{n:04}" for n in range(frame["Label"].max() + 1))
    split = split_stratified(TextTable(frame, names, (), "a DataFrame"))
    return split, (split.train, split.validation, split.test)


def rows_of(part: pd.DataFrame) -> list[tuple[str, int]]:
    return list(part[["Text", "Label"]].itertuples(index=False, name=None))


def random_rows(seed: int, contradictions: float) -> list[tuple[str, int]]:
    """Classes of very different sizes, with texts that repeat, some of them under another label."""
    chance, rows = random.Random(seed), []
    for label in range(chance.randint(2, 9)):
        for number in range(chance.choice([8, 9, 11, 30, 120, 300])):
            rows.append((f"text {number} of {label}", label))
    last = rows[-1][1]
    for text, label in chance.sample(rows, len(rows) // 4):
        for _ in range(chance.choice([1, 1, 2, 5])):
            variant = chance.choice([text.upper(), f" {text}\n", text.replace(" ", " \t"), text])
            other = chance.random() < contradictions
            rows.append((variant, chance.randint(0, last) if other else label))
    chance.shuffle(rows)
    return rows


@pytest.mark.parametrize("contradictions", [0, 0.1, 0.9])
@pytest.mark.parametrize("seed", range(3))
def test_no_text_is_in_two_parts_no_row_is_lost_and_each_class_has_its_fraction(
    seed, contradictions
):
    rows = random_rows(seed, contradictions)
    split, parts = split_of(rows)
    assert Counter(row for part in parts for row in rows_of(part)) == Counter(rows)
    texts = [{normalised(text) for text in part["Text"]} for part in parts]
    assert not (texts[0] & texts[1] or texts[0] & texts[2] or texts[1] & texts[2])
    alike = Counter(normalised(text) for text, _ in rows)
    kept = sum(number for number in alike.values() if number > 1)
    assert split.report[1].startswith(f"{kept:,} texts are equal to another")
    labels = {label for _, label in rows}
    for name, part in zip(("training", "validation", "test"), parts, strict=True):
        missing = labels - set(part["Label"])
        assert bool(missing) == any(f"the {name} part" in s for s in split.report)
        assert not missing or contradictions
    for label in labels if contradictions == 0 else ():
        groups = Counter(normalised(text) for text, other in rows if other == label)
        for part, fraction in zip(parts, FRACTIONS, strict=True):
            size = int((part["Label"] == label).sum())
            assert size >= 1
            assert abs(size - fraction * groups.total()) <= max(groups.values()), (label, fraction)


def test_different_texts_are_divided_to_the_row_in_the_same_random_order_each_time():
    rows = [(f"{number} of {label}", label) for label in range(3) for number in range(100)]
    split, parts = split_of(rows)
    assert rows_of(split.train) == rows_of(split_of(rows)[0].train)
    assert set(rows_of(split.train)) != set(rows[:70] + rows[100:170] + rows[200:270])
    assert not split.train["Label"].is_monotonic_increasing
    for part, number in zip(parts, (70, 10, 20), strict=True):
        assert part["Label"].value_counts().to_dict() == {0: number, 1: number, 2: number}
        assert part.index.tolist() == list(range(len(part)))
        assert list(part.columns) == ["Text", "Label"]
    assert split.report == (
        "210 texts to train with, 30 texts to validate with, 60 texts to test with.",
    )
    split, _ = split_of([("a", 0), ("b", 0), ("c", 0), ("d", 1)])
    assert split.report[1:] == (
        "1 class has no text in the validation part: 'c0001'.",
        "1 class has no text in the test part: 'c0001'.",
    )


def test_undersampling_leaves_as_many_of_each_class_as_the_smallest_has():
    rows = [(f"{i} of {label}", label) for label, n in ((2, 9), (0, 30), (1, 4)) for i in range(n)]
    frame = pd.DataFrame(rows, columns=["Text", "Label"])
    drawn = undersample(frame)
    assert drawn["Label"].tolist() == [2] * 4 + [0] * 4 + [1] * 4
    assert set(rows_of(drawn)) < set(rows) and drawn["Text"].is_unique
    assert rows_of(drawn) == rows_of(undersample(frame)) != rows_of(undersample(frame, seed=1))


def test_class_weights_make_all_classes_weigh_the_same_and_a_message_1():
    labels = [0] * 6 + [1] * 3 + [2]
    weights = class_weights(labels, 3)
    assert weights == pytest.approx((10 / 18, 10 / 9, 10 / 3))
    assert sum(weights[label] for label in labels) == pytest.approx(10)
