"""Questions to which a learner commits before the answer is revealed.

A section's module has the words: the question, what is said to the right answer and to typical
wrong ones, what follows from it. The answer itself is computed in the notebook, by the model and
the messages that are there. `helpers.widgets.predict` asks; what is typed is understood here.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from numbers import Real

from workshop.exercises.answers import as_float, number_in

TOO_LOW, TOO_HIGH, ELSE = "too low", "too high", "else"  # guesses that share what is said to them


LETTERS = "abcdefghijklmnopqrstuvwxyz"


EMPHASIS = re.compile(r"(?<![\w*])\*([^*\s][^*]*)\*(?![\w*])")


# --- kinds of answers: `read` a guess, say whether it `takes` an answer, is the `same`, `show` it ----


@dataclass(frozen=True)
class Number:
    """A number in `unit`; a guess counts as right within a share of the answer, or `within` it."""

    tolerance: float = 0.0
    within: float = 0.0
    unit: str = ""
    due = "a number"

    def read(self, text: str) -> float:
        number = number_in(text.strip().removesuffix(self.unit or " ").strip())
        if number is None or not self.takes(as_float(number)):
            raise ValueError(f"{text.strip()!r} is no number")
        return as_float(number)

    def takes(self, answer) -> bool:
        return isinstance(answer, Real) and math.isfinite(answer)

    def same(self, guess: float, answer: float) -> bool:
        return abs(guess - answer) <= max(self.within, self.tolerance * abs(answer), 1e-9)

    def show(self, value: float) -> str:
        value = round(as_float(value), 4)
        digits = f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.3g}"
        return f"{digits} {self.unit}".strip()


@dataclass(frozen=True)
class Shape:
    """The shape of a tensor."""

    due = "a shape, such as (1, 4, 2)"

    def read(self, text: str) -> tuple[int, ...]:
        if not re.fullmatch(r"[\s(\[]*\d+([\s,x×]+\d+)*[\s,)\]]*", text):
            raise ValueError(f"{text.strip()!r} is no shape")
        return tuple(map(int, re.findall(r"\d+", text)))

    def takes(self, answer) -> bool:
        return isinstance(answer, tuple) and all(isinstance(length, int) for length in answer)

    def same(self, guess: tuple, answer: tuple) -> bool:
        return tuple(guess) == tuple(answer)

    def show(self, value: tuple) -> str:
        return str(tuple(value))


@dataclass(frozen=True, init=False)
class OneOf:
    """One of several options, each a button."""

    options: tuple[str, ...]
    due = "one of the options"

    def __init__(self, *options: str):
        object.__setattr__(self, "options", options)

    def read(self, text: str) -> str:
        if not self.takes(text):
            raise ValueError(f"{text!r} is none of the options")
        return text

    def takes(self, answer) -> bool:
        return answer in self.options

    def same(self, guess: str, answer: str) -> bool:
        return guess == answer

    def show(self, value: str) -> str:
        return value


@dataclass(frozen=True, init=False)
class Order:
    """Items, "a: …", "b: …", of which the letters are to be put in order."""

    items: tuple[str, ...]

    def __init__(self, *items: str):
        object.__setattr__(self, "items", items)

    @property
    def letters(self) -> str:
        return LETTERS[: len(self.items)]

    @property
    def due(self) -> str:
        return f"the letters {', '.join(self.letters)} in your order, each once"

    def read(self, text: str) -> tuple[str, ...]:
        letters = re.findall(r"\w", text.lower())
        if not self.takes(letters):
            raise ValueError(f"{text.strip()!r} is no order of {', '.join(self.letters)}")
        return tuple(letters)

    def takes(self, answer) -> bool:
        return sorted(answer) == list(self.letters)

    def same(self, guess: tuple, answer: tuple) -> bool:
        return tuple(guess) == tuple(answer)

    def show(self, value: tuple) -> str:
        return ", ".join(value)


# --- questions ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Question:
    """A question and all that is said to a guess.

    `wrong` has a sentence for a guess, or for those that are TOO_LOW, TOO_HIGH or anything ELSE;
    `then` follows in either case. In the words {answer} and {guess} are filled in; `code` and
    *emphasis* are understood.
    """

    ask: str
    kind: Number | Shape | OneOf | Order
    right: str
    wrong: Mapping = field(default_factory=dict)
    then: str = ""

    def read(self, text: str):
        """Return the guess that a text says; raise ValueError, with what is due, for none."""
        try:
            return self.kind.read(text)
        except ValueError as error:
            raise ValueError(f"{error}; the answer is {self.kind.due}") from error

    def reply(self, guess, answer) -> tuple[bool, str]:
        """Return whether a guess is right, and what is said to it."""
        if self.kind.same(guess, answer):
            return True, self.fill(self.right, answer, guess)
        for known, words in self.wrong.items():
            if known not in (TOO_LOW, TOO_HIGH, ELSE) and self.kind.same(guess, known):
                return False, self.fill(words, answer, guess)
        side = ELSE
        if isinstance(self.kind, Number):
            side = TOO_LOW if guess < answer else TOO_HIGH
        words = self.wrong.get(side) or self.wrong.get(ELSE) or ""
        return False, self.fill(words, answer, guess)

    def fill(self, words: str, answer, guess=None) -> str:
        """Return words with answer and guess in their places."""
        guess = "" if guess is None else self.kind.show(guess)
        return words.replace("{answer}", self.kind.show(answer)).replace("{guess}", guess)


def in_html(words: str) -> str:
    """Return words as HTML: `code`, *emphasis*, and a paragraph for each that an empty line ends."""
    pieces = re.split(r"`([^`]+)`", escape(words.strip(), quote=False))  # every second is code
    pieces[::2] = [EMPHASIS.sub(r"<i>\1</i>", text) for text in pieces[::2]]
    pieces[1::2] = [f"<code>{code}</code>" for code in pieces[1::2]]
    return "".join(f"<p>{part}</p>" for part in re.split(r"\n\s*\n", "".join(pieces)) if part)


def in_text(words: str) -> str:
    """Return words without the marks of code and emphasis."""
    return EMPHASIS.sub(r"\1", words).replace("`", "")
