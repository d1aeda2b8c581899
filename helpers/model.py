"""GPT-2, with the attribute names of the book's chapters 3 and 4.

Radford et al. 2019; `src/model.py` of OpenAI's gpt-2 repository. A decoder-only transformer
(Vaswani et al. 2017) that normalises before each sub-layer and once more after the last block. In
the comments b is the batch size, n the number of tokens, d = emb_dim and h the number of heads.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from helpers.checks import whole_number


class LayerNorm(nn.Module):
    """Bring each token's vector to mean 0 and variance 1, scale and shift it: (b, n, d) → same."""

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
    """Two linear layers with GELU between, for each token by itself: (b, n, d) → same."""

    def __init__(self, cfg):
        super().__init__()
        d = cfg["emb_dim"]
        self.layers = nn.Sequential(nn.Linear(d, 4 * d), GELU(), nn.Linear(4 * d, d))

    def forward(self, x):
        return self.layers(x)


class MultiHeadAttention(nn.Module):
    """Each token attends to itself and the tokens before it: (b, n, d) → same.

    With `causal` False it attends to the tokens after it, too.
    """

    def __init__(self, cfg):
        super().__init__()
        d = cfg["emb_dim"]
        self.num_heads = cfg["n_heads"]
        self.causal = True
        self.W_query = nn.Linear(d, d, bias=cfg["qkv_bias"])
        self.W_key = nn.Linear(d, d, bias=cfg["qkv_bias"])
        self.W_value = nn.Linear(d, d, bias=cfg["qkv_bias"])
        self.out_proj = nn.Linear(d, d)
        self.dropout = nn.Dropout(cfg["drop_rate"])
        self.register_load_state_dict_pre_hook(self._drop_stored_mask)

    @staticmethod
    def _drop_stored_mask(module, state_dict, prefix, *_):
        """Remove the causal mask, which the book's model stores and this one makes when needed."""
        state_dict.pop(prefix + "mask", None)

    def forward(self, x):
        b, n, d = x.shape

        def split_heads(t):  # (b, n, d) → (b, h, n, d / h)
            return t.view(b, n, self.num_heads, d // self.num_heads).transpose(1, 2)

        queries, keys = split_heads(self.W_query(x)), split_heads(self.W_key(x))
        values = split_heads(self.W_value(x))
        scores = queries @ keys.transpose(2, 3) / math.sqrt(d // self.num_heads)  # (b, h, n, n)
        if self.causal:  # the mask: no token sees what follows it
            future = torch.ones(n, n, dtype=torch.bool, device=x.device).triu(diagonal=1)
            scores = scores.masked_fill(future, -torch.inf)
        weights = scores.softmax(dim=-1)  # each row sums to 1
        context = self.dropout(weights) @ values  # (b, h, n, d / h)
        return self.out_proj(context.transpose(1, 2).reshape(b, n, d))  # heads side by side again


class TransformerBlock(nn.Module):
    """Attention, then feed-forward, each added to its input: (b, n, d) → same."""

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


class GPTModel(nn.Module):
    """GPT-2 of the sizes in `cfg`: token ids (b, n) → logits (b, n, vocab_size).

    `cfg` is a dictionary such as `config.gpt_config` returns. The weights are random until
    `loading.load_weights_into_gpt` replaces them. As in the book, `out_head` has its own weights,
    which become a copy of `tok_emb`'s when a checkpoint is loaded. Raises KeyError for a
    configuration that lacks a key, ValueError for an impossible size.
    """

    def __init__(self, cfg):
        super().__init__()
        cfg = dict(cfg)
        for size in ("vocab_size", "context_length", "emb_dim", "n_heads", "n_layers"):
            cfg[size] = whole_number(size, cfg[size])
        if cfg["emb_dim"] % cfg["n_heads"]:
            raise ValueError(
                f"emb_dim={cfg['emb_dim']} can't be split evenly among n_heads={cfg['n_heads']}; "
                "choose a number of heads that divides it"
            )
        self.cfg = cfg
        self.tok_emb = _embedding(cfg["vocab_size"], cfg["emb_dim"])
        self.pos_emb = _embedding(cfg["context_length"], cfg["emb_dim"])
        self.drop_emb = nn.Dropout(cfg["drop_rate"])
        self.trf_blocks = nn.Sequential(*(TransformerBlock(cfg) for _ in range(cfg["n_layers"])))
        self.final_norm = LayerNorm(cfg["emb_dim"])
        self.out_head = nn.Linear(cfg["emb_dim"], cfg["vocab_size"], bias=False)

    def forward(self, in_idx):
        """Return the logits (b, n, out_head.out_features) of token ids (b, n).

        Raises what `embed` raises.
        """
        x = self.trf_blocks(self.embed(in_idx))  # (b, n, d)
        return self.out_head(self.final_norm(x))  # (b, n, vocab_size), or (b, n, num_classes)

    def embed(self, in_idx):
        """Return the first block's input (b, n, d) for token ids (b, n).

        Raises ValueError for another number of dimensions, for no tokens, and for more of them than
        `context_length`.
        """
        if in_idx.ndim != 2 or in_idx.shape[1] == 0:
            shape = tuple(in_idx.shape)
            raise ValueError(f"token ids must have the shape (batch, num_tokens), not {shape}")
        num_tokens, limit = in_idx.shape[1], self.pos_emb.num_embeddings
        if num_tokens > limit:
            raise ValueError(
                f"{num_tokens} tokens are more than the context length of {limit}; cut the text"
            )
        positions = torch.arange(num_tokens, device=in_idx.device)
        return self.drop_emb(self.tok_emb(in_idx) + self.pos_emb(positions))  # (b, n, d)


def _embedding(num_embeddings: int, emb_dim: int) -> nn.Embedding:
    """Return a random embedding; on the meta device one without values."""
    weight = torch.empty(num_embeddings, emb_dim)
    if weight.is_meta:  # nn.Embedding's normal_ takes torch a second there, more than a whole load
        return nn.Embedding.from_pretrained(weight, freeze=False)
    return nn.Embedding(num_embeddings, emb_dim)


def without_causal_mask(model: GPTModel) -> GPTModel:
    """Return `model`, changed in place so that each token attends to all others.

    One of the additional experiments in the book's repository, ch06/02.
    """
    for block in model.trf_blocks:
        block.att.causal = False
    return model


def has_causal_mask(model: GPTModel) -> bool:
    """Return whether no token attends to a later one, in any block."""
    return all(block.att.causal for block in model.trf_blocks)


def part_names(n_layers: int) -> tuple[str, ...]:
    """Return the names of a model's parts, in the order of the forward pass."""
    blocks = (f"trf_blocks.{i}" for i in range(n_layers))
    return ("tok_emb", "pos_emb", *blocks, "final_norm", "out_head")


@torch.no_grad()
def generate_text_simple(model, idx, max_new_tokens, context_size):
    """Return token ids with the most likely next tokens appended: (b, n) → (b, n + max_new_tokens).

    The model sees the last `context_size` tokens.
    """
    for _ in range(max_new_tokens):
        logits = model(idx[:, -context_size:])[:, -1, :]  # (b, vocab_size)
        idx = torch.cat((idx, logits.argmax(dim=-1, keepdim=True)), dim=1)
    return idx
