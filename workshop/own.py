"""A classifier of one's own texts and classes: trained, compared with two baselines, kept.

The recipe is that of section 6.7 with any number of classes: the texts of the training part fine-tune a
pretrained GPT-2 with a new head. The command `python -m workshop train` and the widget of appendix
6.D are two ways to start it.

An accuracy says little alone: with nine texts of ten in one class, 90 % right is what an answer that
never changes has. So two baselines always answer the same test texts. Labels are numbers here,
0 … num_classes - 1; a label's name is `labels[number]`.
"""

import unicodedata
import warnings
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean

import numpy as np
import pandas as pd
import torch

from helpers.checks import one_of
from helpers.classify import TextClassifier
from helpers.config import BASE_CONFIG
from helpers.data import TextDataset, pad
from helpers.freezing import PRESETS, replace_head
from helpers.loading import load_pretrained
from helpers.measures import wilson_interval
from helpers.model import GPTModel
from helpers.tokenizer import encode_message, get_tokenizer
from helpers.training import TrainingSettings, own_random_numbers
from workshop.fast import History, Progress, fast_logits, fine_tuning_steps, origin
from workshop.processes import ALONE, EpochCheckpoint, Processes
from workshop.texts import Split, class_weights, counted, undersample

THIS = "this classifier"
COUNTING = "counting words"
MOST_CLASSES = 20  # that a table shows
MOST_TEXTS = 100_000  # that words are counted in; of more, as many at random
MOST_WEIGHTS = 2_000_000  # of the classifier that counts words: with many classes, fewer words
WIDEST_NAME = 50  # columns of a terminal
PLANS = tuple(name for name in PRESETS if name != "nothing")
BALANCES = {  # what is done about imbalanced classes
    "as they are": "every training text counts once",
    "class weights": "a text of a rare class counts more in the loss",
    "undersampling": "as many training texts of each class as the smallest one has, by lot",
}


# --- measures -------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class ClassFigures:
    """How many texts have each pair of correct and predicted class, and the measures of that.

    `table` is (num_classes, num_classes), int: rows are correct classes, columns predicted ones.
    The methods raise ValueError for an unknown class.
    """

    labels: tuple[str, ...]
    table: np.ndarray

    @property
    def total(self) -> int:
        """The number of texts."""
        return int(self.table.sum())

    @property
    def right(self) -> int:
        """The number of texts whose class is predicted right."""
        return int(np.trace(self.table))

    @property
    def accuracy(self) -> float:
        """The fraction of the texts whose class is predicted right."""
        return self.right / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy, (low, high), by Wilson's formula."""
        return wilson_interval(self.accuracy, self.total)

    @property
    def macro_f1(self) -> float:
        """The mean of the classes' F1: a small class counts as much as a large one."""
        return fmean(self.f1(label) for label in self.labels)

    def support(self, label: str) -> int:
        """Return the number of texts of the class."""
        return self._counts(label)[1]

    def called(self, label: str) -> int:
        """Return the number of texts that are predicted as the class."""
        return self._counts(label)[2]

    def precision(self, label: str) -> float | None:
        """Return the fraction of the class among what is predicted as it; None where nothing is."""
        right, _, called = self._counts(label)
        return right / called if called else None

    def recall(self, label: str) -> float | None:
        """Return the fraction of the class that is predicted as it; None where it has no text."""
        right, support, _ = self._counts(label)
        return right / support if support else None

    def f1(self, label: str) -> float:
        """Return the harmonic mean of precision and recall, 0 where nothing is right."""
        right, support, called = self._counts(label)
        return 2 * right / max(1, support + called)

    def _counts(self, label: str) -> tuple[int, int, int]:
        """Return how many texts are of the class and predicted as it; of it; predicted as it."""
        if label not in self.labels:
            raise ValueError(f"there is no class {label!r} among {len(self.labels)}")
        number = self.labels.index(label)
        row, column = self.table[number], self.table[:, number]
        return int(row[number]), int(row.sum()), int(column.sum())


