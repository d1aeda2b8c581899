"""A prediction reveals nothing before a guess, and says the truth after it."""

import asyncio
import re
import tomllib
from dataclasses import replace
from html import unescape
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from helpers.config import gpt_config
from helpers.freezing import FreezePlan, parameter_report, replace_head
from helpers.model import GPTModel
from helpers.tokenizer import get_tokenizer
from notebooks import build
from tests.clicks import one, static_form, text_of
from tests.conftest import ROOT, TINY, load_parts
from workshop.exercises import prediction
from workshop.exercises.predicted import (
    ANSWERS,
    compared_losses,
    compute_without_cache,
    end_of_pretraining,
    help_of_pretraining,
    padding_sorted,
    shuffled_tokens,
)
from workshop.exercises.prediction import Number, OneOf, Question, Shape, questions
from workshop.exercises.record import RIGHT, UNSAID, WRONG, progress
from workshop.pictures.charts import share_of_padding
from workshop.pictures.svg import Drawing
from workshop.pretraining import Recipe, new_model, pretrain
from workshop.widgets.prediction import Prediction, predict

GUESSES = tomllib.loads((ROOT / "tests" / "wrong" / "guesses.toml").read_text("utf-8"))
TOML = tomllib.loads((ROOT / "workshop" / "exercises" / "questions.toml").read_text("utf-8"))

SHARE = Question(
    "How much is *padding*?",
    Number(within=5, unit="%"),
    right={"else": "Yes, {answer}."},
    wrong={"too low": "More.", "too high": "Less.", "95": "Then no word is left."},
    then="It is `<|endoftext|>`.",
)
SHAPE = Question(
    "Which shape?",
    Shape(),
    {"else": "Two classes."},
    {"(1, 4)": "That went in.", "else": "No."},
)
LABEL = Question(
    "Which label?", OneOf("ham", "spam & co"), {"ham": "Yes."}, {"spam & co": "No list."}
)
LOSS = Question("Which loss?", Number(unit="nats"), {"else": "Yes."}, {"else": "No."})
CASES = {
    "share": (SHARE, 60.2),
    "shape": (SHAPE, (1, 4, 2)),
    "label": (LABEL, "ham"),
    "loss": (LOSS, 0.69),
}


def saved_answers() -> dict:
    """The answer to each question as the saved pages show it, by the bundled model and data."""
    answers = {}
    for cell in [cell for name in build.names() for cell in build.code_cells(build.read(name))]:
        if asked := re.search(r'^predict\(\s*"([^"]+)"', cell.source, re.MULTILINE):
            pages = "".join(str(output.get("data", "")) for output in cell.outputs)
            shown = re.search(r"<summary>Answer</summary><p><b>(.*?)</b>", pages)[1]
            answers[asked[1]] = questions()[asked[1]].kind.read(unescape(shown))
            assert asked[1] not in ANSWERS or "given=" in cell.source, asked[1]
    return answers


ANSWERS_ON_PAGES = saved_answers()
VALUES = {  # what the cells give for the bundled model and data
    "6.3 the shape of an item": {"own_length": 55, "longest": 82},
    "6.3 sorted by length": {"one_length": 60.04, "by_batch": 44.2, "in_order": 1.27},
    "6.3 the shape of a batch": {"longest": 82},
    "6.4 shape of the embedding": {"emb_dim": 192},
    "6.5 the shape with the old head": {"emb_dim": 192},
    "6.6 accuracy before training": {"total": 100, "ham": 41.0, "majority": 59.0},
    "6.6 loss before training": {
        "losses": "1.29, 1.37, 0.87, 0.74, 1.23",
        "spam": 59.0,
        "constant": 0.677,
    },
    "6.6 lower loss, lower accuracy": {
        "a": "0.6, 0.6, 0.6, 0.01",
        "b": "0.9, 0.9, 0.49, 0.49",
        "loss_a": 1.53,
        "loss_b": 0.41,
        "right_a": 3,
        "right_b": 2,
    },
    "6.8 leaving out a token": {"num_ham": 3, "total": 8, "first": "free", "last": "now"},
    "6.E hard on purpose": {"right": 5, "count": 11, "others": 92.6},
    "6.E words in another order": {"change": -2.7, "low": -5.1, "high": -0.3},
    "6.E best or last epoch": {"best": 90.1, "best_right": 90.0, "last": 96.6, "last_right": 86.0},
    "6.C where the loss ends": {"steps": 300, "end": 6.79, "unigram": 7.17},
    "6.C shuffled tokens": {"before": 6.79, "after": 7.77, "unigram": 7.17},
    "6.C how much pretraining helps": {
        "pretrained": 88.0,
        "random": 80.5,
        "majority": 56.5,
        "messages": 200,
    },
    "6.D compute without a cache": {
        "epochs": 5,
        "num_blocks": 6,
        "frozen_blocks": 5,
        "percent": 62.48,
    },
    "6.B the last real token": {"measured": "89.3%"},
    "6.B the head only": {"measured": "61.7%"},
    "6.B everything": {"measured": "87.1%"},
    "6.B random weights": {"measured": "80.3%"},
    "6.B padding to 1,024 tokens": {"measured": "65.9%", "majority": 56.5},
    "6.B ignore_index": {"measured": "84.3%"},
    "6.4 whose phone": {"before": "sister", "weight_before": 82.2, "weight": 81.8},
    "6.A majority class": {
        "largest": "money",
        "num_largest": 173,
        "num_texts": 840,
        "num_classes": 7,
        "one_of_classes": 100 / 7,
    },
    "6.A leakage": {
        "in_one_part": 59,
        "num_shared": 237,
        "num_test": 336,
        "shared": 71,
        "new": 29,
    },
    "6.A bag of words or GPT-2": {"bag": 62.4, "gpt2": 43.5, "num_texts": 586},
    "6.A more labels": {"before": 46.8, "half": 293, "num_texts": 586},
}


