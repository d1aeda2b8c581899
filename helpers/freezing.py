"""The classification head, and which parts of GPT-2 are trained: the book's section 6.5.

A *part* is one of `tok_emb`, `pos_emb`, `trf_blocks.0` …, `final_norm`, `out_head`. A block has
four *pieces*, such as `trf_blocks.0.att`. What is not trained is *frozen*: torch computes no
gradient for it, and the optimizer leaves it alone. A frozen piece with matrices may have an
*adapter*, which is trained beside it (LoRA, Hu et al. 2021; see `helpers.lora`).

The backward pass (Rumelhart, Hinton & Williams 1986) goes from the loss down to the lowest part
in which something is trainable, be it only an adapter, and no further.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
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
RANK, ALPHA = 8, 16.0


# --- the classification head ----------------------------------------------------------------------


def replace_head(model: GPTModel, num_classes: int = 2) -> GPTModel:
    """Give `model` a new, random `out_head`, (b, n, emb_dim) → (b, n, num_classes); return `model`.

    Raises ValueError for fewer than two classes and for a model inside a wrapper.
    """
    num_classes = whole_number("num_classes", num_classes, 2)
    if not hasattr(model, "tok_emb") or hasattr(model, "_orig_mod"):  # DataParallel, torch.compile
        raise ValueError(
            f"replace_head takes a GPTModel, not a {type(model).__name__} around one; "
            "replace the head first and wrap the model afterwards"
        )
    weight = model.tok_emb.weight
    model.out_head = nn.Linear(weight.shape[1], num_classes).to(weight.device, weight.dtype)
    return model


def num_classes_of(model: GPTModel) -> int:
    """Return how many classes a model's head tells apart.

    Raises ValueError for the language-model head and for any other that `replace_head` does not make.
    """
    head, vocab_size = model.out_head, model.cfg["vocab_size"]
    if not isinstance(head, nn.Linear) or head.bias is None or head.out_features == vocab_size:
        raise ValueError(
            f"the model has a language-model head with {vocab_size:,} outputs, or another one that "
            "is no linear layer with a bias; give it a new one with replace_head"
        )
    return head.out_features


def classifier_without_weights(cfg: dict, num_classes: int = 2) -> GPTModel:
    """Return the classifier on torch's meta device, where tensors have a shape and no memory."""
    with torch.device("meta"):
        return replace_head(GPTModel(cfg), num_classes)


# --- names of parts and pieces --------------------------------------------------------------------


def pieces_of(part: str) -> tuple[str, ...]:
    """Return the four pieces of a block, or the part or piece itself."""
    is_block = part.startswith("trf_blocks.") and part.count(".") == 1
    return tuple(f"{part}.{piece}" for piece in PIECES) if is_block else (part,)


def adaptable_pieces_of(part: str) -> tuple[str, ...]:
    """Return the pieces of a part that can have an adapter: of a block two, of other parts none."""
    return tuple(piece for piece in pieces_of(part) if piece.rpartition(".")[2] in ADAPTED_MATRICES)


def run_name(parts: Sequence[str]) -> str:
    """Return a part's name, or that of neighbouring blocks: "trf_blocks.0 – 10"."""
    first, last = parts[0], parts[-1]
    return first if first == last else f"{first} – {last.rpartition('.')[2]}"


