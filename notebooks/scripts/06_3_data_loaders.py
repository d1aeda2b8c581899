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

starts = [Path.cwd()]
if "__vsc_ipynb_file__" in globals():  # VS Code says where the notebook is
    starts.insert(0, Path(globals()["__vsc_ipynb_file__"]).parent)
folders = [folder for start in starts for folder in (start, *start.parents)]
folders.append(Path.cwd() / "course")
mark = "workshop/widgets/prediction.py"  # a file that only the course has
course = next((folder for folder in folders if (folder / mark).exists()), None)
if course is None and "google.colab" in sys.modules:  # only this notebook is here
    repository = "https://github.com/owner/gpt2-classification-course.git"
    clone = ["git", "clone", "--quiet", "--depth=1", repository, "course"]
    subprocess.run(clone, check=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "-r", "course/requirements.txt"], check=True)
    course = Path.cwd() / "course"
if course is None:
    raise FileNotFoundError(
        f"The course's files are not in {Path.cwd()} or in a folder above it. "
        "Open this notebook inside the course's folder `notebooks`."
    )
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

usual, hurry = "Do you have time", "do u hav time"
shown = draw_tokens([hurry, "Congratulations!! tinyurl 💰"])

predict("6.3 the same words in a hurry", given=(tokenizer, usual, hurry), show=shown)

# %% [markdown]
# ## Different lengths

# %%
from helpers.data import load_splits
from workshop.pictures.charts import draw_lengths

train, validation, test = load_splits(CHOOSE_DATA)
lengths = [len(tokenizer.encode(text)) for text in train["Text"]]

predict("6.3 the longest message", given=lengths, show=draw_lengths(lengths))

# %% [markdown]
# A *batch* is several messages that go through the model together, in one tensor, and a tensor is a rectangle: all its
# rows are equally long. We could cut all messages to the shortest, or fill all up to the longest. Cutting loses words, so
# we fill up. That is called *padding*.

# %%
from workshop.pictures.charts import draw_batch

shown = draw_batch(lengths[:8], width=max(lengths))
predict("6.3 padding in a batch", given=lengths, show=shown)

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
# > **Write it: an item of the dataset.** (easy, 10 minutes)
# >
# > Write `__getitem__`: return the ids of message `index`, truncated or padded at the end to `max_length`, and its label,
# > both as tensors of whole numbers. (The book's whole class is accepted as well.)
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
#     def __init__(self, data, tokenizer, max_length=None, pad_token_id=50256):
#         self.labels = data["Label"].tolist()
#         self.encoded = [tokenizer.encode(text) for text in data["Text"]]
#         self.max_length = max_length or max(map(len, self.encoded))
#         self.pad_token_id = pad_token_id
#
#     def __len__(self):
#         return len(self.labels)
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
    """Messages as sequences of token ids, truncated or padded to one length."""

    def __init__(self, data, tokenizer, max_length=None, pad_token_id=50256):
        self.labels = data["Label"].tolist()  # one label per message: 0 or 1
        # one list of token ids per message, of any length
        self.encoded = [tokenizer.encode(text) for text in data["Text"]]
        # None: the length of the longest message
        self.max_length = max_length or max(map(len, self.encoded))
        self.pad_token_id = pad_token_id

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (token_ids (max_length,), label ()), both torch.long."""
        ...


# %%
from workshop.exercises import check_code

SpamDataset = check_code("6.3 dataset", MySpamDataset)

# %% [markdown]
# The course's own `SpamDataset` pads all sequences in advance. It is a `TextDataset`, which takes any number of classes,
# with two of them.

# %%
from helpers import data
from workshop.exercises import show_source

show_source(data.SpamDataset, data.TextDataset, data.pad)

# %%
draw_tokens([train["Text"].iloc[1]])

# %%
train_dataset = SpamDataset(train, tokenizer, max_length=None)  # None: the longest message's
token_ids, label = train_dataset[1]

predict(
    "6.3 the shape of an item",
    tuple(token_ids.shape),
    f"{token_ids}\nlabel {label}",
    own_length=lengths[1],
    longest=max(lengths),
)

# %% [markdown]
# Validation and test messages are padded to the *training* length, and cut if they are longer: the model must be used as
# it was trained.

# %%
validation_dataset = SpamDataset(validation, tokenizer, max_length=train_dataset.max_length)
test_dataset = SpamDataset(test, tokenizer, max_length=train_dataset.max_length)


# %% [markdown]
# ## Which ids are padding?
#
# A *mask* marks it: True for a real token, False for padding. With another padding id, such as 0, which is also the id of
# "!", the id can also occur inside a message. Only at the end of a row it is padding.

# %% [markdown]
# > **Write it: the mask of padding.** (medium, 8 minutes)
# >
# > Return True for each token that is real: it is none of the padding ids with which its row ends. Do it for all rows at
# > once, without changing them.
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
padding_mask = check_code("6.3 padding mask", my_padding_mask)

# %%
is_real = padding_mask(token_ids.unsqueeze(0))  # of item 1, as a batch of one
print(f"{is_real.sum()} of {is_real.numel()} token ids are real tokens")

# %% [markdown]
# The book's model gets no such mask: it has to learn what padding is. Section 6.6 finds the last real token of each row.
#
# ## What padding costs
#
# The model computes with every id, but only the rows of *one batch* must be equal.

# %%
from workshop.pictures.charts import draw_padding

predict("6.3 each batch its own length", given=lengths)

# %%
predict("6.3 sorted by length", given=lengths, show=draw_padding(lengths, batch_size=8))

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
predict("6.3 the shape of a batch", tuple(input_batch.shape), longest=max(lengths))

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
# > **1. Half as many batches?** (easy, 3 minutes) How many training batches are there with a batch size of 16? Remember
# > `drop_last`.

# %%
my_answer = None

# %%
from workshop.exercises import check

check("6.3 batches of 16", my_answer, train_dataset)

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
# > **2. Too long.** (easy, 2 minutes) Change the 2000 until it is accepted. Where does the limit come from?

# %%
try:
    data.SpamDataset(train, tokenizer, max_length=2000)
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
