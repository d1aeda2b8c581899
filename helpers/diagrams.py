"""Pictures of the model under a plan, and the course's curves. `python -m helpers.diagrams` draws
`images/`.

One drawing, in SVG, serves images/, the notebooks and the Freeze Explorer. Frozen and trainable
parts differ by colour (Okabe & Ito's palette, told apart with any colour vision), by border, by
mark and by word; `describe` says in text what `draw_classifier` shows.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from helpers.config import gpt_config
from helpers.data import LABELS
from helpers.freezing import (
    FROZEN,
    PARTLY,
    TRAINABLE,
    FreezePlan,
    ParameterReport,
    PartCount,
    classifier_without_weights,
    parameter_report,
    run_name,
)
from helpers.gradient_reach import GradientReach
from helpers.model import part_names
from helpers.shapes import Shape, trace_shapes
from helpers.tokenizer import get_tokenizer, visible_tokens

IMAGES = Path(__file__).parent.parent / "images"
FILL = {FROZEN: "#cfe6f5", TRAINABLE: "#f9d9b5", PARTLY: "#fffbeb"}
EDGE = {FROZEN: "#0072b2", TRAINABLE: "#b34e00", PARTLY: "#4f7030"}
MARK = {FROZEN: "❄", TRAINABLE: "✎", PARTLY: "❄✎"}
WAY, WAY_ON_DARK = "#a3326e", "#f0a0c8"  # of the gradient
INK, TEXT = "#333333", "#111111"  # beside the boxes, in the boxes
NAMES = {
    "tok_emb": "token embedding",
    "pos_emb": "positional embedding",
    "final_norm": "final layer norm",
    "out_head": "classification head",
}


# --- what is drawn: rows, and their words ---------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One box of the picture: a part, or a run of blocks that are equal in size, state and
    shape.
    """

    parts: tuple[str, ...]
    parameters: int
    trainable: int
    state: str
    shape: tuple[int, ...] | None

    @property
    def title(self) -> str:
        """What the box is: "11 transformer blocks"."""
        first = self.parts[0]
        if first in NAMES:
            return NAMES[first]
        return (
            "transformer block" if len(self.parts) == 1 else f"{len(self.parts)} transformer blocks"
        )

    @property
    def name(self) -> str:
        """What the model calls it: "trf_blocks.0 – 10"."""
        return run_name(self.parts)

    @property
    def label(self) -> str:
        return f"{self.title}  ({self.name})"

    def role(self, reach: GradientReach | None) -> str:
        """Return what the gradient does here: "ends here", "crosses" or nothing."""
        if reach is None:
            return ""
        ends = any(part in reach.ends for part in self.parts)
        return "ends here" if ends else "crosses" if self.parts[0] in reach.crossed else ""


def fold(report: ParameterReport, shapes: tuple[Shape, ...] = ()) -> tuple[Row, ...]:
    """Return the rows of the picture from input to output; neighbouring blocks that look the same
    become one row.
    """
    shape_of = {shape.part: shape.shape for shape in shapes}
    rows: list[Row] = []
    for count in report.parts:
        row = Row(
            (count.part,), count.parameters, count.trainable, count.state, shape_of.get(count.part)
        )
        block = count.part.startswith("trf_blocks.")
        if block and rows and rows[-1].parts[0].startswith("trf_blocks."):
            last = rows[-1]
            size = len(last.parts)
            if row.shape == last.shape and last.trainable == size * row.trainable:
                rows[-1] = replace(
                    last,
                    parts=(*last.parts, count.part),
                    parameters=last.parameters + row.parameters,
                    trainable=last.trainable + row.trainable,
                )
                continue
        rows.append(row)
    return tuple(rows)


def describe(
    report: ParameterReport, shapes: tuple[Shape, ...] = (), reach: GradientReach | None = None
) -> str:
    """Return the picture in words, from input to output, a line for each box."""
    lines = [f"input: token ids {shapes[0].shape}"] if shapes else []
    for row in fold(report, shapes):
        shape = f", puts out {row.shape}" if row.shape else ""
        role = {
            "": "",
            "crosses": ", crossed by the gradient",
            "ends here": ", where the gradient ends",
        }[row.role(reach)]
        lines.append(f"{row.label}: {row.parameters:,} parameters, {row.state}{shape}{role}")
    lines += [
        f"the last token's logits: {shape.shape}" for shape in shapes if shape.part == "last_token"
    ]
    return "\n".join([*lines, f"in all: {_in_all(report)}"])


