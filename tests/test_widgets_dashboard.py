"""The dashboard follows the threshold, lists the messages of a field and hands on the one pressed."""

import random

import numpy as np
import pandas as pd
import pytest
import torch

from helpers.classify import SpamClassifier
from helpers.freezing import replace_head
from helpers.measures import FIELDS, counts_at, field_at
from tests.clicks import click, each, one, static_form, text_of
from tests.conftest import TINY, random_model
from workshop.widgets import Dashboard

pytestmark = [
    pytest.mark.usefixtures("no_callback_fails"),
    pytest.mark.filterwarnings("ignore:The `ipykernel.comm.Comm` class:DeprecationWarning"),
]
WORDS = ("free", "prize", "win", "claim", "see", "you", "at", "eight", "dinner", "call", "reply")


@pytest.fixture(scope="module")
def classifier(messages) -> SpamClassifier:
    """A random model whose answers spread from ham to spam, about half of each."""
    model = replace_head(random_model(TINY))
    made = SpamClassifier(model, 30, position="last_token")
    with torch.no_grad():
        model.out_head.weight[1] = 12 * torch.arange(-4.0, 4.0)
        model.out_head.weight[0] = model.out_head.bias[:] = 0
        margins = made.probabilities(messages["Text"].tolist()).double().logit()[:, 1]
        model.out_head.bias[1] = -margins.median()
    return made


@pytest.fixture(scope="module")
def messages() -> pd.DataFrame:
    rng = random.Random(0)
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(2, 14))) for _ in range(120)]
    return pd.DataFrame({"Label": [rng.randint(0, 1) for _ in texts], "Text": texts})


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


def test_the_answers_of_this_classifier_spread(p_spam):
    assert p_spam.min() < 0.2 and p_spam.max() > 0.8


def test_whichever_control_is_pressed_everything_follows_the_threshold(shown, messages, p_spam):
    controls = (
        lambda value: setattr(one(shown, "db-threshold"), "value", value),
        lambda value: setattr(one(shown, "db-threshold-box"), "value", value),
        lambda value: setattr(shown, "threshold", value),
    )
    for move, value in zip(controls, (0.31, 0.62, 0.93), strict=True):
        move(value)
        counts = counts_at(messages["Label"], p_spam, value)
        assert shown.threshold == value and shown.counts == counts
        assert one(shown, "db-threshold").value == one(shown, "db-threshold-box").value == value
        for field in FIELDS:
            assert button(shown, *field).description == (
                f"{field[0]} called {field[1]}: {counts.table[field]}"
            )
        assert f"at threshold {value:.2f}" in one(shown, "db-matrix").value
        assert f"at {value:.2f}: recall" in one(shown, "db-curve").value
        assert f"{counts.right} of 120 are right" in text_of(shown, "db-figures")


def test_a_threshold_between_two_steps_stays_and_the_slider_is_at_the_nearest(shown):
    one(shown, "db-threshold-box").value = 0.1234
    assert (
        shown.threshold == shown.counts.threshold == one(shown, "db-threshold-box").value == 0.1234
    )
    assert one(shown, "db-threshold").value == 0.12


def test_where_nothing_is_called_spam_the_page_says_so_and_shows_no_nan(shown):
    shown.threshold = 1
    assert "No precision: nothing is called spam." in text_of(shown, "db-figures")
    shown.show_field("ham", "spam")
    assert "0 of 0 messages" in text_of(shown, "db-heading") and listed(shown) == []
    assert "nan" not in "".join(one(shown, f"db-{name}").value for name in ("matrix", "curve"))


def test_messages_without_any_spam_have_no_curve_and_no_recall(classifier, messages):
    ham = messages[messages["Label"] == 0]
    shown = Dashboard(classifier, ham)
    assert "No recall: none of these messages is spam." in text_of(shown, "db-figures")
    assert "there is no curve without spam" in one(shown, "db-curve").value


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_lists_its_messages_the_surest_first_ten_more_at_a_press(
    shown, messages, p_spam, field
):
    inside = field_at(messages["Label"], p_spam, 0.5, *field)
    lines = [f"{p_spam[i]:.3f}  {messages['Text'][i]}" for i in inside]
    button(shown, *field).click()
    assert shown.field == field and button(shown, *field).description.startswith("✓ ")
    assert listed(shown) == lines[:10]
    click(shown, "more")
    assert listed(shown) == lines[:20]
    while each(shown, "db-more"):
        click(shown, "more")
    assert listed(shown) == lines
    assert f"{len(lines)} of {len(lines)} messages" in text_of(shown, "db-heading")


def test_the_list_follows_the_threshold(shown, messages, p_spam):
    shown.show_field("ham", "spam")
    shown.threshold = 0.7
    inside = field_at(messages["Label"], p_spam, 0.7, "ham", "spam")
    assert listed(shown) == [f"{p_spam[i]:.3f}  {messages['Text'][i]}" for i in inside[:10]]


def test_a_press_on_a_message_calls_on_message_with_its_text(classifier, messages):
    taken = []
    shown = Dashboard(classifier, messages, on_message=taken.append)
    button(shown, "spam", "spam").click()
    second = each(shown, "db-message")[1]
    text = second.description.split("  ", 1)[1]
    second.click()
    assert taken == [text] == [shown.message] and text in text_of(shown, "db-chosen")
    assert second.description.startswith("✓ ") and each(shown, "db-message")[1] is second


def test_without_on_message_a_press_keeps_the_text(shown):
    shown.show_field("ham", "ham")
    line = each(shown, "db-message")[0]
    text = line.description.split("  ", 1)[1]
    line.click()
    assert shown.message == text


