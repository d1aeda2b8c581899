"""What the pages say of the bundled model and data, where no cell shows it. After a training only
ranges are asserted, since rounding differs between processors.
"""

import copy
import json
import random
import warnings
from functools import cache
from statistics import mean

import pytest
import torch

from helpers import measures
from helpers.classify import SpamClassifier
from helpers.config import ASSETS
from helpers.data import SMS_MINI, create_dataloaders, read_messages
from helpers.freezing import FreezePlan, replace_head
from helpers.loading import load_pretrained
from helpers.tokenizer import get_tokenizer
from helpers.training import TrainingSettings, calc_accuracy_loader
from tests.conftest import ROOT, load_parts
from workshop.exercises.predicted import (
    accuracy_on_hard,
    leaving_out_a_token,
    lost_without_order,
    more_confident,
)
from workshop.fast import fine_tune, load_or_train
from workshop.film import film_of
from workshop.pretraining import encode_documents, held_out_figures, read_documents, split_documents

pytestmark = pytest.mark.proof
NANO, TOKENIZER = "gpt2-nano (12M)", get_tokenizer()
LOADERS, PARTS = create_dataloaders("sms-mini"), load_parts("sms-mini")


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


@pytest.fixture(scope="module")
def classifier(tmp_path_factory) -> SpamClassifier:
    """That of section 6.8: the weights of the best epoch."""
    path = tmp_path_factory.mktemp("saved") / "classifier.safetensors"
    return load_or_train(path, NANO, "sms-mini")


def labels_and_logits(classifier: SpamClassifier) -> list[tuple]:
    """Labels and logits of each part of sms-mini."""
    with warnings.catch_warnings(action="ignore"):  # a few messages are truncated
        return [(part["Label"].to_numpy(), classifier.logits(part["Text"])) for part in PARTS]


@pytest.fixture(scope="module")
def answers(classifier) -> list[tuple]:
    return labels_and_logits(classifier)


def test_some_tokens_push_towards_ham_as_section_6_8_says(classifier):
    found = leaving_out_a_token(classifier, "Your free prize is waiting, call now")
    assert (found["answer"], found["first"]) == ("sometimes", "free")


def test_the_classifier_of_section_6_8_finds_spam_and_a_higher_threshold_finds_less(answers):
    labels, logits = answers[2]
    p_spam = measures.spam_probabilities(logits)
    before, after = (measures.counts_at(labels, p_spam, threshold) for threshold in (0.5, 0.9))
    assert before.accuracy > 0.82 and before.precision > 0.75 and before.recall > 0.75
    assert after.recall <= before.recall and after.precision > before.precision


def test_hard_messages_and_shuffled_words_do_what_6_e_says(classifier, answers):
    texts, (labels, logits) = PARTS[2]["Text"], answers[2]
    messages = read_messages(SMS_MINI)
    topics = SMS_MINI.with_name("topics.txt").read_text(encoding="utf-8").splitlines()
    hard = [topic.startswith("hard-") for topic in topics]
    is_hard = texts.isin(messages["Text"][hard]).to_numpy()
    assert is_hard.sum() == 11
    p_spam = measures.spam_probabilities(logits)
    slices = measures.shares_right(labels, p_spam, {"hard": is_hard, "others": ~is_hard})
    assert accuracy_on_hard(*slices)["answer"] == "lower"
    generator = random.Random(123)
    words = [text.split() for text in [*texts] * 5]
    shuffled = [" ".join(generator.sample(each, len(each))) for each in words]
    p_shuffled = classifier.probabilities(shuffled)[:, 1].numpy().reshape(5, -1)
    is_right = ((p_spam > 0.5) == labels, (p_shuffled > 0.5) == labels)
    assert lost_without_order(*is_right)["answer"] == "less than 5"


def test_the_last_epoch_is_overconfident_and_a_temperature_corrects_it_as_6_e_says(answers):
    training, validation, (_, last) = labels_and_logits(SpamClassifier(book(123)[0]["last"], 82))
    labels, best = answers[2]
    probabilities = map(measures.spam_probabilities, (best, last))
    found = more_confident(labels, *probabilities)
    assert found["answer"] == "the last epoch" and found["last"] > found["last_right"] + 5
    temperature = measures.fit_temperature(*validation)
    assert temperature > measures.fit_temperature(*training) + 1  # 3.8 and 1.1
    scaled = measures.cross_entropy(labels, last, temperature)
    assert scaled < 0.7 * measures.cross_entropy(labels, last)  # 0.38 and 0.81
