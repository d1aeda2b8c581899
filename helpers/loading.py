"""A checkpoint in OpenAI's format: find it, download it, read it, check it, put it into the model.

Such a folder holds `hparams.json` (the sizes), `encoder.json` and `vocab.bpe` (the
tokenizer) and a TensorFlow checkpoint with variables such as `model/wte` and
`model/h0/attn/c_attn/w`. Format: `src/model.py` and `download_model.py` of OpenAI's gpt-2
repository. The nested `params` are those of the book's chapter 5.
"""

import contextlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from helpers.config import BUNDLED_CHECKPOINT, BUNDLED_SIZE, MODEL_CONFIGS, gpt_config, model_size
from helpers.download import DownloadError, download
from helpers.files import file_sha256, whole_file
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
}  # model.ckpt.meta, TensorFlow's graph, is read by nothing here
OWN_FILES = {*FILES, "model.ckpt.meta", "model.safetensors"}  # what a checkpoint's folder may hold

HPARAMS = {  # OpenAI's name of a size → the book's
    "n_vocab": "vocab_size",
    "n_ctx": "context_length",
    "n_embd": "emb_dim",
    "n_head": "n_heads",
    "n_layer": "n_layers",
}


# --- the table -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Variable:
    """A variable of OpenAI's checkpoint, and where its numbers go.

    `path` is its place in the book's nested `params`; `parameters` are ours, several where it holds
    them side by side. `shape` is the stored one. A matrix of a block is stored (1, in, out), as
    OpenAI multiplies x @ w; `torch.nn.Linear` keeps (out, in), as it multiplies x @ weight.T.
    """

    name: str
    path: tuple[str | int, ...]
    parameters: tuple[str, ...]
    shape: tuple[int, ...]

    @property
    def is_turned(self) -> bool:
        return len(self.shape) == 3


def checkpoint_variables(settings: dict) -> list[Variable]:
    """Return all variables of a checkpoint with these `hparams`."""
    d = settings["n_embd"]
    variables = [
        Variable("model/wte", ("wte",), ("tok_emb.weight",), (settings["n_vocab"], d)),
        Variable("model/wpe", ("wpe",), ("pos_emb.weight",), (settings["n_ctx"], d)),
        Variable("model/ln_f/g", ("g",), ("final_norm.scale",), (d,)),
        Variable("model/ln_f/b", ("b",), ("final_norm.shift",), (d,)),
    ]
    block = {  # name → shape, parameters
        "attn/c_attn/w": (
            (1, d, 3 * d), "att.W_query.weight", "att.W_key.weight", "att.W_value.weight",
        ),
        "attn/c_attn/b": ((3 * d,), "att.W_query.bias", "att.W_key.bias", "att.W_value.bias"),
        "attn/c_proj/w": ((1, d, d), "att.out_proj.weight"),
        "attn/c_proj/b": ((d,), "att.out_proj.bias"),
        "mlp/c_fc/w": ((1, d, 4 * d), "ff.layers.0.weight"),
        "mlp/c_fc/b": ((4 * d,), "ff.layers.0.bias"),
        "mlp/c_proj/w": ((1, 4 * d, d), "ff.layers.2.weight"),
        "mlp/c_proj/b": ((d,), "ff.layers.2.bias"),
        "ln_1/g": ((d,), "norm1.scale"),
        "ln_1/b": ((d,), "norm1.shift"),
        "ln_2/g": ((d,), "norm2.scale"),
        "ln_2/b": ((d,), "norm2.shift"),
    }  # fmt: skip
    for i in range(settings["n_layer"]):
        for name, (shape, *parameters) in block.items():
            ours = tuple(f"trf_blocks.{i}.{parameter}" for parameter in parameters)
            path = ("blocks", i, *name.split("/"))
            variables.append(Variable(f"model/h{i}/{name}", path, ours, shape))
    return variables


