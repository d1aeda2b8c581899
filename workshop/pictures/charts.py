"""Charts of the messages, the embedding, trainings and runs.

A chart that is drawn once is a matplotlib figure, shown as SVG. What a widget draws again and again
(the loss, a training, the runs) is drawn with `svg`, which takes a few milliseconds. Fractions and
coordinates are rounded before they are drawn, so that a chart is the same on another processor.
"""

import io
import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from operator import attrgetter
from statistics import median

import numpy as np
import pandas as pd
import tiktoken
import torch
from matplotlib import rc_context
from matplotlib.axes import Axes as Plot
from matplotlib.colors import LinearSegmentedColormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from torch.nn import functional as F

from helpers.checks import finite_number, whole_number
from helpers.model import GPTModel
from helpers.tokenizer import get_tokenizer, visible_tokens
from workshop.fast import History
from workshop.inside import main_directions
from workshop.lab import Run
from workshop.own import MOST_CLASSES, ClassFigures
from workshop.pictures.svg import (
    BLUE,
    GREY,
    ORANGE,
    TEXT,
    Axes,
    Drawing,
    chip_width,
    circle,
    line,
    picture,
    rect,
    round_ticks,
    shortened,
    text,
    within,
)
from workshop.texts import counted

WIDTH = 600  # pixels; JupyterLab in a window of 800 pixels has room for it
TOKENS, PADDING = BLUE, "#f6d9b8"  # dark and light: they differ without any colour
HAM, SPAM = "#bcdcf2", "#f2b88a"  # dark words stand out on both
STYLE = {  # of a matplotlib figure
    "font.size": 11,
    "font.sans-serif": ["DejaVu Sans"],
    "axes.titlesize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,  # a "$" in a token is a dollar sign
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "course",  # the same figure gets the same ids
}


@dataclass(frozen=True, repr=False)
class Chart(Drawing):
    """A drawing that was plotted with matplotlib; `figure` is the matplotlib figure."""

    figure: Figure


def new_figure(width: float, height: float) -> Figure:
    """Return an empty matplotlib figure; its unit is the point, and a chart's point is a pixel."""
    return Figure((width / 72, height / 72), layout="constrained")


def chart(figure: Figure, words: str) -> Chart:
    """Return a matplotlib figure as a chart; `words` is all that it shows, as text."""
    file = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the browser has the letters, if not our font
        figure.savefig(file, format="svg")
    svg = file.getvalue()
    inside = svg[svg.index('<g id="figure_1">') : svg.rindex("</svg>")]
    width, height = (72 * figure.get_size_inches()).round().tolist()
    drawing = picture([inside.replace("xlink:href", "href")], words, width, height)
    return Chart(drawing.svg, words, figure)


def draw_grid(plot: Plot, values: np.ndarray, colour_map, texts: Sequence[Sequence[str]]) -> None:
    """Draw a table of fields, coloured by `values` from -1 to 1, with a text in each."""
    plot.pcolormesh(values, cmap=colour_map, vmin=-1.5, vmax=1.5, edgecolors="#dddddd")
    for row, cells in enumerate(texts):
        for column, cell in enumerate(cells):
            plot.text(column + 0.5, row + 0.5, cell, ha="center", va="center", color=TEXT)
    plot.invert_yaxis()
    plot.xaxis.tick_top()
    plot.tick_params(length=0)
    plot.spines[:].set_visible(False)


# --- messages: how they are split, and how long they are ------------------------------------------


