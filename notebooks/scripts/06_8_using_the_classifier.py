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
# After this notebook you can classify your own messages, see which words tip an answer, choose a threshold by the mistakes
# that it makes, test by counting what you suspect of them, and keep the classifier in a file.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/gpt2-classification-course/blob/main/notebooks/06_8_using_the_classifier.ipynb)

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

# %%
probabilities = classifier.probabilities([text_1, text_2])  # (2, 2)
for text, (ham, spam) in zip((text_1, text_2), probabilities, strict=True):
    print(f"ham {ham:.2f}   spam {spam:.2f}   {text[:60]}…")

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
# ## Which words tip it?
#
# The **Message Microscope** leaves out one token of a message after the other and asks the classifier each time. By how much
# the answer moves is the token's *influence*: towards spam (+) or towards ham (−). It is the factor by which the token
# changes the *odds* of spam, p / (1 − p), or that factor's logarithm, in nats. Press a token to leave it out, and again to bring
# it back, or type another message.
#
# **Predict:** which token of the message below speaks most for spam? Does any speak for ham? Does the answer change when the
# strongest one goes?

# %% tags=["nbval-ignore-output"]
from helpers.widgets import MessageMicroscope

microscope = MessageMicroscope(classifier, text="Your free prize is waiting, call now")
microscope

# %% [markdown]
# <details><summary>Answer, for the bundled pair</summary>
#
# *free* and *Your* speak most for spam, and without either of them the answer is ham. *is* speaks for ham, nearly as strongly.
# No list of spam words would have *Your* and *is*: what a word does depends on its company.
#
# </details>
#
# Is that *why*? Influence is about one token at a time: of two words that say the same, each alone seems to matter little. And
# *attention* is only a hint, to be tested (Jain and Wallace 2019; Wiegreffe and Pinter 2019).
#
# Choose block 5: there the padded end looks at the message, in the blocks below hardly at all. So after fewer blocks the head
# says nearly the same of every padded message.

# %% [markdown]
# ## Fool it
#
# A game in two rounds: turn the scam into one that passes as ham, and the kindness into one that is called spam, with as few
# words changed as you can. The scam must still ask for the card, the kindness still be one. Type into the microscope, leave
# tokens out, then put your messages here.

# %%
a_scam = "Your account is blocked. Verify your card at northway-secure.example today."
a_kindness = "do you want my ticket for tonight? i can't go"

for message, aim in ((a_scam, "ham"), (a_kindness, "spam")):
    label = classifier.classify(message)
    print(f"{'fooled' if label == aim else 'not fooled'}: called {label}")

# %% [markdown]
# What you find in ten minutes, a sender of spam finds as well.

# %% [markdown]
# ## Where it errs
#
# A *confusion matrix* counts messages by correct and by called label. Its two kinds of mistakes do not weigh the same: spam let
# through is a nuisance, a friend's message thrown away is a loss. Two figures have names. Of all that was called spam, how much
# is spam? That is **precision**. Of all spam, how much was called spam? That is **recall**.
#
# **Predict:** which of the two mistakes is the more frequent one?

# %%
from helpers.data import LABELS, load_splits

_, validation, test = load_splits(CHOOSE_DATA)
texts = test["Text"].tolist()
p_spam = classifier.probabilities(texts)[:, 1].numpy()  # (num_messages,)
print(f"{len(texts)} test messages, {test['Label'].sum()} of them spam")

# %% tags=["nbval-ignore-output", "key-figure"]
from helpers.measures import counts_at
from helpers.pictures.verdict import draw_matrix

counts = counts_at(test["Label"], p_spam)
accuracy, precision, recall = counts.accuracy, counts.precision, counts.recall
print(f"test accuracy {accuracy:.1%}, precision {precision:.1%}, recall {recall:.1%}")
draw_matrix(counts)

# %%
assert accuracy > 0.75 and precision > 0.65 and recall > 0.65


