"""Charts of the messages, trainings and runs.

A chart is a matplotlib figure, shown as SVG. Only a training, which a widget draws again and again,
is drawn with `svg`, which takes a few milliseconds. Coordinates are rounded before they are drawn,
so that a chart is the same on another processor.
"""

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib import cycler, rc_context
from matplotlib.figure import Figure

from helpers.checks import finite_number
from workshop.class_measures import MOST_CLASSES, ClassMeasures
from workshop.fast import History
from workshop.lab import Run
from workshop.pictures.svg import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    Axes,
    Drawing,
    circle,
    line,
    picture,
    round_ticks,
    shortened,
    text,
)
from workshop.texts import counted, first_ten

WIDTH = 600  # pixels; JupyterLab in a window of 800 pixels has room for it
course_style = rc_context(
    {  # of a matplotlib figure
        "font.size": 11,
        "axes.titlesize": 11,
        "figure.titlesize": 11,
        "figure.labelsize": 11,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": cycler(color=[BLUE, ORANGE, "#007a5a", "#a3326e", "#555555"]),
        "legend.frameon": False,
        "text.parse_math": False,  # a "$" in a token is a dollar sign
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": "course",  # the same figure gets the same ids
    }
)


@dataclass(frozen=True, repr=False)
class Chart(Drawing):
    """A drawing that was plotted with matplotlib; `figure` is the matplotlib figure."""

    figure: Figure


def new_figure(height: float, *shape: int, **options):
    """Return a matplotlib figure and its axes, an array if there are several; a point is a pixel."""
    figure = Figure((WIDTH / 72, height / 72), layout="constrained")
    return figure, figure.subplots(*shape, **options)


def chart(figure: Figure, *lines: str) -> Chart:
    """Return a matplotlib figure as a chart on white paper; its words are its titles and `lines`."""
    titles = [figure.get_suptitle(), *(plot.get_title() for plot in figure.axes)]
    words, file = "\n".join([*filter(None, titles), *lines]), io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the browser has the letters, if not our font
        figure.savefig(file, format="svg")
    svg = file.getvalue().replace("xlink:href", "href")
    inside = svg[svg.index('<g id="figure_1">') : svg.rindex("</svg>")]
    drawing = picture([inside], words, WIDTH, round(72 * figure.get_figheight()))
    white = drawing.svg.replace('class="paper" ', "")  # in the dark, too: the texts are black
    return Chart(white, words, figure)


# --- messages: how they are split, and how long they are ------------------------------------------

BIN = 5  # words, of a histogram of lengths


@course_style
def draw_splits(parts: Mapping[str, pd.DataFrame]) -> Chart:
    """Return histograms of the lengths of each part's messages, ham and spam in two colors.

    A part is a table with the columns `Label` (0 ham, 1 spam) and `Text`. Raises ValueError for a
    part without messages or with other labels.
    """
    figure, plots = new_figure(20 + 140 * len(parts), len(parts))
    for plot, (name, part) in zip(np.ravel(plots), parts.items(), strict=True):
        if part.empty or not part["Label"].isin((0, 1)).all():
            raise ValueError(f"the part {name!r} needs messages with the labels 0 and 1")
        lengths, is_spam = part["Text"].str.split().str.len(), part["Label"] == 1
        edges = np.arange(0, lengths.max() + BIN + 1, BIN)
        plot.hist([lengths[~is_spam], lengths[is_spam]], edges, stacked=True, label=["ham", "spam"])
        plot.set_title(
            f"{name}: {(~is_spam).sum():,} ham, {is_spam.sum():,} spam ({is_spam.mean():.1%}); "
            f"{lengths.min()} to {lengths.max()} words, median {lengths.median():g}"
        )
        plot.set_ylabel("messages")
        plot.legend()
    plot.set_xlabel("words in a message")
    return chart(figure)


# --- messages: how they fill batches --------------------------------------------------------------


