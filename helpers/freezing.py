"""The classification head, and which parts of GPT-2 are trained: the book's section 6.5.

A *part* is one of `tok_emb`, `pos_emb`, `trf_blocks.0` …, `final_norm`, `out_head`. A block has
four *pieces*, such as `trf_blocks.0.att`. What is not trained is *frozen*: torch computes no
gradient for it, and the optimizer leaves it alone. A frozen piece with matrices may have an
*adapter*, which is trained beside it (LoRA, Hu et al. 2021; see `helpers.lora`).

The backward pass (Rumelhart, Hinton & Williams 1986) goes from the loss down to the lowest part
in which something is trainable, be it only an adapter, and no further.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import nn

from helpers.checks import finite_number, whole_number
from helpers.lora import adapters_in, is_adapter, put_adapters
from helpers.model import GPTModel, part_names

PIECES = ("att", "ff", "norm1", "norm2")
ADAPTED_MATRICES = {  # a piece's kind → its matrices, which get an adapter each
    "att": ("W_query", "W_key", "W_value", "out_proj"),
    "ff": ("layers.0", "layers.2"),
}
TRAINABLE, FROZEN, PARTLY = "trainable", "frozen", "partly trainable"
ADAPTED = "frozen with an adapter"
KINDS = {TRAINABLE: PIECES, ADAPTED: tuple(ADAPTED_MATRICES)}  # the kinds that can get a state
RANK, ALPHA = 8, 16.0


# --- the classification head ----------------------------------------------------------------------


def replace_head(model: GPTModel, num_classes: int = 2) -> GPTModel:
    """Give `model` a new, random `out_head`, (b, n, emb_dim) → (b, n, num_classes); return `model`.

    Raises ValueError for fewer than two classes.
    """
    num_classes = whole_number("num_classes", num_classes, 2)
    weight = model.tok_emb.weight
    model.out_head = nn.Linear(weight.shape[1], num_classes).to(weight.device, weight.dtype)
    return model


def num_classes_of(model: GPTModel) -> int:
    """Return the number of a classifier's classes.

    Raises ValueError for the language-model head, which has no bias.
    """
    if model.out_head.bias is None:
        raise ValueError(
            f"the model has a language-model head with {model.out_head.out_features:,} outputs; "
            "give it a new one with replace_head"
        )
    return model.out_head.out_features


def classifier_without_weights(cfg: dict, num_classes: int = 2) -> GPTModel:
    """Return the classifier on torch's meta device, where tensors have a shape and no memory."""
    with torch.device("meta"):
        return replace_head(GPTModel(cfg), num_classes)


# --- names of parts and pieces --------------------------------------------------------------------


def pieces_of(part: str, kinds: Iterable[str] = PIECES) -> tuple[str, ...]:
    """Return the pieces of a block that are of these kinds, or another part or a piece itself."""
    is_block = part.startswith("trf_blocks.") and part.count(".") == 1
    return tuple(f"{part}.{kind}" for kind in kinds) if is_block else (part,)


def kind_of(piece: str) -> str:
    """Return the kind of a piece, such as "att", or the name of a part that has no pieces."""
    return piece.rpartition(".")[2]


def run_name(parts: Sequence[str]) -> str:
    """Return a part's name, or that of neighbouring blocks: "trf_blocks.0 – 10"."""
    first, last = parts[0], parts[-1]
    return first if first == last else f"{first} – {kind_of(last)}"


