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
# After this notebook you can turn GPT-2 into a classifier with two classes, and say which parameters are trained and what
# that costs. Read [section 6.4](06_4_pretrained_weights.ipynb) first. About 30 minutes. `CHOOSE_DATA` has no effect here. The
# [glossary](../site/pages/glossary.md) explains the terms of the course.
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
# ## Step 1: the configuration
#
# A few numbers determine the shape of every tensor in the model. `emb_dim` is the length of each token's vector. There are
# `n_layers` blocks with `n_heads` attention heads each.

# %%
from helpers.config import gpt_config

cfg = gpt_config(CHOOSE_MODEL)
cfg

# %% [markdown]
# ## Step 2: the pretrained model
#
# `load_pretrained` does what you did by hand in section 6.4. All blocks have the same layers.

# %%
from helpers.loading import load_pretrained

model = load_pretrained(CHOOSE_MODEL)
print(model)

# %% [markdown]
# The last layer, `out_head`, is the *head*. It turns the vector of each token into scores, one for every token of the
# vocabulary. Such scores are called [*logits*](../site/pages/glossary.md). The input here is one message of four tokens:

# %%
import torch

from helpers.tokenizer import get_tokenizer, text_to_token_ids
from workshop.widgets import predict

tokenizer = get_tokenizer()
inputs = text_to_token_ids("Do you have time", tokenizer)
print(inputs, tuple(inputs.shape))

with torch.no_grad():  # we don't train here, so we need no gradients
    old_outputs = model(inputs)

predict("6.5 the shape with the old head", given=(model, old_outputs))

# %% [markdown]
# ## Step 3: freeze all parameters
#
# To [*freeze*](../site/pages/glossary.md) a parameter means to exclude it from training. With
# [`requires_grad = False`](https://docs.pytorch.org/docs/stable/notes/autograd.html#setting-requires-grad), PyTorch computes
# no gradient for it, so the optimizer skips it. (Freeze before training: the optimizer would still use an older gradient.)

# %%
for param in model.parameters():
    param.requires_grad = False

# %% [markdown]
# ## Step 4: replace the head
#
# We replace the head with a linear layer that has two outputs, one for each class. Its weights are random; the seed makes
# them reproducible.

# %%
from workshop.pictures.model import draw_new_head

torch.manual_seed(123)
model.out_head = torch.nn.Linear(in_features=cfg["emb_dim"], out_features=2)
draw_new_head(cfg)

# %% [markdown]
# A new layer is trainable. By default it also has a bias; GPT-2's own head has none.
#
# Training the head alone is possible, but the book found better predictions if more is trained. So it also unfreezes the last
# block, and `final_norm`, the last layer norm, which connects that block to the head.

# %%
for param in model.trf_blocks[-1].parameters():
    param.requires_grad = True

for param in model.final_norm.parameters():
    param.requires_grad = True


# %% [markdown]
# > **Write it: count the trainable parameters.** (easy, 3 minutes)
# >
# > Return the number of the model's trainable parameters. Count single numbers; PyTorch stores them in tensors.
#
# <details><summary>A hint</summary>
#
# Loop over `model.parameters()`. Each of them has the flag `requires_grad`.
#
# </details>
# <details><summary>A bigger hint</summary>
#
# `numel()` returns how many numbers a tensor has. `sum` adds them up.
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
    """Return the number of trainable parameters, not of tensors."""
    ...


# %%
from workshop.exercises import check_code

count_trainable = check_code("6.5 trainable parameters", my_count_trainable)

# %% tags=["key-figure"]
from helpers.freezing import FreezePlan

trainable = count_trainable(model)
total = sum(param.numel() for param in model.parameters())
print(f"{trainable:,} of {total:,} parameters are trainable")
print(f"{100 * trainable / total:.2f} %")
if FreezePlan.of(model) != FreezePlan.book(cfg["n_layers"]):
    print("This is not the book's choice. Run steps 2 to 4 again, in order.")

