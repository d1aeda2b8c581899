"""Results of trainings: rows in a file of JSON lines, and intervals that say how sure a figure is.

A row is a dictionary with a text "id"; in the file it is one line (jsonlines.org). A row is
appended whole, so what was there before is never at risk. A line that can't be read, because
something else wrote it or the power failed, is left out with a word, and stays in the file.

Runs of the Freeze Lab: settings, a training in slices, and what is kept of it to compare.

A run trains a classifier with the same settings once for each of its seeds 1, 2, …; the seed draws
the new head, the order of the batches and the adapters. What a run brought is one row of a file
(see `results`). Beside it stands what it belongs to: the checksums of checkpoint and messages, so
that runs of another model or on other messages are never compared with these.
"""

import copy
import json
import os
import secrets
from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import asdict, dataclass, fields
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
    POSITIONS,
    TrainingSettings,
    calc_accuracy_loader,
    last_token_positions,
    own_random_numbers,
)
from workshop.costs import Cost, TrainingWork, work_of_training
from workshop.fast import (
    History,
    Progress,
    fine_tuning_steps,
    trained_from,
)

# --- rows in a file ------------------------------------------------------------------------------


def append_row(path: str | Path, row: dict) -> None:
    """Append `row`, which has a text "id", to the file at `path` as one line of JSON.

    The line is written by one call, behind all that is there: two processes that append at once do
    not mix, and one that is killed leaves a line or none. Raises ValueError for a row without an id
    or with numbers that JSON does not have, TypeError for other values, OSError where the file
    can't be written.
    """
    if not isinstance(row, dict) or not isinstance(row.get("id"), str):
        raise ValueError(f"a row is a dictionary with a text 'id', not {row!r}")
    line = (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n").encode()
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)  # Windows' own
    file = os.open(path, flags, 0o666)
    try:
        if os.lseek(file, 0, os.SEEK_END):
            os.lseek(file, -1, os.SEEK_END)
            if os.read(file, 1) != b"\n":  # a line that was cut off must not spoil this one
                line = b"\n" + line
        if os.write(file, line) != len(line):
            raise OSError(f"{path} took a part of the row only; is the disk full?")
    finally:
        os.close(file)


def read_rows(path: str | Path) -> tuple[list[dict], list[str]]:
    """Return the rows of a file, and a sentence for each line that is none; no file has no rows.

    Empty lines mean nothing: `append_row` makes one where another process was still writing.
    """
    rows, notes = [], []
    for number, line in enumerate(_lines(path), start=1):
        if not line:
            continue
        try:
            rows.append(_parsed(line))
        except (ValueError, RecursionError) as error:
            notes.append(f"{path}, line {number} is left out, as it is no whole row ({error})")
    return rows, notes


def delete_row(path: str | Path, row_id: str) -> None:
    """Delete the row with this id from the file; all other lines stay, the damaged ones too.

    What another process appends in the same moment may be lost. Raises ValueError for an id that
    no row has.
    """
    lines = _lines(path)
    kept = [line for line in lines if not _has_id(line, row_id)]
    if len(kept) == len(lines):
        raise ValueError(f"{path} has no row with the id {row_id!r}; it may be deleted already")
    with whole_file(path) as part:
        part.write_bytes(b"".join(line + b"\n" for line in kept))


def _lines(path: str | Path) -> list[bytes]:
    path = Path(path)
    lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
    return lines[:-1] if not lines[-1] else lines


def _parsed(line: bytes) -> dict:
    row = json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
    if not isinstance(row, dict) or not isinstance(row.get("id"), str):
        raise ValueError("it is not a dictionary with a text 'id'")
    return row


def _refuse_constant(name: str):
    raise ValueError(f"JSON has no number {name}")


def _has_id(line: bytes, row_id: str) -> bool:
    try:
        return _parsed(line)["id"] == row_id
    except (ValueError, RecursionError):
        return False


FILE = "freeze_lab.jsonl"


BATCH_SIZE = 8


RUN, TEST_OPENED = "run", "test opened"  # the kinds of rows


# --- what is worked with, and settings -----------------------------------------------------------


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
    """What is chosen before a run.

    Raises ValueError for what can't be: another position, no epoch, no seed, a learning rate that
    is no number above 0.
    """

    plan: FreezePlan
    position: str = "last"
    epochs: int = 5
    lr: float = 1e-3
    num_seeds: int = 1

    def __post_init__(self):
        one_of("position", self.position, POSITIONS)
        whole_number("epochs", self.epochs)
        finite_number("lr", self.lr)
        whole_number("num_seeds", self.num_seeds)

    def __str__(self) -> str:
        epochs, seeds = _count(self.epochs, "epoch"), _count(self.num_seeds, "seed")
        plan = plan_in_words(self.plan)
        return f"{plan} · position {self.position} · {epochs} · lr {self.lr:g} · {seeds}"


