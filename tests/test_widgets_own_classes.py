"""One's own classes: a table is read, a classifier trained, looked at and saved, without a browser."""

import asyncio
import os
import re
import signal
import warnings
from xml.etree import ElementTree

import ipywidgets
import numpy as np
import pandas as pd
import pytest
import torch

from helpers.classify import TextClassifier
from tests.clicks import choose, chosen, click, each, one, rows, text_of
from tests.own_texts import own_file, own_table
from workshop.own import THIS, OwnSettings, OwnTraining, class_figures
from workshop.texts import read_texts, split_stratified
from workshop.widgets import OwnClasses
from workshop.widgets.own_classes import (
    MOST_FIELDS,
    answer_html,
    classes_table,
    field_of,
    uploaded_file,
)

pytestmark = [
    pytest.mark.usefixtures("no_callback_fails"),
    pytest.mark.filterwarnings("ignore:The `ipykernel.comm.Comm` class:DeprecationWarning"),
]


@pytest.fixture
def own(tmp_path) -> OwnClasses:
    """A table that has been read, and settings that train quickly."""
    return quick(OwnClasses(own_file(tmp_path), folder=tmp_path / "saved"))


def quick(own: OwnClasses, epochs: int = 1) -> OwnClasses:
    choose(own, "oc-plan", "head only")
    one(own, "fx-epochs").value = epochs
    return own


@pytest.fixture(scope="module")
def complaints() -> list[str]:
    """The warnings of what `trained_once` does."""
    return []


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory, complaints) -> OwnClasses:
    folder = tmp_path_factory.mktemp("own")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        own = quick(OwnClasses(own_file(folder), folder=folder))
        own.train()
    complaints += [str(w.message) for w in caught if "`ipykernel.comm.Comm`" not in str(w.message)]
    return own


@pytest.fixture
def trained(trained_once, tmp_path) -> OwnClasses:
    """The widget after a training, which saves into an empty folder."""
    trained_once._folder = tmp_path
    one(trained_once, "oc-name").value = "mine.safetensors"
    return trained_once


def send_upload(own: OwnClasses, name: str, content: bytes) -> None:
    """Do what a page does when a file is chosen, in either version of ipywidgets."""
    upload, kind = one(own, "oc-upload"), {"name": name, "type": "text/csv", "size": len(content)}
    if ipywidgets.__version__.startswith("7."):
        kind |= {"lastModified": 0}
        state = {"metadata": [kind], "data": [memoryview(content)], "_counter": upload._counter + 1}
    else:
        state = {"value": [kind | {"last_modified": 0, "content": memoryview(content)}]}
    upload.set_state(state)


def html_of(widget) -> list[str]:
    """All that is shown as HTML."""
    below = [html for child in getattr(widget, "children", ()) for html in html_of(child)]
    return [widget.value, *below] if isinstance(widget, ipywidgets.HTML) else below


# --- the table ------------------------------------------------------------------------------------


def test_a_path_is_read_and_what_was_found_is_a_list_with_the_classes_beside_it(own, tmp_path):
    table = read_texts(tmp_path / "mine.csv")
    split = split_stratified(table)
    assert own.table.labels == table.labels and own.split.report == split.report
    assert own.training is own.classifier is own.figures is own.drawing is None
    items = ElementTree.fromstring(f"<p>{one(own, 'oc-report').value}</p>").iter("li")
    assert [item.text for item in items] == [*table.report, *split.report]
    assert rows(own, "oc-classes") == [
        [name, "30", *(str((part["Label"] == i).sum()) for part in
                       (split.train, split.validation, split.test))]
        for i, name in enumerate(("fruit", "sport", "weather"))
    ]  # fmt: skip
    assert "Read: 90 texts in 3 classes, from mine.csv." in text_of(own, "oc-report")


def test_typing_a_path_reads_it_and_so_does_the_button_where_the_file_has_changed(tmp_path):
    own, path = OwnClasses(), tmp_path / "mine.csv"
    click(own, "Read the table")
    assert "There is no path yet" in text_of(own, "oc-unread")
    one(own, "oc-path").value = str(path)
    assert "does not exist" in text_of(own, "oc-unread") and own.table is None
    own_file(tmp_path)
    click(own, "Read the table")
    assert text_of(own, "oc-unread") == "" and len(own.table.frame) == 90
    before = own.table
    click(own, "Read the table")
    assert own.table is before  # nothing has changed
    own_table(per_class=40).to_csv(path, index=False)
    click(own, "Read the table")
    assert len(own.table.frame) == 120


