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
# # 6.A Where the nano comes from
#
# After this notebook you can say what pretraining does, you have pretrained a very small GPT-2 yourself, and you know
# what the course's nano learned from and what that is worth.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/gpt2-classification-course/blob/main/notebooks/06_A_where_nano_comes_from.ipynb)

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
# (In this appendix they matter for the last part only.)
#
# ## Text, and nothing but text
#
# Sections 6.4 to 6.8 began with a model that had already read a great deal: it was *pretrained*. This appendix shows what
# happened before, at a scale that takes less than a minute on two processor cores. The text is the first third of *Moby Dick*,
# whose copyright is long over. Nobody has labelled anything in it.

# %%
from helpers.nano.pretraining import encode_documents, read_documents, split_documents

chapters = read_documents(course / "helpers/nano/assets/moby-dick")
train_chapters, held_out_chapters = split_documents(chapters, held_out=0.1)
train_tokens = encode_documents(train_chapters)
held_out_tokens = encode_documents(held_out_chapters)
print(f"{len(train_chapters)} chapters, {len(train_tokens):,} tokens to learn from")
print(f"{len(held_out_chapters)} chapters, {len(held_out_tokens):,} tokens held out")
print(chapters[0][:130])

# %% [markdown]
# The chapters, shuffled, lie one behind the other in one long row of tokens, with the token `<|endoftext|>` before each.
# Some are *held out*, as the validation data was in section 6.2: the model never learns from them, so they tell whether it
# has learned something general or only memorised the others.
#
# ## The text asks the questions
#
# Where do labels come from, if nobody made any? From the text itself: after each token the right answer is the token that
# really follows. So the targets are the inputs, moved by one place.

# %%
from helpers.tokenizer import get_tokenizer, visible_tokens

tokenizer = get_tokenizer()
piece = train_tokens[:65].tolist()
inputs, targets = piece[:-1], piece[1:]
print("inputs: ", visible_tokens(inputs[:8], tokenizer))
print("targets:", visible_tokens(targets[:8], tokenizer))

# %% [markdown]
# Each of the 64 positions is a question with an answer, and one forward pass answers all of them, because of the causal mask
# (section 6.5): no position looks at what comes after it. That is why text alone is enough.

# %% [markdown]
# ## Before it has read anything
#
# Now a small GPT-2: two blocks, 64 numbers for each token, and, as in GPT-2, one matrix that serves both as token embedding
# and as head. Its loss is the cross-entropy of section 6.6, in nats, with 50,257 classes in place of two: the mean of −ln p,
# where p is the probability that it gave to the token that followed. GPT-2's initial weights are very small, so all logits
# are close to 0. **Predict** the loss.

# %%
import math

from helpers.config import BASE_CONFIG
from helpers.nano.pretraining import new_model, validation_losses

shape = {"emb_dim": 64, "n_layers": 2, "n_heads": 2, "context_length": 64}
cfg = BASE_CONFIG | shape  # what all GPT-2s share, but with these sizes
model = new_model(cfg)
loss_before = validation_losses(model, held_out_tokens, 64).mean()  # of all 64 positions
print(f"loss of the untrained model: {loss_before:.1f} nats")
print(f"logarithm of 50,257:         {math.log(50257):.1f}")
assert abs(loss_before - math.log(50257)) < 0.1

# %% [markdown]
# If all of N tokens are equally likely, each has p = 1/N, and the loss is ln N. So exp(loss) gives N back. For any model,
# exp(loss) is called its *perplexity*: it does as well as one that chooses among so many equally likely tokens.
#
# That is the loss of knowing nothing. Here is another to compare with: count how often each token occurs in the training
# chapters, and give every token that probability, whatever came before it.

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
# The same counts do better on the chapters that were counted: nothing is new there. Remember the difference; it will turn up
# again in the curves.
#
# ## What it writes
#
# Section 6.4 always appended the likeliest token. Here the next token is drawn at random, each with the probability that the
# model gives it; so we see more of what the model believes. This one believes nothing yet:

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
# the first steps (*warm-up*) and then falls to a tenth, which makes the training steadier. **Predict:** where will the
# held-out loss end, near that of knowing nothing, near that of counting, or below? What does the model see that counting
# ignores?

