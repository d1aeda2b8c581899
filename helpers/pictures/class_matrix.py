"""The confusion matrix of any number of classes: a row for each correct class, a column for each
that a text was called.
"""

import unicodedata
from collections.abc import Iterator

from helpers.checks import instance_of
from helpers.class_measures import MOST_CLASSES, ClassFigures
from helpers.history import count_of
from helpers.svg import BLUE, ORANGE, TEXT, Drawing, mixed, picture, rect, text

WIDTH = 640  # of the fields and the names, where there are few classes
LARGEST_FIELD, GAP, EDGE = 92, 2, 10
WIDEST_NAME = 220  # pixels of a name beside a row
EMPTY, GROUND, STRONG = "#f2f2f2", 0.1, 0.55  # a field of no text; how much colour the others have
TOP = 58  # where the fields begin


def draw_class_matrix(figures: ClassFigures) -> Drawing:
    """Draw how many texts of each class (rows) were called what (columns).

    The fields on the diagonal, in a frame and blue, are right answers; the others, orange, are
    mistakes; the stronger the colour, the larger the field's share of its row. Classes are in the
    order of `figures.labels`; of more than MOST_CLASSES only the largest are drawn, and a line
    says what is left out. Raises TypeError for what are no ClassFigures.
    """
    instance_of("figures", figures, ClassFigures, "what class_figures returns")
    numbers = _drawn_classes(figures)
    names = [_one_line(figures.labels[number]) for number in numbers]
    table = figures.table[numbers][:, numbers].tolist()
    most = max(max(row) for row in table)
    smallest = _width(_short_count(most), 11) + 8
    side = max(smallest, min(LARGEST_FIELD, (WIDTH - WIDEST_NAME - 2 * EDGE) / len(names) - GAP))
    numbered = any(_width(name, 12) > side + GAP - 6 for name in names)
    heads = [str(place) for place in range(1, len(names) + 1)] if numbered else names
    sides = [f"{head} {name}" for head, name in zip(heads, names, strict=True)]
    beside = [_shortened(name, WIDEST_NAME) for name in (sides if numbered else names)]
    left = EDGE + max(_width("correct", 12), *(_width(name, 12) for name in beside)) + 8
    right = left + len(names) * (side + GAP)
    width = max(right + EDGE, 380)

    drawn = [text(left, 18, "called", bold=True, size=13)]
    drawn.append(text(left - 8, TOP - 10, "correct", anchor="end", size=13, bold=True))
    for place, head in enumerate(heads):
        middle = left + place * (side + GAP) + side / 2
        drawn.append(text(middle, TOP - 10, head, anchor="middle"))
    for row, (name, counts) in enumerate(zip(beside, table, strict=True)):
        y = TOP + row * (side + GAP)
        drawn.append(text(left - 8, y + side / 2 + 4, name, anchor="end"))
        for column, count in enumerate(counts):
            share = count / (sum(figures.table[numbers[row]].tolist()) or 1)
            drawn += _field(left + column * (side + GAP), y, side, count, share, row == column)
    bottom = TOP + len(names) * (side + GAP)
    notes = ["in a frame: right; the others: mistakes", *_left_out(figures, numbers)]
    for line, note in enumerate(notes):
        drawn.append(text(EDGE, bottom + 18 + 18 * line, note, size=11))
    widest = max(_width(note, 11) for note in notes) + 2 * EDGE
    height = bottom + 8 + 18 * len(notes) + 6
    return picture(drawn, _words(figures, numbers), round(max(width, widest)), round(height))


def _drawn_classes(figures: ClassFigures) -> list[int]:
    """Return the numbers of the classes that are drawn, in their order: the largest ones."""
    sizes = figures.table.sum(axis=1).tolist()
    largest = sorted(range(len(sizes)), key=lambda number: -sizes[number])[:MOST_CLASSES]
    return sorted(largest)


def _field(
    x: float, y: float, side: float, count: int, share: float, is_right: bool
) -> Iterator[str]:
    colour = BLUE if is_right else ORANGE
    fill = mixed(GROUND + (STRONG - GROUND) * share, colour) if count else EMPTY
    yield rect(x, y, side, side, fill)
    if is_right:  # the frame lies inside the field, so that it stands out on any paper
        yield rect(x + 2, y + 2, side - 4, side - 4, fill, TEXT)
    size = 14 if side >= 44 else 11
    words = _short_count(count)
    yield text(
        x + side / 2, y + side / 2 + size / 3, words, size, "middle", bold=is_right, fill=TEXT
    )


def _left_out(figures: ClassFigures, numbers: list[int]) -> list[str]:
    rest = len(figures.labels) - len(numbers)
    if not rest:
        return []
    outside = figures.total - int(figures.table[numbers][:, numbers].sum())
    classes = "1 class is" if rest == 1 else f"{rest:,} classes are"
    return [
        f"the {len(numbers)} largest classes; {classes} left out, "
        f"and {count_of(outside, 'text')} that are or were called so"
    ]


def _words(figures: ClassFigures, numbers: list[int]) -> str:
    names = {number: _one_line(figures.labels[number]) for number in numbers}
    lines = [
        f"the confusion matrix of {count_of(figures.total, 'text')}, {figures.right:,} of them right"
    ]
    for number in numbers:
        counts = figures.table[number].tolist()
        called = sorted((n for n in numbers if n != number and counts[n]), key=lambda n: -counts[n])
        mistakes = ", ".join(f"{counts[n]:,} called {names[n]}" for n in called)
        lines.append(
            f"{names[number]}, {count_of(sum(counts), 'text')}: {counts[number]:,} right"
            f"{f', {mistakes}' if mistakes else ''}"
        )
    lines += _left_out(figures, numbers)
    return "\n".join(lines)


# --- names and numbers in little room -------------------------------------------------------------


def _one_line(name: str) -> str:
    """Return a name without line ends, and without what no SVG can hold."""
    return "".join(c if c.isprintable() else "\ufffd" for c in " ".join(name.split()))


def _short_count(count: int) -> str:
    """Return a count in at most four characters or so: "9999", "12k", "3M"."""
    if count < 10_000:
        return str(count)
    return f"{count // 1000}k" if count < 1_000_000 else f"{count // 1_000_000}M"


def _shortened(name: str, room: float) -> str:
    if _width(name, 12) <= room:
        return name
    while name and _width(f"{name}…", 12) > room:
        name = name[:-1]
    return f"{name.rstrip()}…"


def _width(words: str, size: float) -> float:
    """Return about how many pixels words take, in a wide font."""
    return size * sum(map(_ems, words))


def _ems(character: str) -> float:
    if unicodedata.combining(character):
        return 0.0
    if unicodedata.east_asian_width(character) in "WF" or ord(character) > 0x2E7F:
        return 1.3
    return 1.0 if character in "mwMW@%…—" else 0.8 if character.isupper() else 0.65
