"""Answers to predictions whose computation would give them away on the page.

A function takes what the cell gives to `predict`, and returns the answer, or a dictionary with the
answer and further values for the texts of the question.
"""

import math
import re

import numpy as np
import torch
from torch.nn import functional as F

from helpers.freezing import FreezePlan, record
from helpers.measures import Slice, counts_at, mean_confidence, paired_interval
from helpers.training import own_random_numbers
from workshop.compare import compare, majority_accuracy
from workshop.costs import training_cost
from workshop.inside import influence_on_spam, read_message
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


def losses_of_random_heads(model, data_loader) -> dict:
    """Return whether the losses of five untrained heads at the last position are near ln 2.

    Also returned are the `losses`, the percentage of `spam`, and the loss `constant` of predicting
    this percentage for every message. The model stays as it is.
    """
    vectors, labels = [], []
    with torch.no_grad(), record(model, "final_norm") as recorded:
        for token_ids, batch_labels in data_loader:
            model(token_ids.to(model.tok_emb.weight.device))
            vectors.append(recorded["final_norm"].output[:, -1].cpu())
            labels.append(batch_labels)
    vectors, labels = torch.cat(vectors), torch.cat(labels)
    losses = []
    for seed in range(1, 6):
        with own_random_numbers(vectors.device, seed):
            head = torch.nn.Linear(vectors.shape[1], 2)
        losses.append(F.cross_entropy(head(vectors), labels).item())
    answer = "all are close to 0.69"
    if max(losses) > 0.8:
        answer = "some are above 0.8"
    elif min(losses) < 0.6:
        answer = "some are below 0.6"
    spam = labels.float().mean()
    return {
        "answer": answer,
        "losses": ", ".join(f"{loss:.2f}" for loss in losses),
        "spam": 100 * spam.item(),
        "constant": F.binary_cross_entropy(spam.expand(len(labels)), labels.float()).item(),
    }


def loss_against_accuracy(a, b) -> dict:
    """Return whether model b has the lower loss and the lower accuracy, and both of each model.

    Given are the probabilities of the correct classes.
    """
    loss_a, loss_b = (-torch.tensor(model).log().mean().item() for model in (a, b))
    right_a, right_b = (sum(p > 0.5 for p in model) for model in (a, b))
    return {
        "answer": "yes" if loss_b < loss_a and right_b < right_a else "no",
        "a": str(a)[1:-1],
        "b": str(b)[1:-1],
        "loss_a": loss_a,
        "loss_b": loss_b,
        "right_a": right_a,
        "right_b": right_b,
    }


def effect_of_padding(model, token_ids, positions) -> str:
    """Return whether the padding after the shortest message's last token changes its logits."""
    shortest, last = positions.index(min(positions)), min(positions)
    sequence = token_ids[shortest : shortest + 1].to(model.tok_emb.weight.device)
    with torch.no_grad():
        with_padding, alone = model(sequence)[0, last], model(sequence[:, : last + 1])[0, last]
    return "no" if torch.allclose(with_padding, alone, atol=1e-3) else "yes"


# --- 6.7 ------------------------------------------------------------------------------------------


def which_have_gradients(parts) -> str:
    """Return which of three parts have a gradient: token embedding, first block, last block."""
    have = tuple(weight.grad is not None for weight in parts)
    in_words = {
        (False, False, False): "none of them",
        (False, False, True): "only the last block",
        (False, True, True): "both blocks",
    }
    return in_words.get(have, "all three")


def lowest_validation_loss(film) -> str:
    """Return whether the validation loss is lowest after the last epoch."""
    best, last = film.history.best_epoch, len(film.frames) - 1
    return "the last epoch" if best == last else "an earlier epoch"


# --- 6.8 ------------------------------------------------------------------------------------------


def leaving_out_a_token(classifier, text: str) -> dict:
    """Return how often the probability of spam increases when a text loses one of its tokens.

    Also returned are the number of these tokens and of all tokens, and the tokens with the largest
    influence on spam, `first`, and with the smallest, `last`.
    """
    message = read_message(classifier, text)
    influence = influence_on_spam(classifier, message)
    tokens = [token.strip("␣") for token in message.tokens]
    num_ham, total = int((influence < 0).sum()), len(tokens)
    return {
        "answer": {0: "never", total: "always"}.get(num_ham, "sometimes"),
        "num_ham": num_ham,
        "total": total,
        "first": tokens[influence.argmax()],
        "last": tokens[influence.argmin()],
    }


# --- 6.A ------------------------------------------------------------------------------------------


def largest_class(table) -> dict:
    """Return the accuracy, in percent, of always predicting the largest class of a TextTable."""
    sizes = table.frame["Label"].value_counts()
    return {
        "answer": 100 * sizes.max() / sizes.sum(),
        "largest": table.labels[sizes.idxmax()],
        "num_largest": sizes.max(),
        "num_texts": sizes.sum(),
        "num_classes": len(sizes),
        "one_of_classes": 100 / len(sizes),
    }


def rows_set_aside(frame, table) -> int:
    """Return how many rows of a frame are not in the TextTable that was read from it."""
    return len(frame) - len(table.frame)


def accuracy_at_random(in_one_part: float, at_random: float, shared, test) -> dict:
    """Return the accuracy of a random split, in percent, and what it can be computed from."""
    return {
        "answer": 100 * at_random,
        "in_one_part": 100 * in_one_part,
        "num_shared": len(shared),
        "num_test": len(test),
        "shared": 100 * len(shared) / len(test),
        "new": 100 - 100 * len(shared) / len(test),
    }


