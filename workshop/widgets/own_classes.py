"""Your own texts and classes: choose a table, train, see which mistakes are left, save.

The training is that of the command `python -m workshop train`.
"""

import atexit
import os
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import replace
from html import escape
from pathlib import Path

import numpy as np
import torch
from ipywidgets import HTML, BoundedIntText, FileUpload, FloatText, Text, VBox

from helpers.classify import TextClassifier
from helpers.config import beside_the_notebook
from helpers.tokenizer import encode_message
from workshop.own import (
    BALANCES,
    MOST_CLASSES,
    PLANS,
    THIS,
    OwnSettings,
    OwnTraining,
    class_table,
    compare,
    summary_table,
)
from workshop.pictures.charts import draw_class_matrix
from workshop.pictures.svg import shortened
from workshop.tables import html_table, status
from workshop.texts import KINDS, Split, counted, read_texts, split_stratified
from workshop.widgets.parts import (
    Choice,
    CourseWidget,
    ask,
    button,
    html_fields,
    named,
    problem_shown,
    row,
)
from workshop.widgets.train_button import UNDER_WAY, TrainButton

ANSWERED_AT_ONCE = 64  # test texts in a slice
MOST_FIELDS, MOST_TEXTS = 20, 50  # that are shown: fields with mistakes, and texts of a field
LONGEST = 500  # characters of a text that are shown

HOW_TO_CHOOSE = (
    "<b>1. The texts.</b> A table with a column of texts and one of labels, as CSV, TSV, JSON lines "
    "or Parquet. Type its path, or choose a file of a few megabytes on your own computer. Nothing "
    "is sent anywhere else than to this notebook's kernel."
)

HOW_TO_TRAIN = "<b>2. The training.</b> What is set already is a good beginning."

HOW_GOOD = (
    "<b>3. How good is it?</b> Each row of the matrix is of one class, each column of what the texts "
    "were called. Press a field to read its texts: correct class → called class, and how many."
)

HOW_TO_USE = (
    "<b>4. Use it.</b> Type a text of your own and press Enter. Save the classifier: one file holds "
    "all that is needed to use it."
)


