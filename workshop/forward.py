"""A model's layers run on many messages in less time, and the frozen ones only once.

Each message runs only as far as its logits depend on it: the last block computes one position, and
under the causal mask no token after it runs. Messages of similar lengths run in one batch.
`fast_logits` classifies many texts. `Messages` also caches the output of frozen layers, which have
the same numbers for a message in every epoch.

In the comments b is the batch size, n the number of tokens, d = emb_dim, h the number of heads and
m = d / h.
"""

import hashlib
import timeit
from collections.abc import Generator, Iterator, Sequence
from functools import cache

import torch
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from helpers.checks import one_of
from helpers.classify import NOT_FINITE, TextClassifier
from helpers.freezing import FreezePlan, frozen_blocks
from helpers.lora import adapters_in, effective_weight
from helpers.model import GPTModel, MultiHeadAttention, TransformerBlock, has_causal_mask
from helpers.training import POSITIONS, TrainingSettings, classifying_place, mean_of_tokens
from workshop.processes import ALONE, Processes

TOKENS_AT_ONCE = 2048  # in one forward pass without gradients
TOKENS_ON_CPU = 512  # the numbers that a block computes stay in the processor's cache: 20 % faster
MEASURED_AT_ONCE = 32  # messages
CACHE_LIMIT = 2**32  # bytes of all cached outputs


# --- precision ------------------------------------------------------------------------------------


def precision_on(device: torch.device, precision: str) -> str:
    """Return `precision`, or what is faster on `device` in the place of "bfloat16".

    That is "float32" on a processor that is slower in bfloat16, and "float16" on a CUDA GPU that
    would only emulate bfloat16, those before Ampere.
    """
    if precision == "bfloat16":
        if device.type == "cpu" and not bfloat16_is_faster():
            return "float32"
        if device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0):
            return "float16"
    return precision


@cache
def bfloat16_is_faster() -> bool:
    """Return whether this processor multiplies matrices faster in bfloat16 than in float32.

    That is measured once: some processors have instructions for bfloat16 and are slower with them.
    """
    seconds = {}
    for name in ("float32", "bfloat16"):
        setup = f"import torch; matrix = torch.ones(768, 768, dtype=torch.{name})"
        seconds[name] = min(timeit.repeat("matrix @ matrix", setup, number=1, repeat=6))
    # the conversion to bfloat16 takes time as well
    return seconds["bfloat16"] < 0.9 * seconds["float32"]


# --- messages in batches --------------------------------------------------------------------------


def in_batches_by_length(lengths: Sequence[int], most: int | None = None) -> list[list[int]]:
    """Return the messages' indices in batches of similar lengths, of `most` tokens with padding.

    `most` is TOKENS_AT_ONCE unless it is given. A longer message is a batch of its own.
    """
    most = most or TOKENS_AT_ONCE
    batches = []
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        if not batches or (len(batches[-1]) + 1) * lengths[i] > most:
            batches.append([])
        batches[-1].append(i)
    return batches


# --- blocks ---------------------------------------------------------------------------------------


def attention_at(
    attention: MultiHeadAttention, x: torch.Tensor, positions: torch.Tensor
) -> torch.Tensor:
    """Return attention's output at one position of each message: (b, n, d), (b,) → (b, d).

    The matrices of keys and values need not be multiplied with all n tokens. A score q · (W x) is
    (q W) · x, so the key matrix is multiplied with the one query. The weighted sum of the values
    W x is W times the weighted sum of the x.
    """
    b, n, d = x.shape
    h, m = attention.num_heads, d // attention.num_heads
    key_matrix = effective_weight(attention.W_key).view(h, m, d)
    value_matrix = effective_weight(attention.W_value).view(h, m, d)

    query = attention.W_query(x[torch.arange(b), positions]).view(b, h, m)
    scores = torch.einsum("bhm,hmd->bhd", query, key_matrix) @ x.transpose(1, 2)  # (b, h, n)
    if attention.W_key.bias is not None:  # the same for all n tokens: no effect after softmax
        key_bias = attention.W_key.bias.view(h, m)
        scores = scores + torch.einsum("bhm,hm->bh", query, key_bias).unsqueeze(-1)
    if attention.causal:
        future = torch.arange(n, device=x.device) > positions.unsqueeze(1)  # (b, n)
        scores = scores.masked_fill(future.unsqueeze(1), -torch.inf)

    weights = attention.dropout((scores / m**0.5).softmax(dim=-1))  # (b, h, n)
    context = torch.einsum("bhd,hmd->bhm", weights @ x, value_matrix)
    if attention.W_value.bias is not None:
        value_bias = attention.W_value.bias.view(h, m)
        context = context + weights.sum(dim=-1, keepdim=True) * value_bias
    return attention.out_proj(context.reshape(b, d))


