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
# About 40 minutes. Figures are those of the bundled pair; with another choice expect others.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/gpt2-classification-course/blob/main/notebooks/06_8_using_the_classifier.ipynb)

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
# ## The classifier of section 6.7
#
# If section 6.7 has saved it, it is loaded; else it is trained now in the same way, in less than half a minute with the
# bundled pair.

# %% tags=["nbval-ignore-output"]
from workshop.fast import load_or_train

classifier = load_or_train("spam-classifier.safetensors", CHOOSE_MODEL, CHOOSE_DATA)

# %%
print(classifier.about["model"], "trained on", classifier.about["data"])

# %% [markdown]
# > **Write it: classify one message.** (easy, 7 minutes)
# >
# > All that the sections before have prepared, in one function: encode the text, cut it to `max_length` or pad it on the right
# > with 50256, ask the model, and name the larger logit of the *last* position. For ham the book says "not spam".
#
# <details><summary>A hint</summary>
#
# The row of ids is that of [6.3](06_3_data_loaders.ipynb). The model takes a batch, (1, max_length), and gives logits
# (1, max_length, 2).
#
# </details>
#
# <details><summary>A bigger hint</summary>
#
# First `model.eval()`, so that no dropout disturbs. Then `logits[0, -1].argmax()` is 1 for spam.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def my_classify(text, model, tokenizer, device, max_length):
#     ids = tokenizer.encode(text)
#     row = (ids + [50256] * (max_length - len(ids)))[:max_length]
#     model.eval()
#     with torch.no_grad():
#         logits = model(torch.tensor([row], device=device))  # (1, max_length, 2)
#     return "spam" if logits[0, -1].argmax() == 1 else "not spam"
# ```
#
# </details>

# %%
import torch


def my_classify(text: str, model: torch.nn.Module, tokenizer, device, max_length: int) -> str:
    """Return "spam" or "not spam".

    `model` takes token ids (1, max_length), on `device`, and returns logits
    (1, max_length, 2) of ham and spam. (The book's function is accepted as well.)
    """
    ...


# %%
from workshop.exercises import check_code

classify = check_code("6.8 classify", my_classify)

# %% [markdown]
# Two messages, and the course's own version:

# %%
from helpers.classify import classify_review
from workshop.exercises import show_source
from helpers.tokenizer import get_tokenizer

tokenizer = get_tokenizer()
text_1 = (
    "CONGRATULATIONS! You have been selected for a £500 voucher. Claim your free prize today."
)
text_2 = "Are we still on for dinner tonight? I can bring the dessert, let me know."

model, device, max_length = classifier.model, classifier.device, classifier.max_length
for text in (text_1, text_2):
    print(classify(text, model, tokenizer, device, max_length))
show_source(classify_review)

# %% [markdown]
# `SpamClassifier` keeps tokenizer and length, and gives probabilities. Put in messages of your own.

# %%
my_messages = [
    "WIN a FREE phone now!!! Txt YES to claim your prize",
    "ok see you at the station at six",
]
for text, (ham, spam) in zip(my_messages, classifier.probabilities(my_messages), strict=True):
    print(f"ham {ham:.2f}   spam {spam:.2f}   {text}")

# %% [markdown]
# ## Which words tip it?
#
# Leave out one token of a message after the other, and ask the classifier each time. By how much the answer moves is the
# token's *influence*: towards spam (+) or towards ham (−). It is the factor by which the token changes the *odds* of spam,
# p / (1 − p), or that factor's logarithm, in nats.

# %%
from workshop.inside import influence_on_spam, read_message
from workshop.widgets import predict

message = read_message(classifier, "Your free prize is waiting, call now")
influence = influence_on_spam(classifier, message).tolist()
by_token = dict(zip((token.strip("␣") for token in message.tokens), influence, strict=True))

predict(
    "6.8 a token that speaks for ham",
    min(("Your", "prize", "is", "now"), key=by_token.get),
)

# %% [markdown]
# In the **Message Microscope** press a token to leave it out, and again to bring it back, or type another message.

