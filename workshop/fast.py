"""Fine-tuning that runs the frozen layers once: the book's numbers in a fraction of the time.

`helpers.training.train_classifier_simple` is the loop to read; `fine_tune` takes the same steps on
the same batches. Below the lowest trainable part nothing changes in training, so a message has the
same numbers there in every epoch: they are computed once and cached. The last block computes only
the position that classifies. `fine_tuning_steps` does the same step by step.

`load_or_train` returns the classifier of section 6.7.
"""

import hashlib
import json
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import pandas as pd
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from helpers.checks import whole_number
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
    logits_at,
    own_random_numbers,
    pad_batch,
    precision_on,
    rows_and_places,
    run_blocks,
)
from workshop.processes import ALONE, EpochCheckpoint, Processes
from workshop.texts import counted

MEASURED_AT_ONCE = 32  # messages
CACHE_LIMIT = 2**32  # bytes of all cached outputs
NUMBERS = ("step_losses", "train_accs", "val_losses", "val_accs")  # of a History

# raised by hand whenever the same settings train another model than before
TRAINING_VERSION = 1


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


class Bars:
    """A progress bar for each phase of a fine-tuning, one below the other; a context that ends them."""

    NAMES = {"encoding": ("message", "encoding messages"), "training": ("step", "fine-tuning")}

    def __init__(self, epochs: int, show: bool):
        self.epochs, self.show = epochs, show
        self.phase, self.epoch, self.bar = "", 0, tqdm(disable=True)

    def __enter__(self) -> "Bars":
        return self

    def __exit__(self, *error) -> None:
        self.bar.close()

    def update(self, progress: Progress) -> None:
        """Show the present state."""
        if progress.phase != self.phase:
            self.bar.close()
            self.phase = progress.phase
            unit, name = self.NAMES[self.phase]
            self.bar = tqdm(total=progress.total, unit=unit, desc=name, disable=not self.show)
        if self.phase == "training":
            history, latest = progress.history, {}
            for name, values in (
                ("loss", history.step_losses),
                ("val_loss", history.val_losses),
                ("val_acc", history.val_accs),
            ):
                if values:
                    latest[name] = f"{values[-1]:.3f}"
            epoch = min(1 + len(history.val_accs), self.epochs)
            self.bar.set_postfix(latest, refresh=False)
            self.bar.set_description(f"epoch {epoch} of {self.epochs}", refresh=epoch != self.epoch)
            self.epoch = epoch
        self.bar.update(progress.done - self.bar.n)


# --- the frozen layers run once -------------------------------------------------------------------

# a key of `cache_keys` → each message's output, by its index: (num_tokens, emb_dim) float32
_cache: dict[str, dict[int, torch.Tensor]] = {}


def forget() -> None:
    """Free the memory of all cached outputs."""
    _cache.clear()


