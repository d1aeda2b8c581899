"""The Freeze Explorer: toggle what is trained, and see at once what that means.

That is counts, shapes, the gradient's way and the cost. It keeps the state, calls the floors below
and shows what they return. Runs on ipywidgets 7.7 (Colab) and 8.
"""

import re
from contextlib import contextmanager
from functools import lru_cache

import torch
from IPython.display import display
from ipywidgets import HTML, BoundedIntText, Button, HBox, Label, Text, ToggleButton, VBox

from helpers.classifying_token import class_probabilities
from helpers.config import ASSETS, MODEL_CONFIGS, gpt_config
from helpers.costs import training_cost
from helpers.diagrams import (
    css_colours,
    draw_classifier,
    draw_share,
    fold,
    say_probabilities,
    say_reach,
)
from helpers.freezing import (
    ADAPTED,
    FROZEN,
    PARTLY,
    PRESETS,
    TRAINABLE,
    FreezePlan,
    ParameterReport,
    classifier_without_weights,
    num_classes_of,
    parameter_report,
    pieces_of,
    preset_of,
    resize,
)
from helpers.gradient_reach import gradient_reach
from helpers.model import GPTModel
from helpers.shapes import Shape, trace_shapes
from helpers.tables import big_number, html_table, parts_table, say_problem, toggle_text
from helpers.tokenizer import encode_message, get_tokenizer, visible_tokens

LOADED, CUSTOM = "the loaded model", "custom"
FOLD_ABOVE = 12  # blocks: a deeper tower starts with equal blocks in one line
STATE_CLASS = {
    FROZEN: "fx-is-frozen", TRAINABLE: "fx-is-trainable",
    PARTLY: "fx-is-partly", ADAPTED: "fx-is-adapted",
}  # fmt: skip
COST_CAPTION = "One training step on this batch, in float32"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


