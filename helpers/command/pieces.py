"""The texts of a file of any size, in pieces, so that it never lies in memory whole.

A first look goes through all of it: what is wrong with the last line is said before the first one
is classified. What a file and a column may be is as in `helpers.data.read_texts`.
"""

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from helpers.data.table_files import (
    csv_cells,
    encoding_of,
    find_column,
    header_of,
    json_object,
    kind_of_file,
    need_file,
    separator_of,
)
from helpers.data.texts import TEXT_NAMES, as_texts
from helpers.files import file_sha256

PIECE_ROWS = 1_000
PIECE_CHARACTERS = 2**22  # a piece of long texts ends here, whatever its number of rows
BLOCK = 2**16  # bytes read at once


@dataclass(frozen=True)
class TextFile:
    """A file with texts that has been looked at once.

    `kind` is "lines" where each line is a text, else "CSV", "TSV", "JSON lines" or "Parquet";
    `names` are the columns', `place` is that of the one with the texts. `encoding` is None for
    Parquet, `sha256` is that of the file's bytes, `rows` and `pieces` are their numbers.
    """

    path: Path
    kind: str
    encoding: str | None
    names: tuple[str, ...]
    place: int
    sha256: str
    rows: int = 0
    pieces: int = 0

    @property
    def column(self) -> str:
        """The name of the column with the texts; "" where each line is one."""
        return self.names[self.place] if self.names else ""


def look_at(path: str | Path, text: str | None = None) -> TextFile:
    """Read a file once from end to end, and say what is in it.

    It is a CSV, TSV or Parquet table or JSON lines, by the ending of its name, with the texts in
    the column `text` (None: one with a usual name). Of a ".txt" file each line is a text; with
    `text` given it is a TSV table. Raises OSError for what can't be opened, and ValueError for
    what can't be read, with the line.
    """
    path = need_file(path)
    is_lines = path.suffix.lower() == ".txt" and text is None
    kind = "lines" if is_lines else kind_of_file(path)
    encoding = None if kind == "Parquet" else encoding_of(path)
    names = {"lines": lambda: (), "Parquet": lambda: _parquet_names(path)}.get(
        kind, lambda: _names(path, kind, encoding)
    )()
    place = 0 if is_lines else _place(names, text, path)
    found = TextFile(path, kind, encoding, names, place, file_sha256(path))
    sizes = [len(piece) for piece in pieces(found)]
    return replace(found, rows=sum(sizes), pieces=len(sizes))


def _names(path: Path, kind: str, encoding: str) -> tuple[str, ...]:
    if kind != "JSON lines":
        return header_of(path, encoding, separator_of(path, encoding))
    names: dict[str, None] = {}
    for row in _objects(path, encoding):
        names.update(dict.fromkeys(row))
    return tuple(names)


def _place(names: tuple[str, ...], text: str | None, path: Path) -> int:
    try:
        return find_column(names, text, TEXT_NAMES, "text", str(path))
    except ValueError as error:
        raise ValueError(str(error).replace("text=…", "--text COLUMN")) from None


def pieces(source: TextFile) -> Iterator[list[str]]:
    """Yield the texts in order, in lists of PIECE_ROWS, fewer where they are long; a missing one is "".

    The pieces are the same each time. Blank lines of a table are no rows, as in pandas.
    """
    read = {"lines": _lines, "JSON lines": _values, "Parquet": _entries}
    return in_pieces(map(_encodable, read.get(source.kind, _cells)(source)))


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


def _encodable(text: str) -> str:
    """Return a text without halves of a surrogate pair, which UTF-8 can't write."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


# --- each kind of file -----------------------------------------------------------------------


def _lines(source: TextFile) -> Iterator[str]:
    with source.path.open(encoding=source.encoding) as file:
        yield from (line.removesuffix("\n") for line in file)


def _cells(source: TextFile) -> Iterator[str]:
    path, encoding = source.path, source.encoding
    separator = separator_of(path, encoding)
    for cells in csv_cells(path, encoding, separator, source.names, source.place, PIECE_ROWS):
        yield from as_texts(cells, source.column, str(path))


def _values(source: TextFile) -> Iterator[str]:
    for number, row in enumerate(_objects(source.path, source.encoding), start=1):
        yield from as_texts([row.get(source.column)], source.column, str(source.path), number)


def _objects(path: Path, encoding: str | None) -> Iterator[dict]:
    with path.open(encoding=encoding) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield json_object(path, number, line, _each_name_once)


def _each_name_once(pairs: list[tuple]) -> dict:
    if len(row := dict(pairs)) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two values are called {twice!r}")
    return row


def _entries(source: TextFile) -> Iterator[str]:
    import pyarrow

    first = 1
    try:
        file = _parquet(source.path)
        for batch in file.iter_batches(PIECE_ROWS, columns=[source.column]):
            yield from as_texts(batch.column(0).to_pylist(), source.column, str(source.path), first)
            first += len(batch)
    except (pyarrow.ArrowException, OSError) as error:
        raise _no_parquet(source.path, error) from None


def _parquet_names(path: Path) -> tuple[str, ...]:
    import pyarrow

    try:
        return tuple(_parquet(path).schema_arrow.names)
    except (pyarrow.ArrowException, OSError) as error:
        raise _no_parquet(path, error) from None


def _parquet(path: Path):
    from pyarrow.parquet import ParquetFile

    return ParquetFile(path, buffer_size=BLOCK)  # or a whole column of a row group is read at once


def _no_parquet(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path} is no whole Parquet file ({str(error).splitlines()[0]})")


# --- standard input --------------------------------------------------------------------------


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
        except UnicodeDecodeError:
            pass
    raise ValueError(
        f"line {number:,} of standard input is text neither in UTF-8 nor in cp1252: {line[:20]!r}"
    )
