"""Answers to predictions whose computation would give them away on the page.

A function takes what the cell gives to `predict`, and returns the answer, or a dictionary with the
answer and further values for the texts of the question.
"""

import math
import re
from collections import Counter

import numpy as np
import torch
from torch.nn import functional as F

from helpers.config import END_OF_TEXT
from helpers.freezing import FreezePlan, parameter_report
from helpers.training import last_token_positions
from workshop.costs import training_cost
from workshop.pictures.charts import batch_widths, share_of_padding
from workshop.pretraining import validation_losses

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


def trainable_percent(cfg, plan) -> dict:
    """Return the percentage of trainable parameters, and those of two parts of the model."""
    report = parameter_report(cfg, plan)
    sizes = {part.part: 100 * part.parameters / report.total for part in report.parts}
    return {
        "answer": report.percent,
        "num_blocks": plan.n_layers,
        "one_of_blocks": 100 / plan.n_layers,
        "embedding": sizes["tok_emb"],
        "last_block": sizes[f"trf_blocks.{plan.n_layers - 1}"],
    }


def two_blocks(cfg) -> dict:
    """Return the trainable parameters with the last two blocks, and with the last one."""
    plans = (FreezePlan.last_blocks(cfg["n_layers"], k) for k in (2, 1))
    two, one = (parameter_report(cfg, plan).trainable for plan in plans)
    return {"answer": two, "one_block": one}


def first_for_last(cfg, num_tokens: int) -> dict:
    """Return how many times the backward compute training the first block needs, not the last."""
    n_layers = cfg["n_layers"]
    plans = (
        FreezePlan.book(n_layers),
        FreezePlan(n_layers, {"trf_blocks.0", "final_norm", "out_head"}),
    )
    last, first = (training_cost(cfg, plan, 1, num_tokens).backward.amount for plan in plans)
    return {"answer": first / last, "num_blocks": n_layers, "blocks_more": n_layers - 1}


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


# --- 6.C ------------------------------------------------------------------------------------------


def loss_on_text(model, tokens) -> float:
    """Return a model's mean loss, in nats, on sequences as long as its context."""
    return float(validation_losses(model, tokens, model.pos_emb.num_embeddings).mean())


def end_of_pretraining(training, unigram_loss: float) -> dict:
    """Return where the held-out loss ends, compared with an untrained and with a unigram model."""
    end = training.validation[-1][1]
    halfway = (math.log(50257) + unigram_loss) / 2
    if end < unigram_loss - 0.1:
        answer = "below the unigram loss"
    else:
        answer = "near the unigram loss" if end < halfway else "near that of an untrained model"
    return {"answer": answer, "end": end, "unigram": unigram_loss}


def shuffled_tokens(model, tokens, unigram_losses) -> dict:
    """Return whose loss rises if the tokens are in a random order."""
    shuffled = np.random.default_rng(123).permutation(tokens)
    before, after = loss_on_text(model, tokens), loss_on_text(model, shuffled)
    return {
        "answer": "only the model's" if after > before + 0.1 else "neither",
        "before": before,
        "after": after,
        "unigram": float(unigram_losses[tokens].mean()),
    }


def help_of_pretraining(from_pretrained: float, from_random: float, labels) -> dict:
    """Return by how many points pretrained weights give a higher accuracy, in percent."""
    gained, answer = from_pretrained - from_random, "3 to 25 points"
    if gained < 3:
        answer = "less than 3 points"
    elif gained > 25:
        answer = "more than 25 points"
    most = Counter(map(int, labels)).most_common(1)[0][1]
    return {
        "answer": answer,
        "pretrained": from_pretrained,
        "random": from_random,
        "majority": 100 * most / len(labels),
        "messages": len(labels),
    }


# --- 6.D ------------------------------------------------------------------------------------------


def compute_without_cache(cfg, num_tokens: int, epochs: int) -> dict:
    """Return how many times the compute a training needs that does not cache the frozen layers.

    The book's plan is trained. Multiply-adds are counted, for one message.
    """
    model = training_cost(cfg, FreezePlan.book(cfg["n_layers"]), 1, num_tokens)
    trained = training_cost(cfg | {"n_layers": 1}, FreezePlan.book(1), 1, num_tokens)
    step = trained.forward.amount + trained.backward.amount  # of what is trained
    frozen = model.forward.amount - trained.forward.amount
    return {
        "answer": epochs * (frozen + step) / (frozen + epochs * step),
        "epochs": epochs,
        "num_blocks": cfg["n_layers"],
        "frozen_blocks": cfg["n_layers"] - 1,
        "percent": 100 * frozen / (frozen + step),
    }


def compared_losses(book, cached) -> str:
    """Return how the losses of the steps with cached outputs differ from those without."""
    differences = [b - a for a, b in zip(book, cached, strict=True)]
    if max(map(abs, differences)) < 0.05:
        return "only by rounding"
    return "they are lower" if sum(differences) < 0 else "they are higher"


ANSWERS = {
    "6.1 what the pretrained model answers": beginning_of_answer,
    "6.2 always ham": always_ham,
    "6.3 the same words in a hurry": compared_number_of_tokens,
    "6.3 sorted by length": padding_sorted,
    "6.5 the share that learns": trainable_percent,
    "6.5 two blocks": two_blocks,
    "6.5 the first block in place of the last": first_for_last,
    "6.6 a sure wrong answer": loss_at,
    "6.6 the last position": what_is_last,
    "6.6 lower loss, lower accuracy": loss_against_accuracy,
    "6.7 gradient": which_have_gradients,
    "6.7 first step": change_of_loss,
    "6.7 best epoch": best_epoch,
    "6.7 sure mistakes": confident_mistakes,
    "6.7 dear mistakes": expensive_mistakes,
    "6.8 a stricter threshold": changed_labels,
    "6.C the loss of an untrained model": loss_on_text,
    "6.C where the loss ends": end_of_pretraining,
    "6.C shuffled tokens": shuffled_tokens,
    "6.C how much pretraining helps": help_of_pretraining,
    "6.D compute without a cache": compute_without_cache,
    "6.D losses": compared_losses,
}
