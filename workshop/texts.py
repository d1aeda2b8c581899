"""A reader's own table: texts with labels of any classes, read, put in order, reported on, split.

A table is a CSV, TSV, JSON lines (https://jsonlines.org, one object a line) or Parquet file. Nothing
is dropped or changed without a sentence in the report that says how many rows it concerns.
"""

import codecs
import csv
import json
import re
import reprlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd

from helpers.config import BASE_CONFIG
from helpers.tokenizer import get_tokenizer

KINDS = {
    ".csv": "CSV", ".tsv": "TSV", ".txt": "TSV", ".jsonl": "JSON lines", ".ndjson": "JSON lines",
    ".parquet": "Parquet",
}  # fmt: skip
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
TEXT_NAMES = (
    "text", "texts", "message", "messages", "sms", "body", "content", "review", "sentence",
    "comment", "tweet", "post", "question", "utterance", "description", "document",
)  # fmt: skip
LABEL_NAMES = (
    "label", "labels", "class", "classes", "category", "topic", "theme", "target", "sentiment",
    "intent", "genre", "tag", "label_text", "label_name",
)  # fmt: skip
FEWEST_TEXTS = 8  # different ones of a class: below, its three parts would hold next to nothing
MOST_LABELS = 0.9  # of the rows; above, the labels look like an id
# characters: 1,024 tokens of at most 128 bytes are fewer, and tiktoken fails on a million spaces
LONGEST_TEXT = 2**18
PIECE_ROWS = 1_000  # texts of a large file that are in memory together
FRACTIONS = (0.7, 0.1, 0.2)  # to train, validate and test with, as in the book's section 6.2
MARKS_OF_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
BYTE_0 = (
    "there is a byte 0, which no text holds; is it a file of another kind? "
    "A text in UTF-16 needs its mark (BOM) at the beginning"
)


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """Return "1 text", "2,000 texts"."""
    return f"{number:,} {singular if number == 1 else plural or f'{singular}s'}"


def first_ten(phrases: Sequence[str]) -> str:
    """Return at most ten phrases, and how many more there are."""
    more = f" and {len(phrases) - 10:,} more" if len(phrases) > 10 else ""
    return f"{', '.join(phrases[:10])}{more}"


def listed(names: Iterable) -> str:
    """Return at most ten names, each in quotation marks and shortened, and how many more there are."""
    return first_ten([reprlib.repr(name) for name in names]) or "none"


# --- files ----------------------------------------------------------------------------------------


def read_table(
    path: str | Path, report: list[str], rows: int | None = None
) -> Iterator[pd.DataFrame]:
    """Yield a file's rows as tables, `rows` at a time (None: all), with the cells as they are.

    The index is the line where a row begins, in Parquet the row's number. Sentences on how the file
    was read are added to `report`. Raises OSError for a file that can't be opened, ValueError, with
    the line, for what is no table.
    """
    if re.match(r"[a-z][a-z0-9+.-]+:/", str(path), re.IGNORECASE):  # one letter is Windows' drive
        raise ValueError(f"{path} is an address; download the file first, then give its path")
    path = Path(path)
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"{path} {problem}; give the path of a file")
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        raise ValueError(
            f"{path} has the ending {path.suffix!r}; a table of texts ends in {', '.join(KINDS)}"
        )
    names = None
    if kind == "Parquet":
        found = _parquet_rows(path)
    else:
        encoding = encoding_of(path)
        if encoding == "cp1252":
            report.append(
                "The file is not UTF-8 and was read as cp1252 (Windows, Western Europe): "
                "look whether the letters with accents are right."
            )
        if kind == "JSON lines":
            found = _json_rows(path, encoding)
        else:
            found = _csv_rows(path, encoding, report)
            _, names = next(found)
    while True:
        piece = list(islice(found, rows))
        lines, cells = [line for line, _ in piece], [row for _, row in piece]
        yield pd.DataFrame(cells, index=lines, columns=names, dtype=object)
        if rows is None or len(piece) < rows:
            return


