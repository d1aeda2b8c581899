"""What section 6.A asks to predict."""

from workshop.exercises.prediction import Number, OneOf, Question

QUESTIONS = {
    "6.A the loss of knowing nothing": Question(
        "The model's initial weights are very small, so all its 50,257 logits are close to 0. What "
        "is its loss, in nats?",
        Number(within=0.3, unit="nats"),
        right="Yes: ln 50,257.",
        wrong={
            0.69: "That is ln 2, for two classes. Here are 50,257.",
            0: "That would be a model that is always sure, and right.",
            50257: "So many tokens it wavers between; the loss is the logarithm of that.",
            "too low": "More: every token gets the probability 1/50,257, and the loss is −ln of it.",
            "too high": "Less: every token gets the probability 1/50,257, and the loss is −ln of it.",
        },
        then="If N tokens are equally likely, each has p = 1/N, and the loss is ln N; exp(loss) "
        "gives N back. For any model exp(loss) is called its *perplexity*: it does as well as one "
        "that chooses among so many equally likely tokens.",
    ),
    "6.A where the loss ends": Question(
        "Where will the held-out loss be after 600 steps?",
        OneOf("near knowing nothing", "near counting", "below counting"),
        right="Yes: it goes by the tokens before, which counting ignores.",
        wrong={
            "near knowing nothing": "600 steps are enough to learn which tokens are frequent.",
            "near counting": "There it halts for some fifty steps, and then falls below.",
        },
        then="In its first forty steps or so the loss of the batches falls to about 7.2, near what "
        "counting reaches. The rest it owes to the tokens before.",
    ),
    "6.A tokens in disorder": Question(
        "The held-out tokens are put in a random order. Whose loss rises: the model's, or that of "
        "counting?",
        OneOf("both", "only the model's", "only that of counting"),
        right="Yes: who ignores the order loses nothing by disorder.",
        wrong={
            "both": "Counting ignores what came before, so it loses nothing.",
            "only that of counting": "The other way round: counting ignores what came before.",
        },
        then="The model now does worse than counting: it goes by the tokens before, and they "
        "mislead it.",
    ),
    "6.A the gap": Question(
        "The model's loss is lower on the training chapters than on the held-out ones. That looks "
        "like memorising; but counting has such a gap, too. Which share of the model's gap is "
        "there for counting alone?",
        Number(within=12, unit="%"),
        right="Yes, about that.",
        wrong={
            0: "The printout above shows a gap for counting, too.",
            "too low": "More: held-out chapters have other words, names for example.",
            "too high": "Less: the model has also learned sequences that hold only here.",
        },
        then="(The answer is rounded to tens.) The held-out chapters have other words. The rest of "
        "the gap is what the model has learned about sequences in these chapters that does not hold "
        "in others: it has begun to memorise.",
    ),
    "6.A late positions": Question(
        "At position 600 there is much more text to go by than at position 100. Is the next token "
        "easier to guess there, for the nano?",
        OneOf("easier", "not easier"),
        right="Yes: the perplexity is even a little higher.",
        wrong={"easier": "It should be; but the perplexity is even a little higher."},
        then="Probably because only one step in six had pieces of 1,024 tokens: a model must learn "
        "to use so much text.",
    ),
    "6.A tokens never met": Question(
        "Are the rows of such tokens still random, as at the beginning?",
        OneOf("still random", "all zero", "nearly all alike"),
        right="Yes: all of them point the same way.",
        wrong={
            "still random": "What is never the right answer is moved, too: it is made less likely.",
            "all zero": "Nothing pulls them to zero; but all are pushed in one direction.",
        },
        then="(Low ids are frequent tokens.) Such a token is next to never the right answer. So "
        "whenever its logit is computed, the training makes it less likely: its row, which is also "
        "the head's, is pushed away from what the last layer norm puts out. That push is the same "
        "for all of them. So to the nano they are nearly one token, and fine-tuning only the last "
        "block can't mend that.",
    ),
    "6.A what pretraining is worth": Question(
        "By how much is the test accuracy higher with the pretrained weights than with random ones?",
        OneOf("less than 3 points", "3 to 25 points", "more than 25 points"),
        right="Yes: most of the model stays as it is, random or not.",
        wrong={
            "less than 3 points": "More: five random blocks stay random, and the last must cope.",
            "more than 25 points": "Less: even random blocks pass on something of the words.",
        },
        then="Three trainings on 200 messages say little; more were measured for the table below.",
    ),
}
