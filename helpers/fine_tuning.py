"""Fine-tuning with the frozen part run once: the book's numbers in a fraction of the book's time.

`training.train_classifier_simple` is the loop to read; `fine_tune` takes the same steps on the
same batches. What is frozen runs once for each message (see `frozen_cache`), and the last block
answers only for the token that classifies.
"""

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader

from helpers.checks import finite_number, one_of, whole_number
from helpers.classifying_token import check_position, up_to_classifying_token
from helpers.config import BUNDLED_SIZE, model_size
from helpers.data import SpamDataset
from helpers.device_and_precision import (
    check_precision,
    get_device,
    own_random_numbers,
    precision_on,
)
from helpers.freezing import FreezePlan, num_classes_of
from helpers.frozen_cache import FrozenOutputs, frozen_outputs, logits_at, pad_batch
from helpers.gradient_reach import frozen_blocks
from helpers.model import GPTModel
from helpers.training import NOTHING_TO_TRAIN, check_finite, progress_bar

MEASURED_AT_ONCE = 32  # messages


def fine_tuning_defaults(name: str) -> dict:
    """Return the book's `lr`, `weight_decay` and `num_epochs`; for the nano `lr` is twentyfold."""
    nano = model_size(name) == BUNDLED_SIZE
    return {"lr": 1e-3 if nano else 5e-5, "weight_decay": 0.1, "num_epochs": 5}


@dataclass
class History:
    """How a fine-tuning went: each step's loss, and after each epoch the validation figures.

    These are over all validation messages: the mean loss in nats and the accuracy, 0 … 1. `cached`
    says which part ran only once for each message, "" if none; `notes` hold what was other than
    asked for. After an error or an interruption (`interrupted`) all figures are those of the whole
    epochs before it, and the seconds those that were spent.
    """

    step_losses: list[float] = field(default_factory=list)
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
    keep: str = "last",
    cache: str | Path | Literal[False] = "auto",
    progress: bool = True,
    device=None,
) -> History:
    """Fine-tune `model` in place under `plan`, with the numbers of `train_classifier_simple`.

    `precision` "bfloat16" runs the frozen part in bfloat16; the rest is trained in float32. `keep`
    says which epoch's weights the model has in the end: the "last" one's, as in the book, or those
    of the "best", with the lowest validation loss. `cache` is "auto" (what the frozen part puts out
    lies in memory, beyond frozen_cache.MEMORY_LIMIT on disk), a folder for it, or False: nothing is
    cached. Batches come in the order of the book's loop after `torch.manual_seed(seed)`. The model
    is left in eval mode.

    Raises ValueError for settings that can't be, a plan of another depth or without a trainable
    part, and a model with its language-model head; FloatingPointError when a loss is not finite.
    After an interruption, or any error in the training, the model has the weights of the last whole
    epoch, or of the best one so far.
    """
    check_position(position)
    check_precision(precision)
    one_of("keep", keep, ("last", "best"))
    _check_cache(cache)
    finite_number("lr", lr)
    finite_number("weight_decay", weight_decay, inclusive=True)
    num_classes_of(model)  # refuses a language-model head
    if not (plan.trainable or plan.adapted):
        raise ValueError(NOTHING_TO_TRAIN)
    order = batch_order(len(train), batch_size, epochs, seed)

    device = torch.device(device or get_device())
    with own_random_numbers(device, seed):  # with which new adapters start
        plan.apply(model).to(device)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    history = History()
    num_blocks = _blocks_to_cache(model, plan, cache, history)
    precision = _usable_precision(model, precision, num_blocks, history)
    # fused: one pass over the memory instead of a dozen
    optimizer = torch.optim.AdamW(trainable, lr=lr, weight_decay=weight_decay, fused=True)
    sources = [_Source(model, data, position) for data in (train, validation)]
    with (
        _WholeEpochs(model, history, keep) as whole_epochs,
        own_random_numbers(model.tok_emb.weight.device, seed),
    ):
        if num_blocks is not None:
            with _timed(history, "seconds_encoding"):
                _run_frozen_part(sources, num_blocks, precision, cache, progress)
        with _timed(history, "seconds_training"):
            _train(model, optimizer, *sources, order, history, whole_epochs, progress)
    return history


