"""All widgets as a learner meets them: one notebook in a real JupyterLab, by mouse, keyboard, name."""

import json
import re

import nbformat
import pytest

from tests import lab
from tests.own_texts import own_file, own_table
from workshop.lab import FILE
from workshop.own import OwnClassifier

pytestmark = pytest.mark.skipif(
    lab.missing() is not None, reason=f"the widgets in a browser: {lab.missing()}"
)
CELLS = (
    """\
from IPython.display import display
from ipywidgets import HTML, Button
from helpers.freezing import FreezePlan
from workshop.widgets import FreezeExplorer
explorer, in_kernel, everything = FreezeExplorer(), HTML(), Button(description="everything in code")
in_kernel.add_class("in-kernel")
def tell(_):
    in_kernel.value = f"{explorer.report.trainable} of {explorer.report.total}"
explorer.observe(tell, ["plan", "size"])
everything.on_click(lambda _: setattr(explorer, "plan", FreezePlan.everything(12)))
display(in_kernel, everything)
explorer""",
    """\
import torch
from helpers.classify import SpamClassifier
from helpers.data import load_splits
from helpers.freezing import replace_head
from helpers.loading import load_pretrained
from workshop.widgets import Dashboard, MessageMicroscope
torch.manual_seed(123)
model = replace_head(load_pretrained("gpt2-nano (12M)"))
classifier = SpamClassifier(model, max_length=82, position="last_token")
microscope = MessageMicroscope(classifier)
microscope""",
    """\
def look(text):
    microscope.text = text
test = load_splits("sms-mini")[2].iloc[:60]
Dashboard(classifier, test, on_message=look)""",
    """\
from tests.labs import tiny_material
from workshop.widgets import FreezeLab
FreezeLab(material=tiny_material())""",
    "from workshop.widgets import OwnClasses\nOwnClasses('mine.csv')",
    """\
from IPython.display import display
from workshop.exercises.prediction import Number, OneOf, Question
from workshop.pictures.svg import BLUE, Drawing, circle, picture, text
from workshop.widgets.prediction import Prediction
bar = picture([circle(20, 10, 5, BLUE)], "a bar", 90, 20)
padding = Question(
    "How much of the rectangle is padding?", Number(within=5, unit="%"),
    {"else": "Yes: {answer}."}, {"too low": "More than that.", "too high": "Less."},
    "It is `<|endoftext|>`.",
)
long_option = "neither: a model with a random head outputs about the same probabilities each time"
right = {"else": "Yes."}
label = Question("Which label?", OneOf("ham", "spam", long_option), right, {"else": "No."})
display(Prediction("9.9 padding", padding, 60.2, bar), Prediction("9.9 label", label, "ham"))""",
    """\
from workshop.widgets import Slides
drawings = [
    picture([circle(40 + 5 * i, 60, 9, BLUE), text(40, 30, f"the disc lies at {i}")],
            f"a disc at {i} of 9", 600, 120)
    for i in range(10)
]
Slides(drawings, [f"the disc at {i}" for i in range(10)], "Place", start=3)""",
)
ROOTS = (
    "freeze-explorer", "message-microscope", "classifier-dashboard", "freeze-lab", "own-classes",
    "prediction", "picture-slides",
)  # fmt: skip


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    folder = lab.link_the_packages(tmp_path_factory.mktemp("course"))
    nbformat.write(lab.notebook_of(*CELLS), folder / "widgets.ipynb")
    own_file(folder)
    return folder


@pytest.fixture(scope="module")
def opened(course):
    with lab.opened(course, "widgets.ipynb", ".sl-picture svg", 1700) as page:
        yield page


@pytest.fixture
def page(opened):
    """The page in the light theme; what tests leave behind, the next one can live with."""
    lab.set_theme(opened, "light")
    opened.set_viewport_size({"width": 1280, "height": 1700})
    return opened


@pytest.fixture
def explorer(page):
    """The Explorer with GPT-2 124M and the book's plan."""
    root = page.locator(".freeze-explorer").first
    root.locator('[data-size="gpt2-small (124M)"]').click()
    root.locator('[data-preset="the book\'s choice"]').click()
    return root


def agree(page, explorer, trainable: int) -> None:
    """Wait until the page shows this many trainable parameters, and the kernel says the same."""
    page.locator(f'.freeze-explorer[data-trainable="{trainable}"]').first.wait_for()
    total = explorer.get_attribute("data-total")
    page.locator(".in-kernel", has_text=f"{trainable} of {total}").wait_for()


