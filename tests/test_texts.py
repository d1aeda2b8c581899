"""A reader's own table: whatever file it is, each row is in the table or counted in the report, and
what is no such table is refused in a sentence.
"""

import json
import os
import random
import re
import subprocess
import sys
from collections import Counter

import numpy as np
import pandas as pd
import pyarrow
import pytest
from pyarrow import parquet

from helpers.data import SMS_MINI, TextDataset
from helpers.tokenizer import get_tokenizer
from tests.conftest import ROOT
from workshop.texts import PIECE, encoding_of, read_texts, split_stratified, undersample

CLASSES = ("money", "love", "work")
GOOD = [(f"text {i} of {name}, or so", name) for i in range(8) for name in CLASSES]


def csv(rows=GOOD, head="text,label", mark=",", end="\n") -> str:
    quoted = [mark.join(f'"{str(cell).replace(chr(34), chr(34) * 2)}"' for cell in r) for r in rows]
    return end.join([head.replace(",", mark), *quoted, ""])


def said(table, words: str) -> str:
    """Return the report's one sentence with these words."""
    found = [sentence for sentence in table.report if re.search(words, sentence)]
    assert len(found) == 1, table.report
    return found[0]


def pairs(table) -> list[tuple[str, str]]:
    frame = table.frame
    return [(t, table.labels[n]) for t, n in zip(frame["Text"], frame["Label"], strict=True)]


def frame(rows=GOOD, columns=("text", "label")) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=columns)


# --- every kind of file -------------------------------------------------------------------------


