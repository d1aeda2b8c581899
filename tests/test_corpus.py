"""The corpus is readable text: what is no prose is gone, what is stays, and documents end where the
mark says.
"""

import io
import json
import re
import subprocess
import sys
import tarfile

import pytest

from helpers.data import SMS_MINI, read_messages
from helpers.download import file_sha256
from tests.conftest import REAL_SMS, ROOT
from tools.nano import corpus
from tools.nano.corpus import (
    bible_chapters,
    fetch_package,
    join_documents,
    read_package,
    split_dialogues,
    unwrap,
    without_copies,
    without_messages,
    words_of,
)
from tools.nano.mails import clean_body, clean_email, strip_html

BUILT, SHORT = ROOT / "corpus", ROOT / "corpus-short"
BUNDLED = ROOT / "helpers" / "assets" / "gpt2" / "12M"
PROSE = "I will be at the office on Monday and can bring the keys with me."


def mail(body, headers="Content-Type: text/plain", subject="The keys"):
    head = f"From a@b.c Mon Jul 22\nReceived: from here by there\nSubject: {subject}\n{headers}"
    return f"{head}\n\n{body}\n"


def test_a_mail_is_its_subject_and_its_body_without_the_other_headers():
    assert clean_email(mail(PROSE)) == f"Subject: The keys\n\n{PROSE}"


def test_a_document_cannot_smuggle_in_an_end_mark():
    text = join_documents(["one <|endoftext|> two", "<|endof<|endoftext|>text|>", "three"])
    assert text.count("<|endoftext|>") == 2
    assert [line for line in text.splitlines() if "<|endoftext|>" in line] == ["<|endoftext|>"] * 2


def test_an_empty_document_leaves_no_mark():
    assert join_documents(["one", " \n", "two"]) == "one\n<|endoftext|>\ntwo\n"


def test_signatures_and_list_footers_are_cut():
    for rule in ("-- ", "_" * 47, "> -- "):
        assert clean_body(f"{PROSE}\n\n{rule}\nIrish Linux Users' Group: ilug@linux.ie\n") == PROSE


def test_a_rule_in_the_middle_of_a_long_mail_cuts_nothing():
    after = "\n".join([PROSE] * 30)
    assert clean_body(f"{PROSE}\n{'_' * 40}\n{after}") == f"{PROSE}\n{after}"


@pytest.mark.parametrize(
    "block",
    [
        "-----BEGIN PGP SIGNATURE-----\nVersion: GnuPG\n\niD8DBQE9b\n-----END PGP SIGNATURE-----",
        "begin 644 cat.gif\nM1TE&.#EA\n`\nend",
        "QUJDREVGR" * 8,
        "http://ads.example.com/r?u=" + "a1" * 40,
        "*~*~*~*~*",
        "7977JrzS7-887RrsR4903rvQG5-779Sctl3539oIeJ0",
    ],
)
def test_codes_and_ornaments_are_gone_and_the_prose_around_them_stays(block):
    lines = clean_body(f"{PROSE}\n{block}\nSee you then.").split("\n")
    assert [line for line in lines if line] == [PROSE, "See you then."]


def test_a_short_link_stays():
    assert (
        clean_body("See http://www.example.com/list.html") == "See http://www.example.com/list.html"
    )


def test_encoded_mails_are_read_as_written():
    quoted = (
        "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable"
    )
    body = "We will meet at the caf=E9 on Monday, and you =\ncan bring the keys."
    assert "café on Monday, and you can bring" in clean_email(mail(body, quoted))
    assert clean_email(mail(PROSE, subject="=?iso-8859-1?Q?The_caf=E9?=")).startswith(
        "Subject: The café\n"
    )
    undeclared = "Do you have=20\nthe keys for=20\nthe caf=C3=A9 that is =\nat the corner?=20"
    assert "the café that is at the corner?" in clean_email(mail(undeclared))
    assert clean_body("It\x92s here") == "It’s here"


def test_an_html_mail_reads_as_in_a_browser():
    body = f"<body><p>{PROSE}<br>Bring<!-- no --> it &amp; go</p>"
    page = f"<html><head><title>x</title><style>p</style></head>{body}"
    assert clean_email(mail(page, "Content-Type: text/html")).endswith(
        f"\n\n{PROSE}\nBring it & go"
    )
    assert strip_html("a<script>x()</script>b") == "ab"


def test_the_plain_part_wins_over_the_html_part_and_attachments_are_left_out():
    body = (
        f"--b\nContent-Type: text/plain\n\n{PROSE}\n"
        "--b\nContent-Type: text/html\n\n<p>In colour</p>\n"
        "--b\nContent-Type: text/plain\nContent-Disposition: attachment; filename=a.txt\n\n"
        "attached\n--b--"
    )
    cleaned = clean_email(
        mail(body, 'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="b"')
    )
    assert cleaned == f"Subject: The keys\n\n{PROSE}"


@pytest.mark.parametrize(
    "body",
    [
        "you and me",
        PROSE + " \u03b1\u03b2\u03b3" * 5,
        PROSE * 3 + " \ufffd" * 2,
        "Ich habe die Schlüssel morgen früh im Büro und bringe sie gerne mit",
        f"{PROSE} Free porn for all.",
        "kernel-2.4.18 glibc-2.2.5 gcc-3.2 apt-0.3 xmms-1.2",
    ],
)
def test_unreadable_and_pornographic_mails_are_dropped(body):
    assert clean_email(mail(body)) is None


