"""The Freeze Explorer shows what torch counts, whatever is clicked, typed or chosen, without a browser."""

import random
import re
from xml.etree import ElementTree

import pytest
import torch

from helpers.config import MODEL_CONFIGS, gpt_config
from helpers.freezing import (
    PRESETS,
    FreezePlan,
    classifier_without_weights,
    pieces_of,
    preset_of,
    replace_head,
    resize,
)
from helpers.model import part_names
from helpers.tokenizer import encode_message, get_tokenizer, visible_tokens
from helpers.training import class_probabilities
from tests.clicks import choose, chosen, click, each, one, press, rows, static_form, text_of
from tests.conftest import TINY, random_model
from workshop.costs import training_cost, work_of_training
from workshop.pictures.model import say_probabilities, say_reach
from workshop.widgets import FreezeExplorer

NANO, SMALL, XL = "gpt2-nano (12M)", "gpt2-small (124M)", "gpt2-xl (1558M)"
LOADED = "the loaded model"
MARKS = {"frozen": "❄", "trainable": "✎", "partly trainable": "❄✎", "frozen with an adapter": "❄+"}
TRAINS, ADAPTS = "trains or freezes", "adds or takes an adapter"
TEXT, LONG = "Do you have time", "word " * 50

pytestmark = [
    pytest.mark.usefixtures("no_callback_fails"),
    pytest.mark.filterwarnings("ignore:The `ipykernel.comm.Comm` class:DeprecationWarning"),
]  # which 7.7.1 itself uses


@pytest.fixture
def explorer() -> FreezeExplorer:
    return FreezeExplorer(SMALL)


# --- what the tower and the tables say --------------------------------------------------------------


def columns(toggle) -> tuple[str, ...]:
    """The words on a toggle of the tower: mark, name, number of parameters, state."""
    return re.fullmatch(r"(\S+) +(\S+(?: – \d+)?) +([\d,]+)  (\D+)", toggle.description).groups()


def parts_in(name: str) -> list[str]:
    """The parts that a name stands for: "trf_blocks.3 – 5" → three blocks."""
    first, _, last = name.partition(" – ")
    if not last:
        return [first]
    return [f"trf_blocks.{i}" for i in range(int(first.split(".")[1]), int(last) + 1)]


