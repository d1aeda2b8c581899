"""Runs are trained in steps, kept with what they belong to, and read back as they were."""

import json

import pytest
import torch

from helpers.freezing import FreezePlan, parameter_report
from tests.labs import BELONGS_TO, BOOK, HEAD, made_up_run, tiny_material
from workshop.lab import (
    FILE,
    Kept,
    Settings,
    Training,
    append_row,
    delete_row,
    finished_run,
    keep_run,
    keep_test_opened,
    read_kept,
    say_run,
    share_right,
    train_whole,
    work_predicted,
)  # fmt: skip


@pytest.fixture(scope="module")
def material():
    return tiny_material()


def test_a_plan_has_words_that_tell_it_from_others():
    pieces = {"trf_blocks.0.att", "tok_emb"}
    for plan, name in {
        BOOK: "the book's choice",
        FreezePlan.lora(3, rank=4, alpha=8.0): "LoRA, all blocks, rank 4",
        FreezePlan(3, {"out_head", "trf_blocks.1"}): "out_head, trf_blocks.1",
        FreezePlan(
            3, pieces, {"trf_blocks.2"}
        ): "trf_blocks.0.att, tok_emb, rank 8 on trf_blocks.2",
        FreezePlan(3, {"trf_blocks.0", "trf_blocks.1", "out_head"}): "out_head, trf_blocks.0 – 1",
    }.items():
        assert str(Settings(plan)).partition(" · ")[0] == name


def test_settings_are_those_of_the_training_and_can_be_read():
    settings = Settings(BOOK, "mean", 1, 2e-3, 3)
    assert str(settings) == "the book's choice · position mean · 1 epoch · lr 0.002 · 3 seeds"
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
    run = finished_run(training)
    assert run.val_accs == tuple(h.val_accs[-1] for h in training.histories)
    assert len(run.best_epochs) == len(set(run.val_losses)) == 3
    assert run.trainable == parameter_report(material.pretrained.cfg, HEAD).trainable == 18
    assert run.num_messages == 20 and not run.after_test
    assert run.work == work_predicted(material, training.settings).fine_tune.amount
    right = share_right(training.model, material.validation, "last")
    assert right == run.val_accs[-1]  # of the seed that was trained last
    again = train_whole(material, training.settings)
    assert (again.val_losses, again.train_accs) == (run.val_losses, run.train_accs)
    assert again.id != run.id


def test_a_training_that_is_closed_leaves_the_weights_of_the_last_whole_epoch(material):
    one_epoch = Training(material, Settings(HEAD, epochs=1, lr=1e-2))
    for _ in one_epoch.steps():
        pass
    training = Training(material, Settings(HEAD, epochs=4, lr=1e-2, num_seeds=3))
    steps = training.steps()
    while not (training.histories and len(training.histories[0].step_losses) == 9):
        next(steps)  # 6 steps are an epoch
    steps.close()
    assert training.interrupted and len(training.histories[0].val_accs) == 1
    assert training.seed == 1 and not one_epoch.interrupted
    assert torch.equal(training.model.out_head.weight, one_epoch.model.out_head.weight)


def test_runs_are_read_back_as_they_were_kept_and_those_of_other_models_are_counted(tmp_path):
    path, lora = tmp_path / FILE, FreezePlan.lora(3, 2, rank=4, alpha=8.0)
    runs = made_up_run("a"), made_up_run("b", lora, (0.7,), position="mean")
    for run in runs:
        keep_run(path, run, BELONGS_TO)
    for other in ({"checkpoint": "small"}, {"messages": "other"}):
        keep_run(path, made_up_run(str(other)), BELONGS_TO | other)
    keep_test_opened(path, BELONGS_TO | {"messages": "other"})
    assert read_kept(path, BELONGS_TO) == Kept(runs, test_opened=False, num_others=2, notes=())
    delete_row(path, "a")
    keep_test_opened(path, BELONGS_TO)
    assert read_kept(path, BELONGS_TO) == Kept(runs[1:], True, num_others=2, notes=())


def test_a_row_that_is_no_run_is_left_out_with_a_sentence_and_stays_in_the_file(tmp_path):
    path = tmp_path / FILE
    keep_run(path, made_up_run("good"), BELONGS_TO)
    good = json.loads(path.read_text())
    wrong = {"val_accs": [1.2, 1.3, 1.4], "train_accs": None, "settings": {"plan": {}}}
    for field, value in wrong.items():
        append_row(path, good | {"id": field, field: value})
    append_row(path, good | {"seconds": 99.0})  # a second run with the same id
    path.write_text(path.read_text() + '{"id": "cut off')
    before = path.read_bytes()
    kept = read_kept(path, BELONGS_TO)
    assert kept.runs == (made_up_run("good"),) and path.read_bytes() == before
    second, cut_off, *bad = kept.notes
    assert "line 5 is left out" in second and "'good' is in the file already" in second
    assert "line 6 is left out" in cut_off and len(bad) == len(wrong)
    for note, field in zip(bad, wrong, strict=True):
        assert f"the row '{field}' is left out: it is no run (" in note


def test_a_row_has_mean_spread_and_interval():
    texts = say_run(made_up_run(accuracies=(0.78, 0.83, 0.82), losses=(0.5, 0.6, 0.7)))
    assert texts["accuracy"] == "0.810, 0.780 – 0.830; 95 %: 0.722 – 0.875"
    assert texts["loss"] == "0.600" and texts["work"] == "12.3 billion"
    assert (texts["trainable"], texts["seconds"]) == ("1,000", "2.0")
    assert texts["best epoch"] == "2, 2, 2"
    after = say_run(made_up_run(accuracies=(0.8,), after_test=True))
    assert after["what was trained"].endswith("1 seed · after the test was seen")
    assert after["accuracy"].startswith("0.800; 95 %")
