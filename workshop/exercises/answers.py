"""Whether an answer is right, and what is off about it: a number, a text, a set, entries in order."""

import inspect
import math
import re
from collections.abc import Collection, Sequence
from decimal import Decimal
from numbers import Real

from workshop.exercises.record import OPEN, SOLVED, TRIED, record

NOT_YET = "Not answered yet: "


SHOWN_ENTRIES, SHOWN_LETTERS = 6, 60  # more of an answer than this is not repeated


LISTED_ENTRIES = 1000  # a larger tensor or array is only named


IN_ORDER = list, tuple, range


SEVERAL = *IN_ORDER, set, frozenset


IS_DUE = {  # what kind of answer is asked for → in words
    "truth": "True or False",
    "number": "a number",
    "text": "a text, in quotes",
    "set": "a set: entries in curly brackets, with commas between them",
    "sequence": "entries in order: in round brackets, with commas between them",
}


FACTORS = {  # these factors between an answer and the right one have likely reasons
    2: "",
    3: "",
    4: "",
    8: "",
    10: "",
    100: "a fraction is not its percentage",
    1000: "a comma separates thousands, a point the decimals",
}


def check(given, expected, hint: str = "", name: str = "") -> None:
    """Print whether `given` is right, and if not, what is off about it, and `hint`.

    None means not answered yet. Numbers count by value, floats within 1 %: numpy's, torch's and
    tensors of one element too, and texts such as "890,498". Texts count whatever their capitals; a
    list will do for a tuple or a set. Whatever is given, nothing is raised. `name`, which begins
    with the section, is what `progress` calls the exercise.
    """
    given, expected = plain(given), plain(expected)
    state = TRIED
    if question := unanswered(given):
        print(NOT_YET + question)
        state = OPEN
    elif same(given, expected):
        print(f"Right: {show(expected)}.")
        state = SOLVED
    else:
        remark = what_is_off(given, expected)
        print(f"{show(given)} is not it{': ' if remark else ''}{remark}. {hint}".rstrip())
    if name:
        record(name, state)


def plain(value):
    """Return a tensor, array or Series as a number or lists of numbers, anything else as it is."""
    if isinstance(value, type) or not (hasattr(value, "tolist") and hasattr(value, "shape")):
        return value
    size = math.prod(value.shape)
    if size > LISTED_ENTRIES:
        return value
    try:
        listed = value.tolist()
    except (NotImplementedError, RuntimeError, TypeError):  # on torch's meta device, or sparse
        return value
    while size == 1 and isinstance(listed, list):
        (listed,) = listed
    return listed


def unanswered(given) -> str:
    """Return what is still to do where there is no answer yet."""
    if given is None or given is ...:
        return "put your answer in the place of None and run both cells again."
    if isinstance(given, str) and not given.strip():
        return "the text is empty."
    if isinstance(given, SEVERAL) and len(given) == 0:
        return "there is nothing between the brackets."
    if isinstance(given, SEVERAL) and any(entry is None for entry in given):
        return "there is still a None in your answer."
    return ""


# --- is it right? ---------------------------------------------------------------------------------


def _kind(value) -> str:
    """Return what kind of answer a plain value is, a key of IS_DUE; "" for what is none."""
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, Real | Decimal):
        return "number"
    if isinstance(value, str):
        return "text"
    if isinstance(value, set | frozenset):
        return "set"
    return "sequence" if isinstance(value, IN_ORDER) else ""


def same(given, expected) -> bool:
    given, kind = plain(given), _kind(expected)
    if kind == "number":
        number = number_in(given)
        return number is not None and _equal(number, expected)
    if kind == "text":
        return isinstance(given, str) and _folded(given) == _folded(expected)
    if kind == "set":
        return isinstance(given, SEVERAL) and not any(_missing_and_too_much(given, expected))
    if kind == "sequence":
        alike = isinstance(given, IN_ORDER) and len(given) == len(expected)
        return alike and all(map(same, given, expected))
    return given is expected  # True and False, of which there is one each


def number_in(given) -> int | float | None:
    """Return the number that a plain value is or that a text says; None where it is none."""
    if isinstance(given, str):
        return _number_in_text(given)
    if _kind(given) != "number":
        return None
    if isinstance(given, int):
        return int(given)
    try:
        return float(given)
    except (OverflowError, ValueError):  # a fraction beyond a float, a signalling NaN
        return None


