"""Your own classes: a table is read, a classifier trained, looked at and saved, without a browser."""

import asyncio
import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import torch

from helpers.classify import TextClassifier
from helpers.config import LEARNERS_FOLDER
from tests import clicks
from tests.clicks import MARKS, choose, click, each, one, press, rows, static_form, text_of
from tests.own_texts import own_file, own_table
from workshop.own import THIS, OwnSettings, OwnTraining, class_table, summary_table
from workshop.texts import read_texts, split_stratified
from workshop.widgets import OwnClasses
from workshop.widgets.own_classes import classes_table

pytestmark = MARKS


@pytest.fixture
def own(tmp_path) -> OwnClasses:
    """A table that has been read, and settings that train quickly."""
    return quick(OwnClasses(own_file(tmp_path)))


def quick(own: OwnClasses) -> OwnClasses:
    choose(own, "oc-plan", "head only")
    one(own, "fx-epochs").value = 1
    return own


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> OwnClasses:
    own = quick(OwnClasses(own_file(tmp_path_factory.mktemp("own"))))
    click(own, "Train")
    return own


def test_a_path_is_read_and_what_was_found_is_a_list_with_the_classes_beside_it(own, tmp_path):
    table = read_texts(tmp_path / "mine.csv")
    split = split_stratified(table)
    assert own.table.labels == table.labels and own.split.report == split.report
    items = ElementTree.fromstring(f"<p>{one(own, 'oc-report').value}</p>").iter("li")
    assert [item.text for item in items] == [*table.report, *split.report]
    parts = (split.train, split.validation, split.test)
    assert rows(own, "oc-classes") == [
        [name, "30", *(str((part["Label"] == i).sum()) for part in parts)]
        for i, name in enumerate(("fruit", "sport", "weather"))
    ]
    assert "Read: 90 texts in 3 classes, from mine.csv." in text_of(own, "oc-report")
    own_table(per_class=40).to_csv(tmp_path / "mine.csv", index=False)
    click(own, "Read the table")
    assert text_of(own, "oc-unread") == "" and len(own.table.frame) == 120


NO_TABLES = {"one.csv": "two classes", ".": "is a folder", "<b>.csv": "<b>.csv does not exist"}


@pytest.mark.parametrize(("name", "words"), [*NO_TABLES.items(), ("", "There is no path yet")])
def test_while_a_table_cannot_be_read_no_other_one_can_be_trained_on(own, tmp_path, name, words):
    (tmp_path / "one.csv").write_text("text,label\n" + "".join(f"t{i},a\n" for i in range(20)))
    one(own, "oc-path").value = str(tmp_path / name) if name else ""
    assert words in text_of(own, "oc-unread") and '"alert"' in one(own, "oc-unread").value
    click(own, "Train")
    assert own.table is own.split is own.training is None and text_of(own, "oc-report") == ""
    assert "There is no table yet" in text_of(own, "fx-problem")


def test_a_press_on_train_gives_the_figures_of_the_same_training_by_code(own):
    choose(own, "oc-balance", "class weights")
    click(own, "Train")
    settings = OwnSettings(plan="head only", balance="class weights", epochs=1)
    assert own.training.settings == settings
    other = OwnTraining(own.split, settings)
    for _ in other.steps():
        pass
    expected = other.figures()
    assert list(own.figures) == list(expected) == [THIS, "always fruit", "counting words"]
    for name, figures in own.figures.items():
        assert (figures.table == expected[name].table).all()
    assert text_of(own, "fx-problem") == "" and one(own, "fx-bar").value == ""
    this, always, counting = (figures.right for figures in own.figures.values())
    assert text_of(own, "fx-status") == (
        f"Done: of 18 test texts are right: this classifier {this}, always fruit {always}, "
        f"counting words {counting}."
    )
    tables = f"{summary_table(own.figures)}\n\n{class_table(own.figures[THIS])}"
    title = "On 18 test texts of mine.csv, unseen in the training:"
    assert text_of(own, "oc-figures") == title + tables
    assert own.classifier.about["figures"] == tables
    assert own.classifier.about["trained on"] == "mine.csv, 63 texts"
    assert "interrupted" not in own.classifier.about
    assert "the confusion matrix of 18 texts" in one(own, "oc-matrix").value
    assert "with seed 1 after epoch 1" in one(own, "fx-live").value


def test_a_press_on_a_field_lists_its_texts_the_surest_first(trained):
    labels, test = trained.split.labels, trained.split.test
    table = trained.figures[THIS].table
    wrong = [f"{labels[i]} → {labels[j]}: {table[i, j]}" for i, j in np.argwhere(table) if i != j]
    buttons = [w.description for w in each(one(trained, "oc-field"), "fx-choice")]
    counts = [int(name.split()[-1]) for name in buttons]
    assert sorted(buttons) == sorted(wrong) and counts == sorted(counts, reverse=True) != []
    choose(trained, "oc-field", buttons[0])
    correct, called = re.match(r"(\w+) → (\w+)", buttons[0]).groups()
    assert text_of(trained, "oc-texts").startswith(f"{correct}, called {called}: {counts[0]} text")
    items = ElementTree.fromstring(f"<p>{one(trained, 'oc-texts').value}</p>").findall("ul/li")
    confidences = [float(item.find("b").text) for item in items]
    assert confidences == sorted(confidences, reverse=True) and len(items) == counts[0]
    texts = [item.find("b").tail.strip() for item in items]
    assert set(texts) <= set(test["Text"][test["Label"] == labels.index(correct)])
    assert trained.classifier.classify_many(texts) == [called] * len(texts)


