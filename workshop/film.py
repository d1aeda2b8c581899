"""The training film: where the validation messages lie before a training and after each epoch.

A message's position in a frame is the vector that the head reads of it (`class_vectors`), seen along
the two directions in which the vectors of all frames together vary most. So a position means the
same in each frame.
"""

import copy
from dataclasses import dataclass, replace

import pandas as pd
import torch
from torch.nn import functional as F

from helpers.data import TextDataset
from helpers.freezing import FreezePlan, num_classes_of
from helpers.model import GPTModel
from helpers.training import TrainingSettings
from workshop.fast import History, fine_tune
from workshop.forward import class_vectors
from workshop.inside import main_directions


@dataclass(eq=False)
class Frame:
    """The validation messages after `epoch` whole epochs: 0 is before the training.

    `vectors` (n, emb_dim) are what the head reads, `weight` (2, emb_dim) and `bias` (2,) are the
    head's, `logits` and `probabilities` (n, 2) those of ham and spam; all float32 on the CPU.
    """

    epoch: int
    vectors: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor

    def __post_init__(self):
        self.logits = F.linear(self.vectors, self.weight, self.bias)
        self.probabilities = self.logits.softmax(dim=1)


@dataclass(eq=False)
class Film:
    """The frames of a training, `labels` (n,) of the validation messages, and its history.

    `epochs` are as many as were asked for; after an interruption there are fewer frames. These
    attributes have an entry for each frame:

    - `names`; `mistakes`, which messages the model gets wrong, bool (n,); `val_losses`, the
      cross-entropy over the validation messages, in nats;
    - `places`, the positions (n, 2) of the messages along `directions`, the two main directions of
      all vectors of all frames;
    - `boundaries`, the a, b and c of the line a x + b y + c = 0 at which spam gets p = 0.5, with
      spam where the sum is above 0. The head's boundary is a hyperplane; this is where it cuts the
      plane of the two directions. For vectors outside that plane it may be wrong:
      `num_on_their_side` counts the messages on the side that the model predicts.

    `train_losses` are the mean losses of the steps of each whole epoch, in nats, from epoch 1 on.
    `last_model` is a copy of the model after the last frame, whichever weights the training kept.
    Raises ValueError where the vectors are all alike.
    """

    frames: tuple[Frame, ...]
    labels: torch.Tensor
    history: History
    epochs: int
    last_model: GPTModel | None = None

    def __post_init__(self):
        directions = main_directions(torch.cat([frame.vectors for frame in self.frames]))
        self.directions, self.names, self.mistakes, self.val_losses = directions, [], [], []
        self.places, self.boundaries, self.num_on_their_side = [], [], []
        for frame in self.frames:
            is_spam = frame.logits.argmax(dim=1)  # predicted
            self.mistakes.append(is_spam != self.labels)
            self.val_losses.append(F.cross_entropy(frame.logits, self.labels).item())
            self.names.append(
                f"after epoch {frame.epoch}" if frame.epoch else "before the training"
            )
            self.places.append(directions.place(frame.vectors))
            weight = frame.weight.diff(dim=0)[0]  # spam's less ham's
            line = directions.axes @ weight  # (2,)
            c = directions.mean @ weight + frame.bias.diff()
            self.boundaries.append((*line.tolist(), c.item()))
            is_above = self.places[-1] @ line + c > 0
            self.num_on_their_side.append((is_above == is_spam).sum().item())
        steps = torch.tensor(self.history.step_losses)
        self.train_losses = []
        if len(steps):
            self.train_losses = steps.view(len(self.frames) - 1, -1).mean(dim=1).tolist()

    def table(self) -> pd.DataFrame:
        """Return a row for each whole epoch: both losses, in nats, and two numbers of mistakes.

        "confident mistakes" those whose confidence is above 0.9.
        """
        rows = {}
        for frame, mistakes in zip(self.frames[1:], self.mistakes[1:], strict=True):
            confident = frame.probabilities.amax(dim=1) > 0.9
            rows[frame.epoch] = {
                "training loss": round(self.train_losses[frame.epoch - 1], 2),
                "validation loss": round(self.val_losses[frame.epoch], 2),
                "mistakes": mistakes.sum().item(),
                "confident mistakes": (mistakes & confident).sum().item(),
            }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("epoch")


def film_of(
    model: GPTModel,
    train: TextDataset,
    validation: TextDataset,
    plan: FreezePlan,
    settings: TrainingSettings | None = None,
    *,
    progress: bool = True,
    **changes,
) -> Film:
    """Fine-tune `model` in place as `fine_tune` does, with its arguments; return the film of it.

    The training is the same to the bit. Each frame takes one more pass over the validation
    messages. After an interruption there are the frames of the whole epochs. Raises what
    `fine_tune` raises.
    """
    settings = replace(settings or TrainingSettings(), **changes)
    num_classes_of(model)  # refuses a language-model head
    frames, last_model = [], model

    def add_frame(_: History | None = None) -> None:
        nonlocal last_model
        last_model = copy.deepcopy(model)
        vectors = class_vectors(model, validation.encoded_texts, settings.position)
        weight, bias = [values.detach().cpu().clone() for values in model.out_head.parameters()]
        frames.append(Frame(len(frames), vectors, weight, bias))

    add_frame()
    history = fine_tune(
        model, train, validation, plan, settings, progress=progress, on_epoch=add_frame
    )
    labels = torch.tensor(validation.labels)
    return Film(tuple(frames), labels, history, settings.epochs, last_model)
