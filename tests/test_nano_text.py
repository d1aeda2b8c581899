"""The text that the bundled nano was pretrained on: readable documents, some in another spelling, and
no message that a model is tested on.
"""

import random
import re

import pytest

from helpers.data import SMS_MINI, read_messages
from helpers.download import file_sha256
from tests.conftest import ROOT
from tools.nano.corpus import (
    bible_chapters,
    build_short_texts,
    natural_key,
    split_dialogues,
    unwrap,
    without_copies,
    without_messages,
    words_of,
    write,
)
from tools.nano.mails import clean_body, clean_email
from workshop.pretraining import read_documents, split_documents
from workshop.respelling import as_advertised, as_texted, rewrite, with_other_numbers

CORPUS, SHORT = ROOT / "corpus", ROOT / "corpus-short"
BUNDLED = ROOT / "helpers" / "assets" / "gpt2" / "12M"
PROSE = "I will be at the office on Monday and can bring the keys with me."
TEXT = "Are you going to the shop? I'm late.\nSee you tomorrow at 7:30 PM, then. It's your turn."


def mail(body, headers="Content-Type: text/plain", subject="The keys"):
    head = f"From a@b.c Mon Jul 22\nReceived: from here by there\nSubject: {subject}\n{headers}"
    return f"{head}\n\n{body}\n"


def test_a_mail_is_its_subject_and_its_body_without_footers_and_other_headers():
    assert clean_email(mail(PROSE)) == f"Subject: The keys\n\n{PROSE}"
    for rule in ("-- ", "_" * 47, "> -- "):
        assert clean_body(f"{PROSE}\n\n{rule}\nIrish Linux Users' Group: ilug@linux.ie\n") == PROSE
    after = "\n".join([PROSE] * 30)  # too long for a footer
    assert clean_body(f"{PROSE}\n{'_' * 40}\n{after}") == f"{PROSE}\n{after}"
    signature = (
        "-----BEGIN PGP SIGNATURE-----\nVersion: GnuPG\n\niD8DB\n-----END PGP SIGNATURE-----"
    )
    for block in (signature, "http://ads.example.com/r?u=" + "a1" * 40, "*~*~*~*~*"):
        lines = clean_body(f"{PROSE}\n{block}\nSee you then.").split("\n")
        assert [line for line in lines if line] == [PROSE, "See you then."]


def test_encoded_mails_are_read_as_written_and_unreadable_and_pornographic_ones_dropped():
    quoted = "Content-Type: text/plain; charset=iso-8859-1\n"
    quoted += "Content-Transfer-Encoding: quoted-printable"
    body = "We will meet at the caf=E9 on Monday, and you =\ncan bring the keys."
    assert "café on Monday, and you can bring" in clean_email(mail(body, quoted))
    coded = clean_email(mail(PROSE, subject="=?iso-8859-1?Q?The_caf=E9?="))
    assert coded.startswith("Subject: The café\n")
    german = "Ich habe die Schlüssel morgen früh im Büro und bringe sie gerne mit"
    for body in (PROSE + " \u03b1\u03b2\u03b3" * 5, german, f"{PROSE} Free porn for all."):
        assert clean_email(mail(body)) is None


def test_a_document_cannot_smuggle_in_an_end_mark_and_an_empty_one_leaves_none(tmp_path, capsys):
    path = tmp_path / "new" / "a.txt"
    write(path, ["one <|endoftext|> two", " \n", "<|endof<|endoftext|>text|>", "three"])
    text = path.read_text(encoding="utf-8")
    assert text.count("<|endoftext|>") == text.split("\n").count("<|endoftext|>") == 2
    assert text.startswith("one   two\n<|endoftext|>\n") and text.endswith("\nthree\n")
    assert capsys.readouterr().out.startswith(f"a.txt: {len(text)} bytes, sha256 ")


def test_copies_and_documents_that_hold_a_message_of_the_test_data_are_dropped():
    first = f"Subject: 1\n\n{PROSE} Order number 1"
    copy = f"Subject: 2\n\n{PROSE.upper()} order NUMBER 2"
    assert list(without_copies([first, copy, "Other."])) == [first, "Other."]
    messages = ["Call ME, when you're home", "Ok lar", "see you later tonight then"]
    kept = ["Call me when you are home.", "ok lar", "We'll see you later tonight."]
    dropped = [
        "She wrote 'see you later tonight then' to me",
        "Please call me - when you’re home!",
        "I will see you later. See you later tonight, then",
    ]
    assert list(without_messages([*kept, *dropped], messages)) == kept


