"""A checkpoint in OpenAI's format: find it, download it, read it, check it, put it into the model;
or write one.

Such a folder holds `hparams.json` (the sizes), `encoder.json` and `vocab.bpe` (the tokenizer) and a
TensorFlow checkpoint with variables such as `model/wte` and `model/h0/attn/c_attn/w`. Format:
`src/model.py` and `download_model.py` of OpenAI's gpt-2 repository. The nested `params` are those
of the book's chapter 5.
"""

import contextlib
import json
import os
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from helpers.config import BUNDLED_CHECKPOINT, BUNDLED_SIZE, MODEL_CONFIGS, gpt_config, model_size
from helpers.download import DownloadError, download, file_sha256, replace_folder
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

# OpenAI's variable → the model's parameters. Three names share a variable that holds them side by
# side. OpenAI multiplies x @ w, torch.nn.Linear x @ weight.T, so a matrix in a block is stored
# transposed.
BLOCK_VARIABLES = {
    "attn/c_attn/w": ("att.W_query.weight", "att.W_key.weight", "att.W_value.weight"),
    "attn/c_attn/b": ("att.W_query.bias", "att.W_key.bias", "att.W_value.bias"),
    "attn/c_proj/w": ("att.out_proj.weight",),
    "attn/c_proj/b": ("att.out_proj.bias",),
    "mlp/c_fc/w": ("ff.layers.0.weight",),
    "mlp/c_fc/b": ("ff.layers.0.bias",),
    "mlp/c_proj/w": ("ff.layers.2.weight",),
    "mlp/c_proj/b": ("ff.layers.2.bias",),
    "ln_1/g": ("norm1.scale",),
    "ln_1/b": ("norm1.shift",),
    "ln_2/g": ("norm2.scale",),
    "ln_2/b": ("norm2.shift",),
}
TOP_VARIABLES = {
    "wte": "tok_emb.weight",
    "wpe": "pos_emb.weight",
    "ln_f/g": "final_norm.scale",
    "ln_f/b": "final_norm.shift",
}
HPARAMS = {
    "n_vocab": "vocab_size",
    "n_ctx": "context_length",
    "n_embd": "emb_dim",
    "n_head": "n_heads",
    "n_layer": "n_layers",
}


# --- the quick way --------------------------------------------------------------------------------


def load_pretrained(name: str, models_dir: str | Path = "gpt2") -> GPTModel:
    """Return the pretrained model called `name` (a key of MODEL_CONFIGS), in eval mode, float32, on
    the CPU.

    The first call reads the checkpoint with TensorFlow and keeps a copy,
    `models_dir/SIZE/model.safetensors`. Later calls read the copy alone; a checkpoint that has
    changed since is read again.
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
        state = _state_dict_of(read_checkpoint(folder)[1])
        _keep_copy(state, copy, fingerprint)

    with torch.device("meta"):  # no memory for weights that are about to be replaced
        model = GPTModel(cfg)
    model.load_state_dict(_with_output_head(state), assign=True)
    return model.eval()


def _fingerprint(folder: Path) -> str:
    """Identify a checkpoint's content without reading its tensors: the index holds a checksum of
    each.
    """
    tensors = (folder / TENSORS).stat()
    index, settings = file_sha256(folder / INDEX), file_sha256(folder / "hparams.json")
    return f"{index} {settings} {tensors.st_size} {tensors.st_mtime_ns}"


def _read_copy(copy: Path, fingerprint: str) -> dict[str, torch.Tensor] | None:
    try:
        with safe_open(copy, framework="pt") as file:
            if (file.metadata() or {}).get("fingerprint") == fingerprint:
                return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (
        FileNotFoundError,
        SafetensorError,
    ):  # none yet, or not whole: it is made from the checkpoint
        pass
    return None


def _keep_copy(state: dict[str, torch.Tensor], copy: Path, fingerprint: str) -> None:
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        part = copy.with_name(copy.name + ".part")
        save_file(state, part, metadata={"fingerprint": fingerprint})
        part.replace(copy)
    except (OSError, SafetensorError) as error:
        warnings.warn(
            f"the quick copy {copy} could not be kept ({error}); the next load takes as long",
            stacklevel=3,
        )


# --- the book's two functions ---------------------------------------------------------------------


def download_and_load_gpt2(
    model_size: str, models_dir: str | Path = "gpt2", sources=SOURCES
) -> tuple[dict, dict]:
    """Return `(settings, params)` of GPT-2 `model_size` ("12M" is bundled; "124M" … "1558M" are
    downloaded once).

    `settings` is `hparams.json`; `params` holds float32 arrays: `params["wte"]` (n_vocab, emb_dim),
    `params["wpe"]`, `params["g"]`, `params["b"]`, and `params["blocks"][i]["attn"]["c_attn"]["w"]`
    (emb_dim, 3·emb_dim), …. Raises ValueError for an unknown size or a checkpoint that is not what
    it should be, DownloadError (an OSError) when a file is missing and no source has it.
    """
    return read_checkpoint(find_checkpoint(model_size, models_dir, sources))


def load_weights_into_gpt(gpt: GPTModel, params: dict) -> None:
    """Put `params` into `gpt`, in place; `out_head` gets a copy of the token embedding, as GPT-2
    shares the two.

    Raises ValueError, before anything is changed, when names or shapes don't fit.
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
    """Rename and turn the book's nested `params` into the model's float32 tensors, without
    `out_head`.
    """

    def find(path):
        tree, name = params, "/".join(map(str, path))
        try:
            for key in path:
                tree = tree[key]
        except LookupError:
            raise ValueError(f"the checkpoint's params lack {name}") from None
        if not isinstance(tree, np.ndarray):
            raise ValueError(
                f"{name} of the checkpoint's params is {type(tree).__name__}, not an array"
            )
        tensor = torch.from_numpy(tree.astype(np.float32, copy=False))
        if not tensor.isfinite().all():
            raise ValueError(f"{name} of the checkpoint's params holds values that are not finite")
        return tensor

    state = {ours: find([theirs.removeprefix("ln_f/")]) for theirs, ours in TOP_VARIABLES.items()}
    for i in range(len(params.get("blocks", ()))):
        for theirs, ours in BLOCK_VARIABLES.items():
            whole = find(["blocks", i, *theirs.split("/")])
            for name, piece in zip(ours, whole.tensor_split(len(ours), dim=-1), strict=True):
                turned = piece.T if piece.ndim == 2 else piece
                state[f"trf_blocks.{i}.{name}"] = turned.clone(
                    memory_format=torch.contiguous_format
                )
    return state


