"""The questions of 06_C reveal nothing before a guess, and say the truth after it."""

import pytest

from tests.test_experiments import RESULTS
from workshop.compare import Folded, Guesses, compare, read_results
from workshop.lab import append_row

NANO = "gpt2-nano (12M)"


def said(capsys, number, answer, results=RESULTS) -> str:
    Guesses(results).guess(number, answer)
    return capsys.readouterr().out


@pytest.mark.parametrize("answer", [None, ...])
def test_nothing_is_revealed_before_a_guess(capsys, answer):
    text = said(capsys, 2, answer)
    assert text == (
        'Row 2: not guessed yet. Put "better", "worse" or "no difference" in the place of None.\n'
    )


@pytest.mark.parametrize(
    ("answer", "hint"),
    [("wors", 'Do you mean "worse"?'), ("Betterr", 'Do you mean "better"?'), (7, ""), ("", "")],
)
def test_a_wrong_word_is_answered_kindly_and_reveals_nothing(capsys, answer, hint):
    text = said(capsys, 2, answer)
    assert 'is no answer here; "better", "worse" or "no difference" would be one.' in text
    assert hint in text and "%" not in text and "Measured" not in text


@pytest.mark.parametrize("answer", ["worse", " Worse ", "WORSE"])
def test_a_right_guess_sees_the_interval_and_the_books_figure(capsys, answer):
    text = said(capsys, 2, answer)
    assert "Your guess: worse. Measured: worse. As you said." in text
    assert "Test accuracy 30.0 %, row 1 has 90.0 %: −60.0 points, 95 % interval −8" in text
    assert "Its 2 trainings: 30.0, 30.0 %." in text
    assert "The book's repository, one training: 75.00 %, row 1 95.00 %." in text


def test_a_wrong_guess_sees_them_too(capsys):
    text = said(capsys, 10, "no_difference")
    assert "Your guess: no difference. Measured: better.\n" in text
    assert "row 5 has 30.0 %" in text and "row 5 96.67 %" in text


def test_a_difference_inside_the_noise_is_called_that(capsys):
    assert compare(RESULTS, 16).difference != 0
    assert "the difference is inside the noise" in said(capsys, 16, "better")


def test_a_row_that_the_book_lacks_has_no_figure_of_the_book(capsys):
    results = [result | {"row": 20} if result["row"] == 2 else result for result in RESULTS]
    assert "book" not in said(capsys, 20, "worse", results)


def test_a_row_that_was_not_trained_is_said_to_be_missing(capsys):
    assert "Row 13 is not among these results" in said(capsys, 13, "worse")


def test_the_score_counts_what_was_guessed_and_names_what_was_not(capsys):
    guesses = Guesses(RESULTS)
    guesses.score()
    assert capsys.readouterr().out == (
        "0 of 0 guesses were as measured.\nNot guessed yet: rows 2, 5, 10, 16.\n"
    )
    for number, answer in {2: "worse", 5: "better", 10: "better"}.items():
        guesses.guess(number, answer)
    guesses.guess(2, "wors")  # a slip takes nothing back
    capsys.readouterr()
    guesses.score()
    assert capsys.readouterr().out == (
        "2 of 3 guesses were as measured.\nNot guessed yet: row 16.\n"
    )
    guesses.guess(16, "no difference")
    guesses.guess(5, None)  # a guess taken back
    capsys.readouterr()
    guesses.score()
    assert capsys.readouterr().out.startswith("3 of 3 guesses")


def test_all_rows_stay_folded_until_someone_unfolds_them():
    folded = Folded(RESULTS, "Unfold me")
    assert repr(folded) == "[folded: Unfold me]"
    page = folded._repr_html_()
    assert page.startswith("<details><summary>Unfold me</summary>") and page.endswith("</details>")
    assert "<details open" not in page and page.count("<img ") == 1
    assert page.index("−60.0") > page.index("</summary>")
    assert page.count("<tr>") == 6 and "<td>the first token classifies</td>" in page


def test_results_of_another_model_or_data_are_shown_with_a_word(tmp_path, capsys):
    path = tmp_path / "results.jsonl"
    settings = {"model": NANO, "data": "sms-mini"}
    for result in RESULTS:
        append_row(path, result | {"settings": settings})
    path.write_bytes(path.read_bytes() + b"half a li")
    assert len(read_results(path, NANO, "sms-mini")) == len(RESULTS)
    assert capsys.readouterr().out.count("is left out") == 1
    assert len(read_results(path, "gpt2-small (124M)", "sms-mini")) == len(RESULTS)
    printed = capsys.readouterr().out
    assert 'python -m workshop.experiments --model "gpt2-small (124M)" --data sms-mini' in printed
