"""Two learners at a notebook: one writes what is wrong first, then the page's solution.

Both play in the kernel of the page's own run: to each exercise wrong answers are given, and then
the one that the page's folded solution has; to each prediction wrong guesses, and then the right
one. Then the page goes on as if nobody had answered, so that no cell has to run twice for them.
"""

import ast
import importlib
import json
import os
import pkgutil
import re

import nbformat

import tests.wrong
from helpers.config import LEARNERS_FOLDER

SOLUTION = re.compile(r"<details><summary>Solution</summary>(.*?)</details>", re.DOTALL)
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
CARELESS_ANSWERS = ("-12345.6", "'no idea'", "{'z'}")  # right in no exercise


def wrong(kind: str) -> dict[str, list[tuple[str, str]]]:
    """All wrong solutions ("WRONG") or guesses ("GUESSES"), with words of what is said to each."""
    names = sorted(module.name for module in pkgutil.iter_modules(tests.wrong.__path__))
    modules = [importlib.import_module(f"tests.wrong.{name}") for name in names]
    return {name: pairs for module in modules for name, pairs in getattr(module, kind, {}).items()}


def defined(source: str) -> set[str]:
    """The names that a code defines at its outermost level."""
    names = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {
                sub.id for t in node.targets for sub in ast.walk(t) if isinstance(sub, ast.Name)
            }
    return names


def solutions(notebook: nbformat.NotebookNode) -> list[tuple[int, str]]:
    """The code of each folded solution that has some, with the number of its cell."""
    return [
        (number, block)
        for number, cell in enumerate(notebook.cells)
        if cell.cell_type == "markdown"
        for fold in SOLUTION.findall(cell.source)
        for block in BLOCK.findall(fold)
    ]


def solution_of(name: str, number: int, found: list[tuple[int, str]]) -> str:
    """The solution that defines what cell `number` checks: the next one, or else the one before."""
    own = [(place, code) for place, code in found if name in defined(code)]
    below = [code for place, code in own if place > number]
    return (below or [code for _, code in own[::-1]] or [""])[0]


def calls(source: str, what: str) -> list[ast.Call]:
    """The calls of functions whose name begins with `what`."""
    found = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [c for c in found if isinstance(c.func, ast.Name) and c.func.id.startswith(what)]


def checked(source: str) -> set[str]:
    """The learner's names that a cell checks: "my_answer", "explorer"."""
    arguments = [arg for call in calls(source, "check") for arg in call.args[:1]]
    return {arg.id for arg in arguments if isinstance(arg, ast.Name)}


def turns(notebook: nbformat.NotebookNode) -> list[list[tuple[str, list[str]]]]:
    """What the learners run after each code cell: sources, some marked with who is heard, and how.

    After a prediction that is its question again, to play with; after a check, each wrong answer and
    the solution with the check below it; after any cell that uses what they have defined, and after
    the one with the progress, the cell itself. Most cells have nothing of theirs.
    """
    found, wrongs, theirs, every = solutions(notebook), wrong("WRONG"), set(), []
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        turn: list[tuple[str, list[str]]] = []
        if predictions := calls(cell.source, "predict"):
            (call,) = predictions
            turn.append((f"_asked = {ast.get_source_segment(cell.source, call)}", []))
            turn.append(("_learners.play(_asked)", ["prediction"]))
        elif calls(cell.source, "check"):
            turn += answers(cell.source, number, found, wrongs)
        elif loaded(cell.source) & theirs or calls(cell.source, "progress"):
            turn.append((cell.source, ["progress"] if calls(cell.source, "progress") else []))
        theirs -= defined(cell.source)
        theirs |= {name for source, _ in turn for name in defined(source)}
        every.append(turn)
    return every


def answers(
    check: str, number: int, found: list[tuple[int, str]], wrongs: dict[str, list[tuple[str, str]]]
) -> list[tuple[str, list[str]]]:
    """Wrong answers and the page's own to the check in cell `number`, with the check below each."""
    turn: list[tuple[str, list[str]]] = []
    for name in checked(check):
        if name in wrongs:
            for source, words in wrongs[name]:
                turn += [(source, []), (check, ["careless", name, words])]
        elif name.startswith("my_"):
            for answer in CARELESS_ANSWERS:
                turn += [(f"{name} = {answer}", []), (check, ["careless", name, ""])]
        if solution := solution_of(name, number, found):
            return [*turn, (solution, []), (check, ["diligent", name])]
    return [*turn, (check, [])]


def loaded(source: str) -> set[str]:
    """The names that a code uses."""
    names = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)]
    return {name.id for name in names if isinstance(name.ctx, ast.Load)}


def attributes_set(sources: list[str]) -> set[tuple[str, str]]:
    """What codes change within the page's objects: `explorer.plan = …` → ("explorer", "plan")."""
    nodes = [node for source in sources for node in ast.walk(ast.parse(source))]
    stored = [n for n in nodes if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)]
    return {(n.value.id, n.attr) for n in stored if isinstance(n.value, ast.Name)}


# --- in the page's kernel ------------------------------------------------------------------------

_page: dict = {}  # how the page was when the learners sat down
_theirs: dict[str, tuple] = {}  # name → what the page had by it, and what the learners have


def sit_down(names: dict, folder: str, attributes: set[tuple[str, str]]) -> None:
    """Begin the learners' turn: what they have defined so far is there, in place of the page's own.

    What the page has defined anew since then is the page's. `folder` is for what they keep.
    """
    _page["names"] = dict(names)
    _page["attributes"] = [
        (names[name], attribute, getattr(names[name], attribute))
        for name, attribute in attributes
        if hasattr(names.get(name), attribute)
    ]
    _page["folder"] = os.environ.get(LEARNERS_FOLDER, "")
    os.environ[LEARNERS_FOLDER] = folder
    names.update({n: own for n, (pages, own) in _theirs.items() if names.get(n) is pages})


def stand_up(names: dict) -> None:
    """End the learners' turn: the page goes on as if nobody had answered."""
    os.environ[LEARNERS_FOLDER] = _page["folder"]
    for thing, attribute, value in _page["attributes"]:
        setattr(thing, attribute, value)
    before, missing = _page["names"], object()
    for name in [name for name in names if not name.startswith("_")]:
        if names[name] is not before.get(name, missing):
            _theirs[name] = before.get(name), names[name]
            del names[name]
            names.update({name: before[name]} if name in before else {})


def play(asked) -> None:
    """Give wrong guesses, then the right one; print what is said to each."""
    from workshop.widgets.prediction import Prediction

    right = (
        asked.answer if isinstance(asked.answer, str) else asked.question.kind.show(asked.answer)
    )
    if isinstance(asked.answer, int | float):
        right = repr(asked.answer)
    said = []
    for typed, words in [*wrong("GUESSES").get(asked.name, []), (right, None)]:
        again = Prediction(asked.name, asked.question, asked.answer, asked.show)
        hidden = [child.value for child in again.children if hasattr(child, "value")]
        again.commit(str(typed))
        said.append([str(typed), words, again.is_right, again._reply.value, hidden])
    print(json.dumps([asked.name, said]))
