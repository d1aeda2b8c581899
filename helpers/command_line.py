"""What the course's commands have in common: how they refuse, and how they end."""

import argparse
import os
import sys
from collections.abc import Callable

INTERRUPTED = 130  # a shell's exit code for Ctrl-C


class Parser(argparse.ArgumentParser):
    """An argparse parser that refuses in one line, with exit code 2."""

    def error(self, message: str) -> None:
        self.exit(2, f"{message}; --help says more\n")


def run(command: Callable[[], int | None]) -> None:
    """Do `command` and end with its exit code; what it raises becomes one line, and code 1.

    That holds for what a user can do something about; any other error keeps its traceback.
    """
    try:
        code = command() or 0
        sys.stdout.flush()  # or a closed pipe is met after the end
    except BrokenPipeError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still to be written is for nobody
        sys.exit(f"{error.strerror or error}: nobody reads what is printed any more")
    except (ValueError, OSError, RuntimeError, FloatingPointError) as error:
        sys.exit(f"{error}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = INTERRUPTED
    sys.exit(code)
