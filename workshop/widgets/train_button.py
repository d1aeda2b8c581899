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

from workshop.fast import Progress
from workshop.pictures.charts import draw_training
from workshop.pictures.svg import Drawing
from workshop.tables import status
from workshop.widgets.parts import button, html_fields, problem, problem_shown, row

SLICE, PAUSE = 0.1, 0.01  # seconds of training in a stretch, and for the kernel to hear messages
REDRAW = 0.1  # seconds between two pictures of a training
UNDER_WAY = "A training is under way: wait for its end, or click Stop."


class TrainButton(VBox):
    """Two buttons, and below them a sentence, a bar and the curves of the training.

    `make()` returns what a click trains and how many seeds it is trained with, or raises an error
    that is shown. What is trained has `settings` and `steps()`, which yields Progress. After its last
    step, or a stop, `on_end(training)` is called, and may return an iterator over further slices.
    `draw` makes the picture of a training, as `draw_training` does.
    `training` is what is trained now, or None; `histories` has one entry for each seed that has
    begun; `stopped` says whether Stop was pressed.
    """

    def __init__(
        self,
        make: Callable[[], tuple],
        on_end: Callable[..., Iterator[None] | None],
        draw: Callable[..., Drawing] = draw_training,
    ):
        self._make, self._on_end, self._draw = make, on_end, draw
        self.training, self.task, self.stopped = None, None, False
        self.histories, self._drawn_at = [], 0.0
        torch.optim.AdamW([torch.zeros(1)])  # the first one imports much, which Stop would wait for
        train = button("fx-more fx-train", "▶ Train", self._click_train)
        stop = button("fx-more fx-stop", "■ Stop", self._click_stop)
        fields = html_fields("fx", "problem", "status", "bar", "live").values()
        self.problem, self._status, self._bar, self._live = fields
        super().__init__([row(train, stop, css="fx-buttons"), *fields])

    def train(self) -> None:
        """Train as a click does, but whole, before the next line of code runs."""
        if self._begin():
            for _ in self._slices():
                pass

    def say(self, sentence: str) -> None:
        """Show a sentence below the buttons."""
        self._status.value = status(sentence)

    def clear(self, sentence: str) -> None:
        """Show a sentence, and nothing of an earlier training."""
        self.problem.value = self._live.value = ""
        self.say(sentence)

    def show_bar(self, fraction: float, words: str) -> None:
        """Show which fraction, 0 … 1, is done."""
        words = escape(words)
        self._bar.value = (
            f'<progress max="100" value="{100 * fraction:.0f}" aria-label="{words}" '
            f'style="width:400px;max-width:100%"></progress><p>{words}</p>'
        )

    def _click_train(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.train()
        else:
            if self._begin():
                self.task = loop.create_task(self._train_in_slices())

    def _click_stop(self) -> None:
        self.stopped = True
        if self.training is None:
            self.say("Nothing is being trained.")

    async def _train_in_slices(self) -> None:
        resumed = time.perf_counter()
        for _ in self._slices():
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
            self._live.value = ""
            self.say(f"Training: {self.training.settings}.")
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
            yield from self._on_end(training) or ()
        except Exception as error:
            self.say("The training has ended early.")
            self.problem.value = problem(error)
        finally:
            self.training, self._bar.value = None, ""

    def _show_progress(self, progress: Progress) -> None:
        if not self.histories or self.histories[-1] is not progress.history:
            self.histories.append(progress.history)
        seed = len(self.histories)
        if progress.phase == "training":
            self._steps_per_epoch = max(1, progress.total // self.training.settings.epochs)
        if time.perf_counter() - self._drawn_at < REDRAW:
            return
        fraction = progress.done / progress.total
        if progress.phase == "encoding":
            words = f"The frozen part runs once: {progress.done} of {progress.total} texts."
        else:
            words = f"step {progress.done} of {progress.total}"
            if self._num_seeds > 1:
                words = f"seed {seed} of {self._num_seeds}, {words}"
            fraction = (seed - 1 + fraction) / self._num_seeds
            if fraction > 0:
                seconds = sum(history.seconds_training for history in self.histories)
                words += f", about {seconds * (1 - fraction) / fraction:.0f} s left"
            self._show_curves()
        self.show_bar(fraction, words)
        self._drawn_at = time.perf_counter()

    def _show_curves(self) -> None:
        """Draw the training so far, and say what its last whole epoch brought."""
        epochs = self.training.settings.epochs
        self._live.value = self._draw(self.histories, epochs, self._steps_per_epoch).svg
        history = self.histories[-1]
        if history.val_accs:
            seed = f"Seed {len(self.histories)}, epoch" if self._num_seeds > 1 else "Epoch"
            self.say(
                f"{seed} {len(history.val_accs)} of {epochs}: validation accuracy "
                f"{history.val_accs[-1]:.3f}, loss {history.val_losses[-1]:.3f}."
            )
