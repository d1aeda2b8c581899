"""The picture of the model shows what the report says, with words beside it; images/ is up to date."""

import re

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from helpers import freezing
from helpers.config import gpt_config
from helpers.freezing import (
    FreezePlan,
    classifier_without_weights,
    gradient_reach,
    parameter_report,
)
from helpers.tokenizer import encode_message, get_tokenizer, visible_tokens
from tests.conftest import ROOT
from tests.drawings import check_drawing, elements, extent, words_of, written
from workshop.pictures import model as pictures
from workshop.pictures.model import LOOKS, WAY, draw_classifier, draw_new_head, fold
from workshop.pictures.svg import INK, TEXT

CFG, BOOK = gpt_config("gpt2-small (124M)"), FreezePlan.book(12)
SHAPES = freezing.trace_shapes(
    classifier_without_weights(CFG), torch.ones(1, 4, dtype=torch.long), last_token=True
)
PLANS = {
    "book": BOOK,
    "nothing": FreezePlan(12, frozenset()),
    "both embeddings": FreezePlan(12, frozenset({"tok_emb", "pos_emb"})),
    "pieces and adapters": BOOK.toggle("trf_blocks.3.att").toggle(
        "trf_blocks.5", state="frozen with an adapter"
    ),
    "LoRA": FreezePlan.lora(12),
}


def draw(plan: FreezePlan = BOOK, tokens=()):
    """Draw GPT-2 124M with all that a picture can have."""
    report, reach = parameter_report(CFG, plan), gradient_reach(plan)
    return draw_classifier(report, SHAPES, tokens, ("instead of", "it"), reach, 3)


def test_the_pictures_in_images_are_the_ones_that_the_code_draws_and_pages_show(tmp_path):
    pictures.draw_images(tmp_path)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (pictures.IMAGES / path.name).read_bytes(), "run `make images`"
    paths = [ROOT / "README.md", *(ROOT / "notebooks" / "scripts").glob("*.py")]
    pages = "".join(path.read_text(encoding="utf-8") for path in paths)
    assert [path.name for path in pictures.IMAGES.iterdir() if path.name not in pages] == []


def test_equal_blocks_share_a_box_and_no_part_is_lost_or_drawn_twice():
    rows = fold(parameter_report(CFG, BOOK.toggle("trf_blocks.3.att").toggle("trf_blocks.4.ff")))
    blocks = ["trf_blocks.0 – 2", "trf_blocks.3", "trf_blocks.4", "trf_blocks.5 – 10"]
    assert [row.name for row in rows[2:-2]] == [*blocks, "trf_blocks.11"]
    assert [row.title for row in rows[2:4]] == ["3 transformer blocks", "transformer block"]
    for plan in PLANS.values():
        report = parameter_report(CFG, plan)
        assert [part for row in fold(report) for part in row.parts] == [*freezing.part_names(12)]
        for row in fold(report):
            count = report.count(*row.parts)
            assert (row.parameters, row.trainable) == (count.parameters, count.trainable)
            assert {plan.state(part) for part in row.parts} == {row.state}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_each_box_holds_its_numbers_and_what_the_gradient_does_there(plan):
    report, reach = parameter_report(CFG, plan), gradient_reach(plan)
    drawing = draw_classifier(report, SHAPES, reach=reach)
    check_drawing(draw(plan))
    texts = [(words_of(text), float(text.get("y"))) for text in elements(drawing, "text")]
    ways = [path.get("d") for path in elements(drawing, "path", **{"class": "way"})]
    ends = [float(re.search("V([0-9.]+)", way)[1]) for way in ways]
    lowest = 0
    for row, box in zip(fold(report, SHAPES)[::-1], elements(drawing, "rect", rx="8"), strict=True):
        _, top, _, bottom = extent(box)
        expected = [row.title, row.name, f"{row.parameters:,}", row.state, f"→ {row.shape}"]
        if {*row.parts} & {*reach.ends}:
            expected.append("stops here")
        elif {*row.parts} <= {*reach.crossed}:
            expected.append("passes through")
        assert sorted(w for w, y in texts if top < y < bottom) == sorted(expected)
        assert [top < end < bottom for end in ends].count(True) == ("stops here" in expected)
        assert box.get("fill") == LOOKS[row.state][0] and top > lowest
        lowest = bottom
    assert dict(texts)["the last token's logits"] < 74 < lowest < dict(texts)["token ids (1, 4)"]


def test_the_words_say_all_that_the_picture_shows():
    assert draw().words.splitlines() == [
        "input: token ids (1, 4)",
        "token embedding  (tok_emb): 38,597,376 parameters, frozen, outputs (1, 4, 768)",
        "positional embedding  (pos_emb): 786,432 parameters, frozen, outputs (4, 768)",
        "11 transformer blocks  (trf_blocks.0 – 10): 77,966,592 parameters, frozen, outputs "
        "(1, 4, 768)",
        "transformer block  (trf_blocks.11): 7,087,872 parameters, trainable, outputs (1, 4, 768), "
        "the gradient stops here",
        "final layer norm  (final_norm): 1,536 parameters, trainable, outputs (1, 4, 768), the "
        "gradient passes through",
        "classification head  (out_head): 1,538 parameters, trainable, outputs (1, 4, 2), the "
        "gradient passes through",
        "in all: 7,090,946 of 124,441,346 parameters trainable (5.70 %)",
        "the last token's logits: (1, 2)",
        "below a line, run once and cached: the embeddings and 3 blocks",
        "the head is instead of it",
    ]


