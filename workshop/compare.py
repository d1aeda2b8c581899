"""What the experiments found: differences with intervals, as a table and as a picture.

The questions of the notebook 06_C: guess first, then see what was measured.
"""

import base64
import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor
from pathlib import Path

import numpy as np

from helpers.measures import paired_interval
from workshop.experiments import ROWS
from workshop.lab import read_rows
from workshop.pictures.svg import Drawing

BETTER, WORSE, NO_DIFFERENCE = "better", "worse", "no difference"


@dataclass(frozen=True)
class Comparison:
    """A row beside the one it is compared with; accuracies 0 … 1, one of each seed.

    `difference` is that of the mean test accuracies; `low` and `high` are the ends of its 95 %
    interval, paired over the test messages (`results.paired_interval`).
    """

    row: int
    against: int
    accuracies: tuple[float, ...]
    reference: tuple[float, ...]  # the accuracies of the row `against`
    difference: float
    low: float
    high: float

    @property
    def mean(self) -> float:
        return float(np.mean(self.accuracies))

    @property
    def seed_differences(self) -> tuple[float, ...]:
        """Each seed's accuracy less the other row's mean."""
        return tuple(accuracy - float(np.mean(self.reference)) for accuracy in self.accuracies)

    @property
    def verdict(self) -> str:
        """Say "better" or "worse" where zero lies outside the interval, else "no difference"."""
        return BETTER if self.low > 0 else WORSE if self.high < 0 else NO_DIFFERENCE


def compare(results: Iterable[dict], number: int, against: int | None = None) -> Comparison | None:
    """Return how row `number` compares with row `against` (None: as ROWS says).

    `results` are rows of `run.run`; of each row the seeds count that the other one has, too. None
    where there are none. Raises ValueError where they are of different data or code: unlike is not
    compared with like.
    """
    results = list(results)
    against = ROWS[number].against if against is None else against
    ours, theirs = ({r["seed"]: r for r in results if r["row"] == row} for row in (number, against))
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds:
        return None
    ours, theirs = ([found[seed] for seed in seeds] for found in (ours, theirs))
    origins = {(r["fingerprint"]["data"], r["fingerprint"]["code"]) for r in ours + theirs}
    if len(origins) > 1:
        raise ValueError(
            f"rows {number} and {against} are of different data or code; "
            "run both anew into one file"
        )
    a, b = _right(ours), _right(theirs)
    return Comparison(
        number,
        against,
        tuple(a.mean(axis=1).tolist()),
        tuple(b.mean(axis=1).tolist()),
        *paired_interval(a, b),
    )


def _right(results: Sequence[dict]) -> np.ndarray:
    """Return (num_seeds, num_messages) of 1 and 0."""
    return np.array([[int(mark) for mark in result["right"]] for result in results])


def compare_all(results: Sequence[dict]) -> list[Comparison]:
    """Return a comparison of each row that has one, but row 1 with itself."""
    numbers = sorted({result["row"] for result in results} - {1})
    found = [compare(results, number) for number in numbers]
    return [comparison for comparison in found if comparison is not None]


# --- as words --------------------------------------------------------------------------------


def in_points(value: float) -> str:
    """Return a difference of shares in percentage points, with its sign: "−3.2", "0.0"."""
    text = f"{100 * value:+.1f}".replace("-", "−")
    return "0.0" if text[1:] == "0.0" else text


def say(comparison: Comparison) -> str:
    """Return the difference, its interval and the verdict in a line."""
    ends = f"{in_points(comparison.low)} … {in_points(comparison.high)}"
    return f"{in_points(comparison.difference)} points ({ends}): {comparison.verdict}"


HEAD = (
    "row", "", "train", "test", "of the seeds", "to row", "points", "95 % interval", "verdict",
    "book",
)  # fmt: skip


WORDS_IN = 1, 8  # the columns that hold words, not numbers


def table_cells(results: Sequence[dict]) -> list[tuple[str, ...]]:
    """Return a line for each row of the results, with a text for each of HEAD.

    Accuracies are in percent, means over the seeds; "of the seeds" are the lowest and the highest.
    """
    comparisons = {c.row: c for c in compare_all(results)}
    lines = []
    for number in sorted({result["row"] for result in results}):
        own = [result for result in results if result["row"] == number]
        train, test = ([100 * r["accuracy"][part] for r in own] for part in ("train", "test"))
        ends = f"{min(test):.1f} … {max(test):.1f}"
        cells = [str(number), ROWS[number].words, f"{np.mean(train):.1f}", f"{np.mean(test):.1f}"]
        beside = [""] * 4
        if c := comparisons.get(number):
            interval = f"{in_points(c.low)} … {in_points(c.high)}"
            beside = [str(c.against), in_points(c.difference), interval, c.verdict]
        book = "" if ROWS[number].book is None else f"{ROWS[number].book:.2f}"
        lines.append((*cells, ends, *beside, book))
    return lines


