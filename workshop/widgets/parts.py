"""Parts of several widgets: named controls, choices, what a widget shows where nothing is live.

The controls are plain ones that ipywidgets 7.7 (Colab) and 8 both have. By the CSS classes that each
carries, assets/widgets.css and the tests find them.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager

from IPython.display import display
from ipywidgets import HTML, Button, HBox, Label, ToggleButton, VBox

from workshop import ASSETS
from workshop.tables import alert

# how a question or an exercise is set off from the text where no style sheet of ours is: a thin
# frame with a thick left side, in colours that are seen on white and on black
BOX = "border: 1px solid #8885; border-left: 4px solid #2e86c1; padding: 2px 12px; margin: 6px 0"
# where nothing is live; the published pages hide it, because nothing can be run there
RUN_ALL = '<p class="course-not-live"><i>Run ▸ Run All Cells brings the widgets back.</i></p>'
STYLE = (ASSETS / "widgets.css").read_text(encoding="utf-8")

# --- sentences ------------------------------------------------------------------------------------


def sentence_of(error: BaseException) -> str:
    """Return what an error says, as a sentence."""
    sentence = str(error) or type(error).__name__
    return sentence if sentence[-1] in ".?!" else f"{sentence}."


def problem(error: BaseException, before: str = "") -> str:
    """Return as HTML what an error says, as a sentence."""
    return alert(f"{before}{sentence_of(error)}")


@contextmanager
def problem_shown(line: HTML, before: str = ""):
    """Show in `line` which error ends this block; clear it where none does."""
    line.value = ""
    try:
        yield
    except Exception as error:  # Jupyter shows nothing of what a callback raises
        line.value = problem(error, before)


# --- single controls ------------------------------------------------------------------------------


def named(widget, *classes: str):
    """Give a widget CSS classes, several in one text too; return it."""
    for name in " ".join(classes).split():
        widget.add_class(name)
    return widget


def ask(kind, css: str, description: str, **settings):
    """Return a box to type into, of class `kind`, with its label before it."""
    box = kind(description=description, style={"description_width": "initial"}, **settings)
    if box.has_trait("tooltip"):
        box.tooltip = ""  # or ipywidgets 8 shows "null" above the label
    return named(box, css)


def row(*widgets, css: str = "") -> HBox:
    """Return widgets next to each other, on further lines where there is no room."""
    return named(HBox(widgets), "fx-wrap", css)


def button(css: str, description: str, on_click: Callable[[], object]) -> Button:
    """Return a button that calls `on_click`."""
    made = named(Button(description=description), css)
    made.on_click(lambda _: on_click())
    return made


def html_fields(prefix: str, *names: str) -> dict[str, HTML]:
    """Return for each name a piece of HTML of the class "prefix-name", with nothing in it yet."""
    return {name: named(HTML(), f"{prefix}-{name}") for name in names}


class CourseWidget(VBox):
    """Controls and pictures below each other, in the course's style.

    `static_form()` returns what stands for them on pages where nothing is live: a picture as SVG (""
    for none), tables as HTML, and plain text.
    """

    def __init__(self, css: str, children: Sequence):
        super().__init__([HTML(f"<style>{STYLE}</style>"), *children])
        named(self, "fx-widget", css)

    def _ipython_display_(self, **_) -> None:
        svg, html, text = self.static_form()
        if RUN_ALL not in html:
            html += RUN_ALL
        display_with_static_form(self, svg, html, text)


def display_with_static_form(widget, svg: str, html: str, text: str) -> None:
    """Display a widget, and its picture, tables and text for pages where nothing is live."""
    view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    data = {
        "application/vnd.jupyter.widget-view+json": view,
        "text/html": html,
        "text/plain": text,
    }
    if svg:
        data["image/svg+xml"] = svg
    display(data, raw=True)


class Choice(HBox):
    """One of several options, each a button: JupyterLab takes a drop-down list's arrow keys away.

    `value` is the option that is shown as chosen, "" for none. A click on another one chooses it
    and then calls `on_choose` with it.
    """

    def __init__(
        self,
        css: str,
        label: str,
        options: Iterable[str],
        chosen: str = "",
        on_choose: Callable[[str], object] = lambda option: None,
    ):
        self._buttons = {option: named(ToggleButton(), "fx-choice") for option in options}
        self._on_choose = on_choose
        super().__init__([Label(label), *self._buttons.values()])
        named(self, css, "fx-wrap fx-options")
        self.choose(chosen)
        for option, button in self._buttons.items():
            button.observe(lambda change, option=option: self._click(option, change.new), "value")

    def choose(self, chosen: str) -> None:
        """Show which option is chosen."""
        self.value = chosen
        for option, button in self._buttons.items():
            button.value = option == chosen
            button.description = f"✓ {option}" if option == chosen else option

    def _click(self, option: str, is_down: bool) -> None:
        is_new = option != self.value
        if is_down != is_new:  # `choose` has set it
            return
        self.choose(option)  # a second click leaves it pressed
        if is_new:
            self._on_choose(option)


class Folded(VBox):
    """A button that shows and hides the widget below it."""

    def __init__(self, title: str, content):
        self._title, self._content = title, content
        self._button = button("fx-more", "", lambda: self._set(len(self.children) == 1))
        super().__init__()
        self._set(False)

    def _set(self, is_open: bool) -> None:
        self._button.description = f"{'▾ Hide' if is_open else '▸ Show'} {self._title}"
        self.children = [self._button, self._content] if is_open else [self._button]
