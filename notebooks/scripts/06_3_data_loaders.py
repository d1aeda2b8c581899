# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 6.3 Data loaders
#
# After this notebook you can turn messages of different lengths into batches of equally long rows of numbers, the form
# in which a model takes them. About 30 minutes. Figures are those of the bundled pair; with another choice expect others.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/gpt2-classification-course/blob/main/notebooks/06_3_data_loaders.ipynb)

# %% tags=["hide-input"]
import subprocess
import sys
from pathlib import Path

places = (Path.cwd(), Path.cwd().parent, Path.cwd() / "course")
course = next((place for place in places if (place / "helpers" / "model.py").exists()), None)
if course is None:  # only this notebook is here, as in Colab: fetch the rest
    repository = "https://github.com/owner/gpt2-classification-course.git"
    subprocess.run(["git", "clone", "--quiet", "--depth=1", repository, "course"], check=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "-r", "course/requirements.txt"]
    subprocess.run(pip, check=True)
    course = Path.cwd() / "course"
sys.path.insert(0, str(course))

# %%
CHOOSE_MODEL = "gpt2-nano (12M)"  # bundled; or "gpt2-small (124M)" and up: downloaded once
CHOOSE_DATA = "sms-mini"  # bundled; or "sms-spam-collection": downloaded once from UCI

# %% [markdown]
# ## From text to token ids
#
# A *tokenizer* cuts a text into tokens and gives each its number, its *id*. GPT-2's knows 50,257 tokens: frequent words
# are one token, rare words are put together from several.

# %%
from workshop.pictures.message import draw_tokens
from helpers.tokenizer import get_tokenizer

tokenizer = get_tokenizer()
print(tokenizer.encode("Do you have time"))
draw_tokens(["Do you have time"])

# %% [markdown]
# Each box is a token, with its id below it. The sign ␣ stands for a space, which belongs to the word that follows it. (This
# course's pictures also speak: `print(_.words)`, right after one, says in words all that it shows.)

# %%
from workshop.widgets import predict

usual, hurry = (len(tokenizer.encode(text)) for text in ("Do you have time", "do u hav time"))
compared = "as many" if hurry == usual else "more" if hurry > usual else "fewer"
shown = draw_tokens(["do u hav time", "Congratulations!! tinyurl 💰"])

predict("6.3 the same words in a hurry", compared, shown)

# %% [markdown]
# ## Different lengths

# %%
from helpers.data import load_splits
from workshop.pictures.charts import draw_lengths

train, validation, test = load_splits(CHOOSE_DATA)
lengths = train["Text"].map(lambda text: len(tokenizer.encode(text)))

predict("6.3 the longest message", lengths.max(), draw_lengths(lengths.tolist()))

# %% [markdown]
# A *batch* is several messages that go through the model together, in one tensor, and a tensor is a rectangle: all its
# rows are equally long. We could cut all messages to the shortest, or fill all up to the longest. Cutting loses words, so
# we fill up. That is called *padding*.

# %%
from workshop.pictures.charts import batch_widths, draw_batch, share_of_padding

first, longest = lengths.tolist()[:8], int(lengths.max())
share = 100 * share_of_padding(first, [longest] * len(first))

predict("6.3 padding in a batch", share, draw_batch(first, width=longest))

# %% [markdown]
# GPT-2 has no token that means "nothing here". Like the book we take `<|endoftext|>`, which stood between documents in
# GPT-2's training.

# %%
from helpers.config import END_OF_TEXT

print(END_OF_TEXT, repr(tokenizer.decode([END_OF_TEXT])))

# %% [markdown]
# ## A dataset
#
# A *dataset*, for torch, is anything that knows its length and gives out item number i: here the row of token ids and the
# label of message i.

