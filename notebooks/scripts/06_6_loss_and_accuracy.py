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
# # 6.6 Loss and accuracy
#
# After this notebook you can measure how good a classifier is, in two ways: accuracy, which people read, and loss, which
# training follows. And you will know which token's answer you are looking at. About 35 minutes. Figures are those of the
# bundled pair; with another choice expect others.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/gpt2-classification-course/blob/main/notebooks/06_6_loss_and_accuracy.ipynb)

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
# ## The price of a mistake
#
# How wrong is an answer? Training needs a measure that changes a little when a weight changes a little. **Cross-entropy**
# does: for one message it is −ln p, where p is the probability that the model gives to the *correct* class. The unit is
# the *nat*, as the logarithm is the natural one.

# %%
from workshop.widgets import predict

predict("6.6 a sure wrong answer", given=0.01)

# %% [markdown]
# Move the slider. (From the grey line on, the correct class is the answer.)

# %%
from workshop.pictures.charts import draw_loss
from workshop.widgets import Slides

chances = (0.05, 0.1, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99)
Slides([draw_loss(p) for p in chances], list(map(str, chances)), "Correct class gets", start=3)

# %% [markdown]
# ## From logits to a label
#
# Messages in batches (section 6.3), a pretrained model with a new, random head (6.5). The *device* is where torch
# computes: a graphics card if there is one, else the processor.

# %%
import torch

from helpers.data import create_dataloaders
from helpers.training import get_device
from helpers.freezing import FreezePlan, replace_head
from helpers.loading import load_pretrained
from helpers.tokenizer import get_tokenizer

device = get_device()
tokenizer = get_tokenizer()
train_loader, val_loader, test_loader = create_dataloaders(CHOOSE_DATA, tokenizer)

model = load_pretrained(CHOOSE_MODEL)
torch.manual_seed(123)
replace_head(model, num_classes=2)
FreezePlan.book(model.cfg["n_layers"]).apply(model)
model.to(device)
print(len(train_loader.dataset), "messages of", train_loader.dataset.max_length, "token ids")

# %% [markdown]
# The last position's two logits decide: the larger one wins. `argmax` gives its place, 0 for ham or 1 for spam. Here are
# the first eight test messages.

# %%
token_ids, labels = next(iter(test_loader))
with torch.no_grad():
    logits = model(token_ids.to(device)).cpu()
print("logits", tuple(logits.shape))
print("predicted", logits[:, -1].argmax(dim=-1).tolist())
print("correct  ", labels.tolist())


# %% [markdown]
# > **Write it: the loss of the last position.** (easy, 6 minutes)
# >
# > Return the mean loss of a batch, taken at the last position of each message. torch's `cross_entropy` does softmax,
# > logarithm and mean at once.
#
# <details><summary>A hint</summary>
#
# Of a tensor (b, n, 2), `[:, -1]` is what the last position has, (b, 2).
#
# </details>
#
# <details><summary>A bigger hint</summary>
#
# `torch.nn.functional.cross_entropy(…, labels)` takes logits, not probabilities.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def my_loss_of_last_position(logits, labels):
#     return torch.nn.functional.cross_entropy(logits[:, -1], labels)
# ```
#
# </details>


# %%
def my_loss_of_last_position(logits, labels):
    """Return the mean cross-entropy, in nats, at the last position: a number, or a tensor ().

    logits (b, n, 2), labels (b,), 0 or 1.
    """
    ...


# %%
from workshop.exercises import check_code

loss_of_last_position = check_code("6.6 loss", my_loss_of_last_position)

# %%
print(f"{loss_of_last_position(logits, labels):.2f} nats for the eight messages")

# %% [markdown]
# The course's functions, under the book's names, run the model, too, batch by batch:

# %%
from workshop.exercises import show_source
from helpers.training import calc_accuracy_loader, calc_loss_batch, calc_loss_loader

show_source(calc_loss_batch, calc_loss_loader)

# %% tags=["key-figure"]
loss = calc_loss_loader(test_loader, model, device, num_batches=10)
print("measured on", 10 * len(labels), "messages")

# %%
predict("6.6 loss before training", round(loss, 1))

# %% [markdown]
# **Accuracy** is the share of messages whose predicted label is the correct one.

# %%
accuracy = calc_accuracy_loader(test_loader, model, device, num_batches=10)
assert 0.25 < accuracy < 0.75
predict("6.6 accuracy before training", round(100 * accuracy))


