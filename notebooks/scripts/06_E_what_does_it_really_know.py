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
# # 6.E What does it really know?
#
# After this notebook you can measure a classifier on one kind of messages, and test whether it uses the order of words. You can
# also check whether its probabilities are right. Read [section 6.8](06_8_using_the_classifier.ipynb) first. This page is optional.
# About 18 minutes.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/gpt2-classification-course/blob/main/notebooks/06_E_what_does_it_really_know.ipynb)

# %% [markdown]
# Numbers in the text are for the bundled model and data. With other choices you will see other numbers.

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
# ## The classifier and its predictions
#
# We load the classifier of section 6.7, or train it if there is none, and classify the test messages.

# %% tags=["nbval-ignore-output", "key-figure"]
import warnings

from helpers.data import load_splits
from workshop.fast import load_or_train

warnings.filterwarnings("ignore", message="the message has")  # truncation
classifier = load_or_train(
    "spam-classifier.safetensors",
    CHOOSE_MODEL,
    CHOOSE_DATA,
)
_, validation, test = load_splits(CHOOSE_DATA)
texts, labels = test["Text"].tolist(), test["Label"].to_numpy()
p_spam = classifier.probabilities(texts)[:, 1].numpy()  # (num_messages,)
is_right = (p_spam > 0.5) == labels
print(f"test accuracy {is_right.mean():.1%}")

# %% [markdown]
# ## On which messages is it right?
#
# A list of mistakes does not show what went right. So turn a guess about the mistakes into something that you can count: select
# one kind of message (a *slice*) and compute its accuracy. A hundred messages of sms-mini are hard on purpose: true notices that
# read like a scam, and scams in a friendly tone. The file `topics.txt` has the topic of each message.

# %%
from helpers.data import SMS_MINI, load_messages

messages = load_messages("sms-mini")
topics = SMS_MINI.with_name("topics.txt").read_text("utf-8")
messages["Topic"] = topics.splitlines()

_, _, mini = load_splits("sms-mini")  # whatever was chosen above
mini = mini.merge(messages[["Text", "Topic"]], on="Text")
is_hard = mini["Topic"].str.startswith("hard-")
print(f"{is_hard.sum()} of {len(mini)} test messages are hard")

# %% [markdown]
# In the figure below the next question, each dot is an accuracy and each line its 95 % [confidence interval](../site/pages/glossary.md) (Wilson
# 1927). About 19 of 20 such intervals contain the accuracy on all messages of this kind.

# %% tags=["nbval-ignore-output"]
from helpers.measures import shares_right, short_and_long
from workshop.pictures.verdict import draw_slices
from workshop.widgets import predict

p_mini = classifier.probabilities(mini["Text"])[:, 1].numpy()
kinds = {"hard messages": is_hard, "other messages": ~is_hard}
hard, others = shares_right(mini["Label"], p_mini, kinds)

kinds_of_length = short_and_long(texts, classifier.tokenizer)
by_length = shares_right(labels, p_spam, kinds_of_length)
figure = draw_slices([hard, others, *by_length])
predict("6.E hard on purpose", given=(hard, others), show=figure)

# %% [markdown]
# The figure also shows whether short messages, which contain less information, are harder. Add a kind of your own:
# `kinds` holds True or False for each message.
#
# ## Does it use the order of words?
#
# GPT-2 has [positional embeddings](../site/pages/glossary.md), so it can use the order. A [bag of words](../site/pages/glossary.md) cannot. We put the words of each message
# into five random orders.

# %%
import random


def shuffled(text, generator):
    words = text.split()
    generator.shuffle(words)
    return " ".join(words)


generator = random.Random(123)
print(shuffled("Can we meet at six instead of five?", generator))

# %% tags=["nbval-ignore-output"]
all_shuffled = [shuffled(text, generator) for text in texts * 5]
p_shuffled = classifier.probabilities(all_shuffled)[:, 1].numpy()
p_shuffled = p_shuffled.reshape(5, -1)  # (num_orders, num_messages)

is_right_shuffled = (p_shuffled > 0.5) == labels
predict(
    "6.E words in another order",
    given=(is_right, is_right_shuffled),
)

# %% [markdown]
# ## Confidence and accuracy
#
# The *[confidence](../site/pages/glossary.md)* of a prediction is the probability of the predicted label. A classifier is *[calibrated](../site/pages/glossary.md)* if, of all
# predictions with a confidence of 80 %, about 80 % are correct. For comparison we train the model again and keep the
# weights of the *last* epoch.

