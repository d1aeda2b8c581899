"""What is promised in figures, measured: `make bench`, or `python -m tests.benchmarks explorer`.

Each benchmark is a function that yields rows; a row is what was measured, the value, and what is to
be reached. The table is printed and written to benchmarks.json.
"""

import argparse
import copy
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import torch
from nbclient import NotebookClient
from torch.utils.data import DataLoader

from helpers.classify import SpamClassifier, classify_review
from helpers.config import END_OF_TEXT, MODEL_CONFIGS, gpt_config, model_size
from helpers.data import SpamDataset, load_messages, pad, read_messages
from helpers.freezing import FreezePlan, replace_head
from helpers.loading import load_pretrained
from helpers.model import GPTModel
from helpers.tokenizer import encode_message, get_tokenizer
from helpers.training import PRECISIONS, get_device
from tests import lab
from tests.conftest import REAL_SMS, ROOT, load_parts
from tests.nano import nano, nano_settings
from tests.screenshot import LAB, notebook_up_to, opened
from workshop.__main__ import classify_pieces
from workshop.explorer import MODULE, explorer_page
from workshop.fast import batch_order, fast_logits, fine_tune
from workshop.inside import token_influence
from workshop.pretraining import save_openai_checkpoint
from workshop.processes import ALONE
from workshop.texts import read_pieces
from workshop.widgets import MessageMicroscope

Row = tuple[str, str, str]  # what was measured, its value with the unit, what is to be reached
NANO, SMALL = "gpt2-nano (12M)", "gpt2-small (124M)"
NOT_MEASURED = ("until a page shows it", "not measured", str(lab.missing()))


def timed(function, *arguments, **settings) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    function(*arguments, **settings)
    return time.perf_counter() - start


def spread(what: str, milliseconds: list[float], goal: str) -> Iterator[Row]:
    """Yield the median and the value that 95 % do not exceed."""
    for name, percent in (("median", 50), ("95th percentile", 95)):
        value = np.percentile(milliseconds, percent, method="inverted_cdf")
        yield f"{what}, {len(milliseconds)} times, {name}", f"{value:.1f} ms", goal


def in_a_kernel(code: str) -> list[float]:
    """Run code in a Jupyter kernel, where a widget's messages are really sent; return its list."""
    notebook = lab.notebook_of(f"import sys; sys.path.insert(0, {str(ROOT)!r})", code)
    settings = {"kernel_name": "python3", "extra_arguments": ["--IPKernelApp.log_level=40"]}
    NotebookClient(notebook, **settings).execute()
    return json.loads(notebook.cells[-1].outputs[-1]["data"]["text/plain"])


# --- the Explorer ---------------------------------------------------------------------------------

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


def explorer() -> Iterator[Row]:
    """The Freeze Explorer: its size, until it can be used, and a click, in a page without a kernel."""
    page_size = len(explorer_page().encode())
    yield "the Explorer with its script and style", f"{page_size / 1000:.1f} kB", ""
    yield "of that, script and style", f"{len(MODULE.encode()) / 1000:.1f} kB", "≤ 60 kB"
    if lab.missing():
        yield NOT_MEASURED
        return
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder, lab.browser() as chromium:
        file = Path(folder, "explorer.html")
        file.write_text(f'<!doctype html><meta charset="utf-8">{explorer_page()}', encoding="utf-8")
        page, ready = chromium.new_page(viewport={"width": 1200, "height": 650}), []
        for _ in range(20):
            page.goto(file.as_uri())
            ready.append(page.evaluate(READY))
        yield from spread("opened from the disk until it can be used", ready, "≤ 300 ms")
        for size, sizes in MODEL_CONFIGS.items():
            page.locator(f'[data-size="{size}"]').click()
            blocks = range(0, sizes["n_layers"], 2)  # no neighbours are equal: nothing is folded
            page.locator('[data-preset="nothing"]').click()
            plan = ",".join(f"trf_blocks.{i}" for i in blocks)
            page.goto(f"{file.as_uri()}#{size.split('(')[1].rstrip(')')}/{plan}")
            page.reload()
            clicks = []
            for _ in range(60):
                part = f'[data-part="trf_blocks.{rng.choice(blocks)}"]'
                if page.locator(part).count():
                    clicks.append(page.evaluate(CLICK, part))
            yield from spread(f"a click in {size} until it is painted", clicks, "≤ 20 ms")


# --- the Microscope -------------------------------------------------------------------------------

