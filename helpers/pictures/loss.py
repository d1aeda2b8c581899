"""What an answer costs: the cross-entropy of one message, by the probability of its correct class."""

import math

from helpers.checks import finite_number
from helpers.svg import BLUE, ORANGE, Axes, Drawing, circle, line, picture, text

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
    right = p > 0.6
    words = f"{p:g} for the correct class costs {loss:.2f}"
    drawn = [
        *axes.drawn("probability of the correct class", "loss", (0, 0.25, 0.5, 0.75, 1), range(6)),
        line([axes.at(0.5, 0), axes.at(0.5, MOST)], "#767676", 1),
        text(axes.at(0.5, 0)[0] + 6, 46, "from here on it is the answer", size=11),
        line([axes.at(step, -math.log(step)) for step in steps], BLUE),
        line([(x, axes.at(p, 0)[1]), (x, y)], ORANGE),
        circle(x, y, 6, ORANGE),
        text(x - 10 if right else x + 12, min(y - 10, 244), words, anchor="end" if right else "start", bold=True),
    ]  # fmt: skip
    return picture(drawn, f"the loss −ln p falls from left to right; {words}", 560, 300)
