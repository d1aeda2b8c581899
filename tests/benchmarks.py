"""What is promised in figures, measured: `make bench`, or `python -m tests.benchmarks explorer`.

Each benchmark is a function that yields rows; a row is what was measured, the value, and what is to be reached. The
table is printed and written to benchmarks.json.
"""

import argparse
import json
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import torch
from nbclient import NotebookClient

from helpers.freezing import FreezePlan
from helpers.widgets import FreezeExplorer
from tests import lab
from tests.conftest import ROOT
from tests.screenshot import NOTEBOOK, course_in

Row = tuple[str, str, str]  # what was measured, its value with the unit, what is to be reached


def percentile(values: list[float], percent: int) -> float:
    """Return the value that `percent` % of the values do not exceed."""
    return sorted(values)[max(0, -(-len(values) * percent // 100) - 1)]


def explorer() -> Iterator[Row]:
    """A toggle of the Freeze Explorer in gpt2-xl, its 48 blocks open: in the kernel, and until a page shows it."""
    milliseconds = in_a_kernel("from tests.benchmarks import toggles\ntoggles(200)")
    what = f"a toggle in gpt2-xl, in the kernel, {len(milliseconds)} random ones"
    yield what + ", median", f"{percentile(milliseconds, 50):.1f} ms", ""
    yield what + ", 95th percentile", f"{percentile(milliseconds, 95):.1f} ms", "≤ 50 ms"
    if reason := lab.missing():
        yield "a click until the page shows it", "not measured", reason
        return
    milliseconds = list(clicks(40))
    what = "a click in gpt2-xl until JupyterLab shows the new number, 40 clicks"
    yield what + ", median", f"{percentile(milliseconds, 50):.0f} ms", "≤ 300 ms"
    yield what + ", 95th percentile", f"{percentile(milliseconds, 95):.0f} ms", "≤ 300 ms"


def in_a_kernel(code: str) -> list[float]:
    """Run code in a Jupyter kernel, where a widget's messages are really sent; return the list that it ends in."""
    cells = [f"import sys; sys.path.insert(0, {str(ROOT)!r})", code]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, kernel_name="python3", extra_arguments=["--IPKernelApp.log_level=40"]).execute()
    return json.loads(notebook.cells[-1].outputs[-1]["data"]["text/plain"])


def toggles(count: int) -> list[float]:
    """Press random toggles of gpt2-xl, all its blocks in sight; return the milliseconds that each took to redraw."""
    explorer, rng, milliseconds = FreezeExplorer("gpt2-xl (1558M)"), random.Random(0), []
    explorer.plan = FreezePlan(48, frozenset(f"trf_blocks.{i}" for i in range(0, 48, 2)))  # no neighbours are equal
    pressed = list(of_class(explorer, "fx-toggle"))
    for _ in range(count):
        toggle = rng.choice(pressed)
        start = time.perf_counter()
        toggle.value = not toggle.value
        milliseconds.append(1000 * (time.perf_counter() - start))
    return milliseconds


def of_class(widget, name: str) -> Iterator:
    """Find the widgets of a CSS class below `widget`."""
    for child in getattr(widget, "children", ()):
        if name in child._dom_classes:
            yield child
        yield from of_class(child, name)


CLICK = """async (selector) => {
    const number = document.querySelector('.fx-trainable'), before = number.innerText, start = performance.now();
    document.querySelector(selector).click();
    while (number.innerText === before) await new Promise(requestAnimationFrame);
    return performance.now() - start;
}"""


def clicks(count: int) -> Iterator[float]:
    """Click on random blocks of gpt2-xl in a real page; yield the milliseconds until the page shows the new number."""
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder, lab.lab(course_in(Path(folder))) as address, lab.browser() as browser:
        page = lab.open_notebook(browser, address, NOTEBOOK)
        lab.run_all(page)
        page.locator(".fx-choice", has_text="gpt2-xl").click()
        page.get_by_role("button", name="open trf_blocks.0 – 46").click()
        page.locator(".fx-part-trf_blocks-0").wait_for()
        for _ in range(count):
            yield page.evaluate(CLICK, f".fx-part-trf_blocks-{rng.randrange(48)}")


BENCHMARKS = {"explorer": explorer}


def main() -> None:
    parser = argparse.ArgumentParser(description="measure, print a table and write it to benchmarks.json")
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], help="only these (default: all)")
    chosen = parser.parse_args().names or list(BENCHMARKS)
    machine = f"Python {platform.python_version()}, torch {torch.__version__}, {os.cpu_count()} processor cores"
    print(machine)
    tables = {"machine": machine}
    for name in chosen:
        print(f"\n{name}: {BENCHMARKS[name].__doc__.splitlines()[0]}")
        tables[name] = []
        for what, value, goal in BENCHMARKS[name]():
            print(f"  {what:<78} {value:>10}  {goal}".rstrip())
            sys.stdout.flush()
            tables[name].append({"what": what, "value": value, "goal": goal})
    (ROOT / "benchmarks.json").write_text(json.dumps(tables, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
