"""The classification head, and which parts of GPT-2 are trained: the book's section 6.5.

A *part* is one of `tok_emb`, `pos_emb`, `trf_blocks.0` …, `final_norm`, `out_head`. A block has
four *pieces*, such as `trf_blocks.0.att`. What is not trained is *frozen*: torch computes no
gradient for it, the optimizer leaves it alone.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import nn

from helpers.checks import whole_number
from helpers.model import GPTModel, part_names

PIECES = ("att", "ff", "norm1", "norm2")
TRAINABLE, FROZEN, PARTLY = "trainable", "frozen", "partly trainable"


def replace_head(model: GPTModel, num_classes: int = 2) -> GPTModel:
    """Give `model` a new, random `out_head`, (b, n, emb_dim) → (b, n, num_classes); return `model`.

    Raises ValueError for fewer than two classes.
    """
    num_classes = whole_number("num_classes", num_classes, 2)
    old = model.out_head
    model.out_head = nn.Linear(old.in_features, num_classes).to(old.weight.device, old.weight.dtype)
    return model


def num_classes_of(model: GPTModel) -> int:
    """Return how many classes a model's head tells apart.

    Raises ValueError for a language-model head, and for one without a bias: `replace_head` gives
    neither.
    """
    head = model.out_head
    if head.out_features == model.cfg["vocab_size"] or head.bias is None:
        raise ValueError(
            f"the model has a language-model head with {head.out_features:,} outputs, or one "
            "without a bias; give it a new one with replace_head"
        )
    return head.out_features


def pieces_of(part: str) -> tuple[str, ...]:
    """Return the four pieces of a block, or the part or piece itself."""
    is_block = part.startswith("trf_blocks.") and part.count(".") == 1
    return tuple(f"{part}.{piece}" for piece in PIECES) if is_block else (part,)


def run_name(parts: Sequence[str]) -> str:
    """Return a part's name, or that of neighbouring blocks: "trf_blocks.0 – 10"."""
    first, last = parts[0], parts[-1]
    return first if first == last else f"{first} – {last.rpartition('.')[2]}"


@lru_cache(maxsize=32)
def _parts_and_pieces(n_layers: int) -> frozenset[str]:
    parts = part_names(n_layers)
    return frozenset(parts).union(*map(pieces_of, parts))


def _in_whole_blocks(names: set[str]) -> set[str]:
    """Say the same with a block's name in the place of its four pieces."""
    result = set(names)
    for block in {".".join(name.split(".")[:2]) for name in names if "." in name}:
        pieces = set(pieces_of(block))
        if block in names or pieces <= names:
            result = result - pieces | {block}
    return result


@dataclass(frozen=True)
class FreezePlan:
    """Which parts of a model with `n_layers` blocks are trainable; the rest is frozen.

    `trainable` takes blocks whole (`"trf_blocks.3"`) or in pieces (`"trf_blocks.3.att"`); four
    pieces are the block. Raises ValueError for a part that does not exist.
    """

    n_layers: int
    trainable: frozenset[str] = frozenset()

    def __post_init__(self):
        n_layers = whole_number("n_layers", self.n_layers)
        if not isinstance(self.trainable, Iterable):
            raise TypeError(f"trainable must be a set of part names, not {self.trainable!r}")
        asked = {self.trainable} if isinstance(self.trainable, str) else set(self.trainable)
        object.__setattr__(self, "n_layers", n_layers)  # the dataclass is frozen
        self._refuse_unknown(asked)
        object.__setattr__(self, "trainable", frozenset(_in_whole_blocks(asked)))

    def _refuse_unknown(self, names: set[str]) -> None:
        if unknown := names - _parts_and_pieces(self.n_layers):
            named = ", ".join(sorted(map(repr, unknown)))
            raise ValueError(
                f"no part is called {named}; a model with {self.n_layers} blocks has tok_emb, "
                f"pos_emb, trf_blocks.0 … trf_blocks.{self.n_layers - 1}, final_norm and out_head, "
                "and each block has the pieces .att, .ff, .norm1 and .norm2"
            )

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
        """The last `k` blocks, `final_norm` and `out_head` are trainable.

        Raises ValueError for a `k` outside 0 … n_layers.
        """
        n_layers = whole_number("n_layers", n_layers)
        k = whole_number("k", k, 0, n_layers, ", the number of blocks")
        return cls(n_layers, frozenset(part_names(n_layers)[2 + n_layers - k :]))

    @classmethod
    def book(cls, n_layers: int) -> "FreezePlan":
        """The book's choice: the last block, `final_norm` and `out_head`."""
        return cls.last_blocks(n_layers, 1)

    # --- one part ---

    def state(self, part: str) -> str:
        """Return "trainable", "frozen" or, for a block trained in pieces, "partly trainable"."""
        self._refuse_unknown({part})
        if (
            part in self.trainable or part.rpartition(".")[0] in self.trainable
        ):  # a piece of a trainable block, too
            return TRAINABLE
        return FROZEN if self.trainable.isdisjoint(pieces_of(part)) else PARTLY

    def toggle(self, *parts: str) -> "FreezePlan":
        """Return the plan with a part's state flipped.

        What is partly trainable becomes wholly trainable. Several parts go together: all become
        trainable, or frozen if all were trainable.
        """
        if any(self.state(part) != TRAINABLE for part in parts):
            return FreezePlan(self.n_layers, self.trainable | set(parts))
        kept = {piece for part in self.trainable for piece in pieces_of(part)}
        return FreezePlan(self.n_layers, frozenset(kept.difference(*map(pieces_of, parts))))

    # --- a model ---

    def apply(self, model: GPTModel) -> GPTModel:
        """Set `requires_grad` of all of the model's parameters.

        Return it. Raises ValueError for another depth.
        """
        if not isinstance(model, nn.Module):
            raise TypeError(f"a plan is applied to a model, not to {model!r}")
        if len(model.trf_blocks) != self.n_layers:
            raise ValueError(
                f"the plan is for {self.n_layers} blocks, the model has {len(model.trf_blocks)}"
            )
        for part in part_names(self.n_layers):
            for piece in pieces_of(part):
                model.get_submodule(piece).requires_grad_(self.state(piece) == TRAINABLE)
        return model

    @classmethod
    def of(cls, model: GPTModel) -> "FreezePlan":
        """Read the plan off a model.

        Raises ValueError where a piece is trainable in some of its tensors only.
        """
        n_layers, trainable = len(model.trf_blocks), set()
        for piece in (piece for part in part_names(n_layers) for piece in pieces_of(part)):
            flags = {p.requires_grad for p in model.get_submodule(piece).parameters()}
            if len(flags) > 1:
                raise ValueError(
                    f"{piece} is trainable in some of its tensors only; "
                    "a FreezePlan has no words for that"
                )
            if flags == {True}:
                trainable.add(piece)
        return cls(n_layers, frozenset(trainable))


