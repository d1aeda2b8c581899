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
# # 6.B The Freeze Lab
#
# After this notebook you can say what a choice of trained parts *brings*, because you have trained it, and you know which
# differences are too small to mean anything. About 35 minutes. Figures are those of the bundled pair; with another choice
# expect others.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/gpt2-classification-course/blob/main/notebooks/06_B_freeze_lab.ipynb)

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
# ## Guess first
#
# The Freeze Explorer of section 6.5 says what a choice *costs*. What it brings, only a training can say. Since the frozen
# part runs only once ([6.D](06_D_caching_the_frozen_layers.ipynb)), this takes seconds. Here are three choices, each trained with three seeds, while you
# read on:

# %%
from helpers.freezing import FreezePlan
from workshop.lab import Settings, load_material, train_whole

material = load_material(CHOOSE_MODEL, CHOOSE_DATA)
cfg = material.pretrained.cfg
n_layers = cfg["n_layers"]
head, book = FreezePlan.head_only(n_layers), FreezePlan.book(n_layers)
runs = [
    train_whole(material, Settings(plan, position, lr=material.lr, num_seeds=3))
    for plan, position in [(head, "last"), (head, "last_token"), (book, "last")]
]

# %%
from workshop.widgets import predict

nearest = min((0.6, 0.7, 0.8, 0.9), key=lambda accuracy: abs(accuracy - runs[0].accuracy))
predict("6.B the head alone", str(nearest))


# %%
def beside(run, other):
    if run.interval[0] > other.interval[1]:
        return "better"
    return "worse" if run.interval[1] < other.interval[0] else "can't tell"


predict("6.B before the padding", beside(runs[1], runs[0]))

# %%
predict("6.B the book's choice", beside(runs[2], runs[1]))

# %% [markdown]
# ## The Lab
#
# - At the top is the Freeze Explorer of section 6.5: click a part to freeze or unfreeze it. *A click* and *LoRA rank* are
#   for adapters, see below.
# - Below it are the other settings of a training: the position that *classifies*, *epochs*, *learning rate*, and the
#   number of *seeds*. Another seed means another random head and another order of the batches.
# - **▶ Train** trains, **■ Stop** goes back to the last whole epoch. Each finished run gets a row below.
#
# Train the three choices now, first with one seed, then with three. (If nothing moves after a press, run `lab.train()` in
# a cell of your own: it does the same.)

# %%
from workshop.widgets import FreezeLab

lab = FreezeLab(CHOOSE_MODEL, CHOOSE_DATA)
lab

# %% [markdown]
# How to read a row: the *accuracy* is the share of all 100 validation messages that are classified correctly. Behind it
# stand the lowest and the highest of the seeds, and a *95 % interval* (Wilson 1927): 19 of 20 such intervals hold the
# accuracy on all messages of the kind. With 100 messages it is wide, 8 points to both sides. Two runs whose intervals
# overlap may well be equally good.
#
# In the picture a run further left costs less, a higher one is more often right. The orange ones are beaten by none in
# both: the *Pareto front*.

# %% [markdown]
# ## The same in code
#
# This is what the button does for one seed, here with the head and the final norm:

# %%
from workshop.fast import fine_tune
from workshop.lab import new_classifier

model = new_classifier(material.pretrained, seed=1)
history = fine_tune(
    model, material.train, material.validation, FreezePlan.last_blocks(n_layers, 0),
    epochs=2, lr=material.lr, seed=1, position="mean", progress=False,
)  # fmt: skip
print("run once:", history.cached)
print("validation accuracies:", [f"{acc:.1f}" for acc in history.val_accs])

# %% [markdown]
# `lab.rows` holds your runs. The plot below is empty until you have trained something in the Lab:

# %%
from workshop.pictures.charts import draw_runs

draw_runs(lab.rows, against="seconds")

