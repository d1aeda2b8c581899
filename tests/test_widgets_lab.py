"""The Freeze Lab trains, keeps a row for each run, and stops when Stop is pressed, without a browser."""

import asyncio
import os
import random
import re
import signal
import warnings
from dataclasses import replace

import pytest
import torch

from helpers.freezing import FreezePlan, parameter_report
from helpers.training import calc_accuracy_loader
from tests.clicks import (
    choose,
    chosen,
    click,
    each,
    one,
    press,
    static_form,
    text_of,
    train_on_a_loop,
)
from tests.labs import BELONGS_TO, BOOK, HEAD, tiny_material
from workshop.lab import COLUMNS, FILE, Settings, read_kept, read_rows
from workshop.widgets import FreezeLab

pytestmark = [
    pytest.mark.usefixtures("no_callback_fails"),
    pytest.mark.filterwarnings("ignore:The `ipykernel.comm.Comm` class:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def material():
    return tiny_material()


@pytest.fixture
def lab(material, tmp_path) -> FreezeLab:
    lab = FreezeLab(folder=tmp_path, material=material)
    one(lab, "fx-epochs").value = 2
    return lab


def heads_of(lab) -> list[str]:
    return [head.description for head in each(lab, "fx-head")]


def numbers(lab) -> list[int]:
    """The numbers of the runs in the order of the rows."""
    return [int(button.description.split()[0]) for button in each(lab, "fx-take")]


def three_runs(lab) -> None:
    for preset in ("head only", "the book's choice", "everything"):
        choose(lab, "fx-preset", preset)
        click(lab, "Train")


# --- a training in one piece, where no loop runs --------------------------------------------------


def test_a_press_on_train_ends_in_a_row_with_the_settings_and_the_results(lab, material):
    click(lab, "Train")
    (run,) = lab.rows
    assert run.settings == lab.settings == Settings(BOOK, "last", 2, 1e-2, 1)
    assert run.trainable == parameter_report(material.pretrained.cfg, BOOK).trainable
    assert run.num_messages == len(material.validation) == 20
    loader = torch.utils.data.DataLoader(material.validation, batch_size=7)
    right = calc_accuracy_loader(loader, lab.model, "cpu")
    assert run.val_accs == (right,) and lab.history.val_accs[-1] == right
    words = one(lab, "fx-take").description
    assert words == "1  the book's choice · position last · 2 epochs · lr 0.01 · 1 seed"
    cells = one(lab, f"fx-run-{run.id}").children[2].value
    assert f"{right:.3f}<br>95 %: " in cells and f"{run.trainable:,}" in cells
    assert text_of(lab, "fx-status") == (
        f"Run 1 is done in {run.seconds:.1f} s: validation accuracy {right:.3f}, "
        f"loss {run.loss:.3f}."
    )
    assert "accuracy against trainable parameters" in one(lab, "fx-runs").value
    assert one(lab, "fx-bar").value == "" and "seed 1, epoch 2" in one(lab, "fx-live").value


def test_three_seeds_make_one_row_of_means(lab):
    choose(lab, "fx-seeds", "3")
    one(lab, "fx-epochs").value = 10
    click(lab, "Train")
    (run,) = lab.rows
    assert f"Run 1 is done in {3 * run.seconds:.1f} s: " in text_of(lab, "fx-status")
    assert len(run.val_accs) == len(set(run.val_losses)) == 3
    assert run.accuracy == pytest.approx(sum(run.val_accs) / 3)
    assert "seed 3, epoch 10" in one(lab, "fx-live").value


def test_another_position_and_an_adapter_can_be_trained(lab):
    assert text_of(lab, "fx-where").startswith("the row's last position")
    choose(lab, "fx-position", "mean")
    assert text_of(lab, "fx-where").startswith("the mean of what all positions say")
    choose(lab, "fx-preset", "LoRA, last block")
    choose(lab, "fx-rank", "1")
    click(lab, "Train")
    (run,) = lab.rows
    assert run.settings.position == "mean"
    assert run.settings.plan == FreezePlan.lora(3, 1, rank=1, alpha=2.0)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda lab: choose(lab, "fx-preset", "nothing"), "there is nothing to train"),
        (lambda lab: setattr(one(lab, "fx-lr"), "value", 0.0), "lr must be a finite number above"),
        (lambda lab: setattr(one(lab, "fx-lr"), "value", 1e30), "take a smaller learning rate"),
    ],
)
def test_what_cannot_be_trained_gets_a_sentence_and_the_next_press_works(lab, spoil, words):
    spoil(lab)
    click(lab, "Train")
    assert words in text_of(lab, "fx-problem")
    assert '<p role="alert">' in one(lab, "fx-problem").value
    assert lab.rows == () and not lab.training
    choose(lab, "fx-preset", "head only")
    one(lab, "fx-lr").value = 0.01
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
    assert "Stopped: the model has the weights of 2 whole epochs." in text_of(lab, "fx-status")
    assert lab.rows == () and len(lab.history.val_accs) == 2 and not lab.training
    monkeypatch.undo()
    one(lab, "fx-epochs").value = 2
    weights = lab.model.out_head.weight.clone()
    click(lab, "Train")
    assert torch.equal(lab.model.out_head.weight, weights) and len(lab.rows) == 1


