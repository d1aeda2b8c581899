"""One frame of a training film: the validation messages as dots, and the losses so far.

Colour and shape tell ham from spam, a ring is a mistake. All frames of a film have one scale.
"""

from collections.abc import Iterator

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
    text,
    whole_ticks,
)

WIDTH, HEIGHT = 720, 392


DOTS = (20.0, 42.0, 430.0, 262.0)  # left, top, width and height of the frame of the dots


CURVES = (506.0, 56.0, 194.0, 248.0)


FENCE = 4  # quartile ranges beyond the quartiles; dots further out would push all others together


HOLDS = 0.9  # share of the messages on their side of a boundary from which on it is drawn


def draw_frame(film: Film, number: int) -> Drawing:
    """Draw a frame of a film, from 0: the messages before the training, or after so many epochs.

    The boundary of p = 0.5 is drawn where at least HOLDS of the messages lie on the side that the
    model's answer says; in the plane of two directions it can't be true to all. Raises ValueError
    for a number beyond the last frame, and where the vectors of all frames are all alike.
    """
    number = whole_number("a frame's number", number, 0, len(film.frames) - 1)
    axes = _dots_axes(film)
    holds = film.num_on_their_side[number] >= HOLDS * len(film.labels)
    boundary = [*_boundary(axes, film.boundaries[number])] if holds else []
    drawn = [
        text(DOTS[0], 24, _title(film, number), size=14, bold=True),
        path("M{:g},{:g}h{:g}v{:g}h-{:g}z".format(*DOTS, DOTS[2]), width=1),
        *boundary,
        *_dots(axes, film, number),
        *_legend(film, number, bool(boundary), _num_outside(axes, film.places[number])),
        *_curves(film, number),
    ]
    return picture(drawn, _say(film, number, bool(boundary)), WIDTH, HEIGHT)


# --- the dots -------------------------------------------------------------------------------------


def _dots_axes(film: Film) -> Axes:
    """The same for all frames of a film, with room for the rings; what is far out lies outside."""
    spans = []
    for values in torch.cat(film.places).T:  # along the first direction, and along the second
        low, high = torch.quantile(values, torch.tensor([0.25, 0.75])).tolist()
        fence = FENCE * (high - low)
        near = values[(values >= low - fence) & (values <= high + fence)]
        low, high = near.min().item(), near.max().item()
        room = 0.06 * (high - low) or 1.0
        spans.append((low - room, high + room))
    return Axes(DOTS, *spans)


def _num_outside(axes: Axes, places: torch.Tensor) -> int:
    low, high = torch.tensor([axes.xs, axes.ys]).T
    return ((places < low) | (places > high)).any(dim=1).sum().item()


def _dots(axes: Axes, film: Film, number: int) -> Iterator[str]:
    """Ham first, then spam, and the mistakes last, so that none lies hidden."""
    places, mistakes = film.places[number].tolist(), film.mistakes[number].tolist()
    labels = film.labels.tolist()
    for i in sorted(range(len(labels)), key=lambda i: (mistakes[i], labels[i])):
        yield _mark(*axes.at(*places[i]), labels[i], mistakes[i])


def _mark(x: float, y: float, label: int, mistake: bool) -> str:
    mark = rect(x - 3, y - 3, 6, 6, ORANGE, "white") if label else circle(x, y, 3.5, BLUE, "white")
    ring = path(f"M{length(x - 7)},{length(y)}a7,7 0 1 0 14,0a7,7 0 1 0 -14,0", width=1.5)
    return mark + (ring if mistake else "")


def _boundary(axes: Axes, boundary: tuple[float, float, float]) -> Iterator[str]:
    """The part of a line within the frame, dashed; nothing where it passes outside."""
    a, b, c = boundary
    ends = []
    for x in axes.xs:
        if b and axes.ys[0] <= (y := -(a * x + c) / b) <= axes.ys[1]:
            ends.append((x, y))
    for y in axes.ys:
        if a and axes.xs[0] <= (x := -(b * y + c) / a) <= axes.xs[1]:
            ends.append((x, y))
    if len(ends) >= 2:
        places = (map(length, axes.at(*end)) for end in (ends[0], ends[-1]))
        yield _dashed("M{},{}L{},{}".format(*next(places), *next(places)))


