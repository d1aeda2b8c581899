"""Loss, accuracy and the fine-tuning loop of the book's sections 6.6 and 6.7, under its names.

The logits at one position of the padded token ids classify a message. `position` says which:

- "first", the first token, which attends only to itself (the book's exercise 6.3);
- "last", the last position, as in the book, which is padding where a message is shorter;
- "last_token", the last token before the padding, which must be `<|endoftext|>`;
- "mean", none of them: the mean of the logits at all positions, those of the padding included
  (an additional experiment in the book's repository, ch06/02).

In the comments b is the batch size, n the number of tokens, d = emb_dim, h the number of heads and
m = d / h.
"""

import math
import timeit
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Self

import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from helpers.checks import finite_number, one_of, whole_number
from helpers.config import BUNDLED_SIZE, END_OF_TEXT, model_size
from helpers.lora import effective_weight
from helpers.model import GPTModel, MultiHeadAttention, TransformerBlock, has_causal_mask

POSITIONS = ("first", "last", "last_token", "mean")
PRECISIONS = ("float32", "bfloat16")
TOKENS_AT_ONCE = 2048  # in one forward pass without gradients
TOKENS_ON_CPU = 512  # the numbers that a block computes stay in the processor's cache: 20 % faster
BLUE, ORANGE = "#2e86c1", "#d55e00"

NOTHING_TO_TRAIN = (
    "every parameter is frozen: there is nothing to train; take a FreezePlan with a trainable part"
)


# --- device, precision, random numbers ------------------------------------------------------------


def get_device() -> torch.device:
    """Return what the book trains on: a CUDA GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


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


@lru_cache
def bfloat16_is_faster() -> bool:
    """Return whether this processor multiplies matrices faster in bfloat16 than in float32.

    That is measured once: some processors have instructions for bfloat16 and are slower with them.
    """
    seconds = []
    for dtype in (torch.float32, torch.bfloat16):
        a, b = torch.ones(256, 768, dtype=dtype), torch.ones(768, 768, dtype=dtype)
        seconds.append(min(timeit.repeat(lambda a=a, b=b: a @ b, number=1, repeat=6)))
    return seconds[1] < 0.9 * seconds[0]  # the conversion to bfloat16 takes time as well


def autocast(device: torch.device, precision: str):
    """Return a context in which matrix products run in `precision`."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=getattr(torch, precision))


@contextmanager
def own_random_numbers(device: torch.device, seed: int | None = None) -> Iterator[None]:
    """Draw from `seed` in this block (None: from the present state), and restore the state after it.

    The state is that of the CPU and of `device`, where that is a CUDA GPU.
    """
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        if seed is not None:  # torch.manual_seed would take a hundred times as long
            torch.default_generator.manual_seed(seed)
            if device.type == "cuda":
                torch.cuda.manual_seed_all(seed)
        yield


# --- settings -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainingSettings:
    """All hyperparameters of a fine-tuning; the defaults are those of the book's chapter 6.

    A step takes `accumulation` batches of `batch_size` messages. `position` is one of POSITIONS.
    `precision` is that of the frozen layers, "float32" or "bfloat16". `keep` says which epoch's
    weights the model has in the end: those of the "last", or of the "best" one, with the lowest
    validation loss. With `cache` the frozen layers run once for each message. `ignore_index` and
    `class_weights` are those of cross-entropy. Raises ValueError for a value that can't be.
    """

    epochs: int = 5
    batch_size: int = 8
    accumulation: int = 1
    lr: float = 5e-5
    weight_decay: float = 0.1
    seed: int = 123
    position: str = "last"
    precision: str = "float32"
    keep: str = "last"
    cache: bool = True
    ignore_index: int = -100
    class_weights: tuple[float, ...] | None = None

    def __post_init__(self):
        values = {
            "epochs": whole_number("epochs", self.epochs),
            "batch_size": whole_number("batch_size", self.batch_size),
            "accumulation": whole_number("accumulation", self.accumulation),
            "seed": whole_number("seed", self.seed, 0, 2**62),
            "lr": finite_number("lr", self.lr),
            "weight_decay": finite_number("weight_decay", self.weight_decay, inclusive=True),
        }
        if self.class_weights is not None:
            weights = [finite_number("a class's weight", weight) for weight in self.class_weights]
            values["class_weights"] = tuple(weights)
        for name, value in values.items():  # numpy's numbers have become Python's
            object.__setattr__(self, name, value)
        one_of("position", self.position, POSITIONS)
        one_of("precision", self.precision, PRECISIONS)
        one_of("keep", self.keep, ("last", "best"))
        one_of("cache", self.cache, (True, False))

    @classmethod
    def for_model(cls, name: str, **changes) -> Self:
        """Return the book's settings with `changes`; the nano's learning rate is 20 times as large."""
        lr = 1e-3 if model_size(name) == BUNDLED_SIZE else 5e-5
        return cls(**{"lr": lr} | changes)


