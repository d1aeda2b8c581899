"""A checkpoint in OpenAI's format: find it, download it, read it, check it, put it into the model.

Such a folder holds `hparams.json` (the sizes), `encoder.json` and `vocab.bpe` (the tokenizer) and a
TensorFlow checkpoint with variables such as `model/wte` and `model/h0/attn/c_attn/w`. Format:
`src/model.py` and `download_model.py` of OpenAI's gpt-2 repository. The nested `params` are those of
the book's chapter 5.
"""

import contextlib
import json
import os
import re
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from helpers.checks import one_of
from helpers.config import BUNDLED_CHECKPOINT, BUNDLED_SIZE, MODEL_CONFIGS, gpt_config, model_size
from helpers.download import DownloadError, download, file_sha256, whole_file
from helpers.model import GPTModel

SOURCES = (
    "https://openaipublic.blob.core.windows.net/gpt-2/models",
    "https://f001.backblazeb2.com/file/LLMs-from-scratch/gpt2",  # the book's mirror
)

INDEX, TENSORS = "model.ckpt.index", "model.ckpt.data-00000-of-00001"

FILES = {  # name → sha256 where every size has the same file
    "checkpoint": None,
    "hparams.json": None,
    "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
    INDEX: None,
    TENSORS: None,
}  # model.ckpt.meta, TensorFlow's graph, is not needed

HPARAMS = {  # the names of the sizes in hparams.json → in our configuration
    "n_vocab": "vocab_size",
    "n_ctx": "context_length",
    "n_embd": "emb_dim",
    "n_head": "n_heads",
    "n_layer": "n_layers",
}

# what a checkpoint holds: TensorFlow's name | our parameters, side by side in it | its shape
OUTSIDE_THE_BLOCKS = """
wte    | tok_emb.weight   | n_vocab d
wpe    | pos_emb.weight   | n_ctx d
ln_f/g | final_norm.scale | d
ln_f/b | final_norm.shift | d
"""
IN_EACH_BLOCK = """
ln_1/g        | norm1.scale                                        | d
ln_1/b        | norm1.shift                                        | d
attn/c_attn/w | att.W_query.weight att.W_key.weight att.W_value.weight | 1 d 3d
attn/c_attn/b | att.W_query.bias att.W_key.bias att.W_value.bias   | 3d
attn/c_proj/w | att.out_proj.weight                                | 1 d d
attn/c_proj/b | att.out_proj.bias                                  | d
ln_2/g        | norm2.scale                                        | d
ln_2/b        | norm2.shift                                        | d
mlp/c_fc/w    | ff.layers.0.weight                                 | 1 d 4d
mlp/c_fc/b    | ff.layers.0.bias                                   | 4d
mlp/c_proj/w  | ff.layers.2.weight                                 | 1 4d d
mlp/c_proj/b  | ff.layers.2.bias                                   | d
"""

# TensorFlow takes the path of a checkpoint for a pattern, and knows no way to escape these
GLOBBED = re.compile(r"[*?\[\]\\]")


# --- which number goes where ----------------------------------------------------------------------


