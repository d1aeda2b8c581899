"""Fetch one file over HTTP so that what lies in its place is always whole.

The bytes go into `NAME.part` beside the target, which gets its name when length and checksum are
right. A `.part` that is left by a cut is continued with an HTTP range request (RFC 9110, section
14).
"""

import http.client
import re
import ssl
import urllib.error
import urllib.request
from pathlib import Path

from tqdm.auto import tqdm

from helpers.files import file_sha256

CHUNK = 1 << 18  # bytes read at a time
TRIES = 3  # per source, each continuing where the last was cut
TIMEOUT = 30  # seconds without a byte
NETWORK_ERRORS = (
    urllib.error.URLError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
    ssl.SSLError,
)


class DownloadError(OSError):
    """No source gave the whole file; the message lists what each one answered."""


def download(urls: list[str], path: str | Path, sha256: str | None = None) -> Path:
    """Fetch the first of `urls` that gives the whole file into `path`; return `path`.

    Raises DownloadError when none does. What has come stays in `NAME.part` for the next call. A
    disk that is full or can't be written raises its own OSError.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    answers = []
    for url in urls:
        for _ in range(TRIES):
            resumed = part.exists()
            try:
                _fetch(url, part)
            except (_Unusable, *NETWORK_ERRORS) as error:
                answers.append(f"{url}: {error}")
                refused = (
                    isinstance(error, urllib.error.HTTPError)
                    and error.code < 500
                    and error.code != 429
                )
                if refused or isinstance(error, _Unusable):
                    break  # asking again would not help
                continue
            if sha256 is None or file_sha256(part) == sha256:
                part.replace(path)
                return path
            part.unlink()
            answers.append(f"{url}: its sha256 is not the expected one")
            if (
                not resumed
            ):  # else the fault may lie in what was there before: once more, from the start
                break
    raise DownloadError(
        f"could not download {path.name}:\n  " + "\n  ".join(dict.fromkeys(answers))
    )


class _Unusable(Exception):
    """The source answered, but not with the file."""


def _fetch(url: str, part: Path) -> None:
    """Bring `part` to its full length from `url`, or raise."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if (
            have and error.code == 416
        ):  # nothing lies beyond: either it is whole, or not the same file
            if error.headers.get("Content-Range") == f"bytes */{have}":
                return
            part.unlink()
            raise ConnectionError(
                "the partial file was longer than the source's; started afresh"
            ) from error
        raise
    with response:
        if response.headers.get_content_type() == "text/html":
            raise _Unusable("the answer is a web page, not the file")
        if response.status == 206:
            span = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
            if not span or int(span[1]) != have:
                raise _Unusable(
                    f"asked for the bytes from {have}, got {response.headers.get('Content-Range')!r}"
                )
            total = int(span[2])
        else:  # the whole file, also where the source knows no ranges
            have, total = (
                0,
                response.length,
            )  # None where it comes in chunks, which end with a mark of their own
            if total is None and not response.chunked:
                raise _Unusable("the answer doesn't say how long the file is")
        bar = tqdm(
            total=total,
            initial=have,
            unit="B",
            unit_scale=True,
            desc=part.name.removesuffix(".part"),
        )
        with bar, open(part, "ab" if have else "wb") as file:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    length = part.stat().st_size
    if total is not None and length != total:
        raise ConnectionError(f"{length} bytes came instead of {total}")
