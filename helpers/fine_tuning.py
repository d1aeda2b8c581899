"""Fine-tuning with the frozen part run once: the book's numbers in a fraction of the book's time.

`training.train_classifier_simple` is the loop to read; `fine_tune` takes the same steps on the
same batches. What is frozen runs once for each message (see `frozen_cache`), and the last block
answers only for the token that classifies. `fine_tuning_steps` does it in slices.
"""

import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from helpers.checks import finite_number, instance_of, one_of, whole_number
from helpers.classifying_token import check_position, rows_and_places
from helpers.config import BUNDLED_SIZE, model_size
from helpers.data import TextDataset
from helpers.device_and_precision import (
    RandomNumbers,
    check_precision,
    get_device,
    own_random_numbers,
    precision_on,
)
from helpers.epoch_checkpoint import EpochCheckpoint
from helpers.freezing import FreezePlan, num_classes_of
from helpers.frozen_cache import FrozenOutputs, frozen_outputs_steps, pad_batch, places_of
from helpers.gradient_reach import frozen_blocks
from helpers.history import History, WholeEpochs, count_of
from helpers.model import GPTModel
from helpers.ranks import ALONE, Ranks
from helpers.trained_part import TrainedPart, make_whole, shared
from helpers.training import NOTHING_TO_TRAIN, check_finite, progress_bar

MEASURED_AT_ONCE = 32  # messages


def fine_tuning_defaults(name: str) -> dict:
    """Return the book's `lr`, `weight_decay` and `num_epochs`; for the nano `lr` is twentyfold."""
    nano = model_size(name) == BUNDLED_SIZE
    return {"lr": 1e-3 if nano else 5e-5, "weight_decay": 0.1, "num_epochs": 5}


@dataclass(frozen=True)
class Progress:
    """How far a fine-tuning is: `done` of `total` messages while "encoding", or steps in "training".

    Encoding is the one run of the frozen part. `history` grows on while the training goes on.
    """

    phase: str
    done: int
    total: int
    history: History


def fine_tune(
    model: GPTModel,
    train: TextDataset,
    validation: TextDataset,
    plan: FreezePlan,
    *,
    epochs: int = 5,
    batch_size: int = 8,
    accumulation: int = 1,
    lr: float = 5e-5,
    weight_decay: float = 0.1,
    ignore_index: int = -100,
    seed: int = 123,
    position: str = "last",
    precision: str = "float32",
    keep: str = "last",
    cache: str | Path | Literal[False] = "auto",
    progress: bool = True,
    on_epoch: Callable[[History], object] | None = None,
    device=None,
) -> History:
    """Fine-tune `model` in place under `plan`, with the numbers of `train_classifier_simple`.

    `precision` "bfloat16" runs the frozen part in bfloat16; the rest is trained in float32. `keep`
    says which epoch's weights the model has in the end: the "last" one's, as in the book, or those
    of the "best", with the lowest validation loss. `cache` is "auto" (what the frozen part puts out
    lies in memory, beyond frozen_cache.MEMORY_LIMIT on disk), a folder for it, or False: nothing is
    cached. Batches come in the order of the book's loop after `torch.manual_seed(seed)`. A step
    takes `accumulation` of them together, and its gradient is that of one batch of as many
    messages. `ignore_index` is cross-entropy's: training messages with this label do not count.
    `on_epoch` is called with the history after each whole epoch, when the model has its weights and
    is in eval mode; it may look at the model, and not change it. The model is left in eval mode.

    Messages one by one, without padding, need no setting of their own: the causal mask hides what
    follows the last token, so that is `position` "last_token" with `batch_size` 1; and with 8 it is
    the same as gradients accumulated over eight such messages.

    Raises ValueError for settings that can't be, a plan of another depth or without a trainable
    part, and a model with its language-model head; FloatingPointError when a loss is not finite.
    After an interruption, or any error in the training, the model has the weights of the last whole
    epoch, or of the best one so far.
    """
    steps = fine_tuning_steps(
        model,
        train,
        validation,
        plan,
        epochs=epochs,
        batch_size=batch_size,
        accumulation=accumulation,
        lr=lr,
        weight_decay=weight_decay,
        ignore_index=ignore_index,
        seed=seed,
        position=position,
        precision=precision,
        keep=keep,
        cache=cache,
        device=device,
    )
    with Bars(epochs, progress) as bars:
        history = _run_to_the_end(steps, bars.update, on_epoch)
    if history.interrupted:
        warnings.warn(history.notes[-1], stacklevel=2)
    return history


