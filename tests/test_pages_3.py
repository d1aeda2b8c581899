"""What sections 6.8 and 6.A say and no cell shows."""

import re

import numpy as np
import pytest

from helpers.config import ASSETS
from helpers.data import SMS_MINI, read_messages
from helpers.nano.pretraining import encode_documents, read_documents, split_documents
from helpers.tokenizer import END_OF_TEXT_MARK, get_tokenizer
from tests.conftest import ROOT, load_parts

BUNDLED = ASSETS / "gpt2" / "12M"
SHORTEST_DOCUMENT = 1024 + 1  # tokens: one whole context and the token that follows


def page(name: str) -> str:
    """The text cells of a page, each run of blanks and line ends as one blank."""
    script = (ROOT / "notebooks" / "scripts" / f"{name}.py").read_text(encoding="utf-8")
    return " ".join(re.sub(r"^# ?", "", script, flags=re.MULTILINE).split())


@pytest.fixture(scope="module")
def met() -> tuple[np.ndarray, np.ndarray]:
    """How often each token occurs in the nano's text: of the first run, and of both."""
    corpus, short = ROOT / "corpus", ROOT / "corpus-short"
    if not (corpus.exists() and short.exists()):
        pytest.skip("there is no corpus here; `make corpus` builds it")
    tokens = encode_documents(split_documents(read_documents(corpus))[0])
    if f"{len(tokens):,} tokens" not in (BUNDLED / "PROVENANCE.md").read_text(encoding="utf-8"):
        pytest.skip("the corpus here is not the whole one")
    first = np.bincount(tokens, minlength=50257)
    return first, first + np.bincount(encode_documents(read_documents(short)), minlength=50257)


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
    assert hard == 11 and "Eleven hard ones are few" in page("06_8_using_the_classifier")


def test_as_many_words_as_the_appendix_asks_for_make_a_whole_context():
    said = re.search(r"at least ([\d,]+) English words", page("06_A_where_nano_comes_from"))
    path = ROOT / "corpus" / "speeches.txt"  # of all texts here the fewest tokens for each word
    if not path.exists():
        pytest.skip("there is no corpus here; `make corpus` builds it")
    text = path.read_text(encoding="utf-8")[:1_000_000].replace(END_OF_TEXT_MARK, "")
    tokens_per_word = len(get_tokenizer().encode_ordinary(text)) / len(text.split())
    assert int(said[1].replace(",", "")) * tokens_per_word >= SHORTEST_DOCUMENT
