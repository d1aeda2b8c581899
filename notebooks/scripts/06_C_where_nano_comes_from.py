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
# After this notebook you can pretrain a small GPT-2, and say how much pretraining helps. About 20 minutes. Read sections 6.4
# to 6.7 first. Only the section on fine-tuning uses `CHOOSE_MODEL` and `CHOOSE_DATA`.
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
# ## Pretraining needs only text
#
# Section 6.4 loaded [*pretrained*](../site/pages/glossary.md) weights. Here we pretrain a tiny GPT-2, as in the book's
# chapter 5. The text is the first third of *Moby Dick*, without any labels.

# %%
from workshop.pretraining import encode_documents
from workshop.pretraining import read_documents, split_documents

chapters = read_documents(course / "workshop/assets/moby-dick")
train_chapters, held_out_chapters = split_documents(chapters, held_out=0.1)
train_tokens = encode_documents(train_chapters)
held_out_tokens = encode_documents(held_out_chapters)
for name, part, tokens in (
    ("training", train_chapters, train_tokens),
    ("held-out", held_out_chapters, held_out_tokens),
):
    print(f"{len(part)} {name} chapters, {len(tokens):,} tokens")
print(chapters[0][:73])

# %% [markdown]
# The chapters are joined into one long token sequence. The model is never trained on the *held-out* ones, so they show whether
# it has learned something that also holds for new text.
#
# The labels come from the text: at each position, the label is the next token. So the targets are the inputs, shifted by one.

# %%
from helpers.tokenizer import get_tokenizer, visible_tokens

tokenizer = get_tokenizer()
sequence = train_tokens[:65].tolist()
inputs, targets = sequence[:-1], sequence[1:]
print("inputs: ", visible_tokens(inputs[:8], tokenizer))
print("targets:", visible_tokens(targets[:8], tokenizer))

# %% [markdown]
# ## The loss of an untrained model
#
# Our GPT-2 has two blocks and embeddings with 32 entries. Its loss is the cross-entropy of section 6.6, with 50,257 classes
# instead of two: the mean of −ln p, where p is the probability of the correct next token. Its unit is the
# [*nat*](../site/pages/glossary.md).

# %%
from helpers.config import BASE_CONFIG
from workshop.pretraining import new_model
from workshop.widgets import predict

sizes = {"emb_dim": 32, "n_layers": 2, "n_heads": 2, "context_length": 64}
cfg = BASE_CONFIG | sizes  # the rest is the same in every GPT-2
untrained = new_model(cfg)
predict(
    "6.C the loss of an untrained model",
    given=(untrained, held_out_tokens),
)

# %% [markdown]
# The baseline is a [*unigram model*](../site/pages/glossary.md): it predicts the tokens' frequencies in the training chapters at
# every position, and ignores the context.

# %%
import numpy as np

# 0.1 more, so that a token without an occurrence is not impossible
counts = np.bincount(train_tokens, minlength=50257) + 0.1
unigram_losses = -np.log(counts / counts.sum())  # of each token
unigram_loss = unigram_losses[held_out_tokens].mean()
print(f"loss of the unigram model: {unigram_loss:.2f} nats")

# %% [markdown]
# ## Pretraining
#
# This function shows what a model has learned: it draws each next token at random, with the predicted probabilities.

# %%
import torch

from helpers.tokenizer import text_to_token_ids, token_ids_to_text


@torch.no_grad()
def draw_text(model, text, count=25):
    """Return a text and `count` tokens more, drawn at random."""
    token_ids = text_to_token_ids(text, tokenizer)
    for _ in range(count):
        probabilities = model(token_ids)[0, -1].softmax(dim=-1)
        drawn = torch.multinomial(probabilities, num_samples=1)
        token_ids = torch.cat([token_ids, drawn.unsqueeze(0)], dim=1)
    return token_ids_to_text(token_ids, tokenizer)


# %% [markdown]
# Each step is as in section 6.7, but all parameters are trained. The learning rate first grows
# ([*warm-up*](../site/pages/glossary.md)) and then decreases, which makes the training more stable.

# %%
from workshop.pretraining import Recipe, pretrain

recipe = Recipe(
    steps=300,
    tokens_per_step=1024,  # 16 sequences of 64 tokens, from random positions
    lengths=(64,),
    lr=4e-3,
    warmup_steps=20,
    candidates=1536,  # a sampled softmax: see the glossary
)
model = new_model(cfg)  # a new one, each time the cell is run
torch.manual_seed(123)
samples = {0: draw_text(model, "The captain")}


