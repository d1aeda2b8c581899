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
# # 6.B The Freeze Lab, and which choices matter
#
# After this notebook you can compare two trained classifiers, and judge whether their difference could be chance. You
# also know which choices of the chapter mattered for the bundled model. About 25 minutes. Read section 6.7 first.
#
# All numbers are for the bundled model and data; others give other numbers. The [glossary](../site/pages/glossary.md)
# explains the terms.
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
# ## How precise is one accuracy?
#
# The book's repository answers questions about chapter 6 with a [table of 19
# experiments](https://github.com/rasbt/LLMs-from-scratch/tree/main/ch06/02_bonus_additional-experiments). Experiment 1
# is the chapter's setup; each other one changes one or two choices. Each was trained once and tested on 300 messages.
# Experiment 1 has a test accuracy of 95.00 %, and experiment 17 of 95.33 %:

# %%
from helpers.measures import wilson_interval

for accuracy in (0.9500, 0.9533):
    low, high = wilson_interval(accuracy, 300)
    print(f"{300 * accuracy:.0f} of 300: {low:.1%} to {high:.1%}")

# %% [markdown]
# The two differ by one message. A test set is a sample, and other messages would give another accuracy. The range is a
# *95 % confidence interval*: 19 in 20 such intervals contain the accuracy on a very large test set
# ([Wilson 1927](https://en.wikipedia.org/wiki/Binomial_proportion_confidence_interval#Wilson_score_interval)).
#
# The *seed* is a second source of chance. It determines the head's initial weights and the order of the messages. So we
# trained the experiments with five seeds each, with the nano on sms-mini. The results come with the course.

# %% tags=["key-figure"]
from workshop.compare import majority_accuracy, read_results

folder = course / "workshop" / "assets" / "experiments"
path = folder / "nano-sms-mini.jsonl"
results = read_results(path, CHOOSE_MODEL, CHOOSE_DATA)

first = [result for result in results if result["row"] == 1]
accuracies = [f"{result['accuracy']['test']:.1%}" for result in first]
print("experiment 1, by seed:", ", ".join(accuracies))

majority = majority_accuracy(results)
print(f"always the majority class: {majority:.1%}")

# %% [markdown]
# The last line is a *baseline*: the accuracy of predicting the more frequent label for every test message.

# %% [markdown]
# ## Is a difference chance?
#
# Two experiments are tested on the *same* messages, and most messages are easy for both or hard for both. So we compare
# them message by message. Made-up predictions on 100 messages show how:

# %%
import numpy as np

from helpers.measures import paired_interval

before = np.array([[1] * 80 + [0] * 20])  # 80 of 100 are right
for gained in (4, 10):
    num_right = 80 + gained
    after = np.array([[1] * num_right + [0] * (100 - num_right)])
    for right in (before, after):
        low, high = wilson_interval(right.mean(), 100)
        print(f"{right.mean():.0%} ({low:.1%} to {high:.1%})")
    difference = paired_interval(after, before)
    print(f"{difference}: {difference.verdict}\n")

# %% [markdown]
# In both cases the two intervals in brackets overlap. So overlap says nothing about a difference. What counts is the
# interval of the *difference*: if it contains 0, we **can't tell the two apart with these data**. That does not mean
# that they are equally accurate.
#
# `paired_interval` uses the [*bootstrap*](https://docs.scipy.org/doc/scipy/reference/generated/scipy.stats.bootstrap.html):
# we draw messages and seeds at random, with replacement, and compute the mean difference, 4,000 times. The interval
# contains the middle 95 % of these differences.

# %%
from workshop.exercises import show_source

show_source(paired_interval)

# %% [markdown]
# Few messages may differ by chance alone. If four messages differ, all four favour the same experiment as often as four
# tosses of a coin give the same side: with probability 2 · (1/2)⁴ = 12.5 %. So where fewer than 25 messages differ, the
# interval is widened to that of this *exact test* ([McNemar's](https://en.wikipedia.org/wiki/McNemar%27s_test)).

# %% [markdown]
# ## Six experiments
#
# Predict the results of six experiments. "Better" and "worse" mean that the interval of the difference in test accuracy
# does not contain 0.

# %%
from workshop.widgets import predict

predict("6.B the last real token", given=(results, 16))

# %%
predict("6.B the head only", given=(results, 3))

# %%
predict("6.B everything", given=(results, 5))

# %%
predict("6.B random weights", given=(results, 10))

# %%
predict("6.B padding to 1,024 tokens", given=(results, 13))

# %%
predict("6.B ignore_index", given=(results, 18))

# %% [markdown]
# ## All experiments
#
# Experiments 6 to 9 and 12 are missing: they need a larger GPT-2. Experiment 20 is ours.

# %%
from workshop.compare import compare_all, draw_comparisons, results_table

draw_comparisons(compare_all(results), majority)

# %%
results_table(results)

# %% [markdown]
# With the bundled model and data:
#
# - Only 15 and 16 have a higher accuracy than experiment 1. They classify at the last real token,
#   without padding (15) or with it (16).
# - We can't tell the first token (2) or the head alone at the padding (3) apart from the majority class.
# - We can't tell either whether more trainable parameters, LoRA, the mean of all tokens, a missing causal mask or
#   shuffled words change the accuracy.

# %% [markdown]
# ## What the intervals don't cover
#
# - They are about other messages and seeds, not about another model, dataset, split or learning rate.
# - Experiments 5, 10 and 11 have half the learning rate of experiment 1, chosen with [validation
#   messages](../workshop/assets/experiments/README.md). So 5 and 1 also differ in this.
# - An interval misses the true difference once in 20 times. Among 14 verdicts, one wrong one is no surprise.

