"""Wrong attention and guesses of appendix 6.E, and what is said to them."""

HEAD = """
import torch

def my_last_query_attention(queries, keys, values):
    d = queries.shape[-1]
    query = queries[:, -1:]
"""
SCORES = "scores = query @ keys.transpose(1, 2) / d**0.5"
WEIGHTS = "weights = scores.softmax(dim=-1)"
RETURN = "return (weights @ values)[:, 0]"


def attention(*lines: str) -> str:
    return HEAD + "".join(f"    {line}\n" for line in lines)


WRONG = {
    "my_last_query_attention": [
        (
            attention("query = queries", SCORES, WEIGHTS, "return weights @ values"),
            "you answer for every token",
        ),
        (attention(SCORES, WEIGHTS, "return weights @ values"), "take its axis away"),
        (
            attention("query = queries[:, :1]", SCORES, WEIGHTS, RETURN),
            "that is the first token's query",
        ),
        (
            attention("scores = query @ keys.transpose(1, 2)", WEIGHTS, RETURN),
            "not divided by the root of d",
        ),
        (
            attention("scores = query @ keys.transpose(1, 2) / d", WEIGHTS, RETURN),
            "by the *root* of d, not by d",
        ),
        (attention(SCORES, "weights = scores.softmax(dim=0)", RETURN), "not over the messages"),
        (attention(SCORES, "weights = scores", RETURN), "are not weights yet"),
        (
            attention("weights = query @ keys.transpose(1, 2)", RETURN),
            "are not weights yet",
        ),
        (
            attention(SCORES, WEIGHTS, "return (weights @ keys)[:, 0]"),
            "you let them gather the keys",
        ),
        (attention(SCORES, WEIGHTS, "return values.mean(dim=1)"), "these are not the numbers"),
        (attention(SCORES, WEIGHTS), "returns nothing"),
    ],
}
GUESSES = {
    "6.E one token's share": [
        ("100", "So the book's loop does it"),
        ("20", "nobody asks what became of"),
        ("0", "One token of each message it does need"),
    ],
    "6.E losses": [
        ("a little lower", "can't learn more from the same numbers"),
        ("a little higher", "Nothing is left out"),
    ],
    "6.E times as fast": [
        ("1", "most of that one is spared"),
        ("2", "Of six blocks one is left"),
        ("5000", "still meets all tokens"),
    ],
    "6.E head alone": [
        ("the padded end", "hardly anything of the message arrives"),
        ("no matter", "hardly anything of the message arrives"),
    ],
    "6.E longer": [("yes, by ten points or more", "It is not too few steps")],
    "6.E the book's three": [
        ("b c a", "some seeds find the way across"),
        ("a b c", "what the token that classifies can know"),
        ("c b a", "others don't"),
    ],
}
ANSWERS = {
    "6.E one token's share": 1.3,
    "6.E losses": "not, but for rounding",
    "6.E times as fast": 9,
    "6.E head alone": "the last real token",
    "6.E longer": "hardly, or not at all",
    "6.E the book's three": ("b", "a", "c"),
}
