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

from helpers.checks import instance_of
from helpers.class_vectors import class_vectors
from helpers.classifying_token import check_position, class_logits
from helpers.config import END_OF_TEXT, model_size
from helpers.data import LABELS, check_max_length, create_dataloaders, load_splits, pad
from helpers.files import file_sha256, whole_file
from helpers.fine_tuning import fine_tune, fine_tuning_defaults
from helpers.freezing import FreezePlan, adapters_of, replace_head
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
        instance_of("model", model, torch.nn.Module, "a classifier")
        if model.out_head.out_features != len(LABELS):
            raise ValueError(
                f"the model's head has {model.out_head.out_features} outputs instead of 2; "
                "see replace_head"
            )
        check_position(position)
        self.max_length = check_max_length(max_length, model.pos_emb.num_embeddings)
        self.model = model.eval()
        self.tokenizer: tiktoken.Encoding = tokenizer or get_tokenizer()
        self.position = position
        self.about = about or {}
        if not isinstance(self.about, dict) or not all(
            isinstance(value, str) for value in self.about.values()
        ):
            raise TypeError(f"about must be a dictionary of texts, not {about!r}")

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.tok_emb.weight.device

    def classify(self, text: str) -> str:
        """Return "ham" or "spam".

        Raises ValueError for an empty message; a longer one is cut, with a warning.
        """
        return self.classify_many([text])[0]

    def classify_many(self, texts: list[str], precision: str = "float32") -> list[str]:
        """Return "ham" or "spam" for each text; see `probabilities`."""
        numbers = self.probabilities(texts, precision).argmax(dim=-1)  # (len(texts),)
        return [LABELS[number] for number in numbers.tolist()]

    def probabilities(self, texts: list[str], precision: str = "float32") -> torch.Tensor:
        """Return each text's probabilities of ham and spam: float32 (len(texts), 2).

        They are the softmax of `logits`, which see.
        """
        return self.logits(texts, precision).softmax(dim=-1)

    @torch.no_grad()
    def logits(self, texts: list[str], precision: str = "float32") -> torch.Tensor:
        """Return each text's logits of ham and spam: float32 (len(texts), 2), on the CPU.

        Texts of like length run together, and of the last block only the token that classifies.
        `precision` "bfloat16" is faster, and may change the label of a text that is nearly both.
        Raises ValueError for another precision and for an empty text, TypeError for what is no
        list of texts.
        """
        if isinstance(texts, str) or not isinstance(texts, Iterable):
            raise TypeError(f"give a list of texts, not {texts!r}; classify() takes one")
        rows = list(map(self._row, texts))
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
        the new one is whole. Raises ValueError for weights that are not finite and for adapters
        that no plan puts in, OSError when the file can't be written.
        """
        adapters = adapters_of(self.model)
        settings = {
            "cfg": self.model.cfg,
            "max_length": self.max_length,
            "position": self.position,
            "causal": [block.att.causal for block in self.model.trf_blocks],
            "about": self.about,
            "adapters": {
                "adapted": sorted(adapters.adapted),
                "rank": adapters.rank,
                "alpha": adapters.alpha,
            },
        }
        state = self.model.state_dict()
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
        _check_finite(state)
        with whole_file(path) as part:
            save_file(state, part, metadata={"spam_classifier": json.dumps(settings)})
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> "SpamClassifier":
        """Read a file that `save` wrote.

        Of a model with adapters these and the head are trainable. Raises FileNotFoundError, or
        ValueError for another or a damaged file.
        """
        path = Path(path)
        if not path.exists():
            raise FileNotFoundError(
                f"{path} does not exist; train a classifier and save it there first"
            )
        try:
            return cls._read(path)
        except _UNREADABLE as error:
            raise ValueError(
                f"{path} is not a whole file of SpamClassifier.save ({error}); "
                "if you don't need it, delete it and train again"
            ) from error

    @classmethod
    def _read(cls, path: Path) -> "SpamClassifier":
        with safe_open(path, framework="pt") as file:
            settings = json.loads((file.metadata() or {})["spam_classifier"])
            state = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        _check_finite(state)
        if settings["cfg"]["n_layers"] > len(state):  # or building it would take for ever
            raise ValueError(f"{settings['cfg']['n_layers']} blocks in {len(state)} tensors")
        with torch.device("meta"):  # no memory for weights that are about to be replaced
            model = replace_head(GPTModel(settings["cfg"]))
        _put_saved_adapters(model, settings.get("adapters", {}))  # older files know of none
        model.load_state_dict(state, assign=True)
        for block, causal in zip(model.trf_blocks, settings.get("causal", ()), strict=False):
            block.att.causal = causal  # older files know of nothing else than the mask
        position, about = settings["position"], settings["about"]
        return cls(model, settings["max_length"], position=position, about=about)


def _put_saved_adapters(model: GPTModel, saved: dict) -> None:
    adapted = frozenset(saved.get("adapted", ()))
    if adapted:
        head, n_layers = frozenset({"out_head"}), model.cfg["n_layers"]
        FreezePlan(n_layers, head, adapted, saved["rank"], saved["alpha"]).apply(model)


_UNREADABLE = (  # what a file of another kind may lead to
    SafetensorError, OSError, LookupError, RuntimeError, ValueError, TypeError, AttributeError,
)  # fmt: skip


def _check_finite(state: dict[str, torch.Tensor]) -> None:
    if damaged := [name for name, tensor in state.items() if not tensor.isfinite().all()]:
        raise ValueError(
            f"{damaged[0]} holds values that are not finite; train again with a smaller "
            "learning rate"
        )


# --- the classifier of section 6.7 -----------------------------------------------------------

# the files that decide what comes out of training; another version of them trains another model
TRAINING_CODE = (
    "class_vectors.py", "classify.py", "classifying_token.py", "config.py", "data/dataset.py",
    "data/frames.py", "data/messages.py", "device_and_precision.py", "fine_tuning.py",
    "freezing.py", "frozen_cache.py", "history.py", "loading.py", "lora.py", "model.py",
    "tokenizer.py", "training.py",
)  # fmt: skip


def trained_from(
    model_name: str, data_name: str, seed: int = 123, settings: dict | None = None
) -> dict[str, str]:
    """Return what a classifier is trained from, to save along with it.

    That is names, the seed, the `settings` of the training (None: `fine_tuning_defaults`), and
    checksums of the checkpoint, the training messages and the code.
    """
    train, _, _ = load_splits(data_name)
    messages = json.dumps([train["Label"].tolist(), train["Text"].tolist()])
    sources = [Path(__file__).parent.joinpath(name).read_text("utf-8") for name in TRAINING_CODE]
    return {
        "model": model_name,
        "checkpoint": file_sha256(find_checkpoint(model_size(model_name)) / INDEX),
        "data": data_name,
        "messages": hashlib.sha256(messages.encode()).hexdigest(),
        "seed": str(seed),
        "settings": json.dumps(settings or fine_tuning_defaults(model_name), sort_keys=True),
        "code": hashlib.sha256("".join(sources).encode()).hexdigest(),
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
