"""Write a model as a checkpoint folder in OpenAI's format, which `helpers.loading` reads.

The bundled nano was written so: whoever has only it runs the same code as who downloads GPT-2.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import torch

from helpers.config import BUNDLED_CHECKPOINT
from helpers.files import whole_folder
from helpers.loading import FILES, HPARAMS, checkpoint_variables, import_tensorflow
from helpers.model import GPTModel

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