class FreezeExplorer(VBox):
    """A tower of toggles; beside it what they mean for the model, a message and a training step.

    `model` is the name of a size, of which no weights are needed, or a loaded classifier: then the
    plan starts as the model's own, its head fixes the number of classes, and a button runs it on
    the message. `plan`, `report`, `shapes`, `reach` and `cost` always hold what is shown. Raises
    ValueError for an unknown name, fewer than two classes, a text that can't be read, and a loaded
    model that still has its language-model head or a piece trained in part.
    """

    def __init__(
        self,
        model: str | GPTModel = "gpt2-small (124M)",
        text: str = "Do you have time",
        num_classes: int = 2,
    ):
        self._loaded = None if isinstance(model, str) else model
        if self._loaded is not None:
            num_classes = num_classes_of(model)
        self._tokenizer, self._quiet = get_tokenizer(), False
        self._lines: dict[str, _Line] = {}
        self.cfg = gpt_config(model) if self._loaded is None else model.cfg
        self._plan = (
            FreezePlan.book(self.cfg["n_layers"]) if self._loaded is None else FreezePlan.of(model)
        )
        self._token_ids = encode_message(text, self._tokenizer)
        self.shapes = _trace(tuple(self.cfg.items()), num_classes, 1, len(self._token_ids))

        sizes = [*MODEL_CONFIGS] if self._loaded is None else [LOADED, *MODEL_CONFIGS]
        self._model = _Choice("fx-model", "Model", sizes, self._choose_model)
        self._preset = _Choice("fx-preset", "Train", [*PRESETS, CUSTOM], self._choose_preset)
        self._text = _ask(Text, "fx-text", "Message", value=text)
        self._batch = _ask(BoundedIntText, "fx-batch", "Batch size", value=1, min=1, max=1024)
        self._classes = _ask(
            BoundedIntText, "fx-classes", "Classes", min=2, max=max(1000, num_classes)
        )
        self._classes.value, self._classes.disabled = num_classes, self._loaded is not None
        shown = (
            "problem",
            "total",
            "trainable",
            "frozen",
            "percent",
            "share",
            "reach",
            "shapes",
            "amounts",
            "table",
        )
        self._show = {name: _named(HTML(), f"fx-{name}") for name in shown}
        self._refold = _named(Button(description="Fold equal blocks"), "fx-more")
        self._tower = _named(VBox(), "fx-tower")
        self._pictures = _named(VBox(), "fx-pictures")
        self._run = _named(
            Button(description="Run the loaded model on this message"), "fx-more fx-run"
        )
        self._formulas = _Folded("how the costs are computed", "fx-formulas")

        super().__init__(self._arranged())
        self.add_class("freeze-explorer")
        self._model.choose(model if self._loaded is None else LOADED)
        self._offer_run(self._loaded is not None)
        self._text.observe(self._change_input, "value")
        self._batch.observe(self._change_input, "value")
        self._classes.observe(self._change_input, "value")
        self._run.on_click(self._answer_message)
        self._refold.on_click(lambda _: self._build_tower())
        self._build_tower()

    def _arranged(self) -> list:
        show = self._show
        numbers = [
            _named(show[name], "fx-number") for name in ("total", "trainable", "frozen", "percent")
        ]
        css = css_colours() + (ASSETS / "explorer.css").read_text(encoding="utf-8")
        return [
            HTML(f"<style>{css}</style>"),
            self._model,
            self._preset,
            _named(HBox([self._text, self._batch, self._classes]), "fx-wrap"),
            show["problem"],
            _named(HBox(numbers), "fx-wrap"),
            show["share"],
            _named(HBox([self._tower, self._pictures]), "fx-wrap"),
            _named(
                HBox([show["table"], _named(VBox([show["amounts"], self._formulas]), "fx-cost")]),
                "fx-wrap",
            ),
        ]

    # --- the state ---

    @property
    def plan(self) -> FreezePlan:
        """What is trained.

        Setting it sets the toggles; raises ValueError for a plan of another depth.
        """
        return self._plan

    @plan.setter
    def plan(self, plan: FreezePlan) -> None:
        parameter_report(self.cfg, plan)  # refuses another depth
        self._plan = plan
        self._build_tower()

    def apply_to(self, model: GPTModel) -> GPTModel:
        """Set `requires_grad` of a model's parameters to what is shown.

        Return it. ValueError for another depth.
        """
        return self._plan.apply(model)

    # --- what the learner does ---

    def _choose_model(self, name: str) -> None:
        loaded = name == LOADED
        self.cfg = self._loaded.cfg if loaded else gpt_config(name)
        self._plan = resize(self._plan, self.cfg["n_layers"])
        self._classes.disabled = loaded
        if loaded:
            self._set_classes(num_classes_of(self._loaded))
        self._model.choose(name)
        self._offer_run(loaded)
        self._read()
        self._build_tower()

    def _offer_run(self, offer: bool) -> None:
        self._pictures.children = [
            self._show["reach"],
            self._show["shapes"],
            *([self._run] if offer else []),
        ]

    def _choose_preset(self, name: str) -> None:
        if name == CUSTOM:  # which is what any other choice of parts is called
            self._redraw()
        else:
            self.plan = PRESETS[name](self._plan.n_layers)

    def _set_classes(self, num_classes: int) -> None:
        with self._quietly():
            self._classes.max = max(self._classes.max, num_classes)
            self._classes.value = num_classes

    def _change_input(self, _) -> None:
        if not self._quiet:
            self._read()
            self._redraw()

    def _read(self) -> None:
        """Take the message; where it can't be taken, say so and keep the last one that could."""
        self._show["problem"].value = ""
        try:
            token_ids = encode_message(self._text.value, self._tokenizer)
            self.shapes, self._token_ids = self._trace(token_ids), token_ids
        except ValueError as error:
            self._show["problem"].value = say_problem(error)
            self._token_ids = self._token_ids[
                : self.cfg["context_length"]
            ]  # another model may have a shorter one
            self.shapes = self._trace(self._token_ids)

    def _trace(self, token_ids: list[int]) -> tuple[Shape, ...]:
        return _trace(
            tuple(self.cfg.items()), self._classes.value, self._batch.value, len(token_ids)
        )

    def _toggle(self, line: "_Line") -> None:
        if not self._quiet and line in self._shown():  # and not a late press on what is gone
            self._plan = self._plan.toggle(*line.parts)
            self._redraw()

    def _open(self, line: "_Line") -> None:
        """Open a run into its blocks; open a block into its pieces, or close it again."""
        if line not in self._shown():
            return
        if (
            len(line.parts) > 1
        ):  # its line becomes the top block's, so that its button keeps the keyboard's focus
            lines, i = list(self._tower.children), self._tower.children.index(line)
            self._tower.children = (
                lines[:i] + [self._line((b,)) for b in reversed(line.parts)] + lines[i + 1 :]
            )
        else:
            line.inside.children = (
                [] if line.inside.children else [self._line((p,)) for p in pieces_of(*line.parts)]
            )
        self._redraw()

    def _answer_message(self, _) -> None:
        try:
            self._set_classes(num_classes_of(self._loaded))  # its head may be another one by now
            self._read()
            probabilities = class_probabilities(self._loaded, torch.tensor([self._token_ids]))
        except (
            ValueError,
            IndexError,
            RuntimeError,
        ) as error:  # the vocabulary lacks a token, no weights, no memory
            self._show["problem"].value = say_problem(error)
        else:
            self._redraw(say_probabilities(probabilities[0]))

    # --- what is shown ---

    def _build_tower(self) -> None:
        """Lay the lines out, output at the top.

        In a deep model each run of equal blocks gets one.
        """
        report = parameter_report(self.cfg, self._plan)
        deep = self._plan.n_layers > FOLD_ABOVE
        runs = (
            [row.parts for row in fold(report)]
            if deep
            else [(count.part,) for count in report.parts]
        )
        self._tower.children = [
            *([self._refold] if deep else []),
            *(self._line(run) for run in reversed(runs)),
        ]
        self._redraw()

    def _line(self, parts: tuple[str, ...]) -> "_Line":
        """Return the line of the topmost part, made once, standing for `parts`."""
        if parts[-1] not in self._lines:
            self._lines[parts[-1]] = _Line(self)
        self._lines[parts[-1]].stand_for(parts)
        return self._lines[parts[-1]]

    def _shown(self) -> list["_Line"]:
        lines = [line for line in self._tower.children if isinstance(line, _Line)]
        return lines + [piece for line in lines for piece in line.inside.children]

    def _redraw(self, answer: str = "") -> None:
        plan, token_ids = self._plan, self._token_ids
        self.report = report = parameter_report(self.cfg, plan, self._classes.value)
        self.reach = reach = gradient_reach(plan)
        self.cost = training_cost(
            self.cfg, plan, self._batch.value, len(token_ids), self._classes.value
        )
        tokens = visible_tokens(token_ids, self._tokenizer)
        self.drawing = draw_classifier(report, self.shapes, tokens, reach=reach, answer=answer)
        values = {
            "total": big_number(f"{report.total:,}", "parameters"),
            "trainable": big_number(f"{report.trainable:,}", "trainable"),
            "frozen": big_number(f"{report.frozen:,}", "frozen"),
            "percent": big_number(f"{report.percent:.2f} %", "trainable"),
            "share": draw_share(report).svg,
            "reach": say_reach(reach),
            "shapes": self.drawing.svg,
            "amounts": html_table(
                ("cost", "amount"), [(c.what, str(c)) for c in self.cost], COST_CAPTION
            ),
            "table": parts_table(report, self.shapes, reach),
        }
        for name, value in values.items():
            self._show[name].value = value
        formulas = [(cost.what, cost.formula) for cost in self.cost]
        self._formulas.content.value = html_table(
            ("cost", "formula"), formulas, "How the costs are computed"
        )
        self._preset.choose(preset_of(plan) or CUSTOM)
        with self._quietly():
            for line in self._shown():
                line.show(report)

    @contextmanager
    def _quietly(self):
        """Set controls without hearing of it."""
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False

    def _ipython_display_(self, **_) -> None:
        """Show the widget, and send its picture and table along for pages where nothing is live."""
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        static = "".join(self._show[name].value for name in ("table", "amounts"))
        data = {WIDGET_VIEW: view, "image/svg+xml": self.drawing.svg, "text/html": static}
        display(data | {"text/plain": self.drawing.words}, raw=True)


