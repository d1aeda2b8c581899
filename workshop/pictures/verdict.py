"""Pictures of how good a classifier is: confusion matrix, precision and recall, calibration, slices.

Each shows what `helpers.measures` computes, and has it in words.
"""

import math
from collections.abc import Sequence

from helpers.data import LABELS
from helpers.measures import Bin, Counts, Slice, expected_calibration_error
from workshop.pictures.charts import Chart, chart, course_style, new_figure
from workshop.pictures.svg import (
    BLUE,
    INK,
    ORANGE,
    TEXT,
    Axes,
    Drawing,
    circle,
    line,
    mixed,
    path,
    picture,
    rect,
    text,
)

WIDTH, HEIGHT = 380, 350  # of every picture but that of the slices
FIELD, STEP = 138, 144  # the side of a field of the matrix, and from one field to the next
TICKS = (0, 0.2, 0.4, 0.6, 0.8, 1)


def percent(share: float | None) -> str:
    """Return a fraction in percent; "–" where there is none."""
    return "–" if share is None else f"{100 * share:.0f} %"


def say_threshold(threshold: float) -> str:
    """Return a threshold with two digits, or with more if two would change it."""
    two = f"{threshold:.2f}"
    return two if float(two) == threshold else f"{threshold:g}"


def say_figures(counts: Counts) -> str:
    """Return accuracy, precision and recall in a sentence each, and why one is missing."""
    accuracy = f"Accuracy {percent(counts.accuracy)}: {counts.right} of {counts.total} are correct."
    precision = f"Precision {percent(counts.precision)} of those predicted as spam."
    if counts.precision is None:
        precision = "No precision: no message is predicted as spam."
    recall = f"Recall {percent(counts.recall)} of the spam."
    if counts.recall is None:
        recall = "No recall: none of these messages is spam."
    return f"{accuracy} {precision} {recall}"


def draw_matrix(counts: Counts) -> Drawing:
    """Return the confusion matrix: a row for each correct label, a column for each predicted one.

    A square's area is the field's fraction of all messages. Right answers are blue and marked ✓,
    mistakes orange and marked ✗.
    """
    drawn = [text(232, 18, "predicted label", 13, "middle"), text(4, 199, "true label", 13)]
    for i, label in enumerate(LABELS):
        drawn.append(text(159 + STEP * i, 44, label, 13, "middle", bold=True))
        drawn.append(text(80, 129 + STEP * i, label, 13, "end", bold=True))
    where = f"at threshold {say_threshold(counts.threshold)}, of {counts.total} messages"
    lines = [f"the confusion matrix {where}"]
    for (correct, called), count in counts.table.items():
        x, y = 90 + STEP * LABELS.index(called), 56 + STEP * LABELS.index(correct)
        colour, mark, verdict = BLUE, "✓", "right"
        if correct != called:
            colour, mark, verdict = ORANGE, "✗", "mistakes"
        side = FIELD * math.sqrt(count / counts.total)
        corner, middle = (FIELD - side) / 2, x + FIELD / 2
        drawn += [
            rect(x, y, FIELD, FIELD, mixed(0.14, colour), colour),
            rect(x + corner, y + corner, side, side, mixed(0.55, colour)),
            text(middle, y + 77, f"{count}", 24, "middle", bold=True, fill=TEXT),
            text(middle, y + 130, f"{mark} {verdict}", 11, "middle", fill=TEXT),
        ]
        lines.append(f"{correct} predicted as {called}: {count} ({verdict})")
    lines.append(say_figures(counts))
    return picture(drawn, "\n".join(lines), WIDTH, HEIGHT)


