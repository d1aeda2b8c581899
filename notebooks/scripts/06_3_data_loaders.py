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
# in which a model takes them.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/gpt2-classification-course/blob/main/notebooks/06_3_data_loaders.ipynb)

# %% [markdown]
# The first cell makes the course's `helpers` importable; in Colab it fetches them first. The second holds two choices,
# though not every notebook needs both. The outputs shown, and remarks about them, are those of the pair that comes with
# the course (the *bundled* pair): the nano, a very small GPT-2 trained for it, and sms-mini, 1,000 messages written for
# it. With another choice expect other figures.

# %%
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
from helpers.tokenizer import get_tokenizer

tokenizer = get_tokenizer()
ids = tokenizer.encode("Do you have time")
print(ids)
print([tokenizer.decode([i]) for i in ids])

# %% [markdown]
# The space belongs to the word that follows it. **Predict:** will the same words in a hurry, `"do u hav time"`, give
# more tokens or fewer?

# %%
print([tokenizer.decode([i]) for i in tokenizer.encode("do u hav time")])
print([tokenizer.decode([i]) for i in tokenizer.encode("Congratulations!! tinyurl")])

# %% [markdown]
# What was rare in GPT-2's training texts falls to pieces. Nothing is unknown: in the worst case a token is one byte.

# %% [markdown]
# ## Different lengths

# %%
from helpers.data import load_splits

train, validation, test = load_splits(CHOOSE_DATA)
lengths = train["Text"].map(lambda text: len(tokenizer.encode(text)))
print(f"{lengths.min()} to {lengths.max()} tokens, median {lengths.median():.0f}")

# %% [markdown]
# A *batch* is several messages that go through the model together, in one tensor, and a tensor is a rectangle: all its
# rows are equally long. There are two ways to get there: cut all to the shortest, or fill all up to the longest.
# Cutting loses words, so we fill up. That is called *padding*.
#
# GPT-2 has no token that means "nothing here". Like the book we take `<|endoftext|>`, which stood between documents in
# GPT-2's training.

# %%
from helpers.config import END_OF_TEXT

print(END_OF_TEXT, repr(tokenizer.decode([END_OF_TEXT])))

# %% [markdown]
# ## A dataset
#
# A *dataset*, for torch, is anything that knows its length and gives out item number i. `SpamDataset` encodes all messages
# and pads them to the longest one; item i is the row of token ids and the label of message i.

# %%
from helpers.data import SpamDataset

train_dataset = SpamDataset(train, tokenizer, max_length=None)
print(len(train_dataset), "messages of", train_dataset.max_length, "token ids")

token_ids, label = train_dataset[1]
print(token_ids)
print("label", label.item())

# %% [markdown]
# After the message comes 50256 again and again. Validation and test messages are padded to the *training* length, and
# cut if they are longer: the model must be used as it was trained.

# %%
validation_dataset = SpamDataset(validation, tokenizer, max_length=train_dataset.max_length)
test_dataset = SpamDataset(test, tokenizer, max_length=train_dataset.max_length)

# %% [markdown]
# **Predict:** how much of the training data is padding?

# %%
padding = 1 - lengths.sum() / (len(train_dataset) * train_dataset.max_length)
print(f"{padding:.0%} of the training ids are padding")


# %% [markdown]
# More than half, and the model computes with every one of them. Is that the price of equal rows? Only the rows of *one batch*
# must be equal. **Predict:** what share is padding if each batch of eight is filled up to its own longest message? And if
# messages of like length come into one batch?


# %%
def share_of_padding(lengths):
    batches = [lengths[start : start + 8] for start in range(0, len(lengths), 8)]
    computed = sum(len(batch) * max(batch) for batch in batches)
    return 1 - sum(lengths) / computed


print(f"each batch has its own length: {share_of_padding(lengths.tolist()):.0%}")
print(f"and messages are sorted by it: {share_of_padding(sorted(lengths)):.0%}")

# %% [markdown]
# So equal rows as such cost next to nothing. What costs is *one* length for all, and that long and short messages meet by
# chance. Like the book we pay it, for simplicity: every batch has the same shape. Section 6.7 shows how to spare it.

# %% [markdown]
# ## Loaders
#
# A `DataLoader` gives a dataset out in batches. For training it shuffles, in a new order each epoch (an *epoch* is one
# pass through all training messages), and drops the last batch if it is not full, since a batch of two messages would
# weigh as much as one of eight. For measuring, every message counts, in order.

# %%
import torch
from torch.utils.data import DataLoader

torch.manual_seed(123)
train_loader = DataLoader(train_dataset, batch_size=8, shuffle=True, drop_last=True)
validation_loader = DataLoader(validation_dataset, batch_size=8)
test_loader = DataLoader(test_dataset, batch_size=8)

input_batch, target_batch = next(iter(train_loader))
print("token ids", tuple(input_batch.shape), "labels", tuple(target_batch.shape))

# %% tags=["key-figure"]
print(
    f"{len(train_loader)} training, {len(validation_loader)} validation, {len(test_loader)} test batches"
)

# %% [markdown]
# (The SMS Spam Collection gives 130, 19 and 38 batches, as in the book.) Again one call does it all; the later
# notebooks use it.

# %%
from helpers.data import create_dataloaders

train_loader, validation_loader, test_loader = create_dataloaders(
    CHOOSE_DATA, tokenizer, batch_size=8
)
print(len(train_loader), len(validation_loader), len(test_loader))

# %% [markdown]
# ## Try it
#
# **1. Half as many batches?** (easy, 3 minutes) How many training batches are there with a batch size of 16? Remember
# `drop_last`.

# %%
my_answer = None

# %%
from helpers.exercises import check

check(
    my_answer,
    len(train_dataset) // 16,
    "Only whole batches count: divide and drop the remainder.",
)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `len(train_dataset) // 16`: for sms-mini 700 // 16 = 43, and 12 messages are left out in each epoch, not always the
# same ones.
#
# </details>
#
# **2. Too long.** (easy, 2 minutes) GPT-2 reads at most 1,024 tokens. Change the 2000 until it is accepted.

# %%
try:
    SpamDataset(train, tokenizer, max_length=2000)
except ValueError as error:
    print(error)
else:
    print("accepted")

# %% [markdown]
# ## What to take away
#
# - Messages become token ids, padded to one length, because a batch is a rectangle.
# - Padding is `<|endoftext|>`, 50256. How much of it there is depends on which messages share a length.
# - Only training data is shuffled, and only there the last, smaller batch is dropped.
#
# Next: [6.4, pretrained weights](06_4_pretrained_weights.ipynb).
