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
# After this notebook you can read a GPT-2 checkpoint, load its weights into the model, and check that they are correct. You
# need chapters 3 and 4 of the book (attention, `GPTModel`) and section 5.5 (loading). About 24 minutes. `CHOOSE_DATA` has no
# effect on this page. The [glossary](../site/pages/glossary.md) explains the terms.
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
# ## The model before loading
#
# The configuration is the book's `BASE_CONFIG` with the sizes of the chosen model. A new `GPTModel` has random
# [*parameters*](../site/pages/glossary.md). The function `generate_text_simple` repeatedly appends the most likely next token
# to a text.

# %%
import torch

from helpers.config import gpt_config
from helpers.model import GPTModel, generate_text_simple
from helpers.tokenizer import text_to_token_ids, token_ids_to_text


def continue_text(model, prompt, max_new_tokens=15):
    model.eval()
    token_ids = generate_text_simple(
        model,
        text_to_token_ids(prompt),
        max_new_tokens,
        model.cfg["context_length"],
    )
    return token_ids_to_text(token_ids)


cfg = gpt_config(CHOOSE_MODEL)
for name, value in cfg.items():
    print(f"{name:<15} {value}")
torch.manual_seed(5)
random_model = GPTModel(cfg)
print(continue_text(random_model, "Every effort moves you"))

# %% [markdown]
# ## The checkpoint
#
# A *checkpoint* contains the weights of a model. OpenAI distributes it as a folder:
#
# - `hparams.json` contains the model's sizes.
# - `encoder.json` and `vocab.bpe` belong to the tokenizer.
# - `model.ckpt…` are an index and the weights, and `checkpoint` contains their file name.
#
# `download_and_load_gpt2` returns the sizes, `settings`, and the weights, `params`, as nested dictionaries. Larger
# models are downloaded: 0.5 GB for 124M, 6 GB for 1558M.

# %%
from helpers.config import model_size
from helpers.loading import download_and_load_gpt2, find_checkpoint

size = model_size(CHOOSE_MODEL)
for path in sorted(find_checkpoint(size).iterdir()):
    if path.suffix != ".md":
        print(path.name)

settings, params = download_and_load_gpt2(model_size=size, models_dir="gpt2")
print(settings)
print(list(params))

# %%
from workshop.widgets import predict

predict(
    "6.4 shape of the embedding",
    params["wte"].shape,
    emb_dim=settings["n_embd"],
)


# %% [markdown]
# `params["blocks"]` has a dictionary for each *transformer block*. We print the first one, then the book's block:


# %%
def show(tree, indent=""):
    for name, value in tree.items():
        if isinstance(value, dict):
            print(f"{indent}{name}")
            show(value, indent + "    ")
        else:
            print(f"{indent}{name} {value.shape}")


show(params["blocks"][0])
print(random_model.trf_blocks[0])


# %% [markdown]
# - `attn` is *attention*. For each token, `c_attn` computes a *query*, a *key* and a *value*. `c_proj` is the output layer.
# - `mlp` is the *feed-forward network*. `c_fc` expands each vector to four times its size, and `c_proj` projects it back.
# - `ln_1` and `ln_2` are the [*layer norms*](https://docs.pytorch.org/docs/stable/generated/torch.nn.LayerNorm.html) before
#   them, with scale `g` and shift `b`.
# - Elsewhere `w` is a matrix, and `b` the *bias* that is added.

# %% [markdown]
# > **Write it: load query, key and value.** (medium, 10 minutes)
# >
# > Split `w` and `b` of `c_attn` into three parts. Copy them into the layers `W_query`, `W_key` and `W_value`. OpenAI's code
# > computes `x @ w`, and `torch.nn.Linear` computes `x @ weight.T`. So the matrices must be *transposed*.
#
# <details><summary>A hint</summary>
#
# `w.split(n, dim=1)` splits a matrix into parts of n columns. `.T` transposes a matrix.
#
# </details>
#
# <details><summary>A bigger hint</summary>
#
# `layer.weight.copy_(…)` overwrites a parameter. It has to stand inside `with torch.no_grad():`, because PyTorch does not
# allow such a change where it records gradients.
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
    """Fill attention.W_query, W_key and W_value, each a Linear(emb, emb).

    w (emb, 3·emb) and b (3·emb,) are tensors: query, key, value side by side.
    """
    ...


# %%
from workshop.exercises import check_code

load_query_key_value = check_code("6.4 query, key and value", my_put_in_place)

# %% [markdown]
# ## Loading the weights
#
# `load_weights_into_gpt` copies every array into a model. Then we call your function, or the course's, for queries, keys and
# values.

# %%
from helpers.loading import load_weights_into_gpt
from workshop.exercises import show_source

loaded = GPTModel(cfg)
load_weights_into_gpt(loaded, params)
for number, arrays in enumerate(params["blocks"]):
    c_attn = arrays["attn"]["c_attn"]
    w, b = torch.tensor(c_attn["w"]), torch.tensor(c_attn["b"])
    load_query_key_value(loaded.trf_blocks[number].att, w, b)
model = loaded  # only a model with its weights gets this name
print(continue_text(model, "Every effort moves you"))
show_source(load_weights_into_gpt)

# %% [markdown]
# This is English, but not very meaningful, because the nano was trained on little text
# ([6.C](06_C_where_nano_comes_from.ipynb)). Can this model already recognise spam? The book asks it:

