"""Runs of the Freeze Lab: their settings, a training in steps, and the file that keeps the results.

A run trains a classifier with the same settings once for each of its seeds 1, 2, …; the seed draws
the new head, the order of the batches and the adapters. A finished run is one row of a file of JSON
lines (jsonlines.org), with the checksums of the checkpoint and the messages, so that runs of another
model or on other messages are never compared with these.
"""

import copy
import json
import os
import secrets
from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean

import torch
from torch.utils.data import DataLoader

from helpers.checks import finite_number, one_of, whole_number
from helpers.data import SpamDataset, create_dataloaders
from helpers.download import whole_file
from helpers.freezing import FreezePlan, parameter_report, preset_of, replace_head, run_name
from helpers.loading import load_pretrained
from helpers.measures import wilson_interval
from helpers.model import GPTModel, part_names
from helpers.training import (
    TrainingSettings,
    calc_accuracy_loader,
    last_token_positions,
    own_random_numbers,
)
from workshop.costs import Cost, TrainingWork, work_of_training
from workshop.fast import History, Progress, fine_tuning_steps, trained_from
from workshop.texts import counted

FILE = "freeze_lab.jsonl"


RUN, TEST_OPENED = "run", "test opened"  # the kinds of rows


# --- rows in a file ------------------------------------------------------------------------------


def append_row(path: str | Path, row: dict) -> None:
    """Append `row`, which has a text "id", to the file at `path` as one line of JSON.

    The line is written at once behind all that is there: two processes that append at the same time
    do not mix, and one that is killed leaves a line or none. Sets become sorted lists. Raises OSError
    where the file can't be written, ValueError for numbers that JSON does not have.
    """
    path = Path(path)
    line = json.dumps(row, ensure_ascii=False, allow_nan=False, default=sorted).encode() + b"\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+", buffering=2**20) as file:  # bytes: the line is in one piece
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read() != b"\n":  # a line that was cut off must not spoil this one
                line = b"\n" + line
        file.write(line)


def read_rows(path: str | Path) -> tuple[list[dict], list[str]]:
    """Return the rows of a file, and a sentence for each line that can't be read.

    A file that does not exist has no rows. Empty lines are skipped: `append_row` writes one where
    another process was still writing.
    """
    path, rows, notes = Path(path), [], []
    lines = path.read_bytes().split(b"\n") if path.exists() else []
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            row = json.loads(line)
            if not isinstance(row, dict) or not isinstance(row.get("id"), str):
                raise ValueError("it is not a dictionary with a text 'id'")
            rows.append(row)
        except (ValueError, RecursionError) as error:
            notes.append(f"{path}, line {number} is left out, as it is no whole row ({error})")
    return rows, notes


def delete_row(path: str | Path, row_id: str) -> None:
    """Delete the row with this id from the file; all other lines stay, the damaged ones too.

    A row that another process appends at the same time may be lost. Raises ValueError for an id
    that no row has.
    """
    path, field = Path(path), f'"id": {json.dumps(row_id)}'.encode()  # as append_row writes it
    lines = path.read_bytes().split(b"\n") if path.exists() else []
    kept = [line for line in lines if field not in line]
    if len(kept) == len(lines):
        raise ValueError(f"{path} has no row with the id {row_id!r}; it may be deleted already")
    with whole_file(path) as part:
        part.write_bytes(b"\n".join(kept))


# --- material and settings -----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Material:
    """A pretrained model and three data sets, with the checksums that tell them from others.

    `lr` is the learning rate that goes with the model.
    """

    pretrained: GPTModel
    train: SpamDataset
    validation: SpamDataset
    test: SpamDataset
    belongs_to: dict[str, str]
    lr: float


def load_material(model_name: str, data_name: str) -> Material:
    """Return a model and messages by their names; raises what their loading raises."""
    sources = trained_from(model_name, data_name)
    return Material(
        load_pretrained(model_name),
        *(loader.dataset for loader in create_dataloaders(data_name)),
        belongs_to={name: sources[name] for name in ("checkpoint", "messages")},
        lr=TrainingSettings.for_model(model_name).lr,
    )


