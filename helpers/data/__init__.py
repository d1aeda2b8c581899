"""Texts with labels, from a file to batches.

messages     the SMS messages of the course: read, balanced, split as in the book's section 6.2
dataset      `TextDataset`, `SpamDataset` and the loaders over them, as in section 6.3
texts        `read_texts`: a reader's own table of any classes, with a report on what is in it
splits       `split_stratified`, `undersample`, `class_weights`: for any classes
table_files  a table's columns from CSV, TSV, JSON lines and Parquet, or the line with the fault
frames       what a table of messages must be
"""

from helpers.data.dataset import (
    SpamDataset,
    TextDataset,
    check_max_length,
    create_dataloaders,
    pad,
)
from helpers.data.messages import (
    DATA_NAMES,
    LABELS,
    LARGEST_COLLECTION,
    SMS_COUNTS,
    SMS_MINI,
    SMS_URLS,
    create_balanced_dataset,
    download_and_unzip_spam_data,
    load_messages,
    load_splits,
    random_split,
    read_messages,
)
from helpers.data.splits import Split, class_weights, split_stratified, undersample
from helpers.data.texts import TextTable, read_texts
from helpers.tokenizer import get_tokenizer  # the book's cells take it from here

__all__ = [
    "DATA_NAMES",
    "LABELS",
    "LARGEST_COLLECTION",
    "SMS_COUNTS",
    "SMS_MINI",
    "SMS_URLS",
    "SpamDataset",
    "Split",
    "TextDataset",
    "TextTable",
    "check_max_length",
    "class_weights",
    "create_balanced_dataset",
    "create_dataloaders",
    "download_and_unzip_spam_data",
    "get_tokenizer",
    "load_messages",
    "load_splits",
    "pad",
    "random_split",
    "read_messages",
    "read_texts",
    "split_stratified",
    "undersample",
]
