"""Rewrite documents as people type on a phone, or as advertisements shout.

The usual devices of texting: letters and digits that sound like a word, shortenings, missing vowels
and apostrophes (Crystal 2008, "Txtng: the Gr8 Db8"). A part of the nano's pretraining text.
"""

import random
import re

MOST_WORDS = 400  # longer documents are not rewritten: nobody texts a speech

# How a word is texted: by letters and digits that sound like it, without some of its letters, as it
# is spoken. "cum" is "come" here, though the corpus's mails are dropped for it: there it has its
# other meaning.
TEXTED = """
    are: r, be: b, before: b4, everyone: every1, for: 4, forever: 4eva, forget: 4get,
    friend: frnd mate m8, great: gr8 grt, late: l8, later: l8r laterz, one: 1, see: c,
    see you: cya cu, someone: some1, to: 2, today: 2day, tomorrow: 2moro tmrw tomo tmr,
    tonight: 2nite tonite, too: 2, two: 2, wait: w8, why: y, you: u, you are: ur, you're: ur,
    your: ur, yours: urs, yourself: urself, about: abt, and: n &, back: bk, could: cud,
    friends: frnds mates, from: frm, have: hav hv, hope: hpe, hour: hr, hours: hrs, how: hw,
    message: msg, messages: msgs, minute: min, minutes: mins, mobile: mob, much: mch, not: nt,
    number: no num, people: ppl, picture: pic, pictures: pics, please: pls plz plez,
    should: shud shld, speak: spk, telephone: tel, text: txt, texts: txts, understand: undrstnd,
    very: v vry, week: wk, weekend: wkend, weeks: wks, work: wrk, would: wud, year: yr,
    babe: bab bby, because: cos coz bc, bye: byee, can't: cant, come: cum com, cool: kool,
    don't: dont dnt, evening: eve evenin, going: goin, going to: gonna, good: gd gud, got to: gotta,
    have to: hafta, hello: hey hi hiya, I'm: im am, just: jus jst, know: kno, like: lyk,
    little: lil, love: luv lv, morning: mornin, my: ma, night: nite, no: nah nope, nothing: nuthin,
    of course: ofc, OK: k kk okey, okay: ok k kk, or: o, our: r, pounds: quid,
    probably: prob prolly, really: rly realy, right: rite, school: sch skool, some: sum,
    something: sumthin smth, sorry: sry soz, thank you: thx ta tq, thanks: thx tnx thanx,
    that: dat tht, the: da d, them: dem, then: den, there: der, they: dey, think: thk tink,
    this: dis, though: tho, through: thru, till: til, until: til, want: wan, want to: wanna,
    was: woz ws, well: wel, were: wer, what: wat wot, when: wen, where: wer, will: wil,
    with: wid wif w, without: w/o, yes: yeah yep yup ya,
"""

SHORT_FORMS = {  # in lower case
    long.lower(): short.split() for long, short in re.findall(r"(\w[\w' ]*):\s+([^,]+),", TEXTED)
}
LONGEST_FIRST = sorted(SHORT_FORMS, key=len, reverse=True)  # "going to" before "going"
LONG_FORM = re.compile(rf"\b({'|'.join(LONGEST_FIRST)})\b(?!')", re.IGNORECASE)

PHONE_NUMBER = re.compile(r"(?:\b1[ -])?\(?\b\d{3}\)?[ .-]\d{3}[ .-]\d{4}\b|\b\d{3}-\d{4}\b")
# as in Britain: mobile, at a higher rate, free, at a higher rate, from abroad, a short code
PHONE_NUMBERS = """07### ######, 07#########, 08## ### ####, 08##########, 0800 ######, 090########,
+44 7### ######, #####""".replace("\n", " ").split(", ")
OPENINGS = "hey, hi, hiya, ok, ok so, oh, lol, haha, yeah, well, aww, omg, dear, btw, hmm, so, yup"
CLOSINGS = """
:) :-) ;) ;-) :( :D :P xx xxx x lol haha hehe lmao ... .. 😊 😂 🙂 👍 ❤️ 🎉 😘 🙏 😭 🎁
"""


def as_texted(text: str, rng: random.Random) -> str:
    """Return `text` line by line as somebody with little time would text it.

    How far that goes is drawn once for all lines.
    """
    share = rng.choice([0.2, 0.5, 0.9])  # of the words that are shortened where they can be
    lower, no_apostrophes = rng.random() < 0.6, rng.random() < 0.5
    stop = rng.choice([".", ".", "..", "...", "!", "", ""])

    def shorten(match: re.Match) -> str:
        if rng.random() > share:
            return match[0]
        short = rng.choice(SHORT_FORMS[match[0].lower()])
        is_capital = match[0][0].isupper() and not match[0].startswith("I'")
        return short.capitalize() if is_capital else short

    lines = []
    for line in LONG_FORM.sub(shorten, text).split("\n"):
        line = re.sub(r"[.]( |$)", stop + r"\1", line)
        line = re.sub(r"\b(\d{1,2}):(\d\d) ?([ap])\.?m\.?", r"\1.\2\3m", line, flags=re.IGNORECASE)
        if no_apostrophes:
            line = re.sub(r"(?<=\w)'(?=\w)", "", line)
        if line and rng.random() < 0.15:
            line = f"{rng.choice(OPENINGS.split(', ')).capitalize()} {line[0].lower()}{line[1:]}"
        if line and rng.random() < 0.25:
            line = f"{line} {rng.choice(CLOSINGS.split())}"
        lines.append(line.lower() if lower else line)
    return "\n".join(lines)


def as_advertised(text: str, rng: random.Random) -> str:
    """Return `text` with exclamation marks and capitals.

    Capitals are some words or sentences, everything, or the first letters.
    """
    share = rng.choice([0.1, 0.3])  # of the words or sentences that are shouted
    kind = rng.choice(["words", "words", "sentences", "all", "titles"])

    def shout(part: re.Match) -> str:
        return part[0].upper() if kind == "all" or rng.random() < share else part[0]

    ends = ["!", "!", "!!", "!!!", "."]
    text = re.sub(r"[.](?= |$)", lambda _: rng.choice(ends), text, flags=re.MULTILINE)
    if kind == "titles":
        return re.sub(r"(?<![\w'’])[a-z]", lambda letter: letter[0].upper(), text)
    pattern = {"words": r"\S+", "sentences": r"[^\n.!?]+[.!?]*", "all": r"(?s).+"}[kind]
    return re.sub(pattern, shout, text)


def with_other_numbers(text: str, rng: random.Random) -> str:
    """Return `text` with British phone numbers, another currency, and other digits in long numbers.

    Long is four digits or more. That makes strange years: they look like other numbers.
    """

    def digits(form: str) -> str:
        return re.sub("#", lambda _: str(rng.randrange(10)), form)

    currency = rng.choice("£££€$")
    text = re.sub(r"\b\d{4,}\b", lambda number: digits("#" * len(number[0])), text)
    text = PHONE_NUMBER.sub(lambda _: digits(rng.choice(PHONE_NUMBERS)), text)
    return re.sub(r"\$ ?(?=\d)", currency, text)


def rewrite(document: str, rng: random.Random) -> str:
    """Return a document in another spelling: texted (three of five) or advertised.

    Its numbers are changed, too.
    """
    respell = as_texted if rng.random() < 0.6 else as_advertised
    return respell(with_other_numbers(document, rng), rng)
