"""`python -m workshop train` and `show`: from a table to a classifier, by one command."""

import os
import signal
import socket
import subprocess
import sys
import time

import pandas as pd
import pytest
import torch

from helpers.classify import TextClassifier
from tests.conftest import ROOT
from tests.test_ranks import torchrun
from workshop import ASSETS
from workshop.__main__ import main
from workshop.own import THIS, OwnSettings, OwnTraining, class_figures, summary_table
from workshop.texts import read_texts, split_stratified

EXAMPLE = ASSETS / "sms-topics" / "sms-topics.csv"
QUICK = ("--plan", "head only", "--epochs", "2")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Thirty of the bundled texts of each of three classes."""
    example = pd.read_csv(EXAMPLE)
    few = [rows.head(30) for _, rows in example.groupby("topic")][:3]
    path = tmp_path_factory.mktemp("own") / "few.csv"
    pd.concat(few).to_csv(path, index=False)
    return path


def run(*arguments) -> int | str:
    """Return the exit code, or what was said on the way out (code 1)."""
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, arguments)))
    return ended.value.code


def figures_of(classifier, table) -> str:
    """The classifier's line of the table of figures, measured anew on the test part."""
    split = split_stratified(table)
    called = [split.labels.index(name) for name in classifier.classify_many(list(split.test.Text))]
    figures = class_figures(split.labels, split.test.Label.tolist(), called)
    return summary_table({THIS: figures}).splitlines()[1].split()


@pytest.fixture(scope="module")
def trained(table, tmp_path_factory):
    """A classifier of it, and what was printed."""
    out = tmp_path_factory.mktemp("trained") / "my.safetensors"
    done = subprocess.run(
        [sys.executable, "-m", "workshop", "train", table, "--out", out, *QUICK],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return out, done.stdout


def test_a_table_becomes_a_classifier_with_a_report_and_figures_on_texts_it_has_not_met(
    table, trained
):
    out, printed = trained
    read = read_texts(table)
    split = split_stratified(read)
    for sentence in (*read.report, *split.report):
        assert sentence in printed
    classifier = TextClassifier.load(out)
    assert classifier.labels == read.labels and classifier.position == "last_token"
    lines = [line.split() for line in printed.splitlines()]
    assert figures_of(classifier, read) in lines
    assert any(line.startswith("always ") for line in printed.splitlines())
    assert any(line.startswith("counting words ") for line in printed.splitlines())
    assert f"on the {len(split.test)} test texts" in printed
    assert f"saved: {out}" in printed
    assert os.listdir(out.parent) == [out.name]  # nothing is left beside it


def test_show_says_what_it_was_trained_from_and_how_good_it_was(trained, capsys):
    out, printed = trained
    assert run("show", out) == 0
    shown = capsys.readouterr().out
    for line in printed[printed.index("what  ") : printed.index("saved:")].strip().splitlines():
        assert line.strip() in shown
    assert "few.csv" in shown and "gpt2-nano (12M)" in shown
    for label in TextClassifier.load(out).labels:
        assert label in shown


def test_the_same_command_never_writes_over_a_classifier(trained, table):
    out, _ = trained
    before = out.read_bytes()
    said = run("train", table, "--out", out, *QUICK)
    assert said == f"{out} is there already; delete it, or name another file with --out"
    assert out.read_bytes() == before


def test_two_processes_train_the_classifier_of_one(trained, table, tmp_path):
    out, printed = trained
    command = ("-m", "workshop", "train", str(table), "--out", str(tmp_path / "two.st"), *QUICK)
    done = torchrun(2, *command)
    assert done.returncode == 0, done.stderr
    assert done.stdout.replace(str(tmp_path / "two.st"), str(out)) == printed  # said once
    one, two = TextClassifier.load(out), TextClassifier.load(tmp_path / "two.st")
    for name, weights in one.model.state_dict().items():
        torch.testing.assert_close(
            two.model.state_dict()[name], weights, atol=1e-4, rtol=0, msg=name
        )


def test_an_interrupted_training_keeps_its_last_whole_epoch_and_goes_on_there(
    table, tmp_path, capsys
):
    command = ("train", table, "--out", tmp_path / "my.st", "--plan", "head only", "--epochs", 40)
    process = subprocess.Popen(
        [sys.executable, "-m", "workshop", *map(str, command)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    folder = tmp_path / "my.st.checkpoint"
    while not (found := [*folder.glob("epoch-[0-9]*[0-9]")]) and process.poll() is None:
        time.sleep(0.01)
    assert found, process.communicate()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130 and "Traceback" not in errors
    assert "my.st has its weights; the same command goes on there" in errors
    kept = TextClassifier.load(tmp_path / "my.st")
    epochs = int(kept.about["interrupted"].split()[1])
    there = max(int(path.name.removeprefix("epoch-")) for path in folder.glob("epoch-*[0-9]"))
    assert (
        there in (epochs, epochs - 1) and 0 < epochs < 40
    )  # it may have come while one was written

    assert run(*command) == 0
    assert f"going on after {there} whole epoch" in capsys.readouterr().out
    split = split_stratified(read_texts(table))
    training = OwnTraining(split, OwnSettings(plan="head only", epochs=40))
    for _ in training.steps():
        pass
    at_a_stretch, resumed = training.classifier(), TextClassifier.load(tmp_path / "my.st")
    torch.testing.assert_close(
        resumed.model.out_head.weight, at_a_stretch.model.out_head.weight, atol=1e-4, rtol=0
    )
    assert "interrupted" not in resumed.about and not folder.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nowhere.csv", "--out", "OUT"], "nowhere.csv"),
        (["train", "FOLDER", "--out", "OUT"], "folder"),
        (["train", "TABLE", "--out", "OUT", "--text", "words"], "'words'"),
        (["train", "TABLE", "--out", "OUT", "--epochs", "0"], "epochs must be a whole number"),
        (["train", "TABLE", "--out", "OUT", "--lr", "nan"], "lr must be a finite number"),
        (["show", "TABLE"], "not a whole file of a classifier"),
        (["show", "nowhere.safetensors"], "does not exist"),
        (["classify", "TABLE", "TABLE"], "not a whole file of a classifier"),
    ],
)
def test_what_can_not_be_done_is_said_in_one_line(arguments, message, table, tmp_path):
    stand_for = {"TABLE": table, "OUT": tmp_path / "out.st", "FOLDER": tmp_path}
    said = run(*(stand_for.get(argument, argument) for argument in arguments))
    assert message in said and "\n" not in said
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [[], ["train"], ["train", "a.csv"], ["train", "a.csv", "--out", "b", "--plan", "nothing"]],
)
def test_a_command_that_is_none_is_answered_in_one_line(arguments, capsys):
    assert run(*arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_port_in_use_is_said_in_one_line(trained, table):
    out, _ = trained
    with socket.create_server(("127.0.0.1", 0)) as taken:
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(taken.getsockname()[1])}
        done = subprocess.run(
            [sys.executable, "-m", "workshop", "classify", out, table],
            cwd=ROOT,
            env=os.environ | meeting | {"RANK": "0", "WORLD_SIZE": "2"},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "EADDRINUSE" in done.stderr or "in use" in done.stderr
