"""Whatever the network does, the file in its place is whole or not there."""

import gzip
import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from helpers import download as module
from helpers.download import DownloadError, download, one_at_a_time, part_of
from tests.conftest import ROOT
from tests.server import Files, serve

CONTENT = os.urandom(700_000)
SHA = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def pauses(monkeypatch) -> list[float]:
    """The pauses that are made, in seconds; nobody waits for them here."""
    made = []
    monkeypatch.setattr(module.time, "sleep", made.append)
    return made


def test_a_file_arrives_whole_and_leaves_no_partial_file(tmp_path):
    with serve(Files({"/a": CONTENT})) as url:
        assert download([f"{url}/a"], tmp_path / "new" / "a", SHA).read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a"]


def test_a_cut_is_resumed_where_it_happened(tmp_path):
    files = Files({"/a": CONTENT})
    files.cuts["/a"] = [300_000, 100_000]
    with serve(files) as url:
        assert download([f"{url}/a"], tmp_path / "a").read_bytes() == CONTENT
    assert [wanted for _, wanted in files.requests] == [None, "bytes=300000-", "bytes=400000-"]


def test_a_later_call_goes_on_with_what_an_earlier_one_left(tmp_path):
    files = Files({"/a": CONTENT})
    files.cuts["/a"] = [1000, 0, 0]
    with serve(files) as url:
        with pytest.raises(DownloadError, match="1000 bytes came instead of 700000"):
            download([f"{url}/a"], tmp_path / "a")
        assert not (tmp_path / "a").exists()
        assert download([f"{url}/a"], tmp_path / "a").read_bytes() == CONTENT
    assert files.requests[-1] == ("/a", "bytes=1000-")


def test_a_source_without_ranges_sends_the_whole_file_again(tmp_path):
    files = Files({"/a": CONTENT})
    files.cuts["/a"], files.ranges = [300_000], False
    with serve(files) as url:
        assert download([f"{url}/a"], tmp_path / "a").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "left", [CONTENT, CONTENT + b"more", b"stale"], ids=["complete", "too long", "stale"]
)
def test_a_partial_file_that_cannot_be_continued_does_no_harm(tmp_path, left):
    with serve(Files({"/a": CONTENT})) as url:
        part_of(tmp_path / "a", f"{url}/a").write_bytes(left)
        assert download([f"{url}/a"], tmp_path / "a", SHA).read_bytes() == CONTENT


@pytest.mark.parametrize("status", [404, 500])
def test_the_mirror_is_asked_when_the_first_source_fails(tmp_path, status):
    files = Files({"/first/a": CONTENT, "/mirror/a": CONTENT})
    files.statuses["/first/a"] = status
    with serve(files) as url:
        assert (
            download([f"{url}/first/a", f"{url}/mirror/a"], tmp_path / "a").read_bytes() == CONTENT
        )
    tries = (
        1 if status == 404 else 3
    )  # a server in trouble is asked again, a missing file is missing
    assert [path for path, _ in files.requests] == ["/first/a"] * tries + ["/mirror/a"]


def test_a_wrong_checksum_is_refused_and_the_mirror_is_asked(tmp_path):
    with serve(Files({"/bad": b"x" * 100, "/good": CONTENT})) as url:
        with pytest.raises(DownloadError, match="sha256"):
            download([f"{url}/bad"], tmp_path / "a", SHA)
        assert not list(tmp_path.iterdir())
        assert download([f"{url}/bad", f"{url}/good"], tmp_path / "a", SHA).read_bytes() == CONTENT


def test_a_web_page_in_the_files_place_is_not_the_file(tmp_path):
    files = Files({"/a": b"<html>please log in</html>"})
    files.headers["/a"] = {"Content-Type": "text/html; charset=utf-8"}
    with serve(files) as url, pytest.raises(DownloadError, match="a web page, not the file"):
        download([f"{url}/a"], tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_an_answer_of_unknown_length_is_refused(tmp_path):
    files = Files({"/a": CONTENT})
    files.lengths = False
    with serve(files) as url, pytest.raises(DownloadError, match="doesn't say how long"):
        download([f"{url}/a"], tmp_path / "a")


@pytest.mark.parametrize("cuts", [0, 1], ids=["whole", "cut"])
def test_an_answer_in_chunks_is_taken_whole(tmp_path, cuts):
    files = Files({"/a": CONTENT})
    files.lengths, files.chunked, files.cuts["/a"], files.ranges = False, True, [2] * cuts, False
    with serve(files) as url:
        assert download([f"{url}/a"], tmp_path / "a").read_bytes() == CONTENT
    assert len(files.requests) == 1 + cuts


def test_a_disk_in_trouble_is_not_taken_for_a_network_in_trouble(tmp_path):
    with serve(Files({"/a": CONTENT})) as url:
        part_of(tmp_path / "a", f"{url}/a").mkdir()
        with pytest.raises(OSError, match="directory|denied"):
            download([f"{url}/a"], tmp_path / "a")


def test_the_error_names_every_source_and_its_answer(tmp_path):
    with socket.socket() as nobody:  # bound, but not listening: the connection is refused
        nobody.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}/a"
        files = Files()
        with serve(files) as url, pytest.raises(DownloadError) as caught:
            download([address, f"{url}/a"], tmp_path / "a")
    assert address in str(caught.value) and "refused" in str(caught.value)
    assert f"{url}/a: HTTP Error 404" in str(caught.value)


