"""What several widgets are made of: named controls, a row to choose from, the tower of toggles.

The controls are plain ones that ipywidgets 7.7 (Colab) and 8 both have. Each carries CSS classes,
by which assets/widgets.css and the tests find it. The tower and the panel around it keep a plan
and say what is pressed; what that means is asked of the floors below.
"""

import re
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from html import escape

import torch
from IPython.display import display
from ipywidgets import HTML, Button, HBox, Label, ToggleButton, VBox

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
from helpers.model import GPTModel
from workshop import ASSETS
from workshop.pictures.model import css_colours, draw_classifier, draw_share, fold, say_reach
from workshop.tables import big_number, toggle_text

CUSTOM = "custom"


FOLD_ABOVE = 12  # blocks: a deeper tower starts with equal blocks in one line


STATE_CLASS = {
    FROZEN: "fx-is-frozen", TRAINABLE: "fx-is-trainable",
    PARTLY: "fx-is-partly", ADAPTED: "fx-is-adapted",
}  # fmt: skip


TRAINS, ADAPTS = "trains or freezes", "adds or takes an adapter"  # what a press on a part does


RANKS = (1, 4, 8, 16)


WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


# --- single controls ------------------------------------------------------------------------------


def named(widget, *names: str):
    """Give a widget CSS classes, several in one text too; return it."""
    for name in " ".join(names).split():
        widget.add_class(name)
    return widget


def ask(kind, css: str, description: str, **settings):
    """Return a box to type into, of class `kind`, with its label before it."""
    box = named(
        kind(description=description, style={"description_width": "initial"}, **settings), css
    )
    if box.has_trait("tooltip"):
        box.tooltip = ""  # or ipywidgets 8 shows "null" above the label
    return box


def style_sheet() -> HTML:
    """Return the widgets' style, with the colours of the pictures."""
    css = css_colours() + (ASSETS / "widgets.css").read_text(encoding="utf-8")
    return HTML(f"<style>{css}</style>")


def show_with_words(widget, picture: str, html: str, words: str) -> None:
    """Show a widget, and send tables and words along, and a picture if there is one, for pages where
    nothing is live.
    """
    view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    data = {WIDGET_VIEW: view, "text/html": html, "text/plain": words}
    if picture:
        data["image/svg+xml"] = picture
    display(data, raw=True)


