"""Experiments are compared as page 6.B says, and its table and chart show what was measured."""

import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from tests.drawings import check_chart
from workshop import compare as results
from workshop.compare import STYLES, compare, compare_all
from workshop.exercises.predicted import ANSWERS
from workshop.experiments import ROWS, run_id
from workshop.lab import append_row

NANO = "gpt2-nano (12M)"


def results_of(number: int, rights: list[str], **origin) -> list[dict]:
    result = {
        "row": number, "settings": {"model": NANO, "data": "sms-mini"},
        "fingerprint": {"checkpoint": "c", "data": "d", "code": "e"} | origin,
    }  # fmt: skip
    results = []
    for seed, right in enumerate(rights, start=1):
        accuracy = {"train": 0.875, "test": right.count("1") / len(right)}
        own = {"id": f"{number} {seed}", "seed": seed, "right": right, "accuracy": accuracy}
        results.append(result | own)
    return results


GOOD, POOR, MIXED = "1" * 36 + "0" * 4, "1" * 12 + "0" * 28, "00" + "1" * 33 + "0" * 4 + "1"
RESULTS = results_of(1, [GOOD, GOOD]) + results_of(2, [POOR, POOR]) + results_of(16, [MIXED, GOOD])
RESULTS += results_of(5, [POOR]) + results_of(10, [GOOD])


def test_a_difference_is_better_or_worse_where_its_interval_leaves_out_zero():
    verdicts = {c.number: c.difference.verdict for c in compare_all(RESULTS)}
    assert verdicts == {2: "worse", 5: "worse", 10: "better", 16: "can't tell"}
    assert compare(RESULTS, 10).against == 5  # random weights have a control
    worse = compare(RESULTS, 2)
    assert worse.difference.mean == pytest.approx(-0.6)
    assert worse.accuracies == pytest.approx([0.3, 0.3])
    assert worse.reference == pytest.approx([0.9, 0.9])


def test_only_seeds_that_both_experiments_have_are_compared():
    two = results_of(1, [GOOD, GOOD]) + results_of(2, [GOOD, POOR, POOR])
    comparison = compare(two, 2)
    assert len(comparison.accuracies) == 2 and comparison.difference.mean == pytest.approx(-0.3)
    assert compare(RESULTS, 3) is None and compare_all(results_of(2, [POOR])) == []


def test_a_sentence_has_both_accuracies_the_seeds_and_the_books_result():
    text = str(compare(RESULTS, 2))
    assert re.match(
        r"Experiment 2 has a mean .* of 30.0 %, experiment 1 of 90.0 %: −60.0 points", text
    )
    assert "of experiment 2 with 2 seeds are 30.0, 30.0 %." in text
    assert text.endswith("one run has 75.00 %, and experiment 1 95.00 %.")
    shuffled = compare(RESULTS + results_of(20, [GOOD]), 20)
    assert "book" not in str(shuffled) and "with 1 seed are" in str(shuffled)


def test_the_table_has_a_line_for_each_experiment():
    table = results.results_table(RESULTS)
    assert table.index.tolist() == [1, 2, 5, 10, 16]
    blank = ["", "", "", ""]
    assert table.loc[1].tolist() == ["the book's choices", 90.0, 90.0, 90.0, *blank, 95.0]
    assert table.loc[2, "mean":"max"].tolist() == [30.0, 30.0, 30.0]
    assert table.loc[2, ["compared with", "difference", "verdict"]].tolist() == [
        "1",
        "−60.0",
        "worse",
    ]
    assert re.fullmatch(r"−7\d\.\d to −4\d\.\d", table.loc[2, "95 % interval"])
    assert table.loc[10, "compared with"] == "5"
    assert results.results_table(results_of(20, [GOOD])).iloc[0]["book, 124M"] == ""