# %% [markdown]
# > **Write it: accuracy over a loader.** (easy, 6 minutes)
# >
# > A loader gives batches of token ids and labels; `predict_labels` names a label for each row of token ids. Return the
# > share of right ones among all messages.
#
# <details><summary>A hint</summary>
#
# Two sums in one loop: the right answers, and the messages seen.
#
# </details>
#
# <details><summary>A bigger hint</summary>
#
# `(predict_labels(token_ids) == labels).sum().item()` are a batch's right answers, `len(labels)` its messages.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def my_accuracy(data_loader, predict_labels):
#     right = seen = 0
#     for token_ids, labels in data_loader:
#         right += (predict_labels(token_ids) == labels).sum().item()
#         seen += len(labels)
#     return right / seen
# ```
#
# </details>


# %%
def my_accuracy(data_loader, predict_labels):
    """Return the share, 0 … 1, of messages whose label is named correctly.

    `data_loader` gives (token ids (b, n), labels (b,)); the last batch may be smaller.
    """
    ...


# %%
accuracy_of = check_code("6.6 accuracy", my_accuracy)


# %%
def predict_labels(token_ids):
    with torch.no_grad():
        return model(token_ids.to(device))[:, -1].argmax(dim=-1).cpu()


print(f"{accuracy_of(val_loader, predict_labels):.0%} of the validation messages")

# %%
show_source(calc_accuracy_loader)

# %% [markdown]
# Which of the two should one believe?

# %%
a = [0.6, 0.6, 0.6, 0.01]  # probabilities of the correct class
b = [0.9, 0.9, 0.49, 0.49]

shown = []
for name, chances in {"a": a, "b": b}.items():
    right, loss = sum(p > 0.5 for p in chances), -torch.tensor(chances).log().mean()
    shown.append(f"{name}: {chances}, {right} of 4 right, loss {loss:.2f}")
predict("6.6 lower loss, lower accuracy", given=(a, b), show="\n".join(shown))

# %% [markdown]
# ## Which token is "the last"?

# %%
from helpers.training import last_token_positions

row = last_token_positions(token_ids).argmin().item()
message = token_ids[row]
print("the shortest:", tokenizer.decode(message[message != 50256].tolist()))

predict("6.6 the last position", given=token_ids)


# %% [markdown]
# > **Write it: the last real token.** (medium, 8 minutes)
# >
# > Return for each row the position of its last token that is not padding. With another padding id, such as 0, which is
# > also the id of "!", the id can also occur inside a message. A row of padding alone gives 0.
#
# <details><summary>A hint</summary>
#
# `token_ids != pad_token_id` says where there is a token. Which position is the largest of those?
#
# </details>
#
# <details><summary>A bigger hint</summary>
#
# `torch.where(is_token, positions, 0)` leaves the positions of tokens and puts 0 elsewhere; then take each row's largest.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def my_last_token_positions(token_ids, pad_token_id=50256):
#     positions = torch.arange(token_ids.shape[1])
#     return torch.where(token_ids != pad_token_id, positions, 0).amax(dim=1)
# ```
#
# </details>


# %%
def my_last_token_positions(token_ids, pad_token_id=50256):
    """Return the position, from 0, of each row's last real token: ids (b, n) → (b,)."""
    ...


# %%
last_positions = check_code("6.6 last real token", my_last_token_positions)

# %%
show_source(last_token_positions)

# %% [markdown]
# A block's *attention weights* say how much of each token goes into a position; those of a position sum to 1. How much of
# its attention gives the last position to the message, if a full stop or an `<|endoftext|>` comes behind it, once or fifty
# times? In each block, the mean over heads and messages:

# %%
from workshop.inside import attention_weights
from workshop.pictures.message import draw_shares


def attention_to_the_message(message, tail):
    weights = attention_weights(model, torch.tensor([message + tail]))  # every block and head
    from_the_last = weights[:, 0, :, -1, : len(message)]  # (n_layers, n_heads, num_tokens)
    return from_the_last.sum(dim=-1).mean(dim=-1).cpu()


positions = last_positions(token_ids)
messages = [ids[: p + 1].tolist() for ids, p in zip(token_ids, positions, strict=True)]
shares = {}
for mark in (".", "<|endoftext|>"):
    tail = tokenizer.encode(mark, allowed_special="all")
    for count in (1, 50):
        rows = [attention_to_the_message(message, count * tail) for message in messages]
        shares[f"{count} × {mark}"] = torch.stack(rows).mean(dim=0).tolist()

block = min(4, len(model.trf_blocks) - 1)
picture = draw_shares(shares, "What the last position gives to the message")
predict(
    "6.6 one token that separates", round(100 * shares["1 × <|endoftext|>"][block]), picture
)