def written(folder, name: str, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def as_parquet(folder, table: pd.DataFrame, name="a.parquet"):
    parquet.write_table(pyarrow.Table.from_pandas(table), folder / name)
    return folder / name


JSON_LINES = "".join(json.dumps({"text": t, "label": c}) + "\n" for t, c in GOOD)
FILES = {
    "a.csv": csv(),
    "b.CSV": csv(),
    "c.tsv": csv(mark="\t"),
    "d.txt": csv(mark="\t"),
    "e.jsonl": JSON_LINES,
    "f.ndjson": JSON_LINES.replace("\n", "\r\n\r\n"),
    "mark.csv": b"\xef\xbb\xbf" + csv().encode(),
    "mark.jsonl": b"\xef\xbb\xbf" + JSON_LINES.encode(),
    "sixteen.csv": csv().encode("utf-16"),
    "big end.csv": b"\xfe\xff" + csv().encode("utf-16-be"),
    "sixteen.jsonl": JSON_LINES.encode("utf-16"),
    "windows.csv": csv(end="\r\n"),
    "old mac.csv": csv(end="\r"),
    "old mac.jsonl": JSON_LINES.replace("\n", "\r"),
    "no last end.csv": csv().rstrip(),
    "blank lines.csv": csv().replace("\n", "\n\n"),
}


@pytest.mark.parametrize("name", FILES)
def test_the_same_table_comes_out_of_each_kind_of_file(name, tmp_path):
    table = read_texts(written(tmp_path, name, FILES[name]))
    assert pairs(table) == GOOD and table.labels == ("love", "money", "work")
    assert table.source == name and table.frame["Label"].dtype == np.int64
    assert len(table.report) == 2
    assert table.report[0].startswith(
        f"24 rows read from {name}, with texts from 'text' and labels"
    )
    assert "24 texts in 3 classes: 'money' 8, 'love' 8, 'work' 8" in table.report[1]


def test_the_same_table_comes_out_of_parquet_and_of_dataframes(tmp_path):
    kinds = {"label": "category"}
    for table in (frame(), frame().astype(kinds), frame().astype("string"), frame().astype(object)):
        table.index = [7] * len(table)
        assert pairs(read_texts(table)) == pairs(read_texts(as_parquet(tmp_path, table))) == GOOD
    assert read_texts(frame()).source == "a DataFrame"
    assert read_texts(str(tmp_path / "a.parquet")).source == "a.parquet"
    dots = frame(columns=("a.b", "Class"))
    assert pairs(read_texts(as_parquet(tmp_path, dots), text="a.b")) == GOOD


def test_a_dataset_takes_the_table_as_it_is():
    table = read_texts(frame())
    data = TextDataset(table.frame, get_tokenizer(), num_classes=len(table.labels))
    assert len(data) == 24 and data.num_classes == 3
    assert [table.labels[n] for n in data.labels] == [name for _, name in GOOD]


def test_a_file_in_cp1252_is_read_and_the_report_says_so(tmp_path):
    accented = [(f"café “{text}” €5", name) for text, name in GOOD]
    for name, content in (
        ("a.csv", csv(accented)),
        ("a.jsonl", "".join(json.dumps({"text": t, "label": c}, ensure_ascii=False) + "\n" for t, c in accented)),
    ):  # fmt: skip
        table = read_texts(written(tmp_path, name, content.encode("cp1252")))
        assert pairs(table) == accented
        assert "was read as cp1252" in said(table, "not UTF-8")
    table = read_texts(written(tmp_path, "b.csv", csv(accented)))
    assert pairs(table) == accented and "cp1252" not in " ".join(table.report)


def test_semicolons_and_tabs_in_a_csv_file_are_seen_and_said(tmp_path):
    for mark, name in ((";", "semicolons"), ("\t", "tabs")):
        table = read_texts(written(tmp_path, "a.csv", csv(mark=mark)))
        assert pairs(table) == GOOD and said(table, f"separated by {name}")


STRANGE = [
    '=HYPERLINK("http://a.example")', '"quoted"', 'a "b" c', "a,b;c\td", "two\nlines", "two\r\nlines",
    "🎉 and 👩‍👩‍👧", "عربى", "\u2028 in between", "NA", "null", "None", "nan", "-", "'", "\\", "#no comment",
    "  space around  ", "1e5", "007", "<|endoftext|>", "\ufefftext",
]  # fmt: skip


def test_strange_texts_come_out_as_they_are(tmp_path):
    rows = [(text, "a") for text in STRANGE] + [(f"text {i}", "None") for i in range(8)]
    lines = "".join(json.dumps({"text": t, "label": c}) + "\n" for t, c in rows)
    for source in (
        written(tmp_path, "a.csv", csv(rows)),
        written(tmp_path, "a.tsv", csv(rows, mark="\t")),
        written(tmp_path, "a.jsonl", lines),
        as_parquet(tmp_path, frame(rows)),
        frame(rows),
    ):
        table = read_texts(source)
        assert pairs(table) == rows and table.labels == ("None", "a")


def test_a_byte_0_inside_json_is_a_character_and_half_an_emoji_a_mark(tmp_path):
    rows = [("a\0b", "x"), ("cut \ud83d", "x"), *GOOD, *((f"{i}", "x") for i in range(8))]
    lines = "".join(json.dumps({"text": t, "label": c}) + "\n" for t, c in rows)
    table = read_texts(written(tmp_path, "a.jsonl", lines))
    assert pairs(table)[:2] == [("a\0b", "x"), ("cut \ufffd", "x")]
    assert said(table, "half a character") == "1 text holds half a character, read as \ufffd."
    table.frame.to_csv(tmp_path / "b.csv")  # what comes after can write it


def test_an_encoding_is_known_whatever_lies_where_two_pieces_meet(tmp_path):
    for shift in range(4):
        text = "x" * (PIECE - shift) + "é🎉\r\n" * 3
        assert encoding_of(written(tmp_path, "a.csv", text)) == "utf-8"
    bad = "y\r\n" * PIECE + "é"
    assert encoding_of(written(tmp_path, "a.csv", bad.encode("cp1252"))) == "cp1252"
    with pytest.raises(ValueError, match=f"line {PIECE + 1}: the byte 0x81 is neither UTF-8 nor"):
        encoding_of(written(tmp_path, "a.csv", bad.encode("cp1252") + b"\x81"))


# --- columns ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "asked", "found"),
    [
        (("Message", "CATEGORY", "id"), {}, ("Message", "CATEGORY")),
        (("id", "topic", "Review "), {}, ("Review ", "topic")),
        (("label", "sentence", "x"), {}, ("sentence", "label")),
        (("title", "text", "label"), {"text": "title"}, ("title", "label")),
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


COLUMNS = {
    "no text": (("words", "label"), {}, r"no column is called text .*'words', 'label'. Name .*text=…"),
    "no label": (("text", "kind"), {}, r"no column is called label .*'text', 'kind'. Name .*label=…"),
    "one column": (("text",), {}, "no column is called label"),
    "two for the text": (("text", "body", "label"), {}, "the texts may be in 'text', 'body'; name .*text=…"),
    "two for the label": (("text", "class", "topic"), {}, "the labels may be in 'class', 'topic'"),
    "a typo": (("text", "label"), {"text": "txet"}, "no column 'txet'; it has 'text', 'label'"),
    "a number": (("text", "label"), {"label": 1}, "no column 1"),
    "one for both": (("text", "label"), {"label": "text"}, "the same column, 'text'; name two"),
    "two of one name": (("text", "text", "label"), {}, "2 columns called 'text'; give each its own"),
    "two labels of one name": (("text", "Label", "Label"), {"label": "label"}, "2 columns called 'Label'"),
    "two of one name, asked": (("text", "a", "a"), {"label": "a"}, "2 columns called 'a'"),
    "very many": (("text", *map(str, range(99))), {}, "'8' and 90 more"),
}  # fmt: skip


@pytest.mark.parametrize("what", COLUMNS)
def test_where_the_columns_are_not_clear_the_candidates_are_listed(what, tmp_path):
    columns, asked, says = COLUMNS[what]
    rows = [["z"] * len(columns)] * 9
    path = written(tmp_path, "a.csv", csv(rows, ",".join(columns)))
    for source in (path, pd.DataFrame(rows, columns=list(columns))):
        with pytest.raises(ValueError, match=says):
            read_texts(source, **asked)


def test_two_columns_of_one_name_that_nobody_asks_for_do_no_harm(tmp_path):
    rows = [(*row, "", "") for row in GOOD]
    assert pairs(read_texts(written(tmp_path, "a.csv", csv(rows, "text,label,,")))) == GOOD


# --- labels -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([1, 2], ("1", "2")),
        ([1.0, 2.0], ("1", "2")),
        ([1.5, 2.0], ("1.5", "2")),
        ([np.int8(1), np.float32(3)], ("1", "3")),
        ([True, False], ("False", "True")),
        (["1.0", "2."], ("1", "2")),
        (["1.0", "1.1"], ("1.0", "1.1")),
        (["007", "7"], ("007", "7")),
        ([pd.Timestamp("2020-01-01"), "x"], ("2020-01-01 00:00:00", "x")),
    ],
)
def test_numbers_and_truth_values_are_labels_like_words(labels, names, tmp_path):
    rows = [(f"text {i}", labels[i % 2]) for i in range(16)]
    assert read_texts(frame(rows)).labels == names
    assert read_texts(frame(rows).astype({"label": object})).labels == names


