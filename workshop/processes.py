"""The processes that share the work: those that torchrun has started, or just this one.

Each is a *rank*, numbered from 0, as in torch.distributed, whose process group carries all that they
tell each other: over NCCL between GPUs, else over gloo. Alone, nothing is sent and torch.distributed
is not asked.

What runs in every step of a fine-tuning, as one module, which several processes can share.

Below it lies what is frozen and cached (see `frozen_cache`). Torch's own engines share a module
among processes: DistributedDataParallel, where each has all of the weights and their gradients are
averaged (Li et al. 2020, "PyTorch Distributed"), and `fully_shard`, where each keeps a part of
weights, gradients and the optimizer's numbers, and gathers a block's weights when the block runs
(Zhao et al. 2023, "PyTorch FSDP").

A training that was killed goes on at its last whole epoch.

After each epoch the trained weights, the optimizer's numbers and the history are written into a
folder, by `torch.distributed.checkpoint`: each process writes its part, and another number of
processes can read it.
"""

import json
import os
import shutil
import signal
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from helpers.checks import instance_of
from helpers.download import whole_file
from helpers.model import GPTModel
from helpers.training import get_device, run_block

if TYPE_CHECKING:  # workshop.fast imports this file
    from workshop.fast import History


@dataclass(frozen=True)
class Ranks:
    """This process's `number`, 0 … size - 1, among `size` that do the same work."""

    number: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the one that prints and writes what exists once."""
        return self.number == 0

    def own(self, numbers: Iterable[int]) -> list[int]:
        """Return those of these row numbers that this rank takes: every `size`-th row is its own."""
        return [i for i in numbers if i % self.size == self.number]

    def sum(self, *values: float) -> tuple[float, ...]:
        """Return the sum of each value over all ranks; they wait for each other."""
        if self.size == 1:
            return values
        total = torch.tensor(values, dtype=torch.float64, device=get_device())
        distributed.all_reduce(total)
        return tuple(total.tolist())

    def wait(self) -> None:
        """Go on when all ranks have come here."""
        self.sum(0.0)

    def same(self, what: str, value: str) -> None:
        """Raise ValueError, on all ranks, where they do not all have the same `value`."""
        if self.size == 1:
            return
        values: list[str | None] = [None] * self.size
        distributed.all_gather_object(values, value)
        differing = [str(rank) for rank, other in enumerate(values) if other != values[0]]
        if differing:
            raise ValueError(
                f"{what} is not the same for all processes: rank {', '.join(differing)} of 0 to "
                f"{self.size - 1} differs from rank 0; give all of them the same files and settings"
            )


ALONE = Ranks()


@contextmanager
def joined() -> Iterator[Ranks]:
    """Yield the ranks of torchrun's environment, in whose process group this block runs, or ALONE.

    Each process takes the GPU of its local rank. Raises RuntimeError where they can't meet, as
    where the port is in use.
    """
    if "WORLD_SIZE" not in os.environ:
        yield ALONE
        return
    device = get_device()
    if device.type == "cuda":
        local, gpus = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
        if local >= gpus:
            raise RuntimeError(
                f"there are {gpus} GPUs for more processes; start as many as there are GPUs, or "
                "set CUDA_VISIBLE_DEVICES to nothing to work without"
            )
        torch.cuda.set_device(local)
    store, number, size = next(distributed.rendezvous("env://"))
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        # torchrun's own store outlives a restart, and with it the addresses of killed processes
        attempt = os.environ["TORCHELASTIC_RESTART_COUNT"]
        store = distributed.PrefixStore(f"attempt {attempt}", store)
    backend = "nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, store=store, rank=number, world_size=size)
    try:
        yield Ranks(number, size)
    finally:
        distributed.destroy_process_group()


class TrainedPart(nn.Module):
    """The blocks of `model` from `num_blocks` on, its final norm and its head; None: all of it.

    It shares its parameters with the model.
    """

    def __init__(self, model: GPTModel, num_blocks: int | None):
        super().__init__()
        self._embed = None
        if num_blocks is None:
            self._embed = model.embed
            self.tok_emb, self.pos_emb = model.tok_emb, model.pos_emb
        blocks = list(model.trf_blocks)
        self.blocks = nn.ModuleList(
            _Block(block, is_last=block is blocks[-1]) for block in blocks[num_blocks or 0 :]
        )
        self.final_norm, self.out_head = model.final_norm, model.out_head

    def forward(self, x: torch.Tensor, places: torch.Tensor | None) -> torch.Tensor:
        """Return the logits at `places` (b,), (b, num_classes), as `frozen_cache.logits_at` does.

        `x` is what the first block here takes, (b, n, emb_dim), or, where the embeddings belong to
        this part, token ids (b, n).
        """
        if self._embed is not None:
            x = self._embed(x)
        for block in self.blocks:
            x = block(x, places)
        return self.out_head(self.final_norm(x).mean(dim=1))


class _Block(nn.Module):
    """A block as `run_block` runs it: a module of its own, so that its call gathers its weights."""

    def __init__(self, block: nn.Module, is_last: bool):
        super().__init__()
        self.block, self.is_last = block, is_last

    def forward(self, x: torch.Tensor, places: torch.Tensor | None) -> torch.Tensor:
        x = run_block(self.block, x, places if self.is_last else None)
        return x.clone() if self.is_last else x  # FSDP wants no view of another tensor


def shared(part: TrainedPart, ranks: Ranks, shard: bool) -> nn.Module:
    """Return `part` as the ranks train it together: each with all of it, or, with `shard`, a share.

    What backward leaves is the mean of the ranks' gradients. With `shard` the parameters become
    shards in place, until `make_whole`; alone nothing is changed.
    """
    if ranks.size == 1:
        return part
    if not shard:
        return DistributedDataParallel(part)
    from torch.distributed import init_device_mesh
    from torch.distributed.fsdp import fully_shard  # slow to import

    device = next(part.parameters()).device
    mesh = init_device_mesh(device.type, (ranks.size,))
    for block in part.blocks:
        fully_shard(block, mesh=mesh)
    return fully_shard(part, mesh=mesh)


@torch.no_grad()
def make_whole(part: nn.Module) -> None:
    """Give each rank all of the weights again; where none is sharded, nothing is changed."""
    for module in list(part.modules()):
        if hasattr(module, "reshard"):  # the last forward pass may have left them gathered
            module.reshard()
    for module in list(part.modules()):
        for name, parameter in list(module.named_parameters(recurse=False)):
            if hasattr(parameter, "full_tensor"):  # a shard
                whole = nn.Parameter(parameter.full_tensor(), parameter.requires_grad)
                setattr(module, name, whole)


OF, HISTORY = "of.json", "history.json"


EPOCH = "epoch-"


class EpochCheckpoint:
    """The last whole epoch of one training, in `folder`.

    `of` says which training it is: names and texts, such as settings and checksums. Raises
    ValueError where the folder holds another one's.
    """

    def __init__(self, folder: str | Path, of: dict[str, str], ranks: Ranks = ALONE):
        instance_of("of", of, dict, "a dictionary of texts")
        self.folder, self.of, self.ranks = Path(folder), of, ranks
        differing = self._differing()
        ranks.wait()  # nobody writes before all have looked
        if differing:
            raise ValueError(
                f"{self.folder} holds the last epoch of another training (it differs in: "
                f"{', '.join(differing)}); delete the folder, or go on with that one's settings"
            )
        if ranks.is_first:
            with whole_file(self.folder / OF) as part:
                part.write_text(json.dumps(of), encoding="utf-8")

    def _differing(self) -> list[str]:
        path = self.folder / OF
        if not path.exists():
            return []
        try:
            there = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            return [f"{OF}, which can't be read"]
        return [name for name in {**self.of, **there} if self.of.get(name) != there.get(name)]

    def epochs(self) -> int:
        """Return how many whole epochs are in the folder."""
        return max((int(path.name.removeprefix(EPOCH)) for path in self._whole()), default=0)

    def _whole(self) -> list[Path]:
        found = self.folder.glob(f"{EPOCH}*")
        return [path for path in found if path.name.removeprefix(EPOCH).isdecimal()]

    def save(self, part: nn.Module, optimizer: torch.optim.Optimizer, history: "History") -> None:
        """Write the epoch that has just ended, and delete the one before.

        Raises OSError where it can't be written; then the one before is still there.
        """
        with _uninterrupted():
            self._save(part, optimizer, history)

    def _save(self, part: nn.Module, optimizer: torch.optim.Optimizer, history: "History") -> None:
        from torch.distributed import checkpoint  # slow to import

        epoch = self.folder / f"{EPOCH}{len(history.val_accs)}"
        new = epoch.with_name(f"{epoch.name}.part")
        state = _state(part, optimizer)
        try:
            with _as_one_process(self.ranks) as options:
                checkpoint.save(state, checkpoint_id=new, **options)
        except checkpoint.CheckpointException as error:
            raise OSError(f"{new} can't be written ({_reason(error)})") from error
        if self.ranks.is_first:
            (new / HISTORY).write_text(json.dumps(asdict(history)), encoding="utf-8")
            older = self._whole()
            new.rename(epoch)
            for path in older:
                shutil.rmtree(path)
        self.ranks.wait()

    def load(self, part: nn.Module, optimizer: torch.optim.Optimizer, history: "History") -> int:
        """Put the last whole epoch into all three; return how many epochs there were.

        Raises ValueError for a folder that can't be read.
        """
        from torch.distributed import checkpoint  # slow to import
        from torch.distributed.checkpoint.state_dict import set_state_dict

        epochs = self.epochs()
        if not epochs:
            return 0
        epoch = self.folder / f"{EPOCH}{epochs}"
        state = _state(part, optimizer)
        try:
            with _as_one_process(self.ranks) as options:
                checkpoint.load(state, checkpoint_id=epoch, **options)
            figures = json.loads((epoch / HISTORY).read_text(encoding="utf-8"))
        except (checkpoint.CheckpointException, OSError, ValueError) as error:
            raise ValueError(
                f"{epoch} can't be read ({_reason(error)}); delete {self.folder}"
            ) from error
        set_state_dict(
            part,
            optimizer,
            model_state_dict=state["weights"],
            optim_state_dict=state["optimizer"],
            options=_only_what_is_trained(),
        )
        for name in ("step_losses", "train_accs", "val_losses", "val_accs"):
            setattr(history, name, figures[name])
        return epochs

    def delete(self) -> None:
        """Delete the folder; the training has ended, and its model is saved elsewhere."""
        self.ranks.wait()
        if self.ranks.is_first:
            with suppress(FileNotFoundError):
                shutil.rmtree(self.folder)


def _reason(error: BaseException) -> str:
    """Return why a checkpoint failed, in one line; torch tells it for each process."""
    failures = getattr(error, "failures", None)
    if failures is None:
        return str(error)
    return ", ".join(sorted({repr(failure) for failure, _ in failures.values()}))


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let a Ctrl-C wait until this block has ended: torch can't close what is half written."""
    if threading.current_thread() is not threading.main_thread():  # which alone hears of one
        yield
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)
    if came:
        raise KeyboardInterrupt


@contextmanager
def _as_one_process(ranks: Ranks) -> Iterator[dict]:
    """Yield the options with which torch asks no other process where there is none."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # as is meant
        yield {"no_dist": ranks.size == 1}


def _only_what_is_trained():
    from torch.distributed.checkpoint.state_dict import StateDictOptions

    return StateDictOptions(ignore_frozen_params=True, strict=False)


def _state(part: nn.Module, optimizer: torch.optim.Optimizer) -> dict:
    """Return weights and the optimizer's numbers by name, as `torch.distributed.checkpoint` wants."""
    from torch.distributed.checkpoint.state_dict import get_state_dict

    weights, numbers = get_state_dict(part, optimizer, options=_only_what_is_trained())
    return {"weights": weights, "optimizer": numbers}
