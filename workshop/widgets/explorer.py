"""The Freeze Explorer: toggle what is trained, and see what that means.

It shows counts, shapes, how far the gradient goes, and the cost.
"""

from collections.abc import Iterable

import torch
from ipywidgets import BoundedIntText, Text, VBox

from helpers.config import MODEL_CONFIGS, gpt_config
from helpers.freezing import FreezePlan, num_classes_of
from helpers.model import GPTModel
from helpers.tokenizer import encode_message, get_tokenizer, visible_tokens
from helpers.training import class_probabilities
from workshop.costs import Cost, training_cost, work_of_training
from workshop.pictures.model import say_probabilities
from workshop.tables import html_table, parts_table
from workshop.widgets.parts import (
    LAST_MESSAGE,
    Choice,
    Folded,
    PlanPanel,
    Quiet,
    ask,
    button,
    display_with_static_form,
    html_fields,
    named,
    problem_shown,
    row,
    shapes_of,
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
    the message. `plan`, `cfg`, `report`, `reach`, `shapes`, `cost`, `work` and `drawing` always hold
    what is shown. Raises ValueError for an unknown name, fewer than two classes, a text that can't
    be read, and a loaded model that still has its language-model head or a piece trained in part.
    """

    def __init__(
        self,
        model: str | GPTModel = "gpt2-small (124M)",
        text: str = "Do you have time",
        num_classes: int = 2,
    ):
        self._tokenizer, self._quiet = get_tokenizer(), Quiet()
        self._token_ids = encode_message(text, self._tokenizer)
        if isinstance(model, str):
            self._loaded, chosen, sizes = None, model, [*MODEL_CONFIGS]
            self.cfg = gpt_config(model)
            plan = FreezePlan.book(self.cfg["n_layers"])
        else:
            self._loaded, chosen, sizes = model, LOADED, [LOADED, *MODEL_CONFIGS]
            num_classes, self.cfg = num_classes_of(model), model.cfg
            plan = FreezePlan.of(model)
        self.shapes = shapes_of(self.cfg, num_classes, 1, len(self._token_ids))

        model_choice = Choice("fx-model", "Model", sizes, chosen, self._choose_model)
        self._text = ask(Text, "fx-text", "Message", value=text)
        self._batch = ask(BoundedIntText, "fx-batch", "Batch size", value=1, min=1, max=1024)
        most = max(1000, num_classes)
        self._classes = ask(
            BoundedIntText, "fx-classes", "Classes", value=num_classes, min=2, max=most
        )
        self._html = html_fields("fx", "problem", "amounts", "work", "table", "formulas")
        words = "Run the loaded model on this message"
        self._run = button("fx-more fx-run", words, self._run_loaded)
        self._panel = PlanPanel(self.cfg, plan, self._redraw)

        formulas = Folded("how the costs are computed", self._html["formulas"])
        cost = VBox([self._html["amounts"], self._html["work"], formulas])
        super().__init__(
            [
                style_sheet(),
                model_choice,
                row(self._text, self._batch, self._classes),
                self._html["problem"],
                self._panel,
                row(self._html["table"], named(cost, "fx-cost")),
            ]
        )
        named(self, "fx-widget freeze-explorer")
        self._offer_run(self._loaded is not None)
        for box in (self._text, self._batch, self._classes):
            box.observe(self._change_input, "value")
        self.plan = plan

    @property
    def plan(self) -> FreezePlan:
        """What is trained; setting it sets the toggles. Raises ValueError for another depth."""
        return self._panel.plan

    @plan.setter
    def plan(self, plan: FreezePlan) -> None:
        self._panel.plan = plan

    def apply_to(self, model: GPTModel) -> GPTModel:
        """Return a model after its parameters' `requires_grad` was set to what is shown.

        Raises ValueError for another depth.
        """
        return self.plan.apply(model)

    def _choose_model(self, name: str) -> None:
        is_loaded = name == LOADED
        self.cfg = self._loaded.cfg if is_loaded else gpt_config(name)
        if is_loaded:
            self._set_classes()
        self._offer_run(is_loaded)
        self._read()
        self._panel.take_model(self.cfg)

    def _offer_run(self, is_loaded: bool) -> None:
        """Show the button that runs the loaded model, whose head says how many classes there are."""
        panel = self._panel
        button = [self._run] if is_loaded else []
        panel.beside.children = [panel.reach_in_words, panel.picture, *button]
        self._classes.disabled = is_loaded

    def _set_classes(self) -> None:
        num_classes = num_classes_of(self._loaded)  # its head may be another one by now
        with self._quiet():
            self._classes.max = max(self._classes.max, num_classes)
            self._classes.value = num_classes

    def _change_input(self, _) -> None:
        if not self._quiet:
            self._read()
            self._redraw()

    def _read(self) -> None:
        """Take the message; where it can't be taken, say so and keep the last one that could."""
        sizes = self._classes.value, self._batch.value
        with problem_shown(self._html["problem"], after=LAST_MESSAGE):
            token_ids = encode_message(self._text.value, self._tokenizer)
            shapes_of(self.cfg, *sizes, len(token_ids))  # refuses more tokens than the context
            self._token_ids = token_ids
        # the last one may have been for a model with a longer context
        self._token_ids = self._token_ids[: self.cfg["context_length"]]
        self.shapes = shapes_of(self.cfg, *sizes, len(self._token_ids))

    def _run_loaded(self) -> None:
        # no weights, no memory, or a token that the vocabulary lacks
        with problem_shown(self._html["problem"], after=LAST_MESSAGE):
            self._set_classes()
            self._read()
            probabilities = class_probabilities(self._loaded, torch.tensor([self._token_ids]))
            self._redraw(say_probabilities(probabilities[0]))

    def _redraw(self, answer: str = "") -> None:
        panel, tokens = self._panel, visible_tokens(self._token_ids, self._tokenizer)
        batch_size, num_classes = self._batch.value, self._classes.value
        panel.show(self.shapes, tokens, num_classes, answer)
        self.report, self.reach, self.drawing = panel.report, panel.reach, panel.drawing
        num_tokens = len(tokens)
        self.cost = training_cost(self.cfg, self.plan, batch_size, num_tokens, num_classes)
        self.work = work_of_training(
            self.cfg,
            self.plan,
            [num_tokens] * MESSAGES,
            [num_tokens] * VALIDATION_MESSAGES,
            batch_size=batch_size,
            num_classes=num_classes,
        )
        formulas = [(cost.what, cost.formula) for cost in (*self.cost, *self.work)]
        caption = "How the costs are computed"
        self._html["formulas"].value = html_table(("cost", "formula"), formulas, caption)
        self._html["amounts"].value = _cost_table(self.cost, COST_CAPTION)
        self._html["work"].value = _cost_table(self.work, WORK_CAPTION)
        self._html["table"].value = parts_table(self.report, self.shapes, self.reach)

    def _ipython_display_(self, **_) -> None:
        tables = [self._html[name].value for name in ("table", "amounts", "work")]
        display_with_static_form(self, self.drawing.svg, "".join(tables), self.drawing.words)


def _cost_table(costs: Iterable[Cost], caption: str) -> str:
    return html_table(("cost", "amount"), [(cost.what, str(cost)) for cost in costs], caption)