@dataclass(frozen=True)
class Settings:
    """What is chosen before a run; raises ValueError for values that can't be."""

    plan: FreezePlan
    position: str = "last"
    epochs: int = 5
    lr: float = 1e-3
    num_seeds: int = 1

    def __post_init__(self):
        self.with_seed(1)  # refuses what can't be trained
        whole_number("num_seeds", self.num_seeds)

    def with_seed(self, seed: int) -> TrainingSettings:
        """Return the settings of the training with this seed."""
        return TrainingSettings(epochs=self.epochs, lr=self.lr, seed=seed, position=self.position)

    def __str__(self) -> str:
        epochs, seeds = counted(self.epochs, "epoch"), counted(self.num_seeds, "seed")
        plan = plan_in_words(self.plan)
        return f"{plan} · position {self.position} · {epochs} · lr {self.lr:g} · {seeds}"


def plan_in_words(plan: FreezePlan) -> str:
    """Return a preset's name, or else what is trained: "out_head, trf_blocks.4 – 5, rank 8 on …"."""
    rank = f"rank {plan.rank}" if plan.adapted else ""
    if name := preset_of(plan):
        return f"{name}, {rank}" if rank else name
    trained = _named_parts(plan.n_layers, plan.trainable)
    if plan.adapted:
        trained.append(f"{rank} on {', '.join(_named_parts(plan.n_layers, plan.adapted))}")
    return ", ".join(trained)


def _named_parts(n_layers: int, names: Iterable[str]) -> list[str]:
    """Return parts and pieces, the output first, neighbouring whole blocks as one name."""
    groups: list[list[str]] = []
    before = ""  # the part below
    for part in part_names(n_layers):
        if part in names:
            is_block = part.startswith("trf_blocks.")
            if is_block and before.startswith("trf_blocks.") and before in names:
                groups[-1].append(part)
            else:
                groups.append([part])
        groups += [[piece] for piece in sorted(names) if piece.rpartition(".")[0] == part]
        before = part
    return [run_name(group) for group in reversed(groups)]


# --- a training in steps -------------------------------------------------------------------------


class Training:
    """A run under way: `steps` trains seed after seed, in short steps.

    `model` is that of the seed which is trained now, or was last; `histories` has an entry for each
    seed that has begun. The pretrained model is not changed.
    """

    def __init__(self, material: Material, settings: Settings):
        self.material, self.settings = material, settings
        self.model: GPTModel | None = None
        self.histories: list[History] = []

    @property
    def seed(self) -> int:
        """The seed that is trained now, from 1."""
        return max(1, len(self.histories))

    @property
    def interrupted(self) -> bool:
        """Whether a training ended before its last epoch."""
        return any(history.interrupted for history in self.histories)

    def steps(self) -> Generator[Progress, None, None]:
        """Train; yield after each step.

        `close` and a KeyboardInterrupt leave the weights of the last whole epoch. Raises what
        `fine_tuning_steps` raises.
        """
        material, settings = self.material, self.settings
        for seed in range(1, settings.num_seeds + 1):
            self.model = new_classifier(material.pretrained, seed)
            steps = fine_tuning_steps(
                self.model,
                material.train,
                material.validation,
                settings.plan,
                settings.with_seed(seed),
            )
            with closing(steps):
                for progress in steps:
                    if len(self.histories) < seed:
                        self.histories.append(progress.history)
                    yield progress
            if self.interrupted:
                return

    def share_done(self, progress: Progress) -> float:
        """Return the fraction, 0 … 1, of all seeds' steps, or of the messages that are encoded."""
        if progress.phase == "encoding":
            return progress.done / progress.total
        return (self.seed - 1 + progress.done / progress.total) / self.settings.num_seeds

    def seconds_left(self, progress: Progress) -> float | None:
        """Return how long it will take at the pace so far; None before the first step."""
        share = self.share_done(progress)
        if progress.phase == "encoding" or not share:
            return None
        return sum(history.seconds_training for history in self.histories) * (1 - share) / share


