"""One's own texts, one's own classes: choose a table, train, see which mistakes are left, save.

The table is read by `helpers.data`, the training is `helpers.own_training`'s, as in the command
`python -m workshop train`.
"""

import os
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from html import escape
from pathlib import Path

import torch
from ipywidgets import HTML, BoundedIntText, Button, FileUpload, FloatText, HBox, Text, VBox

from helpers.classify import TextClassifier
from helpers.config import beside_the_notebook
from helpers.data import pad
from helpers.tokenizer import encode_message
from helpers.training import POSITIONS
from workshop.fast import History, Progress
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
from workshop.tables import html_table
from workshop.texts import KINDS, Split, TextTable, read_texts, split_stratified
from workshop.texts import counted as count_of
from workshop.widgets.parts import Choice, Folded, Quiet, ask, named, show_with_words, style_sheet
from workshop.widgets.train_button import (
    FAILURES,
    UNDER_WAY,
    WHERE,
    TrainsInSlices,
    alert,
    problem,
    say_progress,
    status,
)

ANSWERED_AT_ONCE = 64  # test texts in a slice


SHOWN = 10  # texts of a field at first, and more at a press


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


STAYS = "What is shown below is the table that was read before."


HOW_TO_TRY = "<b>4. Try it.</b> Type a text of your own and press Enter."


HOW_TO_SAVE = "<b>5. Save it.</b> One file holds all that is needed to use it."