def block_at(block: TransformerBlock, x: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Return a block's output at one position of each message: (b, n, d), (b,) → (b, d)."""
    attended = attention_at(block.att, block.norm1(x), positions)
    x = x[torch.arange(len(x)), positions] + block.drop_resid(attended)
    return x + block.drop_resid(block.ff(block.norm2(x)))


def block_without_gradient(block: TransformerBlock, x: torch.Tensor) -> torch.Tensor:
    """Return a block's output in eval mode, (b, n, d) → (b, n, d), by torch's fused attention.

    It never holds all n × n attention weights, so it is faster where n is large. Only its backward
    pass is slower on a CPU. The output is the same up to rounding.
    """
    att = block.att
    b, n, d = x.shape
    normed = block.norm1(x)
    heads = [
        matrix(normed).view(b, n, att.num_heads, -1).transpose(1, 2)  # (b, h, n, m)
        for matrix in (att.W_query, att.W_key, att.W_value)
    ]
    context = F.scaled_dot_product_attention(*heads, is_causal=att.causal)
    x = x + att.out_proj(context.transpose(1, 2).reshape(b, n, d))
    return x + block.ff(block.norm2(x))


def run_blocks(
    model: GPTModel, x: torch.Tensor, positions: torch.Tensor | None, start: int, stop: int
) -> torch.Tensor:
    """Return the output of blocks `start` … `stop` - 1 for the input (b, n, d): (b, n, d).

    The last block of the model computes only `positions` (b,), (b, 1, d), unless they are None.
    """
    for number, block in enumerate(model.trf_blocks[start:stop], start):
        if number == len(model.trf_blocks) - 1 and positions is not None:
            x = block_at(block, x, positions).unsqueeze(1)
        elif block.training or torch.is_grad_enabled():
            x = block(x)
        else:
            x = block_without_gradient(block, x)
    return x


# --- the frozen layers run once -------------------------------------------------------------------

# what `cache_key` gives → each message's output, by its index: (num_tokens, emb_dim) float32
_cache = {}


def forget() -> None:
    """Free the memory of all cached outputs."""
    _cache.clear()


def cache_key(
    model: GPTModel, rows: dict[int, Sequence[int]], position: str, num_blocks: int, precision: str
) -> str:
    """Return a key for the messages' output of `num_blocks` blocks: all that it depends on.

    That is the messages, the precision, and the class, settings, weights and adapters of each
    module. The output of the model's last block depends on the position, too, and on being the last.
    """
    settings = precision, position, len(model.trf_blocks), rows
    digest = hashlib.sha256(repr(settings).encode())
    for part in (model.tok_emb, model.pos_emb, *model.trf_blocks[:num_blocks]):
        digest.update(repr(adapters_in(part)).encode())
        for module in part.modules():
            settings = {k: v for k, v in vars(module).items() if isinstance(v, int | float | str)}
            digest.update(repr((type(module), settings)).encode())
        for tensor in part.state_dict().values():
            digest.update(tensor.cpu().contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()


class Messages:
    """The messages of a data set for a model: their logits, and their `labels` (num_messages,).

    `rows` are the token ids that each message's logits depend on, and `positions` the index in each
    that classifies, None for a mean. `lengths` are the numbers of tokens without the padding, of
    which "mean_tokens" takes the mean, None for another position. Several processes share the
    messages: each computes only those of its `own` indices. Raises ValueError where padding would
    change the logits and the messages differ in length, and for an unknown position.
    """

    def __init__(
        self,
        model: GPTModel,
        token_ids: Sequence[Sequence[int]],
        position: str,
        labels: Sequence[int] = (),
        device: torch.device | None = None,
        processes: Processes = ALONE,
    ):
        one_of("position", position, POSITIONS)
        self.model, self.rows, self.position = model, token_ids, position
        self.positions = self.lengths = None
        if position == "mean_tokens":
            places = [classifying_place(row, "last_token") for row in token_ids]
            self.lengths = torch.tensor(places) + 1
        elif position != "mean":
            places = [classifying_place(row, position) for row in token_ids]
            self.positions = torch.tensor(places)
        if position != "mean" and has_causal_mask(model):
            # no later token changes the logits
            self.rows = [row[: i + 1] for row, i in zip(token_ids, places, strict=True)]
        elif len({len(row) for row in token_ids}) > 1:
            raise ValueError(
                "the messages differ in length: for the mean of all positions, or without the "
                "causal mask, pad or truncate them to one length"
            )
        self.device, self.processes = device or model.tok_emb.weight.device, processes
        self.own = processes.own(range(len(self.rows)))
        self.labels = torch.tensor(labels, device=self.device)
        self.num_blocks = 0  # that are cached
        self.outputs = None  # of these blocks, as in the cache

    def inputs(self, indices: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the input (b, n, d) of the first block that is not cached, and the positions (b,).

        The shorter messages are padded at the end.
        """
        positions = None if self.positions is None else self.positions[indices].to(self.device)
        rows = self.rows if self.outputs is None else self.outputs
        x = [torch.as_tensor(rows[i]) for i in indices]
        x = pad_sequence(x, batch_first=True).to(self.device)
        return self.model.embed(x) if self.outputs is None else x, positions

    def vectors(self, indices: Sequence[int]) -> torch.Tensor:
        """Return the head's input for some messages: (b, d)."""
        x, positions = self.inputs(indices)
        x = run_blocks(self.model, x, positions, self.num_blocks, len(self.model.trf_blocks))
        x = self.model.final_norm(x)
        # a mean of logits is the logits of the mean vector: the head is linear
        if self.lengths is not None:
            return mean_of_tokens(x, self.lengths[indices].to(self.device))
        return x.mean(dim=1)  # of the one position or, for "mean", of all

    def logits(self, indices: Sequence[int]) -> torch.Tensor:
        """Return the logits of some messages: (b, num_classes)."""
        return self.model.out_head(self.vectors(indices))

    def encode(self, num_blocks: int, precision: str) -> Iterator[int]:
        """Run the first `num_blocks` blocks once for each message, or take their cached output.

        Yields the number of messages that are finished after each block of a batch.
        """
        self.model.eval()
        rows = {i: self.rows[i] for i in self.own}
        key = cache_key(self.model, rows, self.position, num_blocks, precision)
        if key in _cache:
            yield len(rows)
        else:
            outputs, dtype = {}, getattr(torch, precision)
            autocast = torch.autocast(self.device.type, dtype, enabled=precision != "float32")
            for batch in in_batches_by_length([len(row) for row in rows.values()]):
                indices = [self.own[i] for i in batch]
                with torch.no_grad():
                    x, positions = self.inputs(indices)
                for number in range(num_blocks):
                    with torch.no_grad(), autocast:
                        x = run_blocks(self.model, x, positions, number, number + 1)
                    yield 0
                for i, output in zip(indices, x.float(), strict=True):
                    outputs[i] = output[: len(rows[i])].clone()
                yield len(indices)
            _cache[key] = outputs
        self.num_blocks, self.outputs = num_blocks, _cache[key]
        while sum(x.nbytes for table in _cache.values() for x in table.values()) > CACHE_LIMIT:
            del _cache[next(iter(_cache))]  # the oldest

    def measure(self) -> Generator[int, None, tuple[float, float]]:
        """Return the mean loss and the accuracy of all messages; yield 0 between two batches."""
        self.model.eval()
        loss = num_correct = 0.0
        for start in range(0, len(self.own), MEASURED_AT_ONCE):
            if start:
                yield 0
            indices = self.own[start : start + MEASURED_AT_ONCE]
            with torch.no_grad():
                logits, labels = self.logits(indices), self.labels[indices]
            loss += F.cross_entropy(logits, labels, reduction="sum").item()
            num_correct += (logits.argmax(dim=-1) == labels).sum().item()
        loss, num_correct = self.processes.sum(loss, num_correct)
        return loss / len(self.rows), num_correct / len(self.rows)


def what_runs_once(
    plan: FreezePlan, settings: TrainingSettings, sets: Sequence[Messages]
) -> tuple[int | None, str, str]:
    """Return how many blocks run only once, None for nothing, their precision, and a note.

    The note says what is done differently than the settings ask for, and is "" for nothing.
    """
    num_blocks, cfg = frozen_blocks(plan), sets[0].model.cfg
    num_tokens = sum(len(messages.rows[i]) for messages in sets for i in messages.own)
    num_bytes, reason = 4 * num_tokens * cfg["emb_dim"], ""
    if not settings.cache:
        reason = "cache is False"
    elif num_blocks is None:
        reason = "an embedding is trained"
    elif cfg["drop_rate"]:
        reason = "dropout changes the output of the frozen layers"
    elif num_bytes > CACHE_LIMIT:
        reason = f"the output of the frozen layers would take {num_bytes / 1e9:.1f} GB"
    if reason:
        reason += ", so nothing is cached: all runs in every step, in float32"
        return None, "float32", reason
    asked, note = settings.precision, ""
    precision = precision_on(sets[0].device, asked)
    if precision != asked:
        note = f"the frozen layers run in {precision}, which is faster than {asked} here"
    return num_blocks, precision, note


# --- many messages --------------------------------------------------------------------------------


@torch.no_grad()
def class_vectors(
    model: GPTModel,
    token_ids: Sequence[Sequence[int]],
    position: str = "last",
    precision: str = "float32",
) -> torch.Tensor:
    """Return the head's input for messages, lists of token ids: float32 (b, emb_dim), on the CPU.

    `model.out_head` maps it to the logits. For a mean of logits it is the mean of these vectors.
    The model is left in eval mode. Raises what `Messages` raises.
    """
    messages = Messages(model, token_ids, position)
    device = messages.device
    dtype = getattr(torch, precision_on(device, precision))
    autocast = torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
    model.eval()
    vectors = torch.empty(len(token_ids), model.cfg["emb_dim"])
    most = TOKENS_ON_CPU if device.type == "cpu" else TOKENS_AT_ONCE
    for batch in in_batches_by_length([len(row) for row in messages.rows], most):
        with autocast:
            vectors[batch] = messages.vectors(batch).float().cpu()
    return vectors


@torch.no_grad()
def message_logits(
    model: GPTModel,
    token_ids: Sequence[Sequence[int]],
    position: str = "last",
    precision: str = "float32",
) -> torch.Tensor:
    """Return the logits of messages, lists of token ids: float32 (b, num_classes), on the CPU.

    The model is left in eval mode. Raises what `Messages` raises.
    """
    vectors = class_vectors(model, token_ids, position, precision)
    vectors = vectors.to(model.out_head.weight)  # on its device, in its precision
    return model.out_head(vectors).float().cpu()


def fast_logits(
    classifier: TextClassifier, rows: Sequence[Sequence[int]], precision: str = "float32"
) -> torch.Tensor:
    """Return the logits of texts: float32 (len(rows), num_classes), on the CPU.

    `rows` are their token ids, each of the classifier's `max_length`. The logits are those of
    `classifier.logits` in less time. In the `precision` "bfloat16" they are rougher: a text whose
    classes are nearly equally probable may get another label. Raises ValueError for a damaged model.
    """
    logits = message_logits(classifier.model, rows, classifier.position, precision)
    if not logits.isfinite().all():
        raise ValueError(NOT_FINITE)
    return logits
