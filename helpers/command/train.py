"""`python -m helpers train`: a table of texts and labels becomes a classifier in one file.

What is printed is a report on the table, a bar, and how good the classifier is on texts that it has
not met. After each epoch the training is kept in a folder beside the file, from which the same
command goes on.
"""

import sys
from pathlib import Path

from helpers.class_measures import THIS, class_table, summary_table
from helpers.command_line import INTERRUPTED
from helpers.data import read_texts, split_stratified
from helpers.epoch_checkpoint import EpochCheckpoint
from helpers.fine_tuning import Bars
from helpers.history import count_of
from helpers.own_training import OwnSettings, OwnTraining
from helpers.ranks import ALONE, Ranks


def checkpoint_folder(out: Path) -> Path:
    """Return where a training of `out` keeps its last whole epoch."""
    return out.with_name(f"{out.name}.checkpoint")


def train(
    path: str,
    out: Path,
    settings: OwnSettings,
    text: str | None = None,
    label: str | None = None,
    ranks: Ranks = ALONE,
    shard: bool = False,
) -> int:
    """Train as the settings say and write `out`; return the exit code.

    Raises ValueError or OSError for a table that can't be read, and where `out` is there already
    and no training of it is under way.
    """
    say = print if ranks.is_first else _say_nothing
    folder = checkpoint_folder(out)
    if out.exists() and not folder.exists():
        raise ValueError(f"{out} is there already; delete it, or name another file with --out")
    table = read_texts(path, text, label)
    split = split_stratified(table, seed=settings.seed)
    say(*table.report, *split.report, sep="\n")
    training = OwnTraining(split, settings, ranks, shard)
    say(f"training: {training.in_words}")
    ranks.same(path, training.origin["messages"])
    ranks.same("the settings", training.origin["settings"])
    checkpoint = EpochCheckpoint(folder, training.origin, ranks)
    if epochs := checkpoint.epochs():
        say(f"going on after {count_of(epochs, 'whole epoch')}, from {folder}")

    with Bars(settings.epochs, ranks.is_first and sys.stderr.isatty()) as bars:
        for progress in training.steps(checkpoint):
            bars.update(progress)
    say(*training.history.notes, sep="\n", end="\n" if training.history.notes else "")
    about = {"trained on": f"{table.source}, {len(split.train):,} texts"}
    if training.history.interrupted:
        _keep_interrupted(training, out, about, folder)
        return INTERRUPTED
    figures = training.figures()
    words = f"{summary_table(figures)}\n\n{class_table(figures[THIS])}"
    say(f"\non the {len(split.test):,} test texts, which it has not met:\n\n{words}")
    if cut := training.num_cut:
        longest = f"the longest training text, {training.train.max_length:,} tokens"
        say(f"\nof them {cut:,} {'was' if cut == 1 else 'were'} cut to the length of {longest}")
    if ranks.is_first:
        training.classifier(about | {"figures": words}).save(out)
    checkpoint.delete()
    say(f"\nsaved: {out}; to use it: python -m helpers classify {out} FILE")
    return 0


def _keep_interrupted(training: OwnTraining, out: Path, about: dict, folder: Path) -> None:
    """Save the weights of the last whole epoch, and say so."""
    epochs = len(training.history.val_accs)
    again = f"the same command goes on there (from {folder})"
    if not epochs:
        print("interrupted before the first epoch ended: nothing is saved", file=sys.stderr)
    elif training.ranks.size > 1:  # the others may have stopped at another place
        print(f"interrupted after {count_of(epochs, 'whole epoch')}: {again}", file=sys.stderr)
    else:
        whole = f"{count_of(epochs, 'whole epoch')} of {training.settings.epochs}"
        training.classifier(about | {"interrupted": f"after {whole}"}).save(out)
        print(f"interrupted after {whole}: {out} has its weights; {again}", file=sys.stderr)


def _say_nothing(*_, **__) -> None:
    """Another rank says it."""
