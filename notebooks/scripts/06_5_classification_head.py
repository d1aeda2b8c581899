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
# classes, and you can say which of its parameters will learn.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/gpt2-classification-course/blob/main/notebooks/06_5_classification_head.ipynb)

# %% [markdown]
# A pretrained GPT-2 answers one question: *which token comes next?* There are 50,257 answers. Our question, *is this
# message spam or ham?*, has two. Most of what GPT-2 knows about English is useful for both. So we keep the model, exchange
# the layer that gives the answer, and let only the topmost parts learn.
#
# Six steps lead from the configuration to two probabilities. Then the *Freeze Explorer* lets you try any choice of parts,
# for any size of GPT-2. The section's number and the names are those of the book's chapter 6; the figures are this
# course's own.

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
# ## Step 1: the configuration
#
# A model's *configuration* is the handful of sizes that fixes the shape of everything in it. Some settings are the same
# for every GPT-2; these differ:

# %%
from helpers.config import MODEL_CONFIGS, gpt_config

for name, sizes in MODEL_CONFIGS.items():
    print(f"{name:<21}", sizes)

# %%
cfg = gpt_config(CHOOSE_MODEL)
cfg

# %% [markdown]
# - `vocab_size`: how many different tokens (word pieces) the model knows.
# - `context_length`: the most tokens that it can read at once.
# - `emb_dim`: how many numbers stand for one token inside the model, its *embedding*.
# - `n_layers`: how many transformer blocks are stacked; `n_heads`: how many attention heads each has (another kind of head
#   than the one that this notebook is about).
# - `drop_rate`: the share of values that dropout sets to zero in training; 0 turns it off.
# - `qkv_bias`: whether queries, keys and values get a bias, as they do in GPT-2.

# %% [markdown]
# ## Step 2: the pretrained model
#
# `load_pretrained` builds the model and puts the checkpoint's weights into it, as section 6.4 did by hand, and sets it to
# evaluation mode, in which dropout is off. Its outermost parts:

# %%
from helpers.loading import load_pretrained

model = load_pretrained(CHOOSE_MODEL)
for name, part in model.named_children():
    print(f"{name:<11} {type(part).__name__}")

# %% [markdown]
# The list begins where a message goes in: two embeddings, a dropout (off here), a stack of blocks, a last layer norm, and
# the output layer `out_head`, also called the *head*. (`print(model)` shows all that is inside, as the book does.) What
# has to change is the head:

# %%
model.out_head

# %% [markdown]
# It turns each token's vector into one number for each token of the vocabulary: the *logits*, scores that can be any
# number.

# %%
from helpers.tokenizer import get_tokenizer, text_to_token_ids

tokenizer = get_tokenizer()
inputs = text_to_token_ids("Do you have time", tokenizer)
print(inputs, tuple(inputs.shape))

# %% [markdown]
# The shape is `(batch, num_tokens)`: one message of four tokens.
#
# **Predict:** which shape comes out of the model with its present head?

# %%
import torch

with torch.no_grad():  # no training here, so no gradients are kept
    outputs = model(inputs)
print(tuple(outputs.shape))

# %% [markdown]
# `(1, 4, 50257)`: for each of the four tokens, a score for every token that might follow it.

# %% [markdown]
# ## Step 3: freeze everything
#
# *Freezing* a parameter means: the optimizer will leave it as it is. In torch one flag does it. With `requires_grad`
# off, no gradient is computed for the parameter, and without a gradient there is no change.

# %%
for param in model.parameters():
    param.requires_grad = False

# %% [markdown]
# ## Step 4: a new head, and what is to learn
#
# We put a new layer in the head's place, with as many inputs as before, but two outputs, one for each class. Its weights
# are random; the seed makes sure that you see our figures. A fresh layer is trainable.

# %%
torch.manual_seed(123)
num_classes = 2
model.out_head = torch.nn.Linear(in_features=cfg["emb_dim"], out_features=num_classes)
model.out_head

# %% [markdown]
# Training the new head alone would be possible, but experiments in the book's repository found, with GPT-2 124M, 72 %
# test accuracy for the head alone and 95 % with the last block and the last layer norm. So we thaw these two. (Both figures
# are for classifying at the end of the padding. At a message's own last token the nano's head alone does nearly as well:
# [6.A](06_A_where_nano_comes_from.ipynb) compares.)

