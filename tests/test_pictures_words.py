"""The nearest tokens and the map of words are the embedding's own, and what section 6.4 says of them."""

import re

import pytest
import torch
from torch.nn import functional as F

from helpers.loading import load_pretrained
from helpers.tokenizer import get_tokenizer
from tests.drawings import (
    check_that_all_can_be_seen,
    check_that_no_words_overlap,
    elements,
    extent,
    words_of,
    written,
)
from workshop.pictures.charts import MAP, draw_nearest, draw_words, nearest_tokens, word_id

NANO, TOKENIZER = load_pretrained("gpt2-nano (12M)"), get_tokenizer()
GROUPS = {
    "days": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
    "family": ["mother", "father", "sister", "brother", "husband", "wife", "daughter", "son"],
    "numbers": ["two", "three", "four", "five", "six", "seven", "eight", "ten"],
    "cities": ["London", "Paris", "Seattle", "Toronto", "Sydney", "Chicago", "Boston"],
}
WORDS = [word for words in GROUPS.values() for word in words]
SHOWN = ["Monday", "mother", "dinner", "u", "win", "£"]


def rows(words) -> torch.Tensor:
    ids = [TOKENIZER.encode(f" {word}")[0] for word in words]
    return F.normalize(NANO.tok_emb.weight.detach()[ids].double(), dim=-1)


def mean_cosine(one: str, other: str) -> float:
    pairs = [(a, b) for a in GROUPS[one] for b in GROUPS[other] if a != b]
    return sum(float(x @ y) for x, y in (rows(pair) for pair in pairs)) / len(pairs)


# --- the nearest ones -----------------------------------------------------------------------------


def test_the_nearest_tokens_are_those_that_comparing_with_every_row_finds():
    weight = NANO.tok_emb.weight.detach().double()
    for word in ("Monday", "lose"):
        (token_id,) = TOKENIZER.encode(f" {word}")
        cosines = F.cosine_similarity(weight, weight[token_id : token_id + 1], dim=-1)
        order = cosines.argsort(descending=True).tolist()
        assert order[0] == token_id
        found = nearest_tokens(NANO, word, 8)
        expected = [TOKENIZER.decode([i]).replace(" ", "␣") for i in order[1:9]]
        assert [token for token, _ in found] == expected
        assert [cosine for _, cosine in found] == pytest.approx(cosines[order[1:9]].tolist())


def test_the_neighbours_are_those_that_section_6_4_names():
    days = {token for token, _ in nearest_tokens(NANO, "Monday", 6)}
    assert days == {f"␣{day}" for day in GROUPS["days"]} - {"␣Monday"}
    assert nearest_tokens(NANO, "win", 2)[1][0] == "␣lose"
    assert nearest_tokens(NANO, "u", 1)[0][0] == "␣you"
    token, cosine = nearest_tokens(NANO, "£", 1)[0]
    assert token == "␣€" and cosine > 0.95


def test_the_picture_has_a_bar_and_a_figure_for_each_neighbour():
    drawing = draw_nearest(NANO, SHOWN)
    check_that_all_can_be_seen(drawing)
    check_that_no_words_overlap(drawing)
    found = [pair for word in SHOWN for pair in nearest_tokens(NANO, word)]
    figures = [words for words in written(drawing) if re.fullmatch(r"\d\.\d\d", words)]
    assert figures == [f"{cosine:.2f}" for _, cosine in found]
    bars = [float(bar.get("width")) / 60 for bar in elements(drawing, "rect", height="14")]
    assert bars == pytest.approx([cosine for _, cosine in found], abs=0.006)
    for token, cosine in found:
        assert token in written(drawing) and f"{token} {cosine:.2f}" in drawing.words


# --- the map --------------------------------------------------------------------------------------


