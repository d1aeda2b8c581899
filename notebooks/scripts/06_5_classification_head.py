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
# # 6.5 Adding a classification head
#
# After this notebook you can turn a GPT-2 that continues texts into a model that puts a message into one of two
# classes, and you can say which of its parameters will learn and what that costs. About 40 minutes. Figures are those of
# the bundled pair; with another choice expect others.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/gpt2-classification-course/blob/main/notebooks/06_5_classification_head.ipynb)

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
# ## Step 1: the configuration
#
# A model's *configuration* is the handful of sizes that fixes the shape of everything in it: how many tokens it knows
# (`vocab_size`) and reads at once (`context_length`), how many numbers stand for a token inside (`emb_dim`), how many
# transformer blocks are stacked, and how many attention heads each has. `drop_rate` is for training (0: no dropout);
# `qkv_bias` is a detail of GPT-2's attention.

# %%
from helpers.config import MODEL_CONFIGS, gpt_config

for name, sizes in MODEL_CONFIGS.items():
    print(f"{name:<21}", sizes)

cfg = gpt_config(CHOOSE_MODEL)
cfg

# %% [markdown]
# ## Step 2: the pretrained model
#
# `load_pretrained` does what section 6.4 did by hand. The outermost parts, from where a message goes in:

# %%
from helpers.loading import load_pretrained

model = load_pretrained(CHOOSE_MODEL)
for name, part in model.named_children():
    print(f"{name:<11} {type(part).__name__}")

# %% [markdown]
# The last part is the *head*. It turns each token's vector into scores, called *logits*, which can be any number.

# %%
from helpers.tokenizer import get_tokenizer, text_to_token_ids

tokenizer = get_tokenizer()
inputs = text_to_token_ids("Do you have time", tokenizer)
print(model.out_head)
print(inputs, tuple(inputs.shape))

# %% [markdown]
# What goes in has the shape `(batch, num_tokens)`: one message of four tokens.

# %%
import torch

from workshop.widgets import predict

with torch.no_grad():  # no training here, so no gradients are kept
    outputs = model(inputs)

predict("6.5 the shape with the old head", tuple(outputs.shape), emb_dim=cfg["emb_dim"])

# %% [markdown]
# ## Step 3: freeze everything
#
# *Freezing* a parameter means: the optimizer will leave it as it is. In torch one flag does it. Without
# `requires_grad` no gradient is computed, and without a gradient there is no change.

# %%
for param in model.parameters():
    param.requires_grad = False

# %% [markdown]
# ## Step 4: a new head, and what is to learn
#
# In the head's place comes a layer with two outputs, one for each class. Its weights are random (the seed makes sure that
# you see our figures), and it is trainable. Like the book, we let the last block and the last norm learn, too.

# %%
torch.manual_seed(123)
model.out_head = torch.nn.Linear(in_features=cfg["emb_dim"], out_features=2)

for param in model.trf_blocks[-1].parameters():
    param.requires_grad = True

for param in model.final_norm.parameters():
    param.requires_grad = True

# %% [markdown]
# (Why not the head alone? Experiments in the book's repository, with GPT-2 124M, found 72 % test accuracy for that and 95 % for
# this choice. Both classify at the end of the padding; at a message's own last token the nano's head alone does nearly as
# well: [6.C](06_C_where_nano_comes_from.ipynb) compares.)

# %%
from helpers.freezing import FreezePlan, parameter_report

plan = FreezePlan.book(cfg["n_layers"])
assert FreezePlan.of(model) == plan  # what we set by hand is the book's plan
sizes = {name: gpt_config(name) for name in MODEL_CONFIGS}
shown = "\n".join(
    f"{name:<21} {parameter_report(size, FreezePlan.book(size['n_layers'])).percent:5.2f} %"
    for name, size in sizes.items()
)

predict("6.5 the share that learns", given=(cfg, plan), show=shown)

# %% [markdown]
# ## Step 5: what comes out now

# %%
with torch.no_grad():
    outputs = model(inputs)

predict("6.5 the shape with the new head", tuple(outputs.shape), str(outputs.numpy().round(1)))