# %% [markdown]
# ## Train and compare in code
#
# The frozen layers' output is cached ([6.D](06_D_caching_the_frozen_layers.ipynb)), so a training takes seconds. We train
# the book's choice with two and with five epochs, and three seeds each. `val_losses` are validation losses.

# %% tags=["nbval-ignore-output"]
from helpers.freezing import FreezePlan
from workshop.lab import Settings, compare_runs, load_material, train_whole

material = load_material(CHOOSE_MODEL, CHOOSE_DATA)
cfg = material.pretrained.cfg
book = FreezePlan.book(cfg["n_layers"])
runs = {}
for epochs in (2, 5):
    settings = Settings(book, "last", epochs, material.lr, num_seeds=3)
    runs[epochs] = train_whole(material, settings)
    losses = ", ".join(f"{loss:.2f}" for loss in runs[epochs].val_losses)
    print(f"{epochs} epochs: accuracy {runs[epochs].accuracy:.3f},", end=" ")
    print(f"validation losses {losses}")
difference = compare_runs(runs[5], runs[2])
print(f"{difference}: {difference.verdict}")
print(f"always the majority class: {material.majority:.2f}")

# %% [markdown]
# With the bundled model and data, the validation loss is higher after five epochs: the model overfits (section 6.7).
# With 100 validation messages, we can't tell the accuracies apart.

# %% [markdown]
# ## The Freeze Lab
#
# - At the top is the Freeze Explorer of section 6.5: click a part to freeze or unfreeze it.
# - Choose the position at which the model classifies, the epochs, the learning rate and the number of seeds.
# - **▶ Train** starts a training. **■ Stop** ends it and restores the weights of the last complete epoch. Each finished run gets a row
#   in the table.
# - *Run* selects the run with which the others are compared.
#
# In the plot, left is cheaper and up is more accurate. Orange runs are the *Pareto front*: no other run is both cheaper and
# more accurate. If nothing happens after a click, run `lab.train()`.

# %%
from workshop.widgets import FreezeLab

lab = FreezeLab(material=material)
lab

# %% [markdown]
# ## LoRA
#
# With *LoRA* ([Hu et al. 2021](https://arxiv.org/abs/2106.09685), the book's appendix E) the matrices of a block stay
# frozen. Each gets an *adapter*: two narrow matrices A and B, the only ones trained. The input passes through W and, in
# parallel, through A and then B; both results are added. B starts at zero, so at first the adapter adds nothing. This
# adapter has *rank* 4:

# %%
from workshop.pictures.model import figure_lora

figure_lora(cfg, rank=4, alpha=8.0)

# %% [markdown]
# In a block, six matrices get an adapter: four of attention, two of the feed-forward network. These are the numbers of
# trainable parameters in the last block's adapters and the head.

# %%
from helpers.freezing import parameter_report

for rank in (1, 4, 16):
    lora = FreezePlan.lora(cfg["n_layers"], 1, rank, alpha=2.0 * rank)
    trainable = parameter_report(cfg, lora).trainable
    print(f"rank {rank:2}: {trainable:>9,} trainable parameters")
trainable = parameter_report(cfg, book).trainable
print(f"the book's: {trainable:,}")

# %% [markdown]
# After the training, an adapter can be merged into its matrix: W + (alpha / rank) · B A. The outputs stay the same, and the
# model costs no more than before.

# %% [markdown]
# ## Try it
#
# > **1. An adapter's size.** (easy, 3 minutes) The first matrix of a feed-forward network has four times as many rows as
# > columns (768 × 192 in the nano). How many parameters does its adapter of rank 8 have?

# %%
my_number = None

# %%
from workshop.exercises import check

check("6.B an adapter's size", my_number, cfg)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# my_number = 8 * cfg["emb_dim"] + 4 * cfg["emb_dim"] * 8
# ```
#
# For the nano, that is 7,680, compared with 147,456 frozen ones.
#
# </details>
#
# > **2. A tenth of the parameters.** (medium, 8 minutes) In the Lab above, train the book's choice at the position *last*
# > with 3 seeds. Then find settings that have at most a tenth of its trainable parameters and lose less than 10 points of
# > accuracy. The whole interval of the difference must lie above −10 points. Run the cell after each attempt.

# %%
check("6.B a tenth of the parameters", lab)

# %% [markdown]
# <details><summary>Solution</summary>
#
# Train the head only, at the last real token:
#
# ```python
# lab.settings = Settings(book, "last", 2, material.lr, num_seeds=3)
# lab.train()
# head = FreezePlan.head_only(cfg["n_layers"])
# lab.settings = Settings(head, "last_token", 2, material.lr, num_seeds=3)
# lab.train()
# ```
#
# An adapter in the last block can also do it at the book's own position.
#
# </details>

# %% [markdown]
# ## Two questions
#
# <details><summary>1. Two intervals overlap. Are the two classifiers equally accurate?</summary>
#
# Overlap does not tell. Compare them on the same messages: if the interval of the difference contains 0, we can't tell
# them apart with these data.
#
# </details>
# <details><summary>2. Why are several seeds needed?</summary>
#
# The seed changes the initial weights and the order of the messages, and with them the accuracy. One run shows one of many
# possible results.
#
# </details>

# %%
from workshop.exercises import progress

progress("6.B")

# %% [markdown]
# ## What to take away
#
# - Report each accuracy with an interval, and next to the majority class.
# - Compare classifiers on the same messages and with several seeds. "We can't tell" is not "equal".
# - Here, the position at which the model classifies mattered most, and pretraining helped.
# - LoRA trains a few parameters next to frozen matrices and can be merged into them.
# - Choose with validation messages. Use the test set once, at the end.
#
# Next: [6.C, where the nano comes from](06_C_where_nano_comes_from.ipynb).
