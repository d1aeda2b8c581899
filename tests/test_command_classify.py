"""`python -m workshop classify` and `show`: one row for each text, whatever the file and whatever happens."""

import csv
import io
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc

import pandas as pd
import pytest
import torch

from helpers.classify import SpamClassifier, TextClassifier
from helpers.download import file_sha256
from helpers.freezing import replace_head
from tests.conftest import ROOT, TINY, random_model
from workshop import __main__ as classify
from workshop import __main__ as pieces
from workshop.__main__ import EMPTY, classify_file, classify_lines, lines_as_they_come, main
from workshop.processes import Ranks
from workshop.texts import KINDS

LABELS = ("plain", "with, comma", 'with "quotes"')
WORDS = [
    "free", "prize", "call", "now", "to", "claim", "see", "you", "at", "eight", "love", "ok", "sorry",
    "win", "cash", "text", "home", "late",
]  # fmt: skip
ODD = [
    "two\nlines", "a\r\nb", 'he said "no"', "a, b", "line\u2028separator\x85here",
    "NA", "null", " spaces ", "🎉 café", "=1+1", "'", '"', "-",
]  # fmt: skip


def texts(count: int) -> list[str]:
    return [
        " ".join(WORDS[(i * k) % 18] for k in range(1, 3 + i % 7)) + f" {i}" for i in range(count)
    ]


def make(labels=LABELS, seed: int = 0, **settings) -> TextClassifier:
    """A classifier whose answer depends much on every token that it sees."""
    model = replace_head(random_model(TINY, seed), len(labels))
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            constant = name.endswith(("bias", "shift"))  # that of all texts
            parameter.normal_(float(name.endswith("scale")), 0.01 if constant else 0.4)
    return TextClassifier(model, labels, 20, **({"position": "last_token"} | settings))


@pytest.fixture(scope="module")
def classifier() -> TextClassifier:
    return make()


@pytest.fixture(scope="module")
def saved(classifier, tmp_path_factory) -> str:
    return str(classifier.save(tmp_path_factory.mktemp("saved") / "my.safetensors"))


@pytest.fixture
def small(monkeypatch):
    """Pieces of 5 rows and shards of 10, so that a short file has many."""
    monkeypatch.setattr(pieces, "PIECE_ROWS", 5)
    monkeypatch.setattr(classify, "SHARD_PIECES", 2)


def table(path, rows: list[str], more: str = "x"):
    """Write a CSV file with these texts between two other columns; return its path."""
    frame = pd.DataFrame({"id": range(len(rows)), "text": rows, "more": more})
    frame.to_csv(path, index=False)
    return path


def read(data: bytes | str) -> list[dict]:
    text = data.decode() if isinstance(data, bytes) else data
    return list(csv.DictReader(io.StringIO(text, newline="")))


def labelled(classifier, path, **settings) -> list[dict]:
    """The rows that `path` gives, printed."""
    written = []
    classify_file(classifier, path, write=written.append, **settings)
    return read(b"".join(written))


def complaint(*arguments) -> str:
    """What the command says when it can't; it is one line."""
    with pytest.raises(SystemExit) as end:
        main(["classify", *map(str, arguments)])
    said = end.value.code
    assert isinstance(said, str) and "\n" not in said  # printed to stderr by Python, with code 1
    return said


# --- the rows --------------------------------------------------------------------------------


def test_each_row_has_the_label_and_the_probability_that_the_classifier_gives(classifier, tmp_path):
    given = texts(40)
    found = labelled(classifier, table(tmp_path / "a.csv", given))
    probabilities = classifier.probabilities(given).max(dim=-1).values
    assert [row["text"] for row in found] == given
    assert [row["label"] for row in found] == classifier.classify_many(given)
    assert len({row["label"] for row in found}) == 3
    for row, probability in zip(found, probabilities.tolist(), strict=True):
        assert len(row["probability"]) == 6 and abs(float(row["probability"]) - probability) < 1e-4
        assert row["note"] == ""