def to_parameters(variable: Variable, array: np.ndarray) -> dict[str, torch.Tensor]:
    """Return new float32 tensors for the model, out of a variable's (in, out), (n, d) or (n,)."""
    whole = torch.from_numpy(array)
    tensors = {}
    for name, piece in zip(
        variable.parameters, whole.tensor_split(len(variable.parameters), dim=-1), strict=True
    ):
        turned = piece.T if variable.is_turned else piece
        tensors[name] = turned.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
    return tensors


def from_parameters(variable: Variable, state: dict[str, torch.Tensor]) -> np.ndarray:
    """Return the variable as it is stored, out of the model's tensors."""
    pieces = [state[name].T if variable.is_turned else state[name] for name in variable.parameters]
    return torch.cat(pieces, dim=-1).reshape(variable.shape).numpy()


# --- the quick way --------------------------------------------------------------------------------


def load_pretrained(name: str, models_dir: str | Path = "gpt2") -> GPTModel:
    """Return the pretrained model called `name`, in eval mode, float32, on the CPU.

    `name` is a key of MODEL_CONFIGS. The first call reads the checkpoint with TensorFlow and keeps
    a copy, `models_dir/SIZE/model.safetensors`. Later calls read the copy alone; a checkpoint that
    has changed since is read again.
    """
    cfg, size = gpt_config(name), model_size(name)
    folder = find_checkpoint(size, models_dir)
    settings = read_settings(folder)
    if differing := [k for k, ours in HPARAMS.items() if settings[k] != cfg[ours]]:
        found = ", ".join(f"{k}={settings[k]} (not {cfg[HPARAMS[k]]})" for k in differing)
        raise ValueError(
            f"{folder / 'hparams.json'} is not that of {name!r}: {found}; {_remedy(folder)}"
        )

    _need_files(folder)
    copy = Path(models_dir) / size / "model.safetensors"
    fingerprint = _fingerprint(folder)
    state = _read_copy(copy, fingerprint)
    if state is None:
        state = {}
        for variable, array in _read_variables(folder, settings):
            state |= to_parameters(variable, array)
        _save_copy(state, copy, fingerprint)

    with torch.device("meta"):  # no memory for weights that are about to be replaced
        model = GPTModel(cfg)
    model.load_state_dict(_with_output_head(state), assign=True)
    return model.eval()


def _fingerprint(folder: Path) -> str:
    """Identify a checkpoint's content without reading its tensors.

    The index holds a checksum of each.
    """
    tensors = (folder / TENSORS).stat()
    index, settings = file_sha256(folder / INDEX), file_sha256(folder / "hparams.json")
    return f"{index} {settings} {tensors.st_size} {tensors.st_mtime_ns}"


def _read_copy(copy: Path, fingerprint: str) -> dict[str, torch.Tensor] | None:
    """Return the copy's tensors; None where there is no whole copy of this checkpoint."""
    try:
        with safe_open(copy, framework="pt") as file:
            if (file.metadata() or {}).get("fingerprint") == fingerprint:
                return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no dict)
    except (OSError, SafetensorError):
        pass  # it is made anew from the checkpoint
    return None


def _save_copy(state: dict[str, torch.Tensor], copy: Path, fingerprint: str) -> None:
    try:
        with whole_file(copy) as part:
            save_file(state, part, metadata={"fingerprint": fingerprint})
    except (OSError, SafetensorError) as error:
        warnings.warn(
            f"the quick copy {copy} could not be kept ({error}); the next load takes as long",
            stacklevel=3,
        )


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
    """Put `params` into `gpt`, in place.

    `out_head` gets a copy of the token embedding, as GPT-2 shares the two. Raises ValueError,
    before anything is changed, when names or shapes don't fit.
    """
    new = _with_output_head(_state_dict_of(params))
    own = gpt.state_dict()
    own = {
        key: own[key] for key in own if not key.endswith(".mask")
    }  # a model of the book's own class stores masks
    wrong = [f"{key} is missing" for key in own.keys() - new.keys()]
    wrong += [f"{key} has no place in the model" for key in new.keys() - own.keys()]
    wrong += [
        f"{key} is {tuple(new[key].shape)} in the checkpoint, {tuple(own[key].shape)} in the model"
        for key in own.keys() & new.keys()
        if own[key].shape != new[key].shape
    ]
    if wrong:
        raise ValueError(f"the checkpoint doesn't fit the model: {_few(sorted(wrong))}")
    gpt.load_state_dict(new, strict=False)