@rc_context(STYLE)
def draw_splits(parts: Mapping[str, pd.DataFrame]) -> Chart:
    """Return a chart of each part's fractions of ham and spam, and of its messages' lengths.

    A part is a table with the columns `Label` (0 ham, 1 spam) and `Text`. The lengths, in words, are
    drawn as fractions of the part's messages, all on one scale. Raises ValueError for no part, and
    for a part without messages or with other labels.
    """
    if not parts:
        raise ValueError("there is no part to draw; give at least one")
    for name, part in parts.items():
        check_part(name, part)
    lengths = {name: part["Text"].str.split().str.len() for name, part in parts.items()}
    edges = bin_edges(max(values.max() for values in lengths.values()))
    figure, lines = new_figure(WIDTH, 30 + 118 * len(parts)), []
    grid = figure.subplots(len(parts), 2, sharex="col", sharey="col", squeeze=False)
    for (name, part), (bar, histogram) in zip(parts.items(), grid, strict=True):
        fraction, middle = part["Label"].mean(), lengths[name].median()
        ham, spam = (int((part["Label"] == label).sum()) for label in (0, 1))
        bars = bar.barh(0, [1 - fraction, fraction], left=[0, 1 - fraction], color=[HAM, SPAM])
        bar.bar_label(bars, [f"{ham} ham", f"{spam} spam"], label_type="center")
        bar.axvline(0.5, color=TEXT)
        bar.set_title(f"{name}: {len(part):,} messages, {fraction:.1%} spam", loc="left")
        bar.set_axis_off()
        shares = np.histogram(lengths[name], edges)[0] / len(part)
        histogram.stairs(shares, edges, fill=True, color=BLUE)
        histogram.axvline(middle, color=ORANGE)
        histogram.set_title(f"median {middle:g}", loc="right")
        histogram.set_yticks([])
        lines.append(
            f"{name}: {len(part):,} messages, {ham} ham, {spam} spam, {fraction:.1%} spam; words in "
            f"a message: median {middle:g}; shares of the messages: "
            f"{_describe_bins(shares, edges, '.0%')}"
        )
    histogram.set_xlabel("words in a message")
    return chart(figure, "\n".join(lines))


def check_part(name: str, part: pd.DataFrame) -> None:
    """Raise ValueError for a part without messages, and for labels that are not 0 or 1."""
    if part.empty:
        raise ValueError(f"the part {name!r} has no messages")
    wrong = part.loc[~part["Label"].isin((0, 1)), "Label"]
    if len(wrong):
        raise ValueError(
            f"a label of the part {name!r} must be 0 (ham) or 1 (spam), not {wrong.iloc[0]!r}"
        )


@rc_context(STYLE)
def draw_chances(
    draws: Mapping[int, Sequence[pd.DataFrame]],
    marked: int,
    names: Sequence[str] = ("training", "validation", "test"),
) -> Chart:
    """Return a chart of the percentage of spam in each part of several random splits.

    `draws` has the parts of each seed, in the order of `names`. There is a dot for each seed; the
    seed `marked` is an orange square. Raises ValueError where `draws` lacks that seed, and for a
    part that `draw_splits` refuses.
    """
    if marked not in draws:
        raise ValueError(f"no split has the seed {marked}; there are {sorted(draws) or 'none'}")
    title = f"share of spam in {len(draws)} random splits; square: the split with seed {marked}"
    figure, lines = new_figure(WIDTH, 60 + 110 * len(names)), [title]
    figure.suptitle(title)
    plots = figure.subplots(len(names), sharex=True, squeeze=False)[:, 0]
    for i, (name, plot) in enumerate(zip(names, plots, strict=True)):
        percents = {}
        for seed, parts in draws.items():
            check_part(name, parts[i])
            percents[seed] = math.floor(100 * parts[i]["Label"].mean() + 0.5)
        counts = Counter(percents.values())
        for percent, count in counts.items():
            plot.plot([percent] * count, range(count), "o", color=BLUE)
        plot.plot(percents[marked], 0, "s", color=ORANGE)
        plot.set_title(f"{name}, {len(parts[i]):,} messages", loc="left")
        plot.set_ylim(-1, max(counts.values()))
        plot.yaxis.set_visible(False)
        plot.spines.left.set_visible(False)
        stacks = ", ".join(f"{percent} %: {counts[percent]}" for percent in sorted(counts))
        lines.append(
            f"{name}, {len(parts[i]):,} messages: {stacks}; with seed {marked}: {percents[marked]} %"
        )
    plot.xaxis.set_major_formatter("{x:g} %")
    return chart(figure, "\n".join(lines))


