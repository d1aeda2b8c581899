"""What an experiment varies, and the rows of the book's table.

The book's repository (github.com/rasbt/LLMs-from-scratch, ch06/02_bonus_additional-experiments)
answers questions about chapter 6 with a table of 19 rows. The numbers here are that table's, and
so are the test accuracies in `Row.book`, each of one training. Row 20 is the course's own.

One training of an experiment: its data, its model, its result as a row for a file.

Many trainings at once, each in a process of its own with its share of the processor.

The steps of a small model are too short to be shared among cores: two trainings beside each other,
one core each, take little longer than one on both.

Train rows of the table several times, and show how they compare.

python -m workshop.experiments --model "gpt2-nano (12M)" --data sms-mini --rows 1-5,10,11 --seeds 5
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import queue
import random
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import pandas as pd
import torch
from torch.nn import functional as F
from tqdm import tqdm

from helpers.checks import finite_number, one_of, whole_number
from helpers.config import (
    BASE_CONFIG,
    BUNDLED_SIZE,
    END_OF_TEXT,
    MODEL_CONFIGS,
    gpt_config,
    model_size,
)
from helpers.data import DATA_NAMES, SpamDataset, check_max_length, load_splits
from helpers.download import file_sha256
from helpers.freezing import FreezePlan, frozen_blocks, replace_head
from helpers.loading import INDEX, find_checkpoint, load_pretrained
from helpers.model import GPTModel, without_causal_mask
from helpers.tokenizer import get_tokenizer
from helpers.training import (
    TrainingSettings,
    check_position,
    get_device,
    logits_at,
    own_random_numbers,
    pad_batch,
    places_of,
    rows_and_places,
    up_to_classifying_token,
)
from workshop.__main__ import INTERRUPTED, Parser
from workshop.fast import (
    TRAINING_VERSION,
    History,
    fine_tuning_steps,
    frozen_outputs,
)
from workshop.lab import append_row, read_rows

LAYERS: dict[str, Callable[["Experiment", int], FreezePlan]] = {  # for n_layers blocks
    "head only": lambda _, n: FreezePlan.head_only(n),
    "last block": lambda _, n: FreezePlan.book(n),
    "last two blocks": lambda _, n: FreezePlan.last_blocks(n, min(2, n)),
    "all": lambda _, n: FreezePlan.everything(n),
    "LoRA": lambda choice, n: FreezePlan.lora(n, rank=choice.rank, alpha=choice.alpha),
}


IGNORE_NOTHING = -100  # torch's default for `ignore_index`: no label has this number


NANO_RATES = {"all": 5e-4, "LoRA": 5e-4}


def learning_rate(model: str, layers: str) -> float:
    """Return the rate for these layers: the book's for all, and for the nano its own.

    The nano's were chosen by validation accuracy; workshop/assets/experiments/README.md says how.
    """
    rate = TrainingSettings.for_model(model).lr
    return NANO_RATES.get(layers, rate) if model_size(model) == BUNDLED_SIZE else rate


@dataclass(frozen=True)
class Experiment:
    """All that is chosen before a fine-tuning; what is left out is as in the book's chapter 6.

    `layers` is a key of LAYERS; `rank` and `alpha` are LoRA's. `max_length` None takes the longest
    training message's. Without `padding` each message has its own length, which asks for a
    `batch_size` of 1. A step takes `accumulation` batches together. With `words_shuffled` each
    message has its words in a random order. `lr` None takes `learning_rate`. Raises ValueError for
    what can't be.
    """

    model: str
    data: str
    weights: str = "pretrained"
    position: str = "last"
    layers: str = "last block"
    rank: int = 16
    alpha: float = 16.0
    max_length: int | None = None
    padding: bool = True
    batch_size: int = 8
    accumulation: int = 1
    causal_mask: bool = True
    ignore_index: int = IGNORE_NOTHING
    words_shuffled: bool = False
    epochs: int = 5
    lr: float | None = None
    weight_decay: float = 0.1

    def __post_init__(self):
        gpt_config(self.model)  # refuses an unknown name
        one_of("data", self.data, DATA_NAMES)
        one_of("weights", self.weights, ("pretrained", "random"))
        check_position(self.position)
        one_of("layers", self.layers, tuple(LAYERS))
        if self.max_length is not None:
            check_max_length(self.max_length)
        for name in ("rank", "batch_size", "accumulation", "epochs"):
            whole_number(name, getattr(self, name))
        if not self.padding and self.batch_size > 1:
            raise ValueError(
                f"without padding messages differ in length, so batch_size must be 1, not "
                f"{self.batch_size}; accumulation puts several into a step"
            )
        if self.lr is None:
            rate = learning_rate(self.model, self.layers)
            object.__setattr__(self, "lr", rate)  # the dataclass is frozen
        finite_number("lr", self.lr)
        finite_number("alpha", self.alpha)

    def plan(self, n_layers: int) -> FreezePlan:
        """Return which parts of a model with `n_layers` blocks are trained."""
        return LAYERS[self.layers](self, n_layers)


@dataclass(frozen=True)
class Row:
    """A row of the table: how it differs from row 1, and which row it is compared with.

    `book` is the book's test accuracy in percent, for GPT-2 124M, or the model that `changes`
    names, on 300 test messages of the SMS Spam Collection; None where the book has no such row.
    """

    words: str
    book: float | None = None
    against: int = 1
    changes: dict = field(default_factory=dict)

    def experiment(self, model: str, data: str) -> Experiment:
        """Return this row for a model, unless the row names its own, and a data set."""
        return Experiment(**{"model": model, "data": data} | self.changes)


MEDIUM, LARGE, XL = "gpt2-medium (355M)", "gpt2-large (774M)", "gpt2-xl (1558M)"


CONTEXT = BASE_CONFIG["context_length"]


ROWS = {
    1: Row("the book's choices", 95.00),
    2: Row("the first token classifies", 75.00, changes={"position": "first"}),
    3: Row("only the head is trained", 72.00, changes={"layers": "head only"}),
    4: Row("the last two blocks are trained", 98.33, changes={"layers": "last two blocks"}),
    5: Row("everything is trained", 96.67, changes={"layers": "all"}),
    6: Row("GPT-2 355M", 84.67, changes={"model": MEDIUM}),
    7: Row("GPT-2 774M", 96.67, changes={"model": LARGE}),
    8: Row("GPT-2 1558M", 98.33, changes={"model": XL}),
    9: Row("GPT-2 1558M, everything is trained", 98.67, 8, {"model": XL, "layers": "all"}),
    10: Row(
        "random weights, everything is trained", 93.67, 5, {"weights": "random", "layers": "all"}
    ),
    11: Row("LoRA in all blocks", 96.67, 5, {"layers": "LoRA"}),
    12: Row("GPT-2 1558M, LoRA", 98.33, 9, {"model": XL, "layers": "LoRA", "alpha": 8.0}),
    13: Row("padded to 1,024 tokens", 78.33, changes={"max_length": CONTEXT}),
    14: Row("no padding, batch size 1", 98.00, changes={"padding": False, "batch_size": 1}),
    15: Row(
        "no padding, 8 messages a step",
        98.33,
        changes={"padding": False, "batch_size": 1, "accumulation": 8},
    ),
    16: Row("the last real token classifies", 98.33, changes={"position": "last_token"}),
    17: Row("no causal mask", 95.33, changes={"causal_mask": False}),
    18: Row("ignore_index set to the padding", 95.00, changes={"ignore_index": END_OF_TEXT}),
    19: Row("the mean over all tokens classifies", 96.33, changes={"position": "mean"}),
    20: Row("words shuffled", changes={"words_shuffled": True}),
}


def parse_rows(text: str) -> list[int]:
    """Return the numbers of rows in a text such as "1-5,10,11", in order, each once.

    Raises ValueError for what is no such text or no row.
    """
    numbers = set()
    for piece in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", piece)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= first <= last <= max(ROWS):
            raise ValueError(
                f"{piece.strip()!r} names no rows; give numbers from 1 to {max(ROWS)}, "
                "such as 1-5,10,11"
            )
        numbers.update(range(first, last + 1))
    return sorted(numbers)


def why_not(number: int, model: str) -> str:
    """Return in a sentence why a row has nothing to tell when row 1 is `model`'s; "" if it has."""
    own = ROWS[number].changes.get("model")
    if own is None:
        return ""
    if model_size(model) == BUNDLED_SIZE:
        return (
            f"row {number} is skipped: it asks for {own}, a larger sister of GPT-2 124M, and the "
            f'nano has none; --model "gpt2-small (124M)" runs it'
        )
    if own == model and ROWS[number].changes.keys() == {"model"}:
        return f"row {number} is skipped: with {model} it is row 1"
    return ""


