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
# training follows. And you will know which token's answer you are looking at.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/gpt2-classification-course/blob/main/notebooks/06_6_loss_and_accuracy.ipynb)

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
# ## What we have so far
#
# Messages in batches (section 6.3) and a pretrained model with a new, random head (section 6.5). The *device* is where
# torch computes: a graphics card if there is one, else the processor.

# %%
import torch

from helpers.data import create_dataloaders
from helpers.freezing import FreezePlan, replace_head
from helpers.loading import load_pretrained
from helpers.tokenizer import get_tokenizer
from helpers.device_and_precision import get_device

device = get_device()
tokenizer = get_tokenizer()
train_loader, val_loader, test_loader = create_dataloaders(CHOOSE_DATA, tokenizer)

model = load_pretrained(CHOOSE_MODEL)
torch.manual_seed(123)
replace_head(model, num_classes=2)
FreezePlan.book(model.cfg["n_layers"]).apply(model)
model.to(device)
print(
    f"{len(train_loader.dataset)} training messages of {train_loader.dataset.max_length} token ids"
)

# %% [markdown]
# ## From logits to a label
#
# The last position's two logits decide: the larger one wins. `argmax` gives its place, 0 for ham or 1 for spam. Here are
# the first eight test messages.

# %%
token_ids, labels = next(iter(test_loader))
with torch.no_grad():
    logits = model(token_ids.to(device))[:, -1, :].cpu()
print("logits", tuple(logits.shape))
print("predicted", logits.argmax(dim=-1).tolist())
print("correct  ", labels.tolist())

# %% [markdown]
# **Accuracy** is the share of messages whose predicted label is the correct one. **Predict:** what will it be, with a
# head that has learned nothing, on data that is roughly half ham and half spam?

# %%
from helpers.training import calc_accuracy_loader

torch.manual_seed(123)  # the training batches are shuffled
for name, loader in {
    "training": train_loader,
    "validation": val_loader,
    "test": test_loader,
}.items():
    accuracy = calc_accuracy_loader(loader, model, device, num_batches=10)
    print(f"{name:<11} {accuracy:.0%}")
    assert 0.25 < accuracy < 0.75

# %% [markdown]
# Near one half, but not because it guesses like a coin. Look at the predictions above: the untrained head calls all eight
# messages ham, and it calls nearly all others ham, too. So the accuracy is close to the share of ham among the
# messages looked at (ten batches, 80 messages, of each part). (For GPT-2 124M on the SMS Spam
# Collection the book prints 46.25, 45.00 and 48.75 %.) How sure is it of what it says?

# %%
print(
    f"probability of the chosen class, on average: {logits.softmax(dim=-1).amax(dim=-1).mean():.1f}"
)

# %% [markdown]
# ## Loss
#
# Training needs a measure that changes a little when a weight changes a little. Accuracy doesn't: it stays the same
# until a message tips over, and then it jumps. **Cross-entropy** is smooth. For one message it is −ln p, where p is the
# probability that the model gives to the *correct* class. The unit is the *nat*, as the logarithm is the natural one.
#
# **Predict:** what does a sure right answer cost (p = 0.99), what do equal probabilities, what does a sure wrong answer (0.01)?
# And what is added when p is halved? Then move the slider.

# %%
from helpers.pictures.loss import draw_loss
from helpers.widgets import Slides

chances = (0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99)
Slides([draw_loss(p) for p in chances], list(map(str, chances)), "Correct class gets", start=5)

# %% [markdown]
# Next to nothing, 0.69, and 4.61. Each halving adds the same, ln 2 = 0.69: the surer a wrong answer is, the steeper the price
# rises, without an end. That is why one terribly wrong message can outweigh many good ones. (From the grey line on, the
# correct class is the answer.)
#
# For a batch one takes the mean; torch does softmax, logarithm and mean at once.

# %%
probability_of_correct = logits.softmax(dim=-1)[torch.arange(len(labels)), labels]
by_hand = -probability_of_correct.log().mean()
by_torch = torch.nn.functional.cross_entropy(logits, labels)
print(torch.allclose(by_hand, by_torch))

# %% [markdown]
# `calc_loss_loader` takes the mean over several batches. **Predict:** with a model that is as little sure of itself as this
# one, and wrong as often, will the loss be far above 0.69, or near?

# %% tags=["key-figure"]
from helpers.training import calc_loss_loader

torch.manual_seed(123)
loaders = (train_loader, val_loader, test_loader)
losses = [calc_loss_loader(loader, model, device, num_batches=5) for loader in loaders]
print("loss before training: " + ", ".join(f"{loss:.1f}" for loss in losses))

# %% [markdown]
# Near: it hardly leans to one side, and that costs hardly more than equal probabilities. But an untrained head can also be very
# sure by chance, and being both sure and often wrong costs much more: the book prints 2.453, 2.583 and 2.322 for GPT-2
# 124M.

