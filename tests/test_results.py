"""Rows are kept whole in their file, whatever happens."""

import math

import pytest

from workshop.lab import append_row, delete_row, read_rows


def test_what_is_appended_is_read_back_in_order(tmp_path):
    path = tmp_path / "new folder" / "rows.jsonl"
    assert read_rows(path) == ([], [])
    rows = [
        {"id": "a", "accuracy": 0.9, "plan": {"adapted": None}},
        {"id": "b", "text": "ham\nand “spam” £"},
    ]
    for row in rows:
        append_row(path, row)
    assert read_rows(path) == (rows, [])
    assert len(path.read_bytes().splitlines()) == 2
    append_row(path, {"id": "c", "parts": {"out_head", "final_norm"}})
    assert read_rows(path)[0][2]["parts"] == ["final_norm", "out_head"]
    before = path.read_bytes()
    with pytest.raises(ValueError, match="no row with the id 'd'; it may be deleted already"):
        delete_row(path, "d")
    assert path.read_bytes() == before
    path.write_bytes(b'{"id": "a"}\r\n\n{"id": "b"}')  # as another program may have written it
    assert read_rows(path) == ([{"id": "a"}, {"id": "b"}], [])


DAMAGED = {
    "cut off": b'{"id": "c", "accu',
    "not UTF-8": b"\xff\xfe",
    "a list": b"[1, 2]",
    "without an id": b'{"accuracy": 0.5}',
    "a second row of an id": b'{"id": "a", "text": "other"}',
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_line_is_left_out_with_a_sentence_and_never_lost(tmp_path, kind):
    path, damaged = tmp_path / "rows.jsonl", DAMAGED[kind]
    append_row(path, {"id": "a"})
    with path.open("ab") as file:
        file.write(damaged)  # whose line has not ended
    append_row(path, {"id": "b"})
    rows, notes = read_rows(path)
    assert rows == [{"id": "a"}, {"id": "b"}]
    assert len(notes) == 1 and f"{path}, line 2 is left out" in notes[0]
    delete_row(path, "b")
    assert path.read_bytes() == b'{"id": "a"}\n' + damaged + b"\n"


@pytest.mark.parametrize("loss", [math.nan, math.inf, object()])
def test_what_json_does_not_have_is_refused_and_nothing_is_written(tmp_path, loss):
    with pytest.raises((ValueError, TypeError)):
        append_row(tmp_path / "rows.jsonl", {"id": "a", "loss": loss})
    assert not (tmp_path / "rows.jsonl").exists()