@pytest.mark.parametrize("name", questions())
def test_a_wrong_guess_gets_its_sentence_and_each_sentence_has_a_guess(name):
    question, answer = questions()[name], ANSWERS_ON_PAGES[name]
    question = replace(question, values=VALUES.get(name, {}))
    assert not question.missing()
    assert question.reply(answer, answer)[0]
    replies = set()
    for typed, words in GUESSES[name].items():
        is_right, reply = question.reply(question.kind.read(typed), answer)
        assert not is_right and words in reply, (typed, reply)
        replies.add(reply)
    possible = {key for key in question.wrong if key != question.kind.show(answer)}
    assert replies == {question.fill(question.wrong[key], answer) for key in possible}
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
    assert question.missing() == set(VALUES.get(entry["name"], {}))
    has_any_reply = "else" in question.wrong or {"too low", "too high"} <= set(question.wrong)
    assert has_any_reply or len(question.wrong) >= len(question.kind.options) - 1


@pytest.mark.parametrize(
    ("which", "typed", "is_right", "words"),
    [
        ("share", "60,0", True, "✓ Right: 60.2 %. You said 60 %.Yes, 60.2 %."),
        ("share", "50", False, "✗ Wrong: the answer is 60.2 %. You said 50 %.More."),
        ("share", "≈ 70%", False, "Less."),
        ("share", "19/20", False, "Then no word is left."),
        ("shape", "(1, 4, 2)", True, "✓ Right: (1, 4, 2).Two classes."),
        ("shape", "torch.Size([1, 4])", False, "That went in."),
        ("shape", "2", False, "No."),
        ("label", "spam & co", False, "You said spam & co.No list."),
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


NO_GUESSES = [
    ("share", "<b>9", "'<b>9' is not a number"),
    ("share", "1/0", "'1/0' is not a number."),
    ("share", "0.866", "Do you mean 86.6 % or 0.866 %? Type it with the %."),
    ("share", "-2", "'-2' is negative, and the answer is not."),
    ("share", "120", "A percentage of a whole is at most 100."),
    ("shape", "four", "'four' is not a shape, such as (2, 3)."),
    ("shape", "(8,120)", "Do you mean 8120 or 8, 120? Type it like this."),
    ("loss", "50 %", "'50 %' is a percentage; the answer is in nats."),
    ("label", " ", "Enter a guess first. Even a wrong one helps you learn."),
]


@pytest.mark.parametrize(("which", "typed", "words"), NO_GUESSES)
def test_what_is_no_guess_or_may_mean_two_things_spends_none_and_reveals_nothing(
    which, typed, words
):
    widget = asked(which)
    widget.commit(typed)
    assert words in text_of(widget, "pr-problem") and not one(widget, "pr-reply").value
    assert widget.guess is None and len(one(widget, "pr-row").children) == 2


PERCENT, PLAIN = Number(unit="%"), Number(unit="nats")


@pytest.mark.parametrize(
    ("kind", "typed", "guess"),
    [
        (PERCENT, "50%", 50),
        (PERCENT, "0.5 %", 0.5),
        (PERCENT, "1 / 12", 100 / 12),
        (PERCENT, "1/12 %", 1 / 12),
        (PLAIN, "1,024", 1024),
        (PLAIN, "about 5", 5),
        (PLAIN, "~4,6 nats", 4.6),
        (PLAIN, "two", 2),
        (PLAIN, "1/4", 0.25),
        (Shape(), "torch.Size([8, 120])", (8, 120)),
        (Shape(), "8, 120", (8, 120)),
        (Shape(), "[82]", (82,)),
        (Shape(), "50,257 × 192", (50257, 192)),
        (Shape(), "(1, 4, 50,257)", (1, 4, 50257)),
    ],
)
def test_a_guess_may_be_written_in_many_ways(kind, typed, guess):
    assert kind.read(typed) == pytest.approx(guess)


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
    right = case.reply(answer, answer)[1]
    assert "Predict:" in question and right in fold and right not in question
    assert page.endswith("</details></div>") and "&lt;b&gt;" in fold and "image/svg+xml" not in data
    assert data["text/plain"] == f"[Predict: {case.ask.replace('*', '')}]"
    assert page.count("Run ▸ Run All Cells brings the widgets back.") == 1
    assert ("<li>ham</li><li>spam &amp; co</li>" in question) == (which == "label")


def test_what_was_predicted_is_kept_and_only_the_first_time(capsys):
    for which, typed in (("share", "1"), ("share", "60"), ("label", "ham")):
        asked(which).commit(typed)
    asked("shape")
    progress("9.9")
    printed = capsys.readouterr().out
    assert "predictions: 2 of 3 made, 1 right" in printed
    for state, name in ((WRONG, "share"), (RIGHT, "label"), (UNSAID, "shape")):
        assert f"{state:<18} {name}\n" in printed


@pytest.mark.parametrize(("which", "typed"), [("share", "60"), ("label", "spam & co")])
def test_a_guess_is_there_with_its_reply_when_the_notebook_is_opened_again(which, typed):
    asked(which).commit(typed)
    again = asked(which)
    assert text_of(again, "pr-reply") == text_of(asked(which), "pr-reply") != ""
    assert again.guess is not None and one(again, "pr-commit").description == "✓ Committed"
    assert typed in shown(again)
    changed = CASES["label" if which == "share" else "share"]
    other = Prediction(f"9.9 {which}", *changed)  # the course asks something else now
    assert other.guess is None


def test_a_question_is_filled_with_the_values_of_its_cell_and_says_which_one_is_missing(
    monkeypatch,
):
    question = Question(
        "How many of {total}?",
        Number(),
        right={"3": "Three.", "else": "{answer} of {total}, {share:.1f} %."},
        wrong={"{total}": "That is all {total}.", "else": "No."},
    )
    monkeypatch.setattr("workshop.widgets.prediction.questions", lambda: {"9.9 q": question})
    with pytest.raises(ValueError, match="the texts of '9.9 q' need values for share"):
        predict("9.9 q", 4, total=1000)
    asked = predict("9.9 q", torch.tensor(4), total=np.int64(1000), share=0.4).question
    assert asked.fill(asked.ask, 4) == "How many of 1,000?"
    assert asked.reply(1000, 4) == (False, "That is all 1,000.")
    assert asked.reply(4, 4) == (True, "4 of 1,000, 0.4 %.")
    assert asked.reply(3, 3) == (True, "Three.")


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_is_computed_in_the_workshop_is_asked_for_on_a_page(name):
    assert name in ANSWERS_ON_PAGES and name in QUESTIONS


TOKENIZER, QUESTIONS = get_tokenizer(), questions()


def words_of(name: str) -> str:
    question = QUESTIONS[name]
    return " ".join([question.ask, str(question.right), *question.wrong.values(), question.then])


PARTS = load_parts("sms-mini")


def test_the_share_of_the_parameters_that_sit_in_blocks_and_embeddings():
    report = parameter_report(gpt_config("gpt2-small (124M)"), FreezePlan.book(12))
    counts = {part.part: part.parameters for part in report.parts}
    embeddings = counts["tok_emb"] + counts["pos_emb"]
    text = words_of("6.1 the trained percentage")
    assert 0.30 < embeddings / report.total < 1 / 3 and "Almost a third" in text
    assert round(counts["trf_blocks.0"] / 1e6) == 7 and "seven million" in text


@pytest.mark.parametrize("n_layers", [1, 3])
def test_the_shapes_and_rows_of_section_6_5_are_those_of_any_model(n_layers):
    cfg = gpt_config("gpt2-small (124M)") | {"emb_dim": 24, "n_layers": n_layers}
    torch.manual_seed(1)
    model, token_ids = GPTModel(cfg).eval(), torch.tensor([[5, 6, 7, 8]])
    others = torch.tensor([[5, 6, 7, 9]])
    assert ANSWERS["6.5 rows that stay"](model, token_ids, others) == 3
    asked = predict("6.5 the shape with the old head", given=(model, model(token_ids)))
    assert asked.answer == (1, 4, 50257)
    assert "input of the head" in asked.question.reply((1, 4, 24), asked.answer)[1]
    new_outputs = replace_head(model)(token_ids)
    with pytest.raises(ValueError, match="the head has been replaced already; run step 2 again"):
        predict("6.5 the shape with the old head", given=(model, new_outputs))


def test_the_values_that_fill_the_questions_of_the_lengths():
    lengths = [len(TOKENIZER.encode(text)) for text in PARTS[0]["Text"]]
    values = padding_sorted(lengths)
    assert values.pop("answer") == "almost nothing"
    assert values == pytest.approx(VALUES["6.3 sorted by length"], abs=0.06)
    assert values["one_length"] == pytest.approx(100 * share_of_padding(lengths, [82] * 700))
    assert lengths[1] == VALUES["6.3 the shape of an item"]["own_length"]


ENDS = [("below the unigram loss", 6.8), ("near the unigram loss", 7.2),
        ("near that of an untrained model", 10.5)]  # fmt: skip
DIFFERENCES = [("less than 3 points", 75), ("3 to 25 points", 88), ("more than 25 points", 99)]


@pytest.mark.parametrize(("answer", "loss"), ENDS)
def test_a_pretraining_may_end_elsewhere_and_its_replies_are_still_true(answer, loss):
    found = end_of_pretraining(SimpleNamespace(validation=[(1, 10.8), (3, loss)]), 7.17)
    question = replace(QUESTIONS["6.C where the loss ends"], values=found)
    for guess, _ in ENDS:
        is_right, reply = question.reply(guess, found["answer"])
        assert is_right == (guess == answer) and f"It is {loss} nats" in reply
        assert ("uses the context" in reply) <= (loss < 7)


@pytest.mark.parametrize(("answer", "accuracy"), DIFFERENCES)
def test_pretraining_may_help_more_or_less_and_its_replies_are_still_true(answer, accuracy):
    found = help_of_pretraining(accuracy, 73, [0, 1, 1, 1])
    question = replace(QUESTIONS["6.C how much pretraining helps"], values=found)
    assert found["majority"] == 75 and found["messages"] == 4
    order = [guess for guess, _ in DIFFERENCES]
    for guess in order:
        is_right, reply = question.reply(guess, found["answer"])
        assert is_right == (guess == answer)
        assert ("larger" in reply) <= (order.index(guess) < order.index(answer))
        assert ("smaller" in reply) <= (order.index(guess) > order.index(answer))


def test_a_model_that_knows_no_context_loses_nothing_if_the_tokens_are_shuffled():
    cfg = TINY | {"vocab_size": 9}
    tokens, losses = np.arange(900, dtype=np.uint16) % 9, np.full(9, 2.2)
    found = shuffled_tokens(new_model(cfg), tokens, losses)
    assert found["answer"] == "neither" and found["unigram"] == pytest.approx(2.2)
    model = new_model(cfg)
    pretrain(model, tokens, tokens, Recipe(300, 320, (32,), None, 1e-2, warmup_steps=5))
    found = shuffled_tokens(model, tokens, losses)
    assert found["answer"] == "only the model's" and found["before"] < 1 < found["after"]


@pytest.mark.parametrize("blocks", [("gpt2-nano (12M)", 6), ("gpt2-small (124M)", 12)])
def test_the_compute_without_a_cache_is_what_the_reply_adds_up(blocks):
    name, num_blocks = blocks
    found = compute_without_cache(gpt_config(name), 82, 5)
    with_cache = num_blocks - 1 + 5 * 3
    assert found["answer"] == pytest.approx(5 * (num_blocks - 1 + 3) / with_cache, rel=0.02)


@pytest.mark.parametrize(
    ("cached", "answer"),
    [
        ([0.7, 0.5001], "only by rounding"),
        ([0.7, 0.3], "they are lower"),
        ([0.9, 0.5], "they are higher"),
    ],
)
def test_losses_on_the_cached_output_are_compared_step_by_step(cached, answer):
    assert compared_losses([0.7, 0.5], cached) == answer