PARTS = ("train", "validation", "test")


MEASURED_AT_ONCE = 32  # messages


# --- data and model ------------------------------------------------------------------------------


def make_datasets(
    experiment: Experiment, parts: Sequence[pd.DataFrame], seed: int
) -> tuple[SpamDataset, ...]:
    """Return the parts of `load_splits` as the experiment wants them.

    The seed decides only the order of words, where they are shuffled.
    """
    tokenizer = get_tokenizer()
    if experiment.words_shuffled:
        generator = random.Random(seed)
        parts = [_with_words_shuffled(part, generator) for part in parts]
    train = SpamDataset(parts[0], tokenizer, experiment.max_length)
    datasets = (train, *(SpamDataset(part, tokenizer, train.max_length) for part in parts[1:]))
    if not experiment.padding:
        for data in datasets:
            data.encoded_texts = [
                up_to_classifying_token(ids, "last_token") for ids in data.encoded_texts
            ]
    return datasets


def _with_words_shuffled(part: pd.DataFrame, generator: random.Random) -> pd.DataFrame:
    def shuffled(text: str) -> str:
        words = text.split()
        generator.shuffle(words)
        return " ".join(words)

    return part.assign(Text=part["Text"].map(shuffled))


def make_model(experiment: Experiment, seed: int) -> GPTModel:
    """Return the model with the weights of its checkpoint, or with random ones from `seed`.

    Random ones are those that torch begins with, as in the book's repository.
    """
    if experiment.weights == "pretrained":
        return load_pretrained(experiment.model)
    with own_random_numbers(torch.device("cpu"), seed):
        return GPTModel(gpt_config(experiment.model))


