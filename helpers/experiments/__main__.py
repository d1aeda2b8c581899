"""Train rows of the table several times, and show how they compare.

python -m helpers.experiments --model "gpt2-nano (12M)" --data sms-mini --rows 1-5,10,11 --seeds 5
"""

import argparse
import os
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from tqdm import tqdm

from helpers.checks import whole_number
from helpers.command_line import INTERRUPTED, Parser
from helpers.config import BUNDLED_SIZE, MODEL_CONFIGS, gpt_config, model_size
from helpers.data import DATA_NAMES
from helpers.device_and_precision import get_device
from helpers.experiments.report import compare_all, draw_dot_plot, table
from helpers.experiments.rows import ROWS, parse_rows, why_not
from helpers.experiments.run import run_id
from helpers.experiments.workers import Training, train_all
from helpers.results import read_rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line asks; what is in the file already is not done again."""
    chosen = _parser().parse_args(arguments)
    try:
        whole_number("--seeds", chosen.seeds)
        whole_number("--jobs", chosen.jobs, 0)
        if chosen.out.is_dir():
            raise ValueError(f"--out {chosen.out} is a folder; name a file")
        _run_all(chosen, parse_rows(chosen.rows))
    except (ValueError, OSError, RuntimeError) as error:
        sys.exit(f"{error}")
    except KeyboardInterrupt:
        print(f"interrupted: what was trained is in {chosen.out}; the same command goes on there")
        sys.exit(INTERRUPTED)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m helpers.experiments",
        description="Train rows of the book's table of experiments, each with several seeds.",
        epilog="; ".join(f"{number}: {row.words}" for number, row in ROWS.items()),
    )
    parser.add_argument("--model", default="gpt2-nano (12M)", choices=MODEL_CONFIGS)
    parser.add_argument("--data", default="sms-mini", choices=DATA_NAMES)
    parser.add_argument("--rows", default=f"1-{max(ROWS)}", help="such as 1-5,10,11")
    parser.add_argument("--seeds", type=int, default=5, help="how many: 1, 2, …")
    parser.add_argument("--out", type=Path, default=Path("results.jsonl"))
    jobs = "trainings at once (0: one for each core with the nano, else one)"
    parser.add_argument("--jobs", type=int, default=0, help=jobs)
    return parser


def _run_all(chosen: argparse.Namespace, numbers: list[int]) -> None:
    for number in list(numbers):
        if reason := why_not(number, chosen.model):
            print(reason)
            numbers.remove(number)
    wanted = [training for number in numbers for training in _trainings(number, chosen)]
    stored, notes = read_rows(chosen.out)
    print(*notes, sep="\n", end="\n" if notes else "")
    stored = {row["id"] for row in stored}
    left = [training for training in wanted if run_id(*training) not in stored]
    if len(left) < len(wanted):
        print(f"{len(wanted) - len(left)} of {len(wanted)} trainings are in {chosen.out} already")
    _train(left, chosen)
    _report(wanted, chosen)


def _trainings(number: int, chosen: argparse.Namespace) -> list[Training]:
    experiment = ROWS[number].experiment(chosen.model, chosen.data)
    return [(number, experiment, seed) for seed in range(1, chosen.seeds + 1)]


def _train(left: list[Training], chosen: argparse.Namespace) -> None:
    """Train what is left, with a bar whose time left knows that some take longer than others."""
    groups = sorted(_groups(left), key=lambda group: -sum(map(_effort, group)))
    cores = os.cpu_count() or 1
    small = model_size(chosen.model) == BUNDLED_SIZE and get_device().type == "cpu"
    jobs = chosen.jobs or (cores if small else 1)
    done = dict.fromkeys(left, 0.0)
    form = "{desc} {percentage:3.0f}% |{bar}| {elapsed} so far, {remaining} left"
    with tqdm(total=sum(map(_effort, left)), bar_format=form, smoothing=0, disable=not left) as bar:

        def show(training: Training, share: float) -> None:
            bar.update((share - done[training]) * _effort(training))
            done[training] = share
            whole = sum(share == 1 for share in done.values())
            bar.set_description_str(f"{whole} of {len(left)} trainings")

        if left:
            train_all(groups, chosen.out, jobs, max(1, cores // jobs), show)


def _groups(left: list[Training]) -> list[list[Training]]:
    """Put together what shares its frozen part, so that it runs once for all seeds of a row."""

    def shared(training: Training) -> tuple:
        number, experiment, seed = training
        own = experiment.layers in ("all", "LoRA") or experiment.words_shuffled
        return number, seed if own else 0

    return [list(group) for _, group in groupby(sorted(left, key=shared), key=shared)]


def _effort(training: Training) -> float:
    """Return roughly how long a training takes, in seconds of the nano on one core."""
    _, experiment, _ = training
    size = gpt_config(experiment.model)
    scale = size["n_layers"] * size["emb_dim"] ** 2 / (6 * 192**2)
    seconds = {"head only": 2, "last block": 6, "last two blocks": 15, "all": 60, "LoRA": 55}
    effort = seconds[experiment.layers] * (3 if experiment.position == "mean" else 1)
    if experiment.max_length:
        effort *= max(1, experiment.max_length / 200)  # most of it is once for all seeds
    return scale * effort * (2 if experiment.batch_size == 1 else 1)


def _report(wanted: list[Training], chosen: argparse.Namespace) -> None:
    """Print the table of the trainings asked for, and draw the picture beside the file.

    Row 1, or another that one of these is compared with, may have been trained earlier.
    """
    numbers = {number for number, _, _ in wanted}
    partners = {ROWS[number].against for number in numbers} - numbers
    wanted = wanted + [one for number in partners for one in _trainings(number, chosen)]
    ids = {run_id(*training) for training in wanted}
    found = {row["id"]: row for row in read_rows(chosen.out)[0] if row["id"] in ids}
    if not found:
        return
    results = list(found.values())
    print(table(results))
    if comparisons := compare_all(results):
        picture = chosen.out.with_suffix(".svg")
        picture.write_text(draw_dot_plot(comparisons).svg + "\n", encoding="utf-8")
        print(f"the differences as a picture: {picture}")


if __name__ == "__main__":
    main()