class Variable(NamedTuple):
    """A variable of the checkpoint, and what it is called elsewhere."""

    name: str  # TensorFlow's
    path: list[str | int]  # the keys that lead to it in the book's `params`
    parameters: list[str]  # our names; several are held side by side in one variable
    shape: tuple[int, ...]  # in the checkpoint; in `params` a matrix has no leading 1

    def split(self, values: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return our parameters, each a view of `values`, which have the shape that `params` has.

        OpenAI multiplies x @ w, torch.nn.Linear x @ weight.T: a matrix is transposed.
        """
        pieces = values.tensor_split(len(self.parameters), dim=-1)
        if len(self.shape) == 3:  # a matrix, (1, rows, columns); an embedding has two dimensions
            pieces = [piece.T for piece in pieces]
        return dict(zip(self.parameters, pieces, strict=True))

    def join(self, weights: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the values, with the shape of the checkpoint: what `split` takes apart."""
        pieces = [weights[name] for name in self.parameters]
        if len(self.shape) == 3:
            pieces = [piece.T for piece in pieces]
        return torch.cat(pieces, dim=-1).reshape(self.shape)


def checkpoint_variables(settings: dict) -> list[Variable]:
    """Return all variables of a checkpoint with these `hparams`: the one table of names and shapes.

    The names are those of `src/model.py` of OpenAI's gpt-2 repository, of the book's chapter 5, and
    of `GPTModel`.
    """
    d = settings["n_embd"]
    sizes = settings | {"1": 1, "d": d, "3d": 3 * d, "4d": 4 * d}
    variables = []
    for i in [None, *range(settings["n_layer"])]:
        table = OUTSIDE_THE_BLOCKS if i is None else IN_EACH_BLOCK
        for line in table.strip().splitlines():
            name, parameters, shape = line.split("|")
            name, parameters = name.strip(), parameters.split()
            keys = name.split("/")
            if i is None:
                name, path = f"model/{name}", keys[-1:]
            else:
                name, path = f"model/h{i}/{name}", ["blocks", i, *keys]
                parameters = [f"trf_blocks.{i}.{parameter}" for parameter in parameters]
            shape = tuple(sizes[size] for size in shape.split())
            variables.append(Variable(name, path, parameters, shape))
    return variables


# --- the quick way --------------------------------------------------------------------------------


def load_pretrained(name: str, models_dir: str | Path = "gpt2") -> GPTModel:
    """Return the pretrained model called `name`, in eval mode, float32, on the CPU.

    `name` is a key of MODEL_CONFIGS. The first call reads the checkpoint with TensorFlow and keeps
    a copy, `models_dir/SIZE/model.safetensors`. Later calls read the copy alone; a checkpoint that
    has changed since is read again. Raises what `download_and_load_gpt2` raises.
    """
    cfg, size = gpt_config(name), model_size(name)
    folder = find_checkpoint(size, models_dir)
    settings = read_settings(folder)
    wrong = differences(settings, {theirs: cfg[ours] for theirs, ours in HPARAMS.items()})
    if wrong:
        raise ValueError(
            f"{folder / 'hparams.json'} is not that of {name!r}: {wrong}; {_remedy(folder)}"
        )

    copy = Path(models_dir) / size / "model.safetensors"
    index = file_sha256(folder / INDEX)  # it holds a checksum of each tensor of the checkpoint
    weights = read_copy(copy, index)
    if weights is None:
        weights = {}
        for variable, array in read_variables(folder, settings):
            for parameter, view in variable.split(torch.from_numpy(array)).items():
                weights[parameter] = view.contiguous()  # the embedding, the largest, is not copied
        try:
            with whole_file(copy) as part:
                save_file(weights, part, {"index": index, "checksum": checksum(weights)})
        except (OSError, SafetensorError) as error:
            warnings.warn(
                f"the quick copy could not be kept ({error}); the next load takes as long",
                stacklevel=2,
            )
        weights["out_head.weight"] = weights["tok_emb.weight"].clone()
    with torch.device("meta"):  # no memory for weights that are about to be replaced
        model = GPTModel(cfg)
    model.load_state_dict(weights, assign=True)
    return model.eval()


def read_copy(copy: Path, index: str) -> dict[str, torch.Tensor] | None:
    """Return the weights in the quick copy `copy`, or None where there is none of this checkpoint.

    A copy that is damaged or can't be opened is a warning.
    """
    problem = "it holds other weights than were written"
    try:
        # the weights are the file itself, mapped into memory: mapped twice, the head is a second
        # embedding, without the time and memory of copying it
        with safe_open(copy, "pt") as file, safe_open(copy, "pt") as again:
            metadata = file.metadata() or {}
            if metadata.get("index") != index:
                return None  # of a checkpoint that has changed since
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
            if metadata.get("checksum") == checksum(weights):
                return weights | {"out_head.weight": again.get_tensor("tok_emb.weight")}
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError) as error:
        problem = error
    warnings.warn(
        f"{copy} can't be used ({problem}); the checkpoint is read again in its place", stacklevel=3
    )
    return None