def class_figures(labels: Sequence[str], correct, called) -> ClassFigures:
    """Return the measures of texts of the classes `correct` that were predicted as `called`.

    `labels` are the names of the classes; `correct` and `called` are (num_texts,) of their numbers.
    Raises ValueError for numbers without a name, for two lengths, and for no text at all.
    """
    correct, called = np.asarray(correct), np.asarray(called)
    if correct.shape != called.shape or not len(correct):
        raise ValueError(
            f"there must be as many predicted as correct classes, and at least one: there are "
            f"{len(called)} and {len(correct)}"
        )
    if strange := set(correct.tolist() + called.tolist()) - set(range(len(labels))):
        raise ValueError(
            f"classes must be numbers from 0 to {len(labels) - 1}, not {strange.pop()!r}"
        )
    table = np.zeros((len(labels), len(labels)), dtype=int)
    np.add.at(table, (correct, called), 1)
    return ClassFigures(tuple(labels), table)


# --- baselines ------------------------------------------------------------------------------------


def compare(
    labels: Sequence[str], train: pd.DataFrame, test: pd.DataFrame, called
) -> dict[str, ClassFigures]:
    """Return the measures of three ways to classify the test texts, by name.

    "this classifier" predicted `called`, (num_test,). "always ‹class›" predicts the largest class
    of the training part. "counting words" is logistic regression on how often each word occurs,
    trained on the training part, or on MOST_TEXTS of it. Both parts are frames with columns Text and
    Label, the number. Raises ValueError for a class that only the test part has, and for what
    `class_figures` does.
    """
    correct = test["Label"].to_numpy()
    unseen = np.setdiff1d(correct, train["Label"])
    if len(unseen):
        raise ValueError(
            f"class {labels[unseen[0]]!r} has texts in the test part and none in the training part, "
            "so that no model can learn it; split the texts by class"
        )
    largest = int(np.bincount(train["Label"]).argmax())
    answers = {
        THIS: called,
        f"always {labels[largest]}": np.full(len(test), largest),
        COUNTING: _predict_by_counting(train, test["Text"], largest),
    }
    return {name: class_figures(labels, correct, answer) for name, answer in answers.items()}


