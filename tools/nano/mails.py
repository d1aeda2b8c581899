"""Clean the mails of an old collection, so that what is left is what a person wrote and reads.

Headers, encoded blocks, footers, tracking links and ornaments go; so do mails in other languages,
with lost characters or hardly a word, and pornography.
"""

import email.errors
import re
import unicodedata
from email.header import decode_header
from email.message import Message
from html.parser import HTMLParser

LONGEST_FOOTER = 15  # lines; what follows a `-- ` for longer is more than a signature

COMMON_WORDS = """
a about all an and any are as at be been but by can do for from get had has have he his how i if in
is it just like me more my no not of on one or our out so some that the their them there they this
to up was we were what when which who will with would you your
"""

PORNOGRAPHIC = re.compile(
    r"\b(porn\w*|xxx+|puss(y|ies)|cum|cumshots?|sluts?|blow ?jobs?|horny|orgasms?|penis\w*|"
    r"vagina\w*|dildos?|cocks?|erections?|erotic\w*|masturbat\w*|nudes?|naked|incest\w*|rape[ds]?|"
    r"raping|lolitas?|milfs?|gang ?bang\w*|cunts?|tits|titties|anal|"
    r"(?:live|teen|hot|free|hardcore) (?:sex|girls|sluts)|\w*adult[ -]?\w*sites?)\b",
    re.IGNORECASE,
)

BLOCKS = re.compile(  # what stands between two marks and is no prose
    r"^[> ]*-----BEGIN PGP SIGNED MESSAGE-----\n(?:[> ]*\w+: .*\n)*"
    r"|^[> ]*-----BEGIN PGP (?!SIGNED)[\s\S]*?(?:^[> ]*-----END PGP .*$|\Z)"
    r"|^begin(?:-base64)? \d{3} [\s\S]*?(?:^(?:end|====)$|\Z)"
    # the head of a part, in the wrong place
    r"|\bContent-(?:Type|Transfer-Encoding|Disposition): *[\w/-]+(?:; *\w+=\S+)*;?"
    r"|^-+ Yahoo! Groups Sponsor -[\s\S]*?~->$",
    re.MULTILINE,
)

FOOTER = re.compile(r"[> ]*(--|_{20,}|-{20,}|={20,})")

LIST_TAIL = re.compile(
    r"^(?:To unsubscribe from this group, send an email to:|"
    r"Your use of Yahoo! Groups is subject to |This sf\.net email is sponsored by|"
    r"This message was sent to address |https?://\S+/mailman/listinfo/).*",
    re.MULTILINE | re.IGNORECASE,
)

# of news items made mails
FEED_HEAD = re.compile(r"^(?:URL: .*|Date: (?:Not supplied|\S+T\S+))\n", re.MULTILINE)

BLOCK_TAGS = """
address blockquote br center div dl dd dt h1 h2 h3 h4 h5 h6 hr li ol p pre table td tr ul
"""

# A link of more than 60 characters is there to track the reader; a word of more than 30 is a piece
# of an encoded attachment or a serial number of spam.
LONG_STRING = re.compile(r"\S{61,}|(?<!\S)[^\s/@]{31,}(?!\S)")

HIDDEN_TAGS = ("head", "script", "style", "title")


def normalise_spaces(text: str) -> str:
    """Return `text` in one line, with a single space wherever there was white space."""
    return " ".join(text.split())


def strip_html(text: str) -> str:
    """Return what a browser would show of `text`: its words, a line for each block."""
    page = Page()
    page.shown = []
    page.feed(text)
    page.close()
    lines = "".join(page.shown).split("\n")
    return "\n".join(map(normalise_spaces, lines))


class Page(HTMLParser):
    """What a page shows, in `shown`."""

    hidden_in = None

    def handle_starttag(self, tag: str, attrs: list) -> None:
        if tag == "body":
            self.hidden_in = None  # many a mail never closes its head
        elif tag in HIDDEN_TAGS:
            self.hidden_in = self.hidden_in or tag
        elif tag in BLOCK_TAGS.split():
            self.shown.append("\n\n" if tag == "p" else "\n")

    def handle_endtag(self, tag: str) -> None:
        if tag == self.hidden_in:
            self.hidden_in = None
        elif tag in ("p", "div", "tr", "table"):
            self.shown.append("\n")

    def handle_data(self, data: str) -> None:
        if self.hidden_in is None:
            self.shown.append(data.replace("\n", " "))  # on the page, a line break is but a space