def test_the_sources_become_prose_in_the_order_of_the_book():
    assert unwrap("Call me\nIshmael.\n \n\nSome  years\nago").startswith("Call me Ishmael.\n\nSome")
    assert split_dialogues("Hi  there\nHello.\n\n\nBye\n") == ["Hi there\nHello.", "Bye"]
    printed = "Ge1:1 In the beginning\nGe1:2 And  the earth\nGe2:1 Thus\n1Jo1:1 That which was\n"
    assert bible_chapters(printed) == ["In the beginning And the earth", "Thus", "That which was"]
    assert sorted(["a10/b", "a2/c", "a2/b"], key=natural_key) == ["a2/b", "a2/c", "a10/b"]


def many(function, text=TEXT):
    return [function(text, random.Random(seed)) for seed in range(200)]


def test_words_are_texted_whole_words_only_and_the_longest_form_first():
    spelled = many(as_texted)
    words = {word for text in spelled for word in re.findall(r"[\w']+", text.lower())}
    assert words >= {"u", "r", "gonna", "ur", "2moro", "tmrw", "cya", "l8"}
    assert any("7.30pm" in text for text in spelled)
    assert "u're" not in words and not any(re.search(r"\bgoin 2\b", text) for text in spelled)
    assert not any("oda" in text.lower() for text in many(as_texted, "Otherwise"))
    for function in (as_texted, as_advertised, with_other_numbers, rewrite):
        spelled = many(function)
        assert spelled == many(function) and {text.count("\n") for text in spelled} == {1}


def test_numbers_of_four_digits_or_more_and_currencies_change_and_smaller_numbers_stay():
    text = "Call 415-555-0123 or (415) 555 0124: 2 tickets, $20 each, order 123456."
    spelled = many(with_other_numbers, text)
    assert not any("0123" in text or "123456" in text for text in spelled)
    assert all(re.search(r": 2 tickets, [£€$]20 each, order \d{6}\.$", text) for text in spelled)
    assert {re.search(r"[£€$]", text)[0] for text in spelled} == set("£€$")
    codes = {re.search(r"Call (\+44|\d\d)", text)[1] for text in spelled}
    assert codes >= {"+44", "07", "08", "09"}


def test_what_is_held_out_is_not_rewritten_and_no_message_of_the_test_data_is_written(tmp_path):
    documents = [f"Marker{i:03d}x stays beside old lamps" for i in range(100)]
    training, held_out = split_documents(documents)
    write(tmp_path / "text" / "a.txt", documents)
    sentences = ["We will meet the Zork at noon", "A Grue sat here"]
    build_short_texts(tmp_path / "text", tmp_path / "out", sentences, [sentences[0], training[0]])
    assert read_documents(tmp_path / "out")[-1] == "A Grue sat here"
    text = (tmp_path / "out" / "rewritten.txt").read_text(encoding="utf-8").lower()
    markers = re.findall(r"marker\d{3}x", text)
    assert held_out and markers == [document.split()[0].lower() for document in training[1:]]
    assert "grue" in text and "zork" not in text and text.count(" lamps\n") < 90


@pytest.mark.proof
def test_the_text_is_the_bundled_models_and_holds_no_message_of_the_test_data(real_sms):
    page = (BUNDLED / "PROVENANCE.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `(\w+\.txt)` \|.*\| `([0-9a-f]{64})` \|$", page, re.MULTILINE))
    assert listed, "PROVENANCE.md lists no files"
    paths = {path.name: path for folder in (CORPUS, SHORT) for path in folder.glob("*.txt")}
    if listed.keys() != paths.keys():
        pytest.skip("there is no whole corpus here; `make corpus` builds it")
    assert listed == {name: file_sha256(path) for name, path in paths.items()}
    messages = [*read_messages(SMS_MINI)["Text"], *read_messages(real_sms)["Text"]]
    documents = read_documents(CORPUS) + read_documents(SHORT)
    assert len(documents) > 200_000
    assert list(without_messages(documents, messages)) == documents
    planted = [f"He wrote: {m} And then?" for m in messages if len(words_of(m)) >= 4]
    assert len(planted) > 5_000 and not list(without_messages(planted, messages))
