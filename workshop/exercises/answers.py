"""`check`: whether an answer is right; a number, a text, a set, or entries in order."""

import math
import re
import reprlib
from numbers import Real

from workshop.exercises.record import OPEN, SOLVED, TRIED, record

NOT_YET = "Not answered yet: "
LISTED = 1000  # a tensor with more entries than this is only named
SETS = (set, frozenset)
SEQUENCES = (list, tuple, range)
SEVERAL = SETS + SEQUENCES


def check(given, expected, hint: str = "", name: str = "") -> None:
    """Print whether `given` is right, and if not, what is wrong with it, and `hint`.

    None means not answered yet. Numbers are compared by value, floats within 1 %; numpy's, torch's
    and texts such as "890,498" are numbers, too. Texts are compared without capitals. A list is
    accepted for a tuple or a set. Nothing is raised. `name`, which begins with the section, is what
    `progress` calls the exercise.
    """
    given, expected = plain(given), plain(expected)
    if question := unanswered(given):
        state, reply = OPEN, NOT_YET + question
    elif same(given, expected):
        state, reply = SOLVED, f"Right: {show(expected)}."
    else:
        remark = describe_difference(given, expected)
        remark = f": {remark}" if remark else ""
        state, reply = TRIED, f"{show(given)} is not it{remark}. {hint}".rstrip()
    print(reply)
    if name:
        record(name, state)


def plain(value):
    """Return a tensor, array or Series as a number or nested lists, any other value as it is."""
    try:
        size = math.prod(value.shape)
        listed = value.tolist() if size <= LISTED else value
    except (AttributeError, TypeError, RuntimeError):  # no tensor; sparse, or on the meta device
        return value
    while size == 1 and isinstance(listed, list):
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


def same(given, expected) -> bool:
    """Return whether an answer counts as the expected one."""
    given, expected = plain(given), plain(expected)
    if isinstance(expected, Real):
        number = number_in(given)
        tolerance = 0.01 * abs(expected) if isinstance(expected, float) else 0
        return number is not None and abs(number - expected) <= tolerance
    if isinstance(expected, str):
        return isinstance(given, str) and given.lower().split() == expected.lower().split()
    if isinstance(expected, SETS):
        return isinstance(given, SEVERAL) and not any(_set_differences(given, expected))
    if not isinstance(given, SEQUENCES) or len(given) != len(expected):
        return False
    return all(same(entry, right) for entry, right in zip(given, expected, strict=True))


def _set_differences(given, expected) -> tuple[list, list]:
    """Return the expected entries that are missing, and the given ones that are not expected."""
    missing = [right for right in expected if not any(same(entry, right) for entry in given)]
    extra = [entry for entry in given if not any(same(entry, right) for right in expected)]
    return missing, extra


def describe_difference(given, expected) -> str:
    """Return the words that complete "… is not it: ", or an empty text."""
    if callable(given):
        return "a function has to be called, with round brackets after its name"
    if isinstance(expected, Real):
        number = number_in(given)
        if number is None:
            return "the answer is a number"
        return "too low" if number < expected else "too high"
    if isinstance(expected, str):
        return "" if isinstance(given, str) else "the answer is a text, in quotes"
    if isinstance(expected, SETS):
        if not isinstance(given, SEVERAL):
            return "the answer is a set: entries in curly brackets, with commas between them"
        missing, extra = _set_differences(given, expected)
        if len(missing) == len(expected):
            return "nothing in it belongs there"
        remarks = []
        for name, entries in (("missing", missing), ("too much", extra)):
            if entries:
                remarks.append(f"{name}: {', '.join(sorted(map(show, entries)))}")
        return "; ".join(remarks)
    if isinstance(given, SETS):
        return "a set has no order; use round brackets"
    if not isinstance(given, SEQUENCES):
        return "the answer is entries in order: in round brackets, with commas between them"
    if len(given) != len(expected):
        return f"it has {len(given)} entries, the answer has {len(expected)}"
    if not any(_set_differences(given, expected)):
        return "the entries are right, but in another order"
    return ""


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
