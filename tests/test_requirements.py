"""Installing requirements.txt changes nothing in a stock Colab, and what is imported is required."""

import ast
import sys

import pytest
from packaging.requirements import Requirement

from tests.conftest import ROOT

IMPORTED_AS = {"scikit-learn": "sklearn"}
NOT_IN_COLAB = {"anywidget"}  # installed there by the setup cell; it moves nothing else
FILES = [
    path for folder in ("helpers", "workshop", "tools") for path in (ROOT / folder).rglob("*.py")
]


def requirements(name: str) -> list[Requirement]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [Requirement(line.split("#")[0]) for line in lines if line.split("#")[0].strip()]


COLAB = {
    r.name: str(r.specifier).removeprefix("==") for r in requirements("tests/colab_versions.txt")
}


def packages_of(path) -> set[str]:
    """Return the packages that a file imports, at its top or in a function."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("requirement", requirements("requirements.txt"), ids=lambda r: r.name)
def test_a_stock_colab_satisfies_every_range(requirement):
    if requirement.name in NOT_IN_COLAB:
        assert requirement.name not in COLAB
    else:
        assert COLAB[requirement.name] in requirement.specifier


def test_the_pinned_set_lies_in_the_ranges_and_covers_them():
    pinned = {}
    for requirement in requirements("constraints.txt"):
        if requirement.marker is None or requirement.marker.evaluate():
            version = str(requirement.specifier).removeprefix("==")
            pinned[requirement.name.lower().replace("_", "-")] = version
    assert pinned["torch"] == "2.13.0"
    for name in ("requirements.txt", "requirements-lab.txt", "requirements-dev.txt"):
        for requirement in requirements(name):
            assert pinned[requirement.name.lower()] in requirement.specifier, requirement.name


def test_code_and_notebooks_import_only_what_requirements_txt_names():
    required = {IMPORTED_AS.get(r.name, r.name) for r in requirements("requirements.txt")}
    course = {"helpers", "workshop", "tools"}
    # Triton is imported if it is there, and never needed; wasmtime, in workshop/live.py, by the site
    others = {"IPython", "traitlets", "triton", "wasmtime"}
    allowed = required | course | others | {*sys.stdlib_module_names}
    scripts = (ROOT / "notebooks" / "scripts").glob("*.py")
    imported = set().union(*map(packages_of, [*FILES, *scripts]))
    assert required <= imported <= allowed


def test_each_folder_imports_only_what_it_may():
    for path in FILES:
        folder, packages = path.relative_to(ROOT).parts[0], packages_of(path)
        assert folder != "helpers" or "workshop" not in packages, path
        assert folder == "tools" or "tools" not in packages, path
        assert folder != "helpers" or path.parent == ROOT / "helpers", path
        is_widget = path.parent == ROOT / "workshop" / "widgets"
        assert is_widget or not {"ipywidgets", "anywidget"} & packages, path
