"""The trials of what learners write: one function for each exercise in code.

Each calls the learner's function, `solve`, on inputs made by hand, raises `Mistake` at the first
mistake, in a sentence, and returns what was tried, in words. TRIALS has them all.
"""

import copy
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parameters_to_vector

from helpers.config import BASE_CONFIG, END_OF_TEXT
from helpers.freezing import FreezePlan, frozen_blocks, replace_head
from helpers.model import GPTModel
from workshop.exercises.mistakes import Mistake, call, check_row, compare, refuse, rows

TINY = {"vocab_size": 11, "context_length": 6, "emb_dim": 2, "n_heads": 1, "n_layers": 11}


# --- 6.2 ---------------------------------------------------------------------------------------------


def try_balanced(solve) -> str:
    """`solve` takes a table and returns a balanced one, ham first."""
    for num_ham, num_spam, start in ((30, 5, 0), (6, 6, 40), (9, 1, 7)):
        labels = ["ham", "spam"] * num_spam + ["ham"] * (num_ham - num_spam)
        texts = [f"message {i}" for i in range(len(labels))]
        index = range(start, start + len(labels))  # it does not begin at 0 everywhere
        df = pd.DataFrame({"Label": labels, "Text": texts}, index)
        ham, spam = df[df["Label"] == "ham"], df[df["Label"] == "spam"]
        right = pd.concat([ham.sample(num_spam, random_state=123), spam])

        got = call(solve, df)

        if [*got.columns] != ["Label", "Text"]:
            raise Mistake(f"the columns should still be Label and Text, not {[*got.columns]}.")
        if got.to_numpy().tolist() == right.to_numpy().tolist():
            continue
        got_ham, got_spam = got[got["Label"] == "ham"], got[got["Label"] == "spam"]
        kept = f"of {num_ham} ham and {num_spam} spam you kept {len(got_ham)} and {len(got_spam)}"
        refuse({
            f"{kept}: do not copy spam, leave ham out.": len(got_spam) > num_spam,
            f"{kept}: all spam stays, and as many ham messages.":
                {len(got_ham), len(got_spam)} != {num_spam},
            "the rows are in another order: first all ham, then all spam.":
                [*got["Label"]] != [*right["Label"]],
            "you took the first ham messages: draw them at random, because what was collected "
            "first may differ from the rest.": got_ham["Text"].equals(ham["Text"][:num_spam]),
            "called twice it draws different rows: a seed is missing.":
                not call(solve, df).equals(got),
            "you drew the spam, too: it stays as it was, in its old order.":
                not got_spam["Text"].equals(spam["Text"]),
            "the ham messages are others than the book's, or in another order: take what `sample` "
            "returns with `random_state=123`, as it is.": True,
        })  # fmt: skip
    return "tables of 30 ham and 5 spam, of 6 and 6, of 9 and 1"


# --- 6.3 ---------------------------------------------------------------------------------------------


def try_dataset(solve) -> str:
    """`solve` is the learner's class: item i is (token_ids (max_length,), label ())."""
    encoded, labels = [[*range(11, 14)], [*range(21, 26)], [*range(31, 38)]], [1, 0, 1]
    for pad_token_id in (END_OF_TEXT, 7):
        given = copy.deepcopy(encoded)
        data = solve(given, labels, 5, pad_token_id)
        for i, ids in enumerate(encoded):
            item = call(data.__getitem__, i)
            if not isinstance(item, tuple | list) or len(item) != 2:
                raise Mistake("two things are due, with a comma between them: token ids, label.")
            row, label = item
            if {type(row), type(label)} != {torch.Tensor}:
                raise Mistake("the token ids and the label should be tensors: torch.tensor(…).")
            if row.ndim == 0 and label.ndim == 1:
                raise Mistake("the other way round: first the token ids, then the label.")
            check_row(row.tolist(), ids, 5, pad_token_id)
            compare(label, labels[i])
            if {row.dtype, label.dtype} != {torch.long}:
                raise Mistake(f"they are {row.dtype} and {label.dtype}: both should be torch.long.")
        if given != encoded:
            raise Mistake(
                "it changes the lists in self.encoded: make a new list, or the next epoch finds "
                "padding that was not there."
            )
    return "messages that are too short, just right and too long, and with two pad tokens"


