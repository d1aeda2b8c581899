"""`fine_tune` gives the numbers of the readable loop in less time, and stops as it should."""

import copy
import itertools
import random
import signal

import pandas as pd
import pytest
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader

from helpers.data import SpamDataset
from helpers.freezing import FreezePlan, replace_head
from helpers.model import GPTModel, without_causal_mask
from helpers.tokenizer import get_tokenizer
from helpers.training import (
    POSITIONS,
    TrainingSettings,
    class_logits,
    last_token_positions,
    train_classifier_simple,
)
from tests.conftest import TINY, random_model
from workshop import forward
from workshop.fast import (
    History,
    batch_order,
    fine_tune,
    fine_tuning_steps,
    forget,
    order_by_length,
    settings_by_name,
)
from workshop.processes import EpochCheckpoint

BOOK = FreezePlan.book(3)
PLANS = {
    "head only": FreezePlan.head_only(3),
    "the last block": BOOK,
    "two blocks": FreezePlan.last_blocks(3, 2),
    "everything": FreezePlan.everything(3),
    "pieces": FreezePlan(3, {"trf_blocks.1.ff", "trf_blocks.2.norm2"}),
    "the positions": FreezePlan(3, {"pos_emb", "out_head"}),
    "a hole": FreezePlan(3, {"trf_blocks.0", "trf_blocks.2"}),
}
TEXT = "free| prize| call| now| to| claim| see| you| at| eight| love| ok| sorry"
WORDS = TEXT.split("|")  # each is one token


def data(*texts, max_length=None) -> SpamDataset:
    table = pd.DataFrame({"Label": [i % 2 for i in range(len(texts))], "Text": texts})
    return SpamDataset(table, get_tokenizer(), max_length)


def made_up(count, seed) -> SpamDataset:
    """Messages of one to nine words, one token each."""
    rng = random.Random(seed)
    return data(*("".join(rng.choices(WORDS, k=rng.randint(1, 9))) for _ in range(count)))


# 37 messages are more than are measured at once
TRAIN, VALIDATION = made_up(23, seed=0), made_up(37, seed=1)


def classifier(**changes) -> GPTModel:
    """A classifier whose answer depends much on every token of a message, and on their order."""
    model = replace_head(random_model(TINY | changes))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(mean=float(name.endswith("scale")), std=0.4)
    return model


# an epoch is 4 steps, 2 batches measured
SETTINGS = TrainingSettings(epochs=2, batch_size=5, lr=1e-3)


def tune(model, plan=BOOK, train=TRAIN, validation=VALIDATION, **changes) -> History:
    """Fine-tune in place, quietly, on the CPU."""
    options = {"progress": False, "device": "cpu"} | changes
    return fine_tune(model, train, validation, plan, SETTINGS, **options)


def steps_of(model):
    return fine_tuning_steps(model, TRAIN, VALIDATION, BOOK, SETTINGS, device="cpu")


def simply_tune(model, plan, train, validation, epochs=2, batch_size=5, lr=1e-3, seed=123, **more):
    """The same by the readable loop, with the book's settings: the loss of each step."""
    train_loader = DataLoader(train, batch_size, shuffle=True, drop_last=True)
    loaders = train_loader, DataLoader(validation, batch_size)
    optimizer = torch.optim.AdamW(plan.apply(model).parameters(), lr=lr, weight_decay=0.1)
    losses = []
    options = {"eval_freq": 50, "eval_iter": 5, "step_losses": losses} | more
    torch.manual_seed(seed)
    train_classifier_simple(model, *loaders, optimizer, "cpu", epochs, **options)
    return losses


def assert_near(a, b, tolerance=1e-4):
    torch.testing.assert_close(torch.as_tensor(a), torch.as_tensor(b), atol=tolerance, rtol=0)


def assert_same_weights(model, other, tolerance=1e-4):
    """All but the keys' biases: softmax does not see them, AdamW scales up their rounding noise."""
    others = dict(other.named_parameters())
    for name, parameter in model.named_parameters():
        if not name.endswith("W_key.bias"):
            off = (parameter - others[name]).abs().max().item()
            assert off <= tolerance, f"{name} is off by {off}"


