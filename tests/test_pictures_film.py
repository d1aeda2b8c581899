"""A frame of the training film shows each message where it lies, and says in words what it shows."""

import numpy as np
import pytest
import torch

from tests.drawings import check_chart
from workshop.fast import History
from workshop.film import Film, Frame
from workshop.pictures.film import draw_frame

LABELS = torch.tensor([0, 0, 0, 1, 1, 1])
BEFORE = [[0, 0, 1], [0, 1, -1], [1, 0, 1], [0, 0, 0], [1, 1, 0], [2, 1, 0]]
AFTER = [[-9, 0, 1], [-7, 1, 0], [4, 0, 0], [-8, 0, 0], [9, 1, 0], [10, 2, 0]]


def made_up(*vectors, weight=((0.0, 0.0, 0.0), (1.0, 0.0, 0.0)), bias=-0.5) -> Film:
    """A film whose model predicts spam for what has more than 0.5 in the first place."""
    head = torch.tensor(weight), torch.tensor([0.0, bias])
    frames = tuple(Frame(i, torch.tensor(rows).float(), *head) for i, rows in enumerate(vectors))
    count = len(vectors) - 1
    losses = [0.7, 0.5, 0.3, 0.1][: 2 * count]
    history = History(losses, [0.5] * count, [0.6] * count, [0.5] * count)
    return Film(frames, LABELS.repeat(len(vectors[0]) // 6), history, 2)


FILM = made_up(BEFORE, AFTER, AFTER)


@pytest.mark.parametrize("number", [0, 2])
def test_each_message_has_its_mark_and_each_mistake_a_ring(number):
    chart = draw_frame(FILM, number)
    assert {"ham", "spam", "mistake", "training loss", "validation loss"} <= {*check_chart(chart)}
    ham, spam, rings = (dots.get_offsets() for dots in chart.figure.axes[0].collections)
    places, wrong = FILM.places[number], FILM.mistakes[number]
    assert np.allclose(ham, places[LABELS == 0]) and np.allclose(spam, places[LABELS == 1])
    assert np.allclose(rings, places[wrong]) and len(rings) == 2
    assert chart.figure.axes[0].get_xlim() == draw_frame(FILM, 0).figure.axes[0].get_xlim()


def test_the_boundary_is_drawn_where_it_is_right_for_nearly_all_and_left_out_elsewhere():
    chart = draw_frame(FILM, 1)
    (line,) = chart.figure.axes[0].lines
    start, end = np.array(line.get_xy1()), np.array(line.get_xy2())
    ahead, across = end - start, FILM.places[1].numpy() - start
    sides = ahead[0] * across[:, 1] > ahead[1] * across[:, 0]
    is_spam = (FILM.frames[1].logits.argmax(dim=1) == 1).numpy()
    assert (sides == is_spam).all() or (sides != is_spam).all()
    assert "p = 0.5" in check_chart(chart)
    assert "the line of p = 0.5 has 6 of 6 messages on the side that the model" in chart.words
    # a model that decides by what the two main directions leave out
    rows = [[x, y, 0.1 * (-1) ** i] for i, (x, y, _) in enumerate(AFTER)]
    hidden = made_up(rows, rows, weight=((0.0, 0.0, 0.0), (0.0, 0.0, 1.0)), bias=0.0)
    chart = draw_frame(hidden, 1)
    assert not chart.figure.axes[0].lines and "p = 0.5" not in check_chart(chart)


def test_the_losses_grow_with_the_frames_and_the_words_say_them():
    charts = draw_frame(FILM, 0), draw_frame(FILM, 1), draw_frame(FILM, 2)
    for number, chart in enumerate(charts):
        train, val = chart.figure.axes[1].lines
        assert train.get_xydata() == pytest.approx(np.array([[1, 0.6], [2, 0.2]])[:number])
        losses = np.array(list(enumerate(FILM.val_losses)))
        assert val.get_xydata() == pytest.approx(losses[: number + 1])
    loss = torch.nn.functional.cross_entropy(FILM.frames[2].logits, LABELS).item()
    first, second = (round(100 * share) for share in FILM.directions.shares.tolist())
    assert charts[2].words.startswith(
        "after epoch 2: 4 of 6 right\nham predicted as spam: 1, spam predicted as ham: 1; "
        f"validation loss {loss:.2f}; the two main directions carry {first} and {second} % of the"
    )
    assert charts[0].words.startswith("before the training: 4 of 6 right")
    stricter = draw_frame(made_up(AFTER, AFTER, bias=-4.5), 1)
    assert "ham predicted as spam: 0, spam predicted as ham: 1;" in stricter.words
