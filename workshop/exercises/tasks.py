"""The short tasks: their answers, and the sentences for typical mistakes.

An answer is stored or computed here, so that it does not stand beside the question. What it depends
on, such as the page's model, is given to `check` after the learner's answer.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd

from helpers.freezing import TRAINABLE, FreezePlan
from helpers.measures import counts_at, cross_entropy, fit_temperature
from workshop.costs import training_cost
from workshop.exercises.answers import describe_difference, number_in, plain, show, unanswered
from workshop.exercises.record import OPEN, SOLVED, TRIED, report
from workshop.lab import compare_runs

NEAR = 0.002  # nats of loss by which a temperature may miss the best one
FEWEST_SEEDS = 3  # of a run of the Freeze Lab that is compared with another one
MARGIN = 0.1  # of accuracy that such a run may lose
POSITION_HINTS = {  # for a run that is not accurate enough, by the position at which it classifies
    "last": "At the last position, most messages have padding. Change the position, or train more.",
    "first": "The first token attends only to itself. Choose another position.",
}


def check(name: str, given, *context) -> None:
    """Print whether a learner's answer to a short task is right, and if not, what is wrong with it.

    `name` is that of the task, "6.8 a stricter filter"; `context` is what its answer depends on, as
    TASKS says. None means not answered yet. Numbers are compared by value, floats within 1 %;
    numpy's, torch's and texts such as "890,498" are numbers, too. Texts are compared without
    capitals, and a list is accepted for a set. What a learner gives raises nothing; a name that no
    task has raises ValueError.

        check("6.5 three classes", my_answer, cfg)
    """
    if name not in TASKS:
        raise ValueError(f"no task is called {name!r}; there are {', '.join(TASKS)}")
    given = plain(given)
    if question := unanswered(given):
        return report(name, OPEN, f"Not answered yet. {question}")
    report(name, *TASKS[name](given, *context))


@dataclass(frozen=True)
class Answer:
    """The answer to a task: `right`, a `hint`, and sentences for `wrong` answers."""

    right: float | str | set[str]
    hint: str
    wrong: Mapping = ()

    def judge(self, given) -> tuple[str, str]:
        """Return the state of the task, and the reply to a learner's answer."""
        remark = describe_difference(given, self.right, dict(self.wrong))
        if remark is None:
            return SOLVED, f"Right: {show(self.right)}."
        parts = [f"{show(given)} is not right.", remark]
        if remark not in dict(self.wrong):
            parts.append(self.hint)
        return TRIED, " ".join(filter(None, parts))


# --- answers --------------------------------------------------------------------------------------


def batches_of_16(dataset) -> Answer:
    """For a dataset, the number of training batches with a batch size of 16."""
    batches = len(dataset) // 16
    not_full = {"The last batch is not full, and `drop_last` drops it.": batches + 1}
    return Answer(
        batches,
        "Only whole batches count. Divide, and drop the remainder.",
        not_full if len(dataset) % 16 else {},
    )


def numbers_of_a_block(model) -> Answer:
    """For a GPTModel, the number of parameters of one block."""
    d = model.cfg["emb_dim"]
    return Answer(
        sum(p.numel() for p in model.trf_blocks[0].parameters()),
        "For each w multiply rows by columns, and add the biases and the two layer norms.",
        {
            f"The matrices are right. The {13 * d:,} parameters of the biases and the layer norms "
            "are missing.": 12 * d**2,
            f"The {9 * d:,} biases are missing.": 12 * d**2 + 4 * d,
            f"The {4 * d:,} parameters of the two layer norms are missing.": 12 * d**2 + 9 * d,
            "That is attention alone. The feed-forward and the norms are missing.":
                4 * d**2 + 4 * d,
        },
    )  # fmt: skip


def three_classes(cfg) -> Answer:
    """For a configuration, the number of parameters of a head for three classes."""
    d = cfg["emb_dim"]
    return Answer(
        3 * d + 3,
        "Each of the three outputs has a weight for every input, and one bias.",
        {"The biases are missing.": 3 * d, "That is a head for two classes.": 2 * d + 2},
    )


def how_many_steps(train_loader, settings) -> Answer:
    """For the training's loader and settings, how often a training moves the weights."""
    return Answer(
        len(train_loader) * settings.epochs,
        "There is one step for each training batch, in each epoch.",
        {
            "That is one epoch.": len(train_loader),
            "That is the number of messages seen. A step takes a batch.":
                len(train_loader) * train_loader.batch_size * settings.epochs,
        },
    )  # fmt: skip


def size_of_adapter(cfg) -> Answer:
    """For a configuration, the number of parameters of a rank-8 adapter on the first matrix of ff."""
    d = cfg["emb_dim"]
    return Answer(
        8 * 5 * d,
        "A is 8 × emb_dim, and B is 4 · emb_dim × 8.",
        {"That is A alone.": 8 * d, "That is B alone.": 8 * 4 * d},
    )


