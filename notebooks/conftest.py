"""The notebooks run here as on a first day: without what a learner has kept beside them.

In the same kernel two learners answer, after each cell that asks: with wrong answers first, then
with the page's own solutions (see `tests.learners`).
"""

import html
import json
import re
import tempfile
from pathlib import Path

import pytest
from nbval.plugin import IPyNbCell

from helpers.config import LEARNERS_FOLDER
from tests.learners import attributes_set, turns
from workshop.exercises.coding import all_of
from workshop.exercises.prediction import ELSE, TOO_HIGH, TOO_LOW, OneOf
from workshop.exercises.record import OPEN, TRIED, UNSAID, WRONG

empty = tempfile.TemporaryDirectory(prefix="course_")
learners = tempfile.TemporaryDirectory(prefix="learners_")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup():
    """Of cells alone, so that no other test's kernel keeps its runs in the same folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(LEARNERS_FOLDER, empty.name)
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """After each cell that asks something the learners have their turn."""
    of_file: dict = {}
    every = []
    for item in items:
        every.append(item)
        if isinstance(item, IPyNbCell):
            page = item.parent
            if page not in of_file:
                of_file[page] = turns(page.nb)
            if turn := of_file[page][item.cell_num]:
                name = f"{item.name}, as the learners answer"
                every.append(Turn.from_parent(page, name=name, sources=turn))
    items[:] = every


class Turn(pytest.Item):
    """The learners' turn after a cell; `sources` are those of `tests.learners.turns`."""

    def __init__(self, *, sources: list[tuple[str, list[str]]], **arguments):
        super().__init__(**arguments)
        self.sources = sources

    def runtest(self) -> None:
        folder = str(Path(learners.name, self.path.stem))
        attributes = attributes_set([source for source, _ in self.sources])
        self.printed(f"""
import tests.learners as _learners
_learners.sit_down(globals(), {folder!r}, {attributes!r})
""")
        try:
            for source, marks in self.sources:
                check(marks, self.printed(source))
        finally:
            self.printed("_learners.stand_up(globals())")

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


def check(marks: list[str], printed: str) -> None:
    """What is said to a wrong answer, to a right one, to guesses, and of it all at the end."""
    kind, *rest = marks or [""]
    if kind == "careless":
        exercise, words = rest
        assert words in printed, (exercise, words, printed)
        assert not printed.startswith("Right"), (exercise, printed)
    elif kind == "diligent":
        assert printed.startswith("Right"), (rest, printed)
    elif kind == "prediction":
        check_replies(*json.loads(printed))
    elif kind == "progress":
        assert OPEN not in printed and TRIED not in printed, printed
        assert UNSAID not in printed, printed
        # of a guess the first one counts
        assert WRONG in printed or "predictions: 0 of 0" in printed, printed


def said(reply: str) -> str:
    """What can be read of a reply in HTML."""
    return html.unescape(re.sub(r"<[^>]+>", "", re.sub(r"<svg.*</svg>", "", reply, flags=re.S)))


def check_replies(name: str, replies: list) -> None:
    *wrongs, right = replies
    question = all_of("QUESTIONS")[name][1]
    least = 3 if not isinstance(question.kind, OneOf) else min(3, len(question.kind.options) - 1)
    assert len(wrongs) >= least, name
    for typed, words, is_right, reply, hidden in wrongs:
        assert is_right is False and words in said(reply), (name, typed, said(reply))
        assert not any(words and words in said(before) for before in hidden), name
    assert right[2] is True, (name, right)
    met = " ".join(said(reply[3]) for reply in replies)
    for words in [question.right, *question.wrong.values()]:
        pieces = re.split(r"\{answer\}|\{guess\}|[`*]", words)
        assert all(" ".join(piece.split()) in " ".join(met.split()) for piece in pieces), (
            name,
            words,
        )
    rest = ELSE in question.wrong or {TOO_LOW, TOO_HIGH} <= set(question.wrong)
    assert question.right and (rest or len(question.wrong) >= least), name
