"""Rows are compared as the page says, and its questions reveal nothing before a guess."""

import base64
import re
from dataclasses import replace
from statistics import mean

import pytest
from matplotlib.colors import to_rgba

from workshop import compare as results
from workshop.compare import STYLES, Folded, Guesses, compare, compare_all
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


GOOD, POOR, MIXED = "1" * 18 + "00", "1" * 6 + "0" * 14, "00" + "1" * 16 + "01"
RESULTS = results_of(1, [GOOD, GOOD]) + results_of(2, [POOR, POOR]) + results_of(16, [MIXED, GOOD])
RESULTS += results_of(5, [POOR]) + results_of(10, [GOOD])


def test_a_difference_is_better_or_worse_where_its_interval_leaves_out_zero():
    verdicts = {c.row: c.verdict for c in compare_all(RESULTS)}
    assert verdicts == {2: "worse", 5: "worse", 10: "better", 16: "no difference"}
    assert compare(RESULTS, 10).against == 5  # random weights have a control
    assert compare(RESULTS, 10, against=1).difference == pytest.approx(0.0)
    worse = compare(RESULTS, 2)
    assert worse.difference == pytest.approx(-0.6) and worse.low < -0.6 < worse.high < 0
    assert worse.accuracies == pytest.approx([0.3, 0.3])
    assert worse.reference == pytest.approx([0.9, 0.9])


def test_only_seeds_that_both_rows_have_are_compared_and_like_with_like():
    comparison = compare(results_of(1, [GOOD, GOOD]) + results_of(2, [GOOD, POOR, POOR]), 2)
    assert len(comparison.accuracies) == 2 and comparison.difference == pytest.approx(-0.3)
    assert compare(RESULTS, 3) is None and compare_all(results_of(2, [POOR])) == []


def test_points_have_their_sign_and_zero_has_none():
    for value, points in ((0.031, "+3.1"), (-0.0049, "−0.5"), (-0.0001, "0.0"), (0, "0.0")):
        assert replace(compare(RESULTS, 2), low=value).in_points[1] == points
    text = results.describe_comparison(compare(RESULTS, 2))
    assert re.fullmatch(r"−60\.0 points \(−8\d\.\d … −3\d\.\d\): worse", text)


def test_the_table_has_a_line_for_each_row():
    table = results.results_table(RESULTS)
    assert table.index.tolist() == [1, 2, 5, 10, 16]
    assert table.loc[1].tolist() == ["the book's choices", 87.5, 90.0, 90.0, 90.0, 95.0, ""]
    assert table.loc[2, "lowest":"book"].tolist() == [30.0, 30.0, 75.0]
    assert re.fullmatch(r"row 1: −60\.0 points \(.* … .*\): worse", table["compared with"][2])
    assert table["compared with"][10].startswith("row 5: +60.0 points")
    assert table.loc[16, ["lowest", "highest"]].tolist() == [85.0, 90.0]
    assert results.results_table(results_of(20, [GOOD])).iloc[0]["book"] == ""


def test_the_plot_shows_each_row_its_interval_and_its_seeds():
    comparisons = compare_all(RESULTS)
    (axes,) = results.plot_comparisons(comparisons).axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[0] == "2  the first token classifies" and axes.yaxis_inverted()
    assert labels[2] == "10  random weights, everything is trained (to 5)"
    for y, (c, bars) in enumerate(zip(comparisons, axes.containers, strict=True)):
        (interval,) = bars.lines[2][0].get_segments()
        assert interval.ravel() == pytest.approx([100 * c.low, y, 100 * c.high, y])
        assert bars.lines[0].get_xdata() == pytest.approx([100 * c.difference])
        mark = to_rgba(bars.lines[0].get_color()), bars.lines[0].get_marker()
        assert mark == (to_rgba(STYLES[c.verdict][0]), STYLES[c.verdict][1])
    seeds = [line.get_xdata() for line in axes.lines if line.get_marker() == "."]
    for c, points in zip(comparisons, seeds, strict=True):
        assert points == pytest.approx([100 * (x - mean(c.reference)) for x in c.accuracies])


def test_all_rows_stay_folded_until_someone_unfolds_them():
    folded = Folded(RESULTS, "Unfold me")
    assert repr(folded) == "[folded: Unfold me]"
    page = folded._repr_html_()
    assert page.startswith("<details><summary>Unfold me</summary>") and page.endswith("</details>")
    assert "10  random weights, everything is trained (to 5) +60.0 points (" in page  # for a reader
    assert "<td>the first token classifies</td>" in page and page.count("<tr") == 6
    encoded = re.search(r'"data:image/png;base64,([^"]+)"', page)[1]
    assert base64.b64decode(encoded).startswith(b"\x89PNG")


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
    assert "row 6 is skipped" in printed and f"2 of 2 trainings are in {out} already" in printed
    rows = re.findall(r"^ *(\d+) +the ", printed, flags=re.MULTILINE)
    assert rows == ["1", "2"] and "−60.0" in printed
    assert (tmp_path / "my results.svg").read_text(encoding="utf-8").count("<svg") == 1


@pytest.mark.parametrize(
    ("number", "answer", "words"),
    [
        (2, None, 'not guessed yet. Put "better", "worse" or "no difference" in the place of None.'),
        (2, "wors", '\'wors\' is no answer here; "better", "worse" or "no difference" would be one.'),
        (13, "worse", "Row 13 is not among these results"),
        (2, " Worse ", "worse. Measured: worse.\nTest accuracy 30.0 %, row 1 has 90.0 %: −60.0 points, 95 % interval −8"),
        (16, "worse", ": −2.5 points, 95 % interval −11"),
        (2, "worse", "Its 2 trainings: 30.0, 30.0 %.\nThe book's repository, one training: 75.00 %, row 1 95.00 %.\n"),
        (10, "no difference", "Your guess: no difference. Measured: better.\n"),
        (10, "better", "row 5 has 30.0 %"),
        (10, "better", "row 5 96.67 %"),
        (16, "better", "Zero lies in the interval: the difference is inside the noise."),
    ],
)  # fmt: skip
def test_a_guess_sees_the_interval_and_the_books_figure(number, answer, words, capsys):
    Guesses(RESULTS).guess(number, answer)
    text = capsys.readouterr().out
    assert words in text
    assert ("%" in text) == ("Measured" in text)  # nothing is revealed before a guess
    assert ("inside the noise" in text) == (number == 16)
    assert ("trainings" in text) == (number in (2, 16) and "Measured" in text)


def test_the_score_counts_what_was_guessed_and_names_what_was_not(capsys):
    guesses = Guesses(RESULTS)
    for number, answer in ((2, "worse"), (5, "better"), (10, "better"), (2, "wors")):
        guesses.guess(number, answer)  # the slip at the end takes nothing back
    capsys.readouterr()
    guesses.score()
    printed = capsys.readouterr().out
    assert printed == "2 of 3 guesses were as measured.\nNot guessed yet: row 16.\n"


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
