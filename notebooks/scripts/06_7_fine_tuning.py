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
# After this notebook you have trained a spam classifier, and you can read from its curves whether it
# learns, and when it only memorises. About 25 minutes. Figures are those of the bundled pair; with another choice
# expect others.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/gpt2-classification-course/blob/main/notebooks/06_7_fine_tuning.ipynb)

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
# ## Everything in place
#
# Data, model, new head, the book's plan: the sections before, in a few lines.

# %%
import torch

from helpers.data import create_dataloaders
from helpers.freezing import FreezePlan, replace_head
from helpers.loading import load_pretrained
from helpers.training import get_device

device = get_device()
train_loader, val_loader, test_loader = create_dataloaders(CHOOSE_DATA)

model = load_pretrained(CHOOSE_MODEL)
torch.manual_seed(123)
replace_head(model, num_classes=2)
plan = FreezePlan.book(model.cfg["n_layers"])
plan.apply(model).to(device)
print(sorted(plan.trainable))

# %% [markdown]
# ## What one step does
#
# Training is one step again and again: compute the loss of a batch; ask by `backward` how the loss would change with
# each trainable weight (the *gradient*); let the *optimizer* move each weight a little against its gradient. **AdamW**
# is the optimizer of the book: it adapts the size of the move to each weight, and pulls the trainable weights slightly
# towards zero (*weight decay*). How large a move is, in general, is the *learning rate* `lr`. For GPT-2 124M the book
# takes 5e-5; the nano, much smaller, takes twenty times as much.

# %%
from helpers.training import TrainingSettings

settings = TrainingSettings.for_model(CHOOSE_MODEL)
print(f"lr {settings.lr}, weight decay {settings.weight_decay}")
optimizer = torch.optim.AdamW(
    model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay
)

# %%
from helpers.training import calc_loss_batch
from workshop.widgets import predict

calc_loss_batch(*next(iter(train_loader)), model, device).backward()
watched = model.tok_emb, model.trf_blocks[0].ff.layers[0], model.trf_blocks[-1].ff.layers[0]
predict("6.7 gradient", given=([part.weight for part in watched],))


# %% [markdown]
# > **Write it: one training step.** (easy, 8 minutes)
# >
# > The function takes a batch and moves the weights once. It returns the batch's loss, as it was before the move, as
# > a plain number. Of each message the last position's logits classify.
#
# <details><summary>A hint</summary>
#
# Five things: forget the gradients of the batch before, compute the logits and the loss, compute the gradients,
# move, return. The optimizer does the first and the fourth.
#
# </details>
#
# <details><summary>A bigger hint</summary>
#
# `optimizer.zero_grad()`; `model(token_ids)[:, -1]` are the logits, `(b, 2)`;
# `torch.nn.functional.cross_entropy(logits, labels)` is their mean loss; `loss.backward()`; `optimizer.step()`;
# `loss.item()`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def my_training_step(model, token_ids, labels, optimizer):
#     optimizer.zero_grad()  # forget the last batch's gradients
#     logits = model(token_ids)[:, -1]  # (b, 2)
#     loss = torch.nn.functional.cross_entropy(logits, labels)
#     loss.backward()  # a gradient for each trainable weight
#     optimizer.step()  # move each of them a little
#     return loss.item()
# ```
#
# </details>


# %%
def my_training_step(model, token_ids, labels, optimizer):
    """Move the weights of `model` once, in place.

    `token_ids` (b, n) and `labels` (b,) are a batch. Returns its mean loss, in nats, as a float.
    """
    ...


# %%
from workshop.exercises import check_code

training_step = check_code("6.7 training step", my_training_step)

# %%
import copy

optimizer.zero_grad()  # the gradients of the question above
trial = copy.deepcopy(model)  # one step of its own; the real training starts below
trials = torch.optim.AdamW(
    trial.parameters(), lr=settings.lr, weight_decay=settings.weight_decay
)
torch.manual_seed(123)
batch = next(iter(train_loader))
token_ids, labels = (tensor.to(device) for tensor in batch)
before = training_step(trial, token_ids, labels, trials)
after = calc_loss_batch(*batch, trial, device).item()

predict("6.7 first step", given=(before, after))

# %% [markdown]
# ## Training
#
# `train_classifier_simple` is the book's loop around such steps. It goes through the training data five times, and
# every 50 steps measures the loss on 5 batches of training and of validation data. On two processor cores it takes less
# than a minute for the bundled pair. GPT-2 124M takes many times longer; use a graphics card if you can.

# %%
from helpers.training import train_classifier_simple

frozen_before = model.trf_blocks[0].ff.layers[0].weight.clone()
trained_before = model.trf_blocks[-1].ff.layers[0].weight.clone()

torch.manual_seed(123)
train_losses, val_losses, train_accs, val_accs, examples_seen = train_classifier_simple(
    model,
    train_loader,
    val_loader,
    optimizer,
    device,
    num_epochs=settings.epochs,
    eval_freq=50,
    eval_iter=5,
)
print(f"{examples_seen:,} examples seen")

# %%
from workshop.exercises import show_source