def cache_keys(
    model: GPTModel, messages, position: str, num_blocks: int, precision: str
) -> list[str]:
    """Return a key for the outputs of 0, 1, … `num_blocks` blocks: all that these depend on.

    That is the messages, the precision, and the class, settings, weights and adapters of each
    module. The output of the model's last block depends on the position, too.
    """
    digest = hashlib.sha256(repr((precision, messages)).encode())
    keys = []
    embeddings = torch.nn.ModuleList([model.tok_emb, model.pos_emb])
    for part in (embeddings, *model.trf_blocks[:num_blocks]):
        digest.update(repr(adapters_in(part)).encode())
        for module in part.modules():
            settings = {k: v for k, v in vars(module).items() if isinstance(v, int | float | str)}
            digest.update(repr((type(module), settings)).encode())
        for tensor in part.state_dict().values():
            digest.update(tensor.cpu().contiguous().view(torch.uint8).numpy())
        keys.append(digest.hexdigest())
    if num_blocks == len(model.trf_blocks):
        keys[-1] = hashlib.sha256(repr((keys[-1], position)).encode()).hexdigest()
    return keys


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
        """Run the first `num_blocks` blocks once for each message, or take their cached outputs.

        Yields the number of messages that are finished after each block of a batch.
        """
        self.model.eval()
        messages = [(i, self.rows[i]) for i in self.own]
        keys = cache_keys(self.model, messages, self.position, num_blocks, precision)
        start, below = 0, None
        for number, key in enumerate(keys):
            if key in _cache:  # an earlier training has left the output of `number` blocks
                start, below = number, _cache[key]
        outputs = {}
        if below is not None and start == num_blocks:
            outputs = below
            yield len(self.own)
        else:
            for batch in in_batches_by_length([len(ids) for _, ids in messages]):
                indices = [self.own[i] for i in batch]
                with torch.no_grad():
                    if below is None:
                        x = self.model.embed(
                            pad_batch([self.rows[i] for i in indices], self.device)
                        )
                    else:
                        x = pad_batch([below[i] for i in indices], self.device)
                for number in range(start, num_blocks):
                    with torch.no_grad(), autocast(self.device, precision):
                        at = self._positions(indices)
                        x = run_blocks(self.model, x, at, number, number + 1)
                    yield 0
                for i, output in zip(indices, x.float(), strict=True):
                    outputs[i] = output[: len(self.rows[i])].clone()
                yield len(indices)
            _cache[keys[-1]] = outputs
        self.num_blocks, self.outputs = num_blocks, outputs
        while sum(x.nbytes for table in _cache.values() for x in table.values()) > CACHE_LIMIT:
            del _cache[next(iter(_cache))]  # the oldest

    def logits(self, indices: Sequence[int]) -> torch.Tensor:
        """Return the logits of some messages: (len(indices), num_classes)."""
        if self.outputs is None:
            x = self.model.embed(pad_batch([self.rows[i] for i in indices], self.device))
        else:
            x = pad_batch([self.outputs[i] for i in indices], self.device)
        return logits_at(self.model, x, self._positions(indices), self.num_blocks)

    def measure(self) -> Generator[int, None, tuple[float, float]]:
        """Return the mean loss and the accuracy of all messages; yield 0 between two batches."""
        self.model.eval()
        count, at_once = len(self.rows), MEASURED_AT_ONCE * self.processes.size
        loss = num_correct = 0.0
        for start in range(0, count, at_once):
            if start:
                yield 0
            indices = self.processes.own(range(start, min(start + at_once, count)))
            if indices:
                with torch.no_grad():
                    logits, labels = self.logits(indices), self.labels[indices]
                loss += F.cross_entropy(logits, labels, reduction="sum").item()
                num_correct += (logits.argmax(dim=-1) == labels).sum().item()
        loss, num_correct = self.processes.sum(loss, num_correct)
        return loss / count, num_correct / count

    def _positions(self, indices: Sequence[int]) -> torch.Tensor | None:
        if self.positions is None:
            return None
        return torch.tensor([self.positions[i] for i in indices], device=self.device)


# --- the training ---------------------------------------------------------------------------------


def batch_order(
    num_messages: int, batch_size: int, epochs: int, seed: int, eval_freq: int = 50
) -> list[list[list[int]]]:
    """Return the indices of the messages in each batch of each epoch.

    They are those of the book's loop after `torch.manual_seed(seed)`. It measures every
    `eval_freq` steps and after each epoch, which also draws random numbers. As there, messages that
    do not fill a last batch are left out; too few for one batch make one.
    """
    whole_number("batch_size", batch_size)
    whole_number("epochs", epochs)
    drop_last = num_messages >= batch_size
    indices = range(num_messages)
    train = DataLoader(indices, batch_size, shuffle=True, drop_last=drop_last, collate_fn=list)
    validation = DataLoader(range(1))

    def draw_as_measuring_does() -> None:
        next(iter(train))
        next(iter(validation))

    order: list[list[list[int]]] = []
    step = 0
    with own_random_numbers(torch.device("cpu"), whole_number("seed", seed, 0, 2**63 - 1)):
        for _ in range(epochs):
            order.append([])
            for batch in train:
                order[-1].append(batch)
                if step % eval_freq == 0:
                    draw_as_measuring_does()
                step += 1
            draw_as_measuring_does()
    return order


