"""Your own classes: a table is read, a classifier trained, looked at and saved, without a browser."""

import asyncio
import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import torch

from helpers.config import LEARNERS_FOLDER
from tests import clicks
from tests.clicks import MARKS, choose, click, each, one, rows, static_form, text_of
from tests.own_texts import own_file, own_table
from workshop.own import BAG, GPT2, SEEN, SUM, OwnClassifier, OwnSettings, OwnTraining
from workshop.texts import read_texts, split_stratified
from workshop.widgets import OwnClasses
from workshop.widgets.own_classes import classes_table

pytestmark = MARKS


@pytest.fixture
def own(tmp_path, monkeypatch) -> OwnClasses:
    """A table that has been read, and settings that train quickly."""
    monkeypatch.setenv(LEARNERS_FOLDER, str(tmp_path))
    return quick(OwnClasses(own_file(tmp_path)))


def quick(own: OwnClasses) -> OwnClasses:
    click(own, "more settings")
    choose(own, "oc-plan", "head only")
    one(own, "fx-epochs").value = 1
    return own


def items(own: OwnClasses, css: str) -> list[ElementTree.Element]:
    return ElementTree.fromstring(f"<p>{one(own, css).value}</p>").findall("ul/li")


def test_a_table_is_read_reported_and_a_bag_of_words_is_trained_at_once(own, tmp_path):
    table = read_texts(tmp_path / "mine.csv")
    split = split_stratified(table)
    assert [item.text for item in items(own, "oc-report")] == [*table.report, *split.report]
    parts = (split.train, split.validation, split.test)
    assert rows(own, "oc-classes") == [
        [name, "30", *(str((part["Label"] == i).sum()) for part in parts)]
        for i, name in enumerate(("fruit", "sport", "weather"))
    ]
    assert text_of(own, "oc-baseline").startswith("Bag of words: ")
    assert "only 18 test texts" in text_of(own, "oc-baseline")
    assert own.classifier.kind == BAG and text_of(own, "oc-unread") == ""
    assert text_of(own, "fx-status").startswith("Kept: the bag of words.")


def test_columns_without_usual_names_are_chosen_from_lists_of_the_files_columns(tmp_path):
    own = OwnClasses(own_file(tmp_path, text="what", topic="kind"))
    assert "Choose the column of the texts of mine.csv" in text_of(own, "oc-unread")
    text, label = one(own, "oc-text-column"), one(own, "oc-label-column")
    assert text.options == label.options == ["choose a column", "what", "kind"]
    text.value = label.value = "what"
    assert "Choose the column" in text_of(own, "oc-unread") and own.table is None
    label.value = "kind"
    assert text_of(own, "oc-unread") == "" and own.table.columns == ("what", "kind")


@pytest.mark.parametrize("version", [7, 8])
def test_an_uploaded_file_is_read_and_named_in_the_report(tmp_path, version):
    content = own_file(tmp_path).read_bytes()
    uploads = {7: {"up.csv": {"content": content}}, 8: ({"name": "up.csv", "content": content},)}
    own = OwnClasses()
    own._take_upload(uploads[version])
    assert text_of(own, "oc-report").startswith("90 rows read from up.csv")


NO_TABLES = {"one.csv": "two classes", "<b>.csv": "<b>.csv does not exist"}


@pytest.mark.parametrize(("name", "words"), NO_TABLES.items())
def test_nothing_of_an_earlier_table_is_left_when_another_one_cannot_be_read(
    own, tmp_path, name, words
):
    click(own, "Train")
    (tmp_path / "one.csv").write_text("text,label\n" + "".join(f"t{i},a\n" for i in range(20)))
    one(own, "oc-path").value = str(tmp_path / name)
    assert words in text_of(own, "oc-unread") and '"alert"' in one(own, "oc-unread").value
    assert own.table is own.split is own.training is own.classifier is None
    for css in ("oc-report", "oc-classes", "oc-baseline", "fx-live"):
        assert text_of(own, css) == "", css
    for css in ("oc-matrix", "oc-measure", "oc-save", "fx-text"):
        assert each(own, css) == [], css
    click(own, "Train")
    assert "There is no table yet" in text_of(own, "fx-problem")


