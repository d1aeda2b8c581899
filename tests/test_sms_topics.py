"""The bundled texts with seven classes are what their README says."""

import re
from collections import Counter

import pytest

from tests.sms_topics import (
    MINI,
    SMS_TOPICS,
    TOPICS,
    baselines,
    messages,
    read_table,
    sms_topics,
    themes,
)

README = (TOPICS / "README.md").read_text(encoding="utf-8")


def test_the_file_is_made_of_sms_mini_and_the_list_of_themes():
    assert SMS_TOPICS.read_bytes().decode("utf-8") == sms_topics()
    topics = (MINI / "topics.txt").read_text(encoding="utf-8").splitlines()
    table = read_table(TOPICS / "themes.csv")
    assert [row["topic"] for row in table] == sorted(set(topics))
    theme_of = {row["topic"]: row["theme"] for row in table}
    lines = [int(row["line"]) for row in read_table(TOPICS / "exceptions.csv")]
    assert lines == sorted(set(lines))
    for line in lines:
        assert themes()[line - 1] != theme_of[topics[line - 1]], line


def test_the_readme_has_the_number_of_each_class_and_of_its_ham_and_spam():
    counts = Counter(zip(themes(), (label for label, _ in messages()), strict=True))
    found = re.findall(r"^\| ([\w ]+) \| (\d+) \| (\d+) \| (\d+) \|", README, re.M)
    rows = {name: list(map(int, numbers)) for name, *numbers in found}
    total = rows.pop("all")
    assert sorted(rows) == sorted(set(themes()) - {""})
    for name, row in rows.items():
        ham, spam = counts[name, "ham"], counts[name, "spam"]
        assert row == [ham + spam, ham, spam]
        assert ham and spam, f"{name} is ham or spam by another name"
    assert total == [sum(row[i] for row in rows.values()) for i in range(3)] and total[0] >= 800


def test_the_readme_has_the_figures_of_what_needs_no_language_model():
    row = r"^\| ([a-z ]+) \| (\d\.\d+) \| (\d\.\d+) – (\d\.\d+) \| (\d\.\d+) \|$"
    found = {name: list(map(float, said)) for name, *said in re.findall(row, README, re.M)}
    measured = baselines()
    assert list(found) == list(measured)
    for name, said in found.items():
        figures = measured[name]
        expected = [figures.accuracy, *figures.interval, figures.macro_f1]
        # scikit-learn's versions may differ by a message
        assert said == pytest.approx(expected, abs=0.0005 if "always" in name else 0.008), name
