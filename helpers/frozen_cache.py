"""The frozen part of a model runs once for each message, and what it puts out is cached.

Below the lowest trainable part nothing changes in training, so for the same message the same
numbers come out in every epoch. `frozen_outputs` computes them once, into one long table;
`FrozenOutputs.batch` takes a batch from it, and `logits_at` goes on from there. The cache also
serves any later plan that leaves the same parts frozen, or more; a fingerprint of the frozen
weights and the messages decides.

A classifier needs the logits of one token of each message, the one at its *place*. So the last
block answers for that token only, which still looks at all that it may see. Where the mean of all
tokens' logits classifies, places are None, and the last block answers for all. In the comments b is
the batch size, n the number of tokens, d = emb_dim, h the number of heads and m = d / h.
"""

import hashlib
import math
import os
import tempfile
from array import array
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from helpers.device_and_precision import autocast
from helpers.lora import adapters_in, effective_weight
from helpers.model import GPTModel, MultiHeadAttention, TransformerBlock

MEMORY_LIMIT = 2**30  # bytes in memory; what is larger lies on disk
MOST_TABLES = 8  # in memory and on disk
TOKENS_AT_ONCE = 2048  # in one forward pass of the frozen part
_cache: list["FrozenOutputs"] = []  # the oldest first


# --- one token of each message ---------------------------------------------------------------


def attention_at(
    attention: MultiHeadAttention, x: torch.Tensor, places: torch.Tensor
) -> torch.Tensor:
    """Return what attention puts out at one place of each message: (b, n, d), (b,) → (b, d).

    The matrices of keys and values need not meet all n tokens. A score q · (W x) is (q W) · x, so
    the key matrix meets the one query; and the weighted sum of the values W x is W times the
    weighted sum of the x.
    """
    b, n, d = x.shape
    h, m = attention.num_heads, d // attention.num_heads
    key_matrix = effective_weight(attention.W_key).view(h, m, d)
    value_matrix = effective_weight(attention.W_value).view(h, m, d)

    query = attention.W_query(x[torch.arange(b), places]).view(b, h, m)
    scores = torch.einsum("bhm,hmd->bhd", query, key_matrix) @ x.transpose(1, 2)  # (b, h, n)
    if attention.W_key.bias is not None:  # alike for all n tokens, so softmax does not see it
        key_bias = attention.W_key.bias.view(h, m)
        scores = scores + torch.einsum("bhm,hm->bh", query, key_bias).unsqueeze(-1)
    if attention.causal:
        future = torch.arange(n, device=x.device) > places.unsqueeze(1)  # (b, n)
        scores = scores.masked_fill(future.unsqueeze(1), -torch.inf)

    weights = attention.dropout((scores / m**0.5).softmax(dim=-1))  # (b, h, n)
    context = torch.einsum("bhd,hmd->bhm", weights @ x, value_matrix)
    if attention.W_value.bias is not None:
        value_bias = attention.W_value.bias.view(h, m)
        context = context + weights.sum(dim=-1, keepdim=True) * value_bias
    return attention.out_proj(context.reshape(b, d))


