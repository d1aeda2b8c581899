"""The pictures of messages hold the data's own numbers, and what sections 6.2 and 6.3 say of them."""

import random
import re
from statistics import median

import pandas as pd
import pytest

from helpers.data import create_balanced_dataset, load_messages, load_splits, random_split
from helpers.tokenizer import get_tokenizer
from tests.drawings import (
    check_that_all_can_be_seen,
    check_that_no_words_overlap,
    elements,
    words_of,
    written,
)
from workshop.pictures.charts import (
    BAR_LEFT,
    BAR_WIDTH,
    BATCH_WIDTH,
    PADDING,
    PANEL,
    TOKENS,
    batch_widths,
    bin_size,
    counted,
    draw_batch,
    draw_chances,
    draw_lengths,
    draw_padding,
    draw_splits,
    share_of_padding,
)
from workshop.pictures.svg import INK

PARTS = dict(zip(("training", "validation", "test"), load_splits("sms-mini"), strict=True))
LENGTHS = [len(get_tokenizer().encode(text)) for text in PARTS["training"]["Text"]]


def numbers(pattern: str, text: str) -> list[int]:
    return [int(number.replace(",", "")) for number in re.findall(pattern, text)]


def x_of(element) -> float:
    """The middle of a disc, a square or a centred text."""
    if "width" in element.attrib:
        return float(element.get("x")) + float(element.get("width")) / 2
    return float(element.get("cx") or element.get("x"))


def check(drawing) -> None:
    check_that_all_can_be_seen(drawing)
    check_that_no_words_overlap(drawing)
    (svg,) = elements(drawing, "svg", role="img")
    assert svg.get("aria-label").split() == drawing.words.split()


# --- splits ---------------------------------------------------------------------------------------


def test_the_picture_of_the_parts_counts_their_ham_and_spam():
    drawing = draw_splits(PARTS)
    check(drawing)
    for name, part in PARTS.items():
        spam = int(part["Label"].sum())
        ham = len(part) - spam
        assert {f"{ham} ham", f"{spam} spam"} <= {*written(drawing)}
        assert f"{name}: {len(part)} messages, {ham} ham, {spam} spam" in drawing.words
        assert f"{name}: {len(part)} messages, {spam / len(part):.1%} spam" in written(drawing)
    bars = [
        (float(r.get("x")), float(r.get("width"))) for r in elements(drawing, "rect", height="30")
    ]
    assert [round(width / BAR_WIDTH, 2) for _, width in bars[::2]] == [0.49, 0.41, 0.56]  # of ham
    assert all(x + width == BAR_LEFT + BAR_WIDTH for x, width in bars[1::2])


def test_the_parts_are_about_as_long_in_words_as_section_6_2_says():
    drawing = draw_splits(PARTS)
    middles = [median(len(text.split()) for text in part["Text"]) for part in PARTS.values()]
    assert numbers(r"median (\d+);", drawing.words) == middles == [21, 20, 19]


@pytest.fixture(scope="module")
def draws():
    balanced = create_balanced_dataset(load_messages("sms-mini"))
    numbered = balanced.assign(Label=balanced["Label"].map({"ham": 0, "spam": 1}))
    return {seed: random_split(numbered, 0.7, 0.1, seed) for seed in range(100, 140)}


def test_there_is_a_mark_for_each_split_where_its_share_of_spam_is(draws):
    drawing = draw_chances(draws, marked=123)
    check(drawing)
    squares = elements(drawing, "rect", stroke=INK)
    assert len(squares) == 3 and len(elements(drawing, "circle")) == 3 * 39
    ticks = {words: x_of(e) for e in elements(drawing, "text") if (words := words_of(e))[-1] == "%"}
    zero, per_percent = ticks["50 %"], (ticks["55 %"] - ticks["50 %"]) / 5
    marks = [*elements(drawing, "circle"), *squares]
    shown = sorted(round(50 + (x_of(mark) - zero) / per_percent) for mark in marks)
    shares = [100 * part["Label"].mean() for parts in draws.values() for part in parts]
    assert all(abs(a - b) <= 0.6 for a, b in zip(shown, sorted(shares), strict=True))
    assert [round(50 + (x_of(square) - zero) / per_percent) for square in squares] == [51, 59, 44]
    assert numbers(r"with seed 123: (\d+) %", drawing.words) == [51, 59, 44]
    assert sum(numbers(r" %: (\d+)[,;]", drawing.words)) == 3 * 40