# %%
from helpers.nano.pretraining import Recipe, pretrain

recipe = Recipe(
    steps=600,
    tokens_per_step=1024,  # 16 pieces,
    lengths=(64,),  # of 64 tokens each, from random places
    lr=3e-3,
    warmup_steps=20,
    candidates=2048,  # for speed: see below
)


def take_sample(progress):
    samples[progress.step] = draw_text("The captain")


model = new_model(cfg)  # so that this cell always begins at the beginning
progress = pretrain(
    model,
    train_tokens,
    held_out_tokens,
    recipe,
    validate_every=150,
    at_validation=take_sample,  # pretrain calls it every 150 steps
)

# %%
from matplotlib import pyplot as plt

validated = [step for step, loss in progress.validation]
held_out_losses = [loss for step, loss in progress.validation]
plt.figure(figsize=(5.6, 3.4), layout="constrained")
plt.plot(progress.losses, linewidth=0.8, color="#0072b2", label="each step's batch")
plt.plot(validated, held_out_losses, "o--", color="#d55e00", label="held-out chapters")
plt.axhline(math.log(50257), color="grey", linestyle=":", label="knowing nothing")
plt.axhline(
    loss_of_counting, color="#d55e00", linestyle=":", label="counting: held-out chapters"
)
plt.axhline(
    counting_on_training, color="#0072b2", linestyle=":", label="counting: training chapters"
)
plt.gca().set(xlabel="step", ylabel="loss (nats per token)")
plt.legend()
plt.show()
assert (
    6.9 < np.mean(progress.losses[40:90]) < 7.5 and held_out_losses[-1] < loss_of_counting - 0.2
)


# %% [markdown]
# In its first forty steps or so the loss of the batches falls to about 7.2, near what counting reaches; there it halts for
# some fifty steps. Then it falls below. Compare each curve with the line of its own colour.
#
# Is it the tokens before that help? **Predict:** the held-out tokens are put in a random order. What becomes of the loss of
# counting, and of the model's?


# %% tags=["nbval-ignore-output"]
def loss_of_model(tokens):
    return validation_losses(model, tokens, 64).mean()  # of 64 pieces, spread evenly


in_disorder = np.random.default_rng(123).permutation(held_out_tokens)
loss_after, loss_in_disorder = loss_of_model(held_out_tokens), loss_of_model(in_disorder)
for name, tokens, loss in (
    ("as written", held_out_tokens, loss_after),
    ("in disorder", in_disorder, loss_in_disorder),
):
    print(f"{name:<11} counting {-np.log(frequencies[tokens]).mean():.1f}   model {loss:.1f}")
assert loss_in_disorder > loss_of_counting > loss_after

# %% [markdown]
# Counting ignores what came before, so it loses nothing. The model does worse than counting now: it goes by the tokens before,
# and they mislead it. The samples show what it has learned:

# %% tags=["nbval-ignore-output", "key-figure"]
for step, text in samples.items():
    print(f"{step:>3} steps: {text!r}")
print(f"held-out loss {loss_after:.1f} nats, perplexity {math.exp(loss_after):,.0f}")

# %% [markdown]
# From any token at all, to frequent ones, to scraps of phrases that might be from the book. Further than that a third of a
# novel and 600 steps do not take so small a model.
#
# At the end the loss on the training chapters lies far below that on the held-out ones. That looks like memorising. But
# counting does better there, too. **Predict:** how much of the gap is there for counting alone?

# %% tags=["nbval-ignore-output"]
gap = loss_after - loss_of_model(train_tokens)
gap_of_counting = loss_of_counting - counting_on_training
print(f"gap of the model {gap:.2f} nats, of counting {gap_of_counting:.2f}")
assert gap > gap_of_counting

