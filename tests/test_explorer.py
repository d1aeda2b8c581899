"""The Freeze Explorer's page: its sums are Python's, and it can be used without a kernel."""

import random

import pytest

from helpers.config import MODEL_CONFIGS, gpt_config
from helpers.freezing import (
    PRESETS,
    FreezePlan,
    gradient_reach,
    parameter_report,
    pieces_of,
    resize,
)
from helpers.model import part_names
from tests import lab
from workshop.costs import training_cost
from workshop.explorer import MODULE, explorer_table, plan_as_json, shapes_of
from workshop.pictures.model import describe_reach

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
        said: e.describeReach({stops, passes}),
        states: names.map(name => e.stateOf(states, name)),
        counts: names.map(name => Object.values(e.count(table, plan, states, [name], batch.classes))),
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
    preset = next((name for name, make in PRESETS.items() if same(make(plan.n_layers), plan)), "")
    return {
        "costs": {"total": report.total, "trainable": report.trainable}
        | {name: cost.amount for name, cost in costs.items()},
        "stops": [*reach.ends],
        "passes": [*reach.crossed],
        "said": describe_reach(reach),
        "states": [plan.state(name) for name in names],
        "counts": [[count.parameters, count.trainable] for count in counts],
        "shapes": [shapes[part] for part in parts],
        "preset": preset,
        "toggled": plan.toggle(*case["press"], state=case["state"]),
        "resized": resize(plan, SIZES[case["to"]]["n_layers"]),
    }


def in_data_flow(part: str) -> tuple[str, ...]:
    return pieces_of(part, ("norm1", "att", "norm2", "ff"))


def same(plan: FreezePlan, other: FreezePlan) -> bool:
    return (plan.trainable, plan.adapted) == (other.trainable, other.adapted)


@pytest.mark.parametrize("count", [200, pytest.param(3000, marks=pytest.mark.proof)])
def test_the_page_adds_up_what_python_counts_for_random_plans(module, count):
    rng = random.Random(count)
    cases = [random_case(rng) for _ in range(count)]
    tables = {name: explorer_table(cfg, name) for name, cfg in SIZES.items()}
    sent = [case | {"plan": plan_as_json(case["plan"])} for case in cases]
    for case, got in zip(cases, module.evaluate(SUMS, [tables, sent]), strict=True):
        for plan in ("toggled", "resized"):
            fields = got[plan]
            lists = fields["trainable"], fields["adapted"]
            got[plan] = FreezePlan(fields["n_layers"], *lists, fields["rank"], fields["alpha"])
            want = expected(case)[plan]
            assert same(got.pop(plan), want), (case, plan)
        want = expected(case)
        del want["toggled"], want["resized"]
        assert got == want, case
