"""The Message Microscope: which tokens change the prediction, and the attention weights.

A click on a token leaves it out of the message.
"""

from html import escape

import torch
from ipywidgets import HTML, Text, ToggleButton, VBox

from helpers.classify import SpamClassifier
from workshop.inside import (
    AS_IN_TRAINING,
    PADDINGS,
    SPAM,
    answer,
    influence_on_spam,
    influence_table,
    read_message,
    say_change,
    say_row,
)
from workshop.pictures.message import (
    LEGEND,
    chip_colours,
    draw_after_blocks,
    draw_attention,
    draw_influence,
    draw_probabilities,
    draw_shares,
    named_shares,
    token_button,
)
from workshop.widgets.parts import (
    Choice,
    CourseWidget,
    Folded,
    ask,
    button,
    html_fields,
    named,
    problem_shown,
    row,
)

POSITIONS = {
    "last": "padded end",
    "last_token": "last real token",
    "first": "first token",
    "mean": "mean of all",
    "mean_tokens": "mean without padding",
}
MEAN = "mean of all heads"
CHIPS = (
    "<b>Click a token</b> to leave it out, and click it again to restore it. Colours and signs are "
    "computed on the whole message, leaving out one token at a time."
)
AFTER_BLOCKS = (
    "<b>The prediction after each block.</b> The head was trained on the output of the last block. "
    "Here it also reads the outputs of earlier blocks, which it has not seen in training."
)
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