def test_an_empty_text_has_a_row_that_says_so(classifier, tmp_path):
    found = labelled(classifier, table(tmp_path / "a.csv", ["ok", "", None, " \t", "late"]))
    for row in found[1:4]:
        assert (row["label"], row["probability"], row["note"]) == ("", "", EMPTY)
    assert found[0]["label"] and found[4]["label"] and found[3]["text"] == " \t"


def test_an_over_long_text_has_its_label_and_a_note_with_its_length(classifier, tmp_path):
    long = "win " * 1_309 + "win"
    found = labelled(classifier, table(tmp_path / "a.csv", ["ok", long]))
    assert found[1]["note"] == "1,310 tokens; the first 20 were read" and found[0]["note"] == ""
    with pytest.warns(UserWarning, match="only its first 20"):
        assert found[1]["label"] == classifier.classify(long)


def test_a_file_of_empty_texts_only_has_rows(classifier, tmp_path):
    assert len(labelled(classifier, table(tmp_path / "a.csv", ["", ""]))) == 2


def test_a_table_without_rows_gives_the_header(classifier, tmp_path):
    out = tmp_path / "out.csv"
    classify_file(classifier, table(tmp_path / "a.csv", []), out)
    assert out.read_bytes() == b"text,label,probability,note\n"


@pytest.mark.parametrize("ending", KINDS)
def test_every_kind_of_file_gives_the_same_rows(ending, classifier, tmp_path):
    path, frame = tmp_path / f"a{ending}", pd.DataFrame({"id": range(30), "Text": texts(30)})
    if ending == ".parquet":
        frame.to_parquet(path, row_group_size=7)
    elif ending in (".jsonl", ".ndjson"):
        frame.to_json(path, orient="records", lines=True)
    elif ending == ".txt":
        path.write_text("\n".join(texts(30)), encoding="utf-8")
    else:
        frame.to_csv(path, index=False, sep="\t" if ending == ".tsv" else ",")
    assert labelled(classifier, path) == labelled(classifier, table(tmp_path / "b.csv", texts(30)))


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_odd_characters_come_back_as_they_were(ending, classifier, tmp_path):
    path, frame = tmp_path / f"a{ending}", pd.DataFrame({"text": ODD, "more": 1})
    if ending == ".parquet":
        frame.to_parquet(path)
    elif ending == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, index=False, sep="\t" if ending == ".tsv" else ",")
    assert [row["text"] for row in labelled(classifier, path)] == ODD


