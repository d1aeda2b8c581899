"""The notebooks run here as on a first day: without what a learner has kept beside them.

After a page's last cell a learner answers in the same kernel: commits to each prediction, puts the
page's own solutions in, and looks at the progress.
"""

import tempfile

import pytest
from nbval.plugin import IPyNbCell

from helpers.config import LEARNERS_FOLDER
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
        num_cells = sum(cell.cell_type == "code" for cell in page.nb.cells)
        if sum(item.parent is page for item in items) == num_cells:
            learner = Learner.from_parent(page, name="a learner's answers")
            items.insert(items.index(last) + 1, learner)


class Learner(pytest.Item):
    """A diligent learner, to whom everything is right in the end."""

    def runtest(self) -> None:
        sources = [cell.source for cell in self.parent.nb.cells if cell.cell_type == "code"]
        self.printed(PREDICT)
        for solution, check in answers(self.parent.nb):
            self.printed(solution)
            printed = self.printed(check)
            assert printed.startswith("Right"), (solution, check, printed)
        progress = self.printed(sources[-1])
        for state in (OPEN, TRIED, UNSAID, WRONG):
            assert f"    {state} " not in progress, progress

    def printed(self, source: str) -> str:
        """What a code prints in the page's kernel; raises an AssertionError where it fails."""
        kernel, text, failed = self.parent.kernel, "", ""
        number = kernel.execute_cell_input(source, allow_stdin=False)
        kernel.await_reply(number, timeout=self.config.option.nbval_cell_timeout)
        while True:
            message = kernel.get_message("iopub", timeout=60)
            kind, content = message["msg_type"], message["content"]
            if message["parent_header"].get("msg_id") != number:
                continue
            if kind == "stream":
                text += content["text"]
            elif kind == "error":
                failed = "\n".join(content["traceback"])
            elif kind == "status" and content["execution_state"] == "idle":
                break
        assert not failed, f"{source}\n-> {failed}"
        return text

    def reportinfo(self):
        return self.path, 0, f"{self.path.name}::{self.name}"
