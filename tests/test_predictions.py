"""A prediction reveals nothing before a guess, and says the truth after it."""

import asyncio
import re
import tomllib
from html import unescape
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from helpers.config import gpt_config
from helpers.data import SMS_COUNTS
from helpers.freezing import FreezePlan, parameter_report
from helpers.tokenizer import get_tokenizer
from notebooks import build
from tests.clicks import one, static_form, text_of
from tests.conftest import ROOT, load_parts
from workshop.exercises import prediction
from workshop.exercises.prediction import Number, OneOf, Question, Shape, questions
from workshop.exercises.record import RIGHT, UNSAID, WRONG, progress
from workshop.pictures.charts import batch_widths, share_of_padding
from workshop.pictures.svg import Drawing
from workshop.widgets.prediction import Prediction

GUESSES = tomllib.loads((ROOT / "tests" / "wrong" / "guesses.toml").read_text("utf-8"))
TOML = tomllib.loads((ROOT / "workshop" / "exercises" / "questions.toml").read_text("utf-8"))

SHARE = Question(
    "How much is *padding*?",
    Number(within=5, unit="%"),
    right="Yes, {answer}.",
    wrong={"too low": "More.", "too high": "Less.", 100: "Then no word is left."},
    then="It is `<|endoftext|>`.",
)
SHAPE = Question("Which shape?", Shape(), "Two classes.", {(1, 4): "That went in.", "else": "No."})
LABEL = Question("Which label?", OneOf("ham", "spam & co"), "Yes.", {"spam & co": "No list."})
CASES = {"share": (SHARE, 60.2), "shape": (SHAPE, (1, 4, 2)), "label": (LABEL, "ham")}


def saved_answers() -> dict:
    """The answer to each question as the saved pages show it, by the bundled model and data."""
    answers = {}
    for cell in [cell for name in build.names() for cell in build.read(name).cells]:
        asked = re.search(r'^predict\(\s*"([^"]+)"', cell.source, re.MULTILINE)
        if cell.cell_type == "code" and asked:
            pages = "".join(str(output.get("data", "")) for output in cell.outputs)
            shown = re.search(r"<summary>Answer</summary><p><b>(.*?)</b>", pages)[1]
            answers[asked[1]] = questions()[asked[1]].kind.read(unescape(shown))
    return answers


ANSWERS = saved_answers()


@pytest.mark.parametrize("name", questions())
def test_a_wrong_guess_gets_its_sentence_and_each_sentence_has_a_guess(name):
    question, answer = questions()[name], ANSWERS[name]
    assert question.reply(answer, answer) == (True, question.fill(question.right, answer))
    replies = set()
    for typed, words in GUESSES[name].items():
        is_right, reply = question.reply(question.kind.read(typed), answer)
        assert not is_right and words in reply, (typed, reply)
        replies.add(reply)
    assert replies == {question.fill(reply, answer) for reply in question.wrong.values()}
    if isinstance(question.kind, OneOf):
        assert len(GUESSES[name]) == min(3, len(question.kind.options) - 1)
    else:
        assert len(GUESSES[name]) >= 3


@pytest.mark.parametrize("entry", TOML["questions"], ids=lambda entry: entry["name"])
def test_a_question_has_what_it_needs_and_nothing_misspelt(entry):
    kinds = [{"options"}, {"kind"}, {"unit", "within", "tolerance"}]
    rest = set(entry) - {"name", "ask", "right", "wrong", "then"}
    assert any(rest <= kind for kind in kinds)
    assert len(questions()) == len(TOML["questions"]) == len(GUESSES)  # a name stands once
    question = questions()[entry["name"]]
    texts = [question.ask, question.right, *question.wrong.values(), question.then]
    assert set(re.findall(r"\{.*?\}", "".join(texts))) <= {"{answer}"}
    has_any_reply = "else" in question.wrong or {"too low", "too high"} <= set(question.wrong)
    assert has_any_reply or len(question.wrong) == len(question.kind.options) - 1


@pytest.mark.parametrize(
    ("which", "typed", "is_right", "words"),
    [
        ("share", "60,0", True, "60.2 %, as you said.Yes, 60.2 %."),
        ("share", "50", False, "60.2 %, you said 50 %.More."),
        ("share", "70", False, "Less."),
        ("share", "97", False, "Then no word is left."),
        ("shape", "(1, 4, 2)", True, "(1, 4, 2), as you said."),
        ("shape", "[1 4]", False, "That went in."),
        ("shape", "2", False, "No."),
        ("label", "spam & co", False, "you said spam & co.No list."),
    ],
)
def test_a_guess_is_understood_and_gets_its_sentence(which, typed, is_right, words):
    widget = asked(which, Drawing('<svg class="here"></svg>', "the words"))
    before = shown(widget)
    widget.commit(typed)
    assert widget.is_right is is_right and words in text_of(widget, "pr-reply")
    after = shown(widget)
    for revealed in ("60.2", "<code>&lt;|endoftext|&gt;</code>", "Yes", '<svg class="here">'):
        assert revealed not in before
    assert '<svg class="here">' in after and ("&lt;|endoftext|&gt;" in after) == (which == "share")


NO_GUESSES = {
    "share": ("<b>9", "'<b>9' is no number"),
    "shape": ("four", "'four' is no shape, such as (1, 4, 2)."),
    "label": (" ", "First your guess, then Commit"),
}


@pytest.mark.parametrize("which", NO_GUESSES)
def test_what_is_no_guess_is_answered_in_a_sentence_and_reveals_nothing(which):
    widget, (typed, words) = asked(which), NO_GUESSES[which]
    widget.commit(typed)
    assert words in text_of(widget, "pr-problem") and not one(widget, "pr-reply").value
    assert widget.guess is None and len(one(widget, "pr-row").children) == 2


