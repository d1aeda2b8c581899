"""Whatever the network does, the file in its place is whole or not there."""

import hashlib
import os
import socket

import pytest

from helpers.download import DownloadError, download
from tests.server import Files, serve

CONTENT = os.urandom(700_000)
SHA = hashlib.sha256(CONTENT).hexdigest()


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
    (tmp_path / "a.part").write_bytes(left)
    with serve(Files({"/a": CONTENT})) as url:
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
    files.types["/a"] = "text/html; charset=utf-8"
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
    (tmp_path / "a.part").mkdir()
    with serve(Files({"/a": CONTENT})) as url, pytest.raises(IsADirectoryError):
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