def test_an_uploaded_file_is_read_like_one_at_a_path(tmp_path):
    own = OwnClasses(own_file(tmp_path, "other.csv"))
    content = own_table(per_class=12).to_csv(index=False).encode()
    send_upload(own, "mine.csv", content)
    assert text_of(own, "oc-unread") == "" and own.table.source == "mine.csv"
    assert len(own.table.frame) == 36 and one(own, "oc-path").value == ""
    send_upload(own, "../half.csv", content[:-1] + b'"\n"')
    words = text_of(own, "oc-unread")
    assert words.startswith("half.csv: a quotation mark") and "tmp" not in words
    assert "the table that was read before" in words and own.table.source == "mine.csv"


@pytest.mark.parametrize(
    "value",
    [
        {"a.csv": {"metadata": {"name": "a.csv"}, "content": b"text,label"}},  # ipywidgets 7
        ({"name": "a.csv", "size": 10, "content": memoryview(b"text,label")},),  # and 8
    ],
)
def test_the_value_of_an_upload_is_understood_in_both_versions(value):
    assert uploaded_file(value) == ("a.csv", b"text,label")
    assert uploaded_file(type(value)()) is None


def test_columns_are_asked_for_where_their_names_say_nothing(tmp_path):
    own = OwnClasses(own_file(tmp_path, text="what", topic="kind"))
    assert own.table is None and "it has 'what', 'kind'" in text_of(own, "oc-unread")
    one(own, "oc-text-column").value = "what"
    assert "no column is called label" in text_of(own, "oc-unread")
    one(own, "oc-label-column").value = "kind"
    assert own.table.labels == ("fruit", "sport", "weather") and text_of(own, "oc-unread") == ""
    assert each(own, "oc-text-column")  # they stay as long as they are needed
    one(own, "oc-path").value = str(own_file(tmp_path, "other.csv"))
    assert own.table.source == "other.csv" and not each(own, "oc-text-column")
    own.read(tmp_path / "mine.csv", text="what", label="kind")
    assert own.table.source == "mine.csv" and each(own, "oc-text-column")


def test_what_cannot_be_read_is_a_sentence_and_the_table_from_before_stays(own, tmp_path):
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    (tmp_path / "one.csv").write_text("text,label\n" + "".join(f"t{i},a\n" for i in range(20)))
    for name in ("empty.csv", "a.png", "one.csv", ".", "none.csv", "<b>.csv"):
        one(own, "oc-path").value = str(tmp_path / name)
        assert '<p role="alert">' in one(own, "oc-unread").value, name
        assert "read before" in text_of(own, "oc-unread") and len(own.table.frame) == 90
    assert "<b>" in text_of(own, "oc-unread")


def test_an_unknown_model_is_refused_at_once():
    with pytest.raises(ValueError, match="unknown model 'gpt2-smal"):
        OwnClasses(model_name="gpt2-smal")


# --- a training -----------------------------------------------------------------------------------


def test_a_press_on_train_gives_the_figures_of_the_same_training_by_code(own):
    choose(own, "oc-balance", "class weights")
    choose(own, "oc-position", "mean")
    assert chosen(own, "oc-balance") == "class weights"
    assert "a rare class counts more" in text_of(own, "oc-balance-in-words")
    click(own, "Train")
    settings = OwnSettings(plan="head only", position="mean", balance="class weights", epochs=1)
    assert own.settings == own.training.settings == settings
    other = OwnTraining(own.split, settings)
    for _ in other.steps():
        pass
    expected = other.figures()
    assert list(own.figures) == list(expected)
    for name, figures in own.figures.items():
        assert (figures.table == expected[name].table).all()
    assert text_of(own, "fx-problem") == "" and one(own, "fx-bar").value == ""
    right = own.figures[THIS].right
    assert f"of 18 test texts this classifier gets {right} right" in text_of(own, "fx-status")
    assert own.classifier.about["figures"].startswith("what ")
    assert own.classifier.about["trained on"] == "mine.csv, 63 texts"


