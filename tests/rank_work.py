"""What tests/test_ranks.py has torchrun start: small trainings, each process with its share of them.

python -m torch.distributed.run --nproc-per-node=2 -m tests.rank_work all OUT
python -m torch.distributed.run --nproc-per-node=2 --max-restarts=1 -m tests.rank_work killed OUT
"""

import os
import signal
import sys
from pathlib import Path

import torch

from helpers.freezing import FreezePlan
from helpers.model import GPTModel
from tests.conftest import TINY
from tests.test_fine_tuning import TRAIN, VALIDATION, classifier, data
from workshop.fast import History, fine_tuning_steps
from workshop.processes import EpochCheckpoint, Ranks, joined

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
    "everything, in shards": (ALL, {"shard": True, "position": "last"}),
    "the book's plan, in shards": (FreezePlan.book(LAYERS), {"shard": True}),
    "adapters, in shards": (LORA, {"shard": True, "position": "last_token"}),
}


FOR_FOUR = ["the book's plan", "more ranks than messages", "everything, in shards"]


def start(name: str, ranks: Ranks, **more):
    """Return a new classifier, and its training in slices."""
    plan, settings = TRAININGS[name]
    settings = {"train": TRAIN, "validation": VALIDATION, "batch_size": 5, "epochs": 2} | settings
    model, (train, validation) = classifier(), (settings.pop("train"), settings.pop("validation"))
    settings |= {"lr": 1e-3} | more
    return model, fine_tuning_steps(model, train, validation, plan, ranks=ranks, **settings)


def to_the_end(model: GPTModel, steps) -> dict:
    """Train; return all figures and weights."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            weights = {key: tensor.detach().cpu() for key, tensor in model.state_dict().items()}
            return {"figures": figures(end.value), "weights": weights}


def figures(history: History) -> dict[str, list[float]]:
    names = ("step_losses", "train_accs", "val_losses", "val_accs")
    return {name: getattr(history, name) for name in names}


def train_all(ranks: Ranks) -> dict[str, dict]:
    """Do all trainings; more than two processes do those in which something else happens."""
    names = [*TRAININGS] if ranks.size <= 2 else FOR_FOUR
    return {name: to_the_end(*start(name, ranks)) for name in names}


def say_differing(ranks: Ranks) -> str:
    """Return what is said where each rank has read another file."""
    ranks.same("the model", "one for all")
    try:
        ranks.same("the file", f"read by rank {ranks.number}")
    except ValueError as error:
        return str(error)


def up_to_epoch(steps, epochs: int) -> None:
    """Train until so many epochs have ended."""
    while len(next(steps).history.val_accs) < epochs:
        pass


def train_and_be_killed(ranks: Ranks, folder: Path) -> dict:
    """Train "in shards" for an epoch and leave it; train another: at first a process is killed in it.

    Started again, it ends.
    """
    whole, shards = (folder / name for name in ("whole", "shards"))
    first = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
    if first:
        checkpoint = EpochCheckpoint(shards, {"training": "in shards"}, ranks)
        _, steps = start("everything, in shards", ranks, epochs=3, checkpoint=checkpoint)
        up_to_epoch(steps, 1)
        steps.close()
    checkpoint = EpochCheckpoint(whole, {"training": "whole"}, ranks)
    before = checkpoint.epochs()
    model, steps = start("the book's plan", ranks, epochs=3, checkpoint=checkpoint)
    if first:
        up_to_epoch(steps, 2)
        next(steps)
        if not ranks.is_first:
            os.kill(os.getpid(), signal.SIGKILL)
    return to_the_end(model, steps) | {"epochs_before": before}


if __name__ == "__main__":
    what, out = sys.argv[1], Path(sys.argv[2])
    with joined() as ranks:
        if what == "all":
            done = train_all(ranks) | {"differing": say_differing(ranks)}
        else:
            done = train_and_be_killed(ranks, out.parent)
        if ranks.is_first:
            torch.save(done, out)
