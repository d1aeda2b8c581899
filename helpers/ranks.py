"""The processes that share the work: those that torchrun has started, or just this one.

Each is a *rank*, numbered from 0, as in torch.distributed, whose process group carries all that they
tell each other: over NCCL between GPUs, else over gloo. Alone, nothing is sent and torch.distributed
is not asked.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed

from helpers.device_and_precision import get_device


@dataclass(frozen=True)
class Ranks:
    """This process's `number`, 0 … size - 1, among `size` that do the same work."""

    number: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the one that prints and writes what exists once."""
        return self.number == 0

    def own(self, numbers: Iterable[int]) -> list[int]:
        """Return those of these row numbers that this rank takes: every `size`-th row is its own."""
        return [i for i in numbers if i % self.size == self.number]

    def sum(self, *values: float) -> tuple[float, ...]:
        """Return the sum of each value over all ranks; they wait for each other."""
        if self.size == 1:
            return values
        total = torch.tensor(values, dtype=torch.float64, device=get_device())
        distributed.all_reduce(total)
        return tuple(total.tolist())

    def wait(self) -> None:
        """Go on when all ranks have come here."""
        self.sum(0.0)

    def same(self, what: str, value: str) -> None:
        """Raise ValueError, on all ranks, where they do not all have the same `value`."""
        if self.size == 1:
            return
        values: list[str | None] = [None] * self.size
        distributed.all_gather_object(values, value)
        differing = [str(rank) for rank, other in enumerate(values) if other != values[0]]
        if differing:
            raise ValueError(
                f"{what} is not the same for all processes: rank {', '.join(differing)} of 0 to "
                f"{self.size - 1} differs from rank 0; give all of them the same files and settings"
            )


ALONE = Ranks()


@contextmanager
def joined() -> Iterator[Ranks]:
    """Yield the ranks of torchrun's environment, in whose process group this block runs, or ALONE.

    Each process takes the GPU of its local rank. Raises RuntimeError where they can't meet, as
    where the port is in use.
    """
    if "WORLD_SIZE" not in os.environ:
        yield ALONE
        return
    device = get_device()
    if device.type == "cuda":
        local, gpus = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
        if local >= gpus:
            raise RuntimeError(
                f"there are {gpus} GPUs for more processes; start as many as there are GPUs, or "
                "set CUDA_VISIBLE_DEVICES to nothing to work without"
            )
        torch.cuda.set_device(local)
    store, number, size = next(distributed.rendezvous("env://"))
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        # torchrun's own store outlives a restart, and with it the addresses of killed processes
        attempt = os.environ["TORCHELASTIC_RESTART_COUNT"]
        store = distributed.PrefixStore(f"attempt {attempt}", store)
    backend = "nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, store=store, rank=number, world_size=size)
    try:
        yield Ranks(number, size)
    finally:
        distributed.destroy_process_group()
