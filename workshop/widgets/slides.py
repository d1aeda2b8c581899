"""Slides: a slider that moves through ready-made pictures, such as the frames of a film.

Two buttons move it, too: they have names, which a slider of ipywidgets has not, so that a screen
reader can say what they do. What is shown then is said in words.
"""

from collections.abc import Sequence
from html import escape

from ipywidgets import HTML, Button, HBox, SelectionSlider, VBox

from helpers.checks import instance_of, whole_number
from workshop.pictures.svg import Drawing, below_each_other
from workshop.tables import html_table
from workshop.widgets.parts import named, show_with_words, style_sheet

PICTURES, ROWS = 3, 11  # at most as many where nothing is live


class Slides(VBox):
    """Pictures, of which a slider shows one; the arrow keys move it.

    `names` say which picture is which, and `label` what the slider goes through: Slides(drawings,
    ["before", "after"], "The training"). All pictures are drawn before the first is shown, so that
    each is there at once. `index`, from 0, is the one shown, at first `start`; it may be set. Raises
    TypeError for what are no pictures, ValueError for fewer than two, for another number of names
    and for an index beyond the last.
    """

    def __init__(
        self,
        drawings: Sequence[Drawing],
        names: Sequence[str],
        label: str = "Picture",
        start: int = 0,
    ):
        self.drawings, self.names, self.label = tuple(drawings), tuple(names), label
        for i, drawing in enumerate(self.drawings):
            instance_of(f"drawings[{i}]", drawing, Drawing, "a Drawing, as from helpers.pictures")
        for i, name in enumerate(self.names):
            instance_of(f"names[{i}]", name, str, "a text")
        if len(self.drawings) < 2:
            raise ValueError(f"a slider needs at least 2 pictures, not {len(self.drawings)}")
        if len(self.drawings) != len(self.names):
            raise ValueError(
                f"{len(self.drawings)} pictures have {len(self.names)} names; give each its own"
            )
        options = [(name, i) for i, name in enumerate(self.names)]
        self._slider = named(
            SelectionSlider(
                options=options,
                value=self._checked(start),
                description=label,
                readout=False,  # Tab would stop at it, and it has no name
                style={"description_width": "initial"},
            ),
            "sl-slider",
        )
        back = named(Button(description="◀ previous", tooltip="the picture before"), "fx-more")
        on = named(Button(description="next ▶", tooltip="the picture after"), "fx-more")
        buttons = HBox([named(back, "sl-back"), named(on, "sl-next")])
        self._picture, self._words = named(HTML(), "sl-picture"), named(HTML(), "sl-words")
        controls = named(HBox([self._slider, buttons]), "fx-wrap sl-controls")
        super().__init__([style_sheet(), controls, self._words, self._picture])
        named(self, "fx-widget picture-slides")
        self._slider.observe(lambda _: self._show(), "value")
        back.on_click(lambda _: self._move(-1))
        on.on_click(lambda _: self._move(1))
        self._show()

    @property
    def index(self) -> int:
        """Which picture is shown, from 0."""
        return self._slider.value

    @index.setter
    def index(self, index: int) -> None:
        self._slider.value = self._checked(index)

    @property
    def drawing(self) -> Drawing:
        """The picture that is shown, and what it shows in words."""
        return self.drawings[self.index]

    def _checked(self, index: int) -> int:
        return whole_number("the picture's index", index, 0, len(self.drawings) - 1)

    def _move(self, by: int) -> None:
        """Go on or back by one; at an end nothing happens."""
        last = len(self.drawings) - 1
        self._slider.value = min(max(self.index + by, 0), last)

    def _show(self) -> None:
        self._picture.value = self.drawing.svg
        name, words = escape(self.names[self.index]), escape(self.drawing.words)
        unseen = f'<span class="fx-unseen">: {words}</span>'
        self._words.value = f'<p role="status"><b>{name}</b>{unseen}</p>'

    def _ipython_display_(self, **_) -> None:
        """Show the widget; where nothing is live, the first, the middle and the last picture.

        A table says in words what these and some between them show.
        """
        shown = _evenly(len(self.drawings), PICTURES)
        picture = below_each_other(
            [self.drawings[i] for i in shown], [self.names[i] for i in shown]
        )
        rows = [(self.names[i], self.drawings[i].words) for i in _evenly(len(self.names), ROWS)]
        table = html_table((self.label, "what it shows"), rows, f"{self.label}, in words")
        show_with_words(self, picture.svg, table, picture.words)


def _evenly(count: int, most: int) -> list[int]:
    """Return at most `most` of `count` numbers from 0, evenly spaced, the first and the last too."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]
