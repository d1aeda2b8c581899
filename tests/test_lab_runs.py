"""Runs are trained in slices, kept with what they belong to, and read back as they were."""

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
    finished_run,
    keep_run,
    keep_test_opened,
    new_classifier,
    plan_in_words,
    read_kept,
    say_run,
    share_right,
    sorted_runs,
    work_predicted,
)


@pytest.fixture(scope="module")
def material():
    return tiny_material()


def trained(material, **settings) -> Training:
    training = Training(material, Settings(**({"plan": HEAD, "epochs": 2, "lr": 1e-2} | settings)))
    for _ in training.steps():
        pass
    return training


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (BOOK, "the book's choice"),
        (HEAD, "head only"),
        (FreezePlan.lora(3, rank=4, alpha=8.0), "LoRA, all blocks, rank 4"),
        (FreezePlan(3, {"out_head", "trf_blocks.1", "trf_blocks.2"}), "out_head, trf_blocks.1 – 2"),
        (
            FreezePlan(3, {"trf_blocks.0.att", "tok_emb"}, {"trf_blocks.2"}),
            "trf_blocks.0.att, tok_emb, rank 8 on trf_blocks.2",
        ),
    ],
)
def test_a_plan_has_words_that_tell_it_from_others(plan, words):
    assert plan_in_words(plan) == words


@pytest.mark.parametrize(
    "wrong", [{"lr": 0.0}, {"lr": float("nan")}, {"epochs": 0}, {"position": "middle"}]
)
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        Settings(BOOK, **wrong)


# --- training -------------------------------------------------------------------------------------


def test_a_run_trains_each_seed_from_the_same_pretrained_model_and_leaves_that_as_it_is(material):
    before = {name: value.clone() for name, value in material.pretrained.state_dict().items()}
    training = trained(material, num_seeds=3)
    run = finished_run(training, after_test=False)
    assert len(run.val_accs) == len(run.best_epochs) == 3 and len(set(run.val_losses)) == 3
    assert run.val_accs == tuple(h.val_accs[-1] for h in training.histories)
    assert run.trainable == parameter_report(material.pretrained.cfg, HEAD).trainable == 18
    for name, value in material.pretrained.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_same_seed_gives_the_same_run_and_leaves_the_callers_random_numbers_alone(material):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second = trained(material), trained(material)
    assert first.histories[0].val_losses == second.histories[0].val_losses
    assert torch.equal(torch.rand(3), expected)


def test_a_training_that_is_closed_leaves_the_weights_of_the_last_whole_epoch(material):
    one_epoch = trained(material, epochs=1).model
    training = Training(material, Settings(HEAD, epochs=4, lr=1e-2))
    steps = training.steps()
    while not (training.histories and len(training.histories[0].step_losses) == 9):
        next(steps)  # 6 steps are an epoch
    steps.close()
    assert training.interrupted and len(training.histories[0].val_accs) == 1
    assert torch.equal(training.model.out_head.weight, one_epoch.out_head.weight)


def test_the_share_that_is_done_grows_over_all_seeds_and_the_time_left_shrinks(material):
    training = Training(material, Settings(HEAD, epochs=2, num_seeds=3, lr=1e-2))
    shares = [
        training.share_done(progress)
        for progress in training.steps()
        if progress.phase == "training"
    ]
    assert shares == sorted(shares) and shares[0] == pytest.approx(1 / 36) and shares[-1] == 1


def test_more_parameters_that_learn_deep_down_are_more_work(material):
    work = [
        work_predicted(material, Settings(plan)) for plan in (HEAD, BOOK, FreezePlan.everything(3))
    ]
    for way in ("book", "fine_tune"):
        amounts = [getattr(one, way).amount for one in work]
        assert amounts == sorted(amounts) and amounts[0] < amounts[2]
    longer = work_predicted(material, Settings(HEAD, epochs=10))
    assert longer.book.amount == 2 * work[0].book.amount
    assert work[0].fine_tune.amount < longer.fine_tune.amount < 1.5 * work[0].fine_tune.amount


