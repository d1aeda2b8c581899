"""A question, a field and a button "Commit"; only then the answer.

The texts are in `workshop/exercises/questions.toml`; the answer comes from the notebook's cell or
from `workshop/exercises/predicted.py`.
"""

import asyncio
import base64
from contextlib import suppress
from dataclasses import replace
from html import escape

from ipywidgets import HTML, Text

from workshop.exercises.answers import plain
from workshop.exercises.predicted import ANSWERS
from workshop.exercises.prediction import MARKS, OneOf, Question, in_html, questions
from workshop.exercises.record import RIGHT, UNSAID, WRONG, kept_guess, record
from workshop.pictures.svg import Drawing
from workshop.widgets.parts import (
    BOX,
    RUN_ALL,
    Choice,
    CourseWidget,
    ask,
    button,
    named,
    problem_shown,
    row,
)

ENTER = 0.2  # seconds in which what was typed arrives from the page after the key


class Prediction(CourseWidget):
    """One question of the course; `commit` takes a guess as it is typed.

    `name` is what it is kept as. `guess` and `is_right` are None until a guess is taken, which
    happens once: one that was kept beside the notebook is taken at once. `show` is a Drawing or a
    text that is shown only after it.
    """

    def __init__(self, name: str, question: Question, answer, show: Drawing | str | None = None):
        self.name, self.question, self.show = name, question, show
        self.answer = plain(answer)
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
        shown = named(HTML(_question_html(question, self.answer)), "pr-question")
        field = row(self._field, self._button, css="pr-row")
        super().__init__("prediction", [shown, field, self._problem, self._reply])
        record(name, UNSAID)
        if kept := kept_guess(name):
            self._restore(kept)

    def _restore(self, kept: str) -> None:
        """Take a guess that was kept; one that this question can't read is ignored."""
        with suppress(ValueError):
            self.question.kind.read(kept)
            if isinstance(self._field, Choice):
                self._field.choose(kept)
            else:
                self._field.value = kept
            self.commit(kept)

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
                raise ValueError("Enter a guess first. Even a wrong one helps you learn")
            self.guess = self.question.kind.read(text)
            self.is_right, words = self.question.reply(self.guess, self.answer)
            record(self.name, RIGHT if self.is_right else WRONG, text.strip())
            for control in self._controls:
                control.disabled = True  # a guess is made once
            self._button.description = "✓ Committed"  # it keeps the keyboard's focus
            self._reply.value = (
                f'<div role="status">{self._verdict()}'
                f"{in_html(words)}{self._shown_after_it(live=True)}</div>"
            )

    def _verdict(self) -> str:
        """Return right or wrong as HTML: by a sign, a colour and a word; and the answer."""
        show = self.question.kind.show
        answer, guess = escape(show(self.answer)), escape(show(self.guess))
        if self.is_right:
            near = "" if answer == guess else f" You said {guess}."
            return f'<p class="pr-right"><b>✓ Right:</b> <b>{answer}</b>.{near}</p>'
        return f'<p class="pr-wrong"><b>✗ Wrong:</b> the answer is <b>{answer}</b>. You said {guess}.</p>'

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
        """Return the question in a box, and the answer folded."""
        question, answer = self.question, self.answer
        options = ""
        if isinstance(question.kind, OneOf):
            lines = "".join(f"<li>{escape(option)}</li>" for option in question.kind.options)
            options = f"<ul>{lines}</ul>"
        page = (
            f'<div class="course-question" style="{BOX}">{_question_html(question, answer)}{options}'
            f"{RUN_ALL}<details><summary>Answer</summary>"
            f"<p><b>{escape(question.kind.show(answer))}</b></p>"
            f"{in_html(question.reply(answer, answer)[1])}{self._shown_after_it(live=False)}"
            "</details></div>"
        )
        asked = MARKS.sub(r"\1\2", question.fill(question.ask, answer))
        return "", page, f"[Predict: {asked}]"


def _question_html(question: Question, answer) -> str:
    ask = in_html(question.fill(question.ask, answer))
    return f"<p><b>Predict:</b> {ask.removeprefix('<p>')}"


def predict(
    name: str, answer=None, show: Drawing | str | None = None, *, given=None, **values
) -> Prediction:
    """Return the widget that asks a question of the course by its name, "6.3 the longest message".

    `answer` is what the cell has computed: a number in the question's unit, a shape, an option's
    text. For a question in `workshop.exercises.predicted.ANSWERS` it is computed there instead, from
    `given`: one value, or a tuple of several. So the cell does not show how.

    `values` are filled in where the texts of the question have their names, {median} or {share:.1f}.
    `show`, a Drawing or a text, is shown after the guess. Raises ValueError for a name that no
    question has, and for a value that its texts need and that is missing.

        predict("6.5 the shape with the new head", tuple(outputs.shape))
        predict("6.2 always ham", given=(ham, spam))
        predict("6.3 padding", share, drawing, one_length=60.2)
    """
    known = questions()
    if name not in known:
        raise ValueError(f"no question is called {name!r}; there are {', '.join(known)}")
    if answer is None:
        answer = ANSWERS[name](*given) if isinstance(given, tuple) else ANSWERS[name](given)
    if isinstance(answer, dict):
        values = answer | values
        answer = values.pop("answer")
    question = replace(known[name], values={key: plain(value) for key, value in values.items()})
    if missing := question.missing():
        raise ValueError(f"the texts of {name!r} need values for {', '.join(sorted(missing))}")
    return Prediction(name, question, answer, show)