def _in_all(report: ParameterReport) -> str:
    return f"{report.trainable:,} of {report.total:,} parameters trainable ({report.percent:.2f} %)"


def say_reach(reach: GradientReach) -> str:
    """Return in one sentence how far the gradient goes."""
    if reach.lowest is None:
        return "Nothing is trainable, so there is no backward pass."
    crossed = sum(part.startswith("trf_blocks.") for part in reach.crossed)
    blocks = "no block" if crossed == 0 else "1 block" if crossed == 1 else f"{crossed} blocks"
    ends = f"{' and '.join(reach.ends)}, the lowest trainable part{'s' * (len(reach.ends) > 1)}"
    return f"The gradient ends in {ends}; on its way down it crosses {blocks}."


def toggle_text(count: PartCount) -> str:
    """Return the words on a part's button, in columns: mark, name, parameters, state."""
    return f"{MARK[count.state]:<2} {count.part:<18} {count.parameters:>13,}  {count.state}"


# --- the picture ----------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Drawing:
    """A picture as SVG, and what it shows in words; a notebook shows the picture, or the words
    where it can't.
    """

    svg: str
    words: str

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return self.words


BOX = 330, 46  # width and height, in pixels as all lengths here
STEP = 68  # from one box to the next
LANE = 86  # the gradient's, on the left
BESIDE = 160  # for the shapes, on the right
MARGIN = 10


def draw_classifier(
    report: ParameterReport,
    shapes: tuple[Shape, ...] = (),
    tokens: Sequence[str] = (),
    replaced_head: tuple[str, ...] = (),
    reach: GradientReach | None = None,
    answer: str = "",
    kept: int | None = None,
) -> Drawing:
    """Draw the model from input (bottom) to output (top).

    With `shapes` each box says what it puts out, and a "last_token" shape gets a line above the
    head, with `answer` beside it; `tokens` are written below the input; the lines of
    `replaced_head` stand beside the head and tell which layer it took the place of; `reach` draws
    the gradient's way down on the left. `kept` blocks and the embeddings lie below a line, with the
    remark that they run once for each message.
    """
    rows = fold(report, shapes)
    box_width, box_height = BOX
    alone = not (reach or shapes or replaced_head)
    left = MARGIN + (
        LANE if reach else 40 if alone else 0
    )  # alone, a box is narrower than the line above it
    width = left + box_width + (40 if alone else BESIDE if shapes or replaced_head else 0) + MARGIN
    middle, beside = left + box_width / 2, left + box_width + 8
    logits = next((shape.shape for shape in shapes if shape.part == "last_token"), None)
    top = 34 + (40 if logits else 0)  # of the uppermost box
    room = 2 * min(middle, width - middle) - 2 * MARGIN
    chips, chips_height = _chips(tokens, middle, top + len(rows) * STEP + 22, room)
    height = top + len(rows) * STEP + 20 + chips_height

    drawn = [f'<rect class="paper" width="{width}" height="{height}" fill="white"/>']
    drawn.append(_text(width / 2, 18, _in_all(report), anchor="middle", size=13))
    if logits:
        drawn.append(_text(middle, 46, "the last token's logits", anchor="middle", size=13))
        drawn.append(_text(beside, 46, f"→ {logits}", mono=True, size=13))
        drawn += [_text(beside, 62, answer, size=12, bold=True)] if answer else []
        drawn.append(_arrow(middle, top - 3, top - 20))
    for i, row in enumerate(reversed(rows)):
        y = top + i * STEP
        drawn += _box(row, left, y)
        drawn.append(_arrow(middle, y + STEP - 3, y + box_height + 3))
        if row.shape:
            drawn.append(_text(beside, y + 28, f"→ {row.shape}", mono=True, size=13))
    if kept is not None:
        above = sum(
            row.parts[0] not in part_names(kept)[: kept + 2] for row in rows
        )  # as many boxes lie above the line
        drawn += _line_of_the_kept(left, beside, top + above * STEP - (STEP - box_height) / 2)
    drawn += [
        _text(beside, top + 45 + 14 * i, line, size=11) for i, line in enumerate(replaced_head)
    ]
    start = f"token ids {shapes[0].shape}" if shapes else "token ids"
    drawn.append(_text(middle, top + len(rows) * STEP + 12, start, anchor="middle", size=13))
    drawn += chips
    if reach:
        drawn += _gradient_lane([row.role(reach) for row in reversed(rows)], top)

    words = describe(report, shapes, reach) + (f"\nanswer: {answer}" if answer else "")
    words += (
        f"\nbelow a line, run once and kept: the embeddings and {kept} blocks"
        if kept is not None
        else ""
    )
    words += f"\nthe head is {' '.join(replaced_head)}" if replaced_head else ""
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="fx-drawing" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" style="max-width:100%;height:auto" role="img" aria-label="{escape(words)}" '
        'font-family="system-ui, Helvetica, Arial, sans-serif">\n' + "\n".join(drawn) + "\n</svg>"
    )
    return Drawing(svg, words)


