"""The picture of the runs joins those that nobody beats, and says all that it shows in words."""

import itertools
import random
import re
from xml.etree import ElementTree

import pytest

from tests.labs import HEAD, made_up_run
from workshop.fast import History
from workshop.pictures.charts import AGAINST, draw_bar, draw_runs, draw_training, front


@pytest.mark.parametrize(
    ("costs", "accuracies", "expected"),
    [
        ([], [], []),
        ([5], [0.5], [0]),
        ([1, 2, 3], [0.7, 0.8, 0.9], [0, 1, 2]),
        ([1, 2, 3], [0.9, 0.8, 0.7], [0]),
        ([3, 1, 2], [0.9, 0.7, 0.6], [1, 0]),
        ([1, 1], [0.7, 0.8], [1]),
        ([1, 2], [0.8, 0.8], [0]),
        ([2, 2, 1], [0.8, 0.8, 0.7], [2, 0, 1]),
    ],
)
def test_the_runs_that_nobody_beats_in_both_are_on_the_front(costs, accuracies, expected):
    assert front(costs, accuracies) == expected


def test_the_front_is_what_comparing_every_pair_gives():
    rng = random.Random(0)
    for _ in range(200):
        count = rng.randint(1, 12)
        costs = [rng.randint(1, 6) for _ in range(count)]
        accs = [rng.randint(1, 6) for _ in range(count)]
        beaten = {
            i
            for i in range(count)
            for j in range(count)
            if costs[j] <= costs[i]
            and accs[j] >= accs[i]
            and (costs[j], accs[j]) != (costs[i], accs[i])
        }
        found = front(costs, accs)
        assert sorted(found) == [i for i in range(count) if i not in beaten]
        assert [costs[i] for i in found] == sorted(costs[i] for i in found)


RUNS = (
    made_up_run("a", HEAD, (0.83, 0.82, 0.84), trainable=386, seconds=0.4, position="last_token"),
    made_up_run("b", accuracies=(0.80, 0.81, 0.79), trainable=445_634, seconds=1.6),
    made_up_run("c", HEAD, (0.60,), trainable=386, seconds=0.3, after_test=True),
)


@pytest.mark.parametrize("against", AGAINST)
def test_the_picture_of_runs_has_a_mark_and_words_for_each(against):
    drawing = draw_runs(RUNS, against)
    root = ElementTree.fromstring(drawing.svg)
    texts = ["".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"1", "2", "3", against} <= {*texts}
    assert drawing.svg.count("<circle") == 2 and drawing.svg.count('height="10"') == 1
    assert drawing.words.count("beaten by none") == (1 if against == "trainable parameters" else 2)
    assert "run 3, head only" in drawing.words and "after the test was seen" in drawing.words
    assert root.get("aria-label").split() == drawing.words.split()
    inside = [float(x) for x in re.findall(r'cx="([\d.]+)"', drawing.svg)]
    assert all(64 <= x <= 600 for x in inside)


def test_runs_that_take_alike_stand_side_by_side():
    alike = [made_up_run(str(i), HEAD, (0.8,), trainable=386) for i in range(5)]
    drawing = draw_runs([*alike, made_up_run("b", trainable=445_634)])
    xs = [float(x) for x in re.findall(r'cx="([\d.]+)"', drawing.svg)]
    assert all(later - earlier > 15 for earlier, later in itertools.pairwise(xs))
    many = draw_runs(alike * 8)
    xs = [float(x) for x in re.findall(r'cx="([\d.]+)"', many.svg)]
    assert len(set(xs)) == 40 and max(xs) - min(xs) < 120


def test_no_run_yet_is_said():
    assert draw_runs([]).words.endswith("no run yet")


def test_a_training_is_drawn_from_its_first_step_on():
    history = History([0.9], [], [], [])
    assert "no epoch has ended yet" in draw_training([history], 5, 6).words
    history = History([0.9] * 12, [0.5, 0.75], [0.7, 0.65], [0.6, 0.8])
    drawing = draw_training([history, history], 5, 6)
    ElementTree.fromstring(drawing.svg)
    assert "seed 2, epoch 2: accuracy 0.75 in training, 0.80 in validation" in drawing.words
    assert drawing.svg.count("<circle") == 2 * (2 + 2 + 2)


def test_a_bar_says_how_far_it_is():
    bar = ElementTree.fromstring(draw_bar(0.256, 'step 3 & "4"'))
    assert bar.get("aria-valuenow") == "26" and bar.get("aria-label") == 'step 3 & "4"'
