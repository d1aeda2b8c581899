"""The Freeze Explorer in the kernel: its plan, what that means, and what a page is sent."""

import random
import re

import pytest
from traitlets import TraitError

from helpers.config import MODEL_CONFIGS, gpt_config
from helpers.freezing import FreezePlan, classifier_without_weights, pieces_of, replace_head
from helpers.model import part_names
from tests.clicks import MARKS, static_form
from tests.conftest import TINY, random_model
from workshop.costs import training_cost
from workshop.explorer import MODULE, plan_as_json
from workshop.widgets import FreezeExplorer

NANO, SMALL = "gpt2-nano (12M)", "gpt2-small (124M)"
BOOK = FreezePlan.book(12)

pytestmark = MARKS


@pytest.fixture
def explorer() -> FreezeExplorer:
    return FreezeExplorer(SMALL)


def click(explorer, **sent) -> None:
    """What a click in the page sends to the kernel."""
    if "plan" in sent:
        sent["plan"] = plan_as_json(sent["plan"])
    explorer.set_state(sent)


@pytest.mark.parametrize("presses", [12, pytest.param(300, marks=pytest.mark.proof)])
def test_after_random_clicks_all_that_code_reads_is_what_torch_counts(explorer, presses):
    rng = random.Random(presses)
    for _ in range(presses):
        size = rng.choice([NANO, NANO, SMALL])
        n_layers = MODEL_CONFIGS[size]["n_layers"]
        pieces = [piece for part in part_names(n_layers) for piece in pieces_of(part)]
        plan = FreezePlan(n_layers, rng.sample(pieces, rng.randint(0, len(pieces))))
        batch_size, num_tokens, classes = rng.randint(1, 9), rng.randint(1, 99), rng.randint(2, 5)
        sizes = {"batch_size": batch_size, "num_tokens": num_tokens, "num_classes": classes}
        click(explorer, plan=plan, size=size, **sizes)
        model = classifier_without_weights(gpt_config(size), classes)
        assert explorer.apply_to(model) is model and FreezePlan.of(model) == explorer.plan == plan
        parameters = [*model.parameters()]
        trainable = sum(p.numel() for p in parameters if p.requires_grad)
        assert explorer.report.total == sum(p.numel() for p in parameters)
        assert explorer.report.trainable == trainable
        named = model.named_parameters()
        lowest = next((name for name, p in named if p.requires_grad), None)
        assert lowest is None or lowest.startswith(explorer.reach.lowest)
        cost = training_cost(gpt_config(size), plan, batch_size, num_tokens, classes)
        assert explorer.cost == cost
        shapes = {shape.part: shape.shape for shape in explorer.shapes}
        assert shapes["final_norm"] == (batch_size, num_tokens, gpt_config(size)["emb_dim"])
        assert shapes["last_token"] == (batch_size, classes)


def test_it_opens_with_the_books_choice_and_the_books_numbers(explorer):
    assert explorer.plan == BOOK and explorer.num_tokens == 4
    report = explorer.report
    assert (report.total, report.trainable) == (124_441_346, 7_090_946)
    assert explorer.tokens == ["Do", "␣you", "␣have", "␣time"]


def test_a_plan_that_code_sets_is_what_the_page_is_sent(explorer):
    explorer.plan = FreezePlan.last_blocks(12, 2)
    sent = explorer.get_state()["plan"]
    assert sent == plan_as_json(FreezePlan.last_blocks(12, 2))
    for wrong in (FreezePlan.book(6), "everything"):
        with pytest.raises((ValueError, TraitError)):
            explorer.plan = wrong
    assert explorer.plan == FreezePlan.last_blocks(12, 2)


def test_a_message_sets_the_tokens_and_one_that_cannot_be_read_gets_a_sentence(explorer):
    click(explorer, message="<b>Win</b> now")
    assert explorer.tokens[0] == "<" and explorer.num_tokens == len(explorer.tokens)
    before = explorer.tokens
    for message, words in (
        ("", "the message is empty"),
        ("word " * 1100, "context length of 1024"),
    ):
        click(explorer, message=message)
        assert words in explorer.problem and explorer.tokens == before
    click(explorer, message="ok")
    assert explorer.problem == "" and explorer.tokens == ["ok"]


def test_a_loaded_model_brings_its_own_plan_and_classes_and_is_left_as_it_is():
    model = replace_head(random_model(TINY), 5)
    plan = FreezePlan(3, {"trf_blocks.0.att", "out_head"})
    plan.apply(model)
    explorer = FreezeExplorer(model)
    assert explorer.plan == plan and explorer.num_classes == 5 and explorer.classes_fixed
    assert explorer.cfg == model.cfg
    explorer.plan = FreezePlan.everything(3)
    assert FreezePlan.of(model) == plan
    assert FreezePlan.of(explorer.apply_to(model)) == FreezePlan.everything(3)


def test_what_cannot_be_shown_is_refused_with_a_reason():
    for arguments, words in (
        (("gpt2-tiny",), "gpt2-tiny"),
        ((NANO, "text", 1), "num_classes"),
        ((NANO, 5), "text"),
        ((random_model(TINY),), "language-model head"),
    ):
        with pytest.raises((ValueError, TypeError), match=re.escape(words)):
            FreezeExplorer(*arguments)


def test_a_page_without_a_kernel_gets_the_live_explorer_and_a_table(explorer, monkeypatch):
    explorer.plan = FreezePlan.head_only(12)
    data = static_form(explorer, monkeypatch)
    html = data["text/html"]
    assert MODULE in html and '"trainable":["out_head"]' in html and '"has_kernel":' not in html
    assert '<th scope="row">trf_blocks.0 – 11</th>' in html and "0.001 % trainable" in html
    assert data["text/plain"].endswith("0.001 % trainable")
