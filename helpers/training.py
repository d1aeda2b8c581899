"""Loss, accuracy and the fine-tuning loop of the book's sections 6.6 and 6.7, under the book's
names; a faster loop.

The functions that run the model also take `position`, the token whose logits classify a message:
"last", the row's last position (as in the book; in a padded row that is padding), or "last_token",
the last one before the padding, which must be `<|endoftext|>`.
"""

import math
import time
import warnings
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from helpers.config import BUNDLED_SIZE, END_OF_TEXT, model_size
from helpers.data import SpamDataset
from helpers.freezing import FreezePlan, frozen_blocks
from helpers.model import GPTModel
from helpers.prefix import Kept, encode, pad_batch, precision_on

POSITIONS = ("last", "last_token")
PRECISIONS = ("float32", "bfloat16")
NOTHING_TO_TRAIN = (
    "every parameter is frozen: there is nothing to train; take a FreezePlan with a trainable part"
)


def get_device() -> torch.device:
    """Return what the book trains on: a CUDA GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fine_tuning_defaults(name: str) -> dict:
    """Return `lr`, `weight_decay` and `num_epochs`: the book's, but a twentyfold `lr` for the
    nano.
    """
    return {
        "lr": 1e-3 if model_size(name) == BUNDLED_SIZE else 5e-5,
        "weight_decay": 0.1,
        "num_epochs": 5,
    }


# --- which token classifies -----------------------------------------------------------------------


def last_token_positions(token_ids: torch.Tensor, pad_token_id: int = END_OF_TEXT) -> torch.Tensor:
    """Return for each row of `token_ids` (b, n) the position of the last token that is not padding:
    (b,).

    A row of padding alone gives 0.
    """
    positions = torch.arange(token_ids.shape[1], device=token_ids.device)
    return torch.where(token_ids != pad_token_id, positions, 0).amax(dim=1)


def check_position(position: str) -> None:
    """Raise ValueError for what is no position."""
    if position not in POSITIONS:
        raise ValueError(f"position must be 'last' or 'last_token', not {position!r}")


def check_precision(precision: str) -> None:
    """Raise ValueError for what is no precision of a frozen part."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be 'float32' or 'bfloat16', not {precision!r}")


def class_logits(model: GPTModel, token_ids: torch.Tensor, position: str = "last") -> torch.Tensor:
    """Return the logits that classify each message: token ids (b, n) → (b, num_classes).

    Raises ValueError for another position.
    """
    check_position(position)
    logits = model(token_ids)  # (b, n, num_classes)
    if position == "last":
        return logits[:, -1, :]
    rows = torch.arange(len(token_ids), device=token_ids.device)
    return logits[rows, last_token_positions(token_ids)]


@torch.no_grad()
def class_probabilities(
    model: GPTModel, token_ids: torch.Tensor, position: str = "last"
) -> torch.Tensor:
    """Return each class's probability for each message: token ids (b, n) → float32 (b, num_classes)
    on the CPU.

    The model is left in eval mode.
    """
    model.eval()
    token_ids = token_ids.to(model.tok_emb.weight.device)
    return class_logits(model, token_ids, position).softmax(dim=-1).float().cpu()


# --- loss and accuracy ----------------------------------------------------------------------------


def calc_loss_batch(
    input_batch, target_batch, model: GPTModel, device, position: str = "last"
) -> torch.Tensor:
    """Return the mean cross-entropy, in nats, of a batch: token ids (b, n) and labels (b,) → ()."""
    logits = class_logits(model, input_batch.to(device), position)
    return F.cross_entropy(logits, target_batch.to(device))


@torch.no_grad()
def calc_loss_loader(
    data_loader: DataLoader,
    model: GPTModel,
    device,
    num_batches: int | None = None,
    position="last",
) -> float:
    """Return the mean loss over the first `num_batches` batches (all if None); NaN for a loader
    without batches.
    """
    batches = _first(data_loader, num_batches)
    losses = [
        calc_loss_batch(inputs, targets, model, device, position).item()
        for inputs, targets in batches
    ]
    return sum(losses) / len(losses) if losses else float("nan")


