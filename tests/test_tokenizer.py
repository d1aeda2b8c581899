"""The tokenizer is GPT-2's, from the two bundled files."""

import json
import shutil

import pytest
import torch
from transformers import GPT2Tokenizer

from helpers.config import BUNDLED_CHECKPOINT
from helpers.tokenizer import (
    encode_message,
    get_tokenizer,
    text_to_token_ids,
    token_ids_to_text,
    visible_tokens,
)

TEXTS = [
    "Do you have time",
    "I'll can't won't we're",
    "WINNER!! £1,000 💰💰 text 07700 900123",
    "naïve café — 数字 ١٢٣\n\n  two  spaces\ttab ",
    "<b>markup</b> &amp; \\n",
]


def test_the_prompt_of_the_book_has_the_ids_of_the_book():
    ids = text_to_token_ids("Do you have time")
    assert ids.tolist() == [[5211, 345, 423, 640]] and ids.dtype == torch.long


@pytest.mark.parametrize("text", TEXTS)
def test_ids_equal_those_of_an_independent_implementation_and_decode_to_the_text(text):
    other = GPT2Tokenizer(
        str(BUNDLED_CHECKPOINT / "encoder.json"), str(BUNDLED_CHECKPOINT / "vocab.bpe")
    )
    ids = text_to_token_ids(text)
    assert ids[0].tolist() == other(text)["input_ids"]
    assert token_ids_to_text(ids) == text


def test_end_of_text_is_one_token_in_a_prompt_and_plain_characters_in_a_message():
    assert text_to_token_ids("a<|endoftext|>").tolist() == [[64, 50256]]
    ids = encode_message("a<|endoftext|>", get_tokenizer())
    assert 50256 not in ids and get_tokenizer().decode(ids) == "a<|endoftext|>"
    assert get_tokenizer().n_vocab == 50257


@pytest.mark.parametrize("message", ["", "   ", "\n\t"])
def test_an_empty_message_is_refused(message):
    with pytest.raises(ValueError, match="the message is empty"):
        encode_message(message, get_tokenizer())


def test_a_message_must_be_a_text():
    with pytest.raises(TypeError, match="nan"):
        encode_message(float("nan"), get_tokenizer())


def test_tables_that_disagree_are_refused(tmp_path):
    shutil.copy(BUNDLED_CHECKPOINT / "encoder.json", tmp_path)
    lines = (BUNDLED_CHECKPOINT / "vocab.bpe").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "vocab.bpe").write_text(
        "".join([lines[0], lines[2], lines[1], *lines[3:]]), encoding="utf-8"
    )
    with pytest.raises(ValueError, match="merge 0 of vocab.bpe"):
        get_tokenizer(tmp_path)


def test_a_table_of_another_model_is_refused(tmp_path):
    (tmp_path / "encoder.json").write_text(json.dumps({"a": 0}))
    (tmp_path / "vocab.bpe").write_text("#version: 0.2\n")
    with pytest.raises(ValueError, match="is not GPT-2's"):
        get_tokenizer(tmp_path)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="encoder.json"):
        get_tokenizer(tmp_path)


def seen(text: str) -> list[str]:
    return visible_tokens(encode_message(text, get_tokenizer()), get_tokenizer())


def test_a_space_a_control_character_and_half_a_character_can_be_seen():
    assert seen("Do you have time") == ["Do", "␣you", "␣have", "␣time"]
    assert seen("a\n\tb\x00\x1b\u202e\xa0!") == [
        "a",
        "\\n",
        "\\t",
        "b",
        "\\x00",
        "\\x1b",
        *seen("\u202e"),
        "\\xa0",
        "!",
    ]
    assert seen("é数") == ["é", "⟨E6 95⟩", "⟨B0⟩"]
    assert seen("<b>&") == ["<", "b", ">", "&"]


@pytest.mark.parametrize(
    "text",
    [*TEXTS, "💰 \ud83d\ude00 👩\u200d👩\u200d👧", "\x00\x07\u2028\u202e\ufeff\x85 ", "e\u0301 ﷽"],
)
def test_each_token_is_shown_and_nothing_that_cannot_be_seen(text):
    text = text.encode("utf-16", "surrogatepass").decode("utf-16")
    ids = encode_message(text, get_tokenizer())
    shown = visible_tokens(ids, get_tokenizer())
    assert len(shown) == len(ids) and all(
        token.isprintable() and token and " " not in token[:1] for token in shown
    )
    if text.isprintable() and not any("⟨" in token for token in shown):
        assert "".join(shown).replace("␣", " ") == text


def test_every_token_of_the_vocabulary_can_be_seen():
    shown = visible_tokens(list(range(get_tokenizer().n_vocab)), get_tokenizer())
    assert all(token and token.isprintable() for token in shown)
    assert shown[50256] == "<|endoftext|>"
    raw = [get_tokenizer().decode_single_token_bytes(i) for i in range(get_tokenizer().n_vocab)]
    for token, of in zip(shown, raw, strict=True):
        if token.startswith("⟨"):  # the bytes are the token's own
            assert bytes.fromhex(token.strip("⟨⟩")) == of
