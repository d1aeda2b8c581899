"""Your own texts and classes: choose a table, train, see which mistakes are left, save.

The training is that of the command `python -m workshop train`.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
import torch
from ipywidgets import HTML, BoundedIntText, FileUpload, FloatText, Text, VBox

from helpers.classify import TextClassifier
from helpers.config import beside_the_notebook
from helpers.data import pad
from helpers.tokenizer import encode_message
from helpers.training import POSITIONS
from workshop.fast import fast_logits
from workshop.own import (
    BALANCES,
    MOST_CLASSES,
    PLANS,
    THIS,
    ClassFigures,
    OwnSettings,
    OwnTraining,
    class_table,
    compare,
    summary_table,
)
from workshop.pictures.charts import draw_class_matrix
from workshop.pictures.svg import Drawing
from workshop.tables import alert, html_table, status
from workshop.texts import KINDS, Split, TextTable, counted, read_texts, split_stratified
from workshop.widgets.parts import (
    Choice,
    Folded,
    Quiet,
    TextList,
    ask,
    button,
    display_with_static_form,
    html_fields,
    named,
    problem_shown,
    row,
    style_sheet,
)
from workshop.widgets.train_button import UNDER_WAY, WHERE, TrainButton

ANSWERED_AT_ONCE = 64  # test texts in a slice


MOST_FIELDS = 20  # with mistakes, that have a button


LONGEST, LONGEST_NAME = 500, 40  # characters of a text, and of a class on a button, that are shown


HOW_TO_CHOOSE = (
    "<b>1. The texts.</b> A table with a column of texts and one of labels, as CSV, TSV, JSON lines "
    "or Parquet. Type its path, or choose a file of a few megabytes on your own computer. Nothing "
    "is sent anywhere else than to this notebook's kernel."
)


HOW_TO_TRAIN = "<b>2. The training.</b> What is set already is a good beginning."


HOW_GOOD = (
    "<b>3. How good is it?</b> Each row is of one class, each column of what the texts were called."
)


HOW_TO_READ = "<b>Press a field</b> to read its texts: correct class → called class, and how many."


HOW_TO_TRY = "<b>4. Try it.</b> Type a text of your own and press Enter."


HOW_TO_SAVE = "<b>5. Save it.</b> One file holds all that is needed to use it."


class OwnClasses(VBox):
    """From a table of texts with labels to a classifier in a file, by a few clicks.

    `path` is a file to begin with, `model_name` the pretrained model, `folder` where the classifier
    is saved (None: where the notebook is). `table` and `split` hold what was read, `training` what
    was trained last, `classifier` its result, and `figures` how good that is, by name (as `compare`
    returns them); each is None before. What can't be read or trained is said in the widget. Raises
    ValueError for an unknown model.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        model_name: str = "gpt2-nano (12M)",
        folder: str | Path | None = None,
    ):
        default = self._defaults = OwnSettings(model_name)  # refuses an unknown name
        self._folder = folder
        self.table: TextTable | None = None
        self.split: Split | None = None
        self._last_read: TextTable | None = None  # the table of the results
        self._uploaded: tuple[str, bytes] | None = None
        self._quiet = Quiet()

        self._path = ask(Text, "oc-path", "Path", placeholder="texts.csv", continuous_update=False)
        upload = FileUpload(accept=",".join(KINDS), multiple=False, description="Choose a file")
        upload.observe(lambda change: self._take_upload(change["new"]), "value")
        read = button("fx-more oc-read", "Read the table", self._read)
        self._boxes = [
            ask(Text, f"oc-{name}-column", f"Column of the {name}s", continuous_update=False)
            for name in ("text", "label")
        ]
        self._columns = row(css="oc-columns")  # empty until the boxes are needed
        self._path.observe(self._change_path, "value")
        for box in self._boxes:
            box.observe(self._change_column, "value")
        show = self._html = html_fields(
            "oc", "unread", "report", "classes", "where", "balance-in-words"
        )
        self._plan = Choice("oc-plan", "Train", PLANS, default.plan)
        self._position = Choice(
            "oc-position", "Classify at", POSITIONS, default.position, self._show_position
        )
        self._balance = Choice(
            "oc-balance", "Classes", BALANCES, default.balance, self._show_balance
        )
        self._show_position(default.position)
        self._show_balance(default.balance)
        self._epochs = ask(
            BoundedIntText, "fx-epochs", "Epochs", value=default.epochs, min=1, max=100
        )
        self._lr = ask(FloatText, "fx-lr", "Learning rate", value=default.lr)
        self._button = TrainButton(self._make_training, self._end, "texts")
        self._results = named(VBox(), "oc-results")
        super().__init__(
            [
                style_sheet(),
                HTML(f"<p>{HOW_TO_CHOOSE}</p>"),
                row(self._path, read, named(upload, "oc-upload"), css="oc-file"),
                show["unread"],
                self._columns,
                row(show["report"], show["classes"]),
                HTML(f"<p>{HOW_TO_TRAIN}</p>"),
                self._plan,
                row(self._position, show["where"], css="oc-chosen"),
                row(self._balance, show["balance-in-words"], css="oc-chosen"),
                row(self._epochs, self._lr),
                self._button,
                self._results,
            ]
        )
        named(self, "fx-widget own-classes")
        self._put_results_away("Nothing has been trained yet.")
        if path is not None:
            self.read(path)

    @property
    def settings(self) -> OwnSettings:
        """What is chosen. Raises ValueError where a control holds what can't be."""
        return OwnSettings(
            self._defaults.model,
            self._plan.chosen,
            self._position.chosen,
            self._balance.chosen,
            self._epochs.value,
            lr=self._lr.value,
        )

    @property
    def drawing(self) -> Drawing | None:
        """The confusion matrix of the test texts; None before a training has been measured."""
        return self.figures and draw_class_matrix(self.figures[THIS])

    def _show_position(self, name: str) -> None:
        self._html["where"].value = escape(WHERE[name])

    def _show_balance(self, name: str) -> None:
        self._html["balance-in-words"].value = escape(BALANCES[name])

    # --- the table ---

    def read(self, path: str | Path, text: str | None = None, label: str | None = None) -> None:
        """Read a table as the button does; `text` and `label` name the columns.

        What can't be read is said in the widget.
        """
        self._uploaded = None
        self._fill_boxes(str(path), text, label)
        self._read()

    def _change_path(self, _) -> None:
        if not self._quiet and self._path.value.strip():
            self.read(self._path.value)

    def _change_column(self, _) -> None:
        if not self._quiet:
            self._read()

    def _take_upload(self, value) -> None:
        self._uploaded = uploaded_file(value)
        if self._uploaded is not None:
            self._fill_boxes("")
            self._read()

    def _fill_boxes(self, path: str, text: str | None = None, label: str | None = None) -> None:
        """Show a path, and the names of the two columns if there are any."""
        with self._quiet():
            self._path.value = path
            self._boxes[0].value, self._boxes[1].value = text or "", label or ""
        self._columns.children = self._boxes if text or label else []

    def _read(self) -> None:
        """Read what is chosen; until that has worked, there is no table that could be trained on."""
        if self._button.training is not None:
            self._html["unread"].value = alert(UNDER_WAY)
            return
        self.table = self.split = None
        self._html["report"].value = self._html["classes"].value = ""
        with problem_shown(self._html["unread"]):
            table = self._read_table()
            self.split = split_stratified(table, seed=self._defaults.seed)
            self.table = table
            self._html["report"].value = report_list(table, self.split)
            self._html["classes"].value = classes_table(self.split)
            if not _same_table(table, self._last_read):
                self._put_results_away("Nothing has been trained on this table yet.")
            self._last_read = table
        if "column" in self._html["unread"].value:
            self._columns.children = self._boxes

    def _read_table(self) -> TextTable:
        names = [box.value.strip() or None for box in self._boxes]
        if self._uploaded is None:
            path = self._path.value.strip()
            if not path:
                raise ValueError("There is no path yet: type one, or choose a file")
            return read_texts(os.path.expanduser(path), *names)
        name, content = self._uploaded
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, Path(name).name)
            file.write_bytes(content)
            try:
                return read_texts(file, *names)
            except (OSError, ValueError) as error:  # the learner knows no such folder
                raise ValueError(str(error).replace(f"{folder}{os.sep}", "")) from error

    # --- a training ---

    def train(self) -> dict[str, ClassFigures] | None:
        """Return the figures of a training as by a click, but whole, before the next line of code.

        None where it was interrupted, or could not begin or come to its end.
        """
        before = self.figures
        self._button.train()
        return None if self.figures is before else self.figures

    def _make_training(self) -> tuple[OwnTraining, int]:
        if self.split is None:
            raise ValueError("There is no table yet: type a path or choose a file first")
        training = OwnTraining(self.split, self.settings)
        self._put_results_away("")
        self.training = training
        return training, 1

    def _put_results_away(self, sentence: str) -> None:
        self.training: OwnTraining | None = None
        self.classifier: TextClassifier | None = None
        self.figures: dict[str, ClassFigures] | None = None
        self._results.children = []
        self._button.clear(sentence)

    def _end(self, training: OwnTraining) -> Iterator[None] | None:
        """Make a classifier of what was trained, and return the slices in which it is measured."""
        epochs = sum(len(history.val_accs) for history in self._button.histories)
        if not epochs:
            self._button.say("Stopped before the end of the first epoch: nothing has been trained.")
            return None
        about = {"trained on": f"{self.table.source}, {counted(len(self.split.train), 'text')}"}
        stopped = ""
        if epochs < training.settings.epochs:
            whole = counted(epochs, "whole epoch")
            about["interrupted"] = f"after {whole} of {training.settings.epochs}"
            stopped = f"Stopped: the model has the weights of {whole}. "
        self.classifier = training.classifier(about)
        return self._measure(stopped)

    def _measure(self, before: str) -> Iterator[None]:
        """Answer the test texts in slices, and show how good the classifier is."""
        show, split = self._button, self.split
        texts = split.test["Text"].tolist()
        answered, self._num_cut, measured = [], 0, []
        outcome = "How good it is was not measured."
        show.say(f"{before}The test texts are being answered.")
        show.stopped = False
        with problem_shown(show.problem):
            try:
                while len(answered) < len(texts) and not show.stopped:
                    done = len(answered)
                    words = f"Test texts answered: {done} of {len(texts)}."
                    show.show_bar(done / len(texts), words)
                    next_texts = texts[done : done + ANSWERED_AT_ONCE]
                    probabilities, num_cut = answers(self.classifier, next_texts)
                    answered.extend(probabilities)
                    self._num_cut += num_cut
                    yield
            except KeyboardInterrupt:
                show.stopped = True
            if not show.stopped:
                probabilities = torch.stack(answered).numpy()  # (num_test, num_classes)
                predicted = probabilities.argmax(axis=1)
                self.figures = compare(split.labels, split.train, split.test, predicted)
                each = class_table(self.figures[THIS])
                self.classifier.about["figures"] = f"{summary_table(self.figures)}\n\n{each}"
                outcome = comparison_sentence(self.figures)
                summary = HTML(summary_html(self.figures, self._num_cut))
                matrix = named(HTML(self.drawing.svg), "oc-matrix")
                each = named(HTML(f"<pre>{escape(each)}</pre>"), "oc-each")
                measured = [
                    HTML(f"<p>{HOW_GOOD}</p>"),
                    row(matrix, named(summary, "oc-summary")),
                    Folded("the figures of each class", each),
                    Mistakes(split, self.figures[THIS].table, probabilities),
                ]
        show.say(before + outcome)
        name = f"{Path(self.table.source).stem}.safetensors"
        self._results.children = [*measured, UseIt(self.classifier, name, self._folder)]

    def _ipython_display_(self, **_) -> None:
        svg, html, words = "", "<p>No table has been read yet.</p>", ["no table has been read yet"]
        if self.table is not None:
            html = self._html["report"].value + self._html["classes"].value
            words = ["\n".join((*self.table.report, *self.split.report))]
        if self.table is not None and self.figures is not None:
            svg, each = self.drawing.svg, class_table(self.figures[THIS])
            html += f"{summary_html(self.figures, self._num_cut)}<pre>{escape(each)}</pre>"
            words += [summary_table(self.figures), each, self.drawing.words]
        display_with_static_form(self, svg, html, "\n\n".join(words))