@rc_context(STYLE)
def draw_lengths(lengths: Sequence[int], unit: str = "tokens") -> Chart:
    """Return a histogram of the messages' lengths, with marks at the median and the longest."""
    lengths = _check_lengths(lengths)
    middle, longest, edges = median(lengths), max(lengths), bin_edges(max(lengths))
    counts, _ = np.histogram(lengths, edges)
    figure = new_figure(WIDTH, 266)
    plot = figure.subplots()
    plot.stairs(counts, edges, fill=True, color=BLUE)
    for value, name, height in ((middle, "median", 1.08), (longest, "longest", 1.02)):
        plot.axvline(value, color=ORANGE)
        transform = plot.get_xaxis_transform()
        plot.text(value, height, f"{name} {value:g}", ha="center", transform=transform)
    plot.set(xlabel=f"{unit} in a message", ylabel="messages")
    words = (
        f"{unit} in a message: shortest {min(lengths)}, median {middle:g}, longest {longest}; "
        f"messages of {_describe_bins(counts, edges, ',')}"
    )
    return chart(figure, words)


def bin_edges(largest: int) -> np.ndarray:
    """Return the edges of at most 20 bins of a round, whole size that hold 0 … `largest`."""
    locator = MaxNLocator(20, steps=[1, 2, 5, 10], integer=True)
    return locator.tick_values(0, largest + 1).astype(int)


def _describe_bins(values: Sequence[float], edges: np.ndarray, form: str) -> str:
    """Return what each bin holds in words: "0 to 4: 2, 5 to 9: 93"."""
    lines = []
    for value, low, high in zip(values, edges[:-1], edges[1:] - 1, strict=True):
        name = f"{low}" if low == high else f"{low} to {high}"
        lines.append(f"{name}: {value:{form}}")
    return ", ".join(lines)


def _check_lengths(lengths: Sequence[int]) -> list[int]:
    """Return lengths as ints. Raises ValueError for none, and for what is no whole number from 1."""
    if not len(lengths):
        raise ValueError("there are no lengths to draw; give at least one")
    return [whole_number(f"length {i}", value) for i, value in enumerate(lengths, start=1)]


# --- messages: how they fill batches --------------------------------------------------------------


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
    """Return which fraction of all ids is padding, 0 … 1, if message i is padded to `widths[i]`."""
    return 1 - sum(lengths) / sum(widths)


@rc_context(STYLE)
def draw_batch(lengths: Sequence[int], width: int) -> Chart:
    """Return a chart of one batch as a rectangle: a row of `width` ids for each message.

    Raises ValueError for no message, and for one that is longer than `width`.
    """
    lengths = _check_lengths(lengths)
    whole_number("width", width, max(lengths), what=", the longest message's length")
    share = share_of_padding(lengths, [width] * len(lengths))
    title = f"a batch of {len(lengths)} rows, {width} ids each: {share:.0%} padding"
    figure, rows, lines = new_figure(WIDTH, 90 + 22 * len(lengths)), range(len(lengths)), [title]
    plot = figure.subplots()
    plot.barh(rows, width, color=PADDING, label="padding (light)")
    plot.barh(rows, lengths, color=TOKENS, label="tokens (dark)")
    if width <= 160:  # else the ids are too narrow to be told apart
        plot.vlines(range(1, width), -0.5, len(lengths) - 0.5, "white", linewidth=0.6)
    for i, count in enumerate(lengths):
        plot.text(width + 0.5, i, f"{count} + {width - count}", va="center")
        lines.append(f"row {i + 1}: {count} tokens, {width - count} padding")
    plot.invert_yaxis()
    plot.set_axis_off()
    plot.set_title(title, loc="left")
    figure.legend(loc="outside lower left", ncols=2, frameon=False)
    return chart(figure, "\n".join(lines))


