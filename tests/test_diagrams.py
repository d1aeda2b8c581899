"""The pictures say what the report says, with words beside them; images/ holds the code's own.

A picture is read back from its SVG: where its texts and boxes stand, and in which colours.
"""

import random
import re
from itertools import combinations

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from helpers.config import gpt_config
from helpers.freezing import (
    FreezePlan,
    classifier_without_weights,
    frozen_blocks,
    gradient_reach,
    parameter_report,
    part_names,
    trace_shapes,
)
from helpers.tokenizer import encode_message, get_tokenizer, visible_tokens
from tests.conftest import ROOT, TINY
from tests.drawings import check_that_all_can_be_seen, elements, extent, words_of, written
from workshop import ASSETS
from workshop.pictures import model as diagrams
from workshop.pictures.model import (
    EDGE,
    FILL,
    IMAGES,
    MARK,
    WAY,
    WAY_ON_DARK,
    draw_classifier,
    figure_lora,
    fold,
)
from workshop.pictures.svg import INK, TEXT

CFG, XL, BOOK = gpt_config("gpt2-small (124M)"), gpt_config("gpt2-xl (1558M)"), FreezePlan.book(12)
SHAPES = trace_shapes(
    classifier_without_weights(CFG), torch.ones(1, 4, dtype=torch.long), last_token=True
)
LARGEST = trace_shapes(
    classifier_without_weights(XL, 1000), torch.ones(1024, 1024, dtype=torch.long), last_token=True
)
LORA = [
    figure_lora(cfg, rank, matrix=matrix)
    for cfg in (gpt_config("gpt2-nano (12M)"), XL)
    for rank, matrix in ((1, "att.W_key"), (8, "ff.layers.0"), (128, "ff.layers.2"))
]
PAPER, CHIP, DARK = (
    "white",
    "#eeeeee",
    "#111111",
)  # the last is the ground of JupyterLab's dark theme


def tokens_of(text: str) -> list[str]:
    return visible_tokens(encode_message(text, get_tokenizer()), get_tokenizer())


def plans(n_layers: int, number: int) -> list[FreezePlan]:
    """Nothing, everything, an embedding, the head, random ones, and two with adapters."""
    parts, rng = part_names(n_layers), random.Random(0)
    names = [*parts, *(f"{block}.{piece}" for block in parts[2:-2] for piece in ("att", "norm2"))]
    chosen = [
        (),
        parts,
        ("pos_emb",),
        ("out_head",),
        *(rng.sample(names, rng.randrange(12)) for _ in range(number)),
    ]
    some = [FreezePlan(n_layers, frozenset(trainable)) for trainable in chosen]
    return [*some, FreezePlan.lora(n_layers), some[-1].adapt("trf_blocks.0", "trf_blocks.1.ff")]


def draw(plan: FreezePlan = BOOK, tokens=()):
    """Draw GPT-2 124M with all that a picture can have."""
    return draw_classifier(
        parameter_report(CFG, plan), SHAPES, tokens, reach=gradient_reach(plan), answer="ham 0.53"
    )


# --- what is drawn, and that it is so in images/, too ---------------------------------------------


def test_the_pictures_in_images_are_the_ones_that_the_code_draws(tmp_path):
    drawn = {path.name: path.read_bytes() for path in diagrams.draw_images(tmp_path)}
    assert drawn == {path.name: path.read_bytes() for path in IMAGES.glob("figure_*")}, (
        "run `make images`"
    )


def test_every_picture_in_images_is_shown_with_words_beside_it():
    paths = [ROOT / "README.md", *(ROOT / "notebooks" / "scripts").glob("*.py")]
    pages = "".join(path.read_text(encoding="utf-8") for path in paths)
    assert [
        path.name for path in IMAGES.iterdir() if path.name not in pages
    ] == [] and "![](" not in pages


def test_equal_blocks_share_a_box_and_no_part_is_lost_or_drawn_twice():
    rows = fold(parameter_report(CFG, BOOK.toggle("trf_blocks.3.att").toggle("trf_blocks.4.ff")))
    names = [
        "trf_blocks.0 – 2",
        "trf_blocks.3",
        "trf_blocks.4",
        "trf_blocks.5 – 10",
        "trf_blocks.11",
    ]
    assert [row.name for row in rows[2:-2]] == names and rows[2].title == "3 transformer blocks"
    as_many = FreezePlan(3, {"trf_blocks.0.att"}, {"trf_blocks.1"}, rank=2)  # learn in both: 288
    names = [row.name for row in fold(parameter_report(TINY, as_many))]
    assert names[2:-2] == ["trf_blocks.0", "trf_blocks.1", "trf_blocks.2"]
    for plan in plans(48, 50):
        report = parameter_report(XL, plan)
        assert [part for row in fold(report) for part in row.parts] == [*part_names(48)]
        for row in fold(report):
            count = report.count(*row.parts)
            assert (row.name, row.parameters, row.trainable) == (
                count.part,
                count.parameters,
                count.trainable,
            )
            assert {plan.state(part) for part in row.parts} == {row.state}


