"""Runs are trained in steps, kept with what they belong to, and read back as they were."""

import json

import pytest
import torch

from helpers.freezing import FreezePlan, parameter_report
from tests.labs import BELONGS_TO, BOOK, HEAD, made_up_run, tiny_material
from workshop.lab import (
    COLUMNS,
    FILE,
    Settings,
    Training,
    append_row,
    delete_row,
    finished_run,
    keep_run,
    keep_test_opened,
    plan_in_words,
    read_kept,
    say_run,
    share_right,
    sorted_runs,
    train_whole,
    work_predicted,
)


@pytest.fixture(scope="module")
def material():
    return tiny_material()


# --- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (BOOK, "the book's choice"),
        (HEAD, "head only"),
        (FreezePlan.lora(3, rank=4, alpha=8.0), "LoRA, all blocks, rank 4"),
        (FreezePlan(3, {"out_head", "trf_blocks.1", "trf_blocks.2"}), "out_head, trf_blocks.1 – 2"),
        (FreezePlan(3, {"trf_blocks.0", "trf_blocks.2"}), "trf_blocks.2, trf_blocks.0"),
        (
            FreezePlan(3, {"trf_blocks.0.att", "tok_emb"}, {"trf_blocks.2"}),
            "trf_blocks.0.att, tok_emb, rank 8 on trf_blocks.2",
        ),
        (FreezePlan(3, (), {"trf_blocks.1"}), "rank 8 on trf_blocks.1"),
    ],
)
def test_a_plan_has_words_that_tell_it_from_others(plan, words):
    assert plan_in_words(plan) == words


def test_settings_are_those_of_the_training_and_can_be_read():
    settings = Settings(BOOK, "mean", 1, 2e-3, 3)
    assert str(settings) == "the book's choice · position mean · 1 epoch · lr 0.002 · 3 seeds"
    training = settings.with_seed(7)
    assert (training.epochs, training.position, training.lr) == (1, "mean", 2e-3)
    assert (training.seed, training.batch_size) == (7, 8)


@pytest.mark.parametrize(
    "wrong",
    [{"lr": 0.0}, {"lr": float("nan")}, {"epochs": 0}, {"position": "middle"}, {"num_seeds": 0}],
)
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        Settings(BOOK, **wrong)


# --- training ------------------------------------------------------------------------------------


def test_a_run_trains_each_seed_from_the_same_pretrained_model_and_leaves_that_as_it_is(material):
    before = {name: value.clone() for name, value in material.pretrained.state_dict().items()}
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    training = Training(material, Settings(HEAD, epochs=2, lr=1e-2, num_seeds=3))
    shares = []
    for progress in training.steps():
        if progress.phase == "training":
            shares.append(training.share_done(progress))
            assert training.seconds_left(progress) >= 0
        else:
            assert training.seconds_left(progress) is None
    assert shares == sorted(shares) and shares[0] == pytest.approx(1 / 36) and shares[-1] == 1
    assert torch.equal(torch.rand(3), expected)  # the caller's random numbers
    for name, value in material.pretrained.state_dict().items():
        assert torch.equal(value, before[name]), name
    run = finished_run(training)
    assert run.val_accs == tuple(h.val_accs[-1] for h in training.histories)
    assert len(run.best_epochs) == len(set(run.val_losses)) == 3
    assert run.trainable == parameter_report(material.pretrained.cfg, HEAD).trainable == 18
    assert run.num_messages == 20 and not run.after_test and run.seconds_encoding <= run.seconds
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


def test_more_trainable_parameters_and_more_epochs_are_more_work(material):
    plans = (HEAD, BOOK, FreezePlan.everything(3))
    work = [work_predicted(material, Settings(plan)) for plan in plans]
    assert work[0].book.amount < work[1].book.amount < work[2].book.amount
    assert work[0].fine_tune.amount < work[1].fine_tune.amount < work[2].fine_tune.amount
    longer = work_predicted(material, Settings(HEAD, epochs=10))
    assert longer.book.amount == 2 * work[0].book.amount
    assert work[0].fine_tune.amount < longer.fine_tune.amount < 1.5 * work[0].fine_tune.amount


# --- rows ----------------------------------------------------------------------------------------


