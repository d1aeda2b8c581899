"""Pictures of runs: which of them nobody beats, and how a training goes while it goes.

Each is SVG with all that it shows in words beside it, as in `diagrams`. The two colours stand out
from white and from black paper; marks and dashes tell the same.
"""

import math
from collections.abc import Iterator, Sequence
from html import escape

from helpers.history import History
from helpers.lab.runs import Run
from helpers.svg import (
    BLUE,
    ORANGE,
    Axes,
    Drawing,
    circle,
    line,
    log_ticks,
    picture,
    rect,
    text,
    whole_ticks,
    within,
)

AGAINST = {  # what accuracy is drawn against → its value in a run
    "trainable parameters": lambda run: run.trainable,
    "seconds": lambda run: run.seconds,
}
APART, WIDEST = 18, 110  # pixels between runs that take alike, and for all of them
SMOOTHED = 20  # steps whose mean loss is drawn


# --- which runs nobody beats ---------------------------------------------------------------------


def front(costs: Sequence[float], accuracies: Sequence[float]) -> list[int]:
    """Return which points nobody beats in both, from the cheapest on: the Pareto front.

    A point is beaten by one that costs no more and is at least as accurate, and is better in one of
    the two. Equal points beat none of each other.
    """
    points = sorted(range(len(costs)), key=lambda i: (costs[i], -accuracies[i]))
    best: list[int] = []
    for i in points:
        last = best[-1] if best else None
        is_better = last is None or accuracies[i] > accuracies[last]
        if is_better or (costs[i], accuracies[i]) == (costs[last], accuracies[last]):
            best.append(i)
    return best


def draw_runs(runs: Sequence[Run], against: str = "trainable parameters") -> Drawing:
    """Draw the runs' accuracies with their intervals against what they take, on a log axis.

    A run has its number, from 1, in the order of `runs`. Those that nobody beats in both are filled
    and joined by a line. Runs that take alike stand side by side. `against` is a key of AGAINST.
    """
    title = f"accuracy against {against}"
    if not runs:
        return picture([text(20, 40, "No run yet.")], f"{title}: no run yet", 620, 60)
    costs = [max(AGAINST[against](run), 1e-3) for run in runs]
    accuracies = [run.accuracy for run in runs]
    best = front(costs, accuracies)
    lowest = min(run.interval[0] for run in runs)
    axes = Axes(
        (64, 52, 536, 280), _log_range(costs), (math.floor(lowest * 10) / 10, 1.0), log_x=True
    )
    drawn = [*axes.drawn(against, "accuracy", log_ticks(*axes.xs))]
    xs = _side_by_side([axes.at(cost, 1.0)[0] for cost in costs])
    drawn.append(line([(xs[i], axes.at(costs[i], accuracies[i])[1]) for i in best], ORANGE))
    for i, run in enumerate(runs):
        drawn += _point(axes, xs[i], run, str(i + 1), i in best)
    drawn.append(
        text(310, 16, f"{title}; orange and joined: nobody beats them in both", anchor="middle")
    )
    remark = "disc: a run, square: after the test was seen; bar: 95 % interval"
    drawn.append(text(338, 38, remark, anchor="middle", size=11))
    words = _say_runs(runs, costs, best, against)
    return picture(drawn, f"{title}: {words}", 620, 384)


def _side_by_side(xs: Sequence[float]) -> list[float]:
    """Return where points stand, in pixels, those at nearly the same place spread around it."""
    groups: list[list[int]] = []
    for i in sorted(range(len(xs)), key=lambda i: (xs[i], i)):
        if groups and xs[i] - xs[groups[-1][0]] < APART:
            groups[-1].append(i)
        else:
            groups.append([i])
    spread = list(xs)
    for group in groups:
        step = min(APART, WIDEST / len(group))
        middle = sum(xs[i] for i in group) / len(group)
        for place, i in enumerate(group):
            spread[i] = middle + step * (place - (len(group) - 1) / 2)
    return spread


def _point(axes: Axes, x: float, run: Run, number: str, on_front: bool) -> Iterator[str]:
    """A run's interval as a bar, its accuracy as a disc (a square after the test was seen)."""
    y, low, high = (axes.at(axes.xs[0], value)[1] for value in (run.accuracy, *run.interval))
    colour = ORANGE if on_front else BLUE
    fill = colour if on_front else "none"
    yield line([(x, high), (x, low)], colour, 1.5)
    if run.after_test:
        yield rect(x - 5, y - 5, 10, 10, fill, colour)
    else:
        yield circle(x, y, 5.5, fill, colour, 2)
    yield text(x, high - 5, number, anchor="middle", size=11, bold=on_front)