def _number_in_text(text: str) -> int | float | None:
    """Read "890,498", "890 498", "0.29", "0,29", "29 %"."""
    text = text.strip().removesuffix("%").rstrip().replace("−", "-")
    if re.fullmatch(r"[+-]?[1-9]\d{0,2}([\s,_']\d{3})+(\.\d*)?", text):
        text = re.sub(r"[\s,_']", "", text)  # between thousands
    elif re.fullmatch(r"[+-]?\d+,\d+", text):
        text = text.replace(",", ".")  # before the decimals
    if len(text) > 300 or not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text):
        return None
    return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)


def _equal(number: int | float, expected: int | float) -> bool:
    """Is a number the expected one: a float within 1 %, a whole number exactly?"""
    if not isinstance(expected, float):
        return number == expected
    return abs(as_float(number) - expected) <= 0.01 * abs(expected)


def as_float(number: int | float) -> float:
    """Return the nearest float, an infinite one for an integer that is too large."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _folded(text: str) -> str:
    """Return the text without differences in capitals and spaces."""
    return " ".join(text.lower().split())


def _missing_and_too_much(given: Collection, expected: Collection) -> tuple[list, list]:
    """Return the expected entries that are not given, and the given ones that are not expected."""
    given, expected = _in_order(given), _in_order(expected)
    missing = [e for e in expected if not any(same(g, e) for g in given)]
    too_much = [g for g in given if not any(same(g, e) for e in expected)]
    return missing, too_much


# --- what is off? ---------------------------------------------------------------------------------


def what_is_off(given, expected) -> str:
    """Return words that complete "… is not it: "; "" where there is nothing to say."""
    due, kind = _kind(expected), _kind(given)
    if inspect.isroutine(given):
        return "a function has to be called, with round brackets after its name"
    if due == "number" and (number := number_in(given)) is not None:
        return _how_far_off(number, expected)
    if due == "number" and isinstance(given, tuple) and _has_thousands(given):
        written = "".join(map(str, given))
        return f"a comma made it {len(given)} numbers; without it Python reads {written} as one"
    if due == "set" and kind in ("set", "sequence"):
        return _which_entries(given, expected)
    if due == "sequence" and kind == "sequence":
        return _which_places(given, expected)
    if due == "sequence" and kind == "set":
        return "a set has no order; use round brackets"
    if due == kind:
        return ""
    return f"the answer is {IS_DUE[due]}" if due in IS_DUE else ""


def _has_thousands(numbers: tuple) -> bool:
    """Could these be 890,498, written without quotes?"""
    plain_ints = all(type(number) is int for number in numbers)
    return plain_ints and all(100 <= number <= 999 for number in numbers[1:])


def _how_far_off(number: int | float, expected: int | float) -> str:
    value, right = as_float(number), as_float(expected)
    if math.isnan(value):
        return "it stands for an undefined result, such as 0 · ∞"
    if math.isinf(value):
        return "the answer is a finite number"
    if value and _equal(-number, expected):
        return "only its sign is wrong"
    if factor := _factor_between(value, expected):
        return factor
    direction = "too high" if value > right else "too low"
    if value == 0 or right == 0 or (value < 0) != (right < 0):
        side = "0" if right == 0 else "above 0" if right > 0 else "below 0"
        return f"{direction}; the answer is {side}"
    whole = "" if isinstance(expected, float) or value.is_integer() else "; the answer is whole"
    return f"{direction}, by {_distance(value / right)}{whole}"


def _factor_between(value: float, expected: int | float) -> str:
    """Say that the value is a simple multiple of the expected one, or the other way round."""
    if value == 0 or expected == 0:
        return ""
    for factor, reason in FACTORS.items():
        reason = f" ({reason})" if reason else ""
        if _equal(value / factor, expected):
            return f"it is {factor:,} times the right number{reason}"
        if _equal(value * factor, expected):
            return f"it is the right number divided by {factor:,}{reason}"
    return ""


def _distance(ratio: float) -> str:
    """Say about how far off a number is that is `ratio` times the right one."""
    if 0.5 < ratio < 2:
        percent = 100 * abs(ratio - 1)
        return f"about {percent:.0f} %" if percent >= 1 else "less than 1 %"
    factor = ratio if ratio > 1 else 1 / ratio if ratio else math.inf
    return f"a factor of about {factor:,.0f}" if factor < 1e6 else "a factor of a million or more"


def _which_entries(given: Collection, expected: Collection) -> str:
    """Say what is missing and what is too much; what is missing only where something is right."""
    missing, too_much = _missing_and_too_much(given, expected)
    if len(missing) == len(expected):
        return "nothing in it belongs there"
    remarks = [f"missing: {_listed(missing)}"] * bool(missing)
    remarks += [f"too much: {_listed(too_much)}"] * bool(too_much)
    return "; ".join(remarks)


def _which_places(given: Sequence, expected: Sequence) -> str:
    """Say which places differ, or that the number of places does."""
    if len(given) == 1 and _kind(plain(given[0])) == "sequence" and same(given[0], expected):
        return "there is one pair of brackets too many around it"
    if len(given) != len(expected):
        entries = "entry" if len(given) == 1 else "entries"
        remark = f"it has {len(given):,} {entries}, the answer has {len(expected):,}"
        detail = _which_entries(given, expected)
        return f"{remark}; {detail}" if detail else remark
    if not any(_missing_and_too_much(given, expected)):
        return "all that is in it belongs there, but in other places"
    places = [i for i, pair in enumerate(zip(given, expected, strict=True)) if not same(*pair)]
    some = [f"{i} ({show(given[i], inside=True)})" for i in places[:SHOWN_ENTRIES]]
    more = f" and {len(places) - len(some):,} more" if len(places) > len(some) else ""
    return f"counted from 0, what differs is place {', '.join(some)}{more}"


# --- in words -------------------------------------------------------------------------------------


def show(value, inside: bool = False) -> str:
    """Return a value in words; `inside` brackets as Python writes it. Calls no foreign repr."""
    value = plain(value)
    kind = _kind(value)
    if kind == "number":
        return _show_number(value, inside)
    if kind == "text":
        text = value if len(value) <= SHOWN_LETTERS else value[:SHOWN_LETTERS] + "…"
        return text if text.isprintable() and not inside else repr(text)
    if kind in ("set", "sequence"):
        return _show_several(value, inside)
    if inspect.isroutine(value):
        return f"the function {getattr(value, '__name__', '')}".rstrip()
    if value is None or kind == "truth":
        return str(value)
    shape = getattr(value, "shape", None)
    of_shape = f" of shape {tuple(shape)}" if isinstance(shape, tuple) else ""
    return f"{type(value).__name__}{of_shape}"


def _show_number(number: Real | Decimal, inside: bool) -> str:
    number = number_in(number)
    if number is None:
        return "a number without a value"
    if isinstance(number, float):
        large = 1000 <= abs(number) < 1e15 and not inside
        return f"{number:,.1f}".removesuffix(".0") if large else f"{number:.4g}"
    if abs(number) >= 10**SHOWN_LETTERS:
        return f"a number of more than {SHOWN_LETTERS} digits"
    return str(number) if inside else f"{number:,}"


def _show_several(entries: Collection, inside: bool) -> str:
    if inside and any(_kind(plain(entry)) in ("set", "sequence") for entry in entries):
        return "[…]"  # lists in lists in lists
    words = _listed(entries)
    if _kind(entries) == "set":
        return f"{{{words}}}"
    if isinstance(entries, list):
        return f"[{words}]"
    return f"({words},)" if len(entries) == 1 else f"({words})"


def _listed(entries: Collection) -> str:
    """Return the entries with commas between them, many cut short."""
    words = [show(entry, inside=True) for entry in _in_order(entries)[:SHOWN_ENTRIES]]
    more = len(entries) - len(words)
    return ", ".join([*words, f"… ({more:,} more)"] if more else words)


def _in_order(entries: Collection) -> list:
    """Return the entries as a list, those of a set sorted by what is shown of them."""
    if _kind(entries) == "set":
        return sorted(entries, key=lambda entry: show(entry, inside=True))
    return list(entries)
