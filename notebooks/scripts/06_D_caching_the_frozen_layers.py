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
# # 6.D The same, in a fraction of the time
#
# After this notebook you can say which part of a training is computed for nothing, and leave it out. About 30 minutes.
# Figures are those of the bundled pair; with another choice expect others.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/gpt2-classification-course/blob/main/notebooks/06_D_caching_the_frozen_layers.ipynb)

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
# ## The book's loop, once more
#
# Data, model, new head, the book's plan, and two epochs of the loop of [6.7](06_7_fine_tuning.ipynb), by the clock.

# %%
import time

import torch

from helpers.data import create_dataloaders
from helpers.training import get_device
from helpers.training import TrainingSettings
from helpers.freezing import FreezePlan, replace_head
from helpers.loading import load_pretrained
from helpers.training import train_classifier_simple

device = get_device()
train_loader, val_loader, _ = create_dataloaders(CHOOSE_DATA)
settings = TrainingSettings.for_model(CHOOSE_MODEL)


def new_classifier(seed=123):
    model = load_pretrained(CHOOSE_MODEL)
    torch.manual_seed(seed)
    return replace_head(model, num_classes=2)


model = new_classifier()
plan = FreezePlan.book(model.cfg["n_layers"])
model = plan.apply(model).to(device)

# %%
recipe = {"lr": settings.lr, "weight_decay": settings.weight_decay}
optimizer = torch.optim.AdamW(model.parameters(), **recipe)
torch.manual_seed(123)
step_losses, started = [], time.perf_counter()
train_classifier_simple(
    model,
    train_loader,
    val_loader,
    optimizer,
    device,
    num_epochs=2,
    eval_freq=50,
    eval_iter=5,
    step_losses=step_losses,  # takes each step's loss, for a comparison further down
)
book_seconds = time.perf_counter() - started

# %% [markdown]
# ## What is computed for nothing
#
# Below the last block the same message gives the same numbers, however long one trains (section 6.6). The book's loop
# computes them again in every epoch. And in the last block?

# %%
from workshop.widgets import predict

token_ids, _ = next(iter(val_loader))
num_messages = len(token_ids)
predict("6.D one token's share", round(100 * num_messages / token_ids.numel(), 1))

# %% [markdown]
# For what lies below the last block there is a **boundary**, in the picture a dotted line. What is below the lowest
# trainable part runs once for each message, and what it puts out is kept.

# %%
from workshop.pictures.model import draw_classifier
from helpers.freezing import parameter_report
from helpers.freezing import frozen_blocks, gradient_reach
from helpers.freezing import trace_shapes

shapes = trace_shapes(model, token_ids, last_token=True)
report, reach = parameter_report(model.cfg, plan), gradient_reach(plan)
draw_classifier(report, shapes, reach=reach, cached=frozen_blocks(plan))

# %% [markdown]
# `fine_tune` keeps it, lets the last block answer for one token only, and takes the messages in the same order.

# %%
from workshop.fast import fine_tune

both_sets = train_loader.dataset, val_loader.dataset
fast_model = new_classifier()
history = fine_tune(fast_model, *both_sets, plan, epochs=2, seed=123, **recipe)
print("run once and kept:", history.cached or "nothing")

# %%
differences = [b - a for a, b in zip(step_losses, history.step_losses, strict=True)]
same = max(map(abs, differences)) < 0.05
side = "a little lower" if sum(differences) < 0 else "a little higher"
predict("6.D losses", "not, but for rounding" if same else side)


