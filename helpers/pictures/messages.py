"""Pictures of messages: what splitting does to them, how long they are, how they fill batches.

Section 6.2 splits messages, section 6.3 puts them into batches. A length is a whole number from 1,
of words or of tokens.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

import pandas as pd

from helpers.checks import instance_of, whole_number
from helpers.data import LABELS
from helpers.svg import BLUE, INK, ORANGE, TEXT, Axes, Drawing, circle, path, picture, rect, text

WIDTH = 600  # what a window of 800 pixels has room for
TOKENS, PADDING = BLUE, "#f6d9b8"  # dark and light: they differ without any colour
HAM, SPAM = "#bcdcf2", "#f2b88a"  # dark words stand out on both
BIN_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
MOST_BINS = 20


# --- what splitting does to them ------------------------------------------------------------------

PART = 118  # from one part's row to the next
BAR_LEFT, BAR_WIDTH, BAR_HEIGHT = 20, 240, 30
SMALL_LEFT, SMALL_WIDTH, SMALL_HEIGHT = 305, 270, 66  # of a part's histogram


def draw_splits(parts: Mapping[str, pd.DataFrame]) -> Drawing:
    """Draw for each part its shares of ham and spam, and how many words its messages have.

    A part is a table with the columns `Label` (0 ham, 1 spam) and `Text`. The lengths are drawn as
    shares of the part's messages, all on one scale. Raises ValueError for no part, and for one
    without messages, without these columns or with other labels.
    """
    instance_of("parts", parts, Mapping, "a dictionary: a part's name and its table")
    if not parts:
        raise ValueError("there is no part to draw; give at least one")
    lengths = {name: _words_in(name, part) for name, part in parts.items()}
    size = bin_size(max(map(max, lengths.values())))
    shares = {
        name: [count / len(found) for count in counted(found, size)]
        for name, found in lengths.items()
    }
    highest = max(share for found in shares.values() for share in found)
    last = size * max(map(len, shares.values()))
    drawn = [
        text(BAR_LEFT, 20, "ham and spam", bold=True),
        text(SMALL_LEFT, 20, "words in a message", bold=True),
    ]
    lines, y = [], 30
    for name, part in parts.items():
        ham, spam = (int((part["Label"] == number).sum()) for number in range(len(LABELS)))
        axes = Axes((SMALL_LEFT, y + 22, SMALL_WIDTH, SMALL_HEIGHT), (0, last), (0, highest))
        drawn += _labels_bar(name, ham, spam, y)
        drawn += _bars(axes, shares[name], size)
        drawn += _mark(axes, median(lengths[name]), f"median {median(lengths[name]):g}")
        lines.append(
            f"{name}: {len(part):,} messages, {ham} ham, {spam} spam, {spam / len(part):.1%} spam; "
            f"words in a message: median {median(lengths[name]):g}; "
            f"shares of the messages: {_named(shares[name], size, '.0%')}"
        )
        y += PART
    for tick in _round_ticks(last, size, 6):
        x, _ = axes.at(tick, 0)
        drawn.append(text(x, y - 13, f"{tick}", size=11, anchor="middle"))
    return picture(drawn, "\n".join(lines), WIDTH, y)


def _words_in(name: str, part: pd.DataFrame) -> list[int]:
    """Return how many words each message of a part has: what stands between spaces."""
    _check_part(name, part)
    for message in part["Text"]:
        instance_of("a message", message, str, "a text")
    return [len(message.split()) for message in part["Text"]]


def _check_part(name: str, part: pd.DataFrame) -> None:
    instance_of(name, part, pd.DataFrame, "a table with the columns Label and Text")
    if missing := [column for column in ("Label", "Text") if column not in part.columns]:
        raise ValueError(f"the part {name!r} has no column {missing[0]!r}")
    if not len(part):
        raise ValueError(f"the part {name!r} holds no message")
    if not (right := part["Label"].isin((0, 1))).all():
        wrong = part["Label"][~right].tolist()[0]
        raise ValueError(f"a label of the part {name!r} must be 0 (ham) or 1 (spam), not {wrong!r}")


def _labels_bar(name: str, ham: int, spam: int, y: float) -> Iterator[str]:
    """A part's messages as a bar: ham on the left, spam on the right, a line at the half."""
    total, top, half = ham + spam, y + 32, BAR_LEFT + BAR_WIDTH / 2
    edge = BAR_WIDTH * ham / total
    yield text(BAR_LEFT, y + 22, f"{name}: {total:,} messages, {spam / total:.1%} spam")
    yield rect(BAR_LEFT, top, edge, BAR_HEIGHT, HAM)
    yield rect(BAR_LEFT + edge, top, BAR_WIDTH - edge, BAR_HEIGHT, SPAM)
    yield text(BAR_LEFT + 6, top + 20, f"{ham} ham", fill=TEXT)
    yield text(BAR_LEFT + BAR_WIDTH - 6, top + 20, f"{spam} spam", anchor="end", fill=TEXT)
    yield path(f"M{half:g},{top - 4}v{BAR_HEIGHT + 8}")
    yield text(half, top + BAR_HEIGHT + 17, "half", size=11, anchor="middle")


