"""The course as pages, built once: whole, without the net, and for every eye, hand and screen."""

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import nbformat
import pytest
from bs4 import BeautifulSoup

from notebooks import build
from tests import lab
from tests.conftest import ROOT
from tests.lab import AXE, COLOURS, VIOLATIONS
from workshop.exercises.trials import EXERCISES

NAMES = build.names()
NOTEBOOKS = [f"notebooks/{name}" for name in NAMES]
COLAB = "https://colab.research.google.com/"
AT_ONCE = "* { transition: none !important; }"  # axe would meet colours on their way to the dark
pytestmark = pytest.mark.skipif(
    sys.platform == "win32",
    reason="the pages are built on Linux; on Windows myst-nb builds into no other drive",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the pages, built as `make site` does, from the outputs as they are saved."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-M", "html", ".", folder, "-c", "site"]
    done = subprocess.run(
        [*command, "-q", "-W", "--keep-going"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return folder / "html"


@pytest.fixture(scope="module")
def pages(site):
    """Each page's tree of elements, by its name without an ending."""
    files = [file for file in site.rglob("*.html") if "_static" not in file.parts]
    return {
        file.relative_to(site).with_suffix("").as_posix(): BeautifulSoup(
            file.read_text(encoding="utf-8"), "html.parser"
        )
        for file in files
    }


@pytest.fixture(scope="module")
def page():
    """An empty page, which asks nothing of the net and has no error as long as it is open."""
    if lab.missing():
        pytest.skip(lab.missing())
    with lab.browser() as browser:
        page, asked, errors = browser.new_page(), [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield page
    # from a disk, without a server, the search shows titles alone: it may not fetch the excerpts
    assert set(errors) <= {"Failed to fetch"}
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def text_of(element):
    return " ".join(element.get_text().split())


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_has_a_page_with_all_that_it_holds(pages, name):
    saved = nbformat.read(ROOT / f"{name}.ipynb", 4)
    article, first = pages[name].article, saved.cells[0].source
    title = first.split("\n")[0].removeprefix("# ")
    assert text_of(article.h1).removesuffix("#") == title
    assert text_of(pages[name].title) == f"{title} — GPT-2 as a spam classifier"
    code = [cell for cell in saved.cells if cell.cell_type == "code"]
    assert len(article.select(".cell_input")) == len(code)
    outputs = [output for cell in code for output in cell.outputs]
    printed = [o.text.strip() for o in outputs if o.output_type == "stream"]
    empty = r"Not |No run|Row \d+: not|exercises:|0 of 0"  # what only a learner's answers fill
    shown = [e.get_text().strip() for e in article.select(".output.stream")]
    assert shown == [text for text in printed if not re.match(empty, text)]
    drawings = [o.data["image/svg+xml"] for o in outputs if "image/svg+xml" in o.get("data", ())]
    drawings = [drawing for drawing in drawings if "against seconds: no run yet" not in drawing]
    assert len(article.select(".cell_output a.only-dark > img")) == len(drawings)
    folded = article.select("details")
    saved_html = re.sub(r"(?s)<script.*?</script>", "", nbformat.writes(saved))
    assert len(folded) == saved_html.count("<details>") + 1  # and the setup cell
    assert all(len(text_of(fold)) > len(text_of(fold.summary)) for fold in folded)
    badge = re.search(rf"\(({COLAB}github/\S+)\)", first)[1]
    (button,) = pages[name].select(f'[href^="{COLAB}"]')
    assert (button["href"], button.img["alt"]) == (badge, "Open in Colab")


def test_the_landing_page_leads_to_the_explorers_section_the_lab_and_own_texts(pages):
    landing = pages["index"].select_one(".landing")
    assert landing.select_one("#freeze-explorer").find(True) is not None
    colab, read = [link["href"] for link in landing.select(".actions a")]
    assert colab.startswith(COLAB) and colab.endswith("/06_5_classification_head.ipynb")
    assert read == "notebooks/06_5_classification_head.html"
    cards = [link["href"] for link in landing.select(".cards h2 a")]
    assert cards == [f"{NOTEBOOKS[n]}.html" for n in (0, 9, 8)]
    chapter = text_of(landing.select_one(".cards p"))
    assert chapter.startswith("Eight notebooks") and NAMES[7].startswith("06_8")
    of_the_chapter = [name for name in EXERCISES if name[2].isdigit()]
    assert "write eleven functions" in chapter and len(of_the_chapter) == 11
    assert landing.select_one('a[href="site/pages/install.html"]')


def test_the_explorer_on_the_landing_page_is_live(site, page):
    page.goto((site / "index.html").as_uri() + "#12M/head-only")
    page.locator('.freeze-explorer[data-trainable="386"]').wait_for()
    page.locator('[data-part="trf_blocks.5"]').click()
    page.locator('.freeze-explorer[data-trainable="445250"]').wait_for()


def test_the_contents_lead_through_the_chapter_in_order_and_spare_visitors_the_workshop(pages):
    contents = pages[NOTEBOOKS[0]].select_one(".bd-sidebar-primary nav")
    links = [Path(link["href"]).stem for link in contents.select("a")]
    assert links[:2] == ["install", "#"] and links[2 : 1 + len(NAMES)] == NAMES[1:]
    assert "CONTRIBUTING" not in links and "NOT_COMPARED" not in links
    for here, there in pairwise(NOTEBOOKS):
        assert pages[here].select_one("a.right-next")["href"] == f"{Path(there).name}.html"


def test_each_page_has_a_description_the_licence_and_the_source_and_names_its_pictures(pages):
    repository = (ROOT / "notebooks" / "repository.txt").read_text(encoding="utf-8").strip()
    for name, tree in pages.items():
        (description,) = [meta["content"] for meta in tree.select('meta[name="description"]')]
        assert 20 < len(description) <= 240, name
        assert tree.select_one('link[rel="icon"]')["href"].endswith("favicon.svg")
        footer = tree.select_one(".course-footer")
        assert footer.select_one(f'a[href="https://github.com/{repository}"]')
        assert "Apache-2.0" in text_of(footer)
        for image in tree.select("main img"):
            assert image.get("alt") or "aria-label" in image.attrs, (name, image)
            assert "_images/" not in image.get("alt", ""), (name, image)


def test_no_page_asks_for_what_cannot_be_done_there(pages):
    asked = r"Run All Cells|no run yet|\d of \d+ (?:made|solved)|not (?:guessed|written|answered|predicted) yet"
    for name in NOTEBOOKS:
        for output in pages[name].select(".cell_output"):
            words = [text_of(output)] + [image["alt"] for image in output.select("img")]
            assert not re.search(f"{asked}|a progress bar:", " ".join(words), re.IGNORECASE), name


def test_every_link_leads_somewhere_and_scripts_styles_and_pictures_come_along(site, pages):
    anchors = {
        (site / f"{name}.html").as_uri(): {e["id"] for e in tree.select("[id]")}
        for name, tree in pages.items()
    }
    dead, followed = [], 0
    for name, tree in pages.items():
        here = (site / f"{name}.html").as_uri()
        for element in tree.select("[href], [src]"):
            target = urlsplit(urljoin(here, element.get("href", element.get("src"))))
            if target.scheme != "file":
                assert element.name == "a" or target.scheme == "data", (name, element)
                continue
            followed += 1
            file = target._replace(query="", fragment="").geturl()
            anchor = unquote(target.fragment)
            missing = anchor and anchor not in anchors.get(file, set())
            if missing or not Path(unquote(target.path)).is_file():
                dead.append((name, str(element)[:200]))
    assert dead == [] and followed > 1000
    for file in site.rglob("*.css"):
        outside = r"""(?:url\(|@import)\s*["']?(?:https?:)?//[^)]*"""
        assert re.findall(outside, file.read_text(encoding="utf-8")) == [], file


@pytest.mark.proof
def test_a_reader_finds_a_word_a_chapter_and_what_is_folded(site, page):
    page.goto((site / "search.html").as_uri() + "?q=crossed")
    found = page.locator("#search-results a[href*='06_5_classification_head']")
    found.first.wait_for(timeout=20_000)
    page.set_viewport_size({"width": 400, "height": 900})  # a phone's
    page.goto((site / f"{NOTEBOOKS[2]}.html").as_uri())
    page.locator("button.primary-toggle:visible").first.click()
    page.locator("dialog[open]").get_by_role("link", name="6.4").click()
    page.wait_for_url("**/06_4_pretrained_weights.html")
    details = page.locator("article details:not(.hide)").first
    inside = details.locator("p").first
    assert not inside.is_visible()
    details.locator("summary").press("Enter")
    assert inside.is_visible()


@pytest.mark.proof
def test_in_the_dark_a_drawing_has_light_ink_and_a_chart_dimmed_paper(site, page):
    page.emulate_media(color_scheme="dark")
    page.goto((site / f"{NOTEBOOKS[6]}.html").as_uri())
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 18, 18)"
    shown = page.locator(".cell_output img:visible").evaluate_all(
        "all => all.map(e => [e.src.split('.').pop(), e.src.includes('.dark.'),"
        " getComputedStyle(e).backgroundColor, getComputedStyle(e).filter])"
    )
    none = "rgba(0, 0, 0, 0)"
    expected = {("svg", True, none, "none"), ("png", False, none, "brightness(0.86)")}
    assert {tuple(style) for style in shown} == expected
    for path in (site / "_images").glob("*.dark.svg"):
        drawing = path.read_text(encoding="utf-8")
        assert not re.search(r'<text [^>]*fill="#333333"', drawing), path
        assert not re.search(r'class="paper"[^>]*fill="white"', drawing), path


@pytest.mark.proof
@pytest.mark.skipif(not AXE.exists(), reason="no axe-core: `make .overlays/axe/installed`")
def test_axe_finds_nothing_serious_and_nothing_sticks_out_or_is_cut_off(site, pages, page):
    axe, faults, num_codes = AXE.read_text(encoding="utf-8"), [], {}
    for name in sorted(pages):
        for width in (390, 1200):
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme="light")
            page.goto((site / f"{name}.html").as_uri())
            page.add_style_tag(content=AT_ONCE)
            page.evaluate(axe)
            page.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                rules = {} if scheme == "light" else {"runOnly": COLOURS}
                faults += [(name, scheme, width, *v) for v in page.evaluate(VIOLATIONS, rules)]
                wide = page.evaluate("document.documentElement.scrollWidth")
                faults += [(name, scheme, width, f"{wide} wide")] if wide > width else []
        codes = page.locator("main pre").evaluate_all(
            "all => all.map(e => e.scrollWidth - e.clientWidth)"
        )
        faults += [(name, "code", wider) for wider in codes if wider > 0]
        num_codes[name] = len(codes)
    for name in build.names():  # all of its cells were looked at
        cells = [cell for cell in build.read(name).cells if cell.cell_type == "code"]
        assert num_codes[f"notebooks/{name}"] >= len(cells)
    assert faults == []
