"""What the trials of learners' functions share: how a mistake is found, and how it is described."""

import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from helpers.config import END_OF_TEXT


class Mistake(Exception):
    """What is wrong with a learner's code, in a sentence."""


@dataclass(frozen=True)
class Exercise:
    """A function or class that a learner writes.

    `trial` takes it, raises Mistake at the first mistake, and returns what was tried, in words.
    `course` takes the same arguments. `finish` turns a right solution into what the page calls.
    """

    trial: Callable[[Callable], str]
    course: Callable
    finish: Callable[[Callable], Callable] = lambda solution: solution


# --- calls ----------------------------------------------------------------------------------------


def call(solve, *arguments):
    """Return the result of `solve`; raise Mistake for None, or where it changed its arguments."""
    given = copy.deepcopy(arguments)
    with np.errstate(all="ignore"):
        result = solve(*given)
    if contents(given) != contents(arguments):
        raise Mistake("your function changed its input. Work on a copy instead.")
    if result is None:
        raise Mistake("your function returns None. Did you forget `return`?")
    return result


def contents(value):
    """Return a value as plain data that `==` can compare.

    Of a model these are its weights and their flags. What is neither data nor a model gives None.
    """
    match value:
        case torch.nn.Module():
            named = value.named_parameters()
            return {name: (weight.requires_grad, weight.tolist()) for name, weight in named}
        case pd.DataFrame():
            return [*value.columns], [*value.index], value.to_numpy().tolist()
        case torch.Tensor() | np.ndarray():
            return str(value.dtype), value.tolist()
        case list() | tuple():
            return [contents(entry) for entry in value]
        case str() | int() | float() | set():
            return value
    return None


def numbers(value, asked_for: str = "numbers") -> np.ndarray:
    """Return what a learner's function has returned as an array; raise Mistake for another kind."""
    try:
        if isinstance(value, torch.Tensor):
            value = value.detach().cpu()
        return np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        kind = type(value).__name__
        raise Mistake(
            f"your function returns {show(value)}, of type {kind}; it should return {asked_for}."
        ) from None


# --- recognising a mistake ------------------------------------------------------------------------


def expect(
    solve: Callable,
    cases: Sequence[tuple],
    right: Callable,
    mistakes: Sequence[tuple[str, Callable]],
) -> list:
    """Return what `solve` returns in each case; raise Mistake unless it is what `right` returns.

    A case has the arguments of one call. `mistakes` are sentences, each with a function that makes
    this mistake. A sentence is said only where this function agrees with `solve` in every case:
    one case alone may agree by coincidence. Where none does, the reply has input, expected and
    returned value, and no cause.
    """
    results = [call(solve, *case) for case in cases]
    expected = [numbers(right(*case)) for case in cases]
    asked_for = "a number" if not expected[0].ndim else "numbers"
    got = [numbers(result, asked_for) for result in results]
    if all(map(alike, got, expected)):
        return results
    for sentence, wrong in mistakes:
        if all(alike(result, wrong(*case)) for result, case in zip(got, cases, strict=True)):
            raise Mistake(sentence)
    if all(alike(result, got[0]) for result in got):
        raise Mistake(
            f"your function returns {show(got[0])} whatever its arguments are. Use its arguments."
        )
    i = next(i for i in range(len(cases)) if not alike(got[i], expected[i]))
    if got[i].shape != expected[i].shape:
        raise Mistake(f"the result has the shape {got[i].shape}; it should be {expected[i].shape}.")
    raise unrecognised(inputs(solve, cases[i]), expected[i], got[i])


def alike(got, expected) -> bool:
    """Return whether two arrays are equal up to rounding."""
    got, expected = np.asarray(got, dtype=float), np.asarray(expected, dtype=float)
    return got.shape == expected.shape and np.allclose(got, expected, rtol=1e-4, equal_nan=True)


def unrecognised(given: str, expected, got) -> Mistake:
    """Return the mistake of which no cause is known: it shows the input and both values."""
    return Mistake(
        "the result is not the expected one.\n"
        f"    input:    {given}\n    expected: {show(expected)}\n    returned: {show(got)}"
    )


def refuse(mistakes: dict) -> None:
    """Raise Mistake with the first sentence whose condition holds."""
    for sentence, holds in mistakes.items():
        if holds:
            raise Mistake(sentence)


# --- showing values -------------------------------------------------------------------------------


def inputs(solve: Callable, case: tuple) -> str:
    """Return the arguments of a call as a text, with the names that the learner gave them."""
    names = inspect.signature(solve).parameters
    shown = [f"{name} = {show(value)}" for name, value in zip(names, case, strict=False)]
    return ",\n              ".join(shown)


def show(value) -> str:
    """Return a short text for a value: numbers rounded to three decimals, long lists cut."""
    match value:
        case str():
            text = value
        case torch.nn.Module():
            parts = [
                f"{name} {tuple(p.shape)} {'trainable' if p.requires_grad else 'frozen'}"
                for name, p in value.named_parameters()
            ]
            text = f"a model with {', '.join(parts)}"
        case torch.utils.data.DataLoader():
            text = " and ".join(show(list(batch)) for batch in value)
        case _ if callable(value):
            text = f"the function {getattr(value, '__name__', '')}".rstrip()
        case _:
            text = str(_rounded(value))
    return text if len(text) <= 300 else f"{text[:300]} …"


def _rounded(value):
    """Return tensors and arrays as lists, and numbers without needless decimals."""
    if isinstance(value, torch.Tensor | np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return type(value)(_rounded(entry) for entry in value)
    if not isinstance(value, float):
        return value
    return int(value) if value.is_integer() else round(value, 3)


# --- inputs made by hand --------------------------------------------------------------------------


def rows(numbers: str) -> torch.Tensor:
    """Return whole numbers as a tensor (m, n): "1 2; 3 4" are two rows."""
    return torch.tensor([[int(number) for number in row.split()] for row in numbers.split(";")])


class WordTokenizer:
    """A tokenizer of texts such as "11 12": a token for each number, with `shift` added to it."""

    def __init__(self, shift: int = 0):
        self.shift = shift

    def encode(self, text: str, **_) -> list[int]:
        """Return the token ids."""
        return [int(word) + self.shift for word in text.split()]


def check_row(row: list[int], ids: list[int], length: int, pad_token_id: int = END_OF_TEXT) -> None:
    """Raise Mistake where token ids were not truncated or padded to `length`."""
    padding = [pad_token_id] * (length - len(ids))
    right = (ids + padding)[:length]
    if row == right:
        return
    of_length = f"with a max_length of {length}, a message of {len(ids)} tokens"
    refuse({
        f"{of_length} should become {length} ids; yours becomes {len(row)}.": len(row) != length,
        "you truncated at the front. Keep the first tokens.": row == ids[-length:],
        "you padded on the left. The padding should follow the message.": row == padding + ids,
        f"you padded with 0, which is the id of “!”. The padding id is {pad_token_id} here.":
            pad_token_id != 0 and row == ids + [0] * len(padding),
        f"with pad_token_id={pad_token_id} it still pads with 50256. Use the argument.":
            row == ids + [END_OF_TEXT] * len(padding),
    })  # fmt: skip
    raise unrecognised(f"the token ids {ids}, max_length = {length}", right, row)
