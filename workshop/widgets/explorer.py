"""The Freeze Explorer: toggle what is trained, and see at once what that means.

That is counts, shapes, the gradient's way and the cost. It keeps the state, calls the floors below
and shows what they return.
"""

from collections.abc import Iterable

import torch
from ipywidgets import HTML, BoundedIntText, Button, HBox, Text, VBox

from helpers.config import MODEL_CONFIGS, gpt_config
from helpers.freezing import FreezePlan, GradientReach, ParameterReport, Shape, num_classes_of
from helpers.model import GPTModel
from helpers.tokenizer import encode_message, get_tokenizer, visible_tokens
from helpers.training import class_probabilities
from workshop.costs import Cost, training_cost, work_of_training
from workshop.pictures.model import say_probabilities
from workshop.pictures.svg import Drawing
from workshop.tables import html_table, parts_table, say_problem
from workshop.widgets.parts import (
    Choice,
    Folded,
    PlanPanel,
    Quiet,
    ask,
    named,
    shapes_of,
    show_with_words,
    style_sheet,
)

LOADED = "the loaded model"


COST_CAPTION = "One training step on this batch, in float32"


MESSAGES, VALIDATION_MESSAGES = 1045, 149  # as many as the book trains on and measures on


WORK_CAPTION = (
    f"Five epochs on {MESSAGES:,} messages like this one, in batches of this size, "
    f"with {VALIDATION_MESSAGES} more to measure on"
)


