"""How the experiments compare: differences with intervals, as a table, a plot and a guessing game.

The notebook 06_B asks for a guess first, then shows what was measured. The command of
`workshop.experiments` trains rows of the table and ends with the table and the plot.
"""

import base64
import io
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from tqdm import tqdm

from helpers.checks import whole_number
from helpers.config import MODEL_CONFIGS
from helpers.data import DATA_NAMES
from helpers.measures import paired_interval
from workshop.__main__ import run
from workshop.experiments import ROWS, parse_rows, reason_to_skip, run_id
from workshop.experiments import run as train_row
from workshop.lab import append_row, read_rows

VERDICTS = BETTER, WORSE, NO_DIFFERENCE = "better", "worse", "no difference"
STYLES = {  # a verdict → the colour, of Okabe & Ito's, and a marker that tells the same
    BETTER: ("#0072b2", "^"),
    WORSE: ("#b34e00", "v"),
    NO_DIFFERENCE: ("#555555", "o"),
}


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

    @property
    def label(self) -> str:
        """The row's number and description, and which row it is compared with if not row 1."""
        partner = "" if self.against == 1 else f" (to {self.against})"
        return f"{self.row}  {ROWS[self.row].description}{partner}"

    @property
    def in_points(self) -> list[str]:
        """The difference, `low` and `high` in percentage points, with a sign: "−3.2", "0.0"."""
        texts = []
        for value in (self.difference, self.low, self.high):
            points = round(100 * value, 1)
            texts.append(f"{points:+.1f}".replace("-", "−") if points else "0.0")
        return texts


def compare(results: Sequence[dict], number: int, against: int | None = None) -> Comparison | None:
    """Return how row `number` compares with row `against` (None: as ROWS says).

    `results` are what `experiments.run` returns. Only the seeds that both rows have count; None
    where there are none.
    """
    against = against or ROWS[number].against
    rows = [{r["seed"]: r for r in results if r["row"] == row} for row in (number, against)]
    seeds = sorted(rows[0].keys() & rows[1].keys())
    if not seeds:
        return None
    # (rows, seeds, messages)
    right = np.array([[list(map(int, row[seed]["right"])) for seed in seeds] for row in rows])
    return Comparison(number, against, *right.mean(axis=2).tolist(), *paired_interval(*right))


def compare_all(results: Sequence[dict]) -> list[Comparison]:
    """Return a comparison of each row but row 1, where there is one."""
    numbers = sorted({result["row"] for result in results} - {1})
    comparisons = [compare(results, number) for number in numbers]
    return [comparison for comparison in comparisons if comparison is not None]


def describe_comparison(c: Comparison) -> str:
    """Return the difference, its interval and the verdict in a line."""
    difference, low, high = c.in_points
    return f"{difference} points ({low} … {high}): {c.verdict}"


def results_table(results: Sequence[dict]) -> pd.DataFrame:
    """Return a table with a line for each row of the results, by its number.

    Accuracies are in percent: the means over the seeds, and the lowest and highest test accuracy.
    """
    accuracies = 100 * pd.DataFrame([r["accuracy"] for r in results], [r["row"] for r in results])
    by_row = accuracies.groupby(level=0)
    table = by_row[["train", "test"]].mean()
    table["lowest"], table["highest"] = by_row["test"].min(), by_row["test"].max()
    table = table.round(1)
    table.insert(0, "row", [ROWS[number].description for number in table.index])
    table["book"] = [ROWS[number].book for number in table.index]
    compared = {c.row: f"row {c.against}: {describe_comparison(c)}" for c in compare_all(results)}
    table["compared with"] = pd.Series(compared)
    return table.astype(object).fillna("")