def _check_cache(cache) -> None:
    is_folder = isinstance(cache, str | Path) and cache != "auto" and Path(cache).is_dir()
    if not (cache is False or is_folder or (isinstance(cache, str) and cache == "auto")):
        raise ValueError(f"cache must be 'auto', False or a folder that exists, not {cache!r}")


# --- what happens in which order -------------------------------------------------------------


def batch_order(
    num_messages: int, batch_size: int, epochs: int, seed: int, eval_freq: int = 50
) -> list[list[list[int]]]:
    """Return for each epoch its batches of message numbers.

    They are those of the book's loop after `torch.manual_seed(seed)`, which measures every
    `eval_freq` steps and after each epoch: that, too, draws from torch's random numbers. As there,
    messages that do not fill a last batch are left out; too few for one batch make one. Raises
    ValueError for a batch size or a number of epochs below 1.
    """
    whole_number("batch_size", batch_size)
    whole_number("epochs", epochs)
    whole_number("seed", seed, 0, 2**63 - 1)
    whole_batches = num_messages >= batch_size
    numbers = range(num_messages)
    train = DataLoader(numbers, batch_size, shuffle=True, drop_last=whole_batches, collate_fn=list)
    validation = DataLoader(range(1))

    def measure() -> None:
        for loader in (train, validation):
            next(iter(loader))

    order: list[list[list[int]]] = []
    step = 0
    with own_random_numbers(torch.device("cpu"), seed):
        for _ in range(epochs):
            order.append([])
            for batch in train:
                order[-1].append(batch)
                if step % eval_freq == 0:
                    measure()
                step += 1
            measure()
    return order


def _train(model, optimizer, train, validation, order, history, whole_epochs, progress) -> None:
    """Take the steps of all epochs, and measure after each epoch."""
    with progress_bar(sum(map(len, order)), "step", "fine-tuning", progress) as bar:
        for epoch, batches in enumerate(order, start=1):
            bar.set_description(f"epoch {epoch} of {len(order)}")
            model.train()
            for batch in batches:
                optimizer.zero_grad()
                loss = F.cross_entropy(train.logits(batch), train.labels[batch])
                check_finite(loss.item(), len(history.step_losses))
                loss.backward()
                optimizer.step()
                history.step_losses.append(loss.item())
                bar.set_postfix(history.latest(), refresh=False)
                bar.update()
            val_loss, val_acc = _measure(model, validation)
            check_finite(val_loss, len(history.step_losses))
            history.val_losses.append(val_loss)
            history.val_accs.append(val_acc)
            whole_epochs.epoch_ended()
            bar.set_postfix(history.latest())


@torch.no_grad()
def _measure(model: GPTModel, source: "_Source") -> tuple[float, float]:
    """Return the mean loss and the accuracy over all messages."""
    model.eval()
    loss = correct = 0.0
    count = len(source.labels)
    for start in range(0, count, MEASURED_AT_ONCE):
        batch = range(start, min(start + MEASURED_AT_ONCE, count))
        logits, labels = source.logits(batch), source.labels[batch]
        loss += F.cross_entropy(logits, labels, reduction="sum").item()
        correct += (logits.argmax(dim=-1) == labels).sum().item()
    return loss / count, correct / count


# --- what runs once --------------------------------------------------------------------------


class _Source:
    """Gives logits and labels for messages of a data set.

    The logits come from what is cached of the messages; before anything is, all of the model runs.
    """

    def __init__(self, model: GPTModel, data: SpamDataset, position: str):
        self.model = model
        self.messages = [up_to_classifying_token(ids, position) for ids in data.encoded_texts]
        self.labels = torch.tensor(data.labels, device=model.tok_emb.weight.device)  # (n,)
        self.cached: FrozenOutputs | None = None

    def logits(self, indices: Sequence[int]) -> torch.Tensor:
        """Return (len(indices), num_classes)."""
        device = self.labels.device
        if self.cached is None:
            token_ids, ends = pad_batch([self.messages[i] for i in indices], device)
            return logits_at(self.model, self.model.embed(token_ids), ends)
        x, ends = self.cached.batch(indices)
        return logits_at(self.model, x.to(device), ends.to(device), self.cached.num_blocks)


