"""What the pages say of the bundled model and data, where no cell shows it. After a training only
ranges are asserted, since rounding differs between processors.
"""

import copy
import json
import re
import warnings
from collections.abc import Callable
from functools import cache
from statistics import mean

import pytest
import torch

from helpers.classify import SpamClassifier
from helpers.config import ASSETS, END_OF_TEXT
from helpers.data import SMS_MINI, create_dataloaders, read_messages
from helpers.freezing import FreezePlan, replace_head
from helpers.loading import load_pretrained
from helpers.measures import (
    calibration_bins,
    counts_at,
    expected_calibration_error,
    fit_temperature,
    mean_confidence,
    shares_right,
    short_and_long,
    spam_probabilities,
)
from helpers.model import GPTModel
from helpers.tokenizer import get_tokenizer
from helpers.training import (
    TrainingSettings,
    calc_accuracy_loader,
    classifying_place,
)
from tests.conftest import ROOT, load_parts
from workshop.exercises.prediction import questions
from workshop.fast import History, fine_tune, load_or_train
from workshop.inside import (
    answer,
    attention_weights,
    class_after_each_block,
    influence_on_spam,
    read_message,
)
from workshop.pictures.message import mark
from workshop.pretraining import encode_documents, held_out_figures, read_documents, split_documents

pytestmark = pytest.mark.proof
NANO, TOKENIZER = "gpt2-nano (12M)", get_tokenizer()
DEFAULTS = TrainingSettings.for_model(NANO)
BOOK = FreezePlan.book(6)
SEEDS = (1, 2, 3)


@pytest.fixture(scope="module")
def loaders():
    return create_dataloaders("sms-mini")


def new_classifier(seed: int) -> GPTModel:
    model = load_pretrained(NANO)
    torch.manual_seed(seed)
    return replace_head(model)


@pytest.fixture(scope="module")
def book(loaders) -> Callable[[int], tuple[dict[str, GPTModel], History]]:
    """By seed, one training with the book's plan: the models of the last and of the best epoch."""

    @cache
    def trained(seed: int) -> tuple[dict[str, GPTModel], History]:
        model, models = new_classifier(seed), {}

        def keep_last(_) -> None:
            models["last"] = copy.deepcopy(model)

        sets = [loader.dataset for loader in loaders[:2]]
        settings = {"epochs": DEFAULTS.epochs, "lr": DEFAULTS.lr, "progress": False}
        settings |= {"seed": seed, "keep": "best", "on_epoch": keep_last}
        history = fine_tune(model, *sets, BOOK, **settings)
        return models | {"best": model}, history

    return trained


def test_of_the_microscopes_message_hardly_anything_arrives_at_the_untrained_padded_end():
    text, marks = "Win a free phone! Text YES to 80086 now", {}
    whole = SpamClassifier(new_classifier(123), 82)
    for position in ("last", "last_token"):
        influence = influence_on_spam(whole, read_message(whole, text, position=position))
        marks[position] = [mark(value) for value in influence.tolist()]
    assert set(marks["last"]) == {"·"}
    assert marks["last_token"].count("·") == 1 and len(marks["last_token"]) == 11


def test_a_trained_block_learns_to_look_back_across_the_padding(loaders, book):
    shares, texts = [], loaders[2].dataset.encoded_texts[:50]
    ends = [classifying_place(ids, "last_token") + 1 for ids in texts]
    for model in (load_pretrained(NANO), book(123)[0]["last"]):
        weights = attention_weights(model, torch.tensor(texts))[-1, :, :, -1].mean(dim=1)  # (b, n)
        padded = [
            row[:end].sum().item() for row, end in zip(weights, ends, strict=True) if end < 75
        ]
        shares.append(mean(padded))  # of the padded end's attention, what the message gets
    assert shares[0] < 0.15 and shares[1] > 0.8  # .08, .98


def test_the_epoch_chosen_by_validation_loss_does_better_on_the_test_messages(loaders, book):
    accuracies = {"last": [], "best": []}
    for seed in (123, *SEEDS):
        models, history = book(seed)
        for keep, each in accuracies.items():
            each.append(calc_accuracy_loader(loaders[2], models[keep], "cpu"))
        assert history.best_epoch <= 3
    assert 0.80 < mean(accuracies["last"]) < 0.87  # .836
    assert 0.85 < mean(accuracies["best"]) < 0.91  # .87
    assert mean(accuracies["best"]) > mean(accuracies["last"]) + 0.01