def plot_comparisons(comparisons: Sequence[Comparison]) -> Figure:
    """Return a figure of each difference with its interval, and a faint dot for each seed."""
    figure = Figure(figsize=(7.9, 1 + 0.3 * len(comparisons)), layout="constrained")
    axes = figure.subplots()
    for y, c in enumerate(comparisons):
        points, (colour, marker) = 100 * c.difference, STYLES[c.verdict]
        sides = [[points - 100 * c.low], [100 * c.high - points]]  # to the left, to the right
        axes.errorbar(points, y, xerr=sides, fmt=marker, color=colour, linewidth=2.5)
        seeds = 100 * (np.array(c.accuracies) - np.mean(c.reference))
        axes.plot(seeds, [y + 0.3] * len(seeds), ".", color=colour, alpha=0.4)
    axes.axvline(0, color="#333333", linewidth=1)
    axes.grid(axis="x", color="#dddddd")
    axes.set_yticks(range(len(comparisons)), [c.label for c in comparisons])
    axes.invert_yaxis()
    title = "test accuracy less the other row's, in points (left: worse, right: better)"
    figure.supxlabel(title, fontsize="medium")
    return figure


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
        difference, low, high = c.in_points
        print(f"Your guess: {word}. Measured: {c.verdict}.")
        print(
            f"Test accuracy {100 * np.mean(c.accuracies):.1f} %, row {c.against} has "
            f"{100 * np.mean(c.reference):.1f} %: {difference} points, 95 % interval {low} to {high}."
        )
        if len(c.accuracies) > 1:
            percent = ", ".join(f"{100 * accuracy:.1f}" for accuracy in sorted(c.accuracies))
            print(f"Its {len(c.accuracies)} trainings: {percent} %.")
        if c.verdict == NO_DIFFERENCE and c.difference:
            print("Zero lies in the interval: the difference is inside the noise.")
        if book := ROWS[number].book:
            print(
                f"The book's repository, one training: {book:.2f} %, "
                f"row {c.against} {ROWS[c.against].book:.2f} %."
            )

    def score(self) -> None:
        """Print how many guesses were as measured, and which rows are still to be guessed."""
        verdicts = {c.row: c.verdict for c in compare_all(self.results)}
        right = [row for row, verdict in verdicts.items() if self.given.get(row) == verdict]
        print(f"{len(right)} of {len(self.given)} guesses were as measured.")
        left = [str(row) for row in verdicts if row not in self.given]
        if left:
            print(f"Not guessed yet: {'row' if len(left) == 1 else 'rows'} {', '.join(left)}.")


@dataclass
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
        lines = "; ".join(f"{c.label} {describe_comparison(c)}" for c in comparisons)
        return (
            f"<details><summary>{escape(self.title)}</summary>"
            f'<img src="data:image/png;base64,{encoded}" alt="{escape(lines)}"/>'
            f"{results_table(self.results).to_html(border=0)}</details>"
        )


# --- the command ---------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line of `workshop.experiments`; rows that are in the file are not repeated."""
    parser = ArgumentParser(
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
    chosen = vars(parser.parse_args(arguments))
    run(lambda: train_and_compare(**chosen))


def train_and_compare(model: str, data: str, rows: str, seeds: int, out: Path) -> None:
    """Train what is not in the file yet; print the table, and save the plot beside the file.

    An interruption loses no training that has ended.
    """
    wanted = {}  # a training's id → its row's number and experiment
    for number in parse_rows(rows):
        if reason := reason_to_skip(number, model):
            print(reason)
            continue
        for row in (number, ROWS[number].against):
            for seed in range(1, whole_number("--seeds", seeds) + 1):
                experiment = replace(ROWS[row].experiment(model, data), seed=seed)
                wanted[run_id(row, experiment)] = (row, experiment)
    stored, notes = read_rows(out)
    done = {row["id"] for row in stored}
    left = [row_id for row_id in wanted if row_id not in done]
    already = f"{len(wanted) - len(left)} of {len(wanted)} trainings are in {out} already"
    print(*notes, already, sep="\n")
    for row_id in tqdm(left, unit="training"):
        row, experiment = wanted[row_id]
        append_row(out, train_row(row, experiment, experiment.seed))
    results = [row for row in read_rows(out)[0] if row["id"] in wanted]
    if results:
        print(results_table(results).to_string())
    if comparisons := compare_all(results):
        plot = out.with_suffix(".svg")
        plot_comparisons(comparisons).savefig(plot)
        print(f"the differences as a plot: {plot}")