def make_classifier(model: GPTModel, experiment: Experiment, seed: int) -> GPTModel:
    """Give `model` a new head, and a mask and a plan as in the experiment; return it.

    The seed decides the head and the adapters of LoRA.
    """
    with own_random_numbers(torch.device("cpu"), seed):
        replace_head(model)
        if not experiment.causal_mask:
            without_causal_mask(model)
        return experiment.plan(len(model.trf_blocks)).apply(model)


# --- one training --------------------------------------------------------------------------------


def run(
    number: int, experiment: Experiment, seed: int, progress: Callable[[float], object] = float
) -> dict:
    """Train and measure row `number` once; return a row for helpers.results.

    It holds what `measure` returns, what the result is of, and the seconds that all took.
    `progress` is called with the share done, 0 … 1. Raises KeyboardInterrupt when interrupted, and
    what `fine_tune` raises.
    """
    start = time.perf_counter()
    datasets = make_datasets(experiment, _splits(experiment.data), seed)
    model = make_classifier(make_model(experiment, seed), experiment, seed)
    train(model, experiment, datasets, seed, progress)
    return {
        "id": run_id(number, experiment, seed),
        "row": number,
        "seed": seed,
        "settings": asdict(experiment),
        "fingerprint": fingerprint(experiment),
        **measure(model, experiment, datasets),
        "seconds": round(time.perf_counter() - start, 1),
    }


