"""The Freeze Lab trains, keeps a row for each run, and stops when Stop is pressed, without a browser."""

import asyncio
import os
import re
import signal
from dataclasses import replace

import pytest
import torch

from helpers.config import LEARNERS_FOLDER
from helpers.freezing import PRESETS, FreezePlan, parameter_report
from helpers.training import calc_accuracy_loader
from tests.clicks import MARKS, choose, click, one, rows, static_form, text_of, train_on_a_loop
from tests.labs import BELONGS_TO, BOOK, HEAD, tiny_material
from workshop.lab import FILE, Settings, describe_run, read_kept, read_rows
from workshop.widgets import FreezeLab

pytestmark = MARKS


@pytest.fixture(scope="module")
def material():
    return tiny_material()


@pytest.fixture
def lab(material, tmp_path, monkeypatch) -> FreezeLab:
    monkeypatch.setenv(LEARNERS_FOLDER, str(tmp_path))
    return quick_lab(material)


def quick_lab(material) -> FreezeLab:
    lab = FreezeLab(material=material)
    one(lab, "fx-epochs").value = 1
    return lab


def numbers(lab) -> list[int]:
    """The numbers of the runs in the order of the table."""
    return [int(cells[0]) for cells in rows(lab, "fx-run-table")] if lab.rows else []


def test_a_press_on_train_ends_in_a_row_with_the_settings_and_the_results(lab, material):
    one(lab, "fx-epochs").value = 2
    click(lab, "Train")
    (run,) = lab.rows
    assert run.settings == lab.settings == Settings(BOOK, "last", 2, 1e-2, 1)
    assert run.trainable == parameter_report(material.pretrained.cfg, BOOK).trainable
    assert run.num_messages == len(material.validation) == 20
    loader = torch.utils.data.DataLoader(material.validation, batch_size=7)
    accuracy = calc_accuracy_loader(loader, lab.model, "cpu")
    assert run.val_accs == (accuracy,) and lab.history.val_accs[-1] == accuracy
    (cells,) = rows(lab, "fx-run-table")
    trained = "the book's choice · position last · 2 epochs · lr 0.01 · 1 seed"
    assert cells[:3] == ["1", trained, f"{run.trainable:,}"]
    assert cells[-2:] == [f"{accuracy:.3f}", "–"]
    assert text_of(lab, "fx-status") == (
        f"Done: validation accuracy {accuracy:.3f}, loss {run.loss:.3f}; always predicting the "
        "majority class has an accuracy of 0.500."
    )
    assert "accuracy against trainable parameters" in one(lab, "fx-plot").value
    assert (
        one(lab, "fx-bar").value == "" and "with seed 1 after epoch 2" in one(lab, "fx-live").value
    )


def test_three_seeds_make_one_row_of_means(lab):
    choose(lab, "fx-seeds", "3")
    run = lab.train()
    assert lab.rows == (run,) and len(run.val_accs) == len(set(run.val_losses)) == 3
    assert run.interval[0] < run.accuracy < run.interval[1]


def test_the_runs_are_compared_with_the_one_that_is_chosen(lab):
    for epochs in (1, 5):
        one(lab, "fx-epochs").value = epochs
        lab.train()
    for chosen, other in ((1, 2), (2, 1)):
        one(lab, "fx-run").value = chosen
        cells = rows(lab, "fx-run-table")
        assert cells[chosen - 1][-1] == "–" and "points (95 % interval" in cells[other - 1][-1]
        assert f"Differences are from run {chosen};" in one(lab, "fx-run-table").value


UNTRAINABLE = [
    ("nothing", 0.01, "there is nothing to train"),
    ("head only", 0.0, "lr must be a finite number above"),
    ("head only", 1e30, "take a smaller learning rate"),
]