def test_lines_of_a_text_file_end_where_lines_end(classifier, tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("one\r\n\ntwo\u2028still two\x85\na, 'b\rlast".encode())
    found = labelled(classifier, path)
    given = ["one", "", "two\u2028still two\x85", "a, 'b", "last"]
    assert [row["text"] for row in found] == given and found[1]["note"] == EMPTY


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_usual_encodings_and_line_ends_are_read(encoding, ending, classifier, tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(ending.join(["text,n", "café – nine,1", "ok,2", ""]).encode(encoding))
    assert [row["text"] for row in labelled(classifier, path)] == ["café – nine", "ok"]


def test_numbers_and_missing_values_of_json_and_parquet_are_texts(classifier, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"other": 1}\n{"text": 12}\n\n{"text": null}\n{"text": "\\ud83d half"}\n{"text": "\\u0000"}\n'
    )
    found = [row["text"] for row in labelled(classifier, path)]
    assert found == ["", "12", "", "\ufffd half", "\0"]
    pd.DataFrame({"text": ["a", None]}).to_parquet(tmp_path / "a.parquet")
    assert [row["text"] for row in labelled(classifier, tmp_path / "a.parquet")] == ["a", ""]


def test_the_column_is_found_by_its_usual_name_or_by_the_one_given(classifier, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("Note,Message\nfirst,second\n")
    assert labelled(classifier, path)[0]["text"] == "second"
    assert labelled(classifier, path, text="Note")[0]["text"] == "first"


def test_rows_keep_their_order_over_pieces_and_shards(small, classifier, tmp_path):
    given = texts(43)
    path, out = table(tmp_path / "a.csv", given), tmp_path / "new" / "out.csv"
    heard = []
    classify_file(classifier, path, out, show=lambda done, total: heard.append((done, total)))
    assert [row["text"] for row in read(out.read_bytes())] == given
    assert heard[0] == (0, 43) and heard[-1] == (43, 43) and len(heard) == 10
    assert read(out.read_bytes()) == labelled(classifier, path)
    assert [name.name for name in out.parent.iterdir()] == ["out.csv"]


@pytest.mark.parametrize("position", ["last", "last_token", "first", "mean"])
def test_every_position_answers_as_one_text_alone(position, tmp_path):
    classifier, given = make(position=position), texts(12)
    found = labelled(classifier, table(tmp_path / "a.csv", given))
    assert [row["label"] for row in found] == [classifier.classify(text) for text in given]


def test_a_classifier_of_spam_and_bfloat16_serve_as_well(tmp_path):
    spam = SpamClassifier(make(("ham", "spam")).model, 20)
    found = labelled(spam, table(tmp_path / "a.csv", texts(9)), precision="bfloat16")
    assert {row["label"] for row in found} <= {"ham", "spam"}


# --- lines as they come ----------------------------------------------------------------------


def test_a_line_is_answered_before_the_next_one_comes(saved):
    command = [sys.executable, "-m", "workshop", "classify", saved]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as run:
        assert run.stdout.readline() == b"text,label,probability,note\n"
        for line in (b"free prize\r\n", b"\n", b"see you\n"):
            run.stdin.write(line)
            run.stdin.flush()
            assert run.stdout.readline().startswith(line.strip() + b",")  # else this waits for ever
        run.stdin.write(b"the last")
        run.stdin.close()
        assert run.stdout.read().startswith(b"the last,")
        assert run.stderr.read() == b"" and run.wait() == 0


def test_many_lines_at_once_are_answered_in_pieces_and_in_order(small, classifier):
    given, written = texts(23), []
    stream = io.BufferedReader(io.BytesIO("\n".join(given).encode()))
    classify_lines(classifier, lines_as_they_come(stream), written.append)
    assert [row["text"] for row in read(b"".join(written))] == given
    assert len(written) > 5  # the header, and no piece of more than five


def test_a_line_that_is_no_utf8_is_read_as_cp1252_or_refused_with_its_number():
    stream = io.BytesIO(b"\xef\xbb\xbffirst\ncaf\xe9\n\x81\x8d\n")
    lines = lines_as_they_come(io.BufferedReader(stream))
    with pytest.raises(ValueError, match="line 3 of standard input"):
        list(lines)
    assert next(lines_as_they_come(io.BytesIO(b"\xef\xbb\xbffirst\ncaf\xe9\n"))) == [
        "first",
        "café",
    ]


# --- a run that ends early -------------------------------------------------------------------


def run_of(saved, path, out, **settings) -> subprocess.Popen:
    command = [sys.executable, "-m", "workshop", "classify", saved, str(path), "--out", str(out)]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, **settings)


def test_a_killed_run_goes_on_and_the_file_is_that_of_an_unbroken_one(saved, tmp_path, monkeypatch):
    path = table(tmp_path / "a.csv", texts(25_000))
    out, unbroken = tmp_path / "out.csv", tmp_path / "unbroken.csv"
    with run_of(saved, path, out) as run:
        while not list(tmp_path.glob("out.csv.parts/000000.csv")):
            assert run.poll() is None, run.stderr.read()
            time.sleep(0.005)
        run.send_signal(signal.SIGKILL)
    parts = tmp_path / "out.csv.parts"
    done = {name: name.stat().st_mtime_ns for name in parts.glob("0*[0-9].csv")}
    assert 1 <= len(done) < 3 and not out.exists()
    classifier = TextClassifier.load(saved)
    made, rows = [], classify.rows
    monkeypatch.setattr(classify, "rows", lambda *given: made.append(1) or rows(*given))
    classify_file(classifier, path, out)
    assert len(made) == 25 - 10 * len(done)  # pieces: no whole shard was made again
    classify_file(classifier, path, unbroken)
    assert file_sha256(out) == file_sha256(unbroken) and not parts.exists()


def interrupted(classifier, path, out, after: int = 25) -> None:
    """Stop a run after so many rows."""

    def show(done, total):
        if done >= after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        classify_file(classifier, path, out, show=show)


def test_shards_of_something_else_are_refused(small, classifier, tmp_path):
    path, out = table(tmp_path / "a.csv", texts(40)), tmp_path / "out.csv"
    interrupted(classifier, path, out)
    other = table(tmp_path / "b.csv", texts(41))
    for wrong, what in (
        ({"path": other}, "input"),
        ({"classifier": make(seed=1)}, "classifier"),
        ({"classifier": make(("a", "b", "c"))}, "classifier"),
        ({"precision": "bfloat16"}, "precision"),
        ({"text": "more"}, "column"),
    ):
        given = {"classifier": classifier, "path": path, "out": out} | wrong
        with pytest.raises(
            ValueError, match=f"something else.*{what}.*delete this folder, or name"
        ):
            classify_file(**given)
    (tmp_path / "out.csv.parts" / "of.json").write_text("{")
    with pytest.raises(ValueError, match="something else"):
        classify_file(classifier, path, out)
    assert len(list((tmp_path / "out.csv.parts").glob("0*.csv"))) == 2  # none was touched


def test_a_folder_of_ones_own_with_that_name_is_left_alone(classifier, tmp_path):
    path, own = table(tmp_path / "a.csv", texts(3)), tmp_path / "out.csv.parts" / "mine.txt"
    own.parent.mkdir()
    own.write_text("mine")
    with pytest.raises(ValueError, match="mine.txt"):
        classify_file(classifier, path, tmp_path / "out.csv")
    assert own.read_text() == "mine"


def test_a_file_that_is_there_is_never_overwritten(classifier, tmp_path):
    path, out = table(tmp_path / "a.csv", texts(3)), tmp_path / "out.csv"
    out.write_text("labelled by hand")
    with pytest.raises(FileExistsError, match="is there already; delete it, or name another"):
        classify_file(classifier, path, out)
    assert out.read_text() == "labelled by hand"


def test_a_run_killed_before_it_deleted_its_shards_ends_well(
    small, classifier, tmp_path, monkeypatch
):
    path, out = table(tmp_path / "a.csv", texts(40)), tmp_path / "out.csv"
    removed = shutil.rmtree

    def killed(folder, **settings):
        if str(folder).endswith(".parts"):
            raise KeyboardInterrupt
        removed(folder, **settings)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shutil, "rmtree", killed)
        classify_file(classifier, path, out)
    whole = out.read_bytes()
    out.write_bytes(whole + b"by hand")
    with pytest.raises(FileExistsError):
        classify_file(classifier, path, out)
    out.write_bytes(whole)
    classify_file(classifier, path, out)
    assert out.read_bytes() == whole and sorted(os.listdir(tmp_path)) == ["a.csv", "out.csv"]