# %%
for param in model.trf_blocks[-1].parameters():
    param.requires_grad = True

for param in model.final_norm.parameters():
    param.requires_grad = True

# %% [markdown]
# **Predict:** how many percent of the parameters will learn? The embeddings are large, and a block is one of several.

# %% tags=["key-figure"]
trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
total = sum(p.numel() for p in model.parameters())
print(f"{trainable:,} of {total:,} parameters are trainable: {100 * trainable / total:.2f} %")

# %% [markdown]
# `FreezePlan.book` makes the same choice, and `parameter_report` counts without building the weights, so it can answer
# for every size at once.

# %%
from helpers.freezing import FreezePlan, parameter_report

plan = FreezePlan.book(cfg["n_layers"])
assert FreezePlan.of(model) == plan  # what we set by hand is the book's plan
print(parameter_report(cfg, plan))

# %%
for name in MODEL_CONFIGS:
    sizes = gpt_config(name)
    report = parameter_report(sizes, FreezePlan.book(sizes["n_layers"]))
    print(
        f"{name:<21} {report.trainable:>11,} of {report.total:>13,} trainable: {report.percent:5.2f} %"
    )

# %% [markdown]
# Among OpenAI's four sizes, the larger the model, the smaller the share: there are more blocks, and still only one of
# them learns. The nano stands apart, because its token embedding makes up three quarters of it.
#
# Here is **figure 6.12**, selective fine-tuning, for our model, with the input at the bottom: frozen parts are blue with a
# dashed border and a snowflake ❄, trainable ones orange with a pencil ✎. The picture in words follows it.

# %%
from helpers.diagrams import draw_classifier

report = parameter_report(cfg, plan)
picture = draw_classifier(report)
picture

# %%
print(picture.words)

# %% [markdown]
# ## Step 5: what comes out now
#
# **Predict** the shape before you run the cell.

# %%
with torch.no_grad():
    outputs = model(inputs)
print(tuple(outputs.shape))
print(outputs.numpy().round(1))

# %% [markdown]
# One row for each token, as before, but each row has two logits instead of 50,257. They come from an untrained head and
# mean nothing yet. (For GPT-2 124M the book prints −3.5983 and 3.9902 in the last row.)
#
# `trace_shapes` watches one forward pass and notes what every part puts out.

# %%
from helpers.shapes import trace_shapes

shapes = trace_shapes(model, inputs)
for shape in shapes:
    print(shape)

# %% [markdown]
# All blocks take and give the same shape; that is why they can be stacked. `pos_emb` has no batch dimension: position
# 0 gets the same vector in every message, so one copy is added to all.
#
# **Figure 6.13** shows the same for GPT-2 124M: the message at the bottom, the shapes on the right, at the top the new head
# and a note which layer it took the place of.

# %%
from helpers.diagrams import figure_6_13

figure_6_13()

# %% [markdown]
# ## Step 6: from the last token to probabilities
#
# Four rows came out, but a message gets one answer. Which row do we take? In GPT-2 a token may look only at itself and
# at the tokens before it: that is the *causal mask*. Section 6.4 drew what one token gathers; here are all of this message,
# each with its weights, as they come out of the model.
#
# **Predict:** of the 4 × 4 weights, how many are exactly 0?

# %%
from helpers.pictures.attention_steps import draw_mask
from helpers.tokenizer import visible_tokens

draw_mask(model, inputs, visible_tokens(inputs[0].tolist(), tokenizer))

# %% [markdown]
# Six: all that lie above the diagonal, in every head of every block. A row of the picture is a token that looks; its weights,
# here the mean of all heads, are together 100 %, up to rounding. So the first row of `outputs` knows one word of the message, and only the last row
# has seen them all. That is the one we take.

# %%
last = outputs[:, -1, :]
print(tuple(last.shape))

# %% [markdown]
# *Softmax* turns logits into probabilities: all positive, together 1, in the same order. We agree that class 0 is ham
# and class 1 is spam.

