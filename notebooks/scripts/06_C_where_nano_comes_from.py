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
# # 6.C Where the nano comes from
#
# After this notebook you can say what pretraining does, you have pretrained a very small GPT-2 yourself, and you know
# what the course's nano learned from and what that is worth. About 30 minutes. Figures are those of the bundled pair; with
# another choice expect others.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/gpt2-classification-course/blob/main/notebooks/06_C_where_nano_comes_from.ipynb)

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
# ## Text, and nothing but text
#
# Sections 6.4 to 6.8 began with a model that had already read a great deal: it was *pretrained*. Here is what happened
# before, at a scale that takes less than a minute on two processor cores. The text is the first third of *Moby Dick*, and
# nobody has labelled anything in it. (The choices above matter for the last part only.)

# %%
from workshop.pretraining import encode_documents, read_documents, split_documents

chapters = read_documents(course / "workshop/assets/moby-dick")
train_chapters, held_out_chapters = split_documents(chapters, held_out=0.1)
train_tokens = encode_documents(train_chapters)
held_out_tokens = encode_documents(held_out_chapters)
print(f"{len(train_chapters)} chapters, {len(train_tokens):,} tokens to learn from")
print(f"{len(held_out_chapters)} chapters, {len(held_out_tokens):,} tokens held out")
print(chapters[0][:130])

# %% [markdown]
# The chapters, shuffled, are one long row of tokens, with `<|endoftext|>` before each. From those that are *held out* the
# model never learns: they tell whether it has learned something general.
#
# ## The text asks the questions
#
# Where do labels come from? From the text: after each token the right answer is the token that really follows. So the
# targets are the inputs, moved by one place.

# %%
from helpers.tokenizer import get_tokenizer, visible_tokens

tokenizer = get_tokenizer()
piece = train_tokens[:65].tolist()
inputs, targets = piece[:-1], piece[1:]
print("inputs: ", visible_tokens(inputs[:8], tokenizer))
print("targets:", visible_tokens(targets[:8], tokenizer))

# %% [markdown]
# Because of the causal mask (section 6.5) one forward pass answers all 64 of these questions.

# %% [markdown]
# ## Before it has read anything
#
# Now a small GPT-2: two blocks, 64 numbers for each token. Its loss is the cross-entropy of section 6.6, in nats, with
# 50,257 classes in place of two: the mean of −ln p, where p is the probability that it gave to the token that followed.

# %%
import math

from helpers.config import BASE_CONFIG
from workshop.pretraining import new_model, validation_losses
from workshop.widgets import predict

shape = {"emb_dim": 64, "n_layers": 2, "n_heads": 2, "context_length": 64}
cfg = BASE_CONFIG | shape  # what all GPT-2s share, but with these sizes
model = new_model(cfg)
loss_before = validation_losses(model, held_out_tokens, 64).mean()  # of all 64 positions
assert abs(loss_before - math.log(50257)) < 0.1

predict("6.C the loss of knowing nothing", loss_before)

# %% [markdown]
# Here is another loss to compare with: count how often each token occurs in the training chapters, and give every token
# that probability, whatever came before it.

# %%
import numpy as np

counts = np.bincount(train_tokens, minlength=50257) + 0.1  # one never seen is not impossible
frequencies = counts / counts.sum()
counting_on_training = -np.log(frequencies[train_tokens]).mean()
loss_of_counting = -np.log(frequencies[held_out_tokens]).mean()
for name, loss in (("held-out", loss_of_counting), ("training", counting_on_training)):
    print(f"counting, {name} chapters: {loss:.2f} nats, perplexity {np.exp(loss):,.0f}")
share_new = (np.bincount(train_tokens, minlength=50257)[held_out_tokens] == 0).mean()
print(f"held-out tokens that the training chapters lack: {share_new:.0%}")

# %% [markdown]
# The same counts do better on the chapters that were counted: nothing is new there.
#
# ## What it writes
#
# Here the next token is drawn at random, each with the probability that the model gives it; so we see what the model
# believes. This one believes nothing yet:

# %%
import torch