CHANCE_LEFT, CHANCE_WIDTH = 120, 460
DOT, STEP = 4, 9  # a dot's radius, and from one dot to the one above it


def draw_chances(
    draws: Mapping[int, Sequence[pd.DataFrame]],
    marked: int,
    names: Sequence[str] = ("training", "validation", "test"),
) -> Drawing:
    """Draw each part's share of spam in several random splits: a dot for each, rounded to 1 %.

    `draws` has the parts of each seed, in the order of `names`; those of the seed `marked` are drawn
    as an orange square. Raises ValueError where `draws` lacks that seed, for another number of parts
    than names, and for a part that `draw_splits` refuses.
    """
    if marked not in draws:
        raise ValueError(f"no split has the seed {marked}; there are {sorted(draws) or 'none'}")
    percents: list[dict[int, int]] = []  # of each part: seed → spam, rounded to whole percents
    for i, name in enumerate(names):
        for parts in draws.values():
            if len(parts) != len(names):
                raise ValueError(
                    f"a split has {len(parts)} parts, but there are {len(names)} names"
                )
            _check_part(name, parts[i])
        percents.append({s: _percent(parts[i]["Label"]) for s, parts in draws.items()})
    low = min(50, *(min(found.values()) for found in percents)) - 1
    high = max(50, *(max(found.values()) for found in percents)) + 1
    title = f"share of spam in {len(draws)} random splits; square: the split with seed {marked}"
    drawn, lines, y = [text(WIDTH / 2, 18, title, 13, "middle")], [title], 30
    for i, (name, found) in enumerate(zip(names, percents, strict=True)):
        counts = Counter(found.values())
        height = STEP * max(counts.values()) + 16
        axes = Axes((CHANCE_LEFT, y, CHANCE_WIDTH, height), (low, high), (0, 1))
        size = len(draws[marked][i])
        drawn.append(text(20, y + height - 18, name, bold=True))
        drawn.append(text(20, y + height - 2, f"{size:,} messages", size=11))
        drawn.append(path(f"M{CHANCE_LEFT},{y + height}h{CHANCE_WIDTH}", width=1))
        for percent, count in counts.items():
            x, bottom = axes.at(percent, 0)
            is_marked = percent == found[marked]
            for place in range(count):
                middle = bottom - STEP * (place + 0.5) - 1
                if is_marked and place == 0:
                    drawn.append(rect(x - DOT, middle - DOT, 2 * DOT, 2 * DOT, ORANGE, INK))
                else:
                    drawn.append(circle(x, middle, DOT, TOKENS))
        stacks = ", ".join(f"{percent} %: {counts[percent]}" for percent in sorted(counts))
        lines.append(f"{name}, {size:,} messages: {stacks}; with seed {marked}: {found[marked]} %")
        y += height + 12
    for tick in range(low - low % -5, high + 1, 5):
        x, _ = axes.at(tick, 0)
        drawn.append(path(f"M{x:.1f},{y - 12}v4", width=1))
        drawn.append(text(x, y + 5, f"{tick} %", size=11, anchor="middle"))
    return picture(drawn, "\n".join(lines), WIDTH, y + 14)


def _percent(labels: pd.Series) -> int:
    """Return the share of spam in whole percents; a half is rounded up."""
    return (200 * int(labels.sum()) + len(labels)) // (2 * len(labels))


# --- how long they are ----------------------------------------------------------------------------


