"""Parts of several widgets: named controls, choices, a list of texts, the tower of toggles.

The controls are plain ones that ipywidgets 7.7 (Colab) and 8 both have. By the CSS classes that each
carries, assets/widgets.css and the tests find them.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache

import torch
from IPython.display import display
from ipywidgets import HTML, Button, HBox, Label, ToggleButton, VBox

from helpers.freezing import (
    PRESETS,
    TRAINABLE,
    FreezePlan,
    ParameterReport,
    Shape,
    classifier_without_weights,
    gradient_reach,
    parameter_report,
    pieces_of,
    preset_of,
    resize,
    trace_shapes,
)
from workshop import ASSETS
from workshop.pictures.model import css_colours, draw_classifier, draw_share, fold, say_reach
from workshop.tables import alert, toggle_text

LAST_MESSAGE = " The picture shows the last message that the model could take."


# --- sentences ------------------------------------------------------------------------------------


def problem(error: BaseException, before: str = "", after: str = "") -> str:
    """Return as HTML what an error says, as a sentence."""
    sentence = str(error) or type(error).__name__
    if sentence[-1] not in ".?!":
        sentence += "."
    return alert(f"{before}{sentence}{after}")


@contextmanager
def problem_shown(line: HTML, before: str = "", after: str = ""):
    """Show in `line` which error ends this block; clear it where none does."""
    line.value = ""
    try:
        yield
    except Exception as error:  # Jupyter shows nothing of what a callback raises
        line.value = problem(error, before, after)


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
    """Return widgets beside each other, on further lines where there is no room."""
    return named(HBox(widgets), "fx-wrap", css)


def button(
    css: str, description: str = "", on_click: Callable[[], object] = lambda: None, **settings
) -> Button:
    """Return a button that calls `on_click`."""
    made = named(Button(description=description, **settings), css)
    made.on_click(lambda _: on_click())
    return made


def html_fields(prefix: str, *names: str) -> dict[str, HTML]:
    """Return for each name a piece of HTML of the class "prefix-name", with nothing in it yet."""
    return {name: named(HTML(), f"{prefix}-{name}") for name in names}


def style_sheet() -> HTML:
    """Return the widgets' style, with the colours of the pictures."""
    css = css_colours() + (ASSETS / "widgets.css").read_text(encoding="utf-8")
    return HTML(f"<style>{css}</style>")


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


class Quiet:
    """True while code sets controls, so that their observers can tell it from a learner."""

    def __init__(self):
        self._on = False

    def __bool__(self) -> bool:
        return self._on

    @contextmanager
    def __call__(self):
        self._on = True
        try:
            yield
        finally:
            self._on = False