# %% [markdown]
# Of somewhat more than 0.8 nats, 0.33 are there for a method that learns nothing but frequencies: the held-out chapters have other words,
# names for example. The rest is what the model has learned about sequences in these chapters that does not hold in others: it
# has begun to memorise.

# %% [markdown]
# <details><summary>What are the candidates?</summary>
#
# Nearly all the work of a step would go into the 50,257 logits of every position. So each step's softmax runs over 2,048
# tokens only: all that are right answers somewhere in the batch, and others drawn at random, each of which stands for many.
# That estimates the loss of the whole vocabulary well enough to learn from. The held-out loss is computed with all 50,257.
#
# </details>

# %% [markdown]
# ## The real runs
#
# The nano was trained by the same program, as a larger model, on more text, for more steps. (`helpers.nano.corpus` and
# `helpers.nano.texting` build the text, `helpers.nano.pretraining` trains;
# [PROVENANCE.md](../helpers/assets/gpt2/12M/PROVENANCE.md) lists everything.) It took two runs, the second of which went on from
# the first with more text; the reason comes further below.
#
# | | here | the nano, first run | second run |
# | --- | --- | --- | --- |
# | text | a third of *Moby Dick*: 0.09 million tokens | old e-mails (spam among them), presidents' speeches, *Moby Dick*, the King James Bible, dialogues with assistants: 8.9 million tokens | the same, and everyday sentences and short documents in other spellings: 18.1 million tokens |
# | model | 2 blocks, 64 numbers for each token | 6 blocks, 192 numbers | the same |
# | pieces | 64 tokens | 128, 256 or 1,024 tokens | the same |
# | steps | 600, of 1,024 tokens each | 12,000, of 4,096 tokens each | 11,000, of 4,096 tokens each |
# | time on two processor cores | less than a minute | about 80 minutes | about 70 minutes |

# %% [markdown]
# sms-mini and the SMS Spam Collection are what the course tests on. So a document in which one of their messages of four words
# or more occurs was left out of the text.

# %%
import json

run = json.loads((course / "helpers/nano/assets/12M_run.json").read_text(encoding="utf-8"))
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
# text is new: the held-out loss rises before it falls further.
#
# A context of 1,024 tokens means that late positions have much
# more text before them. **Predict:** is the next token easier to guess there?

# %%
for what, figure in run["held_out"].items():
    print(f"{what}: {figure:.1f}")

# %% [markdown]
# It is not: the perplexity is a little higher. Probably because the late positions were trained least (only one step in six
# had pieces of 1,024 tokens), and a model must learn to use so much text.

# %% [markdown]
# ## Tokens that it never met
#
# Why a second run? Every token has a row of numbers in the embedding, random at first; but not every token occurs in the text.
# Among the 50,257 are some of Japanese, Arabic or Russian. Of the 236 that the next cell finds, the nano's English text holds
# six, twice each, and the others not once: it never *met* them. **Predict:** are their rows still random?
#
# How alike two rows are is measured by their *cosine similarity*, the cosine of the angle between them: 1 where they point
# the same way, about 0 where they have nothing to do with each other.

# %%
from torch.nn import functional as F

from helpers.loading import load_pretrained

embedding = load_pretrained("gpt2-nano (12M)").tok_emb.weight.detach()
texts = [tokenizer.decode([token_id]).strip() for token_id in range(50256)]
foreign = [i for i, text in enumerate(texts) if text.isalpha() and min(text) > "\u0370"]
print(" ".join(texts[i] for i in foreign[:20]))
for name, token_ids in {"such tokens": foreign, "frequent tokens": range(256, 1256)}.items():
    unit_rows = F.normalize(embedding[list(token_ids)], dim=-1)  # all of length 1
    similarity = unit_rows.mean(dim=0).pow(2).sum()  # the same as the mean over all pairs
    print(f"{len(token_ids):,} {name}: mean similarity {similarity:.2f}")