def shows(root, css: str, words: str) -> None:
    """Wait until what has this class holds these words."""
    lab.shows(root.locator(f".{css}", has_text=words).first)


def choose(root, css: str, name: str) -> None:
    """Press an option of a row, and wait until it is the one that is chosen."""
    from playwright.sync_api import expect

    row, exactly = root.locator(f".{css}"), re.compile(rf"^(✓ )?{re.escape(name)}$")
    row.locator(".fx-choice", has_text=exactly).click()
    expect(row.locator(".fx-choice", has_text="✓")).to_have_text([f"✓ {name}"])


def type_in(root, css: str, text: str) -> None:
    type_into(root.locator(f".{css} input"), text)


def type_into(box, text: str) -> None:
    box.fill(text)
    box.press("Enter")


def active(page, what: str = "innerText") -> str:
    return page.evaluate(f"document.activeElement.{what}")


def test_every_control_has_a_name_and_tab_reaches_it_and_every_picture_has_words(page):
    unnamed = """root => [...root.querySelectorAll('button, input:not([type=file])')]
        .filter(e => e.checkVisibility() && !e.innerText.trim() && !e.labels?.[0]?.innerText.trim())
        .map(e => e.outerHTML)"""
    silent = "all => all.filter(e => !e.getAttribute('aria-label')).length"
    for css in ROOTS:
        root = page.locator(f".{css}").first
        assert root.evaluate(unnamed) == [], css
        assert root.locator("svg[role=img]").evaluate_all(silent) == 0, css
        lab.tab_reaches_every_control(root)


def test_a_click_on_the_diagram_is_known_to_the_kernel_and_code_moves_the_diagram(page, explorer):
    block = explorer.locator('[data-part="trf_blocks.11"]')
    block.click()
    agree(page, explorer, 3_074)
    block.press("Enter")  # which JupyterLab does not take for itself here
    agree(page, explorer, 7_090_946)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    piece = explorer.locator('[data-part="trf_blocks.10.norm2"]')
    piece.click()
    agree(page, explorer, 7_092_482)
    page.get_by_role("button", name="everything in code").click()
    agree(page, explorer, 124_441_346)
    explorer.locator("[data-undo]").click()
    explorer.locator('[data-size="gpt2-nano (12M)"]').click()
    page.locator('.freeze-explorer[data-model="gpt2-nano (12M)"]').first.wait_for()
    explorer.locator('[data-preset="nothing"]').click()
    agree(page, explorer, 0)
    explorer.locator("[data-copy]").click()
    explorer.get_by_text("Copied.").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == explorer.locator(".fe-code").inner_text()
    assert copied.endswith("requires_grad = False\n")


def test_a_finger_freezes_opens_and_chooses_and_the_kernel_knows(page, explorer):
    for target, trainable in (
        ('[data-part="trf_blocks.11"]', 3_074),
        ('[data-open="trf_blocks.11"]', 3_074),
        ('[data-part="trf_blocks.11.norm1"]', 4_610),
        ('[data-preset="everything"]', 124_441_346),
        ('[data-preset="head only"]', 1_538),
    ):
        explorer.locator(target).tap()
        agree(page, explorer, trainable)
    explorer.locator("[data-copy]").tap()
    explorer.get_by_text("Copied.").wait_for()
    assert "model.out_head" in page.evaluate("navigator.clipboard.readText()")
    explorer.locator('[data-open="trf_blocks.11"]').tap()


def test_a_message_is_shown_as_text_and_what_cannot_be_read_is_said(explorer):
    explorer.locator("summary").click()
    box = explorer.locator('[data-field="message"]')
    type_into(box, "<img src=x onerror=alert(1)> & you")
    explorer.locator(".fe-foot", has_text="alert").wait_for()
    assert explorer.locator("img, script").count() == 0
    type_into(box, "a " * 2000)
    explorer.get_by_role("alert").filter(has_text="context length of 1024").wait_for()
    type_into(box, "Do you have time")
    explorer.locator(".fe-foot", has_text="(1, 4): Do").wait_for()


