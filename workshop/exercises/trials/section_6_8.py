"""The trials of section 6.8: a label for one message, and precision and recall."""

from itertools import product

import numpy as np
import torch
from torch import nn

from helpers.classify import classify_review
from helpers.measures import counts_at
from workshop.exercises.mistakes import (
    Exercise,
    Mistake,
    WordTokenizer,
    alike,
    call,
    check_row,
    expect,
    refuse,
    rows,
    show,
    unrecognised,
)

# --- classify -------------------------------------------------------------------------------------


class ToyClassifier(nn.Module):
    """Returns the logits given, (n, 2), whatever the token ids; it keeps those of its last call."""

    def __init__(self, logits: torch.Tensor, device: str = "cpu"):
        super().__init__()
        self.logits, self.row, self.answered_in_training = logits, None, False
        # functions read the context length, the number of classes and the device off these
        self.pos_emb = nn.Embedding(16, 1, device=device)
        self.out_head = nn.Linear(1, 2, device=device)

    def forward(self, token_ids: torch.Tensor) -> torch.Tensor:
        """Return logits (1, n, 2)."""
        if not isinstance(token_ids, torch.Tensor) or token_ids.ndim != 2:
            raise Mistake(
                "the model takes a batch, here of one message: torch.tensor([token_ids])."
            )
        if token_ids.device.type != self.pos_emb.weight.device.type:
            raise Mistake(
                "the token ids are not on the model's device: torch.tensor(…, device=device)."
            )
        self.answered_in_training = self.training
        if token_ids.device.type == "cpu":
            self.row = token_ids[0].tolist()
        return self.logits[None, : token_ids.shape[1]].clone()


# how much the logits of one class exceed those of the other, at each position
STRENGTHS = torch.tensor([[1.0], [1.3], [0.9], [1.2], [1.1], [0.8], [1.0]])