def test_each_box_holds_its_figures_between_the_input_at_the_bottom_and_the_output_at_the_top():
    for plan in plans(12, 20):
        drawing, reach = draw(plan), gradient_reach(plan)
        boxes = [extent(box) for box in elements(drawing, "rect", rx="8")]
        heights = {words_of(text): float(text.get("y")) for text in elements(drawing, "text")}
        ways = [
            float(re.search("V([0-9.]+)", p.get("d"))[1])
            for p in elements(drawing, "path", **{"class": "way"})
        ]
        order = [
            heights["the last token's logits"],
            *(box[1] for box in boxes),
            heights["token ids (1, 4)"],
        ]
        assert order == sorted(order) and ("no gradient" in heights) == (reach.lowest is None)
        rows = reversed(fold(parameter_report(CFG, plan), SHAPES))
        for row, (left, top, right, bottom) in zip(rows, boxes, strict=True):
            ends, crossed = {*row.parts} & {*reach.ends}, {*row.parts} <= {*reach.crossed}
            texts = [
                text for text in elements(drawing, "text") if top < float(text.get("y")) < bottom
            ]
            assert [words_of(text) for text in texts if words_of(text)] == [
                row.title, row.name, f"{row.parameters:,}", row.state, f"→ {row.shape}",
                *(["ends here"] if ends else ["crosses"] if crossed else []),
            ]  # fmt: skip
            places = [
                (left < float(text.get("x")) < right, text.get("class")) for text in texts[:5]
            ]
            assert places == [(True, None)] * 4 + [
                (False, "ink")
            ]  # ink is what a dark theme turns light
            assert [top < way < bottom for way in ways].count(True) == len(ends)


def test_the_four_states_differ_without_any_colour():
    plan = BOOK.toggle("trf_blocks.3.att").adapt("trf_blocks.5")
    drawing = draw_classifier(parameter_report(CFG, plan))
    boxes = [elements(drawing, "rect", fill=fill)[0] for fill in FILL.values()]
    assert len({box.get("stroke-dasharray") for box in boxes}) == len({*MARK.values()}) == 4
    marks = {
        state: {
            re.sub(r"^M[\d.]+,[\d.]+", "", mark.get("d"))  # its strokes, wherever it stands
            for mark in elements(drawing, "path", stroke=colour)
        }
        for state, colour in EDGE.items()
    }
    frozen, trainable = marks["frozen"], marks["trainable"]
    assert len(frozen) == len(trainable) == 1 and frozen != trainable
    assert marks["partly trainable"] == frozen | trainable
    assert marks["frozen with an adapter"] > frozen
    assert marks["frozen with an adapter"].isdisjoint(trainable)


@pytest.mark.parametrize(
    "text",
    [
        "</text><script>alert(1)</script>]]> <!-- &#0; &amp;\"'",
        "a\x00b\x07\x1b[31m\x7f\n\t\r \u202eright\u2028to\ufeff left\ufffe\uffff",
        "💰 👩‍👩‍👧 e\u0301\u0302\u0303 ﷽ 数字と仮名 한국어",
        "=" * 900,
    ],
)
def test_whatever_is_typed_is_shown_as_text_and_what_finds_no_room_is_counted(text):
    for number in (1, 12, 1024):
        tokens = (tokens_of(text) * number)[:number]
        drawing = draw(tokens=tokens)
        chips = elements(drawing, "rect", fill=CHIP)
        said = written(drawing)[written(drawing).index("token ids (1, 4)") + 1 :]
        shown = [token if len(token) <= 24 else f"{token[:23]}…" for token in tokens[: len(chips)]]
        assert shown and said[: len(chips)] == shown and len({chip.get("y") for chip in chips}) <= 3
        assert (f"… {number - len(chips):,} more" in said) == (len(chips) < number)
        check_that_all_can_be_seen(drawing)