def clean_email(text: str) -> str | None:
    """Return a raw mail as `Subject: …`, a blank line and its readable body.

    None for what is left out: mails in other languages or with lost characters, those with hardly a
    word, and pornography.
    """
    # Bytes, because a str that is not ASCII loses its accents in `get_payload(decode=True)`.
    mail = email.message_from_bytes(text.encode("utf-8", "replace"))
    subject = normalise_spaces(str(mail.get("Subject", "")))
    try:  # `=?iso-8859-1?Q?…?=` becomes the characters it stands for
        pieces = decode_header(subject)
        subject = "".join(p if isinstance(p, str) else decode(p, charset) for p, charset in pieces)
    except (ValueError, email.errors.HeaderParseError):
        pass  # a malformed code, common in spam
    subject = clean_body(subject).replace("\n", " ")
    body = clean_body(readable_part(mail))
    whole = f"Subject: {subject}\n\n{body}" if subject else body
    words, common = re.findall(r"[a-z']+", body.lower()), set(COMMON_WORDS.split())
    keep = (
        len(words) >= 5
        and body.count("\ufffd") <= 0.005 * len(body)  # characters lost to a wrong encoding
        and sum(map(str.isascii, body)) >= 0.95 * len(body)
        # of the words of English mails 0.3 are common, of lists and code nearly none
        and sum(word in common for word in words) >= 0.12 * len(words)
        and not PORNOGRAPHIC.search(whole)
    )
    return whole if keep else None


def readable_part(mail: Message) -> str:
    """Return the text of the plain parts, or of the HTML parts where no plain one has any."""
    texts = {"text/plain": [], "text/html": []}
    for part in mail.walk():
        kind = part.get_content_type()
        if kind in texts and part.get_filename() is None and not part.is_multipart():
            content = part.get_payload(decode=True) or b""
            texts[kind].append(undo_quoted_printable(decode(content, part.get_content_charset())))
    plain = "\n\n".join(texts["text/plain"])
    if re.search(r"<(html|body|table|br|font)\b", plain, re.IGNORECASE):  # HTML, called plain
        page, *_footer_of_a_list = re.split(r"</html>", plain, flags=re.IGNORECASE)
        plain = strip_html(page)
    plain = re.sub(r"</?a\b[^<>]*>", "", plain, flags=re.IGNORECASE)
    return plain if plain.strip() else "\n\n".join(map(strip_html, texts["text/html"]))


def undo_quoted_printable(text: str) -> str:
    """Return decoded quoted-printable text where the mail does not declare it, other text as it is."""
    if len(re.findall(r"=(?:20|3D|0D|09|92|2E)?$|=3D|=20", text, re.MULTILINE)) <= 2:
        return text
    text = re.sub(r"=\r?\n", "", text)
    # Neighbouring codes at once, since one character may take several bytes.
    return re.sub(
        r"(?:=[0-9A-F]{2})+",
        lambda codes: decode(bytes.fromhex(codes[0].replace("=", "")), None),
        text,
    )


def decode(content: bytes, charset: str | None) -> str:
    """Return the text of bytes in UTF-8, else in the declared encoding, else in cp1252."""
    for encoding in ("utf-8", charset or "cp1252"):
        try:
            return content.decode(encoding)
        except (ValueError, LookupError):  # spam invents the names of encodings, NULs among them
            continue
    return content.decode("cp1252", "replace")


def clean_body(text: str) -> str:
    """Return a mail's prose, without encoded blocks, footers, tracking links and ornaments."""
    text = re.sub(r"\r\n?|[\v\f\u2028\u2029]", "\n", text)
    # a lost typographic apostrophe
    text = re.sub(r"(?<=[A-Za-z])\ufffd(?=(?:s|t|m|d|ll|re|ve)\b)", "'", text)
    # Bytes 128 to 159 of Windows' code page, its dashes and quotes, are control characters in the
    # package.
    text = re.sub(
        r"[\x80-\x9f]", lambda byte: byte[0].encode("latin-1").decode("cp1252", "ignore"), text
    )
    characters = unicodedata.normalize("NFC", text)
    text = "".join(c for c in characters if c in "\n\t" or unicodedata.category(c)[0] != "C")
    text = text.replace("\xa0", " ")
    text = FEED_HEAD.sub("", LIST_TAIL.sub("", BLOCKS.sub("", text)))

    lines = without_footer([line.rstrip() for line in text.split("\n")])
    # A "\n" stands for a line that was blank before: it parts paragraphs, one emptied here does
    # not.
    lines = [LONG_STRING.sub("", line) if line else "\n" for line in lines]
    # Quotes of quotes are in the mails they quote; a line with no letter and no digit is an
    # ornament.
    lines = [
        line for line in lines if not re.match(r"\s*>\s*>", line) and re.search(r"[^\W_]|\n", line)
    ]
    text = "\n".join(re.sub(r"[ \t]+", " ", line).strip() for line in lines)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def without_footer(lines: list[str]) -> list[str]:
    """Return the lines before the first rule or `-- ` that only a footer follows."""
    filled_after = sum(map(bool, lines))
    for i, line in enumerate(lines):
        filled_after -= bool(line)
        if filled_after <= LONGEST_FOOTER and i > 0 and FOOTER.fullmatch(line):
            return lines[:i]
    return lines
