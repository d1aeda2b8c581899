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

The batch, the sample and the dropout of a step follow from the seed and the step's number. So a run
that was killed continues as it would have without the kill.
"""

import argparse
import copy
import hashlib
import json
import math
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import tiktoken
import torch
from torch.nn import functional as F
from tqdm.auto import tqdm

from helpers.checks import finite_number, whole_number
from helpers.config import BUNDLED_CHECKPOINT, END_OF_TEXT, gpt_config
from helpers.download import whole_file
from helpers.loading import (
    FILES,
    HPARAMS,
    checkpoint_variables,
    import_tensorflow,
    load_weights_into_gpt,
    read_checkpoint,
)
from helpers.model import GPTModel
from helpers.tokenizer import END_OF_TEXT_MARK, get_tokenizer
from workshop.fast import precision_on

SAVE_EVERY = 300  # seconds
TRIAL_STEPS = 3  # of each length; the first ones also compile and set up, the last is timed


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
        for name, least in (("steps", 1), ("tokens_per_step", 1), ("candidates", 1),
                            ("warmup_steps", 0), ("seed", 0)):  # fmt: skip
            value = getattr(self, name)
            if value is not None:  # a plain int: torch saves numpy's and does not read them back
                object.__setattr__(self, name, whole_number(name, value, least))
        for name in ("lr", "weight_decay"):
            object.__setattr__(self, name, finite_number(name, getattr(self, name), inclusive=True))
        object.__setattr__(self, "clip", finite_number("clip", self.clip))
        lengths = tuple(whole_number("a length", length) for length in self.lengths)
        object.__setattr__(self, "lengths", lengths)
        if not lengths or self.tokens_per_step < max(lengths):
            raise ValueError(
                f"a step of {self.tokens_per_step} tokens can't hold a sequence of "
                f"{max(lengths, default=0)}; take more tokens per step or shorter sequences"
            )
        if self.candidates is not None and self.candidates < self.tokens_per_step:
            raise ValueError(
                f"{self.candidates} candidates may not hold the targets of a step of "
                f"{self.tokens_per_step} tokens; take at least that many"
            )


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
    paths = sorted(path for path in Path(folder).rglob("*.txt") if not path.is_dir())
    if not paths:
        raise ValueError(f"there is no .txt file in {folder}; name a folder of texts")
    documents = []
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8-sig")  # some editors write a byte-order mark
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not UTF-8 text ({error}); save it as UTF-8") from error
        if "\0" in text:
            raise ValueError(f"{path} is not text: it holds zero bytes; move it away")
        documents += [part.strip() for part in text.split(END_OF_TEXT_MARK)]
    return [document for document in documents if document]


def encode_documents(
    documents: list[str], tokenizer: tiktoken.Encoding | None = None
) -> np.ndarray:
    """Return all documents as one row of token ids, uint16 (num_tokens,).

    `<|endoftext|>` comes before each document. Raises ValueError for an empty list and for a text
    in place of a list.
    """
    if isinstance(documents, str) or not documents:
        raise ValueError("documents must be a list of texts with at least one text")
    tokenizer = tokenizer or get_tokenizer()
    rows = [[END_OF_TEXT, *tokenizer.encode_ordinary(document)] for document in documents]
    return np.concatenate([np.array(row, dtype=np.uint16) for row in rows])


def split_documents(
    documents: list[str], held_out: float = 0.02, seed: int = 123
) -> tuple[list[str], list[str]]:
    """Return shuffled documents in two parts, for training and held out; neither is empty.

    Raises ValueError for fewer than two documents and for a fraction that is not from 0 to 1.
    """
    finite_number("held_out", held_out, inclusive=True, most=1)
    if len(documents) < 2:
        raise ValueError(
            f"{len(documents)} document(s) are too few: one is needed for training and one for "
            "validation; more files are more documents, and so are the parts of a file between "
            f"lines {END_OF_TEXT_MARK}"
        )
    order = np.random.default_rng(seed).permutation(len(documents))
    count = min(max(1, round(held_out * len(documents))), len(documents) - 1)
    return [documents[i] for i in order[count:]], [documents[i] for i in order[:count]]


def check_text(name: str, tokens: np.ndarray, length: int) -> None:
    """Raise ValueError where `tokens` is shorter than a sequence of `length` and its last target."""
    if len(tokens) < length + 1:
        raise ValueError(
            f"the {name} text has {len(tokens)} tokens, fewer than one sequence of {length + 1}; "
            "take more text or shorter sequences"
        )


def batch_of(tokens: np.ndarray, recipe: Recipe, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a step's inputs and targets, each int64 (batch, num_tokens).

    A target is the token after its input.
    """
    rng = np.random.default_rng((recipe.seed, step))
    length = int(rng.choice(recipe.lengths))
    starts = rng.integers(len(tokens) - length, size=recipe.tokens_per_step // length)
    rows = np.stack([tokens[start : start + length + 1] for start in starts])
    sequences = torch.from_numpy(rows.astype(np.int64))
    return sequences[:, :-1], sequences[:, 1:]


def sample_candidates(
    targets: torch.Tensor, vocab_size: int, count: int, seed
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the `count` tokens of a step's sampled softmax: `targets` and others at random.

    They are: their ids (count,); for each target its index among them (same shape as `targets`);
    and the logarithm of how many tokens of the vocabulary each one stands for, float32 (count,),
    which is 0 for a target, since it is never left out.
    """
    present, indices = np.unique(targets.numpy(), return_inverse=True)
    absent = np.setdiff1d(np.arange(vocab_size), present, assume_unique=True)
    number = min(count, vocab_size) - len(present)
    drawn = np.random.default_rng(seed).choice(absent, number, replace=False)
    stands_for = np.ones(len(present) + number)
    stands_for[len(present) :] = len(absent) / max(1, number)
    return (
        torch.from_numpy(np.concatenate([present, drawn])),
        torch.from_numpy(indices.reshape(targets.shape)),
        torch.from_numpy(np.log(stands_for)).float(),
    )


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
    matrices = [p for p in model.parameters() if p.ndim == 2]
    rest = [p for p in model.parameters() if p.ndim != 2]
    groups = [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, 0.95), fused=True)


def learning_rate(step: int, recipe: Recipe, steps: int) -> float:
    """Return a step's learning rate: a linear warm-up, then a cosine to a tenth at `steps`."""
    if step < recipe.warmup_steps:
        return recipe.lr * (step + 1) / recipe.warmup_steps
    progress = (step - recipe.warmup_steps) / max(1, steps - recipe.warmup_steps)
    return recipe.lr * (0.1 + 0.45 * (1 + math.cos(math.pi * min(1.0, progress))))


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

    The mean is over at most `most` sequences, evenly spaced in `tokens`. Raises ValueError for a
    text shorter than one sequence.
    """
    check_text("validation", tokens, length)
    was_training, device = model.training, model.tok_emb.weight.device
    model.eval()
    number = min(most, max(1, len(tokens) // length))
    total = np.zeros(length)
    for start in np.linspace(0, len(tokens) - length - 1, num=number, dtype=int):
        sequence = tokens[start : start + length + 1].astype(np.int64)
        row = torch.from_numpy(sequence).unsqueeze(0).to(device)  # (1, length + 1)
        total += token_losses(model, row[:, :-1], row[:, 1:])[0].cpu().numpy()
    model.train(was_training)
    return total / number


def held_out_figures(model: GPTModel, tokens: np.ndarray, most: int = 10_000) -> dict[str, float]:
    """Return the mean loss in nats per token, and the perplexity at early and at late positions.

    They are measured over whole contexts. Raises ValueError for a text shorter than one.
    """
    length = model.pos_emb.num_embeddings
    losses = validation_losses(model, tokens, length, most)
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
    state_path: str | Path | None = None,
    validate_every: int = 500,
    at_validation: Callable[[Progress], object] = lambda progress: None,
    compiled: bool = False,
) -> Progress:
    """Train `model` in place on `train`, token ids uint16 (num_tokens,); return its progress.

    It takes `recipe.steps` steps, or, by a short trial that is undone, as many as fit into
    `minutes`. The state is saved to `state_path` every few minutes and at the end; a state of the
    same run that is there already is continued. `at_validation` is called after each validation,
    with the model in eval mode, in which the model is left. `compiled` lets torch compile the
    model, which takes a minute or two and needs a C++ compiler. Raises ValueError for steps and
    minutes both or neither, for too short a text, for sequences longer than the context, and for a
    saved state of another run; FloatingPointError when a loss or gradient is not finite; OSError
    when the state can't be saved.
    """
    if (recipe.steps is None) == (minutes is None):
        raise ValueError(
            f"say how long to train, by steps or by minutes, not by both: "
            f"steps={recipe.steps}, minutes={minutes}"
        )
    longest, context = max(recipe.lengths), model.pos_emb.num_embeddings
    if longest > context:
        raise ValueError(
            f"a sequence of {longest} tokens is longer than the model's context of {context}; "
            f"choose lengths up to {context}"
        )
    check_text("training", train, longest)
    check_text("validation", validation, longest)
    run = Run(model, train, recipe, minutes, compiled)
    path = Path(state_path) if state_path else None
    if path and path.exists():
        run.resume(path)
    model.train()
    if run.steps is None:
        run.steps = max(1, round(60 * minutes / run.seconds_per_step()))

    progress, saved = run.progress, time.monotonic()
    with tqdm(total=run.steps, initial=progress.step, unit="step", desc="pretraining") as bar:
        while progress.step < run.steps:
            progress.losses.append(run.take_step(progress.step))
            bar.update()
            is_last = progress.step == run.steps
            if is_last or progress.step % validate_every == 0:
                model.eval()
                loss = float(validation_losses(model, validation, longest).mean())
                progress.validation.append((progress.step, loss))
                at_validation(progress)
                model.train()
                recent = np.mean(progress.losses[-100:])
                bar.set_postfix(loss=f"{recent:.2f}", perplexity=f"{math.exp(loss):.1f}")
            if path and (is_last or time.monotonic() - saved > SAVE_EVERY):
                run.save(path)
                saved = time.monotonic()
    model.eval()
    return progress


class Run:
    """A model that is being pretrained, with its optimizer, its text and its progress so far."""

    def __init__(
        self,
        model: GPTModel,
        tokens: np.ndarray,
        recipe: Recipe,
        minutes: float | None = None,
        compiled: bool = False,
    ) -> None:
        if compiled and " " in torch.__file__:  # torch does not quote its path for the compiler
            raise ValueError(
                f"torch can't compile where its own path has a space ({torch.__file__}); "
                "leave out --compiled, or install torch into another folder"
            )
        self.model, self.tokens, self.recipe = model, tokens, recipe
        self.optimizer = new_optimizer(model, recipe)
        self.losses_of = torch.compile(token_losses, dynamic=False) if compiled else token_losses
        self.progress = Progress()
        self.steps = recipe.steps  # None: not known before a trial
        weights = hashlib.sha256()
        for tensor in model.state_dict().values():
            weights.update(tensor.cpu().numpy().tobytes())
        self.identity = {  # a saved state with another one is not continued
            "cfg": json.dumps(model.cfg, default=float),
            "recipe": asdict(recipe),
            "number of minutes": minutes and float(minutes),
            "text": hashlib.sha256(tokens.tobytes()).hexdigest(),
            "first weights": weights.hexdigest(),
        }

    def take_step(self, step: int) -> float:
        """Train on one batch; return its loss in nats per token."""
        recipe, device = self.recipe, self.model.tok_emb.weight.device
        torch.manual_seed(1_000_003 * recipe.seed + step)  # of this step's dropout
        for group in self.optimizer.param_groups:  # the steps of a trial are in the warm-up
            group["lr"] = learning_rate(step, recipe, self.steps or recipe.warmup_steps + 1)
        inputs, targets = batch_of(self.tokens, recipe, step)
        sample = ()
        if recipe.candidates is not None:
            ids, targets, log_weights = sample_candidates(
                targets, self.model.cfg["vocab_size"], recipe.candidates, (recipe.seed, step, 1)
            )
            sample = (ids, log_weights)
        batch = [tensor.to(device) for tensor in (inputs, targets, *sample)]
        loss = self.losses_of(self.model, *batch).mean()
        self.optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip)
        if not (loss.isfinite() and norm.isfinite()):
            raise FloatingPointError(
                f"the loss is {loss.item()} at step {step}, the gradient's length {norm.item()}; "
                f"take a smaller learning rate than {recipe.lr:g}"
            )
        self.optimizer.step()
        return loss.item()

    def seconds_per_step(self) -> float:
        """Return how long a step takes: some steps of each length are tried, and undone."""
        before = copy.deepcopy((self.model.state_dict(), self.optimizer.state_dict()))
        lengths = [batch_of(self.tokens, self.recipe, step)[0].shape[1] for step in range(200)]
        seconds = {}
        for length in set(lengths):
            for step in [step for step in range(200) if lengths[step] == length][:TRIAL_STEPS]:
                started = time.monotonic()
                self.take_step(step)
                seconds[length] = time.monotonic() - started
        self.model.load_state_dict(before[0])
        self.optimizer.load_state_dict(before[1])
        return sum(seconds[length] for length in lengths) / len(lengths)

    def save(self, path: Path) -> None:
        """Write the state of the run to `path`; the file is whole at any time."""
        state = {
            "identity": self.identity,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "steps": self.steps,
            "losses": self.progress.losses,
            "validation": self.progress.validation,
        }
        try:
            with whole_file(path) as part:
                torch.save(state, part)
        except (OSError, RuntimeError) as error:  # torch raises a RuntimeError for a full disk
            raise OSError(
                f"{path} could not be saved ({error}); is the disk full? Free some space and start "
                "again: the run continues from its last saved state"
            ) from error

    def resume(self, path: Path) -> None:
        """Continue from what `save` wrote, if it is a state of this run."""
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            identity = state["identity"]
        except Exception as error:  # torch's unpickler raises whatever it meets in a damaged file
            raise ValueError(
                f"{path} is not a saved run, or only a part of one ({type(error).__name__}); "
                "delete it to start afresh"
            ) from error
        differing = [name for name in self.identity if identity.get(name) != self.identity[name]]
        if differing:
            raise ValueError(
                f"{path} was saved by a run with another {', '.join(differing)}; "
                "delete it or name another --out"
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = Progress(state["losses"], [tuple(pair) for pair in state["validation"]])
        self.steps = state["steps"]


# --- the checkpoint -------------------------------------------------------------------------------


def save_openai_checkpoint(model: GPTModel, folder: str | Path, dtype: str = "float16") -> Path:
    """Write `model` as a checkpoint folder in OpenAI's format, through TensorFlow; return its path.

    dtype "float32" keeps every bit, "float16" halves the size. A checkpoint that is in `folder`
    already is replaced when the new one is whole. Raises ValueError for a head that is not the
    token embedding (the format has no variable for one), for values that are not finite in `dtype`,
    and for a folder with other files in it; OSError when it can't be written.
    """
    weights = {name: tensor.detach().float().cpu() for name, tensor in model.state_dict().items()}
    head = weights.get("out_head.weight")
    if (
        head is None
        or "out_head.bias" in weights
        or not torch.equal(head, weights["tok_emb.weight"])
    ):
        raise ValueError("out_head differs from tok_emb: OpenAI's format shares them")
    settings = {theirs: int(model.cfg[ours]) for theirs, ours in HPARAMS.items()}
    variables = {}
    for variable in checkpoint_variables(settings):
        with np.errstate(over="ignore"):
            values = variable.join(weights).numpy().astype(dtype, copy=False)
        if not np.isfinite(values).all():
            raise ValueError(
                f"{variable.name} has values that are not finite in {dtype}; "
                "save as float32, or check the training"
            )
        variables[variable.name] = values

    folder = Path(folder)
    known = {*FILES, "model.ckpt.meta", "model.safetensors"}
    if folder.exists() and not {path.name for path in folder.iterdir()} <= known:
        raise ValueError(
            f"{folder} holds something else than a checkpoint, which saving would delete; "
            "choose another"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{folder.name}.", dir=folder.parent) as home:
        new, old = Path(home, "new"), Path(home, "old")
        new.mkdir()
        write_checkpoint(new, variables, settings)
        if folder.exists():
            folder.rename(old)
        try:
            new.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
    return folder


def write_checkpoint(folder: Path, variables: dict[str, np.ndarray], settings: dict) -> None:
    """Write all files of a checkpoint in OpenAI's format into an empty folder."""
    names, tf = sorted(variables), import_tensorflow()
    try:
        tf.raw_ops.SaveV2(
            prefix=str(folder / "model.ckpt"),
            tensor_names=names,
            shape_and_slices=[""] * len(names),
            tensors=[tf.constant(variables[name]) for name in names],
        )
    except tf.errors.OpError as error:
        raise OSError(
            f"{folder.parent.parent} has no room for the checkpoint, or can't be written "
            f"({error.message}); choose another folder"
        ) from error
    (folder / "checkpoint").write_text(
        'model_checkpoint_path: "model.ckpt"\nall_model_checkpoint_paths: "model.ckpt"\n'
    )
    (folder / "hparams.json").write_text(json.dumps(settings, indent=2) + "\n")
    for table in ("encoder.json", "vocab.bpe"):
        shutil.copy(BUNDLED_CHECKPOINT / table, folder / table)


# --- the command ----------------------------------------------------------------------------------


def pretrain_on_folder(arguments: argparse.Namespace) -> None:
    """Do what the command line says: from a folder of text to a checkpoint."""
    device, out = "cuda" if torch.cuda.is_available() else "cpu", Path(arguments.out)
    recipe = Recipe(
        steps=arguments.steps,
        tokens_per_step=arguments.tokens_per_step,
        lr=arguments.lr,
        # a GPU needs no sampled softmax
        candidates=max(4096, arguments.tokens_per_step) if device == "cpu" else None,
    )
    model = new_model(gpt_config(arguments.model) | {"drop_rate": arguments.dropout})
    if arguments.start_from:
        load_weights_into_gpt(model, read_checkpoint(arguments.start_from)[1])
    documents, held_out = split_documents(read_documents(arguments.text))
    if arguments.also:
        text, also = Path(arguments.text).resolve(), Path(arguments.also).resolve()
        if also.is_relative_to(text) or text.is_relative_to(also):
            raise ValueError(
                f"one of {text} and {also} lies in the other, so held-out documents would be "
                "trained on; move one of them"
            )
        documents += read_documents(also)
        np.random.default_rng(123).shuffle(documents)
    train, validation = encode_documents(documents), encode_documents(held_out)
    print(
        f"{len(documents):,} documents, {len(train):,} tokens to train on; "
        f"{len(validation):,} tokens held out"
    )
    progress = pretrain(
        model.to(device),
        train,
        validation,
        recipe,
        minutes=arguments.minutes,
        state_path=out / "run.pt",
        compiled=arguments.compiled,
    )
    figures = {
        "tokens_per_step": recipe.tokens_per_step,
        "losses": [  # the mean of each hundred steps
            round(float(np.mean(progress.losses[i : i + 100])), 3)
            for i in range(0, progress.step, 100)
        ],
        "validation": [(step, round(loss, 3)) for step, loss in progress.validation],
        "held_out": held_out_figures(model, validation),
    }
    with whole_file(out / "run.json") as part:
        part.write_text(json.dumps(figures) + "\n", encoding="utf-8")
    print(f"{progress.step:,} steps; on held-out documents: {figures['held_out']}")
    print(f"wrote {save_openai_checkpoint(model, out / 'checkpoint')}")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m workshop.pretraining",
        description="Train a small GPT-2 on a folder of text.",
    )
    parser.add_argument("--text", required=True, help="a folder of .txt files")
    parser.add_argument(
        "--out", required=True, help="folder for the saved run, and for the checkpoint at the end"
    )
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--minutes", type=float, help="how long to train")
    length.add_argument("--steps", type=int, help="how many steps to train")
    parser.add_argument("--also", help="a folder of .txt files that are trained on, never held out")
    parser.add_argument(
        "--start-from", help="a checkpoint in OpenAI's format whose weights are trained further"
    )
    parser.add_argument("--tokens-per-step", type=int, default=Recipe.tokens_per_step)
    parser.add_argument("--lr", type=float, default=Recipe.lr)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument(
        "--compiled", action="store_true", help="compile the model: faster, needs a C++ compiler"
    )
    parser.add_argument("--model", default="gpt2-nano (12M)", help="a name of MODEL_CONFIGS")
    try:
        pretrain_on_folder(parser.parse_args(arguments))
    except (ValueError, OSError, ArithmeticError) as error:  # a fault of text, disk or rate
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
