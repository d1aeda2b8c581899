"""Pictures of how good a classifier is: confusion matrix, precision and recall, calibration, slices.

Each shows what `helpers.measures` computes, and has it in words.
"""

import math
from collections.abc import Sequence

from helpers.data import LABELS
from helpers.measures import Bin, Counts, Slice, expected_calibration_error
from workshop.pictures.svg import (
    BLUE,
    INK,
    ORANGE,
    TEXT,
    Axes,
    Drawing,
    circle,
    length,
    line,
    mixed,
    path,
    picture,
    rect,
    text,
)

WIDTH, HEIGHT = 380, 350  # of every picture but that of the slices
FIELD, GAP = 138, 6  # the side of a field of the matrix, and what lies between two
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
    accuracy = f"Accuracy {percent(counts.accuracy)}: {counts.right} of {counts.total} are right."
    precision = "No precision: nothing is called spam."
    if counts.precision is not None:
        share = percent(counts.precision)
        precision = f"Precision {share}: so much of what is called spam is spam."
    recall = "No recall: none of these messages is spam."
    if counts.recall is not None:
        recall = f"Recall {percent(counts.recall)}: so much of the spam is called spam."
    return f"{accuracy} {precision} {recall}"


def draw_matrix(counts: Counts) -> Drawing:
    """Return the confusion matrix: a row for each correct label, a column for each predicted one.

    A square's area is the field's fraction of all messages. Right answers are blue and marked ✓,
    mistakes orange and marked ✗.
    """
    left, top = WIDTH - 2 * FIELD - GAP - 8, 56
    drawn = [
        text(left + FIELD + GAP / 2, 18, "called", 13, "middle"),
        text(4, top + FIELD + GAP / 2 + 4, "correct", 13),
    ]
    for i, label in enumerate(LABELS):
        middle = i * (FIELD + GAP) + FIELD / 2
        drawn.append(text(left + middle, top - 12, label, 13, "middle", bold=True))
        drawn.append(text(left - 10, top + middle + 4, label, 13, "end", bold=True))
    where = f"at threshold {say_threshold(counts.threshold)}, of {counts.total} messages"
    lines = [f"the confusion matrix {where}"]
    for (correct, called), count in counts.table.items():
        x = left + LABELS.index(called) * (FIELD + GAP)
        y = top + LABELS.index(correct) * (FIELD + GAP)
        middle, is_right = x + FIELD / 2, correct == called
        colour, verdict = (BLUE, "right") if is_right else (ORANGE, "mistakes")
        side = FIELD * math.sqrt(count / counts.total)
        corner = (FIELD - side) / 2
        drawn += [
            rect(x, y, FIELD, FIELD, mixed(0.14, colour), colour),
            rect(x + corner, y + corner, side, side, mixed(0.55, colour)),
            text(middle, y + FIELD / 2 + 8, f"{count}", 24, "middle", bold=True, fill=TEXT),
            text(
                middle,
                y + FIELD - 8,
                f"{'✓' if is_right else '✗'} {verdict}",
                11,
                "middle",
                fill=TEXT,
            ),
        ]
        lines.append(f"{correct} called {called}: {count} ({verdict})")
    lines.append(say_figures(counts))
    return picture(drawn, "\n".join(lines), WIDTH, HEIGHT)


def draw_curve(points: Sequence[tuple[float, float]], counts: Counts) -> Drawing:
    """Return the curve of precision against recall, with a mark at the present threshold.

    `points` are (recall, precision), as `precision_recall_curve` returns them.
    """
    axes = Axes((52, 56, 310, 240), (0, 1), (0, 1))
    # where many points lie within a tenth of a pixel, one of them is drawn
    curve = dict.fromkeys((round(x, 1), round(y, 1)) for x, y in (axes.at(*p) for p in points))
    drawn = [*axes.drawn("recall", "precision", TICKS, TICKS), line(list(curve), BLUE)]
    where = f"at {say_threshold(counts.threshold)}: "
    if counts.recall is None:
        where += "no recall, as nothing here is spam"
    elif counts.precision is None:
        where += "nothing is called spam, so no precision"
    else:
        where += f"recall {percent(counts.recall)}, precision {percent(counts.precision)}"
        x, y = axes.at(counts.recall, counts.precision)
        drawn.append(path(f"M{length(x)},{length(y)}V296M{length(x)},{length(y)}H52", ORANGE, 1))
        drawn.append(circle(x, y, 6, ORANGE, INK))
    drawn.append(text(207, 18, where, anchor="middle"))
    best = []
    for least in (0.5, 0.75, 0.9, 1.0) if points else ():
        highest = max(precision for recall, precision in points if recall >= least)
        best.append(
            f"for a recall of {percent(least)} or more the precision is {percent(highest)} at best"
        )
    summary = "; ".join(best) or "there is no curve without spam"
    words = f"precision against recall at all thresholds: {where}\n{summary}"
    return picture(drawn, words, WIDTH, HEIGHT)


