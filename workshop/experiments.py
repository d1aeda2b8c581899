"""The book's table of experiments: its rows, one training of a row, and many at the same time.

The book's repository (github.com/rasbt/LLMs-from-scratch, ch06/02_bonus_additional-experiments)
answers questions about chapter 6 with a table of 19 rows. The numbers of the rows and the test
accuracies in `Row.book`, of one training each, are that table's. Row 20 is the course's own.

    python -m workshop.experiments --model "gpt2-nano (12M)" --rows 1-5,10,11 --seeds 5
"""

import hashlib
import json
import multiprocessing
import os
import random
import re
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import pandas as pd
import torch
from torch.nn import functional as F
from tqdm import tqdm

from helpers.checks import finite_number, one_of, whole_number
from helpers.config import BASE_CONFIG, BUNDLED_SIZE, END_OF_TEXT, gpt_config, model_size
from helpers.data import DATA_NAMES, SpamDataset, check_max_length, load_splits
from helpers.download import file_sha256
from helpers.freezing import FreezePlan, frozen_blocks, replace_head
from helpers.loading import INDEX, find_checkpoint, load_pretrained
from helpers.model import GPTModel, without_causal_mask
from helpers.tokenizer import get_tokenizer
from helpers.training import (
    TrainingSettings,
    get_device,
    own_random_numbers,
    up_to_classifying_token,
)
from workshop.fast import MEASURED_AT_ONCE, TRAINING_VERSION, History, Messages, fine_tune
from workshop.lab import append_row

LAYERS = ("head only", "last block", "last two blocks", "all", "LoRA")


CONTEXT = BASE_CONFIG["context_length"]


# --- the table -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Experiment(TrainingSettings):
    """All that is chosen before a fine-tuning; what is left out is as in the book's chapter 6.

    `layers`, one of LAYERS, are trained; `rank` and `alpha` are LoRA's. `max_length` None takes the
    longest training message's. Without `padding` each message has its own length, so a batch holds
    one message. With `words_shuffled` the words of each message are in a random order. `lr` None
    takes that of `TrainingSettings.for_model`, or for the nano half of it where all blocks are
    trained; workshop/assets/experiments/README.md says why. Raises ValueError for values that can't
    be.
    """

    lr: float | None = None
    model: str
    data: str
    weights: str = "pretrained"
    layers: str = "last block"
    rank: int = 16
    alpha: float = 16.0
    max_length: int | None = None
    padding: bool = True
    causal_mask: bool = True
    words_shuffled: bool = False

    def __post_init__(self):
        gpt_config(self.model)  # refuses an unknown name
        one_of("data", self.data, DATA_NAMES)
        one_of("weights", self.weights, ("pretrained", "random"))
        one_of("layers", self.layers, LAYERS)
        whole_number("rank", self.rank)
        finite_number("alpha", self.alpha)
        if self.max_length is not None:
            check_max_length(self.max_length)
        if self.lr is None:
            lr = TrainingSettings.for_model(self.model).lr
            if model_size(self.model) == BUNDLED_SIZE and self.layers in ("all", "LoRA"):
                lr /= 2
            object.__setattr__(self, "lr", lr)  # the dataclass is frozen
        super().__post_init__()
        if not self.padding and self.batch_size > 1:
            raise ValueError(
                f"without padding messages differ in length, so batch_size must be 1, not "
                f"{self.batch_size}; accumulation puts several into a step"
            )

    def plan(self, n_layers: int) -> FreezePlan:
        """Return which parts of a model with `n_layers` blocks are trained."""
        if self.layers == "LoRA":
            return FreezePlan.lora(n_layers, rank=self.rank, alpha=self.alpha)
        if self.layers == "head only":
            return FreezePlan.head_only(n_layers)
        if self.layers == "all":
            return FreezePlan.everything(n_layers)
        return FreezePlan.last_blocks(n_layers, 1 if self.layers == "last block" else 2)


@dataclass(frozen=True)
class Row:
    """A row of the table: how it differs from row 1, and which row it is compared with.

    `book` is the book's test accuracy in percent, for GPT-2 124M, or the model that `changes`
    names, on 300 test messages of the SMS Spam Collection; None where the book has no such row.
    """

    description: str
    book: float | None = None
    against: int = 1
    changes: dict = field(default_factory=dict)

    def experiment(self, model: str, data: str) -> Experiment:
        """Return this row for a model, unless the row names its own, and a data set."""
        return Experiment(**{"model": model, "data": data} | self.changes)


MEDIUM, LARGE, XL = "gpt2-medium (355M)", "gpt2-large (774M)", "gpt2-xl (1558M)"