# %% tags=["nbval-ignore-output"]
from workshop.widgets import MessageMicroscope

a_scam = "Your account is blocked. Verify your card at northway-secure.example today."
microscope = MessageMicroscope(classifier, text=a_scam)
microscope

# %% [markdown]
# Is that *why*? Influence is about one token at a time: of two words that say the same, each alone seems to matter little. And
# *attention* is only a hint, to be tested (Jain and Wallace 2019; Wiegreffe and Pinter 2019).
#
# Choose block 5: there the padded end looks at the message, in the blocks below hardly at all. So after fewer blocks the head
# says nearly the same of every padded message.

# %% [markdown]
# ## Fool it
#
# A game: turn the scam into one that passes as ham, but still asks for the card, and the kindness into one that is called
# spam, with as few words changed as you can. What you find, a sender of spam finds as well.

# %%
a_scam = "Your account is blocked. Verify your card at northway-secure.example today."
a_kindness = "do you want my ticket for tonight? i can't go"

for message, aim in ((a_scam, "ham"), (a_kindness, "spam")):
    label = classifier.classify(message)
    print(f"{'fooled' if label == aim else 'not fooled'}: called {label}")


# %% [markdown]
# ## Where it errs
#
# A *confusion matrix* counts messages by correct and by called label. Spam let through is a nuisance, a friend's message
# thrown away a loss. Of all that was called spam, how much is spam? That is **precision**. Of all spam, how much was called
# spam? That is **recall**.

# %% [markdown]
# > **Write it: precision and recall.** (medium, 7 minutes)
# >
# > A message is called spam if its probability of spam is above the threshold. Return both shares; a share of nothing is `None`.
#
# <details><summary>A hint</summary>
#
# Both shares have the same count above the line: spam that was called spam.
#
# </details>
#
# <details><summary>A bigger hint</summary>
#
# `called = p_spam > threshold` and `labels == 1` are arrays of True and False; `&` joins them, and `.sum()` counts. Look
# whether a count is 0 before you divide by it.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def my_precision_recall(labels, p_spam, threshold):
#     called, is_spam = p_spam > threshold, labels == 1
#     found = int((called & is_spam).sum())
#     precision = found / int(called.sum()) if called.any() else None
#     recall = found / int(is_spam.sum()) if is_spam.any() else None
#     return precision, recall
# ```
#
# </details>


# %%
def my_precision_recall(labels, p_spam, threshold: float) -> tuple[float | None, float | None]:
    """Return (precision, recall), each 0 … 1, or None for a share of nothing.

    `labels` (num_messages,) are 0, ham, and 1, spam; `p_spam` (num_messages,) the probabilities of
    spam, 0 … 1. Both are numpy arrays.
    """
    ...


# %%
precision_and_recall = check_code("6.8 precision and recall", my_precision_recall)

# %%
from helpers.measures import Counts, counts_at

show_source(counts_at, Counts)

# %%
from helpers.data import load_splits

_, validation, test = load_splits(CHOOSE_DATA)
texts = test["Text"].tolist()
p_spam = classifier.probabilities(texts)[:, 1].numpy()  # (num_messages,)
print(f"{len(texts)} test messages, {test['Label'].sum()} of them spam")

# %% tags=["nbval-ignore-output", "key-figure"]
from workshop.pictures.verdict import draw_matrix

counts = counts_at(test["Label"], p_spam)
accuracy = counts.accuracy
precision, recall = precision_and_recall(test["Label"].to_numpy(), p_spam, 0.5)
print(f"test accuracy {accuracy:.1%}, precision {precision:.1%}, recall {recall:.1%}")
draw_matrix(counts)

# %%
assert accuracy > 0.75 and precision > 0.65 and recall > 0.65

# %% [markdown]
# A square is as large as its share of all messages. The graver mistake, ham called spam, is the more frequent one.

# %%
predict("6.8 a stricter threshold", given=p_spam)


# %% [markdown]
# In the **dashboard** the threshold can be moved; the curve shows precision against recall at all thresholds. Which would you
# want for your own inbox? Press a field to read its messages, the surest first, and one of them to see it in the microscope.


