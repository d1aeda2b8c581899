"""A file or a folder is in its place whole, or not at all.

What is written goes into a neighbour with a name of its own, so that two processes never mix, and
takes the final name when it is complete: renaming within a folder happens at once (POSIX, rename).

Write a model as a checkpoint folder in OpenAI's format, which `helpers.loading` reads.

The bundled nano was written so: whoever has only it runs the same code as who downloads GPT-2.

Train a small GPT-2: `python -m workshop.pretraining --text DIR --minutes 90 --out DIR`.

The objective is GPT-2's: guess each next token. The recipe is the usual one for small models: AdamW
with weight decay on matrices only (Loshchilov & Hutter 2019), a short warm-up and a cosine (Radford
et al. 2018), gradients clipped, the head tied to the token embedding (Press & Wolf 2017), normal
initial weights of standard deviation 0.02, smaller where a layer adds to the residual stream
(Radford et al. 2019, section 2.3).

On a processor most of a step would go into the softmax over the vocabulary's 50,257 tokens. There
it runs over the batch's own targets and a random sample of the others, each of which stands for
many (Bengio & Senécal 2003, Jean et al. 2015): in expectation the same normaliser. Validation
always uses the whole vocabulary.

Everything that chance decides in a step (its batch, its sample, its dropout) follows from the seed
and the step's number, so a run that was killed goes on exactly as it would have. Here a *run* is
always that: one model's training from its first step to its last, across kills.
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
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from helpers.training import precision_on


@contextmanager
def whole_folder(folder: str | Path) -> Iterator[Path]:
    """Yield a new folder to fill; after the block it becomes `folder`, after an error it is gone.

    An older `folder` is deleted last. A process that is killed in the moment between the two
    renames leaves both beside each other, in `NAME.*/old` and `NAME.*/new`. Raises OSError when it
    can't be written.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    new, old = home / "new", home / "old"
    try:
        new.mkdir()
        yield new
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    finally:
        if old.exists() and not folder.exists():
            old.rename(folder)
        shutil.rmtree(home)


OWN_FILES = {*FILES, "model.ckpt.meta", "model.safetensors"}  # what a checkpoint's folder may hold


def save_openai_checkpoint(model: GPTModel, folder: str | Path, dtype: str = "float16") -> Path:
    """Write `model` as a checkpoint folder in OpenAI's format, through TensorFlow; return the
    folder.

    dtype "float32" keeps every bit, "float16" halves the size. A folder that is there already is
    replaced when the new one is whole. Raises ValueError for another dtype, a head that is not the
    token embedding (the format has no place for one), and values that are not finite in `dtype`;
    OSError when it can't be written.
    """
    if dtype not in ("float16", "float32"):
        raise ValueError(f"dtype must be 'float16' or 'float32', not {dtype!r}")
    if not model.cfg["qkv_bias"]:
        raise ValueError("the model has qkv_bias=False: OpenAI's format needs these biases")
    weights = {name: tensor.detach().float().cpu() for name, tensor in model.state_dict().items()}
    head, embedding = weights.get("out_head.weight"), weights["tok_emb.weight"]
    if head is None or "out_head.bias" in weights or not torch.equal(head, embedding):
        found = type(model.out_head).__name__ if head is None else tuple(head.shape)
        raise ValueError(
            f"out_head {found} differs from tok_emb {tuple(embedding.shape)}: "
            "OpenAI's format shares them"
        )

    settings = {theirs: int(model.cfg[ours]) for theirs, ours in HPARAMS.items()}  # numpy's, too
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
    foreign = {path.name for path in folder.iterdir()} - OWN_FILES if folder.is_dir() else {folder}
    if folder.exists() and foreign:
        raise ValueError(
            f"{folder} holds something else than a checkpoint, which saving would delete; "
            "choose another"
        )
    with whole_folder(folder) as part:
        _write_checkpoint(part, variables, settings)
    return folder


