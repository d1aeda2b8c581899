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
# After this notebook you can classify your own messages, save the classifier, test which tokens change a prediction, and
# choose a threshold. Read [section 6.7](06_7_fine_tuning.ipynb) first. About 35 minutes.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/gpt2-classification-course/blob/main/notebooks/06_8_using_the_classifier.ipynb)

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
# ## The classifier of section 6.7
#
# If section 6.7 saved its classifier, the next cell loads it. Otherwise it is trained now, in the same way, in less than half a
# minute. The weights are those of the epoch with the lowest validation loss. Is the model better than predicting the [majority class](../site/pages/glossary.md)?

# %% tags=["nbval-ignore-output"]
import warnings

from helpers.data import load_splits
from workshop.fast import load_or_train

path = "spam-classifier.safetensors"
classifier = load_or_train(path, CHOOSE_MODEL, CHOOSE_DATA)

_, validation, test = load_splits(CHOOSE_DATA)
warnings.filterwarnings("ignore", message="the message has")  # truncation
p_spam = classifier.probabilities(validation["Text"])[:, 1].numpy()
labels = validation["Label"].to_numpy()  # 0 is ham, 1 is spam
accuracy = ((p_spam > 0.5) == labels).mean()
majority = max(labels.mean(), 1 - labels.mean())

print(f"{classifier.about['model']} fine-tuned on {classifier.about['data']}")
print(f"validation accuracy {accuracy:.1%}, majority class {majority:.1%}")
if accuracy <= majority:
    print(f"This model is not trained. Delete {path}, then run all")
    print("cells of section 6.7 again, from top to bottom.")

# %% [markdown]
# (The file also says how the classifier was trained. If the model, the messages or the settings are not those of section 6.7, you
# see a warning, and another classifier is trained for this page.)
#
# ## Classifying a message
#
# > **Write it: classify one message.** (easy, 7 minutes)
# >
# > Encode the text, truncate it to `max_length` or pad it on the right with 50256, and run the model. Return the label with
# > the larger logit at the *last* position. For ham the book returns "not spam".
#
# <details><summary>A hint</summary>
#
# The token ids are prepared as in [6.3](06_3_data_loaders.ipynb). The model takes a batch, (1, max_length), and returns logits
# (1, max_length, 2).
#
# </details>
#
# <details><summary>A bigger hint</summary>
#
# First call `model.eval()`, to switch dropout off. `logits[0, -1].argmax()` is 1 for spam.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def my_classify(text, model, tokenizer, device, max_length):
#     ids = tokenizer.encode(text)
#     ids = (ids + [50256] * (max_length - len(ids)))[:max_length]
#     model.eval()
#     with torch.no_grad():
#         logits = model(torch.tensor([ids], device=device))
#     return "spam" if logits[0, -1].argmax() == 1 else "not spam"
# ```
#
# </details>

# %%
import torch


def my_classify(text, model: torch.nn.Module, tokenizer, device, max_length):
    """Return "spam" or "not spam".

    `model` takes token ids (1, max_length), on `device`, and returns logits
    (1, max_length, 2) of ham and spam. (The book's function is accepted.)
    """
    ...


# %%
from workshop.exercises import check_code

classify = check_code("6.8 classify", my_classify)

# %% [markdown]
# `classify` is your function if it passed, and the course's otherwise. Add messages of your own.

# %%
from helpers.tokenizer import get_tokenizer

tokenizer = get_tokenizer()
text_1 = "CONGRATULATIONS! You have been selected for a £500 voucher."
text_1 += " Claim your free prize today."
text_2 = "Are we still on for dinner tonight? I can bring the dessert."


def label_of(text):
    model, length = classifier.model, classifier.max_length
    return classify(text, model, tokenizer, classifier.device, length)


for text in (text_1, text_2, "ok see you at the station at six"):
    print(label_of(text))

# %% [markdown]
# The book's printed code reads the [context length](../site/pages/glossary.md) from
# `pos_emb.weight.shape[1]`, which is the embedding dimension. It [should
# be `shape[0]`](../site/pages/questions.md#which-line-of-the-printed-classify_review-is-wrong).

