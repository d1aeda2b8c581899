"""GPT-2, with the attribute names of the book's chapters 3 and 4.

Radford et al. 2019; `src/model.py` of OpenAI's gpt-2 repository. A decoder-only transformer
(Vaswani et al. 2017) that normalises before each sub-layer and once more after the last block. In
the comments b is the batch size, n the number of tokens, d = emb_dim and h the number of heads.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from helpers.checks import finite_number, instance_of, whole_number


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
    """Each token on its own: widen fourfold, bend, narrow again: (b, n, d) → same."""

    def __init__(self, cfg):
        super().__init__()
        d = cfg["emb_dim"]
        self.layers = nn.Sequential(nn.Linear(d, 4 * d), GELU(), nn.Linear(4 * d, d))

    def forward(self, x):
        return self.layers(x)


class MultiHeadAttention(nn.Module):
    """Each token gathers from itself and the tokens before it: (b, n, d) → same.

    With `causal` False it gathers from those after it, too.
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
        """The book's model stores its causal mask; here it is made when needed."""
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


class GPTModel(nn.Module):
    """GPT-2 of the sizes in `cfg`: token ids (b, n) → logits (b, n, vocab_size).

    `cfg` is what `config.gpt_config` returns. The weights are random until
    `loading.load_weights_into_gpt` puts a checkpoint's into them. As in the book, `out_head` has
    weights of its own, which start as a copy of `tok_emb`'s when a checkpoint is loaded. Raises
    ValueError for a configuration that lacks a key, whose sizes are not whole numbers from 1, or
    whose `n_heads` does not divide `emb_dim`.
    """

    SIZES = ("vocab_size", "context_length", "emb_dim", "n_heads", "n_layers")

    def __init__(self, cfg):
        super().__init__()
        instance_of("cfg", cfg, dict, "the dictionary of config.gpt_config")
        if missing := {*self.SIZES, "drop_rate", "qkv_bias"} - cfg.keys():
            named = ", ".join(sorted(missing))
            raise ValueError(f"the configuration lacks {named}; see helpers.config.gpt_config")
        self.cfg = cfg = dict(cfg) | {size: whole_number(size, cfg[size]) for size in self.SIZES}
        finite_number("drop_rate", cfg["drop_rate"], inclusive=True, most=1.0)
        if cfg["emb_dim"] % cfg["n_heads"]:
            raise ValueError(
                f"emb_dim={cfg['emb_dim']} can't be split evenly among n_heads={cfg['n_heads']}; "
                "choose a number of heads that divides it"
            )
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

        Raises TypeError for another dtype; ValueError for another number of dimensions, for no
        tokens, for more of them than `context_length`, and for an id outside the vocabulary.
        """
        if not torch.compiler.is_compiling():  # torch.compile can't look at values
            self._check_token_ids(in_idx)
        positions = torch.arange(in_idx.shape[1], device=in_idx.device)
        return self.drop_emb(self.tok_emb(in_idx) + self.pos_emb(positions))  # (b, n, d)

    def _check_token_ids(self, in_idx):
        instance_of("token ids", in_idx, torch.Tensor, "a torch.Tensor")
        if in_idx.dtype not in (torch.int64, torch.int32):
            raise TypeError(f"token ids must be int64 or int32, not {in_idx.dtype}; use .long()")
        if in_idx.ndim != 2 or in_idx.shape[1] == 0:
            shape = tuple(in_idx.shape)
            raise ValueError(f"token ids must have the shape (batch, num_tokens), not {shape}")
        num_tokens, limit = in_idx.shape[1], self.pos_emb.num_embeddings
        if num_tokens > limit:
            raise ValueError(
                f"{num_tokens} tokens are more than the context length of {limit}; cut the text"
            )
        if in_idx.is_meta or not in_idx.numel():
            return  # there are no values to look at
        lowest, highest = (bound.item() for bound in in_idx.aminmax())
        if lowest < 0 or highest >= self.tok_emb.num_embeddings:
            raise ValueError(
                f"there is no token {lowest if lowest < 0 else highest}: the vocabulary has the "
                f"ids 0 to {self.tok_emb.num_embeddings - 1}; is it this model's tokenizer?"
            )


def _embedding(num_embeddings: int, emb_dim: int) -> nn.Embedding:
    """A random embedding; on the meta device one without values, as drawing them takes a second."""
    shape = torch.empty(num_embeddings, emb_dim)
    if shape.is_meta:
        return nn.Embedding.from_pretrained(shape, freeze=False)
    return nn.Embedding(num_embeddings, emb_dim)


def without_causal_mask(model: GPTModel) -> GPTModel:
    """Let each token of `model` see all others, in place; return it.

    One of the additional experiments in the book's repository, ch06/02.
    """
    for block in model.trf_blocks:
        block.att.causal = False
    return model


def has_causal_mask(model: GPTModel) -> bool:
    """Say whether no token sees what follows it, in any block."""
    return all(block.att.causal for block in model.trf_blocks)


def part_names(n_layers: int) -> tuple[str, ...]:
    """Return the parts of a model with `n_layers` blocks, in the order of the forward pass."""
    blocks = (f"trf_blocks.{i}" for i in range(n_layers))
    return ("tok_emb", "pos_emb", *blocks, "final_norm", "out_head")


@torch.no_grad()
def generate_text_simple(model, idx, max_new_tokens, context_size):
    """Append the likeliest next token, again and again: (b, n) → (b, n + max_new_tokens).

    The model sees the last `context_size` tokens. Raises ValueError where a number is below 0 or 1.
    """
    instance_of("idx", idx, torch.Tensor, "a torch.Tensor")
    whole_number("max_new_tokens", max_new_tokens, 0)
    whole_number("context_size", context_size)
    for _ in range(max_new_tokens):
        logits = model(idx[:, -context_size:])[:, -1, :]  # (b, vocab_size)
        idx = torch.cat((idx, logits.argmax(dim=-1, keepdim=True)), dim=1)
    return idx
