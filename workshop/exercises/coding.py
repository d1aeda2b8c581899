"""`check_code`: is a function that a learner has written right, and which mistake is in it?

A section's module has an exercise for each stub of its notebook. Its trial calls what the learner
wrote on inputs made by hand and raises `Mistake`, in one sentence, at the first thing that is off.
An error inside the learner's code is shown with the learner's own line.
"""

import dis
import inspect
import linecache
import pkgutil
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from numbers import Real
from pathlib import Path

import torch

from workshop.exercises.record import OPEN, SOLVED, TRIED, record

NOT_YET_WRITTEN = (
    "Not written yet: put your code in the place of the three dots, and run both cells."
)


OF_A_STUB = {"RESUME", "NOP", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE", "POP_TOP"}


class Mistake(Exception):
    """What is off about a learner's code, in a sentence."""


@dataclass(frozen=True)
class Exercise:
    """How a learner's code is tried.

    `trial` takes the function, or class, raises Mistake for what is off, and returns in words what
    was tried. Of a class, `method` is what the learner writes.
    """

    trial: Callable[[Callable], str]
    method: str = ""


def sections() -> list:
    """Return the modules of all sections that ask something."""
    names = [module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)])]
    return [
        import_module(f"workshop.exercises.{name}") for name in names if name.startswith("section_")
    ]


def section_number(module) -> str:
    """Return the section of a module: "6.3" of `section_6_3`, "6.A" of `section_6_a`."""
    return module.__name__.rpartition("section_")[2].replace("_", ".").upper()


def all_of(kind: str) -> dict:
    """Return what all sections have of a kind, "EXERCISES" or "QUESTIONS": name → (section, it)."""
    return {
        name: (section_number(module), entry)
        for module in sections()
        for name, entry in getattr(module, kind, {}).items()
    }


def check_code(given) -> None:
    """Print whether a learner's function or class is right, or which mistake is in it.

    The exercise is found by its name. Whatever is given, and whatever it does, nothing is raised.
    """
    name = getattr(given, "__name__", "")
    exercises = all_of("EXERCISES")
    if not callable(given) or name not in exercises:
        what = f"no exercise is called {name}" if name else "a function or a class is due here"
        print(f"{what[0].upper()}{what[1:]}: keep the stub's name, and write no brackets after it.")
        return
    section, exercise = exercises[name]
    state, words = judge(given, exercise)
    print(words)
    record(f"{section} {name}", state)


def judge(given: Callable, exercise: Exercise) -> tuple[str, str]:
    """Return the state of the exercise (see `record`), and what is to be said."""
    written = getattr(given, exercise.method, None) if exercise.method else given
    if written is None:
        return TRIED, f"Not yet: the class has no {exercise.method} any more; take the stub again."
    written = inspect.unwrap(written)  # without decorators
    if _is_a_stub(written):
        return OPEN, NOT_YET_WRITTEN
    try:
        tried = exercise.trial(given)
    except Mistake as mistake:
        return TRIED, f"Not yet: {mistake}"
    except (Exception, SystemExit) as error:
        return TRIED, f"Not yet: {_say_error(error, written)}"
    return SOLVED, f"Right: tried with {tried}."


def _is_a_stub(function) -> bool:
    """Does a function do nothing at all, apart from its docstring?"""
    try:
        instructions = list(dis.get_instructions(function))
    except TypeError:  # made in C, or no function
        return False
    constants = [i.argval for i in instructions if i.opname in ("LOAD_CONST", "RETURN_CONST")]
    return {i.opname for i in instructions} <= OF_A_STUB and set(constants) <= {None, ...}


def _say_error(error: Exception, written) -> str:
    """Say what was raised, with the learner's own line where there is one."""
    file = getattr(getattr(written, "__code__", None), "co_filename", None)
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    what = f"{type(error).__name__}: {error}".rstrip(": ")
    if own:
        number = own[-1].lineno  # of a cell, counted from its top
        line = linecache.getline(file, number).strip()
        return f"your line {number} raised {what}\n    {line}".rstrip()
    if isinstance(error, TypeError) and "argument" in str(error):
        return f"the stub's first line has changed ({error}); take it again."
    return f"what it returns is of another kind than asked for ({what})."


# --- for the trials: what came back, or a sentence ------------------------------------------------


def returned(value, what: str = "the answer"):
    """Return a value that is something; raise Mistake for None."""
    if value is None:
        raise Mistake(f"it returns nothing where {what} is due: is there a `return` at its end?")
    return value


def tensor_of(value, shape: tuple[int, ...], what: str = "the answer") -> torch.Tensor:
    """Return a tensor of this shape; raise Mistake for anything else."""
    returned(value, what)
    if not isinstance(value, torch.Tensor):
        raise Mistake(f"{what} should be a tensor, not a {type(value).__name__}.")
    if tuple(value.shape) != shape:
        raise Mistake(f"{what} should have the shape {shape}, not {tuple(value.shape)}.")
    return value


def number_of(value, what: str = "the answer") -> float:
    """Return a number, or a tensor's or array's only one, as a float; raise Mistake for others."""
    returned(value, what)
    if hasattr(value, "item"):
        try:
            value = value.item()
        except (RuntimeError, ValueError, TypeError) as error:
            raise Mistake(f"{what} should be one number, not several.") from error
    if not isinstance(value, Real):
        raise Mistake(f"{what} should be a number, not a {type(value).__name__}.")
    return float(value)
