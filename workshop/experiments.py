"""The book's table of experiments, and the training of each.

The book's repository (github.com/rasbt/LLMs-from-scratch, ch06/02_bonus_additional-experiments)
answers questions about chapter 6 with a table of 19 experiments, a row for each. Their numbers and
the test accuracies in `Row.book`, of one training each, are that table's. Experiment 20 is the
course's own.

    python -m workshop.experiments --model "gpt2-nano (12M)" --rows 1-5,10,11 --seeds 5
"""

import hashlib
import json
import random
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import pandas as pd
import torch
from torch.nn import functional as F

from helpers.checks import one_of
from helpers.config import BUNDLED_SIZE, gpt_config, model_size
from helpers.data import DATA_NAMES, SpamDataset, load_splits
from helpers.download import file_sha256
from helpers.freezing import PRESETS, FreezePlan, replace_head
from helpers.loading import INDEX, find_checkpoint, load_pretrained
from helpers.model import GPTModel, without_causal_mask
from helpers.tokenizer import get_tokenizer
from helpers.training import TrainingSettings, classifying_place, own_random_numbers
from workshop.fast import TRAINING_VERSION, fine_tune, settings_by_name
from workshop.forward import message_logits

load_splits_once = lru_cache(maxsize=2)(load_splits)

LAYERS = {  # what is trained → the name of the plan in PRESETS
    "head only": "head only",
    "last block": "the book's choice",
    "last two blocks": "last two blocks",
    "all": "everything",
    "LoRA": "LoRA, all blocks",
}


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
        if self.lr is None:
            lr = TrainingSettings.for_model(self.model).lr
            if model_size(self.model) == BUNDLED_SIZE and self.layers in ("all", "LoRA"):
                lr /= 2
            vars(self)["lr"] = lr  # as the dataclass is frozen
        super().__post_init__()

    def plan(self, n_layers: int) -> FreezePlan:
        """Return which parts of a model with `n_layers` blocks are trained."""
        plan = PRESETS[LAYERS[self.layers]](n_layers)
        return replace(plan, rank=self.rank, alpha=self.alpha)


@dataclass(frozen=True)
class Row:
    """A row of the table: which row it is compared with, and how it differs from row 1.

    `book` is the book's test accuracy in percent, for GPT-2 124M, or the model that `changes`
    names, on 300 test messages of the SMS Spam Collection; None where the book has no such row.
    """

    description: str
    against: int
    changes: dict
    book: float | None = None

    def experiment(self, model: str, data: str) -> Experiment:
        """Return this row for a model, unless the row names its own, and a data set."""
        return Experiment(**{"model": model, "data": data} | self.changes)


TABLE = """
1 = ["the book's choices", 1, {}, 95.00]
2 = ["classify at the first token", 1, {position = "first"}, 75.00]
3 = ["train the head only", 1, {layers = "head only"}, 72.00]
4 = ["train the last two blocks", 1, {layers = "last two blocks"}, 98.33]
5 = ["train everything", 1, {layers = "all"}, 96.67]
6 = ["GPT-2 355M", 1, {model = "gpt2-medium (355M)"}, 84.67]
7 = ["GPT-2 774M", 1, {model = "gpt2-large (774M)"}, 96.67]
8 = ["GPT-2 1558M", 1, {model = "gpt2-xl (1558M)"}, 98.33]
9 = ["GPT-2 1558M, train everything", 8, {model = "gpt2-xl (1558M)", layers = "all"}, 98.67]
10 = ["random weights, train everything", 5, {weights = "random", layers = "all"}, 93.67]
11 = ["LoRA in all blocks", 5, {layers = "LoRA"}, 96.67]
12 = ["GPT-2 1558M, LoRA", 9, {model = "gpt2-xl (1558M)", layers = "LoRA", alpha = 8.0}, 98.33]
13 = ["pad to 1,024 tokens", 1, {max_length = 1024}, 78.33]
14 = ["no padding, batch size 1", 1, {padding = false, batch_size = 1}, 98.00]
15 = ["no padding, 8 messages per step", 1, {padding = false, batch_size = 1, accumulation = 8}, 98.33]
16 = ["classify at the last real token", 1, {position = "last_token"}, 98.33]
17 = ["no causal mask", 1, {causal_mask = false}, 95.33]
18 = ["ignore_index = id of the padding", 1, {ignore_index = 50256}, 95.00]
19 = ["classify by the mean of all tokens", 1, {position = "mean"}, 96.33]
20 = ["shuffle the words", 1, {words_shuffled = true}]
"""
ROWS = {int(number): Row(*values) for number, values in tomllib.loads(TABLE).items()}


