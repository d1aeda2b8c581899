"""The Message Microscope: which tokens change the prediction, and the attention weights.

assets/microscope.mjs draws it and hands on what is typed and clicked; this file answers.
"""

import math
from html import escape

import torch
from anywidget import AnyWidget
from traitlets import Dict, Instance, Int, List, Unicode

from helpers.classify import SpamClassifier
from helpers.data import LABELS
from workshop import ASSETS
from workshop.inside import (
    AS_IN_TRAINING,
    PADDINGS,
    SPAM,
    answer,
    describe_input,
    influence_on_spam,
    influence_table,
    read_message,
)
from workshop.pictures.message import (
    draw_after_blocks,
    draw_attention,
    draw_influence,
    named_shares,
)
from workshop.widgets.parts import RUN_ALL, display_with_static_form, sentence_of

POSITIONS = {
    "last": "padded end",
    "last_token": "last real token",
    "first": "first token",
    "mean": "mean of all",
    "mean_tokens": "mean without padding",
}
MEAN = "mean of all heads"
LIMITS = """
<p><b>Influence</b> is the change of the prediction when one token is left out and all others stay. If
two words say the same, each of them seems unimportant, because the other one is still there. A
message with a gap also differs from the training messages. If the last real token classifies and is
left out, another token classifies.</p>
<p><b>Attention weights</b> say how much each position takes from each token in one block. They do not
say how much the prediction depends on it. The vectors were already mixed in the blocks below, and a
small weight of a long vector may count for more than a large weight of a short one. Jain and Wallace
(2019) found for other text classifiers that quite different attention can lead to the same
prediction. Wiegreffe and Pinter (2019) answered that this does not make it useless, and showed how to
test it. So use attention as a hint, and leave the token out to test it.</p>
<p>Neither explains <i>why</i> in the human sense.</p>
"""


def as_json(numbers: torch.Tensor, _: object = None) -> list[float | None]:
    """Return numbers, (n,), of six digits; None for nan, which JSON does not have."""
    return [None if math.isnan(x) else float(f"{x:.6g}") for x in numbers.tolist()]


def synced_numbers() -> Instance:
    """Return a trait that is a tensor in Python and a list of numbers in the page."""
    return Instance(torch.Tensor).tag(sync=True, to_json=as_json)