def train(
    model: GPTModel,
    experiment: Experiment,
    datasets: Sequence[SpamDataset],
    seed: int,
    progress: Callable[[float], object] = float,
) -> History:
    """Fine-tune in place on the first of `datasets`, with the second as validation data."""
    steps = fine_tuning_steps(
        model,
        *datasets[:2],
        experiment.plan(len(model.trf_blocks)),
        TrainingSettings(
            epochs=experiment.epochs,
            batch_size=experiment.batch_size,
            accumulation=experiment.accumulation,
            lr=experiment.lr,
            weight_decay=experiment.weight_decay,
            ignore_index=experiment.ignore_index,
            seed=seed,
            position=experiment.position,
        ),
    )
    step = None
    for step in steps:
        progress(step.done / step.total if step.phase == "training" else 0.0)
    if step is None or step.history.interrupted:  # it ended before its time
        raise KeyboardInterrupt
    return step.history


def measure(model: GPTModel, experiment: Experiment, datasets: Sequence[SpamDataset]) -> dict:
    """Return `accuracy` (0 … 1) and `loss` (the mean, in nats) of each part, and `right`.

    That is a text with a 1 or a 0 for each test message, right or wrong.
    """
    accuracy, loss = {}, {}
    plan = experiment.plan(len(model.trf_blocks))
    for part, data in zip(PARTS, datasets, strict=True):
        logits = class_logits_of(model, data, plan, experiment.position)
        labels = torch.tensor(data.labels)
        is_right = logits.argmax(dim=-1) == labels
        accuracy[part] = round(is_right.double().mean().item(), 6)
        loss[part] = round(F.cross_entropy(logits, labels).item(), 6)
    right = "".join(map(str, is_right.int().tolist()))  # of the test part, which comes last
    return {"accuracy": accuracy, "loss": loss, "right": right}


@torch.no_grad()
def class_logits_of(
    model: GPTModel, data: SpamDataset, plan: FreezePlan, position: str
) -> torch.Tensor:
    """Return the logits that classify each message, (len(data), num_classes), on the CPU.

    What `plan` leaves frozen runs once for each message, and is kept for the next training. The
    model is left in eval mode.
    """
    model.eval().to(device := get_device())
    rows, places = rows_and_places(model, data.encoded_texts, position)
    num_blocks = frozen_blocks(plan)
    if num_blocks is not None:
        outputs = frozen_outputs(model, rows, places, num_blocks)
    logits = []
    for start in range(0, len(rows), MEASURED_AT_ONCE):
        batch = range(start, min(start + MEASURED_AT_ONCE, len(rows)))
        if num_blocks is None:
            x = model.embed(pad_batch([rows[i] for i in batch], device))
        else:
            x = outputs.batch(batch).to(device)
        at = places_of(places, batch, device)
        logits.append(logits_at(model, x, at, num_blocks or 0).cpu())
    return torch.cat(logits)


# --- what a result is of ---------------------------------------------------------------------


def fingerprint(experiment: Experiment) -> dict[str, str]:
    """Return what identifies the checkpoint, the messages and the code behind a result."""
    checkpoint = "none"
    if experiment.weights == "pretrained":
        checkpoint = _of_checkpoint(experiment.model)
    return {
        "checkpoint": checkpoint,
        "data": _of_data(experiment.data),
        "code": f"version {TRAINING_VERSION}",
    }


def run_id(number: int, experiment: Experiment, seed: int) -> str:
    """Return what names one training: another setting, code, message or weight, another name."""
    all_of_it = json.dumps([asdict(experiment), fingerprint(experiment)], sort_keys=True)
    return f"row {number}, seed {seed}, {_short(all_of_it)}"


@lru_cache(maxsize=2)
def _splits(data: str) -> tuple[pd.DataFrame, ...]:
    return load_splits(data)


