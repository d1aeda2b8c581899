"""Which token's logits classify a message.

In each row the causal mask lets only a token at the end see the whole message (the book's section
6.5). `position` says which one is taken:

- "first", the row's first token, which sees only itself (the book's exercise 6.3);
- "last", the row's last position, as in the book, which in a padded row is padding;
- "last_token", the last one before the padding, which must be `<|endoftext|>`;
- "mean", none of them: the mean of the logits at all positions of the row, at the padding's too
  (an additional experiment in the book's repository, ch06/02).

The vector that the head reads of each message, for many messages at once.

It is that of the token that classifies (`classifying_token`), after the final layer norm. Messages of
like length run together, and of the last block only that token.

Loss, accuracy and the fine-tuning loop of the book's sections 6.6 and 6.7, under its names.

Each function also takes `position`, the token whose logits classify: see `classifying_token`.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Self

import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from torch.nn import functional as F
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from helpers.checks import finite_number, instance_of, one_of, whole_number
from helpers.config import BUNDLED_SIZE, END_OF_TEXT, model_size
from helpers.lora import effective_weight
from helpers.model import (
    GPTModel,
    MultiHeadAttention,
    TransformerBlock,
    has_causal_mask,
)

BLUE, ORANGE = "#2e86c1", "#d55e00"

PRECISIONS = ("float32", "bfloat16")


def get_device() -> torch.device:
    """Return what the book trains on: a CUDA GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def check_precision(precision: str) -> None:
    """Raise ValueError for what is no precision of a frozen part."""
    one_of("precision", precision, PRECISIONS)


def precision_on(device: torch.device, precision: str) -> str:
    """Return `precision`, or "float16" for "bfloat16" on a GPU that has none.

    Those are CUDA's before Ampere, where torch emulates it slowly, and MPS before macOS 14.
    """
    if precision != "bfloat16":
        return precision
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0):
        return "float16"
    if device.type == "mps" and not torch.backends.mps.is_macos_or_newer(14, 0):
        return "float16"
    return precision


def autocast(device: torch.device, precision: str):
    """Return a context in which matrix products run in "bfloat16" or "float16".

    In "float32" it changes nothing.
    """
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=getattr(torch, precision))


@contextmanager
def own_random_numbers(device: torch.device, seed: int | None = None) -> Iterator[None]:
    """Draw from `seed` in this block (None: go on), and leave everybody else's numbers alone.

    The state that comes back afterwards is the CPU's and that of `device`, CUDA or MPS.
    """
    forked = [device] if device.type in ("cuda", "mps") else []
    device_type = device.type if forked else "cuda"
    with torch.random.fork_rng(devices=forked, device_type=device_type):
        if seed is not None:
            torch.manual_seed(seed)
        yield


POSITIONS = ("first", "last", "last_token", "mean")


def check_position(position: str) -> None:
    """Raise ValueError for what is no position."""
    one_of("position", position, POSITIONS)