def test_a_guess_is_committed_by_keyboard_or_click_and_only_then_answered(page):
    root = page.locator(".prediction").first
    assert root.get_by_role("status").count() == 0 and root.locator("svg").count() == 0
    field = root.get_by_label("Your guess (%)")
    field.click()
    field.fill("much")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")  # JupyterLab may take Enter on a button as "edit this cell"
    root.get_by_role("alert").filter(has_text="'much' is not a number").wait_for()
    field.fill("40")
    page.keyboard.press("Enter")
    root.get_by_role("status").filter(
        has_text="✗ Wrong: the answer is 60.2 %. You said 40 %."
    ).wait_for()
    root.get_by_text("More than that.").wait_for()
    assert root.get_by_role("img", name="a bar").count() == 1
    assert root.get_by_role("alert").count() == 0 and field.is_disabled()
    root = page.locator(".prediction").nth(1)
    root.get_by_role("button", name="spam", exact=True).click()
    root.get_by_role("button", name="✓ spam", exact=True).wait_for()
    root.get_by_role("button", name="Commit").click()
    root.get_by_role("status").filter(
        has_text="✗ Wrong: the answer is ham. You said spam."
    ).wait_for()


def test_a_click_on_train_ends_in_a_row_and_one_on_stop_is_heard(page, course):
    root = page.locator(".freeze-lab")
    type_in(root, "fx-epochs", "2")
    root.locator(".fx-train").focus()
    page.keyboard.press("Space")
    shows(root, "fx-status", "Done:")
    assert active(page) == "▶ Train" and root.get_by_role("progressbar").count() == 0
    row = root.locator(".fx-run-table tbody tr")
    (kept,) = (course / FILE).read_text().splitlines()
    assert "the book's choice · position last" in row.inner_text()
    (right,) = json.loads(kept)["right"]
    assert f"{right.count('1') / len(right):.3f}" in row.inner_text()
    type_in(root, "fx-epochs", "50")
    choose(root, "fx-seeds", "5")
    root.locator(".fx-train").click()
    root.get_by_role("progressbar").wait_for()
    shows(root, "fx-status", "of 50: validation accuracy")  # at least one epoch has ended
    root.locator(".fx-stop").click()
    shows(root, "fx-status", "Stopped: the model has the weights of")
    assert row.count() == 1


def test_a_key_changes_the_message_and_a_click_leaves_a_token_out(page):
    from playwright.sync_api import expect

    root, change = page.locator(".message-microscope"), page.locator(".mm-change")
    field, answer = root.get_by_label("Message"), root.locator(".mm-probabilities")
    written = field.input_value() + " lol"
    field.press("End")
    page.keyboard.type(" lol")
    lab.shows(root.locator('[data-token="11"]', has_text="␣lol"))
    assert field.input_value() == written and active(page, "value") == written
    before = answer.inner_text()
    chip = root.get_by_role("button", name="␣free")
    assert chip.get_attribute("title").endswith("; click to leave it out")
    chip.focus()
    page.keyboard.press("Space")
    change.filter(has_text="Without ␣free: spam").wait_for()
    assert active(page, "dataset.token") == "2" and chip.get_attribute("aria-pressed") == "true"
    expect(root.locator(".mm-attention")).not_to_contain_text("␣free")
    page.keyboard.press("Enter")
    expect(change).to_have_text("")
    assert answer.inner_text() == before
    for choice, option in (("padding", "0"), ("block", "0"), ("head", "1")):
        root.locator(f'[data-choice="{choice}"][data-option="{option}"]').click()
    shows(root, "mm-title", "last real token: block 0, head 1")
    shows(root, "mm-note", "12 tokens, then 0 of padding.")
    assert root.locator(".mm-chosen").inner_text().startswith("▸0")


def test_a_tokens_mark_and_hint_in_the_microscope_agree_with_its_table(page):
    root = page.locator(".message-microscope")
    root.get_by_text("The numbers").click()
    rows, chips = root.locator(".mm-table tbody tr"), root.locator("[data-token]")
    assert rows.count() == chips.count() > 9
    for i in range(chips.count()):
        token, sign, nats, _ = rows.nth(i).locator("th, td").all_inner_texts()
        words = f"{nats[1:]} nats towards {'spam' if nats[0] == '+' else 'ham'}"
        assert chips.nth(i).locator("span").all_inner_texts() == [token.split()[1], sign]
        hint = f"{token.split()[1]}, {words}; click to leave it out"
        assert chips.nth(i).get_attribute("title") == hint.replace(
            "0.00 nats towards spam", "0.00 nats"
        )