def batch_widths(lengths: Sequence[int], batch_size: int) -> list[int]:
    """Return for each message the length of the longest one in its batch.

    A batch is `batch_size` messages that follow each other; the last may be smaller.
    """
    batch = np.arange(len(lengths)) // batch_size  # the number of each message's batch
    return pd.Series(lengths).groupby(batch).transform("max").tolist()


def share_of_padding(lengths: Sequence[int], widths: Sequence[int]) -> float:
    """Return which fraction of all ids is padding, 0 … 1, if message i is padded to `widths[i]`."""
    return 1 - sum(lengths) / sum(widths)


@course_style
def draw_ids(ways: Mapping[str, tuple[Sequence[int], Sequence[int]]]) -> Chart:
    """Return a chart of each way of padding: a row of ids for each message.

    `ways` has lengths and widths of the rows under a name.
    """
    figure, plots = new_figure(320, 1, len(ways))
    for plot, (name, (lengths, widths)) in zip(np.ravel(plots), ways.items(), strict=True):
        for values, color in ((widths, "#f6d9b8"), (lengths, BLUE)):  # pale orange: padding
            plot.stairs(values, orientation="horizontal", color=color, fill=True, rasterized=True)
        title = f"{name}:\n{share_of_padding(lengths, widths):.0%} padding"
        plot.set(title=title, xlabel="token ids", ylabel="messages")
        plot.invert_yaxis()
    figure.supxlabel("dark: tokens · light: padding")
    return chart(figure)


def draw_batch(lengths: Sequence[int], width: int) -> Chart:
    """Return a chart of one batch as a rectangle: a row of `width` ids for each message."""
    name = f"a batch of {len(lengths)} messages, {width} ids each"
    return draw_ids({name: (lengths, [width] * len(lengths))})


def draw_padding(lengths: Sequence[int], batch_size: int) -> Chart:
    """Return a chart of all messages, one row below the other, padded in three ways.

    To one length for all; each batch of `batch_size` to its own longest message; and that after
    sorting by length. Above each stands which percentage of the ids is padding.
    """
    in_order = sorted(lengths)
    ways = {
        "one length for all": (lengths, [max(lengths)] * len(lengths)),
        "each batch its own": (lengths, batch_widths(lengths, batch_size)),
        "sorted, each its own": (in_order, batch_widths(in_order, batch_size)),
    }
    return draw_ids(ways)


# --- the confusion matrix of many classes ---------------------------------------------------------


@course_style
def draw_class_matrix(figures: ClassMeasures) -> Chart:
    """Return a chart of how many texts of each class (rows) have each predicted class (columns).

    Right predictions are on the diagonal. Only the MOST_CLASSES largest classes are drawn.
    """
    from sklearn.metrics import ConfusionMatrixDisplay  # slow to import

    largest = np.sort(np.argsort(-figures.table.sum(axis=1), kind="stable")[:MOST_CLASSES])
    table = figures.table[np.ix_(largest, largest)]
    names = [shortened(" ".join(figures.labels[i].split())) for i in largest]
    figure, plot = new_figure(230 + 22 * len(names))
    ConfusionMatrixDisplay(table, display_labels=names).plot(
        ax=plot,
        cmap="Blues",
        colorbar=False,
        xticks_rotation="vertical",
        im_kw={"vmax": 2 * table.max()},  # pale, so that black numbers can be read on each blue
        text_kw={"color": "black"},
    )
    plot.set(
        title=f"the confusion matrix of {counted(figures.total, 'text')}, {figures.right:,} of "
        "them right",
        xlabel=f"predicted class ({len(names)} of {len(figures.labels)} shown)",
        ylabel="correct class",
    )
    mistakes = []
    for i, j in sorted(np.ndindex(*table.shape), key=table.__getitem__, reverse=True):
        if i != j and table[i, j]:
            mistakes.append(f"{names[i]} predicted as {names[j]}: {table[i, j]:,}")
    return chart(figure, f"mistakes: {first_ten(mistakes) or 'none'}")


# --- losses, trainings and runs -------------------------------------------------------------------


