"""Fine-tuning and classifying with the book's numbers in a fraction of the time.

`helpers.training.train_classifier_simple` is the loop to read; `fine_tune` takes the same steps on
the same batches. Below the lowest trainable part nothing changes in training, so a message has the
same numbers there in every epoch: they are computed once and cached. Each message runs only as far
as its logits depend on it: the last block computes one position, and under the causal mask no token
after it runs. `fine_tuning_steps` does the same step by step.

`fast_logits` classifies many texts, and `load_or_train` returns the classifier of section 6.7.

In the comments b is the batch size, n the number of tokens, d = emb_dim, h the number of heads and
m = d / h.
"""

import hashlib
import json
import time
import timeit
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path

import pandas as pd
import torch
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from helpers.checks import one_of, whole_number
from helpers.classify import NOT_FINITE, SpamClassifier, TextClassifier
from helpers.config import model_size
from helpers.data import TextDataset, create_dataloaders, load_splits
from helpers.download import file_sha256
from helpers.freezing import FreezePlan, frozen_blocks, num_classes_of, replace_head
from helpers.loading import INDEX, find_checkpoint, load_pretrained
from helpers.lora import adapters_in, effective_weight
from helpers.model import GPTModel, MultiHeadAttention, TransformerBlock, has_causal_mask
from helpers.training import (
    NOTHING_TO_TRAIN,
    POSITIONS,
    TrainingSettings,
    check_finite,
    classifying_place,
    get_device,
    own_random_numbers,
    up_to_classifying_token,
)
from workshop.processes import ALONE, EpochCheckpoint, Processes
from workshop.texts import counted

TOKENS_AT_ONCE = 2048  # in one forward pass without gradients
TOKENS_ON_CPU = 512  # the numbers that a block computes stay in the processor's cache: 20 % faster
MEASURED_AT_ONCE = 32  # messages
EVAL_FREQ = 50  # steps after which the book's loop measures
CACHE_LIMIT = 2**32  # bytes of all cached outputs
NUMBERS = ("step_losses", "train_accs", "val_losses", "val_accs")  # of a History