class Choice(HBox):
    """One of several options, each a button: JupyterLab takes a drop-down list's arrow keys away.

    `chosen` is the option that is shown as chosen, "" for none. A click on another one chooses it
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
        self.chosen = chosen
        for option, button in self._buttons.items():
            button.value = option == chosen
            button.description = f"✓ {option}" if option == chosen else option

    def _click(self, option: str, is_down: bool) -> None:
        is_new = option != self.chosen
        if is_down != is_new:  # `choose` has set it
            return
        self.choose(option)  # a second click leaves it pressed
        if is_new:
            self._on_choose(option)


class Folded(VBox):
    """A button that shows and hides the widget below it."""

    def __init__(self, title: str, content):
        self._title, self._content = title, content
        self._button = button("fx-more", on_click=lambda: self._set(len(self.children) == 1))
        super().__init__()
        self._set(False)

    def _set(self, is_open: bool) -> None:
        self._button.description = f"{'▾ Hide' if is_open else '▸ Show'} {self._title}"
        self.children = [self._button, self._content] if is_open else [self._button]


class TextList(VBox):
    """Texts of a table below a heading: ten at first, and ten more at a click.

    `heading_of(shown, total)` returns the heading as HTML, and `lines_of(rows)` the widgets of the
    texts in these rows of the table.
    """

    AT_ONCE = 10

    def __init__(
        self,
        css: str,
        heading_of: Callable[[int, int], str],
        lines_of: Callable[[Sequence[int]], Sequence],
    ):
        self._heading_of, self._lines_of = heading_of, lines_of
        self._heading = named(HTML(), f"{css}-heading")
        self._lines = named(VBox(), f"{css}-texts")
        self._more = button(
            f"fx-more {css}-more",
            on_click=lambda: self.show(self._rows, self._num_shown + self.AT_ONCE),
        )
        super().__init__()

    def show(self, rows: Sequence[int], num_shown: int = AT_ONCE) -> None:
        """Show the texts in these rows, the first `num_shown` of them."""
        self._rows, self._num_shown = rows, num_shown
        shown = rows[:num_shown]
        left = len(rows) - len(shown)
        self._heading.value = self._heading_of(len(shown), len(rows))
        self._lines.children = self._lines_of(shown)
        self._more.description = f"{min(self.AT_ONCE, left)} more"
        self.children = [self._heading, self._lines, *([self._more] if left else [])]

    def redraw(self) -> None:
        """Show as many texts as before, some of which look different now."""
        self.show(self._rows, self._num_shown)


# --- the tower ------------------------------------------------------------------------------------

MOST_LINES = 16  # 12 blocks and the rest; a deeper model starts with equal blocks in one line


class Tower(VBox):
    """The parts of a model as toggles, the output at the top.

    A line stands for a part, or for a run of equal blocks, which opens into blocks, and these into
    pieces. A click on it calls `on_click` with the parts that it stands for.
    """

    def __init__(self, on_click: Callable[..., object]):
        self._on_click = on_click
        self._lines: dict[str, HBox] = {}  # made once, so that buttons keep the keyboard's focus
        self._open: set[str] = set()  # the names of the lines that are open
        super().__init__()
        named(self, "fx-tower")

    def lay_out(self, report: ParameterReport) -> None:
        """Choose the lines with which a report is shown from now on."""
        self._runs = [(count.part,) for count in report.parts]
        if len(self._runs) > MOST_LINES:
            self._runs = [row.parts for row in fold(report)]

    def show(self, report: ParameterReport) -> None:
        """Show a report of the same model; no line moves."""
        self._report, self._shown = report, {}
        for run in reversed(self._runs):
            self._show_line(*run)
        self.children = [self._lines[name] for name in self._shown]

    def _show_line(self, *parts: str) -> None:
        """Show a line, and below it what is inside if it is open."""
        count = self._report.count(*parts)
        name = count.part
        pieces = pieces_of(parts[-1])
        if name not in self._lines:
            toggle = ToggleButton()
            toggle.observe(lambda change: self._click(name, change.new), "value")
            opener = button("fx-open", on_click=lambda: self._open_or_close(name))
            line = HBox([toggle] if pieces == parts else [opener, toggle])
            is_piece = name.count(".") == 2
            self._lines[name] = named(line, "fx-line", "fx-inside" if is_piece else "")
        self._shown[name] = parts
        *openers, toggle = self._lines[name].children
        part, state = name.replace(" – ", "-").replace(".", "-"), count.state.replace(" ", "-")
        with toggle.hold_sync():
            toggle._dom_classes = ("fx-toggle", f"fx-part-{part}", f"fx-is-{state}")
            toggle.description = toggle_text(count)
            toggle.value = count.state == TRAINABLE
        for opener in openers:
            opener.description = f"{'▾ close' if name in self._open else '▸ open'} {name}"
        if name in self._open:
            for part in reversed(parts) if len(parts) > 1 else pieces:
                self._show_line(part)

    def _click(self, name: str, is_down: bool) -> None:
        parts = self._shown.get(name)  # None for a click that arrives when its line is gone
        if parts and is_down != (self._report.count(*parts).state == TRAINABLE):
            self._on_click(*parts)

    def _open_or_close(self, name: str) -> None:
        self._open ^= {name}
        self.show(self._report)


# --- a plan, and what it means for a model --------------------------------------------------------

TRAINS, ADAPTS = "trains or freezes", "adds or takes an adapter"  # what a click on a part does


RANKS = ("1", "4", "8", "16")


class PlanPanel(VBox):
    """Presets, counts and the tower of a plan; beside it how far the gradient goes, and a figure.

    `cfg` and `plan` are its state. Whenever the plan has changed it calls `on_change`, which calls
    `show`. `report`, `reach` and `drawing` hold what is shown.
    """

    def __init__(self, cfg: dict, plan: FreezePlan, on_change: Callable[[], object]):
        self.cfg, self._plan, self._on_change = cfg, plan, on_change
        self._preset = Choice("fx-preset", "Train", PRESETS, on_choose=self._choose_preset)
        self._press = Choice("fx-press", "A press", [TRAINS, ADAPTS], TRAINS)
        ranks = [rank for rank in RANKS if int(rank) <= cfg["emb_dim"]]  # a matrix has no more
        rank = str(plan.rank) if str(plan.rank) in ranks else ranks[-1]
        self._rank = Choice("fx-rank", "LoRA rank", ranks, rank, self._choose_rank)
        self._tower = Tower(self._change_parts)
        self._html = html_fields("fx", "note", "counts", "share", "reach", "shapes")
        note, counts, share, self.reach_in_words, self.picture = self._html.values()
        self.beside = named(VBox([self.reach_in_words, self.picture]), "fx-pictures")
        super().__init__(
            [
                self._preset,
                row(self._press, self._rank),
                note,
                counts,
                share,
                row(self._tower, self.beside),
            ]
        )

    @property
    def plan(self) -> FreezePlan:
        """What is trained; setting it lays the tower out anew. ValueError for another depth."""
        return self._plan

    @plan.setter
    def plan(self, plan: FreezePlan) -> None:
        self._tower.lay_out(parameter_report(self.cfg, plan))
        self._take(plan)

    def take_model(self, cfg: dict) -> None:
        """Show a model of another size, under the same plan."""
        self.cfg = cfg
        self.plan = resize(self._plan, cfg["n_layers"])

    def show(
        self, shapes: tuple[Shape, ...], tokens: list[str], num_classes: int = 2, answer: str = ""
    ) -> None:
        """Show what the plan means for a model with these shapes, on these tokens."""
        self.report = report = parameter_report(self.cfg, self._plan, num_classes)
        self.reach = gradient_reach(self._plan)
        self.drawing = draw_classifier(report, shapes, tokens, reach=self.reach, answer=answer)
        self._html["counts"].value = (
            f"<b>{report.total:,}</b> parameters, <b>{report.trainable:,}</b> trainable, "
            f"<b>{report.frozen:,}</b> frozen: <b>{report.percent:.2f} %</b> trainable"
        )
        self._html["share"].value = draw_share(report).svg
        self._html["reach"].value = say_reach(self.reach)
        self._html["shapes"].value = self.drawing.svg
        self._show_choices()

    def _show_choices(self) -> None:
        """Let every control show the plan, after a click that could not change it too."""
        self._preset.choose(preset_of(self._plan) or "")
        if self._plan.adapted:
            self._rank.choose(str(self._plan.rank))
        self._tower.show(self.report)

    def _take(self, plan: FreezePlan) -> None:
        self._plan = plan
        self._on_change()

    def _with_rank(self, plan: FreezePlan) -> FreezePlan:
        """Return a plan with the chosen rank, and alpha in the same ratio to it as before."""
        rank = int(self._rank.chosen)
        return replace(plan, rank=rank, alpha=plan.alpha / plan.rank * rank)

    def _choose_preset(self, name: str) -> None:
        self.plan = self._with_rank(PRESETS[name](self._plan.n_layers))

    def _choose_rank(self, _: str) -> None:
        self._take(self._with_rank(self._plan))

    def _change_parts(self, *parts: str) -> None:
        with problem_shown(self._html["note"]):
            plan = self._plan.toggle(*parts)
            if self._press.chosen == ADAPTS:
                plan = self._with_rank(self._plan.adapt(*parts))
            self._take(plan)
        self._show_choices()  # where that could not be done, the toggle is as it was


@lru_cache(maxsize=256)  # tracing takes longer than drawing
def _trace(cfg: tuple, num_classes: int, batch_size: int, num_tokens: int) -> tuple[Shape, ...]:
    model = classifier_without_weights(dict(cfg), num_classes)
    token_ids = torch.zeros(batch_size, num_tokens, dtype=torch.long)
    return trace_shapes(model, token_ids, last_token=True)


def shapes_of(cfg: dict, num_classes: int, batch_size: int, num_tokens: int) -> tuple[Shape, ...]:
    """Return the shape of each part's output for token ids (batch_size, num_tokens)."""
    return _trace(tuple(cfg.items()), num_classes, batch_size, num_tokens)
