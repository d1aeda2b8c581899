"""The classification head, and which parts of GPT-2 are trained: the book's section 6.5.

A *part* is one of `tok_emb`, `pos_emb`, `trf_blocks.0` …, `final_norm`, `out_head`. A block has
four *pieces*, such as `trf_blocks.0.att`. What is not trained is *frozen*: torch computes no
gradient for it, the optimizer leaves it alone. A frozen piece with matrices may have an *adapter*,
which learns beside it (LoRA, Hu et al. 2021; see `lora`).

How far down the gradient goes under a freeze plan, and which blocks it never gets to.

The backward pass (Rumelhart, Hinton & Williams 1986) goes from the loss down to the lowest part
where anything learns, be it only an adapter, and no further.

The shape of every tensor between the parts of the model, read from one real forward pass.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial

import torch
from torch import nn

from helpers.checks import finite_number, instance_of, whole_number
from helpers.lora import adapters_in, is_adapter, put_adapters
from helpers.model import GPTModel, part_names
from helpers.training import own_random_numbers

PIECES = ("att", "ff", "norm1", "norm2")


TRAINABLE, FROZEN, PARTLY = "trainable", "frozen", "partly trainable"


ADAPTED = "frozen with an adapter"


ADAPTED_MATRICES = {  # a piece's kind → its matrices, which get an adapter each
    "att": ("W_query", "W_key", "W_value", "out_proj"),
    "ff": ("layers.0", "layers.2"),
}


RANK, ALPHA = 8, 16.0


def replace_head(model: GPTModel, num_classes: int = 2) -> GPTModel:
    """Give `model` a new, random `out_head`, (b, n, emb_dim) → (b, n, num_classes); return `model`.

    Raises ValueError for fewer than two classes.
    """
    instance_of("model", model, nn.Module, "a GPTModel")
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


def _in_whole_blocks(names: set[str], kinds: Sequence[str] = PIECES) -> frozenset[str]:
    """Say the same with a block's name in the place of its pieces of these kinds."""
    result = set(names)
    for block in {".".join(name.split(".")[:2]) for name in names if "." in name}:
        pieces = {f"{block}.{kind}" for kind in kinds}
        if block in names or pieces <= names:
            result = result - pieces | {block}
    return frozenset(result)


def _adapted_pieces(part: str) -> tuple[str, ...]:
    """Return the pieces of a part that an adapter can go on: of a block two, of others none."""
    return tuple(piece for piece in pieces_of(part) if piece.rpartition(".")[2] in ADAPTED_MATRICES)


def _all_of(names: Iterable[str], pieces: Callable[[str], tuple[str, ...]]) -> set[str]:
    return {piece for name in names for piece in pieces(name)}


