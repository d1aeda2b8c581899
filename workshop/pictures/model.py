"""Pictures of the model under a plan, and the course's curves.

`python -m workshop.pictures.model` draws `images/`. One drawing, in SVG, serves images/, the notebooks and
the Freeze Explorer. Parts that are frozen, trainable, both, or frozen with an adapter differ by
colour (Okabe & Ito's palette, told apart with any colour vision), by border, by mark and by word;
`describe` says in text what `draw_classifier` shows.

What LoRA adds to one matrix, in one picture: appendix 6.B. Hu et al. 2021, section 4.1.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from helpers.checks import instance_of, one_of
from helpers.config import gpt_config
from helpers.data import LABELS
from helpers.freezing import (
    ADAPTED,
    ADAPTED_MATRICES,
    ALPHA,
    FROZEN,
    PARTLY,
    RANK,
    TRAINABLE,
    FreezePlan,
    GradientReach,
    ParameterReport,
    Shape,
    classifier_without_weights,
    parameter_report,
    run_name,
    trace_shapes,
)
from helpers.model import part_names
from helpers.tokenizer import get_tokenizer, visible_tokens
from workshop.pictures.svg import (
    INK,
    TEXT,
    Drawing,
    arrow,
    draw_chips,
    path,
    picture,
    text,
)

IMAGES = Path(__file__).parents[2] / "images"


FILL = {FROZEN: "#cfe6f5", TRAINABLE: "#f9d9b5", PARTLY: "#fffbeb", ADAPTED: "#cdeee2"}


EDGE = {FROZEN: "#0072b2", TRAINABLE: "#b34e00", PARTLY: "#4f7030", ADAPTED: "#007a5a"}


DASHES = {FROZEN: "6 4", PARTLY: "16 4", ADAPTED: "12 4 2 4"}  # of the border


MARK = {FROZEN: "❄", TRAINABLE: "✎", PARTLY: "❄✎", ADAPTED: "❄+"}


WAY, WAY_ON_DARK = "#a3326e", "#f0a0c8"  # of the gradient


NAMES = {
    "tok_emb": "token embedding",
    "pos_emb": "positional embedding",
    "final_norm": "final layer norm",
    "out_head": "classification head",
}


def css_colours() -> str:
    """Return the colours of the pictures as CSS variables: `--fx-frozen-fill` and so on."""
    names = {FROZEN: "frozen", TRAINABLE: "trainable", PARTLY: "partly", ADAPTED: "adapted"}
    both = (("fill", FILL), ("edge", EDGE))
    colours = {
        f"--fx-{names[state]}-{kind}": table[state] for kind, table in both for state in names
    }
    colours |= {"--fx-way": WAY, "--fx-way-on-dark": WAY_ON_DARK}
    return ".fx-widget {" + " ".join(f"{k}: {v};" for k, v in colours.items()) + "}"


# --- what is drawn: rows, and their words ---------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One box of the picture: a part, or neighbouring blocks of one size, state and shape."""

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
    """Return the rows of the picture from input to output.

    Neighbouring blocks of one size, state and shape become one row.
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
            alike = (row.state, row.shape) == (last.state, last.shape)
            if alike and last.trainable == len(last.parts) * row.trainable:
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
        return "Nothing learns, so there is no backward pass."
    crossed = sum(part.startswith("trf_blocks.") for part in reach.crossed)
    blocks = "no block" if crossed == 0 else "1 block" if crossed == 1 else f"{crossed} blocks"
    several = len(reach.ends) > 1
    lowest = "the lowest parts that learn" if several else "the lowest part that learns"
    ends = f"{' and '.join(reach.ends)}, {lowest}"
    return f"The gradient ends in {ends}; on its way down it crosses {blocks}."


def say_probabilities(probabilities: torch.Tensor) -> str:
    """Return one message's probabilities (num_classes,) in words: "ham 0.53, spam 0.47".

    Of more than two classes it is the likeliest: "class 2: 0.50".
    """
    if len(probabilities) != len(LABELS):
        return f"class {probabilities.argmax()}: {probabilities.max():.2f}"
    return ", ".join(
        f"{name} {p:.2f}" for name, p in zip(LABELS, probabilities.tolist(), strict=True)
    )


# --- the picture ----------------------------------------------------------------------------------


# lengths, in pixels; y grows downwards, and a text's y is that of its baseline
BOX_WIDTH, BOX_HEIGHT = 330, 46


STEP = 68  # from one box's upper edge to the next one's


AIR = 3  # between a box and an arrow


MARGIN = 10


LANE = 86  # the gradient's, on the left of the boxes


BESIDE, BESIDE_GAP = 160, 8  # for words on the right of the boxes, and the gap before them


ROOM_ALONE = 40  # on both sides of boxes with nothing beside them: the line above them is wider


TITLE, TITLE_BASELINE = 34, 18  # the line above all


LOGITS, LOGITS_BASELINE, ANSWER_BASELINE = 40, 46, 62  # the last token's, below the title


@dataclass(frozen=True)
class Layout:
    """Where things stand in a picture with `num_boxes` boxes, in pixels."""

    num_boxes: int
    left: int  # of the boxes
    top: int  # of the uppermost box
    width: int  # of the whole picture

    @property
    def middle(self) -> float:
        """The middle of the boxes, from the picture's left edge."""
        return self.left + BOX_WIDTH / 2

    @property
    def beside(self) -> int:
        """Where the words on the right of the boxes begin."""
        return self.left + BOX_WIDTH + BESIDE_GAP

    @property
    def below(self) -> int:
        """One step below the lowest box, where the input stands."""
        return self.top_of(self.num_boxes)

    def top_of(self, i: int) -> int:
        """The upper edge of a box, counted from above."""
        return self.top + i * STEP


