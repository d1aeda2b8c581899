"""Texts encoded and in batches: rows of token ids of one length, and the loaders over them.

The names and the steps are those of the book's section 6.3.
"""

import math
from numbers import Real
from pathlib import Path

import pandas as pd
import tiktoken
import torch
from torch.utils.data import DataLoader, Dataset

from helpers.checks import instance_of, whole_number
from helpers.config import BASE_CONFIG, END_OF_TEXT
from helpers.data.frames import need_columns, read_table
from helpers.data.messages import LABELS, load_splits
from helpers.tokenizer import encode_message, get_tokenizer


class TextDataset(Dataset):
    """Texts as rows of token ids, cut or padded to one length, each with its class's number.

    `data` is a DataFrame or a CSV file's path, with the columns `Label` (0 … `num_classes` - 1;
    without `num_classes`, the largest label is the last) and `Text`. `max_length` None takes the
    longest text's length. Item i is `(token_ids (max_length,), label ())`, both int64. Raises
    ValueError for an empty table, an empty text, another label, and a `max_length` outside
    1 … 1024.
    """

    wanted_labels = ""  # in words, where "whole numbers from 0 to 1" would say too little

    def __init__(
        self,
        data: pd.DataFrame | str | Path,
        tokenizer: tiktoken.Encoding,
        max_length: int | None = None,
        pad_token_id: int = END_OF_TEXT,
        num_classes: int | None = None,
    ):
        instance_of("tokenizer", tokenizer, tiktoken.Encoding, "one of get_tokenizer's")
        self.data = data if isinstance(data, pd.DataFrame) else _read_csv(data)
        need_columns(self.data, "the table" if isinstance(data, pd.DataFrame) else data)
        if not len(self.data):
            raise ValueError("there are no messages in the data")
        self.labels = _class_numbers(self.data["Label"], num_classes, self.wanted_labels)
        self.num_classes = num_classes or max(self.labels) + 1
        whole_number("pad_token_id", pad_token_id, 0, tokenizer.n_vocab - 1)
        encoded = []
        for row, text in self.data["Text"].items():
            try:
                encoded.append(encode_message(text, tokenizer))
            except (ValueError, TypeError) as error:
                raise ValueError(f"row {row}: {error}") from None
        longest = max(map(len, encoded))
        if max_length is None and longest > BASE_CONFIG["context_length"]:
            raise ValueError(
                f"the longest message has {longest} tokens; give a max_length, to which it is cut"
            )
        self.max_length = check_max_length(longest if max_length is None else max_length)
        self.encoded_texts = [pad(ids, self.max_length, pad_token_id) for ids in encoded]

    def __len__(self):
        return len(self.encoded_texts)

    def __getitem__(self, index):
        return torch.tensor(self.encoded_texts[index]), torch.tensor(self.labels[index])


class SpamDataset(TextDataset):
    """The book's dataset: a `TextDataset` of two classes, 0 for ham and 1 for spam.

    `csv_file` is a CSV file's path or a DataFrame, with the columns `Label` and `Text`.
    """

    wanted_labels = "0 for ham or 1 for spam"

    def __init__(
        self,
        csv_file: pd.DataFrame | str | Path,
        tokenizer: tiktoken.Encoding,
        max_length: int | None = None,
        pad_token_id: int = END_OF_TEXT,
    ):
        super().__init__(csv_file, tokenizer, max_length, pad_token_id, len(LABELS))


def _class_numbers(labels: pd.Series, num_classes: int | None, wanted: str = "") -> list[int]:
    """Return the labels as ints (1.0 and True are 1). Raises ValueError for one beyond the classes."""
    last = math.inf if num_classes is None else whole_number("num_classes", num_classes) - 1
    different = set(labels)
    known = {n for n in different if isinstance(n, Real) and 0 <= n <= last and n % 1 == 0}
    if strange := sorted(map(str, different - known)):
        limits = "from 0" + (f" to {last}" if last < math.inf else "")
        raise ValueError(
            f"labels must be {wanted or f'whole numbers {limits}'}, not {_some(strange)}"
        )
    return [int(label) for label in labels]


def _some(names: list[str], most: int = 10) -> str:
    return f"{names[:most]}" + (f" and {len(names) - most} more" if names[most:] else "")


def _read_csv(path: str | Path) -> pd.DataFrame:
    wanted = "a table with the columns Label and Text"
    return read_table(path, wanted, dtype={"Text": str}, keep_default_na=False)  # "None" is a text


def check_max_length(max_length: int, context_length: int = BASE_CONFIG["context_length"]) -> int:
    """Return `max_length`; raise ValueError where a model with this context can't take so many."""
    return whole_number("max_length", max_length, 1, context_length, " tokens")


def pad(token_ids: list[int], max_length: int, pad_token_id: int = END_OF_TEXT) -> list[int]:
    """Return exactly `max_length` ids: cut at the end, or padded at the end."""
    return token_ids[:max_length] + [pad_token_id] * (max_length - len(token_ids))


def create_dataloaders(
    name: str,
    tokenizer: tiktoken.Encoding | None = None,
    batch_size: int = 8,
    data_dir: str | Path = "sms_spam_collection",
) -> tuple[DataLoader, DataLoader, DataLoader]:
    """Return the loaders (train, validation, test) of a data set, as in the book's section 6.3.

    A batch is `(token_ids (batch, max_length), labels (batch,))`. All three parts have the longest
    training message's length. Training batches are shuffled (call `torch.manual_seed` before) and
    the last, smaller one is dropped.
    """
    tokenizer = tokenizer or get_tokenizer()
    whole_number("batch_size", batch_size)
    train, validation, test = load_splits(name, data_dir)
    train_set = SpamDataset(train, tokenizer)
    validation_set, test_set = (
        SpamDataset(part, tokenizer, train_set.max_length) for part in (validation, test)
    )
    return (
        DataLoader(train_set, batch_size, shuffle=True, drop_last=True),
        DataLoader(validation_set, batch_size),
        DataLoader(test_set, batch_size),
    )