@rc_context(STYLE)
def draw_padding(lengths: Sequence[int], batch_size: int = 8) -> Chart:
    """Return a chart of all messages, one row below the other, padded in three ways.

    To one length for all; each batch of `batch_size` to its own longest message; and that after
    sorting by length. Above each stands which percentage of the ids is padding.
    """
    lengths = _check_lengths(lengths)
    whole_number("batch_size", batch_size)
    longest, in_order = max(lengths), sorted(lengths)
    ways = {
        "one length for all": (lengths, [longest] * len(lengths)),
        "each batch its own": (lengths, batch_widths(lengths, batch_size)),
        "sorted, each its own": (in_order, batch_widths(in_order, batch_size)),
    }
    title = (
        f"{len(lengths):,} messages, one below the other, in batches of {batch_size}; "
        f"full width: {longest} ids"
    )
    figure, lines = new_figure(WIDTH, 400), [title]
    colours = ListedColormap([TOKENS, PADDING, "white"])
    figure.suptitle(title)
    for plot, (name, (counts, widths)) in zip(figure.subplots(1, 3), ways.items(), strict=True):
        share = share_of_padding(counts, widths)
        position = np.arange(longest)
        kinds = (position >= np.array(counts)[:, None]).astype(int)  # 0 a token, 1 padding, 2 no id
        kinds += position >= np.array(widths)[:, None]
        plot.imshow(kinds, colours, vmin=0, vmax=2, interpolation="none", aspect="auto")
        plot.set_title(f"{name}:\n{share:.0%} padding")
        plot.set_axis_off()
        span = f"{min(widths)} to {longest}" if min(widths) < longest else f"{longest}"
        lines.append(
            f"{name}: rows of {span} ids, {sum(widths):,} in all; of them {sum(counts):,} are tokens "
            f"and {share:.0%} padding"
        )
    figure.supxlabel("dark: tokens · light: padding", fontsize=11)
    return chart(figure, "\n".join(lines))


# --- words as the rows of the token embedding -----------------------------------------------------


def word_id(word: str, tokenizer: tiktoken.Encoding) -> int:
    """Return the id of a word inside a sentence, that is with a space before it.

    Raises ValueError for an empty word, and for one that is more than one token.
    """
    if not word.strip():
        raise ValueError(f"a word must have a letter, not {word!r}")
    ids = tokenizer.encode(f" {word.strip()}", disallowed_special=())
    if len(ids) != 1:
        raise ValueError(f"{word!r} is {len(ids)} tokens; give a word that is one token")
    return ids[0]


def unit_rows(model: GPTModel) -> torch.Tensor:
    """Return the token embedding's rows, each divided by its length: (vocab_size, emb_dim)."""
    return F.normalize(model.tok_emb.weight.detach().float().cpu(), dim=-1)


def nearest_tokens(
    model: GPTModel, word: str, count: int = 6, tokenizer: tiktoken.Encoding | None = None
) -> list[tuple[str, float]]:
    """Return the tokens most similar to a word, with the cosine similarity of their embeddings.

    The most similar comes first; the word itself is left out. A token's space is shown as ␣.
    """
    tokenizer = tokenizer or get_tokenizer()
    whole_number("count", count, 1, 20)
    token_id, rows = word_id(word, tokenizer), unit_rows(model)
    cosines = rows @ rows[token_id]
    cosines[token_id] = -torch.inf
    best = cosines.topk(count)
    return list(
        zip(visible_tokens(best.indices.tolist(), tokenizer), best.values.tolist(), strict=True)
    )


@rc_context(STYLE)
def draw_nearest(
    model: GPTModel,
    words: Sequence[str],
    count: int = 6,
    tokenizer: tiktoken.Encoding | None = None,
) -> Chart:
    """Return a chart of the `count` tokens most similar to each word, a bar for each cosine.

    Raises ValueError for no word, and for one that is more than one token.
    """
    if not words or isinstance(words, str):
        raise ValueError(f"give a list of at least one word, not {words!r}")
    title = "the most alike of all tokens, and the cosine between the two rows"
    num_rows, lines = math.ceil(len(words) / 3), [title]
    figure = new_figure(WIDTH, 40 + (36 + 20 * count) * num_rows)
    figure.suptitle(title)
    plots = figure.subplots(num_rows, 3, squeeze=False).flatten()
    for plot, word in zip(plots, words, strict=False):
        found = nearest_tokens(model, word, count, tokenizer)
        tokens, cosines = zip(*found, strict=True)
        bars = plot.barh(range(count), np.round(cosines, 2), color=HAM)
        plot.bar_label(bars, fmt="%.2f", label_type="center")
        plot.set_yticks(range(count), [shortened(token, 15) for token in tokens])
        plot.set_title(word.strip(), loc="left", fontweight="bold")
        plot.set(xlim=(0, 1), ylim=(count - 0.5, -0.5))
        plot.xaxis.set_visible(False)
        plot.tick_params(length=0)
        plot.spines[:].set_visible(False)
        lines.append(f"{word.strip()}: {', '.join(f'{t} {c:.2f}' for t, c in found)}")
    for plot in plots[len(words) :]:
        plot.set_axis_off()
    return chart(figure, "\n".join(lines))