class MessageMicroscope(AnyWidget):
    """A line to type into; below it the tokens, coloured by their influence, and the prediction.

    `text` is the message, also for code to set; `position` says which token classifies.
    `probabilities`, those of ham and spam, (2,), are computed without the tokens at the indices
    `left_out`, and `influence`, (n,), is what each token of the whole message does for "spam", in
    nats. For a message that can't be classified, `problem` says why, and all else stays. Raises
    ValueError for a `text` that can't be read.
    """

    _esm = (ASSETS / "microscope.mjs").read_text(encoding="utf-8")
    text = Unicode().tag(sync=True)
    left_out = List(Int()).tag(sync=True)
    choices = List().tag(sync=True)
    chosen = Dict().tag(sync=True)  # the name of each choice → its option
    problem = Unicode().tag(sync=True)
    note = Unicode().tag(sync=True)
    tokens = List().tag(sync=True)
    influence = synced_numbers()
    table = Unicode().tag(sync=True)  # the influence, as HTML
    limits = Unicode(LIMITS).tag(sync=True)
    labels = List([*LABELS]).tag(sync=True)
    label = Int(SPAM).tag(sync=True)
    whole = synced_numbers()  # the probabilities of the whole message
    probabilities = synced_numbers()
    without = List().tag(sync=True)  # the `left_out` that `probabilities` are for
    attention = Dict().tag(sync=True)
    after = synced_numbers()  # the probability of spam after 0, 1, … blocks
    sums = synced_numbers()  # of the message's attention weights, by block

    def __init__(
        self,
        classifier: SpamClassifier,
        text: str = "Win a free phone! Text YES to 80086 now",
    ):
        self.classifier, self._reading = classifier, None
        cfg = classifier.model.cfg
        offered = {"last", "last_token", classifier.position}  # another only if it is trained so
        positions = [name for position, name in POSITIONS.items() if position in offered]
        blocks, heads = [str(i) for i in range(cfg["n_layers"])], map(str, range(cfg["n_heads"]))
        choices = [
            {"name": "position", "label": "Classify at", "options": positions, "about": "message"},
            {"name": "padding", "label": "Padding", "options": PADDINGS, "about": "message"},
            {"name": "block", "label": "Block", "options": blocks},
            {"name": "head", "label": "Head", "options": [MEAN, *heads]},
        ]
        position = POSITIONS[classifier.position]
        chosen = {
            "position": position,
            "padding": AS_IN_TRAINING,
            "block": blocks[-1],
            "head": MEAN,
        }
        self._unread = ""  # why the message in the line can't be classified
        self._shown = self._classify(text, [], chosen)  # the last values that could be computed
        super().__init__(text=text, choices=choices, **self._shown)
        self.observe(self._answer, ["text", "left_out", "chosen"])

    @property
    def position(self) -> str:
        """Which token classifies, as `helpers.training.POSITIONS` calls it."""
        return self._reading.position

    def _answer(self, change) -> None:
        """Compute what changed; where that can't be, say why and go back to the last values."""
        is_typed, shown = change.name == "text", self._shown
        if not is_typed and (self.left_out, self.chosen) == (shown["left_out"], shown["chosen"]):
            return  # this method has set it
        text, left_out = (self.text, []) if is_typed else (self._text, self.left_out)
        try:
            self._shown = self._classify(text, left_out, self.chosen)
            problem = "" if is_typed else self._unread
        except Exception as error:  # Jupyter shows nothing of what a callback raises
            problem = (
                f"{sentence_of(error)} The diagrams show the last message that could be classified."
            )
        if is_typed:
            self._unread = problem
        with self.hold_sync():
            self.problem = problem
            for name, value in self._shown.items():
                setattr(self, name, value)

    def _classify(self, text: str, left_out: list[int], chosen: dict) -> dict:
        """Return the values of the traits for a message without some tokens."""
        (position,) = [key for key, name in POSITIONS.items() if name == chosen["position"]]
        reading = read_message(self.classifier, text, chosen["padding"], position)
        left_out = sorted({*left_out} & {*range(len(reading.tokens))})  # a click may come too late
        whole = answer(self.classifier, reading)
        read = answer(self.classifier, reading, left_out) if left_out else whole
        if reading == self._reading and torch.equal(whole.probabilities, self.whole):
            influence = self.influence
        else:  # another message, or the model was changed since
            influence = influence_on_spam(self.classifier, reading)
        block, head, head_name = int(chosen["block"]), None, MEAN
        if chosen["head"] != MEAN:
            head, head_name = int(chosen["head"]), f"head {chosen['head']}"
        kept = [reading.tokens[i] for i in reading.kept(left_out)]
        names, weights = named_shares(kept, read.shares(head)[block], read.place)
        title = f"Attention weights at the {chosen['position']}: block {block}, {head_name}"
        self._text, self._reading = text, reading
        return {
            "left_out": left_out,
            "without": left_out,
            "chosen": chosen,
            "note": describe_input(reading),
            "tokens": [*reading.tokens],
            "influence": influence,
            "table": influence_table(reading.tokens, influence.tolist()),
            "whole": whole.probabilities,
            "probabilities": read.probabilities,
            "attention": {"title": title, "names": names, "weights": weights},
            "after": read.after_blocks[:, SPAM],
            "sums": read.to_the_message(head),
        }

    def static_form(self) -> tuple[str, str, str]:
        """Return the tokens' influence as a picture, a table of it with sentences, and text."""
        ham, spam = self.probabilities.tolist()
        title = f"spam {spam:.2f}, ham {ham:.2f}"
        drawing = draw_influence(self.tokens, self.influence.tolist(), title, self.left_out)
        attention = draw_attention(
            self.attention["names"], self.attention["weights"], self.attention["title"]
        )
        others = [attention.words, draw_after_blocks(self.after.tolist()).words]
        html = self.table + "".join(f"<p>{escape(words)}</p>" for words in others)
        return drawing.svg, html, "\n".join([drawing.words, *others])

    def _ipython_display_(self, **_) -> None:
        """Display the widget; where nothing is live, its static form."""
        svg, html, text = self.static_form()
        display_with_static_form(self, svg, html + RUN_ALL, text)
