"""The confusion matrix of many classes: each count can be seen, and read in words."""

import random
from xml.etree import ElementTree

import numpy as np
import pytest

from tests.drawings import (
    check_that_all_can_be_seen,
    check_that_no_words_overlap,
    elements,
    words_of,
    written,
)
from workshop.own import ClassFigures, class_figures
from workshop.pictures.charts import draw_class_matrix

TOPICS = ("home and family", "money", "prizes and betting", "travel")


def made_up(num_classes: int, texts: int = 400, seed: int = 0, names=None) -> ClassFigures:
    rng = random.Random(seed)
    correct = [rng.randrange(num_classes) for _ in range(texts)]
    called = [c if rng.random() < 0.7 else rng.randrange(num_classes) for c in correct]
    return class_figures(names or [f"class {i}" for i in range(num_classes)], correct, called)


def counts(drawing) -> list[str]:
    return [words_of(t) for t in elements(drawing, "text", fill="#111111")]


@pytest.mark.parametrize("num_classes", [2, 3, 5, 7, 12, 20, 21, 60])
def test_every_number_of_classes_fits_and_can_be_read(num_classes):
    drawing = draw_class_matrix(made_up(num_classes))
    check_that_all_can_be_seen(drawing)
    check_that_no_words_overlap(drawing)
    assert len(counts(drawing)) == min(num_classes, 20) ** 2
    sizes = [float(t.get("font-size")) for t in elements(drawing, "text")]
    assert min(sizes) >= 11 and drawing.size[0] <= 820
    label = ElementTree.fromstring(drawing.svg).get("aria-label")
    assert label.split() == drawing.words.split()


def test_rows_are_the_correct_classes_and_columns_what_was_called():
    figures = class_figures(("ham", "spam"), [0, 0, 0, 1, 1], [0, 0, 1, 1, 1])
    drawing = draw_class_matrix(figures)
    assert counts(drawing) == ["2", "1", "0", "2"]
    assert {"called", "correct"} <= {*written(drawing)}
    assert written(drawing).count("spam") == 2  # of its row and of its column
    assert drawing.words.splitlines() == [
        "the confusion matrix of 5 texts, 4 of them right",
        "ham, 3 texts: 2 right, 1 called spam",
        "spam, 2 texts: 2 right",
    ]


def test_a_frame_tells_right_from_wrong_without_a_colour():
    drawing = draw_class_matrix(made_up(5))
    assert len(elements(drawing, "rect", stroke="#111111")) == 5
    assert any("in a frame: right" in words for words in written(drawing))


def test_names_too_long_for_a_column_become_numbers_that_stand_beside_the_rows():
    drawing = draw_class_matrix(made_up(4, names=TOPICS))
    assert "1 home and family" in written(drawing) and "4" in written(drawing)
    assert "home and family, " in drawing.words
    long = [f"{'a rather long name of a class ' * 3}{i}" for i in range(3)]
    drawing = draw_class_matrix(made_up(3, names=long))
    check_that_all_can_be_seen(drawing)
    check_that_no_words_overlap(drawing)
    assert sum(words.endswith("…") for words in written(drawing)) == 3
    assert all(name in drawing.words for name in long)


def test_of_many_classes_the_largest_are_drawn_and_what_is_left_out_is_counted():
    table = np.diag(np.arange(1, 31)).astype(int)
    table[29, 0] = 4
    drawing = draw_class_matrix(ClassFigures(tuple(f"c{i:02}" for i in range(30)), table))
    assert "c10" in drawing.words and "c09" not in drawing.words
    left_out = sum(range(1, 11)) + 4
    assert f"10 classes are left out, and {left_out} texts" in drawing.words
    assert any("10 classes are left out" in words for words in written(drawing))


def test_large_counts_stay_in_their_fields():
    table = np.full((12, 12), 1_234_567)
    table[3, 4], table[0, 0] = 9_999, 56_789
    drawing = draw_class_matrix(ClassFigures(tuple(f"c{i}" for i in range(12)), table))
    check_that_no_words_overlap(drawing)
    assert {"1M", "56k", "9999"} == {*counts(drawing)}
    assert "56,789 right" in drawing.words


def test_markup_and_odd_characters_in_a_name_are_text():
    names = ("<b>bold</b> & co", "a\nb\x00c", "日本語の長い名前" * 4)
    drawing = draw_class_matrix(made_up(3, names=names))
    assert "<b>" not in drawing.svg and "a b\ufffdc, " in drawing.words
    check_that_all_can_be_seen(drawing)


def test_a_class_without_a_text_has_a_row_of_zeros():
    drawing = draw_class_matrix(class_figures(("a", "b", "c"), [0, 1], [0, 0]))
    assert counts(drawing) == ["1", "0", "0", "1", "0", "0", "0", "0", "0"]
    assert "c, 0 texts: 0 right" in drawing.words


def test_what_are_no_figures_is_refused():
    with pytest.raises(TypeError, match="figures must be"):
        draw_class_matrix([[1, 2], [3, 4]])
