"""The finished classifier: classify texts, save it, load it: the book's section 6.8.

`classify_review` is the book's function. A `TextClassifier` holds a model with all that is needed
to use it, for any classes; `SpamClassifier` is the one of ham and spam. Its file is a safetensors
file whose metadata holds the settings as JSON and a checksum of settings and weights.
"""

import hashlib
import json
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pandas as pd
import tiktoken
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from helpers.checks import one_of, whole_number
from helpers.config import END_OF_TEXT
from helpers.data import LABELS, check_max_length, pad
from helpers.download import whole_file
from helpers.freezing import FreezePlan, adapters_of, classifier_without_weights
from helpers.model import GPTModel, has_causal_mask
from helpers.tokenizer import encode_message, get_tokenizer
from helpers.training import POSITIONS, class_logits

BATCH_SIZE = 16  # texts in one forward pass
KEY, FORMAT = "text_classifier", 1  # where the settings are in a file; how they are written
CHECKSUM = "checksum"  # where it is; files of older versions have none
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
    context_length = model.pos_emb.num_embeddings
    limit = context_length if max_length is None else check_max_length(max_length, context_length)
    token_ids = _encode(text, tokenizer, limit)
    if max_length is not None:
        token_ids = pad(token_ids, limit, pad_token_id)
    model.eval()
    with torch.no_grad():
        logits = class_logits(model, torch.tensor([token_ids], device=device))  # (1, 2)
    if not logits.isfinite().all():
        raise ValueError(NOT_FINITE)
    return "spam" if logits.argmax(dim=-1).item() == 1 else "not spam"