def table(results: Sequence[dict]) -> str:
    """Return `table_cells` as plain text in columns."""
    lines = [HEAD, *table_cells(results)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i in WORDS_IN else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


# --- as a picture ----------------------------------------------------------------------------

ROW_HEIGHT, TOP, BOTTOM = 28, 46, 34  # pixels


LABELS, PLOT, MARGIN = 340, 400, 50  # widths


COLOURS = {BETTER: "#0072b2", WORSE: "#b34e00", NO_DIFFERENCE: "#555555"}  # Okabe & Ito's


MARKS = {BETTER: "▲", WORSE: "▼", NO_DIFFERENCE: "●"}


def draw_dot_plot(comparisons: Sequence[Comparison]) -> Drawing:
    """Draw each difference with its interval, and a faint dot for each seed.

    Mark, colour and words say the same. Raises ValueError where there is nothing to draw.
    """
    if not comparisons:
        raise ValueError("there is nothing to draw; run row 1 and another one first")
    values = [0.0] + [x for c in comparisons for x in (c.low, c.high, *c.seed_differences)]
    step = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if max(values) - min(values) <= 8 * s)
    first, last = floor(min(values) / step), ceil(max(values) / step) or 1
    width, height = LABELS + PLOT + MARGIN, TOP + ROW_HEIGHT * len(comparisons)

    def place(difference: float) -> float:
        return LABELS + (difference / step - first) / (last - first) * PLOT

    drawn = []
    for i in range(first, last + 1):
        x, shade = place(i * step), "#333333" if i == 0 else "#dddddd"
        drawn.append(f'<path d="M{x:.1f},{TOP - 8}V{height}" stroke="{shade}"/>')
        drawn.append(_text(x, height + 16, in_points(i * step)[:-2] or "0", "middle"))
    for i, c in enumerate(comparisons):
        y, colour = TOP + ROW_HEIGHT * (i + 0.5), COLOURS[c.verdict]
        drawn.append(_text(LABELS - 34, y + 4, _label(c), "end"))
        drawn.append(_text(LABELS - 22, y + 4, MARKS[c.verdict], "middle", colour))
        drawn.extend(
            f'<circle cx="{place(d):.1f}" cy="{y + 7}" r="2.5" fill="{colour}" opacity="0.4"/>'
            for d in c.seed_differences
        )
        ends = f"M{place(c.low):.1f},{y}H{place(c.high):.1f}"
        drawn.append(f'<path d="{ends}" stroke="{colour}" stroke-width="2.5"/>')
        drawn.append(f'<circle cx="{place(c.difference):.1f}" cy="{y}" r="5" fill="{colour}"/>')
    title = "test accuracy beside the row compared with, in percentage points"
    drawn.append(_text(width / 2, 18, title, "middle"))
    drawn.append(_text(place(0) - 8, TOP - 12, "worse", "end", COLOURS[WORSE]))
    drawn.append(_text(place(0) + 8, TOP - 12, "better", "start", COLOURS[BETTER]))
    words = f"{title}: " + "; ".join(f"{_label(c)} {say(c)}" for c in comparisons)
    total = height + BOTTOM
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {total}" width="{width}" '
        f'height="{total}" style="max-width:100%;height:auto" role="img" '
        f'aria-label="{escape(words)}" font-family="system-ui, Helvetica, Arial, sans-serif">'
        f'<rect width="{width}" height="{total}" fill="white"/>\n' + "\n".join(drawn) + "\n</svg>"
    )
    return Drawing(svg, words)


def _label(c: Comparison) -> str:
    return f"{c.row}  {ROWS[c.row].words}" + (f" (to {c.against})" if c.against != 1 else "")


def _text(x: float, y: float, words: str, anchor: str, colour: str = "#333333") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="12" fill="{colour}" text-anchor="{anchor}">'
        f"{escape(words)}</text>"
    )


ANSWERS = (BETTER, WORSE, NO_DIFFERENCE)


