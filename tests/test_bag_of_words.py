"""The bag of words gives scikit-learn's predictions, and is chosen on training texts alone."""

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.naive_bayes import ComplementNB
from sklearn.pipeline import make_pipeline, make_union
from sklearn.svm import LinearSVC
from torch.nn import functional as F

from tests.own_texts import WORDS, own_table
from workshop.bag_of_words import (
    BOTH,
    NAIVE_BAYES,
    SVM,
    BagOfWords,
    cross_validate,
    fit,
    fit_scales,
    train_bag_of_words,
)

TABLE = own_table(40)
TEXTS = TABLE["text"].tolist()
LABELS = TABLE["topic"].map([*WORDS].index).to_numpy()
NEW = ["sweet ripe pears", "a goal for the team, a goal", "snow", "nothing known", "cold juice"]


def pipeline(name: str):
    """The same classifier, as scikit-learn's documentation builds it."""
    words = TfidfVectorizer(sublinear_tf=True, token_pattern=r"\w+|[^\w\s]")
    if name == NAIVE_BAYES:
        return make_pipeline(words, ComplementNB(alpha=0.3))
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    return make_pipeline(make_union(words, characters), LinearSVC(C=0.3))


@pytest.mark.parametrize("name", [NAIVE_BAYES, SVM])
@pytest.mark.parametrize("num_classes", [2, 3])
def test_the_logits_are_those_of_scikit_learn_also_after_a_way_through_arrays(name, num_classes):
    some = num_classes > LABELS
    texts, labels = np.array(TEXTS, dtype=object)[some], LABELS[some]
    fitted, theirs = fit(texts, labels, num_classes)[name], pipeline(name).fit(texts, labels)
    logits = BagOfWords.of_arrays(fitted.arrays()).logits(NEW)
    assert torch.equal(logits, fitted.logits(NEW))
    if name == NAIVE_BAYES:
        expected, logits = theirs.predict_log_proba(NEW), logits.log_softmax(dim=-1)
    else:
        expected = theirs.decision_function(NEW)
        if num_classes == 2:
            expected = np.stack([-expected / 2, expected / 2], axis=1)
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_the_sum_of_both_is_one_linear_classifier_and_cross_validation_is_honest():
    trained = train_bag_of_words(TEXTS, LABELS, 3)
    scales, _, _ = cross_validate(np.array(TEXTS, dtype=object), LABELS, 3)
    parts = fit(TEXTS, LABELS, 3)
    expected = scales[0] * parts[NAIVE_BAYES].logits(NEW) + scales[1] * parts[SVM].logits(NEW)
    torch.testing.assert_close(trained.classifier.logits(NEW), expected, atol=1e-3, rtol=1e-3)
    is_right = trained.logits.argmax(dim=-1).numpy() == LABELS
    assert is_right.mean() == trained.accuracies[BOTH] > 0.9
    assert [*trained.accuracies] == [NAIVE_BAYES, SVM, BOTH]
    assert [*trained.learning_curve] == [30, 60]
    shuffled = np.random.default_rng(1).permutation(LABELS)  # by heart it would be right
    assert train_bag_of_words(TEXTS, shuffled, 3).accuracies[BOTH] < 0.55


def test_texts_without_a_word_are_told_apart_by_their_characters():
    chosen = train_bag_of_words([f":{')('[i % 2]} {i}" for i in range(20)], [0, 1] * 10, 2)
    assert chosen.classifier.logits([":) !", ":( ?"]).argmax(dim=-1).tolist() == [0, 1]


def test_a_class_without_a_training_text_is_never_predicted():
    fitted = fit(TEXTS, LABELS * 2, 5)[SVM]  # 0, 2 and 4
    assert {*fitted.logits([*TEXTS, *NEW]).argmax(dim=-1).tolist()} == {0, 2, 4}


@pytest.mark.parametrize("name", ["terms", "idf", "weights", "bias"])
def test_arrays_that_do_not_belong_together_are_refused(name):
    arrays = fit(TEXTS, LABELS, 3)[SVM].arrays()
    wrong = arrays | {name: arrays[name][:-1]}
    with pytest.raises(ValueError):
        BagOfWords.of_arrays(wrong)
    if name == "weights":
        with pytest.raises(ValueError, match="damaged"):
            BagOfWords.of_arrays(arrays | {name: arrays[name] * np.nan})


def test_the_scales_are_those_with_the_lowest_cross_entropy():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 200)
    first, second = (torch.tensor(rng.normal(size=(200, 3)) + strength * np.eye(3)[labels]).float()
                     for strength in (2, 1))  # fmt: skip
    scales = fit_scales(labels, first, second)

    def loss(a, b):
        logits = a * first + b * second
        return F.cross_entropy(logits, torch.tensor(labels), label_smoothing=1 / 202).item()

    for change in ((0.1, 0), (-0.1, 0), (0, 0.1), (0, -0.1)):
        assert loss(*scales) < loss(scales[0] + change[0], scales[1] + change[1])
    assert fit_scales(labels, first, torch.zeros(1))[1] == 0
    assert fit_scales(labels, torch.zeros(1), -first) == (0, 0)  # worse than chance
    assert fit_scales(labels, first, torch.tensor(rng.normal(size=(200, 3))).float())[1] < 0.3
    certain = fit_scales([0, 1], torch.eye(2), torch.zeros(1))[0]
    assert torch.tensor([certain, 0.0]).softmax(dim=0)[0] < 0.9  # two right texts prove little
