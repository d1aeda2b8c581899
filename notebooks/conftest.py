"""The notebooks run here as on a first day: without what a learner has kept beside them.

After a page's last cell a learner answers in the same kernel: commits to each prediction, puts the
page's own solutions in, and looks at the progress.
"""

import tempfile

import pytest
from nbval.plugin import IPyNbCell

from helpers.config import LEARNERS_FOLDER
from notebooks.build import code_cells
from tests.learners import answers
from workshop.exercises.record import OPEN, TRIED, UNSAID, WRONG

empty = tempfile.TemporaryDirectory(prefix="course_")

PREDICT = """
import gc

from workshop.widgets.prediction import Prediction

for shown in [thing for thing in gc.get_objects() if type(thing) is Prediction]:
    shown.commit(shown.question.kind.show(shown.answer))
    assert shown.is_right, (shown.name, shown.answer)
"""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup():
    """Of cells alone, so that no other test's kernel keeps its runs in the same folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(LEARNERS_FOLDER, empty.name)
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """After its last cell a learner answers what a page asks, unless only a few cells run."""
    pages = {item.parent: item for item in items if isinstance(item, IPyNbCell)}
    for page, last in pages.items():
        if sum(item.parent is page for item in items) == len(code_cells(page.nb)):
            learner = Learner.from_parent(page, name="a learner's answers")
            items.insert(items.index(last) + 1, learner)


class Learner(pytest.Item):
    """A diligent learner, to whom everything is right in the end."""

    def runtest(self) -> None:
        self.printed(PREDICT)
        for solution, check in answers(self.parent.nb):
            self.printed(solution)
            printed = self.printed(check)
            assert printed.startswith("Right"), (solution, check, printed)
        progress = self.printed(code_cells(self.parent.nb)[-1].source)
        for state in (OPEN, TRIED, UNSAID, WRONG):
            assert f"    {state} " not in progress, progress

    def printed(self, source: str) -> str:
        """What a code prints in the page's kernel; raises an AssertionError where it fails."""
        messages = []
        reply = self.parent.kernel.kc.execute_interactive(
            source,
            allow_stdin=False,
            timeout=self.config.option.nbval_cell_timeout,
            output_hook=messages.append,
        )["content"]
        assert reply["status"] == "ok", "\n".join([source, "->", *reply["traceback"]])
        return "".join(message["content"].get("text", "") for message in messages)

    def reportinfo(self):
        return self.path, 0, f"{self.path.name}::{self.name}"
