"""Pictures of the model under a plan, and the course's curves. `python -m helpers.diagrams` draws `images/`.

Frozen and trainable parts differ by colour (Okabe & Ito's palette, told apart with any colour vision), by a mark and by
word. `describe` says in text what `draw_classifier` shows.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from helpers.config import gpt_config
from helpers.freezing import (
    FROZEN,
    PARTLY,
    TRAINABLE,
    FreezePlan,
    ParameterReport,
    classifier_without_weights,
    parameter_report,
)
from helpers.shapes import Shape, trace_shapes
from helpers.tokenizer import get_tokenizer

IMAGES = Path(__file__).parent.parent / "images"
FILL = {FROZEN: "#cfe6f5", TRAINABLE: "#f9d9b5", PARTLY: "#f3ecc0"}
EDGE = {FROZEN: "#0072b2", TRAINABLE: "#b34e00", PARTLY: "#7a6a00"}
MARK = {FROZEN: "❄", TRAINABLE: "✎", PARTLY: "❄✎"}
NAMES = {
    "tok_emb": "token embedding",
    "pos_emb": "positional embedding",
    "final_norm": "final layer norm",
    "out_head": "classification head",
}


@dataclass(frozen=True)
class Row:
    """One box of the picture: a part, or a run of blocks that are equal in size, state and shape."""

    parts: tuple[str, ...]
    parameters: int
    trainable: int
    state: str
    shape: tuple[int, ...] | None

    @property
    def label(self) -> str:
        first, last = self.parts[0], self.parts[-1]
        if first in NAMES:
            return f"{NAMES[first]}  ({first})"
        if first == last:
            return f"transformer block  ({first})"
        return f"{len(self.parts)} transformer blocks  ({first} – {last.rpartition('.')[2]})"


def fold(report: ParameterReport, shapes: tuple[Shape, ...] = ()) -> tuple[Row, ...]:
    """Return the rows of the picture from input to output; neighbouring blocks that look the same become one row."""
    shape_of = {shape.part: shape.shape for shape in shapes}
    rows: list[Row] = []
    for count in report.parts:
        row = Row((count.part,), count.parameters, count.trainable, count.state, shape_of.get(count.part))
        block = count.part.startswith("trf_blocks.")
        if block and rows and rows[-1].parts[0].startswith("trf_blocks."):
            last = rows[-1]
            size = len(last.parts)
            if (row.state, row.shape) == (last.state, last.shape) and last.trainable == size * row.trainable:
                rows[-1] = replace(
                    last,
                    parts=(*last.parts, count.part),
                    parameters=last.parameters + row.parameters,
                    trainable=last.trainable + row.trainable,
                )
                continue
        rows.append(row)
    return tuple(rows)


def describe(report: ParameterReport, shapes: tuple[Shape, ...] = ()) -> str:
    """Return the picture in words, from input to output, a line for each box."""
    lines = [f"input: token ids {shapes[0].shape}"] if shapes else []
    for row in fold(report, shapes):
        shape = f", puts out {row.shape}" if row.shape else ""
        lines.append(f"{row.label}: {row.parameters:,} parameters, {row.state}{shape}")
    return "\n".join(
        [*lines, f"in all: {report.trainable:,} of {report.total:,} parameters trainable ({report.percent:.2f} %)"]
    )


def draw_classifier(
    report: ParameterReport,
    shapes: tuple[Shape, ...] = (),
    tokens: list[str] | None = None,
    replaced_head: str | None = None,
) -> Figure:
    """Draw the model from input (bottom) to output (top).

    With `shapes` each box says what it puts out; `tokens` are written below the input; `replaced_head` is a note drawn
    beside the head for the layer that it took the place of.
    """
    rows = fold(report, shapes)
    step, height, left, width = 1.0, 0.62, 0.3, 6.4
    right = left + width + (2.6 if shapes or replaced_head else 0.3)
    bottom, top = (-1.15 if tokens else -0.75), (len(rows) + 0.35) * step
    figure = plt.figure(figsize=(right, (top - bottom) * 0.82), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlim=(0, right), ylim=(bottom, top))
    axes.axis("off")
    middle = left + width / 2

    def arrow(y):
        axes.annotate(
            "", (middle, y), (middle, y - step + height), arrowprops={"arrowstyle": "-|>", "color": "#333333"}
        )

    start = f"token ids {shapes[0].shape}" if shapes else "token ids"
    if tokens:
        start += "\n" + "   ".join(token.replace(" ", "␣") for token in tokens)
    axes.text(middle, -0.42, start, ha="center", va="top", fontsize=10, linespacing=1.5)
    for i, row in enumerate(rows):
        y = i * step
        arrow(y)
        axes.add_patch(
            FancyBboxPatch(
                (left, y), width, height, boxstyle="round,pad=0,rounding_size=0.12", facecolor=FILL[row.state],
                edgecolor=EDGE[row.state], linewidth=2, linestyle="--" if row.state == FROZEN else "-",
            )
        )  # fmt: skip
        axes.text(left + 0.2, y + height / 2, row.label, va="center", fontsize=10, weight="bold", color="#111111")
        says = f"{row.parameters:,}\n{MARK[row.state]} {row.state}"
        axes.text(left + width - 0.15, y + height / 2, says, va="center", ha="right", fontsize=9, color="#111111")
        if row.shape:
            axes.text(
                left + width + 0.15, y + height / 2, f"→ {row.shape}", va="center", fontsize=10, family="monospace"
            )
    if replaced_head:
        y = (len(rows) - 1) * step
        axes.text(left + width + 0.15, y + height + 0.12, replaced_head, va="bottom", fontsize=9, color="#444444")
    total = f"{report.trainable:,} of {report.total:,} parameters trainable ({report.percent:.2f} %)"
    axes.text(middle, top - 0.5 * (step - height), total, ha="center", va="center", fontsize=10)
    return figure


def plot_values(epochs_seen, examples_seen, train_values, val_values, label="loss") -> Figure:
    """Draw training and validation values over epochs (lower axis) and over examples seen (upper axis).

    The first two are (x, …) tensors or sequences as long as the values. The book's function, which also saves a PDF.
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


def draw_images(folder: Path = IMAGES) -> list[Path]:
    """Draw the two figures of GPT-2 124M into `folder`; return their paths."""
    cfg = gpt_config("gpt2-small (124M)")
    report = parameter_report(cfg, FreezePlan.book(cfg["n_layers"]))
    tokenizer = get_tokenizer()
    token_ids = tokenizer.encode("Do you have time")
    shapes = trace_shapes(classifier_without_weights(cfg), torch.tensor([token_ids]))
    lm_head = f"instead of the language-\nmodel head: {cfg['emb_dim']} → {cfg['vocab_size']:,}"
    figures = {
        "figure_6_12_selective_fine_tuning.png": draw_classifier(report),
        "figure_6_13_classification_head.png": draw_classifier(
            report, shapes, [tokenizer.decode([i]) for i in token_ids], lm_head
        ),
    }
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, figure in figures.items():
        figure.savefig(folder / name, dpi=130, facecolor="white", metadata={"Software": None})
        plt.close(figure)
        paths.append(folder / name)
    return paths


if __name__ == "__main__":
    matplotlib.use("agg")
    for path in draw_images():
        print(f"drew {path.name}")
