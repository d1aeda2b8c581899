"""One frame of a training film: the validation messages as dots, and the losses so far.

Colour and shape tell ham from spam; a ring marks a mistake. All frames of a film have one scale.
"""

import math

import torch

from helpers.checks import whole_number
from workshop.film import Film
from workshop.pictures.svg import (
    BLUE,
    ORANGE,
    Axes,
    Drawing,
    circle,
    length,
    line,
    path,
    picture,
    rect,
    round_ticks,
    text,
)

DOTS = (20.0, 42.0, 430.0, 262.0)  # left, top, width and height of the frame of the dots
CURVES = (506.0, 56.0, 194.0, 248.0)
FENCE = 4  # quartile ranges beyond the quartiles; dots further out would push all others together
HOLDS = 0.9  # the boundary is drawn where this fraction of the messages lies on its right side


def draw_frame(film: Film, number: int) -> Drawing:
    """Return a frame of a film, from 0: the messages before the training, or after that many epochs.

    The boundary of p = 0.5 is drawn where at least HOLDS of the messages lie on the side that the
    model predicts; in the plane of two directions it can't be true to all. Raises ValueError for a
    number beyond the last frame, and where the vectors of all frames are all alike.
    """
    number = whole_number("a frame's number", number, 0, len(film.frames) - 1)
    axes, (left, top, width, height) = _axes(film), DOTS
    places, labels, mistakes = film.places[number], film.labels, film.mistakes[number]
    count, fits = len(labels), film.num_on_their_side[number]
    name = film.names[number] + (f" of {film.epochs}" if number else "")
    title = f"{name}: {count - int(mistakes.sum())} of {count} right"
    drawn = [
        text(left, 24, title, 14, bold=True),
        path(f"M{left:g},{top:g}h{width:g}v{height:g}h-{width:g}z", width=1),
    ]
    boundary = _boundary(axes, film.boundaries[number]) if fits >= HOLDS * count else ""
    if boundary:
        drawn.append(path(boundary, dashes="6 4"))
        drawn.append(path("M20,350h30", dashes="6 4"))
        drawn.append(text(58, 354, f"p = 0.5; parts {fits} of {count} as the model does"))
    order = (mistakes * 2 + labels).argsort(stable=True).tolist()  # mistakes last, to be seen
    for i in order:
        drawn.append(_dot(*axes.at(*places[i].tolist()), bool(labels[i]), bool(mistakes[i])))
    keys = ((28, "ham", False, False), (94, "spam", True, False), (160, "a mistake", True, True))
    for x, key, is_spam, is_mistake in keys:
        drawn.append(_dot(x, 326, is_spam, is_mistake))
        drawn.append(text(x + 13, 330, key))
    key = "left–right, up–down: the two directions in which the vectors differ most"
    drawn.append(text(left, 378, key))
    low, high = torch.tensor([axes.xs, axes.ys]).T
    outside = int(((places < low) | (places > high)).any(dim=1).sum())
    if outside:
        drawn.append(text(442, 288, f"at the edge: {outside} further out", 11, "end"))

    highest = 1.05 * max(0.8, *film.val_losses, *film.train_losses)
    loss_axes = Axes(CURVES, (0, film.epochs), (0, highest))
    drawn += loss_axes.drawn("epoch", "loss", round_ticks(0, film.epochs, whole=True))
    drawn.append(text(700, 24, "filled: validation · open: training", 11, "end"))
    train, val = film.train_losses[:number], film.val_losses[: number + 1]
    for losses, first, colour, fill in ((train, 1, BLUE, "none"), (val, 0, ORANGE, ORANGE)):
        points = [loss_axes.at(epoch, loss) for epoch, loss in enumerate(losses, start=first)]
        drawn.append(line(points, colour))
        drawn += [circle(x, y, 3.5, fill, colour) for x, y in points]

    means = []
    for label, kind in enumerate(("ham", "spam")):
        if (labels == label).any():
            x, y = places[labels == label].mean(dim=0).round().int().tolist()
            means.append(f"{kind} at ({x}, {y})")
    first, second = (100 * film.directions.shares).round().int().tolist()
    wrong = torch.bincount(labels[mistakes], minlength=2).tolist()
    trained = f", mean training loss of the epoch {train[-1]:.2f}" if train else ""
    far = f"; further out than the edge: {outside}" if outside else ""
    shown = "the dashed line of p = 0.5" if boundary else "p = 0.5, of which no line is drawn,"
    words = (
        f"{title}; ham called spam: {wrong[0]}, spam called ham: {wrong[1]}; validation loss "
        f"{val[-1]:.2f}{trained}; on average {' and '.join(means)} along the two main directions, "
        f"which carry {first} and {second} % of the variance{far}; {shown} has {fits} of {count} "
        "messages on the side that the model says"
    )
    return picture(drawn, words, 720, 392)


def _axes(film: Film) -> Axes:
    """Return the axes of all frames, with room for the rings; what is far out lies outside."""
    spans = []
    for values in torch.cat(film.places).T:  # along the first direction, and along the second
        low, high = values.quantile(torch.tensor([0.25, 0.75])).tolist()
        fence = FENCE * (high - low)
        near = values[(values >= low - fence) & (values <= high + fence)]
        room = 0.06 * (near.max() - near.min()).item() or 1.0
        spans.append((near.min().item() - room, near.max().item() + room))
    return Axes(DOTS, *spans)


def _dot(x: float, y: float, is_spam: bool, is_mistake: bool) -> str:
    mark = circle(x, y, 3.5, BLUE, "white")
    if is_spam:
        mark = rect(x - 3, y - 3, 6, 6, ORANGE, "white")
    if is_mistake:
        mark += path(f"M{length(x - 7)},{length(y)}a7,7 0 1 0 14,0a7,7 0 1 0 -14,0")
    return mark


def _boundary(axes: Axes, boundary: tuple[float, float, float]) -> str:
    """Return the path of the part of a line within the frame; "" where it passes outside."""
    a, b, c = boundary
    ends = []
    for x in axes.xs:
        y = -(a * x + c) / b if b else math.inf
        if axes.ys[0] <= y <= axes.ys[1]:
            ends.append((x, y))
    for y in axes.ys:
        x = -(b * y + c) / a if a else math.inf
        if axes.xs[0] <= x <= axes.xs[1]:
            ends.append((x, y))
    points = [",".join(map(length, axes.at(*end))) for end in (ends[:1] + ends[-1:])]
    return "M" + "L".join(points) if len(ends) >= 2 else ""
