"""The check cells of the exercises: functions that say what is off."""

from helpers.costs import training_cost
from helpers.freezing import TRAINABLE, FreezePlan


def check(given, expected, hint: str = "") -> None:
    """Print whether `given` is right, and if not, `hint`.

    None means not answered yet. Numbers count by value, floats within 1 %; texts whatever their
    capitals; a list will do for a tuple or a set.
    """
    given = given.item() if hasattr(given, "item") else given  # a number out of torch or numpy
    if given is None:
        print("Not answered yet: put your answer in the place of None and run both cells again.")
    elif _same(given, expected):
        print(f"Right: {_show(expected)}.")
    else:
        print(f"{_show(given)} is not it. {hint}".rstrip())


def _same(given, expected) -> bool:
    if isinstance(given, bool) or isinstance(expected, bool):
        return given is expected
    if isinstance(expected, int | float):
        slack = 0.01 * abs(expected) if isinstance(expected, float) else 0
        return isinstance(given, int | float) and abs(given - expected) <= slack
    if isinstance(expected, str):
        return isinstance(given, str) and given.strip().lower() == expected.lower()
    return isinstance(given, list | tuple | set | frozenset) and type(expected)(given) == expected


def _show(value) -> str:
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


# --- the tasks of section 6.5, which look at what the Freeze Explorer shows -----------------------


def check_cheapest_block(explorer) -> None:
    """Say what keeps the shown plan from being the cheapest backward pass with a whole block that
    learns.
    """
    plan, work = explorer.plan, explorer.cost.backward
    blocks = [f"trf_blocks.{i}" for i in range(plan.n_layers)]
    _say_first(
        (
            plan == FreezePlan.book(plan.n_layers),
            "This is the book's choice: not far off, but not the cheapest.",
        ),
        (
            all(plan.state(block) != TRAINABLE for block in blocks),
            "No block is wholly trainable: all four of its pieces have to learn.",
        ),
        (
            explorer.reach.lowest != blocks[-1],
            f"The gradient goes down to {explorer.reach.lowest}. What could you change to make its way shorter?",
        ),
        (
            plan.state("out_head") == TRAINABLE,
            f"{work.amount:,} multiply-adds. One more part has a matrix that learns. What it costs is too little to "
            "show in the rounded figures, but it is something.",
        ),
    )


def check_long_way(explorer, most_percent: float = 1, least_share: float = 0.4) -> None:
    """Say what is off: few parameters, in percent of all, and a large share of the backward work of
    training all.
    """
    batch_size, num_tokens, num_classes = next(
        s.shape for s in explorer.shapes if s.part == "out_head"
    )
    everything = FreezePlan.everything(explorer.plan.n_layers)
    most = training_cost(
        explorer.cfg, everything, batch_size, num_tokens, num_classes
    ).backward.amount
    share, percent = explorer.cost.backward.amount / most, explorer.report.percent
    _say_first(
        (percent == 0, "Nothing is trainable."),
        (
            percent >= most_percent,
            f"{percent:.2f} % are trainable: too many. Which parts, or pieces of a block, have few?",
        ),
        (
            share < least_share,
            f"The backward pass has {100 * share:.0f} % of that work. How far down does the gradient go?",
        ),
    )


def _say_first(*remarks: tuple[bool, str]) -> None:
    """Print the first remark that applies, or that the task is solved; a remark is (applies,
    words).
    """
    print(next((f"Not yet. {words}" for applies, words in remarks if applies), "Right."))
