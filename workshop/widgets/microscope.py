"""The Message Microscope: which words tip the answer, and where the model looks.

A press on a token leaves it out. The widget keeps the message and what is left out of it, asks
`helpers.reading` and shows what that returns.
"""

from html import escape

import torch
from ipywidgets import HTML, Button, HBox, Text, ToggleButton, VBox

from helpers.checks import instance_of
from helpers.classify import SpamClassifier
from helpers.training import classifying_place
from workshop.inside import (
    AS_IN_TRAINING,
    PADDINGS,
    SPAM,
    Answer,
    Reading,
    answer,
    influence_on_spam,
    influence_table,
    read_message,
    say_change,
    say_row,
)
from workshop.pictures.message import (
    LEGEND,
    chip_class,
    chip_colours,
    chip_hint,
    chip_words,
    draw_after_blocks,
    draw_attention,
    draw_influence,
    draw_probabilities,
    draw_shares,
    named_shares,
)
from workshop.pictures.svg import Drawing
from workshop.tables import say_problem
from workshop.widgets.parts import Choice, Folded, Quiet, ask, named, show_with_words, style_sheet

PLACES = {"padded end": "last", "last real token": "last_token"}


OTHER_PLACES = {"first token": "first", "mean of all": "mean"}  # for a classifier trained so


MEAN = "mean of all heads"


CHIPS = (
    "<b>Press a token</b> to leave it out, and again to bring it back. Colours and marks are those "
    "of the whole message, each token left out of it alone."
)


AFTER_BLOCKS = (
    "<b>When does the answer form?</b> The head was trained on what comes out of the last block; "
    "here it reads what comes out earlier, too, which it has never met in training."
)


LIMITS = """
<p><b>Influence</b> is what the answer loses when one token goes and all others stay. Where two
words say the same, each alone seems to matter little, since the other is still there. And a message
with a hole in it is not like those that the model has learned from. Where the last real token
classifies and is left out, another one does, with another view.</p>
<p><b>Attention</b> says from where a position gathers in one block, not what the answer owes to it.
What is gathered there was mixed in the blocks below, and a small share of a long vector may count
for more than a large share of a short one. Jain and Wallace (2019) found for other text classifiers
that quite different attention can lead to the same answer, and that it hardly agrees with other
measures of what mattered. Wiegreffe and Pinter (2019) answered that this does not make it useless,
and showed how to test what one claims of it. So take attention as a hint, and leave the token out to
see.</p>
<p>Neither says <i>why</i> in a person's sense.</p>
"""


_FAILURES = (ValueError, IndexError, RuntimeError, MemoryError)


