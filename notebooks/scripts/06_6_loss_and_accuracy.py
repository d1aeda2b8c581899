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
# After this notebook you can measure a classifier: by its accuracy, which is easy to read, and by its loss, which training
# makes smaller. Read [section 6.5](06_5_classification_head.ipynb) first. About 32 minutes.
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
# ## From logits to a label
#
# We need messages in batches (6.3) and a pretrained model with a new, random head (6.5). The *device* is where PyTorch
# computes: a CUDA GPU if there is one, otherwise the CPU. ([Why not Apple's GPU?](../site/pages/questions.md))

# %%
import torch

from helpers.data import create_dataloaders
from helpers.freezing import replace_head
from helpers.loading import load_pretrained
from helpers.tokenizer import get_tokenizer
from helpers.training import get_device

device = get_device()
tokenizer = get_tokenizer()
train_loader, val_loader, _ = create_dataloaders(CHOOSE_DATA, tokenizer)

model = load_pretrained(CHOOSE_MODEL)
torch.manual_seed(123)
replace_head(model, num_classes=2)
model.to(device)
print(len(val_loader.dataset), "validation messages")

# %% [markdown]
# The two logits at the last position classify a message. `argmax` returns the index of the larger one, which is the *predicted
# label*: 0 for ham, 1 for spam. These are the first eight validation messages:

# %%
token_ids, labels = next(iter(val_loader))
with torch.no_grad():
    logits = model(token_ids.to(device)).cpu()
print("logits          ", tuple(logits.shape))
print("predicted labels", logits[:, -1].argmax(dim=-1).tolist())
print("correct labels  ", labels.tolist())


# %% [markdown]
# ## Accuracy
#
# The *[accuracy](../site/pages/glossary.md)* is the fraction of messages whose predicted label is correct.
#
# > **Write it: accuracy over a loader.** (easy, 6 minutes)
# >
# > `predict_labels` returns a label for each row of token ids. Return the accuracy over all messages.
#
# <details><summary>A hint</summary>
#
# Compute two sums in one loop: the number of correct predictions, and the number of messages.
#
# </details>
#
# <details><summary>A bigger hint</summary>
#
# `(predict_labels(token_ids) == labels).sum().item()` is the number of correct predictions in a batch. `len(labels)` is its
# number of messages.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def my_accuracy(data_loader, predict_labels):
#     correct = total = 0
#     for token_ids, labels in data_loader:
#         correct += (predict_labels(token_ids) == labels).sum().item()
#         total += len(labels)
#     return correct / total
# ```
#
# The mean of the batches' accuracies is a mistake: the messages of a smaller last batch would count for more.
#
# </details>


# %%
def my_accuracy(data_loader, predict_labels):
    """Return the fraction, 0 to 1, of messages that are labelled correctly.

    `data_loader` returns batches of token ids (b, n) and labels (b,). The
    last batch may be smaller.
    """
    ...


# %%
from workshop.exercises import check_code

accuracy_of = check_code("6.6 accuracy", my_accuracy)

# %%
from workshop.widgets import predict


def predict_labels(token_ids):
    with torch.no_grad():
        return model(token_ids.to(device))[:, -1].argmax(dim=-1).cpu()


num_messages = len(val_loader.dataset)
num_spam = sum(labels.sum().item() for _, labels in val_loader)
predict(
    "6.6 accuracy before training",
    100 * accuracy_of(val_loader, predict_labels),
    total=num_messages,
    ham=100 * (num_messages - num_spam) / num_messages,
    majority=100 * max(num_spam, num_messages - num_spam) / num_messages,
)

# %% [markdown]
# ## Cross-entropy loss
#
# Accuracy does not change until some message gets another label. Training needs a *[loss](../site/pages/glossary.md)*, a number
# that changes a little with each weight. Ours is *[cross-entropy](../site/pages/glossary.md)*. For one message it is −ln p,
# where p is the probability of the correct class. The unit is the *nat*, because the logarithm is natural.
#
# Move the slider. To the right of the grey line the predicted label is correct.

# %%
from workshop.pictures.charts import draw_loss
from workshop.widgets import Slides

probabilities = (0.01, 0.05, 0.1, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99)
charts = [draw_loss(p) for p in probabilities]
Slides(charts, [str(p) for p in probabilities], "p", start=4)


# %% [markdown]
# There is no upper limit: one confident mistake can outweigh many good answers. The loss of a batch is the mean over its
# messages.
#
# > **Write it: the loss at the last position.** (easy, 6 minutes)
# >
# > Return the mean loss of a batch.
# > [`cross_entropy`](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.cross_entropy.html) computes softmax,
# > logarithm and mean.
#
# <details><summary>A hint</summary>
#
# `[:, -1]` selects the last position of a tensor (b, n, 2). The result is (b, 2).
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
    """Return the mean cross-entropy at the last position, in nats.

    logits (b, n, 2), labels (b,) of 0 or 1; a number, or a tensor ().
    """
    ...


# %%
loss_of_last_position = check_code("6.6 loss", my_loss_of_last_position)


