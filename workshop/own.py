"""A classifier of one's own texts and classes: a bag of words, a fine-tuned GPT-2, or their sum.

The bag of words is trained first, in seconds, and is the baseline. Then GPT-2 is fine-tuned on the
same training texts. Both give logits, so their weighted sum is a third classifier. The validation
texts decide which of the three is kept, and scale its logits so that its probabilities are
calibrated. The test texts decide nothing: `measure` is for the end.

The command `python -m workshop train` and the widget of the page on own texts start the same
training. Labels are numbers here, 0 … num_classes - 1; a label's name is `labels[number]`.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from helpers.checks import one_of
from helpers.classify import TextClassifier, read_classifier, write_classifier
from helpers.config import BASE_CONFIG
from helpers.data import TextDataset, pad
from helpers.freezing import PRESETS, replace_head
from helpers.loading import load_pretrained
from helpers.measures import paired_interval, wilson_interval
from helpers.tokenizer import encode_message, get_tokenizer
from helpers.training import TrainingSettings, get_device, own_random_numbers
from workshop.bag_of_words import BOTH, BagOfWords, fit_scales, folds_of, train_bag_of_words
from workshop.class_measures import ClassMeasures, class_table, summary_table
from workshop.fast import Progress, checksum_of, fast_logits, fine_tuning_steps, origin
from workshop.lab import append_row, read_rows
from workshop.processes import ALONE, EpochCheckpoint, Processes
from workshop.texts import (
    Split,
    TextTable,
    class_weights,
    counted,
    listed,
    read_texts,
    split_stratified,
    undersample,
)

BAG, GPT2, SUM = "bag of words", "transformer", "sum of both"
KEEPS = ("best", BAG, GPT2, SUM)
PLANS = tuple(name for name in PRESETS if name != "nothing")
BALANCES = (  # what is done about imbalanced classes
    "as they are",  # every training text counts once
    "class weights",  # a text of a rare class counts more in the loss
    "undersampling",  # as many training texts of each class as the smallest one has, at random
)
SEEN = "test_texts_seen.jsonl"  # beside the classifiers
FEW_TEXTS = 100  # test texts: with fewer an accuracy is a rough estimate


# --- the classifier -------------------------------------------------------------------------------


class OwnClassifier:
    """A bag of words, a fine-tuned GPT-2, or both: then their logits are added up.

    `words` is a BagOfWords and `gpt2` a TextClassifier; one of them may be None. Before the sum,
    their logits are multiplied with the two numbers of `scales`. The softmax of the sum is the
    probabilities. `about` says in words what the classifier was trained from.
    """

    def __init__(
        self,
        labels: Sequence[str],
        words: BagOfWords | None,
        gpt2: TextClassifier | None,
        scales: Sequence[float] = (1.0, 1.0),
        about: Mapping[str, str] | None = None,
    ):
        self.labels, self.words, self.gpt2 = tuple(labels), words, gpt2
        self.scales, self.about = tuple(scales), dict(about or {})

    @property
    def kind(self) -> str:
        """BAG, GPT2 or SUM."""
        if self.words is None or self.gpt2 is None:
            return GPT2 if self.words is None else BAG
        return SUM

    def logits(self, texts: Iterable[str], precision: str = "float32") -> torch.Tensor:
        """Return the logits of texts: float32 (len(texts), num_classes), on the CPU.

        Raises ValueError for an empty text.
        """
        texts = list(texts)
        rows = [encode_message(text, get_tokenizer()) for text in texts]  # refuses an empty text
        logits = torch.zeros(len(texts), len(self.labels))
        if not texts:  # scikit-learn refuses none
            return logits
        if self.words is not None:
            logits += self.scales[0] * self.words.logits(texts)
        if self.gpt2 is not None:
            rows = [pad(row, self.gpt2.max_length) for row in rows]
            logits += self.scales[1] * fast_logits(self.gpt2, rows, precision)
        return logits

    def probabilities(self, texts: Iterable[str], precision: str = "float32") -> torch.Tensor:
        """Return the probabilities of the classes: float32 (len(texts), num_classes)."""
        return self.logits(texts, precision).softmax(dim=-1)

    def classify_many(self, texts: Iterable[str]) -> list[str]:
        """Return the label of the most probable class of each text."""
        return [self.labels[number] for number in self.logits(texts).argmax(dim=-1).tolist()]

    def is_truncated(self, texts: Iterable[str]) -> list[bool]:
        """Return for each text whether GPT-2 reads only its beginning."""
        if self.gpt2 is None:
            return [False for _ in texts]
        tokenizer, most = get_tokenizer(), self.gpt2.max_length
        return [len(encode_message(text, tokenizer)) > most for text in texts]

    def description(self) -> list[str]:
        """Return lines on what the classifier is: its classes, its parts, what it was trained from."""
        lines = [f"{len(self.labels):,} classes: {listed(self.labels)}", f"a {self.kind}"]
        if self.words is not None:
            num_features = len(self.words.idf)
            lines.append(f"bag of words: {num_features:,} features")
        if self.gpt2 is not None:
            cfg, length = self.gpt2.model.cfg, self.gpt2.max_length
            num_parameters = sum(p.numel() for p in self.gpt2.model.parameters())
            lines.append(
                f"GPT-2: {cfg['n_layers']} blocks, {cfg['n_heads']} heads, {cfg['emb_dim']:,} numbers "
                f"for each token, a context of {cfg['context_length']:,} tokens, "
                f"{num_parameters:,} parameters"
            )
            position = f"position: {self.gpt2.position}"
            lines.append(f"{position}; a text is truncated after {length:,} tokens")
        return lines + [f"{name}: {value}" for name, value in self.about.items()]

    def classify(self, text: str) -> str:
        """Return the label of a text's most probable class; raises ValueError for an empty text."""
        return self.classify_many([text])[0]

    def save(self, path: str | Path) -> Path:
        """Write all into one safetensors file; return its path.

        An older file stays until the new one is whole. Raises OSError where it can't be written.
        """
        return write_classifier(path, *self.state())

    def state(self) -> tuple[dict, dict[str, torch.Tensor]]:
        """Return the settings and tensors of the file: those of GPT-2, and those of the bag of words."""
        settings, tensors = {}, {}
        if self.gpt2 is not None:
            settings, tensors = self.gpt2.state()
        settings |= {"labels": self.labels, "scales": self.scales, "about": self.about}
        if self.words is not None:
            settings["words"] = True
            for name, array in self.words.arrays().items():
                tensors[f"words.{name}"] = torch.from_numpy(array)
        return settings, tensors

    @classmethod
    def load(cls, path: str | Path) -> "OwnClassifier":
        """Return the classifier from a file that `save` or `TextClassifier.save` wrote.

        Raises OSError for a file that can't be opened, ValueError for a damaged or another file.
        """
        return read_classifier(path, cls._of_state)

    @classmethod
    def _of_state(cls, settings: dict, tensors: dict[str, torch.Tensor]) -> "OwnClassifier":
        arrays, rest = {}, {}
        for name, tensor in tensors.items():
            if name.startswith("words."):
                arrays[name.removeprefix("words.")] = tensor.numpy()
            else:
                rest[name] = tensor
        words = gpt2 = None
        if arrays:
            words = BagOfWords.of_arrays(arrays)
        if rest:
            settings.pop("words", None)  # which TextClassifier would refuse
            gpt2 = TextClassifier.of_state(settings, rest)
            gpt2.model.to(get_device())
        if words is None:
            settings.setdefault("scales", (1.0, 1.0))  # TextClassifier.save writes none
        return cls(settings["labels"], words, gpt2, settings["scales"], settings["about"])