def test_a_click_on_train_keeps_what_the_same_training_by_code_keeps(own):
    choose(own, "oc-balance", "class weights")
    choose(own, "oc-keep", SUM)
    click(own, "Train")
    settings = OwnSettings(plan="head only", balance="class weights", epochs=1, keep=SUM)
    assert own.training.settings == settings
    other = OwnTraining(own.split, settings)
    for _ in other.steps():
        pass
    candidate = other.candidates()[SUM]
    assert own.classifier.kind == SUM
    assert own.classifier.scales == pytest.approx(candidate.scales, rel=1e-3)
    assert text_of(own, "fx-problem") == "" and one(own, "fx-bar").value == ""
    words = text_of(own, "fx-status")
    assert words.startswith("Kept: the sum of both.")
    assert own.classifier.about["trained on"] == "mine.csv, 63 texts"
    assert "interrupted" not in own.classifier.about
    bag = other.candidates()[BAG].accuracy
    assert f"after epoch 1, the bag of words {bag:.1%}" in one(own, "fx-live").value


def test_a_cell_of_the_matrix_lists_its_validation_texts_the_most_confident_first(own):
    matrix, split = one(own, "oc-matrix"), own.split
    probabilities = own.classifier.probabilities(split.validation["Text"])
    predicted = probabilities.argmax(dim=-1).numpy()
    counts = np.zeros((3, 3), int)
    np.add.at(counts, (split.validation["Label"], predicted), 1)
    assert matrix.table == counts.tolist() and matrix.labels == list(split.labels)
    for i, j in np.ndindex(3, 3):
        matrix.cell = [i, j]
        heading = f"{split.labels[i]} predicted as {split.labels[j]}: {counts[i, j]} text"
        assert text_of(own, "oc-texts").startswith(heading)
        shown = items(own, "oc-texts")
        confidences = [float(item.find("b").text) for item in shown]
        assert confidences == sorted(confidences, reverse=True) and len(shown) == counts[i, j]
        texts = [item.find("b").tail.strip() for item in shown]
        assert set(texts) <= set(split.validation["Text"][split.validation["Label"] == i])
        assert own.classifier.classify_many(texts) == [split.labels[j]] * len(texts)


def test_the_test_texts_are_measured_on_a_click_and_the_next_training_says_so(own, tmp_path):
    assert "may fit them by chance" in "".join(
        getattr(child, "value", "") for child in one(own, "oc-measure-row").children
    )
    assert "measured on before" not in text_of(own, "fx-status")
    click(own, "Measure on the test texts")
    words = text_of(own, "oc-test")
    assert words.startswith("On the 18 test texts") and "always fruit" in words
    assert (tmp_path / SEEN).exists()
    click(own, "Train")
    assert "test texts of mine.csv were measured on before" in text_of(own, "fx-status")
    assert "test texts" in own.classifier.about


def test_stop_is_heard_between_slices_and_what_was_trained_can_be_kept(own, tmp_path):
    one(own, "fx-epochs").value = 100
    choose(own, "oc-keep", GPT2)

    async def stop():
        while "Epoch " not in text_of(own, "fx-status"):
            await asyncio.sleep(0)
        one(own, "oc-path").value = str(own_file(tmp_path, "other.csv"))
        assert "A training is under way" in text_of(own, "oc-unread")
        assert re.search(r">step \d+ of \d+, about \d+ s left<", one(own, "fx-bar").value)
        click(own, "Stop")

    clicks.train_on_a_loop(own, stop)
    words = text_of(own, "fx-status")
    epochs = int(re.match(r"Stopped after (\d+) whole epochs? of 100\. ", words)[1])
    assert 1 <= epochs < 100 and own.table.source == "mine.csv" and own.classifier.kind == GPT2
    assert own.classifier.about["interrupted"].startswith(f"after {epochs} whole")