# %% [markdown]
# (BPE learned its merges from the most frequent to the rarest, so low ids are frequent tokens.)
#
# They all point the same way. Such a token is never the right answer, or next to never. So whenever its logit is computed, the training makes it
# less likely: its row is pushed away from what the last layer norm puts out. (The head's rows are the embedding's.) That push
# is the same for all of them, and nothing else moves their rows much. So to the nano they are nearly one token. Fine-tuning
# only the last block leaves the embedding as it is, and can't mend that.

# %% [markdown]
# Japanese does not matter here. But in the text of the first run, " £" occurred 16 times and " ur" 5 times, among 8.9 million
# tokens, and text messages are full of them. So the second run had everyday sentences, too, from a collection for people who
# learn languages, and short documents once more, in other spellings. (Then it was 7,117 and 9,743 times.)
#
# Below, one sentence is put into four such spellings: as people type on a phone, or as advertisements shout. Rules make them,
# and they also change phone numbers and currencies; no message was copied.

# %%
import random

from helpers.nano.texting import rewrite

sentence = "Are you coming to see us tomorrow? It's only $20 for two."
for seed in (4, 5, 6, 9):
    print(rewrite(sentence, random.Random(seed)))

# %% [markdown]
# ## What it is worth
#
# Pretraining is a lot of work. Does fine-tuning need it? We fine-tune the book's plan from the pretrained weights, and from
# random ones; three times each, because the new head and the order of the messages are random, too. The book's plan trains
# only the last block, the last layer norm and the head, so in the second case the rest *stays* random. The last real token
# classifies, not the padded end as in section 6.7. **Predict** both accuracies on the test messages of sms-mini.

# %%
from helpers.config import gpt_config
from helpers.data import create_dataloaders
from helpers.freezing import FreezePlan, replace_head
from helpers.device_and_precision import get_device
from helpers.fine_tuning import fine_tune, fine_tuning_defaults
from helpers.training import calc_accuracy_loader

settings = fine_tuning_defaults(CHOOSE_MODEL)
train_loader, val_loader, test_loader = create_dataloaders(CHOOSE_DATA)