@dataclass(frozen=True)
class FreezePlan:
    """Which parts of a model with `n_layers` blocks learn; the rest is frozen.

    `trainable` takes blocks whole (`"trf_blocks.3"`) or in pieces (`"trf_blocks.3.att"`); four
    pieces are the block. `adapted` pieces are frozen and have an adapter on each matrix, of `rank`
    and `alpha`; a block stands for its two pieces with matrices, `.att` and `.ff`. With nothing
    adapted, rank and alpha mean nothing and are the usual ones.

    Raises ValueError for a part that does not exist or takes no adapter, for a piece that is to be
    both, for a rank that is no whole number from 1, and an alpha that is no number above 0.
    """

    n_layers: int
    trainable: frozenset[str] = frozenset()
    adapted: frozenset[str] = frozenset()
    rank: int = RANK
    alpha: float = ALPHA

    def __post_init__(self):
        settle = partial(object.__setattr__, self)  # the dataclass is frozen
        settle("n_layers", whole_number("n_layers", self.n_layers))
        rank, alpha = whole_number("rank", self.rank), finite_number("alpha", self.alpha)
        trainable = self._names("trainable", self.trainable)
        adapted = self._names("adapted", self.adapted)
        _refuse_without_matrices(adapted)
        if both := _all_of(trainable, pieces_of) & _all_of(adapted, _adapted_pieces):
            raise ValueError(
                f"{min(both)} can't be both trainable and frozen with an adapter; choose one"
            )
        settle("trainable", _in_whole_blocks(trainable))
        settle("adapted", _in_whole_blocks(adapted, tuple(ADAPTED_MATRICES)))
        settle("rank", rank if adapted else RANK)
        settle("alpha", alpha if adapted else ALPHA)

    def _names(self, field: str, names) -> set[str]:
        if not isinstance(names, Iterable):
            raise TypeError(f"{field} must be a set of part names, not {names!r}")
        asked = {names} if isinstance(names, str) else set(names)
        self._refuse_unknown(asked)
        return asked

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

        The last is any other mixture in a block where something learns.
        """
        self._refuse_unknown({part})
        return self._states[part]

    @cached_property
    def _states(self) -> dict[str, str]:
        """The state of each part and of each piece."""
        states = dict.fromkeys(_parts_and_pieces(self.n_layers), FROZEN)
        states |= dict.fromkeys(_all_of(self.trainable, pieces_of), TRAINABLE)
        states |= dict.fromkeys(_all_of(self.adapted, _adapted_pieces), ADAPTED)
        for block in part_names(self.n_layers)[2:-2]:
            in_pieces = tuple(states[piece] for piece in pieces_of(block))
            states[block] = _BLOCK_STATE.get(in_pieces, PARTLY)
        return states

    def toggle(self, *parts: str) -> "FreezePlan":
        """Return the plan with a part's state flipped between trainable and frozen.

        What is partly trainable, or has an adapter, becomes wholly trainable. Several parts go
        together: all become trainable, or frozen if all were trainable.
        """
        return self._flip(parts, TRAINABLE)

    def adapt(self, *parts: str) -> "FreezePlan":
        """Return the plan with a part's state flipped between frozen, with an adapter and without.

        Parts are blocks and their pieces `.att` and `.ff`. What is trainable becomes frozen with an
        adapter. Several parts go together, as in `toggle`. Raises ValueError for other parts.
        """
        self._refuse_unknown(set(parts))
        _refuse_without_matrices(parts)
        return self._flip(parts, ADAPTED)

    def _flip(self, parts: Iterable[str], wanted: str) -> "FreezePlan":
        """Bring all `parts` to the `wanted` state, or to frozen if all were in it."""
        flipped = _all_of(parts, pieces_of)
        trainable = _all_of(self.trainable, pieces_of) - flipped
        adapted = _all_of(self.adapted, _adapted_pieces) - flipped
        if any(self.state(part) != wanted for part in parts):
            (trainable if wanted == TRAINABLE else adapted).update(parts)
        return replace(self, trainable=trainable, adapted=adapted)

    # --- a model ---

    def apply(self, model: GPTModel) -> GPTModel:
        """Set `requires_grad` of all of the model's parameters, and put the adapters in.

        Return it. A new adapter starts with nothing to add, so the logits stay as they are; it
        draws from torch's random numbers. Raises ValueError for another depth, for a rank beyond
        the matrices' sides, and for a model that has other adapters; then nothing is changed.
        """
        if not isinstance(model, nn.Module):
            raise TypeError(f"a plan is applied to a model, not to {model!r}")
        if len(model.trf_blocks) != self.n_layers:
            raise ValueError(
                f"the plan is for {self.n_layers} blocks, the model has {len(model.trf_blocks)}"
            )
        present = adapters_of(model)
        if present.adapted and present != replace(self, trainable=frozenset()):
            raise ValueError(
                f"the model has {_say_adapters(present)}, the plan {_say_adapters(self)}; merge "
                "them into its weights (helpers.lora.merge) or load the model anew"
            )
        if self.adapted and not present.adapted:
            put_adapters(model, _matrices(self.adapted), self.rank, self.alpha)
        for part in part_names(self.n_layers):
            for piece in pieces_of(part):
                state = self.state(piece)
                for name, parameter in model.get_submodule(piece).named_parameters():
                    learns = state == TRAINABLE or (state == ADAPTED and is_adapter(name))
                    parameter.requires_grad_(learns)
        return model

    @classmethod
    def of(cls, model: GPTModel) -> "FreezePlan":
        """Read the plan off a model.

        Raises ValueError where a piece is trainable in some of its tensors only, and for adapters
        that are frozen or that no plan puts in.
        """
        instance_of("model", model, nn.Module, "a GPTModel")
        adapters, trainable = adapters_of(model), set()
        for piece in _all_of(part_names(adapters.n_layers), pieces_of):
            parameters = dict(model.get_submodule(piece).named_parameters())
            learns = {name: p.requires_grad for name, p in parameters.items()}
            if adapters.state(piece) == ADAPTED:
                if any(learns[name] != is_adapter(name) for name in learns):
                    raise ValueError(
                        f"{piece} has an adapter, but something else than just that is trainable "
                        "in it; a FreezePlan has no words for that"
                    )
            elif len(set(learns.values())) > 1:
                raise ValueError(
                    f"{piece} is trainable in some of its tensors only; "
                    "a FreezePlan has no words for that"
                )
            elif True in learns.values():
                trainable.add(piece)
        return replace(adapters, trainable=trainable)


_BLOCK_STATE = {  # of the four pieces → of the block; it is PARTLY for all others
    (TRAINABLE,) * 4: TRAINABLE,
    (FROZEN,) * 4: FROZEN,
    (ADAPTED, ADAPTED, FROZEN, FROZEN): ADAPTED,
}


def adapters_of(model: GPTModel) -> FreezePlan:
    """Return the plan with a model's adapters, and nothing trainable beside them.

    Raises ValueError for adapters that no plan puts in.
    """
    n_layers, present = len(model.trf_blocks), adapters_in(model)
    pieces = {piece for block in part_names(n_layers)[2:-2] for piece in _adapted_pieces(block)}
    adapted = {piece for piece in pieces if not present.keys().isdisjoint(_matrices({piece}))}
    matrices, settings = _matrices(adapted), set(present.values()) or {(RANK, ALPHA)}
    if present.keys() != set(matrices) or len(settings) > 1:
        which = min(present.keys() - set(matrices) or present)
        raise ValueError(
            f"the model has adapters that no FreezePlan puts in, such as on {which}: a plan puts "
            "them on all matrices of a piece, and all have one rank and alpha; load the model anew"
        )
    ((rank, alpha),) = settings
    return FreezePlan(n_layers, frozenset(), frozenset(adapted), rank, alpha)


def _matrices(adapted: Iterable[str]) -> list[str]:
    """Return the names of all matrices in adapted pieces or blocks, in the model's order."""
    return [
        f"{piece}.{matrix}"
        for piece in sorted(_all_of(adapted, _adapted_pieces), key=_place)
        for matrix in ADAPTED_MATRICES[piece.rpartition(".")[2]]
    ]