def test_a_press_on_stop_is_heard_between_slices_and_what_was_trained_is_measured(own, tmp_path):
    one(own, "fx-epochs").value = 100

    async def press_stop():
        while "epoch " not in text_of(own, "fx-status"):
            await asyncio.sleep(0)
        one(own, "oc-path").value = str(own_file(tmp_path, "other.csv"))
        assert "A training is under way" in text_of(own, "oc-unread")
        click(own, "Stop")

    clicks.train_on_a_loop(own, press_stop)
    epochs = len(own._button.histories[0].val_accs)
    assert 1 <= epochs < 100 and own.table.source == "mine.csv"
    words = text_of(own, "fx-status")
    assert words.startswith(f"Stopped: the model has the weights of {epochs} whole epoch")
    assert ". Done: of 18 test texts are right: " in words
    assert re.match(rf"after {epochs} whole epochs? of 100", own.classifier.about["interrupted"])


def test_a_text_of_ones_own_gets_the_probabilities_of_all_classes_the_largest_first(trained):
    box = one(trained, "fx-text")
    box.value = "ripe <b>"
    answer = ElementTree.fromstring(f"<p>{one(trained, 'oc-answer').value}</p>")
    found = {row[0].text: float(row[1].text) for row in answer.iterfind("table/tbody/tr")}
    (expected,) = trained.classifier.probabilities(["ripe <b>"]).tolist()
    assert found == pytest.approx(dict(zip(trained.split.labels, expected, strict=True)), abs=6e-4)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    best = trained.classifier.classify("ripe <b>")
    assert text_of(trained, "oc-answer").startswith(f"Answer: {best}, with probability ")
    box.value = "pear " * 100
    length = trained.classifier.max_length
    assert f"Only the first {length} tokens were read." in text_of(trained, "oc-answer")
    box.value = "  "
    assert '<p role="alert">' in one(trained, "oc-answer").value


def test_a_press_saves_what_answers_and_overwrites_nothing(trained, tmp_path, monkeypatch):
    monkeypatch.setenv(LEARNERS_FOLDER, str(tmp_path))
    assert one(trained, "oc-name").value == "mine.safetensors"
    click(trained, "Save")
    path = tmp_path / "mine.safetensors"
    words = text_of(trained, "oc-saved")
    assert f"Saved: {path}." in words and f"TextClassifier.load({str(path)!r})" in words
    loaded = TextClassifier.load(path)
    texts = trained.split.test["Text"].tolist()
    assert torch.equal(loaded.probabilities(texts), trained.classifier.probabilities(texts))
    assert "counting words" in loaded.about["figures"]
    saved = path.read_bytes()
    below = "mine.safetensors/x"  # in a file, as if that were a folder
    for name, reason in (("mine", "is there already"), ("", "file name"), (below, below)):
        one(trained, "oc-name").value = name
        click(trained, "Save")
        words = text_of(trained, "oc-saved")
        assert words.startswith("Nothing was saved: ") and reason in words
    assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == saved


def test_a_page_without_a_kernel_gets_picture_tables_and_words(trained, own, monkeypatch):
    read = static_form(own, monkeypatch)
    assert "<caption>The classes</caption>" in read["text/html"]
    assert "image/svg+xml" not in read and "90 rows read" in read["text/plain"]
    data = static_form(trained, monkeypatch)
    assert data["image/svg+xml"] == one(trained, "oc-matrix").value
    assert "counting words" in data["text/html"] and "precision" in data["text/plain"]


def test_what_a_table_holds_is_shown_as_text_not_as_markup(tmp_path):
    table = own_table().replace({"topic": {"fruit": "<i>fruit</i>"}})
    table.assign(text="<script>" + table["text"]).to_csv(tmp_path / "odd.csv", index=False)
    own = quick(OwnClasses(tmp_path / "odd.csv"))
    click(own, "Train")
    press(each(one(own, "oc-field"), "fx-choice")[0])
    for name in ("report", "classes", "matrix", "figures", "texts"):
        html = one(own, f"oc-{name}").value
        assert "<script>" not in html and "<i>" not in html
        ElementTree.fromstring(f"<p>{html}</p>")


def test_of_many_classes_only_the_largest_are_listed_and_the_rest_are_counted():
    texts = [(f"word{i} of class {k}", f"c{k:02}") for k in range(25) for i in range(8 + k)]
    frame = pd.DataFrame(texts, columns=["text", "label"])
    table = classes_table(split_stratified(read_texts(frame)))
    assert table.count("<tr>") == 21 and "<td>32</td>" in table and "c04" not in table
    assert "and 5 more" in table and '<th scope="col">to validate with</th>' in table
