"""The finished classifier: classify texts, save it, load it: the book's section 6.8.

`classify_review` is the book's function. A `TextClassifier` holds a model with all that is needed
to use it, for any classes; `SpamClassifier` is the one of ham and spam. Its file is a safetensors
file whose metadata holds the settings as JSON and a checksum of the weights.
"""

import hashlib
import json
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

import pandas as pd
import tiktoken
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from helpers.checks import one_of, whole_number
from helpers.config import END_OF_TEXT
from helpers.data import LABELS, check_max_length, pad
from helpers.download import whole_file
from helpers.freezing import FreezePlan, adapters_of, replace_head
from helpers.model import GPTModel
from helpers.tokenizer import encode_message, get_tokenizer
from helpers.training import POSITIONS, class_logits, class_vectors

KEY, FORMAT = "text_classifier", 1  # where the settings are in a file; how they are written
CHECKSUM = "sha256"  # where the weights' checksum is; files of older versions have none
NOT_FINITE = "the model's answer is not a number: its weights are damaged; load or train again"
UNREADABLE = (SafetensorError, LookupError, ValueError, TypeError, AttributeError, RuntimeError)
TORCH_FILE = b"PK\x03\x04"  # how the zip archives begin that torch.save writes


def classify_review(
    text, model, tokenizer, device, max_length=None, pad_token_id=END_OF_TEXT
) -> str:
    """Return "spam" or "not spam" for a text, by the logits of the last position, as in the book.

    The text is truncated or padded to `max_length` tokens (None: its own length, at most the
    context). Raises ValueError for an empty text, for a model that does not have two classes, and
    for one whose weights are not finite.
    """
    if model.out_head.out_features != 2:
        raise ValueError(
            f"the model's head has {model.out_head.out_features:,} outputs, and this function needs "
            "2, for ham and spam; see replace_head, and TextClassifier for other classes"
        )
    token_ids = _encode(text, tokenizer, max_length, model.pos_emb.num_embeddings, pad_token_id)
    model.eval()
    with torch.no_grad():
        logits = class_logits(model, torch.tensor([token_ids], device=device))  # (1, 2)
    if not logits.isfinite().all():
        raise ValueError(NOT_FINITE)
    return "spam" if logits.argmax(dim=-1).item() == 1 else "not spam"


def _encode(text, tokenizer, max_length, context_length, pad_token_id=END_OF_TEXT) -> list[int]:
    """Return a text's token ids, truncated with a warning or padded to `max_length`."""
    token_ids = encode_message(text, tokenizer)
    limit = context_length if max_length is None else check_max_length(max_length, context_length)
    if len(token_ids) > limit:
        warnings.warn(
            f"the message has {len(token_ids)} tokens; only its first {limit} are read",
            stacklevel=3,
        )
    if max_length is None:
        return token_ids[:limit]
    return pad(token_ids, limit, pad_token_id)


