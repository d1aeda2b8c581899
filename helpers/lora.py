"""LoRA: beside a frozen matrix W stand two narrow ones, A and B, and only these are trained.

Hu et al. 2021, section 4.1. W has the shape (out, in), A (rank, in) and B (out, rank). The layer
multiplies by W + (alpha / rank) · B A instead of W. A starts random and B at zero, so that at first
nothing is added. By the library peft, whose layer replaces the linear one and keeps it as its
`base_layer`.
"""

import copy
from collections.abc import Sequence

import torch
from torch import nn

from helpers.checks import whole_number

ADAPTER = "default"  # peft's name for an adapter when none is given


def put_adapters(model: nn.Module, matrices: Sequence[str], rank: int, alpha: float) -> None:
    """Add an adapter to each of the linear layers called `matrices`, in place.

    Only the adapters are trainable afterwards. They are on the layer's device, also on torch's meta
    device. A is drawn from torch's random numbers. Raises ValueError for a rank beyond a layer's
    shorter side; then nothing is changed.
    """
    for name in matrices:
        shorter = min(model.get_submodule(name).weight.shape)
        whole_number("rank", rank, 1, shorter, f", the shorter side of {name}")

    from peft import LoraConfig, inject_adapter_in_model  # slow to import
    from peft.tuners.lora import Linear

    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(matrices))
    # without this, peft first looks for the layer among those of other packages, and raises
    # ImportError where one of them is too old for it, as Colab's torchao is
    config._register_custom_module({nn.Linear: Linear})
    on_meta = model.get_submodule(matrices[0]).weight.is_meta
    inject_adapter_in_model(config, model, ADAPTER, low_cpu_mem_usage=on_meta)


def is_adapter(parameter: str) -> bool:
    """Return whether the parameter of this name belongs to an adapter."""
    return "lora_" in parameter


def adapters_in(model: nn.Module) -> dict[str, tuple[int, float]]:
    """Return the name of each matrix with an adapter, and the adapter's rank and alpha."""
    adapters = {}
    for name, module in model.named_modules():
        if hasattr(module, "base_layer"):  # as all of peft's layers have
            adapters[name] = module.r[ADAPTER], float(module.lora_alpha[ADAPTER])
    return adapters


def effective_weight(linear: nn.Module) -> torch.Tensor:
    """Return what a linear layer multiplies by, (out, in): W, or W + (alpha / rank) · B A.

    The gradient passes through it to W, A and B.
    """
    if hasattr(linear, "base_layer"):
        return linear.base_layer.weight + linear.get_delta_weight(ADAPTER)
    return linear.weight


def merge(model: nn.Module) -> nn.Module:
    """Return a copy of a GPTModel with its adapters added into its matrices: a plain model.

    The logits are the same but for rounding; what was adapted is frozen.
    """
    merged = copy.deepcopy(model)
    for name in adapters_in(model):
        layer = merged.get_submodule(name)
        layer.merge()
        parent, _, child = name.rpartition(".")
        setattr(merged.get_submodule(parent), child, layer.base_layer)
    if hasattr(merged, "peft_config"):  # peft's note of the adapters that it added
        del merged.peft_config
    return merged
