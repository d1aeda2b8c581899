"""A file or a folder is in its place whole, or not at all.

What is written goes into a neighbour with a name of its own, so that two processes never mix, and
takes the final name when it is complete: renaming within a folder happens at once (POSIX, rename).
"""

import errno
import hashlib
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt

LEARNERS_FOLDER = (
    "COURSE_FOLDER"  # the environment variable with the folder for what a learner keeps
)
HELD_BY_ANOTHER = (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLOCK)


def beside_the_notebook(name: str) -> Path:
    """Return where a learner's own file lies: in LEARNERS_FOLDER, if it is set, else beside the notebook."""
    return Path(os.environ.get(LEARNERS_FOLDER) or ".", name)


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a path to write to; after the block it becomes `path`, after an error it is gone.

    The folder of `path` is made where there is none. Raises OSError when it can't be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{path.name}.", dir=path.parent) as home:
        part = Path(home, path.name)
        yield part
        os.replace(part, path)


@contextmanager
def whole_folder(folder: str | Path) -> Iterator[Path]:
    """Yield a new folder to fill; after the block it becomes `folder`, after an error it is gone.

    An older `folder` is deleted last. A process that is killed in the moment between the two
    renames leaves both beside each other, in `NAME.*/old` and `NAME.*/new`. Raises OSError when it
    can't be written.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    new, old = home / "new", home / "old"
    try:
        new.mkdir()
        yield new
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    finally:
        if old.exists() and not folder.exists():
            old.rename(folder)
        shutil.rmtree(home)


@contextmanager
def one_at_a_time(path: str | Path) -> Iterator[None]:
    """Let one process or thread at a time into this block for the same `path`; the others wait.

    The lock lies on a file `NAME.lock` beside it. The system takes it away from a process that
    ends, however it ends (Linux and macOS: flock; Windows: msvcrt.locking). Raises OSError when
    the file can't be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f"{path.name}.lock")
    told = False
    while (file := _locked(lock)) is None:
        if not told:
            warnings.warn(f"another process is at work on {path}; waiting for it", stacklevel=4)
            told = True
        time.sleep(0.1)  # seconds
    try:
        yield
    finally:
        if fcntl is None:
            file.close()  # Windows deletes no open file
        with file, suppress(OSError):
            lock.unlink()


def _locked(lock: Path) -> IO | None:
    """Return the file `lock`, open and locked; None where another one has it."""
    file = lock.open("ab")
    try:
        if _lock(file) and os.path.samestat(os.fstat(file.fileno()), lock.stat()):
            return file
    except FileNotFoundError:
        pass  # the one before has just deleted it; what was locked is no longer the lock
    except BaseException:
        file.close()
        raise
    file.close()
    return None


def _lock(file: IO) -> bool:
    try:
        if fcntl is None:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # any other error: a file system without locks, where one goes on as if alone
        return error.errno not in HELD_BY_ANOTHER
    return True


def file_sha256(path: str | Path) -> str:
    """Return the sha256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
