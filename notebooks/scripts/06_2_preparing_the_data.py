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
# # 6.2 Preparing the data
#
# After this notebook you can turn a file of labelled messages into a balanced set, split into training, validation and
# test data.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/gpt2-classification-course/blob/main/notebooks/06_2_preparing_the_data.ipynb)

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
# ## Two sets of messages
#
# - **sms-mini** comes with this course: 1,000 text messages written for it, half wanted (*ham*), half not (*spam*).
#   A hundred of them are hard on purpose: a bank's true one-time code, a scam in a friend's tone.
# - The **SMS Spam Collection** is the book's: 5,574 real messages, collected by Almeida, Gómez Hidalgo and Yamakami
#   (2011) and kept by UCI's Machine Learning Repository. It is downloaded when you choose it. (The book, and so this
#   course, works with 5,572 rows, because pandas joins a few lines at quotation marks.)
#
# Both are files of lines `label<TAB>text`.

# %%
from helpers.data import load_messages

messages = load_messages(CHOOSE_DATA)
for label, text in messages[["Label", "Text"]].head(6).values:
    print(f"{label:<5} {text[:90]}")

# %%
messages["Label"].value_counts()

# %% [markdown]
# In the SMS Spam Collection the two labels are far from even: read as the book does, it has 4,825 ham and 747 spam.
#
# **Predict:** how accurate is a "filter" that calls *every* message ham, on sms-mini and on the collection?

# %%
print(f"always ham: {(messages['Label'] == 'ham').mean():.1%} of {CHOOSE_DATA}")
print(f"always ham: {4825 / (4825 + 747):.1%} of the SMS Spam Collection")

# %% [markdown]
# 86.6 % without having looked at a single message! Accuracy, the share of right answers, says little when one class is
# rare. So we make the classes equal in size: then a filter that has learned nothing gets about 50 %, a fair line to beat.

# %% [markdown]
# ## Balance
#
# `create_balanced_dataset` keeps all spam and draws as many ham messages by chance. The draw has a fixed *seed*, the
# start of the random numbers, so it comes out the same every time; it is the book's seed, 123.

# %%
from helpers.data import create_balanced_dataset

balanced = create_balanced_dataset(messages)
balanced["Label"].value_counts()

# %% [markdown]
# sms-mini was balanced before, so nothing was left out. The collection gives 747 of each, which is 1,494 messages.

# %% [markdown]
# ## Labels become numbers
#
# A model computes with numbers: 0 stands for ham, 1 for spam.

# %%
numbered = balanced.assign(Label=balanced["Label"].map({"ham": 0, "spam": 1}))
numbered["Label"].value_counts()

# %% [markdown]
# ## Split
#
# Three parts, for three uses that must not mix:
#
# - **training** data: the model learns from it;
# - **validation** data: we look at it while we choose settings, such as when to stop;
# - **test** data: we look at it once, at the end. It stands for messages that nobody has seen.
#
# A model can learn its training messages by heart. Only messages that it has not seen tell whether it has learned
# something about spam. `random_split` shuffles with a fixed seed and cuts: 70 %, 10 %, and the remaining 20 %.

# %% tags=["key-figure"]
from helpers.data import random_split

train, validation, test = random_split(numbered, 0.7, 0.1)
print(f"{len(train)} training, {len(validation)} validation, {len(test)} test messages")

# %% [markdown]
# (For the collection: 1045, 149 and 300, as in the book.)
#
# Is each part balanced, too? And are its messages as long as those of the others? Nothing forces it, chance decides.
# **Predict:** how alike will the three parts be?

# %%
from helpers.pictures.messages import draw_splits

draw_splits({"training": train, "validation": validation, "test": test})

# %% [markdown]
# On the right, a bar is the share of a part's messages that have so many words, and the orange line marks the *median*: half
# of the messages are at most that long. The lengths are much alike. The shares of spam are not: 59.0 % of the validation data,
# but 43.5 % of the test data. (This course's pictures also speak: `print(_.words)`, right after one, says in words all that
# it shows.)
#
# Was that bad luck? The fourth argument of `random_split` is another seed. **Predict:** with forty seeds, between which two
# shares of spam will each part lie?

# %%
from helpers.pictures.messages import draw_chances

draws = {seed: random_split(numbered, 0.7, 0.1, seed) for seed in range(100, 140)}
draw_chances(draws, marked=123)

# %% [markdown]
# Each dot is a split; the book's seed is the orange square. The 700 training messages have from 48 to 52 % spam, the 200 test
# messages from 44 to 55 %, and the 100 validation messages from 39 to 61 %: the smaller the part, the further chance
# strays. The book's seed is among the less lucky ones. But a seed chosen because its figures look nice is a way to fool
# oneself, so we keep it. Instead an accuracy should be compared with that of always naming the commoner label.
#
# From here on one call does all of this section:

# %%
from helpers.data import load_splits

train, validation, test = load_splits(CHOOSE_DATA)
print(len(train), len(validation), len(test))

# %% [markdown]
# ## Can a word list do it?
#
# A filter without any learning: call a message spam if it contains one of a few tell-tale words. **Predict** its
# accuracy.

# %%
tell_tales = [
    "free",
    "win",
    "won",
    "claim",
    "prize",
    "cash",
    "urgent",
    "click",
    "offer",
    "£",
    "$",
]


def has_tell_tale(text):
    return any(word in text.lower() for word in tell_tales)


for name, part in {"training": train, "validation": validation}.items():
    says_spam, is_spam = part["Text"].map(has_tell_tale), part["Label"] == 1
    print(f"{name:<11} {(says_spam == is_spam).mean():.1%} right, ", end="")
    print(
        f"{(~says_spam & is_spam).sum()} spam missed, {(says_spam & ~is_spam).sum()} ham called spam"
    )

# %% [markdown]
# Better than always naming the commoner label (51 and 59 %), but *these* words are not enough: much spam uses none of
# them, and the filter finds *win* in *window* and *won* in *won't*. A list of words whose weights were learned from the
# training messages would do much better. GPT-2 can use the order of words and what surrounds them as well; whether that
# pays, sections 6.7 and 6.8 will tell.

# %% [markdown]
# ## Try it
#
# **1. A better list.** (easy, 5 minutes) Change `tell_tales` above. While you try words, put `{"training": train}` in the
# place of the dictionary in the loop; put the validation data back when you have finished, and look at it once. Leave
# the test data alone.
#
# **2. Another split.** (medium, 3 minutes) How many messages would `random_split(numbered, 0.6, 0.15)` put in the *test*
# part? Work it out first.

# %%
my_answer = None

# %%
from helpers.exercises import check

check(
    my_answer,
    len(random_split(numbered, 0.6, 0.15)[2]),
    "The test part is what the other two fractions leave over.",
)

# %% [markdown]
# <details><summary>Solution</summary>
#
# What remains is 1 − 0.6 − 0.15 = 0.25 of all messages; for sms-mini that is 250. (For the collection's 1,494 it is 374,
# because the first two parts are rounded down.)
#
# </details>

# %% [markdown]
# ## What to take away
#
# - With uneven classes accuracy flatters; balance the classes, or use another measure.
# - Training data is for learning, validation data for choosing, test data for the verdict.
# - A fixed seed makes chance repeatable.
#
# Next: [6.3, data loaders](06_3_data_loaders.ipynb).