# raised by hand whenever the same settings train another model than before
TRAINING_VERSION = 1


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


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return a context in which matrix products run in `precision`."""
    enabled = precision != "float32"
    return torch.autocast(device.type, getattr(torch, precision), enabled=enabled)


# --- the tokens that a message's logits depend on -------------------------------------------------


def rows_and_places(
    model: GPTModel, messages: Sequence[Sequence[int]], position: str
) -> tuple[Sequence[Sequence[int]], torch.Tensor | None]:
    """Return the token ids that each message's logits depend on, and the index that classifies.

    For the mean of all tokens there are no indices (None). Raises ValueError where padding would
    change the logits and the messages differ in length, and for an unknown position.
    """
    one_of("position", position, POSITIONS)
    if position != "mean" and has_causal_mask(model):
        messages = [up_to_classifying_token(token_ids, position) for token_ids in messages]
    elif len({len(token_ids) for token_ids in messages}) > 1:
        raise ValueError(
            "the messages differ in length: for the mean of all positions, or without the causal "
            "mask, pad or truncate them to one length"
        )
    if position == "mean":
        return messages, None
    return messages, torch.tensor([classifying_place(row, position) for row in messages])


def pad_batch(messages: Sequence, device: torch.device) -> torch.Tensor:
    """Return messages of different lengths as one tensor, (b, n, …), with zeros after the shorter."""
    return pad_sequence([torch.as_tensor(ids) for ids in messages], batch_first=True).to(device)


def in_batches_by_length(lengths: Sequence[int], most: int | None = None) -> list[list[int]]:
    """Return the messages' indices in batches of similar lengths, of `most` tokens with padding.

    `most` is TOKENS_AT_ONCE unless it is given. A longer message is a batch of its own.
    """
    most = most or TOKENS_AT_ONCE
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        if not batches or (len(batches[-1]) + 1) * lengths[i] > most:
            batches.append([])
        batches[-1].append(i)
    return batches


# --- the last block for one position of each message ----------------------------------------------


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


def logits_at(
    model: GPTModel, x: torch.Tensor, positions: torch.Tensor | None, start: int = 0
) -> torch.Tensor:
    """Return the logits at `positions` (b,) for the input of block `start`, (b, n, d): (b, num_classes).

    With `positions` None they are the mean over all n tokens. With `start` beyond the last block `x`
    is that block's output.
    """
    x = run_blocks(model, x, positions, start, len(model.trf_blocks))  # (b, 1, d), or (b, n, d)
    return model.out_head(model.final_norm(x).mean(dim=1))  # the head is linear


# --- many messages --------------------------------------------------------------------------------


@torch.no_grad()
def class_vectors(
    model: GPTModel,
    messages: Sequence[Sequence[int]],
    position: str = "last",
    precision: str = "float32",
) -> torch.Tensor:
    """Return the head's input for each message, a list of token ids: float32 (b, emb_dim), on the CPU.

    `model.out_head` maps it to the logits. At the position "mean" it is the mean over all tokens.
    The model is left in eval mode. Raises what `rows_and_places` raises.
    """
    rows, positions = rows_and_places(model, messages, position)
    device = model.tok_emb.weight.device
    precision = precision_on(device, precision)
    model.eval()
    vectors = torch.empty(len(rows), model.cfg["emb_dim"])
    most = TOKENS_ON_CPU if device.type == "cpu" else TOKENS_AT_ONCE
    for batch in in_batches_by_length([len(row) for row in rows], most):
        x = model.embed(pad_batch([rows[i] for i in batch], device))  # (b, n, d)
        at = None if positions is None else positions[batch].to(device)
        with autocast(device, precision):
            x = run_blocks(model, x, at, 0, len(model.trf_blocks))
            vectors[batch] = model.final_norm(x).mean(dim=1).float().cpu()
    return vectors


@torch.no_grad()
def fast_logits(
    classifier: TextClassifier, rows: Sequence[Sequence[int]], precision: str = "float32"
) -> torch.Tensor:
    """Return the logits of texts: float32 (len(rows), num_classes), on the CPU.

    `rows` are their token ids, each of the classifier's `max_length`. The logits are those of
    `classifier.logits` in less time. In the `precision` "bfloat16" they are rougher: a text whose
    classes are nearly equally probable may get another label. Raises ValueError for a damaged model.
    """
    vectors = class_vectors(classifier.model, rows, classifier.position, precision)
    head = classifier.model.out_head
    logits = head(vectors.to(head.weight)).float().cpu()  # on its device, in its precision
    if not logits.isfinite().all():
        raise ValueError(NOT_FINITE)
    return logits


# --- what is known of a training ------------------------------------------------------------------


@dataclass
class History:
    """How a fine-tuning went: the loss of each step, accuracies and a loss after each epoch.

    `train_accs` are accuracies, 0 … 1, of the epoch's training messages, each measured before its
    step, so they are lower than those of the model at the epoch's end. `val_losses` (means, in
    nats) and `val_accs` are those of all validation messages. `cached` names the parts that ran
    only once for each message, "" for none. `notes` say what was done differently than asked.
    After an error or an interruption (`interrupted`) there are only the numbers of whole epochs.
    """

    step_losses: list[float] = field(default_factory=list)
    train_accs: list[float] = field(default_factory=list)
    val_losses: list[float] = field(default_factory=list)
    val_accs: list[float] = field(default_factory=list)
    cached: str = ""
    notes: list[str] = field(default_factory=list)
    seconds_encoding: float = 0.0
    seconds_training: float = 0.0
    interrupted: bool = False

    @property
    def best_epoch(self) -> int | None:
        """The epoch, from 1, with the lowest validation loss; None before the first has ended."""
        if not self.val_losses:
            return None
        return 1 + self.val_losses.index(min(self.val_losses))


@dataclass(frozen=True)
class Progress:
    """How far a fine-tuning is: `done` of `total` messages in "encoding", steps in "training".

    Encoding is the one run of the frozen layers. `history` is the training's own, which grows.
    """

    phase: str
    done: int
    total: int
    history: History


def with_bars(steps: Iterator[Progress], show: bool) -> Iterator[Progress]:
    """Yield what `steps` yields, and show a progress bar for each phase, one below the other."""
    names = {"encoding": ("encoding messages", "message"), "training": ("fine-tuning", "step")}
    bar, phase, latest = None, "", {}
    try:
        for progress in steps:
            history = progress.history
            if progress.phase != phase:
                if bar is not None:
                    bar.close()
                phase = progress.phase
                name, unit = names[phase]
                bar = tqdm(total=progress.total, desc=name, unit=unit, disable=not show)
            numbers = (history.step_losses, history.val_losses, history.val_accs)
            for name, values in zip(("loss", "val_loss", "val_acc"), numbers, strict=True):
                if values:
                    latest[name] = f"{values[-1]:.3f}"
            bar.set_postfix(latest, refresh=False)
            bar.update(progress.done - bar.n)
            yield progress
    finally:
        if bar is not None:
            bar.close()


# --- the frozen layers run once -------------------------------------------------------------------

# what `cache_key` gives → each message's output, by its index: (num_tokens, emb_dim) float32
_cache: dict[str, dict[int, torch.Tensor]] = {}


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
    """The messages of a data set for a model: their labels and logits.

    Several processes share the messages: each computes only those of its own indices.
    """

    def __init__(
        self,
        model: GPTModel,
        data: TextDataset,
        position: str,
        device: torch.device,
        processes: Processes = ALONE,
    ):
        self.model, self.position = model, position
        self.device, self.processes = device, processes
        self.rows, self.positions = rows_and_places(model, data.encoded_texts, position)
        self.own = processes.own(range(len(self.rows)))
        self.labels = torch.tensor(data.labels, device=device)
        self.num_blocks = 0  # that are cached
        self.outputs: dict[int, torch.Tensor] | None = None  # of these blocks

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
            outputs = {}
            for batch in in_batches_by_length([len(row) for row in rows.values()]):
                indices = [self.own[i] for i in batch]
                with torch.no_grad():
                    x, positions = self._inputs(indices)
                for number in range(num_blocks):
                    with torch.no_grad(), autocast(self.device, precision):
                        x = run_blocks(self.model, x, positions, number, number + 1)
                    yield 0
                for i, output in zip(indices, x.float(), strict=True):
                    outputs[i] = output[: len(rows[i])].clone()
                yield len(indices)
            _cache[key] = outputs
        self.num_blocks, self.outputs = num_blocks, _cache[key]
        while sum(x.nbytes for table in _cache.values() for x in table.values()) > CACHE_LIMIT:
            del _cache[next(iter(_cache))]  # the oldest

    def _inputs(self, indices: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the input of the first block that is not cached, and the positions that classify."""
        positions = None if self.positions is None else self.positions[indices].to(self.device)
        if self.outputs is None:
            token_ids = pad_batch([self.rows[i] for i in indices], self.device)
            return self.model.embed(token_ids), positions
        return pad_batch([self.outputs[i] for i in indices], self.device), positions

    def logits(self, indices: Sequence[int]) -> torch.Tensor:
        """Return the logits of some messages: (len(indices), num_classes)."""
        x, positions = self._inputs(indices)
        return logits_at(self.model, x, positions, self.num_blocks)

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