def _layout(num_boxes: int, with_lane: bool, with_words: bool, with_logits: bool) -> Layout:
    """Return the layout of a picture with or without the gradient's lane, words and logits."""
    around = 0 if with_lane or with_words else ROOM_ALONE
    left = MARGIN + (LANE if with_lane else around)
    width = left + BOX_WIDTH + (BESIDE if with_words else around) + MARGIN
    return Layout(num_boxes, left, TITLE + (LOGITS if with_logits else 0), width)


def draw_classifier(
    report: ParameterReport,
    shapes: tuple[Shape, ...] = (),
    tokens: Sequence[str] = (),
    replaced_head: tuple[str, ...] = (),
    reach: GradientReach | None = None,
    answer: str = "",
    cached: int | None = None,
) -> Drawing:
    """Draw the model from input (bottom) to output (top).

    With `shapes` each box says what it puts out, and a "last_token" shape gets a line above the
    head, with `answer` beside it; `tokens` are written below the input; the lines of
    `replaced_head` stand beside the head and say which layer it took the place of; `reach` draws
    the gradient's way down on the left. `cached` blocks and the embeddings lie below a line, with the
    remark that each message passes them once.
    """
    instance_of("report", report, ParameterReport, "one of parameter_report's")
    rows = fold(report, shapes)[::-1]  # the output first, as it is drawn
    logits = next((shape.shape for shape in shapes if shape.part == "last_token"), None)
    layout = _layout(
        len(rows),
        with_lane=reach is not None,
        with_words=bool(shapes or replaced_head),
        with_logits=logits is not None,
    )
    room = 2 * min(layout.middle, layout.width - layout.middle) - 2 * MARGIN
    chips = draw_chips(tokens, layout.middle, layout.below + 22, room)
    drawn = [
        *_logits(logits, answer, layout),
        *_tower(rows, layout),
        *_line_above(cached, rows, layout),
        *_replaced_head(replaced_head, layout),
        *_input(shapes, layout),
        *chips.drawn,
        *_gradient_lane(rows, reach, layout),
    ]
    words = _in_words(report, shapes, replaced_head, reach, answer, cached)
    return titled(drawn, _in_all(report), words, layout.width, chips.bottom)


def _in_words(report, shapes, replaced_head, reach, answer, cached) -> str:
    """Return all that `draw_classifier` shows, a line for each thing."""
    lines = [describe(report, shapes, reach)]
    if answer:
        lines.append(f"answer: {answer}")
    if cached is not None:
        lines.append(f"below a line, run once and cached: the embeddings and {cached} blocks")
    if replaced_head:
        lines.append(f"the head is {' '.join(replaced_head)}")
    return "\n".join(lines)


def titled(drawn: Iterable[str], title: str, words: str, width: int, height: int) -> Drawing:
    """Return a whole picture with `title` on top."""
    return picture(
        [text(width / 2, TITLE_BASELINE, title, 13, "middle"), *drawn], words, width, height
    )


# --- the pieces of the picture, from top to bottom ------------------------------------------------