# %%
def look(text):
    microscope.text = text  # as if it were typed there


# %% tags=["nbval-ignore-output"]
from IPython.display import display

from workshop.widgets import Dashboard

display(Dashboard(classifier, test, on_message=look), microscope)

# %% [markdown]
# Three mistakes of each kind. What do they have in common? **Note down** a guess.

# %% tags=["nbval-ignore-output"]
from helpers.measures import field_at

for correct, called in (("ham", "spam"), ("spam", "ham")):
    for i in field_at(test["Label"], p_spam, 0.5, correct, called)[:3]:
        print(f"{correct} called {called}, p_spam {p_spam[i]:.2f}: {texts[i][:70]}")

# %% [markdown]
# ## Counting a guess
#
# A list of mistakes does not show what went right. So put a guess in a form that can be counted: a kind of message (a *slice*),
# and how often it is right. Do short messages fail, as there is little in them to go by? And, not taken from the list: a
# hundred messages of sms-mini were made hard on purpose, true notices that read like a scam's and scams in a friendly tone.

# %%
from helpers.data import load_messages
from helpers.measures import short_and_long

kinds = short_and_long(texts, tokenizer)
path = course / "helpers" / "assets" / "sms-mini" / "topics.txt"
topics = path.read_text(encoding="utf-8").splitlines()  # line i is the topic of message i
topic_of = dict(zip(load_messages("sms-mini")["Text"], topics, strict=True))
_, _, mini = load_splits("sms-mini")  # with any choice: the hard messages are there
is_hard = mini["Text"].map(topic_of).str.startswith("hard-")
kinds_of_mini = {"hard topics": is_hard, "the other topics": ~is_hard}
for name, chosen in (kinds | kinds_of_mini).items():
    print(f"{name}: {chosen.sum()} messages")

# %% [markdown]
# What you will see: a dot is a share, the line through it its 95 % interval (Wilson 1927). Of such intervals 19 in 20 hold the
# share on all messages of the kind.

# %% tags=["nbval-ignore-output"]
from helpers.measures import shares_right
from workshop.pictures.verdict import draw_slices

p_spam_mini = classifier.probabilities(mini["Text"].tolist())[:, 1]
by_length = shares_right(test["Label"], p_spam, kinds)
hard, others = shares_right(mini["Label"], p_spam_mini, kinds_of_mini)
share = "nine in ten as well" if hard.share > 0.82 else "three in four"
share = "about half" if hard.share < 0.67 else share

predict("6.8 hard on purpose", share, draw_slices([*by_length, hard, others]))

# %%
if CHOOSE_DATA == "sms-mini":
    assert hard.interval[1] < others.share

# %% [markdown]
# (`Dashboard(classifier, test, kinds=kinds)` shows these slices at every threshold.)
#
# ## Sure, and wrong
#
# The *confidence* of an answer is the probability of the label that it names. In a *reliability diagram* (Guo et al. 2017)
# answers of like confidence share a bin: the bar says how often they are right, the circle how sure they were. Where both
# agree, a model is *calibrated*. The **expected calibration error** is the mean distance between the two, each bin weighing
# as much as it has messages.

# %% tags=["nbval-ignore-output"]
from helpers.measures import calibration_bins, expected_calibration_error, mean_confidence
from workshop.pictures.verdict import draw_reliability

bins = calibration_bins(test["Label"], p_spam)
assert mean_confidence(p_spam) > accuracy and 0.04 < expected_calibration_error(bins) < 0.2

predict("6.8 sure and right", 100 * bins[-1].right, draw_reliability(bins))

# %% [markdown]
# ## Does it read the order of words?
#
# GPT-2 sees the words in their order; a method that counts words does not. Does our classifier make use of that?

# %%
import random


def shuffled(text, generator):
    words = text.split()
    generator.shuffle(words)
    return " ".join(words)


print(shuffled(text_1, random.Random(123)))

