"""GPT-2, with the attribute names of the book's chapters 3 and 4.

Radford et al. 2019; `src/model.py` of OpenAI's gpt-2 repository. A decoder-only transformer
(Vaswani et al. 2017) that normalises before each sub-layer and once more after the last block. In
the comments b is the batch size, n the number of tokens, d = emb_dim and h the number of heads.
"""

import math
from numbers import Integral

import torch
from torch import nn
from torch.nn import functional as F


class LayerNorm(nn.Module):
    """Normalise each token's vector to mean 0 and variance 1, then scale and shift: (b, n, d) →
    same.
    """

    def __init__(self, emb_dim):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(emb_dim))
        self.shift = nn.Parameter(torch.zeros(emb_dim))

    def forward(self, x):
        return F.layer_norm(x, self.scale.shape, self.scale, self.shift, eps=1e-5)


class GELU(nn.Module):
    """Hendrycks & Gimpel 2016, in the tanh form that GPT-2 was trained with."""

    def forward(self, x):
        return F.gelu(x, approximate="tanh")


class FeedForward(nn.Module):
    """Each token on its own: widen fourfold, bend, narrow again: (b, n, d) → same."""

    def __init__(self, cfg):
        super().__init__()
        d = cfg["emb_dim"]
        self.layers = nn.Sequential(nn.Linear(d, 4 * d), GELU(), nn.Linear(4 * d, d))

    def forward(self, x):
        return self.layers(x)