class MessageMicroscope(VBox):
    """A line to type into; below it the tokens, coloured by what they do, and the answer.

    `text` is the message, also for code to set; `position` says which token classifies, and
    `probabilities`, those of ham and spam, are the answer without the tokens that are left out.
    `influence` (n,) is what each token does for "spam" in the whole message, in nats. A message that
    can't be read is answered in a sentence, and the last one that could be stays. `small` leaves out
    the single heads and the answer after each block. Raises TypeError for what is no classifier,
    ValueError for a `text` that can't be read.
    """

    def __init__(
        self,
        classifier: SpamClassifier,
        text: str = "Win a free phone! Text YES to 80086 now",
        small: bool = False,
    ):
        instance_of("classifier", classifier, SpamClassifier, "a SpamClassifier")
        self.classifier, self.small = classifier, small
        self._places = PLACES | {
            name: place for name, place in OTHER_PLACES.items() if place == classifier.position
        }
        self._reading: Reading = read_message(classifier, text)
        self._taken, self._unread = text, ""  # the text that is shown; why that in the box is not
        self._left_out: frozenset[int] = frozenset()
        self._influence: torch.Tensor
        self._whole: Answer
        self._answer: Answer
        self._quiet, self._chips = Quiet(), []
        self._block, self._head = classifier.model.cfg["n_layers"] - 1, None
        self._make_controls(text)
        super().__init__(self._arranged())
        named(self, "fx-widget message-microscope")
        self._read(text)
        self._show_message()
        self._text.observe(self._change_text, "value")

    def _make_controls(self, text: str) -> None:
        cfg = self.classifier.model.cfg
        blocks, heads = list(map(str, range(cfg["n_layers"]))), map(str, range(cfg["n_heads"]))
        self._text = named(ask(Text, "fx-text", "Message", value=text), "mm-text")
        self._place = Choice("mm-position", "Classify at", self._places, self._choose_place)
        self._padding = Choice("mm-padding", "Padding", PADDINGS, self._choose_padding)
        self._blocks = Choice("mm-block", "Block", blocks, self._choose_block)
        self._heads = Choice("mm-head", "Head", [MEAN, *heads], self._choose_head)
        self._restore = named(Button(description="Bring all back"), "fx-more mm-restore")
        names = ("problem", "row", "probability", "change", "attention", "shares", "after", "table")
        self._show = {name: named(HTML(), f"mm-{name}") for name in names}
        self._line = named(HBox(), "fx-wrap mm-tokens")
        self._place.choose(
            next(name for name, place in self._places.items() if place == self.classifier.position)
        )
        self._padding.choose(AS_IN_TRAINING)
        self._blocks.choose(blocks[self._block])
        self._heads.choose(MEAN)
        self._restore.on_click(lambda _: self._leave_out(frozenset()))

    def _arranged(self) -> list:
        show = self._show
        heads = [] if self.small else [self._heads]
        after = (
            [] if self.small else [named(VBox([HTML(AFTER_BLOCKS), show["after"]]), "mm-forming")]
        )
        return [
            style_sheet(),
            HTML(f"<style>{chip_colours()}</style>"),
            named(HBox([self._text]), "fx-wrap"),
            named(HBox([self._place, self._padding]), "fx-wrap"),
            show["row"],
            named(show["problem"], "fx-problem"),
            named(HBox([show["probability"], show["change"]]), "fx-wrap mm-answer"),
            named(HTML(f"<p>{CHIPS}</p>"), "mm-how"),
            self._line,
            named(HTML(f"<p>{escape(' '.join(LEGEND))}</p>"), "mm-legend"),
            self._restore,
            Folded("the numbers", show["table"]),
            named(HBox([self._blocks, *heads]), "fx-wrap"),
            show["attention"],
            named(HBox([show["shares"], *after]), "fx-wrap"),
            Folded("what this does not show", named(HTML(LIMITS), "mm-limits")),
        ]

    # --- the state ---

    @property
    def text(self) -> str:
        """The message; setting it is like typing it. Raises TypeError for what is no text."""
        return self._text.value

    @text.setter
    def text(self, text: str) -> None:
        instance_of("text", text, str, "a text")
        self._text.value = text

    @property
    def position(self) -> str:
        """Which token classifies: "last", the padded end, or "last_token", or another position."""
        return self._places[self._place.chosen]

    @property
    def probabilities(self) -> torch.Tensor:
        """The probabilities of ham and spam, (2,), without the tokens that are left out."""
        return self._answer.probabilities

    @property
    def influence(self) -> torch.Tensor:
        """What each token of the whole message does for "spam", in nats: (n,)."""
        return self._influence

    @property
    def left_out(self) -> tuple[int, ...]:
        """The numbers of the tokens that are left out."""
        return tuple(sorted(self._left_out))

    @property
    def drawing(self) -> Drawing:
        """The tokens as a picture, and what it shows in words."""
        title = f"spam {self._answer.spam:.2f}, ham {1 - self._answer.spam:.2f}"
        return draw_influence(self._reading.tokens, self._influence.tolist(), title, self._left_out)

    # --- what the learner does ---

    def _change_text(self, _) -> None:
        try:
            self._read(self._text.value)
        except _FAILURES as error:
            self._unread = say_problem(error)
        else:
            self._unread = ""
            self._show_message()
        self._show["problem"].value = self._unread

    def _choose_place(self, name: str) -> None:
        self._read_anew(self._place, name)

    def _choose_padding(self, name: str) -> None:
        self._read_anew(self._padding, name)

    def _read_anew(self, choice: Choice, name: str) -> None:
        """Take a choice for the message that is shown, which need not be what stands in the box."""
        before = choice.chosen
        choice.choose(name)
        try:
            self._read(self._taken, self._left_out)
        except _FAILURES as error:
            choice.choose(before)
            self._show["problem"].value = say_problem(error)
        else:
            self._show["problem"].value = self._unread
            self._show_message()

    def _choose_block(self, name: str) -> None:
        self._blocks.choose(name)
        self._block = int(name)
        self._show_attention()

    def _choose_head(self, name: str) -> None:
        self._heads.choose(name)
        self._head = None if name == MEAN else int(name)
        self._show_attention()

    def _press(self, number: int) -> None:
        if not self._quiet and number < len(self._reading.tokens):  # or it is a late one
            self._leave_out(self._left_out ^ {number})

    def _leave_out(self, left_out: frozenset[int]) -> None:
        """Answer without these tokens; where that can't be, say why and leave all as it was."""
        try:
            self._answer = answer(self.classifier, self._reading, left_out)
        except _FAILURES as error:
            self._show["problem"].value = f'<p role="alert">{escape(str(error))}.</p>'
        else:
            self._left_out, self._show["problem"].value = left_out, self._unread
            self._show_answer()
        self._show_chips()

    def _read(self, text: str, left_out: frozenset[int] = frozenset()) -> None:
        """Take a message; nothing is changed where it can't be taken."""
        reading = read_message(self.classifier, text, self._padding.chosen, self.position)
        whole = answer(self.classifier, reading)
        influence = influence_on_spam(self.classifier, reading)
        left = answer(self.classifier, reading, left_out) if left_out else whole
        self._reading, self._whole, self._influence = reading, whole, influence
        self._taken, self._left_out, self._answer = text, left_out, left

    # --- what is shown ---

    def _show_message(self) -> None:
        self._show["row"].value = say_row(self._reading)
        table = influence_table(self._reading.tokens, self._influence.tolist())
        self._show["table"].value = table
        self._show_chips()
        self._show_answer()

    def _show_chips(self) -> None:
        """Have each token's button say what it is; buttons are made once and used again."""
        tokens, influences = self._reading.tokens, self._influence.tolist()
        while len(self._chips) < len(tokens):
            self._chips.append(_Chip(self, len(self._chips)))
        with self._quiet():
            for chip, token, influence in zip(self._chips, tokens, influences, strict=False):
                chip.show(token, influence, chip.number in self._left_out)
        if len(self._line.children) != len(tokens):
            self._line.children = self._chips[: len(tokens)]

    def _show_answer(self) -> None:
        spam = self._answer.spam
        self._show["probability"].value = draw_probabilities(spam).svg
        change = say_change(self._reading, self._left_out, self._whole, self._answer)
        self._show["change"].value = f'<p role="status">{change}</p>'
        self._show_attention()
        if not self.small:
            self._show["after"].value = self._forming().svg

    def _show_attention(self) -> None:
        self._show["attention"].value = self._attention().svg
        shares = self._answer.to_the_message(self._head).tolist()
        title = f"To the whole message, by block: {self._head_in_words()}"
        self._show["shares"].value = draw_shares({"share": shares}, title, self._block).svg

    def _attention(self) -> Drawing:
        row = self._reading.row(self._left_out)
        tokens = [self._reading.tokens[i] for i in self._reading.kept(self._left_out)]
        place = classifying_place(row, self.position)
        shares = self._answer.shares(self._block, self._head)
        title = (
            f"Where the {self._place.chosen} looks: block {self._block}, {self._head_in_words()}"
        )
        return draw_attention(*named_shares(tokens, shares, place), title)

    def _forming(self) -> Drawing:
        return draw_after_blocks(self._answer.after_blocks[:, SPAM].tolist())

    def _head_in_words(self) -> str:
        return MEAN if self._head is None else f"head {self._head}"

    def _ipython_display_(self, **_) -> None:
        """Show the widget; picture and table go along for pages where nothing is live."""
        drawing = self.drawing
        others = [self._attention().words]
        if not self.small:
            others.append(self._forming().words)
        html = self._show["table"].value + "".join(f"<p>{escape(words)}</p>" for words in others)
        words = "\n".join([drawing.words, *others])
        show_with_words(self, drawing.svg, html, words)


class _Chip(ToggleButton):
    """A token as a button, pressed where it is left out."""

    def __init__(self, microscope: MessageMicroscope, number: int):
        super().__init__()
        self.number, self._colour = number, ""
        named(self, f"mm-token mm-token-{number}")
        self.observe(lambda _: microscope._press(number), "value")

    def show(self, token: str, influence: float, left_out: bool) -> None:
        with self.hold_sync():
            self.description = chip_words(token, influence, left_out)
            self.tooltip = chip_hint(influence, left_out)
            self.value = left_out
            if (colour := chip_class(influence)) != self._colour:
                self.remove_class(self._colour)
                named(self, colour)
                self._colour = colour
