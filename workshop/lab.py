"""Runs of the Freeze Lab: their settings, a training in steps, and the file that keeps the results.

A run trains a classifier with the same settings once for each of its seeds 1, 2, …; the seed draws
the new head, the order of the batches and the adapters. A finished run is one row of a file of JSON
lines (jsonlines.org), with the checksums of the checkpoint and the messages, so that runs of another
model or on other messages are never compared with these.
"""

import copy
import json
import secrets
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean

import torch

from helpers.checks import finite_number, whole_number
from helpers.data import SpamDataset, create_dataloaders
from helpers.download import whole_file
from helpers.freezing import FreezePlan, parameter_report, preset_of, replace_head, run_name
from helpers.loading import load_pretrained
from helpers.measures import Difference, paired_interval, wilson_interval
from helpers.model import GPTModel, part_names
from helpers.training import TrainingSettings, last_token_positions, own_random_numbers
from workshop.costs import Cost, TrainingWork, work_of_training
from workshop.fast import Progress, fine_tuning_steps, trained_from
from workshop.forward import message_logits
from workshop.texts import counted

FILE = "freeze_lab.jsonl"


# --- rows in a file ------------------------------------------------------------------------------


def append_row(path: Path, row: dict) -> None:
    """Append `row`, which has an "id", to the file at `path` as one line of JSON.

    A line of less than 8 KB is written in one piece: two processes that append at the same time do
    not mix, and one that is killed leaves a line or none. Sets become sorted lists. Raises OSError
    where the file can't be written, ValueError for numbers that JSON does not have.
    """
    line = json.dumps(row, allow_nan=False, default=sorted).encode() + b"\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        file.seek(max(0, file.tell() - 1))
        if file.read() not in (b"", b"\n"):  # the last line was cut off
            line = b"\n" + line
        file.write(line)


def read_rows(path: Path) -> tuple[list[dict], list[str]]:
    """Return the rows of a file, and a sentence for each line that is left out.

    These are lines that can't be read, and a second row of the same id. A file that does not exist
    has no rows, and empty lines are skipped.
    """
    rows, notes = {}, []
    lines = path.read_bytes().split(b"\n") if path.exists() else []
    for number, line in enumerate(lines, start=1):
        if line:
            try:
                row = json.loads(line)
                if rows.setdefault(row["id"], row) is not row:
                    raise ValueError(f"{row['id']!r} is in the file already")
            except (KeyError, TypeError, ValueError, RecursionError) as error:  # brackets nest
                notes.append(f"{path}, line {number} is left out, as it is no whole row ({error})")
    return list(rows.values()), notes


def delete_row(path: Path, row_id: str) -> None:
    """Delete the row with this id from the file; all other lines stay, the damaged ones too.

    A row that another process appends at the same time may be lost. Raises OSError where there is
    no file, ValueError for an id that no row has.
    """
    field = f'"id": {json.dumps(row_id)}'.encode()  # as append_row writes it
    lines = path.read_bytes().split(b"\n")
    kept = [line for line in lines if field not in line]
    if len(kept) == len(lines):
        raise ValueError(f"{path} has no row with the id {row_id!r}; it may be deleted already")
    with whole_file(path) as part:
        part.write_bytes(b"\n".join(kept))


# --- material and settings -----------------------------------------------------------------------


@dataclass
class Material:
    """A pretrained model and three data sets, with the checksums that tell them from others.

    `lr` is the learning rate that goes with the model. `majority` is the baseline of all runs: the
    accuracy, 0 … 1, of predicting the more frequent label for all validation messages.
    """

    pretrained: GPTModel
    train: SpamDataset
    validation: SpamDataset
    test: SpamDataset
    belongs_to: dict[str, str]
    lr: float

    @property
    def majority(self) -> float:
        """The fraction of validation messages that have the more frequent label."""
        spam = mean(self.validation.labels)
        return max(spam, 1 - spam)


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
        training = self.with_seed(1)  # refuses what can't be trained, and has Python's numbers
        num_seeds = whole_number("num_seeds", self.num_seeds)
        vars(self).update(epochs=training.epochs, lr=training.lr, num_seeds=num_seeds)

    def with_seed(self, seed: int) -> TrainingSettings:
        """Return the settings of the training with this seed."""
        return TrainingSettings(epochs=self.epochs, lr=self.lr, seed=seed, position=self.position)

    def __str__(self) -> str:
        plan, name = self.plan, preset_of(self.plan)
        if name is None:
            names = named_parts(plan.n_layers, plan.trainable)
            if plan.adapted:
                adapted = ", ".join(named_parts(plan.n_layers, plan.adapted))
                names.append(f"rank {plan.rank} on {adapted}")
            name = ", ".join(names)
        elif plan.adapted:
            name += f", rank {plan.rank}"
        epochs, seeds = counted(self.epochs, "epoch"), counted(self.num_seeds, "seed")
        return f"{name} · position {self.position} · {epochs} · lr {self.lr:g} · {seeds}"