def test_a_reader_that_leaves_is_one_line_and_code_1(saved, tmp_path):
    path = table(tmp_path / "a.csv", texts(3_000))
    command = (
        f"{sys.executable} -m workshop classify {saved} {path} | head -1; exit ${{PIPESTATUS[0]}}"
    )
    run = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 1 and run.stdout == "text,label,probability,note\n"
    assert run.stderr == "Broken pipe: nobody reads what is printed any more\n"


def test_a_full_disk_behind_standard_output_is_one_line(saved, tmp_path, capfd):
    path, kept = table(tmp_path / "a.csv", texts(3)), os.dup(1)
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        os.dup2(full, 1)
        said = complaint(saved, path)
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(full)
    assert said == "standard output can't be written: No space left on device"


def test_a_full_disk_leaves_no_half_file_and_the_run_goes_on_later(
    small, classifier, saved, tmp_path
):
    path, out = (
        table(tmp_path / "a.csv", [*texts(20), *(text * 40 for text in texts(5))]),
        tmp_path / "o.csv",
    )
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, limits[1]))  # bytes of a file
    try:
        said = complaint(saved, path, "--out", out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert said.startswith(
        f"{out} can't be written: File too large; what is done lies in {out}.parts"
    )
    assert sorted(os.listdir(f"{out}.parts")) == ["000000.csv", "000001.csv", "of.json"]
    assert not out.exists()
    classify_file(classifier, path, out)
    assert len(read(out.read_bytes())) == 25


def test_memory_does_not_grow_with_the_rows(classifier, tmp_path, monkeypatch):
    monkeypatch.setattr(pieces, "PIECE_ROWS", 200)
    peaks = []
    for count in (1_000, 1_000, 10_000):  # the first fills what is made once
        path = table(tmp_path / f"{count}.csv", texts(count), more=2_000 * "x")  # beyond any buffer
        tracemalloc.start()
        classify_file(classifier, path, tmp_path / f"{len(peaks)}.csv")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.2 * peaks[1]


# --- several processes -----------------------------------------------------------------------


def test_two_processes_write_the_file_of_one(saved, tmp_path):
    path, out = table(tmp_path / "a.csv", texts(15_000)), tmp_path / "two.csv"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["-m", "workshop", "classify", saved, str(path), "--out", str(out)]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=one_thread)
    assert run.returncode == 0, run.stderr[-2000:]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    classify_file(TextClassifier.load(saved), path, tmp_path / "one.csv")
    torch.set_num_threads(threads)
    assert file_sha256(out) == file_sha256(tmp_path / "one.csv")
    assert sorted(os.listdir(tmp_path)) == ["a.csv", "one.csv", "two.csv"]


