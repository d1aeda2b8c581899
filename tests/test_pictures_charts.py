"""Charts hold the numbers of the data, the model and the trainings, and have them in words."""

import math
import random
import re
from collections import Counter
from statistics import median

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from helpers.data import create_balanced_dataset, load_messages, load_splits, random_split
from helpers.loading import load_pretrained
from helpers.tokenizer import get_tokenizer
from tests.drawings import check_chart, check_that_all_can_be_seen, elements, written
from tests.labs import HEAD, made_up_run
from workshop.fast import History
from workshop.own import class_figures
from workshop.pictures import charts
from workshop.pictures.svg import BLUE, ORANGE

PARTS = dict(zip(("training", "validation", "test"), load_splits("sms-mini"), strict=True))
LENGTHS = [len(get_tokenizer().encode(text)) for text in PARTS["training"]["Text"]]
NANO = load_pretrained("gpt2-nano (12M)")
GROUPS = {
    "days": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
    "numbers": ["two", "three", "four", "five", "six", "seven", "eight", "ten"],
    "cities": ["London", "Paris", "Seattle", "Toronto", "Sydney", "Chicago", "Boston"],
}
RUNS = (
    made_up_run("a", HEAD, (0.83, 0.82, 0.84), trainable=386, seconds=0.4, position="last_token"),
    made_up_run("b", accuracies=(0.80, 0.81, 0.79), trainable=445_634, seconds=1.6),
    made_up_run("c", HEAD, (0.60,), trainable=386, seconds=0.3, after_test=True),
)


def numbers(pattern: str, text: str) -> list[int]:
    return [int(number.replace(",", "")) for number in re.findall(pattern, text)]


# --- messages -------------------------------------------------------------------------------------


def test_the_parts_have_bars_of_their_ham_and_spam_and_histograms_of_their_words():
    chart = charts.draw_splits(PARTS)
    texts, axes = check_chart(chart), chart.figure.axes
    for i, (name, part) in enumerate(PARTS.items()):
        ham, spam = (part["Label"] == 0).sum(), (part["Label"] == 1).sum()
        words = [len(text.split()) for text in part["Text"]]
        title = f"{name}: {len(part)} messages, {spam / len(part):.1%} spam"
        assert {f"{ham} ham", f"{spam} spam", title, f"median {median(words):g}"} <= {*texts}
        line = next(line for line in chart.words.splitlines() if line.startswith(name))
        assert f" {ham} ham, {spam} spam, {spam / len(part):.1%} spam; words in a message:" in line
        bars, histogram = axes[2 * i], axes[2 * i + 1]
        assert [round(bar.get_width() * len(part)) for bar in bars.patches] == [ham, spam]
        shares = histogram.patches[0].get_data().values
        assert shares.sum() == pytest.approx(1)
        assert shares[1] * len(part) == pytest.approx(sum(5 <= n < 10 for n in words))
        assert f"5 to 9: {shares[1]:.0%}, " in line


def test_each_random_split_has_a_mark_at_its_percentage_of_spam():
    balanced = create_balanced_dataset(load_messages("sms-mini"))
    numbered = balanced.assign(Label=balanced["Label"].map({"ham": 0, "spam": 1}))
    draws = {seed: random_split(numbered, 0.7, 0.1, seed) for seed in range(113, 128)}
    chart = charts.draw_chances(draws, marked=123)
    check_chart(chart)
    for i, axes in enumerate(chart.figure.axes):
        percents = [100 * parts[i]["Label"].mean() for parts in draws.values()]
        *dots, square = axes.lines
        shown = Counter(round(x) for dot in dots for x in dot.get_xdata())
        assert shown == Counter(math.floor(percent + 0.5) for percent in percents)
        assert square.get_marker() == "s" and square.get_xdata() == [[51, 59, 44][i]]
    assert numbers(r"with seed 123: (\d+) %", chart.words) == [51, 59, 44]
    assert sum(numbers(r" %: (\d+)[,;]", chart.words)) == 3 * len(draws)


@pytest.mark.parametrize("labels", [[0], [1] * 40])
def test_a_part_of_one_class_or_of_one_message_is_drawn_too(labels):
    part = pd.DataFrame({"Label": labels, "Text": ["a b c"] * len(labels)})
    check_chart(charts.draw_splits({"training": part}))
    check_chart(charts.draw_chances({1: [part]}, marked=1, names=["training"]))


