"""The Freeze Lab: choose what is trained, press Train, and compare the results."""

from html import escape
from pathlib import Path

from ipywidgets import HTML, BoundedIntText, FloatText, HBox, VBox

from helpers.config import beside_the_notebook
from helpers.freezing import FreezePlan
from helpers.model import GPTModel
from helpers.training import POSITIONS
from workshop.fast import History
from workshop.lab import (
    COLUMNS,
    FILE,
    Kept,
    Material,
    Run,
    Settings,
    Training,
    delete_row,
    finished_run,
    keep_run,
    keep_test_opened,
    load_material,
    read_kept,
    say_run,
    share_right,
    sorted_runs,
    work_predicted,
)
from workshop.pictures.charts import AGAINST, draw_runs
from workshop.pictures.svg import Drawing
from workshop.tables import alert, html_table
from workshop.texts import counted
from workshop.widgets.parts import (
    Choice,
    Folded,
    PlanPanel,
    Quiet,
    ask,
    button,
    display_with_static_form,
    html_fields,
    named,
    problem,
    problem_shown,
    row,
    shapes_of,
    style_sheet,
)
from workshop.widgets.train_button import UNDER_WAY, WHERE, TrainButton

SEEDS = (1, 3, 5)


PRICE_OF_THE_TEST = (
    "<b>The test set</b> answers once: whoever has looked at it and goes on choosing may choose by "
    "it, and then it says no more than the validation set. So each run after it is marked."
)


CAPTION = (
    "<b>The runs.</b> Press one to set the tower and the settings to it; press a heading to sort. "
    "Behind a mean accuracy stand the lowest and the highest of the seeds, and its 95 % interval "
    "by Wilson's formula."
)


HOW_TO_READ = """
<p>All figures are for one training, the mean over the seeds. <i>Work</i> is predicted, in
multiply-adds; <i>seconds</i> are measured, with those that went into running the frozen part. A
run whose frozen part was kept from an earlier one has none of these.</p>
<p><i>Accuracy</i> and <i>loss</i> are those after the last epoch, on all validation messages;
<i>best epoch</i> is the one with the lowest validation loss, for each seed.</p>
<p>Of Wilson's intervals (1927) 19 in 20 hold the accuracy on all messages of the same kind. They
say nothing of other seeds: for that, look at the lowest and the highest.</p>
"""