def fine_tuning_steps(
    model: GPTModel,
    train: TextDataset,
    validation: TextDataset,
    plan: FreezePlan,
    *,
    epochs: int = 5,
    batch_size: int = 8,
    accumulation: int = 1,
    lr: float = 5e-5,
    weight_decay: float = 0.1,
    ignore_index: int = -100,
    class_weights: Sequence[float] | None = None,
    seed: int = 123,
    position: str = "last",
    precision: str = "float32",
    keep: str = "last",
    cache: str | Path | Literal[False] = "auto",
    device=None,
    ranks: Ranks = ALONE,
    shard: bool = False,
    checkpoint: EpochCheckpoint | None = None,
) -> Generator[Progress, None, History]:
    """Do what `fine_tune` does in short slices, for a caller with other things to do in between.

    A slice is a block's run for a batch that is encoded, a step, or a batch measured. Between two
    slices torch's random numbers are the caller's own, and the model is not to be touched. `close`
    interrupts the training, without a warning, and so does a KeyboardInterrupt, which ends the
    generator. What `fine_tune` raises comes out of `next`.

    Several `ranks` share the work: each runs the frozen part for its own messages and keeps that,
    and of each batch it takes those that are its own. The batches are those of one process, and so
    are losses and weights, but for rounding. With `shard` each has only a part of what is trained
    (see `trained_part`). With a `checkpoint` a training that was killed goes on at its last whole
    epoch; that needs `keep` "last".
    """
    instance_of("model", model, torch.nn.Module, "a GPTModel")
    instance_of("plan", plan, FreezePlan, "a FreezePlan")
    for name, data in (("train", train), ("validation", validation)):
        instance_of(
            name, data, TextDataset, "a TextDataset or SpamDataset, such as a loader's .dataset"
        )
    check_position(position)
    check_precision(precision)
    one_of("keep", keep, ("last", "best"))
    _check_cache(cache)
    finite_number("lr", lr)
    finite_number("weight_decay", weight_decay, inclusive=True)
    num_classes_of(model)  # refuses a language-model head
    if not (plan.trainable or plan.adapted):
        raise ValueError(NOTHING_TO_TRAIN)
    whole_number("batch_size", batch_size)
    whole_number("accumulation", accumulation)
    if checkpoint is not None and keep != "last":
        raise ValueError(f"with a checkpoint keep must be 'last', not {keep!r}")
    order = batch_order(len(train), batch_size * accumulation, epochs, seed)
    device = torch.device(device or get_device())
    weight = None if class_weights is None else _checked_weights(class_weights, model).to(device)
    loss_of = partial(F.cross_entropy, weight=weight, ignore_index=ignore_index)
    sources = [_Source(model, data, position, device, ranks) for data in (train, validation)]

    with own_random_numbers(device, seed):  # with which new adapters start
        plan.apply(model).to(device)
    history = History()
    num_blocks = _blocks_to_cache(model, plan, cache, history)
    precision = _usable_precision(model, precision, num_blocks, history)
    random_numbers = RandomNumbers(device, seed)
    with own_random_numbers(device):
        trained = shared(TrainedPart(model, num_blocks), ranks, shard)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    # fused: one pass over the memory instead of a dozen
    optimizer = torch.optim.AdamW(trainable, lr=lr, weight_decay=weight_decay, fused=True)
    if checkpoint is not None:
        checkpoint.load(trained, optimizer, history)
    for source in sources:
        source.trained = trained
    with WholeEpochs(model, history, keep) as whole_epochs:
        training = _train(
            model, optimizer, *sources, order, batch_size, loss_of, whole_epochs, checkpoint
        )
        phases = [("seconds_training", training)]
        if num_blocks is not None:
            encoding = _run_frozen_part(sources, num_blocks, precision, cache, history)
            phases.insert(0, ("seconds_encoding", encoding))
        for name, slices in phases:
            while True:
                with _timed(history, name), random_numbers.drawn():
                    progress = next(slices, None)
                if progress is None:
                    break
                yield progress
    if not history.interrupted:
        make_whole(trained)
    return history