class OwnClasses(TrainsInSlices):
    """From a table of texts with labels to a classifier in a file, by a few presses.

    `path` is a file to begin with, `model_name` the pretrained model, `folder` where the classifier
    is saved (None: where the notebook is). `table` and `split` hold what was read, `training` what
    was trained last, `classifier` what came of it, and `figures` how good it is, by name (as
    `compare` returns them); each is None before. What can't be read or trained is said in the
    widget. Raises ValueError for an unknown model.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        model_name: str = "gpt2-nano (12M)",
        folder: str | Path | None = None,
    ):
        self._defaults = OwnSettings(model_name)  # refuses an unknown name
        self._folder = None if folder is None else Path(folder)
        self.table: TextTable | None = None
        self.split: Split | None = None
        self._uploaded: tuple[str, bytes] | None = None
        self._asked: tuple | None = None  # what was read last, and from which columns
        self._quiet = Quiet()
        self._forget_training()
        self._make_training_controls()
        self._make_controls()
        super().__init__(self._arranged())
        named(self, "fx-widget own-classes")
        self._say("Nothing has been trained yet.")
        if path is not None:
            self.read(path)

    def _forget_training(self) -> None:
        self._run: _Run | None = None
        self.classifier: TextClassifier | None = None
        self.figures: dict[str, ClassFigures] | None = None
        self._probabilities: torch.Tensor | None = None  # (num_test, num_classes)
        self._num_cut = 0  # test texts longer than what the classifier reads
        self._fields: dict[str, tuple[int, int]] = {}
        self._field: tuple[int, int] | None = None
        self._shown = SHOWN
        self._offered: Path | None = None  # a file that is there, to be replaced at a press

    def _make_controls(self) -> None:
        self._path = ask(Text, "oc-path", "Path", placeholder="texts.csv", continuous_update=False)
        self._upload = named(
            FileUpload(accept=",".join(KINDS), multiple=False, description="Choose a file"),
            "oc-upload",
        )
        self._read_button = named(Button(description="Read the table"), "fx-more oc-read")
        boxes = {"text": "Column of the texts", "label": "Column of the labels"}
        self._columns = {
            name: ask(Text, f"oc-{name}-column", words, continuous_update=False)
            for name, words in boxes.items()
        }
        self._columns_row = named(HBox(), "fx-wrap oc-columns")
        names = ("unread", "report", "classes", "where", "balance-in-words", "summary", "matrix",
                 "each", "heading", "texts", "answer", "saved")  # fmt: skip
        self._show |= {name: named(HTML(), f"oc-{name}") for name in names}

        default = self._defaults
        self._plan = Choice("oc-plan", "Train", PLANS, lambda name: self._plan.choose(name))
        self._position = Choice("oc-position", "Classify at", POSITIONS, self._choose_position)
        self._balance = Choice("oc-balance", "Classes", BALANCES, self._choose_balance)
        self._epochs = ask(
            BoundedIntText, "fx-epochs", "Epochs", value=default.epochs, min=1, max=100
        )
        self._lr = ask(FloatText, "fx-lr", "Learning rate", value=default.lr)
        self._plan.choose(default.plan)
        self._choose_position(default.position)
        self._choose_balance(default.balance)

        self._results = named(VBox(), "oc-results")
        self._more = named(Button(), "fx-more oc-more")
        self._text = ask(Text, "fx-text", "Your own text", continuous_update=False)
        self._name = ask(Text, "oc-name", "File name")
        self._save_button = named(Button(description="Save"), "fx-more oc-save")
        self._replace = named(Button(description="Replace the file"), "fx-more oc-replace")
        self._save_row = named(HBox([self._name, self._save_button]), "fx-wrap oc-save-row")

        self._path.observe(self._change_path, "value")
        for box in self._columns.values():
            box.observe(self._change_columns, "value")
        self._upload.observe(self._take_upload, "value")
        self._read_button.on_click(lambda _: self._read())
        self._more.on_click(lambda _: self._show_more())
        self._text.observe(lambda _: self._answer(), "value")
        self._name.observe(lambda _: self._offer_to_replace(None), "value")
        self._save_button.on_click(lambda _: self._press_save())
        self._replace.on_click(lambda _: self._press_save(replace=True))

    def _arranged(self) -> list:
        show = self._show
        return [
            style_sheet(),
            HTML(f"<p>{HOW_TO_CHOOSE}</p>"),
            named(HBox([self._path, self._read_button, self._upload]), "fx-wrap oc-file"),
            show["unread"],
            self._columns_row,
            named(HBox([show["report"], show["classes"]]), "fx-wrap"),
            HTML(f"<p>{HOW_TO_TRAIN}</p>"),
            self._plan,
            named(HBox([self._position, show["where"]]), "fx-wrap oc-chosen"),
            named(HBox([self._balance, show["balance-in-words"]]), "fx-wrap oc-chosen"),
            named(HBox([self._epochs, self._lr]), "fx-wrap"),
            *self._training_controls(),
            self._results,
        ]

    # --- the state ---

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
    def training(self) -> OwnTraining | None:
        """What is trained, or was last; None before."""
        return self._run and self._run.training

    @property
    def drawing(self) -> Drawing | None:
        """The confusion matrix of the test texts; None before a training has been measured."""
        return self.figures and draw_class_matrix(self.figures[THIS])

    # --- the table ---

    def read(self, path: str | Path, text: str | None = None, label: str | None = None) -> None:
        """Read a table as the button does; `text` and `label` name the columns.

        What can't be read is said in the widget, and the table from before stays.
        """
        with self._quiet():
            self._path.value = str(path)
            self._columns["text"].value, self._columns["label"].value = text or "", label or ""
        self._uploaded = None
        self._show_columns(bool(text or label))
        self._read()

    def _change_path(self, _) -> None:
        if not self._quiet and self._path.value.strip():
            self.read(self._path.value)

    def _change_columns(self, _) -> None:
        if not self._quiet:
            self._read()

    def _take_upload(self, _) -> None:
        if uploaded := uploaded_file(self._upload.value):
            self._uploaded = uploaded
            with self._quiet():
                for box in (self._path, *self._columns.values()):
                    box.value = ""
            self._show_columns(False)
            self._read()

    def _read(self) -> None:
        """Read what is chosen, unless it is what was read last."""
        if self._training is not None:
            self._show["unread"].value = alert(UNDER_WAY)
            return
        path, columns = self._path.value.strip(), [b.value.strip() for b in self._columns.values()]
        asked = (self._uploaded or (path, _stamp(path)), *columns)
        if asked == self._asked and self.table is not None:
            self._show["unread"].value = ""
            return
        try:
            table = self._read_table(path, *(name or None for name in columns))
            split = split_stratified(table, seed=self._defaults.seed)
        except FAILURES as error:
            before = "" if self.table is None else f"<p>{STAYS}</p>"
            self._show["unread"].value = problem(error) + before
            if "column" in str(error):
                self._show_columns(True)
            return
        self._asked, self.table, self.split = asked, table, split
        self._show["unread"].value = ""
        self._show_table()
        self._forget_training()
        self._show_results()
        for name in ("bar", "live", "problem"):
            self._show[name].value = ""
        self._say("Nothing has been trained on this table yet.")
        with self._quiet():
            self._name.value = f"{Path(table.source).stem}.safetensors"

    def _read_table(self, path: str, text: str | None, label: str | None) -> TextTable:
        if self._uploaded is None:
            if not path:
                raise ValueError("There is no path yet: type one, or choose a file")
            return read_texts(os.path.expanduser(path), text, label)
        name, content = self._uploaded
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, Path(name).name or "texts")
            file.write_bytes(content)
            try:
                return read_texts(file, text, label)
            except FAILURES as error:  # the learner knows no such folder
                raise ValueError(str(error).replace(f"{folder}{os.sep}", "")) from error

    def _show_columns(self, are_asked: bool) -> None:
        self._columns_row.children = list(self._columns.values()) if are_asked else []

    def _show_table(self) -> None:
        self._show["report"].value = report_list(self.table, self.split)
        self._show["classes"].value = classes_table(self.split)

    # --- a training ---

    def train(self) -> dict[str, ClassFigures] | None:
        """Train and measure as the button does, but whole, before the next line of code runs.

        Returns the figures; None where it was interrupted, or could not begin or go on.
        """
        before = self.figures
        self._train_at_a_stretch()
        return None if self.figures is before else self.figures

    def _new_training(self) -> "_Run":
        if self.split is None:
            raise ValueError("There is no table yet: type a path or choose a file first")
        run = _Run(OwnTraining(self.split, self.settings))
        self._forget_training()
        self._show_results()
        self._run = run
        return run

    def _say_progress(self, run: "_Run", progress: Progress) -> str:
        return say_progress(progress, run.seconds_left(progress), what="texts")

    def _end(self, run: "_Run", interrupted: bool = False) -> Iterator[None] | None:
        self._show["bar"].value = ""
        if run.histories:
            self._show_live(run)
        if not run.epochs:
            self._say("Stopped before the end of the first epoch: nothing has been trained.")
            return None
        stopped = self._stopped or interrupted or run.histories[-1].interrupted
        words = f"Stopped: the model has the weights of {count_of(run.epochs, 'whole epoch')}. "
        self.classifier = run.training.classifier(self._about())
        if interrupted:
            self._say(f"{words}How good it is was not measured.")
            self._show_results()
            return None
        return self._measure(words if stopped else "")

    def _measure(self, before: str) -> Generator[None, None, None]:
        """Answer the test texts in slices, and show what came of it."""
        self._stopped = False
        self._say(f"{before}The test texts are being answered.")
        texts, parts = self.split.test["Text"].tolist(), []
        try:
            for start in range(0, len(texts), ANSWERED_AT_ONCE):
                words = f"Test texts answered: {start} of {len(texts)}."
                self._show_bar(start / len(texts), words)
                some, num_cut = answers(self.classifier, texts[start : start + ANSWERED_AT_ONCE])
                parts.append(some)
                self._num_cut += num_cut
                yield
                if self._stopped:
                    self._say(f"{before}How good it is was not measured, as it was stopped.")
                    return
            self._probabilities = torch.cat(parts)
            called = self._probabilities.argmax(dim=-1).tolist()
            split = self.split
            self.figures = compare(split.labels, split.train, split.test, called)
            self.classifier = self._run.training.classifier(self._about())
            self._say(before + say_comparison(self.figures))
        except FAILURES as error:
            self._say(f"{before}The classifier is trained, but can't be measured.")
            self._say_problem(error)
        finally:
            self._show["bar"].value = ""
            self._show_results()

    def _about(self) -> dict[str, str]:
        """Return what is saved along with the classifier, as the command does."""
        run, texts = self._run, count_of(len(self.split.train), "text")
        about = {"trained on": f"{self.table.source}, {texts}"}
        if run.epochs < run.settings.epochs:
            whole = count_of(run.epochs, "whole epoch")
            about["interrupted"] = f"after {whole} of {run.settings.epochs}"
        if self.figures:
            each = class_table(self.figures[THIS])
            about["figures"] = f"{summary_table(self.figures)}\n\n{each}"
        return about

    # --- what came of it ---

    def show_field(self, correct: str, called: str) -> None:
        """List the test texts of a class that were called another, or the same: the surest first.

        Raises ValueError for an unknown class, and before a training has been measured.
        """
        if self.figures is None:
            raise ValueError("there are no figures yet; train first")
        labels = self.split.labels
        if missing := [name for name in (correct, called) if name not in labels]:
            raise ValueError(f"there is no class {missing[0]!r} among {len(labels)}")
        self._field, self._shown = (labels.index(correct), labels.index(called)), SHOWN
        self._show_texts()

    def _show_results(self) -> None:
        """Show as much as there is."""
        shown = []
        if self.figures is not None:
            self._show["summary"].value = summary_html(self.figures, self._num_cut)
            self._show["matrix"].value = self.drawing.svg
            self._show["each"].value = f"<pre>{escape(class_table(self.figures[THIS]))}</pre>"
            shown += [
                HTML(f"<p>{HOW_GOOD}</p>"),
                named(HBox([self._show["matrix"], self._show["summary"]]), "fx-wrap"),
                Folded("the figures of each class", self._show["each"]),
                *self._mistakes(),
            ]
        if self.classifier is not None:
            self._show["answer"].value = self._show["saved"].value = ""
            with self._quiet():
                self._text.value = ""
            self._offer_to_replace(None)
            shown += [
                HTML(f"<p>{HOW_TO_TRY}</p>"),
                named(HBox([self._text]), "fx-wrap"),
                self._show["answer"],
                HTML(f"<p>{HOW_TO_SAVE}</p>"),
                self._save_row,
                self._show["saved"],
            ]
        self._results.children = shown

    def _mistakes(self) -> list:
        """Return a button for each field with mistakes, and what stands below them."""
        table, labels = self.figures[THIS].table, self.split.labels
        fields = [
            (i, j) for i, j in zip(*(a.tolist() for a in table.nonzero()), strict=True) if i != j
        ]
        fields.sort(key=lambda field: -table[field])
        if not fields:
            return [HTML("<p>No test text was called wrong.</p>")]
        self._fields = {}
        for i, j in fields[:MOST_FIELDS]:
            name = (
                f"{_cut(labels[i], LONGEST_NAME)} → {_cut(labels[j], LONGEST_NAME)}: {table[i, j]}"
            )
            self._fields[name if name not in self._fields else f"{name} ({i}, {j})"] = (i, j)
        self._choice = Choice("oc-field", "Mistakes", self._fields, self._choose_field)
        self._choice.choose("")  # none is, at first
        self._more_row = named(HBox(), "oc-more-row")
        self._show["heading"].value = self._show["texts"].value = ""
        rest = fields[MOST_FIELDS:]
        more = sum(int(table[field]) for field in rest)
        note = (
            f" {count_of(len(rest), 'field')} more with {count_of(more, 'mistake')} have no button."
        )
        return [
            HTML(f"<p>{HOW_TO_READ}{note if rest else ''}</p>"),
            self._choice,
            self._show["heading"],
            self._show["texts"],
            self._more_row,
        ]

    def _choose_field(self, name: str) -> None:
        i, j = self._fields[name]
        self.show_field(self.split.labels[i], self.split.labels[j])

    def _show_more(self) -> None:
        self._shown += SHOWN
        self._show_texts()

    def _show_texts(self) -> None:
        i, j = self._field
        inside = field_of(self.split.test["Label"].tolist(), self._probabilities, i, j)
        texts, shown = self.split.test["Text"].tolist(), inside[: self._shown]
        lines = [(self._probabilities[row, j].item(), texts[row]) for row in shown]
        correct, called = (_cut(self.split.labels[k], LONGEST_NAME) for k in (i, j))
        self._show["heading"].value = status(
            f"{correct}, called {called}: {len(shown)} of {count_of(len(inside), 'text')}, "
            f"each behind its probability of {called}, the surest first."
        )
        items = "".join(f"<li><b>{p:.3f}</b> {escape(_cut(text))}</li>" for p, text in lines)
        self._show["texts"].value = f"<ul>{items}</ul>" if items else ""
        for name, field in self._fields.items():
            if field == self._field:
                self._choice.choose(name)
        left = len(inside) - len(shown)
        self._more.description = f"{min(SHOWN, left)} more"
        self._more_row.children = [self._more] if left else []

    def _answer(self) -> None:
        text = self._text.value
        if self._quiet or self.classifier is None:
            return
        if not text.strip():
            self._show["answer"].value = ""
            return
        try:
            probabilities, num_cut = answers(self.classifier, [text])
        except FAILURES as error:
            self._show["answer"].value = problem(error)
        else:
            labels, cut = self.classifier.labels, self.classifier.max_length if num_cut else 0
            self._show["answer"].value = answer_html(labels, probabilities[0].tolist(), cut)

    # --- the file ---

    def _press_save(self, replace: bool = False) -> None:
        self._show["saved"].value = ""
        try:
            path = self._path_to_save()
            if path.exists() and not (replace and path == self._offered):
                self._offer_to_replace(path)
                words = f"{path} is there already: press Replace the file, or take another name."
                self._show["saved"].value = alert(words)
                return
            self.classifier.save(path)
        except FAILURES as error:
            self._show["saved"].value = problem(error, "Nothing was saved: ")
        else:
            code = "from helpers.classify import TextClassifier\n\nclassifier = "
            code += f'TextClassifier.load({str(path)!r})\nclassifier.classify("a text of your own")'
            words = status(f"Saved: {path}. To use it:")
            self._show["saved"].value = f"{words}<pre>{escape(code)}</pre>"
            self._offer_to_replace(None)

    def _path_to_save(self) -> Path:
        name = self._name.value.strip()
        if not name.strip(".") or name != Path(name).name or "\\" in name:
            raise ValueError(f"give a file name without a folder, not {name!r}")
        if not name.endswith(".safetensors"):
            name += ".safetensors"
        return beside_the_notebook(name) if self._folder is None else self._folder / name

    def _offer_to_replace(self, path: Path | None) -> None:
        self._offered = path
        row = [self._name, self._save_button]
        self._save_row.children = row if path is None else [*row, self._replace]

    # --- what the learner does besides ---

    def _choose_position(self, name: str) -> None:
        self._position.choose(name)
        self._show["where"].value = escape(WHERE[name])

    def _choose_balance(self, name: str) -> None:
        self._balance.choose(name)
        self._show["balance-in-words"].value = escape(BALANCES[name])

    def _ipython_display_(self, **_) -> None:
        """Show the widget, and send picture and tables along for pages where nothing is live."""
        show_with_words(self, *self._static())

    def _static(self) -> tuple[str, str, str]:
        """Return what is shown as a picture, as tables and as words."""
        if self.table is None:
            return "", "<p>No table has been read yet.</p>", "no table has been read yet"
        html = report_list(self.table, self.split) + classes_table(self.split)
        words = "\n".join((*self.table.report, *self.split.report))
        if self.figures is None:
            return "", html, words
        each, summary = class_table(self.figures[THIS]), summary_table(self.figures)
        html += f"{summary_html(self.figures, self._num_cut)}<pre>{escape(each)}</pre>"
        drawing = self.drawing
        return drawing.svg, html, "\n\n".join((words, summary, each, drawing.words))


class _Run:
    """An `OwnTraining` as the buttons need it: its history can be seen while it grows."""

    def __init__(self, training: OwnTraining):
        self.training, self.settings = training, training.settings
        self.histories: list[History] = []

    @property
    def epochs(self) -> int:
        """How many whole epochs there were."""
        return len(self.histories[-1].val_accs) if self.histories else 0

    def steps(self) -> Generator[Progress, None, None]:
        with closing(self.training.steps()) as steps:
            for progress in steps:
                self.histories = [progress.history]
                yield progress

    def share_done(self, progress: Progress) -> float:
        return progress.done / progress.total

    def seconds_left(self, progress: Progress) -> float | None:
        share = self.share_done(progress) if progress.phase == "training" else 0.0
        return progress.history.seconds_training * (1 - share) / share if share else None


# --- what is read and answered --------------------------------------------------------------------


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


def _stamp(path: str) -> tuple[int, int] | None:
    """Return what changes with a file: when it was written, and its size."""
    try:
        found = os.stat(os.path.expanduser(path))
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size


def answers(classifier: TextClassifier, texts: list[str]) -> tuple[torch.Tensor, int]:
    """Return the probabilities (num_texts, num_classes), and how many texts were too long.

    Raises what the classifier does.
    """
    rows = [encode_message(text, classifier.tokenizer) for text in texts]
    most = classifier.max_length
    logits = classifier.logits_of_tokens([pad(row, most) for row in rows])
    return logits.softmax(dim=-1), sum(len(row) > most for row in rows)


def field_of(labels: Sequence[int], probabilities: torch.Tensor, i: int, j: int) -> list[int]:
    """Return the rows of class i that are called j, the surest first."""
    inside = (torch.tensor(labels) == i) & (probabilities.argmax(dim=-1) == j)
    return sorted(inside.nonzero().flatten().tolist(), key=lambda row: -probabilities[row, j])


# --- in words and tables --------------------------------------------------------------------------


def _cut(text: str, most: int = LONGEST) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def report_list(table: TextTable, split: Split) -> str:
    """Return what was found in the table, and how it was split, as an HTML list."""
    texts = count_of(len(table.frame), "text")
    read = status(f"Read: {texts} in {len(table.labels):,} classes, from {table.source}.")
    items = "".join(f"<li>{escape(words)}</li>" for words in (*table.report, *split.report))
    return f"{read}<ul>{items}</ul>"


def classes_table(split: Split) -> str:
    """Return how many texts each class has, in all and in each part: the largest classes first."""
    parts = (split.train, split.validation, split.test)
    counts = [part["Label"].value_counts() for part in parts]
    rows = [[int(count.get(number, 0)) for count in counts] for number in range(len(split.labels))]
    order = sorted(range(len(rows)), key=lambda number: -sum(rows[number]))
    cells = [
        (_cut(split.labels[n], LONGEST_NAME), *(f"{count:,}" for count in (sum(rows[n]), *rows[n])))
        for n in order[:MOST_CLASSES]
    ]
    header = ("class", "texts", "to train with", "to validate with", "to test with")
    table = html_table(header, cells, "The classes")
    rest = order[MOST_CLASSES:]
    if not rest:
        return table
    more, texts = f"{len(rest):,} more", sum(sum(rows[number]) for number in rest)
    return f"{table}<p>and {more}, with {count_of(texts, 'text')}</p>"


def summary_html(figures: Mapping[str, ClassFigures], num_cut: int = 0) -> str:
    """Return what `compare` found as an HTML table."""
    rows = []
    for name, one in figures.items():
        low, high = one.interval
        accuracy, interval = f"{one.accuracy:.3f}", f"{low:.3f} – {high:.3f}"
        cells = (f"{one.right:,}", accuracy, interval, f"{one.macro_f1:.3f}")
        rows.append((_cut(name, 2 * LONGEST_NAME), *cells))
    total = count_of(figures[THIS].total, "test text")
    header = ("what", "right", "accuracy", "95 %", "macro-F1")
    table = html_table(header, rows, f"On {total}, which the training has not met")
    if not num_cut:
        return table
    were = "1 is longer than the longest training text and was"
    if num_cut > 1:
        were = f"{num_cut:,} are longer than the longest training text and were"
    return f"{table}<p>Of the test texts {were} cut to its length.</p>"


def say_comparison(figures: Mapping[str, ClassFigures]) -> str:
    """Return in a sentence how many test texts each way to answer gets right."""
    (first, one), *others = figures.items()
    beside = ", ".join(f"{_cut(name, 2 * LONGEST_NAME)} {other.right:,}" for name, other in others)
    total = count_of(one.total, "test text")
    return f"Done: of {total} {first} gets {one.right:,} right; {beside}."


def answer_html(labels: Sequence[str], probabilities: Sequence[float], cut: int = 0) -> str:
    """Return an answer with all probabilities, the largest first; `cut` tokens were read, 0 for all."""
    order = sorted(range(len(labels)), key=lambda number: -probabilities[number])
    rows = [
        (_cut(labels[n], LONGEST_NAME), f"{probabilities[n]:.3f}") for n in order[:MOST_CLASSES]
    ]
    few = f"The {MOST_CLASSES} likeliest of {len(labels):,} classes"
    caption = few if len(labels) > MOST_CLASSES else "The probabilities of the classes"
    was_cut = f" Only the first {cut} tokens were read." if cut else ""
    best = f"Answer: {rows[0][0]}, with probability {rows[0][1]}.{was_cut}"
    return status(best) + html_table(("class", "probability"), rows, caption)
