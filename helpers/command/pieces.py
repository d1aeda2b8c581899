"""The texts of a file of any size, in pieces, so that it never lies in memory whole.

A first look goes through all of it: what is wrong with the last line is said before the first one
is classified.
"""

import codecs
import csv
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import pandas as pd

from helpers.files import file_sha256

PIECE_ROWS = 1_000
PIECE_CHARACTERS = 2**22  # a piece of long texts ends here, whatever its number of rows
DELIMITERS = {".csv": ",", ".tsv": "\t"}
JSON_LINES, PARQUET, LINES = (".jsonl", ".ndjson"), ".parquet", ".txt"
KINDS = (*DELIMITERS, *JSON_LINES, PARQUET, LINES)
TEXT_COLUMNS = (
    "text", "message", "sms", "body", "content", "review", "sentence", "comment", "post", "tweet",
)  # fmt: skip
BLOCK = 2**16  # bytes read at once


@dataclass(frozen=True)
class TextFile:
    """A file with texts that has been looked at once.

    `column` is the one with the texts (None: each line is one), `encoding` None for Parquet, `rows`
    and `pieces` their numbers, and `sha256` that of the file's bytes.
    """

    path: Path
    encoding: str | None
    column: str | None
    sha256: str
    rows: int = 0
    pieces: int = 0


def look_at(path: str | Path, text: str | None = None) -> TextFile:
    """Read a file once from end to end, and say what is in it.

    It is a CSV, TSV or Parquet table or JSON lines, by the ending of its name, with the texts in
    the column `text` (None: one with a usual name); or ".txt", each line of which is a text. Raises
    FileNotFoundError and other OSErrors, and ValueError for what can't be read, with the line.
    """
    path = _existing_file(path)
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise ValueError(
            f"{path} has none of the endings {', '.join(KINDS)}, so what is in it is not known; "
            "rename it, or send its lines to standard input"
        )
    encoding = None if kind == PARQUET else _encoding_of(path)
    column = None if kind == LINES else _text_column(path, kind, encoding, text)
    if kind == LINES and text is not None:
        raise ValueError(f"{path} has lines and no columns, so there is no column {text!r}")
    found = TextFile(path, encoding, column, file_sha256(path))
    sizes = [len(piece) for piece in pieces(found)]
    return replace(found, rows=sum(sizes), pieces=len(sizes))


def pieces(source: TextFile) -> Iterator[list[str]]:
    """Yield the texts in order, in lists of PIECE_ROWS; a missing one is "".

    The pieces are the same each time. Blank lines of a CSV file are no rows, as in pandas.
    """
    kind = source.path.suffix.lower()
    if kind in DELIMITERS:
        texts = _cells(source, DELIMITERS[kind])
    elif kind in JSON_LINES:
        texts = _values(source)
    elif kind == PARQUET:
        texts = _entries(source)
    else:
        texts = _lines(source)
    return in_pieces(map(_encodable, texts))


def in_pieces(texts: Iterable[str]) -> Iterator[list[str]]:
    """Yield lists of PIECE_ROWS texts, fewer where they are long."""
    piece, characters = [], 0
    for text in texts:
        piece.append(text)
        characters += len(text)
        if len(piece) == PIECE_ROWS or characters >= PIECE_CHARACTERS:
            yield piece
            piece, characters = [], 0
    if piece:
        yield piece


def lines_as_they_come(file: BinaryIO) -> Iterator[list[str]]:
    """Yield the lines of a stream, without their ends, in lists of those that can be read by now.

    So a slow stream gives one at a time. They are UTF-8, or, where one can't be, cp1252; raises
    ValueError for a line that is neither.
    """
    number, rest = 0, b""
    while block := file.read1(BLOCK):
        *whole, rest = (rest + block).split(b"\n")
        yield from in_pieces(_line(line, number + i) for i, line in enumerate(whole, 1))
        number += len(whole)
    if rest:
        yield [_line(rest, number + 1)]


def _line(line: bytes, number: int) -> str:
    line = line.removesuffix(b"\r")
    if number == 1:
        line = line.removeprefix(codecs.BOM_UTF8)
    for encoding in ("utf-8", "cp1252"):
        try:
            return line.decode(encoding)
        except UnicodeDecodeError as error:
            wrong = error
    raise ValueError(
        f"line {number:,} of standard input is no text in UTF-8: {wrong.object[:20]!r}"
    )


