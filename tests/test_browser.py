"""The Freeze Explorer as a learner meets it: in a real JupyterLab, by mouse, keyboard and name.

Section 6.5 is opened. Screenshots are left in the folder that the environment variable SCREENSHOTS
names, if it does.
"""

import pytest

from helpers.config import gpt_config
from helpers.freezing import PRESETS, FreezePlan, parameter_report
from tests import lab
from tests.screenshot import NOTEBOOK, course_in

STATES = ("trainable", "frozen", "partly trainable")

pytestmark = pytest.mark.skipif(
    lab.missing() is not None, reason=f"the Explorer in a browser: {lab.missing()}"
)


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    with lab.lab(course_in(tmp_path_factory.mktemp("course"))) as address, lab.browser() as browser:
        yield browser, address


@pytest.fixture(scope="module")
def opened(course):
    page = lab.open_notebook(*course, NOTEBOOK, height=1500)
    assert "model not found" not in page.content()  # what was saved shows before anything is run
    assert page.locator(".freeze-explorer").count() == 0
    lab.run_all(page)
    page.locator(".fx-shapes svg").wait_for()
    page.add_script_tag(content=lab.CONTRAST)
    yield page
    lab.check(page)  # no callback has failed on the way
    page.close()


@pytest.fixture
def page(opened):
    """The page with GPT-2 124M, the book's plan and four tokens."""
    lab.set_theme(opened, "light")
    opened.set_viewport_size({"width": 1280, "height": 1500})
    opened.locator(".fx-text input").fill("Do you have time")
    choose(opened, "gpt2-small (124M)")
    choose(opened, "the book's choice")
    shows(opened, "total", "124,441,346 parameters")
    shows(opened, "trainable", "7,090,946 trainable")
    shows(opened, "shapes", "(1, 4, 768)")
    return opened


def shows(page, name: str, words: str) -> None:
    """Wait until `.fx-<name>` holds these words."""
    lab.shows(page.locator(f".fx-{name}", has_text=words).first)


def choose(page, name: str) -> None:
    page.locator(".freeze-explorer .fx-choice", has_text=name).click()


def preset_is(page, name: str) -> None:
    """Wait until this preset, and no other, is marked as chosen."""
    from playwright.sync_api import expect

    marked = page.locator(".fx-preset .fx-choice", has_text="✓")
    expect(marked).to_have_text([f"✓ {name}"])


def active(page) -> str:
    return page.evaluate("document.activeElement.className")


def test_a_press_on_a_block_freezes_it_and_every_number_follows(page):
    block = page.locator(".fx-part-trf_blocks-11")
    block.click()
    shows(page, "trainable", "3,074 trainable")
    shows(page, "percent", "0.00 %")
    shows(page, "reach", "The gradient ends in final_norm")
    preset_is(page, "custom")
    assert block.inner_text().split() == ["❄", "trf_blocks.11", "7,087,872", "frozen"]
    block.click()
    shows(page, "trainable", "7,090,946 trainable")
    shows(page, "table", "trf_blocks.0 – 10")
    preset_is(page, "the book's choice")


def test_presets_can_be_chosen_by_keyboard(page):
    page.locator(".fx-preset .fx-choice").first.focus()
    for i, (name, plan) in enumerate(PRESETS.items()):
        if i:
            page.keyboard.press("Tab")
        page.keyboard.press("Space")
        report = parameter_report(gpt_config("gpt2-small (124M)"), plan(12))
        shows(page, "trainable", f"{report.trainable:,} trainable")
        shows(page, "percent", f"{report.percent:.2f} %")
        preset_is(page, name)
        assert page.evaluate("document.activeElement.innerText") == f"✓ {name}"
    page.keyboard.press("Space")  # what is chosen stays so
    page.keyboard.press("Tab")
    page.keyboard.press("Space")  # "custom" is no choice of its own
    page.locator(".fx-part-tok_emb").click()
    shows(page, "percent", "68.98 %")
    preset_is(page, "custom")


def test_tab_reaches_every_control_and_space_presses_it_where_the_focus_stays(page):
    lab.tab_reaches_every_control(page.locator(".freeze-explorer"))
    page.locator(".fx-part-trf_blocks-3").focus()
    page.keyboard.press("Space")
    shows(page, "trainable", "14,178,818 trainable")
    page.locator(".fx-part-trf_blocks-3.fx-is-trainable:focus").wait_for()  # drawn a moment later
    page.keyboard.press("Space")
    shows(page, "trainable", "7,090,946 trainable")
    assert "fx-part-trf_blocks-3" in active(page)


def test_a_block_opens_by_keyboard_to_four_pieces_with_toggles_of_their_own(page):
    opener = page.get_by_role("button", name="open trf_blocks.10", exact=False)
    opener.focus()
    page.keyboard.press("Space")
    piece = page.locator(".fx-part-trf_blocks-10-norm2")
    piece.wait_for()
    assert page.evaluate("document.activeElement.innerText") == "▾ close trf_blocks.10"
    piece.click()
    shows(page, "trainable", "7,092,482 trainable")
    assert "partly trainable" in page.locator(".fx-part-trf_blocks-10").inner_text()
    page.get_by_role("button", name="close trf_blocks.10").click()
    piece.wait_for(state="detached")