def block_at(block: TransformerBlock, x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Return what a block puts out at one place of each message: (b, n, d), (b,) → (b, d)."""
    attended = attention_at(block.att, block.norm1(x), places)
    one = x[torch.arange(len(x)), places] + block.drop_resid(attended)
    return one + block.drop_resid(block.ff(block.norm2(one)))


def block_without_gradient(block: TransformerBlock, x: torch.Tensor) -> torch.Tensor:
    """Return what a block in eval mode puts out, (b, n, d) → same, by torch's fused attention.

    That never holds all n × n weights, so it takes a fraction of the time where n is large; only
    its backward pass is slower on a CPU. The numbers are the same but for rounding.
    """
    att = block.att
    b, n, d = x.shape
    normed = block.norm1(x)
    split = (
        matrix(normed).view(b, n, att.num_heads, -1).transpose(1, 2)  # (b, h, n, m)
        for matrix in (att.W_query, att.W_key, att.W_value)
    )
    context = F.scaled_dot_product_attention(*split, is_causal=att.causal)
    x = x + att.out_proj(context.transpose(1, 2).reshape(b, n, d))
    return x + block.ff(block.norm2(x))


def run_block(
    block: TransformerBlock, x: torch.Tensor, places: torch.Tensor | None
) -> torch.Tensor:
    """Run a block on (b, n, d): for all tokens (None), or, (b, 1, d), for those at `places` (b,)."""
    if places is not None:
        return block_at(block, x, places).unsqueeze(1)
    if block.training or torch.is_grad_enabled():
        return block(x)
    return block_without_gradient(block, x)


def run_blocks(
    model: GPTModel, x: torch.Tensor, places: torch.Tensor | None, start: int, stop: int
) -> torch.Tensor:
    """Run the blocks `start` … `stop` - 1 on (b, n, d), for the tokens at `places` (b,).

    Below the last block all tokens go on, (b, n, d); the last one gives (b, 1, d), or, with
    `places` None, all again.
    """
    last = len(model.trf_blocks) - 1
    for number in range(start, stop):
        x = run_block(model.trf_blocks[number], x, places if number == last else None)
    return x


def vectors_at(
    model: GPTModel, x: torch.Tensor, places: torch.Tensor | None, start: int = 0
) -> torch.Tensor:
    """Map what goes into block `start`, (b, n, d), to what the head reads at `places`: (b, d).

    With `places` None it is the mean over all n tokens. With `start` beyond the last block x is what
    that one gave.
    """
    x = run_blocks(model, x, places, start, len(model.trf_blocks))  # (b, 1, d), or (b, n, d)
    return model.final_norm(x).mean(dim=1)


def logits_at(
    model: GPTModel, x: torch.Tensor, places: torch.Tensor | None, start: int = 0
) -> torch.Tensor:
    """Map what `vectors_at` takes to the logits at `places`, (b, num_classes).

    Of the mean over all tokens it is the mean of their logits: the head is linear.
    """
    return model.out_head(vectors_at(model, x, places, start))


# --- messages in batches ---------------------------------------------------------------------


def pad_batch(messages: Sequence[Sequence[int]], device) -> torch.Tensor:
    """Return token ids (b, n), zeros after the shorter messages."""
    longest = max(map(len, messages))
    return torch.tensor([[*ids, *[0] * (longest - len(ids))] for ids in messages], device=device)


def places_of(places: Sequence[int] | None, indices: Sequence[int], device) -> torch.Tensor | None:
    """Return the places of some messages, (b,); None where there are none."""
    return None if places is None else torch.tensor([places[i] for i in indices], device=device)


def in_batches_by_length(lengths: Sequence[int], most: float = math.inf) -> list[list[int]]:
    """Return the messages' numbers in batches of like length, of TOKENS_AT_ONCE tokens at most.

    Where `most` is fewer, of `most`. A longer message is a batch of its own.
    """
    most = min(most, TOKENS_AT_ONCE)
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        if not batches or (len(batches[-1]) + 1) * lengths[i] > most:
            batches.append([])
        batches[-1].append(i)
    return batches


# --- the cache -------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class FrozenOutputs:
    """What the first `num_blocks` blocks put out for each message.

    `rows` (total, emb_dim) float32 holds the tokens of all messages one below the other, on the
    CPU, on a GPU, or in a file on disk; `starts` says where each message begins, and ends with the
    total. Of the last block's output a message has one row, that of the token at its place, or,
    where places are None, all.
    """

    rows: torch.Tensor
    starts: tuple[int, ...]
    num_blocks: int
    fingerprint: str
    on_disk: bool

    def of(self, i: int) -> torch.Tensor:
        """Return the rows of message `i`: (num_tokens, emb_dim)."""
        return self.rows[self.starts[i] : self.starts[i + 1]]

    def batch(self, indices: Sequence[int]) -> torch.Tensor:
        """Return messages, (b, n, emb_dim), zeros after the shorter ones."""
        return nn.utils.rnn.pad_sequence([self.of(i) for i in indices], batch_first=True)


def frozen_outputs(
    model: GPTModel,
    messages: Sequence[Sequence[int]],
    places: Sequence[int] | None,
    num_blocks: int,
    precision: str = "float32",
    folder: str | Path | None = None,
) -> FrozenOutputs:
    """Return what the first `num_blocks` blocks put out for each message, a list of token ids.

    It comes out of the cache if it is there, else it is computed and stays there. Tables beyond
    MEMORY_LIMIT bytes lie in a file in `folder` (None: the system's folder for temporary files);
    with a `folder` given, all do. The file goes when nothing uses it any more, except on Windows.
    Raises OSError where the disk has no room.
    """
    steps = frozen_outputs_steps(model, messages, places, num_blocks, precision, folder)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def frozen_outputs_steps(
    model: GPTModel,
    messages: Sequence[Sequence[int]],
    places: Sequence[int] | None,
    num_blocks: int,
    precision: str = "float32",
    folder: str | Path | None = None,
) -> Generator[int, None, FrozenOutputs]:
    """Do what `frozen_outputs` does in slices: one block for one batch, so that each is short.

    After each slice comes the number of messages that it finished. Nothing is cached before all
    are.
    """
    marks = fingerprints(model, messages, places, num_blocks, precision)
    below = _deepest_cached(marks)
    if below is not None and below.num_blocks == num_blocks:
        yield len(messages)
        return below

    model.eval()
    device = model.tok_emb.weight.device
    lengths = [len(ids) for ids in messages]
    one_row = num_blocks == len(model.trf_blocks) and places is not None
    rows_of_each = [1] * len(lengths) if one_row else lengths
    starts = (0, *accumulate(rows_of_each))
    rows = _empty_table(starts[-1], model.cfg["emb_dim"], device, folder)
    on_disk = folder is not None or rows.nbytes > MEMORY_LIMIT
    outputs = FrozenOutputs(rows, starts, num_blocks, marks[num_blocks], on_disk)
    start = 0 if below is None else below.num_blocks
    for batch in in_batches_by_length(lengths):
        at = places_of(places, batch, device)
        with torch.no_grad():
            if below is None:
                x = model.embed(pad_batch([messages[i] for i in batch], device))
            else:
                x = below.batch(batch).to(device)
        for number in range(start, num_blocks):
            if number > start:
                yield 0
            with torch.no_grad(), autocast(device, precision):
                x = run_blocks(model, x, at, number, number + 1)
        for i, padded in zip(batch, x, strict=True):
            outputs.of(i).copy_(padded[: rows_of_each[i]])
        yield len(batch)
    _add_to_cache(outputs)
    return outputs


def _deepest_cached(marks: list[str]) -> FrozenOutputs | None:
    """Return what most of the blocks put out, as far as that is cached."""
    cached = [outputs for outputs in _cache if outputs.fingerprint in marks]
    return max(cached, key=lambda outputs: outputs.num_blocks, default=None)


def _empty_table(
    rows: int, emb_dim: int, device: torch.device, folder: str | Path | None
) -> torch.Tensor:
    """Return room for (rows, emb_dim) float32, in memory or in a file of its own."""
    size = 4 * rows * emb_dim
    if folder is None and size <= MEMORY_LIMIT:
        return torch.empty(rows, emb_dim, device=device)
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as home:
        path = Path(home, "rows")
        try:
            _reserve(path, size)
        except OSError as error:
            raise OSError(
                f"{Path(home).parent} has no room for the {size / 1e9:.1f} GB that the frozen "
                f"blocks put out ({error.strerror}); give cache= a folder with more room, or False"
            ) from error
        # the file's name goes with the folder, the file itself when the table is no longer used
        table = torch.from_file(str(path), shared=True, size=rows * emb_dim, dtype=torch.float32)
        return table.view(rows, emb_dim)


def _reserve(path: Path, size: int) -> None:
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)


def _add_to_cache(outputs: FrozenOutputs) -> None:
    """Cache what was computed last; the oldest go, of those in memory beyond MEMORY_LIMIT."""
    _cache.append(outputs)
    in_memory = [table for table in _cache if not table.on_disk]
    while len(in_memory) > 1 and sum(table.rows.nbytes for table in in_memory) > MEMORY_LIMIT:
        _cache.remove(in_memory.pop(0))
    del _cache[:-MOST_TABLES]


def forget() -> None:
    """Give back the memory and the disk space of all that is cached."""
    _cache.clear()


def fingerprints(
    model: GPTModel,
    messages: Sequence[Sequence[int]],
    places: Sequence[int] | None,
    num_blocks: int,
    precision: str,
) -> list[str]:
    """Return, for each number of blocks from 0 to `num_blocks`, what identifies their outputs.

    It covers their weights and adapters, the embeddings', the number of heads, which blocks have a
    causal mask, the messages and the precision; for the last block the places, too.
    """
    digest = hashlib.sha256(f"{model.cfg['n_heads']} {precision}".encode())
    for ids in messages:
        digest.update(array("q", [len(ids), *ids]))
    _add_weights(digest, model.tok_emb)
    _add_weights(digest, model.pos_emb)
    marks = [digest.hexdigest()]
    for block in model.trf_blocks[:num_blocks]:
        digest.update(bytes([block.att.causal]))
        _add_weights(digest, block)
        marks.append(digest.hexdigest())
    if num_blocks == len(model.trf_blocks):  # of no use to a deeper model with the same blocks
        digest.update(repr(places).encode())
        marks[-1] = f"{digest.hexdigest()} (the last block)"
    return marks


def _add_weights(digest, module: nn.Module) -> None:
    for parameter in module.parameters():
        digest.update(parameter.detach().cpu().contiguous().view(torch.uint8).numpy())
    digest.update(repr(adapters_in(module)).encode())  # their weights are above, not their scale
