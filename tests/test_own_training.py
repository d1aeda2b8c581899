"""A training of one's own texts: any classes, balanced as asked for, truncated at the context."""

import numpy as np
import pandas as pd
import pytest

from workshop.own import PLANS, OwnSettings, OwnTraining
from workshop.texts import read_texts, split_stratified

WORDS = {"fruit": "apple pear plum", "tools": "hammer saw drill", "weather": "rain snow wind"}


def split_of(fruit: int, tools: int, weather: int):
    rows = []
    for (label, words), count in zip(WORDS.items(), (fruit, tools, weather), strict=True):
        rows += [(f"{words.split()[i % 3]} number {i}", label) for i in range(count)]
    return split_stratified(read_texts(pd.DataFrame(rows, columns=["text", "label"])))


def trained(split, **settings) -> OwnTraining:
    quick = {"plan": "head only", "position": "mean", "epochs": 3, "lr": 3e-2} | settings
    training = OwnTraining(split, OwnSettings(**quick))
    for _ in training.steps():
        pass
    return training


def test_three_classes_are_learnt_and_compared_with_baselines(recwarn):
    split = split_of(30, 30, 30)
    long = "hammer " * 10 * max(len(text) for text in split.train.Text)
    split.test.loc[split.test.Label == 1, "Text"] = [f"{long}{i}" for i in range(6)]
    training = trained(split)
    figures = training.figures()
    assert list(figures) == ["this classifier", "always fruit", "counting words"]
    assert figures["this classifier"].accuracy > 0.8 > figures["always fruit"].accuracy
    assert training.num_cut == 6 and not recwarn.list
    classifier = training.classifier({"note": "mine"})
    assert classifier.labels == ("fruit", "tools", "weather") and classifier.position == "mean"
    assert classifier.max_length == training.train.max_length == training.validation.max_length
    assert classifier.classify("hammer number 7") == "tools"
    assert classifier.about["note"] == "mine" and classifier.about["model"] == "gpt2-nano (12M)"
    with pytest.warns(UserWarning, match="only its first"):
        labels = classifier.classify_many(split.test.Text.tolist())
    assert training.called() == [classifier.labels.index(label) for label in labels]


def test_class_weights_find_more_of_a_rare_class():
    split, recall = split_of(90, 20, 10), {}
    for balance in ("as they are", "class weights"):
        training = trained(split, balance=balance, lr=1e-3, epochs=2)
        recall[balance] = training.figures()["this classifier"].recall("tools")
    assert recall["class weights"] > recall["as they are"]


def test_undersampling_takes_as_many_training_texts_of_each_class_and_long_ones_are_truncated():
    split = split_of(90, 20, 10)
    split.train["Text"] += " word" * 1500
    training = OwnTraining(split, OwnSettings(balance="undersampling"))
    assert np.bincount(training.train.labels).tolist() == [7, 7, 7]
    assert training.train.max_length == 1024
    assert len(training.validation) == len(split.validation)  # only what is trained with
    assert training.origin["messages"] != OwnTraining(split, OwnSettings()).origin["messages"]


def test_the_settings_are_the_models_own_where_nothing_is_chosen():
    assert OwnSettings().lr == 1e-3 and OwnSettings("gpt2-small (124M)").lr == 5e-5
    settings = OwnSettings(plan="head only", epochs=3, lr=0.01, seed=7)
    of_training = settings.for_training(class_weights=(1.0, 2.0))
    assert (of_training.epochs, of_training.lr, of_training.seed) == (3, 0.01, 7)
    assert of_training.position == "last_token" and of_training.class_weights == (1.0, 2.0)
    assert str(settings) == (
        "gpt2-nano (12M) · head only · position last_token · classes as they are · 3 epochs · "
        "batches of 8 · lr 0.01 · seed 7"
    )
    assert "nothing" not in PLANS and "the book's choice" in PLANS