class WholeEpochs:
    """The weights that the model gets in the end, those of a whole epoch, and what its history is.

    They are saved on the CPU, so that they do not fill a GPU's memory.
    """

    def __init__(self, trainable: dict[str, torch.nn.Parameter], history: History, keep: str):
        self.trainable, self.history, self.keep = trainable, history, keep
        self.saved = (-1, 0, 0, [])  # epoch of the weights, whole epochs, steps in them, weights
        self.epoch_ended()

    def epoch_ended(self) -> None:
        """Save the present weights if they are to be kept."""
        history = self.history
        epoch, _, _, weights = self.saved
        epochs = len(history.val_accs)
        if self.keep == "last" or epoch < 0 or epochs == history.best_epoch:
            epoch = epochs
            weights = [p.detach().to("cpu", copy=True) for p in self.trainable.values()]
        self.saved = (epoch, epochs, len(history.step_losses), weights)

    @torch.no_grad()
    def restore(self) -> None:
        """Give the model the saved weights, and drop the numbers of what came after whole epochs."""
        _, epochs, steps, weights = self.saved
        for parameter, weight in zip(self.trainable.values(), weights, strict=True):
            parameter.copy_(weight)
        for name in NUMBERS:
            del getattr(self.history, name)[steps if name == "step_losses" else epochs :]

    def note_interruption(self) -> None:
        """Write into the history that the training was interrupted, and what the model has."""
        epoch, epochs, _, _ = self.saved
        weights = f"the weights of {counted(epochs, 'whole epoch')}"
        if epoch < epochs:
            weights = f"the weights of epoch {epoch}, the best of {epochs}"
        self.history.interrupted = True
        self.history.notes.append(f"interrupted; the model has {weights}")


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
    """Fine-tune as `fine_tune` does, and yield how far it is before and after each short step.

    Such a step is the run of a block for a batch that is encoded, a training step, or a batch that
    is measured. In between the caller may do other things, with torch's random numbers too, but
    must not change the model. `close` and a KeyboardInterrupt end the training without a warning.

    Several `processes` share the work: each runs the frozen layers for its own messages only, and
    takes its own of each batch. Losses and weights are those of one process except for rounding.
    With a `checkpoint` each whole epoch is saved, and a training that was killed resumes after the
    last one; that needs `keep` "last".
    """
    num_classes = num_classes_of(model)  # refuses a language-model head
    if not (plan.trainable or plan.adapted):
        raise ValueError(NOTHING_TO_TRAIN)
    dtypes = {parameter.dtype for parameter in model.parameters()} - {torch.float32}
    if dtypes:
        raise ValueError(
            f"the model has weights in {dtypes.pop()}, and training needs float32; convert it with "
            "model.float(), and choose precision='bfloat16' for the frozen layers"
        )
    if checkpoint is not None and settings.keep != "last":
        raise ValueError(f"with a checkpoint keep must be 'last', not {settings.keep!r}")
    device = torch.device(device or get_device())
    class_weights = torch.tensor(settings.class_weights or [1.0] * num_classes, device=device)
    if len(class_weights) != num_classes:
        raise ValueError(f"{len(class_weights)} class weights for {num_classes} classes")
    batch_size = settings.batch_size * settings.accumulation
    order = batch_order(len(train), batch_size, settings.epochs, settings.seed)
    sets = [
        Messages(model, data, settings.position, device, processes) for data in (train, validation)
    ]
    with own_random_numbers(device, settings.seed):  # from which new adapters start
        plan.apply(model).to(device)

    history = History()
    num_blocks, precision = what_runs_once(plan, settings, sets, history)
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    # fused: one pass over the memory instead of a dozen
    optimizer = torch.optim.AdamW(
        trainable.values(), lr=settings.lr, weight_decay=settings.weight_decay, fused=True
    )
    if checkpoint is not None:
        for name, values in checkpoint.load(trainable, optimizer).items():
            setattr(history, name, values)
    processes.copy_from_first(trainable.values())
    what_is_trained = [settings, list(trainable), history.step_losses]
    for messages in sets:
        what_is_trained += [messages.rows, messages.labels.tolist()]
    processes.check_same("what is trained", what_is_trained)
    whole_epochs = WholeEpochs(trainable, history, settings.keep)
    training = _train(*sets, order, optimizer, settings, class_weights, whole_epochs, checkpoint)
    num_steps = sum(len(batches) for batches in order)
    phases = [("training", len(history.step_losses), num_steps, training)]
    if num_blocks is not None:
        num_messages = sum(len(messages.own) for messages in sets)
        encoding = (count for messages in sets for count in messages.encode(num_blocks, precision))
        phases.insert(0, ("encoding", 0, num_messages, encoding))
    try:
        yield Progress(*phases[0][:3], history)
        for phase, done, total, work in phases:
            for finished in _timed(work, history, f"seconds_{phase}"):
                done += finished
                yield Progress(phase, done, total, history)
    except (KeyboardInterrupt, GeneratorExit):
        whole_epochs.note_interruption()
    finally:
        try:
            whole_epochs.restore()
        except KeyboardInterrupt:  # never half of the weights
            whole_epochs.restore()
            raise
        model.eval()
        model.zero_grad()  # frees the gradients
    return history


