"""Each page asks what the course has, and its folded solutions and saved answers are there.

Where nbval runs a page, a learner answers it all (see `notebooks/conftest.py`).
"""

import re

import pytest

from notebooks import build
from tests.conftest import ROOT
from tests.learners import answers
from workshop.exercises.prediction import questions
from workshop.exercises.trials import TRIALS

SECTIONS = {f"6.{name.split('_')[1]}": build.read(name) for name in build.names()}


@pytest.mark.parametrize("exercise", TRIALS)
def test_every_exercise_stands_on_its_page_with_a_solution(exercise):
    section, name = exercise.split()
    checks = [check for _, check in answers(SECTIONS[section])]
    assert any(f"check_code({name})" in check for check in checks)


def test_every_question_is_asked_once_on_its_page_and_no_other_is():
    asked = []
    for section, page in SECTIONS.items():
        for cell in page.cells:
            if cell.cell_type == "code":
                names = re.findall(r'^predict\(\s*"([^"]+)"', cell.source, re.MULTILINE)
                assert all(name.split()[0] == section for name in names)
                asked += names
    assert sorted(asked) == sorted(questions())
    assert len(TRIALS) == 16 and "sixteen functions" in (ROOT / "README.md").read_text("utf-8")


def test_the_last_cell_of_every_page_shows_its_progress_and_a_learner_answers_every_page(request):
    for section, page in SECTIONS.items():
        assert (
            f'progress("{section}")' in [c.source for c in page.cells if c.cell_type == "code"][-1]
        )
    pages = {item.path for item in request.session.items if item.name == "Cell 0"}
    learners = [item.path for item in request.session.items if item.name == "a learner's answers"]
    assert sorted(learners) == sorted(pages)
