"""The bundled texts with classes, made of sms-mini.

`python -m tests.sms_topics` writes their file and prints what needs no language model.
"""

import csv
from pathlib import Path

import numpy as np
import pandas as pd

import workshop
from helpers.config import ASSETS
from workshop.bag_of_words import train_bag_of_words
from workshop.class_measures import ClassMeasures, class_table, summary_table
from workshop.texts import read_texts, split_stratified

MINI, TOPICS = ASSETS / "sms-mini", workshop.ASSETS / "sms-topics"
SMS_TOPICS = TOPICS / "sms-topics.csv"


def read_table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def themes() -> list[str]:
    """The theme of each message of sms-mini, line by line; "" where it is left out."""
    theme_of = {row["topic"]: row["theme"] for row in read_table(TOPICS / "themes.csv")}
    exceptions = {int(row["line"]): row["theme"] for row in read_table(TOPICS / "exceptions.csv")}
    topics = (MINI / "topics.txt").read_text(encoding="utf-8").splitlines()
    return [exceptions.get(line, theme_of[topic]) for line, topic in enumerate(topics, start=1)]


def messages() -> list[tuple[str, str]]:
    """The messages of sms-mini, (label, text) each."""
    lines = (MINI / "sms-mini.tsv").read_text(encoding="utf-8").split("\n")
    return [tuple(line.split("\t")) for line in lines if line]


def sms_topics() -> str:
    """The file's content: a header, then each message that has a theme, in sms-mini's order."""
    table = pd.DataFrame(messages(), columns=["label", "text"]).assign(topic=themes())
    return table[table["topic"] != ""].to_csv(
        columns=["text", "topic"], index=False, lineterminator="\n"
    )


def baselines() -> dict[str, ClassMeasures]:
    """The measures of what needs no language model, cross-validated on the training part."""
    split = split_stratified(read_texts(SMS_TOPICS))
    labels = split.train["Label"].to_numpy()
    predicted = train_bag_of_words(split.train["Text"].tolist(), labels, len(split.labels)).logits
    always = np.full(len(labels), np.bincount(labels).argmax())
    return {
        "always money": ClassMeasures(split.labels, labels, always),
        "bag of words": ClassMeasures(split.labels, labels, predicted.argmax(dim=-1).numpy()),
    }


if __name__ == "__main__":
    SMS_TOPICS.write_text(sms_topics(), encoding="utf-8", newline="\n")
    print(summary_table(baselines()), class_table(baselines()["bag of words"]), sep="\n\n")