class FreezeExplorer(VBox):
    """A tower of toggles; beside it what they mean for the model, a message and a training step.

    `model` is the name of a size, of which no weights are needed, or a loaded classifier: then the
    plan starts as the model's own, its head fixes the number of classes, and a button runs it on
    the message. `plan`, `report`, `shapes`, `reach`, `cost` and `work` always hold what is shown.
    Raises ValueError for an unknown name, fewer than two classes, a text that can't be read, and a
    loaded model that still has its language-model head or a piece trained in part.
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
        self._tokenizer, self._quiet = get_tokenizer(), Quiet()
        cfg = gpt_config(model) if self._loaded is None else model.cfg
        plan = FreezePlan.book(cfg["n_layers"]) if self._loaded is None else FreezePlan.of(model)
        self._token_ids = encode_message(text, self._tokenizer)
        self.shapes = shapes_of(cfg, num_classes, 1, len(self._token_ids))

        sizes = [*MODEL_CONFIGS] if self._loaded is None else [LOADED, *MODEL_CONFIGS]
        self._model = Choice("fx-model", "Model", sizes, self._choose_model)
        self._text = ask(Text, "fx-text", "Message", value=text)
        self._batch = ask(BoundedIntText, "fx-batch", "Batch size", value=1, min=1, max=1024)
        self._classes = ask(
            BoundedIntText, "fx-classes", "Classes", min=2, max=max(1000, num_classes)
        )
        self._classes.value, self._classes.disabled = num_classes, self._loaded is not None
        self._problem, self._amounts = named(HTML(), "fx-problem"), named(HTML(), "fx-amounts")
        self._whole = named(HTML(), "fx-work")
        self._table = named(HTML(), "fx-table")
        self._formulas = named(HTML(), "fx-formulas")
        self._run = named(
            Button(description="Run the loaded model on this message"), "fx-more fx-run"
        )
        self._panel = PlanPanel(cfg, plan, self._redraw)

        super().__init__(self._arranged())
        named(self, "fx-widget freeze-explorer")
        self._model.choose(model if self._loaded is None else LOADED)
        self._offer_run(self._loaded is not None)
        self._text.observe(self._change_input, "value")
        self._batch.observe(self._change_input, "value")
        self._classes.observe(self._change_input, "value")
        self._run.on_click(self._answer_message)
        self.plan = plan

    def _arranged(self) -> list:
        folded = Folded("how the costs are computed", self._formulas)
        cost = named(VBox([self._amounts, self._whole, folded]), "fx-cost")
        return [
            style_sheet(),
            self._model,
            named(HBox([self._text, self._batch, self._classes]), "fx-wrap"),
            self._problem,
            self._panel,
            named(HBox([self._table, cost]), "fx-wrap"),
        ]

    # --- the state ---

    @property
    def cfg(self) -> dict:
        """The configuration of the model that is shown."""
        return self._panel.cfg

    @property
    def plan(self) -> FreezePlan:
        """What is trained.

        Setting it sets the toggles; raises ValueError for a plan of another depth.
        """
        return self._panel.plan

    @plan.setter
    def plan(self, plan: FreezePlan) -> None:
        self._panel.plan = plan

    @property
    def report(self) -> ParameterReport:
        """The number of parameters in each part, and how many learn."""
        return self._panel.report

    @property
    def reach(self) -> GradientReach:
        """How far down the gradient goes."""
        return self._panel.reach

    @property
    def drawing(self) -> Drawing:
        """The picture, and what it shows in words."""
        return self._panel.drawing

    def apply_to(self, model: GPTModel) -> GPTModel:
        """Set `requires_grad` of a model's parameters to what is shown.

        Return it. ValueError for another depth.
        """
        return self.plan.apply(model)

    # --- what the learner does ---

    def _choose_model(self, name: str) -> None:
        loaded = name == LOADED
        cfg = self._loaded.cfg if loaded else gpt_config(name)
        self._classes.disabled = loaded
        if loaded:
            self._set_classes(num_classes_of(self._loaded))
        self._model.choose(name)
        self._offer_run(loaded)
        self._read(cfg)
        self._panel.take_model(cfg)

    def _offer_run(self, offer: bool) -> None:
        panel = self._panel
        shown = [panel.reach_in_words, panel.picture]
        panel.beside.children = [*shown, self._run] if offer else shown

    def _set_classes(self, num_classes: int) -> None:
        with self._quiet():
            self._classes.max = max(self._classes.max, num_classes)
            self._classes.value = num_classes

    def _change_input(self, _) -> None:
        if not self._quiet:
            self._read(self.cfg)
            self._redraw()

    def _read(self, cfg: dict) -> None:
        """Take the message; where it can't be taken, say so and keep the last one that could."""
        self._problem.value = ""
        try:
            token_ids = encode_message(self._text.value, self._tokenizer)
            self.shapes, self._token_ids = self._trace(cfg, token_ids), token_ids
        except ValueError as error:
            self._problem.value = say_problem(error)
            # another model may have a shorter context
            self._token_ids = self._token_ids[: cfg["context_length"]]
            self.shapes = self._trace(cfg, self._token_ids)

    def _trace(self, cfg: dict, token_ids: list[int]) -> tuple[Shape, ...]:
        return shapes_of(cfg, self._classes.value, self._batch.value, len(token_ids))

    def _answer_message(self, _) -> None:
        try:
            self._set_classes(num_classes_of(self._loaded))  # its head may be another one by now
            self._read(self.cfg)
            probabilities = class_probabilities(self._loaded, torch.tensor([self._token_ids]))
        except (
            ValueError,
            IndexError,
            RuntimeError,
        ) as error:  # the vocabulary lacks a token, no weights, no memory
            self._problem.value = say_problem(error)
        else:
            self._redraw(say_probabilities(probabilities[0]))

    # --- what is shown ---

    def _redraw(self, answer: str = "") -> None:
        tokens = visible_tokens(self._token_ids, self._tokenizer)
        self._panel.show(self.shapes, tokens, self._classes.value, answer)
        batch_size, num_tokens = self._batch.value, len(self._token_ids)
        num_classes = self._classes.value
        self.cost = training_cost(self.cfg, self.plan, batch_size, num_tokens, num_classes)
        lengths = ([num_tokens] * count for count in (MESSAGES, VALIDATION_MESSAGES))
        self.work = work_of_training(
            self.cfg, self.plan, *lengths, batch_size=batch_size, num_classes=num_classes
        )
        self._amounts.value = _cost_table(self.cost, COST_CAPTION)
        self._whole.value = _cost_table(self.work, WORK_CAPTION)
        formulas = [(cost.what, cost.formula) for cost in (*self.cost, *self.work)]
        self._formulas.value = html_table(
            ("cost", "formula"), formulas, "How the costs are computed"
        )
        self._table.value = parts_table(self.report, self.shapes, self.reach)

    def _ipython_display_(self, **_) -> None:
        """Show the widget, and send its picture and table along for pages where nothing is live."""
        tables = self._table.value + self._amounts.value + self._whole.value
        show_with_words(self, self.drawing.svg, tables, self.drawing.words)


def _cost_table(costs: Iterable[Cost], caption: str) -> str:
    return html_table(("cost", "amount"), [(cost.what, str(cost)) for cost in costs], caption)
