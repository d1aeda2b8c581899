"""Results of trainings: rows in a file of JSON lines, and intervals that say how sure a figure is.

A row is a dictionary with a text "id"; in the file it is one line (jsonlines.org). A row is
appended whole, so what was there before is never at risk. A line that can't be read, because
something else wrote it or the power failed, is left out with a word, and stays in the file.
"""

import json
import math
import os
from pathlib import Path
from statistics import NormalDist

import numpy as np

from helpers.checks import finite_number
from helpers.files import whole_file

FEWEST_MESSAGES = 10  # for a paired interval

# --- rows in a file ------------------------------------------------------------------------------


def append_row(path: str | Path, row: dict) -> None:
    """Append `row`, which has a text "id", to the file at `path` as one line of JSON.

    The line is written by one call, behind all that is there: two processes that append at once do
    not mix, and one that is killed leaves a line or none. Raises ValueError for a row without an id
    or with numbers that JSON does not have, TypeError for other values, OSError where the file
    can't be written.
    """
    if not isinstance(row, dict) or not isinstance(row.get("id"), str):
        raise ValueError(f"a row is a dictionary with a text 'id', not {row!r}")
    line = (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n").encode()
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)  # Windows' own
    file = os.open(path, flags, 0o666)
    try:
        if os.lseek(file, 0, os.SEEK_END):
            os.lseek(file, -1, os.SEEK_END)
            if os.read(file, 1) != b"\n":  # a line that was cut off must not spoil this one
                line = b"\n" + line
        if os.write(file, line) != len(line):
            raise OSError(f"{path} took a part of the row only; is the disk full?")
    finally:
        os.close(file)


def read_rows(path: str | Path) -> tuple[list[dict], list[str]]:
    """Return the rows of a file, and a sentence for each line that is none; no file has no rows.

    Empty lines mean nothing: `append_row` makes one where another process was still writing.
    """
    rows, notes = [], []
    for number, line in enumerate(_lines(path), start=1):
        if not line:
            continue
        try:
            rows.append(_parsed(line))
        except (ValueError, RecursionError) as error:
            notes.append(f"{path}, line {number} is left out, as it is no whole row ({error})")
    return rows, notes


def delete_row(path: str | Path, row_id: str) -> None:
    """Delete the row with this id from the file; all other lines stay, the damaged ones too.

    What another process appends in the same moment may be lost. Raises ValueError for an id that
    no row has.
    """
    lines = _lines(path)
    kept = [line for line in lines if not _has_id(line, row_id)]
    if len(kept) == len(lines):
        raise ValueError(f"{path} has no row with the id {row_id!r}; it may be deleted already")
    with whole_file(path) as part:
        part.write_bytes(b"".join(line + b"\n" for line in kept))


def _lines(path: str | Path) -> list[bytes]:
    path = Path(path)
    lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
    return lines[:-1] if not lines[-1] else lines


def _parsed(line: bytes) -> dict:
    row = json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
    if not isinstance(row, dict) or not isinstance(row.get("id"), str):
        raise ValueError("it is not a dictionary with a text 'id'")
    return row


def _refuse_constant(name: str):
    raise ValueError(f"JSON has no number {name}")


def _has_id(line: bytes, row_id: str) -> bool:
    try:
        return _parsed(line)["id"] == row_id
    except (ValueError, RecursionError):
        return False


# --- intervals -----------------------------------------------------------------------------------


def wilson_interval(share: float, count: int, level: float = 0.95) -> tuple[float, float]:
    """Return the score interval, (low, high), of a `share` (0 … 1) of `count` messages.

    Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference". It stays
    within 0 … 1, and does not shrink to a point where all or none are right. It speaks of other
    messages of the same kind, not of other trainings. Raises ValueError for what is no share, no
    count from 1, or no level between 0 and 1.
    """
    finite_number("share", share, inclusive=True, most=1.0)
    finite_number("count", count)
    z = NormalDist().inv_cdf((1 + _checked_level(level)) / 2)
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
    return max(0.0, middle - half), min(1.0, middle + half)


def paired_interval(a, b, level: float = 0.95) -> tuple[float, float, float]:
    """Return the mean difference a - b in the share of right answers, and its interval (low, high).

    `a` and `b` are (num_seeds, num_messages) of 1 (right) and 0 (wrong), on the same messages; the
    numbers of seeds may differ. For each message the mean over the seeds is taken, and the
    differences of these means get Student's t interval for paired samples (Student 1908, "The
    Probable Error of a Mean"). It speaks of other messages of the same kind, not of other seeds,
    splits or settings. Raises ValueError for other shapes and values, and for fewer than
    FEWEST_MESSAGES messages.
    """
    from scipy import stats  # slow to import

    a, b = _right_answers("a", a), _right_answers("b", b)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"a has {a.shape[1]} messages and b has {b.shape[1]}: these are no pairs")
    count = a.shape[1]
    if count < FEWEST_MESSAGES:
        raise ValueError(
            f"{count} messages are too few for an interval; take {FEWEST_MESSAGES} or more"
        )
    differences = a.mean(axis=0) - b.mean(axis=0)  # (num_messages,)
    mean = differences.mean()
    error = differences.std(ddof=1) / math.sqrt(count)
    half = error * stats.t.ppf((1 + _checked_level(level)) / 2, count - 1)
    return float(mean), float(mean - half), float(mean + half)


def _right_answers(name: str, values) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 2 or not array.size or not np.isin(array, (0, 1)).all():
        raise ValueError(
            f"{name} must be (num_seeds, num_messages) of 0 and 1, not {array.dtype} {array.shape}"
        )
    return array.astype(float)


def _checked_level(level: float) -> float:
    finite_number("level", level, most=1.0)
    if level == 1:
        raise ValueError("level must be below 1: only an interval without an end is that sure")
    return level