def test_code_can_train_too_and_gets_the_run(lab):
    run = lab.train()
    assert lab.rows == (run,)
    one(lab, "fx-lr").value = -1
    assert lab.train() is None


@pytest.mark.parametrize("names", [("gpt2-smal", "sms-mini"), ("gpt2-nano (12M)", "sms")])
def test_a_name_that_is_none_is_refused(names, tmp_path):
    with pytest.raises(ValueError, match=r"unknown (model 'gpt2-smal'|data 'sms')"):
        FreezeLab(*names, folder=tmp_path)


# --- in slices, on a loop -------------------------------------------------------------------------


def test_on_a_loop_a_press_returns_at_once_and_the_row_comes_later(lab):
    async def press_again():
        assert lab.rows == () and lab.training
        click(lab, "Train")  # does nothing while it trains
        click(lab, "Open the test set")
        assert "A training is under way" in text_of(lab, "fx-test")

    train_on_a_loop(lab, press_again)
    assert len(lab.rows) == 1 and not lab.training
    whole = lab.train()
    assert whole.val_losses == lab.rows[0].val_losses  # in slices or not


def test_a_press_on_stop_is_heard_between_two_slices_and_leaves_a_whole_epoch(lab):
    one(lab, "fx-epochs").value = 50
    choose(lab, "fx-seeds", "3")
    heard = []

    async def press_stop():
        while "Seed 1, epoch " not in text_of(lab, "fx-status"):
            await asyncio.sleep(0)  # on a busy machine the first epoch takes a while
        heard.extend([one(lab, "fx-bar").value, text_of(lab, "fx-status")])
        click(lab, "Stop")

    train_on_a_loop(lab, press_stop)
    epochs = len(lab.history.val_accs)
    assert 1 <= epochs < 50 and lab.history.interrupted and lab.rows == ()
    assert f"the weights of {epochs} whole epoch" in text_of(lab, "fx-status")
    assert "with seed 1. A run that was stopped has no row." in text_of(lab, "fx-status")
    bar, status = heard
    step, left = re.search(r">seed 1 of 3, step (\d+) of 300, about (\d+) s left<", bar).groups()
    assert f'aria-valuenow="{round(100 * int(step) / 900)}"' in bar
    assert int(left) <= lab.history.seconds_training * (900 / int(step) - 1) + 1
    epoch, words = re.fullmatch(r"Seed 1, epoch (\d+) of 50: (.*)", status).groups()
    accuracy, loss = (h[int(epoch) - 1] for h in (lab.history.val_accs, lab.history.val_losses))
    assert words == f"validation accuracy {accuracy:.3f}, loss {loss:.3f}."
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