# --- the training ---------------------------------------------------------------------------------


def batch_order(
    num_messages: int, batch_size: int, epochs: int, seed: int
) -> list[list[list[int]]]:
    """Return the indices of the messages in each batch of each epoch.

    They are those of the book's loop after `torch.manual_seed(seed)`. It measures every EVAL_FREQ
    steps and after each epoch, which also draws random numbers. As there, messages that do not fill
    a last batch are left out; too few for one batch make one.
    """
    whole_number("batch_size", batch_size)
    whole_number("epochs", epochs)
    drop_last = num_messages >= batch_size
    indices = range(num_messages)
    train = DataLoader(indices, batch_size, shuffle=True, drop_last=drop_last, collate_fn=list)
    validation = DataLoader(range(1))
    order: list[list[list[int]]] = []
    with own_random_numbers(torch.device("cpu"), seed):
        for epoch in range(epochs):
            order.append(list(train))
            steps = range(epoch * len(train), (epoch + 1) * len(train))
            for _ in range(1 + sum(step % EVAL_FREQ == 0 for step in steps)):
                next(iter(train))  # draws what measuring draws
                next(iter(validation))
    return order


class Training:
    """The epochs of a fine-tuning, after each of which it may stop.

    The saved weights are those of a whole epoch: what the model has in the end. They are on the CPU,
    so that they do not fill a GPU's memory.
    """

    def __init__(
        self,
        train: Messages,
        validation: Messages,
        settings: TrainingSettings,
        history: History,
        checkpoint: EpochCheckpoint | None,
    ):
        self.train, self.validation = train, validation
        self.settings, self.history, self.checkpoint = settings, history, checkpoint
        self.model, self.processes = train.model, train.processes
        parameters = self.model.named_parameters()
        self.trainable = {name: p for name, p in parameters if p.requires_grad}
        # fused: one pass over the memory instead of a dozen
        self.optimizer = torch.optim.AdamW(
            self.trainable.values(), settings.lr, weight_decay=settings.weight_decay, fused=True
        )
        if checkpoint is not None:
            for name, values in checkpoint.load(self.trainable, self.optimizer).items():
                setattr(history, name, values)
        self.processes.copy_from_first(self.trainable.values())
        self.saved = 0, {}, {}  # the epoch of the weights, the weights, the history's numbers
        self.save_epoch()

    def steps(self, order: list[list[list[int]]]) -> Iterator[int]:
        """Train the epochs that are not yet in the history; yield 1 after a step, 0 in between."""
        history = self.history
        for batches in order[len(history.val_accs) :]:
            self.model.train()
            num_correct = 0
            for batch in batches:
                num_correct += self.step(batch)
                yield 1
            val_loss, val_acc = yield from self.validation.measure()
            check_finite(val_loss, len(history.step_losses))
            history.train_accs.append(num_correct / sum(len(batch) for batch in batches))
            history.val_losses.append(val_loss)
            history.val_accs.append(val_acc)
            self.save_epoch()
            if self.checkpoint is not None and self.processes.number == 0:
                self.checkpoint.save(self.trainable, self.optimizer, self.saved[-1])
            yield 0

    def step(self, batch: list[int]) -> float:
        """Take one training step; return how many messages of the batch the model had right."""
        settings, labels = self.settings, self.train.labels
        class_weights = settings.class_weights or [1.0] * self.model.out_head.out_features
        class_weights = torch.tensor(class_weights, device=labels.device)
        counting = labels[batch]
        counting = counting[counting != settings.ignore_index]
        total_weight = class_weights[counting].sum()
        loss = num_correct = 0.0
        self.optimizer.zero_grad()
        number = len(self.history.step_losses)
        with own_random_numbers(labels.device, settings.seed + number):  # those of dropout
            for start in range(0, len(batch), settings.batch_size):
                indices = self.processes.own(batch[start : start + settings.batch_size])
                if indices:
                    logits = self.train.logits(indices)
                    part = F.cross_entropy(
                        logits,
                        labels[indices],
                        class_weights,
                        ignore_index=settings.ignore_index,
                        reduction="sum",
                    )
                    part = part / total_weight  # the mean over all parts and processes
                    part.backward()
                    loss += part.item()
                    num_correct += (logits.argmax(dim=-1) == labels[indices]).sum().item()
        self.processes.sum_gradients(self.trainable.values())
        loss, num_correct = self.processes.sum(loss, num_correct)
        check_finite(loss, number)
        self.optimizer.step()
        self.history.step_losses.append(loss)
        return num_correct

    def save_epoch(self) -> None:
        """Save the history's numbers, and the present weights if they are to be kept."""
        epoch, weights, _ = self.saved
        numbers = {name: list(getattr(self.history, name)) for name in NUMBERS}
        epochs = len(numbers["val_accs"])
        if self.settings.keep == "last" or epochs in (0, self.history.best_epoch):
            epoch = epochs
            weights = {n: p.detach().to("cpu", copy=True) for n, p in self.trainable.items()}
        self.saved = epoch, weights, numbers  # at once: an interruption may come at any line

    def restore(self) -> None:
        """Give the model the saved weights, and the history its numbers."""
        _, weights, numbers = self.saved
        self.model.load_state_dict(weights, strict=False)
        for name, values in numbers.items():
            setattr(self.history, name, values)

    def note_interruption(self) -> None:
        """Write into the history that the training was interrupted, and what the model has."""
        epoch, _, numbers = self.saved
        epochs = len(numbers["val_accs"])
        weights = counted(epochs, "whole epoch")
        if epoch < epochs:
            weights = f"epoch {epoch}, the best of {epochs}"
        self.history.interrupted = True
        self.history.notes.append(f"interrupted; the model has the weights of {weights}")