from helpers.tokenizer import text_to_token_ids, token_ids_to_text


@torch.no_grad()
def draw_text(text, count=25):
    token_ids = text_to_token_ids(text, tokenizer)
    for _ in range(count):
        probabilities = model(token_ids)[0, -1].softmax(dim=-1)  # of each next token
        drawn = torch.multinomial(probabilities, num_samples=1)
        token_ids = torch.cat([token_ids, drawn.unsqueeze(0)], dim=1)
    return token_ids_to_text(token_ids, tokenizer)


torch.manual_seed(123)
samples = {0: draw_text("The captain")}
print(repr(samples[0]))

# %% [markdown]
# ## Training
#
# A step is as in section 6.7: loss, gradient, a small move. But all parameters are trained; and the learning rate rises for
# the first steps (*warm-up*) and then falls to a tenth, which makes the training steadier.

# %%
from workshop.pretraining import Recipe, pretrain

recipe = Recipe(
    steps=600,
    tokens_per_step=1024,  # 16 pieces,
    lengths=(64,),  # of 64 tokens each, from random places
    lr=3e-3,
    warmup_steps=20,
    candidates=2048,  # for speed: see below
)


def take_sample(so_far):
    samples[so_far.step] = draw_text("The captain")


model = new_model(cfg)  # so that this cell always begins at the beginning
trained = pretrain(
    model,
    train_tokens,
    held_out_tokens,
    recipe,
    validate_every=150,
    at_validation=take_sample,  # pretrain calls it every 150 steps
)

# %% [markdown]
# <details><summary>What are the candidates?</summary>
#
# Nearly all the work of a step would go into the 50,257 logits of every position. So each step's softmax runs over 2,048
# tokens only: all that are right answers somewhere in the batch, and others drawn at random, each of which stands for many.
# That estimates the loss of the whole vocabulary well enough to learn from. The held-out loss is computed with all 50,257.
#
# </details>

# %% tags=["nbval-ignore-output"]
from workshop.pictures.charts import draw_pretraining

held_out_losses = [loss for step, loss in trained.validation]
assert (
    6.9 < np.mean(trained.losses[40:90]) < 7.5 and held_out_losses[-1] < loss_of_counting - 0.2
)
levels = {
    "knowing nothing": math.log(50257),
    "counting, held out": loss_of_counting,
    "counting, training": counting_on_training,
}
halfway = (math.log(50257) + loss_of_counting) / 2
below = "near counting" if held_out_losses[-1] < halfway else "near knowing nothing"
ended = "below counting" if held_out_losses[-1] < loss_of_counting - 0.1 else below

predict(
    "6.C where the loss ends",
    ended,
    draw_pretraining(trained.losses, trained.validation, levels),
)


# %%
def loss_of_model(tokens):
    return validation_losses(model, tokens, 64).mean()  # of 64 pieces, spread evenly


in_disorder = np.random.default_rng(123).permutation(held_out_tokens)
loss_after, loss_in_disorder = loss_of_model(held_out_tokens), loss_of_model(in_disorder)
assert loss_in_disorder > loss_of_counting > loss_after
counting_in_disorder = -np.log(frequencies[in_disorder]).mean()
rising = "both" if counting_in_disorder > loss_of_counting + 0.01 else "only the model's"

predict("6.C tokens in disorder", rising)

# %% [markdown]
# The samples show what it has learned:

# %% tags=["nbval-ignore-output", "key-figure"]
for step, text in samples.items():
    print(f"{step:>3} steps: {text!r}")
print(f"held-out loss {loss_after:.1f} nats, perplexity {math.exp(loss_after):,.0f}")

# %% [markdown]
# From any token at all, to frequent ones, to scraps of phrases that might be from the book. Further than that a third of a
# novel and 600 steps do not take so small a model.

# %%
gap = loss_after - loss_of_model(train_tokens)
gap_of_counting = loss_of_counting - counting_on_training
assert gap > gap_of_counting

predict("6.C the gap", round(100 * gap_of_counting / gap, -1))

