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
# # 6.4 Pretrained weights
#
# After this notebook you can read a GPT-2 checkpoint as OpenAI published it, put its weights into the model, and check
# by the model's own writing that they arrived.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/gpt2-classification-course/blob/main/notebooks/06_4_pretrained_weights.ipynb)

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
# ## What a checkpoint is
#
# A *checkpoint* is a model's weights on disk. OpenAI's come as a folder: the sizes (`hparams.json`), the tokenizer's two
# tables, and a TensorFlow checkpoint, which is an index and one large file of numbers. The nano that comes with this
# course is stored in just this form, so the same code reads both. OpenAI's sizes are downloaded at the first use: about
# 0.5 GB for 124M and up to 6 GB for 1558M.

# %%
from helpers.config import model_size
from helpers.loading import find_checkpoint

size = model_size(CHOOSE_MODEL)
folder = find_checkpoint(size)
for path in sorted(folder.iterdir()):
    if path.suffix != ".md":
        print(path.name)

# %% [markdown]
# `download_and_load_gpt2` reads it. `settings` are the sizes; `params` holds the numbers, nested by name. TensorFlow is
# needed only to read this format, and it takes a few seconds to start.

# %%
from helpers.loading import download_and_load_gpt2

settings, params = download_and_load_gpt2(model_size=size, models_dir="gpt2")
print(settings)
print(list(params))

# %% [markdown]
# `wte` is the *token embedding*, a row of `n_embd` numbers for each token of the vocabulary; `wpe` is the *positional
# embedding*, such a row for each position; `g` and `b` are scale and shift of the last layer norm, and `blocks` is a list
# with a dictionary for each block. **Predict** the shape of `wte`, then look into a block.

# %%
print("wte", params["wte"].shape, "wpe", params["wpe"].shape)


def show(tree, indent=""):
    for name, value in tree.items():
        if isinstance(value, dict):
            print(f"{indent}{name}")
            show(value, indent + "    ")
        else:
            print(f"{indent}{name} {value.shape}")


show(params["blocks"][0])

# %% [markdown]
# For *attention*, the model computes three vectors for each token: a *query*, a *key* and a *value*.
# Each token compares its query with the keys of the tokens up to itself. That gives each of them a
# *weight*, all together 1, and the token takes on the sum of their values, each times its weight.
# Several *heads* do so side by side. `c_attn` is the three matrices that make queries, keys and
# values, side by side (so 3 · `n_embd` columns), and `attn/c_proj` is attention's output layer.
# `c_fc` and `mlp/c_proj` are the two layers of the *feed-forward* part, which widens each vector
# fourfold and narrows it again. `ln_1` and `ln_2` are the layer norms before the two.

# %% [markdown]
# (A *bias* `b` is what a layer adds after its matrix, or a layer norm at its end. A *layer norm*
# brings each token's vector to mean 0 and variance 1 first.)

# %% [markdown]
# ## Into the model
#
# First the model with random weights. The printout of one block shows the names that the book uses.

# %%
import torch

from helpers.config import gpt_config
from helpers.model import GPTModel

cfg = gpt_config(CHOOSE_MODEL)
torch.manual_seed(5)
model = GPTModel(cfg)
print(model.trf_blocks[0])

# %% [markdown]
# Before the weights go in, let it write. `generate_text_simple` asks for the likeliest next token, appends it, and asks
# again. **Predict** what random weights will write.

# %%
from helpers.model import generate_text_simple
from helpers.tokenizer import text_to_token_ids, token_ids_to_text


def write_on(prompt, max_new_tokens=15):
    token_ids = text_to_token_ids(prompt)
    token_ids = generate_text_simple(model, token_ids, max_new_tokens, cfg["context_length"])
    return token_ids_to_text(token_ids)


model.eval()
random_text = write_on("Every effort moves you")
print(random_text)

# %% [markdown]
# Now `load_weights_into_gpt` puts every array in its place. It checks names and shapes first, so a checkpoint of
# another size is refused before anything has changed.

# %%
from helpers.loading import load_weights_into_gpt

load_weights_into_gpt(model, params)
model.eval()
pretrained_text = write_on("Every effort moves you")
print(pretrained_text)

# %% [markdown]
# That is English, if not wise. The nano has a tenth of the parameters of GPT-2 124M (its blocks, as
# counted below, a thirtieth), and has read little: dialogues with assistants, which is what this
# sounds like, old e-mails (spam among them), presidents' speeches, *Moby Dick*, the King James Bible,
# everyday sentences, and documents spelled as in text messages
# ([the appendix](06_A_where_nano_comes_from.ipynb) tells more). With GPT-2 124M the book prints:
# *Every effort moves you forward. The first step is to understand the importance of your work*.
#
# Such a sentence is a quick test, not a proof: scrambled weights give gibberish, but a single wrong
# matrix may still give something like English.

