"""`check_code`: tries what a learner has written, and returns the function that the page uses.

An error inside the learner's code is shown with the learner's own line.
"""

import dis
import inspect
import linecache
import re
import traceback
from collections.abc import Callable
from contextlib import suppress

import torch
from IPython import get_ipython

from workshop.exercises.mistakes import Exercise, Mistake
from workshop.exercises.record import OPEN, SOLVED, TRIED, report
from workshop.exercises.trials import EXERCISES

HOW_TO_BEGIN = "Replace the three dots with your code, then run both cells."
STUB_OPERATIONS = {"RESUME", "NOP", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE", "POP_TOP"}


def check_code(name: str, given: Callable) -> Callable:
    """Return the function that the page continues with: the learner's if it is right.

    Otherwise that is the course's, which takes the same arguments. Printed is whether `given`, a
    function or a class, is right, or which mistake is in it, and which of the two functions is
    returned. `name` is that of the exercise, "6.6 accuracy". What a learner gives, and what it
    does, raises nothing; a name that no exercise has raises ValueError.

        accuracy_of = check_code("6.6 accuracy", my_accuracy)
    """
    if name not in EXERCISES:
        raise ValueError(f"no exercise is called {name!r}; there are {', '.join(EXERCISES)}")
    exercise = EXERCISES[name]
    state, reply = judge(given, exercise)
    kind = "class" if isinstance(given, type) else "function"
    until = f"the course's `{exercise.course.__name__}` until yours passes."
    endings = {
        OPEN: f"Not written yet: the page continues with {until} {HOW_TO_BEGIN}",
        TRIED: f"{reply}\nThe page continues with {until}",
        SOLVED: f"{reply} The page continues with your {kind}.",
    }
    report(name, state, endings[state] + _note_of_an_older_version(given))
    return exercise.finish(given) if state == SOLVED else exercise.course


def judge(given: Callable, exercise: Exercise) -> tuple[str, str]:
    """Return the state of an exercise (see `record`) and the reply to what a learner wrote."""
    if not callable(given):
        return TRIED, "Not yet: give the function itself, without brackets after its name."
    functions = _functions_of(given)
    if any(_is_stub(function) for function in functions):
        return OPEN, ""
    gradients = torch.is_grad_enabled()
    try:
        tried = exercise.trial(given)
        if torch.is_grad_enabled() != gradients:
            raise Mistake(
                "your function switches gradients off for the whole notebook. Use "
                "`with torch.no_grad():`, which ends with its block."
            )
        return SOLVED, f"Right: tried with {tried}."
    except Mistake as mistake:
        return TRIED, f"Not yet: {mistake}"
    except (Exception, SystemExit) as error:
        return TRIED, f"Not yet: {_describe_error(error, functions)}"
    finally:
        torch.set_grad_enabled(gradients)


def _note_of_an_older_version(given) -> str:
    """Return a note where the notebook's last cell that defines a function did not run.

    After a SyntaxError the name still means the version before, and it would be checked unnoticed.
    """
    shell, name = get_ipython(), getattr(given, "__name__", "")
    functions = _functions_of(given)
    if shell is None or not functions:
        return ""
    cells = shell.user_ns.get("In", [])
    defining = [c for c in cells if re.search(rf"^\s*(def|class) {name}\b", c, re.MULTILINE)]
    if not defining:
        return ""
    with suppress(SyntaxError):
        cell = "".join(linecache.getlines(functions[0].__code__.co_filename))
        if shell.transform_cell(defining[-1]).strip() == cell.strip():
            return ""
    return (
        f"\nThis is an older version of `{name}`: its cell has changed since, and raised an error. "
        "Correct that first."
    )


def _functions_of(given) -> list:
    """Return a function, or those of a class, without decorators.

    What else can be called, such as a `partial`, has no code of its own.
    """
    functions = vars(given).values() if isinstance(given, type) else [given]
    unwrapped = [inspect.unwrap(f) for f in functions if callable(f)]
    return [function for function in unwrapped if inspect.isfunction(function)]


def _describe_error(error: BaseException, functions: list) -> str:
    """Return what an error says, with the line of the learner's functions that raised it."""
    description = f"{type(error).__name__}: {error}".rstrip(": ")
    files = {function.__code__.co_filename for function in functions}
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename in files]
    if own:
        line = linecache.getline(own[-1].filename, own[-1].lineno).strip()
        return f"your line {own[-1].lineno} raised {description}\n    {line}".rstrip()
    if isinstance(error, TypeError) and "argument" in str(error):
        return f"the first line of the stub has changed ({error}). Write it as it was."
    return f"your function returns another kind of value than asked for ({description})."


def _is_stub(function) -> bool:
    """Return whether a function does nothing, apart from its docstring."""
    for operation in dis.get_instructions(function):
        if operation.opname not in STUB_OPERATIONS:
            return False
        if "CONST" in operation.opname and operation.argval not in (None, ...):
            return False
    return True