class FreezeLab(VBox):
    """The tower of the Freeze Explorer, a button that trains, and a row for each run.

    The model and the messages are loaded at once. Runs are kept in the file FILE in `folder`
    (None: where the notebook is), and only there. `material` takes the place of what the names
    stand for, such as that of another lab. `settings`, `rows` (the runs), `model` and `history` (of
    the training that was last) hold what is shown. Raises what the loading raises.
    """

    def __init__(
        self,
        model_name: str = "gpt2-nano (12M)",
        data_name: str = "sms-mini",
        folder: str | Path | None = None,
        material: Material | None = None,
    ):
        self.material = material or load_material(model_name, data_name)
        self.path = Path(folder, FILE) if folder else beside_the_notebook(FILE)
        self.model: GPTModel | None = None
        self.history: History | None = None
        self.rows: tuple[Run, ...] = ()
        self._test_opened, self._unkept = False, []
        self._lines: dict[Run, _RunLine] = {}
        self._sorted_by, self._falling = "run", False
        self._quiet = Quiet()

        cfg = self.material.pretrained.cfg
        self._shapes = shapes_of(cfg, 2, 8, self.material.train.max_length)
        panel = self._panel = PlanPanel(cfg, FreezePlan.book(cfg["n_layers"]), self._redraw)
        self._button = TrainButton(self._make_training, self._end)
        self._position = Choice(
            "fx-position", "Classify at", POSITIONS, "last", lambda _: self._show_predicted()
        )
        self._seeds = Choice("fx-seeds", "Seeds", map(str, SEEDS), "1")
        self._epochs = ask(BoundedIntText, "fx-epochs", "Epochs", value=5, min=1, max=50)
        self._lr = ask(FloatText, "fx-lr", "Learning rate", value=self.material.lr)
        for box in (self._epochs, self._lr):
            box.observe(self._change_setting, "value")
        against = [*AGAINST]
        self._against = Choice(
            "fx-against", "Accuracy against", against, against[0], lambda _: self._show_runs()
        )
        show = self._html = html_fields("fx", "where", "predicted", "test", "kept", "runs")
        self._heads = {
            name: button(
                f"fx-head fx-head-{name.replace(' ', '-')}",
                on_click=lambda name=name: self._sort_by(name),
                tooltip=f"sort by {name}",
            )
            for name in COLUMNS
        }
        number, trained, *numbers = self._heads.values()
        room = named(HTML(), "fx-room")  # above the buttons that delete
        take_head, figures = HBox([number, trained]), HBox(numbers)
        take_head, figures = named(take_head, "fx-take-head"), named(figures, "fx-figures")
        self._head = named(HBox([take_head, room, figures]), "fx-heads")
        self._rows = named(VBox(), "fx-rows")

        panel.beside.children = [
            panel.reach_in_words,
            self._position,
            show["where"],
            self._seeds,
            row(self._epochs, self._lr),
            show["predicted"],
            self._button,
            Folded("the model as a picture, with the shapes of a batch", panel.picture),
        ]
        reading = Folded("how the figures are to be read", named(HTML(HOW_TO_READ), "fx-reading"))
        open_test = button("fx-more fx-open-test", "Open the test set", self._open_test)
        test = named(VBox([HTML(PRICE_OF_THE_TEST), open_test, show["test"]]), "fx-test-set")
        super().__init__(
            [
                style_sheet(),
                panel,
                named(VBox([HTML(CAPTION), self._rows, reading]), "fx-run-table"),
                row(
                    named(VBox([self._against, show["runs"]]), "fx-run-picture"),
                    named(VBox([test, show["kept"]]), "fx-beside"),
                ),
            ]
        )
        named(self, "fx-widget freeze-lab")
        self.plan = panel.plan
        self._read_rows()
        self._button.say("Nothing has been trained yet in this session.")

    # --- the state ---

    @property
    def plan(self) -> FreezePlan:
        """What is trained; setting it sets the toggles. Raises ValueError for another depth."""
        return self._panel.plan

    @plan.setter
    def plan(self, plan: FreezePlan) -> None:
        self._panel.plan = plan

    @property
    def settings(self) -> Settings:
        """What is chosen; setting it sets the controls. ValueError where a control can't be taken."""
        position, seeds = self._position.chosen, int(self._seeds.chosen)
        return Settings(self.plan, position, self._epochs.value, self._lr.value, seeds)

    @settings.setter
    def settings(self, settings: Settings) -> None:
        with self._quiet():
            self._epochs.max = max(self._epochs.max, settings.epochs)
            self._epochs.value, self._lr.value = settings.epochs, settings.lr
        self._position.choose(settings.position)
        self._seeds.choose(str(settings.num_seeds))
        self.plan = settings.plan

    @property
    def training(self) -> bool:
        """Whether a training is under way."""
        return self._button.training is not None

    @property
    def drawing(self) -> Drawing:
        """The plot of the runs, and what it shows in words."""
        return draw_runs(self.rows, self._against.chosen)

    # --- a training ---

    def train(self) -> Run | None:
        """Return the run of a training as by a click, but whole, before the next line of code runs.

        None where it was interrupted, or could not begin or come to its end.
        """
        before = self.rows
        self._button.train()
        new = [run for run in self.rows if run not in before]
        return new[0] if new else None

    def _make_training(self) -> tuple[Training, int]:
        return Training(self.material, self.settings), self.settings.num_seeds

    def _end(self, training: Training) -> None:
        if not training.histories:
            self._button.say("Stopped before the first step: nothing has been trained.")
            return
        self.model, self.history = training.model, training.histories[-1]
        self._model_settings = training.settings
        if self._button.stopped or training.interrupted:
            weights = f"the weights of {counted(len(self.history.val_accs), 'whole epoch')}"
            if training.settings.num_seeds > 1:
                weights += f" with seed {training.seed}"
            self._button.say(
                f"Stopped: the model has {weights}. A run that was stopped has no row."
            )
            return
        run = finished_run(training, self._test_opened)
        try:
            keep_run(self.path, run, self.material.belongs_to)
        except OSError as error:
            self._unkept.append(run)
            self._button.problem.value = problem(error, "The run is shown, but not kept: ")
        self._read_rows()
        seconds = run.seconds * len(run.val_accs)
        self._button.say(
            f"Run {self._number(run)} is done in {seconds:.1f} s: validation accuracy "
            f"{run.accuracy:.3f}, loss {run.loss:.3f}."
        )

    def _number(self, run: Run) -> int:
        """Return the number, from 1, under which a run is shown."""
        return 1 + [shown.id for shown in self.rows].index(run.id)

    # --- what else is clicked ---

    def _change_setting(self, _) -> None:
        if not self._quiet:
            self._show_predicted()

    def _open_test(self) -> None:
        if self.training:
            self._html["test"].value = alert(UNDER_WAY)
            return
        if self.model is None:
            self._html["test"].value = alert("There is no trained model yet: press Train first.")
            return
        with problem_shown(self._button.problem, "That the test set was seen is not kept: "):
            keep_test_opened(self.path, self.material.belongs_to)
        settings, test = self._model_settings, self.material.test
        right = share_right(self.model, test, settings.position)
        self._test_opened = True
        self._read_rows()
        self._html["test"].value = (
            f'<p role="status">Test accuracy of the model that was trained last ({settings}): '
            f"<b>{right:.3f}</b> of {len(test)} messages.</p>"
        )

    def _sort_by(self, name: str) -> None:
        self._falling = name == self._sorted_by and not self._falling
        self._sorted_by = name
        self._show_runs()

    def take(self, run: Run) -> None:
        """Set the tower and the settings to those of a run."""
        self.settings = run.settings
        self._button.say(f"Tower and settings are those of run {self._number(run)}.")

    def delete(self, run: Run) -> None:
        """Delete a run from the file, and from what is shown."""
        if run in self._unkept:
            self._unkept.remove(run)
        else:
            with problem_shown(self._button.problem):
                delete_row(self.path, run.id)
        self._read_rows()

    # --- what is shown ---

    def _redraw(self) -> None:
        self._panel.show(self._shapes, [])
        self._show_predicted()

    def _show_predicted(self) -> None:
        self._html["where"].value = escape(WHERE[self._position.chosen])
        with problem_shown(self._html["predicted"]):
            work = work_predicted(self.material, self.settings)
            self._html["predicted"].value = (
                f"Predicted for one training: {work.fine_tune}, as the frozen part runs once (the "
                f"book's way: {work.book})"
            )

    def _read_rows(self) -> None:
        """Show what the file holds; another notebook may have added to it."""
        try:
            kept = read_kept(self.path, self.material.belongs_to)
        except OSError as error:
            kept = Kept((), False, 0, (str(error),))
        self.rows = (*kept.runs, *self._unkept)
        self._test_opened = self._test_opened or kept.test_opened
        folder = "the folder of this notebook"
        if self.path.parent != Path():
            folder = self.path.parent
        sentences = [
            f"Runs are kept in the file {self.path.name}, in {folder}, and nothing is sent "
            "anywhere. Delete the file, and they are forgotten."
        ]
        if kept.num_others == 1:
            sentences.append("1 run of another model or on other messages is in it, and not shown.")
        elif kept.num_others:
            sentences.append(
                f"{kept.num_others} runs of other models or on other messages are in it, and not "
                "shown."
            )
        if self._test_opened:
            sentences.append("The test set has been seen.")
        paragraphs = [f"<p>{escape(sentence)}</p>" for sentence in (*sentences, *kept.notes)]
        self._html["kept"].value = "".join(paragraphs)
        self._show_runs()

    def _show_runs(self) -> None:
        for name, head in self._heads.items():
            head.description = name
        self._heads[self._sorted_by].description += " ▼" if self._falling else " ▲"
        lines = []
        for run in sorted_runs(self.rows, self._sorted_by, self._falling):
            if run not in self._lines:  # made once, so that its buttons keep the keyboard's focus
                self._lines[run] = _RunLine(self, run)
            self._lines[run].show(self._number(run))
            lines.append(self._lines[run])
        self._rows.children = [self._head, *lines] if lines else [HTML("No run yet: press Train.")]
        self._html["runs"].value = self.drawing.svg

    def _ipython_display_(self, **_) -> None:
        position = self._position.chosen
        settings = (
            ("classify at", f"{position}: {WHERE[position]}"),
            ("epochs", str(self._epochs.value)),
            ("learning rate", f"{self._lr.value:g}"),
            ("seeds", self._seeds.chosen),
        )
        tables = html_table(("setting", "chosen"), settings, "What is set in the Lab")
        tables += runs_table(self.rows)
        words = f"{self._panel.drawing.words}\n{self.drawing.words}"
        display_with_static_form(self, self._panel.drawing.svg, tables, words)