LONG = (  # 30 tokens
    "Congratulations! You have been selected to receive a free £1000 gift card. Text WIN to 80086 "
    "now to claim your prize before midnight, ok?"
)
KEYS = [LONG[:-1] + "?!.,;"[i % 5] for i in range(65)]  # what stands in the box after each key
MICROSCOPE = """\
from helpers.classify import SpamClassifier
from helpers.freezing import replace_head
from helpers.loading import load_pretrained
from workshop.widgets import MessageMicroscope
model = replace_head(load_pretrained("gpt2-nano (12M)"))
MessageMicroscope(SpamClassifier(model, 82, position="last_token"))"""
TYPE = """async (text) => {
    const box = document.querySelector('.mm-text input'), start = performance.now();
    const words = () => document.querySelector('.mm-attention svg').getAttribute('aria-label');
    const before = words();
    Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(box, text);
    box.dispatchEvent(new Event('input', {bubbles: true}));
    while (words() === before) await new Promise(requestAnimationFrame);
    return performance.now() - start;
}"""


def microscope() -> Iterator[Row]:
    """The Message Microscope, the nano, a message of 30 tokens: in the kernel and in a page."""
    for position, padding in (("last_token", 0), ("last", 82 - 30)):
        model = new_classifier(position).model
        row = get_tokenizer().encode(LONG) + padding * [END_OF_TEXT]
        seconds = median(timed(token_influence, model, row, position) for _ in range(10))
        what = f"token_influence of 30 tokens and {padding} of padding, position {position}"
        yield f"{what}, median of 10", f"{seconds:.2f} s", "≤ 0.3 s"
        measured = in_a_kernel(f"from tests.benchmarks import keys\nkeys({position!r})")
        what = f"a key in a message of 30 tokens, position {position}, in the kernel"
        yield from spread(what, measured, "≤ 150 ms")
    if lab.missing():
        yield NOT_MEASURED
        return
    with opened(lab.notebook_of(MICROSCOPE), ".mm-token-10") as page:
        measured = [page.evaluate(TYPE, text) for text in KEYS[:45]]
    what = "a key in a message of 30 tokens until JupyterLab shows the new picture"
    yield from spread(what, measured[5:], "≤ 400 ms")


def new_classifier(position: str) -> SpamClassifier:
    """The nano with a new head, which is as fast as a trained one."""
    return SpamClassifier(replace_head(load_pretrained(NANO)), 82, position=position)


def keys(position: str) -> list[float]:
    """Type into the Microscope; return the milliseconds that each key took to redraw."""
    microscope = MessageMicroscope(new_classifier(position), LONG + "!")
    measured = [1000 * timed(setattr, microscope, "text", text) for text in KEYS]
    assert len(microscope.influence) == 30
    return measured[5:]  # not those in which torch still sets itself up


# --- the Lab --------------------------------------------------------------------------------------

RUN = """async () => {
    const count = () => document.querySelectorAll('.fx-run-table tbody tr').length;
    const before = count(), start = performance.now();
    document.querySelector('.fx-train').click();
    while (count() === before) await new Promise(requestAnimationFrame);
    return (performance.now() - start) / 1000;
}"""
STOP = """async () => {
    const words = name => document.querySelector(`.fx-${name}`).innerText;
    const until = async found => { while (!found()) await new Promise(requestAnimationFrame); };
    document.querySelector('.fx-train').click();
    await until(() => words('bar').includes('left'));
    const start = performance.now();
    document.querySelector('.fx-stop').click();
    await until(() => words('status').includes('Stopped'));
    return performance.now() - start;
}"""


def freeze_lab() -> Iterator[Row]:
    """The Freeze Lab in JupyterLab: the nano, sms-mini, the book's choice, five epochs, one seed."""
    if lab.missing():
        yield NOT_MEASURED
        return
    with opened(notebook_up_to(LAB, "lab = FreezeLab("), ".fx-train") as page:
        what = "a click on Train until the row is there"
        yield f"{what}, the first time", f"{page.evaluate(RUN):.1f} s", "≤ 10 s"
        kept = [page.evaluate(RUN) for _ in range(5)]
        yield f"{what}, the frozen part kept, median of 5", f"{median(kept):.1f} s", "≤ 3 s"
        page.locator(".fx-seeds .fx-choice", has_text="5").click()
        heard = [page.evaluate(STOP) for _ in range(10)]
        what = "a click on Stop until it has stopped, the slowest of 10"
        yield what, f"{max(heard):.0f} ms", "≤ 500 ms"


# --- fine-tuning ----------------------------------------------------------------------------------

