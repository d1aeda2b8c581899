"""What is written is there whole, or not at all, whatever happens."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from safetensors.torch import save_file

from helpers.download import one_at_a_time, whole_file


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(error, tmp_path):
    path = tmp_path / "new" / "file"
    with whole_file(path) as part:
        part.write_text("old")
    with pytest.raises(error), whole_file(path) as part:
        part.write_text("half of the n")
        raise error
    assert path.read_text() == "old" and list(path.parent.iterdir()) == [path]


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


@pytest.mark.parametrize("writing", [whole_file, one_at_a_time])
def test_what_can_not_be_written_is_named_as_it_was_given(writing, tmp_path):
    (tmp_path / "a_file").touch()
    path = tmp_path / "a_file" / "my.st"
    with pytest.raises(OSError, match="a_file.my.st can't be written: "), writing(path):
        pass


def test_a_second_process_is_told_what_it_waits_for(tmp_path):
    path = tmp_path / "my.st"

    def second():
        with one_at_a_time(path):
            return path.exists()

    told = pytest.warns(match="another process writes .*my.st; waiting")
    with told, ThreadPoolExecutor(1) as pool:
        with one_at_a_time(path):
            waiting = pool.submit(second)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.3)
            path.touch()
        assert waiting.result() and os.listdir(tmp_path) == ["my.st"]