MARKERS = {  # of the groups
    "disc": ("o", BLUE),
    "square": ("s", ORANGE),
    "triangle": ("^", "#007a5a"),
    "diamond": ("D", "#a3326e"),
    "cross": ("x", "#555555"),
}


@rc_context(STYLE)
def draw_words(
    model: GPTModel,
    groups: Mapping[str, Sequence[str]],
    tokenizer: tiktoken.Encoding | None = None,
) -> Chart:
    """Return a map of words along the two directions in which their embeddings differ most.

    `groups` holds at most five lists of words, each with a marker of its own; where a word lies
    does not depend on its group. The title says which percentage of the words' variance these two
    directions carry. Raises ValueError for other numbers of groups, for fewer than three words, and
    for a word that is more than one token.
    """
    if not 1 <= len(groups) <= len(MARKERS):
        raise ValueError(f"give 1 to {len(MARKERS)} groups, not {len(groups)}")
    tokenizer = tokenizer or get_tokenizer()
    words = [word.strip() for group in groups.values() for word in group]
    if len(words) < 3:
        raise ValueError(f"a map needs at least three words, not {len(words)}")
    rows = unit_rows(model)[[word_id(word, tokenizer) for word in words]]
    directions = main_directions(rows)
    places = directions.place(rows).numpy().round(2)
    title = f"{len(words)} words along the two directions in which their rows differ most"
    carried = f"these two carry {directions.shares.sum().item():.0%} of the variance"
    figure, lines, start = new_figure(WIDTH, 470), [title, carried], 0
    plot = figure.subplots()
    plot.set_title(f"{title}\n{carried}")
    plot.set_aspect("equal")
    plot.margins(0.15, 0.1)
    gap = 0.045 * np.ptp(places, axis=0).max()  # from one label to the next
    for (kind, (marker, colour)), name in zip(MARKERS.items(), groups, strict=False):
        group = pd.DataFrame(places[start:], words[start:], ["x", "y"])[: len(groups[name])]
        start += len(group)
        plot.plot(group["x"], group["y"], marker, color=colour, label=name)
        half, by_x = len(group) // 2, group.sort_values("x")
        left, right = group["x"].min() - gap, group["x"].max() + gap
        for side, x, align in ((by_x[:half], left, "right"), (by_x[half:], right, "left")):
            # the labels stand in a column on either side of the group, in the order of their height
            for i, (word, place) in enumerate(side.sort_values("y").iterrows()):
                y = side["y"].mean() + gap * (i - (len(side) - 1) / 2)
                tie = {"arrowstyle": "-", "color": GREY, "linewidth": 0.5}
                plot.annotate(word, place, (x, y), ha=align, va="center", arrowprops=tie)
        described = ", ".join(f"{word} ({x:g}, {y:g})" for word, (x, y) in group.iterrows())
        lines.append(f"{name} ({kind}): {described}")
    figure.legend(loc="outside lower center", ncols=len(groups), frameon=False)
    return chart(figure, "\n".join(lines))


# --- the confusion matrix of many classes ---------------------------------------------------------