def train_whole(material: Material, settings: Settings) -> "Run":
    """Return the run of these settings, trained in one go: what the Lab's button does.

    Raises what the training raises, and KeyboardInterrupt.
    """
    training = Training(material, settings)
    for _ in training.steps():
        pass
    if training.interrupted:
        raise KeyboardInterrupt
    return finished_run(training)


def new_classifier(pretrained: GPTModel, seed: int) -> GPTModel:
    """Return a copy of a model with a new head, which `seed` draws."""
    with own_random_numbers(pretrained.tok_emb.weight.device, seed):
        return replace_head(copy.deepcopy(pretrained))


def work_predicted(material: Material, settings: Settings) -> TrainingWork:
    """Return the work of one training, the book's way and with the frozen part run once."""
    training = settings.with_seed(1)
    lengths = [
        (last_token_positions(torch.tensor(data.encoded_texts)) + 1).tolist()  # without padding
        for data in (material.train, material.validation)
    ]
    return work_of_training(
        material.pretrained.cfg,
        settings.plan,
        *lengths,
        epochs=training.epochs,
        batch_size=training.batch_size,
        seed=training.seed,
        position=training.position,
    )


def share_right(model: GPTModel, data: SpamDataset, position: str) -> float:
    """Return the fraction, 0 … 1, of messages that a model classifies correctly."""
    loader = DataLoader(data, batch_size=32)
    return calc_accuracy_loader(loader, model, model.tok_emb.weight.device, position=position)


# --- finished runs -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """A finished run; the tuples have one entry for each seed.

    `work` (predicted for `fine_tune`, in multiply-adds) and `seconds` (measured) are of one
    training, the mean over seeds; `seconds_encoding` of the seconds went into what is computed once
    and kept. Accuracies (0 … 1) and losses (means, in nats) are those of the last epoch:
    `train_accs` over its training messages, each before its step, the others over all `num_messages`
    validation messages. `after_test` tells whether the test set had been seen before. Raises
    ValueError and TypeError for values that no run has, such as a file may hold.
    """

    id: str
    settings: Settings
    trainable: int
    work: int
    seconds: float
    seconds_encoding: float
    train_accs: tuple[float, ...]
    val_accs: tuple[float, ...]
    val_losses: tuple[float, ...]
    best_epochs: tuple[int, ...]
    num_messages: int
    after_test: bool

    def __post_init__(self):
        for name in ("train_accs", "val_accs", "val_losses", "best_epochs"):
            numbers = tuple(getattr(self, name))
            object.__setattr__(self, name, numbers)  # the dataclass is frozen
            if len(numbers) != self.settings.num_seeds:
                raise ValueError(f"{name} must have one entry for each seed, not {numbers}")
        for number in (*self.train_accs, *self.val_accs):
            finite_number("an accuracy", number, inclusive=True, most=1.0)
        for number in (*self.val_losses, self.seconds, self.seconds_encoding):
            finite_number("losses and seconds", number, inclusive=True)
        for number in (*self.best_epochs, self.trainable, self.work, self.num_messages):
            whole_number("epochs and counts", number, most=2**63)
        one_of("after_test", self.after_test, (True, False))

    @property
    def accuracy(self) -> float:
        """The mean over the seeds."""
        return mean(self.val_accs)

    @property
    def loss(self) -> float:
        """The mean over the seeds."""
        return mean(self.val_losses)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy, Wilson's, over the validation messages."""
        return wilson_interval(self.accuracy, self.num_messages)


def finished_run(training: Training, after_test: bool = False) -> Run:
    """Return the run that a finished training makes, under a new id."""
    material, settings, histories = training.material, training.settings, training.histories
    encoding = mean(history.seconds_encoding for history in histories)
    seconds = encoding + mean(history.seconds_training for history in histories)
    return Run(
        id=secrets.token_hex(6),
        settings=settings,
        trainable=parameter_report(material.pretrained.cfg, settings.plan).trainable,
        work=work_predicted(material, settings).fine_tune.amount,
        seconds=round(seconds, 3),
        seconds_encoding=round(encoding, 3),
        train_accs=tuple(history.train_accs[-1] for history in histories),
        val_accs=tuple(history.val_accs[-1] for history in histories),
        val_losses=tuple(history.val_losses[-1] for history in histories),
        best_epochs=tuple(history.best_epoch for history in histories),
        num_messages=len(material.validation),
        after_test=after_test,
    )


