"""Words that this course does not use, since readers can't look them up, and the field's term.

Each pattern has the home-made meaning only: "the share of spam", not "two processes share a core".
"""

import re

CLASS = r"(spam|ham)\b"
POSITION = r"(last|each|every|padded|earlier|later|which|all|token's|previous)"

WORDS = {
    r"what learns\b|\bhow many learn\b|\bwhich (parts|layers|blocks) learn\b": "is trained",
    r"(parameters?|blocks?|layers?|heads?|weights|embeddings?|adapters?|norms?) (that )?(will )?"
    r"learns?\b": "is trained",
    r"thaw": "unfreeze",
    r"dear(er|est|ly)?\b": "expensive",
    r"sur(er|est|eness)\b|\b(as|how|so|too|very|more|most|least) sure\b": "confident",
    r"call(s|ed|ing)? ((it|them|a message|messages|a text) )?" + CLASS: "predicted as spam",
    r"called label\b": "predicted label",
    r"figures are (those|what)\b|\b(round(ed)?|exact|measured|printed|same|own) "
    r"figures\b": "numbers",
    r"picture (above|below|shows)\b|\b(in|above|below) the picture\b|\bbook's picture": "figure",
    r"(a|the|what|which|same|its|their|this|that|each|larger|smaller) shares?\b|\bshares? of\b": (
        "fraction, percentage"
    ),
    r"so (many|much)\b(?!( \w+)? (that|as)\b)": "that many",
    r"puts? out\b|\bputs in\b": "outputs, input",
    r"(goes|went) on\b|\bgo on (writing|with the text)": "continues",
    r"goes? by\b": "uses",
    r"(never|not|has|have|had|already|ever|often|rarely) met\b|\bmet (in|during|by)\b": "seen",
    r"(is|are|be|was|were|been|being|messages?|texts?) cut\b|\bcuts? (off|a (text|message))\b": (
        "truncate, interrupt"
    ),
    r"(is|are|be|been) turned\b(?! (on|off|into))|\bwrong turn\b|\bturned matri": "transposed",
    r"number by number\b": "dot product",
    r"(counting words|word counter)\b": "bag of words",
    r"counting alone\b": "unigram model",
    r"line to beat\b|\bneeds? no model\b": "baseline",
    r"uneven\b": "imbalanced",
    r"(draw|drawn|draws) as many\b": "undersample",
    r"repeatabl[ey]\b": "reproducible",
    r"on both sides\b": "data leakage",
    r"candidates\b": "sampled softmax",
    r"beside (row|run|experiment|that of|those of|the book's|another)\b": "compared with",
    r"bundled pair\b": "the bundled model and data",
    r"(a|one|each|every|next|first|second) press\b|\bpresses\b|\bpress(ed|ing)?\b"
    r"(?! (a |the |any |its )?[*`<]*(key|Enter|Shift|Tab|Space|Esc|Ctrl|arrow))": "click",
    r"by lot\b": "at random",
    r"reckon": "compute",
    r"gradients? (ends?|cross(es)?)\b": "stops at, passes through",
    r"(?<!few )moments\b": "optimizer state",
    r"(less|the same|saves?|saved|useless|amount of|how much) work\b": "compute",
    rf"{POSITION} places?\b(?! value)|\bat (a|its|each|every|which|what) place\b": "position",
    r"slices of (work|a training|the training)\b": "steps",
    r"run once what\b": "cache the frozen layers' output",
    r"(?<!makes )(?<!make )(?<!made )no difference\b": "can't tell apart",
    r"rows? [1-9]\d?\b": "experiment (of the table)",  # a tensor's row 0 is a row
    r"(padded|padding) rows?\b|\brow's end\b|\bend of (the|a|its) row\b": "sequence",
    r"(strays?|looks? around|falls? to pieces|speaks? (for|most|against))\b": "a model predicts",
}
PATTERNS = {re.compile(rf"\b{words}", re.IGNORECASE): term for words, term in WORDS.items()}


def home_made(text: str) -> list[str]:
    """Return each home-made word of a text, with what stands around it and the field's term."""
    flat = " ".join(text.split())
    return [
        f"{flat[max(0, hit.start() - 40) : hit.end() + 20]!r}: write {term!r}"
        for pattern, term in PATTERNS.items()
        for hit in pattern.finditer(flat)
    ]
