"""Installing requirements.txt changes nothing in a stock Colab.

What is imported is what is required.
"""

import ast
import re
import sys

import pytest
from packaging.requirements import Requirement

import helpers
from tests.conftest import ROOT


def requirements(name: str) -> list[Requirement]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [Requirement(line.split("#")[0]) for line in lines if line.split("#")[0].strip()]


COLAB = {
    r.name: str(r.specifier).removeprefix("==") for r in requirements("tests/colab_versions.txt")
}

IMPORTED_AS = {"scikit-learn": "sklearn"}


@pytest.mark.parametrize("requirement", requirements("requirements.txt"), ids=lambda r: r.name)
def test_a_stock_colab_satisfies_every_range(requirement):
    assert COLAB[requirement.name] in requirement.specifier


def test_the_pinned_set_lies_in_the_ranges_and_covers_them():
    pinned = {}
    for requirement in requirements("constraints.txt"):
        if requirement.marker is None or requirement.marker.evaluate():
            pinned[requirement.name.lower().replace("_", "-")] = str(
                requirement.specifier
            ).removeprefix("==")
    assert pinned["torch"] == "2.13.0"
    for requirement in requirements("requirements.txt") + requirements("requirements-dev.txt"):
        assert pinned[requirement.name.lower()] in requirement.specifier, requirement.name


def test_helpers_and_notebooks_import_only_what_requirements_txt_names():
    required = {IMPORTED_AS.get(r.name, r.name) for r in requirements("requirements.txt")}
    allowed = required | {"helpers", "IPython", *sys.stdlib_module_names}
    imported = set()
    for path in [*(ROOT / "helpers").rglob("*.py"), *(ROOT / "notebooks" / "scripts").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module.split(".")[0])
    assert imported - {"triton"} <= allowed  # imported if it is there, never needed
    assert required <= imported


FLOORS = {  # as the docstring of helpers/__init__.py has them
    name: int(number)
    for number, names in re.findall(r"^(\d)  (.*)$", helpers.__doc__, re.MULTILINE)
    for name in names.split(", ")
}
ROOMS = (
    "data",
    "widgets",
    "lab",
    "experiments",
    "pictures",
    "exercises",
    "command",
)  # folders of files with one job among them


def test_a_helper_imports_only_from_floors_below_and_the_nanos_room_is_apart():
    files = [(path.stem, path) for path in (ROOT / "helpers").glob("[!_]*.py")]
    rooms = [(room, path) for room in ROOMS for path in (ROOT / "helpers" / room).glob("*.py")]
    assert {name for name, _ in files + rooms} == set(FLOORS)
    for name, path in files + rooms:
        imported = re.findall(r"(?:from|import) helpers\.(\w+)", path.read_text(encoding="utf-8"))
        for other in set(imported) - ({name} if name in ROOMS else set()):
            assert FLOORS[other] < FLOORS[name], (path, other)


def test_a_widget_imports_what_widgets_share_and_no_other_widget():
    folder, shared = ROOT / "helpers" / "widgets", {"common", "in_slices"}
    for path in folder.glob("[!_]*.py"):
        text = path.read_text(encoding="utf-8")
        imported = set(re.findall(r"(?:from|import) helpers\.widgets\.?(\w*)", text))
        allowed = set() if path.stem == "common" else shared - {path.stem}
        assert imported <= allowed, (path, imported)


def test_only_the_widgets_import_ipywidgets():
    for path in (ROOT / "helpers").rglob("*.py"):
        if path.parent.name != "widgets":
            assert "ipywidgets" not in path.read_text(encoding="utf-8"), path
