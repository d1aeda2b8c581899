"""Tables of one's own texts, made by a rule, to measure what `python -m workshop train` keeps.

The rule: two to twelve classes, 60 to 5,000 texts, short and long, even and 1 to 30. Two tables are
bundled messages, and one is a part of them. The texts of the others are verses of the King James
Bible (public domain), as the program `bible` of Debian's package bible-kjv prints them; the class
is the book. Nothing was changed after a first result.
"""

import re
import subprocess

import pandas as pd

from helpers.data import load_messages
from tests.sms_topics import SMS_TOPICS

TWELVE = ["Psa", "Ge", "Jer", "Isa", "Eze", "Mat", "Luke", "Acts", "Job", "Prv", "1Chr", "Deu"]


def verses() -> pd.DataFrame:
    """Return all verses: columns text and label, the book."""
    printed = subprocess.check_output(["bible", "-f", "Gen1:1-Rev22:21"], text=True)
    rows = re.findall(r"^(\d?[A-Za-z]+)\d+:\d+ (.*)$", printed, re.M)
    return pd.DataFrame(rows, columns=["label", "text"])


def evenly(frame: pd.DataFrame, sizes: dict[str, int]) -> pd.DataFrame:
    """Return as many rows of each label as `sizes` says, evenly spaced in the frame."""
    parts = []
    for label, size in sizes.items():
        rows = frame[frame["label"] == label]
        parts.append(rows.iloc[[i * len(rows) // size for i in range(size)]])
    return pd.concat(parts, ignore_index=True)


def passages(frame: pd.DataFrame, books: list[str], num_words: int) -> pd.DataFrame:
    """Return texts of consecutive verses of a book, each of at least `num_words` words."""
    rows = []
    for book in books:
        text = []
        for verse in frame["text"][frame["label"] == book]:
            text += verse.split()
            if len(text) >= num_words:
                rows.append((book, " ".join(text)))
                text = []
    return pd.DataFrame(rows, columns=["label", "text"])


def own_tables() -> dict[str, pd.DataFrame]:
    """Return the tables by their names, each with the columns text and label."""
    topics = pd.read_csv(SMS_TOPICS).rename(columns={"topic": "label"})
    mini = load_messages("sms-mini").rename(columns=str.lower)
    bible, three = verses(), ["money", "work and school", "home and family"]
    four = ["Psa", "Isa", "Jer", "Eze"]
    return {
        "sms-topics": topics,
        "sms-mini": mini,
        "60 messages in three classes": evenly(topics, dict.fromkeys(three, 20)),
        "5,000 verses of twelve books": evenly(
            bible, {book: 417 if i < 8 else 416 for i, book in enumerate(TWELVE)}
        ),
        "verses of two books, 1 to 30": evenly(bible, {"Psa": 900, "Eccl": 30}),
        "100 passages of 600 words of four books": evenly(
            passages(bible, four, 600), dict.fromkeys(four, 25)
        ),
    }
