"""Where torch computes, how precisely, and whose random numbers it draws.

How a fine-tuning went: its figures, and an end that leaves the weights of a whole epoch.

The frozen part of a model runs once for each message, and what it puts out is cached.

Below the lowest trainable part nothing changes in training, so for the same message the same
numbers come out in every epoch. `frozen_outputs` computes them once, into one long table;
`FrozenOutputs.batch` takes a batch from it, and `logits_at` goes on from there. The cache also
serves any later plan that leaves the same parts frozen, or more; a fingerprint of the frozen
weights and the messages decides.

A classifier needs the logits of one token of each message, the one at its *place*. So the last
block answers for that token only, which still looks at all that it may see. Where the mean of all
tokens' logits classifies, places are None, and the last block answers for all. In the comments b is
the batch size, n the number of tokens, d = emb_dim, h the number of heads and m = d / h.

Fine-tuning with the frozen part run once: the book's numbers in a fraction of the book's time.

`training.train_classifier_simple` is the loop to read; `fine_tune` takes the same steps on the
same batches. What is frozen runs once for each message (see `frozen_cache`), and the last block
answers only for the token that classifies. `fine_tuning_steps` does it in slices.

The finished classifier: put a text in, get its class, such as "spam" or "ham"; save it, load it.

`classify_review` is the book's function of section 6.8. `TextClassifier` keeps what it needs in one
place and one file, for any classes; `SpamClassifier` is the one of ham and spam.
"""

import hashlib
import json
import os
import tempfile
import time
import warnings
from array import array
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import accumulate
from pathlib import Path

import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from helpers.checks import finite_number, instance_of, whole_number
from helpers.classify import SpamClassifier
from helpers.config import model_size
from helpers.data import TextDataset, create_dataloaders, load_splits
from helpers.download import file_sha256
from helpers.freezing import FreezePlan, frozen_blocks, num_classes_of, replace_head
from helpers.loading import INDEX, find_checkpoint, load_pretrained
from helpers.lora import adapters_in
from helpers.model import GPTModel
from helpers.training import (
    NOTHING_TO_TRAIN,
    TrainingSettings,
    autocast,
    check_finite,
    get_device,
    in_batches_by_length,
    own_random_numbers,
    pad_batch,
    places_of,
    precision_on,
    progress_bar,
    rows_and_places,
    run_blocks,
)
from workshop.processes import ALONE, EpochCheckpoint, Ranks, TrainedPart, make_whole, shared


class RandomNumbers:
    """Torch's random numbers from `seed` on, for work in slices.

    Each slice goes on where the last one ended; between them everybody else's numbers are as they
    would be without. On `device`, CUDA or MPS, they are that device's, too.
    """

    def __init__(self, device: torch.device, seed: int):
        self.device = device
        with own_random_numbers(device, seed):
            self._states = self._now()

    @contextmanager
    def drawn(self) -> Iterator[None]:
        """Draw from them in this block."""
        with own_random_numbers(self.device):
            cpu_state, *device_states = self._states
            torch.set_rng_state(cpu_state)
            for state in device_states:
                getattr(torch, self.device.type).set_rng_state(state, self.device)
            yield
            self._states = self._now()

    def _now(self) -> list[torch.Tensor]:
        states = [torch.get_rng_state()]
        if self.device.type in ("cuda", "mps"):
            states.append(getattr(torch, self.device.type).get_rng_state(self.device))
        return states