@rc_context(STYLE)
def draw_class_matrix(figures: ClassFigures) -> Chart:
    """Return a chart of how many texts of each class (rows) have each predicted class (columns).

    Fields on the diagonal, framed and blue, are right answers; the others, orange, are mistakes. The
    stronger the colour, the larger the field's fraction of its row. Of more than MOST_CLASSES
    classes only the largest are drawn, and a line says what is left out.
    """
    sizes = figures.table.sum(axis=1)
    numbers = sorted(np.argsort(-sizes, kind="stable")[:MOST_CLASSES])
    table, sizes, names = figures.table[numbers][:, numbers], sizes[numbers], []
    for number in numbers:  # on one line, and without what no SVG can hold
        name = " ".join(figures.labels[number].split())
        names.append("".join(letter if letter.isprintable() else "\ufffd" for letter in name))
    sides = heads = [shortened(name) for name in names]
    side = min(70, 420 / len(names))  # of a field
    if max(chip_width(name) for name in names) > side:
        heads = [f"{i}" for i in range(1, len(names) + 1)]
        sides = [f"{head} {name}" for head, name in zip(heads, sides, strict=True)]

    notes = ["in a frame: right; the others: mistakes"]
    lines = [
        f"the confusion matrix of {counted(figures.total, 'text')}, {figures.right:,} of them right"
    ]
    for i, name in enumerate(names):
        mistakes = ""
        for j in np.argsort(-table[i], kind="stable"):
            if j != i and table[i, j]:
                mistakes += f", {table[i, j]:,} called {names[j]}"
        lines.append(f"{name}, {counted(sizes[i], 'text')}: {table[i, i]:,} right{mistakes}")
    rest = len(figures.labels) - len(names)
    if rest:
        outside = counted(figures.total - table.sum(), "text")
        notes += [
            f"the {len(names)} largest classes; {counted(rest, 'class is', 'classes are')} left out, "
            f"and {outside} that are or were called so"
        ]
        lines.append(notes[-1])

    figure = new_figure(max(WIDTH, side * len(names)), 90 + side * len(names))
    plot = figure.subplots()
    signs = 2 * np.eye(len(names)) - 1
    colours = LinearSegmentedColormap.from_list("", [ORANGE, "white", BLUE])
    counts = [[short_count(count) for count in row] for row in table]
    draw_grid(plot, signs * table / np.maximum(sizes, 1)[:, None], colours, counts)
    for i in range(len(names)):
        plot.add_patch(Rectangle((i + 0.04, i + 0.04), 0.92, 0.92, fill=False, edgecolor=TEXT))
    plot.set_xticks(np.arange(len(names)) + 0.5, heads)
    plot.set_yticks(np.arange(len(names)) + 0.5, sides)
    plot.set(title="called", ylabel="correct", aspect="equal")
    figure.supxlabel("\n".join(notes), fontsize=11)
    return chart(figure, "\n".join(lines))


def short_count(count: int) -> str:
    """Return a count in at most four characters or so: "9999", "12k", "3M"."""
    if count < 10_000:
        return str(count)
    return f"{count // 1000}k" if count < 1_000_000 else f"{count // 1_000_000}M"


# --- losses, trainings and runs -------------------------------------------------------------------

MOST_LOSS = 5.0  # nats, at the top of the axis


def draw_loss(p: float) -> Drawing:
    """Return the curve of −ln p, with a mark at one probability 0 < p ≤ 1 and its loss.

    A loss above MOST_LOSS is marked at the top. Raises ValueError for another p.
    """
    p = finite_number("p", p, most=1.0)
    loss = abs(math.log(p))
    axes = Axes((62, 34, 470, 220), (0.0, 1.0), (0.0, MOST_LOSS))
    curve = []
    for i in range(101):
        step = math.exp(-MOST_LOSS) + (1 - math.exp(-MOST_LOSS)) * (i / 100) ** 2  # dense if steep
        curve.append(axes.at(step, -math.log(step)))
    words = f"{p:g} for the correct class costs {loss:.2f}"
    drawn = [
        *axes.drawn("probability of the correct class", "loss", (0, 0.25, 0.5, 0.75, 1), range(6)),
        line([axes.at(0.5, 0), axes.at(0.5, MOST_LOSS)], GREY, 1),
        text(305, 46, "from here on the correct class is the answer", size=11),
        text(305, 90, words, size=13, bold=True),
        line(curve, BLUE),
        line([axes.at(p, 0), axes.at(p, loss)], ORANGE),
        circle(*axes.at(p, loss), 6, ORANGE),
    ]
    return picture(drawn, f"the loss −ln p, marked at p = {p:g}: {words}", 580, 300)