# %% [markdown]
# ## Did the numbers arrive?
#
# So we check numbers, too. The query, key and value weights must be the thirds of `c_attn`, turned: TensorFlow multiplies
# vector times matrix, `torch.nn.Linear` keeps its matrix the other way round.

# %%
import numpy as np

w_q, w_k, w_v = np.split(params["blocks"][0]["attn"]["c_attn"]["w"], 3, axis=-1)
attention = model.trf_blocks[0].att
print(np.array_equal(attention.W_query.weight.detach().numpy(), w_q.T))
print(np.array_equal(attention.W_key.weight.detach().numpy(), w_k.T))
print(np.array_equal(attention.W_value.weight.detach().numpy(), w_v.T))

# %% [markdown]
# GPT-2 uses the token embedding twice: at the bottom, to turn ids into vectors, and at the top, as the
# weights of the output head (the last layer, not one of the attention heads). So the checkpoint
# holds it once, and the loader copies it.

# %%
print(torch.equal(model.out_head.weight, model.tok_emb.weight))


# %% [markdown]
# Did *all* arrive? Both must hold equally many numbers, the model's head left out, as it is a copy.
# **Predict:** which part of the nano has the most?


# %% tags=["key-figure"]
def count(tree):
    if isinstance(tree, np.ndarray):
        return tree.size
    return sum(count(branch) for branch in (tree.values() if isinstance(tree, dict) else tree))


for name in ("tok_emb", "pos_emb", "trf_blocks", "final_norm"):
    numbers = sum(p.numel() for p in model.get_submodule(name).parameters())
    print(f"{numbers:>11,} in {name}")
in_model = sum(p.numel() for name, p in model.named_parameters() if name != "out_head.weight")
print(f"{in_model:>11,} parameters in the model, its head left out")
print(f"{count(params):>11,} numbers in the checkpoint")

# %% [markdown]
# The first four add up to the fifth. Three quarters are the token embedding, since the nano has GPT-2's
# vocabulary and narrow vectors. (GPT-2 124M has 124,439,808 in all, which is where its name comes
# from; 85,054,464 of them in its twelve blocks.)

# %% [markdown]
# ## The quick way
#
# The later notebooks call `load_pretrained`. The first time it does what we did here; then it keeps a copy in another
# format, safetensors, which loads without TensorFlow. If the checkpoint changes, the copy is made anew.

# %%
from helpers.loading import load_pretrained

model = load_pretrained(CHOOSE_MODEL)
assert write_on("Every effort moves you") == pretrained_text

# %% [markdown]
# ## Words as rows
#
# What have the numbers learned? Begin with the token embedding: all that the model knows of a word, before it looks around, is
# the word's row, and that was random at first. How alike two rows are is measured by their *cosine similarity*, the cosine of
# the angle between them: 1 if they point the same way, about 0 if they have nothing to do with each other.
#
# **Predict:** which of the 50,257 tokens are most like *Monday*? And like *win*?

# %%
from helpers.pictures.words import draw_nearest

draw_nearest(model, ["Monday", "mother", "dinner", "u", "win", "£"], count=6)

# %% [markdown]
# (␣ is a space, which belongs to the token. The words in bold are looked up with one, too, as they stand inside a sentence.
# `print(_.words)`, right after a picture of this course, says it in words.)
#
# The six tokens most like *Monday* are the other six days. Nobody told the nano about days, or that *u* is *you*: rows become
# alike when tokens are used alike. That is not meaning the same: the second most like *win* is *lose*. And the nano has read
# little: its *£* and *€* have nearly the same row, and what comes after these in the list has nothing to do with money.

# %% [markdown]
# A row is a point in a space of 192 dimensions. To draw points on paper we keep two directions: those in which the drawn rows
# differ most (*principal component analysis*; Pearson 1901). *Variance* measures how much they differ, in all directions or
# along one.
#
# **Predict:** here are four groups of words. Will they lie apart? Which two groups come closest? (The marks show the groups;
# where a word lies depends on its row alone.)

# %%
from helpers.pictures.words import draw_words

groups = {
    "days": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
    "family": ["mother", "father", "sister", "brother", "husband", "wife", "daughter", "son"],
    "numbers": ["two", "three", "four", "five", "six", "seven", "eight", "ten"],
    "cities": ["London", "Paris", "Seattle", "Toronto", "Sydney", "Chicago", "Boston"],
}
draw_words(model, groups)

