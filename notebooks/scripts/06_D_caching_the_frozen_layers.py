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
# # 6.D Caching the frozen layers
#
# After this notebook you can compute the output of the frozen layers once, and fine-tune on it: the losses are the same, and
# each epoch is faster. About 10 minutes. Read sections 6.5 to 6.7 first. The numbers are those of the bundled model and data.
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
# ## The same output in every epoch
#
# The book's plan trains the last block, the final layer norm and the head. The layers below are frozen: for the same message,
# they have the same output in every epoch. The book's loop computes it again each time.

# %%
import torch

from helpers.data import create_dataloaders
from helpers.freezing import FreezePlan, replace_head
from helpers.loading import load_pretrained
from helpers.training import TrainingSettings, get_device

device = get_device()
settings = TrainingSettings.for_model(CHOOSE_MODEL)
dataset = create_dataloaders(CHOOSE_DATA)[0].dataset  # for training
token_ids = torch.stack([ids for ids, _ in dataset])
labels = torch.stack([label for _, label in dataset])


def new_classifier():
    """Return the pretrained model with a new head and the book's plan."""
    model = load_pretrained(CHOOSE_MODEL)
    torch.manual_seed(settings.seed)
    replace_head(model)
    return FreezePlan.book(model.cfg["n_layers"]).apply(model).to(device)


model = new_classifier()
print(f"token ids {tuple(token_ids.shape)}, labels {tuple(labels.shape)}")

# %%
from helpers.freezing import frozen_blocks, gradient_reach, parameter_report
from workshop.pictures.model import draw_classifier

plan = FreezePlan.book(model.cfg["n_layers"])
report, reach = parameter_report(model.cfg, plan), gradient_reach(plan)
draw_classifier(report, reach=reach, cached=frozen_blocks(plan))

# %% [markdown]
# Everything below the dotted line needs to run only once for each message, if its output is kept. This is a *cache*.

# %%
from workshop.widgets import predict

predict(
    "6.D compute without a cache",
    given=(model.cfg, token_ids.shape[1], settings.epochs),
)


# %% [markdown]
# ## Try it: the output of the frozen layers
#
# > **Write it: the output of the frozen layers.** (easy, 4 minutes)
# >
# > Return the input of the last block, which is the only trained one. The layers of a model are `tok_emb`, `pos_emb`,
# > `trf_blocks`, `final_norm` and `out_head`, as in the book.
#
# <details><summary>A hint</summary>
#
# `model.trf_blocks[:-1]` contains all blocks but the last. The positions are `torch.arange(token_ids.shape[1])`, and
# `model.pos_emb` returns their embeddings.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def my_frozen_output(model, token_ids):
#     num_tokens = token_ids.shape[1]
#     positions = torch.arange(num_tokens, device=token_ids.device)
#     x = model.tok_emb(token_ids) + model.pos_emb(positions)
#     for block in model.trf_blocks[:-1]:
#         x = block(x)
#     return x
# ```
#
# </details>


# %%
def my_frozen_output(model, token_ids):
    """Return the last block's input: token ids (b, n) → (b, n, emb_dim)."""
    ...


# %%
from workshop.exercises import check_code

frozen_output = check_code("6.D output of the frozen layers", my_frozen_output)

# %% [markdown]
# ## Training on the cached output
#
# The frozen layers run once for all training messages. `no_grad` saves memory, as no gradient passes through these layers.

# %%
import time

started, outputs = time.perf_counter(), []
with torch.no_grad():
    for batch in token_ids.split(32):
        outputs.append(frozen_output(model, batch.to(device)).cpu())
cached = torch.cat(outputs)
seconds_once = time.perf_counter() - started
megabytes = cached.numel() * cached.element_size() / 1e6
print(f"cached output {tuple(cached.shape)}: {megabytes:.0f} MB")

# %% [markdown]
# `train_one_epoch` takes the same steps as the book's loop. What differs is its input: token ids, which go through the whole
# model, or the cached output, which goes through the trained layers.

# %%
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from tqdm.auto import tqdm


def trained_layers(model, x):
    """Return the logits for the input of the last block."""
    return model.out_head(model.final_norm(model.trf_blocks[-1](x)))


def train_one_epoch(inputs, logits_of):
    """Return each step's loss, and the seconds, for a new classifier."""
    model = new_classifier()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay
    )
    dataset = TensorDataset(inputs, labels)
    torch.manual_seed(settings.seed)  # the same batches each time
    loader = DataLoader(dataset, batch_size=8, shuffle=True, drop_last=True)
    losses, started = [], time.perf_counter()
    for batch, targets in tqdm(loader, desc="one epoch"):
        logits = logits_of(model, batch.to(device))[:, -1]
        loss = F.cross_entropy(logits, targets.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, time.perf_counter() - started


def whole_model(model, token_ids):
    """Return the logits for token ids."""
    return model(token_ids)


losses, seconds = train_one_epoch(token_ids, whole_model)
cached_losses, cached_seconds = train_one_epoch(cached, trained_layers)

# %% tags=["nbval-ignore-output", "key-figure"]
pairs = zip(losses, cached_losses, strict=True)
largest = max(abs(loss - cached_loss) for loss, cached_loss in pairs)
epochs = settings.epochs
with_cache = seconds_once + epochs * cached_seconds
print(f"one epoch of the whole model: {seconds:.1f} s")
print(f"frozen layers, once: {seconds_once:.1f} s")
print(f"one epoch on the cached output: {cached_seconds:.1f} s")
print(f"{epochs} epochs without the cache: {epochs * seconds:.0f} s")
print(f"{epochs} epochs with the cache: {with_cache:.0f} s")
predict(
    "6.D losses",
    given=(losses, cached_losses),
    show=f"largest difference in a step: {largest:.1g}",
)

# %% [markdown]
# The measured speed-up is often smaller than the predicted one: the optimizer and other programs take time, too.
#
# ## `fine_tune`: the course's cache
#
# The [Freeze Lab](06_B_freeze_lab.ipynb) and sections 6.7 and 6.8 use `fine_tune`, which caches in the same way and saves more:
#
# - It computes the last block only for the position whose logits classify.
# - It keeps the cache for the next training that has the same frozen layers.
#
# [How fast training is](../site/pages/speed.md) compares it with the book's loop. If only the head is trained, an epoch takes
# a moment. [The Freeze Lab](06_B_freeze_lab.ipynb) shows what accuracy that gives, at the padded end and at the last real
# token.

# %% [markdown]
# ## Two questions
#
# <details><summary>1. With which plans can nothing be cached?</summary>
#
# Nothing can be cached if an embedding is trained. Then there is no frozen layer below the lowest trained part.
#
# </details>
# <details><summary>2. Why would dropout in the frozen layers prevent caching?</summary>
#
# Their output would be different in each epoch. As in the book, there is no dropout in this model.
#
# </details>

# %%
from workshop.exercises import progress

progress("6.D")

# %% [markdown]
# ## What to take away
#
# - Layers below the lowest trained part have the same output for a message in every epoch, so it can be cached.
# - Training on the cached output gives the same losses, except for rounding.
# - The speed-up depends on how many layers are frozen and on the number of epochs.
#
# Next: [6.E, what does the classifier really know?](06_E_what_does_it_really_know.ipynb).
