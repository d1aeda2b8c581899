"""A checkpoint in OpenAI's format: find it, download it, read it, check it, put it into the model.

Such a folder holds `hparams.json` (the sizes), `encoder.json` and `vocab.bpe` (the
tokenizer) and a TensorFlow checkpoint with variables such as `model/wte` and
`model/h0/attn/c_attn/w`. Format: `src/model.py` and `download_model.py` of OpenAI's gpt-2
repository. The nested `params` are those of the book's chapter 5.
"""

import contextlib
import json
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from helpers.checks import instance_of
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
}  # model.ckpt.meta, TensorFlow's graph, is read by nothing here


HPARAMS = {
    "n_vocab": "vocab_size",
    "n_ctx": "context_length",
    "n_embd": "emb_dim",
    "n_head": "n_heads",
    "n_layer": "n_layers",
}


LARGEST_HEADER = 1 << 20  # bytes; that of a kept copy of gpt2-xl, the largest, has under 100,000


# in a path, TensorFlow stumbles over each of these
GLOBBED = re.compile(r"[*?\[\]\\\ud800-\udfff]")


# --- which number goes where ----------------------------------------------------------------------


class Variable(NamedTuple):
    """A variable of the checkpoint, and what it is called elsewhere."""

    name: str  # TensorFlow's
    path: tuple[str | int, ...]  # the keys that lead to it in the book's `params`
    parameters: tuple[str, ...]  # our names; several are held side by side in one variable
    shape: tuple[int, ...]  # in the checkpoint; in `params` a matrix has no leading 1

    def split(self, values: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return our parameters, each a view of `values`, which have the shape that `params` has.

        OpenAI multiplies x @ w, torch.nn.Linear x @ weight.T: a matrix is the other way round.
        """
        pieces = values.tensor_split(len(self.parameters), dim=-1)
        if self._is_matrix:
            pieces = [piece.T for piece in pieces]
        return dict(zip(self.parameters, pieces, strict=True))

    def join(self, weights: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the values, with the shape of the checkpoint: what `split` takes apart."""
        pieces = [weights[name] for name in self.parameters]
        if self._is_matrix:
            pieces = [piece.T for piece in pieces]
        return torch.cat(pieces, dim=-1).reshape(self.shape)

    @property
    def _is_matrix(self) -> bool:
        return len(self.shape) == 3  # (1, rows, columns); an embedding has two dimensions


def checkpoint_variables(settings: dict) -> list[Variable]:
    """Return all variables of a checkpoint with these `hparams`: the one table of names and shapes.

    The names are those of `src/model.py` of OpenAI's gpt-2 repository, of the book's chapter 5, and
    of `GPTModel`.
    """
    d = settings["n_embd"]
    # fmt: off
    table = [
        Variable("model/wte",    ("wte",), ("tok_emb.weight",),   (settings["n_vocab"], d)),
        Variable("model/wpe",    ("wpe",), ("pos_emb.weight",),   (settings["n_ctx"], d)),
        Variable("model/ln_f/g", ("g",),   ("final_norm.scale",), (d,)),
        Variable("model/ln_f/b", ("b",),   ("final_norm.shift",), (d,)),
    ]
    weights = ("att.W_query.weight", "att.W_key.weight", "att.W_value.weight")
    biases = ("att.W_query.bias", "att.W_key.bias", "att.W_value.bias")
    block = [  # model/h{i}/…, params["blocks"][i]…, trf_blocks.{i}.…
        ("ln_1/g",        ("ln_1", "g"),           ("norm1.scale",),         (d,)),
        ("ln_1/b",        ("ln_1", "b"),           ("norm1.shift",),         (d,)),
        ("attn/c_attn/w", ("attn", "c_attn", "w"), weights,                  (1, d, 3 * d)),
        ("attn/c_attn/b", ("attn", "c_attn", "b"), biases,                   (3 * d,)),
        ("attn/c_proj/w", ("attn", "c_proj", "w"), ("att.out_proj.weight",), (1, d, d)),
        ("attn/c_proj/b", ("attn", "c_proj", "b"), ("att.out_proj.bias",),   (d,)),
        ("ln_2/g",        ("ln_2", "g"),           ("norm2.scale",),         (d,)),
        ("ln_2/b",        ("ln_2", "b"),           ("norm2.shift",),         (d,)),
        ("mlp/c_fc/w",    ("mlp", "c_fc", "w"),    ("ff.layers.0.weight",),  (1, d, 4 * d)),
        ("mlp/c_fc/b",    ("mlp", "c_fc", "b"),    ("ff.layers.0.bias",),    (4 * d,)),
        ("mlp/c_proj/w",  ("mlp", "c_proj", "w"),  ("ff.layers.2.weight",),  (1, 4 * d, d)),
        ("mlp/c_proj/b",  ("mlp", "c_proj", "b"),  ("ff.layers.2.bias",),    (d,)),
    ]
    # fmt: on
    for i in range(settings["n_layer"]):
        for name, path, ours, shape in block:
            parameters = tuple(f"trf_blocks.{i}.{parameter}" for parameter in ours)
            table.append(Variable(f"model/h{i}/{name}", ("blocks", i, *path), parameters, shape))
    return table


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
    with torch.device("meta"):  # no memory for weights that are about to be replaced
        model = GPTModel(cfg)
    copy = Path(models_dir) / size / "model.safetensors"
    fingerprint = _fingerprint(folder)
    weights = _read_copy(copy, fingerprint, model)
    if weights is None:
        weights = _read_weights(folder, settings)
        _keep_copy(weights, copy, fingerprint)
    weights["out_head.weight"] = weights["tok_emb.weight"].clone()
    model.load_state_dict(weights, assign=True)
    return model.eval()


def _read_weights(folder: Path, settings: dict) -> dict[str, torch.Tensor]:
    """Read a checkpoint straight into the model's tensors, without `out_head`.

    Memory holds the weights once, and besides them one variable of a block. The embeddings are
    taken as they come: the largest of all would be there twice, for TensorFlow doesn't give memory
    back to the system.
    """
    weights = {}
    for variable, array in _read_variables(folder, settings):
        for name, view in variable.split(torch.from_numpy(array)).items():
            as_it_comes = view.is_contiguous() and view.numel() == array.size
            weights[name] = (
                view if as_it_comes else view.clone(memory_format=torch.contiguous_format)
            )
    return weights


def _fingerprint(folder: Path) -> str:
    """Identify a checkpoint's content without reading its tensors.

    The index holds a checksum of each.
    """
    tensors = (folder / TENSORS).stat()
    index, settings = file_sha256(folder / INDEX), file_sha256(folder / "hparams.json")
    return f"{index} {settings} {tensors.st_size} {tensors.st_mtime_ns}"


def _read_copy(copy: Path, fingerprint: str, model: GPTModel) -> dict[str, torch.Tensor] | None:
    """Return the weights in `copy`, or None where there is no copy of this checkpoint.

    No memory is taken for what a damaged or foreign file only says that it holds.
    """
    expected = model.state_dict()  # on the meta device: names and shapes
    del expected["out_head.weight"]
    size = sum(tensor.nbytes for tensor in expected.values())
    expected = {name: ("F32", tuple(tensor.shape)) for name, tensor in expected.items()}
    try:
        if not os.path.lexists(copy):
            return None
        if not copy.is_file():
            raise ValueError("it is not a file")
        with open(copy, "rb") as file:
            header = int.from_bytes(file.read(8), "little")
        found_size = copy.stat().st_size
        if header > LARGEST_HEADER or found_size != 8 + header + size:
            raise ValueError(f"it has {found_size:,} bytes, of which its header takes {header:,}")
        with safe_open(copy, framework="pt") as file:
            if (file.metadata() or {}).get("fingerprint") != fingerprint:
                return None  # of a checkpoint that has changed since
            found = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            found = {n: (s.get_dtype(), tuple(s.get_shape())) for n, s in found.items()}
            if found != expected:
                raise ValueError("it holds other tensors than the model has")
            return {name: file.get_tensor(name) for name in expected}
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        warnings.warn(
            f"{copy} is not the copy of a checkpoint that it should be ({error}); "
            "the checkpoint is read again",
            stacklevel=3,
        )
    return None


def _keep_copy(weights: dict[str, torch.Tensor], copy: Path, fingerprint: str) -> None:
    try:
        with whole_file(copy) as part:
            _write_safetensors(weights, part, {"fingerprint": fingerprint})
    except OSError as error:
        warnings.warn(
            f"the quick copy {copy} could not be kept ({error}); the next load takes as long",
            stacklevel=3,
        )


def _write_safetensors(weights: dict[str, torch.Tensor], path: Path, metadata: dict) -> None:
    """Write float32 tensors as a safetensors file: the header's length in 8 bytes, a header in
    JSON, and the tensors' bytes (github.com/huggingface/safetensors, "Format").

    The library's own `save_file` copies all tensors at once before version 0.7, which doubles the
    memory that a first load needs.
    """
    header, end = {"__metadata__": metadata}, 0
    for name, tensor in weights.items():
        start, end = end, end + tensor.nbytes
        header[name] = {
            "dtype": "F32",
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in weights.values():
            file.write(tensor.numpy())


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
    before anything is changed, when names or shapes don't fit; TypeError when `params` is not a
    dictionary.
    """
    instance_of("gpt", gpt, torch.nn.Module, "a GPTModel")
    new = _weights_in(params)
    new["out_head.weight"] = new["tok_emb.weight"]
    own = gpt.state_dict()
    # a model of the book's own class stores masks
    own = {key: own[key] for key in own if not key.endswith(".mask")}
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


def _weights_in(params: dict) -> dict[str, torch.Tensor]:
    """Return the book's `params` as float32 tensors by our names, without `out_head`; views where
    they can be.
    """
    if not isinstance(params, dict):
        found = type(params).__name__ if params else params  # of a pair, not its million numbers
        raise TypeError(f"params must be the dictionary of read_checkpoint, not {found}")
    blocks = params.get("blocks", [])
    if not isinstance(blocks, list | tuple):
        raise ValueError(f"blocks of the checkpoint's params is {blocks!r}, not a list")

    (n_vocab, d), (n_ctx, _) = (_matrix_shape(params, name) for name in ("wte", "wpe"))
    sizes = {"n_vocab": n_vocab, "n_ctx": n_ctx, "n_embd": d, "n_layer": len(blocks)}
    weights = {}
    for variable in checkpoint_variables(sizes):
        array = _array_at(params, variable.path)
        what = f"{'/'.join(map(str, variable.path))} of the checkpoint's params"
        if array.shape != variable.shape[-2:] or not array.size:
            raise ValueError(
                f"{what} has the shape {array.shape}; with wte {(n_vocab, d)} it must be "
                f"{variable.shape[-2:]}"
            )
        weights |= variable.split(torch.from_numpy(np.ascontiguousarray(_finite(array, what))))
    return weights


def _matrix_shape(params: dict, name: str) -> tuple[int, int]:
    shape = _array_at(params, (name,)).shape
    if len(shape) != 2:
        raise ValueError(f"{name} of the checkpoint's params has the shape {shape}")
    return shape


def _array_at(params: dict, path: tuple[str | int, ...]) -> np.ndarray:
    tree, name = params, "/".join(map(str, path))
    try:
        for key in path:
            tree = tree[key]
    except (LookupError, TypeError):
        raise ValueError(f"the checkpoint's params lack {name}") from None
    if not isinstance(tree, np.ndarray):
        raise ValueError(
            f"{name} of the checkpoint's params is {type(tree).__name__}, not an array"
        )
    return tree


def _finite(array: np.ndarray, what: str, remedy: str = "") -> np.ndarray:
    """Return `array` as float32, the same one where it is. Raises ValueError for what is no finite
    number.
    """
    try:
        with np.errstate(over="ignore"):
            array = array.astype(np.float32, copy=False)
    except (TypeError, ValueError):
        raise ValueError(f"{what} holds {array.dtype} instead of numbers{remedy}") from None
    # the extremes tell of every NaN and infinity; a mask of all values would be an array more
    if not np.isfinite([array.min(), array.max()]).all():
        raise ValueError(f"{what} holds values that are not finite{remedy}")
    return array


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
        size = settings.get(key) if isinstance(settings, dict) else None
        if type(size) is not int or size < 1:  # true is an int, too
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
    params = {"blocks": [{} for _ in range(settings["n_layer"])]}
    for variable, array in _read_variables(folder, settings):
        *path, last = variable.path
        tree = params
        for key in path:
            tree = tree.setdefault(key, {}) if isinstance(tree, dict) else tree[key]
        tree[last] = array
    return settings, params


def _read_variables(folder: Path, settings: dict) -> Iterator[tuple[Variable, np.ndarray]]:
    """Check that a checkpoint holds what it should; then yield the variables one by one, with their
    values in float32, (rows, columns) where the checkpoint has (1, rows, columns).
    """
    _need_files(folder)
    tf = import_tensorflow()

    def ask(question, name):
        try:
            return question(name)
        # the reader raises any of these
        except (tf.errors.OpError, ValueError, RuntimeError, LookupError) as error:
            raise ValueError(
                f"the checkpoint in {folder} is damaged or cut short ({name}: {error}); "
                f"{_remedy(folder)}"
            ) from error

    with _plain_path(folder) as plain:
        reader = ask(tf.train.load_checkpoint, str(plain / "model.ckpt"))
        shapes = {name: tuple(s) for name, s in reader.get_variable_to_shape_map().items()}
        _check_variables(folder, shapes, settings)
        for variable in checkpoint_variables(settings):
            array = ask(reader.get_tensor, variable.name).reshape(variable.shape[-2:])
            yield variable, _finite(array, f"{variable.name} in {folder}", f"; {_remedy(folder)}")


@contextlib.contextmanager
def _plain_path(folder: Path) -> Iterator[Path]:
    """Yield a path to the two TensorFlow files of `folder` that TensorFlow can read from.

    It takes the path for a pattern, so that `course [2026]` finds nothing, and knows no way to
    escape it. Links in a temporary folder do what a change of the working directory would do, but
    without moving the ground under other threads and under relative paths. Where the system allows
    no links, as Windows may, the files are copied.
    """
    if not GLOBBED.search(folder.as_posix()):
        yield folder
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as plain:
        if GLOBBED.search(Path(plain).as_posix()):
            raise ValueError(
                f"TensorFlow can't read from {folder}, for one of * ? [ ] \\ in its path, and the "
                f"folder for temporary files, {tempfile.gettempdir()}, is no way round, for the "
                "same reason; set the environment variable TMPDIR to another folder"
            )
        for name in (INDEX, TENSORS):
            for make in (os.symlink, os.link, shutil.copyfile):
                try:
                    make((folder / name).resolve(), Path(plain, name))
                    break
                except OSError:
                    if make is shutil.copyfile:
                        raise
        yield Path(plain)


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


def _check_variables(folder: Path, found: dict, settings: dict) -> None:
    expected = {variable.name: variable.shape for variable in checkpoint_variables(settings)}
    missing = [f"{name} is missing" for name in expected if name not in found]
    extra = [f"{name} is not part of such a model" for name in found if name not in expected]
    misshapen = [
        f"{name} is {found[name]} instead of {shape}"
        for name, shape in expected.items()
        if found.get(name, shape) != shape
    ]
    if wrong := [_few(kind) for kind in (missing, extra, misshapen) if kind]:
        raise ValueError(
            f"the checkpoint in {folder} doesn't fit its hparams.json: {'; '.join(wrong)}"
        )


def _few(problems: list[str], most: int = 5) -> str:
    more = f"; and {len(problems) - most} more" if len(problems) > most else ""
    return "; ".join(problems[:most]) + more