def _checked_weights(class_weights: Sequence[float], model: GPTModel) -> torch.Tensor:
    """Return a weight for each class, (num_classes,)."""
    weights = [finite_number("a class's weight", weight) for weight in class_weights]
    if len(weights) != num_classes_of(model):
        raise ValueError(f"{len(weights)} class weights for {num_classes_of(model)} classes")
    return torch.tensor(weights)


def _check_cache(cache) -> None:
    is_folder = isinstance(cache, str | Path) and cache != "auto" and Path(cache).is_dir()
    if not (cache is False or is_folder or (isinstance(cache, str) and cache == "auto")):
        raise ValueError(f"cache must be 'auto', False or a folder that exists, not {cache!r}")


@contextmanager
def _timed(history: History, name: str) -> Iterator[None]:
    """Add to `history` how many seconds this block took, however it ended."""
    start = time.perf_counter()
    try:
        yield
    finally:
        setattr(history, name, getattr(history, name) + time.perf_counter() - start)


# --- all slices at a stretch -----------------------------------------------------------------


def _run_to_the_end(
    steps: Generator[Progress, None, History],
    show: Callable[[Progress], object],
    on_epoch: Callable[[History], object] | None,
) -> History:
    """Return what `steps` returns; it hears of an interruption between its slices, too."""
    epochs = 0
    try:
        while True:
            progress = next(steps)
            show(progress)
            if on_epoch and len(progress.history.val_accs) > epochs:
                epochs += 1
                on_epoch(progress.history)
    except StopIteration as end:
        return end.value
    except KeyboardInterrupt as interruption:
        try:
            steps.throw(interruption)
        except StopIteration as end:
            return end.value
    finally:  # an error here leaves the weights at once, and not when its traceback is forgotten
        steps.close()


class Bars:
    """A bar for each phase of a fine-tuning, one below the other."""

    NAMES = {"encoding": ("message", "encoding messages"), "training": ("step", "fine-tuning")}

    def __init__(self, epochs: int, show: bool):
        self.epochs, self.show = epochs, show
        self.phase = self.bar = self.epoch = None

    def __enter__(self) -> "Bars":
        return self

    def __exit__(self, *error) -> None:
        if self.bar is not None:
            self.bar.close()

    def update(self, progress: Progress) -> None:
        if progress.phase != self.phase:
            self.__exit__()
            self.phase = progress.phase
            self.bar = progress_bar(progress.total, *self.NAMES[self.phase], self.show)
        if self.phase == "training":
            epoch = min(1 + len(progress.history.val_accs), self.epochs)
            self.bar.set_postfix(progress.history.latest(), refresh=False)
            self.bar.set_description(f"epoch {epoch} of {self.epochs}", refresh=epoch != self.epoch)
            self.epoch = epoch
        self.bar.update(progress.done - self.bar.n)


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


def _train(
    model, optimizer, train, validation, order, batch_size, loss_of, whole_epochs, checkpoint
) -> Iterator[Progress]:
    """Take the steps of all epochs, each in batches of `batch_size`; measure after each epoch."""
    history, total = whole_epochs.history, sum(map(len, order))
    for batches in order[len(history.val_accs) :]:
        model.train()
        num_right = 0
        for batch in batches:
            optimizer.zero_grad()
            step_loss = step_right = 0.0
            for start in range(0, len(batch), batch_size):
                part = batch[start : start + batch_size]
                own = train.ranks.own(part)
                logits, labels = train.logits(own), train.labels[own]
                loss = _share_of_loss(loss_of, logits, labels, train.labels[batch])
                step_loss += loss.item()
                (train.ranks.size * loss).backward()  # the ranks' gradients are averaged
                step_right += _num_right(logits, labels)
            step_loss, step_right = train.ranks.sum(step_loss, step_right)
            check_finite(step_loss, len(history.step_losses))
            optimizer.step()
            num_right += step_right
            history.step_losses.append(step_loss)
            progress = Progress("training", len(history.step_losses), total, history)
            yield progress
        val_loss, val_acc = yield from _measure(model, validation, progress)
        check_finite(val_loss, len(history.step_losses))
        history.train_accs.append(num_right / sum(map(len, batches)))
        history.val_losses.append(val_loss)
        history.val_accs.append(val_acc)
        whole_epochs.epoch_ended()
        if checkpoint is not None:
            checkpoint.save(train.trained, optimizer, history)
        yield progress


