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
# # 6.7 Fine-tuning
#
# After this notebook you can train the classifier, read its loss curves and decide when to stop. You need to have read
# [6.5](06_5_classification_head.ipynb) and [6.6](06_6_loss_and_accuracy.ipynb). About 22 minutes.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/gpt2-classification-course/blob/main/notebooks/06_7_fine_tuning.ipynb)

# %% [markdown]
# The second cell below selects the model and the data. Numbers in the text are for the bundled ones, if no others are
# named.

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
# ## Setup
#
# The previous sections in a few lines: the data, the new head, and the *plan*, which says what is trained. Each training below
# starts with a new model and a new optimizer, so you can run its cell again.

# %%
import torch

from helpers.config import gpt_config
from helpers.data import create_dataloaders
from helpers.freezing import FreezePlan, replace_head
from helpers.loading import load_pretrained
from helpers.training import TrainingSettings, get_device

device = get_device()
settings = TrainingSettings.for_model(CHOOSE_MODEL)
plan = FreezePlan.book(gpt_config(CHOOSE_MODEL)["n_layers"])
train_loader, val_loader, test_loader = create_dataloaders(CHOOSE_DATA)


def new_model():
    """Return the pretrained model with a new head, not yet fine-tuned."""
    model = load_pretrained(CHOOSE_MODEL)
    torch.manual_seed(settings.seed)
    replace_head(model, num_classes=2)
    return plan.apply(model).to(device)


def new_optimizer(model):
    return torch.optim.AdamW(
        model.parameters(),
        lr=settings.lr,
        weight_decay=settings.weight_decay,
    )


print(f"learning rate {settings.lr}, weight decay {settings.weight_decay}")

# %% [markdown]
# ## One training step
#
# Training repeats one step:
#
# 1. Compute the loss of a batch.
# 2. `backward` computes the *[gradient](../site/pages/glossary.md)*: how the loss changes with each trainable weight.
# 3. The *[optimizer](../site/pages/glossary.md)* changes each weight a little, in the direction that lowers the loss.
#
# The book's optimizer, [AdamW](https://docs.pytorch.org/docs/stable/generated/torch.optim.AdamW.html), scales the step for
# each weight and makes the weights a little smaller (*[weight decay](../site/pages/glossary.md)*). The
# *[learning rate](../site/pages/glossary.md)* `lr` sets the size of all steps: 5e-5 in the book, and 20 times as much for
# the much smaller nano.

# %%
from helpers.training import calc_loss_batch
from workshop.widgets import predict

model = new_model()
calc_loss_batch(*next(iter(val_loader)), model, device).backward()
first, *_, last = model.trf_blocks
parts = model.tok_emb, first.ff.layers[0], last.ff.layers[0]
predict("6.7 gradient", given=([part.weight for part in parts],))


# %% [markdown]
# > **Write it: one training step.** (easy, 8 minutes)
# >
# > Take one step with a batch. Classify each message by the logits at the last position. Return the batch's mean loss
# > before the step, as a Python float.
#
# <details><summary>A hint</summary>
#
# Five things: reset the old gradients, compute the logits and the loss, compute the gradients, update the weights, return
# the loss. The optimizer does the first and the fourth.
#
# </details>
#
# <details><summary>A bigger hint</summary>
#
# `optimizer.zero_grad()` resets the gradients. `model(token_ids)[:, -1]` are the logits (b, 2), and
# `torch.nn.functional.cross_entropy(logits, labels)` is their mean loss. Then call `loss.backward()`, `optimizer.step()`
# and `loss.item()`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def my_training_step(model, token_ids, labels, optimizer):
#     optimizer.zero_grad()  # otherwise gradients add up over the batches
#     logits = model(token_ids)[:, -1]  # (b, 2)
#     loss = torch.nn.functional.cross_entropy(logits, labels)
#     loss.backward()
#     optimizer.step()
#     return loss.item()
# ```
#
# </details>


# %%
def my_training_step(model, token_ids, labels, optimizer):
    """Take one training step, and return the loss before it, in nats.

    token_ids (b, n) and labels (b,) are a batch, on the model's device.
    """
    ...


# %%
from workshop.exercises import check_code

training_step = check_code("6.7 training step", my_training_step)

# %% [markdown]
# ## Training
#
# `train_classifier_simple` is the book's loop; here it calls your step. Every 50 steps it prints the losses of 5 training
# and 5 validation batches, and after each *[epoch](../site/pages/glossary.md)* their accuracies.
#
# We run two epochs of it, which take less than half a minute. The book's five epochs follow below. For GPT-2 124M, use a
# CUDA GPU if you can.

# %% tags=["nbval-ignore-output"]
from helpers.training import train_classifier_simple

model = new_model()
optimizer = new_optimizer(model)
torch.manual_seed(settings.seed)
records = train_classifier_simple(
    model,
    train_loader,
    val_loader,
    optimizer,
    device,
    num_epochs=2,
    eval_freq=50,
    eval_iter=5,
    training_step=training_step,
)

# %%
from workshop.exercises import show_source

show_source(train_classifier_simple)

# %% [markdown]
# Both losses fall, but go up and down: 5 batches are only 40 messages. To decide anything, we need more.
#
# ## When to stop
#
# `film_of` takes the same steps as the book's loop, but measures *all* validation messages after each of five epochs. With
# `keep="best"`, the model ends with the weights of the epoch with the lowest validation loss. `film_of` needs less time: it
# [caches the output of the frozen layers](06_D_caching_the_frozen_layers.ipynb).

# %%
from dataclasses import replace

from helpers.classify import SpamClassifier
from workshop.fast import trained_from
from workshop.film import film_of