def test_chance_strays_as_far_in_each_part_as_section_6_2_says(draws):
    lines = draw_chances(draws, marked=123).words.splitlines()[1:]
    found = [numbers(r"(\d+) %:", line) for line in lines]
    assert [(min(part), max(part)) for part in found] == [(48, 52), (39, 61), (44, 55)]
    far = [abs(parts[1]["Label"].mean() - 0.5) for parts in draws.values()]
    assert sum(stray >= 0.09 for stray in far) <= 5  # the book's seed is one of these


@pytest.mark.parametrize("labels", [[0], [1], [0, 1], [1] * 40])
def test_a_part_of_one_class_or_of_one_message_is_drawn_too(labels):
    part = pd.DataFrame({"Label": labels, "Text": ["a b c"] * len(labels)})
    check(draw_splits({"training": part}))
    check(draw_chances({1: [part], 2: [part]}, marked=2, names=["training"]))


# --- lengths --------------------------------------------------------------------------------------


def test_the_histogram_counts_every_message_once():
    drawing = draw_lengths(LENGTHS)
    check(drawing)
    bins = drawing.words.split("messages of ")[1]
    found = [tuple(map(int, bin)) for bin in re.findall(r"(\d+) to (\d+): (\d+)", bins)]
    assert sum(count for _, _, count in found) == len(LENGTHS)
    for low, high, count in found:
        assert count == sum(low <= length <= high for length in LENGTHS)
    bars = [float(bar.get("height")) for bar in elements(drawing, "rect", fill=TOKENS)]
    shown = [count for _, _, count in found if count]
    assert [round(bar / max(bars) * max(shown)) for bar in bars] == shown
    assert {"median 31", "longest 82"} <= {*written(drawing)}
    assert sum(length >= 65 for length in LENGTHS) == 25  # as section 6.3 says


@pytest.mark.parametrize("lengths", [[1], [1, 1], [5] * 1000, [1, 1024], list(range(1, 300))])
def test_any_lengths_can_be_drawn(lengths):
    check_that_all_can_be_seen(draw_lengths(lengths))


def test_bins_are_round_and_few():
    for largest in (1, 19, 20, 82, 1024, 50_000):
        size = bin_size(largest)
        assert len(counted([largest], size)) <= 20
    assert (bin_size(19), bin_size(20), bin_size(82)) == (1, 2, 5)


# --- batches --------------------------------------------------------------------------------------


def test_a_row_of_a_batch_is_as_dark_as_its_message_is_long():
    drawing = draw_batch(LENGTHS[:8], 82)
    check(drawing)
    dark, light = (
        [float(r.get("width")) for r in elements(drawing, "rect", fill=colour, height="18")]
        for colour in (TOKENS, PADDING)
    )
    assert [round(width / BATCH_WIDTH * 82) for width in dark] == LENGTHS[:8] and light == [
        BATCH_WIDTH
    ] * 8
    assert numbers(r": (\d+) tokens", drawing.words) == LENGTHS[:8]
    assert [f"{n} + {82 - n}" for n in LENGTHS[:8]] == [w for w in written(drawing) if " + " in w]
    share = 1 - sum(LENGTHS[:8]) / (8 * 82)
    assert f"{share:.0%} padding" in drawing.words and f"{share:.0%}" == "62%"


