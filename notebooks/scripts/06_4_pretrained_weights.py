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
# After this notebook you can read a GPT-2 checkpoint as OpenAI published it, put its weights into the model, and check by
# the model's own writing that they arrived. About 30 minutes. Figures are those of the bundled pair; with another choice
# expect others.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/gpt2-classification-course/blob/main/notebooks/06_4_pretrained_weights.ipynb)

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
# ## What pretraining has put there
#
# All that the model knows of a word, before it looks around, is the word's row of numbers. How alike two rows are is
# measured by their *cosine similarity*, the cosine of the angle between them: 1 if they point the same way, about 0 if they
# have nothing to do with each other. Try words of your own; each must be one token.

# %%
from helpers.loading import load_pretrained
from workshop.pictures.charts import draw_nearest

model = load_pretrained(CHOOSE_MODEL)
draw_nearest(model, ["Monday", "mother", "dinner", "u"])

# %%
from torch.nn.functional import cosine_similarity

from helpers.tokenizer import get_tokenizer
from workshop.widgets import predict

tokenizer = get_tokenizer()


def row(word):
    return model.tok_emb.weight[tokenizer.encode(f" {word}")[0]].detach()


alike = {
    word: cosine_similarity(row("win"), row(word), dim=0) for word in ("lose", "prize", "free")
}

predict("6.4 most like win", max(alike, key=alike.get), draw_nearest(model, ["win", "£"]))

# %%
from itertools import combinations

from torch import stack

from workshop.pictures.charts import draw_words

groups = {
    "days": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
    "family": ["mother", "father", "sister", "brother", "husband", "wife", "daughter", "son"],
    "numbers": ["two", "three", "four", "five", "six", "seven", "eight", "ten"],
    "cities": ["London", "Paris", "Seattle", "Toronto", "Sydney", "Chicago", "Boston"],
}
rows = {name: stack([row(word) for word in words]) for name, words in groups.items()}
alike = {
    f"{a} and {b}": cosine_similarity(rows[a][:, None], rows[b][None], dim=-1).mean()
    for a, b in combinations(groups, 2)
}

predict("6.4 groups of words", max(alike, key=alike.get), draw_words(model, groups))

# %% [markdown]
# ## What a checkpoint is
#
# A *checkpoint* is a model's weights on disk. OpenAI's come as a folder: the sizes (`hparams.json`), the tokenizer's two
# tables, and a TensorFlow checkpoint, which is an index and one large file of numbers. The nano is stored in just this
# form. OpenAI's sizes are downloaded at the first use: about 0.5 GB for 124M and up to 6 GB for 1558M.

# %%
from helpers.config import model_size
from helpers.loading import find_checkpoint

size = model_size(CHOOSE_MODEL)
for path in sorted(find_checkpoint(size).iterdir()):
    if path.suffix != ".md":
        print(path.name)

# %% [markdown]
# `download_and_load_gpt2` reads it: `settings` are the sizes, `params` the numbers, nested by name. TensorFlow is needed
# only for this, and takes a few seconds to start.

# %%
from helpers.loading import download_and_load_gpt2

settings, params = download_and_load_gpt2(model_size=size, models_dir="gpt2")
print(settings)
print(list(params))

# %%
predict("6.4 shape of the embedding", params["wte"].shape, emb_dim=settings["n_embd"])


# %% [markdown]
# `g` and `b` are scale and shift of the last layer norm, and `blocks` is a list with a dictionary for each block:


# %%
def show(tree, indent=""):
    for name, value in tree.items():
        if isinstance(value, dict):
            print(f"{indent}{name}")
            show(value, indent + "    ")
        else:
            print(f"{indent}{name} {value.shape}")


show(params["blocks"][0])

# %% [markdown]
# For *attention*, the model computes three vectors for each token: a *query*, a *key* and a *value*. Each token compares
# its query with the keys of the tokens up to itself. That gives each of them a *weight*, all together 1, and the token
# takes on the sum of their values, each times its weight. Several *heads* do so side by side.
#
# `c_attn` makes queries, keys and values, side by side (so 3 · `n_embd` columns); `attn/c_proj` is attention's output layer.

# %% [markdown]
# `c_fc` and `mlp/c_proj` are the two layers of the *feed-forward* part, which widens each vector fourfold and narrows it
# again. `ln_1` and `ln_2` are the *layer norms* before the two: they bring each token's vector to mean 0 and variance 1
# first. (A *bias* `b` is what a layer adds after its matrix.)

# %% [markdown]
# ## Into the model
#
# First a model with random weights. The printout of one block shows the names that the book uses.

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
# again.

