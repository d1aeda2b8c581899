"""What the bundled nano can do, and what pretraining buys: two benchmarks, `nano` and `nano_settings`."""

from collections.abc import Iterator
from statistics import mean

import numpy as np
import pandas as pd
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

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
BOOK, HEAD, EVERYTHING = FreezePlan.book(6), FreezePlan.head_only(6), FreezePlan.everything(6)
RANDOM, SMALL = "the book's plan on random", "the book's plan on small random"
FROM_NOTHING = {"plan": EVERYTHING, "weights": "GPT-2's", "lr": 5e-4}
LEARNING_RATES, MOST_EPOCHS = (2.5e-4, 5e-4, 1e-3), 10
DATA = ("sms-mini", "sms-spam-collection") if REAL_SMS.exists() else ("sms-mini",)
Row = tuple[str, str, str]


def classifier(seed: int, weights: str = "pretrained") -> GPTModel:
    """The nano with a new head, which depends on the seed; or its shape with random weights."""
    torch.manual_seed(seed)
    if weights == "torch's":
        model = GPTModel(gpt_config(NANO))
    elif weights == "GPT-2's":
        model = new_model(gpt_config(NANO), seed)
    else:
        model = load_pretrained(NANO)
    torch.manual_seed(seed)
    return replace_head(model)


def accuracy_on_test(
    name: str, seed: int, plan=BOOK, position="last_token", weights="pretrained", **changes
) -> float:
    """Fine-tune on the training part; return the fraction of test messages with the right label."""
    train, validation, test = load_parts(name)
    train_set = SpamDataset(train, get_tokenizer())
    validation_set = SpamDataset(validation, get_tokenizer(), train_set.max_length)
    model = classifier(seed, weights)
    settings = {"epochs": SETTINGS.epochs, "lr": SETTINGS.lr, "progress": False} | changes
    fine_tune(model, train_set, validation_set, plan, position=position, seed=seed, **settings)
    tuned = SpamClassifier(model, train_set.max_length, position=position)
    answers = tuned.probabilities(list(test["Text"])).argmax(dim=1)
    return (answers == torch.tensor(test["Label"].to_list())).float().mean().item()


RUNS = {
    "the book's plan, last real token": {},
    "the book's plan, padded last position": {"position": "last"},
    "the last two blocks, last real token": {"plan": FreezePlan.last_blocks(6, 2)},
    "head only, last real token": {"plan": HEAD},
    "head only, last real token, lr 3e-3, 20 epochs": {"plan": HEAD, "lr": 3e-3, "epochs": 20},
    f"{RANDOM} weights as torch draws them, last real token": {"weights": "torch's"},
    f"{SMALL} weights as GPT-2's were, last real token": {"weights": "GPT-2's"},
    "everything trained from such small weights, last real token, lr 5e-4": FROM_NOTHING,
    "everything trained, last real token, lr 5e-4": {"plan": EVERYTHING, "lr": 5e-4},
    "everything trained, last real token, lr 1e-3": {"plan": EVERYTHING},
}


def nano() -> Iterator[Row]:
    """Test accuracy of the fine-tuned nano, five seeds: the mean (the lowest … the highest)."""
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    vectorizers = {"words": TfidfVectorizer(), "runs of 2 to 5 letters": letters}
    goals = {"sms-spam-collection: the book's plan, last real token": "≥ 97.5 %"}
    yield f"{SETTINGS}", "", ""
    for name in DATA:
        for run, settings in RUNS.items():
            found = [accuracy_on_test(name, seed, **settings) for seed in SEEDS]
            value = f"{mean(found):.1%} ({min(found):.1%} … {max(found):.1%})"
            yield f"{name}: {run}", value, goals.get(f"{name}: {run}", "")
        train, _, test = load_parts(name)
        for counted, vectorizer in vectorizers.items():
            model = make_pipeline(vectorizer, LogisticRegression(max_iter=1000))
            accuracy = model.fit(train["Text"], train["Label"]).score(test["Text"], test["Label"])
            yield f"{name}: logistic regression on {counted}", f"{accuracy:.1%}", ""


def folds(name: str) -> Iterator[tuple[int, SpamDataset, SpamDataset]]:
    """Yield a seed, training and validation data: twice the five folds of what is no test data."""
    train, validation, _ = load_parts(name)
    messages = pd.concat([train, validation], ignore_index=True)
    for repetition in range(2):
        parts = np.array_split(np.random.default_rng(repetition).permutation(len(messages)), 5)
        for number, part in enumerate(parts):
            train_set = SpamDataset(messages.drop(part), get_tokenizer())
            held_out = SpamDataset(messages.iloc[part], get_tokenizer(), train_set.max_length)
            yield 5 * repetition + number, train_set, held_out


def nano_settings() -> Iterator[Row]:
    """Loss and accuracy in cross-validation, by learning rate and epoch: the book's plan."""
    for name in DATA:
        histories = {lr: [] for lr in LEARNING_RATES}
        for seed, train, held_out in folds(name):
            for lr in LEARNING_RATES:
                settings = {"epochs": MOST_EPOCHS, "lr": lr, "seed": seed, "progress": False}
                model = classifier(seed)
                history = fine_tune(model, train, held_out, BOOK, position="last_token", **settings)
                histories[lr].append(history)
            forget()
        for lr in LEARNING_RATES:
            for epoch in (3, 5, 8, MOST_EPOCHS):
                loss = mean(history.val_losses[epoch - 1] for history in histories[lr])
                accuracy = mean(history.val_accs[epoch - 1] for history in histories[lr])
                yield f"{name}: lr {lr}, {epoch} epochs", f"{loss:.3f}, {accuracy:.1%}", ""