# --- settings -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OwnSettings:
    """What is chosen before a training; None stands for the model's own (`TrainingSettings.for_texts`).

    `keep` is one of KEEPS: "best" keeps the classifier that is best on the validation texts, or, if
    `thorough`, in five-fold cross-validation on training and validation texts. With BAG no GPT-2 is
    trained. Raises ValueError for what can't be.
    """

    model: str = "gpt2-nano (12M)"
    keep: str = "best"
    thorough: bool = False
    plan: str = "everything"
    balance: str = "as they are"
    position: str = "mean_tokens"
    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    precision: str = "float32"
    seed: int = 123

    def __post_init__(self):
        one_of("keep", self.keep, KEEPS)
        one_of("plan", self.plan, PLANS)
        one_of("balance", self.balance, BALANCES)
        training = self.for_training()  # checks them, and makes numpy's numbers Python's
        for name in ("epochs", "batch_size", "lr", "seed"):
            object.__setattr__(self, name, getattr(training, name))

    def for_training(self, **changes) -> TrainingSettings:
        """Return the settings of the fine-tuning itself, with `changes`."""
        names = ("position", "epochs", "batch_size", "lr", "precision", "seed")
        settings = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return TrainingSettings.for_texts(self.model, **settings | changes)

    def __str__(self) -> str:
        return (
            f"{self.model} · {self.plan} · position {self.position} · classes {self.balance} · "
            f"{counted(self.epochs, 'epoch')} · batches of {self.batch_size} · lr {self.lr:g} · "
            f"seed {self.seed}"
        )