# %% [markdown]
# > **Write it: how many learn.** (easy, 3 minutes)
# >
# > Return how many of the model's parameters learn. A parameter is one number; torch gives them out in tensors.
#
# <details><summary>A hint</summary>
#
# Go through `model.parameters()`; each has the flag `requires_grad`.
#
# </details>
# <details><summary>A bigger hint</summary>
#
# `numel()` says how many numbers a tensor has. `sum` adds up.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# def my_count_trainable(model):
#     return sum(p.numel() for p in model.parameters() if p.requires_grad)
# ```
#
# </details>


# %%
def my_count_trainable(model: torch.nn.Module) -> int:
    """Return how many numbers, in all of the model's parameters together, learn."""
    ...


# %%
from workshop.exercises import check_code

count_trainable = check_code("6.5 trainable parameters", my_count_trainable)

# %%
print(f"{count_trainable(model):,} trainable parameters")

# %% [markdown]
# ## The Freeze Explorer
#
# This diagram shows your model. Each row is a part, with the input at the bottom. Blue and dashed with
# a snowflake: *frozen*, training doesn't change it. Orange with a pencil: *trainable*.
#
# - **Click a row** to freeze or unfreeze it. With the Shift key you also unfreeze everything above it
#   and freeze everything below it. ▸ opens a block.
# - The pink arrow shows how far down the gradient goes in the backward pass.
# - The bars show the costs of one training step. The line on each bar marks the book's choice.
#
# Click the first block, `trf_blocks.0`. How far down does the arrow go now? Click it again.

# %%
from workshop.widgets import FreezeExplorer

explorer = FreezeExplorer(model)
explorer

# %% [markdown]
# Code can read your choice. Run the next cell again after a change.

# %% tags=["key-figure"]
from workshop.pictures.model import describe_reach

print(describe_reach(explorer.reach))
for cost in explorer.cost:
    print(f"{cost.what:<36} {cost}")
print(explorer.report)

# %% [markdown]
# **Figure 6.12**, selective fine-tuning, for our model: the input is at the bottom, what is frozen blue and dashed.

# %%
from workshop.pictures.model import draw_classifier

draw_classifier(parameter_report(cfg, plan))

# %%
two = parameter_report(cfg, FreezePlan.last_blocks(cfg["n_layers"], 2))

predict("6.5 two blocks", given=(cfg,), show=str(two))


# %% [markdown]
# > **Write it: freeze by name.** (easy, 6 minutes)
# >
# > What do the buttons do to a model? Parameters have names, such as `trf_blocks.1.norm1.scale`. Let those learn whose name is one of `trainable`, or begins with one and a dot; freeze all others.
#
# <details><summary>A hint</summary>
#
# `model.named_parameters()` gives pairs of a name and a parameter. Set each one's flag, to True or to False.
#
# </details>
# <details><summary>A bigger hint</summary>
#
# `name.startswith("trf_blocks.1")` is also True for `trf_blocks.10`: add the dot. `any` is True if one of several is.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# def my_freeze(model, trainable):
#     for name, parameter in model.named_parameters():
#         parameter.requires_grad = any(
#             name == part or name.startswith(f"{part}.") for part in trainable
#         )
# ```
#
# </details>


# %%
def my_freeze(model: torch.nn.Module, trainable: tuple[str, ...]) -> None:
    """Set the flag of each parameter: those named in `trainable` learn, all others don't.

    A name is that of a part or a piece, "trf_blocks.1" or "trf_blocks.1.att", or a parameter's own.
    """
    ...


# %%
freeze = check_code("6.5 freezing", my_freeze)

# %%
freeze(model, tuple(explorer.plan.trainable))  # what the Explorer shows
print(f"{count_trainable(model):,} trainable parameters")

# %% [markdown]
# `explorer.apply_to(model)` does it with your choice. It uses the course's own:

# %%
from workshop.exercises import show_source

show_source(FreezePlan.apply)

# %% [markdown]
# ## The gradient's way
#
# In training, a message goes up through the model: the *forward pass*. At the top the *loss* says how wrong the answer is
# (section 6.6). Then the *backward pass* comes down again and finds each trainable parameter's *gradient*: how the loss would
# change with it. It *ends* in the lowest part that learns. A frozen part above that is *crossed*: it hands the gradient down,
# but needs none of its own.
#
# Click *head only* in the Explorer, then *everything*. Through which parts does the gradient pass?