ONE_BY_ONE = {"padding": False, "batch_size": 1}


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
    14: Row("no padding, batch size 1", 98.00, changes=ONE_BY_ONE),
    15: Row("no padding, 8 messages a step", 98.33, changes=ONE_BY_ONE | {"accumulation": 8}),
    16: Row("the last real token classifies", 98.33, changes={"position": "last_token"}),
    17: Row("no causal mask", 95.33, changes={"causal_mask": False}),
    18: Row("ignore_index set to the padding", 95.00, changes={"ignore_index": END_OF_TEXT}),
    19: Row("the mean over all tokens classifies", 96.33, changes={"position": "mean"}),
    20: Row("words shuffled", changes={"words_shuffled": True}),
}


def parse_rows(text: str) -> list[int]:
    """Return the numbers of rows in a text such as "1-5,10,11", in order, without repetition.

    Raises ValueError for another text, and for rows that do not exist.
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


def reason_to_skip(number: int, model: str) -> str:
    """Return a sentence why a row says nothing new where row 1 is `model`'s, "" where it does."""
    other = ROWS[number].changes.get("model")
    if other is None:
        return ""
    if model_size(model) == BUNDLED_SIZE:
        return (
            f"row {number} is skipped: it asks for {other}, a larger sister of GPT-2 124M, and the "
            f'nano has none; --model "gpt2-small (124M)" runs it'
        )
    if other == model and ROWS[number].changes.keys() == {"model"}:
        return f"row {number} is skipped: with {model} it is row 1"
    return ""


# --- one training --------------------------------------------------------------------------------


def make_datasets(
    experiment: Experiment, parts: Sequence[pd.DataFrame]
) -> tuple[SpamDataset, SpamDataset, SpamDataset]:
    """Return the three parts of `load_splits` as the experiment wants them.

    The seed decides only the order of words, where they are shuffled.
    """
    tokenizer, generator = get_tokenizer(), random.Random(experiment.seed)
    max_length, datasets = experiment.max_length, []
    for part in parts:
        if experiment.words_shuffled:
            texts = []
            for words in part["Text"].str.split():
                generator.shuffle(words)
                texts.append(" ".join(words))
            part = part.assign(Text=texts)
        data = SpamDataset(part, tokenizer, max_length)
        max_length = max_length or data.max_length  # the training part's, which comes first
        datasets.append(data)
    if not experiment.padding:
        for data in datasets:
            data.encoded_texts = [
                up_to_classifying_token(ids, "last_token") for ids in data.encoded_texts
            ]
    return tuple(datasets)


def make_model(experiment: Experiment) -> GPTModel:
    """Return the model with the weights of its checkpoint, or with random ones from the seed.

    Random ones are torch's initial ones, as in the book's repository.
    """
    if experiment.weights == "pretrained":
        return load_pretrained(experiment.model)
    with own_random_numbers(torch.device("cpu"), experiment.seed):
        return GPTModel(gpt_config(experiment.model))


def make_classifier(model: GPTModel, experiment: Experiment) -> GPTModel:
    """Give `model` the experiment's head, mask and plan in place; return it.

    The seed draws the head and the adapters of LoRA.
    """
    with own_random_numbers(torch.device("cpu"), experiment.seed):
        replace_head(model)
        if not experiment.causal_mask:
            without_causal_mask(model)
        return experiment.plan(len(model.trf_blocks)).apply(model)


def train(model: GPTModel, experiment: Experiment, datasets: Sequence[SpamDataset]) -> History:
    """Fine-tune in place on the first of `datasets`, with the second as validation data.

    Raises KeyboardInterrupt when interrupted, and what `fine_tune` raises.
    """
    plan = experiment.plan(len(model.trf_blocks))
    history = fine_tune(model, *datasets[:2], plan, experiment, progress=False)
    if history.interrupted:
        raise KeyboardInterrupt
    return history


def measure(model: GPTModel, experiment: Experiment, datasets: Sequence[SpamDataset]) -> dict:
    """Return `accuracy` (0 … 1) and `loss` (the mean, in nats) of each part, and `right`.

    That is a text with a 1 for each test message that is classified correctly, 0 for the others.
    """
    accuracy, loss, right = {}, {}, ""
    plan = experiment.plan(len(model.trf_blocks))
    for part, data in zip(("train", "validation", "test"), datasets, strict=True):
        logits = class_logits_of(model, data, plan, experiment.position)
        labels = torch.tensor(data.labels)
        is_right = logits.argmax(dim=-1) == labels
        accuracy[part] = round(is_right.double().mean().item(), 6)
        loss[part] = round(F.cross_entropy(logits, labels).item(), 6)
        right = "".join(map(str, is_right.int().tolist()))  # the test part comes last
    return {"accuracy": accuracy, "loss": loss, "right": right}


