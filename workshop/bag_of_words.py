"""A bag-of-words classifier: the words of a text, in whatever order, decide its class.

It is the baseline for a fine-tuned GPT-2: trained in a second, and with a few hundred texts often as
good. A text is a vector of TF-IDF features: one for each word and one for each sequence of characters
of the training texts. TF-IDF counts a term more the fewer texts hold it (Spärck Jones 1972). Two
classifiers are trained on them, complement naive Bayes on the words (Rennie et al. 2003) and a linear
support vector machine on words and characters (Cortes & Vapnik 1995). Both are linear, so the sum of
their logits is one linear classifier: a class's logit is the dot product of the features and the
class's weights, plus its bias.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy.optimize import minimize
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import StratifiedGroupKFold, train_test_split
from sklearn.naive_bayes import ComplementNB
from sklearn.svm import LinearSVC
from torch.nn import functional as F

from workshop.texts import normalised

NAIVE_BAYES, SVM, BOTH = "naive Bayes", "linear SVM", "both"
FEATURES = (
    {"token_pattern": r"\w+|[^\w\s]"},  # words, numbers, and single other signs, as emoji
    {"analyzer": "char_wb", "ngram_range": (2, 5)},  # 2 to 5 characters within a word
)
MOST_TEXTS = 100_000  # of more, as many at random are used
MOST_WEIGHTS = 4_000_000  # with many classes there are fewer features
FOLDS = 5


@dataclass(frozen=True)
class BagOfWords:
    """A linear classifier of TF-IDF features.

    `terms` lists the words and the sequences of characters in the order of their features. `idf`
    (num_features,), `weights` (num_features, num_classes) and `bias` (num_classes,) are arrays of
    float32.
    """

    terms: Sequence[Sequence[str]]
    idf: np.ndarray
    weights: np.ndarray
    bias: np.ndarray

    def vectors(self, texts: Sequence[str]) -> csr_matrix:
        """Return the TF-IDF features of texts: (len(texts), num_features)."""
        vectors, start = [], 0
        for options, terms in zip(FEATURES, self.terms, strict=True):
            vectorizer = TfidfVectorizer(sublinear_tf=True, vocabulary=terms, **options)
            vectorizer.idf_ = self.idf[start : start + len(terms)].astype(float)
            vectors.append(vectorizer.transform(texts))
            start += len(terms)
        return csr_matrix(hstack(vectors))

    def logits(self, texts: Sequence[str]) -> torch.Tensor:
        """Return the logits of texts: float32 (len(texts), num_classes)."""
        return torch.tensor(self.vectors(texts) @ self.weights + self.bias, dtype=torch.float32)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays of all that was trained; the terms are bytes of JSON."""
        terms = np.array(bytearray(json.dumps(self.terms).encode()))
        return {"terms": terms, "idf": self.idf, "weights": self.weights, "bias": self.bias}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "BagOfWords":
        """Return the classifier of what `arrays` returned; KeyError or ValueError for anything else."""
        terms = json.loads(arrays["terms"].tobytes())
        idf, weights, bias = arrays["idf"], arrays["weights"], arrays["bias"]
        num_features = sum(len(part) for part in terms)
        if (len(idf), *weights.shape) != (num_features, num_features, len(bias)):
            raise ValueError("the sizes of its bag of words do not fit")
        if len(terms) != len(FEATURES) or not np.isfinite(weights).all():
            raise ValueError("its bag of words is damaged")
        return cls(terms, idf, weights, bias)


def fit(texts: Sequence[str], labels, num_classes: int) -> dict[str, BagOfWords]:
    """Return the two classifiers, by their names, trained on texts and their labels.

    The labels are 0 … num_classes - 1. A class without a text is never predicted.
    """
    most = MOST_WEIGHTS // (num_classes * len(FEATURES))
    vectorizers = [TfidfVectorizer(sublinear_tf=True, max_features=most, **o) for o in FEATURES]
    parts = [vectorizer.fit_transform(texts) for vectorizer in vectorizers]
    terms = [vectorizer.get_feature_names_out().tolist() for vectorizer in vectorizers]
    idf = np.concatenate([vectorizer.idf_ for vectorizer in vectorizers]).astype(np.float32)

    naive_bayes = ComplementNB(alpha=0.3).fit(parts[0], labels)
    svm = LinearSVC(C=0.3, random_state=123).fit(hstack(parts), labels)
    present = svm.classes_
    columns, intercepts = svm.coef_.T, svm.intercept_
    if len(present) == 2:  # scikit-learn has one column for two classes
        columns, intercepts = columns * [-0.5, 0.5], intercepts * [-0.5, 0.5]
    fitted = {}
    for name, rows, bias in (
        (NAIVE_BAYES, naive_bayes.feature_log_prob_.T, 0.0),
        (SVM, columns, intercepts),
    ):
        weights = np.zeros((len(idf), num_classes), np.float32)
        weights[: len(rows), present] = rows  # those of words come first
        biases = np.full(num_classes, -1e4, np.float32)
        biases[present] = bias
        fitted[name] = BagOfWords(terms, idf, weights, biases)
    return fitted