def fine_tuning_steps(
    model: GPTModel,
    train: TextDataset,
    validation: TextDataset,
    plan: FreezePlan,
    settings: TrainingSettings,
    *,
    device=None,
    processes: Processes = ALONE,
    checkpoint: EpochCheckpoint | None = None,
) -> Generator[Progress, None, History]:
    """Fine-tune as `fine_tune` does; yield how far it is before each phase and after each short step.

    Such a step is the run of a block for a batch that is encoded, a training step, or a batch that
    is measured. In between the caller may do other things, with torch's random numbers too, but
    must not change the model. `close` and a KeyboardInterrupt end the training without a warning.

    Several `processes` share the work: each runs the frozen layers for its own messages only, and
    takes its own of each batch. Losses and weights are those of one process except for rounding.
    With a `checkpoint` each whole epoch is saved, and a training that was killed resumes after the
    last one; that needs `keep` "last".
    """
    num_classes_of(model)  # refuses a language-model head
    if not (plan.trainable or plan.adapted):
        raise ValueError(NOTHING_TO_TRAIN)
    device = torch.device(device or get_device())
    batch_size = settings.batch_size * settings.accumulation
    order = batch_order(len(train), batch_size, settings.epochs, settings.seed)
    sets = [
        Messages(model, data, settings.position, device, processes) for data in (train, validation)
    ]
    with own_random_numbers(device, settings.seed):  # from which new adapters start
        plan.apply(model).to(device)
    history = History()
    num_blocks, precision = what_runs_once(plan, settings, sets, history)
    training = Training(*sets, settings, history, checkpoint)
    try:
        if num_blocks is not None:
            total = sum(len(messages.own) for messages in sets)
            steps = (n for messages in sets for n in messages.encode(num_blocks, precision))
            yield from _timed("encoding", 0, total, steps, history)
        total = sum(len(batches) for batches in order)
        done = len(history.step_losses)
        yield from _timed("training", done, total, training.steps(order), history)
    except (KeyboardInterrupt, GeneratorExit):
        training.note_interruption()
    finally:
        try:
            training.restore()
        except KeyboardInterrupt:  # never half of the weights
            training.restore()
            raise
        model.eval()
        model.zero_grad()  # frees the gradients
    return history