def test_after_a_training_there_are_the_figures_beside_the_baselines_and_the_matrix(trained):
    figures = trained.figures
    cells = rows(trained, "oc-summary")[: len(figures)]
    assert [row[0] for row in cells] == ["this classifier", "always fruit", "counting words"]
    assert [row[1] for row in cells] == [str(one.right) for one in figures.values()]
    matrix = one(trained, "oc-matrix").value
    assert matrix == trained.drawing.svg and "the confusion matrix of 18 texts" in matrix
    assert "how the training goes" in one(trained, "fx-live").value
    click(trained, "the figures of each class")
    assert "precision" in text_of(trained, "oc-each")
    click(trained, "the figures of each class")


def test_a_field_lists_its_texts_the_surest_first_ten_at_a_time(trained):
    labels, test = trained.split.labels, trained.split.test
    table = trained.figures[THIS].table
    wrong = {
        f"{labels[i]} → {labels[j]}: {table[i, j]}"
        for i, j in np.argwhere(table).tolist()
        if i != j
    }
    buttons = {
        w.description.removeprefix("✓ ") for w in each(one(trained, "oc-field"), "fx-choice")
    }
    assert buttons == wrong and wrong
    largest = max(wrong, key=lambda words: int(words.split()[-1]))
    choose(trained, "oc-field", largest)
    correct, called = re.match(r"(\w+) → (\w+)", largest).groups()
    i, j = labels.index(correct), labels.index(called)
    assert chosen(trained, "oc-field") == largest
    assert text_of(trained, "oc-heading").startswith(f"{correct}, called {called}: ")
    shown = ElementTree.fromstring(one(trained, "oc-texts").value).findall("li")
    sure = [float(item.find("b").text) for item in shown]
    assert sure == sorted(sure, reverse=True) and len(shown) == min(10, table[i, j])
    texts = [item.find("b").tail.strip() for item in shown]
    of_class = set(test["Text"][test["Label"] == i])
    assert set(texts) <= of_class
    assert trained.classifier.classify_many(texts) == [called] * len(texts)
    with pytest.raises(ValueError, match="there is no class 'fish' among 3"):
        trained.show_field("fish", "fruit")


def test_a_long_field_has_a_button_for_ten_more(trained):
    own = trained
    labels = own.split.labels
    called = labels[max(range(3), key=lambda j: own.figures[THIS].called(labels[j]))]
    number = labels.index(called)
    correct = max(labels, key=lambda name: own.figures[THIS].table[labels.index(name), number])
    count = own.figures[THIS].table[labels.index(correct), number]
    own.show_field(correct, called)
    assert len(each(own, "oc-more")) == (count > 10)
    own._shown = 2  # as if a page held two
    own._show_texts()
    assert f"2 of {count} texts" in text_of(own, "oc-heading")
    click(own, f"{min(10, count - 2)} more")
    assert f"{min(12, count)} of {count} texts" in text_of(own, "oc-heading")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda own: setattr(one(own, "fx-lr"), "value", 0.0), "lr must be a finite number above"),
        (lambda own: setattr(one(own, "fx-lr"), "value", 1e30), "take a smaller learning rate"),
    ],
)
def test_what_cannot_be_trained_gets_a_sentence(own, spoil, words):
    spoil(own)
    click(own, "Train")
    assert words in text_of(own, "fx-problem")
    assert '<p role="alert">' in one(own, "fx-problem").value
    assert own.figures is None and own.classifier is None and own._training is None


def test_without_a_table_there_is_nothing_to_train():
    own = OwnClasses()
    click(own, "Train")
    assert "There is no table yet" in text_of(own, "fx-problem")
    assert own.train() is None
    with pytest.raises(ValueError, match="train first"):
        own.show_field("a", "b")