class MultiHeadAttention(nn.Module):
    """Each token gathers from itself and the tokens before it: (b, n, d) → same."""

    def __init__(self, cfg):
        super().__init__()
        d = cfg["emb_dim"]
        self.num_heads = cfg["n_heads"]
        self.W_query = nn.Linear(d, d, bias=cfg["qkv_bias"])
        self.W_key = nn.Linear(d, d, bias=cfg["qkv_bias"])
        self.W_value = nn.Linear(d, d, bias=cfg["qkv_bias"])
        self.out_proj = nn.Linear(d, d)
        self.dropout = nn.Dropout(cfg["drop_rate"])
        self.register_load_state_dict_pre_hook(self._drop_stored_mask)

    @staticmethod
    def _drop_stored_mask(module, state_dict, prefix, *_):
        """The book's model stores its causal mask; here it is made when needed."""
        state_dict.pop(prefix + "mask", None)

    def forward(self, x):
        b, n, d = x.shape

        def split_heads(t):  # (b, n, d) → (b, h, n, d / h)
            return t.view(b, n, self.num_heads, d // self.num_heads).transpose(1, 2)

        queries, keys, values = (
            split_heads(self.W_query(x)),
            split_heads(self.W_key(x)),
            split_heads(self.W_value(x)),
        )
        scores = queries @ keys.transpose(2, 3) / math.sqrt(d // self.num_heads)  # (b, h, n, n)
        future = torch.ones(n, n, dtype=torch.bool, device=x.device).triu(
            diagonal=1
        )  # the causal mask
        weights = self.dropout(
            scores.masked_fill(future, -torch.inf).softmax(dim=-1)
        )  # each row sums to 1
        context = (weights @ values).transpose(1, 2).reshape(b, n, d)  # heads side by side again
        return self.out_proj(context)

    def at(self, x, positions):
        """What `forward` puts out at one position of each message: (b, n, d), positions (b,) → (b,
        d).

        The matrices of keys and values need not meet all n tokens. A score q · (W x) is (q W) · x,
        so the key matrix meets the one query; and the weighted sum of the values W x is W times the
        weighted sum of the x.
        """
        b, n, d = x.shape
        split = (self.num_heads, d // self.num_heads)  # (h, m)
        key_matrix, value_matrix = (
            self.W_key.weight.view(*split, d),
            self.W_value.weight.view(*split, d),
        )
        query = self.W_query(x[torch.arange(b), positions]).view(b, *split)  # (b, h, m)
        scores = torch.einsum("bhm,hmd->bhd", query, key_matrix) @ x.transpose(1, 2)  # (b, h, n)
        if (
            self.W_key.bias is not None
        ):  # the same for all tokens of a message, so softmax does not see it
            scores = scores + torch.einsum(
                "bhm,hm->bh", query, self.W_key.bias.view(split)
            ).unsqueeze(-1)
        future = torch.arange(n, device=x.device) > positions.unsqueeze(1)  # (b, n)
        scores = scores.masked_fill(future.unsqueeze(1), -torch.inf) / math.sqrt(split[1])
        weights = self.dropout(scores.softmax(dim=-1))  # (b, h, n)
        context = torch.einsum("bhd,hmd->bhm", weights @ x, value_matrix)  # (b, h, m)
        if self.W_value.bias is not None:
            context = context + weights.sum(dim=-1, keepdim=True) * self.W_value.bias.view(split)
        return self.out_proj(context.reshape(b, d))


class TransformerBlock(nn.Module):
    """Attention, then feed-forward, each added to what came in: (b, n, d) → same."""

    def __init__(self, cfg):
        super().__init__()
        self.att = MultiHeadAttention(cfg)
        self.ff = FeedForward(cfg)
        self.norm1 = LayerNorm(cfg["emb_dim"])
        self.norm2 = LayerNorm(cfg["emb_dim"])
        self.drop_resid = nn.Dropout(cfg["drop_rate"])

    def forward(self, x):
        x = x + self.drop_resid(self.att(self.norm1(x)))
        return x + self.drop_resid(self.ff(self.norm2(x)))

    def at(self, x, positions):
        """What `forward` puts out at one position of each message: (b, n, d), positions (b,) → (b,
        d).
        """
        one = x[torch.arange(len(x)), positions] + self.drop_resid(
            self.att.at(self.norm1(x), positions)
        )
        return one + self.drop_resid(self.ff(self.norm2(one)))


class GPTModel(nn.Module):
    """GPT-2 for the configuration `cfg` (see `config.gpt_config`): token ids (b, n) → logits (b, n,
    vocab_size).

    The weights are random until `loading.load_weights_into_gpt` puts a checkpoint's into them. As
    in the book, `out_head` has weights of its own, which start as a copy of `tok_emb`'s when a
    checkpoint is loaded. Raises ValueError for a configuration that lacks a key or whose `n_heads`
    does not divide `emb_dim`.
    """

    CONFIG_KEYS = {
        "vocab_size",
        "context_length",
        "emb_dim",
        "n_heads",
        "n_layers",
        "drop_rate",
        "qkv_bias",
    }

    def __init__(self, cfg):
        super().__init__()
        if missing := self.CONFIG_KEYS - cfg.keys():
            raise ValueError(
                f"the configuration lacks {', '.join(sorted(missing))}; see helpers.config.gpt_config"
            )
        for size in ("vocab_size", "context_length", "emb_dim", "n_heads", "n_layers"):
            if not isinstance(cfg[size], Integral) or cfg[size] < 1:
                raise ValueError(f"{size} must be a whole number from 1, not {cfg[size]!r}")
        if cfg["emb_dim"] % cfg["n_heads"]:
            raise ValueError(
                f"emb_dim={cfg['emb_dim']} can't be split evenly among n_heads={cfg['n_heads']}; "
                "choose a number of heads that divides it"
            )
        self.cfg = dict(cfg)
        self.tok_emb = _embedding(cfg["vocab_size"], cfg["emb_dim"])
        self.pos_emb = _embedding(cfg["context_length"], cfg["emb_dim"])
        self.drop_emb = nn.Dropout(cfg["drop_rate"])
        self.trf_blocks = nn.Sequential(*(TransformerBlock(cfg) for _ in range(cfg["n_layers"])))
        self.final_norm = LayerNorm(cfg["emb_dim"])
        self.out_head = nn.Linear(cfg["emb_dim"], cfg["vocab_size"], bias=False)

    def forward(self, in_idx):
        """Map token ids (b, n), int64 or int32, to logits (b, n, out_head.out_features).

        Raises what `embed` raises.
        """
        x = self.trf_blocks(self.embed(in_idx))  # (b, n, d)
        return self.out_head(self.final_norm(x))  # (b, n, vocab_size), or (b, n, num_classes)

    def embed(self, in_idx):
        """Map token ids (b, n), int64 or int32, to what goes into the first block, (b, n, d).

        Raises TypeError for another dtype, ValueError for another number of dimensions, for no
        tokens, and for more tokens than `context_length`.
        """
        if in_idx.dtype not in (torch.int64, torch.int32):
            raise TypeError(
                f"token ids must be int64 or int32, not {in_idx.dtype}; use tensor.long()"
            )
        if in_idx.ndim != 2 or in_idx.shape[1] == 0:
            raise ValueError(
                f"token ids must have the shape (batch, num_tokens), not {tuple(in_idx.shape)}"
            )
        num_tokens, limit = in_idx.shape[1], self.pos_emb.num_embeddings
        if num_tokens > limit:
            raise ValueError(
                f"{num_tokens} tokens are more than the context length of {limit}; cut the text"
            )

        positions = torch.arange(num_tokens, device=in_idx.device)
        return self.drop_emb(self.tok_emb(in_idx) + self.pos_emb(positions))  # (b, n, d)

    def run_blocks(self, x, positions, start=0, stop=None):
        """Run blocks start … stop - 1 on (b, n, d), with one token of each message in mind, at
        `positions` (b,).

        Below the last block all tokens go on, (b, n, d); the last block answers for that one token:
        (b, 1, d).
        """
        stop = len(self.trf_blocks) if stop is None else stop
        for block in self.trf_blocks[start : min(stop, len(self.trf_blocks) - 1)]:
            x = block(x)
        return (
            self.trf_blocks[-1].at(x, positions).unsqueeze(1)
            if start < stop == len(self.trf_blocks)
            else x
        )

    def logits_at(self, x, positions, start=0):
        """Map what goes into block `start`, (b, n, d), to the logits at `positions` (b,): (b,
        num_classes).
        """
        return self.out_head(self.final_norm(self.run_blocks(x, positions, start)))[:, 0]


def _embedding(num_embeddings: int, emb_dim: int) -> nn.Embedding:
    """A random nn.Embedding; on the meta device one without values, since drawing them there takes
    a second.
    """
    shape = torch.empty(num_embeddings, emb_dim)
    return (
        nn.Embedding.from_pretrained(shape, freeze=False)
        if shape.is_meta
        else nn.Embedding(*shape.shape)
    )


def part_names(n_layers: int) -> tuple[str, ...]:
    """Return the parts of a model with `n_layers` blocks, in the order in which the forward pass
    meets them.
    """
    return (
        "tok_emb",
        "pos_emb",
        *(f"trf_blocks.{i}" for i in range(n_layers)),
        "final_norm",
        "out_head",
    )


@torch.no_grad()
def generate_text_simple(model, idx, max_new_tokens, context_size):
    """Append the likeliest next token `max_new_tokens` times: ids (b, n) → (b, n +
    max_new_tokens).
    """
    for _ in range(max_new_tokens):
        logits = model(idx[:, -context_size:])[:, -1, :]  # (b, vocab_size)
        idx = torch.cat((idx, logits.argmax(dim=-1, keepdim=True)), dim=1)
    return idx