def _text(x, y, words, size, anchor="start", mono=False, bold=False, fill=INK) -> str:
    attributes = ' font-family="monospace"' if mono else ""
    attributes += ' font-weight="bold"' if bold else ""
    attributes += f' text-anchor="{anchor}"' if anchor != "start" else ""
    kind = {INK: ' class="ink"', WAY: ' class="way"'}.get(fill, "")
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{fill}"{kind}{attributes}>{escape(words)}</text>'


def _arrow(x, start, end, colour=INK) -> str:
    """A vertical arrow from `start` to `end`."""
    back = 7 if end < start else -7
    kind = ' class="ink"' if colour == INK else ""
    head = f"{x - 4:g},{end + back:g} {x + 4:g},{end + back:g} {x:g},{end:g}"
    return (
        f'<path d="M{x:g},{start:g}V{end + back:g}" stroke="{colour}" stroke-width="1.5"{kind}/>'
        f'<polygon points="{head}" fill="{colour}"{kind}/>'
    )


def _box(row: Row, x: float, y: float) -> Iterable[str]:
    width, height = BOX
    dashes = {FROZEN: ' stroke-dasharray="6 4"', PARTLY: ' stroke-dasharray="16 4"'}.get(
        row.state, ""
    )
    yield (
        f'<rect x="{x:g}" y="{y:g}" width="{width}" height="{height}" rx="8" fill="{FILL[row.state]}" '
        f'stroke="{EDGE[row.state]}" stroke-width="2"{dashes}/>'
    )
    marks = [_snowflake] * (row.state != TRAINABLE) + [_pencil] * (row.state != FROZEN)
    for mark, drop in zip(marks, (0,) if len(marks) == 1 else (-9, 9), strict=True):
        yield mark(x + 20, y + height / 2 + drop, EDGE[row.state])
    yield _text(x + 40, y + 20, row.title, size=14, bold=True, fill=TEXT)
    yield _text(x + 40, y + 37, row.name, size=12, mono=True, fill=TEXT)
    yield _text(x + width - 10, y + 20, f"{row.parameters:,}", size=13, anchor="end", fill=TEXT)
    yield _text(x + width - 10, y + 37, row.state, size=12, anchor="end", fill=TEXT)


def _line_of_the_kept(left: float, beside: float, y: float) -> Iterable[str]:
    yield f'<path class="ink" d="M{left:g},{y:g}H{beside + BESIDE - 8:g}" stroke="{INK}" stroke-dasharray="2 3"/>'
    yield _text(beside, y - 8, "above: in every step", size=12)
    yield _text(beside, y + 16, "below: once, and kept", size=12)


def _snowflake(x, y, colour) -> str:
    return (
        f'<path d="M{x:g},{y - 8:g}v16m-7,-12l14,8m0,-8l-14,8" stroke="{colour}" stroke-width="2"/>'
    )


def _pencil(x, y, colour) -> str:
    body = f"M{x - 7:g},{y + 7:g}l2,-5l9,-9l3,3l-9,9z"
    return (
        f'<path d="{body}" stroke="{colour}" stroke-width="2" fill="none" stroke-linejoin="round"/>'
    )


