"""What a stranger meets first: the licences of all that lies here."""

import hashlib
import re

import pytest

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
APACHE_2 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"  # apache.org's text


def folders_with_files(below):
    return sorted({path.parent for path in below.rglob("*/*") if path.is_file()})


ASSETS = [
    folder
    for assets in (ROOT / "helpers").rglob("assets")
    for folder in folders_with_files(assets)
    if not any(child.is_dir() for child in folder.iterdir())
]


def section(page, title):
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)[1]


# --- licences -------------------------------------------------------------------------------------


def test_the_licence_is_the_text_of_apache_2():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert hashlib.sha256(text.encode()).hexdigest() == APACHE_2
    assert "[Apache-2.0](LICENSE)" in section(README, "Licences")


@pytest.mark.parametrize("folder", ASSETS, ids=lambda folder: folder.name)
def test_each_folder_of_assets_is_listed_with_its_licence_and_says_it_itself(folder):
    page = next(folder.glob("*.md"), None)
    assert page, f"{folder} has no page (*.md) that says what lies there, and its licence"
    said = re.search(
        r"^(?:Licence: |## Licences\n\n)(.+)$", page.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert said, f"{page} has no line that begins 'Licence: ' and no section 'Licences'"
    place = page.relative_to(ROOT).as_posix()
    rows = [row for row in section(README, "Licences").splitlines() if f"({place})" in row]
    assert len(rows) == 1, f"README.md's section Licences does not name {place}"
    terms = rows[0].split("|")[3]
    known = ("CC BY-SA 4.0", "CC0 1.0", "public domain", "modified MIT", "CC BY 4.0")
    names = [name for name in known if name in terms]
    assert names and names[0] in said[1]


def test_the_assets_that_the_list_is_about_are_found():
    assert {"12M", "sms-mini", "moby-dick"} <= {folder.name for folder in ASSETS}