def test_at_the_end_a_few_mistakes_that_are_sure_make_the_validation_loss(loaders, book):
    mistakes, every = {}, {}
    token_ids, labels = (torch.cat(parts) for parts in zip(*loaders[1], strict=True))
    for keep, model in book(123)[0].items():
        with torch.no_grad():
            logits = model(token_ids)[:, -1]
        every[keep] = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
        mistakes[keep] = every[keep][logits.argmax(dim=-1) != labels]
    assert 12 <= len(mistakes["best"]) <= 19 and 13 <= len(mistakes["last"]) <= 24  # 15, 18
    assert mistakes["last"].mean() > 1.8 * mistakes["best"].mean()  # 3.5 and 1.4 nats
    assert mistakes["last"].max() > 6  # ten
    assert 70 <= (every["last"] < every["best"]).sum() <= 92  # 81


PROVENANCE = (ASSETS / "gpt2" / "12M" / "PROVENANCE.md").read_text(encoding="utf-8")
CORPUS = ROOT / "corpus"


def section_6_8() -> str:
    """The text cells of the page, each run of blanks and line ends as one blank."""
    script = ROOT / "notebooks" / "scripts" / "06_8_using_the_classifier.py"
    text = re.sub(r"^# ?", "", script.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return " ".join(text.split())


def told(question: str) -> str:
    """What follows from a question of section 6.8, whatever was guessed."""
    return questions()[f"6.8 {question}"].then


def test_the_bundled_model_does_on_held_out_documents_what_its_pages_say(tmp_path):
    if not CORPUS.exists():
        pytest.skip("there is no corpus here; `make corpus` builds it")
    training, held_out = map(encode_documents, split_documents(read_documents(CORPUS)))
    if f"{len(training):,} tokens" not in PROVENANCE:
        pytest.skip("the corpus here is not the whole one")
    run = json.loads((ROOT / "workshop/assets/12M_run.json").read_text(encoding="utf-8"))
    measured = held_out_figures(load_pretrained(NANO, tmp_path), held_out)
    figures = {name: pytest.approx(figure, rel=0.02) for name, figure in run["held_out"].items()}
    assert measured == figures
    loss, early, late = run["held_out"].values()
    assert loss < 3.5 and late < 1.2 * early
    words = " ".join(PROVENANCE.split())
    assert f"{loss:.2f} nats per token, perplexity {early:.1f} at" in words
    assert f" {late:.1f} at 512 to 1,023" in words


def test_eleven_of_the_test_part_are_hard():
    messages = read_messages(SMS_MINI)
    topics = SMS_MINI.with_name("topics.txt").read_text(encoding="utf-8").splitlines()
    assert len(messages) == len(topics) == messages["Text"].nunique()
    hard = [topic.startswith("hard-") for topic in topics]
    assert messages["Label"][hard].value_counts().to_dict() == {"ham": 50, "spam": 50}
    assert load_parts("sms-mini")[2]["Text"].isin(messages["Text"][hard]).sum() == 11
    assert "Eleven hard ones are few" in told("hard on purpose")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory) -> SpamClassifier:
    """That of section 6.8."""
    path = tmp_path_factory.mktemp("saved") / "classifier.safetensors"
    return load_or_train(path, NANO, "sms-mini")


def test_the_words_that_tip_the_message_are_those_that_section_6_8_names(classifier):
    message = read_message(classifier, "Your free prize is waiting, call now")
    influence = influence_on_spam(classifier, message)
    order = [message.tokens[i] for i in influence.argsort(descending=True)]
    assert sorted(order[:2]) == ["Your", "␣free"] and order[-1] == "␣is"
    assert influence[message.tokens.index("␣is")] < -0.7 * influence.max()
    assert answer(classifier, message).spam > 0.7
    assert all(answer(classifier, message, {i}).spam < 0.4 for i in (0, 1))
    assert "*free* and *Your* speak most for spam" in told("a token that speaks for ham")