def _gradient_lane(roles: list[str], top: float) -> Iterable[str]:
    """The way of the gradient from the loss, at the top, to the box where it ends, a word beside
    each box it meets.
    """
    x, box_middle = MARGIN + 12, BOX[1] / 2
    if "ends here" not in roles:
        yield _text(MARGIN, top - 10, "no gradient", size=12)
        return
    yield _text(MARGIN, top - 10, "loss", size=12, fill=WAY, bold=True)
    tip = MARGIN + LANE - 2
    for i, role in enumerate(roles):
        y = top + i * STEP + box_middle
        if role == "ends here":
            yield f'<path class="way" d="M{x},{top - 4}V{y:g}H{tip - 8}" stroke="{WAY}" stroke-width="3" fill="none"/>'
            yield f'<polygon class="way" points="{tip - 9},{y - 5:g} {tip - 9},{y + 5:g} {tip},{y:g}" fill="{WAY}"/>'
        if role:
            yield _text(x + 8, y + (-6 if role == "ends here" else 4), role, size=12, fill=WAY)


CHIP_LINES, CHIP_HEIGHT = 3, 24  # more tokens than fit are counted


def _chips(
    tokens: Sequence[str], middle: float, start: float, width: float
) -> tuple[list[str], float]:
    """Return a small box for each token, in centred lines from `start` on, and the height that they
    take.
    """
    lines, used, shown, y = [[]], 0.0, 0, start
    for token in tokens:
        token = token if len(token) <= 24 else token[:23] + "…"
        size = 14 + 7.3 * sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in token)
        if (
            used + size > width - (170 if len(lines) == CHIP_LINES else 0) and lines[-1]
        ):  # room for the count
            if len(lines) == CHIP_LINES:
                break
            lines.append([])
            used = 0.0
        lines[-1].append((token, size))
        used += size
        shown += 1
    rest = len(tokens) - shown
    drawn = []
    for line in lines if tokens else []:
        x = middle - sum(size for _, size in line) / 2
        for token, size in line:
            box = f'x="{x + 2:g}" y="{y:g}" width="{size - 4:g}" height="19"'
            drawn.append(f'<rect {box} rx="4" fill="#eeeeee" stroke="#767676"/>')
            drawn.append(
                _text(x + size / 2, y + 14, token, size=12, anchor="middle", mono=True, fill=TEXT)
            )
            x += size
        if rest and line is lines[-1]:
            drawn.append(_text(x + 6, y + 14, f"… {rest:,} more", size=12))
        y += CHIP_HEIGHT
    if any("⟨" in token for token in tokens):
        note = "⟨ ⟩ holds the bytes of a token that is only a part of a character"
        drawn.append(_text(middle, y + 10, note, size=11, anchor="middle"))
        y += 18
    return drawn, y - start


def draw_share(report: ParameterReport) -> Drawing:
    """Draw a bar: the trainable share of all parameters."""
    words = _in_all(report)
    bar = (
        f'<rect x="0.5" y="0.5" width="559" height="13" rx="3" fill="{FILL[FROZEN]}" stroke="{EDGE[FROZEN]}"/>'
        f'<rect x="0.5" y="0.5" width="{5.59 * report.percent:.1f}" height="13" rx="3" fill="{EDGE[TRAINABLE]}"/>'
    )
    return Drawing(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 560 14" width="560" height="14" '
        f'style="max-width:100%;height:auto" role="img" aria-label="{words}">{bar}</svg>',
        words,
    )


# --- words and tables -----------------------------------------------------------------------------


def html_table(header: Sequence[str], rows: Iterable[Sequence[str]], caption: str) -> str:
    """Return a plain HTML table, which also stands where nothing is live; the first cell of a row
    is its heading.
    """
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in rows
    )
    return f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def big_number(value: str, what: str) -> str:
    """Return a figure and, smaller, what it counts, as HTML."""
    return f"<b>{escape(value)}</b> {escape(what)}"


def say_problem(error: Exception) -> str:
    """Return as HTML why a message can't be shown."""
    return f'<p role="alert">{escape(str(error))}. The picture shows the last message that the model could take.</p>'


