"""What sections 6.8 and 6.A say and no cell shows."""

import ctypes
import json
import re
import sys
import warnings
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from helpers.classify import SpamClassifier
from helpers.config import ASSETS, END_OF_TEXT
from helpers.data import SMS_MINI, read_messages
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
from helpers.tokenizer import END_OF_TEXT_MARK, get_tokenizer
from tests.conftest import ROOT, load_parts
from workshop.exercises.section_6_8 import QUESTIONS
from workshop.fast import load_or_train
from workshop.inside import (
    answer,
    attention_weights,
    class_after_each_block,
    influence_on_spam,
    read_message,
)
from workshop.pretraining import encode_documents, held_out_figures, read_documents, split_documents

PROVENANCE = (ASSETS / "gpt2" / "12M" / "PROVENANCE.md").read_text(encoding="utf-8")
CORPUS, SHORT = ROOT / "corpus", ROOT / "corpus-short"
SHORTEST_DOCUMENT = 1024 + 1  # tokens: one whole context and the token that follows


def page(name: str) -> str:
    """The text cells of a page, each run of blanks and line ends as one blank."""
    script = (ROOT / "notebooks" / "scripts" / f"{name}.py").read_text(encoding="utf-8")
    return " ".join(re.sub(r"^# ?", "", script, flags=re.MULTILINE).split())


def told(question: str) -> str:
    """What follows from a question of section 6.8, whatever was guessed."""
    return QUESTIONS[f"6.8 {question}"].then


@pytest.fixture(scope="module")
def corpus() -> tuple[np.ndarray, np.ndarray]:
    """The tokens of the nano's first run: those that it learned from, and those held out."""
    if not CORPUS.exists():
        pytest.skip("there is no corpus here; `make corpus` builds it")
    training, held_out = map(encode_documents, split_documents(read_documents(CORPUS)))
    if f"{len(training):,} tokens" not in PROVENANCE:
        pytest.skip("the corpus here is not the whole one")
    return training, held_out


@pytest.fixture(scope="module")
def met(corpus) -> tuple[np.ndarray, np.ndarray]:
    """How often each token occurs in the nano's text: of the first run, and of both."""
    if not SHORT.exists():
        pytest.skip("there is no corpus here; `make corpus` builds it")
    first = np.bincount(corpus[0], minlength=50257)
    return first, first + np.bincount(encode_documents(read_documents(SHORT)), minlength=50257)


@contextmanager
def large_blocks_used_again():
    """Where the C library is glibc: what a large tensor leaves is there for the next one.

    Logits of a whole context, 200 MB, else come from the system anew, page by page: half the time.
    """
    if sys.platform != "linux" or not hasattr(libc := ctypes.CDLL(None), "mallopt"):
        yield
        return
    mmap_threshold, trim_threshold, most = -3, -1, 2**31 - 1  # of malloc.h
    libc.mallopt(mmap_threshold, most), libc.mallopt(trim_threshold, most)
    try:
        yield
    finally:
        libc.mallopt(mmap_threshold, 2**25), libc.mallopt(trim_threshold, 2**26)
        libc.malloc_trim(0)


def test_the_bundled_model_does_on_held_out_documents_what_its_pages_say(corpus, tmp_path):
    page = " ".join(PROVENANCE.split())
    said = json.loads((ROOT / "workshop/assets/12M_run.json").read_text(encoding="utf-8"))[
        "held_out"
    ]
    model = load_pretrained("gpt2-nano (12M)", tmp_path)
    with large_blocks_used_again():
        measured = held_out_figures(model, corpus[1])
    assert measured == {name: pytest.approx(figure, rel=0.02) for name, figure in said.items()}
    loss, early, late = said.values()
    assert loss < 3.5 and late < 1.2 * early
    assert (
        f"{loss:.2f} nats per token, perplexity {early:.1f} at" in page
        and f" {late:.1f} at 512 to 1,023" in page
    )


def test_the_tokens_that_the_nano_never_met_are_as_many_as_the_appendix_says(met):
    tokenizer = get_tokenizer()
    texts = [tokenizer.decode([token_id]).strip() for token_id in range(50256)]
    foreign = [i for i, text in enumerate(texts) if text.isalpha() and min(text) > "\u0370"]
    times = met[1][foreign]
    assert len(foreign) == 236 and sorted(times[times > 0]) == [2] * 6
    assert (
        "Of the 236 that the next cell finds, the nano's English text holds six, twice each, and "
        "the others not once"
    ) in page("06_A_where_nano_comes_from")


def test_the_rare_tokens_of_text_messages_occur_as_often_as_the_appendix_says(met):
    (pound,), (ur,) = (get_tokenizer().encode(text) for text in (" £", " ur"))
    (pound_first, ur_first), (pound_both, ur_both) = (counts[[pound, ur]] for counts in met)
    text = page("06_A_where_nano_comes_from")
    assert f'" £" occurred {pound_first} times and " ur" {ur_first} times' in text
    assert f"Then it was {pound_both:,} and {ur_both:,} times" in text