@pytest.fixture(scope="module")
def answers(classifier) -> dict[str, tuple[list[int], torch.Tensor, list[str]]]:
    """Labels, logits and texts of each part of sms-mini, by that classifier."""
    parts = zip(("train", "validation", "test"), load_parts("sms-mini"), strict=True)
    with warnings.catch_warnings(action="ignore"):  # a few messages are cut
        return {
            name: (part["Label"].tolist(), classifier.logits([*part["Text"]]), [*part["Text"]])
            for name, part in parts
        }


def test_the_answer_to_a_padded_message_forms_in_the_last_block_as_section_6_8_says(classifier):
    width, shares, spam = classifier.max_length, [], []
    for text in load_parts("sms-mini")[2]["Text"][:30]:
        ids = TOKENIZER.encode(text)
        if len(ids) >= width - 5:
            continue
        row = torch.tensor([ids + [END_OF_TEXT] * (width - len(ids))])
        weights = attention_weights(classifier.model, row)[:, 0, :, -1, : len(ids)]
        shares.append(weights.sum(dim=-1).mean(dim=-1))
        spam.append(class_after_each_block(classifier.model, row)[:, 1])
    shares, spam = torch.stack(shares), torch.stack(spam)  # (messages, 6) and (messages, 7)
    assert shares[:, -1].mean() > 0.8  # 1.00
    assert shares[:, :-1].mean(dim=0).max() < 0.15  # .05, .00, …
    spread = spam.amax(dim=0) - spam.amin(dim=0)
    assert spread[:-1].max() < 0.1 and spread[-1] > 0.9  # .02; .12 .92 .90 .95 .93 .54 for all
    assert "nearly the same of every padded message" in section_6_8()


def said(pattern: str) -> list[float]:
    """The figures that section 6.8 gives in words like these."""
    (found,) = re.findall(pattern, section_6_8())
    return [float(figure) for figure in ((found,) if isinstance(found, str) else found)]


def test_a_stricter_filter_and_answers_of_high_confidence_are_as_section_6_8_says(answers):
    labels, logits, _ = answers["test"]
    p_spam = spam_probabilities(logits)
    before, after = counts_at(labels, p_spam), counts_at(labels, p_spam, 0.9)
    figures = said(r"from about (\d+) to (\d+) %, and recall falls from about (\d+) to (\d+) %")
    measured = before.precision, after.precision, before.recall, after.recall
    assert [100 * share for share in measured] == pytest.approx(figures, abs=4)
    assert len(labels) == 200 and ((p_spam > 0.5) != (p_spam > 0.9)).sum() < 20  # 8
    last = calibration_bins(labels, p_spam)[-1]
    assert last.confidence == pytest.approx(0.99, abs=0.01) and 0.8 < last.right < 0.95
    assert "about 99 %" in questions()["6.8 sure and right"].ask


def test_temperature_scaling_does_what_section_6_8_says(answers):
    labels, logits, _ = answers["test"]
    best, in_training = (fit_temperature(*answers[part][:2]) for part in ("validation", "train"))
    assert best == pytest.approx(said(r"the loss is lowest at about (\d+)\.")[0], abs=0.8)
    asked_for = said(r"they would ask for about (\d+)\.")[0]
    assert in_training == pytest.approx(asked_for, abs=0.4)
    before, after = (spam_probabilities(logits, t) for t in (1, best))
    bins = [calibration_bins(labels, p_spam) for p_spam in (before, after)]
    measured = [mean_confidence(before), mean_confidence(after)]
    measured += [counts_at(labels, before).accuracy, *map(expected_calibration_error, bins)]
    figures = said(
        r"confidence falls from about (\d+) to (\d+) %, where (\d+) % are right, and the expected "
        r"calibration error from about (\d+) to (\d+) %"
    )
    assert [100 * share for share in measured] == pytest.approx(figures, abs=3)
    assert bins[0][-1].count > 0.8 * len(labels) and bins[0][-1].confidence > bins[0][-1].right


def test_short_messages_are_right_as_often_as_longer_ones_as_section_6_8_says(answers):
    labels, logits, texts = answers["test"]
    kinds = short_and_long(texts, TOKENIZER)
    short, longer = shares_right(labels, spam_probabilities(logits), kinds)
    assert abs(short.share - longer.share) < 0.06
    assert "short messages are right as often as longer ones" in told("hard on purpose")