def assert_as_the_readable_loop(plan=BOOK, start=None, cache=True, **settings):
    start, settings = start or classifier(), {"position": "last", "epochs": 2} | settings
    simple, model, position = copy.deepcopy(start), copy.deepcopy(start), settings["position"]
    losses = simply_tune(simple, plan, TRAIN, VALIDATION, **settings)
    history = tune(model, plan, cache=cache, **settings)
    assert_near(history.step_losses, losses)
    assert_same_weights(model, simple)
    inputs, labels = torch.tensor(VALIDATION.encoded_texts), torch.tensor(VALIDATION.labels)
    with torch.no_grad():
        logits = class_logits(model, inputs, position)
        assert_near(logits, class_logits(simple, inputs, position))
    loss = F.cross_entropy(logits, labels).item()
    accuracy = (logits.argmax(dim=1) == labels).float().mean().item()
    assert_near([history.val_losses[-1], history.val_accs[-1]], [loss, accuracy], 1e-5)
    assert len(history.val_losses) == len(history.val_accs) == settings["epochs"]
    something_cached = cache and plan.trainable.isdisjoint({"tok_emb", "pos_emb"})
    assert (history.seconds_encoding > 0) == something_cached == (not history.notes)
    assert not model.training and not history.interrupted and FreezePlan.of(model) == plan
    for name, parameter in model.named_parameters():
        same = torch.equal(parameter, start.get_parameter(name))
        assert same != parameter.requires_grad, name


@pytest.fixture(autouse=True)
def nothing_cached():
    forget()
    yield
    forget()


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("plan", [*PLANS, "without a causal mask"])
def test_every_plan_gives_the_losses_and_weights_of_the_readable_loop(plan, position):
    start = classifier() if plan in PLANS else without_causal_mask(classifier())
    assert_as_the_readable_loop(PLANS.get(plan, BOOK), start, position=position)


@pytest.mark.parametrize("batch_size", [1, 22, 23])
def test_every_batch_size_gives_the_numbers_of_the_readable_loop(batch_size):
    # of one message, the loop also measures at step 50
    settings = {"batch_size": batch_size, "epochs": 3, "seed": 7}
    assert_as_the_readable_loop(position="last_token", cache=False, **settings)


def test_messages_that_do_not_fill_a_batch_make_one():
    assert [sorted(batch) for (batch,) in batch_order(4, 5, 2, seed=5)] == [[0, 1, 2, 3]] * 2


def test_an_order_by_length_has_similar_messages_together_leaves_none_out_and_is_new_each_epoch():
    lengths = [1 + 7 * i % 100 for i in range(83)]
    order = order_by_length(lengths, 8, 3, seed=5)
    for batches in order:
        assert sorted(i for batch in batches for i in batch) == list(range(83))
        assert sorted(len(batch) for batch in batches) == [3] + [8] * 10
        longest = [max(lengths[i] for i in batch) for batch in batches]
        assert longest != sorted(longest)  # short messages do not always come first
        padded = sum(max(lengths[i] for i in batch) * len(batch) for batch in batches)
        assert padded < 1.2 * sum(lengths)
    assert order[0] != order[1] and order != order_by_length(lengths, 8, 3, seed=6)
    assert order == order_by_length(lengths, 8, 3, seed=5)


RECIPE = {"position": "mean_tokens", "head_lr": 1.2e-2, "schedule": "linear", "clip": 0.5}
RECIPE |= {"by_length": True, "epochs": 4}


