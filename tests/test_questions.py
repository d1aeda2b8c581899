"""Numbers that questions and their replies give for the bundled model and data are true."""

import pytest

from helpers.config import gpt_config
from helpers.data import SMS_COUNTS
from helpers.freezing import FreezePlan, parameter_report
from helpers.tokenizer import get_tokenizer
from tests.conftest import load_parts
from workshop.exercises.prediction import Question, questions
from workshop.pictures.charts import batch_widths, share_of_padding

TOKENIZER, QUESTIONS = get_tokenizer(), questions()


def text_of(question: Question) -> str:
    return " ".join([question.ask, question.right, *question.wrong.values(), question.then])


@pytest.fixture(scope="module")
def parts():
    return load_parts("sms-mini")


def test_the_share_of_the_parameters_that_sit_in_blocks_and_embeddings():
    report = parameter_report(gpt_config("gpt2-small (124M)"), FreezePlan.book(12))
    counts = {part.part: part.parameters for part in report.parts}
    embeddings = counts["tok_emb"] + counts["pos_emb"]
    text = text_of(QUESTIONS["6.1 the share that is trained"])
    assert 0.30 < embeddings / report.total < 1 / 3 and "Almost a third" in text
    assert round(counts["trf_blocks.0"] / 1e6) == 7 and "seven million" in text


def test_what_balancing_leaves_out_of_the_collection():
    text = text_of(QUESTIONS["6.2 rows of the balanced collection"])
    left_out = SMS_COUNTS["ham"] - SMS_COUNTS["spam"]
    assert f"{left_out:,} ham messages" in text
    assert f"collection's {sum(SMS_COUNTS.values()):,}" in text
    assert 2 * SMS_COUNTS["ham"] in QUESTIONS["6.2 rows of the balanced collection"].wrong


def test_the_shares_of_spam_in_the_parts(parts):
    train, validation, test = (100 * part["Label"].mean() for part in parts)
    text = text_of(QUESTIONS["6.2 the part that strays"])
    assert f"{validation:.1f} % of the validation data" in text and f"{test:.1f} % of the" in text
    commoner = f"({max(train, 100 - train):.0f} and {max(validation, 100 - validation):.0f} %)"
    assert commoner in text_of(QUESTIONS["6.2 a list of words"])


def test_the_lengths_of_the_training_messages(parts):
    lengths = [len(TOKENIZER.encode(text)) for text in parts[0]["Text"]]
    text = text_of(QUESTIONS["6.3 the longest message"])
    assert sum(length >= 65 for length in lengths) == 25 and "25 of the 700" in text
    assert sorted(lengths)[350] == 31 and "at most 31 tokens" in text
    shape = QUESTIONS["6.3 the shape of an item"].wrong
    assert (lengths[1],) in shape and (1, max(lengths)) in shape
    assert (max(lengths), 8) in QUESTIONS["6.3 the shape of a batch"].wrong
    padding = share_of_padding(lengths, [max(lengths)] * 700)
    ask = QUESTIONS["6.3 each batch its own length"].ask
    assert f"{padding:.0%}".replace("%", " %") in ask
    assert share_of_padding(lengths, batch_widths(lengths, 8)) < padding


def test_the_token_of_id_0_is_the_exclamation_mark():
    assert TOKENIZER.decode([0]) == "!"
