"""A question, a field and a button "Commit"; only then the answer.

The texts are in `workshop/exercises/questions.toml`; the answer is computed in the notebook's cell.
"""

import asyncio
import base64
from html import escape

from ipywidgets import HTML, Text

from workshop.exercises.prediction import MARKS, OneOf, Question, in_html, questions
from workshop.exercises.record import RIGHT, UNSAID, WRONG, record
from workshop.pictures.svg import Drawing
from workshop.widgets.parts import Choice, CourseWidget, ask, button, named, problem_shown, row

ENTER = 0.2  # seconds in which what was typed arrives from the page after the key


class Prediction(CourseWidget):
    """One question of the course; `commit` takes a guess as it is typed.

    `name` is what it is kept as. `guess` and `is_right` are None until a guess is taken, which
    happens once. `show` is a Drawing or a text that is shown only then. Raises ValueError for a
    question whose right answer can't be what the cell has computed.
    """

    def __init__(self, name: str, question: Question, answer, show: Drawing | str | None = None):
        self.name, self.question, self.show = name, question, show
        self.answer = answer.item() if hasattr(answer, "item") else answer
        self.guess = self.is_right = None
        if isinstance(question.kind, OneOf):
            self._field = Choice("pr-options", "Your guess", question.kind.options)
            self._controls = self._field.children
        else:
            unit = getattr(question.kind, "unit", "")
            label = f"Your guess ({unit})" if unit else "Your guess"
            self._field = ask(Text, "pr-guess", label, continuous_update=False)
            self._controls = [self._field]
            self._field.on_msg(self._press_key)
        self._button = button("fx-more pr-commit", "Commit", self._click)
        self._problem = named(HTML(), "fx-problem pr-problem")
        self._reply = named(HTML(), "pr-reply")
        shown = named(HTML(_question_html(question)), "pr-question")
        field = row(self._field, self._button, css="pr-row")
        super().__init__("prediction", [shown, field, self._problem, self._reply])
        record(name, UNSAID)

    def _click(self) -> None:
        self.commit(self._field.value)

    def _press_key(self, _, message: dict, __) -> None:
        """Commit after Enter, of which the page tells before it sends what was typed."""
        if message.get("event") == "submit":
            asyncio.get_running_loop().call_later(ENTER, self._click)

    def commit(self, text: str) -> None:
        """Take a guess and reveal the answer; say what is wrong with a text that is no guess."""
        if self.guess is not None:
            return
        with problem_shown(self._problem):
            if not text.strip():
                raise ValueError(
                    "First your guess, then Commit: a wrong one teaches more than none"
                )
            self.guess = self.question.kind.read(text)
            self.is_right, words = self.question.reply(self.guess, self.answer)
            record(self.name, RIGHT if self.is_right else WRONG)
            show = self.question.kind.show
            verdict = "as you said" if self.is_right else f"you said {show(self.guess)}"
            for control in self._controls:
                control.disabled = True  # a guess is made once
            self._button.description = "✓ Committed"  # it keeps the keyboard's focus
            self._reply.value = (
                f'<div role="status"><p><b>{escape(show(self.answer))}</b>, {escape(verdict)}.</p>'
                f"{in_html(words)}{self._shown_after_it(live=True)}</div>"
            )

    def _shown_after_it(self, live: bool) -> str:
        """Return what follows, whatever was guessed, as HTML."""
        then = in_html(self.question.fill(self.question.then, self.answer))
        if self.show is None:
            return then
        if not isinstance(self.show, Drawing):
            return f"<pre>{escape(str(self.show))}</pre>{then}"
        if live:
            return f"{self.show.svg}{then}"
        svg = base64.b64encode(self.show.svg.encode()).decode()
        words = escape(self.show.words)
        return f'<p><img src="data:image/svg+xml;base64,{svg}" alt="{words}"/></p>{then}'

    def static_form(self) -> tuple[str, str, str]:
        """Return the question, and the answer folded."""
        question, answer = self.question, self.answer
        right = in_html(question.fill(question.right, answer))
        options = ""
        if isinstance(question.kind, OneOf):
            lines = [in_html(option) for option in question.kind.options]
            lines = "".join(lines).replace("<p>", "<li>").replace("</p>", "</li>")
            options = f'<ul style="list-style: none">{lines}</ul>'
        page = (
            f"{_question_html(question)}{options}<details><summary>Answer</summary>"
            f"<p><b>{escape(question.kind.show(answer))}</b></p>"
            f"{right}{self._shown_after_it(live=False)}</details>"
        )
        ask = MARKS.sub(r"\1\2", question.ask)
        return "", page, f"[Predict: {ask}]"


def _question_html(question: Question) -> str:
    return f"<p><b>Predict:</b> {in_html(question.ask).removeprefix('<p>')}"


def predict(name: str, answer, show: Drawing | str | None = None) -> Prediction:
    """Return the widget that asks a question of the course by its name, "6.3 longest message".

    `answer` is what the cell has computed: a number in the question's unit, a shape, an option's
    text. Raises ValueError for a name that no question has.
    """
    known = questions()
    if name not in known:
        raise ValueError(f"no question is called {name!r}; there are {', '.join(known)}")
    return Prediction(name, known[name], answer, show)