# --- the plan -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FreezePlan:
    """Which parts of a model with `n_layers` blocks are trainable; the rest is frozen.

    `trainable` takes blocks whole (`"trf_blocks.3"`) or in pieces (`"trf_blocks.3.att"`); four
    pieces are the block. `adapted` pieces are frozen and have an adapter on each matrix, of `rank`
    and `alpha`; a block stands for its two pieces with matrices, `.att` and `.ff`. Where nothing is
    adapted, rank and alpha are RANK and ALPHA. `states` has the state of each piece by its name.

    Raises ValueError for a part that does not exist or can't have an adapter, for a piece that is
    to be both, for a rank that is no whole number from 1, and an alpha that is no number above 0.
    """

    n_layers: int
    trainable: frozenset[str] = frozenset()
    adapted: frozenset[str] = frozenset()
    rank: int = RANK
    alpha: float = ALPHA

    def __post_init__(self):
        n_layers = whole_number("n_layers", self.n_layers)
        rank, alpha = whole_number("rank", self.rank), finite_number("alpha", self.alpha)
        states = {piece: FROZEN for part in part_names(n_layers) for piece in pieces_of(part)}
        vars(self).update(states=states, n_layers=n_layers)  # as the dataclass is frozen
        for piece in self._pieces(self.trainable):
            states[piece] = TRAINABLE
        for piece in self._pieces(self.adapted, adaptable_pieces_of):
            if states[piece] == TRAINABLE:
                raise ValueError(
                    f"{piece} can't be both trainable and frozen with an adapter; choose one"
                )
            states[piece] = ADAPTED

        if not self.adapted:
            rank, alpha = RANK, ALPHA
        # equal plans get equal fields, as a block's name takes the place of its pieces
        trainable = self._names_of(TRAINABLE, pieces_of)
        adapted = self._names_of(ADAPTED, adaptable_pieces_of)
        vars(self).update(trainable=trainable, adapted=adapted, rank=rank, alpha=alpha)

    def _names_of(self, state: str, pieces_of_part: Callable) -> frozenset[str]:
        """Return the names of the pieces in a state, and of the parts whose pieces all are in it."""
        names = []
        for part in part_names(self.n_layers):
            pieces = pieces_of_part(part)
            in_state = [piece for piece in pieces if self.states[piece] == state]
            names += [part] if in_state and len(in_state) == len(pieces) else in_state
        return frozenset(names)

    def _pieces(self, names: Iterable[str], pieces_of_part: Callable = pieces_of) -> list[str]:
        """Return the pieces of parts. Raises ValueError for unknown parts and those without any."""
        pieces = []
        for name in [names] if isinstance(names, str) else names:
            if any(piece not in self.states for piece in pieces_of(name)):
                raise ValueError(
                    f"no part is called {name!r}; a model with {self.n_layers} blocks has tok_emb, "
                    f"pos_emb, trf_blocks.0 … trf_blocks.{self.n_layers - 1}, final_norm and "
                    "out_head, and each block has the pieces .att, .ff, .norm1 and .norm2"
                )
            if not pieces_of_part(name):
                raise ValueError(
                    f"{name} takes no adapter: adapters go on the matrices of a block's attention "
                    "and feed-forward, such as trf_blocks.0.att, trf_blocks.0.ff, or trf_blocks.0 "
                    "for both"
                )
            pieces += pieces_of_part(name)
        return pieces

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

    @classmethod
    def lora(
        cls, n_layers: int, k: int | None = None, rank: int = RANK, alpha: float = ALPHA
    ) -> "FreezePlan":
        """`out_head` is trainable, and the last `k` blocks (None: all) have adapters.

        Hu et al. 2021. Raises ValueError for a `k` outside 1 … n_layers, and what FreezePlan does.
        """
        n_layers = whole_number("n_layers", n_layers)
        k = n_layers if k is None else whole_number("k", k, 1, n_layers, ", the number of blocks")
        blocks = frozenset(part_names(n_layers)[2 + n_layers - k : 2 + n_layers])
        return cls(n_layers, frozenset({"out_head"}), blocks, rank, alpha)

    # --- one part ---

    def state(self, part: str) -> str:
        """Return "trainable", "frozen", "frozen with an adapter" or "partly trainable".

        The last is any other mixture in a block in which something is trainable.
        """
        states = [self.states[piece] for piece in self._pieces([part])]
        if len(set(states)) == 1:
            return states[0]
        return ADAPTED if states == [ADAPTED, ADAPTED, FROZEN, FROZEN] else PARTLY

    def toggle(self, *parts: str) -> "FreezePlan":
        """Return the plan with a part's state flipped between trainable and frozen.

        What is partly trainable, or has an adapter, becomes wholly trainable. Several parts go
        together: all become trainable, or frozen if all were trainable.
        """
        return self._flip(parts, TRAINABLE, self._pieces(parts))

    def adapt(self, *parts: str) -> "FreezePlan":
        """Return the plan with a part's state flipped between frozen, with an adapter and without.

        Parts are blocks and their pieces `.att` and `.ff`. What is trainable becomes frozen with an
        adapter. Several parts go together, as in `toggle`. Raises ValueError for other parts.
        """
        return self._flip(parts, ADAPTED, self._pieces(parts, adaptable_pieces_of))

    def _flip(self, parts: Iterable[str], wanted: str, pieces: list[str]) -> "FreezePlan":
        """Freeze `parts`; then bring their `pieces` to the `wanted` state, if not all were in it."""
        states = self.states | dict.fromkeys(self._pieces(parts), FROZEN)
        if any(self.state(part) != wanted for part in parts):
            states |= dict.fromkeys(pieces, wanted)
        trainable = {piece for piece, state in states.items() if state == TRAINABLE}
        adapted = {piece for piece, state in states.items() if state == ADAPTED}
        return replace(self, trainable=trainable, adapted=adapted)

    # --- a model ---

    @property
    def matrices(self) -> list[str]:
        """The names of all matrices with an adapter, in the model's order."""
        return [
            f"{piece}.{matrix}"
            for piece, state in self.states.items()
            if state == ADAPTED
            for matrix in ADAPTED_MATRICES[piece.rpartition(".")[2]]
        ]

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
            put_adapters(model, self.matrices, self.rank, self.alpha)
        for piece, state in self.states.items():
            for name, parameter in model.get_submodule(piece).named_parameters():
                is_adapted = state == ADAPTED and is_adapter(name)
                parameter.requires_grad_(state == TRAINABLE or is_adapted)
        return model

    @classmethod
    def of(cls, model: GPTModel) -> "FreezePlan":
        """Read the plan off a model.

        Raises ValueError where a piece is trainable in some of its tensors only, and for adapters
        that are frozen or that no plan puts in.
        """
        adapters = adapters_of(model)
        trainable = set()
        for piece, state in adapters.states.items():
            parameters = dict(model.get_submodule(piece).named_parameters())
            learning = {name for name, p in parameters.items() if p.requires_grad}
            if state == ADAPTED:
                if learning != set(filter(is_adapter, parameters)):
                    raise ValueError(
                        f"{piece} has an adapter, but something else than just that is trainable "
                        "in it; a FreezePlan has no words for that"
                    )
            elif learning == set(parameters):
                trainable.add(piece)
            elif learning:
                raise ValueError(
                    f"{piece} is trainable in some of its tensors only; "
                    "a FreezePlan has no words for that"
                )
        return replace(adapters, trainable=trainable)


