"""How good a classifier of two or more classes is, beside what needs no language model.

An accuracy says little alone: with nine texts of ten in one class, 90 % right is what an answer that
never changes has. So the same test texts are always answered in two cheap ways too. Labels are
numbers here, 0 … num_classes - 1; a label's name is `labels[number]`.

A classifier of one's own texts and classes: trained, measured on texts it has not met, kept.

The recipe is that of section 6.7 with any number of classes: the texts of the training part fine-tune a
pretrained GPT-2 with a new head. The command `python -m workshop train` and the widget of appendix
6.D are two ways to press the button.
"""

import unicodedata
import warnings
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean

import numpy as np
import pandas as pd
import torch

from helpers.checks import finite_number, finite_numbers, instance_of, one_of, whole_number
from helpers.classify import TextClassifier
from helpers.config import BASE_CONFIG, gpt_config
from helpers.data import TextDataset, pad
from helpers.freezing import PRESETS, replace_head
from helpers.loading import load_pretrained
from helpers.measures import wilson_interval
from helpers.model import GPTModel
from helpers.tokenizer import encode_message, get_tokenizer
from helpers.training import TrainingSettings, check_position, check_precision, own_random_numbers
from workshop.fast import (
    History,
    Progress,
    fine_tuning_steps,
    origin,
)
from workshop.processes import ALONE, EpochCheckpoint, Ranks
from workshop.texts import Split, class_weights, counted, undersample

THIS = "this classifier"


COUNTING = "counting words"


MOST_CLASSES = 20  # that a table shows


MOST_TEXTS = 100_000  # that words are counted in; of more, as many by lot


MOST_WEIGHTS = 2_000_000  # of the classifier that counts words: with many classes, fewer words


WIDEST_NAME = 50  # columns of a terminal


# --- the figures ----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class ClassFigures:
    """How many texts have each pair of correct and called class, and what follows from that.

    `table` is (num_classes, num_classes), int: rows are the correct classes, columns the called ones.
    """

    labels: tuple[str, ...]
    table: np.ndarray

    @property
    def total(self) -> int:
        """How many texts there are."""
        return int(self.table.sum())

    @property
    def right(self) -> int:
        """How many are called what they are."""
        return int(np.trace(self.table))

    @property
    def accuracy(self) -> float:
        """Of all texts, the share that is called what it is."""
        return self.right / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy, (low, high), by Wilson's formula."""
        return wilson_interval(self.accuracy, self.total)

    @property
    def macro_f1(self) -> float:
        """The mean of the classes' F1: a small class counts as much as a large one.

        A class of which nothing is right counts 0, one without any text to find among them.
        """
        return fmean(self.f1(label) for label in self.labels)

    def support(self, label: str) -> int:
        """Return how many texts are of the class. Raises ValueError for an unknown one."""
        return int(self.table[self._number(label)].sum())

    def called(self, label: str) -> int:
        """Return how many texts are called so. Raises ValueError for an unknown class."""
        return int(self.table[:, self._number(label)].sum())

    def precision(self, label: str) -> float | None:
        """Return the share that is of the class, of all that is called so; None of nothing.

        Raises ValueError for an unknown class.
        """
        called = self.called(label)
        return self._right(label) / called if called else None

    def recall(self, label: str) -> float | None:
        """Return the share that is called so, of all that is of the class; None of nothing.

        Raises ValueError for an unknown class.
        """
        support = self.support(label)
        return self._right(label) / support if support else None

    def f1(self, label: str) -> float:
        """Return the harmonic mean of precision and recall, 0 where nothing is right.

        Raises ValueError for an unknown class.
        """
        both = self.support(label) + self.called(label)
        return 2 * self._right(label) / both if both else 0.0

    def _right(self, label: str) -> int:
        number = self._number(label)
        return int(self.table[number, number])

    def _number(self, label: str) -> int:
        try:
            return self.labels.index(label)
        except ValueError:
            raise ValueError(f"there is no class {label!r} among {len(self.labels)}") from None