# --- a training -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Candidate:
    """One of the three classifiers on the validation texts.

    `logits` (num_validation, num_classes) are scaled by `scales`, those of the bag of words and of
    GPT-2; a part with the scale 0 is left out. `loss` is the mean cross-entropy in nats, `accuracy`
    the fraction of right predictions, 0 … 1, and `is_right` (num_validation,) says which are.
    """

    scales: tuple[float, float]
    logits: torch.Tensor
    loss: float
    accuracy: float
    is_right: np.ndarray


class OwnTraining:
    """A training of one's own texts, under way or over; `processes` share the work.

    `words` is the bag of words, chosen and trained on the training texts at once. `steps` fine-tunes
    GPT-2; then `model` is that model and `history` says how it went (None before, and where the
    settings keep the bag of words). Texts are truncated to the longest training text's length.
    """

    def __init__(self, split: Split, settings: OwnSettings, processes: Processes = ALONE):
        self.split, self.settings, self.processes = split, settings, processes
        self.model = self.history = None
        train = self._balanced(split.train)
        self.train, self.validation = self._data_sets(train, split.validation)
        self.words = train_bag_of_words(train["Text"], train["Label"], len(split.labels))
        self.origin = origin(settings.model, split.train, settings)
        self._cross_validated = None  # labels, and the logits of the bag of words and of GPT-2

    def _balanced(self, train: pd.DataFrame) -> pd.DataFrame:
        if self.settings.balance == "undersampling":
            return undersample(train, self.settings.seed)
        return train

    def _data_sets(
        self, train: pd.DataFrame, rest: pd.DataFrame
    ) -> tuple[TextDataset, TextDataset]:
        """Return the data sets to train with and to measure on, truncated to one length."""
        tokenizer, num_classes = get_tokenizer(), len(self.split.labels)
        longest = max(len(encode_message(text, tokenizer)) for text in train["Text"])
        length = min(longest, BASE_CONFIG["context_length"])
        return (
            TextDataset(train, tokenizer, length, num_classes=num_classes),
            TextDataset(rest, tokenizer, length, num_classes=num_classes),
        )

    def steps(self, checkpoint: EpochCheckpoint | None = None) -> Iterator[Progress]:
        """Fine-tune; yield after each step, as `fine_tuning_steps` does, and raise what it raises.

        With a `checkpoint` the last training, that of the model to keep, begins at the last whole
        epoch that is there.
        """
        if self.settings.keep == BAG:
            return
        if self.settings.thorough:
            yield from self._cross_validate()
            if self.history.interrupted:
                return
        yield from self._fine_tune(self.train, self.validation, checkpoint)

    def _cross_validate(self) -> Iterator[Progress]:
        """Train both classifiers once for each fold, and keep their logits of its texts."""
        texts = pd.concat([self.split.train, self.split.validation], ignore_index=True)
        labels, num_classes = texts["Label"].to_numpy(), len(self.split.labels)
        words, gpt2 = torch.zeros(2, len(texts), num_classes)
        for others, fold in folds_of(texts["Text"], labels):
            train, rest = self._balanced(texts.iloc[others]), texts.iloc[fold]
            trained = train_bag_of_words(train["Text"], train["Label"], num_classes)
            words[fold] = trained.classifier.logits(rest["Text"])
            data, of_rest = self._data_sets(train, rest)
            yield from self._fine_tune(data, of_rest)
            if self.history.interrupted:
                return
            gpt2[fold] = self._logits(rest["Text"], data.max_length)
        self._cross_validated = labels, words, gpt2

    def _fine_tune(
        self, train: TextDataset, rest: TextDataset, checkpoint: EpochCheckpoint | None = None
    ) -> Iterator[Progress]:
        settings = self.settings
        self.model = load_pretrained(settings.model)
        with own_random_numbers(torch.device("cpu"), settings.seed):
            replace_head(self.model, len(self.split.labels))
        weights = None
        if settings.balance == "class weights":
            weights = class_weights(train.labels, len(self.split.labels))
        self.history = yield from fine_tuning_steps(
            self.model,
            train,
            rest,
            PRESETS[settings.plan](len(self.model.trf_blocks)),
            settings.for_training(class_weights=weights),
            processes=self.processes,
            checkpoint=checkpoint,
        )

    def report(self) -> list[str]:
        """Return sentences on the bag of words, on more labels, and on what is trained now."""
        words, num_texts = self.words, len(self.words.logits)
        accuracy = words.accuracies[BOTH]
        low, high = wilson_interval(accuracy, num_texts)
        sentences = [
            f"Bag of words: {percent(accuracy)} of the training texts are predicted correctly in "
            f"cross-validation (95 % interval {percent(low)} to {percent(high)}).",
        ]
        if words.learning_curve:
            sentences.append(describe_learning_curve({**words.learning_curve, num_texts: accuracy}))
        if len(self.split.test) < FEW_TEXTS:
            sentences.append(
                f"There are only {counted(len(self.split.test), 'test text')}: an accuracy on them is "
                "a rough estimate."
            )
        if self.settings.keep != BAG:
            sentences.append(f"Training: {self.settings}")
        return sentences

    def candidates(self) -> dict[str, Candidate]:
        """Return the classifiers that were trained, by their names in KEEPS, on the validation texts.

        After cross-validation they are those of all training and validation texts. All scales but
        that of the bag of words alone, which has its own cross-validation, are fitted on these texts.
        """
        none, gpt2 = torch.zeros(1), None
        if self._cross_validated:
            labels, words, gpt2 = self._cross_validated
        else:
            texts, labels = self.split.validation["Text"], self.validation.labels
            words = self.words.classifier.logits(texts)
            if self.model is not None:
                gpt2 = self._logits(texts, self.train.max_length)
        labels = torch.tensor(np.array(labels))
        found = {BAG: ((1.0, 0.0), words, none)}
        if gpt2 is not None:
            found[GPT2] = fit_scales(labels, none, gpt2), none, gpt2
            found[SUM] = fit_scales(labels, words, gpt2), words, gpt2
        candidates = {}
        for name, (scales, first, second) in found.items():
            logits = scales[0] * first + scales[1] * second
            is_right = (logits.argmax(dim=-1) == labels).numpy()
            loss = F.cross_entropy(logits, labels).item()
            candidates[name] = Candidate(scales, logits, loss, is_right.mean(), is_right)
        return candidates

    def choose(self, candidates: Mapping[str, Candidate]) -> str:
        """Return the name of the candidate to keep.

        It is the one that the settings ask for, or the one with the lowest cross-entropy plus 1 / n
        for each scale that was fitted on these n texts (Akaike's criterion, 1974), so that the sum
        must earn its second scale.
        """
        if self.settings.keep in candidates:
            return self.settings.keep
        num_fitted = {BAG: 0, GPT2: 1, SUM: 2}
        return min(
            candidates,
            key=lambda name: (
                candidates[name].loss + num_fitted[name] / len(candidates[name].logits)
            ),
        )

    def classifier(self, name: str, candidate: Candidate, about=None) -> OwnClassifier:
        """Return the classifier of a candidate, with all that is needed to use it."""
        return OwnClassifier(
            self.split.labels,
            None if name == GPT2 else self.words.classifier,
            None if name == BAG else self._gpt2(self.train.max_length),
            candidate.scales,
            self.origin | (about or {}),
        )

    def finish(
        self, table: TextTable, folder: Path, about: Mapping[str, str] | None = None
    ) -> tuple[OwnClassifier, Candidate, str]:
        """Return the classifier that is kept, what it is on the validation texts, and sentences on it.

        `table` is what was split. Whether its test texts were seen is noted in the file SEEN of
        `folder`.
        """
        candidates = self.candidates()
        name = self.choose(candidates)
        texts = "training and validation" if self._cross_validated else "validation"
        choice = describe_choice(name, candidates, texts)
        told = {
            "trained on": f"{table.source}, {len(self.split.train):,} texts",
            "columns": json.dumps(table.columns),
            "choice": choice,
        }
        if was_seen(self.split, folder):
            told["test texts"] = "they were measured on before this training"
            choice += f" The test texts of {table.source} were measured on before this training."
        classifier = self.classifier(name, candidates[name], told | dict(about or {}))
        return classifier, candidates[name], choice

    def _gpt2(self, length: int) -> TextClassifier:
        return TextClassifier(self.model, self.split.labels, length, self.settings.position)

    def _logits(self, texts: Sequence[str], length: int) -> torch.Tensor:
        return OwnClassifier(self.split.labels, None, self._gpt2(length)).logits(texts)


