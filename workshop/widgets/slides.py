"""Slides: a slider that moves through ready-made pictures, such as the frames of a film.

Two buttons move it too. They have names, which a slider of ipywidgets has not, so that a screen
reader can say what they do.
"""

from collections.abc import Sequence
from html import escape

import numpy as np
from ipywidgets import HTML, HBox, SelectionSlider, VBox

from helpers.checks import whole_number
from workshop.pictures.svg import Drawing, below_each_other
from workshop.tables import html_table
from workshop.widgets.parts import (
    button,
    display_with_static_form,
    named,
    row,
    style_sheet,
)

PICTURES, ROWS = 3, 11  # at most as many where nothing is live


class Slides(VBox):
    """Pictures, of which a slider shows one; the arrow keys move it.

    `names` say which picture is which, and `label` what the slider goes through: Slides(drawings,
    ["before", "after"], "The training"). `index`, from 0, is the picture that is shown, at first
    `start`; it may be set. Raises ValueError for fewer than two pictures, for another number of
    names and for an index beyond the last.
    """

    def __init__(
        self,
        drawings: Sequence[Drawing],
        names: Sequence[str],
        label: str = "Picture",
        start: int = 0,
    ):
        self.drawings, self.names, self.label = tuple(drawings), tuple(names), label
        count = len(self.drawings)
        if count < 2:
            raise ValueError(f"a slider needs at least 2 pictures, not {count}")
        if count != len(self.names):
            raise ValueError(f"{count} pictures have {len(self.names)} names; give each its own")
        slider = SelectionSlider(
            options=[(name, i) for i, name in enumerate(self.names)],
            description=label,
            readout=False,  # Tab would stop at it, and it has no name
            style={"description_width": "initial"},
        )
        self._slider = named(slider, "sl-slider")
        back, forward = lambda: self._move(-1), lambda: self._move(1)
        buttons = [
            button("fx-more sl-back", "◀ previous", back, tooltip="the picture before"),
            button("fx-more sl-next", "next ▶", forward, tooltip="the picture after"),
        ]
        self._picture, self._words = named(HTML(), "sl-picture"), named(HTML(), "sl-words")
        controls = row(self._slider, HBox(buttons), css="sl-controls")
        super().__init__([style_sheet(), controls, self._words, self._picture])
        named(self, "fx-widget picture-slides")
        self._slider.observe(lambda _: self._show(), "value")
        self.index = start
        self._show()

    @property
    def index(self) -> int:
        """Which picture is shown, from 0."""
        return self._slider.value

    @index.setter
    def index(self, index: int) -> None:
        last = len(self.drawings) - 1
        self._slider.value = whole_number("the picture's index", index, 0, last)

    @property
    def drawing(self) -> Drawing:
        """The picture that is shown, and what it shows in words."""
        return self.drawings[self.index]

    def _move(self, by: int) -> None:
        if 0 <= self.index + by < len(self.drawings):
            self.index += by

    def _show(self) -> None:
        self._picture.value = self.drawing.svg
        name, words = escape(self.names[self.index]), escape(self.drawing.words)
        unseen = f'<span class="fx-unseen">: {words}</span>'
        self._words.value = f'<p role="status"><b>{name}</b>{unseen}</p>'

    def _ipython_display_(self, **_) -> None:
        """Display the slides; where nothing is live, three pictures below each other and a table."""
        shown = _evenly_spaced(len(self.drawings), PICTURES)
        drawings, names = [self.drawings[i] for i in shown], [self.names[i] for i in shown]
        svg = below_each_other(drawings, names)
        in_table = _evenly_spaced(len(self.drawings), ROWS)
        rows = [(self.names[i], self.drawings[i].words) for i in in_table]
        table = html_table((self.label, "what it shows"), rows, f"{self.label}, in words")
        display_with_static_form(self, svg.svg, table, svg.words)


def _evenly_spaced(count: int, most: int) -> list[int]:
    """Return at most `most` numbers from 0 to count - 1, evenly spaced, the first and the last too."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist()