# --- the plan -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FreezePlan:
    """Which parts of a model with `n_layers` blocks are trainable; the rest is frozen.

    `trainable` takes blocks whole (`"trf_blocks.3"`) or in pieces (`"trf_blocks.3.att"`); four
    pieces are the block. `adapted` pieces are frozen and have an adapter on each matrix, of `rank`
    and `alpha`; a block stands for its two pieces with matrices, `.att` and `.ff`. Where nothing is
    adapted, rank and alpha are RANK and ALPHA. A piece that is given in both has an adapter.
    `states` has the state of each piece by its name.

    Raises ValueError for a part that does not exist or can't have an adapter, for a rank that is no
    whole number from 1, and an alpha that is no number above 0.
    """

    n_layers: int
    trainable: frozenset[str] = frozenset()
    adapted: frozenset[str] = frozenset()
    rank: int = RANK
    alpha: float = ALPHA

    def __post_init__(self):
        n_layers = whole_number("n_layers", self.n_layers)
        parts = part_names(n_layers)
        rank, alpha = whole_number("rank", self.rank), finite_number("alpha", self.alpha)
        states = {piece: FROZEN for part in parts for piece in pieces_of(part)}
        # as the dataclass is frozen; numpy's numbers become Python's
        vars(self).update(n_layers=n_layers, states=states, rank=rank, alpha=alpha)
        states |= dict.fromkeys(self.pieces(self.trainable), TRAINABLE)
        states |= dict.fromkeys(self.pieces(self.adapted, ADAPTED), ADAPTED)

        # equal plans get equal fields, as a block's name takes the place of its pieces
        for field, state in (("trainable", TRAINABLE), ("adapted", ADAPTED)):
            names = []
            for part in parts:
                pieces = pieces_of(part, KINDS[state])
                in_state = [piece for piece in pieces if states[piece] == state]
                names += in_state if len(in_state) < len(pieces) else [part]
            vars(self)[field] = frozenset(names)
        if not self.adapted:
            vars(self).update(rank=RANK, alpha=ALPHA)

    def pieces(self, parts: Iterable[str], state: str = TRAINABLE) -> list[str]:
        """Return the pieces of parts that can be TRAINABLE, or ADAPTED.

        Raises ValueError for a part that does not exist, and one that takes no adapter.
        """
        pieces = []
        for part in parts:
            if not self.states.keys() >= set(pieces_of(part)):
                raise ValueError(
                    f"no part is called {part!r}; a model with {self.n_layers} blocks has tok_emb, "
                    f"pos_emb, trf_blocks.0 … trf_blocks.{self.n_layers - 1}, final_norm and "
                    "out_head, and each block has the pieces .att, .ff, .norm1 and .norm2"
                )
            pieces += pieces_of(part, KINDS[state])
            if state == ADAPTED and kind_of(pieces[-1]) not in ADAPTED_MATRICES:
                raise ValueError(
                    f"{part} takes no adapter: adapters go on the matrices of a block's attention "
                    "and feed-forward, such as trf_blocks.0.att, trf_blocks.0.ff, or trf_blocks.0 "
                    "for both"
                )
        return pieces

    # --- presets ---

    @classmethod
    def nothing(cls, n_layers: int) -> "FreezePlan":
        """Everything is frozen."""
        return cls(n_layers)

    @classmethod
    def everything(cls, n_layers: int) -> "FreezePlan":
        """Nothing is frozen."""
        return cls(n_layers, part_names(n_layers))

    @classmethod
    def head_only(cls, n_layers: int) -> "FreezePlan":
        """Only `out_head` is trainable."""
        return cls(n_layers, {"out_head"})

    @classmethod
    def last_blocks(cls, n_layers: int, k: int = 1) -> "FreezePlan":
        """The last `k` blocks, `final_norm` and `out_head` are trainable.

        Raises ValueError for a `k` outside 0 … n_layers.
        """
        k = whole_number("k", k, 0, n_layers, ", the number of blocks")
        return cls(n_layers, part_names(n_layers)[-2 - k :])

    @classmethod
    def book(cls, n_layers: int) -> "FreezePlan":
        """The book's choice: the last block, `final_norm` and `out_head`."""
        return cls.last_blocks(n_layers)

    @classmethod
    def lora(
        cls, n_layers: int, k: int | None = None, rank: int = RANK, alpha: float = ALPHA
    ) -> "FreezePlan":
        """`out_head` is trainable, and the last `k` blocks (None: all) have adapters.

        Hu et al. 2021. Raises ValueError for a `k` outside 1 … n_layers, and what FreezePlan does.
        """
        blocks = part_names(n_layers)[2:-2]
        if k is not None:
            blocks = blocks[-whole_number("k", k, 1, n_layers, ", the number of blocks") :]
        return cls(n_layers, {"out_head"}, blocks, rank, alpha)

    # --- one part ---

    def state(self, part: str) -> str:
        """Return "trainable", "frozen", "frozen with an adapter" or "partly trainable".

        The last is any other mixture in a block in which something is trainable.
        """
        states = [self.states[piece] for piece in self.pieces([part])]
        if len(set(states)) == 1:
            return states[0]
        return ADAPTED if states == [ADAPTED, ADAPTED, FROZEN, FROZEN] else PARTLY

    def toggle(self, *parts: str, state: str = TRAINABLE) -> "FreezePlan":
        """Return the plan with a part flipped between frozen and `state`, TRAINABLE or ADAPTED.

        What is in any other state gets this one. Several parts go together: all get it, or are
        frozen if all had it. Raises ValueError for a part that does not exist or can't get it.
        """
        flipped = FROZEN if all(self.state(part) == state for part in parts) else state
        states = self.states | dict.fromkeys(self.pieces(parts), FROZEN)
        states |= dict.fromkeys(self.pieces(parts, state), flipped)
        trainable = [piece for piece in states if states[piece] == TRAINABLE]
        adapted = [piece for piece in states if states[piece] == ADAPTED]
        return replace(self, trainable=trainable, adapted=adapted)

    # --- a model ---

    def apply(self, model: GPTModel) -> GPTModel:
        """Set `requires_grad` of all of the model's parameters, and put the adapters in.

        Return it. A new adapter starts with nothing to add, so the logits stay as they are; it
        draws from torch's random numbers. Raises ValueError for another depth, for a rank beyond
        the matrices' sides, and for a model that has other adapters; then nothing is changed.
        """
        if len(model.trf_blocks) != self.n_layers:
            raise ValueError(
                f"the plan is for {self.n_layers} blocks, the model has {len(model.trf_blocks)}"
            )
        present = adapters_of(model)
        if present.adapted and present != replace(self, trainable=frozenset()):
            raise ValueError(
                f"the model has adapters of rank {present.rank} and alpha {present.alpha:g} in "
                f"{', '.join(sorted(present.adapted))}, and the plan has others or none; merge "
                "them into its weights (helpers.lora.merge) or load the model anew"
            )
        if self.adapted and not present.adapted:
            matrices = [
                f"{piece}.{matrix}"
                for piece, state in self.states.items()
                if state == ADAPTED
                for matrix in ADAPTED_MATRICES[kind_of(piece)]
            ]
            put_adapters(model, matrices, self.rank, self.alpha)
        for piece, state in self.states.items():
            for name, parameter in model.get_submodule(piece).named_parameters():
                is_adapted = state == ADAPTED and is_adapter(name)
                parameter.requires_grad_(state == TRAINABLE or is_adapted)
        return model

    @classmethod
    def of(cls, model: GPTModel) -> "FreezePlan":
        """Return the plan by which a model's parameters are trainable.

        Raises ValueError where only some tensors of a piece are, and for adapters that are frozen.
        """
        adapters = adapters_of(model)
        trainable = []
        for piece, state in adapters.states.items():
            parameters = model.get_submodule(piece).named_parameters()
            flags = {p.requires_grad != is_adapter(name) for name, p in parameters}
            if flags == {True} and state == FROZEN:
                trainable.append(piece)
            elif flags != {False}:
                raise ValueError(
                    f"{piece} is trainable in some of its tensors only; "
                    "a FreezePlan can't describe that"
                )
        return replace(adapters, trainable=trainable)