class Mistakes(VBox):
    """A button for each field of the confusion matrix with mistakes; below them the field's texts.

    `table` (num_classes, num_classes) counts the test texts by correct and predicted class, and
    `probabilities` are (num_test, num_classes).
    """

    def __init__(self, split: Split, table: np.ndarray, probabilities: np.ndarray):
        self._split, self._probabilities = split, probabilities
        self._names = [_shorten(label, LONGEST_NAME) for label in split.labels]
        fields = [(i, j) for i, j in np.argwhere(table).tolist() if i != j]
        fields.sort(key=lambda field: -table[field])
        super().__init__()
        if not fields:
            self.children = [HTML("<p>No test text was called wrong.</p>")]
            return
        self._fields = {}
        for i, j in fields[:MOST_FIELDS]:
            name = f"{self._names[i]} → {self._names[j]}: {table[i, j]}"
            if name in self._fields:
                name += f" ({i}, {j})"
            self._fields[name] = (i, j)
        how = HOW_TO_READ
        if len(fields) > MOST_FIELDS:
            rest = fields[MOST_FIELDS:]
            mistakes = counted(sum(int(table[field]) for field in rest), "mistake")
            how += f" {counted(len(rest), 'field')} more with {mistakes} have no button."
        self._list = TextList("oc", self._heading, self._lines)
        choice = Choice("oc-field", "Mistakes", self._fields, on_choose=self._show_field)
        self.children = [HTML(f"<p>{how}</p>"), choice, self._list]

    def _show_field(self, name: str) -> None:
        self._field = i, j = self._fields[name]
        labels = self._split.test["Label"].to_numpy()
        self._list.show(field_of(labels, self._probabilities, i, j))

    def _heading(self, shown: int, total: int) -> str:
        correct, called = (self._names[number] for number in self._field)
        return status(
            f"{correct}, called {called}: {shown} of {counted(total, 'text')}, "
            f"each behind its probability of {called}, the surest first."
        )

    def _lines(self, rows: Sequence[int]) -> list[HTML]:
        items = []
        for i in rows:
            text = escape(_shorten(self._split.test["Text"].iloc[i], LONGEST))
            items.append(f"<li><b>{self._probabilities[i, self._field[1]]:.3f}</b> {text}</li>")
        return [HTML(f"<ul>{''.join(items)}</ul>")]


