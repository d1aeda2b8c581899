"""Your own texts and classes: gather a table, train a classifier, try it and save it.

The training is that of the command `python -m workshop train`.
"""

from collections.abc import Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from anywidget import AnyWidget
from ipywidgets import HTML, BoundedIntText, FileUpload, FloatText, Text, VBox
from traitlets import List, Unicode

from helpers.config import beside_the_notebook
from workshop import ASSETS
from workshop.class_measures import MOST_CLASSES, ClassMeasures
from workshop.own import (
    BAG,
    BALANCES,
    KEEPS,
    PLANS,
    Candidate,
    OwnClassifier,
    OwnSettings,
    OwnTraining,
    describe_test,
)
from workshop.pictures.charts import draw_class_matrix, draw_validation
from workshop.pictures.svg import Drawing, shortened
from workshop.tables import html_table, status
from workshop.texts import (
    KINDS,
    LABEL_NAMES,
    TEXT_NAMES,
    Split,
    counted,
    read_table,
    read_texts,
    split_stratified,
)
from workshop.widgets.parts import (
    Choice,
    CourseWidget,
    Folded,
    ask,
    button,
    html_fields,
    named,
    problem_shown,
    row,
)
from workshop.widgets.train_button import UNDER_WAY, TrainButton

MOST_TEXTS = 50  # of a cell of the matrix
LONGEST = 500  # characters of a text that are shown
NO_COLUMN = "choose a column"

GATHER = """
<b>1. Gather.</b> A table with a column of texts and one of labels: CSV, TSV, JSON lines or Parquet.
It stays on the computer that runs this notebook."""
TRAIN = """
<b>2. Train.</b> The bag of words is trained as soon as a table is read. GPT-2 takes minutes."""
TRY = "<b>3. Try.</b> Type a text, then Enter."
RESULTS = """
<b>How good is it?</b> Click a cell of the matrix to read its texts."""
TEST = """
The test texts are for the end: what you choose after you know this accuracy may fit them by chance.
"""