@pytest.mark.parametrize(("preset", "lr", "words"), UNTRAINABLE)
def test_what_cannot_be_trained_gets_a_sentence_and_the_next_press_works(lab, preset, lr, words):
    lab.explorer.plan = PRESETS[preset](3)
    one(lab, "fx-lr").value = lr
    click(lab, "Train")
    assert words in text_of(lab, "fx-problem") and lab.rows == ()
    assert '<p role="alert">' in one(lab, "fx-problem").value
    lab.settings = Settings(HEAD, epochs=1, lr=0.01)
    click(lab, "Train")
    assert len(lab.rows) == 1 and text_of(lab, "fx-problem") == ""


def test_an_interruption_leaves_a_whole_epoch_and_no_row(lab, monkeypatch):
    one(lab, "fx-epochs").value = 40
    show = lab._button._show_progress

    def interrupting(progress):
        show(progress)
        if len(progress.history.val_accs) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(lab._button, "_show_progress", interrupting)
    click(lab, "Train")
    assert "Stopped: the model has the weights of 2 whole epochs" in text_of(lab, "fx-status")
    assert lab.rows == () and len(lab.history.val_accs) == 2 and lab._button.training is None


def test_a_press_on_stop_is_heard_between_two_slices_and_leaves_a_whole_epoch(lab):
    one(lab, "fx-epochs").value = 50
    choose(lab, "fx-seeds", "3")
    heard = []

    async def press_stop():
        click(lab, "Train")  # does nothing while it trains
        click(lab, "Evaluate on the test set")
        assert "A training is under way" in text_of(lab, "fx-test")
        while "Seed 1, epoch " not in text_of(lab, "fx-status"):
            await asyncio.sleep(0)  # on a busy machine the first epoch takes a while
        heard.extend([one(lab, "fx-bar").value, text_of(lab, "fx-status")])
        click(lab, "Stop")

    train_on_a_loop(lab, press_stop)
    history = lab.history
    epochs = len(history.val_accs)
    assert 1 <= epochs < 50 and history.interrupted and lab.rows == ()
    words = text_of(lab, "fx-status")
    assert (
        f"the weights of {epochs} whole epoch" in words
        and "with seed 1. Nothing is recorded" in words
    )
    bar, status = heard
    step, left = re.search(r">seed 1 of 3, step (\d+) of 300, about (\d+) s left<", bar).groups()
    assert f'value="{round(100 * int(step) / 900)}"' in bar
    assert int(left) <= history.seconds_training * (900 / int(step) - 1) + 1
    epoch = int(re.match(r"Seed 1, epoch (\d+) of 50: ", status)[1]) - 1
    accuracy, loss = history.val_accs[epoch], history.val_losses[epoch]
    assert status.endswith(f": validation accuracy {accuracy:.3f}, loss {loss:.3f}.")
    click(lab, "Stop")
    assert text_of(lab, "fx-status") == "Nothing is being trained."
    one(lab, "fx-epochs").value = epochs
    choose(lab, "fx-seeds", "1")
    stopped = lab.model.out_head.weight.clone()
    lab.train()
    assert torch.equal(lab.model.out_head.weight, stopped)


def test_a_press_on_stop_before_the_first_step_leaves_nothing_trained(lab):
    async def press_stop():
        click(lab, "Stop")

    train_on_a_loop(lab, press_stop)
    assert text_of(lab, "fx-status").startswith("Stopped") and lab.rows == ()
    click(lab, "Stop")
    assert text_of(lab, "fx-status") == "Nothing is being trained."


# --- rows -----------------------------------------------------------------------------------------


def test_a_press_deletes_a_row_from_the_file_too(lab, tmp_path):
    for preset in ("everything", "head only"):
        lab.explorer.plan = PRESETS[preset](3)
        click(lab, "Train")
    head = re.findall(r'<th scope="col">(.*?)</th>', one(lab, "fx-run-table").value)
    assert numbers(lab) == [1, 2] and head == ["run", *describe_run(*lab.rows)]
    first = lab.rows[0]
    one(lab, "fx-run").value = 2
    click(lab, "Delete it")
    assert lab.rows == (first,) and numbers(lab) == [1]
    assert [row["id"] for row in read_rows(tmp_path / FILE)[0]] == [first.id]
    click(lab, "Delete it")
    assert lab.rows == (first,) and "there is no run 2" in text_of(lab, "fx-row")


