"""Train a small GPT-2: `python -m helpers.nano.pretraining --text DIR --minutes 90 --out DIR`.

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
and the step's number, so a run that was killed goes on exactly as it would have.
"""

import argparse
import copy
import hashlib
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import tiktoken
import torch
from torch.nn import functional as F
from tqdm.auto import tqdm

from helpers.config import END_OF_TEXT, gpt_config
from helpers.device_and_precision import precision_on
from helpers.loading import load_weights_into_gpt, read_checkpoint
from helpers.model import GPTModel
from helpers.nano.saving import save_openai_checkpoint
from helpers.tokenizer import END_OF_TEXT_MARK, get_tokenizer

SAVE_EVERY = 300  # seconds


@dataclass(frozen=True)
class Recipe:
    """How to train. A step takes `tokens_per_step` tokens in sequences of one of `lengths`, drawn
    for each step.

    `candidates` is the number of tokens in a step's softmax; None: the whole vocabulary.
    """

    steps: int | None = None  # None: as many as `minutes` allow
    tokens_per_step: int = 4096
    lengths: tuple[int, ...] = (
        128,
        128,
        128,
        128,
        256,
        1024,
    )  # mixed: late positions must be trained, too
    candidates: int | None = 4096
    lr: float = 1.5e-3  # at its peak; it falls to a tenth
    warmup_steps: int = 200
    weight_decay: float = 0.1
    clip: float = 1.0
    seed: int = 123


@dataclass
class Progress:
    """What a run has done: a loss in nats per token for each step, and pairs of step and validation
    loss.
    """

    losses: list[float] = field(default_factory=list)
    validation: list[tuple[int, float]] = field(default_factory=list)

    @property
    def step(self) -> int:
        return len(self.losses)


# --- text -----------------------------------------------------------------------------------------


def read_documents(folder: str | Path) -> list[str]:
    """Return the documents of all `.txt` files of a folder; a `<|endoftext|>` inside a file ends a
    document.

    Raises ValueError for a folder without such files, and for a file that is not UTF-8 text.
    """
    paths = sorted(Path(folder).rglob("*.txt"))
    if not paths:
        raise ValueError(f"there is no .txt file in {folder}")
    documents = []
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not UTF-8 text: {error}") from error
        if "\0" in text:
            raise ValueError(f"{path} is not text: it holds zero bytes")
        documents += [part.strip() for part in text.split(END_OF_TEXT_MARK)]
    return [document for document in documents if document]


def encode_documents(
    documents: list[str], tokenizer: tiktoken.Encoding | None = None
) -> np.ndarray:
    """Return all documents as one row of token ids, uint16 (num_tokens,), each preceded by
    `<|endoftext|>`.
    """
    tokenizer = tokenizer or get_tokenizer()
    rows = [[END_OF_TEXT, *tokenizer.encode_ordinary(document)] for document in documents]
    return np.concatenate([np.array(row, dtype=np.uint16) for row in rows])


def split_documents(
    documents: list[str], held_out: float = 0.02, seed: int = 123
) -> tuple[list[str], list[str]]:
    """Shuffle and split into training and held-out documents; at least one is held out.

    Raises ValueError when there are fewer than two documents.
    """
    if len(documents) < 2:
        raise ValueError(
            f"{len(documents)} document(s) are too few: one is needed for training and one for validation; "
            f"more files are more documents, and so are the parts of a file between lines {END_OF_TEXT_MARK}"
        )
    order = np.random.default_rng(seed).permutation(len(documents))
    count = max(1, round(held_out * len(documents)))
    return [documents[i] for i in order[count:]], [documents[i] for i in order[:count]]


