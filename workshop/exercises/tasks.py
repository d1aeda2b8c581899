"""The check cells that look at more than an answer: a temperature, what the Freeze Explorer shows."""

from helpers.freezing import TRAINABLE, FreezePlan
from helpers.measures import cross_entropy, fit_temperature
from workshop.costs import training_cost
from workshop.exercises.answers import NOT_YET, number_in, plain, show, unanswered
from workshop.exercises.record import OPEN, SOLVED, TRIED, report

NEAR = 0.01  # nats of loss by which a temperature may miss the best one


def check_temperature(given, labels, logits) -> None:
    """Print whether the loss at temperature `given` is within NEAR of the lowest possible one.

    `labels` are (num_messages,), `logits` (num_messages, 2), of messages that the model was not
    trained on. None means not answered yet. Nothing is raised for what is given.
    """
    given, name = plain(given), "6.8 the temperature"
    if question := unanswered(given):
        return report(name, OPEN, NOT_YET + question)
    temperature = number_in(given)
    if temperature is None or temperature <= 0:
        reply = f"{show(given)} is not it: a temperature is a number above 0."
        return report(name, TRIED, reply)
    try:
        best = fit_temperature(labels, logits)
    except ValueError as error:
        return report(name, TRIED, f"On these messages no temperature is best: {error}.")
    loss = cross_entropy(labels, logits, temperature)
    if loss > cross_entropy(labels, logits, best) + NEAR:
        side = "less confident: go higher" if temperature < best else "more confident: go lower"
        reply = f"at {temperature:g} the loss is {loss:.3f}. It falls if the answers are {side}."
        return report(name, TRIED, f"Not yet: {reply}")
    before = f"without a temperature it is {cross_entropy(labels, logits):.3f}"
    report(name, SOLVED, f"Right: at {temperature:g} the loss is {loss:.3f}; {before}.")


def check_cheapest_block(explorer) -> None:
    """Print whether the shown plan has the cheapest backward pass in which a whole block is trained.

    The last block alone costs least. `final_norm` adds nothing, and the head adds its matrix; as it
    is random and should be trained, the plan is right with it and without. Only the book's choice
    is not: the page's Explorer opens with it, before anything was looked for.
    """
    plan, name = explorer.plan, "6.5 the cheapest block"
    blocks = [f"trf_blocks.{i}" for i in range(plan.n_layers)]
    remark = ""
    if all(plan.state(block) != TRAINABLE for block in blocks):
        remark = "No block is wholly trainable: all four of its pieces have to learn."
    elif explorer.reach.lowest != blocks[-1]:
        remark = (
            f"The gradient goes down to {explorer.reach.lowest}. "
            "What could you change to make its way shorter?"
        )
    elif plan == FreezePlan.book(plan.n_layers):
        remark = (
            "That is the book's choice, with which the Explorer opened. "
            "Which part could be frozen as well, to save a little?"
        )
    if remark:
        return report(name, TRIED, f"Not yet. {remark}")

    block_alone = FreezePlan(plan.n_layers, {blocks[-1]})
    least = _backward(explorer, block_alone)
    most = _backward(explorer, block_alone.toggle("out_head"))
    head = f"{most - least:,} of {most:,} multiply-adds"
    rest = (
        "Nothing is cheaper. But the head stays random like this: let it learn, too; "
        f"its matrix takes {head}."
    )
    if plan.state("out_head") == TRAINABLE:
        rest = (
            f"Only a frozen head would be cheaper, by {head}. "
            "But its weights are random: it has to learn, as in the book's choice."
        )
    path = "The gradient ends in the last block and crosses no other one."
    report(name, SOLVED, f"Right. {path} {rest}")


def check_long_way(explorer) -> None:
    """Print whether the shown plan trains few parameters and still has a long backward pass.

    That is less than 1 % of all parameters, and at least 40 % of the multiply-adds in the backward
    pass of training everything.
    """
    percent, remark = explorer.report.percent, ""
    everything = _backward(explorer, FreezePlan.everything(explorer.plan.n_layers))
    share = 100 * explorer.cost.backward.amount / everything
    if percent == 0:
        remark = "Nothing is trainable."
    elif percent >= 1:
        remark = (
            f"{percent:.2f} % are trainable: too many. Which parts, or pieces of a block, have few?"
        )
    elif share < 40:
        remark = (
            f"The backward pass has {share:.0f} % of that work. How far down does the gradient go?"
        )
    name = "6.5 few parameters, a long way"
    if remark:
        report(name, TRIED, f"Not yet. {remark}")
    else:
        report(name, SOLVED, "Right.")


def _backward(explorer, plan: FreezePlan) -> int:
    """Return the multiply-adds of another plan's backward pass on the batch that is shown."""
    batch = explorer.batch_size, explorer.num_tokens, explorer.num_classes
    return training_cost(explorer.cfg, plan, *batch).backward.amount
