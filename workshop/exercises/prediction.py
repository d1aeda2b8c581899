"""Questions to which a learner commits before the answer is revealed.

`questions.toml` has their texts. The answer is computed in the notebook, by the model and the
messages that are there. `workshop.widgets.predict` asks; what is typed is understood here.
"""

import re
import tomllib
from dataclasses import dataclass, field
from functools import cache
from html import escape
from pathlib import Path

from workshop.exercises.answers import number_in

TOO_LOW, TOO_HIGH, ELSE = "too low", "too high", "else"  # guesses that share a reply
MARKS = re.compile(r"`([^`]+)`|(?<![\w*])\*([^*\s`][^*`]*)\*(?![\w*])")  # code, or emphasis


class Kind:
    """A kind of answer: `read` returns the guess that a text says, or raises ValueError."""

    def same(self, guess, answer) -> bool:
        """Return whether a guess counts as right."""
        return guess == answer

    def show(self, value) -> str:
        """Return a guess or an answer as a text."""
        return str(value)


@dataclass(frozen=True)
class Number(Kind):
    """A number in `unit`; a guess is right within the fraction `tolerance` of it, or `within` it."""

    tolerance: float = 0.0
    within: float = 0.0
    unit: str = ""

    def read(self, text: str) -> float:
        number = number_in(text.strip().removesuffix(self.unit))
        if number is None:
            raise ValueError(f"{text.strip()!r} is no number")
        return number

    def same(self, guess: float, answer: float) -> bool:
        return abs(guess - answer) <= max(self.within, self.tolerance * abs(answer), 1e-9)

    def show(self, value: float) -> str:
        value = round(float(value), 4)
        digits = f"{value:,.0f}" if value.is_integer() or abs(value) >= 1000 else f"{value:.3g}"
        return f"{digits} {self.unit}".strip()


class Shape(Kind):
    """The shape of a tensor."""

    def read(self, text: str) -> tuple[int, ...]:
        if not re.fullmatch(r"[\s(\[]*\d+([\s,x×]+\d+)*[\s,)\]]*", text):
            raise ValueError(f"{text.strip()!r} is no shape, such as (1, 4, 2)")
        return tuple(int(length) for length in re.findall(r"\d+", text))

    def show(self, value: tuple) -> str:
        return str(tuple(value))


class OneOf(Kind):
    """One of several options, each a button."""

    def __init__(self, *options: str):
        self.options = options

    def read(self, text: str) -> str:
        if text not in self.options:
            raise ValueError(f"{text!r} is none of the options")
        return text


class Order(Kind):
    """Items, "a: …", "b: …", of which the letters are to be put in order."""

    def __init__(self, *items: str):
        self.items = items

    def read(self, text: str) -> tuple[str, ...]:
        guess = tuple(re.findall(r"\w", text.lower()))
        letters = [item[0] for item in self.items]
        if sorted(guess) != letters:
            raise ValueError(f"{text.strip()!r} is no order of {', '.join(letters)}, each once")
        return guess

    def show(self, value: tuple) -> str:
        return ", ".join(value)


@dataclass(frozen=True)
class Question:
    """A question and the replies to guesses.

    `wrong` has a reply for a guess, or for those that are TOO_LOW, TOO_HIGH or anything ELSE;
    `then` follows in either case. {answer} and {guess} are filled in; `code` and *emphasis* are
    understood.
    """

    ask: str
    kind: Number | Shape | OneOf | Order
    right: str
    wrong: dict = field(default_factory=dict)
    then: str = ""

    def read(self, text: str):
        """Return the guess that a text says; raise ValueError for none."""
        return self.kind.read(text)

    def reply(self, guess, answer) -> tuple[bool, str]:
        """Return whether a guess is right, and the reply to it."""
        if self.kind.same(guess, answer):
            return True, self.fill(self.right, answer, guess)
        reply = self.wrong.get(ELSE, "")
        if isinstance(self.kind, Number):
            reply = self.wrong.get(TOO_LOW if guess < answer else TOO_HIGH, reply)
        for known, special in self.wrong.items():
            if known not in (TOO_LOW, TOO_HIGH, ELSE) and self.kind.same(guess, known):
                reply = special
        return False, self.fill(reply, answer, guess)

    def fill(self, text: str, answer, guess=None) -> str:
        """Return a text with the answer and the guess in it."""
        if guess is not None:
            text = text.replace("{guess}", self.kind.show(guess))
        return text.replace("{answer}", self.kind.show(answer))


@cache
def questions() -> dict[str, Question]:
    """Return the course's questions by name, "6.3 the longest message"."""
    text = Path(__file__).with_name("questions.toml").read_text(encoding="utf-8")
    course = {}
    for entry in tomllib.loads(text)["questions"]:
        if "options" in entry:
            kind = OneOf(*entry["options"])
        elif "items" in entry:
            kind = Order(*entry["items"])
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


def inline_html(text: str) -> str:
    """Return a text as HTML: its `code` and *emphasis*."""

    def tag(match: re.Match) -> str:
        code, emphasis = match.groups()
        return f"<code>{code}</code>" if code else f"<i>{emphasis}</i>"

    return MARKS.sub(tag, escape(text.strip(), quote=False))


def in_html(text: str) -> str:
    """Return a text as HTML, with a new paragraph for each empty line."""
    paragraphs = re.sub(r"\n\s*\n", "</p><p>", inline_html(text))
    return f"<p>{paragraphs}</p>" if paragraphs else ""


def in_text(text: str) -> str:
    """Return a text without the marks of code and emphasis."""
    return MARKS.sub(r"\1\2", text)
