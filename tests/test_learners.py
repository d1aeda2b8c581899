"""Each notebook is worked through: with wrong answers first, then with the page's own solutions.

The learners have their turn where nbval runs the page (see `notebooks/conftest.py`). Here: that they
are asked for all, and what the trials say, without a page.
"""

import ast
import inspect
import os
import re
from types import SimpleNamespace

import nbformat
import pytest

from helpers.config import LEARNERS_FOLDER
from notebooks import build
from tests.conftest import ROOT
from tests.learners import (
    attributes_set,
    calls,
    defined,
    sit_down,
    solutions,
    stand_up,
    turns,
    wrong,
)
from workshop.exercises.coding import all_of, judge, section_number, sections
from workshop.exercises.record import TRIED

NAMES = build.names()
DEFINITIONS = (ast.FunctionDef, ast.ClassDef)


@pytest.mark.parametrize("name", NAMES)
def test_the_learners_answer_all_that_a_page_asks(name, request):
    page = build.read(name)
    sources = [cell.source for cell in page.cells if cell.cell_type == "code"]
    every = turns(page)
    marks = [[marks[0] for _, marks in turn if marks] for turn in every]
    assert len(sources) == len(marks)
    for source, heard in zip(sources, marks, strict=True):
        if calls(source, "predict"):
            assert heard == ["prediction"]
        if calls(source, "check_code"):
            assert heard.count("careless") >= 3 and heard[-1] == "diligent"
        assert ("progress" in heard) == bool(calls(source, "progress"))
    assert sum("progress" in heard for heard in marks) == 1
    run = [item for item in request.session.items if item.path.name == f"{name}.ipynb"]
    if len(run) > len(sources):  # nbval runs this page, too, and not a few of its cells alone
        assert sum("as the learners answer" in item.name for item in run) == sum(map(bool, every))


def test_a_page_goes_on_as_if_nobody_had_answered(tmp_path, monkeypatch):
    monkeypatch.setenv(LEARNERS_FOLDER, "the page's")
    explorer = SimpleNamespace(plan="book")
    page = {"explorer": explorer, "my_answer": None, "loader": "old"}
    answer = "my_answer, new, loader = 1, 2, 3; explorer.plan = 'all'"
    before = dict(page)
    for _ in range(2):
        sit_down(page, str(tmp_path), attributes_set([answer]))
        assert os.environ[LEARNERS_FOLDER] == str(tmp_path) and explorer.plan == "book"
        exec(answer, {}, page)
        assert explorer.plan == "all"
        stand_up(page)
        assert page == before and explorer.plan == "book"
        assert os.environ[LEARNERS_FOLDER] == "the page's"
    page["loader"] = "defined anew"
    sit_down(page, str(tmp_path), set())
    assert page == {"explorer": explorer, "my_answer": 1, "new": 2, "loader": "defined anew"}
    stand_up(page)


EXERCISES = all_of("EXERCISES")
CASES = [(name, *pair) for name, pairs in wrong("WRONG").items() for pair in pairs]


def run(source: str) -> dict:
    names: dict = {}
    exec(compile(source, "<cell>", "exec"), names)
    return names


@pytest.mark.parametrize(
    ("name", "source", "words"), CASES, ids=[f"{c[0]} {i}" for i, c in enumerate(CASES)]
)
def test_a_wrong_solution_gets_its_own_sentence(name, source, words):
    state, text = judge(run(source)[name], EXERCISES[name][1])
    assert state == TRIED and words in text, text


@pytest.mark.parametrize("name", EXERCISES)
def test_an_exercise_has_at_least_three_wrong_solutions_with_a_sentence_each(name):
    cases = [case for case in CASES if case[0] == name]
    assert len({words for _, _, words in cases}) >= 3


def test_there_are_at_least_twelve_exercises_in_code_and_twenty_predictions():
    assert len([section for section, _ in EXERCISES.values() if section[2].isdigit()]) >= 12
    assert len(all_of("QUESTIONS")) >= 20
    assert len(EXERCISES) == 16 and "sixteen functions" in (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("module", sections(), ids=section_number)
def test_every_sentence_of_a_check_is_said_to_some_wrong_solution(module):
    exercises = getattr(module, "EXERCISES", {})
    cases = [case for case in CASES if case[0] in exercises]
    heard = " ".join(judge(run(source)[name], exercises[name])[1] for name, source, _ in cases)
    for words in sentences(module):
        assert words in heard


def sentences(module) -> list[str]:
    """What a section's trials may say of mistakes, in pieces without what is filled in."""
    tree = ast.parse(inspect.getsource(module))
    within = [
        node for part in tree.body if isinstance(part, DEFINITIONS) for node in ast.walk(part)
    ]
    other = {
        node
        for part in within
        if isinstance(part, ast.Return)  # what was tried, for who is right
        or (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))  # a docstring
        for node in ast.walk(part)
    }
    texts = [node.value for node in within if isinstance(node, ast.Constant) and node not in other]
    return [t for t in texts if isinstance(t, str) and re.search("[a-z]{2} [a-z]+ [a-z]", t)]


def test_every_exercise_and_question_stands_on_its_page():
    text = {
        section: nbformat.writes(build.read(name))
        for section, name in ((f"6.{name.split('_')[1]}", name) for name in NAMES)
    }
    for name, (section, _) in EXERCISES.items():
        assert f"check_code({name})" in text[section], name
        assert any(
            name in defined(code) for _, code in solutions(nbformat.reads(text[section], 4))
        ), name
    for name, (section, _) in all_of("QUESTIONS").items():
        assert name.split()[0] == section and name in text[section], name