PRESETS: dict[str, Callable[[int], FreezePlan]] = {  # a name → the plan for n_layers
    "nothing": FreezePlan.nothing,
    "head only": FreezePlan.head_only,
    "the book's choice": FreezePlan.book,
    "last two blocks": lambda n_layers: FreezePlan.last_blocks(n_layers, min(2, n_layers)),
    "everything": FreezePlan.everything,
}


def preset_of(plan: FreezePlan) -> str | None:
    """Return the name of the preset that equals `plan`, None where none does."""
    return next((name for name, preset in PRESETS.items() if preset(plan.n_layers) == plan), None)


def resize(plan: FreezePlan, n_layers: int) -> FreezePlan:
    """Return the plan for another depth.

    That is the same preset, or else the parts of the same names that still exist.
    """
    if name := preset_of(plan):
        return PRESETS[name](n_layers)
    return FreezePlan(n_layers, plan.trainable & _parts_and_pieces(n_layers))


# --- the report -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class PartCount:
    """One part's or piece's number of parameters, how many of them are trainable, its state.

    A block's four pieces.
    """

    part: str
    parameters: int
    trainable: int
    state: str
    pieces: tuple["PartCount", ...] = ()


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

    def count(self, *names: str) -> PartCount:
        """Return the count of a part or piece, or one for several of them together."""
        counts = [self._by_name[name] for name in names]
        parameters, trainable = sum(c.parameters for c in counts), sum(c.trainable for c in counts)
        state = TRAINABLE if trainable == parameters else PARTLY if trainable else FROZEN
        return PartCount(run_name(names), parameters, trainable, state)

    @cached_property
    def _by_name(self) -> dict[str, PartCount]:
        return {count.part: count for part in self.parts for count in (part, *part.pieces)}

    @property
    def percent(self) -> float:
        """The trainable share in percent, 0 … 100."""
        return 100 * self.trainable / self.total

    def __str__(self):
        lines = [f"{'part':<14}{'parameters':>15}{'trainable':>15}  state"]
        for part in self.parts:
            counts = f"{part.parameters:>15,}{part.trainable:>15,}"
            lines.append(f"{part.part:<14}{counts}  {part.state}")
        totals = f"{self.total:>15,}{self.trainable:>15,}"
        lines.append(f"{'total':<14}{totals}  {self.percent:.2f} % trainable")
        return "\n".join(lines)


def parameter_report(cfg: dict, plan: FreezePlan, num_classes: int = 2) -> ParameterReport:
    """Count the parameters of a classifier with configuration `cfg` under `plan`.

    No weights are allocated. Raises ValueError for fewer than two classes and for a plan of
    another depth.
    """
    num_classes = whole_number("num_classes", num_classes, 2)
    counts = _piece_counts(tuple(sorted(cfg.items())), num_classes)
    if plan.n_layers != cfg["n_layers"]:
        raise ValueError(
            f"the plan is for {plan.n_layers} blocks, the configuration has {cfg['n_layers']}"
        )
    parts = []
    for part in part_names(plan.n_layers):
        pieces = []
        for piece in pieces_of(part):
            state = plan.state(piece)
            trainable = counts[piece] if state == TRAINABLE else 0
            pieces.append(PartCount(piece, counts[piece], trainable, state))
        parameters = sum(piece.parameters for piece in pieces)
        trainable = sum(piece.trainable for piece in pieces)
        inside = tuple(pieces) if len(pieces) > 1 else ()
        parts.append(PartCount(part, parameters, trainable, plan.state(part), inside))
    return ParameterReport(tuple(parts))


@lru_cache(maxsize=32)
def _piece_counts(cfg_items: tuple, num_classes: int) -> Counter:
    counts = Counter()
    model = classifier_without_weights(dict(cfg_items), num_classes)
    for name, parameter in model.named_parameters():
        levels = 3 if name.startswith("trf_blocks.") else 1  # trf_blocks.0.att…, or tok_emb…
        counts[".".join(name.split(".")[:levels])] += parameter.numel()
    return counts


def classifier_without_weights(cfg: dict, num_classes: int = 2) -> GPTModel:
    """Return the classifier on torch's meta device, where tensors have a shape and no memory."""
    with torch.device("meta"):
        return replace_head(GPTModel(cfg), num_classes)