def plan_in_words(plan: FreezePlan) -> str:
    """Return a preset's name, or else what learns: "out_head, trf_blocks.4 – 5, rank 8 on …"."""
    rank = f"rank {plan.rank}" if plan.adapted else ""
    if name := preset_of(plan):
        return f"{name}, {rank}" if rank else name
    adapters = f"{rank} on {_named_parts(plan.n_layers, plan.adapted)}" if rank else ""
    return ", ".join(filter(None, (_named_parts(plan.n_layers, plan.trainable), adapters)))


def _named_parts(n_layers: int, names: Iterable[str]) -> str:
    """Return parts and pieces, the output first, neighbouring whole blocks as one name."""
    names, runs = set(names), []
    for part in part_names(n_layers):
        if part in names:
            block = part.startswith("trf_blocks.")
            if block and runs and runs[-1][-1] == _block_below(part):
                runs[-1].append(part)
            else:
                runs.append([part])
        runs += [[piece] for piece in sorted(names) if piece.rpartition(".")[0] == part]
    return ", ".join(run_name(run) for run in reversed(runs))


def _block_below(block: str) -> str:
    kind, _, number = block.rpartition(".")
    return f"{kind}.{int(number) - 1}"


# --- a training in slices ------------------------------------------------------------------------


class Training:
    """A run under way: `steps` trains one slice after the other, seed after seed.

    `model` is that of the seed which is trained now, or was last; `histories` has an entry for each
    seed that has begun. The pretrained model is left as it is.
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
        """Train; yield after each slice.

        `close` and a KeyboardInterrupt leave the weights of the last whole epoch. Raises what
        `fine_tuning_steps` raises.
        """
        for seed in range(1, self.settings.num_seeds + 1):
            self.model = new_classifier(self.material.pretrained, seed)
            with closing(self._steps_with(seed)) as steps:
                for progress in steps:
                    if len(self.histories) < seed:
                        self.histories.append(progress.history)
                    yield progress
            if self.interrupted:
                return

    def _steps_with(self, seed: int) -> Generator[Progress, None, History]:
        material, settings = self.material, self.settings
        return fine_tuning_steps(
            self.model,
            material.train,
            material.validation,
            settings.plan,
            TrainingSettings(
                epochs=settings.epochs,
                batch_size=BATCH_SIZE,
                lr=settings.lr,
                seed=seed,
                position=settings.position,
            ),
        )

    def share_done(self, progress: Progress) -> float:
        """Return the share, 0 … 1, of all seeds' steps, or of the messages that are encoded."""
        before = 0 if progress.phase == "encoding" else (self.seed - 1) * progress.total
        parts = 1 if progress.phase == "encoding" else self.settings.num_seeds
        return (before + progress.done) / (parts * progress.total)

    def seconds_left(self, progress: Progress) -> float | None:
        """Return how long it will take at the pace so far; None before the first step."""
        taken = sum(history.seconds_training for history in self.histories)
        share = self.share_done(progress) if progress.phase == "training" else 0.0
        return taken * (1 - share) / share if share else None


def train_whole(material: Material, settings: Settings) -> "Run":
    """Return the run that `settings` lead to, trained at a stretch: what the Lab's button does.

    Raises what the training raises, KeyboardInterrupt among it.
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
    return work_of_training(
        material.pretrained.cfg,
        settings.plan,
        _lengths(material.train),
        _lengths(material.validation),
        epochs=settings.epochs,
        batch_size=BATCH_SIZE,
        seed=1,
        position=settings.position,
    )


def _lengths(data: SpamDataset) -> list[int]:
    """Return the messages' numbers of tokens, without padding."""
    return (last_token_positions(torch.tensor(data.encoded_texts)) + 1).tolist()


# --- what came of it -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """A finished run; lists have one entry for each seed.

    `work` (predicted for `fine_tune`, in multiply-adds) and `seconds` (measured) are of one
    training, the mean over seeds; of the seconds, `seconds_encoding` went into what is computed
    once and kept. Accuracies (0 … 1) and losses (means, in nats) are those of the last epoch,
    `train_accs` over its training messages as they were met, the others over all `num_messages`
    validation messages. `after_test` says that the test set had been seen before.
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
    """Return what a finished training brought, under a new id."""
    material, settings, histories = training.material, training.settings, training.histories
    report = parameter_report(material.pretrained.cfg, settings.plan)
    encoding = [history.seconds_encoding for history in histories]
    seconds = [history.seconds_training + history.seconds_encoding for history in histories]
    return Run(
        id=secrets.token_hex(6),
        settings=settings,
        trainable=report.trainable,
        work=work_predicted(material, settings).fine_tune.amount,
        seconds=round(mean(seconds), 3),
        seconds_encoding=round(mean(encoding), 3),
        train_accs=tuple(history.train_accs[-1] for history in histories),
        val_accs=tuple(history.val_accs[-1] for history in histories),
        val_losses=tuple(history.val_losses[-1] for history in histories),
        best_epochs=tuple(history.best_epoch for history in histories),
        num_messages=len(material.validation),
        after_test=after_test,
    )