def try_padding_mask(solve) -> str:
    """`solve` takes token ids (batch, num_tokens) and returns a mask of the same shape."""
    token_ids = rows(
        "5 6 7 50256 50256; 5 50256 6 7 50256; 8 9 5 6 7; 50256 50256 50256 50256 50256"
    )
    lengths, positions, is_token = rows("3; 4; 5; 0"), torch.arange(5), token_ids != END_OF_TEXT
    right = positions < lengths
    got = call(solve, token_ids)
    compare(got, right, {
        "it hides every 50256, even one inside a message: only those after the last real token are "
        "padding.": is_token,
        "your mask ends at the first 50256: what follows it inside a message is real, too.":
            is_token.cumprod(dim=1),
        "it is the wrong way round: True is for a real token, False for padding.": ~right,
        "it is the wrong way round, and hides a 50256 inside a message.": ~is_token,
        "your mask also hides the last real token.": positions < lengths - 1,
        "your mask leaves the first padding of each row in sight.":
            (positions <= lengths) & (lengths > 0),
        "in a row of padding alone nothing is real, but your mask has a True there.":
            positions < lengths.clamp(min=1),
    })  # fmt: skip
    other_pad = solve(torch.where(is_token, token_ids, 0), pad_token_id=0)
    refuse({
        f"the mask is {got.dtype}; True and False are torch.bool.": got.dtype != torch.bool,
        "with pad_token_id=0 it still looks for 50256: use pad_token_id.":
            not torch.equal(other_pad, right),
    })  # fmt: skip
    return "rows with and without padding, a 50256 inside a message, a row of padding alone"


# --- 6.4 ---------------------------------------------------------------------------------------------


def try_put_in_place(solve) -> str:
    """`solve` takes an attention module, w (emb, 3·emb) and b (3·emb,), and fills the module."""
    attention = nn.Module()
    for name in ("W_query", "W_key", "W_value"):
        setattr(attention, name, nn.Linear(4, 4))  # square: no shape tells a transposed weight
    before = list(attention.parameters())
    w, b = torch.arange(48.0).reshape(4, 12), 100 + torch.arange(12.0)
    solve(attention, w.clone(), b.clone())
    if list(map(id, attention.parameters())) != list(map(id, before)):
        raise Mistake(
            "you replaced a layer or a parameter by another: fill the one that is there, with "
            "`copy_`, or an optimizer that knows it will train the old one."
        )
    thirds = torch.stack(w.split(4, dim=1))
    compare(torch.stack(before[::2]).detach(), thirds.mT, {
        "the thirds are not transposed: TensorFlow multiplies vector times matrix, and Linear keeps "
        "its matrix the other way round.": thirds,
        "you took every third column: query, key and value stand side by side.":
            w.reshape(4, 4, 3).permute(2, 1, 0),
        "the thirds are in another order: query comes first, key, then value.": thirds.mT.flip(0),
    })  # fmt: skip
    if not torch.equal(torch.cat(before[1::2]), b):
        raise Mistake("the biases are not the thirds of b, in the order query, key, value.")
    return "a module of 4 numbers for each token"


# --- 6.5 ---------------------------------------------------------------------------------------------


def try_count_trainable(solve) -> str:
    """`solve` takes a model and returns how many trainable parameters it has."""
    model = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2), nn.LayerNorm(2))
    model[0].requires_grad_(False)
    model[1].bias.requires_grad_(False)
    compare(call(solve, model), 14, {
        "you counted tensors: a weight of 2 rows and 5 columns is ten parameters (`numel`).": 3,
        "you counted all parameters, the frozen ones, too.": 36,
        "you counted the frozen parameters, not the trainable ones.": 22,
    })  # fmt: skip
    compare(call(solve, model.requires_grad_(False)), 0)
    return "a model that is frozen in parts, and one that is wholly frozen"


def try_freeze(solve) -> str:
    """`solve` takes a model and names of parts, and sets each parameter's `requires_grad`."""
    model = GPTModel(BASE_CONFIG | TINY)
    first = ("trf_blocks.1", "final_norm", "out_head")
    second = ("trf_blocks.0.norm1", "trf_blocks.10")
    for parts in (first, second, ("tok_emb.weight",), ()):
        solve(model, parts)
        got = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
        named = tuple(f"{part}." for part in parts)
        wrong = [name for name in got if got[name] != f"{name}.".startswith(named)]
        if not wrong:
            continue
        refuse({
            "you set `requires_grad` on modules, where it has no effect: set it on each parameter, "
            "from `named_parameters()`.":
                any("requires_grad" in vars(module) for module in model.modules()),
            "nothing was frozen: all parameters are still trainable.": all(got.values()),
            "it is the wrong way round: `trainable` names what is not frozen.":
                len(wrong) == len(got),
            "nothing is trainable: a parameter's name is longer, as in out_head.weight.":
                parts == first and not any(got.values()),
            "it takes trf_blocks.10 for a part of trf_blocks.1: a dot has to follow the name.":
                parts == first and "trf_blocks.10.norm1.scale" in wrong,
            "what was frozen before stays frozen: set the flag to True, too.":
                parts == second and "trf_blocks.10.norm1.scale" in wrong,
            "what was trainable before still is: freeze what is not named this time.":
                parts == second and "final_norm.scale" in wrong,
            f"with trainable={parts} the flag of {wrong[0]} should be {not got[wrong[0]]}.": True,
        })  # fmt: skip
    return "whole blocks, a piece, one parameter, nothing, and a second choice after the first"