class Alone(Ranks):
    """One of several processes whose others have done their part, or have none."""

    def wait(self):
        pass

    def same(self, what, value):
        pass


def test_each_process_makes_its_own_shards_and_what_is_left_is_shared_out(
    small, classifier, tmp_path, monkeypatch
):
    path, out = table(tmp_path / "a.csv", texts(45)), tmp_path / "out.csv"
    parts = tmp_path / "out.csv.parts"

    def slept(seconds):
        raise InterruptedError  # it would wait for the others

    monkeypatch.setattr(classify.time, "sleep", slept)
    made = []
    for number in (0, 1):
        with pytest.raises(InterruptedError):
            classify_file(classifier, path, out, ranks=Alone(number, 3))
        made.append(sorted(name.name for name in parts.glob("0*.csv")))
    assert made[0] == ["000000.csv", "000003.csv"]
    # the three that are left are shared out anew: rank 1 has the second of them
    assert made[1] == ["000000.csv", "000002.csv", "000003.csv"]
    classify_file(classifier, path, out)
    assert read(out.read_bytes()) == labelled(classifier, path)


def test_several_processes_need_a_file_to_write_to(classifier, tmp_path):
    with pytest.raises(ValueError, match="name a file with --out"):
        classify_file(classifier, table(tmp_path / "a.csv", ["ok"]), ranks=Alone(0, 2))


# --- bad input -------------------------------------------------------------------------------


