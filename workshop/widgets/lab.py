"""The Freeze Lab: choose what is trained, press Train, and compare what came of it."""

from dataclasses import replace
from html import escape
from pathlib import Path

from ipywidgets import HTML, BoundedIntText, Button, FloatText, HBox, VBox

from helpers.config import beside_the_notebook
from helpers.freezing import FreezePlan
from helpers.model import GPTModel
from helpers.training import POSITIONS
from workshop.fast import History, Progress
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
from workshop.tables import html_table
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
from workshop.widgets.train_button import (
    UNDER_WAY,
    WHERE,
    TrainsInSlices,
    alert,
    say_epoch,
    say_progress,
)

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


class FreezeLab(TrainsInSlices):
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
        self._model_settings: Settings | None = None
        self.rows: tuple[Run, ...] = ()
        self._kept = Kept((), False, 0, ())
        self._unkept: list[Run] = []
        self._sorted_by, self._falling = "run", False
        self._run_lines: dict[str, _RunLine] = {}
        self._quiet = Quiet()

        cfg = self.material.pretrained.cfg
        self._shapes = shapes_of(cfg, 2, 8, self.material.train.max_length)
        self._panel = PlanPanel(cfg, FreezePlan.book(cfg["n_layers"]), self._redraw)
        self._make_controls()
        super().__init__(self._arranged())
        named(self, "fx-widget freeze-lab")
        self._panel.plan = self._panel.plan
        self._read_rows()
        self._say("Nothing has been trained yet in this session.")

    def _make_controls(self) -> None:
        self._make_training_controls()
        self._position = Choice("fx-position", "Classify at", POSITIONS, self._choose_position)
        self._seeds = Choice("fx-seeds", "Seeds", map(str, SEEDS), self._choose_seeds)
        self._against = Choice("fx-against", "Accuracy against", AGAINST, self._choose_against)
        self._epochs = ask(BoundedIntText, "fx-epochs", "Epochs", value=5, min=1, max=50)
        self._lr = ask(FloatText, "fx-lr", "Learning rate", value=self.material.lr)
        self._open = named(Button(description="Open the test set"), "fx-more fx-open-test")
        names = ("where", "predicted", "test", "kept", "runs")
        self._show |= {name: named(HTML(), f"fx-{name}") for name in names}
        self._lines = named(VBox(), "fx-rows")
        self._heads = {
            name: named(Button(), f"fx-head fx-head-{name.replace(' ', '-')}") for name in COLUMNS
        }
        number, what, *figures = self._heads.values()
        self._head = named(
            HBox(
                [
                    named(HBox([number, what]), "fx-take-head"),
                    named(HTML(), "fx-room"),  # above the buttons that delete
                    named(HBox(figures), "fx-figures"),
                ]
            ),
            "fx-heads",
        )
        self._position.choose("last")
        self._seeds.choose("1")
        self._against.choose(next(iter(AGAINST)))
        self._show["where"].value = escape(WHERE["last"])
        self._open.on_click(self._press_open)
        self._epochs.observe(self._change_setting, "value")
        self._lr.observe(self._change_setting, "value")
        for name, head in self._heads.items():
            head.on_click(lambda _, name=name: self._sort_by(name))

    def _arranged(self) -> list:
        show, panel = self._show, self._panel
        panel.beside.children = [
            panel.reach_in_words,
            self._position,
            show["where"],
            self._seeds,
            named(HBox([self._epochs, self._lr]), "fx-wrap"),
            show["predicted"],
            *self._training_controls(),
            Folded("the model as a picture, with the shapes of a batch", panel.picture),
        ]
        reading = Folded("how the figures are to be read", named(HTML(HOW_TO_READ), "fx-reading"))
        runs = named(VBox([HTML(CAPTION), self._lines, reading]), "fx-run-table")
        picture = named(VBox([self._against, show["runs"]]), "fx-run-picture")
        test = named(VBox([HTML(PRICE_OF_THE_TEST), self._open, show["test"]]), "fx-test-set")
        side_by_side = named(HBox([picture, named(VBox([test, show["kept"]]), "fx-beside")]))
        return [style_sheet(), panel, runs, named(side_by_side, "fx-wrap")]

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
        """What is chosen; setting it sets the controls.

        Raises ValueError where a control holds what can't be.
        """
        return Settings(
            self.plan,
            self._position.chosen,
            self._epochs.value,
            self._lr.value,
            int(self._seeds.chosen),
        )

    @settings.setter
    def settings(self, settings: Settings) -> None:
        with self._quiet():
            self._epochs.max = max(self._epochs.max, settings.epochs)
            self._epochs.value, self._lr.value = settings.epochs, settings.lr
        self._position.choose(settings.position)
        self._show["where"].value = escape(WHERE[settings.position])
        self._seeds.choose(str(settings.num_seeds))
        self.plan = settings.plan

    @property
    def training(self) -> bool:
        """Whether a training is under way."""
        return self._training is not None

    @property
    def drawing(self) -> Drawing:
        """The picture of the runs, and what it shows in words."""
        return draw_runs(self.rows, self._against.chosen)

    # --- a training ---

    def train(self) -> Run | None:
        """Train as the button does, but whole, before the next line of code runs.

        Returns the run; None where it was interrupted, or could not begin or go on.
        """
        before = set(self.rows)
        self._train_at_a_stretch()
        return next((run for run in self.rows if run not in before), None)

    def _new_training(self) -> Training:
        return Training(self.material, self.settings)

    def _end(self, training: Training, interrupted: bool = False) -> None:
        self._show["bar"].value = ""
        if training.histories:
            self.model, self.history = training.model, training.histories[-1]
            self._model_settings = training.settings
            self._show_live(training)
        if interrupted or self._stopped or training.interrupted:
            self._say(_say_stopped(training))
            return
        run = finished_run(training, self._kept.test_opened)
        try:
            keep_run(self.path, run, self.material.belongs_to)
        except OSError as error:
            self._unkept.append(run)
            self._say_problem(error, "The run is shown, but not kept: ")
        self._read_rows()
        number = 1 + next(i for i, row in enumerate(self.rows) if row.id == run.id)
        self._say(
            f"Run {number} is done in {run.seconds * len(run.val_accs):.1f} s: validation accuracy "
            f"{run.accuracy:.3f}, loss {run.loss:.3f}."
        )

    def _say_progress(self, training: Training, progress: Progress) -> str:
        seeds = training.settings.num_seeds
        which = f"seed {training.seed} of {seeds}, " if seeds > 1 else ""
        return say_progress(progress, training.seconds_left(progress), which)

    def _say_epoch(self, training: Training) -> str:
        history = next(h for h in reversed(training.histories) if h.val_accs)
        seed = 1 + training.histories.index(history)
        return say_epoch(history, training.settings.epochs, f"seed {seed}, ")

    # --- what the learner does besides ---

    def _choose_position(self, name: str) -> None:
        self._position.choose(name)
        self._show["where"].value = escape(WHERE[name])
        self._show_predicted()

    def _choose_seeds(self, name: str) -> None:
        self._seeds.choose(name)

    def _choose_against(self, name: str) -> None:
        self._against.choose(name)
        self._show_runs()

    def _change_setting(self, _) -> None:
        if not self._quiet:
            self._show_predicted()

    def _press_open(self, _) -> None:
        if self.model is None or self.training:
            missing = UNDER_WAY
            if not self.training:
                missing = "There is no trained model yet: press Train first."
            self._show["test"].value = alert(missing)
            return
        try:
            keep_test_opened(self.path, self.material.belongs_to)
        except OSError as error:
            self._say_problem(error, "That the test set was seen is not kept: ")
        settings, test = self._model_settings, self.material.test
        right = share_right(self.model, test, settings.position)
        self._read_rows(test_opened=True)
        self._show["test"].value = (
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
        self._say(f"Tower and settings are those of run {1 + self.rows.index(run)}.")

    def delete(self, run: Run) -> None:
        """Delete a run from the file, and from what is shown."""
        if run in self._unkept:
            self._unkept.remove(run)
        else:
            try:
                delete_row(self.path, run.id)
            except (ValueError, OSError) as error:
                self._say_problem(error)
        self._read_rows()

    # --- what is shown ---

    def _redraw(self) -> None:
        self._panel.show(self._shapes, [])
        self._show_predicted()

    def _show_predicted(self) -> None:
        try:
            work = work_predicted(self.material, self.settings)
        except ValueError as error:
            self._show["predicted"].value = alert(f"{error}.")
        else:
            self._show["predicted"].value = (
                f"Predicted for one training: {work.fine_tune}, as the frozen part runs once (the "
                f"book's way: {work.book})"
            )

    def _read_rows(self, test_opened: bool = False) -> None:
        """Show what the file holds; another notebook may have added to it."""
        seen = test_opened or self._kept.test_opened
        try:
            self._kept = read_kept(self.path, self.material.belongs_to)
        except OSError as error:
            self._kept = Kept((), False, 0, (str(error),))
        self._kept = replace(self._kept, test_opened=seen or self._kept.test_opened)
        self.rows = (*self._kept.runs, *self._unkept)
        self._show["kept"].value = _say_kept(self.path, self._kept)
        self._show_runs()

    def _show_runs(self) -> None:
        numbers = {run: number for number, run in enumerate(self.rows, start=1)}
        for name, head in self._heads.items():
            mark = " ▼" if self._falling else " ▲"
            head.description = name + mark * (name == self._sorted_by)
            head.tooltip = f"sort by {name}"
        lines = []
        for run in sorted_runs(self.rows, self._sorted_by, self._falling):
            line = self._run_lines.setdefault(run.id, _RunLine(self, run))
            line.show(numbers[run])
            lines.append(line)
        self._lines.children = [self._head, *lines] if lines else [HTML("No run yet: press Train.")]
        self._show["runs"].value = self.drawing.svg

    def _ipython_display_(self, **_) -> None:
        """Show the widget, and send picture and tables along for pages where nothing is live."""
        settings = (
            ("classify at", f"{self._position.chosen}: {WHERE[self._position.chosen]}"),
            ("epochs", str(self._epochs.value)),
            ("learning rate", f"{self._lr.value:g}"),
            ("seeds", self._seeds.chosen),
        )
        tables = html_table(("setting", "chosen"), settings, "What is set in the Lab")
        tables += runs_table(self.rows)
        words = f"{self._panel.drawing.words}\n{self.drawing.words}"
        show_with_words(self, self._panel.drawing.svg, tables, words)


class _RunLine(HBox):
    """One run: a button that sets the tower to it, its figures, a button that deletes it."""

    def __init__(self, lab: FreezeLab, run: Run):
        self._run, self._words = run, say_run(run)
        self._take = named(Button(tooltip="set the tower and the settings to it"), "fx-take")
        self._delete = named(Button(), "fx-delete")
        cells = "".join(
            f'<span class="fx-cell"><span class="fx-unseen">{escape(name)} </span>'
            f"{escape(words).replace('; ', '<br>')}</span>"
            for name, words in self._words.items()
            if name != "what was trained"
        )
        super().__init__([self._take, self._delete, named(HTML(cells), "fx-figures")])
        named(self, f"fx-run-line fx-run-{run.id}")
        self._take.on_click(lambda _: lab.take(run))
        self._delete.on_click(lambda _: lab.delete(run))

    def show(self, number: int) -> None:
        self._take.description = f"{number}  {self._words['what was trained']}"
        self._delete.description = f"✕ delete run {number}"
        self._delete.tooltip = f"delete run {number}"


def runs_table(runs: tuple[Run, ...]) -> str:
    """Return runs as an HTML table, which also stands where nothing is live."""
    rows = [(str(number), *say_run(run).values()) for number, run in enumerate(runs, start=1)]
    return html_table(tuple(COLUMNS), rows, "The runs") if rows else "<p>No run yet.</p>"


def _say_stopped(training: Training) -> str:
    if not training.histories:
        return "Stopped before the first step: nothing has been trained."
    epochs = len(training.histories[-1].val_accs)
    whole = "1 whole epoch" if epochs == 1 else f"{epochs} whole epochs"
    seed = f" with seed {training.seed}" * (training.settings.num_seeds > 1)
    return (
        f"Stopped: the model has the weights of {whole}{seed}. A run that was stopped has no row."
    )


def _say_kept(path: Path, kept: Kept) -> str:
    """Return where the runs are kept, and what else is in the file."""
    where = (
        f"Runs are kept in the file {path.name}, in "
        f"{'the folder of this notebook' if path.parent == Path() else path.parent}, and nothing "
        "is sent anywhere. Delete the file, and they are forgotten."
    )
    others = {0: "", 1: "1 run of another model or on other messages is in it, and not shown."}
    more = others.get(
        kept.num_others,
        f"{kept.num_others} runs of other models or on other messages are in it, and not shown.",
    )
    seen = "The test set has been seen." if kept.test_opened else ""
    return "".join(f"<p>{escape(words)}</p>" for words in (where, more, seen, *kept.notes) if words)
