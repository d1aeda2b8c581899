"""Wrong guesses of section 6.B, with words of what is said to each."""

GUESSES = {
    "6.B the head alone": [
        ("0.7", "little to learn from"),
        ("0.8", "what the frozen blocks bring"),
        ("0.9", "look at the message"),
    ],
    "6.B before the padding": [
        ("worse", "has just been read"),
        ("can't tell", "even 100 messages can tell"),
    ],
    "6.B the book's choice": [
        ("better", "gets no further"),
        ("worse", "Not so that one could say so"),
    ],
}
