"""Answers to predictions whose computation would give them away on the page.

A function takes what the cell gives to `predict`, and returns the answer, or a dictionary with the
answer and further values for the texts of the question.
"""

import math
import re

import torch
from torch.nn import functional as F

from helpers.config import END_OF_TEXT
from helpers.training import last_token_positions
from workshop.pictures.charts import batch_widths, share_of_padding

# --- 6.1 ------------------------------------------------------------------------------------------


def beginning_of_answer(prompt: str, continued: str) -> str:
    """Return whether the text that follows a prompt begins with yes, with no or otherwise."""
    answer = continued.removeprefix(prompt).strip().lower()
    for word in ("yes", "no"):
        if re.match(rf"{word}\b", answer):
            return f"with {word}"
    return "with something else"


# --- 6.2 ------------------------------------------------------------------------------------------


def always_ham(ham: int, spam: int) -> float:
    """Return the accuracy, in percent, of predicting ham for all of these messages."""
    return 100 * ham / (ham + spam)


# --- 6.3 ------------------------------------------------------------------------------------------


def compared_number_of_tokens(tokenizer, usual: str, hurry: str) -> str:
    """Return whether the second text has more tokens than the first, as many, or fewer."""
    difference = len(tokenizer.encode(hurry)) - len(tokenizer.encode(usual))
    return "as many" if difference == 0 else "more" if difference > 0 else "fewer"


def padding_sorted(lengths) -> dict:
    """Return how much of the padding in batches of eight is left if the messages are sorted first.

    Also returned are the percentages of padding: `one_length` for all messages, `by_batch` with
    each batch padded to its own longest message, and `in_order`, the same after sorting.
    """
    ordered = sorted(lengths)
    one_length = share_of_padding(lengths, [max(lengths)] * len(lengths))
    by_batch = share_of_padding(lengths, batch_widths(lengths, 8))
    in_order = share_of_padding(ordered, batch_widths(ordered, 8))
    left = in_order / by_batch
    answer = "most of it" if left > 0.7 else "about half of it" if left > 0.3 else "almost nothing"
    return {
        "answer": answer,
        "one_length": 100 * one_length,
        "by_batch": 100 * by_batch,
        "in_order": 100 * in_order,
    }


# --- 6.5 ------------------------------------------------------------------------------------------


def shape_with_old_head(model, logits: torch.Tensor) -> dict:
    """Return the shape of a language model's logits, and its `emb_dim`.

    Raises ValueError where the page has replaced the head already.
    """
    if logits.shape[-1] != model.cfg["vocab_size"]:
        raise ValueError("the head has been replaced already; run step 2 again, and then this cell")
    return {"answer": tuple(logits.shape), "emb_dim": model.cfg["emb_dim"]}


def rows_that_stay(model, token_ids: torch.Tensor, others: torch.Tensor) -> int:
    """Return for how many positions two messages (1, n) get the same logits."""
    with torch.no_grad():
        is_close = torch.isclose(model(token_ids), model(others), atol=1e-4)
    return int(is_close.all(dim=-1).sum())


# --- 6.6 ------------------------------------------------------------------------------------------


def loss_at(p: float) -> float:
    """Return the loss, in nats, where the correct class has the probability `p`."""
    return -math.log(p)


def what_is_last(token_ids) -> str:
    """Return what is at the last position of the shortest of the sequences (b, n)."""
    shortest = token_ids[last_token_positions(token_ids).argmin()]
    return "padding" if shortest[-1] == END_OF_TEXT else "its last word"


def loss_against_accuracy(one, other) -> str:
    """Return whether the other model has the lower loss and the lower accuracy.

    Given are the probabilities of the correct classes.
    """
    losses = [sum(-math.log(p) for p in model) / len(model) for model in (one, other)]
    right = [sum(p > 0.5 for p in model) / len(model) for model in (one, other)]
    return "yes" if losses[1] < losses[0] and right[1] < right[0] else "no"


# --- 6.7 ------------------------------------------------------------------------------------------


def best_epoch(film) -> str:
    """Return in which epochs the validation loss is lowest."""
    best, last = film.history.best_epoch, len(film.frames) - 1
    if best <= 3:
        return "the first to the third"
    return "the last" if best == last else "the fourth"


def confident_mistakes(film) -> str:
    """Return what fraction of the last epoch's mistakes have a confidence above 0.9."""
    last = len(film.frames) - 1
    confidence = film.frames[last].probabilities.amax(dim=1)[film.mistakes[last]]
    fraction = (confidence > 0.9).float().mean()
    return (
        "hardly any" if fraction < 0.15 else "about a quarter" if fraction < 0.4 else "half or more"
    )


def expensive_mistakes(film) -> str:
    """Return whether the loss rises, from the best epoch to the last, because of a few messages."""
    best, last = (
        F.cross_entropy(film.frames[epoch].logits, film.labels, reduction="none")
        for epoch in (film.history.best_epoch, len(film.frames) - 1)
    )
    few = last.median() <= best.median()
    return "a few messages cost much more" if few else "many messages cost a little more"


def which_have_gradients(parts) -> str:
    """Return which of three parts have a gradient: token embedding, first block, last block."""
    have = tuple(weight.grad is not None for weight in parts)
    in_words = {
        (False, False, False): "none of them",
        (False, False, True): "the last block only",
        (False, True, True): "both blocks",
    }
    return in_words.get(have, "all three")


def change_of_loss(before: float, after: float) -> str:
    """Return whether a loss fell or rose by more than a tenth."""
    change = after / before
    return "lower" if change < 0.9 else "higher" if change > 1.1 else "about as before"


# --- 6.8 ------------------------------------------------------------------------------------------


def changed_labels(p_spam: torch.Tensor) -> str:
    """Return how many predicted labels change with a threshold of 0.9 instead of 0.5."""
    changed = int(((p_spam > 0.5) != (p_spam > 0.9)).sum())
    return "fewer than 20" if changed < 20 else "20 to 60" if changed <= 60 else "more than 60"


ANSWERS = {
    "6.1 what the pretrained model answers": beginning_of_answer,
    "6.2 always ham": always_ham,
    "6.3 the same words in a hurry": compared_number_of_tokens,
    "6.3 sorted by length": padding_sorted,
    "6.5 the shape with the old head": shape_with_old_head,
    "6.5 rows that stay": rows_that_stay,
    "6.6 a sure wrong answer": loss_at,
    "6.6 the last position": what_is_last,
    "6.6 lower loss, lower accuracy": loss_against_accuracy,
    "6.7 gradient": which_have_gradients,
    "6.7 first step": change_of_loss,
    "6.7 best epoch": best_epoch,
    "6.7 sure mistakes": confident_mistakes,
    "6.7 dear mistakes": expensive_mistakes,
    "6.8 a stricter threshold": changed_labels,
}