def draw_reliability(bins: Sequence[Bin]) -> Drawing:
    """Return the reliability diagram: in each bin of confidence the fraction of right answers.

    On the straight line both would be equal. Above each bin stands how many messages it has; an
    orange line leads from the fraction right to the mean confidence (Guo et al. 2017, figure 1).
    """
    low, high = bins[0].low, bins[-1].high
    axes = Axes((52, 72, 310, 224), (low, high), (0, 1))
    key = "bars: share right · circles: mean confidence · line: equal"
    drawn = [text(WIDTH / 2, 18, key, anchor="middle")]
    lines = ["how often the answers of each confidence are right"]
    for bin in bins:
        (left, bottom), (right, top) = axes.at(bin.low, 0), axes.at(bin.high, bin.right or 0)
        drawn.append(text((left + right) / 2, 62, f"{bin.count}", 11, "middle"))
        described = "no message"
        if bin.count:
            x, y = axes.at(bin.confidence, bin.confidence)
            drawn += [
                rect(left + 2, top, right - left - 4, bottom - top, mixed(0.55, BLUE), BLUE),
                line([(x, top), (x, y)], ORANGE, 3),
                circle(x, y, 5, "none", ORANGE, 2.5),
            ]
            described = (
                f"{bin.count} messages, mean confidence {percent(bin.confidence)}, "
                f"right {percent(bin.right)}"
            )
        lines.append(f"confidence {bin.low:.2f} to {bin.high:.2f}: {described}")
    edges = [low, *(bin.high for bin in bins)]
    drawn += [
        text(48, 62, "messages", 9, "end"),
        line([axes.at(low, low), axes.at(high, high)], INK, 1),
        *axes.drawn("confidence: probability of the label named", "", edges, TICKS),
        text(52, 42, "share right", anchor="middle"),
    ]
    lines.append(f"expected calibration error {percent(expected_calibration_error(bins))}")
    return picture(drawn, "\n".join(lines), WIDTH, HEIGHT)


def draw_slices(slices: Sequence[Slice]) -> Drawing:
    """Return a dot for the fraction of right answers on each kind of message, with its 95 % interval."""
    left, row = 210, 34
    bottom = 24 + row * len(slices)
    axes = Axes((left, 24, 220, bottom - 24), (0, 1), (0, 1))
    drawn = [path(f"M{left},{bottom}H{left + 220}", width=1)]
    for tick in TICKS:
        x, _ = axes.at(tick, 0)
        drawn.append(path(f"M{length(x)},{bottom}v4", width=1))
        drawn.append(text(x, bottom + 17, f"{tick:g}", 11, "middle"))
    drawn.append(text(left + 110, bottom + 34, "share right, with its 95 % interval", 12, "middle"))
    lines = ["share of right answers, with 95 % intervals"]
    for i, part in enumerate(slices):
        y, described = 24 + row * (i + 0.5), "no such message"
        if part.count:
            low, high = part.interval
            drawn.append(line([(axes.at(low, 0)[0], y), (axes.at(high, 0)[0], y)], BLUE))
            drawn.append(circle(axes.at(part.share, 0)[0], y, 5.5, BLUE))
            described = (
                f"{part.right} of {part.count}, {percent(part.share)} "
                f"({round(100 * low)} to {round(100 * high)} %)"
            )
        drawn.append(text(left - 12, y + 4, part.name, anchor="end"))
        drawn.append(text(left + 234, y + 4, described, 11))
        lines.append(f"{part.name}: {described}")
    return picture(drawn, "\n".join(lines), 640, bottom + 40)