# %%
probabilities = torch.softmax(last, dim=-1)
label = ["ham", "spam"][torch.argmax(probabilities, dim=-1).item()]
print(f"ham {probabilities[0, 0]:.2f}, spam {probabilities[0, 1]:.2f} → {label}")

# %% [markdown]
# "Do you have time" gets an answer, but an untrained one: another seed for the head may turn it around. Section 6.6
# measures how bad that is, section 6.7 trains it. As softmax keeps the order, the largest logit has the largest
# probability. Training will use the logits; the probabilities are for us.

# %% [markdown]
# ## The Freeze Explorer
#
# What if you had chosen other parts? Three ideas first.
#
# **Forward and backward.** In training, a message first goes up through the model: the *forward pass*. At the top the
# *loss* is computed, one number that says how wrong the answer is (section 6.6). Then the *backward pass* goes down again
# and finds, for each trainable parameter, how the loss would change with it: its *gradient*.

# %% [markdown]
# **The gradient's way.** Each part is told from above how the loss would change with what it *puts out*. From that it
# works out the gradients of its own parameters, if it is trainable, and how the loss would change with what came *in*,
# which it hands down: the gradient *crosses* it. A frozen part does only the second. The backward pass *ends* in the
# lowest trainable part. (The two embeddings stand side by side, so neither is ever crossed.)

# %% [markdown]
# **The cost.** Work is counted in *multiply-adds*: one multiplication and one addition, of which a matrix product is made.
# (Other work, such as softmax, is small and left out.) Memory holds four things:
#
# - the weights;
# - a gradient for each trainable parameter;
# - for each of these, two *moments*: running averages from which the optimizer AdamW sets the size of its steps;
# - what the forward pass keeps for the backward pass: a gradient is worked out from what went into a part.
#
# **Predict:** if the *first* block learned in the last one's place, which of the four would change? And the number of
# trainable parameters, and the work?

# %% [markdown]
# Here is your model as you left it. Each part is a *toggle*, a button that freezes or trains it; ▸ opens a block into its
# four pieces: attention (`att`), feed-forward (`ff`) and two norms. If only some of them learn, the block is *partly
# trainable*. *Train* offers ready-made choices (*custom*: none of them), *Model* all the sizes, without weights. With *the
# loaded model*, the button under the picture runs it on your message. *Adapters* and *LoRA* are for
# [6.B](06_B_freeze_lab.ipynb).
#
# The upper costs are those of one training step on *Batch size* messages like yours, with 4 bytes a number (*float32*).
# (Where nothing is live you see a picture and tables.)

# %%
from helpers.widgets import FreezeExplorer

explorer = FreezeExplorer(model)
explorer

# %% [markdown]
# To check the prediction, press the first block and then the last one.
#
# <details><summary>What changes</summary>
#
# The number of trainable parameters stays as it was, and with it gradients and moments. But the gradient now crosses five
# blocks: the bundled model's backward pass goes from 3.6 to 12.5 million multiply-adds, and the forward pass keeps
# 196.4 kB for it instead of 55.8. That is little for four tokens. Set *Batch size* to 100, and it is 19.6 MB instead of
# 5.6, more than gradients and moments together.
#
# </details>

# %% [markdown]
# The lower table is about a whole training, on as many messages as in the book. Under a frozen part the same numbers come
# out in each epoch, so `fine_tune`, in section 6.7, runs it only once for each message.
#
# **Predict:** for which choices does that save hardly anything? Try *head only* and *everything*.
#
# <details><summary>Answer</summary>
#
# Where the lowest part that learns is near the bottom: hardly anything lies below it. With the nano's last block the work
# is 86.0 billion multiply-adds the book's way and 18.0 with the frozen part run once; with *everything* 178.7 and 153.2.
# (That it is less at all has another reason: the last block answers only for the token that classifies.)
#
# </details>

# %% [markdown]
# Code can read what the Explorer shows, and set `explorer.plan`; `explorer.apply_to(model)` would set your choice on a
# model with as many blocks. The next cell prints what is toggled at the moment; run it again after a change.

# %%
from helpers.diagrams import say_reach

print(explorer.report)
print(say_reach(explorer.reach))
for cost in (*explorer.cost, *explorer.work):
    print(f"{cost.what:<53} {cost}")