def sample_text(progress):
    """Keep what the model writes after this step."""
    samples[progress.step] = draw_text(model, "The captain")


training = pretrain(
    model,
    train_tokens,
    held_out_tokens,
    recipe,
    validate_every=100,
    at_validation=sample_text,
)

# %% tags=["nbval-ignore-output"]
from workshop.pictures.charts import draw_pretraining

levels = {"untrained": np.log(50257), "unigram model": unigram_loss}
figure = draw_pretraining(training.losses, training.validation, levels)
predict(
    "6.C where the loss ends",
    given=(training, unigram_loss),
    show=figure,
    steps=recipe.steps,
)

# %% [markdown]
# ## Learning and memorising
#
# Here is what the model writes after 0, 100, 200 and 300 steps, and its loss on both parts of the text.

# %% tags=["nbval-ignore-output", "key-figure"]
from workshop.pretraining import validation_losses

for step, text in samples.items():
    print(f"{step:>3} steps: {text!r}")
for name, tokens in (("training", train_tokens), ("held-out", held_out_tokens)):
    loss = validation_losses(model, tokens, 64).mean()
    unigram = unigram_losses[tokens].mean()
    print(f"{name} chapters: {loss:.1f} nats, unigram model {unigram:.1f}")
predict(
    "6.C shuffled tokens",
    given=(model, held_out_tokens, unigram_losses),
)

# %% [markdown]
# Both models have a lower loss on the training chapters. The unigram model's gap is due to words, such as names, that are more
# frequent in one part than in the other. If the model's gap is larger, it has also memorised sequences.
#
# ## The nano's two runs
#
# The nano was trained with the same program, but it is larger and was trained on more text. The second run continued the first
# with additional text: everyday sentences, and spellings of text messages.
#
# <details><summary>All sizes</summary>
#
# | | here | the nano's first run | second run |
# | --- | --- | --- | --- |
# | text | a third of *Moby Dick*: 0.09 million tokens | old e-mails (spam among them), presidents' speeches, *Moby Dick*, the King James Bible, dialogues with assistants: 8.9 million tokens | the same, everyday sentences, and short documents respelled by rules: 18.1 million tokens |
# | model | 2 blocks, 32 entries in an embedding | 6 blocks, 192 entries | the same |
# | sequences | 64 tokens | 128, 256 or 1,024 tokens | the same |
# | steps | 300, of 1,024 tokens each | 12,000, of 4,096 tokens each | 11,000, of 4,096 tokens each |
# | time on two processor cores | less than a minute | about 80 minutes | about 70 minutes |
#
# [PROVENANCE.md](../helpers/assets/gpt2/12M/PROVENANCE.md) lists all sources, and the commands.
#
# </details>

# %%
import json

file = course / "workshop/assets/12M_run.json"
run = json.loads(file.read_text(encoding="utf-8"))
draw_pretraining(run["losses"], run["validation"], {}, steps_per_loss=100)

# %% [markdown]
# (The text is different, so these losses can't be compared with those above.) After 12,000 steps, the learning rate is high
# again and the text has changed, so the held-out loss first rises.
#
# To avoid [*data leakage*](../site/pages/glossary.md), every document was removed that contains one of the course's messages
# of four or more words.
#
# ## Does pretraining help fine-tuning?
#
# The book's plan trains the last block, the final layer norm and the head. We fine-tune with it twice: from the pretrained
# weights, and from random ones. The second time, the other layers *stay* random. The model classifies at the last real token.

# %%
from helpers.config import gpt_config
from helpers.data import create_dataloaders
from helpers.freezing import FreezePlan, replace_head
from helpers.loading import load_pretrained
from helpers.training import TrainingSettings
from helpers.training import calc_accuracy_loader, get_device
from workshop.fast import fine_tune

train_loader, val_loader, test_loader = create_dataloaders(CHOOSE_DATA)
settings = TrainingSettings.for_model(
    CHOOSE_MODEL,
    position="last_token",
    seed=1,
)


def fine_tuned_accuracy(model):
    """Return the test accuracy, in percent, after fine-tuning."""
    torch.manual_seed(settings.seed)
    replace_head(model)
    plan = FreezePlan.book(model.cfg["n_layers"])
    sets = train_loader.dataset, val_loader.dataset
    fine_tune(model, *sets, plan, settings)
    return 100 * calc_accuracy_loader(
        test_loader,
        model,
        get_device(),
        position=settings.position,
    )


