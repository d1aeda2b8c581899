"""How far down the gradient goes under a freeze plan, and which blocks it never gets to.

The backward pass (Rumelhart, Hinton & Williams 1986) goes from the loss down to the lowest part
where anything learns, be it only an adapter, and no further.
"""

from dataclasses import dataclass

from helpers.checks import instance_of
from helpers.freezing import FROZEN, FreezePlan
from helpers.model import part_names


@dataclass(frozen=True)
class GradientReach:
    """The backward pass starts at the loss and ends in the lowest part where anything learns.

    `crossed` are the parts above it, in the order of the forward pass: each takes a gradient from
    above and passes one on below, whether or not it learns itself. The embeddings stand side by
    side at the bottom, so neither is ever crossed, and the backward pass may end in both. Where
    nothing learns `ends` is empty.
    """

    ends: tuple[str, ...]
    crossed: tuple[str, ...]

    @property
    def lowest(self) -> str | None:
        """The part where the backward pass ends, the first of two; None where there is none."""
        return self.ends[0] if self.ends else None


def gradient_reach(plan: FreezePlan) -> GradientReach:
    """Return where the backward pass under `plan` ends and what it crosses on the way."""
    instance_of("plan", plan, FreezePlan, "a FreezePlan")
    parts = part_names(plan.n_layers)
    lowest = next((part for part in parts if plan.state(part) != FROZEN), None)
    if lowest is None:
        return GradientReach((), ())
    embeddings = tuple(part for part in parts[:2] if plan.state(part) != FROZEN)
    start = max(parts.index(lowest) + 1, parts.index("trf_blocks.0"))
    return GradientReach(embeddings or (lowest,), parts[start:])


def frozen_blocks(plan: FreezePlan) -> int | None:
    """Return how many blocks lie below the lowest part where anything learns.

    With the embeddings they are the frozen part, which gives the same numbers in each epoch. None
    where an embedding is trainable: then there is no such part.
    """
    lowest = gradient_reach(plan).lowest or "out_head"
    if lowest.endswith("_emb"):
        return None
    if lowest.startswith("trf_blocks."):
        return int(lowest.rpartition(".")[2])
    return plan.n_layers
