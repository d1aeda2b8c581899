"""Loss, accuracy and the fine-tuning loop of the book's sections 6.6 and 6.7, under its names.

The logits at one position of the padded token ids classify a message. `position` says which:

- "first", the first token, which attends only to itself (the book's exercise 6.3);
- "last", the last position, as in the book, which is padding where a message is shorter;
- "last_token", the last token before the padding, which must be `<|endoftext|>`;
- "mean", none of them: the mean of the logits at all positions, those of the padding included
  (an additional experiment in the book's repository, ch06/02);
- "mean_tokens", the mean of the logits at the message's own tokens, without the padding. Under the
  causal mask it does not depend on how much padding there is.

In the comments b is the batch size and n the number of tokens. `workshop/fast.py` does the same in
less time.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice

import torch
from matplotlib import pyplot as plt
from torch.nn import functional as F
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from helpers.checks import finite_number, one_of, whole_number
from helpers.config import BUNDLED_SIZE, END_OF_TEXT, model_size
from helpers.model import GPTModel

POSITIONS = ("first", "last", "last_token", "mean", "mean_tokens")
SCHEDULES = ("constant", "linear")
PRECISIONS = ("float32", "bfloat16")
BLUE, ORANGE = "#2e86c1", "#d55e00"

NOTHING_TO_TRAIN = (
    "every parameter is frozen: there is nothing to train; take a FreezePlan with a trainable part"
)


# --- device, random numbers -----------------------------------------------------------------------


def get_device() -> torch.device:
    """Return what the book trains on: a CUDA GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def own_random_numbers(device: torch.device, seed: int) -> Iterator[None]:
    """Draw random numbers from `seed` in this block, and restore torch's state after it.

    The state is that of the CPU and of `device`, where that is a CUDA GPU.
    """
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


# --- settings -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainingSettings:
    """All hyperparameters of a fine-tuning; the defaults are those of the book's chapter 6.

    A step takes `accumulation` batches of `batch_size` messages. `position` is one of POSITIONS.
    `precision` is that of the frozen layers, "float32" or "bfloat16". `keep` says which epoch's
    weights the model has in the end: those of the "last", or of the "best" one, with the lowest
    validation loss. With `cache` the frozen layers run once for each message. `ignore_index` and
    `class_weights` are those of cross-entropy.

    `fine_tune` also takes what the book's loop does not have. `head_lr` is the learning rate of the
    head, None for `lr`. `schedule` is one of SCHEDULES: `lr_factor` says how the learning rates
    change. `clip` is the largest norm of a step's gradient. With `by_length` a batch holds messages
    of similar lengths, and no message is left out. Raises ValueError for a value that can't be.
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
    head_lr: float | None = None
    schedule: str = "constant"
    clip: float | None = None
    by_length: bool = False

    def __post_init__(self):
        values = vars(self)  # as the dataclass is frozen; numpy's numbers become Python's
        for name in ("epochs", "batch_size", "accumulation"):
            values[name] = whole_number(name, values[name])
        values["seed"] = whole_number("seed", self.seed, 0, 2**62)
        values["lr"] = finite_number("lr", self.lr)
        values["weight_decay"] = finite_number("weight_decay", self.weight_decay, inclusive=True)
        if self.class_weights is not None:
            weights = [finite_number("a class's weight", weight) for weight in self.class_weights]
            values["class_weights"] = tuple(weights)
        for name in ("head_lr", "clip"):
            if values[name] is not None:
                values[name] = finite_number(name, values[name])
        one_of("position", self.position, POSITIONS)
        one_of("precision", self.precision, PRECISIONS)
        one_of("keep", self.keep, ("last", "best"))
        one_of("schedule", self.schedule, SCHEDULES)
        one_of("by_length", self.by_length, (False, True))

    @classmethod
    def for_model(cls, name: str, **changes) -> "TrainingSettings":
        """Return the book's settings with `changes`; the nano's learning rate is 20 times as large."""
        if model_size(name) == BUNDLED_SIZE:
            changes = {"lr": 1e-3} | changes
        return cls(**changes)

    @classmethod
    def for_texts(cls, name: str, **changes) -> "TrainingSettings":
        """Return settings to train all of a model on texts of any classes, with `changes`.

        The plan is `FreezePlan.everything`. The head, which starts from random weights, has six
        times the learning rate of the pretrained layers. The nano's rates were chosen by
        cross-validation; those of the larger GPT-2s are a tenth, as is usual where all of GPT-2 is
        fine-tuned. The last epoch is kept, not the "best": for the bundled seven-class texts the
        validation loss is lowest after one or two epochs, as the model becomes too confident, but
        the accuracy rises by nine points until the last epoch (cross-validated).
        """
        lr = changes.get("lr", 5e-4 if model_size(name) == BUNDLED_SIZE else 5e-5)
        settings = {
            "epochs": 8,
            "batch_size": 16,
            "lr": lr,
            "head_lr": 6 * lr,
            "weight_decay": 0.01,
            "position": "mean_tokens",
            "schedule": "linear",
            "clip": 1.0,
            "by_length": True,
        }
        return cls(**settings | changes)

    def lr_factor(self, step: int, num_steps: int) -> float:
        """Return by what the learning rates are multiplied in a step, 0 … num_steps - 1.

        It is 1 for the schedule "constant". For "linear", with w = num_steps // 10 steps of
        warm-up, it is the smaller one of (step + 1) / (w + 1), which rises to 1 in step w, and of
        (num_steps - step) / (num_steps - w), which then falls: it would be 0 after the last step.
        """
        if self.schedule == "constant":
            return 1.0
        warm_up = num_steps // 10
        return min((step + 1) / (warm_up + 1), (num_steps - step) / (num_steps - warm_up))


# --- the position that classifies -----------------------------------------------------------------


def last_token_positions(token_ids: torch.Tensor, pad_token_id: int = END_OF_TEXT) -> torch.Tensor:
    """Return the position of the last token before the padding: token ids (b, n) → (b,).

    It is 0 where there is only padding.
    """
    positions = torch.arange(token_ids.shape[-1], device=token_ids.device)
    return torch.where(token_ids != pad_token_id, positions, 0).amax(dim=-1)


def mean_of_tokens(values: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Return the mean over each message's first `lengths` tokens: (b, n, k), (b,) → (b, k)."""
    positions = torch.arange(values.shape[1], device=values.device)
    is_token = (positions < lengths.unsqueeze(1)).unsqueeze(-1)  # (b, n, 1)
    return (values * is_token).sum(dim=1) / lengths.unsqueeze(1)


