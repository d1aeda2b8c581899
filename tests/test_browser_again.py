"""A notebook that a learner opens again the next day has live widgets, before anything is run."""

import nbformat
import pytest

from tests import lab

pytestmark = pytest.mark.skipif(
    lab.missing() is not None, reason=f"the widgets in a browser: {lab.missing()}"
)
CELL = "from workshop.widgets import FreezeExplorer\nFreezeExplorer()"


def test_a_notebook_that_is_opened_again_is_live_before_anything_is_run(tmp_path):
    folder = lab.link_the_packages(tmp_path)
    nbformat.write(lab.notebook_of(CELL), folder / "again.ipynb")
    live = '.freeze-explorer[data-trainable="7090946"]'
    with lab.lab(folder) as address, lab.browser() as chromium:
        page = lab.open_notebook(chromium, address, "again.ipynb", 1000)
        page.evaluate(lab.WITHIN, [lab.RUN, None, 120])
        page.locator(live).wait_for()
        page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
        page.close()  # which ends the kernel
        page = lab.open_notebook(chromium, address, "again.ipynb", 1000)
        page.locator(live).wait_for()
        page.locator('[data-part="trf_blocks.11"]').click()
        page.locator('.freeze-explorer[data-trainable="3074"]').wait_for()
        page.close()
