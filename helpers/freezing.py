"""The classification head, and which parts of GPT-2 are trained: the book's section 6.5.

A *part* is one of `tok_emb`, `pos_emb`, `trf_blocks.0` …, `final_norm`, `out_head`. A block has four *pieces*, such as
`trf_blocks.0.att`. What is not trained is *frozen*: torch computes no gradient for it, the optimizer leaves it alone.
"""

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from numbers import Integral

import torch
from torch import nn

from helpers.model import GPTModel, part_names

PIECES = ("att", "ff", "norm1", "norm2")
TRAINABLE, FROZEN, PARTLY = "trainable", "frozen", "partly trainable"


def replace_head(model: GPTModel, num_classes: int = 2) -> GPTModel:
    """Give `model` a new, random `out_head` with a bias, (b, n, emb_dim) → (b, n, num_classes); return `model`.

    Raises ValueError for fewer than two classes.
    """
    _check_num_classes(num_classes)
    old = model.out_head
    model.out_head = nn.Linear(old.in_features, num_classes).to(old.weight.device, old.weight.dtype)
    return model


def _check_num_classes(num_classes: int) -> None:
    if not isinstance(num_classes, Integral) or num_classes < 2:
        raise ValueError(f"a classifier needs at least 2 classes, not {num_classes!r}")


def pieces_of(part: str) -> tuple[str, ...]:
    """Return the four pieces of a block, or the part itself."""
    return tuple(f"{part}.{piece}" for piece in PIECES) if part.startswith("trf_blocks.") else (part,)


@dataclass(frozen=True)
class FreezePlan:
    """Which parts of a model with `n_layers` blocks are trainable; the rest is frozen.

    `trainable` takes blocks whole (`"trf_blocks.3"`) or in pieces (`"trf_blocks.3.att"`); four pieces are the block.
    Raises ValueError for a part that does not exist.
    """

    n_layers: int
    trainable: frozenset[str] = frozenset()

    def __post_init__(self):
        if not isinstance(self.n_layers, Integral) or self.n_layers < 1:
            raise ValueError(f"n_layers must be a whole number from 1, not {self.n_layers!r}")
        asked = {self.trainable} if isinstance(self.trainable, str) else set(self.trainable)
        kept = set()
        for part in part_names(self.n_layers):
            pieces = set(pieces_of(part))
            found = asked & (pieces | {part})
            kept |= {part} if part in found or found == pieces else found
            asked -= found
        if asked:
            raise ValueError(
                f"no part is called {', '.join(sorted(map(repr, asked)))}; a model with {self.n_layers} blocks has "
                f"tok_emb, pos_emb, trf_blocks.0 … trf_blocks.{self.n_layers - 1}, final_norm and out_head, and each "
                "block has the pieces .att, .ff, .norm1 and .norm2"
            )
        object.__setattr__(self, "trainable", frozenset(kept))

    # --- presets ---

    @classmethod
    def nothing(cls, n_layers: int) -> "FreezePlan":
        """Everything is frozen."""
        return cls(n_layers)

    @classmethod
    def everything(cls, n_layers: int) -> "FreezePlan":
        """Nothing is frozen."""
        return cls(n_layers, frozenset(part_names(n_layers)))

    @classmethod
    def head_only(cls, n_layers: int) -> "FreezePlan":
        """Only `out_head` is trainable."""
        return cls(n_layers, frozenset({"out_head"}))

    @classmethod
    def last_blocks(cls, n_layers: int, k: int = 1) -> "FreezePlan":
        """The last `k` blocks (0 … n_layers, else ValueError), `final_norm` and `out_head` are trainable."""
        cls(n_layers)  # refuses what is no depth
        if not isinstance(k, Integral) or not 0 <= k <= n_layers:
            raise ValueError(f"k must be a whole number from 0 to {n_layers}, the number of blocks, not {k!r}")
        return cls(n_layers, frozenset(part_names(n_layers)[2 + n_layers - k :]))

    @classmethod
    def book(cls, n_layers: int) -> "FreezePlan":
        """The book's choice: the last block, `final_norm` and `out_head`."""
        return cls.last_blocks(n_layers, 1)

    # --- one part ---

    def state(self, part: str) -> str:
        """Return "trainable", "frozen" or, for a block trained in pieces, "partly trainable"."""
        whole = FreezePlan(self.n_layers, frozenset({part})).trainable  # refuses a part that does not exist
        if whole <= self.trainable or part.rpartition(".")[0] in self.trainable:
            return TRAINABLE
        return PARTLY if self.trainable & set(pieces_of(part)) else FROZEN

    def toggle(self, part: str) -> "FreezePlan":
        """Return the plan with this part's state flipped; a partly trainable block becomes wholly trainable."""
        if self.state(part) != TRAINABLE:
            return FreezePlan(self.n_layers, self.trainable | {part})
        block = part.rpartition(".")[0]
        if block in self.trainable:  # a piece of a block that is trainable as a whole: the other three stay
            return FreezePlan(self.n_layers, self.trainable - {block} | set(pieces_of(block)) - {part})
        return FreezePlan(self.n_layers, self.trainable - {part})

    # --- a model ---

    def apply(self, model: GPTModel) -> GPTModel:
        """Set `requires_grad` of all of the model's parameters; return it. Raises ValueError for another depth."""
        if len(model.trf_blocks) != self.n_layers:
            raise ValueError(f"the plan is for {self.n_layers} blocks, the model has {len(model.trf_blocks)}")
        for part in part_names(self.n_layers):
            for piece in pieces_of(part):
                model.get_submodule(piece).requires_grad_(self.state(piece) == TRAINABLE)
        return model

    @classmethod
    def of(cls, model: GPTModel) -> "FreezePlan":
        """Read the plan off a model. Raises ValueError where a piece is trainable in some of its tensors only."""
        n_layers, trainable = len(model.trf_blocks), set()
        for piece in (piece for part in part_names(n_layers) for piece in pieces_of(part)):
            flags = {p.requires_grad for p in model.get_submodule(piece).parameters()}
            if len(flags) > 1:
                raise ValueError(f"{piece} is trainable in some of its tensors only, which a FreezePlan can't say")
            if flags == {True}:
                trainable.add(piece)
        return cls(n_layers, frozenset(trainable))


