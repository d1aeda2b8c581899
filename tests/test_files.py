"""What is written is there whole, or not at all, whoever else writes and whatever happens."""

import os
import threading
import warnings

import pytest

from helpers.download import one_at_a_time, whole_file
from workshop.pretraining import whole_folder


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(error, tmp_path):
    path = tmp_path / "new" / "file"
    with whole_file(path) as part:
        part.write_text("old")
    with pytest.raises(error), whole_file(path) as part:
        part.write_text("half of the n")
        raise error
    assert path.read_text() == "old" and names(path.parent) == ["file"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_error_while_filling_leaves_the_old_folder_and_nothing_else(error, tmp_path):
    with whole_folder(tmp_path / "model") as new:
        (new / "weights").write_text("old")
    with pytest.raises(error), whole_folder(tmp_path / "model") as new:
        (new / "weights").write_text("new")
        raise error
    assert (tmp_path / "model" / "weights").read_text() == "old" and names(tmp_path) == ["model"]


@pytest.mark.parametrize("number", [1, 2], ids=["the old is away", "the new is there"])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_error_at_a_rename_leaves_the_old_folder_or_the_new_one(
    error, number, tmp_path, monkeypatch
):
    with whole_folder(tmp_path / "model") as new:
        (new / "weights").write_text("old")
    rename, done = type(tmp_path).rename, []

    def rename_and_stop(self, target):
        done.append(rename(self, target))
        if len(done) == number:
            raise error

    monkeypatch.setattr(type(tmp_path), "rename", rename_and_stop)
    with pytest.raises(error), whole_folder(tmp_path / "model") as new:
        (new / "weights").write_text("new")
    found = (tmp_path / "model" / "weights").read_text()
    assert found == {1: "old", 2: "new"}[number] and names(tmp_path) == ["model"]


def test_two_never_are_in_the_same_block_and_the_lock_goes(tmp_path):
    inside, most, counts = [], [], []

    def work():
        for _ in range(40):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with one_at_a_time(tmp_path / "file"):
                    inside.append(1)
                    most.append(len(inside))
                    counts.append(1)
                    os.sched_yield() if hasattr(os, "sched_yield") else None
                    inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(counts) == 160 and max(most) == 1
    assert names(tmp_path) == []
