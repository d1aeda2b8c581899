"""Fine-tuning with the book's numbers in a fraction of the time.

`helpers.training.train_classifier_simple` is the loop to read; `fine_tune` takes the same steps on
the same batches. Below the lowest trainable part nothing changes in training, so a message has the
same numbers there in every epoch: they are computed once and cached, by `workshop.forward`.
`fine_tuning_steps` does the same step by step. `load_or_train` returns the classifier of section 6.7.
"""

import hashlib
import json
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from helpers.checks import whole_number
from helpers.classify import SpamClassifier
from helpers.config import gpt_config, model_size
from helpers.data import TextDataset, create_dataloaders, load_splits
from helpers.download import file_sha256
from helpers.freezing import FreezePlan, num_classes_of, replace_head
from helpers.loading import INDEX, find_checkpoint, load_pretrained
from helpers.model import GPTModel
from helpers.training import (
    NOTHING_TO_TRAIN,
    TrainingSettings,
    check_finite,
    get_device,
    own_random_numbers,
)
from workshop.forward import (  # noqa: F401  (the notebooks import some from here)
    Messages,
    fast_logits,
    forget,
    what_runs_once,
)
from workshop.processes import ALONE, EpochCheckpoint, Processes
from workshop.texts import counted

EVAL_FREQ = 50  # steps after which the book's loop measures
NUMBERS = ("step_losses", "train_accs", "val_losses", "val_accs")  # of a History

# raised by hand whenever the same settings train another model than before
TRAINING_VERSION = 1
# settings that files written before them do not name
LATER_SETTINGS = ("head_lr", "schedule", "clip", "by_length")


# --- what is known of a training ------------------------------------------------------------------


@dataclass
class History:
    """How a fine-tuning went: the loss of each step, accuracies and a loss after each epoch.

    `train_accs` are accuracies, 0 … 1, of the epoch's training messages, each measured before its
    step, so they are lower than those of the model at the epoch's end. `val_losses` (means, in
    nats) and `val_accs` are those of all validation messages. `notes` say what was done
    differently than asked. After an error or an interruption (`interrupted`) there are only the
    numbers of whole epochs.
    """

    step_losses: list[float] = field(default_factory=list)
    train_accs: list[float] = field(default_factory=list)
    val_losses: list[float] = field(default_factory=list)
    val_accs: list[float] = field(default_factory=list)
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


def with_bars(steps: Iterator[Progress], show: bool) -> Iterator[Progress]:
    """Yield what `steps` yields, and show a progress bar for each phase, one below the other."""
    names = {"encoding": "encoding messages", "training": "fine-tuning"}
    bars = {}
    with ExitStack() as closing:
        for progress in steps:
            history = progress.history
            phase = progress.phase, id(history)  # of one of several trainings
            if phase not in bars:
                name = names[progress.phase]
                bars[phase] = tqdm(total=progress.total, desc=name, disable=not show)
                closing.enter_context(bars[phase])
            measured = {
                "loss": history.step_losses,
                "val_loss": history.val_losses,
                "val_acc": history.val_accs,
            }
            latest = {name: values[-1] for name, values in measured.items() if values}
            bars[phase].set_postfix(latest, refresh=False)
            bars[phase].update(progress.done - bars[phase].n)
            yield progress


# --- the training ---------------------------------------------------------------------------------


def batch_order(
    num_messages: int, batch_size: int, epochs: int, seed: int
) -> list[list[list[int]]]:
    """Return the indices of the messages in each batch of each epoch.

    They are those of the book's loop after `torch.manual_seed(seed)`. It measures every EVAL_FREQ
    steps and after each epoch, which also draws random numbers. As there, messages that do not fill
    a last batch are left out; too few for one batch make one.
    """
    whole_number("batch_size", batch_size)
    whole_number("epochs", epochs)
    drop_last = num_messages >= batch_size
    indices = range(num_messages)
    train = DataLoader(indices, batch_size, shuffle=True, drop_last=drop_last, collate_fn=list)
    validation = DataLoader(range(1))
    order = []
    with own_random_numbers(torch.device("cpu"), seed):
        for epoch in range(epochs):
            order.append(list(train))
            steps = range(epoch * len(train), (epoch + 1) * len(train))
            for _ in range(1 + sum(step % EVAL_FREQ == 0 for step in steps)):
                next(iter(train))  # draws what measuring draws
                next(iter(validation))
    return order


