"""The pictures say what the report says, and those in images/ are the ones that the code draws."""

import io

import matplotlib

matplotlib.use("agg")
import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt

from helpers.config import gpt_config
from helpers.diagrams import EDGE, FILL, IMAGES, describe, draw_classifier, draw_images, fold, plot_values
from helpers.freezing import FreezePlan, classifier_without_weights, parameter_report
from helpers.shapes import trace_shapes
from tests.conftest import ROOT

CFG = gpt_config("gpt2-small (124M)")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def pixels(png) -> np.ndarray:
    return plt.imread(png)[..., :3]


def test_the_pictures_in_images_are_the_ones_that_the_code_draws(tmp_path):
    paths = draw_images(tmp_path)
    assert sorted(path.name for path in paths) == sorted(path.name for path in IMAGES.glob("figure_*.png"))
    for path in paths:
        fresh, kept = pixels(path), pixels(IMAGES / path.name)
        assert fresh.shape == kept.shape and abs(fresh - kept).mean() < 0.002, f"run `make images`: {path.name}"


def test_equal_blocks_share_a_box_and_no_parameter_is_lost():
    plan = FreezePlan.book(12).toggle("trf_blocks.3.att").toggle("trf_blocks.4.ff")
    report = parameter_report(CFG, plan)
    rows = fold(report)
    assert [row.parts[-1] for row in rows] == [
        "tok_emb", "pos_emb", "trf_blocks.2", "trf_blocks.3", "trf_blocks.4", "trf_blocks.10", "trf_blocks.11",
        "final_norm", "out_head",
    ]  # fmt: skip
    assert sum(row.parameters for row in rows) == report.total
    assert sum(row.trainable for row in rows) == report.trainable


def test_the_words_say_what_the_picture_shows():
    shapes = trace_shapes(classifier_without_weights(CFG), torch.ones(1, 4, dtype=torch.long))
    report = parameter_report(CFG, FreezePlan.book(12))
    words = describe(report, shapes)
    assert words.splitlines()[0] == "input: token ids (1, 4)"
    assert "11 transformer blocks  (trf_blocks.0 – 10): 77,966,592 parameters, frozen, puts out (1, 4, 768)" in words
    assert "classification head  (out_head): 1,538 parameters, trainable, puts out (1, 4, 2)" in words
    assert words.endswith("in all: 7,090,946 of 124,441,346 parameters trainable (5.70 %)")
    drawn = " ".join(text.get_text() for text in draw_classifier(report, shapes).axes[0].texts)
    for line in ("(1, 4, 2)", "(4, 768)", "77,966,592\n❄ frozen", "1,538\n✎ trainable", "token ids (1, 4)"):
        assert line in drawn


def test_every_glyph_of_the_picture_exists_in_the_font(recwarn):
    plan = FreezePlan.book(12).toggle("trf_blocks.3.att")
    shapes = trace_shapes(classifier_without_weights(CFG), torch.ones(1, 4, dtype=torch.long))
    draw_classifier(parameter_report(CFG, plan), shapes, ["Do", " you"], "note").savefig(io.BytesIO())
    assert [str(warning.message) for warning in recwarn] == []


def test_text_and_borders_stand_out_from_their_ground():
    def luminance(colour):
        rgb = np.array(matplotlib.colors.to_rgb(colour))
        return np.where(rgb <= 0.03928, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]

    def contrast(a, b):
        low, high = sorted((luminance(a), luminance(b)))
        return (high + 0.05) / (low + 0.05)

    for state, fill in FILL.items():
        assert (
            contrast("#111111", fill) >= 4.5
            and contrast(EDGE[state], "white") >= 4.5
            and contrast(EDGE[state], fill) > 3
        )


def test_the_curves_carry_their_values_and_both_axes():
    figure = plot_values([0, 1, 2], [0, 80, 160], [0.9, 0.5, 0.2], [0.8, 0.6, 0.5], label="loss")
    below, above = figure.axes
    assert [line.get_label() for line in below.lines] == ["training loss", "validation loss"]
    assert below.lines[1].get_ydata().tolist() == [0.8, 0.6, 0.5]
    assert (below.get_xlabel(), below.get_ylabel(), above.get_xlabel()) == ("epochs", "loss", "examples seen")


def test_every_picture_in_images_is_shown_with_words_beside_it():
    pages = "".join(
        path.read_text(encoding="utf-8")
        for path in [ROOT / "README.md", *(ROOT / "notebooks" / "scripts").glob("*.py")]
    )
    for path in IMAGES.iterdir():
        assert path.name in pages
    assert "![](" not in pages