# %% [markdown]
# ## Which token is "the last"?
#
# We took the last position, because it sees all others. But messages are padded. `last_token_positions` finds in each row
# the last token that is *not* padding:

# %%
from helpers.classifying_token import last_token_positions

positions = last_token_positions(token_ids)
print("last position  ", token_ids.shape[1] - 1)
print("last real token", positions.tolist())
print([tokenizer.decode([token_ids[i, p].item()]) for i, p in enumerate(positions)])

# %% [markdown]
# (A � is one byte of an emoji, not a whole character.) Take the shortest of the eight. **Predict** what stands at its last
# position.

# %%
row = positions.argmin().item()
message = token_ids[row]
print(repr(tokenizer.decode(message[: positions[row] + 1].tolist())))
print(repr(tokenizer.decode(message[-1:].tolist())))

# %% [markdown]
# Padding! The book classifies by the last position all the same, and it works: the causal mask lets the padding look back at
# the whole message. But does the padding do so? A block's *attention weights* say how much of each token goes into a
# position; those of a position sum to 1. `attention_weights` reads them out of the model while it runs. We add up what the
# message's tokens get from the last position, in each block (the mean of its heads).

# %%
from helpers.inside import attention_weights


def attention_to_the_message(message, tail):
    weights = attention_weights(
        model, torch.tensor([message + tail])
    )  # of every block and head
    from_the_last = weights[:, 0, :, -1, :]  # (n_layers, n_heads, num_tokens)
    return from_the_last[:, :, : len(message)].sum(dim=-1).mean(dim=-1).cpu()


# %% [markdown]
# **Predict:** behind each of the eight messages comes one full stop, or one `<|endoftext|>`, or fifty of either. How much of
# its attention does the last of them give to the message?

# %%
from helpers.pictures.attention import draw_shares

messages = [ids[: p + 1].tolist() for ids, p in zip(token_ids, positions, strict=True)]
shares = {}
for mark in (".", "<|endoftext|>"):
    tail = tokenizer.encode(mark, allowed_special="all")
    for count in (1, 50):
        rows = [attention_to_the_message(message, count * tail) for message in messages]
        shares[f"{count} × {mark}"] = torch.stack(rows).mean(dim=0).tolist()
draw_shares(shares, "What the last position gives to the message")

# %% [markdown]
# (Darker is more.) One full stop gives the message most of its attention in every block. One `<|endoftext|>` does so in the
# first block only, and gives next to none in block 4. So it is not the distance: there is none. The nano was pretrained on
# documents with `<|endoftext|>` before each one. What follows it is *another* document, so the model has learned not to
# look back across it. Many tokens of a kind dilute the rest, full stops too; but fifty `<|endoftext|>` leave next to
# nothing in blocks 1 to 4.

# %% [markdown]
# So fine-tuning at the padded end must first teach the last block to look back. It can: that block is trained. A head alone
# can't; section 6.7 has an exercise on that. OpenAI's documents were separated in the same way, so expect something like it
# of GPT-2 124M; here that is not measured.

# %% [markdown]
# The other choice is the last *real* token. `class_logits` takes the one or the other, according to its argument
# `position`; the functions that measure loss and accuracy and the training loop have the same argument. Do the two see
# the same?

# %%
from helpers.classifying_token import class_logits

with torch.no_grad():
    for position in ("last", "last_token"):
        chosen = class_logits(model, token_ids.to(device), position).cpu()
        print(f"{position:<11} {chosen[row].numpy().round(1)}")

# %% [markdown]
# They don't. Before training neither has learned anything. Which one is better, section 6.7 lets you
# find out. (The author's experiments with GPT-2 124M found 95.00 % test accuracy with messages padded
# to the longest, and 98.33 % with no padding at all, one message at a time and a step after every
# eight: another experiment, one run each, 300 messages.)
#
# Does the padding *behind* a real token change that token's answer? **Predict**, then look.

# %%
short = message[: positions[row] + 1].unsqueeze(0)
with torch.no_grad():
    without_padding = model(short.to(device))[0, -1].cpu()
    with_padding = class_logits(model, message.unsqueeze(0).to(device), "last_token")[0].cpu()
print(torch.allclose(without_padding, with_padding, atol=1e-4))

# %% [markdown]
# It does not, thanks to the causal mask: no token sees what follows it. So if we use the last real token, a message can be
# classified without any padding.

# %% [markdown]
# ## Under the microscope
#
# See both for yourself. Type a message: each token is a button. Press one to leave it out, and the answer follows. Colour
# and signs say what each token does for it: `+` speaks for spam, `−` for ham, `·` hardly for either. Its *influence* is the
# factor by which it changes the *odds* of spam, p / (1 − p), or that factor's logarithm, in nats.
#
# The head has learned nothing yet. **Predict:** how many tokens get a sign at the padded end, and how many at the last real
# token? Then press "last real token". After that go back, set the padding to 0, 1 and 10, and watch the attention to the
# message.