from_pretrained = fine_tuned_accuracy(load_pretrained(CHOOSE_MODEL))
random_model = new_model(gpt_config(CHOOSE_MODEL), settings.seed)
from_random = fine_tuned_accuracy(random_model)

# %% tags=["nbval-ignore-output"]
labels = test_loader.dataset.labels
predict(
    "6.C how much pretraining helps",
    given=(from_pretrained, from_random, labels),
)

# %% [markdown]
# One training is not enough for a conclusion. With the seeds 1 to 5, the test accuracies on sms-mini are:
#
# | | mean | lowest … highest |
# | --- | --- | --- |
# | the nano, the book's plan | 89.2 % | 87.5 … 91.5 % |
# | random weights, the book's plan | 77.8 % | 74.0 … 80.5 % |
# | the nano, everything trained | 88.0 % | 86.5 … 91.0 % |
# | random weights, everything trained | 87.0 % | 85.5 … 90.5 % |
#
# If most layers are frozen, pretraining helps. If everything is trained, the means differ by two of 200 messages: we
# can't tell them apart with these data.

# %% [markdown]
# With everything trained, pretraining helps in [6.B](06_B_freeze_lab.ipynb) (experiments 5 and 10).
# There the random weights are larger, and the model classifies at the padding.
#
# On sms-mini, logistic regression on sequences of 2 to 5 characters is about as accurate as the nano: 90.0 %. Fine-tuning
# GPT-2 is a method that also works with larger models.
# ([PROVENANCE.md](../helpers/assets/gpt2/12M/PROVENANCE.md) has more trainings, also on the SMS Spam Collection.)
#
# ## Try it
#
# > **1. How many predictions?** (easy, 2 minutes) How many next tokens did your model predict during the training above?

# %%
my_answer = None

# %%
from workshop.exercises import check

check("6.C how many predictions", my_answer, recipe)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# my_answer = recipe.steps * recipe.tokens_per_step
# ```
#
# Divide it by `len(train_tokens)`: this is how often the model has seen each token on average.
#
# </details>
#
# > **2. A nat more.** (medium, 3 minutes) Model B's loss is exactly one nat higher than model A's. How many times as large is
# > B's [perplexity](../site/pages/glossary.md)?

# %%
my_factor = None

# %%
check("6.C a nat more", my_factor)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# import math
#
# my_factor = math.e
# ```
#
# It is about 2.72, because exp(a + 1) = exp(a) · e. In the same way, a loss that is a tenth of a nat lower means a perplexity
# that is about ten percent lower.
#
# </details>
#
# > **3. Your own text.** (easy, 5 minutes) Pretrain a GPT-2 on texts of your own. Does it write like them?
#
# <details><summary>How</summary>
#
# Put at least two text files into a folder `texts` in the course's folder, each with at least 1,000 English words. Then run
# this command in a terminal, in the course's folder (in Colab `!cd course && python -m …` in a cell):
#
# ```sh
# python -m workshop.pretraining --text texts --minutes 10 --out run
# ```
#
# At the end, `run/checkpoint` has the format of OpenAI's checkpoints. `read_checkpoint` of `helpers.loading` reads it, and
# section 6.4 shows how to load its weights into a model.
#
# </details>

# %% [markdown]
# ## Two questions
#
# <details><summary>1. Where do the labels of pretraining come from?</summary>
#
# They come from the text: at each position, the label is the next token.
#
# </details>
# <details><summary>2. When do pretrained weights help fine-tuning most here?</summary>
#
# They help most if most of the model stays frozen. If everything is trained, the small random weights of the table above give
# nearly the same accuracy.
#
# </details>

# %%
from workshop.exercises import progress

progress("6.C")

# %% [markdown]
# ## What to take away
#
# - Pretraining needs no labels, because the next token is the label.
# - At first, the loss is the logarithm of the vocabulary's size. With context, a model gets below the unigram loss.
# - Held-out text shows whether a model has learned or memorised. A part of the gap exists even for unigram counts.
# - If most of the model is frozen, fine-tuning depends on what pretraining has learned.
#
# Next: [6.D, caching the frozen layers](06_D_caching_the_frozen_layers.ipynb).
