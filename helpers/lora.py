"""LoRA: beside a frozen matrix W stand two narrow ones, A and B, and only these learn.

Hu et al. 2021, section 4.1: what goes through the matrix W (out, in) goes through A (rank, in) and
B (out, rank) too, and what comes out is added: W + (alpha / rank) · B A takes the place of W. A
starts random and B at zero, so that at first nothing is added. By the library peft, whose layer
takes the place of the linear one and holds it as its `base_layer`.
"""

import copy
from collections.abc import Sequence

import torch
from torch import nn

from helpers.checks import finite_number, whole_number

ADAPTER = "default"  # peft's name for it; other names are other code's adapters


def put_adapters(model: nn.Module, matrices: Sequence[str], rank: int, alpha: float) -> None:
    """Put an adapter beside each of the linear layers called `matrices`, in place.

    Only the adapters are trainable afterwards. They lie where the layer lies, also on torch's meta
    device. A draws from torch's random numbers. Raises ValueError for a layer that is not a plain
    torch.nn.Linear, and for a rank beyond its shorter side; then nothing is changed.
    """
    finite_number("alpha", alpha)
    for name in matrices:
        linear = model.get_submodule(name)
        if type(linear) is not nn.Linear:
            raise ValueError(
                f"{name} is a {_class_of(linear)}; an adapter goes on a torch.nn.Linear only; "
                "load the model anew"
            )
        whole_number("rank", rank, 1, min(linear.weight.shape), f", the shorter side of {name}")

    from peft import LoraConfig, inject_adapter_in_model  # slow to import
    from peft.tuners.lora import Linear

    config = LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=list(matrices), lora_dropout=0.0, bias="none"
    )
    # else peft looks for the layer among those of other packages first, and raises ImportError
    # where one of them is too old for it, as Colab's torchao is
    config._register_custom_module({nn.Linear: Linear})
    on_meta = model.get_submodule(matrices[0]).weight.is_meta
    inject_adapter_in_model(config, model, ADAPTER, low_cpu_mem_usage=on_meta)


def is_adapter(parameter: str) -> bool:
    """Say whether the parameter of this name belongs to an adapter."""
    return "lora_" in parameter


def adapters_in(model: nn.Module) -> dict[str, tuple[int, float]]:
    """Return the name of each matrix with an adapter, and the adapter's rank and alpha.

    Raises ValueError for one of another kind than `put_adapters` makes.
    """
    found = {}
    for name, module in model.named_modules():
        if _has_adapter(module):
            if not _is_ours(module):
                raise ValueError(
                    f"{name} has an adapter of another kind than helpers.lora puts in; "
                    "load the model anew"
                )
            found[name] = module.r[ADAPTER], float(module.lora_alpha[ADAPTER])
    return found


def effective_weight(linear: nn.Module) -> torch.Tensor:
    """Return what a linear layer multiplies by, (out, in): W, or W + (alpha / rank) · B A.

    It carries the gradient to W, A and B. Raises TypeError for a layer of another kind.
    """
    if type(linear) is nn.Linear:
        return linear.weight
    if not (_has_adapter(linear) and _is_ours(linear)):
        raise TypeError(
            f"it is not known by what a {_class_of(linear)} multiplies; take a torch.nn.Linear, "
            "without an adapter or with one that a FreezePlan puts in"
        )
    return linear.base_layer.weight + linear.get_delta_weight(ADAPTER)


def merge(model: nn.Module) -> nn.Module:
    """Return a copy of a GPTModel with its adapters added into its matrices: a plain model.

    The logits are the same but for rounding; what was adapted is frozen. Raises what `adapters_in`
    raises.
    """
    names = adapters_in(model)
    merged = copy.deepcopy(model)
    for name in names:
        layer = merged.get_submodule(name)
        layer.merge()
        parent, _, child = name.rpartition(".")
        setattr(merged.get_submodule(parent), child, layer.get_base_layer())
    if names:
        del merged.peft_config  # peft's note of what it put in
    return merged


def _class_of(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"


def _has_adapter(module: nn.Module) -> bool:
    return hasattr(module, "base_layer")  # as all of peft's layers have


def _is_ours(layer: nn.Module) -> bool:
    """Say whether peft's layer computes what this file's docstring says."""
    return (
        type(layer.base_layer) is nn.Linear
        and [*getattr(layer, "lora_A", ())] == [ADAPTER] == layer.active_adapters
        and not (layer.merged or layer.disable_adapters)
        and layer.scaling[ADAPTER] == layer.lora_alpha[ADAPTER] / layer.r[ADAPTER]
        and type(layer.lora_dropout[ADAPTER]) is nn.Identity
        and layer.lora_B[ADAPTER].bias is None
        and layer.lora_variant == {}
    )
