"""The training film: where the validation messages lie before a training and after each epoch.

A message's position in a frame is the vector that the head reads of it (`class_vectors`), seen along
the two directions in which the vectors of all frames together vary most. So a position means the
same in each frame.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch.nn import functional as F

from helpers.data import TextDataset
from helpers.freezing import FreezePlan, num_classes_of
from helpers.model import GPTModel
from helpers.training import class_vectors
from workshop.fast import History, fine_tune
from workshop.inside import Directions, main_directions


@dataclass(frozen=True, eq=False)
class Frame:
    """The validation messages after `epoch` whole epochs: 0 is before the training.

    `vectors` (n, emb_dim) are what the head reads, `weight` (2, emb_dim) and `bias` (2,) are the
    head's; all float32 on the CPU.
    """

    epoch: int
    vectors: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor

    @property
    def logits(self) -> torch.Tensor:
        """The logits of ham and spam: (n, 2)."""
        return F.linear(self.vectors, self.weight, self.bias)

    @property
    def probabilities(self) -> torch.Tensor:
        """The probabilities of ham and spam: (n, 2)."""
        return self.logits.softmax(dim=1)

    @property
    def answers(self) -> torch.Tensor:
        """The predicted labels, 0 ham or 1 spam: (n,)."""
        return self.logits.argmax(dim=1)


@dataclass(frozen=True, eq=False)
class Film:
    """The frames of a training, `labels` (n,) of the validation messages, and its history.

    `epochs` are as many as were asked for; after an interruption there are fewer frames.
    """

    frames: tuple[Frame, ...]
    labels: torch.Tensor
    history: History
    epochs: int

    @property
    def names(self) -> list[str]:
        """The name of each frame."""
        later = [f"after epoch {frame.epoch}" for frame in self.frames[1:]]
        return ["before the training", *later]

    @cached_property
    def directions(self) -> Directions:
        """The two main directions of all vectors of all frames.

        Raises ValueError where the vectors are all alike.
        """
        return main_directions(torch.cat([frame.vectors for frame in self.frames]))

    @cached_property
    def places(self) -> list[torch.Tensor]:
        """The positions of the messages along the two directions, for each frame: (n, 2)."""
        return [self.directions.place(frame.vectors) for frame in self.frames]

    @property
    def boundaries(self) -> list[tuple[float, float, float]]:
        """For each frame a, b and c of the line a x + b y + c = 0 at which spam gets p = 0.5.

        Spam is where the sum is above 0. The head's boundary is a hyperplane; this is where it cuts
        the plane of the two directions. For vectors outside that plane it may be wrong:
        `num_on_their_side` counts for how many messages it is right.
        """
        lines = []
        for frame in self.frames:
            weight = frame.weight[1] - frame.weight[0]
            a, b = (self.directions.axes @ weight).tolist()
            c = self.directions.mean @ weight + frame.bias[1] - frame.bias[0]
            lines.append((a, b, c.item()))
        return lines

    @property
    def num_on_their_side(self) -> list[int]:
        """For each frame how many messages lie on the side of the boundary that is their answer's."""
        counts = []
        for number, (a, b, c) in enumerate(self.boundaries):
            is_spam_side = self.places[number] @ torch.tensor([a, b]) + c > 0
            counts.append((is_spam_side == (self.frames[number].answers == 1)).sum().item())
        return counts

    @property
    def mistakes(self) -> list[torch.Tensor]:
        """For each frame which messages the model gets wrong: bool (n,)."""
        return [frame.answers != self.labels for frame in self.frames]

    @property
    def val_losses(self) -> list[float]:
        """The cross-entropy over the validation messages, in nats, of each frame."""
        return [F.cross_entropy(frame.logits, self.labels).item() for frame in self.frames]

    @property
    def train_losses(self) -> list[float]:
        """The mean loss of the steps of each whole epoch, in nats, from epoch 1 on."""
        count = len(self.history.val_losses)
        steps = torch.tensor(self.history.step_losses)
        return steps.view(count, -1).mean(dim=1).tolist() if count else []


def film_of(
    model: GPTModel,
    train: TextDataset,
    validation: TextDataset,
    plan: FreezePlan,
    *,
    epochs: int = 5,
    position: str = "last",
    **settings,
) -> Film:
    """Fine-tune `model` in place as `fine_tune` does, with its `settings`; return the film of it.

    The training is the same to the bit. Each frame takes one more pass over the validation
    messages. After an interruption there are the frames of the whole epochs. Raises what
    `fine_tune` raises, and ValueError for a model of other than two classes.
    """
    if (num_classes := num_classes_of(model)) != 2:
        raise ValueError(
            f"a film shows ham and spam, but the model's head has {num_classes} outputs"
        )
    frames: list[Frame] = []

    def add_frame(_: History | None = None) -> None:
        vectors = class_vectors(model, validation.encoded_texts, position)
        weight = model.out_head.weight.detach().float().cpu().clone()
        bias = model.out_head.bias.detach().float().cpu().clone()
        frames.append(Frame(len(frames), vectors, weight, bias))

    add_frame()
    history = fine_tune(
        model,
        train,
        validation,
        plan,
        epochs=epochs,
        position=position,
        on_epoch=add_frame,
        **settings,
    )
    return Film(tuple(frames), torch.tensor(validation.labels), history, epochs)