def test_the_line_of_what_is_cached_lies_right_below_the_lowest_trainable_part():
    plan = FreezePlan.last_blocks(12, 0)
    report = parameter_report(CFG, plan)
    drawing = draw_classifier(report, SHAPES, cached=freezing.frozen_blocks(plan))
    (line,) = elements(drawing, "path", **{"stroke-dasharray": "2 3"})
    y = float(re.match(r"M[\d.]+,([\d.]+)H", line.get("d"))[1])
    tops = [float(box.get("y")) for box in elements(drawing, "rect", rx="8")]
    names = [row.name for row in reversed(fold(report, SHAPES))]
    above = [name for name, top in zip(names, tops, strict=True) if top < y]
    assert above == ["out_head", "final_norm"]


@pytest.mark.parametrize("text", ["</text><script>]]> &amp; a\x00b\u202e 💰 数字", "=" * 900])
def test_whatever_is_typed_is_shown_as_text_and_what_finds_no_room_is_counted(text):
    tokens = visible_tokens(encode_message(text, get_tokenizer()), get_tokenizer())
    for number in (1, 1024):
        repeated = (tokens * number)[:number]
        drawing = draw(tokens=repeated)
        check_drawing(drawing)
        chips = elements(drawing, "rect", fill="#eeeeee")
        said = written(drawing)[written(drawing).index("token ids (1, 4)") + 1 :]
        shown = [t if len(t) <= 24 else f"{t[:23]}…" for t in repeated[: len(chips)]]
        assert shown and said[: len(chips)] == shown and len({chip.get("y") for chip in chips}) <= 3
        assert (f"… {number - len(chips):,} more" in said) == (len(chips) < number)


@pytest.mark.parametrize(("name", "before", "after"), [
    ("gpt2-nano (12M)", "192 → 50,257, 9,649,344 parameters", "192 → 2, 386 parameters"),
    ("gpt2-xl (1558M)", "1,600 → 50,257, 80,411,200 parameters", "1,600 → 2, 3,202 parameters"),
])  # fmt: skip
def test_the_picture_of_the_new_head_has_the_models_own_sizes(name, before, after):
    drawing = draw_new_head(gpt_config(name))
    for size in (before, after):
        assert set(size.split(", ")) <= set(check_drawing(drawing)) and size in drawing.words


@pytest.mark.parametrize("rank", [1, 8])
def test_the_picture_of_lora_has_the_models_own_sizes_and_counts(rank):
    cfg = gpt_config("gpt2-nano (12M)")
    model = FreezePlan.lora(cfg["n_layers"], 1, rank).apply(classifier_without_weights(cfg))
    layer = model.trf_blocks[-1].att.W_query
    drawing = pictures.figure_lora(cfg, rank)
    check_drawing(drawing)
    said, (out, into) = written(drawing), layer.weight.shape
    title = f"rank {rank}: {rank * (out + into):,} trainable parameters, {out * into:,} frozen ones"
    assert drawing.words.splitlines()[0].endswith(title)
    adapters = {"A": layer.lora_A.default.weight, "B": layer.lora_B.default.weight}
    for letter, weight in {"W": layer.weight, **adapters}.items():
        i = said.index("{}: {:,} × {:,}".format(letter, *weight.shape))
        assert said[i + 2] == f"{weight.numel():,}"
        assert f"{said[i]}, {said[i + 2]} parameters, {said[i + 1]}, {said[i + 3]}" in drawing.words
    numbers = "1 number" if rank == 1 else f"{rank} numbers"
    assert {numbers, f"× alpha / rank = 16 / {rank} = {16 / rank:g}"} <= {*said}
    heights = {
        words_of(text).split(":")[0]: float(text.get("y")) for text in elements(drawing, "text")
    }
    assert (
        heights["x"]
        > heights["A"]
        > heights["B"]
        > heights["+"]
        > heights["W x + (alpha / rank) · B A x"]
    )


# --- colours --------------------------------------------------------------------------------------


def contrast(a: str, b: str) -> float:
    """WCAG 2.2: 1 … 21."""
    lights = []
    for colour in (a, b):
        rgb = np.array(to_rgb(colour))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        lights.append(float(linear @ [0.2126, 0.7152, 0.0722]) + 0.05)
    return max(lights) / min(lights)


def test_texts_and_borders_stand_out_from_what_they_lie_on():
    assert contrast("black", "white") == pytest.approx(21)
    for i in (2, 3):  # the states have their dashes and marks, without any colour
        assert len({look[i] for look in LOOKS.values()}) == 4
    dark = "#111111"  # the ground of JupyterLab's dark theme
    for fill, edge, *_ in LOOKS.values():
        assert min(contrast(edge, ground) for ground in (fill, "white", dark)) >= 3
        assert contrast(TEXT, fill) >= 4.5
    for colour, ground in ((INK, "white"), (WAY, "white"), (TEXT, "#eeeeee")):
        assert contrast(colour, ground) >= 4.5
