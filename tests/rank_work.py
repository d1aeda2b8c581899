"""What tests/test_ranks.py has torchrun start: small trainings, each process with its share of them.

python -m torch.distributed.run --nproc-per-node=2 -m tests.rank_work OUT
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from helpers.fine_tuning import fine_tuning_steps
from helpers.freezing import FreezePlan
from helpers.history import History
from helpers.ranks import Ranks, joined
from tests.conftest import TINY
from tests.test_fine_tuning import TRAIN, VALIDATION, classifier, data

LAYERS = TINY["n_layers"]
ALL = FreezePlan.everything(LAYERS)
LORA = FreezePlan.lora(LAYERS, 2, rank=2)
TRAININGS = {  # name → plan, settings
    "the book's plan": (FreezePlan.book(LAYERS), {}),
    "the last token, with class weights": (
        FreezePlan.last_blocks(LAYERS, 2),
        {"position": "last_token", "class_weights": (0.4, 1.6)},
    ),
    "gradients accumulated": (FreezePlan.head_only(LAYERS), {"accumulation": 2, "batch_size": 3}),
    "adapters": (LORA, {}),
    "everything": (ALL, {"position": "mean"}),
    "more ranks than messages": (
        FreezePlan.book(LAYERS),
        {"train": data(" one two", " three"), "validation": data(" six"), "batch_size": 2},
    ),
    "everything, in shards": (ALL, {"shard": True}),
    "the book's plan, in shards": (FreezePlan.book(LAYERS), {"shard": True}),
    "adapters, in shards": (LORA, {"shard": True, "position": "last_token"}),
}


def train_all(ranks: Ranks) -> Iterator[tuple[str, dict]]:
    """Yield each training's name, and its figures and weights."""
    for name, (plan, settings) in TRAININGS.items():
        model = classifier()
        parts = settings.get("train", TRAIN), settings.get("validation", VALIDATION)
        rest = {key: value for key, value in settings.items() if key not in ("train", "validation")}
        batch = {"batch_size": 5} | rest
        history = run(model, parts, plan, ranks, epochs=2, lr=1e-3, device="cpu", **batch)
        weights = {key: tensor.detach() for key, tensor in model.state_dict().items()}
        yield name, {"figures": figures(history), "weights": weights}


def run(model, parts, plan, ranks, **settings) -> History:
    """Train to the end."""
    steps = fine_tuning_steps(model, *parts, plan, ranks=ranks, **settings)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def figures(history: History) -> dict[str, list[float]]:
    names = ("step_losses", "train_accs", "val_losses", "val_accs")
    return {name: getattr(history, name) for name in names}


if __name__ == "__main__":
    with joined() as ranks:
        trained = dict(train_all(ranks))
        if ranks.is_first:
            torch.save(trained, Path(sys.argv[1]))
