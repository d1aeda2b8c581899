"""Charts hold the numbers of the data, the model and the trainings, and have them in words."""

import math
import re
from types import SimpleNamespace

import numpy as np
import pytest

from helpers.data import load_splits
from helpers.tokenizer import get_tokenizer
from tests.clicks import one
from tests.drawings import check_chart, check_drawing, elements
from tests.labs import HEAD, made_up_run
from workshop.fast import History, Progress
from workshop.own import ClassMeasures
from workshop.pictures import charts
from workshop.pictures.svg import ORANGE
from workshop.widgets.train_button import TrainButton

PARTS = dict(zip(("training", "validation", "test"), load_splits("sms-mini"), strict=True))
LENGTHS = [len(get_tokenizer().encode(text)) for text in PARTS["training"]["Text"]]


def heights(bars) -> list[float]:
    return [bar.get_height() for bar in bars]


def test_each_part_has_a_histogram_of_its_ham_and_spam():
    chart = charts.draw_splits(PARTS)
    assert {"ham", "spam", "words in a message"} <= {*check_chart(chart)}
    for plot, part in zip(chart.figure.axes, PARTS.values(), strict=True):
        lengths = part["Text"].str.split().str.len()
        for label, bars in enumerate(plot.containers):
            shown = lengths[part["Label"] == label]
            edges = np.arange(0, lengths.max() + 6, 5)
            assert heights(bars) == np.histogram(shown, edges)[0].tolist()
    training, _, test = chart.words.splitlines()
    assert training == "training: 346 ham, 354 spam (50.6%); 3 to 59 words, median 21"
    assert test == "test: 113 ham, 87 spam (43.5%); 2 to 54 words, median 19"


def test_a_batch_is_as_wide_as_its_longest_message_and_the_rest_is_padding():
    assert charts.batch_widths([3, 1, 2, 5, 4], 2) == [3, 3, 5, 5, 4]
    assert charts.share_of_padding([1, 3], [3, 3]) == pytest.approx(1 / 3)
    chart = charts.draw_batch(LENGTHS[:8], 82)
    assert check_chart(chart) and chart.words.endswith("8 messages, 82 ids each:\n62% padding")
    chart = charts.draw_padding(LENGTHS, 8)
    assert check_chart(chart) and re.findall(r"(\d+)% padding", chart.words) == ["60", "44", "1"]
    for plot, percent in zip(chart.figure.axes, (60, 44, 1), strict=True):
        widths, lengths = (patch.get_data().values for patch in plot.patches)
        assert sum(lengths) == sum(LENGTHS) and all(lengths <= widths)
        assert round(100 * (1 - sum(lengths) / sum(widths))) == percent


def test_rows_are_the_correct_classes_and_columns_the_predicted_ones():
    figures = ClassMeasures(("ham", "$m$"), [0, 0, 0, 1, 1], [0, 0, 1, 1, 1])
    chart = charts.draw_class_matrix(figures)
    texts = check_chart(chart)
    assert [text for text in texts if text.isdigit()] == ["2", "1", "0", "2"]
    assert texts.count("$m$") == texts.count("ham") == 2 and "correct class" in texts
    assert chart.words == (
        "the confusion matrix of 5 texts, 4 of them right\nmistakes: ham predicted as $m$: 1"
    )


@pytest.mark.proof
def test_of_many_classes_the_largest_are_shown_and_no_name_lies_on_another():
    names = [f"class {i}\n" + "long " * 9 for i in range(22)]
    many = ClassMeasures(names, [*range(22), 21, 20], [*range(22), 21, 0])
    chart = charts.draw_class_matrix(many)
    texts = check_chart(chart)
    assert "predicted class (20 of 22 shown)" in texts and "class 21 long long long…" in texts
    assert "class 17 long long long…" in texts and not any("class 18" in text for text in texts)
    assert chart.words.count("predicted as") == 1


def test_the_loss_of_a_probability_is_marked_on_the_curve_and_said():
    for p, loss in ((1.0, "0.00"), (0.5, "0.69"), (1e-9, "20.72")):
        chart = charts.draw_loss(p)
        check_chart(chart)
        assert chart.words == f"p = {p:g}, loss = −ln p = {loss}"
        half, curve, mark = chart.figure.axes[0].lines
        assert mark.get_xydata().tolist() == [[p, 0], [p, pytest.approx(-math.log(p))]]
        x, y = curve.get_data()
        assert half.get_xdata()[0] == 0.5
        assert x[-1] == 1 and y == pytest.approx(-np.log(x), abs=1e-3)


