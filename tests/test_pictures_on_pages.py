"""The pictures of sections 6.2 to 6.5, as the pages have them saved."""

import re

import nbformat
import pytest

from notebooks import build
from tests.conftest import ROOT

PAGES = [name for name in build.names() if name[:4] in ("06_2", "06_3", "06_4", "06_5")]
# pixels, for what a cell shows in a JupyterLab 800 pixels wide, which cuts off what is wider
ROOM = 619


def pictures(name: str) -> list[str]:
    cells = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", 4).cells
    shown = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    return [data["image/svg+xml"] for data in shown if "image/svg+xml" in data]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_pictures_of_its_own_that_fit_into_a_narrow_window(name):
    found = pictures(name)
    assert found
    for svg in found:
        assert float(re.search(r'<svg [^>]*?\bwidth="([\d.]+)"', svg)[1]) <= ROOM
