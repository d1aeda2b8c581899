"""Several processes that train or classify together, and the file from which a training resumes.

torchrun starts the processes. They exchange numbers through torch.distributed, over NCCL between
GPUs and over gloo otherwise (https://docs.pytorch.org/docs/stable/distributed.html). A single
process sends nothing.

What a command does:

    with joined() as processes:                      # ALONE without torchrun
        own = processes.own(range(len(texts)))       # this process's part of the work
        checkpoint = EpochCheckpoint("OUT.checkpoint", {"seed": "123"})
        if epochs := checkpoint.epochs(): …          # a training to resume
        … fine_tuning_steps(…, processes=processes, checkpoint=checkpoint)
        if processes.number == 0:
            … print, save the model, delete the checkpoint
"""

import io
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import torch
from torch import distributed

from helpers.download import whole_file
from helpers.training import get_device


@dataclass(frozen=True)
class Processes:
    """This process's `number`, 0 … size - 1, among `size` that share the work."""

    number: int = 0
    size: int = 1

    def own(self, indices: Iterable[int]) -> list[int]:
        """Return those of the `indices` that this process works on: every `size`-th index."""
        return [i for i in indices if i % self.size == self.number]

    def sum(self, *values: float) -> tuple[float, ...]:
        """Return the sum of each value over all processes, when all of them have called this."""
        if self.size == 1:
            return values
        totals = torch.tensor(values, dtype=torch.float64, device=get_device())
        distributed.all_reduce(totals)
        return tuple(totals.tolist())

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Give each parameter the sum of its gradients in all processes."""
        if self.size > 1:
            for parameter in parameters:
                if parameter.grad is None:  # this process had no message in the batch
                    parameter.grad = torch.zeros_like(parameter)
                distributed.all_reduce(parameter.grad)

    def copy_from_first(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Give each parameter the value that it has in process 0."""
        if self.size > 1:
            for parameter in parameters:
                distributed.broadcast(parameter.data, 0)


ALONE = Processes()


@contextmanager
def joined() -> Iterator[Processes]:
    """Yield the processes that torchrun has started, connected in this block, or ALONE.

    Each process uses the GPU of its local rank. Raises RuntimeError for too few GPUs and where the
    processes can't connect, such as when the port is in use.
    """
    if "WORLD_SIZE" not in os.environ:
        yield ALONE
        return
    backend = "gloo"
    if torch.cuda.is_available():
        backend = "nccl"
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    store, number, size = next(distributed.rendezvous("env://"))
    # torchrun's store outlives a restart, and holds the addresses of the killed processes
    store = distributed.PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)
    distributed.init_process_group(backend, store=store, rank=number, world_size=size)
    try:
        yield Processes(number, size)
    finally:
        distributed.destroy_process_group()


FORMAT = {"format": "2"}  # of a checkpoint


@dataclass(frozen=True)
class EpochCheckpoint:
    """The last whole epoch of one training, in the file `path`, from which it resumes.

    The file holds a checksum, then the trained weights, the optimizer's state, the history, and the
    weights of the best epoch where they are kept, so any number of processes can resume. Nothing in
    it is executed. `of` says which training it belongs to, such as its settings and checksums. Only
    process 0 calls `save`.
    """

    path: str | Path
    of: Mapping[str, str]

    def epochs(self) -> int:
        """Return the number of whole epochs in the file, 0 without a file.

        Raises ValueError for the file of another training, and for anything else at `path`.
        """
        return len(self._read()["history"].get("val_accs", []))

    def load(
        self, parameters: Mapping[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer
    ) -> tuple[dict[str, list[float]], dict[str, torch.Tensor]]:
        """Give weights and optimizer their state after the last whole epoch.

        Returns the history and `kept`, as they were given to `save`. Without a file nothing is
        changed and both are empty. Raises what `epochs` does.
        """
        saved = self._read()
        if "weights" in saved:
            for name, parameter in parameters.items():
                parameter.data.copy_(saved["weights"][name])
            optimizer.load_state_dict(saved["optimizer"])
        return saved["history"], saved["kept"]

    def _read(self) -> dict:
        path = Path(self.path)
        if not path.exists():
            return {"history": {}, "kept": {}}
        content = path.read_bytes() if path.is_file() else b""  # a folder, or a pipe
        if sha256(content[32:]).digest() != content[:32]:
            raise ValueError(
                f"{path} is no checkpoint of a training, or it is damaged; move or delete it, and "
                "the training starts from the beginning"
            )
        saved = torch.load(io.BytesIO(content[32:]), map_location="cpu", weights_only=True)
        of, expected = saved["of"], {**self.of, **FORMAT}
        differing = [name for name in {**expected, **of} if expected.get(name) != of.get(name)]
        if differing:
            raise ValueError(
                f"{path} is the checkpoint of another training (it differs in: "
                f"{', '.join(differing)}); delete it, or resume that training with its settings"
            )
        return saved

    def save(
        self,
        parameters: Mapping[str, torch.nn.Parameter],
        optimizer: torch.optim.Optimizer,
        history: Mapping[str, list[float]],
        kept: Mapping[str, torch.Tensor],
    ) -> None:
        """Write an epoch that has just ended in the place of the one before, whole or not at all.

        `kept` are the weights of an earlier epoch, the best one so far, empty for none. Raises
        OSError where it can't be written.
        """
        weights = {name: parameter.detach() for name, parameter in parameters.items()}
        saved = {
            "of": {**self.of, **FORMAT},
            "history": dict(history),
            "weights": weights,
            "kept": dict(kept),
            "optimizer": optimizer.state_dict(),
        }
        content = io.BytesIO()
        torch.save(saved, content)
        digest = sha256(content.getbuffer()).digest()
        with whole_file(self.path) as part:
            part.write_bytes(digest + content.getbuffer())
