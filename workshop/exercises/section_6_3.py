"""What section 6.3 asks: to write, and to predict."""

import torch

from helpers.config import END_OF_TEXT
from workshop.exercises.coding import Exercise, Mistake, returned, tensor_of
from workshop.exercises.prediction import Number, OneOf, Question, Shape


def look_at_the_row(row: list[int], ids: list[int], length: int) -> None:
    """Raise Mistake where token ids were cut or padded to `length` in a typical wrong way."""
    missing = length - len(ids)
    becomes = f"a message of {len(ids)} tokens becomes {len(row)} ids at a max_length of {length}"
    if len(row) > length:
        raise Mistake(f"{becomes}: cut it.")
    if len(row) < length:
        raise Mistake(f"{becomes}: pad it.")
    if missing < 0 and row == ids[-length:]:
        raise Mistake("you cut at the front: what is too much at the end goes.")
    if missing > 0 and row[missing:] == ids:
        raise Mistake("you padded on the left: padding follows the message.")
    if missing > 0 and row == ids + [0] * missing:
        raise Mistake("you padded with 0, which is the token of “!”: pad with 50256.")


def _try_dataset(solve):
    """`solve` is the learner's class: item i is (token_ids (max_length,), label ())."""
    encoded = [[11, 12, 13], [21, 22, 23, 24, 25], [31, 32, 33, 34, 35, 36, 37]]
    labels, length = [1, 0, 1], 5
    for pad_token_id in (END_OF_TEXT, 7):
        rows = [[*ids] for ids in encoded]
        data = solve(rows, [*labels], length, pad_token_id)
        for i, ids in enumerate(encoded):
            item = returned(data[i], "the pair of token ids and label")
            if not isinstance(item, tuple | list) or len(item) != 2:
                raise Mistake("two things are due, with a comma between them: token ids, label.")
            row, label = item
            if getattr(row, "ndim", None) == 0 and getattr(label, "ndim", None) == 1:
                raise Mistake("the other way round: first the token ids, then the label.")
            if isinstance(row, torch.Tensor) and row.ndim == 1:
                found, missing = row.tolist(), length - len(ids)
                look_at_the_row(found, ids, length)
                if (
                    missing > 0
                    and found == ids + [END_OF_TEXT] * missing
                    and pad_token_id != END_OF_TEXT
                ):
                    raise Mistake(
                        "with pad_token_id=7 it still pads with 50256: use self.pad_token_id."
                    )
            row = tensor_of(row, (length,), "the row of token ids")
            wanted = (ids + [pad_token_id] * length)[:length]
            if row.tolist() != wanted:
                raise Mistake(f"the row should be {wanted}, not {row.tolist()}.")
            if row.dtype != torch.long:
                raise Mistake(
                    f"the row's numbers are {row.dtype}; an embedding looks up whole numbers: "
                    "torch.long."
                )
            label = tensor_of(label, (), "the label")
            if label.dtype != torch.long:
                raise Mistake(f"the label is {label.dtype}; a class's number is torch.long.")
            if label.item() != labels[i]:
                raise Mistake(f"the label of item {i} should be {labels[i]}, not {label.item()}.")
        if rows != encoded:
            raise Mistake(
                "it changes the rows that are kept in self.encoded: make a new list, or the next "
                "pass through the data meets padding that was not there."
            )
    return "messages that are too short, just right and too long, and with two pad tokens"


def _try_padding_mask(solve):
    """`solve` takes token ids (batch, num_tokens) and returns a mask of the same shape."""
    token_ids = torch.tensor(
        [
            [5, 6, 7, END_OF_TEXT, END_OF_TEXT],
            [5, END_OF_TEXT, 6, 7, END_OF_TEXT],
            [8, 9, 5, 6, 7],
            [END_OF_TEXT] * 5,
        ]
    )
    real = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1], [0] * 5]).bool()
    given = token_ids.clone()
    got = tensor_of(solve(given), (4, 5), "the mask")
    if not torch.equal(given, token_ids):
        raise Mistake("your function changed the token ids it was given.")
    if got.dtype != torch.bool:
        raise Mistake(f"the mask is {got.dtype}; True and False are torch.bool.")
    if torch.equal(got, token_ids != END_OF_TEXT):
        raise Mistake(
            "it hides every 50256, even one inside a message: only those after the last real "
            "token are padding."
        )
    if torch.equal(got, (token_ids != END_OF_TEXT).cumprod(dim=1).bool()):
        raise Mistake(
            "your mask ends at the first 50256: what follows it inside a message is real, too."
        )
    if torch.equal(got, ~real) or torch.equal(got, token_ids == END_OF_TEXT):
        raise Mistake("it is the wrong way round: True is for a real token, False for padding.")
    last = real & ~torch.cat([real[:, 1:], torch.zeros(4, 1, dtype=torch.bool)], dim=1)
    if torch.equal(got, real & ~last):
        raise Mistake("your mask also hides the last real token.")
    if torch.equal(
        got, real | (token_ids == END_OF_TEXT) & torch.cat([real[:, :1], real[:, :-1]], dim=1)
    ):
        raise Mistake("your mask leaves the first padding of each row in sight.")
    if got[3].any() and torch.equal(got[:3], real[:3]):
        raise Mistake("in a row of padding alone nothing is real, but your mask has a True there.")
    for row in range(4):
        if not torch.equal(got[row], real[row]):
            raise Mistake(
                f"of {token_ids[row].tolist()} the mask should be {real[row].tolist()}, not "
                f"{got[row].tolist()}."
            )
    other = torch.where(token_ids == END_OF_TEXT, 0, token_ids)
    if not torch.equal(solve(other, pad_token_id=0), real):
        raise Mistake("with pad_token_id=0 it still looks for 50256: use pad_token_id.")
    return "rows with and without padding, a 50256 inside a message, a row of padding alone"


