"""What a page needs to run, and to fine-tune, the bundled GPT-2 without Python: see site/try.html."""

import base64
import json
import re

import wasmtime
from safetensors.torch import save

from helpers.config import BUNDLED_CHECKPOINT, END_OF_TEXT
from helpers.data import load_splits
from helpers.loading import load_pretrained
from helpers.model import GPTModel
from workshop import ASSETS

IMPORT = re.compile(r'(?<=from )"\./(\w+\.mjs)"')


def module_text(name: str) -> str:
    """Return a module of `workshop/assets` in which the modules that it imports are contained."""
    text = (ASSETS / name).read_text(encoding="utf-8")
    return IMPORT.sub(lambda match: f'"{module_address(match[1])}"', text)


def module_address(name: str) -> str:
    """Return a module as a data address: a page that is opened from a disk may import no files."""
    text = base64.b64encode(module_text(name).encode()).decode()
    return f"data:text/javascript;base64,{text}"


def compact_weights(model: GPTModel) -> bytes:
    """Return a classifier's or GPT-2's weights in float16, as a safetensors file.

    The names are those of the state_dict. A language-model head is left out, as a classifier gets
    one of its own. Embeddings in whole numbers of 8 bits would make the file of the nano 15 MB
    instead of 25, but the logits of a classifier then change by up to 0.5, not by 0.002.
    """
    tensors = {}
    for name, parameter in model.named_parameters():
        if name != "out_head.weight" or len(parameter) <= END_OF_TEXT:
            tensors[name] = parameter.detach().half()
    return save(tensors, {name: str(model.cfg[name]) for name in ("n_layers", "n_heads")})


def kernel() -> bytes:
    """Return product.wat as WebAssembly."""
    return bytes(wasmtime.wat2wasm((ASSETS / "product.wat").read_text(encoding="utf-8")))


def model_script() -> str:
    """Return a script that gives a page the bundled model, its tokenizer and the messages."""
    names, splits = ("train", "validation", "test"), load_splits("sms-mini")
    texts = {}
    for name, split in zip(names, splits, strict=True):
        texts[name] = {"texts": list(split["Text"]), "labels": split["Label"].tolist()}
    content = {
        "weights": base64.b64encode(compact_weights(load_pretrained("gpt2-nano (12M)"))).decode(),
        "kernel": base64.b64encode(kernel()).decode(),
        "merges": (BUNDLED_CHECKPOINT / "vocab.bpe").read_text(encoding="utf-8"),
        "texts": texts,
    }
    return f"globalThis.course = {json.dumps(content)};\n"  # in ASCII: a byte a character