def test_numbers_that_a_missing_label_made_fractions_are_whole_again(tmp_path):
    table = frame([(f"text {i}", 1 + i % 2) for i in range(16)] + [("one more", None)])
    path = tmp_path / "a.csv"
    table.to_csv(path, index=False)
    assert "1.0\n" in path.read_text()
    read = read_texts(path)
    assert read.labels == ("1", "2")
    assert "16 labels are whole numbers with a decimal point and read without it" in said(
        read, "decimal"
    )
    assert read_texts(table).labels == read_texts(as_parquet(tmp_path, table)).labels == ("1", "2")


def test_labels_that_differ_in_case_or_outer_spaces_are_one_class():
    rows = [*((f"a {i}", "spam") for i in range(9)), ("b", "Spam"), ("c", " spam "), ("d", "Spam")]
    table = read_texts(frame(rows + [(f"e {i}", "Straße") for i in range(8)] + [("f", "STRASSE")]))
    assert table.labels == ("Straße", "spam")
    assert said(table, "spelling") == (
        "4 labels in other case or with outer spaces are read in the class's most frequent spelling: "
        "'Spam' as 'spam' (2), ' spam ' as 'spam' (1), 'STRASSE' as 'Straße' (1)."
    )
    one = read_texts(frame([*GOOD, ("more", "Work")]))
    assert said(one, "spelling").startswith("1 label in other case or with outer spaces is read")
    every = read_texts(frame([(text, " " + name) for text, name in GOOD]))
    assert every.labels == ("love", "money", "work") and "24 labels" in said(every, "spelling")


