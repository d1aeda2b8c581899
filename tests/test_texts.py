"""A reader's own table: each row is in it or counted in the report; what is no table is refused."""

import io
import json
import re

import numpy as np
import pandas as pd
import pytest
import torch

from helpers.data import SMS_MINI
from workshop.texts import LONGEST_TEXT, read_lines, read_pieces, read_texts

CLASSES = ("money", "love", "work")
GOOD = [(f"text {i} of {name}, or so", name) for i in range(8) for name in CLASSES]


def csv(rows=GOOD, head="text,label", mark=",", end="\n") -> str:
    return pd.DataFrame(rows, columns=head.split(",")).to_csv(
        None, sep=mark, index=False, lineterminator=end, quoting=1
    )


def json_lines(rows=GOOD, **options) -> str:
    return "".join(json.dumps({"text": t, "label": c}, **options) + "\n" for t, c in rows)


def frame(rows=GOOD, columns=("text", "label")) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=columns)


def written(folder, name: str, content):
    if isinstance(content, pd.DataFrame):
        content.to_parquet(folder / name)
    else:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / name


def sentence(table, pattern: str) -> str:
    """Return the report's one sentence with this pattern."""
    found = [sentence for sentence in table.report if re.search(pattern, sentence)]
    assert len(found) == 1, table.report
    return found[0]


def pairs(table) -> list[tuple[str, str]]:
    return [(text, table.labels[number]) for number, text in table.frame[["Label", "Text"]].values]


FILES = {
    "a.CSV": csv(),
    "c.tsv": csv(mark="\t"),
    "f.ndjson": json_lines().replace("\n", "\r\n\r\n"),
    "g.parquet": frame(),
    "mark.csv": b"\xef\xbb\xbf" + csv().encode(),
    "sixteen.csv": csv().encode("utf-16"),
    "old mac.csv": csv(end="\r"),
    "blank lines.csv": "\n" + csv().replace("\n", "\n\n"),
    "unused columns.csv": csv([(*row, "", "") for row in GOOD], "text,label,,"),
    "semicolons.csv": csv(mark=";"),
    "tabs.csv": csv(mark="\t"),
}


@pytest.mark.parametrize("name", FILES)
def test_the_same_table_comes_out_of_each_kind_of_file(name, tmp_path):
    table = read_texts(written(tmp_path, name, FILES[name]))
    assert pairs(table) == GOOD and table.labels == ("love", "money", "work")
    assert table.source == name and table.frame["Label"].dtype == np.int64
    first, *others, last = table.report
    assert first == f"24 rows read from {name}, with texts from 'text' and labels from 'label'."
    odd = name in ("semicolons.csv", "tabs.csv")
    assert others == [f"The columns are separated by {name[:-4]}."] * odd
    assert last == "The table holds 24 texts in 3 classes: 'money' 8, 'love' 8, 'work' 8."


@pytest.mark.parametrize("types", ["object", {"label": "category"}, "string"])
def test_the_same_table_comes_out_of_dataframes_of_all_types(types):
    table = read_texts(frame().astype(types).set_axis([7] * len(GOOD)))
    assert pairs(table) == GOOD and table.source == "the DataFrame"


def test_a_file_in_cp1252_is_read_and_the_report_says_so(tmp_path):
    accented = [(f"café “{text}” €5", name) for text, name in GOOD]
    lines = json_lines(accented, ensure_ascii=False)
    for name, text in (("a.csv", csv(accented)), ("a.jsonl", lines)):
        table = read_texts(written(tmp_path, name, text.encode("cp1252")))
        assert pairs(table) == accented and "was read as cp1252" in sentence(table, "not UTF-8")
        table = read_texts(written(tmp_path, name, text))
        assert pairs(table) == accented and len(table.report) == 2


STRANGE = [
    '=HYPERLINK("http://a.example")', '"quoted"', 'a "b" c', "a,b;c\td", "two\nlines", "two\r\nlines",
    "🎉 and 👩‍👩‍👧", "عربى", "\u2028 in between", "NA", "null", "None", "nan", "-", "'", "\\", "#no comment",
    "  space around  ", "1e5", "007", "<|endoftext|>", "\ufefftext",
]  # fmt: skip


def test_strange_texts_come_out_as_they_are(tmp_path):
    rows = [(text, "a") for text in STRANGE] + [(f"text {i}", "None") for i in range(8)]
    for source in (
        written(tmp_path, "a.csv", csv(rows)),
        written(tmp_path, "a.tsv", csv(rows, mark="\t")),
        written(tmp_path, "a.jsonl", json_lines(rows)),
        written(tmp_path, "a.parquet", frame(rows)),
        frame(rows),
    ):
        table = read_texts(source)
        assert pairs(table) == rows and table.labels == ("None", "a")
    half = read_texts(written(tmp_path, "b.jsonl", json_lines([("cut \ud83d", "love"), *GOOD])))
    assert half.frame["Text"][0] == "cut \ufffd"