def test_what_on_message_raises_is_said_in_a_sentence(classifier, messages):
    def fails(text):
        raise KeyError("<b>no microscope</b>")

    shown = Dashboard(classifier, messages, on_message=fails)
    shown.show_field("ham", "ham")
    each(shown, "db-message")[0].click()
    alert = one(shown, "db-chosen").value
    assert 'role="alert"' in alert and "on_message failed" in alert and "<b>" not in alert


def test_a_message_is_shown_as_text_and_never_as_markup(classifier):
    text = "<img src=x onerror=alert(1)> & <b>bold</b>"
    shown = Dashboard(classifier, pd.DataFrame({"Text": [text, "see you"], "Label": [0, 1]}))
    (field,) = [field for field in FIELDS if field[0] == "ham" and shown.counts.table[field]]
    shown.show_field(*field)
    each(shown, "db-message")[0].click()
    assert "<img" not in one(shown, "db-chosen").value and text in text_of(shown, "db-chosen")


def test_reliability_and_slices_are_a_press_away_and_further_kinds_can_be_given(
    classifier, messages
):
    is_first = pd.Series(range(120)) < 50
    shown = Dashboard(classifier, messages, kinds={"the first fifty": is_first})
    click(shown, "the reliability diagram")
    assert "expected calibration error" in one(shown, "db-reliability").value
    click(shown, "slices")
    before = one(shown, "db-slices").value
    for name in ("fewer than 10 tokens", "10 tokens or more", "the first fifty"):
        assert name in before
    shown.threshold = 0.9
    assert one(shown, "db-slices").value != before


def test_a_page_without_a_kernel_gets_pictures_table_and_words(shown, monkeypatch):
    data = static_form(shown, monkeypatch)
    assert data["image/svg+xml"] == shown.drawing.svg and data["text/plain"] == shown.drawing.words
    counts = shown.counts
    for name, number in (
        ("ham called spam", counts.table["ham", "spam"]),
        ("accuracy", f"{100 * counts.accuracy:.0f} %"),
        ("recall", f"{100 * counts.recall:.0f} %"),
    ):
        assert f'<th scope="row">{name}</th><td>{number}</td>' in data["text/html"]
    assert "120 messages at threshold 0.50" in data["text/html"]


GOOD = pd.DataFrame({"Text": ["see you"], "Label": [0]})
BAD_INPUT = {
    "no texts": (lambda c: Dashboard(c, GOOD[["Label"]]), "no column 'Text'"),
    "no labels": (lambda c: Dashboard(c, GOOD[["Text"]]), "no column 'Label'"),
    "labels in words": (
        lambda c: Dashboard(c, GOOD.assign(Label="ham")), "0 (ham) or 1 (spam), not 'ham'"
    ),
    "no label": (lambda c: Dashboard(c, GOOD.assign(Label=np.nan)), "0 (ham) or 1 (spam), not nan"),
    "an empty message": (lambda c: Dashboard(c, GOOD.assign(Text=" ")), "is empty"),
    "a threshold in percent": (
        lambda c: setattr(Dashboard(c, GOOD), "threshold", 50), "from 0 to 1, not 50"
    ),
    "no such field": (
        lambda c: Dashboard(c, GOOD).show_field("ham", "eggs"), "there is no field"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_INPUT)
def test_what_cannot_be_shown_is_refused_in_a_sentence(case, classifier):
    attempt, words = BAD_INPUT[case]
    with pytest.raises(ValueError) as raised:
        attempt(classifier)
    assert words in str(raised.value)


def everything(shown) -> dict:
    """All that a learner sees but for which message was taken."""
    for words in ("slices", "diagram"):
        click(shown, words)
    names = ("figures", "matrix", "curve", "reliability", "slices")
    found = {name: one(shown, f"db-{name}").value for name in names}
    for words in ("slices", "diagram"):
        click(shown, words)
    found["heading"] = [heading.value for heading in each(shown, "db-heading")]
    fields = [(field.description, field.tooltip) for field in each(shown, "db-field")]
    return found | {"fields": fields, "listed": [line.removeprefix("✓ ") for line in listed(shown)]}


@pytest.mark.parametrize("presses", [40, pytest.param(300, marks=pytest.mark.proof)])
def test_after_random_clicks_what_is_shown_is_what_a_new_one_would_show(
    classifier, messages, p_spam, presses
):
    rng, taken = random.Random(0), []
    strange = messages.set_index(pd.Index([rng.choice("abc") for _ in range(120)]))
    shown = Dashboard(classifier, strange, taken.append)
    for number in range(presses):
        kind = rng.choice(["threshold-box", "threshold", "field", "message", "more", "code"])
        buttons = each(shown, f"db-{kind}")
        if kind == "code":
            shown.threshold = rng.choice((0, 1, np.float32(0.3), rng.random()))
        elif kind.startswith("threshold"):
            values = (round(rng.random(), 2), float(rng.choice(p_spam)))
            buttons[0].value = values[kind == "threshold-box"]
        elif buttons:
            clicked = rng.choice(buttons)
            clicked.click()
            assert kind != "message" or clicked.description.endswith(f"  {taken[-1]}")
        print(kind)  # pytest shows this only where the test fails
        if number % 8:  # a new one takes a while
            continue
        new = Dashboard(classifier, messages)
        new.threshold = shown.threshold
        if shown.field:
            new.show_field(*shown.field)
            while len(listed(new)) < len(listed(shown)):
                click(new, "more")
        assert everything(shown) == everything(new)
    assert taken


def test_moving_the_threshold_back_and_forth_makes_no_further_buttons(shown):
    shown.show_field("ham", "spam")
    before = {}
    for value in (0.2, 0.8, 0.2, 0.8):
        shown.threshold = value
        for line, text in zip(each(shown, "db-message"), listed(shown), strict=True):
            assert before.setdefault(text, line) is line
    assert before
