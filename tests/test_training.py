"""Training moves what the plan lets move, and measures what it says."""

import re

import pytest
import torch
from torch.utils.data import DataLoader

from helpers.freezing import FreezePlan, replace_head
from helpers.training import (
    POSITIONS,
    TrainingSettings,
    calc_accuracy_loader,
    calc_loss_batch,
    calc_loss_loader,
    class_logits,
    classifying_place,
    evaluate_model,
    last_token_positions,
    plot_values,
    take_step,
    train_classifier_simple,
)
from tests.conftest import TINY, random_model

PAD = 50256


def messages(n=32):
    """Messages of random length whose second token gives the label away."""
    generator = torch.Generator().manual_seed(0)
    rows = []
    for i in range(n):
        ids = torch.randint(1000, (12,), generator=generator)
        ids[1] = 7 if i % 2 else 11
        ids[4 + i % 7 :] = PAD
        rows.append((ids, torch.tensor(i % 2)))
    return rows


def classifier(plan=None):
    torch.manual_seed(0)
    return (plan or FreezePlan.book(3)).apply(replace_head(random_model(TINY)))


def test_a_pattern_is_learned_and_the_records_have_the_books_form():
    model = classifier(FreezePlan.everything(3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    loader = DataLoader(messages(), 8)
    options = {"num_epochs": 20, "eval_freq": 8, "eval_iter": 4, "position": "last_token"}
    train_losses, val_losses, train_accs, val_accs, seen = train_classifier_simple(
        model, loader, loader, optimizer, "cpu", **options
    )
    assert len(train_losses) == len(val_losses) == 10 and seen == 640
    assert len(train_accs) == len(val_accs) == 20
    assert train_losses[-1] < 0.1 < train_losses[0] and train_accs[-1] == val_accs[-1] == 1.0
    assert train_losses[-1] == pytest.approx(val_losses[-1], abs=1e-6)
    assert not model.training


def test_the_loop_calls_a_learners_step_and_prints_a_line_as_the_book_does(capsys):
    loader, losses = DataLoader(messages(), 8), {}

    def step(*batch):
        sizes.append(len(batch[2]))
        return take_step(*batch)

    for name, own_step in (("course", None), ("learner", step)):
        sizes, losses[name], model = [], [], classifier()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        options = {"step_losses": losses[name], "training_step": own_step}
        train_classifier_simple(model, loader, loader, optimizer, "cpu", 2, 3, 1, **options)
    assert losses["learner"] == losses["course"] and sizes == [8] * 8
    printed = capsys.readouterr().out.splitlines()
    assert printed[:5] == printed[5:]
    line = r"Ep 1 \(Step 000003\): Train loss \d\.\d{3}, Val loss \d\.\d{3}"
    assert re.fullmatch(line, printed[1])
    assert re.fullmatch(r"Training accuracy: .*% \| Validation accuracy: .*%", printed[2])


def test_each_position_gives_the_logits_of_its_token_and_the_means_those_of_several():
    ids = torch.tensor([[5, 6, PAD, PAD], [5, PAD, 6, PAD], [1, 2, 3, 4], [PAD] * 4])
    assert last_token_positions(ids).tolist() == [1, 2, 3, 0]
    model = classifier()
    with torch.no_grad():
        everywhere, alone = model(ids), model(ids[:1, :2])[0, -1]
        logits = {position: class_logits(model, ids, position) for position in POSITIONS}
    torch.testing.assert_close(everywhere[0, 1], alone, atol=1e-5, rtol=0)  # padding is not seen
    places = {"first": [0] * 4, "last": [3] * 4, "last_token": [1, 2, 3, 0]}
    for position, expected in places.items():
        wanted = everywhere[range(4), expected]
        torch.testing.assert_close(logits[position], wanted, atol=1e-5, rtol=0)
        assert [classifying_place(row, position) for row in ids.tolist()] == expected
    by_hand = (everywhere[:, 0] + everywhere[:, 1] + everywhere[:, 2] + everywhere[:, 3]) / 4
    torch.testing.assert_close(logits["mean"], by_hand, atol=1e-5, rtol=0)
    for i, length in enumerate((2, 3, 4, 1)):
        by_hand = sum(everywhere[i, :length]) / length
        torch.testing.assert_close(logits["mean_tokens"][i], by_hand, atol=1e-5, rtol=0)
    assert classifying_place([5, 6], "mean") is classifying_place([5, 6], "mean_tokens") is None


def test_loss_and_accuracy_are_those_of_their_definitions():
    model, rows = classifier().eval(), messages(20)
    loader = DataLoader(rows, 8)
    with torch.no_grad():
        logits = torch.cat([model(ids[None])[:, -1] for ids, _ in rows])
    labels = torch.stack([label for _, label in rows])
    wanted = -logits.log_softmax(1)[torch.arange(20), labels]
    batches = [batch.mean().item() for batch in wanted.split(8)]
    right = (logits.argmax(1) == labels).float()
    losses = {None: sum(batches) / 3, 2: sum(batches[:2]) / 2}
    accuracies = {None: right.mean().item(), 99: right.mean().item(), 1: right[:8].mean().item()}
    for count, loss in losses.items():
        assert calc_loss_loader(loader, model, "cpu", count) == pytest.approx(loss, abs=1e-5)
    for count, accuracy in accuracies.items():
        assert calc_accuracy_loader(loader, model, "cpu", count) == pytest.approx(accuracy)
    loss = calc_loss_batch(*next(iter(loader)), model, "cpu").item()
    evaluated = evaluate_model(model, loader, loader, "cpu", 1)
    assert [loss, *evaluated] == pytest.approx([batches[0]] * 3, abs=1e-5) and model.training


def test_training_on_nothing_of_nothing_or_without_a_finite_loss_is_refused_with_advice():
    model, full = classifier(), DataLoader(messages(), 8)
    few = DataLoader(messages(4), 8, drop_last=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e30)
    with pytest.raises(ValueError, match="no batch"):
        train_classifier_simple(model, few, full, optimizer, "cpu", 1, 1, 1)
    message = "the loss is nan at step 1; take a smaller learning rate"  # steps count from 0
    with pytest.raises(FloatingPointError, match=message):
        train_classifier_simple(model, full, full, optimizer, "cpu", 5, 99, 1)
    FreezePlan.nothing(3).apply(model)
    with pytest.raises(ValueError, match="every parameter is frozen"):
        train_classifier_simple(model, full, full, optimizer, "cpu", 1, 1, 1)


def test_the_defaults_are_the_books_and_twenty_times_the_rate_for_the_nano():
    xl, nano = map(TrainingSettings.for_model, ("gpt2-xl (1558M)", "gpt2-nano (12M)"))
    assert (xl.lr, xl.weight_decay, xl.epochs, xl.batch_size) == (5e-5, 0.1, 5, 8)
    assert (nano.lr, nano.weight_decay, nano.epochs, nano.seed) == (1e-3, 0.1, 5, 123)
    assert TrainingSettings.for_model("gpt2-nano (12M)", lr=0.1, epochs=2).lr == 0.1


def test_the_settings_for_texts_train_the_head_at_six_times_the_rate_and_larger_models_at_a_tenth():
    nano, xl = (TrainingSettings.for_texts(name) for name in ("gpt2-nano (12M)", "gpt2-xl (1558M)"))
    assert (nano.lr, nano.head_lr, xl.lr, xl.head_lr) == pytest.approx((5e-4, 3e-3, 5e-5, 3e-4))
    assert (nano.position, nano.keep, nano.schedule) == ("mean_tokens", "last", "linear")
    assert (nano.epochs, nano.batch_size, nano.clip, nano.by_length) == (8, 16, 1.0, True)
    changed = TrainingSettings.for_texts("gpt2-nano (12M)", lr=1e-3, epochs=2)
    assert (changed.lr, changed.epochs) == (1e-3, 2) and changed.head_lr == pytest.approx(6e-3)


def test_a_linear_schedule_rises_in_the_first_tenth_of_all_steps_and_then_falls_to_the_last():
    def factors(schedule, num_steps):
        settings = TrainingSettings(schedule=schedule)
        return [settings.lr_factor(step, num_steps) for step in range(num_steps)]

    rising, falling = [1 / 3, 2 / 3], [steps_left / 18 for steps_left in range(18, 0, -1)]
    assert factors("linear", 20) == pytest.approx(rising + falling)
    assert factors("linear", 1) == [1.0] and factors("constant", 3) == [1.0] * 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("lr", 0),
        ("position", "middle"),
        ("head_lr", 0),
        ("clip", -1.0),
        ("schedule", "cosine"),
        ("by_length", "yes"),
    ],
)
def test_a_setting_that_can_not_be_is_refused_by_its_name_and_value(name, value):
    with pytest.raises(ValueError, match=f"{name} must be .*, not {value!r}"):
        TrainingSettings(**{name: value})


def test_the_curves_have_the_epochs_below_and_the_examples_above():
    figure = plot_values([0, 1, 2], [0, 8, 16], [3.0, 2.0, 1.0], [3.5, 2.5, 2.0], label="accuracy")
    below, above = figure.axes
    assert (below.get_xlabel(), below.get_ylabel()) == ("epochs", "accuracy")
    assert above.get_xlabel() == "examples seen"
    train, validation = below.get_lines()
    assert list(train.get_ydata()) == [3.0, 2.0, 1.0] and train.get_label() == "training accuracy"
    assert validation.get_label() == "validation accuracy"
    assert list(validation.get_ydata()) == [3.5, 2.5, 2.0]
    assert list(validation.get_xdata()) == [0, 1, 2]
    assert list(above.get_lines()[0].get_xdata()) == [0, 8, 16]
