"""A check cell says what is wrong, whatever it is given."""

import numpy as np
import pytest
import torch

from helpers.config import LEARNERS_FOLDER, beside_the_notebook
from helpers.freezing import FreezePlan
from workshop.exercises import check, check_temperature, progress
from workshop.exercises import check_cheapest_block as cheapest
from workshop.exercises import check_long_way as long_way
from workshop.exercises.record import FILE, OPEN, RIGHT, SOLVED, TRIED, UNSAID, WRONG, record
from workshop.widgets import FreezeExplorer

pytestmark = pytest.mark.filterwarnings("error")
HINT = "Think of the bias."
LETTERS = {"a", "c", "e"}


def count_parameters():
    return 386


RIGHT_ANSWERS = [
    (386, 386, "386."),
    (0.2877, 0.28768, "0.2877."),
    ("890\u202f498", 890498, "890,498."),
    ("−5", -5, "-5."),
    ("0,75", 0.75, "0.75."),
    ("75 %", 75, "75."),
    (torch.tensor([7.0], requires_grad=True), 7, "7."),
    (torch.tensor([[0.2877]], dtype=torch.bfloat16), 0.28768, "0.2877."),
    ("final_norm", "final_norm", "final_norm."),
    (["a", "C ", "e", "a"], LETTERS, "{'a', 'c', 'e'}."),
    (np.array(["a", "c", "e"]), LETTERS, "{'a', 'c', 'e'}."),
]
NO_NUMBER = "is not it: the answer is a number."
WRONG_ANSWERS = [
    (384, 386, "384 is not it: too low."),
    ("9" * 5000, 5, f"{'9' * 60}… {NO_NUMBER}"),
    (True, 1, f"True {NO_NUMBER}"),
    ((890, 498), 890498, f"(890, 498) {NO_NUMBER}"),
    (count_parameters, 386, "the function count_parameters is not it: a function has to be called"),
    ("precision", "recall", "precision is not it. Think"),
    (5, "recall", "5 is not it: the answer is a text, in quotes."),
    ({"a", "b"}, LETTERS, "{'a', 'b'} is not it: missing: c, e; too much: b."),
    ({"b"}, LETTERS, "{'b'} is not it: nothing in it belongs there."),
    (5, LETTERS, "5 is not it: the answer is a set: entries in curly brackets"),
]  # fmt: skip


def reply(given, expected, capsys) -> str:
    check(given, expected, HINT)
    return capsys.readouterr().out


@pytest.mark.parametrize(("given", "expected", "words"), RIGHT_ANSWERS)
def test_the_right_answer_is_right_in_whatever_form(given, expected, words, capsys):
    assert reply(given, expected, capsys) == f"Right: {words}\n"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "put your answer in the place of None and run both cells again."),
        (set(), "your answer is empty."),
        (["a", None], "there is still a None in your answer."),
    ],
)
def test_what_is_not_answered_yet_is_not_called_wrong(given, words, capsys):
    assert reply(given, LETTERS, capsys) == f"Not answered yet: {words}\n"


@pytest.mark.parametrize(("given", "expected", "words"), WRONG_ANSWERS)
def test_a_wrong_answer_hears_what_is_wrong_and_then_the_hint(given, expected, words, capsys):
    printed = reply(given, expected, capsys)
    assert words in printed and printed.endswith(f". {HINT}\n"), printed


TOP, LOW = "trf_blocks.5", "trf_blocks.0"


@pytest.mark.parametrize(
    ("task", "parts", "words"),
    [
        (cheapest, {"out_head"}, "No block is wholly trainable"),
        (cheapest, {f"{TOP}.att"}, "No block is wholly trainable"),
        (cheapest, {TOP, LOW}, "The gradient goes down to trf_blocks.0"),
        (cheapest, {TOP, "pos_emb"}, "The gradient goes down to pos_emb"),
        (cheapest, {TOP, "final_norm", "out_head"}, "Not yet. That is the book's choice"),
        (cheapest, {TOP, "final_norm"}, "Right."),
        (cheapest, {TOP}, "let it learn, too; its matrix takes 1,536 of 3,554,304 multiply-adds."),
        (cheapest, {TOP, "out_head"}, "a frozen head would be cheaper, by 1,536 of 3,554,304 multiply-adds."),
        (cheapest, {"trf_blocks.4"}, "Not yet. The gradient goes down to trf_blocks.4."),
        (long_way, set(), "Nothing is trainable"),
        (long_way, {"tok_emb"}, "% are trainable: too many"),
        (long_way, {"out_head"}, "The backward pass has 0 % of that work"),
        (long_way, {"trf_blocks.3.norm1"}, "% of that work"),
        (long_way, {f"{LOW}.norm1"}, "Right."),
        (long_way, {f"{LOW}.norm2"}, "Right."),
        (long_way, {TOP, "final_norm", "out_head"}, "Not yet."),
    ],
)  # fmt: skip
def test_each_choice_in_the_explorer_gets_its_own_remark(task, parts, words, capsys):
    explorer = FreezeExplorer("gpt2-nano (12M)", "Do you have time")
    explorer.plan = FreezePlan(6, parts)
    task(explorer)
    assert words in capsys.readouterr().out


