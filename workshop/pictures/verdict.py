"""Pictures of how good a classifier is: the four fields, the curve, sure against right, the slices.

Each shows what `helpers.measures` found, and says it in words.
"""

import math
from collections.abc import Iterator, Sequence

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


GROUND, STRONG = 0.14, 0.55  # how much colour a field has, and the square in it


TICKS = (0, 0.2, 0.4, 0.6, 0.8, 1)


def percent(share: float | None) -> str:
    """Return a share in percent; "–" where there is none."""
    return "–" if share is None else f"{100 * share:.0f} %"


def say_threshold(threshold: float) -> str:
    """Return a threshold with two digits, or with as many as tell it from one with two."""
    two = f"{threshold:.2f}"
    return two if float(two) == threshold else f"{threshold:g}"


def say_figures(counts: Counts) -> str:
    """Return accuracy, precision and recall in a sentence each, and why one is missing."""
    precision = (
        f"Precision {percent(counts.precision)}: so much of what is called spam is spam."
        if counts.precision is not None
        else "No precision: nothing is called spam."
    )
    recall = (
        f"Recall {percent(counts.recall)}: so much of the spam is called spam."
        if counts.recall is not None
        else "No recall: none of these messages is spam."
    )
    accuracy = f"Accuracy {percent(counts.accuracy)}: {counts.right} of {counts.total} are right."
    return f"{accuracy} {precision} {recall}"


# --- the four fields ------------------------------------------------------------------------------


def draw_matrix(counts: Counts) -> Drawing:
    """Draw the confusion matrix: a row for each correct label, a column for each called one.

    A square's area is the field's share of all messages; blue, marked ✓, are right answers, orange,
    marked ✗, mistakes.
    """
    left, top = WIDTH - 2 * FIELD - GAP - 8, 56
    drawn = [text(left + FIELD + GAP / 2, 18, "called", anchor="middle", size=13)]
    for i, label in enumerate(LABELS):
        middle = i * (FIELD + GAP) + FIELD / 2
        drawn.append(text(left + middle, top - 12, label, anchor="middle", bold=True, size=13))
        drawn.append(text(left - 10, top + middle + 4, label, anchor="end", bold=True, size=13))
    drawn.append(text(4, top + FIELD + GAP / 2 + 4, "correct", size=13))
    for (correct, called), count in counts.table.items():
        x = left + LABELS.index(called) * (FIELD + GAP)
        y = top + LABELS.index(correct) * (FIELD + GAP)
        drawn += _field(x, y, count, counts.total, correct == called)
    lines = [f"at threshold {say_threshold(counts.threshold)}, of {counts.total} messages"]
    lines += [
        f"{correct} called {called}: {count} ({'right' if correct == called else 'mistakes'})"
        for (correct, called), count in counts.table.items()
    ]
    lines.append(say_figures(counts))
    return picture(drawn, "the confusion matrix " + "\n".join(lines), WIDTH, HEIGHT)


def _field(x: float, y: float, count: int, total: int, is_right: bool) -> Iterator[str]:
    colour = BLUE if is_right else ORANGE
    side = FIELD * math.sqrt(count / total)
    yield rect(x, y, FIELD, FIELD, mixed(GROUND, colour), colour)
    corner = (FIELD - side) / 2
    yield rect(x + corner, y + corner, side, side, mixed(STRONG, colour))
    middle = x + FIELD / 2
    yield text(middle, y + FIELD / 2 + 8, str(count), 24, "middle", bold=True, fill=TEXT)
    words = "✓ right" if is_right else "✗ mistakes"
    yield text(middle, y + FIELD - 8, words, 11, "middle", fill=TEXT)


# --- precision against recall ---------------------------------------------------------------------


def draw_curve(points: Sequence[tuple[float, float]], counts: Counts) -> Drawing:
    """Draw precision against recall at all thresholds, and where the present threshold lies.

    `points` are (recall, precision), as `precision_recall_curve` returns them.
    """
    axes = Axes((52, 56, 310, 240), (0, 1), (0, 1))
    title = "precision against recall"
    drawn = [*axes.drawn("recall", "precision", TICKS, TICKS), line(_thinned(axes, points), BLUE)]
    where = _say_point(counts)
    if counts.recall is not None and counts.precision is not None:
        x, y = axes.at(counts.recall, counts.precision)
        drawn += [
            path(f"M{length(x)},{length(y)}V296M{length(x)},{length(y)}H52", ORANGE, 1),
            circle(x, y, 6, ORANGE, INK),
        ]
    drawn.append(text(207, 18, where, anchor="middle"))
    words = f"{title} at all thresholds: {where}\n{_say_curve(points)}"
    return picture(drawn, words, WIDTH, HEIGHT)


def _say_point(counts: Counts) -> str:
    at = f"at {say_threshold(counts.threshold)}: "
    if counts.recall is None:
        return at + "no recall, as nothing here is spam"
    if counts.precision is None:
        return at + "nothing is called spam, so no precision"
    return at + f"recall {percent(counts.recall)}, precision {percent(counts.precision)}"


