"""The Message Microscope: which tokens change the answer, and where the model looks.

A click on a token leaves it out of the message.
"""

from html import escape

import torch
from ipywidgets import HTML, Text, ToggleButton, VBox

from helpers.classify import SpamClassifier
from helpers.training import classifying_place
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
from workshop.widgets.parts import (
    LAST_MESSAGE,
    Choice,
    Folded,
    Quiet,
    ask,
    button,
    display_with_static_form,
    html_fields,
    named,
    problem_shown,
    row,
    style_sheet,
)

POSITION_NAMES = {"last": "padded end", "last_token": "last real token"}


OTHER_POSITIONS = {"first": "first token", "mean": "mean of all"}  # for a classifier trained so


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


class MessageMicroscope(VBox):
    """A line to type into; below it the tokens, coloured by their influence, and the answer.

    `text` is the message, also for code to set; `position` says which token classifies, and
    `probabilities`, those of ham and spam, are the answer without the tokens that are left out.
    `influence` (n,) is what each token of the whole message does for "spam", in nats. A message that
    can't be read is answered in a sentence, and the last one that could be stays. `small` leaves out
    the single heads and the answer after each block. Raises ValueError for a `text` that can't be
    read.
    """

    def __init__(
        self,
        classifier: SpamClassifier,
        text: str = "Win a free phone! Text YES to 80086 now",
        small: bool = False,
    ):
        self.classifier, self.small = classifier, small
        self._quiet, self._chips = Quiet(), []
        names = POSITION_NAMES | OTHER_POSITIONS
        self._positions = {name: position for position, name in POSITION_NAMES.items()}
        self._positions[names[classifier.position]] = classifier.position
        cfg = classifier.model.cfg
        blocks, heads = [str(i) for i in range(cfg["n_layers"])], map(str, range(cfg["n_heads"]))
        self._text = named(ask(Text, "fx-text", "Message", value=text), "mm-text")
        self._position = Choice(
            "mm-position", "Classify at", self._positions, names[classifier.position],
            lambda _: self._read_again(),
        )  # fmt: skip
        self._padding = Choice(
            "mm-padding", "Padding", PADDINGS, AS_IN_TRAINING, lambda _: self._read_again()
        )
        self._block = Choice(
            "mm-block", "Block", blocks, blocks[-1], lambda _: self._show_attention()
        )
        self._head = Choice(
            "mm-head", "Head", [MEAN, *heads], MEAN, lambda _: self._show_attention()
        )
        restore = button("fx-more mm-restore", "Bring all back", lambda: self._leave_out(set()))
        show = self._html = html_fields(
            "mm", "row", "unread", "problem", "probability", "change", "attention", "shares",
            "after", "table",
        )  # fmt: skip
        self._tokens = row(css="mm-tokens")
        after = named(VBox([HTML(AFTER_BLOCKS), show["after"]]), "mm-forming")
        self._read(text)
        super().__init__(
            [
                style_sheet(),
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
                row(self._block) if small else row(self._block, self._head),
                show["attention"],
                row(show["shares"]) if small else row(show["shares"], after),
                Folded("what this does not show", named(HTML(LIMITS), "mm-limits")),
            ]
        )
        named(self, "fx-widget message-microscope")
        self._show_message()
        self._text.observe(lambda _: self._change_text(), "value")

    # --- the state ---

    @property
    def text(self) -> str:
        """The message; setting it is like typing it."""
        return self._text.value

    @text.setter
    def text(self, text: str) -> None:
        self._text.value = text

    @property
    def position(self) -> str:
        """Which token classifies: "last", the padded end, or "last_token", or another position."""
        return self._positions[self._position.chosen]

    @property
    def probabilities(self) -> torch.Tensor:
        """The probabilities of ham and spam, (2,), without the tokens that are left out."""
        return self._answer.probabilities

    @property
    def left_out(self) -> tuple[int, ...]:
        """The numbers of the tokens that are left out."""
        return tuple(sorted(self._left_out))

    @property
    def drawing(self) -> Drawing:
        """The tokens as a picture, and what it shows in words."""
        title = f"spam {self._answer.spam:.2f}, ham {1 - self._answer.spam:.2f}"
        return draw_influence(self._reading.tokens, self.influence.tolist(), title, self._left_out)

    # --- what the learner does ---

    def _change_text(self) -> None:
        with problem_shown(self._html["unread"], after=LAST_MESSAGE):
            self._read(self._text.value)
            self._html["problem"].value = ""
            self._show_message()

    def _read_again(self) -> None:
        """Read the message that is shown, which need not be the one in the box, as is chosen now."""
        with problem_shown(self._html["problem"], after=LAST_MESSAGE):
            self._read(self._taken, self._left_out)
            self._show_message()
        position, padding = self._read_with  # a choice that the model fails at is taken back
        self._position.choose(position)
        self._padding.choose(padding)

    def click_token(self, number: int) -> None:
        """Leave a token out, or bring it back."""
        if not self._quiet and number < len(self._reading.tokens):  # or the click comes too late
            self._leave_out(self._left_out ^ {number})

    def _leave_out(self, left_out: set[int]) -> None:
        """Answer without these tokens; where that can't be, say why and leave all as it was."""
        with problem_shown(self._html["problem"]):
            self._answer = answer(self.classifier, self._reading, left_out)
            self._left_out = left_out
            self._show_answer()
        self._show_chips()

    def _read(self, text: str, left_out: set[int] = frozenset()) -> None:
        """Take a message; nothing is changed where it can't be taken."""
        chosen = self._position.chosen, self._padding.chosen
        reading = read_message(self.classifier, text, self._padding.chosen, self.position)
        whole = answer(self.classifier, reading)
        influence = influence_on_spam(self.classifier, reading)
        without = answer(self.classifier, reading, left_out) if left_out else whole
        self._taken, self._left_out, self._read_with = text, left_out, chosen
        self._reading, self._whole, self._answer = reading, whole, without
        self.influence = influence

    # --- what is shown ---

    def _show_message(self) -> None:
        self._html["row"].value = say_row(self._reading)
        table = influence_table(self._reading.tokens, self.influence.tolist())
        self._html["table"].value = table
        self._show_chips()
        self._show_answer()

    def _show_chips(self) -> None:
        """Let each token's button show what it is; buttons are made once and used again."""
        tokens, influence = self._reading.tokens, self.influence.tolist()
        while len(self._chips) < len(tokens):
            self._chips.append(_Chip(self, len(self._chips)))
        with self._quiet():
            for i, token in enumerate(tokens):
                self._chips[i].show(token, influence[i], i in self._left_out)
        if len(self._tokens.children) != len(tokens):
            self._tokens.children = self._chips[: len(tokens)]

    def _show_answer(self) -> None:
        self._html["probability"].value = draw_probabilities(self._answer.spam).svg
        change = say_change(self._reading, self._left_out, self._whole, self._answer)
        self._html["change"].value = f'<p role="status">{change}</p>'
        self._html["after"].value = self._draw_after_blocks().svg
        self._show_attention()

    def _show_attention(self) -> None:
        self._html["attention"].value = self._draw_attention().svg
        block, head, head_name = self._attends()
        shares = self._answer.to_the_message(head).tolist()
        title = f"To the whole message, by block: {head_name}"
        self._html["shares"].value = draw_shares({"share": shares}, title, block).svg

    def _attends(self) -> tuple[int, int | None, str]:
        """Return the block and the head (None for their mean) that are chosen, and the head's name."""
        block, head = int(self._block.chosen), self._head.chosen
        return (block, None, MEAN) if head == MEAN else (block, int(head), f"head {head}")

    def _draw_attention(self) -> Drawing:
        block, head, head_name = self._attends()
        tokens = [self._reading.tokens[i] for i in self._reading.kept(self._left_out)]
        position = classifying_place(self._reading.row(self._left_out), self.position)
        shares = named_shares(tokens, self._answer.shares(block, head), position)
        title = f"Where the {self._position.chosen} looks: block {block}, {head_name}"
        return draw_attention(*shares, title)

    def _draw_after_blocks(self) -> Drawing:
        return draw_after_blocks(self._answer.after_blocks[:, SPAM].tolist())

    def _ipython_display_(self, **_) -> None:
        others = [self._draw_attention().words]
        if not self.small:
            others.append(self._draw_after_blocks().words)
        html = self._html["table"].value + "".join(f"<p>{escape(words)}</p>" for words in others)
        drawing = self.drawing
        display_with_static_form(self, drawing.svg, html, "\n".join([drawing.words, *others]))


class _Chip(ToggleButton):
    """A token as a button, pressed where it is left out."""

    def __init__(self, microscope: MessageMicroscope, number: int):
        super().__init__()
        self._colour = ""
        named(self, f"mm-token mm-token-{number}")
        self.observe(lambda _: microscope.click_token(number), "value")

    def show(self, token: str, influence: float, left_out: bool) -> None:
        with self.hold_sync():
            self.description = chip_words(token, influence, left_out)
            self.tooltip = chip_hint(influence, left_out)
            self.value = left_out
            colour = chip_class(influence)
            if colour != self._colour:
                self.remove_class(self._colour)
                named(self, colour)
                self._colour = colour