def encoding_of(path: Path) -> str:
    """Return Python's name for a file's encoding: "utf-8-sig", by its mark "utf-16", or "cp1252".

    Raises ValueError, with the line, for what is none of these, for a byte 0, and for an empty file
    or a web page.
    """
    with path.open("rb") as file:
        head = file.read(100)
    if head in (b"", codecs.BOM_UTF8, *MARKS_OF_UTF_16):
        raise ValueError(f"{path} is empty; it should hold a table of texts with labels")
    if head.strip().lower().startswith((b"<!doctype html", b"<html", b"version https://git-lfs")):
        raise ValueError(
            f"{path} is a web page or a pointer to a file, not a table; download the raw file"
        )
    encoding = "utf-16" if head[:2] in MARKS_OF_UTF_16 else "utf-8-sig"
    number, whole, damaged = 1, 0, []  # of the lines with more than ASCII
    try:
        with path.open(encoding=encoding, errors="surrogateescape") as file:
            for number, text in enumerate(file, start=1):
                if "\0" in text:
                    raise ValueError(f"{path}, line {number}: {BYTE_0}")
                if re.search("[\udc80-\udcff]", text):  # bytes that are no characters (PEP 383)
                    damaged.append(number)
                elif not text.isascii():
                    whole += 1
        if not damaged:
            return encoding
        if whole >= len(damaged):  # not by chance
            raise ValueError(
                f"{path}, line {damaged[0]}: this line is not UTF-8, which the file is otherwise; "
                "mend this line"
            )
        encoding = "cp1252"
        with path.open(encoding=encoding) as file:
            for number, _ in enumerate(file, start=1):  # noqa: B007
                pass
    except UnicodeDecodeError:
        raise ValueError(
            f"{path}: the bytes soon after line {number} can't be read as {encoding}; "
            "save the file in UTF-8"
        ) from None
    return encoding


