"""The Freeze Lab: choose what is trained, click Train, and compare the results."""

from html import escape

from ipywidgets import HTML, BoundedIntText, FloatText, VBox
from torch.utils.data import DataLoader

from helpers.config import beside_the_notebook
from helpers.measures import wilson_interval
from helpers.training import calc_accuracy_loader
from workshop.lab import (
    FILE,
    Material,
    Run,
    Settings,
    Training,
    delete_row,
    describe_run,
    finished_run,
    keep_run,
    keep_test_opened,
    load_material,
    read_kept,
    work_predicted,
)
from workshop.pictures.charts import AGAINST, draw_runs
from workshop.tables import html_table, status
from workshop.texts import counted
from workshop.widgets.explorer import FreezeExplorer
from workshop.widgets.parts import (
    Choice,
    CourseWidget,
    Folded,
    ask,
    button,
    html_fields,
    named,
    problem_shown,
    row,
)
from workshop.widgets.train_button import UNDER_WAY, TrainButton

WHERE = {  # the positions of the table's settings, in words
    "first": "the first token, which attends only to itself",
    "last": "the last position: padding, for all but the longest messages",
    "last_token": "the last token before the padding",
    "mean": "the mean of the logits of all positions, including the padding",
}


ABOUT_THE_TEST = (
    "<b>The test set.</b> Use it once, at the end. If you look at it and continue to choose, it "
    "becomes a second validation set. So later runs are marked."
)


HOW_TO_READ = """
<p>All numbers are for one training, the mean over the seeds; the range in brackets is from the
lowest to the highest seed. The <i>multiply-adds</i> are computed, the <i>seconds</i> measured,
without the frozen layers: their output may be cached from an earlier run.</p>
<p><i>Accuracy</i> and <i>loss</i> are those after the last epoch, on all validation messages;
<i>best epoch</i> is the one with the lowest validation loss, for each seed.</p>
<p>The <i>difference</i> is the accuracy minus that of the run that you choose below, on the same
messages and with the same seeds. If its 95 % interval contains 0, these messages can't tell the two
runs apart. With one seed, the interval ignores that another seed gives another result.</p>
"""