# %% [markdown]
# ## The real runs
#
# The nano was trained by the same program, as a larger model, on more text: old e-mails, speeches, *Moby Dick*, the King James
# Bible, dialogues. It took two runs, the second of which went on from the first with more text.
#
# <details><summary>All sizes</summary>
#
# (`tools.nano.corpus` and `tools.nano.texting` build the text, `workshop.pretraining` trains;
# [PROVENANCE.md](../helpers/assets/gpt2/12M/PROVENANCE.md) lists everything.)
#
# | | here | the nano, first run | second run |
# | --- | --- | --- | --- |
# | text | a third of *Moby Dick*: 0.09 million tokens | old e-mails (spam among them), presidents' speeches, *Moby Dick*, the King James Bible, dialogues with assistants: 8.9 million tokens | the same, and everyday sentences and short documents in other spellings: 18.1 million tokens |
# | model | 2 blocks, 64 numbers for each token | 6 blocks, 192 numbers | the same |
# | pieces | 64 tokens | 128, 256 or 1,024 tokens | the same |
# | steps | 600, of 1,024 tokens each | 12,000, of 4,096 tokens each | 11,000, of 4,096 tokens each |
# | time on two processor cores | less than a minute | about 80 minutes | about 70 minutes |
#
# </details>
#
# The course tests on sms-mini and the SMS Spam Collection. So a document in which one of their messages of four words or more
# occurs was left out of the text.

# %%
import json

from matplotlib import pyplot as plt

run = json.loads((course / "workshop/assets/12M_run.json").read_text(encoding="utf-8"))
millions = [step * run["tokens_per_step"] / 1e6 for step, loss in run["validation"]]
plt.figure(figsize=(5.6, 3), layout="constrained")
plt.plot(
    millions, [loss for step, loss in run["validation"]], "o--", markersize=3, color="#d55e00"
)
second_run = run["first_run_steps"] * run["tokens_per_step"] / 1e6
plt.axvline(second_run, color="grey", linestyle=":", label="the second run begins")
plt.gca().set(xlabel="tokens read (millions)", ylabel="held-out loss (nats per token)")
plt.legend()
plt.show()

# %% [markdown]
# (Other text, so not to be compared with the losses above.) At the dotted line the learning rate is high again, and much of the
# text is new.

# %%
early = run["held_out"]["perplexity at positions 64 to 127"]
late = run["held_out"]["perplexity at positions 512 to 1023"]
shown = "\n".join(f"{what}: {figure:.1f}" for what, figure in run["held_out"].items())

predict("6.C late positions", "easier" if late < early else "not easier", shown)

# %% [markdown]
# ## Tokens that it never met
#
# Every token has a row of numbers in the embedding, random at first. Some tokens are of Japanese, Arabic or Russian. Of the 236
# that the next cell finds, the nano's English text holds six, twice each, and the others not once: it never *met* them.
#
# How alike two rows are is measured by their *cosine similarity*: 1 where they point the same way, about 0 where they have
# nothing to do with each other.

# %%
from torch.nn import functional as F

from helpers.loading import load_pretrained

embedding = load_pretrained("gpt2-nano (12M)").tok_emb.weight.detach()
texts = [tokenizer.decode([token_id]).strip() for token_id in range(50256)]
foreign = [i for i, text in enumerate(texts) if text.isalpha() and min(text) > "\u0370"]
print(" ".join(texts[i] for i in foreign[:20]))
groups, shown, similarity = (
    {"such tokens": foreign, "frequent tokens": range(256, 1256)},
    [],
    {},
)
for name, token_ids in groups.items():
    unit_rows = F.normalize(embedding[list(token_ids)], dim=-1)  # all of length 1
    similarity[name] = unit_rows.mean(dim=0).pow(2).sum()  # the same as the mean over all pairs
    shown.append(f"{len(token_ids):,} {name}: mean similarity {similarity[name]:.2f}")
alike = "nearly all alike" if similarity["such tokens"] > 0.5 else "still random"

predict("6.C tokens never met", alike, "\n".join(shown))

