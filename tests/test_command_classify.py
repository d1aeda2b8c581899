"""`python -m workshop classify`: one row for each text, whatever the file and whatever happens."""

import csv
import io
import os
import subprocess
import sys

import pandas as pd
import pytest
import torch

from helpers.classify import TextClassifier
from helpers.freezing import replace_head
from helpers.training import POSITIONS
from tests.conftest import ROOT, TINY, random_model
from workshop.__main__ import EMPTY, main, rows
from workshop.own import OwnClassifier
from workshop.texts import KINDS, read_pieces

csv.field_size_limit(2_000_000)  # for the over-long text below
LABELS = ("plain", "with, comma", 'with "quotes"')
WORDS = ["free", "prize", "call", "now", "claim", "see", "you", "eight", "love", "win", "home"]
ODD = ["two\nlines", "a\r\nb", 'he said "no"', "\u2028\x85here", "NA", " spaces ", "🎉 café"]


def texts(count: int) -> list[str]:
    words = [[WORDS[(i * k) % 11] for k in range(1, 3 + i % 7)] for i in range(count)]
    return [f"{' '.join(words)} {i}" for i, words in enumerate(words)]


def make(position: str = "last_token") -> OwnClassifier:
    """A classifier whose answer depends much on every token that it sees."""
    model = replace_head(random_model(TINY), len(LABELS))
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            constant = name.endswith(("bias", "shift"))  # that of all texts
            parameter.normal_(float(name.endswith("scale")), 0.01 if constant else 0.4)
    gpt2 = TextClassifier(model, LABELS, 20, position=position)
    return OwnClassifier(LABELS, None, gpt2)


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> str:
    return str(make().save(tmp_path_factory.mktemp("saved") / "my.safetensors"))


def table(path, found: list[str]):
    """Write a CSV file with these texts between two other columns; return its path."""
    frame = pd.DataFrame({"id": range(len(found)), "text": found, "more": "x"})
    frame.to_csv(path, index=False)
    return path


def run(saved, *arguments) -> int | str:
    """Return the exit code, or what was said on the way out (code 1)."""
    with pytest.raises(SystemExit) as ended:
        main(["classify", str(saved), *map(str, arguments)])
    return ended.value.code


def labelled(saved, path) -> list[dict]:
    """The rows that the command writes for a file."""
    out = path.with_name("labelled.csv")
    assert run(saved, path, "--out", out) == 0
    with out.open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    out.unlink()
    assert not list(path.parent.glob("labelled.csv*"))  # nothing is left beside it
    return found


@pytest.mark.parametrize("position", POSITIONS)
def test_each_row_has_the_label_and_the_probability_that_the_classifier_gives(position):
    classifier, given = make(position), texts(12)
    found = list(csv.reader(rows(classifier, given, "float32").decode().splitlines()))
    probabilities = classifier.probabilities(given).max(dim=-1).values
    assert [row[0] for row in found] == given
    assert [row[1] for row in found] == [classifier.classify(text) for text in given]
    assert position != "last_token" or len({row[1] for row in found}) > 1
    for row, probability in zip(found, probabilities.tolist(), strict=True):
        assert len(row[2]) == 6 and abs(float(row[2]) - probability) < 1e-4 and row[3] == ""


def test_an_empty_and_an_over_long_text_have_a_row_with_a_note():
    classifier = make()
    absurd = "a" + " " * 999_999 + "b"  # tiktoken fails on it
    given = ["ok", "", " \t", "win " * 1_309 + "win", absurd, "win " * 19 + "win"]
    found = list(csv.reader(rows(classifier, given, "float32").decode().splitlines()))
    assert [row[0] for row in found] == given
    assert found[1][1:] == found[2][1:] == ["", "", EMPTY]
    notes = [row[3] for row in found]
    assert notes[0] == notes[5] == ""  # of exactly 20 tokens all are read
    assert notes[3] == notes[4] == "GPT-2 read only the first 20 tokens"
    assert found[3][1] == classifier.classify(given[3])


@pytest.mark.parametrize("ending", KINDS)
def test_every_kind_of_file_gives_the_same_rows_and_odd_characters_come_back(
    ending, saved, tmp_path
):
    given = [*texts(30), *(text for text in ODD if ending != ".txt" or text.isprintable())]
    path, frame = tmp_path / f"a{ending}", pd.DataFrame({"id": 1, "Text": given})
    if ending == ".parquet":
        frame.to_parquet(path, row_group_size=7)
    elif ending in (".jsonl", ".ndjson"):
        frame.to_json(path, orient="records", lines=True)
    elif ending == ".txt":
        path.write_text("\n".join(given), encoding="utf-8")
    else:
        frame.to_csv(path, index=False, sep="\t" if ending == ".tsv" else ",")
    found = labelled(saved, path)
    assert [row["text"] for row in found] == given
    assert found == labelled(saved, table(tmp_path / "b.csv", given))


def test_texts_come_in_pieces_in_order_and_a_missing_one_is_empty(tmp_path, monkeypatch):
    monkeypatch.setattr("workshop.texts.PIECE_ROWS", 2)
    path = tmp_path / "a.jsonl"
    path.write_text('{"other": 1, "text": 12}\n{"text": null}\n{"x": 1}\n{"x": 2}\n{"text": "a"}\n')
    assert list(read_pieces(path, [])) == [["12", ""], ["", ""], ["a"]]
    path = table(tmp_path / "a.csv", texts(10))
    assert next(read_pieces(path, [], text="more")) == ["x", "x"]
    path = tmp_path / "a.txt"
    path.write_bytes("one\r\n\ntwo\u2028still two\x85\na, 'b\rlast".encode())
    expected = [["one", ""], ["two\u2028still two\x85", "a, 'b"], ["last"]]
    assert list(read_pieces(path, [])) == expected


