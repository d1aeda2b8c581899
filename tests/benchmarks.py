"""The numbers that the course quotes, measured: `make bench`, or `python -m tests.benchmarks nano`.

Each benchmark is a function that yields rows; a row is what was measured, the value, and what is to
be reached. The table is printed and written to benchmarks.json.
"""

import argparse
import copy
import itertools
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader

from helpers.classify import SpamClassifier, classify_review
from helpers.config import END_OF_TEXT, MODEL_CONFIGS, gpt_config
from helpers.data import SpamDataset, load_messages
from helpers.freezing import FreezePlan, replace_head
from helpers.loading import load_pretrained
from helpers.model import GPTModel
from helpers.tokenizer import get_tokenizer
from helpers.training import get_device
from tests import lab
from tests.conftest import REAL_SMS, ROOT, load_parts
from tests.nano import nano, nano_settings
from tests.own_tables import own_tables
from tests.sms_topics import SMS_TOPICS
from workshop.bag_of_words import folds_of
from workshop.explorer import MODULE, explorer_page
from workshop.fast import batch_order, fine_tune
from workshop.own import OwnSettings, OwnTraining
from workshop.texts import Split, read_texts, split_stratified
from workshop.widgets import FreezeExplorer, MessageMicroscope

Row = tuple[str, str, str]  # what was measured, its value with the unit, what is to be reached
KEY = """async text => {
    const field = document.getElementById("message"), start = performance.now();
    field.value = text;
    field.dispatchEvent(new Event("input"));
    const last = () => document.querySelector(".mm-tokens > :last-child > span").textContent;
    while (last() !== `␣${text.at(-1)}`) await new Promise(requestAnimationFrame);
    return performance.now() - start;
}"""
CLICK = """async selector => {
    const {promise, resolve} = Promise.withResolvers(), start = performance.now();
    document.querySelector(selector).click();
    requestAnimationFrame(() => setTimeout(resolve));  // the next frame has been painted
    await promise;
    return performance.now() - start;
}"""


READY = """async () => {
    while (!document.querySelector('.freeze-explorer')) await new Promise(requestAnimationFrame);
    return performance.now();
}"""


def spread(what: str, milliseconds: list[float], goal: str = "") -> Iterator[Row]:
    """Yield the median and the value that 95 % do not exceed."""
    for name, percent in (("median", 50), ("95th percentile", 95)):
        value = np.percentile(milliseconds, percent, method="inverted_cdf")
        yield f"{what}, {len(milliseconds)} times, {name}", f"{value:.1f} ms", goal


def timed(call, count: int) -> list[float]:
    """Return the milliseconds that each of `count` calls takes."""
    measured = []
    for _ in range(count):
        start = time.perf_counter()
        call()
        measured.append(1000 * (time.perf_counter() - start))
    return measured


def explorer() -> Iterator[Row]:
    """The Freeze Explorer in a page without a kernel: its size, its start, and a click."""
    yield "script and style of the Explorer", f"{len(MODULE.encode()) / 1000:.1f} kB", "≤ 60 kB"
    if lab.missing():
        yield "a click until it is painted", "not measured", str(lab.missing())
        return
    with tempfile.TemporaryDirectory() as folder, lab.browser() as chromium:
        file = Path(folder, "explorer.html")
        file.write_text(f'<!doctype html><meta charset="utf-8">{explorer_page()}', encoding="utf-8")
        page, ready = chromium.new_page(viewport={"width": 1200, "height": 650}), []
        for _ in range(20):
            page.goto(file.as_uri())
            ready.append(page.evaluate(READY))
        yield from spread("opened from the disk until it can be used", ready, "≤ 300 ms")
        for size, sizes in MODEL_CONFIGS.items():
            # every other block is trainable, so that none are folded
            blocks = ",".join(f"trf_blocks.{i}" for i in range(0, sizes["n_layers"], 2))
            page.goto(f"{file.as_uri()}#{size.split('(')[1].rstrip(')')}/{blocks},out_head")
            page.reload()
            clicks = [page.evaluate(CLICK, '[data-part="out_head"]') for _ in range(60)]
            yield from spread(f"a click in {size} until it is painted", clicks, "≤ 20 ms")


