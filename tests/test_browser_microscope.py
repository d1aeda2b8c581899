"""The Message Microscope as a learner meets it in a real JupyterLab: typed into, pressed, read.

The classifier is the nano with a random head; nothing is trained.
Screenshots are left in the folder that the environment variable SCREENSHOTS names, if it does.
"""

import re

import pytest

from tests import lab
from tests.screenshot import MICROSCOPE_NOTEBOOK, microscope_in

MESSAGE = "Win a free phone! Text YES to 80086 now"
TOKENS = 11

pytestmark = pytest.mark.skipif(
    lab.missing() is not None, reason=f"the Microscope in a browser: {lab.missing()}"
)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    course = microscope_in(tmp_path_factory.mktemp("course"))
    with lab.opened(course, MICROSCOPE_NOTEBOOK, ".mm-token-10", 1500) as page:
        yield page


@pytest.fixture
def page(opened):
    """The page in the light theme, with the message whole, the last real token, block 0."""
    lab.set_theme(opened, "light")
    opened.set_viewport_size({"width": 1280, "height": 1500})
    type_in(opened, MESSAGE)
    opened.locator(".mm-restore").click()
    for css, name in (
        ("position", "last real token"),
        ("padding", "as in training"),
        ("block", "0"),
        ("head", "mean of all heads"),
    ):
        choose(opened, css, name)
    shows(opened, "row", f"{TOKENS} tokens, then 71 of padding")
    opened.locator(".mm-attention", has_text="last real token looks: block 0, mean").wait_for()
    return opened


def type_in(page, text: str) -> None:
    page.locator(".mm-text input").fill(text)


def shows(page, name: str, words: str) -> None:
    """Wait until `.mm-<name>` holds these words."""
    lab.shows(page.locator(f".mm-{name}", has_text=words).first)


def choose(page, css: str, name: str) -> None:
    """Press an option of a row, and wait until it is the one that is chosen."""
    from playwright.sync_api import expect

    row, exactly = page.locator(f".mm-{css}"), re.compile(rf"^(✓ )?{re.escape(name)}$")
    row.locator(".fx-choice", has_text=exactly).click()
    expect(row.locator(".fx-choice", has_text="✓")).to_have_text([f"✓ {name}"])


def probability(page) -> str:
    return page.locator(".mm-probability svg").get_attribute("aria-label")


def picture(page, name: str) -> str:
    return page.locator(f".mm-{name} svg").get_attribute("aria-label")


def test_typing_changes_chips_answer_and_attention_with_each_key(page):
    from playwright.sync_api import expect

    before = probability(page)
    box = page.locator(".mm-text input")
    box.press("End")
    box.type(" lol")
    expect(page.locator(".mm-token")).to_have_count(TOKENS + 1)
    shows(page, "token-11", "␣lol")
    lab.shows(page.locator('.mm-attention svg[aria-label*="␣lol (itself)"]'))
    assert probability(page) != before
    type_in(page, "hi")
    expect(page.locator(".mm-token")).to_have_count(1)
    shows(page, "row", "1 token, then 81 of padding")


def test_a_press_leaves_a_token_out_and_a_second_brings_it_back(page):
    whole = probability(page)
    page.locator(".mm-token-2").click()
    shows(page, "change", "without ␣free: spam")
    words = page.locator(".mm-change").inner_text()
    before, after = re.search(r"spam (\S+) → (\S+)", words).groups()
    assert whole.endswith(f"spam {before}") and probability(page).endswith(f"spam {after}")
    assert "left out" in page.locator(".mm-token-2").inner_text()
    assert "␣free" not in picture(page, "attention")
    page.locator(".mm-token-2").click()
    page.locator(f'.mm-probability svg[aria-label="{whole}"]').wait_for()
    page.locator(".mm-change", has_text="→").wait_for(state="detached")


def test_block_and_head_are_chosen_and_the_picture_follows(page):
    seen = {picture(page, "attention")}
    for css, name in (("block", "3"), ("head", "2"), ("head", "mean of all heads")):
        choose(page, css, name)
        block = "block 3"
        head = f"head {name}" if css == "head" and name.isdigit() else "mean of all heads"
        lab.shows(page.locator(".mm-attention", has_text=f"{block}, {head}"))
        seen.add(picture(page, "attention"))
    assert len(seen) == 3  # the last one was there before
    assert page.locator(".mm-shares text", has_text="▸3").count() == 1