def adapters_of(model: GPTModel) -> FreezePlan:
    """Return the plan with a model's adapters, and nothing trainable beside them.

    Raises ValueError for adapters that no plan puts in.
    """
    present = adapters_in(model)  # a matrix → rank and alpha
    settings = set(present.values())
    rank, alpha = min(settings, default=(RANK, ALPHA))
    pieces = {".".join(name.split(".")[:3]) for name in present}
    adapted = {piece for piece in pieces if adaptable_pieces_of(piece)}
    plan = FreezePlan(len(model.trf_blocks), frozenset(), frozenset(adapted), rank, alpha)
    if present.keys() != set(plan.matrices) or len(settings) > 1:
        name = min(present.keys() - set(plan.matrices) or present)
        raise ValueError(
            f"the model has adapters that no FreezePlan puts in, such as on {name}: a plan puts "
            "them on all matrices of a piece, and all have one rank and alpha; load the model anew"
        )
    return plan


PRESETS: dict[str, Callable[[int], FreezePlan]] = {  # a name → the plan for n_layers
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


def resize(plan: FreezePlan, n_layers: int) -> FreezePlan:
    """Return the plan for another depth, with the same rank and alpha.

    That is the same preset, or else the parts of the same names that still exist.
    """
    if name := preset_of(plan):
        return replace(PRESETS[name](n_layers), rank=plan.rank, alpha=plan.alpha)
    existing = FreezePlan(n_layers).states
    trainable = {name for name in plan.trainable if pieces_of(name)[0] in existing}
    adapted = {name for name in plan.adapted if pieces_of(name)[0] in existing}
    return FreezePlan(n_layers, trainable, adapted, plan.rank, plan.alpha)


# --- the report -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class PartCount:
    """One part's or piece's number of parameters, how many of them are trainable, its state.

    `pieces` are a block's four. An adapter's parameters are among both numbers.
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

    @property
    def percent(self) -> float:
        """The percentage of parameters that is trainable, 0 … 100."""
        return 100 * self.trainable / self.total

    def count(self, *names: str) -> PartCount:
        """Return the count of a part or piece, or one for several of them together."""
        counts = [c for part in self.parts for c in (part, *part.pieces) if c.part in names]
        together, states = ParameterReport(tuple(counts)), {count.state for count in counts}
        state = states.pop() if len(states) == 1 else PARTLY
        return PartCount(run_name(names), together.total, together.trainable, state)

    def __str__(self):
        lines = [f"{'part':<14}{'parameters':>15}{'trainable':>15}  state"]
        for part in self.parts:
            counts = f"{part.parameters:>15,}{part.trainable:>15,}"
            lines.append(f"{part.part:<14}{counts}  {part.state}")
        totals = f"{self.total:>15,}{self.trainable:>15,}"
        lines.append(f"{'total':<14}{totals}  {self.percent:.2f} % trainable")
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
    sizes = {
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
    parts = []
    for part in part_names(plan.n_layers):
        pieces = []
        for piece in pieces_of(part):
            kind, state = piece.rpartition(".")[2], plan.state(piece)
            parameters, trainable = sizes[kind], 0
            if state == TRAINABLE:
                trainable = parameters
            elif state == ADAPTED:
                trainable = adapters[kind]
                parameters += trainable
            pieces.append(PartCount(piece, parameters, trainable, state))
        whole, inside = ParameterReport(tuple(pieces)), tuple(pieces if len(pieces) > 1 else ())
        parts.append(PartCount(part, whole.total, whole.trainable, plan.state(part), inside))
    return ParameterReport(tuple(parts))


# --- how far down the gradient goes ---------------------------------------------------------------


@dataclass(frozen=True)
class GradientReach:
    """Where the backward pass, which starts at the loss, ends: the lowest part with something trainable.

    `crossed` are the parts above it, in the order of the forward pass: each gets a gradient from
    above and passes one on below, whether or not it is trainable itself. The embeddings stand side
    by side at the bottom, so neither is ever crossed, and the backward pass may end in both. Where
    nothing is trainable `ends` is empty.
    """

    ends: tuple[str, ...]
    crossed: tuple[str, ...]

    @property
    def lowest(self) -> str | None:
        """The part where the backward pass ends, the first of two; None where there is none."""
        return self.ends[0] if self.ends else None


def gradient_reach(plan: FreezePlan) -> GradientReach:
    """Return where the backward pass under `plan` ends and what it crosses on the way."""
    parts = part_names(plan.n_layers)
    trained = [part for part in parts if plan.state(part) != FROZEN]
    if not trained:
        return GradientReach((), ())
    embeddings = tuple(part for part in trained if part.endswith("_emb"))
    first_crossed = max(parts.index(trained[0]) + 1, 2)  # after the embeddings
    return GradientReach(embeddings or (trained[0],), parts[first_crossed:])


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
    recorded: dict[str, Recorded] = {}
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
    device = model.tok_emb.weight.device
    # dropout must draw the same numbers afterwards as without this pass
    on_gpu = [device] if device.type == "cuda" else []
    with record(model, *parts) as recorded, torch.random.fork_rng(on_gpu):
        logits = model(token_ids.to(device))
    shapes = [Shape("token_ids", tuple(token_ids.shape))]
    shapes += [Shape(part, tuple(of_part.output.shape)) for part, of_part in recorded.items()]
    if last_token:
        shapes.append(Shape("last_token", tuple(logits[:, -1, :].shape)))
    return tuple(shapes)
