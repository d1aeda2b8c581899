"""The picture of the model under a plan, and of what LoRA adds to one of its matrices.

`python -m workshop.pictures.model` draws `images/`. The notebooks and the widgets show the same
drawing. Frozen, trainable, partly trainable and adapted parts differ in colour (Okabe & Ito's
palette, which can be told apart with any colour vision), border, mark and word.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from helpers.checks import one_of
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
    circle,
    draw_chips,
    path,
    picture,
    rect,
    text,
)
from workshop.texts import counted

IMAGES = Path(__file__).parents[2] / "images"

FILL = {FROZEN: "#cfe6f5", TRAINABLE: "#f9d9b5", PARTLY: "#fffbeb", ADAPTED: "#cdeee2"}
EDGE = {FROZEN: "#0072b2", TRAINABLE: "#b34e00", PARTLY: "#4f7030", ADAPTED: "#007a5a"}
DASHES = {FROZEN: "6 4", TRAINABLE: "", PARTLY: "16 4", ADAPTED: "12 4 2 4"}  # of the border
MARK = {FROZEN: "❄", TRAINABLE: "✎", PARTLY: "❄✎", ADAPTED: "❄+"}
STROKES = {  # of a mark: where they start, the path, more attributes
    "❄": (0, -8, "v16m-7,-12l14,8m0,-8l-14,8", ""),
    "✎": (-7, 7, "l2,-5l9,-9l3,3l-9,9z", ' fill="none" stroke-linejoin="round"'),
    "+": (0, -6, "v12m-6,-6h12", ""),
}
WAY, WAY_ON_DARK = "#a3326e", "#f0a0c8"  # of the gradient
NAMES = {
    "tok_emb": "token embedding",
    "pos_emb": "positional embedding",
    "final_norm": "final layer norm",
    "out_head": "classification head",
}


def css_colours() -> str:
    """Return the colours of the pictures as CSS variables: `--fx-frozen-fill` and so on."""
    colours = {"way": WAY, "way-on-dark": WAY_ON_DARK}
    names = {FROZEN: "frozen", TRAINABLE: "trainable", PARTLY: "partly", ADAPTED: "adapted"}
    for state, name in names.items():
        colours[f"{name}-fill"], colours[f"{name}-edge"] = FILL[state], EDGE[state]
    return ".fx-widget {" + " ".join(f"--fx-{k}: {v};" for k, v in colours.items()) + "}"


# --- the boxes, and the picture in words ----------------------------------------------------------


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
        if self.parts[0] in NAMES:
            return NAMES[self.parts[0]]
        count = len(self.parts)
        return "transformer block" if count == 1 else f"{count} transformer blocks"

    @property
    def name(self) -> str:
        """The parts' name in the model: "trf_blocks.0 – 10"."""
        return run_name(self.parts)

    def role(self, reach: GradientReach | None) -> str:
        """Return what the gradient does here: "ends here", "crosses" or nothing."""
        if reach and set(self.parts) & set(reach.ends):
            return "ends here"
        return "crosses" if reach and self.parts[0] in reach.crossed else ""


def fold(report: ParameterReport, shapes: tuple[Shape, ...] = ()) -> tuple[Row, ...]:
    """Return the boxes of the picture from input to output.

    Neighbouring blocks of one size, state and shape share a box.
    """
    shape_of = {shape.part: shape.shape for shape in shapes}
    rows: list[Row] = []
    for count in report.parts:
        part, shape = count.part, shape_of.get(count.part)
        row = Row((part,), count.parameters, count.trainable, count.state, shape)
        last = rows[-1] if rows else row
        are_blocks = "trf_blocks" in part and "trf_blocks" in last.parts[0]
        are_alike = (row.state, row.shape) == (last.state, last.shape)
        if rows and are_blocks and are_alike and last.trainable == len(last.parts) * row.trainable:
            parameters = last.parameters + row.parameters
            trainable = last.trainable + row.trainable
            rows[-1] = Row((*last.parts, part), parameters, trainable, row.state, shape)
        else:
            rows.append(row)
    return tuple(rows)


def _describe_total(report: ParameterReport) -> str:
    return f"{report.trainable:,} of {report.total:,} parameters trainable ({report.percent:.2f} %)"


def say_reach(reach: GradientReach) -> str:
    """Return in one sentence how far the gradient goes."""
    if not reach.ends:
        return "Nothing learns, so there is no backward pass."
    crossed = sum(part.startswith("trf_blocks.") for part in reach.crossed)
    blocks = counted(crossed, "block") if crossed else "no block"
    lowest = "the lowest part that learns"
    if len(reach.ends) > 1:
        lowest = "the lowest parts that learn"
    ends = " and ".join(reach.ends)
    return f"The gradient ends in {ends}, {lowest}; on its way down it crosses {blocks}."


