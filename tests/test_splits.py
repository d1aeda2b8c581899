"""The three parts of a reader's table: no text on two sides, each class in each part by its share; and
what is done about classes of unequal size.
"""

import math
import random
from collections import Counter

import pandas as pd
import pytest
import torch

from helpers.data import create_balanced_dataset, load_messages
from workshop.texts import (
    TextTable,
    class_weights,
    normalised,
    read_texts,
    split_stratified,
    undersample,
)


def table(rows, names=None) -> TextTable:
    """A table of (text, class's number) as `read_texts` gives it."""
    frame = pd.DataFrame(rows, columns=["Text", "Label"])
    names = names or tuple(f"c{n:04}" for n in range(max(n for _, n in rows) + 1))
    return TextTable(frame, names, (), "a DataFrame")


def parts_of(split) -> tuple[pd.DataFrame, ...]:
    return split.train, split.validation, split.test


def rows_of(part: pd.DataFrame) -> list[tuple[str, int]]:
    return list(part[["Text", "Label"]].itertuples(index=False, name=None))


def variant(text: str, chance: random.Random) -> str:
    changes = [str.upper, str.title, lambda t: f" {t}\n", lambda t: t.replace(" ", " \t"), str]
    return chance.choice(changes)(text)


def random_rows(seed: int, contradictions: float) -> list[tuple[str, int]]:
    """Classes of very different sizes, with texts that repeat, some of them under another label."""
    chance = random.Random(seed)
    rows = []
    for label in range(chance.randint(2, 9)):
        for number in range(chance.choice([8, 9, 11, 30, 120, 300])):
            rows.append((f"text {number} of {label}", label))
    for text, label in chance.sample(rows, len(rows) // 4):
        for _ in range(chance.choice([1, 1, 2, 5])):
            other = chance.random() < contradictions
            rows.append(
                (variant(text, chance), chance.randrange(rows[-1][1] + 1) if other else label)
            )
    chance.shuffle(rows)
    return rows


FRACTIONS = [(0.7, 0.1, 0.2), (0.8, 0.1, 0.1), (0.34, 0.33, 0.33), (0.98, 0.01, 0.01)]


@pytest.mark.parametrize("seed", range(24))
def test_no_text_stands_on_two_sides_and_no_row_is_lost(seed):
    rows = random_rows(seed, contradictions=(0, 0.1, 0.9)[seed % 3])
    split = split_stratified(table(rows), FRACTIONS[seed % 4], seed)
    parts = parts_of(split)
    assert Counter(row for part in parts for row in rows_of(part)) == Counter(rows)
    texts = [{normalised(text) for text in part["Text"]} for part in parts]
    assert not (texts[0] & texts[1] or texts[0] & texts[2] or texts[1] & texts[2])
    alike = Counter(normalised(text) for text, _ in rows)
    kept = sum(number for number in alike.values() if number > 1)
    assert any(f"{kept:,} texts are equal to another" in sentence for sentence in split.report)
    labels = {label for _, label in rows}
    for name, part in zip(("training", "validation", "test"), parts, strict=True):
        missing = labels - set(part["Label"])
        assert bool(missing) == any(f"the {name} part" in s for s in split.report)
        assert not missing or (name != "training" and seed % 3)


@pytest.mark.parametrize("seed", range(12))
def test_each_class_has_its_share_of_each_part_within_one_group_of_equal_texts(seed):
    rows, fractions = random_rows(seed, contradictions=0), FRACTIONS[seed % 3]
    split = split_stratified(table(rows), fractions, seed)
    for label in {label for _, label in rows}:
        groups = Counter(normalised(text) for text, other in rows if other == label)
        largest, size = max(groups.values()), sum(groups.values())
        for part, fraction in zip(parts_of(split), fractions, strict=True):
            there = int((part["Label"] == label).sum())
            assert there >= 1 and abs(there - fraction * size) <= largest, (label, fraction)
    assert len(split.report) == 2


@pytest.mark.parametrize("seed", range(8))
def test_texts_of_several_classes_do_not_pull_the_parts_far_from_their_share(seed):
    rows = random_rows(seed, contradictions=0.3)
    split = split_stratified(table(rows), seed=seed)
    alike = Counter(normalised(text) for text, _ in rows)
    for part, fraction in zip(parts_of(split), (0.7, 0.1, 0.2), strict=True):
        assert abs(len(part) - fraction * len(rows)) <= 3 * max(alike.values()) + len(split.labels)


def test_different_texts_are_shared_out_to_the_row():
    rows = [(f"{number} of {label}", label) for label in range(3) for number in range(100)]
    split = split_stratified(table(rows))
    for part, number in zip(parts_of(split), (70, 10, 20), strict=True):
        assert part["Label"].value_counts().to_dict() == {0: number, 1: number, 2: number}
        assert part.index.tolist() == list(range(len(part)))
        assert list(part.columns) == ["Text", "Label"]
    assert split.report == (
        "210 texts to train with, 30 texts to validate with, 60 texts to test with.",
    )


def test_one_seed_gives_one_split_in_shuffled_order_and_another_seed_another():
    rows = [(f"{number} of {label}", label) for label in range(2) for number in range(50)]
    first, again, other = (split_stratified(table(rows), seed=seed) for seed in (1, 1, 2))
    assert [rows_of(p) for p in parts_of(first)] == [rows_of(p) for p in parts_of(again)]
    assert {t for t, _ in rows_of(first.test)} != {t for t, _ in rows_of(other.test)}
    labels = first.train["Label"].tolist()
    assert labels not in (sorted(labels), sorted(labels, reverse=True))


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_class_of_very_few_texts_is_trained_on_first_and_then_tested(number):
    rows = [*((f"{i}", 0) for i in range(20)), *((f"rare {i}", 1) for i in range(number))]
    split = split_stratified(table(rows, ("common", "rare")))
    has = [1 in set(part["Label"]) for part in parts_of(split)]
    assert has == {1: [True, False, False], 2: [True, False, True]}.get(number, [True] * 3)
    said = [s for s in split.report if s.startswith("1 class has no text in the")]
    assert len(said) == has.count(False) and all("'rare'" in sentence for sentence in said)


def test_a_class_that_shares_all_its_texts_is_in_the_training_part():
    rows = [(f"{i}", label) for label in range(5) for i in range(12)]
    split = split_stratified(table(rows))
    assert [set(part["Label"]) for part in parts_of(split)] == [set(range(5))] * 3
    lines = [(0, 1, 2), (0, 3, 4), (0, 5, 6), (1, 3, 5), (1, 4, 6), (2, 3, 6), (2, 4, 5)]  # Fano's
    split = split_stratified(
        table([(f"{text}", c) for c, line in enumerate(lines) for text in line])
    )
    assert set(split.train["Label"]) == set(range(7))  # in each part is more than can be had


def test_a_part_that_is_not_wanted_stays_empty():
    rows = [(f"{i}", i % 2) for i in range(40)]
    split = split_stratified(table(rows), (0.75, 0, 0.25))
    assert [len(part) for part in parts_of(split)] == [30, 0, 10] and len(split.report) == 1
    assert list(split.validation.columns) == ["Text", "Label"]
    assert [len(p) for p in parts_of(split_stratified(table(rows), (1, 0, 0)))] == [40, 0, 0]


def test_a_thousand_classes_of_eight_texts_each_are_all_in_all_parts():
    rows = [(f"{i} of {label}", label) for i in range(8) for label in range(1000)]
    split = split_stratified(table(rows))
    assert [len(set(part["Label"])) for part in parts_of(split)] == [1000] * 3
    assert len(split.labels) == 1000


@pytest.mark.parametrize(
    ("fractions", "says"),
    [
        ((0.7, 0.3), "three numbers, not \\(0.7, 0.3\\)"),
        (0.7, "three numbers, not 0.7"),
        ("abc", "training fraction .*not 'a'"),
        ((0.7, 0.2, 0.2), "have the sum 1.1, not 1"),
        ((0, 0.5, 0.5), "training fraction .* above 0 .*not 0"),
        ((1.1, -0.1, 0), "training fraction .*not 1.1"),
        ((0.9, -0.1, 0.2), "validation fraction .*not -0.1"),
        ((0.9, 0.1, float("nan")), "test fraction .*not nan"),
    ],
)
def test_fractions_that_do_not_make_a_whole_are_refused(fractions, says):
    with pytest.raises(ValueError, match=says):
        split_stratified(table([("a", 0), ("b", 1)]), fractions)


def test_what_cannot_be_split_is_refused():
    with pytest.raises(TypeError, match="table must be read_texts's, not DataFrame"):
        split_stratified(pd.DataFrame({"Text": ["a"], "Label": [0]}))
    with pytest.raises(ValueError, match="seed must be .*not -1"):
        split_stratified(table([("a", 0)]), seed=-1)
    empty = pd.DataFrame({"Text": [], "Label": []})
    with pytest.raises(ValueError, match="no texts to split"):
        split_stratified(TextTable(empty, (), (), "a DataFrame"))


# --- classes of unequal size ------------------------------------------------------------------------


def test_undersampling_leaves_as_many_of_each_class_as_the_smallest_has():
    rows = [(f"{i} of {label}", label) for label, n in ((2, 9), (0, 30), (1, 4)) for i in range(n)]
    frame = pd.DataFrame(rows, columns=["Text", "Label"], index=[5] * len(rows))
    drawn = undersample(frame)
    assert drawn["Label"].tolist() == [2] * 4 + [0] * 4 + [1] * 4
    assert set(rows_of(drawn)) < set(rows) and drawn["Text"].is_unique
    assert rows_of(drawn) == rows_of(undersample(frame))
    assert rows_of(drawn) != rows_of(undersample(frame, seed=1))
    assert len(frame) == 43


def test_undersampling_draws_the_books_messages(real_sms, tmp_path):
    (tmp_path / "SMSSpamCollection.tsv").write_bytes(real_sms.read_bytes())
    messages = load_messages("sms-spam-collection", tmp_path)
    books = create_balanced_dataset(messages)
    mine = undersample(messages)
    assert len(mine) == 1494
    assert sorted(mine.values.tolist()) == sorted(books.values.tolist())


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (pd.DataFrame({"Text": [], "Label": []}), "no texts to draw from"),
        (pd.DataFrame({"Text": ["a", "b"], "Label": ["x", None]}), "a label is missing"),
        (pd.DataFrame({"Text": ["a"]}), "lacks the column Label"),
    ],
)
def test_undersampling_refuses_what_has_no_classes(frame, says):
    with pytest.raises(ValueError, match=says):
        undersample(frame)