# %% [markdown]
# > **Write it: attention for the last token.** (easy, 10 minutes)
# >
# > Given are the queries, keys and values of one head. Put out what attention puts out for the *last* token of each
# > message, without computing it for the others. That token may see all, so no mask is needed.
#
# <details><summary>A hint</summary>
#
# One query per message meets all keys: `(b, 1, d)` times `(b, d, n)`. What follows is as for all tokens.
#
# </details>
#
# <details><summary>A bigger hint</summary>
#
# `queries[:, -1:]` keeps the axis; `keys.transpose(1, 2)` is `(b, d, n)`. Divide by `d**0.5`, `softmax` over the last
# axis, gather the values, and take the axis of length 1 away with `[:, 0]`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def my_last_query_attention(queries, keys, values):
#     d = queries.shape[-1]
#     scores = queries[:, -1:] @ keys.transpose(1, 2) / d**0.5  # (b, 1, n)
#     return (scores.softmax(dim=-1) @ values)[:, 0]  # (b, d)
# ```
#
# </details>


# %%
def my_last_query_attention(queries, keys, values):
    """Return attention's output for the last token: three times (b, n, d) → (b, d)."""
    ...


# %%
from workshop.exercises import check_code, show_source
from workshop.fast import attention_at

last_query_attention = check_code("6.D attention of the last token", my_last_query_attention)

# %% [markdown]
# The course's own has several heads, and any place. It saves the product of the key matrix with all tokens, too.

# %%
show_source(attention_at)

# %% [markdown]
# ## Beside each other
#
# In the picture the thick line is the book's loop, the thin one `fine_tune`; below it, how far apart they are.

# %%
from matplotlib import pyplot as plt

plt.figure(figsize=(5.6, 3.2), layout="constrained")
plt.plot(step_losses, linewidth=4, color="#f9d9b5", label="the book's loop")
plt.plot(history.step_losses, linewidth=1, color="#0072b2", label="fine_tune")
plt.gca().set(xlabel="step", ylabel="loss of the step's batch")
plt.legend()
plt.show()

# %% tags=["nbval-ignore-output", "key-figure"]
difference = max(map(abs, differences))
assert difference < 0.05  # rounding grows from step to step, but not far
print(f"largest difference between the losses of a step: {difference:.0e}")
times = f"""the book's loop: {book_seconds:.0f} s
fine_tune: {history.seconds_encoding:.1f} s for the frozen part, once
           {history.seconds_training:.1f} s for the training itself"""
predict("6.D times as fast", book_seconds / history.seconds_training, show=times)


# %% [markdown]
# With `position="last_token"` hardly any padding is computed; with `precision="bfloat16"` the frozen part
# calculates with shorter numbers, which is faster where the processor has instructions for them. A
# plan that trains an embedding has nothing that could run once: then only the last block is spared.

# %% [markdown]
# ## What a fast training is good for
#
# To ask more than once. `retrain` returns the accuracy on all validation messages after the last of five epochs. It
# does not look at test data: you are choosing now.


# %%
def retrain(plan, seed=123, sets=both_sets, **changes):
    options = {"epochs": settings.epochs, "progress": False} | recipe | changes
    return fine_tune(new_classifier(seed), *sets, plan, seed=seed, **options).val_accs[-1]


def mean_of_three(plan, **changes):
    return sum(retrain(plan, seed, **changes) for seed in (1, 2, 3)) / 3


assert retrain(plan) > 0.7

# %%
head_only = FreezePlan.head_only(plan.n_layers)
padded_end = mean_of_three(head_only)
last_real = mean_of_three(head_only, position="last_token")
better = "the padded end" if padded_end > last_real else "the last real token"
predict("6.D head alone", better if abs(padded_end - last_real) > 0.07 else "no matter")

# %%
longer = mean_of_three(head_only, lr=3 * settings.lr, epochs=2 * settings.epochs)
gained = longer >= padded_end + 0.1
predict("6.D longer", "yes, by ten points or more" if gained else "hardly, or not at all")

# %% [markdown]
# The chapter's own exercises were trained five times each for [6.B](06_C_which_choices_matter.ipynb), and the results
# come with the course. What do you expect?

# %%
from statistics import mean

from workshop import ASSETS
from workshop.compare import read_results

results = read_results(
    ASSETS / "experiments" / "nano-sms-mini.jsonl", CHOOSE_MODEL, CHOOSE_DATA
)
rows_of = {"a": 13, "b": 5, "c": 2}
found = {
    letter: mean(r["accuracy"]["validation"] for r in results if r["row"] == row)
    for letter, row in rows_of.items()
}
predict("6.D the book's three", ", ".join(sorted(found, key=found.get, reverse=True)))