# %% [markdown]
# A head alone can't fetch what the padded end has not gathered ([6.D](06_D_caching_the_frozen_layers.ipynb) has an exercise on
# that). OpenAI's documents were separated in the same way, so expect something like it of GPT-2 124M; here that is not
# measured.
#
# The other choice is the last *real* token. `class_logits` takes the one or the other, according to `position`, and so do
# the functions that measure and train.

# %%
from helpers.training import class_logits

short = message[: positions[row] + 1].unsqueeze(0)
with torch.no_grad():
    without_padding = model(short.to(device))[0, -1].cpu()
    with_padding = class_logits(model, message.unsqueeze(0).to(device), "last_token")[0].cpu()
changes = "no" if torch.allclose(without_padding, with_padding, atol=1e-4) else "yes"

predict("6.6 padding behind a token", changes)

# %% [markdown]
# Which of the two is better, [6.D](06_D_caching_the_frozen_layers.ipynb) lets you find out. (The author's experiments with
# GPT-2 124M found 95.00 % test accuracy with messages padded to the longest, and 98.33 % with no padding at all, one message
# at a time and a step after every eight: another experiment, one run each, 300 messages.)

# %% [markdown]
# ## Under the microscope
#
# Type a message: each token is a button. Press one to leave it out, and the answer follows. `+` speaks for spam, `−` for
# ham, `·` hardly for either. A token's *influence* is the factor by which it changes the *odds* of spam, p / (1 − p), or
# that factor's logarithm, in nats. The head has learned nothing, so no sign means anything yet. But how many tokens get
# one? Press "last real token"; then go back, and set the padding to 0, 1 and 10.

# %%
from helpers.classify import SpamClassifier
from workshop.widgets import MessageMicroscope

untrained = SpamClassifier(model, train_loader.dataset.max_length)
MessageMicroscope(untrained, "Win a free phone! Text YES to 80086 now", small=True)


# %% [markdown]
# At the padded end hardly anything of the message arrives. Two warnings. A large share of *attention* does not prove that
# a token decided: other attention can lead to the same answer (Jain & Wallace 2019), so it needs a test (Wiegreffe & Pinter
# 2019), such as leaving the token out. And *influence* leaves out one token at a time: of two words that say the same,
# neither seems to matter.

# %% [markdown]
# ## The same message, twice


# %%
@torch.no_grad()
def below_the_last_block(token_ids):
    x = model.embed(token_ids)  # (b, n, emb_dim)
    for block in model.trf_blocks[:-1]:
        x = block(x)
    return x


ids = message.unsqueeze(0).to(device)
before = below_the_last_block(ids)
with torch.no_grad():
    for part in (model.trf_blocks[-1], model.out_head):
        for parameter in part.parameters():
            parameter += 0.01
changed = "no" if torch.equal(before, below_the_last_block(ids)) else "yes"

predict("6.6 what stays", changed)

# %% [markdown]
# [6.D](06_D_caching_the_frozen_layers.ipynb) does it.
#
# ## Try it
#
# > **1. A price for doubt.** (easy, 2 minutes) A model gives the correct class 75 %. What is the loss for this message?

# %%
my_answer = None

# %%
from workshop.exercises import check

check("6.6 a price for doubt", my_answer)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# from math import log
#
# my_answer = -log(0.75)  # about 0.29
# ```
#
# </details>

# %% [markdown]
# ## Five questions
#
# <details><summary>1. Why does training follow the loss and not the accuracy?</summary>
#
# The loss changes a little with each weight. The accuracy stays as it is until a message tips over.
#
# </details>
# <details><summary>2. What do equal probabilities for two classes cost?</summary>
#
# ln 2, about 0.69 nats.
#
# </details>
# <details><summary>3. Why is the mean of the batches' accuracies not quite the accuracy?</summary>
#
# The last batch may be smaller, and its messages would count for more.
#
# </details>
# <details><summary>4. What stands at the last position of a padded message?</summary>
#
# `<|endoftext|>`, behind which the nano hardly looks back at the message.
#
# </details>
# <details><summary>5. A token gets a large share of attention. Did it decide?</summary>
#
# Not necessarily. Leave it out and see whether the answer changes.
#
# </details>

# %%
from workshop.exercises import progress

progress("6.6")

# %% [markdown]
# ## What to take away
#
# - Accuracy is for people, cross-entropy for training; equal probabilities for two classes cost 0.69.
# - An untrained head knows nothing, and may say so with great confidence.
# - The last position of a padded message is padding; the last real token is the other choice.
# - Attention says where a position looks, influence what the answer loses without a token; neither says why.
# - Below the lowest trainable part, the same message gives the same numbers, however long one trains.
#
# Next: [6.7, fine-tuning](06_7_fine_tuning.ipynb).
