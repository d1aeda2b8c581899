"""Wrong guesses of section 6.A, with words of what is said to each."""

GUESSES = {
    "6.A the loss of knowing nothing": [
        ("0.69", "for two classes"),
        ("0", "always sure"),
        ("50,257", "the logarithm of that"),
        ("5", "More: every token"),
        ("20 nats", "Less: every token"),
    ],
    "6.A where the loss ends": [
        ("near knowing nothing", "which tokens are frequent"),
        ("near counting", "some fifty steps"),
    ],
    "6.A tokens in disorder": [
        ("both", "it loses nothing"),
        ("only that of counting", "The other way round"),
    ],
    "6.A the gap": [
        ("0 %", "for counting, too"),
        ("20", "other words, names"),
        ("90", "sequences that hold only here"),
    ],
    "6.A late positions": [("easier", "It should be")],
    "6.A tokens never met": [
        ("still random", "made less likely"),
        ("all zero", "pushed in one direction"),
    ],
    "6.A what pretraining is worth": [
        ("less than 3 points", "the last must cope"),
        ("more than 25 points", "pass on something"),
    ],
}
