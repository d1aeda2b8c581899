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
# test data. About 25 minutes. Figures are those of the bundled pair; with another choice expect others.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/gpt2-classification-course/blob/main/notebooks/06_2_preparing_the_data.ipynb)

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
# ## Messages
#
# - **sms-mini**: 1,000 text messages written for this course, half wanted (*ham*), half not (*spam*). A hundred are hard
#   on purpose: a bank's true one-time code, a scam in a friend's tone.
# - **SMS Spam Collection**: the book's 5,574 real messages, by Almeida, Gómez Hidalgo and Yamakami (2011). (pandas joins a
#   few at quotation marks: 5,572 rows, in the book as here.)

# %%
from helpers.data import load_messages

messages = load_messages(CHOOSE_DATA)
for label, text in messages[["Label", "Text"]].head(6).values:
    print(f"{label:<5} {text[:90]}")

# %%
messages["Label"].value_counts()

# %%
from workshop.widgets import predict

ham, spam = 4825, 747  # of the SMS Spam Collection
predict("6.2 always ham", given=(ham, spam))

# %% [markdown]
# ## Balance
#
# So we make the classes equal in size: keep all spam and draw as many ham messages by chance. A *seed*, the start of the
# random numbers, makes the draw come out the same every time; the book's is 123.

# %%
predict("6.2 rows of the balanced collection", given=(ham, spam))

# %% [markdown]
# > **Write it: balance the data.** (easy, 8 minutes)
# >
# > Return a table with as many ham rows as there are spam rows, drawn with the book's seed, and below them all spam.
#
# <details><summary>A hint</summary>
#
# `df[df["Label"] == "spam"]` are the spam rows. A table's `sample(n, random_state=…)` draws n of its rows.
#
# </details>
#
# <details><summary>A bigger hint</summary>
#
# Draw `len(spam)` rows from the ham alone; `pd.concat([above, below])` puts one table on top of another.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def my_create_balanced_dataset(df):
#     spam, ham = df[df["Label"] == "spam"], df[df["Label"] == "ham"]
#     return pd.concat([ham.sample(len(spam), random_state=123), spam])
# ```
#
# </details>

# %%
import pandas as pd


def my_create_balanced_dataset(df: pd.DataFrame) -> pd.DataFrame:
    """Return all spam rows, and before them as many ham rows, drawn with seed 123.

    `df` has the columns Label ("ham" or "spam") and Text; there is at least as much ham as spam.
    """
    ...


# %%
from workshop.exercises import check_code

balance = check_code("6.2 balanced data", my_create_balanced_dataset)

# %% [markdown]
# The course's own version also raises an error for data that can't be balanced.

# %%
from helpers.data import create_balanced_dataset
from workshop.exercises import show_source

show_source(create_balanced_dataset)

# %%
balanced = balance(messages)
balanced["Label"].value_counts()

# %% [markdown]
# sms-mini was balanced before, so nothing was left out.
#
# A model computes with numbers: 0 stands for ham, 1 for spam.

# %%
numbered = balanced.assign(Label=balanced["Label"].map({"ham": 0, "spam": 1}))
numbered["Label"].value_counts()

# %% [markdown]
# How long are the messages? The height of a bar is the number of messages with that many words, spam on top of ham. (Every
# picture of this course has a text, too: `print(_.words)`, right after a picture, prints what it shows.)

# %%
from workshop.pictures.charts import draw_splits

draw_splits({"all": numbered})

# %% [markdown]
# ## Split
#
# Three parts, for three uses that must not mix:
#
# - **training** data: the model learns from it;
# - **validation** data: we look at it while we choose settings, such as when to stop;
# - **test** data: we look at it once, at the end.
#
# A model can learn its training messages by heart; only messages that it has not seen tell what it has learned about
# spam. `random_split` shuffles with a fixed seed and cuts: 70 %, 10 %, and what remains.

# %%
from helpers.data import random_split

show_source(random_split)

# %% tags=["key-figure"]
train, validation, test = random_split(numbered, 0.7, 0.1)
print(f"{len(train)} training, {len(validation)} validation, {len(test)} test messages")