def test_a_press_on_a_heading_sorts_the_rows_and_a_second_turns_them_round(lab):
    three_runs(lab)
    assert numbers(lab) == [1, 2, 3] and heads_of(lab)[0] == "run ▲"
    by_loss = sorted((1, 2, 3), key=lambda number: lab.rows[number - 1].loss)
    for column, up in (("trainable", [1, 2, 3]), ("loss", by_loss)):
        (head,) = [h for h in each(lab, "fx-head") if h.description == column]
        head.click()
        assert numbers(lab) == up and head.description == f"{column} ▲"
        head.click()
        assert numbers(lab) == up[::-1] and head.description == f"{column} ▼"
    assert [name.rstrip(" ▼") for name in heads_of(lab)] == list(COLUMNS)


def test_a_press_on_a_row_sets_the_tower_and_the_settings(lab):
    choose(lab, "fx-preset", "LoRA, last block")
    choose(lab, "fx-rank", "4")
    choose(lab, "fx-position", "mean")
    choose(lab, "fx-seeds", "3")
    one(lab, "fx-lr").value = 0.02
    click(lab, "Train")
    settings = lab.settings
    for css, name in (
        ("preset", "everything"),
        ("position", "first"),
        ("seeds", "1"),
        ("rank", "1"),
    ):
        choose(lab, f"fx-{css}", name)
    one(lab, "fx-epochs").value, one(lab, "fx-lr").value = 9, 0.5
    each(lab, "fx-take")[0].click()
    assert lab.settings == settings and settings.plan.rank == 4
    assert chosen(lab, "fx-preset") == "LoRA, last block" and chosen(lab, "fx-rank") == "4"
    assert text_of(lab, "fx-status") == "Tower and settings are those of run 1."


def test_a_press_deletes_a_row_from_the_file_too(lab, tmp_path):
    three_runs(lab)
    second = lab.rows[1]
    (button,) = [b for b in each(lab, "fx-delete") if b.description == "✕ delete run 2"]
    button.click()
    assert second not in lab.rows and numbers(lab) == [1, 2]
    assert [row["id"] for row in read_rows(tmp_path / FILE)[0]] == [run.id for run in lab.rows]
    button.click()  # a press that was still on its way
    assert len(lab.rows) == 2 and "it may be deleted already" in text_of(lab, "fx-problem")


def test_a_new_lab_shows_the_rows_of_the_same_model_and_messages_only(lab, material, tmp_path):
    lab.train()
    other = tiny_material(belongs_to=BELONGS_TO | {"messages": "others"})
    elsewhere = FreezeLab(folder=tmp_path, material=other)
    assert elsewhere.rows == () and "1 run of another model" in text_of(elsewhere, "fx-kept")
    elsewhere.train()
    again = FreezeLab(folder=tmp_path, material=material)
    assert again.rows == lab.rows and numbers(again) == [1]
    again.train()
    assert "1 run of another model" in text_of(again, "fx-kept") and len(again.rows) == 2


def test_two_rows_of_one_id_and_a_damaged_line_do_not_close_the_lab(lab, material, tmp_path):
    lab.train()
    line = (tmp_path / FILE).read_text()
    with (tmp_path / FILE).open("a") as file:
        file.write(line.replace('"seconds": ', '"seconds": 1') + '{"id": "cut o')
    again = FreezeLab(folder=tmp_path, material=material)
    assert "line 3 is left out" in text_of(again, "fx-kept")
    again.train()
    assert lab.rows[0] in again.rows and len(again.rows) >= 2
    assert '{"id": "cut o\n' in (tmp_path / FILE).read_text()


def test_where_nothing_can_be_kept_the_run_is_shown_all_the_same(material, tmp_path):
    (tmp_path / "a_file").write_text("")
    lab = FreezeLab(folder=tmp_path / "a_file", material=material)
    one(lab, "fx-epochs").value = 1
    run = lab.train()
    assert lab.rows == (run,) and "not kept" in text_of(lab, "fx-problem")
    each(lab, "fx-delete")[0].click()
    assert lab.rows == ()


def test_the_test_set_is_opened_only_by_a_press_and_every_later_run_says_so(
    lab, material, tmp_path
):
    click(lab, "Open the test set")
    assert "press Train first" in text_of(lab, "fx-test")
    before = lab.train()
    assert not before.after_test and not read_kept(tmp_path / FILE, BELONGS_TO).test_opened
    click(lab, "Open the test set")
    loader = torch.utils.data.DataLoader(material.test, batch_size=8)
    right = calc_accuracy_loader(loader, lab.model, "cpu")
    assert f"{right:.3f} of 20 messages" in text_of(lab, "fx-test")
    assert lab.train().after_test
    again = FreezeLab(folder=tmp_path, material=material)
    again.train()
    assert [run.after_test for run in again.rows] == [False, True, True]
    assert each(again, "fx-take")[1].description.endswith("· after the test was seen")
    assert "The test set has been seen." in text_of(again, "fx-kept")


