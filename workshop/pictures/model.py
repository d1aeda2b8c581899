"""The picture of the model under a plan, and of what LoRA adds to one of its matrices.

`python -m workshop.pictures.model` draws `images/`. The notebooks and the widgets show the same
drawing. Frozen, trainable, partly trainable and adapted parts differ in colour (Okabe & Ito's
palette, which can be distinguished with any colour vision), border, mark and word.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import torch

from helpers.checks import whole_number
from helpers.config import gpt_config
from helpers.freezing import (
    ADAPTED,
    ALPHA,
    FROZEN,
    PARTLY,
    RANK,
    TRAINABLE,
    FreezePlan,
    GradientReach,
    ParameterReport,
    PartCount,
    Shape,
    classifier_without_weights,
    parameter_report,
    run_name,
    trace_shapes,
)
from helpers.model import part_names
from helpers.tokenizer import get_tokenizer, visible_tokens
from workshop.pictures.svg import (
    TEXT,
    WAY,
    Drawing,
    arrow,
    chip_width,
    draw_chips,
    path,
    picture,
    rect,
    text,
)
from workshop.texts import counted

IMAGES = Path(__file__).parents[2] / "images"

LOOKS = {  # of the boxes of each state: colour, colour and dashes of the border, marks
    FROZEN: ("#cfe6f5", "#0072b2", "6 4", "❄"),
    TRAINABLE: ("#f9d9b5", "#b34e00", "", "✎"),
    PARTLY: ("#fffbeb", "#4f7030", "16 4", "❄✎"),
    ADAPTED: ("#cdeee2", "#007a5a", "12 4 2 4", "❄+"),
}
STROKES = {  # of a mark: where they start, the path, more attributes
    "❄": (0, -8, "v16m-7,-12l14,8m0,-8l-14,8", ""),
    "✎": (-7, 7, "l2,-5l9,-9l3,3l-9,9z", ' fill="none" stroke-linejoin="round"'),
    "+": (0, -6, "v12m-6,-6h12", ""),
}
NAMES = {
    "tok_emb": "token embedding",
    "pos_emb": "positional embedding",
    "trf_blocks": "transformer block",
    "final_norm": "final layer norm",
    "out_head": "classification head",
}


# --- the boxes, and the picture in words ----------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One box of the picture: a part, or neighbouring blocks of one size, state and shape.

    `title` is "11 transformer blocks", `name` "trf_blocks.0 – 10"; `role` is what the gradient does
    here: "stops here", "passes through" or nothing.
    """

    parts: tuple[str, ...]
    title: str
    name: str
    parameters: int
    trainable: int
    state: str
    shape: tuple[int, ...] | None
    role: str


def fold(
    report: ParameterReport, shapes: tuple[Shape, ...] = (), reach: GradientReach | None = None
) -> tuple[Row, ...]:
    """Return the boxes of the picture from input to output.

    Neighbouring blocks of one size, state and shape share a box.
    """
    shape_of = {shape.part: shape.shape for shape in shapes}

    def box(count: PartCount) -> tuple:
        kind = count.part.split(".")[0]
        return kind, count.state, count.trainable, shape_of.get(count.part)

    rows = []
    for (kind, state, trainable, shape), group in groupby(report.parts, box):
        counts = list(group)
        parts, title = tuple(count.part for count in counts), NAMES[kind]
        if len(parts) > 1:
            title = f"{len(parts)} transformer blocks"
        role = ""
        if reach and set(parts) & set(reach.ends):
            role = "stops here"
        elif reach and parts[0] in reach.crossed:
            role = "passes through"
        parameters, trainable = sum(count.parameters for count in counts), trainable * len(parts)
        rows.append(Row(parts, title, run_name(parts), parameters, trainable, state, shape, role))
    return tuple(rows)


# --- the picture ----------------------------------------------------------------------------------

BOX_WIDTH, BOX_HEIGHT = 330, 46
STEP = 68  # from one box's upper edge to the next one's
AIR = 3  # between a box and an arrow