def check_position(position: str) -> None:
    """Raise ValueError for an unknown position."""
    one_of("position", position, POSITIONS)


def check_precision(precision: str) -> None:
    """Raise ValueError for an unknown precision."""
    one_of("precision", precision, PRECISIONS)


# --- the position that classifies -----------------------------------------------------------------


def last_token_positions(token_ids: torch.Tensor, pad_token_id: int = END_OF_TEXT) -> torch.Tensor:
    """Return the position of the last token before the padding: token ids (b, n) → (b,).

    It is 0 where there is only padding.
    """
    positions = torch.arange(token_ids.shape[-1], device=token_ids.device)
    return torch.where(token_ids != pad_token_id, positions, 0).amax(dim=-1)


def take_position(values: torch.Tensor, token_ids: torch.Tensor, position: str) -> torch.Tensor:
    """Return the values at a position of each message: (b, n, k) and token ids (b, n) → (b, k).

    Raises ValueError for an unknown position.
    """
    check_position(position)
    if position == "mean":
        return values.mean(dim=1)
    if position == "first":
        return values[:, 0]
    if position == "last":
        return values[:, -1]
    return values[torch.arange(len(values)), last_token_positions(token_ids)]


def class_logits(model: GPTModel, token_ids: torch.Tensor, position: str = "last") -> torch.Tensor:
    """Return the logits that classify each message: token ids (b, n) → (b, num_classes).

    Raises ValueError for an unknown position.
    """
    return take_position(model(token_ids), token_ids, position)


@torch.no_grad()
def class_probabilities(
    model: GPTModel, token_ids: torch.Tensor, position: str = "last"
) -> torch.Tensor:
    """Return each class's probability: token ids (b, n) → float32 (b, num_classes) on the CPU.

    The model is left in eval mode.
    """
    model.eval()
    token_ids = token_ids.to(model.tok_emb.weight.device)
    return class_logits(model, token_ids, position).softmax(dim=-1).float().cpu()


def classifying_place(token_ids: Sequence[int], position: str) -> int | None:
    """Return the index of the token that classifies a message; None for the mean of all."""
    if position == "mean":
        return None
    if position == "first":
        return 0
    index = len(token_ids) - 1
    if position == "last_token":
        while index > 0 and token_ids[index] == END_OF_TEXT:
            index -= 1
    return index


def up_to_classifying_token(token_ids: list[int], position: str) -> list[int]:
    """Return a message's token ids up to the one that classifies; for the mean, all of them.

    Under the causal mask no later token changes the logits.
    """
    index = classifying_place(token_ids, position)
    return token_ids if index is None else token_ids[: index + 1]


def rows_and_places(
    model: GPTModel, messages: list[list[int]], position: str
) -> tuple[list[list[int]], list[int] | None]:
    """Return the token ids that each message's logits depend on, and the index that classifies.

    For the mean of all tokens there are no indices (None). Raises ValueError where padding would
    change the logits and the messages differ in length.
    """
    if position != "mean" and has_causal_mask(model):
        rows = [up_to_classifying_token(token_ids, position) for token_ids in messages]
        return rows, [len(row) - 1 for row in rows]
    lengths = {len(token_ids) for token_ids in messages}
    if len(lengths) > 1:
        raise ValueError(
            f"rows of {min(lengths)} to {max(lengths)} tokens: for the mean of all positions, or "
            "without the causal mask, pad or cut them to one length"
        )
    if position == "mean":
        return messages, None
    return messages, [classifying_place(token_ids, position) for token_ids in messages]


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
    """Return a block's output in eval mode, (b, n, d) → same, by torch's fused attention.

    It never holds all n × n weights and takes a fraction of the time where n is large. Only its
    backward pass is slower on a CPU. The numbers are the same except for rounding.
    """
    attention = block.att
    b, n, d = x.shape
    x_normed = block.norm1(x)
    heads = []
    for matrix in (attention.W_query, attention.W_key, attention.W_value):
        heads.append(matrix(x_normed).view(b, n, attention.num_heads, -1).transpose(1, 2))
    context = F.scaled_dot_product_attention(*heads, is_causal=attention.causal)  # (b, h, n, m)
    x = x + attention.out_proj(context.transpose(1, 2).reshape(b, n, d))
    return x + block.ff(block.norm2(x))


