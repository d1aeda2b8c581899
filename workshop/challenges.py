"""The three challenges of the Freeze Lab: checks that look at its runs and reason about them.

Each prints one sentence or two: what is missing, what is not yet so and where to look, or that it
is right and why. They only look at `lab.rows`, so whoever trains in code can be checked, too.
"""

from collections.abc import Sequence

from helpers.freezing import FreezePlan
from workshop.lab import Run, Settings

NO_RUN = "No run yet: press Train, then run this cell again."


FEWEST_SEEDS = 3  # below that a difference may well be luck


WITHIN_SECONDS = 5.0


FEWEST_TRIES = 3  # the best of fewer is no choice


REASONS = {  # possible answers to why more training is worse → what is wrong with them
    "a": "Look at the training accuracy: it goes on rising. So it is not that nothing is learned.",
    "b": "",
    "c": "The validation messages are the same after each epoch, in every run.",
    "d": "The learning rate is the same in both runs; only the number of epochs differs.",
}


def check_a_tenth(lab) -> None:
    """Say whether a run is as good as the book's plan with a tenth of its parameters, or what
    keeps it from being so.
    """
    print(_a_tenth(lab.rows))


def check_within_five_seconds(lab) -> None:
    """Say whether the best run within five seconds has been looked for, and what it is."""
    print(_within_five_seconds(lab.rows))


def check_more_is_worse(lab, reason: str | None) -> None:
    """Say whether two runs show that more epochs are worse, and whether `reason` is why."""
    print(_more_is_worse(lab.rows, reason))


# --- as good with a tenth ------------------------------------------------------------------------


def _a_tenth(runs: Sequence[Run]) -> str:
    if not runs:
        return NO_RUN
    books = [run for run in runs if _is_the_books(run.settings)]
    if not books:
        return (
            "Not yet. There is nothing to compare with: train the book's choice at the position "
            "last, as the book does."
        )
    book = max(books, key=lambda run: (len(run.val_accs), run.accuracy))
    small = [run for run in runs if 10 * run.trainable <= book.trainable]
    if not small:
        least = min(runs, key=lambda run: run.trainable)
        return (
            f"Not yet. A tenth of the book's {book.trainable:,} are {book.trainable // 10:,} "
            f"parameters; the fewest in a run of yours are {least.trainable:,}. Which parts hold "
            "few?"
        )
    best = max(small, key=lambda run: run.accuracy)
    if best.accuracy < book.accuracy:
        return f"Not yet. {_compared(best, book)} {_where_to_look(best)}"
    if few := [run for run in (best, book) if len(run.val_accs) < FEWEST_SEEDS]:
        which = "the book's plan" if few[0] is book else "the small one"
        return (
            f"Nearly. {_compared(best, book)} But {which} has been trained with "
            f"{_seeds(few[0])} only, and that may be luck: take {FEWEST_SEEDS} for both."
        )
    share = book.trainable / best.trainable
    return (
        f"Right. {_compared(best, book)} With {best.trainable:,} parameters, one for every "
        f"{share:,.0f} of the book's, it does no worse: {_why_it_does(best)}"
    )


def _is_the_books(settings: Settings) -> bool:
    return settings.plan == FreezePlan.book(settings.plan.n_layers) and settings.position == "last"


def _compared(run: Run, book: Run) -> str:
    return (
        f"Your best with a tenth of the parameters ({run.settings}) has a mean accuracy of "
        f"{run.accuracy:.3f}, the book's plan {book.accuracy:.3f}."
    )


def _where_to_look(run: Run) -> str:
    if run.settings.position == "last":
        return (
            "It classifies at the row's end, where most messages have padding: how much of the "
            "message can a frozen model still see there? Change what is read, not what is trained."
        )
    if run.settings.position == "first":
        return "The first token sees nothing of the message but itself: choose another position."
    if run.best_epochs and max(run.best_epochs) == run.settings.epochs:
        return "Its loss was still falling when it ended: give it more epochs."
    return "Try another position, or a learning rate that is some times larger or smaller."


def _why_it_does(run: Run) -> str:
    if run.settings.position in ("last_token", "mean"):
        return (
            "what the frozen model knows of a message is there to be read at its own tokens. The "
            "position matters more than the plan."
        )
    return "few parameters in the right place will do."


