"""The figures of two or more classes are scikit-learn's; what is beside them needs no model."""

import math
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import metrics

from helpers.measures import wilson_interval
from workshop import own as class_measures
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


def made_up(seed: int, num_classes: int, count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Correct and called classes; some are never correct, some never called."""
    rng = np.random.default_rng(seed)
    correct = rng.integers(0, max(1, num_classes - 1), count)
    random = rng.integers(min(1, num_classes - 1), num_classes, count)
    return correct, np.where(rng.random(count) < 0.6, correct, random)


# --- the figures ----------------------------------------------------------------------------------


def test_small_figures_are_what_a_pencil_finds():
    figures = class_figures(LABELS, CORRECT, CALLED)
    assert figures.labels == LABELS
    assert figures.table.tolist() == [[2, 1, 0], [1, 1, 0], [1, 0, 0]]
    assert (figures.total, figures.right, figures.accuracy) == (6, 3, 0.5)
    assert figures.interval == wilson_interval(0.5, 6)
    assert (figures.precision("work"), figures.recall("work")) == (2 / 4, 2 / 3)
    assert figures.f1("work") == pytest.approx(4 / 7)
    assert figures.macro_f1 == pytest.approx((4 / 7 + 1 / 2 + 0) / 3)
    assert [figures.support(label) for label in LABELS] == [3, 2, 1]
    assert [figures.called(label) for label in LABELS] == [4, 2, 0]


@pytest.mark.parametrize("num_classes", [2, 3, 7, 40])
def test_the_figures_are_those_of_scikit_learn(num_classes):
    labels = [f"class {i}" for i in range(num_classes)]
    for seed in range(5):
        correct, called = made_up(seed, num_classes)
        figures = class_figures(labels, correct, called)
        given = {"labels": range(num_classes), "average": None, "zero_division": np.nan}
        precision, recall, _, support = metrics.precision_recall_fscore_support(
            correct, called, **given
        )
        expected = metrics.confusion_matrix(correct, called, labels=range(num_classes))
        assert figures.table.tolist() == expected.tolist()
        assert figures.accuracy == pytest.approx(metrics.accuracy_score(correct, called))
        assert figures.macro_f1 == pytest.approx(
            metrics.f1_score(
                correct, called, labels=range(num_classes), average="macro", zero_division=0
            )
        )
        assert [figures.support(label) for label in labels] == support.tolist()
        for found, expected in ((figures.precision, precision), (figures.recall, recall)):
            values = [found(label) for label in labels]
            assert [math.nan if v is None else v for v in values] == pytest.approx(
                expected, nan_ok=True
            )


def test_a_share_of_nothing_is_none_and_what_is_never_right_counts_nothing():
    figures = class_figures(LABELS, [0, 1], [0, 0])
    assert figures.precision("home") is None and figures.recall("home") == 0
    assert figures.precision("play") is None and figures.recall("play") is None
    assert figures.f1("home") == figures.f1("play") == 0
    assert figures.macro_f1 == pytest.approx(2 / 3 / 3)


def test_one_class_alone_is_always_right():
    figures = class_figures(["only"], [0, 0], [0, 0])
    assert figures.table.tolist() == [[2]] and figures.macro_f1 == figures.accuracy == 1


def test_lists_arrays_series_and_tensors_give_the_same():
    expected = class_figures(LABELS, CORRECT, CALLED).table.tolist()
    for kind in (np.array, pd.Series, torch.tensor, tuple, lambda v: np.array(v, np.uint8)):
        figures = class_figures(list(LABELS), kind(CORRECT), kind(CALLED))
        assert figures.table.tolist() == expected


def test_nobody_changes_the_counts_by_accident():
    with pytest.raises(ValueError, match="read-only"):
        class_figures(LABELS, CORRECT, CALLED).table[0, 0] = 7


# --- beside it ------------------------------------------------------------------------------------


def test_the_classifier_stands_beside_the_largest_class_and_counting_words():
    found = compare(LABELS, TRAIN, TEST, [0, 1, 2, 2])
    assert list(found) == ["this classifier", "always work", "counting words"]
    assert [figures.right for figures in found.values()] == [3, 1, 4]
    assert found["always work"].called("work") == 4
    assert all(figures.total == 4 for figures in found.values())


def test_the_largest_class_is_that_of_the_training_part():
    assert list(compare(LABELS, TRAIN[3:5], TEST[1:2], [1]))[1] == "always home"
    assert list(compare(LABELS, TRAIN[3:], TEST[1:3], [1, 2]))[1] == "always home"  # the first


def test_counting_words_learns_from_words_only_and_always_the_same():
    rng = np.random.default_rng(0)
    topics = (("invoice", "office"), ("kettle", "garden"), ("goal", "band"))
    rows = []
    for i in range(150):
        words = [*rng.choice(topics[i % 3], 2), *rng.choice(["we", "and", "then", "now"], 5)]
        rows.append((" ".join(rng.permutation(words)), i % 3))
    train, test = part(*rows[:90]), part(*rows[90:])
    first, again = (compare(LABELS, train, test, [0] * 60) for _ in range(2))
    assert first["counting words"].accuracy == 1
    assert first["always work"].accuracy == pytest.approx(1 / 3)
    shuffled = train.assign(Label=rng.permutation(train["Label"]))
    chance = compare(LABELS, shuffled, test, [0] * 60)["counting words"]
    assert chance.accuracy < 0.7
    for name, figures in first.items():
        assert figures.table.tolist() == again[name].table.tolist()


def test_of_a_large_part_words_are_counted_in_as_many_texts_as_there_is_time_for(monkeypatch):
    train = pd.concat([TRAIN[3:]] * 20, ignore_index=True)
    monkeypatch.setattr(class_measures, "MOST_TEXTS", 40)
    found = compare(LABELS, train, TEST[1:], [1, 2, 1])
    assert found["counting words"].right == 3
    monkeypatch.setattr(class_measures, "MOST_TEXTS", 1)  # one text is one class
    found = compare(LABELS, train, TEST[1:], [1, 2, 1])
    assert found["counting words"].called("home") in (0, 3)


@pytest.mark.parametrize(
    "train",
    [
        part(("the match", 2), ("a game", 2)),  # one class
        part(("🎾", 2), ("👍", 0), ("!!", 2)),  # not a single word
        part(("", 2), (" ", 0), ("\n", 2)),
    ],
)
def test_where_nothing_can_be_learnt_counting_words_names_the_largest_class(train):
    found = compare(LABELS, train, part(("🎾", 2), ("tennis at six", 2)), [2, 1])
    assert found["counting words"].table.tolist() == found["always play"].table.tolist()
    assert found["counting words"].right == 2


def test_a_text_without_a_word_among_others_is_still_called_something():
    found = compare(LABELS, TRAIN, part(("🎾", 2), ("dinner", 1)), [2, 1])
    assert found["counting words"].total == 2


def test_nothing_is_warned_of_on_screen():
    rng = np.random.default_rng(1)
    texts = [" ".join(rng.choice(["tea", "bus", "sun", "fun"], 400)) for _ in range(40)]
    hard = part(*((text, i % 3) for i, text in enumerate(texts)))
    with warnings.catch_warnings(action="error"):
        compare(LABELS, TRAIN, TEST, [0, 1, 2, 2])
        compare(LABELS, hard, hard, [0] * 40)
        compare(LABELS, TRAIN[:3], TEST[:1], [0])


# --- in words -------------------------------------------------------------------------------------


def test_the_summary_has_a_line_for_each_way_and_columns_that_stand_under_each_other():
    lines = summary_table(compare(LABELS, TRAIN, TEST, [0, 1, 2, 2])).split("\n")
    assert lines[0].split() == ["what", "accuracy", "95", "%", "macro-F1"]
    assert [line[:15].strip() for line in lines] == [
        "what", "this classifier", "always work", "counting words"
    ]  # fmt: skip
    low, high = wilson_interval(0.75, 4)
    assert lines[1].split()[2:] == ["0.750", f"{low:.3f}", "–", f"{high:.3f}", "0.778"]
    assert len({len(line) for line in lines}) == 1


def test_the_class_table_has_the_largest_class_first_and_a_dash_for_a_share_of_nothing():
    lines = class_table(class_figures(LABELS, [2, 2, 2, 1], [2, 2, 1, 2])).split("\n")
    assert [line.split() for line in lines] == [
        ["class", "texts", "called", "so", "precision", "recall", "F1"],
        ["play", "3", "3", "0.667", "0.667", "0.667"],
        ["home", "1", "1", "0.000", "0.000", "0.000"],
        ["work", "0", "0", "–", "–", "0.000"],
    ]


def test_of_a_thousand_classes_the_twenty_largest_are_shown_and_the_others_counted():
    labels = [f"class {i}" for i in range(1000)]
    correct = [*range(1000), *range(500, 520)]
    text = class_table(class_figures(labels, correct, correct))
    lines = text.split("\n")
    assert len(lines) == 22
    assert [line.split()[1] for line in lines[1:21]] == [str(i) for i in range(500, 520)]
    assert lines[-1] == "left out: 980 classes with 980 texts in all"
    one_left_out = class_figures(labels[:21], [*range(21), *range(20)], [0] * 41)
    assert class_table(one_left_out).endswith("left out: 1 class with 1 text in all")
    assert "left out" not in class_table(class_figures(labels[:20], range(20), range(20)))


def test_a_thousand_classes_are_compared():
    labels = [f"class {i}" for i in range(1000)]
    rows = part(*((f"word{i % 1000} tea", i % 1000) for i in range(2000)))
    found = compare(labels, rows, rows, rows["Label"])
    assert found["this classifier"].macro_f1 == 1
    assert found["always class 0"].accuracy == 0.001
    assert found["counting words"].accuracy > 0.9


NAMES = (
    "a very long name " * 20,
    "天气" * 60,
    "two\nlines\tand \x1b[31mred",
    "é" * 120,  # an accent takes no column of its own
)


def test_no_name_of_a_class_breaks_the_lines_or_makes_them_wider_than_100():
    figures = class_figures(NAMES, [0, 1, 2, 3], [0, 1, 2, 3])
    summary = summary_table({f"always {name}": figures for name in NAMES})
    for text in (class_table(figures), summary):
        lines = text.split("\n")
        assert len(lines) == 5 and max(map(len, lines)) <= 100
        assert "\x1b" not in text and "\t" not in text
        assert all("…" in line for line in lines if "very long" in line or "天" in line)
    wide = next(line for line in class_table(figures).split("\n") if "天" in line)
    plain = next(line for line in class_table(figures).split("\n") if "two" in line)
    assert len(wide) + wide.count("天") + wide.count("气") == len(plain)


# --- what is given --------------------------------------------------------------------------------

BAD_INPUT = {
    "no text": (lambda: class_figures(LABELS, [], []), "no text to measure on"),
    "two lengths": (lambda: class_figures(LABELS, [0], [0, 1]), "1 correct and 2 called"),
    "names for numbers": (lambda: class_figures(LABELS, ["work"], [0]), "correct must be numbers"),
    "a class without a name": (lambda: class_figures(LABELS, [0], [3]), "0 to 2, not 3"),
    "a negative class": (lambda: class_figures(LABELS, [-1], [0]), "0 to 2, not -1"),
    "half a class": (lambda: class_figures(LABELS, [0.5], [0]), "0 to 2, not 0.5"),
    "not a number": (lambda: class_figures(LABELS, [0], [math.nan]), "not finite"),
    "logits": (lambda: class_figures(LABELS, [0], [[1, 0, 0]]), "(num_texts,), not (1, 3)"),
    "a name twice": (lambda: class_figures(["a", "a"], [0], [0]), "2 with 1 different"),
    "no names": (lambda: class_figures([], [0], [0]), "distinct names, one or more"),
    "an unknown class": (
        lambda: class_figures(LABELS, [0], [0]).recall("pets"), "no class 'pets' among 3"
    ),
    "a class that only the test part has": (
        lambda: compare(LABELS, TRAIN[:5], TEST, [0] * 4),
        "class 2, 'play', has texts in the test part and none in the training part",
    ),
    "more than one of them": (
        lambda: compare(LABELS, TRAIN[:3], TEST, [0] * 4), "class 1, 'home', and 1 more have texts"
    ),
    "an empty test part": (
        lambda: compare(LABELS, TRAIN, TEST[:0], []), "the test part has no text"
    ),
    "an empty training part": (
        lambda: compare(LABELS, TRAIN[:0], TEST, [0] * 4), "the train part has no text"
    ),
    "answers to other texts": (
        lambda: compare(LABELS, TRAIN, TEST, [0]), "4 correct and 1 called"
    ),
    "other columns": (
        lambda: compare(LABELS, TRAIN, TEST.rename(columns={"Text": "sms"}), [0] * 4),
        "needs columns Text and Label; it has sms, Label",
    ),
    "names in the label column": (
        lambda: compare(LABELS, TRAIN.assign(Label="work"), TEST, [0] * 4),
        "the train part's labels must be numbers",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_INPUT)
def test_what_cannot_be_measured_is_said(case):
    attempt, words = BAD_INPUT[case]
    with pytest.raises(ValueError) as raised:
        attempt()
    assert words in str(raised.value)


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: class_figures("abc", [0], [0]),
        lambda: class_figures([1, 2], [0], [0]),
        lambda: compare(LABELS, list(TRAIN["Text"]), TEST, [0] * 4),
        lambda: compare(LABELS, TRAIN.assign(Text=None), TEST, [0] * 4),
    ],
)
def test_things_of_another_kind_are_refused(attempt):
    with pytest.raises(TypeError, match="must be"):
        attempt()


def test_figures_can_be_made_of_a_table_that_is_at_hand():
    assert ClassFigures(("a", "b"), np.array([[3, 1], [0, 4]])).accuracy == 7 / 8
