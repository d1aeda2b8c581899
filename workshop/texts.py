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
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TextIO

import numpy as np
import pandas as pd

from helpers.config import BASE_CONFIG
from helpers.tokenizer import LONGEST_TEXT, get_tokenizer

KINDS = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".parquet")  # endings of files
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
TEXT_NAMES = """
text texts message messages sms body content review sentence comment tweet post question utterance
description document
"""
LABEL_NAMES = """
label labels class classes category topic theme target sentiment intent genre tag label_text
label_name
"""
FEWEST_TEXTS = 8  # different ones of a class: below, its three parts would hold next to nothing
PIECE_ROWS = 1_000  # texts of a large file that are in memory together
FRACTIONS = (0.7, 0.1, 0.2)  # to train, validate and test with, as in the book's section 6.2
MARKS_OF_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


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


def read_table(path: str | Path, report: list[str]) -> Iterator[pd.DataFrame]:
    """Yield a file's rows as tables of at most PIECE_ROWS rows, with the cells as they are.

    Sentences on how the file was read are added to `report`. Raises OSError for a file that can't
    be opened, and ValueError for what is no table.
    """
    path = Path(path)
    first_bytes(path)  # refuses what is no table
    ending = path.suffix.lower()
    if ending not in KINDS:
        raise ValueError(
            f"{path} has the ending {ending!r}; a table of texts ends in {', '.join(KINDS)}"
        )
    if ending == ".parquet":
        from pyarrow.lib import ArrowException
        from pyarrow.parquet import ParquetFile

        try:
            # without a buffer a whole column of a row group would be read at once
            with ParquetFile(path, buffer_size=65_536) as file:
                for batch in file.iter_batches(PIECE_ROWS):
                    yield batch.to_pandas(ignore_metadata=True)
        except (ArrowException, OSError) as error:
            reason = str(error).partition("\n")[0]
            raise ValueError(f"{path} can't be read as a Parquet file: {reason}") from error
        return
    if ending in (".jsonl", ".ndjson"):
        rows, names = json_rows(path, report), None
    else:
        rows = csv_rows(path, report)
        names = next(rows, None)
    while piece := list(islice(rows, PIECE_ROWS)):
        yield pd.DataFrame(piece, columns=names, dtype=object)


def first_bytes(path: Path) -> bytes:
    """Return the first bytes of a file.

    Raises OSError for one that can't be opened, and ValueError for what is often saved in the place
    of a table: a web page, and the pointer that Git LFS keeps for a large file.
    """
    if not path.is_file():  # a pipe could be waited for without an end
        raise FileNotFoundError(
            f"{path} does not exist or is a folder; give the path of a file here"
        )
    with path.open("rb") as file:
        head = file.read(100)
    if head.removeprefix(codecs.BOM_UTF8).lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise ValueError(
            f"{path} is a web page, not a table; download the file itself (on GitHub: Download raw "
            "file)"
        )
    if head.startswith(b"version https://git-lfs"):
        raise ValueError(f"{path} is only Git LFS's pointer to the file; get it with git lfs pull")
    return head


def encoding_of(head: bytes, source: str | Path) -> str:
    """Return the encoding of a text that begins with these bytes: by its mark UTF-16, or UTF-8.

    Raises ValueError for what holds no text.
    """
    if head[:2] in MARKS_OF_UTF_16:
        return "utf-16"
    if b"\0" in head:  # or it is UTF-16 without its mark
        raise ValueError(
            f"{source} is of another kind, such as an image or a spreadsheet; save it as text, or "
            "the table as CSV, in UTF-8"
        )
    return "utf-8-sig"


def open_text(path: Path, report: list[str]) -> TextIO:
    """Return a file opened as UTF-8, by its mark as UTF-16, or otherwise as cp1252.

    The line ends stay as they are. Raises what `first_bytes` and `encoding_of` raise.
    """
    encoding = encoding_of(first_bytes(path), path)
    try:
        with path.open(encoding=encoding) as file:
            for _ in file:
                pass
    except UnicodeDecodeError:
        if encoding != "utf-16":
            encoding = "cp1252"
            report.append(
                "The file is not UTF-8 and was read as cp1252 (Windows, Western Europe): "
                "look whether the letters with accents are right."
            )
    return path.open(encoding=encoding, errors="replace", newline="")


