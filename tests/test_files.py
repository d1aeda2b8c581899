"""What is written is there whole, or not at all, whatever happens."""

import os

import pytest
import torch
from safetensors.torch import save_file

from helpers.download import whole_file
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


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask to speak of")
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_others_may_read_a_file_as_the_umask_says_whoever_wrote_it(umask, tmp_path):
    before = os.umask(umask)
    try:
        with whole_file(tmp_path / "file") as part:
            save_file({"a": torch.ones(1)}, part)  # makes it its owner's only
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_error_while_filling_leaves_the_old_folder_and_nothing_else(error, tmp_path):
    with whole_folder(tmp_path / "model") as new:
        (new / "weights").write_text("old")
    with pytest.raises(error), whole_folder(tmp_path / "model") as new:
        (new / "weights").write_text("new")
        raise error
    assert (tmp_path / "model" / "weights").read_text() == "old" and names(tmp_path) == ["model"]


@pytest.mark.parametrize("number", [1, 2], ids=["the old is away", "the new is there"])
def test_an_error_at_a_rename_leaves_the_old_folder_or_the_new_one(number, tmp_path, monkeypatch):
    with whole_folder(tmp_path / "model") as new:
        (new / "weights").write_text("old")
    rename, done = type(tmp_path).rename, []

    def rename_and_stop(self, target):
        done.append(rename(self, target))
        if len(done) == number:
            raise KeyboardInterrupt

    monkeypatch.setattr(type(tmp_path), "rename", rename_and_stop)
    with pytest.raises(KeyboardInterrupt), whole_folder(tmp_path / "model") as new:
        (new / "weights").write_text("new")
    text = (tmp_path / "model" / "weights").read_text()
    assert text == {1: "old", 2: "new"}[number] and names(tmp_path) == ["model"]
