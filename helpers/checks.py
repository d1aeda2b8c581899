"""Refuse a wrong argument in one sentence, with its value and what would do."""

import math
from collections.abc import Collection
from numbers import Integral, Real


def whole_number(name: str, value, least: int = 1, most: float = math.inf, what: str = "") -> int:
    """Return `value`, a whole number from `least` to `most`, as an int; numpy's will do.

    `what` tells what the limits are. Raises ValueError for any other value.
    """
    is_whole = isinstance(value, Integral) and not isinstance(value, bool)
    if is_whole and least <= value <= most:
        return int(value)
    limits = f"from {least}" if most == math.inf else f"from {least} to {most}"
    raise ValueError(f"{name} must be a whole number {limits}{what}, not {value!r}")


def finite_number(name: str, value, inclusive: bool = False, most: float = math.inf) -> float:
    """Return `value`, a number above 0 (`inclusive`: or 0 itself), as a float.

    It is finite and no larger than `most`. Raises ValueError for any other value.
    """
    is_number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if is_number and (value > 0 or (inclusive and value == 0)) and value <= most:
        return float(value)
    limits = "from 0" if inclusive else "above 0"
    if most < math.inf:
        limits += f" to {most:g}"
    raise ValueError(f"{name} must be a finite number {limits}, not {value!r}")


def one_of(name: str, value, choices: Collection) -> None:
    """Raise ValueError for a `value` that is none of `choices`, all of which the message names."""
    if value not in list(choices):
        raise ValueError(f"{name} must be {' or '.join(map(repr, choices))}, not {value!r}")