def _dashed(strokes: str) -> str:
    return path(strokes, dashes="6 4")


def _legend(film: Film, number: int, with_boundary: bool, outside: int) -> Iterator[str]:
    left, y = DOTS[0], DOTS[1] + DOTS[3] + 22
    x = left + 8
    for label, mistake, words in ((0, False, "ham"), (1, False, "spam"), (1, True, "a mistake")):
        yield _mark(x, y, label, mistake)
        yield text(x + 13, y + 4, words)
        x += 66
    if with_boundary:
        words = f"p = 0.5; parts {_on_their_side(film, number)} as the model does"
        yield _dashed(f"M{left:g},{y + 24:g}h30")
        yield text(left + 38, y + 28, words)
    yield text(
        left, y + 52, "left–right, up–down: the two directions in which the vectors differ most"
    )
    if outside:
        right, bottom = left + DOTS[2] - 8, DOTS[1] + DOTS[3] - 16
        yield text(right, bottom, f"at the edge: {outside} further out", size=11, anchor="end")


# --- the curves -----------------------------------------------------------------------------------


def _curves(film: Film, number: int) -> Iterator[str]:
    """The losses up to this frame, on the scale of the whole film."""
    val, train = film.val_losses, film.train_losses
    highest = max(0.8, *val, *train)
    axes = Axes(CURVES, (0, film.epochs), (0, highest * 1.05))
    yield from axes.drawn("epoch", "loss", whole_ticks(film.epochs))
    trained = [axes.at(epoch, loss) for epoch, loss in enumerate(train[:number], start=1)]
    validated = [axes.at(epoch, loss) for epoch, loss in enumerate(val[: number + 1])]
    for points, colour, fill in ((trained, BLUE, "none"), (validated, ORANGE, ORANGE)):
        yield line(points, colour)
        for x, y in points:
            yield circle(x, y, 3.5, fill, colour)
    yield text(
        CURVES[0] + CURVES[2], 24, "filled: validation · open: training", size=11, anchor="end"
    )


# --- words ----------------------------------------------------------------------------------------


def _title(film: Film, number: int) -> str:
    count, wrong = len(film.labels), film.mistakes[number].sum().item()
    name = film.names[number] + (f" of {film.epochs}" if number else "")
    return f"{name}: {count - wrong} of {count} right"


def _on_their_side(film: Film, number: int) -> str:
    return f"{film.num_on_their_side[number]} of {len(film.labels)}"


def _say(film: Film, number: int, with_boundary: bool) -> str:
    labels, mistakes = film.labels, film.mistakes[number]
    wrong = [(mistakes & (labels == label)).sum().item() for label in (0, 1)]
    losses = f"validation loss {film.val_losses[number]:.2f}"
    if number:
        losses += f", mean training loss of the epoch {film.train_losses[number - 1]:.2f}"
    first, second = (round(100 * part) for part in film.directions.shares.tolist())
    places = film.places[number]
    means = [
        f"{name} at ({', '.join(str(round(x)) for x in places[labels == label].mean(dim=0).tolist())})"
        for label, name in enumerate(("ham", "spam"))
        if (labels == label).any()
    ]
    outside = _num_outside(_dots_axes(film), places)
    far = f"; further out than the edge: {outside}" if outside else ""
    drawn = "the dashed line of p = 0.5" if with_boundary else "p = 0.5, of which no line is drawn,"
    return (
        f"{_title(film, number)}; ham called spam: {wrong[0]}, spam called ham: {wrong[1]}; {losses}; "
        f"on average {' and '.join(means)} along the two main directions, which carry {first} and "
        f"{second} % of the variance{far}; {drawn} has {_on_their_side(film, number)} messages on "
        "the side that the model says"
    )
