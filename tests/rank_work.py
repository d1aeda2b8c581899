"""What tests/test_ranks.py has torchrun start: small trainings that several processes share.

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
from helpers.training import TrainingSettings
from tests.test_fine_tuning import TRAIN, VALIDATION, classifier, data
from workshop.fast import fine_tuning_steps
from workshop.processes import EpochCheckpoint, Processes, joined

BOOK = FreezePlan.book(3)
LAST_TOKEN = {"position": "last_token", "class_weights": (0.4, 1.6)}
FOR_TEXTS = {"position": "mean_tokens", "head_lr": 5e-3, "schedule": "linear", "clip": 0.5}
FOR_TEXTS |= {"by_length": True, "keep": "best"}
TRAININGS = {  # name → plan, settings
    "the book's plan": (BOOK, {}),
    "the last token, with class weights": (FreezePlan.last_blocks(3, 2), LAST_TOKEN),
    "gradients accumulated": (FreezePlan.head_only(3), {"accumulation": 2, "batch_size": 3}),
    "adapters": (FreezePlan.lora(3, 2, rank=2), {}),
    "everything": (FreezePlan.everything(3), {"position": "mean"}),
    "everything as for texts": (FreezePlan.everything(3), FOR_TEXTS),
    "more processes than messages": (BOOK, {"batch_size": 2}),
}


def start(name: str, processes: Processes, checkpoint: EpochCheckpoint | None = None, **changes):
    """Return a new classifier, and the steps of its training."""
    plan, settings = TRAININGS[name]
    train, validation = TRAIN, VALIDATION
    if name == "more processes than messages":
        train, validation = data(" one two", " three"), data(" six")
    settings = TrainingSettings(**{"batch_size": 5, "epochs": 2, "lr": 1e-3} | settings | changes)
    model = classifier()
    options = {"processes": processes, "checkpoint": checkpoint}
    return model, fine_tuning_steps(model, train, validation, plan, settings, **options)


def to_the_end(model: GPTModel, steps) -> dict:
    """Train; return all numbers of the history, and all weights."""
    for progress in steps:
        history = progress.history
    weights = {key: tensor.detach().cpu() for key, tensor in model.state_dict().items()}
    names = ("step_losses", "train_accs", "val_losses", "val_accs")
    return {"history": {name: getattr(history, name) for name in names}, "weights": weights}


def up_to_epoch(steps, epochs: int) -> None:
    """Train until `epochs` have ended, and one step more."""
    while len(next(steps).history.val_accs) < epochs:
        pass
    next(steps)


def train_and_be_killed(processes: Processes, path: Path) -> dict:
    """Train until a process is killed in the third epoch; started again, train to the end."""
    checkpoint = EpochCheckpoint(path, {"training": "whole"})
    before = checkpoint.epochs()
    model, steps = start("the book's plan", processes, checkpoint, epochs=3)
    if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        up_to_epoch(steps, 2)
        processes.sum(0.0)  # waits until the first one has written its epoch
        if processes.number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
    return to_the_end(model, steps) | {"epochs_before": before}


if __name__ == "__main__":
    out = Path(sys.argv[2])
    with joined() as processes:
        if sys.argv[1] == "all":
            done = {name: to_the_end(*start(name, processes)) for name in TRAININGS}
        else:
            done = train_and_be_killed(processes, out.with_name("checkpoint"))
        if processes.number == 0:
            torch.save(done, out)
