"""Questions to which a learner commits before the answer is revealed.

`questions.toml` has their texts. The answer is computed in the notebook, by the model and the
messages that are there. `workshop.widgets.predict` asks; what is typed is understood here.
"""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path

from workshop.exercises.answers import number_in

TOO_LOW, TOO_HIGH, ELSE = "too low", "too high", "else"  # guesses that share a reply
MARKS = re.compile(r"`([^`]+)`|(?<![\w*])\*([^*\s`][^*`]*)\*(?![\w*])")  # code, or emphasis


class Kind:
    """The kind of answer that is asked for: Number, Shape or OneOf."""

    def read(self, text: str):
        """Return the guess that a text says; raise ValueError, with the text in it, for none."""
        guess, text = None, text.strip()
        match self:
            case Number():
                guess, missing = number_in(text.removesuffix(self.unit)), "number"
            case Shape():
                missing = "shape, such as (1, 4, 2)"
                if re.fullmatch(r"[\s(\[]*\d+([\s,x×]+\d+)*[\s,)\]]*", text):
                    guess = tuple(int(length) for length in re.findall(r"\d+", text))
            case OneOf():
                missing = f"option here; there are {', '.join(self.options)}"
                if text in self.options:
                    guess = text
        if guess is None:
            raise ValueError(f"{text!r} is no {missing}")
        return guess

    def same(self, guess, answer) -> bool:
        """Return whether a guess counts as right."""
        if isinstance(self, Number):
            return abs(guess - answer) <= max(self.within, self.tolerance * abs(answer), 1e-9)
        return guess == answer

    def show(self, value) -> str:
        """Return a guess or an answer as a text."""
        match self:
            case Number():
                value = round(float(value), 4)
                form = ",.0f" if value.is_integer() or abs(value) >= 1000 else ".3g"
                return f"{value:{form}} {self.unit}".strip()
            case Shape():
                return str(tuple(value))
        return str(value)


@dataclass(frozen=True)
class Number(Kind):
    """A number in `unit`; a guess is right within the fraction `tolerance` of it, or `within` it."""

    tolerance: float = 0.0
    within: float = 0.0
    unit: str = ""


class Shape(Kind):
    """The shape of a tensor."""


class OneOf(Kind):
    """One of several options, each a button."""

    def __init__(self, *options: str):
        self.options = options


@dataclass(frozen=True)
class Question:
    """A question and the replies to guesses.

    `wrong` has a reply for a guess, or for those that are TOO_LOW, TOO_HIGH or anything ELSE;
    `then` follows in either case. {answer} is filled in; `code` and *emphasis* are understood.
    """

    ask: str
    kind: Kind
    right: str
    wrong: dict
    then: str = ""

    def reply(self, guess, answer) -> tuple[bool, str]:
        """Return whether a guess is right, and the reply to it."""
        if self.kind.same(guess, answer):
            return True, self.fill(self.right, answer)
        reply = self.wrong.get(ELSE, "")
        if isinstance(self.kind, Number):
            reply = self.wrong.get(TOO_LOW if guess < answer else TOO_HIGH, reply)
        for known, special in self.wrong.items():
            if known not in (TOO_LOW, TOO_HIGH, ELSE) and self.kind.same(guess, known):
                reply = special
        return False, self.fill(reply, answer)

    def fill(self, text: str, answer) -> str:
        """Return a text with the answer in it."""
        return text.replace("{answer}", self.kind.show(answer))


@cache
def questions() -> dict[str, Question]:
    """Return the course's questions by name, "6.3 the longest message"."""
    text = Path(__file__).with_name("questions.toml").read_text(encoding="utf-8")
    course = {}
    for entry in tomllib.loads(text)["questions"]:
        if "options" in entry:
            kind = OneOf(*entry["options"])
        elif "kind" in entry:
            kind = Shape()
        else:
            kind = Number(entry.get("tolerance", 0), entry.get("within", 0), entry.get("unit", ""))
        wrong = {}
        for guess, reply in entry["wrong"].items():
            known = guess if guess in (TOO_LOW, TOO_HIGH, ELSE) else kind.read(guess)
            wrong[known] = _join_lines(reply)
        texts = [_join_lines(entry.get(name, "")) for name in ("ask", "right", "then")]
        course[entry["name"]] = Question(texts[0], kind, texts[1], wrong, texts[2])
    return course


def _join_lines(text: str) -> str:
    """Return a text with a space for each line break; an empty line stays."""
    return re.sub(r"(?<!\n)\n(?!\n)", " ", text.strip())


def in_html(text: str) -> str:
    """Return a text as HTML: its `code` and *emphasis*, and a new paragraph for each empty line."""
    html = MARKS.sub(r"<code>\1</code><i>\2</i>", escape(text.strip(), quote=False))
    html = html.replace("<code></code>", "").replace("<i></i>", "")  # a mark is one of the two
    paragraphs = re.sub(r"\n\s*\n", "</p><p>", html)
    return f"<p>{paragraphs}</p>" if paragraphs else ""
