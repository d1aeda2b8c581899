"""The trial of appendix 6.D: the output of the frozen layers."""

import torch

from helpers.config import BASE_CONFIG
from helpers.model import GPTModel
from workshop.exercises.mistakes import Exercise, expect

TINY = BASE_CONFIG | {"vocab_size": 7, "context_length": 9, "emb_dim": 4, "n_heads": 2}


def frozen_output(model, token_ids) -> torch.Tensor:
    """Return the last block's input (b, n, emb_dim) for token ids (b, n)."""
    return model.trf_blocks[:-1](model.embed(token_ids))


def in_parallel(model, token_ids) -> torch.Tensor:
    """Return the output of the last frozen block, given the embeddings as its input."""
    return model.trf_blocks[-2](model.embed(token_ids))


def with_input_added(model, token_ids) -> torch.Tensor:
    """Return the output of the frozen blocks where each block's input is added once more."""
    x = model.embed(token_ids)
    for block in model.trf_blocks[:-1]:
        x = x + block(x)
    return x


def with_batch_positions(model, token_ids) -> torch.Tensor:
    """Return the output of the frozen blocks where each row has one position, its number."""
    positions = torch.arange(len(token_ids))[:, None]
    return model.trf_blocks[:-1](model.tok_emb(token_ids) + model.pos_emb(positions))


FROZEN_MISTAKES = (
    (
        "that is the output of all blocks. The last one is trained, so leave it out: "
        "`model.trf_blocks[:-1]`.",
        lambda model, ids: model.trf_blocks(model.embed(ids)),
    ),
    (
        "you left out the first block. The one to leave out is the last, which is trained.",
        lambda model, ids: model.trf_blocks[1:](model.embed(ids)),
    ),
    ("that is the output of the embeddings. The frozen blocks come next.",
     lambda model, ids: model.embed(ids)),
    ("you gave the embeddings to each block. A block takes the output of the block before it.",
     in_parallel),
    ("a block already adds its input to what it computes. Write `x = block(x)`.", with_input_added),
    ("the positional embeddings are missing.",
     lambda model, ids: model.trf_blocks[:-1](model.tok_emb(ids))),
    ("`pos_emb` takes the positions 0, 1, 2, …, and not the token ids.",
     lambda model, ids: model.trf_blocks[:-1](model.tok_emb(ids) + model.pos_emb(ids))),
    ("you counted the positions along the batch. The number of tokens is `token_ids.shape[1]`.",
     with_batch_positions),
    ("`final_norm` comes after the last block, and it is trained. Leave it out.",
     lambda model, ids: model.final_norm(frozen_output(model, ids))),
    ("those are the logits of the whole model. Return the input of its last block.",
     lambda model, ids: model(ids)),
    ("that is the last position only. The last block's attention uses all positions.",
     lambda model, ids: frozen_output(model, ids)[:, -1]),
)  # fmt: skip


def models_with_token_ids() -> list[tuple]:
    """Return two models of different depths, each with token ids (b, n)."""
    cases = []
    for n_layers, shape in ((3, (2, 5)), (4, (1, 3)), (3, (3, 5))):
        with torch.random.fork_rng():
            torch.manual_seed(n_layers + shape[0])
            model = GPTModel(TINY | {"n_layers": n_layers}).eval()
            cases.append((model, torch.randint(7, shape)))
    return cases


@torch.no_grad()
def try_frozen_output(solve) -> str:
    """`solve` takes a model and token ids (b, n); it returns the last block's input."""
    expect(solve, models_with_token_ids(), frozen_output, FROZEN_MISTAKES)
    return "three models of three or four blocks"


EXERCISES = {
    "6.D output of the frozen layers": Exercise(try_frozen_output, frozen_output),
}
