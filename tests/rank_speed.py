"""What `make bench ONLY=several_processes` starts: how long the processes take together.

python -m torch.distributed.run --nproc-per-node=2 -m tests.rank_speed TEXTS.csv
"""

import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch

from helpers.classify import TextClassifier
from helpers.config import gpt_config
from helpers.data import SpamDataset
from helpers.freezing import FreezePlan, replace_head
from helpers.loading import load_pretrained
from helpers.model import GPTModel
from helpers.tokenizer import get_tokenizer
from helpers.training import TrainingSettings
from workshop.__main__ import classify_file
from workshop.fast import fine_tuning_steps
from workshop.processes import Processes, joined

ENCODED = 320  # texts
VALIDATED = 32


def timed(processes: Processes, work: Callable[[], object]) -> float:
    """Return the seconds until all processes have done `work`."""
    processes.wait()
    start = time.perf_counter()
    work()
    processes.wait()
    return time.perf_counter() - start


def encode(texts: pd.Series, processes: Processes) -> float:
    """The frozen part of GPT-2 124M's shape under the book's plan, random weights."""
    model = replace_head(GPTModel(gpt_config("gpt2-small (124M)")))
    frame = pd.DataFrame({"Text": texts[: ENCODED + VALIDATED], "Label": 0})
    parts = frame[:ENCODED], frame[ENCODED:]
    train, validation = (SpamDataset(part, get_tokenizer(), 120) for part in parts)
    plan = FreezePlan.book(len(model.trf_blocks))
    settings = TrainingSettings(position="last_token")
    steps = fine_tuning_steps(model, train, validation, plan, settings, processes=processes)

    def to_the_first_step() -> None:
        while next(steps).phase == "encoding":
            pass

    with contextlib.closing(steps):
        return timed(processes, to_the_first_step)


def classify(path: Path, processes: Processes) -> float:
    """The nano, a file of texts to a file of labels."""
    model = replace_head(load_pretrained("gpt2-nano (12M)"))
    classifier = TextClassifier(model, ("ham", "spam"), 120, position="last_token")
    folder = [tempfile.mkdtemp()] if processes.number == 0 else []
    out = Path(processes.gather(folder)[0], "labels.csv")
    return timed(processes, lambda: classify_file(classifier, path, out, processes=processes))


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)  # all processes have the same model
    path = Path(sys.argv[1])
    with joined() as processes:
        seconds = {
            "encoding": encode(pd.read_csv(path)["text"], processes),
            "classifying": classify(path, processes),
        }
        if processes.number == 0:
            print(json.dumps(seconds))
