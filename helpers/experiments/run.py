"""One training of an experiment: its data, its model, its result as a row for a file."""

import hashlib
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import lru_cache

import pandas as pd
import torch
from torch.nn import functional as F

from helpers.classify import TRAINING_VERSION
from helpers.classifying_token import rows_and_places, up_to_classifying_token
from helpers.config import gpt_config, model_size
from helpers.data import SpamDataset, load_splits
from helpers.device_and_precision import get_device, own_random_numbers
from helpers.experiments.rows import Experiment
from helpers.files import file_sha256
from helpers.fine_tuning import fine_tuning_steps
from helpers.freezing import FreezePlan, replace_head
from helpers.frozen_cache import frozen_outputs, logits_at, pad_batch, places_of
from helpers.gradient_reach import frozen_blocks
from helpers.history import History
from helpers.loading import INDEX, find_checkpoint, load_pretrained
from helpers.model import GPTModel, without_causal_mask
from helpers.tokenizer import get_tokenizer

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
        epochs=experiment.epochs,
        batch_size=experiment.batch_size,
        accumulation=experiment.accumulation,
        lr=experiment.lr,
        weight_decay=experiment.weight_decay,
        ignore_index=experiment.ignore_index,
        seed=seed,
        position=experiment.position,
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