def bag_against_gpt2(bag_of_words, gpt2, train_texts) -> dict:
    """Return which of two `Candidate`s of `workshop.own` has the higher accuracy, by five points."""
    bag, transformer = 100 * bag_of_words.accuracy, 100 * gpt2.accuracy
    answer = "the bag of words" if bag > transformer else "GPT-2"
    if abs(bag - transformer) <= 5:
        answer = "about the same"
    return {"answer": answer, "bag": bag, "gpt2": transformer, "num_texts": len(train_texts)}


def end_of_learning_curve(accuracies) -> dict:
    """Return the last accuracy of a learning curve, in percent, the one before, and both numbers."""
    (half, before), (whole, last) = list(accuracies.items())[-2:]
    return {"answer": 100 * last, "before": 100 * before, "half": half, "num_texts": whole}


# --- 6.B ------------------------------------------------------------------------------------------


def verdict_on_experiment(results, number: int) -> dict:
    """Return how an experiment compares with its reference, and what was measured, in words."""
    comparison = compare(results, number)
    return {"answer": comparison.difference.verdict, "measured": str(comparison)}


def seeds_of_experiment(results, number: int) -> dict:
    """Return how many seeds of an experiment have an accuracy near that of its reference.

    The others are at least ten points below the mean of the reference.
    """
    comparison = compare(results, number)
    reference = comparison.reference
    near = [accuracy > sum(reference) / len(reference) - 0.1 for accuracy in comparison.accuracies]
    answer = "all of them" if all(near) else "some of them" if any(near) else "none of them"
    majority = 100 * majority_accuracy(results)
    return {"answer": answer, "measured": str(comparison), "majority": majority}


def same_or_different(results, number: int) -> dict:
    """Return whether an experiment has the predictions of its reference, or else a better accuracy."""
    comparison = compare(results, number)
    right = [
        [result["right"] for result in results if result["row"] == row]
        for row in (number, comparison.against)
    ]
    answer = "better" if comparison.difference.mean > 0 else "worse"
    if right[0] == right[1]:
        answer = "exactly the same"
    return {"answer": answer, "measured": str(comparison)}


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
    return {
        "answer": answer,
        "pretrained": from_pretrained,
        "random": from_random,
        "majority": 100 * np.bincount(labels).max() / len(labels),
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


# --- 6.E ------------------------------------------------------------------------------------------


def accuracy_on_hard(hard: Slice, others: Slice) -> dict:
    """Return whether the accuracy on hard messages is another one, and both as percentages."""
    difference = hard.share - others.share
    answer = "lower" if difference < -0.1 else "higher" if difference > 0.1 else "about the same"
    return {
        "answer": answer,
        "right": hard.right,
        "count": hard.count,
        "others": 100 * others.share,
    }


def lost_without_order(is_right, is_right_shuffled) -> dict:
    """Return how many percentage points of accuracy are lost when the words are shuffled.

    Given is whether each label is right: (num_messages,), and (num_orders, num_messages). Also
    returned are the change of the accuracy, below 0 if it is lost, and its 95 % interval.
    """
    change, low, high = (100 * v for v in paired_interval(is_right_shuffled, [is_right]))
    answer = "less than 5" if change > -5 else "5 to 15" if change >= -15 else "more than 15"
    return {"answer": answer, "change": change, "low": low, "high": high}


def more_confident(labels, p_best, p_last) -> dict:
    """Return which epoch's model is more confident, and both models' confidence and accuracy.

    Given are the probabilities of spam by the best and the last epoch's model, (num_messages,).
    """
    best, last = (100 * mean_confidence(p) for p in (p_best, p_last))
    answer = "the best epoch" if best > last else "the last epoch"
    return {
        "answer": "about the same" if abs(best - last) < 1 else answer,
        "best": best,
        "last": last,
        "best_right": 100 * counts_at(labels, p_best).accuracy,
        "last_right": 100 * counts_at(labels, p_last).accuracy,
    }


ANSWERS = {
    "6.1 what the pretrained model answers": beginning_of_answer,
    "6.2 always ham": always_ham,
    "6.3 the same words in a hurry": compared_number_of_tokens,
    "6.3 sorted by length": padding_sorted,
    "6.5 the shape with the old head": shape_with_old_head,
    "6.5 rows that stay": rows_that_stay,
    "6.6 loss before training": losses_of_random_heads,
    "6.6 lower loss, lower accuracy": loss_against_accuracy,
    "6.6 padding after a token": effect_of_padding,
    "6.7 gradient": which_have_gradients,
    "6.7 lowest validation loss": lowest_validation_loss,
    "6.8 leaving out a token": leaving_out_a_token,
    "6.A majority class": largest_class,
    "6.A set aside": rows_set_aside,
    "6.A leakage": accuracy_at_random,
    "6.A bag of words or GPT-2": bag_against_gpt2,
    "6.A more labels": end_of_learning_curve,
    "6.B the last real token": verdict_on_experiment,
    "6.B the head only": verdict_on_experiment,
    "6.B everything": verdict_on_experiment,
    "6.B random weights": verdict_on_experiment,
    "6.B padding to 1,024 tokens": seeds_of_experiment,
    "6.B ignore_index": same_or_different,
    "6.C the loss of an untrained model": loss_on_text,
    "6.C where the loss ends": end_of_pretraining,
    "6.C shuffled tokens": shuffled_tokens,
    "6.C how much pretraining helps": help_of_pretraining,
    "6.D compute without a cache": compute_without_cache,
    "6.D losses": compared_losses,
    "6.E hard on purpose": accuracy_on_hard,
    "6.E words in another order": lost_without_order,
    "6.E best or last epoch": more_confident,
}