# %% [markdown]
# ## Step 5: the output with the new head

# %%
from helpers.freezing import num_classes_of

print(num_classes_of(model), "classes")  # an error if step 4 was skipped
with torch.no_grad():
    outputs = model(inputs)

predict(
    "6.5 the shape with the new head",
    tuple(outputs.shape),
    str(outputs.numpy().round(1)),
)

# %% [markdown]
# ## Step 6: from the last token to probabilities
#
# The output has four rows, but a message gets one label. Which row do we use? Remember the *causal mask*: a token attends
# only to itself and to the tokens before it.

# %%
from helpers.tokenizer import visible_tokens
from workshop.pictures.attention import draw_mask

other_inputs = text_to_token_ids("Do you have money", tokenizer)
tokens = visible_tokens(inputs[0].tolist(), tokenizer)
predict(
    "6.5 rows that stay",
    given=(model, inputs, other_inputs),
    show=draw_mask(model, inputs, tokens),
)

# %% [markdown]
# We use the last row, because only the last token attends to the whole message. *Softmax* turns its logits into the
# probabilities of class 0, ham, and class 1, spam.

# %%
last_logits = outputs[:, -1, :]  # (1, 2): the last row of each message
probabilities = torch.softmax(last_logits, dim=-1)
label = ["ham", "spam"][torch.argmax(probabilities, dim=-1).item()]
ham, spam = probabilities[0]
print(f"ham {ham:.2f}, spam {spam:.2f} → {label}")

# %% [markdown]
# The head is untrained, so this label means nothing yet; another seed may give the opposite one.
#
# ## What to freeze?
#
# In training, the *forward pass* computes the output, and a number, the *loss*, says how wrong it is (section 6.6). The
# [*backward pass*](../site/pages/glossary.md) then goes down from the loss. It computes the
# [*gradient*](../site/pages/glossary.md) of each trainable parameter: how much the loss changes if the parameter changes. The
# gradient *passes through* every part above the lowest trainable one, frozen or not, and *stops at* the lowest one.

# %% [markdown]
# The Freeze Explorer shows your model, with the input at the bottom.
#
# - **Click a row** to freeze ❄ or unfreeze ✎ it. ▸ opens a block.
# - The pink arrow shows how far down the gradient goes.
# - The bars show the costs of a training step. Below them you read how accurate a choice was, if that was measured.
#
# Click `trf_blocks.0`: the gradient now passes through the frozen blocks above it. Click it again. Then select
# *everything* in **Train**: the gradient passes through trainable blocks in the same way.
#
# > **A. Two blocks, little compute.** (medium, 4 minutes) Make the head and two whole blocks trainable. With which choice does
# > the backward pass need the least compute?

# %%
from workshop.widgets import FreezeExplorer

explorer = FreezeExplorer(cfg)  # opens with the book's choice
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
# These are the last two blocks. The gradient passes through no frozen block. `final_norm` makes no difference: it has no
# matrix, and the gradient passes through it in any case.
#
# </details>
#
# > **B. Few parameters, a long backward pass.** (medium, 4 minutes) Train less than 1 % of the parameters. The backward pass
# > should still need at least 40 % of the compute of *everything*. (This is the same Explorer.)

# %%
explorer

# %%
check("6.5 few parameters, a long way", explorer)


# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# explorer.plan = FreezePlan(cfg["n_layers"], {"trf_blocks.0.norm1"})
# ```
#
# This layer norm has few parameters, but the gradient passes through all other blocks on its way. (In GPT-2 124M and larger
# models, `pos_emb` is also a solution.)
#
# </details>