def test_class_weights_make_all_classes_weigh_the_same_and_a_message_1():
    labels = [0] * 6 + [1] * 3 + [2]
    weights = class_weights(labels, 3)
    assert weights == pytest.approx((10 / 18, 10 / 9, 10 / 3))
    assert math.fsum(weights[label] for label in labels) == pytest.approx(len(labels))
    in_all = [weights[label] * labels.count(label) for label in range(3)]
    assert in_all == pytest.approx([in_all[0]] * 3)
    assert class_weights(torch.tensor([0, 1, 0, 1]).tolist(), 2) == (1.0, 1.0)
    assert class_weights(pd.Series(labels), 3) == weights


@pytest.mark.parametrize(
    ("labels", "number", "says"),
    [
        ([0, 2], 3, "no message is of class 1; a class needs"),
        ([], 2, "no message is of the classes 0, 1"),
        ([0, 3], 3, "a label must be a whole number from 0 to 2, not 3"),
        ([0, -1], 2, "from 0 to 1, not -1"),
        ([0, 0.5], 2, "not 0.5"),
        ([0], 0, "num_classes must be .*not 0"),
    ],
)
def test_class_weights_of_what_has_no_weight_are_refused(labels, number, says):
    with pytest.raises(ValueError, match=says):
        class_weights(labels, number)


def test_what_is_read_can_be_split_balanced_and_weighed():
    rows = [(f"{i} of {name}", name) for name, n in (("a", 40), ("b", 10)) for i in range(n)]
    read = read_texts(pd.DataFrame(rows, columns=["text", "label"]))
    split = split_stratified(read)
    assert split.labels == read.labels == ("a", "b")
    assert undersample(split.train)["Label"].value_counts().to_dict() == {0: 7, 1: 7}
    assert class_weights(split.train["Label"], 2) == pytest.approx((35 / 56, 35 / 14))
