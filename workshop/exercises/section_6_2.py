"""What section 6.2 asks: to write, and to predict."""

import pandas as pd

from workshop.exercises.coding import Exercise, Mistake, returned
from workshop.exercises.prediction import Number, OneOf, Question


def _try_balanced(solve):
    """`solve` takes a table and returns a balanced one, ham first."""
    for num_ham, num_spam, start in ((30, 5, 0), (6, 6, 40), (9, 1, 7)):
        df = _table(num_ham, num_spam, start)
        ham, spam = ([*df["Text"][df["Label"] == label]] for label in ("ham", "spam"))
        given = df.copy()
        got = returned(solve(given), "the balanced table")
        if not isinstance(got, pd.DataFrame):
            raise Mistake(f"a table is due, a DataFrame, not a {type(got).__name__}.")
        if not given.equals(df):
            raise Mistake("your function changed the table it was given: leave that as it is.")
        if [*got.columns] != ["Label", "Text"]:
            raise Mistake(f"the columns should still be Label and Text, not {[*got.columns]}.")
        got_ham, got_spam = ([*got["Text"][got["Label"] == label]] for label in ("ham", "spam"))
        if len(got_spam) > num_spam:
            raise Mistake(
                "you copied spam until it was as many as ham: balance the other way round, by "
                "leaving ham out."
            )
        if len(got_spam) < num_spam:
            raise Mistake("some spam is missing: all of it stays.")
        if len(got_ham) != num_spam:
            raise Mistake(f"of {num_ham} ham and {num_spam} spam you kept {len(got_ham)} ham.")
        if len({*got_ham}) < num_spam:
            raise Mistake("a ham message comes twice: draw each at most once.")
        if [*got["Label"]] != ["ham"] * num_spam + ["spam"] * num_spam:
            raise Mistake("the rows are in another order: first all ham, then all spam.")
        if got_ham == ham[:num_spam]:
            raise Mistake(
                "you took the first ham messages: draw them by chance, for what was collected first "
                "may differ from the rest."
            )
        if [*solve(df.copy())["Text"]] != [*got["Text"]]:
            raise Mistake("called twice it draws different rows: a seed is missing.")
        if got_spam != spam:
            raise Mistake("you drew the spam, too: it stays as it was, in its old order.")
        if got_ham != [*pd.Series(ham).sample(num_spam, random_state=123)]:
            raise Mistake(
                "the ham messages are others than the book's, or in another order: take what "
                "`sample` returns with `random_state=123`, as it is."
            )
    return "tables of 30 ham and 5 spam, of 6 and 6, of 9 and 1"


def _table(num_ham: int, num_spam: int, start: int) -> pd.DataFrame:
    """Return a table with spam among the ham; its index does not begin at 0 everywhere."""
    labels = [label for i in range(num_ham) for label in ["ham", "spam"][: 1 + (i < num_spam)]]
    texts = [f"message {i}" for i in range(len(labels))]
    return pd.DataFrame({"Label": labels, "Text": texts}, range(start, start + len(labels)))


EXERCISES = {"my_create_balanced_dataset": Exercise(_try_balanced)}


QUESTIONS = {
    "6.2 always ham": Question(
        "The SMS Spam Collection has 4,825 ham and 747 spam. A “filter” calls *every* message ham. "
        "Which share of its answers is right?",
        Number(within=2, unit="%"),
        right="Yes: it is the share of ham, as every ham is right and every spam wrong.",
        wrong={
            50: "On sms-mini it would be, where there is as much spam as ham. Here most is ham.",
            "too low": "Higher: it is right about every ham, and most messages are ham.",
            "too high": "Lower: it is wrong about every spam.",
        },
        then="And it has not looked at a single message! *Accuracy*, the share of right answers, "
        "flatters where one class is rare. With classes of equal size a filter that has learned "
        "nothing gets 50 %, a fair line to beat.",
    ),
    "6.2 rows of the balanced collection": Question(
        "How many messages are left of the collection's 5,572 after balancing?",
        Number(),
        right="Yes: all 747 spam and 747 of the 4,825 ham.",
        wrong={
            747: "That is the spam alone; as much ham comes with it.",
            9650: "That would be so if spam were copied. Balancing leaves ham out instead.",
            "too low": "More: all spam stays, and as much ham.",
            "too high": "Fewer: all spam stays, but no more ham than that.",
        },
        then="What is left out is the price: 4,078 ham messages from which nothing is learned.",
    ),
    "6.2 the part that strays": Question(
        "Half of all messages are spam. In which part will the share of spam be furthest from a half: "
        "among the 700 for training, the 100 for validation, or the 200 for the test?",
        OneOf("training", "validation", "test"),
        right="Yes. The smaller a part, the further chance may carry it.",
        wrong={
            "training": "In 700 messages chance evens out; the fewer, the further it strays.",
            "test": "It strays, but as a rule fewer messages stray further.",
        },
        then="On the right, a bar is the share of a part's messages that have so many words, and "
        "the orange line marks the *median*: half of the messages are at most that long. The "
        "lengths are much alike. The shares of spam are not: 59.0 % of the validation data, but "
        "43.5 % of the test data.",
    ),
    "6.2 forty seeds": Question(
        "Was that bad luck? We split forty times, each time with another seed. How many percentage "
        "points lie between the lowest and the highest share of spam in the 100 validation "
        "messages?",
        Number(within=3),
        right="Yes: of so few messages chance makes 39 % spam, or 61 %.",
        wrong={
            4: "So near to each other are only the shares of the 700 training messages.",
            11: "That fits the 200 test messages; half as many stray further.",
            "too low": "Further: a hundred messages are few.",
            "too high": "Not as far: even a hundred messages even out a little.",
        },
        then="Each dot is a split; the book's seed is the orange square. It is among the less lucky "
        "ones. But choosing a seed because its figures look nice is a way to fool oneself, so we "
        "keep it, and compare an accuracy with that of always naming the commoner label.",
    ),
    "6.2 a list of words": Question(
        "How accurate is this list of words on the training messages?",
        Number(within=4, unit="%"),
        right="Yes, about that.",
        wrong={
            50: "That is what a coin gets. The list does find some spam.",
            95: "If it were so easy! Much spam uses none of these words.",
            "too low": "Better than that: these words are rare in ham.",
            "too high": "Much spam uses none of these words.",
        },
        then="It beats always naming the commoner label (51 and 59 %), but misses much spam, and "
        "finds *win* in *window* and *won* in *won't*. A list whose weights were learned would do "
        "much better. GPT-2 can use the order of words as well; whether that pays, sections 6.7 "
        "and 6.8 will tell.",
    ),
}