def draw_lengths(lengths: Sequence[int], unit: str = "tokens") -> Drawing:
    """Draw how many messages have which length, with marks at the median and the longest."""
    lengths = _checked(lengths)
    size = bin_size(max(lengths))
    counts = counted(lengths, size)
    axes = Axes((60, 44, WIDTH - 90, 170), (0, size * len(counts)), (0, max(counts)))
    middle, longest = median(lengths), max(lengths)
    step = bin_size(max(counts), most=5)
    drawn = [
        *_bars(axes, counts, size),
        *axes.drawn(
            f"{unit} in a message",
            "messages",
            _round_ticks(size * len(counts), size, 9),
            range(0, max(counts) + 1, step),
        ),
        *_mark(axes, middle, f"median {middle:g}", above=23),
        *_mark(axes, longest, f"longest {longest}"),
    ]
    words = (
        f"{unit} in a message: shortest {min(lengths)}, median {middle:g}, longest {longest}; "
        f"messages of {_named(counts, size, ',')}"
    )
    return picture(drawn, words, WIDTH, 266)


def bin_size(largest: int, most: int = MOST_BINS) -> int:
    """Return the least round number of which at most `most` bins hold 0 … `largest`."""
    fitting = (size for size in BIN_SIZES if largest // size < most)
    return next(fitting, BIN_SIZES[-1] * (1 + largest // (most * BIN_SIZES[-1])))


def counted(lengths: Sequence[int], size: int) -> list[int]:
    """Return how many lengths lie in each bin: bin i holds i · size … (i + 1) · size - 1."""
    counts = Counter(length // size for length in lengths)
    return [counts[i] for i in range(max(counts) + 1)]


def _bars(axes: Axes, heights: Sequence[float], size: int) -> Iterator[str]:
    """Bars on the x axis of a frame, each of one bin, and the axis."""
    left, top, width, height = axes.frame
    for i, value in enumerate(heights):
        (x, y), (end, _) = axes.at(i * size, value), axes.at((i + 1) * size, value)
        if value:
            yield rect(x + 0.5, y, end - x - 1, top + height - y, TOKENS)
    yield path(f"M{left:g},{top + height:g}h{width:g}", width=1)


def _mark(axes: Axes, value: float, words: str, above: float = 9) -> Iterator[str]:
    """A vertical line at a value, and words so far above the frame."""
    _, top, _, height = axes.frame
    x, _ = axes.at(value, 0)
    yield path(f"M{x:.1f},{top - 6:g}V{top + height + 4:g}", ORANGE, 2)
    yield text(min(x, WIDTH - 50), top - above, words, size=11, anchor="middle")


def _named(values: Sequence[float], size: int, form: str) -> str:
    """Return what each bin holds in words: "0 to 4: 2, 5 to 9: 93"."""
    lows = range(0, size * len(values), size)
    names = [f"{low}" if size == 1 else f"{low} to {low + size - 1}" for low in lows]
    return ", ".join(f"{name}: {value:{form}}" for name, value in zip(names, values, strict=True))


def _round_ticks(last: int, size: int, most: int) -> list[int]:
    """Return at most about `most` whole multiples of a bin's size, from 0."""
    return list(range(0, last + 1, size * max(1, -(-last // (size * most)))))


def _checked(lengths: Sequence[int]) -> list[int]:
    """Return lengths as ints. Raises ValueError for none, and for what is no whole number from 1."""
    found = [whole_number(f"length {i}", n) for i, n in enumerate(lengths, start=1)]
    if not found:
        raise ValueError("there are no lengths to draw; give at least one")
    return found


# --- how they fill batches ------------------------------------------------------------------------

ROW, ROW_STEP = 18, 22  # of a message in one batch
BATCH_LEFT, BATCH_TOP, BATCH_WIDTH = 20, 52, 480
PANEL, PANEL_STEP = 176, 192  # the width of one of three, and from one to the next
PANEL_TOP, PANEL_HEIGHT = 82, 300


def batch_widths(lengths: Sequence[int], batch_size: int) -> list[int]:
    """Return for each message the length of the longest one in its batch.

    A batch is `batch_size` messages that follow each other; the last may be smaller.
    """
    widths: list[int] = []
    for start in range(0, len(lengths), batch_size):
        batch = lengths[start : start + batch_size]
        widths += [max(batch)] * len(batch)
    return widths


def share_of_padding(lengths: Sequence[int], widths: Sequence[int]) -> float:
    """Return which share of all ids is padding, 0 … 1, if message i is filled up to `widths[i]`."""
    return 1 - sum(lengths) / sum(widths)


def draw_batch(lengths: Sequence[int], width: int) -> Drawing:
    """Draw one batch as a rectangle: a row of `width` ids for each message.

    Of a row as many ids as the message is long are tokens, the rest is padding. Raises ValueError
    for no message, and for one that is longer than `width`.
    """
    lengths = _checked(lengths)
    whole_number("width", width, max(lengths), what=", the longest message's length")
    share = share_of_padding(lengths, [width] * len(lengths))
    title = f"a batch of {len(lengths)} rows, {width} ids each: {share:.0%} padding"
    scale = BATCH_WIDTH / width
    drawn = [text(BATCH_LEFT, 18, title, 13), *_key(BATCH_LEFT, 30)]
    y = BATCH_TOP
    for count in lengths:
        drawn.append(rect(BATCH_LEFT, y, BATCH_WIDTH, ROW, PADDING))
        drawn.append(rect(BATCH_LEFT, y, scale * count, ROW, TOKENS))
        drawn.append(text(BATCH_LEFT + BATCH_WIDTH + 8, y + 13, f"{count} + {width - count}"))
        y += ROW_STEP
    if scale >= 3:  # else the ids are too narrow to be told apart
        edges = "".join(
            f"M{BATCH_LEFT + scale * i:.1f},{BATCH_TOP}V{y - ROW_STEP + ROW}"
            for i in range(1, width)
        )
        drawn.append(path(edges, "#ffffff", 0.6))
    rows = [
        f"row {i}: {count} tokens, {width - count} padding"
        for i, count in enumerate(lengths, start=1)
    ]
    return picture(drawn, "\n".join((title, *rows)), WIDTH, y + 4)


def draw_padding(lengths: Sequence[int], batch_size: int = 8) -> Drawing:
    """Draw all messages, one row below the other, filled up in three ways.

    To one length for all; each batch of `batch_size` to its own longest message; and that after
    sorting by length. Above each stands which share of the ids is padding.
    """
    lengths, in_order = _checked(lengths), sorted(_checked(lengths))
    whole_number("batch_size", batch_size)
    longest = max(lengths)
    ways = (
        ("one length for all", lengths, [longest] * len(lengths)),
        ("each batch its own", lengths, batch_widths(lengths, batch_size)),
        ("sorted, each its own", in_order, batch_widths(in_order, batch_size)),
    )
    title = (
        f"{len(lengths):,} messages, one below the other, in batches of {batch_size}; "
        f"full width: {longest} ids"
    )
    drawn = [text(20, 18, title, 13), *_key(20, 30), text(280, 40, "%: the share of padding")]
    lines = [title]
    for i, (name, counts, widths) in enumerate(ways):
        left, share = 20 + PANEL_STEP * i, share_of_padding(counts, widths)
        drawn.append(text(left, PANEL_TOP - 8, f"{name}: {share:.0%}", bold=True))
        for values, colour in ((widths, PADDING), (counts, TOKENS)):
            drawn.append(_silhouette(values, longest, left, colour))
        lines.append(
            f"{name}: rows of {_range(widths)} ids, {sum(widths):,} in all; of them "
            f"{sum(counts):,} are tokens and {share:.0%} padding"
        )
    return picture(drawn, "\n".join(lines), WIDTH, PANEL_TOP + PANEL_HEIGHT + 10)


def _range(widths: Sequence[int]) -> str:
    least, most = min(widths), max(widths)
    return f"{most}" if least == most else f"{least} to {most}"


def _silhouette(values: Sequence[int], longest: int, left: float, colour: str) -> str:
    """Rows of these lengths, one below the other without a gap, as one shape."""
    height, strokes, last = PANEL_HEIGHT / len(values), [f"M{left:g},{PANEL_TOP}"], None
    for i, value in enumerate(values):
        if value != last:  # rows of one length have one edge
            strokes.append(f"V{PANEL_TOP + height * i:.1f}H{left + PANEL * value / longest:.1f}")
        last = value
    strokes.append(f"V{PANEL_TOP + PANEL_HEIGHT}H{left:g}Z")
    return f'<path d="{"".join(strokes)}" fill="{colour}"/>'


def _key(x: float, y: float) -> Iterator[str]:
    """What the two colours stand for."""
    for word, colour, place in (
        ("tokens (dark)", TOKENS, x),
        ("padding (light)", PADDING, x + 120),
    ):
        yield rect(place, y, 14, 12, colour)
        yield text(place + 20, y + 10, word)
