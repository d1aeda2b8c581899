"""Runs are trained in steps, kept with what they belong to, and read back as they were."""

import copy
import json
import re
from dataclasses import replace
from statistics import mean

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from helpers.freezing import FreezePlan, parameter_report
from helpers.training import calc_accuracy_loader
from tests.labs import BELONGS_TO, BOOK, HEAD, made_up_run, tiny_material
from workshop import lab
from workshop.lab import FILE, Kept, Settings, Training, keep_run, read_kept


@pytest.fixture(scope="module")
def material():
    return tiny_material()


@pytest.mark.parametrize(
    ("plan", "name"),
    [
        (BOOK, "the book's choice"),
        (FreezePlan.lora(3, rank=4, alpha=8.0), "LoRA, all blocks, rank 4"),
        (FreezePlan(3, {"out_head", "trf_blocks.1"}), "out_head, trf_blocks.1"),
        (FreezePlan(3, {"trf_blocks.0.att"}, {"trf_blocks.2"}), "trf_blocks.0.att, rank 8 on trf_blocks.2"),
        (FreezePlan(3, {"trf_blocks.0", "trf_blocks.1", "out_head"}), "out_head, trf_blocks.0 – 1"),
    ],
)  # fmt: skip
def test_a_plan_has_words_that_tell_it_from_others(plan, name):
    settings = Settings(plan, "mean", 1, 2e-3, 3)
    assert str(settings) == f"{name} · position mean · 1 epoch · lr 0.002 · 3 seeds"
    training = settings.with_seed(7)
    assert (training.epochs, training.position, training.lr) == (1, "mean", 2e-3)
    assert (training.seed, training.batch_size) == (7, 8)


def test_a_run_trains_each_seed_from_the_same_pretrained_model_and_leaves_that_as_it_is(material):
    before = {name: value.clone() for name, value in material.pretrained.state_dict().items()}
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    training = Training(material, Settings(HEAD, epochs=2, lr=1e-2, num_seeds=3))
    for _ in training.steps():
        pass
    assert torch.equal(torch.rand(3), expected)  # the caller's random numbers
    for name, value in material.pretrained.state_dict().items():
        assert torch.equal(value, before[name]), name
    run = lab.finished_run(training)
    assert run.val_accs == tuple(h.val_accs[-1] for h in training.histories)
    assert run.seconds == mean(h.seconds_training for h in training.histories)  # cached or not
    assert len(run.best_epochs) == len(set(run.val_losses)) == 3
    assert run.trainable == parameter_report(material.pretrained.cfg, HEAD).trainable == 18
    assert run.num_messages == 20 and not run.after_test
    assert run.work == lab.work_predicted(material, training.settings).fine_tune.amount
    loader = DataLoader(material.validation, batch_size=7)
    right = calc_accuracy_loader(loader, training.model, "cpu")
    assert right == run.val_accs[-1]  # of the seed that was trained last
    again = lab.train_whole(material, training.settings)
    assert (again.val_losses, again.train_accs) == (run.val_losses, run.train_accs)
    assert again.id != run.id


def test_runs_are_read_back_as_they_were_kept_and_those_of_other_models_are_counted(tmp_path):
    path, lora = tmp_path / FILE, FreezePlan.lora(3, 2, rank=4, alpha=8.0)
    runs = made_up_run("a"), made_up_run("b", lora, (0.7,), position="mean")
    for run in runs:
        keep_run(path, run, BELONGS_TO)
    for other in ({"checkpoint": "small"}, {"messages": "other"}):
        keep_run(path, made_up_run(str(other)), BELONGS_TO | other)
    lab.keep_test_opened(path, BELONGS_TO | {"messages": "other"})
    assert read_kept(path, BELONGS_TO) == Kept(runs, test_opened=False, num_others=2, notes=())
    lab.delete_row(path, "a")
    lab.keep_test_opened(path, BELONGS_TO)
    assert read_kept(path, BELONGS_TO) == Kept(runs[1:], True, num_others=2, notes=())