class Quiet:
    """Whether controls are being set by code, which then is not to be heard."""

    def __init__(self):
        self._depth = 0

    def __bool__(self) -> bool:
        return self._depth > 0

    @contextmanager
    def __call__(self):
        """Set controls within this block without hearing of it."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1


class Choice(HBox):
    """One of several, as buttons: from a drop-down list JupyterLab takes the arrow keys away.

    `on_choose` is called with the option that was pressed, and calls `choose` to show it.
    """

    def __init__(
        self, css: str, label: str, options: Iterable[str], on_choose: Callable[[str], object]
    ):
        self._buttons = {option: named(ToggleButton(), "fx-choice") for option in options}
        self._quiet, self._on_choose, self.chosen = Quiet(), on_choose, ""
        super().__init__([Label(label), *self._buttons.values()])
        named(self, css, "fx-wrap fx-options")
        for option, button in self._buttons.items():
            button.observe(lambda _, option=option: self._press(option), "value")

    def _press(self, option: str) -> None:
        if self._quiet:
            return
        if option == self.chosen:
            self.choose(option)  # it stays pressed
        else:
            self._on_choose(option)

    def choose(self, chosen: str) -> None:
        """Show which one is chosen."""
        self.chosen = chosen
        with self._quiet():
            for option, button in self._buttons.items():
                button.value = option == chosen
                button.description = f"✓ {option}" if option == chosen else option
                button.tooltip = "chosen" if option == chosen else "choose"


class Folded(VBox):
    """A button that shows and hides what stands below it."""

    def __init__(self, what: str, content):
        self.content = content
        self._what, self._button = what, named(Button(), "fx-more")
        super().__init__()
        self._set(False)
        self._button.on_click(lambda _: self._set(len(self.children) == 1))

    def _set(self, opened: bool) -> None:
        self._button.description = f"{'▾ Hide' if opened else '▸ Show'} {self._what}"
        self.children = [self._button, self.content] if opened else [self._button]


# --- the tower ------------------------------------------------------------------------------------


class Tower(VBox):
    """The parts of a model as toggles, the output at the top.

    `plan` and `report` are what it shows. A press calls `on_press` with the parts that it is
    meant for. In a deep model each run of equal blocks gets one line, which opens.
    """

    def __init__(self, on_press: Callable[..., object]):
        self.plan: FreezePlan | None = None
        self.report: ParameterReport | None = None
        self.adapts = False  # whether a press is about an adapter
        self._on_press, self._quiet = on_press, Quiet()
        self._lines: dict[str, _Line] = {}
        self._refold = named(Button(description="Fold equal blocks"), "fx-more")
        super().__init__()
        named(self, "fx-tower")
        self._refold.on_click(lambda _: self.lay_out(self.plan, self.report))

    def lay_out(self, plan: FreezePlan, report: ParameterReport) -> None:
        """Show a plan, with what is open closed again."""
        deep = plan.n_layers > FOLD_ABOVE
        runs = (
            [row.parts for row in fold(report)]
            if deep
            else [(count.part,) for count in report.parts]
        )
        self.children = [
            *([self._refold] if deep else []),
            *(self._line(run) for run in reversed(runs)),
        ]
        self.show(plan, report)

    def show(self, plan: FreezePlan, report: ParameterReport) -> None:
        """Show a plan for the same model; no line moves."""
        self.plan, self.report = plan, report
        with self._quiet():
            for line in self._shown():
                line.show(report, self.adapts)

    def press(self, line: "_Line") -> None:
        """Hand on a press, unless it is the tower's own doing or a late one on what is gone."""
        if not self._quiet and line in self._shown():
            self._on_press(*line.parts)

    def unfold(self, line: "_Line") -> None:
        """Open a run into its blocks; open a block into its pieces, or close it again."""
        if line not in self._shown():
            return
        if len(line.parts) > 1:
            # its line becomes the top block's, so that its button keeps the keyboard's focus
            lines, i = list(self.children), self.children.index(line)
            blocks = [self._line((block,)) for block in reversed(line.parts)]
            self.children = lines[:i] + blocks + lines[i + 1 :]
        else:
            opened = bool(line.inside.children)
            pieces = () if opened else pieces_of(*line.parts)
            line.inside.children = [self._line((piece,)) for piece in pieces]
        self.show(self.plan, self.report)

    def _line(self, parts: tuple[str, ...]) -> "_Line":
        """Return the line of the topmost part, made once, standing for `parts`."""
        if parts[-1] not in self._lines:
            self._lines[parts[-1]] = _Line(self)
        self._lines[parts[-1]].stand_for(parts)
        return self._lines[parts[-1]]

    def _shown(self) -> list["_Line"]:
        lines = [line for line in self.children if isinstance(line, _Line)]
        return lines + [piece for line in lines for piece in line.inside.children]


