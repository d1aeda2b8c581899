"""Which token's logits classify a message: the one at the row's end, or the last real one.

In each row the causal mask lets only a token at the end see the whole message (the book's section
6.5). `position` says which one is taken: "last", the row's last position, as in the book, which in
a padded row is padding; or "last_token", the last one before the padding, which must be
`<|endoftext|>`.
"""

import torch

from helpers.checks import one_of
from helpers.config import END_OF_TEXT
from helpers.model import GPTModel

POSITIONS = ("last", "last_token")


def check_position(position: str) -> None:
    """Raise ValueError for what is no position."""
    one_of("position", position, POSITIONS)


def last_token_positions(token_ids: torch.Tensor, pad_token_id: int = END_OF_TEXT) -> torch.Tensor:
    """Return for each row of `token_ids` (b, n) the position of its last real token: (b,).

    A row of padding alone gives 0. Raises ValueError for another number of dimensions.
    """
    if token_ids.ndim != 2 or not token_ids.shape[1]:
        shape = tuple(token_ids.shape)
        raise ValueError(f"token ids must have the shape (batch, num_tokens), not {shape}")
    positions = torch.arange(token_ids.shape[1], device=token_ids.device)
    return torch.where(token_ids != pad_token_id, positions, 0).amax(dim=1)


def up_to_classifying_token(token_ids: list[int], position: str) -> list[int]:
    """Return a row's token ids up to the one that classifies: no later one changes its logits."""
    if position == "last":
        return token_ids
    end = len(token_ids)
    while end > 1 and token_ids[end - 1] == END_OF_TEXT:
        end -= 1
    return token_ids[:end]


def class_logits(model: GPTModel, token_ids: torch.Tensor, position: str = "last") -> torch.Tensor:
    """Return the logits that classify each message: token ids (b, n) → (b, num_classes).

    Raises ValueError for another position.
    """
    check_position(position)
    logits = model(token_ids)  # (b, n, num_classes)
    if position == "last":
        return logits[:, -1, :]
    rows = torch.arange(len(token_ids), device=token_ids.device)
    return logits[rows, last_token_positions(token_ids)]


@torch.no_grad()
def class_probabilities(
    model: GPTModel, token_ids: torch.Tensor, position: str = "last"
) -> torch.Tensor:
    """Return each class's probability: token ids (b, n) → float32 (b, num_classes) on the CPU.

    The model is left in eval mode.
    """
    model.eval()
    token_ids = token_ids.to(model.tok_emb.weight.device)
    return class_logits(model, token_ids, position).softmax(dim=-1).float().cpu()
