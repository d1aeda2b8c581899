"""A picture of how a pretraining goes: its losses beside those of knowing less."""

from collections.abc import Mapping, Sequence

from helpers.svg import BLUE, ORANGE, Axes, Drawing, circle, length, line, path, picture, text

WIDTH, HEIGHT = 620, 300
FRAME = (52, 44, 380, 206)


def draw_pretraining(
    losses: Sequence[float],
    validated: Sequence[tuple[int, float]],
    levels: Mapping[str, float],
) -> Drawing:
    """Draw each step's loss, the held-out ones as (step, loss), and `levels` to compare with.

    All losses are in nats; a level is a dotted line across, with its name at the right.
    """
    every = [*losses, *(loss for _, loss in validated), *levels.values()]
    low, high = min(every), max(every)
    room = 0.05 * (high - low) + 0.1
    axes = Axes(FRAME, (0, max(1, len(losses))), (low - room, high + room))
    right = FRAME[0] + FRAME[2]
    ticks = range(0, len(losses) + 1, max(1, len(losses) // 4))
    drawn = [
        *axes.drawn("step", "nats", ticks),
        line([axes.at(step, loss) for step, loss in enumerate(losses, start=1)], BLUE, 0.8),
        line([axes.at(*point) for point in validated], ORANGE),
        *(circle(*axes.at(*point), 3.5, ORANGE, ORANGE) for point in validated),
        text(right, 20, "blue: each step's batch · orange: held out", size=11, anchor="end"),
    ]
    for name, level in levels.items():
        _, y = axes.at(0, level)
        drawn.append(path(f"M{FRAME[0]:g},{length(y)}H{right:g}", width=1, dashes="2 4"))
        drawn.append(text(right + 6, y + 4, f"{name}: {level:.1f}", size=11))
    return picture(drawn, _say(losses, validated, levels), WIDTH, HEIGHT)


def _say(losses, validated, levels) -> str:
    held_out = "; ".join(f"after step {step} {loss:.1f}" for step, loss in validated)
    compared = ", ".join(f"{name} {level:.1f}" for name, level in levels.items())
    ends = f" from {losses[0]:.1f} to {losses[-1]:.1f}" if len(losses) else ": no step yet"
    return f"loss of the batches{ends} nats; held out: {held_out}. To compare with: {compared}."