@dataclass
class History:
    """How a fine-tuning went: each step's loss, and after each epoch the accuracies and a loss.

    `train_accs` are the shares, 0 … 1, of the epoch's training messages that were classified
    correctly as they were met, each before its step: so they lag behind the model at the epoch's
    end. `val_losses` (means, in nats) and `val_accs` are over all validation messages. `cached`
    says which part ran only once for each message, "" if none; `notes` hold what was other than
    asked for. After an error or an interruption (`interrupted`) all figures are those of the whole
    epochs before it, and the seconds those that were spent.
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

    def latest(self) -> dict[str, str]:
        """Return the latest figures in words, for a progress bar."""
        latest = {"loss": self.step_losses, "val_loss": self.val_losses, "val_acc": self.val_accs}
        return {name: f"{values[-1]:.3f}" for name, values in latest.items() if values}

    def cut(self, epochs: int, steps: int) -> None:
        """Drop the figures of what came after these epochs and steps."""
        del self.step_losses[steps:]
        for figures in (self.train_accs, self.val_losses, self.val_accs):
            del figures[epochs:]


@dataclass(frozen=True)
class _Saved:
    """How far the training was at the end of an epoch, and the weights that are to be left."""

    epochs: int
    steps: int
    epoch_of_weights: int
    weights: list[torch.Tensor]


class WholeEpochs:
    """A context whose end, whatever it is, leaves the weights of a whole epoch.

    They are saved on the CPU, so that they do not fill a GPU's memory. An interruption, by the
    keyboard or by the close of a generator, ends here; other errors go on.
    """

    def __init__(self, model: GPTModel, history: History, keep: str):
        self.model, self.history, self.keep = model, history, keep
        self.trainable = [p for p in model.parameters() if p.requires_grad]

    def __enter__(self) -> "WholeEpochs":
        epochs, steps = len(self.history.val_accs), len(self.history.step_losses)
        self.saved = _Saved(epochs, steps, epochs, self._weights())
        return self

    def epoch_ended(self) -> None:
        epochs, steps = len(self.history.val_accs), len(self.history.step_losses)
        if self.keep == "last" or epochs == self.history.best_epoch:
            self.saved = _Saved(epochs, steps, epochs, self._weights())
        else:
            self.saved = replace(self.saved, epochs=epochs, steps=steps)

    def __exit__(self, kind, error, traceback) -> bool:
        self.model.eval()
        self.model.zero_grad()  # the gradients' memory is given back
        interrupted = isinstance(error, KeyboardInterrupt | GeneratorExit)
        if (
            interrupted
            or isinstance(error, Exception)
            or self.saved.epoch_of_weights < self.saved.epochs
        ):
            self._back_to_saved()
        if interrupted:
            self._note_interruption()
        return interrupted

    def _weights(self) -> list[torch.Tensor]:
        return [_local(parameter).detach().to("cpu", copy=True) for parameter in self.trainable]

    def _back_to_saved(self) -> None:
        try:
            self._put_back(self.saved.weights)
        except KeyboardInterrupt:  # never half of them
            self._put_back(self.saved.weights)
            raise
        self.history.cut(self.saved.epochs, self.saved.steps)

    @torch.no_grad()
    def _put_back(self, weights: list[torch.Tensor]) -> None:
        for parameter, value in zip(self.trainable, weights, strict=True):
            _local(parameter).copy_(value)

    def _note_interruption(self) -> None:
        saved = self.saved
        left = f"the weights of {count_of(saved.epochs, 'whole epoch')}"
        if saved.epoch_of_weights < saved.epochs:
            left = f"the weights of epoch {saved.epoch_of_weights}, the best of {saved.epochs}"
        self.history.interrupted = True
        self.history.notes.append(f"interrupted; the model has {left}")


def _local(parameter: torch.Tensor) -> torch.Tensor:
    """Return what this process holds of a parameter: all, or its shard."""
    return parameter.to_local() if hasattr(parameter, "to_local") else parameter


def count_of(number: int, what: str) -> str:
    """Return "1 epoch", "2 epochs"."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


MEMORY_LIMIT = 2**30  # bytes in memory; what is larger lies on disk


MOST_TABLES = 8  # in memory and on disk


_cache: list["FrozenOutputs"] = []  # the oldest first


# --- the cache -------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class FrozenOutputs:
    """What the first `num_blocks` blocks put out for each message.

    `rows` (total, emb_dim) float32 holds the tokens of all messages one below the other, on the
    CPU, on a GPU, or in a file on disk; `starts` says where each message begins, and ends with the
    total. Of the last block's output a message has one row, that of the token at its place, or,
    where places are None, all.
    """

    rows: torch.Tensor
    starts: tuple[int, ...]
    num_blocks: int
    fingerprint: str
    on_disk: bool

    def of(self, i: int) -> torch.Tensor:
        """Return the rows of message `i`: (num_tokens, emb_dim)."""
        return self.rows[self.starts[i] : self.starts[i + 1]]

    def batch(self, indices: Sequence[int]) -> torch.Tensor:
        """Return messages, (b, n, emb_dim), zeros after the shorter ones."""
        return nn.utils.rnn.pad_sequence([self.of(i) for i in indices], batch_first=True)