def order_by_length(
    lengths: Sequence[int], batch_size: int, epochs: int, seed: int
) -> list[list[list[int]]]:
    """Return the indices of messages of these lengths in each batch of each epoch, from `seed`.

    A batch holds messages of similar lengths, so that little of it is padding: they are sorted as
    if each were up to a tenth longer, at random. Batches are in random order. One may be small, as
    no message is left out.
    """
    lengths, order = torch.tensor(lengths), []
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        longer = lengths * (1 + 0.1 * torch.rand(len(lengths), generator=generator))
        batches = longer.argsort().split(batch_size)
        shuffled = torch.randperm(len(batches), generator=generator)
        order.append([batches[i].tolist() for i in shuffled])
    return order


class Training:
    """The epochs of a fine-tuning, after each of which it may stop.

    The saved weights are those of a whole epoch: what the model has in the end. They are on the CPU,
    so that they do not fill a GPU's memory.
    """

    def __init__(
        self,
        train: Messages,
        validation: Messages,
        order: list[list[list[int]]],
        settings: TrainingSettings,
        history: History,
        checkpoint: EpochCheckpoint | None,
    ):
        self.train, self.validation, self.order = train, validation, order
        self.num_steps = sum(len(batches) for batches in order)
        self.settings, self.history, self.checkpoint = settings, history, checkpoint
        self.model, self.processes = train.model, train.processes
        class_weights = settings.class_weights or [1.0] * self.model.out_head.out_features
        self.class_weights = torch.tensor(class_weights, device=train.device)
        parameters = self.model.named_parameters()
        self.trainable = {name: p for name, p in parameters if p.requires_grad}
        self.optimizer = self.make_optimizer()
        kept = {}
        if checkpoint is not None:
            numbers, kept = checkpoint.load(self.trainable, self.optimizer)
            vars(history).update(numbers)
        self.processes.copy_from_first(self.trainable.values())
        # the epoch of the weights, the weights, the history's numbers
        self.saved = history.best_epoch or 0, kept, {}
        self.save_epoch()

    def make_optimizer(self) -> torch.optim.AdamW:
        """Return AdamW for what is trained, the head apart; `update` sets the learning rates."""
        head = [p for name, p in self.trainable.items() if name.startswith("out_head")]
        rest = [p for name, p in self.trainable.items() if not name.startswith("out_head")]
        groups = [{"params": rest}, {"params": head}]
        # fused: one pass over the memory instead of a dozen
        return torch.optim.AdamW(groups, weight_decay=self.settings.weight_decay, fused=True)

    def steps(self) -> Iterator[int]:
        """Train the epochs that are not yet in the history; yield 1 after a step, 0 in between."""
        history = self.history
        for batches in self.order[len(history.val_accs) :]:
            self.model.train()
            num_correct = 0
            for batch in batches:
                num_correct += self.step(batch)
                yield 1
            val_loss, val_acc = yield from self.validation.measure()
            check_finite(val_loss, len(history.step_losses))
            history.train_accs.append(num_correct / sum(len(batch) for batch in batches))
            history.val_losses.append(val_loss)
            history.val_accs.append(val_acc)
            self.save_epoch()
            if self.checkpoint is not None and self.processes.number == 0:
                epoch, weights, numbers = self.saved
                kept = weights if epoch < len(history.val_accs) else {}
                self.checkpoint.save(self.trainable, self.optimizer, numbers, kept)
            yield 0

    def step(self, batch: list[int]) -> float:
        """Take one training step; return how many messages of the batch the model had right."""
        settings, labels = self.settings, self.train.labels
        counting = labels[batch]
        counting = counting[counting != settings.ignore_index]
        total_weight = self.class_weights[counting].sum()
        loss = num_correct = 0.0
        self.optimizer.zero_grad()
        number = len(self.history.step_losses)
        with own_random_numbers(labels.device, settings.seed + number):  # those of dropout
            for start in range(0, len(batch), settings.batch_size):
                indices = self.processes.own(batch[start : start + settings.batch_size])
                if indices:
                    logits = self.train.logits(indices)
                    part = F.cross_entropy(
                        logits,
                        labels[indices],
                        self.class_weights,
                        ignore_index=settings.ignore_index,
                        reduction="sum",
                    )
                    part = part / total_weight  # the mean over all parts and processes
                    part.backward()
                    loss += part.item()
                    num_correct += (logits.argmax(dim=-1) == labels[indices]).sum().item()
        self.processes.sum_gradients(self.trainable.values())
        loss, num_correct = self.processes.sum(loss, num_correct)
        check_finite(loss, number)
        self.update(number)
        self.history.step_losses.append(loss)
        return num_correct

    def update(self, number: int) -> None:
        """Change the weights by their gradients in step `number`."""
        settings = self.settings
        factor = settings.lr_factor(number, self.num_steps)
        rest, head = self.optimizer.param_groups
        rest["lr"] = factor * settings.lr
        head["lr"] = factor * (settings.head_lr or settings.lr)
        if settings.clip is not None:
            nn.utils.clip_grad_norm_(self.trainable.values(), settings.clip)
        self.optimizer.step()

    def save_epoch(self) -> None:
        """Save the history's numbers, and the present weights if they are to be kept."""
        epoch, weights, _ = self.saved
        numbers = {name: list(vars(self.history)[name]) for name in NUMBERS}
        epochs = len(numbers["val_accs"])
        if self.settings.keep == "last" or epochs in (0, self.history.best_epoch):
            epoch = epochs
            weights = {n: p.detach().to("cpu", copy=True) for n, p in self.trainable.items()}
        self.saved = epoch, weights, numbers  # at once: an interruption may come at any line

    def restore(self) -> None:
        """Give the model the saved weights, and the history its numbers and a note of what stopped."""
        epoch, weights, numbers = self.saved
        self.model.load_state_dict(weights, strict=False)
        vars(self.history).update(numbers)
        if self.history.interrupted:
            epochs = len(numbers["val_accs"])
            saved = counted(epochs, "whole epoch")
            if epoch < epochs:
                saved = f"epoch {epoch}, the best of {epochs}"
            self.history.notes.append(f"interrupted; the model has the weights of {saved}")


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
    """Fine-tune as `fine_tune` does; yield how far it is before each phase and after each short step.

    Such a step is the run of a block for a batch that is encoded, a training step, or a batch that
    is measured. In between the caller may do other things, with torch's random numbers too, but
    must not change the model. `close` and a KeyboardInterrupt end the training without a warning.

    Several `processes` share the work: each runs the frozen layers for its own messages only, and
    takes its own of each batch. Losses and weights are those of one process except for rounding.
    With a `checkpoint` each whole epoch is saved, with the best epoch's weights if they are kept,
    and a training that was killed resumes after the last one.
    """
    num_classes_of(model)  # refuses a language-model head
    if not (plan.trainable or plan.adapted):
        raise ValueError(NOTHING_TO_TRAIN)
    if model.tok_emb.weight.dtype != torch.float32:
        raise ValueError(
            f"fine-tuning needs weights in float32, not {model.tok_emb.weight.dtype}: call "
            'model.float() first; precision="bfloat16" runs the frozen layers in bfloat16'
        )
    device = torch.device(device or get_device())
    sets = []
    for data in (train, validation):
        sets.append(
            Messages(model, data.encoded_texts, settings.position, data.labels, device, processes)
        )
    rest = settings.batch_size * settings.accumulation, settings.epochs, settings.seed
    if settings.by_length:
        order = order_by_length([len(row) for row in sets[0].rows], *rest)
    else:
        order = batch_order(len(train), *rest)
    with own_random_numbers(device, settings.seed):  # from which new adapters start
        plan.apply(model).to(device)
    num_blocks, precision, note = what_runs_once(plan, settings, sets)
    history = History(notes=[note] if note else [])
    training = Training(*sets, order, settings, history, checkpoint)
    try:
        if num_blocks is not None:
            total = sum(len(messages.own) for messages in sets)
            steps = (n for messages in sets for n in messages.encode(num_blocks, precision))
            yield from _timed("encoding", 0, total, steps, history)
        done = len(history.step_losses)
        yield from _timed("training", done, training.num_steps, training.steps(), history)
    except (KeyboardInterrupt, GeneratorExit):
        history.interrupted = True
    finally:
        try:
            training.restore()
        except KeyboardInterrupt:  # never half of the weights
            training.restore()
            raise
        model.eval()
        model.zero_grad()  # frees the gradients
    return history