def in_the_browser() -> Iterator[Row]:
    """site/try.html in headless Chromium, opened from the disk: its start, and its trainings."""
    if lab.missing():
        yield "the page that trains in the browser", "not measured", str(lab.missing())
        return
    with tempfile.TemporaryDirectory() as folder, lab.browser() as chromium:
        command = [sys.executable, "-m", "sphinx", "-M", "html", ".", folder, "-c", "site", "-q"]
        subprocess.run(command, cwd=ROOT, check=True)
        model = Path(folder, "html", "_static", "model.js")
        yield (
            "the model with its tokenizer and messages",
            f"{model.stat().st_size / 1e6:.1f} MB",
            "",
        )
        page, shown, ready = chromium.new_page(viewport={"width": 1200, "height": 900}), [], []
        for _ in range(7):
            page.goto(Path(folder, "html", "try.html").as_uri(), wait_until="commit")
            for selector, measured in ((".fe-part", shown), ('.try[data-state="ready"]', ready)):
                page.locator(selector).first.wait_for()
                measured.append(page.evaluate("performance.now()"))
        yield from spread("until parts can be frozen", shown, "≤ 2,000 ms")
        yield from spread("until a message can be classified", ready, "≤ 2,000 ms")
        texts = [f"{LONG} {letter}" for letter in "abcdefghijklmnopqrst"]
        keys = [page.evaluate(KEY, text) for text in texts]
        yield from spread("a key until a message of 30 tokens is classified", keys)
        for choice, goal in (("head only", "≤ 25 s"), ("the book's choice", "≤ 60 s")):
            page.reload()
            page.locator('.try[data-state="ready"]').wait_for()
            page.get_by_role("button", name=choice).click()
            page.locator('[data-action="train"]').click()
            start = time.perf_counter()
            page.locator('.try[data-state="trained"]').wait_for(timeout=600_000)
            yield f"{choice}: trained", f"{time.perf_counter() - start:.1f} s", goal
            accuracy = page.locator(".try").get_attribute("data-accuracy")
            yield f"{choice}: accuracy on the test messages", f"{100 * float(accuracy):.1f} %", ""


def everyday() -> Iterator[Row]:
    """The nano at work: loading, classifying, a key in the Microscope, the Explorer's Python."""
    yield from spread("load the nano once more", timed(lambda: load_pretrained(NANO), 7))
    classifier = SpamClassifier(replace_head(load_pretrained(NANO)), 82, "last_token")
    microscope = MessageMicroscope(classifier, LONG)
    keys = (f"{LONG}{'?!.,;'[i % 5]}" for i in range(30))
    measured = timed(lambda: setattr(microscope, "text", next(keys)), 30)
    yield from spread("a key in the Microscope, 30 tokens", measured)
    widget = FreezeExplorer("gpt2-xl (1558M)")
    plans = itertools.cycle([FreezePlan.last_blocks(48, 20), FreezePlan.lora(48, 30)])
    measured = timed(lambda: (setattr(widget, "plan", next(plans)), widget.report, widget.cost), 20)
    yield from spread("a plan of gpt2-xl with its report and costs, in Python", measured)


