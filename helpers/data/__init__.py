"""Texts with labels, from a file to batches.

messages  the SMS messages of the course: read, balanced, split as in the book's section 6.2
dataset   `TextDataset`, `SpamDataset` and the loaders over them, as in section 6.3
frames    what a table must be
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
from helpers.tokenizer import get_tokenizer  # the book's cells take it from here

__all__ = [
    "DATA_NAMES",
    "LABELS",
    "LARGEST_COLLECTION",
    "SMS_COUNTS",
    "SMS_MINI",
    "SMS_URLS",
    "SpamDataset",
    "TextDataset",
    "check_max_length",
    "create_balanced_dataset",
    "create_dataloaders",
    "download_and_unzip_spam_data",
    "get_tokenizer",
    "load_messages",
    "load_splits",
    "pad",
    "random_split",
    "read_messages",
]
