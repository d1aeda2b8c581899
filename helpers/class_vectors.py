"""The vector that the head reads of each message, for many messages at once.

It is that of the token that classifies (`classifying_token`), after the final layer norm. Messages of
like length run together, and of the last block only that token.
"""

import math
from collections.abc import Sequence

import torch

from helpers.checks import instance_of
from helpers.classifying_token import check_position, rows_and_places
from helpers.device_and_precision import autocast, check_precision, precision_on
from helpers.frozen_cache import in_batches_by_length, pad_batch, places_of, vectors_at
from helpers.model import GPTModel

# a core's cache holds what a block of the nano makes of so many tokens: a fifth less time than 2,048
TOKENS_ON_CPU = 512


@torch.no_grad()
def class_vectors(
    model: GPTModel,
    messages: Sequence[Sequence[int]],
    position: str = "last",
    precision: str = "float32",
) -> torch.Tensor:
    """Return what the head reads of each message, a list of token ids: float32 (b, emb_dim).

    It is on the CPU; `model.out_head` makes the logits of it. At the position "mean" it is the mean
    over all tokens, as the logits are, since the head is linear. The model is left in eval mode.
    Raises ValueError for another position or precision, for an empty message, and, where each token
    of a message counts, for messages of different lengths.
    """
    instance_of("model", model, torch.nn.Module, "a GPTModel")
    check_position(position)
    check_precision(precision)
    messages = [list(ids) for ids in messages]
    if not all(messages):
        raise ValueError("a message has no tokens; leave it out")
    device = model.tok_emb.weight.device
    rows, places = rows_and_places(model, messages, position)
    model.eval()
    vectors = torch.empty(len(rows), model.cfg["emb_dim"])
    tokens = TOKENS_ON_CPU if device.type == "cpu" else math.inf
    for batch in in_batches_by_length(list(map(len, rows)), tokens):
        token_ids = pad_batch([rows[i] for i in batch], device)  # (b, n)
        at = places_of(places, batch, device)
        with autocast(device, precision_on(device, precision)):
            vectors[batch] = vectors_at(model, model.embed(token_ids), at).float().cpu()
    return vectors