def _predict_by_counting(train: pd.DataFrame, texts: pd.Series, largest: int) -> np.ndarray:
    """Return the classes, (num_texts,), that logistic regression on word counts predicts."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression  # slow to import
    from sklearn.pipeline import make_pipeline

    if len(train) > MOST_TEXTS:
        train = train.sample(MOST_TEXTS, random_state=123)
    counts = CountVectorizer(max_features=MOST_WEIGHTS // train["Label"].nunique())
    model = make_pipeline(counts, LogisticRegression(max_iter=1000))
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        try:
            model.fit(train["Text"], train["Label"])
        except ValueError:  # there is one class only, or not a single word
            return np.full(len(texts), largest)
    return model.predict(texts)


# --- tables of plain text -------------------------------------------------------------------------


def summary_table(figures: Mapping[str, ClassFigures]) -> str:
    """Return what `compare` returns as lines of plain text, at most 100 columns wide."""
    rows = [["what", "accuracy", "95 %", "macro-F1"]]
    for name, measured in figures.items():
        low, high = measured.interval
        rows.append([name, f"{measured.accuracy:.3f}", f"{low:.3f} – {high:.3f}"])
        rows[-1].append(f"{measured.macro_f1:.3f}")
    return _aligned(rows)


def class_table(figures: ClassFigures) -> str:
    """Return the measures of each class as lines of plain text, the largest class first.

    Of more than MOST_CLASSES classes it shows the largest and says how many are left out. At most
    100 columns wide; "–" stands where there is nothing to take a fraction of.
    """
    labels = sorted(figures.labels, key=figures.support, reverse=True)
    rows = [["class", "texts", "called so", "precision", "recall", "F1"]]
    for label in labels[:MOST_CLASSES]:
        row = [label, f"{figures.support(label):,}", f"{figures.called(label):,}"]
        for fraction in (figures.precision(label), figures.recall(label), figures.f1(label)):
            row.append("–" if fraction is None else f"{fraction:.3f}")
        rows.append(row)
    table, left_out = _aligned(rows), labels[MOST_CLASSES:]
    if left_out:
        num_texts = sum(figures.support(label) for label in left_out)
        classes = counted(len(left_out), "class", "classes")
        table += f"\nleft out: {classes} with {counted(num_texts, 'text')} in all"
    return table


def _aligned(rows: list[list[str]]) -> str:
    """Return rows as columns: the first flush left and shortened, the others flush right."""
    for row in rows:
        name = " ".join(row[0].split())
        name = "".join(c if c.isprintable() else "\ufffd" for c in name)  # or a terminal obeys it
        if _width(name) > WIDEST_NAME:
            while _width(name) >= WIDEST_NAME:
                name = name[:-1]
            name += "…"
        row[0] = name
    widths = [max(_width(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for name, *cells in rows:
        line = name + " " * (widths[0] - _width(name))
        for cell, width in zip(cells, widths[1:], strict=True):
            line += "  " + cell.rjust(width)
        lines.append(line)
    return "\n".join(lines)


def _width(text: str) -> int:
    """Return how many columns of a terminal the text takes: wide letters two, accents none."""
    letters = [c for c in text if not unicodedata.combining(c)]
    return len(letters) + sum(unicodedata.east_asian_width(c) in "WF" for c in letters)


# --- a training -----------------------------------------------------------------------------------


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
        one_of("plan", self.plan, PLANS)
        one_of("balance", self.balance, BALANCES)
        for name, value in asdict(self.for_training()).items():
            if hasattr(self, name):  # checked, and of Python's types
                object.__setattr__(self, name, value)

    def for_training(self, **changes) -> TrainingSettings:
        """Return the settings of the fine-tuning itself, with `changes`."""
        names = ("position", "epochs", "batch_size", "precision", "seed")
        settings = {name: getattr(self, name) for name in names}
        if self.lr is not None:
            settings["lr"] = self.lr
        return TrainingSettings.for_model(self.model, **settings | changes)

    def __str__(self) -> str:
        return (
            f"{self.model} · {self.plan} · position {self.position} · classes {self.balance} · "
            f"{counted(self.epochs, 'epoch')} · batches of {self.batch_size} · lr {self.lr:g} · "
            f"seed {self.seed}"
        )


class OwnTraining:
    """A training of one's own texts, under way or over; `processes` share the work.

    `steps` trains; then `model` is fine-tuned and `history` says how it went.
    """

    def __init__(
        self, split: Split, settings: OwnSettings | None = None, processes: Processes = ALONE
    ):
        self.split, self.settings = split, settings or OwnSettings()
        self.processes = processes
        self.model: GPTModel | None = None
        self.history: History | None = None
        train = split.train
        if self.settings.balance == "undersampling":
            train = undersample(train, self.settings.seed)
        tokenizer, num_classes = get_tokenizer(), len(split.labels)
        longest = max(len(encode_message(text, tokenizer)) for text in train["Text"])
        max_length = min(longest, BASE_CONFIG["context_length"])
        self.train = TextDataset(train, tokenizer, max_length, num_classes=num_classes)
        self.validation = TextDataset(
            split.validation, tokenizer, max_length, num_classes=num_classes
        )
        self._test_rows = [encode_message(text, tokenizer) for text in split.test["Text"]]
        self.origin = origin(self.settings.model, train, self.settings.seed, self.settings)

    def steps(self, checkpoint: EpochCheckpoint | None = None) -> Generator[Progress, None, None]:
        """Train; yield after each slice, as `fine_tuning_steps` does, and raise what it raises.

        With a `checkpoint` it begins at the last whole epoch that is there.
        """
        settings, num_classes = self.settings, len(self.split.labels)
        self.model = load_pretrained(settings.model)
        with own_random_numbers(torch.device("cpu"), settings.seed):
            replace_head(self.model, num_classes)
        weights = None
        if settings.balance == "class weights":
            weights = class_weights(self.train.labels, num_classes)
        self.history = yield from fine_tuning_steps(
            self.model,
            self.train,
            self.validation,
            PRESETS[settings.plan](len(self.model.trf_blocks)),
            settings.for_training(class_weights=weights),
            processes=self.processes,
            checkpoint=checkpoint,
        )

    def __str__(self) -> str:
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
        """Return the number of the class that the model predicts for each test text, (num_test,).

        A text is truncated to the longest training text's length; `num_cut` says how many are.
        """
        rows = [pad(row, self.train.max_length) for row in self._test_rows]
        logits = fast_logits(self.classifier(), rows, self.settings.precision)
        return logits.argmax(dim=-1).tolist()

    @property
    def num_cut(self) -> int:
        """The number of test texts that are longer than the longest training text."""
        return sum(len(row) > self.train.max_length for row in self._test_rows)

    def figures(self) -> dict[str, ClassFigures]:
        """Return how good the model is on the test texts, compared with the baselines (`compare`)."""
        split = self.split
        return compare(split.labels, split.train, split.test, self.called())