# %% [markdown]
# > **Write it: freeze by name.** (easy, 6 minutes)
# >
# > Apply such a choice to a model. Make every parameter trainable whose name, such as `trf_blocks.1.norm1.scale`, is in
# > `trainable`, or starts with one of these names followed by a dot. Freeze all others.
#
# <details><summary>A hint</summary>
#
# `model.named_parameters()` returns pairs of a name and a parameter. Set the flag of each to True or to False.
#
# </details>
# <details><summary>A bigger hint</summary>
#
# `name.startswith("trf_blocks.1")` is also True for `trf_blocks.10`, so add the dot. `any(…)` is True if at least one of its
# values is True.
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
    """Make the named parts and parameters trainable, and freeze all others.

    A name may be that of a part, "trf_blocks.1", of a piece of a block,
    "trf_blocks.1.att", or of a single parameter.
    """
    ...


# %%
freeze = check_code("6.5 freezing", my_freeze)

# %%
freeze(model, tuple(explorer.plan.trainable))  # your choice in the Explorer
print(f"{count_trainable(model):,} trainable parameters")

# %% [markdown]
# ## What a training step costs
#
# Every trainable parameter needs memory for its gradient and for two *moment estimates* of the optimizer,
# [AdamW](../site/pages/glossary.md). The forward pass also keeps [*activations*](../site/pages/glossary.md) for the backward
# pass. Compute is counted in *multiply-adds*, the operations of a matrix product. We take one batch of the book: eight
# messages of 120 tokens.

# %%
import pandas as pd

from workshop.costs import training_cost

n_layers = cfg["n_layers"]
lowest_block = {"trf_blocks.0", "final_norm", "out_head"}
plans = {
    "head only": FreezePlan.head_only(n_layers),
    "the book's choice": FreezePlan.book(n_layers),
    "first block, not last": FreezePlan(n_layers, lowest_block),
    "everything": FreezePlan.everything(n_layers),
}
table = {}
for name, plan in plans.items():
    cost = training_cost(cfg, plan, batch_size=8, num_tokens=120)
    table[name] = {
        "gradients": cost.gradients,
        "moment estimates": cost.optimizer,
        "activations": cost.activations,
        "backward pass": cost.backward,
    }
pd.DataFrame(table).T

# %% [markdown]
# The second and the third choice train equally many parameters, so gradients and moment estimates need the same memory. But
# with the first block, the gradient passes through all blocks above it. So activations and the backward pass cost much more.
# (Weights and the forward pass cost the same with every choice.)
#
# In the backward pass, a frozen block that the gradient passes through costs about half of a trained one, because no
# gradients of its weights are computed.
#
# ## Try it
#
# > **Three classes.** (easy, 2 minutes) How many parameters does a head for *three* classes have? Remember the bias.

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
# For the bundled model this is 192 · 3 + 3 = 579, for GPT-2 124M 768 · 3 + 3 = 2,307.
#
# </details>
#
# Can you fine-tune Llama, Qwen or BERT like this? See the [questions page](../site/pages/questions.md).

# %% [markdown]
# ## Two questions
#
# <details><summary>1. Why does the last token's row classify the message?</summary>
#
# Because of the causal mask, each token attends only to itself and to the tokens before it. Only the last one attends to the
# whole message.
#
# </details>
# <details><summary>2. Why can a layer norm in block 0 be expensive to train, although it has few parameters?</summary>
#
# The gradient has to pass through all blocks above it, and the forward pass has to keep more activations for that.
#
# </details>

# %%
from workshop.exercises import progress

progress("6.5")

# %% [markdown]
# ## What to take away
#
# - A classifier is the pretrained model with another head: the output `(1, 4, 50257)` becomes `(1, 4, 2)`.
# - A parameter is frozen by its flag `requires_grad`. The book trains the last block, `final_norm` and the head.
# - The last token's logits classify the message, because only this token attends to all others.
# - The number of trainable parameters determines the memory for gradients and moment estimates. The depth of the lowest one
#   mainly determines the compute of the backward pass.
#
# Next: [6.6, loss and accuracy](06_6_loss_and_accuracy.ipynb).
