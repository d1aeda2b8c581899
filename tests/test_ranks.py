"""Several processes train as one does: the same batches, losses and weights."""

import os
import subprocess
import sys

import pytest
import torch

from helpers.ranks import ALONE
from tests.conftest import ROOT
from tests.rank_work import TRAININGS, train_all


def torchrun(processes: int, *command: str, **environment) -> subprocess.CompletedProcess:
    """Start `command` in several processes, which meet on a port that the system chooses."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *(f"--nproc-per-node={processes}", *command),
        ],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def alone():
    return dict(train_all(ALONE))


@pytest.fixture(scope="module", params=[2, 4])
def together(request, tmp_path_factory):
    out = tmp_path_factory.mktemp("ranks") / "trained.pt"
    done = torchrun(request.param, "-m", "tests.rank_work", str(out))
    assert done.returncode == 0, done.stderr
    return torch.load(out)


@pytest.mark.parametrize("name", TRAININGS)
def test_losses_and_weights_of_several_processes_are_those_of_one(name, alone, together):
    for figure, values in alone[name]["figures"].items():
        assert together[name]["figures"][figure] == pytest.approx(values, abs=1e-4)
    for key, weights in alone[name]["weights"].items():
        if not key.endswith("W_key.bias"):  # softmax does not see them: rounding, scaled up
            torch.testing.assert_close(
                together[name]["weights"][key], weights, atol=1e-4, rtol=0, msg=key
            )