def css_colours() -> str:
    """Return the colours of the pictures as CSS variables: `--fx-frozen-fill` and so on."""
    names = {FROZEN: "frozen", TRAINABLE: "trainable", PARTLY: "partly"}
    both = (("fill", FILL), ("edge", EDGE))
    colours = {
        f"--fx-{names[state]}-{kind}": table[state] for kind, table in both for state in names
    }
    colours |= {"--fx-way": WAY, "--fx-way-on-dark": WAY_ON_DARK}
    return ".freeze-explorer {" + " ".join(f"{k}: {v};" for k, v in colours.items()) + "}"


def say_probabilities(probabilities: torch.Tensor) -> str:
    """Return one message's probabilities (num_classes,): "ham 0.53, spam 0.47"; of more than two
    the largest.
    """
    if len(probabilities) != len(LABELS):
        return f"class {probabilities.argmax()}: {probabilities.max():.2f}"
    return ", ".join(
        f"{name} {p:.2f}" for name, p in zip(LABELS, probabilities.tolist(), strict=True)
    )


def parts_table(
    report: ParameterReport, shapes: tuple[Shape, ...] = (), reach: GradientReach | None = None
) -> str:
    """Return the report as an HTML table from output to input, like the picture, equal blocks in
    one row.
    """
    rows = [
        (
            row.name,
            f"{row.parameters:,}",
            f"{row.trainable:,}",
            row.state,
            str(row.shape or ""),
            row.role(reach) or "–",
        )
        for row in reversed(fold(report, shapes))
    ]
    rows.append(
        (
            "total",
            f"{report.total:,}",
            f"{report.trainable:,}",
            f"{report.percent:.2f} % trainable",
            "",
            "",
        )
    )
    header = ("part", "parameters", "trainable", "state", "puts out", "gradient")
    return html_table(header, rows, "The parts of the model, output first")


# --- curves ---------------------------------------------------------------------------------------


def plot_values(epochs_seen, examples_seen, train_values, val_values, label="loss") -> Figure:
    """Draw training and validation values over epochs (lower axis) and over examples seen (upper
    axis).

    The first two are (x, …) tensors or sequences as long as the values. The book's function, which
    also saves a PDF.
    """
    figure, axes = plt.subplots(figsize=(5.6, 3.2), layout="constrained")
    axes.plot(epochs_seen, train_values, label=f"training {label}", color=EDGE[TRAINABLE])
    axes.plot(epochs_seen, val_values, "--", label=f"validation {label}", color=EDGE[FROZEN])
    axes.set(xlabel="epochs", ylabel=label)
    axes.legend()
    above = axes.twiny()
    above.plot(examples_seen, train_values, alpha=0)  # an unseen line, only to set the scale
    above.set_xlabel("examples seen")
    return figure


def figure_6_12() -> Drawing:
    """Selective fine-tuning: GPT-2 124M under the book's plan."""
    return draw_classifier(parameter_report(gpt_config("gpt2-small (124M)"), FreezePlan.book(12)))


def figure_6_13() -> Drawing:
    """GPT-2 124M with its classification head, the shapes for one message beside it."""
    cfg, tokenizer = gpt_config("gpt2-small (124M)"), get_tokenizer()
    token_ids = tokenizer.encode("Do you have time")
    shapes = trace_shapes(classifier_without_weights(cfg), torch.tensor([token_ids]))
    replaced = (
        "instead of the",
        "language-model head:",
        f"{cfg['emb_dim']} → {cfg['vocab_size']:,}",
    )
    report = parameter_report(cfg, FreezePlan.book(cfg["n_layers"]))
    return draw_classifier(report, shapes, visible_tokens(token_ids, tokenizer), replaced)


def draw_images(folder: Path = IMAGES) -> list[Path]:
    """Draw the two figures into `folder`; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, draw in (
        ("figure_6_12_selective_fine_tuning", figure_6_12),
        ("figure_6_13_classification_head", figure_6_13),
    ):
        paths.append(folder / f"{name}.svg")
        paths[-1].write_text(draw().svg + "\n", encoding="utf-8")
    return paths


if __name__ == "__main__":
    for path in draw_images():
        print(f"drew {path.name}")
