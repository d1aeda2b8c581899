"""Parts of several widgets: named controls, choices, a list of texts, the tower of toggles.

The controls are plain ones that ipywidgets 7.7 (Colab) and 8 both have. By the CSS classes that each
carries, assets/widgets.css and the tests find them.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache

import torch
from IPython.display import display
from ipywidgets import HTML, Button, HBox, Label, ToggleButton, VBox
from safetensors import SafetensorError

from helpers.freezing import (
    ADAPTED,
    FROZEN,
    PARTLY,
    PRESETS,
    RANK,
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
from workshop.tables import alert, big_number, toggle_text

FAILURES = (  # what settings, files, a full disk or a full memory lead to; Jupyter says nothing of it
    ArithmeticError, LookupError, MemoryError, OSError, RuntimeError, SafetensorError, TypeError,
    ValueError,
)  # fmt: skip


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
    """Show in `line` which of FAILURES ends this block; clear it where none does."""
    line.value = ""
    try:
        yield
    except FAILURES as error:
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
        self._quiet, self._on_choose = Quiet(), on_choose
        super().__init__([Label(label), *self._buttons.values()])
        named(self, css, "fx-wrap fx-options")
        for option, button in self._buttons.items():
            button.observe(lambda _, option=option: self._click(option), "value")
        self.choose(chosen)

    def choose(self, chosen: str) -> None:
        """Show which option is chosen."""
        self.chosen = chosen
        with self._quiet():
            for option, button in self._buttons.items():
                button.value = option == chosen
                button.description = f"✓ {option}" if option == chosen else option
                button.tooltip = "chosen" if option == chosen else "choose"

    def _click(self, option: str) -> None:
        if self._quiet:
            return
        is_new = option != self.chosen
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
        self._more = button(f"fx-more {css}-more", on_click=self._show_more)
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

    def _show_more(self) -> None:
        self.show(self._rows, self._num_shown + self.AT_ONCE)

    def redraw(self) -> None:
        """Show as many texts as before, some of which look different now."""
        self.show(self._rows, self._num_shown)


# --- the tower ------------------------------------------------------------------------------------

MOST_LINES = (
    16  # 12 blocks and the other parts; a deeper model starts with equal blocks in one line
)


STATE_CLASS = {
    FROZEN: "fx-is-frozen", TRAINABLE: "fx-is-trainable",
    PARTLY: "fx-is-partly", ADAPTED: "fx-is-adapted",
}  # fmt: skip


class Tower(VBox):
    """The parts of a model as toggles, the output at the top.

    A click calls `on_click` with the parts that its line stands for. `adapts` says whether a click
    is about an adapter.
    """

    def __init__(self, on_click: Callable[..., object]):
        self.adapts = False
        self._on_click, self._quiet = on_click, Quiet()
        self._lines: dict[str, _Line] = {}  # by the topmost part
        self._refold = button("fx-more", "Fold equal blocks", lambda: self.lay_out(self._report))
        super().__init__()
        named(self, "fx-tower")

    def lay_out(self, report: ParameterReport) -> None:
        """Show a report with all that was open closed again."""
        runs, above = [(count.part,) for count in report.parts], []
        if len(runs) > MOST_LINES:
            runs, above = [row.parts for row in fold(report)], [self._refold]
        self.children = [*above, *(self._line(run) for run in reversed(runs))]
        self.show(report)

    def show(self, report: ParameterReport) -> None:
        """Show a report of the same model; no line moves."""
        self._report = report
        with self._quiet():
            for line in self._shown():
                line.show(report, self.adapts)

    def click(self, line: "_Line") -> None:
        """Pass on a click, but not one that arrives when its line is gone."""
        if not self._quiet and line in self._shown():
            self._on_click(*line.parts)

    def unfold(self, line: "_Line") -> None:
        """Open a run into its blocks; open a block into its pieces, or close it again."""
        if line not in self._shown():
            return
        if len(line.parts) > 1:
            i, blocks = self.children.index(line), reversed(line.parts)
            lines = [self._line((block,)) for block in blocks]
            self.children = [*self.children[:i], *lines, *self.children[i + 1 :]]
        elif line.inside.children:
            line.inside.children = []
        else:
            line.inside.children = [self._line((piece,)) for piece in pieces_of(*line.parts)]
        self.show(self._report)

    def _line(self, parts: tuple[str, ...]) -> "_Line":
        """Return the line of these parts.

        The topmost part has always the same one, so that a button keeps the keyboard's focus.
        """
        line = self._lines.get(parts[-1]) or _Line(self)
        self._lines[parts[-1]] = line
        if parts != line.parts:
            line.stand_for(parts)
        return line

    def _shown(self) -> list["_Line"]:
        lines = [line for line in self.children if line is not self._refold]
        return lines + [piece for line in lines for piece in line.inside.children]


class _Line(VBox):
    """One line of the tower: the toggle of a part, of a piece or of a run of blocks."""

    def __init__(self, tower: Tower):
        self.parts: tuple[str, ...] = ()
        self._classes: set[str] = set()
        self._toggle = named(ToggleButton(), "fx-toggle")
        self._opener = button("fx-open", on_click=lambda: tower.unfold(self))
        self._row = named(HBox(), "fx-line")
        self.inside = named(VBox(), "fx-inside")  # the pieces of a block that is open
        super().__init__([self._row, self.inside])
        self._toggle.observe(lambda _: tower.click(self), "value")

    def stand_for(self, parts: tuple[str, ...]) -> None:
        self.parts, self.inside.children = parts, []
        can_open = len(parts) > 1 or pieces_of(*parts) != parts
        self._row.children = [self._opener, self._toggle] if can_open else [self._toggle]

    def show(self, report: ParameterReport, adapts: bool) -> None:
        count = report.count(*self.parts)
        kind = "part" if len(self.parts) == 1 else "run"
        name = re.sub("[^a-z0-9_]+", "-", count.part)
        classes = {f"fx-{kind}-{name}", STATE_CLASS[count.state]}
        for old in self._classes - classes:
            self._toggle.remove_class(old)
        named(self._toggle, *classes)
        self._classes = classes
        mark, verb = ("▾", "close") if self.inside.children else ("▸", "open")
        self._opener.description = f"{mark} {verb} {count.part}"
        does = "freeze" if count.state == TRAINABLE else "train"
        if adapts:
            does = "take the adapter from" if count.state == ADAPTED else "add an adapter to"
        with self._toggle.hold_sync():
            self._toggle.description = toggle_text(count)
            self._toggle.value = count.state == TRAINABLE
            self._toggle.tooltip = f"{does} {count.part}"


# --- a plan, and what it means for a model --------------------------------------------------------

CUSTOM = "custom"


TRAINS, ADAPTS = "trains or freezes", "adds or takes an adapter"  # what a click on a part does


RANKS = (1, 4, 8, 16)


class PlanPanel(VBox):
    """Presets, counts and the tower of a plan; beside it how far the gradient goes, and a figure.

    `cfg`, `plan` and `rank`, that of new adapters, are its state. Whenever the plan has changed it
    calls `on_change`, which calls `show`. `report`, `reach` and `drawing` hold what is shown.
    """

    def __init__(self, cfg: dict, plan: FreezePlan, on_change: Callable[[], object]):
        self.cfg, self._plan, self.rank, self._on_change = cfg, plan, plan.rank, on_change
        presets, ranks = [*PRESETS, CUSTOM], [str(rank) for rank in RANKS]
        self._preset = Choice("fx-preset", "Train", presets, on_choose=self._choose_preset)
        click = Choice("fx-press", "A press", [TRAINS, ADAPTS], TRAINS, self._choose_click)
        self._rank = Choice("fx-rank", "LoRA rank", ranks, on_choose=self._choose_rank)
        self._note = named(HTML(), "fx-note")
        self._tower = Tower(self._change_parts)
        numbers = ("total", "trainable", "frozen", "percent")
        self._html = html_fields("fx", *numbers, "share", "reach", "shapes")
        self.reach_in_words, self.picture = self._html["reach"], self._html["shapes"]
        self.beside = named(VBox([self.reach_in_words, self.picture]), "fx-pictures")
        super().__init__(
            [
                self._preset,
                row(click, self._rank),
                self._note,
                row(*(named(self._html[name], "fx-number") for name in numbers)),
                self._html["share"],
                row(self._tower, self.beside),
            ]
        )

    @property
    def plan(self) -> FreezePlan:
        """What is trained; setting it lays the tower out anew. ValueError for another depth."""
        return self._plan

    @plan.setter
    def plan(self, plan: FreezePlan) -> None:
        self._take(plan, lay_out_anew=True)
        self._note.value = ""

    def take_model(self, cfg: dict) -> None:
        """Show a model of another size, under the same plan where that is possible."""
        self.cfg, plan = cfg, resize(self._plan, cfg["n_layers"])
        try:
            self.plan = plan
        except ValueError as error:  # its matrices are too small for adapters of this rank
            self.rank = RANK
            self.plan = replace(plan, adapted=frozenset())
            self._note.value = problem(error)

    def show(
        self, shapes: tuple[Shape, ...], tokens: list[str], num_classes: int = 2, answer: str = ""
    ) -> None:
        """Show what the plan means for a model with these shapes, on these tokens."""
        self.report = report = parameter_report(self.cfg, self._plan, num_classes)
        self.reach = reach = gradient_reach(self._plan)
        self.drawing = draw_classifier(report, shapes, tokens, reach=reach, answer=answer)
        html = {
            "total": big_number(f"{report.total:,}", "parameters"),
            "trainable": big_number(f"{report.trainable:,}", "trainable"),
            "frozen": big_number(f"{report.frozen:,}", "frozen"),
            "percent": big_number(f"{report.percent:.2f} %", "trainable"),
            "share": draw_share(report).svg,
            "reach": say_reach(reach),
            "shapes": self.drawing.svg,
        }
        for name, value in html.items():
            self._html[name].value = value
        self._show_choices()

    def _take(self, plan: FreezePlan, lay_out_anew: bool = False) -> None:
        report = parameter_report(self.cfg, plan)  # refuses another depth, or too high a rank
        self._plan = plan
        if plan.adapted:
            self.rank = plan.rank
        if lay_out_anew:
            self._tower.lay_out(report)
        self._on_change()

    def _show_choices(self) -> None:
        """Let every control show the plan, after a click that could not change it too."""
        self._preset.choose(preset_of(self._plan) or CUSTOM)
        self._rank.choose(str(self.rank))
        self._tower.show(self.report)

    def _choose_preset(self, name: str) -> None:
        with problem_shown(self._note):
            if name != CUSTOM:  # which only says that the plan is none of the presets
                plan = PRESETS[name](self._plan.n_layers)
                self._take(_with_rank(plan, self.rank), lay_out_anew=True)
        self._show_choices()

    def _choose_click(self, name: str) -> None:
        self._tower.adapts, self._note.value = name == ADAPTS, ""
        self._tower.show(self.report)

    def _choose_rank(self, name: str) -> None:
        with problem_shown(self._note):
            self._take(_with_rank(self._plan, int(name)))
            self.rank = int(name)
        self._show_choices()

    def _change_parts(self, *parts: str) -> None:
        with problem_shown(self._note):
            if self._tower.adapts:
                self._take(_with_rank(self._plan.adapt(*parts), self.rank))
            else:
                self._take(self._plan.toggle(*parts))
        if self._note.value:
            self._show_choices()  # the toggle is as it was


def _with_rank(plan: FreezePlan, rank: int) -> FreezePlan:
    """Return the plan with adapters of a rank, and alpha in the same ratio to it as before."""
    return replace(plan, rank=rank, alpha=plan.alpha / plan.rank * rank)


# --- shapes, kept: tracing takes longer than drawing ----------------------------------------------


def shapes_of(cfg: dict, num_classes: int, batch_size: int, num_tokens: int) -> tuple[Shape, ...]:
    """Return the shape of each part's output for token ids (batch_size, num_tokens)."""
    return _trace(tuple(cfg.items()), num_classes, batch_size, num_tokens)


@lru_cache(maxsize=256)
def _trace(
    cfg_items: tuple, num_classes: int, batch_size: int, num_tokens: int
) -> tuple[Shape, ...]:
    model = classifier_without_weights(dict(cfg_items), num_classes)
    token_ids = torch.zeros(batch_size, num_tokens, dtype=torch.long)
    return trace_shapes(model, token_ids, last_token=True)
