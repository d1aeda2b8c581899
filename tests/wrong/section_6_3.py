"""Wrong solutions and guesses of section 6.3, with words of what is said to each."""

DATASET = """\
import torch
from torch.utils.data import Dataset

class MySpamDataset(Dataset):
    def __init__(self, encoded, labels, max_length, pad_token_id=50256):
        self.encoded, self.labels = encoded, labels
        self.max_length, self.pad_token_id = max_length, pad_token_id

    def __len__(self):
        return len(self.encoded)

    def __getitem__(self, index):
        ids, label = self.encoded[index], self.labels[index]
        missing = self.max_length - len(ids)
        padding = [self.pad_token_id] * missing
        """
MASK = """\
import torch

def my_padding_mask(token_ids, pad_token_id=50256):
    real = token_ids != pad_token_id
    """


def item(lines: str) -> str:
    return DATASET + lines.replace("\n", "\n        ") + "\n"


def mask(lines: str) -> str:
    return MASK + lines.replace("\n", "\n    ") + "\n"


RIGHT_ROW = "row = (ids + padding)[:self.max_length]\n"
RIGHT_MASK = "seen = real.flip(1).cumsum(1).flip(1) > 0\n"

WRONG = {
    "MySpamDataset": [
        (item("row = ids + padding"), "it returns nothing"),
        (item(RIGHT_ROW + "return torch.tensor(row)"), "two things are due"),
        (item(RIGHT_ROW + "return torch.tensor(label), torch.tensor(row)"), "the other way round"),
        (
            item("return torch.tensor(ids + padding), torch.tensor(label)"),
            "7 ids at a max_length of 5: cut it",
        ),
        (
            item("return torch.tensor(ids[:self.max_length]), torch.tensor(label)"),
            "3 ids at a max_length of 5: pad it",
        ),
        (
            item("return torch.tensor((ids + padding)[-self.max_length:]), torch.tensor(label)"),
            "you cut at the front",
        ),
        (
            item("return torch.tensor((padding + ids)[:self.max_length]), torch.tensor(label)"),
            "you padded on the left",
        ),
        (
            item(
                "row = (ids + [0] * missing)[:self.max_length]\n"
                "return torch.tensor(row), torch.tensor(label)"
            ),
            "you padded with 0",
        ),
        (
            item(
                "row = (ids + [50256] * missing)[:self.max_length]\n"
                "return torch.tensor(row), torch.tensor(label)"
            ),
            "it still pads with 50256",
        ),
        (item(RIGHT_ROW + "return row, label"), "should be a tensor"),
        (
            item(RIGHT_ROW + "return torch.tensor(row[::-1]), torch.tensor(label)"),
            "the row should be [11",
        ),
        (
            item(RIGHT_ROW + "return torch.tensor(row).float(), torch.tensor(label)"),
            "the row's numbers are torch.float32",
        ),
        (
            item(RIGHT_ROW + "return torch.tensor(row), torch.tensor(label).float()"),
            "the label is torch.float32",
        ),
        (
            item(RIGHT_ROW + "return torch.tensor(row), torch.tensor([label])"),
            "the label should have the shape ()",
        ),
        (item(RIGHT_ROW + "return torch.tensor(row), torch.tensor(0)"), "the label of item 0"),
        (
            item("ids += padding\nreturn torch.tensor(ids[:self.max_length]), torch.tensor(label)"),
            "it changes the rows",
        ),
    ],
    "my_padding_mask": [
        (mask("hidden = ~real"), "it returns nothing"),
        (mask("return real.sum(dim=1)"), "the mask should have the shape"),
        (
            mask("token_ids[token_ids == pad_token_id] = 0\nreturn token_ids != 0"),
            "changed the token ids",
        ),
        (mask(RIGHT_MASK + "return seen.long()"), "the mask is torch.int64"),
        (mask("return real"), "it hides every 50256"),
        (mask("return real.cumprod(1).bool()"), "your mask ends at the first 50256"),
        (mask("return ~real"), "the wrong way round"),
        (mask(RIGHT_MASK + "return ~seen"), "the wrong way round"),
        (
            mask("return real.flip(1).cumsum(1).flip(1) - real.long() > 0"),
            "also hides the last real token",
        ),
        (
            mask(
                "places = torch.arange(token_ids.shape[1])\n"
                "last = torch.where(real, places, -1).amax(dim=1, keepdim=True)\n"
                "return (places <= last + 1) & (last >= 0)"
            ),
            "leaves the first padding of each row in sight",
        ),
        (
            mask(
                "places = torch.arange(token_ids.shape[1])\n"
                "last = torch.where(real, places, 0).amax(dim=1, keepdim=True)\n"
                "return places <= last"
            ),
            "in a row of padding alone nothing is real",
        ),
        (mask("return torch.ones_like(real)"), "the mask should be [True"),
        (
            mask("return (token_ids != 50256).flip(1).cumsum(1).flip(1) > 0"),
            "it still looks for 50256",
        ),
    ],
}

GUESSES = {
    "6.3 the same words in a hurry": [("as many", "four words"), ("fewer", "fewer letters")],
    "6.3 the longest message": [
        ("160", "characters an SMS holds"),
        ("1,024", "GPT-2 can read at most"),
        ("40", "Longer"),
        ("300", "Shorter"),
    ],
    "6.3 padding in a batch": [
        ("0 %", "the others are shorter"),
        ("40", "More: a usual message"),
        ("85", "Less: some of the eight"),
    ],
    "6.3 the shape of an item": [
        ("(55,)", "padding follows"),
        ("1 x 82", "an item is one row"),
        ("(1024,)", "no other dimension"),
    ],
    "6.3 each batch its own length": [
        ("60", "Less than before"),
        ("20", "one is nearly always long"),
        ("80", "as long as the longest of all"),
    ],
    "6.3 sorted by length": [
        ("22", "Not half of it"),
        ("35", "nearly equally long"),
        ("10", "nearly equally long"),
    ],
    "6.3 the shape of a batch": [
        ("(82, 8)", "The batch comes first"),
        ("8", "the shape of the labels"),
        ("(8, 55)", "Eight rows"),
    ],
}
