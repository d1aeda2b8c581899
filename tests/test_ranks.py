"""Several processes train as one does: the same batches, losses and weights."""

import hashlib
import io
import os
import pickle
import subprocess
import sys

import pytest
import torch

from tests.conftest import ROOT
from tests.rank_work import TRAININGS, start, to_the_end, up_to_epoch
from workshop.processes import ALONE, EpochCheckpoint

PROOF = pytest.mark.proof
GPUS = os.environ.get("CUDA_VISIBLE_DEVICES", "0,1")
TWO_GPUS = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="NCCL needs two GPUs")


def torchrun(processes: int, work: str, out, *options, gpus: str = "") -> str:
    """Let several processes, which meet on a port that the system chooses, do a work: stderr."""
    command = ("torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", *options)
    command = (sys.executable, "-m", *command, "-m", "tests.rank_work", work, str(out))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": gpus}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def alone():
    return {name: to_the_end(*start(name, ALONE)) for name in TRAININGS}


def assert_same(one, other):
    for name, values in one["history"].items():
        assert other["history"][name] == pytest.approx(values, abs=1e-4)
    for key, weights in one["weights"].items():
        if not key.endswith("W_key.bias"):  # softmax does not see them: rounding, scaled up
            torch.testing.assert_close(other["weights"][key], weights, atol=1e-4, rtol=0, msg=key)


@pytest.mark.parametrize(
    ("size", "gpus"),
    [(2, ""), pytest.param(4, "", marks=PROOF), pytest.param(2, GPUS, marks=TWO_GPUS)],
)
def test_losses_and_weights_of_several_processes_are_those_of_one(size, gpus, alone, tmp_path):
    out = tmp_path / "trained.pt"
    torchrun(size, "all", out, gpus=gpus)
    together = torch.load(out)
    for name in TRAININGS:
        assert_same(alone[name], together[name])


@PROOF
def test_a_killed_process_is_started_again_and_the_training_resumes_after_its_last_whole_epoch(
    tmp_path,
):
    out = tmp_path / "trained.pt"
    said = torchrun(2, "killed", out, "--max-restarts=1", "--monitor-interval=0.1")
    assert "SIGKILL" in said or "exitcode: -9" in said
    resumed = torch.load(out)
    assert resumed["epochs_before"] == 2
    assert_same(to_the_end(*start("the book's plan", ALONE, epochs=3)), resumed)
    # one process resumes what two have left
    checkpoint = EpochCheckpoint(tmp_path / "checkpoint", {"training": "whole"})
    resumed = to_the_end(*start("the book's plan", ALONE, checkpoint, epochs=4))
    assert_same(to_the_end(*start("the book's plan", ALONE, epochs=4)), resumed)


@pytest.fixture
def checkpoint(tmp_path) -> EpochCheckpoint:
    """The second epoch of "adapters", of 3."""
    checkpoint = EpochCheckpoint(tmp_path / "out.checkpoint", {"seed": "1", "plan": "a"})
    _, steps = start("adapters", ALONE, checkpoint, epochs=3)
    up_to_epoch(steps, 2)
    steps.close()
    return checkpoint


def test_a_training_that_was_left_resumes_as_if_it_had_not_been(checkpoint, tmp_path):
    assert checkpoint.epochs() == 2
    whole = to_the_end(*start("adapters", ALONE, epochs=3))
    for _ in range(2):  # the second time it had ended, and its last epoch is in the file
        assert_same(whole, to_the_end(*start("adapters", ALONE, checkpoint, epochs=3)))
    assert checkpoint.epochs() == 3
    assert list(tmp_path.iterdir()) == [checkpoint.path]


def test_the_file_of_another_training_or_a_damaged_one_is_refused_with_what_to_do(checkpoint):
    good = checkpoint.path.read_bytes()
    other = EpochCheckpoint(checkpoint.path, {"seed": "2", "plan": "a", "model": "b"})
    with pytest.raises(ValueError, match="of another training .it differs in: seed, model"):
        next(start("adapters", ALONE, other)[1])
    flipped = bytearray(good)
    flipped[-1000] ^= 1
    for content in (b"", b"my notes", good[:-1], bytes(flipped)):
        checkpoint.path.write_bytes(content)
        with pytest.raises(ValueError, match="out.checkpoint is .*damaged; .*delete it") as refused:
            next(start("adapters", ALONE, checkpoint)[1])
        assert "\n" not in str(refused.value) and checkpoint.path.read_bytes() == content
    checkpoint.path.unlink()
    (checkpoint.path / "mine").mkdir(parents=True)
    with pytest.raises(ValueError, match="out.checkpoint is no checkpoint .*move or delete it"):
        checkpoint.epochs()
    assert (checkpoint.path / "mine").exists()


class Hostile:
    """What makes a file of its own when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_nothing_in_a_checkpoint_is_executed(checkpoint, tmp_path):
    content = io.BytesIO()
    torch.save({"of": Hostile(tmp_path / "ran")}, content)
    content = content.getvalue()
    checkpoint.path.write_bytes(hashlib.sha256(content).digest() + content)
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        checkpoint.epochs()
    assert not (tmp_path / "ran").exists()