# %% [markdown]
# A square is as large as its share of all messages. Here the graver mistake, ham called spam, is the more frequent one.
#
# So far a message was called spam if its probability of spam was above one half. In the **dashboard** that is a *threshold* to
# move. The curve beside the matrix shows precision against recall at all thresholds, and the point where you are.
#
# **Predict,** then try: what happens to either figure at 0.9? Which threshold would you want for your own inbox?


# %%
def look(text):
    microscope.text = text  # as if it were typed there


# %% tags=["nbval-ignore-output"]
from IPython.display import display

from helpers.widgets import Dashboard

display(Dashboard(classifier, test, on_message=look), microscope)

# %% [markdown]
# Press a field to read its messages, the surest first. Press one of them, and the microscope, which stands here again, takes it:
# what tipped it?
#
# Read the mistakes in both fields; here are three of each. What do they have in common? **Note down** a guess.

# %% tags=["nbval-ignore-output"]
from helpers.measures import field_at

for correct, called in (("ham", "spam"), ("spam", "ham")):
    for i in field_at(test["Label"], p_spam, 0.5, correct, called)[:3]:
        print(f"{correct} called {called}, p_spam {p_spam[i]:.2f}: {texts[i][:70]}")

# %% [markdown]
# ## Counting a guess
#
# A list of mistakes does not show what went right. So put a guess in a form that can be counted: a kind of message (a *slice* of
# the data), and how often it is right.
#
# Do short messages fail, as there is little in them to go by? And a guess that was not taken from the list: while sms-mini was
# written, a hundred of its messages were made hard on purpose, true notices that read like a scam's and scams in a friendly
# tone. **Predict** the share of right answers in each slice.

# %%
from helpers.data import load_messages
from helpers.measures import short_and_long

kinds = short_and_long(texts, tokenizer)
if CHOOSE_DATA == "sms-mini":
    path = course / "helpers" / "assets" / "sms-mini" / "topics.txt"
    topics = path.read_text(encoding="utf-8").splitlines()  # line i is the topic of message i
    topic_of = dict(zip(load_messages(CHOOSE_DATA)["Text"], topics, strict=True))
    is_hard = test["Text"].map(topic_of).str.startswith("hard-")
    kinds |= {"hard topics": is_hard, "the other topics": ~is_hard}
for name, chosen in kinds.items():
    print(f"{name}: {chosen.sum()} messages")

# %% tags=["nbval-ignore-output"]
from helpers.measures import shares_right
from helpers.pictures.verdict import draw_slices

slices = shares_right(test["Label"], p_spam, kinds)
draw_slices(slices)

# %%
if CHOOSE_DATA == "sms-mini":
    hard, others = slices[2:]
    assert hard.interval[1] < others.share

# %% [markdown]
# A dot is a share, the line through it its 95 % interval (Wilson 1927): of such intervals 19 in 20 hold the share on all
# messages of the kind.
#
# With the bundled pair short messages are right as often as longer ones: there are some among the mistakes because there are
# some among all. Of the hard ones about half are right. Eleven hard ones are few, and the interval is wide; still it ends below
# the others' share. What was written to mislead does mislead this classifier; how often exactly, eleven messages cannot tell.
# (`Dashboard(classifier, test, kinds=kinds)` shows these slices at every threshold.)

# %% [markdown]
# ## Sure, and wrong
#
# The *confidence* of an answer is the probability of the label that it names. **Predict:** what is it in the mean over all test
# messages? And where it is above 0.9, how often is the answer right?

# %% tags=["nbval-ignore-output"]
from helpers.measures import calibration_bins, expected_calibration_error, mean_confidence
from helpers.pictures.verdict import draw_reliability

bins = calibration_bins(test["Label"], p_spam)
error = expected_calibration_error(bins)
print(f"mean confidence {mean_confidence(p_spam):.1%}, right {accuracy:.1%}")
print(f"expected calibration error {error:.1%}")
assert mean_confidence(p_spam) > accuracy and 0.04 < error < 0.2
draw_reliability(bins)

