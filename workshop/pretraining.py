"""Train a small GPT-2: `python -m workshop.pretraining --text DIR --minutes 90 --out DIR`.

The objective is GPT-2's: predict each next token. The recipe is the usual one for small models:
AdamW with weight decay on matrices only (Loshchilov & Hutter 2019), a short warm-up and a cosine
(Radford et al. 2018), clipped gradients, the head tied to the token embedding (Press & Wolf 2017),
normal initial weights of standard deviation 0.02, smaller where a layer adds to the residual stream
(Radford et al. 2019, section 2.3).

On a CPU, most of a step would be spent in the softmax over the vocabulary's 50,257 tokens. There we
use a sampled softmax, over the batch's own targets and a random sample of the other tokens, each of
which is weighted by how many tokens it stands for (Bengio & Senécal 2003, Jean et al. 2015): its
normaliser has the same expectation. Validation always uses the whole vocabulary.

The batch, the sample and the dropout of a step follow from the seed and the step's number.
"""

import argparse
import json
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from tqdm.auto import tqdm

from helpers.checks import whole_number
from helpers.config import BUNDLED_CHECKPOINT, END_OF_TEXT, gpt_config
from helpers.loading import (
    HPARAMS,
    checkpoint_variables,
    import_tensorflow,
    load_weights_into_gpt,
    read_checkpoint,
)
from helpers.model import GPTModel
from helpers.tokenizer import END_OF_TEXT_MARK, get_tokenizer
from helpers.training import check_finite, get_device
from workshop.__main__ import run
from workshop.forward import precision_on

TRIAL_STEPS = 20  # whose time tells how many fit into the minutes


@dataclass(frozen=True)
class Recipe:
    """How to train: a step takes `tokens_per_step` tokens, in sequences of one length.

    The length is drawn from `lengths` for each step. `candidates` is the number of tokens in a
    step's sampled softmax; None: the whole vocabulary. Raises ValueError for a number out of range.
    """

    steps: int | None = None  # None: as many as `minutes` allow
    tokens_per_step: int = 4096
    lengths: tuple[int, ...] = (128, 128, 128, 128, 256, 1024)  # late positions are trained, too
    candidates: int | None = 4096
    lr: float = 1.5e-3  # at its peak; it falls to a tenth
    warmup_steps: int = 200
    weight_decay: float = 0.1
    clip: float = 1.0
    seed: int = 123

    def __post_init__(self) -> None:
        whole_number("tokens_per_step", self.tokens_per_step, max(self.lengths))


@dataclass
class Progress:
    """What a run has done: each step's loss in nats per token, and (step, validation loss)."""

    losses: list[float] = field(default_factory=list)
    validation: list[tuple[int, float]] = field(default_factory=list)

    @property
    def step(self) -> int:
        return len(self.losses)


# --- text -----------------------------------------------------------------------------------------


def read_documents(folder: str | Path) -> list[str]:
    """Return the documents of all `.txt` files of a folder.

    A document ends at the end of a file and at each `<|endoftext|>`. Raises ValueError for a folder
    without such files and for a file that is not UTF-8 text.
    """
    paths = sorted(Path(folder).rglob("*.txt"))
    if not paths:
        raise ValueError(f"there is no .txt file in {folder}; name a folder of texts")
    documents = []
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8-sig")  # some editors write a byte-order mark
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not UTF-8 text ({error}); save it as UTF-8") from error
        documents += [part.strip() for part in text.split(END_OF_TEXT_MARK)]
    return [document for document in documents if document]


def encode_documents(documents: list[str]) -> np.ndarray:
    """Return all documents as one row of token ids, uint16 (num_tokens,).

    `<|endoftext|>` comes before each document.
    """
    encode = get_tokenizer().encode_ordinary
    rows = [np.array([END_OF_TEXT, *encode(text)], dtype=np.uint16) for text in documents]
    return np.concatenate(rows)


def split_documents(documents: list[str], held_out: float = 0.02) -> tuple[list[str], list[str]]:
    """Return shuffled documents in two parts, for training and held out; neither is empty.

    Raises ValueError for fewer than two documents.
    """
    if len(documents) < 2:
        raise ValueError(
            f"{len(documents)} document(s) are too few: one is needed for training and one for "
            f"validation; add files, or separate the parts of a file by lines {END_OF_TEXT_MARK}"
        )
    order = np.random.default_rng(123).permutation(len(documents))
    count = max(1, round(held_out * len(documents)))
    return [documents[i] for i in order[count:]], [documents[i] for i in order[:count]]