class _Line(VBox):
    """One line of the tower: the toggle of a part, a piece or a run of blocks.

    A block's opens and holds its pieces.
    """

    def __init__(self, tower: Tower):
        self.parts: tuple[str, ...] = ()
        self._css: tuple[str, ...] = ()
        self.toggle = named(ToggleButton(), "fx-toggle")
        self.opener = named(Button(), "fx-open")
        self.inside = named(VBox(), "fx-inside")
        self._row = named(HBox(), "fx-line")
        super().__init__([self._row, self.inside])
        self.toggle.observe(lambda _: tower.press(self), "value")
        self.opener.on_click(lambda _: tower.unfold(self))

    def stand_for(self, parts: tuple[str, ...]) -> None:
        if parts != self.parts:
            self.parts, self.inside.children = parts, ()
            opens = len(parts) > 1 or pieces_of(*parts) != parts
            self._row.children = [self.opener, self.toggle] if opens else [self.toggle]

    def show(self, report: ParameterReport, adapts: bool) -> None:
        count = report.count(*self.parts)
        kind = "part" if len(self.parts) == 1 else "run"
        css = (f"fx-{kind}-{re.sub('[^a-z0-9_]+', '-', count.part)}", STATE_CLASS[count.state])
        for old in set(self._css) - set(css):
            self.toggle.remove_class(old)
        named(self.toggle, *css)
        self._css = css
        verb = "close" if self.inside.children else "open"
        self.opener.description = f"{'▾' if self.inside.children else '▸'} {verb} {count.part}"
        with self.toggle.hold_sync():
            self.toggle.description = toggle_text(count)
            self.toggle.value = count.state == TRAINABLE
            self.toggle.tooltip = f"{_what_a_press_does(count.state, adapts)} {count.part}"


def _what_a_press_does(state: str, adapts: bool) -> str:
    if adapts:
        return "take the adapter from" if state == ADAPTED else "add an adapter to"
    return "freeze" if state == TRAINABLE else "train"


# --- a plan, and what it means for a model --------------------------------------------------------