# %% [markdown]
# ## What it costs
#
# Work is counted in *multiply-adds*, of which matrix products are made (other work is small and left out). Memory holds the
# weights, a gradient for each trainable parameter, two *moments* for each (averages that the optimizer AdamW keeps), and what
# the forward pass keeps for the backward pass.

# %%
predict("6.5 the first block in place of the last", given=(cfg, 4))  # of four tokens

# %% [markdown]
# > **A. Two blocks, little compute.** (medium, 4 minutes) Find the choice that needs the least compute in the
# > backward pass and in which the head and at least two whole blocks are trainable. Here is the Explorer
# > again, with your last choice. Click, then run the check.

# %%
explorer

# %%
from workshop.exercises import check

check("6.5 two blocks, little compute", explorer)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# explorer.plan = FreezePlan.last_blocks(cfg["n_layers"], 2)
# ```
#
# The last two blocks: the gradient passes no frozen block. `final_norm` makes no difference: it has no matrix, and the
# gradient has to pass through it anyway.
#
# </details>
#
# > **B. Few parameters, a long backward pass.** (medium, 4 minutes) Find a choice that trains less than
# > 1 % of the parameters and still needs at least 40 % of the compute that *everything* needs in the
# > backward pass.

# %%
check("6.5 few parameters, a long way", explorer)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# explorer.plan = FreezePlan(cfg["n_layers"], {"trf_blocks.0.norm1"})
# ```
#
# A few hundred parameters, but the gradient crosses all other blocks. (From GPT-2 124M on, `pos_emb` will do, too.) So few
# trainable parameters save at most about half of the backward pass; a short way saves nearly all of it. What few do save is memory
# for gradients and moments.
#
# </details>
#
# ## Run once what is frozen
#
# Below the lowest part that learns, the same message gives the same numbers in every epoch (an *epoch* is one pass through all
# training messages). `fine_tune`, in [6.D](06_D_caching_the_frozen_layers.ipynb), runs that part only once. The next cell compares both ways for a whole
# training, on as many messages as in the book.

# %%
from workshop.costs import work_of_training

choices = {"head only": FreezePlan.head_only, "the book's choice": FreezePlan.book}
choices["everything"] = FreezePlan.everything
saved = {}
for name, choice in choices.items():
    whole, once = work_of_training(
        cfg, choice(cfg["n_layers"]), [4] * 1045, [4] * 149, batch_size=1
    )
    saved[name] = 1 - once.amount / whole.amount

predict("6.5 where running once saves nothing", min(saved, key=saved.get))


# %% [markdown]
# > **Write it: the frozen blocks.** (medium, 6 minutes)
# >
# > From the bottom, how many of the blocks run the same in every epoch? `trainable` holds names such as the Explorer's, `trf_blocks.2` or `trf_blocks.2.att`.
#
# <details><summary>A hint</summary>
#
# Only the lowest part that learns counts. Below `trf_blocks.2` lie blocks 0 and 1. An embedding lies below all blocks.
#
# </details>
# <details><summary>A bigger hint</summary>
#
# `int(name.split(".")[1])` is the number of a block. `min(numbers, default=n_layers)` also knows what to do with none.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# def my_frozen_blocks(trainable, n_layers):
#     if "tok_emb" in trainable or "pos_emb" in trainable:
#         return 0
#     blocks = [int(name.split(".")[1]) for name in trainable if name.startswith("trf_blocks.")]
#     return min(blocks, default=n_layers)
# ```
#
# </details>


# %%
def my_frozen_blocks(trainable: set[str], n_layers: int) -> int:
    """Return how many of `n_layers` blocks, from the bottom, lie below all that learns.

    0 where an embedding, "tok_emb" or "pos_emb", learns: no block runs the same then.
    """
    ...


# %%
frozen_blocks = check_code("6.5 frozen blocks", my_frozen_blocks)

# %% [markdown]
# The course's own says None where an embedding learns: then not even the embeddings stay the same.

# %%
from helpers import freezing

show_source(freezing.frozen_blocks)

# %% [markdown]
# ## Step 6: from the last token to probabilities
#
# Four rows came out, but a message gets one answer. Which row do we take? In GPT-2 a token may look only at itself and
# at the tokens before it: that is the *causal mask*.