def _write_checkpoint(part: Path, variables: dict[str, np.ndarray], settings: dict) -> None:
    names, tf = sorted(variables), import_tensorflow()
    try:
        tf.raw_ops.SaveV2(
            prefix=str(part / "model.ckpt"),
            tensor_names=names,
            shape_and_slices=[""] * len(names),
            tensors=[tf.constant(variables[name]) for name in names],
        )
    except (tf.errors.OpError, ValueError) as error:  # the latter for a name that is not UTF-8
        reason = getattr(error, "message", error)
        raise OSError(
            f"{part.parent.parent} has no room for the checkpoint, or can't be written ({reason}); "
            "choose another folder"
        ) from error
    (part / "checkpoint").write_text(
        'model_checkpoint_path: "model.ckpt"\nall_model_checkpoint_paths: "model.ckpt"\n'
    )
    (part / "hparams.json").write_text(json.dumps(settings, indent=2) + "\n")
    for table in ("encoder.json", "vocab.bpe"):
        shutil.copy(BUNDLED_CHECKPOINT / table, part / table)


SAVE_EVERY = 300  # seconds


TRIAL_STEPS = 3  # of each length; the first ones also compile and set up, the last is timed


LAST_SEED = 2**32 - 1


@dataclass(frozen=True)
class Recipe:
    """How to train: a step takes `tokens_per_step` tokens, in sequences of one length.

    The length is drawn from `lengths` for each step. `candidates` is the number of tokens in a
    step's softmax; None: the whole vocabulary. Raises ValueError for a number that is out of range.
    """

    steps: int | None = None  # None: as many as `minutes` allow
    tokens_per_step: int = 4096
    lengths: tuple[int, ...] = (128, 128, 128, 128, 256, 1024)  # late positions must learn, too
    candidates: int | None = 4096
    lr: float = 1.5e-3  # at its peak; it falls to a tenth
    warmup_steps: int = 200
    weight_decay: float = 0.1
    clip: float = 1.0
    seed: int = 123

    def __post_init__(self) -> None:
        if not isinstance(self.lengths, tuple) or not self.lengths:
            raise ValueError(f"lengths must be a tuple such as (128, 1024), not {self.lengths!r}")
        plain = {  # not numpy's numbers, which torch saves but does not read back
            "steps": None if self.steps is None else whole_number("steps", self.steps),
            "tokens_per_step": whole_number("tokens_per_step", self.tokens_per_step),
            "lengths": tuple(whole_number("a length", length) for length in self.lengths),
            "lr": finite_number("lr", self.lr, inclusive=True),
            "warmup_steps": whole_number("warmup_steps", self.warmup_steps, least=0),
            "weight_decay": finite_number("weight_decay", self.weight_decay, inclusive=True),
            "clip": finite_number("clip", self.clip),
            "seed": whole_number("seed", self.seed, least=0, most=LAST_SEED),
        }
        if self.candidates is not None:
            plain["candidates"] = whole_number("candidates", self.candidates)
        for name, value in plain.items():
            object.__setattr__(self, name, value)  # as the class is frozen
        if self.tokens_per_step < max(self.lengths):
            raise ValueError(
                f"a step of {self.tokens_per_step} tokens can't hold a sequence of "
                f"{max(self.lengths)}; take more tokens per step or shorter sequences"
            )
        if self.candidates is not None and self.candidates < self.tokens_per_step:
            raise ValueError(
                f"{self.candidates} candidates may not hold the targets of a step of "
                f"{self.tokens_per_step} tokens; take at least as many"
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

    A file's end ends a document, and so does `<|endoftext|>` inside a file. Raises ValueError for a
    folder without such files and for a file that is not UTF-8 text, OSError for one that can't be
    read.
    """
    paths = sorted(path for path in Path(folder).rglob("*.txt") if not path.is_dir())
    if not paths:
        raise ValueError(f"there is no .txt file in {folder}; name a folder of texts")
    documents = []
    for path in paths:
        documents += [part.strip() for part in _read_text(path).split(END_OF_TEXT_MARK)]
    return [document for document in documents if document]


def _read_text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors put a mark (BOM) first
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error}); save it as UTF-8") from error
    except OSError as error:
        raise OSError(
            f"{path} can't be read ({error.strerror}); mend it or move it away"
        ) from error
    if "\0" in text:
        raise ValueError(f"{path} is not text: it holds zero bytes; move it away")
    return text


def encode_documents(
    documents: list[str], tokenizer: tiktoken.Encoding | None = None
) -> np.ndarray:
    """Return the documents as one row of token ids, uint16 (num_tokens,).

    `<|endoftext|>` precedes each. Raises ValueError where there is none, TypeError for a text
    instead of a list.
    """
    if isinstance(documents, str):
        raise TypeError(f"documents must be a list of texts, not the text {documents[:20]!r}")
    if not documents:
        raise ValueError("there are no documents to encode; give at least one")
    tokenizer = tokenizer or get_tokenizer()
    rows = [[END_OF_TEXT, *tokenizer.encode_ordinary(document)] for document in documents]
    return np.concatenate([np.array(row, dtype=np.uint16) for row in rows])


def split_documents(
    documents: list[str], held_out: float = 0.02, seed: int = 123
) -> tuple[list[str], list[str]]:
    """Shuffle and split into training and held-out documents; neither part is empty.

    Raises ValueError when there are fewer than two documents, and for a share `held_out` that is
    not from 0 to 1.
    """
    finite_number("held_out", held_out, inclusive=True, most=1)
    whole_number("seed", seed, least=0)
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
    """Raise TypeError unless `tokens` is a row of token ids, ValueError when it is too short.

    A sequence of `length` takes one token more: the last one's target.
    """
    is_row = isinstance(tokens, np.ndarray) and tokens.ndim == 1
    if not is_row or not np.issubdtype(tokens.dtype, np.integer):
        raise TypeError(
            f"the {name} text must be a row of token ids, as encode_documents returns it, not "
            f"{type(tokens).__name__} of {getattr(tokens, 'dtype', 'no dtype')}"
        )
    if len(tokens) < length + 1:
        raise ValueError(
            f"the {name} text has {len(tokens)} tokens, fewer than one sequence of {length + 1}; "
            "take more text or shorter sequences"
        )


def batch_of(tokens: np.ndarray, recipe: Recipe, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a step's inputs and targets, each int64 (batch, num_tokens).

    Targets are one token further on.
    """
    rng = np.random.default_rng((recipe.seed, step))
    length = int(rng.choice(recipe.lengths))
    starts = rng.integers(len(tokens) - length, size=recipe.tokens_per_step // length)
    rows = torch.from_numpy(
        np.stack([tokens[start : start + length + 1] for start in starts]).astype(np.int64)
    )
    return rows[:, :-1], rows[:, 1:]


def sample_candidates(
    targets: torch.Tensor, vocab_size: int, count: int, seed
) -> tuple[torch.Tensor, ...]:
    """Choose the `count` tokens of a step's softmax: those of `targets` and others at random.

    Returns their ids (count,), the targets as places among them (same shape as `targets`), and the
    logarithm of how many tokens of the vocabulary each stands for, float32 (count,): 0 for a
    target, as it is there for certain. Raises ValueError when `count` doesn't hold the targets.
    """
    present, places = np.unique(targets.numpy(), return_inverse=True)
    if count < len(present):
        raise ValueError(f"{count} candidates can't hold {len(present)} targets; take more")
    absent = np.setdiff1d(np.arange(vocab_size), present, assume_unique=True)
    drawn = np.random.default_rng(seed).choice(
        absent, min(count, vocab_size) - len(present), replace=False
    )
    stands_for = np.repeat([1.0, len(absent) / max(1, len(drawn))], [len(present), len(drawn)])
    ids = torch.from_numpy(np.concatenate([present, drawn]))
    return (
        ids,
        torch.from_numpy(places.reshape(targets.shape)),
        torch.from_numpy(np.log(stands_for)).float(),
    )


# --- model ----------------------------------------------------------------------------------------


def new_model(cfg: dict, seed: int = 123) -> GPTModel:
    """Return a GPT with small random weights, its head tied to the token embedding."""
    torch.manual_seed(seed)
    model = GPTModel(cfg)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:
            # Two matrices per block add to the residual stream.
            adds = name.endswith(("out_proj.weight", "layers.2.weight"))
            std = 0.02 / math.sqrt(2 * cfg["n_layers"]) if adds else 0.02
            torch.nn.init.normal_(parameter, std=std)
        elif name.endswith("bias"):
            torch.nn.init.zeros_(parameter)
    model.out_head.weight = model.tok_emb.weight
    return model


def new_optimizer(model: GPTModel, recipe: Recipe) -> torch.optim.AdamW:
    """Return AdamW that decays matrices and leaves biases and layer norms alone."""
    matrices = [p for p in model.parameters() if p.ndim == 2]
    rest = [p for p in model.parameters() if p.ndim != 2]
    groups = [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, 0.95), fused=True)


def learning_rate(step: int, recipe: Recipe, steps: int) -> float:
    """Return a step's rate: up in a line to the peak, then in a cosine to a tenth at `steps`."""
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

    Matrices are multiplied in bfloat16 where the device can. With `candidates` and `log_weights` of
    `sample_candidates`, the softmax is over those and targets are places there.
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
    """Return the mean loss at each position, float64 (length,).

    It is taken over at most `most` stretches, spread evenly over `tokens`. Raises ValueError for a
    text shorter than one stretch.
    """
    whole_number("length", length)
    whole_number("most", most)
    check_text("validation", tokens, length)
    was_training, device = model.training, model.tok_emb.weight.device
    model.eval()
    number = min(most, max(1, len(tokens) // length))
    total = np.zeros(length)
    for start in np.linspace(0, len(tokens) - length - 1, num=number, dtype=int):
        stretch = tokens[start : start + length + 1].astype(np.int64)
        row = torch.from_numpy(stretch).unsqueeze(0).to(device)  # (1, length + 1)
        total += token_losses(model, row[:, :-1], row[:, 1:])[0].cpu().numpy()
    model.train(was_training)
    return total / number


def held_out_figures(model: GPTModel, tokens: np.ndarray, most: int = 10_000) -> dict[str, float]:
    """Return the mean loss in nats per token, and the perplexity at early and at late positions.

    All of them are measured over whole contexts. Raises ValueError for a text shorter than one.
    """
    length = model.pos_emb.num_embeddings
    losses = validation_losses(model, tokens, length, most)
    figures = {"loss": losses.mean()}
    for start, stop in ((length // 16, length // 8), (length // 2, length)):
        perplexity = math.exp(losses[start:stop].mean())
        figures[f"perplexity at positions {start} to {stop - 1}"] = perplexity
    return {name: round(float(figure), 3) for name, figure in figures.items()}


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
    """Train `model` in place on `train` token ids, uint16 (num_tokens,); it ends in eval mode.

    Takes `recipe.steps` steps, or as many as fit into `minutes` by a short trial (which is not
    counted, and neither are validations). The state is saved to `state_path` every few minutes and
    at the end; where the same run was saved there, it goes on. `at_validation` is called after each
    validation, the model in eval mode. `compiled` has torch translate the model first, which takes
    a minute or two and a C++ compiler. Raises ValueError for steps and minutes both or neither, for
    text shorter than one sequence, for sequences longer than the model's context, and for a saved
    run of another shape, recipe, training text, time or first weights; FloatingPointError when a
    loss or gradient is not finite; OSError when the state can't be saved.
    """
    _check_time(recipe, minutes)
    whole_number("validate_every", validate_every)
    _check_sequences(model, train, validation, recipe)
    run = _Run(model, train, recipe, minutes, compiled)
    path = Path(state_path) if state_path else None
    if path and path.exists():
        run.resume(path)
    elif path:
        _check_place(path)  # now, not when five minutes of training are to be saved

    model.train()
    if run.steps is None:
        run.steps = max(1, round(60 * minutes / run.seconds_per_step()))
    _take_all_steps(run, validation, path, validate_every, at_validation)
    model.eval()
    return run.progress


def _check_time(recipe: Recipe, minutes: float | None) -> None:
    if (recipe.steps is None) == (minutes is None):
        raise ValueError(
            f"say how long to train, by steps or by minutes, not by both: "
            f"steps={recipe.steps}, minutes={minutes}"
        )
    if minutes is not None:
        finite_number("minutes", minutes, most=1e6)


def _check_sequences(
    model: GPTModel, train: np.ndarray, validation: np.ndarray, recipe: Recipe
) -> None:
    longest, context = max(recipe.lengths), model.pos_emb.num_embeddings
    if longest > context:
        raise ValueError(
            f"a sequence of {longest} tokens is longer than the model's context of {context}; "
            f"choose lengths up to {context}"
        )
    check_text("training", train, longest)
    check_text("validation", validation, longest)


def _check_place(path: Path) -> None:
    """Raise OSError where nothing can be written beside `path`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise OSError(
            f"nothing can be saved in {path.parent} ({error.strerror}); name another folder"
        ) from error


def _take_all_steps(
    run: "_Run",
    validation: np.ndarray,
    path: Path | None,
    validate_every: int,
    at_validation: Callable[[Progress], object],
) -> None:
    """Take the steps that are left; validate and save in between, and after the last."""
    progress = run.progress
    started, first, saved = time.monotonic(), progress.step, time.monotonic()
    with tqdm(total=run.steps, initial=first, unit="step", desc="pretraining") as bar:
        while progress.step < run.steps:
            progress.losses.append(run.take_step(progress.step))
            bar.update()
            is_last = progress.step == run.steps
            if is_last or progress.step % validate_every == 0:
                tokens = (progress.step - first) * run.recipe.tokens_per_step
                per_second = tokens / (time.monotonic() - started)
                run.validate(validation)
                run.model.eval()
                at_validation(progress)
                run.model.train()
                bar.set_postfix(
                    loss=f"{np.mean(progress.losses[-100:]):.2f}",
                    perplexity=f"{math.exp(progress.validation[-1][1]):.1f}",
                    tokens_s=f"{per_second:.0f}",
                )
            if path and (is_last or time.monotonic() - saved > SAVE_EVERY):
                run.save(path)
                saved = time.monotonic()


def _compiled_losses() -> Callable:
    if " " in torch.__file__:  # it does not quote its own path for the compiler
        raise ValueError(
            f"torch can't compile where its own path has a space ({Path(torch.__file__).parent}); "
            "leave out --compiled, or install torch into another folder"
        )
    return torch.compile(token_losses, dynamic=False)


class _Run:
    """A model in training, with its optimizer, its text and what it has done so far."""

    def __init__(
        self,
        model: GPTModel,
        tokens: np.ndarray,
        recipe: Recipe,
        minutes: float | None = None,
        compiled: bool = False,
    ) -> None:
        self.model, self.tokens, self.recipe = model, tokens, recipe
        self.optimizer = new_optimizer(model, recipe)
        self.losses_of = _compiled_losses() if compiled else token_losses
        self.progress = Progress()
        self.steps = recipe.steps  # None: not known before a trial
        self.kind = {  # a saved run of another kind is not gone on with
            "cfg": json.dumps(model.cfg, default=lambda number: number.item()),  # numpy's, too
            "recipe": asdict(recipe),
            "number of minutes": minutes and float(minutes),
            "text": hashlib.sha256(tokens.tobytes()).hexdigest(),
            "first weights": _hash_of_weights(model),
        }

    def take_step(self, step: int) -> float:
        """Train on one batch; return its loss in nats per token."""
        recipe, parameters = self.recipe, self.model.parameters()
        torch.manual_seed(1_000_003 * recipe.seed + step)  # this step's dropout
        for group in self.optimizer.param_groups:  # a trial's steps are those of the warm-up
            group["lr"] = learning_rate(step, recipe, self.steps or recipe.warmup_steps + 1)
        loss = self.losses_of(self.model, *self._inputs(step)).mean()
        self.optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, recipe.clip)
        if not (loss.isfinite() and norm.isfinite()):
            raise FloatingPointError(
                f"the loss is {loss.item()} at step {step}, the gradient's length {norm.item()}; "
                f"take a smaller learning rate than {recipe.lr:g}"
            )
        self.optimizer.step()
        return loss.item()

    def _inputs(self, step: int) -> list[torch.Tensor]:
        """What `token_losses` takes for a step, on the model's device."""
        inputs, targets = batch_of(self.tokens, self.recipe, step)
        sample, count = (), self.recipe.candidates
        if count is not None:
            vocab_size, seed = self.model.cfg["vocab_size"], (self.recipe.seed, step, 1)
            ids, targets, log_weights = sample_candidates(targets, vocab_size, count, seed)
            sample = (ids, log_weights)
        device = self.model.tok_emb.weight.device
        return [tensor.to(device) for tensor in (inputs, targets, *sample)]

    def validate(self, tokens: np.ndarray) -> None:
        """Add the loss on `tokens`, in nats per token, to the run's progress."""
        losses = validation_losses(self.model, tokens, max(self.recipe.lengths))
        self.progress.validation.append((self.progress.step, float(losses.mean())))

    def seconds_per_step(self) -> float:
        """Try some steps of each length, time each length's last, and undo what they did."""
        before = copy.deepcopy((self.model.state_dict(), self.optimizer.state_dict()))
        lengths = [batch_of(self.tokens, self.recipe, step)[0].shape[1] for step in range(200)]
        seconds = {}
        for length in sorted(set(lengths)):
            steps = [step for step in range(200) if lengths[step] == length]
            for step in steps[:TRIAL_STEPS]:
                started = time.monotonic()
                self.take_step(step)
                seconds[length] = time.monotonic() - started
        self.model.load_state_dict(before[0])
        self.optimizer.load_state_dict(before[1])
        return sum(seconds[length] for length in lengths) / len(lengths)

    def save(self, path: Path) -> None:
        """Write the run to `path`, which holds a whole run at any time."""
        state = {
            "kind": self.kind,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "steps": self.steps,
            "losses": self.progress.losses,
            "validation": self.progress.validation,
        }
        try:
            with whole_file(path) as part:
                torch.save(state, part)
        except (OSError, RuntimeError) as error:  # RuntimeError: what torch makes of a full disk
            raise OSError(
                f"{path} could not be saved ({error}); is the disk full? Make room and start again:"
                " a run that was saved before goes on"
            ) from error

    def resume(self, path: Path) -> None:
        """Take over what `save` wrote, if it is a run of the same kind."""
        try:
            state = _load_state(path, self.model.tok_emb.weight.device)
            saved_kind = state["kind"]
            differing = [name for name in self.kind if saved_kind.get(name) != self.kind[name]]
            if not differing:
                self.model.load_state_dict(state["model"])
                self.optimizer.load_state_dict(state["optimizer"])
                validation = [(int(step), float(loss)) for step, loss in state["validation"]]
                self.progress = Progress([float(loss) for loss in state["losses"]], validation)
                self.steps = whole_number("steps", state["steps"])
        except OSError as error:
            raise OSError(
                f"{path} can't be read as a saved run ({error.strerror}); move it away"
            ) from error
        except MemoryError:
            raise
        except Exception as error:  # torch raises whatever its unpickler meets
            # Not torch's own words: they advise to trust the file.
            raise ValueError(
                f"{path} is not a saved run, or only a part of one ({type(error).__name__}); "
                "delete it to start afresh"
            ) from error
        if differing:
            raise ValueError(
                f"{path} was saved by a run with another {', '.join(differing)}; "
                "delete it or name another --out"
            )


def _load_state(path: Path, device: torch.device) -> dict:
    """Read a saved run without running code that it may hold, and without unfolding a bomb."""
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        unfolded = sum(entry.file_size for entry in archive.infolist())
    if unfolded > path.stat().st_size:  # torch compresses nothing
        raise ValueError(f"it would unfold to {unfolded} bytes")
    state = torch.load(path, map_location=device, weights_only=True)
    if not isinstance(state, dict):
        raise TypeError(f"it holds a {type(state).__name__}")
    return state


def _hash_of_weights(model: GPTModel) -> str:
    whole = hashlib.sha256()
    for tensor in model.state_dict().values():
        whole.update(tensor.cpu().numpy().tobytes())
    return whole.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m workshop.pretraining",
        description="Train a small GPT-2 on a folder of text.",
    )
    parser.add_argument("--text", required=True, help="a folder of .txt files")
    parser.add_argument(
        "--out",
        required=True,
        help="where the run is saved, and the checkpoint in OpenAI's format at the end",
    )
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--minutes", type=float, help="how long to train")
    length.add_argument("--steps", type=int, help="how many steps to train")
    parser.add_argument(
        "--also", help="a folder of .txt files that are trained on, too, and never held out"
    )
    parser.add_argument(
        "--start-from",
        help="a checkpoint in OpenAI's format: weights to go on from (default: random weights)",
    )
    parser.add_argument("--tokens-per-step", type=int, default=Recipe.tokens_per_step)
    parser.add_argument("--lr", type=float, default=Recipe.lr)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument(
        "--compiled",
        action="store_true",
        help="translate the model first: faster, needs a C++ compiler",
    )
    parser.add_argument("--model", default="gpt2-nano (12M)", help="a name of MODEL_CONFIGS")
    try:
        _pretrain_as_told(parser.parse_args())
    # These are faults of the text, the disk or the rate, not of the program.
    except (ValueError, OSError, ArithmeticError) as error:
        sys.exit(f"{error}")


def _pretrain_as_told(arguments: argparse.Namespace) -> None:
    """Do what the command line says: from a folder of text to a checkpoint."""
    device, out = "cuda" if torch.cuda.is_available() else "cpu", Path(arguments.out)
    recipe = Recipe(
        steps=arguments.steps,
        tokens_per_step=arguments.tokens_per_step,
        lr=arguments.lr,
        # A GPU has no need of a sample.
        candidates=max(4096, arguments.tokens_per_step) if device == "cpu" else None,
    )
    _check_time(recipe, arguments.minutes)  # before the text, which may take a while to read
    model = _first_model(arguments.model, arguments.dropout, arguments.start_from).to(device)
    train, validation = _training_and_validation_text(arguments.text, arguments.also)
    progress = pretrain(
        model,
        train,
        validation,
        recipe,
        minutes=arguments.minutes,
        state_path=out / "run.pt",
        compiled=arguments.compiled,
    )
    figures = _figures(progress, recipe) | {"held_out": held_out_figures(model, validation)}
    with whole_file(out / "run.json") as part:
        part.write_text(json.dumps(figures) + "\n", encoding="utf-8")
    print(f"{progress.step:,} steps; on held-out documents: {figures['held_out']}")
    print(f"wrote {save_openai_checkpoint(model, out / 'checkpoint')}")


def _first_model(name: str, dropout: float, start_from: str | None) -> GPTModel:
    model = new_model(gpt_config(name) | {"drop_rate": dropout})
    if start_from:
        load_weights_into_gpt(model, read_checkpoint(start_from)[1])
    return model


def _training_and_validation_text(text: str, also: str | None) -> tuple[np.ndarray, np.ndarray]:
    documents, held_out = split_documents(read_documents(text))
    if also:
        folder, other = Path(text).resolve(), Path(also).resolve()
        if other.is_relative_to(folder):
            raise ValueError(
                f"{also} lies in {text}, so a part of it would be held out; move one of them"
            )
        if folder.is_relative_to(other):
            raise ValueError(
                f"{text} lies in {also}, so what is held out would be trained on; move one of them"
            )
        documents += read_documents(also)
        np.random.default_rng(123).shuffle(documents)
    train, validation = encode_documents(documents), encode_documents(held_out)
    print(
        f"{len(documents):,} documents, {len(train):,} tokens to train on; "
        f"{len(validation):,} tokens held out"
    )
    return train, validation


def _figures(progress: Progress, recipe: Recipe) -> dict:
    """What is published of a run: losses as means of a hundred steps, and validations."""
    hundreds = [progress.losses[i : i + 100] for i in range(0, progress.step, 100)]
    return {
        "tokens_per_step": recipe.tokens_per_step,
        "losses": [round(float(np.mean(losses)), 3) for losses in hundreds],
        "validation": [(step, round(loss, 3)) for step, loss in progress.validation],
    }


if __name__ == "__main__":
    main()
