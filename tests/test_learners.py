"""Each notebook is worked through: with wrong answers first, then with the page's own solutions."""

import ast
import html
import inspect
import json
import os
import re

import nbformat
import pytest
from nbclient import NotebookClient

from helpers.exercises.coding import all_of, judge, section_number, sections
from helpers.exercises.prediction import ELSE, TOO_HIGH, TOO_LOW, OneOf
from helpers.exercises.record import OPEN, TRIED, UNSAID, WRONG
from helpers.files import LEARNERS_FOLDER
from notebooks import build
from tests.conftest import ROOT
from tests.learners import defined, played, solutions, wrong

NAMES = build.names()
DEFINITIONS = (ast.FunctionDef, ast.ClassDef)


def printed(cell) -> str:
    return "".join(output.get("text", "") for output in cell.outputs)


def said(reply: str) -> str:
    """What can be read of a reply in HTML."""
    return html.unescape(re.sub(r"<[^>]+>", "", re.sub(r"<svg.*</svg>", "", reply, flags=re.S)))


@pytest.mark.parametrize("name", NAMES)
def test_wrong_answers_hear_what_is_off_and_the_pages_solutions_are_right(name, tmp_path):
    notebook = played(build.read(name))
    environment = {**os.environ, LEARNERS_FOLDER: str(tmp_path), "PYTHONPATH": str(ROOT)}
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        extra_arguments=["--IPKernelApp.log_level=40"],
        resources={"metadata": {"path": str(ROOT / "notebooks")}},
    )
    client.execute(env=environment)
    for cell in notebook.cells:
        kind, *rest = cell.metadata.get("played") or [""]
        if kind == "careless":
            exercise, words = rest
            assert words in printed(cell), (exercise, words, printed(cell))
            assert not printed(cell).startswith("Right"), (exercise, printed(cell))
        elif kind == "diligent":
            assert printed(cell).startswith("Right"), (rest, printed(cell))
        elif kind == "prediction":
            check_replies(*json.loads(printed(cell)))
    (summary,) = [printed(cell) for cell in notebook.cells if "progress(" in cell.source]
    assert OPEN not in summary and TRIED not in summary, summary
    assert UNSAID not in summary, summary
    assert WRONG in summary or "predictions: 0 of 0" in summary  # of a guess the first one counts


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