def test_a_stop_before_the_first_epoch_keeps_the_bag_of_words(own):
    async def stop():
        click(own, "Stop")

    clicks.train_on_a_loop(own, stop)
    words = text_of(own, "fx-status")
    assert words.startswith("Stopped after 0 whole epochs of 1. Kept: the bag of words.")


def test_a_text_of_ones_own_gets_the_probabilities_of_all_classes_the_largest_first(own):
    choose(own, "oc-keep", GPT2)
    click(own, "Train")
    box = one(own, "fx-text")
    box.value = "ripe <b>"
    answer = ElementTree.fromstring(f"<p>{one(own, 'oc-answer').value}</p>")
    found = {row[0].text: float(row[1].text[:-1]) for row in answer.iterfind("table/tbody/tr")}
    (expected,) = (100 * own.classifier.probabilities(["ripe <b>"])).tolist()
    assert found == pytest.approx(dict(zip(own.split.labels, expected, strict=True)), abs=0.06)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    best = own.classifier.classify("ripe <b>")
    assert text_of(own, "oc-answer").startswith(f"The transformer predicts {best}.")
    box.value = "pear " * 100
    length = own.classifier.gpt2.max_length
    assert f"GPT-2 reads only the first {length} tokens." in text_of(own, "oc-answer")
    box.value = "  "
    assert '<p role="alert">' in one(own, "oc-answer").value


def test_a_click_saves_what_answers_and_overwrites_nothing(own, tmp_path):
    assert one(own, "oc-name").value == "mine.safetensors"
    click(own, "Save")
    path = tmp_path / "mine.safetensors"
    words = text_of(own, "oc-saved")
    assert f"Saved: {path}." in words and f"OwnClassifier.load({str(path)!r})" in words
    loaded = OwnClassifier.load(path)
    texts = own.split.test["Text"].tolist()
    assert torch.equal(loaded.probabilities(texts), own.classifier.probabilities(texts))
    saved = path.read_bytes()
    below = "mine.safetensors/x"  # in a file, as if that were a folder
    for name, reason in (("mine", "exists already"), ("", "file name"), (below, below)):
        one(own, "oc-name").value = name
        click(own, "Save")
        words = text_of(own, "oc-saved")
        assert words.startswith("Nothing was saved: ") and reason in words
    assert path.read_bytes() == saved


def test_a_page_without_a_kernel_gets_picture_tables_and_words(own, monkeypatch):
    data = static_form(own, monkeypatch)
    assert data["image/svg+xml"].startswith("<svg") and "90 rows read" in data["text/plain"]
    assert "<caption>90 texts in 3 classes</caption>" in data["text/html"]
    assert "Kept: the bag of words" in data["text/html"]
    assert "no table" in static_form(OwnClasses(), monkeypatch)["text/plain"]


def test_what_a_table_holds_is_shown_as_text_not_as_markup(tmp_path):
    table = own_table().replace({"topic": {"fruit": "<i>fruit</i>"}})
    table.assign(text="<script>" + table["text"]).to_csv(tmp_path / "odd.csv", index=False)
    own = OwnClasses(tmp_path / "odd.csv")
    one(own, "fx-text").value = "<script>"
    one(own, "oc-matrix").cell = [0, 0]
    for name in ("report", "classes", "texts", "answer"):
        html = one(own, f"oc-{name}").value
        assert "<script>" not in html and "<i>" not in html
        ElementTree.fromstring(f"<p>{html}</p>")


def test_of_many_classes_only_the_largest_are_listed_and_the_rest_are_counted():
    texts = [(f"word{i} of class {k}", f"c{k:02}") for k in range(25) for i in range(8 + k)]
    frame = pd.DataFrame(texts, columns=["text", "label"])
    table = classes_table(split_stratified(read_texts(frame)))
    assert table.count("<tr>") == 21 and "<td>32</td>" in table and "c04" not in table
    assert "in 25 classes, of which the 20 largest" in table