# %%
prompt = (
    "Is the following text 'spam'? Answer with 'yes' or 'no':"
    " 'You are a winner you have been specially"
    " selected to receive $1000 cash or a $2000 award.'"
)
print(continue_text(model, prompt, max_new_tokens=23))

# %% [markdown]
# The nano does not answer: it was not trained to follow instructions. So we fine-tune.
#
# ## Are all weights correct?
#
# Random weights give nonsense, but one wrong matrix can still give good English. So we compare every parameter with its
# array in the checkpoint. This also tests your function.
#
# GPT-2 uses the token [*embedding*](../site/pages/glossary.md) twice: to turn token ids into vectors, and as the weights of
# the output head. The book's model has two tensors for this, so the second one is a copy.

# %%
import numpy as np

from helpers.loading import checkpoint_variables


def equal_parameters(model):
    weights, equal = model.state_dict(), {}
    for variable in checkpoint_variables(settings):
        array = params
        for key in variable.path:  # such as "blocks", 0, "attn", "c_attn", "w"
            array = array[key]
        if variable.path[-1] == "w":
            array = array.T
        parts = np.split(array, len(variable.parameters))
        for name, part in zip(variable.parameters, parts, strict=True):
            equal[name] = np.array_equal(weights[name], part)
    return equal


# %% tags=["key-figure"]
print(torch.equal(model.out_head.weight, model.tok_emb.weight), "equal values")
print(model.out_head.weight is model.tok_emb.weight, "the same tensor")
equal = equal_parameters(model)
print(f"{sum(equal.values())} of {len(equal)} parameter tensors are equal")

# %% [markdown]
# ## Optional: one attention head
#
# Each block has several *attention heads*. In each head, a token has a *score* for itself and for each earlier token. A
# *causal mask* hides later ones. The score is the *dot product* of the token's query and the other's key, divided by the
# square root of the vectors' size. [*Softmax*](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.softmax.html)
# turns the scores into *attention weights*. The output is the sum of the values, each multiplied by its weight.

# %%
from helpers.tokenizer import get_tokenizer, visible_tokens
from workshop.inside import attention_weights
from workshop.pictures.attention import draw_attention_step

block, head = 4, 3  # counted from 0


def draw_sentence(sentence, position):
    ids = text_to_token_ids(sentence)
    tokens = visible_tokens(ids[0].tolist(), get_tokenizer())
    return draw_attention_step(model, ids, tokens, position, block, head)


draw_sentence("My sister lost her phone", 3)

# %%
weights, largest = {}, {}
for word in ("her", "the"):
    token_ids = text_to_token_ids(f"My sister lost {word} phone")
    every_head = attention_weights(model, token_ids)
    weights[word] = every_head[block, 0, head, 3, :4]  # of the fourth token
    largest[word] = ["My", "sister", "lost", word][weights[word].argmax()]

predict(
    "6.4 whose phone",
    largest["the"],
    draw_sentence("My sister lost the phone", 3),
    before=largest["her"],
    weight_before=100 * weights["her"].max(),
    weight=100 * weights["the"].max(),
)

# %% [markdown]
# ## Try it
#
# > **1. A matrix that is not transposed.** (easy, 3 minutes) In a copy of the model, one matrix has the wrong orientation.
# > Can you tell from the text? Which test finds it?

# %%
import copy

damaged = copy.deepcopy(model)
weight = damaged.trf_blocks[4].att.W_query.weight
with torch.no_grad():
    weight.copy_(weight.T.clone())
print(continue_text(model, "Every effort moves you"))
print("--- with one matrix that is not transposed:")
print(continue_text(damaged, "Every effort moves you"))
print("--- not equal:")
print([name for name, same in equal_parameters(damaged).items() if not same])

# %% [markdown]
# <details><summary>Solution</summary>
#
# The nano's text with the wrong matrix is just as good, so the text does not show the mistake. The comparison of all
# parameters finds it. In a square matrix, the shape does not show it either.
#
# </details>
#
# > **2. How many parameters does one block have?** (medium, 5 minutes) Add up the shapes that `show` printed.

# %%
my_answer = None

# %%
from workshop.exercises import check

check("6.4 numbers of one block", my_answer, model)

# %% [markdown]
# <details><summary>Solution</summary>
#
# With d for `n_embd`: `c_attn` has 3·d·d + 3·d parameters, `attn/c_proj` d·d + d, `c_fc` 4·d·d + 4·d, `mlp/c_proj`
# 4·d·d + d, and each of the two layer norms 2·d.
#
# ```python
# d = settings["n_embd"]
# my_answer = 12 * d**2 + 13 * d
# ```
#
# For the nano, with d = 192, that is 444,864. For GPT-2 124M, with d = 768, it is 7,087,872.
#
# </details>

# %% [markdown]
# ## Two questions
#
# <details><summary>1. Why are the matrices transposed while they are loaded?</summary>
#
# OpenAI's code computes `x @ w`, and `torch.nn.Linear` computes `x @ weight.T`.
#
# </details>
# <details><summary>2. The model generates good English after loading. Are all weights correct?</summary>
#
# Not necessarily. With one wrong matrix, the text can be just as good. Only a comparison of all parameters shows it.
#
# </details>

# %%
from workshop.exercises import progress

progress("6.4")

# %% [markdown]
# ## What to take away
#
# - A checkpoint contains names, shapes and weights. Loading copies each array to the right parameter, transposed if needed.
# - Check the generated text and every parameter.
# - The output head of GPT-2 has the same weights as the token embedding. The next section replaces this head.
#
# Next: [6.5, the classification head](06_5_classification_head.ipynb).
