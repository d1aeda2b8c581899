"""How a trial tells which mistake is in a learner's code, in a sentence."""

import copy

import numpy as np
import torch

from helpers.config import END_OF_TEXT


class Mistake(Exception):
    """What is wrong with a learner's code, in a sentence."""


def call(solve, *arguments):
    """Return the result of `solve`; raise Mistake for None, or where it changed its arguments."""
    given = copy.deepcopy(arguments)
    with np.errstate(all="ignore"):
        result = solve(*given)
    if str(given) != str(arguments):
        raise Mistake("your function changed what it was given: leave that as it is.")
    if result is None:
        raise Mistake("it returns nothing: is there a `return` at its end?")
    return result


def compare(got, right, typical: dict | None = None) -> None:
    """Raise Mistake unless `got` is the right number or has the right ones, up to rounding.

    `typical` has the sentences for typical mistakes, with the result of each.
    """
    got, right = np.asarray(got, dtype=float), np.asarray(right, dtype=float)
    if got.shape != right.shape:
        raise Mistake(f"the shape of the result should be {right.shape}, not {got.shape}.")
    if np.allclose(got, right, rtol=1e-4):
        return
    for sentence, result in (typical or {}).items():
        if np.allclose(got, result, rtol=1e-4):
            raise Mistake(sentence)
    raise Mistake(f"the result should be {right.round(3).tolist()}, not {got.round(3).tolist()}.")


def refuse(mistakes: dict) -> None:
    """Raise Mistake with the first sentence of which the condition holds."""
    for sentence, holds in mistakes.items():
        if holds:
            raise Mistake(sentence)


def rows(numbers: str) -> torch.Tensor:
    """Return whole numbers as a tensor (m, n): "1 2; 3 4" are two rows."""
    return torch.tensor([[int(number) for number in row.split()] for row in numbers.split(";")])


def check_row(row: list[int], ids: list[int], length: int, pad_token_id: int = END_OF_TEXT) -> None:
    """Raise Mistake where token ids were not truncated or padded to `length`."""
    padding = [pad_token_id] * (length - len(ids))
    right = (ids + padding)[:length]
    if row == right:
        return
    becomes = f"a message of {len(ids)} tokens becomes {len(row)} ids at a max_length of {length}"
    refuse({
        f"{becomes}: truncate it.": len(row) > length,
        f"{becomes}: pad it.": len(row) < length,
        "you truncated at the front: the tokens at the end are left out.": row == ids[-length:],
        "you padded on the left: padding follows the message.": row == padding + ids,
        "you padded with 0, which is the token of “!”: pad with 50256.":
            row == ids + [0] * len(padding),
        "with pad_token_id=7 it still pads with 50256: use self.pad_token_id.":
            row == ids + [END_OF_TEXT] * len(padding),
        f"the row should be {right}, not {row}.": True,
    })  # fmt: skip