def _with_output_head(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return state | {"out_head.weight": state["tok_emb.weight"].clone()}


# --- find and download ----------------------------------------------------------------------------


def find_checkpoint(size: str, models_dir: str | Path = "gpt2", sources=SOURCES) -> Path:
    """Return the folder of the checkpoint of this size; what `models_dir/size` lacks is downloaded
    first.
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
                    f"{name} of GPT-2 {size} is missing in {folder} and {error}\nCheck the connection and call again "
                    f"(what has come is kept), put the file into {folder}, or work offline: "
                    "CHOOSE_MODEL = 'gpt2-nano (12M)'"
                ) from error
    return folder


# --- read and check -------------------------------------------------------------------------------


def read_settings(folder: str | Path) -> dict:
    """Return `hparams.json` as a dictionary. Raises FileNotFoundError, or ValueError for what is
    not five sizes.
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
                f"{path} must give {', '.join(HPARAMS)} as whole numbers; {key} is wrong in {settings!r}"
            )
    return settings


def expected_shapes(settings: dict) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of every variable that a checkpoint with these `hparams` must
    hold.
    """
    d = settings["n_embd"]
    inner = {
        "attn/c_attn": (d, 3 * d),
        "attn/c_proj": (d, d),
        "mlp/c_fc": (d, 4 * d),
        "mlp/c_proj": (4 * d, d),
    }
    shapes = {"model/wte": (settings["n_vocab"], d), "model/wpe": (settings["n_ctx"], d)}
    shapes |= {"model/ln_f/g": (d,), "model/ln_f/b": (d,)}
    for i in range(settings["n_layer"]):
        for name in BLOCK_VARIABLES:
            layer, kind = name.rsplit("/", 1)
            rows_columns = inner.get(layer, (d, d))
            shapes[f"model/h{i}/{name}"] = (1, *rows_columns) if kind == "w" else rows_columns[1:]
    return shapes


def read_checkpoint(folder: str | Path) -> tuple[dict, dict]:
    """Read a checkpoint folder whole; return `(settings, params)` as `download_and_load_gpt2` does.

    Raises FileNotFoundError for a missing file; ValueError when a variable is missing, extra,
    misshapen, damaged or not finite: nothing is returned half-read.
    """
    folder = Path(folder)
    settings = read_settings(folder)
    _need_files(folder)

    tf = _tensorflow()

    def ask(question, name):
        try:
            return question(name)
        except (
            tf.errors.OpError,
            ValueError,
            RuntimeError,
            LookupError,
        ) as error:  # the reader raises any of these
            raise ValueError(
                f"the checkpoint in {folder} is damaged or cut short ({name}: {error}); {_remedy(folder)}"
            ) from error

    reader = ask(tf.train.load_checkpoint, str(folder / "model.ckpt"))
    _check_variables(
        folder, {k: tuple(v) for k, v in reader.get_variable_to_shape_map().items()}, settings
    )

    params = {"blocks": [{} for _ in range(settings["n_layer"])]}
    for name, shape in expected_shapes(settings).items():
        array = ask(reader.get_tensor, name)
        array = array.astype(np.float32).reshape(shape[-2:])  # [1, rows, columns] → (rows, columns)
        if not np.isfinite(array).all():
            raise ValueError(
                f"{name} in {folder} holds values that are not finite; {_remedy(folder)}"
            )
        *path, last = name.removeprefix("model/").removeprefix("ln_f/").split("/")
        tree = params
        if path and path[0].startswith("h"):
            tree = params["blocks"][int(path.pop(0)[1:])]
        for key in path:
            tree = tree.setdefault(key, {})
        tree[last] = array
    return settings, params


def _tensorflow():
    """Import TensorFlow, which takes seconds, only where a checkpoint is read or written, and
    without its start-up log.

    The log comes from native code, before any setting of TensorFlow's holds, so it is caught at the
    file descriptor. Triton, which torch's CUDA builds import when first needed, must come first:
    after TensorFlow 2.20 or 2.21 it crashes the interpreter
    (github.com/tensorflow/tensorflow/issues/124205).
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
    expected = expected_shapes(settings)
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


