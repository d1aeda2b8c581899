"""How a fine-tuning went: its figures, and an end that leaves the weights of a whole epoch."""

from dataclasses import dataclass, field, replace

import torch

from helpers.model import GPTModel


@dataclass
class History:
    """How a fine-tuning went: each step's loss, and after each epoch the accuracies and a loss.

    `train_accs` are the shares, 0 … 1, of the epoch's training messages that were classified
    correctly as they were met, each before its step: so they lag behind the model at the epoch's
    end. `val_losses` (means, in nats) and `val_accs` are over all validation messages. `cached`
    says which part ran only once for each message, "" if none; `notes` hold what was other than
    asked for. After an error or an interruption (`interrupted`) all figures are those of the whole
    epochs before it, and the seconds those that were spent.
    """

    step_losses: list[float] = field(default_factory=list)
    train_accs: list[float] = field(default_factory=list)
    val_losses: list[float] = field(default_factory=list)
    val_accs: list[float] = field(default_factory=list)
    cached: str = ""
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

    def latest(self) -> dict[str, str]:
        """Return the latest figures in words, for a progress bar."""
        latest = {"loss": self.step_losses, "val_loss": self.val_losses, "val_acc": self.val_accs}
        return {name: f"{values[-1]:.3f}" for name, values in latest.items() if values}

    def cut(self, epochs: int, steps: int) -> None:
        """Drop the figures of what came after these epochs and steps."""
        del self.step_losses[steps:]
        for figures in (self.train_accs, self.val_losses, self.val_accs):
            del figures[epochs:]


@dataclass(frozen=True)
class _Saved:
    """How far the training was at the end of an epoch, and the weights that are to be left."""

    epochs: int
    steps: int
    epoch_of_weights: int
    weights: list[torch.Tensor]


class WholeEpochs:
    """A context whose end, whatever it is, leaves the weights of a whole epoch.

    They are saved on the CPU, so that they do not fill a GPU's memory. An interruption, by the
    keyboard or by the close of a generator, ends here; other errors go on.
    """

    def __init__(self, model: GPTModel, history: History, keep: str):
        self.model, self.history, self.keep = model, history, keep
        self.trainable = [p for p in model.parameters() if p.requires_grad]

    def __enter__(self) -> "WholeEpochs":
        epochs, steps = len(self.history.val_accs), len(self.history.step_losses)
        self.saved = _Saved(epochs, steps, epochs, self._weights())
        return self

    def epoch_ended(self) -> None:
        epochs, steps = len(self.history.val_accs), len(self.history.step_losses)
        if self.keep == "last" or epochs == self.history.best_epoch:
            self.saved = _Saved(epochs, steps, epochs, self._weights())
        else:
            self.saved = replace(self.saved, epochs=epochs, steps=steps)

    def __exit__(self, kind, error, traceback) -> bool:
        self.model.eval()
        self.model.zero_grad()  # the gradients' memory is given back
        interrupted = isinstance(error, KeyboardInterrupt | GeneratorExit)
        if (
            interrupted
            or isinstance(error, Exception)
            or self.saved.epoch_of_weights < self.saved.epochs
        ):
            self._back_to_saved()
        if interrupted:
            self._note_interruption()
        return interrupted

    def _weights(self) -> list[torch.Tensor]:
        return [_local(parameter).detach().to("cpu", copy=True) for parameter in self.trainable]

    def _back_to_saved(self) -> None:
        try:
            self._put_back(self.saved.weights)
        except KeyboardInterrupt:  # never half of them
            self._put_back(self.saved.weights)
            raise
        self.history.cut(self.saved.epochs, self.saved.steps)

    @torch.no_grad()
    def _put_back(self, weights: list[torch.Tensor]) -> None:
        for parameter, value in zip(self.trainable, weights, strict=True):
            _local(parameter).copy_(value)

    def _note_interruption(self) -> None:
        saved = self.saved
        left = f"the weights of {count_of(saved.epochs, 'whole epoch')}"
        if saved.epoch_of_weights < saved.epochs:
            left = f"the weights of epoch {saved.epoch_of_weights}, the best of {saved.epochs}"
        self.history.interrupted = True
        self.history.notes.append(f"interrupted; the model has {left}")


def _local(parameter: torch.Tensor) -> torch.Tensor:
    """Return what this process holds of a parameter: all, or its shard."""
    return parameter.to_local() if hasattr(parameter, "to_local") else parameter


def count_of(number: int, what: str) -> str:
    """Return "1 epoch", "2 epochs"."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