# %% tags=["nbval-ignore-output"]
generator = random.Random(123)
again = [shuffled(text, generator) for text in texts * 5]  # five other orders of each
is_spam = (classifier.probabilities(again)[:, 1].numpy() > 0.5).reshape(5, -1)
loss = 100 * (accuracy - (is_spam == test["Label"].to_numpy()).mean())
changes = (is_spam != (p_spam > 0.5)).sum() / 5
chance = 100 * changes**0.5 / len(test)
shown = (
    f"lost {loss:.1f} points; {changes:.0f} labels changed; size of chance {chance:.1f} points"
)
assert -5 < loss < 10
size = "less than 10" if loss < 10 else "10 to 25" if loss <= 25 else "more than 25"

predict("6.8 words in another order", size, shown)

# %% [markdown]
# From now on this test set is used up: if you change the model because of what you have seen here, you need new messages
# for the next verdict.
#
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
# > **1. A stricter filter.** (medium, 3 minutes) Call a message spam only if its probability is above 0.9. Of precision and
# > recall, which one cannot rise? Put "precision" or "recall" in the place of `None`.

# %%
my_answer = None

# %%
from workshop.exercises import check

check("6.8 a stricter filter", my_answer)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# my_answer = "recall"
# ```
#
# A higher bar can only lose spam that was found before. Precision usually rises, but need not. With the bundled
# pair it rises from about 81 to 86 %, and recall falls from about 89 to 86 %.
#
# </details>
#
# > **2. As sure as it is right.** (medium, 7 minutes) Divide all logits by one number, the *temperature*, before softmax: above
# > 1, every answer becomes less sure, and no label changes. Which one gives the lowest loss on the validation messages?
# > Try `loss_at(2)` and others. Put the best, to one digit, in the place of `None`.

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
check("6.8 the temperature", my_temperature, validation["Label"], logits)

# %% [markdown]
# And on the test messages?

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
# my_temperature = 4
# ```
#
# With the bundled pair the loss is lowest at about 4. On the test messages the mean confidence falls from about 97 to 85 %,
# where 86 % are right, and the expected calibration error from about 11 to 7 %. This is *temperature scaling* (Guo et al. 2017).
# Why not on the training messages? They are nearly all right: they would ask for about 1.
#
# </details>
#
# > **3. Nothing to say.** (easy, 2 minutes) What should a filter answer to an empty message? This one refuses:

# %%
try:
    classifier.classify("   ")
except ValueError as error:
    print(error)

# %% [markdown]
# ## Five questions
#
# <details><summary>1. What belongs to a classifier besides its weights?</summary>
#
# The tokenizer, the length to which messages are cut or padded, and the position that classifies.
#
# </details>
# <details><summary>2. Of which messages is precision a share, and of which is recall?</summary>
#
# Precision is a share of all that was called spam, recall of all that is spam.
#
# </details>
# <details><summary>3. Which of the two can a higher threshold never raise?</summary>
#
# Recall: nothing is called spam that was not called so before.
#
# </details>
# <details><summary>4. Why does a list of mistakes not show what a model fails on?</summary>
#
# It lacks the right answers. A kind may be among the mistakes only because it is frequent among all.
#
# </details>
# <details><summary>5. What does a temperature change, and what not?</summary>
#
# How sure the answers are. No label changes, so accuracy stays as well.
#
# </details>

# %%
from workshop.exercises import progress

progress("6.8")

# %% [markdown]
# ## What to take away
#
# - A classifier is more than weights: tokenizer, length and position belong to it.
# - Precision and recall show the two kinds of mistakes, and a threshold trades one for the other.
# - What tips an answer can be tried, token by token. That is no reason in a person's sense.
# - Mistakes suggest what the model fails on; only a count tells, one that has the right answers, too.
# - A probability out of softmax says how sure the model is, not how often it is right.

# %% [markdown]
# This is the end of the path. From here: the SMS Spam Collection, another size of GPT-2, or another plan (the last
# exercise of [6.D](06_D_caching_the_frozen_layers.ipynb)). And what did the model know before it met a single message? See the appendix,
# [where the nano comes from](06_C_where_nano_comes_from.ipynb).
