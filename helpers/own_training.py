"""A classifier of one's own texts and classes: trained, measured on texts it has not met, kept.

The recipe is that of section 6.7 with any number of classes: the texts of the training part fine-tune a
pretrained GPT-2 with a new head. The command `python -m helpers train` and the widget of appendix
6.D are two ways to press the button.
"""

from collections.abc import Generator
from dataclasses import asdict, dataclass, field

import pandas as pd
import torch

from helpers.checks import finite_number, instance_of, one_of, whole_number
from helpers.class_measures import ClassFigures, compare
from helpers.classify import TextClassifier, origin
from helpers.classifying_token import check_position
from helpers.config import BASE_CONFIG, gpt_config
from helpers.data import Split, TextDataset, class_weights, pad, undersample
from helpers.device_and_precision import check_precision, own_random_numbers
from helpers.epoch_checkpoint import EpochCheckpoint
from helpers.fine_tuning import Progress, fine_tuning_defaults, fine_tuning_steps
from helpers.freezing import PRESETS, replace_head
from helpers.history import History
from helpers.loading import load_pretrained
from helpers.model import GPTModel
from helpers.ranks import ALONE, Ranks
from helpers.tokenizer import encode_message, get_tokenizer

PLANS = tuple(name for name in PRESETS if name != "nothing")
BALANCES = {  # what is done about classes of different sizes
    "as they are": "every training text counts once",
    "class weights": "a text of a rare class counts more in the loss",
    "undersampling": "as many training texts of each class as the smallest one has, by lot",
}


@dataclass(frozen=True)
class OwnSettings:
    """What is chosen before a training; `lr` None is the model's own (`fine_tuning_defaults`).

    Raises ValueError for what can't be.
    """

    model: str = "gpt2-nano (12M)"
    plan: str = "the book's choice"
    position: str = "last_token"
    balance: str = "as they are"
    epochs: int = 5
    batch_size: int = 8
    lr: float | None = None
    precision: str = "float32"
    seed: int = 123

    def __post_init__(self):
        gpt_config(self.model)
        one_of("plan", self.plan, PLANS)
        one_of("balance", self.balance, BALANCES)
        check_position(self.position)
        check_precision(self.precision)
        whole_number("epochs", self.epochs)
        whole_number("batch_size", self.batch_size)
        whole_number("seed", self.seed, 0, 2**32 - 1)
        if self.lr is None:
            object.__setattr__(self, "lr", fine_tuning_defaults(self.model)["lr"])
        finite_number("lr", self.lr)

    def __str__(self) -> str:
        epochs = "1 epoch" if self.epochs == 1 else f"{self.epochs} epochs"
        return (
            f"{self.model} · {self.plan} · position {self.position} · classes {self.balance} · "
            f"{epochs} · batches of {self.batch_size} · lr {self.lr:g} · seed {self.seed}"
        )


@dataclass
class OwnTraining:
    """A training of one's own texts, under way or over.

    `steps` trains; then `model` is fine-tuned and `history` says how it went. `ranks` share the work
    (see `fine_tuning`); with `shard` each keeps only a part of what is trained.
    """

    split: Split
    settings: OwnSettings = field(default_factory=OwnSettings)
    ranks: Ranks = ALONE
    shard: bool = False

    def __post_init__(self):
        instance_of("split", self.split, Split, "what split_stratified returns")
        instance_of("settings", self.settings, OwnSettings, "OwnSettings")
        self.model: GPTModel | None = None
        self.history: History | None = None
        train = self.split.train
        if self.settings.balance == "undersampling":
            train = undersample(train, self.settings.seed)
        self.train = _dataset(train, len(self.split.labels))
        self.validation = _dataset(
            self.split.validation, len(self.split.labels), self.train.max_length
        )
        self.origin = origin(self.settings.model, train, self.settings.seed, asdict(self.settings))

    def steps(self, checkpoint: EpochCheckpoint | None = None) -> Generator[Progress, None, None]:
        """Train; yield after each slice, as `fine_tuning_steps` does, and raise what it raises.

        With a `checkpoint` it begins at the last whole epoch that is there.
        """
        self.model = self._new_model()
        labels = self.train.labels
        weights = None
        if self.settings.balance == "class weights":
            weights = class_weights(labels, len(self.split.labels))
        settings = self.settings
        self.history = yield from fine_tuning_steps(
            self.model,
            self.train,
            self.validation,
            PRESETS[settings.plan](len(self.model.trf_blocks)),
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            lr=settings.lr,
            seed=settings.seed,
            position=settings.position,
            precision=settings.precision,
            class_weights=weights,
            ranks=self.ranks,
            shard=self.shard,
            checkpoint=checkpoint,
        )

    def _new_model(self) -> GPTModel:
        model = load_pretrained(self.settings.model)
        with own_random_numbers(torch.device("cpu"), self.settings.seed):
            return replace_head(model, len(self.split.labels))

    @property
    def in_words(self) -> str:
        """What is trained and on how many texts."""
        texts = f"{len(self.train):,} training and {len(self.validation):,} validation texts"
        return f"{self.settings} · {texts}"

    def classifier(self, about: dict[str, str] | None = None) -> TextClassifier:
        """Return the trained model with all that is needed to use it, and what it is trained from."""
        return TextClassifier(
            self.model,
            self.split.labels,
            self.train.max_length,
            position=self.settings.position,
            about=self.origin | (about or {}),
        )

    def called(self) -> list[int]:
        """Return the number of the class that the model calls each test text, (num_test,).

        A text is cut to the longest training text's length; `num_cut` says how many are.
        """
        rows = self._test_rows()
        own = self.ranks.own(range(len(rows)))
        called = [0] * len(rows)
        if own:
            cut = [pad(rows[i], self.train.max_length) for i in own]
            logits = self.classifier().logits_of_tokens(cut, self.settings.precision)
            for i, number in zip(own, logits.argmax(dim=-1).tolist(), strict=True):
                called[i] = number
        return [int(number) for number in self.ranks.sum(*called)]

    @property
    def num_cut(self) -> int:
        """How many test texts are longer than the longest training text."""
        return sum(len(row) > self.train.max_length for row in self._test_rows())

    def _test_rows(self) -> list[list[int]]:
        tokenizer = get_tokenizer()
        return [encode_message(text, tokenizer) for text in self.split.test["Text"]]

    def figures(self) -> dict[str, ClassFigures]:
        """Return how good the model is on the test texts, and what needs no model (`compare`)."""
        split = self.split
        return compare(split.labels, split.train, split.test, self.called())


def _dataset(part: pd.DataFrame, num_classes: int, max_length: int | None = None) -> TextDataset:
    """Return texts encoded; without a `max_length` the longest one's, at most the context."""
    tokenizer = get_tokenizer()
    if max_length is None:
        longest = max(len(encode_message(text, tokenizer)) for text in part["Text"])
        max_length = min(longest, BASE_CONFIG["context_length"])
    return TextDataset(part, tokenizer, max_length, num_classes=num_classes)
