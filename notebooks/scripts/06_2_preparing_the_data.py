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
# After this notebook you will be able to turn a file of labelled messages into a balanced dataset and split it. You need
# to have read [6.1](06_1_kinds_of_fine_tuning.ipynb). About 20 minutes. Numbers are for the bundled dataset, if no other
# is named.
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
# ## The file
#
# The course has two datasets:
#
# - **sms-mini**: 1,000 messages written for this course, half *[ham](../site/pages/glossary.md)* (legitimate), half spam.
# - **SMS Spam Collection**: the book's real messages, collected by Almeida, Gómez Hidalgo and Yamakami (2011).
#
# Each line of a file has a *[label](../site/pages/glossary.md)*, a tab (`\t`) and a text.
# [`read_csv`](https://pandas.pydata.org/docs/reference/api/pandas.read_csv.html) makes a table of it, a
# [DataFrame](https://pandas.pydata.org/docs/reference/api/pandas.DataFrame.html).

# %%
from helpers.data import SMS_MINI, load_messages

load_messages(CHOOSE_DATA)  # downloads the collection if you chose it
files = {
    "sms-mini": SMS_MINI,
    "sms-spam-collection": Path("sms_spam_collection/SMSSpamCollection.tsv"),
}
data_file_path = files[CHOOSE_DATA]
lines = data_file_path.read_text(encoding="utf-8").split("\n")
for line in lines[:5]:
    print(repr(line[:75]))

# %%
import pandas as pd

columns = ["Label", "Text"]
df = pd.read_csv(data_file_path, sep="\t", header=None, names=columns)
df

# %%
df["Label"].value_counts()

# %% [markdown]
# ## Balancing the classes

# %%
from workshop.widgets import predict

ham, spam = 4825, 747  # of the SMS Spam Collection
predict("6.2 always ham", given=(ham, spam))


# %% [markdown]
# So the book balances the classes by *[undersampling](../site/pages/glossary.md)*: it keeps all spam and randomly selects the same number of ham
# messages. A fixed *[random seed](../site/pages/glossary.md)* makes the selection *[reproducible](../site/pages/glossary.md)*. But the
# model cannot learn from the discarded messages, and the test set has more spam than a real inbox.
#
# > **Write it: balance the data.** (easy, 8 minutes)
# >
# > Return a DataFrame that contains first a random sample of the ham rows, then all spam rows. Sample as many ham rows as
# > there are spam rows, with `random_state=123`.
#
# <details><summary>A hint</summary>
#
# `df[df["Label"] == "spam"]` are the spam rows. [`sample(n, random_state=…)`](https://pandas.pydata.org/docs/reference/api/pandas.DataFrame.sample.html) returns
# n randomly selected rows of a DataFrame.
#
# </details>
#
# <details><summary>A bigger hint</summary>
#
# Sample `len(spam)` rows from the ham rows alone. [`pd.concat([first, second])`](https://pandas.pydata.org/docs/reference/api/pandas.concat.html) returns the rows
# of both DataFrames.
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
# The course's version also raises an error if the data cannot be balanced.
#
# </details>


# %%
def my_create_balanced_dataset(df: pd.DataFrame) -> pd.DataFrame:
    """Return a random sample of the ham rows, then all spam rows.

    `df` has the columns Label ("ham" or "spam") and Text, and at least as
    much ham as spam. Of both, the result has the same number of rows.
    """
    ...


# %%
from workshop.exercises import check_code

balance = check_code("6.2 balanced data", my_create_balanced_dataset)

# %% [markdown]
# A model computes with numbers, so the labels become 0 for ham and 1 for spam.

# %%
balanced_df = balance(df)
balanced_df["Label"] = balanced_df["Label"].map({"ham": 0, "spam": 1})
print(f"{len(df)} messages before balancing, {len(balanced_df)} after")
balanced_df

# %% [markdown]
# ## Splitting the data
#
# - The **training set** is for training the model.
# - The **[validation set](../site/pages/glossary.md)** is for choosing settings, such as when to stop the training.
# - The **[test set](../site/pages/glossary.md)** is for one measurement, at the end.
#
# A model can memorise its training messages (*[overfitting](../site/pages/glossary.md)*), so only unseen messages show how well it recognises
# spam. `random_split` puts 70 %, 10 % and 20 % of the rows into them.