def parse_rows(text: str) -> list[int]:
    """Return the numbers of rows in a text such as "1-5,10,11", in order, without repetition.

    Raises ValueError for another text, and for rows that do not exist.
    """
    numbers = set()
    try:
        for piece in text.split(","):
            first, _, last = piece.partition("-")
            numbers.update(range(int(first), int(last or first) + 1))
    except ValueError:
        numbers.clear()
    if not numbers or not numbers <= ROWS.keys():
        raise ValueError(
            f"{text!r} names no rows; give numbers from 1 to {max(ROWS)}, such as 1-5,10,11"
        )
    return sorted(numbers)


def reason_to_skip(number: int, model: str) -> str:
    """Return a sentence why a row can't be compared where row 1 is `model`'s, "" where it can."""
    other = ROWS[number].changes.get("model", model)
    if other == model or model_size(model) != BUNDLED_SIZE:
        return ""
    return (
        f"experiment {number} is skipped: it needs {other}, a larger version of GPT-2 124M, and "
        f'the nano has none; --model "gpt2-small (124M)" runs it'
    )


# --- one training --------------------------------------------------------------------------------


def make_datasets(experiment: Experiment, parts: Sequence[pd.DataFrame]) -> list[SpamDataset]:
    """Return the three parts of `load_splits` as the experiment wants them.

    The seed decides only the order of words, where they are shuffled.
    """
    generator, max_length, datasets = random.Random(experiment.seed), experiment.max_length, []
    for part in parts:
        if experiment.words_shuffled:
            texts = []
            for words in part["Text"].str.split():
                generator.shuffle(words)
                texts.append(" ".join(words))
            part = part.assign(Text=texts)
        data = SpamDataset(part, get_tokenizer(), max_length)
        max_length = data.max_length  # the training part's, which comes first
        if not experiment.padding:
            rows = data.encoded_texts
            data.encoded_texts = [row[: 1 + classifying_place(row, "last_token")] for row in rows]
        datasets.append(data)
    return datasets


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


def measure(model: GPTModel, experiment: Experiment, datasets: Sequence[SpamDataset]) -> dict:
    """Return `accuracy` (0 … 1) and `loss` (the mean, in nats) of each part, and `right`.

    That is a text with a 1 for each test message that is classified correctly, 0 for the others.
    """
    measured = {"accuracy": {}, "loss": {}}
    for part, data in zip(("train", "validation", "test"), datasets, strict=True):
        logits = message_logits(model, data.encoded_texts, experiment.position)
        labels = torch.tensor(data.labels)
        is_right = logits.argmax(dim=-1) == labels
        measured["accuracy"][part] = round(is_right.double().mean().item(), 6)
        measured["loss"][part] = round(F.cross_entropy(logits, labels).item(), 6)
        measured["right"] = "".join(map(str, is_right.int().tolist()))  # the test part is last
    return measured


def run(number: int, experiment: Experiment) -> dict:
    """Train and measure row `number` once; return a row for `append_row`.

    It holds what `measure` returns, what the result is of, and the seconds that all took. Raises
    KeyboardInterrupt when interrupted, and what `fine_tune` raises.
    """
    start = time.perf_counter()
    datasets = make_datasets(experiment, load_splits_once(experiment.data))
    model = make_classifier(make_model(experiment), experiment)
    plan = experiment.plan(len(model.trf_blocks))
    if fine_tune(model, *datasets[:2], plan, experiment, progress=False).interrupted:
        raise KeyboardInterrupt
    return {
        "id": run_id(number, experiment),
        "row": number,
        "seed": experiment.seed,
        "settings": settings_by_name(experiment),
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
    parts = load_splits_once(experiment.data)
    return {
        "checkpoint": checkpoint,
        "data": short_hash([[part["Label"].tolist(), part["Text"].tolist()] for part in parts]),
        "code": f"version {TRAINING_VERSION}",
    }


def run_id(number: int, experiment: Experiment) -> str:
    """Return a name that another setting, message, checkpoint or version of the code changes."""
    origin = short_hash([settings_by_name(experiment), fingerprint(experiment)])
    return f"row {number}, seed {experiment.seed}, {origin}"


def short_hash(values: list) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


if __name__ == "__main__":
    from workshop.compare import main  # which compares the rows of this file

    main()