class TextClassifier:
    """A fine-tuned model with all that is needed to use it.

    `labels` are the names of its classes, in the order of the head's outputs; `max_length` is the
    length, in tokens, to which texts are truncated or padded (that of the training data);
    `position` is the one that it was trained with; `about` is a dictionary of texts that is saved
    along, such as the model's name. Raises ValueError for labels that are not different texts, one
    for each of the head's outputs, for another position, and for a `max_length` beyond the context.
    """

    def __init__(
        self,
        model: GPTModel,
        labels: Sequence[str],
        max_length: int,
        tokenizer: tiktoken.Encoding | None = None,
        position: str = "last",
        about: dict[str, str] | None = None,
    ):
        texts = labels if isinstance(labels, list | tuple) else []
        texts = {label for label in texts if isinstance(label, str) and label.strip()}
        if len(texts) < 2 or len(texts) != len(labels):
            raise ValueError(
                "labels must be a tuple of two or more different texts, one for each class, "
                f"not {labels!r}"
            )
        head = model.out_head
        if head.out_features != len(labels) or head.bias is None:
            raise ValueError(
                f"the model's head has {head.out_features} outputs, and a classifier of "
                f"{len(labels)} classes needs as many, with a bias each; see replace_head"
            )
        one_of("position", position, POSITIONS)
        self.about = about or {}
        if not all(isinstance(text, str) for item in self.about.items() for text in item):
            raise TypeError(f"about must be a dictionary of texts, not {about!r}")
        self.labels = tuple(labels)
        self.max_length = check_max_length(max_length, model.pos_emb.num_embeddings)
        self.model = model.eval()
        self.tokenizer = tokenizer or get_tokenizer()
        self.position = position

    @property
    def device(self) -> torch.device:
        """The device on which the model is."""
        return self.model.tok_emb.weight.device

    def classify(self, text: str) -> str:
        """Return the label of the most probable class.

        Raises ValueError for an empty text; a longer one is truncated, with a warning.
        """
        return self.classify_many([text])[0]

    def classify_many(self, texts: Iterable[str], precision: str = "float32") -> list[str]:
        """Return the label of each text; see `logits`."""
        numbers = self.logits(texts, precision).argmax(dim=-1)  # (len(texts),)
        return [self.labels[number] for number in numbers.tolist()]

    def probabilities(self, texts: Iterable[str], precision: str = "float32") -> torch.Tensor:
        """Return the probabilities of the classes: float32 (len(texts), num_classes).

        They are the softmax of `logits`, which see.
        """
        return self.logits(texts, precision).softmax(dim=-1)

    def logits(self, texts: Iterable[str], precision: str = "float32") -> torch.Tensor:
        """Return the logits of each text: float32 (len(texts), num_classes), on the CPU.

        Texts of like length run together, and the last block runs for the classifying position
        only. `precision` "bfloat16" is faster, and may change the label of a text whose classes are
        nearly equally probable. Raises ValueError for another precision and for an empty text,
        TypeError for anything but a list of texts.
        """
        if isinstance(texts, str | dict | pd.DataFrame) or not isinstance(texts, Iterable):
            raise TypeError(
                "give a list of texts or a table's column of them, "
                f"not a {type(texts).__name__}; classify() takes a single text"
            )
        context_length = self.model.pos_emb.num_embeddings
        rows = [_encode(text, self.tokenizer, self.max_length, context_length) for text in texts]
        return self.logits_of_tokens(rows, precision)

    @torch.no_grad()
    def logits_of_tokens(self, rows: list[list[int]], precision: str = "float32") -> torch.Tensor:
        """Return the logits of texts that are token ids, each of `max_length`: see `logits`.

        This is for those who count the tokens of a text themselves.
        """
        vectors = class_vectors(self.model, rows, self.position, precision)  # (b, emb_dim)
        head = self.model.out_head
        logits = head(vectors.to(head.weight)).float().cpu()  # on its device, in its precision
        if not logits.isfinite().all():
            raise ValueError(NOT_FINITE)
        return logits

    def save(self, path: str | Path) -> Path:
        """Write weights and settings into one safetensors file; return its path.

        Adapters are saved as they are; `lora.merge` gives a model without. An older file stays until
        the new one is whole. Raises ValueError for what `load` would refuse, such as weights that
        are not finite or a model that was changed, OSError when the file can't be written.
        """
        path, adapters = Path(path), adapters_of(self.model)
        settings = {
            "format": FORMAT,
            "cfg": self.model.cfg,
            "labels": self.labels,
            "max_length": self.max_length,
            "position": self.position,
            "about": self.about,
            "causal": [block.att.causal for block in self.model.trf_blocks],
            "adapters": {
                "adapted": sorted(adapters.adapted),
                "rank": adapters.rank,
                "alpha": adapters.alpha,
            },
        }
        text = json.dumps(settings, default=lambda number: number.item())  # numpy's numbers
        tensors = self.model.state_dict()
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        _classifier_of(json.loads(text), tensors)  # raises what `load` would raise
        try:
            with whole_file(path) as part:
                save_file(tensors, part, metadata={KEY: text, CHECKSUM: _checksum(tensors)})
                umask = os.umask(0)  # safetensors gives the file to its owner alone
                os.umask(umask)
                part.chmod(0o666 & ~umask)
        except SafetensorError as error:  # for example, the disk is full
            raise OSError(f"{path} can't be written: {error}") from error
        return path

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Return the classifier from a file that `save` wrote, on the CPU.

        Adapters and the head of a model with adapters are trainable. Raises FileNotFoundError,
        another OSError for a file that can't be opened, and ValueError for a damaged or another
        file and for one of a later version of the course.
        """
        path = Path(path)
        if not path.exists():
            raise FileNotFoundError(
                f"{path} does not exist; train a classifier and save it there first"
            )
        if not path.is_file():
            raise ValueError(f"{path} is not a whole file of a classifier: it is no file")
        with open(path, "rb") as file:
            if file.read(4) == TORCH_FILE:
                raise ValueError(
                    f"{path} is not a whole file of a classifier: it was written by torch.save. "
                    "For the weights of a fine-tuned GPT-2 these lines make a classifier of it:\n"
                    "model = replace_head(GPTModel(gpt_config('gpt2-small (124M)')))\n"
                    f"model.load_state_dict(torch.load({str(path)!r}, weights_only=True))\n"
                    "classifier = SpamClassifier(model, max_length=120)  # as in the training"
                )
        try:
            with safe_open(path, framework="pt") as file:
                metadata, names = file.metadata() or {}, file.keys()
                if KEY not in metadata:
                    raise ValueError("it holds no settings of a classifier")
                settings = json.loads(metadata[KEY])
                if whole_number("format", settings["format"]) <= FORMAT:
                    # clones, as the file may be replaced while the model is in use
                    tensors = {name: file.get_tensor(name).clone() for name in names}
                    if metadata.get(CHECKSUM) not in (None, _checksum(tensors)):
                        raise ValueError("its weights are not those that were saved")
                    return _classifier_of(settings, tensors)
        except UNREADABLE as error:
            problem = f"its settings lack {error}" if isinstance(error, KeyError) else error
            raise ValueError(
                f"{path} is not a whole file of a classifier ({problem}); take another file, or "
                "train again and save"
            ) from error
        raise ValueError(
            f"{path} was made by a later version of the course: its format is "
            f"{settings['format']}, and the latest one that is known here is {FORMAT}; get the "
            "newer version to read it"
        )


class SpamClassifier(TextClassifier):
    """The `TextClassifier` of the labels "ham" and "spam": a fine-tuned model, ready to be used.

    Raises what a TextClassifier does: ValueError for a model without two classes, another position,
    and a `max_length` beyond the context.
    """

    def __init__(
        self,
        model: GPTModel,
        max_length: int,
        tokenizer: tiktoken.Encoding | None = None,
        position: str = "last",
        about: dict[str, str] | None = None,
    ):
        super().__init__(model, LABELS, max_length, tokenizer, position, about)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Return what `TextClassifier.load` does; raises ValueError for other labels, too."""
        read = TextClassifier.load(path)
        if read.labels != LABELS:
            raise ValueError(
                f"{path} is a classifier with the labels {read.labels}, not {LABELS}; "
                "TextClassifier.load reads it"
            )
        return cls(read.model, read.max_length, read.tokenizer, read.position, read.about)