def test_after_one_endoftext_the_middle_blocks_hardly_look_at_the_message(page):
    choose(page, "padding", "1")
    choose(page, "position", "padded end")
    lab.shows(page.locator(".mm-attention", has_text="padded end looks"))
    shows(page, "row", "then 1 of padding")
    after = [float(x) for x in re.findall(r"\d?\.\d\d", picture(page, "shares"))]
    assert len(after) == 6 and after[0] > 0.5 and min(after) < 0.2
    choose(page, "position", "last real token")
    lab.shows(page.locator(".mm-attention", has_text="last real token looks"))
    assert re.findall(r"\d?\.\d\d", picture(page, "shares")) == ["1.00"] * 6
    assert "␣now (itself)" in picture(page, "attention")


def test_a_message_that_cannot_be_read_gets_a_sentence_and_markup_is_text(page):
    type_in(page, "   ")
    shows(page, "problem", "the message is empty")
    assert page.locator(".mm-problem").get_by_role("alert").count() == 1
    assert page.locator(".mm-token").count() == TOKENS  # those of the last message
    type_in(page, "<b>hi</b> 😀")
    shows(page, "row", "only a part of a character")
    shows(page, "token-1", "b")
    assert "⟨" in page.locator(".mm-tokens").inner_text()
    assert page.locator(".mm-problem").inner_text().strip() == ""
    assert page.locator(".message-microscope .mm-attention b").count() == 0
    type_in(page, "x " * 500)
    shows(page, "row", "the classifier reads the first 82")
    page.locator(".mm-token-81").wait_for()


def test_tab_reaches_every_control_and_space_presses_a_token_where_the_focus_stays(page):
    lab.tab_reaches_every_control(page.locator(".message-microscope"))
    page.locator(".mm-token-3").focus()
    page.keyboard.press("Space")
    shows(page, "change", "without ␣phone")
    assert "mm-token-3" in page.evaluate("document.activeElement.className")
    page.keyboard.press("Space")
    page.locator(".mm-token-3", has_text="left out").wait_for(state="detached")


def test_every_control_says_what_it_is(page):
    root = page.locator(".message-microscope")
    assert root.get_by_role("textbox", name="Message").count() == 1
    chip = root.get_by_role("button", name="␣free")
    assert chip.count() == 1
    hint = chip.get_attribute("title")
    assert re.match(r"\S+ nats( towards (spam|ham))?; press to leave it out", hint)
    for name in ("padded end", "last real token", "as in training", "mean of all heads"):
        assert root.get_by_role("button", name=name).count() == 1, name
    for name in ("Bring all back", "Show the numbers", "Show what this does not show"):
        assert root.get_by_role("button", name=name).count() == 1, name
    assert root.get_by_role("status").count() == 1
    for css in ("probability", "attention", "shares", "after"):
        assert root.locator(f".mm-{css}").get_by_role("img").count() == 1, css


def test_the_numbers_and_the_limits_unfold(page):
    root = page.locator(".message-microscope")
    root.get_by_role("button", name="Show the numbers").click()
    root.locator(".mm-table tbody tr").nth(TOKENS - 1).wait_for()
    assert root.locator(".mm-table tbody tr").count() == TOKENS
    root.get_by_role("button", name="Show what this does not show").click()
    root.locator(".mm-limits").wait_for()
    assert "Jain and Wallace (2019)" in root.locator(".mm-limits").inner_text()
    for what in ("the numbers", "what this does not show"):
        root.get_by_role("button", name=f"Hide {what}").click()


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 1280), ("light", 800)])
def test_it_can_be_read_in_both_themes_and_in_a_narrow_window(page, theme, width):
    page.locator(".mm-token-3").click()
    shows(page, "change", "without ␣phone")
    lab.set_theme(page, theme)
    page.set_viewport_size({"width": width, "height": 2400})
    page.get_by_role("button", name="Show the numbers").click()
    page.get_by_role("button", name="Show what this does not show").click()
    page.locator(".mm-limits").wait_for()
    root = page.locator(".message-microscope")
    root.scroll_into_view_if_needed()
    lab.assert_readable(root, f"microscope_{theme}_{width}")
    for what in ("the numbers", "what this does not show"):
        page.get_by_role("button", name=f"Hide {what}").click()