# made up so that the least loss, 0.562, is at temperature 2 / ln 3 = 1.82: three of four are right
CONFIDENT = ([1, 1, 1, 0], [[0.0, 2.0]] * 4)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "Not answered yet"),
        (1.82, "Right: at 1.82 the loss is 0.562; without a temperature it is 0.627."),
        (
            1,
            "Not yet: at 1 the loss is 0.627. It falls if the answers are less confident: go higher",
        ),
        (9, "It falls if the answers are more confident: go lower."),
        (0, "0 is not it: a temperature is a number above 0."),
        ("warm", "warm is not it: a temperature is a number above 0."),
    ],
)
def test_a_temperature_near_the_best_is_right_and_another_hears_which_way(given, words, capsys):
    check_temperature(given, *CONFIDENT)
    assert words in capsys.readouterr().out


def test_where_every_answer_is_right_no_temperature_is_best(capsys):
    check_temperature(1, [1, 1], [[0.0, 2.0]] * 2)
    assert capsys.readouterr().out.startswith("On these messages no temperature is best: ")


def printed(capsys, section: str = "6.3") -> str:
    capsys.readouterr()
    progress(section)
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("states", "kept"),
    [
        ([OPEN, TRIED, SOLVED, TRIED, OPEN], SOLVED),
        ([TRIED, OPEN], TRIED),
        ([UNSAID, WRONG, RIGHT], WRONG),
        ([RIGHT, WRONG, UNSAID], RIGHT),
    ],
)
def test_nothing_is_taken_back_and_the_first_guess_counts(states, kept, capsys):
    for state in states:
        record("6.3 one", state)
    assert f"{kept:<18} one\n" in printed(capsys)


def test_a_page_shows_its_own_section(capsys):
    for name, state in {"3 one": SOLVED, "4 other": OPEN, "3 two": OPEN, "3 three": RIGHT}.items():
        record(f"6.{name}", state)
    record("6.3 four", UNSAID)
    text = printed(capsys)
    assert "exercises:   1 of 2 solved\npredictions: 1 of 2 made, 1 came true\n" in text
    assert "other" not in text and f"Kept in {FILE} beside this notebook" in text
    assert printed(capsys, "6.8").startswith("exercises:   0 of 0 solved\npredictions: 0 of 0 made")


def test_an_answer_is_kept_under_its_name_until_the_file_is_deleted(capsys):
    for answer, state in ((None, OPEN), (7, TRIED), (43, SOLVED)):
        check(answer, 43, name="6.3 batches of 16")
        assert f"{state:<18} batches of 16\n" in printed(capsys)
    beside_the_notebook(FILE).unlink()
    record("6.3 two", OPEN)
    assert "0 of 1 solved" in printed(capsys)


@pytest.mark.parametrize("content", ["{", "[1]", '{"6.3 one": 5, " ": "solved", "6.3 b": []}'])
def test_a_damaged_file_counts_as_none(content, capsys):
    beside_the_notebook(FILE).write_text(content)
    assert "0 of 0 solved" in printed(capsys)
    record("6.3 one", SOLVED)
    assert "1 of 1 solved" in printed(capsys)


def test_where_no_file_can_be_written_it_is_said(capsys, monkeypatch, tmp_path):
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv(LEARNERS_FOLDER, str(tmp_path / "a file"))
    record("6.3 one", SOLVED)
    text = printed(capsys)
    assert "1 of 1 solved" in text and "can't be written here" in text
    monkeypatch.setenv(LEARNERS_FOLDER, str(tmp_path))
    record("6.3 two", SOLVED)  # goes into the file with the first one
    text = printed(capsys)
    assert "2 of 2 solved" in text and "delete it to begin anew" in text
