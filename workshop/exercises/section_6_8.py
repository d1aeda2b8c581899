"""What section 6.8 asks: to write, and to predict."""

import numpy as np
import torch

from helpers.config import END_OF_TEXT
from helpers.measures import counts_at
from workshop.exercises.coding import Exercise, Mistake, number_of, returned
from workshop.exercises.prediction import Number, OneOf, Question
from workshop.exercises.section_6_3 import look_at_the_row

ANSWERS = ("not spam", "spam")


class _WordsAreNumbers:
    """A tokenizer of "11 12 13"."""

    def encode(self, text: str, **_) -> list[int]:
        return [int(word) for word in text.split()]


class _ToyClassifier(torch.nn.Module):
    """(1, num_tokens) → logits (1, num_tokens, 2), at the first, last and other positions set."""

    def __init__(self, first: int, others: int, last: int):
        super().__init__()
        self.classes, self.rows = (first, others, last), []

    def forward(self, token_ids: torch.Tensor) -> torch.Tensor:
        if not isinstance(token_ids, torch.Tensor):
            raise Mistake("the model takes a tensor, and no list: torch.tensor([token_ids]).")
        if token_ids.ndim != 2 or len(token_ids) != 1:
            raise Mistake(
                f"the model was given the shape {tuple(token_ids.shape)}; it takes a batch, here of "
                "one message: (1, max_length)."
            )
        self.rows.append(token_ids[0].tolist())
        first, others, last = self.classes
        classes = [first, *[others] * (token_ids.shape[1] - 2), last]
        return torch.nn.functional.one_hot(torch.tensor([classes]), 2) * 3.0 - 4.0


def _try_classify(solve):
    """`solve` takes text, model, tokenizer and max_length; it returns "spam" or "not spam"."""
    texts = ("11 12 13", "21 22 23 24 25", "31 32 33 34 35 36 37")
    same = ((0, 0, 0), (1, 1, 1))
    not_all = ((0, 1, 1), (1, 0, 0), (0, 0, 1), (1, 1, 0))
    for text in texts:
        for classes in (*same, *not_all):
            _try_message(solve, text, classes)
    return "messages that are too short, just right and too long, ham and spam"


def _try_message(solve, text: str, classes: tuple[int, int, int], length: int = 5) -> None:
    model, wanted = _ToyClassifier(*classes), ANSWERS[classes[-1]]
    got = solve(text, model, _WordsAreNumbers(), length)
    if not model.rows:
        raise Mistake("the model was never asked: call model(…) with the token ids.")
    ids, row = _WordsAreNumbers().encode(text), model.rows[-1]
    look_at_the_row(row, ids, length)
    if row != (ids + [END_OF_TEXT] * length)[:length]:
        raise Mistake(f"the model was given {row} for the message {ids}.")
    if model.training:
        raise Mistake(
            "the model is still in training mode, in which dropout makes the answer a matter of "
            "chance: model.eval() comes first."
        )
    got = returned(got, "the label")
    if not isinstance(got, str) or got not in ANSWERS:
        raise Mistake(f"the answer is {got!r}; it should be “spam” or “not spam”.")
    if got != wanted and len({*classes}) == 1:
        raise Mistake("the labels are swapped: 0 is ham, “not spam”, and 1 is spam.")
    if got != wanted and classes[1] == classes[2]:
        raise Mistake("you read the first position: it has seen no other token than the first.")
    if got != wanted:
        raise Mistake("the last position alone decides: [:, -1].")


def _try_precision_recall(solve):
    """`solve` takes labels, p_spam (num_messages,) and a threshold; it returns two shares."""
    labels = [1, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0]
    p_spam = [0.9, 0.8, 0.6, 0.7, 0.2, 0.1, 0.3, 0.4, 0.05, 0.2, 0.15]
    for threshold in (0.5, 0.65):
        got = _pair(solve, labels, p_spam, threshold)
        counts, plain = counts_at(labels, p_spam, threshold), counts_at(labels, p_spam)
        wanted = (counts.precision, counts.recall)
        ham = counts.table["ham", "ham"]
        of_ham = (ham / (ham + counts.table["spam", "ham"]), ham / labels.count(0))
        if _near(got, wanted[::-1]):
            raise Mistake("the two are swapped: first precision, then recall.")
        if _near(got, of_ham) or _near(got, of_ham[::-1]):
            raise Mistake("that is precision and recall of ham: what is sought here is spam.")
        if threshold != 0.5 and _near(got, (plain.precision, plain.recall)):
            raise Mistake(f"at a threshold of {threshold} it still takes 0.5: use `threshold`.")
        for name, share, due in zip(("precision", "recall"), got, wanted, strict=True):
            if share is not None and abs(share - counts.accuracy) < 1e-6:
                raise Mistake(
                    f"where {name} is due you give the accuracy, the share that is right."
                )
            if not _near((share,), (due,)):
                raise Mistake(f"{name} should be {due:.3f} here, not {share}.")
    at_threshold = counts_at([1, 0, 1], [0.9, 0.5, 0.7], 0.5)
    if not _near(_pair(solve, [1, 0, 1], [0.9, 0.5, 0.7], 0.5), (at_threshold.precision, 1)):
        raise Mistake(
            "a p_spam of exactly the threshold is no spam here, as in the course's counts: > and "
            "not ≥."
        )
    for name, number, labels, p_spam in (
        ("precision", 0, [1, 0], [0.3, 0.2]),
        ("recall", 1, [0, 0], [0.8, 0.2]),
    ):
        try:
            got = _pair(solve, labels, p_spam, 0.5)
        except ZeroDivisionError as error:
            raise Mistake(f"there {name} is a share of nothing, and you divide by 0.") from error
        if got[number] is not None:
            raise Mistake(f"there {name} is a share of nothing: None, and not {got[number]:g}.")
        if got[1 - number] != 0:
            raise Mistake(f"where only {name} is a share of nothing, the other one is 0.")
    return "two thresholds, a p_spam just at it, no message called spam, no spam at all"


