"""The tokenizer is GPT-2's, from the two bundled files."""

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

TOKENIZER = get_tokenizer()
TEXTS = [
    "Do you have time",
    "I'll can't won't we're",
    "WINNER!! £1,000 💰💰 text 07700 900123",
    "naïve café — 数字 ١٢٣\n\n  two  spaces\ttab ",
    "<b>markup</b> &amp; \\n",
    "\x00\x07\u2028\u202e\ufeff\x85 e\u0301 ﷽ 👩\u200d👩\u200d👧",
]


def test_ids_equal_the_books_and_those_of_an_independent_implementation_and_decode_to_the_text():
    ids = text_to_token_ids("Do you have time")
    assert ids.tolist() == [[5211, 345, 423, 640]] and ids.dtype == torch.long
    tables = (BUNDLED_CHECKPOINT / name for name in ("encoder.json", "vocab.bpe"))
    other = GPT2Tokenizer(*map(str, tables))
    for text in TEXTS:
        ids = text_to_token_ids(text)
        assert ids[0].tolist() == other(text)["input_ids"] == encode_message(text, TOKENIZER)
        assert token_ids_to_text(ids) == token_ids_to_text(ids[0]) == text


def test_end_of_text_is_one_token_in_a_prompt_and_plain_characters_in_a_message():
    assert text_to_token_ids("a<|endoftext|>").tolist() == [[64, 50256]]
    ids = encode_message("a<|endoftext|>", TOKENIZER)
    assert 50256 not in ids and TOKENIZER.decode(ids) == "a<|endoftext|>"
    assert TOKENIZER.n_vocab == 50257


def test_a_text_on_which_tiktoken_fails_is_read_as_far_as_any_model_can_read():
    ids = encode_message("a" + " " * 999_999 + "b", TOKENIZER)
    assert len(ids) > 1024 and ids[:3] == [64, 220, 220]


def test_a_space_a_control_character_and_half_a_character_can_be_seen():
    def seen(text: str) -> list[str]:
        return visible_tokens(encode_message(text, TOKENIZER), TOKENIZER)

    assert seen("Do you have time") == ["Do", "␣you", "␣have", "␣time"]
    assert seen("a\n\tb\x00\x1b\xa0!") == ["a", "\\n", "\\t", "b", "\\x00", "\\x1b", "\\xa0", "!"]
    assert seen("é数") == ["é", "⟨E6 95⟩", "⟨B0⟩"] and seen("<b>&") == ["<", "b", ">", "&"]


def test_every_token_of_the_vocabulary_can_be_seen():
    shown = visible_tokens(list(range(TOKENIZER.n_vocab)), TOKENIZER)
    assert all(token and token.isprintable() for token in shown)
    assert shown[50256] == "<|endoftext|>"
    for i, token in enumerate(shown):
        raw = TOKENIZER.decode_single_token_bytes(i)
        if token.startswith("⟨"):  # the bytes are the token's own
            assert bytes.fromhex(token.strip("⟨⟩")) == raw
        elif raw.decode().isprintable():
            assert token == raw.decode().replace(" ", "␣")