def test_a_file_that_is_there_stays_when_its_replacement_fails(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    with serve(Files()) as url, pytest.raises(DownloadError):
        download([f"{url}/a"], tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"old"


# --- two sources, and two who ask ---


def test_two_sources_never_mix_in_one_file(tmp_path):
    other = os.urandom(len(CONTENT))  # as long, and there is no checksum that could tell
    files = Files({"/first/a": CONTENT, "/mirror/a": other})
    files.cuts["/first/a"] = [100_000, 0, 0]
    with serve(files) as url:
        urls = [f"{url}/first/a", f"{url}/mirror/a"]
        assert download(urls, tmp_path / "a").read_bytes() == other
        assert [path.name for path in tmp_path.iterdir()] == ["a"]
        files.cuts["/first/a"], files.cuts["/mirror/a"] = [100_000, 0, 0], [200_000, 0, 0]
        with pytest.raises(DownloadError):
            download(urls, tmp_path / "b")
        assert download(urls[::-1], tmp_path / "b").read_bytes() == other  # a later call, too


DOWNLOAD = """
import sys; from helpers.download import download
print("ready", flush=True); sys.stdin.readline()
download([sys.argv[1]], sys.argv[2])
"""


def downloading(url: str, path) -> subprocess.Popen:
    """A process that is about to download, and does so when it is sent a line."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error::ResourceWarning", "-c", DOWNLOAD, url, path],
        cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    return process


def test_processes_that_want_one_file_get_it_whole_and_fetch_it_once(tmp_path):
    files = Files({"/a": CONTENT})
    files.pause = 0.1
    with serve(files) as url:
        processes = [downloading(f"{url}/a", tmp_path / "a") for _ in range(3)]
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        said = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], said
    assert sum("another process is at work on" in words for words in said) == 2
    assert (tmp_path / "a").read_bytes() == CONTENT and len(files.requests) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_a_killed_download_stands_in_nobodys_way_and_what_has_come_is_used(tmp_path):
    files = Files({"/a": CONTENT})
    with serve(files) as url:
        part = part_of(tmp_path / "a", f"{url}/a")
        files.pause, end = 0.1, time.monotonic() + 60
        process = downloading(f"{url}/a", tmp_path / "a")
        process.stdin.write("\n")
        process.stdin.flush()
        while not (part.exists() and part.stat().st_size) and time.monotonic() < end:
            pass
        process.kill()
        process.communicate()
        files.pause = 0
        had = part.stat().st_size
        assert 0 < had < len(CONTENT)
        assert download([f"{url}/a"], tmp_path / "a").read_bytes() == CONTENT
    assert files.requests == [("/a", None), ("/a", f"bytes={had}-")]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("sha256", [None, SHA], ids=["no checksum", "a checksum"])
def test_who_waited_takes_what_the_other_fetched_if_nothing_is_known_against_it(
    sha256, tmp_path, monkeypatch
):
    path = tmp_path / "a"
    the_other = one_at_a_time(path)
    the_other.__enter__()

    def meanwhile(seconds):
        path.write_bytes(b"something else")
        the_other.__exit__(None, None, None)

    monkeypatch.setattr(module.time, "sleep", meanwhile)
    files = Files({"/a": CONTENT})
    with serve(files) as url, pytest.warns(UserWarning, match="a; waiting for it"):
        content = download([f"{url}/a"], path, sha256).read_bytes()
    assert content == (b"something else" if sha256 is None else CONTENT)
    assert len(files.requests) == (0 if sha256 is None else 1)


# --- when to ask again ---


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_in_trouble_is_given_time(tmp_path, pauses, status):
    files = Files({"/a": CONTENT})
    files.statuses["/a"] = status
    with serve(files) as url, pytest.raises(DownloadError, match=f"HTTP Error {status}"):
        download([f"{url}/a"], tmp_path / "a")
    assert len(files.requests) == 3 and pauses == [1, 2]


def test_the_time_that_a_server_asks_for_is_given(tmp_path, pauses):
    files = Files({"/a": CONTENT, "/b": CONTENT})
    files.statuses = {"/a": 503, "/b": 429}
    files.headers["/a"] = {"Retry-After": "7"}
    soon = datetime.now(UTC) + timedelta(seconds=30)
    files.headers["/b"] = {"Retry-After": format_datetime(soon, usegmt=True)}
    with serve(files) as url, pytest.raises(DownloadError):
        download([f"{url}/a", f"{url}/b"], tmp_path / "a")
    first, second, third, fourth = pauses
    assert (first, second) == (7, 7) and 20 < third <= 30 and 20 < fourth <= 30


def test_a_server_that_asks_for_an_hour_is_left_for_the_mirror(tmp_path, pauses):
    files = Files({"/a": CONTENT, "/b": CONTENT})
    files.statuses["/a"], files.headers["/a"] = 503, {"Retry-After": "3600"}
    with serve(files) as url:
        assert download([f"{url}/a", f"{url}/b"], tmp_path / "a").read_bytes() == CONTENT
        with pytest.raises(DownloadError, match="503.*; it asks to wait 3600 seconds"):
            download([f"{url}/a"], tmp_path / "c")
    assert pauses == [] and [path for path, _ in files.requests] == ["/a", "/b", "/a"]


# --- servers that do as they like: what they do, and what must be said ---


def headers(**values):
    names = {name.replace("_", "-"): value for name, value in values.items()}
    return lambda files: files.headers.update({"/a": names})


def redirected_to(target):
    def redirect(files):
        files.statuses["/a"], files.headers["/a"] = 302, {"Location": target}

    return redirect


def slow(files):
    files.pause = 1


def too_long_a_length_and_no_ranges(files):
    files.ranges, files.headers["/a"] = False, {"Content-Length": "800000"}


def cut_each_time(files):
    files.cuts["/a"] = [1000, 500, 0]


def changed_meanwhile(files):
    files.cuts["/a"] = [300_000, 0, 0]
    files.headers["/a"] = {"Content-Range": "bytes 300000-/7"}


SERVERS = {
    "slow": (slow, "timed out"),
    "cut": (cut_each_time, "1500 bytes came instead of 700000"),
    "compressed": (headers(Content_Encoding="gzip"), r"is compressed \(gzip\)"),
    "a length too large": (
        too_long_a_length_and_no_ranges,
        "700000 bytes came instead of 800000",
    ),
    "a length too small": (headers(Content_Length="5"), "its sha256 is not the expected one"),
    "a negative length": (headers(Content_Length="-5"), "doesn't say how long the file is"),
    "a length in words": (headers(Content_Length="long"), "doesn't say how long the file is"),
    "another range": (changed_meanwhile, "asked for the bytes from 300000, got 'bytes 300000-/7'"),
    "redirecting for ever": (redirected_to("/a"), "HTTP Error 302: .*infinite loop"),
    "redirecting to nothing": (redirected_to("/nothing"), "HTTP Error 404"),
    "redirecting to this disk": (redirected_to("file:///etc/hostname"), "HTTP Error 302: .*file:"),
    "a web page": (headers(Content_Type="text/html"), "a web page, not the file"),
}


@pytest.mark.parametrize("server", SERVERS)
def test_a_server_that_does_not_give_the_file_is_answered_in_a_sentence(
    server, tmp_path, monkeypatch
):
    prepare, says = SERVERS[server]
    monkeypatch.setattr(module, "TIMEOUT", 0.2)
    monkeypatch.setattr(module.time, "sleep", lambda seconds, sleep=time.sleep: sleep(seconds / 9))
    files = Files({"/a": CONTENT})
    prepare(files)
    with serve(files) as url, pytest.raises(DownloadError) as caught:
        download([f"{url}/a"], tmp_path / "a", SHA)
    said = str(caught.value)
    assert re.search(says, said) and f"{url}/a: " in said and "could not download a" in said
    assert not (tmp_path / "a").exists()


def test_a_redirect_is_followed_and_a_cut_behind_it_resumed(tmp_path):
    files = Files({"/b": CONTENT})
    files.statuses["/a"], files.headers["/a"] = 302, {"Location": "/b"}
    files.cuts["/b"] = [300_000]
    with serve(files) as url:
        assert download([f"{url}/a"], tmp_path / "a").read_bytes() == CONTENT
    assert files.requests[-1] == ("/b", "bytes=300000-")


def test_a_file_that_is_compressed_itself_is_taken_as_it_is(tmp_path):
    with serve(Files({"/a.gz": gzip.compress(CONTENT)})) as url:
        got = download([f"{url}/a.gz"], tmp_path / "a.gz").read_bytes()
    assert gzip.decompress(got) == CONTENT


@pytest.mark.parametrize("urls", [[], "http://a.example/a"])
def test_addresses_that_are_none_are_refused(tmp_path, urls):
    with pytest.raises(ValueError, match=r"a list of one address or more, not (\[\]|'http)"):
        download(urls, tmp_path / "a")


def test_an_address_with_a_typo_is_named(tmp_path):
    with pytest.raises(DownloadError, match="htp://a.example/a: .*unknown url type: htp"):
        download(["htp://a.example/a"], tmp_path / "a")
