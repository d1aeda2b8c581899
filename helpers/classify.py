"""The finished spam classifier: put a message in, get "spam" or "ham"; save it, load it.

`classify_review` is the book's function of section 6.8. `SpamClassifier` keeps what it needs in one
place and one file.
"""

import hashlib
import json
import warnings
from collections.abc import Iterable
from pathlib import Path

import tiktoken
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from helpers.config import END_OF_TEXT, model_size
from helpers.data import LABELS, check_max_length, create_dataloaders, load_splits, pad
from helpers.download import file_sha256
from helpers.freezing import FreezePlan, replace_head
from helpers.loading import INDEX, find_checkpoint, load_pretrained
from helpers.model import GPTModel
from helpers.prefix import autocast, in_batches_by_length, pad_batch, precision_on
from helpers.tokenizer import encode_message, get_tokenizer
from helpers.training import (
    check_position,
    check_precision,
    class_logits,
    fine_tune,
    fine_tuning_defaults,
    needed,
)


def classify_review(
    text, model, tokenizer, device, max_length=None, pad_token_id=END_OF_TEXT
) -> str:
    """Return "spam" or "not spam" for a text, by the logits of the last position, as in the book.

    The text is cut or padded to `max_length` tokens (None: its own length, at most the context).
    Raises ValueError for an empty text.
    """
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


class SpamClassifier:
    """A fine-tuned model with all that is needed to use it.

    `max_length` is the length, in tokens, to which messages are cut or padded (that of the training
    data); `position` is the one that it was trained with; `about` is a dictionary of texts that is
    saved along, such as the model's name. Raises ValueError for a model without two classes,
    another position, and a `max_length` beyond the context.
    """

    def __init__(
        self,
        model: GPTModel,
        max_length: int,
        tokenizer=None,
        position: str = "last",
        about: dict | None = None,
    ):
        if model.out_head.out_features != len(LABELS):
            raise ValueError(
                f"the model's head has {model.out_head.out_features} outputs instead of 2; see replace_head"
            )
        check_position(position)
        self.max_length = check_max_length(max_length, model.pos_emb.num_embeddings)
        self.model = model.eval()
        self.tokenizer: tiktoken.Encoding = tokenizer or get_tokenizer()
        self.position = position
        self.about = dict(about or {})

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.tok_emb.weight.device

    def classify(self, text: str) -> str:
        """Return "ham" or "spam". Raises ValueError for an empty message; a longer one is cut, with
        a warning.
        """
        return self.classify_many([text])[0]

    def classify_many(self, texts: list[str], precision: str = "float32") -> list[str]:
        """Return "ham" or "spam" for each text; see `probabilities`."""
        return [
            LABELS[number]
            for number in self.probabilities(texts, precision).argmax(dim=-1).tolist()
        ]

    @torch.no_grad()
    def probabilities(self, texts: list[str], precision: str = "float32") -> torch.Tensor:
        """Return the probabilities of ham and spam for each text, which add up to 1: float32
        (len(texts), 2).

        Texts of like length run together, and of the last block only the token that classifies.
        `precision` "bfloat16" is faster, and may change the label of a text that is nearly both;
        another raises ValueError.
        """
        check_precision(precision)
        if isinstance(texts, str) or not isinstance(texts, Iterable):
            raise TypeError(f"give a list of texts, not {texts!r}; classify() takes one")
        context_length = self.model.pos_emb.num_embeddings
        rows = [
            needed(_encode(text, self.tokenizer, self.max_length, context_length), self.position)
            for text in texts
        ]
        self.model.eval()
        probabilities = torch.empty(len(rows), len(LABELS))
        for batch in in_batches_by_length(list(map(len, rows))):
            token_ids, positions = pad_batch([rows[i] for i in batch], self.device)
            with autocast(self.device, precision_on(self.device, precision)):
                logits = self.model.logits_at(self.model.embed(token_ids), positions)  # (b, 2)
            probabilities[batch] = logits.float().softmax(dim=-1).cpu()
        if not probabilities.isfinite().all():
            raise ValueError(
                "the model's answer is not a number: its weights are damaged; load or train it again"
            )
        return probabilities

    def save(self, path: str | Path) -> Path:
        """Write weights and settings into one safetensors file; an older one stays until the new
        one is whole.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        settings = {
            "cfg": self.model.cfg,
            "max_length": self.max_length,
            "position": self.position,
            "about": self.about,
        }
        state = {
            name: tensor.detach().cpu().contiguous()
            for name, tensor in self.model.state_dict().items()
        }
        _check_finite(state)
        part = path.with_name(path.name + ".part")
        try:
            save_file(state, part, metadata={"spam_classifier": json.dumps(settings)})
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return path

    @classmethod
    def load(cls, path: str | Path) -> "SpamClassifier":
        """Read a file that `save` wrote. Raises FileNotFoundError, or ValueError for another or a
        damaged file.
        """
        path = Path(path)
        if not path.exists():
            raise FileNotFoundError(
                f"{path} does not exist; train a classifier and save it there first"
            )
        try:
            with safe_open(path, framework="pt") as file:
                settings = json.loads((file.metadata() or {})["spam_classifier"])
                state = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118 (not a dict)
            _check_finite(state)
            with torch.device("meta"):
                model = replace_head(GPTModel(settings["cfg"]))
            model.load_state_dict(state, assign=True)
            return cls(
                model,
                settings["max_length"],
                position=settings["position"],
                about=settings["about"],
            )
        except (
            SafetensorError,
            OSError,
            LookupError,
            RuntimeError,
            ValueError,
            TypeError,
            AttributeError,
        ) as error:
            raise ValueError(
                f"{path} is not a whole file of SpamClassifier.save ({error}); delete it and train again"
            ) from error


def _check_finite(state: dict[str, torch.Tensor]) -> None:
    if damaged := [name for name, tensor in state.items() if not tensor.isfinite().all()]:
        raise ValueError(
            f"{damaged[0]} holds values that are not finite; train again, with a smaller learning rate"
        )


def trained_from(model_name: str, data_name: str, seed: int = 123) -> dict[str, str]:
    """Return what a classifier is trained from, to save along: names, the seed, and checksums of
    the content.
    """
    train, _, _ = load_splits(data_name)
    return {
        "model": model_name,
        "checkpoint": file_sha256(find_checkpoint(model_size(model_name)) / INDEX),
        "data": data_name,
        "messages": hashlib.sha256(train.to_csv().encode()).hexdigest(),
        "seed": str(seed),
    }


def load_or_train(
    path: str | Path, model_name: str, data_name: str, position: str = "last", seed: int = 123
) -> SpamClassifier:
    """Return the classifier saved at `path`, or train it and save it there.

    One that was trained from something else, or for another position, is neither taken nor
    overwritten. Training is that of section 6.7: the book's plan and `fine_tuning_defaults`.
    """
    about, keep = trained_from(model_name, data_name, seed), True
    if Path(path).exists():
        try:
            saved = SpamClassifier.load(path)
            if saved.about == about and saved.position == position:
                return saved
            keep = False
            warnings.warn(
                f"{path} is another classifier: it stays, and one is trained for now", stacklevel=2
            )
        except ValueError as error:
            warnings.warn(f"{error}: it is trained again", stacklevel=2)

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
    classifier = SpamClassifier(model, train.max_length, position=position, about=about)
    if keep:
        classifier.save(path)
    return classifier