# %% [markdown]
# ## Try it
#
# > **1. Plan or position?** (easy, 5 minutes) Try `retrain` with `plan`, the book's, and with
# > `FreezePlan.last_blocks(plan.n_layers, 2)`, each at both positions and with the same seeds. When does
# > it matter how much you train? And what does it do to the time?
#
# <details><summary>What we found</summary>
#
# With the bundled pair, the mean over the three seeds:
#
# | plan | padded end | last real token |
# | --- | --- | --- |
# | head only | 60 % | 83 % |
# | the book's | 79 % | 87 % |
# | last two blocks | 85 % | 85 % |
#
# One message is one point, and chance makes each run uncertain by about seven. So at the last real
# token the plan hardly matters; at the padded end it decides, because a trained block can learn to
# look back across the padding. The second block costs about ten times the training time: it must
# run, forward and backward, for all tokens.
#
# </details>

# %%
mine = {}  # what you tried, and its accuracy; take the # away, then change and add
# mine["two blocks, seed 1"] = retrain(FreezePlan.last_blocks(plan.n_layers, 2), seed=1)
mine

# %% [markdown]
# > **2. The book's own three.** (easy, 5 minutes) `retrain` with `sets=long_sets`, with
# > `FreezePlan.everything(plan.n_layers)`, and with `position="first"`.
#
# <details><summary>What we found</summary>
#
# The validation accuracy of the bundled pair, with the seeds 1 to 5 (6.B trains everything with half the learning
# rate), and the test accuracy of one run each of GPT-2 124M, as the book's repository has it:
#
# | what changes | mean | lowest and highest | GPT-2 124M |
# | --- | --- | --- | --- |
# | nothing | 82 % | 78, 85 % | 95.00 % |
# | 1,024 tokens | 70 % | 59, 82 % | 78.33 % |
# | everything trained | 86 % | 82, 89 % | 96.67 % |
# | first token | 58 % | 55, 62 % | 75.00 % |
#
# </details>

# %%
from helpers.data import SpamDataset
from helpers.tokenizer import get_tokenizer

long_sets = [SpamDataset(each.data, get_tokenizer(), max_length=1024) for each in both_sets]
assert long_sets[0].max_length == 1024

# %% [markdown]
# What `fine_tune` kept of the frozen part lies in memory: here some 50 MB for each part and position
# that you froze, and some 630 MB for the messages of 1,024 tokens. `forget` gives it back.

# %%
from workshop.fast import forget

forget()

# %% [markdown]
# ## Five questions
#
# <details><summary>1. What may run once for each message, and be kept?</summary>
#
# All that lies below the lowest trainable part: with the same message it puts out the same numbers in every epoch.
#
# </details>
#
# <details><summary>2. With which plans is nothing kept?</summary>
#
# With those that train an embedding: then nothing lies below the lowest trainable part.
#
# </details>
#
# <details><summary>3. What must the last block compute for the last token alone, and what for all?</summary>
#
# One query and one pass of the feed-forward; but it meets all tokens, by their keys and values.
#
# </details>
#
# <details><summary>4. Why are the losses the same as those of the book's loop?</summary>
#
# What is trained gets the same inputs, in the same order. Only rounding differs.
#
# </details>
#
# <details><summary>5. Why are the choices here compared on validation data?</summary>
#
# Whoever chooses by the test data has no data left that could judge the choice.
#
# </details>

# %%
from workshop.exercises import progress

progress("6.D")

# %% [markdown]
# ## What to take away
#
# - What is frozen below the lowest trainable part need run only once for each message: same numbers, less time.
# - A classifier needs the last block for one token only, which looks at all.
# - The head alone can't fetch what is not there: where it reads matters more than how long it trains.
# - Fast trainings are for asking more than once: other seeds, other plans.