def adapters_of(model: GPTModel) -> FreezePlan:
    """Return the plan with a model's adapters, and nothing trainable beside them."""
    present = adapters_in(model)  # a matrix → rank and alpha
    rank, alpha = min(present.values(), default=(RANK, ALPHA))
    pieces = {".".join(name.split(".")[:3]) for name in present}
    return FreezePlan(len(model.trf_blocks), adapted=pieces, rank=rank, alpha=alpha)


PRESETS = {  # a name → the function that returns the plan for n_layers
    "nothing": FreezePlan.nothing,
    "head only": FreezePlan.head_only,
    "LoRA, last block": lambda n_layers: FreezePlan.lora(n_layers, 1),
    "LoRA, all blocks": FreezePlan.lora,
    "the book's choice": FreezePlan.book,
    "last two blocks": lambda n_layers: FreezePlan.last_blocks(n_layers, min(2, n_layers)),
    "everything": FreezePlan.everything,
}


def preset_of(plan: FreezePlan) -> str | None:
    """Return the name of the preset that equals `plan`, None where none does.

    A preset says where adapters are; they may have any rank and alpha.
    """
    for name, preset in PRESETS.items():
        if replace(preset(plan.n_layers), rank=plan.rank, alpha=plan.alpha) == plan:
            return name
    return None