def checksum(weights: dict[str, torch.Tensor]) -> str:
    """Return a checksum of names, types, shapes, and sums of all bits, read as whole numbers.

    It differs after any one change. For 124M weights it takes 0.04 seconds, a sha256 0.35.
    """
    described = []
    for name, weight in sorted(weights.items()):
        described.append((name, weight.dtype, weight.shape, int(weight.view(torch.int64).sum())))
    return str(zlib.crc32(repr(described).encode()))


# --- the book's two functions ---------------------------------------------------------------------


def download_and_load_gpt2(
    model_size: str, models_dir: str | Path = "gpt2", sources=SOURCES
) -> tuple[dict, dict]:
    """Return `(settings, params)` of GPT-2 `model_size`.

    "12M" is bundled, "124M" … "1558M" are downloaded once. `settings` is `hparams.json`; `params`
    holds float32 arrays: `params["wte"]` (n_vocab, emb_dim), `params["wpe"]`, `params["g"]`,
    `params["b"]`, and `params["blocks"][i]["attn"]["c_attn"]["w"]` (emb_dim, 3·emb_dim), …. Raises
    ValueError for an unknown size or a checkpoint that is not what it should be, DownloadError (an
    OSError) when a file is missing and no source has it.
    """
    return read_checkpoint(find_checkpoint(model_size, models_dir, sources))


def load_weights_into_gpt(gpt: GPTModel, params: dict) -> None:
    """Copy the weights in `params` into the model `gpt`, in place.

    `out_head` gets a copy of the token embedding, as GPT-2 shares the two. Raises ValueError,
    before anything is changed, when names or shapes don't fit.
    """
    n_vocab, d = params["wte"].shape
    sizes = {"n_vocab": n_vocab, "n_ctx": len(params["wpe"])}
    sizes |= {"n_embd": d, "n_layer": len(params["blocks"])}
    new = {}
    for variable in checkpoint_variables(sizes):
        array = params
        for key in variable.path:
            array = array[key]
        new |= variable.split(torch.from_numpy(np.asarray(array, dtype=np.float32)))
    new["out_head.weight"] = new["tok_emb.weight"]

    expected = {}
    for name, tensor in gpt.state_dict().items():
        if not name.endswith(".mask"):  # which a model of the book's own class stores, too
            expected[name] = tuple(tensor.shape)
    wrong = differences({name: tuple(tensor.shape) for name, tensor in new.items()}, expected)
    if wrong:
        raise ValueError(f"the checkpoint doesn't fit the model: {wrong}")
    gpt.load_state_dict(new, strict=False)


# --- find and download ----------------------------------------------------------------------------


def find_checkpoint(size: str, models_dir: str | Path = "gpt2", sources=SOURCES) -> Path:
    """Return the folder of the checkpoint of this size.

    What `models_dir/size` lacks is downloaded first. Raises ValueError for an unknown size,
    DownloadError when a file is missing and no source has it.
    """
    one_of("the model's size", size, [model_size(name) for name in MODEL_CONFIGS])
    if size == BUNDLED_SIZE:
        return BUNDLED_CHECKPOINT
    folder = Path(models_dir) / size
    for name, sha256 in FILES.items():
        if not (folder / name).exists():
            try:
                download([f"{source}/{size}/{name}" for source in sources], folder / name, sha256)
            except DownloadError as error:
                raise DownloadError(
                    f"{name} of GPT-2 {size} is missing in {folder} and {error}\n"
                    "Check the connection and call again (what has come is kept), put the file "
                    f"into {folder}, or work offline: CHOOSE_MODEL = 'gpt2-nano (12M)'"
                ) from error
    return folder


# --- read and check -------------------------------------------------------------------------------


def read_settings(folder: str | Path) -> dict:
    """Return `hparams.json` of a checkpoint folder as a dictionary.

    Raises OSError for a folder that lacks it, ValueError for anything else than five sizes.
    """
    path = Path(folder) / "hparams.json"
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
        return {key: int(loaded[key]) for key in HPARAMS}
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(
            f"{path} must give {', '.join(HPARAMS)} as whole numbers ({error!r}); "
            f"{_remedy(path.parent)}"
        ) from error