@course_style
def draw_loss(p: float) -> Chart:
    """Return the curve of −ln p, with a mark at one probability 0 < p ≤ 1 and its loss."""
    p = finite_number("p", p, most=1.0)
    loss = abs(math.log(p))
    curve = np.linspace(0.005, 1, 200)
    figure, plot = new_figure(300)
    plot.axvline(0.5, color=GREY)
    plot.plot(curve, -np.log(curve).round(3))
    plot.plot([p, p], [0, loss], "o-")
    plot.set_title(f"p = {p:g}, loss = −ln p = {loss:.2f}")
    plot.set(xlabel="p, the probability of the correct class", ylabel="loss", ylim=(-0.1, 5.3))
    return chart(figure)


@course_style
def draw_pretraining(
    losses: Sequence[float],
    validated: Sequence[tuple[int, float]],
    levels: Mapping[str, float],
    steps_per_loss: int = 1,
) -> Chart:
    """Return a chart of losses of the steps, of held-out losses as (step, loss), and of `levels`.

    All losses are in nats. A loss may be the mean of `steps_per_loss` steps. A level is a line
    across.
    """
    (figure, plot), lines = new_figure(300), []
    steps = range(steps_per_loss, steps_per_loss * len(losses) + 1, steps_per_loss)
    plot.plot(steps, losses, linewidth=0.8, label="batches")
    plot.plot(*np.transpose(validated), "o-", label="held out")
    for (name, level), style in zip(levels.items(), cycle((":", "--"))):
        label = f"{name}: {level:.1f}"
        plot.axhline(level, color=GREY, linestyle=style, label=label)
        lines.append(f"for comparison, {label}")
    plot.set_title(
        f"loss in nats: batches from {losses[0]:.1f} to {losses[-1]:.1f}, held out from "
        f"{validated[0][1]:.1f} to {validated[-1][1]:.1f}"
    )
    plot.set(xlabel="step", ylabel="loss")
    figure.legend(loc="outside lower center", ncols=2)
    return chart(figure, *lines)


SMOOTHED = 20  # steps whose mean loss is drawn


def draw_training(histories: Sequence[History], epochs: int, steps_per_epoch: int) -> Drawing:
    """Return the losses and accuracies over the epochs of one training with each seed."""
    losses = [1.0]  # one that has just begun has none yet
    for history in histories:
        losses += history.step_losses + history.val_losses
    loss_axes = Axes((48, 50, 240, 150), (0, epochs), (0, max(losses)))
    accuracy_axes = Axes((348, 50, 240, 150), (0, epochs), (0, 1))
    ticks = round_ticks(0, epochs, whole=True)
    drawn = [
        *loss_axes.drawn("epoch", "loss", ticks),
        *accuracy_axes.drawn("epoch", "accuracy", ticks),
        text(310, 16, "orange, filled: validation · blue: training", anchor="middle"),
    ]
    for history in histories:
        means = pd.Series(history.step_losses).rolling(SMOOTHED, min_periods=1).mean()
        curve = [loss_axes.at((i + 1) / steps_per_epoch, loss) for i, loss in means.items()]
        drawn.append(line(curve, BLUE, 1.5))
        for axes, values, colour, fill in (
            (loss_axes, history.val_losses, ORANGE, ORANGE),
            (accuracy_axes, history.train_accs, BLUE, "none"),
            (accuracy_axes, history.val_accs, ORANGE, ORANGE),
        ):
            points = [axes.at(epoch, value) for epoch, value in enumerate(values, start=1)]
            drawn += [line(points, colour), *(circle(*at, 3.5, fill, colour) for at in points)]
    words = "no epoch has ended yet"
    if history.val_losses:
        words = (
            f"with seed {len(histories)} after epoch {len(history.val_losses)}, training accuracy "
            f"{history.train_accs[-1]:.2f}, validation accuracy {history.val_accs[-1]:.2f}, "
            f"validation loss {history.val_losses[-1]:.3f}"
        )
    return picture(drawn, f"how the training goes: {words}", 620, 244)