# %%
from helpers.data import random_split
from workshop.exercises import show_source

show_source(random_split)

# %% tags=["key-figure"]
train_df, validation_df, test_df = random_split(balanced_df, 0.7, 0.1)
sizes = len(train_df), len(validation_df), len(test_df)
print("{} training, {} validation, {} test messages".format(*sizes))

# the book saves the sets as files
train_df.to_csv("train.csv", index=None)
validation_df.to_csv("validation.csv", index=None)
test_df.to_csv("test.csv", index=None)

# %% [markdown]
# The collection gives 1045, 149 and 300 messages, as in the book. Is each set balanced as well?

# %%
from workshop.pictures.charts import draw_splits

draw_splits({"training": train_df, "validation": validation_df})

# %% [markdown]
# The smaller a set, the more its percentage of spam varies by chance. We keep the book's seed.
# The next pages call `load_splits(CHOOSE_DATA)`, which repeats these steps.
#
# ## Baselines without a language model
#
# A *[baseline](../site/pages/glossary.md)* is a simple method to compare a model with, such as always predicting the
# *[majority class](../site/pages/glossary.md)*. Here we predict spam if a message contains a typical spam word.

# %%
import re

spam_words = ["free", "win", "won", "claim", "prize", "cash", "urgent"]
spam_words += ["click", "offer", "£", "$"]


def accuracy_of_words(words, messages):
    """Return the accuracy of a list of words, in percent."""
    pattern = "|".join(re.escape(word) for word in words)
    predicted_spam = messages["Text"].str.lower().str.contains(pattern)
    return 100 * (predicted_spam == (messages["Label"] == 1)).mean()


# %%
on_training = accuracy_of_words(spam_words, train_df)
on_validation = accuracy_of_words(spam_words, validation_df)
shown = f"validation: {on_validation:.1f} % correct"
predict("6.2 a list of words", on_training, show=shown)

# %% [markdown]
# The last baseline is a *[bag of words](../site/pages/glossary.md)*:
# [TF-IDF](https://scikit-learn.org/stable/modules/feature_extraction.html#tfidf-term-weighting) counts words, with more
# weight for rare ones, and [logistic
# regression](https://scikit-learn.org/stable/modules/linear_model.html#logistic-regression) is trained on the counts.

# %%
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

word_model = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000))
word_model.fit(train_df["Text"], train_df["Label"])
for name, part in (("training", train_df), ("validation", validation_df)):
    majority = part["Label"].value_counts(normalize=True).max()
    accuracy = word_model.score(part["Text"], part["Label"])
    print(f"{name}: {accuracy:.1%} correct, majority class {majority:.1%}")

# %% [markdown]
# [Section 6.7](06_7_fine_tuning.ipynb) compares this baseline with GPT-2, which can also use the order of words.
#
# ## Try it
#
# > **1. A stratified split.** (medium, 5 minutes) In a *[stratified
# > split](https://scikit-learn.org/stable/modules/cross_validation.html#stratification)* each set has the same percentage of
# > spam. Select such a validation set at random: a tenth of `balanced_df`.
#
# <details><summary>A hint</summary>
#
# `balanced_df.groupby("Label")` has the same method `sample` as a DataFrame. It takes a fraction, too: `frac=0.1`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# my_validation_df = balanced_df.groupby("Label").sample(
#     frac=0.1, random_state=123
# )
# ```
#
# </details>

# %%
my_validation_df = None

# %%
from workshop.exercises import check

check("6.2 a stratified split", my_validation_df, balanced_df)

# %% [markdown]
# ## Two questions
#
# <details><summary>1. A classifier for a rare disease is correct for 99 % of all patients. Why does this say little?</summary>
#
# If only 1 % of the patients have the disease, always predicting “healthy” achieves the same accuracy.
#
# </details>
# <details><summary>2. Why do we not choose settings with the test set?</summary>
#
# The settings would fit these messages by chance, so the test accuracy would be higher than that on new messages.
#
# </details>

# %%
from workshop.exercises import progress

progress("6.2")

# %% [markdown]
# ## What to take away
#
# - With imbalanced classes accuracy is misleading. Balance the classes, or use another measure.
# - Training data is for training, validation data for choosing, test data for one measurement at the end.
#
# Next: [6.3, data loaders](06_3_data_loaders.ipynb).