@dataclass(frozen=True)
class TrainingSettings:
    """All hyperparameters of a fine-tuning; what is left out is as in the book's chapter 6.

    A step takes `accumulation` batches of `batch_size` messages. `position` is one of POSITIONS.
    `precision` is that of the frozen layers, "float32" or "bfloat16". `keep` says which epoch's
    weights the model has in the end: the "last" one's, or the "best", with the lowest validation
    loss. With `cache` the frozen layers run once for each message. `ignore_index` and
    `class_weights` are cross-entropy's. Raises ValueError for values that can't be.
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
        for name in ("epochs", "batch_size", "accumulation"):
            object.__setattr__(self, name, whole_number(name, getattr(self, name)))
        object.__setattr__(self, "seed", whole_number("seed", self.seed, 0, 2**63 - 1))
        finite_number("lr", self.lr)
        finite_number("weight_decay", self.weight_decay, inclusive=True)
        one_of("position", self.position, POSITIONS)
        one_of("precision", self.precision, PRECISIONS)
        one_of("keep", self.keep, ("last", "best"))
        one_of("cache", self.cache, (True, False))
        if self.class_weights is not None:
            weights = tuple(finite_number("a class's weight", w) for w in self.class_weights)
            object.__setattr__(self, "class_weights", weights)

    @classmethod
    def for_model(cls, name: str, **changes) -> Self:
        """Return the book's settings with `changes`; the nano's learning rate is twentyfold."""
        lr = 1e-3 if model_size(name) == BUNDLED_SIZE else 5e-5
        return cls(**{"lr": lr} | changes)


# --- in the readable loop: one forward pass, and what is taken of it ---------------------------


def last_token_positions(token_ids: torch.Tensor, pad_token_id: int = END_OF_TEXT) -> torch.Tensor:
    """Return for each row of `token_ids` (b, n) the position of its last real token: (b,).

    A row of padding alone gives 0. Raises ValueError for another number of dimensions.
    """
    instance_of("token ids", token_ids, torch.Tensor, "a torch.Tensor")
    if token_ids.ndim != 2 or not token_ids.shape[1]:
        shape = tuple(token_ids.shape)
        raise ValueError(f"token ids must have the shape (batch, num_tokens), not {shape}")
    positions = torch.arange(token_ids.shape[1], device=token_ids.device)
    return torch.where(token_ids != pad_token_id, positions, 0).amax(dim=1)


def class_logits(model: GPTModel, token_ids: torch.Tensor, position: str = "last") -> torch.Tensor:
    """Return the logits that classify each message: token ids (b, n) → (b, num_classes).

    Raises ValueError for another position.
    """
    return take_position(model(token_ids), token_ids, position)


def take_position(values: torch.Tensor, token_ids: torch.Tensor, position: str) -> torch.Tensor:
    """Return what a position has of values of all tokens: (b, n, k) and ids (b, n) → (b, k).

    Raises ValueError for another position.
    """
    check_position(position)
    if position == "mean":
        return values.mean(dim=1)
    if position == "last_token":
        rows = torch.arange(len(token_ids), device=token_ids.device)
        return values[rows, last_token_positions(token_ids)]
    return values[:, 0 if position == "first" else -1, :]


@torch.no_grad()
def class_probabilities(
    model: GPTModel, token_ids: torch.Tensor, position: str = "last"
) -> torch.Tensor:
    """Return each class's probability: token ids (b, n) → float32 (b, num_classes) on the CPU.

    The model is left in eval mode.
    """
    instance_of("token ids", token_ids, torch.Tensor, "a torch.Tensor")
    model.eval()
    token_ids = token_ids.to(model.tok_emb.weight.device)
    return class_logits(model, token_ids, position).softmax(dim=-1).float().cpu()


# --- in the fast loop: no more than the answer depends on --------------------------------------


def classifying_place(token_ids: list[int], position: str) -> int | None:
    """Return where in a row the classifying token is; None for the mean of all."""
    if position == "mean":
        return None
    if position == "first":
        return 0
    place = len(token_ids) - 1
    while position == "last_token" and place > 0 and token_ids[place] == END_OF_TEXT:
        place -= 1
    return place


def up_to_classifying_token(token_ids: list[int], position: str) -> list[int]:
    """Return a row up to the token that classifies; for the mean of all, the whole row.

    Under the causal mask no later token changes the answer.
    """
    place = classifying_place(token_ids, position)
    return token_ids if place is None else token_ids[: place + 1]


def rows_and_places(
    model: GPTModel, rows: list[list[int]], position: str
) -> tuple[list[list[int]], list[int] | None]:
    """Return what of each row its logits depend on, and where in it the classifying token is.

    There are no places (None) for the mean of all. Raises ValueError where each token of a row
    counts and the rows differ in length: filled up in a batch, they would give other answers.
    """
    places = None if position == "mean" else [classifying_place(ids, position) for ids in rows]
    if places is not None and has_causal_mask(model):
        return [up_to_classifying_token(ids, position) for ids in rows], places
    if len(lengths := set(map(len, rows))) > 1:
        raise ValueError(
            f"rows of {min(lengths)} to {max(lengths)} tokens: for the mean of all positions, or "
            "without the causal mask, pad or cut them to one length"
        )
    return rows, places


TOKENS_AT_ONCE = 2048  # in one forward pass of the frozen part


# --- one token of each message ---------------------------------------------------------------


def attention_at(
    attention: MultiHeadAttention, x: torch.Tensor, places: torch.Tensor
) -> torch.Tensor:
    """Return what attention puts out at one place of each message: (b, n, d), (b,) → (b, d).

    The matrices of keys and values need not meet all n tokens. A score q · (W x) is (q W) · x, so
    the key matrix meets the one query; and the weighted sum of the values W x is W times the
    weighted sum of the x.
    """
    b, n, d = x.shape
    h, m = attention.num_heads, d // attention.num_heads
    key_matrix = effective_weight(attention.W_key).view(h, m, d)
    value_matrix = effective_weight(attention.W_value).view(h, m, d)

    query = attention.W_query(x[torch.arange(b), places]).view(b, h, m)
    scores = torch.einsum("bhm,hmd->bhd", query, key_matrix) @ x.transpose(1, 2)  # (b, h, n)
    if attention.W_key.bias is not None:  # alike for all n tokens, so softmax does not see it
        key_bias = attention.W_key.bias.view(h, m)
        scores = scores + torch.einsum("bhm,hm->bh", query, key_bias).unsqueeze(-1)
    if attention.causal:
        future = torch.arange(n, device=x.device) > places.unsqueeze(1)  # (b, n)
        scores = scores.masked_fill(future.unsqueeze(1), -torch.inf)

    weights = attention.dropout((scores / m**0.5).softmax(dim=-1))  # (b, h, n)
    context = torch.einsum("bhd,hmd->bhm", weights @ x, value_matrix)
    if attention.W_value.bias is not None:
        value_bias = attention.W_value.bias.view(h, m)
        context = context + weights.sum(dim=-1, keepdim=True) * value_bias
    return attention.out_proj(context.reshape(b, d))


def block_at(block: TransformerBlock, x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Return what a block puts out at one place of each message: (b, n, d), (b,) → (b, d)."""
    attended = attention_at(block.att, block.norm1(x), places)
    one = x[torch.arange(len(x)), places] + block.drop_resid(attended)
    return one + block.drop_resid(block.ff(block.norm2(one)))