def test_a_pretraining_has_its_losses_and_the_levels_to_compare_with():
    levels = {"untrained": 10.8, "unigram model": 7.2}
    chart = charts.draw_pretraining([10.8, 9.0, 6.5], [(0, 10.8), (3, 7.3)], levels)
    assert {"untrained: 10.8", "unigram model: 7.2", "step"} <= {*check_chart(chart)}
    title = "loss in nats: batches from 10.8 to 6.5, held out from 10.8 to 7.3"
    assert chart.words.splitlines()[0] == title
    steps, held_out, *dotted = chart.figure.axes[0].lines
    assert steps.get_xydata().tolist() == [[1, 10.8], [2, 9.0], [3, 6.5]]
    assert held_out.get_xydata().tolist() == [[0, 10.8], [3, 7.3]]
    assert [line.get_ydata()[0] for line in dotted] == [10.8, 7.2]
    means = charts.draw_pretraining([10.8, 9.0], [(50, 9.1)], {}, steps_per_loss=100)
    assert means.figure.axes[0].lines[0].get_xdata().tolist() == [100, 200]


def test_a_training_is_drawn_from_its_first_step_on():
    first = charts.draw_training([History([0.9], [], [], [])], 5, 6)
    assert first.words == "how the training goes: no epoch has ended yet"
    settings = SimpleNamespace(epochs=2)
    button = TrainButton(lambda: (SimpleNamespace(settings=settings), 2), lambda training: None)
    button.show_bar(0.256, 'step "4"')
    assert 'max="100" value="26" aria-label="step &quot;4&quot;"' in one(button, "fx-bar").value
    button._begin()
    button._show_progress(Progress("training", 6, 12, History([0.9] * 6, seconds_training=30.0)))
    assert "seed 1 of 2, step 6 of 12, about 90 s left" in one(button, "fx-bar").value
    history = History([2.0] * 12, [0.5, 0.75], [0.6, 0.65], [0.6, 0.8])
    drawing = charts.draw_training([history, history], 5, 6)
    check_drawing(drawing)
    at_last = "training accuracy 0.75, validation accuracy 0.80, validation loss 0.650"
    assert f"after epoch 2, {at_last}" in drawing.words
    marks = []
    for mark in elements(drawing, "circle"):
        marks.append((mark.get("fill"), mark.get("cx"), mark.get("cy")))
    assert len(marks) == 2 * 6  # of two seeds
    assert marks[0] == (ORANGE, "96", "155") and marks[2] == ("none", "396", "125")
    curve = max((path.get("d") for path in elements(drawing, "path")), key=len)
    assert curve.startswith("M56,50L") and curve.endswith("L144,50")


@pytest.mark.parametrize(
    ("against", "costs", "best"),
    [("trainable parameters", [386, 445_634, 386], [1]), ("seconds", [0.4, 1.6, 0.3], [3, 1])],
)
def test_the_chart_of_runs_has_a_mark_an_interval_and_words_for_each(against, costs, best):
    runs = (
        made_up_run("a", HEAD, (0.83, 0.82, 0.84), trainable=386, seconds=0.4),
        made_up_run("b", accuracies=(0.80, 0.81, 0.79), trainable=445_634, seconds=1.6),
        made_up_run("c", HEAD, (0.60,), trainable=386, seconds=0.3),
    )
    chart = charts.draw_runs(runs, 0.59, against)
    shown = {*check_chart(chart)}
    assert {"1", "2", "3", "validation accuracy", "always the majority class"} <= shown
    label = f"{against} (equal ones side by side)" if len(set(costs)) < 3 else against
    assert label in shown
    plot = chart.figure.axes[0]
    marks, joined, baseline = (line.get_xydata().tolist() for line in plot.lines)
    assert [y for _, y in baseline] == [0.59, 0.59]
    assert [y for _, y in marks] == [0.83, 0.8, 0.6] and joined == [marks[i - 1] for i in best]
    for (x, _), cost in zip(marks, costs, strict=True):
        assert x == pytest.approx(cost, rel=0.11)
    assert len({x for x, _ in marks}) == 3  # equal costs stand side by side
    bars = plot.collections[0].get_segments()
    assert [bar[:, 1].tolist() for bar in bars] == [pytest.approx(run.interval) for run in runs]
    assert f": {costs[2]} {against}, accuracy 0.600 (95 % interval 0.502 to 0.691)" in chart.words
    assert chart.words.endswith(f"the Pareto front: {', '.join(map(str, best))}")
    assert charts.draw_runs([], 0.5, against).words == f"accuracy against {against}: no run yet"


def test_on_the_front_are_the_points_that_no_other_beats():
    accuracies = [0.9, 0.5, 0.4, 0.5, 0.9, 0.8, 1.0]
    assert charts.front([3, 1, 2, 1, 4, 3, 5], accuracies) == [1, 3, 0, 6]