# %% tags=["nbval-ignore-output"]
import torch

from helpers.classify import SpamClassifier
from helpers.data import create_dataloaders
from helpers.freezing import FreezePlan, replace_head
from helpers.loading import load_pretrained
from helpers.measures import calibration_bins
from helpers.training import TrainingSettings
from workshop.fast import fine_tune
from workshop.pictures.verdict import draw_reliability

train_loader, val_loader, _ = create_dataloaders(CHOOSE_DATA)
model = load_pretrained(CHOOSE_MODEL)
torch.manual_seed(123)
replace_head(model)
fine_tune(
    model,
    train_loader.dataset,
    val_loader.dataset,
    FreezePlan.book(model.cfg["n_layers"]),
    TrainingSettings.for_model(CHOOSE_MODEL),
    keep="last",
)
last_classifier = SpamClassifier(model, classifier.max_length)
p_last = last_classifier.probabilities(texts)[:, 1].numpy()
figure = draw_reliability(calibration_bins(labels, p_last))
predict(
    "6.E best or last epoch",
    given=(labels, p_spam, p_last),
    show=figure,
)

# %% [markdown]
# The figure is a *reliability diagram* of the last epoch. It groups predictions of similar confidence into bins. Each bar is the
# accuracy in a bin, each circle the mean confidence. The *expected calibration error* is the mean difference between bar and
# circle, weighted by the number of messages in each bin (Guo et al. 2017). scikit-learn has
# [more on calibration](https://scikit-learn.org/stable/modules/calibration.html).

# %% [markdown]
# ## Try it
#
# > **1. Calibrate.** (medium, 7 minutes) Divide all logits by one number, the *[temperature](../site/pages/glossary.md)*, before softmax. Above 1, every
# > prediction becomes less confident, and no label changes. Which temperature has the lowest loss on the validation messages?
# > Try `loss_at(2)` and other values. One decimal is enough.

# %%
from helpers.measures import cross_entropy

logits = last_classifier.logits(validation["Text"])  # (num_messages, 2)


def loss_at(temperature):
    return cross_entropy(validation["Label"], logits, temperature)


my_temperature = None

# %%
from workshop.exercises import check

check("6.E the temperature", my_temperature, validation["Label"], logits)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# candidates = [tenths / 10 for tenths in range(5, 100)]
# my_temperature = min(candidates, key=loss_at)
# ```
#
# This is *temperature scaling* (Guo et al. 2017). Training messages are not suitable: almost all of them are classified correctly, so
# their best temperature is too low.
#
# </details>
#
# And on the test messages? The loss is the fairest measure, because the calibration error depends on the bins.

# %%
from helpers.measures import mean_confidence, spam_probabilities

if my_temperature is None:
    print("Not answered yet. Set my_temperature first.")
else:
    test_logits = last_classifier.logits(texts)
    for temperature in (1, my_temperature):
        p_scaled = spam_probabilities(test_logits, temperature)
        loss = cross_entropy(labels, test_logits, temperature)
        confidence = mean_confidence(p_scaled)
        right = ((p_scaled > 0.5) == labels).mean()
        print(f"temperature {temperature}: loss {loss:.2f}")
        print(f"  confidence {confidence:.1%}, accuracy {right:.1%}")

# %% [markdown]
# These test messages are used up now. If you change the model because of what you have seen here, you need new messages for the
# next measurement.

# %% [markdown]
# ## Two questions
#
# <details><summary>1. Why does a temperature not change the accuracy?</summary>
#
# Both logits are divided by the same positive number, so the larger one stays the larger one.
#
# </details>
# <details><summary>2. Why do the weights of the last epoch often give probabilities that are too high?</summary>
#
# When the training messages are classified correctly, their loss can fall only by higher confidence.
#
# </details>

# %%
from workshop.exercises import progress

progress("6.E")

# %% [markdown]
# ## What to take away
#
# - To find out where a model is weak, count the correct predictions as well as the mistakes.
# - Shuffle the words, and you see how much a classifier depends on their order.
# - The probabilities of softmax say how confident a model is, not how often it is right. A temperature corrects much of this.
#
# Back to [6.8](06_8_using_the_classifier.ipynb), or on to [your own texts](../site/pages/own_texts.md).