def block_without_gradient(block: TransformerBlock, x: torch.Tensor) -> torch.Tensor:
    """Return what a block in eval mode puts out, (b, n, d) → same, by torch's fused attention.

    That never holds all n × n weights, so it takes a fraction of the time where n is large; only
    its backward pass is slower on a CPU. The numbers are the same but for rounding.
    """
    att = block.att
    b, n, d = x.shape
    normed = block.norm1(x)
    split = (
        matrix(normed).view(b, n, att.num_heads, -1).transpose(1, 2)  # (b, h, n, m)
        for matrix in (att.W_query, att.W_key, att.W_value)
    )
    context = F.scaled_dot_product_attention(*split, is_causal=att.causal)
    x = x + att.out_proj(context.transpose(1, 2).reshape(b, n, d))
    return x + block.ff(block.norm2(x))


def run_block(
    block: TransformerBlock, x: torch.Tensor, places: torch.Tensor | None
) -> torch.Tensor:
    """Run a block on (b, n, d): for all tokens (None), or, (b, 1, d), for those at `places` (b,)."""
    if places is not None:
        return block_at(block, x, places).unsqueeze(1)
    if block.training or torch.is_grad_enabled():
        return block(x)
    return block_without_gradient(block, x)


def run_blocks(
    model: GPTModel, x: torch.Tensor, places: torch.Tensor | None, start: int, stop: int
) -> torch.Tensor:
    """Run the blocks `start` … `stop` - 1 on (b, n, d), for the tokens at `places` (b,).

    Below the last block all tokens go on, (b, n, d); the last one gives (b, 1, d), or, with
    `places` None, all again.
    """
    last = len(model.trf_blocks) - 1
    for number in range(start, stop):
        x = run_block(model.trf_blocks[number], x, places if number == last else None)
    return x


