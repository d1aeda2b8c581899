"""The trials of what learners write: one function for each exercise in code.

Each calls the learner's function, `solve`, on inputs made by hand, raises `Mistake` at the first
mistake, in a sentence, and returns what was tried, in words. TRIALS has them all; those of sections
6.2 to 6.5 are in `model_trials`.
"""

from types import SimpleNamespace

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parameters_to_vector

from helpers.config import BASE_CONFIG
from helpers.freezing import replace_head
from helpers.model import GPTModel
from workshop.exercises import model_trials
from workshop.exercises.mistakes import Mistake, call, check_row, compare, refuse, rows

# --- 6.6 ---------------------------------------------------------------------------------------------


def try_last_token_positions(solve) -> str:
    """`solve` takes token ids (batch, num_tokens) and returns positions (batch,)."""
    token_ids = rows("5 6 7 50256 50256; 5 50256 50256 50256 50256; 5 6 7 8 9")
    typical = {
        "that is the last position of every row: in a padded row it is padding.": [4, 4, 4],
        "you counted the tokens; positions begin at 0, so the last is one lower.": [3, 1, 5],
        "that is the first position of the padding: the last token is one before.": [3, 1, 0],
    }
    compare(call(solve, token_ids), [2, 0, 4], typical)
    typical = {"a 50256 inside the message ends it too early: padding follows the last token.": [0]}
    compare(call(solve, rows("5 50256 6 50256")), [2], typical)
    refuse({
        "a row of padding alone has no last token: agree on position 0 there.":
            solve(rows("50256 50256")).item() != 0,
        "another `pad_token_id` makes no difference: use the argument.":
            solve(rows("1 2 0 0; 50256 50256 1 0"), 0).tolist() != [1, 2],
    })  # fmt: skip
    return "rows with and without padding, of padding alone, and with 50256 inside"


def try_loss_of_last_position(solve) -> str:
    """`solve` takes logits (batch, num_tokens, 2) and labels (batch,); it returns a mean loss."""
    logits = 3 * torch.randn(2, 3, 2, generator=torch.Generator().manual_seed(3))
    labels = torch.tensor([1, 1])
    last = logits[:, -1]
    right = F.cross_entropy(last, labels)
    typical = {
        "you averaged over all positions: only the last one classifies.": (
            F.cross_entropy(logits.flatten(0, 1), labels.repeat_interleave(3))
        ),
        "that is the loss of the first position.": F.cross_entropy(logits[:, 0], labels),
        "you added the losses up: take their mean, or a larger batch costs more.": 2 * right,
        "you took softmax twice: `cross_entropy` takes the logits, and does softmax itself.": (
            F.cross_entropy(last.softmax(-1), labels)
        ),
        "the sign is wrong: the loss is *minus* the logarithm.": -right,
    }
    compare(call(solve, logits, labels), right, typical)
    return "two messages of three positions"


def try_accuracy(solve) -> str:
    """`solve` takes batches, and a function from token ids (batch, 1) to labels (batch,)."""
    batches = [(rows("1; 0; 1; 1"), rows("1 1 0 1")[0]), (rows("0; 1"), rows("0 1")[0])]
    typical = {
        "the mean of two batches' accuracies is not the accuracy over both: the last batch is "
        "smaller.": 3 / 4,
        "you divided by batches times the first batch's size: the last batch is smaller.": 4 / 8,
        "that is the last batch alone: count over all of them.": 1,
        "you counted the right answers: divide by the number of messages.": 4,
        "that is in percent: a fraction lies between 0 and 1.": 400 / 6,
        "you counted the mistakes.": 2 / 6,
    }
    compare(call(solve, batches, lambda token_ids: token_ids[:, 0]), 4 / 6, typical)
    return "a batch of four messages and one of two"


# --- 6.7 ---------------------------------------------------------------------------------------------


