"""The licences of all that lies here, and the workflow that runs where it is published."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from notebooks import build
from tests.conftest import ROOT, copy_of_the_course

README = (ROOT / "README.md").read_text(encoding="utf-8")
ABOUT_DATA = (ROOT / "site" / "pages" / "data_and_model.md").read_text(encoding="utf-8")
APACHE_2 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"  # apache.org's text
PAGES = [
    *(ROOT / "helpers" / "assets").rglob("*.md"),
    *(ROOT / "workshop" / "assets").rglob("*.md"),
]


def section(page, title):
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)[1]


def test_the_licence_is_the_text_of_apache_2():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert hashlib.sha256(text.encode()).hexdigest() == APACHE_2
    assert "[Apache-2.0](LICENSE)" in README
    assert "[Apache-2.0](../../LICENSE)" in section(ABOUT_DATA, "Licences")


def test_the_readme_lists_each_notebook_under_its_own_title():
    rows = re.findall(r"^\| \[(.+)\]\(notebooks/(\w+)\.ipynb\).*/(\w+)\.ipynb\) \|$", README, re.M)
    names = build.names()
    assert [row[1:] for row in rows] == [(name, name) for name in names]
    titles = [build.read(name).cells[0].source.partition("\n")[0] for name in names]
    assert [f"# {row[0]}" for row in rows] == titles


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_each_folder_of_assets_is_listed_with_its_licence_and_says_it_itself(page):
    licence = r"^(?:Licence: |## Licences\n\n)(.+)$"
    own = re.search(licence, page.read_text(encoding="utf-8"), re.MULTILINE)[1]
    link = f"(../../{page.relative_to(ROOT).as_posix()})"
    (row,) = [row for row in section(ABOUT_DATA, "Licences").splitlines() if link in row]
    known = ("CC BY-SA 4.0", "CC0 1.0", "public domain", "modified MIT", "CC BY 4.0")
    names = [name for name in known if name in row.split("|")[3]]
    assert names and names[0] in own and len(PAGES) >= 3


@pytest.fixture
def pushed(tmp_path):
    """A clone of the course, just pushed to a repository of its own."""
    copy_of_the_course(tmp_path / "clone")
    for command in (
        ["init", "-q", "--bare", "-b", "main", "../hub"], ["init", "-q", "-b", "main"],
        ["add", "-A"], ["commit", "-q", "-m", "the course"], ["remote", "add", "origin", "../hub"],
        ["push", "-q", "-u", "origin", "main"],
    ):  # fmt: skip
        name = ("-c", "user.name=test", "-c", "user.email=test@example.com")
        subprocess.run(["git", *name, *command], cwd=tmp_path / "clone", check=True)
    return tmp_path / "clone"


def stamp_as_the_workflow_does(clone, fork="false"):
    workflow = yaml.safe_load((ROOT / ".github/workflows/stamp.yml").read_text(encoding="utf-8"))
    script = workflow["jobs"]["stamp"]["steps"][-1]["run"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "REPOSITORY": "someone/published", "FORK": fork}
    command = ["bash", "-e", "-c", script]  # as GitHub runs a step
    done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.proof
@pytest.mark.skipif(
    sys.platform == "win32" or shutil.which("bash") is None,
    reason="the workflow's commands are bash's, on Linux",
)
def test_the_first_push_stamps_every_page_once(pushed):
    assert "now name someone/published; pull" in stamp_as_the_workflow_does(pushed)
    assert "nothing to push" in stamp_as_the_workflow_does(pushed)
    fork = stamp_as_the_workflow_does(pushed, fork="true")
    assert "A fork keeps its parent's address" in fork
    published = pushed.parent / "published"
    subprocess.run(["git", "clone", "-q", pushed.parent / "hub", published], check=True)
    log = ["git", "log", "--format=%s", "main"]
    commits = subprocess.run(log, cwd=published, capture_output=True, text=True, check=True).stdout
    assert commits == "Badges and setup cells name someone/published\nthe course\n"
    linked = 0
    for pattern in ("*.md", "notebooks/*.ipynb", "notebooks/scripts/*.py"):
        for page in published.glob(pattern):
            text = page.read_text(encoding="utf-8")
            names = re.findall(r"research\.google\.com/github/([\w.-]+/[\w.-]+)/blob", text)
            names += re.findall(r"https://github\.com/([\w.-]+/[\w.-]+)\.git", text)
            assert set(names) <= {"someone/published"} and build.TEMPLATE not in text, page
            linked += len(names)
    assert linked > 3 * len(build.names())