def _state_dict_of(params: dict) -> dict[str, torch.Tensor]:
    """Rename and turn the book's nested `params` into the model's tensors, without `out_head`."""
    if not isinstance(params, dict):
        raise TypeError(f"params must be the dictionary of read_checkpoint, not {params!r}")
    if not isinstance(params.get("blocks", ()), Sequence):
        raise ValueError(f"blocks of the checkpoint's params is {params['blocks']!r}, not a list")
    settings = dict.fromkeys(HPARAMS, 1)  # only the depth matters: shapes are checked by the model
    settings["n_layer"] = len(params.get("blocks", ()))
    state = {}
    for variable in checkpoint_variables(settings):
        array = _find(params, variable.path)
        if array.ndim != min(2, len(variable.shape)):
            name = "/".join(map(str, variable.path))
            raise ValueError(f"{name} of the checkpoint's params has the shape {array.shape}")
        state |= to_parameters(variable, array)
    return state


def _find(params: dict, path: tuple[str | int, ...]) -> np.ndarray:
    array, name = params, "/".join(map(str, path))
    try:
        for key in path:
            array = array[key]
    except (LookupError, TypeError):
        raise ValueError(f"the checkpoint's params lack {name}") from None
    if not isinstance(array, np.ndarray):
        kind = type(array).__name__
        raise ValueError(f"{name} of the checkpoint's params is {kind}, not an array")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} of the checkpoint's params holds values that are not finite")
    return array


def _with_output_head(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return state | {"out_head.weight": state["tok_emb.weight"].clone()}


# --- find and download ----------------------------------------------------------------------------


def find_checkpoint(size: str, models_dir: str | Path = "gpt2", sources=SOURCES) -> Path:
    """Return the folder of the checkpoint of this size.

    What `models_dir/size` lacks is downloaded first.
    """
    sizes = [model_size(name) for name in MODEL_CONFIGS]
    if size not in sizes:
        raise ValueError(
            f"unknown model size {size!r}; choose one of {', '.join(map(repr, sizes))}"
        )
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
    """Return `hparams.json` as a dictionary.

    Raises FileNotFoundError, or ValueError for what is not five sizes.
    """
    path = Path(folder) / "hparams.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path} is missing: {folder} is not a whole checkpoint folder"
        ) from None
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); {_remedy(Path(folder))}") from None
    for key in HPARAMS:
        if (
            not isinstance(settings, dict)
            or not isinstance(settings.get(key), int)
            or settings[key] < 1
        ):
            raise ValueError(
                f"{path} must give {', '.join(HPARAMS)} as whole numbers; "
                f"{key} is wrong in {settings!r}"
            )
    return settings


def read_checkpoint(folder: str | Path) -> tuple[dict, dict]:
    """Read a checkpoint folder whole; return `(settings, params)` as `download_and_load_gpt2` does.

    Raises FileNotFoundError for a missing file; ValueError when a variable is missing, extra,
    misshapen, damaged or not finite: nothing is returned half-read.
    """
    folder = Path(folder)
    settings = read_settings(folder)
    params: dict = {"blocks": [{} for _ in range(settings["n_layer"])]}
    for variable, array in _read_variables(folder, settings):
        tree = params
        for key in variable.path[:-1]:
            tree = tree[key] if isinstance(tree, list) else tree.setdefault(key, {})
        tree[variable.path[-1]] = array
    return settings, params


