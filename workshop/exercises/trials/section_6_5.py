"""The trials of section 6.5: which parameters are trainable."""

import copy

import torch
from torch import nn

from helpers.config import BASE_CONFIG
from helpers.freezing import FreezePlan
from helpers.model import GPTModel
from workshop.exercises.mistakes import Exercise, Mistake, expect, refuse, unrecognised

TINY = BASE_CONFIG | {"vocab_size": 11, "context_length": 6, "emb_dim": 2, "n_heads": 1}


# --- counting -------------------------------------------------------------------------------------


def count_trainable(model: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def models_to_count() -> list[nn.Module]:
    """Return a model that is frozen in parts, a tiny GPT, and one that is wholly frozen."""
    nested = nn.Sequential(nn.Linear(3, 5), nn.Sequential(nn.Linear(5, 2), nn.LayerNorm(2)))
    nested[0].weight.requires_grad_(False)
    nested[1][0].bias.requires_grad_(False)
    plan = FreezePlan(2, ["tok_emb", "trf_blocks.1", "out_head"])
    gpt = plan.apply(GPTModel(TINY | {"n_layers": 2}))
    return [nested, gpt, nn.Linear(4, 3).requires_grad_(False)]


def first_trainable(model) -> int:
    """Return the size of the first trainable parameter, 0 for none."""
    return next((p.numel() for p in model.parameters() if p.requires_grad), 0)


def first_parameter(model) -> int:
    """Return the size of the first parameter where it is trainable, otherwise 0."""
    first = next(model.parameters())
    return first.numel() if first.requires_grad else 0


def of_direct_children(model) -> int:
    """Return the trainable parameters of the model's children, without what they contain."""
    children = [p for child in model.children() for p in child.parameters(recurse=False)]
    return sum(p.numel() for p in children if p.requires_grad)


COUNT_MISTAKES = (
    (
        "you counted tensors. A weight of 2 rows and 5 columns has ten parameters: `numel()`.",
        lambda model: sum(p.requires_grad for p in model.parameters()),
    ),
    (
        "you counted all parameters, the frozen ones as well.",
        lambda model: sum(p.numel() for p in model.parameters()),
    ),
    (
        "you counted the frozen parameters, not the trainable ones.",
        lambda model: sum(p.numel() for p in model.parameters() if not p.requires_grad),
    ),
    (
        "`len(p)` is the number of a tensor's rows. `p.numel()` is the number of its entries.",
        lambda model: sum(len(p) for p in model.parameters() if p.requires_grad),
    ),
    (
        "you counted the modules of the outermost level only. `model.parameters()` also has the "
        "parameters of the modules inside them.",
        of_direct_children,
    ),
    (
        "you left out the tensors of one dimension. Biases and norms have parameters as well.",
        lambda model: sum(p.numel() for p in model.parameters() if p.requires_grad and p.ndim > 1),
    ),
    (
        "you counted some parameters more than once. `model.parameters()` also has the parameters "
        "of the modules inside the model, so call it once, without `modules()`.",
        lambda model: sum(map(count_trainable, model.modules())),
    ),
    ("it returns inside the loop, after the first parameter.", first_parameter),
    ("it returns inside the loop, after the first trainable parameter.", first_trainable),
)


def try_count_trainable(solve) -> str:
    """`solve` takes a model and returns how many trainable parameters it has."""
    cases = [(model,) for model in models_to_count()]
    expect(solve, cases, count_trainable, COUNT_MISTAKES)
    return "modules inside modules, a tiny GPT, and a model that is wholly frozen"


# --- freezing -------------------------------------------------------------------------------------


def freeze(model: nn.Module, trainable: tuple[str, ...]) -> None:
    """Make the named parts or parameters trainable, and freeze all others."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad = is_named(name, trainable)


def is_named(name: str, trainable: tuple[str, ...]) -> bool:
    """Return whether a parameter is one of these parts, or in one of them."""
    return any(f"{name}.".startswith(f"{part}.") for part in trainable)


# the flag that a typical mistake gives to a parameter, by its name and the flag that it had
FLAG_MISTAKES = (
    (
        "it is the wrong way round: `trainable` names what is not frozen.",
        lambda name, parts, before: not is_named(name, parts),
    ),
    (
        "a parameter's name is longer than that of its part, as in out_head.weight. Compare the "
        "beginning of the name.",
        lambda name, parts, before: name in parts,
    ),
    (
        "it takes trf_blocks.10 for a part of trf_blocks.1. Compare with the name and a dot.",
        lambda name, parts, before: name.startswith(tuple(parts)),
    ),
    (
        "what was frozen before stays frozen. Set the flag to True as well.",
        lambda name, parts, before: before and is_named(name, parts),
    ),
    (
        "what was trainable before stays trainable. Freeze what is not named this time.",
        lambda name, parts, before: before or is_named(name, parts),
    ),
    (
        "only the last name in `trainable` counts: each turn of the inner loop overwrites the "
        "flag that the turn before has set.",
        lambda name, parts, before: is_named(name, parts[-1:]),
    ),
    (
        "only the last name in `trainable` counts: the loop over the parameters sets all flags "
        "again for each name.",
        lambda name, parts, before: is_named(name, parts[-1:]) if parts else before,
    ),
    (
        "only the first name in `trainable` counts.",
        lambda name, parts, before: is_named(name, parts[:1]),
    ),
    (
        "a piece of a block, such as trf_blocks.0.norm1, stays frozen where `trainable` names it. "
        "Compare the whole name.",
        lambda name, parts, before: is_named(name, [part for part in parts if part.count(".") < 2]),
    ),
    (
        "everything is frozen now, whatever `trainable` names.",
        lambda name, parts, before: False,
    ),
)
CHOICES = {  # number of blocks: choices, one after the other
    11: (
        ("trf_blocks.1", "final_norm", "out_head"),
        ("trf_blocks.0.norm1", "trf_blocks.10"),
        ("tok_emb.weight",),
        (),
        ("trf_blocks.1.att.W_key", "pos_emb"),
    ),
    2: (("final_norm", "trf_blocks.0"), ("out_head",)),  # of a model that is wholly frozen first
}


def try_freeze(solve) -> str:
    """`solve` takes a model and names of parts, and sets each parameter's `requires_grad`."""
    steps = []
    for n_layers, choices in CHOICES.items():
        model = GPTModel(TINY | {"n_layers": n_layers}).requires_grad_(n_layers > 2)
        for parts in choices:
            before, weights = flags_of(model), copy.deepcopy(model.state_dict())
            result = solve(model, parts)
            check_rest(model, weights, result)
            steps.append((parts, before, flags_of(model)))
    for parts, _, got in steps:
        wrong = [name for name in got if got[name] != is_named(name, parts)]
        if wrong:
            break
    else:
        return "two models, with whole blocks, a piece, one parameter, and nothing"
    if all(got == before for _, before, got in steps):
        raise Mistake("no flag has changed.")
    for sentence, flag in FLAG_MISTAKES:
        if all(got[name] == flag(name, parts, before[name])
               for parts, before, got in steps for name in got):  # fmt: skip
            raise Mistake(sentence)
    flags = [list(got.values()) for _, _, got in steps[: len(CHOICES[11])]]
    refuse({
        "the flags are the same whatever `trainable` names. Use the argument.":
            all(flag == flags[0] for flag in flags),
    })  # fmt: skip
    given = f"trainable = {parts}, the flag of {wrong[0]}"
    raise unrecognised(given, not got[wrong[0]], got[wrong[0]])


def flags_of(model: nn.Module) -> dict[str, bool]:
    """Return the flag of each parameter."""
    return {name: parameter.requires_grad for name, parameter in model.named_parameters()}


def check_rest(model: nn.Module, weights: dict, result) -> None:
    """Raise Mistake where a call has changed something else than flags, or other flags than those."""
    if isinstance(result, nn.Module) and result is not model:
        raise Mistake("you changed a copy. Change the model that your function is given.")
    if misspelt := {name for parameter in model.parameters() for name in vars(parameter)}:
        raise Mistake(
            f"you set `{min(misspelt)}`, which torch does not know. The flag of a parameter is "
            "`parameter.requires_grad`, and it is set with `=`."
        )
    now = model.state_dict()
    refuse({
        "you set `requires_grad` on modules, where it has no effect. Set it on each parameter, "
        "from `named_parameters()`.":
            any("requires_grad" in vars(module) for module in model.modules()),
        "your function removed or renamed parameters.": now.keys() != weights.keys(),
        "your function changed weights. It should only set flags.":
            any(name in now and not torch.equal(now[name], weights[name]) for name in weights),
    })  # fmt: skip


EXERCISES = {
    "6.5 trainable parameters": Exercise(try_count_trainable, count_trainable),
    "6.5 freezing": Exercise(try_freeze, freeze),
}
