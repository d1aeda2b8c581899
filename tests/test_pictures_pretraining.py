"""The picture of a pretraining: what lies higher is a higher loss, and the words say the same."""

import re

from workshop.pictures.charts import draw_pretraining

LEVELS = {"knowing nothing": 10.8, "counting": 7.2}


def test_a_level_stands_where_its_loss_does_and_bears_its_name():
    drawing = draw_pretraining([10.8, 9.0, 6.5], [(0, 10.8), (3, 7.2)], LEVELS)
    levels = [float(y) for y in re.findall(r'd="M52,([\d.]+)H432" [^>]*dasharray', drawing.svg)]
    held_out = [float(y) for y in re.findall(r'<circle cx="[\d.]+" cy="([\d.]+)"', drawing.svg)]
    assert levels == held_out and levels[0] < levels[1]  # higher in the picture, smaller y
    assert "knowing nothing: 10.8</text>" in drawing.svg and "counting: 7.2</text>" in drawing.svg


def test_the_words_say_what_the_picture_shows():
    words = draw_pretraining([10.8, 9.0, 6.5], [(0, 10.8), (3, 7.2)], LEVELS).words
    assert "from 10.8 to 6.5 nats" in words and "after step 3 7.2" in words
    assert "knowing nothing 10.8, counting 7.2" in words


def test_before_the_first_step_there_are_axes_and_no_curve():
    assert "no step yet" in draw_pretraining([], [(0, 10.8)], LEVELS).words