def test_rows_between_two_stray_quotation_marks_are_named_with_their_line(tmp_path):
    lines = csv([*GOOD, *GOOD], mark="\t").replace('"', "").split("\n")
    lines[27], lines[33] = '"' + lines[27], '"' + lines[33]
    table = read_texts(written(tmp_path, "a.tsv", "\n".join(lines)))
    assert "42 rows read" in table.report[0] and len(table.frame) == 42
    assert "1 row has a cell with line ends and tabs in it, in line 28:" in sentence(table, "alone")
    report, path = [], written(tmp_path, "b.csv", 'text\none\n"two\nthree\n"four\n')
    assert list(read_pieces(path, report)) == [["one", "two\nthree\nfour"]]
    assert report[0].startswith("1 row has a cell with line ends in it, in line 3: where a")


@pytest.mark.parametrize(
    ("columns", "asked", "found"),
    [
        (("Message", "CATEGORY", "id"), {}, ("Message", "CATEGORY")),
        (("text", "body", "kind"), {"text": "BODY", "label": "kind"}, ("body", "kind")),
        ((0, 1, 2), {"text": 1, "label": 0}, (1, 0)),
    ],
)
def test_columns_are_found_by_name_or_by_what_is_asked(columns, asked, found):
    table = pd.DataFrame("z", columns=list(columns), index=range(len(GOOD)))
    for place, name in enumerate(found):
        table[name] = [row[place] for row in GOOD]
    read = read_texts(table, **asked)
    assert pairs(read) == GOOD
    assert f"texts from {found[0]!r} and labels from {found[1]!r}" in read.report[0]
    with pytest.raises(ValueError, match="no column is called txet; it has "):
        read_texts(table, text="txet")


@pytest.mark.parametrize(
    ("labels", "names"),
    [([1.0, 2.0], ("1", "2")), ([True, False], ("False", "True")), (["007", "7"], ("007", "7"))],
)
def test_numbers_and_truth_values_are_labels_like_words(labels, names):
    rows = [(f"text {i}", labels[i % 2]) for i in range(16)]
    assert read_texts(frame(rows)).labels == names
    assert read_texts(frame([*rows, ("no label", None)])).labels == names


def test_labels_that_differ_in_case_or_outer_spaces_are_one_class():
    rows = [*((f"a {i}", "spam") for i in range(9)), ("b", "Spam"), ("c", " spam "), ("d", "Spam")]
    table = read_texts(frame(rows + [(f"e {i}", "Straße") for i in range(8)] + [("f", "STRASSE")]))
    assert table.labels == ("Straße", "spam")
    assert sentence(table, "spelling") == (
        "4 labels differ in case or outer spaces only, and the most frequent spelling is used: "
        "'Spam' as 'spam' (2), ' spam ' as 'spam' (1), 'STRASSE' as 'Straße' (1)."
    )


def test_rows_without_text_or_label_are_set_aside_and_counted(tmp_path):
    rows = [*GOOD, ("", "love"), (" \t ", "work"), ("no label", ""), ("", "")]
    missing = [*GOOD, (None, "love"), (np.nan, "work"), ("a", pd.NA), (pd.NaT, None)]
    short = written(tmp_path, "b.jsonl", json_lines(rows[:-2]) + '{"text": "a"}\n{"label": null}\n')
    for source in (written(tmp_path, "a.csv", csv(rows)), frame(rows), frame(missing), short):
        table = read_texts(source)
        assert pairs(table) == GOOD and "28 rows read" in table.report[0]
        assert sentence(table, "no text") == "3 rows have no text and are set aside."
        assert sentence(table, "no label") == "1 row has a text but no label and is set aside."


def test_classes_with_fewer_than_eight_different_texts_are_set_aside_and_named():
    few = [*((f"few {i}", "few") for i in range(7)), ("FEW  1", "few"), ("few 2 ", "few")]
    table = read_texts(frame(GOOD + few))
    assert pairs(table) == GOOD
    assert sentence(table, "set aside") == (
        "1 class has fewer than 8 different texts and is set aside with 9 rows: 'few'."
    )
    assert "few" in read_texts(frame([*GOOD, *few, ("an eighth", "few")])).labels