# --- the report -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class PartCount:
    """The number of parameters of a part, how many of them are trainable, and its state.

    Adapters are among both numbers. It may also be of a piece, or of several parts together.
    """

    part: str
    parameters: int
    trainable: int
    state: str


@dataclass(frozen=True)
class ParameterReport:
    """The numbers of parameters under a plan: `total`, `trainable`, `frozen`, and `percent` trainable.

    `percent_text` is the percentage as text: "5.70 %", "0.003 %". `parts` has a count for each part,
    in the order of the forward pass. `weights` holds the numbers of a piece of each kind, such as
    "att", and `adapters` those of its adapters, if it has any.
    """

    plan: FreezePlan
    weights: dict[str, int]
    adapters: dict[str, int]

    def __post_init__(self):
        parts = tuple(self.count(part) for part in part_names(self.plan.n_layers))
        total = sum(part.parameters for part in parts)
        trainable = sum(part.trainable for part in parts)
        percent = 100 * trainable / total
        digits = ".1g" if 0 < percent < 0.01 else ".2f"  # what is not zero never reads as zero
        vars(self).update(  # as the dataclass is frozen
            parts=parts,
            total=total,
            trainable=trainable,
            frozen=total - trainable,
            percent=percent,
            percent_text=f"{percent:{digits}} %",
        )

    def count(self, *names: str) -> PartCount:
        """Return the count of a part or piece, or one for several of them together."""
        parameters = trainable = 0
        for piece in self.plan.pieces(names):
            kind, state = kind_of(piece), self.plan.states[piece]
            adapters = self.adapters[kind] if state == ADAPTED else 0
            parameters += self.weights[kind] + adapters
            trainable += self.weights[kind] if state == TRAINABLE else adapters
        states = {self.plan.state(name) for name in names}
        state = states.pop() if len(states) == 1 else PARTLY
        return PartCount(run_name(names), parameters, trainable, state)

    def __str__(self):
        lines = [f"{'part':<14}{'parameters':>15}{'trainable':>15}  state"]
        for part in self.parts:
            counts = f"{part.parameters:>15,}{part.trainable:>15,}"
            lines.append(f"{part.part:<14}{counts}  {part.state}")
        totals = f"{self.total:>15,}{self.trainable:>15,}"
        lines.append(f"{'total':<14}{totals}  {self.percent_text} trainable")
        return "\n".join(lines)


def parameter_report(cfg: dict, plan: FreezePlan, num_classes: int = 2) -> ParameterReport:
    """Return the numbers of parameters of a classifier with configuration `cfg` under `plan`.

    Raises ValueError for fewer than two classes, for a plan of another depth, and for a rank beyond
    the sides of the adapted matrices.
    """
    num_classes = whole_number("num_classes", num_classes, 2)
    if plan.n_layers != cfg["n_layers"]:
        raise ValueError(
            f"the plan is for {plan.n_layers} blocks, the configuration has {cfg['n_layers']}"
        )
    d = cfg["emb_dim"]
    if plan.adapted:
        whole_number("rank", plan.rank, 1, d, ", the shorter side of the matrices")
    norm = 2 * d  # scale and shift
    weights = {
        "tok_emb": cfg["vocab_size"] * d,
        "pos_emb": cfg["context_length"] * d,
        "att": 4 * d * d + (4 * d if cfg["qkv_bias"] else d),  # out_proj always has a bias
        "ff": 2 * d * 4 * d + 4 * d + d,
        "norm1": norm,
        "norm2": norm,
        "final_norm": norm,
        "out_head": (d + 1) * num_classes,
    }
    # beside a matrix (out, in) A is (rank, in) and B (out, rank)
    adapters = {"att": 4 * plan.rank * (d + d), "ff": 2 * plan.rank * (d + 4 * d)}
    return ParameterReport(plan, weights, adapters)


