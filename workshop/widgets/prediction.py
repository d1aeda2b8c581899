"""A question, a field, a button "Commit": only then the answer.

The texts are in `workshop/exercises/questions.toml`, the answer is what the notebook's cell has computed.
"""

import base64
from html import escape

from ipywidgets import HTML, Button, HBox, Text, VBox

from workshop.exercises.prediction import Order, Question, in_html, in_text, questions
from workshop.exercises.record import RIGHT, UNSAID, WRONG, record
from workshop.pictures.svg import Drawing
from workshop.widgets.parts import Choice, ask, named, show_with_words, style_sheet


class Prediction(VBox):
    """One question of the course; `commit` takes a guess as it is typed.

    `name` is what it is kept as. `guess` and `is_right` are None until a guess is taken, which
    happens once. `show` is a Drawing or a text, seen only then.
    """

    def __init__(self, name: str, question: Question, answer, show: Drawing | str | None = None):
        self.name, self.question, self.show = name, question, show
        self.answer = answer.item() if hasattr(answer, "item") else answer
        self.guess = self.is_right = None
        self._chosen = ""
        options = getattr(question.kind, "options", ())
        if options:
            self._field = Choice("pr-options", "Your guess", options, self._choose)
            self._field.choose("")  # none of them yet
        else:
            unit = getattr(question.kind, "unit", "")
            label = f"Your guess ({unit})" if unit else "Your guess"
            self._field = ask(Text, "pr-guess", label)
            self._field.continuous_update = False
        self._button = named(Button(description="Commit"), "fx-more pr-commit")
        self._button.on_click(lambda _: self.commit(self._said()))
        self._problem, self._reply = (
            named(HTML(), "fx-problem pr-problem"),
            named(HTML(), "pr-reply"),
        )
        row = named(HBox([self._field, self._button]), "fx-wrap pr-row")
        asked = named(HTML(_ask(question, with_options=False)), "pr-question")
        super().__init__([style_sheet(), asked, row, self._problem, self._reply])
        named(self, "fx-widget prediction")
        record(name, UNSAID)

    def _choose(self, option: str) -> None:
        self._chosen = option
        self._field.choose(option)

    def _said(self) -> str:
        return self._field.value if isinstance(self._field, Text) else self._chosen

    def commit(self, text: str) -> None:
        """Take a guess and reveal the answer; say what is wrong with what is no guess."""
        if self.guess is not None:
            return
        if not text.strip():
            self._complain("First your guess, then Commit: a wrong one teaches more than none.")
            return
        try:
            guess = self.question.read(text)
        except ValueError as error:
            self._complain(f"{error}.")
            return
        self.guess = guess
        self.is_right, words = self.question.reply(guess, self.answer)
        record(self.name, RIGHT if self.is_right else WRONG)
        shown = self.question.kind.show
        verdict = "as you said" if self.is_right else f"you said {shown(guess)}"
        self._problem.value = ""
        for control in getattr(self._field, "children", [self._field]):
            control.disabled = True  # a guess is made once
        self._button.description = "✓ Committed"  # it keeps the keyboard's focus
        self._reply.value = (
            f'<div role="status"><p><b>{escape(shown(self.answer))}</b>, {escape(verdict)}.</p>'
            f"{in_html(words)}{self._rest()}</div>"
        )

    def _complain(self, words: str) -> None:
        self._problem.value = f'<p role="alert">{escape(words)}</p>'

    def _rest(self, live: bool = True) -> str:
        """Return what follows, whatever was guessed, as HTML."""
        then = in_html(self.question.fill(self.question.then, self.answer, self.guess))
        if self.show is None:
            return then
        if not isinstance(self.show, Drawing):
            return f"<pre>{escape(str(self.show))}</pre>{then}"
        if live:
            return f"{self.show.svg}{then}"
        picture = base64.b64encode(self.show.svg.encode()).decode()
        words = escape(self.show.words)
        return f'<p><img src="data:image/svg+xml;base64,{picture}" alt="{words}"/></p>{then}'

    def _ipython_display_(self, **_) -> None:
        """Show the widget; where nothing is live, the question, and the answer folded."""
        shown = escape(self.question.kind.show(self.answer))
        right = in_html(self.question.fill(self.question.right, self.answer, self.answer))
        page = (
            f"{_ask(self.question)}<details><summary>Answer</summary>"
            f"<p><b>{shown}</b></p>{right}{self._rest(live=False)}</details>"
        )
        show_with_words(self, "", page, f"[Predict: {in_text(self.question.ask)}]")


def _ask(question: Question, with_options: bool = True) -> str:
    """Return a question with its items, and its options where they are no buttons, as HTML."""
    items = getattr(question.kind, "options", ()) if with_options else ()
    if isinstance(question.kind, Order):
        items = question.kind.items
    several = "".join(f"<li>{in_html(item)[3:-4]}</li>" for item in items)
    listed = f'<ul style="list-style: none">{several}</ul>' if several else ""
    return f"<p><b>Predict:</b> {in_html(question.ask)[3:]}{listed}"


def predict(name: str, answer, show: Drawing | str | None = None) -> Prediction:
    """Return the widget that asks a question of the course by its name, "6.3 longest message".

    `answer` is what the cell has computed: a number in the question's unit, a shape, an option's
    text, letters in order. Raises ValueError for a name that no question has.
    """
    if name not in questions():
        raise ValueError(f"no question is called {name!r}; there are {', '.join(questions())}")
    return Prediction(name, questions()[name], answer, show)