def _logits(logits: tuple[int, ...] | None, answer: str, layout: Layout) -> Iterator[str]:
    """The shape of the last token's logits above the head, and below it the answer."""
    if logits is None:
        return
    title = "the last token's logits"
    yield text(layout.middle, LOGITS_BASELINE, title, anchor="middle", size=13)
    yield text(layout.beside, LOGITS_BASELINE, f"→ {logits}", mono=True, size=13)
    if answer:
        yield text(layout.beside, ANSWER_BASELINE, answer, size=12, bold=True)
    yield arrow(layout.middle, layout.top - AIR, layout.top - 20)


def _tower(rows: Sequence[Row], layout: Layout) -> Iterator[str]:
    """The boxes, output first; an arrow from below into each, and beside each what it puts out."""
    for i, row in enumerate(rows):
        y = layout.top_of(i)
        yield from _box(row, layout.left, y)
        yield arrow(layout.middle, y + STEP - AIR, y + BOX_HEIGHT + AIR)
        if row.shape:
            yield text(layout.beside, y + 28, f"→ {row.shape}", mono=True, size=13)


def _box(row: Row, x: float, y: float) -> Iterator[str]:
    """A box with the marks of its state, and two lines: title and parameters, name and state."""
    dashes = f' stroke-dasharray="{DASHES[row.state]}"' if row.state in DASHES else ""
    yield (
        f'<rect x="{x:g}" y="{y:g}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="8" '
        f'fill="{FILL[row.state]}" stroke="{EDGE[row.state]}" stroke-width="2"'
        f"{dashes}/>"
    )
    mark_x, middle, colour = x + 20, y + BOX_HEIGHT / 2, EDGE[row.state]
    marks = [_STROKES[mark] for mark in MARK[row.state]]
    upmost = middle - 9 * (len(marks) - 1)
    for i, draw_mark in enumerate(marks):
        yield draw_mark(mark_x, upmost + 18 * i, colour)
    left, right, upper, lower = x + 40, x + BOX_WIDTH - 10, y + 20, y + 37
    yield text(left, upper, row.title, size=14, bold=True, fill=TEXT)
    yield text(left, lower, row.name, size=12, mono=True, fill=TEXT)
    yield text(right, upper, f"{row.parameters:,}", size=13, anchor="end", fill=TEXT)
    yield text(right, lower, row.state, size=12, anchor="end", fill=TEXT)


def _line_above(cached: int | None, rows: Sequence[Row], layout: Layout) -> Iterator[str]:
    """A line between the boxes of the embeddings and of `cached` blocks, and those above them."""
    if cached is None:
        return
    below = part_names(cached)[: 2 + cached]  # the two embeddings, and the blocks
    boxes_above = sum(row.parts[0] not in below for row in rows)
    y = layout.top_of(boxes_above) - (STEP - BOX_HEIGHT) / 2
    end = layout.beside + BESIDE - BESIDE_GAP
    yield (
        f'<path class="ink" d="M{layout.left:g},{y:g}H{end:g}" '
        f'stroke="{INK}" stroke-dasharray="2 3"/>'
    )
    yield text(layout.beside, y - 8, "above: in every step", size=12)
    yield text(layout.beside, y + 16, "below: once, and cached", size=12)


def _replaced_head(lines: Sequence[str], layout: Layout) -> Iterator[str]:
    """Which layer the head took the place of, beside the head."""
    first, line_height = layout.top + 45, 14  # below the head's shape
    for i, line in enumerate(lines):
        yield text(layout.beside, first + i * line_height, line, size=11)


def _input(shapes: Sequence[Shape], layout: Layout) -> Iterator[str]:
    """What goes into the lowest box."""
    words = f"token ids {shapes[0].shape}" if shapes else "token ids"
    yield text(layout.middle, layout.below + 12, words, anchor="middle", size=13)