def read_results(path: str | Path, model: str, data: str) -> list[dict]:
    """Return the rows of a file that are of this data set, and compared with this model's row 1.

    What is damaged is said. Where the file has nothing of the two, that is said, with the command
    that makes such results, and all of its rows are returned.
    """
    rows, notes = read_rows(path)
    print(*notes, sep="\n", end="\n" if notes else "")
    own = [row for row in rows if row["settings"]["data"] == data]
    if any(row["row"] == 1 and row["settings"]["model"] == model for row in own):
        return own
    print(
        f"{Path(path).name} has no results of {model} on {data}, so it is shown as it is. To make "
        f'yours: python -m workshop.experiments --model "{model}" --data {data} --out FILE'
    )
    return rows


class Guesses:
    """What a learner expects of the rows, and what `results`, rows of `run.run`, say to it.

    Nothing of a row is said before it is guessed.
    """

    def __init__(self, results: Sequence[dict]):
        self.results = list(results)
        self.given: dict[int, str] = {}

    def guess(self, number: int, answer: str | None) -> None:
        """Print how row `number` compares with its partner, once `answer` is one of ANSWERS."""
        comparison = compare(self.results, number)
        if comparison is None:
            print(f"Row {number} is not among these results: its training is still to be run.")
            return
        if answer is None or answer is ...:
            self.given.pop(number, None)
            print(f"Row {number}: not guessed yet. Put {_listed()} in the place of None.")
            return
        if (word := _understood(answer)) is None:
            print(f"{answer!r} is no answer here; {_listed()} would be one.{_meant(answer)}")
            return
        self.given[number] = word
        print(*self._reply(comparison, word), sep="\n")

    def score(self) -> None:
        """Print how many guesses were as measured, and which rows are still to be guessed."""
        comparisons = compare_all(self.results)
        right = [c.row for c in comparisons if self.given.get(c.row) == c.verdict]
        print(f"{len(right)} of {len(self.given)} guesses were as measured.")
        if still := [c.row for c in comparisons if c.row not in self.given]:
            print(f"Not guessed yet: {'row' if len(still) == 1 else 'rows'} ", end="")
            print(*still, sep=", ", end=".\n")

    def _reply(self, c: Comparison, word: str) -> list[str]:
        measured = f"{100 * c.mean:.1f} %, row {c.against} has {100 * _mean(c.reference):.1f} %"
        ends = f"{in_points(c.low)} to {in_points(c.high)}"
        lines = [
            f"Your guess: {word}. Measured: {c.verdict}."
            f"{' As you said.' if word == c.verdict else ''}",
            f"Test accuracy {measured}: {in_points(c.difference)} points, 95 % interval {ends}.",
        ]
        if len(c.accuracies) > 1:
            each = ", ".join(f"{100 * accuracy:.1f}" for accuracy in sorted(c.accuracies))
            lines.append(f"Its {len(c.accuracies)} trainings: {each} %.")
        if c.low <= 0 <= c.high and c.difference:
            lines.append("Zero lies in the interval: the difference is inside the noise.")
        if ROWS[c.row].book is not None:
            lines.append(
                f"The book's repository, one training: {ROWS[c.row].book:.2f} %, "
                f"row {c.against} {ROWS[c.against].book:.2f} %."
            )
        return lines


class Folded:
    """All rows as a picture and a table, folded away until someone unfolds them."""

    def __init__(self, results: Sequence[dict], title: str = "Unfold: what was measured"):
        self.results, self.title = list(results), title

    def __repr__(self) -> str:
        return f"[folded: {self.title}]"

    def _repr_html_(self) -> str:
        drawing = draw_dot_plot(compare_all(self.results))
        picture = base64.b64encode(drawing.svg.encode()).decode()
        head = "".join(f"<th>{escape(name)}</th>" for name in HEAD)
        lines = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
            for cells in table_cells(self.results)
        )
        return (
            f"<details><summary>{escape(self.title)}</summary>"
            f'<img src="data:image/svg+xml;base64,{picture}" alt="{escape(drawing.words)}"/>'
            f"<table><tr>{head}</tr>{lines}</table></details>"
        )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _listed() -> str:
    return ", ".join(f'"{answer}"' for answer in ANSWERS[:-1]) + f' or "{ANSWERS[-1]}"'


def _understood(answer) -> str | None:
    """Return the one of ANSWERS that is meant, whatever its capitals and blanks."""
    plain = " ".join(str(answer).replace("_", " ").split()).casefold()
    return plain if plain in ANSWERS else None


def _meant(answer) -> str:
    close = difflib.get_close_matches(str(answer).casefold(), ANSWERS, n=1)
    return f' Do you mean "{close[0]}"?' if close else ""
