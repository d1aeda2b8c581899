"""A reader's own table: each row is in it or counted in the report; what is no table is refused."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import torch

from helpers.data import SMS_MINI
from workshop.texts import LONGEST_TEXT, read_texts

CLASSES = ("money", "love", "work")
GOOD = [(f"text {i} of {name}, or so", name) for i in range(8) for name in CLASSES]


def csv(rows=GOOD, head="text,label", mark=",", end="\n") -> str:
    quoted = [mark.join(f'"{str(cell).replace(chr(34), chr(34) * 2)}"' for cell in r) for r in rows]
    return end.join([head.replace(",", mark), *quoted, ""])


def json_lines(rows=GOOD, **options) -> str:
    return "".join(json.dumps({"text": t, "label": c}, **options) + "\n" for t, c in rows)


def frame(rows=GOOD, columns=("text", "label")) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=columns)


def written(folder, name: str, content):
    path = folder / name
    if isinstance(content, pd.DataFrame):
        content.to_parquet(path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def sentence(table, pattern: str) -> str:
    """Return the report's one sentence with this pattern."""
    found = [sentence for sentence in table.report if re.search(pattern, sentence)]
    assert len(found) == 1, table.report
    return found[0]


def pairs(table) -> list[tuple[str, str]]:
    frame = table.frame
    return [(t, table.labels[n]) for t, n in zip(frame["Text"], frame["Label"], strict=True)]


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
ODD_MARKS = ("semicolons.csv", "tabs.csv")


@pytest.mark.parametrize("name", FILES)
def test_the_same_table_comes_out_of_each_kind_of_file(name, tmp_path):
    table = read_texts(written(tmp_path, name, FILES[name]))
    assert pairs(table) == GOOD and table.labels == ("love", "money", "work")
    assert table.source == name and table.frame["Label"].dtype == np.int64
    separated = [f"The columns are separated by {name[:-4]}."] if name in ODD_MARKS else []
    assert table.report == (
        f"24 rows read from {name}, with texts from 'text' and labels from 'label'.",
        *separated,
        "The table holds 24 texts in 3 classes: 'money' 8, 'love' 8, 'work' 8.",
    )


def test_the_same_table_comes_out_of_dataframes_of_all_types():
    for table in (frame(), frame().astype({"label": "category"}), frame().astype("string")):
        table.index = [7] * len(table)
        assert pairs(read_texts(table)) == GOOD
    assert read_texts(frame()).source == "the DataFrame"


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
    table = frame().astype(object)
    table.at[3, "text"] = cell
    return table


REFUSED = {  # a file's name and content, or what else is given, and what must be said
    "empty": (("a.csv", b""), "is empty"),
    "an image": (("a.csv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), "a file of another kind"),
    "a web page": (("a.tsv", b"\n<!DOCTYPE html><html>\nhi\n"), "it has '<!DOCTYPE html><html>'"),
    "a long row below one of three lines": (
        ("a.csv", b'text,label\r\n"a\r\n\r\na",b\r\n\r\nc,d,e\r\n'),
        "line 6: the row has 3 cells, the first line 2; .*comma",
    ),
    "another ending": (("a.xlsx", b"PK"), "the ending '.xlsx'; a table of texts ends in .csv, .tsv"),
    "no JSON": (("a.jsonl", b'{"text": "a", "label": "b"}\n{"text"\n'), "line 2: .* is no JSON object"),
    "brackets without end": (("a.jsonl", b"[" * 100_000), r"line 1: '\[\[\[.* is no JSON object"),
    "a JSON value that is a list": (("a.jsonl", b'\n{"text": ["a"], "label": 1}\n'), "'text' holds a list"),
    "a tuple": (with_cell((1, 2)), "the column 'text' holds a tuple, where one text should be"),
    "a tensor": (with_cell(torch.ones(2)), "the column 'text' holds a Tensor"),
    "no Parquet": (("a.parquet", b"hello"), "a.parquet can't be read as a Parquet file: "),
    "no column of texts": (
        ("a.csv", csv(head="words,label").encode()),
        "no column is called text or the like; it has 'words', 'label'.*text=… in Python, --text in",
    ),
    "two columns of labels": (
        frame(columns=("label", "Class")).assign(text="z"),
        "2 columns may hold the labels; it has 'label', 'Class', 'text'.*--label in",
    ),
    "one class with enough": (
        frame([(f"{i}", "love" if i < 20 else "more" * 50) for i in range(24)]),
        r"two classes with 8 .* has 'love', .*: 'moremore.*\.\.\..*more'",
    ),
    "the chapter's own format": (("a.tsv", SMS_MINI.read_bytes()), "first line of a file must hold"),
    "a folder": (".", "is a folder"),
    "nothing": ("no.csv", "no.csv does not exist"),
    "a list": ([("a", "b")], "from the path of a file or a DataFrame, not from a list"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_table_of_texts_is_refused_in_a_sentence(case, tmp_path):
    source, pattern = REFUSED[case]
    if isinstance(source, tuple):
        source = written(tmp_path, *source)
    with pytest.raises((ValueError, OSError, TypeError)) as caught:
        read_texts(source)
    message, others = (
        str(caught.value),
        {"a folder": OSError, "nothing": OSError, "a list": TypeError},
    )
    assert isinstance(caught.value, others.get(case, ValueError))
    assert re.search(pattern, message), message
    assert "\n" not in message and len(message) < 500