# %%
from helpers.classify import classify_review
from workshop.exercises import show_source

show_source(classify_review)

# %% [markdown]
# ## Saving and loading
#
# Besides its weights, a classifier needs the length to which messages are padded, the position that classifies, and the
# tokenizer. `SpamClassifier.save` writes all that into one file, and `load` reads it, also in a program of your own.

# %%
import tempfile

from helpers.classify import SpamClassifier

with tempfile.TemporaryDirectory() as folder:
    file = classifier.save(Path(folder) / "my-classifier.safetensors")
    loaded = SpamClassifier.load(file)
print(loaded.classify_many([text_1, text_2]))
for ham, spam in loaded.probabilities([text_1, text_2]):
    print(f"ham {ham:.1f}   spam {spam:.1f}")

# %% [markdown]
# <details><summary>I saved <code>review_classifier.pth</code> with the book's code. Can I use it here?</summary>
#
# Yes. [Questions of readers](../site/pages/questions.md#can-i-load-a-classifier-that-the-code-of-the-book-saved) has the code.
#
# </details>

# %% [markdown]
# ## Which tokens change the prediction?
#
# Leave out one token and classify again. How much the prediction changes is the token's *influence*. It is the logarithm of the
# factor by which the token multiplies the *odds* of spam, p / (1 − p): positive towards spam, negative towards ham.

# %% tags=["nbval-ignore-output"]
from workshop.widgets import predict

text = "Your free prize is waiting, call now"
predict("6.8 leaving out a token", given=(classifier, text))

# %% [markdown]
# In the **Message Microscope**, click a token to leave it out, or type another message.

# %% tags=["nbval-ignore-output"]
from workshop.widgets import MessageMicroscope

a_scam = "Your account is blocked."
a_scam += " Verify your card at northway-secure.example today."
microscope = MessageMicroscope(classifier, text=a_scam)
microscope

# %% [markdown]
# Does this explain *why*? Not quite. If two words say the same, each of them seems unimportant, because the other one is still
# there. *Attention weights*, below the tokens, are only a hint (Jain and Wallace 2019; Wiegreffe and Pinter 2019).

# %% [markdown]
# > **Fool the classifier.** (medium, 5 minutes)
# >
# > Change the scam so that it is classified as ham but still asks for the card. Change the friendly message so that it is
# > classified as spam. Use few new words. (A spammer can find the same tricks.)

# %%
a_friend = "do you want my ticket for tonight? i can't go"
my_scam = a_scam
my_friend = a_friend

for mine, original in ((my_scam, a_scam), (my_friend, a_friend)):
    num_new = len(set(mine.split()) - set(original.split()))
    print(f"{label_of(mine)}, {num_new} new words: {mine}")


# %% [markdown]
# ## Precision and recall
#
# A *[false negative](../site/pages/glossary.md)*, spam that gets through, is annoying. A *[false
# positive](../site/pages/glossary.md)*, a friend's message that is filtered out, is worse. Two numbers tell them apart:
#
# - *[Precision](../site/pages/glossary.md)*: the fraction of the messages predicted as spam that is spam.
# - *[Recall](../site/pages/glossary.md)*: the fraction of the spam that is predicted as spam.
#
# [scikit-learn](https://scikit-learn.org/stable/modules/model_evaluation.html#precision-recall-f-measure-metrics) has both, too.

# %% [markdown]
# > **Write it: precision and recall.** (medium, 7 minutes)
# >
# > A message is predicted as spam if its probability of spam is above the *[threshold](../site/pages/glossary.md)*. Return precision and recall, or
# > `None` in place of a fraction whose denominator is 0.
#
# <details><summary>A hint</summary>
#
# Both fractions have the same numerator: the number of spam messages that are predicted as spam (*true positives*).
#
# </details>
#
# <details><summary>A bigger hint</summary>
#
# `predicted = p_spam > threshold` and `labels == 1` are arrays of True and False. `&` combines them, and `.sum()` counts. Check
# whether a denominator is 0 before you divide.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def my_precision_recall(labels, p_spam, threshold):
#     predicted, is_spam = p_spam > threshold, labels == 1
#     true_positives = (predicted & is_spam).sum()
#     precision = true_positives / predicted.sum() if predicted.any() else None
#     recall = true_positives / is_spam.sum() if is_spam.any() else None
#     return precision, recall
# ```
#
# </details>


