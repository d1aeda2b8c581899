"""Bag-of-words classifiers: the words of a text, in whatever order, decide its class.

They are the baseline for a fine-tuned GPT-2: trained in a second, and with a few hundred texts often
as good. A text is a vector of TF-IDF features, one for each word, or each sequence of characters, of
the training texts. TF-IDF counts a term more the fewer texts hold it (Spärck Jones 1972). Two
classifiers of such vectors are compared by cross-validation on the training texts: complement naive
Bayes (Rennie et al. 2003) and a linear support vector machine (Cortes & Vapnik 1995). Both are
linear: a class's logit is the dot product of the features and the class's weights, plus its bias.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.naive_bayes import ComplementNB
from sklearn.svm import LinearSVC

WORDS = {"token_pattern": r"\w+|[^\w\s]"}  # words, numbers, and single other signs, as emoji
CHARACTERS = {"analyzer": "char_wb", "ngram_range": (2, 5)}  # 2 to 5 characters within a word
KINDS = {  # a name → the terms that are features, and the classifier
    "naive Bayes on words": ([WORDS], ComplementNB(alpha=0.3)),
    "linear SVM on words and characters": ([WORDS, CHARACTERS], LinearSVC(C=0.3, random_state=123)),
}
MOST_TEXTS = 100_000  # of more, as many at random are used
MOST_WEIGHTS = 4_000_000  # with many classes there are fewer features
FOLDS = 5


@dataclass(frozen=True)
class BagOfWords:
    """A linear classifier of TF-IDF features.

    `kind` is a name of KINDS, `terms` lists the terms of each of its kinds of features, in the order
    of the features. `idf` (num_features,), `weights` (num_features, num_classes) and `bias`
    (num_classes,) are arrays of float32.
    """

    kind: str
    terms: Sequence[Sequence[str]]
    idf: np.ndarray
    weights: np.ndarray
    bias: np.ndarray

    @classmethod
    def fit(cls, kind: str, texts: Sequence[str], labels, num_classes: int) -> "BagOfWords":
        """Return a classifier that is trained on texts and their labels, 0 … num_classes - 1."""
        features, classifier = KINDS[kind]
        most = MOST_WEIGHTS // (num_classes * len(features))
        vectorizers = [
            TfidfVectorizer(sublinear_tf=True, max_features=most, **options) for options in features
        ]
        vectors = hstack([vectorizer.fit_transform(texts) for vectorizer in vectorizers])
        classifier.fit(vectors, labels)
        present = classifier.classes_
        if isinstance(classifier, ComplementNB):
            columns, intercepts = classifier.feature_log_prob_.T, np.zeros(len(present))
        else:
            columns, intercepts = classifier.coef_.T, classifier.intercept_
            if len(present) == 2:  # scikit-learn has one column for two classes
                columns, intercepts = columns * [-0.5, 0.5], intercepts * [-0.5, 0.5]
        weights = np.zeros((vectors.shape[1], num_classes), np.float32)
        bias = np.full(num_classes, -1e4, np.float32)  # of a class that no training text has
        weights[:, present], bias[present] = columns, intercepts
        terms = [vectorizer.get_feature_names_out().tolist() for vectorizer in vectorizers]
        idf = np.concatenate([vectorizer.idf_ for vectorizer in vectorizers])
        return cls(kind, terms, idf.astype(np.float32), weights, bias)

    def vectors(self, texts: Sequence[str]) -> csr_matrix:
        """Return the TF-IDF features of texts: (len(texts), num_features)."""
        vectors, start = [], 0
        for options, terms in zip(KINDS[self.kind][0], self.terms, strict=True):
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
    def of_arrays(cls, kind: str, arrays: Mapping[str, np.ndarray]) -> "BagOfWords":
        """Return the classifier of what `arrays` returned; KeyError or ValueError for anything else."""
        terms = json.loads(arrays["terms"].tobytes())
        idf, weights, bias = arrays["idf"], arrays["weights"], arrays["bias"]
        num_features = sum(len(part) for part in terms)
        if (len(idf), *weights.shape) != (num_features, num_features, len(bias)):
            raise ValueError("the sizes of its bag of words do not fit")
        if len(terms) != len(KINDS[kind][0]) or not np.isfinite(weights).all():
            raise ValueError("its bag of words is damaged")
        return cls(kind, terms, idf, weights, bias)


@dataclass(frozen=True)
class CrossValidated:
    """A bag-of-words classifier, and what was found when it was chosen.

    `logits` (num_texts, num_classes) are those of each training text by a classifier that was
    trained on the other folds. `accuracies` has the accuracy, 0 … 1, of each kind.
    `learning_curve` has that of the chosen kind with a quarter and with half of the texts, by their
    number, where these hold two texts of each class.
    """

    classifier: BagOfWords
    logits: torch.Tensor
    accuracies: Mapping[str, float]
    learning_curve: Mapping[int, float]


def choose_bag_of_words(texts: Sequence[str], labels, num_classes: int) -> CrossValidated:
    """Return the kind with the highest cross-validated accuracy, trained on all texts.

    `labels` are (len(texts),), 0 … num_classes - 1.
    """
    texts, labels = np.array(texts, dtype=object), np.asarray(labels)
    logits, accuracies = {}, {}
    for kind in KINDS:
        logits[kind], accuracies[kind] = cross_validate(kind, texts, labels, num_classes)
    best = max(accuracies, key=accuracies.get)
    curve = {}
    for fraction in (0.25, 0.5):
        if fraction * np.unique(labels, return_counts=True)[1].min() < 2:
            continue  # no fold would have a text of the smallest class
        some, _ = train_test_split(
            np.arange(len(texts)), train_size=fraction, stratify=labels, random_state=123
        )
        curve[len(some)] = cross_validate(best, texts[some], labels[some], num_classes)[1]
    classifier = BagOfWords.fit(best, texts, labels, num_classes)
    return CrossValidated(classifier, logits[best], accuracies, curve)


def cross_validate(
    kind: str, texts: np.ndarray, labels: np.ndarray, num_classes: int
) -> tuple[torch.Tensor, float]:
    """Return logits (n, num_classes) and the accuracy of classifiers trained on the other folds."""
    sizes = np.bincount(labels)
    num_folds = min(FOLDS, max(2, sizes[sizes > 0].min()))
    folds = StratifiedKFold(num_folds, shuffle=True, random_state=123)
    logits = torch.zeros(len(texts), num_classes)
    for train, rest in folds.split(texts, labels):
        classifier = BagOfWords.fit(kind, texts[train], labels[train], num_classes)
        logits[rest] = classifier.logits(texts[rest])
    return logits, float((logits.argmax(dim=-1).numpy() == labels).mean())