def classify() -> Iterator[Row]:
    """`python -m workshop classify` compared with the book's function, and the memory it takes.

    The weights of the 124M are random: they take as long.
    """
    texts = load_messages("sms-mini")["Text"]
    length = max(len(get_tokenizer().encode(text)) for text in texts)
    torch.manual_seed(0)
    models = {NANO: load_pretrained(NANO), SMALL: GPTModel(gpt_config(SMALL))}
    with tempfile.TemporaryDirectory() as folder:
        for (name, model), numbers in zip(models.items(), CLASSIFIED, strict=True):
            saved = Path(folder, f"{name}.safetensors")
            SpamClassifier(replace_head(model), length, "mean_tokens").save(saved)
            for precision in ("float32", "bfloat16"):
                one_by_one = seconds_one_by_one(model, texts[: numbers[0] // 10], length)
                runs = [run_classify(saved, texts, number, precision) for number in numbers]
                each = (runs[1][0] - runs[0][0]) / (numbers[1] - numbers[0])
                what = f"{name}, {precision}"
                yield f"{what}: texts in a second, without the start", f"{1 / each:.0f}", ""
                ratio = f"{one_by_one / each:.1f} ×"
                yield f"{what}: compared with the book's classify_review", ratio, "≥ 12 ×"
                for number, (_, peak) in zip(numbers, runs, strict=True):
                    yield f"{what}: peak memory of {number:,} texts", f"{peak:.0f} MiB", "flat"


def seconds_one_by_one(model: GPTModel, texts: Sequence[str], length: int) -> float:
    """Return the seconds that the book's function takes for a text."""
    how = {"tokenizer": get_tokenizer(), "device": get_device(), "max_length": length}
    book = partial(classify_review, model=model, **how)
    return median(timed(lambda: [book(text) for text in texts], 3)) / 1000 / len(texts)


def run_classify(
    saved: Path, texts: Sequence[str], number: int, precision: str
) -> tuple[float, float]:
    """Return the seconds that the command takes for so many texts, and its peak memory in MiB."""
    table = saved.with_name(f"{number}.csv")
    pd.DataFrame({"text": [texts[i % len(texts)] for i in range(number)]}).to_csv(table)
    command = [sys.executable, "-m", "workshop", "classify", str(saved), str(table)]
    options = ["--precision", precision, "--out", f"{saved}-{precision}-{number}.csv"]
    start, peak = time.perf_counter(), 0
    process = subprocess.Popen([*command, *options], cwd=ROOT)
    while process.poll() is None:  # the peak that `wait` reports would be this process's own
        found = re.search(r"VmHWM:\s*(\d+)", Path(f"/proc/{process.pid}/status").read_text())
        peak = int(found[1]) if found else peak
        time.sleep(0.02)
    assert process.returncode == 0
    return time.perf_counter() - start, peak / 1024


NANO = "gpt2-nano (12M)"
LONG = (  # 30 tokens
    "Congratulations! You have been selected to receive a free £1000 gift card. Text WIN to 80086 "
    "now to claim your prize before midnight, ok"
)
SMALL = "gpt2-small (124M)"
CLASSIFIED = ((2_000, 20_000), (200, 1_000))  # texts for each model; the start is subtracted
EPOCHS, BATCH, EVAL_FREQ, EVAL_ITER = 5, 8, 50, 5  # the book's
ANOTHER = FreezePlan(12, {"trf_blocks.11", "out_head"})
ROUGH = {"precision": "bfloat16"}
LAST_TOKEN = ROUGH | {"position": "last_token"}
RUNS = {  # → what `fine_tune` is told, and how many times faster than the book's loop it is to be
    "float32, last": ({}, "≥ 6 ×, aim 9 ×"),
    "bfloat16, last": (ROUGH, "≥ 15 ×, aim 20 ×"),
    "bfloat16, last_token": (LAST_TOKEN, "≥ 30 ×, aim 40 ×"),
    "bfloat16, last_token, another plan on what is kept": (LAST_TOKEN | {"plan": ANOTHER}, ""),
}


def fine_tuning() -> Iterator[Row]:
    """Five epochs of the book's plan, GPT-2 124M's shape: the book's loop, Hugging Face's, ours."""
    train, validation, _ = load_parts("sms-spam-collection" if REAL_SMS.exists() else "sms-mini")
    train = SpamDataset(train, get_tokenizer())
    validation = SpamDataset(validation, get_tokenizer(), train.max_length)
    device, plan = get_device(), FreezePlan.book(12)
    order = batch_order(len(train), BATCH, EPOCHS, seed=123)
    steps = sum(map(len, order))
    # batches, of training and of validation
    evaluated = (len(range(0, steps, EVAL_FREQ)) + EPOCHS) * 2 * EVAL_ITER
    sizes = f"{len(train)} + {len(validation)} messages of {train.max_length} tokens"
    yield f"{sizes} on {device}", "", ""
    torch.manual_seed(0)
    original = replace_head(GPTModel(gpt_config(SMALL))).eval().to(device)  # random: as fast
    book = BookLoop(original, plan, train, order, device)
    face = FaceLoop(original, plan, train, order, device)
    seconds, histories = {}, {}
    for name, (settings, _) in RUNS.items():
        for loop in (book, face):
            loop.run(steps=3)
        model, settings = copy.deepcopy(original), {"plan": plan, "progress": False} | settings
        start = time.perf_counter()
        histories[name] = fine_tune(model, train, validation, **settings)
        seconds[name] = time.perf_counter() - start
        for loop in (book, face):
            loop.run(steps=3)
    whole = {}
    for loop in (book, face):
        step, evaluation = median(loop.step_seconds), median(loop.eval_seconds)
        whole[loop] = steps * step + evaluated * evaluation
        what = f"{loop.name}, scaled from {len(loop.losses)} steps of {step:.2f} s and as many"
        what += f" evaluation batches of {evaluation:.2f} s to {steps} and {evaluated}"
        yield what, f"{whole[loop]:.0f} s", ""
    losses = torch.tensor(histories["float32, last"].step_losses[: len(book.losses)])
    off = (losses - torch.tensor(book.losses)).abs().max()
    what = f"largest difference of the first {len(book.losses)} losses from the book's loop's"
    yield f"{what}, float32, last", f"{off:.0e}", "≤ 1e-4"
    for name, (_, goal) in RUNS.items():
        yield f"fine_tune, {name}", f"{seconds[name]:.0f} s", ""
        yield f"fine_tune, {name}, speed-up", f"{whole[book] / seconds[name]:.1f} ×", goal


class BookLoop:
    """Steps and evaluation batches of the loop in the book's package, on its own model, timed."""

    name = "the book's loop (llms-from-scratch)"

    def __init__(self, original: GPTModel, plan: FreezePlan, train: SpamDataset, order, device):
        self.model, self.device = self.make(original, plan).to(device), device
        trainable = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(trainable, lr=5e-5, weight_decay=0.1)
        batches = [batch for epoch in order for batch in epoch]
        self.batches = iter(DataLoader(train, batch_sampler=batches))
        self.step_seconds, self.eval_seconds, self.losses = [], [], []

    def make(self, original, plan):
        from llms_from_scratch.ch04 import GPTModel as BookModel

        model = BookModel(original.cfg)
        model.out_head = torch.nn.Linear(original.cfg["emb_dim"], 2)
        model.load_state_dict(original.state_dict(), strict=False)  # its masks are not ours
        return plan.apply(model)

    def loss(self, inputs, labels) -> torch.Tensor:
        from llms_from_scratch.ch06 import calc_loss_batch

        return calc_loss_batch(inputs, labels, self.model, self.device)

    def run(self, steps: int) -> None:
        for _ in range(steps):
            batch = next(self.batches)
            start = time.perf_counter()
            self.optimizer.zero_grad()
            loss = self.loss(*batch)
            loss.backward()
            self.optimizer.step()
            self.losses.append(loss.item())
            self.step_seconds.append(time.perf_counter() - start)
            start = time.perf_counter()
            with torch.no_grad():
                self.loss(*batch).item()
            self.eval_seconds.append(time.perf_counter() - start)


class FaceLoop(BookLoop):
    """The same steps of Hugging Face's GPT-2 for sequences, with the same parts frozen."""

    name = "Hugging Face's GPT2ForSequenceClassification"

    def make(self, original, plan):
        from transformers import GPT2Config, GPT2ForSequenceClassification

        model = GPT2ForSequenceClassification(GPT2Config(num_labels=2, pad_token_id=END_OF_TEXT))
        model.requires_grad_(False)
        for part in (model.transformer.h[-1], model.transformer.ln_f, model.score):
            part.requires_grad_(True)
        return model.train()

    def loss(self, inputs, labels) -> torch.Tensor:
        inputs, labels = inputs.to(self.device), labels.to(self.device)
        return self.model(inputs, attention_mask=torch.ones_like(inputs), labels=labels).loss


def own_texts(seeds: int = 5) -> Iterator[Row]:
    """What `train` keeps on the tables of tests/own_tables.py, five seeds each, on the test texts.

    The test texts choose nothing. The last number is how many standard errors of an accuracy on
    these test texts the kept classifier is below the best of the three, in the mean over the seeds.
    """
    for name, frame in own_tables().items():
        split, rows, kept, seconds = split_stratified(read_texts(frame)), [], Counter(), []
        labels = split.test["Label"].to_numpy()
        for seed in range(1, seeds + 1):
            start = time.perf_counter()
            logits, chosen = logits_of_own(split, seed)
            seconds.append(time.perf_counter() - start)
            kept[chosen] += 1
            right = {kind: (of.argmax(axis=1) == labels).mean() for kind, of in logits.items()}
            rows.append({**right, "kept": right[chosen]})
        accuracies = pd.DataFrame(rows).mean()
        best = accuracies.drop("kept").max()
        below = best - accuracies["kept"]
        error = (best * (1 - best) / len(labels)) ** 0.5
        for kind, accuracy in accuracies.items():
            yield f"{name}: {kind}", f"{accuracy:.1%}", ""
        kinds = ", ".join(f"{kind} {number} ×" for kind, number in kept.items())
        yield f"{name}: kept were", kinds, ""
        yield f"{name}: standard errors below the best", f"{below / max(error, 1e-9):.2f}", "≤ 1"
        yield f"{name}: one training, median", f"{median(seconds):.0f} s", ""


def calibration() -> Iterator[Row]:
    """How well `train`'s probabilities are calibrated on the bundled table, each text once a test text.

    Each of five folds is the test texts of one training. The 169 test texts of `split_stratified`
    are too few: a perfectly calibrated classifier has an error of 7 % on as many, by chance.
    """
    table = read_texts(SMS_TOPICS)
    frame, confidences, rights = table.frame, [], []
    for others, fold in folds_of(frame["Text"], frame["Label"].to_numpy()):
        rest = frame.iloc[others]
        train, validation = next(folds_of(rest["Text"], rest["Label"].to_numpy()))
        parts = rest.iloc[train], rest.iloc[validation], frame.iloc[fold]
        logits, chosen = logits_of_own(Split(*parts, table.labels, ()), seed=1)
        probabilities = torch.tensor(logits[chosen]).softmax(dim=-1).numpy()
        confidences.append(probabilities.max(axis=1))
        rights.append(probabilities.argmax(axis=1) == frame["Label"].to_numpy()[fold])
    confidence, is_right = np.concatenate(confidences), np.concatenate(rights)
    yield "accuracy", f"{is_right.mean():.1%}", ""
    yield "mean probability of the predicted class", f"{confidence.mean():.1%}", ""
    error = calibration_error(confidence, is_right)
    yield "expected calibration error, ten bins", f"{error:.1%}", "≤ 8 %"


def logits_of_own(split: Split, seed: int) -> tuple[dict[str, np.ndarray], str]:
    """Return the logits of the test texts by each classifier that `train` makes, and which it keeps."""
    training = OwnTraining(split, OwnSettings(seed=seed))
    for _ in training.steps():
        pass
    candidates, logits = training.candidates(), {}
    for kind, candidate in candidates.items():
        logits[kind] = training.classifier(kind, candidate).logits(split.test["Text"]).numpy()
    return logits, training.choose(candidates)


def calibration_error(probabilities, is_right, bins: int = 10) -> float:
    """Return the expected calibration error: (n,) of the predicted class's probability, and of bool.

    It is the mean of |accuracy - mean probability| over equally wide bins, weighted by their sizes.
    """
    groups = pd.DataFrame({"p": probabilities, "right": is_right}).groupby(
        np.minimum((probabilities * bins).astype(int), bins - 1)
    )
    sizes, means = groups.size(), groups.mean()
    return float((sizes * (means["right"] - means["p"]).abs()).sum() / sizes.sum())


BENCHMARKS = {
    "explorer": explorer,
    "in_the_browser": in_the_browser,
    "everyday": everyday,
    "classify": classify,
    "fine_tuning": fine_tuning,
    "own_texts": own_texts,
    "calibration": calibration,
    "nano": nano,
    "nano_settings": nano_settings,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="measure, print and write benchmarks.json")
    choices = [*BENCHMARKS, []]
    parser.add_argument("names", nargs="*", choices=choices, help="only these (default: all)")
    chosen = parser.parse_args().names or list(BENCHMARKS)
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    measured = {"machine": f"{versions}, {os.cpu_count()} processor cores"}
    print(measured["machine"])
    for name in chosen:
        print(f"\n{name}: {BENCHMARKS[name].__doc__.splitlines()[0]}")
        measured[name] = []
        for what, value, goal in BENCHMARKS[name]():
            print(f"  {what:<90} {value:>14}  {goal}".rstrip(), flush=True)
            measured[name].append({"what": what, "value": value, "goal": goal})
    text = json.dumps(measured, indent=1, ensure_ascii=False) + "\n"
    (ROOT / "benchmarks.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