def drawn(explorer) -> list[str]:
    """The texts in the picture."""
    root = ElementTree.fromstring(one(explorer, "fx-shapes").value)
    return ["".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")]


def torch_counts(model, *names: str) -> tuple[int, int, str]:
    """Parts' parameters together, how many of them torch will train, and so the state."""
    named = [pair for name in names for pair in model.get_submodule(name).named_parameters()]
    total = sum(p.numel() for _, p in named)
    trainable = sum(p.numel() for _, p in named if p.requires_grad)
    if trainable in (0, total):
        return total, trainable, "trainable" if trainable else "frozen"
    adapters = sum(p.numel() for name, p in named if "lora_" in name)
    # each matrix has its adapter: then all of the part is adapted, not a piece of it
    matrices = [name for name, _ in named if name.endswith("weight") and "lora_" not in name]
    on_all = sum("lora_A" in name for name, _ in named) == len(matrices)
    only_adapters = on_all and adapters == trainable
    return total, trainable, "frozen with an adapter" if only_adapters else "partly trainable"


def check(explorer, model=None, num_tokens: int = 4) -> None:
    """Compare all that is shown with what torch says of a model with the shown plan."""
    batch, classes = one(explorer, "fx-batch").value, one(explorer, "fx-classes").value
    if model is None:
        model = classifier_without_weights(gpt_config(chosen(explorer, "fx-model")), classes)
    explorer.apply_to(model)
    plan, parts = FreezePlan.of(model), part_names(len(model.trf_blocks))
    check_tower(explorer, model, parts)

    assert explorer.plan == plan
    if preset_of(plan):
        assert chosen(explorer, "fx-preset") == preset_of(plan)
    trainable_parts = [part for part in parts if torch_counts(model, part)[1]]
    assert explorer.reach.lowest == next(iter(trainable_parts), None)
    assert text_of(explorer, "fx-reach") == say_reach(explorer.reach)
    assert explorer.cost == training_cost(model.cfg, plan, batch, num_tokens, classes)
    assert rows(explorer, "fx-amounts") == [[item.what, str(item)] for item in explorer.cost]
    settings = {"batch_size": batch, "num_classes": classes}
    work = work_of_training(model.cfg, plan, [num_tokens] * 1045, [num_tokens] * 149, **settings)
    assert explorer.work == work
    assert rows(explorer, "fx-work") == [[item.what, str(item)] for item in work]

    total, trainable, _ = torch_counts(model, "")
    percent = f"{100 * trainable / total:.2f} %"
    assert text_of(explorer, "fx-counts") == (
        f"{total:,} parameters, {trainable:,} trainable, {total - trainable:,} frozen: "
        f"{percent} trainable"
    )
    in_all = f"{trainable:,} of {total:,} parameters trainable ({percent})"
    assert f'aria-label="{in_all}"' in one(explorer, "fx-share").value

    size = (batch, num_tokens)
    shapes = dict.fromkeys(parts, (*size, model.cfg["emb_dim"]))
    shapes |= {"pos_emb": (num_tokens, model.cfg["emb_dim"]), "token_ids": size}
    shapes |= {"out_head": (*size, classes), "last_token": (batch, classes)}
    assert {shape.part: shape.shape for shape in explorer.shapes} == shapes
    words = explorer.drawing.words
    assert explorer.drawing.svg == one(explorer, "fx-shapes").value and in_all in words
    *table, sums = rows(explorer, "fx-table")
    assert sums == ["total", f"{total:,}", f"{trainable:,}", f"{percent} trainable", "", ""]
    assert [part for row in reversed(table) for part in parts_in(row[0])] == [*parts]
    ends = [row[5] for row in table].count("ends here")
    assert ends == words.count("the gradient ends") == len(explorer.reach.ends)
    for name, number, learned, state, shape, _ in table:
        total, trainable, true_state = torch_counts(model, *parts_in(name))
        assert (number, learned, state) == (f"{total:,}", f"{trainable:,}", true_state)
        assert {str(shapes[part]) for part in parts_in(name)} == {shape}
        assert f"({name}): {number} parameters, {state}, puts out {shape}" in words


def check_tower(explorer, model, parts: tuple[str, ...]) -> None:
    """Each part is there once, the output at the top, and below an open line what is inside."""
    toggles = each(explorer, "fx-toggle")
    lines = [columns(toggle)[1] for toggle in toggles]
    for toggle, name in zip(toggles, lines, strict=True):
        total, _, state = torch_counts(model, *parts_in(name))
        assert columns(toggle) == (MARKS[state], name, f"{total:,}", state)
        assert toggle.value == (state == "trainable")
        css = name.replace(" – ", "-").replace(".", "-")
        assert {*toggle._dom_classes} == {
            "fx-toggle", f"fx-part-{css}", f"fx-is-{state.replace(' ', '-')}",
        }  # fmt: skip
    openers = [opener.description for opener in each(explorer, "fx-open")]
    assert [name.split(" ", 2)[2] for name in openers] == [n for n in lines if n.count(".") == 1]
    opened = {name.removeprefix("▾ close ") for name in openers if name.startswith("▾")}
    shown = []
    for i, name in enumerate(lines):
        if name in opened and "–" not in name:
            assert tuple(lines[i + 1 : i + 5]) == pieces_of(name)
        if name.count(".") < 2 and not ("–" in name and name in opened):
            shown += reversed(parts_in(name))
    assert shown == [*reversed(parts)]
    assert sum(name.count(".") == 2 for name in lines) == 4 * sum("–" not in n for n in opened)


# --- whatever is clicked --------------------------------------------------------------------------


def do_something(explorer, rng: random.Random) -> str:
    """Do one thing that a learner could do, see that the plan becomes what it should; return it."""
    plan = expected = explorer.plan
    kinds = ("toggle", "open", "preset", "size", "input", "press", "rank")
    kind, what = rng.choices(kinds, (60, 22, 6, 3, 3, 6, 4))[0], ""
    if kind == "toggle":
        toggles = each(explorer, "fx-toggle")
        toggle = rng.choice(toggles)
        what = columns(toggle)[1]
        expected = after_press(explorer, plan, parts_in(what))
        press(toggle)
        assert each(explorer, "fx-toggle") == toggles  # nothing moves under the mouse
    elif kind == "open":
        what = rng.choice(each(explorer, "fx-open")).description
        assert click(explorer, what) in each(explorer, "fx-open")  # it keeps the keyboard's focus
    elif kind == "preset":
        what = rng.choice([*PRESETS])
        is_chosen = each(one(explorer, "fx-preset"), "fx-choice")[[*PRESETS].index(what)].value
        expected = plan if is_chosen else of_rank(explorer, PRESETS[what](plan.n_layers))
        choose(explorer, "fx-preset", what)
    elif kind == "size":
        what = rng.choices([*MODEL_CONFIGS], (4, 4, 2, 1, 1))[0]
        expected = resize(plan, gpt_config(what)["n_layers"])
        choose(explorer, "fx-model", what)
    elif kind == "press":
        choose(explorer, "fx-press", rng.choice([TRAINS, ADAPTS]))
    elif kind == "rank":
        choose(explorer, "fx-rank", rng.choice(["1", "4", "8", "16"]))
        expected = of_rank(explorer, plan)
    else:
        what, value = rng.choice([("fx-batch", 1), ("fx-batch", 8), ("fx-classes", 5)])
        one(explorer, what).value = value
    assert explorer.plan == expected
    return f"{kind} {what}"


def after_press(explorer, plan: FreezePlan, parts: list[str]) -> FreezePlan:
    """The plan that a press on parts leads to; where no adapter fits, the one before it."""
    if chosen(explorer, "fx-press") == TRAINS:
        return plan.toggle(*parts)
    if any(re.fullmatch(r"trf_blocks\.\d+(\.att|\.ff)?", part) is None for part in parts):
        return plan
    return of_rank(explorer, plan.adapt(*parts))


def of_rank(explorer, plan: FreezePlan) -> FreezePlan:
    rank = int(chosen(explorer, "fx-rank"))
    return FreezePlan(plan.n_layers, plan.trainable, plan.adapted, rank, 2.0 * rank)


@pytest.mark.parametrize("sequences", [8, pytest.param(1000, marks=pytest.mark.proof)])
def test_after_random_presses_everything_shown_equals_torchs_own_counts(sequences):
    rng = random.Random(0)
    for i in range(sequences):
        if i % 10 == 0:
            explorer = FreezeExplorer((NANO, SMALL, XL)[i // 10 % 3])
        for _ in range(rng.randint(1, 4)):
            print(do_something(explorer, rng))  # pytest shows this only where the test fails
        if len(explorer.plan.adapted) <= 6 or i % 10 == 0:  # torch takes seconds for hundreds
            check(explorer)


def test_a_learner_sees_the_numbers_of_the_book_whatever_is_refused(explorer):
    with pytest.raises(ValueError, match="the plan is for 6 blocks, the configuration has 12"):
        explorer.plan = FreezePlan.book(6)
    with pytest.raises(ValueError, match="give it a new one with replace_head"):
        FreezeExplorer(random_model(TINY))
    assert text_of(explorer, "fx-counts") == (
        "124,441,346 parameters, 7,090,946 trainable, 117,350,400 frozen: 5.70 % trainable"
    )
    assert text_of(explorer, "fx-reach").endswith("on its way down it crosses no block.")
    shapes = {"token ids (1, 4)", "→ (1, 4, 768)", "→ (1, 4, 2)", "→ (1, 2)"}
    assert {"Do", "␣you", "␣have", "␣time"} | shapes <= {*drawn(explorer)}


def test_a_press_on_a_block_opens_four_pieces_until_it_is_closed(explorer):
    opener = click(explorer, "open trf_blocks.3")
    for piece in pieces_of("trf_blocks.3"):
        press(one(explorer, f"fx-part-{piece.replace('.', '-')}"))
    check(explorer)
    assert explorer.plan == FreezePlan.book(12).toggle("trf_blocks.3")
    choose(explorer, "fx-preset", "nothing")
    press(one(explorer, "fx-part-trf_blocks-3-norm2"))
    assert click(explorer, "close trf_blocks.3") is opener  # the keyboard's focus stays
    assert explorer.plan.trainable == {"trf_blocks.3.norm2"}  # closing hides, it does not change
    check(explorer)


def test_a_press_adds_and_takes_an_adapter_of_the_rank_that_is_chosen(explorer):
    choose(explorer, "fx-preset", "head only")
    choose(explorer, "fx-press", ADAPTS)
    choose(explorer, "fx-rank", "4")
    block = one(explorer, "fx-part-trf_blocks-11")
    press(block)
    assert explorer.plan == FreezePlan.lora(12, 1, rank=4, alpha=8.0)
    assert columns(block)[3] == "frozen with an adapter"
    assert chosen(explorer, "fx-preset") == "LoRA, last block"
    check(explorer)
    press(block)
    assert explorer.plan == FreezePlan.head_only(12)
    press(one(explorer, "fx-part-tok_emb"))
    assert "tok_emb takes no adapter" in text_of(explorer, "fx-note")
    assert '<p role="alert">' in one(explorer, "fx-note").value
    assert explorer.plan == FreezePlan.head_only(12)
    press(one(explorer, "fx-part-trf_blocks-0"))
    assert text_of(explorer, "fx-note") == ""
    choose(explorer, "fx-rank", "1")
    choose(explorer, "fx-preset", "LoRA, all blocks")
    assert explorer.plan == FreezePlan.lora(12, rank=1, alpha=2.0)


def test_the_47_equal_blocks_of_xl_open_and_close_again(explorer):
    choose(explorer, "fx-model", XL)
    assert len(each(explorer, "fx-toggle")) == 6
    opener = click(explorer, "open trf_blocks.0 – 46")
    assert len(each(explorer, "fx-toggle")) == 53 and opener in each(explorer, "fx-open")
    press(one(explorer, "fx-part-trf_blocks-20"))
    assert click(explorer, "close trf_blocks.0 – 46") is opener
    check(explorer)


def test_a_text_that_cannot_be_read_gets_a_sentence_and_the_last_picture_stays(explorer):
    before = one(explorer, "fx-shapes").value
    for text, problem in (
        ("word " * 2000, "2001 tokens are more than the context length of 1024; cut the text"),
        ("", "the message is empty (''): nothing to classify"),
    ):
        one(explorer, "fx-text").value = text
        sentence = f"{problem}. The picture shows the last message that the model could take."
        assert one(explorer, "fx-shapes").value == before
        assert text_of(explorer, "fx-problem") == sentence
    assert '<p role="alert">' in one(explorer, "fx-problem").value
    one(explorer, "fx-text").value = "Hello"
    assert text_of(explorer, "fx-problem") == "" and "Hello" in drawn(explorer)
    check(explorer, num_tokens=1)


def test_what_is_typed_is_shown_as_text_and_never_as_markup(explorer):
    for text in (
        "</svg><script>alert(1)</script>&amp;\"'",
        "a\n\x00\x1b[31m<|endoftext|> 👩‍👧 \ud800",
    ):
        one(explorer, "fx-text").value = text
        token_ids = encode_message(text, get_tokenizer())
        assert visible_tokens(token_ids, get_tokenizer())[0] in drawn(explorer)
        check(explorer, num_tokens=len(token_ids))


def test_the_formulas_of_the_costs_are_a_press_away(explorer):
    click(explorer, "Show how the costs are computed")
    press(one(explorer, "fx-part-tok_emb"))
    costs = [*explorer.cost, *explorer.work]
    assert rows(explorer, "fx-formulas") == [[cost.what, cost.formula] for cost in costs]
    click(explorer, "Hide how the costs are computed")
    assert not each(explorer, "fx-formulas")


# --- a loaded model -------------------------------------------------------------------------------


def loaded(plan: FreezePlan, num_classes: int = 2):
    """A model of three blocks with a context of 32."""
    return plan.apply(replace_head(random_model(TINY), num_classes))


def answers(explorer) -> list[str]:
    return [words for words in drawn(explorer) if re.match(r"(ham|class) \d", words)]


def test_a_loaded_model_brings_its_own_plan_and_classes_and_is_left_as_it_is():
    plan = FreezePlan(3, {"trf_blocks.1.att", "final_norm"})
    model = loaded(plan, 1500).train()
    explorer = FreezeExplorer(model)
    classes = one(explorer, "fx-classes")
    assert explorer.plan == plan and classes.value == 1500 and classes.disabled
    choose(explorer, "fx-preset", "everything")
    choose(explorer, "fx-model", SMALL)
    assert not classes.disabled
    classes.value = 7
    check(explorer)
    choose(explorer, "fx-model", LOADED)
    assert classes.disabled and model.training
    assert FreezePlan.of(model) == plan  # until the shown plan is applied to it
    check(explorer, model)


def test_a_press_runs_the_model_as_it_is_now_and_the_next_change_takes_the_answer_away():
    model, row = loaded(FreezePlan.book(3)), torch.tensor([encode_message(TEXT, get_tokenizer())])
    explorer = FreezeExplorer(model)
    for change in (
        lambda: press(one(explorer, "fx-part-tok_emb")),
        lambda: setattr(one(explorer, "fx-text"), "value", LONG),  # too long for it
        lambda: choose(explorer, "fx-model", SMALL),
    ):
        assert answers(explorer) == []
        click(explorer, "Run the loaded model on this message")
        assert answers(explorer) == [say_probabilities(class_probabilities(model, row)[0])]
        assert one(explorer, "fx-classes").value == model.out_head.out_features
        replace_head(model, model.out_head.out_features + 1)
        change()
    assert answers(explorer) == []
    assert not each(explorer, "fx-run")  # without weights there is nothing to run
    choose(explorer, "fx-model", LOADED)
    check(explorer, model, 32)  # as much of the message as the context holds


def test_a_page_without_a_kernel_gets_picture_table_and_words(explorer, monkeypatch):
    data = static_form(explorer, monkeypatch)
    assert data["image/svg+xml"] == one(explorer, "fx-shapes").value
    tables = [one(explorer, css).value for css in ("fx-table", "fx-amounts", "fx-work")]
    assert data["text/html"] == "".join(tables)
    assert data["text/plain"] == explorer.drawing.words
