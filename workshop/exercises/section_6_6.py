"""What section 6.6 asks: to write, and to predict."""

import math

import torch
from torch.nn import functional as F

from helpers.config import END_OF_TEXT
from helpers.training import last_token_positions
from workshop.exercises.coding import Exercise, Mistake, number_of, tensor_of
from workshop.exercises.prediction import Number, OneOf, Question

PAD = END_OF_TEXT


def _try_last_token_positions(solve):
    """`solve` takes token ids (b, n) and returns (b,)."""
    usual = torch.tensor([[5, 6, 7, PAD, PAD], [5, PAD, PAD, PAD, PAD], [5, 6, 7, 8, 9]])
    kept = usual.clone()
    got = tensor_of(solve(usual), (3,), "the positions").tolist()
    if not torch.equal(usual, kept):
        raise Mistake("your function changed the token ids that it was given.")
    if got == [4, 4, 4]:
        raise Mistake("that is the last position of every row: in a padded row it is padding.")
    if got == [3, 1, 5]:
        raise Mistake("you counted the tokens; positions begin at 0, so the last is one lower.")
    if got[:2] == [3, 1]:
        raise Mistake("that is the first position of the padding: the last token is one before.")
    if got != [2, 0, 4]:
        raise Mistake(f"of lengths 3, 1 and 5 it makes {got}, not [2, 0, 4].")
    inside = torch.tensor([[5, PAD, 6, PAD]])  # the message itself holds this token
    if (got := tensor_of(solve(inside), (1,), "the position").item()) != 2:
        raise Mistake(
            f"a 50256 inside the message ends it too early: position {got}, not 2. Only what "
            "stands behind the last token is padding."
        )
    if tensor_of(solve(torch.full((1, 3), PAD)), (1,), "the position").item() != 0:
        raise Mistake("a row of padding alone has no last token: agree on position 0 there.")
    other = torch.tensor([[1, 2, 0, 0], [PAD, PAD, 1, 0]])
    if solve(other, 0).tolist() != last_token_positions(other, 0).tolist():
        raise Mistake("another `pad_token_id` makes no difference: use the argument.")
    return "rows with and without padding, of padding alone, and with 50256 inside"


def _try_loss_of_last_position(solve):
    """`solve` takes logits (b, n, 2) and labels (b,) and returns a mean loss."""
    logits = torch.tensor(
        [[[1.0, 3.0], [4.0, 0.0], [0.5, 2.0]], [[0.0, 1.0], [2.0, 2.5], [3.0, 0.0]]]
    )
    labels = torch.tensor([1, 1])
    got = number_of(solve(logits.clone(), labels.clone()), "the loss")
    last = logits[:, -1]
    losses = {
        F.cross_entropy(logits.flatten(0, 1), labels.repeat_interleave(3)): (
            "you averaged over all positions: only the last one classifies."
        ),
        F.cross_entropy(logits[:, 0], labels): "that is the loss of the first position.",
        F.cross_entropy(last, labels, reduction="sum"): (
            "you added the losses up: take their mean, or a larger batch costs more."
        ),
        F.cross_entropy(last.softmax(-1), labels): (
            "you took softmax twice: `cross_entropy` wants the logits, and does softmax itself."
        ),
        -F.cross_entropy(last, labels): "the sign is wrong: the loss is *minus* the logarithm.",
        F.cross_entropy(last, labels) / math.log(2): (
            "that is in bits: take the natural logarithm."
        ),
    }
    for loss, words in losses.items():
        if math.isclose(got, loss.item(), rel_tol=1e-4):
            raise Mistake(words)
    right = F.cross_entropy(last, labels).item()
    if not math.isclose(got, right, rel_tol=1e-4):
        raise Mistake(f"for two messages it makes {got:.3f} nats, not {right:.3f}.")
    return "two messages of three positions"


def _try_accuracy(solve):
    """`solve` takes batches and a function from token ids (b, n) to labels (b,)."""
    ids = [torch.tensor([[1], [0], [1], [1]]), torch.tensor([[0], [1]])]
    labels = [torch.tensor([1, 1, 0, 1]), torch.tensor([0, 1])]
    batches = list(zip(ids, labels, strict=True))
    got = number_of(solve(batches, lambda token_ids: token_ids[:, 0]), "the accuracy")
    said = {
        0.75: (
            "the mean of two batches' accuracies is not the accuracy over both: the last batch is "
            "smaller."
        ),
        0.5: "you divided by batches times the first batch's size: the last batch is smaller.",
        1.0: "that is the last batch alone: count over all of them.",
        4.0: "you counted the right answers: divide by how many messages there are.",
        200 / 3: "that is in percent: a share lies between 0 and 1.",
        1 / 3: "you counted the mistakes.",
    }
    for value, words in said.items():
        if math.isclose(got, value, abs_tol=1e-4):
            raise Mistake(words)
    if not math.isclose(got, 2 / 3, abs_tol=1e-4):
        raise Mistake(f"of six messages four are right, and it makes {got:.3f}, not 0.667.")
    return "a batch of four messages and one of two"


