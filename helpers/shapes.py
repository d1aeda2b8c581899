"""The shape of every tensor between the parts of the model, read from one real forward pass."""

from dataclasses import dataclass

import torch

from helpers.device_and_precision import own_random_numbers
from helpers.model import GPTModel, part_names


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