def say_probabilities(probabilities: torch.Tensor) -> str:
    """Return one message's probabilities (num_classes,) in words: "ham 0.53, spam 0.47".

    Of more than two classes it is the likeliest: "class 2: 0.50".
    """
    if len(probabilities) != len(LABELS):
        return f"class {probabilities.argmax()}: {probabilities.max():.2f}"
    pairs = zip(LABELS, probabilities.tolist(), strict=True)
    return ", ".join(f"{name} {p:.2f}" for name, p in pairs)


# --- the picture ----------------------------------------------------------------------------------

BOX_WIDTH, BOX_HEIGHT = 330, 46
STEP = 68  # from one box's upper edge to the next one's
AIR = 3  # between a box and an arrow
MARGIN = 10
LANE = 86  # on the left of the boxes, for the gradient
BESIDE = 160  # on the right of the boxes, for words
ROOM_ALONE = 40  # on both sides of boxes with nothing beside them: the title is wider


def draw_classifier(
    report: ParameterReport,
    shapes: tuple[Shape, ...] = (),
    tokens: Sequence[str] = (),
    replaced_head: tuple[str, ...] = (),
    reach: GradientReach | None = None,
    answer: str = "",
    cached: int | None = None,
) -> Drawing:
    """Return the picture of a model from input (bottom) to output (top).

    With `shapes` each box has its output's shape beside it, and a "last_token" shape stands above
    the head with `answer` below it. `tokens` are written below the input. The lines of
    `replaced_head` stand beside the head and say which layer it replaced. `reach` draws the
    gradient's way down on the left. `cached` blocks and the embeddings lie below a line, with the
    remark that each message passes them once.
    """
    rows = fold(report, shapes)[::-1]  # the output first, as it is drawn
    logits = next((shape.shape for shape in shapes if shape.part == "last_token"), None)
    has_words = bool(shapes or replaced_head)
    around = 0 if reach or has_words else ROOM_ALONE
    left = MARGIN + (LANE if reach else around)
    width = left + BOX_WIDTH + (BESIDE if has_words else around) + MARGIN
    top = 74 if logits else 34  # of the uppermost box
    middle, beside = left + BOX_WIDTH / 2, left + BOX_WIDTH + 8
    drawn = [text(width / 2, 18, _describe_total(report), 13, "middle")]
    if logits:
        drawn.append(text(middle, 46, "the last token's logits", 13, "middle"))
        drawn.append(text(beside, 46, f"→ {logits}", 13, mono=True))
        drawn.append(arrow(middle, top - AIR, top - 20))
        if answer:
            drawn.append(text(beside, 62, answer, bold=True))
    for i, row in enumerate(rows):
        y = top + STEP * i
        drawn += _draw_box(row, left, y)
        drawn.append(arrow(middle, y + STEP - AIR, y + BOX_HEIGHT + AIR))
        if row.shape:
            drawn.append(text(beside, y + 28, f"→ {row.shape}", 13, mono=True))
    if cached is not None:
        below = part_names(cached)[: 2 + cached]  # the two embeddings, and the blocks
        above = sum(row.parts[0] not in below for row in rows)
        y = top + STEP * above - (STEP - BOX_HEIGHT) / 2
        drawn.append(path(f"M{left},{y:g}H{left + BOX_WIDTH + BESIDE}", width=1, dashes="2 3"))
        drawn.append(text(beside, y - 8, "above: in every step"))
        drawn.append(text(beside, y + 16, "below: once, and cached"))
    for i, line in enumerate(replaced_head):
        drawn.append(text(beside, top + 45 + 14 * i, line, size=11))
    bottom = top + STEP * len(rows)
    token_ids = f"token ids {shapes[0].shape}" if shapes else "token ids"
    drawn.append(text(middle, bottom + 12, token_ids, 13, "middle"))
    room = 2 * min(middle, width - middle) - 2 * MARGIN
    chips, height = draw_chips(tokens, middle, bottom + 22, room)
    drawn += chips
    if reach:
        drawn += _draw_gradient(rows, reach, top)

    lines = [f"input: {token_ids}"] if shapes else []
    roles = {"crosses": ", crossed by the gradient", "ends here": ", where the gradient ends"}
    for row in reversed(rows):
        shape = f", puts out {row.shape}" if row.shape else ""
        lines.append(
            f"{row.title}  ({row.name}): {row.parameters:,} parameters, {row.state}{shape}"
            f"{roles.get(row.role(reach), '')}"
        )
    if logits:
        lines.append(f"the last token's logits: {logits}")
    lines.append(f"in all: {_describe_total(report)}")
    if answer:
        lines.append(f"answer: {answer}")
    if cached is not None:
        lines.append(f"below a line, run once and cached: the embeddings and {cached} blocks")
    if replaced_head:
        lines.append(f"the head is {' '.join(replaced_head)}")
    return picture(drawn, "\n".join(lines), width, height)


