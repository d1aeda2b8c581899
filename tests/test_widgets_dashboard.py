"""The dashboard follows the threshold, lists the messages of a field and hands on the one pressed."""

import random
import re

import numpy as np
import pandas as pd
import pytest
import torch

from helpers.classify import SpamClassifier
from helpers.freezing import replace_head
from helpers.measures import FIELDS, counts_at, field_at, precision_recall_curve
from tests.clicks import MARKS, click, each, one, static_form, text_of
from tests.conftest import TINY, random_model
from workshop.pictures.svg import joined
from workshop.pictures.verdict import draw_curve, draw_matrix
from workshop.widgets import Dashboard

pytestmark = MARKS
WORDS = ["free", "prize", "win", "claim", "see", "you", "at", "eight", "dinner", "call", "reply"]


@pytest.fixture(scope="module")
def classifier(messages) -> SpamClassifier:
    """A random model whose answers spread from ham to spam, about half of each."""
    model = replace_head(random_model(TINY))
    made = SpamClassifier(model, 30, position="last_token")
    with torch.no_grad():
        model.out_head.weight[1] = 12 * torch.arange(-4.0, 4.0)
        model.out_head.weight[0] = model.out_head.bias[:] = 0
        p_spam = made.probabilities(messages["Text"].tolist())[:, 1]
        model.out_head.bias[1] = -p_spam.logit().median()
    return made


@pytest.fixture(scope="module")
def messages() -> pd.DataFrame:
    rng = random.Random(0)
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(2, 14))) for _ in range(120)]
    labels = [rng.randint(0, 1) for _ in texts]
    return pd.DataFrame({"Label": labels, "Text": texts}, [rng.choice("abc") for _ in texts])


@pytest.fixture(scope="module")
def p_spam(classifier, messages) -> np.ndarray:
    return classifier.probabilities(messages["Text"].tolist())[:, 1].numpy()


@pytest.fixture
def shown(classifier, messages) -> Dashboard:
    return Dashboard(classifier, messages)


def button(shown, correct: str, called: str):
    return one(shown, f"db-field-{correct}-{called}")


def listed(shown) -> list[str]:
    return [line.description for line in each(shown, "db-message")]


def test_whichever_control_is_pressed_everything_follows_the_threshold(shown, messages, p_spam):
    slider, box = one(shown, "db-threshold"), one(shown, "db-threshold-box")
    controls = (slider, "value", 0.31), (box, "value", 0.62), (shown, "threshold", 0.93)
    for control, name, value in controls:
        setattr(control, name, value)
        counts = counts_at(messages["Label"], p_spam, value)
        assert shown.threshold == slider.value == box.value == value and shown.counts == counts
        for correct, called in FIELDS:
            words = f"{correct} predicted as {called}: {counts.table[correct, called]}"
            assert button(shown, correct, called).description == words
        assert f"at threshold {value:.2f}" in one(shown, "db-matrix").value
        assert f"at {value:.2f}: recall" in one(shown, "db-curve").value
        assert f"{counts.right} of 120 are correct" in text_of(shown, "db-figures")
    box.value = 0.1234  # between two steps of the slider
    assert shown.threshold == shown.counts.threshold == box.value == 0.1234
    assert slider.value == 0.12


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_lists_its_messages_the_surest_first_ten_more_at_a_press(
    shown, messages, p_spam, field
):
    inside = field_at(messages["Label"], p_spam, 0.5, *field)
    lines = [f"{p_spam[i]:.3f}  {messages['Text'].iloc[i]}" for i in inside]
    button(shown, *field).click()
    assert shown.field == field and button(shown, *field).description.startswith("✓ ")
    assert listed(shown) == lines[:10]
    click(shown, "more")
    assert listed(shown) == lines[:20]
    assert f"20 of {len(lines)} messages" in text_of(shown, "db-heading")
    while each(shown, "db-more"):
        click(shown, "more")
    assert listed(shown) == lines
    shown.threshold = 1
    assert (listed(shown) == []) == (field[1] == "spam")  # no message is predicted as spam


def test_a_press_on_a_message_calls_on_message_with_its_text(classifier):
    taken, text = [], "<img src=x onerror=alert(1)> & <b>bold</b>"

    def take(text):
        taken.append(text)
        if len(taken) > 1:
            raise KeyError("<b>no microscope</b>")

    frame = pd.DataFrame({"Text": ["see you", text], "Label": [1, 0]})
    shown = Dashboard(classifier, frame, on_message=take)
    (field,) = [field for field in FIELDS if field[0] == "ham" and shown.counts.table[field]]
    shown.show_field(*field)
    (line,) = each(shown, "db-message")
    line.click()
    assert taken == [text] == [shown.message] and text in text_of(shown, "db-chosen")
    assert line.description.startswith("✓ ") and each(shown, "db-message") == [line]
    line.click()
    alert = one(shown, "db-chosen").value
    assert 'role="alert"' in alert and "on_message failed" in alert and "<b>" not in alert


def test_reliability_and_slices_are_a_press_away(shown):
    click(shown, "the reliability diagram")
    assert "expected calibration error" in one(shown, "db-reliability").value
    click(shown, "slices")
    slices = one(shown, "db-slices").value
    assert "fewer than 10 tokens" in slices and "10 tokens or more" in slices
    shown.threshold = 0.9
    assert one(shown, "db-slices").value != slices


def test_what_is_shown_is_that_of_one_model_and_a_sentence_says_of_which(classifier, messages):
    changed = SpamClassifier(replace_head(random_model(TINY)), 30, position="last_token")
    shown = Dashboard(changed, messages)
    before = one(shown, "db-matrix").value, one(shown, "db-curve").value
    changed.model.load_state_dict(classifier.model.state_dict())
    shown.threshold = 0.4
    shown.threshold = 0.5
    assert (one(shown, "db-matrix").value, one(shown, "db-curve").value) == before
    assert "after a new training, run its cell again" in text_of(shown, "db-how")


def test_a_saved_page_gets_pictures_table_and_words(shown, messages, p_spam, monkeypatch):
    points = precision_recall_curve(messages["Label"].tolist(), p_spam)
    data, counts = static_form(shown, monkeypatch), shown.counts
    drawing = joined([draw_matrix(counts), draw_curve(points, counts)])
    assert (data["image/svg+xml"], data["text/plain"]) == (drawing.svg, drawing.words)
    rows = dict(re.findall(r'<th scope="row">(.*?)</th><td>(.*?)</td>', data["text/html"]))
    assert rows["ham predicted as spam"] == str(counts.table["ham", "spam"])
    for name in ("accuracy", "precision", "recall"):
        assert rows[name] == f"{100 * getattr(counts, name):.0f} %"
    assert "120 messages at threshold 0.50" in data["text/html"]


def test_what_cannot_be_shown_is_refused_in_a_sentence(classifier, messages, shown):
    with pytest.raises(ValueError, match="labels must be 0 for ham or 1 for spam"):
        Dashboard(classifier, messages.assign(Label="ham"))
    with pytest.raises(ValueError, match="from 0 to 1, not 50"):
        shown.threshold = 50
