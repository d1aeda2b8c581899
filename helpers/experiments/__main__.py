"""Train rows of the table several times, and show how they compare.

python -m helpers.experiments --model "gpt2-nano (12M)" --data sms-mini --rows 1-5,10,11 --seeds 5
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from helpers.config import MODEL_CONFIGS, gpt_config
from helpers.data import DATA_NAMES
from helpers.experiments.report import compare_all, draw_dot_plot, table
from helpers.experiments.rows import ROWS, Experiment, parse_rows, why_not
from helpers.experiments.run import run, run_id
from helpers.results import append_row, read_rows

# Rows with the same frozen part follow each other, the ones with less of it first: what is kept of
# it serves the next row, too (see frozen_cache).
ORDER = (4, 1, 18, 3, 19, 14, 15, 16, 2, 17, 13, 20, 11, 5, 10, 6, 7, 8, 12, 9)


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line asks; what is in the file already is not done again."""
    chosen = _parser().parse_args(arguments)
    try:
        numbers = parse_rows(chosen.rows)
        if chosen.seeds < 1:
            raise ValueError(f"--seeds must be a whole number from 1, not {chosen.seeds}")
        _run_all(chosen, [n for n in ORDER if n in numbers])
    except (ValueError, OSError, FloatingPointError) as error:
        sys.exit(f"{error}")
    except KeyboardInterrupt:
        print(f"interrupted: what was trained is in {chosen.out}; the same command goes on there")
        sys.exit(130)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        self.exit(2, f"{message}; --help says more\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m helpers.experiments",
        description="Train rows of the book's table of experiments, each with several seeds.",
        epilog="; ".join(f"{number}: {row.words}" for number, row in ROWS.items()),
    )
    parser.add_argument("--model", default="gpt2-nano (12M)", choices=MODEL_CONFIGS)
    parser.add_argument("--data", default="sms-mini", choices=DATA_NAMES)
    parser.add_argument("--rows", default=f"1-{max(ROWS)}", help="such as 1-5,10,11")
    parser.add_argument("--seeds", type=int, default=5, help="how many: 1, 2, …")
    parser.add_argument("--out", type=Path, default=Path("results.jsonl"))
    return parser


def _run_all(chosen: argparse.Namespace, numbers: list[int]) -> None:
    for number in list(numbers):
        if reason := why_not(number, chosen.model):
            print(reason)
            numbers.remove(number)
    wanted = [
        (number, ROWS[number].experiment(chosen.model, chosen.data), seed)
        for number in numbers
        for seed in range(1, chosen.seeds + 1)
    ]
    stored, notes = read_rows(chosen.out)
    print(*notes, sep="\n", end="\n" if notes else "")
    stored = {row["id"] for row in stored}
    left = [one for one in wanted if run_id(*one) not in stored]
    if len(left) < len(wanted):
        print(f"{len(wanted) - len(left)} of {len(wanted)} trainings are in {chosen.out} already")
    _train(left, chosen.out)
    _report(wanted, chosen)


def _train(left: list[tuple[int, Experiment, int]], out: Path) -> None:
    """Train what is left, with a bar whose time left knows that some take longer than others."""
    efforts = [_effort(experiment) for _, experiment, _ in left]
    form = "{desc} {percentage:3.0f}% |{bar}| {elapsed} so far, {remaining} left"
    with tqdm(total=sum(efforts), bar_format=form, smoothing=0, disable=not left) as bar:
        for i, ((number, experiment, seed), effort) in enumerate(zip(left, efforts, strict=True)):
            bar.set_description_str(f"{i + 1} of {len(left)}: row {number}, seed {seed}")
            done = bar.n

            def show(share: float, done=done, effort=effort) -> None:
                bar.update(done + share * effort - bar.n)

            append_row(out, run(number, experiment, seed, show))
            show(1.0)


def _effort(experiment: Experiment) -> float:
    """Return roughly how long a training takes, by what was measured with the nano."""
    size = gpt_config(experiment.model)
    scale = size["n_layers"] * size["emb_dim"] ** 2
    rates = {"head only": 1, "last block": 4, "last two blocks": 11, "all": 50, "LoRA": 50}
    effort = rates[experiment.layers] * (4 if experiment.position == "mean" else 1)
    if experiment.max_length:
        effort *= experiment.max_length / 82  # the longest message of sms-mini
    return scale * effort * (5 if experiment.batch_size == 1 else 1)


def _report(wanted: list[tuple[int, Experiment, int]], chosen: argparse.Namespace) -> None:
    """Print the table of the trainings asked for, and draw the picture beside the file.

    Row 1, or another that one of these is compared with, may have been trained earlier.
    """
    needed = {number: ROWS[number].against for number, _, _ in wanted}
    ids = {run_id(*one) for one in wanted}
    for number in set(needed.values()) - needed.keys():
        experiment = ROWS[number].experiment(chosen.model, chosen.data)
        ids |= {run_id(number, experiment, seed) for seed in range(1, chosen.seeds + 1)}
    results = {row["id"]: row for row in read_rows(chosen.out)[0] if row["id"] in ids}
    results = list(results.values())
    if not results:
        return
    print(table(results))
    if comparisons := compare_all(results):
        picture = chosen.out.with_suffix(".svg")
        picture.write_text(draw_dot_plot(comparisons).svg + "\n", encoding="utf-8")
        print(f"the differences as a picture: {picture}")


if __name__ == "__main__":
    main()
