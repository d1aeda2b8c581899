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
# instructions, and what this course will do. About 10 minutes.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/gpt2-classification-course/blob/main/notebooks/06_1_kinds_of_fine_tuning.ipynb)

# %% [markdown]
# The first cell makes the course's `helpers` importable; in Colab it fetches them first. The second holds two choices:
# figures are those of the *bundled* pair, the nano, a very small GPT-2 trained for this course, and sms-mini, 1,000
# messages written for it; with another choice expect others.

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
# GPT-2 was *pretrained*: it read a great deal of text, and at every place it had to guess the next *token*, a word or a
# piece of one. Can such a model sort messages? Guess, press Commit, and see.

# %%
from helpers.loading import load_pretrained
from helpers.model import generate_text_simple
from helpers.tokenizer import text_to_token_ids, token_ids_to_text

model = load_pretrained(CHOOSE_MODEL)


def goes_on(text):
    """Return a text and what the model writes behind it: section 6.4 explains how."""
    return token_ids_to_text(generate_text_simple(model, text_to_token_ids(text), 12, 1024))


# %%
from workshop.widgets import predict

question = (
    "Is the following message spam? Answer yes or no. Message: You won a free phone! Answer:"
)
whole = goes_on(question)
written = whole.removeprefix(question).strip().lower()
begins = next((word for word in ("yes", "no") if written.startswith(word)), "something else")

predict("6.1 what the pretrained model answers", f"with {begins}", whole)

# %% [markdown]
# ## Two kinds
#
# *Fine-tuning* trains such a model a little further, on few examples, for one purpose.
#
# | | classification | instructions |
# | --- | --- | --- |
# | answers | one of a few classes | a text |
# | example | a message and its label, "spam" | a request and a good answer |
# | can do | one task | many tasks |
# | needs | little data and time | much more |
#
# This course does the first. A spam filter says "spam" or "ham" (the old joke name for wanted mail) and nothing else: it
# can be small and quick.

# %% [markdown]
# ## What changes in the model

# %% tags=["key-figure"]
print(f"outputs for each token: {model.out_head.out_features:,} before fine-tuning")

# %%
from helpers.data import LABELS

predict("6.1 outputs of a classifier", len(LABELS))

# %% [markdown]
# The rest keeps its shape, and most of it its weights. Four words:
#
# - a *parameter* is a number that training can change; many are called *weights*;
# - a *block* first lets each token gather information from earlier ones (*attention*), then reworks each by itself
#   (*feed-forward*);
# - a *layer norm* rescales each token's numbers, which keeps training stable;
# - the *head* is the last layer, which gives the answer.

# %%
from helpers.config import gpt_config
from workshop.pictures.model import figure_6_12
from helpers.freezing import FreezePlan, parameter_report

report = parameter_report(gpt_config("gpt2-small (124M)"), FreezePlan.book(12))
predict("6.1 the share that is trained", report.percent, figure_6_12())

# %% [markdown]
# ## The map
#
# - [6.2](06_2_preparing_the_data.ipynb): get messages, balance them, split them in three
# - [6.3](06_3_data_loaders.ipynb): turn them into equally long rows of token ids
# - [6.4](06_4_pretrained_weights.ipynb): read a GPT-2 checkpoint and let the model write
# - [6.5](06_5_classification_head.ipynb): exchange the head, freeze the rest
# - [6.6](06_6_loss_and_accuracy.ipynb): measure how good the classifier is
# - [6.7](06_7_fine_tuning.ipynb): train it, watch loss and accuracy
# - [6.8](06_8_using_the_classifier.ipynb): classify your own messages, see its mistakes
#
# Each notebook runs alone; in order they are a path. 6.5 is the heart.

# %% [markdown]
# ## Try it
#
# > **1. Which of these are classification?** (easy, 3 minutes) Put the letters into the set, such as `{"a", "b"}`.
#
# - a: say whether a review is good, bad or mixed
# - b: translate a recipe
# - c: name the language that a text is written in
# - d: shorten a letter to three sentences
# - e: sort newspaper articles into politics, sport and culture

# %%
my_answer = None

# %%
from workshop.exercises import check

check("6.1 which are classification", my_answer)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# my_answer = {"a", "c", "e"}
# ```
#
# Each answer is one from a short, fixed list. Translating and shortening need new text: a matter for instruction
# fine-tuning.
#
# </details>
#
# > **2. Ask it something else.** (easy, 2 minutes)

# %%
print(goes_on("What is the capital of France?"))

# %% [markdown]
# ## Five questions
#
# <details><summary>1. What does a pretrained model do with a question?</summary>
#
# It goes on as such texts usually do.
#
# </details>
# <details><summary>2. What can a classifier answer?</summary>
#
# One of the few classes that it was trained for.
#
# </details>
# <details><summary>3. Which kind of fine-tuning needs more data?</summary>
#
# That for instructions.
#
# </details>
# <details><summary>4. How many outputs has the head of a spam filter, and what had it before?</summary>
#
# Two, one for every class; before, one for each of 50,257 tokens.
#
# </details>
# <details><summary>5. What does “frozen” mean?</summary>
#
# Training leaves these parameters as they are.
#
# </details>

# %%
from workshop.exercises import progress

progress("6.1")

# %% [markdown]
# ## What to take away
#
# - Pretraining teaches a model to continue texts; it does not teach it to answer.
# - Classification fine-tuning teaches it to pick one of a few classes: little data, one task.
# - Only the output layer has to change; most of the rest can stay frozen.
#
# Next: [6.2, preparing the data](06_2_preparing_the_data.ipynb).
