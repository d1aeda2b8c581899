"""Wrong solutions and guesses of section 6.2, with words of what is said to each."""

PARTS = """\
import pandas as pd

def my_create_balanced_dataset(df):
    spam, ham = df[df["Label"] == "spam"], df[df["Label"] == "ham"]
    """


def ends(line: str) -> str:
    return PARTS + line.replace("\n", "\n    ") + "\n"


WRONG = {
    "my_create_balanced_dataset": [
        (ends("balanced = pd.concat([ham.sample(len(spam), random_state=123), spam])"), "nothing"),
        (ends("return ham.sample(len(spam), random_state=123), spam"), "not a tuple"),
        (
            ends('df["Label"] = df["Label"].map({"ham": 0, "spam": 1})\nreturn df'),
            "changed the table it was given",
        ),
        (
            ends(
                "ham = ham.sample(len(spam), random_state=123)\n"
                "return pd.concat([ham, spam]).reset_index()"
            ),
            "the columns should still be Label and Text",
        ),
        (
            ends("return pd.concat([ham, spam.sample(len(ham), replace=True, random_state=123)])"),
            "you copied spam",
        ),
        (
            ends("return df.sample(2 * len(spam), random_state=123)"),
            "some spam is missing",
        ),
        (ends("return pd.concat([ham, spam])"), "of 30 ham and 5 spam you kept 30 ham"),
        (
            ends("drawn = [0] * len(spam)\nreturn pd.concat([ham.iloc[drawn], spam])"),
            "comes twice",
        ),
        (
            ends("return pd.concat([spam, ham.sample(len(spam), random_state=123)])"),
            "the rows are in another order",
        ),
        (ends("return pd.concat([ham[:len(spam)], spam])"), "you took the first ham"),
        (ends("return pd.concat([ham.sample(len(spam)), spam])"), "a seed is missing"),
        (
            ends('return df.groupby("Label").sample(len(spam), random_state=123)'),
            "you drew the spam",
        ),
        (
            ends("return pd.concat([ham.sample(len(spam), random_state=42), spam])"),
            "others than the book's",
        ),
    ]
}

GUESSES = {
    "6.2 always ham": [
        ("50 %", "On sms-mini it would be"),
        ("70", "Higher"),
        ("99.5", "Lower"),
    ],
    "6.2 rows of the balanced collection": [
        ("747", "the spam alone"),
        ("9,650", "if spam were copied"),
        ("1000", "More"),
        ("5000", "Fewer"),
    ],
    "6.2 the part that strays": [
        ("training", "chance evens out"),
        ("test", "fewer messages stray further"),
    ],
    "6.2 forty seeds": [
        ("3", "the 700 training messages"),
        ("10", "the 200 test messages"),
        ("16.5", "a hundred messages are few"),
        ("40", "even out a little"),
    ],
    "6.2 a list of words": [
        ("50", "what a coin gets"),
        ("95", "If it were so easy"),
        ("60", "Better than that"),
        ("80 %", "Much spam uses none of these words."),
    ],
}