show_source(train_classifier_simple)

# %% [markdown]
# Did the frozen part stay as it was, to the last bit, and did the rest move?

# %%
print(
    "frozen part unchanged:",
    torch.equal(model.trf_blocks[0].ff.layers[0].weight, frozen_before),
)
print(
    "trained part changed: ",
    not torch.equal(model.trf_blocks[-1].ff.layers[0].weight, trained_before),
)

# %% [markdown]
# ## The curves
#
# The solid line is the loss on training batches, the dashed one on validation batches, over the
# epochs (lower axis) and the examples seen (upper axis).

# %%
from matplotlib import pyplot as plt

from helpers.training import plot_values

steps = 1 + 50 * torch.arange(len(train_losses))  # measured after step 1, 51, 101, …
epochs = steps / len(train_loader)
plot_values(epochs, steps * train_loader.batch_size, train_losses, val_losses, label="loss")
plt.show()

# %% [markdown]
# Both fall, later unevenly. The training loss is measured on five other batches each time, the
# validation loss always on the same five: where it jumps, the model itself has changed. When the
# training loss goes on falling and the validation loss does not, the model learns its training
# messages by heart. That is *overfitting*. **Do you see it here?** Five batches are 40 messages;
# further down all are measured.
#
# The accuracies after each epoch are measured on five batches, too: a message is 2.5 points.

# %%
ends = torch.arange(1, settings.epochs + 1)
examples = ends * len(train_loader) * train_loader.batch_size
plot_values(ends, examples, train_accs, val_accs, label="accuracy")
plt.show()

# %% [markdown]
# In training it nears 1; in validation nothing says which epoch was the best. Both pictures in figures, which differ
# a little from one processor to another:

# %% tags=["nbval-ignore-output", "key-figure"]
for epoch, train_loss, val_loss in zip(epochs, train_losses, val_losses, strict=True):
    print(f"epoch {epoch:.1f}   loss: training {train_loss:.2f}, validation {val_loss:.2f}")
for epoch, train_acc, val_acc in zip(ends, train_accs, val_accs, strict=True):
    print(f"epoch {epoch}   accuracy: training {train_acc:.0%}, validation {val_acc:.0%}")

# %% [markdown]
# ## When to stop
#
# Section 6.2 said that validation data decides when to stop. So let it decide. `film_of` trains once more, and
# measures *all* validation messages after each epoch; with `keep="best"` it leaves the weights of the lowest
# validation loss. It also keeps, before the training and after each epoch, the vector that the head reads of each
# message. (How it trains so much faster than the book's loop is told in [6.D](06_D_caching_the_frozen_layers.ipynb).)

# %%
from workshop.film import film_of

train_set, val_set = train_loader.dataset, val_loader.dataset
recipe = {
    "epochs": settings.epochs,
    "lr": settings.lr,
    "weight_decay": settings.weight_decay,
}
chosen_model = load_pretrained(CHOOSE_MODEL)
torch.manual_seed(123)
replace_head(chosen_model, num_classes=2)
film = film_of(chosen_model, train_set, val_set, plan, seed=123, keep="best", **recipe)
best_epoch, last_epoch = film.history.best_epoch, len(film.frames) - 1

# %%
predict("6.7 best epoch", given=film)

# %%
predict("6.7 sure mistakes", given=film)

# %%
predict("6.7 dear mistakes", given=film)

# %% [markdown]
# Now see it happen. Each dot is a message, along the two directions in which the vectors differ most over the whole
# training (*principal component analysis*, Pearson 1901). **Move the slider:** where do the dots lie before the
# training, where do they go, and where are the ringed mistakes?

# %%
bundled = (CHOOSE_MODEL, CHOOSE_DATA) == ("gpt2-nano (12M)", "sms-mini")
if bundled and plan == FreezePlan.book(plan.n_layers):
    num_mistakes = [mistakes.sum().item() for mistakes in film.mistakes]
    assert max(num_mistakes[1:]) < 30 < num_mistakes[0] and min(film.num_on_their_side) >= 90
    assert best_epoch <= 3 and film.val_losses[-1] > 1.3 * min(film.val_losses)

# %% tags=["nbval-ignore-output"]
from workshop.pictures.film import draw_frame
from workshop.widgets import Slides

frames = [draw_frame(film, number) for number in range(len(film.frames))]
Slides(frames, film.names, "The training")

# %% [markdown]
# Before, nearly all lie on one spot: at the padded end the model knows hardly anything of them. (The
# two at the edge have no padding.) The first epoch draws the spot out into a band, from ham to spam;
# then the band gets longer: far from the dashed line, where p = 0.5, means *sure*. The mistakes go along.
#
# The picture leaves something out. Its directions carry 63 and 16 % of the variance, and four fifths of
# the second come from the two long messages. So the dashed line is right only for the picture's
# plane: in each frame it parts at least 96 of the 100 messages as the model does.

# %% [markdown]
# ## The verdict
#
# The choice is made, by validation loss. Only now comes the test data, which has decided nothing:
# it only speaks the verdict, on the model of the last epoch and on that of the best.