# %% [markdown]
# (For the collection: 1045, 149 and 300, as in the book.) Is each part balanced, too? Nothing forces it.

# %%
parts = {"training": train, "validation": validation, "test": test}
predict("6.2 the part that strays", given=parts, show=draw_splits(parts))

# %%
from workshop.pictures.charts import draw_chances

draws = {seed: random_split(numbered, 0.7, 0.1, seed) for seed in range(100, 140)}
predict("6.2 forty seeds", given=draws, show=draw_chances(draws, marked=123))

# %% [markdown]
# From here on one call does all of this section:

# %%
from helpers.data import load_splits

train, validation, test = load_splits(CHOOSE_DATA)
print(len(train), len(validation), len(test))

# %% [markdown]
# ## Can a word list do it?
#
# A filter without any learning: call a message spam if it contains one of a few tell-tale words.

# %%
tell_tales = ["free", "win", "won", "claim", "prize", "cash", "urgent"]
tell_tales += ["click", "offer", "£", "$"]


def judge(words, part):
    """Return how accurate a list of words is, in percent, and this in words."""
    says_spam = part["Text"].map(lambda text: any(word in text.lower() for word in words))
    is_spam = part["Label"] == 1
    percent = 100 * (says_spam == is_spam).mean()
    missed, wrongly = (~says_spam & is_spam).sum(), (says_spam & ~is_spam).sum()
    return percent, f"{percent:.1f} % right, {missed} spam missed, {wrongly} ham called spam"


# %%
accuracy, on_training = judge(tell_tales, train)
_, on_validation = judge(tell_tales, validation)
shown = f"training:   {on_training}\nvalidation: {on_validation}"

predict("6.2 a list of words", accuracy, shown)

# %% [markdown]
# ## Try it
#
# > **1. A better list.** (easy, 5 minutes) Try words on the training data; when you have finished, look at the validation
# > data once. Leave the test data alone.

# %%
my_words = ["free", "reply", "tell", "hello"]
print(judge(my_words, train)[1])

# %% [markdown]
# > **2. Another seed.** (easy, 2 minutes) Change the last number: which part's share of spam changes least?

# %%
names = ("training", "validation", "test")
draw_splits(dict(zip(names, random_split(numbered, 0.7, 0.1, 7), strict=True)))

# %% [markdown]
# > **3. Another split.** (medium, 3 minutes) How many messages would `random_split(numbered, 0.6, 0.15)` put in the *test*
# > part? Work it out first.

# %%
my_answer = None

# %%
from workshop.exercises import check

check("6.2 another split", my_answer, numbered)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# my_answer = len(numbered) - int(0.6 * len(numbered)) - int(0.15 * len(numbered))
# ```
#
# 1 − 0.6 − 0.15 = 0.25 of all: 250 of sms-mini's 1,000. (Of the collection's 1,494 it is 374, as the first two parts are
# rounded down.)
#
# </details>

# %% [markdown]
# ## Five questions
#
# <details><summary>1. Why does a high accuracy say little when one class is rare?</summary>
#
# Always naming the commoner class reaches it, too.
#
# </details>
# <details><summary>2. What does balancing cost?</summary>
#
# The ham messages that are left out: nothing is learned from them.
#
# </details>
# <details><summary>3. Why is ham drawn by chance, with a seed?</summary>
#
# By chance, so that it stands for all ham; with a seed, so that everyone gets the same rows.
#
# </details>
# <details><summary>4. What is validation data for, and what test data?</summary>
#
# Validation data is for choosing settings; test data for one verdict at the end.
#
# </details>
# <details><summary>5. Which share varies more from split to split: that of 100 messages or of 700?</summary>
#
# That of 100: the fewer messages, the further chance strays.
#
# </details>

# %%
from workshop.exercises import progress

progress("6.2")

# %% [markdown]
# ## What to take away
#
# - With uneven classes accuracy flatters; balance the classes, or use another measure.
# - Training data is for learning, validation data for choosing, test data for the verdict.
# - A fixed seed makes chance repeatable.
#
# Next: [6.3, data loaders](06_3_data_loaders.ipynb).
