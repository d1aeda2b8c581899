"""What LoRA adds to one matrix, in one picture: appendix 6.B. Hu et al. 2021, section 4.1."""

from collections.abc import Iterator, Sequence

from helpers.checks import one_of
from helpers.diagrams import AIR, DASHES, EDGE, FILL, pencil, snowflake, titled
from helpers.freezing import (
    ADAPTED_MATRICES,
    ALPHA,
    FROZEN,
    RANK,
    TRAINABLE,
    FreezePlan,
    classifier_without_weights,
    parameter_report,
)
from helpers.svg import INK, TEXT, Drawing, arrow, path, text

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
