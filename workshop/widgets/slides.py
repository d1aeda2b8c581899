"""Slides: a slider that moves through ready-made pictures, such as the frames of a film.

Two buttons move it too. They have names, which a slider of ipywidgets has not, so that a screen
reader can say what they do.
"""

from collections.abc import Sequence
from html import escape

import numpy as np
from ipywidgets import HTML, HBox, SelectionSlider

from helpers.checks import whole_number
from workshop.pictures.svg import Drawing, joined
from workshop.tables import html_table
from workshop.widgets.parts import CourseWidget, button, named, row

PICTURES, ROWS = 3, 11  # at most as many where nothing is live


class Slides(CourseWidget):
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
        back = button("fx-more sl-back", "◀ previous", lambda: self._show(-1))
        forward = button("fx-more sl-next", "next ▶", lambda: self._show(1))
        back.tooltip, forward.tooltip = "the picture before", "the picture after"
        self._picture, self._words = named(HTML(), "sl-picture"), named(HTML(), "sl-words")
        controls = row(self._slider, HBox([back, forward]), css="sl-controls")
        super().__init__("picture-slides", [controls, self._words, self._picture])
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

    def _show(self, by: int = 0) -> None:
        """Show the picture that lies `by` further, or the one at that end."""
        self.index = min(max(self.index + by, 0), len(self.drawings) - 1)
        drawing, name = self.drawings[self.index], escape(self.names[self.index])
        self._picture.value = drawing.svg
        unseen = f'<span class="fx-unseen">: {escape(drawing.words)}</span>'
        self._words.value = f'<p role="status"><b>{name}</b>{unseen}</p>'

    def static_form(self) -> tuple[str, str, str]:
        """Return three pictures below each other, a table and text."""
        drawings, names, count = self.drawings, self.names, len(self.drawings)
        shown = np.linspace(0, count - 1, min(count, PICTURES)).round().astype(int)
        below = joined([drawings[i] for i in shown], [names[i] for i in shown])
        in_table = np.linspace(0, count - 1, min(count, ROWS)).round().astype(int)
        rows = [(names[i], drawings[i].words) for i in in_table]
        table = html_table((self.label, "what it shows"), rows, f"{self.label}, in words")
        return below.svg, table, below.words