def _timed(
    phase: str, done: int, total: int, steps: Iterator[int], history: History
) -> Iterator[Progress]:
    """Yield the progress at the start and after each of `steps`; add their seconds to the history."""
    yield Progress(phase, done, total, history)
    name, start = f"seconds_{phase}", time.perf_counter()
    for finished in steps:
        done += finished
        setattr(history, name, getattr(history, name) + time.perf_counter() - start)
        yield Progress(phase, done, total, history)
        start = time.perf_counter()


def what_runs_once(
    plan: FreezePlan, settings: TrainingSettings, sets: Sequence[Messages], history: History
) -> tuple[int | None, str]:
    """Return how many blocks run only once, None for nothing, and their precision.

    The history says it, and what is other than the settings ask for.
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
        history.notes.append(f"{reason}, so nothing is cached: all runs in every step, in float32")
        return None, "float32"
    blocks = f" and {counted(num_blocks, 'block')}" if num_blocks else ""
    history.cached = f"the embeddings{blocks}"
    precision = precision_on(sets[0].device, settings.precision)
    if precision != settings.precision:
        history.notes.append(
            f"the frozen layers run in {precision}, which is faster than {settings.precision} here"
        )
    return num_blocks, precision


def fine_tune(
    model: GPTModel,
    train: TextDataset,
    validation: TextDataset,
    plan: FreezePlan,
    settings: TrainingSettings | None = None,
    *,
    progress: bool = True,
    on_epoch: Callable[[History], object] | None = None,
    device=None,
    **changes,
) -> History:
    """Fine-tune `model` in place under `plan`; return how it went.

    The numbers are those of `train_classifier_simple` for batches in the order after
    `torch.manual_seed(seed)`. The settings are the book's, or `settings`, with `changes`. A step's
    gradient is that of one batch of `accumulation` times `batch_size` messages. The model is left
    in eval mode. `on_epoch` is called with the history after each epoch: then the model has its
    weights, and must not be changed.

    With `position` "last_token" and `batch_size` 1 the messages are trained one by one without
    padding: the causal mask hides what follows the last token.

    Raises ValueError for settings that can't be, for a plan of another depth or without a trainable
    part, and for a model with its language-model head; FloatingPointError when a loss is not finite.
    After an interruption, and after any error in the training, the model has
    the weights of the last whole epoch, or of the best one so far.
    """
    settings = replace(settings or TrainingSettings(), **changes)
    steps = fine_tuning_steps(model, train, validation, plan, settings, device=device)
    history, epochs = None, 0
    try:
        for now in with_bars(steps, progress):
            history = now.history
            if on_epoch is not None and len(history.val_accs) > epochs:
                epochs += 1
                on_epoch(history)
    except KeyboardInterrupt:  # between two steps
        steps.close()
        if history is None or not history.interrupted:  # it has not begun, or has ended
            raise
    finally:
        steps.close()
    if history is None:  # interrupted before the first step
        raise KeyboardInterrupt
    if history.interrupted:
        warnings.warn(history.notes[-1], stacklevel=2)
    return history


# --- the classifier of section 6.7 ----------------------------------------------------------------


def trained_from(model_name: str, data_name: str) -> dict[str, str]:
    """Return what the classifier of a data set is trained from: `origin`, and the data's name."""
    train, _, _ = load_splits(data_name)
    settings = TrainingSettings.for_model(model_name)
    return origin(model_name, train, settings.seed, settings) | {"data": data_name}


