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
from helpers.pictures.tokens import draw_tokens
from helpers.tokenizer import get_tokenizer

tokenizer = get_tokenizer()
print(tokenizer.encode("Do you have time"))
draw_tokens(["Do you have time"])

# %% [markdown]
# Each box is a token, with its id below it. The sign ␣ stands for a space, which belongs to the word that follows it. (This
# course's pictures also speak: `print(_.words)`, right after one, says in words all that it shows.)
#
# **Predict:** will the same words in a hurry, `"do u hav time"`, give more tokens or fewer?

# %%
draw_tokens(["do u hav time", "Congratulations!! tinyurl 💰"])

# %% [markdown]
# One token more, as `hav` falls to pieces: ␣ha and v. What was rare in GPT-2's training texts is cut into what was
# frequent; a dashed border marks a piece that goes on with a word. Nothing is unknown: in the worst case a token is one
# byte. The bag of money is cut inside the character, into three tokens that hold a space (20, in base 16) and its four
# bytes.

# %% [markdown]
# ## Different lengths
#
# How many tokens has a message? **Predict** the length of a usual one and of the longest, of the training messages.

# %%
from helpers.data import load_splits
from helpers.pictures.messages import draw_lengths

train, validation, test = load_splits(CHOOSE_DATA)
lengths = train["Text"].map(lambda text: len(tokenizer.encode(text)))
draw_lengths(lengths.tolist())

# %% [markdown]
# Each bar takes in five lengths: the second one counts the messages of 5 to 9 tokens. Half of them all have at most 31
# tokens: that is the *median*. The longest has 82, and only 25 of the 700 have 65 or more.

# %% [markdown]
# A *batch* is several messages that go through the model together, in one tensor, and a tensor is a rectangle: all its
# rows are equally long. There are two ways to get there: cut all to the shortest, or fill all up to the longest.
# Cutting loses words, so we fill up. That is called *padding*.
#
# **Predict:** the first eight training messages are filled up to the length of the longest one of all, 82. How much of the
# rectangle will be padding?

# %%
from helpers.pictures.messages import draw_batch

draw_batch(lengths.tolist()[:8], width=lengths.max())

# %% [markdown]
# Each row is a message, each cell one token id: first its tokens (dark), then padding (light). Beside a row stands how many
# there are of each. The longest message of all is in another batch, so even the longest rows end in padding.
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
# and pads them to the longest one; item i is the row of token ids and the label of message i. This is message 1:

# %%
draw_tokens([train["Text"].iloc[1]])

# %% [markdown]
# **Predict:** how many ids will item 1 have, and which ones at its end?

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
# How much of *all* the training ids is padding, and is that the price of equal rows? The model computes with every id, but
# only the rows of *one batch* must be equal. **Predict** the share of padding in three cases, in batches of eight:
#
# 1. all messages are filled up to one length;
# 2. each batch is filled up to its own longest message;
# 3. so again, but messages of like length come into one batch.

# %%
from helpers.pictures.messages import draw_padding

draw_padding(lengths.tolist(), batch_size=8)

# %% [markdown]
# Each picture is all the training messages, one thin row below the other; what is white is not there at all. With one length
# more than half is padding. With each batch's own it is 44 %; as messages meet by chance, another order gives one or two
# percentage points more or less. Sorted by length, hardly any is left: a thin light edge.

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