# --- the best within five seconds ----------------------------------------------------------------


def _within_five_seconds(runs: Sequence[Run]) -> str:
    if not runs:
        return NO_RUN
    fast = [run for run in runs if run.seconds <= WITHIN_SECONDS]
    if not fast:
        quickest = min(runs, key=lambda run: run.seconds)
        return (
            f"Not yet. Your quickest training took {quickest.seconds:.1f} s. What takes the time: "
            "running the frozen part, which is kept for the next run, or the steps? Press Train "
            "once more and compare, then take fewer blocks or fewer epochs."
        )
    blind = [run for run in fast if not run.after_test]
    if not blind:
        return (
            "It can't be said any more: all your runs within five seconds came after the test set "
            "was seen, so you may have chosen by it."
        )
    if len({run.settings for run in blind}) < FEWEST_TRIES:
        return (
            f"Not yet. The best of {len({run.settings for run in blind})} is no choice: try at "
            f"least {FEWEST_TRIES} different settings within five seconds."
        )
    best = max(blind, key=lambda run: run.accuracy)
    better = [run for run in runs if run.accuracy > best.accuracy]
    if better and max(better, key=lambda run: run.accuracy).accuracy > best.interval[1]:
        slow = max(better, key=lambda run: run.accuracy)
        return (
            f"Not yet. {slow.settings} reached {slow.accuracy:.3f} in {slow.seconds:.1f} s, more "
            f"than the interval of your best quick one ({best.accuracy:.3f}) holds. What of it "
            "could be had in less time?"
        )
    if len(best.val_accs) < FEWEST_SEEDS:
        return (
            f"Nearly. {best.settings} is the best of yours with {best.accuracy:.3f}, but with "
            f"{_seeds(best)} only. Train it with {FEWEST_SEEDS}, to see that it was not luck."
        )
    rivals = [run for run in blind if run.settings != best.settings]
    level = [run for run in rivals if run.accuracy >= best.interval[0]]
    noise = (
        f" {len(level)} of your other quick runs lie within its interval, though: by these "
        "messages alone you can't tell them apart."
    ) * bool(level)
    return (
        f"Right. {best.settings}: {best.accuracy:.3f} in {best.seconds:.1f} s, and nothing slower "
        f"beats its interval.{noise}"
    )


# --- more is worse -------------------------------------------------------------------------------


def _more_is_worse(runs: Sequence[Run], reason: str | None) -> str:
    if not runs:
        return NO_RUN
    pairs = [
        (less, more)
        for less in runs
        for more in runs
        if less.settings.epochs < more.settings.epochs and _differ_in_epochs_only(less, more)
    ]
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
    seen = (
        f"From {less.settings.epochs} to {more.settings.epochs} epochs the validation loss rises "
        f"from {less.loss:.3f} to {more.loss:.3f}, while the training accuracy goes from "
        f"{_mean(less.train_accs):.2f} to {_mean(more.train_accs):.2f}."
    )
    if reason is None or not str(reason).strip():
        return f"Half of it. {seen} Why? Put a letter in the place of None."
    letter = str(reason).strip().lower()
    if letter not in REASONS:
        return f"The reason is one of the letters {', '.join(REASONS)}, not {reason!r}."
    if wrong := REASONS[letter]:
        return f"Not the reason. {wrong}"
    if _mean(more.train_accs) < _mean(less.train_accs):
        return (
            "Not the reason here: the training accuracy fell as well. Take a smaller learning "
            "rate, and look again."
        )
    return (
        f"Right. {seen} The model learns the training messages by heart, and is surer and surer of "
        "what it says of others, right or wrong: overfitting. The loss shows it before the "
        "accuracy does."
    )


def _differ_in_epochs_only(a: Run, b: Run) -> bool:
    x, y = a.settings, b.settings
    return (x.plan, x.position, x.lr, x.num_seeds) == (y.plan, y.position, y.lr, y.num_seeds)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _seeds(run: Run) -> str:
    count = len(run.val_accs)
    return "1 seed" if count == 1 else f"{count} seeds"