def test_padding_costs_as_much_as_section_6_3_says():
    drawing = draw_padding(LENGTHS, 8)
    check(drawing)
    assert numbers(r"and (\d+)% padding", drawing.words) == [60, 44, 1]
    assert [w.split(": ")[1] for w in written(drawing) if w.endswith("%")] == ["60%", "44%", "1%"]
    shares = []
    for seed in range(50):  # the order in which messages meet is chance
        lengths = random.Random(seed).sample(LENGTHS, len(LENGTHS))
        shares.append(share_of_padding(lengths, batch_widths(lengths, 8)))
    assert min(shares) > 0.425 and max(shares) < 0.465


def test_a_batch_is_as_wide_as_its_longest_message():
    assert batch_widths([3, 1, 2, 5, 4], 2) == [3, 3, 5, 5, 4]
    assert batch_widths([3, 1, 2], 8) == [3, 3, 3]
    assert share_of_padding([1, 3], [3, 3]) == pytest.approx(1 / 3)


def test_the_silhouettes_are_as_wide_as_their_rows():
    drawing = draw_padding([1, 4, 2, 2], 2)
    light, dark = (
        [path.get("d") for path in elements(drawing, "path", fill=colour)]
        for colour in (PADDING, TOKENS)
    )
    edges = [[float(x) for x in re.findall(r"H([\d.]+)", path)][:-1] for path in light + dark]
    lefts = [float(re.match(r"M([\d.]+)", path)[1]) for path in light + dark]
    rows = [
        [round((edge - left) / PANEL * 4) for edge in found]
        for left, found in zip(lefts, edges, strict=True)
    ]
    assert rows[:3] == [[4], [4, 2], [2, 4]]  # a row as wide as the one above needs no new edge
    assert rows[3:] == [[1, 4, 2], [1, 4, 2], [1, 2, 4]]


# --- what can't be drawn --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: draw_splits({}), ValueError, "no part to draw"),
        (
            lambda: draw_splits({"a": PARTS["test"][:0]}),
            ValueError,
            "the part 'a' holds no message",
        ),
        (lambda: draw_splits({"a": [1]}), TypeError, "a must be a table"),
        (lambda: draw_chances({}, 123), ValueError, "no split has the seed 123; there are none"),
        (
            lambda: draw_chances({1: [PARTS["test"][:0]]}, 1, ["test"]),
            ValueError,
            "the part 'test' holds no message",
        ),
        (
            lambda: draw_splits({"test": PARTS["test"].replace({"Label": {0: "ham", 1: "spam"}})}),
            ValueError,
            r"part 'test' must be 0 \(ham\) or 1 \(spam\), not '(ham|spam)'",
        ),
        (
            lambda: draw_chances({1: [PARTS["test"].assign(Label="ham")]}, 1, ["test"]),
            ValueError,
            "must be 0 .* not 'ham'",
        ),
        (lambda: draw_chances({1: [PARTS["test"]]}, 1), ValueError, "1 parts, but .* 3 names"),
        (
            lambda: draw_splits({"test": PARTS["test"][["Text"]]}),
            ValueError,
            "part 'test' has no column 'Label'",
        ),
        (
            lambda: draw_splits({"test": PARTS["test"].assign(Text=None)}),
            TypeError,
            "a message must be a text, not None",
        ),
        (lambda: draw_splits(list(PARTS.values())), TypeError, "parts must be a dictionary"),
        (lambda: draw_lengths([]), ValueError, "no lengths to draw"),
        (lambda: draw_lengths([3, 0]), ValueError, "length 2 must be a whole number from 1, not 0"),
        (lambda: draw_lengths([2.5]), ValueError, "length 1 must be a whole number"),
        (lambda: draw_batch([], 5), ValueError, "no lengths to draw"),
        (lambda: draw_batch([7], 5), ValueError, "width must be a whole number from 7"),
        (lambda: draw_padding([7], 0), ValueError, "batch_size must be a whole number from 1"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_a_sentence(call, error, words):
    with pytest.raises(error, match=words):
        call()