def class_figures(labels: Sequence[str], correct, called) -> ClassFigures:
    """Return the figures of texts that are of the classes `correct` and were called `called`.

    `labels` are the names of the classes; `correct` and `called` are (num_texts,) of their numbers.
    Raises ValueError for names that are no texts or not distinct, for numbers without a name, for
    two lengths, and for no text at all.
    """
    labels = _checked_names(labels)
    correct = _checked_numbers("correct", correct, len(labels))
    called = _checked_numbers("called", called, len(labels))
    if len(correct) != len(called):
        raise ValueError(f"{len(correct)} correct and {len(called)} called are not of one length")
    if not len(correct):
        raise ValueError("there is no text to measure on")
    k = len(labels)
    table = np.bincount(correct * k + called, minlength=k * k).reshape(k, k)
    table.setflags(write=False)
    return ClassFigures(labels, table)


# --- beside it ------------------------------------------------------------------------------------


def compare(
    labels: Sequence[str], train: pd.DataFrame, test: pd.DataFrame, called
) -> dict[str, ClassFigures]:
    """Return the figures of three ways to answer the test texts, by name.

    "this classifier" called them `called`, (num_test,). "always ‹class›" calls all what most of the
    training texts are. "counting words" is logistic regression on how often each word occurs,
    trained on the training part, or on MOST_TEXTS of it. Both parts are frames with columns Text and
    Label, the number. Raises ValueError for an empty part, for other columns, for a class that only
    the test part has, and for what `class_figures` does.
    """
    labels = _checked_names(labels)
    train_texts, train_labels = _checked_part("train", train, len(labels))
    texts, correct = _checked_part("test", test, len(labels))
    unseen = np.setdiff1d(correct, train_labels)
    if len(unseen):
        have = f"and {len(unseen) - 1:,} more have" if len(unseen) > 1 else "has"
        raise ValueError(
            f"class {unseen[0]}, {labels[unseen[0]]!r}, {have} texts in the test part and none in "
            "the training part, so that nothing can learn it; split the texts by class"
        )
    largest = int(np.bincount(train_labels).argmax())
    answers = {
        THIS: called,
        f"always {labels[largest]}": np.full(len(texts), largest),
        COUNTING: _called_by_counting(train_texts, train_labels, texts, largest),
    }
    return {name: class_figures(labels, correct, answer) for name, answer in answers.items()}