def test_the_chart_shows_each_experiment_its_interval_its_seeds_and_two_references():
    comparisons = compare_all(RESULTS)
    chart = results.draw_comparisons(comparisons, 0.565)
    assert "2  classify at the first token" in check_chart(chart)
    (axes,) = chart.figure.axes
    assert axes.yaxis_inverted()
    for y, (c, bars) in enumerate(zip(comparisons, axes.containers, strict=True)):
        reference = 100 * np.mean(c.reference)
        mean, low, high = reference + 100 * np.array(c.difference)
        (interval,) = bars.lines[2][0].get_segments()
        assert interval.ravel() == pytest.approx([low, y, high, y])
        assert bars.lines[0].get_xdata() == pytest.approx([mean])
        mark = to_rgba(bars.lines[0].get_color()), bars.lines[0].get_marker()
        colour, marker = STYLES[c.difference.verdict]
        assert mark == (to_rgba(colour), marker)
        assert f", difference {c.difference}: {c.difference.verdict}" in chart.words
    by_marker = {
        mark: [line.get_xdata() for line in axes.lines if line.get_marker() == mark]
        for mark in ".|"
    }
    for c, seeds, reference in zip(comparisons, *by_marker.values(), strict=True):
        assert seeds == pytest.approx([100 * accuracy for accuracy in c.accuracies])
        assert reference == pytest.approx([100 * np.mean(c.reference)])
    assert axes.lines[-1].get_xdata() == pytest.approx([56.5, 56.5])


SOME = results_of(1, [GOOD, GOOD]) + results_of(13, [GOOD, POOR]) + results_of(18, [GOOD, GOOD])


@pytest.mark.parametrize(
    ("question", "data", "number", "answer"),
    [
        ("the last real token", RESULTS, 2, "worse"),
        ("the last real token", RESULTS, 10, "better"),
        ("the last real token", RESULTS, 16, "can't tell"),
        ("padding to 1,024 tokens", SOME, 13, "some of them"),
        ("padding to 1,024 tokens", SOME, 18, "all of them"),
        ("padding to 1,024 tokens", RESULTS, 2, "none of them"),
        ("ignore_index", SOME, 18, "exactly the same"),
        ("ignore_index", RESULTS, 16, "worse"),
        ("ignore_index", RESULTS, 10, "better"),
    ],
)
def test_a_prediction_is_answered_by_the_results(question, data, number, answer):
    values = ANSWERS[f"6.B {question}"](data, number)
    assert values["answer"] == answer
    assert values["measured"] == str(compare(data, number))


def test_the_command_trains_nothing_that_is_there_and_shows_what_it_is_compared_with(
    tmp_path, capsys
):
    out = tmp_path / "my results.jsonl"
    for n, right in ((1, GOOD), (2, POOR), (3, POOR)):
        experiment = replace(ROWS[n].experiment(NANO, "sms-mini"), seed=1)
        (result,) = results_of(n, [right])
        append_row(out, result | {"id": run_id(n, experiment)})
    with pytest.raises(SystemExit, match="^0$"):
        results.main(["--rows", "2,6", "--seeds", "1", "--out", str(out)])
    printed = capsys.readouterr().out
    assert (
        "experiment 6 is skipped" in printed and f"2 of 2 trainings are in {out} already" in printed
    )
    rows = re.findall(r"^ *(\d+) +(?:the|classify) ", printed, flags=re.MULTILINE)
    assert rows == ["1", "2"] and "−60.0" in printed
    assert (tmp_path / "my results.svg").read_text(encoding="utf-8").count("<svg") == 1


def test_results_of_another_model_or_data_are_shown_with_a_sentence(tmp_path, capsys):
    path = tmp_path / "results.jsonl"
    other = RESULTS[0] | {"id": "other", "settings": {"model": NANO, "data": "other"}}
    for result in (*RESULTS, other):
        append_row(path, result)
    path.write_bytes(path.read_bytes() + b"half a li")
    assert results.read_results(path, NANO, "sms-mini") == list(RESULTS)
    assert capsys.readouterr().out.count("is left out") == 1
    assert results.read_results(path, "gpt2-small (124M)", "sms-mini") == [*RESULTS, other]
    printed = capsys.readouterr().out
    assert 'python -m workshop.experiments --model "gpt2-small (124M)" --data sms-mini' in printed
