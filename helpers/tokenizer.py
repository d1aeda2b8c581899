"""GPT-2's byte-pair encoding, read from the two tables that every checkpoint folder carries.

Scheme and pattern: Radford et al. 2019 and `src/encoder.py` of OpenAI's gpt-2 repository. A text is
cut by a pattern into words with their leading space, each word into bytes, and the bytes are merged
in the order learned on GPT-2's training text. tiktoken does the work; nothing is downloaded.
"""

import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import tiktoken
import torch

from helpers.checks import instance_of
from helpers.config import BUNDLED_CHECKPOINT, END_OF_TEXT

END_OF_TEXT_MARK = "<|endoftext|>"


PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def get_tokenizer(model_dir: str | Path | None = None) -> tiktoken.Encoding:
    """Return the tokenizer of a checkpoint folder (default: the bundled one; all sizes share it).

    Raises FileNotFoundError without `encoder.json` or `vocab.bpe`, ValueError where they disagree.
    """
    return _read_tokenizer(Path(model_dir or BUNDLED_CHECKPOINT).resolve())


@lru_cache(maxsize=4)
def _read_tokenizer(folder: Path) -> tiktoken.Encoding:
    try:
        token_ids = json.loads((folder / "encoder.json").read_text(encoding="utf-8"))
        lines = (folder / "vocab.bpe").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error.filename} is missing: no tokenizer without it") from None
    except ValueError as error:  # no JSON, or no UTF-8
        raise ValueError(f"{folder} holds no tokenizer of GPT-2's ({error})") from error
    merges = lines[1:]  # line 0: version

    if not isinstance(token_ids, dict) or token_ids.pop(END_OF_TEXT_MARK, None) != END_OF_TEXT:
        raise ValueError(
            f"{folder / 'encoder.json'} is not GPT-2's: {END_OF_TEXT_MARK} is not {END_OF_TEXT}"
        )
    for rank, merge in enumerate(filter(None, merges)):
        if token_ids.get(merge.replace(" ", "")) != 256 + rank:
            raise ValueError(
                f"{folder}: merge {rank} of vocab.bpe, {merge!r}, is not token {256 + rank} "
                "of encoder.json"
            )

    byte_of = _byte_of_character()
    ranks = {bytes(byte_of[c] for c in token): i for token, i in token_ids.items()}
    return tiktoken.Encoding(
        name="gpt2",
        pat_str=PATTERN,
        mergeable_ranks=ranks,
        special_tokens={END_OF_TEXT_MARK: END_OF_TEXT},
        explicit_n_vocab=END_OF_TEXT + 1,
    )


def _byte_of_character() -> dict[str, int]:
    """The tables are text, so each byte has a visible stand-in.

    It is the byte's own character, or the next free code from 256.
    """
    visible = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    hidden = [b for b in range(256) if b not in visible]
    return {chr(b): b for b in visible} | {chr(256 + i): b for i, b in enumerate(hidden)}


def text_to_token_ids(text: str, tokenizer: tiktoken.Encoding | None = None) -> torch.Tensor:
    """Return the token ids of `text` as a LongTensor (1, num_tokens).

    `<|endoftext|>` in the text becomes its one token, as in the book.
    """
    tokenizer = tokenizer or get_tokenizer()
    ids = tokenizer.encode(_need_text(text), allowed_special={END_OF_TEXT_MARK})
    return torch.tensor(ids, dtype=torch.long).unsqueeze(0)


def token_ids_to_text(token_ids: torch.Tensor, tokenizer: tiktoken.Encoding | None = None) -> str:
    """Return the text of token ids (1, num_tokens) or (num_tokens,).

    Raises ValueError for an id that the tokenizer does not know.
    """
    instance_of("token_ids", token_ids, torch.Tensor, "a torch.Tensor, as text_to_token_ids gives")
    tokenizer = tokenizer or get_tokenizer()
    return tokenizer.decode(_need_ids(token_ids.flatten().tolist(), tokenizer))


def _need_text(text) -> str:
    if not isinstance(text, str):
        raise TypeError(f"a message must be a text, not {text!r}")
    return text


def _need_ids(token_ids: list[int], tokenizer: tiktoken.Encoding) -> list[int]:
    for token_id in token_ids:
        if not isinstance(token_id, int) or not 0 <= token_id < tokenizer.n_vocab:
            last = tokenizer.n_vocab - 1
            raise ValueError(f"there is no token {token_id!r}: the ids go from 0 to {last}")
    return token_ids


def encode_message(text: str, tokenizer: tiktoken.Encoding) -> list[int]:
    """Return the token ids of a message.

    In it `<|endoftext|>` is thirteen characters like any other. Raises ValueError for a message of
    nothing but white space, TypeError for what is not a text.
    """
    if not _need_text(text).strip():
        raise ValueError(f"the message is empty ({text!r}): nothing to classify")
    return tokenizer.encode(text, disallowed_special=())


def visible_tokens(token_ids: list[int], tokenizer: tiktoken.Encoding) -> list[str]:
    """Return each token as one can see it: a space as ␣, a control character escaped.

    A token that is only a part of a character, as in emoji, is shown as its bytes: `⟨F0 9F⟩`.
    """
    instance_of("token_ids", token_ids, Iterable, "a list of token ids")
    return [
        _visible(tokenizer.decode_single_token_bytes(token_id))
        for token_id in _need_ids(token_ids, tokenizer)
    ]


def _visible(token: bytes) -> str:
    try:
        text = token.decode("utf-8")
    except UnicodeDecodeError:
        return f"⟨{token.hex(' ').upper()}⟩"
    return "".join(
        "␣" if c == " " else c if c.isprintable() else c.encode("unicode_escape").decode()
        for c in text
    )
