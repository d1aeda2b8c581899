"""`python -m workshop train` and `show`: from a table to a classifier, by one command."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch

from tests.conftest import ROOT
from tests.own_texts import own_file
from workshop.__main__ import main
from workshop.own import (
    BAG,
    GPT2,
    PLANS,
    SEEN,
    SUM,
    OwnClassifier,
    OwnSettings,
    OwnTraining,
    percent,
)
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


def test_a_table_becomes_a_classifier_with_a_report_and_the_choice_in_a_sentence(table, trained):
    out, printed = trained
    read = read_texts(table)
    split = split_stratified(read)
    training = OwnTraining(split, OwnSettings(plan="head only", epochs=2))
    for sentence in (*read.report, *split.report, *training.report()):
        assert sentence in printed
    classifier = OwnClassifier.load(out)
    assert classifier.labels == read.labels and f"Kept: the {classifier.kind}." in printed
    assert classifier.about["choice"] in printed and f"saved: {out}" in printed
    texts, labels = split.validation["Text"], split.validation["Label"]
    numbers = classifier.logits(texts).argmax(dim=-1).numpy()
    assert f"It predicts {percent((numbers == labels).mean())} of the {len(texts)}" in printed
    assert "test texts, which" not in printed  # they are for the end
    assert os.listdir(out.parent) == [out.name]  # nothing is left beside it


def test_show_says_what_it_was_trained_from_and_train_never_writes_over_it(trained, table, capsys):
    out, _ = trained
    before = out.read_bytes()
    assert run("show", out) == 0
    shown = capsys.readouterr().out
    for part in ("mine.csv, 63 texts", "gpt2-nano (12M)", "'fruit', 'sport', 'weather'", "Kept: "):
        assert part in shown
    said = run("train", table, "--out", out, *QUICK)
    assert said == f"{out} exists already; delete it, or name another file with --out"
    assert out.read_bytes() == before and os.listdir(out.parent) == [out.name]


def test_the_test_texts_are_measured_at_the_end_and_the_next_training_says_so(
    table, tmp_path, capsys
):
    first, second = tmp_path / "first.st", tmp_path / "second.st"
    assert run("train", table, "--out", first, "--quick") == 0
    assert OwnClassifier.load(first).kind == BAG
    assert "were measured on before" not in capsys.readouterr().out
    assert run("show", first, "--test", table) == 0
    assert re.search(r"bag of words +\d\.\d{3} ", capsys.readouterr().out)
    assert {*os.listdir(tmp_path)} == {"first.st", SEEN}
    assert run("train", table, "--out", second, *QUICK, "--keep", SUM) == 0
    assert "were measured on before this training" in capsys.readouterr().out
    loaded = OwnClassifier.load(second)
    assert loaded.kind == SUM and "before" in loaded.about["test texts"]


@pytest.mark.proof
def test_an_interrupted_training_keeps_its_last_whole_epoch_and_resumes_there(
    table, tmp_path, capsys
):
    out, checkpoint = tmp_path / "my.st", tmp_path / "my.st.checkpoint"
    command = ("train", table, "--out", out, "--plan", "head only", "--epochs", 200)
    command += ("--keep", GPT2)
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
    epochs = int(re.search(r"after (\d+) whole epochs? of 200; the same command", errors)[1])
    assert 0 < epochs < 200 and not out.exists()

    assert run(*command) == 0
    resumed_after = re.search(r"resuming after (\d+) whole epoch", capsys.readouterr().out)
    assert int(resumed_after[1]) in (epochs, epochs - 1)  # it may have come while one was written
    settings = OwnSettings(plan="head only", epochs=200, keep=GPT2)
    training = OwnTraining(split_stratified(read_texts(table)), settings)
    for _ in training.steps():
        pass
    expected = training.candidates()[GPT2]
    texts = training.split.validation["Text"]
    logits = OwnClassifier.load(out).logits(texts)
    torch.testing.assert_close(logits, expected.logits, atol=1e-3, rtol=1e-3)
    assert os.listdir(tmp_path) == ["my.st"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "TABLE", "--out", "OUT", "--text", "x"], "no column is called x.*--text"),
        (["train", "TABLE", "--out", "OUT", "--lr", "1e30"], "take a smaller learning rate"),
        (["train", "TABLE", "--out", "FOLDER"], "is a folder; name a file in it"),
        (["show", "TABLE"], "mine.csv"),
    ],
)
def test_what_can_not_be_done_is_said_in_one_line(arguments, message, table, tmp_path):
    stand_for = {"TABLE": table, "OUT": tmp_path / "out.st", "FOLDER": tmp_path}
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
