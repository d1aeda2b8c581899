"""Loss, accuracy and the fine-tuning loop of the book's sections 6.6 and 6.7, under the book's names.

The functions that run the model also take `position`, the token whose logits classify a message: "last", the row's
last position (as in the book; in a padded row that is padding), or "last_token", the last one before the padding, which
must be `<|endoftext|>`.
"""

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from helpers.config import BUNDLED_SIZE, END_OF_TEXT, model_size
from helpers.model import GPTModel

POSITIONS = ("last", "last_token")


def get_device() -> torch.device:
    """Return what the book trains on: a CUDA GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fine_tuning_defaults(name: str) -> dict:
    """Return `lr`, `weight_decay` and `num_epochs`: the book's, but a tenfold `lr` for the nano."""
    return {"lr": 5e-4 if model_size(name) == BUNDLED_SIZE else 5e-5, "weight_decay": 0.1, "num_epochs": 5}


# --- which token classifies ----------------------------------------------------------------------------------


def last_token_positions(token_ids: torch.Tensor, pad_token_id: int = END_OF_TEXT) -> torch.Tensor:
    """Return for each row of `token_ids` (b, n) the position of the last token that is not padding: (b,).

    A row of padding alone gives 0.
    """
    positions = torch.arange(token_ids.shape[1], device=token_ids.device)
    return torch.where(token_ids != pad_token_id, positions, 0).amax(dim=1)


def class_logits(model: GPTModel, token_ids: torch.Tensor, position: str = "last") -> torch.Tensor:
    """Return the logits that classify each message: token ids (b, n) → (b, num_classes).

    Raises ValueError for another position.
    """
    if position not in POSITIONS:
        raise ValueError(f"position must be 'last' or 'last_token', not {position!r}")
    logits = model(token_ids)  # (b, n, num_classes)
    if position == "last":
        return logits[:, -1, :]
    rows = torch.arange(len(token_ids), device=token_ids.device)
    return logits[rows, last_token_positions(token_ids)]


@torch.no_grad()
def class_probabilities(model: GPTModel, token_ids: torch.Tensor, position: str = "last") -> torch.Tensor:
    """Return each class's probability for each message: token ids (b, n) → float32 (b, num_classes) on the CPU.

    The model is left in eval mode.
    """
    model.eval()
    token_ids = token_ids.to(model.tok_emb.weight.device)
    return class_logits(model, token_ids, position).softmax(dim=-1).float().cpu()


# --- loss and accuracy ---------------------------------------------------------------------------------------


def calc_loss_batch(input_batch, target_batch, model: GPTModel, device, position: str = "last") -> torch.Tensor:
    """Return the mean cross-entropy, in nats, of a batch: token ids (b, n) and labels (b,) → ()."""
    logits = class_logits(model, input_batch.to(device), position)
    return F.cross_entropy(logits, target_batch.to(device))


@torch.no_grad()
def calc_loss_loader(
    data_loader: DataLoader, model: GPTModel, device, num_batches: int | None = None, position="last"
) -> float:
    """Return the mean loss over the first `num_batches` batches (all if None); NaN for a loader without batches."""
    batches = _first(data_loader, num_batches)
    losses = [calc_loss_batch(inputs, targets, model, device, position).item() for inputs, targets in batches]
    return sum(losses) / len(losses) if losses else float("nan")


@torch.no_grad()
def calc_accuracy_loader(
    data_loader: DataLoader, model: GPTModel, device, num_batches: int | None = None, position="last"
) -> float:
    """Return the share, 0 … 1, of messages classified correctly in the first `num_batches` batches (all if None).

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
    """Return the losses over `eval_iter` batches of training and validation; the model is left in training mode."""
    model.eval()
    losses = [calc_loss_loader(loader, model, device, eval_iter, position) for loader in (train_loader, val_loader)]
    model.train()
    return losses[0], losses[1]


# --- fine-tuning ---------------------------------------------------------------------------------------------


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
) -> tuple[list[float], list[float], list[float], list[float], int]:
    """Fine-tune `model` in place, as the book's section 6.7 does, with a progress bar instead of printed lines.

    Returns `(train_losses, val_losses, train_accs, val_accs, examples_seen)`: losses every `eval_freq` steps and
    accuracies (0 … 1) after each epoch, each over `eval_iter` batches.
    Raises FloatingPointError when a loss is not finite; ValueError when there is not one batch, or nothing to train.
    """
    if not len(train_loader):
        raise ValueError("the training loader has no batch; take a smaller batch_size or more messages")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError(
            "every parameter is frozen: there is nothing to train; apply a FreezePlan with a trainable part"
        )
    train_losses, val_losses, train_accs, val_accs = [], [], [], []
    examples_seen, step = 0, -1
    with tqdm(total=num_epochs * len(train_loader), unit="step", desc="fine-tuning") as bar:
        for epoch in range(1, num_epochs + 1):
            model.train()
            for input_batch, target_batch in train_loader:
                optimizer.zero_grad()
                loss = calc_loss_batch(input_batch, target_batch, model, device, position)
                if not loss.isfinite():
                    raise FloatingPointError(
                        f"the loss is {loss.item()} at step {step + 1}; take a smaller learning rate"
                    )
                loss.backward()
                optimizer.step()
                examples_seen += len(input_batch)
                step += 1
                bar.update()
                if step % eval_freq == 0:
                    train_loss, val_loss = evaluate_model(model, train_loader, val_loader, device, eval_iter, position)
                    train_losses.append(train_loss)
                    val_losses.append(val_loss)
                    bar.set_postfix(epoch=epoch, train_loss=f"{train_loss:.3f}", val_loss=f"{val_loss:.3f}")
            train_accs.append(calc_accuracy_loader(train_loader, model, device, eval_iter, position))
            val_accs.append(calc_accuracy_loader(val_loader, model, device, eval_iter, position))
    return train_losses, val_losses, train_accs, val_accs, examples_seen
