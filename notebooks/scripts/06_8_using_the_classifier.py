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
# # 6.8 Using the classifier
#
# After this notebook you can classify your own messages, say what kinds of mistakes the classifier makes, and keep it in
# a file.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/gpt2-classification-course/blob/main/notebooks/06_8_using_the_classifier.ipynb)

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
# ## The classifier of section 6.7
#
# If section 6.7 has saved it, it is loaded; else it is trained now, in the same way, which takes about half a minute
# with the bundled pair.

# %%
from helpers.classify import load_or_train

classifier = load_or_train("spam-classifier.safetensors", CHOOSE_MODEL, CHOOSE_DATA)
print(classifier.about["model"], "trained on", classifier.about["data"])

# %% [markdown]
# ## The book's function
#
# `classify_review` does what the sections before have prepared: encode the text, cut or pad it to the training length,
# take the last position's logits, and name the larger one. For ham it says "not spam".

# %%
from helpers.classify import classify_review
from helpers.tokenizer import get_tokenizer

tokenizer = get_tokenizer()
text_1 = (
    "CONGRATULATIONS! You have been selected for a £500 voucher. Claim your free prize today."
)
text_2 = "Are we still on for dinner tonight? I can bring the dessert, let me know."

model, device, max_length = classifier.model, classifier.device, classifier.max_length
for text in (text_1, text_2):
    print(classify_review(text, model, tokenizer, device, max_length))

# %% [markdown]
# ## How sure is it?
#
# `SpamClassifier` knows its tokenizer and its length, and gives the probabilities of ham and spam.

# %% tags=["nbval-ignore-output"]
probabilities = classifier.probabilities([text_1, text_2])
for text, (ham, spam) in zip((text_1, text_2), probabilities, strict=True):
    print(f"ham {ham:.2f}   spam {spam:.2f}   {text[:60]}…")

# %%
assert probabilities[0, 1] > 0.5 > probabilities[1, 1]

# %% [markdown]
# Put in messages of your own: what you wrote yesterday, what landed in your inbox. **Predict** each label first.

# %%
my_messages = [
    "WIN a FREE phone now!!! Txt YES to claim your prize",
    "ok see you at the station at six",
]
for text, label in zip(my_messages, classifier.classify_many(my_messages), strict=True):
    print(f"{label:<5} {text}")

# %% [markdown]
# ## Where it errs
#
# A *confusion table* counts the test messages by correct and by predicted label. The two kinds of mistakes do not weigh
# the same: spam let through is a nuisance, a friend's message thrown away is a loss.

# %% tags=["nbval-ignore-output"]
import pandas as pd

from helpers.data import LABELS, load_splits

_, _, test = load_splits(CHOOSE_DATA)
test = test.assign(correct=test["Label"].map(dict(enumerate(LABELS))))
test["predicted"] = classifier.classify_many(test["Text"].tolist())
pd.crosstab(test["correct"], test["predicted"])

# %%
right = (test["correct"] == test["predicted"]).mean()
assert right > 0.75

# %% [markdown]
# From such a table come two figures with names. Of all that was called spam, how much is spam? That is **precision**.
# Of all spam, how much was found? That is **recall**.

# %% tags=["nbval-ignore-output", "key-figure"]
called_spam, is_spam = test["predicted"] == "spam", test["correct"] == "spam"
precision = (called_spam & is_spam).sum() / called_spam.sum()
recall = (called_spam & is_spam).sum() / is_spam.sum()
print(f"test accuracy {right:.1%}, precision {precision:.1%}, recall {recall:.1%}")

# %%
assert precision > 0.65 and recall > 0.65

# %% [markdown]
# Now the mistakes themselves, those of which the model was surest first. What do they have in common?

# %% tags=["nbval-ignore-output"]
test["p_spam"] = classifier.probabilities(test["Text"].tolist())[:, 1].numpy()
mistakes = test[test["correct"] != test["predicted"]]
surest = (mistakes["p_spam"] - 0.5).abs().sort_values(ascending=False).index[:8]
for row in mistakes.loc[surest].itertuples():
    print(f"{row.correct} called {row.predicted} (p_spam {row.p_spam:.2f}): {row.Text[:64]}")

# %% [markdown]
# With the bundled pair, the ham is true notices, which read like those of scams, and a few words without context; the spam is
# scams in a friendly tone. Note how sure the model is: a probability out of softmax is not a promise. Why these went wrong
# the list alone cannot say; it suggests what to test.
#
# From now on this test set is used up: if you change the model because of these mistakes, you need new messages for the
# next verdict.

# %% [markdown]
# ## Keep it in a file
#
# `save` writes weights and settings into one file, `load` brings them back, in this notebook or in a program of yours.

# %%
from helpers.classify import SpamClassifier

path = classifier.save("my-classifier.safetensors")
loaded = SpamClassifier.load(path)
print(loaded.classify_many([text_1, text_2]))
path.unlink()  # tidy up

# %% [markdown]
# ## Try it
#
# **1. Fool it.** (medium, 10 minutes) Change the first message until it passes as ham, and the second until it is called
# spam, without changing what they are. Which word tipped it?

# %%
a_scam = "Your account is blocked. Verify your card at northway-secure.example today."
a_kindness = "do you want my ticket for tonight? i can't go"

# %% tags=["nbval-ignore-output"]
for message, aim in ((a_scam, "ham"), (a_kindness, "spam")):
    label, p_spam = classifier.classify(message), classifier.probabilities([message])[0, 1]
    print(f"{'fooled' if label == aim else 'not fooled'}: called {label}, p_spam {p_spam:.2f}")

# %% [markdown]
# **2. A stricter filter.** (medium, 5 minutes) Call a message spam only if its probability is above 0.9. Of precision and
# recall, which one cannot rise? Put "precision" or "recall" in the place of `None`.

# %%
my_answer = None

# %%
from helpers.exercises import check

check(
    my_answer,
    "recall",
    "With a higher bar fewer messages are called spam. Can more of the spam be found then?",
)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `"recall"`: a higher bar can only lose spam that was found before. Precision usually rises, but need not.
#
# </details>
#
# **3. Nothing to say.** (easy, 2 minutes) What should a filter answer to an empty message? This one refuses:

# %%
try:
    classifier.classify("   ")
except ValueError as error:
    print(error)

# %% [markdown]
# ## What to take away
#
# - A classifier is more than weights: tokenizer, length and position belong to it, and are saved with it.
# - One accuracy hides two kinds of mistakes; precision and recall show them.
# - Read the mistakes. They tell what the model goes by.
#
# This is the end of the path. From here: try the SMS Spam Collection, another size of GPT-2, or another plan (the last
# exercise of [6.7](06_7_fine_tuning.ipynb)). And if you wonder what the model knew before it met a single message: the
# appendix, [where the nano comes from](06_A_where_nano_comes_from.ipynb).