def _classifier_of(settings: dict, tensors: dict[str, torch.Tensor]) -> TextClassifier:
    """Return the classifier of a file's settings and tensors. Raises ValueError if they don't fit."""
    cfg, labels, adapters = settings["cfg"], settings["labels"], settings["adapters"]
    with torch.device("meta"):  # without memory: the tensors take the place of its parameters
        model = replace_head(GPTModel(cfg), len(labels))
    if adapters["adapted"]:
        adapted, rank, alpha = adapters["adapted"], adapters["rank"], adapters["alpha"]
        FreezePlan(cfg["n_layers"], {"out_head"}, adapted, rank, alpha).apply(model)

    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for name in sorted(expected.keys() | shapes.keys()):
        shape, wanted = shapes.get(name, "missing"), expected.get(name, "not there")
        if shape != wanted:
            raise ValueError(f"{name} is {shape}, and by the settings it is {wanted}")
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise ValueError(f"{name} holds {tensor.dtype}, no floating-point numbers")
        if not tensor.isfinite().all():
            raise ValueError(
                f"{name} holds values that are not finite; train again with a smaller learning rate"
            )
    model.load_state_dict(tensors, assign=True)
    for block, causal in zip(model.trf_blocks, settings["causal"], strict=True):
        block.att.causal = causal
    about, position = settings["about"], settings["position"]
    return TextClassifier(model, labels, settings["max_length"], None, position, about)


def _checksum(tensors: dict[str, torch.Tensor]) -> str:
    """Return the SHA-256 of all tensors' bytes, in the order of their names."""
    checksum = hashlib.sha256()
    for name in sorted(tensors):
        checksum.update(tensors[name].flatten().view(torch.uint8).numpy())
    return checksum.hexdigest()