def test_an_interruption_leaves_the_weights_of_whole_epochs(own, monkeypatch):
    one(own, "fx-epochs").value = 40
    show = own._show_progress

    def interrupting(progress):
        show(progress)
        if len(progress.history.val_accs) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(own, "_show_progress", interrupting)
    click(own, "Train")
    assert "Stopped: the model has the weights of 2 whole epochs." in text_of(own, "fx-status")
    assert own.classifier.about["interrupted"] == "after 2 whole epochs of 40"
    assert own._training is None


def on_a_loop(own, meanwhile) -> None:
    """Press Train where a loop runs, as in a kernel; do something between two slices; await it."""

    async def main():
        click(own, "Train")
        assert own.training is not None and own.figures is None  # it has only begun
        await meanwhile()
        await own._task

    asyncio.run(main())


def test_stop_is_heard_between_slices_and_what_was_trained_is_measured(own, tmp_path):
    one(own, "fx-epochs").value = 100

    async def press_stop():
        while not (own._run.histories and own._run.histories[0].val_accs):
            await asyncio.sleep(0)
        one(own, "oc-path").value = str(own_file(tmp_path, "other.csv"))
        assert "A training is under way" in text_of(own, "oc-unread")
        click(own, "Stop")

    on_a_loop(own, press_stop)
    epochs = own._run.epochs
    assert 1 <= epochs < 100 and own.table.source == "mine.csv"
    words = text_of(own, "fx-status")
    assert words.startswith("Stopped: the model has the weights of") and "right;" in words
    assert own.figures is not None and str(epochs) in own.classifier.about["interrupted"]
    assert each(own, "oc-matrix") and each(own, "oc-save")
    own.read(tmp_path / "other.csv")  # another table puts the results away
    assert own.figures is own.classifier is own.training is None
    assert not each(own, "oc-matrix") and not each(own, "oc-save")
    assert one(own, "fx-live").value == "" and "Nothing" in text_of(own, "fx-status")


def test_stop_before_the_first_epoch_leaves_nothing_trained(own):
    async def press_stop():
        click(own, "Stop")

    on_a_loop(own, press_stop)
    assert "nothing has been trained" in text_of(own, "fx-status") and own.classifier is None
    click(own, "Stop")
    assert text_of(own, "fx-status") == "Nothing is being trained."


# --- try it, save it ------------------------------------------------------------------------------


def test_a_text_of_ones_own_gets_the_probabilities_of_all_classes_the_largest_first(trained):
    box = one(trained, "fx-text")
    box.value = "ripe <b>"
    answer = ElementTree.fromstring(f"<p>{one(trained, 'oc-answer').value}</p>")
    found = {row[0].text: float(row[1].text) for row in answer.iterfind("table/tbody/tr")}
    (expected,) = trained.classifier.probabilities(["ripe <b>"]).tolist()
    assert found == pytest.approx(dict(zip(trained.split.labels, expected, strict=True)), abs=6e-4)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    best = trained.classifier.classify("ripe <b>")
    assert text_of(trained, "oc-answer").startswith(f"Answer: {best}, ")
    box.value = "pear " * 100
    length = trained.classifier.max_length
    assert f"Only the first {length} tokens were read." in text_of(trained, "oc-answer")
    box.value = "  "
    assert text_of(trained, "oc-answer") == ""


def test_the_saved_file_answers_as_the_widget_does_and_none_is_overwritten_unasked(
    trained, tmp_path
):
    assert one(trained, "oc-name").value == "mine.safetensors"
    click(trained, "Save")
    path = tmp_path / "mine.safetensors"
    words = text_of(trained, "oc-saved")
    assert f"Saved: {path}." in words and f"TextClassifier.load({str(path)!r})" in words
    loaded = TextClassifier.load(path)
    texts = trained.split.test["Text"].tolist()
    assert torch.equal(loaded.probabilities(texts), trained.classifier.probabilities(texts))
    assert "counting words" in loaded.about["figures"]

    path.write_text("something else")
    click(trained, "Save")
    assert "is there already" in text_of(trained, "oc-saved")
    assert path.read_text() == "something else"
    one(trained, "oc-name").value = "other"
    assert not each(trained, "oc-replace")  # the offer was for the first name
    one(trained, "oc-name").value = "mine"
    click(trained, "Save")
    click(trained, "Replace the file")
    assert TextClassifier.load(path).labels == loaded.labels and not each(trained, "oc-replace")