def _encode(text: str, tokenizer: tiktoken.Encoding, limit: int) -> list[int]:
    """Return a text's first `limit` token ids, with a warning where it has more."""
    token_ids = encode_message(text, tokenizer)
    if len(token_ids) > limit:
        warnings.warn(
            f"the message has {len(token_ids)} tokens; only its first {limit} are read",
            stacklevel=3,
        )
    return token_ids[:limit]


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
        position: str = "last",
        about: dict[str, str] | None = None,
    ):
        model = getattr(model, "_orig_mod", model)  # of torch.compile, which renames parameters
        texts = {label for label in labels if isinstance(label, str) and label.strip()}
        num_classes = model.out_head.out_features
        if not len(texts) == len(labels) == num_classes:
            raise ValueError(
                f"labels must be different texts, one for each of the head's {num_classes} "
                f"outputs, not {labels!r}; see replace_head"
            )
        one_of("position", position, POSITIONS)
        self.about = about or {}
        self.labels = tuple(labels)
        self.max_length = check_max_length(max_length, model.pos_emb.num_embeddings)
        self.model = model.eval()
        self.tokenizer = get_tokenizer()
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

    def classify_many(self, texts: Iterable[str]) -> list[str]:
        """Return the label of each text; see `logits`."""
        numbers = self.logits(texts).argmax(dim=-1)  # (len(texts),)
        return [self.labels[number] for number in numbers.tolist()]

    def probabilities(self, texts: Iterable[str]) -> torch.Tensor:
        """Return the probabilities of the classes: float32 (len(texts), num_classes).

        They are the softmax of `logits`.
        """
        return self.logits(texts).softmax(dim=-1)

    @torch.no_grad()
    def logits(self, texts: Iterable[str]) -> torch.Tensor:
        """Return the logits of each text: float32 (len(texts), num_classes), on the CPU.

        Texts of similar length run in one batch. For many texts `workshop.forward.fast_logits` takes
        less time. Raises ValueError for an empty text, TypeError for anything but a list of texts.
        """
        if isinstance(texts, str | dict | pd.DataFrame) or not isinstance(texts, Iterable):
            raise TypeError(
                "give a list of texts or a table's column of them, "
                f"not a {type(texts).__name__}; classify() takes a single text"
            )
        rows = [_encode(text, self.tokenizer, self.max_length) for text in texts]
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        logits = torch.empty(len(rows), len(self.labels))
        for start in range(0, len(rows), BATCH_SIZE):
            batch = order[start : start + BATCH_SIZE]
            length = self.max_length
            if self.position in ("last_token", "mean_tokens") and has_causal_mask(self.model):
                length = len(rows[batch[-1]])  # the padding behind the last token has no effect
            token_ids = [pad(rows[i], length) for i in batch]
            token_ids = torch.tensor(token_ids, device=self.device)  # (b, n)
            logits[batch] = class_logits(self.model, token_ids, self.position).float().cpu()
        if not logits.isfinite().all():
            raise ValueError(NOT_FINITE)
        return logits

    def save(self, path: str | Path) -> Path:
        """Write weights and settings into one safetensors file; return its path.

        Adapters are saved as they are; `lora.merge` gives a model without. An older file stays until
        the new one is whole. Raises ValueError or RuntimeError for what `load` would refuse, such as
        weights that are not finite or a model that was changed, OSError when the file can't be
        written.
        """
        settings, tensors = self.state()
        TextClassifier.of_state(json.loads(settings_as_json(settings)), tensors)  # may raise
        return write_classifier(path, settings, tensors)

    def state(self) -> tuple[dict, dict[str, torch.Tensor]]:
        """Return the settings and tensors from which `of_state` makes the classifier again."""
        adapters = adapters_of(self.model)
        settings = {
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
        return settings, self.model.state_dict()

    @classmethod
    def of_state(cls, settings: dict, tensors: dict[str, torch.Tensor]) -> "TextClassifier":
        """Return the classifier of what `state` returned; raises one of UNREADABLE for anything else."""
        if "words" in settings:
            raise ValueError(
                "it has a bag of words, which OwnClassifier.load of workshop.own reads"
            )
        cfg, labels, adapters = settings["cfg"], settings["labels"], settings["adapters"]
        model = classifier_without_weights(cfg, len(labels))  # the tensors become its parameters
        if adapters["adapted"]:
            FreezePlan(cfg["n_layers"], {"out_head"}, **adapters).apply(model)
        model.load_state_dict(tensors, assign=True)
        for name, tensor in tensors.items():
            if not tensor.isfinite().all():
                raise ValueError(
                    f"{name} holds values that are not finite; train again with a smaller learning "
                    "rate"
                )
        for block, causal in zip(model.trf_blocks, settings["causal"], strict=True):
            block.att.causal = causal
        length, position = settings["max_length"], settings["position"]
        return TextClassifier(model, labels, length, position, settings["about"])

    @classmethod
    def load(cls, path: str | Path) -> "TextClassifier":
        """Return the classifier from a file that `save` wrote, on the CPU.

        Adapters and the head of a model with adapters are trainable. Raises OSError for a file that
        can't be opened, and ValueError for a damaged or another file and for one of a later version
        of the course.
        """
        return read_classifier(path, cls.of_state)


class SpamClassifier(TextClassifier):
    """The `TextClassifier` of the labels "ham" and "spam": a fine-tuned model, ready to be used.

    Raises what a TextClassifier does: ValueError for a model without two classes, another position,
    and a `max_length` beyond the context.
    """

    def __init__(
        self,
        model: GPTModel,
        max_length: int,
        position: str = "last",
        about: dict[str, str] | None = None,
    ):
        super().__init__(model, LABELS, max_length, position, about)

    @classmethod
    def load(cls, path: str | Path) -> "SpamClassifier":
        """Return what `TextClassifier.load` does; raises ValueError for other labels, too."""
        read = TextClassifier.load(path)
        if read.labels != LABELS:
            raise ValueError(
                f"{path} is a classifier with the labels {read.labels}, not {LABELS}; "
                "TextClassifier.load reads it"
            )
        return cls(read.model, read.max_length, read.position, read.about)


# --- the file -------------------------------------------------------------------------------------


def _checksum(settings: str, tensors: dict[str, torch.Tensor]) -> str:
    """Return the SHA-256 of the settings and of all tensors' bytes, in the order of their names."""
    checksum = hashlib.sha256(settings.encode())
    for name in sorted(tensors):
        checksum.update(tensors[name].flatten().view(torch.uint8).numpy())
    return checksum.hexdigest()


def settings_as_json(settings: dict) -> str:
    """Return the settings of a classifier as a file has them; numpy's numbers become Python's."""
    return json.dumps(settings | {"format": FORMAT}, default=lambda number: number.item())


def write_classifier(path: str | Path, settings: dict, tensors: dict[str, torch.Tensor]) -> Path:
    """Write settings and tensors into one safetensors file, with a checksum; return its path.

    An older file stays until the new one is whole. Raises OSError where it can't be written.
    """
    text = settings_as_json(settings)
    tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {KEY: text, CHECKSUM: _checksum(text, tensors)}
    with whole_file(path) as part:
        part.write_bytes(to_bytes(tensors, metadata=metadata))
    return Path(path)


def read_classifier(path: str | Path, make: Callable):
    """Return what `make` makes of a file's settings and tensors, those that `write_classifier` wrote.

    Raises OSError for a file that can't be opened, and ValueError for a damaged or another file and
    for one of a later version of the course.
    """
    if not Path(path).is_file():  # a pipe could be waited for without an end
        raise FileNotFoundError(
            f"{path} does not exist or is no file; train a classifier and save it there first"
        )
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
            if whole_number("format", settings["format"]) > FORMAT:
                raise ValueError("it was made by a later version of the course: get that one")
            # clones, as the file may be replaced while the model is in use
            tensors = {name: file.get_tensor(name).clone() for name in names}
        if metadata.get(CHECKSUM) not in (None, _checksum(metadata[KEY], tensors)):
            raise ValueError("its settings or weights are not those that were saved")
        return make(settings, tensors)
    except UNREADABLE as error:
        problem = f"its settings lack {error}" if isinstance(error, KeyError) else error
        raise ValueError(
            f"{path} is not a whole file of a classifier ({problem}); take another file, or "
            "train again and save"
        ) from error