@rc_context(STYLE)
def draw_pretraining(
    losses: Sequence[float],
    validated: Sequence[tuple[int, float]],
    levels: Mapping[str, float],
) -> Chart:
    """Return a chart of each step's loss, of held-out losses as (step, loss), and of `levels`.

    All losses are in nats. A level is a dotted line across, with its name at the right.
    """
    figure = new_figure(WIDTH, 300)
    plot = figure.subplots()
    plot.plot(range(1, len(losses) + 1), np.round(losses, 2), color=BLUE, linewidth=0.8)
    plot.plot(*np.round(validated, 2).T, "o-", color=ORANGE)
    for name, level in levels.items():
        plot.axhline(round(level, 2), color=TEXT, linestyle=":")
        plot.annotate(
            f" {name}: {level:.1f}",
            (1, round(level, 2)),
            xycoords=("axes fraction", "data"),
            va="center",
        )
    plot.set(xlabel="step", ylabel="nats")
    plot.set_title("blue: each step's batch · orange: held out")
    held_out = "; ".join(f"after step {step} {loss:.1f}" for step, loss in validated)
    compared = ", ".join(f"{name} {level:.1f}" for name, level in levels.items())
    ends = f" from {losses[0]:.1f} to {losses[-1]:.1f}" if len(losses) else ": no step yet"
    words = f"loss of the batches{ends} nats; held out: {held_out}. To compare with: {compared}."
    return chart(figure, words)


SMOOTHED = 20  # steps whose mean loss is drawn


