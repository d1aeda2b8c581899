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