@torch.no_grad()
def calc_accuracy_loader(
    data_loader: DataLoader,
    model: GPTModel,
    device,
    num_batches: int | None = None,
    position="last",
) -> float:
    """Return the share, 0 … 1, of messages classified correctly in the first `num_batches` batches
    (all if None).

    The model is left in eval mode. NaN for a loader without batches.
    """
    model.eval()
    correct = seen = 0
    for inputs, targets in _first(data_loader, num_batches):
        predicted = class_logits(model, inputs.to(device), position).argmax(dim=-1)  # (b,)
        correct += (predicted == targets.to(device)).sum().item()
        seen += len(targets)
    return correct / seen if seen else float("nan")


def _first(data_loader: DataLoader, num_batches: int | None):
    wanted = len(data_loader) if num_batches is None else num_batches
    for number, batch in enumerate(data_loader):
        if number >= wanted:
            return
        yield batch


def evaluate_model(
    model: GPTModel, train_loader, val_loader, device, eval_iter: int, position="last"
) -> tuple[float, float]:
    """Return the losses over `eval_iter` batches of training and validation; the model is left in
    training mode.
    """
    model.eval()
    losses = [
        calc_loss_loader(loader, model, device, eval_iter, position)
        for loader in (train_loader, val_loader)
    ]
    model.train()
    return losses[0], losses[1]


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
    """Fine-tune `model` in place, as the book's section 6.7 does, with a progress bar instead of
    printed lines.

    Returns `(train_losses, val_losses, train_accs, val_accs, examples_seen)`: losses every
    `eval_freq` steps and accuracies (0 … 1) after each epoch, each over `eval_iter` batches.
    `step_losses` takes each step's loss. Raises FloatingPointError when a loss is not finite;
    ValueError when there is not one batch, or nothing to train.
    """
    if not len(train_loader):
        raise ValueError(
            "the training loader has no batch; take a smaller batch_size or more messages"
        )
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError(NOTHING_TO_TRAIN)
    train_losses, val_losses, train_accs, val_accs = [], [], [], []
    examples_seen, step = 0, -1
    with _bar(num_epochs * len(train_loader), "step", "fine-tuning") as bar:
        for epoch in range(1, num_epochs + 1):
            model.train()
            for input_batch, target_batch in train_loader:
                optimizer.zero_grad()
                loss = calc_loss_batch(input_batch, target_batch, model, device, position)
                _check_finite(loss.item(), step + 1)
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


def _bar(total: int, unit: str, what: str, show: bool = True) -> tqdm:
    return tqdm(total=total, unit=unit, desc=what, disable=not show)


def _check_finite(loss: float, step: int) -> None:
    if not math.isfinite(loss):
        raise FloatingPointError(f"the loss is {loss} at step {step}; take a smaller learning rate")


# --- the same, with the frozen part run once ------------------------------------------------------


@dataclass
class History:
    """How a fine-tuning went: the loss of each step, and after each epoch the figures over all
    validation messages.

    `kept` says which part ran only once for each message, "" if none; `notes` hold what was other
    than asked for. The times are in seconds. `interrupted`: the model has the weights of the last
    whole epoch.
    """

    step_losses: list[float] = field(default_factory=list)
    val_losses: list[float] = field(default_factory=list)
    val_accs: list[float] = field(default_factory=list)
    kept: str = ""
    notes: list[str] = field(default_factory=list)
    seconds_encoding: float = 0.0
    seconds_training: float = 0.0
    interrupted: bool = False

    def latest(self) -> dict[str, str]:
        """Return the latest figures in words, for a progress bar."""
        latest = {"loss": self.step_losses, "val_loss": self.val_losses, "val_acc": self.val_accs}
        return {name: f"{values[-1]:.3f}" for name, values in latest.items() if values}