# --- write ----------------------------------------------------------------------------------------


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
    state = {name: tensor.detach().float().cpu() for name, tensor in model.state_dict().items()}
    head, embedding = state.get("out_head.weight"), state["tok_emb.weight"]
    if not model.cfg["qkv_bias"]:
        raise ValueError("the model has qkv_bias=False: OpenAI's format needs these biases")
    if "out_head.bias" in state or not torch.equal(head, embedding):
        raise ValueError(
            f"out_head {tuple(head.shape)} differs from tok_emb {tuple(embedding.shape)}: OpenAI's format shares them"
        )

    settings = {theirs: model.cfg[ours] for theirs, ours in HPARAMS.items()}
    variables = {}
    for name, shape in expected_shapes(settings).items():
        _, *path = name.split("/")
        if path[0].startswith("h"):
            pieces = [
                state[f"trf_blocks.{path[0][1:]}.{ours}"]
                for ours in BLOCK_VARIABLES["/".join(path[1:])]
            ]
            tensor = torch.cat([piece.T if piece.ndim == 2 else piece for piece in pieces], dim=-1)
        else:
            tensor = state[TOP_VARIABLES["/".join(path)]]
        with np.errstate(over="ignore"):
            variables[name] = tensor.numpy().reshape(shape).astype(dtype)
        if not np.isfinite(variables[name]).all():
            raise ValueError(
                f"{name} has values that are not finite in {dtype}; save as float32, or check the training"
            )

    folder = Path(folder)
    if folder.exists() and not (
        folder.is_dir() and {path.name for path in folder.iterdir()} <= OWN_FILES
    ):
        raise ValueError(
            f"{folder} holds something else than a checkpoint, which saving would delete; choose another"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{folder.name}.", dir=folder.parent) as beside:
        part = Path(beside) / "new"
        part.mkdir()
        _write_checkpoint(part, variables, settings)
        replace_folder(part, folder)
    return folder


def _write_checkpoint(part: Path, variables: dict[str, np.ndarray], settings: dict) -> None:
    names, tf = sorted(variables), _tensorflow()
    try:
        tf.raw_ops.SaveV2(
            prefix=str(part / "model.ckpt"),
            tensor_names=names,
            shape_and_slices=[""] * len(names),
            tensors=[tf.constant(variables[name]) for name in names],
        )
    except tf.errors.OpError as error:
        raise OSError(
            f"{part.parent} has no room for the checkpoint, or can't be written ({error.message})"
        ) from error
    (part / "checkpoint").write_text(
        'model_checkpoint_path: "model.ckpt"\nall_model_checkpoint_paths: "model.ckpt"\n'
    )
    (part / "hparams.json").write_text(json.dumps(settings, indent=2) + "\n")
    for table in ("encoder.json", "vocab.bpe"):
        shutil.copy(BUNDLED_CHECKPOINT / table, part / table)
