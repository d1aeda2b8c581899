"""Which token's logits classify a message.

In each row the causal mask lets only a token at the end see the whole message (the book's section
6.5). `position` says which one is taken:

- "first", the row's first token, which sees only itself (the book's exercise 6.3);
- "last", the row's last position, as in the book, which in a padded row is padding;
- "last_token", the last one before the padding, which must be `<|endoftext|>`;
- "mean", none of them: the mean of the logits at all positions of the row, at the padding's too
  (an additional experiment in the book's repository, ch06/02).
"""

import torch

from helpers.checks import instance_of, one_of
from helpers.config import END_OF_TEXT
from helpers.model import GPTModel, has_causal_mask

POSITIONS = ("first", "last", "last_token", "mean")


def check_position(position: str) -> None:
    """Raise ValueError for what is no position."""
    one_of("position", position, POSITIONS)


# --- in the readable loop: one forward pass, and what is taken of it ---------------------------


def last_token_positions(token_ids: torch.Tensor, pad_token_id: int = END_OF_TEXT) -> torch.Tensor:
    """Return for each row of `token_ids` (b, n) the position of its last real token: (b,).

    A row of padding alone gives 0. Raises ValueError for another number of dimensions.
    """
    instance_of("token ids", token_ids, torch.Tensor, "a torch.Tensor")
    if token_ids.ndim != 2 or not token_ids.shape[1]:
        shape = tuple(token_ids.shape)
        raise ValueError(f"token ids must have the shape (batch, num_tokens), not {shape}")
    positions = torch.arange(token_ids.shape[1], device=token_ids.device)
    return torch.where(token_ids != pad_token_id, positions, 0).amax(dim=1)


def class_logits(model: GPTModel, token_ids: torch.Tensor, position: str = "last") -> torch.Tensor:
    """Return the logits that classify each message: token ids (b, n) → (b, num_classes).

    Raises ValueError for another position.
    """
    return take_position(model(token_ids), token_ids, position)


def take_position(values: torch.Tensor, token_ids: torch.Tensor, position: str) -> torch.Tensor:
    """Return what a position has of values of all tokens: (b, n, k) and ids (b, n) → (b, k).

    Raises ValueError for another position.
    """
    check_position(position)
    if position == "mean":
        return values.mean(dim=1)
    if position == "last_token":
        rows = torch.arange(len(token_ids), device=token_ids.device)
        return values[rows, last_token_positions(token_ids)]
    return values[:, 0 if position == "first" else -1, :]


@torch.no_grad()
def class_probabilities(
    model: GPTModel, token_ids: torch.Tensor, position: str = "last"
) -> torch.Tensor:
    """Return each class's probability: token ids (b, n) → float32 (b, num_classes) on the CPU.

    The model is left in eval mode.
    """
    instance_of("token ids", token_ids, torch.Tensor, "a torch.Tensor")
    model.eval()
    token_ids = token_ids.to(model.tok_emb.weight.device)
    return class_logits(model, token_ids, position).softmax(dim=-1).float().cpu()


# --- in the fast loop: no more than the answer depends on --------------------------------------


def classifying_place(token_ids: list[int], position: str) -> int | None:
    """Return where in a row the classifying token is; None for the mean of all."""
    if position == "mean":
        return None
    if position == "first":
        return 0
    place = len(token_ids) - 1
    while position == "last_token" and place > 0 and token_ids[place] == END_OF_TEXT:
        place -= 1
    return place


def up_to_classifying_token(token_ids: list[int], position: str) -> list[int]:
    """Return a row up to the token that classifies; for the mean of all, the whole row.

    Under the causal mask no later token changes the answer.
    """
    place = classifying_place(token_ids, position)
    return token_ids if place is None else token_ids[: place + 1]


def rows_and_places(
    model: GPTModel, rows: list[list[int]], position: str
) -> tuple[list[list[int]], list[int] | None]:
    """Return what of each row its logits depend on, and where in it the classifying token is.

    There are no places (None) for the mean of all. Raises ValueError where each token of a row
    counts and the rows differ in length: filled up in a batch, they would give other answers.
    """
    places = None if position == "mean" else [classifying_place(ids, position) for ids in rows]
    if places is not None and has_causal_mask(model):
        return [up_to_classifying_token(ids, position) for ids in rows], places
    if len(lengths := set(map(len, rows))) > 1:
        raise ValueError(
            f"rows of {min(lengths)} to {max(lengths)} tokens: for the mean of all positions, or "
            "without the causal mask, pad or cut them to one length"
        )
    return rows, places
