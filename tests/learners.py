"""Two learners at a notebook: one writes what is wrong first, then the page's solution.

Both play in one run: to each exercise wrong answers are given, and then the one that the page's
folded solution has; to each prediction wrong guesses, and then the right one.
"""

import ast
import importlib
import json
import pkgutil
import re

import nbformat

import tests.wrong

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


def played(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook with what the two learners put in, in cells marked "careless" and "diligent"."""
    found, wrongs, cells = solutions(notebook), wrong("WRONG"), []

    def put(source: str, *tags: str) -> None:
        cells.append(nbformat.v4.new_code_cell(source, metadata={"played": list(tags)}))

    for number, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        if predictions := calls(cell.source, "predict"):
            (call,) = predictions
            lines = cell.source.splitlines()
            lines[call.lineno - 1] = f"_asked = {lines[call.lineno - 1]}"
            put("\n".join(lines))
            put("from tests.learners import play\nplay(_asked)", "prediction")
            continue
        for name in checked(cell.source):
            if name in wrongs:
                for source, words in wrongs[name]:
                    put(source)
                    put(cell.source, "careless", name, words)
            elif name.startswith("my_"):
                for answer in CARELESS_ANSWERS:
                    put(f"{name} = {answer}")
                    put(cell.source, "careless", name, "")
            if solution := solution_of(name, number, found):
                put(solution)
                put(cell.source, "diligent", name)
                break
        else:
            put(cell.source)
    return nbformat.v4.new_notebook(cells=cells, metadata=notebook.metadata)


def play(asked) -> None:
    """In the kernel: give wrong guesses, then the right one; print what is said to each."""
    from helpers.widgets.prediction import Prediction

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
