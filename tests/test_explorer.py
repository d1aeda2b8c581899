"""The Freeze Explorer's page: its sums are Python's, and it can be used without a kernel."""

import random

import pytest

from helpers.config import MODEL_CONFIGS, gpt_config
from helpers.freezing import (
    PRESETS,
    FreezePlan,
    classifier_without_weights,
    gradient_reach,
    parameter_report,
    pieces_of,
    preset_of,
)
from helpers.model import part_names
from tests import lab
from tests.conftest import TINY, resize
from tests.lab import AXE, VIOLATIONS
from workshop.costs import training_cost
from workshop.explorer import MODULE, explorer_page, explorer_table, plan_as_json, shapes_of

NANO, SMALL, XL = "gpt2-nano (12M)", "gpt2-small (124M)", "gpt2-xl (1558M)"
SIZES = {name: gpt_config(name) for name in MODEL_CONFIGS}

pytestmark = pytest.mark.skipif(lab.missing() is not None, reason=str(lab.missing()))

IMPORT = """async source => {
    const file = new Blob([source], {type: "text/javascript"});
    window.explorer = await import(URL.createObjectURL(file));
}"""
SUMS = """([tables, cases]) => cases.map(({size, plan, batch, press, state, to}) => {
    const e = explorer, table = tables[size], states = e.statesOf(table, plan);
    const {stops, passes} = e.reach(table, plan);
    const names = [...e.partNames(table), ...e.partNames(table).flatMap(e.piecesOf)];
    return {
        costs: e.costs(table, plan, batch), stops, passes,
        states: names.map(name => e.stateOf(states, name)),
        counts: names.map(name => Object.values(e.count(table, plan, [name], batch.classes))),
        shapes: e.partNames(table).map(part => e.shapeOf(table, part, batch)),
        preset: e.presetOf(table, plan),
        toggled: e.toggle(table, plan, press, state),
        resized: e.resize(table, tables[to], plan),
    };
})"""


@pytest.fixture(scope="module")
def chromium():
    with lab.browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def module(chromium):
    """A page in which the module's functions are `explorer`."""
    page = chromium.new_page()
    page.evaluate(IMPORT, MODULE)
    yield page
    page.close()