def test_nothing_is_drawn_outside_the_picture_or_over_another_text():
    tokens, many = (
        tokens_of("Do you have time" * 20),
        diagrams.say_probabilities(torch.full((1000,), 0.001)),
    )
    for cfg, shapes in ((CFG, SHAPES), (XL, LARGEST), (XL, ())):
        for plan in plans(cfg["n_layers"], 6):
            report = parameter_report(cfg, plan)
            for reach in (None, gradient_reach(plan)):
                check_that_all_can_be_seen(
                    draw_classifier(report, shapes, tokens, reach=reach, answer=many)
                )
    some = (diagrams.figure_6_12(), diagrams.figure_6_13(), diagrams.draw_share(report))
    for drawing in (*some, *LORA):
        check_that_all_can_be_seen(drawing)


@pytest.mark.parametrize(
    ("plan", "blocks"),
    [(BOOK, 11), (FreezePlan.head_only(12), 12), (FreezePlan(12, {"trf_blocks.0"}), 0)],
)
def test_the_line_of_what_is_cached_lies_right_below_the_lowest_trainable_part(plan, blocks):
    assert frozen_blocks(plan) == blocks
    drawing = draw_classifier(
        parameter_report(CFG, plan), SHAPES, reach=gradient_reach(plan), cached=blocks
    )
    check_that_all_can_be_seen(drawing)
    (line,) = [e for e in elements(drawing, "path") if e.get("stroke-dasharray") == "2 3"]
    y = float(re.match(r"M[\d.]+,([\d.]+)H", line.get("d"))[1])
    boxes = [e for e in elements(drawing, "rect") if e.get("stroke-width") == "2"]
    rows = list(zip(boxes, reversed(fold(parameter_report(CFG, plan), SHAPES)), strict=True))
    above = {part for box, row in rows if float(box.get("y")) < y for part in row.parts}
    assert above == set(part_names(12)[2 + blocks :])
    assert drawing.words.endswith(f"the embeddings and {blocks} blocks")


def test_the_bar_is_as_long_as_the_trainable_share():
    for report in (parameter_report(CFG, plan) for plan in plans(12, 5)):
        whole, share = elements(diagrams.draw_share(report), "rect")
        assert float(share.get("width")) / float(whole.get("width")) == pytest.approx(
            report.percent / 100, abs=1e-3
        )


def test_who_cannot_see_the_picture_hears_all_that_is_in_it():
    said_as = {"crosses": "crossed by the gradient", "ends here": "where the gradient ends"}
    for drawing in [diagrams.figure_6_12(), *LORA, *map(draw, plans(12, 30))]:
        for words in {*written(drawing)} - {
            "loss",
            "no gradient",
            "token ids",
        }:  # which carry no figure
            assert said_as.get(words, words.removeprefix("→ ")) in drawing.words
        assert elements(drawing, "svg", role="img")[0].get("aria-label") == drawing.words.replace(
            "\n", " "
        )
        assert (drawing._repr_svg_(), repr(drawing)) == (drawing.svg, drawing.words)
    assert (
        "(trf_blocks.11): 7,087,872 parameters, trainable, puts out (1, 4, 768), "
        "where the gradient ends\n"
    ) in draw().words
    assert (
        "the head is instead of the language-model head: 768 → 50,257"
        in diagrams.figure_6_13().words
    )


def test_a_sentence_says_how_far_the_gradient_goes():
    def said(*trainable):
        return diagrams.say_reach(gradient_reach(FreezePlan(12, frozenset(trainable))))

    assert said("pos_emb").endswith(
        "pos_emb, the lowest part that learns; on its way down it crosses 12 blocks."
    )
    assert "The gradient ends in tok_emb and pos_emb, the lowest parts that learn;" in said(
        "tok_emb", "pos_emb"
    )
    assert said("trf_blocks.10.ff").endswith("it crosses 1 block.") and said("out_head").endswith(
        "crosses no block."
    )
    assert said() == "Nothing learns, so there is no backward pass."


def test_an_answer_names_ham_and_spam_and_of_more_classes_the_likeliest():
    assert diagrams.say_probabilities(torch.tensor([0.53, 0.47])) == "ham 0.53, spam 0.47"
    assert diagrams.say_probabilities(torch.tensor([0.2, 0.3, 0.5])) == "class 2: 0.50"


