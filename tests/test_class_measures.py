"""The measures of two or more classes are scikit-learn's; the baselines need no language model."""

import numpy as np
import pytest
from sklearn import metrics

from helpers.measures import wilson_interval
from workshop.class_measures import ClassMeasures, class_table, summary_table

LABELS = ("work", "home", "play")


def test_the_measures_are_those_of_scikit_learn():
    num_classes, rng = 40, np.random.default_rng(0)
    labels = [f"class {i}" for i in range(num_classes)]
    correct = rng.integers(0, num_classes - 1, 300)  # the last class has no text
    random = rng.integers(1, num_classes, 300)
    predicted = np.where(rng.random(300) < 0.6, correct, random)
    figures = ClassMeasures(labels, correct, predicted)
    precision, recall, _, support = metrics.precision_recall_fscore_support(
        correct, predicted, labels=range(num_classes), average=None, zero_division=np.nan
    )
    f1 = metrics.f1_score(
        correct, predicted, labels=range(num_classes), average=None, zero_division=0
    )
    table = metrics.confusion_matrix(correct, predicted, labels=range(num_classes))
    assert figures.table.tolist() == table.tolist()
    assert figures.accuracy == pytest.approx(metrics.accuracy_score(correct, predicted))
    assert figures.interval == wilson_interval(figures.accuracy, 300)
    assert figures.macro_f1 == pytest.approx(f1.mean())
    columns = {
        "texts": support, "predicted": np.bincount(predicted, minlength=num_classes),
        "precision": precision, "recall": recall, "F1": f1,
    }  # fmt: skip
    assert list(figures.by_class) == list(columns) and list(figures.by_class.index) == labels
    for name, expected in columns.items():
        assert figures.by_class[name].tolist() == pytest.approx(expected.tolist(), nan_ok=True)


def test_the_summary_has_a_line_for_each_classifier():
    correct = [0, 1, 2, 1]
    figures = {"sum of both": ClassMeasures(LABELS, correct, [0, 1, 2, 2]),
               "always work": ClassMeasures(LABELS, correct, [0] * 4)}  # fmt: skip
    assert summary_table(figures).split("\n") == [
        "what        accuracy           95 % macro-F1",
        "sum of both    0.750  0.301 – 0.954    0.778",
        "always work    0.250  0.046 – 0.699    0.133",
    ]


def test_the_class_table_has_the_largest_class_first_and_a_dash_for_a_fraction_of_nothing():
    lines = class_table(ClassMeasures(LABELS, [2, 2, 2, 1], [2, 2, 1, 2])).split("\n")
    assert lines == [
        "class  texts  predicted  precision  recall    F1",
        "play       3          3      0.667   0.667 0.667",
        "home       1          1      0.000   0.000 0.000",
        "work       0          0          –       – 0.000",
    ]


def test_of_many_classes_the_twenty_largest_are_shown_and_the_others_counted():
    labels, correct = [f"class {i}" for i in range(1000)], [*range(1000), *range(500, 520)]
    lines = class_table(ClassMeasures(labels, correct, [0] * 1020)).split("\n")
    assert [line.split()[1] for line in lines[1:-1]] == [str(i) for i in range(500, 520)]
    assert lines[-1] == "left out: 980 classes with 980 texts in all"


def test_a_long_name_of_a_class_or_one_of_several_lines_stays_in_one_line():
    names = ("a very long name " * 20, "two\nlines\tand more", "天气")
    _, long, two_lines, short = class_table(ClassMeasures(names, [0, 1, 2], [0, 1, 2])).split("\n")
    assert "two lines and more" in two_lines
    assert "a very long nam…" in long and len(long) == len(short) + 2 < 100