train_loader, val_loader, test_loader = create_dataloaders(CHOOSE_DATA)
train_set, val_set = train_loader.dataset, val_loader.dataset
model = new_model()
film = film_of(model, train_set, val_set, plan, settings, keep="best")

# what was done, even if you interrupt it
done = replace(settings, keep="best", epochs=len(film.frames) - 1)
classifier = SpamClassifier(
    model,
    max_length=train_set.max_length,
    about=trained_from(CHOOSE_MODEL, CHOOSE_DATA, done, plan),
)

# %%
predict("6.7 lowest validation loss", given=(film,))

# %% [markdown]
# The loss curves, as in the book:

# %%
from matplotlib import pyplot as plt

from helpers.training import plot_values

epochs = torch.arange(1, len(film.frames))
examples = epochs * len(train_loader) * train_loader.batch_size
plot_values(epochs, examples, film.train_losses, film.val_losses[1:])
plt.show()

# %% [markdown]
# The training loss falls until the end. The validation loss rises after epoch 2. That is *overfitting*: the model mostly
# memorises its training messages. The table below counts the mistakes, and the *confident
# mistakes*, those with a *[confidence](../site/pages/glossary.md)* above 0.9.
#
# Each dot is a validation message: the vector that the head reads, drawn along the two directions in which the vectors
# vary most ([principal component analysis](https://scikit-learn.org/stable/modules/decomposition.html#pca)). **Move the
# slider:** where are the dots before the training, and where do they move?

# %% tags=["nbval-ignore-output"]
from IPython.display import display

from workshop.pictures.film import draw_frame
from workshop.widgets import Slides

display(film.table())
frames = [draw_frame(film, number) for number in range(len(film.frames))]
Slides(frames, film.names, "The training")

# %% [markdown]
# Before the training, almost all dots are in one place: at the last position, the vector depends very little on the message.
# After the first epoch they form a band from ham to spam, which then gets longer. On the dashed line, the probability of spam
# is 0.5. Far from it the confidence is high. (The plane shows two dimensions of many, so the line is an approximation.)
#
# From epoch 2 to 5 the validation loss doubles, although there are only a few more mistakes. Accuracy counts mistakes. The
# loss also depends on their confidence.
#
# ## Test accuracy
#
# The test data played no part in any decision, so they give an honest estimate. It has a 95 %
# *[confidence interval](../site/pages/glossary.md)*.

# %% tags=["nbval-ignore-output", "key-figure"]
from helpers.measures import wilson_interval
from helpers.training import calc_accuracy_loader


def describe(accuracy):
    low, high = wilson_interval(accuracy, len(test_loader.dataset))
    return f"test {accuracy:.1%} (between {low:.1%} and {high:.1%})"


models = {"last epoch": film.last_model, "best epoch": classifier.model}
for name, each in models.items():
    validation = calc_accuracy_loader(val_loader, each, device)
    test = calc_accuracy_loader(test_loader, each, device)
    print(f"{name}: validation {validation:.1%}, {describe(test)}")

# %% [markdown]
# One training proves little. Over four seeds, the mean test accuracy is 87 % for the best epoch and 84 % for the last one.
# As all four have the same test messages, this is still weak evidence.
#
# For GPT-2 124M and the SMS Spam Collection the book reports 97.21 % (training), 97.32 % (validation) and 95.67 % (test).
# [Why your numbers may differ](../site/pages/questions.md) is explained among the readers' questions.
#
# Is the model better than the baseline of section 6.2, a bag of words?

# %%
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from helpers.data import load_splits

train, _, test = load_splits(CHOOSE_DATA)
baseline = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000))
baseline.fit(train["Text"], train["Label"])
print(describe(baseline.score(test["Text"], test["Label"])))

# %% [markdown]
# With 200 test messages, we can't tell which of the two is better. On the SMS Spam Collection this baseline has 97.0 %,
# so always compare with a simple method.
#
# ## Save the classifier
#
# A `SpamClassifier` contains what is needed to use the model, and records how it was trained. We save the best epoch for
# section 6.8. The file of another classifier is not overwritten.

# %%
from workshop.fast import save_classifier

print(save_classifier(classifier, "spam-classifier.safetensors"))
text = "You have won a cruise! Call now to claim your free cabin."
print(classifier.classify(text))

# %% [markdown]
# ## Try it
#
# > **1. How many steps?** (easy, 3 minutes) How many training steps did `film_of` take?

# %%
my_answer = None

# %%
from workshop.exercises import check

check("6.7 how many steps", my_answer, train_loader, settings)

# %% [markdown]
# <details><summary>Solution</summary>
#
# One step for each training batch, in each epoch: 87 · 5 = 435 for the bundled data.
#
# ```python
# my_answer = len(train_loader) * settings.epochs
# ```
#
# </details>

# %% [markdown]
# ## Two questions
#
# <details><summary>1. What happens without <code>zero_grad</code>?</summary>
#
# `backward` adds to the old gradients, so each step uses the sum over all batches so far.
#
# </details>
# <details><summary>2. Why must the test data not decide when to stop?</summary>
#
# We would choose the epoch that fits these messages best, partly by chance. Its test accuracy would be too high an estimate
# for new messages.
#
# </details>

# %%
from workshop.exercises import progress

progress("6.7")

# %% [markdown]
# ## What to take away
#
# - A training step computes a loss and its gradient, and changes the trainable weights a little.
# - Measure the validation loss on all messages, and keep the epoch where it is lowest.
# - Accuracy counts mistakes. The loss also depends on how confident they are.
# - Use the test data once, at the end, and compare with a simple baseline.
#
# Next: [6.8, using the classifier](06_8_using_the_classifier.ipynb).