def _gradient_lane(
    rows: Sequence[Row], reach: GradientReach | None, layout: Layout
) -> Iterator[str]:
    """The way of the gradient from the loss, at the top, to the box where it ends.

    Beside each box that it meets stands a word.
    """
    if reach is None:
        return
    loss_baseline = layout.top - 10
    if not reach.ends:
        yield text(MARGIN, loss_baseline, "no gradient", size=12)
        return
    yield text(MARGIN, loss_baseline, "loss", size=12, fill=WAY, bold=True, css="way")
    x, start, tip = MARGIN + 12, layout.top - 4, MARGIN + LANE - 2
    for i, row in enumerate(rows):
        y, role = layout.top_of(i) + BOX_HEIGHT / 2, row.role(reach)
        if role == "ends here":
            yield (
                f'<path class="way" d="M{x},{start}V{y:g}H{tip - 8}" '
                f'stroke="{WAY}" stroke-width="3" fill="none"/>'
            )
            head = f"{tip - 9},{y - 5:g} {tip - 9},{y + 5:g} {tip},{y:g}"
            yield f'<polygon class="way" points="{head}" fill="{WAY}"/>'
            yield text(x + 8, y - 6, role, size=12, fill=WAY, css="way")
        elif role:
            yield text(x + 8, y + 4, role, size=12, fill=WAY, css="way")


# --- strokes --------------------------------------------------------------------------------------


def snowflake(x: float, y: float, colour: str) -> str:
    lines = f"M{x:g},{y - 8:g}v16m-7,-12l14,8m0,-8l-14,8"
    return f'<path d="{lines}" stroke="{colour}" stroke-width="2"/>'


def pencil(x: float, y: float, colour: str) -> str:
    outline = f"M{x - 7:g},{y + 7:g}l2,-5l9,-9l3,3l-9,9z"
    return (
        f'<path d="{outline}" stroke="{colour}" stroke-width="2" fill="none" '
        'stroke-linejoin="round"/>'
    )


def _plus(x: float, y: float, colour: str) -> str:
    return f'<path d="M{x:g},{y - 6:g}v12m-6,-6h12" stroke="{colour}" stroke-width="2.5"/>'


_STROKES = {"❄": snowflake, "✎": pencil, "+": _plus}


# --- the trainable share --------------------------------------------------------------------------

BAR_WIDTH, BAR_HEIGHT, HALF_BORDER = 559, 13, 0.5


def draw_share(report: ParameterReport) -> Drawing:
    """Draw a bar: the trainable share of all parameters."""
    words = _in_all(report)
    width, height = BAR_WIDTH + 1, BAR_HEIGHT + 1
    share = BAR_WIDTH / 100 * report.percent
    place = f'x="{HALF_BORDER}" y="{HALF_BORDER}"'
    shape = f'height="{BAR_HEIGHT}" rx="3"'
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" style="max-width:100%;height:auto" role="img" '
        f'aria-label="{words}">'
        f'<rect {place} width="{BAR_WIDTH}" {shape} fill="{FILL[FROZEN]}" stroke="{EDGE[FROZEN]}"/>'
        f'<rect {place} width="{share:.1f}" {shape} fill="{EDGE[TRAINABLE]}"/></svg>'
    )
    return Drawing(svg, words)


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


PICTURE_WIDTH, PICTURE_HEIGHT = 660, 372


LEFT, RIGHT, PLUS = 145, 385, 265  # the middles of W, of A and B, and of the sum


TOP, BOTTOM, SUM = 150, 290, 84  # of W, A and B; the height of the sum


WIDE, NARROW = 170, 56  # the two ends of A and B


NOTES = RIGHT + WIDE / 2 + 8  # where the words beside A and B begin


