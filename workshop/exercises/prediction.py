"""Questions to which a learner commits before the answer is revealed.

`questions.toml` has their texts. The answer depends on the model and the messages that are there;
`predicted` computes some, the notebook's cell the others. `workshop.widgets.predict` asks. What is
typed is understood here.
"""

import re
import tomllib
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from html import escape
from pathlib import Path

from workshop.exercises.answers import number_in

TOO_LOW, TOO_HIGH, ELSE = "too low", "too high", "else"  # guesses that share a reply
MARKS = re.compile(r"`([^`]+)`|(?<![\w*])\*([^*\s`][^*`]*)\*(?![\w*])")  # code, or emphasis
FIELD = re.compile(r"\{(\w+)(?::([^{}]*))?\}")  # {answer}, {share:.1f}
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
ABOUT = re.compile(r"^(≈|~|about|around|roughly|approximately)\s*", re.IGNORECASE)
# what may follow a number: its unit, or what is counted; no exponent such as the "e5" of "1e5"
UNIT = re.compile(r"(?<=[\d.])\s*[a-zA-Z][a-zA-Z ]*$")


# --- kinds of answers -----------------------------------------------------------------------------


class Kind:
    """The kind of answer that is asked for: Number, Shape or OneOf.

    `read` returns the guess that a text says. It raises ValueError, with a sentence for the learner,
    where there is none, or where the text may mean two things: so no guess is spent.
    """

    def same(self, guess, answer) -> bool:
        """Return whether a guess counts as right."""
        return guess == answer


@dataclass(frozen=True)
class Number(Kind):
    """A number in `unit`; a guess is right within the fraction `tolerance` of it, or `within` it.

    The unit "%" is for numbers from 0 to 100.
    """

    tolerance: float = 0.0
    within: float = 0.0
    unit: str = ""

    def read(self, text: str) -> float:
        """Return the number of "1,024", "≈ 5", "two", "1 / 12", "86.6 %"; 8.3 for "1/12" in "%"."""
        plain = ABOUT.sub("", text.strip())
        is_percent, is_quotient = plain.endswith("%"), "/" in plain
        if plain.lower() in WORDS:
            plain = str(WORDS.index(plain.lower()))
        plain = UNIT.sub("", plain.removesuffix("%").rstrip())
        number = self._quotient(plain) if is_quotient else number_in(plain)
        if number is None:
            raise ValueError(f"{text!r} is not a number")
        if number < 0:
            raise ValueError(f"{text!r} is negative, and the answer is not")
        if self.unit == "%":
            if is_quotient and not is_percent:
                return 100 * number
            if 0 < number < 1 and not is_percent:
                raise ValueError(
                    f"Do you mean {100 * number:.4g} % or {number:g} %? Type it with the %"
                )
            if number > 100:
                raise ValueError("A percentage of a whole is at most 100")
        elif is_percent:
            asked_for = f"in {self.unit}" if self.unit else "not a percentage"
            raise ValueError(f"{text!r} is a percentage; the answer is {asked_for}")
        return number

    @staticmethod
    def _quotient(text: str) -> float | None:
        """Return the value of "1/12" or "1 / 12", None for another text."""
        try:
            return float(Fraction(text.replace(" ", "").replace(",", "")))
        except (ValueError, ZeroDivisionError):
            return None

    def same(self, guess, answer) -> bool:
        """Return whether a guess is near enough."""
        return abs(guess - answer) <= max(self.within, self.tolerance * abs(answer), 1e-9)

    def show(self, value) -> str:
        """Return a number as a text."""
        value = round(float(value), 4)
        form = ",.0f" if value.is_integer() or abs(value) >= 1000 else ".3g"
        return f"{value:{form}} {self.unit}".strip()


class Shape(Kind):
    """The shape of a tensor."""

    def read(self, text: str) -> tuple[int, ...]:
        """Return the shape that "torch.Size([8, 120])", "8, 120" or "8 x 50,257" says."""
        plain = re.sub(r"^\s*(torch\.Size)?[\s(\[]*|[\s,)\]]*$", "", text)
        thousands = re.search(r"(?<!\d)\d{1,3}(,\d{3})+(?!\d)", plain)
        if thousands and re.search(
            r"\d\s*[x×]|,\s|\d\s+\d", plain
        ):  # so lengths are parted otherwise
            plain = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", plain)
        elif thousands:
            together, apart = thousands[0].replace(",", ""), thousands[0].replace(",", ", ")
            raise ValueError(f"Do you mean {together} or {apart}? Type it like this")
        if not re.fullmatch(r"\d+([\s,x×]+\d+)*", plain):
            raise ValueError(f"{text!r} is not a shape, such as (2, 3)")
        return tuple(int(length) for length in re.findall(r"\d+", plain))

    def show(self, value) -> str:
        """Return a shape as a text."""
        return str(tuple(value))


class OneOf(Kind):
    """One of several options, each a button."""

    def __init__(self, *options: str):
        self.options = options

    def read(self, text: str) -> str:
        """Return the option."""
        if text.strip() not in self.options:
            raise ValueError(f"{text!r} is not an option here; there are {', '.join(self.options)}")
        return text.strip()

    def show(self, value) -> str:
        """Return an option as it is."""
        return str(value)


# --- questions ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Question:
    """A question and the replies to guesses.

    `right` has a reply for an answer, or for any that is something ELSE. `wrong` has a reply for a
    guess, or for those that are TOO_LOW, TOO_HIGH or anything ELSE; `then` follows in either case.
    In all texts {answer} and the other named `values` are filled in, with a format where one is given,
    {share:.1f}; a guess in `wrong` may be {longest}. `code` and *emphasis* are understood.
    """

    ask: str
    kind: Kind
    right: dict
    wrong: dict
    then: str = ""
    values: dict = field(default_factory=dict)

    def missing(self) -> set[str]:
        """Return the names that the texts use and that have no value."""
        replies = [*self.right.values(), *self.wrong, *self.wrong.values()]
        texts = [self.ask, *replies, self.then]
        names = {name for text in texts for name, _ in FIELD.findall(text)}
        return names - self.values.keys() - {"answer"}

    def reply(self, guess, answer) -> tuple[bool, str]:
        """Return whether a guess is right, and the reply to it."""
        if self.kind.same(guess, answer):
            right = self.right.get(self.kind.show(answer), self.right.get(ELSE, ""))
            return True, self.fill(right, answer)
        reply = self.wrong.get(ELSE, "")
        if isinstance(self.kind, Number):
            reply = self.wrong.get(TOO_LOW if guess < answer else TOO_HIGH, reply)
        for known, special in self.wrong.items():
            if known in (TOO_LOW, TOO_HIGH, ELSE):
                continue
            if self.kind.same(guess, self.kind.read(self.fill(known, answer))):
                reply = special
        return False, self.fill(reply, answer)

    def fill(self, text: str, answer) -> str:
        """Return a text with the answer and the values in it."""

        def value_of(match: re.Match) -> str:
            name, form = match.groups()
            if name == "answer":
                return format(answer, form) if form else self.kind.show(answer)
            value = self.values[name]
            return format(value, form or ("," if isinstance(value, int) else ""))

        return FIELD.sub(value_of, text)


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
        right = entry["right"] if isinstance(entry["right"], dict) else {ELSE: entry["right"]}
        right, wrong = (
            {key: _join_lines(reply) for key, reply in replies.items()}
            for replies in (right, entry["wrong"])
        )
        ask, then = (_join_lines(entry.get(name, "")) for name in ("ask", "then"))
        course[entry["name"]] = Question(ask, kind, right, wrong, then)
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
