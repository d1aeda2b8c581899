"""What an answer costs: the cross-entropy of one message, by the probability of its correct class.

A picture of how a pretraining goes: its losses beside those of knowing less.

Pictures of messages: what splitting does to them, how long they are, how they fill batches.

Section 6.2 splits messages, section 6.3 puts them into batches. A length is a whole number from 1,
of words or of tokens.

Words as the rows of the token embedding: where they lie, and which lie nearest (section 6.4).

All rows are brought to length 1, so that only their directions count: how alike two of them are is
the cosine of the angle between them, 1 where they point the same way.

The confusion matrix of any number of classes: a row for each correct class, a column for each
that a text was called.

Pictures of runs: which of them nobody beats, and how a training goes while it goes.

Each is SVG with all that it shows in words beside it, as in `diagrams`. The two colours stand out
from white and from black paper; marks and dashes tell the same.
"""

import math
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from statistics import median

import pandas as pd
import tiktoken
import torch
from torch.nn import functional as F

from helpers.checks import finite_number, instance_of, whole_number
from helpers.data import LABELS
from helpers.model import GPTModel
from helpers.tokenizer import get_tokenizer, visible_tokens
from workshop.fast import History
from workshop.inside import main_directions
from workshop.lab import Run
from workshop.own import MOST_CLASSES, ClassFigures
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
    log_ticks,
    mixed,
    path,
    picture,
    rect,
    text,
    whole_ticks,
    within,
)
from workshop.texts import counted as count_of

MOST = 5.0  # nats, at the top of the axis


def draw_loss(p: float) -> Drawing:
    """Draw −ln p for all probabilities, and mark one, 0 < p ≤ 1, with what it costs.

    What costs more than MOST is marked at the top. Raises ValueError for another p.
    """
    p = finite_number("p", p, most=1.0)
    loss = -math.log(p) + 0.0  # and not -0.0
    axes = Axes((62, 34, 470, 220), (0.0, 1.0), (0.0, MOST))
    lowest = math.exp(-MOST)
    steps = [lowest + (1 - lowest) * (i / 100) ** 2 for i in range(101)]  # dense where it is steep
    x, y = axes.at(p, loss)
    middle, bottom = axes.at(0.5, 0)
    words = f"{p:g} for the correct class costs {loss:.2f}"
    drawn = [
        *axes.drawn("probability of the correct class", "loss", (0, 0.25, 0.5, 0.75, 1), range(6)),
        line([(middle, bottom), axes.at(0.5, MOST)], "#767676", 1),
        text(middle + 8, 46, "from here on the correct class is the answer", size=11),
        text(middle + 8, 90, words, size=13, bold=True),
        line([axes.at(step, -math.log(step)) for step in steps], BLUE),
        line([(x, bottom), (x, y)], ORANGE),
        circle(x, y, 6, ORANGE),
    ]
    return picture(drawn, f"the loss −ln p, marked at p = {p:g}: {words}", 580, 300)


WIDTH, HEIGHT = 620, 300


FRAME = (52, 44, 380, 206)


