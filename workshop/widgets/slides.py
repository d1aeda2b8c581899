"""Slides: a slider that moves through ready-made pictures, such as the frames of a film."""

from collections.abc import Sequence

import numpy as np
from anywidget import AnyWidget
from traitlets import Int, List, Unicode

from helpers.checks import whole_number
from workshop import ASSETS
from workshop.pictures.svg import Drawing, joined
from workshop.tables import html_table
from workshop.widgets.parts import STYLE, display_with_static_form

PICTURES, ROWS = 3, 11  # at most as many where nothing is live


class Slides(AnyWidget):
    """Pictures, of which a slider shows one; the arrow keys and two buttons move it.

    `names` say which picture is which, and `label` what the slider goes through: Slides(drawings,
    ["before", "after"], "The training"). `index`, from 0, is the picture that is shown, at first
    `start`; it may be set. Raises ValueError for fewer than two pictures, for another number of
    names and for a start beyond the last.
    """

    _esm, _css = (ASSETS / "slides.mjs").read_text(encoding="utf-8"), STYLE
    pictures = List().tag(sync=True)  # as SVG
    words = List().tag(sync=True)  # what each of them shows, for a screen reader
    names = List().tag(sync=True)
    label = Unicode().tag(sync=True)
    index = Int().tag(sync=True)

    def __init__(
        self,
        drawings: Sequence[Drawing],
        names: Sequence[str],
        label: str = "Picture",
        start: int = 0,
    ):
        self.drawings, count = tuple(drawings), len(drawings)
        if count < 2:
            raise ValueError(f"a slider needs at least 2 pictures, not {count}")
        if count != len(names):
            raise ValueError(f"{count} pictures have {len(names)} names; give each its own")
        super().__init__(
            pictures=[drawing.svg for drawing in drawings],
            words=[drawing.words for drawing in drawings],
            names=list(names),
            label=label,
            index=whole_number("start", start, 0, count - 1),
        )

    def _ipython_display_(self, **_) -> None:
        """Display the slides; where nothing is live, three pictures below each other and a table."""
        drawings, names, count = self.drawings, self.names, len(self.drawings)

        def evenly_spaced(most: int) -> np.ndarray:
            return np.linspace(0, count - 1, min(count, most)).round().astype(int)

        shown = evenly_spaced(PICTURES)
        below = joined([drawings[i] for i in shown], [names[i] for i in shown])
        rows = [(names[i], drawings[i].words) for i in evenly_spaced(ROWS)]
        table = html_table((self.label, "what it shows"), rows, f"{self.label}, in words")
        display_with_static_form(self, below.svg, table, below.words)