def batch_of(tokens: np.ndarray, recipe: Recipe, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the inputs and targets of a step, each int64 (batch, num_tokens); targets are one
    token further on.
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
    """Choose the tokens of a step's softmax: those of `targets` and others at random, `count` in
    all.

    Returns their ids (count,), the targets as places among them (same shape as `targets`), and the
    logarithm of how many tokens of the vocabulary each stands for, float32 (count,): 0 for a
    target, as it is there for certain.
    """
    present, places = np.unique(targets.numpy(), return_inverse=True)
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
            into_sum = name.endswith(
                ("out_proj.weight", "layers.2.weight")
            )  # two per block add to the residual stream
            torch.nn.init.normal_(
                parameter, std=0.02 / math.sqrt(2 * cfg["n_layers"]) if into_sum else 0.02
            )
        elif name.endswith("bias"):
            torch.nn.init.zeros_(parameter)
    model.out_head.weight = model.tok_emb.weight
    return model


def new_optimizer(model: GPTModel, recipe: Recipe) -> torch.optim.AdamW:
    """Return AdamW that decays matrices and leaves biases and layer norms alone."""
    groups = [
        {
            "params": [p for p in model.parameters() if p.ndim == 2],
            "weight_decay": recipe.weight_decay,
        },
        {"params": [p for p in model.parameters() if p.ndim != 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, 0.95), fused=True)


def learning_rate(step: int, recipe: Recipe, steps: int) -> float:
    """Return the rate of a step: a linear warm-up to the peak, then a cosine towards a tenth of it
    after `steps`.
    """
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
    """Return the loss of every token in nats, float32 (batch, num_tokens); matrices are multiplied
    in bfloat16.

    With `candidates` and `log_weights` of `sample_candidates`, the softmax is over those and
    targets are places there.
    """
    device = inputs.device
    with torch.autocast(
        device.type, torch.bfloat16, enabled=precision_on(device, "bfloat16") == "bfloat16"
    ):
        x = model.final_norm(model.trf_blocks(model.embed(inputs)))  # (batch, num_tokens, emb_dim)
        head = model.out_head.weight if candidates is None else model.out_head.weight[candidates]
        logits = F.linear(x, head)  # (batch, num_tokens, vocab_size or len(candidates))
    losses = F.cross_entropy(
        (logits.float() + log_weights).flatten(0, 1), targets.flatten(), reduction="none"
    )
    return losses.view(targets.shape)


@torch.no_grad()
def validation_losses(
    model: GPTModel, tokens: np.ndarray, length: int, most: int = 64
) -> np.ndarray:
    """Return the mean loss at each position, float64 (length,), over stretches spread evenly over
    `tokens`.
    """
    was_training, device = model.training, model.tok_emb.weight.device
    model.eval()
    starts = np.linspace(
        0, len(tokens) - length - 1, num=min(most, max(1, len(tokens) // length)), dtype=int
    )
    total = np.zeros(length)
    for start in starts:
        row = (
            torch.from_numpy(tokens[start : start + length + 1].astype(np.int64))
            .unsqueeze(0)
            .to(device)
        )
        total += token_losses(model, row[:, :-1], row[:, 1:])[0].cpu().numpy()
    model.train(was_training)
    return total / len(starts)


def held_out_figures(model: GPTModel, tokens: np.ndarray, most: int = 10_000) -> dict[str, float]:
    """Return the mean loss in nats per token over whole contexts, and the perplexity at early and
    at late positions.
    """
    length = model.pos_emb.num_embeddings
    losses = validation_losses(model, tokens, length, most)
    figures = {"loss": losses.mean()}
    for start, stop in ((length // 16, length // 8), (length // 2, length)):
        figures[f"perplexity at positions {start} to {stop - 1}"] = math.exp(
            losses[start:stop].mean()
        )
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
    """Train `model` in place on `train` token ids; go on from `state_path` if a run of the same
    kind was saved there.

    Takes `recipe.steps` steps, or as many as fit into `minutes` by a short trial (which is not
    counted, and neither are validations). The state is saved every few minutes and at the end;
    `at_validation` is called after each validation, the model in eval mode. `compiled` has torch
    translate the model first, which takes a minute or two and a C++ compiler. Raises ValueError for
    text shorter than one sequence, for steps and minutes both or neither, for steps shorter than a
    sequence or with too few candidates, and for a saved run of another shape, recipe, training
    text, time or first weights; FloatingPointError when a loss or gradient is not finite; OSError
    when a state can't be kept.
    """
    longest = max(recipe.lengths)
    if (recipe.steps is None) == (minutes is None) or (
        minutes if recipe.steps is None else recipe.steps
    ) <= 0:
        raise ValueError("say how long to train: by steps or by minutes, more than 0")
    if recipe.tokens_per_step < longest:
        raise ValueError(
            f"a step of {recipe.tokens_per_step} tokens can't hold a sequence of {longest}"
        )
    for name, tokens in (("training", train), ("validation", validation)):
        if len(tokens) < longest + 1:
            raise ValueError(
                f"the {name} text has {len(tokens)} tokens, fewer than one sequence of {longest + 1}"
            )
    if recipe.candidates is not None and recipe.candidates < recipe.tokens_per_step:
        raise ValueError(
            f"{recipe.candidates} candidates may not hold the targets of a step of {recipe.tokens_per_step} tokens"
        )

    optimizer, progress, steps = new_optimizer(model, recipe), Progress(), recipe.steps
    kind = {
        "cfg": model.cfg,
        "recipe": asdict(recipe),
        "number of minutes": minutes,
        "text": hashlib.sha256(train.tobytes()).hexdigest(),
        "first weights": _hash_of_weights(model),
    }
    if state_path and Path(state_path).exists():
        progress, steps = _resume(Path(state_path), kind, model, optimizer)

    model.train()
    loss_of_tokens = torch.compile(token_losses, dynamic=False) if compiled else token_losses

    def take_step(step: int) -> float:
        torch.manual_seed(1_000_003 * recipe.seed + step)  # this step's dropout
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, recipe, steps or recipe.warmup_steps + 1)
        loss = loss_of_tokens(model, *_inputs_of(train, recipe, step, model)).mean()
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        if not (loss.isfinite() and norm.isfinite()):
            raise FloatingPointError(
                f"the loss is {loss.item()} at step {step}, the gradient's length {norm.item()}; "
                "take a smaller learning rate"
            )
        optimizer.step()
        return loss.item()

    if steps is None:
        steps = max(
            1, round(60 * minutes / _seconds_per_step(take_step, train, recipe, model, optimizer))
        )

    started, first, saved = time.monotonic(), progress.step, time.monotonic()
    with tqdm(total=steps, initial=first, unit="step", desc="pretraining") as bar:
        while progress.step < steps:
            progress.losses.append(take_step(progress.step))
            bar.update()
            if progress.step % validate_every == 0 or progress.step == steps:
                measured = validation_losses(model, validation, longest).mean()
                progress.validation.append((progress.step, float(measured)))
                per_second = (
                    (progress.step - first) * recipe.tokens_per_step / (time.monotonic() - started)
                )
                model.eval()
                at_validation(progress)
                model.train()
                loss = np.mean(progress.losses[-100:])
                bar.set_postfix(
                    loss=f"{loss:.2f}",
                    perplexity=f"{math.exp(measured):.1f}",
                    tokens_s=f"{per_second:.0f}",
                )
            if state_path and (time.monotonic() - saved > SAVE_EVERY or progress.step == steps):
                _save(Path(state_path), kind, model, optimizer, progress, steps)
                saved = time.monotonic()
    model.eval()
    return progress


def _hash_of_weights(model: GPTModel) -> str:
    whole = hashlib.sha256()
    for tensor in model.state_dict().values():
        whole.update(tensor.cpu().numpy().tobytes())
    return whole.hexdigest()


def _inputs_of(
    tokens: np.ndarray, recipe: Recipe, step: int, model: GPTModel
) -> list[torch.Tensor]:
    """What `token_losses` takes for a step, on the model's device."""
    inputs, targets = batch_of(tokens, recipe, step)
    sample = ()
    if recipe.candidates is not None:
        ids, targets, log_weights = sample_candidates(
            targets, model.cfg["vocab_size"], recipe.candidates, (recipe.seed, step, 1)
        )
        sample = (ids, log_weights)
    return [tensor.to(model.tok_emb.weight.device) for tensor in (inputs, targets, *sample)]


def _seconds_per_step(
    take_step, tokens: np.ndarray, recipe: Recipe, model: GPTModel, optimizer
) -> float:
    """Try three steps of each length, time each length's last, and undo what they did."""
    kept = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    met = [batch_of(tokens, recipe, step)[0].shape[1] for step in range(200)]
    seconds = {}
    for length in sorted(set(met)):
        for step in [i for i, one in enumerate(met) if one == length][
            :3
        ]:  # the first ones also compile and set up
            started = time.monotonic()
            take_step(step)
            seconds[length] = time.monotonic() - started
    model.load_state_dict(kept[0])
    optimizer.load_state_dict(kept[1])
    return sum(seconds[length] for length in met) / len(met)


def _save(
    path: Path, kind: dict, model: GPTModel, optimizer, progress: Progress, steps: int
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    state = {
        "kind": kind,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "steps": steps,
    }
    try:
        torch.save(state | {"losses": progress.losses, "validation": progress.validation}, part)
        part.replace(path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, RuntimeError):  # what torch makes of a full disk
            raise OSError(f"{path} could not be saved; is the disk full? ({error})") from error
        raise


def _resume(path: Path, kind: dict, model: GPTModel, optimizer) -> tuple[Progress, int | None]:
    try:
        state = torch.load(path, map_location=model.tok_emb.weight.device, weights_only=True)
        saved = state["kind"]
    except (OSError, MemoryError):
        raise
    except Exception as error:  # torch raises whatever its unpickler meets
        raise ValueError(
            f"{path} is not a saved run ({error}); delete it to start afresh"
        ) from error
    if differing := [name for name in kind if saved.get(name) != kind[name]]:
        raise ValueError(
            f"{path} was saved by a run with another {', '.join(differing)}; delete it or name another --out"
        )
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return Progress(state["losses"], [tuple(pair) for pair in state["validation"]]), state["steps"]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m helpers.nano.pretraining",
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
        help="a checkpoint in OpenAI's format whose weights to go on from (default: random weights)",
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
        _run(parser.parse_args())
    except (
        ValueError,
        OSError,
        ArithmeticError,
    ) as error:  # of the text, the disk, the rate: no fault of the program
        sys.exit(f"{error}")


def _run(arguments: argparse.Namespace) -> None:
    documents, held_out = split_documents(read_documents(arguments.text))
    if arguments.also:
        if Path(arguments.also).resolve().is_relative_to(Path(arguments.text).resolve()):
            raise ValueError(
                f"{arguments.also} lies in {arguments.text}, so a part of it would be held out"
            )
        documents += read_documents(arguments.also)
        np.random.default_rng(123).shuffle(documents)
    train, validation = encode_documents(documents), encode_documents(held_out)
    print(
        f"{len(documents):,} documents, {len(train):,} tokens to train on; {len(validation):,} tokens held out"
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = new_model(gpt_config(arguments.model) | {"drop_rate": arguments.dropout})
    if arguments.start_from:
        load_weights_into_gpt(model, read_checkpoint(arguments.start_from)[1])
    model.to(device)
    recipe = Recipe(
        steps=arguments.steps,
        tokens_per_step=arguments.tokens_per_step,
        lr=arguments.lr,
        candidates=max(4096, arguments.tokens_per_step)
        if device == "cpu"
        else None,  # a GPU has no need of a sample
    )
    out = Path(arguments.out)
    progress = pretrain(
        model,
        train,
        validation,
        recipe,
        minutes=arguments.minutes,
        state_path=out / "run.pt",
        compiled=arguments.compiled,
    )
    figures = {
        "tokens_per_step": recipe.tokens_per_step,
        "losses": [
            round(float(np.mean(progress.losses[i : i + 100])), 3)
            for i in range(0, progress.step, 100)
        ],
        "validation": [(step, round(loss, 3)) for step, loss in progress.validation],
        "held_out": held_out_figures(model, validation),
    }
    (out / "run.json").write_text(json.dumps(figures) + "\n", encoding="utf-8")
    print(f"{progress.step:,} steps; on held-out documents: {figures['held_out']}")
    print(f"wrote {save_openai_checkpoint(model, out / 'checkpoint')}")


if __name__ == "__main__":
    main()
