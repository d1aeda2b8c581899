"""A classifier of one's own texts and classes: trained, compared with two baselines, kept.

The recipe is that of section 6.7 with any number of classes: the texts of the training part
fine-tune a pretrained GPT-2 with a new head. The command `python -m workshop train` and the widget
of appendix 6.D are two ways to start it.

An accuracy says little alone: with nine texts of ten in one class, 90 % right is what an answer that
never changes has. So two baselines always answer the same test texts. Labels are numbers here,
0 … num_classes - 1; a label's name is `labels[number]`.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

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
from helpers.tokenizer import encode_message, get_tokenizer
from helpers.training import TrainingSettings, own_random_numbers
from workshop.fast import Progress, fast_logits, fine_tuning_steps, origin
from workshop.pictures.svg import shortened
from workshop.processes import ALONE, EpochCheckpoint, Processes
from workshop.texts import Split, class_weights, counted, undersample

THIS = "this classifier"
COUNTING = "counting words"
MOST_CLASSES = 20  # that a table shows
MOST_TEXTS = 100_000  # that words are counted in; of more, as many at random
MOST_WEIGHTS = 2_000_000  # of the classifier that counts words: with many classes, fewer words
WIDEST_NAME = 50  # letters
PLANS = tuple(name for name in PRESETS if name != "nothing")
BALANCES = {  # what is done about imbalanced classes
    "as they are": "every training text counts once",
    "class weights": "a text of a rare class counts more in the loss",
    "undersampling": "as many training texts of each class as the smallest one has, at random",
}


# --- measures -------------------------------------------------------------------------------------


class ClassFigures:
    """The measures of texts of the classes `correct` that were predicted as `called`.

    `labels` are the names of the classes; `correct` and `called` are (num_texts,) of their numbers.
    `table`, (num_classes, num_classes) of int, says how many texts have each pair of classes: rows
    are correct classes, columns predicted ones. `right` of `total` texts are predicted right, the
    fraction `accuracy`, with `interval`, its 95 % interval (low, high) by Wilson's formula.
    `by_class` has a row for each label, NaN for a fraction of nothing, and the columns "texts" of
    the class, those "called so" (predicted as it), "precision", "recall" and "F1", which is 0 where
    nothing is right. `macro_f1` is the mean of F1: a small class counts as much as a large one.
    """

    def __init__(self, labels: Sequence[str], correct, called):
        self.labels = tuple(labels)
        self.table = np.zeros((len(labels), len(labels)), dtype=int)
        np.add.at(self.table, (correct, called), 1)
        right = self.table.diagonal()
        texts, called_so = self.table.sum(axis=1), self.table.sum(axis=0)
        self.total, self.right = int(texts.sum()), int(right.sum())
        self.accuracy = self.right / self.total
        self.interval = wilson_interval(self.accuracy, self.total)
        by_class = pd.DataFrame({"texts": texts, "called so": called_so}, index=self.labels)
        by_class["precision"] = right / by_class["called so"]
        by_class["recall"] = right / by_class["texts"]
        by_class["F1"] = 2 * right / np.maximum(1, texts + called_so)
        self.by_class, self.macro_f1 = by_class, by_class["F1"].mean()

    def recall(self, label: str) -> float:
        """Return the fraction of the class that is predicted as it; NaN where it has no text."""
        return float(self.by_class["recall"][label])


def compare(
    labels: Sequence[str], train: pd.DataFrame, test: pd.DataFrame, called
) -> dict[str, ClassFigures]:
    """Return the measures of three ways to classify the test texts, by name.

    "this classifier" predicted `called`, (num_test,). "always ‹class›" predicts the largest class
    of the training part. "counting words" is logistic regression on how often each word occurs,
    trained on the training part, or on MOST_TEXTS of it. Both parts are frames with columns Text and
    Label, the number.
    """
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression  # slow to import
    from sklearn.pipeline import make_pipeline

    largest = int(np.bincount(train["Label"]).argmax())
    always = np.full(len(test), largest)
    if len(train) > MOST_TEXTS:
        train = train.sample(MOST_TEXTS, random_state=123)
    counts = CountVectorizer(max_features=MOST_WEIGHTS // train["Label"].nunique())
    model = make_pipeline(counts, LogisticRegression(max_iter=1000))
    with warnings.catch_warnings(action="ignore"):  # of a fit that has not converged
        try:
            by_counting = model.fit(train["Text"], train["Label"]).predict(test["Text"])
        except ValueError:  # there is one class only, or not a single word
            by_counting = always
    answers = {THIS: called, f"always {labels[largest]}": always, COUNTING: by_counting}
    return {name: ClassFigures(labels, test["Label"], answer) for name, answer in answers.items()}


# --- tables of plain text -------------------------------------------------------------------------


def summary_table(figures: Mapping[str, ClassFigures]) -> str:
    """Return what `compare` returns as lines of plain text."""
    rows = {}
    for name, measured in figures.items():
        low, high = measured.interval
        rows[name] = {
            "accuracy": f"{measured.accuracy:.3f}",
            "95 %": f"{low:.3f} – {high:.3f}",
            "macro-F1": f"{measured.macro_f1:.3f}",
        }
    return format_table(pd.DataFrame(rows).T, "what")


def class_table(figures: ClassFigures) -> str:
    """Return the measures of each class as lines of plain text, the largest class first.

    Of more than MOST_CLASSES classes it shows the largest and says how many are left out. "–" stands
    where there is nothing to take a fraction of.
    """
    frame = figures.by_class.sort_values("texts", ascending=False, kind="stable")
    table, left_out = format_table(frame[:MOST_CLASSES], "class"), frame[MOST_CLASSES:]
    if len(left_out):
        classes = counted(len(left_out), "class", "classes")
        table += f"\nleft out: {classes} with {counted(left_out['texts'].sum(), 'text')} in all"
    return table


def format_table(frame: pd.DataFrame, header: str) -> str:
    """Return a table as lines of plain text, with `header` above its index, which is shortened."""
    names = [shortened(" ".join(label.split()), WIDEST_NAME) for label in frame.index]
    frame = frame.set_axis(names).rename_axis(columns=header)
    with pd.option_context("display.unicode.east_asian_width", True):
        return frame.to_string(float_format="{:.3f}".format, na_rep="–")


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
        object.__setattr__(self, "lr", self.for_training().lr)

    def for_training(self, **changes) -> TrainingSettings:
        """Return the settings of the fine-tuning itself, with `changes`."""
        names = ("position", "epochs", "batch_size", "lr", "precision", "seed")
        settings = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return TrainingSettings.for_model(self.model, **settings | changes)

    def __str__(self) -> str:
        return (
            f"{self.model} · {self.plan} · position {self.position} · classes {self.balance} · "
            f"{counted(self.epochs, 'epoch')} · batches of {self.batch_size} · lr {self.lr:g} · "
            f"seed {self.seed}"
        )


class OwnTraining:
    """A training of one's own texts, under way or over; `processes` share the work.

    `steps` trains; then `model` is fine-tuned and `history` says how it went (None before). Texts
    are truncated to the longest training text's length; `num_cut` is the number of test texts that
    are.
    """

    def __init__(self, split: Split, settings: OwnSettings, processes: Processes = ALONE):
        self.split, self.settings, self.processes = split, settings, processes
        self.model = self.history = None
        train = split.train
        if settings.balance == "undersampling":
            train = undersample(train, settings.seed)
        tokenizer, num_classes = get_tokenizer(), len(split.labels)
        longest = max(len(encode_message(text, tokenizer)) for text in train["Text"])
        length = min(longest, BASE_CONFIG["context_length"])
        self.train = TextDataset(train, tokenizer, length, num_classes=num_classes)
        self.validation = TextDataset(split.validation, tokenizer, length, num_classes=num_classes)
        self._test_rows = [encode_message(text, tokenizer) for text in split.test["Text"]]
        self.num_cut = sum(len(row) > length for row in self._test_rows)
        self.origin = origin(settings.model, train, settings.seed, settings)

    def steps(self, checkpoint: EpochCheckpoint | None = None) -> Iterator[Progress]:
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
        """Return the number of the class that the model predicts for each test text, (num_test,)."""
        rows = [pad(row, self.train.max_length) for row in self._test_rows]
        logits = fast_logits(self.classifier(), rows, self.settings.precision)
        return logits.argmax(dim=-1).tolist()

    def figures(self) -> dict[str, ClassFigures]:
        """Return how good the model is on the test texts, compared with the baselines (`compare`)."""
        split = self.split
        return compare(split.labels, split.train, split.test, self.called())