def vectors_at(
    model: GPTModel, x: torch.Tensor, places: torch.Tensor | None, start: int = 0
) -> torch.Tensor:
    """Map what goes into block `start`, (b, n, d), to what the head reads at `places`: (b, d).

    With `places` None it is the mean over all n tokens. With `start` beyond the last block x is what
    that one gave.
    """
    x = run_blocks(model, x, places, start, len(model.trf_blocks))  # (b, 1, d), or (b, n, d)
    return model.final_norm(x).mean(dim=1)


def logits_at(
    model: GPTModel, x: torch.Tensor, places: torch.Tensor | None, start: int = 0
) -> torch.Tensor:
    """Map what `vectors_at` takes to the logits at `places`, (b, num_classes).

    Of the mean over all tokens it is the mean of their logits: the head is linear.
    """
    return model.out_head(vectors_at(model, x, places, start))


# --- messages in batches ---------------------------------------------------------------------


def pad_batch(messages: Sequence[Sequence[int]], device) -> torch.Tensor:
    """Return token ids (b, n), zeros after the shorter messages."""
    longest = max(map(len, messages))
    return torch.tensor([[*ids, *[0] * (longest - len(ids))] for ids in messages], device=device)


def places_of(places: Sequence[int] | None, indices: Sequence[int], device) -> torch.Tensor | None:
    """Return the places of some messages, (b,); None where there are none."""
    return None if places is None else torch.tensor([places[i] for i in indices], device=device)


def in_batches_by_length(lengths: Sequence[int], most: float = math.inf) -> list[list[int]]:
    """Return the messages' numbers in batches of like length, of TOKENS_AT_ONCE tokens at most.

    Where `most` is fewer, of `most`. A longer message is a batch of its own.
    """
    most = min(most, TOKENS_AT_ONCE)
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        if not batches or (len(batches[-1]) + 1) * lengths[i] > most:
            batches.append([])
        batches[-1].append(i)
    return batches


# a core's cache holds what a block of the nano makes of so many tokens: a fifth less time than 2,048
TOKENS_ON_CPU = 512


@torch.no_grad()
def class_vectors(
    model: GPTModel,
    messages: Sequence[Sequence[int]],
    position: str = "last",
    precision: str = "float32",
) -> torch.Tensor:
    """Return what the head reads of each message, a list of token ids: float32 (b, emb_dim).

    It is on the CPU; `model.out_head` makes the logits of it. At the position "mean" it is the mean
    over all tokens, as the logits are, since the head is linear. The model is left in eval mode.
    Raises ValueError for another position or precision, for an empty message, and, where each token
    of a message counts, for messages of different lengths.
    """
    instance_of("model", model, torch.nn.Module, "a GPTModel")
    check_position(position)
    check_precision(precision)
    messages = [list(ids) for ids in messages]
    if not all(messages):
        raise ValueError("a message has no tokens; leave it out")
    device = model.tok_emb.weight.device
    rows, places = rows_and_places(model, messages, position)
    model.eval()
    vectors = torch.empty(len(rows), model.cfg["emb_dim"])
    tokens = TOKENS_ON_CPU if device.type == "cpu" else math.inf
    for batch in in_batches_by_length(list(map(len, rows)), tokens):
        token_ids = pad_batch([rows[i] for i in batch], device)  # (b, n)
        at = places_of(places, batch, device)
        with autocast(device, precision_on(device, precision)):
            vectors[batch] = vectors_at(model, model.embed(token_ids), at).float().cpu()
    return vectors


NOTHING_TO_TRAIN = (
    "every parameter is frozen: there is nothing to train; take a FreezePlan with a trainable part"
)


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
    """Return the mean loss over the first `num_batches` batches (None: all).

    NaN for a loader without batches.
    """
    losses = []
    for input_batch, target_batch in _first(data_loader, num_batches):
        loss = calc_loss_batch(input_batch, target_batch, model, device, position)
        losses.append(loss.item())
    return sum(losses) / len(losses) if losses else float("nan")


