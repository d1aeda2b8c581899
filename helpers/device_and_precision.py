"""Where torch computes, how precisely, and whose random numbers it draws."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

from helpers.checks import one_of

PRECISIONS = ("float32", "bfloat16")


def get_device() -> torch.device:
    """Return what the book trains on: a CUDA GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def check_precision(precision: str) -> None:
    """Raise ValueError for what is no precision of a frozen part."""
    one_of("precision", precision, PRECISIONS)


def precision_on(device: torch.device, precision: str) -> str:
    """Return `precision`, or "float16" for "bfloat16" on a GPU that has none.

    Those are CUDA's before Ampere, where torch emulates it slowly, and MPS before macOS 14.
    """
    if precision != "bfloat16":
        return precision
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0):
        return "float16"
    if device.type == "mps" and not torch.backends.mps.is_macos_or_newer(14, 0):
        return "float16"
    return precision


def autocast(device: torch.device, precision: str):
    """Return a context in which matrix products run in "bfloat16" or "float16".

    In "float32" it changes nothing.
    """
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=getattr(torch, precision))


@contextmanager
def own_random_numbers(device: torch.device, seed: int | None = None) -> Iterator[None]:
    """Draw from `seed` in this block (None: go on), and leave everybody else's numbers alone.

    The state that comes back afterwards is the CPU's and that of `device`, CUDA or MPS.
    """
    forked = [device] if device.type in ("cuda", "mps") else []
    device_type = device.type if forked else "cuda"
    with torch.random.fork_rng(devices=forked, device_type=device_type):
        if seed is not None:
            torch.manual_seed(seed)
        yield


class RandomNumbers:
    """Torch's random numbers from `seed` on, for work in slices.

    Each slice goes on where the last one ended; between them everybody else's numbers are as they
    would be without. On `device`, CUDA or MPS, they are that device's, too.
    """

    def __init__(self, device: torch.device, seed: int):
        self.device = device
        with own_random_numbers(device, seed):
            self._states = self._now()

    @contextmanager
    def drawn(self) -> Iterator[None]:
        """Draw from them in this block."""
        with own_random_numbers(self.device):
            cpu_state, *device_states = self._states
            torch.set_rng_state(cpu_state)
            for state in device_states:
                getattr(torch, self.device.type).set_rng_state(state, self.device)
            yield
            self._states = self._now()

    def _now(self) -> list[torch.Tensor]:
        states = [torch.get_rng_state()]
        if self.device.type in ("cuda", "mps"):
            states.append(getattr(torch, self.device.type).get_rng_state(self.device))
        return states