def _draw_box(row: Row, x: float, y: float) -> list[str]:
    """Return a box with the marks of its state, title and parameters, name and state."""
    fill, edge = FILL[row.state], EDGE[row.state]
    drawn = [rect(x, y, BOX_WIDTH, BOX_HEIGHT, fill, edge, 8, 2, DASHES[row.state])]
    marks = MARK[row.state]
    for i, sign in enumerate(marks):
        drawn.append(_draw_mark(sign, x + 20, y + 23 + 18 * i - 9 * (len(marks) - 1), edge))
    left, right = x + 40, x + BOX_WIDTH - 10
    return [
        *drawn,
        text(left, y + 20, row.title, 14, bold=True, fill=TEXT),
        text(left, y + 37, row.name, mono=True, fill=TEXT),
        text(right, y + 20, f"{row.parameters:,}", 13, "end", fill=TEXT),
        text(right, y + 37, row.state, anchor="end", fill=TEXT),
    ]


def _draw_mark(sign: str, x: float, y: float, colour: str) -> str:
    right, down, strokes, more = STROKES[sign]
    start = f"M{x + right:g},{y + down:g}"
    return f'<path d="{start}{strokes}" stroke="{colour}" stroke-width="2"{more}/>'


def _draw_gradient(rows: Sequence[Row], reach: GradientReach, top: float) -> list[str]:
    """Return the gradient's way from the loss, at the top left, to the boxes where it ends."""
    if not reach.ends:
        return [text(MARGIN, top - 10, "no gradient")]
    drawn = [text(MARGIN, top - 10, "loss", fill=WAY, bold=True, css="way")]
    x, tip = MARGIN + 12, MARGIN + LANE - 2
    for i, row in enumerate(rows):
        y, role = top + STEP * i + BOX_HEIGHT / 2, row.role(reach)
        if role == "ends here":
            drawn.append(
                f'<path class="way" d="M{x},{top - 4}V{y:g}H{tip - 8}" '
                f'stroke="{WAY}" stroke-width="3" fill="none"/>'
            )
            head = f"{tip - 9},{y - 5:g} {tip - 9},{y + 5:g} {tip},{y:g}"
            drawn.append(f'<polygon class="way" points="{head}" fill="{WAY}"/>')
        if role:
            baseline = y - 6 if role == "ends here" else y + 4
            drawn.append(text(x + 8, baseline, role, fill=WAY, css="way"))
    return drawn


def draw_share(report: ParameterReport) -> Drawing:
    """Return a bar that shows the trainable fraction of all parameters."""
    width = 559
    drawn = [
        rect(0.5, 0.5, width, 13, FILL[FROZEN], EDGE[FROZEN], 3),
        rect(0.5, 0.5, width * report.percent / 100, 13, EDGE[TRAINABLE], rx=3),
    ]
    return picture(drawn, _describe_total(report), width + 1, 14)


# --- the pictures in images/ ----------------------------------------------------------------------


def figure_6_12() -> Drawing:
    """Return the picture of selective fine-tuning: GPT-2 124M under the book's plan."""
    return draw_classifier(parameter_report(gpt_config("gpt2-small (124M)"), FreezePlan.book(12)))


def figure_6_13() -> Drawing:
    """Return the picture of GPT-2 124M with a classification head, and its shapes for a message."""
    cfg, tokenizer = gpt_config("gpt2-small (124M)"), get_tokenizer()
    token_ids = tokenizer.encode("Do you have time")
    shapes = trace_shapes(classifier_without_weights(cfg), torch.tensor([token_ids]))
    sizes = f"{cfg['emb_dim']} → {cfg['vocab_size']:,}"
    replaced = ("instead of the", "language-model head:", sizes)
    report = parameter_report(cfg, FreezePlan.book(cfg["n_layers"]))
    return draw_classifier(report, shapes, visible_tokens(token_ids, tokenizer), replaced)


