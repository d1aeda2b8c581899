"""A frame of the training film shows each message where it lies, and says in words what it shows."""

import re
from xml.etree import ElementTree

import pytest
import torch

from tests.drawings import check_that_all_can_be_seen, check_that_no_words_overlap
from workshop.fast import History
from workshop.film import Film, Frame
from workshop.pictures.film import CURVES, DOTS, draw_frame

SVG = "{http://www.w3.org/2000/svg}"
LABELS = torch.tensor([0, 0, 0, 1, 1, 1])
BEFORE = [[0, 0, 1], [0, 1, -1], [1, 0, 1], [0, 0, 0], [1, 1, 0], [2, 1, 0]]
AFTER = [[-9, 0, 1], [-7, 1, 0], [4, 0, 0], [-8, 0, 0], [9, 1, 0], [10, 2, 0]]
FAR = [0.0, 900.0, 0.0]


def made_up(*vectors, weight=((0.0, 0.0, 0.0), (1.0, 0.0, 0.0)), bias=-0.5, epochs=2) -> Film:
    """A film whose model calls spam what has more than 0.5 in the first place."""
    head = torch.tensor(weight), torch.tensor([0.0, bias])
    frames = tuple(Frame(i, torch.tensor(rows).float(), *head) for i, rows in enumerate(vectors))
    count = len(vectors) - 1
    losses = [0.7, 0.5, 0.3, 0.1][: 2 * count]
    history = History(losses, [0.5] * count, [0.6] * count, [0.5] * count)
    return Film(frames, LABELS.repeat(len(vectors[0]) // 6), history, epochs)


FILM = made_up(BEFORE, AFTER, AFTER)


def marks(drawing) -> dict[str, list[tuple[float, float]]]:
    """Where discs (ham), squares (spam) and rings (mistakes) lie within the frame of the dots."""
    root = ElementTree.fromstring(drawing.svg)
    within = DOTS[0] + DOTS[2], DOTS[1] + DOTS[3] + 5
    found = {"ham": [], "spam": [], "mistake": []}
    for disc in root.iter(f"{SVG}circle"):
        found["ham"].append((float(disc.get("cx")), float(disc.get("cy"))))
    for square in root.iter(f"{SVG}rect"):
        if square.get("width") == "6":
            found["spam"].append((float(square.get("x")) + 3, float(square.get("y")) + 3))
    for ring in root.iter(f"{SVG}path"):
        if start := re.match(r"M([\d.]+),([\d.]+)a7,7", ring.get("d")):
            found["mistake"].append((float(start[1]) + 7, float(start[2])))
    return {
        name: [(x, y) for x, y in places if x <= within[0] and y <= within[1]]
        for name, places in found.items()
    }


def texts(drawing) -> list[str]:
    root = ElementTree.fromstring(drawing.svg)
    return ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]


def near(a: tuple[float, float], b: tuple[float, float]) -> bool:
    return abs(a[0] - b[0]) < 0.2 and abs(a[1] - b[1]) < 0.2


@pytest.mark.parametrize("number", range(3))
def test_all_of_a_frame_can_be_seen(number):
    check_that_all_can_be_seen(draw_frame(FILM, number))
    check_that_no_words_overlap(draw_frame(FILM, number))


@pytest.mark.parametrize("number", range(3))
def test_each_message_has_its_mark_and_each_mistake_a_ring(number):
    drawing = draw_frame(FILM, number)
    shown = marks(drawing)
    assert len(shown["ham"]) == len(shown["spam"]) == 3
    wrong = FILM.mistakes[number].tolist()
    assert len(shown["mistake"]) == sum(wrong) == 2
    for ring in shown["mistake"]:
        assert any(near(ring, mark) for mark in shown["ham"] + shown["spam"])
    right = [mark for name in ("ham", "spam") for mark in shown[name]]
    assert sum(any(near(mark, ring) for ring in shown["mistake"]) for mark in right) == 2


def test_a_message_that_moves_from_frame_to_frame_moves_on_one_scale():
    still = made_up(AFTER, AFTER, AFTER)
    assert marks(draw_frame(still, 0)) == marks(draw_frame(still, 2))
    xs = [[x for x, _ in marks(draw_frame(FILM, number))["spam"]] for number in (0, 1)]
    assert max(xs[1]) - min(xs[1]) > 5 * (max(xs[0]) - min(xs[0]))
    sizes = {re.search(r'viewBox="([^"]+)"', draw_frame(FILM, i).svg)[1] for i in range(3)}
    assert len(sizes) == 1


def test_the_boundary_is_drawn_where_it_is_true_to_nearly_all_and_left_out_elsewhere():
    assert FILM.num_on_their_side[1] == 6
    drawing = draw_frame(FILM, 1)
    dashed = re.findall(r'd="M([\d.]+),([\d.]+)L([\d.]+),([\d.]+)"[^>]*dasharray', drawing.svg)
    ((x1, y1, x2, y2),) = [tuple(map(float, ends)) for ends in dashed]
    spam_side = [
        (x - x1) * (y2 - y1) > (y - y1) * (x2 - x1)
        for name in ("ham", "spam")
        for x, y in marks(drawing)[name]
    ]
    answers = FILM.frames[1].answers.tolist()  # ham and spam were drawn in order of their mistakes
    assert sorted(spam_side) in (sorted(map(bool, answers)), sorted(not a for a in answers))
    assert "p = 0.5; parts 6 of 6 as the model does" in texts(drawing)
    assert "the dashed line of p = 0.5 has 6 of 6 messages" in drawing.words

    # the model decides by what the two main directions leave out
    rows = [[x, y, 0.1 * (-1) ** i] for i, (x, y, _) in enumerate(AFTER)]
    hidden = made_up(rows, rows, weight=((0.0, 0.0, 0.0), (0.0, 0.0, 1.0)), bias=0.0, epochs=1)
    assert hidden.num_on_their_side[1] < 6
    drawing = draw_frame(hidden, 1)
    assert "dasharray" not in drawing.svg and not any("p = 0.5" in text for text in texts(drawing))
    assert "p = 0.5, of which no line is drawn, has" in drawing.words

    sure = made_up(BEFORE, AFTER, AFTER, bias=-1000.0)  # the line is far outside
    assert sure.num_on_their_side[1] == 6
    drawing = draw_frame(sure, 1)
    assert "dasharray" not in drawing.svg and "of which no line is drawn" in drawing.words


def test_a_message_far_out_lies_at_the_edge_and_is_counted():
    vectors = [BEFORE * 4, AFTER * 4]
    film = made_up(*[[*rows[:-1], FAR] for rows in vectors])
    drawing = draw_frame(film, 1)
    left, top, width, height = DOTS
    edges = [
        (x, y)
        for x, y in marks(drawing)["spam"]
        if min(x - left, left + width - x, y - top, top + height - y) < 0.2
    ]
    assert len(edges) == 1 and "at the edge: 1 further out" in texts(drawing)
    assert "further out than the edge: 1" in drawing.words
    assert not any("further out" in text for text in texts(draw_frame(FILM, 1)))


def test_the_losses_grow_with_the_frames():
    left = CURVES[0] - 5
    counts = []
    for number in range(3):
        root = ElementTree.fromstring(draw_frame(FILM, number).svg)
        discs = [disc for disc in root.iter(f"{SVG}circle") if float(disc.get("cx")) > left]
        counts.append(
            tuple(sum((d.get("fill") == "none") == hollow for d in discs) for hollow in (0, 1))
        )
    assert counts == [(1, 0), (2, 1), (3, 2)]  # validation, training


def test_words_say_what_the_picture_shows():
    drawing = draw_frame(FILM, 2)
    assert texts(drawing)[0] == "after epoch 2 of 2: 4 of 6 right"
    loss = torch.nn.functional.cross_entropy(FILM.frames[2].logits, LABELS).item()
    for words in (
        "after epoch 2 of 2: 4 of 6 right; ham called spam: 1, spam called ham: 1",
        f"validation loss {loss:.2f}, mean training loss of the epoch 0.20",
        "along the two main directions, which carry",
    ):
        assert words in drawing.words
    before = draw_frame(FILM, 0).words
    assert before.startswith("before the training: 4 of 6 right") and "training loss" not in before
    label = ElementTree.fromstring(drawing.svg).get("aria-label")
    assert label.split() == drawing.words.split()


def test_vectors_that_hardly_differ_are_drawn_and_those_that_are_all_alike_refused():
    nearly = [[1e-4 * (i == 0), 0.0, 0.0] for i in range(6)]
    assert len(marks(draw_frame(made_up(nearly), 0))["ham"]) == 3
    with pytest.raises(ValueError, match="all alike"):
        draw_frame(made_up([[1.0, 2.0, 3.0]] * 6), 0)


@pytest.mark.parametrize("number", [-1, 3, 0.5, None, "1"])
def test_a_frame_that_is_not_there_is_refused_in_a_sentence(number):
    with pytest.raises(ValueError, match="a frame's number must be a whole number from 0 to 2"):
        draw_frame(FILM, number)