def read_checkpoint(folder: str | Path) -> tuple[dict, dict]:
    """Read a checkpoint folder whole; return `(settings, params)` as `download_and_load_gpt2` does.

    Raises OSError without `hparams.json`; ValueError when a variable is missing, extra,
    misshapen, damaged or not finite: nothing is returned half-read.
    """
    settings = read_settings(folder)
    params = {"blocks": [{} for _ in range(settings["n_layer"])]}
    for variable, array in read_variables(Path(folder), settings):
        *path, last = variable.path
        tree = params
        for key in path:
            tree = tree[key] if isinstance(tree, list) else tree.setdefault(key, {})
        tree[last] = array
    return settings, params


def read_variables(folder: Path, settings: dict) -> Iterator[tuple[Variable, np.ndarray]]:
    """Check that a checkpoint holds what it should; then yield the variables one by one.

    Their values are float32, (rows, columns) where the checkpoint has (1, rows, columns).
    """
    tf = import_tensorflow()
    path = (folder / "model.ckpt").as_posix()
    if GLOBBED.search(path):  # from a notebook within such a folder, a relative path does without
        path = Path(os.path.relpath(folder.resolve() / "model.ckpt")).as_posix()
        if GLOBBED.search(path):
            raise ValueError(
                f"TensorFlow can't read from {folder}, for one of * ? [ ] \\ in its path; rename "
                "that folder, or start from within it"
            )
    damaged = f"the checkpoint in {folder} is damaged or not whole; {_remedy(folder)}"
    unreadable = (tf.errors.OpError, ValueError, RuntimeError, LookupError)
    try:
        reader = tf.train.load_checkpoint(path)
    except unreadable as error:
        raise ValueError(f"{damaged} ({error})") from error

    table = checkpoint_variables(settings)
    found = {name: tuple(shape) for name, shape in reader.get_variable_to_shape_map().items()}
    wrong = differences(found, {variable.name: variable.shape for variable in table})
    if wrong:
        raise ValueError(f"the checkpoint in {folder} doesn't fit its hparams.json: {wrong}")

    for variable in table:
        try:
            array = reader.get_tensor(variable.name)
        except unreadable as error:
            raise ValueError(f"{damaged} ({variable.name}: {error})") from error
        array = array.reshape(variable.shape[-2:]).astype(np.float32, copy=False)
        # the extremes tell of every NaN and infinity; a mask of all values would be an array more
        if not np.isfinite([array.min(), array.max()]).all():
            raise ValueError(
                f"{variable.name} in {folder} holds values that are not finite; {_remedy(folder)}"
            )
        yield variable, array


def import_tensorflow():
    """Return the module tensorflow, imported without its start-up log.

    It takes seconds, so only what reads or writes a checkpoint calls this.
    """
    # Triton, which torch's CUDA builds import when first needed, must come first: after TensorFlow
    # 2.20 or 2.21 it crashes the interpreter (github.com/tensorflow/tensorflow/issues/124205)
    with contextlib.suppress(ImportError):
        import triton  # noqa: F401
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # the log comes from native code, before any setting of TensorFlow's holds, so it is caught at
    # the file descriptor
    stderr = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        import tensorflow
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
    return tensorflow


def _remedy(folder: Path) -> str:
    if folder == BUNDLED_CHECKPOINT:
        return "it came with the course: restore it with `git checkout helpers/assets`"
    return f"if it was downloaded, delete {folder} and load again; else restore it"


def differences(found: dict, expected: dict) -> str:
    """Return which values of two dictionaries differ, in words; nothing where all are the same."""
    wrong = []
    for name in sorted(found.keys() | expected.keys()):
        is_now, should_be = found.get(name, "absent"), expected.get(name, "absent")
        if is_now != should_be:
            wrong.append(f"{name} is {is_now} instead of {should_be}")
    if len(wrong) > 5:
        wrong[5:] = [f"and {len(wrong) - 5} more"]
    return "; ".join(wrong)