def test_the_histogram_counts_every_message_once():
    chart = charts.draw_lengths(LENGTHS)
    assert {"median 31", "longest 82", "tokens in a message"} <= {*check_chart(chart)}
    bins = re.findall(r"(\d+) to (\d+): (\d+)", chart.words)
    counts = [int(count) for _, _, count in bins]
    assert sum(counts) == len(LENGTHS) and len(bins) <= 20
    assert counts == [sum(int(low) <= n <= int(high) for n in LENGTHS) for low, high, _ in bins]
    assert chart.figure.axes[0].patches[0].get_data().values.tolist() == counts
    assert "shortest 5, median 31, longest 82; messages of 0 to 4: 0" in chart.words or min(LENGTHS)
    for lengths in ([1], [5] * 1000, [1, 1024]):
        assert sum(numbers(r": ([\d,]+)(?=, |$)", charts.draw_lengths(lengths).words)[-20:])


def test_a_batch_is_as_wide_as_its_longest_message_and_the_rest_is_padding():
    assert charts.batch_widths([3, 1, 2, 5, 4], 2) == [3, 3, 5, 5, 4]
    assert charts.share_of_padding([1, 3], [3, 3]) == pytest.approx(1 / 3)
    chart = charts.draw_batch(LENGTHS[:8], 82)
    texts = check_chart(chart)
    assert [text for text in texts if " + " in text] == [f"{n} + {82 - n}" for n in LENGTHS[:8]]
    padding, tokens = chart.figure.axes[0].containers
    assert [bar.get_width() for bar in tokens] == LENGTHS[:8]
    assert {bar.get_width() for bar in padding} == {82}
    assert chart.words.startswith(
        "a batch of 8 rows, 82 ids each: 62% padding\nrow 1: 55 tokens, 27"
    )


def test_three_ways_of_padding_cost_as_much_as_section_6_3_says():
    chart = charts.draw_padding(LENGTHS, 8)
    check_chart(chart)
    assert numbers(r"and (\d+)% padding", chart.words) == [60, 44, 1]
    shares = [int((axes.images[0].get_array() == 1).sum()) for axes in chart.figure.axes]
    tokens = [int((axes.images[0].get_array() == 0).sum()) for axes in chart.figure.axes]
    assert tokens == [sum(LENGTHS)] * 3
    assert [round(100 * p / (p + sum(LENGTHS))) for p in shares] == [60, 44, 1]
    assert "sorted, each its own: rows of " in chart.words


# --- words ----------------------------------------------------------------------------------------


def test_the_nearest_tokens_are_those_that_comparing_with_every_row_finds():
    weight = NANO.tok_emb.weight.detach().double()
    found = charts.nearest_tokens(NANO, "Monday", 6)
    (token_id,) = get_tokenizer().encode(" Monday")
    cosines = F.cosine_similarity(weight, weight[token_id : token_id + 1], dim=-1)
    order = cosines.argsort(descending=True).tolist()[1:7]
    assert [token for token, _ in found] == [
        f"␣{get_tokenizer().decode([i]).strip()}" for i in order
    ]
    assert [cosine for _, cosine in found] == pytest.approx(cosines[order].tolist(), abs=1e-5)
    assert charts.nearest_tokens(NANO, "win", 2)[1][0] == "␣lose"
    chart = charts.draw_nearest(NANO, ["Monday", "£"])
    texts = check_chart(chart)
    for (token, cosine), bar in zip(found, chart.figure.axes[0].patches, strict=True):
        assert {token, f"{cosine:.2f}"} <= {*texts} and f"{token} {cosine:.2f}" in chart.words
        assert bar.get_width() == pytest.approx(cosine, abs=0.005)
    assert "£: ␣€ 0.9" in chart.words


def test_words_lie_on_the_map_where_their_rows_lie_along_the_two_main_directions():
    chart = charts.draw_words(NANO, GROUPS)
    check_chart(chart)
    words = [word for group in GROUPS.values() for word in group]
    ids = [get_tokenizer().encode(f" {word}")[0] for word in words]
    rows = F.normalize(NANO.tok_emb.weight.detach()[ids].double(), dim=-1)
    _, sizes, axes = torch.linalg.svd(rows - rows.mean(dim=0), full_matrices=False)
    share = sizes[:2].square().sum() / sizes.square().sum()
    assert f"these two carry {share:.0%} of the variance" in chart.words
    said = re.findall(r"(\w+) \((-?[\d.]+), (-?[\d.]+)\)", chart.words)
    assert [word for word, _, _ in said] == words
    places = torch.tensor([(float(x), float(y)) for _, x, y in said]).double()
    true = (rows - rows.mean(dim=0)) @ axes[:2].T
    assert torch.allclose(torch.pdist(places), torch.pdist(true), atol=0.02)  # whatever the signs
    lines = chart.figure.axes[0].lines
    assert np.concatenate([line.get_xydata() for line in lines]) == pytest.approx(places.numpy())
    assert [line.get_marker() for line in lines] == ["o", "s", "^"]
    for words in (["two", "two", "three"], ["two", "five", "Sunday"]):
        assert "3 words" in charts.draw_words(NANO, {"a": words}).words