@pytest.mark.parametrize(
    "plan", [PLANS["everything"], PLANS["two blocks"], FreezePlan.lora(3, 2, rank=2)]
)
def test_with_all_that_the_book_leaves_out_the_training_is_that_of_a_plain_torch_loop(plan):
    model, plain = classifier(), classifier()
    history = tune(model, plan, lr=3e-3, **RECIPE)
    torch.manual_seed(123)  # from which adapters start
    plan.apply(plain)
    head = list(plain.out_head.parameters())
    rest = [p for name, p in plain.named_parameters() if not name.startswith("out_head")]
    groups = [{"params": rest}, {"params": head, "lr": 1.2e-2}]
    optimizer = torch.optim.AdamW(groups, lr=3e-3, weight_decay=0.1)
    factors = [1 / 3, 2 / 3, *(left / 18 for left in range(18, 0, -1)), 0]
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factors.__getitem__)
    inputs, labels = torch.tensor(TRAIN.encoded_texts), torch.tensor(TRAIN.labels)
    lengths = last_token_positions(inputs) + 1
    losses, norms, num_right = [], [], []
    for batch in itertools.chain(*order_by_length(lengths.tolist(), 5, 4, seed=123)):
        logits = class_logits(plain, inputs[batch], "mean_tokens")
        num_right.append((logits.argmax(dim=1) == labels[batch]).sum())
        loss = F.cross_entropy(logits, labels[batch])
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(plain.parameters(), 0.5).item())
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    assert len(losses) == 20 and max(norms) > 1
    assert_near(history.step_losses, losses, 1e-5)
    assert_near(history.train_accs, torch.stack(num_right).reshape(4, 5).sum(dim=1) / 23, 1e-6)
    assert len(set(history.train_accs)) > 1
    assert_same_weights(model, plain)


def test_a_training_that_is_left_resumes_in_its_schedule_and_ends_with_the_best_epochs_weights(
    tmp_path,
):
    settings = TrainingSettings(**RECIPE | {"batch_size": 5, "lr": 3e-2, "keep": "best"})

    def steps(model, checkpoint=None):
        plan, options = PLANS["everything"], {"device": "cpu", "checkpoint": checkpoint}
        return fine_tuning_steps(model, TRAIN, VALIDATION, plan, settings, **options)

    whole = classifier()
    *_, progress = steps(whole)
    history = progress.history
    assert history.best_epoch < 3, "these settings should overfit"
    for epochs in (history.best_epoch, 3, 4):
        checkpoint, resumed = EpochCheckpoint(tmp_path / f"{epochs} epochs", {}), classifier()
        leaving = steps(classifier(), checkpoint)
        while len(next(leaving).history.val_accs) < epochs:
            pass
        leaving.close()
        *_, progress = steps(resumed, checkpoint)
        assert_near(progress.history.step_losses, history.step_losses, 1e-5)
        assert_near(progress.history.val_losses, history.val_losses, 1e-5)
        assert_same_weights(resumed, whole, 1e-6)


def test_settings_that_came_later_are_in_a_file_only_where_they_are_changed():
    names = {"head_lr", "schedule", "clip", "by_length"}
    assert names.isdisjoint(settings_by_name(TrainingSettings()))
    changed = settings_by_name(TrainingSettings(clip=1.0, schedule="linear"))
    assert (changed["clip"], changed["schedule"], changed["lr"]) == (1.0, "linear", 5e-5)


def test_rows_of_several_lengths_are_refused_where_padding_would_count():
    ragged = made_up(9, seed=3)
    ragged.encoded_texts[4] = ragged.encoded_texts[4][:2]
    seeing = without_causal_mask(classifier())
    for model, position in ((classifier(), "mean"), (seeing, "last"), (seeing, "mean_tokens")):
        with pytest.raises(ValueError, match="messages differ in length: .* pad or truncate them"):
            tune(model, train=ragged, position=position)
    assert tune(classifier(), train=ragged, position="last").step_losses
    with pytest.raises(ValueError, match="weights in float32, not torch.bfloat16"):
        tune(classifier().to(torch.bfloat16))


