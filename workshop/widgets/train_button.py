"""A widget that trains by a press: two buttons, how the training goes, and its end, whatever it is.

A training goes in slices on the kernel's own event loop, so that the kernel hears a press on Stop
between two of them; where no loop runs it goes in one piece, until an interruption. No thread takes
part: what a thread changes in a widget is not shown everywhere.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import closing
from html import escape

import torch
from ipywidgets import HTML, Button, HBox, VBox

from workshop.fast import History, Progress
from workshop.pictures.charts import draw_bar, draw_training
from workshop.widgets.parts import named

SLICE, PAUSE = 0.1, 0.01  # seconds of training in a stretch, and for the kernel to hear messages


REDRAW = 0.1  # seconds between two pictures of a training


WHERE = {  # a position in words
    "first": "the first token, which sees only itself",
    "last": "the row's last position: padding, in all but the longest messages",
    "last_token": "the last token before the padding",
    "mean": "the mean of what all positions say, the padding's too",
}


UNDER_WAY = "A training is under way: wait for its end, or press Stop."


FAILURES = (ValueError, TypeError, ArithmeticError, OSError, RuntimeError, MemoryError)


class TrainsInSlices(VBox):
    """Train and Stop, and below them a sentence, a bar and the curves of the training.

    A kind of it has two methods: `_new_training()` returns what a press trains, or raises one of
    FAILURES where nothing can be; `_end(training, interrupted=False)` shows what came of it,
    `_stopped` or not, and returns an iterator over slices if something is left to be done. What is
    trained has `settings`, `histories` (one for each seed that has begun), `steps`, which yields
    Progress, `share_done` and `seconds_left` of a Progress.
    """

    def _make_training_controls(self) -> None:
        torch.optim.AdamW([torch.zeros(1)])  # the first one imports much, which Stop would wait for
        self._training = None
        self._task: asyncio.Task | None = None
        self._stopped, self._redrawn, self._epochs_said = False, 0.0, 0
        self._steps_per_epoch = 1
        self._train = named(Button(description="▶ Train"), "fx-more fx-train")
        self._stop = named(Button(description="■ Stop"), "fx-more fx-stop")
        names = ("problem", "status", "bar", "live")
        self._show = {name: named(HTML(), f"fx-{name}") for name in names}
        self._train.on_click(self._press_train)
        self._stop.on_click(self._press_stop)

    def _training_controls(self) -> list:
        """Return the buttons and what stands below them, from top to bottom."""
        return [named(HBox([self._train, self._stop]), "fx-wrap fx-buttons"), *self._how_it_goes()]

    def _how_it_goes(self) -> list:
        return [self._show[name] for name in ("problem", "status", "bar", "live")]

    # --- what a kind of it says ---

    def _say_progress(self, training, progress: Progress) -> str:
        return say_progress(progress, training.seconds_left(progress))

    def _say_epoch(self, training) -> str:
        return say_epoch(training.histories[-1], training.settings.epochs)

    # --- a training ---

    def _train_at_a_stretch(self) -> None:
        if self._begin():
            for _ in self._slices():
                pass

    def _press_train(self, _) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._train_at_a_stretch()
        else:
            if self._begin():
                self._task = loop.create_task(self._train_in_slices())

    def _press_stop(self, _) -> None:
        if self._training is None:
            self._say("Nothing is being trained.")
        else:
            self._stopped = True

    async def _train_in_slices(self) -> None:
        with closing(self._slices()) as slices:
            resumed = time.perf_counter()
            for _ in slices:
                if time.perf_counter() - resumed > SLICE:
                    await asyncio.sleep(PAUSE)
                    resumed = time.perf_counter()

    def _begin(self) -> bool:
        """Take the settings; say why where they can't be taken, and whether a training begins."""
        if self._training is not None:
            return False
        self._show["problem"].value = ""
        try:
            self._training = self._new_training()
        except FAILURES as error:
            self._say_problem(error)
            return False
        self._stopped, self._epochs_said, self._steps_per_epoch = False, 0, 1
        self._show["bar"].value = self._show["live"].value = ""
        self._say(f"Training: {self._training.settings}.")
        return True

    def _slices(self) -> Iterator[None]:
        """Train, show how it goes, and end in what came of it or in a sentence that says why not."""
        training = self._training
        try:
            with closing(training.steps()) as steps:
                for progress in steps:
                    self._show_progress(progress)
                    if self._stopped:
                        break
                    yield
            yield from self._end(training) or ()
        except KeyboardInterrupt:
            self._end(training, interrupted=True)
        except FAILURES as error:
            self._show["bar"].value = ""
            self._say("The training has ended early.")
            self._say_problem(error)
        finally:
            self._training = None

    # --- how it goes ---

    def _show_progress(self, progress: Progress) -> None:
        training = self._training
        if progress.phase == "training":
            self._steps_per_epoch = progress.total // training.settings.epochs or 1
        if time.perf_counter() - self._redrawn < REDRAW:
            return
        self._show_bar(training.share_done(progress), self._say_progress(training, progress))
        if progress.phase == "training":
            self._show_live(training)
            epochs = sum(len(history.val_accs) for history in training.histories)
            if epochs > self._epochs_said:
                self._epochs_said = epochs
                self._say(self._say_epoch(training))
        self._redrawn = time.perf_counter()

    def _show_bar(self, share: float, words: str) -> None:
        self._show["bar"].value = draw_bar(share, words) + f"<p>{escape(words)}</p>"

    def _show_live(self, training) -> None:
        drawing = draw_training(training.histories, training.settings.epochs, self._steps_per_epoch)
        self._show["live"].value = drawing.svg

    def _say(self, words: str) -> None:
        self._show["status"].value = status(words)

    def _say_problem(self, error: Exception, before: str = "") -> None:
        self._show["problem"].value = problem(error, before)


# --- in words -------------------------------------------------------------------------------------


def status(words: str) -> str:
    """Return words as HTML that a screen reader speaks when there is time."""
    return f'<p role="status">{escape(words)}</p>'


def alert(words: str) -> str:
    """Return words as HTML that a screen reader speaks at once."""
    return f'<p role="alert">{escape(words)}</p>'


def problem(error: Exception, before: str = "") -> str:
    """Return as HTML what an error says, as a sentence."""
    words = str(error) or type(error).__name__
    return alert(f"{before}{words}{'' if words[-1] in '.?!' else '.'}")


def say_progress(
    progress: Progress, seconds_left: float | None, before: str = "", what: str = "messages"
) -> str:
    """Return how far a training is, and how long it will take at the pace so far."""
    if progress.phase == "encoding":
        return f"The frozen part runs once: {progress.done} of {progress.total} {what}."
    left = "" if seconds_left is None else f", about {seconds_left:.0f} s left"
    return f"{before}step {progress.done} of {progress.total}{left}"


def say_epoch(history: History, epochs: int, before: str = "") -> str:
    """Return what the last whole epoch brought."""
    words = f"{before}epoch {len(history.val_accs)} of {epochs}"
    return (
        f"{words[0].upper()}{words[1:]}: validation accuracy {history.val_accs[-1]:.3f}, "
        f"loss {history.val_losses[-1]:.3f}."
    )