# --- the confusion matrix of many classes ---------------------------------------------------------


def test_rows_are_the_correct_classes_and_columns_the_predicted_ones():
    chart = charts.draw_class_matrix(
        class_figures(("ham", "$m$"), [0, 0, 0, 1, 1], [0, 0, 1, 1, 1])
    )
    texts = check_chart(chart)
    assert [text for text in texts if text.isdigit()] == ["2", "1", "0", "2"]
    assert texts.count("$m$") == texts.count("ham") == 2 and {"called", "correct"} <= {*texts}
    assert len(chart.figure.axes[0].patches) == 2  # the frames
    assert chart.words.splitlines() == [
        "the confusion matrix of 5 texts, 4 of them right",
        "ham, 3 texts: 2 right, 1 called $m$",
        "$m$, 2 texts: 2 right",
    ]
    values = chart.figure.axes[0].collections[0].get_array().flatten()
    assert values.tolist() == pytest.approx([2 / 3, -1 / 3, 0, 1])


def test_many_classes_and_long_or_odd_names_fit():
    names = [f"class {i} " + "long " * 9 for i in range(21)] + ["<b>a\nb\x00c"]
    chart = charts.draw_class_matrix(
        class_figures(names, [*range(22)] * 2, [0] * 22 + [*range(22)])
    )
    texts = written(chart)
    assert "1 class 0 long long long …" in texts and "20" in texts and "21" not in texts
    assert "the 20 largest classes; 2 classes are left out, and" in chart.words
    chart = charts.draw_class_matrix(class_figures(("a", "b", "c"), [0, 0, 0, 0], [0, 1, 2, 2]))
    assert "a, 4 texts: 1 right, 2 called c, 1 called b\n" in chart.words
    chart = charts.draw_class_matrix(class_figures([*names[-1:], "b"], [0], [0]))
    assert "<b>a b\ufffdc, 1 text: 1 right\nb, 0 texts: 0 right" in chart.words
    assert [charts.short_count(n) for n in (9999, 12_345, 3_000_000)] == ["9999", "12k", "3M"]


# --- losses, trainings and runs -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("p", "loss"), [(1.0, "0.00"), (0.5, "0.69"), (0.01, "4.61"), (1e-9, "20.72")]
)
def test_the_loss_of_a_probability_is_marked_on_the_curve_and_said(p, loss):
    drawing = charts.draw_loss(p)
    assert drawing.words == (
        f"the loss −ln p, marked at p = {p:g}: {p:g} for the correct class costs {loss}"
    )
    (point,) = elements(drawing, "circle")
    assert float(point.get("cx")) == pytest.approx(62 + 470 * p, abs=0.1)
    assert float(point.get("cy")) == pytest.approx(254 - min(-math.log(p), 5) * 44, abs=0.1)
    curve = max((path.get("d") for path in elements(drawing, "path")), key=len)
    for x, y in re.findall(r"([\d.]+),([\d.]+)", curve):
        expected = 254 + math.log(max((float(x) - 62) / 470, 1e-9)) * 44
        assert float(y) == pytest.approx(expected, abs=1.5)


def test_a_pretraining_has_its_losses_and_the_levels_to_compare_with():
    levels = {"knowing nothing": 10.8, "counting": 7.2}
    chart = charts.draw_pretraining([10.8, 9.0, 6.5], [(0, 10.8), (3, 7.2)], levels)
    assert {" knowing nothing: 10.8", " counting: 7.2", "step", "nats"} <= {*check_chart(chart)}
    assert chart.words == (
        "loss of the batches from 10.8 to 6.5 nats; held out: after step 0 10.8; after step 3 7.2. "
        "To compare with: knowing nothing 10.8, counting 7.2."
    )
    steps, held_out, *dotted = chart.figure.axes[0].lines
    assert steps.get_xydata().tolist() == [[1, 10.8], [2, 9.0], [3, 6.5]]
    assert held_out.get_xydata().tolist() == [[0, 10.8], [3, 7.2]]
    assert [line.get_ydata()[0] for line in dotted] == [10.8, 7.2]
    assert "no step yet" in charts.draw_pretraining([], [(0, 10.8)], levels).words


def test_a_training_is_drawn_from_its_first_step_on():
    first = charts.draw_training([History([0.9], [], [], [])], 5, 6)
    assert first.words == "how the training goes: no epoch has ended yet"
    history = History([0.9] * 12, [0.5, 0.75], [0.7, 0.65], [0.6, 0.8])
    drawing = charts.draw_training([history, history], 5, 6)
    check_that_all_can_be_seen(drawing)
    assert "seed 2, epoch 2: accuracy 0.75 in training, 0.80 in validation; " in drawing.words
    assert drawing.words.endswith("validation loss 0.650")
    marks = [
        (c.get("fill"), float(c.get("cx")), float(c.get("cy"))) for c in elements(drawing, "circle")
    ]
    assert len(marks) == 2 * 6  # of two seeds
    top = 50 + 150 * (1 - 0.7 / (0.9 * 1.05))
    assert marks[0][0] == ORANGE and marks[0][1:] == pytest.approx((48 + 48, top), abs=0.1)
    assert marks[2] == ("none", 348 + 48, 200) and marks[5][2] == pytest.approx(110)


