"""How the experiments compare: differences with intervals, as a table, a plot and a guessing game.

The notebook 06_C asks for a guess first, then shows what was measured. The command of
`workshop.experiments` trains rows of the table and ends with the table and the plot.
"""

import base64
import io
import os
import sys
from argparse import Namespace
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from helpers.checks import whole_number
from helpers.config import BUNDLED_SIZE, MODEL_CONFIGS, model_size
from helpers.data import DATA_NAMES
from helpers.measures import paired_interval
from helpers.training import get_device
from workshop.__main__ import INTERRUPTED, Parser
from workshop.experiments import ROWS, parse_rows, reason_to_skip, run_id, train_all
from workshop.lab import read_rows

VERDICTS = BETTER, WORSE, NO_DIFFERENCE = "better", "worse", "no difference"
STYLES = {  # a verdict → the colour, of Okabe & Ito's, and a marker that tells the same
    BETTER: ("#0072b2", "^"),
    WORSE: ("#b34e00", "v"),
    NO_DIFFERENCE: ("#555555", "o"),
}
HEAD = (
    "row", "", "train", "test", "of the seeds", "to row", "points", "95 % interval", "verdict",
    "book",
)  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """A row and the one it is compared with; accuracies 0 … 1, one of each seed.

    `difference` is that of the mean test accuracies; `low` and `high` are the ends of its 95 %
    interval, paired over the test messages (`paired_interval`).
    """

    row: int
    against: int
    accuracies: list[float]
    reference: list[float]  # the accuracies of the row `against`
    difference: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """One of VERDICTS: "no difference" where zero lies in the interval."""
        if self.low <= 0 <= self.high:
            return NO_DIFFERENCE
        return BETTER if self.low > 0 else WORSE


def compare(results: Sequence[dict], number: int, against: int | None = None) -> Comparison | None:
    """Return how row `number` compares with row `against` (None: as ROWS says).

    `results` are what `experiments.run` returns. Only the seeds that both rows have count; None
    where there are none. Raises ValueError where the two are of different data or code.
    """
    against = against or ROWS[number].against
    rows = [{r["seed"]: r for r in results if r["row"] == row} for row in (number, against)]
    seeds = sorted(rows[0].keys() & rows[1].keys())
    if not seeds:
        return None
    compared = [row[seed] for row in rows for seed in seeds]
    if len({(r["fingerprint"]["data"], r["fingerprint"]["code"]) for r in compared}) > 1:
        raise ValueError(
            f"rows {number} and {against} are of different data or code; "
            "run both anew into one file"
        )
    right = np.array([list(map(int, r["right"])) for r in compared])
    right = right.reshape(2, len(seeds), -1)  # rows, seeds, messages
    return Comparison(number, against, *right.mean(axis=2).tolist(), *paired_interval(*right))


def compare_all(results: Collection[dict]) -> list[Comparison]:
    """Return a comparison of each row but row 1, where there is one."""
    numbers = sorted({result["row"] for result in results} - {1})
    comparisons = [compare(results, number) for number in numbers]
    return [comparison for comparison in comparisons if comparison is not None]


def in_points(value: float) -> str:
    """Return a difference of accuracies in percentage points, with its sign: "−3.2", "0.0"."""
    points = f"{100 * value:+.1f}".replace("-", "−")
    return "0.0" if points[1:] == "0.0" else points


def describe_comparison(c: Comparison) -> str:
    """Return the difference, its interval and the verdict in a line."""
    return (
        f"{in_points(c.difference)} points ({in_points(c.low)} … {in_points(c.high)}): {c.verdict}"
    )


def results_table(results: Collection[dict]) -> pd.DataFrame:
    """Return a table with a line for each row of the results; all cells are texts.

    Accuracies are in percent, means over the seeds; "of the seeds" are the lowest and the highest.
    """
    comparisons = {c.row: c for c in compare_all(results)}
    numbers = [result["row"] for result in results]
    accuracies = 100 * pd.DataFrame([result["accuracy"] for result in results], numbers)
    lines = []
    for number, of_row in accuracies.groupby(level=0):
        train, test, row = of_row["train"], of_row["test"], ROWS[number]
        line = [
            str(number),
            row.description,
            f"{train.mean():.1f}",
            f"{test.mean():.1f}",
            f"{test.min():.1f} … {test.max():.1f}",
            *4 * [""],
            f"{row.book:.2f}" if row.book else "",
        ]
        if number in comparisons:
            c = comparisons[number]
            interval = f"{in_points(c.low)} … {in_points(c.high)}"
            line[5:9] = str(c.against), in_points(c.difference), interval, c.verdict
        lines.append(line)
    return pd.DataFrame(lines, columns=HEAD)