def _encodable(text: str) -> str:
    """Return a text without halves of a surrogate pair, which UTF-8 can't write."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


# --- before anything is read -----------------------------------------------------------------


def _existing_file(path: str | Path) -> Path:
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(path)):
        raise ValueError(f"{path} is an address, not a file; download it first and name the file")
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name a file in it")
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; is the name right?")
    if not path.stat().st_size:
        raise ValueError(f"{path} is empty; it should hold texts")
    return path


def _encoding_of(path: Path) -> str:
    """Return how a file is encoded: by its first bytes, else UTF-8, else cp1252 if that can be."""
    with path.open("rb") as file:
        start = file.read(4)
    if start.startswith(codecs.BOM_UTF8):
        candidates = ("utf-8-sig",)
    elif start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        candidates = ("utf-16",)
    else:
        candidates = ("utf-8", "cp1252")
    problems = []
    for encoding in candidates:
        if (problem := _undecodable(path, encoding)) is None:
            if candidates == ("utf-8", "cp1252"):
                _refuse_binary(path, most=0.1 if encoding == "utf-8" else 0)
            return encoding
        problems.append(problem)
    _refuse_binary(path, most=0)
    raise ValueError(f"{path} is not text in {candidates[0].upper()}: {problems[0]}; save it so")


def _refuse_binary(path: Path, most: float) -> None:
    """Raise ValueError where more than this share of the first bytes is zero.

    A few may stand in a text, but UTF-16 without its mark, which passes for UTF-8, is full of them.
    """
    with path.open("rb") as file:
        start = file.read(BLOCK)
    if start.count(0) > most * len(start):
        raise ValueError(
            f"{path} is not a text file, or UTF-16 without its mark: {start.count(0):,} of its "
            f"first {len(start):,} bytes are zero; save it as UTF-8"
        )


def _undecodable(path: Path, encoding: str) -> str | None:
    """Return what can't be decoded and where; None where all can."""
    decoder, lines = codecs.getincrementaldecoder(encoding)(), 1
    with path.open("rb") as file:
        while True:
            block = file.read(BLOCK)
            try:
                lines += decoder.decode(block, final=not block).count("\n")
            except UnicodeDecodeError as error:
                lines += error.object[: error.start].count(b"\n")
                wrong = error.object[error.start : error.start + 4].hex(" ")
                return f"the bytes {wrong} in line {lines:,}"
            if not block:
                return None


def _text_column(path: Path, kind: str, encoding: str | None, wanted: str | None) -> str:
    columns = _columns(path, kind, encoding)
    named = ", ".join(map(repr, columns[:20])) + (", …" if len(columns) > 20 else "")
    if wanted is not None:
        found = [column for column in columns if column == wanted]
        missing = f"{path} has no column {wanted!r}, but {named}; name one of these"
    else:
        lower = [column.strip().lower() for column in columns]
        usual = next((name for name in TEXT_COLUMNS if name in lower), None)
        found = [column for column in columns if column.strip().lower() == usual]
        missing = f"{path} has the columns {named}; name the one with the texts: --text COLUMN"
    if not found:
        raise ValueError(missing)
    if len(found) > 1:
        raise ValueError(
            f"{path} has {len(found)} columns named {', '.join(map(repr, found))}; rename one"
        )
    return found[0]


def _columns(path: Path, kind: str, encoding: str | None) -> list[str]:
    if kind == PARQUET:
        return list(_parquet(path).schema_arrow.names)
    with path.open(encoding=encoding, newline="") as file:
        if kind in DELIMITERS:
            return next(csv.reader(file, delimiter=DELIMITERS[kind]), [])
        line = next(filter(str.strip, file), "{}")
    return list(_object(path, 1, line))


# --- each kind of file -----------------------------------------------------------------------


def _cells(source: TextFile, delimiter: str) -> Iterator[str]:
    try:
        with source.path.open(encoding=source.encoding, newline="") as file:
            parts = pd.read_csv(
                file, sep=delimiter, dtype=str, keep_default_na=False, chunksize=PIECE_ROWS
            )
            for part in parts:
                if not isinstance(part.index, pd.RangeIndex):
                    raise ValueError("its rows have more fields than its first line")
                yield from part[source.column].fillna("")
    except ValueError as error:  # pandas' ParserError is one
        said = str(error).removeprefix("Error tokenizing data. C error: ").strip()
        raise ValueError(f"{source.path} is not a whole table: {said}") from error


def _values(source: TextFile) -> Iterator[str]:
    with source.path.open(encoding=source.encoding) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield _as_text(_object(source.path, number, line).get(source.column))


def _object(path: Path, number: int, line: str) -> dict:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}, line {number:,}, is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f'{path}, line {number:,}, must be an object such as {{"text": "…"}}')
    return value


def _entries(source: TextFile) -> Iterator[str]:
    file = _parquet(source.path)
    for batch in file.iter_batches(PIECE_ROWS, columns=[source.column]):
        yield from map(_as_text, batch.column(0).to_pylist())


def _parquet(path: Path):
    from pyarrow import ArrowInvalid
    from pyarrow.parquet import ParquetFile

    try:
        return ParquetFile(path, buffer_size=BLOCK)  # or a whole column of it is read at once
    except ArrowInvalid as error:
        raise ValueError(f"{path} is not a whole Parquet file: {error}") from error


def _lines(source: TextFile) -> Iterator[str]:
    with source.path.open(encoding=source.encoding) as file:
        yield from (line.removesuffix("\n") for line in file)


def _as_text(value) -> str:
    """Return a value as a text; None and NaN are missing."""
    return "" if value is None or value != value else str(value)