@pytest.mark.parametrize("against", charts.AGAINST)
def test_the_picture_of_runs_has_a_mark_and_words_for_each(against):
    drawing = charts.draw_runs(RUNS, against)
    check_that_all_can_be_seen(drawing)
    assert {"1", "2", "3", against, "accuracy"} <= {*written(drawing)}
    discs, squares = elements(drawing, "circle"), elements(drawing, "rect", height="10")
    assert len(discs) == 2 and len(squares) == 1
    on_front = 1 if against == "trainable parameters" else 2
    assert drawing.words.count("beaten by none") == on_front
    assert [disc.get("fill") for disc in discs].count(ORANGE) == 1
    assert squares[0].get("stroke") == (BLUE if on_front == 1 else ORANGE)
    for disc, accuracy in zip(discs, (0.83, 0.8), strict=True):
        low = 0.5  # of the axis
        assert float(disc.get("cy")) == pytest.approx(332 - 280 * (accuracy - low) / 0.5, abs=0.1)
    cost = "386 parameters" if against == "trainable parameters" else "0.3 seconds"
    assert f": {cost}, accuracy 0.600 (95 % interval 0.502 to 0.691)" in drawing.words
    assert "run 3, head only" in drawing.words and "after the test was seen" in drawing.words
    assert charts.draw_runs([], against).words == f"accuracy against {against}: no run yet"


def test_runs_of_the_same_cost_stand_side_by_side():
    alike = [made_up_run(str(i), HEAD, (0.8,), trainable=386) for i in range(5)]
    drawing = charts.draw_runs([*alike, made_up_run("b", trainable=445_634)])
    xs = [float(disc.get("cx")) for disc in elements(drawing, "circle")]
    assert min(np.diff(xs)) > 15 and len(set(xs)) == 6
    xs = [float(disc.get("cx")) for disc in elements(charts.draw_runs(alike * 8), "circle")]
    assert len(set(xs)) == 40 and max(xs) <= 612


def test_the_front_is_what_comparing_every_pair_gives():
    rng = random.Random(0)
    for _ in range(50):
        points = [(rng.randint(1, 6), rng.randint(1, 6)) for _ in range(rng.randint(1, 12))]
        best = [
            i
            for i, (cost, accuracy) in enumerate(points)
            if not any(
                c <= cost and a >= accuracy and (c, a) != (cost, accuracy) for c, a in points
            )
        ]
        found = charts.front(*zip(*points, strict=True))
        assert sorted(found) == best and found == sorted(found, key=lambda i: points[i])


def test_a_progress_bar_says_how_far_it_is():
    bar = charts.draw_bar(0.256, 'step 3 & "4"')
    assert 'aria-valuenow="26" aria-label="step 3 &amp; &quot;4&quot;"' in bar
    assert 'width="103.7"' in bar


# --- what can't be drawn --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: charts.draw_splits({}), "no part to draw"),
        (lambda: charts.draw_splits({"a": PARTS["test"][:0]}), "the part 'a' has no messages"),
        (lambda: charts.draw_chances({}, 123), "no split has the seed 123; there are none"),
        (
            lambda: charts.draw_chances({1: [PARTS["test"].assign(Label="ham")]}, 1, ["test"]),
            r"part 'test' must be 0 \(ham\) or 1 \(spam\), not 'ham'",
        ),
        (lambda: charts.draw_lengths([]), "no lengths to draw"),
        (lambda: charts.draw_lengths([3, 0]), "length 2 must be a whole number from 1, not 0"),
        (lambda: charts.draw_batch([7], 5), "width must be a whole number from 7"),
        (lambda: charts.draw_padding([7], 0), "batch_size must be a whole number from 1"),
        (lambda: charts.draw_loss(0), "p must be a finite number above 0 to 1"),
        (lambda: charts.word_id("tinyurl", get_tokenizer()), "'tinyurl' is 2 tokens; give a word"),
        (lambda: charts.word_id("  ", get_tokenizer()), "must have a letter, not '  '"),
        (lambda: charts.nearest_tokens(NANO, "two", 0), "count must be .* not 0"),
        (lambda: charts.draw_nearest(NANO, []), "at least one word"),
        (lambda: charts.draw_words(NANO, {}), "1 to 5 groups, not 0"),
        (lambda: charts.draw_words(NANO, {"a": ["two", "six"]}), "three words, not 2"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_a_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()