def frozen_outputs(
    model: GPTModel,
    messages: Sequence[Sequence[int]],
    places: Sequence[int] | None,
    num_blocks: int,
    precision: str = "float32",
    folder: str | Path | None = None,
) -> FrozenOutputs:
    """Return what the first `num_blocks` blocks put out for each message, a list of token ids.

    It comes out of the cache if it is there, else it is computed and stays there. Tables beyond
    MEMORY_LIMIT bytes lie in a file in `folder` (None: the system's folder for temporary files);
    with a `folder` given, all do. The file goes when nothing uses it any more, except on Windows.
    Raises OSError where the disk has no room.
    """
    steps = frozen_outputs_steps(model, messages, places, num_blocks, precision, folder)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def frozen_outputs_steps(
    model: GPTModel,
    messages: Sequence[Sequence[int]],
    places: Sequence[int] | None,
    num_blocks: int,
    precision: str = "float32",
    folder: str | Path | None = None,
) -> Generator[int, None, FrozenOutputs]:
    """Do what `frozen_outputs` does in slices: one block for one batch, so that each is short.

    After each slice comes the number of messages that it finished. Nothing is cached before all
    are.
    """
    marks = fingerprints(model, messages, places, num_blocks, precision)
    below = _deepest_cached(marks)
    if below is not None and below.num_blocks == num_blocks:
        yield len(messages)
        return below

    model.eval()
    device = model.tok_emb.weight.device
    lengths = [len(ids) for ids in messages]
    one_row = num_blocks == len(model.trf_blocks) and places is not None
    rows_of_each = [1] * len(lengths) if one_row else lengths
    starts = (0, *accumulate(rows_of_each))
    rows = _empty_table(starts[-1], model.cfg["emb_dim"], device, folder)
    on_disk = folder is not None or rows.nbytes > MEMORY_LIMIT
    outputs = FrozenOutputs(rows, starts, num_blocks, marks[num_blocks], on_disk)
    start = 0 if below is None else below.num_blocks
    for batch in in_batches_by_length(lengths):
        at = places_of(places, batch, device)
        with torch.no_grad():
            if below is None:
                x = model.embed(pad_batch([messages[i] for i in batch], device))
            else:
                x = below.batch(batch).to(device)
        for number in range(start, num_blocks):
            if number > start:
                yield 0
            with torch.no_grad(), autocast(device, precision):
                x = run_blocks(model, x, at, number, number + 1)
        for i, padded in zip(batch, x, strict=True):
            outputs.of(i).copy_(padded[: rows_of_each[i]])
        yield len(batch)
    _add_to_cache(outputs)
    return outputs


def _deepest_cached(marks: list[str]) -> FrozenOutputs | None:
    """Return what most of the blocks put out, as far as that is cached."""
    cached = [outputs for outputs in _cache if outputs.fingerprint in marks]
    return max(cached, key=lambda outputs: outputs.num_blocks, default=None)


def _empty_table(
    rows: int, emb_dim: int, device: torch.device, folder: str | Path | None
) -> torch.Tensor:
    """Return room for (rows, emb_dim) float32, in memory or in a file of its own."""
    size = 4 * rows * emb_dim
    if folder is None and size <= MEMORY_LIMIT:
        return torch.empty(rows, emb_dim, device=device)
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as home:
        path = Path(home, "rows")
        try:
            _reserve(path, size)
        except OSError as error:
            raise OSError(
                f"{Path(home).parent} has no room for the {size / 1e9:.1f} GB that the frozen "
                f"blocks put out ({error.strerror}); give cache= a folder with more room, or False"
            ) from error
        # the file's name goes with the folder, the file itself when the table is no longer used
        table = torch.from_file(str(path), shared=True, size=rows * emb_dim, dtype=torch.float32)
        return table.view(rows, emb_dim)


def _reserve(path: Path, size: int) -> None:
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)


def _add_to_cache(outputs: FrozenOutputs) -> None:
    """Cache what was computed last; the oldest go, of those in memory beyond MEMORY_LIMIT."""
    _cache.append(outputs)
    in_memory = [table for table in _cache if not table.on_disk]
    while len(in_memory) > 1 and sum(table.rows.nbytes for table in in_memory) > MEMORY_LIMIT:
        _cache.remove(in_memory.pop(0))
    del _cache[:-MOST_TABLES]


def forget() -> None:
    """Give back the memory and the disk space of all that is cached."""
    _cache.clear()


def fingerprints(
    model: GPTModel,
    messages: Sequence[Sequence[int]],
    places: Sequence[int] | None,
    num_blocks: int,
    precision: str,
) -> list[str]:
    """Return, for each number of blocks from 0 to `num_blocks`, what identifies their outputs.

    It covers their weights and adapters, the embeddings', the number of heads, which blocks have a
    causal mask, the messages and the precision; for the last block the places, too.
    """
    digest = hashlib.sha256(f"{model.cfg['n_heads']} {precision}".encode())
    for ids in messages:
        digest.update(array("q", [len(ids), *ids]))
    _add_weights(digest, model.tok_emb)
    _add_weights(digest, model.pos_emb)
    marks = [digest.hexdigest()]
    for block in model.trf_blocks[:num_blocks]:
        digest.update(bytes([block.att.causal]))
        _add_weights(digest, block)
        marks.append(digest.hexdigest())
    if num_blocks == len(model.trf_blocks):  # of no use to a deeper model with the same blocks
        digest.update(repr(places).encode())
        marks[-1] = f"{digest.hexdigest()} (the last block)"
    return marks