# %%
from helpers.model import generate_text_simple
from helpers.tokenizer import text_to_token_ids, token_ids_to_text


def write_on(prompt, max_new_tokens=15):
    token_ids = text_to_token_ids(prompt)
    token_ids = generate_text_simple(model, token_ids, max_new_tokens, cfg["context_length"])
    return token_ids_to_text(token_ids)


model.eval()
print(write_on("Every effort moves you"))


# %% [markdown]
# > **Write it: one variable in its place.** (medium, 10 minutes)
# >
# > Fill the layers `W_query`, `W_key` and `W_value` of an attention module with the thirds of `c_attn`, in place. TensorFlow
# > multiplies vector times matrix; `torch.nn.Linear` keeps its matrix the other way round.
#
# <details><summary>A hint</summary>
#
# `w.split(n, dim=1)` gives a matrix's columns in pieces of n; `.T` turns one.
#
# </details>
#
# <details><summary>A bigger hint</summary>
#
# `layer.weight.copy_(…)` fills what is there. As no gradient is wanted, it needs `with torch.no_grad():` around it.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def my_put_in_place(attention, w, b):
#     layers = [attention.W_query, attention.W_key, attention.W_value]
#     n = w.shape[0]
#     with torch.no_grad():
#         for layer, matrix, bias in zip(layers, w.split(n, dim=1), b.split(n)):
#             layer.weight.copy_(matrix.T)
#             layer.bias.copy_(bias)
# ```
#
# </details>


# %%
def my_put_in_place(attention, w, b):
    """Fill attention.W_query, W_key and W_value, each a Linear(emb, emb), and return nothing.

    w (emb, 3·emb) and b (3·emb,) are tensors: query, key and value, side by side.
    """
    ...


# %%
from workshop.exercises import check_code

load_query_key_value = check_code("6.4 query, key and value", my_put_in_place)

# %% [markdown]
# `load_weights_into_gpt` puts every array in its place. It checks names and shapes first, so a checkpoint of another size
# is refused before anything has changed.

# %%
from workshop.exercises import show_source
from helpers.loading import load_weights_into_gpt

load_weights_into_gpt(model, params)
for block, arrays in zip(model.trf_blocks, params["blocks"], strict=True):
    c_attn = arrays["attn"]["c_attn"]
    w, b = torch.tensor(c_attn["w"]), torch.tensor(c_attn["b"])
    load_query_key_value(block.att, w, b)  # once more, with the function above
model.eval()
pretrained_text = write_on("Every effort moves you")
print(pretrained_text)
show_source(load_weights_into_gpt)

# %% [markdown]
# That is English, if not wise: the nano has read little ([6.A](06_A_where_nano_comes_from.ipynb) tells what). With GPT-2 124M
# the book prints: *Every effort moves you forward. The first step is to understand the importance of your work*.
#
# Such a sentence is a quick test, not a proof: scrambled weights give gibberish, but a single wrong matrix may still give
# something like English. So we check numbers, too.

# %%
import numpy as np

w_q, w_k, w_v = np.split(params["blocks"][0]["attn"]["c_attn"]["w"], 3, axis=-1)
attention = model.trf_blocks[0].att
print(np.array_equal(attention.W_query.weight.detach().numpy(), w_q.T))
print(np.array_equal(attention.W_key.weight.detach().numpy(), w_k.T))
print(np.array_equal(attention.W_value.weight.detach().numpy(), w_v.T))

# %% [markdown]
# GPT-2 uses the token embedding twice: at the bottom, to turn ids into vectors, and at the top, as the weights of the
# output head (the last layer, not one of the attention heads). So the checkpoint holds it once.

# %%
print(torch.equal(model.out_head.weight, model.tok_emb.weight))

# %%
parts = {
    name: sum(p.numel() for p in model.get_submodule(name).parameters())
    for name in ("tok_emb", "pos_emb", "trf_blocks", "final_norm")
}
shown = "\n".join(f"{numbers:>11,} in {name}" for name, numbers in parts.items())

predict("6.4 the largest part", given=model, show=shown)


# %% [markdown]
# Did *all* arrive? Both must hold equally many numbers, the head left out, as it is a copy.


# %% tags=["key-figure"]
def count(tree):
    if isinstance(tree, np.ndarray):
        return tree.size
    return sum(count(branch) for branch in (tree.values() if isinstance(tree, dict) else tree))


print(f"{sum(parts.values()):>11,} parameters in the model, its head left out")
print(f"{count(params):>11,} numbers in the checkpoint")

