"""Loss, accuracy and the fine-tuning loop of the book's sections 6.6 and 6.7, under its names.

Each function also takes `position`, the token whose logits classify: see `classifying_token`.
"""

import math
from collections.abc import Iterator

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from helpers.checks import whole_number
from helpers.classifying_token import class_logits
from helpers.model import GPTModel

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
