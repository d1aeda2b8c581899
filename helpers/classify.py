"""The finished classifier: put a text in, get its class, such as "spam" or "ham"; save it, load it.

`classify_review` is the book's function of section 6.8. `TextClassifier` keeps what it needs in one
place and one file, for any classes; `SpamClassifier` is the one of ham and spam.
"""

import hashlib
import json
import reprlib
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

import pandas as pd
import tiktoken
import torch

from helpers.checks import instance_of
from helpers.class_vectors import class_vectors
from helpers.classifier_file import ForAnother, check_labels, read_classifier, write_classifier
from helpers.classifying_token import check_position, class_logits
from helpers.config import END_OF_TEXT, model_size
from helpers.data import LABELS, check_max_length, create_dataloaders, load_splits, pad
from helpers.files import file_sha256
from helpers.fine_tuning import fine_tune, fine_tuning_defaults
from helpers.freezing import FreezePlan, replace_head
from helpers.loading import INDEX, find_checkpoint, load_pretrained
from helpers.model import GPTModel
from helpers.tokenizer import encode_message, get_tokenizer


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


# --- the classifier of section 6.7 -----------------------------------------------------------

# raised by hand whenever the same settings train another model than before
TRAINING_VERSION = 1


def trained_from(
    model_name: str, data_name: str, seed: int = 123, settings: dict | None = None
) -> dict[str, str]:
    """Return what the classifier of a data set is trained from: `origin`, and the data's name."""
    train, _, _ = load_splits(data_name)
    settings = settings or fine_tuning_defaults(model_name)
    return origin(model_name, train, seed, settings) | {"data": data_name}


def origin(model_name: str, train: pd.DataFrame, seed: int, settings: dict) -> dict[str, str]:
    """Return what a classifier is trained from, to save along with it.

    That is the model's name, the seed, the `settings` of the training, and checksums of the
    checkpoint and of the training texts (columns Text and Label), and TRAINING_VERSION.
    """
    texts = json.dumps([train["Label"].tolist(), train["Text"].tolist()])
    return {
        "model": model_name,
        "checkpoint": file_sha256(find_checkpoint(model_size(model_name)) / INDEX),
        "messages": hashlib.sha256(texts.encode()).hexdigest(),
        "seed": str(seed),
        "settings": json.dumps(settings, sort_keys=True),
        "code": f"version {TRAINING_VERSION}",
    }


def load_or_train(
    path: str | Path, model_name: str, data_name: str, position: str = "last", seed: int = 123
) -> SpamClassifier:
    """Return the classifier saved at `path`, or train it and save it there.

    A file that was trained from something else, with other settings or by other code, or for
    another position, is not taken, and neither is a damaged one; it is never overwritten. Training
    is that of section 6.7: the book's plan and `fine_tuning_defaults`.
    """
    about, path = trained_from(model_name, data_name, seed), Path(path)
    if path.exists():
        try:
            saved = SpamClassifier.load(path)
        except ValueError as error:
            problem = str(error)
        else:
            differing = [name for name in about if saved.about.get(name) != about[name]]
            if saved.position != position:
                differing.append("position")
            if not differing:
                return saved
            problem = f"{path} is another classifier (it differs in: {', '.join(differing)})"
        warnings.warn(
            f"{problem}. It stays, and one is trained for now; to have that one saved, "
            "delete the file first",
            stacklevel=2,
        )
        return _train(about, model_name, data_name, position, seed)
    classifier = _train(about, model_name, data_name, position, seed)
    classifier.save(path)
    return classifier


def _train(
    about: dict, model_name: str, data_name: str, position: str, seed: int
) -> SpamClassifier:
    settings = fine_tuning_defaults(model_name)
    train, validation, _ = (loader.dataset for loader in create_dataloaders(data_name))
    model = load_pretrained(model_name)
    torch.manual_seed(seed)
    replace_head(model)
    history = fine_tune(
        model,
        train,
        validation,
        FreezePlan.book(model.cfg["n_layers"]),
        epochs=settings["num_epochs"],
        lr=settings["lr"],
        weight_decay=settings["weight_decay"],
        seed=seed,
        position=position,
    )
    if history.interrupted:
        raise KeyboardInterrupt  # a classifier trained in part is not kept
    return SpamClassifier(model, train.max_length, position=position, about=about)