def try_frozen_blocks(solve) -> str:
    """`solve` takes names of trainable parts and the number of blocks; it counts blocks."""
    plans = {
        "trf_blocks.5 final_norm out_head": 6,
        "out_head": 6,
        "trf_blocks.1 trf_blocks.4": 6,
        "pos_emb trf_blocks.4": 6,
        "tok_emb": 6,
        "trf_blocks.1.norm1 out_head": 6,
        "trf_blocks.9 trf_blocks.10": 12,
        "": 3,
    }
    for names, n_layers in plans.items():
        trainable = set(names.split())
        right = frozen_blocks(FreezePlan(n_layers, trainable))  # None: an embedding is trainable
        got = solve(set(trainable), n_layers)
        if got == right or (got == 0 and right is None):
            continue
        choice = f"with {sorted(trainable)} of {n_layers} blocks"
        num_trained = sum(name.startswith("trf_blocks") for name in trainable)
        refuse({
            f"{choice} it is 0: block 0 gets another input in each epoch.": right is None,
            f"{choice} the output of a block changes if a piece of it is trained.":
                "norm1" in names,
            f"{choice} block 9 lies below block 10; compare numbers, not texts.": n_layers == 12,
            f"{choice} it is {right}: counted from 0, there are 5 blocks below block 5.":
                right == 5 and got in (4, 6),
            f"{choice} your {got} counts every frozen block: those above the lowest trainable one "
            "get another input in each epoch.": got == n_layers - num_trained,
            f"{choice} it should be {right}, not {got}.": True,
        })  # fmt: skip
    return "plans with blocks, pieces, embeddings, the head alone, and nothing"


# --- 6.6 ---------------------------------------------------------------------------------------------


def try_last_token_positions(solve) -> str:
    """`solve` takes token ids (batch, num_tokens) and returns positions (batch,)."""
    token_ids = rows("5 6 7 50256 50256; 5 50256 50256 50256 50256; 5 6 7 8 9")
    compare(call(solve, token_ids), [2, 0, 4], {
        "that is the last position of every row: in a padded row it is padding.": [4, 4, 4],
        "you counted the tokens; positions begin at 0, so the last is one lower.": [3, 1, 5],
        "that is the first position of the padding: the last token is one before.": [3, 1, 0],
    })  # fmt: skip
    compare(call(solve, rows("5 50256 6 50256")), [2], {
        "a 50256 inside the message ends it too early: padding follows the last token.": [0],
    })  # fmt: skip
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
    compare(call(solve, logits, labels), right, {
        "you averaged over all positions: only the last one classifies.":
            F.cross_entropy(logits.flatten(0, 1), labels.repeat_interleave(3)),
        "that is the loss of the first position.": F.cross_entropy(logits[:, 0], labels),
        "you added the losses up: take their mean, or a larger batch costs more.": 2 * right,
        "you took softmax twice: `cross_entropy` takes the logits, and does softmax itself.":
            F.cross_entropy(last.softmax(-1), labels),
        "the sign is wrong: the loss is *minus* the logarithm.": -right,
    })  # fmt: skip
    return "two messages of three positions"


def try_accuracy(solve) -> str:
    """`solve` takes batches, and a function from token ids (batch, 1) to labels (batch,)."""
    batches = [(rows("1; 0; 1; 1"), rows("1 1 0 1")[0]), (rows("0; 1"), rows("0 1")[0])]
    compare(call(solve, batches, lambda token_ids: token_ids[:, 0]), 4 / 6, {
        "the mean of two batches' accuracies is not the accuracy over both: the last batch is "
        "smaller.": 3 / 4,
        "you divided by batches times the first batch's size: the last batch is smaller.": 4 / 8,
        "that is the last batch alone: count over all of them.": 1,
        "you counted the right answers: divide by the number of messages.": 4,
        "that is in percent: a fraction lies between 0 and 1.": 400 / 6,
        "you counted the mistakes.": 2 / 6,
    })  # fmt: skip
    return "a batch of four messages and one of two"