def run_blocks(
    model: GPTModel, x: torch.Tensor, positions: torch.Tensor | None, start: int, stop: int
) -> torch.Tensor:
    """Return the output of blocks `start` … `stop` - 1 for the input (b, n, d): (b, n, d).

    The last block of the model computes only `positions` (b,), (b, 1, d), unless they are None.
    """
    last = len(model.trf_blocks) - 1
    for number in range(start, stop):
        block = model.trf_blocks[number]
        if number == last and positions is not None:
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


def pad_batch(messages: Sequence, device) -> torch.Tensor:
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


@torch.no_grad()
def class_vectors(
    model: GPTModel,
    messages: Sequence[Sequence[int]],
    position: str = "last",
    precision: str = "float32",
) -> torch.Tensor:
    """Return the head's input for each message, a list of token ids: float32 (b, emb_dim), on the CPU.

    `model.out_head` maps it to the logits. At the position "mean" it is the mean over all tokens.
    The model is left in eval mode. Raises ValueError for an unknown position or precision, for an
    empty message, and where padding would change the logits and the messages differ in length.
    """
    check_position(position)
    check_precision(precision)
    messages = [list(token_ids) for token_ids in messages]
    if not all(messages):
        raise ValueError("a message has no tokens; leave it out")
    rows, positions = rows_and_places(model, messages, position)
    device = model.tok_emb.weight.device
    precision = precision_on(device, precision)
    most = min(TOKENS_AT_ONCE, TOKENS_ON_CPU) if device.type == "cpu" else TOKENS_AT_ONCE
    model.eval()
    vectors = torch.empty(len(rows), model.cfg["emb_dim"])
    for batch in in_batches_by_length([len(row) for row in rows], most):
        token_ids = pad_batch([rows[i] for i in batch], device)  # (b, n)
        at = None
        if positions is not None:
            at = torch.tensor([positions[i] for i in batch], device=device)
        with autocast(device, precision):
            x = run_blocks(model, model.embed(token_ids), at, 0, len(model.trf_blocks))
            vectors[batch] = model.final_norm(x).mean(dim=1).float().cpu()
    return vectors


# --- loss and accuracy ----------------------------------------------------------------------------


def calc_loss_batch(
    input_batch, target_batch, model: GPTModel, device, position: str = "last"
) -> torch.Tensor:
    """Return the mean cross-entropy, in nats, of a batch: token ids (b, n) and labels (b,) → ()."""
    logits = class_logits(model, input_batch.to(device), position)
    return F.cross_entropy(logits, target_batch.to(device))


@torch.no_grad()
def calc_loss_loader(
    data_loader: DataLoader, model: GPTModel, device, num_batches=None, position: str = "last"
) -> float:
    """Return the mean loss of the first `num_batches` batches (None: all); NaN without batches."""
    losses = []
    for input_batch, target_batch in islice(data_loader, num_batches):
        loss = calc_loss_batch(input_batch, target_batch, model, device, position)
        losses.append(loss.item())
    return sum(losses) / len(losses) if losses else float("nan")


@torch.no_grad()
def calc_accuracy_loader(
    data_loader: DataLoader, model: GPTModel, device, num_batches=None, position: str = "last"
) -> float:
    """Return the accuracy, 0 … 1, in the first `num_batches` batches (None: all).

    It is NaN without batches. The model is left in eval mode.
    """
    model.eval()
    correct = total = 0
    for input_batch, target_batch in islice(data_loader, num_batches):
        logits = class_logits(model, input_batch.to(device), position)  # (b, num_classes)
        correct += (logits.argmax(dim=-1) == target_batch.to(device)).sum().item()
        total += len(target_batch)
    return correct / total if total else float("nan")