def batch_of(tokens: np.ndarray, recipe: Recipe, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a step's inputs and targets, each int64 (batch, num_tokens).

    A target is the token after its input.
    """
    rng = np.random.default_rng((recipe.seed, step))
    length = int(rng.choice(recipe.lengths))
    starts = rng.integers(len(tokens) - length, size=recipe.tokens_per_step // length)
    rows = np.lib.stride_tricks.sliding_window_view(tokens, length + 1)[starts]
    sequences = torch.from_numpy(rows).long()
    return sequences[:, :-1], sequences[:, 1:]


def sample_candidates(
    targets: torch.Tensor, vocab_size: int, count: int, seed
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the `count` tokens of a step's sampled softmax: `targets` and others at random.

    They are: for each target its index among them (same shape as `targets`); their ids (count,);
    and the logarithm of how many tokens of the vocabulary each one stands for, float32 (count,),
    which is 0 for a target, since it is never left out.
    """
    present, indices = targets.unique(return_inverse=True)
    absent = np.setdiff1d(np.arange(vocab_size), present, assume_unique=True)
    number = count - len(present)
    drawn = np.random.default_rng(seed).choice(absent, number, replace=False)
    log_weights = torch.zeros(count)
    log_weights[len(present) :] = math.log(len(absent) / max(1, number))
    return indices, torch.cat([present, torch.from_numpy(drawn)]), log_weights


# --- model ----------------------------------------------------------------------------------------


def new_model(cfg: dict, seed: int = 123) -> GPTModel:
    """Return a GPT with small random weights, its head tied to the token embedding."""
    torch.manual_seed(seed)
    model = GPTModel(cfg)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:
            # two matrices of each block add to the residual stream
            adds = name.endswith(("out_proj.weight", "layers.2.weight"))
            std = 0.02 / math.sqrt(2 * cfg["n_layers"]) if adds else 0.02
            torch.nn.init.normal_(parameter, std=std)
        elif name.endswith("bias"):
            torch.nn.init.zeros_(parameter)
    model.out_head.weight = model.tok_emb.weight
    return model


def new_optimizer(model: GPTModel, recipe: Recipe) -> torch.optim.AdamW:
    """Return AdamW with weight decay for matrices and without it for biases and layer norms."""
    groups = []
    for is_matrix, weight_decay in ((True, recipe.weight_decay), (False, 0.0)):
        parameters = [p for p in model.parameters() if (p.ndim == 2) == is_matrix]
        groups.append({"params": parameters, "weight_decay": weight_decay})
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, 0.95), fused=True)


def learning_rate(step: int, recipe: Recipe, steps: int | None) -> float:
    """Return a step's learning rate: a linear warm-up, then a cosine to a tenth at `steps`.

    In the warm-up `steps` may be None, not known yet.
    """
    if step < recipe.warmup_steps:
        return recipe.lr * (step + 1) / recipe.warmup_steps
    progress = (step - recipe.warmup_steps) / (steps - recipe.warmup_steps)
    return recipe.lr * (0.1 + 0.45 * (1 + math.cos(math.pi * progress)))


def token_losses(
    model: GPTModel,
    inputs: torch.Tensor,
    targets: torch.Tensor,
    candidates: torch.Tensor | None = None,
    log_weights: torch.Tensor | float = 0.0,
) -> torch.Tensor:
    """Return the loss of every token in nats, float32 (batch, num_tokens).

    Matrices are multiplied in bfloat16 where that is fast. With `candidates` and `log_weights` of
    `sample_candidates` the softmax is over those, and `targets` are indices into `candidates`.
    """
    device = inputs.device
    in_bfloat16 = precision_on(device, "bfloat16") == "bfloat16"
    with torch.autocast(device.type, torch.bfloat16, enabled=in_bfloat16):
        x = model.final_norm(model.trf_blocks(model.embed(inputs)))  # (batch, num_tokens, emb_dim)
        head = model.out_head.weight if candidates is None else model.out_head.weight[candidates]
        logits = F.linear(x, head)  # (batch, num_tokens, vocab_size or len(candidates))
    logits = (logits.float() + log_weights).flatten(0, 1)  # (batch * num_tokens, …)
    return F.cross_entropy(logits, targets.flatten(), reduction="none").view(targets.shape)


