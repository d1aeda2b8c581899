"""What a classifier answers, as a bar, and how the answer forms from block to block."""

from collections.abc import Sequence

from helpers.svg import BLUE, ORANGE, Axes, Drawing, circle, line, mixed, picture, rect, text

WIDTH, HEIGHT = 360, 30


def draw_probabilities(spam: float) -> Drawing:
    """Draw one message's two probabilities as one bar: ham on the left, spam on the right."""
    spam = round(spam, 2)
    width = round(WIDTH * (1 - spam))
    ham, rest = mixed(0.45, BLUE), mixed(0.45, ORANGE)
    drawn = [
        rect(0, 3, width, HEIGHT - 6, ham),
        rect(width, 3, WIDTH - width, HEIGHT - 6, rest),
        text(8, 20, f"ham {1 - spam:.2f}", size=13, bold=spam < 0.5, fill="#111111"),
        text(
            WIDTH - 8, 20, f"spam {spam:.2f}",
            size=13, anchor="end", bold=spam >= 0.5, fill="#111111",
        ),
    ]  # fmt: skip
    return picture(drawn, f"ham {1 - spam:.2f}, spam {spam:.2f}", WIDTH, HEIGHT)


def draw_after_blocks(spam: Sequence[float]) -> Drawing:
    """Draw the probability of spam if the head read the vectors after 0, 1, … blocks already."""
    spam = [round(p, 2) for p in spam]
    last = len(spam) - 1
    axes = Axes((58, 24, 280, 76), (0, max(last, 1)), (0.0, 1.0))
    step = max(1, -(-last // 12))
    drawn = [
        *axes.drawn("after so many blocks", "spam", range(0, last + 1, step), (0, 0.5, 1)),
        line([axes.at(0, 0.5), axes.at(max(last, 1), 0.5)], "#767676", 1),
        line([axes.at(i, p) for i, p in enumerate(spam)], ORANGE),
        *(circle(*axes.at(i, p), 3.5, ORANGE) for i, p in enumerate(spam)),
    ]
    steps = ", ".join(f"{p:.2f} after {i}" for i, p in enumerate(spam))
    words = f"probability of spam by the number of blocks that the head reads after: {steps}"
    return picture(drawn, words, 360, 142)
