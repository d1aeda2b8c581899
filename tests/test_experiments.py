"""Each row of the table means what it says, and is trained as the page says."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from helpers.config import END_OF_TEXT
from helpers.freezing import FreezePlan
from helpers.loading import load_pretrained
from helpers.training import class_logits
from tests.conftest import ROOT, TINY, random_model
from workshop.compare import main
from workshop.experiments import (
    ROWS,
    Experiment,
    make_classifier,
    make_datasets,
    make_model,
    measure,
    parse_rows,
    reason_to_skip,
    run_id,
)
from workshop.fast import fine_tune
from workshop.forward import message_logits
from workshop.lab import read_rows

NANO, SMALL = "gpt2-nano (12M)", "gpt2-small (124M)"
WORDS = ["free", "prize", "call", "now", "claim", "see", "you", "eight", "love", "win", "home"]
TEXTS = ["free prize call now to claim", "ok see you"]  # the first one is the longest


def messages(count: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(WORDS, rng.integers(3, 9), replace=False)) for _ in range(count)]
    return pd.DataFrame({"Label": [i % 2 for i in range(count)], "Text": texts})


PARTS = messages(18, 0), messages(10, 1), messages(12, 2)


def row(number: int, **changes) -> Experiment:
    """A row for the tiny model below; one epoch, at a learning rate at which it moves."""
    changes = {"epochs": 1, "lr": 1e-2, "seed": 1} | changes
    return replace(ROWS[number].experiment(NANO, "sms-mini"), **changes)


def tiny_classifier(experiment: Experiment, **changes):
    """A classifier whose answer depends much on every token that it sees."""
    model = random_model(TINY | changes)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(mean=float(name.endswith("scale")), std=0.4)
    return make_classifier(model, experiment)


def trained(experiment: Experiment, **changes):
    """The model after one epoch, and the loss of each step."""
    model = tiny_classifier(experiment, **changes)
    train, validation, _ = make_datasets(experiment, PARTS)
    plan = experiment.plan(3)
    history = fine_tune(model, train, validation, plan, experiment, progress=False)
    return model, history.step_losses


def test_row_1_is_the_books_choices_and_the_others_change_them():
    experiment = ROWS[1].experiment(SMALL, "sms-spam-collection")
    assert (experiment.position, experiment.max_length) == ("last", None)
    assert (experiment.epochs, experiment.batch_size, experiment.accumulation) == (5, 8, 1)
    assert (experiment.lr, experiment.weight_decay) == (5e-5, 0.1)
    assert experiment.plan(12) == FreezePlan.book(12)
    assert list(ROWS) == list(range(1, 21)) and ROWS[1].changes == {}
    assert [row.book for row in ROWS.values()] == [
        95.00, 75.00, 72.00, 98.33, 96.67, 84.67, 96.67, 98.33, 98.67, 93.67,
        96.67, 98.33, 78.33, 98.00, 98.33, 98.33, 95.33, 95.00, 96.33, None,
    ]  # fmt: skip
    assert ROWS[6].experiment(NANO, "sms-mini").lr == 5e-5  # of a larger model
    assert {n: row.against for n, row in ROWS.items() if row.against != 1} == {
        9: 8, 10: 5, 11: 5, 12: 9,
    }  # fmt: skip
    assert ROWS[12].experiment(NANO, "sms-mini").alpha == 8
    assert ROWS[18].changes == {"ignore_index": END_OF_TEXT}


def answers(model, experiment: Experiment, texts: list[str] = TEXTS) -> torch.Tensor:
    """The logits that classify, cut or padded as the experiment says."""
    part = pd.DataFrame({"Label": [0] * len(texts), "Text": texts})
    data, *_ = make_datasets(experiment, (part, part, part))
    return message_logits(model, data.encoded_texts, experiment.position)


def test_row_2_uses_the_first_token_only():
    model, texts = tiny_classifier(row(2)), ["free prize now", "free home late", "love prize now"]
    first, other_end, other_start = answers(model, row(2), texts)
    torch.testing.assert_close(first, other_end)
    assert (first - other_start).abs().max() > 1e-3


def test_rows_15_and_16_classify_by_the_last_token_before_the_padding_if_the_mask_is_causal():
    (model, losses), (other, other_losses) = trained(row(15)), trained(row(16))
    assert losses == pytest.approx(other_losses, abs=1e-5)
    expected = answers(other, row(16))
    torch.testing.assert_close(answers(model, row(15)), expected, atol=1e-4, rtol=0)
    alone = answers(other, row(1), TEXTS[1:])[0]
    torch.testing.assert_close(expected[1], alone, atol=1e-5, rtol=0)
    seeing = row(16, causal_mask=False)
    model = tiny_classifier(seeing)
    padded, alone = answers(model, seeing)[1], answers(model, seeing, TEXTS[1:])[0]
    assert (padded - alone).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("number", "trainable"),
    [
        (1, ["trf_blocks.2", "final_norm", "out_head"]),
        (3, ["out_head"]),
        (4, ["trf_blocks.1", "trf_blocks.2", "final_norm", "out_head"]),
        (5, ["tok_emb", "pos_emb", "trf_blocks.", "final_norm", "out_head"]),
    ],
)
def test_rows_of_layers_train_these_layers_and_no_other(number, trainable):
    before = tiny_classifier(row(number)).state_dict()
    after = trained(row(number))[0].state_dict()
    for name, tensor in before.items():
        moved = not torch.equal(tensor, after[name])
        key_bias = name.endswith("W_key.bias")  # softmax does not see it: its gradient is 0
        assert moved == name.startswith(tuple(trainable)) or key_bias, name


def test_row_10_has_nothing_of_the_checkpoint():
    experiment = ROWS[10].experiment(NANO, "sms-mini")
    pretrained, model = load_pretrained(NANO).state_dict(), make_model(experiment)
    for name, tensor in model.state_dict().items():  # a few of a layer norm's are 1 in both
        assert (tensor == pretrained[name]).float().mean() < 0.05, name
    other = make_model(replace(experiment, seed=2))
    assert not torch.equal(other.tok_emb.weight, model.tok_emb.weight)


def test_row_11_trains_the_adapters_and_the_head_and_nothing_else():
    before = tiny_classifier(row(11, rank=2))
    trainable = {name for name, p in before.named_parameters() if p.requires_grad}
    others = {name for name in trainable if "lora_" not in name}
    assert others == {"out_head.weight", "out_head.bias"}
    assert len(trainable) - 2 == 3 * 6 * 2  # blocks, matrices, A and B
    after = trained(row(11, rank=2))[0].state_dict()
    for name, tensor in before.state_dict().items():
        assert torch.equal(tensor, after[name]) == (name not in trainable), name


def test_row_13_pads_to_the_context_and_row_14_not_at_all_with_a_step_after_each_message():
    for data in make_datasets(row(13), PARTS):
        assert all(ids[20:] == [END_OF_TEXT] * 1004 for ids in data.encoded_texts)
    assert len(trained(row(14))[1]) == 18
    rows = make_datasets(row(14), PARTS)[0].encoded_texts
    assert len(set(map(len, rows))) > 1 and not any(END_OF_TEXT in ids for ids in rows)


def test_in_row_17_a_later_token_changes_an_earlier_position():
    token_ids = torch.tensor([[1, 2, 3, 4], [1, 2, 3, 9]])
    with torch.no_grad():
        with_mask = tiny_classifier(row(1))(token_ids)[:, :3]
        without = tiny_classifier(row(17))(token_ids)[:, :3]
    torch.testing.assert_close(with_mask[0], with_mask[1])
    assert ((without[0] - without[1]).abs().amax(dim=-1) > 1e-3).all()


def test_row_18_gives_the_very_same_losses_as_row_1():
    losses = trained(row(1))[1]
    assert trained(row(18))[1] == losses
    assert trained(row(18, ignore_index=1))[1] != losses  # a label would change them


def test_row_20_keeps_each_messages_words_but_not_their_order():
    def texts(experiment) -> list[str]:
        datasets = make_datasets(experiment, PARTS)
        return [text for data in datasets for text in data.data["Text"]]

    before, shuffled = pd.concat(PARTS)["Text"].tolist(), texts(row(20))
    assert [sorted(text.split()) for text in before] == [sorted(text.split()) for text in shuffled]
    assert texts(row(1)) == before != shuffled
    assert texts(row(20)) == shuffled != texts(row(20, seed=2))


@pytest.mark.parametrize("number", [1, 17, 19])
def test_a_measurement_is_that_of_the_plain_forward_pass(number):
    experiment = row(number)
    model, _ = trained(experiment)
    datasets = make_datasets(experiment, PARTS)
    measured = measure(model, experiment, datasets)
    assert list(measured["loss"]) == ["train", "validation", "test"]
    for part, data in zip(measured["loss"], datasets, strict=True):
        labels = torch.tensor(data.labels)
        with torch.no_grad():
            logits = class_logits(model, torch.tensor(data.encoded_texts), experiment.position)
        right = (logits.argmax(dim=-1) == labels).int().tolist()
        assert measured["accuracy"][part] == pytest.approx(np.mean(right), abs=1e-6)
        loss = F.cross_entropy(logits, labels).item()
        assert measured["loss"][part] == pytest.approx(loss, abs=1e-4)
    assert measured["right"] == "".join(map(str, right))


def test_rows_are_named_by_numbers_and_ranges_and_skipped_where_they_have_nothing_to_tell():
    assert parse_rows("1-5,10,11") == [1, 2, 3, 4, 5, 10, 11]
    assert parse_rows(" 3 , 2 - 4 ") == [2, 3, 4] and parse_rows("20") == [20]
    says = "^'1-40' names no rows; give numbers from 1 to 20, such as 1-5,10,11$"
    with pytest.raises(SystemExit, match=says):
        main(["--rows", "1-40"])
    assert [number for number in ROWS if reason_to_skip(number, NANO)] == [6, 7, 8, 9, 12]
    assert "the nano has none" in reason_to_skip(6, NANO)
    assert not any(reason_to_skip(number, SMALL) for number in ROWS)
    trainings = [(1, row(1)), (18, row(18)), (1, row(1, seed=2)), (1, row(1, lr=1e-4))]
    ids = [run_id(*training) for training in trainings]
    assert len(set(ids)) == len(ids) and ids == [run_id(*training) for training in trainings]
    assert ids[2].startswith("row 1, seed 2, ")


@pytest.mark.proof
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_command_goes_on_at_the_next_training(tmp_path):
    out = tmp_path / "results.jsonl"
    command = [sys.executable, "-m", "workshop.experiments", "--rows", "2,6", "--seeds", "3"]
    command += ["--out", str(out)]
    options = {"cwd": ROOT, "text": True, "encoding": "utf-8"}
    first = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, **options)
    while len(read_rows(out)[0]) < 2:
        assert first.poll() is None, first.communicate()
        time.sleep(0.05)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()  # ends when the process that trained has ended, too
    before = out.read_bytes()
    done = len(read_rows(out)[0])
    assert 2 <= done < 6 and read_rows(out)[1] == []

    second = subprocess.run(command, capture_output=True, timeout=300, **options)
    assert second.returncode == 0, second.stderr
    assert f"{done} of 6 trainings are in {out} already" in second.stdout
    assert "experiment 6 is skipped" in second.stdout
    assert "100%" in second.stderr and "leaked" not in second.stderr
    rows, notes = read_rows(out)
    assert out.read_bytes().startswith(before) and notes == []
    names = [(row["row"], row["seed"]) for row in rows]
    assert sorted(names) == [(number, seed) for number in (1, 2) for seed in (1, 2, 3)]
    assert all(len(row["right"]) == 200 for row in rows)