COLUMNS = {  # a column's header → what its rows are sorted by; None: as they came
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
    """Return runs in the order of a column; those that are equal in it stay as they are.

    Raises ValueError for what is no column.
    """
    one_of("column", column, COLUMNS)
    key = COLUMNS[column]
    if key is None:
        return list(runs)[:: -1 if falling else 1]
    return sorted(runs, key=key, reverse=falling)


def say_run(run: Run) -> dict[str, str]:
    """Return for each column but the first what it says of a run."""
    low, high = run.interval
    seeds = f", {min(run.val_accs):.3f} – {max(run.val_accs):.3f}" * (len(run.val_accs) > 1)
    return {
        "what was trained": f"{run.settings}{' · after the test was seen' * run.after_test}",
        "trainable": f"{run.trainable:,}",
        "work": str(Cost("work", run.work, "multiply-adds", "")).removesuffix(" multiply-adds"),
        "seconds": f"{run.seconds:.1f}",
        "accuracy": f"{run.accuracy:.3f}{seeds}; 95 %: {low:.3f} – {high:.3f}",
        "loss": f"{run.loss:.3f}",
        "best epoch": ", ".join(map(str, run.best_epochs)),
    }


# --- in a file -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kept:
    """What a file holds: the runs that belong together, and words on the rest of it."""

    runs: tuple[Run, ...]
    test_opened: bool
    num_others: int
    notes: tuple[str, ...]


def keep_run(path: str | Path, run: Run, belongs_to: dict[str, str]) -> None:
    """Append a run to a file, with the checksums of what it `belongs_to`.

    Raises OSError where it can't be written.
    """
    append_row(path, {"kind": RUN, **belongs_to, **asdict(run), **_plan_as_lists(run)})


def keep_test_opened(path: str | Path, belongs_to: dict[str, str]) -> None:
    """Note in a file that the test set has been seen; raises OSError as `keep_run` does."""
    append_row(path, {"kind": TEST_OPENED, "id": secrets.token_hex(6), **belongs_to})


def read_kept(path: str | Path, belongs_to: dict[str, str]) -> Kept:
    """Return the runs in a file that belong to these checksums; no file holds none.

    A line or a row that can't be read is left out with a word. Raises OSError where the file can't
    be read.
    """
    rows, notes = read_rows(path)
    runs, others, test_opened = [], 0, False
    for row in rows:
        same = all(row.get(name) == value for name, value in belongs_to.items())
        if row.get("kind") == TEST_OPENED:
            test_opened = test_opened or same
        elif not same:
            others += 1
        else:
            try:
                runs.append(_run_of(row))
            except (KeyError, TypeError, ValueError) as error:
                notes.append(f"{path}, the row {row['id']!r} is left out: it is no run ({error!r})")
    return Kept(tuple(runs), test_opened, others, tuple(notes))


def _plan_as_lists(run: Run) -> dict:
    settings = asdict(run.settings)
    plan = settings["plan"]
    plan |= {name: sorted(plan[name]) for name in ("trainable", "adapted")}
    return {"settings": settings}


def _run_of(row: dict) -> Run:
    values = {field.name: row[field.name] for field in fields(Run)}
    settings = dict(values["settings"])
    plan = settings.pop("plan")
    names = {name: frozenset(plan[name]) for name in ("trainable", "adapted")}
    values["settings"] = Settings(FreezePlan(**(plan | names)), **settings)
    count = values["settings"].num_seeds
    for name in ("train_accs", "val_accs", "val_losses", "best_epochs"):
        numbers = tuple(finite_number(name, number, inclusive=True) for number in values[name])
        if len(numbers) != count:
            raise ValueError(f"{name} has {len(numbers)} entries for {count} seeds")
        values[name] = numbers
    for name in ("seconds", "seconds_encoding"):
        finite_number(name, values[name], inclusive=True)
    for name in ("trainable", "work", "num_messages"):
        whole_number(name, values[name])
    values["best_epochs"] = tuple(map(int, values["best_epochs"]))
    wilson_interval(mean(values["val_accs"]), values["num_messages"])  # a share, or no run
    return Run(**values)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def share_right(model: GPTModel, data: SpamDataset, position: str) -> float:
    """Return the share, 0 … 1, of messages that a model classifies correctly."""
    loader = DataLoader(data, batch_size=32)
    return calc_accuracy_loader(loader, model, model.tok_emb.weight.device, position=position)