def test_texts_that_repeat_contradict_or_are_too_long_are_counted_and_stay():
    text = GOOD[0][0]
    more = [(text, "love"), (text.upper(), "work"), ("Text 0  of LOVE, or so\n", "love")]
    table = read_texts(frame(GOOD + more))
    assert len(table.frame) == 27
    assert sentence(table, "repeat").startswith("3 texts repeat an earlier one, but for case and")
    assert sentence(table, "under more than").startswith(
        "1 text stands under more than one label, such as 'text 0 of money, or so';"
    )
    long = [("word " * 1023, "love"), ("word " * 1200, "love"), ("🎉" * 600, "love"), *GOOD]
    assert sentence(read_texts(frame(long)), "1,024").startswith("2 texts are longer than the 1,")
    absurd = read_texts(frame([("a" + " " * 999_999 + "b", "love"), *GOOD]))  # tiktoken fails on it
    assert sentence(absurd, "1,024").startswith("1 text is longer")
    assert len(absurd.frame) == 25 and len(absurd.frame["Text"][0]) == LONGEST_TEXT


def with_cell(cell) -> pd.DataFrame:
    return frame([*GOOD, (cell, "love")])


OTHER_COLUMNS = (
    "no column is called text or the like; it has 'words', 'label'.*text=… in Python, --text in"
)
TWO_COLUMNS = frame(columns=("label", "Class")).assign(text="z")
ONE_CLASS = frame([(f"{i}", "love" if i < 20 else "more" * 50) for i in range(24)])
REFUSED = [  # a file's name and content, or what else is given, and what must be said
    (("a.csv", b""), "is empty"),
    (("a.csv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), "a.csv is of another kind, such as"),
    (("a.tsv", b"\xef\xbb\xbf\n<!DOCTYPE html><html>\nhi\n"), "a.tsv is a web page, not a table"),
    (("a.parquet", b"version https://git-lfs.github.com/spec/v1\n"), "Git LFS's pointer to the"),
    (("a.csv", b'text,label\r\n"a\r\n\r\na",b\r\n\r\nc,d,e\r\n'), "line 6: the row has 3 cells, the first line 2; .*comma"),
    (("a.xlsx", b"PK"), "the ending '.xlsx'; a table of texts ends in .csv, .tsv"),
    (("a.jsonl", b'{"text": "a", "label": "b"}\n{"text"\n'), "line 2: .* is no JSON object"),
    (("a.jsonl", b'\n{"text": ["a"], "label": 1}\n'), "'text' holds a list"),
    (with_cell((1, 2)), "the column 'text' holds a tuple, where one text should be"),
    (with_cell(torch.ones(2)), "the column 'text' holds a Tensor"),
    (("a.parquet", b"hello"), "a.parquet can't be read as a Parquet file: "),
    (("a.csv", csv(head="words,label").encode()), OTHER_COLUMNS),
    (TWO_COLUMNS, "2 columns may hold the labels; it has 'label', 'Class', 'text'.*--label in"),
    (ONE_CLASS, r"two classes with 8 .* has 'love', .*: 'moremore.*\.\.\..*more'"),
    (("a.tsv", SMS_MINI.read_bytes()), "first line of a file must hold"),
    (".", "is a folder"),
    ("no.csv", "no.csv does not exist"),
    ([("a", "b")], "from the path of a file or a DataFrame, not from a list"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "pattern"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_no_table_of_texts_is_refused_in_a_sentence(source, pattern, tmp_path):
    if isinstance(source, tuple):
        source = written(tmp_path, *source)
    with pytest.raises((ValueError, OSError, TypeError)) as caught:
        read_texts(source)
    message, others = (
        str(caught.value),
        {".": OSError, "no.csv": OSError, "[('a', 'b')]": TypeError},
    )
    assert isinstance(caught.value, others.get(str(source), ValueError))
    assert re.search(pattern, message), message
    assert "\n" not in message and len(message) < 500


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_lines_of_a_stream_come_out_as_they_are_in_each_encoding(encoding):
    stream = io.BufferedReader(io.BytesIO("see you\r\n\ncafé".encode(encoding)))
    assert list(read_lines(stream)) == [["see you", ""], ["café"]]


def test_lines_that_are_not_there_or_no_text_are_refused(tmp_path):
    without_mark = io.BufferedReader(io.BytesIO("see you\n".encode("utf-16-le")))
    with pytest.raises(ValueError, match="standard input is of another kind"):
        list(read_lines(without_mark))
    with pytest.raises(FileNotFoundError, match="no.txt does not exist or is a folder"):
        list(read_pieces(tmp_path / "no.txt", []))
    with pytest.raises(ValueError, match="is a web page"):
        list(read_pieces(written(tmp_path, "a.txt", "<html>\nhi\n"), []))