class UseIt(VBox):
    """A box to try a classifier on a text, and a button that saves it, at first as `name`."""

    def __init__(self, classifier: TextClassifier, name: str, folder: str | Path | None):
        self._classifier, self._folder = classifier, folder
        self._text = ask(Text, "fx-text", "Your own text", continuous_update=False)
        self._text.observe(lambda _: self._answer(), "value")
        self._name = ask(Text, "oc-name", "File name", value=name)
        self._name.observe(lambda _: self._offer_to_replace(False), "value")
        self._save_button = button("fx-more oc-save", "Save", self._save)
        self._replace = button(
            "fx-more oc-replace", "Replace the file", lambda: self._save(replace=True)
        )
        self._save_row = row(css="oc-save-row")
        self._html = html_fields("oc", "answer", "saved")
        self._offer_to_replace(False)
        super().__init__(
            [
                HTML(f"<p>{HOW_TO_TRY}</p>"),
                row(self._text),
                self._html["answer"],
                HTML(f"<p>{HOW_TO_SAVE}</p>"),
                self._save_row,
                self._html["saved"],
            ]
        )

    def _answer(self) -> None:
        with problem_shown(self._html["answer"]):
            if self._text.value.strip():
                (probabilities,), num_cut = answers(self._classifier, [self._text.value])
                cut = self._classifier.max_length if num_cut else 0
                html = answer_html(self._classifier.labels, probabilities.tolist(), cut)
                self._html["answer"].value = html

    def _offer_to_replace(self, offer: bool) -> None:
        more = [self._replace] if offer else []
        self._save_row.children = [self._name, self._save_button, *more]

    def _save(self, replace: bool = False) -> None:
        self._offer_to_replace(False)
        with problem_shown(self._html["saved"], "Nothing was saved: "):
            name = self._name.value.strip()
            if not name.strip(".") or name != Path(name).name or "\\" in name:
                raise ValueError(f"give a file name without a folder, not {name!r}")
            if not name.endswith(".safetensors"):
                name += ".safetensors"
            path = beside_the_notebook(name)
            if self._folder is not None:
                path = Path(self._folder, name)
            if path.exists() and not replace:
                self._offer_to_replace(True)
                words = f"{path} is there already: press Replace the file, or take another name."
                self._html["saved"].value = alert(words)
                return
            self._classifier.save(path)
            code = (
                "from helpers.classify import TextClassifier\n\n"
                f"classifier = TextClassifier.load({str(path)!r})\n"
                'classifier.classify("a text of your own")'
            )
            words = status(f"Saved: {path}. To use it:")
            self._html["saved"].value = f"{words}<pre>{escape(code)}</pre>"


