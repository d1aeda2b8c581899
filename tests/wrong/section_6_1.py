"""Wrong guesses of section 6.1, with words of what is said to each."""

GUESSES = {
    "6.1 what the pretrained model answers": [
        ("with yes", "That would be an answer"),
        ("with no", "Not even that"),
    ],
    "6.1 outputs of a classifier": [
        ("1", "as a probability of spam"),
        ("50,257", "still name words"),
        ("0", "One for every class"),
        ("1000", "One for every class"),
    ],
    "6.1 the share that is trained": [
        ("8.3 %", "nothing but blocks"),
        ("1", "More: a block alone"),
        ("25", "Less: eleven blocks"),
    ],
}
