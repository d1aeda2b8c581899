"""The film of a training shows what the model was after each epoch, and changes nothing in it."""

import os
import signal

import pytest
import torch
from torch.nn import functional as F

from helpers.freezing import FreezePlan, replace_head
from helpers.training import POSITIONS, class_logits
from tests.conftest import TINY, random_model
from tests.labs import BOOK, messages
from workshop import fast
from workshop.fast import History, fine_tune
from workshop.film import Film, Frame, film_of

TRAIN, VALIDATION = messages(48, 0), messages(20, 1)
SETTINGS = {"epochs": 3, "lr": 1e-2, "progress": False}


def classifier():
    torch.manual_seed(5)
    return replace_head(random_model(TINY))


def tiny_film(model=None, plan=BOOK, **changes) -> Film:
    return film_of(model or classifier(), TRAIN, VALIDATION, plan, **SETTINGS | changes)


@pytest.mark.parametrize("plan", [BOOK, FreezePlan.lora(3, 1, rank=1, alpha=2.0)])
def test_a_training_that_is_filmed_is_the_same_to_the_bit(plan):
    filmed, plain = classifier(), classifier()
    film = tiny_film(filmed, plan)
    history = fine_tune(plain, TRAIN, VALIDATION, plan, **SETTINGS)
    assert film.history.step_losses == history.step_losses
    assert film.history.val_losses == history.val_losses
    for name, weights in plain.state_dict().items():
        assert torch.equal(filmed.state_dict()[name], weights), name
    assert filmed.training == plain.training


@pytest.mark.parametrize("position", POSITIONS)
def test_each_frame_holds_what_the_model_said_after_that_epoch(position):
    film = tiny_film(position=position)
    assert [frame.epoch for frame in film.frames] == [0, 1, 2, 3]
    assert film.names == [
        "before the training", "after epoch 1", "after epoch 2", "after epoch 3",
    ]  # fmt: skip
    assert film.val_losses[1:] == pytest.approx(film.history.val_losses, abs=1e-5)
    right = [1 - wrong.float().mean().item() for wrong in film.mistakes]
    assert right[1:] == pytest.approx(film.history.val_accs)
    for epochs in (0, 2):  # a training that ended there has the same model
        model = classifier()
        if epochs:
            settings = SETTINGS | {"epochs": epochs, "position": position}
            fine_tune(model, TRAIN, VALIDATION, BOOK, **settings)
        with torch.no_grad():
            ids = torch.tensor(VALIDATION.encoded_texts)
            expected = class_logits(model.eval(), ids, position)
        frame = film.frames[epochs]
        torch.testing.assert_close(frame.logits, expected, atol=1e-5, rtol=1e-4)
        expected = expected.softmax(dim=1)
        torch.testing.assert_close(frame.probabilities, expected, atol=1e-5, rtol=1e-4)


def test_the_best_epochs_weights_stay_and_the_film_goes_to_the_end():
    model = classifier()
    film = tiny_film(model, keep="best", lr=0.1)
    assert len(film.frames) == 4 and film.history.best_epoch < 3
    assert torch.equal(model.out_head.weight, film.frames[film.history.best_epoch].weight)
    assert torch.equal(film.last_model.out_head.weight, film.frames[-1].weight)
    steps = torch.tensor(film.history.step_losses)
    expected = [part.mean().item() for part in steps.split(6)]  # 6 steps are an epoch
    assert film.train_losses == pytest.approx(expected, abs=1e-6) and len(expected) == 3


def test_the_table_tells_confident_mistakes_from_close_ones():
    vectors = torch.tensor([[-3.0, 0.0], [3.0, 1.0], [0.1, 0.0], [3.0, 0.0]])  # towards spam, noise
    weight, labels = torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), torch.tensor([1, 1, 0, 1])
    frames = tuple(Frame(epoch, vectors, weight, torch.zeros(2)) for epoch in (0, 1))
    table = Film(frames, labels, History(step_losses=[0.5, 0.7]), 1).table()
    assert table.index.tolist() == [1] and table.iloc[0].tolist() == [0.6, 1.7, 2, 1]


def test_places_keep_the_variance_and_the_boundary_is_exact_for_what_lies_in_their_plane():
    film = tiny_film()
    vectors = torch.cat([frame.vectors for frame in film.frames])
    spread = torch.cat(film.places).square().sum(dim=0)
    centred = vectors - vectors.mean(dim=0)
    torch.testing.assert_close(spread / centred.square().sum(), film.directions.shares)
    variances = torch.linalg.eigvalsh(centred.T @ centred).flip(0)[:2]  # another way to them
    torch.testing.assert_close(spread, variances, atol=1e-3, rtol=1e-3)
    for number, (frame, (a, b, c)) in enumerate(zip(film.frames, film.boundaries, strict=True)):
        positions = 20 * torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
        vectors = film.directions.mean + positions @ film.directions.axes
        logits = F.linear(vectors, frame.weight, frame.bias)
        normal = torch.tensor([a, b])
        difference = logits[:, 1] - logits[:, 0]
        torch.testing.assert_close(positions @ normal + c, difference, atol=1e-3, rtol=1e-3)
        places = film.places[number]
        assert places.shape == (20, 2)
        on_spam_side = places @ normal + c > 0
        count = (on_spam_side == (frame.probabilities[:, 1] > 0.5)).sum()
        assert film.num_on_their_side[number] == count


def test_an_interruption_leaves_the_frames_of_the_whole_epochs(monkeypatch):
    with_bars, model = fast.with_bars, classifier()

    def interrupting(steps, show):
        for progress in with_bars(steps, show):
            if len(progress.history.step_losses) == 15:
                os.kill(os.getpid(), signal.SIGINT)
            yield progress

    monkeypatch.setattr(fast, "with_bars", interrupting)
    with pytest.warns(UserWarning, match="interrupted; the model has the weights of 2 whole"):
        film = tiny_film(model)
    assert film.names == ["before the training", "after epoch 1", "after epoch 2"]
    assert len(film.val_losses) == 3 and len(film.train_losses) == 2 and film.epochs == 3
    assert torch.equal(film.frames[-1].weight, model.out_head.weight)
