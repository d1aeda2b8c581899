"""A reader's own table: texts with labels of any classes, read, put in order and reported on.

Nothing is dropped or changed without a sentence in the report that says how much.
"""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.config import BASE_CONFIG
from helpers.data.table_files import find_column, listed, read_columns
from helpers.tokenizer import get_tokenizer

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