def test_48_blocks_fold_into_a_line_that_opens_and_keeps_the_focus(page):
    choose(page, "gpt2-xl (1558M)")
    report = parameter_report(gpt_config("gpt2-xl (1558M)"), FreezePlan.book(48))
    shows(page, "total", f"{report.total:,} parameters")
    shows(page, "trainable", f"{report.trainable:,} trainable")
    assert page.locator(".fx-toggle:visible").count() == 6
    page.get_by_role("button", name="open trf_blocks.0 – 46").press("Space")
    page.locator(".fx-part-trf_blocks-0").wait_for()
    assert page.locator(".fx-toggle:visible").count() == 52
    assert page.evaluate("document.activeElement.innerText") == "▸ open trf_blocks.46"
    page.locator(".fx-part-trf_blocks-20").press("Space")
    shows(
        page,
        "reach",
        "The gradient ends in trf_blocks.20, the lowest part that learns; "
        "on its way down it crosses 27 blocks.",
    )
    assert "fx-part-trf_blocks-20" in active(page)
    page.get_by_role("button", name="Fold equal blocks").click()
    page.locator(".fx-run-trf_blocks-0-19").wait_for()
    assert page.locator(".fx-toggle:visible").count() == 8


def test_a_message_is_drawn_as_text_and_what_cannot_be_read_is_said(page):
    box = page.locator(".fx-text input")
    box.fill("<img src=x onerror=alert(1)> & you")
    shows(page, "shapes", "alert")
    assert page.locator(".freeze-explorer img, .freeze-explorer script").count() == 0
    assert box.evaluate("e => e === document.activeElement")
    before = page.locator(".fx-shapes").inner_html()
    for wrong, sentence in (
        ("   ", "the message is empty"),
        ("a " * 2000, "more than the context length of 1024"),
    ):
        box.fill(wrong)
        shows(page, "problem", sentence)
        assert page.locator(".fx-shapes").inner_html() == before
        assert page.get_by_role("alert").count() == 1
    box.fill("late 😀")
    shows(page, "shapes", "⟨20 F0 9F 98⟩")
    assert page.locator(".freeze-explorer .fx-problem").inner_text().strip() == ""
    page.locator(".fx-batch input").fill("8")
    page.locator(".fx-batch input").press("Enter")
    shows(page, "shapes", "(8, 3, 768)")
    page.locator(".fx-batch input").fill("1")
    page.locator(".fx-batch input").press("Enter")


def test_the_loaded_model_answers_the_message(page):
    choose(page, "the loaded model")
    shows(page, "total", "12,515,906 parameters")
    page.get_by_role("button", name="Run the loaded model").click()
    answer = page.locator(".fx-shapes svg text", has_text="ham 0.")
    answer.wait_for()
    by_hand = page.locator(
        ".jp-OutputArea-output pre", has_text="ham 0."
    ).first.inner_text()  # step 6
    assert by_hand.partition(" →")[0] == answer.text_content()
    page.locator(".fx-text input").fill("another message")
    answer.wait_for(state="detached")  # it was the other one's
    choose(page, "gpt2-xl (1558M)")
    page.get_by_role("button", name="Run the loaded model").wait_for(state="detached")


def test_every_control_says_what_it_is_and_the_picture_has_words(page):
    explorer = page.locator(".freeze-explorer")
    for label, role in (
        ("Message", "textbox"),
        ("Batch size", "spinbutton"),
        ("Classes", "spinbutton"),
    ):
        assert explorer.get_by_role(role, name=label).count() == 1, label
    choices = set(page.locator(".freeze-explorer .fx-choice").all_inner_texts())
    assert choices >= {"✓ gpt2-small (124M)", "gpt2-xl (1558M)", "✓ the book's choice", "custom"}
    for name in set(explorer.get_by_role("button").all_inner_texts()) - choices:
        words = " ".join(name.split())
        assert words.endswith(STATES) or words.startswith(("▸ open ", "▸ Show ")), words
    words = explorer.locator(".fx-shapes").get_by_role("img").get_attribute("aria-label")
    assert (
        "transformer block  (trf_blocks.11): 7,087,872 parameters, trainable, puts out (1, 4, 768)"
        in words
    )


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 1280), ("light", 800)])
def test_it_can_be_read_in_both_themes_and_in_a_narrow_window(page, theme, width):
    lab.set_theme(page, theme)
    page.set_viewport_size({"width": width, "height": 1500 if width > 1000 else 2400})
    page.get_by_role("button", name="Show how the costs are computed").click()
    page.locator(".fx-formulas").wait_for()
    shows(page, "formulas", "4 bytes × 124,441,346 parameters")
    page.locator(".fx-model").scroll_into_view_if_needed()
    lab.assert_readable(page.locator(".freeze-explorer"), f"explorer_{theme}_{width}")
    page.get_by_role("button", name="Hide how the costs are computed").click()