def try_training_step(solve) -> str:
    """`solve` takes a model, token ids, labels and an optimizer; it takes a step, returns the loss."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = replace_head(
            GPTModel(BASE_CONFIG | model_trials.TINY | {"drop_rate": 0.0, "n_layers": 1})
        )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    parameters = [*model.parameters()]
    token_ids = torch.arange(12).reshape(3, 4) % 11
    for step, labels in enumerate(rows("0 1 1; 1 0 1")):
        logits = model(token_ids)
        loss = F.cross_entropy(logits[:, -1], labels)
        of_all = F.cross_entropy(logits.flatten(0, 1), labels.repeat_interleave(4))
        before = parameters_to_vector(parameters).detach()
        right = before - 0.5 * parameters_to_vector(torch.autograd.grad(loss, parameters))

        got = solve(model, token_ids.clone(), labels.clone(), optimizer)
        after = parameters_to_vector(parameters).detach()
        refuse({
            "no weight has changed: call `zero_grad`, `backward` and `step`, in this order.":
                torch.equal(after, before),
            "return `loss.item()`, the plain number: a tensor keeps its graph in memory.":
                not isinstance(got, float),
        })  # fmt: skip
        sentence = (
            "you averaged over all positions: only the last one's logits, `[:, -1]`, classify."
        )
        compare(got, loss.item(), {sentence: of_all.item()})
        is_wrong = not torch.allclose(after, right, atol=1e-4)
        refuse({
            "in the second step the gradients of the first are still there and add up; reset them.":
                is_wrong and step == 1,
            "the weights did not change as one step with these gradients changes them.": is_wrong,
        })  # fmt: skip
    return "two steps of a tiny model: its losses and its weights"


# --- 6.8 ---------------------------------------------------------------------------------------------


class ToyClassifier(nn.Module):
    """Predicts the classes given, one at each position, and keeps the token ids of its last call."""

    def __init__(self, classes: list[int]):
        super().__init__()
        self.classes, self.row = classes, None

    def forward(self, token_ids: torch.Tensor) -> torch.Tensor:
        """Return logits (1, num_tokens, 2)."""
        if np.ndim(token_ids) != 2:
            raise Mistake(
                "the model takes a batch, here of one message: torch.tensor([token_ids])."
            )
        self.row = token_ids[0].tolist()
        classes = (self.classes * 2)[: len(self.row)]
        return 3.0 * F.one_hot(torch.tensor([classes]), 2) - 4


def try_classify(solve) -> str:
    """`solve` takes a text, a model, a tokenizer and max_length; it returns "spam" or "not spam"."""
    tokenizer = SimpleNamespace(encode=lambda text, **_: [int(word) for word in text.split()])
    all_classes = rows("0 0 0 0 0; 1 1 1 1 1; 1 0 0 0 0; 0 1 1 1 1; 1 1 1 1 0").tolist()
    for text in ("11 12 13", "21 22 23 24 25", "31 32 33 34 35 36 37"):
        for classes in all_classes:
            model = ToyClassifier(classes)
            got = solve(text, model, tokenizer, 5)
            if model.row is None:
                raise Mistake("the model was never called: call model(…) with the token ids.")
            check_row(model.row, tokenizer.encode(text), 5)
            is_wrong = got != ("spam" if classes[-1] else "not spam")
            refuse({
                "the model is still in training mode, in which dropout makes the answer random: "
                "model.eval() comes first.": model.training,
                f"the answer is {got!r}; it should be “spam” or “not spam”.":
                    got not in ("spam", "not spam"),
                "the labels are swapped: 0 is ham, “not spam”, and 1 is spam.":
                    is_wrong and len({*classes}) == 1,
                "you use the first position: it has seen no token but the first.":
                    is_wrong and classes[1] == classes[-1],
                "the last position alone decides: [:, -1].": is_wrong,
            })  # fmt: skip
    return "messages that are too short, just right and too long, ham and spam"


def try_precision_recall(solve) -> str:
    """`solve` takes labels, p_spam (num_messages,) and a threshold; it returns two fractions."""
    labels, tenths = rows("1 1 1 0 0 1 1 0; 9 8 6 7 2 4 1 3").numpy()
    p_spam = tenths / 10
    for threshold in (0.5, 0.65):
        predicted = p_spam > threshold
        precision, recall = labels[predicted].mean(), predicted[labels == 1].mean()
        accuracy = (predicted == labels).mean()
        typical = {
            "the two are swapped: first precision, then recall.": (recall, precision),
            "that is precision and recall of ham: those of spam are due.": (
                1 - labels[~predicted].mean(),
                1 - predicted[labels == 0].mean(),
            ),
            f"at a threshold of {threshold} it still takes 0.5: use `threshold`.": (3 / 4, 3 / 5),
            "where precision is due you give the accuracy.": (accuracy, recall),
            "where recall is due you give the accuracy.": (precision, accuracy),
        }
        compare(call(solve, labels, p_spam, threshold), (precision, recall), typical)
    got = call(solve, np.array([1, 0, 1]), np.array([0.9, 0.5, 0.7]), 0.5)
    typical = {
        "a p_spam of exactly the threshold is not predicted as spam: > and not ≥.": (2 / 3, 1)
    }
    compare(got, (1, 1), typical)
    for undefined, labels, p_spam, right in (
        ("precision", [1, 0], [0.3, 0.2], (None, 0)),
        ("recall", [0, 0], [0.8, 0.2], (0, None)),
    ):
        sentence = f"there {undefined} is a fraction of nothing, 0 / 0: {right} is due."
        try:
            got = call(solve, np.array(labels), np.array(p_spam), 0.5)
        except ZeroDivisionError:
            raise Mistake(sentence) from None
        refuse({sentence: tuple(got) != right})
    return "two thresholds, a p_spam just at it, no message predicted as spam, no spam at all"


# --- 6.D ---------------------------------------------------------------------------------------------


def try_shared_texts(solve) -> str:
    """`solve` takes the texts of two parts; it returns those of the second that the first has, too."""
    train = ["Call me NOW", "see  you at six", "Ok", "No where to go", "lunch?"]
    test = ["call me now", "see you\nat six ", "nowhere to go", "okay", "ok", "lunch? ", "ok"]
    right = ["call me now", "see you\nat six ", "ok", "lunch? ", "ok"]
    got = call(solve, train, test)
    if not isinstance(got, list):
        raise Mistake(f"return a list, in the order of the test part, not a {type(got).__name__}.")
    typical = {
        "only equal texts are found: capitals and white space make no difference here.": [],
        "white space still makes a difference: `' '.join(text.split())` leaves one space each.": (
            ["call me now", "ok", "ok"]
        ),
        "inside a text white space still makes a difference.": ["call me now", *right[2:]],
        "capitals still make a difference: `text.lower()` has none.": right[1::2],
        "these are the texts that the training part does *not* have.": test[2:4],
        "return each text as it is written in the test part.": (
            [" ".join(text.split()) for text in right]
        ),
        "a text that is twice in the test part counts twice, as in an accuracy.": right[:4],
    }
    refuse({sentence: got == texts for sentence, texts in typical.items()})
    refuse({
        "you return the texts of the training part: those of the test part are due.":
            "Call me NOW" in got,
        "without a space “no where” is “nowhere”: leave one between words.": "nowhere to go" in got,
        "“okay” only contains “ok”: compare whole texts.": "okay" in got,
        f"of {test} the training part {train} has {right}; you return {got}.": got != right,
    })  # fmt: skip
    return "seven texts to test with and five to train with, made by hand"


def try_macro_f1(solve) -> str:
    """`solve` takes a table (num_classes, num_classes), a row for each correct class."""
    for numbers in ("8 2 0; 1 4 1; 0 3 6", "9 1 0; 2 3 0; 4 1 0"):
        table = rows(numbers).numpy()
        got = call(solve, table)
        if np.isnan(got).any():
            raise Mistake("it is nan, 0 / 0: the last class is never predicted; its F1 counts 0.")
        right, correct, predicted = table.diagonal(), table.sum(axis=1), table.sum(axis=0)
        precision, recall = right / np.maximum(predicted, 1), right / correct
        f1 = 2 * right / (correct + predicted)
        p, r = precision.mean(), recall.mean()
        typical = {
            "that is the accuracy: each *text* counts the same in it, not each *class*.": (
                right.sum() / table.sum()
            ),
            "that is the mean of the precisions; F1 has the recall in it, too.": p,
            "that is the mean of the recalls; F1 has the precision in it, too.": r,
            "you added the classes' F1; take the mean.": f1.sum(),
            "large classes count more in yours: it is weighted by their texts.": (
                np.average(f1, weights=correct)
            ),
            "F1 is the *harmonic* mean of precision and recall, 2 · P · R / (P + R).": (p + r) / 2,
            "first the F1 of each class, then their mean; you took means first.": 2
            * p
            * r
            / (p + r),
            "a class of which nothing is right counts 0; you left it out.": f1[f1 > 0].mean(),
        }
        compare(got, f1.mean(), typical)
    return "a table of 25 texts, and one where the last class is never predicted"


# --- 6.E ---------------------------------------------------------------------------------------------


def try_last_query_attention(solve) -> str:
    """`solve` takes queries, keys, values (batch, num_tokens, d) of a head; it returns (batch, d)."""
    generator = torch.Generator().manual_seed(3)
    for b, n, d in ((2, 5, 4), (3, 1, 4)):
        queries, keys, values = 2 * torch.randn(3, b, n, d, generator=generator)
        causal = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        scores = keys @ queries[:, -1:].mT  # (b, n, 1)
        scaled, first = scores / d**0.5, keys @ queries[:, :1].mT / d**0.5
        got = call(solve, queries, keys, values)
        if np.shape(got) == (b, n, d) and n > 1:
            raise Mistake(
                "you answer for every token: take the last one's query, `queries[:, -1]`."
            )
        weights = scaled.softmax(1)
        typical = {
            "the scores are not weights yet: `softmax` makes them positive, with sum 1.": (
                scaled * values
            ),
            "the scores are not divided by the root of d, as GPT-2 does.": (
                scores.softmax(1) * values
            ),
            "divide the scores by the *root* of d, not by d.": (scores / d).softmax(1) * values,
            "`softmax` goes over the tokens (`dim=-1`), not over the messages.": (
                scaled.softmax(0) * values
            ),
            "that is the first token's query: take the last one's.": first.softmax(1) * values,
            "the weights are for the *values*; you multiply them by the keys.": weights * keys,
        }
        typical = {sentence: weighted.sum(1) for sentence, weighted in typical.items()}
        compare(got, causal[:, -1], typical)
    return "two small batches, against the last position of causal attention for all tokens"


TRIALS = {  # the section and the name of the stub
    "6.2 my_create_balanced_dataset": model_trials.try_balanced,
    "6.3 MySpamDataset": model_trials.try_dataset,
    "6.3 my_padding_mask": model_trials.try_padding_mask,
    "6.4 my_put_in_place": model_trials.try_put_in_place,
    "6.5 my_count_trainable": model_trials.try_count_trainable,
    "6.5 my_freeze": model_trials.try_freeze,
    "6.5 my_frozen_blocks": model_trials.try_frozen_blocks,
    "6.6 my_last_token_positions": try_last_token_positions,
    "6.6 my_loss_of_last_position": try_loss_of_last_position,
    "6.6 my_accuracy": try_accuracy,
    "6.7 my_training_step": try_training_step,
    "6.8 my_classify": try_classify,
    "6.8 my_precision_recall": try_precision_recall,
    "6.D my_shared_texts": try_shared_texts,
    "6.D my_macro_f1": try_macro_f1,
    "6.E my_last_query_attention": try_last_query_attention,
}
