"""The frozen prefix of a model: it runs once for each message, and what it puts out is kept.

Below the lowest trainable part nothing changes while the rest is trained, so for the same message
the same numbers come out in every epoch. `encode` computes them once, into one long table;
`Kept.batch` takes a batch from it. What has been kept serves again for any plan that leaves the
same parts frozen, or more; a fingerprint of the frozen weights and the messages decides.
"""

import hashlib
import os
import tempfile
from array import array
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import torch

from helpers.model import GPTModel

MEMORY_LIMIT = 2**30  # bytes; more than that is kept on disk
TOKENS_AT_ONCE = 2048  # in one forward pass of the prefix
_store: list["Kept"] = []


@dataclass(frozen=True, eq=False)
class Kept:
    """What the first `num_blocks` blocks put out for each message; on the CPU, a GPU, or in a file
    on disk.

    `rows` (total, emb_dim) float32 holds the tokens of all messages one below the other, `starts`
    says where each message begins, and ends with the total. Behind the last block a message has one
    row: its last token's.
    """

    rows: torch.Tensor
    starts: tuple[int, ...]
    num_blocks: int
    fingerprint: str
    on_disk: bool

    def batch(self, indices: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return some messages, (b, n, emb_dim), zeros below the shorter ones, and where each ends,
        positions (b,).
        """
        lengths = [self.starts[i + 1] - self.starts[i] for i in indices]
        x = self.rows.new_zeros(len(lengths), max(lengths), self.rows.shape[1])
        for row, (i, length) in enumerate(zip(indices, lengths, strict=True)):
            x[row, :length] = self.rows[self.starts[i] : self.starts[i + 1]]
        return x, torch.tensor(lengths, device=x.device) - 1


def pad_batch(messages: Sequence[Sequence[int]], device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids (b, n), the shorter messages filled with 0, and where each ends, positions
    (b,).
    """
    longest = max(map(len, messages))
    token_ids = torch.tensor(
        [[*ids, *[0] * (longest - len(ids))] for ids in messages], device=device
    )
    return token_ids, torch.tensor([len(ids) - 1 for ids in messages], device=device)


def in_batches_by_length(lengths: Sequence[int]) -> list[list[int]]:
    """Return the messages' numbers in batches of like length, each of TOKENS_AT_ONCE tokens or one
    message.
    """
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        if not batches or (len(batches[-1]) + 1) * lengths[i] > TOKENS_AT_ONCE:
            batches.append([])
        batches[-1].append(i)
    return batches


def autocast(device: torch.device, precision: str):
    """Return a context in which matrix products run in "bfloat16" or "float16"; in "float32" it
    changes nothing.
    """
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=getattr(torch, precision))


def precision_on(device: torch.device, precision: str) -> str:
    """Return `precision`, or "float16" for "bfloat16" on a GPU without: CUDA's before Ampere, MPS
    before macOS 14.
    """
    if precision != "bfloat16":
        return precision
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0):
        return "float16"  # torch emulates bfloat16 there, slowly
    if device.type == "mps" and not torch.backends.mps.is_macos_or_newer(14, 0):
        return "float16"
    return precision


@torch.no_grad()
def encode(
    model: GPTModel,
    messages: Sequence[Sequence[int]],
    num_blocks: int,
    precision: str = "float32",
    folder: str | Path | None = None,
    tell: Callable[[int], object] = lambda count: None,
) -> Kept:
    """Return what the first `num_blocks` blocks put out for each message, a list of token ids; from
    the store if there.

    Rows beyond MEMORY_LIMIT bytes go into a file in `folder` (None: the system's folder for
    temporary files); with a `folder` given, all do. The file goes when nothing uses it any more,
    except on Windows. `tell` hears the number of messages done. Raises OSError where the disk has
    no room.
    """
    marks = fingerprints(model, messages, num_blocks, precision)
    found = max(
        (kept for kept in _store if kept.fingerprint in marks),
        key=lambda kept: kept.num_blocks,
        default=None,
    )
    if found and found.num_blocks == num_blocks:
        tell(len(messages))
        return found
    model.eval()
    device = model.tok_emb.weight.device
    lengths = [len(ids) for ids in messages]
    starts = (
        0,
        *accumulate([1] * len(lengths) if num_blocks == len(model.trf_blocks) else lengths),
    )
    rows = _table(starts[-1], model.cfg["emb_dim"], device, folder)
    on_disk = folder is not None or rows.nbytes > MEMORY_LIMIT
    kept = Kept(rows, starts, num_blocks, marks[num_blocks], on_disk)
    for batch in in_batches_by_length(lengths):
        with autocast(device, precision):
            if found:
                x, positions = found.batch(batch)
            else:
                token_ids, positions = pad_batch([messages[i] for i in batch], device)
                x = model.embed(token_ids)
            x = model.run_blocks(
                x.to(device), positions.to(device), found.num_blocks if found else 0, num_blocks
            )
        for row, i in enumerate(batch):
            rows[starts[i] : starts[i + 1]] = x[row, : starts[i + 1] - starts[i]]
        tell(len(batch))
    _remember(kept)
    return kept


def _table(
    rows: int, emb_dim: int, device: torch.device, folder: str | Path | None
) -> torch.Tensor:
    size = 4 * rows * emb_dim
    if folder is None and size <= MEMORY_LIMIT:
        return torch.empty(rows, emb_dim, device=device)
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as home:
        path = Path(home, "rows")
        try:
            with path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, size) if hasattr(
                    os, "posix_fallocate"
                ) else file.truncate(size)
        except OSError as error:
            raise OSError(
                f"{Path(home).parent} has no room for the {size / 1e9:.1f} GB that the frozen blocks put out "
                f"({error.strerror}); give cache= a folder with more room, or False"
            ) from error
        # the file's name goes with the folder, the file itself when the table is no longer used
        return torch.from_file(
            str(path), shared=True, size=rows * emb_dim, dtype=torch.float32
        ).view(rows, emb_dim)


def _remember(kept: Kept) -> None:
    """Keep what was encoded last: a few tables, in memory no more than MEMORY_LIMIT in all."""
    _store.append(kept)
    in_memory = [kept for kept in _store if not kept.on_disk]
    while len(in_memory) > 1 and sum(kept.rows.nbytes for kept in in_memory) > MEMORY_LIMIT:
        _store.remove(in_memory.pop(0))
    del _store[:-8]


def forget() -> None:
    """Give back the memory and the disk space of all that is kept."""
    _store.clear()


def fingerprints(
    model: GPTModel, messages: Sequence[Sequence[int]], num_blocks: int, precision: str
) -> list[str]:
    """Return, for each number of blocks from 0 to `num_blocks`, what tells apart what so many of
    them put out.

    It covers their weights and the embeddings', the number of heads, the messages and the
    precision.
    """
    digest = hashlib.sha256(f"{model.cfg['n_heads']} {precision}".encode())
    for ids in messages:
        digest.update(array("q", [len(ids), *ids]))
    marks = []
    for modules in (
        (model.tok_emb, model.pos_emb),
        *((block,) for block in model.trf_blocks[:num_blocks]),
    ):
        for parameter in (parameter for module in modules for parameter in module.parameters()):
            digest.update(parameter.detach().cpu().contiguous().view(torch.uint8).numpy())
        marks.append(digest.hexdigest())
    if num_blocks == len(model.trf_blocks):
        marks[-1] += (
            " (one token of each)"  # of no use to a deeper model that begins with the same blocks
        )
    return marks