def test_words_lie_on_the_map_where_their_rows_lie_along_the_two_main_directions():
    drawing = draw_words(NANO, GROUPS)
    check_that_all_can_be_seen(drawing)
    check_that_no_words_overlap(drawing)
    centred = rows(WORDS) - rows(WORDS).mean(dim=0)
    _, sizes, axes = torch.linalg.svd(centred, full_matrices=False)
    share = sizes[:2].square().sum() / sizes.square().sum()
    assert f"these two carry {share:.0%} of the variance" in written(drawing)
    assert f"{share:.0%}" == "48%"
    said = re.findall(r"(\w+) (\d+) % across, (\d+) % up", drawing.words)
    assert [word for word, _, _ in said] == WORDS
    _, _, width, height = MAP
    shown = torch.tensor([(int(x) * width, int(y) * height) for _, x, y in said]).double() / 100
    true = centred @ axes[:2].T
    scale = torch.pdist(shown).max() / torch.pdist(true).max()
    # distances stay as they are, whatever the directions' signs; a hundredth is 4 to 6 pixels
    assert (torch.pdist(shown) - scale * torch.pdist(true)).abs().max() < 10


def test_every_word_has_a_mark_of_its_group_and_stands_near_it():
    drawing = draw_words(NANO, GROUPS)
    left, top, width, height = MAP
    shapes = [
        elements(drawing, "circle"),
        [r for r in elements(drawing, "rect") if r.get("width") == "8"],
        elements(drawing, "polygon", fill="#007a5a"),
        elements(drawing, "polygon", fill="#a3326e"),
    ]
    assert [len(found) - 1 for found in shapes] == [len(words) for words in GROUPS.values()]
    places = {words_of(text): extent(text) for text in elements(drawing, "text")}
    for found, words in zip(shapes, GROUPS.values(), strict=True):
        for mark, word in zip(found[1:], words, strict=True):
            x, y = ((a + b) / 2 for a, b in zip(extent(mark)[:2], extent(mark)[2:], strict=True))
            start, upper, end, lower = places[word]
            away = max(start - x, x - end, 0) + max(upper - y, y - lower, 0)
            assert away < 60 and left < x < left + width and top < y < top + height


def test_groups_keep_together_as_section_6_4_says():
    for name in GROUPS:
        others = [mean_cosine(name, other) for other in GROUPS if other != name]
        assert mean_cosine(name, name) > 0.55 and max(others) < 0.3
    assert round(mean_cosine("days", "days"), 2) == 0.74
    assert round(mean_cosine("days", "cities"), 2) == 0.29


@pytest.mark.parametrize(
    "groups",
    [
        {"a": ["two", "three", "four"]},
        {"a": ["two", "two", "three"]},
        {"many": WORDS * 3},
        {str(i): ["two", "five", "Sunday"] for i in range(5)},
    ],
)
def test_other_words_have_their_map_too(groups):
    drawing = draw_words(NANO, groups)
    (svg,) = elements(drawing, "svg", role="img")
    _, _, width, height = map(float, svg.get("viewBox").split())
    for text in elements(drawing, "text"):  # so many that some may lie on others
        left, top, right, bottom = extent(text)
        assert left >= 0 and top >= 0 and right <= width and bottom <= height


# --- what can't be drawn --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: word_id("tinyurl", TOKENIZER), ValueError, "'tinyurl' is 2 tokens; give a word"),
        (lambda: word_id("  ", TOKENIZER), ValueError, "must have a letter, not '  '"),
        (lambda: word_id(5, TOKENIZER), TypeError, "a word must be a text, not 5"),
        (lambda: nearest_tokens(NANO, "two", 0), ValueError, "count must be .* not 0"),
        (lambda: nearest_tokens(5, "two"), TypeError, "model must be a GPTModel"),
        (lambda: draw_nearest(NANO, []), ValueError, "no word to draw"),
        (lambda: draw_nearest(NANO, "two"), TypeError, "words must be a list of words"),
        (lambda: draw_words(NANO, {}), ValueError, "1 to 5 groups, not 0"),
        (lambda: draw_words(NANO, {"a": ["two", "six"]}), ValueError, "three words, not 2"),
        (lambda: draw_words(NANO, {"a": ["two"] * 4}), ValueError, "all alike"),
        (lambda: draw_words(NANO, ["two"]), TypeError, "groups must be a dictionary"),
        (lambda: draw_words(NANO, {"a": ["two", "six", "tinyurl"]}), ValueError, "2 tokens"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_a_sentence(call, error, words):
    with pytest.raises(error, match=words):
        call()