def tokens_predicted(recipe) -> Answer:
    """For a pretraining recipe, how many tokens were predicted."""
    return Answer(
        recipe.steps * recipe.tokens_per_step, "Multiply the steps by the tokens of a step."
    )


# --- tasks that look at more than an answer ------------------------------------------------------


def judge_stratified_split(given, table) -> tuple[str, str]:
    """Whether messages are a random tenth of those in a table, with the same percentage of spam."""
    if not isinstance(given, pd.DataFrame) or not {"Label", "Text"} <= set(given.columns):
        return TRIED, "Not yet. The answer is a DataFrame with the columns Label and Text."
    rows, known = (Counter(zip(df["Text"], df["Label"], strict=True)) for df in (given, table))
    if rows - known:
        return TRIED, "Not yet. A message is there twice, or is none of the dataset's rows."
    if abs(len(given) - len(table) / 10) > 1:
        tenth = f"a tenth of {len(table):,} is {len(table) / 10:,.0f}"
        return TRIED, f"Not yet. You selected {len(given):,} messages, and {tenth}."
    spam, expected = given["Label"].mean(), table["Label"].mean()
    percentages = f"{spam:.1%} of your messages are spam, and {expected:.1%} of the whole dataset"
    if abs(spam - expected) > 1 / len(given):
        return TRIED, f"Not yet. {percentages}. Sample from each class separately."
    first = table.groupby("Label").head(len(given) // 2)
    if set(first["Text"]) <= set(given["Text"]):
        return TRIED, "Not yet. These are the first messages of each class. Select them at random."
    return SOLVED, f"Right: {percentages}."


def judge_threshold(given, labels, p_spam) -> tuple[str, str]:
    """Whether a threshold is the lowest one from 0.5 up, in steps of 0.01, without false positives.

    `labels` and `p_spam` are (num_messages,).
    """
    threshold = number_in(given)
    if threshold is None or not 0.5 <= threshold <= 1:
        return TRIED, f"{show(given)} is not right. The threshold is a number from 0.5 to 1."
    counts = counts_at(labels, p_spam, threshold)
    if false_positives := counts.table["ham", "spam"]:
        remark = f"ham messages predicted as spam at {threshold:g}: {false_positives}. Go higher."
        return TRIED, f"Not yet: {remark}"
    lower = max(0.5, threshold - 0.01)
    if threshold - lower > 0.009 and not counts_at(labels, p_spam, lower).table["ham", "spam"]:
        return TRIED, f"Not yet: {lower:.2f} is enough as well, and finds at least as much spam."
    return SOLVED, f"Right: at {threshold:g} the recall is {100 * (counts.recall or 0):.1f} %."


def judge_temperature(given, labels, logits) -> tuple[str, str]:
    """Whether the loss at a temperature is within NEAR of the lowest possible one.

    `labels` are (num_messages,), `logits` (num_messages, 2), of messages that the model was not
    trained on.
    """
    temperature = number_in(given)
    if temperature is None or temperature <= 0:
        return TRIED, f"{show(given)} is not right. A temperature is a number above 0."
    try:
        best = fit_temperature(labels, logits)
    except ValueError as error:
        return TRIED, f"On these messages no temperature is best: {error}."
    loss = cross_entropy(labels, logits, temperature)
    if loss > cross_entropy(labels, logits, best) + NEAR:
        side = "less confident: go higher" if temperature < best else "more confident: go lower"
        reply = f"at {temperature:g} the loss is {loss:.3f}. It falls if the answers become {side}."
        return TRIED, f"Not yet: {reply}"
    before = f"without a temperature it is {cross_entropy(labels, logits):.3f}"
    return SOLVED, f"Right: at {temperature:g} the loss is {loss:.3f}; {before}."


def judge_two_blocks(explorer) -> tuple[str, str]:
    """Whether the plan shown trains two blocks and the head with the least backward compute."""
    plan = explorer.plan
    blocks = [f"trf_blocks.{i}" for i in range(plan.n_layers)]
    whole = [block for block in blocks if plan.state(block) == TRAINABLE]
    amount = explorer.cost.backward.amount
    least = _backward(explorer, FreezePlan(plan.n_layers, {*blocks[-2:], "out_head"}))
    shown = f"the backward pass needs {amount:,} multiply–adds"
    if len(whole) < 2:
        return TRIED, f"Not yet. Whole blocks that are trainable: {len(whole)}. Two are asked for."
    if plan.state("out_head") != TRAINABLE:
        return TRIED, "Not yet. The head is random, so it has to be trained as well."
    if amount > least:
        return TRIED, (
            f"Not yet: {shown}, because the gradient passes down to {explorer.reach.lowest}. Which "
            "two blocks would it reach first?"
        )
    return SOLVED, f"Right: {shown}, and the gradient stops at {explorer.reach.lowest}."


def judge_long_way(explorer) -> tuple[str, str]:
    """Whether the plan shown trains few parameters and still has a long backward pass.

    That is less than 1 % of all parameters, and at least 40 % of the multiply–adds in the backward
    pass of training everything.
    """
    percent = explorer.report.percent
    everything = _backward(explorer, FreezePlan.everything(explorer.plan.n_layers))
    share = 100 * explorer.cost.backward.amount / everything
    if percent == 0:
        return TRIED, "Not yet. Nothing is trainable."
    if percent >= 1:
        return TRIED, (
            f"Not yet. {percent:.2f} % of the parameters are trainable, which is too many. Which "
            "parts, or pieces of a block, have few?"
        )
    if share < 40:
        return TRIED, (
            f"Not yet. The backward pass needs {share:.0f} % of that compute. How far down does the "
            "gradient go?"
        )
    return SOLVED, (
        f"Right: {percent:.3f} % of the parameters, and {share:.0f} % of the backward compute."
    )


def _backward(explorer, plan: FreezePlan) -> int:
    """Return the multiply–adds of another plan's backward pass on the batch that is shown."""
    batch = explorer.batch_size, explorer.num_tokens, explorer.num_classes
    return training_cost(explorer.cfg, plan, *batch).backward.amount


def judge_tenth(lab) -> tuple[str, str]:
    """Whether a run trains a tenth of the book's parameters or fewer, and loses less than MARGIN.

    The most accurate runs of both kinds are compared: the whole interval must lie above -MARGIN.
    """
    runs = [run for run in lab.rows if len(run.right) >= FEWEST_SEEDS]
    book_plan = FreezePlan.book(lab.explorer.plan.n_layers)
    of_book = [
        run for run in runs if (run.settings.plan, run.settings.position) == (book_plan, "last")
    ]
    if not of_book:
        return TRIED if lab.rows else OPEN, (
            f"Not yet. Train the book's choice at the position last with {FEWEST_SEEDS} seeds or "
            "more: other runs are compared with it."
        )
    book = max(of_book, key=lambda run: run.accuracy)
    small = [run for run in runs if 10 * run.trainable <= book.trainable]
    if not small:
        return TRIED, (
            f"Not yet. A tenth of the book's {book.trainable:,} parameters is "
            f"{book.trainable // 10:,}. No run with {FEWEST_SEEDS} seeds has that few. Which parts "
            "have few parameters?"
        )
    best = max(small, key=lambda run: run.accuracy)
    difference = compare_runs(best, book)
    compared = (
        f"{best.settings} has an accuracy of {best.accuracy:.3f}, the book's choice "
        f"{book.accuracy:.3f}: {difference}."
    )
    if difference.low <= -MARGIN:
        other = "Try another position, more epochs, or another learning rate."
        hint = POSITION_HINTS.get(best.settings.position, other)
        return TRIED, f"Not yet: it may be {MARGIN:.0%} or more less accurate. {compared} {hint}"
    return SOLVED, (
        f"Right: {compared} That is with {best.trainable:,} parameters instead of "
        f"{book.trainable:,}. Verdict: {difference.verdict}."
    )


def judged(answer_of: Callable[..., Answer]) -> Callable[..., tuple[str, str]]:
    """Return what judges an answer that is computed from a context."""
    return lambda given, *context: answer_of(*context).judge(given)


TASKS: dict[str, Callable[..., tuple[str, str]]] = {
    "6.1 which are classification": Answer(
        {"a", "c", "e"},
        "A classifier selects from a list that is fixed beforehand. It does not write.",
    ).judge,
    "6.6 loss of an uncertain answer": Answer(
        -math.log(0.75),
        "The loss is minus the natural logarithm of the correct class's probability.",
        {
            "The sign is missing: a loss is never negative.": math.log(0.75),
            "That is the logarithm to base 10. Take the natural one.": -math.log10(0.75),
            "That is the logarithm to base 2. Take the natural one.": -math.log2(0.75),
            "That is the probability of the other class. Take minus the logarithm of 0.75.": 0.25,
        },
    ).judge,
    "6.8 a stricter filter": Answer(
        "recall",
        "With a higher threshold fewer messages are predicted as spam. Can more of the spam be found?",
    ).judge,
    "6.C a nat more": Answer(
        math.e, "The perplexity is exp(loss), and exp(a + 1) is exp(a) times something."
    ).judge,
    "6.3 batches of 16": judged(batches_of_16),
    "6.4 numbers of one block": judged(numbers_of_a_block),
    "6.5 three classes": judged(three_classes),
    "6.7 how many steps": judged(how_many_steps),
    "6.C how many predictions": judged(tokens_predicted),
    "6.B an adapter's size": judged(size_of_adapter),
    "6.2 a stratified split": judge_stratified_split,
    "6.5 two blocks, little compute": judge_two_blocks,
    "6.5 few parameters, a long way": judge_long_way,
    "6.8 a threshold": judge_threshold,
    "6.B a tenth of the parameters": judge_tenth,
    "6.E the temperature": judge_temperature,
}
