"""What several test files share: tiny models, and where the real messages lie if they are here."""

import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pandas as pd
import pytest
import torch

from helpers.config import BASE_CONFIG, LEARNERS_FOLDER
from helpers.data import load_splits
from helpers.freezing import PRESETS, FreezePlan, preset_of
from helpers.model import GPTModel, part_names

ROOT = Path(__file__).parent.parent
REAL_SMS = ROOT.parent / "shared" / "data" / "sms" / "SMSSpamCollection"
TINY = BASE_CONFIG | {"context_length": 32, "emb_dim": 8, "n_layers": 3, "n_heads": 2}
LONG = (  # the files that take longest, the longest first
    "06_C_where_nano_comes_from.ipynb", "test_pages.py", "06_7_fine_tuning.ipynb",
    "06_D_caching_the_frozen_layers.ipynb", "06_B_freeze_lab.ipynb", "test_browser.py", "test_site.py",
    "test_colab.py", "06_8_using_the_classifier.ipynb", "test_cells_in_any_order.py",
    "test_widgets_lab.py", "test_ranks.py",
    "test_loading.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files begin first, so that no process is left with one when the others have ended."""
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.fixture(autouse=True)
def nothing_kept(tmp_path_factory, monkeypatch):
    """What a learner would keep beside the notebook goes into a folder of the test's own."""
    monkeypatch.setenv(LEARNERS_FOLDER, str(tmp_path_factory.mktemp("kept")))


def random_model(cfg: dict, seed: int = 0) -> GPTModel:
    """A model whose every tensor is random, layer norms too; the head has the embedding's values."""
    torch.manual_seed(seed)
    model = GPTModel(cfg)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.1)
        model.out_head.weight.copy_(model.tok_emb.weight)
    return model.eval()


def load_parts(name: str) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """`load_splits`, with the SMS Spam Collection from where it lies beside the project."""
    with tempfile.TemporaryDirectory() as folder:
        if name != "sms-mini":
            shutil.copy(REAL_SMS, Path(folder, "SMSSpamCollection.tsv"))
        return load_splits(name, folder)


def copy_of_the_course(folder: Path) -> Path:
    """Copy what git tracks, or would, into `folder`, as a fresh clone would have it; return it."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    printed = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    for name in printed.splitlines():
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(autouse=True, scope="session")
def interruptible() -> None:
    """SIGINT raises KeyboardInterrupt, even where it was ignored, as in a shell's background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def tiny() -> GPTModel:
    return random_model(TINY)


@pytest.fixture(scope="session")
def real_sms() -> Path:
    if not REAL_SMS.exists():
        pytest.skip("the SMS Spam Collection is not in ../shared/data/sms/")
    return REAL_SMS


@pytest.fixture
def no_callback_fails(caplog):
    """ipywidgets only logs what a button's callback raises; a learner would see a traceback."""
    yield
    records = [record for record in caplog.get_records("call") if record.levelname != "INFO"]
    assert [record.getMessage() for record in records] == []


def resize(plan: FreezePlan, n_layers: int) -> FreezePlan:
    """The plan for another depth: the same preset, or else the parts that still exist."""
    if name := preset_of(plan):
        preset = PRESETS[name](n_layers)
        return FreezePlan(n_layers, preset.trainable, preset.adapted, plan.rank, plan.alpha)
    existing = {*part_names(n_layers), *FreezePlan(n_layers).states}
    kept = plan.trainable & existing, plan.adapted & existing
    return FreezePlan(n_layers, *kept, plan.rank, plan.alpha)
