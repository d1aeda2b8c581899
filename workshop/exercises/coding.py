"""`check_code`: whether a function that a learner has written is right, and which mistake is in it.

`trials` calls what the learner wrote on inputs made by hand. An error inside the learner's code is
shown with the learner's own line.
"""

import dis
import inspect
import linecache
import traceback
from collections.abc import Callable

from workshop.exercises.mistakes import Mistake
from workshop.exercises.record import OPEN, SOLVED, TRIED, report
from workshop.exercises.trials import TRIALS

NOT_YET_WRITTEN = (
    "Not written yet: put your code in the place of the three dots, and run both cells."
)
STUB_OPERATIONS = {"RESUME", "NOP", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE", "POP_TOP"}


def check_code(given) -> None:
    """Print whether a learner's function or class is right, or which mistake is in it.

    The exercise is found by its name. Whatever is given, and whatever it does, nothing is raised.
    """
    name = getattr(given, "__name__", type(given).__name__)
    for exercise, trial in TRIALS.items():
        if exercise.split()[1] == name:
            report(exercise, *judge(given, trial))
            return
    print(f"No exercise is called {name}: keep the stub's name, and write no brackets after it.")


def judge(given: Callable, trial: Callable[[Callable], str]) -> tuple[str, str]:
    """Return the state of an exercise (see `record`) and the reply to what a learner wrote.

    `trial` takes it, raises Mistake at the first mistake, and returns what was tried, in words.
    """
    functions = [given]
    if isinstance(given, type):
        functions = [value for value in vars(given).values() if inspect.isfunction(value)]
    functions = [inspect.unwrap(function) for function in functions]  # without decorators
    if any(_is_stub(function) for function in functions):
        return OPEN, NOT_YET_WRITTEN
    try:
        return SOLVED, f"Right: tried with {trial(given)}."
    except Mistake as mistake:
        return TRIED, f"Not yet: {mistake}"
    except (Exception, SystemExit) as error:
        description = f"{type(error).__name__}: {error}".rstrip(": ")
        files = {function.__code__.co_filename for function in functions}
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if frame.filename in files]
        if own:
            line = linecache.getline(own[-1].filename, own[-1].lineno).strip()
            reply = f"your line {own[-1].lineno} raised {description}\n    {line}".rstrip()
        elif isinstance(error, TypeError) and "argument" in str(error):
            reply = f"the stub's first line has changed ({error}); take it again."
        else:
            reply = f"what it returns is of another kind than asked for ({description})."
        return TRIED, f"Not yet: {reply}"


def _is_stub(function) -> bool:
    """Return whether a function does nothing, apart from its docstring."""
    for operation in dis.get_instructions(function):
        if operation.opname not in STUB_OPERATIONS:
            return False
        if "CONST" in operation.opname and operation.argval not in (None, ...):
            return False
    return True
