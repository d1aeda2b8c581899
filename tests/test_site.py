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

from helpers.data import load_splits
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
    in_the_tab, colab, read = [link["href"] for link in landing.select(".actions a")]
    assert in_the_tab == "try.html"
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


def opened(site, page):
    """The page that fine-tunes in the browser, as soon as its model is there."""
    page.goto((site / "try.html").as_uri())
    page.locator('.try[data-state="ready"]').wait_for()
    return page


def own_lines(count: int) -> str:
    """Lines of a label, a tab and a text: bundled messages in three classes."""
    messages = load_splits("sms-mini")[0][: 3 * count]
    labels = ["question", "other", "with a number"]
    rows = []
    for i, text in enumerate(messages["Text"]):
        rows.append(f"{labels[i % 3]}\t{text}")
    return "\n".join(rows)


def test_a_reader_trains_on_own_texts_in_the_browser_and_tries_the_classifier(site, page):
    opened(site, page)
    answer = page.locator("[data-spam]")
    assert float(answer.get_attribute("data-spam")) == 0.5  # the head is not trained
    page.evaluate("""() => {
        const root = document.querySelector(".try"), seen = window.seen = [];
        new MutationObserver(() => seen.push([root.dataset.state, root.querySelector(".try-status")
            .textContent])).observe(root, {subtree: true, attributes: true, childList: true});
    }""")
    page.get_by_role("button", name="last two blocks").click()
    page.get_by_text("Train on your own texts").click()
    page.locator(".try textarea").fill(own_lines(20))
    page.get_by_role("button", name="Use these texts").click()
    counts = "42 texts for training, 6 for validation, 12 for the test"
    assert page.locator(".try-lines").inner_text().startswith(counts)
    page.locator('[data-action="train"]').click()
    page.locator('.try[data-state="trained"]').wait_for()
    accuracy = float(page.locator(".try").get_attribute("data-accuracy"))
    assert accuracy * 12 == pytest.approx(round(accuracy * 12))
    assert f"{100 * accuracy:.1f} % of 12 test texts" in page.locator(".try-result").inner_text()
    states = [state for state, _ in page.evaluate("seen")]
    assert list(dict.fromkeys(states)) == ["ready", "encoding", "training", "trained"]
    told = [words for state, words in page.evaluate("seen") if state == "training"]
    assert any(re.fullmatch(r"Step \d+ of 25 · about \d+ s left", words) for words in told)
    assert len(page.locator(".try-curve circle").all()) == 5  # an epoch each

    page.locator("#message").fill("Are you at home?")
    token = page.locator(".mm-tokens [data-token='4']", has_text="?")
    token.wait_for()
    names = page.locator(".mm-probabilities b").all_inner_texts()
    assert names == ["other", "question", "with a number"]
    numbers = [float(text) for text in page.locator(".mm-probabilities span").all_inner_texts()]
    assert sum(numbers) == pytest.approx(1, abs=0.011)
    token.click()
    page.locator(".mm-change", has_text="Without ?:").wait_for()
    assert len(page.locator(".mm-attention > *").all()) == 4
    page.get_by_role("button", name="Restore all tokens").click()
    page.wait_for_function("document.querySelectorAll('.mm-attention > *').length === 5")
    page.locator("#message").fill("")
    page.locator(".mm-problem", has_text="Type a message").wait_for()


def test_a_training_in_the_browser_stops_at_once_and_another_one_can_follow(site, page):
    opened(site, page)
    page.get_by_role("button", name="nothing").click()
    page.locator('[data-action="train"]').click()
    assert "Nothing is trainable" in page.locator(".try-status").inner_text()
    page.get_by_role("button", name="head only").click()
    page.locator('[data-action="train"]').click()
    page.locator(".try-status", has_text="The frozen layers run once").wait_for()
    page.locator('[data-action="stop"]').click()
    state = "document.querySelector('.try').dataset.state"
    assert page.evaluate(state) == "ready"
    page.get_by_text("Train on your own texts").click()
    page.locator(".try textarea").fill(own_lines(5))
    page.get_by_role("button", name="Use these texts").click()
    page.locator('[data-action="train"]').click()
    page.locator('.try[data-state="trained"]').wait_for()
    assert "of 6 test texts" in page.locator(".try-result").inner_text()


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("spam win\nham hi", "Line 1 has no tab: “spam win”."),
        ("spam\twin\n\thi", "Line 2 has no label before its tab."),
        ("spam\twin\n\nham\t ", "Line 3 has no text after its tab."),
        ("spam\twin\nspam\tprize", "There must be 2 to 7 different labels, not 1."),
        ("a\tx\n" * 5 + "b\ty", "The label “b” needs at least 5 texts, not 1."),
        ("a\tx\nb\ty\n" * 1001, "There may be at most 2000 lines, not 2002."),
        ("", "There must be 2 to 7 different labels, not 0."),
    ],
)
def test_lines_that_cannot_be_used_are_named(site, page, lines, problem):
    if not page.url.endswith("try.html"):
        opened(site, page)
    page.evaluate("document.querySelector('.try details:has(textarea)').open = true")
    page.locator(".try textarea").evaluate("(box, lines) => { box.value = lines; }", lines)
    page.get_by_role("button", name="Use these texts").click()
    assert page.locator(".try-lines").inner_text() == problem


@pytest.mark.proof
@pytest.mark.parametrize("choice", ["head only", "the book's choice"])
def test_the_bundled_messages_train_in_the_browser(site, page, choice):
    opened(site, page)
    page.get_by_role("button", name=choice).click()
    page.locator('[data-action="train"]').click()
    page.locator('.try[data-state="trained"]').wait_for(timeout=300_000)
    assert float(page.locator(".try").get_attribute("data-accuracy")) > 0.8
    page.locator("#message").fill("Win a free prize! Text YES to 80086 now")
    page.wait_for_function("document.querySelector('[data-spam]').dataset.spam > 0.9")
    page.locator("#message").fill("See you at the station at six, love mum")
    page.wait_for_function("document.querySelector('[data-spam]').dataset.spam < 0.1")


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