def test_texts_may_have_code_and_emphasis_and_no_markup_of_their_own():
    text = "a `b *c* d` <i> *e*, 2 * 3 * 4\n\nf"
    page = "<p>a <code>b *c* d</code> &lt;i&gt; <i>e</i>, 2 * 3 * 4</p><p>f</p>"
    assert prediction.in_html(text) == page


def asked(which: str, show=None) -> Prediction:
    return Prediction(f"9.9 {which}", *CASES[which], show)


def shown(widget) -> str:
    """All HTML and all labels that a learner has before the eyes."""
    texts = [str(getattr(widget, name, "")) for name in ("value", "description", "tooltip")]
    return " ".join(texts + [shown(child) for child in getattr(widget, "children", ())])


@pytest.mark.parametrize("answer", [60.2, np.float32(60.2), torch.tensor(60.2)])
@pytest.mark.parametrize("by", ["click", "Enter"])
def test_the_first_guess_counts_and_then_the_field_is_closed(answer, by, monkeypatch):
    widget = Prediction("9.9 share", SHARE, answer)
    field, commit = one(widget, "pr-guess"), one(widget, "pr-commit")

    async def press_enter_and_send_what_was_typed():
        field._handle_custom_msg({"event": "submit"}, [])
        field.value = "60"
        await asyncio.sleep(0.01)

    monkeypatch.setattr("workshop.widgets.prediction.ENTER", 0)
    if by == "Enter":
        asyncio.run(press_enter_and_send_what_was_typed())
    else:
        field.value = "60"
        assert widget.guess is None
        commit.click()
    widget.commit("50")
    assert (widget.guess, widget.is_right) == (60, True) and field.disabled
    assert commit.description == "✓ Committed"


@pytest.mark.parametrize("which", CASES)
def test_where_nothing_is_live_the_answer_is_folded_below_the_question(which, monkeypatch):
    data = static_form(asked(which, "a line\n<b>"), monkeypatch)
    page, (case, answer) = data["text/html"], CASES[which]
    ElementTree.fromstring(f"<div>{page}</div>")
    question, fold = page.split("<details><summary>Answer</summary>")
    right = case.fill(case.right, answer)
    assert "Predict:" in question and right in fold and right not in question
    assert page.endswith("</details>") and "&lt;b&gt;" in fold and "image/svg+xml" not in data
    assert data["text/plain"] == f"[Predict: {case.ask.replace('*', '')}]"
    assert ("<li>ham</li><li>spam &amp; co</li>" in question) == (which == "label")


def test_what_was_predicted_is_kept_and_only_the_first_time(capsys):
    for which, typed in (("share", "1"), ("share", "60"), ("label", "ham")):
        asked(which).commit(typed)
    asked("shape")
    progress("9.9")
    printed = capsys.readouterr().out
    assert "predictions: 2 of 3 made, 1 came true" in printed
    for state, name in ((WRONG, "share"), (RIGHT, "label"), (UNSAID, "shape")):
        assert f"{state:<18} {name}\n" in printed


TOKENIZER, QUESTIONS = get_tokenizer(), questions()


def words_of(name: str) -> str:
    question = QUESTIONS[name]
    return " ".join([question.ask, question.right, *question.wrong.values(), question.then])


PARTS = load_parts("sms-mini")


def test_the_share_of_the_parameters_that_sit_in_blocks_and_embeddings():
    report = parameter_report(gpt_config("gpt2-small (124M)"), FreezePlan.book(12))
    counts = {part.part: part.parameters for part in report.parts}
    embeddings = counts["tok_emb"] + counts["pos_emb"]
    text = words_of("6.1 the share that is trained")
    assert 0.30 < embeddings / report.total < 1 / 3 and "Almost a third" in text
    assert round(counts["trf_blocks.0"] / 1e6) == 7 and "seven million" in text


def test_what_balancing_leaves_out_of_the_collection():
    text = words_of("6.2 rows of the balanced collection")
    left_out = SMS_COUNTS["ham"] - SMS_COUNTS["spam"]
    assert f"{left_out:,} ham messages" in text
    assert f"collection's {sum(SMS_COUNTS.values()):,}" in text
    assert 2 * SMS_COUNTS["ham"] in QUESTIONS["6.2 rows of the balanced collection"].wrong


def test_the_shares_of_spam_in_the_parts():
    train, validation, test = (100 * part["Label"].mean() for part in PARTS)
    text = words_of("6.2 the part that strays")
    assert f"{validation:.1f} % of the validation data" in text and f"{test:.1f} % of the" in text
    commoner = f"({max(train, 100 - train):.0f} and {max(validation, 100 - validation):.0f} %)"
    assert commoner in words_of("6.2 a list of words")


def test_the_lengths_of_the_training_messages():
    lengths = [len(TOKENIZER.encode(text)) for text in PARTS[0]["Text"]]
    text = words_of("6.3 the longest message")
    assert sum(length >= 65 for length in lengths) == 25 and "25 of the 700" in text
    assert sorted(lengths)[350] == 31 and "at most 31 tokens" in text
    shape = QUESTIONS["6.3 the shape of an item"].wrong
    assert (lengths[1],) in shape and (1, max(lengths)) in shape
    assert (max(lengths), 8) in QUESTIONS["6.3 the shape of a batch"].wrong
    padding = share_of_padding(lengths, [max(lengths)] * 700)
    ask = QUESTIONS["6.3 each batch its own length"].ask
    assert f"{padding:.0%}".replace("%", " %") in ask
    assert share_of_padding(lengths, batch_widths(lengths, 8)) < padding
