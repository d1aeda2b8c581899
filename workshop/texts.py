"""A table's columns, as plain lists, from a file or a DataFrame; and which of them is meant.

CSV and TSV are read by pandas, Parquet by pyarrow, JSON lines (https://jsonlines.org, one object a
line) line by line, so that a fault's line can be named. What can't be read is refused with the
line's number, counted from 1, as an editor shows it.

A reader's own table: texts with labels of any classes, read, put in order and reported on.

Nothing is dropped or changed without a sentence in the report that says how much.

Training, validation and test parts of any classes, and two answers to classes of unequal size.

A text that stands in the training and in the test part is known by heart before it is asked
about, and the figures flatter: so texts that are equal, but for case and white space, stay together.
"""

import csv
import json
import re
import reprlib
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.checks import finite_number, instance_of, whole_number
from helpers.config import BASE_CONFIG
from helpers.data import need_columns
from helpers.tokenizer import get_tokenizer

KINDS = {
    ".csv": "CSV", ".tsv": "TSV", ".txt": "TSV", ".jsonl": "JSON lines", ".ndjson": "JSON lines",
    ".parquet": "Parquet",
}  # fmt: skip


SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}


PIECE = 1 << 20  # characters that are looked at together


# what a decoder with errors="surrogateescape" leaves of a byte that it can't decode (PEP 383)
NO_CHARACTER = re.compile("[\udc80-\udcff]")


ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # one letter would be Windows' drive


@dataclass(frozen=True)
class Columns:
    """A table as it was read: its columns' names, and the cells of one by its place.

    `source` is what to call it, `notes` are sentences on how it was read.
    """

    source: str
    names: tuple
    cells: Callable[[int], list]
    notes: tuple[str, ...] = ()


def read_columns(path_or_frame: str | Path | pd.DataFrame) -> Columns:
    """Return the columns of a DataFrame, or of a file whose ending is one of KINDS.

    Raises OSError for what can't be opened, ValueError for what is no such table.
    """
    if isinstance(path_or_frame, pd.DataFrame):
        frame = path_or_frame
        cells = lambda place: frame.iloc[:, place].astype(object).tolist()  # noqa: E731
        return Columns("the DataFrame", tuple(frame.columns), cells)
    path = need_file(path_or_frame)
    read = {"Parquet": _read_parquet, "JSON lines": _read_json_lines}
    return read.get(kind_of_file(path), _read_csv)(path)


