"""The first cell of each notebook finds the course, fetches it in Colab, or says what to do."""

import json
import os
import subprocess
import sys

import pytest

from notebooks.build import setup_cell
from tests.conftest import ROOT

SHOWN = "\nprint(course)"
IN_COLAB = "import sys, types\nsys.modules['google.colab'] = types.ModuleType('google.colab')\n"


def run_in(folder, before: str = "", **environment) -> subprocess.CompletedProcess:
    """Run the cell with Python alone, in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-I", "-c", before + setup_cell() + SHOWN]
    variables = {**os.environ, **environment}
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)


@pytest.fixture
def course(tmp_path):
    """A folder with the file by which the course is known."""
    mark = tmp_path / "the course" / "workshop" / "widgets" / "prediction.py"
    mark.parent.mkdir(parents=True)
    mark.touch()
    assert (ROOT / mark.relative_to(tmp_path / "the course")).exists()
    return tmp_path / "the course"


@pytest.mark.parametrize("place", [".", "notebooks", "notebooks/my copies/of today"])
def test_the_course_is_found_in_the_working_folder_and_in_all_folders_above_it(course, place):
    assert run_in(course / place).stdout.strip() == str(course)


def test_vs_code_may_run_a_notebook_in_another_folder(course, tmp_path):
    notebook = course / "notebooks" / "06_1.ipynb"
    done = run_in(tmp_path / "workspace", f"__vsc_ipynb_file__ = {str(notebook)!r}\n")
    assert done.stdout.strip() == str(course)


def test_elsewhere_one_sentence_says_what_to_do_and_nothing_is_fetched(tmp_path):
    done = run_in(tmp_path / "alone", PATH="")
    assert done.returncode == 1 and not list((tmp_path / "alone").iterdir())
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("FileNotFoundError: The course's files are not in")
    assert last.endswith("Open this notebook inside the course's folder `notebooks`.")


def test_only_in_colab_the_course_is_fetched_and_the_second_notebook_finds_it(tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    git = tools / "git"  # what git would do, and a note of how it was called
    git.write_text(
        f'#!{sys.executable}\nimport json, os, sys\njson.dump(sys.argv, open("asked.json", "w"))\n'
        'os.makedirs("course/workshop/widgets")\n'
        'open("course/workshop/widgets/prediction.py", "w").close()\n'
        'open("course/requirements.txt", "w").close()\n'
    )
    git.chmod(0o755)
    content = tmp_path / "content"
    for _ in range(2):
        done = run_in(content, IN_COLAB, PATH=str(tools))
        assert done.stdout.strip() == str(content / "course"), done.stderr
        asked = json.loads((content / "asked.json").read_text())
        assert "https://github.com/owner/gpt2-classification-course.git" in asked
        git.unlink(missing_ok=True)  # nothing is fetched a second time
