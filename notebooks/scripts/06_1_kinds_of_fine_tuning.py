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
# After this notebook you can explain what classification fine-tuning is and how it differs from instruction fine-tuning. You
# need chapters 2 to 5 of the book. The [glossary](../site/pages/glossary.md) explains the terms in italics. About 11 minutes.
#
# The second cell selects the data and the model: here the bundled *nano*, a very small GPT-2.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/gpt2-classification-course/blob/main/notebooks/06_1_kinds_of_fine_tuning.ipynb)

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
# ## Can a pretrained model classify?
#
# GPT-2 was *[pretrained](../site/pages/glossary.md)* on a large amount of text: it was trained to predict the next
# *[token](../site/pages/glossary.md)*, a word or a part of a word. Choose an answer, then click Commit.

# %%
from helpers.loading import load_pretrained
from helpers.model import generate_text_simple
from helpers.tokenizer import text_to_token_ids, token_ids_to_text

model = load_pretrained(CHOOSE_MODEL)


def continue_text(prompt):
    """Return the prompt followed by the model's continuation."""
    token_ids = generate_text_simple(
        model, text_to_token_ids(prompt), max_new_tokens=12, context_size=1024
    )
    return token_ids_to_text(token_ids)


# %%
from workshop.widgets import predict

prompt = "Is the following message spam? Answer yes or no. "
prompt += "Message: You won a free phone! Answer:"
continued = continue_text(prompt)
predict(
    "6.1 what the pretrained model answers",
    given=(prompt, continued),
    show=continued,
)

# %% [markdown]
# ## Classification and instruction fine-tuning
#
# *[Fine-tuning](../site/pages/glossary.md)* continues the training on a smaller, task-specific dataset.
#
# | | classification | instructions |
# | --- | --- | --- |
# | output | one of a few classes | a text |
# | training example | a message and its *[label](../site/pages/glossary.md)* | a request and a good answer |
# | handles | one task | many tasks |
# | data and time | little | much more |
#
# This course covers classification. The classes are *spam* and *[ham](../site/pages/glossary.md)*, which are legitimate messages.
#
# ## What changes in the model
#
# For each token the pretrained model outputs one number per token of its *[vocabulary](../site/pages/glossary.md)*. A spam filter needs one
# output per class.

# %% tags=["key-figure"]
from helpers.data import LABELS

before, after = model.out_head.out_features, len(LABELS)
print(f"outputs for each token: {before:,} before fine-tuning, {after} after")

# %% [markdown]
# So the last layer, the *[head](../site/pages/glossary.md)*, is replaced. Most other layers keep their weights.
#
# - A *[parameter](../site/pages/glossary.md)* (or *weight*) is a number that training can change.
# - A *[block](../site/pages/glossary.md)* contains *[attention](../site/pages/glossary.md)* and a *[feed-forward network](../site/pages/glossary.md)*.
# - A *[layer norm](../site/pages/glossary.md)* rescales the vector of each token.

# %%
from helpers.config import gpt_config
from helpers.freezing import FreezePlan, parameter_report
from workshop.pictures.model import draw_classifier

book = FreezePlan.book(12)  # the book's choice for a model of 12 blocks
report = parameter_report(gpt_config("gpt2-small (124M)"), book)
predict(
    "6.1 the trained percentage",
    report.percent,
    show=draw_classifier(report),
)

# %% [markdown]
# ## What the notebooks cover
#
# As in the book, there are three stages: the data ([6.2](06_2_preparing_the_data.ipynb),
# [6.3](06_3_data_loaders.ipynb)), the model ([6.4](06_4_pretrained_weights.ipynb),
# [6.5](06_5_classification_head.ipynb), [6.6](06_6_loss_and_accuracy.ipynb)) and the training
# ([6.7](06_7_fine_tuning.ipynb), [6.8](06_8_using_the_classifier.ipynb)).
#
# ## Try it
#
# > **1. Which of these are classification tasks?** (easy, 3 minutes) Replace `None` with a set of letters, such as
# > `{"a", "b"}`.
#
# - a: say whether a review is good, bad or mixed
# - b: translate a recipe
# - c: name the language of a text
# - d: summarise a report
# - e: sort articles into politics, sport and culture

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
# Each answer is one of a short, fixed list. Translating and summarising require generating text, which is what
# instruction fine-tuning is for.
#
# </details>
#
# > **2. Ask something else.** (easy, 2 minutes) Does the model ever answer your question?

# %%
print(continue_text("What is the capital of France?"))

# %% [markdown]
# <details><summary>What you may see</summary>
#
# The model continues your text, and the continuation may happen to be an answer. `<|endoftext|>` is a *special token* that
# separates texts in the training data: after it another text begins.
#
# </details>

# %% [markdown]
# ## Two questions
#
# <details><summary>1. A shop sorts e-mails into complaints, orders and questions. Which kind of fine-tuning fits, and how many outputs does the head need?</summary>
#
# Classification fine-tuning fits, because each e-mail gets one of three labels. The head needs three outputs.
#
# </details>
# <details><summary>2. What does it mean that most of the model is frozen?</summary>
#
# Training does not change these parameters. They keep the values from pretraining.
#
# </details>

# %%
from workshop.exercises import progress

progress("6.1")

# %% [markdown]
# ## What to take away
#
# - Pretraining trains a model to continue texts, not to answer questions.
# - Classification fine-tuning trains it to select one of a few classes. Only the output layer has to be replaced.
#
# Next: [6.2, preparing the data](06_2_preparing_the_data.ipynb).
