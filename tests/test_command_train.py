"""`python -m workshop train` and `show`: from a table to a classifier, by one command."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch

from helpers.classify import TextClassifier
from tests.conftest import ROOT
from tests.own_texts import own_file
from workshop.__main__ import main
from workshop.own import PLANS, THIS, ClassFigures, OwnSettings, OwnTraining, summary_table
from workshop.texts import read_texts, split_stratified

QUICK = ("--plan", "head only", "--epochs", "2")


def run(*arguments) -> int | str:
    """Return the exit code, or what was said on the way out (code 1)."""
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, arguments)))
    return ended.value.code


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return own_file(tmp_path_factory.mktemp("own"))


@pytest.fixture(scope="module")
def trained(table, tmp_path_factory):
    """A classifier of it, made where a dash and other letters can't be printed; and what was printed."""
    out = tmp_path_factory.mktemp("trained") / "my.safetensors"
    command = [sys.executable, "-m", "workshop", "train", table, "--out", out, *QUICK]
    ascii = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, cwd=ROOT, env=ascii, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return out, done.stdout.encode().decode("unicode_escape")


def test_a_table_becomes_a_classifier_with_a_report_and_measures_on_its_test_texts(table, trained):
    out, printed = trained
    read = read_texts(table)
    split = split_stratified(read)
    sizes = f"{len(split.train)} training, {len(split.validation)} validation texts"
    for sentence in (*read.report, *split.report, sizes):
        assert sentence in printed
    classifier = TextClassifier.load(out)
    assert classifier.labels == read.labels and classifier.position == "last_token"
    called = [split.labels.index(name) for name in classifier.classify_many(list(split.test.Text))]
    figures = ClassFigures(split.labels, split.test.Label.tolist(), called)
    lines = [line.split() for line in printed.splitlines()]
    assert summary_table({THIS: figures}).splitlines()[1].split() in lines
    assert re.search(r"^always .*\ncounting words ", printed, re.MULTILINE)
    assert f"on the {len(split.test)} test texts" in printed and f"saved: {out}" in printed
    assert os.listdir(out.parent) == [out.name]  # nothing is left beside it


def test_show_says_what_it_was_trained_from_and_train_never_writes_over_it(trained, table, capsys):
    out, printed = trained
    before = out.read_bytes()
    assert run("show", out) == 0
    shown = capsys.readouterr().out
    assert printed[printed.index("what  ") : printed.index("\n\nsaved:")].strip() in shown
    parts = "mine.csv, 63 texts|gpt2-nano (12M)|'fruit', 'sport', 'weather'|last_token"
    parts += "|6 blocks, 6 heads, 192 numbers for each token"
    parts += f"|truncated after {TextClassifier.load(out).max_length} tokens"
    for part in parts.split("|"):
        assert part in shown
    assert "figures:" not in shown
    said = run("train", table, "--out", out, *QUICK)
    assert said == f"{out} exists already; delete it, or name another file with --out"
    assert out.read_bytes() == before and os.listdir(out.parent) == [out.name]


@pytest.mark.proof
def test_an_interrupted_training_keeps_its_last_whole_epoch_and_resumes_there(
    table, tmp_path, capsys
):
    out, checkpoint = tmp_path / "my.st", tmp_path / "my.st.checkpoint"
    command = ("train", table, "--out", out, "--plan", "head only", "--epochs", 200)
    process = subprocess.Popen(
        [sys.executable, "-m", "workshop", *map(str, command)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    while not checkpoint.exists() and process.poll() is None:
        time.sleep(0.01)
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130 and "Traceback" not in errors
    assert "the same command resumes there" in errors and f"{out} has the weights so far" in errors
    epochs = int(TextClassifier.load(out).about["interrupted"].split()[1])
    assert 0 < epochs < 200

    assert run(*command) == 0
    resumed_after = re.search(r"resuming after (\d+) whole epoch", capsys.readouterr().out)
    assert int(resumed_after[1]) in (epochs, epochs - 1)  # it may have come while one was written
    settings = OwnSettings(plan="head only", epochs=200)
    training = OwnTraining(split_stratified(read_texts(table)), settings)
    for _ in training.steps():
        pass
    resumed = TextClassifier.load(out)
    heads = [one.model.out_head.weight for one in (training.classifier(), resumed)]
    torch.testing.assert_close(*heads, atol=1e-4, rtol=0)
    assert "interrupted" not in resumed.about and os.listdir(tmp_path) == ["my.st"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "TABLE", "--out", "OUT", "--text", "x"], "no column is called x.*--text"),
        (["train", "TABLE", "--out", "OUT", "--lr", "1e30"], "take a smaller learning rate"),
        (["show", "TABLE"], "mine.csv"),
    ],
)
def test_what_can_not_be_done_is_said_in_one_line(arguments, message, table, tmp_path):
    stand_for = {"TABLE": table, "OUT": tmp_path / "out.st"}
    said = run(*(stand_for.get(argument, argument) for argument in arguments))
    assert re.search(message, said) and "\n" not in said
    assert not [name for name in os.listdir(tmp_path) if not name.endswith(".checkpoint")]


def test_help_names_all_plans_and_comes_without_torch(capsys):
    assert run("train", "--help") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert all(f'"{plan}"' in shown for plan in PLANS)
    code = "import sys, workshop.__main__; print({'torch', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "set()\n"