@torch.no_grad()
def validation_losses(
    model: GPTModel, tokens: np.ndarray, length: int, most: int = 64
) -> np.ndarray:
    """Return the mean loss at each position, float64 (length,), over the whole vocabulary.

    The mean is over at most `most` sequences, evenly spaced in `tokens`, which are more than one
    sequence. The model is left in eval mode.
    """
    model.eval()
    losses = []
    number = min(most, len(tokens) // length)
    for start in np.linspace(0, len(tokens) - length - 1, number, dtype=int):
        row = torch.tensor(tokens[None, start : start + length + 1]).long()
        row = row.to(model.tok_emb.weight.device)
        losses.append(token_losses(model, row[:, :-1], row[:, 1:])[0].cpu().numpy())
    return np.mean(losses, axis=0, dtype=float)


def held_out_figures(model: GPTModel, tokens: np.ndarray) -> dict[str, float]:
    """Return the mean loss in nats per token, and the perplexity at early and at late positions.

    They are measured over whole contexts.
    """
    length = model.pos_emb.num_embeddings
    losses = validation_losses(model, tokens, length, most=10_000)
    figures = {"loss": round(float(losses.mean()), 3)}
    for start, stop in ((length // 16, length // 8), (length // 2, length)):
        perplexity = math.exp(losses[start:stop].mean())
        figures[f"perplexity at positions {start} to {stop - 1}"] = round(perplexity, 3)
    return figures


# --- training -------------------------------------------------------------------------------------


def pretrain(
    model: GPTModel,
    train: np.ndarray,
    validation: np.ndarray,
    recipe: Recipe,
    *,
    minutes: float | None = None,
    validate_every: int = 500,
    at_validation: Callable[[Progress], object] = lambda progress: None,
    compiled: bool = False,
) -> Progress:
    """Train `model` in place on `train`, token ids uint16 (num_tokens,); return its progress.

    It takes `recipe.steps` steps, or as many as fit into `minutes`, by the time of the first ones.
    After each validation `at_validation` is called, with the model in eval mode, in which the model
    is left. `compiled` lets torch compile the model, which takes a minute or two and needs a C++
    compiler. Raises ValueError for too short a text and for sequences longer than the context;
    FloatingPointError when a loss is not finite.
    """
    longest, context = max(recipe.lengths), model.pos_emb.num_embeddings
    if longest > min(context, len(train) - 1, len(validation) - 1):
        raise ValueError(
            f"a sequence of {longest} tokens doesn't fit into the model's context of {context}, the "
            f"training text of {len(train):,} tokens or the validation text of "
            f"{len(validation):,}; take shorter sequences or more text"
        )
    losses_of = torch.compile(token_losses, dynamic=False) if compiled else token_losses
    optimizer, progress, steps = new_optimizer(model, recipe), Progress(), recipe.steps
    # the rates of the warm-up are the same for any number of steps
    num_trials, times = min(TRIAL_STEPS, recipe.warmup_steps), [time.monotonic()]
    with tqdm(total=steps, unit="step", desc="pretraining") as bar:
        while progress.step != steps:
            step = progress.step
            loss = take_step(model, optimizer, train, recipe, step, steps, losses_of)
            progress.losses.append(loss)
            times.append(time.monotonic())
            bar.update()
            if steps is None and progress.step == num_trials:
                seconds_left = 60 * minutes - (times[-1] - times[0])
                rest = round(seconds_left / np.median(np.diff(times)))
                steps = bar.total = progress.step + max(0, rest)
            if progress.step == steps or progress.step % validate_every == 0:
                loss = float(validation_losses(model, validation, longest).mean())
                progress.validation.append((progress.step, loss))
                at_validation(progress)
                bar.set_postfix(loss=f"{loss:.2f}")
    return progress


def take_step(
    model: GPTModel,
    optimizer: torch.optim.AdamW,
    tokens: np.ndarray,
    recipe: Recipe,
    step: int,
    steps: int | None,
    losses_of: Callable,
) -> float:
    """Train on the next batch; return its loss in nats per token."""
    device = model.tok_emb.weight.device
    model.train()
    torch.manual_seed(1_000_003 * recipe.seed + step)  # of this step's dropout
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(step, recipe, steps)
    batch = batch_of(tokens, recipe, step)
    if recipe.candidates is not None:
        seed, vocab_size = (recipe.seed, step, 1), model.cfg["vocab_size"]
        batch = (batch[0], *sample_candidates(batch[1], vocab_size, recipe.candidates, seed))
    loss = losses_of(model, *[tensor.to(device) for tensor in batch]).mean()
    check_finite(loss.item(), step)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
    optimizer.step()
    return loss.item()


# --- the checkpoint -------------------------------------------------------------------------------


def save_openai_checkpoint(model: GPTModel, folder: Path, dtype: str = "float16") -> Path:
    """Write `model` as a checkpoint folder in OpenAI's format, through TensorFlow; return its path.

    dtype "float32" keeps every bit, "float16" halves the size. A checkpoint that is in `folder`
    already is overwritten. Raises ValueError for a head that is not the token embedding, since the
    format has no variable for one.
    """
    weights = {name: tensor.float().cpu() for name, tensor in model.state_dict().items()}
    if not torch.equal(weights["out_head.weight"], weights["tok_emb.weight"]):
        raise ValueError("out_head differs from tok_emb: OpenAI's format shares them")
    settings = {theirs: int(model.cfg[ours]) for theirs, ours in HPARAMS.items()}
    variables = sorted(checkpoint_variables(settings))
    folder.mkdir(parents=True, exist_ok=True)
    import_tensorflow().raw_ops.SaveV2(
        prefix=str(folder / "model.ckpt"),
        tensor_names=[variable.name for variable in variables],
        shape_and_slices=[""] * len(variables),
        tensors=[variable.join(weights).numpy().astype(dtype) for variable in variables],
    )
    (folder / "checkpoint").write_text(
        'model_checkpoint_path: "model.ckpt"\nall_model_checkpoint_paths: "model.ckpt"\n'
    )
    (folder / "hparams.json").write_text(json.dumps(settings, indent=2) + "\n")
    for table in ("encoder.json", "vocab.bpe"):
        shutil.copy(BUNDLED_CHECKPOINT / table, folder / table)
    return folder


# --- the command ----------------------------------------------------------------------------------


def pretrain_on_folder(chosen: argparse.Namespace) -> None:
    """Do what the command line says: from a folder of text to a checkpoint.

    The checkpoint is also written at each validation, so an interrupted run can be trained further.
    """
    device = get_device()
    # a GPU needs no sampled softmax
    candidates = Recipe.candidates if device.type == "cpu" else None
    recipe = Recipe(chosen.steps, candidates=candidates, lr=chosen.lr)
    model = new_model(gpt_config("gpt2-nano (12M)")).to(device)
    if chosen.start_from:
        load_weights_into_gpt(model, read_checkpoint(chosen.start_from)[1])
    documents, held_out = split_documents(read_documents(chosen.text))
    if chosen.also:
        documents += read_documents(chosen.also)
        np.random.default_rng(123).shuffle(documents)
    train, validation = encode_documents(documents), encode_documents(held_out)
    print(
        f"{len(documents):,} documents, {len(train):,} tokens to train on; "
        f"{len(validation):,} tokens held out"
    )
    checkpoint = chosen.out / "checkpoint"
    progress = pretrain(
        model,
        train,
        validation,
        recipe,
        minutes=chosen.minutes,
        at_validation=lambda _: save_openai_checkpoint(model, checkpoint),
        compiled=chosen.compiled,
    )
    means = [np.mean(progress.losses[i : i + 100]) for i in range(0, progress.step, 100)]
    figures = {
        "tokens_per_step": recipe.tokens_per_step,
        "losses": np.round(means, 3).tolist(),
        "validation": [(step, round(loss, 3)) for step, loss in progress.validation],
        "held_out": held_out_figures(model, validation),
    }
    (chosen.out / "run.json").write_text(json.dumps(figures) + "\n", encoding="utf-8")
    print(f"{progress.step:,} steps; on held-out documents: {figures['held_out']}")
    print(f"wrote {checkpoint}")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m workshop.pretraining")
    parser.add_argument("--text", required=True, help="a folder of .txt files")
    parser.add_argument("--out", type=Path, required=True, help="folder for run and checkpoint")
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--minutes", type=float, help="how long to train")
    length.add_argument("--steps", type=int, help="how many steps to train")
    parser.add_argument("--also", help="another folder of texts, of which nothing is held out")
    parser.add_argument("--start-from", help="a checkpoint in OpenAI's format to train further")
    parser.add_argument("--lr", type=float, default=Recipe.lr)
    parser.add_argument("--compiled", action="store_true", help="faster; needs a C++ compiler")
    chosen = parser.parse_args(arguments)
    run(lambda: pretrain_on_folder(chosen))


if __name__ == "__main__":
    main()
