"""The check cells of the exercises: one function that says what is off."""


def check(given, expected, hint: str = "") -> None:
    """Print whether `given` is right, and if not, `hint`. None means not answered yet; floats count within 1 %."""
    if given is None:
        print("Not answered yet: put your answer in the place of None and run both cells again.")
    elif _same(given, expected):
        print(f"Right: {_show(expected)}.")
    else:
        print(f"{_show(given)} is not it. {hint}".rstrip())


def _same(given, expected) -> bool:
    if isinstance(expected, float) and isinstance(given, int | float):
        return abs(given - expected) <= 0.01 * abs(expected)
    return type(given) is type(expected) and given == expected


def _show(value) -> str:
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