# %%
from workshop.inside import attention_weights
from workshop.pictures.attention import draw_mask
from helpers.tokenizer import visible_tokens

tokens = visible_tokens(inputs[0].tolist(), tokenizer)
weights = attention_weights(model, inputs).flatten(0, 2)  # of every block and head: (…, 4, 4)
zeros = (weights == 0).all(dim=0)

predict("6.5 weights that are zero", int(zeros.sum()), draw_mask(model, inputs, tokens))

# %%
with torch.no_grad():
    other = model(text_to_token_ids("Do you have money", tokenizer))
same = [torch.allclose(outputs[0, row], other[0, row], atol=1e-4) for row in range(len(tokens))]

predict("6.5 rows that stay", sum(same), f"stays as it was: {same}")

# %% [markdown]
# We take the row that knows the whole message. *Softmax* turns its logits into probabilities: all positive, together 1, in
# the same order. Class 0 is ham, class 1 is spam.

# %%
last = outputs[:, -1, :]  # (1, 2): of each message the last row
probabilities = torch.softmax(last, dim=-1)
label = ["ham", "spam"][torch.argmax(probabilities, dim=-1).item()]
print(f"ham {probabilities[0, 0]:.2f}, spam {probabilities[0, 1]:.2f} → {label}")

# %% [markdown]
# An answer, but an untrained one: another seed may turn it around. Section 6.6 measures how bad that is, section 6.7
# trains.
#
# `trace_shapes` notes what every part puts out. `pos_emb` has no batch dimension: position 0 gets the same vector in
# every message.

# %%
from helpers.freezing import trace_shapes

for shape in trace_shapes(model, inputs):
    print(shape)

# %% [markdown]
# **Figure 6.13** shows the same for GPT-2 124M.

# %%
from workshop.pictures.model import figure_6_13

figure_6_13()

# %% [markdown]
# ## Try it
#
# > **1. Another second word.** (easy, 2 minutes) Which rows change now? Run it, then try your own message of four tokens.

# %%
my_message = "Do they have time"

with torch.no_grad():
    other = model(text_to_token_ids(my_message, tokenizer))
for row, (before, after) in enumerate(zip(outputs[0], other[0], strict=False)):
    print(f"row {row}: {'same' if torch.allclose(before, after, atol=1e-4) else 'different'}")

# %% [markdown]
# > **2. Three classes.** (easy, 2 minutes) How many parameters would a head for *three* classes have? Don't forget the bias.

# %%
my_answer = None

# %%
check("6.5 three classes", my_answer, cfg)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# my_answer = cfg["emb_dim"] * 3 + 3
# ```
#
# For the bundled model 192 · 3 + 3 = 579, for GPT-2 124M 768 · 3 + 3 = 2,307.
#
# </details>

# %% [markdown]
# ## Five questions
#
# <details><summary>1. What is exchanged to make a classifier of GPT-2?</summary>
#
# The head: a layer with two outputs for each token comes in the place of one with 50,257.
#
# </details>
# <details><summary>2. What does freezing a parameter do in torch?</summary>
#
# With `requires_grad` off no gradient is computed for it, so the optimizer leaves it as it is.
#
# </details>
# <details><summary>3. Why does the last token's row classify the message?</summary>
#
# A token sees itself and what stands before it: only the last one has seen all.
#
# </details>
# <details><summary>4. Why can a norm in block 0, with few parameters, be dear to train?</summary>
#
# The gradient has to cross all blocks above it, and the forward pass keeps more for it.
#
# </details>
# <details><summary>5. Which part of a model has to run only once for each message?</summary>
#
# All that lies below the lowest part that learns: it puts out the same in every epoch.
#
# </details>

# %%
from workshop.exercises import progress

progress("6.5")

# %% [markdown]
# ## What to take away
#
# - A classifier is the pretrained model with another head: `(1, 4, 50257)` becomes `(1, 4, 2)`.
# - Freezing is one flag for each parameter; the book trains the last block, the final norm and the head.
# - The last token's row classifies, for only it has seen every token. So far the head is random.
# - How far down the gradient goes decides the work of the backward pass; how many parameters learn, the memory for gradients and moments.
#
# Next: [6.6, loss and accuracy](06_6_loss_and_accuracy.ipynb).
