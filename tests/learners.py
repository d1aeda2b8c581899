"""What a notebook asks of a learner, and what its own folded solutions answer."""

import re

import nbformat

FOLD = re.compile(r"<details><summary>Solution</summary>(.*?)</details>", re.DOTALL)
CHECK = re.compile(r'^(?:\w+ = )?check(?:_code)?\(\s*"[^"]+",\s*(\w+)', re.MULTILINE)
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


def answers(notebook: nbformat.NotebookNode) -> list[tuple[str, str]]:
    """The page's solution of each exercise that has one in code, and the cell that checks it.

    The solution is the next below the check that defines what it checks, or else one above it.
    """
    solutions = []
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            for fold in FOLD.findall(cell.source):
                solutions += [(number, code) for code in BLOCK.findall(fold)]
    answered = []
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        for name in CHECK.findall(cell.source):
            defines = re.compile(rf"^(def |class )?{name}\b", re.MULTILINE)
            fitting = [(place, code) for place, code in solutions if defines.search(code)]
            if fitting:
                below = [code for place, code in fitting if place > number]
                answered.append((below[0] if below else fitting[-1][1], cell.source))
    return answered
