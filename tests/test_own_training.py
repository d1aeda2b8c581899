"""A training of one's own texts: three classifiers, of which the validation texts choose one."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from helpers.classify import TextClassifier, write_classifier
from tests.own_texts import own_table
from workshop.own import (
    BAG,
    GPT2,
    PLANS,
    SEEN,
    SUM,
    Candidate,
    OwnClassifier,
    OwnSettings,
    OwnTraining,
    describe_choice,
    describe_learning_curve,
    describe_test,
    was_seen,
)
from workshop.texts import read_texts, split_stratified

QUICK = {"plan": "head only", "position": "last_token", "epochs": 3, "lr": 3e-2}


def split_of(**sizes: int):
    table = own_table(max(sizes.values()))
    parts = [table[table["topic"] == topic][:size] for topic, size in sizes.items()]
    return split_stratified(read_texts(pd.concat(parts)))


def trained(split, **settings) -> OwnTraining:
    training = OwnTraining(split, OwnSettings(**QUICK | settings))
    for _ in training.steps():
        pass
    return training


@pytest.fixture(scope="module")
def training() -> OwnTraining:
    return trained(split_of(fruit=30, sport=30, weather=30))


@pytest.fixture(scope="module")
def candidates(training) -> dict[str, Candidate]:
    return training.candidates()


def test_the_three_candidates_are_measured_on_the_validation_texts(training, candidates):
    texts, labels = training.split.validation["Text"], training.split.validation["Label"]
    assert [*candidates] == [BAG, GPT2, SUM]
    for name, candidate in candidates.items():
        classifier = training.classifier(name, candidate)
        assert classifier.kind == name
        torch.testing.assert_close(classifier.logits(texts), candidate.logits, atol=1e-4, rtol=1e-4)
        predicted = classifier.classify_many(texts)
        right = np.array(predicted) == np.array(training.split.labels)[labels]
        assert candidate.is_right.tolist() == right.tolist()
        assert candidate.accuracy == pytest.approx(right.mean())
        probabilities = classifier.probabilities(texts)[range(len(texts)), labels.tolist()]
        assert candidate.loss == pytest.approx(-probabilities.log().mean().item(), abs=1e-4)
    alone = TextClassifier(
        training.model, training.split.labels, training.train.max_length, "last_token"
    )
    expected = candidates[GPT2].scales[1] * alone.logits(texts)
    torch.testing.assert_close(candidates[GPT2].logits, expected, atol=1e-4, rtol=1e-4)


def candidate(loss: float, right: int) -> Candidate:
    is_right = np.arange(100) < right
    return Candidate((1.0, 1.0), torch.zeros(100, 2), loss, right / 100, is_right)


@pytest.mark.parametrize(
    ("losses", "keep", "chosen"),
    [
        ((0.5, 0.45, 0.445), "best", GPT2),  # the second scale of the sum must earn 1 / n
        ((0.5, 0.45, 0.4), "best", SUM),
        ((0.5, 0.495, 0.49), "best", BAG),
        ((0.5, 0.4, 0.3), BAG, BAG),
    ],
)
def test_the_lowest_loss_on_validation_texts_decides_unless_the_settings_do(
    losses, keep, chosen, training
):
    training = OwnTraining(training.split, OwnSettings(keep=keep))
    names = zip((BAG, GPT2, SUM), losses, strict=True)
    found = {name: candidate(loss, 50) for name, loss in names}
    assert training.choose(found) == chosen


def test_the_sentence_says_what_is_kept_and_by_how_much():
    found = {BAG: candidate(0.5, 60), GPT2: candidate(0.6, 50), SUM: candidate(0.4, 70)}
    assert describe_choice(SUM, found) == (
        "Kept: the sum of both. It predicts 70.0 % of the 100 validation texts correctly. The bag of "
        "words predicts 60.0 % correctly: a difference of +10.0 points (95 % interval +3.8 to +16.0). "
        "The transformer predicts 50.0 % correctly: a difference of +20.0 points (95 % interval +13.0 "
        "to +28.0)."
    )


@pytest.mark.parametrize(
    ("curve", "advice"),
    [
        ({50: 0.4, 100: 0.5, 200: 0.6}, "would probably help"),
        ({50: 0.4, 100: 0.59, 200: 0.6}, "hardly"),
    ],
)
def test_the_learning_curve_says_whether_more_labels_would_help(curve, advice):
    sentence = describe_learning_curve(curve)
    assert (
        advice in sentence and "50 / 100 / 200 training texts" in sentence and "60.0 %" in sentence
    )


def test_a_thorough_training_decides_by_texts_of_other_folds():
    split = split_of(fruit=30, sport=30)
    training = trained(split, thorough=True)
    candidates = training.candidates()
    num_texts = len(split.train) + len(split.validation)
    assert {len(candidate.logits) for candidate in candidates.values()} == {num_texts}
    by_heart = training.words.classifier.logits(split.train["Text"])
    assert not torch.equal(candidates[BAG].logits[: len(split.train)], by_heart)
    assert candidates[GPT2].accuracy > 0.6
    table = read_texts(own_table(30))
    _, _, sentences = training.finish(table, Path("nowhere"))
    assert f"of the {num_texts} training and validation texts correctly" in sentences


def test_only_the_bag_of_words_is_trained_where_nothing_else_is_to_be_kept():
    training = trained(split_of(fruit=30, sport=30), keep=BAG)
    assert training.model is None and training.history is None
    assert [*training.candidates()] == [BAG]


@pytest.mark.parametrize("name", [BAG, GPT2, SUM])
def test_a_saved_classifier_answers_as_before_and_says_what_it_is(
    name, training, candidates, tmp_path
):
    classifier = training.classifier(name, candidates[name], {"note": "mine"})
    loaded = OwnClassifier.load(classifier.save(tmp_path / "my.safetensors"))
    texts = ["ripe plums", "a goal " * 200, "?"]
    assert torch.equal(loaded.logits(texts), classifier.logits(texts))
    assert (loaded.kind, loaded.labels, loaded.about["note"]) == (
        name,
        training.split.labels,
        "mine",
    )
    assert loaded.is_truncated(texts) == [False, name != BAG, False]
    description = "\n".join(loaded.description())
    assert ("6 blocks" in description, "features" in description) == (name != BAG, name != GPT2)
    with pytest.raises(ValueError, match="empty"):
        loaded.classify(" ")
    if name != GPT2:
        with pytest.raises(ValueError, match="OwnClassifier.load"):
            TextClassifier.load(tmp_path / "my.safetensors")


def test_a_classifier_that_was_saved_without_a_bag_of_words_is_read(training, tmp_path):
    alone = TextClassifier(training.model, training.split.labels, 20, "last_token")
    loaded = OwnClassifier.load(alone.save(tmp_path / "old.safetensors"))
    torch.testing.assert_close(
        loaded.logits(["snow"]), alone.logits(["snow"]), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("broken", ["scales", "labels", "about", "words.idf", "out_head.bias"])
def test_a_damaged_file_is_refused_in_a_sentence(broken, training, candidates, tmp_path):
    settings, tensors = training.classifier(SUM, candidates[SUM]).state()
    (settings if broken in settings else tensors).pop(broken)
    path = write_classifier(tmp_path / "broken.safetensors", settings, tensors)
    with pytest.raises(ValueError, match="not a whole file of a classifier"):
        OwnClassifier.load(path)


def test_class_weights_make_a_rare_class_more_probable():
    split, rare = split_of(fruit=90, sport=20, weather=12), {}
    for balance in ("as they are", "class weights"):
        logits = trained(split, balance=balance, epochs=1).candidates()[GPT2].logits
        rare[balance] = logits.softmax(dim=-1)[:, split.labels.index("weather")].mean()
    assert rare["class weights"] > 1.2 * rare["as they are"]


def test_undersampling_takes_as_many_training_texts_of_each_class_and_long_ones_are_truncated():
    split = split_of(fruit=90, sport=20, weather=10)
    split.train["Text"] += " word" * 1500
    training = OwnTraining(split, OwnSettings(balance="undersampling"))
    assert np.bincount(training.train.labels).tolist() == [7, 7, 7]
    assert training.train.max_length == 1024
    assert len(training.validation) == len(split.validation)  # only what is trained with


def test_the_settings_are_the_models_own_where_nothing_is_chosen():
    assert OwnSettings().lr > OwnSettings("gpt2-small (124M)").lr
    settings = OwnSettings(plan="head only", position="last_token", epochs=3, lr=0.01, seed=7)
    of_training = settings.for_training(class_weights=(1.0, 2.0))
    assert (of_training.epochs, of_training.lr, of_training.seed) == (3, 0.01, 7)
    assert of_training.position == "last_token" and of_training.class_weights == (1.0, 2.0)
    assert str(settings) == (
        "gpt2-nano (12M) · head only · position last_token · classes as they are · 3 epochs · "
        "batches of 16 · lr 0.01 · seed 7"
    )
    numpys = OwnSettings(batch_size=np.int64(16), lr=np.float32(0.5), seed=np.int8(1))
    assert json.loads(json.dumps(vars(numpys))) == vars(OwnSettings(batch_size=16, lr=0.5, seed=1))
    assert "nothing" not in PLANS and "the book's choice" in PLANS


def test_the_test_texts_are_measured_when_asked_and_it_is_noted(training, candidates, tmp_path):
    table = tmp_path / "mine.csv"
    own_table(30).to_csv(table, index=False)
    about = {"columns": json.dumps(["text", "topic"])}
    classifier = training.classifier(SUM, candidates[SUM], about)
    split = training.split
    assert not was_seen(split, tmp_path)
    shown = "\n".join(describe_test(classifier, table, tmp_path))
    for name in (SUM, BAG, GPT2, "always fruit", f"{len(split.test)} test texts"):
        assert name in shown
    labels = np.array(split.labels)[split.test["Label"]]
    accuracy = (np.array(classifier.classify_many(split.test["Text"])) == labels).mean()
    assert f"{accuracy:.3f}" in shown
    assert was_seen(split, tmp_path)
    describe_test(classifier, table, tmp_path)
    assert len((tmp_path / SEEN).read_text().splitlines()) == 1
    own_table(31).to_csv(table, index=False)
    with pytest.raises(ValueError, match="not the table"):
        describe_test(classifier, table, tmp_path)