def uploaded_file(value) -> tuple[str, bytes] | None:
    """Return name and content of a FileUpload's file; None where there is none.

    Its value is a dictionary by name in ipywidgets 7, a tuple of dictionaries in 8.
    """
    if not value:
        return None
    if isinstance(value, Mapping):
        name, file = list(value.items())[-1]
    else:
        file = value[-1]
        name = file["name"]
    return name, bytes(file["content"])


def answers(classifier: TextClassifier, texts: list[str]) -> tuple[torch.Tensor, int]:
    """Return the probabilities (num_texts, num_classes), and how many texts were truncated."""
    encoded = [encode_message(text, classifier.tokenizer) for text in texts]
    length = classifier.max_length
    logits = fast_logits(classifier, [pad(token_ids, length) for token_ids in encoded])
    return logits.softmax(dim=-1), sum(len(token_ids) > length for token_ids in encoded)


def field_of(labels: np.ndarray, probabilities: np.ndarray, i: int, j: int) -> list[int]:
    """Return the rows of class i that are predicted as j, the most confident first."""
    inside = np.flatnonzero((labels == i) & (probabilities.argmax(axis=1) == j))
    return inside[np.argsort(-probabilities[inside, j], kind="stable")].tolist()


def _same_table(table: TextTable, other: TextTable | None) -> bool:
    if other is None or (table.source, table.labels) != (other.source, other.labels):
        return False
    return table.frame.equals(other.frame)