def _add_weights(digest, module: nn.Module) -> None:
    for parameter in module.parameters():
        digest.update(parameter.detach().cpu().contiguous().view(torch.uint8).numpy())
    digest.update(repr(adapters_in(module)).encode())  # their weights are above, not their scale


MEASURED_AT_ONCE = 32  # messages


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
    settings: TrainingSettings | None = None,
    *,
    progress: bool = True,
    on_epoch: Callable[[History], object] | None = None,
    device=None,
    **changes,
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
    settings = replace(settings or TrainingSettings(), **changes)
    steps = fine_tuning_steps(model, train, validation, plan, settings, device=device)
    with Bars(settings.epochs, progress) as bars:
        history = _run_to_the_end(steps, bars.update, on_epoch)
    if history.interrupted:
        warnings.warn(history.notes[-1], stacklevel=2)
    return history


def fine_tuning_steps(
    model: GPTModel,
    train: TextDataset,
    validation: TextDataset,
    plan: FreezePlan,
    settings: TrainingSettings,
    *,
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
    num_classes_of(model)  # refuses a language-model head
    if not (plan.trainable or plan.adapted):
        raise ValueError(NOTHING_TO_TRAIN)
    epochs, batch_size, accumulation = settings.epochs, settings.batch_size, settings.accumulation
    position, precision, keep = settings.position, settings.precision, settings.keep
    seed, cache, class_weights = settings.seed, settings.cache, settings.class_weights
    if cache:
        cache = "auto"
    if checkpoint is not None and keep != "last":
        raise ValueError(f"with a checkpoint keep must be 'last', not {keep!r}")
    order = batch_order(len(train), batch_size * accumulation, epochs, seed)
    device = torch.device(device or get_device())
    weight = None if class_weights is None else _checked_weights(class_weights, model).to(device)
    loss_of = partial(F.cross_entropy, weight=weight, ignore_index=settings.ignore_index)
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
    optimizer = torch.optim.AdamW(
        trainable, lr=settings.lr, weight_decay=settings.weight_decay, fused=True
    )
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


# --- the classifier of section 6.7 -----------------------------------------------------------

# raised by hand whenever the same settings train another model than before
TRAINING_VERSION = 1


def trained_from(
    model_name: str, data_name: str, seed: int = 123, settings: TrainingSettings | None = None
) -> dict[str, str]:
    """Return what the classifier of a data set is trained from: `origin`, and the data's name."""
    train, _, _ = load_splits(data_name)
    settings = settings or TrainingSettings.for_model(model_name, seed=seed)
    return origin(model_name, train, seed, settings) | {"data": data_name}


def origin(
    model_name: str, train: pd.DataFrame, seed: int, settings: TrainingSettings
) -> dict[str, str]:
    """Return what a classifier is trained from, to save along with it.

    That is the model's name, the seed, the `settings` of the training, and checksums of the
    checkpoint and of the training texts (columns Text and Label), and TRAINING_VERSION.
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


def load_or_train(
    path: str | Path, model_name: str, data_name: str, position: str = "last", seed: int = 123
) -> SpamClassifier:
    """Return the classifier saved at `path`, or train it and save it there.

    A file that was trained from something else, with other settings or by other code, or for
    another position, is not taken, and neither is a damaged one; it is never overwritten. Training
    is that of section 6.7: the book's plan and `TrainingSettings.for_model`.
    """
    about, path = trained_from(model_name, data_name, seed), Path(path)
    if path.exists():
        try:
            saved = SpamClassifier.load(path)
        except ValueError as error:
            problem = str(error)
        else:
            differing = [name for name in about if saved.about.get(name) != about[name]]
            if saved.position != position:
                differing.append("position")
            if not differing:
                return saved
            problem = f"{path} is another classifier (it differs in: {', '.join(differing)})"
        warnings.warn(
            f"{problem}. It stays, and one is trained for now; to have that one saved, "
            "delete the file first",
            stacklevel=2,
        )
        return _train_classify(about, model_name, data_name, position, seed)
    classifier = _train_classify(about, model_name, data_name, position, seed)
    classifier.save(path)
    return classifier


def _train_classify(
    about: dict, model_name: str, data_name: str, position: str, seed: int
) -> SpamClassifier:
    settings = TrainingSettings.for_model(model_name, seed=seed, position=position)
    train, validation, _ = (loader.dataset for loader in create_dataloaders(data_name))
    model = load_pretrained(model_name)
    torch.manual_seed(seed)
    replace_head(model)
    history = fine_tune(model, train, validation, FreezePlan.book(model.cfg["n_layers"]), settings)
    if history.interrupted:
        raise KeyboardInterrupt  # a classifier trained in part is not kept
    return SpamClassifier(model, train.max_length, position=position, about=about)