def what_runs_once(
    plan: FreezePlan, settings: TrainingSettings, sets: Sequence[Messages], history: History
) -> tuple[int | None, str]:
    """Return how many blocks run only once, None for nothing, and their precision.

    The history says it, and what is other than the settings ask for.
    """
    first = sets[0]
    num_blocks, cfg = frozen_blocks(plan), first.model.cfg
    num_tokens = sum(len(token_ids) for messages in sets for token_ids in messages.rows)
    if num_blocks == cfg["n_layers"] and settings.position != "mean":
        num_tokens = sum(len(messages.rows) for messages in sets)  # one position of each
    num_bytes = 4 * num_tokens * cfg["emb_dim"] / first.processes.size
    reason = ""
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
    precision = precision_on(first.device, settings.precision)
    if len(set(first.processes.gather([precision]))) > 1:
        precision = "float32"  # all processes compute alike
    if precision != settings.precision:
        history.notes.append(
            f"the frozen layers run in {precision}, which is faster than {settings.precision} here"
        )
    return num_blocks, precision


def _timed(steps: Iterator, history: History, name: str) -> Iterator:
    """Yield what `steps` yields, and add the seconds that they take to `history`."""
    while True:
        start = time.perf_counter()
        try:
            value = next(steps)
        except StopIteration:
            return
        finally:
            seconds = getattr(history, name) + time.perf_counter() - start
            setattr(history, name, seconds)
        yield value


