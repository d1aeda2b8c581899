"""`check`: whether an answer is right: a number, a text, or a set of letters."""

import math
import re
import reprlib
from numbers import Real

from workshop.exercises.record import OPEN, SOLVED, TRIED, record

NOT_YET = "Not answered yet: "
SEVERAL = (set, frozenset, list, tuple)


def check(given, expected, hint: str = "", name: str = "") -> None:
    """Print whether `given` is right, and if not, what is wrong with it, and `hint`.

    None means not answered yet. `expected` is a number, a text or a set of lower-case texts. Numbers
    are compared by value, floats within 1 %; numpy's, torch's and texts such as "890,498" are
    numbers, too. Texts are compared without capitals. A list is accepted for a set. Nothing is
    raised. `name`, which begins with the section, is what `progress` calls the exercise.
    """
    given = plain(given)
    remark = describe_difference(given, expected)
    if question := unanswered(given):
        state, reply = OPEN, NOT_YET + question
    elif remark is None:
        state, reply = SOLVED, f"Right: {show(expected)}."
    else:
        remark = f": {remark}" if remark else ""
        state, reply = TRIED, f"{show(given)} is not it{remark}. {hint}".rstrip()
    print(reply)
    if name:
        record(name, state)


def plain(value):
    """Return a tensor, array or Series as a number or nested lists, any other value as it is."""
    try:
        listed = value.tolist()
    except (AttributeError, TypeError, RuntimeError):  # no tensor; sparse, or on the meta device
        return value
    while isinstance(listed, list) and len(listed) == 1:
        listed = listed[0]
    return listed


def unanswered(given) -> str:
    """Return what is still to do where there is no answer yet, otherwise an empty text."""
    if given is None or given is ...:
        return "put your answer in the place of None and run both cells again."
    if isinstance(given, SEVERAL) and any(entry is None for entry in given):
        return "there is still a None in your answer."
    if isinstance(given, (str, *SEVERAL)) and len(given) == 0:
        return "your answer is empty."
    return ""


def number_in(value) -> float | None:
    """Return the number that a value is, or that a text such as "890,498", "0,29" or "29 %" says.

    None where there is none, or where it is not finite.
    """
    if isinstance(value, str):
        value = value.strip().removesuffix("%").rstrip().replace("−", "-")
        if re.fullmatch(r"[+-]?[1-9]\d{0,2}([\s,_']\d{3})+(\.\d*)?", value):
            value = re.sub(r"[\s,_']", "", value)  # these separate thousands
        value = value.replace(",", ".")  # a comma before decimals
    elif isinstance(value, bool) or not isinstance(value, Real):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def describe_difference(given, expected) -> str | None:
    """Return the words that complete "… is not it: ", which may be none; None for a right answer."""
    if callable(given):
        return "a function has to be called, with round brackets after its name"
    if isinstance(expected, Real):
        number = number_in(given)
        if number is None:
            return "the answer is a number"
        tolerance = 0.01 * abs(expected) if isinstance(expected, float) else 0
        if abs(number - expected) <= tolerance:
            return None
        return "too low" if number < expected else "too high"
    if isinstance(expected, str):
        if not isinstance(given, str):
            return "the answer is a text, in quotes"
        return None if given.lower().split() == expected.lower().split() else ""
    if not isinstance(given, SEVERAL):
        return "the answer is a set: entries in curly brackets, with commas between them"
    entries = {show(entry).strip().lower() for entry in given}
    if not entries & expected:
        return "nothing in it belongs there"
    remarks = []
    for name, letters in (("missing", expected - entries), ("too much", entries - expected)):
        if letters:
            remarks.append(f"{name}: {', '.join(sorted(letters))}")
    return "; ".join(remarks) or None


def show(value) -> str:
    """Return a short text for any value."""
    value = plain(value)
    if isinstance(value, str):
        short = value if len(value) <= 60 else f"{value[:60]}…"
        return short if short.isprintable() else repr(short)
    number = number_in(value)
    if number is not None and abs(number) < 1e15:
        if number.is_integer():
            return f"{number:,.0f}"
        return f"{number:,.1f}" if abs(number) >= 1000 else f"{number:.4g}"
    if callable(value):
        return f"the function {getattr(value, '__name__', '')}".rstrip()
    return reprlib.repr(value)
