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
# After this notebook you can turn messages into batches of token ids, the model's input format. You need chapter 2 of the
# book (tokens) and the [datasets of 6.2](06_2_preparing_the_data.ipynb). About 20 minutes. Numbers are for the bundled
# data.
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
if course is None and "google.colab" in sys.modules:
    # in Colab only this notebook is here
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
# bundled; or "gpt2-small (124M)" and larger ones, which are downloaded once
CHOOSE_MODEL = "gpt2-nano (12M)"
# bundled; or "sms-spam-collection", which is downloaded once from UCI
CHOOSE_DATA = "sms-mini"

# %% [markdown]
# ## From text to token ids
#
# A [*tokenizer*](../site/pages/glossary.md) splits a text into *tokens* and maps each token to an integer, its *token id*.
# GPT-2 uses *byte-pair encoding*, with a *vocabulary* of 50,257 tokens. A frequent word is one token; a rare word is split.
#
# Below, each box is a token with its id. ␣ marks a space, which is part of the token that follows it.

# %%
from helpers.tokenizer import get_tokenizer
from workshop.pictures.message import draw_tokens

tokenizer = get_tokenizer()
print(tokenizer.encode("Do you have time"))
draw_tokens(["Do you have time"])

# %%
from workshop.widgets import predict

usual, hurry = "Do you have time", "do u hav time"
figure = draw_tokens([hurry, "Congratulations!! tinyurl 💰"])

predict(
    "6.3 the same words in a hurry",
    given=(tokenizer, usual, hurry),
    show=figure,
)

# %% [markdown]
# ## Padding and truncation
#
# A *batch* is a group of messages that the model processes together. Their token ids are stored as one 2-D
# [*tensor*](https://docs.pytorch.org/tutorials/beginner/basics/tensorqs_tutorial.html), whose rows have the same length.
# *Truncation* to the shortest message would lose words, so we use *padding* to the length of the longest one.
#
# Padding is GPT-2's only *special token*, `<|endoftext|>`, as in the book.

# %%
from helpers.config import END_OF_TEXT
from helpers.data import load_splits
from workshop.pictures.charts import draw_batch

train, validation, test = load_splits(CHOOSE_DATA)
lengths = [len(tokenizer.encode(text)) for text in train["Text"]]
print("padding:", END_OF_TEXT, tokenizer.decode([END_OF_TEXT]))
draw_batch(lengths[:8], width=max(lengths))

# %% [markdown]
# ## A dataset
#
# In PyTorch, a [*dataset*](https://docs.pytorch.org/docs/stable/data.html#map-style-datasets) is an object with the methods
# `__len__` and `__getitem__`.
#
# > **Write it: an item of the dataset.** (easy, 10 minutes)
# >
# > Write `__getitem__`. Return the token ids of message `index`, truncated or padded at the end to `max_length`, and its
# > label. Both are integer tensors.
#
# <details><summary>A hint</summary>
#
# `ids[:n]` keeps the first n ids, and `[7] * 3` is `[7, 7, 7]`. A list times a negative number is empty.
#
# </details>
#
# <details><summary>A bigger hint</summary>
#
# Append `self.max_length - len(ids)` padding ids with `+`, which makes a new list. Then truncate. `torch.tensor` of Python
# integers has the dtype `torch.long`.
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
    """Token ids of messages, truncated or padded to one length."""

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
# Our `SpamDataset` takes a DataFrame, whereas the book's class reads a CSV file.

# %%
train_dataset = SpamDataset(train, tokenizer, max_length=None)
token_ids, label = train_dataset[1]

predict(
    "6.3 the shape of an item",
    tuple(token_ids.shape),
    f"{token_ids}\nlabel {label}",
    own_length=lengths[1],
    longest=max(lengths),
)

# %% [markdown]
# Validation and test messages are padded or truncated to the length of the longest training message.

# %%
length = train_dataset.max_length
validation_dataset = SpamDataset(validation, tokenizer, max_length=length)
test_dataset = SpamDataset(test, tokenizer, max_length=length)

for name, messages in [("validation", validation), ("test", test)]:
    longer = sum(len(tokenizer.encode(t)) > length for t in messages["Text"])
    print(f"{longer} of {len(messages)} {name} messages are truncated")

# %% [markdown]
# ## Data loaders
#
# A [`DataLoader`](https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.DataLoader) returns a dataset in batches.
#
# - `shuffle=True`: the order is new in each *epoch*, one pass through all training messages.
# - `drop_last=True`: a last batch of fewer than eight messages is dropped.
#
# For evaluation we keep all messages, in their original order.

# %%
torch.manual_seed(123)
train_loader = DataLoader(
    train_dataset,
    batch_size=8,
    shuffle=True,
    drop_last=True,
    num_workers=0,  # no additional processes load the data
)
validation_loader = DataLoader(validation_dataset, batch_size=8, num_workers=0)
test_loader = DataLoader(test_dataset, batch_size=8, num_workers=0)

input_batch, target_batch = next(iter(train_loader))
predict(
    "6.3 the shape of a batch",
    tuple(input_batch.shape),
    f"the first batch: token ids {tuple(input_batch.shape)}, "
    f"labels {tuple(target_batch.shape)}",
    longest=max(lengths),
)

# %% tags=["key-figure"]
print(
    f"{len(train_loader)} training, {len(validation_loader)} validation, "
    f"{len(test_loader)} test batches"
)

# %% [markdown]
# The SMS Spam Collection gives the book's 130, 19 and 38 batches. Later pages use one helper for all of this:

# %%
from helpers.data import create_dataloaders
from workshop.exercises import show_source

show_source(create_dataloaders)

# %% [markdown]
# ## What padding costs
#
# The model processes padding like any other token, but only messages *within one batch* need the same length.

# %%
from workshop.pictures.charts import draw_padding

figure = draw_padding(lengths, batch_size=8)
predict("6.3 sorted by length", given=lengths, show=figure)

# %% [markdown]
# Like the book, we pad to one length, for simplicity.
#
# ## Try it
#
# > **1. Half as many batches?** (easy, 3 minutes) How many training batches are there with a batch size of 16? Remember
# > `drop_last`.
#
# <details><summary>Solution</summary>
#
# ```python
# my_answer = len(train_dataset) // 16
# ```
#
# For sms-mini, 700 // 16 = 43. The other 12 messages are left out; in each epoch these are different ones.
#
# </details>

# %%
my_answer = None

# %%
from workshop.exercises import check

check("6.3 batches of 16", my_answer, train_dataset)

# %% [markdown]
# ## Two questions
#
# <details><summary>1. Why are messages padded, and with which token?</summary>
#
# The token ids of a batch are stored in one 2-D tensor, whose rows have the same length. Padding is `<|endoftext|>`, 50256,
# because GPT-2 has no padding token.
#
# </details>
# <details><summary>2. Why is the last batch dropped in training, but not in evaluation?</summary>
#
# In training, a small batch would change the weights as much as a full one. In evaluation, every message counts.
#
# </details>

# %%
from workshop.exercises import progress

progress("6.3")

# %% [markdown]
# ## What to take away
#
# - Messages become token ids, padded to one length, because a batch is one tensor.
# - How much padding is needed depends on which messages are batched together.
# - Only the training data are shuffled, and only there the last, smaller batch is dropped.
#
# Next: [6.4, pretrained weights](06_4_pretrained_weights.ipynb).