def test_many_spellings_are_named_up_to_ten():
    rows = [
        (f"{i} {name}", name.title() if i else name) for i in range(9) for name in "abcdefghijklm"
    ]
    sentence = said(read_texts(frame(rows)), "spelling")
    assert sentence.count(" as ") == 10 and sentence.endswith(" and 3 more.")


# --- what is set aside, and what is said of the rest ----------------------------------------------------


def test_rows_without_text_or_label_are_set_aside_and_counted(tmp_path):
    rows = [*GOOD, ("", "love"), (" \t ", "work"), ("no label", ""), ("", "")]
    for source in (written(tmp_path, "a.csv", csv(rows)), frame(rows)):
        table = read_texts(source)
        assert pairs(table) == GOOD and "28 rows read" in table.report[0]
        assert said(table, "no text") == "3 rows have no text and are set aside."
        assert said(table, "no label") == "1 row has a text but no label and is set aside."
    for nothing in (None, np.nan, pd.NA, pd.NaT):
        table = read_texts(frame([*GOOD, (nothing, "love"), ("a", nothing), ("b", nothing)]))
        assert pairs(table) == GOOD
        assert said(table, "no text") == "1 row has no text and is set aside."
        assert said(table, "no label") == "2 rows have a text but no label and are set aside."
    short = read_texts(written(tmp_path, "b.csv", csv() + "the label lacks\n"))
    assert said(short, "no label").startswith("1 row")
    lines = written(tmp_path, "b.jsonl", JSON_LINES + '{"text": "a"}\n{"label": null}\n')
    assert len(read_texts(lines).frame) == 24 and said(read_texts(lines), "1 row has no text")


def test_classes_with_fewer_than_eight_different_texts_are_set_aside_and_named():
    few = [*((f"few {i}", "few") for i in range(7)), ("FEW  1", "few"), ("few 2 ", "few")]
    table = read_texts(frame(GOOD + few))
    assert pairs(table) == GOOD
    assert said(table, "set aside") == (
        "1 class has fewer than 8 different texts and is set aside with 9 rows: 'few'."
    )
    assert "few" in read_texts(frame([*GOOD, *few, ("an eighth", "few")])).labels
    many = read_texts(frame(GOOD + [(f"t {i}", f"c{i:02}") for i in range(15)]))
    assert said(many, "set aside").endswith(
        "are set aside with 15 rows: 'c00', 'c01', 'c02', 'c03', 'c04', 'c05', 'c06', 'c07', 'c08', "
        "'c09' and 5 more."
    )


def test_texts_that_repeat_and_labels_that_contradict_are_counted_and_stay():
    table = read_texts(frame([*GOOD, ("Text 0  of MONEY, or so\n", "money")]))
    assert len(table.frame) == 25
    assert said(table, "repeat") == (
        "1 text repeats an earlier one, but for case and white space; it stays in."
    )
    more = [(GOOD[0][0], "love"), (GOOD[0][0].upper(), "work"), (GOOD[1][0], "money")]
    table = read_texts(frame(GOOD + more))
    assert said(table, "repeat").startswith("3 texts repeat an earlier one")
    assert said(table, "under more than") == (
        "2 texts stand under more than one label, such as 'text 0 of money, or so'; they stay in."
    )


