"""Whatever the network does, the file in its place is whole or not there."""

import hashlib
import os
import re
import socket
import time
import zlib
from types import SimpleNamespace

import pytest

from helpers import download as module
from helpers.download import DownloadError, download, part_of
from tests.server import Files, serve

CONTENT = os.urandom(700_000)
OTHER = os.urandom(len(CONTENT))
SHA = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def pauses(monkeypatch) -> list[float]:
    """The pauses that are made, in seconds; nobody waits for them here."""
    made = []
    clock = SimpleNamespace(sleep=made.append, time=time.time)
    monkeypatch.setattr("urllib3.util.retry.time", clock)
    return made


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_whole_and_leaves_no_partial_file_and_is_then_left_alone(tmp_path):
    files = Files({"/a": CONTENT})
    with serve(files) as url:
        for _ in range(2):
            assert download([f"{url}/a"], tmp_path / "new" / "a", SHA).read_bytes() == CONTENT
    assert names(tmp_path / "new") == ["a"] and len(files.requests) == 1


def test_a_cut_is_resumed_where_it_happened_also_by_a_later_call(tmp_path):
    files = Files({"/a": CONTENT})
    files.cuts["/a"] = [300_001, 100_000, 0, 0, 0, 0]
    with serve(files) as url:
        with pytest.raises(DownloadError, match="a: the connection broke .*300001 bytes read"):
            download([f"{url}/a"], tmp_path / "a")
        assert not (tmp_path / "a").exists()
        assert download([f"{url}/a"], tmp_path / "a").read_bytes() == CONTENT
    wanted = [wanted for _, wanted in files.requests]
    assert wanted[:3] == [None, "bytes=300001-", "bytes=400001-"] and names(tmp_path) == ["a"]
    assert wanted[-1] == "bytes=400001-"


def test_an_answer_in_chunks_is_taken_whole(tmp_path):
    files = Files({"/a": CONTENT})
    files.chunked, files.cuts["/a"], files.ranges = True, [2], False
    with serve(files) as url:
        assert download([f"{url}/a"], tmp_path / "a").read_bytes() == CONTENT
    assert len(files.requests) == 2


def test_an_answer_without_an_end_does_not_fill_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_UNTOLD", 100_000)
    files = Files({"/a": CONTENT, "/mirror": b"short"})
    files.chunked, files.ranges = True, False
    with serve(files) as url:
        with pytest.raises(DownloadError, match="a: more than 100,000 bytes came"):
            download([f"{url}/a"], tmp_path / "a")
        assert download([f"{url}/a", f"{url}/mirror"], tmp_path / "a").read_bytes() == b"short"


@pytest.mark.parametrize("etag", ['W/"weak"', None])
def test_a_file_that_changes_between_two_calls_is_not_mixed(tmp_path, etag):
    files = Files({"/a": OTHER})
    files.cuts["/a"] = [1000, 0, 0, 0, 0]
    if etag is None:
        files.headers["/a"] = {"ETag": None, "Last-Modified": "Mon, 02 Nov 2026 10:00:00 GMT"}
    with serve(files) as url:
        with pytest.raises(DownloadError):
            download([f"{url}/a"], tmp_path / "a")
        files["/a"] = CONTENT
        assert download([f"{url}/a"], tmp_path / "a").read_bytes() == CONTENT


@pytest.mark.parametrize("left", [CONTENT, CONTENT + b"more", b"stale"])
def test_a_partial_file_that_cannot_be_continued_does_no_harm(tmp_path, left):
    with serve(Files({"/a": CONTENT})) as url:
        part = part_of(tmp_path / "a", f"{url}/a")
        part.write_bytes(left)
        part.with_suffix(".version").write_text(f'"{zlib.crc32(CONTENT)}"')
        assert download([f"{url}/a"], tmp_path / "a", SHA).read_bytes() == CONTENT


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (429, 4), (503, 4)])
def test_a_server_in_trouble_is_given_time_and_then_the_mirror_is_asked(
    tmp_path, pauses, status, tries
):
    files = Files({"/a": CONTENT, "/mirror": CONTENT})
    files.statuses["/a"], files.headers["/a"] = status, {"Retry-After": "3600"}
    with serve(files) as url:
        assert download([f"{url}/a", f"{url}/mirror"], tmp_path / "a").read_bytes() == CONTENT
    assert [path for path, _ in files.requests] == ["/a"] * tries + ["/mirror"]
    assert pauses == ([] if tries == 1 else [2, 4])