class OwnClasses(CourseWidget):
    """From a table of texts with labels to a classifier in a file, by a few clicks.

    `path` is a file to begin with, `model_name` the pretrained model. `table` and `split` hold what
    was read, `training` what was trained last, `classifier` its result, and `figures` how good that
    is, by name (as `compare` returns them); each is None before. What can't be read or trained is
    said in the widget. Raises ValueError for an unknown model.
    """

    def __init__(self, path: str | Path | None = None, model_name: str = "gpt2-nano (12M)"):
        self._defaults = default = OwnSettings(model_name)  # refuses an unknown name
        self.table = self.split = None
        self.training = self.classifier = self.figures = self._drawing = None

        self._path = ask(Text, "oc-path", "Path", placeholder="texts.csv", continuous_update=False)
        upload = FileUpload(accept=",".join(KINDS), multiple=False, description="Choose a file")
        upload.observe(lambda change: self._take_upload(change.new), "value")
        read = button("fx-more oc-read", "Read the table", self._read)
        self._columns = [
            ask(Text, f"oc-{name}-column", f"Column of the {name}s", continuous_update=False)
            for name in ("text", "label")
        ]
        for box in (self._path, *self._columns):
            box.observe(lambda _: self._read(), "value")
        self._plan = Choice("oc-plan", "Train", PLANS, default.plan)
        self._balance = Choice("oc-balance", "Classes", BALANCES, default.balance)
        self._epochs = ask(
            BoundedIntText, "fx-epochs", "Epochs", value=default.epochs, min=1, max=100
        )
        self._lr = ask(FloatText, "fx-lr", "Learning rate", value=default.lr)
        self._button = TrainButton(self._make_training, self._end)
        fields = html_fields("oc", "unread", "report", "classes", "matrix", "figures").values()
        self._unread, self._report, self._classes, self._matrix, self._tables = fields
        self._mistakes, self._use = VBox(), VBox()
        super().__init__(
            "own-classes",
            [
                HTML(f"<p>{HOW_TO_CHOOSE}</p>"),
                row(self._path, read, named(upload, "oc-upload"), css="oc-file"),
                row(*self._columns),
                self._unread,
                row(self._report, self._classes),
                HTML(f"<p>{HOW_TO_TRAIN}</p>"),
                self._plan,
                self._balance,
                row(self._epochs, self._lr),
                self._button,
                row(self._matrix, self._tables),
                self._mistakes,
                self._use,
            ],
        )
        self._button.say("Nothing has been trained yet.")
        if path is not None:
            self._path.value = str(path)

    # --- the table ---

    def _take_upload(self, value) -> None:
        if not value:
            return
        if isinstance(value, dict):  # ipywidgets 7 has a dictionary by name
            name, file = list(value.items())[-1]
        else:
            file = value[-1]
            name = file["name"]
        folder = tempfile.TemporaryDirectory()
        atexit.register(folder.cleanup)
        path = Path(folder.name, Path(name).name)
        path.write_bytes(file["content"])
        self._path.value = str(path)

    def _read(self) -> None:
        """Read what is chosen; until that has worked, there is no table that could be trained on."""
        with problem_shown(self._unread):
            if self._button.training is not None:
                raise ValueError(UNDER_WAY)
            self.table = self.split = None
            self._report.value = self._classes.value = ""
            path, *columns = (box.value.strip() or None for box in (self._path, *self._columns))
            if path is None:
                raise ValueError("There is no path yet: type one, or choose a file")
            table = read_texts(os.path.expanduser(path), *columns)
            self.split = split_stratified(table, seed=self._defaults.seed)
            self.table = table
            sentences = (*table.report, *self.split.report)
            texts = counted(len(table.frame), "text")
            read = status(f"Read: {texts} in {len(table.labels):,} classes, from {table.source}.")
            items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
            self._report.value = f"{read}<ul>{items}</ul>"
            self._classes.value = classes_table(self.split)

    # --- a training ---

    def _make_training(self) -> tuple[OwnTraining, int]:
        if self.split is None:
            raise ValueError("There is no table yet: type a path or choose a file first")
        settings = replace(
            self._defaults,
            plan=self._plan.value,
            balance=self._balance.value,
            epochs=self._epochs.value,
            lr=self._lr.value,
        )
        self.training = OwnTraining(self.split, settings)
        self.classifier = self.figures = self._drawing = None
        self._matrix.value = self._tables.value = ""
        self._mistakes.children = self._use.children = []
        return self.training, 1

    def _end(self, training: OwnTraining) -> Iterator[None]:
        """Make a classifier of what was trained, and show in slices how good it is."""
        show, split, table = self._button, self.split, self.table
        epochs = sum(len(history.val_accs) for history in show.histories)
        if not epochs:
            show.say("Stopped before the end of the first epoch: nothing has been trained.")
            return
        about = {"trained on": f"{table.source}, {counted(len(split.train), 'text')}"}
        stopped = ""
        if epochs < training.settings.epochs:
            whole = counted(epochs, "whole epoch")
            about["interrupted"] = f"after {whole} of {training.settings.epochs}"
            stopped = f"Stopped: the model has the weights of {whole}. "
        self.classifier = training.classifier(about)
        self._use.children = [UseIt(self.classifier, f"{Path(table.source).stem}.safetensors")]

        texts, slices = split.test["Text"].tolist(), []
        show.stopped = False
        show.say(f"{stopped}The test texts are being classified. Stop leaves it at that.")
        for start in range(0, len(texts), ANSWERED_AT_ONCE):
            if show.stopped:
                show.say(f"{stopped}How good it is was not measured.")
                return
            show.show_bar(start / len(texts), f"{start} of {len(texts)} test texts are classified.")
            some = texts[start : start + ANSWERED_AT_ONCE]
            slices.append(probabilities_of(self.classifier, some))
            yield
        probabilities = torch.cat(slices).numpy()  # (num_test, num_classes)
        self.figures = compare(split.labels, split.train, split.test, probabilities.argmax(axis=1))
        self._drawing = draw_class_matrix(self.figures[THIS])
        tables = f"{summary_table(self.figures)}\n\n{class_table(self.figures[THIS])}"
        self.classifier.about["figures"] = tables
        num_texts = counted(len(texts), "test text")
        caption = f"On {num_texts} of {table.source}, unseen in the training:"
        if training.num_cut:
            caption += f" {training.num_cut:,} of them are truncated."
        self._tables.value = f"<p>{escape(caption)}</p><pre>{escape(tables)}</pre>"
        self._matrix.value = self._drawing.svg
        self._mistakes.children = [HTML(f"<p>{HOW_GOOD}</p>"), Mistakes(split, probabilities)]
        right = ", ".join(f"{name} {measured.right:,}" for name, measured in self.figures.items())
        show.say(f"{stopped}Done: of {num_texts} are right: {right}.")

    def static_form(self) -> tuple[str, str, str]:
        """Return the matrix, what was read and measured as tables, and text."""
        html = self._report.value + self._classes.value + self._tables.value
        words = "no table has been read yet"
        if self.table is not None:
            words = "\n".join((*self.table.report, *self.split.report))
        if self._drawing is not None:
            words += f"\n\n{self.classifier.about['figures']}\n\n{self._drawing.words}"
        return self._matrix.value, html or "<p>No table has been read yet.</p>", words