def plot_comparisons(comparisons: Sequence[Comparison]) -> Figure:
    """Return a figure of each difference with its interval, and a faint dot for each seed."""
    figure = Figure(figsize=(7.9, 1 + 0.3 * len(comparisons)), layout="constrained")
    axes = figure.subplots()
    for y, c in enumerate(comparisons):
        points, (colour, marker) = 100 * c.difference, STYLES[c.verdict]
        sides = [[points - 100 * c.low], [100 * c.high - points]]  # to the left, to the right
        axes.errorbar(points, y, xerr=sides, fmt=marker, color=colour, linewidth=2.5)
        seeds = 100 * (np.array(c.accuracies) - np.mean(c.reference))
        axes.plot(seeds, np.full(len(seeds), y + 0.3), ".", color=colour, alpha=0.4)
    axes.axvline(0, color="#333333", linewidth=1)
    axes.grid(axis="x", color="#dddddd")
    axes.set_yticks(range(len(comparisons)), [label_of(c) for c in comparisons])
    axes.invert_yaxis()
    title = "test accuracy less the other row's, in points (left: worse, right: better)"
    figure.supxlabel(title, fontsize="medium")
    return figure


def label_of(c: Comparison) -> str:
    """Return a row's number and description, and which row it is compared with if not row 1."""
    partner = "" if c.against == 1 else f" (to {c.against})"
    return f"{c.row}  {ROWS[c.row].description}{partner}"


# --- the guessing game ---------------------------------------------------------------------------


def read_results(path: Path, model: str, data: str) -> list[dict]:
    """Return the rows of a file that are of this data set, and compared with this model's row 1.

    Lines that are left out are named. Where the file has nothing of the two, a sentence says so,
    with the command that makes such results, and all of its rows are returned.
    """
    rows, notes = read_rows(path)
    for note in notes:
        print(note)
    of_data = [row for row in rows if row["settings"]["data"] == data]
    if any(row["row"] == 1 and row["settings"]["model"] == model for row in of_data):
        return of_data
    print(
        f"{path.name} has no results of {model} on {data}, so it is shown as it is. To make "
        f'yours: python -m workshop.experiments --model "{model}" --data {data} --out FILE'
    )
    return rows


@dataclass
class Guesses:
    """A learner's guesses, and the answers from `results`, which `experiments.run` returns.

    `given` are the guesses, by row. Nothing about a row is printed before it is guessed.
    """

    results: Sequence[dict]
    given: dict[int, str] = field(default_factory=dict)

    def guess(self, number: int, answer: str | None) -> None:
        """Print how row `number` compares with its partner, once `answer` is one of VERDICTS."""
        choices = '"better", "worse" or "no difference"'
        c = compare(self.results, number)
        if c is None:
            print(f"Row {number} is not among these results: its training is still to be run.")
            return
        if answer is None:
            self.given.pop(number, None)
            print(f"Row {number}: not guessed yet. Put {choices} in the place of None.")
            return
        word = str(answer).strip().lower()
        if word not in VERDICTS:
            print(f"{answer!r} is no answer here; {choices} would be one.")
            return
        self.given[number] = word
        ours, partners = 100 * np.mean(c.accuracies), 100 * np.mean(c.reference)
        print(f"Your guess: {word}. Measured: {c.verdict}.")
        print(
            f"Test accuracy {ours:.1f} %, row {c.against} has {partners:.1f} %: "
            f"{in_points(c.difference)} points, "
            f"95 % interval {in_points(c.low)} to {in_points(c.high)}."
        )
        if len(c.accuracies) > 1:
            percent = ", ".join(f"{100 * accuracy:.1f}" for accuracy in sorted(c.accuracies))
            print(f"Its {len(c.accuracies)} trainings: {percent} %.")
        if c.verdict == NO_DIFFERENCE and c.difference:
            print("Zero lies in the interval: the difference is inside the noise.")
        book, partners = ROWS[number].book, ROWS[c.against].book
        if book:
            print(
                f"The book's repository, one training: {book:.2f} %, "
                f"row {c.against} {partners:.2f} %."
            )

    def score(self) -> None:
        """Print how many guesses were as measured, and which rows are still to be guessed."""
        verdicts = {c.row: c.verdict for c in compare_all(self.results)}
        right = [row for row, verdict in verdicts.items() if self.given.get(row) == verdict]
        print(f"{len(right)} of {len(self.given)} guesses were as measured.")
        left = [str(row) for row in verdicts if row not in self.given]
        if left:
            print(f"Not guessed yet: {'row' if len(left) == 1 else 'rows'} {', '.join(left)}.")