def origin(model_name: str, train: pd.DataFrame, seed: int, settings) -> dict[str, str]:
    """Return what a classifier is trained from, to save along with it.

    That is the model's name, the seed, the `settings`, a dataclass, checksums of the checkpoint and
    of the training texts (columns Text and Label), and TRAINING_VERSION.
    """
    texts = json.dumps([train["Label"].tolist(), train["Text"].tolist()])
    return {
        "model": model_name,
        "checkpoint": file_sha256(find_checkpoint(model_size(model_name)) / INDEX),
        "messages": hashlib.sha256(texts.encode()).hexdigest(),
        "seed": str(seed),
        "settings": json.dumps(asdict(settings), sort_keys=True),
        "code": f"version {TRAINING_VERSION}",
    }


def load_or_train(path: str | Path, model_name: str, data_name: str) -> SpamClassifier:
    """Return the classifier saved at `path`, or train it and save it there.

    A damaged file, and one that was trained from something else, with other settings or by another
    version, is neither taken nor overwritten. Training is that of section 6.7: the book's plan and
    `TrainingSettings.for_model`.
    """
    about, path, problem = trained_from(model_name, data_name), Path(path), ""
    if path.exists():
        try:
            saved = SpamClassifier.load(path)
            differing = [name for name in about if saved.about.get(name) != about[name]]
            if not differing:
                return saved
            problem = f"{path} is another classifier (it differs in: {', '.join(differing)})"
        except ValueError as error:
            problem = str(error)
        warnings.warn(
            f"{problem}. It stays, and one is trained for now; to have that one saved, "
            "delete the file first",
            stacklevel=2,
        )
    settings = TrainingSettings.for_model(model_name)
    train, validation, _ = (loader.dataset for loader in create_dataloaders(data_name))
    model = load_pretrained(model_name)
    torch.manual_seed(settings.seed)
    replace_head(model)
    history = fine_tune(model, train, validation, FreezePlan.book(model.cfg["n_layers"]), settings)
    if history.interrupted:
        raise KeyboardInterrupt  # a classifier that is trained in part is not saved
    classifier = SpamClassifier(model, train.max_length, about=about)
    if not problem:
        classifier.save(path)
    return classifier