class PlanPanel(VBox):
    """Presets, counts and the tower of a plan; beside it how far the gradient goes, and a picture.

    `cfg`, `plan` and `rank`, that of new adapters, are its state. `on_change` is called when the
    learner, or code, has changed the plan; it calls `show` with what else is to be drawn. `report`,
    `reach` and `drawing` always hold what is shown.
    """

    def __init__(self, cfg: dict, plan: FreezePlan, on_change: Callable[[], object]):
        self.cfg, self._plan, self.rank, self._on_change = cfg, plan, plan.rank, on_change
        self._preset = Choice("fx-preset", "Train", [*PRESETS, CUSTOM], self._choose_preset)
        self._press = Choice("fx-press", "A press", [TRAINS, ADAPTS], self._choose_press)
        self._rank = Choice("fx-rank", "LoRA rank", map(str, RANKS), self._choose_rank)
        self._note = named(HTML(), "fx-note")
        self.tower = Tower(self._change_parts)
        names = ("total", "trainable", "frozen", "percent", "share", "reach", "shapes")
        self._show = {name: named(HTML(), f"fx-{name}") for name in names}
        self.reach_in_words, self.picture = self._show["reach"], self._show["shapes"]
        self._press.choose(TRAINS)
        self.beside = named(VBox([self.reach_in_words, self.picture]), "fx-pictures")
        numbers = [named(self._show[name], "fx-number") for name in names[:4]]
        super().__init__(
            [
                self._preset,
                named(HBox([self._press, self._rank]), "fx-wrap"),
                self._note,
                named(HBox(numbers), "fx-wrap"),
                self._show["share"],
                named(HBox([self.tower, self.beside]), "fx-wrap"),
            ]
        )

    @property
    def plan(self) -> FreezePlan:
        """What is trained."""
        return self._plan

    @plan.setter
    def plan(self, plan: FreezePlan) -> None:
        report = parameter_report(self.cfg, plan)  # refuses another depth
        self._plan, self._note.value = plan, ""
        if plan.adapted:
            self.rank = plan.rank
        self.tower.lay_out(plan, report)
        self._on_change()

    def take_model(self, cfg: dict) -> None:
        """Go on with a model of another size, under the same plan where that is possible."""
        self.cfg, plan = cfg, resize(self._plan, cfg["n_layers"])
        try:
            self.plan = plan
        except ValueError as error:  # its matrices are too small for adapters of this rank
            self.rank = RANK
            self.plan = replace(plan, adapted=frozenset())
            self._say(error)

    def show(
        self, shapes: tuple[Shape, ...], tokens: list[str], num_classes: int = 2, answer: str = ""
    ) -> None:
        """Show what the plan means for a model with these shapes, on these tokens."""
        self.report = report = parameter_report(self.cfg, self._plan, num_classes)
        self.reach = reach = gradient_reach(self._plan)
        self.drawing = draw_classifier(report, shapes, tokens, reach=reach, answer=answer)
        values = {
            "total": big_number(f"{report.total:,}", "parameters"),
            "trainable": big_number(f"{report.trainable:,}", "trainable"),
            "frozen": big_number(f"{report.frozen:,}", "frozen"),
            "percent": big_number(f"{report.percent:.2f} %", "trainable"),
            "share": draw_share(report).svg,
            "reach": say_reach(reach),
            "shapes": self.drawing.svg,
        }
        for name, value in values.items():
            self._show[name].value = value
        self._show_choices()

    def _show_choices(self) -> None:
        """Have every control say what holds, after a press that changed nothing, too."""
        self._preset.choose(preset_of(self._plan) or CUSTOM)
        self._rank.choose(str(self.rank))
        self.tower.show(self._plan, self.report)

    def _choose_preset(self, name: str) -> None:
        if name == CUSTOM:  # which is what any other choice of parts is called
            self._show_choices()
        else:
            plan = PRESETS[name](self._plan.n_layers)
            self._try(lambda: self._with_rank(plan, self.rank), anew=True)

    def _choose_press(self, name: str) -> None:
        self._press.choose(name)
        self.tower.adapts = name == ADAPTS
        self._note.value = ""
        self.tower.show(self._plan, self.report)

    def _choose_rank(self, name: str) -> None:
        rank = int(name)
        if self._try(lambda: self._with_rank(self._plan, rank)):
            self.rank = rank
            self._show_choices()

    def _with_rank(self, plan: FreezePlan, rank: int) -> FreezePlan:
        """Return the plan with adapters of a rank; what they add is scaled as in all of them."""
        return replace(plan, rank=rank, alpha=plan.alpha / plan.rank * rank)

    def _change_parts(self, *parts: str) -> None:
        if self.tower.adapts:
            self._try(lambda: self._with_rank(self._plan.adapt(*parts), self.rank))
        else:
            self._try(lambda: self._plan.toggle(*parts))

    def _try(self, change: Callable[[], FreezePlan], anew: bool = False) -> bool:
        """Take a changed plan, laid out `anew` or in place; where there is none, say why."""
        try:
            plan = change()
            parameter_report(self.cfg, plan)  # refuses a rank beyond the model's matrices
        except ValueError as error:
            self._say(error)
            self._show_choices()
            return False
        if anew:
            self.plan = plan
        else:
            self._plan, self._note.value = plan, ""
            self._on_change()
        return True

    def _say(self, error: Exception) -> None:
        self._note.value = f'<p role="alert">{escape(str(error))}.</p>'


# --- shapes, kept: tracing takes longer than drawing ----------------------------------------------


def shapes_of(cfg: dict, num_classes: int, batch_size: int, num_tokens: int) -> tuple[Shape, ...]:
    """Return what each part puts out for token ids (batch_size, num_tokens)."""
    return _trace(tuple(cfg.items()), num_classes, batch_size, num_tokens)


@lru_cache(maxsize=8)
def _skeleton(cfg_items: tuple, num_classes: int) -> GPTModel:
    return classifier_without_weights(dict(cfg_items), num_classes)


@lru_cache(maxsize=256)
def _trace(
    cfg_items: tuple, num_classes: int, batch_size: int, num_tokens: int
) -> tuple[Shape, ...]:
    token_ids = torch.zeros(batch_size, num_tokens, dtype=torch.long)
    return trace_shapes(_skeleton(cfg_items, num_classes), token_ids, last_token=True)