class OwnClasses(CourseWidget):
    """From a table of texts with labels to a classifier in a file, by a few clicks.

    `path` is a file to begin with, `model_name` the pretrained model. `table` and `split` hold what
    was read, `training` what was trained last, and `classifier` its result; each is None before.
    What can't be read or trained is said in the widget. Raises ValueError for an unknown model.
    """

    def __init__(self, path: str | Path | None = None, model_name: str = "gpt2-nano (12M)"):
        self._defaults = default = OwnSettings(model_name)  # refuses an unknown name
        self._uploads = TemporaryDirectory()  # deleted with the widget
        self._file = self.table = self.split = self.training = self.classifier = None

        upload = FileUpload(accept=",".join(KINDS), multiple=False, description="")
        upload.observe(lambda change: self._take_upload(change.new), "value")
        self._path = ask(Text, "oc-path", "or its path", continuous_update=False)
        self._path.observe(lambda change: self._open(change.new), "value")
        self._columns = row(css="oc-columns")
        self._keep = Choice("oc-keep", "Keep", KEEPS, default.keep)
        self._plan = Choice("oc-plan", "Train", PLANS, default.plan)
        self._balance = Choice("oc-balance", "Classes", BALANCES, default.balance)
        self._epochs = ask(
            BoundedIntText, "fx-epochs", "Epochs", value=default.epochs, min=1, max=100
        )
        self._lr = ask(FloatText, "fx-lr", "Learning rate", value=default.lr)
        more = VBox([self._plan, self._balance, row(self._epochs, self._lr)])
        self._button = TrainButton(self._make_training, self._end, self._draw)
        fields = html_fields("oc", "unread", "report", "classes", "baseline").values()
        self._unread, self._report, self._classes, self._baseline = fields
        self._results, self._use = VBox(), VBox()
        gather = [
            HTML(f"<p>{GATHER}</p>"),
            row(named(upload, "oc-upload"), self._path, css="oc-file"),
            self._columns,
            self._unread,
            self._report,
            self._classes,
        ]
        train = [
            HTML(f"<p>{TRAIN}</p>"),
            self._baseline,
            self._keep,
            Folded("more settings", more),
            self._button,
        ]
        boxes = [named(VBox(children), "oc-box") for children in (gather, train, [self._use])]
        super().__init__("own-classes", [row(*boxes), self._results])
        self._clear()
        if path is not None:
            self._path.value = str(path)

    # --- gather ---

    def _take_upload(self, value) -> None:
        if not value:
            return
        if isinstance(value, dict):  # ipywidgets 7 has a dictionary by name
            name, file = list(value.items())[-1]
        else:
            file = value[-1]
            name = file["name"]
        path = Path(self._uploads.name, Path(name).name)
        path.write_bytes(file["content"])
        self._path.value = ""
        self._open(str(path))

    def _open(self, path: str) -> None:
        """Offer the columns of the file `path`, and read it if their names tell which ones to use."""
        if not path.strip():
            return
        with problem_shown(self._unread):
            if self._button.training is not None:
                raise ValueError(UNDER_WAY)
            self._clear()
            self._columns.children = []
            self._file = Path(path.strip()).expanduser()
            first = next(read_table(self._file, []), pd.DataFrame())
            names, boxes = [str(name) for name in first.columns], []
            for kind, usual in (("text", TEXT_NAMES), ("label", LABEL_NAMES)):
                found = [name for name in names if name.strip().casefold() in usual.split()]
                box = Select(
                    label=f"{kind.title()}s in",
                    options=[NO_COLUMN, *names],
                    value=found[0] if len(found) == 1 else NO_COLUMN,
                )
                box.observe(lambda _: self._read(), "value")
                boxes.append(named(box, f"oc-{kind}-column"))
            self._columns.children = boxes
            self._read()

    def _clear(self) -> None:
        """Forget the table, and all that was trained on it."""
        self.table = self.split = self.training = self.classifier = None
        self._report.value = self._classes.value = self._baseline.value = ""
        self._results.children = []
        self._use.children = [HTML(f"<p>{TRY}</p>"), HTML("<p>First choose a table.</p>")]
        self._button.clear("GPT-2 has not been trained yet.")

    def _read(self) -> None:
        """Read the columns that are chosen, and train a bag of words."""
        with problem_shown(self._unread):
            if self._button.training is not None:
                raise ValueError(UNDER_WAY)
            self._clear()
            columns = [box.value for box in self._columns.children]
            if NO_COLUMN in columns or columns[0] == columns[1]:
                raise ValueError(
                    f"Choose the column of the texts of {self._file.name}, and that of the labels"
                )
            table = read_texts(self._file, *columns)
            self.split = split_stratified(table)
            self.table = table
            self._classes.value = classes_table(self.split)
            sentences = "".join(
                f"<li>{escape(line)}</li>" for line in table.report + self.split.report
            )
            self._report.value = f"<ul>{sentences}</ul>"
            self._button.say("A bag of words is being trained.")
            training = OwnTraining(self.split, replace(self._defaults, keep=BAG))
            self._baseline.value = "".join(status(line) for line in training.report())
            self._show(training)

    # --- train ---

    def _make_training(self) -> tuple[OwnTraining, int]:
        if self.split is None:
            raise ValueError("There is no table yet: choose a file first")
        settings = replace(
            self._defaults,
            keep=self._keep.value,
            plan=self._plan.value,
            balance=self._balance.value,
            epochs=self._epochs.value,
            lr=self._lr.value,
        )
        training = OwnTraining(self.split, settings)
        self._accuracy_of_bag = training.candidates()[BAG].accuracy
        return training, 1

    def _draw(self, histories: Sequence, epochs: int, _) -> Drawing:
        return draw_validation(histories[-1], epochs, self._accuracy_of_bag)

    def _end(self, training: OwnTraining) -> None:
        """Show which classifier is kept, even where the training was stopped."""
        about, sentence = {}, ""
        if self._button.histories:
            (history,) = self._button.histories
            num_epochs, asked = len(history.val_accs), training.settings.epochs
            if num_epochs < asked:
                whole = f"after {counted(num_epochs, 'whole epoch')} of {asked}"
                about["interrupted"], sentence = whole, f"Stopped {whole}. "
            if not num_epochs:
                training.model = None  # its head is still random
        self._show(training, about, sentence)

    def _show(self, training: OwnTraining, about=None, sentence: str = "") -> None:
        """Show the classifier that a training keeps, and let it be tried."""
        folder = beside_the_notebook("")
        self.classifier, candidate, choice = training.finish(self.table, folder, about)
        self.training = training
        self._button.say(sentence + choice)
        self._results.children = [Results(self.classifier, candidate, self.split, self._file)]
        self._use.children = [Try(self.classifier, f"{Path(self.table.source).stem}.safetensors")]

    def static_form(self) -> tuple[str, str, str]:
        """Return the matrix, what was read and chosen as tables, and text."""
        if self.classifier is None:
            return "", "<p>No table has been read yet.</p>", "no table has been read yet"
        drawing = self._results.children[0].drawing
        html = self._report.value + self._classes.value + self._baseline.value
        choice = self.classifier.about["choice"]
        words = "\n".join((*self.table.report, *self.split.report, choice, drawing.words))
        return drawing.svg, html + status(choice), words