@pytest.mark.parametrize("loss", [{}, {"class_weights": (0.3, 2.0)}, {"ignore_index": 1}])
def test_a_step_of_accumulated_batches_is_one_of_a_large_batch_with_cross_entropys_mean(loss):
    small, large, start = classifier(), classifier(), classifier()
    losses = tune(small, batch_size=5, accumulation=3, **loss).step_losses
    assert_near(losses, tune(large, batch_size=15, **loss).step_losses, 1e-5)
    assert_same_weights(small, large, 1e-5)
    ((batch,),) = batch_order(len(TRAIN), 15, epochs=1, seed=123)
    with torch.no_grad():
        logits = class_logits(start, torch.tensor(TRAIN.encoded_texts)[batch])
    labels, ignored = torch.tensor(TRAIN.labels)[batch], loss.get("ignore_index", -100)
    weights = torch.tensor(loss["class_weights"]) if "class_weights" in loss else None
    expected = F.cross_entropy(logits, labels, weights, ignore_index=ignored).item()
    assert losses[0] == pytest.approx(expected, abs=1e-5)


def test_step_by_step_the_training_is_the_same_and_torchs_random_numbers_are_the_callers():
    model, whole = classifier(drop_rate=0.3), classifier(drop_rate=0.3)
    torch.manual_seed(1)
    undisturbed = torch.rand(50).tolist()
    torch.manual_seed(1)
    drawn = []
    for progress in steps_of(model):
        drawn.append(torch.rand(1).item())
        history = progress.history
    assert len(drawn) == 1 + 8 + 2 * 2  # the start, steps, and batches measured
    assert [*drawn, torch.rand(1).item()] == undisturbed[: len(drawn) + 1]
    assert history.step_losses == tune(whole).step_losses
    without_dropout = tune(classifier()).step_losses
    assert history.step_losses != pytest.approx(without_dropout, abs=1e-2)
    assert_same_weights(model, whole, 0)


def test_each_step_says_how_far_it_is_and_what_has_been_measured(monkeypatch):
    monkeypatch.setattr(forward, "TOKENS_AT_ONCE", 60)
    seen = []
    for at in steps_of(classifier()):
        measured = len(at.history.step_losses), len(at.history.val_accs)
        seen.append((at.phase, at.done, at.total, *measured))
    encoded = [done for phase, done, *_ in seen if phase == "encoding"]
    assert encoded[0] == 0 and encoded[-1] == 60 and len(set(encoded)) > 5
    assert encoded == sorted(encoded)
    assert {total for phase, _, total, *_ in seen if phase == "encoding"} == {60}
    trained = [(step, epochs) for phase, step, _, _, epochs in seen if phase == "training"]
    first = [(0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (4, 0)]
    assert trained == first + [(step + 4, 1) for step, _ in first] + [(8, 2)]
    assert all(at[1:4:2] == (at[3], at[3]) and at[2] == 8 for at in seen[len(encoded) :])


def test_a_close_after_any_step_leaves_the_last_whole_epoch_and_no_warning(recwarn):
    whole = [after(epochs) for epochs in range(3)]
    for count in (1, 5, 13, 14, 19, 20):  # 2 starts, 6 of encoding; each epoch 4 steps, 2 measures
        forget()
        model = classifier()
        steps = steps_of(model)
        *_, progress = itertools.islice(steps, count)
        steps.close()
        history = progress.history
        epochs = len(history.val_accs)
        assert epochs == (count >= 14) + (count >= 20)
        assert history.interrupted and f"weights of {epochs} whole epoch" in history.notes[-1]
        assert len(history.step_losses) == 4 * epochs and len(history.train_accs) == epochs
        assert_same_weights(model, whole[epochs], 1e-6)
        assert not model.training
    assert not recwarn.list


def test_bfloat16_comes_close_trains_in_float32_and_runs_only_where_it_is_faster(monkeypatch):
    exact, model = tune(classifier()), classifier()
    monkeypatch.setattr(forward, "bfloat16_is_faster", lambda: True)
    rough = tune(model, precision="bfloat16")
    off = (torch.tensor(rough.step_losses) - torch.tensor(exact.step_losses)).abs().max()
    # bfloat16 has 8 significant bits: it is off by up to 0.4 % in each product
    assert 1e-5 < off < 0.1 and rough.notes == []
    assert_near(rough.val_losses, exact.val_losses, 0.1)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}

    monkeypatch.setattr(forward, "bfloat16_is_faster", lambda: False)
    slower = tune(classifier(), precision="bfloat16")
    assert slower.step_losses == exact.step_losses
    assert slower.notes == ["the frozen layers run in float32, which is faster than bfloat16 here"]


