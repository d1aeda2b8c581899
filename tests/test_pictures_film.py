"""A frame of the training film shows each message where it lies, and says in words what it shows."""

import re

import pytest
import torch

from tests.drawings import (
    check_that_all_can_be_seen,
    check_that_no_words_overlap,
    elements,
    written,
)
from workshop.fast import History
from workshop.film import Film, Frame
from workshop.pictures.film import CURVES, DOTS, draw_frame

LABELS = torch.tensor([0, 0, 0, 1, 1, 1])
BEFORE = [[0, 0, 1], [0, 1, -1], [1, 0, 1], [0, 0, 0], [1, 1, 0], [2, 1, 0]]
AFTER = [[-9, 0, 1], [-7, 1, 0], [4, 0, 0], [-8, 0, 0], [9, 1, 0], [10, 2, 0]]


def made_up(*vectors, weight=((0.0, 0.0, 0.0), (1.0, 0.0, 0.0)), bias=-0.5, epochs=2) -> Film:
    """A film whose model predicts spam for what has more than 0.5 in the first place."""
    head = torch.tensor(weight), torch.tensor([0.0, bias])
    frames = tuple(Frame(i, torch.tensor(rows).float(), *head) for i, rows in enumerate(vectors))
    count = len(vectors) - 1
    losses = [0.7, 0.5, 0.3, 0.1][: 2 * count]
    history = History(losses, [0.5] * count, [0.6] * count, [0.5] * count)
    return Film(frames, LABELS.repeat(len(vectors[0]) // 6), history, epochs)


FILM = made_up(BEFORE, AFTER, AFTER)


def marks(drawing) -> dict[str, list[tuple[float, float]]]:
    """Where discs (ham), squares (spam) and rings (mistakes) lie within the frame of the dots."""
    found = {"ham": [], "spam": [], "mistake": []}
    for disc in elements(drawing, "circle"):
        found["ham"].append((float(disc.get("cx")), float(disc.get("cy"))))
    for square in elements(drawing, "rect", width="6"):
        found["spam"].append((float(square.get("x")) + 3, float(square.get("y")) + 3))
    for ring in elements(drawing, "path"):
        if start := re.match(r"M([\d.]+),([\d.]+)a7,7", ring.get("d")):
            found["mistake"].append((float(start[1]) + 7, float(start[2])))
    right, bottom = DOTS[0] + DOTS[2], DOTS[1] + DOTS[3]
    return {
        name: [(x, y) for x, y in places if x <= right and y <= bottom + 5]
        for name, places in found.items()
    }


@pytest.mark.parametrize("number", range(3))
def test_each_message_has_its_mark_and_each_mistake_a_ring(number):
    drawing = draw_frame(FILM, number)
    check_that_all_can_be_seen(drawing)
    check_that_no_words_overlap(drawing)
    shown, places = marks(drawing), torch.cat(FILM.places)
    assert len(shown["ham"]) == len(shown["spam"]) == 3
    wrong = FILM.mistakes[number]
    order = [
        *FILM.places[number][(LABELS == 0) & ~wrong],
        *FILM.places[number][(LABELS == 0) & wrong],
    ]
    spans = (places.max(dim=0).values - places.min(dim=0).values) * 1.12  # with the room for rings
    for mark, place in zip(shown["ham"], order, strict=True):
        right, up = ((place - places.min(dim=0).values) / spans + 0.06 / 1.12).tolist()
        expected = (DOTS[0] + DOTS[2] * right, DOTS[1] + DOTS[3] * (1 - up))
        assert mark == pytest.approx(expected, abs=0.2)
    rings = [[round(x) for x in ring] for ring in shown["mistake"]]
    ringed = [m for m in shown["ham"] + shown["spam"] if [round(x) for x in m] in rings]
    assert len(rings) == len(ringed) == int(wrong.sum()) == 2


def test_the_boundary_is_drawn_where_it_is_true_to_nearly_all_and_left_out_elsewhere():
    drawing = draw_frame(FILM, 1)
    ((x1, y1, x2, y2),) = re.findall(
        r'd="M([\d.]+),([\d.]+)L([\d.]+),([\d.]+)"[^>]*dasharray', drawing.svg
    )
    x1, y1, x2, y2 = map(float, (x1, y1, x2, y2))
    sides = [
        (x - x1) * (y2 - y1) > (y - y1) * (x2 - x1)
        for x, y in marks(drawing)["ham"] + marks(drawing)["spam"]
    ]
    assert sides in (
        [False, False, True, True, True, False],
        [True, True, False, False, False, True],
    )
    assert "p = 0.5; parts 6 of 6 as the model does" in written(drawing)
    assert "the dashed line of p = 0.5 has 6 of 6 messages on the side" in drawing.words
    # a model that decides by what the two main directions leave out, and a line far outside
    rows = [[x, y, 0.1 * (-1) ** i] for i, (x, y, _) in enumerate(AFTER)]
    hidden = made_up(rows, rows, weight=((0.0, 0.0, 0.0), (0.0, 0.0, 1.0)), bias=0.0, epochs=1)
    for film in (hidden, made_up(BEFORE, AFTER, AFTER, bias=-1000.0)):
        drawing = draw_frame(film, 1)
        assert "dasharray" not in drawing.svg and "p = 0.5;" not in drawing.svg
        assert "p = 0.5, of which no line is drawn, has" in drawing.words


def test_a_message_far_out_lies_at_the_edge_and_is_counted():
    film = made_up(*[[*(rows * 4)[:-1], [0.0, 900.0, 0.0]] for rows in (BEFORE, AFTER)])
    drawing, (left, top, width, height) = draw_frame(film, 1), DOTS
    edges = [
        min(x - left, left + width - x, y - top, top + height - y)
        for x, y in marks(drawing)["spam"]
    ]
    assert sum(edge < 0.2 for edge in edges) == 1
    assert "at the edge: 1 further out" in written(drawing)
    assert "further out than the edge: 1" in drawing.words
    assert "further out" not in draw_frame(FILM, 1).words


def test_the_losses_grow_with_the_frames_and_the_words_say_them():
    for number in range(3):
        discs = elements(draw_frame(FILM, number), "circle")
        curves = [disc for disc in discs if float(disc.get("cx")) > CURVES[0] - 5]
        hollow = [disc.get("fill") == "none" for disc in curves]
        assert hollow == [True] * number + [False] * (number + 1)  # training, then validation
    loss = torch.nn.functional.cross_entropy(FILM.frames[2].logits, LABELS).item()
    first, second = (round(100 * share) for share in FILM.directions.shares.tolist())
    words = draw_frame(FILM, 2).words
    assert words.startswith(
        "after epoch 2 of 2: 4 of 6 right; ham called spam: 1, spam called ham: 1; validation loss "
        f"{loss:.2f}, mean training loss of the epoch 0.20; on average ham at (-4, "
    )
    assert f"main directions, which carry {first} and {second} % of the variance; the" in words
    before = draw_frame(FILM, 0).words
    assert before.startswith("before the training: 4 of 6 right") and "training loss" not in before


def test_vectors_that_hardly_differ_are_drawn_and_other_frames_refused():
    nearly = [[1e-4 * (i == 0), 0.0, 0.0] for i in range(6)]
    assert len(marks(draw_frame(made_up(nearly), 0))["ham"]) == 3
    with pytest.raises(ValueError, match="all alike"):
        draw_frame(made_up([[1.0, 2.0, 3.0]] * 6), 0)
    for number in (-1, 3):
        with pytest.raises(ValueError, match="a frame's number must be a whole number from 0 to 2"):
            draw_frame(FILM, number)