# %% [markdown]
# **Write it: an item of the dataset.** difficulty ●●○○○ (2 of 5), importance ●●●●● (5 of 5), 10 minutes
#
# Write `__getitem__`: return the ids of message `index`, cut or padded at the end to `max_length`, and its label, both as
# tensors of whole numbers.
#
# <details><summary>A hint</summary>
#
# `ids[:n]` cuts a list at the end, and `[7] * 3` is `[7, 7, 7]`; a list times a negative number is empty.
#
# </details>
#
# <details><summary>A bigger hint</summary>
#
# Append `self.max_length - len(ids)` padding ids with `+`, which makes a new list, and cut. `torch.tensor` of whole numbers
# is `torch.long`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# class MySpamDataset(Dataset):
#     def __init__(self, encoded, labels, max_length, pad_token_id=50256):
#         self.encoded, self.labels = encoded, labels
#         self.max_length, self.pad_token_id = max_length, pad_token_id
#
#     def __len__(self):
#         return len(self.encoded)
#
#     def __getitem__(self, index):
#         ids = self.encoded[index]
#         padding = [self.pad_token_id] * (self.max_length - len(ids))
#         row = (ids + padding)[: self.max_length]
#         return torch.tensor(row), torch.tensor(self.labels[index])
# ```
#
# </details>

# %%
import torch
from torch.utils.data import DataLoader, Dataset