# %% [markdown]
# ## LoRA: learn beside what is frozen
#
# Some choices of the Lab are called *LoRA* (Hu et al. 2021). There no matrix of a block learns. Beside each stands an
# *adapter*, two narrow matrices A and B, and only these learn. What goes through W also goes through A and then B, and both
# results are added. B starts at zero, so that at first the adapter adds nothing. Here one matrix has an adapter of *rank* 4:

# %%
from workshop.pictures.model import figure_lora

figure_lora(cfg, rank=4, alpha=8.0)

# %% [markdown]
# > **An adapter's size.** (easy, 3 minutes) The first matrix of a feed-forward network has four times as many rows as columns
# > (768 × 192 in the nano). How many parameters does its adapter of rank 8 have? Put your number in the place of `None`.

# %%
my_number = None

# %%
from workshop.exercises import check

check("6.B an adapter's size", my_number, cfg)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# my_number = 8 * 192 + 768 * 8
# ```
#
# For the nano 7,680, beside 147,456 frozen ones.
#
# </details>
#
# In a block six matrices get an adapter: four of attention, two of the feed-forward network. For the last block and the head:

# %% tags=["key-figure"]
from helpers.freezing import parameter_report

for rank in (1, 4, 16):
    report = parameter_report(cfg, FreezePlan.lora(n_layers, 1, rank, alpha=2.0 * rank))
    print(f"rank {rank:>2}: {report.trainable:>7,} parameters learn")
report = parameter_report(cfg, FreezePlan.book(n_layers))
print(f"the book's choice: {report.trainable:,} parameters learn")

# %% [markdown]
# After the training an adapter can be added into its matrix, W + (alpha / rank) · B A: the answer is the same, and costs no
# more than before.

# %%
import torch

from helpers.lora import merge

adapted = FreezePlan.lora(n_layers, 1, rank=4, alpha=8.0).apply(
    new_classifier(material.pretrained, seed=1)
)
torch.nn.init.normal_(adapted.trf_blocks[-1].ff.layers[0].lora_B.default.weight, std=0.1)
token_ids, _ = material.validation[0]
with torch.no_grad():
    before = adapted(token_ids[None])
    print("same logits:", torch.allclose(merge(adapted)(token_ids[None]), before, atol=1e-4))

# %% [markdown]
# ## Three challenges
#
# Each has a check cell that looks at your rows. Train in the Lab above, then run the cell again.
#
# > **A. A tenth.** (easy, 5 minutes) Be as good as the book's plan with a tenth of its parameters, or fewer. Train the book's
# > plan, too, at the position *last*, or there is nothing to compare with.

# %%
from workshop.challenges import check_a_tenth

check_a_tenth(lab)

# %% [markdown]
# <details><summary>Solution</summary>
#
# *Head only* at *last_token*, three seeds: 386 parameters instead of 445,634. An adapter in the last block does it at the
# book's own position, even with rank 1: *LoRA, last block*, 3,842 parameters, .80 to .84.
#
# </details>
#
# > **B. Five seconds.** (medium, 5 minutes) Find the best that can be had within five seconds for one training. Choose by the
# > validation messages: once you have opened the test set, it can no longer tell you whether you chose well.

# %%
from workshop.challenges import check_within_five_seconds

check_within_five_seconds(lab)

# %% [markdown]
# <details><summary>Solution</summary>
#
# There is no one answer. The last block at *last_token* is among the best here. A good part of its seconds goes into the
# frozen part, once; press Train again, and they are gone. Two epochs take less time than five and lose little: see C.
#
# </details>

# %% [markdown]
# > **C. More is worse.** (medium, 5 minutes) Find two runs that differ in nothing but the number of epochs, of which the
# > longer one has the *higher* validation loss. Then say why, with a letter in the place of `None`:
#
# - a: it has stopped learning the training messages;
# - b: it learns the training messages by heart;
# - c: the validation messages were others;
# - d: the learning rate was too small.

# %%
my_reason = None

# %%
from workshop.challenges import check_more_is_worse