@torch.no_grad()
def calc_accuracy_loader(
    data_loader: DataLoader, model: GPTModel, device, num_batches=None, position: str = "last"
) -> float:
    """Return the share, 0 … 1, of messages classified correctly in the first `num_batches` batches.

    None takes all batches. The model is left in eval mode. NaN for a loader without batches.
    """
    model.eval()
    correct = seen = 0
    for input_batch, target_batch in _first(data_loader, num_batches):
        logits = class_logits(model, input_batch.to(device), position)  # (b, num_classes)
        correct += (logits.argmax(dim=-1) == target_batch.to(device)).sum().item()
        seen += len(target_batch)
    return correct / seen if seen else float("nan")


def _first(data_loader: DataLoader, num_batches: int | None) -> Iterator:
    wanted = len(data_loader) if num_batches is None else whole_number("num_batches", num_batches)
    for number, batch in enumerate(data_loader):
        if number >= wanted:
            return
        yield batch


def evaluate_model(
    model: GPTModel, train_loader, val_loader, device, eval_iter: int, position: str = "last"
) -> tuple[float, float]:
    """Return the losses over `eval_iter` batches of training and of validation data.

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
    """Fine-tune `model` in place, as the book's section 6.7 does; a bar shows how far it is.

    Returns `(train_losses, val_losses, train_accs, val_accs, examples_seen)`: losses every
    `eval_freq` steps and accuracies (0 … 1) after each epoch, each over `eval_iter` batches.
    `step_losses` takes each step's loss. Raises FloatingPointError when a loss is not finite;
    ValueError when there is not one batch, or nothing to train.
    """
    for name, value in (
        ("num_epochs", num_epochs),
        ("eval_freq", eval_freq),
        ("eval_iter", eval_iter),
    ):
        whole_number(name, value)
    if not len(train_loader):
        raise ValueError(
            "the training loader has no batch; take a smaller batch_size or more messages"
        )
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError(NOTHING_TO_TRAIN)
    train_losses, val_losses, train_accs, val_accs = [], [], [], []
    examples_seen, step = 0, -1
    with progress_bar(num_epochs * len(train_loader), "step", "fine-tuning") as bar:
        for epoch in range(1, num_epochs + 1):
            model.train()
            for input_batch, target_batch in train_loader:
                optimizer.zero_grad()
                loss = calc_loss_batch(input_batch, target_batch, model, device, position)
                check_finite(loss.item(), step + 1)
                loss.backward()
                optimizer.step()
                if step_losses is not None:
                    step_losses.append(loss.item())
                examples_seen += len(input_batch)
                step += 1
                bar.update()
                if step % eval_freq == 0:
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


def progress_bar(total: int, unit: str, what: str, show: bool = True) -> tqdm:
    """Return a bar of `total` units with the label `what`; nothing is seen of it unless `show`."""
    return tqdm(total=total, unit=unit, desc=what, disable=not show)


def check_finite(loss: float, step: int) -> None:
    """Raise FloatingPointError for a loss that is not finite, with its step and what to do."""
    if not math.isfinite(loss):
        raise FloatingPointError(f"the loss is {loss} at step {step}; take a smaller learning rate")


# --- curves ---------------------------------------------------------------------------------------


def plot_values(epochs_seen, examples_seen, train_values, val_values, label="loss") -> Figure:
    """Draw training and validation values over epochs (below) and over examples seen (above).

    The first two are (x, …) tensors or sequences as long as the values. The book's function, which
    also saves a PDF.
    """
    figure, axes = plt.subplots(figsize=(5.6, 3.2), layout="constrained")
    axes.plot(epochs_seen, train_values, label=f"training {label}", color=BLUE)
    axes.plot(epochs_seen, val_values, "--", label=f"validation {label}", color=ORANGE)
    axes.set(xlabel="epochs", ylabel=label)
    axes.legend()
    above = axes.twiny()
    above.plot(examples_seen, train_values, alpha=0)  # an unseen line, only to set the scale
    above.set_xlabel("examples seen")
    return figure