# --- what was found -------------------------------------------------------------------------------


def percent(fraction: float) -> str:
    """Return a fraction of 0 … 1 in percent, "55.8 %"."""
    return f"{100 * fraction:.1f} %"


def describe_choice(name: str, candidates: Mapping[str, Candidate], texts="validation") -> str:
    """Return which classifier is kept, and by how much it is better on `texts` than the others."""
    kept, num_texts = candidates[name], len(candidates[name].is_right)
    sentences = [
        f"Kept: the {name}. It predicts {percent(kept.accuracy)} of the {num_texts:,} {texts} texts "
        "correctly."
    ]
    for other, candidate in candidates.items():
        if other != name:
            difference = paired_interval([kept.is_right], [candidate.is_right])
            sentences.append(
                f"The {other} predicts {percent(candidate.accuracy)} correctly: a difference of "
                f"{difference}."
            )
    return " ".join(sentences)


def describe_learning_curve(accuracies: Mapping[int, float]) -> str:
    """Return what the accuracies with fewer and with all training texts, by their number, tell."""
    numbers = [f"{number:,}" for number in accuracies]
    percentages = [percent(accuracy) for accuracy in accuracies.values()]
    *_, before, last = accuracies.values()
    error = math.sqrt(last * (1 - last) / max(accuracies))  # of the last accuracy
    advice = (
        "more labelled texts would probably help"
        if last - before > error
        else ("twice as many labelled texts would hardly help")
    )
    return f"With {' / '.join(numbers)} training texts it is {' / '.join(percentages)}: {advice}."