EXERCISES = {
    "my_last_token_positions": Exercise(_try_last_token_positions),
    "my_loss_of_last_position": Exercise(_try_loss_of_last_position),
    "my_accuracy": Exercise(_try_accuracy),
}


QUESTIONS = {
    "6.6 accuracy before training": Question(
        "The head has learned nothing, and about half of the messages are ham. How accurate is it "
        "on the first 80 test messages?",
        Number(within=12, unit="%"),
        right="Yes, about half; but not because it throws a coin.",
        wrong={
            0: "To be wrong every time one would have to know the answers.",
            100: "It has not seen one label yet.",
            "too low": "Chance alone is right more often.",
            "too high": "It has learned nothing about spam yet.",
        },
        then="The untrained head calls nearly all messages ham, so its accuracy is close to the "
        "share of ham. (For GPT-2 124M the book prints 48.75 % on test data.)",
    ),
    "6.6 a sure wrong answer": Question(
        "A model gives the correct class p = 0.01: sure, and wrong. What is the loss, −ln p?",
        Number(tolerance=0.1, unit="nats"),
        right="Yes.",
        wrong={
            0.99: "That is how wrong the probability is. The logarithm makes it dearer.",
            2: "That is the logarithm to the base 10; the natural one is 2.3 times as large.",
            "too low": "Dearer: each halving of p adds 0.69, and from 1 to 0.01 there are 6.6.",
            "too high": "Not as dear: each halving of p adds 0.69, and from 1 to 0.01 there are 6.6.",
        },
        then="Equal probabilities cost 0.69, a sure right answer (0.99) next to nothing. There is "
        "no upper end: one terribly wrong message can outweigh many good ones.",
    ),
    "6.6 loss before training": Question(
        "What is this untrained model's mean loss, roughly?",
        Number(within=0.2, unit="nats"),
        right="Yes: hardly sure of anything, it pays hardly more than equal probabilities do.",
        wrong={
            0: "Nothing is free here: that would be sure right answers only.",
            "too low": "Below ln 2 = 0.69 one has to know something.",
            "too high": "It would have to be sure for that. It leans to one side only a little.",
        },
        then="But an untrained head can also be very sure by chance: for GPT-2 124M the book "
        "prints 2.453, 2.583 and 2.322.",
    ),
    "6.6 the last position": Question(
        "Take the shortest of the eight messages. What stands at its last position?",
        OneOf("its last word", "padding", "a full stop"),
        right="Yes. The book classifies by it all the same, and it works.",
        wrong={
            "its last word": "All rows are equally long; a short message ends long before.",
            "a full stop": "No: all rows are equally long, and filled up.",
        },
        then="The causal mask lets the padding look back at the whole message. But does it?",
    ),
    "6.6 one token that separates": Question(
        "Behind the message comes a single `<|endoftext|>`. How much of its attention does it give "
        "to the message in block 4, in the mean of the eight messages?",
        Number(within=15, unit="%"),
        right="Yes, next to nothing.",
        wrong={
            90: "So much a full stop gives at the same place.",
            "too low": "A little more than that.",
            "too high": "Far less, though it stands right behind the message.",
        },
        then="Darker is more. One full stop gives the message most of its attention in every "
        "block. So it is not the distance. The nano was pretrained on documents with "
        "`<|endoftext|>` before each: what follows is *another* document, and it has learned not "
        "to look back. Fifty of a kind dilute the rest, full stops too.\n\nSo fine-tuning at the "
        "padded end must first teach the last block to look back. It can: that block is trained.",
    ),
    "6.6 padding behind a token": Question(
        "Now we classify by the last *real* token. Does the padding behind it change its logits?",
        OneOf("yes", "no"),
        right="Yes, that is it: under the causal mask no token sees what follows it.",
        wrong={"yes": "No token sees what follows it: that is the causal mask."},
        then="So with the last real token a message can be classified without any padding.",
    ),
    "6.6 what stays": Question(
        "We change the last block and the head, as training will. Does what comes out *below* the "
        "last block change?",
        OneOf("yes", "no"),
        right="Right: nothing down there has changed, and nothing down there will.",
        wrong={"yes": "Numbers flow upwards. Nothing down there has changed."},
        then="And yet the book's training computes these numbers again in every epoch. What could "
        "one do instead?",
    ),
    "6.6 lower loss, lower accuracy": Question(
        "Can a model have a lower loss than another, and yet a lower accuracy?",
        OneOf("yes", "no"),
        right="Yes: the loss counts how sure a mistake is, accuracy only that it is one.",
        wrong={
            "no": "It can: the loss counts how sure a mistake is, accuracy only that it is one."
        },
        then="Model a is right three times in four, and terribly wrong once. Model b is right only "
        "twice, but never far off.",
    ),
}