def _csv_rows(path: Path, encoding: str, report: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the line where each row begins and its cells; the first row has the columns' names."""
    csv.field_size_limit(2**31 - 1)  # a text may be long
    names, line, swallowed = [], 1, []
    with path.open(encoding=encoding, newline="") as file:
        first = next((text for text in file if text.strip()), "")
        separator = "\t"
        if path.suffix.lower() == ".csv":
            unquoted = re.sub('"[^"]*"', "", first)
            separator = next((mark for mark in SEPARATORS if mark in unquoted), ",")
            if separator != ",":
                report.append(f"The columns are separated by {SEPARATORS[separator]}.")
        elif path.suffix.lower() == ".txt" and "\t" not in first:
            raise ValueError(
                f"{path} has no tab in its first line, so it is no table; "
                "save the texts with their labels as CSV"
            )
        file.seek(0)
        # a last row that no file has: where it becomes one cell, a quotation mark is open
        end = f"\0{separator}\0"
        reader = csv.reader(chain(file, [end]), delimiter=separator)
        for cells in reader:
            if cells == ["\0", "\0"]:
                break
            if cells and cells[-1].endswith(end):
                raise ValueError(
                    f"{path}: a quotation mark in the row that begins in line {line} is never "
                    'closed; close it, or write it twice ("") inside a cell'
                )
            if cells:
                names = names or cells
                if len(cells) > len(names):
                    mark = SEPARATORS[separator].removesuffix("s")
                    raise ValueError(
                        f"{path}, line {line}: the row has {len(cells)} cells, the first line "
                        f'{len(names)}; write a text that holds a {mark} in quotation marks ("…")'
                    )
                if any("\n" in cell and separator in cell for cell in cells):
                    swallowed.append(str(line))
                yield line, cells + [""] * (len(names) - len(cells))
            line = reader.line_num + 1
    if not names:
        raise ValueError(f"{path} is empty; it should hold a table of texts with labels")
    if swallowed:
        report.append(
            f"{counted(len(swallowed), 'row has a cell', 'rows have a cell')} with line ends and "
            f"{SEPARATORS[separator]} in it, in line {first_ten(swallowed)}: where two quotation "
            "marks stand alone, all rows between them are read as one cell."
        )


def _json_rows(path: Path, encoding: str) -> Iterator[tuple[int, dict]]:
    """Yield the number and the object of each line."""
    with path.open(encoding=encoding) as file:
        for line, text in enumerate(file, start=1):
            if not text.strip():
                continue
            try:
                row = json.loads(text)
            except (ValueError, RecursionError):
                row = text
            if not isinstance(row, dict):
                raise ValueError(
                    f"{path}, line {line}: {reprlib.repr(row)} is no JSON object; "
                    'each line should be one, such as {"text": "…", "label": "…"}'
                )
            yield line, row


def _parquet_rows(path: Path) -> Iterator[tuple[int, dict]]:
    """Yield the number of each row, from 1, and its cells by their columns' names."""
    import pyarrow
    from pyarrow.parquet import ParquetFile

    number = 0
    try:
        # without a buffer a whole column of a row group would be read at once
        with ParquetFile(path, buffer_size=1 << 16) as file:
            for batch in file.iter_batches(1000):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{path} is no whole Parquet file ({reason})") from None


def find_column(
    names: Sequence, asked: str | None, usual: Collection[str], kind: str, source: str
) -> int:
    """Return the position of the column with the texts or the labels: `kind` is "text" or "label".

    It is the one called `asked`, or without that the only one whose name is among `usual`, in
    whatever case. Raises ValueError, with the candidates, where there is none or more than one.
    """
    plain = [str(name).strip().casefold() for name in names]
    wanted = usual if asked is None else [str(asked).strip().casefold()]
    found = [position for position, name in enumerate(plain) if name in wanted]
    if len(found) == 1:
        return found[0]
    if found:
        candidates = listed(names[position] for position in found)
        problem = f"{len(found)} columns may hold the {kind}s: {candidates}"
    elif asked is not None:
        problem = f"there is no column {asked!r}; it has {listed(names)}"
    elif any(len(name.split()) > 3 for name in plain):
        raise ValueError(
            f"in {source} the first line seems to be a message, as no column is called {kind}; "
            "put a line with the columns' names above it, such as text,label"
        )
    else:
        problem = f"no column is called {kind} or the like; it has {listed(names)}"
    raise ValueError(
        f"in {source} {problem}. Name the column of the {kind}s ({kind}=… in Python, --{kind} in a "
        "terminal), and give each column a name of its own"
    )


def as_texts(cells: pd.Series, source: str) -> list[str]:
    """Return each cell of a column as a text, "" where nothing is in it.

    1 and 1.0 are "1", True is "True". Half a character, which JSON can hold, becomes �. Raises
    ValueError, with the row, for a cell that holds several values, and for bytes.
    """
    texts = []
    for row, cell in cells.items():
        if isinstance(cell, Collection) and not isinstance(cell, str):
            raise ValueError(
                f"{source}, row {row}: {cells.name!r} holds a {type(cell).__name__}, where one "
                "text should be"
            )
        if not isinstance(cell, str) and pd.isna(cell):
            cell = ""
        elif isinstance(cell, float | np.floating) and float(cell).is_integer():
            cell = int(cell)
        whole = str(cell).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        texts.append(whole)
    return texts


# --- texts without labels, in pieces --------------------------------------------------------------


def read_pieces(
    path: str | Path, report: list[str], text: str | None = None
) -> Iterator[list[str]]:
    """Yield the texts of a file in lists of PIECE_ROWS, the last one shorter; a missing text is "".

    `text` names their column, as in `read_texts`. Without it each line of a .txt file is a text.
    No more than one list is in memory. Raises what `read_table` and `find_column` raise.
    """
    if Path(path).suffix.lower() == ".txt" and Path(path).is_file() and text is None:
        with open(path, encoding=encoding_of(Path(path))) as file:
            while lines := [line.removesuffix("\n") for line in islice(file, PIECE_ROWS)]:
                yield lines
        return
    name = None
    for table in read_table(path, report, PIECE_ROWS):
        if name is None:
            name = table.columns[find_column(table.columns, text, TEXT_NAMES, "text", str(path))]
        if name not in table:  # JSON lines, in which none of these objects has it
            table = table.assign(**{name: ""})
        if len(table):
            yield as_texts(table[name], str(path))


def read_lines(stream: BinaryIO) -> Iterator[list[str]]:
    """Yield the lines of a stream, without their ends, in lists of those that can be read by now.

    A slow stream gives one at a time. They are UTF-8, or UTF-16 with its mark; a line that can't be
    UTF-8 is read as cp1252. Raises ValueError for a byte 0.
    """
    number, rest, block = 0, b"", b"?"
    is_utf_16 = stream.peek(2)[:2] in MARKS_OF_UTF_16
    utf_16 = codecs.getincrementaldecoder("utf-16")()
    while block:
        block = stream.read1(1 << 16)
        decoded = utf_16.decode(block).encode() if is_utf_16 else block
        *lines, rest = (rest + decoded).split(b"\n")
        if rest and not block:
            lines = [rest]  # the last one has no end
        texts = []
        for line in lines:
            number += 1
            if b"\0" in line:
                raise ValueError(f"line {number:,} of standard input: {BYTE_0}")
            line = line.removeprefix(codecs.BOM_UTF8 if number == 1 else b"").removesuffix(b"\r")
            try:
                texts.append(line.decode("utf-8"))
            except UnicodeDecodeError:
                texts.append(line.decode("cp1252", "replace"))
        yield texts


# --- a table in order -----------------------------------------------------------------------------


@dataclass(frozen=True)
class TextTable:
    """Texts with the numbers of their classes.

    `frame` has the columns `Text` and `Label`, a class's number: its position in `labels`, which are
    sorted. `report` holds sentences on what was found and set aside, `source` says where the texts
    are from.
    """

    frame: pd.DataFrame
    labels: tuple[str, ...]
    report: tuple[str, ...]
    source: str


def normalised(text: str) -> str:
    """Return the text without what two near-duplicates may differ in: case and white space."""
    return " ".join(text.casefold().split())


def read_texts(
    path_or_frame: str | Path | pd.DataFrame, text: str | None = None, label: str | None = None
) -> TextTable:
    """Return the texts and labels of a CSV, TSV, JSON lines or Parquet file, or of a DataFrame.

    The file's ending tells its kind. `text` and `label` name the columns; without them they are
    found where exactly one column has a usual name, such as TEXT_NAMES and LABEL_NAMES hold. Set
    aside, and counted in the report, are rows without a text or a label, and classes with fewer
    than FEWEST_TEXTS different texts. Labels that differ only in case or outer spaces are one
    class. Raises OSError for a file that can't be opened, ValueError for what is no table of texts
    in two classes or more.
    """
    report: list[str] = []
    if isinstance(path_or_frame, pd.DataFrame):
        name, source, table = "the DataFrame", "a DataFrame", path_or_frame
    else:
        name = source = Path(path_or_frame).name
        table = pd.concat([pd.DataFrame(), *read_table(path_or_frame, report)])
    if not len(table):
        raise ValueError(f"{name} is empty; it should hold texts with labels")
    columns = table.columns.tolist()
    text_column = find_column(columns, text, TEXT_NAMES, "text", name)
    label_column = find_column(columns, label, LABEL_NAMES, "label", name)
    text_name, label_name = columns[text_column], columns[label_column]
    if text_column == label_column:
        raise ValueError(f"text and label name the same column, {text_name!r}; name two")
    texts = as_texts(table.iloc[:, text_column], name)
    labels = as_texts(table.iloc[:, label_column], name)
    frame = pd.DataFrame({"Text": texts, "Label": labels})
    frame["Text"] = frame["Text"].str.slice(0, LONGEST_TEXT)
    read = (
        f"{counted(len(frame), 'row')} read from {name}, with texts from {text_name!r} and labels "
    )
    report.insert(0, f"{read}from {label_name!r}.")

    has_text, has_label = frame["Text"].str.strip() != "", frame["Label"].str.strip() != ""
    for missing, problem in (
        (~has_text, "no text"),
        (has_text & ~has_label, "a text but no label"),
    ):
        if missing.any():
            one, many = f"row has {problem} and is", f"rows have {problem} and are"
            report.append(f"{counted(int(missing.sum()), one, many)} set aside.")
    frame = frame[has_text & has_label]
    num_labels = frame["Label"].nunique()
    if len(frame) >= FEWEST_TEXTS and num_labels > MOST_LABELS * len(frame):
        raise ValueError(
            f"{name}: {label_name!r} has {num_labels:,} different values in {len(frame):,} rows, so "
            "it looks like an id and not like a label; name the column of the labels"
        )
    frame = frame.assign(Label=_one_spelling(frame["Label"], report))
    frame = _large_classes(frame, name, report).reset_index(drop=True)
    report += _describe_texts(frame)
    names = tuple(sorted(set(frame["Label"])))
    numbers = frame["Label"].map({label: number for number, label in enumerate(names)})
    return TextTable(frame.assign(Label=numbers.astype("int64")), names, tuple(report), source)


def _one_spelling(labels: pd.Series, report: list[str]) -> pd.Series:
    """Return each label in its class's most frequent spelling, and add to the report what changed."""
    counts = Counter(labels.str.strip())
    spelling: dict[str, str] = {}  # of equally frequent ones the first in the alphabet
    for label in sorted(counts, key=lambda label: (-counts[label], label)):
        spelling.setdefault(label.casefold(), label)
    read = labels.map(lambda label: spelling[label.strip().casefold()])
    changed = Counter(zip(labels[read != labels], read[read != labels], strict=True))
    if changed:
        examples = [f"{old!r} as {new!r} ({number:,})" for (old, new), number in changed.items()]
        are = counted(changed.total(), "label", "labels")
        report.append(
            f"{are} in other case or with outer spaces {'is' if changed.total() == 1 else 'are'} "
            f"read in the class's most frequent spelling: {first_ten(examples)}."
        )
    return read


def _large_classes(frame: pd.DataFrame, source: str, report: list[str]) -> pd.DataFrame:
    """Return the rows of the classes with enough different texts, and report on all classes."""
    different = frame["Text"].map(normalised).groupby(frame["Label"]).nunique()
    large = different.index[different >= FEWEST_TEXTS]
    small = different.index[different < FEWEST_TEXTS]
    if len(large) < 2:
        raise ValueError(
            f"{source} needs two classes with {FEWEST_TEXTS} different texts or more each; "
            f"it has {listed(large)}, and smaller ones: {listed(small)}"
        )
    kept = frame[frame["Label"].isin(large)]
    if len(small):
        are = counted(len(small), "class has", "classes have")
        report.append(
            f"{are} fewer than {FEWEST_TEXTS} different texts and "
            f"{'is' if len(small) == 1 else 'are'} set aside with "
            f"{counted(len(frame) - len(kept), 'row')}: {listed(small)}."
        )
    sizes = [f"{label!r} {size:,}" for label, size in Counter(kept["Label"]).most_common()]
    report.append(
        f"The table holds {counted(len(kept), 'text')} in {len(sizes):,} classes: "
        f"{first_ten(sizes)}."
    )
    return kept


def _describe_texts(frame: pd.DataFrame) -> Iterator[str]:
    """Yield sentences on texts that repeat, that have several labels, and that are too long."""
    keys = frame["Text"].map(normalised)
    if repeats := int(keys.duplicated().sum()):
        yield (
            f"{counted(repeats, 'text repeats', 'texts repeat')} an earlier one, but for case and "
            "white space; nothing is removed."
        )
    num_labels = frame["Label"].groupby(keys, sort=False).nunique()
    several = num_labels.index[num_labels > 1]
    if len(several):
        example = frame["Text"][keys == several[0]].iloc[0]
        yield (
            f"{counted(len(several), 'text stands', 'texts stand')} under more than one label, such "
            f"as {listed([example])}; nothing is removed."
        )
    context, tokenizer = BASE_CONFIG["context_length"], get_tokenizer()
    long = [
        text for text in frame["Text"] if len(text.encode()) > context
    ]  # bytes; tokens are fewer
    num_truncated = sum(len(tokenizer.encode_ordinary(text)) > context for text in long)
    if num_truncated:
        yield (
            f"{counted(num_truncated, 'text is', 'texts are')} longer than the {context:,} tokens "
            "that GPT-2 reads; the rest will be truncated."
        )


# --- three parts ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Split:
    """The three parts of a table, each with the columns `Text` and `Label` (a class's number).

    A number is the class's position in `labels`; `report` holds sentences on what was kept together.
    """

    train: pd.DataFrame
    validation: pd.DataFrame
    test: pd.DataFrame
    labels: tuple[str, ...]
    report: tuple[str, ...]


def split_stratified(table: TextTable, seed: int = 123) -> Split:
    """Split a table by FRACTIONS into training, validation and test part, each class alike.

    Equal texts, as `normalised` has them, are in one part: a model that has seen a test text in the
    training knows its label by heart, and the accuracy flatters. A class of three different texts
    or more is in each part; where texts stand under several labels this may fail, and the report
    says so. The rows of each part are shuffled.
    """
    frame = table.frame.reset_index(drop=True)
    keys = frame["Text"].map(normalised)
    groups = frame["Label"].groupby(keys, sort=False).agg(["first", "size"])
    groups = groups.sample(frac=1, random_state=seed).sort_values("size", kind="stable")
    part_of = {}  # scikit-learn's StratifiedGroupKFold leaves small classes out of a part
    for _, sizes in groups.groupby("first")["size"]:
        missing = np.array(FRACTIONS) * sizes.sum()
        order = [*sizes.items()]
        for number, (key, size) in enumerate(order[:3] + order[:2:-1]):  # then the largest first
            part = (0, 2, 1)[number] if number < 3 else int(missing.argmax())
            part_of[key] = part
            missing[part] -= size
    shuffled = frame.sample(frac=1, random_state=seed)
    parts_of_rows = keys.loc[shuffled.index].map(part_of)
    parts = [shuffled[parts_of_rows == part].reset_index(drop=True) for part in range(3)]

    sizes = [counted(len(part), "text") for part in parts]
    report = [f"{sizes[0]} to train with, {sizes[1]} to validate with, {sizes[2]} to test with."]
    if number := int(keys.duplicated(keep=False).sum()):
        report.append(
            f"{number:,} texts are equal to another, but for case and white space; "
            "equal ones are in the same part."
        )
    for name, part in zip(("training", "validation", "test"), parts, strict=True):
        present = set(part["Label"])
        lacking = [label for number, label in enumerate(table.labels) if number not in present]
        if lacking:
            report.append(
                f"{counted(len(lacking), 'class has', 'classes have')} no text in the {name} part: "
                f"{listed(lacking)}."
            )
    return Split(*parts, table.labels, tuple(report))


# --- imbalanced classes ---------------------------------------------------------------------------


def undersample(frame: pd.DataFrame, seed: int = 123) -> pd.DataFrame:
    """Return as many rows of each class as the smallest has, in the frame's order.

    The book's way (section 6.2): of two classes the same rows as `create_balanced_dataset` draws.
    `frame` has the columns `Label` and `Text`. Raises ValueError where a label is missing.
    """
    if not len(frame) or frame["Label"].isna().any():
        raise ValueError("the table needs rows, and a label in each; set the others aside first")
    classes = frame.reset_index(drop=True).groupby("Label", observed=True)
    drawn = classes.sample(n=int(classes.size().min()), random_state=seed)
    return drawn.sort_index().reset_index(drop=True)


def class_weights(labels: Sequence[int], num_classes: int) -> tuple[float, ...]:
    """Return a weight for each class: the fewer messages it has, the larger.

    All classes weigh the same in all, and the mean over the messages is 1: n / (num_classes · n_c).
    Raises ValueError for a number beyond the classes, and for a class without a message.
    """
    from sklearn.utils.class_weight import compute_class_weight  # slow to import

    classes = np.arange(num_classes)
    return tuple(compute_class_weight("balanced", classes=classes, y=np.array(labels)).tolist())