def fine_tuned_accuracy(model, seed):
    torch.manual_seed(seed)
    replace_head(model)
    fine_tune(
        model,
        train_loader.dataset,
        val_loader.dataset,
        FreezePlan.book(model.cfg["n_layers"]),
        epochs=settings["num_epochs"],
        lr=settings["lr"],
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

# %%
means = [np.mean(values) for values in accuracies.values()]
plt.figure(figsize=(4.4, 3), layout="constrained")
bars = plt.bar(list(accuracies), means, width=0.5, color=["lightgrey", "#9ecae1"])
plt.bar_label(bars, fmt="{:.0%}", label_type="center")
for place, values in enumerate(accuracies.values()):  # a stroke for each training
    plt.plot([place] * len(values), values, "_", color="black", markersize=16)
plt.gca().set(ylim=(0.5, 1), ylabel="test accuracy")
plt.show()
assert means[1] > means[0]

# %% [markdown]
# One figure of three trainings on 200 messages says little. Measured for both collections, over five seeds, mean test
# accuracy, the last real token classifying (`python -m tests.benchmarks nano`):

# %% [markdown]
# | | sms-mini | SMS Spam Collection |
# | --- | --- | --- |
# | the nano, the book's plan | 89.2 % | 97.9 % |
# | the nano, only the head trained | 86.1 % | 97.1 % |
# | random weights, the book's plan | 77.8 % | 86.9 % |
# | random weights, everything trained (at half the learning rate, which suits it better) | 87.0 % | 96.3 % |
# | the nano, everything trained (at the same half) | 88.0 % | 97.6 % |
# | logistic regression on counts of words | 88.0 % | 97.0 % |
# | logistic regression on counts of runs of 2 to 5 letters | 90.0 % | 97.7 % |

# %% [markdown]
# Where most of the model stays frozen, pretraining makes the difference: eleven points on either collection. Where everything
# may be trained, it makes hardly any: 1.0 and 1.3 points, and the ranges of the five seeds overlap. Some hundred
# messages are enough to learn which words occur in spam.

# %% [markdown]
# With the head alone the nano does nearly as well as with the book's plan, and yet section 6.5 quotes 72 % against 95 % for
# GPT-2 124M. The position makes the difference, as the exercises of [6.7](06_7_fine_tuning.ipynb) show with the nano: those two
# were measured at the padded end, where only a trained block can learn to look back at the message
# ([6.6](06_6_loss_and_accuracy.ipynb)).

# %% [markdown]
# And counting runs of letters does about as well as the nano, in a second. So accuracy on such messages is *not* what a
# fine-tuned transformer of this size buys, nor is the order of words ([6.8](06_8_using_the_classifier.ipynb) tests that). It buys
# a recipe: one that takes any classes you have examples of, and stays the same when the pretrained model gets larger.

# %% [markdown]
# ## Try it
#
# **1. How many questions?** (easy, 2 minutes) How many next tokens did your model guess in the training above, from the
# first step to the last?

# %%
my_answer = None

# %%
from helpers.exercises import check

check(my_answer, recipe.steps * recipe.tokens_per_step, "Steps, times the tokens of a step.")

# %% [markdown]
# <details><summary>Solution</summary>
#
# `recipe.steps * recipe.tokens_per_step`: 600 · 1,024 = 614,400. Divided by `len(train_tokens)`, each token was met about
# seven times.
#
# </details>
#
# **2. A nat more.** (medium, 5 minutes) Model B's loss is exactly one nat higher than model A's. How many times as large is
# B's perplexity?

# %%
my_factor = None

# %%
check(
    my_factor, math.e, "The perplexity is exp(loss), and exp(a + 1) is exp(a) times something."
)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `math.e`, about 2.72, whatever the losses, since exp(a + 1) = exp(a) · e. That is why a tenth of a nat is worth having: it
# makes the perplexity about ten percent smaller.
#
# </details>

# %% [markdown]
# **3. More text, or a larger model?** (medium, 10 minutes) Keep `held_out_tokens`. Train twice more: on half of the text
# (`encode_documents(train_chapters[::2])` in the place of `train_tokens`), and on all of it with `emb_dim` 128 in `shape`.
# Compare the last held-out losses, and how far apart the two curves are. Which change made the larger difference?

# %% [markdown]
# <details><summary>Solution</summary>
#
# The held-out loss after 600 steps was 6.5 with the settings above, 6.8 with about half of the text, and with `emb_dim` 128 the
# same 6.5, or a few hundredths below. So the text mattered more. With half of the text the gap between the two losses is
# larger, 1.2 nats, and counting explains hardly more of it (0.39 in place of 0.33): there is less to memorise.
#
# </details>

# %% [markdown]
# **4. Your own text.** (15 minutes) Put some text files into a folder `texts` in the course's folder: at least two, each a
# document, and each with at least 1,000 English words. Then run, in a terminal in the course's folder,
# `.venv/bin/python -m helpers.nano.pretraining --text texts --minutes 10 --out run` (in Colab `!cd course && python -m …` in a
# cell). At the end `run/checkpoint` has the form of OpenAI's checkpoints: `read_checkpoint` of `helpers.loading` reads it, and
# section 6.4 shows how its weights go into a model. Does it write like your text?

# %% [markdown]
# ## What to take away
#
# - Pretraining needs no labels: the text itself asks the questions, one for each token, and answers them.
# - With small initial weights the loss starts at the logarithm of the vocabulary's size. By the tokens before, a model gets
#   clearly below the loss of counting.
# - exp(loss), the perplexity: among so many equally likely tokens a model as good would choose.
# - What is held out tells learning from memorising; but a part of the gap is there for counting, too.
# - A token that the text never holds gets no meaning, and fine-tuning the last block can't give it one.
# - Fine-tuning with most of the model frozen lives on what pretraining has built. With everything trained, random weights do
#   nearly as well on a question as easy as this.
#
# Next: [6.B, the Freeze Lab](06_B_freeze_lab.ipynb).