# %% [markdown]
# This is a *reliability diagram* (Guo et al. 2017). Answers of like confidence share a bin: the bar says how often they are
# right, the circle how sure they were. Where both agree, a model is *calibrated*. The **expected calibration error** is the mean
# distance between the two, each bin weighing as much as it has messages.
#
# Most answers are in the last bin, with a confidence of about 99 % and about 89 % of them right: this model is *overconfident*.
# No wonder: the loss, −ln p, still falls when the answer to a training message is right already and only becomes surer. One
# number mends much of it: exercise 2.

# %% [markdown]
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
import numpy as np

correct = np.array(LABELS)[test["Label"]]
called = np.array(classifier.classify_many(texts))
accuracies, changes = [], []
for seed in range(5):
    generator = random.Random(seed)
    labels = np.array(classifier.classify_many([shuffled(text, generator) for text in texts]))
    accuracies.append((labels == correct).mean())
    changes.append((labels != called).sum())
mean_accuracy, mean_changes = sum(accuracies) / 5, sum(changes) / 5
print(f"accuracy: as written {accuracy:.1%}, shuffled {mean_accuracy:.1%} (mean of five)")
print(f"labels changed: {mean_changes:.0f} of {len(test)} (mean of five)")
print(f"size of chance: {mean_changes**0.5 / len(test):.1%}")
assert accuracy - 0.1 < mean_accuracy < accuracy + 0.05

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
# **1. A stricter filter.** (medium, 5 minutes) Call a message spam only if its probability is above 0.9. Of precision and
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
# **2. As sure as it is right.** (medium, 10 minutes) Divide all logits by one number, the *temperature*, before softmax: above
# 1, every answer becomes less sure, and no label changes. Which temperature gives the lowest loss on the validation messages?
# `loss_at(2)` is the loss at 2. Put the best, to one digit, in the place of `None`.

# %%
import warnings

from helpers.measures import cross_entropy

# some messages are longer than those of the training, and are cut
warnings.filterwarnings("ignore", message="the message has")
logits = classifier.logits(validation["Text"].tolist())  # (num_messages, 2)


def loss_at(temperature):
    return cross_entropy(validation["Label"], logits, temperature)


my_temperature = None

# %%
from helpers.exercises import check_temperature

check_temperature(my_temperature, validation["Label"], logits)

# %% [markdown]
# And on the test messages? **Predict** the mean confidence first.

# %%
from helpers.measures import spam_probabilities

if my_temperature is not None:
    p_scaled = spam_probabilities(classifier.logits(texts), my_temperature)
    assert ((p_scaled > 0.5) == (p_spam > 0.5)).all()  # no label has changed
    display(draw_reliability(calibration_bins(test["Label"], p_scaled)))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# for temperature in range(1, 9):
#     print(temperature, loss_at(temperature))
# ```
#
# With the bundled pair the loss is lowest at about 4. On the test messages the mean confidence falls from about 97 to 85 %,
# where 86 % are right, and the expected calibration error from about 11 to 7 %. This is *temperature scaling* (Guo et al. 2017).
# Why not on the training messages? They are nearly all right: they would ask for about 1.
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
# - A classifier is more than weights: tokenizer, length and position belong to it.
# - One accuracy hides two kinds of mistakes; precision and recall show them, and a threshold trades one for the other.
# - What tips an answer can be tried, token by token. That is no reason in a person's sense.
# - Mistakes suggest what the model fails on. Whether it is so, only a count tells, one that has the right answers, too.
# - A probability out of softmax says how sure the model is, not how often it is right.
# - Most of what this classifier goes by is which words occur, not their order.

# %% [markdown]
# This is the end of the path. From here: try the SMS Spam Collection, another size of GPT-2, or another plan (the last
# exercise of [6.7](06_7_fine_tuning.ipynb)). And if you wonder what the model knew before it met a single message: the
# appendix, [where the nano comes from](06_A_where_nano_comes_from.ipynb).