def test_a_click_takes_the_plan_and_the_settings_of_a_run(lab):
    assert text_of(lab, "fx-where").startswith("the last position")
    lab.explorer.plan = FreezePlan.lora(3, 1, rank=4, alpha=8.0)
    choose(lab, "fx-position", "mean")
    assert text_of(lab, "fx-where").startswith("the mean of the logits of all positions")
    one(lab, "fx-lr").value = 0.02
    settings = lab.settings
    assert settings.plan == FreezePlan.lora(3, 1, rank=4, alpha=8.0)
    assert lab.train().settings == settings
    others = lab.settings = Settings(HEAD, "first", 70, 0.5, 3)
    assert lab.settings == others and one(lab, "fx-epochs").value == 70
    click(lab, "Use its plan and settings")
    assert lab.settings == settings


def test_a_new_lab_shows_the_rows_of_the_same_model_and_messages_only(lab, material, tmp_path):
    lab.train()
    elsewhere = quick_lab(replace(material, belongs_to=BELONGS_TO | {"messages": "others"}))
    assert elsewhere.rows == () and "1 run of another model" in text_of(elsewhere, "fx-kept")
    elsewhere.train()
    with (tmp_path / FILE).open("a") as file:
        file.write('{"id": "cut o')
    again = quick_lab(material)
    assert again.rows == lab.rows and "line 3 is left out" in text_of(again, "fx-kept")
    again.train()
    assert "1 run of another model" in text_of(again, "fx-kept") and len(again.rows) == 2
    assert '{"id": "cut o\n' in (tmp_path / FILE).read_text()


def test_where_nothing_can_be_kept_a_sentence_says_so(material, tmp_path, monkeypatch):
    (tmp_path / "a_file<b>").write_text("")
    monkeypatch.setenv(LEARNERS_FOLDER, str(tmp_path / "a_file<b>"))
    lab = quick_lab(material)
    lab.train()
    assert "The run is not kept: " in text_of(lab, "fx-problem")
    assert "a_file<b>" in text_of(lab, "fx-kept")


def test_the_test_set_is_opened_only_by_a_press_and_every_later_run_says_so(
    lab, material, tmp_path
):
    click(lab, "Evaluate on the test set")
    assert "click Train first" in text_of(lab, "fx-test")
    before = lab.train()
    assert not before.after_test and not read_kept(tmp_path / FILE, BELONGS_TO).test_opened
    click(lab, "Evaluate on the test set")
    loader = torch.utils.data.DataLoader(material.test, batch_size=8)
    accuracy = calc_accuracy_loader(loader, lab.model, "cpu")
    words = text_of(lab, "fx-test")
    assert "the one with seed 1 of the last run" in words
    assert f"{accuracy:.3f} of 20 messages, 95 % interval 0." in words
    assert lab.train().after_test
    again = quick_lab(material)
    again.train()
    assert [run.after_test for run in again.rows] == [False, True, True]
    assert rows(again, "fx-run-table")[1][1].endswith("· after the test set was used")
    assert "The test set has been used." in text_of(again, "fx-kept")


def test_the_work_is_predicted_before_anything_is_trained(lab):
    before, amount = text_of(lab, "fx-predicted"), r"[\d.]+ \w+ multiply-adds"
    assert re.fullmatch(f"Estimated compute of one training: {amount}. .+ loop: {amount}.", before)
    lab.explorer.plan = PRESETS["everything"](3)
    assert text_of(lab, "fx-predicted") != before


def test_a_page_without_a_kernel_gets_picture_tables_and_words(lab, monkeypatch):
    before = static_form(lab, monkeypatch)
    assert "No run yet." in before["text/html"] and "no run yet" in before["text/plain"]
    assert "trf_blocks.2" in before["text/plain"]
    assert "<td>last: the last position: padding" in before["text/html"]
    lab.train()
    data = static_form(lab, monkeypatch)
    assert "<caption>The runs. Differences are from run 1;" in data["text/html"]
    assert "run 1, the book" in data["text/plain"]
