"""The classifier's dashboard: move the threshold, watch the mistakes change, and read them.

The classifier answers all messages once, when the dashboard is made.
"""

from collections.abc import Callable
from html import escape

import pandas as pd
from ipywidgets import HTML, BoundedFloatText, FloatSlider, VBox

from helpers.checks import finite_number
from helpers.classify import SpamClassifier
from helpers.measures import (
    FIELDS,
    calibration_bins,
    counts_at,
    field_at,
    precision_recall_curve,
    shares_right,
    short_and_long,
)
from workshop.pictures.svg import joined
from workshop.pictures.verdict import (
    draw_curve,
    draw_matrix,
    draw_reliability,
    draw_slices,
    percent,
    say_figures,
    say_threshold,
)
from workshop.tables import html_table, status
from workshop.widgets.parts import (
    CourseWidget,
    Folded,
    ask,
    button,
    html_fields,
    named,
    problem_shown,
    row,
)

STEP, DIGITS = 0.01, 2  # of the slider
AT_ONCE = 10  # messages of a field that are listed, and more of them at a click
HOW = (
    "Spam is predicted where the probability of spam is above the threshold. The probabilities were "
    "computed when this dashboard was made: after a new training, run its cell again."
)


class Dashboard(CourseWidget):
    """A classifier's answers to messages with known labels, at a threshold to move.

    `messages` has the columns "Text" and "Label" (0 ham, 1 spam), as `load_splits` gives them. A
    click on a message calls `on_message` with its text. `threshold`, `counts`, `field` (correct and
    predicted label, or None) and `message` (the text that was clicked) hold what is shown. Raises
    ValueError for a table without these columns, and for texts and labels that can't be measured.
    """

    def __init__(
        self,
        classifier: SpamClassifier,
        messages: pd.DataFrame,
        on_message: Callable[[str], object] = lambda text: None,
    ):
        for name in ("Text", "Label"):
            if name not in messages.columns:
                raise ValueError(
                    f"messages have no column {name!r}; give what load_splits gives: Text and Label"
                )
        self._texts, self._labels = messages["Text"].tolist(), messages["Label"].tolist()
        self._p_spam = classifier.probabilities(self._texts)[:, 1].numpy()  # (num_messages,)
        self._points = precision_recall_curve(self._labels, self._p_spam)
        self._kinds = short_and_long(self._texts, classifier.tokenizer)
        self._on_message = on_message
        self.field, self.message, self._chosen = None, "", None
        self._lines = {}

        limits = {"min": 0.0, "max": 1.0, "step": STEP}
        # the box says the value and takes any other; the slider's handle has no name of its own
        self._box = ask(BoundedFloatText, "db-threshold-box", "Threshold (0 to 1)", **limits)
        self._slider = named(FloatSlider(readout=False, **limits), "db-threshold")
        for control in (self._box, self._slider):
            control.observe(self._move, "value")
        show = self._html = html_fields(
            "db", "figures", "matrix", "curve", "heading", "chosen", "reliability", "slices"
        )
        buttons = self._buttons = []
        for field in FIELDS:
            css = f"db-field db-field-{'-'.join(field)}"
            buttons.append(button(css, "", lambda field=field: self.show_field(*field)))
        self._list, self._listed = VBox(), named(VBox(), "db-texts")
        self._more = button(
            "fx-more db-more", "", lambda: self._show_list(self._num_listed + AT_ONCE)
        )
        bins = calibration_bins(self._labels, self._p_spam)  # without the threshold
        show["reliability"].value = draw_reliability(bins).svg
        super().__init__(
            "classifier-dashboard",
            [
                named(HTML(HOW), "db-how"),
                row(self._box, self._slider, css="db-controls"),
                show["figures"],
                row(show["matrix"], show["curve"]),
                HTML("<b>Click a field</b> to list its messages, the most confident first."),
                row(*buttons[:2]),
                row(*buttons[2:]),
                self._list,
                show["chosen"],
                Folded("confidence and accuracy: the reliability diagram", show["reliability"]),
                Folded("accuracy on some kinds of messages: slices", show["slices"]),
            ],
        )
        self.threshold = 0.5

    # --- the state ---

    @property
    def threshold(self) -> float:
        """Above which probability of spam, 0 … 1, a message is predicted as spam.

        Setting it moves the slider; raises ValueError for another number.
        """
        return self._threshold

    @threshold.setter
    def threshold(self, threshold: float) -> None:
        self._threshold = finite_number("threshold", threshold, inclusive=True, most=1.0)
        # a page's slider would go to its nearest step, and take the threshold along
        self._shown = {self._box: self._threshold, self._slider: round(self._threshold, DIGITS)}
        for control, value in self._shown.items():
            control.value = value
        self._redraw()

    def show_field(self, correct: str, called: str) -> None:
        """List the messages of a field, as a click on it does; raises ValueError for no field."""
        field_at(self._labels, self._p_spam, self._threshold, correct, called)
        self.field = correct, called
        self._redraw()

    # --- what the learner does ---

    def _move(self, change) -> None:
        if change["new"] != self._shown[change["owner"]]:  # otherwise code has set it
            self.threshold = change["new"]

    def _choose(self, i: int) -> None:
        text = self.message = self._texts[i]
        self._chosen = i
        self._show_list(self._num_listed)
        chosen = self._html["chosen"]
        with problem_shown(chosen, "on_message failed: "):
            self._on_message(text)
            chosen.value = f'<p role="status">Chosen: <q>{escape(text)}</q></p>'

    # --- what is shown ---

    def _redraw(self) -> None:
        counts = self.counts = counts_at(self._labels, self._p_spam, self._threshold)
        kinds = shares_right(self._labels, self._p_spam, self._kinds, self._threshold)
        self._matrix, self._curve = draw_matrix(counts), draw_curve(self._points, counts)
        self._html["figures"].value = status(say_figures(counts))
        self._html["matrix"].value = self._matrix.svg
        self._html["curve"].value = self._curve.svg
        self._html["slices"].value = draw_slices(kinds).svg
        for field, field_button in zip(FIELDS, self._buttons, strict=True):
            words, hint = " predicted as ".join(field), "list its messages"
            if field == self.field:
                words, hint = f"✓ {words}", "listed below"
            field_button.description = f"{words}: {counts.table[field]}"
            field_button.tooltip = hint
        if self.field is not None:
            self._show_list(AT_ONCE)

    def _show_list(self, most: int) -> None:
        """List at most this many messages of the field, each a button that is made once.

        So it keeps the keyboard's focus.
        """
        rows = field_at(self._labels, self._p_spam, self._threshold, *self.field)
        shown, self._num_listed = rows[:most], most
        for i in shown:
            if i not in self._lines:
                self._lines[i] = button("db-message", "", lambda i=i: self._choose(i))
            words, hint = f"{self._p_spam[i]:.3f}  {self._texts[i]}", "choose this message"
            if i == self._chosen:
                words, hint = f"✓ {words}", "chosen"
            self._lines[i].description, self._lines[i].tooltip = words, hint
        self._html["heading"].value = (
            f'<p role="status"><b>{" predicted as ".join(self.field)}</b>: '
            f"{len(shown)} of {len(rows)} messages, with the probability of spam in front.</p>"
        )
        self._listed.children = [self._lines[i] for i in shown]
        left = len(rows) - len(shown)
        self._more.description = f"{min(AT_ONCE, left)} more"
        more = [self._more] if left else []
        self._list.children = [self._html["heading"], self._listed, *more]

    def static_form(self) -> tuple[str, str, str]:
        """Return the matrix and the curve, a table of their numbers, and text."""
        counts, drawing = self.counts, joined([self._matrix, self._curve])
        rows = []
        for correct, called in FIELDS:
            rows.append((f"{correct} predicted as {called}", str(counts.table[correct, called])))
        for name in ("accuracy", "precision", "recall"):
            rows.append((name, percent(getattr(counts, name))))
        caption = f"{counts.total} messages at threshold {say_threshold(counts.threshold)}"
        table = html_table(("number", "value"), rows, caption)
        return drawing.svg, table, drawing.words
