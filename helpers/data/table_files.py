"""A table's columns, as plain lists, from a file or a DataFrame; and which of them is meant.

CSV and TSV are read by pandas, Parquet by pyarrow, JSON lines (https://jsonlines.org, one object a
line) line by line, so that a fault's line can be named. What can't be read is refused with the
line's number, counted from 1, as an editor shows it.
"""

import csv
import json
import re
import reprlib
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from helpers.checks import instance_of

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