class Select(AnyWidget):
    """A drop-down list whose arrow keys work in JupyterLab, too; `value` is one of `options`."""

    _esm = (ASSETS / "select.mjs").read_text(encoding="utf-8")
    label = Unicode().tag(sync=True)
    options = List().tag(sync=True)
    value = Unicode().tag(sync=True)


# --- results --------------------------------------------------------------------------------------


class Matrix(AnyWidget):
    """A confusion matrix whose cells are buttons.

    `table` has a row of counts for each correct class. `cell` holds the indices of the correct and
    the predicted class of the cell that was clicked last.
    """

    _esm = (ASSETS / "matrix.mjs").read_text(encoding="utf-8")
    labels = List().tag(sync=True)
    table = List().tag(sync=True)
    caption = Unicode().tag(sync=True)
    cell = List().tag(sync=True)


class Results(VBox):
    """The confusion matrix of the validation texts, the texts of a cell, and a button for the test.

    `candidate` is the classifier on the validation texts of `split`; the table is the file `path`.
    `drawing` is the matrix where nothing is live.
    """

    def __init__(self, classifier: OwnClassifier, candidate: Candidate, split: Split, path: Path):
        self._classifier, self._labels, self._path = classifier, split.labels, path
        best = candidate.logits.softmax(dim=-1).max(dim=-1)
        texts = split.validation.assign(predicted=best.indices.numpy(), confidence=best.values)
        self._texts = texts.sort_values("confidence", ascending=False, kind="stable")
        figures = ClassMeasures(split.labels, texts["Label"], texts["predicted"])
        self.drawing = draw_class_matrix(figures)

        order = np.argsort(-figures.table.sum(axis=1), kind="stable")
        self._shown = np.sort(order[:MOST_CLASSES])  # the largest classes
        counts = figures.table[np.ix_(self._shown, self._shown)]
        mistakes = counts - np.diag(counts.diagonal())
        first = np.unravel_index(mistakes.argmax(), counts.shape)
        self.matrix = Matrix(
            labels=[shortened(split.labels[i]) for i in self._shown],
            table=counts.tolist(),
            caption=f"{counted(figures.total, 'validation text')}, {figures.right:,} predicted "
            f"correctly by the {classifier.kind}",
            cell=[int(index) for index in first],
        )
        self.matrix.observe(lambda _: self._show_cell(), "cell")
        self._list, self._test = html_fields("oc", "texts", "test").values()
        self._show_cell()
        super().__init__(
            [
                HTML(f"<p>{RESULTS}</p>"),
                row(named(self.matrix, "oc-matrix"), self._list),
                row(
                    button("fx-more oc-measure", "Measure on the test texts", self._measure),
                    HTML(f"<p>{TEST}</p>"),
                    css="oc-measure-row",
                ),
                self._test,
            ]
        )

    def _show_cell(self) -> None:
        """Show the texts of the cell, the most confident predictions first."""
        correct, predicted = (self._shown[index] for index in self.matrix.cell)
        texts = self._texts
        texts = texts[(texts["Label"] == correct) & (texts["predicted"] == predicted)]
        heading = status(
            f"{self._labels[correct]} predicted as {self._labels[predicted]}: "
            f"{counted(len(texts), 'text')}, with the probability of the prediction."
        )
        items = ""
        for text in texts[:MOST_TEXTS].itertuples():
            shown = escape(shortened(text.Text, LONGEST))
            items += f"<li><b>{text.confidence:.2f}</b> {shown}</li>"
        self._list.value = f"{heading}<ul>{items}</ul>"

    def _measure(self) -> None:
        """Show how good the classifier is on the test texts, and note that they were seen."""
        with problem_shown(self._test):
            folder = beside_the_notebook("")
            first, tables, last = describe_test(self._classifier, self._path, folder)
            self._test.value = f"{status(first)}<pre>{escape(tables)}</pre><p>{escape(last)}</p>"