def _place(name: str) -> tuple[int, str]:
    """Where a block or a piece of one comes in the model."""
    return int(name.split(".")[1]), name


def _refuse_without_matrices(parts: Iterable[str]) -> None:
    if none := sorted(part for part in parts if not _adapted_pieces(part)):
        raise ValueError(
            f"{none[0]} takes no adapter: adapters go on the matrices of a block's attention and "
            "feed-forward, such as trf_blocks.0.att, trf_blocks.0.ff, or trf_blocks.0 for both"
        )


def _say_adapters(plan: FreezePlan) -> str:
    if not plan.adapted:
        return "none"
    where = ", ".join(sorted(plan.adapted, key=_place))
    return f"adapters of rank {plan.rank} and alpha {plan.alpha:g} in {where}"


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
    return next((name for name in PRESETS if _preset_like(name, plan, plan.n_layers) == plan), None)


def resize(plan: FreezePlan, n_layers: int) -> FreezePlan:
    """Return the plan for another depth, with the same rank and alpha.

    That is the same preset, or else the parts of the same names that still exist.
    """
    instance_of("plan", plan, FreezePlan, "a FreezePlan")
    if name := preset_of(plan):
        return _preset_like(name, plan, n_layers)
    existing = _parts_and_pieces(whole_number("n_layers", n_layers))
    trainable, adapted = plan.trainable & existing, plan.adapted & existing
    return FreezePlan(n_layers, trainable, adapted, plan.rank, plan.alpha)


def _preset_like(name: str, plan: FreezePlan, n_layers: int) -> FreezePlan:
    return replace(PRESETS[name](n_layers), rank=plan.rank, alpha=plan.alpha)


