"""The trials of sections 6.2 to 6.5: the messages, and the model before it is trained.

What a trial is says `trials`.
"""

import copy

import pandas as pd
import torch
from torch import nn

from helpers.config import BASE_CONFIG, END_OF_TEXT
from helpers.freezing import FreezePlan, frozen_blocks
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
                (len(got_ham), len(got_spam)) != (num_spam, num_spam),
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
    typical = {
        "it hides every 50256, even one inside a message: only those after the last real token are "
        "padding.": is_token,
        "your mask ends at the first 50256: what follows it inside a message is real, too.": (
            is_token.cumprod(dim=1)
        ),
        "it is the wrong way round: True is for a real token, False for padding.": ~right,
        "it is the wrong way round, and hides a 50256 inside a message.": ~is_token,
        "your mask also hides the last real token.": positions < lengths - 1,
        "your mask leaves the first padding of each row in sight.": (
            (positions <= lengths) & (lengths > 0)
        ),
        "in a row of padding alone nothing is real, but your mask has a True there.": (
            positions < lengths.clamp(min=1)
        ),
    }
    compare(got, right, typical)
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
    if [id(parameter) for parameter in attention.parameters()] != [id(old) for old in before]:
        raise Mistake(
            "you replaced a layer or a parameter by another: fill the one that is there, with "
            "`copy_`, or an optimizer that knows it will train the old one."
        )
    thirds = torch.stack(w.split(4, dim=1))
    typical = {
        "the thirds are not transposed: TensorFlow multiplies vector times matrix, and Linear keeps "
        "its matrix the other way round.": thirds,
        "you took every third column: query, key and value stand side by side.": (
            w.reshape(4, 4, 3).permute(2, 1, 0)
        ),
        "the thirds are in another order: query comes first, key, then value.": thirds.mT.flip(0),
    }
    compare(torch.stack(before[::2]).detach(), thirds.mT, typical)
    if not torch.equal(torch.cat(before[1::2]), b):
        raise Mistake("the biases are not the thirds of b, in the order query, key, value.")
    return "a module of 4 numbers for each token"


# --- 6.5 ---------------------------------------------------------------------------------------------


def try_count_trainable(solve) -> str:
    """`solve` takes a model and returns how many trainable parameters it has."""
    model = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2), nn.LayerNorm(2))
    model[0].requires_grad_(False)
    model[1].bias.requires_grad_(False)
    typical = {
        "you counted tensors: a weight of 2 rows and 5 columns is ten parameters (`numel`).": 3,
        "you counted all parameters, the frozen ones, too.": 36,
        "you counted the frozen parameters, not the trainable ones.": 22,
    }
    compare(call(solve, model), 14, typical)
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
        right = {}
        for name in got:
            right[name] = any(name == part or name.startswith(f"{part}.") for part in parts)
        wrong = [name for name in got if got[name] != right[name]]
        if not wrong:
            continue
        is_first, is_second = parts == first, parts == second
        refuse({
            "you set `requires_grad` on modules, where it has no effect: set it on each parameter, "
            "from `named_parameters()`.":
                any("requires_grad" in vars(module) for module in model.modules()),
            "nothing was frozen: all parameters are still trainable.": all(got.values()),
            "it is the wrong way round: `trainable` names what is not frozen.":
                len(wrong) == len(got),
            "nothing is trainable: a parameter's name is longer, as in out_head.weight.":
                is_first and not any(got.values()),
            "it takes trf_blocks.10 for a part of trf_blocks.1: a dot has to follow the name.":
                is_first and "trf_blocks.10.norm1.scale" in wrong,
            "what was frozen before stays frozen: set the flag to True, too.":
                is_second and "trf_blocks.10.norm1.scale" in wrong,
            "what was trainable before still is: freeze what is not named this time.":
                is_second and "final_norm.scale" in wrong,
        })  # fmt: skip
        raise Mistake(f"with trainable={parts} the flag of {wrong[0]} should be {right[wrong[0]]}.")
    return "whole blocks, a piece, one parameter, nothing, and a second choice after the first"


def try_frozen_blocks(solve) -> str:
    """`solve` takes names of trainable parts and the number of blocks; it counts blocks."""
    for names, n_layers in (
        ("trf_blocks.5 final_norm out_head", 6),
        ("out_head", 6),
        ("trf_blocks.1 trf_blocks.4", 6),
        ("pos_emb trf_blocks.4", 6),
        ("tok_emb", 6),
        ("trf_blocks.1.norm1 out_head", 6),
        ("trf_blocks.9 trf_blocks.10", 12),
        ("", 3),
    ):
        trainable = set(names.split())
        right = frozen_blocks(FreezePlan(n_layers, trainable))  # None: an embedding is trainable
        got = solve(set(trainable), n_layers)
        if got == right or (got, right) == (0, None):
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