class MessageMicroscope(CourseWidget):
    """A line to type into; below it the tokens, coloured by their influence, and the answer.

    `text` is the message, also for code to set; `position` says which token classifies, and
    `probabilities`, those of ham and spam, are the answer without the tokens that are left out.
    `influence` (n,) is what each token of the whole message does for "spam", in nats. A message that
    can't be read is answered in a sentence, and the last one that could be stays. Raises
    ValueError for a `text` that can't be read.
    """

    def __init__(
        self,
        classifier: SpamClassifier,
        text: str = "Win a free phone! Text YES to 80086 now",
    ):
        self.classifier = classifier
        self._chips = []
        offered = {"last", "last_token", classifier.position}  # another only if it is trained so
        self._positions = {name: it for it, name in POSITIONS.items() if it in offered}
        cfg = classifier.model.cfg
        blocks, heads = [str(i) for i in range(cfg["n_layers"])], map(str, range(cfg["n_heads"]))
        show = self._html = html_fields(
            "mm", "row", "unread", "problem", "probability", "change", "attention", "shares",
            "after", "table",
        )  # fmt: skip

        self._text = named(ask(Text, "fx-text", "Message", value=text), "mm-text")
        self._position = Choice(
            "mm-position",
            "Classify at",
            self._positions,
            POSITIONS[classifier.position],
            self._read_again,
        )
        self._padding = Choice("mm-padding", "Padding", PADDINGS, AS_IN_TRAINING, self._read_again)
        self._block = Choice("mm-block", "Block", blocks, blocks[-1], self._show_attention)
        self._head = Choice("mm-head", "Head", [MEAN, *heads], MEAN, self._show_attention)
        restore = button(
            "fx-more mm-restore", "Restore all tokens", lambda: self._click(*self.left_out)
        )
        self._tokens = row(css="mm-tokens")
        after = named(VBox([HTML(AFTER_BLOCKS), show["after"]]), "mm-forming")
        self._read(text)
        super().__init__(
            "message-microscope",
            [
                HTML(f"<style>{chip_colours()}</style>"),
                row(self._text),
                row(self._position, self._padding),
                show["row"],
                named(show["unread"], "fx-problem"),
                named(show["problem"], "fx-problem"),
                row(show["probability"], show["change"], css="mm-answer"),
                named(HTML(f"<p>{CHIPS}</p>"), "mm-how"),
                self._tokens,
                named(HTML(f"<p>{escape(' '.join(LEGEND))}</p>"), "mm-legend"),
                restore,
                Folded("the numbers", show["table"]),
                row(self._block, self._head),
                show["attention"],
                row(show["shares"], after),
                Folded("what this does not show", named(HTML(LIMITS), "mm-limits")),
            ],
        )
        self._text.observe(self._read_again, "value")

    # --- the state ---

    @property
    def text(self) -> str:
        """The message; setting it is like typing it."""
        return self._text.value

    @text.setter
    def text(self, text: str) -> None:
        self._text.value = text

    @property
    def probabilities(self) -> torch.Tensor:
        """The probabilities of ham and spam, (2,), without the tokens that are left out."""
        return self._answer.probabilities

    # --- what the learner does ---

    def _read_again(self, change: object) -> None:
        """Read the message after a change; where that can't be, say why and leave all as it was."""
        text, left_out, line = self.text, (), self._html["unread"]
        if isinstance(change, str):  # a choice, for what is shown: the box may hold something else
            text, left_out, line = self._taken, self.left_out, self._html["problem"]
        taken = " The diagrams show the last message that could be classified."
        with problem_shown(line, after=taken):
            self._read(text, left_out)
            self._html["problem"].value = ""
        position, padding = self._read_with  # a choice that the model fails at is taken back
        self._position.choose(position)
        self._padding.choose(padding)

    def _read(self, text: str, left_out: tuple[int, ...] = ()) -> None:
        """Read a message as is chosen, and show it; nothing is changed where it can't be read."""
        chosen = self._position.value, self._padding.value
        position = self._positions[self._position.value]
        reading = read_message(self.classifier, text, self._padding.value, position)
        whole = answer(self.classifier, reading)
        influence = influence_on_spam(self.classifier, reading)
        self._answer = answer(self.classifier, reading, left_out) if left_out else whole
        self._taken, self.left_out, self._read_with = text, left_out, chosen
        self._reading, self._whole, self.influence = reading, whole, influence
        self.position = position
        self._html["row"].value = say_row(reading)
        self._html["table"].value = influence_table(reading.tokens, influence.tolist())
        self._show_answer()

    def _press(self, i: int, is_down: bool) -> None:
        if is_down != (i in self.left_out):  # otherwise `_show_answer` has set it
            self._click(i)

    def _click(self, *numbers: int) -> None:
        """Leave tokens out or bring them back; where that can't be, say why and change nothing."""
        if max(numbers, default=0) >= len(self._reading.tokens):  # the click comes too late
            return
        left_out = tuple(sorted({*self.left_out} ^ {*numbers}))
        with problem_shown(self._html["problem"]):
            whole = answer(self.classifier, self._reading)
            if torch.equal(whole.probabilities, self._whole.probabilities):
                self._answer = answer(self.classifier, self._reading, left_out)
                self.left_out = left_out
            else:  # the model has been changed since
                self._read(self._taken, left_out)
        self._show_answer()

    # --- what is shown ---

    def _show_answer(self) -> None:
        """Show the answer, and let each token's button, made once, show what the token is."""
        tokens, influence = self._reading.tokens, self.influence.tolist()
        for i in range(len(self._chips), len(tokens)):
            chip = ToggleButton()
            chip.observe(lambda change, i=i: self._press(i, change.new), "value")
            self._chips.append(chip)
        for i, token in enumerate(tokens):
            chip, left_out = self._chips[i], i in self.left_out
            words, hint, css = token_button(token, influence[i], left_out)
            with chip.hold_sync():
                chip._dom_classes = ("mm-token", f"mm-token-{i}", css)
                chip.description, chip.tooltip, chip.value = words, hint, left_out
        if len(self._tokens.children) != len(tokens):
            self._tokens.children = self._chips[: len(tokens)]
        self._html["probability"].value = draw_probabilities(self._answer.spam).svg
        change = say_change(self._reading, self.left_out, self._whole, self._answer)
        self._html["change"].value = f'<p role="status">{change}</p>'
        self._after = draw_after_blocks(self._answer.after_blocks[:, SPAM].tolist())
        self._html["after"].value = self._after.svg
        self._show_attention()

    def _show_attention(self, _: str = "") -> None:
        """Show the attention weights of the classifying token in the chosen block and head."""
        block, head, head_name = int(self._block.value), None, MEAN
        if self._head.value != MEAN:
            head, head_name = int(self._head.value), f"head {self._head.value}"
        tokens = [self._reading.tokens[i] for i in self._reading.kept(self.left_out)]
        shares = named_shares(tokens, self._answer.shares(head)[block], self._answer.place)
        title = f"Attention weights at the {self._position.value}: block {block}, {head_name}"
        self._attention = draw_attention(*shares, title)
        self._html["attention"].value = self._attention.svg
        to_message = {"sum": self._answer.to_the_message(head).tolist()}
        title = f"Sum over the message, by block: {head_name}"
        self._html["shares"].value = draw_shares(to_message, title, block).svg

    def static_form(self) -> tuple[str, str, str]:
        """Return the tokens' influence as a picture, a table of it with sentences, and text."""
        spam, influence = self._answer.spam, self.influence.tolist()
        title = f"spam {spam:.2f}, ham {1 - spam:.2f}"
        drawing = draw_influence(self._reading.tokens, influence, title, self.left_out)
        others = [self._attention.words, self._after.words]
        html = self._html["table"].value + "".join(f"<p>{escape(words)}</p>" for words in others)
        return drawing.svg, html, "\n".join([drawing.words, *others])