# %% [markdown]
# Why a second run? In the text of the first, " £" occurred 16 times and " ur" 5 times, among 8.9 million tokens, and text
# messages are full of them. So the second had everyday sentences, too, and short documents once more, in other spellings,
# which rules make. (Then it was 7,117 and 9,743 times.) Here are four for one sentence; no message was copied.

# %%
import random

from workshop.respelling import rewrite

sentence = "Are you coming to see us tomorrow? It's only $20 for two."
for seed in (4, 5, 6, 9):
    print(rewrite(sentence, random.Random(seed)))

# %% [markdown]
# ## What it is worth
#
# Does fine-tuning need all this? We fine-tune the book's plan from the pretrained weights, and from random ones, three times
# each. It trains only the last block, the last layer norm and the head, so in the second case the rest *stays* random. The last
# real token classifies, not the padded end as in section 6.7.

# %%
from helpers.config import gpt_config
from helpers.data import create_dataloaders
from helpers.freezing import FreezePlan, replace_head
from helpers.training import get_device
from helpers.training import TrainingSettings
from workshop.fast import fine_tune
from helpers.training import calc_accuracy_loader

settings = TrainingSettings.for_model(CHOOSE_MODEL)
train_loader, val_loader, test_loader = create_dataloaders(CHOOSE_DATA)


def fine_tuned_accuracy(model, seed):
    torch.manual_seed(seed)
    replace_head(model)
    fine_tune(
        model,
        train_loader.dataset,
        val_loader.dataset,
        FreezePlan.book(model.cfg["n_layers"]),
        epochs=settings.epochs,
        lr=settings.lr,
        position="last_token",
        seed=seed,
        progress=False,
    )
    return calc_accuracy_loader(test_loader, model, get_device(), position="last_token")


accuracies = {"random weights": [], "pretrained": []}
for seed in (1, 2, 3):
    random_model = new_model(gpt_config(CHOOSE_MODEL), seed)
    accuracies["random weights"].append(fine_tuned_accuracy(random_model, seed))
    accuracies["pretrained"].append(fine_tuned_accuracy(load_pretrained(CHOOSE_MODEL), seed))

# %% tags=["nbval-ignore-output"]
gained = 100 * (np.mean(accuracies["pretrained"]) - np.mean(accuracies["random weights"]))
most = "3 to 25 points" if gained <= 25 else "more than 25 points"
shown = "\n".join(
    f"{name}: {', '.join(f'{value:.1%}' for value in values)}"
    for name, values in accuracies.items()
)
assert gained > 0

predict("6.C what pretraining is worth", "less than 3 points" if gained < 3 else most, shown)

# %% [markdown]
# <details><summary>Test accuracies, means over five seeds</summary>
#
# The last real token classifies (`python -m tests.benchmarks nano`):
#
# | | sms-mini | SMS Spam Collection |
# | --- | --- | --- |
# | the nano, the book's plan | 89.2 % | 97.9 % |
# | the nano, only the head trained | 86.1 % | 97.1 % |
# | random weights, the book's plan | 77.8 % | 86.9 % |
# | random weights, everything trained (at half the learning rate, which suits it better) | 87.0 % | 96.3 % |
# | the nano, everything trained (at the same half) | 88.0 % | 97.6 % |
# | logistic regression on counts of words | 88.0 % | 97.0 % |
# | logistic regression on counts of runs of 2 to 5 letters | 90.0 % | 97.7 % |
#
# With the head alone the nano does nearly as well as with the book's plan, and yet section 6.5 quotes 72 % against 95 % for
# GPT-2 124M: those two were measured at the padded end, where only a trained block can learn to look back at the message
# ([6.6](06_6_loss_and_accuracy.ipynb), [6.D](06_D_caching_the_frozen_layers.ipynb)).
#
# </details>
#
# Where everything may be trained, pretraining makes hardly any difference: 1.0 and 1.3 points, and the ranges of the five seeds
# overlap. Some hundred messages are enough to learn which words occur in spam.
#
# And counting runs of letters does about as well as the nano, in a second. So accuracy on such messages is *not* what a
# fine-tuned transformer of this size buys, nor is the order of words ([6.8](06_8_using_the_classifier.ipynb)). It buys a recipe: one
# that takes any classes you have examples of, and stays the same when the pretrained model gets larger.