class _RunLine(HBox):
    """One run: a button that sets the tower to it, its numbers, a button that deletes it."""

    def __init__(self, lab: FreezeLab, run: Run):
        cells = say_run(run)
        self._trained = cells.pop("what was trained")
        tooltip = "set the tower and the settings to it"
        self._take = button("fx-take", on_click=lambda: lab.take(run), tooltip=tooltip)
        self._delete = button("fx-delete", on_click=lambda: lab.delete(run))
        spans = [
            f'<span class="fx-cell"><span class="fx-unseen">{escape(name)} </span>'
            f"{escape(cell).replace('; ', '<br>')}</span>"
            for name, cell in cells.items()
        ]
        numbers = named(HTML("".join(spans)), "fx-figures")
        super().__init__([self._take, self._delete, numbers])
        named(self, f"fx-run-line fx-run-{run.id}")

    def show(self, number: int) -> None:
        self._take.description = f"{number}  {self._trained}"
        self._delete.description = f"✕ delete run {number}"
        self._delete.tooltip = f"delete run {number}"


def runs_table(runs: tuple[Run, ...]) -> str:
    """Return the runs as an HTML table, for pages where nothing is live."""
    rows = [(str(number), *say_run(run).values()) for number, run in enumerate(runs, start=1)]
    return html_table(tuple(COLUMNS), rows, "The runs") if rows else "<p>No run yet.</p>"
