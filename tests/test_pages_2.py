"""What sections 6.6 and 6.7 and appendix 6.E say of the bundled pair, where no cell proves it: the
reasons and the solutions.

After training only ranges are asserted, as rounding differs between processors.
"""

import copy
from collections.abc import Callable
from functools import cache
from statistics import mean

import pytest
import torch

from helpers.classify import SpamClassifier
from helpers.config import END_OF_TEXT
from helpers.data import SpamDataset, create_dataloaders
from helpers.freezing import FreezePlan, replace_head
from helpers.loading import load_pretrained
from helpers.model import GPTModel
from helpers.tokenizer import get_tokenizer
from helpers.training import (
    TrainingSettings,
    calc_accuracy_loader,
    calc_loss_batch,
    up_to_classifying_token,
)
from workshop.fast import History, fine_tune
from workshop.inside import attention_weights, influence_on_spam, read_message
from workshop.pictures.message import mark

NANO, TOKENIZER = "gpt2-nano (12M)", get_tokenizer()
DEFAULTS = TrainingSettings.for_model(NANO)
BOOK, HEAD_ONLY, TWO_BLOCKS = (
    FreezePlan.book(6),
    FreezePlan.head_only(6),
    FreezePlan.last_blocks(6, 2),
)
SEEDS = (1, 2, 3)


@pytest.fixture(scope="module")
def loaders():
    return create_dataloaders("sms-mini")


def classifier(seed: int) -> GPTModel:
    model = load_pretrained(NANO)
    torch.manual_seed(seed)
    return replace_head(model)


def fine_tuned(
    loaders, plan: FreezePlan, seed: int, model: GPTModel | None = None, **changes
) -> tuple[GPTModel, History]:
    train, validation = (loader.dataset for loader in loaders[:2])
    model = model or classifier(seed)
    settings = {"epochs": DEFAULTS.epochs, "lr": DEFAULTS.lr, "progress": False} | changes
    return model, fine_tune(model, train, validation, plan, seed=seed, **settings)


@pytest.fixture(scope="module")
def book(loaders) -> Callable[[int], tuple[dict[str, GPTModel], History]]:
    """By seed, one training with the book's plan: the models of the last and of the best epoch."""

    @cache
    def trained(seed: int) -> tuple[dict[str, GPTModel], History]:
        model, models = classifier(seed), {}

        def keep_last(_) -> None:
            models["last"] = copy.deepcopy(model)

        changes = {"keep": "best", "on_epoch": keep_last}
        models["best"], history = fine_tuned(loaders, BOOK, seed, model, **changes)
        return models, history

    return trained


def mean_accuracy(loaders, plan: FreezePlan, **changes) -> float:
    """The mean of the three seeds' validation accuracies after the last epoch."""
    return mean(fine_tuned(loaders, plan, seed, **changes)[1].val_accs[-1] for seed in SEEDS)


def attention_in_the_last_block(model: GPTModel, data: SpamDataset) -> float:
    """The share of the padded end's attention that the message gets: mean of heads and messages."""
    texts = data.encoded_texts[:50]
    weights = attention_weights(model, torch.tensor(texts))[-1, :, :, -1].mean(dim=1)  # (b, n)
    ends = [len(up_to_classifying_token(ids, "last_token")) for ids in texts]
    padded = [w[:end].sum().item() for w, end in zip(weights, ends, strict=True) if end < 75]
    return mean(padded)


def test_behind_one_endoftext_the_nano_hardly_looks_back_and_behind_one_full_stop_it_does(loaders):
    model, rows = load_pretrained(NANO), loaders[2].dataset.encoded_texts[:8]
    shares = {}
    for tail in (TOKENIZER.encode("."), [END_OF_TEXT]):
        for count in (1, 50):
            found = []
            for row in rows:
                message = up_to_classifying_token(row, "last_token")
                weights = attention_weights(model, torch.tensor([message + count * tail]))
                found.append(weights[:, 0, :, -1, : len(message)].sum(dim=-1).mean(dim=-1))
            shares[tail[0], count] = torch.stack(found).mean(dim=0)
    full_stop, fifty_stops, end, fifty_ends = shares.values()
    assert full_stop.min() > 0.65  # .91 .70 .81 .86 .88 .86
    assert end[0] > 0.65 and end[1:].max() < 0.45 and end[4] < 0.05  # .73 .30 .17 .10 .03 .40
    assert fifty_stops.max() < 0.35 and fifty_stops.min() > 0.02  # .28 .04 .06 .11 .07 .21
    assert fifty_ends[1:5].max() < 0.005  # .07 .00 .00 .00 .00 .06