def fine_tune(
    model: GPTModel,
    train: SpamDataset,
    validation: SpamDataset,
    plan: FreezePlan,
    *,
    epochs: int = 5,
    batch_size: int = 8,
    lr: float = 5e-5,
    weight_decay: float = 0.1,
    seed: int = 123,
    position: str = "last",
    precision: str = "float32",
    cache: str | Path | Literal[False] = "auto",
    progress: bool = True,
    device=None,
) -> History:
    """Fine-tune `model` in place under `plan`: the numbers of `train_classifier_simple` in a
    fraction of its time.

    What is frozen below the lowest trainable part runs once for each message, and of the last block
    only the token that classifies. `precision` "bfloat16" runs that frozen part in bfloat16; the
    rest is trained in float32. `cache` is "auto" (what is kept lies in memory, beyond
    prefix.MEMORY_LIMIT on disk), a folder for it, or False: keep nothing. Batches come in the order
    of the book's loop after `torch.manual_seed(seed)`. The model is left in eval mode. Raises
    ValueError for an unknown position or precision, a plan of another depth or without a trainable
    part; FloatingPointError when a loss is not finite. After any error in the training, and when it
    is interrupted, the model has the weights of the last whole epoch.
    """
    check_position(position)
    check_precision(precision)
    if not (cache in ("auto", False) or (isinstance(cache, str | Path) and Path(cache).is_dir())):
        raise ValueError(f"cache must be 'auto', False or a folder that exists, not {cache!r}")
    if not plan.trainable:
        raise ValueError(NOTHING_TO_TRAIN)
    order = batch_order(len(train), batch_size, epochs, seed)
    plan.apply(model).to(device or get_device())
    trainable, history = (
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        History(),
    )
    # fused: one pass over the memory instead of a dozen
    optimizer = torch.optim.AdamW(trainable, lr=lr, weight_decay=weight_decay, fused=True)
    with _whole_epochs(model, trainable, history) as keep_weights, _own_random_numbers(model, seed):
        began = time.perf_counter()
        start, precision = _what_is_kept(model, plan, precision, cache, history)
        with _bar(
            len(train) + len(validation),
            "message",
            "encoding messages",
            progress and start is not None,
        ) as bar:
            sources = [
                _Source(model, data, position, start, precision, cache, bar.update)
                for data in (train, validation)
            ]
        history.seconds_encoding = time.perf_counter() - began
        with _bar(sum(map(len, order)), "step", "fine-tuning", progress) as bar:
            for epoch, batches in enumerate(order, start=1):
                bar.set_description(f"epoch {epoch} of {epochs}")
                model.train()
                for indices in batches:
                    optimizer.zero_grad()
                    loss = F.cross_entropy(*sources[0].answers(indices))
                    _check_finite(loss.item(), len(history.step_losses))
                    loss.backward()
                    optimizer.step()
                    history.step_losses.append(loss.item())
                    bar.set_postfix(history.latest(), refresh=False)
                    bar.update()
                val_loss, val_acc = _measure(model, sources[1])
                _check_finite(val_loss, len(history.step_losses))
                history.val_losses.append(val_loss)
                history.val_accs.append(val_acc)
                keep_weights()
                bar.set_postfix(history.latest())
        history.seconds_training = time.perf_counter() - began - history.seconds_encoding
    return history


@contextmanager
def _whole_epochs(model: GPTModel, trainable: list[torch.nn.Parameter], history: History):
    """Yield what keeps the weights of a whole epoch; after an interruption or an error the model
    gets those back.
    """

    def keep_weights():
        nonlocal saved
        saved = len(history.val_accs), [parameter.detach().clone() for parameter in trainable]

    saved: tuple[int, list[torch.Tensor]]
    keep_weights()
    try:
        yield keep_weights
    except (KeyboardInterrupt, Exception) as error:
        finished, weights = saved
        del history.val_losses[finished:], history.val_accs[finished:]
        with torch.no_grad():
            for parameter, value in zip(trainable, weights, strict=True):
                parameter.copy_(value)
        if not isinstance(error, KeyboardInterrupt):
            raise
        history.interrupted = True
        history.notes.append(
            f"interrupted; the model has the weights of {_count(finished, 'whole epoch')}"
        )
        warnings.warn(history.notes[-1], stacklevel=4)
    finally:
        model.eval()


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