def draw_training(histories: Sequence[History], epochs: int, steps_per_epoch: int) -> Drawing:
    """Return the losses and accuracies over the epochs, the last of `histories` in full strength."""
    smooth = [
        pd.Series(history.step_losses, dtype=float).rolling(SMOOTHED, min_periods=1).mean()
        for history in histories
    ]
    losses, accuracies = [0.8], [0.5]
    for history, means in zip(histories, smooth, strict=True):
        losses += [*history.val_losses, *means]
        accuracies += [*history.train_accs, *history.val_accs]
    ticks = round_ticks(0, epochs, whole=True)
    loss_axes = Axes((48, 50, 240, 150), (0, epochs), (0, 1.05 * min(max(losses), 3.0)))
    lowest = math.floor(min(accuracies) * 10) / 10
    accuracy_axes = Axes((348, 50, 240, 150), (0, epochs), (lowest, 1.0))
    drawn = [
        *loss_axes.drawn("epoch", "loss", ticks),
        *accuracy_axes.drawn("epoch", "accuracy", ticks),
        text(310, 16, "orange, filled: validation · blue: training", anchor="middle"),
    ]
    lines = []
    for seed, (history, means) in enumerate(zip(histories, smooth, strict=True), start=1):
        drawn.append(f'<g opacity="{1.0 if history is histories[-1] else 0.35}">')
        thinned = means[:: max(1, len(means) // 200)]
        curve = [loss_axes.at((i + 1) / steps_per_epoch, loss) for i, loss in thinned.items()]
        drawn.append(line(curve, BLUE, 1.5))
        for axes, values, colour, fill in (
            (loss_axes, history.val_losses, ORANGE, ORANGE),
            (accuracy_axes, history.train_accs, BLUE, "none"),
            (accuracy_axes, history.val_accs, ORANGE, ORANGE),
        ):
            points = [axes.at(epoch, value) for epoch, value in enumerate(values, start=1)]
            drawn.append(line(points, colour))
            drawn += [circle(x, y, 3.5, fill, colour) for x, y in points]
        drawn.append("</g>")
        for i, loss in enumerate(history.val_losses):
            lines.append(
                f"seed {seed}, epoch {i + 1}: accuracy {history.train_accs[i]:.2f} in training, "
                f"{history.val_accs[i]:.2f} in validation; validation loss {loss:.3f}"
            )
    words = "\n".join(lines) or "no epoch has ended yet"
    return picture(drawn, f"how the training goes: {words}", 620, 244)


def draw_bar(share: float, words: str) -> str:
    """Return a progress bar, in SVG, filled up to `share`, 0 … 1; `words` are its name."""
    percent = round(100 * within(share))
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 12" width="400" height="12" '
        'style="max-width:100%;height:auto" role="progressbar" aria-valuemin="0" '
        f'aria-valuemax="100" aria-valuenow="{percent}" aria-label="{escape(words)}">'
        f"{rect(0.5, 0.5, 399, 11, 'none', BLUE, 3)}"
        f"{rect(0.5, 0.5, 3.99 * percent, 11, BLUE, rx=3)}</svg>"
    )


AGAINST = {  # what accuracy is drawn against → its value in a run
    "trainable parameters": attrgetter("trainable"),
    "seconds": attrgetter("seconds"),
}


def front(costs: Sequence[float], accuracies: Sequence[float]) -> list[int]:
    """Return the indices of the Pareto front, the cheapest point first.

    A point is on it unless another one costs no more and is at least as accurate, and is better in
    one of the two. Equal points are all on it.
    """
    best: list[int] = []
    for i in sorted(range(len(costs)), key=lambda i: (costs[i], -accuracies[i])):
        last = best[-1] if best else i
        is_equal = (costs[i], accuracies[i]) == (costs[last], accuracies[last])
        if is_equal or accuracies[i] > accuracies[last]:
            best.append(i)
    return best


def draw_runs(runs: Sequence[Run], against: str = "trainable parameters") -> Drawing:
    """Return the runs' accuracies, with their intervals, against what they cost, on a log axis.

    A run has its number, from 1, in the order of `runs`. The Pareto front is filled and joined by a
    line. Runs of the same cost stand side by side. `against` is a key of AGAINST.
    """
    title = f"accuracy against {against}"
    if not runs:
        return picture([text(20, 40, "No run yet.")], f"{title}: no run yet", 620, 60)
    costs = [max(AGAINST[against](run), 1e-3) for run in runs]
    best = front(costs, [run.accuracy for run in runs])
    low, high = min(costs) / 2, max(costs) * 4
    lowest = math.floor(min(run.interval[0] for run in runs) * 10) / 10
    axes = Axes((64, 52, 536, 280), (low, high), (lowest, 1.0), log_x=True)
    powers = [10.0**power for power in range(-4, 12)]
    ticks = [tick for tick in powers if low <= tick <= high]
    if len(ticks) < 3:
        ticks += [3 * tick for tick in powers if low <= 3 * tick <= high]
    key = "disc: a run, square: after the test was seen; bar: 95 % interval"
    drawn = [
        *axes.drawn(against, "accuracy", ticks),
        text(310, 16, f"{title}; orange and joined: nobody beats them in both", anchor="middle"),
        text(338, 38, key, size=11, anchor="middle"),
    ]
    lines = [f"accuracy on the validation messages against {against}, the least first"]
    joined, x = [], 0.0
    step = min(18, 110 / len(runs))  # pixels between runs of the same cost
    for i in sorted(range(len(runs)), key=costs.__getitem__):
        run, is_best = runs[i], i in best
        x = min(max(axes.at(costs[i], 1)[0], x + step), 612)
        y, upper, lower = (axes.at(low, value)[1] for value in (run.accuracy, *run.interval[::-1]))
        colour = ORANGE if is_best else BLUE
        fill = colour if is_best else "none"
        drawn.append(line([(x, upper), (x, lower)], colour, 1.5))
        if run.after_test:
            drawn.append(rect(x - 5, y - 5, 10, 10, fill, colour))
        else:
            drawn.append(circle(x, y, 5.5, fill, colour, 2))
        drawn.append(text(x, upper - 5, f"{i + 1}", 11, "middle", bold=is_best))
        if is_best:
            joined.append((x, y))
        amount = f"{costs[i]:,.1f} seconds" if against == "seconds" else f"{costs[i]:,} parameters"
        remark = ", beaten by none" if is_best else ""
        remark += ", after the test was seen" if run.after_test else ""
        lines.append(
            f"run {i + 1}, {run.settings}: {amount}, accuracy {run.accuracy:.3f} (95 % interval "
            f"{run.interval[0]:.3f} to {run.interval[1]:.3f}){remark}"
        )
    drawn.append(line(joined, ORANGE))
    return picture(drawn, f"{title}: " + "\n".join(lines), 620, 384)
