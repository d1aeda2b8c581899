"""A training of one's own texts: any classes, balanced as asked for, cut at the context."""

from dataclasses import replace

import pandas as pd
import pytest

from workshop.own import OwnSettings, OwnTraining
from workshop.texts import read_texts, split_stratified

WORDS = {"fruit": "apple pear plum", "tools": "hammer saw drill", "weather": "rain snow wind"}


def table(counts, extra=()):
    rows = [
        (f"{word} number {i}", label)
        for label, words in WORDS.items()
        for i in range(counts[label])
        for word in [words.split()[i % 3]]
    ]
    return read_texts(pd.DataFrame([*rows, *extra], columns=["text", "label"]))


def trained(split, **settings) -> OwnTraining:
    quick = {"plan": "head only", "epochs": 3, "lr": 3e-2} | settings
    training = OwnTraining(split, OwnSettings(**quick))
    for _ in training.steps():
        pass
    return training


EVEN = {"fruit": 30, "tools": 30, "weather": 30}
RARE = {"fruit": 90, "tools": 20, "weather": 10}


def test_three_classes_are_learnt_and_measured_beside_what_needs_no_model():
    training = trained(split_stratified(table(EVEN)))
    figures = training.figures()
    assert list(figures) == ["this classifier", "always fruit", "counting words"]
    assert figures["this classifier"].accuracy > 0.7 > figures["always fruit"].accuracy
    classifier = training.classifier({"note": "mine"})
    assert classifier.labels == ("fruit", "tools", "weather")
    assert classifier.classify("hammer number 7") == "tools"
    assert classifier.about["note"] == "mine" and classifier.about["model"] == "gpt2-nano (12M)"
    assert training.called() == [
        classifier.labels.index(label)
        for label in classifier.classify_many(training.split.test.Text.tolist())
    ]


def test_class_weights_find_more_of_a_rare_class():
    split = split_stratified(table(RARE))
    recall = {}
    for balance in ("as they are", "class weights"):
        figures = trained(split, balance=balance, lr=1e-2).figures()["this classifier"]
        recall[balance] = figures.recall("tools")
    assert recall["class weights"] > recall["as they are"]


def test_undersampling_takes_as_many_training_texts_of_each_class():
    split = split_stratified(table(RARE))
    training = OwnTraining(split, OwnSettings(balance="undersampling"))
    counts = pd.Series(training.train.labels).value_counts()
    assert set(counts) == {min(split.train.Label.value_counts())}
    assert len(training.validation) == len(split.validation)  # only what is trained with


def test_a_text_longer_than_all_training_texts_is_cut_counted_and_no_warning(recwarn):
    split = split_stratified(table(EVEN))
    longest = max(len(text) for text in split.train.Text)
    split.test.loc[0, "Text"] = "hammer " * 10 * longest
    training = trained(split, epochs=1)
    assert len(training.called()) == len(split.test)
    assert training.num_cut == 1 and not recwarn.list


def test_a_training_text_beyond_the_context_is_cut_to_it():
    long = ("word " * 1500, "fruit")
    read = table(EVEN, extra=[long])
    split = split_stratified(read, fractions=(1.0, 0.0, 0.0))
    split = replace(split, validation=split.train[:3])
    assert OwnTraining(split, OwnSettings()).train.max_length == 1024


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "gpt3"}, "unknown model 'gpt3'"),
        ({"plan": "nothing"}, "plan must be"),
        ({"position": "middle"}, "position must be"),
        ({"balance": "oversampling"}, "balance must be"),
        ({"precision": "int8"}, "precision must be"),
        ({"epochs": 0}, "epochs must be"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"seed": -1}, "seed must be"),
        ({"lr": 0.0}, "lr must be"),
    ],
)
def test_settings_that_can_not_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        OwnSettings(**settings)