# %% [markdown]
# The later notebooks call `load_pretrained`. The first time it does what we did here; then it keeps a copy in another
# format, safetensors, which loads without TensorFlow.

# %%
model = load_pretrained(CHOOSE_MODEL)
assert write_on("Every effort moves you") == pretrained_text

# %% [markdown]
# ## A word looks around
#
# In each head a token multiplies its query with the keys of the tokens up to itself, number by number, adds the products
# up, and divides by the square root of how many there are. These *scores* become the weights, and the values, each times
# its weight, are added.

# %%
from workshop.inside import attention_weights
from workshop.pictures.attention import draw_attention_step
from helpers.tokenizer import visible_tokens

token_ids = text_to_token_ids("My sister lost her phone")
tokens = visible_tokens(token_ids[0].tolist(), tokenizer)
weights = attention_weights(model, token_ids)[:, 0]  # (n_layers, n_heads, n, n)
looks_at = tokens[weights[4, 3, 3].argmax()].strip(" ␣")

predict(
    "6.4 whose phone",
    looks_at,
    draw_attention_step(model, token_ids, tokens, at=3, block=4, head=3),
)

# %%
looks_at = tokens[weights[1, 4, 3].argmax()].strip(" ␣")

predict(
    "6.4 another head",
    looks_at,
    draw_attention_step(model, token_ids, tokens, at=3, block=1, head=4),
)

# %% [markdown]
# ## Try it
#
# > **1. Your own sentence.** (easy, 3 minutes) What does the verb look at, in the same two heads? And how does your model go on?

# %%
my_sentence = "The dog chased the cat"
my_ids = text_to_token_ids(my_sentence)
my_tokens = visible_tokens(my_ids[0].tolist(), tokenizer)
print(write_on(my_sentence, max_new_tokens=10))
draw_attention_step(model, my_ids, my_tokens, at=2, block=4, head=3)

# %% [markdown]
# > **2. A wrong turn.** (easy, 3 minutes) One block gets its attention output matrix the wrong way round. Does the test
# > sentence notice?

# %%
weight = model.trf_blocks[0].att.out_proj.weight
with torch.no_grad():
    weight.copy_(weight.T.clone())
print(write_on("Every effort moves you"))

# %% [markdown]
# Who doesn't know the right sentence sees no mistake. Nor would the comparisons above; every matrix needs its own check.
# (The course's tests compare them all, and the logits with those of two other implementations.) Run the cell with
# `load_pretrained` again to repair the model.
#
# > **3. How many numbers has one block?** (medium, 5 minutes) Add up the shapes that `show` printed.

# %%
my_answer = None

# %%
from workshop.exercises import check

check("6.4 numbers of one block", my_answer, model)

# %% [markdown]
# <details><summary>Solution</summary>
#
# With d for `n_embd`: `c_attn` 3·d·d + 3·d, `attn/c_proj` d·d + d, `c_fc` 4·d·d + 4·d, `mlp/c_proj` 4·d·d + d, the two norms
# 2·d each.
#
# ```python
# d = settings["n_embd"]
# my_answer = 12 * d**2 + 13 * d
# ```
#
# For the nano, d = 192: 444,864. For GPT-2 124M, d = 768: 7,087,872.
#
# </details>

# %% [markdown]
# ## Five questions
#
# <details><summary>1. What is a checkpoint?</summary>
#
# A model's weights on disk: names, shapes and numbers.
#
# </details>
# <details><summary>2. Why are the matrices turned while they are loaded?</summary>
#
# TensorFlow multiplies vector times matrix; `torch.nn.Linear` keeps its matrix the other way round.
#
# </details>
# <details><summary>3. The model writes good English after loading. Is all in its place?</summary>
#
# Not proved: with one wrong matrix it may still write something like English. Numbers have to be compared.
#
# </details>
# <details><summary>4. When do two tokens get like rows in the embedding?</summary>
#
# When they are used alike, which is not the same as meaning the same.
#
# </details>
# <details><summary>5. What makes up an attention weight?</summary>
#
# How well a token's query fits another's key; the weights of one token are together 1.
#
# </details>

# %%
from workshop.exercises import progress

progress("6.4")

# %% [markdown]
# ## What to take away
#
# - A checkpoint is names, shapes and numbers; loading is putting each in its place.
# - Check by use *and* by numbers: a model that is loaded nearly right writes nearly right.
# - A word is a row of the embedding, and words used alike have like rows. Attention lets a word take on what others hold.
# - GPT-2's head shares its weights with the token embedding; the next section replaces that head.
#
# Next: [6.5, the classification head](06_5_classification_head.ipynb).
