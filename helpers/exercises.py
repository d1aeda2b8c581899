"""The check cells of the exercises: one function that says what is off."""


def check(given, expected, hint: str = "") -> None:
    """Print whether `given` is right, and if not, `hint`.

    None means not answered yet. Numbers count by value, floats within 1 %; texts whatever their capitals; a list will
    do for a tuple or a set.
    """
    given = given.item() if hasattr(given, "item") else given  # a number out of torch or numpy
    if given is None:
        print("Not answered yet: put your answer in the place of None and run both cells again.")
    elif _same(given, expected):
        print(f"Right: {_show(expected)}.")
    else:
        print(f"{_show(given)} is not it. {hint}".rstrip())


def _same(given, expected) -> bool:
    if isinstance(given, bool) or isinstance(expected, bool):
        return given is expected
    if isinstance(expected, int | float):
        slack = 0.01 * abs(expected) if isinstance(expected, float) else 0
        return isinstance(given, int | float) and abs(given - expected) <= slack
    if isinstance(expected, str):
        return isinstance(given, str) and given.strip().lower() == expected.lower()
    return isinstance(given, list | tuple | set | frozenset) and type(expected)(given) == expected


def _show(value) -> str:
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
