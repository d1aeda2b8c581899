"""Fetch one file over HTTP so that what lies in its place is always whole.

The bytes go into a `.part` file beside the target, which gets its name when length and checksum are
right. A `.part` that is left by a cut is continued with an HTTP range request (RFC 9110, section
14). Each source has a `.part` of its own, so that two of them never mix in one file. One process at
a time fetches a file; the others wait for it.
"""

import errno
import hashlib
import http.client
import os
import re
import tempfile
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO

from tqdm.auto import tqdm

CHUNK = 1 << 18  # bytes read at a time


TRIES = 3  # per source, each continuing where the last was cut


TIMEOUT = 30  # seconds without a byte


PAUSE = 1  # seconds before the second try; twice as many before the third


LONGEST_PAUSE = 60  # seconds; a source that asks for more is left for the next one


NETWORK_ERRORS = (
    urllib.error.URLError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
)


class DownloadError(OSError):
    """No source gave the whole file; the message lists what each one answered."""


class _Unusable(Exception):
    """The source answered, but not with the file; asking again would not help."""


def download(urls: Sequence[str], path: str | Path, sha256: str | None = None) -> Path:
    """Fetch the first of `urls` that gives the whole file into `path`; return `path`.

    Raises DownloadError when none does. What has come stays for the next call. A disk that is full
    or can't be written raises its own OSError.
    """
    if isinstance(urls, str) or not urls:
        raise ValueError(f"urls must be a list of one address or more, not {urls!r}")
    path = Path(path)
    before = _identity(path)
    answers: list[str] = []
    with one_at_a_time(path):
        if _identity(path) not in (before, None) and sha256 in (None, file_sha256(path)):
            return path  # another process has fetched it in the meantime
        for url in urls:
            part = part_of(path, url)
            if _fetch_whole(url, part, sha256, answers):
                part.replace(path)
                for other in urls:
                    part_of(path, other).unlink(missing_ok=True)
                return path
    listed = "\n  ".join(dict.fromkeys(answers))
    raise DownloadError(f"could not download {path.name}:\n  {listed}")


def part_of(path: Path, url: str) -> Path:
    """Return where the bytes of one source are collected."""
    source = hashlib.sha256(url.encode()).hexdigest()[:8]
    return path.with_name(f"{path.name}.{source}.part")


def _identity(path: Path) -> tuple[int, ...] | None:
    """Return what differs between a file and the one that replaces it; None where there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _fetch_whole(url: str, part: Path, sha256: str | None, answers: list[str]) -> bool:
    """Bring the whole file into `part`, in some tries; say whether that went well.

    `answers` takes what went wrong.
    """
    for attempt in range(TRIES):
        resumed = part.exists()
        try:
            _fetch(url, part)
        except NETWORK_ERRORS as error:
            pause = _pause_after(error, attempt)
            too_long = f"; it asks to wait {pause:.0f} seconds" if pause > LONGEST_PAUSE else ""
            answers.append(f"{url}: {error}{too_long}")
            if _is_final(error) or too_long:
                return False
            if attempt + 1 < TRIES:
                time.sleep(pause)
        except (_Unusable, ValueError) as error:  # urllib's ValueError is about the address
            answers.append(f"{url}: {error}")
            return False
        else:
            if sha256 in (None, file_sha256(part)):
                return True
            part.unlink()
            answers.append(f"{url}: its sha256 is not the expected one")
            if not resumed:
                return False
            # else the fault may lie in what was there before: once more, from the start
    return False


def _is_final(error: Exception) -> bool:
    """Would the source answer the same again? A missing file is missing."""
    is_answer = isinstance(error, urllib.error.HTTPError)
    return is_answer and error.code < 500 and error.code != 429  # Too Many Requests


def _pause_after(error: Exception, attempt: int) -> float:
    """Return the seconds to wait before asking again, at least those that the source asks for."""
    pause = PAUSE * 2**attempt
    if not isinstance(error, urllib.error.HTTPError):
        return pause
    wanted = (error.headers.get("Retry-After") or "").strip()  # RFC 9110, section 10.2.3
    if wanted.isascii() and wanted.isdigit():
        return max(pause, float(wanted))
    try:
        until = parsedate_to_datetime(wanted)
    except ValueError:
        return pause
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(pause, (until - datetime.now(UTC)).total_seconds())


def _fetch(url: str, part: Path) -> None:
    """Bring `part` to its full length from `url`, or raise."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if not have or error.code != 416:
            raise
        # nothing lies beyond what is there: either it is whole, or not the same file
        if error.headers.get("Content-Range") == f"bytes */{have}":
            return
        part.unlink()
        raise ConnectionError(
            "the partial file was longer than the source's; started afresh"
        ) from error
    with response:
        start, total = _span(response, have)
        bar = tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=_target_name(part))
        with bar, open(part, "ab" if start else "wb") as file:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    length = part.stat().st_size
    if total is not None and length != total:
        raise ConnectionError(f"{length} bytes came instead of {total}")


def _span(response: http.client.HTTPResponse, have: int) -> tuple[int, int | None]:
    """Return at which byte an answer starts, and the file's length.

    The length is None where the file comes in chunks, which end with a mark of their own. Raises
    _Unusable for what is not the rest of the file, nor all of it.
    """
    if response.headers.get_content_type() == "text/html":
        raise _Unusable("the answer is a web page, not the file")
    if encoding := response.headers.get("Content-Encoding", "").replace("identity", ""):
        raise _Unusable(f"the answer is compressed ({encoding}), which nobody asked for")
    if response.status == 206:
        said = response.headers.get("Content-Range", "")
        span = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", said)
        if not span or int(span[1]) != have:
            raise _Unusable(f"asked for the bytes from {have}, got {said!r}")
        return have, int(span[2])
    # the whole file, also where the source knows no ranges
    if response.length is None and not response.chunked:
        raise _Unusable("the answer doesn't say how long the file is")
    return 0, response.length


def _target_name(part: Path) -> str:
    return part.name.removesuffix(".part").rpartition(".")[0]


try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt


HELD_BY_ANOTHER = (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLOCK)


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