def describe_test(classifier: OwnClassifier, path: str | Path, folder: Path) -> list[str]:
    """Return lines on how good a classifier is on the test texts of its table, the file `path`.

    That the test texts were seen is noted in the file SEEN of `folder`. Raises ValueError for
    another table than that of the training, and OSError where the note can't be written.
    """
    columns = json.loads(classifier.about["columns"])
    split = split_stratified(read_texts(path, *columns))
    if checksum_of(split.train) != classifier.about["messages"]:
        raise ValueError(f"{path} is not the table that this classifier was trained on")
    figures = measure(classifier, split)
    if not was_seen(split, folder):
        append_row(folder / SEEN, {"id": checksum_of(split.test), "table": str(path)})
    return [
        f"On the {len(split.test):,} test texts, which no training saw:\n",
        f"{summary_table(figures)}\n\n{class_table(figures[classifier.kind])}\n",
        "What you choose from now on may fit these test texts by chance; the next training says so.",
    ]


def was_seen(split: Split, folder: Path) -> bool:
    """Return whether the test texts of a split were measured on before, by the note in `folder`."""
    rows, _ = read_rows(folder / SEEN)
    return checksum_of(split.test) in {row["id"] for row in rows}


def measure(classifier: OwnClassifier, split: Split) -> dict[str, ClassMeasures]:
    """Return how good a classifier is on the test texts, by name: its kind, its parts, and a baseline.

    The baseline always predicts the largest class of the training texts.
    """
    texts, labels = split.test["Text"].tolist(), split.test["Label"]
    parts = [classifier]
    if classifier.kind == SUM:
        parts.append(OwnClassifier(classifier.labels, classifier.words, None))
        parts.append(OwnClassifier(classifier.labels, None, classifier.gpt2))
    predicted = {part.kind: part.logits(texts).argmax(dim=-1).numpy() for part in parts}
    largest = int(np.bincount(split.train["Label"]).argmax())
    predicted[f"always {split.labels[largest]}"] = np.full(len(texts), largest)
    return {
        name: ClassMeasures(split.labels, labels, numbers) for name, numbers in predicted.items()
    }
