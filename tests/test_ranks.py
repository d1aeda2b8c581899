"""Several processes train as one does: the same batches, losses and weights."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch

from tests.conftest import ROOT
from tests.rank_work import FOR_FOUR, TRAININGS, start, to_the_end, train_all, up_to_epoch
from tests.test_fine_tuning import classifier
from workshop.fast import History
from workshop.processes import ALONE, EpochCheckpoint, TrainedPart


def torchrun(
    processes: int, *command: str, options=(), **environment
) -> subprocess.CompletedProcess:
    """Start `command` in several processes, which meet on a port that the system chooses."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *(f"--nproc-per-node={processes}", *options, *command),
        ],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""} | environment,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def alone():
    return train_all(ALONE)


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """What 2 and 4 processes make of the trainings."""
    trained = {}
    for processes in (2, 4):
        out = tmp_path_factory.mktemp("ranks") / "trained.pt"
        done = torchrun(processes, "-m", "tests.rank_work", "all", str(out))
        assert done.returncode == 0, done.stderr
        trained[processes] = torch.load(out)
    return trained


def assert_same(one, other):
    for figure, values in one["figures"].items():
        assert other["figures"][figure] == pytest.approx(values, abs=1e-4)
    for key, weights in one["weights"].items():
        if not key.endswith("W_key.bias"):  # softmax does not see them: rounding, scaled up
            torch.testing.assert_close(other["weights"][key], weights, atol=1e-4, rtol=0, msg=key)


@pytest.mark.parametrize(
    ("processes", "name"), [(2, name) for name in TRAININGS] + [(4, name) for name in FOR_FOUR]
)
def test_losses_and_weights_of_several_processes_are_those_of_one(processes, name, alone, together):
    assert_same(alone[name], together[processes][name])


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="NCCL needs two GPUs")
def test_two_gpus_train_as_one_does(alone, tmp_path):
    gpus = {"CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0,1")}
    out = tmp_path / "trained.pt"
    done = torchrun(2, "-m", "tests.rank_work", "all", str(out), **gpus)
    assert done.returncode == 0, done.stderr
    together = torch.load(out)
    for name in TRAININGS:
        assert_same(alone[name], together[name])


def test_processes_that_have_read_different_files_are_told_which(together):
    assert together[2]["differing"].startswith("the file is not the same for all processes: rank 1")
    assert "rank 1, 2, 3 of 0 to 3 differs from rank 0" in together[4]["differing"]


# --- killed ---


def test_a_killed_process_is_started_again_and_the_training_goes_on_at_its_last_whole_epoch(
    tmp_path,
):
    out = tmp_path / "trained.pt"
    once_more = ("--max-restarts=1", "--monitor-interval=0.1")
    done = torchrun(2, "-m", "tests.rank_work", "killed", str(out), options=once_more)
    assert done.returncode == 0, done.stderr
    assert "SIGKILL" in done.stderr or "exitcode: -9" in done.stderr
    resumed = torch.load(out)
    assert resumed["epochs_before"] == 2
    assert_same(to_the_end(*start("the book's plan", ALONE, epochs=3)), resumed)

    # what two processes have left in shards goes on in one
    checkpoint = EpochCheckpoint(tmp_path / "shards", {"training": "in shards"})
    assert checkpoint.epochs() == 1
    resumed = to_the_end(
        *start("everything", ALONE, epochs=3, checkpoint=checkpoint, position="last")
    )
    assert_same(to_the_end(*start("everything", ALONE, epochs=3, position="last")), resumed)


def test_a_training_that_was_left_goes_on_as_if_it_had_not_been(tmp_path):
    def checkpoint():
        return EpochCheckpoint(tmp_path / "last", {"seed": "1"})

    _, steps = start("adapters", ALONE, epochs=3, checkpoint=checkpoint())
    up_to_epoch(steps, 2)
    next(steps)
    steps.close()
    assert checkpoint().epochs() == 2
    resumed = to_the_end(*start("adapters", ALONE, epochs=3, checkpoint=checkpoint()))
    assert_same(to_the_end(*start("adapters", ALONE, epochs=3)), resumed)
    again = to_the_end(*start("adapters", ALONE, epochs=3, checkpoint=checkpoint()))
    assert_same(resumed, again)  # it had ended, and its last epoch was there
    checkpoint().delete()
    assert not (tmp_path / "last").exists()


def test_the_last_epoch_of_another_training_is_not_gone_on_with(tmp_path):
    EpochCheckpoint(tmp_path, {"seed": "1", "plan": "a"})
    with pytest.raises(ValueError, match="another training .it differs in: seed"):
        EpochCheckpoint(tmp_path, {"seed": "2", "plan": "a"})
    (tmp_path / "of.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match="of.json, which can't be read"):
        EpochCheckpoint(tmp_path, {"seed": "1", "plan": "a"})


def test_a_damaged_epoch_is_refused_with_what_to_do(tmp_path):
    _, steps = start("adapters", ALONE, checkpoint=EpochCheckpoint(tmp_path, {}))
    up_to_epoch(steps, 1)
    steps.close()
    for path in (tmp_path / "epoch-1").glob("*.distcp"):
        path.write_bytes(path.read_bytes()[:100])
    _, steps = start("adapters", ALONE, checkpoint=EpochCheckpoint(tmp_path, {}))
    with pytest.raises(ValueError, match="epoch-1 can't be read .*; delete"):
        next(steps)


def test_an_interruption_while_an_epoch_is_written_comes_when_it_is_whole(tmp_path):
    part, checkpoint = TrainedPart(classifier(), None), EpochCheckpoint(tmp_path, {})
    optimizer, history = torch.optim.AdamW(part.parameters()), History(val_accs=[0.5])
    checkpoint.save(part, optimizer, history)  # what is imported first takes its time
    for number in range(1, 6):
        shutil.rmtree(tmp_path / "epoch-1")
        timer = threading.Timer(0.004 * number, os.kill, (os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            timer.start()
            checkpoint.save(part, optimizer, history)
            time.sleep(10)  # at the latest it comes here
        assert checkpoint.load(part, optimizer, History()) == 1


def test_a_full_disk_is_said_in_one_line_and_the_epoch_before_stays(tmp_path):
    resource = pytest.importorskip("resource")
    part, checkpoint = TrainedPart(classifier(), None), EpochCheckpoint(tmp_path, {})
    optimizer, history = torch.optim.AdamW(part.parameters()), History(val_accs=[0.5])
    checkpoint.save(part, optimizer, history)
    history.val_accs.append(0.6)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(OSError, match="epoch-2.part can't be written") as refused:
            checkpoint.save(part, optimizer, history)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(refused.value) and checkpoint.epochs() == 1


def test_a_checkpoint_keeps_the_last_epoch_and_not_the_best(tmp_path):
    _, steps = start("adapters", ALONE, keep="best", checkpoint=EpochCheckpoint(tmp_path, {}))
    with pytest.raises(ValueError, match="keep must be 'last', not 'best'"):
        next(steps)


@pytest.mark.parametrize(
    ("weights", "message"),
    [((1.0,), "1 class weights for 2 classes"), ((1.0, 0.0), "finite number above 0")],
)
def test_class_weights_that_can_not_be_are_refused(weights, message):
    _, steps = start("adapters", ALONE, class_weights=weights)
    with pytest.raises(ValueError, match=message):
        next(steps)
