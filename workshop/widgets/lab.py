"""The Freeze Lab: choose what is trained, press Train, and compare the results."""

from html import escape

from ipywidgets import HTML, BoundedIntText, FloatText, VBox
from torch.utils.data import DataLoader

from helpers.config import beside_the_notebook
from helpers.training import calc_accuracy_loader
from workshop.lab import (
    FILE,
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

WHERE = {  # the positions of the table's rows, in words
    "first": "the first token, which sees only itself",
    "last": "the row's last position: padding, in all but the longest messages",
    "last_token": "the last token before the padding",
    "mean": "the mean of what all positions say, the padding's too",
}


PRICE_OF_THE_TEST = (
    "<b>The test set</b> answers once: if you have looked at it and then choose again, you may choose "
    "by it, and then it says no more than the validation set. So each run after it is marked."
)


CAPTION = (
    "<b>The runs.</b> Behind a mean accuracy stand the lowest and the highest of the seeds, and its "
    "95 % interval by Wilson's formula."
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
        self._epochs = ask(BoundedIntText, "fx-epochs", "Epochs", value=5, min=1, max=1000)
        self._lr = ask(FloatText, "fx-lr", "Learning rate", value=self.material.lr)
        self._epochs.observe(self._show_predicted, "value")
        self._lr.observe(self._show_predicted, "value")
        self._number = ask(BoundedIntText, "fx-run", "Run", value=1, min=1, max=10_000)
        take = button("fx-more fx-take", "Use its plan and settings", self._take)
        delete = button("fx-more fx-delete", "Delete it", self._delete)
        self._against = Choice(
            "fx-against", "Accuracy against", AGAINST, "trainable parameters", self._show_runs
        )
        open_test = button("fx-more fx-open-test", "Open the test set", self._open_test)
        show = self._html = html_fields(
            "fx", "where", "predicted", "run-table", "row", "plot", "test", "kept"
        )
        test = [HTML(PRICE_OF_THE_TEST), open_test, show["test"], show["kept"]]
        super().__init__(
            "freeze-lab",
            [
                self.explorer,
                row(self._position, show["where"]),
                row(self._epochs, self._lr, self._seeds),
                show["predicted"],
                self._button,
                HTML(CAPTION),
                show["run-table"],
                row(self._number, take, delete),
                show["row"],
                Folded("how the figures are to be read", HTML(HOW_TO_READ)),
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
        self._model_settings = training.settings
        if self._button.stopped or training.interrupted:
            epochs = counted(len(self.history.val_accs), "whole epoch")
            self._button.say(
                f"Stopped: the model has the weights of {epochs} with seed "
                f"{len(training.histories)}. A run that was stopped has no row."
            )
            return
        run = self._finished = finished_run(training, self._test_opened)
        with problem_shown(self._button.problem, "The run is not kept: "):
            keep_run(self.path, run, self.material.belongs_to)
        self._read_rows()
        self._button.say(
            f"Done in {run.seconds * len(run.val_accs):.1f} s: validation accuracy "
            f"{run.accuracy:.3f}, loss {run.loss:.3f}."
        )

    # --- what else is clicked ---

    def _open_test(self) -> None:
        with problem_shown(self._html["test"]):
            if self._button.training is not None:
                raise ValueError(UNDER_WAY)
            if self.model is None:
                raise ValueError("There is no trained model yet: press Train first")
            with problem_shown(self._button.problem, "That the test set was seen is not kept: "):
                keep_test_opened(self.path, self.material.belongs_to)
            settings, test = self._model_settings, self.material.test
            loader, device = DataLoader(test, batch_size=32), self.model.tok_emb.weight.device
            accuracy = calc_accuracy_loader(loader, self.model, device, position=settings.position)
            self._test_opened = True
            self._read_rows()
            self._html["test"].value = status(
                f"Test accuracy of the model that was trained last ({settings}): {accuracy:.3f} of "
                f"{len(test)} messages."
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
            self._html["predicted"].value = (
                f"Predicted for one training: {work.fine_tune}, as the frozen part runs once (the "
                f"book's way: {work.book})"
            )

    def _read_rows(self) -> None:
        """Show what the file holds; another notebook may have added to it."""
        with problem_shown(self._html["kept"]):
            kept = read_kept(self.path, self.material.belongs_to)
            self.rows = kept.runs
            self._test_opened |= kept.test_opened
            sentences = [
                f"Runs are kept in the file {self.path}, and nothing is sent anywhere. Delete the "
                "file, and they are forgotten."
            ]
            if kept.num_others:
                others = counted(kept.num_others, "run")
                sentences.append(f"It also holds {others} of another model or on other messages.")
            if self._test_opened:
                sentences.append("The test set has been seen.")
            paragraphs = [f"<p>{escape(sentence)}</p>" for sentence in (*sentences, *kept.notes)]
            self._html["kept"].value = "".join(paragraphs)
        self._show_runs()

    def _show_runs(self, _=None) -> None:
        html, table = "<p>No run yet.</p>", []
        for number, run in enumerate(self.rows, start=1):
            texts = {"run": str(number)} | say_run(run)
            table.append(tuple(texts.values()))
            html = html_table(tuple(texts), table, "The runs")
        self._html["run-table"].value = html
        self._drawing = draw_runs(self.rows, self._against.value)
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
