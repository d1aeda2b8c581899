"""A page runs to its end with the functions that a learner has written."""

import re

import pytest
from tqdm import tqdm

from notebooks import build
from tests.learners import answers

CHECK = re.compile(r'check_code\(\s*"([^"]+)"')
PAGES = [name for name in build.names() if CHECK.search(build.script_of(name))]


@pytest.mark.proof
@pytest.mark.parametrize("name", PAGES)
def test_a_page_runs_with_the_learners_functions_as_with_the_courses(name):
    saved, played = build.read(name), build.read(name)
    for solution, check in answers(played):
        (cell,) = [cell for cell in played.cells if cell.source == check]
        cell.source = f"{solution}\n\n{check}"
    build.execute(name, played, tqdm(disable=True))
    for before, after in zip(saved.cells, played.cells, strict=True):
        if CHECK.search(before.source):
            printed = "".join(output.get("text", "") for output in after.outputs)
            assert "The page continues with your" in printed, (before.source, printed)
    tags = [cell.metadata.get("tags", []) for cell in saved.cells]
    if ["key-figure"] in tags:  # a key figure that is compared
        assert build.key_figure(played) == build.key_figure(saved)
