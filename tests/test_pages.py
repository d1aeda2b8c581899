"""What the pages say of the bundled model and data, where no cell shows it. After a training only
ranges are asserted, since rounding differs between processors.
"""

import copy
import json
import re
import warnings
from functools import cache
from statistics import mean

import pytest
import torch

from helpers import measures
from helpers.classify import SpamClassifier
from helpers.config import ASSETS, END_OF_TEXT
from helpers.data import SMS_MINI, create_dataloaders, read_messages
from helpers.freezing import FreezePlan, replace_head
from helpers.loading import load_pretrained
from helpers.tokenizer import get_tokenizer
from helpers.training import TrainingSettings, calc_accuracy_loader
from tests.conftest import ROOT, load_parts
from workshop import inside
from workshop.exercises.prediction import questions
from workshop.fast import fine_tune, load_or_train
from workshop.film import film_of
from workshop.pretraining import encode_documents, held_out_figures, read_documents, split_documents

pytestmark = pytest.mark.proof
NANO, TOKENIZER = "gpt2-nano (12M)", get_tokenizer()
LOADERS = create_dataloaders("sms-mini")


def new_classifier(seed: int):
    model = load_pretrained(NANO)
    torch.manual_seed(seed)
    return replace_head(model)


@cache
def book(seed: int):
    """One training with the book's plan: the models of the last and of the best epoch, by name."""
    model, models = new_classifier(seed), {}

    def keep_last(_) -> None:
        models["last"] = copy.deepcopy(model)

    sets, defaults = [loader.dataset for loader in LOADERS[:2]], TrainingSettings.for_model(NANO)
    settings = {"epochs": defaults.epochs, "lr": defaults.lr, "progress": False}
    settings |= {"seed": seed, "keep": "best", "on_epoch": keep_last}
    history = fine_tune(model, *sets, FreezePlan.book(6), **settings)
    return models | {"best": model}, history


def test_the_epoch_chosen_by_validation_loss_does_better_on_the_test_messages():
    accuracies = {"last": [], "best": []}
    for seed in (123, 1, 2, 3):
        models, history = book(seed)
        for keep, each in accuracies.items():
            each.append(calc_accuracy_loader(LOADERS[2], models[keep], "cpu"))
        assert history.best_epoch <= 3
    assert 0.80 < mean(accuracies["last"]) < 0.87  # .836
    assert 0.85 < mean(accuracies["best"]) < 0.91  # .87
    assert mean(accuracies["best"]) > mean(accuracies["last"]) + 0.01


def test_after_the_best_epoch_confident_mistakes_raise_the_loss_as_section_6_7_says():
    sets, settings = [loader.dataset for loader in LOADERS[:2]], TrainingSettings.for_model(NANO)
    film = film_of(new_classifier(123), *sets, FreezePlan.book(6), settings, progress=False)
    table, best = film.table(), film.history.best_epoch
    early, late = table.loc[best], table.loc[5]
    assert best <= 3 and late["validation loss"] > 1.6 * early["validation loss"]  # .66 and .30
    assert abs(late["mistakes"] - early["mistakes"]) <= 8  # 18 and 15
    assert early["confident mistakes"] <= 5 and late["confident mistakes"] >= 8  # 1 and 13
    assert max(table["mistakes"]) < 30 < film.mistakes[0].sum()
    assert min(film.num_on_their_side) >= 90


PROVENANCE = (ASSETS / "gpt2" / "12M" / "PROVENANCE.md").read_text(encoding="utf-8")
CORPUS = ROOT / "corpus"


SCRIPT = (ROOT / "notebooks/scripts/06_8_using_the_classifier.py").read_text(encoding="utf-8")
SECTION_6_8 = " ".join(re.sub(r"^# ?", "", SCRIPT, flags=re.MULTILINE).split())


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
    message = inside.read_message(classifier, "Your free prize is waiting, call now")
    influence = inside.influence_on_spam(classifier, message)
    order = [message.tokens[i] for i in influence.argsort(descending=True)]
    assert sorted(order[:2]) == ["Your", "␣free"] and order[-1] == "␣is"
    assert influence[message.tokens.index("␣is")] < -0.7 * influence.max()
    assert inside.answer(classifier, message).spam > 0.7
    assert all(inside.answer(classifier, message, {i}).spam < 0.4 for i in (0, 1))
    assert "*free* and *Your* speak most for spam" in told("a token that speaks for ham")


