"""The three challenges of the Freeze Lab: checks of its runs, which reply in a sentence or two.

They only read `lab.rows`, so runs that are trained in code can be checked, too.
"""

from collections.abc import Sequence
from dataclasses import replace
from statistics import mean

from helpers.freezing import FreezePlan
from workshop.lab import Run
from workshop.texts import counted

NO_RUN = "No run yet: press Train, then run this cell again."
FEWEST_SEEDS = 3  # below that a difference may well be luck
WITHIN_SECONDS = 5.0
FEWEST_TRIES = 3  # the best of fewer is no choice


HINTS = {  # for a run that is not accurate enough, by the position at which it classifies
    "last": "It classifies at the row's end, where most messages have padding: how much of the "
    "message can a frozen model still see there? Change what is read, not what is trained.",
    "first": "The first token sees nothing of the message but itself: choose another position.",
}


WRONG_REASONS = {  # answers to why more training is worse → what is wrong with them; "b" is right
    "a": "Look at the training accuracy: it goes on rising. So it is not that nothing is learned.",
    "c": "The validation messages are the same after each epoch, in every run.",
    "d": "The learning rate is the same in both runs; only the number of epochs differs.",
}


def check_a_tenth(lab) -> None:
    """Print whether a run is as good as the book's plan with a tenth of its parameters, or what is
    missing.
    """
    print(reply_to_a_tenth(lab.rows) if lab.rows else NO_RUN)


def check_within_five_seconds(lab) -> None:
    """Print whether the best run within five seconds is known, or what is missing."""
    print(reply_to_five_seconds(lab.rows) if lab.rows else NO_RUN)


def check_more_is_worse(lab, reason: str | None) -> None:
    """Print whether two runs show that more epochs are worse, and whether `reason` is why."""
    print(reply_to_more_is_worse(lab.rows, reason) if lab.rows else NO_RUN)


def reply_to_a_tenth(runs: Sequence[Run]) -> str:
    """Return what `check_a_tenth` prints."""
    book_plan = FreezePlan.book(runs[0].settings.plan.n_layers)
    book_runs = [
        run for run in runs if (run.settings.plan, run.settings.position) == (book_plan, "last")
    ]
    if not book_runs:
        return (
            "Not yet. There is nothing to compare with: train the book's choice at the position "
            "last, as the book does."
        )
    book = max(book_runs, key=lambda run: (len(run.val_accs), run.accuracy))
    small = [run for run in runs if 10 * run.trainable <= book.trainable]
    if not small:
        least = min(run.trainable for run in runs)
        return (
            f"Not yet. A tenth of the book's {book.trainable:,} are {book.trainable // 10:,} "
            f"parameters; the fewest in a run of yours are {least:,}. Which parts hold few?"
        )
    best = max(small, key=lambda run: run.accuracy)
    compared = (
        f"Your best with a tenth of the parameters ({best.settings}) has a mean accuracy of "
        f"{best.accuracy:.3f}, the book's plan {book.accuracy:.3f}."
    )
    if best.accuracy < book.accuracy:
        other = "Try another position, more epochs, or another learning rate."
        return f"Not yet. {compared} {HINTS.get(best.settings.position, other)}"
    fewest = min(len(best.val_accs), len(book.val_accs))
    if fewest < FEWEST_SEEDS:
        return (
            f"Nearly. {compared} But one of the two has been trained with "
            f"{counted(fewest, 'seed')} only, and that may be luck: take {FEWEST_SEEDS} for both."
        )
    return (
        f"Right. {compared} With {best.trainable:,} parameters, one for every "
        f"{book.trainable / best.trainable:,.0f} of the book's, it does no worse: where the "
        "message is read can matter more than how much is trained."
    )


def reply_to_five_seconds(runs: Sequence[Run]) -> str:
    """Return what `check_within_five_seconds` prints."""
    fast = [run for run in runs if run.seconds <= WITHIN_SECONDS]
    if not fast:
        least = min(run.seconds for run in runs)
        return (
            f"Not yet. Your quickest training took {least:.1f} s. What takes the time: "
            "running the frozen part, which is kept for the next run, or the steps? Press Train "
            "once more and compare, then take fewer blocks or fewer epochs."
        )
    blind = [run for run in fast if not run.after_test]
    if not blind:
        return (
            "It can't be said any more: all your runs within five seconds came after the test set "
            "was seen, so you may have chosen by it."
        )
    tries = len({run.settings for run in blind})
    if tries < FEWEST_TRIES:
        return (
            f"Not yet. The best of {tries} is no choice: try at least {FEWEST_TRIES} different "
            "settings within five seconds."
        )
    best = max(blind, key=lambda run: run.accuracy)
    low, high = best.interval
    top = max(runs, key=lambda run: run.accuracy)
    if top.accuracy > high:
        return (
            f"Not yet. {top.settings} reached {top.accuracy:.3f} in {top.seconds:.1f} s, more "
            f"than the interval of your best quick one ({best.accuracy:.3f}) holds. What of it "
            "could be had in less time?"
        )
    if len(best.val_accs) < FEWEST_SEEDS:
        return (
            f"Nearly. {best.settings} is the best of yours with {best.accuracy:.3f}, but with "
            f"{counted(len(best.val_accs), 'seed')} only. Train it with {FEWEST_SEEDS}, to see "
            "that it was not luck."
        )
    level = sum(run.accuracy >= low for run in blind) - 1
    return (
        f"Right. {best.settings}: {best.accuracy:.3f} in {best.seconds:.1f} s, and nothing slower "
        f"beats its interval. Other quick runs of yours within that interval: {level}; by these "
        "messages alone you can't tell them apart from the best."
    )


def reply_to_more_is_worse(runs: Sequence[Run], reason: str | None) -> str:
    """Return what `check_more_is_worse` prints."""
    pairs = []  # that differ in nothing but the number of epochs
    for less in runs:
        for more in runs:
            epochs = more.settings.epochs
            same = replace(less.settings, epochs=epochs) == more.settings
            if same and less.settings.epochs < epochs:
                pairs.append((less, more))
    if not pairs:
        return (
            "Not yet. Two runs are needed that differ in nothing but the number of epochs: press a "
            "row to set everything to it, change the epochs, and train."
        )
    less, more = max(pairs, key=lambda pair: pair[1].loss - pair[0].loss)
    if more.loss <= less.loss:
        return (
            f"Not yet. After {more.settings.epochs} epochs the validation loss is {more.loss:.3f}, "
            f"after {less.settings.epochs} it is {less.loss:.3f}: more was better. Which plan can "
            "learn the training messages by heart? Give that one more epochs."
        )
    before, after = mean(less.train_accs), mean(more.train_accs)
    seen = (
        f"From {less.settings.epochs} to {more.settings.epochs} epochs the validation loss rises "
        f"from {less.loss:.3f} to {more.loss:.3f}, while the training accuracy goes from "
        f"{before:.2f} to {after:.2f}."
    )
    if reason is None:
        return f"Half of it. {seen} Why? Put a letter in the place of None."
    letter = str(reason).strip().lower()
    if letter != "b":
        unknown = f"It is one of the letters a, b, c, d, not {reason!r}."
        return f"Not the reason. {WRONG_REASONS.get(letter, unknown)}"
    if after < before:
        return (
            "Not the reason here: the training accuracy fell as well. Take a smaller learning "
            "rate, and look again."
        )
    return (
        f"Right. {seen} The model learns the training messages by heart, and predicts others with "
        "more and more confidence, right or wrong: this is overfitting. The loss shows it before "
        "the accuracy does."
    )
