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
# After this notebook you can classify your own messages, test by counting what you suspect of the classifier's mistakes,
# and keep it in a file.
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
# If section 6.7 has saved it, it is loaded; else it is trained now, in the same way, which takes less than half a minute
# with the bundled pair.

# %% tags=["nbval-ignore-output"]
from helpers.classify import load_or_train

classifier = load_or_train("spam-classifier.safetensors", CHOOSE_MODEL, CHOOSE_DATA)

# %%
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
# Now some of the mistakes, the eight of which the model was surest. What do they have in common? **Note down** a guess.

# %% tags=["nbval-ignore-output"]
test["p_spam"] = classifier.probabilities(test["Text"].tolist())[:, 1].numpy()
is_right = test["correct"] == test["predicted"]
mistakes = test[~is_right]
surest = (mistakes["p_spam"] - 0.5).abs().sort_values(ascending=False).index[:8]
for row in mistakes.loc[surest].itertuples():
    print(f"{row.correct} called {row.predicted} (p_spam {row.p_spam:.2f}): {row.Text[:64]}")


# %% [markdown]
# With the bundled pair one might say: the model fails on a few words without context ("10 late, start without me"). But a
# list of mistakes does not show what went right. So put the guess in a form that can be counted. **Predict:** of the test
# messages with fewer than ten tokens, what share does it get right? And of the longer ones?


# %% tags=["nbval-ignore-output"]
def show_shares(selected, name, other):
    for what, rows in ((name, selected), (other, ~selected)):
        part = is_right[rows]
        print(f"{what:<14} {part.sum():>3} of {len(part):>3} right, {part.mean():.0%}")


is_short = test["Text"].map(lambda text: len(tokenizer.encode(text)) < 10)
show_shares(is_short, "short", "longer")

# %% [markdown]
# With the bundled pair, no smaller than of the longer ones: there are short messages among the mistakes because there are short messages.
#
# Here is another guess, one that was not taken from the list. While sms-mini was written, a hundred of its messages were
# made hard on purpose: true notices that read like a scam's, scams in a friendly tone. Each message's *topic* is kept in a
# file, and the topics of those hundred begin with `hard-`. **Predict** both shares again.

# %% tags=["nbval-ignore-output"]
if CHOOSE_DATA == "sms-mini":
    from helpers.data import load_messages

    path = course / "helpers" / "assets" / "sms-mini" / "topics.txt"
    topics = path.read_text(encoding="utf-8").splitlines()  # line i is the topic of message i
    topic_of = dict(zip(load_messages(CHOOSE_DATA)["Text"], topics, strict=True))
    is_hard = test["Text"].map(topic_of).str.startswith("hard-")
    show_shares(is_hard, "hard", "the others")
else:
    print("only sms-mini has topics; skip this cell and the next")

# %% [markdown]
# Eleven hard ones are few; could that be chance? Suppose that hard messages were right as often as the others, each with
# probability p. Then k of n are right with probability C(n, k) · pᵏ · (1 − p)ⁿ⁻ᵏ, where C(n, k) counts the ways to choose k
# of n. Add that up for all k up to the number seen.

# %% tags=["nbval-ignore-output"]
from math import comb

if CHOOSE_DATA == "sms-mini":
    n, seen, p = is_hard.sum(), is_right[is_hard].sum(), is_right[~is_hard].mean()
    chance = sum(comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(seen + 1))
    print(f"{seen} of {n} right or fewer, by chance: {chance:.1%}")
    assert is_right[is_hard].mean() < p and chance < 0.1

# %% [markdown]
# With the bundled pair, about once in a thousand. So chance is a poor explanation: what was written to mislead does mislead
# this classifier. How often exactly, eleven messages cannot tell.
#
# ## Sure, and wrong
#
# Look at the probabilities in the list of mistakes again. **Predict:** how sure of the label that it names is the model, in
# the mean over all test messages? And where it is surer than 99 %, how often is it right?

# %% tags=["nbval-ignore-output"]
sureness = test["p_spam"].where(test["predicted"] == "spam", 1 - test["p_spam"])
very_sure = sureness > 0.99
print(f"mean probability of the named label: {sureness.mean():.1%}; right: {right:.1%}")
print(f"surer than 99 %: {very_sure.sum()} messages, {is_right[very_sure].mean():.1%} right")
assert sureness.mean() > right

# %% [markdown]
# Of its very sure answers, by its own account less than one in a hundred should be wrong; about one in ten is. A probability out of softmax is
# not a promise. Where such figures agree with the share of right answers, a model is called *calibrated*; this one is
# *overconfident*. No wonder: the loss, −ln p, still falls when the answer to a training message is right already and only
# becomes surer.
#
# ## Does it read the order of words?
#
# GPT-2 sees the words in their order; a method that counts words does not. Does our classifier make use of that? Put the
# words of each message in a random order, and classify again:

# %%
import random


def shuffled(text, generator):
    words = text.split()
    generator.shuffle(words)
    return " ".join(words)


print(shuffled(text_1, random.Random(123)))

# %% [markdown]
# Five times, each time in another order. **Predict:** how many of the test messages change their label, and how far does the
# accuracy fall?

# %% tags=["nbval-ignore-output"]
accuracies, changes = [], []
for seed in range(5):
    generator = random.Random(seed)
    labels = classifier.classify_many([shuffled(text, generator) for text in test["Text"]])
    accuracies.append((labels == test["correct"]).mean())
    changes.append((labels != test["predicted"]).sum())
mean_accuracy, mean_changes = sum(accuracies) / 5, sum(changes) / 5
print(f"accuracy: as written {right:.1%}, shuffled {mean_accuracy:.1%} (mean of five)")
print(f"labels changed: {mean_changes:.0f} of {len(test)} (mean of five)")
print(f"size of chance: {mean_changes**0.5 / len(test):.1%}")
assert right - 0.1 < mean_accuracy < right + 0.05

# %% [markdown]
# A label that changes makes a right answer wrong, or a wrong one right. If a coin decided which, then among n changes the two
# kinds would typically differ by about √n: that is the last line, as a share of the test messages.
#
# So with the bundled pair the accuracy falls by about two percentage points, which is about the size of chance. Of what this
# classifier knows, order is at most a small part; most of it is *which* words occur. That is said of this model and this
# question only. For guessing the next token the tokens before matter a great deal
# ([6.A](06_A_where_nano_comes_from.ipynb) tests it).

# %% [markdown]
# From now on this test set is used up: if you change the model because of what you have seen here, you need new messages
# for the next verdict.

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
# `"recall"`: a higher bar can only lose spam that was found before. Precision usually rises, but need not. With the bundled
# pair it rises from about 81 to 86 %, and recall falls from about 89 to 86 %.
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
# - Read the mistakes; they suggest what the model fails on. Whether it is so, a count says, of right answers too.
# - A probability out of softmax says how sure the model is, not how often it is right.
# - Most of what this classifier goes by is which words occur, not their order.

# %% [markdown]
# This is the end of the path. From here: try the SMS Spam Collection, another size of GPT-2, or another plan (the last
# exercise of [6.7](06_7_fine_tuning.ipynb)). And if you wonder what the model knew before it met a single message: the
# appendix, [where the nano comes from](06_A_where_nano_comes_from.ipynb).