@pytest.fixture(scope="module")
def answers(classifier) -> list[tuple[list[int], torch.Tensor]]:
    """Labels and logits of each part of sms-mini, by that classifier."""
    with warnings.catch_warnings(action="ignore"):  # a few messages are cut
        return [
            (part["Label"].tolist(), classifier.logits([*part["Text"]]))
            for part in load_parts("sms-mini")
        ]


def test_the_answer_to_a_padded_message_forms_in_the_last_block_as_section_6_8_says(classifier):
    width, shares, spam = classifier.max_length, [], []
    messages = map(TOKENIZER.encode, load_parts("sms-mini")[2]["Text"][:30])
    for ids in [ids for ids in messages if len(ids) < width - 5]:
        row = torch.tensor([ids + [END_OF_TEXT] * (width - len(ids))])
        weights = inside.attention_weights(classifier.model, row)[:, 0, :, -1, : len(ids)]
        shares.append(weights.sum(dim=-1).mean(dim=-1))
        spam.append(inside.class_after_each_block(classifier.model, row)[:, 1])
    shares, spam = torch.stack(shares), torch.stack(spam)  # (messages, 6) and (messages, 7)
    assert shares[:, -1].mean() > 0.8  # 1.00
    assert shares[:, :-1].mean(dim=0).max() < 0.15  # .05, .00, …
    spread = spam.amax(dim=0) - spam.amin(dim=0)
    assert spread[:-1].max() < 0.1 and spread[-1] > 0.9  # .02; .12 .92 .90 .95 .93 .54 for all
    assert "nearly the same of every padded message" in SECTION_6_8


def said(pattern: str) -> list[float]:
    """The figures that section 6.8 gives in words like these."""
    (found,) = re.findall(pattern, SECTION_6_8)
    return [float(figure) for figure in ((found,) if isinstance(found, str) else found)]


def test_a_stricter_filter_and_answers_of_high_confidence_are_as_section_6_8_says(answers):
    labels, logits = answers[2]
    p_spam = measures.spam_probabilities(logits)
    before, after = measures.counts_at(labels, p_spam), measures.counts_at(labels, p_spam, 0.9)
    figures = said(r"from about (\d+) to (\d+) %, and recall falls from about (\d+) to (\d+) %")
    measured = before.precision, after.precision, before.recall, after.recall
    assert [100 * share for share in measured] == pytest.approx(figures, abs=4)
    assert len(labels) == 200 and ((p_spam > 0.5) != (p_spam > 0.9)).sum() < 20  # 8
    last = measures.calibration_bins(labels, p_spam)[-1]
    assert last.confidence == pytest.approx(0.99, abs=0.01) and 0.8 < last.right < 0.95
    assert "about 99 %" in questions()["6.8 sure and right"].ask


def test_temperature_scaling_does_what_section_6_8_says(answers):
    training, validation, (labels, logits) = answers
    best, in_training = measures.fit_temperature(*validation), measures.fit_temperature(*training)
    assert best == pytest.approx(said(r"the loss is lowest at about (\d+)\.")[0], abs=0.8)
    asked_for = said(r"they would ask for about (\d+)\.")[0]
    assert in_training == pytest.approx(asked_for, abs=0.4)
    confidences, errors = [], []
    for temperature in (1, best):
        p_spam = measures.spam_probabilities(logits, temperature)
        confidences.append(measures.mean_confidence(p_spam))
        bins = measures.calibration_bins(labels, p_spam)
        errors.append(measures.expected_calibration_error(bins))
    accuracy = measures.counts_at(labels, p_spam).accuracy
    figures = said(
        r"confidence falls from about (\d+) to (\d+) %, where (\d+) % are right, and the expected "
        r"calibration error from about (\d+) to (\d+) %"
    )
    measured = [*confidences, accuracy, *errors]
    assert [100 * share for share in measured] == pytest.approx(figures, abs=3)


def test_short_messages_are_right_as_often_as_longer_ones_as_section_6_8_says(answers):
    labels, logits = answers[2]
    kinds = measures.short_and_long([*load_parts("sms-mini")[2]["Text"]], TOKENIZER)
    short, longer = measures.shares_right(labels, measures.spam_probabilities(logits), kinds)
    assert abs(short.share - longer.share) < 0.06
    assert "short messages are right as often as longer ones" in told("hard on purpose")