def draw_classifier(
    report: ParameterReport,
    shapes: tuple[Shape, ...] = (),
    tokens: Sequence[str] = (),
    replaced_head: tuple[str, ...] = (),
    reach: GradientReach | None = None,
    cached: int | None = None,
) -> Drawing:
    """Return the picture of a model from input (bottom) to output (top).

    With `shapes` each box has its output's shape beside it, and a "last_token" shape stands above
    the head. `tokens` are written below the input. The lines of
    `replaced_head` stand beside the head and say which layer it replaced. `reach` draws the
    gradient's way down on the left. `cached` blocks and the embeddings lie below a line, with the
    remark that each message passes them once.
    """
    rows = fold(report, shapes, reach)[::-1]  # the output first
    total = f"{report.trainable:,} of {report.total:,} parameters trainable ({report.percent_text})"
    left, width = 50, 430
    if shapes:  # to the right of the boxes, which are then further left
        left, width = 10, 510
    if reach:
        left, width = 124, 624
    logits = next((shape.shape for shape in shapes if shape.part == "last_token"), None)
    middle, beside = left + BOX_WIDTH / 2, left + BOX_WIDTH + 8
    drawn = [text(width / 2, 18, total, 13, "middle")]
    notes, top = [f"in all: {total}"], 34  # what stands beside the boxes; of the uppermost box
    if logits:
        top = 74
        drawn.append(text(middle, 46, "the last token's logits", 13, "middle"))
        drawn.append(text(beside, 46, f"→ {logits}", 13, mono=True))
        drawn.append(arrow(middle, top - AIR, top - 20))
        notes.append(f"the last token's logits: {logits}")
    lines = []
    for i, row in enumerate(rows):
        y, details = top + STEP * i, f"{row.parameters:,} parameters, {row.state}"
        drawn += _draw_box(row, left, y)
        drawn.append(arrow(middle, y + STEP - AIR, y + BOX_HEIGHT + AIR))
        if row.shape:
            details += f", outputs {row.shape}"
            drawn.append(text(beside, y + 28, f"→ {row.shape}", 13, mono=True))
        if row.role:
            details += f", the gradient {row.role}"
        lines.append(f"{row.title}  ({row.name}): {details}")
    if cached is not None:
        below = part_names(cached)[: 2 + cached]  # the two embeddings, and the blocks
        y = top + STEP * sum(row.parts[0] not in below for row in rows) - 11
        drawn.append(path(f"M{left},{y}H{width - 10}", width=1, dashes="2 3"))
        drawn.append(text(beside, y - 8, "above: in every step"))
        drawn.append(text(beside, y + 16, "below: once, and cached"))
        notes.append(f"below a line, run once and cached: the embeddings and {cached} blocks")
    for i, line in enumerate(replaced_head):
        drawn.append(text(beside, top + 45 + 14 * i, line, 11))
    if replaced_head:
        notes.append(f"the head is {' '.join(replaced_head)}")
    bottom = top + STEP * len(rows)
    token_ids, words = "token ids", [*reversed(lines), *notes]
    if shapes:
        token_ids += f" {shapes[0].shape}"
        words.insert(0, f"input: {token_ids}")
    drawn.append(text(middle, bottom + 12, token_ids, 13, "middle"))
    height = bottom + 20
    if tokens:
        room = 2 * left + 310
        wide = min(room, sum(chip_width(token) for token in tokens))
        chips, height = draw_chips(tokens, middle - wide / 2, bottom + 22, room, 3)
        drawn += chips
    if reach:
        drawn += _draw_gradient(rows, top)
    return picture(drawn, "\n".join(words), width, height)


def _draw_box(row: Row, x: float, y: float) -> list[str]:
    """Return a box with the marks of its state, title and parameters, name and state."""
    fill, edge, dashes, marks = LOOKS[row.state]
    drawn = [rect(x, y, BOX_WIDTH, BOX_HEIGHT, fill, edge, 8, 2, dashes)]
    for i, sign in enumerate(marks):
        right, down, strokes, more = STROKES[sign]
        start = x + 20 + right, y + 23 + down + 18 * i - 9 * (len(marks) - 1)
        drawn.append(
            f'<path d="M{start[0]:g},{start[1]:g}{strokes}" stroke="{edge}" stroke-width="2"{more}/>'
        )
    left, right = x + 40, x + BOX_WIDTH - 10
    return [
        *drawn,
        text(left, y + 20, row.title, 14, bold=True, fill=TEXT),
        text(left, y + 37, row.name, mono=True, fill=TEXT),
        text(right, y + 20, f"{row.parameters:,}", 13, "end", fill=TEXT),
        text(right, y + 37, row.state, anchor="end", fill=TEXT),
    ]


def _draw_gradient(rows: Sequence[Row], top: float) -> list[str]:
    """Return the gradient's way from the loss, at the top left, to the boxes where it ends."""
    drawn = [text(10, top - 10, "loss", fill=WAY, bold=True)]
    for i, row in enumerate(rows):
        y = top + STEP * i + BOX_HEIGHT / 2
        if row.role:
            drawn.append(text(30, y - 6, row.role, fill=WAY))
        if row.role == "stops here":
            drawn.append(path(f"M22,{top - 4}V{y:g}H120m-7,-5l7,5l-7,5", WAY, 3))
    return drawn


