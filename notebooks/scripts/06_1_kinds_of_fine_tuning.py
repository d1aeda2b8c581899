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
# # 6.1 Two kinds of fine-tuning
#
# After this notebook you can say what fine-tuning for classification is, how it differs from fine-tuning for
# instructions, and what the seven other notebooks of this course will do.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/gpt2-classification-course/blob/main/notebooks/06_1_kinds_of_fine_tuning.ipynb)

# %% [markdown]
# GPT-2 was *pretrained*: it read a great deal of text, and at every place it had to guess the next *token*, a word or a
# piece of one. *Fine-tuning* takes such a model and trains it a little further, on a small set of examples, for one
# purpose. There are two common kinds.
#
# | | classification fine-tuning | instruction fine-tuning |
# | --- | --- | --- |
# | the model answers with | one of a few fixed classes | a text |
# | an example of training | a message and its label, "spam" | a request and a good answer |
# | it can do afterwards | this one task | many tasks that can be put in words |
# | data and time needed | little | much more |

# %% [markdown]
# This course does the first. A classifier can only say what it was trained to say: a spam filter says "spam" or "ham"
# (the old joke name for mail that is wanted) and nothing about the weather. That is why it can be small and quick.

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
# ## Why not just ask?
#
# Could we not ask the pretrained model whether a message is spam? **Predict** what it will answer, then run the cell.
# (What these few lines do is explained in section 6.4.)

# %%
from helpers.loading import load_pretrained
from helpers.model import generate_text_simple
from helpers.tokenizer import text_to_token_ids, token_ids_to_text

model = load_pretrained(CHOOSE_MODEL)

question = (
    "Is the following message spam? Answer yes or no. Message: You won a free phone! Answer:"
)
token_ids = generate_text_simple(
    model, text_to_token_ids(question), max_new_tokens=12, context_size=1024
)
print(token_ids_to_text(token_ids))

# %% [markdown]
# It does not answer. It writes what usually *follows* such a text, because that is all it has learned: the bundled
# nano has read many e-mails (wanted and unwanted), and goes on as e-mails do. One prompt proves little, and larger
# pretrained models sometimes answer. But to answer reliably, a model is usually fine-tuned on instructions; and to sort
# reliably, on labels.

# %% [markdown]
# ## What changes in the model
#
# For each token that goes in, the pretrained model puts out one number for every token of its vocabulary. A classifier
# puts out one number for every class.

# %% tags=["key-figure"]
vocabulary, classes = model.out_head.out_features, 2
print(f"outputs for each token: {vocabulary:,} before, {classes} after")

# %% [markdown]
# The rest keeps its shape, and most of it keeps its weights, too. Four words for the picture below:
#
# - a *parameter* is a number in the model that training can change; many of them are called *weights*;
# - a *block* first lets each token gather information from earlier tokens (*attention*), then reworks each token by
#   itself (*feed-forward*); GPT-2 124M stacks twelve of them;
# - a *layer norm* rescales each token's numbers, which keeps training stable;
# - the *head* is the last layer, the one that gives the answer.

# %% [markdown]
# The picture shows GPT-2 124M as the course will fine-tune it, from the bottom, where the tokens go in, to the head at
# the top. Blue boxes with a dashed border and a snowflake ❄ are *frozen*: they stay as they are. Orange ones with a
# pencil ✎ are trained: one block of twelve, the last layer norm and the head, 5.70 % of the parameters.

# %%
from helpers.diagrams import figure_6_12

figure_6_12()

# %% [markdown]
# ## The map
#
# | notebook | what you do there |
# | --- | --- |
# | 6.1 | tell the two kinds of fine-tuning apart (you are here) |
# | [6.2](06_2_preparing_the_data.ipynb) | get messages, balance ham and spam, split them in three |
# | [6.3](06_3_data_loaders.ipynb) | turn messages into equally long rows of token ids, in batches |
# | [6.4](06_4_pretrained_weights.ipynb) | read a GPT-2 checkpoint and let the model write |
# | [6.5](06_5_classification_head.ipynb) | exchange the head, freeze the rest, get two probabilities |
# | [6.6](06_6_loss_and_accuracy.ipynb) | measure how good the classifier is: not at all, yet |
# | [6.7](06_7_fine_tuning.ipynb) | train it and watch loss and accuracy |
# | [6.8](06_8_using_the_classifier.ipynb) | classify your own messages, see its mistakes, save and load it |
#
# Each notebook runs alone, so you can start anywhere; in order they are a path. 6.5 is the heart.

# %% [markdown]
# ## Try it
#
# **Which of these are classification?** (easy, 3 minutes) Put the letters into the set, such as `{"a", "b"}`.
#
# - a: say whether a review is good, bad or mixed
# - b: translate a recipe
# - c: name the language that a text is written in
# - d: shorten a letter to three sentences
# - e: sort newspaper articles into politics, sport and culture

# %%
my_answer = None

# %%
from helpers.exercises import check

check(
    my_answer,
    {"a", "c", "e"},
    "A classifier picks from a list that is fixed beforehand; it does not write.",
)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `{"a", "c", "e"}`: each answer is one from a short, fixed list. Translating and shortening need new text, which is a
# matter for instruction fine-tuning.
#
# </details>

# %% [markdown]
# ## What to take away
#
# - Pretraining teaches a model to continue texts; it does not teach it to answer.
# - Classification fine-tuning teaches it to pick one of a few classes: little data, one task.
# - Only the output layer has to change; most of the rest can stay frozen.
#
# Next: [6.2, preparing the data](06_2_preparing_the_data.ipynb).