# --- 6.7 ---------------------------------------------------------------------------------------------


def try_training_step(solve) -> str:
    """`solve` takes a model, token ids, labels and an optimizer; it takes a step, returns the loss."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = replace_head(GPTModel(BASE_CONFIG | TINY | {"drop_rate": 0.0, "n_layers": 1}))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    parameters = [*model.parameters()]
    token_ids = torch.arange(12).reshape(3, 4) % 11
    for step, labels in enumerate(rows("0 1 1; 1 0 1")):
        logits = model(token_ids)
        loss = F.cross_entropy(logits[:, -1], labels)
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
        compare(got, loss.item(), {
            "you averaged over all positions: only the last one's logits, `[:, -1]`, classify.":
                F.cross_entropy(logits.flatten(0, 1), labels.repeat_interleave(4)).item(),
        })  # fmt: skip
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
        compare(call(solve, labels, p_spam, threshold), (precision, recall), {
            "the two are swapped: first precision, then recall.": (recall, precision),
            "that is precision and recall of ham: those of spam are due.": (
                1 - labels[~predicted].mean(),
                1 - predicted[labels == 0].mean(),
            ),
            f"at a threshold of {threshold} it still takes 0.5: use `threshold`.": (3 / 4, 3 / 5),
            "where precision is due you give the accuracy.": (accuracy, recall),
            "where recall is due you give the accuracy.": (precision, accuracy),
        })  # fmt: skip
    compare(call(solve, np.array([1, 0, 1]), np.array([0.9, 0.5, 0.7]), 0.5), (1, 1), {
        "a p_spam of exactly the threshold is not predicted as spam: > and not ≥.": (2 / 3, 1)
    })  # fmt: skip
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
    refuse({
        "only equal texts are found: capitals and white space make no difference here.": got == [],
        "white space still makes a difference: `' '.join(text.split())` leaves one space each.":
            got == ["call me now", "ok", "ok"],
        "inside a text white space still makes a difference.": got == ["call me now", *right[2:]],
        "capitals still make a difference: `text.lower()` has none.": got == right[1::2],
        "these are the texts that the training part does *not* have.": got == test[2:4],
        "return each text as it is written in the test part.":
            got == [" ".join(text.split()) for text in right],
        "a text that is twice in the test part counts twice, as in an accuracy.": got == right[:4],
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
        p, r = (right / np.maximum(predicted, 1)).mean(), (right / correct).mean()  # the means
        f1 = 2 * right / (correct + predicted)
        compare(got, f1.mean(), {
            "that is the accuracy: each *text* counts the same in it, not each *class*.":
                right.sum() / table.sum(),
            "that is the mean of the precisions; F1 has the recall in it, too.": p,
            "that is the mean of the recalls; F1 has the precision in it, too.": r,
            "you added the classes' F1; take the mean.": f1.sum(),
            "large classes count more in yours: it is weighted by their texts.":
                np.average(f1, weights=correct),
            "F1 is the *harmonic* mean of precision and recall, 2 · P · R / (P + R).": (p + r) / 2,
            "first the F1 of each class, then their mean; you took means first.":
                2 * p * r / (p + r),
            "a class of which nothing is right counts 0; you left it out.": f1[f1 > 0].mean(),
        })  # fmt: skip
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
        typical = {
            "the scores are not weights yet: `softmax` makes them positive, with sum 1.":
                scaled * values,
            "the scores are not divided by the root of d, as GPT-2 does.":
                scores.softmax(1) * values,
            "divide the scores by the *root* of d, not by d.": (scores / d).softmax(1) * values,
            "`softmax` goes over the tokens (`dim=-1`), not over the messages.":
                scaled.softmax(0) * values,
            "that is the first token's query: take the last one's.": first.softmax(1) * values,
            "the weights are for the *values*; you multiply them by the keys.":
                scaled.softmax(1) * keys,
        }  # fmt: skip
        typical = {sentence: weighted.sum(1) for sentence, weighted in typical.items()}
        compare(got, causal[:, -1], typical)
    return "two small batches, against the last position of causal attention for all tokens"


TRIALS = {  # the section and the name of the stub
    "6.2 my_create_balanced_dataset": try_balanced,
    "6.3 MySpamDataset": try_dataset,
    "6.3 my_padding_mask": try_padding_mask,
    "6.4 my_put_in_place": try_put_in_place,
    "6.5 my_count_trainable": try_count_trainable,
    "6.5 my_freeze": try_freeze,
    "6.5 my_frozen_blocks": try_frozen_blocks,
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