class _Line(VBox):
    """One line of the tower: the toggle of a part, a piece or a run of blocks.

    A block's opens and holds its pieces.
    """

    def __init__(self, explorer: FreezeExplorer):
        self.parts: tuple[str, ...] = ()
        self._css: tuple[str, ...] = ()
        self.toggle = _named(ToggleButton(), "fx-toggle")
        self.opener = _named(Button(), "fx-open")
        self.inside = _named(VBox(), "fx-inside")
        self._row = _named(HBox(), "fx-line")
        super().__init__([self._row, self.inside])
        self.toggle.observe(lambda _: explorer._toggle(self), "value")
        self.opener.on_click(lambda _: explorer._open(self))

    def stand_for(self, parts: tuple[str, ...]) -> None:
        if parts != self.parts:
            self.parts, self.inside.children = parts, ()
            opens = len(parts) > 1 or pieces_of(*parts) != parts
            self._row.children = [self.opener, self.toggle] if opens else [self.toggle]

    def show(self, report: ParameterReport) -> None:
        count = report.count(*self.parts)
        kind = "part" if len(self.parts) == 1 else "run"
        css = (f"fx-{kind}-{re.sub('[^a-z0-9_]+', '-', count.part)}", STATE_CLASS[count.state])
        for old in set(self._css) - set(css):
            self.toggle.remove_class(old)
        _named(self.toggle, *css)
        self._css = css
        verb = "close" if self.inside.children else "open"
        self.opener.description = f"{'▾' if self.inside.children else '▸'} {verb} {count.part}"
        with self.toggle.hold_sync():
            self.toggle.description, self.toggle.value = (
                toggle_text(count),
                count.state == TRAINABLE,
            )
            self.toggle.tooltip = (
                f"{'freeze' if count.state == TRAINABLE else 'train'} {count.part}"
            )