class Mistakes(VBox):
    """A button for each field of the confusion matrix with mistakes; below them the field's texts.

    `probabilities` are those of the test texts, (num_test, num_classes).
    """

    def __init__(self, split: Split, probabilities: np.ndarray):
        called = probabilities.argmax(axis=1)
        test = split.test.assign(called=called, confidence=probabilities.max(axis=1))
        wrong = test[test["called"] != test["Label"]].sort_values(
            "confidence", ascending=False, kind="stable"
        )
        fields = wrong.groupby(["Label", "called"])
        largest = fields.size().sort_values(ascending=False, kind="stable")[:MOST_FIELDS]
        self._fields = {}  # correct and predicted label, and the texts
        for (i, j), count in largest.items():
            names = split.labels[i], split.labels[j]
            self._fields[f"{' → '.join(names)}: {count}"] = (*names, fields.get_group((i, j)))
        choice = Choice("oc-field", "Mistakes", self._fields, on_choose=self._show)
        self._texts = named(HTML(), "oc-texts")
        super().__init__([choice, self._texts])

    def _show(self, field: str) -> None:
        """Show the texts of a field, the most confident mistakes first."""
        correct, called, texts = self._fields[field]
        heading = status(
            f"{correct}, called {called}: {counted(len(texts), 'text')}, each behind its "
            f"probability of {called}, the surest first."
        )
        items = ""
        for mistake in texts[:MOST_TEXTS].itertuples():
            text = escape(shortened(mistake.Text, LONGEST))
            items += f"<li><b>{mistake.confidence:.3f}</b> {text}</li>"
        self._texts.value = f"{heading}<ul>{items}</ul>"


class UseIt(VBox):
    """A box to try a classifier on a text, and a button that saves it, at first as `name`."""

    def __init__(self, classifier: TextClassifier, name: str):
        self._classifier = classifier
        self._text = ask(Text, "fx-text", "Your own text", continuous_update=False)
        self._text.observe(lambda _: self._classify(), "value")
        self._name = ask(Text, "oc-name", "File name", value=name)
        save = button("fx-more oc-save", "Save", self._save)
        self._answer, self._saved = html_fields("oc", "answer", "saved").values()
        super().__init__(
            [
                HTML(f"<p>{HOW_TO_USE}</p>"),
                row(self._text),
                self._answer,
                row(self._name, save),
                self._saved,
            ]
        )

    def _classify(self) -> None:
        """Show the probabilities of the classes, the largest first."""
        classifier, text = self._classifier, self._text.value
        with problem_shown(self._answer):
            (probabilities,) = probabilities_of(classifier, [text]).tolist()
            ranked = sorted(zip(probabilities, classifier.labels, strict=True), reverse=True)
            sentence = f"Answer: {ranked[0][1]}, with probability {ranked[0][0]:.3f}."
            if len(encode_message(text, classifier.tokenizer)) > classifier.max_length:
                sentence += f" Only the first {classifier.max_length} tokens were read."
            rows = [(label, f"{probability:.3f}") for probability, label in ranked[:MOST_CLASSES]]
            caption = f"The likeliest of {len(ranked):,} classes"
            table = html_table(("class", "probability"), rows, caption)
            self._answer.value = status(sentence) + table

    def _save(self) -> None:
        with problem_shown(self._saved, "Nothing was saved: "):
            name = self._name.value.strip().removesuffix(".safetensors")
            if not name:
                raise ValueError("type a file name first")
            path = beside_the_notebook(f"{name}.safetensors")
            if path.exists():
                raise ValueError(f"{path} is there already: delete it, or take another name")
            self._classifier.save(path)
            code = (
                "from helpers.classify import TextClassifier\n\n"
                f"classifier = TextClassifier.load({str(path)!r})\n"
                'classifier.classify("a text of your own")'
            )
            words = status(f"Saved: {path}. To use it:")
            self._saved.value = f"{words}<pre>{escape(code)}</pre>"


def probabilities_of(classifier: TextClassifier, texts: list[str]) -> torch.Tensor:
    """Return the probabilities (num_texts, num_classes), without a warning for truncated texts."""
    with warnings.catch_warnings(action="ignore"):
        return classifier.probabilities(texts)


def classes_table(split: Split) -> str:
    """Return how many texts each class has, in all and in each part: the largest classes first."""
    parts = (split.train, split.validation, split.test)
    counts = [np.bincount(part["Label"], minlength=len(split.labels)) for part in parts]
    table = np.array([sum(counts), *counts])  # (4, num_classes)
    order, rows = np.argsort(-table[0], kind="stable"), []
    for n in order[:MOST_CLASSES]:
        rows.append((split.labels[n], *(f"{count:,}" for count in table[:, n])))
    header = ("class", "texts", "to train with", "to validate with", "to test with")
    html = html_table(header, rows, "The classes")
    if len(order) > MOST_CLASSES:
        html += f"<p>and {len(order) - MOST_CLASSES:,} more</p>"
    return html