def test_the_picture_of_lora_has_the_models_own_sizes_and_counts():
    for name, rank, matrix in (
        ("gpt2-nano (12M)", 4, "att.out_proj"),
        ("gpt2-small (124M)", 8, "ff.layers.0"),
    ):
        cfg = gpt_config(name)
        model = FreezePlan.lora(cfg["n_layers"], 1, rank).apply(classifier_without_weights(cfg))
        layer = model.trf_blocks[-1].get_submodule(matrix)
        a, b = layer.lora_A.default.weight, layer.lora_B.default.weight
        learn = a.numel() + b.numel()
        drawing = figure_lora(cfg, rank, matrix=matrix)
        said = written(drawing)
        assert said[0].endswith(
            f"{learn:,} parameters learn beside {layer.weight.numel():,} frozen ones"
        )
        for letter, tensor in (("A", a), ("B", b)):
            (out, into) = tensor.shape
            i = said.index(f"{letter}: {out:,} × {into:,}")
            assert said[i + 1] == f"{tensor.numel():,} parameters"
        assert {"{:,} × {:,}".format(*layer.weight.shape), f"{rank} numbers"} <= {*said}
        assert f"= 16 / {rank} = {16 / rank:g}" in drawing.svg
        block = list(model.trf_blocks[-1].parameters())
        learning = sum(p.numel() for p in block if p.requires_grad)
        of = sum(p.numel() for p in block)
        assert (
            said[-1] == f"all six matrices of a block: {learning:,} of its {of:,} parameters learn"
        )
    heights = {words_of(text): float(text.get("y")) for text in elements(drawing, "text")}
    x, out = (
        next(y for words, y in heights.items() if words.startswith(w)) for w in ("x:", "W x +")
    )
    assert x > heights["A"] > heights["B"] > heights["+"] > out
    (box,) = elements(drawing, "rect", rx="8")
    shapes = [shape for shape in elements(drawing, "polygon") if shape.get("stroke")]
    assert box.get("fill") == FILL["frozen"] and len(shapes) == 2
    assert {shape.get("fill") for shape in shapes} == {FILL["trainable"]}


# --- colours --------------------------------------------------------------------------------------

DEUTERANOPIA = np.array(  # Machado, Oliveira & Fernandes 2009, severity 1
    [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ]
)
XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
)  # of sRGB


def linear(colour: str) -> np.ndarray:
    rgb = np.array(to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def contrast(a: str, b: str) -> float:
    """WCAG 2.2: 1 … 21."""
    low, high = sorted((XYZ @ linear(colour))[1] for colour in (a, b))
    return (high + 0.05) / (low + 0.05)


def difference(a: str, b: str, eyes: np.ndarray) -> float:
    """CIE 1976, in L*a*b* for D65: about 2 is just seen; black and white are 100 apart."""
    t = np.array([XYZ @ np.clip(eyes @ linear(colour), 0, 1) for colour in (a, b)]) / [
        0.9505,
        1.0,
        1.089,
    ]
    x, y, z = np.subtract(
        *np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    )
    return float(np.linalg.norm([116 * y, 500 * (x - y), 200 * (y - z)]))


def test_texts_and_borders_stand_out_from_what_they_lie_on():
    assert (
        contrast("black", "white") == pytest.approx(21)
        and 4.53 < contrast("#767676", "white") < 4.55
    )
    for state, fill in FILL.items():
        assert min(contrast(EDGE[state], ground) for ground in (fill, PAPER, DARK)) >= 3
    assert contrast(EDGE["trainable"], FILL["frozen"]) >= 3  # the bar
    on_paper = [(INK, PAPER), (WAY, PAPER), (WAY_ON_DARK, DARK)]
    for text, ground in on_paper + [(TEXT, ground) for ground in (CHIP, *FILL.values())]:
        assert contrast(text, ground) >= 4.5


@pytest.mark.parametrize(
    "eyes", [np.eye(3), DEUTERANOPIA], ids=["with any eyes", "with deuteranopia"]
)
def test_the_states_differ_in_colour(eyes):
    assert difference("black", "white", eyes) == pytest.approx(100, abs=0.1)
    for colours in (FILL.values(), EDGE.values()):
        assert min(difference(a, b, eyes) for a, b in combinations(colours, 2)) >= 10


def test_the_controls_take_the_pictures_colours():
    used = re.findall(r"var\((--fx-[\w-]+)\)", (ASSETS / "widgets.css").read_text(encoding="utf-8"))
    colours = dict(re.findall(r"(--fx-[\w-]+): (#\w+);", diagrams.css_colours()))
    assert {*used} <= {*colours} and {*FILL.values(), *EDGE.values(), WAY_ON_DARK} <= {
        *colours.values()
    }


def test_the_curves_carry_their_values_and_both_axes():
    figure = diagrams.plot_values(
        [0, 1, 2], [0, 80, 160], [0.9, 0.5, 0.2], [0.8, 0.6, 0.5], label="loss"
    )
    below, above = figure.axes
    assert [line.get_label() for line in below.lines] == ["training loss", "validation loss"]
    assert below.lines[1].get_ydata().tolist() == [0.8, 0.6, 0.5]
    assert (below.get_xlabel(), below.get_ylabel(), above.get_xlabel()) == (
        "epochs",
        "loss",
        "examples seen",
    )
