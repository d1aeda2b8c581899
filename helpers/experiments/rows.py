"""What an experiment varies, and the rows of the book's table.

The book's repository (github.com/rasbt/LLMs-from-scratch, ch06/02_bonus_additional-experiments)
answers questions about chapter 6 with a table of 19 rows. The numbers here are that table's, and
so are the test accuracies in `Row.book`, each of one training. Row 20 is the course's own.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from helpers.checks import finite_number, one_of, whole_number
from helpers.classifying_token import check_position
from helpers.config import BASE_CONFIG, BUNDLED_SIZE, END_OF_TEXT, gpt_config, model_size
from helpers.data import DATA_NAMES, check_max_length
from helpers.fine_tuning import fine_tuning_defaults
from helpers.freezing import FreezePlan

LAYERS: dict[str, Callable[["Experiment", int], FreezePlan]] = {  # for n_layers blocks
    "head only": lambda _, n: FreezePlan.head_only(n),
    "last block": lambda _, n: FreezePlan.book(n),
    "last two blocks": lambda _, n: FreezePlan.last_blocks(n, min(2, n)),
    "all": lambda _, n: FreezePlan.everything(n),
    "LoRA": lambda choice, n: FreezePlan.lora(n, rank=choice.rank, alpha=choice.alpha),
}
IGNORE_NOTHING = -100  # torch's default for `ignore_index`: no label has this number
NANO_RATES = {"all": 5e-4, "LoRA": 5e-4}


def learning_rate(model: str, layers: str) -> float:
    """Return the rate for these layers: the book's for all, and for the nano its own.

    The nano's were chosen by validation accuracy; helpers/assets/experiments/README.md says how.
    """
    rate = fine_tuning_defaults(model)["lr"]
    return NANO_RATES.get(layers, rate) if model_size(model) == BUNDLED_SIZE else rate


@dataclass(frozen=True)
class Experiment:
    """All that is chosen before a fine-tuning; what is left out is as in the book's chapter 6.

    `layers` is a key of LAYERS; `rank` and `alpha` are LoRA's. `max_length` None takes the longest
    training message's. Without `padding` each message has its own length, which asks for a
    `batch_size` of 1. A step takes `accumulation` batches together. With `words_shuffled` each
    message has its words in a random order. `lr` None takes `learning_rate`. Raises ValueError for
    what can't be.
    """

    model: str
    data: str
    weights: str = "pretrained"
    position: str = "last"
    layers: str = "last block"
    rank: int = 16
    alpha: float = 16.0
    max_length: int | None = None
    padding: bool = True
    batch_size: int = 8
    accumulation: int = 1
    causal_mask: bool = True
    ignore_index: int = IGNORE_NOTHING
    words_shuffled: bool = False
    epochs: int = 5
    lr: float | None = None
    weight_decay: float = 0.1

    def __post_init__(self):
        gpt_config(self.model)  # refuses an unknown name
        one_of("data", self.data, DATA_NAMES)
        one_of("weights", self.weights, ("pretrained", "random"))
        check_position(self.position)
        one_of("layers", self.layers, tuple(LAYERS))
        if self.max_length is not None:
            check_max_length(self.max_length)
        for name in ("rank", "batch_size", "accumulation", "epochs"):
            whole_number(name, getattr(self, name))
        if not self.padding and self.batch_size > 1:
            raise ValueError(
                f"without padding messages differ in length, so batch_size must be 1, not "
                f"{self.batch_size}; accumulation puts several into a step"
            )
        if self.lr is None:
            rate = learning_rate(self.model, self.layers)
            object.__setattr__(self, "lr", rate)  # the dataclass is frozen
        finite_number("lr", self.lr)
        finite_number("alpha", self.alpha)

    def plan(self, n_layers: int) -> FreezePlan:
        """Return which parts of a model with `n_layers` blocks are trained."""
        return LAYERS[self.layers](self, n_layers)


@dataclass(frozen=True)
class Row:
    """A row of the table: how it differs from row 1, and which row it is compared with.

    `book` is the book's test accuracy in percent, for GPT-2 124M, or the model that `changes`
    names, on 300 test messages of the SMS Spam Collection; None where the book has no such row.
    """

    words: str
    book: float | None = None
    against: int = 1
    changes: dict = field(default_factory=dict)

    def experiment(self, model: str, data: str) -> Experiment:
        """Return this row for a model, unless the row names its own, and a data set."""
        return Experiment(**{"model": model, "data": data} | self.changes)


MEDIUM, LARGE, XL = "gpt2-medium (355M)", "gpt2-large (774M)", "gpt2-xl (1558M)"
CONTEXT = BASE_CONFIG["context_length"]
ROWS = {
    1: Row("the book's choices", 95.00),
    2: Row("the first token classifies", 75.00, changes={"position": "first"}),
    3: Row("only the head is trained", 72.00, changes={"layers": "head only"}),
    4: Row("the last two blocks are trained", 98.33, changes={"layers": "last two blocks"}),
    5: Row("everything is trained", 96.67, changes={"layers": "all"}),
    6: Row("GPT-2 355M", 84.67, changes={"model": MEDIUM}),
    7: Row("GPT-2 774M", 96.67, changes={"model": LARGE}),
    8: Row("GPT-2 1558M", 98.33, changes={"model": XL}),
    9: Row("GPT-2 1558M, everything is trained", 98.67, 8, {"model": XL, "layers": "all"}),
    10: Row(
        "random weights, everything is trained", 93.67, 5, {"weights": "random", "layers": "all"}
    ),
    11: Row("LoRA in all blocks", 96.67, 5, {"layers": "LoRA"}),
    12: Row("GPT-2 1558M, LoRA", 98.33, 9, {"model": XL, "layers": "LoRA", "alpha": 8.0}),
    13: Row("padded to 1,024 tokens", 78.33, changes={"max_length": CONTEXT}),
    14: Row("no padding, batch size 1", 98.00, changes={"padding": False, "batch_size": 1}),
    15: Row(
        "no padding, 8 messages a step",
        98.33,
        changes={"padding": False, "batch_size": 1, "accumulation": 8},
    ),
    16: Row("the last real token classifies", 98.33, changes={"position": "last_token"}),
    17: Row("no causal mask", 95.33, changes={"causal_mask": False}),
    18: Row("ignore_index set to the padding", 95.00, changes={"ignore_index": END_OF_TEXT}),
    19: Row("the mean over all tokens classifies", 96.33, changes={"position": "mean"}),
    20: Row("words shuffled", changes={"words_shuffled": True}),
}


def parse_rows(text: str) -> list[int]:
    """Return the numbers of rows in a text such as "1-5,10,11", in order, each once.

    Raises ValueError for what is no such text or no row.
    """
    numbers = set()
    for piece in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", piece)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= first <= last <= max(ROWS):
            raise ValueError(
                f"{piece.strip()!r} names no rows; give numbers from 1 to {max(ROWS)}, "
                "such as 1-5,10,11"
            )
        numbers.update(range(first, last + 1))
    return sorted(numbers)


def why_not(number: int, model: str) -> str:
    """Return in a sentence why a row has nothing to tell when row 1 is `model`'s; "" if it has."""
    own = ROWS[number].changes.get("model")
    if own is None:
        return ""
    if model_size(model) == BUNDLED_SIZE:
        return (
            f"row {number} is skipped: it asks for {own}, a larger sister of GPT-2 124M, and the "
            f'nano has none; --model "gpt2-small (124M)" runs it'
        )
    if own == model and ROWS[number].changes.keys() == {"model"}:
        return f"row {number} is skipped: with {model} it is row 1"
    return ""
