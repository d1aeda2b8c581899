"""The Freeze Lab as a learner meets it in a real JupyterLab: trained, stopped, sorted, read.

Appendix 6.B is opened, up to the Lab. Screenshots are left in the folder that the environment
variable SCREENSHOTS names, if it does.
"""

import json
import re

import pytest

from helpers.training import POSITIONS
from tests import lab
from tests.screenshot import LAB_NOTEBOOK, lab_in
from workshop.lab import FILE

pytestmark = pytest.mark.skipif(
    lab.missing() is not None, reason=f"the Freeze Lab in a browser: {lab.missing()}"
)


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    return lab_in(tmp_path_factory.mktemp("course"))


@pytest.fixture(scope="module")
def opened(course):
    def shows_its_static_form(page):
        assert page.locator(".freeze-lab").count() == 0 and "No run yet." in page.content()

    with lab.opened(course, LAB_NOTEBOOK, ".fx-train", 1700, shows_its_static_form) as page:
        yield page


@pytest.fixture
def page(opened):
    """The page in the light theme; what is trained by a press takes a second or so."""
    lab.set_theme(opened, "light")
    opened.set_viewport_size({"width": 1280, "height": 1700})
    for css, name in (("preset", "head only"), ("position", "last_token"), ("seeds", "1")):
        choose(opened, css, name)
    set_epochs(opened, 2)
    return opened


def shows(page, name: str, words: str) -> None:
    """Wait until `.fx-<name>` holds these words."""
    page.locator(f".fx-{name}", has_text=words).first.wait_for()


def choose(page, css: str, name: str) -> None:
    """Press an option of a row, and wait until it is the one that is chosen."""
    from playwright.sync_api import expect

    row = page.locator(f".fx-{css}")
    exactly = re.compile(rf"^(✓ )?{re.escape(name)}$")
    row.locator(".fx-choice", has_text=exactly).click()
    expect(row.locator(".fx-choice", has_text="✓")).to_have_text([f"✓ {name}"])


def set_epochs(page, epochs: int) -> None:
    box = page.locator(".fx-epochs input")
    box.fill(str(epochs))
    box.press("Enter")


def run_lines(page):
    return page.locator(".fx-run-line")


def train(page) -> int:
    """Press Train and wait for the new row; return its number."""
    from playwright.sync_api import expect

    number = run_lines(page).count() + 1
    page.locator(".fx-train").click()
    expect(run_lines(page)).to_have_count(number, timeout=1000 * lab.PATIENCE)
    shows(page, "status", f"Run {number} is done")
    return number


def test_a_press_on_train_shows_how_it_goes_and_ends_in_a_row(page, course):
    set_epochs(page, 5)
    choose(page, "seeds", "3")
    number = run_lines(page).count() + 1
    page.locator(".fx-train").click()
    page.locator(".freeze-lab").get_by_role("progressbar").wait_for()
    shows(page, "bar", "left")
    assert page.locator(".fx-live svg[role=img]").count() == 1
    shows(page, "status", f"Run {number} is done")
    page.locator(".freeze-lab").get_by_role("progressbar").wait_for(state="detached")
    line = run_lines(page).nth(number - 1)
    assert "head only · position last_token · 5 epochs" in line.inner_text()
    kept = [json.loads(row) for row in (course / "notebooks" / FILE).read_text().splitlines()]
    assert len(kept) == number and len(kept[-1]["val_accs"]) == 3
    mean = sum(kept[-1]["val_accs"]) / 3
    assert 0.7 < mean < 0.95 and f"{mean:.3f}, " in line.inner_text()
    assert page.locator(".fx-runs svg text", has_text=re.compile(f"^{number}$")).count() == 1


def test_stop_is_heard_and_leaves_the_weights_of_a_whole_epoch(page):
    choose(page, "seeds", "5")
    set_epochs(page, 50)
    before = run_lines(page).count()
    page.locator(".fx-train").click()
    shows(page, "status", "of 50: validation accuracy")  # at least one epoch has ended
    page.locator(".fx-train").click()  # does nothing
    page.locator(".fx-stop").click()
    shows(page, "status", "Stopped: the model has the weights of")
    words = page.locator(".fx-status").inner_text()
    assert (
        re.search(r"of \d+ whole epochs? with seed \d", words) and run_lines(page).count() == before
    )
    page.locator(".freeze-lab").get_by_role("progressbar").wait_for(state="detached")