class FreezeLab(CourseWidget):
    """The Freeze Explorer, a button that trains, and a table with a row for each run.

    The model and the messages are loaded at once; `material` takes their place. Runs are kept in the
    file FILE beside the notebook, and only there. `settings`, `rows` (the runs), and `model` and
    `history` of the training that was last (None before) hold what is shown. Raises what the loading
    raises.
    """

    def __init__(
        self,
        model_name: str = "gpt2-nano (12M)",
        data_name: str = "sms-mini",
        material: Material | None = None,
    ):
        self.material = material or load_material(model_name, data_name)
        self.path = beside_the_notebook(FILE)
        self.model = self.history = None
        self.rows = ()
        self._test_opened = False

        self.explorer = FreezeExplorer(
            self.material.pretrained.cfg,
            lora=True,
            batch_size=8,
            num_tokens=self.material.train.max_length,
        )
        self.explorer.observe(self._show_predicted, "plan")
        self._button = TrainButton(self._make_training, self._end)
        self._position = Choice(
            "fx-position", "Classify at", tuple(WHERE), "last", self._show_predicted
        )
        self._seeds = Choice("fx-seeds", "Seeds", ("1", "3", "5"), "1")
        # the book's five epochs have a higher validation loss here, and no higher accuracy
        self._epochs = ask(BoundedIntText, "fx-epochs", "Epochs", value=2, min=1, max=1000)
        self._lr = ask(FloatText, "fx-lr", "Learning rate", value=self.material.lr)
        self._epochs.observe(self._show_predicted, "value")
        self._lr.observe(self._show_predicted, "value")
        self._number = ask(BoundedIntText, "fx-run", "Run", value=1, min=1, max=10_000)
        self._number.observe(self._show_runs, "value")
        take = button("fx-more fx-take", "Use its plan and settings", self._take)
        delete = button("fx-more fx-delete", "Delete it", self._delete)
        self._against = Choice(
            "fx-against", "Accuracy against", AGAINST, "trainable parameters", self._show_runs
        )
        open_test = button("fx-more fx-open-test", "Evaluate on the test set", self._open_test)
        show = self._html = html_fields(
            "fx", "where", "predicted", "run-table", "row", "plot", "test", "kept"
        )
        test = [HTML(ABOUT_THE_TEST), open_test, show["test"], show["kept"]]
        super().__init__(
            "freeze-lab",
            [
                self.explorer,
                row(self._position, show["where"]),
                row(self._epochs, self._lr, self._seeds),
                show["predicted"],
                self._button,
                show["run-table"],
                row(self._number, take, delete),
                show["row"],
                Folded("how to read the table", HTML(HOW_TO_READ)),
                row(
                    named(VBox([self._against, show["plot"]]), "fx-run-plot"),
                    named(VBox(test), "fx-beside"),
                ),
            ],
        )
        self._show_predicted()
        self._read_rows()
        self._button.say("Nothing has been trained yet in this session.")

    @property
    def settings(self) -> Settings:
        """What is chosen; setting it sets the controls. ValueError where a control can't be taken."""
        return Settings(
            self.explorer.plan,
            self._position.value,
            self._epochs.value,
            self._lr.value,
            int(self._seeds.value),
        )

    @settings.setter
    def settings(self, settings: Settings) -> None:
        self._epochs.value, self._lr.value = settings.epochs, settings.lr
        self._position.choose(settings.position)
        self._seeds.choose(str(settings.num_seeds))
        self.explorer.plan = settings.plan

    # --- a training ---

    def train(self) -> Run | None:
        """Return the run of a training as by a click, but whole, before the next line of code runs.

        None where it was interrupted, or could not begin or come to its end.
        """
        self._finished = None
        self._button.train()
        return self._finished

    def _make_training(self) -> tuple[Training, int]:
        return Training(self.material, self.settings), self.settings.num_seeds

    def _end(self, training: Training) -> None:
        if not training.histories:
            self._button.say("Stopped before the first step: nothing has been trained.")
            return
        self.model, self.history = training.model, training.histories[-1]
        self._trained_as = training.settings, len(training.histories)
        if self._button.stopped or training.interrupted:
            epochs, seed = len(self.history.val_accs), len(training.histories)
            left = f"the model has the weights of {counted(epochs, 'whole epoch')} with seed {seed}"
            if epochs == 0:
                left = f"before the end of the first epoch with seed {seed}"
            self._button.say(f"Stopped: {left}. Nothing is recorded of a run that was stopped.")
            return
        run = self._finished = finished_run(training, self._test_opened)
        with problem_shown(self._button.problem, "The run is not kept: "):
            keep_run(self.path, run, self.material.belongs_to)
        self._read_rows()
        self._button.say(
            f"Done: validation accuracy {run.accuracy:.3f}, loss {run.loss:.3f}; always predicting "
            f"the majority class has an accuracy of {self.material.majority:.3f}."
        )

    # --- what else is clicked ---

    def _open_test(self) -> None:
        with problem_shown(self._html["test"]):
            if self._button.training is not None:
                raise ValueError(UNDER_WAY)
            if self.model is None:
                raise ValueError("There is no trained model yet: click Train first")
            with problem_shown(self._button.problem, "That the test set was used is not kept: "):
                keep_test_opened(self.path, self.material.belongs_to)
            (settings, seed), test = self._trained_as, self.material.test
            loader, device = DataLoader(test, batch_size=32), self.model.tok_emb.weight.device
            accuracy = calc_accuracy_loader(loader, self.model, device, position=settings.position)
            self._test_opened = True
            self._read_rows()
            low, high = wilson_interval(accuracy, len(test))
            self._html["test"].value = status(
                f"Test accuracy of one model, the one with seed {seed} of the last run ({settings}): "
                f"{accuracy:.3f} of {len(test)} messages, 95 % interval {low:.3f} to {high:.3f}."
            )

    def _chosen_run(self) -> Run:
        if self._number.value > len(self.rows):
            raise ValueError(f"there is no run {self._number.value}; type a number of the table")
        return self.rows[self._number.value - 1]

    def _take(self) -> None:
        with problem_shown(self._html["row"]):
            self.settings = self._chosen_run().settings

    def _delete(self) -> None:
        with problem_shown(self._html["row"]):
            delete_row(self.path, self._chosen_run().id)
        self._read_rows()

    # --- what is shown ---

    def _show_predicted(self, _=None) -> None:
        self._html["where"].value = escape(WHERE[self._position.value])
        with problem_shown(self._html["predicted"]):
            work = work_predicted(self.material, self.settings)
            self._html[
                "predicted"
            ].value = f"Estimated compute of one training: {work.fine_tune}. The book's loop: {work.book}."

    def _read_rows(self) -> None:
        """Show what the file holds; another notebook may have added to it."""
        with problem_shown(self._html["kept"]):
            kept = read_kept(self.path, self.material.belongs_to)
            self.rows = kept.runs
            self._test_opened |= kept.test_opened
            sentences = [
                f"Runs are kept in the file {self.path}. Nothing is sent anywhere. To forget the runs, "
                "delete the file."
            ]
            if kept.num_others:
                others = counted(kept.num_others, "run")
                sentences.append(f"It also holds {others} of another model or on other messages.")
            if self._test_opened:
                sentences.append("The test set has been used.")
            paragraphs = [f"<p>{escape(sentence)}</p>" for sentence in (*sentences, *kept.notes)]
            self._html["kept"].value = "".join(paragraphs)
        self._show_runs()

    def _show_runs(self, _=None) -> None:
        html, table, majority = "<p>No run yet.</p>", [], self.material.majority
        chosen = min(self._number.value, len(self.rows))
        for number, run in enumerate(self.rows, start=1):
            texts = {"run": str(number)} | describe_run(run, self.rows[chosen - 1])
            table.append(tuple(texts.values()))
            caption = (
                f"The runs. Differences are from run {chosen}; always predicting the majority class "
                f"has an accuracy of {majority:.3f}."
            )
            html = html_table(tuple(texts), table, caption)
        self._html["run-table"].value = html
        self._drawing = draw_runs(self.rows, majority, self._against.value)
        self._html["plot"].value = self._drawing.svg

    def static_form(self) -> tuple[str, str, str]:
        """Return the Explorer's form, what is set and the runs as tables, and text."""
        position = self._position.value
        settings = (
            ("classify at", f"{position}: {WHERE[position]}"),
            ("epochs", str(self._epochs.value)),
            ("learning rate", f"{self._lr.value:g}"),
            ("seeds", self._seeds.value),
        )
        table = html_table(("setting", "chosen"), settings, "What is set in the Lab")
        tables = f"{self.explorer.static_form()}{table}{self._html['run-table'].value}"
        return "", tables, f"{self.explorer.report}\n{self._drawing.words}"