def _say_runs(
    runs: Sequence[Run], costs: Sequence[float], best: Sequence[int], against: str
) -> str:
    lines = [f"accuracy on the validation messages against {against}, the least first"]
    for i in sorted(range(len(runs)), key=costs.__getitem__):
        run, (low, high) = runs[i], runs[i].interval
        cost = f"{costs[i]:,.1f} seconds" if against == "seconds" else f"{costs[i]:,} parameters"
        accuracy = f"accuracy {run.accuracy:.3f} (95 % interval {low:.3f} to {high:.3f})"
        remark = ", beaten by none" if i in best else ""
        remark += ", after the test was seen" if run.after_test else ""
        lines.append(f"run {i + 1}, {run.settings}: {cost}, {accuracy}{remark}")
    return "\n".join(lines)


# --- how a training goes -------------------------------------------------------------------------


def draw_training(histories: Sequence[History], epochs: int, steps_per_epoch: int) -> Drawing:
    """Draw losses and accuracies over the epochs, the last of `histories` in full strength."""
    losses = [loss for history in histories for loss in history.val_losses]
    losses += [loss for history in histories for loss in _smooth(history.step_losses)]
    highest = max([0.8, *losses])
    loss_axes = Axes((48, 50, 240, 150), (0, epochs), (0, min(highest, 3.0) * 1.05))
    accuracies = [acc for h in histories for acc in (*h.val_accs, *h.train_accs)]
    lowest = math.floor(min([0.5, *accuracies]) * 10) / 10
    accuracy_axes = Axes((348, 50, 240, 150), (0, epochs), (lowest, 1.0))
    ticks = whole_ticks(epochs)
    drawn = [
        *loss_axes.drawn("epoch", "loss", ticks),
        *accuracy_axes.drawn("epoch", "accuracy", ticks),
        text(310, 16, "orange, filled: validation · blue: training", anchor="middle"),
    ]
    for i, history in enumerate(histories):
        strength = 1.0 if i == len(histories) - 1 else 0.35
        drawn += [
            f'<g opacity="{strength}">',
            *_curves(loss_axes, accuracy_axes, history, steps_per_epoch),
            "</g>",
        ]
    words = f"how the training goes: {_say_training(histories)}"
    return picture(drawn, words, 620, 244)


def _curves(
    loss_axes: Axes, accuracy_axes: Axes, history: History, steps_per_epoch: int
) -> Iterator[str]:
    smooth = _smooth(history.step_losses)
    thinned = range(0, len(smooth), max(1, len(smooth) // 200))
    yield line([loss_axes.at((i + 1) / steps_per_epoch, smooth[i]) for i in thinned], BLUE, 1.5)
    for axes, values, colour in (
        (loss_axes, history.val_losses, ORANGE),
        (accuracy_axes, history.train_accs, BLUE),
        (accuracy_axes, history.val_accs, ORANGE),
    ):
        points = [axes.at(epoch, value) for epoch, value in enumerate(values, start=1)]
        yield line(points, colour)
        fill = colour if colour == ORANGE else "none"
        for x, y in points:
            yield circle(x, y, 3.5, fill, colour)


def _smooth(losses: Sequence[float]) -> list[float]:
    """Return for each step the mean of the last SMOOTHED losses."""
    means, total = [], 0.0
    for i, loss in enumerate(losses):
        total += loss - (losses[i - SMOOTHED] if i >= SMOOTHED else 0.0)
        means.append(total / min(i + 1, SMOOTHED))
    return means


def _say_training(histories: Sequence[History]) -> str:
    lines = []
    for seed, history in enumerate(histories, start=1):
        figures = zip(history.train_accs, history.val_accs, history.val_losses, strict=True)
        for epoch, (train_acc, val_acc, val_loss) in enumerate(figures, start=1):
            lines.append(
                f"seed {seed}, epoch {epoch}: accuracy {train_acc:.2f} in training, "
                f"{val_acc:.2f} in validation; validation loss {val_loss:.3f}"
            )
    return "\n".join(lines) or "no epoch has ended yet"


def draw_bar(share: float, words: str) -> str:
    """Return a bar, in SVG, of which a share of 0 … 1 is filled; `words` are its name."""
    percent = round(100 * within(share))
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 12" width="400" height="12" '
        'style="max-width:100%;height:auto" role="progressbar" aria-valuemin="0" '
        f'aria-valuemax="100" aria-valuenow="{percent}" aria-label="{escape(words)}">'
        f'<rect x="0.5" y="0.5" width="399" height="11" rx="3" fill="none" stroke="{BLUE}"/>'
        f'<rect x="0.5" y="0.5" width="{3.99 * percent:.1f}" height="11" rx="3" fill="{BLUE}"/>'
        "</svg>"
    )


def _log_range(values: Sequence[float]) -> tuple[float, float]:
    """Return a range around positive values, a third of a decade wider on both sides."""
    return min(values) / 2, max(values) * 2
