"""The classifier's dashboard as a learner meets it in a real JupyterLab: moved, pressed, read.

Screenshots are left in the folder that the environment variable SCREENSHOTS names, if it does.
"""

import nbformat
import pytest

from helpers.classify import SpamClassifier
from helpers.data import load_splits
from helpers.measures import FIELDS, Counts, counts_at, field_at
from helpers.tokenizer import get_tokenizer
from notebooks.build import NOTEBOOK_METADATA
from tests import lab
from tests.conftest import ROOT
from workshop.fast import load_or_train

NOTEBOOK = "notebooks/dashboard.ipynb"
CELLS = (
    "import sys; sys.path.insert(0, '..')",
    """\
from helpers.classify import SpamClassifier
from helpers.data import load_splits
from workshop.widgets import Dashboard, MessageMicroscope

classifier = SpamClassifier.load("classifier.safetensors")
microscope = MessageMicroscope(classifier)

def look(text):
    microscope.text = text

Dashboard(classifier, load_splits("sms-mini")[2], on_message=look)""",
    "microscope",
)

pytestmark = pytest.mark.skipif(
    lab.missing() is not None, reason=f"the dashboard in a browser: {lab.missing()}"
)


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A folder with a trained classifier, a notebook that shows it, and the way to `helpers`."""
    folder = tmp_path_factory.mktemp("course")
    (folder / "notebooks").mkdir()
    (folder / "helpers").symlink_to(ROOT / "helpers")
    load_or_train(folder / "notebooks" / "classifier.safetensors", "gpt2-nano (12M)", "sms-mini")
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=NOTEBOOK_METADATA)
    nbformat.write(notebook, folder / NOTEBOOK)
    return folder


@pytest.fixture(scope="module")
def answers(course) -> tuple[list[str], list[int], list[float]]:
    """The test messages, their labels, and how probable the classifier finds spam."""
    test = load_splits("sms-mini")[2]
    classifier = SpamClassifier.load(course / "notebooks" / "classifier.safetensors")
    texts = test["Text"].tolist()
    return texts, test["Label"].tolist(), classifier.probabilities(texts)[:, 1].tolist()


@pytest.fixture(scope="module")
def opened(course):
    with lab.opened(course, NOTEBOOK, ".db-matrix svg", 1700) as page:
        yield page


@pytest.fixture
def page(opened):
    """The page in the light theme, the threshold at one half."""
    lab.set_theme(opened, "light")
    opened.set_viewport_size({"width": 1280, "height": 1700})
    set_threshold(opened, "0.5")
    return opened


def matrix_at(page, threshold: str):
    return page.locator(f".db-matrix svg[aria-label*='at threshold {threshold}']")


def set_threshold(page, value: str) -> None:
    box = page.get_by_role("spinbutton", name="Threshold")
    box.fill(value)
    box.press("Enter")
    lab.shows(matrix_at(page, f"{float(value):.2f}"))


def open_field(page, field: str) -> None:
    """Press a field of more than ten messages, and wait for the first ten."""
    from playwright.sync_api import expect

    page.locator(f".db-field-{field}").click()
    page.locator(f".db-field-{field}", has_text="✓").wait_for()
    expect(page.locator(".db-message")).to_have_count(10)
    page.locator(".db-more").wait_for()


def shows_counts(page, counts: Counts) -> None:
    """Wait until the fields and the matrix show these counts."""
    for correct, called in FIELDS:
        count = counts.table[correct, called]
        words = f"{correct} called {called}: {count}"
        page.locator(f".db-field-{correct}-{called}", has_text=words).wait_for()
        page.locator(".db-matrix svg text", has_text=str(count)).first.wait_for()


def test_the_arrow_keys_move_the_threshold_and_everything_follows(page, answers):
    _, labels, p_spam = answers
    shows_counts(page, counts_at(labels, p_spam, 0.5))
    handle = page.locator(".db-threshold").get_by_role("slider")
    handle.focus()
    for _ in range(40):
        page.keyboard.press("ArrowRight")
    lab.shows(matrix_at(page, "0.90"))
    counts = counts_at(labels, p_spam, 0.9)
    shows_counts(page, counts)
    assert page.get_by_role("spinbutton", name="Threshold").input_value() == "0.9"
    figures = page.locator(".db-figures").inner_text()
    for what, share in (("Precision", counts.precision), ("Recall", counts.recall)):
        assert f"{what} {100 * share:.0f} %" in figures
    assert f"recall {100 * counts.recall:.0f} %" in page.locator(".db-curve").inner_text()
    page.keyboard.press("End")
    lab.shows(page.locator(".db-figures", has_text="No precision: nothing is called spam."))
    assert "nan" not in page.locator(".classifier-dashboard").inner_text().lower()


def test_a_threshold_between_two_steps_of_the_slider_can_be_typed(page, answers):
    _, labels, p_spam = answers
    box = page.get_by_role("spinbutton", name="Threshold")
    box.fill("0.9985")
    box.press("Enter")
    counts = counts_at(labels, p_spam, 0.9985)
    assert counts.table != counts_at(labels, p_spam, 0.99).table
    shows_counts(page, counts)
    page.wait_for_timeout(500)  # the slider might have a say
    shows_counts(page, counts)
    assert box.input_value() == "0.9985"


def test_a_field_lists_its_messages_the_surest_first_ten_at_a_time(page, answers):
    from playwright.sync_api import expect

    texts, labels, p_spam = answers
    inside = field_at(labels, p_spam, 0.5, "ham", "spam")
    assert len(inside) > 10
    page.get_by_role("button", name="ham called spam").click()
    lines = page.locator(".db-message")
    expect(lines).to_contain_text([texts[i] for i in inside[:10]], use_inner_text=True)
    lab.shows(lines.last)
    assert f"10 of {len(inside)} messages" in page.locator(".db-heading").inner_text()
    page.locator(".db-more").focus()
    page.keyboard.press("Space")
    more = min(20, len(inside))
    expect(lines).to_have_count(more)
    page.locator(".db-heading", has_text=f"{more} of {len(inside)} messages").wait_for()


def test_a_press_on_a_message_shows_it_in_the_microscope(page, answers):
    from playwright.sync_api import expect

    texts, labels, p_spam = answers
    first = texts[field_at(labels, p_spam, 0.5, "spam", "ham")[0]]
    page.locator(".db-field-spam-ham").focus()
    page.keyboard.press("Enter")
    page.locator(".db-message", has_text=first).focus()
    page.keyboard.press("Enter")
    page.locator(".db-chosen", has_text=first).wait_for()
    page.locator(".db-message", has_text="✓").wait_for()
    assert first in page.evaluate("document.activeElement.innerText")
    microscope = page.locator(".message-microscope")
    expect(microscope.locator(".mm-text input")).to_have_value(first)
    first_token = get_tokenizer().decode(get_tokenizer().encode(first)[:1])
    expect(microscope.locator(".mm-token-0")).to_contain_text(first_token.strip())


def test_the_reliability_diagram_and_the_slices_are_a_press_away(page):
    root = page.locator(".classifier-dashboard")
    assert root.locator(".db-reliability").count() == 0
    for words, name in (("reliability diagram", "reliability"), ("slices", "slices")):
        root.get_by_role("button", name=words).click()
        lab.shows(root.locator(f".db-{name} svg"))
    assert "expected calibration error" in (
        root.locator(".db-reliability svg").get_attribute("aria-label")
    )
    assert "fewer than 10 tokens" in root.locator(".db-slices").inner_text()
    for words in ("reliability diagram", "slices"):
        root.get_by_role("button", name=words).click()


def test_tab_reaches_every_control(page):
    open_field(page, "ham-spam")
    lab.tab_reaches_every_control(page.locator(".classifier-dashboard"))


def test_every_control_says_what_it_is(page):
    root = page.locator(".classifier-dashboard")
    assert root.get_by_role("spinbutton", name="Threshold").count() == 1
    for correct, called in FIELDS:
        assert root.get_by_role("button", name=f"{correct} called {called}").count() == 1
    for name in ("matrix", "curve"):
        words = root.locator(f".db-{name}").get_by_role("img").get_attribute("aria-label")
        assert "0.50" in words and "recall" in words.lower()
    assert root.get_by_role("status").count() >= 1


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 1280), ("light", 800)])
def test_it_can_be_read_in_both_themes_and_in_a_narrow_window(page, theme, width):
    root = page.locator(".classifier-dashboard")
    open_field(page, "ham-spam")
    page.locator(".db-message").first.click()
    page.locator(".db-message", has_text="✓").wait_for()
    folds = [root.get_by_role("button", name=name) for name in ("reliability diagram", "slices")]
    for fold in folds:
        fold.click()
    lab.shows(page.locator(".db-slices svg"))
    lab.set_theme(page, theme)
    page.set_viewport_size({"width": width, "height": 2400})
    page.locator(".db-figures").scroll_into_view_if_needed()
    lab.assert_readable(root, f"dashboard_{theme}_{width}")
    for fold in folds:
        fold.click()
