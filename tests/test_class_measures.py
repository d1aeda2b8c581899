"""The measures of two or more classes are scikit-learn's; the baselines need no language model."""

import math
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import metrics

from helpers.measures import wilson_interval
from workshop import own
from workshop.own import ClassFigures, class_figures, class_table, compare, summary_table

LABELS = ("work", "home", "play")
CORRECT, CALLED = [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 0, 0]


def part(*rows: tuple[str, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["Text", "Label"])


TRAIN = part(
    ("the meeting starts at nine", 0),
    ("the boss is in the meeting", 0),
    ("a report for the boss", 0),
    ("dinner is in the oven", 1),
    ("feed the cat before dinner", 1),
    ("we won the match", 2),
    ("a match and then a game", 2),
)
TEST = part(
    ("boss wants the report", 0),
    ("feed the cat", 1),
    ("we won a game", 2),
    ("dinner in the oven", 1),
)


# --- measures -------------------------------------------------------------------------------------


def test_small_measures_are_what_a_pencil_finds():
    for kind in (list, np.array, pd.Series, torch.tensor):
        figures = class_figures(LABELS, kind(CORRECT), kind(CALLED))
        assert figures.labels == LABELS
        assert figures.table.tolist() == [[2, 1, 0], [1, 1, 0], [1, 0, 0]]
    assert (figures.total, figures.right, figures.accuracy) == (6, 3, 0.5)
    assert figures.interval == wilson_interval(0.5, 6)
    assert (figures.precision("work"), figures.recall("work")) == (2 / 4, 2 / 3)
    assert figures.f1("work") == pytest.approx(4 / 7)
    assert figures.macro_f1 == pytest.approx((4 / 7 + 1 / 2 + 0) / 3)
    assert [figures.support(label) for label in LABELS] == [3, 2, 1]
    assert [figures.called(label) for label in LABELS] == [4, 2, 0]
    assert ClassFigures(("a", "b"), np.array([[3, 1], [0, 4]])).accuracy == 7 / 8


@pytest.mark.parametrize("num_classes", [2, 3, 7, 40])
def test_the_measures_are_those_of_scikit_learn(num_classes):
    labels, rng = [f"class {i}" for i in range(num_classes)], np.random.default_rng(num_classes)
    correct = rng.integers(0, max(1, num_classes - 1), 300)  # the last class has no text
    random = rng.integers(min(1, num_classes - 1), num_classes, 300)
    called = np.where(rng.random(300) < 0.6, correct, random)
    figures = class_figures(labels, correct, called)
    precision, recall, _, support = metrics.precision_recall_fscore_support(
        correct, called, labels=range(num_classes), average=None, zero_division=np.nan
    )
    table = metrics.confusion_matrix(correct, called, labels=range(num_classes))
    assert figures.table.tolist() == table.tolist()
    assert figures.accuracy == pytest.approx(metrics.accuracy_score(correct, called))
    options = {"labels": range(num_classes), "average": "macro", "zero_division": 0}
    assert figures.macro_f1 == pytest.approx(metrics.f1_score(correct, called, **options))
    assert [figures.support(label) for label in labels] == support.tolist()
    for measure, expected in ((figures.precision, precision), (figures.recall, recall)):
        values = [measure(label) for label in labels]
        values = [math.nan if value is None else value for value in values]
        assert values == pytest.approx(expected, nan_ok=True)


# --- baselines ------------------------------------------------------------------------------------


def test_the_classifier_is_compared_with_the_largest_class_and_counting_words():
    figures = compare(LABELS, TRAIN, TEST, [0, 1, 2, 2])
    assert list(figures) == ["this classifier", "always work", "counting words"]
    assert [measured.right for measured in figures.values()] == [3, 1, 4]
    assert figures["always work"].called("work") == 4
    assert list(compare(LABELS, TRAIN[3:5], TEST[1:2], [1]))[1] == "always home"


def test_counting_words_uses_words_only_and_always_answers_the_same():
    rng = np.random.default_rng(0)
    topics = (("invoice", "office"), ("kettle", "garden"), ("goal", "band"))
    rows = []
    for i in range(150):
        words = [*rng.choice(topics[i % 3], 2), *rng.choice(["we", "and", "then", "now"], 5)]
        rows.append((" ".join(rng.permutation(words)), i % 3))
    train, test = part(*rows[:90]), part(*rows[90:])
    first, again = (compare(LABELS, train, test, [0] * 60) for _ in range(2))
    assert first["counting words"].accuracy == 1
    shuffled = train.assign(Label=rng.permutation(train["Label"]))
    assert compare(LABELS, shuffled, test, [0] * 60)["counting words"].accuracy < 0.7
    for name, figures in first.items():
        assert figures.table.tolist() == again[name].table.tolist()


def test_of_a_large_part_words_are_counted_in_as_many_texts_as_there_is_time_for(monkeypatch):
    train = pd.concat([TRAIN[3:]] * 20, ignore_index=True)
    monkeypatch.setattr(own, "MOST_TEXTS", 40)
    assert compare(LABELS, train, TEST[1:], [1, 2, 1])["counting words"].right == 3
    monkeypatch.setattr(own, "MOST_TEXTS", 1)  # one text is one class
    figures = compare(LABELS, train, TEST[1:], [1, 2, 1])
    assert figures["counting words"].called("home") in (0, 3)


@pytest.mark.parametrize(
    "train", [part(("the match", 2), ("a game", 2)), part(("🎾", 2), ("👍", 0), ("!!", 2))]
)
def test_where_nothing_can_be_learnt_counting_words_names_the_largest_class(train):
    figures = compare(LABELS, train, part(("🎾", 2), ("tennis at six", 2)), [2, 1])
    assert figures["counting words"].table.tolist() == figures["always play"].table.tolist()
    assert figures["counting words"].right == 2


def test_a_training_that_does_not_converge_warns_of_nothing():
    rng = np.random.default_rng(1)
    texts = [" ".join(rng.choice(["tea", "bus", "sun", "fun"], 400)) for _ in range(40)]
    hard = part(*((text, i % 3) for i, text in enumerate(texts)))
    with warnings.catch_warnings(action="error"):
        compare(LABELS, hard, hard, [0] * 40)


# --- tables of plain text -------------------------------------------------------------------------


def test_the_summary_has_a_line_for_each_way_and_columns_that_stand_under_each_other():
    lines = summary_table(compare(LABELS, TRAIN, TEST, [0, 1, 2, 2])).split("\n")
    assert lines[:2] == [
        "what             accuracy           95 %  macro-F1",
        "this classifier     0.750  0.301 – 0.954     0.778",
    ]
    assert [line[:15].strip() for line in lines[2:]] == ["always work", "counting words"]


def test_the_class_table_has_the_largest_class_first_and_a_dash_for_a_fraction_of_nothing():
    lines = class_table(class_figures(LABELS, [2, 2, 2, 1], [2, 2, 1, 2])).split("\n")
    assert lines == [
        "class  texts  called so  precision  recall     F1",
        "play       3          3      0.667   0.667  0.667",
        "home       1          1      0.000   0.000  0.000",
        "work       0          0          –       –  0.000",
    ]


def test_of_many_classes_the_twenty_largest_are_shown_and_the_others_counted():
    labels = [f"class {i}" for i in range(1000)]
    correct = [*range(1000), *range(500, 520)]
    lines = class_table(class_figures(labels, correct, correct)).split("\n")
    assert len(lines) == 22
    assert [line.split()[1] for line in lines[1:21]] == [str(i) for i in range(500, 520)]
    assert lines[-1] == "left out: 980 classes with 980 texts in all"
    assert "left out" not in class_table(class_figures(labels[:20], range(20), range(20)))


NAMES = ("a very long name " * 20, "天气" * 60, "two\nlines\tand \x1b[31mred", "é" * 120)


def test_no_name_of_a_class_breaks_the_lines_or_makes_them_wider_than_100():
    figures = class_figures(NAMES, [0, 1, 2, 3], [0, 1, 2, 3])
    summary = summary_table({f"always {name}": figures for name in NAMES})
    for text in (class_table(figures), summary):
        lines = text.split("\n")
        assert len(lines) == 5 and max(map(len, lines)) <= 100
        assert "\x1b" not in text and "\t" not in text
    wide = next(line for line in class_table(figures).split("\n") if "天" in line)
    plain = next(line for line in class_table(figures).split("\n") if "two" in line)
    assert "…" in wide and len(wide) + wide.count("天") + wide.count("气") == len(plain)


BAD_INPUT = {
    "no text": (lambda: class_figures(LABELS, [], []), "there are 0 and 0"),
    "two lengths": (lambda: class_figures(LABELS, [0], [0, 1]), "there are 2 and 1"),
    "names for numbers": (lambda: class_figures(LABELS, ["work"], [0]), "0 to 2, not 'work'"),
    "a class without a name": (lambda: class_figures(LABELS, [0], [3]), "0 to 2, not 3"),
    "a negative class": (lambda: class_figures(LABELS, [-1], [0]), "0 to 2, not -1"),
    "an unknown class": (
        lambda: class_figures(LABELS, [0], [0]).recall("pets"), "no class 'pets' among 3"
    ),
    "a class that only the test part has": (
        lambda: compare(LABELS, TRAIN[:5], TEST, [0] * 4),
        "class 'play' has texts in the test part and none in the training part",
    ),
    "answers to other texts": (lambda: compare(LABELS, TRAIN, TEST, [0]), "there are 1 and 4"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_INPUT)
def test_what_cannot_be_measured_is_said(case):
    attempt, words = BAD_INPUT[case]
    with pytest.raises(ValueError) as raised:
        attempt()
    assert words in str(raised.value)
