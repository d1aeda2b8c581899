"""A file or a folder is in its place whole, or not at all.

What is written goes into a neighbour with a name of its own, so that two processes never mix, and
takes the final name when it is complete: renaming within a folder happens at once (POSIX, rename).
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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


def file_sha256(path: str | Path) -> str:
    """Return the sha256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