# %% [markdown]
# Three tasks for the Explorer. After you have toggled, run the task's check cell again.
#
# **A. Predict first.** (easy, 3 minutes) How many parameters will be trainable with the last *two* blocks, the final norm
# and the head? Add up the numbers on the toggles in the place of `None`, without their commas, and only then choose *last
# two blocks*.

# %%
my_prediction = None

# %%
from helpers.exercises import check

check(
    my_prediction,
    parameter_report(cfg, FreezePlan.last_blocks(cfg["n_layers"], 2)).trainable,
    "Two blocks, final_norm and out_head of the model in CHOOSE_MODEL: add up four numbers.",
)

# %% [markdown]
# <details><summary>Solution</summary>
#
# For the bundled nano 444,864 + 444,864 + 384 + 386 = 890,498. The two blocks make up nearly all of it.
#
# </details>
#
# **B. The cheapest block.** (medium, 5 minutes) Find the choice with the least work in the backward pass in which at least
# one whole block learns.

# %%
from helpers.exercises import check_cheapest_block

check_cheapest_block(explorer)

# %% [markdown]
# <details><summary>Solution</summary>
#
# Only the last block, because the gradient crosses no other block on its way to it. Whether `final_norm` learns makes no
# difference: it holds no matrix, and the gradient has to pass it anyway. The head's own learning costs the bundled model
# 1,536 of 3,554,304 multiply-adds, nearly nothing. Its weights are random, so you would want to train it in any case, as
# the book does.
#
# </details>
#
# **C. Few parameters, a long way.** (medium, 5 minutes) Now find a choice that trains less than 1 % of the parameters and
# still needs at least 40 % of the work that the backward pass takes when everything is trained. (Choose *everything* first
# and note that work.)

# %%
from helpers.exercises import check_long_way

check_long_way(explorer)

# %% [markdown]
# <details><summary>Solution</summary>
#
# One of the norms in `trf_blocks.0`, for example: a few hundred parameters, but the gradient has to cross all the other
# blocks to get there. (From GPT-2 124M on, `pos_emb` will do, too.) Few trainable parameters save at most about half of
# the backward pass; a short way saves nearly all of it. What few do save is memory for gradients and moments.
#
# </details>

# %% [markdown]
# ## Try it
#
# **1. Does a row really not see what follows?** (easy, 3 minutes) Below, the message has another last word. **Predict** which
# rows stay as they were in `outputs`, and run it. Then change the second word instead.

# %%
my_message = "Do you have money"

with torch.no_grad():
    other = model(text_to_token_ids(my_message, tokenizer))
for row, (before, after) in enumerate(zip(outputs[0], other[0], strict=False)):
    print(f"row {row}: {'same' if torch.allclose(before, after, atol=1e-4) else 'different'}")

# %% [markdown]
# <details><summary>What you see, and why</summary>
#
# With another last word only the last row differs: the first three could not know what would follow. With another second
# word, all rows from that one on differ.
#
# </details>
#
# **2. Count by hand.** (medium, 5 minutes) How many parameters would a head for *three* classes have? Multiply inputs by
# outputs and don't forget the bias. Put your number in the place of `None`.

# %%
my_answer = None

# %%
check(
    my_answer,
    parameter_report(cfg, plan, num_classes=3).parts[-1].parameters,
    "Each of the three outputs has a weight for every input, and one bias.",
)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `cfg["emb_dim"] * 3 + 3`: for the bundled model 192 · 3 + 3 = 579, for GPT-2 124M 768 · 3 + 3 = 2,307.
#
# </details>

# %% [markdown]
# ## What to take away
#
# - A classifier is the pretrained model with another head: the output changes from `(1, 4, 50257)` to `(1, 4, 2)`.
# - Freezing is one flag for each parameter; the book trains the last block, the final layer norm and the head.
# - The last token's row classifies the message, because only it has seen every token.
# - The head is random. What it says so far is noise.
# - The gradient comes down to the lowest trainable part. The further that is, the more work the backward pass has, and the
#   more is kept for it. How many parameters learn decides the memory for gradients and moments.
#
# Next: [6.6, loss and accuracy](06_6_loss_and_accuracy.ipynb).
