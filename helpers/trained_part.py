"""What runs in every step of a fine-tuning, as one module, which several processes can share.

Below it lies what is frozen and cached (see `frozen_cache`). Torch's own engines share a module
among processes: DistributedDataParallel, where each has all of the weights and their gradients are
averaged (Li et al. 2020, "PyTorch Distributed"), and `fully_shard`, where each keeps a part of
weights, gradients and the optimizer's numbers, and gathers a block's weights when the block runs
(Zhao et al. 2023, "PyTorch FSDP").
"""

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from helpers.frozen_cache import run_block
from helpers.model import GPTModel
from helpers.ranks import Ranks


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