# %% [markdown]
# Each group keeps together; days and cities come closest. But the picture holds 48 % of the variance, and the other half is
# left out: in all 192 numbers two days have a cosine of 0.74 in the mean, a day and a city 0.29. So read such a map with care:
# what lies far apart differs, what lies close together need not be alike.
#
# Try words of your own. Each must be one token, and other words give other directions.

# %% [markdown]
# ## A word looks around
#
# Now attention: query, key, value. In each head a token compares its query with the keys of the tokens up to itself: it
# multiplies them, number by number, adds the products up, and divides by the square root of how many there are. These
# *scores* become weights, which are positive and together 1, and the values, each times its weight, are added.
#
# **Predict:** in *My sister lost her phone*, which word says whose phone it is? And to which word will *her* give the largest
# weight, in head 3 of block 4? (Both are counted from 0.)

# %%
from helpers.pictures.attention_steps import draw_attention_step
from helpers.tokenizer import get_tokenizer, visible_tokens

token_ids = text_to_token_ids("My sister lost her phone")
tokens = visible_tokens(token_ids[0].tolist(), get_tokenizer())
draw_attention_step(model, token_ids, tokens, at=3, block=4, head=3)

# %% [markdown]
# Each strip is a vector of 32 numbers (192, shared out among six heads), a bar for each: up if it is above 0, down if it is
# below. The query of *her* fits the key of *sister* best, with the highest score, −2.8: *her* takes 82 % of what it gathers
# in this head from there, so the lowest strip looks much like the value of *sister*. *phone* comes later, so it has no part.
#
# Other heads look elsewhere. **Predict** what *her* looks at in block 1, head 4.

# %%
draw_attention_step(model, token_ids, tokens, at=3, block=1, head=4)

# %% [markdown]
# This one goes to the verb: 89 % for *lost*. Is that the head's job, then? Change the sentence before you believe it. With *My
# brother sold his car* both heads do for *his* what they did for *her*. With *The dog chased the cat* the second one goes to
# the verb again, from the second *the*, but the first spreads its weights. (Other models have other heads.)
#
# And a weight says from where a head gathers, not what the model makes of it, nor why it answers as it does (Jain & Wallace
# 2019). The values count, too, and so do all the other heads.

# %% [markdown]
# ## Try it
#
# **1. Your own prompt.** (easy, 5 minutes) Change the prompt. How does your model go on?

# %%
print(write_on("Can you help me find a restaurant", max_new_tokens=20))

# %% [markdown]
# **2. A wrong turn.** (medium, 5 minutes) Give one block its attention output matrix the wrong way round, and let it
# write. Does the test sentence notice?

# %%
weight = model.trf_blocks[0].att.out_proj.weight
with torch.no_grad():
    weight.copy_(weight.T.clone())
print(write_on("Every effort moves you"))

# %% [markdown]
# It is another text, but nearly English: who doesn't know the right sentence sees no mistake. Nor would
# the comparisons above, which looked at query, key and value and counted; every matrix needs its own
# check. (The course's tests compare them all, and the logits with those of two other
# implementations.) Run the cell with `load_pretrained` again to repair the model.
#
# **3. How many numbers has one block?** (medium, 5 minutes) Add up the shapes that `show` printed.

# %%
my_answer = None

# %%
from helpers.exercises import check

check(
    my_answer,
    sum(p.numel() for p in model.trf_blocks[0].parameters()),
    "Multiply rows by columns for each w, and don't forget the biases and the two layer norms.",
)

# %% [markdown]
# <details><summary>Solution</summary>
#
# With d for `n_embd` (the book's `emb_dim`): `c_attn` 3·d·d + 3·d, `attn/c_proj` d·d + d, `c_fc`
# 4·d·d + 4·d, `mlp/c_proj` 4·d·d + d, the two norms 2·d each; the sum of all these is 12·d² + 13·d.
# For the nano, d = 192: 444,864. For GPT-2 124M, d = 768: 7,087,872.
#
# </details>

# %% [markdown]
# ## What to take away
#
# - A checkpoint is names, shapes and numbers; loading is putting each in its place.
# - Check by use *and* by numbers: a model that is loaded nearly right writes nearly right.
# - A word is a row of the embedding, and words used alike have like rows. Attention lets a word take on what others hold.
# - GPT-2's head shares its weights with the token embedding; the next section replaces that head.
#
# Next: [6.5, the classification head](06_5_classification_head.ipynb).
