"""The notebooks run here as on a first day: without what a learner has kept beside them."""

import tempfile

import pytest

from helpers.files import LEARNERS_FOLDER

empty = tempfile.TemporaryDirectory(prefix="course_")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup():
    """Of cells alone, so that no other test's kernel keeps its runs in the same folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(LEARNERS_FOLDER, empty.name)
        return (yield)