def csv_rows(path: Path, report: list[str]) -> Iterator[list[str]]:
    """Yield the names of the columns, then the cells of each row, as many as there are names."""
    csv.field_size_limit(1_000_000_000)  # a text may be long
    names, line, swallowed, separator = [], 1, [], "\t"
    with open_text(path, report) as file:
        if path.suffix.lower() == ".csv":
            first = re.sub('"[^"]*"', "", next(filter(str.strip, file), ""))
            separator = next((mark for mark in SEPARATORS if mark in first), ",")
            file.seek(0)
            if separator != ",":
                report.append(f"The columns are separated by {SEPARATORS[separator]}.")
        reader = csv.reader(file, delimiter=separator)
        for cells in reader:
            if cells:
                names = names or cells
                if len(cells) > len(names):
                    raise ValueError(
                        f"{path}, line {line}: the row has {len(cells)} cells, the first line "
                        f"{len(names)}; where a text holds {SEPARATORS[separator]}, write it in "
                        'quotation marks ("…")'
                    )
                mark = separator if len(names) > 1 else ""  # a line of one cell has none
                if any("\n" in cell and mark in cell for cell in cells):
                    swallowed.append(str(line))
                yield cells + [""] * (len(names) - len(cells))
            line = reader.line_num + 1
    if swallowed:
        marks = f"line ends and {SEPARATORS[separator]}" if len(names) > 1 else "line ends"
        report.append(
            f"{counted(len(swallowed), 'row has a cell', 'rows have a cell')} with {marks} in it, "
            f"in line {first_ten(swallowed)}: where a quotation mark stands alone, all rows up to "
            "the next one are read as one cell."
        )


def json_rows(path: Path, report: list[str]) -> Iterator[dict]:
    """Yield the object of each line."""
    with open_text(path, report) as file:
        for line, text in enumerate(file, start=1):
            if not text.strip():
                continue
            try:
                row = json.loads(text)
            except (ValueError, RecursionError):  # brackets may be nested without end
                row = text
            if not isinstance(row, dict):
                raise ValueError(
                    f"{path}, line {line}: {reprlib.repr(row)} is no JSON object; "
                    'each line should be one, such as {"text": "…", "label": "…"}'
                )
            yield row


def find_column(names: Sequence, asked: str | None, usual: str, kind: str, source: str) -> int:
    """Return the position of the column with the texts or the labels: `kind` is "text" or "label".

    It is the one called `asked`, or without that the only one whose name is a word of `usual`, in
    whatever case. Raises ValueError, with the names, where there is none or more than one.
    """
    wanted = usual.split() if asked is None else [str(asked).strip().casefold()]
    found = [i for i, name in enumerate(names) if str(name).strip().casefold() in wanted]
    if len(found) == 1:
        return found[0]
    problem = f"no column is called {asked or f'{kind} or the like'}"
    if found:
        problem = f"{len(found)} columns may hold the {kind}s"
    raise ValueError(
        f"in {source} {problem}; it has {listed(names)}. The first line of a file must hold the "
        f"names of the columns. Name the one of the {kind}s ({kind}=… in Python, --{kind} in a "
        "terminal)"
    )


