"""What the tests of the Freeze Lab share: a tiny model with a few messages, and made-up runs."""

import random
from dataclasses import replace

import pandas as pd

from helpers.data import SpamDataset
from helpers.freezing import FreezePlan
from helpers.tokenizer import get_tokenizer
from tests.conftest import TINY, random_model
from workshop.lab import Material, Run, Settings

BOOK, HEAD = FreezePlan.book(3), FreezePlan.head_only(3)
BELONGS_TO = {"checkpoint": "tiny", "messages": "made up"}


def messages(count: int, seed: int) -> SpamDataset:
    """Ham and spam that share few words, so that there is something to learn; 9 tokens at most."""
    rng, rows = random.Random(seed), []
    for i in range(count):
        words = (["free", " prize", " claim", " now"], ["see", " you", " at", " eight"])[i % 2]
        rows.append((1 - i % 2, "".join(rng.choices(words, k=rng.randint(3, 8)))))
    table = pd.DataFrame(rows, columns=["Label", "Text"])
    return SpamDataset(table, get_tokenizer(), max_length=9)


def tiny_material(**changes) -> Material:
    """A random model of three blocks, 48 messages to learn from, 20 each for the rest."""
    sets = messages(48, 0), messages(20, 1), messages(20, 2)
    return replace(Material(random_model(TINY), *sets, BELONGS_TO, 1e-2), **changes)


def made_up_run(
    id: str = "a",
    plan: FreezePlan = BOOK,
    accuracies: tuple[float, ...] = (0.8, 0.82, 0.81),
    losses: tuple[float, ...] | None = None,
    position: str = "last",
    **changes,
) -> Run:
    """A run on 100 messages, of which the first ones are right."""
    count = len(accuracies)
    right = tuple("1" * round(100 * a) + "0" * (100 - round(100 * a)) for a in accuracies)
    fields = {
        "trainable": 1000, "work": 12_300_000_000, "seconds": 2.0, "train_accs": (0.9,) * count,
        "val_losses": losses or (0.5,) * count, "best_epochs": (2,) * count, "right": right,
        "after_test": False,
    }  # fmt: skip
    return Run(id, Settings(plan, position, 5, 1e-3, count), **fields | changes)
