"""What appendix 6.E asks: to write, and to predict."""

import torch

from workshop.exercises.coding import Exercise, Mistake, tensor_of
from workshop.exercises.prediction import Number, OneOf, Order, Question


def _attention_of_all(queries, keys, values) -> torch.Tensor:
    """Causal attention of one head, for every token: (b, n, d) → same."""
    n, d = queries.shape[1:]
    scores = queries @ keys.transpose(1, 2) / d**0.5
    future = torch.ones(n, n, dtype=torch.bool).triu(diagonal=1)
    return scores.masked_fill(future, -torch.inf).softmax(dim=-1) @ values


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, atol=1e-4)


def _try_last_query_attention(solve):
    generator = torch.Generator().manual_seed(3)
    for b, n, d in ((2, 5, 4), (3, 1, 4)):
        queries, keys, values = (2 * torch.randn(b, n, d, generator=generator) for _ in range(3))
        given = solve(queries.clone(), keys.clone(), values.clone())
        if isinstance(given, torch.Tensor) and given.shape == (b, n, d) and n > 1:
            raise Mistake(
                "you answer for every token: take the query of the last one only, `queries[:, -1]`."
            )
        if isinstance(given, torch.Tensor) and given.shape == (b, 1, d):
            raise Mistake(
                f"the shape is {(b, 1, d)}: one token is left, so take its axis away, for {(b, d)}."
            )
        given = tensor_of(given, (b, d))
        if _same(given, _attention_of_all(queries, keys, values)[:, -1]):
            continue
        query = queries[:, -1]
        scores = (keys @ query.unsqueeze(2)).squeeze(2)  # (b, n)
        first = (keys @ queries[:, :1].transpose(1, 2)).squeeze(2) / d**0.5
        for weights, sentence in (
            (scores, "the scores are not weights yet: `softmax` makes them positive, with sum 1."),
            (scores / d**0.5, "the scores are not weights yet: `softmax` makes them positive, with sum 1."),
            (scores.softmax(1), "the scores are not divided by the root of d, as GPT-2 does."),
            ((scores / d).softmax(1), "divide the scores by the *root* of d, not by d."),
            ((scores / d**0.5).softmax(0), "`softmax` goes over the tokens (`dim=-1`), not over the messages."),
            (first.softmax(1), "that is the first token's query, which sees all others here: take the last one's."),
        ):  # fmt: skip
            if _same(given, (weights.unsqueeze(1) @ values).squeeze(1)):
                raise Mistake(sentence)
        weights = (scores / d**0.5).softmax(1).unsqueeze(1)
        if _same(given, (weights @ keys).squeeze(1)):
            raise Mistake("the weights gather the *values*; you let them gather the keys.")
        raise Mistake(
            "these are not the numbers that attention for all tokens has in its last row: scores, "
            "`softmax`, then the weighted sum of the values."
        )
    return "two small batches, beside causal attention for all tokens, of which it is the last row"


EXERCISES = {"my_last_query_attention": Exercise(_try_last_query_attention)}


QUESTIONS = {
    "6.E one token's share": Question(
        "The feed-forward of the last block works on each token by itself. How much of its work on a "
        "batch does the classifier's answer need?",
        Number(tolerance=0.3, unit="%"),
        right="One token of each message.",
        wrong={
            "too high": "The answer is read from one token of each message; nobody asks what became of "
            "the others.",
            "too low": "One token of each message it does need.",
            100: "So the book's loop does it, but the answer is read from one token of each message.",
        },
        then="So in the last block only the token that classifies asks (a *query*) and is reworked. The "
        "*keys* and *values* of attention are another matter: it looks at all tokens before it.",
    ),
    "6.E losses": Question(
        "`fine_tune` runs the frozen part once for each message and lets the last block answer for one "
        "token. How will the losses of its steps differ from those of the book's loop?",
        OneOf("not, but for rounding", "a little lower", "a little higher"),
        right="It is the same arithmetic, less often.",
        wrong={
            "a little lower": "It can't learn more from the same numbers.",
            "a little higher": "Nothing is left out that the loss depends on.",
        },
        then="Above the line runs what the gradient reaches, with the same inputs as before: the kept "
        "numbers are those that the frozen part would put out again.",
    ),
    "6.E times as fast": Question(
        "Once the frozen part has run, how many times as fast is the training as the book's loop, "
        "which measures now and then as well?",
        Number(tolerance=0.5),
        right="About that; it differs from one computer to another.",
        wrong={
            "too low": "Of six blocks one is left, and most of that one is spared, too.",
            "too high": "The last block's attention still meets all tokens, and something has to be measured.",
        },
        then="What the frozen part puts out is kept for the next time as well: another training on the "
        "same messages, with the same part frozen, starts at once.",
    ),
    "6.E head alone": Question(
        "Only the head is trained; everything below it is as it was pretrained. From which token should "
        "it read?",
        OneOf("the padded end", "the last real token", "no matter"),
        right="There the message is known already.",
        wrong={"else": "At the padded end hardly anything of the message arrives (6.6)."},
        then="With the bundled pair, the mean of three seeds: 60 % at the padded end, 83 % at the last "
        "real token. A head can't fetch what is not there.",
    ),
    "6.E longer": Question(
        "At the padded end, does the head alone become better with three times the learning rate and "
        "twice the epochs?",
        OneOf("yes, by ten points or more", "hardly, or not at all"),
        right="It was not for lack of steps.",
        wrong={"else": "It is not too few steps: what the head is to find does not arrive there."},
        then="With the bundled pair, the mean of the same three seeds: 55 % instead of 60.",
    ),
    "6.E the book's three": Question(
        "The chapter's exercises change one thing each. Which order, from the highest validation "
        "accuracy to the lowest?",
        Order(
            "a: pad to 1,024 tokens (exercise 6.1)",
            "b: train everything (6.2)",
            "c: classify by the first token (6.3)",
        ),
        right="Yes, and so it is with GPT-2 124M.",
        wrong={
            (
                "b",
                "c",
                "a",
            ): "Nearly: some seeds find the way across the padding, but the first token "
            "has seen one word, itself.",
            "else": "Ask what the token that classifies can know: the first has seen one word, itself; "
            "behind a thousand tokens of padding some seeds find the message, others don't.",
        },
        then="Everything trained is best, and dearest: nothing runs only once.",
    ),
}