def _pair(solve, labels: list[int], p_spam: list[float], threshold: float) -> tuple:
    """Return (precision, recall), each a float or None."""
    with np.errstate(all="ignore"):
        got = returned(solve(np.array(labels), np.array(p_spam), threshold), "the pair of shares")
    if not isinstance(got, tuple | list) or len(got) != 2:
        raise Mistake("two numbers are due, with a comma between them: precision, recall.")
    names = ("precision", "recall")
    return tuple(
        None if share is None else number_of(share, name)
        for share, name in zip(got, names, strict=True)
    )


def _near(given: tuple, wanted: tuple) -> bool:
    return None not in given and all(abs(a - b) < 1e-6 for a, b in zip(given, wanted, strict=True))


EXERCISES = {
    "my_classify": Exercise(_try_classify),
    "my_precision_recall": Exercise(_try_precision_recall),
}


QUESTIONS = {
    "6.8 a token that speaks for ham": Question(
        "“Your free prize is waiting, call now” is called spam. Leave out one token, and the answer "
        "may move. Which of these tokens speaks for *ham*?",
        OneOf("Your", "prize", "is", "now"),
        right="Yes: a word that no list of spam words would have.",
        wrong={
            "Your": "It is one of the two that speak most for spam: without it the answer is ham.",
            "else": "It does not speak for ham: what a word does depends on its company.",
        },
        then="*free* and *Your* speak most for spam, and without either of them the answer is ham. "
        "*is* speaks for ham, nearly as strongly. Type the message into the microscope below.",
    ),
    "6.8 a stricter threshold": Question(
        "Now a message is called spam only if its probability is above 0.9 instead of 0.5. How "
        "many of the test messages change their label?",
        OneOf("fewer than 20", "20 to 60", "more than 60"),
        right="Yes: nearly all probabilities are close to 0 or to 1.",
        wrong={
            "else": "Fewer: nearly all probabilities are close to 0 or to 1, the wrong ones, too.",
        },
        then="So a threshold has little to choose from, for this model.",
    ),
    "6.8 hard on purpose": Question(
        "Of the other test messages of sms-mini nearly nine in ten are right. Of those made hard on purpose?",
        OneOf("nine in ten as well", "three in four", "about half"),
        right="Yes: what was written to mislead does mislead this classifier.",
        wrong={"else": "Fewer: what was written to mislead does mislead this classifier."},
        then="Eleven hard ones are few, and the interval is wide; still it ends below the others' "
        "share. And short messages are right as often as longer ones: there are some among the "
        "mistakes because there are some among all.",
    ),
    "6.8 sure and right": Question(
        "Take the answers whose confidence is above 0.9: in the mean it is about 99 %. Which share "
        "of them is right?",
        Number(within=3, unit="%"),
        right="Yes, about that: sure, and wrong once in ten times.",
        wrong={
            99: "That would be so if it were as right as it is sure.",
            "too low": "More: most are right.",
            "too high": "Less: this model is surer than it is right.",
        },
        then="Most answers are in the last bin: this model is *overconfident*. No wonder: the loss, "
        "−ln p, still falls when the answer to a training message is right already and only "
        "becomes surer. One number mends much of it: exercise 2.",
    ),
    "6.8 words in another order": Question(
        "Put the words of each test message in a random order. How many percentage points does the "
        "accuracy lose?",
        OneOf("less than 10", "10 to 25", "more than 25"),
        right="Yes: about as much as chance.",
        wrong={
            "10 to 25": "Less: about as much as chance.",
            "more than 25": "That would be near guessing. It goes by the words that are there.",
        },
        then="If a coin decided which of n changed labels become right, the two kinds would "
        "typically differ by about √n: that is the size of chance, as a share of the test messages. "
        "Of what this classifier knows, order is at most a small part; most is *which* words occur. "
        "That is said of this model and this question only. For guessing the next token, order "
        "matters a great deal: appendix 6.A tests it.",
    ),
}