def _say_curve(points: Sequence[tuple[float, float]]) -> str:
    if not points:
        return "there is no curve without spam"
    least = (0.5, 0.75, 0.9, 1.0)
    best = [max(precision for recall, precision in points if recall >= low) for low in least]
    return "; ".join(
        f"for a recall of {percent(low)} or more the precision is {percent(precision)} at best"
        for low, precision in zip(least, best, strict=True)
    )


def _thinned(axes: Axes, points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points in pixels, of those that would lie on one another only one."""
    places = [axes.at(*point) for point in points]
    return list(dict.fromkeys((round(x, 1), round(y, 1)) for x, y in places))


# --- as sure as right? ----------------------------------------------------------------------------


def draw_reliability(bins: Sequence[Bin]) -> Drawing:
    """Draw the reliability diagram: in each bin of confidence the share of right answers.

    On the straight line both would be equal. Above each bin stands how many messages it has; an
    orange line leads from the share right to the mean confidence (Guo et al. 2017, figure 1).
    """
    axes = Axes((52, 72, 310, 224), (bins[0].low, bins[-1].high), (0, 1))
    edges = [bins[0].low, *(bin.high for bin in bins)]
    key = "bars: share right · circles: mean confidence · line: equal"
    drawn = [text(WIDTH / 2, 18, key, anchor="middle")]
    for bin in bins:
        middle = (axes.at(bin.low, 0)[0] + axes.at(bin.high, 0)[0]) / 2
        drawn += _bar(axes, bin)
        drawn.append(text(middle, 62, str(bin.count), anchor="middle", size=11))
    drawn += [
        text(48, 62, "messages", anchor="end", size=9),
        line([axes.at(value, value) for value in (edges[0], edges[-1])], INK, 1),
        *axes.drawn("confidence: probability of the label named", "", edges, TICKS),
        text(52, 42, "share right", anchor="middle"),
    ]
    return picture(drawn, _say_bins(bins), WIDTH, HEIGHT)


def _bar(axes: Axes, bin: Bin) -> Iterator[str]:
    if not bin.count:
        return
    left, bottom = axes.at(bin.low, 0)
    right, top = axes.at(bin.high, bin.right)
    yield rect(left + 2, top, right - left - 4, bottom - top, mixed(STRONG, BLUE), BLUE)
    x, sure = axes.at(bin.confidence, bin.confidence)
    yield line([(x, top), (x, sure)], ORANGE, 3)
    yield circle(x, sure, 5, "none", ORANGE, 2.5)


def _say_bins(bins: Sequence[Bin]) -> str:
    error = expected_calibration_error(bins)
    lines = ["how often the answers of each confidence are right"]
    for bin in bins:
        within = f"confidence {bin.low:.2f} to {bin.high:.2f}: "
        if bin.count:
            sure = f"{bin.count} messages, mean confidence {percent(bin.confidence)}, "
            lines.append(f"{within}{sure}right {percent(bin.right)}")
        else:
            lines.append(f"{within}no message")
    lines.append(f"expected calibration error {percent(error)}")
    return "\n".join(lines)


# --- on what --------------------------------------------------------------------------------------


def draw_slices(slices: Sequence[Slice]) -> Drawing:
    """Draw the share of right answers on each kind of message as a dot, with its 95 % interval."""
    left, row = 210, 34
    height = 64 + row * len(slices)
    axes = Axes((left, 24, 220, height - 64), (0, 1), (0, 1))
    bottom = height - 40
    drawn = [path(f"M{left},{bottom}H{left + 220}", width=1)]
    for tick in TICKS:
        x, _ = axes.at(tick, 0)
        drawn.append(path(f"M{length(x)},{bottom}v4", width=1))
        drawn.append(text(x, bottom + 17, f"{tick:g}", anchor="middle", size=11))
    drawn.append(text(left + 110, bottom + 34, "share right, with its 95 % interval", 12, "middle"))
    for i, part in enumerate(slices):
        drawn += _dot(axes, 24 + row * (i + 0.5), part)
    lines = [f"{part.name}: {_say_share(part)}" for part in slices]
    words = "share of right answers, with 95 % intervals\n" + "\n".join(lines)
    return picture(drawn, words, 640, height)


def _dot(axes: Axes, y: float, part: Slice) -> Iterator[str]:
    left, _, width, _ = axes.frame
    yield text(left - 12, y + 4, part.name, anchor="end")
    yield text(left + width + 14, y + 4, _say_share(part), size=11)
    if part.count:
        low, high, share = (axes.at(value, 0)[0] for value in (*part.interval, part.share))
        yield line([(low, y), (high, y)], BLUE, 2)
        yield circle(share, y, 5.5, BLUE)


def _say_share(part: Slice) -> str:
    if not part.count:
        return "no such message"
    low, high = (round(100 * share) for share in part.interval)
    return f"{part.right} of {part.count}, {percent(part.share)} ({low} to {high} %)"
