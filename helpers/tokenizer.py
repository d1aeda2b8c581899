"""GPT-2's byte-pair encoding, from the table that every checkpoint folder holds.

Radford et al. 2019 and `src/encoder.py` of OpenAI's gpt-2 repository. A pattern splits a text into
words with their leading space, each word is a sequence of bytes, and pairs of bytes are merged in
the order that was learned on GPT-2's training text. tiktoken does the work; nothing is downloaded.
"""

import json
from functools import cache

import tiktoken
import torch

from helpers.config import BUNDLED_CHECKPOINT, END_OF_TEXT

END_OF_TEXT_MARK = "<|endoftext|>"
# characters: 1,024 tokens of at most 128 bytes are fewer, and tiktoken fails on a million spaces
LONGEST_TEXT = 2**18

PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


@cache
def get_tokenizer() -> tiktoken.Encoding:
    """Return the tokenizer of the bundled checkpoint; all sizes of GPT-2 have the same one.

    Its `encoder.json` maps each token to its id. The ids follow the order of the merges, which
    `vocab.bpe` lists too. Raises OSError or ValueError where there is no such table.
    """
    path = BUNDLED_CHECKPOINT / "encoder.json"
    token_ids = json.loads(path.read_text(encoding="utf-8"))
    if token_ids.pop(END_OF_TEXT_MARK, None) != END_OF_TEXT:
        raise ValueError(f"{path} is not GPT-2's: {END_OF_TEXT_MARK} is not {END_OF_TEXT}")

    # the table is text, so each byte is written as a visible character: its own, or else the next
    # free one from 256 on
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    visible += range(ord("®"), ord("ÿ") + 1)
    hidden = [byte for byte in range(256) if byte not in visible]
    byte_of = {chr(byte): byte for byte in visible}
    for i, byte in enumerate(hidden):
        byte_of[chr(256 + i)] = byte

    ranks = {bytes(byte_of[c] for c in token): rank for token, rank in token_ids.items()}
    return tiktoken.Encoding(
        name="gpt2",
        pat_str=PATTERN,
        mergeable_ranks=ranks,
        special_tokens={END_OF_TEXT_MARK: END_OF_TEXT},
        explicit_n_vocab=END_OF_TEXT + 1,
    )


def text_to_token_ids(text: str, tokenizer: tiktoken.Encoding | None = None) -> torch.Tensor:
    """Return the token ids of `text` as a LongTensor (1, num_tokens).

    `<|endoftext|>` in the text becomes its one token, as in the book.
    """
    tokenizer = tokenizer or get_tokenizer()
    token_ids = tokenizer.encode(text, allowed_special={END_OF_TEXT_MARK})
    return torch.tensor([token_ids], dtype=torch.long)


def token_ids_to_text(token_ids: torch.Tensor, tokenizer: tiktoken.Encoding | None = None) -> str:
    """Return the text of token ids (1, num_tokens) or (num_tokens,)."""
    tokenizer = tokenizer or get_tokenizer()
    return tokenizer.decode(token_ids.flatten().tolist())


def encode_message(text: str, tokenizer: tiktoken.Encoding) -> list[int]:
    """Return the token ids of a message, in which `<|endoftext|>` is thirteen plain characters.

    What follows LONGEST_TEXT characters is left out. Raises ValueError for a message of nothing but
    white space, TypeError for what is not a text.
    """
    if not isinstance(text, str):
        raise TypeError(f"a message must be a text, not {text!r}")
    if not text.strip():
        raise ValueError(f"the message is empty ({text!r}): nothing to classify")
    return tokenizer.encode(text[:LONGEST_TEXT], disallowed_special=())


def visible_tokens(token_ids: list[int], tokenizer: tiktoken.Encoding) -> list[str]:
    """Return each token as a text to look at: a space as ␣, a control character escaped.

    A token that is only a part of a character, as in emoji, is shown as its bytes: `⟨F0 9F⟩`.
    """
    shown = []
    for token_id in token_ids:
        token = tokenizer.decode_single_token_bytes(token_id)
        try:
            text = token.decode("utf-8")
        except UnicodeDecodeError:
            shown.append(f"⟨{token.hex(' ').upper()}⟩")
            continue
        visible = ""
        for character in text.replace(" ", "␣"):
            if not character.isprintable():
                character = character.encode("unicode_escape").decode()
            visible += character
        shown.append(visible)
    return shown