def test_a_run_is_read_back_as_it_was_kept_until_it_is_deleted(tmp_path):
    path, lora = tmp_path / FILE, FreezePlan.lora(3, 2, rank=4, alpha=8.0)
    runs = [made_up_run("a"), made_up_run("b", lora, (0.7,), position="mean")]
    for run in runs:
        keep_run(path, run, BELONGS_TO)
    kept = read_kept(path, BELONGS_TO)
    assert kept.runs == tuple(runs)
    assert (kept.num_others, kept.notes, kept.test_opened) == (0, (), False)
    delete_row(path, "a")
    assert read_kept(path, BELONGS_TO).runs == (runs[1],)


def test_runs_of_another_checkpoint_or_other_messages_are_counted_and_not_shown(tmp_path):
    path = tmp_path / FILE
    keep_run(path, made_up_run("0"), BELONGS_TO | {"checkpoint": "small"})
    keep_run(path, made_up_run("1"), BELONGS_TO | {"messages": "other"})
    keep_run(path, made_up_run("mine"), BELONGS_TO)
    keep_test_opened(path, BELONGS_TO | {"messages": "other"})
    kept = read_kept(path, BELONGS_TO)
    assert [run.id for run in kept.runs] == ["mine"] and kept.num_others == 2
    assert not kept.test_opened
    keep_test_opened(path, BELONGS_TO)
    assert read_kept(path, BELONGS_TO).test_opened


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("val_accs", [0.5]),  # of three seeds
        ("val_accs", [1.2, 1.3, 1.4]),
        ("val_losses", ["a", "b", "c"]),
        ("train_accs", None),
        ("best_epochs", [1.7, 1, 1]),
        ("seconds", -1),
        pytest.param("work", 10**400, id="work without end"),
        ("num_messages", 0),
        ("after_test", "yes"),
        ("settings", {"plan": {}}),
        ("settings", None),
        ("colour", "blue"),
    ],
)
def test_a_row_that_is_no_run_is_left_out_with_a_sentence_and_stays_in_the_file(
    tmp_path, field, value
):
    path = tmp_path / FILE
    keep_run(path, made_up_run("good"), BELONGS_TO)
    good = json.loads(path.read_text())
    append_row(path, good | {"id": "bad", field: value})
    append_row(path, good | {"seconds": 99.0})  # a second run with the same id
    path.write_text(path.read_text() + '{"id": "cut off')
    before = path.read_bytes()
    kept = read_kept(path, BELONGS_TO)
    assert kept.runs == (made_up_run("good"),)
    cut_off, bad, second = kept.notes
    assert "line 4 is left out" in cut_off and "'bad' is left out: it is no run (" in bad
    assert "a second row 'good' is left out" in second and path.read_bytes() == before


def test_runs_are_sorted_by_each_column_both_ways():
    low = made_up_run("low", HEAD, (0.7,), (0.9,), trainable=10, seconds=1.0)
    high = made_up_run("high", BOOK, (0.8,), (0.4,), trainable=900, seconds=3.0)
    for column, first in {
        "run": high, "what was trained": low, "trainable": low, "seconds": low, "accuracy": low,
        "loss": high, "work": high, "best epoch": high,
    }.items():  # fmt: skip
        runs = sorted_runs([high, low], column)
        assert runs[0] is first, column
        if column not in ("work", "best epoch"):  # in which they are equal
            assert sorted_runs([high, low], column, falling=True) == runs[::-1]
    with pytest.raises(ValueError, match="column must be"):
        sorted_runs([low], "colour")


def test_a_row_has_mean_spread_and_interval():
    texts = say_run(made_up_run(accuracies=(0.78, 0.83, 0.82), losses=(0.5, 0.6, 0.7)))
    assert list(texts) == [column for column in COLUMNS if column != "run"]
    assert texts["accuracy"] == "0.810, 0.780 – 0.830; 95 %: 0.722 – 0.875"
    assert texts["loss"] == "0.600" and texts["work"] == "12.3 billion"
    assert (texts["trainable"], texts["seconds"], texts["best epoch"]) == (
        "1,000",
        "2.0",
        "2, 2, 2",
    )
    after = say_run(made_up_run(accuracies=(0.8,), after_test=True))
    assert after["what was trained"].endswith("1 seed · after the test was seen")
    assert after["accuracy"].startswith("0.800; 95 %")