check_more_is_worse(lab, my_reason)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# my_reason = "b"
# ```
#
# The book's choice with 2 epochs, and with 5. With three seeds the validation loss was 0.34 to 0.42 after 2, and 0.49 to
# 0.75 after 5, while the training accuracy went from 0.86 to above 0.95: (b), *overfitting*. The accuracy hardly tells. A
# model that is wrong and very sure of it pays in the loss.
#
# </details>

# %% [markdown]
# ## What was measured
#
# The three choices of the beginning, in figures:

# %% tags=["nbval-ignore-output"]
for run in runs:
    low, high = min(run.val_accs), max(run.val_accs)
    print(f"{low:.2f} to {high:.2f}  {run.settings}")
if (CHOOSE_MODEL, CHOOSE_DATA) == ("gpt2-nano (12M)", "sms-mini"):
    padded_end, last_token, books = (run.accuracy for run in runs)
    assert padded_end < 0.7 and last_token > 0.76 and books > 0.7
draw_runs(runs)

# %% [markdown]
# <details><summary>What does this say?</summary>
#
# 1. *Head only* at the padded end: .59 to .61. Behind the padding a frozen model has forgotten the message.
# 2. The same 386 parameters at the last real token: .82 to .84.
# 3. The book's choice, which learns to look back from there: .78 to .83 (rounding alone moves it by a message). No
#    better than 2.
#
# *Where* the answer is read mattered more than *how much* is trained. The intervals of 2 and 3 overlap: "no worse" is all
# that 100 messages can say.
#
# </details>

# %% [markdown]
# ## Try it
#
# > **1. Your own adapter.** (medium, 5 minutes) Choose *adds or takes an adapter* under *A press*, then *head only*, and give
# > an adapter to the attention (`att`) of the last block alone: ▸ opens the block. How many parameters learn with rank 1? Reckon
# > before you look.

# %%
my_count = None

# %%
plan = FreezePlan(n_layers, {"out_head"}, {f"trf_blocks.{n_layers - 1}.att"}, rank=1, alpha=2.0)
check("6.B your own adapter", my_count, cfg, plan)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# my_count = 4 * (192 + 192) + 386
# ```
#
# For the nano 1,922.
#
# </details>
#
# > **2. The first token.** (easy, 3 minutes) Train at the position *first*. Why does it hardly matter which parts learn?
#
# <details><summary>Solution</summary>
#
# The first token sees only itself. Two messages that begin alike look the same from there, whatever is trained. Some words
# do begin spam more often than ham, so it may come out a little above guessing.
#
# </details>

# %% [markdown]
# ## Five questions
#
# <details><summary>1. Why does a training with most parts frozen take only seconds?</summary>
#
# The frozen part is run once for each message, and its outputs are kept for all epochs.
#
# </details>
# <details><summary>2. Why train with more than one seed?</summary>
#
# The head's first weights and the order of the batches are random. The spread of the seeds shows how much of a difference may
# be luck.
#
# </details>
# <details><summary>3. What does it mean if the intervals of two runs overlap?</summary>
#
# That they may well be equally good: these messages don't settle it.
#
# </details>
# <details><summary>4. Why does a fresh adapter change nothing?</summary>
#
# Its B starts at zero, so B A is zero, and it adds nothing.
#
# </details>
# <details><summary>5. Why choose by the validation messages and not by the test messages?</summary>
#
# Who chooses by the test set has fitted the choice to it; it can't tell any more whether the choice was good.
#
# </details>

# %%
from workshop.exercises import progress

progress("6.B")

# %% [markdown]
# ## What to take away
#
# - With most of the model frozen, what a choice brings is measured in seconds.
# - Where the answer is read can matter more than how much is trained.
# - A difference that lies inside the intervals, or inside the spread of the seeds, is none that you have shown.
# - LoRA trains a few parameters beside frozen matrices; afterwards they can be merged into them.
# - More epochs lower the training loss; the validation loss says when to stop.
# - Choose by the validation set. The test set answers once.
#
# Next: [6.B, which choices matter](06_C_which_choices_matter.ipynb).