# %% [markdown]
# ## Try it
#
# > **1. How many questions?** (easy, 2 minutes) How many next tokens did your model guess in the training above, from the
# > first step to the last?

# %%
my_answer = None

# %%
from workshop.exercises import check

check("6.C how many questions", my_answer, recipe)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# my_answer = recipe.steps * recipe.tokens_per_step
# ```
#
# 600 · 1,024 = 614,400. Divided by `len(train_tokens)`, each token was met about
# seven times.
#
# </details>
#
# > **2. A nat more.** (medium, 5 minutes) Model B's loss is exactly one nat higher than model A's. How many times as large is
# > B's perplexity?

# %%
my_factor = None

# %%
check("6.C a nat more", my_factor)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# my_factor = math.e
# ```
#
# About 2.72, whatever the losses, since exp(a + 1) = exp(a) · e. That is why a tenth of a nat is worth having: it
# makes the perplexity about ten percent smaller.
#
# </details>

# %% [markdown]
# > **3. More text, or a larger model?** (medium, 10 minutes) Keep `held_out_tokens`. Train twice more: on half of the text
# > (`encode_documents(train_chapters[::2])` in the place of `train_tokens`), and on all of it with `emb_dim` 128 in `shape`.
# > Compare the last held-out losses. Which change made the larger difference?

# %% [markdown]
# <details><summary>Solution</summary>
#
# The held-out loss after 600 steps was 6.5 with the settings above, 6.8 with about half of the text, and with `emb_dim` 128 the
# same 6.5, or a few hundredths below. So the text mattered more. With half of the text the gap between the two losses is
# larger, 1.2 nats, and counting explains hardly more of it (0.39 in place of 0.33): there is less to memorise.
#
# </details>

# %% [markdown]
# > **4. Your own text.** (as long as you like) Pretrain on texts of your own.
#
# <details><summary>How</summary>
#
# Put some text files into a folder `texts` in the course's folder: at least two, each a document, and each with at least 1,000
# English words. Then run, in a terminal in the course's folder,
# `.venv/bin/python -m workshop.pretraining --text texts --minutes 10 --out run` (in Colab `!cd course && python -m …` in a
# cell). At the end `run/checkpoint` has the form of OpenAI's checkpoints: `read_checkpoint` of `helpers.loading` reads it, and
# section 6.4 shows how its weights go into a model. Does it write like your text?
#
# </details>

# %% [markdown]
# ## Five questions
#
# <details><summary>1. Where do the labels of pretraining come from?</summary>
#
# From the text: after each token the right answer is the token that follows.
#
# </details>
# <details><summary>2. What is the loss of a model that knows nothing, and its perplexity?</summary>
#
# The logarithm of the vocabulary's size, 10.8 nats; the perplexity is that size, 50,257.
#
# </details>
# <details><summary>3. What does a model go by that counting ignores?</summary>
#
# The tokens before. In disorder they mislead it, while counting loses nothing.
#
# </details>
# <details><summary>4. Why can fine-tuning the last block not mend tokens that were never met?</summary>
#
# Their rows of the embedding, which are nearly all alike, stay as they are.
#
# </details>
# <details><summary>5. When does fine-tuning need the pretrained weights here?</summary>
#
# When most of the model stays frozen. With everything trained, random weights do nearly as well on this task.
#
# </details>

# %%
from workshop.exercises import progress

progress("6.C")

# %% [markdown]
# ## What to take away
#
# - Pretraining needs no labels: the text itself asks the questions, and answers them.
# - With small initial weights the loss starts at the logarithm of the vocabulary's size. By the tokens before, a model gets
#   below the loss of counting.
# - Held-out text tells learning from memorising; but a part of the gap is there for counting, too.
# - A token that the text never holds gets no meaning, and fine-tuning the last block can't give it one.
# - Fine-tuning with most of the model frozen lives on what pretraining has built.
#
# Next: [6.B, the Freeze Lab](06_B_freeze_lab.ipynb).