def as_texts(cells: pd.Series, source: str) -> list[str]:
    """Return each cell of a column as a text, "" where nothing is in it.

    1 and 1.0 are "1", True is "True". Half a character, which JSON can hold, becomes �. Raises
    ValueError for a cell that holds several values, and for bytes.
    """
    texts = []
    for cell in cells:
        if isinstance(cell, Collection) and not isinstance(cell, str):
            raise ValueError(
                f"in {source} the column {cells.name!r} holds a {type(cell).__name__}, where one "
                "text should be"
            )
        if pd.isna(cell):
            cell = ""
        elif isinstance(cell, float | np.floating) and cell.is_integer():
            cell = int(cell)
        texts.append(str(cell).encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    return texts


# --- texts without labels, in pieces --------------------------------------------------------------


def read_pieces(
    path: str | Path, report: list[str], text: str | None = None
) -> Iterator[list[str]]:
    """Yield the texts of a file in lists of at most PIECE_ROWS; a missing text is "".

    `text` names their column, as in `read_texts`. Without it each line of a .txt file is a text.
    No more than one list is in memory. Raises what `read_table` and `find_column` raise.
    """
    if Path(path).suffix.lower() == ".txt" and text is None:
        with open_text(Path(path), report) as file:
            while lines := [line.rstrip("\r\n") for line in islice(file, PIECE_ROWS)]:
                yield lines
        return
    name = None
    for table in read_table(path, report):
        if name is None:
            name = table.columns[find_column(table.columns, text, TEXT_NAMES, "text", str(path))]
        # of JSON lines, perhaps none of these objects has it
        yield as_texts(table.get(name, pd.Series("", table.index)), str(path))


def read_lines(stream: BinaryIO) -> Iterator[list[str]]:
    """Yield the lines of a stream, without their ends, in lists of those that can be read by now.

    A slow stream gives one at a time. They are UTF-8, or UTF-16 with its mark; what can't be UTF-8
    is read as cp1252. Raises ValueError for what holds no text.
    """

    def as_cp1252(error: UnicodeDecodeError) -> tuple[str, int]:
        return error.object[error.start : error.end].decode("cp1252", "replace"), error.end

    codecs.register_error("as cp1252", as_cp1252)
    encoding = encoding_of(stream.peek(100)[:100], "standard input")
    decoder, rest = codecs.getincrementaldecoder(encoding)("as cp1252"), ""
    while block := stream.read1(65_536):
        *lines, rest = (rest + decoder.decode(block)).split("\n")
        yield [line.removesuffix("\r") for line in lines]
    if rest := rest + decoder.decode(b"", final=True):
        yield [rest]


# --- a table in order -----------------------------------------------------------------------------


@dataclass(frozen=True)
class TextTable:
    """Texts with the numbers of their classes.

    `frame` has the columns `Text` and `Label`, a class's number: its position in `labels`, which are
    sorted. `report` holds sentences on what was found and set aside, `source` says where the texts
    are from, `columns` names those of the texts and of the labels.
    """

    frame: pd.DataFrame
    labels: tuple[str, ...]
    report: tuple[str, ...]
    source: str
    columns: tuple[str, str] = ("text", "label")


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
    report = []
    if isinstance(path_or_frame, pd.DataFrame):
        source, table = "the DataFrame", path_or_frame
    elif not isinstance(path_or_frame, str | Path):
        raise TypeError(
            "texts are read from the path of a file or a DataFrame, "
            f"not from a {type(path_or_frame).__name__}"
        )
    else:
        source = Path(path_or_frame).name
        table = pd.concat([pd.DataFrame(), *read_table(path_or_frame, report)])
    if table.empty:
        raise ValueError(f"{source} is empty; it should hold texts with labels")
    names = table.columns.tolist()
    text_column = find_column(names, text, TEXT_NAMES, "text", source)
    label_column = find_column(names, label, LABEL_NAMES, "label", source)
    texts = as_texts(table.iloc[:, text_column], source)
    labels = as_texts(table.iloc[:, label_column], source)
    frame = pd.DataFrame({"Text": [text[:LONGEST_TEXT] for text in texts], "Label": labels})
    report.insert(
        0,
        f"{counted(len(frame), 'row')} read from {source}, with texts from {names[text_column]!r} "
        f"and labels from {names[label_column]!r}.",
    )
    for column, problem in (("Text", "no text"), ("Label", "a text but no label")):
        is_missing = frame[column].str.strip() == ""
        if is_missing.any():
            row, rows = f"row has {problem} and is", f"rows have {problem} and are"
            report.append(f"{counted(is_missing.sum(), row, rows)} set aside.")
        frame = frame[~is_missing]
    frame = frame.assign(Label=unify_spellings(frame["Label"], report))
    frame = large_classes(frame, source, report).reset_index(drop=True)
    report += describe_texts(frame)
    frame["Label"], labels = pd.factorize(frame["Label"], sort=True)
    columns = names[text_column], names[label_column]
    return TextTable(frame, tuple(labels), tuple(report), source, columns)


def unify_spellings(labels: pd.Series, report: list[str]) -> pd.Series:
    """Return each label in its class's most frequent spelling, and report what changed."""
    stripped = labels.str.strip()
    classes = stripped.groupby(stripped.str.casefold())
    unified = classes.transform(lambda spellings: spellings.mode()[0])
    is_changed = unified != labels
    if is_changed.any():
        changes = Counter(zip(labels[is_changed], unified[is_changed], strict=True))
        examples = [
            f"{reprlib.repr(old)} as {reprlib.repr(new)} ({number:,})"
            for (old, new), number in changes.items()
        ]
        report.append(
            f"{counted(is_changed.sum(), 'label differs', 'labels differ')} in case or outer spaces "
            f"only, and the most frequent spelling is used: {first_ten(examples)}."
        )
    return unified


def large_classes(frame: pd.DataFrame, source: str, report: list[str]) -> pd.DataFrame:
    """Return the rows of the classes with enough different texts, and report on all classes."""
    different = frame["Text"].map(normalised).groupby(frame["Label"]).nunique()
    large = different.index[different >= FEWEST_TEXTS]
    small = different.index.difference(large)
    if len(large) < 2:
        raise ValueError(
            f"{source} needs two classes with {FEWEST_TEXTS} different texts or more each; "
            f"it has {listed(large)}, and smaller ones: {listed(small)}. {' '.join(report)}"
        )
    kept = frame[frame["Label"].isin(large)]
    if len(small):
        few = f"fewer than {FEWEST_TEXTS} different texts and"
        classes = counted(len(small), f"class has {few} is", f"classes have {few} are")
        rows = counted(len(frame) - len(kept), "row")
        report.append(f"{classes} set aside with {rows}: {listed(small)}.")
    counts = Counter(kept["Label"]).most_common()
    sizes = [f"{reprlib.repr(label)} {size:,}" for label, size in counts]
    report.append(
        f"The table holds {counted(len(kept), 'text')} in {len(sizes):,} classes: "
        f"{first_ten(sizes)}."
    )
    return kept


def describe_texts(frame: pd.DataFrame) -> Iterator[str]:
    """Yield sentences on texts that repeat, that have several labels, and that are too long."""
    keys = frame["Text"].map(normalised)
    if repeats := keys.duplicated().sum():
        yield (
            f"{counted(repeats, 'text repeats', 'texts repeat')} an earlier one, but for case and "
            "white space; nothing is removed."
        )
    num_labels = frame["Label"].groupby(keys, sort=False).nunique()
    several = num_labels.index[num_labels > 1]
    if len(several):
        yield (
            f"{counted(len(several), 'text stands', 'texts stand')} under more than one label, such "
            f"as {listed(several[:1])}; nothing is removed."
        )
    context, tokenizer = BASE_CONFIG["context_length"], get_tokenizer()
    long = frame["Text"][frame["Text"].str.encode("utf-8").str.len() > context]  # tokens are fewer
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


def split_stratified(table: TextTable) -> Split:
    """Split a table by FRACTIONS into training, validation and test part, each class alike.

    Equal texts, as `normalised` has them, are in one part: a model that has seen a test text in the
    training knows its label by heart, and the accuracy flatters. A class of three different texts
    or more is in each part; where texts stand under several labels this may fail, and the report
    says so. The rows of each part are shuffled.
    """
    keys = table.frame["Text"].map(normalised)
    groups = table.frame["Label"].groupby(keys, sort=False).agg(["first", "size"])
    groups = groups.sample(frac=1, random_state=123).sort_values("size", kind="stable")
    part_of = {}  # scikit-learn's StratifiedGroupKFold leaves small classes out of a part
    for _, sizes in groups.groupby("first")["size"]:
        missing = np.array(FRACTIONS) * sizes.sum()
        order = [*sizes.items()]
        for number, (key, size) in enumerate(order[:3] + order[:2:-1]):  # then the largest first
            part = (0, 2, 1)[number] if number < 3 else int(missing.argmax())
            part_of[key] = part
            missing[part] -= size
    shuffled = table.frame.sample(frac=1, random_state=123)
    parts_of_rows = keys[shuffled.index].map(part_of)
    parts = [shuffled[parts_of_rows == part].reset_index(drop=True) for part in range(3)]

    sizes = [counted(len(part), "text") for part in parts]
    report = [f"{sizes[0]} to train with, {sizes[1]} to validate with, {sizes[2]} to test with."]
    if number := keys.duplicated(keep=False).sum():
        report.append(
            f"{number:,} texts are equal to another, but for case and white space; "
            "equal ones are in the same part."
        )
    for name, part in zip(("training", "validation", "test"), parts, strict=True):
        absent = np.setdiff1d(range(len(table.labels)), part["Label"])
        if len(absent):
            report.append(
                f"{counted(len(absent), 'class has', 'classes have')} no text in the {name} part: "
                f"{listed(table.labels[number] for number in absent)}."
            )
    return Split(*parts, table.labels, tuple(report))


# --- imbalanced classes ---------------------------------------------------------------------------


def undersample(frame: pd.DataFrame, seed: int = 123) -> pd.DataFrame:
    """Return as many rows of each class as the smallest has, in the frame's order.

    The book's way (section 6.2): of two classes the same rows as `create_balanced_dataset` draws.
    `frame` has the columns `Label` and `Text`.
    """
    classes = frame.groupby("Label")
    drawn = classes.sample(classes.size().min(), random_state=seed)
    return drawn.sort_index().reset_index(drop=True)


def class_weights(labels: Sequence[int], num_classes: int) -> tuple[float, ...]:
    """Return a weight for each class: the fewer messages it has, the larger.

    All classes weigh the same in all, and the mean over the messages is 1: n / (num_classes · n_c).
    """
    counts = np.bincount(labels, minlength=num_classes)
    return tuple((len(labels) / (num_classes * counts)).tolist())