def named_parts(n_layers: int, names: Iterable[str]) -> list[str]:
    """Return the names of parts and pieces, the output first, neighbouring blocks as one name."""
    groups, is_run = [], False  # whether the last group is of blocks, and ends just below
    for part in part_names(n_layers):
        is_block = part.startswith("trf_blocks.")
        if part in names and is_block and is_run:
            groups[-1].append(part)
        elif part in names:
            groups.append([part])
        is_run = is_block and part in names
        groups += [[piece] for piece in sorted(names) if piece.rpartition(".")[0] == part]
    return [run_name(group) for group in reversed(groups)]


# --- a training in steps -------------------------------------------------------------------------


class Training:
    """A run under way: `steps` trains seed after seed, in short steps.

    `model` is the one that is trained now, or was last (None before); `histories` has an entry for
    each seed that has begun, `right` for each that has ended: a text with a 1 for each validation
    message that is classified correctly, 0 for the others. The pretrained model is not changed.
    """

    def __init__(self, material: Material, settings: Settings):
        self.material, self.settings = material, settings
        self.model, self.histories, self.right = None, [], []

    @property
    def interrupted(self) -> bool:
        """Whether a training ended before its last epoch."""
        return any(history.interrupted for history in self.histories)

    def steps(self) -> Iterator[Progress]:
        """Train; yield after each step.

        `close` and a KeyboardInterrupt leave the weights of the last whole epoch. Raises what
        `fine_tuning_steps` raises.
        """
        data, plan = (self.material.train, self.material.validation), self.settings.plan
        for seed in range(1, self.settings.num_seeds + 1):
            self.model = new_classifier(self.material.pretrained, seed)
            settings = self.settings.with_seed(seed)
            with closing(fine_tuning_steps(self.model, *data, plan, settings)) as steps:
                for progress in steps:
                    if len(self.histories) < seed:
                        self.histories.append(progress.history)
                    yield progress
            if self.interrupted:
                return
            validation = self.material.validation
            logits = message_logits(self.model, validation.encoded_texts, settings.position)
            is_right = logits.argmax(dim=-1) == torch.tensor(validation.labels)
            self.right.append("".join(map(str, is_right.int().tolist())))


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
    lengths = []  # without padding
    for data in (material.train, material.validation):
        lengths.append((last_token_positions(torch.tensor(data.encoded_texts)) + 1).tolist())
    return work_of_training(
        material.pretrained.cfg,
        settings.plan,
        *lengths,
        epochs=settings.epochs,
        seed=1,
        position=settings.position,
    )