def _share_of_loss(loss_of, logits, labels, all_labels) -> torch.Tensor:
    """Return what messages add to the mean loss of a batch with `all_labels`; without any, 0."""
    if not len(labels):
        return logits.sum() * 0  # of a row that stands in: it has a gradient, as DDP wants it
    weight = loss_of.keywords["weight"]
    if weight is None:
        return loss_of(logits, labels) * (len(labels) / len(all_labels))
    return loss_of(logits, labels) * (weight[labels].sum() / weight[all_labels].sum())


def _measure(
    model: GPTModel, source: "_Source", progress: Progress
) -> Generator[Progress, None, tuple[float, float]]:
    """Return the mean loss and the accuracy over all messages; yield `progress` on the way."""
    model.eval()
    loss = num_right = 0.0
    count, at_once = len(source.labels), MEASURED_AT_ONCE * source.ranks.size
    for start in range(0, count, at_once):
        if start:
            yield progress
        own = source.ranks.own(range(start, min(start + at_once, count)))
        with torch.no_grad():
            logits, labels = source.logits(own), source.labels[own]
            if own:
                loss += F.cross_entropy(logits, labels, reduction="sum").item()
                num_right += _num_right(logits, labels)
    loss, num_right = source.ranks.sum(loss, num_right)
    return loss / count, num_right / count


def _num_right(logits: torch.Tensor, labels: torch.Tensor) -> int:
    return (logits.argmax(dim=-1) == labels).sum().item()


# --- what runs once --------------------------------------------------------------------------


class _Source:
    """Gives logits and labels for messages of a data set: those that are this rank's own.

    The logits come from what is cached of the messages; before anything is, all of the model runs.
    """

    def __init__(
        self, model: GPTModel, data: TextDataset, position: str, device: torch.device, ranks: Ranks
    ):
        self.model, self.ranks = model, ranks
        rows, places = rows_and_places(model, data.encoded_texts, position)
        own = ranks.own(range(len(rows)))
        self.rows = [rows[i] for i in own]
        self.places = None if places is None else [places[i] for i in own]
        self.labels = torch.tensor(data.labels, device=device)  # (n,), all ranks' messages
        self.trained: nn.Module | None = None
        self.cached: FrozenOutputs | None = None

    def encode(self, num_blocks: int, precision: str, folder) -> Iterator[int]:
        """Have the first `num_blocks` blocks run once; yield numbers of messages done."""
        self.cached = yield from frozen_outputs_steps(
            self.model, self.rows, self.places, num_blocks, precision, folder
        )

    def logits(self, own: Sequence[int]) -> torch.Tensor:
        """Return (len(own), num_classes); without messages (1, num_classes), of a row of zeros."""
        device = self.labels.device
        rows = [i // self.ranks.size for i in own]
        if not own:
            places = None if self.places is None else torch.zeros(1, dtype=int, device=device)
            shape = (1, 1) if self.cached is None else (1, 1, self.model.cfg["emb_dim"])
            kind = int if self.cached is None else torch.float32
            return self.trained(torch.zeros(shape, dtype=kind, device=device), places)
        places = places_of(self.places, rows, device)
        if self.cached is None:
            return self.trained(pad_batch([self.rows[i] for i in rows], device), places)
        return self.trained(self.cached.batch(rows).to(device), places)


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
        history.cached = "the embeddings" + (f" and {count_of(blocks, 'block')}" if blocks else "")
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
    sources: list[_Source], num_blocks: int, precision: str, cache, history: History
) -> Iterator[Progress]:
    """Have each source go on from what the first `num_blocks` blocks put out."""
    folder = None if cache == "auto" else cache
    done, total = 0, sum(len(source.rows) for source in sources)
    for source in sources:
        for count in source.encode(num_blocks, precision, folder):
            done += count
            yield Progress("encoding", done, total, history)