COLUMNS = {  # a column's header → what its rows are sorted by; None: in the order of training
    "run": None,
    "what was trained": lambda run: str(run.settings),
    "trainable": lambda run: run.trainable,
    "work": lambda run: run.work,
    "seconds": lambda run: run.seconds,
    "accuracy": lambda run: run.accuracy,
    "loss": lambda run: run.loss,
    "best epoch": lambda run: mean(run.best_epochs),
}


def sorted_runs(runs: Iterable[Run], column: str, falling: bool = False) -> list[Run]:
    """Return runs in the order of a column of COLUMNS; equal ones stay in their order.

    Raises ValueError for another column.
    """
    one_of("column", column, COLUMNS)
    key = COLUMNS[column]
    if key is None:
        return list(runs)[::-1] if falling else list(runs)
    return sorted(runs, key=key, reverse=falling)


def say_run(run: Run) -> dict[str, str]:
    """Return a run's text in each column but the first."""
    low, high = run.interval
    trained, accuracy = str(run.settings), f"{run.accuracy:.3f}"
    if run.after_test:
        trained += " · after the test was seen"
    if len(run.val_accs) > 1:
        accuracy += f", {min(run.val_accs):.3f} – {max(run.val_accs):.3f}"
    return {
        "what was trained": trained,
        "trainable": f"{run.trainable:,}",
        "work": str(Cost("work", run.work, "multiply-adds", "")).removesuffix(" multiply-adds"),
        "seconds": f"{run.seconds:.1f}",
        "accuracy": f"{accuracy}; 95 %: {low:.3f} – {high:.3f}",
        "loss": f"{run.loss:.3f}",
        "best epoch": ", ".join(map(str, run.best_epochs)),
    }


# --- runs in a file ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kept:
    """What a file holds: the runs that belong together, how many others, and what is left out."""

    runs: tuple[Run, ...]
    test_opened: bool
    num_others: int
    notes: tuple[str, ...]


def keep_run(path: str | Path, run: Run, belongs_to: dict[str, str]) -> None:
    """Append a run to a file, with the checksums of what it `belongs_to`.

    Raises OSError where it can't be written.
    """
    append_row(path, {"kind": RUN, **belongs_to, **asdict(run)})


def keep_test_opened(path: str | Path, belongs_to: dict[str, str]) -> None:
    """Note in a file that the test set has been seen; raises OSError as `keep_run` does."""
    append_row(path, {"kind": TEST_OPENED, "id": secrets.token_hex(6), **belongs_to})


def read_kept(path: str | Path, belongs_to: dict[str, str]) -> Kept:
    """Return the runs in a file that belong to these checksums; no file holds none.

    A line that can't be read, a row that is no run and a second run of one id are left out, with a
    sentence. Raises OSError where the file can't be read.
    """
    rows, notes = read_rows(path)
    runs: dict[str, Run] = {}
    num_others, test_opened = 0, False
    for row in rows:
        belongs = all(row.pop(name, None) == value for name, value in belongs_to.items())
        kind = row.pop("kind", None)
        if kind == TEST_OPENED:
            test_opened = test_opened or belongs
        elif not belongs:
            num_others += 1
        elif row["id"] in runs:
            notes.append(f"{path}, a second row {row['id']!r} is left out")
        else:
            try:
                settings = dict(row["settings"])
                settings["plan"] = FreezePlan(**settings["plan"])
                runs[row["id"]] = Run(**row | {"settings": Settings(**settings)})
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                notes.append(f"{path}, the row {row['id']!r} is left out: it is no run ({error})")
    return Kept(tuple(runs.values()), test_opened, num_others, tuple(notes))
