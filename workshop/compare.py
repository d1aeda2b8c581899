"""How the experiments compare: differences with intervals, as sentences, a table and a plot.

Page 06_B asks for predictions about them. The command of `workshop.experiments` trains experiments
and ends with the table and the plot.
"""

from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from helpers.checks import whole_number
from helpers.config import MODEL_CONFIGS
from helpers.data import DATA_NAMES
from helpers.measures import BETTER, CANT_TELL, WORSE, Difference, format_points, paired_interval
from workshop.__main__ import run
from workshop.experiments import ROWS, load_splits_once, parse_rows, reason_to_skip, run_id
from workshop.experiments import run as train_row
from workshop.lab import append_row, read_rows
from workshop.pictures.charts import Chart, chart, course_style, new_figure
from workshop.pictures.svg import INK
from workshop.texts import counted

STYLES = {  # a verdict → the colour, of Okabe & Ito's, and a marker that tells the same
    BETTER: ("#0072b2", "^"),
    WORSE: ("#b34e00", "v"),
    CANT_TELL: ("#555555", "o"),
}


@dataclass(frozen=True)
class Comparison:
    """An experiment and the one it is compared with, by their numbers.

    `accuracies` and `reference` are the test accuracies, 0 … 1, of each seed of the two.
    """

    number: int
    against: int
    accuracies: list[float]
    reference: list[float]
    difference: Difference

    def __str__(self) -> str:
        """Return the two accuracies, their difference, the seeds and the book's result."""
        accuracy, reference = 100 * np.mean(self.accuracies), 100 * np.mean(self.reference)
        seeds = ", ".join(f"{100 * accuracy:.1f}" for accuracy in sorted(self.accuracies))
        text = (
            f"Experiment {self.number} has a mean test accuracy of {accuracy:.1f} %, experiment "
            f"{self.against} of {reference:.1f} %: {self.difference}. The accuracies of experiment "
            f"{self.number} with {counted(len(self.accuracies), 'seed')} are {seeds} %."
        )
        if book := ROWS[self.number].book:
            text += (
                f" In the book's repository, one run has {book:.2f} %, and experiment "
                f"{self.against} {ROWS[self.against].book:.2f} %."
            )
        return text


def compare(results: Sequence[dict], number: int) -> Comparison | None:
    """Return how experiment `number` compares with the one that ROWS names for it.

    `results` are what `experiments.run` returns. Only the seeds that both have count; None where
    there are none.
    """
    against = ROWS[number].against
    runs = [{r["seed"]: r for r in results if r["row"] == row} for row in (number, against)]
    seeds = sorted(runs[0].keys() & runs[1].keys())
    if not seeds:
        return None
    # (2, seeds, messages)
    right = np.array([[list(map(int, run[seed]["right"])) for seed in seeds] for run in runs])
    return Comparison(number, against, *right.mean(axis=2).tolist(), paired_interval(*right))


def compare_all(results: Sequence[dict]) -> list[Comparison]:
    """Return a comparison of each experiment but the first, where there is one."""
    numbers = sorted({result["row"] for result in results} - {1})
    comparisons = [compare(results, number) for number in numbers]
    return [comparison for comparison in comparisons if comparison is not None]


def majority_accuracy(results: Sequence[dict]) -> float:
    """Return the accuracy, 0 … 1, of predicting the more frequent label for all test messages."""
    test = load_splits_once(results[0]["settings"]["data"])[2]
    return test["Label"].value_counts(normalize=True).max()


def results_table(results: Sequence[dict]) -> pd.DataFrame:
    """Return a table with a line for each experiment, by its number.

    Test accuracies are in percent: the mean, lowest and highest over the seeds, and the book's.
    """
    accuracies = pd.Series([100 * r["accuracy"]["test"] for r in results])
    table = accuracies.groupby([r["row"] for r in results]).agg(["mean", "min", "max"]).round(1)
    table.insert(0, "experiment", [ROWS[number].description for number in table.index])
    for c in compare_all(results):
        low, high = map(format_points, c.difference[1:])
        table.loc[c.number, "compared with"] = str(c.against)
        table.loc[c.number, "difference"] = format_points(c.difference.mean)
        table.loc[c.number, "95 % interval"] = f"{low} to {high}"
        table.loc[c.number, "verdict"] = c.difference.verdict
    table["book, 124M"] = [ROWS[number].book for number in table.index]
    return table.astype(object).fillna("")


@course_style
def draw_comparisons(comparisons: Sequence[Comparison], majority: float) -> Chart:
    """Return a chart of each experiment's accuracies: those of all seeds, and the mean.

    The interval of the difference is drawn around the mean, and a bar marks the mean of the
    experiment that it is compared with: it lies in the interval where we can't tell. A line marks
    the accuracy `majority`, 0 … 1, of predicting the majority class.
    """
    figure, plot = new_figure(110 + 24 * len(comparisons))
    labels, lines = [], [f"always the majority class: {100 * majority:.1f} %"]
    for y, c in enumerate(comparisons):
        colour, marker = STYLES[c.difference.verdict]
        mean, low, high = 100 * np.array(c.difference)
        reference = 100 * np.mean(c.reference)
        sides = [[mean - low], [high - mean]]  # to the left, to the right
        plot.errorbar(reference + mean, y, xerr=sides, fmt=marker, color=colour, linewidth=2.5)
        seeds = 100 * np.array(c.accuracies)
        plot.plot(seeds, [y + 0.3] * len(seeds), ".", color=colour, alpha=0.4)
        plot.plot(reference, y, "|", color=INK, markersize=18)
        label = f"{c.number}  {ROWS[c.number].description}"
        labels.append(label)
        lines.append(
            f"{label}: {reference + mean:.1f} %, experiment {c.against} {reference:.1f} %, difference "
            f"{c.difference}: {c.difference.verdict}"
        )
    plot.axvline(100 * majority, color=INK, linestyle=":")
    plot.set_yticks(range(len(comparisons)), labels)
    plot.invert_yaxis()
    plot.set_xlabel("test accuracy in %")
    figure.suptitle(
        "▲ better · ▼ worse · ● can't tell, than the bar | with its interval\n"
        "small dots: seeds · dotted line: always the majority class"
    )
    return chart(figure, *lines)


def read_results(path: Path, model: str, data: str) -> list[dict]:
    """Return the results in a file that are of this data set, with this model's experiment 1.

    Lines that are left out are named. Where the file has nothing of the two, a sentence says so,
    with the command that makes such results, and all results are returned.
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


# --- the command ---------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line of `workshop.experiments`; trainings in the file are not repeated."""
    parser = ArgumentParser(
        prog="python -m workshop.experiments",
        description="Train experiments of the book's table, each with several seeds, and the "
        "experiments that they are compared with.",
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
    """Train what is not in the file yet; print the table, and save the plot next to the file.

    An interruption loses no training that has ended.
    """
    wanted = {}  # a training's id → its experiment's number and settings
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
        append_row(out, train_row(row, experiment))
    results = [row for row in read_rows(out)[0] if row["id"] in wanted]
    if results:
        print(results_table(results).to_string())
    if comparisons := compare_all(results):
        plot = out.with_suffix(".svg")
        drawing = draw_comparisons(comparisons, majority_accuracy(results))
        plot.write_text(drawing.svg, encoding="utf-8")
        print(f"the accuracies as a plot: {plot}")