def test_the_share_right_is_counted_at_the_position_that_was_trained(material):
    training = trained(material, epochs=5)
    right = share_right(training.model, material.validation, "last")
    assert right == training.histories[0].val_accs[-1]


def test_a_new_head_comes_from_the_seed(material):
    heads = [new_classifier(material.pretrained, seed).out_head.weight for seed in (1, 1, 2)]
    assert torch.equal(heads[0], heads[1]) and not torch.equal(heads[0], heads[2])


# --- rows -----------------------------------------------------------------------------------------


def test_a_run_is_read_back_as_it_was_kept(tmp_path):
    runs = [
        made_up_run("a"),
        made_up_run("b", FreezePlan.lora(3, 2, rank=4, alpha=8.0), (0.7,), position="mean"),
    ]
    for run in runs:
        keep_run(tmp_path / FILE, run, BELONGS_TO)
    kept = read_kept(tmp_path / FILE, BELONGS_TO)
    assert kept.runs == tuple(runs)
    assert (kept.num_others, kept.notes, kept.test_opened) == (0, (), False)


def test_runs_of_another_checkpoint_or_other_messages_are_counted_and_not_shown(tmp_path):
    path = tmp_path / FILE
    for i, (name, value) in enumerate([("checkpoint", "small"), ("messages", "other")]):
        keep_run(path, made_up_run(str(i)), BELONGS_TO | {name: value})
    keep_run(path, made_up_run("mine"), BELONGS_TO)
    keep_test_opened(path, BELONGS_TO | {"messages": "other"})
    kept = read_kept(path, BELONGS_TO)
    assert [run.id for run in kept.runs] == ["mine"] and kept.num_others == 2
    assert not kept.test_opened
    keep_test_opened(path, BELONGS_TO)
    assert read_kept(path, BELONGS_TO).test_opened


@pytest.mark.parametrize(
    ("what", "value"),
    [
        ("val_accs", [0.5]),  # of three seeds
        ("val_accs", [1.2, 1.3, 1.4]),
        ("val_losses", ["a", "b", "c"]),
        ("seconds", -1),
        ("num_messages", 0),
        ("settings", {"plan": {}}),
        ("settings", None),
    ],
)
def test_a_damaged_row_is_left_out_with_a_word_and_stays_in_the_file(tmp_path, what, value):
    path = tmp_path / FILE
    keep_run(path, made_up_run("good"), BELONGS_TO)
    good = json.loads(path.read_text())
    append_row(path, good | {"id": "bad", what: value})
    path.write_text(path.read_text() + '{"id": "cut off')
    before = path.read_bytes()
    kept = read_kept(path, BELONGS_TO)
    assert [run.id for run in kept.runs] == ["good"] and len(kept.notes) == 2
    assert "'bad' is left out" in kept.notes[1] and "line 3 is left out" in kept.notes[0]
    assert path.read_bytes() == before


def test_runs_are_sorted_by_each_column_both_ways():
    low = made_up_run("low", HEAD, (0.7,), (0.9,), trainable=10, seconds=1.0)
    high = made_up_run("high", BOOK, (0.8,), (0.4,), trainable=900, seconds=3.0)
    for column, first in {
        "run": "high",
        "what was trained": "low",
        "trainable": "low",
        "seconds": "low",
        "accuracy": "low",
        "loss": "high",
    }.items():
        runs = sorted_runs([high, low], column)
        assert runs[0].id == first, column
        assert sorted_runs([high, low], column, falling=True) == runs[::-1]
    with pytest.raises(ValueError, match="column must be"):
        sorted_runs([low], "colour")


def test_a_row_says_mean_spread_and_interval():
    words = say_run(made_up_run(accuracies=(0.78, 0.83, 0.82), losses=(0.5, 0.6, 0.7)))
    assert set(words) == set(COLUMNS) - {"run"}
    assert words["accuracy"] == "0.810, 0.780 – 0.830; 95 %: 0.722 – 0.875"
    assert words["loss"] == "0.600" and words["work"] == "12.3 billion"
    assert "after the test was seen" in say_run(made_up_run(after_test=True))["what was trained"]