def draw_validation(history: History, epochs: int, baseline: float) -> Drawing:
    """Return the validation accuracy after each epoch, and that of a baseline as a line across."""
    axes = Axes((40, 28, 270, 150), (0, epochs), (0, 100))
    level = [axes.at(epoch, 100 * baseline) for epoch in (0, epochs)]
    points = [axes.at(i, 100 * accuracy) for i, accuracy in enumerate(history.val_accs, start=1)]
    dots = [circle(*point, 3.5, ORANGE, ORANGE) for point in points]
    drawn = [
        *axes.drawn("epoch", "", round_ticks(0, epochs, whole=True)),
        line(level, BLUE),
        line(points, ORANGE),
        *dots,
        text(8, 14, "validation accuracy, %"),
        text(40, 228, f"blue: bag of words, {baseline:.1%} · orange: GPT-2"),
    ]
    words = "no epoch has ended yet"
    if points:
        words = (
            f"{history.val_accs[-1]:.1%} after epoch {len(points)}, the bag of words {baseline:.1%}"
        )
    return picture(drawn, f"validation accuracy of GPT-2: {words}", 330, 236)


AGAINST = {"trainable parameters": "trainable", "seconds": "seconds"}  # → the name in a run


def front(costs: Sequence[float], accuracies: Sequence[float]) -> list[int]:
    """Return the indices of the Pareto front, the cheapest point first.

    A point is on it unless another one costs no more and is at least as accurate, and is better in
    one of the two. Equal points are all on it.
    """
    points = list(zip(costs, accuracies, strict=True))
    best = []
    for i, (cost, accuracy) in enumerate(points):
        if not any(c <= cost and a >= accuracy and (c, a) != points[i] for c, a in points):
            best.append(i)
    return sorted(best, key=costs.__getitem__)


@course_style
def draw_runs(
    runs: Sequence[Run], majority: float, against: str = "trainable parameters"
) -> Drawing:
    """Return the runs' accuracies, with their intervals, against what they cost, on a log axis.

    A run has its number, from 1, in the order of `runs`. The Pareto front is filled and joined by a
    line. Runs of the same cost stand side by side. A line marks the accuracy `majority`, 0 … 1, of
    predicting the majority class. `against` is a key of AGAINST.
    """
    title = f"accuracy against {against}"
    if not runs:
        return picture([text(20, 40, "No run yet.")], f"{title}: no run yet", WIDTH, 60)
    costs = [round(getattr(run, AGAINST[against]), 3) for run in runs]
    accuracies = [run.accuracy for run in runs]
    best = front(costs, accuracies)
    xs = []
    for i, cost in enumerate(costs):
        xs.append(cost * 1.1 ** costs[:i].count(cost))  # equal costs stand side by side
    intervals = np.abs(np.transpose([run.interval for run in runs]) - accuracies)
    figure, plot = new_figure(384)
    plot.errorbar(xs, accuracies, intervals, fmt="o", label="a run, with its 95 % interval")
    on_front = [xs[i] for i in best], [accuracies[i] for i in best]
    plot.plot(*on_front, "o-", zorder=3, label="Pareto front")
    plot.axhline(majority, color=INK, linestyle=":", label="always the majority class")
    lines = [f"always the majority class: accuracy {majority:.3f}"]
    for i, run in enumerate(runs):
        low, high = run.interval
        plot.annotate(i + 1, (xs[i], high), ha="center", va="bottom")
        lines.append(
            f"run {i + 1}, {run.settings}: {costs[i]:,} {against}, accuracy {run.accuracy:.3f} "
            f"(95 % interval {low:.3f} to {high:.3f})"
        )
    lines.append(f"the Pareto front: {', '.join(str(i + 1) for i in best)}")
    xlim = min(xs) / 3, max(xs) * 4
    label = against if len(set(costs)) == len(costs) else f"{against} (equal ones side by side)"
    plot.set(title=title, xscale="log", xlabel=label, ylabel="validation accuracy", xlim=xlim)
    plot.xaxis.set(major_formatter="{x:,g}", minor_formatter="")
    figure.legend(loc="outside lower center")
    return chart(figure, *lines)