def test_rows_that_were_swallowed_are_said_and_what_can_not_be_read_before_the_first_row(
    saved, tmp_path, capfd
):
    path = tmp_path / "a.tsv"
    path.write_text('text\tn\n"one\t1\ntwo\t2\n"three\t3\n')
    assert run(saved, path, "--out", tmp_path / "o.csv") == 0
    assert "1 row has a cell with line ends and tabs in it, in line 2" in capfd.readouterr().err
    path = tmp_path / "a.csv"
    path.write_bytes(b"text,n\n" + b"ok,1\n" * 5_000 + b"a,b,2\n")
    assert "line 5002: the row has 3 cells" in run(saved, path)
    assert capfd.readouterr().out == ""


def test_a_line_is_answered_before_the_next_one_comes(saved):
    command, pipe = [sys.executable, "-m", "workshop", "classify", saved], subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdout.readline() == b"text,label,probability,note\r\n"
        for line in (b"free prize\r\n", b"\n", b"see you\n"):
            process.stdin.write(line)
            process.stdin.flush()
            assert process.stdout.readline().startswith(line.strip() + b",")  # or waits for ever
        process.stdin.write(b"the last")
        process.stdin.close()
        assert process.stdout.read().startswith(b"the last,")
        assert process.stderr.read() == b"" and process.wait() == 0


def test_out_is_obeyed_and_text_refused_where_lines_come_from_standard_input(
    saved, tmp_path, monkeypatch
):
    out = tmp_path / "o.csv"
    stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(b"\xef\xbb\xbfsee you\ncaf\xe9\n")))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert "--text needs a file" in run(saved, "--text", "text", "--out", out)
    assert run(saved, "--out", out) == 0
    first_cells = [line.partition(",")[0] for line in out.read_text(encoding="utf-8").splitlines()]
    assert first_cells == ["text", "see you", "café"]
    assert "exists" in run(saved, "--out", out)
    assert "is a folder; name a file in it" in run(saved, "--out", tmp_path)
    monkeypatch.setattr(sys, "stdin", None)  # closed, as by `<&-`
    assert "standard input is closed" in run(saved)
    monkeypatch.setattr(sys, "stdout", None)  # closed, as by `>&-`
    assert run(saved, table(tmp_path / "b.csv", texts(1)), "--out", tmp_path / "b.out") == 0
    monkeypatch.undo()
    path = table(tmp_path / "a.csv", texts(1))
    assert "exists already; delete it, or name another file" in run(saved, path, "--out", out)


def test_a_run_resumes_after_its_last_whole_piece_and_writes_the_file_of_an_unbroken_one(
    saved, tmp_path, monkeypatch
):
    monkeypatch.setattr("workshop.texts.PIECE_ROWS", 20)
    given = [f'{text}\n"quoted"' for text in texts(50)]
    path, out, unbroken = table(tmp_path / "a.csv", given), tmp_path / "o.csv", tmp_path / "u.csv"
    assert run(saved, path, "--out", unbroken) == 0
    calls = []

    def interrupted(model, piece, precision):
        calls.append(len(piece))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return rows(model, piece, precision)

    with monkeypatch.context() as patch:
        patch.setattr("workshop.__main__.rows", interrupted)
        assert run(saved, path, "--out", out) == 130
        assert len(list(tmp_path.glob("o.csv.*.parts/*.csv"))) == 1 and not out.exists()
        other = make("first").save(tmp_path / "other.st")  # begins anew
        assert run(other, path, "--out", tmp_path / "o.csv") == 0
        assert calls[2:] == [20, 20, 10] and out.read_bytes() != unbroken.read_bytes()
        out.unlink()
        (parts,) = tmp_path.glob("o.csv.*.parts")
        (parts / "mine.txt").write_text("mine")
        assert run(saved, path, "--out", out) == 0
        assert calls[5:] == [20, 10]
    assert out.read_bytes() == unbroken.read_bytes()
    assert os.listdir(parts) == ["mine.txt"]  # nothing of a user's is deleted
    assert sorted(os.listdir(tmp_path)) == ["a.csv", "o.csv", parts.name, "other.st", "u.csv"]


@pytest.mark.proof
def test_two_processes_write_the_file_of_one(saved, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    path, written = table(tmp_path / "a.csv", texts(4_500)), []
    for number in (1, 2):
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += [f"--nproc-per-node={number}", "-m", "workshop", "classify", saved, str(path)]
        out = tmp_path / f"{number}.csv"
        done = subprocess.run(
            [*command, "--out", str(out)], cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-2000:]
        written.append(out.read_bytes())
    assert written[0] == written[1]
    assert sorted(os.listdir(tmp_path)) == ["1.csv", "2.csv", "a.csv"]


def test_a_hostile_classifier_can_not_move_the_terminals_cursor(tmp_path, capsys):
    hostile = make()
    hostile.about = {"model": "\x1b[2J gone"}
    with pytest.raises(SystemExit, match="0"):
        main(["show", str(hostile.save(tmp_path / "my.safetensors"))])
    said = capsys.readouterr().out
    assert "gone" in said and "\x1b" not in said
