"""Rows are kept whole whatever happens, and intervals are those that their sources give."""

import itertools
import json
import math
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from scipy import stats

from helpers.measures import paired_interval, wilson_interval
from tests.conftest import ROOT
from workshop.lab import append_row, delete_row, read_rows

LINES = """
import itertools, sys
from workshop.lab import append_row
for number in itertools.count():
    append_row(sys.argv[1], {"id": f"{sys.argv[2]}-{number}", "text": "x" * (number % 5000)})
"""


# --- rows ------------------------------------------------------------------------------------


def test_what_is_appended_is_read_back_in_order(tmp_path):
    path = tmp_path / "new folder" / "rows.jsonl"
    rows = [{"id": "a", "accuracy": 0.9}, {"id": "b", "text": "ham\nand “spam” £"}]
    for row in rows:
        append_row(path, row)
    assert read_rows(path) == (rows, [])
    assert len(path.read_bytes().splitlines()) == 2


def test_an_empty_line_is_no_damage(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id": "a"}\n\n{"id": "b"}\n', encoding="utf-8")
    assert read_rows(path) == ([{"id": "a"}, {"id": "b"}], [])


def test_no_file_and_an_empty_file_have_no_rows(tmp_path):
    assert read_rows(tmp_path / "none.jsonl") == ([], [])
    (tmp_path / "empty.jsonl").touch()
    assert read_rows(tmp_path / "empty.jsonl") == ([], [])


DAMAGED = [
    b'{"id": "c", "accu',  # cut off
    b"\x00" * 20,  # what a power cut leaves
    b"\xff\xfe",  # not UTF-8
    b"[1, 2]",
    b'{"accuracy": 0.5}',  # no id
    b'{"id": 5}',
    b'{"id": "c", "loss": NaN}',
    b"[" * 100_000,  # nested too deep
]


@pytest.mark.parametrize("damaged", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_line_is_left_out_with_a_word_and_never_lost(tmp_path, damaged):
    path = tmp_path / "rows.jsonl"
    append_row(path, {"id": "a"})
    with open(path, "ab") as file:
        file.write(damaged + b"\n")
    append_row(path, {"id": "b"})
    rows, notes = read_rows(path)
    assert rows == [{"id": "a"}, {"id": "b"}]
    assert len(notes) == 1 and "line 2 is left out" in notes[0]

    delete_row(path, "a")
    assert path.read_bytes() == damaged + b'\n{"id": "b"}\n'


def test_a_row_after_a_line_that_was_cut_off_is_whole(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"id": "a"}\n{"id": "b", "acc')
    append_row(path, {"id": "c"})
    rows, notes = read_rows(path)
    assert [row["id"] for row in rows] == ["a", "c"] and len(notes) == 1
    assert path.read_bytes() == b'{"id": "a"}\n{"id": "b", "acc\n{"id": "c"}\n'


def test_a_last_line_without_an_end_is_a_row(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"id": "a"}\r\n{"id": "b"}')  # as another program may have written it
    assert [row["id"] for row in read_rows(path)[0]] == ["a", "b"]


@pytest.mark.parametrize(
    "row", [["id"], {}, {"id": 3}, {"id": "a", "loss": math.nan}, {"id": "a", "loss": math.inf}]
)
def test_what_is_no_row_is_refused_and_nothing_is_written(tmp_path, row):
    with pytest.raises(ValueError):
        append_row(tmp_path / "rows.jsonl", row)
    assert not (tmp_path / "rows.jsonl").exists()


def test_deleting_a_row_that_is_not_there_says_so_and_changes_nothing(tmp_path):
    path = tmp_path / "rows.jsonl"
    append_row(path, {"id": "a"})
    before = path.stat().st_mtime_ns, path.read_bytes()
    with pytest.raises(ValueError, match="no row with the id 'b'"):
        delete_row(path, "b")
    assert (path.stat().st_mtime_ns, path.read_bytes()) == before
    with pytest.raises(ValueError, match="no row"):
        delete_row(tmp_path / "none.jsonl", "a")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_process_killed_while_it_appends_leaves_only_whole_rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    for attempt in range(4):
        writer = subprocess.Popen([sys.executable, "-c", LINES, path, str(attempt)], cwd=ROOT)
        while not path.exists() or f'"{attempt}-20"'.encode() not in path.read_bytes():
            assert writer.poll() is None
            time.sleep(0.005)
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        rows, notes = read_rows(path)
        assert notes == []
    written = [int(row["id"].partition("-")[2]) for row in rows]
    assert [len(row["text"]) for row in rows] == [number % 5000 for number in written]
    for attempt, group in itertools.groupby(rows, key=lambda row: row["id"].partition("-")[0]):
        numbers = [int(row["id"].removeprefix(f"{attempt}-")) for row in group]
        assert numbers == list(range(len(numbers))) and len(numbers) > 20


def test_two_processes_that_append_at_once_do_not_mix(tmp_path):
    path = tmp_path / "rows.jsonl"
    code = LINES.replace("itertools.count()", "range(200)")
    writers = [
        subprocess.Popen([sys.executable, "-c", code, path, name], cwd=ROOT) for name in "ab"
    ]
    assert [writer.wait() for writer in writers] == [0, 0]
    rows, notes = read_rows(path)
    assert notes == [] and len(rows) == 400
    assert {row["id"] for row in rows} == {f"{name}-{i}" for name in "ab" for i in range(200)}


# --- intervals -------------------------------------------------------------------------------


@pytest.mark.parametrize(("right", "count"), [(0, 20), (3, 20), (150, 200), (300, 300)])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_wilsons_interval_is_scipys(right, count, level):
    expected = stats.binomtest(right, count).proportion_ci(level, method="wilson")
    found = wilson_interval(right / count, count, level)
    assert found == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_paired_interval_is_scipys_t_interval_of_the_messages_means():
    rng = np.random.default_rng(0)
    a, b = rng.random((5, 200)) < 0.9, rng.random((3, 200)) < 0.85
    mean, low, high = paired_interval(a, b)
    expected = stats.ttest_rel(a.mean(axis=0), b.mean(axis=0)).confidence_interval(0.95)
    assert mean == pytest.approx(a.mean() - b.mean())
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_with_ten_messages_the_interval_is_students_within_a_thousandth():
    a, b = np.eye(10)[:3], np.zeros((1, 10))
    _, low, high = paired_interval(a, b)
    expected = stats.ttest_rel(a.mean(axis=0), b[0]).confidence_interval(0.95)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-3)


def test_equal_answers_have_no_difference_and_no_width():
    a = np.arange(40).reshape(2, 20) % 2
    assert paired_interval(a, a) == (0.0, 0.0, 0.0)


def test_pairs_are_surer_than_two_shares_by_themselves():
    rng = np.random.default_rng(1)
    b = rng.random((1, 200)) < 0.8
    a = b.copy()
    a[0, :6] = True  # the same answers but for a few messages
    mean, low, high = paired_interval(a, b)
    alone = wilson_interval(b.mean(), 200)
    assert low <= mean <= high and high - low < (alone[1] - alone[0]) / 2


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: wilson_interval(1.2, 10), "share"),
        (lambda: wilson_interval(0.5, 0), "count"),
        (lambda: wilson_interval(0.5, 10, 1.0), "level"),
        (lambda: paired_interval([[0, 1] * 5], [[0, 1] * 6]), "no pairs"),
        (lambda: paired_interval([[0, 1]], [[0, 1]]), "too few"),
        (lambda: paired_interval([0, 1] * 5, [0, 1] * 5), "num_seeds, num_messages"),
        (lambda: paired_interval([[0.5] * 10], [[1] * 10]), "0 and 1"),
    ],
)
def test_what_has_no_interval_is_refused_in_a_sentence(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_a_row_can_hold_what_json_can(tmp_path):
    row = {"id": "a", "seeds": [1, 2], "plan": {"adapted": None}, "right": "0110"}
    append_row(tmp_path / "rows.jsonl", row)
    assert json.loads((tmp_path / "rows.jsonl").read_text(encoding="utf-8")) == row
    with pytest.raises(TypeError):
        append_row(tmp_path / "rows.jsonl", {"id": "b", "tensor": object()})
    assert len(read_rows(tmp_path / "rows.jsonl")[0]) == 1
