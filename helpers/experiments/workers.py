"""Many trainings at once, each in a process of its own with its share of the processor.

The steps of a small model are too short to be shared among cores: two trainings beside each other,
one core each, take little longer than one on both.
"""

import multiprocessing
import queue
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from helpers.experiments.rows import Experiment
from helpers.experiments.run import run
from helpers.results import append_row

Training = tuple[int, Experiment, int]  # the row's number, the experiment, the seed
PATIENCE = 0.2  # seconds between two looks whether somebody is still there


def train_all(
    groups: Sequence[Sequence[Training]],
    out: Path,
    jobs: int,
    threads: int,
    show: Callable[[Training, float], object],
) -> None:
    """Train all groups, `jobs` at once, each on `threads` threads; append each result to `out`.

    A group is trained by one process, one after the other, so that it can keep what is frozen. The
    file has a result as soon as its training ends. `show` is called with a training and the share
    of it that is done, 0 … 1. Raises RuntimeError with the first error of a training; then, and
    after an interruption, all processes are ended.
    """
    context = multiprocessing.get_context("spawn")  # the same on every system
    tasks, reports = context.Queue(), context.Queue()
    tasks.cancel_join_thread()  # what nobody takes any more must not keep this process
    for group in groups:
        tasks.put(group)
    workers = [
        context.Process(target=_work, args=(tasks, reports, out, threads), daemon=True)
        for _ in range(min(jobs, len(groups)))
    ]
    left = sum(map(len, groups))
    try:
        for worker in workers:
            worker.start()
        while left:
            try:
                training, share, error = reports.get(timeout=PATIENCE)
            except queue.Empty:
                if not all(worker.is_alive() for worker in workers) and reports.empty():
                    raise RuntimeError(
                        "a training's process has died; is the memory full? The same command "
                        "goes on where it was; --jobs 1 takes less"
                    ) from None
                continue
            if error:
                raise RuntimeError(f"row {training[0]}, seed {training[2]}: {error}")
            show(training, share)
            left -= share == 1
    finally:
        for worker in workers:
            worker.terminate()


def _work(tasks, reports, out: Path, threads: int) -> None:
    """Train group after group until somebody ends this process, or the one that began it died."""
    torch.set_num_threads(threads)
    parent = multiprocessing.parent_process()
    try:
        while parent.is_alive():
            try:
                group = tasks.get(timeout=PATIENCE)
            except queue.Empty:
                continue
            for training in group:
                _train(training, reports, out, parent)
    except KeyboardInterrupt:
        pass  # the one that began it says so


def _train(training: Training, reports, out: Path, parent) -> None:
    told = time.monotonic()

    def progress(share: float) -> None:
        nonlocal told
        if time.monotonic() - told > PATIENCE:
            if not parent.is_alive():  # it was killed: nobody waits for this
                raise KeyboardInterrupt
            told = time.monotonic()
            reports.put((training, min(share, 0.99), ""))

    try:
        append_row(out, run(*training, progress))
    except (ValueError, OSError, RuntimeError, FloatingPointError) as error:
        reports.put((training, 0.0, str(error)))
    else:
        reports.put((training, 1, ""))