def evaluate_model(
    model: GPTModel, train_loader, val_loader, device, eval_iter: int, position: str = "last"
) -> tuple[float, float]:
    """Return the losses of `eval_iter` batches of training and of validation data.

    The model is left in training mode.
    """
    model.eval()
    train_loss = calc_loss_loader(train_loader, model, device, eval_iter, position)
    val_loss = calc_loss_loader(val_loader, model, device, eval_iter, position)
    model.train()
    return train_loss, val_loss


# --- fine-tuning ----------------------------------------------------------------------------------


def train_classifier_simple(
    model: GPTModel,
    train_loader: DataLoader,
    val_loader: DataLoader,
    optimizer: torch.optim.Optimizer,
    device,
    num_epochs: int,
    eval_freq: int,
    eval_iter: int,
    position: str = "last",
    step_losses: list[float] | None = None,
) -> tuple[list[float], list[float], list[float], list[float], int]:
    """Fine-tune `model` in place as in the book's section 6.7, with a progress bar.

    Returns `(train_losses, val_losses, train_accs, val_accs, examples_seen)`: losses every
    `eval_freq` steps and accuracies (0 … 1) after each epoch, each of `eval_iter` batches. The
    loss of each step is appended to `step_losses`. Raises ValueError when there is no batch or no
    trainable parameter, and FloatingPointError when a loss is not finite.
    """
    whole_number("num_epochs", num_epochs)
    whole_number("eval_freq", eval_freq)
    whole_number("eval_iter", eval_iter)
    if not len(train_loader):
        raise ValueError(
            "the training loader has no batch; take a smaller batch_size or more messages"
        )
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError(NOTHING_TO_TRAIN)
    train_losses, val_losses, train_accs, val_accs = [], [], [], []
    examples_seen, global_step = 0, -1
    with tqdm(total=num_epochs * len(train_loader), unit="step", desc="fine-tuning") as bar:
        for epoch in range(1, num_epochs + 1):
            model.train()
            for input_batch, target_batch in train_loader:
                optimizer.zero_grad()
                loss = calc_loss_batch(input_batch, target_batch, model, device, position)
                check_finite(loss.item(), global_step + 1)
                loss.backward()
                optimizer.step()
                if step_losses is not None:
                    step_losses.append(loss.item())
                examples_seen += len(input_batch)
                global_step += 1
                bar.update()
                if global_step % eval_freq == 0:
                    train_loss, val_loss = evaluate_model(
                        model, train_loader, val_loader, device, eval_iter, position
                    )
                    train_losses.append(train_loss)
                    val_losses.append(val_loss)
                    bar.set_postfix(
                        epoch=epoch, train_loss=f"{train_loss:.3f}", val_loss=f"{val_loss:.3f}"
                    )
            train_accs.append(
                calc_accuracy_loader(train_loader, model, device, eval_iter, position)
            )
            val_accs.append(calc_accuracy_loader(val_loader, model, device, eval_iter, position))
    return train_losses, val_losses, train_accs, val_accs, examples_seen


def check_finite(loss: float, step: int) -> None:
    """Raise FloatingPointError, with advice, for a loss that is not finite."""
    if not math.isfinite(loss):
        raise FloatingPointError(f"the loss is {loss} at step {step}; take a smaller learning rate")


def plot_values(epochs_seen, examples_seen, train_values, val_values, label="loss") -> Figure:
    """Draw training and validation values over epochs (below) and over examples seen (above).

    The first two arguments are as long as the values. It is the book's function, which also saves
    a PDF.
    """
    figure, axes = plt.subplots(figsize=(5.6, 3.2), layout="constrained")
    axes.plot(epochs_seen, train_values, label=f"training {label}", color=BLUE)
    axes.plot(epochs_seen, val_values, "--", label=f"validation {label}", color=ORANGE)
    axes.set(xlabel="epochs", ylabel=label)
    axes.legend()
    above = axes.twiny()
    above.plot(examples_seen, train_values, alpha=0)  # an invisible line only sets the scale
    above.set_xlabel("examples seen")
    return figure