def random_case(rng: random.Random) -> dict:
    size, to = rng.choices([*SIZES], [4, 4, 2, 1, 1], k=2)
    n_layers = SIZES[size]["n_layers"]
    pieces = [piece for part in part_names(n_layers) for piece in pieces_of(part)]
    matrices = [piece for piece in pieces if piece.endswith((".att", ".ff"))]
    rank = rng.choice([1, 4, 8, 16, 37])
    if rng.random() < 0.2:
        plan = rng.choice([*PRESETS.values()])(n_layers)
    else:
        trainable = rng.sample(pieces, rng.choice([0, 1, 1, 3, len(pieces) // 2]))
        adapted = rng.sample(matrices, rng.choice([0, 0, 1, 3, len(matrices)]))
        plan = FreezePlan(n_layers, trainable, adapted, rank)
    state = rng.choice(["trainable", "trainable", "frozen with an adapter"])
    blocks = [part for part in part_names(n_layers) if part.startswith("trf")]
    press = rng.sample(
        [*blocks, *matrices] if "adapter" in state else [*part_names(n_layers), *pieces], 1
    )
    if rng.random() < 0.2:
        press = blocks[: rng.randint(2, len(blocks))]
    batch = {"size": rng.choice([1, 2, 8, 1000]), "tokens": rng.choice([1, 4, 33, 120, 1024])}
    batch["classes"] = rng.choice([2, 3, 7])
    return {"size": size, "plan": plan, "batch": batch, "press": press, "state": state, "to": to}


def expected(case: dict) -> dict:
    """What Python says of a case, in the form of what the page returns."""
    cfg, plan = SIZES[case["size"]], case["plan"]
    b, n, classes = case["batch"].values()
    report, reach = parameter_report(cfg, plan, classes), gradient_reach(plan)
    parts = part_names(plan.n_layers)
    names = [*parts, *(piece for part in parts for piece in in_data_flow(part))]
    costs = training_cost(cfg, plan, b, n, classes)._asdict()
    counts = [report.count(name) for name in names]
    shapes = {shape.part: [*shape.shape] for shape in shapes_of(cfg, b, n, classes)}
    return {
        "costs": {"total": report.total, "trainable": report.trainable}
        | {name: cost.amount for name, cost in costs.items()},
        "stops": [*reach.ends],
        "passes": [*reach.crossed],
        "states": [plan.state(name) for name in names],
        "counts": [[count.parameters, count.trainable] for count in counts],
        "shapes": [shapes[part] for part in parts],
        "preset": preset_of(plan) or "",
        "toggled": plan.toggle(*case["press"], state=case["state"]),
        "resized": resize(plan, SIZES[case["to"]]["n_layers"]),
    }


def in_data_flow(part: str) -> tuple[str, ...]:
    return pieces_of(part, ("norm1", "att", "norm2", "ff"))


def same(plan: FreezePlan, other: FreezePlan) -> bool:
    return (plan.trainable, plan.adapted) == (other.trainable, other.adapted)


@pytest.mark.parametrize("count", [100, pytest.param(3000, marks=pytest.mark.proof)])
def test_the_page_adds_up_what_python_counts_for_random_plans(module, count):
    rng = random.Random(count)
    cases = [random_case(rng) for _ in range(count)]
    tables = {name: explorer_table(cfg) for name, cfg in SIZES.items()}
    sent = [case | {"plan": plan_as_json(case["plan"])} for case in cases]
    for case, got in zip(cases, module.evaluate(SUMS, [tables, sent]), strict=True):
        want = expected(case)
        for plan in ("toggled", "resized"):
            fields = got[plan]
            lists = fields["trainable"], fields["adapted"]
            got[plan] = FreezePlan(fields["n_layers"], *lists, fields["rank"], fields["alpha"])
            assert same(got.pop(plan), want.pop(plan)), (case, plan)
        assert got == want, case


def test_a_sentence_says_how_far_the_gradient_goes(module):
    passes = "The gradient passes through"
    for trainable, sentence in (
        (["trf_blocks.10.ff"], f"{passes} 1 block and stops at trf_blocks.10."),
        (["tok_emb", "pos_emb"], f"{passes} 12 blocks and stops at tok_emb and pos_emb."),
        (["out_head"], f"{passes} no block and stops at out_head."),
        ([], "Nothing is trainable, so there is no backward pass."),
    ):
        reach = gradient_reach(FreezePlan(12, trainable))
        sent = {"stops": [*reach.ends], "passes": [*reach.crossed]}
        assert module.evaluate("reach => explorer.describeReach(reach)", sent) == sentence


def tiny_classifier(n_layers: int):
    return classifier_without_weights(TINY | {"n_layers": n_layers})


# --- as PyTorch -----------------------------------------------------------------------------------


def test_the_copied_lines_give_a_model_the_plan(module):
    rng, cfg = random.Random(3), SIZES[NANO]
    table, model = explorer_table(cfg), tiny_classifier(6)
    pieces = [piece for part in part_names(6) for piece in pieces_of(part)]
    plans = [make(6) for name, make in PRESETS.items() if "LoRA" not in name]
    plans += [FreezePlan(6, rng.sample(pieces, rng.choice([1, 2, 9, 20]))) for _ in range(20)]
    plans += [FreezePlan(6, part_names(6)[k:]) for k in range(10)]
    for plan in [*plans, FreezePlan.lora(6, 2, rank=4)]:
        code = module.evaluate("([t, p]) => explorer.asPyTorch(t, p)", [table, plan_as_json(plan)])
        exec(code, {"model": model})
        assert FreezePlan.of(model) == plan, code


# --- a page without a kernel ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "explorer.html"
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Freeze Explorer</title>'
    path.write_text(f"{head}<main>{explorer_page()}</main></html>", encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def page(chromium, file):
    """The Explorer in a page from the disk, which asks nothing of the net and has no error."""
    context = chromium.new_context(
        viewport={"width": 1200, "height": 650},
        has_touch=True,
        permissions=["clipboard-read", "clipboard-write"],
    )
    page, asked, errors = context.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.set_default_timeout(20_000)
    page.goto(file)
    yield page
    context.close()
    assert errors == [] and [url for url in asked if not url.startswith(("file:", "data:"))] == []


def shown(page) -> FreezePlan:
    """The plan that the page shows, after a comparison of its counts with Python's."""
    root = page.locator(".freeze-explorer")
    size = root.get_attribute("data-model")
    code = copied(page)
    model = tiny_classifier(SIZES[size]["n_layers"])
    exec(code, {"model": model})
    plan = FreezePlan.of(model)
    report = parameter_report(SIZES[size], plan)
    assert root.get_attribute("data-total") == str(report.total)
    assert root.get_attribute("data-trainable") == str(report.trainable)
    assert f"{report.trainable:,} of {report.total:,} parameters" in root.inner_text()
    return plan


def copied(page) -> str:
    page.locator("[data-copy]").click()
    page.get_by_role("status").filter(has_text="Copied.").wait_for()
    return page.evaluate("navigator.clipboard.readText()")


def part(page, name: str):
    return page.locator(f'[data-part="{name}"]')


def test_a_mouse_freezes_opens_chooses_drags_and_goes_back(page):
    assert shown(page) == FreezePlan.book(12)
    part(page, "trf_blocks.11").click()
    assert part(page, "trf_blocks.11").get_attribute("aria-pressed") == "false"
    assert shown(page) == FreezePlan.last_blocks(12, 0)
    assert "0.0025 %" not in page.locator(".fe-total").inner_text()
    assert "0.00 %" not in page.locator(".fe-total").inner_text()
    page.locator('[data-open="trf_blocks.10"]').click()
    pieces = page.locator('[data-part^="trf_blocks.10."]')
    names = pieces.evaluate_all("all => all.map(e => e.dataset.part)")
    assert names == [f"trf_blocks.10.{kind}" for kind in ("ff", "norm2", "att", "norm1")]
    assert "(1, 12, 4, 64)" in part(page, "trf_blocks.10.att").inner_text()
    assert "(1, 4, 3,072)" in part(page, "trf_blocks.10.ff").inner_text()
    part(page, "trf_blocks.10.att").click()
    assert shown(page) == FreezePlan(12, {"trf_blocks.10.att", "final_norm", "out_head"})
    assert "backward" in page.locator(".fe-change").inner_text()
    part(page, "trf_blocks.8").click(modifiers=["Shift"])
    assert shown(page) == FreezePlan.last_blocks(12, 4)
    page.locator('[data-preset="nothing"]').click()
    part(page, "out_head").hover()
    page.mouse.down()
    for name in ("final_norm", "trf_blocks.11", "trf_blocks.10.ff"):
        part(page, name).hover()
    page.mouse.up()
    assert shown(page) == FreezePlan.book(12).toggle("trf_blocks.10.ff")
    page.locator("[data-undo]").click()
    assert shown(page) == FreezePlan.nothing(12)
    page.locator("[data-reset]").click()
    assert shown(page) == FreezePlan.book(12)


def test_a_keyboard_does_the_same(page):
    part(page, "out_head").focus()
    for key in ("ArrowDown", "ArrowDown", "Space"):
        page.keyboard.press(key)
    assert shown(page) == FreezePlan.last_blocks(12, 0)
    part(page, "trf_blocks.11").focus()
    for key in ("ArrowRight", "ArrowDown", "Enter", "ArrowUp", "ArrowLeft", "End", "ArrowUp"):
        page.keyboard.press(key)
    focused = "document.activeElement.dataset.part"
    assert page.evaluate(focused) == "pos_emb"
    assert page.locator('[data-part^="trf_blocks.11."]').count() == 0
    assert shown(page) == FreezePlan(12, {"trf_blocks.11.ff", "final_norm", "out_head"})
    part(page, "trf_blocks.9").focus()
    page.keyboard.press("Shift+Space")
    assert shown(page) == FreezePlan.last_blocks(12, 3)
    stops = page.locator('.fe-part[tabindex="0"]')
    assert stops.evaluate_all("all => all.map(e => e.dataset.part)") == ["trf_blocks.9"]
    page.locator('[data-preset="head only"]').press("Enter")
    assert shown(page) == FreezePlan.head_only(12)


def test_a_finger_does_the_same_on_a_phone(page):
    page.set_viewport_size({"width": 390, "height": 800})
    part(page, "trf_blocks.11").tap()
    assert shown(page) == FreezePlan.last_blocks(12, 0)
    page.locator('[data-open="trf_blocks.11"]').tap()
    part(page, "trf_blocks.11.norm1").tap()
    assert shown(page) == FreezePlan(12, {"trf_blocks.11.norm1", "final_norm", "out_head"})
    page.locator('[data-preset="everything"]').tap()
    assert shown(page) == FreezePlan.everything(12)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_another_size_keeps_the_choice_and_folds_equal_blocks(page):
    page.locator(f'[data-size="{XL}"]').click()
    assert shown(page) == FreezePlan.book(48)
    run = part(page, "trf_blocks.0 – 46")
    assert "47 transformer blocks" in run.inner_text()
    page.locator('[data-open="trf_blocks.0 – 46"]').click()
    part(page, "trf_blocks.20").click()
    assert shown(page) == FreezePlan.book(48).toggle("trf_blocks.20")
    assert part(page, "trf_blocks.21 – 46").count() == 1
    page.locator(f'[data-size="{NANO}"]').click()
    assert shown(page) == FreezePlan.last_blocks(6, 0)


def test_the_height_stays_whatever_is_chosen(page):
    heights = set()
    for click in ("[data-preset=everything]", f'[data-size="{XL}"]', f'[data-size="{NANO}"]',
                  "[data-preset=nothing]", '[data-open="trf_blocks.0"]', "[data-copy]"):  # fmt: skip
        page.locator(click).click()
        heights.add(page.locator(".freeze-explorer").bounding_box()["height"])
    assert len(heights) == 1 and heights.pop() <= 650


@pytest.mark.parametrize("width", [390, 630, 906, 1001, 1092, 1200])
def test_no_title_number_or_shape_is_cut_off(page, width):
    page.set_viewport_size({"width": width, "height": 700})
    page.locator('[data-open="trf_blocks.10"]').click()
    cells = page.locator(".fe-part b, .fe-part .fe-number, .fe-part > code:not(.fe-name)")
    cut = "all => all.filter(e => e.scrollWidth > e.clientWidth).map(e => e.innerText)"
    assert cells.count() > 60 and cells.evaluate_all(cut) == []


def test_the_address_holds_the_choice_and_brings_it_back(page, file):
    page.locator(f'[data-size="{NANO}"]').click()
    page.locator('[data-preset="last two blocks"]').click()
    assert page.url.endswith("#12M/last-two-blocks")
    part(page, "trf_blocks.0").click()
    address, plan = page.url, shown(page)
    page.goto("about:blank")
    page.goto(address)
    assert shown(page) == plan == FreezePlan.last_blocks(6, 2).toggle("trf_blocks.0")


def test_a_result_says_who_measured_it(page):
    line = page.locator(".fe-result")
    assert "95.0 %" in line.inner_text() and "the book's repository" in line.inner_text()
    part(page, "tok_emb").click()
    assert "Not measured" in line.inner_text()
    page.locator(f'[data-size="{NANO}"]').click()
    page.locator('[data-preset="the book\'s choice"]').click()
    assert "appendix 6.B" in line.inner_text()


def test_the_panel_says_what_a_step_costs_and_what_a_click_changes(page):
    page.locator("summary").click()
    page.locator('[data-field="batch_size"]').fill("64")
    page.locator('[data-field="batch_size"]').press("Enter")
    assert "Costs of one training step on 64 × 4 tokens" in page.locator("h4").all_inner_texts()
    costs = page.locator("[data-cost]")
    amounts = ["497.8 MB", "28.4 MB", "56.7 MB", "14.2 MB", "21.8 G", "3.6 G"]
    assert costs.all_inner_texts() == amounts
    assert "8 bytes for each trainable" in page.get_by_title("AdamW").get_attribute("title")
    page.locator('[data-preset="everything"]').click()
    ratios = ["× 1", "× 18", "× 18", "× 11", "× 1", "× 12"]  # of the book's choice
    assert page.locator("[data-cost] + .fe-number").all_inner_texts() == ratios
    change = "Last change: +117.4 M trainable, +1.5 GB memory, backward × 12"
    assert page.locator(".fe-change").inner_text() == change


def test_a_field_takes_what_it_can_hold_only(page):
    page.locator("summary").click()
    box = page.locator('[data-field="num_tokens"]')
    for typed, kept in (("7", "7"), ("0", "7"), ("2000", "7"), ("1024", "1024")):
        box.fill(typed)
        box.press("Enter")
        assert box.input_value() == kept
        assert f"(1, {int(kept):,}, 768)" in part(page, "final_norm").inner_text()


def test_without_scripts_there_are_a_diagram_and_a_table(chromium, file):
    page = chromium.new_page(java_script_enabled=False)
    page.goto(file)
    assert "classification head" in page.locator("img").get_attribute("alt")
    row = page.locator("tr", has_text="trf_blocks.11")
    assert row.locator("td").all_inner_texts()[:3] == ["7,087,872", "7,087,872", "trainable"]
    page.close()


@pytest.mark.proof
@pytest.mark.skipif(not AXE.exists(), reason="no axe-core: `make .overlays/axe/installed`")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(page, scheme):
    page.emulate_media(color_scheme=scheme)
    colours = {"light": "color: #111; background: #fff", "dark": "color: #eee; background: #111"}
    page.add_style_tag(content=f"body {{ {colours[scheme]} }}")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    for preset in ("nothing", "the book's choice", "everything"):
        page.locator(f'[data-preset="{preset}"]').click()
        page.locator('[data-open="trf_blocks.3"]').click()
        assert page.evaluate(VIOLATIONS, {}) == []