def draw_curve(points: Sequence[tuple[float, float]], counts: Counts) -> Drawing:
    """Return the curve of precision against recall, with a mark at the present threshold.

    `points` are (recall, precision), as `precision_recall_curve` returns them.
    """
    axes = Axes((52, 56, 310, 240), (0, 1), (0, 1))
    curve = dict.fromkeys(axes.at(*point) for point in points)  # many lie in the same pixel
    drawn = [*axes.drawn("recall", "precision", TICKS, TICKS), line([*curve], BLUE)]
    where = f"at {say_threshold(counts.threshold)}: "
    if counts.recall is None:
        where += "no recall, because no message is spam"
    elif counts.precision is None:
        where += "no message is predicted as spam, so no precision"
    else:
        where += f"recall {percent(counts.recall)}, precision {percent(counts.precision)}"
        x, y = axes.at(counts.recall, counts.precision)
        drawn.append(path(f"M52,{y}H{x}V296", ORANGE, 1))
        drawn.append(circle(x, y, 6, ORANGE, INK))
    drawn.append(text(207, 18, where, anchor="middle"))
    lines = [f"precision against recall at all thresholds: {where}"]
    for least in (0.5, 0.75, 0.9, 1.0) if points else ():
        best = percent(max(precision for recall, precision in points if recall >= least))
        lines.append(f"for a recall of {percent(least)} or more the precision is {best} at best")
    if not points:
        lines.append("there is no curve without spam")
    return picture(drawn, "\n".join(lines), WIDTH, HEIGHT)


@course_style
def draw_reliability(bins: Sequence[Bin]) -> Chart:
    """Return the reliability diagram: in each bin of confidence the fraction of right answers.

    On the straight line both would be equal. Above each bin stands how many messages it has; an
    orange line leads from the fraction right to the mean confidence (Guo et al. 2017, figure 1).
    """
    figure, plot = new_figure(HEIGHT)
    edges, lines = [bins[0].low, *(bin.high for bin in bins)], []
    for bin in bins:
        described = "no message"
        plot.text(bin.low, 1.02, f"messages: {bin.count}")
        if bin.count:
            width, pale = bin.high - bin.low, mixed(0.55, BLUE)
            plot.bar(bin.low, bin.right, width, align="edge", color=pale, edgecolor=BLUE)
            x = round(bin.confidence, 3)
            plot.plot([x, x], [x, bin.right], "o-", color=ORANGE, markevery=[0])
            mean, right = percent(bin.confidence), percent(bin.right)
            described = f"{bin.count} messages, mean confidence {mean}, accuracy {right}"
        lines.append(f"confidence {bin.low:.2f} to {bin.high:.2f}: {described}")
    plot.plot([0.5, 1], [0.5, 1], color=INK)
    plot.set(xlabel="confidence: probability of the predicted label", ylabel="accuracy")
    plot.set(xticks=edges, ylim=(0, 1.1))
    figure.suptitle("accuracy of the predictions of each confidence")
    figure.supxlabel("bars: accuracy · circles: mean confidence · line: equal")
    lines.append(f"expected calibration error {percent(expected_calibration_error(bins))}")
    return chart(figure, *lines)


def draw_slices(slices: Sequence[Slice]) -> Drawing:
    """Return a dot for the fraction of right answers on each kind of message, with its 95 % interval."""
    bottom = 24 + 34 * len(slices)
    axes = Axes((210, 24, 220, bottom - 24), (0, 1), (0, 1))
    drawn = [*axes.drawn("accuracy, with its 95 % confidence interval", "", TICKS, ())]
    lines = ["accuracies, with 95 % confidence intervals"]
    for i, part in enumerate(slices):
        y, described = 41 + 34 * i, "no such message"
        if part.count:
            low, high = part.interval
            drawn.append(line([(210 + 220 * low, y), (210 + 220 * high, y)], BLUE))
            drawn.append(circle(210 + 220 * part.share, y, 5.5, BLUE))
            interval = f"{round(100 * low)} to {round(100 * high)} %"
            described = f"{part.right} of {part.count}, {percent(part.share)} ({interval})"
        drawn.append(text(198, y + 4, part.name, anchor="end"))
        drawn.append(text(444, y + 4, described, 11))
        lines.append(f"{part.name}: {described}")
    return picture(drawn, "\n".join(lines), 640, bottom + 40)