EXERCISES = {
    "MySpamDataset": Exercise(_try_dataset, method="__getitem__"),
    "my_padding_mask": Exercise(_try_padding_mask),
}


QUESTIONS = {
    "6.3 the same words in a hurry": Question(
        "Will `do u hav time` give more tokens than `Do you have time`, as many, or fewer?",
        OneOf("more", "as many", "fewer"),
        right="Yes: `hav` falls to pieces, ␣ha and v.",
        wrong={
            "as many": "There are four words, but `hav` is no token: it falls to pieces.",
            "fewer": "There are fewer letters, but `hav` is no token: it falls to pieces.",
        },
        then="What was rare in GPT-2's training texts is cut into what was frequent; a dashed "
        "border marks a piece that goes on with a word. Nothing is unknown: in the worst case a "
        "token is one byte. The bag of money is cut inside the character, into three tokens that "
        "hold a space (20, in base 16) and its four bytes.",
    ),
    "6.3 the longest message": Question(
        "How many tokens has the longest training message?",
        Number(tolerance=0.15),
        right="Yes, about that.",
        wrong={
            160: "That is how many characters an SMS holds; a token is several of them.",
            1024: "So many GPT-2 can read at most. No message comes near.",
            "too low": "Longer: about half of all messages have more than 31 tokens.",
            "too high": "Shorter: these are text messages.",
        },
        then="Each bar takes in five lengths: the second one counts the messages of 5 to 9 tokens. "
        "Half of them all have at most 31 tokens: that is the *median*. Only 25 of the 700 have "
        "65 or more.",
    ),
    "6.3 padding in a batch": Question(
        "The first eight training messages are filled up to the longest one of all. Which share of "
        "this rectangle is padding?",
        Number(within=8, unit="%"),
        right="Yes, about that: more than the messages themselves.",
        wrong={
            0: "One message would fill its row; the others are shorter.",
            "too low": "More: a usual message is not half as long as the longest.",
            "too high": "Less: some of the eight are long.",
        },
        then="Each row is a message, each cell one token id: first its tokens (dark), then padding "
        "(light). Beside a row stands how many there are of each. The longest message of all is in "
        "another batch, so even the longest rows end in padding.",
    ),
    "6.3 the shape of an item": Question(
        "This message is item 1 of the dataset. Which shape has its row of token ids?",
        Shape(),
        right="Yes: each item has the length of the longest message.",
        wrong={
            (55,): "So many tokens has the message itself; padding follows.",
            (1, 82): "The length is right, but an item is one row: the batch comes later.",
            "else": "Each item has the length of the longest message, and no other dimension.",
        },
        then="After the message comes 50256 again and again.",
    ),
    "6.3 each batch its own length": Question(
        "With one length for all, 60 % of all ids are padding. Now each batch of eight is filled up "
        "only to *its own* longest message. Which share is padding?",
        Number(within=6, unit="%"),
        right="Yes, about that.",
        wrong={
            60: "Less than before: few batches hold the longest message of all.",
            "too low": "More: among eight messages that meet by chance one is nearly always long.",
            "too high": "Less: few batches hold a message as long as the longest of all.",
        },
        then="As messages meet by chance, another order gives one or two percentage points more or "
        "less.",
    ),
    "6.3 sorted by length": Question(
        "And if, besides, messages of like length come into one batch: which share is padding then?",
        Number(within=4, unit="%"),
        right="Yes: hardly any is left.",
        wrong={
            22: "Not half of it: hardly any is left.",
            "else": "Hardly any is left: in a batch all are nearly equally long.",
        },
        then="Each picture is all the training messages, one thin row below the other; what is "
        "white is not there at all. So equal rows as such cost next to nothing. What costs is *one* "
        "length for all, and that long and short messages meet by chance. Like the book we pay it, "
        "for simplicity. Appendix 6.E shows how to spare it.",
    ),
    "6.3 the shape of a batch": Question(
        "Which shape have the token ids of one training batch?",
        Shape(),
        right="Yes: (batch, num_tokens), a row for each message.",
        wrong={
            (82, 8): "The batch comes first: a row for each message.",
            (8,): "That is the shape of the labels; a row of token ids has a length, too.",
            "else": "Eight rows, each as long as the longest training message.",
        },
        then="The labels have the shape (8,): one for each row.",
    ),
}
