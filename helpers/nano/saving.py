"""Write a model as a checkpoint in OpenAI's format, as `helpers/loading.py` reads it."""

import json
import shutil
from pathlib import Path

import numpy as np
import torch

from helpers.config import BUNDLED_CHECKPOINT
from helpers.files import whole_folder
from helpers.loading import (
    HPARAMS,
    OWN_FILES,
    checkpoint_variables,
    from_parameters,
    import_tensorflow,
)
from helpers.model import GPTModel


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
            f"out_head {tuple(head.shape)} differs from tok_emb {tuple(embedding.shape)}: "
            "OpenAI's format shares them"
        )

    settings = {theirs: model.cfg[ours] for theirs, ours in HPARAMS.items()}
    arrays = {}
    for variable in checkpoint_variables(settings):
        with np.errstate(over="ignore"):
            array = from_parameters(variable, state).astype(dtype)
        if not np.isfinite(array).all():
            raise ValueError(
                f"{variable.name} has values that are not finite in {dtype}; save as float32, or "
                "check the training"
            )
        arrays[variable.name] = array

    folder = Path(folder)
    if folder.exists() and not (
        folder.is_dir() and {path.name for path in folder.iterdir()} <= OWN_FILES
    ):
        raise ValueError(
            f"{folder} holds something else than a checkpoint, which saving would delete; "
            "choose another"
        )
    with whole_folder(folder) as part:
        _write_checkpoint(part, arrays, settings)
    return folder


def _write_checkpoint(part: Path, arrays: dict[str, np.ndarray], settings: dict) -> None:
    names, tf = sorted(arrays), import_tensorflow()
    try:
        tf.raw_ops.SaveV2(
            prefix=str(part / "model.ckpt"),
            tensor_names=names,
            shape_and_slices=[""] * len(names),
            tensors=[tf.constant(arrays[name]) for name in names],
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
