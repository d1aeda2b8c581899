"""The Freeze Explorer: click what is trained, and see what that means.

It shows counts, shapes, how far the gradient goes, and what a training step costs.
"""

from anywidget import AnyWidget
from traitlets import Bool, Dict, Instance, Int, List, Unicode, validate

from helpers.config import MODEL_CONFIGS, gpt_config
from helpers.freezing import (
    FreezePlan,
    GradientReach,
    ParameterReport,
    Shape,
    gradient_reach,
    num_classes_of,
    parameter_report,
)
from helpers.model import GPTModel
from helpers.tokenizer import encode_message, get_tokenizer, visible_tokens
from workshop.costs import TrainingCost, training_cost
from workshop.explorer import (
    MODULE,
    explorer_table,
    live_html,
    plan_as_json,
    shapes_of,
    static_form,
)
from workshop.widgets.parts import display_with_static_form

LOADED = "your model"


class FreezeExplorer(AnyWidget):
    """A diagram of GPT-2 in which a click freezes or unfreezes a part.

    `model` is the name of a size, of which no weights are needed, or a loaded classifier: then the
    plan starts as the model's own, and its head fixes the number of classes. A configuration, as
    `gpt_config` returns it, will do as well. With `lora` a click can also add adapters. The shapes
    and costs are those of a batch of `batch_size` messages with as many tokens as `text`, or
    `num_tokens`.

    `plan`, `cfg`, `report`, `reach`, `shapes` and `cost` hold what is shown; `plan` can be set.
    Raises ValueError for an unknown name, fewer than two classes, a text that can't be read, a plan
    of another depth, and a loaded model that still has its language-model head or a piece that is
    trainable in part.
    """

    _esm = MODULE
    tables = Dict().tag(sync=True)  # the name of a size → what the page has to know of it
    size = Unicode().tag(sync=True)  # the name that is chosen
    plan = Instance(FreezePlan).tag(
        sync=True,
        to_json=lambda plan, _: plan_as_json(plan),
        from_json=lambda fields, _: FreezePlan(**fields),
    )
    message = Unicode().tag(sync=True)
    tokens = List().tag(sync=True)  # those of the message, to be shown below the diagram
    num_tokens = Int().tag(sync=True)
    batch_size = Int().tag(sync=True)
    num_classes = Int().tag(sync=True)
    classes_fixed = Bool().tag(sync=True)
    lora = Bool().tag(sync=True)
    has_kernel = Bool(True).tag(sync=True)
    problem = Unicode().tag(sync=True)  # why the message can't be shown, "" where it can

    def __init__(
        self,
        model: str | GPTModel | dict = "gpt2-small (124M)",
        text: str = "Do you have time",
        num_classes: int = 2,
        lora: bool = False,
        batch_size: int = 1,
        num_tokens: int | None = None,
    ):
        self._tokenizer = get_tokenizer()
        self._cfgs = {} if isinstance(model, dict) else {n: gpt_config(n) for n in MODEL_CONFIGS}
        size, fixed = (model, False) if isinstance(model, str) else (LOADED, True)
        if fixed:
            cfg = model if isinstance(model, dict) else model.cfg
            self._cfgs = {LOADED: cfg} | self._cfgs
        cfg = gpt_config(model) if isinstance(model, str) else self._cfgs[LOADED]
        plan = FreezePlan.book(cfg["n_layers"])
        if isinstance(model, GPTModel):
            num_classes, plan = num_classes_of(model), FreezePlan.of(model)
        parameter_report(cfg, plan, num_classes)  # refuses fewer than two classes
        tokens = visible_tokens(encode_message(text, self._tokenizer), self._tokenizer)
        super().__init__(
            tables={name: explorer_table(cfg) for name, cfg in self._cfgs.items()},
            size=size,
            plan=plan,
            message=text,
            tokens=tokens,
            num_tokens=num_tokens or len(tokens),
            batch_size=batch_size,
            num_classes=num_classes,
            classes_fixed=fixed,
            lora=lora,
        )
        self.observe(self._read_message, "message")

    @validate("plan")
    def _check_depth(self, proposal) -> FreezePlan:
        parameter_report(self.cfg, proposal.value)
        return proposal.value

    def _read_message(self, _) -> None:
        """Take the message; where it can't be taken, say so and keep the last one that could."""
        try:
            token_ids = encode_message(self.message, self._tokenizer)
            training_cost(self.cfg, self.plan, 1, len(token_ids))  # refuses too many tokens
        except ValueError as error:
            self.problem = f"{error}. The diagram is for the last message that could be read."
            return
        self.problem = ""
        self.tokens = visible_tokens(token_ids, self._tokenizer)
        self.num_tokens = len(token_ids)

    @property
    def cfg(self) -> dict:
        """The configuration of the model that is shown."""
        return self._cfgs[self.size]

    @property
    def report(self) -> ParameterReport:
        """The numbers of parameters under the plan."""
        return parameter_report(self.cfg, self.plan, self.num_classes)

    @property
    def reach(self) -> GradientReach:
        """How far down the gradient goes."""
        return gradient_reach(self.plan)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The shape of each part's output for the batch that is shown."""
        return shapes_of(self.cfg, self.batch_size, self.num_tokens, self.num_classes)

    @property
    def cost(self) -> TrainingCost:
        """What one training step on the batch costs."""
        batch = self.batch_size, self.num_tokens, self.num_classes
        return training_cost(self.cfg, self.plan, *batch)

    def apply_to(self, model: GPTModel) -> GPTModel:
        """Return a model after its parameters' `requires_grad` was set to what is shown.

        Raises ValueError for another depth.
        """
        return self.plan.apply(model)

    def static_form(self) -> str:
        """Return the diagram and the table of parts as HTML, for pages where no script runs."""
        tokens = self.tokens if len(self.tokens) == self.num_tokens else ()
        batch = self.batch_size, self.num_tokens, self.num_classes
        return static_form(self.cfg, self.plan, tokens, *batch)

    def _ipython_display_(self, **_) -> None:
        """Display the widget, and the same Explorer as HTML for pages without a kernel."""
        state = self.get_state([*FreezeExplorer.class_own_traits()])
        del state["has_kernel"]
        html = live_html(state, self.static_form())
        display_with_static_form(self, "", html, str(self.report))
