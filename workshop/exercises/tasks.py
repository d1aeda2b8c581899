"""The check cells that look at more than an answer: a temperature, what the Freeze Explorer shows."""

import math

from helpers.freezing import TRAINABLE, FreezePlan
from helpers.measures import cross_entropy, fit_temperature
from workshop.costs import Cost, training_cost
from workshop.exercises.answers import NOT_YET, as_float, number_in, plain, show, unanswered
from workshop.exercises.record import OPEN, SOLVED, TRIED, record

NEAR = 0.01  # nats of loss by which a temperature may miss the best one


# --- the task of section 6.8 about temperature ----------------------------------------------------


def check_temperature(given, labels, logits) -> None:
    """Print whether the loss at temperature `given` is within NEAR of the least that one reaches.

    `labels` are (num_messages,), `logits` (num_messages, 2), of messages that the model was not
    trained on. None means not answered yet. Whatever is given, nothing is raised for it.
    """
    state, words = _judge_temperature(plain(given), labels, logits)
    print(words)
    record("6.8 the temperature", state)


def _judge_temperature(given, labels, logits) -> tuple[str, str]:
    """Return the state of the exercise, and what is said."""
    if question := unanswered(given):
        return OPEN, NOT_YET + question
    number = number_in(given)
    value = math.nan if number is None else as_float(number)
    if not math.isfinite(value) or value <= 0:
        return TRIED, f"{show(given)} is not it: a temperature is a number above 0."
    try:
        best = fit_temperature(labels, logits)
    except ValueError as error:
        return TRIED, f"On these messages no temperature is best: {error}."
    loss, least = (cross_entropy(labels, logits, t) for t in (value, best))
    if loss <= least + NEAR:
        before = cross_entropy(labels, logits)
        return SOLVED, (
            f"Right: at {value:g} the loss is {loss:.3f}; without a temperature it is {before:.3f}."
        )
    side = "less sure: go higher" if value < best else "surer: go lower"
    return TRIED, (
        f"Not yet: at {value:g} the loss is {loss:.3f}. It falls if the answers become {side}."
    )


# --- the tasks of section 6.5, which look at what the Freeze Explorer shows -----------------------


def check_cheapest_block(explorer) -> None:
    """Say what keeps the shown plan from being the cheapest backward pass in which a whole block
    learns.

    The last block alone has the least work. `final_norm` adds none, and the head adds its matrix;
    as it is random and should learn, the plan is right with it and without. Only the book's choice
    is not: the page's Explorer opens with it, before anything was looked for.
    """
    plan = explorer.plan
    last, blocks = f"trf_blocks.{plan.n_layers - 1}", range(plan.n_layers)
    _say_first(
        "6.5 the cheapest block",
        (
            all(plan.state(f"trf_blocks.{i}") != TRAINABLE for i in blocks),
            "No block is wholly trainable: all four of its pieces have to learn.",
        ),
        (
            explorer.reach.lowest != last,
            f"The gradient goes down to {explorer.reach.lowest}. "
            "What could you change to make its way shorter?",
        ),
        (
            plan == FreezePlan.book(plan.n_layers),
            "That is the book's choice, with which the Explorer opened. "
            "Which part could be frozen as well, to save a little?",
        ),
        when_right=_price_of_the_head(explorer, FreezePlan(plan.n_layers, {last})),
    )


def _price_of_the_head(explorer, without: FreezePlan) -> str:
    """Say what the head's learning adds to the backward pass of the cheapest plan, `without` it."""
    least = _backward(explorer, without).amount
    most = _backward(explorer, without.toggle("out_head")).amount
    percent = 100 * (most - least) / most
    share = f"{percent:.1f} %" if percent >= 0.1 else "less than 0.1 %"
    head = f"{most - least:,} of {most:,} multiply-adds, {share}"
    path = "The gradient ends in the last block and crosses no other one."
    if explorer.plan.state("out_head") == TRAINABLE:
        return (
            f"{path} Only a frozen head would be cheaper, by {head}. "
            "But its weights are random: it has to learn, as in the book's choice."
        )
    return (
        f"{path} Nothing is cheaper. But the head stays random like this: let it learn, too; "
        f"its matrix takes {head}."
    )


def check_long_way(explorer, most_percent: float = 1, least_share: float = 0.4) -> None:
    """Say what is off: few parameters, in percent of all, and a large share of the backward work of
    training all.
    """
    everything = _backward(explorer, FreezePlan.everything(explorer.plan.n_layers))
    share = explorer.cost.backward.amount / everything.amount
    percent = explorer.report.percent
    _say_first(
        "6.5 few parameters, a long way",
        (percent == 0, "Nothing is trainable."),
        (
            percent >= most_percent,
            f"{percent:.2f} % are trainable: too many. "
            "Which parts, or pieces of a block, have few?",
        ),
        (
            share < least_share,
            f"The backward pass has {100 * share:.0f} % of that work. "
            "How far down does the gradient go?",
        ),
    )


def _backward(explorer, plan: FreezePlan) -> Cost:
    """Return the backward work of another plan on the batch that the Explorer shows."""
    head = next(shape for shape in explorer.shapes if shape.part == "out_head")
    batch_size, num_tokens, num_classes = head.shape
    return training_cost(explorer.cfg, plan, batch_size, num_tokens, num_classes).backward


def _say_first(name: str, *remarks: tuple[bool, str], when_right: str = "") -> None:
    """Print the first remark that applies, or that the task is solved; a remark is (applies,
    words).
    """
    for applies, words in remarks:
        if applies:
            print(f"Not yet. {words}")
            record(name, TRIED)
            return
    print(f"Right. {when_right}".rstrip())
    record(name, SOLVED)