# --- finished runs -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """A finished run; the tuples have one entry for each seed.

    `work` (predicted for `fine_tune`, in multiply-adds) and `seconds` (measured, without those of the
    frozen layers, whose output may be cached from an earlier run) are of one training, the mean over
    seeds. Accuracies (0 … 1) and losses (means, in nats) are those of the last epoch: `train_accs`
    over its training messages, each before its step, the others over all validation messages.
    `right` is that of `Training`. `after_test` tells whether the test set had been used before.
    """

    id: str
    settings: Settings
    trainable: int
    work: int
    seconds: float
    train_accs: tuple
    val_losses: tuple
    best_epochs: tuple
    right: tuple
    after_test: bool

    @property
    def num_messages(self) -> int:
        """The number of validation messages."""
        return len(self.right[0])

    @property
    def val_accs(self) -> tuple:
        """The accuracy of each seed."""
        return tuple(right.count("1") / self.num_messages for right in self.right)

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


def compare_runs(run: Run, other: Run) -> Difference:
    """Return by how much a run's accuracy is higher than another's on the same messages.

    The seeds that both have count: one of them alone tells nothing about others.
    """
    seeds = min(len(run.right), len(other.right))
    right = [[list(map(int, text)) for text in each.right[:seeds]] for each in (run, other)]
    return paired_interval(*right)


def finished_run(training: Training, after_test: bool = False) -> Run:
    """Return the run that a finished training makes, under a new id."""
    material, settings, histories = training.material, training.settings, training.histories
    return Run(
        id=secrets.token_hex(6),
        settings=settings,
        trainable=parameter_report(material.pretrained.cfg, settings.plan).trainable,
        work=work_predicted(material, settings).fine_tune.amount,
        seconds=mean(history.seconds_training for history in histories),
        train_accs=tuple(history.train_accs[-1] for history in histories),
        val_losses=tuple(history.val_losses[-1] for history in histories),
        best_epochs=tuple(history.best_epoch for history in histories),
        right=tuple(training.right),
        after_test=after_test,
    )


def describe_run(run: Run, other: Run) -> dict[str, str]:
    """Return a run's text in each column of the table, by the column's name.

    The last column has the difference in accuracy from the run `other`.
    """
    accuracy = f"{run.accuracy:.3f}"
    if len(run.right) > 1:
        accuracy += f" ({min(run.val_accs):.3f} … {max(run.val_accs):.3f})"
    compared = "–"
    if run.id != other.id:
        difference = compare_runs(run, other)
        compared = f"{difference}: {difference.verdict}"
    after = " · after the test set was used" if run.after_test else ""
    return {
        "what was trained": f"{run.settings}{after}",
        "trainable": f"{run.trainable:,}",
        "multiply-adds": str(Cost("work", run.work, "multiply-adds")).removesuffix(
            " multiply-adds"
        ),
        "seconds": f"{run.seconds:.1f}",
        "loss": f"{run.loss:.3f}",
        "best epoch": ", ".join(map(str, run.best_epochs)),
        "accuracy": accuracy,
        "difference": compared,
    }


def check_run(run: Run) -> None:
    """Raise ValueError for a run with numbers that no training gives, such as an epoch 1.7."""
    for name in ("trainable", "work", "num_messages"):
        whole_number(name, getattr(run, name), 1, 2**63)
    finite_number("seconds", run.seconds, inclusive=True)
    numbers = run.train_accs, run.val_losses, run.best_epochs, run.right
    seeds = range(run.settings.num_seeds)
    for train_acc, val_loss, epoch, right, _ in zip(*numbers, seeds, strict=True):
        finite_number("an accuracy", train_acc, inclusive=True, most=1)
        finite_number("a loss", val_loss, inclusive=True)
        whole_number("the best epoch", epoch, 1, run.settings.epochs)
        if not set(right) <= {"0", "1"} or len(right) != run.num_messages:
            raise ValueError(f"{right!r} does not say which of the messages are right")


# --- runs in a file ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kept:
    """What a file holds: the runs that belong together, how many others, and what is left out."""

    runs: tuple
    test_opened: bool
    num_others: int
    notes: tuple


def keep_run(path: Path, run: Run, belongs_to: dict[str, str]) -> None:
    """Append a run to a file, with the checksums of what it `belongs_to`.

    Raises OSError where it can't be written.
    """
    append_row(path, {"kind": "run", **belongs_to, **asdict(run)})


def keep_test_opened(path: Path, belongs_to: dict[str, str]) -> None:
    """Note in a file that the test set has been used; raises OSError as `keep_run` does."""
    append_row(path, {"kind": "test opened", "id": secrets.token_hex(6), **belongs_to})


def read_kept(path: Path, belongs_to: dict[str, str]) -> Kept:
    """Return the runs in a file that belong to these checksums; no file holds none.

    What `read_rows` leaves out, and a row that can't be shown as a run, are left out with a
    sentence. Raises OSError where the file can't be read.
    """
    rows, notes = read_rows(path)
    runs, num_others, test_opened = [], 0, False
    for row in rows:
        if any(row.pop(name, None) != value for name, value in belongs_to.items()):
            num_others += row.get("kind") == "run"
        elif row.pop("kind", None) == "test opened":
            test_opened = True
        else:
            try:
                plan = FreezePlan(**row["settings"]["plan"])
                row["settings"] = Settings(**row["settings"] | {"plan": plan})
                for name in ("train_accs", "val_losses", "best_epochs", "right"):
                    row[name] = tuple(row[name])
                run = Run(**row)
                check_run(run)
                runs.append(run)
            except Exception as error:
                notes.append(f"{path}, the row {row['id']!r} is left out: it is no run ({error})")
    return Kept(tuple(runs), test_opened, num_others, tuple(notes))