def test_texts_beyond_the_context_are_counted_in_tokens_not_characters():
    rows = [("word " * 1023, "love"), ("word " * 1200, "love"), ("🎉" * 600, "love"), *GOOD]
    table = read_texts(frame(rows))
    tokens = [len(get_tokenizer().encode_ordinary(text)) for text, _ in rows[:3]]
    assert tokens[0] <= 1024 < min(tokens[1:])
    assert said(table, "1,024") == (
        "2 texts are longer than the 1,024 tokens that GPT-2 reads; their end will be cut off."
    )
    assert "1 text is longer" in said(read_texts(frame([rows[2], *GOOD])), "1,024")


def test_a_thousand_classes_of_eight_texts_each_are_read():
    table = read_texts(
        frame([(f"{i} of {c}", f"class {c:04}") for i in range(8) for c in range(1000)])
    )
    assert len(table.labels) == 1000 and len(table.frame) == 8000
    assert "8,000 texts in 1,000 classes: " in table.report[-1] and "990 more" in table.report[-1]


def number_in(table, words: str) -> int:
    found = [re.search(words, sentence) for sentence in table.report]
    return sum(int(match[1].replace(",", "")) for match in found if match)


@pytest.mark.parametrize("seed", range(20))
def test_every_row_of_a_random_table_is_in_it_or_counted(seed, tmp_path):
    chance = random.Random(seed)
    texts = [
        *STRANGE,
        "",
        " ",
        *(f"word {i}" for i in range(40)),
        *(f"WORD  {i} " for i in range(40)),
    ]
    labels = ["a", "A", " a", "b", "b", "c", "", "rare", "Rare "]
    weights = [chance.random() for _ in labels]
    rows = [
        (chance.choice(texts), chance.choices(labels, weights)[0])
        for _ in range(chance.randint(150, 400))
    ]
    rows += [(f"{i}", name) for i in range(8) for name in "ab"]
    table = read_texts(written(tmp_path, "a.csv", csv(rows, end=chance.choice(["\n", "\r\n"]))))
    assert pairs(table) == pairs(read_texts(frame(rows)))
    read = number_in(table, r"^([\d,]+) rows? read")
    aside = (
        number_in(table, r"^([\d,]+) rows? (?:has|have) no text")
        + number_in(table, r"^([\d,]+) rows? (?:has|have) a text but no label")
        + number_in(table, r"set aside with ([\d,]+) row")
    )
    assert read == len(rows) and aside == len(rows) - len(table.frame)
    left, there = Counter(rows), Counter(text for text, _ in pairs(table))
    known = Counter()
    for (text, label), number in left.items():
        if text.strip() and label.strip().lower() in {name.lower() for name in table.labels}:
            known[text] += number
    assert there == known
    assert table.labels == tuple(sorted(table.labels))


# --- refusals -----------------------------------------------------------------------------------------

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"


def rows_in_csv(rows) -> bytes:
    return csv(rows).encode()