def _read_variables(folder: Path, settings: dict) -> Iterator[tuple[Variable, np.ndarray]]:
    """Yield one variable after the other and its numbers, float32 (in, out), (n, d) or (n,).

    All names and shapes are checked first. Whoever does not hold on to the arrays needs the memory
    of one. Raises what `read_checkpoint` raises.
    """
    _need_files(folder)
    tf = import_tensorflow()

    def ask(question, name):
        try:
            return question(name)
        except (tf.errors.OpError, ValueError, RuntimeError, LookupError) as error:
            # the reader raises any of these
            raise ValueError(
                f"the checkpoint in {folder} is damaged or cut short ({name}: {error}); "
                f"{_remedy(folder)}"
            ) from error

    with _prefix_for_tensorflow(folder) as prefix:
        reader = ask(tf.train.load_checkpoint, prefix)
        variables = checkpoint_variables(settings)
        _check_variables(folder, variables, reader.get_variable_to_shape_map())
        for variable in variables:
            array = ask(reader.get_tensor, variable.name).astype(np.float32, copy=False)
            if not np.isfinite(array).all():
                raise ValueError(
                    f"{variable.name} in {folder} holds values that are not finite; "
                    f"{_remedy(folder)}"
                )
            yield variable, array.reshape(variable.shape[-2:])


@contextlib.contextmanager
def _prefix_for_tensorflow(folder: Path) -> Iterator[str]:
    """Yield the prefix by which TensorFlow finds the checkpoint's files.

    It takes the prefix for a pattern, in which [ ] and a backslash mean something else, and has no
    way to escape them. Such a folder is read through links in a folder with a plain name.
    """
    special = "[]" if os.sep == "\\" else "[]\\"
    if not set(special) & set(str(folder.absolute())):
        yield str(folder / "model.ckpt")
        return
    with tempfile.TemporaryDirectory() as plain:
        for name in (INDEX, TENSORS):
            try:
                os.symlink((folder / name).absolute(), Path(plain, name))
            except OSError:  # Windows lets only some people make links
                shutil.copy(folder / name, plain)
        yield str(Path(plain, "model.ckpt"))


def import_tensorflow():
    """Import TensorFlow without its start-up log.

    It takes seconds, so only what reads or writes a checkpoint calls this. The log comes from
    native code, before any setting of TensorFlow's holds, so it is caught at the file descriptor.
    Triton, which torch's CUDA builds import when first needed, must come first: after TensorFlow
    2.20 or 2.21 it crashes the interpreter (github.com/tensorflow/tensorflow/issues/124205).
    """
    with contextlib.suppress(ImportError):
        import triton  # noqa: F401
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    stderr = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        import tensorflow
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
    return tensorflow


def _need_files(folder: Path) -> None:
    for name in (INDEX, TENSORS):
        if not (folder / name).exists():
            raise FileNotFoundError(
                f"{folder / name} is missing: {folder} is not a whole checkpoint; {_remedy(folder)}"
            )


def _remedy(folder: Path) -> str:
    if folder == BUNDLED_CHECKPOINT:
        return "it came with the course: restore it with `git checkout helpers/assets`"
    return f"if it was downloaded, delete {folder} and load again; else restore it"


def _check_variables(folder: Path, variables: list[Variable], found: dict) -> None:
    """Raise ValueError where the names and shapes `found` are not those of the `variables`."""
    expected = {variable.name: variable.shape for variable in variables}
    found = {name: tuple(shape) for name, shape in found.items()}
    missing = [f"{name} is missing" for name in expected if name not in found]
    extra = [f"{name} is not part of such a model" for name in found if name not in expected]
    misshapen = [
        f"{name} is {found[name]} instead of {shape}"
        for name, shape in expected.items()
        if found.get(name, shape) != shape
    ]
    if wrong := [_few(problems) for problems in (missing, extra, misshapen) if problems]:
        raise ValueError(
            f"the checkpoint in {folder} doesn't fit its hparams.json: {'; '.join(wrong)}"
        )


def _few(problems: list[str], most: int = 5) -> str:
    more = f"; and {len(problems) - most} more" if len(problems) > most else ""
    return "; ".join(problems[:most]) + more
