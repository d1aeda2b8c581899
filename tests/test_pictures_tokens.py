"""A text is drawn as the tokenizer's own tokens, each with its id, and whatever it is as text."""

import pytest

from helpers.tokenizer import get_tokenizer, visible_tokens
from tests.drawings import (
    check_that_all_can_be_seen,
    check_that_no_words_overlap,
    elements,
    written,
)
from workshop.pictures.message import draw_tokens
from workshop.pictures.svg import CHIP_FILL

TOKENIZER = get_tokenizer()
TEXTS = (
    "Do you have time",
    "do u hav time",
    "Congratulations!! tinyurl 💰",
    "</text><script>alert(1)</script> &amp;",
    "数字と仮名 한국어 ﷽",
    "a\x00b\n\t\u202eright",
    "x" * 300,
    "word " * 400,
)


@pytest.mark.parametrize("text", TEXTS)
def test_each_token_has_a_box_with_its_id_below_it(text):
    drawing = draw_tokens([text])
    check_that_all_can_be_seen(drawing)
    check_that_no_words_overlap(drawing)
    ids = TOKENIZER.encode(text)
    chips = elements(drawing, "rect", fill=CHIP_FILL)
    said, number = written(drawing), len(chips)
    assert said[0] == f"{len(ids):,} tokens" and drawing.words.startswith(said[0])
    tokens = [t if len(t) <= 24 else f"{t[:23]}…" for t in visible_tokens(ids, TOKENIZER)]
    pairs = zip(said[1 : 1 + 2 * number : 2], said[2 : 2 + 2 * number : 2], strict=True)
    assert [*pairs] == [(t, str(i)) for t, i in zip(tokens, ids, strict=True)][:number]
    assert (f"… {len(ids) - number:,} more" in said) == (number < len(ids))
    for token, token_id in list(zip(visible_tokens(ids, TOKENIZER), ids, strict=True))[:number]:
        assert f"{token} {token_id}" in drawing.words


def test_a_piece_that_goes_on_with_a_word_has_a_dashed_border_and_is_said_to():
    drawing = draw_tokens(["do u hav time", "Congratulations!! tinyurl"])
    dashed = [chip.get("stroke-dasharray") for chip in elements(drawing, "rect", fill=CHIP_FILL)]
    pieces = ["do", "␣u", "␣ha", "v", "␣time", "Congratulations", "!!", "␣tiny", "url"]
    shown = [words for words in written(drawing) if words in pieces]
    assert shown == pieces
    assert [p for p, dash in zip(pieces, dashed, strict=True) if dash] == ["v", "url"]
    assert drawing.words.count("goes on with the word before it") == 2
    assert "dashed" not in draw_tokens(["Do you have time"]).svg.replace("dasharray", "")


def test_a_letter_in_a_hurry_makes_more_tokens_as_section_6_3_says():
    assert len(TOKENIZER.encode("do u hav time")) == len(TOKENIZER.encode("Do you have time")) + 1
    money = [TOKENIZER.decode_single_token_bytes(i) for i in TOKENIZER.encode(" 💰")]
    assert len(money) == 3 and b"".join(money) == b" \xf0\x9f\x92\xb0"


@pytest.mark.parametrize(
    ("texts", "error", "words"),
    [
        ([], ValueError, "no text to draw"),
        (["  "], ValueError, "the message is empty"),
        ("Do you", TypeError, "texts must be a list of texts"),
        ([5], TypeError, "a message must be a text, not 5"),
    ],
)
def test_what_is_no_text_is_refused_in_a_sentence(texts, error, words):
    with pytest.raises(error, match=words):
        draw_tokens(texts)