def test_of_the_microscopes_message_hardly_anything_arrives_at_the_untrained_padded_end():
    text, marks = "Win a free phone! Text YES to 80086 now", {}
    whole = SpamClassifier(classifier(123), 82)
    for position in ("last", "last_token"):
        influence = influence_on_spam(whole, read_message(whole, text, position=position))
        marks[position] = [mark(value) for value in influence.tolist()]
    assert set(marks["last"]) == {"·"}
    assert marks["last_token"].count("·") == 1 and len(marks["last_token"]) == 11


def test_the_head_alone_needs_the_last_real_token_and_no_other_rate(loaders):
    padded_end = mean_accuracy(loaders, HEAD_ONLY)
    faster_and_longer = mean_accuracy(loaders, HEAD_ONLY, lr=3e-3, epochs=10)
    last_real_token = mean_accuracy(loaders, HEAD_ONLY, position="last_token")
    assert 0.53 < padded_end < 0.67  # measured: .60
    assert faster_and_longer < padded_end + 0.02  # .55
    assert 0.78 < last_real_token < 0.88  # .83


def test_the_plan_matters_at_the_padded_end_and_hardly_at_the_last_real_token(loaders, book):
    assert 0.74 < mean(book(seed)[1].val_accs[-1] for seed in SEEDS) < 0.85  # .79
    assert 0.82 < mean_accuracy(loaders, BOOK, position="last_token") < 0.92  # .87
    for position in ("last", "last_token"):  # .88, .87 with this seed; twenty seconds each
        _, history = fine_tuned(loaders, TWO_BLOCKS, 1, position=position)
        assert 0.8 < history.val_accs[-1] < 0.94


def test_a_trained_block_learns_to_look_back_across_the_padding(loaders, book):
    test = loaders[2].dataset
    assert attention_in_the_last_block(load_pretrained(NANO), test) < 0.15  # .08
    assert attention_in_the_last_block(book(123)[0]["last"], test) > 0.8  # .98


def test_the_epoch_chosen_by_validation_loss_does_better_on_the_test_messages(loaders, book):
    accuracies = {"last": [], "best": []}
    for seed in (123, *SEEDS):
        models, history = book(seed)
        for keep, each in accuracies.items():
            each.append(calc_accuracy_loader(loaders[2], models[keep], "cpu"))
        assert history.best_epoch <= 3
    assert 0.80 < mean(accuracies["last"]) < 0.87  # .836
    assert 0.85 < mean(accuracies["best"]) < 0.91  # .87
    assert mean(accuracies["best"]) > mean(accuracies["last"]) + 0.01


def test_at_the_end_a_few_mistakes_that_are_sure_make_the_validation_loss(loaders, book):
    mistakes, every = {}, {}
    for keep, model in book(123)[0].items():
        with torch.no_grad():
            batches = [(model(ids)[:, -1], labels) for ids, labels in loaders[1]]
        logits, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
        losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
        every[keep] = losses
        mistakes[keep] = losses[logits.argmax(dim=-1) != labels]
    assert 12 <= len(mistakes["best"]) <= 19 and 13 <= len(mistakes["last"]) <= 24  # 15, 18
    assert mistakes["last"].mean() > 1.8 * mistakes["best"].mean()  # 3.5 and 1.4 nats
    assert mistakes["last"].max() > 6  # ten
    assert 70 <= (every["last"] < every["best"]).sum() <= 92  # 81


def test_the_first_step_moves_weights_by_the_learning_rate_and_overshoots(loaders):
    after = {}
    for lr in (1e-3, 1e-4):
        model = BOOK.apply(classifier(123))
        optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.1)
        torch.manual_seed(123)
        batch = next(iter(loaders[0]))
        before = calc_loss_batch(*batch, model, "cpu")
        before.backward()
        weight = model.trf_blocks[-1].ff.layers[0].weight
        old = weight.detach().clone()
        optimizer.step()
        assert (weight - old).abs().median().item() == pytest.approx(lr, rel=0.01)
        after[lr] = calc_loss_batch(*batch, model, "cpu").item()
    assert after[1e-3] > before.item() + 0.2 and after[1e-4] < before.item()  # 1.37, .70; .72
