"""Fetch one file over HTTP so that what lies in its place is always whole.

The bytes go into a `.part` file beside the target, which gets its name when length and checksum are
right. A `.part` that is left by a broken connection is continued with an HTTP range request (RFC
9110, section 14). Each source has a `.part` of its own, so that two of them never mix in one file.
"""

import hashlib
import os
import re
import tempfile
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import requests
from filelock import FileLock, Timeout
from requests.adapters import HTTPAdapter
from tqdm.auto import tqdm
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

# where no answer comes, or one of these, three more tries follow after 0, 2 and 4 seconds. A
# Retry-After may ask for an hour, so it is not waited for: the next source is asked
RETRY = Retry(
    total=3,
    backoff_factor=1,
    status_forcelist=[429, 500, 502, 503, 504],
    raise_on_status=False,
    respect_retry_after_header=False,
)
TRIES = 5  # per source, each continuing where the connection broke
CHUNK = 1 << 18  # bytes read at a time, at most
TIMEOUT = 30  # seconds without a byte
MOST_UNTOLD = 2**26  # bytes of an answer that does not say how long it is; UCI's archive has 2**18


class DownloadError(OSError):
    """No source gave the whole file; the message lists what each one answered."""


def download(urls: Sequence[str], path: str | Path, sha256: str | None = None) -> Path:
    """Return `path`, after the first of `urls` that gives the whole file has been fetched into it.

    A file that is there already is left alone, unless it has another sha256. Raises DownloadError
    when no source gives the file (what has come stays for the next call), OSError when it can't be
    written.
    """
    path = Path(path)
    answers = []
    with one_at_a_time(path):
        if path.is_file() and sha256 in (None, file_sha256(path)):
            return path  # another process may have fetched it in the meantime
        for url in urls:
            part = part_of(path, url)
            for _ in range(TRIES):
                try:
                    fetch(url, part)
                    if sha256 in (None, file_sha256(part)):
                        part.replace(path)
                        for source in urls:
                            discard(part_of(path, source))
                        return path
                except requests.RequestException as error:
                    answers.append(f"{url}: {_cause(error)}")
                    break
                except HTTPError as error:  # urllib3's, in the middle of the file
                    answers.append(f"{url}: the connection broke ({_cause(error)})")
                    continue
                except OSError as error:
                    raise OSError(
                        f"{path} can't be written ({error.strerror}); make room on the disk, or "
                        "choose another folder, and call again"
                    ) from error
                answers.append(f"{url}: its sha256 is not the expected one")
                discard(part)  # the fault may lie in what was there before
    listed = "\n  ".join(dict.fromkeys(answers))
    raise DownloadError(f"could not download {path.name}:\n  {listed}")


def part_of(path: Path, url: str) -> Path:
    """Return where the bytes of one source are collected."""
    return Path(f"{path}.{zlib.crc32(url.encode()):08x}.part")


def discard(part: Path) -> None:
    """Delete a partial file, and what was noted of it."""
    part.unlink(missing_ok=True)
    part.with_suffix(".version").unlink(missing_ok=True)


def _cause(error: BaseException) -> BaseException:
    """Return the first error of a chain, such as "Connection refused": the others only wrap it."""
    while error.__context__ is not None:
        error = error.__context__
    return error


def fetch(url: str, part: Path) -> None:
    """Bring `part` to its full length from `url`.

    Raises requests.RequestException where the source doesn't give the file, urllib3's HTTPError
    where it may give the rest when it is asked again.
    """
    version = part.with_suffix(".version")  # holds what the source calls this version of the file
    headers, have = {"Accept-Encoding": "identity"}, 0
    if part.exists() and version.exists():
        have = part.stat().st_size
        # if the file has changed since, the source sends the whole new one
        headers |= {"Range": f"bytes={have}-", "If-Range": version.read_text(encoding="utf-8")}

    with requests.Session() as session:
        session.adapters = {"http": HTTPAdapter(max_retries=RETRY)}  # https begins so, too
        with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if response.status_code == 416:  # there is nothing at this place of the file
                discard(part)
                raise HTTPError("the partial file was none of this source's")
            response.raise_for_status()
            if response.headers.get("Content-Type", "").startswith("text/html"):
                raise requests.RequestException("the answer is a web page, not the file")
            start, total = 0, response.raw.length_remaining
            if not (total or response.raw.chunked):  # a cut could not be told from the end
                raise requests.RequestException("the answer is empty, or of unknown length")
            if response.status_code == 206:
                content_range = response.headers.get("Content-Range", "")
                span = re.fullmatch(rf"bytes {have}-(\d+)/(\d+)", content_range)
                if span is None or int(span[1]) + 1 != int(span[2]):
                    raise requests.RequestException(f"after {have} bytes came {content_range!r}")
                start, total = have, int(span[2])
            bar = tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=part.name)
            with bar, open(part, "ab" if start else "wb") as file:
                mark = response.headers.get("ETag", response.headers.get("Last-Modified"))
                if mark:
                    version.write_text(mark, encoding="utf-8")
                # read1 returns what has come, so nothing of it is lost when the connection breaks
                while chunk := response.raw.read1(CHUNK):
                    if total is None and file.tell() > MOST_UNTOLD:
                        raise requests.RequestException(f"more than {MOST_UNTOLD:,} bytes came")
                    file.write(chunk)
                    bar.update(len(chunk))


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a path to write to; after the block it becomes `path`, after an error it is gone.

    The folder of `path` is made where there is none. Raises OSError when it can't be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{path.name}.", dir=path.parent) as folder:
            part = Path(folder, path.name)
            part.touch()
            mode = part.stat().st_mode  # as the umask has it; safetensors' are their owner's only
            yield part
            part.chmod(mode)
            part.replace(path)
    except OSError as error:  # which names the folder, or no file at all
        raise OSError(f"{path} can't be written: {error.strerror or error}") from error


@contextmanager
def one_at_a_time(path: str | Path) -> Iterator[None]:
    """Let one process or thread at a time into this block for the same `path`.

    The others wait, with a warning. The lock is a file `NAME.lock` beside it. Raises OSError when
    that can't be written.
    """
    lock = FileLock(f"{path}.lock")
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        warnings.warn(f"another process writes {path}; waiting until it has ended", stacklevel=3)
        lock.acquire()
    except OSError as error:  # which names the lock
        raise OSError(f"{path} can't be written: {error.strerror}") from error
    try:
        yield
    finally:
        with suppress(OSError):  # Windows deletes no open file; there filelock does it
            os.unlink(lock.lock_file)
        lock.release()


def file_sha256(path: str | Path) -> str:
    """Return the sha256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