# --- the report -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class PartCount:
    """One part's or piece's number of parameters, how many of them are trainable, its state.

    A block's four pieces. An adapter's parameters are among both numbers.
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
        states = {c.state for c in counts}
        state = states.pop() if len(states) == 1 else PARTLY
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

    No weights are allocated. Raises ValueError for fewer than two classes, for a plan of another
    depth, and for a rank beyond the sides of the adapted matrices.
    """
    instance_of("cfg", cfg, dict, "the dictionary of gpt_config")
    instance_of("plan", plan, FreezePlan, "a FreezePlan")
    num_classes = whole_number("num_classes", num_classes, 2)
    counts, sides = _piece_counts(tuple(sorted(cfg.items())), num_classes)
    if plan.n_layers != cfg["n_layers"]:
        raise ValueError(
            f"the plan is for {plan.n_layers} blocks, the configuration has {cfg['n_layers']}"
        )
    if plan.adapted:
        whole_number("rank", plan.rank, 1, cfg["emb_dim"], ", the shorter side of the matrices")
    parts = []
    for part in part_names(plan.n_layers):
        pieces = []
        for piece in pieces_of(part):
            state = plan.state(piece)
            adapters = plan.rank * sides[piece] if state == ADAPTED else 0
            trainable = counts[piece] if state == TRAINABLE else adapters
            pieces.append(PartCount(piece, counts[piece] + adapters, trainable, state))
        parameters = sum(piece.parameters for piece in pieces)
        trainable = sum(piece.trainable for piece in pieces)
        inside = tuple(pieces) if len(pieces) > 1 else ()
        parts.append(PartCount(part, parameters, trainable, plan.state(part), inside))
    return ParameterReport(tuple(parts))


@lru_cache(maxsize=32)
def _piece_counts(cfg_items: tuple, num_classes: int) -> tuple[Counter, Counter]:
    """Return each piece's number of parameters, and the lengths of its matrices' two sides.

    The lengths are summed up: an adapter of rank r on a matrix (out, in) has r·(in + out)
    parameters.
    """
    counts, sides = Counter(), Counter()
    model = classifier_without_weights(dict(cfg_items), num_classes)
    for name, parameter in model.named_parameters():
        levels = 3 if name.startswith("trf_blocks.") else 1  # trf_blocks.0.att…, or tok_emb…
        piece = ".".join(name.split(".")[:levels])
        counts[piece] += parameter.numel()
        sides[piece] += sum(parameter.shape) if parameter.ndim == 2 else 0
    return counts, sides


def classifier_without_weights(cfg: dict, num_classes: int = 2) -> GPTModel:
    """Return the classifier on torch's meta device, where tensors have a shape and no memory."""
    with torch.device("meta"):
        return replace_head(GPTModel(cfg), num_classes)


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


@dataclass(frozen=True)
class Shape:
    """What a part puts out: its name and the tensor's shape."""

    part: str
    shape: tuple[int, ...]

    def __str__(self):
        return f"{self.part:<14} {self.shape}"


@torch.no_grad()
def trace_shapes(
    model: GPTModel, token_ids: torch.Tensor, last_token: bool = False
) -> tuple[Shape, ...]:
    """Run `model` on token ids (b, n) once; return the shape of what each part puts out.

    The first is that of what goes in. With `last_token` also that of the last token's logits,
    (b, num_classes), which classify each message. Works on the meta device, too, so a model of any
    size without weights will do.
    `pos_emb` gives (n, emb_dim), one row for each position, which is added to every message. Raises
    what the model raises on token ids that it can't take.
    """
    if not isinstance(token_ids, torch.Tensor):
        raise TypeError(f"token ids must be a torch.Tensor, not {type(token_ids).__name__}")
    shapes = [Shape("token_ids", tuple(token_ids.shape))]

    def note(part):
        return lambda module, inputs, output: shapes.append(Shape(part, tuple(output.shape)))

    handles = [
        model.get_submodule(part).register_forward_hook(note(part))
        for part in part_names(len(model.trf_blocks))
    ]
    try:
        device = model.tok_emb.weight.device
        with own_random_numbers(device):  # looking must not change what dropout draws later
            logits = model(token_ids.to(device))
    finally:
        for handle in handles:
            handle.remove()
    if last_token:
        shapes.append(Shape("last_token", tuple(logits[:, -1, :].shape)))
    return tuple(shapes)
