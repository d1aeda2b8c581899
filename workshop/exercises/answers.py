"""Answers to short tasks: a number, a text or a set of letters, in whatever form they are written."""

import math
import re
import reprlib
from collections.abc import Mapping
from numbers import Real

SEVERAL = (set, frozenset, list, tuple)


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
        return "Replace None with your answer, then run both cells."
    if isinstance(given, SEVERAL) and any(entry is None for entry in given):
        return "There is still a None in your answer."
    if isinstance(given, (str, *SEVERAL)) and len(given) == 0:
        return "Your answer is empty."
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


def describe_difference(given, expected, mistakes: Mapping) -> str | None:
    """Return what is wrong with an answer, None for a right one.

    `mistakes` are sentences, each with the answer that it is about.
    """
    if callable(given):
        return "This is a function. Call it, with round brackets after its name."
    if fits(given, expected):
        return None
    for sentence, wrong in mistakes.items():
        if fits(given, wrong):
            return sentence
    if isinstance(expected, Real):
        number = number_in(given)
        if number is None:
            return "The answer is a number."
        return "That is too low." if number < expected else "That is too high."
    if isinstance(expected, str):
        return "" if isinstance(given, str) else "The answer is a text, in quotes."
    if isinstance(given, str) or (len(given := list(given)) == 1 and len(show(given[0])) > 1):
        return 'Put quotes around each letter, as in {"x", "y"}.'
    entries = letters_in(given)
    remarks = []
    for name, letters in (("missing", expected - entries), ("wrong", entries - expected)):
        if letters:
            remarks.append(f"{name}: {', '.join(sorted(letters))}")
    return f"Of your letters, {'; '.join(remarks)}." if entries & expected else "None of them fits."


def fits(given, expected) -> bool:
    """Return whether an answer is the expected number (floats within 1 %), text or set."""
    if isinstance(expected, Real):
        number = number_in(given)
        tolerance = 0.01 * abs(expected) if isinstance(expected, float) else 0
        return number is not None and abs(number - expected) <= tolerance
    if isinstance(expected, str):
        return isinstance(given, str) and given.lower().split() == expected.lower().split()
    return isinstance(given, SEVERAL) and letters_in(given) == expected


def letters_in(given) -> set[str]:
    """Return the entries of a set or list, in lower case."""
    return {show(entry).strip().lower() for entry in given}


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