def test_what_is_no_table_is_refused_in_one_line(saved, tmp_path):
    def file(name: str, data: bytes) -> str:
        (tmp_path / name).write_bytes(data)
        return str(tmp_path / name)

    png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)) * 20
    whole = io.BytesIO()
    pd.DataFrame({"text": texts(30)}).to_parquet(whole)
    folder = tmp_path / "folder.csv"
    folder.mkdir()
    for path, words in (
        (file("a.csv", png), "byte 0"),
        (file("n.csv", b"text\nok\na\0b\n"), "line 3: there is a byte 0"),
        (file("u.csv", "text\nok\n".encode("utf-16-le")), "UTF-16 needs its mark"),
        (file("b.csv", b"text\nok\nx\x81\x8d\n"), "line 3: the byte 0x81"),
        (file("c.csv", b"text,text\na,b\n"), "2 columns called 'text'"),
        (file("d.csv", b"Text,text\na,b\n"), "name the column that is meant: --text COLUMN"),
        (file("e.csv", b"a,b\n1,2\n"), "Name the one with the texts: --text COLUMN"),
        (file("f.csv", b"text,n\na,1\nb,c,2\n"), "line 3: the row has 3 cells"),
        (file("g.csv", b"text\na,1\n"), "line 2: the row has 2 cells"),
        (file("h.csv", b'text\n"a\n'), "line 2 is never closed"),
        (file("i.csv", b""), "is empty"),
        (file("j.jsonl", b'{"text": "a"}\n{"text"\n'), "line 2: this is no JSON"),
        (file("k.jsonl", b"[1]\n"), "line 1: [1] is no JSON object"),
        (file("o.jsonl", b'{"text": "a", "text": "b"}\n'), "two values are called 'text'"),
        (file("p.jsonl", b'{"text": ["a"]}\n'), "row 1: 'text' holds a list"),
        (file("l.parquet", b"PAR1 no"), "no whole Parquet file"),
        (file("q.parquet", whole.getvalue()[:60] + whole.getvalue()[90:]), "no whole Parquet file"),
        (file("m.xlsx", b"PK"), "the ending '.xlsx'"),
        (folder, "is a folder"),
        (tmp_path / "none.csv", "does not exist"),
        ("https://example.org/a.csv", "download the file first"),
    ):
        assert words in complaint(saved, path), path
    ok = table(tmp_path / "ok.csv", ["ok"])
    assert "has no column 'sms'" in complaint(saved, ok, "--text", "sms")
    assert "is a folder; name a file" in complaint(saved, ok, "--out", folder)
    with pytest.raises(ValueError, match="precision must be"):
        classify_file(TextClassifier.load(saved), ok, precision="float8")


def test_a_last_line_that_is_wrong_is_said_before_the_first_row_is_made(saved, tmp_path, capfd):
    path = tmp_path / "a.csv"
    path.write_bytes(b"text,n\n" + b"ok,1\n" * 5_000 + b"a,b,2\n")
    assert "line 5002: the row has 3 cells" in complaint(saved, path)
    assert capfd.readouterr().out == ""


def test_a_file_that_is_no_classifier_is_refused_in_one_line(tmp_path):
    table(tmp_path / "a.csv", ["ok"])
    for name in ("none.safetensors", "a.csv", "."):
        assert str(tmp_path / name) in complaint(tmp_path / name, tmp_path / "a.csv")


# --- show ------------------------------------------------------------------------------------


def shown(path, capsys) -> str:
    with pytest.raises(SystemExit) as end:
        main(["show", str(path)])
    assert end.value.code == 0
    return capsys.readouterr().out


def test_show_prints_what_a_classifier_is(tmp_path, capsys):
    about = {"model": "gpt2-nano (12M)", "figures": "accuracy 91 %\n  of 200 texts"}
    path = make(about=about).save(tmp_path / "my.safetensors")
    said = shown(path, capsys)
    for words in (
        "3 classes: plain; with, comma; with \"quotes\"", "last_token", "20 tokens", "3 blocks",
        "8 numbers", "32 tokens", "model: gpt2-nano (12M)", "accuracy 91 %\n  of 200 texts",
    ):  # fmt: skip
        assert words in said, words
    assert "figures:" not in said


def test_what_a_hostile_file_says_can_not_move_the_terminals_cursor(tmp_path, capsys):
    path = make(("a", "b"), about={"model": "\x1b[2J gone"}).save(tmp_path / "my.safetensors")
    assert "gone" in (said := shown(path, capsys)) and "\x1b" not in said
