"""What section 6.4 asks: to write, and to predict."""

import torch
from torch import nn

from workshop.exercises.coding import Exercise, Mistake
from workshop.exercises.prediction import OneOf, Question, Shape

EMB = 4  # a square third hides from its shape whether it was turned


NAMES = ("W_query", "W_key", "W_value")


class _Attention(nn.Module):
    """Three layers as in an attention module, all zero."""

    def __init__(self):
        super().__init__()
        for name in NAMES:
            layer = nn.Linear(EMB, EMB)
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
            setattr(self, name, layer)


def _try_put_in_place(solve):
    """`solve` takes an attention module, w (emb, 3·emb) and b (3·emb,), and fills the module."""
    w = torch.arange(3.0 * EMB * EMB).reshape(EMB, 3 * EMB)
    b = 100 + torch.arange(3.0 * EMB)
    attention, given_w, given_b = _Attention(), w.clone(), b.clone()
    layers = [getattr(attention, name) for name in NAMES]
    parameters = [p for layer in layers for p in (layer.weight, layer.bias)]
    solve(attention, given_w, given_b)
    if not (torch.equal(given_w, w) and torch.equal(given_b, b)):
        raise Mistake("your function changed the checkpoint's arrays.")
    filled = [getattr(attention, name) for name in NAMES]
    now = [getattr(layer, kind) for layer in filled for kind in ("weight", "bias")]
    if any(new is not old for new, old in zip(now, parameters, strict=True)):
        raise Mistake(
            "you replaced a layer or a parameter by another: fill the one that is there, with "
            "`copy_`, or an optimizer that knows it will train the old one."
        )
    weights, biases = now[0::2], now[1::2]
    thirds = w.split(EMB, dim=1)
    turned = [third.T for third in thirds]
    if all(not weight.any() for weight in weights):
        raise Mistake("all three weights are still zero: nothing was copied into them.")
    if _equal(weights, thirds):
        raise Mistake(
            "the thirds are not turned: TensorFlow multiplies vector times matrix, and Linear keeps "
            "its matrix the other way round."
        )
    if _equal(weights, [w[:, i::3].T for i in range(3)]):
        raise Mistake("you took every third column: query, key and value stand side by side.")
    if not _equal(weights, turned):
        if all(any(torch.equal(weight, third) for weight in weights) for third in turned):
            raise Mistake("the thirds are in another order: query comes first, key, then value.")
        raise Mistake("the weights are not the thirds of w.")
    if all(not bias.any() for bias in biases):
        raise Mistake("the biases are missing: b has a third for each layer, too.")
    if not _equal(biases, b.split(EMB)):
        raise Mistake("the biases are not the thirds of b, in the order query, key, value.")
    return "a module of 4 numbers for each token"


def _equal(got, expected) -> bool:
    return all(torch.equal(one, other) for one, other in zip(got, expected, strict=True))


EXERCISES = {"my_put_in_place": Exercise(_try_put_in_place)}


QUESTIONS = {
    "6.4 most like win": Question(
        "Each token is a row of numbers, random at first. Which of these has, after pretraining, "
        "the row most like that of *win*?",
        OneOf("lose", "prize", "free"),
        right="Yes, its opposite: both are used in the same places.",
        wrong={
            "prize": "It goes with *win*, but does not stand where *win* stands.",
            "free": "Spam has both, but they stand in different places of a sentence.",
        },
        then="The picture has the six most like each word in bold (␣ is a space, which belongs to "
        "the token). Nobody told the nano about days, or that *u* is *you*: rows become alike "
        "when tokens are used alike. That is not meaning the same. And it has read little: its "
        "*£* and *€* are nearly one, and what follows has nothing to do with money.",
    ),
    "6.4 groups of words": Question(
        "Days, family, numbers, cities: which two of these groups are most alike?",
        OneOf("days and cities", "family and numbers", "days and family"),
        right="Yes: both are names, written with a capital.",
        wrong={
            "family and numbers": "A sister and a seven are hardly used alike.",
            "days and family": "Others are more alike. Which two are names with a capital?",
        },
        then="A row is a point in a space of many dimensions. The picture keeps two directions, "
        "those in which the rows differ most (*principal component analysis*; Pearson 1901), and "
        "with them about half of the variance. So read it with care: what lies far apart differs, "
        "what lies close together need not be alike.",
    ),
    "6.4 shape of the embedding": Question(
        "`wte` is the *token embedding*: a row of `n_embd` numbers for each of `n_vocab` tokens. "
        "Which shape has it?",
        Shape(),
        right="Yes: tokens down, their numbers across.",
        wrong={
            (192, 50257): "The other way round: a row for each token.",
            (1024, 192): "That is the positional embedding, `wpe`: a row for each position.",
            "else": "`settings`, printed above, has the two numbers.",
        },
    ),
    "6.4 the largest part": Question(
        "Which part has the most parameters?",
        OneOf("tok_emb", "pos_emb", "trf_blocks", "final_norm"),
        right="Yes: a large vocabulary, and narrow vectors.",
        wrong={
            "pos_emb": "It has 1,024 rows; another embedding has 50,257.",
            "trf_blocks": "So it is in GPT-2 124M. The nano's blocks are narrow.",
            "final_norm": "It has two numbers for each of the vector's, the fewest of all.",
        },
        then="In the nano three quarters are the token embedding. (GPT-2 124M has 124,439,808 "
        "parameters in all, hence its name; 85,054,464 of them in its twelve blocks.)",
    ),
    "6.4 whose phone": Question(
        "*My sister lost her phone*: to which word gives *her* the largest weight, in head 3 of "
        "block 4? (Both are counted from 0.)",
        OneOf("My", "sister", "lost", "her"),
        right="Yes: whose phone it is.",
        wrong={
            "My": "It comes first, but another word says whose phone it is.",
            "lost": "Another head does that. Whose phone is it?",
            "her": "It may look at itself, but this head looks further back.",
        },
        then="Each strip is a vector of 32 numbers (192, shared out among six heads): a bar up "
        "above 0, down below. The query of *her* fits the key of *sister* best, so it takes most "
        "of what it gathers here from there. *phone* comes later, so it has no part.",
    ),
    "6.4 another head": Question(
        "And in block 1, head 4: which word does *her* look at most?",
        OneOf("My", "sister", "lost", "her"),
        right="Yes, the verb.",
        wrong={
            "My": "Not the first word: one nearer to *her*.",
            "sister": "That was the other head. This one looks at another kind of word.",
            "her": "It looks one word further back.",
        },
        then="Is that the head's job, then? Change the sentence before you believe it. And a "
        "weight says from where a head gathers, not why the model answers as it does (Jain & "
        "Wallace 2019): the values count, too, and so do all the other heads.",
    ),
}