@pytest.mark.parametrize("name", ["", "  ", "a/b", "..", "a\\b", "a\0b", "x" * 300])
def test_a_name_that_is_none_is_refused_in_a_sentence(trained, name, tmp_path):
    one(trained, "oc-name").value = name
    click(trained, "Save")
    assert text_of(trained, "oc-saved").startswith("Nothing was saved: ")
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_written_a_sentence_says_so(trained, tmp_path):
    (tmp_path / "a_file").write_text("")
    trained._folder = tmp_path / "a_file"
    click(trained, "Save")
    assert text_of(trained, "oc-saved").startswith("Nothing was saved: ")


# --- what is shown --------------------------------------------------------------------------------


def test_a_page_without_a_kernel_gets_picture_tables_and_words(trained, tmp_path, monkeypatch):
    sent = []
    monkeypatch.setattr("workshop.widgets.parts.display", lambda data, raw: sent.append(data))
    OwnClasses()._ipython_display_()
    assert "No table has been read yet." in sent[0]["text/html"]
    OwnClasses(own_file(tmp_path))._ipython_display_()
    assert "<caption>The classes</caption>" in sent[1]["text/html"]
    assert "image/svg+xml" not in sent[1] and "90 rows read" in sent[1]["text/plain"]
    trained._ipython_display_()
    assert sent[2]["image/svg+xml"] == trained.drawing.svg
    assert "counting words" in sent[2]["text/html"] and "precision" in sent[2]["text/plain"]


def test_what_a_table_holds_is_shown_as_text_not_as_markup(tmp_path):
    table = own_table()
    table["topic"] = table["topic"].replace({"fruit": "<i>fruit</i>"})
    table["text"] = "<script>" + table["text"]
    table.to_csv(tmp_path / "odd.csv", index=False)
    own = quick(OwnClasses(tmp_path / "odd.csv"))
    own.train()
    own.show_field("<i>fruit</i>", "sport")
    own.show_field("sport", "sport")
    one(own, "fx-text").value = "<script>"
    for html in html_of(own):
        assert "<script>" not in html and "<i>" not in html
        if not html.startswith("<style"):
            ElementTree.fromstring(f"<p>{html}</p>")


def test_of_many_classes_only_the_largest_are_listed_and_the_rest_are_counted():
    frame = pd.DataFrame(
        [(f"word{i} of class {k}", f"c{k:02}") for k in range(25) for i in range(8 + k)],
        columns=["text", "label"],
    )
    split = split_stratified(read_texts(frame))
    table = classes_table(split)
    assert table.count("<tr>") == 21 and "<td>32</td>" in table and "c04" not in table
    assert f"and 5 more, with {8 + 9 + 10 + 11 + 12} texts" in table
    names = [f"c{k}" for k in range(30)]
    html = answer_html(names, np.linspace(0, 1, 30).tolist())
    assert html.count("<tr>") == 21 and "The 20 likeliest of 30 classes" in html
    assert "Answer: c29, " in html


def test_fields_beyond_the_first_have_no_button_and_are_counted(trained, monkeypatch):
    labels = tuple(f"a long name of a class, the number {k} of all of them" for k in range(8))
    correct = [i for i in range(8) for _ in range(8)]
    figures = class_figures(labels, correct, list(range(8)) * 8)
    monkeypatch.setattr(trained, "figures", {THIS: figures})
    monkeypatch.setattr(trained, "split", type("Some", (), {"labels": labels}))
    how, choice, *_ = trained._mistakes()
    assert len(each(choice, "fx-choice")) == MOST_FIELDS
    assert f"{56 - MOST_FIELDS} fields more with {56 - MOST_FIELDS} mistakes" in how.value
    monkeypatch.undo()
    trained._show_results()


def test_a_field_holds_the_texts_of_one_class_that_are_called_another():
    probabilities = torch.tensor([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    assert field_of([1, 1, 1, 0], probabilities, 1, 0) == [1, 0]
    assert field_of([1, 1, 1, 0], probabilities, 0, 1) == []


def test_nothing_that_the_widget_does_is_deprecated(trained, complaints):
    assert complaints == []
