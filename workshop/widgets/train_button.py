"""Train and Stop, how a training goes, and its end, whatever it is.

A training runs in short slices on the kernel's own event loop, so that a click on Stop is heard
between two of them; where no loop runs it runs in one piece, until an interruption. There is no
thread: Colab does not show what a thread changes in a widget.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from html import escape

import torch
from ipywidgets import VBox

from workshop.fast import History, Progress
from workshop.pictures.charts import draw_bar, draw_training
from workshop.tables import status
from workshop.widgets.parts import FAILURES, button, html_fields, problem, problem_shown, row

SLICE, PAUSE = 0.1, 0.01  # seconds of training in a stretch, and for the kernel to hear messages


REDRAW = 0.1  # seconds between two pictures of a training


WHERE = {  # a position in words
    "first": "the first token, which sees only itself",
    "last": "the row's last position: padding, in all but the longest messages",
    "last_token": "the last token before the padding",
    "mean": "the mean of what all positions say, the padding's too",
}


UNDER_WAY = "A training is under way: wait for its end, or press Stop."


class TrainButton(VBox):
    """Two buttons, and below them a sentence, a bar and the curves of the training.

    `make()` returns what a click trains and how many seeds it is trained with, or raises one of
    FAILURES. What is trained has `settings` and `steps()`, which yields Progress. After its last
    step, or a stop, `on_end(training)` is called, and may return an iterator over further slices.
    `training` is what is trained now, or None; `histories` has one entry for each seed that has
    begun; `stopped` says whether Stop was pressed. `unit` is what a data set consists of.
    """

    def __init__(
        self,
        make: Callable[[], tuple],
        on_end: Callable[..., Iterator[None] | None],
        unit: str = "messages",
    ):
        self._make, self._on_end, self._unit = make, on_end, unit
        self.training, self.stopped, self._drawn_at = None, False, 0.0
        self.histories: list[History] = []
        self.task: asyncio.Task | None = None
        torch.optim.AdamW([torch.zeros(1)])  # the first one imports much, which Stop would wait for
        train = button("fx-more fx-train", "▶ Train", self._click_train)
        stop = button("fx-more fx-stop", "■ Stop", self._click_stop)
        show = html_fields("fx", "problem", "status", "bar", "live")
        self.problem, self._status, self._bar, self._live = show.values()
        super().__init__([row(train, stop, css="fx-buttons"), *show.values()])

    def train(self) -> None:
        """Train as a click does, but whole, before the next line of code runs."""
        if self._begin():
            for _ in self._slices():
                pass

    def say(self, sentence: str) -> None:
        """Show a sentence below the buttons."""
        self._status.value = status(sentence)

    def show_bar(self, share: float, words: str) -> None:
        """Show that a share, 0 … 1, is done."""
        self._bar.value = f"{draw_bar(share, words)}<p>{escape(words)}</p>"

    def clear(self, sentence: str) -> None:
        """Show nothing of an earlier training, and a sentence instead."""
        self.problem.value = self._bar.value = self._live.value = ""
        self.say(sentence)

    def _click_train(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.train()
        else:
            if self._begin():
                self.task = loop.create_task(self._train_in_slices())

    def _click_stop(self) -> None:
        if self.training is None:
            self.say("Nothing is being trained.")
        else:
            self.stopped = True

    async def _train_in_slices(self) -> None:
        with closing(self._slices()) as slices:
            resumed = time.perf_counter()
            for _ in slices:
                if time.perf_counter() - resumed > SLICE:
                    await asyncio.sleep(PAUSE)
                    resumed = time.perf_counter()

    def _begin(self) -> bool:
        """Return whether a training begins; show why one can't."""
        if self.training is not None:
            return False
        with problem_shown(self.problem):
            self.training, self._num_seeds = self._make()
            self.stopped, self.histories, self._steps_per_epoch = False, [], 1
            self.clear(f"Training: {self.training.settings}.")
        return self.training is not None

    def _slices(self) -> Iterator[None]:
        """Train, show how it goes, and end in what `on_end` shows or in a sentence that says why."""
        training = self.training
        try:
            try:
                with closing(training.steps()) as steps:
                    for progress in steps:
                        self._show_progress(progress)
                        if self.stopped:
                            break
                        yield
            except KeyboardInterrupt:
                self.stopped = True
            if self.histories:
                self._show_curves()
            more = self._on_end(training)
            if more is not None:
                yield from more
        except FAILURES as error:
            self.say("The training has ended early.")
            self.problem.value = problem(error)
        finally:
            self.training, self._bar.value = None, ""

    def _show_progress(self, progress: Progress) -> None:
        if not self.histories or self.histories[-1] is not progress.history:
            self.histories.append(progress.history)
        epochs, seed = self.training.settings.epochs, len(self.histories)
        if progress.phase == "training":
            self._steps_per_epoch = max(1, progress.total // epochs)
        if time.perf_counter() - self._drawn_at < REDRAW:
            return
        share = progress.done / progress.total
        if progress.phase == "encoding":
            words = f"The frozen part runs once: {progress.done} of {progress.total} {self._unit}."
        else:
            words = f"step {progress.done} of {progress.total}"
            if self._num_seeds > 1:
                words = f"seed {seed} of {self._num_seeds}, {words}"
                share = (seed - 1 + share) / self._num_seeds
            if share > 0:
                seconds = sum(history.seconds_training for history in self.histories)
                words += f", about {seconds * (1 - share) / share:.0f} s left"
            self._show_curves()
        self.show_bar(share, words)
        self._drawn_at = time.perf_counter()

    def _show_curves(self) -> None:
        """Draw the training so far, and say what its last whole epoch brought."""
        epochs = self.training.settings.epochs
        drawing = draw_training(self.histories, epochs, self._steps_per_epoch)
        self._live.value = drawing.svg
        with_epochs = [history for history in self.histories if history.val_accs]
        if with_epochs:
            history = with_epochs[-1]
            epoch = f"epoch {len(history.val_accs)} of {epochs}"
            if self._num_seeds > 1:
                epoch = f"seed {len(with_epochs)}, {epoch}"
            self.say(
                f"{epoch.capitalize()}: validation accuracy {history.val_accs[-1]:.3f}, "
                f"loss {history.val_losses[-1]:.3f}."
            )
