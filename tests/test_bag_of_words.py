"""The bag of words gives scikit-learn's predictions, and is chosen on training texts alone."""

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.naive_bayes import ComplementNB
from sklearn.pipeline import make_pipeline, make_union
from sklearn.svm import LinearSVC

from tests.own_texts import WORDS, own_table
from workshop.bag_of_words import KINDS, BagOfWords, choose_bag_of_words

TABLE = own_table(40)
TEXTS = TABLE["text"].tolist()
LABELS = TABLE["topic"].map([*WORDS].index).to_numpy()
NEW = ["sweet ripe pears", "a goal for the team, a goal", "snow", "nothing known", "cold juice"]
NAIVE_BAYES, SVM = KINDS


def pipeline(kind: str):
    """The same classifier, as scikit-learn's documentation builds it."""
    words = TfidfVectorizer(sublinear_tf=True, token_pattern=r"\w+|[^\w\s]")
    if kind == NAIVE_BAYES:
        return make_pipeline(words, ComplementNB(alpha=0.3))
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    return make_pipeline(make_union(words, characters), LinearSVC(C=0.3))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_classes", [2, 3])
def test_the_logits_are_those_of_scikit_learn_also_after_a_way_through_arrays(kind, num_classes):
    some = num_classes > LABELS
    texts, labels = np.array(TEXTS, dtype=object)[some], LABELS[some]
    fitted, theirs = (
        BagOfWords.fit(kind, texts, labels, num_classes),
        pipeline(kind).fit(texts, labels),
    )
    logits = BagOfWords.of_arrays(kind, fitted.arrays()).logits(NEW)
    assert torch.equal(logits, fitted.logits(NEW))
    if kind == NAIVE_BAYES:
        expected = theirs.predict_log_proba(NEW)
        logits = logits.log_softmax(dim=-1)
    else:
        expected = theirs.decision_function(NEW)
        if num_classes == 2:
            expected = np.stack([-expected / 2, expected / 2], axis=1)
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_the_kind_with_the_highest_cross_validated_accuracy_is_chosen():
    chosen = choose_bag_of_words(TEXTS, LABELS, 3)
    assert [*chosen.accuracies] == [*KINDS]
    best = max(KINDS, key=chosen.accuracies.get)
    assert chosen.classifier.kind == best
    is_right = chosen.logits.argmax(dim=-1).numpy() == LABELS
    assert is_right.mean() == chosen.accuracies[best]
    assert [*chosen.learning_curve] == [30, 60]
    shuffled = np.random.default_rng(1).permutation(LABELS)  # by heart it would be right
    by_chance = choose_bag_of_words(TEXTS, shuffled, 3)
    assert max(by_chance.accuracies.values()) < 0.55 < 0.9 < max(chosen.accuracies.values())


def test_texts_without_a_word_are_told_apart_by_their_characters():
    chosen = choose_bag_of_words([":) :)", ":( :("] * 10, [0, 1] * 10, 2)
    assert chosen.classifier.logits([":) !", ":( ?"]).argmax(dim=-1).tolist() == [0, 1]


def test_a_class_without_a_training_text_is_never_predicted():
    fitted = BagOfWords.fit(SVM, TEXTS, LABELS * 2, 5)  # 0, 2 and 4
    assert {*fitted.logits([*TEXTS, *NEW]).argmax(dim=-1).tolist()} == {0, 2, 4}


@pytest.mark.parametrize("name", ["terms", "idf", "weights", "bias"])
def test_arrays_that_do_not_belong_together_are_refused(name):
    arrays = BagOfWords.fit(NAIVE_BAYES, TEXTS, LABELS, 3).arrays()
    wrong = arrays | {name: arrays[name][:-1]}
    with pytest.raises(ValueError):
        BagOfWords.of_arrays(NAIVE_BAYES, wrong)
    if name == "weights":
        with pytest.raises(ValueError, match="damaged"):
            BagOfWords.of_arrays(NAIVE_BAYES, arrays | {name: arrays[name] * np.nan})