# %%
from helpers.classify import SpamClassifier
from helpers.widgets import MessageMicroscope

untrained = SpamClassifier(model, train_loader.dataset.max_length)
microscope = MessageMicroscope(untrained, "Win a free phone! Text YES to 80086 now", small=True)
microscope

# %% [markdown]
# At the padded end not one token of this message gets a sign: hardly anything of it arrives there. And at the last real token?

# %%
at_its_own_end = SpamClassifier(model, train_loader.dataset.max_length, position="last_token")
MessageMicroscope(at_its_own_end, microscope.text).drawing

# %% [markdown]
# Nearly all get one. They mean nothing yet, as a random head reads them; after training, in section 6.8, they will.
#
# Two warnings. A large share of *attention* does not prove that a token decided: other attention can lead to the same answer
# (Jain & Wallace 2019), so it needs a test (Wiegreffe & Pinter 2019), such as leaving the token out. And *influence* leaves
# out one token at a time: of two words that say the same, neither seems to matter.

# %% [markdown]
# ## The same message, twice
#
# All of the model below its last block is frozen. Here is what comes out there for one message, computed twice:

# %%
token_ids = message.unsqueeze(0).to(device)


@torch.no_grad()
def below_the_last_block(token_ids):
    x = model.embed(token_ids)  # (b, n, emb_dim)
    for block in model.trf_blocks[:-1]:
        x = block(x)
    return x


first, second = below_the_last_block(token_ids), below_the_last_block(token_ids)
print("the same numbers twice:", torch.equal(first, second))

# %% [markdown]
# **Predict:** now we change the last block and the head, as training will. Does what comes out below change?

# %%
with torch.no_grad():
    trained = [*model.trf_blocks[-1].parameters(), *model.out_head.parameters()]
    for parameter in trained:
        parameter += 0.01
    print("still the same:", torch.equal(first, below_the_last_block(token_ids)))
    for parameter in trained:
        parameter -= 0.01  # and back, for the microscope

# %% [markdown]
# It does not: nothing down there has changed, and nothing down there will. And yet training goes through all messages
# again and again, and computes these numbers every time. **What could one do instead?** Section 6.7 does it.
#
# ## Try it
#
# **1. A price for doubt.** (easy, 3 minutes) A model gives the correct class 75 %. What is the loss for this message?

# %%
my_answer = None

# %%
import math

from helpers.exercises import check

check(
    my_answer,
    -math.log(0.75),
    "Minus the natural logarithm of the correct class's probability: -math.log(…).",
)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `-math.log(0.75)`, about 0.29.
#
# </details>
#
# **2. Low loss, low accuracy?** (hard, 5 minutes) Can one model have a lower loss than another and yet a lower accuracy?
# Find two lists of probabilities for the correct class, of four messages each.

# %%
model_a = [0.5, 0.5, 0.5, 0.5]  # more accurate (a message is right above 0.5)
model_b = [0.5, 0.5, 0.5, 0.5]  # lower loss


def accuracy_and_loss(probabilities):
    right = sum(p > 0.5 for p in probabilities) / len(probabilities)
    return right, -sum(math.log(p) for p in probabilities) / len(probabilities)


assert len(model_a) == len(model_b) == 4, "four messages each"
assert all(0 < p <= 1 for p in model_a + model_b), "a probability lies above 0 and is at most 1"
accuracy_a, loss_a = accuracy_and_loss(model_a)
accuracy_b, loss_b = accuracy_and_loss(model_b)
print(f"a: accuracy {accuracy_a:.0%}, loss {loss_a:.2f}")
print(f"b: accuracy {accuracy_b:.0%}, loss {loss_b:.2f}")
if accuracy_a <= accuracy_b:
    print("Model a must be right more often.")
elif loss_a <= loss_b:
    print("Model a's loss must be the higher one: let it be terribly wrong once.")
else:
    print("Found!")

# %% [markdown]
# <details><summary>Solution</summary>
#
# `model_a = [0.6, 0.6, 0.6, 0.01]` is right three times and terribly wrong once; `model_b = [0.9, 0.9, 0.49, 0.49]` is
# right only twice, but never far off.
#
# </details>

# %% [markdown]
# ## What to take away
#
# - Accuracy is for people, cross-entropy for training; equal probabilities for two classes cost 0.69.
# - An untrained head knows nothing, and may say so with great confidence.
# - The last position of a padded message is padding; the last real token is the other choice. Behind an
#   `<|endoftext|>` the nano hardly looks back: it has learned that another document begins.
# - Attention says where a position looks, influence what the answer loses without a token; neither says why.
# - Below the lowest trainable part, the same message gives the same numbers, however long one trains.
#
# Next: [6.7, fine-tuning](06_7_fine_tuning.ipynb).