@pytest.mark.parametrize(
    ("reason", "drop_rate", "settings"),
    [
        ("dropout", 0.1, {}),
        ("an embedding is trained", 0.0, {"plan": PLANS["the positions"]}),
        ("cache is False", 0.0, {"cache": False}),
    ],
)
def test_where_nothing_is_cached_the_history_says_why_and_the_model_is_trained(
    reason, drop_rate, settings
):
    model = classifier(drop_rate=drop_rate)
    history = tune(model, epochs=25, lr=1e-2, **settings)
    assert not history.seconds_encoding and reason in history.notes[0] and not model.training
    assert sum(history.step_losses[-12:]) < 0.8 * sum(history.step_losses[:12])


def test_the_bar_says_what_is_being_done(capsys):
    tune(classifier(), progress=True)
    shown = capsys.readouterr().err
    for bar in ("encoding messages: 100%|60/60", "fine-tuning: 100%|8/8|val_loss=|val_acc="):
        assert all(part in shown for part in bar.split("|")), bar
    tune(classifier())
    assert capsys.readouterr() == ("", "")


def at_call(module, number, act):
    """Let something happen when a part of the model has run for the n-th time."""
    calls = itertools.count(1)

    def hook(module, inputs, output):
        return act(output) if next(calls) == number else None

    module.register_forward_hook(hook)


def after(epochs, **settings) -> GPTModel:
    model = classifier()
    if epochs:
        tune(model, epochs=epochs, **settings)
    return model


@pytest.mark.parametrize(
    ("part", "call", "epochs"),
    [("trf_blocks.0.norm1", 1, 0), ("out_head", 6, 0), ("out_head", 8, 1), ("out_head", 13, 2)],
)
def test_an_interruption_leaves_the_weights_of_the_last_whole_epoch_and_says_so(part, call, epochs):
    model = classifier()
    at_call(model.get_submodule(part), call, lambda output: signal.raise_signal(signal.SIGINT))
    message = f"interrupted; the model has the weights of {epochs} whole epoch"
    with pytest.warns(UserWarning, match=message):
        history = tune(model, epochs=3)
    assert history.interrupted and not model.training
    assert len(history.val_losses) == len(history.val_accs) == epochs
    assert ("epoch" if epochs == 1 else "epochs") == history.notes[-1].split()[-1]
    assert len(history.step_losses) == 4 * epochs  # those of the weights that are left
    assert (history.seconds_encoding > 0) == (history.seconds_training > 0) == (part == "out_head")
    assert_same_weights(model, after(epochs), 1e-6)


def test_a_loss_that_is_not_finite_stops_with_advice_and_the_last_whole_epochs_weights():
    model = classifier()
    at_call(model.out_head, 8, lambda output: output * torch.nan)
    advice = r"the loss is nan at step 5; take a smaller learning rate"
    with pytest.raises(FloatingPointError, match=advice):
        tune(model, epochs=3)
    assert not model.training
    assert_same_weights(model, after(1), 1e-6)


def test_the_best_epochs_weights_are_those_of_a_training_that_ended_there_also_when_interrupted():
    best, stopped, settings = classifier(), classifier(), {"epochs": 6, "lr": 3e-2}
    history = tune(classifier(), **settings)
    assert 1 <= history.best_epoch < 5, "these settings should overfit"
    assert history.val_losses[history.best_epoch - 1] == min(history.val_losses)
    kept = tune(best, keep="best", **settings)
    assert_near(kept.val_losses, history.val_losses, 1e-5)  # the training itself is the same
    at_call(stopped.out_head, 6 * 5 + 2, lambda output: signal.raise_signal(signal.SIGINT))
    with pytest.warns(UserWarning, match=f"weights of epoch {kept.best_epoch}, the best of 5"):
        assert len(tune(stopped, keep="best", **settings).val_losses) == 5
    for model in (best, stopped):
        assert_same_weights(model, after(history.best_epoch, lr=3e-2), 1e-6)