class _Choice(HBox):
    """One of several, as buttons: from a drop-down list JupyterLab takes the arrow keys away."""

    def __init__(self, css: str, label: str, options: list[str], on_choose):
        self._buttons = {option: _named(ToggleButton(), "fx-choice") for option in options}
        self._quiet, self._on_choose, self._chosen = False, on_choose, ""
        super().__init__([Label(label), *self._buttons.values()])
        _named(self, css, "fx-wrap")
        for option, button in self._buttons.items():
            button.observe(lambda _, option=option: self._press(option), "value")

    def _press(self, option: str) -> None:
        if self._quiet:
            return
        if option == self._chosen:
            self.choose(option)  # it stays pressed
        else:
            self._on_choose(option)

    def choose(self, chosen: str) -> None:
        """Show which one is chosen."""
        self._quiet, self._chosen = True, chosen
        for option, button in self._buttons.items():
            button.value = option == chosen
            button.description = f"✓ {option}" if option == chosen else option
            button.tooltip = "chosen" if option == chosen else "choose"
        self._quiet = False


class _Folded(VBox):
    """A button that shows and hides what stands below it."""

    def __init__(self, what: str, css: str):
        self.content = _named(HTML(), css)
        self._what, self._button = what, _named(Button(), "fx-more")
        super().__init__()
        self._set(False)
        self._button.on_click(lambda _: self._set(len(self.children) == 1))

    def _set(self, opened: bool) -> None:
        self._button.description = f"{'▾ Hide' if opened else '▸ Show'} {self._what}"
        self.children = [self._button, self.content] if opened else [self._button]


def _named(widget, *names: str):
    for name in " ".join(names).split():
        widget.add_class(name)
    return widget


def _ask(kind, css: str, description: str, **settings):
    box = _named(
        kind(description=description, style={"description_width": "initial"}, **settings), css
    )
    if box.has_trait("tooltip"):
        box.tooltip = ""  # or ipywidgets 8 shows "null" above the label
    return box


@lru_cache(maxsize=8)
def _skeleton(cfg_items: tuple, num_classes: int) -> GPTModel:
    return classifier_without_weights(dict(cfg_items), num_classes)


@lru_cache(maxsize=256)
def _trace(
    cfg_items: tuple, num_classes: int, batch_size: int, num_tokens: int
) -> tuple[Shape, ...]:
    token_ids = torch.zeros(batch_size, num_tokens, dtype=torch.long)
    return trace_shapes(_skeleton(cfg_items, num_classes), token_ids, last_token=True)