def _blocks_to_cache(model: GPTModel, plan: FreezePlan, cache, history: History) -> int | None:
    """Return how many blocks run only once, None for nothing; `history` says which, or why."""
    blocks = frozen_blocks(plan)
    if cache is False:
        reason = "cache is False"
    elif blocks is None:
        reason = "an embedding is trained"
    elif model.cfg["drop_rate"]:
        reason = "dropout changes what the frozen part puts out"
    else:
        history.cached = "the embeddings" + (f" and {_count(blocks, 'block')}" if blocks else "")
        return blocks
    history.notes.append(f"{reason}, so nothing is cached: all runs in every step, in float32")
    return None


def _usable_precision(model, precision: str, num_blocks: int | None, history: History) -> str:
    if num_blocks is None:
        return "float32"
    usable = precision_on(model.tok_emb.weight.device, precision)
    if usable != precision:
        history.notes.append(f"this GPU has no {precision}: the frozen part runs in {usable}")
    return usable


def _run_frozen_part(
    sources: list[_Source], num_blocks: int, precision: str, cache, progress: bool
) -> None:
    """Have each source go on from what the first `num_blocks` blocks put out."""
    folder = None if cache == "auto" else cache
    count = sum(len(source.messages) for source in sources)
    with progress_bar(count, "message", "encoding messages", progress) as bar:
        for source in sources:
            source.cached = frozen_outputs(
                source.model, source.messages, num_blocks, precision, folder, bar.update
            )


# --- an end that leaves a whole epoch --------------------------------------------------------


@dataclass(frozen=True)
class _Saved:
    """How far the training was at the end of an epoch, and the weights that are to be left."""

    epochs: int
    steps: int
    epoch_of_weights: int
    weights: list[torch.Tensor]


class _WholeEpochs:
    """A context whose end, whatever it is, leaves the weights of a whole epoch.

    They are saved on the CPU, so that they do not fill a GPU's memory. An interruption ends here;
    other errors go on.
    """

    def __init__(self, model: GPTModel, history: History, keep: str):
        self.model, self.history, self.keep = model, history, keep
        self.trainable = [p for p in model.parameters() if p.requires_grad]

    def __enter__(self) -> "_WholeEpochs":
        self.saved = _Saved(0, 0, 0, self._weights())
        return self

    def epoch_ended(self) -> None:
        epochs, steps = len(self.history.val_accs), len(self.history.step_losses)
        if self.keep == "last" or epochs == self.history.best_epoch:
            self.saved = _Saved(epochs, steps, epochs, self._weights())
        else:
            self.saved = replace(self.saved, epochs=epochs, steps=steps)

    def __exit__(self, kind, error, traceback) -> bool:
        self.model.eval()
        if isinstance(error, KeyboardInterrupt):
            self._back_to_saved()
            self._say_interrupted()
            return True
        if isinstance(error, Exception) or self.saved.epoch_of_weights < self.saved.epochs:
            self._back_to_saved()
        return False

    def _weights(self) -> list[torch.Tensor]:
        return [parameter.detach().to("cpu", copy=True) for parameter in self.trainable]

    def _back_to_saved(self) -> None:
        saved, history = self.saved, self.history
        try:
            self._put_back(saved.weights)
        except KeyboardInterrupt:  # never half of them
            self._put_back(saved.weights)
            raise
        del history.step_losses[saved.steps :]
        del history.val_losses[saved.epochs :], history.val_accs[saved.epochs :]

    @torch.no_grad()
    def _put_back(self, weights: list[torch.Tensor]) -> None:
        for parameter, value in zip(self.trainable, weights, strict=True):
            parameter.copy_(value)

    def _say_interrupted(self) -> None:
        saved = self.saved
        left = f"the weights of {_count(saved.epochs, 'whole epoch')}"
        if saved.epoch_of_weights < saved.epochs:
            left = f"the weights of epoch {saved.epoch_of_weights}, the best of {saved.epochs}"
        self.history.interrupted = True
        self.history.notes.append(f"interrupted; the model has {left}")
        warnings.warn(self.history.notes[-1], stacklevel=4)


@contextmanager
def _timed(history: History, name: str) -> Iterator[None]:
    """Note in `history` how many seconds this block took, however it ended."""
    start = time.perf_counter()
    try:
        yield
    finally:
        setattr(history, name, time.perf_counter() - start)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