@contextmanager
def _own_random_numbers(model: GPTModel, seed: int):
    """Draw what dropout needs from `seed`, and leave everybody else's random numbers alone."""
    device = model.tok_emb.weight.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def batch_order(
    num_messages: int, batch_size: int, epochs: int, seed: int, eval_freq: int = 50
) -> list[list[list[int]]]:
    """Return for each epoch its batches of message numbers: those of the book's loop after
    `torch.manual_seed(seed)`.

    As there, messages that do not fill a last batch are left out; too few for one batch make one.
    The book's loop measures every `eval_freq` steps and after each epoch, and each time its data
    loaders draw three random numbers. Raises ValueError for a batch size or a number of epochs
    below 1.
    """
    if batch_size < 1 or epochs < 1:
        raise ValueError(f"batch_size and epochs must be at least 1, not {batch_size} and {epochs}")
    generator, order, step = torch.Generator().manual_seed(seed), [], 0

    def draw() -> int:
        return torch.empty((), dtype=torch.int64).random_(generator=generator).item()

    for _ in range(epochs):
        draw()  # the data loader's own
        shuffled = torch.randperm(
            num_messages, generator=torch.Generator().manual_seed(draw())
        ).tolist()
        starts = range(0, num_messages - batch_size + 1, batch_size)
        order.append([shuffled[start : start + batch_size] for start in starts] or [shuffled])
        measured = 1 + sum(number % eval_freq == 0 for number in range(step, step + len(order[-1])))
        step += len(order[-1])
        for _ in range(3 * measured):
            draw()
    return order


def messages_of(data: SpamDataset, position: str) -> list[list[int]]:
    """Return the token ids of each message as far as its logits need them: see `needed`."""
    return [needed(token_ids, position) for token_ids in data.encoded_texts]


def needed(token_ids: list[int], position: str) -> list[int]:
    """Return a row's token ids up to the one that classifies: all, or those before the padding, at
    least one.
    """
    if position == "last":
        return token_ids
    return token_ids[
        : next((i for i in range(len(token_ids), 1, -1) if token_ids[i - 1] != END_OF_TEXT), 1)
    ]


def _what_is_kept(model, plan, precision, cache, history) -> tuple[int | None, str]:
    """Return how many blocks are run once, None for no keeping at all, and in which precision; note
    it in `history`.
    """
    blocks = frozen_blocks(plan)
    if cache is False:
        reason = "cache is False"
    elif blocks is None:
        reason = "an embedding is trained"
    elif model.cfg["drop_rate"]:
        reason = "dropout changes what the frozen part puts out"
    else:
        history.kept = "the embeddings" + (f" and {_count(blocks, 'block')}" if blocks else "")
        usable = precision_on(model.tok_emb.weight.device, precision)
        if usable != precision:
            history.notes.append(
                f"this GPU has no {precision}, so the frozen part runs in {usable}"
            )
        return blocks, usable
    history.notes.append(f"{reason}, so nothing is kept, and all runs in every step, in float32")
    return None, "float32"


class _Source:
    """Gives logits and labels for messages of a data set: from what is kept of them, or by running
    all of the model.
    """

    def __init__(self, model, data, position, start, precision, cache, tell):
        self.model, self.start = model, start
        self.messages = messages_of(data, position)
        self.device = model.tok_emb.weight.device
        self.labels = torch.tensor(data.labels, device=self.device)
        self.kept: Kept | None = None
        if start is not None:
            self.kept = encode(
                model, self.messages, start, precision, None if cache == "auto" else cache, tell
            )

    def answers(self, indices: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits (b, num_classes) and labels (b,)."""
        if self.kept:
            x, positions = (tensor.to(self.device) for tensor in self.kept.batch(indices))
        else:
            token_ids, positions = pad_batch([self.messages[i] for i in indices], self.device)
            x = self.model.embed(token_ids)
        return self.model.logits_at(x, positions, self.start or 0), self.labels[indices]


@torch.no_grad()
def _measure(model: GPTModel, source: _Source, batch_size: int = 32) -> tuple[float, float]:
    """Return the mean loss and the accuracy over all messages."""
    model.eval()
    loss = correct = 0.0
    count = len(source.labels)
    for start in range(0, count, batch_size):
        logits, labels = source.answers(range(start, min(start + batch_size, count)))
        loss += F.cross_entropy(logits, labels, reduction="sum").item()
        correct += (logits.argmax(dim=-1) == labels).sum().item()
    return loss / count, correct / count