# --- the new head ---------------------------------------------------------------------------------


def draw_new_head(cfg: dict) -> Drawing:
    """Return a diagram of the language-model head and of the classification head that replaces it.

    `cfg` is the model's configuration. The widths are not to scale.
    """
    d, vocabulary = cfg["emb_dim"], cfg["vocab_size"]
    before = ("language-model head", vocabulary, vocabulary * d, "token of the vocabulary")
    after = ("classification head", 2, (d + 1) * 2, "class")
    drawn = [text(295, 96, "→", 22, "middle"), text(295, 116, "replaced by", anchor="middle")]
    lines = []
    for middle, state, half, (title, outputs, count, meaning) in (
        (135, FROZEN, 125, before),
        (455, TRAINABLE, 25, after),
    ):
        fill, edge, dashes, _ = LOOKS[state]
        size, parameters = f"{d:,} → {outputs:,}", f"{count:,} parameters"
        drawn += [
            text(middle, 18, title, 14, "middle", bold=True),
            text(middle, 40, f"one logit for each {meaning}", anchor="middle"),
            arrow(middle, 64, 46),
            f'<polygon points="{middle - 80},142 {middle + 80},142 {middle + half},68 '
            f'{middle - half},68" fill="{fill}" stroke="{edge}" stroke-width="2" '
            f'stroke-dasharray="{dashes}"/>',
            text(middle, 116, size, 14, "middle", bold=True, fill=TEXT),
            text(middle, 133, parameters, anchor="middle", fill=TEXT),
            arrow(middle, 164, 146),
            text(middle, 180, f"the vector of a token: {d:,} numbers", anchor="middle"),
        ]
        lines.append(f"{title}: {size}, {parameters}, one logit for each {meaning}")
    return picture(drawn, "\nreplaced by the ".join(lines), 590, 190)


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


def draw_images(folder: Path = IMAGES) -> None:
    """Draw the two figures into `folder`."""
    for name, figure in (
        ("figure_6_12_selective_fine_tuning.svg", figure_6_12()),
        ("figure_6_13_classification_head.svg", figure_6_13()),
    ):
        Path(folder, name).write_text(figure.svg + "\n", encoding="utf-8")


# --- LoRA -----------------------------------------------------------------------------------------


def figure_lora(cfg: dict, rank: int = RANK, alpha: float = ALPHA) -> Drawing:
    """Return a picture of what LoRA adds to a query matrix (Hu et al. 2021, section 4.1).

    From bottom to top: x goes through the frozen matrix W and, in parallel, through A and B, and both
    results are added, with the sizes of the model with `cfg`. Raises ValueError for a rank that is no whole
    number from 1.
    """
    rank, d = whole_number("rank", rank, 1), cfg["emb_dim"]
    title = (
        f"att.W_query with an adapter of rank {rank}: {2 * rank * d:,} trainable parameters, "
        f"{d * d:,} frozen ones"
    )
    below = f"x: {d:,} numbers for each token"
    above = f"W x + (alpha / rank) · B A x: {d:,} numbers for each token"
    scale = f"× alpha / rank = {alpha:g} / {rank} = {alpha / rank:g}"
    numbers = counted(rank, "number")
    drawn = [  # W is around x = 175, A and B around 535, the sum at 355
        text(355, 18, title, 13, "middle"),
        text(355, 48, above, 13, "middle"),
        arrow(355, 76, 56),
        text(355, 94, "+", 18, "middle", bold=True),
        path("M175,147V88H342M535,110V88H368M175,262H535M355,278V262"),
        text(372, 82, scale),
        arrow(535, 183, 159),
        text(543, 175, numbers),
        arrow(175, 263, 196),
        arrow(535, 263, 233),
        text(355, 292, below, 13, "middle"),
    ]
    boxes = []
    for letter, rows, columns, start, state, x, y in (
        ("W", d, d, "pretrained", FROZEN, 10, 147),
        ("A", rank, d, "random at first", TRAINABLE, 370, 184),
        ("B", d, rank, "zero at first", TRAINABLE, 370, 110),
    ):
        size, count = f"{letter}: {rows:,} × {columns:,}", rows * columns
        drawn += _draw_box(Row((), size, start, count, count, state, None, ""), x, y)
        boxes.append(f"{size}, {count:,} parameters, {start}, {state}")
    way = (
        f"from bottom to top: {below}; on the left it goes through {boxes[0]}; on the right through "
        f"{boxes[1]}, which leaves {numbers}, and then through {boxes[2]}; {scale}; both results are added"
    )
    return picture(drawn, "\n".join((title, way, above)), 710, 302)


if __name__ == "__main__":
    draw_images()