# %%
def my_precision_recall(labels, p_spam, threshold):
    """Return (precision, recall), each from 0 to 1, or None.

    `labels` (num_messages,) are 0 for ham and 1 for spam; `p_spam`
    (num_messages,) are the probabilities of spam. Both are numpy arrays.
    """
    ...


# %%
precision_recall = check_code("6.8 precision and recall", my_precision_recall)

# %% [markdown]
# Here is the *[confusion matrix](../site/pages/glossary.md)* of the validation messages, by true and predicted label. The area of each square shows its
# fraction of the messages.

# %% tags=["nbval-ignore-output", "key-figure"]
from helpers.measures import counts_at
from workshop.pictures.verdict import draw_matrix, percent

precision, recall = precision_recall(labels, p_spam, 0.5)
print(f"precision {percent(precision)}, recall {percent(recall)}")
draw_matrix(counts_at(labels, p_spam))

# %% [markdown]
# ## Try it
#
# > **1. A stricter filter.** (easy, 2 minutes) We predict spam only if its probability is above 0.9 instead of 0.5. Which
# > cannot increase, precision or recall? Replace `None` with "precision" or "recall".

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
# A higher threshold adds no message to those predicted as spam, so it can only lose spam. Precision usually increases.
#
# </details>

# %% [markdown]
# > **2. A filter for your inbox.** (medium, 5 minutes) Move the threshold in the **dashboard**. Click a field to list its messages,
# > the most confident first; a click on a message shows it in the Microscope above. What do the mistakes have in common? Then
# > find the lowest threshold, from 0.5 in steps of 0.01, at which no ham is predicted as spam.

# %% tags=["nbval-ignore-output"]
from workshop.widgets import Dashboard


def show_in_microscope(text):
    microscope.text = text  # the one above


Dashboard(classifier, validation, on_message=show_in_microscope)

# %%
my_threshold = None

# %%
check("6.8 a threshold", my_threshold, labels, p_spam)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# my_threshold = 0.5
# while (p_spam[labels == 0] > my_threshold).any():
#     my_threshold = round(my_threshold + 0.01, 2)
# ```
#
# </details>
#
# The threshold was chosen with the validation messages, so their precision is too high an estimate. The test messages give a
# fair one:

# %%
if my_threshold is None:
    print("Not answered yet. Set my_threshold first.")
else:
    p_test = classifier.probabilities(test["Text"])[:, 1].numpy()
    test_labels = test["Label"].to_numpy()
    for threshold in (0.5, my_threshold):
        both = precision_recall(test_labels, p_test, threshold)
        precision, recall = map(percent, both)
        print(f"{threshold}: precision {precision}, recall {recall}")

# %% [markdown]
# ## Two questions
#
# <details><summary>1. What does a classifier need besides its weights?</summary>
#
# It needs the tokenizer, the length to which messages are padded or truncated, and the position that classifies.
#
# </details>
# <details><summary>2. Why does a list of mistakes not show where a model is weak?</summary>
#
# The list lacks the correct predictions. A kind of message may be frequent among the mistakes only because it is frequent
# among all messages.
#
# </details>

# %%
from workshop.exercises import progress

progress("6.8")

# %% [markdown]
# ## What to take away
#
# - A classifier consists of weights, tokenizer, length and position. Save them together.
# - You can test token by token what changes a prediction. That does not fully explain why the model predicts it.
# - Precision and recall count the two kinds of mistakes. With a higher threshold, precision
#   usually increases and recall decreases. Choose the threshold with validation data.
#
# This is the end of the chapter. [6.E](06_E_what_does_it_really_know.ipynb) tests what the classifier has learned.
# [Questions of readers](../site/pages/questions.md) are about other models and other numbers. Next:
# [6.A, your own texts](06_A_your_own_texts.ipynb).
