"""The file of a classifier: weights and settings, trusted with nothing when it is read.

A safetensors file whose metadata holds the settings as JSON. Each size, label and tensor is compared
with what the settings say before any tensor takes memory.
"""

import json
import reprlib
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import tiktoken
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from helpers.checks import instance_of, whole_number
from helpers.config import END_OF_TEXT
from helpers.data import LABELS, check_max_length, pad
from helpers.download import whole_file
from helpers.freezing import FreezePlan, adapters_of, replace_head
from helpers.loading import LARGEST_HEADER
from helpers.lora import is_adapter
from helpers.model import GPTModel
from helpers.tokenizer import encode_message, get_tokenizer
from helpers.training import check_position, class_logits, class_vectors

KEY, FORMAT = "text_classifier", 1  # where the settings are in a file; how they are written


OLD_KEY = "spam_classifier"  # in files from before there were other classes


DTYPES = ("F16", "BF16", "F32", "F64")  # what a model computes in; safetensors' names


class ForAnother(ValueError):
    """A file may be whole, but another class or version reads it."""


def write_classifier(path: str | Path, model: GPTModel, settings: dict) -> None:
    """Write a model and its classifier's settings (labels, max_length, position, about) to a file.

    Raises ValueError for weights that are not finite, for adapters that no plan puts in, and for
    settings too long for a header, OSError when the file can't be written.
    """
    adapters = adapters_of(model)
    settings = settings | {
        "format": FORMAT,
        "cfg": model.cfg,
        "causal": [block.att.causal for block in model.trf_blocks],
        "adapters": {
            "adapted": sorted(adapters.adapted),
            "rank": adapters.rank,
            "alpha": adapters.alpha,
        },
    }
    state = model.state_dict()
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    _check_finite(state)
    with whole_file(path) as part:
        save_file(state, part, metadata={KEY: json.dumps(settings)})
        if (length := _header_length(part)) > LARGEST_HEADER:
            raise ValueError(
                f"with these labels and this about the file's header has {length:,} bytes, and "
                f"more than {LARGEST_HEADER:,} are not read; shorten them"
            )


def read_classifier(path: str | Path, make: Callable[[GPTModel, dict], Any]) -> Any:
    """Return what `make` makes of the model and the settings in a file that was written so.

    It is called before the tensors are read, so that it can refuse settings while nothing has taken
    memory. Raises FileNotFoundError, or ValueError for another or a damaged file and for one of a
    later version of the course.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist; train a classifier and save it there first"
        )
    try:
        return _read(path, make)
    except ForAnother as error:
        raise ValueError(f"{path} {error}") from None
    except _UNREADABLE as error:
        raise ValueError(
            f"{path} is not a whole file of a classifier ({error}); "
            "if you don't need it, delete it and train again"
        ) from error


def _read(path: Path, make: Callable[[GPTModel, dict], Any]) -> Any:
    if (length := _header_length(path)) > LARGEST_HEADER:
        raise ValueError(f"its header has {length:,} bytes, more than {LARGEST_HEADER:,}")
    with safe_open(path, framework="pt") as file:
        settings = _settings_in(file.metadata() or {})
        found = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        found = {n: (s.get_dtype(), tuple(s.get_shape())) for n, s in found.items()}
        model = _without_values(settings, found)
        classifier = make(model, settings)
        state = {name: file.get_tensor(name).clone() for name in found}
    _check_finite(state)
    model.load_state_dict(state, assign=True)
    return classifier


def _header_length(path: Path) -> int:
    """Return how many bytes a safetensors file says that its header has."""
    with open(path, "rb") as file:
        return int.from_bytes(file.read(8), "little")


def _settings_in(metadata: dict[str, str]) -> dict:
    """Return the settings as `save` writes them today, whichever version wrote them."""
    if KEY in metadata:
        settings = _dictionary(metadata[KEY])
        made = whole_number("format", settings.get("format"))
        if made > FORMAT:
            raise ForAnother(
                f"was made by a later version of the course: its format is {made}, and the latest "
                f"one that is known here is {FORMAT}; get the newer version to read it"
            )
    elif OLD_KEY in metadata:
        settings = _dictionary(metadata[OLD_KEY]) | {"labels": LABELS}
    else:
        raise ValueError("it holds no settings of a classifier")
    if missing := {"cfg", "labels", "max_length", "position", "about"} - settings.keys():
        raise ValueError(f"its settings lack {', '.join(sorted(missing))}")
    return settings | {"labels": check_labels(settings["labels"])}


def _dictionary(text: str) -> dict:
    settings = json.loads(text)
    instance_of("its settings", settings, dict, "a dictionary")
    return settings


Tensors = dict[str, tuple[str, tuple[int, ...]]]  # name → dtype, as safetensors calls it, and shape


def _without_values(settings: dict, found: Tensors) -> GPTModel:
    """Return the model of these settings on torch's meta device, where it takes no memory.

    Raises ValueError where its tensors are not those that are `found` in the file.
    """
    cfg = settings["cfg"]
    instance_of("cfg", cfg, dict, "a dictionary")
    with torch.device("meta"):
        block = GPTModel(cfg | {"n_layers": 1}).trf_blocks[0]
        # or building the blocks would take for ever
        most = len(found) // len(block.state_dict())
        what = f", as the file has {len(found)} tensors"
        n_layers = whole_number("n_layers", cfg.get("n_layers"), 1, most, what)
        model = replace_head(GPTModel(cfg), len(settings["labels"]))
    plain = {name: kind for name, kind in found.items() if not is_adapter(name)}
    plain = {name.replace(".base_layer", ""): kind for name, kind in plain.items()}
    _check_tensors(plain, model.state_dict())  # first, as many adapters take long to put in
    _put_saved_adapters(model, settings.get("adapters", {}))  # older files know of none
    _check_tensors(found, model.state_dict())
    # older files know of nothing else than the mask
    causal = settings.get("causal", [True] * n_layers)
    if not isinstance(causal, list) or [type(one) for one in causal] != [bool] * n_layers:
        raise ValueError(f"causal must be true or false for each of {n_layers} blocks")
    for block, with_mask in zip(model.trf_blocks, causal, strict=True):
        block.att.causal = with_mask
    return model


def _put_saved_adapters(model: GPTModel, saved: dict) -> None:
    adapted = frozenset(saved.get("adapted", ()))
    if adapted:
        head, n_layers = frozenset({"out_head"}), model.cfg["n_layers"]
        FreezePlan(n_layers, head, adapted, saved["rank"], saved["alpha"]).apply(model)


def _check_tensors(found: Tensors, expected: dict[str, torch.Tensor]) -> None:
    """Raise ValueError where a file's tensors are not those of the model that it tells of."""
    if different := found.keys() ^ expected.keys():
        name = min(different)
        has = "has a tensor" if name in found else "lacks the tensor"
        raise ValueError(f"it {has} {name}, against its settings")
    for name, tensor in expected.items():
        (dtype, shape), wanted = found[name], tuple(tensor.shape)
        if shape != wanted:
            raise ValueError(f"{name} has the shape {shape}, and by its settings {wanted}")
        if dtype not in DTYPES:
            raise ValueError(f"{name} is of {dtype}, not of {' or '.join(DTYPES)}")