# %% tags=["nbval-ignore-output"]
from helpers.training import calc_accuracy_loader

accuracies, lines = {}, []
for name, each in {"last epoch": model, "best epoch": chosen_model}.items():
    loaders = train_loader, val_loader, test_loader
    parts = accuracies[name] = [calc_accuracy_loader(part, each, device) for part in loaders]
    lines.append("{}: training {:.1%}, validation {:.1%}, test {:.1%}".format(name, *parts))
predict("6.7 test accuracy", 100 * accuracies["last epoch"][2], show="\n".join(lines))

# %%
if plan == FreezePlan.book(plan.n_layers):
    for train_accuracy, val_accuracy, test_accuracy in accuracies.values():
        assert train_accuracy > 0.85 and val_accuracy > 0.75 and test_accuracy > 0.75
    assert train_losses[-1] < 0.6 and val_losses[-1] < 0.8

# %% [markdown]
# ## Was it worth it?
#
# Section 6.2 promised an answer. Here is a much simpler method. *TF-IDF* makes a vector of each
# message: one number for each word, which grows with how often the word occurs in it and shrinks with
# how many messages have it. *Logistic regression* is a classification head on that vector, trained
# by itself.

# %%
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from helpers.data import load_splits

train, _, test = load_splits(CHOOSE_DATA)
word_model = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000))
word_model.fit(train["Text"], train["Label"])
predict("6.7 word counts", round(100 * word_model.score(test["Text"], test["Label"])))

# %% [markdown]
# What you have learned is a recipe that does not stop at counting: the model reads the words in
# their order, and it has read much else before. How much of its answer rests on the order, section
# 6.8 tests by shuffling the words of the test messages.

# %% [markdown]
# ## Keep it
#
# `SpamClassifier` puts together what is needed to use the model: the weights, the length to which
# messages are padded, the position that classifies. We save the model of the book's loop, of the last epoch:
# section 6.8 examines the book's classifier, surest mistakes and all. In your own work you would keep
# `chosen_model`.

# %%
from helpers.classify import SpamClassifier
from workshop.fast import trained_from

classifier = SpamClassifier(
    model,
    max_length=train_loader.dataset.max_length,
    about=trained_from(CHOOSE_MODEL, CHOOSE_DATA),
)
if plan == FreezePlan.book(plan.n_layers):
    classifier.save("spam-classifier.safetensors")
print(classifier.classify("You have won a cruise! Call now to claim your free cabin."))

# %% [markdown]
# ## Try it
#
# > **1. How many steps?** (easy, 3 minutes) How many times did the book's loop move the weights?
#
# <details><summary>Solution</summary>
#
# One step for each training batch, in each epoch: with the bundled pair 87 · 5 = 435.
#
# ```python
# my_answer = len(train_loader) * settings.epochs
# ```
#
# </details>

# %%
my_answer = None

# %%
from workshop.exercises import check

check("6.7 how many steps", my_answer, train_loader, settings)

# %% [markdown]
# > **2. The price of going on.** (easy, 3 minutes) `film.val_losses` holds the validation loss of each frame, the first
# > from before the training. How many times its lowest is the last?
#
# <details><summary>Solution</summary>
#
# ```python
# my_factor = film.val_losses[-1] / min(film.val_losses)
# ```
#
# With the bundled pair it is more than two.
#
# </details>

# %%
my_factor = None

# %%
check("6.7 the price of going on", my_factor, film.val_losses)

# %% [markdown]
# ## Five questions
#
# <details><summary>1. What are the four parts of a training step, in order?</summary>
#
# Forget the old gradients; compute the loss of a batch; compute the gradients (`backward`); move the weights (`step`).
#
# </details>
#
# <details><summary>2. What happens without <code>zero_grad</code>?</summary>
#
# `backward` adds to the gradients that are there, so each step follows the sum over all batches so far.
#
# </details>
#
# <details><summary>3. What shows overfitting?</summary>
#
# The training loss goes on falling, and the validation loss no longer does.
#
# </details>
#
# <details><summary>4. Why can the loss double while the accuracy hardly falls?</summary>
#
# Accuracy counts mistakes; the loss counts how sure they are, too. A few surer mistakes make it much higher.
#
# </details>
#
# <details><summary>5. Why must the test data not choose the epoch?</summary>
#
# The epoch chosen would be one that suits these messages by chance, too: its accuracy would be too high an estimate
# for new ones.
#
# </details>

# %%
from workshop.exercises import progress

progress("6.7")

# %% [markdown]
# ## What to take away
#
# - A step is: loss, gradient, a small move. An epoch is one pass through the training data.
# - Only what is trainable gets a gradient; the frozen part stays the same to the bit.
# - Watch the validation loss, on all messages: where it turns up, the model memorises; keep the best
#   epoch. Accuracy counts mistakes, not how sure they are.
# - The test data gives the verdict; it must not help you choose. And a simple method belongs beside it.
#
# How the same training takes a fraction of the time: [6.D](06_D_caching_the_frozen_layers.ipynb).
#
# Next: [6.8, using the classifier](06_8_using_the_classifier.ipynb).