def test_a_press_on_a_row_sets_the_tower_and_the_settings(page):
    number = train(page)
    choose(page, "preset", "everything")
    choose(page, "position", "mean")
    set_epochs(page, 7)
    run_lines(page).nth(number - 1).locator(".fx-take").click()
    shows(page, "status", f"Tower and settings are those of run {number}.")
    for css, name in (("preset", "head only"), ("position", "last_token"), ("seeds", "1")):
        assert page.locator(f".fx-{css} .fx-choice", has_text="✓").all_inner_texts() == [
            f"✓ {name}"
        ]
    assert page.locator(".fx-epochs input").input_value() == "2"
    assert page.locator(".fx-part-out_head").inner_text().split()[-1] == "trainable"


def test_rows_are_sorted_by_a_heading_and_deleted_by_a_press(page):
    train(page)
    choose(page, "position", "first")
    number = train(page)
    page.locator(".fx-head-accuracy").click()
    first = run_lines(page).first.locator(".fx-take")
    first.filter(has_text="position first").wait_for()
    page.locator(".fx-head-accuracy").click()
    run_lines(page).last.locator(".fx-take").filter(has_text="position first").wait_for()
    page.get_by_role("button", name=f"delete run {number}").click()
    page.locator(".fx-take", has_text="position first").wait_for(state="detached")
    assert run_lines(page).count() == number - 1
    page.locator(".fx-head-run").click()


def test_an_adapter_is_added_by_keyboard_and_trained(page):
    from playwright.sync_api import expect

    page.locator(".fx-press .fx-choice", has_text="adds or takes").focus()
    page.keyboard.press("Space")
    shows(page, "press", "✓ adds or takes an adapter")
    page.locator(".fx-part-trf_blocks-5").focus()
    page.keyboard.press("Space")
    shows(page, "preset", "✓ LoRA, last block")
    block = page.locator(".fx-part-trf_blocks-5")
    expect(block).to_contain_text("frozen with an adapter")
    assert "fx-part-trf_blocks-5" in page.evaluate("document.activeElement.className")
    choose(page, "rank", "1")
    shows(page, "trainable", "3,842 trainable")
    number = train(page)
    assert "LoRA, last block, rank 1" in run_lines(page).nth(number - 1).inner_text()
    choose(page, "press", "trains or freezes")


def test_what_cannot_be_trained_is_said_and_the_lab_goes_on(page):
    choose(page, "preset", "nothing")
    page.locator(".fx-train").click()
    shows(page, "problem", "there is nothing to train")
    assert page.locator(".freeze-lab .fx-problem").get_by_role("alert").count() == 1
    choose(page, "preset", "head only")
    train(page)
    assert page.locator(".freeze-lab .fx-problem").inner_text().strip() == ""


def test_tab_reaches_every_control_and_space_trains_where_the_focus_stays(page):
    train(page)
    lab.tab_reaches_every_control(page.locator(".freeze-lab"))
    number = run_lines(page).count() + 1
    page.locator(".fx-train").focus()
    page.keyboard.press("Space")
    shows(page, "status", f"Run {number} is done")
    assert page.evaluate("document.activeElement.innerText") == "▶ Train"


def test_every_control_says_what_it_is(page):
    train(page)
    root = page.locator(".freeze-lab")
    for label in ("Epochs", "Learning rate"):
        assert root.get_by_role("spinbutton", name=label).count() == 1, label
    for position in POSITIONS:
        assert root.get_by_role("button", name=position).count() >= 1
    for name in ("Train", "Stop", "Open the test set", "delete run 1", "best epoch"):
        assert root.get_by_role("button", name=name).count() >= 1, name
    words = root.locator(".fx-runs").get_by_role("img").get_attribute("aria-label")
    assert "run 1, head only" in words and "95 % interval" in words
    assert root.get_by_role("status").count() >= 1


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 1280), ("light", 800)])
def test_it_can_be_read_in_both_themes_and_in_a_narrow_window(page, theme, width):
    train(page)
    lab.set_theme(page, theme)
    page.set_viewport_size({"width": width, "height": 1700 if width > 1000 else 2600})
    page.locator(".fx-train").scroll_into_view_if_needed()
    lab.assert_readable(page.locator(".freeze-lab"), f"lab_{theme}_{width}")


def test_the_test_set_is_opened_by_a_press_and_every_later_run_says_so(page):  # the last: it stays
    train(page)
    assert "Test accuracy" not in page.locator(".fx-test").inner_text()
    page.get_by_role("button", name="Open the test set").click()
    shows(page, "test", "of 200 messages")
    number = train(page)
    assert "after the test was seen" in run_lines(page).nth(number - 1).inner_text()
    assert "after the test was seen" not in run_lines(page).first.inner_text()