# --- the report ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PartCount:
    """One part's number of parameters, how many of them are trainable, and its state."""

    part: str
    parameters: int
    trainable: int
    state: str


@dataclass(frozen=True)
class ParameterReport:
    """The parts in the order of the forward pass; the totals are their sums."""

    parts: tuple[PartCount, ...]

    @property
    def total(self) -> int:
        return sum(part.parameters for part in self.parts)

    @property
    def trainable(self) -> int:
        return sum(part.trainable for part in self.parts)

    @property
    def frozen(self) -> int:
        return self.total - self.trainable

    @property
    def percent(self) -> float:
        """The trainable share in percent, 0 … 100."""
        return 100 * self.trainable / self.total

    def __str__(self):
        head = f"{'part':<14}{'parameters':>15}{'trainable':>15}  state"
        rows = [f"{p.part:<14}{p.parameters:>15,}{p.trainable:>15,}  {p.state}" for p in self.parts]
        return "\n".join(
            [head, *rows, f"{'total':<14}{self.total:>15,}{self.trainable:>15,}  {self.percent:.2f} % trainable"]
        )


def parameter_report(cfg: dict, plan: FreezePlan, num_classes: int = 2) -> ParameterReport:
    """Count the parameters of a classifier with configuration `cfg` under `plan`, without allocating any weights.

    Raises ValueError for fewer than two classes and for a plan of another depth.
    """
    _check_num_classes(num_classes)
    counts = _piece_counts(tuple(sorted(cfg.items())), num_classes)
    if plan.n_layers != cfg["n_layers"]:
        raise ValueError(f"the plan is for {plan.n_layers} blocks, the configuration has {cfg['n_layers']}")
    parts = []
    for part in part_names(plan.n_layers):
        pieces = pieces_of(part)
        trainable = sum(counts[piece] for piece in pieces if plan.state(piece) == TRAINABLE)
        parts.append(PartCount(part, sum(counts[piece] for piece in pieces), trainable, plan.state(part)))
    return ParameterReport(tuple(parts))


@lru_cache(maxsize=32)
def _piece_counts(cfg_items: tuple, num_classes: int) -> Counter:
    counts = Counter()
    for name, parameter in classifier_without_weights(dict(cfg_items), num_classes).named_parameters():
        keep = 3 if name.startswith("trf_blocks.") else 1  # trf_blocks.0.att…, or tok_emb…
        counts[".".join(name.split(".")[:keep])] += parameter.numel()
    return counts


def classifier_without_weights(cfg: dict, num_classes: int = 2) -> GPTModel:
    """Return the classifier on torch's meta device, where tensors have a shape and no memory."""
    with torch.device("meta"):
        return replace_head(GPTModel(cfg), num_classes)