# %%
@torch.no_grad()
def mean_loss(data_loader):
    total = 0
    for token_ids, labels in data_loader:
        logits = model(token_ids.to(device)).cpu()
        # a smaller batch counts for less
        total += len(labels) * loss_of_last_position(logits, labels)
    return total / len(data_loader.dataset)


print(f"{mean_loss(val_loader):.2f} nats for the validation messages")

# %%
predict("6.6 loss before training", given=(model, val_loader))

# %% [markdown]
# The course's functions have the book's names. Like the book's, `calc_loss_loader` averages over batches. This is the mean over
# messages only if all batches have the same size.

# %%
from helpers.training import (
    calc_accuracy_loader,
    calc_loss_batch,
    calc_loss_loader,
)
from workshop.exercises import show_source

show_source(calc_accuracy_loader, calc_loss_batch, calc_loss_loader)

# %% tags=["key-figure"]
torch.manual_seed(123)  # the training loader shuffles its messages
for name, loader in [("training", train_loader), ("validation", val_loader)]:
    accuracy = calc_accuracy_loader(loader, model, device, num_batches=10)
    loss = calc_loss_loader(loader, model, device, num_batches=10)
    print(f"{name}: accuracy {100 * accuracy:.2f} %, loss {loss:.2f}")

# %% [markdown]
# (With GPT-2 124M the book prints 46.25 % and 45.00 %, 2.453 and 2.583. It measures the test set, too, which we keep for the
# end.)
#
# ## Loss versus accuracy

# %%
a = [0.6, 0.6, 0.6, 0.01]
b = [0.9, 0.9, 0.49, 0.49]
predict("6.6 lower loss, lower accuracy", given=(a, b))


# %% [markdown]
# ## Which token is the last one?
#
# All messages are padded to the same length, so the last token is padding in all but the longest ones. The book classifies at
# this position. It attends to the whole message, and after fine-tuning it works. The alternative is the last *real* token.
#
# > **Write it: the last real token.** (medium, 8 minutes)
# >
# > Return, for each row, the position of its last token that is not padding. The padding id can also occur inside a message,
# > such as 0, the id of `!`. For a row that is all padding, return 0.
#
# <details><summary>A hint</summary>
#
# `token_ids != pad_token_id` is a *mask*: it is True where there is a token, and False where there is padding. Which position
# with a True is the largest?
#
# </details>
#
# <details><summary>A bigger hint</summary>
#
# [`torch.where(mask, positions, 0)`](https://docs.pytorch.org/docs/stable/generated/torch.where.html) keeps the positions of
# tokens and replaces the others by 0. Then take the largest of each row.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def my_last_token_positions(token_ids, pad_token_id=50256):
#     positions = torch.arange(token_ids.shape[1])
#     mask = token_ids != pad_token_id
#     return torch.where(mask, positions, 0).amax(dim=1)
# ```
#
# </details>


# %%
def my_last_token_positions(token_ids, pad_token_id=50256):
    """Return the position, from 0, of each row's last real token.

    token ids (b, n); the positions are whole numbers (b,).
    """
    ...


# %%
last_positions = check_code("6.6 last real token", my_last_token_positions)

# %%
positions = torch.as_tensor(last_positions(token_ids)).tolist()
print(f"last real tokens: {positions}, last position: {token_ids.shape[1] - 1}")

predict("6.6 padding after a token", given=(model, token_ids, positions))

# %% [markdown]
# The course's functions use this position with `position="last_token"`. In the [author's
# experiments](https://github.com/rasbt/LLMs-from-scratch/tree/main/ch06/02_bonus_additional-experiments) with GPT-2 124M, the
# test accuracy was 98.33 % there (experiment 16) and 95.00 % at the last position (experiment 1): one run each, 300
# messages.
#
# ## Try it
#
# > **1. Loss of an uncertain answer.** (easy, 2 minutes) A model gives the correct class a probability of 75 %. What is the loss
# > of this message, in nats?
#
# <details><summary>Solution</summary>
#
# ```python
# from math import log
#
# my_answer = -log(0.75)  # about 0.29
# ```
#
# </details>

# %%
my_answer = None

# %%
from workshop.exercises import check

check("6.6 loss of an uncertain answer", my_answer)

# %% [markdown]
# ## Two questions
#
# <details><summary>1. Why does training follow the loss and not the accuracy?</summary>
#
# The loss changes a little with each weight. The accuracy does not change until some message gets another label.
#
# </details>
# <details><summary>2. A classifier with two classes has a loss of 0.65, less than ln 2. Is it better than a constant answer?</summary>
#
# Not necessarily. If 35 % of the messages are spam, predicting a probability of 35 % for every message has a loss of 0.65.
#
# </details>

# %%
from workshop.exercises import progress

progress("6.6")

# %% [markdown]
# ## What to take away
#
# - Accuracy is the fraction of correct predictions. Cross-entropy also measures confidence: it is −ln p, where p is the
#   probability of the correct class.
# - An untrained head knows nothing, but its answers can still be very confident.
# - The last position of a padded message is padding. The last real token is the alternative: padding after it does not change
#   its logits.
#
# Next: [6.7, fine-tuning](06_7_fine_tuning.ipynb).