# --- how far down the gradient goes ---------------------------------------------------------------


@dataclass(frozen=True)
class GradientReach:
    """Where the backward pass, which starts at the loss, ends: the lowest part with something trainable.

    `crossed` are the parts above it, in the order of the forward pass: each gets a gradient from
    above and passes one on below, whether or not it is trainable itself. The embeddings stand side
    by side at the bottom, so neither is ever crossed, and the backward pass may end in both. Where
    nothing is trainable `ends` is empty and `lowest` None; else that is the first of `ends`.
    """

    ends: tuple[str, ...]
    crossed: tuple[str, ...]
    lowest: str | None


def gradient_reach(plan: FreezePlan) -> GradientReach:
    """Return where the backward pass under `plan` ends and what it crosses on the way."""
    parts = part_names(plan.n_layers)
    trained = [part for part in parts if plan.state(part) != FROZEN]
    embeddings = [part for part in trained if part.endswith("_emb")]
    ends = tuple(embeddings or trained[:1])
    crossed = parts[max(parts.index(ends[0]) + 1, 2) :] if ends else ()  # after the embeddings
    return GradientReach(ends, crossed, ends[0] if ends else None)


def frozen_blocks(plan: FreezePlan) -> int | None:
    """Return how many blocks lie below the lowest part in which something is trainable.

    With the embeddings they are the frozen part, which outputs the same numbers in each epoch. None
    where an embedding is trainable: then there is no such part.
    """
    if TRAINABLE in (plan.state("tok_emb"), plan.state("pos_emb")):
        return None
    for number in range(plan.n_layers):
        if plan.state(f"trf_blocks.{number}") != FROZEN:
            return number
    return plan.n_layers


# --- what modules compute in a forward pass -------------------------------------------------------


class Recorded(NamedTuple):
    """What a module was given in a forward pass, and what it returned."""

    input: torch.Tensor
    output: torch.Tensor


@contextmanager
def record(model: nn.Module, *names: str) -> Iterator[dict[str, Recorded]]:
    """Return a context whose dictionary holds, by name, what submodules compute in it.

    `with record(model, "trf_blocks.0.att") as recorded: model(token_ids)` gives
    `recorded["trf_blocks.0.att"].output`. The names are in the order in which the modules run. The
    model keeps no hook, even after an error.
    """
    recorded = {}
    with ExitStack() as hooks:
        for name in names:

            def note(module, inputs, output, name=name):
                recorded[name] = Recorded(inputs[0], output)

            hooks.enter_context(model.get_submodule(name).register_forward_hook(note))
        yield recorded


@dataclass(frozen=True)
class Shape:
    """The name of a part and the shape of the tensor that it outputs."""

    part: str
    shape: tuple[int, ...]

    def __str__(self):
        return f"{self.part:<14} {self.shape}"


@torch.no_grad()
def trace_shapes(
    model: GPTModel, token_ids: torch.Tensor, last_token: bool = False
) -> tuple[Shape, ...]:
    """Return the shapes of what each part outputs in one forward pass on token ids (b, n).

    The first is that of the token ids. With `last_token` the last is that of the last token's
    logits, (b, num_classes), which classify each message. It works on the meta device, too, so a
    model of any size without weights will do. `pos_emb` outputs (n, emb_dim), one vector for each
    position, which is added to every message. Raises what the model raises for wrong token ids.
    """
    parts = part_names(len(model.trf_blocks))
    with record(model, *parts) as recorded:
        logits = model(token_ids.to(model.tok_emb.weight.device))
    shapes = {"token_ids": token_ids.shape} | {part: recorded[part].output.shape for part in parts}
    if last_token:
        shapes["last_token"] = logits[:, -1].shape
    return tuple(Shape(part, tuple(shape)) for part, shape in shapes.items())
