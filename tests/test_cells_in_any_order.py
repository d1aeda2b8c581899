"""A page whose cells are run twice or in a wrong order prints the same, or an error says why not.

Each cell that ran is compared with what a straight run printed: with what is saved, where that
repeats on any computer, otherwise with a run on this one.
"""

import random
import re
import sys
from functools import cache

import pytest

from notebooks import build
from tests.play import play, saved

LONG = {"6.7", "6.8", "6.B", "6.C", "6.D", "6.E"}
TIME = re.compile(r"\d+(\.\d+)? (s|ms|seconds)\b")
ORDERS = ("each cell twice", "one cell left out", "from the middle", "some cells again at the end")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows can't fork a process")


def pages():
    for name in build.names():
        section = name[:4].replace("06_", "6.")
        yield pytest.param(name, marks=[pytest.mark.proof] if section in LONG else [])


@cache
def code_cells(name: str) -> list:
    return [cell for cell in build.read(name).cells if cell.cell_type == "code"]


def cells_in(order: str, name: str) -> list[int]:
    """The indices of a page's code cells in a learner's order; 0 and 1 are setup and choices."""
    indices = list(range(len(code_cells(name))))
    middle, left_out = len(indices) // 2, random.Random(name).choice(indices[2:])
    return {
        "straight": indices,
        "each cell twice": sorted(indices * 2),
        "one cell left out": [index for index in indices if index != left_out],
        "from the middle": [0, 1, *indices[middle:], *indices[2:middle]],
        "some cells again at the end": [*indices, *indices[2::3]],
    }[order]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    """What a page keeps, such as a trained classifier, is kept for its other orders as well."""
    return str(tmp_path_factory.mktemp("kept"))


@cache
def straight(name: str, folder: str) -> list[str]:
    """What each cell prints where all run once in order."""
    cells = code_cells(name)
    texts = [saved(cell) for cell in cells]
    if any("nbval-ignore-output" in cell.metadata.get("tags", []) for cell in cells):
        for outcome in play(name, cells_in("straight", name), folder):
            if "nbval-ignore-output" in cells[outcome.cell].metadata.get("tags", []):
                texts[outcome.cell] = outcome.printed
    return texts


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", list(pages()))
def test_cells_in_any_order_print_the_same_or_an_error_says_why_not(name, order, folder):
    for outcome in play(name, cells_in(order, name), folder):
        source, expected = code_cells(name)[outcome.cell].source, straight(name, folder)
        assert outcome.is_sentence, (source, outcome.error)
        if not outcome.error and "progress(" not in source:  # it lists what was asked so far
            assert TIME.sub("", outcome.printed) == TIME.sub("", expected[outcome.cell]), source
