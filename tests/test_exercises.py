"""A check cell says what is wrong, whatever it is given."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader

from helpers.config import LEARNERS_FOLDER, beside_the_notebook, gpt_config
from helpers.freezing import FreezePlan
from helpers.model import GPTModel
from tests.labs import BOOK, HEAD, made_up_run
from workshop.exercises import check, progress
from workshop.exercises.record import (
    FILE,
    OPEN,
    RIGHT,
    SOLVED,
    TRIED,
    UNSAID,
    WRONG,
    kept_guess,
    record,
)
from workshop.exercises.tasks import TASKS, Answer
from workshop.widgets import FreezeExplorer

pytestmark = pytest.mark.filterwarnings("error")
NANO = "gpt2-nano (12M)"
HINT = "Think of the bias."
LETTERS = {"a", "c", "e"}


def count_parameters():
    return 386


def reply(given, expected) -> str:
    return Answer(expected, HINT, {"The bias is missing.": 384}).judge(given)[1]


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


@pytest.mark.parametrize(("given", "expected", "words"), RIGHT_ANSWERS)
def test_the_right_answer_is_right_in_whatever_form(given, expected, words, monkeypatch, capsys):
    monkeypatch.setitem(TASKS, "9.9 task", Answer(expected, HINT).judge)
    check("9.9 task", given)
    assert capsys.readouterr().out.startswith("Right: " + words[:4])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "Replace None with your answer, then run both cells."),
        (set(), "Your answer is empty."),
        (["a", None], "There is still a None in your answer."),
    ],
)
def test_what_is_not_answered_yet_is_not_called_wrong(given, words, capsys):
    check("6.1 which are classification", given)
    assert capsys.readouterr().out == f"Not answered yet. {words}\n"


@pytest.mark.parametrize(
    ("given", "expected", "words"),
    [
        (384, 386, "384 is not right. The bias is missing."),
        (385, 386, "385 is not right. That is too low. Think of the bias."),
        ("9" * 5000, 5, f"{'9' * 60}… is not right. The answer is a number."),
        (True, 1, "True is not right. The answer is a number."),
        ((890, 498), 890498, "(890, 498) is not right. The answer is a number."),
        (count_parameters, 386, "This is a function. Call it, with round brackets"),
        ("precision", "recall", "precision is not right. Think of the bias."),
        (5, "recall", "5 is not right. The answer is a text, in quotes."),
        ({"a", "b"}, LETTERS, "Of your letters, missing: c, e; wrong: b."),
        ({"b"}, LETTERS, "None of them fits."),
        ({"a, c, e"}, LETTERS, "Put quotes around each letter"),
        ("ace", LETTERS, "Put quotes around each letter"),
    ],
)
def test_a_wrong_answer_hears_what_is_wrong_and_then_the_hint(given, expected, words):
    assert words in reply(given, expected)


def nano():
    return SimpleNamespace(cfg=gpt_config(NANO), trf_blocks=GPTModel(gpt_config(NANO)).trf_blocks)


LOADER = DataLoader(range(700), batch_size=8, drop_last=True)
SETTINGS = SimpleNamespace(epochs=5)


@pytest.mark.parametrize(
    ("name", "context", "right", "wrong"),
    [
        ("6.1 which are classification", (), {"a", "c", "e"}, {"ace": "quotes around each letter"}),
        ("6.3 batches of 16", (range(700),), 43, {44: "`drop_last`", 40: "Only whole batches"}),
        (
            "6.4 numbers of one block",
            (nano(),),
            444864,
            {
                442368: "The 2,496 parameters of",
                443136: "The 1,728 biases",
                444096: "The 768 parameters of the two",
                148224: "attention alone",
                444672: "too low",
            },
        ),
        (
            "6.5 three classes",
            ({"emb_dim": 192},),
            579,
            {576: "The biases", 386: "for two classes"},
        ),
        (
            "6.6 loss of an uncertain answer",
            (),
            0.29,
            {-0.2877: "never negative", 0.1249: "base 10", 0.415: "base 2", 0.25: "other class"},
        ),
        ("6.7 how many steps", (LOADER, SETTINGS), 435, {87: "one epoch", 3480: "messages seen"}),
        ("6.8 a stricter filter", (), "Recall", {"precision": "higher threshold"}),
        (
            "6.C how many predictions",
            (SimpleNamespace(steps=3, tokens_per_step=7),),
            21,
            {10: "Multiply"},
        ),
        ("6.C a nat more", (), 2.718, {1: "exp(a + 1)"}),
        ("6.B an adapter's size", ({"emb_dim": 192},), 7680, {1536: "A alone", 6144: "B alone"}),
    ],
)
def test_each_short_task_has_its_answer_and_names_typical_mistakes(
    name, context, right, wrong, capsys
):
    check(name, right, *context)
    assert capsys.readouterr().out.startswith("Right: ")
    for given, words in wrong.items():
        check(name, given, *context)
        assert words in capsys.readouterr().out, given


def test_a_task_that_there_is_not_is_said_to_the_author_of_the_page():
    with pytest.raises(ValueError, match="no task is called '6.1 which'; there are 6.1 which are"):
        check("6.1 which", {"a"})


TOP, LOW = "trf_blocks.5", "trf_blocks.0"


TWO, LONG = "6.5 two blocks, little compute", "6.5 few parameters, a long way"
NEXT, MANY = "trf_blocks.4", "out_head"


@pytest.mark.parametrize(
    ("task", "parts", "words"),
    [
        (TWO, {MANY}, "Whole blocks that are trainable: 0. Two are asked for."),
        (TWO, {f"{TOP}.att", NEXT}, "Whole blocks that are trainable: 1."),
        (TWO, {TOP, "final_norm", MANY}, "Whole blocks that are trainable: 1."),
        (TWO, {TOP, NEXT}, "The head is random"),
        (TWO, {TOP, LOW, MANY}, "passes down to trf_blocks.0"),
        (TWO, {TOP, NEXT, MANY, "pos_emb"}, "passes down to pos_emb"),
        (TWO, {TOP, NEXT, MANY}, "Right: the backward pass needs"),
        (TWO, {TOP, NEXT, MANY, "final_norm"}, "the gradient stops at trf_blocks.4."),
        (LONG, set(), "Nothing is trainable"),
        (LONG, {"tok_emb"}, "% of the parameters are trainable, which is too many"),
        (LONG, {MANY}, "The backward pass needs 0 % of that compute"),
        (LONG, {"trf_blocks.3.norm1"}, "% of that compute"),
        (LONG, {f"{LOW}.norm1"}, "Right: 0.003 % of the parameters"),
        (LONG, {f"{LOW}.norm2"}, "Right:"),
        (LONG, {TOP, "final_norm", MANY}, "Not yet."),
    ],
)
def test_each_choice_in_the_explorer_gets_its_own_remark(task, parts, words, capsys):
    explorer = FreezeExplorer(NANO, "Do you have time")
    explorer.plan = FreezePlan(6, parts)
    check(task, explorer)
    assert words in capsys.readouterr().out


BOOKS = made_up_run("book", BOOK, (0.80, 0.82, 0.78), trainable=445_634)
SMALL = made_up_run("small", HEAD, (0.83, 0.82, 0.84), position="last_token", trainable=386)
POOR = made_up_run("poor", HEAD, (0.6,) * 3, trainable=386)


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        ((), "Train the book's choice at the position last with 3 seeds"),
        ((SMALL,), "Train the book's choice"),
        ((replace(BOOKS, right=BOOKS.right[:2]), SMALL), "Train the book's choice"),
        ((BOOKS,), "A tenth of the book's 445,634 parameters is 44,563."),
        ((BOOKS, replace(SMALL, right=SMALL.right[:1])), "No run with 3 seeds has that few"),
        ((BOOKS, POOR), "Change the position, or train more."),
        ((BOOKS, made_up_run("f", HEAD, (0.5,) * 3, position="first")), "attends only to itself"),
        ((BOOKS, made_up_run("m", HEAD, (0.7,) * 3, position="mean")), "Try another position"),
        ((POOR, BOOKS, SMALL), "Right: head only · position last_token"),
        ((BOOKS, SMALL), "386 parameters instead of 445,634. Verdict: can't tell."),
    ],
)  # fmt: skip
def test_a_tenth_of_the_parameters_is_judged_by_the_whole_interval(runs, words, capsys):
    lab = SimpleNamespace(rows=runs, explorer=SimpleNamespace(plan=BOOK))
    check("6.B a tenth of the parameters", lab)
    assert words in capsys.readouterr().out


TABLE = pd.DataFrame({"Label": [0] * 60 + [1] * 60, "Text": [f"message {i}" for i in range(120)]})
OF_EACH = TABLE.groupby("Label")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (OF_EACH.sample(frac=0.1, random_state=1), "Right: 50.0% of your messages are spam"),
        (OF_EACH.sample(6, random_state=2).reset_index(drop=True), "Right: "),
        (TABLE.sample(frac=0.1, random_state=1), "50.0% of the whole dataset. Sample from each"),
        (TABLE[:12], "Not yet. 0.0% of your messages are spam"),
        (OF_EACH.head(6), "the first messages of each class"),
        (OF_EACH.sample(frac=0.2, random_state=1), "You selected 24 messages, and a tenth of 120"),
        (pd.concat([OF_EACH.sample(3)] * 2), "A message is there twice"),
        (OF_EACH.sample(6).assign(Label="ham"), "or is none of the dataset's rows"),
        (TABLE["Text"], "The answer is a DataFrame"),
        (0.1, "The answer is a DataFrame"),
        (None, "Not answered yet."),
    ],
)
def test_a_stratified_split_is_a_random_tenth_of_each_class(given, words, capsys):
    check("6.2 a stratified split", given, TABLE)
    assert words in capsys.readouterr().out


# made up so that the least loss, 0.562, is at temperature 2 / ln 3 = 1.82: three of four are right
CONFIDENT = ([1, 1, 1, 0], [[0.0, 2.0]] * 4)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "Not answered yet"),
        (1.82, "Right: at 1.82 the loss is 0.562; without a temperature it is 0.627."),
        (1.5, "Not yet: at 1.5 the loss is 0.567. It falls if the answers become less confident"),
        (9, "It falls if the answers become more confident: go lower."),
        (0, "0 is not right. A temperature is a number above 0."),
        ("warm", "warm is not right. A temperature is a number above 0."),
    ],
)
def test_a_temperature_near_the_best_is_right_and_another_hears_which_way(given, words, capsys):
    check("6.E the temperature", given, *CONFIDENT)
    assert words in capsys.readouterr().out


def test_where_every_answer_is_right_no_temperature_is_best(capsys):
    check("6.E the temperature", 1, [1, 1], [[0.0, 2.0]] * 2)
    assert capsys.readouterr().out.startswith("On these messages no temperature is best: ")


PREDICTED = ([0, 0, 1, 1], [0.3, 0.7349, 0.6, 0.9])  # labels, and probabilities of spam


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "Not answered yet"),
        (0.74, "Right: at 0.74 the recall is 50.0 %."),
        (0.7, "Not yet: ham messages predicted as spam at 0.7: 1. Go higher."),
        (0.75, "Not yet: 0.74 is enough as well"),
        (1, "Not yet: 0.99 is enough as well"),
        (0.2, "a number from 0.5 to 1."),
        ("high", "a number from 0.5 to 1."),
    ],
)
def test_the_lowest_threshold_without_a_false_positive_is_right(given, words, capsys):
    check("6.8 a threshold", given, *PREDICTED)
    assert words in capsys.readouterr().out


def test_where_no_ham_is_above_a_half_the_threshold_stays_there(capsys):
    check("6.8 a threshold", 0.5, [0, 1], [0.3, 0.8])
    assert capsys.readouterr().out.startswith("Right")


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
    assert "exercises:   1 of 2 solved\npredictions: 1 of 2 made, 1 right\n" in text
    assert "other" not in text and f"Kept in {FILE} beside this notebook" in text
    assert printed(capsys, "6.8").startswith("exercises:   0 of 0 solved\npredictions: 0 of 0 made")


def test_an_answer_is_kept_under_its_name_until_the_file_is_deleted(capsys):
    for answer, state in ((None, OPEN), (7, TRIED), (43, SOLVED)):
        check("6.3 batches of 16", answer, range(700))
        assert f"{state:<18} batches of 16\n" in printed(capsys)
    beside_the_notebook(FILE).unlink()
    record("6.3 two", OPEN)
    assert "0 of 1 solved" in printed(capsys)


def test_a_guess_is_kept_as_it_was_typed_and_files_of_before_are_read():
    beside_the_notebook(FILE).write_text('{"6.3 two": "solved"}')
    record("6.3 one", WRONG, "≈ 5")
    record("6.3 one", RIGHT, "6")
    assert kept_guess("6.3 one") == "≈ 5" and kept_guess("6.3 two") == kept_guess("6.3 six") == ""


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
    assert "2 of 2 solved" in text and "Delete the file to start over" in text