def test_two_sources_never_mix_and_a_wrong_checksum_is_refused(tmp_path):
    files = Files({"/a": CONTENT, "/mirror": OTHER})  # as long, and no checksum could tell
    files.cuts["/a"] = [100_000, 0, 0, 0, 0]
    with serve(files) as url:
        urls = [f"{url}/a", f"{url}/mirror"]
        assert download(urls, tmp_path / "a").read_bytes() == OTHER
        assert names(tmp_path) == ["a"]
        with pytest.raises(DownloadError, match="sha256"):
            download(urls[1:], tmp_path / "b", SHA)
        assert names(tmp_path) == ["a"]
        assert download(urls[::-1], tmp_path / "a", SHA).read_bytes() == CONTENT


def test_the_error_names_every_source_and_its_answer_in_a_few_words(tmp_path):
    with socket.socket() as nobody:  # bound, but not listening: the connection is refused
        nobody.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}/a"
        with serve(Files()) as url, pytest.raises(DownloadError) as caught:
            urls = [address, f"{url}/a", f"{url.replace('http', 'https')}/a", "htp://a.example/a"]
            download(urls, tmp_path / "a")
    first, *lines = str(caught.value).splitlines()
    assert first == "could not download a:" and " at 0x" not in str(caught.value)
    answers = ("refused", "404 Client Error", "SSL", "No connection adapters")
    for line, address, answer in zip(lines, urls, answers, strict=True):
        assert line.startswith(f"  {address}: ") and answer in line


SHORT = {"Content-Range": "bytes 0-399999/400000"}
SERVERS = {  # what it does: cuts, status, headers; and what is said of it
    "stalls": ([], None, {}, "the connection broke .*timed out"),
    "promises too much": ([], None, {"Content-Length": "800000"}, "700000 bytes read, 100000 more"),
    "has no content": ([], 204, {}, "the answer is empty"),
    "sends another range": ([300_000], None, SHORT, "after 300000 bytes came 'bytes 0-"),
    "redirects to this disk": ([], 302, {"Location": "file:///etc/hostname"}, "adapters.*file:"),
    "sends a web page": ([], None, {"Content-Type": "text/html"}, "a web page, not the file"),
}


@pytest.mark.parametrize("server", SERVERS)
def test_a_server_that_does_not_give_the_file_is_answered_in_a_sentence(
    server, tmp_path, monkeypatch
):
    files = Files({"/a": CONTENT})
    files.cuts["/a"], status, files.headers["/a"], says = SERVERS[server]
    if status:
        files.statuses["/a"] = status
    if server == "stalls":
        monkeypatch.setattr(module, "TIMEOUT", 0.1)
        files.pause = 1
    with serve(files) as url:
        with pytest.raises(DownloadError, match=f"could not download a:\n  {url}/a: ") as caught:
            download([f"{url}/a"], tmp_path / "a", SHA)
        part = part_of(tmp_path / "a", f"{url}/a")
    assert re.search(says, str(caught.value)) and not (tmp_path / "a").exists()
    if server == "stalls":  # nothing that has come is lost
        assert part.stat().st_size == 500_000


def test_what_cannot_be_written_is_named_with_a_remedy(tmp_path):
    (tmp_path / "a" / "mine").mkdir(parents=True)
    says = "a can't be written .*director.*choose another folder"
    with serve(Files({"/a": CONTENT})) as url, pytest.raises(OSError, match=says):
        download([f"{url}/a"], tmp_path / "a")