def logits_of(classes: list[int], margin: float, offset: float) -> torch.Tensor:
    """Return logits (n, 2): the class's is larger by about `margin`; all are shifted by `offset`."""
    of_class = nn.functional.one_hot(torch.tensor(classes), 2)
    strengths = STRENGTHS.roll(len(classes) // 6, 0)[: len(classes)]  # the largest elsewhere
    return margin * strengths * of_class + offset


# texts; the classes at the positions, and of how many of them; margin and offset of the logits
TEXTS = {5: ("11 12 13", "21 22 23 24 25", "31 32 33 34 35 36 37"), 7: ("41 42 43 44", "51 52")}
CLASSES = {
    5: rows("0 0 0 0 0; 1 1 1 1 1; 1 0 0 0 0; 0 1 1 1 1; 1 1 1 1 0; 0 0 0 0 1; 1 1 0 1 0").tolist(),
    7: rows("0 1 0 1 0 0 1; 1 1 0 1 1 0 1; 0 0 0 0 0 0 1; 1 1 1 1 1 1 0").tolist(),
}
FORMS = ((3.0, -4.0), (3.0, -1.0), (0.8, 2.0), (1.0, -3.0))
ANSWERS = ("not spam", "spam")

LABEL_MISTAKES = (  # from the logits (n, 2) and the number of real tokens to 0 or 1
    ("the labels are swapped: 0 is ham, “not spam”, and 1 is spam.",
     lambda logits, n: 1 - logits[-1].argmax()),
    ("you use the first position, which has seen no token but the first.",
     lambda logits, n: logits[0].argmax()),
    ("you use the last real token. This model was trained with the last position, which is padding "
     "in a short message: `logits[:, -1]`.", lambda logits, n: logits[n - 1].argmax()),
    ("you average over all positions. The last one alone decides: `logits[:, -1]`.",
     lambda logits, n: logits.mean(0).argmax()),
    ("you compare the logit of spam with a fixed number. Compare it with the logit of ham, for "
     "instance with `argmax`.", lambda logits, n: int(logits[-1, 1] > 0)),
    ("you compare the probability of spam with 0.9. The larger logit decides, so with 0.5.",
     lambda logits, n: int(logits[-1].softmax(0)[1] > 0.9)),
    ("`argmax` without `dim` looks at the logits of all positions. Take the last position first.",
     lambda logits, n: logits.argmax() % 2),
    ("every message is “not spam” for it.", lambda logits, n: 0),
    ("every message is “spam” for it.", lambda logits, n: 1),
)  # fmt: skip


def try_classify(solve) -> str:
    """`solve` takes a text, a model, a tokenizer, a device and max_length; it returns an answer."""
    answered = []
    for length, texts in TEXTS.items():
        tokenizer = WordTokenizer(length)
        for text, classes, form in product(texts, CLASSES[length], FORMS):
            logits = logits_of(classes, *form)
            got = answer_of(solve, text, ToyClassifier(logits), tokenizer, length)
            num_real = min(len(tokenizer.encode(text)), length)
            answered.append((logits, num_real, got))
    elsewhere = ToyClassifier(logits_of(CLASSES[5][0], *FORMS[0]), device="meta").eval()
    solve(TEXTS[5][0], elsewhere, WordTokenizer(), torch.device("meta"), 5)
    if elsewhere.training:
        raise Mistake(
            "your function leaves the model in training mode. It was in eval mode before."
        )

    expected = [logits[-1].argmax().item() for logits, *_ in answered]
    got = [ANSWERS.index(answer) for *_, answer in answered]
    if got == expected:
        return "messages that are too short, just right and too long, ham and spam, clear and close"
    for sentence, label in LABEL_MISTAKES:
        if got == [int(label(logits, num_real)) for logits, num_real, _ in answered]:
            raise Mistake(sentence)
    i = next(i for i, label in enumerate(got) if label != expected[i])
    given = f"a model with the logits {show(answered[i][0])} at the positions"
    raise unrecognised(given, ANSWERS[expected[i]], ANSWERS[got[i]])


def answer_of(solve, text: str, model: ToyClassifier, tokenizer, length: int) -> str:
    """Return what `solve` answers; raise Mistake where it asks the model in another way."""
    got = solve(text, model, tokenizer, torch.device("cpu"), length)
    if model.row is None:
        raise Mistake("the model was never called. Call model(…) with the token ids.")
    check_row(model.row, tokenizer.encode(text), length)
    refuse({
        "the model is in training mode while it answers, and dropout makes its answers random. "
        "Call model.eval() first.": model.answered_in_training,
        f"the answer is {got!r}; it should be “spam” or “not spam”.":
            got not in ("spam", "not spam"),
    })  # fmt: skip
    return got


# --- precision and recall -------------------------------------------------------------------------


def precision_recall(labels, p_spam, threshold: float) -> tuple[float | None, float | None]:
    """Return (precision, recall) of spam at a threshold; None for a fraction of nothing."""
    counts = counts_at(labels, p_spam, threshold)
    return counts.precision, counts.recall


def of_ham(labels, p_spam, threshold: float) -> tuple[float, float]:
    """Return precision and recall of ham."""
    is_ham, predicted = labels == 0, p_spam <= threshold
    return is_ham[predicted].mean(), predicted[is_ham].mean()


def accuracy_at(labels, p_spam, threshold: float) -> float:
    """Return the accuracy."""
    return ((p_spam > threshold) == labels).mean()


PRECISION_RECALL_MISTAKES = (
    ("the two are swapped. First precision, then recall.",
     lambda labels, p, t: precision_recall(labels, p, t)[::-1]),
    ("that is precision and recall of ham. Return those of spam.", of_ham),
    ("it always uses a threshold of 0.5. Use the argument `threshold`.",
     lambda labels, p, t: precision_recall(labels, p, 0.5)),
    ("the first number is the accuracy. It should be the precision.",
     lambda labels, p, t: (accuracy_at(labels, p, t), precision_recall(labels, p, t)[1])),
    ("the second number is the accuracy. It should be the recall.",
     lambda labels, p, t: (precision_recall(labels, p, t)[0], accuracy_at(labels, p, t))),
    ("these are percentages. Fractions lie between 0 and 1.",
     lambda labels, p, t: [100 * value for value in precision_recall(labels, p, t)]),
    ("a probability of exactly the threshold is not predicted as spam: > instead of ≥.",
     lambda labels, p, t: precision_recall(labels, p, t - 1e-9)),
    ("you divided both by the number of spam messages. Precision is a fraction of what is predicted "
     "as spam.", lambda labels, p, t: [precision_recall(labels, p, t)[1]] * 2),
    ("you divided both by the number of messages predicted as spam. Recall is a fraction of the spam.",
     lambda labels, p, t: [precision_recall(labels, p, t)[0]] * 2),
    ("you divided both by the number of messages.",
     lambda labels, p, t: [((p > t) & (labels == 1)).mean()] * 2),
    ("recall is a fraction of the spam. You divided by the number of messages.",
     lambda labels, p, t: (precision_recall(labels, p, t)[0], ((p > t) & (labels == 1)).mean())),
)  # fmt: skip
MEASURED = tuple(
    (rows(labels)[0].numpy(), rows(tenths)[0].numpy() / 10, threshold)
    for labels, tenths, threshold in (
        ("1 1 1 0 0 1 1 0", "9 8 6 7 2 4 1 3", 0.5),
        ("1 1 1 0 0 1 1 0", "9 8 6 7 2 4 1 3", 0.65),
        ("0 1 0 0 1 1", "7 9 3 1 8 3", 0.3),
        ("1 0 1 0 0", "9 5 7 6 1", 0.5),
    )
)
UNDEFINED = (  # what is no fraction, labels, probabilities, and what should be returned
    ("precision", [1, 0], [0.3, 0.2], (None, 0)),
    ("recall", [0, 0], [0.8, 0.2], (0, None)),
)


def try_precision_recall(solve) -> str:
    """`solve` takes labels, p_spam (num_messages,) and a threshold; it returns two fractions."""
    expect(solve, MEASURED, precision_recall, PRECISION_RECALL_MISTAKES)
    for undefined, labels, p_spam, right in UNDEFINED:
        sentence = f"where {undefined} would be 0 / 0, return {right}"
        try:
            got = call(solve, np.array(labels), np.array(p_spam), 0.5)
        except ZeroDivisionError:
            raise Mistake(f"{sentence}.") from None
        fits = [a is None if b is None else a is not None and alike(a, b)
                for a, b in zip(tuple(got), right, strict=True)]  # fmt: skip
        if not all(fits):
            raise Mistake(f"{sentence}; you return {show(tuple(got))}.")
    return "four sets of messages, no message predicted as spam, no spam at all"


EXERCISES = {
    "6.8 classify": Exercise(try_classify, classify_review),
    "6.8 precision and recall": Exercise(try_precision_recall, precision_recall),
}