def _timed(
    phase: str, done: int, total: int, steps: Iterator[int], history: History
) -> Iterator[Progress]:
    """Yield the progress at the start and after each of `steps`; add their seconds to the history."""
    yield Progress(phase, done, total, history)
    name, start = f"seconds_{phase}", time.perf_counter()
    for finished in steps:
        done += finished
        vars(history)[name] += time.perf_counter() - start
        yield Progress(phase, done, total, history)
        start = time.perf_counter()


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
    part, and for a model with its language-model head; FloatingPointError when a loss is not finite.
    After an interruption, and after any error in the training, the model has
    the weights of the last whole epoch, or of the best one so far.
    """
    settings = replace(settings or TrainingSettings(), **changes)
    steps = fine_tuning_steps(model, train, validation, plan, settings, device=device)
    history, epochs = None, 0
    try:
        for now in with_bars(steps, progress):
            history = now.history
            if on_epoch is not None and len(history.val_accs) > epochs:
                epochs += 1
                on_epoch(history)
    except KeyboardInterrupt:  # between two steps
        steps.close()
        if history is None or not history.interrupted:  # it has not begun, or has ended
            raise
    finally:
        steps.close()
    if history is None:  # interrupted before the first step
        raise KeyboardInterrupt
    if history.interrupted:
        warnings.warn(history.notes[-1], stacklevel=2)
    return history


# --- the classifier of section 6.7 ----------------------------------------------------------------


def trained_from(
    model_name: str,
    data_name: str,
    settings: TrainingSettings | None = None,
    plan: FreezePlan | None = None,
) -> dict[str, str]:
    """Return what a classifier of a data set is trained from, and how.

    That is its `origin`, the data's name and the plan. Without `settings` and `plan` they are those
    of `load_or_train`.
    """
    train, _, _ = load_splits(data_name)
    settings = settings or TrainingSettings.for_model(model_name, keep="best")
    plan = asdict(plan or FreezePlan.book(gpt_config(model_name)["n_layers"]))
    return origin(model_name, train, settings) | {
        "data": data_name,
        "plan": json.dumps(plan, default=sorted, sort_keys=True),  # sorted turns sets into lists
    }


def checksum_of(texts: pd.DataFrame) -> str:
    """Return the SHA-256 of texts and labels, a frame with columns Text and Label."""
    columns = json.dumps([texts["Label"].tolist(), texts["Text"].tolist()])
    return hashlib.sha256(columns.encode()).hexdigest()


def origin(model_name: str, train: pd.DataFrame, settings) -> dict[str, str]:
    """Return what a classifier is trained from, to save along with it.

    That is the model's name, the `settings`, a dataclass with a seed, checksums of the checkpoint
    and of the training texts (columns Text and Label), and TRAINING_VERSION.
    """
    return {
        "model": model_name,
        "checkpoint": file_sha256(find_checkpoint(model_size(model_name)) / INDEX),
        "messages": checksum_of(train),
        "seed": str(settings.seed),
        "settings": json.dumps(settings_by_name(settings), sort_keys=True),
        "code": f"version {TRAINING_VERSION}",
    }


def settings_by_name(settings) -> dict:
    """Return the fields of a dataclass of settings as a dictionary, as files hold them.

    LATER_SETTINGS are left out where they have their default, so that an older file still fits.
    """
    return {
        name: value
        for name, value in vars(settings).items()
        if name not in LATER_SETTINGS or value != getattr(type(settings), name)
    }


def load_or_train(path: str | Path, model_name: str, data_name: str) -> SpamClassifier:
    """Return the classifier saved at `path`, or train it and save it there.

    A damaged file, and one that was trained from something else, with other settings or by another
    version, is neither taken nor overwritten. Training is that of section 6.7: the book's plan and
    `TrainingSettings.for_model`, with the weights of the best epoch.
    """
    about, path = trained_from(model_name, data_name), Path(path)
    saved, problem = _saved_classifier(path, about)
    if saved is not None:
        return saved
    if problem:
        warnings.warn(
            f"{problem}. It stays, and one is trained for now; to have that one saved, "
            "delete the file first",
            stacklevel=2,
        )
    settings = TrainingSettings.for_model(model_name, keep="best")
    train, validation, _ = (loader.dataset for loader in create_dataloaders(data_name))
    model = load_pretrained(model_name)
    torch.manual_seed(settings.seed)
    replace_head(model)
    history = fine_tune(model, train, validation, FreezePlan.book(model.cfg["n_layers"]), settings)
    if history.interrupted:
        raise KeyboardInterrupt  # a classifier that is trained in part is not saved
    classifier = SpamClassifier(model, train.max_length, about=about)
    if not problem:
        classifier.save(path)
    return classifier


def save_classifier(classifier: SpamClassifier, path: str | Path) -> str:
    """Save a classifier, but never over another one; return a sentence that says what was done.

    Another one is a damaged file, or one that was trained from something else or in another way.
    Raises what `SpamClassifier.save` raises.
    """
    _, problem = _saved_classifier(Path(path), classifier.about)
    if problem:
        return f"Not saved: {problem}. Delete that file first, or choose another name."
    return f"Saved in {classifier.save(path)}."


def _saved_classifier(path: Path, about: dict[str, str]) -> tuple[SpamClassifier | None, str]:
    """Return the classifier at `path` if it is the one `about` describes, else why it is not.

    The reason is "" where there is no file.
    """
    if not path.exists():
        return None, ""
    try:
        saved = SpamClassifier.load(path)
    except ValueError as error:
        return None, str(error)
    differing = [name for name in about if saved.about.get(name) != about[name]]
    if differing:
        return None, f"{path} is another classifier (it differs in: {', '.join(differing)})"
    return saved, ""