def draw_images(folder: Path = IMAGES) -> list[Path]:
    """Draw the two figures into `folder`; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = {
        "figure_6_12_selective_fine_tuning.svg": figure_6_12(),
        "figure_6_13_classification_head.svg": figure_6_13(),
    }
    for name, figure in figures.items():
        Path(folder, name).write_text(figure.svg + "\n", encoding="utf-8")
    return [Path(folder, name) for name in figures]


# --- LoRA -----------------------------------------------------------------------------------------


def figure_lora(
    cfg: dict, rank: int = RANK, alpha: float = ALPHA, matrix: str = "att.W_query"
) -> Drawing:
    """Return a picture of what LoRA adds to one matrix of a block (Hu et al. 2021, section 4.1).

    From bottom to top: x goes through the frozen matrix W and beside it through A and B, and both
    are added, with the sizes of the model with `cfg`. `matrix` is one that takes an adapter, such
    as "ff.layers.0". Raises ValueError for another matrix, and for a rank or alpha that
    `FreezePlan.lora` refuses.
    """
    matrices = [f"{piece}.{name}" for piece, names in ADAPTED_MATRICES.items() for name in names]
    one_of("matrix", matrix, matrices)
    plan = FreezePlan.lora(cfg["n_layers"], 1, rank, alpha)
    block = parameter_report(cfg, plan).count(f"trf_blocks.{cfg['n_layers'] - 1}")
    layer = classifier_without_weights(cfg).trf_blocks[0].get_submodule(matrix)
    out, into = layer.weight.shape
    numbers, scale = (
        counted(rank, "number"),
        f"alpha / rank = {alpha:g} / {rank} = {alpha / rank:g}",
    )
    of_w = (matrix, "W, frozen", f"{out:,} × {into:,}", f"{out * into:,} parameters")
    of_a = (f"A: {rank} × {into:,}", f"{rank * into:,} parameters", "start random")
    of_b = (f"B: {out:,} × {rank}", f"{out * rank:,} parameters", "start at zero")
    title = (
        f"{matrix} with an adapter of rank {rank}: {rank * (out + into):,} parameters learn "
        f"beside {out * into:,} frozen ones"
    )
    below = f"x: {into:,} numbers for each token"
    above = f"W x + (alpha / rank) · B A x: {out:,} numbers for each token"
    all_six = (
        f"all six matrices of a block: {block.trainable:,} of its {block.parameters:,} parameters "
        "learn"
    )
    drawn = [  # W is around x = 145, A and B around 385, the sum at 265
        text(330, 18, title, 13, "middle"),
        text(265, 50, above, 13, "middle"),
        path("M265,328V314M145,314H385M145,150V84H265M385,150V84H265"),
        arrow(145, 314, 293),
        arrow(385, 314, 293),
        arrow(385, 230, 210),
        arrow(265, 73, 56),
        circle(265, 84, 11, "white", INK, 1),
        text(265, 90, "+", 18, "middle", bold=True, fill=TEXT),
        text(393, 121, f"× {scale}"),
        text(478, 224, numbers),
        rect(40, 150, 210, 140, FILL[FROZEN], EDGE[FROZEN], 8, 2, DASHES[FROZEN]),
        _draw_mark("❄", 60, 170, EDGE[FROZEN]),
        text(265, 342, below, 13, "middle"),
        text(330, 364, all_six, 12, "middle"),
    ]
    for i, line in enumerate(of_w):
        drawn.append(text(145, 198 + 20 * i, line, 13, "middle", bold=i == 0, fill=TEXT))
    for y, upper, lower, lines in ((150, 85, 28, of_b), (230, 28, 85, of_a)):
        points = (
            f"{385 - upper},{y} {385 + upper},{y} {385 + lower},{y + 60} {385 - lower},{y + 60}"
        )
        edge = EDGE[TRAINABLE]
        drawn.append(
            f'<polygon points="{points}" fill="{FILL[TRAINABLE]}" stroke="{edge}" '
            'stroke-width="2"/>'
        )
        drawn.append(_draw_mark("✎", 371, y + 30, edge))
        drawn.append(text(393, y + 35, lines[0][0], 14, bold=True, fill=TEXT))
        for i, line in enumerate(lines):
            drawn.append(text(478, y + 16 + 17 * i, line))
    way = (
        f"from bottom to top: {below}; on the left it goes through {', '.join(of_w)}; on the right "
        f"through {', '.join(of_a)}, which leaves {numbers}, and then through {', '.join(of_b)}; "
        f"× {scale}; both are added"
    )
    return picture(drawn, "\n".join((title, way, above, all_six)), 660, 372)


if __name__ == "__main__":
    for drawn in draw_images():
        print(f"drew {drawn.name}")