def take_position(values: torch.Tensor, token_ids: torch.Tensor, position: str) -> torch.Tensor:
    """Return the values at a position of each message: (b, n, k) and token ids (b, n) → (b, k).

    For "mean" and "mean_tokens" they are a mean over positions. Raises ValueError for an unknown
    position.
    """
    if position == "mean":
        return values.mean(dim=1)
    if position == "mean_tokens":
        return mean_of_tokens(values, last_token_positions(token_ids) + 1)
    if position == "last_token":
        return values[torch.arange(len(values)), last_token_positions(token_ids)]
    if position == "last":
        return values[:, -1]
    one_of("position", position, POSITIONS)
    return values[:, 0]


def class_logits(model: GPTModel, token_ids: torch.Tensor, position: str = "last") -> torch.Tensor:
    """Return the logits that classify each message: token ids (b, n) → (b, num_classes).

    Raises ValueError for an unknown position.
    """
    return take_position(model(token_ids), token_ids, position)


def classifying_place(token_ids: Sequence[int], position: str) -> int | None:
    """Return the index of the token that classifies a message; None for a mean of several."""
    if position in ("mean", "mean_tokens"):
        return None
    if position == "last_token":
        return last_token_positions(torch.tensor(token_ids)).item()
    return 0 if position == "first" else len(token_ids) - 1


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


def take_step(model: GPTModel, token_ids, labels, optimizer, position: str = "last") -> float:
    """Take a training step, in place; return the batch's mean loss before it, in nats."""
    optimizer.zero_grad()
    loss = calc_loss_batch(token_ids, labels, model, token_ids.device, position)
    loss.backward()
    optimizer.step()
    return loss.item()


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
    training_step: Callable[..., float] | None = None,
) -> tuple[list[float], list[float], list[float], list[float], int]:
    """Fine-tune `model` in place as in the book's section 6.7, with a progress bar.

    Returns `(train_losses, val_losses, train_accs, val_accs, examples_seen)`: losses every
    `eval_freq` steps and accuracies (0 … 1) after each epoch, each of `eval_iter` batches. They are
    printed, too. The loss of each step is appended to `step_losses`. A `training_step` is called
    instead of `take_step`, with a model, token ids, labels and an optimizer. Raises ValueError when
    there is no batch or no trainable parameter, and FloatingPointError when a loss is not finite.
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
    training_step = training_step or partial(take_step, position=position)
    with tqdm(total=num_epochs * len(train_loader), unit="step", desc="fine-tuning") as bar:
        for epoch in range(1, num_epochs + 1):
            model.train()
            for input_batch, target_batch in train_loader:
                token_ids, labels = input_batch.to(device), target_batch.to(device)
                loss = training_step(model, token_ids, labels, optimizer)
                global_step += 1
                check_finite(loss, global_step)
                if step_losses is not None:
                    step_losses.append(loss)
                examples_seen += len(input_batch)
                bar.update()
                if global_step % eval_freq == 0:
                    train_loss, val_loss = evaluate_model(
                        model, train_loader, val_loader, device, eval_iter, position
                    )
                    train_losses.append(train_loss)
                    val_losses.append(val_loss)
                    bar.write(
                        f"Ep {epoch} (Step {global_step:06d}): "
                        f"Train loss {train_loss:.3f}, Val loss {val_loss:.3f}"
                    )
            train_acc = calc_accuracy_loader(train_loader, model, device, eval_iter, position)
            val_acc = calc_accuracy_loader(val_loader, model, device, eval_iter, position)
            train_accs.append(train_acc)
            val_accs.append(val_acc)
            bar.write(f"Training accuracy: {train_acc:.2%} | Validation accuracy: {val_acc:.2%}")
    return train_losses, val_losses, train_accs, val_accs, examples_seen


def check_finite(loss: float, step: int) -> None:
    """Raise FloatingPointError, with advice, for a loss that is not finite."""
    if not math.isfinite(loss):
        raise FloatingPointError(f"the loss is {loss} at step {step}; take a smaller learning rate")


def plot_values(epochs_seen, examples_seen, train_values, val_values, label="loss") -> plt.Figure:
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