def classes_table(split: Split) -> str:
    """Return how many texts each class has in each part: the largest classes first."""
    parts = (split.train, split.validation, split.test)
    counts = [np.bincount(part["Label"], minlength=len(split.labels)) for part in parts]
    table = np.array([sum(counts), *counts])  # (4, num_classes)
    order, rows = np.argsort(-table[0], kind="stable"), []
    for n in order[:MOST_CLASSES]:
        rows.append((split.labels[n], *(f"{count:,}" for count in table[:, n])))
    header = ("class", "texts", "training", "validation", "test")
    caption = f"{counted(table[0].sum(), 'text')} in {len(order):,} classes"
    if len(order) > MOST_CLASSES:
        caption += f", of which the {MOST_CLASSES} largest"
    return html_table(header, rows, caption)


# --- try ------------------------------------------------------------------------------------------


class Try(VBox):
    """A box to try a classifier on a text, and a button that saves it, at first as `name`."""

    def __init__(self, classifier: OwnClassifier, name: str):
        self._classifier = classifier
        self._text = ask(Text, "fx-text", "Your own text", continuous_update=False)
        self._text.observe(lambda _: self._classify(), "value")
        self._name = ask(Text, "oc-name", "File name", value=name)
        save = button("fx-more oc-save", "Save", self._save)
        self._answer, self._saved = html_fields("oc", "answer", "saved").values()
        super().__init__(
            [
                HTML(f"<p>{TRY}</p>"),
                self._text,
                self._answer,
                row(self._name, save),
                self._saved,
            ]
        )

    def _classify(self) -> None:
        """Show the probabilities of the classes, the largest first."""
        classifier, text = self._classifier, self._text.value
        with problem_shown(self._answer):
            (probabilities,) = classifier.probabilities([text])
            order = probabilities.argsort(descending=True)[:MOST_CLASSES].tolist()
            best = classifier.labels[order[0]]
            sentence = f"The {classifier.kind} predicts {best}."
            if classifier.is_truncated([text])[0]:
                sentence += f" GPT-2 reads only the first {classifier.gpt2.max_length:,} tokens."
            rows = ""
            for number in order:
                label = escape(shortened(classifier.labels[number]))
                percent = f"{probabilities[number]:.1%}"
                bar = f'<div style="width:{percent}"></div>'
                rows += f'<tr><th scope="row">{label}</th><td>{percent}</td><td>{bar}</td></tr>'
            self._answer.value = (
                f"{status(sentence)}<table><caption>The most probable classes</caption>"
                f"<tbody>{rows}</tbody></table>"
            )

    def _save(self) -> None:
        with problem_shown(self._saved, "Nothing was saved: "):
            name = self._name.value.strip().removesuffix(".safetensors")
            if not name:
                raise ValueError("type a file name first")
            path = beside_the_notebook(f"{name}.safetensors")
            if path.exists():
                raise ValueError(f"{path} exists already: delete it, or type another name")
            self._classifier.save(path)
            code = (
                "from workshop.own import OwnClassifier\n\n"
                f"classifier = OwnClassifier.load({str(path)!r})\n"
                'classifier.classify("a text of your own")'
            )
            self._saved.value = f"{status(f'Saved: {path}. To use it:')}<pre>{escape(code)}</pre>"