def figure_lora(
    cfg: dict, rank: int = RANK, alpha: float = ALPHA, matrix: str = "att.W_query"
) -> Drawing:
    """Draw what LoRA adds to one matrix of a block, with the sizes of the model with `cfg`.

    From bottom to top: x goes through the frozen matrix W and beside it through A and B, and both
    are added. `matrix` is one that takes an adapter, such as "ff.layers.0". Raises what
    `parameter_report` raises, and ValueError for another matrix.
    """
    matrices = [f"{piece}.{name}" for piece, names in ADAPTED_MATRICES.items() for name in names]
    one_of("matrix", matrix, matrices)
    plan = FreezePlan.lora(cfg["n_layers"], 1, rank, alpha)
    block = parameter_report(cfg, plan).count(f"trf_blocks.{cfg['n_layers'] - 1}")
    linear = classifier_without_weights(cfg).trf_blocks[0].get_submodule(matrix)
    out, width = linear.weight.shape
    scale = f"× alpha / rank = {plan.alpha:g} / {rank} = {plan.alpha / rank:g}"
    beside = {
        "B": (f"B: {out:,} × {rank}", f"{out * rank:,} parameters", "start at zero"),
        "A": (f"A: {rank} × {width:,}", f"{rank * width:,} parameters", "start random"),
    }
    inside = (matrix, "W, frozen", f"{out:,} × {width:,}", f"{out * width:,} parameters")
    title = (
        f"{matrix} with an adapter of rank {rank}: {rank * (out + width):,} parameters learn "
        f"beside {out * width:,} frozen ones"
    )
    below = f"x: {width:,} numbers for each token"
    above = f"W x + (alpha / rank) · B A x: {out:,} numbers for each token"
    all_six = (
        f"all six matrices of a block: {block.trainable:,} of its {block.parameters:,} parameters "
        "learn"
    )
    drawn = [
        text(PLUS, 50, above, size=13, anchor="middle"),
        *_ways(scale, rank),
        *_frozen(inside),
        *_learning("B", TOP, beside["B"], wide_on_top=True),
        *_learning("A", BOTTOM - 60, beside["A"], wide_on_top=False),
        text(PLUS, BOTTOM + 52, below, size=13, anchor="middle"),
        text(PICTURE_WIDTH / 2, PICTURE_HEIGHT - 8, all_six, size=12, anchor="middle"),
    ]
    words = "\n".join(
        (
            title,
            f"from bottom to top: {below}; on the left it goes through {', '.join(inside)}; on the "
            f"right through {', '.join(beside['A'])}, which leaves {_numbers(rank)}, and then "
            f"through {', '.join(beside['B'])}; {scale}; both are added",
            above,
            all_six,
        )
    )
    return titled(drawn, title, words, PICTURE_WIDTH, PICTURE_HEIGHT)


def _numbers(rank: int) -> str:
    return "1 number" if rank == 1 else f"{rank} numbers"


def _frozen(words: Sequence[str]) -> Iterator[str]:
    """The matrix W as a frozen box."""
    left, height, colour = LEFT - 105, BOTTOM - TOP, EDGE[FROZEN]
    yield (
        f'<rect x="{left}" y="{TOP}" width="210" height="{height}" rx="8" '
        f'fill="{FILL[FROZEN]}" stroke="{colour}" stroke-width="2" '
        f'stroke-dasharray="{DASHES[FROZEN]}"/>'
    )
    yield snowflake(left + 20, TOP + 20, colour)
    for i, line in enumerate(words):
        y = TOP + 48 + 20 * i
        yield text(LEFT, y, line, size=13, anchor="middle", bold=i == 0, fill=TEXT)


def _learning(name: str, y: float, words: Sequence[str], wide_on_top: bool) -> Iterator[str]:
    """A or B, 60 high from `y` down, narrow where they meet, with words on its right."""
    wide, narrow = WIDE / 2, NARROW / 2
    upper, lower = (wide, narrow) if wide_on_top else (narrow, wide)
    corners = ((-upper, y), (upper, y), (lower, y + 60), (-lower, y + 60))
    points = " ".join(f"{RIGHT + x:g},{corner:g}" for x, corner in corners)
    colour = EDGE[TRAINABLE]
    yield f'<polygon points="{points}" fill="{FILL[TRAINABLE]}" stroke="{colour}" stroke-width="2"/>'
    yield pencil(RIGHT - 14, y + 30, colour)
    yield text(RIGHT + 8, y + 35, name, size=14, bold=True, fill=TEXT)
    for i, line in enumerate(words):
        yield text(NOTES, y + 16 + 17 * i, line, size=12)


def _ways(scale: str, rank: int) -> Iterator[str]:
    """The lines from x through both ways to the sum, and on."""
    fork = BOTTOM + 24
    yield path(f"M{PLUS},{BOTTOM + 38}V{fork}M{LEFT},{fork}H{RIGHT}")
    for x in (LEFT, RIGHT):
        yield arrow(x, fork, BOTTOM + AIR)
        yield path(f"M{x},{TOP}V{SUM}M{x},{SUM}H{PLUS}")
    yield arrow(RIGHT, BOTTOM - 60, TOP + 60)
    yield text(NOTES, (TOP + BOTTOM) / 2 + 4, _numbers(rank), size=12)
    yield text(RIGHT + 8, (TOP + SUM) / 2 + 4, scale, size=12)
    yield f'<circle cx="{PLUS}" cy="{SUM}" r="11" fill="white" stroke="{INK}"/>'
    yield text(PLUS, SUM + 6, "+", size=18, anchor="middle", bold=True, fill=TEXT)
    yield arrow(PLUS, SUM - 11, 56)


if __name__ == "__main__":
    for drawn in draw_images():
        print(f"drew {drawn.name}")