_UNREADABLE = (  # what a file of another kind may lead to
    SafetensorError, OSError, LookupError, RuntimeError, ValueError, TypeError, AttributeError,
)  # fmt: skip


def _check_finite(state: dict[str, torch.Tensor]) -> None:
    if damaged := [name for name, tensor in state.items() if not tensor.isfinite().all()]:
        raise ValueError(
            f"{damaged[0]} holds values that are not finite; train again with a smaller "
            "learning rate"
        )


def check_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the names of classes as a tuple.

    Raises ValueError for fewer than two, and for what are not different texts with something in
    them, in a tuple or a list.
    """
    wanted = "labels must be a tuple of two or more different texts, one for each class"
    if not isinstance(labels, tuple | list) or len(labels) < 2:
        raise ValueError(f"{wanted}, not {reprlib.repr(labels)}")
    for number, label in enumerate(labels):
        if not isinstance(label, str) or not label.strip():
            raise ValueError(f"{wanted}; number {number} is {reprlib.repr(label)}")
    if len(set(labels)) < len(labels):
        twice, _ = Counter(labels).most_common(1)[0]
        raise ValueError(f"{wanted}; {reprlib.repr(twice)} is there more than once")
    return tuple(map(str, labels))


def classify_review(
    text, model, tokenizer, device, max_length=None, pad_token_id=END_OF_TEXT
) -> str:
    """Return "spam" or "not spam" for a text, by the logits of the last position, as in the book.

    The text is cut or padded to `max_length` tokens (None: its own length, at most the context).
    Raises ValueError for an empty text.
    """
    instance_of("model", model, torch.nn.Module, "a classifier")
    token_ids = _encode(text, tokenizer, max_length, model.pos_emb.num_embeddings, pad_token_id)
    model.eval()
    with torch.no_grad():
        logits = class_logits(model, torch.tensor([token_ids], device=device))  # (1, 2)
    return "spam" if logits.argmax(dim=-1).item() == 1 else "not spam"


def _encode(text, tokenizer, max_length, context_length, pad_token_id=END_OF_TEXT) -> list[int]:
    token_ids = encode_message(text, tokenizer)
    limit = context_length if max_length is None else check_max_length(max_length, context_length)
    if len(token_ids) > limit:
        warnings.warn(
            f"the message has {len(token_ids)} tokens; only its first {limit} are read",
            stacklevel=3,
        )
    return pad(token_ids, min(limit, len(token_ids)) if max_length is None else limit, pad_token_id)


class TextClassifier:
    """A fine-tuned model with all that is needed to use it.

    `labels` are the names of its classes, in the order of the head's outputs; `max_length` is the
    length, in tokens, to which texts are cut or padded (that of the training data); `position` is
    the one that it was trained with; `about` is a dictionary of texts that is saved along, such as
    the model's name. Raises ValueError for labels that are not different texts, one for each of the
    head's outputs, for another position, and for a `max_length` beyond the context.
    """

    def __init__(
        self,
        model: GPTModel,
        labels: Sequence[str],
        max_length: int,
        tokenizer=None,
        position: str = "last",
        about: dict | None = None,
    ):
        instance_of("model", model, torch.nn.Module, "a classifier")
        self.labels = check_labels(labels)
        if model.out_head.out_features != len(self.labels):
            raise ValueError(
                f"the model's head has {model.out_head.out_features} outputs instead of "
                f"{len(self.labels)}; see replace_head"
            )
        if model.out_head.bias is None:  # a file of it could not be read again
            raise ValueError("the model's head has no bias; see replace_head")
        check_position(position)
        self.max_length = check_max_length(max_length, model.pos_emb.num_embeddings)
        self.model = model.eval()
        self.tokenizer: tiktoken.Encoding = tokenizer or get_tokenizer()
        self.position = position
        self.about = about or {}
        if not isinstance(self.about, dict) or not all(
            isinstance(text, str) for item in self.about.items() for text in item
        ):
            raise TypeError(f"about must be a dictionary of texts, not {about!r}")

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.tok_emb.weight.device

    def classify(self, text: str) -> str:
        """Return the label of the likeliest class.

        Raises ValueError for an empty text; a longer one is cut, with a warning.
        """
        return self.classify_many([text])[0]

    def classify_many(self, texts: list[str], precision: str = "float32") -> list[str]:
        """Return each text's label; see `logits`."""
        numbers = self.probabilities(texts, precision).argmax(dim=-1)  # (len(texts),)
        return [self.labels[number] for number in numbers.tolist()]

    def probabilities(self, texts: list[str], precision: str = "float32") -> torch.Tensor:
        """Return each text's probabilities of the classes: float32 (len(texts), num_classes).

        They are the softmax of `logits`, which see.
        """
        return self.logits(texts, precision).softmax(dim=-1)

    def logits(self, texts: list[str], precision: str = "float32") -> torch.Tensor:
        """Return each text's logits: float32 (len(texts), num_classes), on the CPU.

        Texts of like length run together, and of the last block only the token that classifies.
        `precision` "bfloat16" is faster, and may change the label of a text that is nearly both.
        Raises ValueError for another precision and for an empty text, TypeError for what is no
        list of texts.
        """
        if isinstance(texts, str) or not isinstance(texts, Iterable):
            raise TypeError(f"give a list of texts, not {texts!r}; classify() takes one")
        return self.logits_of_tokens(list(map(self._row, texts)), precision)

    @torch.no_grad()
    def logits_of_tokens(self, rows: list[list[int]], precision: str = "float32") -> torch.Tensor:
        """Return the logits of texts that are token ids, cut or padded to `max_length`: see `logits`.

        For those who count a text's tokens themselves.
        """
        vectors = class_vectors(self.model, rows, self.position, precision)  # (b, emb_dim)
        head = self.model.out_head
        logits = head(vectors.to(head.weight)).float().cpu()  # on its device, in its precision
        if not logits.isfinite().all():
            raise ValueError(
                "the model's answer is not a number: its weights are damaged; load or train again"
            )
        return logits

    def _row(self, text: str) -> list[int]:
        context_length = self.model.pos_emb.num_embeddings
        return _encode(text, self.tokenizer, self.max_length, context_length)

    def save(self, path: str | Path) -> Path:
        """Write weights and settings into one safetensors file; return its path.

        Adapters are saved as they are; `lora.merge` gives a model without. An older file stays until
        the new one is whole. Raises ValueError for weights that are not finite, for adapters that
        no plan puts in, and for labels and an `about` too long for a file's header, OSError when
        the file can't be written.
        """
        names = ("labels", "max_length", "position", "about")
        write_classifier(path, self.model, {name: getattr(self, name) for name in names})
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a file that `save` wrote, of this class or of the other one.

        Of a model with adapters these and the head are trainable. Nothing is read that does not fit
        the sizes in the file. Raises FileNotFoundError, or ValueError for another or a damaged
        file, for one of a later version of the course, and for one of other classes than this
        class is for.
        """
        return read_classifier(path, cls._of)

    @classmethod
    def _of(cls, model: GPTModel, settings: dict) -> Self:
        rest = {name: settings[name] for name in ("max_length", "position", "about")}
        return cls(model, settings["labels"], **rest)


class SpamClassifier(TextClassifier):
    """The `TextClassifier` of the labels "ham" and "spam": a fine-tuned model, ready to be used.

    Raises what a TextClassifier does: ValueError for a model without two classes, another position,
    and a `max_length` beyond the context.
    """

    def __init__(
        self,
        model: GPTModel,
        max_length: int,
        tokenizer=None,
        position: str = "last",
        about: dict | None = None,
    ):
        super().__init__(model, LABELS, max_length, tokenizer, position, about)

    @classmethod
    def _of(cls, model: GPTModel, settings: dict) -> Self:
        if settings["labels"] != LABELS:
            raise ForAnother(
                f"is a classifier with the labels {reprlib.repr(settings['labels'])}, not "
                f"{LABELS}; TextClassifier.load reads it"
            )
        rest = {name: settings[name] for name in ("max_length", "position", "about")}
        return cls(model, **rest)
