"""Section 6.5 in JupyterLab, as a careless and then a diligent learner work through it."""

import pytest

from notebooks import build
from tests import lab
from tests.conftest import copy_of_the_course
from tests.learners import solution_of, solutions, wrong
from workshop.exercises.coding import all_of
from workshop.exercises.prediction import OneOf

pytestmark = pytest.mark.skipif(lab.missing() is not None, reason=str(lab.missing()))
SECTION, NAME = "6.5", "06_5_classification_head"
QUESTIONS = {n: q for n, (section, q) in all_of("QUESTIONS").items() if section == SECTION}
EXERCISES = [n for n, (section, _) in all_of("EXERCISES").items() if section == SECTION]
RUN_CELLS = """async ([sources, name]) => {
    const {content} = jupyterapp.shell.currentWidget;
    const starts = begin => content.widgets.findIndex(
        cell => cell.model.type === 'code' && cell.model.sharedModel.getSource().includes(begin));
    const place = starts(`def ${name}(`), check = starts(`check_code(${name})`);
    const printed = [];
    for (const source of sources) {
        content.widgets[place].model.sharedModel.setSource(source);
        for (const number of [place, check]) {
            content.activeCellIndex = number;
            await jupyterapp.commands.execute('notebook:run-cell');
        }
        printed.push(content.widgets[check].model.sharedModel.outputs
            .map(output => [output.text].flat().join('')).join(''));
    }
    return printed;
}"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    course = copy_of_the_course(tmp_path_factory.mktemp("course"))
    with lab.opened(course, f"notebooks/{NAME}.ipynb", ".prediction .pr-commit") as page:
        yield page


@pytest.mark.parametrize("name", EXERCISES)
def test_wrong_code_hears_its_sentence_and_the_pages_solution_is_right(page, name):
    wrongs = wrong("WRONG")[name]
    solution = solution_of(name, 0, solutions(build.read(NAME)))
    sources = [source for source, _ in wrongs] + [solution]
    *said, right = page.evaluate(lab.WITHIN, [RUN_CELLS, [sources, name], lab.PATIENCE])
    for (_, words), text in zip(wrongs, said, strict=True):
        assert words in text
    assert right.startswith("Right: tried with ")


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_guess_is_refused_then_committed_and_answered(page, name):
    question, (typed, words) = QUESTIONS[name], wrong("GUESSES")[name][0]
    asked = page.locator(".prediction").filter(has_text=question.ask.split("`")[0].split("*")[0])
    assert asked.get_by_role("status").count() == 0
    commit = asked.get_by_role("button", name="Commit")
    commit.click()
    asked.get_by_role("alert").filter(has_text="First your guess").wait_for()
    if isinstance(question.kind, OneOf):
        asked.get_by_role("button", name=typed, exact=True).click()
        asked.get_by_role("button", name=f"✓ {typed}", exact=True).wait_for()
    else:
        asked.get_by_role("textbox").fill(typed)
        page.keyboard.press("Tab")
    commit.click()
    asked.get_by_role("status").filter(has_text=words).wait_for()
    assert asked.get_by_role("alert").count() == 0