def test_copies_are_dropped_though_numbers_case_and_subject_differ():
    first = f"Subject: 1\n\n{PROSE} Order number 1"
    assert list(
        without_copies([first, f"Subject: 2\n\n{PROSE.upper()} order NUMBER 2", "Other."])
    ) == [first, "Other."]


def test_documents_that_hold_a_message_of_the_test_data_are_dropped():
    messages = ["Call ME, when you're home", "Ok lar", "see you later tonight then"]
    kept = ["Call me when you are home.", "ok lar", "We'll see you later tonight."]
    dropped = [
        "She wrote 'see you later tonight then' to me",
        "Please call me - when you’re home!",
        "I will see you later. See you later tonight, then",
    ]
    assert list(without_messages([*kept, *dropped], messages)) == kept


def test_hard_wrapped_lines_become_paragraphs():
    assert (
        unwrap("Call me\nIshmael.\n \n\nSome  years\nago") == "Call me Ishmael.\n\nSome years ago"
    )


def test_dialogues_keep_a_line_per_utterance():
    assert split_dialogues("Hi  there\nHello.\n\n\nBye\u00a0now\n") == [
        "Hi there\nHello.",
        "Bye now",
    ]


def test_chapter_2_comes_before_chapter_10_whatever_the_order_in_the_package(tmp_path):
    with tarfile.open(tmp_path / "p.tgz", "w:gz") as archive:
        for name in (
            "data/chapter_10.json",
            "data/epilogue.json",
            "data/chapter_2.json",
            "package.json",
        ):
            content = json.dumps({"title": f"{name}", "text": "a\nb"}).encode()
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    files = read_package(tmp_path / "p.tgz")
    assert list(files) == ["chapter_2.json", "chapter_10.json", "epilogue.json"]
    assert next(corpus.chapters(files)) == "data/chapter_2.json\n\na b"


def test_without_npm_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="install Node.js"):
        fetch_package("any", "1.0.0", tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script plays npm here")
def test_when_npm_fails_the_error_names_the_package_and_what_npm_said(tmp_path, monkeypatch):
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'no such version' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="any@1.0.0.*no such version"):
        fetch_package("any", "1.0.0", tmp_path)


def test_the_command_says_in_a_line_what_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    command = [sys.executable, "-m", "tools.nano.corpus", "--out", tmp_path / "out"]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (
        child.returncode == 1
        and "install Node.js" in child.stderr
        and "Traceback" not in child.stderr
    )


def test_the_bible_is_prose_by_chapter_without_the_numbers_of_verses():
    printed = "Ge1:1 In the beginning\nGe1:2 And  the earth\nGe2:1 Thus\n1Jo1:1 That which was\n"
    assert bible_chapters(printed) == ["In the beginning And the earth", "Thus", "That which was"]


# --- the corpus itself, if `make corpus` has built it ---


@pytest.fixture(scope="module")
def built():
    if not BUILT.exists():
        pytest.skip("there is no corpus here; `make corpus` builds it")
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(BUILT.glob("*.txt"))}


def test_the_corpus_is_the_one_that_the_bundled_model_was_trained_on(built):
    page = (BUNDLED / "PROVENANCE.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `(\w+\.txt)` \|.*\| `([0-9a-f]{64})` \|$", page, re.MULTILINE))
    assert listed, "PROVENANCE.md lists no files"
    paths = {path.name: path for folder in (BUILT, SHORT) for path in folder.glob("*.txt")}
    assert paths.keys() <= listed.keys()
    if listed.keys() != paths.keys() or not REAL_SMS.exists():
        pytest.skip(
            "the corpus here was built without the dialogues, the Bible or the SMS Spam Collection"
        )
    assert listed == {name: file_sha256(path) for name, path in paths.items()}


def test_no_message_of_the_test_data_occurs_in_the_corpus(built, real_sms):
    messages = [*read_messages(SMS_MINI)["Text"], *read_messages(real_sms)["Text"]]
    documents = [
        document for text in built.values() for document in text.split("\n<|endoftext|>\n")
    ]
    assert len(documents) > 5_000
    assert list(without_messages(documents, messages)) == documents
    planted = [
        f"He wrote: {message} And then?" for message in messages if len(words_of(message)) >= 4
    ]
    assert len(planted) > 5_000 and not list(without_messages(planted, messages))


# --- what the pages say of the bundled model ---


def test_the_appendix_quotes_the_accuracies_of_the_bundled_models_page():
    page = (BUNDLED / "PROVENANCE.md").read_text(encoding="utf-8")
    measured = {
        data: set(re.findall(rf"^\| {data}: .* \| (\d\d\.\d %)", page, re.MULTILINE))
        for data in ("sms-mini", "sms-spam-collection")
    }
    script = (ROOT / "notebooks" / "scripts" / "06_A_where_nano_comes_from.py").read_text(
        encoding="utf-8"
    )
    rows = re.findall(r"^# \| .* \| (\d\d\.\d %) \| (\d\d\.\d %) \|$", script, re.MULTILINE)
    assert len(rows) == 7
    for mini, collection in rows:
        assert mini in measured["sms-mini"] and collection in measured["sms-spam-collection"]