REFUSED = {  # a file's name, its bytes, and what must be said
    "empty": ("a.csv", b"", "is empty"),
    "a mark alone": ("a.csv", b"\xef\xbb\xbf", "is empty"),
    "a mark alone in UTF-16": ("a.csv", b"\xff\xfe", "is empty"),
    "blank lines": ("a.csv", b"\n\n\r\n", "is empty"),
    "no rows": ("a.csv", b"text,label\n", "a.csv has no rows"),
    "empty JSON lines": ("a.jsonl", b"\n \n", "is empty"),
    "empty Parquet": ("a.parquet", b"", "is empty"),
    # no text, or in no encoding
    "an image": ("a.csv", PNG, "line 3: there is a byte 0, .*a file of another kind"),
    "an image by another name": ("a.jsonl", PNG, "line 3: there is a byte 0"),
    "an image as Parquet": ("a.parquet", PNG, "no whole Parquet file"),
    "UTF-16 without its mark": ("a.csv", csv().encode("utf-16-le"), "line 1: .*needs its mark"),
    "a byte 0 in a cell": ("a.csv", b"text,label\na,b\nc\0,d\n", "line 3: there is a byte 0"),
    "a byte 0 in UTF-16": (
        "a.csv", "text,label\na\0,b\n".encode("utf-16"), "line 2: there is a byte 0",
    ),
    "half of UTF-16": ("a.csv", csv().encode("utf-16") + b"\0\xd8a", "line 26: .*not UTF-16"),
    "no encoding at all": (
        "a.csv", b"text,label\r\na,b\rc\x81,d\n", "line 3: the byte 0x81 is neither UTF-8 nor cp1252",
    ),
    "damaged UTF-8": (
        "a.csv", "text,label\né,ü\nö,".encode() + b"\xe9,\n",
        "line 3: the byte 0xE9 is not UTF-8, which the file is otherwise",
    ),
    "a mark, then cp1252": (
        "a.csv", b"\xef\xbb\xbftext,label\n\xe9,a\n", "line 2: the byte 0xE9 is not UTF-8",
    ),
    # rows that do not fit
    "a long row": (
        "a.csv", b"text,label\na,b\nc,d,e\n", "line 3: the row has 3 cells, the first line 2; .*comma",
    ),
    "a long first row": ("a.csv", b"text,label\na,b,c\n", "line 2: the row has 3 cells"),
    "all rows long": ("a.csv", b"text,label\na,b,\nc,d,\n", "line 2: the row has 3 cells"),
    "a long row below one of three lines": (
        "a.csv", b'text,label\r\n"a\r\n\r\na",b\r\n\r\nc,d,e\r\n', "line 6: the row has 3 cells",
    ),
    "a long row after a short one": ("a.csv", b"text,label\na\nc,d,e\n", "line 3: the row has 3"),
    "a long row of TSV": ("a.tsv", b"text\tlabel\na\tb\tc\n", "line 2: .* 3 cells, .*holds a tab in"),
    "an open quotation mark": (
        "a.csv", b'text,label\na,b\nc,"d\ne,f\n', "the row that begins in line 3 is never closed",
    ),
    "an open mark before very much": (
        "a.csv", b'text,label\n"' + b"a,b\n" * 50_000, "begins in line 2 is never closed",
    ),
    # files of other kinds
    "lines without labels": (
        "a.txt", b"hi there\nso long\n", "no tab in its first line, so it is no table",
    ),
    "another ending": ("a.xlsx", b"PK", "the ending '.xlsx'; a table of texts ends in .csv, .tsv"),
    "a packed file": ("a.csv.gz", b"\x1f\x8b", "the ending '.gz'"),
    "no ending": ("table", b"text,label\n", "the ending ''"),
    "no JSON": (
        "a.jsonl", b'{"text": "a", "label": "b"}\n{"text"\n', "line 2: this is no JSON",
    ),
    "a list in JSON": ("a.jsonl", b'\n["a", "b"]\n', r"line 2: \['a', 'b'\] is no JSON object"),
    "brackets without end": ("a.jsonl", b"[" * 100_000, "line 1: "),
    "a JSON value that is a list": (
        "a.jsonl", b'{"text": ["a"], "label": 1}\n', "row 1: 'text' holds a list",
    ),
    "two JSON values of one name": (
        "a.jsonl", b'{"text": "a", "label": 1}\n{"text": "a", "text": "b", "label": 1}\n',
        "line 2: there are two values called 'text'",
    ),
    # no classes to learn
    "one class": ("a.csv", rows_in_csv([(t, "ham") for t, _ in GOOD]), "every label is 'ham'"),
    "no class with enough": ("a.csv", rows_in_csv(GOOD[:12]), "no class with 8 different texts"),
    "one class with enough": (
        "a.csv", rows_in_csv([(f"{i}", "love" if i < 20 else "more") for i in range(24)]),
        "one class with 8 different texts or more, 'love'",
    ),
    "eight times one text": (
        "a.csv", rows_in_csv([("a", "b"), ("c", "d")] * 8), "no class with 8 different",
    ),
    "nothing but gaps": (
        "a.csv", rows_in_csv([("", "a"), ("b", "")]), "no row with both a text and a label",
    ),
    "an id for a label": (
        "a.csv", rows_in_csv([(f"text {i}", f"id-{i}") for i in range(40)]),
        "'label' has 40 different values in 40 rows, .*an id",
    ),
    "a first line that is a row": ("a.tsv", SMS_MINI.read_bytes(), "no column is called text"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_table_of_texts_is_refused_in_a_sentence(what, tmp_path):
    name, content, says = REFUSED[what]
    with pytest.raises(ValueError) as caught:
        read_texts(written(tmp_path, name, content))
    assert re.search(says, str(caught.value)), str(caught.value)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_one_class_in_two_spellings_is_one_class_only():
    with pytest.raises(ValueError, match="one class only: every label is 'ham'"):
        read_texts(frame([(text, "ham" if i else "Ham") for i, (text, _) in enumerate(GOOD)]))


def test_what_is_no_file_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match="no.csv does not exist; is the name right"):
        read_texts(tmp_path / "no.csv")
    with pytest.raises(IsADirectoryError, match="is a folder; give the path of one file"):
        read_texts(tmp_path)
    for address in ("https://example.com/a.csv", "s3://a/b.csv"):
        with pytest.raises(ValueError, match="is an address; download the file first"):
            read_texts(address)
    for thing in (5, None, [("a", "b")], b"a.csv"):
        with pytest.raises(
            TypeError, match="path_or_frame must be a file's path or a pandas DataFrame"
        ):
            read_texts(thing)
    with pytest.raises(ValueError, match="the DataFrame is empty"):
        read_texts(pd.DataFrame())
    with pytest.raises(ValueError, match="the DataFrame has no rows"):
        read_texts(frame([]))
    with pytest.raises(ValueError, match="the DataFrame, row 2: 'text' holds a bytes"):
        read_texts(frame([("a", "b"), (b"a", "b")]))


def test_a_parquet_file_that_is_cut_or_changed_is_refused(tmp_path):
    content = as_parquet(tmp_path, frame(GOOD * 20)).read_bytes()
    chance = random.Random(1)
    for _ in range(60):
        damaged = bytearray(
            content[: chance.choice([len(content), chance.randrange(1, len(content))])]
        )
        for _ in range(20):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            read_texts(written(tmp_path, "b.parquet", bytes(damaged)))
        except (ValueError, OSError) as error:
            assert "\n" not in str(error)


def test_a_file_that_no_one_may_read_is_refused(tmp_path):
    path = written(tmp_path, "a.csv", csv())
    path.chmod(0)
    try:
        path.open().close()
    except PermissionError:
        with pytest.raises(PermissionError, match="a.csv can't be read .*denied"):
            read_texts(path)
    else:
        pytest.skip("this user may read every file")


COLAB = ROOT / ".overlays" / "colab"


@pytest.mark.skipif(
    not (COLAB / "installed").exists(), reason="`make test` first installs pandas 2.2 there"
)
def test_the_same_table_comes_out_with_colabs_pandas(tmp_path):
    paths = [written(tmp_path, "a.csv", csv([*GOOD, ("", "love"), ("NA", "Love")]))]
    paths.append(as_parquet(tmp_path, frame()))
    code = (
        "import json, sys, pandas; from helpers.data import read_texts, split_stratified, undersample\n"
        "tables = [read_texts(path) for path in sys.argv[1:]]; parts = split_stratified(tables[0])\n"
        "lists = [(t.frame.values.tolist(), t.labels, t.report) for t in tables]\n"
        "drawn = undersample(parts.train).values.tolist()\n"
        "print(json.dumps([pandas.__version__, lists, parts.test.values.tolist(), drawn]))"
    )
    environment = {**os.environ, "PYTHONPATH": f"{COLAB}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-c", code, *map(str, paths)]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-1000:]
    version, *theirs = json.loads(run.stdout)
    tables = [read_texts(path) for path in paths]
    parts = split_stratified(tables[0])
    lists = [(t.frame.values.tolist(), t.labels, t.report) for t in tables]
    ours = [lists, parts.test.values.tolist(), undersample(parts.train).values.tolist()]
    assert version.startswith("2.2") and theirs == json.loads(json.dumps(ours))
