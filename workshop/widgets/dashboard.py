"""The classifier's dashboard: move the threshold, see the mistakes change, and read them.

The classifier answers all messages once, when the dashboard is made; what is moved or pressed later
asks `helpers.measures`, and `helpers.pictures.verdict` draws it.
"""

from collections.abc import Callable, Iterable, Mapping
from html import escape

import pandas as pd
from ipywidgets import HTML, BoundedFloatText, Button, FloatSlider, HBox, VBox

from helpers.checks import finite_number, instance_of
from helpers.classify import SpamClassifier
from helpers.measures import (
    FIELDS,
    Counts,
    calibration_bins,
    counts_at,
    field_at,
    precision_recall_curve,
    shares_right,
    short_and_long,
)
from workshop.pictures.svg import Drawing, side_by_side
from workshop.pictures.verdict import (
    draw_curve,
    draw_matrix,
    draw_reliability,
    draw_slices,
    percent,
    say_figures,
    say_threshold,
)
from workshop.tables import html_table
from workshop.widgets.parts import Folded, Quiet, ask, named, show_with_words, style_sheet

SHOWN = 10  # messages of a field at first, and more at a press


STEP, DIGITS = 0.01, 2  # of the slider


class Dashboard(VBox):
    """A classifier's verdict on messages with known labels, at a threshold to move.

    `messages` has the columns "Text" and "Label" (0 ham, 1 spam), as `load_splits` gives them. A press
    on a message calls `on_message` with its text, as to show it in the Message Microscope. `kinds`
    has, for each name, which messages are of that kind; short and long ones are always there.
    `threshold`, `counts`, `field` (correct and called label, or None) and `message` (the text that
    was pressed) hold what is shown. Raises TypeError for what is no classifier, DataFrame, function,
    text or dictionary, ValueError for a table without these columns or with what no classifier can
    answer.
    """

    def __init__(
        self,
        classifier: SpamClassifier,
        messages: pd.DataFrame,
        on_message: Callable[[str], object] | None = None,
        kinds: Mapping[str, Iterable] | None = None,
    ):
        instance_of("classifier", classifier, SpamClassifier, "a SpamClassifier")
        if on_message is not None and not callable(on_message):
            kind = type(on_message).__name__
            raise TypeError(f"on_message must be a function that takes a text, not {kind}")
        self._texts, self._labels = _columns(messages)
        self._p_spam = classifier.probabilities(self._texts)[:, 1].numpy()  # (num_messages,)
        self._curve = precision_recall_curve(self._labels, self._p_spam)
        kinds = {} if kinds is None else kinds
        instance_of("kinds", kinds, Mapping, "a dictionary: for each name True or False a message")
        self._kinds = short_and_long(self._texts, classifier.tokenizer) | dict(kinds)
        self._on_message, self._quiet = on_message, Quiet()
        self.field: tuple[str, str] | None = None
        self.message = ""
        self._chosen: int | None = None
        self._shown = SHOWN
        self._lines: dict[int, Button] = {}
        self._make_controls()
        super().__init__(self._arranged())
        named(self, "fx-widget classifier-dashboard")
        self._show["reliability"].value = self.reliability.svg
        self.threshold = 0.5

    def _make_controls(self) -> None:
        limits = {"min": 0.0, "max": 1.0, "step": STEP}
        # the box says the value and takes any other; the slider's handle has no name of its own
        self._box = ask(BoundedFloatText, "db-threshold-box", "Threshold (0 to 1)", **limits)
        self._slider = named(
            FloatSlider(readout=False, continuous_update=True, **limits), "db-threshold"
        )
        names = ("figures", "matrix", "curve", "heading", "chosen", "reliability", "slices")
        self._show = {name: named(HTML(), f"db-{name}") for name in names}
        self._fields = {field: named(Button(), f"db-field db-field-{'-'.join(field)}")
                        for field in FIELDS}  # fmt: skip
        self._list = named(VBox(), "db-messages")
        self._more = named(Button(), "fx-more db-more")
        self._box.observe(self._move, "value")
        self._slider.observe(self._move, "value")
        self._more.on_click(lambda _: self._show_more())
        for field, button in self._fields.items():
            button.on_click(lambda _, field=field: self.show_field(*field))

    def _arranged(self) -> list:
        show, fields = self._show, [*self._fields.values()]
        return [
            style_sheet(),
            HTML("A message is called spam if its probability of spam is above the threshold."),
            named(HBox([self._box, self._slider]), "fx-wrap db-controls"),
            show["figures"],
            named(HBox([show["matrix"], show["curve"]]), "fx-wrap"),
            HTML("<b>Press a field</b> to read its messages, the surest first."),
            named(HBox(fields[:2]), "fx-wrap"),
            named(HBox(fields[2:]), "fx-wrap"),
            show["heading"],
            self._list,
            show["chosen"],
            Folded("how sure and how right: the reliability diagram", show["reliability"]),
            Folded("on which messages it is right: slices", show["slices"]),
        ]

    # --- the state ---

    @property
    def threshold(self) -> float:
        """Above which probability of spam, 0 … 1, a message is called spam.

        Setting it moves the slider; raises ValueError for another number.
        """
        return self._threshold

    @threshold.setter
    def threshold(self, threshold: float) -> None:
        self._threshold = finite_number("threshold", threshold, inclusive=True, most=1.0)
        with self._quiet():
            self._box.value = self._threshold
            # a page's slider would go to its nearest step, and take the threshold along
            self._slider.value = round(self._threshold, DIGITS)
        self._redraw()

    @property
    def counts(self) -> Counts:
        """The four counts at the threshold."""
        return counts_at(self._labels, self._p_spam, self._threshold)

    @property
    def drawing(self) -> Drawing:
        """The matrix and the curve beside it, and what they show in words."""
        counts = self.counts
        return side_by_side(draw_matrix(counts), draw_curve(self._curve, counts))

    @property
    def reliability(self) -> Drawing:
        """The reliability diagram; the threshold plays no part in it."""
        return draw_reliability(calibration_bins(self._labels, self._p_spam))

    @property
    def slices(self) -> Drawing:
        """The shares right at the threshold on each kind of message."""
        kinds = shares_right(self._labels, self._p_spam, self._kinds, self._threshold)
        return draw_slices(kinds)

    def show_field(self, correct: str, called: str) -> None:
        """List the messages of a field, as a press on it does; raises ValueError for no field."""
        field_at(self._labels, self._p_spam, self._threshold, correct, called)
        self.field, self._shown = (correct, called), SHOWN
        self._redraw()

    # --- what the learner does ---

    def _move(self, change) -> None:
        if not self._quiet:
            self._shown = SHOWN
            self.threshold = change["new"]

    def _show_more(self) -> None:
        self._shown += SHOWN
        self._show_messages()

    def _choose(self, i: int) -> None:
        text = self.message = self._texts[i]
        self._chosen = i
        self._show_messages()
        self._say_chosen(f'<p role="status">Chosen: <q>{escape(text)}</q></p>')
        if self._on_message is not None:
            try:
                self._on_message(text)
            except Exception as error:  # whatever a learner's function raises, the page says it
                words = str(error).removesuffix(".") or type(error).__name__
                self._say_chosen(f'<p role="alert">on_message failed: {escape(words)}.</p>')

    def _say_chosen(self, html: str) -> None:
        self._show["chosen"].value = html

    # --- what is shown ---

    def _redraw(self) -> None:
        counts = self.counts
        self._show["figures"].value = f'<p role="status">{escape(say_figures(counts))}</p>'
        self._show["matrix"].value = draw_matrix(counts).svg
        self._show["curve"].value = draw_curve(self._curve, counts).svg
        self._show["slices"].value = self.slices.svg
        for field, button in self._fields.items():
            correct, called = field
            mark = "✓ " * (field == self.field)
            button.description = f"{mark}{correct} called {called}: {counts.table[field]}"
            button.tooltip = "shown below" if mark else "read its messages"
        self._show_messages()

    def _show_messages(self) -> None:
        if self.field is None:
            self._show["heading"].value = ""
            return
        correct, called = self.field
        inside = field_at(self._labels, self._p_spam, self._threshold, correct, called)
        shown = inside[: self._shown]
        left = len(inside) - len(shown)
        self._more.description = f"{min(SHOWN, left)} more"
        lines = [self._line(i) for i in shown]
        self._list.children = [*lines, self._more] if left else lines
        self._show["heading"].value = (
            f'<p role="status"><b>{correct} called {called}</b>: '
            f"{len(shown)} of {len(inside)} messages, each behind its probability of spam.</p>"
        )

    def _line(self, i: int) -> Button:
        """Return the button of a message, made once, so that it keeps the keyboard's focus."""
        if i not in self._lines:
            self._lines[i] = named(Button(), "db-message")
            self._lines[i].on_click(lambda _: self._choose(i))
        button, mark = self._lines[i], "✓ " * (i == self._chosen)
        button.description = f"{mark}{self._p_spam[i]:.3f}  {self._texts[i]}"
        button.tooltip = "taken" if mark else "take this message"
        return button

    def _ipython_display_(self, **_) -> None:
        """Show the widget, and send pictures and table along for pages where nothing is live."""
        counts, drawing = self.counts, self.drawing
        rows = [(f"{correct} called {called}", str(counts.table[correct, called]))
                for correct, called in FIELDS]  # fmt: skip
        for name in ("accuracy", "precision", "recall"):
            rows.append((name, percent(getattr(counts, name))))
        caption = f"{counts.total} messages at threshold {say_threshold(counts.threshold)}"
        table = html_table(("field or figure", "value"), rows, caption)
        show_with_words(self, drawing.svg, table, drawing.words)


def _columns(messages: pd.DataFrame) -> tuple[list[str], list[int]]:
    """Return texts and labels; raise for a table that has none."""
    instance_of("messages", messages, pd.DataFrame, "a DataFrame, as load_splits gives")
    if missing := [name for name in ("Text", "Label") if name not in messages.columns]:
        raise ValueError(
            f"messages have no column {missing[0]!r}; give what load_splits gives: Text and Label"
        )
    if not len(messages):
        raise ValueError("there is no message to show; give at least one")
    labels = messages["Label"].tolist()
    if wrong := [label for label in labels if label is pd.NA or label not in (0, 1)]:
        raise ValueError(f"a label must be 0 (ham) or 1 (spam), not {wrong[0]!r}")
    return messages["Text"].tolist(), labels