@dataclass(repr=False)
class Folded:
    """All rows as a plot and a table, folded away until someone unfolds them."""

    results: Sequence[dict]
    title: str

    def __repr__(self) -> str:
        return f"[folded: {self.title}]"

    def _repr_html_(self) -> str:
        comparisons, png = compare_all(self.results), io.BytesIO()
        plot_comparisons(comparisons).savefig(png, format="png")
        encoded = base64.b64encode(png.getvalue()).decode()
        lines = "; ".join(f"{label_of(c)} {describe_comparison(c)}" for c in comparisons)
        return (
            f"<details><summary>{escape(self.title)}</summary>"
            f'<img src="data:image/png;base64,{encoded}" alt="{escape(lines)}"/>'
            f"{results_table(self.results).to_html(index=False, border=0)}</details>"
        )


# --- the command ---------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line of `workshop.experiments`; rows that are in the file are not repeated."""
    parser = Parser(
        prog="python -m workshop.experiments",
        description="Train rows of the book's table of experiments, each with several seeds, and "
        "the rows that they are compared with.",
        epilog="; ".join(f"{number}: {row.description}" for number, row in ROWS.items()),
    )
    parser.add_argument("--model", default="gpt2-nano (12M)", choices=MODEL_CONFIGS)
    parser.add_argument("--data", default="sms-mini", choices=DATA_NAMES)
    parser.add_argument("--rows", default=f"1-{max(ROWS)}", help="such as 1-5,10,11")
    parser.add_argument("--seeds", type=int, default=5, help="how many: 1, 2, …")
    parser.add_argument("--out", type=Path, default=Path("results.jsonl"))
    chosen = parser.parse_args(arguments)
    try:
        train_and_compare(chosen)
    except (ValueError, OSError, RuntimeError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        print(f"interrupted: what was trained is in {chosen.out}; the same command goes on there")
        sys.exit(INTERRUPTED)


def train_and_compare(chosen: Namespace) -> None:
    """Train what is not in the file yet; print the table, and save the plot beside the file."""
    whole_number("--seeds", chosen.seeds)
    wanted = {}  # a training's id → its row's number and experiment
    for number in parse_rows(chosen.rows):
        if reason := reason_to_skip(number, chosen.model):
            print(reason)
            continue
        for row in (number, ROWS[number].against):
            for seed in range(1, chosen.seeds + 1):
                experiment = replace(ROWS[row].experiment(chosen.model, chosen.data), seed=seed)
                wanted[run_id(row, experiment)] = (row, experiment)
    rows, notes = read_rows(chosen.out)
    for note in notes:
        print(note)
    stored = {row["id"] for row in rows}
    left = [training for row_id, training in wanted.items() if row_id not in stored]
    if len(left) < len(wanted):
        print(f"{len(wanted) - len(left)} of {len(wanted)} trainings are in {chosen.out} already")
    if left:
        is_small = model_size(chosen.model) == BUNDLED_SIZE and get_device().type == "cpu"
        train_all(left, chosen.out, os.cpu_count() if is_small else 1)
    results = [row for row in read_rows(chosen.out)[0] if row["id"] in wanted]
    if results:
        print(results_table(results).to_string(index=False))
    if comparisons := compare_all(results):
        plot = chosen.out.with_suffix(".svg")
        plot_comparisons(comparisons).savefig(plot)
        print(f"the differences as a plot: {plot}")
