"""A training that was killed goes on at its last whole epoch.

After each epoch the trained weights, the optimizer's numbers and the history are written into a
folder, by `torch.distributed.checkpoint`: each process writes its part, and another number of
processes can read it.
"""

import json
import shutil
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from helpers.checks import instance_of
from helpers.files import whole_file
from helpers.history import History
from helpers.ranks import ALONE, Ranks

OF, HISTORY = "of.json", "history.json"
EPOCH = "epoch-"


class EpochCheckpoint:
    """The last whole epoch of one training, in `folder`.

    `of` says which training it is: names and texts, such as settings and checksums. Raises
    ValueError where the folder holds another one's.
    """

    def __init__(self, folder: str | Path, of: dict[str, str], ranks: Ranks = ALONE):
        instance_of("of", of, dict, "a dictionary of texts")
        self.folder, self.of, self.ranks = Path(folder), of, ranks
        differing = self._differing()
        ranks.wait()  # nobody writes before all have looked
        if differing:
            raise ValueError(
                f"{self.folder} holds the last epoch of another training (it differs in: "
                f"{', '.join(differing)}); delete the folder, or go on with that one's settings"
            )
        if ranks.is_first:
            with whole_file(self.folder / OF) as part:
                part.write_text(json.dumps(of), encoding="utf-8")

    def _differing(self) -> list[str]:
        path = self.folder / OF
        if not path.exists():
            return []
        try:
            there = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            return [f"{OF}, which can't be read"]
        return [name for name in {**self.of, **there} if self.of.get(name) != there.get(name)]

    def epochs(self) -> int:
        """Return how many whole epochs are in the folder."""
        return max((int(path.name.removeprefix(EPOCH)) for path in self._whole()), default=0)

    def _whole(self) -> list[Path]:
        found = self.folder.glob(f"{EPOCH}*")
        return [path for path in found if path.name.removeprefix(EPOCH).isdecimal()]

    def save(self, part: nn.Module, optimizer: torch.optim.Optimizer, history: History) -> None:
        """Write the epoch that has just ended, and delete the one before.

        Raises OSError where it can't be written; then the one before is still there.
        """
        with _uninterrupted():
            self._save(part, optimizer, history)

    def _save(self, part: nn.Module, optimizer: torch.optim.Optimizer, history: History) -> None:
        from torch.distributed import checkpoint  # slow to import

        epoch = self.folder / f"{EPOCH}{len(history.val_accs)}"
        new = epoch.with_name(f"{epoch.name}.part")
        state = _state(part, optimizer)
        try:
            with _as_one_process(self.ranks) as options:
                checkpoint.save(state, checkpoint_id=new, **options)
        except checkpoint.CheckpointException as error:
            raise OSError(f"{new} can't be written ({_reason(error)})") from error
        if self.ranks.is_first:
            (new / HISTORY).write_text(json.dumps(asdict(history)), encoding="utf-8")
            older = self._whole()
            new.rename(epoch)
            for path in older:
                shutil.rmtree(path)
        self.ranks.wait()

    def load(self, part: nn.Module, optimizer: torch.optim.Optimizer, history: History) -> int:
        """Put the last whole epoch into all three; return how many epochs there were.

        Raises ValueError for a folder that can't be read.
        """
        from torch.distributed import checkpoint  # slow to import
        from torch.distributed.checkpoint.state_dict import set_state_dict

        epochs = self.epochs()
        if not epochs:
            return 0
        epoch = self.folder / f"{EPOCH}{epochs}"
        state = _state(part, optimizer)
        try:
            with _as_one_process(self.ranks) as options:
                checkpoint.load(state, checkpoint_id=epoch, **options)
            figures = json.loads((epoch / HISTORY).read_text(encoding="utf-8"))
        except (checkpoint.CheckpointException, OSError, ValueError) as error:
            raise ValueError(
                f"{epoch} can't be read ({_reason(error)}); delete {self.folder}"
            ) from error
        set_state_dict(
            part,
            optimizer,
            model_state_dict=state["weights"],
            optim_state_dict=state["optimizer"],
            options=_only_what_is_trained(),
        )
        for name in ("step_losses", "train_accs", "val_losses", "val_accs"):
            setattr(history, name, figures[name])
        return epochs

    def delete(self) -> None:
        """Delete the folder; the training has ended, and its model is saved elsewhere."""
        self.ranks.wait()
        if self.ranks.is_first:
            with suppress(FileNotFoundError):
                shutil.rmtree(self.folder)


def _reason(error: BaseException) -> str:
    """Return why a checkpoint failed, in one line; torch tells it for each process."""
    failures = getattr(error, "failures", None)
    if failures is None:
        return str(error)
    return ", ".join(sorted({repr(failure) for failure, _ in failures.values()}))


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let a Ctrl-C wait until this block has ended: torch can't close what is half written."""
    if threading.current_thread() is not threading.main_thread():  # which alone hears of one
        yield
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)
    if came:
        raise KeyboardInterrupt


@contextmanager
def _as_one_process(ranks: Ranks) -> Iterator[dict]:
    """Yield the options with which torch asks no other process where there is none."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # as is meant
        yield {"no_dist": ranks.size == 1}


def _only_what_is_trained():
    from torch.distributed.checkpoint.state_dict import StateDictOptions

    return StateDictOptions(ignore_frozen_params=True, strict=False)


def _state(part: nn.Module, optimizer: torch.optim.Optimizer) -> dict:
    """Return weights and the optimizer's numbers by name, as `torch.distributed.checkpoint` wants."""
    from torch.distributed.checkpoint.state_dict import get_state_dict

    weights, numbers = get_state_dict(part, optimizer, options=_only_what_is_trained())
    return {"weights": weights, "optimizer": numbers}