# --- in words and tables --------------------------------------------------------------------------


def _shorten(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def report_list(table: TextTable, split: Split) -> str:
    """Return what was found in the table, and how it was split, as an HTML list."""
    texts = counted(len(table.frame), "text")
    read = status(f"Read: {texts} in {len(table.labels):,} classes, from {table.source}.")
    items = "".join(f"<li>{escape(words)}</li>" for words in (*table.report, *split.report))
    return f"{read}<ul>{items}</ul>"


def classes_table(split: Split) -> str:
    """Return how many texts each class has, in all and in each part: the largest classes first."""
    counts = np.array(
        [
            np.bincount(part["Label"], minlength=len(split.labels))
            for part in (split.train, split.validation, split.test)
        ]
    )  # (3, num_classes)
    totals = counts.sum(axis=0)
    order = np.argsort(-totals, kind="stable")
    rows = []
    for n in order[:MOST_CLASSES]:
        name = _shorten(split.labels[n], LONGEST_NAME)
        rows.append((name, *(f"{count:,}" for count in (totals[n], *counts[:, n]))))
    header = ("class", "texts", "to train with", "to validate with", "to test with")
    table = html_table(header, rows, "The classes")
    rest = order[MOST_CLASSES:]
    if not len(rest):
        return table
    texts = counted(int(totals[rest].sum()), "text")
    return f"{table}<p>and {len(rest):,} more, with {texts}</p>"


def summary_html(figures: Mapping[str, ClassFigures], num_cut: int = 0) -> str:
    """Return the figures of each way to answer the test texts as an HTML table."""
    rows = []
    for name, one in figures.items():
        low, high = one.interval
        numbers = (f"{one.right:,}", f"{one.accuracy:.3f}", f"{low:.3f} – {high:.3f}")
        rows.append((_shorten(name, 2 * LONGEST_NAME), *numbers, f"{one.macro_f1:.3f}"))
    total = counted(figures[THIS].total, "test text")
    header = ("what", "right", "accuracy", "95 %", "macro-F1")
    table = html_table(header, rows, f"On {total}, which the training has not met")
    if not num_cut:
        return table
    were = f"{num_cut:,} are longer than the longest training text and were"
    if num_cut == 1:
        were = "1 is longer than the longest training text and was"
    return f"{table}<p>Of the test texts {were} cut to its length.</p>"


def comparison_sentence(figures: Mapping[str, ClassFigures]) -> str:
    """Return in a sentence how many test texts each way to answer gets right."""
    total = counted(figures[THIS].total, "test text")
    others = [
        f"{_shorten(name, 2 * LONGEST_NAME)} {other.right:,}"
        for name, other in figures.items()
        if name != THIS
    ]
    return f"Done: of {total} {THIS} gets {figures[THIS].right:,} right; {', '.join(others)}."


def answer_html(labels: Sequence[str], probabilities: Sequence[float], cut: int = 0) -> str:
    """Return an answer with all probabilities, the largest first; `cut` tokens were read, 0 for all."""
    order = sorted(range(len(labels)), key=lambda n: -probabilities[n])[:MOST_CLASSES]
    rows = [(_shorten(labels[n], LONGEST_NAME), f"{probabilities[n]:.3f}") for n in order]
    caption = "The probabilities of the classes"
    if len(labels) > MOST_CLASSES:
        caption = f"The {MOST_CLASSES} likeliest of {len(labels):,} classes"
    best = f"Answer: {rows[0][0]}, with probability {rows[0][1]}."
    if cut:
        best += f" Only the first {cut} tokens were read."
    return status(best) + html_table(("class", "probability"), rows, caption)