def _called_by_counting(
    train_texts: list[str], train_labels: np.ndarray, texts: list[str], largest: int
) -> np.ndarray:
    """Return what logistic regression on word counts calls the texts: (num_texts,)."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression  # slow to import

    if len(train_texts) > MOST_TEXTS:
        chosen = np.random.default_rng(123).choice(len(train_texts), MOST_TEXTS, replace=False)
        train_texts, train_labels = [train_texts[i] for i in chosen], train_labels[chosen]
    classes = len(np.unique(train_labels))
    vectorizer = CountVectorizer(max_features=MOST_WEIGHTS // classes)
    has_words = any(map(vectorizer.build_analyzer(), train_texts))
    if classes == 1 or not has_words:  # there is nothing to learn from
        return np.full(len(texts), largest)
    counts = vectorizer.fit_transform(train_texts)
    model = LogisticRegression(max_iter=1000)
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        model.fit(counts, train_labels)
    return model.predict(vectorizer.transform(texts))


# --- in words -------------------------------------------------------------------------------------


def summary_table(figures: Mapping[str, ClassFigures]) -> str:
    """Return what `compare` found as lines of plain text, at most 100 columns wide."""
    rows = [("what", "accuracy", "95 %", "macro-F1")]
    for name, one in figures.items():
        low, high = one.interval
        rows.append((name, f"{one.accuracy:.3f}", f"{low:.3f} – {high:.3f}", f"{one.macro_f1:.3f}"))
    return _aligned(rows)


def class_table(figures: ClassFigures) -> str:
    """Return the figures of each class as lines of plain text, the largest class first.

    Of more than MOST_CLASSES classes it shows the largest and says how many are left out. At most
    100 columns wide; "–" stands where a share would be one of nothing.
    """
    labels = sorted(figures.labels, key=figures.support, reverse=True)
    rows = [("class", "texts", "called so", "precision", "recall", "F1")]
    for label in labels[:MOST_CLASSES]:
        shares = (figures.precision(label), figures.recall(label), figures.f1(label))
        counts = (f"{figures.support(label):,}", f"{figures.called(label):,}")
        rows.append((label, *counts, *("–" if x is None else f"{x:.3f}" for x in shares)))
    left_out = labels[MOST_CLASSES:]
    if not left_out:
        return _aligned(rows)
    texts = sum(map(figures.support, left_out))
    classes = counted(len(left_out), "class", "classes")
    return f"{_aligned(rows)}\nleft out: {classes} with {counted(texts, 'text')} in all"


def _aligned(rows: Iterable[Sequence[str]]) -> str:
    """Return rows as columns: the first flush left and shortened, the others flush right."""
    rows = [(_one_line(first), *rest) for first, *rest in rows]
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *rest in rows:
        cells = [first + " " * (widths[0] - _width(first))]
        cells += [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        lines.append("  ".join(cells))
    return "\n".join(lines)


def _one_line(name: str) -> str:
    """Return a name that fits the first column; what steers a terminal is not printed."""
    name = "".join(c if c.isprintable() else "\ufffd" for c in " ".join(name.split()))
    if _width(name) <= WIDEST_NAME:
        return name
    while _width(name) >= WIDEST_NAME:
        name = name[:-1]
    return f"{name}…"


def _width(text: str) -> int:
    """Return how many columns of a terminal the text takes: wide letters two, accents none."""
    return sum(
        0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF")
        for c in text
    )


# --- what is given --------------------------------------------------------------------------------


def _checked_names(labels: Sequence[str]) -> tuple[str, ...]:
    instance_of("labels", labels, (list, tuple), "the names of the classes, in order")
    for label in labels:
        instance_of("the name of a class", label, str, "a text")
    if not labels or len(set(labels)) < len(labels):
        raise ValueError(
            f"labels must be distinct names, one or more, not {len(labels)} with "
            f"{len(set(labels))} different"
        )
    return tuple(labels)


def _checked_numbers(name: str, values, num_classes: int) -> np.ndarray:
    array = finite_numbers(name, values)
    if array.ndim != 1:
        raise ValueError(f"{name} must be (num_texts,), not {array.shape}")
    wrong = array[(array != np.floor(array)) | (array < 0) | (array >= num_classes)]
    if len(wrong):
        raise ValueError(
            f"{name} must be the classes' numbers, 0 to {num_classes - 1}, not {wrong[0]:g}"
        )
    return array.astype(int)


def _checked_part(name: str, part: pd.DataFrame, num_classes: int) -> tuple[list[str], np.ndarray]:
    instance_of(f"the {name} part", part, pd.DataFrame, "a DataFrame with Text and Label")
    if not {"Text", "Label"} <= set(part.columns):
        columns = ", ".join(map(str, part.columns))
        raise ValueError(f"the {name} part needs columns Text and Label; it has {columns}")
    if part.empty:
        raise ValueError(f"the {name} part has no text")
    texts = part["Text"].tolist()
    for text in texts:
        instance_of(f"a text of the {name} part", text, str, "a text")
    return texts, _checked_numbers(f"the {name} part's labels", part["Label"], num_classes)


PLANS = tuple(name for name in PRESETS if name != "nothing")


BALANCES = {  # what is done about classes of different sizes
    "as they are": "every training text counts once",
    "class weights": "a text of a rare class counts more in the loss",
    "undersampling": "as many training texts of each class as the smallest one has, by lot",
}


@dataclass(frozen=True)
class OwnSettings:
    """What is chosen before a training; `lr` None is the model's own (`TrainingSettings.for_model`).

    Raises ValueError for what can't be.
    """

    model: str = "gpt2-nano (12M)"
    plan: str = "the book's choice"
    position: str = "last_token"
    balance: str = "as they are"
    epochs: int = 5
    batch_size: int = 8
    lr: float | None = None
    precision: str = "float32"
    seed: int = 123

    def __post_init__(self):
        gpt_config(self.model)
        one_of("plan", self.plan, PLANS)
        one_of("balance", self.balance, BALANCES)
        check_position(self.position)
        check_precision(self.precision)
        whole_number("epochs", self.epochs)
        whole_number("batch_size", self.batch_size)
        whole_number("seed", self.seed, 0, 2**32 - 1)
        if self.lr is None:
            object.__setattr__(self, "lr", TrainingSettings.for_model(self.model).lr)
        finite_number("lr", self.lr)

    def __str__(self) -> str:
        epochs = "1 epoch" if self.epochs == 1 else f"{self.epochs} epochs"
        return (
            f"{self.model} · {self.plan} · position {self.position} · classes {self.balance} · "
            f"{epochs} · batches of {self.batch_size} · lr {self.lr:g} · seed {self.seed}"
        )


@dataclass
class OwnTraining:
    """A training of one's own texts, under way or over.

    `steps` trains; then `model` is fine-tuned and `history` says how it went. `ranks` share the work
    (see `fine_tuning`); with `shard` each keeps only a part of what is trained.
    """

    split: Split
    settings: OwnSettings = field(default_factory=OwnSettings)
    ranks: Ranks = ALONE
    shard: bool = False

    def __post_init__(self):
        instance_of("split", self.split, Split, "what split_stratified returns")
        instance_of("settings", self.settings, OwnSettings, "OwnSettings")
        self.model: GPTModel | None = None
        self.history: History | None = None
        train = self.split.train
        if self.settings.balance == "undersampling":
            train = undersample(train, self.settings.seed)
        self.train = _dataset(train, len(self.split.labels))
        self.validation = _dataset(
            self.split.validation, len(self.split.labels), self.train.max_length
        )
        self.origin = origin(self.settings.model, train, self.settings.seed, asdict(self.settings))

    def steps(self, checkpoint: EpochCheckpoint | None = None) -> Generator[Progress, None, None]:
        """Train; yield after each slice, as `fine_tuning_steps` does, and raise what it raises.

        With a `checkpoint` it begins at the last whole epoch that is there.
        """
        self.model = self._new_model()
        labels = self.train.labels
        weights = None
        if self.settings.balance == "class weights":
            weights = class_weights(labels, len(self.split.labels))
        settings = self.settings
        self.history = yield from fine_tuning_steps(
            self.model,
            self.train,
            self.validation,
            PRESETS[settings.plan](len(self.model.trf_blocks)),
            TrainingSettings(
                epochs=settings.epochs,
                batch_size=settings.batch_size,
                lr=settings.lr,
                seed=settings.seed,
                position=settings.position,
                precision=settings.precision,
                class_weights=weights,
            ),
            ranks=self.ranks,
            shard=self.shard,
            checkpoint=checkpoint,
        )

    def _new_model(self) -> GPTModel:
        model = load_pretrained(self.settings.model)
        with own_random_numbers(torch.device("cpu"), self.settings.seed):
            return replace_head(model, len(self.split.labels))

    @property
    def in_words(self) -> str:
        """What is trained and on how many texts."""
        texts = f"{len(self.train):,} training and {len(self.validation):,} validation texts"
        return f"{self.settings} · {texts}"

    def classifier(self, about: dict[str, str] | None = None) -> TextClassifier:
        """Return the trained model with all that is needed to use it, and what it is trained from."""
        return TextClassifier(
            self.model,
            self.split.labels,
            self.train.max_length,
            position=self.settings.position,
            about=self.origin | (about or {}),
        )

    def called(self) -> list[int]:
        """Return the number of the class that the model calls each test text, (num_test,).

        A text is cut to the longest training text's length; `num_cut` says how many are.
        """
        rows = self._test_rows()
        own = self.ranks.own(range(len(rows)))
        called = [0] * len(rows)
        if own:
            cut = [pad(rows[i], self.train.max_length) for i in own]
            logits = self.classifier().logits_of_tokens(cut, self.settings.precision)
            for i, number in zip(own, logits.argmax(dim=-1).tolist(), strict=True):
                called[i] = number
        return [int(number) for number in self.ranks.sum(*called)]

    @property
    def num_cut(self) -> int:
        """How many test texts are longer than the longest training text."""
        return sum(len(row) > self.train.max_length for row in self._test_rows())

    def _test_rows(self) -> list[list[int]]:
        tokenizer = get_tokenizer()
        return [encode_message(text, tokenizer) for text in self.split.test["Text"]]

    def figures(self) -> dict[str, ClassFigures]:
        """Return how good the model is on the test texts, and what needs no model (`compare`)."""
        split = self.split
        return compare(split.labels, split.train, split.test, self.called())


def _dataset(part: pd.DataFrame, num_classes: int, max_length: int | None = None) -> TextDataset:
    """Return texts encoded; without a `max_length` the longest one's, at most the context."""
    tokenizer = get_tokenizer()
    if max_length is None:
        longest = max(len(encode_message(text, tokenizer)) for text in part["Text"])
        max_length = min(longest, BASE_CONFIG["context_length"])
    return TextDataset(part, tokenizer, max_length, num_classes=num_classes)