def _train(
    train: Messages,
    validation: Messages,
    order: list[list[list[int]]],
    optimizer: torch.optim.Optimizer,
    settings: TrainingSettings,
    class_weights: torch.Tensor,
    whole_epochs: WholeEpochs,
    checkpoint: EpochCheckpoint | None,
) -> Iterator[int]:
    """Train the epochs that are not yet in the history; yield 1 after a step, 0 in between."""
    model, processes, history = train.model, train.processes, whole_epochs.history
    for batches in order[len(history.val_accs) :]:
        model.train()
        epoch_correct = 0
        for batch in batches:
            labels = train.labels[batch]
            total_weight = class_weights[labels[labels != settings.ignore_index]].sum()
            step = len(history.step_losses)
            step_loss = num_correct = 0.0
            optimizer.zero_grad()
            with own_random_numbers(train.device, settings.seed + step):  # those of dropout
                for start in range(0, len(batch), settings.batch_size):
                    indices = processes.own(batch[start : start + settings.batch_size])
                    if not indices:
                        continue
                    logits, labels = train.logits(indices), train.labels[indices]
                    loss = F.cross_entropy(
                        logits,
                        labels,
                        class_weights,
                        ignore_index=settings.ignore_index,
                        reduction="sum",
                    )
                    loss = loss / total_weight  # the mean over all parts and processes
                    loss.backward()
                    step_loss += loss.item()
                    num_correct += (logits.argmax(dim=-1) == labels).sum().item()
            processes.sum_gradients(whole_epochs.trainable.values())
            step_loss, num_correct = processes.sum(step_loss, num_correct)
            check_finite(step_loss, step)
            optimizer.step()
            epoch_correct += num_correct
            history.step_losses.append(step_loss)
            yield 1
        val_loss, val_acc = yield from validation.measure()
        check_finite(val_loss, len(history.step_losses))
        history.train_accs.append(epoch_correct / sum(len(batch) for batch in batches))
        history.val_losses.append(val_loss)
        history.val_accs.append(val_acc)
        whole_epochs.epoch_ended()
        if checkpoint is not None and processes.number == 0:
            numbers = {name: getattr(history, name) for name in NUMBERS}
            checkpoint.save(whole_epochs.trainable, optimizer, numbers)
        yield 0


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
    part, and for a model with its language-model head or not in float32; FloatingPointError when a
    loss is not finite. After an interruption, and after any error in the training, the model has
    the weights of the last whole epoch, or of the best one so far.
    """
    settings = replace(settings or TrainingSettings(), **changes)
    steps = fine_tuning_steps(model, train, validation, plan, settings, device=device)
    now, epochs = next(steps, None), 0
    if now is None:  # interrupted before the first step
        raise KeyboardInterrupt
    with Bars(settings.epochs, progress) as bars:
        try:
            for now in steps:
                bars.update(now)
                if on_epoch is not None and len(now.history.val_accs) > epochs:
                    epochs += 1
                    on_epoch(now.history)
        except KeyboardInterrupt:  # between two steps
            steps.close()
            if not now.history.interrupted:  # the training has ended
                raise
        finally:
            steps.close()
    if now.history.interrupted:
        warnings.warn(now.history.notes[-1], stacklevel=2)
    return now.history


# --- the classifier of section 6.7 ----------------------------------------------------------------


def trained_from(
    model_name: str, data_name: str, seed: int = 123, settings: TrainingSettings | None = None
) -> dict[str, str]:
    """Return what the classifier of a data set is trained from: `origin`, and the data's name."""
    train, _, _ = load_splits(data_name)
    settings = settings or TrainingSettings.for_model(model_name, seed=seed)
    return origin(model_name, train, seed, settings) | {"data": data_name}


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


def load_or_train(
    path: str | Path, model_name: str, data_name: str, position: str = "last", seed: int = 123
) -> SpamClassifier:
    """Return the classifier saved at `path`, or train it and save it there.

    A damaged file, and one that was trained from something else, for another position, with other
    settings or by another version, is neither taken nor overwritten. Training is that of section
    6.7: the book's plan and `TrainingSettings.for_model`.
    """
    about, path, problem = trained_from(model_name, data_name, seed), Path(path), ""
    if path.exists():
        try:
            saved = SpamClassifier.load(path)
            differing = [name for name in about if saved.about.get(name) != about[name]]
            if saved.position != position:
                differing.append("position")
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
    settings = TrainingSettings.for_model(model_name, seed=seed, position=position)
    train, validation, _ = (loader.dataset for loader in create_dataloaders(data_name))
    model = load_pretrained(model_name)
    torch.manual_seed(seed)
    replace_head(model)
    history = fine_tune(model, train, validation, FreezePlan.book(model.cfg["n_layers"]), settings)
    if history.interrupted:
        raise KeyboardInterrupt  # a classifier that is trained in part is not saved
    classifier = SpamClassifier(model, train.max_length, position=position, about=about)
    if not problem:
        classifier.save(path)
    return classifier
