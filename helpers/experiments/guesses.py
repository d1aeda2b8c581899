"""The questions of the notebook 06_C: guess first, then see what was measured."""

import base64
import difflib
from collections.abc import Sequence
from html import escape
from pathlib import Path

from helpers.experiments.report import (
    BETTER,
    HEAD,
    NO_DIFFERENCE,
    WORSE,
    Comparison,
    compare,
    compare_all,
    draw_dot_plot,
    in_points,
    table_cells,
)
from helpers.experiments.rows import ROWS
from helpers.results import read_rows

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
        f'yours: python -m helpers.experiments --model "{model}" --data {data} --out FILE'
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
