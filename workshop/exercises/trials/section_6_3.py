"""The trial of section 6.3: a dataset."""

import copy
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import torch

from helpers.config import END_OF_TEXT
from helpers.data import SpamDataset
from workshop.exercises.mistakes import (
    Exercise,
    Mistake,
    WordTokenizer,
    call,
    check_row,
)

MESSAGES = pd.DataFrame(
    {"Label": [1, 0, 1], "Text": ["11 12 13", "21 22 23 24 25", "31 32 33 34 35 36 37"]}
)
OTHERS = pd.DataFrame({"Label": [0, 1], "Text": ["41 42 43 44", "51 52"]})
DATASETS = (  # table, tokenizer, max_length, pad_token_id
    (MESSAGES, WordTokenizer(), 5, END_OF_TEXT),
    (MESSAGES, WordTokenizer(), 5, 7),
    (OTHERS, WordTokenizer(100), 3, END_OF_TEXT),
    (MESSAGES, WordTokenizer(100), None, END_OF_TEXT),
)


def from_tables(dataset_class):
    """Return what makes a dataset of a table, of a class that may read a CSV file, as the book's."""

    def dataset(table, *arguments, **settings):
        try:
            return dataset_class(table, *arguments, **settings)
        except ValueError as error:
            if "Invalid file path" not in str(error):  # what `read_csv` says of a table
                raise
        with TemporaryDirectory() as folder:
            path = Path(folder, "messages.csv")
            table.to_csv(path, index=False)
            return dataset_class(path, *arguments, **settings)

    return dataset


def try_dataset(solve) -> str:
    """`solve` is the learner's class: item i is (token_ids (max_length,), label ())."""
    for table, tokenizer, max_length, pad_token_id in DATASETS:
        data = from_tables(solve)(table.copy(), tokenizer, max_length, pad_token_id)
        encoded = [tokenizer.encode(text) for text in table["Text"]]
        length = max_length or max(map(len, encoded))
        if len(data) != len(table):
            raise Mistake(f"its length is {len(data)} for a table of {len(table)} messages.")
        if getattr(data, "max_length", None) != length:
            raise Mistake(
                f"`max_length` should be {length} here, and the page reads it: keep it as "
                "`self.max_length`. With None it is the length of the longest message."
            )
        lists = {name: value for name, value in vars(data).items() if isinstance(value, list)}
        before = copy.deepcopy(lists)
        for i, (ids, label) in enumerate(zip(encoded, table["Label"], strict=True)):
            check_item(call(data.__getitem__, i), ids, label, length, pad_token_id)
        if lists != before:
            raise Mistake(
                "it changes the lists that the dataset keeps, so the next epoch starts with "
                "padding in them. Make a new list for each item."
            )
    return "messages that are too short, just right and too long, two tokenizers, two pad tokens"


def check_item(item, ids: list[int], label: int, length: int, pad_token_id: int) -> None:
    """Raise Mistake where an item of the dataset is not the message's token ids and its label."""
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise Mistake("return two values: token ids, label.")
    if {type(item[0]), type(item[1])} != {torch.Tensor}:
        raise Mistake("the token ids and the label should be tensors: torch.tensor(…).")
    row, got = item
    if row.ndim == 0 and got.ndim == 1:
        raise Mistake("the other way round: first the token ids, then the label.")
    if row.ndim != 1 or got.ndim != 0:
        raise Mistake(
            f"the token ids have the shape {tuple(row.shape)} and the label {tuple(got.shape)}; "
            f"they should be ({length},) and ()."
        )
    check_row(row.tolist(), ids, length, pad_token_id)
    if got.item() != label:
        raise Mistake(f"the label of a message is {got.item()} instead of {label}.")
    if {row.dtype, got.dtype} != {torch.long}:
        raise Mistake(f"they are {row.dtype} and {got.dtype}; both should be torch.long.")


EXERCISES = {
    "6.3 dataset": Exercise(try_dataset, SpamDataset, from_tables),
}