def test_the_topics_are_in_the_order_of_the_messages():
    messages = read_messages(SMS_MINI)
    topics = SMS_MINI.with_name("topics.txt").read_text(encoding="utf-8").splitlines()
    assert len(messages) == len(topics) == messages["Text"].nunique()
    hard = messages["Label"][[topic.startswith("hard-") for topic in topics]]
    assert hard.value_counts().to_dict() == {"ham": 50, "spam": 50}
    labels = messages.groupby(topics)["Label"].agg(set)
    one_sided = {"family": "ham", "work": "ham", "dating": "spam", "loan": "spam"}
    assert {topic: labels[topic] for topic in one_sided} == {
        topic: {label} for topic, label in one_sided.items()
    }


def test_of_the_test_messages_of_sms_mini_eleven_are_hard():
    messages = read_messages(SMS_MINI)
    topics = SMS_MINI.with_name("topics.txt").read_text(encoding="utf-8").splitlines()
    topic_of = dict(zip(messages["Text"], topics, strict=True))
    test = load_parts("sms-mini")[2]
    hard = test["Text"].map(topic_of).str.startswith("hard-").sum()
    assert hard == 11 and "Eleven hard ones are few" in told("hard on purpose")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory) -> SpamClassifier:
    """That of section 6.8."""
    path = tmp_path_factory.mktemp("saved") / "classifier.safetensors"
    return load_or_train(path, "gpt2-nano (12M)", "sms-mini")


def test_the_words_that_tip_the_message_under_the_microscope_are_those_that_section_6_8_names(
    classifier,
):
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
            name: (
                part["Label"].tolist(),
                classifier.logits(part["Text"].tolist()),
                [*part["Text"]],
            )
            for name, part in parts
        }


def test_the_answer_to_a_padded_message_forms_in_the_last_block_as_section_6_8_says(classifier):
    rows = [get_tokenizer().encode(text) for text in load_parts("sms-mini")[2]["Text"][:30]]
    width, shares, spam = classifier.max_length, [], []
    for ids in (ids for ids in rows if len(ids) < width - 5):
        row = torch.tensor([ids + [END_OF_TEXT] * (width - len(ids))])
        weights = attention_weights(classifier.model, row)[:, 0, :, -1, : len(ids)]
        shares.append(weights.sum(dim=-1).mean(dim=-1))
        spam.append(class_after_each_block(classifier.model, row)[:, 1])
    shares, spam = torch.stack(shares), torch.stack(spam)  # (messages, 6) and (messages, 7)
    assert shares[:, -1].mean() > 0.8  # 1.00
    assert shares[:, :-1].mean(dim=0).max() < 0.15  # .05, .00, …
    spread = spam.amax(dim=0) - spam.amin(dim=0)
    assert spread[:-1].max() < 0.1 and spread[-1] > 0.9  # .02; .12 .92 .90 .95 .93 .54 for all
    assert "nearly the same of every padded message" in page("06_8_using_the_classifier")


def said(pattern: str) -> list[float]:
    """The figures that section 6.8 gives in words like these."""
    (found,) = re.findall(pattern, page("06_8_using_the_classifier"))
    return [float(figure) for figure in ((found,) if isinstance(found, str) else found)]


def test_a_stricter_filter_has_the_precision_and_recall_that_section_6_8_says(answers):
    labels, logits, _ = answers["test"]
    p_spam = spam_probabilities(logits)
    before, after = counts_at(labels, p_spam), counts_at(labels, p_spam, 0.9)
    figures = said(r"from about (\d+) to (\d+) %, and recall falls from about (\d+) to (\d+) %")
    measured = before.precision, after.precision, before.recall, after.recall
    assert [100 * share for share in measured] == pytest.approx(figures, abs=4)


def test_temperature_scaling_does_what_section_6_8_says(answers):
    labels, logits, _ = answers["test"]
    best = fit_temperature(*answers["validation"][:2])
    assert best == pytest.approx(said(r"the loss is lowest at about (\d+)\.")[0], abs=0.8)
    assert fit_temperature(*answers["train"][:2]) == pytest.approx(
        said(r"they would ask for about (\d+)\.")[0], abs=0.4
    )
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
    kinds = short_and_long(texts, get_tokenizer())
    short, longer = shares_right(labels, spam_probabilities(logits), kinds)
    assert abs(short.share - longer.share) < 0.06
    assert "short messages are right as often as longer ones" in told("hard on purpose")


def test_as_many_words_as_the_appendix_asks_for_make_a_whole_context():
    said = re.search(r"at least ([\d,]+) English words", page("06_A_where_nano_comes_from"))
    path = CORPUS / "speeches.txt"  # of all texts here the fewest tokens for each word
    if not path.exists():
        pytest.skip("there is no corpus here; `make corpus` builds it")
    text = path.read_text(encoding="utf-8")[:1_000_000].replace(END_OF_TEXT_MARK, "")
    tokens_per_word = len(get_tokenizer().encode_ordinary(text)) / len(text.split())
    assert int(said[1].replace(",", "")) * tokens_per_word >= SHORTEST_DOCUMENT


def test_answers_of_high_confidence_and_a_stricter_threshold_are_as_section_6_8_tells(answers):
    labels, logits, _ = answers["test"]
    p_spam = spam_probabilities(logits)
    assert len(labels) == 200 and ((p_spam > 0.5) != (p_spam > 0.9)).sum() < 20  # 8
    last = calibration_bins(labels, p_spam)[-1]
    assert last.confidence == pytest.approx(0.99, abs=0.01) and 0.8 < last.right < 0.95
    assert "about 99 %" in QUESTIONS["6.8 sure and right"].ask