# --- what is shown --------------------------------------------------------------------------------


def test_the_work_is_predicted_before_anything_is_trained(lab):
    before = text_of(lab, "fx-predicted")
    amount = r"[\d.]+ \w+ multiply-adds"
    assert re.fullmatch(f"Predicted for one training: {amount}, .+ way: {amount}\\)", before)
    choose(lab, "fx-preset", "everything")
    assert text_of(lab, "fx-predicted") != before
    one(lab, "fx-lr").value = 0
    assert "lr must be a finite number above" in text_of(lab, "fx-predicted")


def test_words_from_a_file_are_shown_as_text(material, tmp_path):
    lab = FreezeLab(folder=tmp_path / "<script>alert(1)<", material=material)
    assert "<script>" in text_of(lab, "fx-kept")


def test_a_page_without_a_kernel_gets_picture_tables_and_words(lab, monkeypatch):
    before = static_form(lab, monkeypatch)
    assert "No run yet." in before["text/html"] and "no run yet" in before["text/plain"]
    assert "trf_blocks.2" in before["text/plain"]
    assert "<td>last: the row&#x27;s last position" in before["text/html"]
    lab.train()
    data = static_form(lab, monkeypatch)
    assert "<caption>The runs</caption>" in data["text/html"]
    assert data["image/svg+xml"].startswith("<svg") and "run 1, the book" in data["text/plain"]


def do_something(lab, rng: random.Random) -> str:
    kind = rng.choice(
        ["toggle", "toggle", "preset", "press", "rank", "position", "seeds", "against", "train",
         "sort", "take", "delete", "open", "stop", "epochs"]
    )  # fmt: skip
    if kind == "toggle":
        press(rng.choice(each(lab, "fx-toggle")))
    elif kind in ("preset", "press", "rank", "position", "seeds", "against"):
        press(rng.choice(each(one(lab, f"fx-{kind}"), "fx-choice")))
    elif kind in ("sort", "take", "delete"):
        css = {"sort": "fx-head", "take": "fx-take", "delete": "fx-delete"}[kind]
        if buttons := each(lab, css):
            rng.choice(buttons).click()
    elif kind == "epochs":
        one(lab, "fx-epochs").value = rng.randint(1, 2)
    else:
        click(lab, {"train": "Train", "open": "Open the test set", "stop": "Stop"}[kind])
    return kind


@pytest.mark.parametrize("presses", [50, pytest.param(400, marks=pytest.mark.proof)])
def test_after_random_clicks_the_rows_are_those_of_the_file(lab, tmp_path, presses):
    rng = random.Random(0)
    for _ in range(presses):
        print(do_something(lab, rng))  # pytest shows this only where the test fails
        assert lab.settings.position == chosen(lab, "fx-position")
        assert not lab.plan.adapted or lab.plan.rank == int(chosen(lab, "fx-rank"))
        assert lab.rows == read_kept(tmp_path / FILE, BELONGS_TO).runs
        assert sorted(numbers(lab)) == list(range(1, len(lab.rows) + 1))
    assert lab.rows


def test_nothing_that_the_lab_does_is_deprecated(lab):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        lab.train()
    assert [str(w.message) for w in caught if "`ipykernel.comm.Comm`" not in str(w.message)] == []


def test_plan_and_settings_can_be_set_by_code(lab):
    lab.plan = HEAD
    assert chosen(lab, "fx-preset") == "head only"
    lab.settings = replace(lab.settings, epochs=70, position="mean")
    assert one(lab, "fx-epochs").value == 70 and chosen(lab, "fx-position") == "mean"
    with pytest.raises(ValueError, match="the plan is for 6 blocks"):
        lab.plan = FreezePlan.book(6)