@dataclass(frozen=True)
class CrossValidated:
    """A bag-of-words classifier, and what cross-validation on its training texts says of it.

    `logits` (num_texts, num_classes) are those of each text by a classifier that was trained on the
    other folds, calibrated. `accuracies` has the accuracy, 0 … 1, of naive Bayes, of the SVM, and of
    both together, which `classifier` is. `learning_curve` has that of both with a quarter and with
    half of the texts, by their number, where these hold two texts of each class.
    """

    classifier: BagOfWords
    logits: torch.Tensor
    accuracies: Mapping[str, float]
    learning_curve: Mapping[int, float]


def train_bag_of_words(texts: Sequence[str], labels, num_classes: int) -> CrossValidated:
    """Return the weighted sum of naive Bayes and SVM, trained on texts and labels, (len(texts),).

    The two weights are those with the lowest cross-entropy in cross-validation. Of more than
    MOST_TEXTS texts, as many at random are used.
    """
    texts, labels = np.array(texts, dtype=object), np.asarray(labels)
    if len(texts) > MOST_TEXTS:
        some = np.random.default_rng(123).choice(len(texts), MOST_TEXTS, replace=False)
        texts, labels = texts[some], labels[some]
    scales, logits, accuracies = cross_validate(texts, labels, num_classes)
    curve = {}
    for fraction in (0.25, 0.5):
        if fraction * np.unique(labels, return_counts=True)[1].min() < 2:
            continue  # no fold would have a text of the smallest class
        some, _ = train_test_split(
            np.arange(len(texts)), train_size=fraction, stratify=labels, random_state=123
        )
        curve[len(some)] = cross_validate(texts[some], labels[some], num_classes)[-1][BOTH]
    fitted = fit(texts, labels, num_classes)
    first, second = fitted[NAIVE_BAYES], fitted[SVM]
    weights = scales[0] * first.weights + scales[1] * second.weights
    bias = scales[0] * first.bias + scales[1] * second.bias
    return CrossValidated(
        BagOfWords(first.terms, first.idf, weights, bias), logits, accuracies, curve
    )


def cross_validate(
    texts: np.ndarray, labels: np.ndarray, num_classes: int
) -> tuple[tuple[float, float], torch.Tensor, dict[str, float]]:
    """Return the scales of both classifiers, the logits of their sum, and all accuracies.

    The logits (n, num_classes) of a text are by classifiers that were trained on the other folds.
    """
    logits = {name: torch.zeros(len(texts), num_classes) for name in (NAIVE_BAYES, SVM)}
    for train, rest in folds_of(texts, labels):
        for name, classifier in fit(texts[train], labels[train], num_classes).items():
            logits[name][rest] = classifier.logits(texts[rest])
    scales = fit_scales(labels, *logits.values())
    logits[BOTH] = scales[0] * logits[NAIVE_BAYES] + scales[1] * logits[SVM]
    accuracies = {}
    for name, of_texts in logits.items():
        accuracies[name] = float((of_texts.argmax(dim=-1).numpy() == labels).mean())
    return scales, logits[BOTH], accuracies


def folds_of(texts: Iterable[str], labels: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the indices of the texts to train on and of the rest, for each of at most FOLDS folds.

    Each fold has about the same fraction of each class. Equal texts, as `normalised` has them, are in
    one fold.
    """
    groups = pd.Series(texts).map(normalised)
    fewest = groups.groupby(labels).nunique().min()  # different texts of a class
    folds = StratifiedGroupKFold(min(FOLDS, max(2, fewest)), shuffle=True, random_state=123)
    return folds.split(labels, labels, groups=groups)


def fit_scales(labels, first: torch.Tensor, second: torch.Tensor) -> tuple[float, float]:
    """Return the two numbers, 0 or more, by which to multiply logits before they are added up.

    At these the cross-entropy of the `labels` (n,) is lowest; the logits are (n, num_classes), or
    zeros, which get the scale 0. For one kind of logits it is temperature scaling (Guo et al. 2017).
    The labels are smoothed by 1 / (n + 2), as in Platt 1999, so that a few texts that are all right
    do not make the classifier certain.
    """
    labels = torch.as_tensor(np.array(labels))
    smoothing = 1 / (len(labels) + 2)

    def loss(scales) -> tuple[float, np.ndarray]:
        scales = torch.tensor(scales, requires_grad=True)
        logits = scales[0] * first + scales[1] * second
        value = F.cross_entropy(logits, labels, label_smoothing=smoothing)
        value.backward()
        return value.item(), scales.grad.numpy()

    start = [float(part.any()) for part in (first, second)]
    bounds = [(0, None if used else 0) for used in start]
    return tuple(minimize(loss, start, jac=True, bounds=bounds).x.tolist())
