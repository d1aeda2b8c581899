"""What was solved and predicted is kept beside the notebook, and can be deleted."""

import pytest

from helpers.config import LEARNERS_FOLDER, beside_the_notebook
from workshop.exercises import check, progress
from workshop.exercises.record import FILE, OPEN, RIGHT, SOLVED, TRIED, UNSAID, WRONG, record


def printed(capsys, section: str = "6.3") -> str:
    capsys.readouterr()
    progress(section)
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("states", "kept"),
    [
        ([OPEN, TRIED, SOLVED], SOLVED),
        ([SOLVED, TRIED, OPEN], SOLVED),
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
    record("6.3 one", SOLVED)
    record("6.4 other", OPEN)
    record("6.3 two", OPEN)
    record("6.3 three", RIGHT)
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