EPOCHS, BATCH, EVAL_FREQ, EVAL_ITER = 5, 8, 50, 5  # the book's
ANOTHER = FreezePlan(12, {"trf_blocks.11", "out_head"})
RUNS = {  # → what `fine_tune` is told, and how many times faster than the book's loop it is to be
    "float32, last": ({}, "≥ 6 ×, aim 9 ×"),
    "float32, last, another plan on what is kept": ({"plan": ANOTHER}, "≥ 80 ×, aim 100 ×"),
    "bfloat16, last": ({"precision": "bfloat16"}, "≥ 15 ×, aim 20 ×"),
    "bfloat16, last_token": (
        {"precision": "bfloat16", "position": "last_token"}, "≥ 30 ×, aim 40 ×",
    ),
    "bfloat16, last_token, another plan on what is kept": (
        {"precision": "bfloat16", "position": "last_token", "plan": ANOTHER}, "",
    ),
    "float32, last_token": ({"position": "last_token"}, ""),
}  # fmt: skip


def fine_tuning() -> Iterator[Row]:
    """Five epochs of the book's plan, GPT-2 124M's shape: the book's loop, Hugging Face's, ours."""
    train, validation, test = splits()
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
        book.run()
        face.run()
        model, settings = copy.deepcopy(original), {"plan": plan, "progress": False} | settings
        start = time.perf_counter()
        histories[name] = fine_tune(model, train, validation, **settings)
        seconds[name] = time.perf_counter() - start
        book.run()
        face.run()
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
        encoding, training = histories[name].seconds_encoding, histories[name].seconds_training
        what = f"fine_tune, {name}: {encoding:.0f} s encoding + {training:.0f} s training"
        yield what, f"{whole[book] / seconds[name]:.1f} ×", goal
    yield from classifying(original, train, validation, test)


def splits() -> list[SpamDataset]:
    """The three parts of the SMS Spam Collection where it lies beside the project, or sms-mini's."""
    train, *others = load_parts("sms-spam-collection" if REAL_SMS.exists() else "sms-mini")
    train = SpamDataset(train, get_tokenizer())
    return [train, *(SpamDataset(part, get_tokenizer(), train.max_length) for part in others)]


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

    def run(self) -> None:
        for _ in range(2):
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


# --- classifying ----------------------------------------------------------------------------------


def classifying(model: GPTModel, *parts: SpamDataset) -> Iterator[Row]:
    """All messages: one by one as in the book, and together."""
    texts = [text for part in parts for text in part.data["Text"]]
    length, tokenizer = parts[0].max_length, get_tokenizer()
    settings = (model, tokenizer, model.tok_emb.weight.device, length)
    whole = len(texts) * median(timed(classify_review, text, *settings) for text in texts[:60])
    yield f"classify_review, {len(texts)} messages, scaled from 60", f"{whole:.0f} s", ""
    for position, precision, goal in (
        ("last_token", "bfloat16", "≥ 12 ×, aim 15 ×"),
        ("last_token", "float32", ""),
        ("last", "bfloat16", ""),
    ):
        classifier = SpamClassifier(model, length, position=position)
        start = time.perf_counter()
        rows = [pad(encode_message(text, tokenizer), length) for text in texts]
        answers = fast_logits(classifier, rows, precision).argmax(dim=-1).tolist()
        taken = time.perf_counter() - start
        alone = [classifier.classify(text) for text in texts[:60]]
        other = sum(classifier.labels[a] != b for a, b in zip(answers, alone, strict=False))
        what = f"fast_logits, {position}, {precision}: {taken:.1f} s; {other} of 60 labels other"
        yield f"{what} than one at a time", f"{whole / taken:.1f} ×", goal


def classify_stream() -> Iterator[Row]:
    """A file of SMS messages by `python -m workshop classify`, against classify_review one by one."""
    messages = read_messages(REAL_SMS) if REAL_SMS.exists() else load_messages("sms-mini")
    texts = messages["Text"].tolist()  # as they come, not balanced
    yield from classify_a_file("the nano", load_pretrained(NANO), texts[:2_000], 100)
    random_model = GPTModel(gpt_config(SMALL))
    yield from classify_a_file("GPT-2 124M's shape", random_model, texts[:400], 20)