def test_settings_with_numpys_numbers_are_kept_and_read_back(tmp_path):
    plan = FreezePlan(np.int64(3), {"out_head"}, {"trf_blocks.2"}, np.int32(4), np.float32(8))
    settings = Settings(plan, "mean", np.int64(5), np.float32(0.5), np.uint8(3))
    keep_run(tmp_path / FILE, replace(made_up_run(), settings=settings), BELONGS_TO)
    (run,) = read_kept(tmp_path / FILE, BELONGS_TO).runs
    assert run.settings == settings


def test_a_row_that_is_no_run_is_left_out_with_a_sentence_and_stays_in_the_file(tmp_path):
    path = tmp_path / FILE
    keep_run(path, made_up_run("good"), BELONGS_TO)
    good = json.loads(path.read_text())
    wrong = {
        "right": ["1" * 100, "0" * 99, "1" * 100],
        "train_accs": None,
        "settings": {"plan": {}},
    }
    wrong |= {"best_epochs": [1.7, 2, 2], "val_losses": [0.5, 0.5], "trainable": 10**400}
    wrong |= {"val_accs": [0.8, 0.8, 0.8]}  # of a file from before
    for field, value in wrong.items():
        lab.append_row(path, good | {"id": field, field: value})
    lab.append_row(path, good | {"seconds": 99.0})  # a second run with the same id
    path.write_text(path.read_text() + "[" * 100_000 + '\n{"id": "cut off')
    before = path.read_bytes()
    kept = read_kept(path, BELONGS_TO)
    assert kept.runs == (made_up_run("good"),) and path.read_bytes() == before
    second, nested, cut_off, *bad = kept.notes
    assert "line 9 is left out" in second and "'good' is in the file already" in second
    assert "line 10 is left out" in nested and "line 11 is left out" in cut_off
    assert len(bad) == len(wrong)
    for note, field in zip(bad, wrong, strict=True):
        assert f"the row '{field}' is left out: it is no run (" in note


def test_a_row_has_mean_spread_and_the_difference_from_another_run():
    run = made_up_run("a", accuracies=(0.78, 0.83, 0.82), losses=(0.5, 0.6, 0.7))
    poor = made_up_run("b", accuracies=(0.60, 0.61, 0.62), after_test=True)
    texts = lab.describe_run(run, poor)
    assert texts["accuracy"] == "0.810 (0.780 … 0.830)" and texts["loss"] == "0.600"
    assert texts["multiply-adds"] == "12.3 billion" and texts["best epoch"] == "2, 2, 2"
    assert (texts["trainable"], texts["seconds"]) == ("1,000", "2.0")
    assert re.fullmatch(r"\+20.0 points \(95 % interval .+\): better", texts["difference"])
    assert lab.describe_run(run, run)["difference"] == "–"
    other = lab.describe_run(poor, run)
    assert other["what was trained"].endswith("3 seeds · after the test set was used")
    assert other["difference"].endswith(": worse")


@pytest.mark.parametrize(
    ("accuracies", "verdict"),
    [((0.84,), "can't tell"), ((0.9,), "better"), ((0.9, 0.1, 0.1), "better"), ((0.8,), "can't tell")],
)  # fmt: skip
def test_runs_are_compared_message_by_message_for_the_seeds_that_both_have(accuracies, verdict):
    run, other = made_up_run("a", accuracies=accuracies), made_up_run("b", accuracies=(0.8,))
    difference = lab.compare_runs(run, other)
    assert difference.mean == pytest.approx(accuracies[0] - 0.8)  # of the first seed alone
    assert difference.verdict == verdict


def test_the_baseline_is_the_more_frequent_label_whichever_it_is(material):
    assert material.majority == 0.5
    for labels in ([0, 0, 0, 1], [1, 1, 1, 0]):
        validation = copy.copy(material.validation)
        validation.labels = labels
        assert replace(material, validation=validation).majority == 0.75
