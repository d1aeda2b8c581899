"""What the bundled nano can do, and what pretraining buys: `python -m tests.benchmarks nano
nano_settings`.
"""

from collections.abc import Iterator
from statistics import mean

import numpy as np
import pandas as pd
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from helpers.classify import SpamClassifier
from helpers.config import gpt_config
from helpers.data import SpamDataset
from helpers.freezing import FreezePlan, replace_head
from helpers.loading import load_pretrained
from helpers.model import GPTModel
from helpers.tokenizer import get_tokenizer
from helpers.training import TrainingSettings
from tests.conftest import REAL_SMS, load_parts
from workshop.fast import fine_tune, forget
from workshop.pretraining import new_model

NANO, SEEDS = "gpt2-nano (12M)", (1, 2, 3, 4, 5)
SETTINGS = TrainingSettings.for_model(NANO)
BOOK, HEAD_ONLY, TWO_BLOCKS = (
    FreezePlan.book(6),
    FreezePlan.head_only(6),
    FreezePlan.last_blocks(6, 2),
)
LEARNING_RATES, MOST_EPOCHS = (2.5e-4, 5e-4, 1e-3), 10
DATA = ("sms-mini", "sms-spam-collection")


def classifier(seed: int, weights: str = "pretrained") -> GPTModel:
    """The nano with a new head, which depends on the seed; or its shape with random weights."""
    torch.manual_seed(seed)
    model = {
        "pretrained": lambda: load_pretrained(NANO),
        "torch's": lambda: GPTModel(gpt_config(NANO)),
        "GPT-2's": lambda: new_model(gpt_config(NANO), seed),
    }[weights]()
    torch.manual_seed(seed)
    return replace_head(model)


def datasets(name: str) -> tuple[SpamDataset, SpamDataset]:
    """The training and the validation part of a collection, both as long as the longest training
    message.
    """
    train, validation, _ = load_parts(name)
    train_set = SpamDataset(train, get_tokenizer())
    return train_set, SpamDataset(validation, get_tokenizer(), train_set.max_length)


def accuracy_on_test(
    name: str, seed: int, plan: FreezePlan, position: str, weights: str = "pretrained", **settings
) -> float:
    """Fine-tune on the training part and return the share of test messages that get the right
    label.
    """
    train, validation = datasets(name)
    model = classifier(seed, weights)
    settings = {"epochs": SETTINGS.epochs, "lr": SETTINGS.lr} | settings
    fine_tune(
        model, train, validation, plan, position=position, seed=seed, progress=False, **settings
    )
    test = load_parts(name)[2]
    probabilities = SpamClassifier(model, train.max_length, position=position).probabilities(
        list(test["Text"])
    )
    return float(
        (probabilities.argmax(dim=1) == torch.tensor(test["Label"].to_list())).float().mean()
    )


def in_words(accuracies: list[float]) -> str:
    return f"{mean(accuracies):.1%} ({min(accuracies):.1%} … {max(accuracies):.1%})"


def word_model(vectorizer: TfidfVectorizer | None = None, **settings) -> Pipeline:
    """Logistic regression on weighted counts (TF-IDF), of words unless `vectorizer` counts
    something else.
    """
    return make_pipeline(
        vectorizer or TfidfVectorizer(), LogisticRegression(max_iter=1000, **settings)
    )


def word_models() -> dict[str, Pipeline]:
    """The models that only count, by name."""
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    return {
        "logistic regression on words": word_model(),
        "logistic regression on runs of 2 to 5 letters": word_model(letters),
    }


def nano() -> Iterator[tuple[str, str, str]]:
    """Test accuracy of the fine-tuned nano, five seeds: the mean (the lowest … the highest)."""
    runs = {
        "the book's plan, last real token": {"plan": BOOK, "position": "last_token"},
        "the book's plan, padded last position": {"plan": BOOK, "position": "last"},
        "the last two blocks, last real token": {"plan": TWO_BLOCKS, "position": "last_token"},
        "head only, last real token": {"plan": HEAD_ONLY, "position": "last_token"},
        "head only, last real token, lr 3e-3, 20 epochs": {
            "plan": HEAD_ONLY, "position": "last_token", "lr": 3e-3, "epochs": 20
        },
        "the book's plan on random weights as torch draws them, last real token": {
            "plan": BOOK, "position": "last_token", "weights": "torch's"
        },
        "the book's plan on small random weights as GPT-2's were, last real token": {
            "plan": BOOK, "position": "last_token", "weights": "GPT-2's"
        },
        "everything trained from such small weights, last real token, lr 5e-4": {
            "plan": FreezePlan.everything(6), "position": "last_token", "weights": "GPT-2's",
            "lr": 5e-4,
        },
        "everything trained, last real token, lr 5e-4": {
            "plan": FreezePlan.everything(6), "position": "last_token", "lr": 5e-4,
        },
    }  # fmt: skip
    goals = {"sms-spam-collection: the book's plan, last real token": "≥ 97.5 %"}
    yield f"{SETTINGS}", "", ""
    for name in DATA if REAL_SMS.exists() else DATA[:1]:
        for what, run in runs.items():
            yield (
                f"{name}: {what}",
                in_words([accuracy_on_test(name, seed, **run) for seed in SEEDS]),
                goals.get(f"{name}: {what}", ""),
            )
        train, _, test = load_parts(name)
        for what, model in word_models().items():
            accuracy = model.fit(train["Text"], train["Label"]).score(test["Text"], test["Label"])
            yield f"{name}: {what}", f"{accuracy:.1%}", ""


def folds(name: str) -> Iterator[tuple[int, SpamDataset, SpamDataset]]:
    """Yield a seed, training and validation data ten times: twice the five folds of what is not
    test data.
    """
    train, validation, _ = load_parts(name)
    messages = pd.concat([train, validation], ignore_index=True)
    for repetition in range(2):
        parts = np.array_split(np.random.default_rng(repetition).permutation(len(messages)), 5)
        for number, part in enumerate(parts):
            train_set = SpamDataset(messages.drop(part), get_tokenizer())
            held_out = SpamDataset(messages.iloc[part], get_tokenizer(), train_set.max_length)
            yield 5 * repetition + number, train_set, held_out


def nano_settings() -> Iterator[tuple[str, str, str]]:
    """Loss and accuracy in cross-validation without the test part, by learning rate and epoch: the
    book's plan.
    """
    for name in DATA if REAL_SMS.exists() else DATA[:1]:
        histories = {lr: [] for lr in LEARNING_RATES}
        for seed, train, held_out in folds(name):
            for lr in LEARNING_RATES:
                history = fine_tune(
                    classifier(seed), train, held_out, BOOK,
                    epochs=MOST_EPOCHS, lr=lr, seed=seed, position="last_token", progress=False,
                )  # fmt: skip
                histories[lr].append(history)
            forget()
        for lr in LEARNING_RATES:
            for epoch in (3, 5, 8, MOST_EPOCHS):
                loss = mean(history.val_losses[epoch - 1] for history in histories[lr])
                accuracy = mean(history.val_accs[epoch - 1] for history in histories[lr])
                yield f"{name}: lr {lr}, {epoch} epochs", f"{loss:.3f}, {accuracy:.1%}", ""
