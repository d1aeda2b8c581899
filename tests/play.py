"""A notebook's code cells, run in any order in a process of their own, and what each printed.

The process is forked from one that has imported the libraries, which takes longer than most pages.
"""

import linecache
import multiprocessing
import os
import re
import traceback
from dataclasses import dataclass

import pandas

from helpers.config import LEARNERS_FOLDER
from notebooks import build
from tests.conftest import ROOT

PRELOADED = ["torch", "pandas", "sklearn.linear_model", "matplotlib.pyplot", "peft", "tensorflow",
             "IPython", "workshop.widgets", "workshop.exercises", "tests.play"]  # fmt: skip
BAR = re.compile(r"\[a progress bar|\d+%\|")
PLOT = re.compile(r"<Figure size [^>]*>")  # which a kernel displays, and this shell does not
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(PRELOADED)


@dataclass(frozen=True)
class Outcome:
    """What the code cell with this index printed, or the error that it raised."""

    cell: int
    printed: str
    error: str = ""  # type and message
    is_sentence: bool = True  # the error is Python's NameError, or one that the course raises


def saved(cell) -> str:
    """Return the texts of a cell's saved outputs, without progress bars."""
    return _join(
        [
            output.get("text") or output.get("data", {}).get("text/plain", "")
            for output in cell.outputs
        ]
    )


def play(name: str, order: list[int], folder: str) -> list[Outcome]:
    """Run code cells in this order, one after another even if some fail; `folder` keeps files."""
    receiver, sender = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_play, args=(name, order, folder, sender))
    process.start()
    sender.close()
    outcomes = receiver.recv()
    process.join()
    return outcomes


def _play(name: str, order: list[int], folder: str, sender) -> None:
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    os.environ[LEARNERS_FOLDER] = folder
    os.chdir(folder)  # what a page writes is not found by the next run
    pandas.set_option("display.max_columns", 20)  # as in a kernel
    shell = InteractiveShell.instance()
    shell.user_ns["__vsc_ipynb_file__"] = str(ROOT / "notebooks" / f"{name}.ipynb")
    shell.displayhook.write_output_prompt = lambda: None  # no "Out[3]: "
    sources = [cell.source for cell in build.code_cells(build.read(name))]
    outcomes = []
    for cell in order:
        with capture_output() as captured:
            result = shell.run_cell(sources[cell])
        texts = [
            captured.stdout,
            *(output.data.get("text/plain", "") for output in captured.outputs),
        ]
        error = result.error_before_exec or result.error_in_exec
        if error is None:
            outcomes.append(Outcome(cell, _join(texts)))
        else:
            message = f"{type(error).__name__}: {error}"
            outcomes.append(Outcome(cell, "", message, _is_sentence(error)))
    sender.send(outcomes)


def _join(texts: list[str]) -> str:
    kept = [PLOT.sub("", text) for text in texts if text and not BAR.search(text)]
    return " ".join(" ".join(kept).split())


def _is_sentence(error: BaseException) -> bool:
    """Say whether Python misses a name, or a line of the course raises the error on purpose."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    is_ours = last.filename.startswith((str(ROOT / "helpers"), str(ROOT / "workshop")))
    raised = linecache.getline(last.filename, last.lineno).strip().startswith("raise")
    return isinstance(error, NameError) or (is_ours and raised)