def draw_pretraining(
    losses: Sequence[float],
    validated: Sequence[tuple[int, float]],
    levels: Mapping[str, float],
) -> Drawing:
    """Draw each step's loss, the held-out ones as (step, loss), and `levels` to compare with.

    All losses are in nats; a level is a dotted line across, with its name at the right.
    """
    every = [*losses, *(loss for _, loss in validated), *levels.values()]
    low, high = min(every), max(every)
    room = 0.05 * (high - low) + 0.1
    axes = Axes(FRAME, (0, max(1, len(losses))), (low - room, high + room))
    right = FRAME[0] + FRAME[2]
    ticks = range(0, len(losses) + 1, max(1, len(losses) // 4))
    drawn = [
        *axes.drawn("step", "nats", ticks),
        line([axes.at(step, loss) for step, loss in enumerate(losses, start=1)], BLUE, 0.8),
        line([axes.at(*point) for point in validated], ORANGE),
        *(circle(*axes.at(*point), 3.5, ORANGE, ORANGE) for point in validated),
        text(right, 20, "blue: each step's batch · orange: held out", size=11, anchor="end"),
    ]
    for name, level in levels.items():
        _, y = axes.at(0, level)
        drawn.append(path(f"M{FRAME[0]:g},{length(y)}H{right:g}", width=1, dashes="2 4"))
        drawn.append(text(right + 6, y + 4, f"{name}: {level:.1f}", size=11))
    return picture(drawn, _say(losses, validated, levels), WIDTH, HEIGHT)


def _say(losses, validated, levels) -> str:
    held_out = "; ".join(f"after step {step} {loss:.1f}" for step, loss in validated)
    compared = ", ".join(f"{name} {level:.1f}" for name, level in levels.items())
    ends = f" from {losses[0]:.1f} to {losses[-1]:.1f}" if len(losses) else ": no step yet"
    return f"loss of the batches{ends} nats; held out: {held_out}. To compare with: {compared}."


WIDTH_messages = 600  # what a window of 800 pixels has room for


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
    return picture(drawn, "\n".join(lines), WIDTH_messages, y)


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
    drawn, lines, y = [text(WIDTH_messages / 2, 18, title, 13, "middle")], [title], 30
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
    return picture(drawn, "\n".join(lines), WIDTH_messages, y + 14)


def _percent(labels: pd.Series) -> int:
    """Return the share of spam in whole percents; a half is rounded up."""
    return (200 * int(labels.sum()) + len(labels)) // (2 * len(labels))


# --- how long they are ----------------------------------------------------------------------------


def draw_lengths(lengths: Sequence[int], unit: str = "tokens") -> Drawing:
    """Draw how many messages have which length, with marks at the median and the longest."""
    lengths = _checked(lengths)
    size = bin_size(max(lengths))
    counts = counted(lengths, size)
    axes = Axes((60, 44, WIDTH_messages - 90, 170), (0, size * len(counts)), (0, max(counts)))
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
    return picture(drawn, words, WIDTH_messages, 266)


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
    yield text(min(x, WIDTH_messages - 50), top - above, words, size=11, anchor="middle")


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
    return picture(drawn, "\n".join((title, *rows)), WIDTH_messages, y + 4)


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
    return picture(drawn, "\n".join(lines), WIDTH_messages, PANEL_TOP + PANEL_HEIGHT + 10)


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


WIDTH_words = 600  # what a window of 800 pixels has room for


AT_ONCE = 8192  # rows in float64: all of a large model's would take half a gigabyte


def word_id(word: str, tokenizer: tiktoken.Encoding) -> int:
    """Return the id of a word inside a sentence, that is with a space before it.

    Raises ValueError for an empty word, and for one that is more than one token.
    """
    instance_of("a word", word, str, "a text")
    if not word.strip():
        raise ValueError(f"a word must have a letter, not {word!r}")
    ids = tokenizer.encode(f" {word.strip()}", disallowed_special=())
    if len(ids) != 1:
        raise ValueError(f"{word!r} is {len(ids)} tokens; give a word that is one token")
    return ids[0]


def _unit_rows(model: GPTModel, ids: Sequence[int]) -> torch.Tensor:
    """Return the embedding's rows of some tokens at length 1: float64 (k, emb_dim), on the CPU."""
    instance_of("model", model, torch.nn.Module, "a GPTModel")
    return F.normalize(model.tok_emb.weight.detach()[list(ids)].double().cpu(), dim=-1)


# --- the nearest ones -----------------------------------------------------------------------------


def nearest_tokens(
    model: GPTModel, word: str, count: int = 6, tokenizer: tiktoken.Encoding | None = None
) -> list[tuple[str, float]]:
    """Return the tokens whose rows are most alike to that of a word, and how alike: (token, cosine).

    Of all tokens but the word itself, the most alike first; a token's space is shown as ␣.
    """
    tokenizer = tokenizer or get_tokenizer()
    whole_number("count", count, 1, 20)
    token_id = word_id(word, tokenizer)
    (row,), every = _unit_rows(model, [token_id]), torch.arange(tokenizer.n_vocab)
    alike = torch.cat([_unit_rows(model, some.tolist()) @ row for some in every.split(AT_ONCE)])
    alike[token_id] = -torch.inf
    best = alike.topk(count)
    tokens = visible_tokens(best.indices.tolist(), tokenizer)
    return list(zip(tokens, best.values.tolist(), strict=True))


NEAR_COLUMNS, NEAR_STEP, NEAR_BAR = 3, 20, 60  # beside each other; of a line; of a cosine of 1


def draw_nearest(
    model: GPTModel,
    words: Sequence[str],
    count: int = 6,
    tokenizer: tiktoken.Encoding | None = None,
) -> Drawing:
    """Draw for each word the `count` tokens of all that are most alike, a bar for how alike.

    Raises ValueError for no word, and for one that is more than one token.
    """
    instance_of("words", words, (list, tuple), "a list of words")
    if not words:
        raise ValueError("there is no word to draw; give at least one")
    title = "the most alike of all tokens, and the cosine between the two rows"
    drawn, lines = [text(20, 18, title, 13)], [title]
    column, block = (WIDTH_words - 40) / NEAR_COLUMNS, NEAR_STEP * count + 44
    for i, word in enumerate(words):
        found = nearest_tokens(model, word, count, tokenizer)
        x, top = 20 + column * (i % NEAR_COLUMNS), 48 + block * (i // NEAR_COLUMNS)
        drawn.append(text(x, top, word.strip(), 13, bold=True))
        for place, (token, cosine) in enumerate(found, start=1):
            y = top + NEAR_STEP * place
            drawn.append(rect(x, y - 11, NEAR_BAR * max(0.0, round(cosine, 2)), 14, "#bcdcf2"))
            drawn.append(text(x + 4, y, f"{cosine:.2f}", size=11, fill=TEXT))
            drawn.append(text(x + NEAR_BAR + 8, y, _short(token), mono=True))
        lines.append(f"{word.strip()}: {', '.join(f'{t} {c:.2f}' for t, c in found)}")
    rows = -(-len(words) // NEAR_COLUMNS)
    return picture(drawn, "\n".join(lines), WIDTH_words, 48 + block * rows - 30)


def _short(token: str) -> str:
    return token if len(token) <= 15 else token[:14] + "…"


# --- a map ----------------------------------------------------------------------------------------

MAP = (20, 78, 560, 380)  # left, top, width, height of the frame


NEAR_EDGE = 40  # pixels that are left free inside the frame


LETTER, LINE = 7.0, 14  # of a word beside its mark


MARKS = (  # of the groups: how each is drawn, at (x, y), and in which colour
    ("disc", BLUE),
    ("square", ORANGE),
    ("triangle", "#007a5a"),
    ("diamond", "#a3326e"),
    ("cross", "#555555"),
)


def draw_words(
    model: GPTModel,
    groups: Mapping[str, Sequence[str]],
    tokenizer: tiktoken.Encoding | None = None,
) -> Drawing:
    """Draw where words lie along the two directions in which their rows differ most.

    `groups` holds at most five lists of words; each has a mark of its own, but where a word lies
    does not depend on its group. The title says how much of the words' variance these two
    directions carry. Raises ValueError for other numbers of groups, for fewer than three words, and
    for a word that is more than one token.
    """
    instance_of("groups", groups, Mapping, "a dictionary: a group's name and its words")
    if not 1 <= len(groups) <= len(MARKS):
        raise ValueError(f"give 1 to {len(MARKS)} groups, not {len(groups)}")
    tokenizer = tokenizer or get_tokenizer()
    named = [(name, word.strip()) for name, words in groups.items() for word in words]
    if len(named) < 3:
        raise ValueError(f"a map needs at least three words, not {len(named)}")
    rows = _unit_rows(model, [word_id(word, tokenizer) for _, word in named])
    directions = main_directions(rows, 2)
    places = _in_the_frame(directions.place(rows))
    title = f"{len(named)} words along the two directions in which their rows differ most"
    carried = f"these two carry {directions.shares.sum().item():.0%} of the variance"
    drawn = [
        text(WIDTH_words / 2, 18, title, 13, "middle"),
        text(WIDTH_words / 2, 36, carried, 12, "middle"),
    ]
    left, top, width, height = MAP
    drawn.append(
        f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" '
        'stroke="#767676"/>'
    )
    x = left
    for (mark, colour), name in zip(MARKS, groups, strict=False):
        drawn.append(_mark_words(mark, colour, x + 6, 56))
        drawn.append(text(x + 18, 60, name))
        x += 40 + LETTER * len(name)
    marks = dict(zip(groups, MARKS, strict=False))
    boxes = [(x - 7, y - 7, x + 7, y + 7) for x, y in places]
    for (name, word), (x, y) in zip(named, places, strict=True):
        box = _free_place(x, y, LETTER * len(word), boxes)
        boxes.append(box)
        drawn += _tie(x, y, box)
        drawn.append(_mark_words(*marks[name], x, y))
        drawn.append(text(box[0], box[3] - 3, word))
    lines = [title, carried]
    for name in groups:
        at = ", ".join(
            f"{word} {round(100 * (x - left) / width)} % across, "
            f"{round(100 * (top + height - y) / height)} % up"
            for (group, word), (x, y) in zip(named, places, strict=True)
            if group == name
        )
        lines.append(f"{name} ({marks[name][0]}): {at}")
    return picture(drawn, "\n".join(lines), WIDTH_words, top + height + 14)


def _in_the_frame(points: torch.Tensor) -> list[tuple[int, int]]:
    """Return where points (k, 2) stand in the frame, in whole pixels, one scale for both axes."""
    left, top, width, height = MAP
    low, high = points.min(dim=0).values, points.max(dim=0).values
    room = torch.tensor([width, height]) - 2 * NEAR_EDGE
    scale = (room / (high - low).clamp(min=1e-9)).min()
    middle = (low + high) / 2
    return [
        (round(left + width / 2 + x), round(top + height / 2 - y))
        for x, y in ((points - middle) * scale).tolist()
    ]


Box = tuple[float, float, float, float]  # left, top, right, bottom


def _free_place(x: int, y: int, width: float, taken: Sequence[Box]) -> Box:
    """Return the nearest place around a mark where a word of a width lies on nothing else.

    Where there is none, it is the one on the mark's right.
    """
    left, top, frame_width, frame_height = MAP
    places = []
    for away in range(10, 160, 5):
        for degrees in (0, 180, 345, 15, 165, 195, 330, 30, 150, 210, 300, 60, 120, 240, 270, 90):
            right, down = (round(away * way(math.radians(degrees))) for way in (math.cos, math.sin))
            start = x + right - (0 if right > 4 else width if right < -4 else width / 2)
            places.append((start, y + down - LINE / 2, start + width, y + down + LINE / 2))
    for box in places:
        inside = left + 2 < box[0] and box[2] < left + frame_width - 2
        inside = inside and top + 2 < box[1] and box[3] < top + frame_height - 2
        if inside and not any(_meet(box, other) for other in taken):
            return box
    return places[0]


def _meet(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _tie(x: int, y: int, box: Box) -> Iterator[str]:
    """A thin line from a mark to its word, where that is not beside it."""
    near_x, near_y = min(max(x, box[0]), box[2]), min(max(y, box[1] + 4), box[3] - 4)
    if abs(near_x - x) + abs(near_y - y) > 15:
        yield path(f"M{x},{y}L{near_x:g},{near_y:g}", "#999999", 0.7)


def _mark_words(kind: str, colour: str, x: float, y: float) -> str:
    """A mark of a group, about ten pixels wide."""
    if kind == "disc":
        return circle(x, y, 4.5, colour)
    if kind == "square":
        return rect(x - 4, y - 4, 8, 8, colour)
    if kind == "cross":
        return path(f"M{x - 4:g},{y - 4:g}l8,8m0,-8l-8,8", colour, 2.5)
    corners = (
        ((0, -6), (6, 5), (-6, 5)) if kind == "triangle" else ((0, -6), (6, 0), (0, 6), (-6, 0))
    )
    points = " ".join(f"{x + right:g},{y + down:g}" for right, down in corners)
    return f'<polygon points="{points}" fill="{colour}"/>'


WIDTH_class_matrix = 640  # of the fields and the names, where there are few classes


LARGEST_FIELD, GAP, EDGE = 92, 2, 10


WIDEST_NAME = 220  # pixels of a name beside a row


EMPTY, GROUND, STRONG = "#f2f2f2", 0.1, 0.55  # a field of no text; how much colour the others have


TOP = 58  # where the fields begin


def draw_class_matrix(figures: ClassFigures) -> Drawing:
    """Draw how many texts of each class (rows) were called what (columns).

    The fields on the diagonal, in a frame and blue, are right answers; the others, orange, are
    mistakes; the stronger the colour, the larger the field's share of its row. Classes are in the
    order of `figures.labels`; of more than MOST_CLASSES only the largest are drawn, and a line
    says what is left out. Raises TypeError for what are no ClassFigures.
    """
    instance_of("figures", figures, ClassFigures, "what class_figures returns")
    numbers = _drawn_classes(figures)
    names = [_one_line(figures.labels[number]) for number in numbers]
    table = figures.table[numbers][:, numbers].tolist()
    most = max(max(row) for row in table)
    smallest = _width(_short_count(most), 11) + 8
    side = max(
        smallest,
        min(LARGEST_FIELD, (WIDTH_class_matrix - WIDEST_NAME - 2 * EDGE) / len(names) - GAP),
    )
    numbered = any(_width(name, 12) > side + GAP - 6 for name in names)
    heads = [str(place) for place in range(1, len(names) + 1)] if numbered else names
    sides = [f"{head} {name}" for head, name in zip(heads, names, strict=True)]
    beside = [_shortened(name, WIDEST_NAME) for name in (sides if numbered else names)]
    left = EDGE + max(_width("correct", 12), *(_width(name, 12) for name in beside)) + 8
    right = left + len(names) * (side + GAP)
    width = max(right + EDGE, 380)

    drawn = [text(left, 18, "called", bold=True, size=13)]
    drawn.append(text(left - 8, TOP - 10, "correct", anchor="end", size=13, bold=True))
    for place, head in enumerate(heads):
        middle = left + place * (side + GAP) + side / 2
        drawn.append(text(middle, TOP - 10, head, anchor="middle"))
    for row, (name, counts) in enumerate(zip(beside, table, strict=True)):
        y = TOP + row * (side + GAP)
        drawn.append(text(left - 8, y + side / 2 + 4, name, anchor="end"))
        for column, count in enumerate(counts):
            share = count / (sum(figures.table[numbers[row]].tolist()) or 1)
            drawn += _field(left + column * (side + GAP), y, side, count, share, row == column)
    bottom = TOP + len(names) * (side + GAP)
    notes = ["in a frame: right; the others: mistakes", *_left_out(figures, numbers)]
    for number, note in enumerate(notes):
        drawn.append(text(EDGE, bottom + 18 + 18 * number, note, size=11))
    widest = max(_width(note, 11) for note in notes) + 2 * EDGE
    height = bottom + 8 + 18 * len(notes) + 6
    return picture(drawn, _words(figures, numbers), round(max(width, widest)), round(height))


def _drawn_classes(figures: ClassFigures) -> list[int]:
    """Return the numbers of the classes that are drawn, in their order: the largest ones."""
    sizes = figures.table.sum(axis=1).tolist()
    largest = sorted(range(len(sizes)), key=lambda number: -sizes[number])[:MOST_CLASSES]
    return sorted(largest)


def _field(
    x: float, y: float, side: float, count: int, share: float, is_right: bool
) -> Iterator[str]:
    colour = BLUE if is_right else ORANGE
    fill = mixed(GROUND + (STRONG - GROUND) * share, colour) if count else EMPTY
    yield rect(x, y, side, side, fill)
    if is_right:  # the frame lies inside the field, so that it stands out on any paper
        yield rect(x + 2, y + 2, side - 4, side - 4, fill, TEXT)
    size = 14 if side >= 44 else 11
    words = _short_count(count)
    yield text(
        x + side / 2, y + side / 2 + size / 3, words, size, "middle", bold=is_right, fill=TEXT
    )


def _left_out(figures: ClassFigures, numbers: list[int]) -> list[str]:
    rest = len(figures.labels) - len(numbers)
    if not rest:
        return []
    outside = figures.total - int(figures.table[numbers][:, numbers].sum())
    classes = "1 class is" if rest == 1 else f"{rest:,} classes are"
    return [
        f"the {len(numbers)} largest classes; {classes} left out, "
        f"and {count_of(outside, 'text')} that are or were called so"
    ]


def _words(figures: ClassFigures, numbers: list[int]) -> str:
    names = {number: _one_line(figures.labels[number]) for number in numbers}
    lines = [
        f"the confusion matrix of {count_of(figures.total, 'text')}, {figures.right:,} of them right"
    ]
    for number in numbers:
        counts = figures.table[number].tolist()
        called = sorted((n for n in numbers if n != number and counts[n]), key=lambda n: -counts[n])
        mistakes = ", ".join(f"{counts[n]:,} called {names[n]}" for n in called)
        lines.append(
            f"{names[number]}, {count_of(sum(counts), 'text')}: {counts[number]:,} right"
            f"{f', {mistakes}' if mistakes else ''}"
        )
    lines += _left_out(figures, numbers)
    return "\n".join(lines)


# --- names and numbers in little room -------------------------------------------------------------


def _one_line(name: str) -> str:
    """Return a name without line ends, and without what no SVG can hold."""
    return "".join(c if c.isprintable() else "\ufffd" for c in " ".join(name.split()))


def _short_count(count: int) -> str:
    """Return a count in at most four characters or so: "9999", "12k", "3M"."""
    if count < 10_000:
        return str(count)
    return f"{count // 1000}k" if count < 1_000_000 else f"{count // 1_000_000}M"


def _shortened(name: str, room: float) -> str:
    if _width(name, 12) <= room:
        return name
    while name and _width(f"{name}…", 12) > room:
        name = name[:-1]
    return f"{name.rstrip()}…"


def _width(words: str, size: float) -> float:
    """Return about how many pixels words take, in a wide font."""
    return size * sum(map(_ems, words))


def _ems(character: str) -> float:
    if unicodedata.combining(character):
        return 0.0
    if unicodedata.east_asian_width(character) in "WF" or ord(character) > 0x2E7F:
        return 1.3
    return 1.0 if character in "mwMW@%…—" else 0.8 if character.isupper() else 0.65


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