def test_the_arrow_keys_move_the_threshold_and_a_message_goes_to_the_microscope(page):
    from playwright.sync_api import expect

    root = page.locator(".classifier-dashboard")
    root.locator(".db-threshold").get_by_role("slider").focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    lab.shows(root.locator(".db-matrix svg[aria-label*='at threshold 0.53']"))
    box = root.get_by_role("spinbutton", name="Threshold")
    assert box.input_value() == "0.53"
    box.fill("1")
    box.press("Enter")
    shows(root, "db-figures", "No precision: no message is predicted as spam.")
    root.locator(".db-field-ham-ham").press("Enter")
    shows(root, "db-heading", "ham predicted as ham: 10 of ")
    message = root.locator(".db-message").first
    words = message.inner_text().split("  ", 1)[1]
    message.press("Enter")
    root.locator(".db-message", has_text="✓").wait_for()
    assert words in active(page)
    expect(page.locator(".mm-text")).to_have_value(words)


def test_a_classifier_of_your_own_is_trained_tried_and_saved(page, course):
    root = page.locator(".own-classes")
    shows(root, "oc-report", "90 rows read from mine.csv")
    shows(root, "fx-status", "Kept: the bag of words.")
    root.get_by_role("button", name="more settings").press("Enter")
    choose(root, "oc-plan", "head only")
    choose(root, "oc-keep", "transformer")
    type_in(root, "fx-epochs", "2")
    root.locator(".fx-train").press("Space")
    shows(root, "fx-status", "Kept: the transformer.")
    root.get_by_text("validation texts, ").filter(has_text="by the transformer").wait_for()
    root.get_by_role("button", name="fruit predicted as fruit:").click()
    page.keyboard.press("ArrowDown")
    shows(root, "oc-texts", "sport predicted as fruit: ")
    assert (
        root.locator(":focus").get_attribute("aria-label").startswith("sport predicted as fruit:")
    )
    number = root.locator(":focus").inner_text().replace("·", "0")
    assert root.locator(".oc-texts li").count() == int(number)
    type_in(root, "fx-text", "ripe <i>plum</i>")
    shows(root, "oc-answer", "The transformer predicts ")
    root.get_by_role("button", name="Save", exact=True).click()
    shows(root, "oc-saved", "OwnClassifier.load('mine.safetensors')")
    assert OwnClassifier.load(course / "mine.safetensors").labels == ("fruit", "sport", "weather")


def test_keys_and_buttons_move_the_slides(page):
    root = page.locator(".picture-slides")
    root.get_by_role("slider", name="Place").focus()
    for key, number in (("Home", 0), ("ArrowRight", 1), ("ArrowUp", 2), ("End", 9)):
        page.keyboard.press(key)
        root.locator(".sl-picture svg text", has_text=f"the disc lies at {number}").wait_for()
        root.get_by_role("status").filter(has_text=f"a disc at {number} of 9").wait_for()
    root.get_by_role("button", name="previous").press("Enter")
    root.locator(".sl-picture svg text", has_text="lies at 8").wait_for()


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 1280), ("light", 800)])
def test_all_can_be_read_in_both_themes_and_in_a_narrow_window(page, theme, width):
    folds = page.get_by_role("button", name=re.compile("^▸ Show "))
    for _ in range(folds.count()):
        folds.first.click()
    page.get_by_role("button", name=re.compile("^▾ Hide ")).first.wait_for()
    folds = page.locator(".message-microscope details")
    folds.evaluate_all("all => all.forEach(fold => { fold.open = true })")
    lab.set_theme(page, theme)
    page.set_viewport_size({"width": width, "height": 2400})
    for css in ROOTS:
        for i in range(page.locator(f".{css}").count()):
            root = page.locator(f".{css}").nth(i)
            root.scroll_into_view_if_needed()
            lab.assert_readable(root, f"{css}_{i}_{theme}_{width}")


@pytest.mark.proof
def test_a_file_is_chosen_on_the_learners_own_computer_and_its_columns_are_named(page):
    root = page.locator(".own-classes")
    table = own_table(per_class=40).rename(columns={"text": "what", "topic": "kind"})
    file = {"name": "odd.csv", "mimeType": "text/csv", "buffer": table.to_csv(index=False).encode()}
    with page.expect_file_chooser() as chooser:
        root.locator(".oc-upload").click()
    chooser.value.set_files(files=[file])
    shows(root, "oc-unread", "Choose the column of the texts of odd.csv")
    for kind, keys in (("text", ["ArrowDown"]), ("label", ["ArrowDown", "ArrowDown"])):
        root.locator(f".oc-{kind}-column select").focus()
        for key in keys:  # JupyterLab leaves them to the list
            page.keyboard.press(key)
    shows(root, "oc-report", "120 rows read from odd.csv, with texts from 'what'")