def classify_a_file(name: str, model: GPTModel, texts: list[str], alone: int) -> Iterator[Row]:
    """Classify texts from file to file, and `alone` of them one by one, three times by turns."""
    length, device = splits()[0].max_length, get_device()
    classifier = SpamClassifier(replace_head(model).to(device), length, position="last_token")
    settings = (classifier.model, classifier.tokenizer, device, length)
    one_by_one, taken = [], {precision: [] for precision in PRECISIONS}
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder, "texts.csv"), Path(folder, "labels.csv")
        pd.DataFrame({"text": texts}).to_csv(path, index=False)
        for turn in range(3):
            for text in texts[alone * turn :][:alone]:
                one_by_one.append(timed(classify_review, text, *settings))
            for precision, seconds in taken.items():
                out.unlink(missing_ok=True)
                start = time.perf_counter()
                pieces, parts = read_pieces(path, []), out.with_suffix(".parts")
                classify_pieces(classifier, pieces, 0, out, parts, precision, ALONE)
                seconds.append(time.perf_counter() - start)
    single = median(one_by_one)
    what = f"{name}: classify_review, one message, median of {len(one_by_one)}"
    yield what, f"{1e3 * single:.2f} ms", ""
    for precision, seconds in taken.items():
        together = median(seconds) / len(texts)
        what = f"{name}: one of {len(texts):,} from file to file, {precision}"
        yield f"{what}, {1e3 * together:.2f} ms", f"{single / together:.1f} ×", "≥ 12 ×"


# --- loading --------------------------------------------------------------------------------------

LOAD_BOOK = """
from llms_from_scratch.ch04 import GPTModel
from llms_from_scratch.ch05 import load_gpt2_params_from_tf_ckpt, load_weights_into_gpt
import json, pathlib
from helpers.config import gpt_config
measure_from_here()
folder = pathlib.Path({folder!r}, "124M")
settings = json.loads((folder / "hparams.json").read_text())
model = GPTModel(gpt_config("gpt2-small (124M)"))
load_weights_into_gpt(model, load_gpt2_params_from_tf_ckpt(str(folder / "model.ckpt"), settings))
"""
LOAD_OURS = """
from helpers.loading import load_pretrained
measure_from_here()
model = load_pretrained({name!r}, {folder!r})
"""
LOAD_FIRST = """
from helpers.loading import import_tensorflow, load_pretrained
import_tensorflow()  # 0.6 GB whatever the model: told apart
measure_from_here()
model = load_pretrained({name!r}, {folder!r})
"""
MEASURE = """
import sys, threading, time
sys.path.insert(0, {root!r})
import torch
def memory(kind):
    lines = open("/proc/self/status")
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(kind))
at_start = memory("VmRSS")
def measure_from_here():
    global start, before
    before, start = memory("VmRSS"), time.perf_counter()
{code}
checksum = sum(p.sum().item() for p in model.parameters())  # every weight is read, not only promised
taken = time.perf_counter() - start
weights = sum(p.nbytes for p in model.parameters())
print(taken, (memory("VmHWM") - before) / weights, (before - at_start) / 1e9)
"""


def loading() -> Iterator[Row]:
    """GPT-2 124M from files, each time in a new process, until each weight has been read once."""
    codes = {"first": LOAD_FIRST, "ours": LOAD_OURS, "book": LOAD_BOOK}
    measured = {kind: [] for kind in codes}
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        model = GPTModel(gpt_config(SMALL))
        model.out_head.weight = model.tok_emb.weight
        save_openai_checkpoint(model, Path(folder, model_size(SMALL)), "float32")
        for _ in range(3):
            Path(folder, model_size(SMALL), "model.safetensors").unlink(missing_ok=True)
            for kind, code in codes.items():
                measured[kind].append(measure(code.format(name=SMALL, folder=folder)))
    medians = {kind: np.median(runs, axis=0) for kind, runs in measured.items()}
    for kind, what, goal in (
        ("book", "the book's way, TensorFlow's import included", ""),
        ("first", "load_pretrained, first load, after TensorFlow's import", "≤ 1.4 ×"),
        ("ours", "load_pretrained, later times", "≤ 1.2 ×"),
    ):
        seconds, memory, _ = medians[kind]
        yield f"{what}, median of 3", f"{seconds:.2f} s", ""
        yield f"{what}, peak memory in addition", f"{memory:.2f} × weights", goal
    imported = medians["first"][2]
    yield "TensorFlow's import, memory in addition", f"{imported:.1f} GB", ""
    ratio = f"{medians['book'][0] / medians['ours'][0]:.1f} ×"
    yield "ratio of the times, the book's to later ones", ratio, "≥ 10 ×, aim 20 ×"


def measure(code: str) -> list[float]:
    """Run code that makes a `model` in a process of its own.

    Return the seconds, the peak of memory in addition (× weights), and the GB that it took before.
    """
    script = MEASURE.format(root=str(ROOT), code=code)
    environment, command = (
        os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        [sys.executable, "-c", script],
    )
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr[-2000:]
    return list(map(float, run.stdout.split()[-3:]))


BENCHMARKS = {
    "explorer": explorer,
    "microscope": microscope,
    "lab": freeze_lab,
    "fine_tuning": fine_tuning,
    "classify_stream": classify_stream,
    "loading": loading,
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