class MySpamDataset(Dataset):
    """Messages as rows of token ids, cut or padded to one length."""

    def __init__(self, encoded, labels, max_length, pad_token_id=50256):
        self.encoded = encoded  # of each message a list of token ids, of any length
        self.labels = labels  # of each message 0 (ham) or 1 (spam)
        self.max_length, self.pad_token_id = max_length, pad_token_id

    def __len__(self):
        return len(self.encoded)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (token_ids (max_length,), label ()), both torch.long."""
        ...


# %%
from workshop.exercises import check_code

check_code(MySpamDataset)

# %% [markdown]
# The course's `SpamDataset` encodes the texts itself, and pads all rows beforehand. It is a `TextDataset`, which takes any
# number of classes, with two of them.

# %%
from helpers.data import SpamDataset, TextDataset, pad
from workshop.exercises import show_source

show_source(SpamDataset, TextDataset, pad)

# %%
draw_tokens([train["Text"].iloc[1]])

# %%
train_dataset = SpamDataset(train, tokenizer, max_length=None)  # None: the longest message's
token_ids, label = train_dataset[1]

predict("6.3 the shape of an item", tuple(token_ids.shape), f"{token_ids}\nlabel {label}")

# %% [markdown]
# Validation and test messages are padded to the *training* length, and cut if they are longer: the model must be used as
# it was trained.

# %%
validation_dataset = SpamDataset(validation, tokenizer, max_length=train_dataset.max_length)
test_dataset = SpamDataset(test, tokenizer, max_length=train_dataset.max_length)


# %% [markdown]
# ## Which ids are padding?
#
# A *mask* says it: True for a real token, False for padding. But `<|endoftext|>` may also stand inside a message; only at
# the end of a row it is padding.

# %% [markdown]
# **Write it: the mask of padding.** difficulty ●●●○○ (3 of 5), importance ●●●○○ (3 of 5), 8 minutes
#
# Return True for each token that is real: it is none of the padding ids with which its row ends. Do it for all rows at
# once, without changing them.
#
# <details><summary>A hint</summary>
#
# A place is real if at it, or anywhere behind it, stands something else than padding.
#
# </details>
#
# <details><summary>A bigger hint</summary>
#
# `flip(1)` turns the rows round, and `cumsum(1)` counts along a row; what has been met is above 0. Then turn back.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def my_padding_mask(token_ids, pad_token_id=50256):
#     real = token_ids != pad_token_id
#     from_here_on = real.flip(1).cumsum(1).flip(1)  # how many there are from each place on
#     return from_here_on > 0
# ```
#
# </details>


# %%
def my_padding_mask(token_ids: torch.Tensor, pad_token_id: int = 50256) -> torch.Tensor:
    """Return which of `token_ids` (batch, num_tokens) are no padding: bool, of the same shape.

    In a row of padding alone nothing is real.
    """
    ...


# %%
check_code(my_padding_mask)

# %% [markdown]
# The book's model gets no such mask: it has to learn what padding is. Section 6.6 finds the last real token of each row.
#
# ## What padding costs
#
# The model computes with every id, but only the rows of *one batch* must be equal.

# %%
from workshop.pictures.charts import draw_padding

every = lengths.tolist()
predict("6.3 each batch its own length", 100 * share_of_padding(every, batch_widths(every, 8)))

# %%
in_order = sorted(every)
share = 100 * share_of_padding(in_order, batch_widths(in_order, 8))

predict("6.3 sorted by length", share, draw_padding(every, batch_size=8))

# %% [markdown]
# ## Loaders
#
# A `DataLoader` gives a dataset out in batches. For training it shuffles, in a new order each epoch (an *epoch* is one
# pass through all training messages), and drops the last batch if it is not full, since a batch of two messages would
# weigh as much as one of eight. For measuring, every message counts, in order.

# %%
torch.manual_seed(123)
train_loader = DataLoader(train_dataset, batch_size=8, shuffle=True, drop_last=True)
validation_loader = DataLoader(validation_dataset, batch_size=8)
test_loader = DataLoader(test_dataset, batch_size=8)

input_batch, target_batch = next(iter(train_loader))
predict("6.3 the shape of a batch", tuple(input_batch.shape))

# %% tags=["key-figure"]
print(
    f"{len(train_loader)} training, {len(validation_loader)} validation, {len(test_loader)} test batches"
)

# %% [markdown]
# (The SMS Spam Collection gives 130, 19 and 38 batches, as in the book.) Again one call does it all:

# %%
from helpers.data import create_dataloaders

train_loader, validation_loader, test_loader = create_dataloaders(
    CHOOSE_DATA, tokenizer, batch_size=8
)
show_source(create_dataloaders)

# %% [markdown]
# ## Try it
#
# **1. Half as many batches?** (easy, 3 minutes) How many training batches are there with a batch size of 16? Remember
# `drop_last`.

# %%
my_answer = None

# %%
from workshop.exercises import check

check(
    my_answer,
    len(train_dataset) // 16,
    "Only whole batches count: divide and drop the remainder.",
    name="6.3 batches of 16",
)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# my_answer = len(train_dataset) // 16
# ```
#
# For sms-mini 700 // 16 = 43, and 12 messages are left out in each epoch, not always the same ones.
#
# </details>
#
# **2. Too long.** (easy, 2 minutes) Change the 2000 until it is accepted. Where does the limit come from?

# %%
try:
    SpamDataset(train, tokenizer, max_length=2000)
except ValueError as error:
    print(error)
else:
    print("accepted")

# %% [markdown]
# ## Five questions
#
# <details><summary>1. Why must the rows of a batch be equally long?</summary>
#
# They are one tensor, which is a rectangle.
#
# </details>
# <details><summary>2. With which token do we pad, and why with this one?</summary>
#
# With `<|endoftext|>`, 50256: GPT-2 has none that means "nothing here", and this one stood between documents.
#
# </details>
# <details><summary>3. What makes padding cost so much?</summary>
#
# One length for all, and long and short messages in one batch. Sorted by length, hardly any is left.
#
# </details>
# <details><summary>4. Why is only the training data shuffled?</summary>
#
# Training should meet the messages in another order each epoch; for measuring, the order changes nothing.
#
# </details>
# <details><summary>5. Why drop the last batch in training, but not in measuring?</summary>
#
# In training a small batch would weigh as much as a full one; in measuring every message counts.
#
# </details>

# %%
from workshop.exercises import progress

progress("6.3")

# %% [markdown]
# ## What to take away
#
# - Messages become token ids, padded to one length, because a batch is a rectangle.
# - Padding is `<|endoftext|>`, 50256. How much of it there is depends on which messages share a length.
# - Only training data is shuffled, and only there the last, smaller batch is dropped.
#
# Next: [6.4, pretrained weights](06_4_pretrained_weights.ipynb).