@lru_cache
def _of_checkpoint(model: str) -> str:
    return file_sha256(find_checkpoint(model_size(model)) / INDEX)[:16]


@lru_cache
def _of_data(data: str) -> str:
    parts = [[part["Label"].tolist(), part["Text"].tolist()] for part in _splits(data)]
    return _short(json.dumps(parts))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


Training = tuple[int, Experiment, int]  # the row's number, the experiment, the seed


PATIENCE = 0.2  # seconds between two looks whether somebody is still there


def train_all(
    groups: Sequence[Sequence[Training]],
    out: Path,
    jobs: int,
    threads: int,
    show: Callable[[Training, float], object],
) -> None:
    """Train all groups, `jobs` at once, each on `threads` threads; append each result to `out`.

    A group is trained by one process, one after the other, so that it can keep what is frozen. The
    file has a result as soon as its training ends. `show` is called with a training and the share
    of it that is done, 0 … 1. Raises RuntimeError with the first error of a training; then, and
    after an interruption, all processes are ended.
    """
    context = multiprocessing.get_context("spawn")  # the same on every system
    tasks, reports = context.Queue(), context.Queue()
    tasks.cancel_join_thread()  # what nobody takes any more must not keep this process
    for group in groups:
        tasks.put(group)
    workers = [
        context.Process(target=_work, args=(tasks, reports, out, threads), daemon=True)
        for _ in range(min(jobs, len(groups)))
    ]
    left = sum(map(len, groups))
    try:
        for worker in workers:
            worker.start()
        while left:
            try:
                training, share, error = reports.get(timeout=PATIENCE)
            except queue.Empty:
                if not all(worker.is_alive() for worker in workers) and reports.empty():
                    raise RuntimeError(
                        "a training's process has died; is the memory full? The same command "
                        "goes on where it was; --jobs 1 takes less"
                    ) from None
                continue
            if error:
                raise RuntimeError(f"row {training[0]}, seed {training[2]}: {error}")
            show(training, share)
            left -= share == 1
    finally:
        for worker in workers:
            worker.terminate()


def _work(tasks, reports, out: Path, threads: int) -> None:
    """Train group after group until somebody ends this process, or the one that began it died."""
    torch.set_num_threads(threads)
    parent = multiprocessing.parent_process()
    try:
        while parent.is_alive():
            try:
                group = tasks.get(timeout=PATIENCE)
            except queue.Empty:
                continue
            for training in group:
                _train(training, reports, out, parent)
    except KeyboardInterrupt:
        pass  # the one that began it says so


def _train(training: Training, reports, out: Path, parent) -> None:
    told = time.monotonic()

    def progress(share: float) -> None:
        nonlocal told
        if time.monotonic() - told > PATIENCE:
            if not parent.is_alive():  # it was killed: nobody waits for this
                raise KeyboardInterrupt
            told = time.monotonic()
            reports.put((training, min(share, 0.99), ""))

    try:
        append_row(out, run(*training, progress))
    except (ValueError, OSError, RuntimeError, FloatingPointError) as error:
        reports.put((training, 0.0, str(error)))
    else:
        reports.put((training, 1, ""))


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
        prog="python -m workshop.experiments",
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
    _train_main(left, chosen)
    _report(wanted, chosen)


def _trainings(number: int, chosen: argparse.Namespace) -> list[Training]:
    experiment = ROWS[number].experiment(chosen.model, chosen.data)
    return [(number, experiment, seed) for seed in range(1, chosen.seeds + 1)]


def _train_main(left: list[Training], chosen: argparse.Namespace) -> None:
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
    from workshop.compare import compare_all, draw_dot_plot, table  # which imports this file

    print(table(results))
    if comparisons := compare_all(results):
        picture = chosen.out.with_suffix(".svg")
        picture.write_text(draw_dot_plot(comparisons).svg + "\n", encoding="utf-8")
        print(f"the differences as a picture: {picture}")


if __name__ == "__main__":
    main()