@torch.no_grad()
def class_logits_of(
    model: GPTModel, data: SpamDataset, plan: FreezePlan, position: str
) -> torch.Tensor:
    """Return the logits that classify each message, (len(data), num_classes), on the CPU.

    What `plan` leaves frozen runs once for each message, and is kept for the next training. The
    model is left in eval mode.
    """
    device = get_device()
    model.eval().to(device)
    messages = Messages(model, data, position, device)
    num_blocks = frozen_blocks(plan)
    if num_blocks is not None:
        for _ in messages.encode(num_blocks, "float32"):
            pass
    logits = []
    for start in range(0, len(data), MEASURED_AT_ONCE):
        batch = range(start, min(start + MEASURED_AT_ONCE, len(data)))
        logits.append(messages.logits(batch).cpu())
    return torch.cat(logits)


def run(number: int, experiment: Experiment, seed: int) -> dict:
    """Train and measure row `number` once; return a row for `append_row`.

    It holds what `measure` returns, what the result is of, and the seconds that all took. Raises
    KeyboardInterrupt when interrupted, and what `fine_tune` raises.
    """
    start = time.perf_counter()
    experiment = replace(experiment, seed=seed)
    datasets = make_datasets(experiment, _splits(experiment.data))
    model = make_classifier(make_model(experiment), experiment)
    train(model, experiment, datasets)
    return {
        "id": run_id(number, experiment),
        "row": number,
        "seed": seed,
        "settings": asdict(experiment),
        "fingerprint": fingerprint(experiment),
        **measure(model, experiment, datasets),
        "seconds": round(time.perf_counter() - start, 1),
    }


def fingerprint(experiment: Experiment) -> dict[str, str]:
    """Return what identifies the checkpoint, the messages and the code behind a result."""
    checkpoint = "none"
    if experiment.weights == "pretrained":
        path = find_checkpoint(model_size(experiment.model)) / INDEX
        checkpoint = file_sha256(path)[:16]
    parts = [[part["Label"].tolist(), part["Text"].tolist()] for part in _splits(experiment.data)]
    data = _short_hash(json.dumps(parts))
    return {"checkpoint": checkpoint, "data": data, "code": f"version {TRAINING_VERSION}"}


def run_id(number: int, experiment: Experiment) -> str:
    """Return a name that another setting, message, checkpoint or version of the code changes."""
    origin = json.dumps([asdict(experiment), fingerprint(experiment)], sort_keys=True)
    return f"row {number}, seed {experiment.seed}, {_short_hash(origin)}"


@lru_cache(maxsize=2)
def _splits(data: str) -> tuple[pd.DataFrame, ...]:
    return load_splits(data)


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# --- many trainings ------------------------------------------------------------------------------


def train_all(trainings: Sequence[tuple[int, Experiment]], out: Path, jobs: int) -> None:
    """Train rows, given by number and experiment, `jobs` at a time; append the results to `out`.

    Each has a process of its own with its part of the cores: the steps of a small model are too
    short to be shared among cores. The file has a result as soon as its training ends. Raises
    RuntimeError with the first error of a training; then, and after an interruption, all processes
    are ended.
    """
    threads = max(1, (os.cpu_count() or 1) // jobs)
    context = multiprocessing.get_context("spawn")  # the same on every system
    with (
        ProcessPoolExecutor(jobs, context, _begin_process, (threads,)) as pool,
        tqdm(total=len(trainings), unit="training") as bar,
    ):
        # in this order a process has the frozen part's outputs from the seed before
        futures = {pool.submit(_train_into, out, *training): training for training in trainings}
        try:
            for future in as_completed(futures):
                future.result()
                bar.update()
        except BaseException as error:  # an interruption, too
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            if isinstance(error, BrokenProcessPool):
                raise RuntimeError(
                    "a training's process has died; is the memory full? The same command "
                    "continues there; --jobs 1 takes less"
                ) from error
            if isinstance(error, Exception):
                number, experiment = futures[future]
                raise RuntimeError(f"row {number}, seed {experiment.seed}: {error}") from error
            raise


def _begin_process(threads: int) -> None:
    """Set up a process that trains: it leaves Ctrl-C to the command, and ends together with it."""
    torch.set_num_threads(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end_with_the_command() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=end_with_the_command, daemon=True).start()


def _train_into(out: Path, number: int, experiment: Experiment) -> None:
    append_row(out, run(number, experiment, experiment.seed))


if __name__ == "__main__":
    from workshop.compare import main  # which compares the rows of this file

    main()