def need_file(path: str | Path) -> Path:
    """Return the path of a file that is there and not empty.

    Raises TypeError for what is no path, OSError where there is no such file, ValueError for an
    address and for an empty file.
    """
    instance_of("path_or_frame", path, (str, Path), "a file's path or a pandas DataFrame")
    if ADDRESS.match(str(path)):
        raise ValueError(f"{path} is an address; download the file first, then give its path")
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the path of one file")
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; is the name right?")
    if not path.is_file():
        raise OSError(f"{path} is no file that can be read twice; save the table in one")
    try:
        with path.open("rb") as file:
            begins = file.read(4)
    except OSError as error:
        raise type(error)(f"{path} can't be read ({error.strerror})") from error
    if begins in (b"", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"):
        raise ValueError(f"{path} is empty; it should hold a table of texts with labels")
    return path


def kind_of_file(path: Path) -> str:
    """Return "CSV", "TSV", "JSON lines" or "Parquet". Raises ValueError for another ending."""
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        raise ValueError(
            f"{path} has the ending {path.suffix!r}; a table of texts ends in {', '.join(KINDS)}"
        )
    return kind


# --- which characters the bytes are -----------------------------------------------------------


def encoding_of(path: Path) -> str:
    """Return Python's name for a text file's encoding, after a look at all of its bytes.

    It is "utf-8", or by the mark at its beginning "utf-8-sig" or "utf-16"; "cp1252" (Windows, Western
    Europe) for a file that can't be UTF-8. Raises ValueError, with the line, for bytes that are
    none of these and for a byte 0. Of the file no more than a piece is in memory.
    """
    with path.open("rb") as file:
        begins = file.read(3)
    if begins[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return _need_utf_16(path)
    encoding = "utf-8-sig" if begins == b"\xef\xbb\xbf" else "utf-8"
    found = _look(path, encoding)
    if not found.faults:
        return encoding
    # what is not ASCII and yet UTF-8 does not come about by chance: a file of UTF-8, damaged
    if begins == b"\xef\xbb\xbf" or found.beyond_ascii > found.faults:
        what, remedy = "not UTF-8, which the file is otherwise", "mend this line"
    else:
        found = _look(path, "cp1252")
        if not found.faults:
            return "cp1252"
        what, remedy = "neither UTF-8 nor cp1252", "save the file in UTF-8"
    raise ValueError(f"{path}, line {found.line}: the byte {found.byte} is {what}; {remedy}")


@dataclass
class _Found:
    faults: int = 0  # bytes that are no character
    beyond_ascii: int = 0  # characters beyond ASCII
    line: int = 0  # of the first fault
    byte: str = ""  # the first fault


def _look(path: Path, encoding: str) -> _Found:
    found, lines = _Found(), 1
    with path.open(encoding=encoding, errors="surrogateescape") as file:  # all line ends as \n
        while piece := file.read(PIECE):
            _need_no_nul(path, piece, lines)
            if not piece.isascii():
                faults = NO_CHARACTER.findall(piece)
                if faults and not found.faults:
                    found.line = lines + piece[: piece.index(faults[0])].count("\n")
                    found.byte = f"0x{ord(faults[0]) - 0xDC00:02X}"
                found.faults += len(faults)
                found.beyond_ascii += (
                    len(piece) - len(piece.encode("ascii", "ignore")) - len(faults)
                )
            lines += piece.count("\n")
    return found


def _need_no_nul(path: Path, piece: str, lines: int) -> None:
    if (place := piece.find("\0")) >= 0:
        line = lines + piece[:place].count("\n")
        raise ValueError(
            f"{path}, line {line}: there is a byte 0, which no text holds; "
            "is it a file of another kind? A text in UTF-16 needs its mark (BOM) at the beginning"
        )


def _need_utf_16(path: Path) -> str:
    lines = 1
    try:
        with path.open(encoding="utf-16") as file:
            while piece := file.read(PIECE):
                _need_no_nul(path, piece, lines)
                lines += piece.count("\n")
    except UnicodeDecodeError:
        line = _line_of_fault(path.read_bytes(), "utf-16")
        raise ValueError(
            f"{path}, line {line}: the bytes are not UTF-16, as the file's beginning says; "
            "save it in UTF-8"
        ) from None
    return "utf-16"


def _line_of_fault(content: bytes, encoding: str) -> int:
    try:
        content.decode(encoding)
    except UnicodeDecodeError as error:
        before = content[: error.start].decode(encoding, errors="ignore")
        return 1 + len(re.findall(r"\r\n|\r|\n", before))
    return 1


# --- CSV and TSV ------------------------------------------------------------------------------


def separator_of(path: Path, encoding: str) -> str:
    """Return what separates the columns of a CSV or TSV file: "\\t" for TSV.

    For CSV it is the comma, or where the first line has none, the semicolon or the tab that it
    has. Raises ValueError for a .txt file without a tab in its first line.
    """
    first = next((line for line in _lines(path, encoding) if line.strip()), "")
    if path.suffix.lower() == ".txt" and "\t" not in first:
        raise ValueError(
            f"{path} has no tab in its first line, so it is no table; "
            "save the texts with their labels as CSV"
        )
    if kind_of_file(path) == "TSV":
        return "\t"
    bare = re.sub(r'"[^"]*"', "", first)
    return next((mark for mark in SEPARATORS if mark in bare), ",")


def header_of(path: Path, encoding: str, separator: str) -> tuple[str, ...]:
    """Return the names in the first row of a CSV or TSV file, none of them changed."""
    options = {"header": None, "nrows": 1, "dtype": str, "keep_default_na": False}
    table = _read_with_pandas(path, encoding, separator, **options)
    return tuple(table.iloc[0]) if len(table) else ()


def _read_csv(path: Path) -> Columns:
    encoding = encoding_of(path)
    separator = separator_of(path, encoding)
    names = header_of(path, encoding, separator)
    if not names:
        raise ValueError(f"{path} is empty; it should hold a table of texts with labels")
    # numbers for names: pandas would give a second "text" a name of its own
    options = {"header": 0, "names": range(len(names)), "dtype": str, "keep_default_na": False}
    table = _read_with_pandas(path, encoding, separator, **options)
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes a longer first row so
        raise _too_long_a_row(path, encoding, separator, "its rows are longer than the first line")
    notes = _about_encoding(encoding)
    if kind_of_file(path) == "CSV" and separator != ",":
        notes += (f"The columns are separated by {SEPARATORS[separator]}.",)
    return Columns(path.name, names, lambda place: table[place].astype(object).tolist(), notes)


def _about_encoding(encoding: str) -> tuple[str, ...]:
    if encoding != "cp1252":
        return ()
    return (
        "The file is not UTF-8 and was read as cp1252 (Windows, Western Europe): "
        "look whether the letters with accents are right.",
    )


def _read_with_pandas(path: Path, encoding: str, separator: str, **options) -> pd.DataFrame:
    try:
        return pd.read_csv(path, sep=separator, encoding=encoding, **options)
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    except pd.errors.ParserError as error:
        raise _with_its_line(error, path, encoding, separator) from None


def csv_cells(
    path: Path, encoding: str, separator: str, names: Sequence[str], place: int, rows: int
) -> Iterator[list[str]]:
    """Yield the cells of a CSV or TSV file's column, `rows` at a time.

    `names` are what `header_of` returns, `place` is the column's among them. Raises ValueError,
    with the line, for a row with too many cells and for a quotation mark that is never closed.
    """
    options = {"header": 0, "names": range(len(names)), "dtype": str, "keep_default_na": False}
    try:
        with pd.read_csv(
            path, sep=separator, encoding=encoding, chunksize=rows, **options
        ) as tables:
            for table in tables:
                if not isinstance(table.index, pd.RangeIndex):  # pandas takes a longer first row so
                    raise _too_long_a_row(path, encoding, separator, "its rows are too long")
                yield table[place].astype(object).tolist()
    except pd.errors.ParserError as error:
        raise _with_its_line(error, path, encoding, separator) from None


def _with_its_line(error: Exception, path: Path, encoding: str, separator: str) -> ValueError:
    if "EOF inside string" not in str(error):
        return _too_long_a_row(path, encoding, separator, str(error))
    line = _last_record(path, encoding, separator)
    return ValueError(
        f"{path}: a quotation mark in the row that begins in line {line} is never closed; "
        'close it, or write it twice ("") inside a cell'
    )


def _too_long_a_row(path: Path, encoding: str, separator: str, otherwise: str) -> ValueError:
    """Return the error for a row with too many cells; pandas' line is not that of the file."""
    wanted = None
    for line, cells in _records(path, encoding, separator):
        if wanted is None and cells:
            wanted = len(cells)
        elif wanted is not None and len(cells) > wanted:
            mark = SEPARATORS[separator].removesuffix("s")
            return ValueError(
                f"{path}, line {line}: the row has {len(cells)} cells, the first line {wanted}; "
                f'write a text that holds a {mark} in quotation marks ("…")'
            )
    return ValueError(f"{path} can't be read as a table: {otherwise}")


def _last_record(path: Path, encoding: str, separator: str) -> int:
    line = 1
    for line, _ in _records(path, encoding, separator):  # noqa: B007
        pass
    return line


def _records(path: Path, encoding: str, separator: str):
    """Yield each record's first line, from 1, and its cells."""
    limit = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # an open quotation mark may go far
    try:
        with path.open(encoding=encoding, newline="") as file:
            rows, line = csv.reader(file, delimiter=separator), 1
            for cells in rows:
                yield line, cells
                line = rows.line_num + 1
    finally:
        csv.field_size_limit(limit)


def _lines(path: Path, encoding: str):
    with path.open(encoding=encoding) as file:
        yield from file


# --- JSON lines and Parquet -------------------------------------------------------------------


def _read_json_lines(path: Path) -> Columns:
    encoding, rows, names, twice = encoding_of(path), [], {}, {}

    def as_dict(pairs):
        values = dict(pairs)
        if len(values) < len(pairs):
            given = [name for name, _ in pairs]
            twice.update({name: number for name in given if given.count(name) > 1})
        return values

    for number, line in enumerate(_lines(path, encoding), start=1):
        if not line.strip():
            continue
        rows.append(json_object(path, number, line, as_dict))
        names.update(dict.fromkeys(rows[-1]))

    def cells(place: int) -> list:
        name = tuple(names)[place]
        if name in twice:
            raise ValueError(f"{path}, line {twice[name]}: there are two values called {name!r}")
        return [row.get(name) for row in rows]

    return Columns(path.name, tuple(names), cells, _about_encoding(encoding))


def json_object(path: Path, number: int, line: str, as_dict: Callable = dict) -> dict:
    """Return the object in a line of JSON lines; `as_dict` makes it of its pairs.

    Raises ValueError, with the line's `number`, for what is none.
    """
    try:
        row = json.loads(line, object_pairs_hook=as_dict)
    except RecursionError:
        row = "too deep a nest"
    except ValueError as error:
        raise ValueError(
            f"{path}, line {number}: this is no JSON ({error}); "
            'each line should be an object such as {"text": "…", "label": "…"}'
        ) from None
    if not isinstance(row, dict):
        raise ValueError(
            f"{path}, line {number}: {reprlib.repr(row)} is no JSON object; "
            'each line should be one, such as {"text": "…", "label": "…"}'
        )
    return row


def _read_parquet(path: Path) -> Columns:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    faults = (pyarrow.ArrowException, OSError, ValueError)
    wrong = f"{path} is no whole Parquet file"
    try:
        names = tuple(ParquetFile(path).schema_arrow.names)
    except faults as error:
        raise ValueError(f"{wrong} ({_first_line(error)})") from None

    def cells(place: int) -> list:
        try:
            with ParquetFile(path) as file:
                return file.read(columns=[names[place]]).column(names[place]).to_pylist()
        except faults as error:
            raise ValueError(f"{wrong} ({_first_line(error)})") from None

    return Columns(path.name, names, cells)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


# --- which column -----------------------------------------------------------------------------


def find_column(
    names: Sequence, asked: str | None, usual: Collection[str], what: str, source: str
) -> int:
    """Return the place of the column with the texts or the labels: `what` is "text" or "label".

    It is the one called `asked`, or without that the only one whose name is among `usual`, in
    whatever case. Raises ValueError, with the candidates, where there is none or more than one.
    """
    if asked is not None:
        found = [place for place, name in enumerate(names) if name == asked]
        found = found or [p for p, name in enumerate(names) if _plain(name) == _plain(asked)]
        if not found:
            raise ValueError(f"{source} has no column {asked!r}; it has {listed(names)}")
    else:
        found = [place for place, name in enumerate(names) if _plain(name) in usual]
        if not found:
            raise ValueError(
                f"in {source} no column is called {what} or the like; it has {listed(names)}. "
                f"Name the one with the {what}s: {what}=…"
            )
    called = [names[place] for place in found]
    if len(set(called)) < len(called):
        name = next(name for name in called if called.count(name) > 1)
        raise ValueError(
            f"{source} has {called.count(name)} columns called {name!r}; give each its own name"
        )
    if len(found) > 1:
        raise ValueError(
            f"in {source} the {what}s may be in {listed(called)}; "
            f"name the column that is meant: {what}=…"
        )
    return found[0]


def _plain(name) -> str:
    return str(name).strip().casefold()


def listed(names: Sequence, most: int = 10) -> str:
    """Return at most ten names, each shortened, and how many more there are."""
    short = ", ".join(reprlib.repr(name) for name in names[:most]) or "none"
    return short + (f" and {len(names) - most} more" if len(names) > most else "")


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


CONTEXT_LENGTH = BASE_CONFIG["context_length"]


HALF_CHARACTER = re.compile("[\ud800-\udfff]")


WHOLE_NUMBER = re.compile(r"([+-]?\d+)(\.0*)?")


@dataclass(frozen=True)
class TextTable:
    """Texts with the numbers of their classes.

    `frame` has the columns `Text` and `Label`, a class's number: its place in `labels`, which are
    sorted. `report` holds sentences on what was found and set aside, `source` says where the texts
    are from.
    """

    frame: pd.DataFrame
    labels: tuple[str, ...]
    report: tuple[str, ...]
    source: str


def read_texts(
    path_or_frame: str | Path | pd.DataFrame, text: str | None = None, label: str | None = None
) -> TextTable:
    """Return the texts and labels of a CSV, TSV, JSON lines or Parquet file, or of a DataFrame.

    The file's ending tells its kind. `text` and `label` name the columns; without them they are
    found where exactly one column has a usual name, such as TEXT_NAMES and LABEL_NAMES hold. Set
    aside, and counted in the report, are rows without a text or a label, and classes with fewer
    than FEWEST_TEXTS different texts. Labels that differ only in case or outer spaces are one
    class. Raises TypeError for what is neither path nor DataFrame, OSError for a file that can't
    be opened, ValueError for what is no table of texts in two classes or more.
    """
    columns = read_columns(path_or_frame)
    source = columns.source
    if not columns.names:
        raise ValueError(f"{source} is empty; it should hold texts with labels")
    text_place = find_column(columns.names, text, TEXT_NAMES, "text", source)
    label_place = find_column(columns.names, label, LABEL_NAMES, "label", source)
    text_name, label_name = columns.names[text_place], columns.names[label_place]
    if text_place == label_place:
        raise ValueError(f"text and label name the same column, {text_name!r}; name two")
    texts = as_texts(columns.cells(text_place), text_name, source)
    labels = as_texts(columns.cells(label_place), label_name, source)
    if not texts:
        raise ValueError(f"{source} has no rows below the columns' names")
    report = [
        f"{counted(len(texts), 'row')} read from {source}, "
        f"with texts from {text_name!r} and labels from {label_name!r}.",
        *columns.notes,
    ]
    texts, labels = _with_both(texts, labels, report)
    texts = _whole_characters(texts, report)
    labels = _one_spelling(_without_decimals(labels, report), report)
    _need_classes(labels, label_name, source)
    keys = [normalised(text) for text in texts]
    kept = _of_large_classes(keys, labels, source, report)
    texts, labels, keys = ([values[row] for row in kept] for values in (texts, labels, keys))
    report += _repeated(texts, labels, keys) + _long(texts)
    names = tuple(sorted(set(labels)))
    number = {name: place for place, name in enumerate(names)}
    frame = pd.DataFrame(
        {"Text": texts, "Label": np.array([number[name] for name in labels], dtype=np.int64)}
    )
    called = "a DataFrame" if isinstance(path_or_frame, pd.DataFrame) else source
    return TextTable(frame, names, tuple(report), called)


def normalised(text: str) -> str:
    """Return the text without what two near-duplicates may differ in: case and white space."""
    return " ".join(text.casefold().split())


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return "1 text", "2,000 texts"."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def as_texts(cells: Sequence, column, source: str, first_row: int = 1) -> list[str]:
    """Return each cell of a column as a text, "" where nothing is in it.

    1 and 1.0 are "1", True is "True". Raises ValueError, with the row, for a cell that holds
    several values, and for bytes.
    """
    return [
        cell if type(cell) is str else _as_text(cell, f"{source}, row {row}", column)
        for row, cell in enumerate(cells, start=first_row)
    ]


def _as_text(cell, where: str, column) -> str:
    if isinstance(cell, str):
        return str(cell)
    if isinstance(cell, bytes | Collection | np.ndarray):
        raise ValueError(
            f"{where}: {column!r} holds a {type(cell).__name__}, where one text should be"
        )
    if cell is None or pd.isna(cell):
        return ""
    if isinstance(cell, float | np.floating) and float(cell).is_integer():
        return str(int(cell))
    if isinstance(cell, Integral) and not isinstance(cell, bool):
        return str(int(cell))
    return str(cell)


# --- each step on its way into the table, with its sentence -----------------------------------


def _with_both(
    texts: list[str], labels: list[str], report: list[str]
) -> tuple[list[str], list[str]]:
    rows = list(zip(texts, labels, strict=True))
    with_text = [(text, label) for text, label in rows if text.strip()]
    both = [(text, label) for text, label in with_text if label.strip()]
    if missing := len(rows) - len(with_text):
        report.append(_aside(missing, "no text"))
    if missing := len(with_text) - len(both):
        report.append(_aside(missing, "a text but no label"))
    return [text for text, _ in both], [label for _, label in both]


def _aside(number: int, what: str) -> str:
    verbs = ("has", "is") if number == 1 else ("have", "are")
    return f"{counted(number, 'row')} {verbs[0]} {what} and {verbs[1]} set aside."


def _whole_characters(texts: list[str], report: list[str]) -> list[str]:
    """JSON can hold half a character (a lone surrogate), which no file in UTF-8 can."""
    halves = sum(map(bool, map(HALF_CHARACTER.search, texts)))
    if not halves:
        return texts
    verb = "holds" if halves == 1 else "hold"
    report.append(f"{counted(halves, 'text')} {verb} half a character, read as \ufffd.")
    return [HALF_CHARACTER.sub("\ufffd", text) for text in texts]


def _without_decimals(labels: list[str], report: list[str]) -> list[str]:
    """Where all labels are whole numbers, "1.0" is "1": a missing label had made them fractions."""
    whole = {label: WHOLE_NUMBER.fullmatch(label.strip()) for label in set(labels)}
    if not all(whole.values()) or not any(match[2] for match in whole.values()):
        return labels
    changed = [label for label in labels if whole[label][2]]
    report.append(
        f"{counted(len(changed), 'label is a whole number', 'labels are whole numbers')} with a "
        f"decimal point and read without it, as {whole[changed[0]][1]!r}."
    )
    return [whole[label][1] for label in labels]


def _one_spelling(labels: list[str], report: list[str]) -> list[str]:
    labels = [HALF_CHARACTER.sub("\ufffd", label) for label in labels]
    as_written = Counter(labels)
    spellings = {}  # of each class, how often each spelling stands
    for label, number in as_written.items():
        own = spellings.setdefault(label.strip().casefold(), Counter())
        own[label.strip()] += number
    spelling = {  # the most frequent; of equals the first in the alphabet
        key: min(own, key=lambda name, own=own: (-own[name], name))
        for key, own in spellings.items()
    }
    read = {label: spelling[label.strip().casefold()] for label in as_written}
    changed = [label for label in as_written if read[label] != label]
    if changed:
        pairs = [f"{label!r} as {read[label]!r} ({as_written[label]:,})" for label in changed]
        more = f" and {len(pairs) - 10:,} more" if len(pairs) > 10 else ""
        number = sum(as_written[label] for label in changed)
        report.append(
            f"{counted(number, 'label')} in other case or with outer spaces "
            f"{'is' if number == 1 else 'are'} read in the class's most frequent spelling: "
            f"{', '.join(pairs[:10])}{more}."
        )
    return [read[label] for label in labels]


def _need_classes(labels: list[str], column, source: str) -> None:
    if not labels:
        raise ValueError(f"{source} has no row with both a text and a label")
    different = len(set(labels))
    if different == 1:
        raise ValueError(
            f"{source} has one class only: every label is {labels[0]!r}; "
            "a classifier needs at least two classes"
        )
    if len(labels) >= FEWEST_TEXTS and different > MOST_LABELS * len(labels):
        raise ValueError(
            f"{source}: {column!r} has {different:,} different values in {len(labels):,} rows, so "
            "it looks like an id and not like a label; name the column with the labels: label=…"
        )


def _of_large_classes(
    keys: list[str], labels: list[str], source: str, report: list[str]
) -> list[int]:
    """Return the rows of the classes with enough different texts; two of them must be left."""
    different = Counter(label for label, _ in set(zip(labels, keys, strict=True)))
    small = sorted(name for name, number in different.items() if number < FEWEST_TEXTS)
    if len(different) - len(small) < 2:
        left = sorted(set(different) - set(small))
        raise ValueError(
            f"{source} has {'one class' if left else 'no class'} with {FEWEST_TEXTS} different "
            f"texts or more{f', {left[0]!r}' if left else ''}; a classifier needs two such classes"
        )
    kept = [row for row, label in enumerate(labels) if different[label] >= FEWEST_TEXTS]
    if small:
        report.append(
            f"{counted(len(small), 'class has', 'classes have')} fewer than {FEWEST_TEXTS} "
            f"different texts and {'is' if len(small) == 1 else 'are'} set aside with "
            f"{counted(len(labels) - len(kept), 'row')}: {listed(small)}."
        )
    sizes = Counter(labels[row] for row in kept).most_common()
    named = ", ".join(f"{name!r} {number:,}" for name, number in sizes[:10])
    more = f" and {len(sizes) - 10:,} more" if len(sizes) > 10 else ""
    report.append(
        f"The table holds {counted(len(kept), 'text')} in {len(sizes):,} classes: {named}{more}."
    )
    return kept


def _repeated(texts: list[str], labels: list[str], keys: list[str]) -> list[str]:
    """Say how many texts repeat an earlier one, and which have labels that contradict."""
    sentences, first = [], {}
    repeats = 0
    contradicted = {}
    for row, key in enumerate(keys):
        earlier = first.setdefault(key, row)
        repeats += earlier != row
        if labels[earlier] != labels[row]:
            contradicted.setdefault(key, earlier)
    if repeats:
        sentences.append(
            f"{counted(repeats, 'text repeats', 'texts repeat')} an earlier one, "
            f"but for case and white space; {'it stays' if repeats == 1 else 'they stay'} in."
        )
    if contradicted:
        example = texts[next(iter(contradicted.values()))]
        sentences.append(
            f"{counted(len(contradicted), 'text stands', 'texts stand')} under more than one "
            f"label, such as {listed([example])}; {'it stays' if len(contradicted) == 1 else 'they stay'} in."
        )
    return sentences


def _long(texts: list[str]) -> list[str]:
    """Say how many texts have more tokens than GPT-2 reads; a token has at least one byte."""
    long = [text for text in texts if len(text.encode()) > CONTEXT_LENGTH]
    tokens = map(len, get_tokenizer().encode_ordinary_batch(long))
    beyond = sum(number > CONTEXT_LENGTH for number in tokens)
    if not beyond:
        return []
    return [
        f"{counted(beyond, 'text is', 'texts are')} longer than the {CONTEXT_LENGTH:,} tokens that "
        f"GPT-2 reads; {'its' if beyond == 1 else 'their'} end will be cut off."
    ]


PARTS = ("training", "validation", "test")


@dataclass(frozen=True)
class Split:
    """The three parts of a table, each with the columns `Text` and `Label` (a class's number).

    A number is the class's place in `labels`; `report` holds sentences on what was kept together.
    """

    train: pd.DataFrame
    validation: pd.DataFrame
    test: pd.DataFrame
    labels: tuple[str, ...]
    report: tuple[str, ...]


def split_stratified(
    table: TextTable, fractions: tuple[float, float, float] = (0.7, 0.1, 0.2), seed: int = 123
) -> Split:
    """Cut a table into training, validation and test part, each class by the same fractions.

    Equal texts, as `normalised` has them, are in one part. Every class has a text in the training
    part, and in each part that is wanted where it has three different texts or more; only where
    texts stand under several labels this may fail, and the report says so. The rows of each part
    are shuffled. Raises ValueError for fractions that are not three numbers with the sum 1, the
    first above 0.
    """
    instance_of("table", table, TextTable, "read_texts's")
    fractions = _need_fractions(fractions)
    whole_number("seed", seed, 0, 2**32 - 1)
    frame = table.frame
    need_columns(frame, "the table")
    if not len(frame):
        raise ValueError("there are no texts to split")
    generator = np.random.default_rng(seed)
    texts = frame["Text"].astype(object).tolist()
    groups, _ = pd.factorize(np.array([normalised(text) for text in texts], dtype=object))
    part = _parts_of_groups(groups, frame["Label"].to_numpy(), fractions, generator)[groups]
    order = generator.permutation(len(frame))
    rows = [order[part[order] == number] for number in range(3)]
    parts = [frame.iloc[chosen].reset_index(drop=True) for chosen in rows]
    return Split(*parts, table.labels, _report(parts, groups, table.labels, fractions))


def _need_fractions(fractions) -> tuple[float, float, float]:
    if not isinstance(fractions, Sequence) or len(fractions) != 3:
        raise ValueError(f"fractions must be three numbers, not {fractions!r}")
    finite_number("the training fraction", fractions[0], most=1.0)
    for name, fraction in zip(PARTS[1:], fractions[1:], strict=True):
        finite_number(f"the {name} fraction", fraction, inclusive=True, most=1.0)
    if abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(f"the fractions {fractions} have the sum {sum(fractions):g}, not 1")
    return tuple(map(float, fractions))


def _parts_of_groups(
    groups: np.ndarray, labels: np.ndarray, fractions: tuple, generator: np.random.Generator
) -> np.ndarray:
    """Return each group's part: 0, 1 or 2. `groups` and `labels` are each row's.

    A group goes where most is missing of its classes, the large ones first: so each class ends
    within the size of its largest group of what is wanted, but for what `_Parts.spread` adds.
    """
    parts = _Parts(groups, labels, fractions)
    chance = generator.permutation(parts.num_groups)
    parts.spread(chance)
    several = parts.total > 1
    order = np.lexsort((chance, -parts.total, ~parts.mixed))  # under several labels first
    for group in order[several[order]].tolist():
        if parts.part[group] < 0:
            parts.put_where_most_is_missing(group)
    parts.fill_up(chance)
    return parts.part


class _Parts:
    """Which part each group is in, -1 for none yet, and how many rows of each class are missing."""

    def __init__(self, groups: np.ndarray, labels: np.ndarray, fractions: tuple):
        self.num_groups, self.num_classes = groups.max() + 1, labels.max() + 1
        pairs, self.sizes = np.unique(groups * self.num_classes + labels, return_counts=True)
        self.group_of, self.class_of = np.divmod(pairs, self.num_classes)
        self.starts = np.searchsorted(self.group_of, np.arange(self.num_groups + 1))
        self.total = np.bincount(groups)  # rows of each group
        self.mixed = np.diff(self.starts) > 1  # groups whose text stands under several labels
        self.wanted = [into for into in (0, 2, 1) if fractions[into] > 0]
        self.part = np.full(self.num_groups, -1)
        in_class = np.bincount(labels, minlength=self.num_classes)
        self.missing = in_class[:, None] * np.array(fractions)  # (num_classes, 3)
        self.present = np.zeros((self.num_classes, 3), dtype=bool)

    def put(self, group: int, into: int) -> None:
        here = slice(self.starts[group], self.starts[group + 1])
        self.part[group] = into
        self.missing[self.class_of[here], into] -= self.sizes[here]
        self.present[self.class_of[here], into] = True

    def put_where_most_is_missing(self, group: int) -> None:
        here = slice(self.starts[group], self.starts[group + 1])
        missing = self.sizes[here] @ self.missing[self.class_of[here]]  # (3,)
        self.put(group, max(self.wanted, key=missing.__getitem__))

    def spread(self, chance: np.ndarray) -> None:
        """Put one group of each class into each part, training first, then test.

        The classes with the fewest groups choose first, and each takes the smallest of those that
        no other class shares.
        """
        order = np.lexsort(
            (chance[self.group_of], self.sizes, self.mixed[self.group_of], self.class_of)
        )
        bounds = np.searchsorted(self.class_of[order], np.arange(self.num_classes + 1))
        members = [self.group_of[order[a:b]] for a, b in pairwise(bounds)]
        for into in self.wanted:
            for label in np.argsort(np.diff(bounds), kind="stable").tolist():
                if not self.present[label, into]:
                    group = next((g for g in members[label] if self.part[g] < 0), None)
                    if group is not None:
                        self.put(group, into)

    def fill_up(self, chance: np.ndarray) -> None:
        """Put all other groups, of one row each, where their class is missing most, one by one."""
        others = np.flatnonzero(self.part < 0)
        classes = self.class_of[self.starts[others]]
        order = np.lexsort((chance[others], classes))
        bounds = np.searchsorted(classes[order], np.arange(self.num_classes + 1))
        for label, (a, b) in enumerate(pairwise(bounds)):
            # a part that misses 1.5 rows asks for 1.5, for 0.5 and last for -0.5 of a row
            asked = [
                self.missing[label, into] - np.arange(max(0, self.missing[label, into]) + 1)
                for into in self.wanted
            ]
            who = np.repeat(self.wanted, [len(levels) for levels in asked])
            loudest = np.argsort(-np.concatenate(asked), kind="stable")[: b - a]
            self.part[others[order[a:b]]] = who[loudest]


def _report(
    parts: list[pd.DataFrame], groups: np.ndarray, labels: tuple[str, ...], fractions: tuple
) -> tuple[str, ...]:
    sizes = [counted(len(part), "text") for part in parts]
    sentences = [f"{sizes[0]} to train with, {sizes[1]} to validate with, {sizes[2]} to test with."]
    alike = np.bincount(groups)
    if kept := int(alike[alike > 1].sum()):
        sentences.append(
            f"{kept:,} texts are equal to another, but for case and white space; "
            "equal ones are in the same part."
        )
    for name, part, fraction in zip(PARTS, parts, fractions, strict=True):
        there = set(part["Label"])
        lacking = [label for number, label in enumerate(labels) if number not in there]
        if lacking and fraction:
            sentences.append(
                f"{counted(len(lacking), 'class has', 'classes have')} no text in the {name} part: "
                f"{listed(lacking)}."
            )
    return tuple(sentences)


# --- classes of unequal size ----------------------------------------------------------------------


def undersample(frame: pd.DataFrame, seed: int = 123) -> pd.DataFrame:
    """Return as many rows of each class as the smallest has, in the frame's order.

    The book's way (section 6.2): of two classes the same rows as `create_balanced_dataset` draws.
    `frame` has the columns `Label` and `Text`. Raises ValueError for one without rows.
    """
    need_columns(frame, "the table")
    whole_number("seed", seed, 0, 2**32 - 1)
    if not len(frame):
        raise ValueError("there are no texts to draw from")
    if frame["Label"].isna().any():
        raise ValueError("a label is missing; set the rows without one aside first")
    frame = frame.reset_index(drop=True)
    smallest = int(frame["Label"].value_counts().min())
    drawn = frame.groupby("Label").sample(n=smallest, random_state=seed)
    return drawn.sort_index().reset_index(drop=True)


def class_weights(labels: Sequence[int], num_classes: int) -> tuple[float, ...]:
    """Return a weight for each class: the fewer messages it has, the larger.

    All classes weigh the same in all, and the mean over the messages is 1: n / (num_classes · n_c).
    Raises ValueError for a number beyond the classes, and for a class without a message.
    """
    whole_number("num_classes", num_classes)
    numbers = [whole_number("a label", label, 0, num_classes - 1) for label in labels]
    counts = np.bincount(np.array(numbers, dtype=np.int64), minlength=num_classes)
    if without := np.flatnonzero(counts == 0).tolist():
        raise ValueError(
            f"no message is of {'class' if len(without) == 1 else 'the classes'} {listed(without)}; "
            "a class needs messages to have a weight"
        )
    return tuple((len(numbers) / (num_classes * counts)).tolist())
