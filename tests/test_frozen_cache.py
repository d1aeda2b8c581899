"""The frozen prefix runs once for each message, and what it put out is used again only where it is
the same.
"""

import copy
import shutil
import subprocess
import sys
import weakref
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from helpers import training
from helpers.freezing import FreezePlan
from helpers.model import MultiHeadAttention, TransformerBlock, without_causal_mask
from helpers.training import (
    POSITIONS,
    attention_at,
    block_at,
    precision_on,
    rows_and_places,
    run_blocks,
)
from tests.conftest import ROOT, TINY
from tests.test_fine_tuning import (
    BOOK,
    PLANS,
    TRAIN,
    VALIDATION,
    assert_near,
    classifier,
    data,
    made_up,
    tune,
)
from workshop import fast as frozen_cache
from workshop.fast import FrozenOutputs, fingerprints, forget, frozen_outputs, frozen_outputs_steps


@pytest.fixture(autouse=True)
def nothing_kept():
    forget()
    yield
    forget()


# --- a block that answers for one position ---


@pytest.mark.parametrize("n", [1, 9])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("qkv_bias", [True, False])
@pytest.mark.parametrize(
    ("kind", "at"), [(MultiHeadAttention, attention_at), (TransformerBlock, block_at)]
)
def test_one_position_of_a_block_has_the_values_and_gradients_of_all_positions(
    kind, at, qkv_bias, causal, n
):
    torch.manual_seed(0)
    block = kind(TINY | {"qkv_bias": qkv_bias}).double()
    getattr(block, "att", block).causal = causal
    x, out_gradient = torch.randn(5, n, 8).double(), torch.randn(5, 8).double()
    positions = torch.tensor([0, 3, 8, 5, 0]) % n
    results = []
    for run in (lambda x: block(x)[range(5), positions], lambda x: at(block, x, positions)):
        entered = x.clone().requires_grad_()
        out = run(entered)
        block.zero_grad()
        out.backward(out_gradient)
        results.append(
            [out.detach(), entered.grad, *(parameter.grad for parameter in block.parameters())]
        )
    for all_positions, one in zip(*results, strict=True):
        assert_near(one, all_positions, 1e-12)


def test_dropout_acts_on_one_position_as_on_all():
    block, x = classifier(drop_rate=0.5).trf_blocks[0].train(), torch.randn(400, 1, 8)
    results = []  # with one token each, both ways draw as many random numbers
    for run in (
        lambda: block(x)[:, 0],
        lambda: block_at(block, x, torch.zeros(400, dtype=torch.long)),
    ):
        torch.manual_seed(1)
        results.append(run())
    assert_near(*results, 1e-5)
    assert (results[0] - block.eval()(x)[:, 0]).abs().mean() > 0.1


def test_two_runs_of_some_blocks_each_give_what_one_run_of_all_gives():
    model, positions = classifier(), torch.tensor([3, 7])
    with torch.no_grad():
        x = model.embed(torch.randint(1000, (2, 8)))
        whole = model.trf_blocks(x)[range(2), positions].unsqueeze(1)
        for stop in range(3):
            half = run_blocks(model, x, positions, 0, stop)
            assert_near(half, model.trf_blocks[:stop](x), 1e-5)
            assert_near(run_blocks(model, half, positions, stop, 3), whole, 1e-5)
        assert run_blocks(model, whole, positions * 0, 3, 3) is whole


# --- what is kept ---


def kept_of(model, num_blocks=2, messages=TRAIN, position="last", **settings) -> FrozenOutputs:
    rows_and_their_places = rows_and_places(model, messages.encoded_texts, position)
    return frozen_outputs(model, *rows_and_their_places, num_blocks, **settings)


def first_loss(model, plan=BOOK, train=TRAIN, **settings) -> float:
    """The loss over all training messages, before the first step."""
    model = copy.deepcopy(model)
    return tune(model, plan, train, epochs=1, batch_size=len(train), **settings).step_losses[0]


@pytest.mark.parametrize("mask", ["causal", "none"])
@pytest.mark.parametrize("position", POSITIONS)
def test_each_messages_rows_are_what_the_frozen_blocks_put_out_for_it_alone(position, mask):
    model = classifier() if mask == "causal" else without_causal_mask(classifier())
    rows, places = rows_and_places(model, TRAIN.encoded_texts, position)
    for num_blocks in range(4):  # from the second on, what was kept goes on from where it ended
        kept = frozen_outputs(model, rows, places, num_blocks)
        for i, ids in enumerate(rows):
            with torch.no_grad():
                alone = model.trf_blocks[:num_blocks](model.embed(torch.tensor([ids])))[0]
            if num_blocks == 3 and places is not None:
                alone = alone[[places[i]]]
            assert_near(kept.of(i), alone, 1e-5)


@pytest.mark.parametrize(
    "name", ["the last block", "attention of the last block", "no block", "head only"]
)
def test_what_is_kept_serves_plans_with_the_same_or_a_higher_boundary(name):
    model = classifier()
    tune(copy.deepcopy(model))
    model.trf_blocks[2].norm2.scale.data += 0.5  # above the boundary: of no matter
    right, right_below = (
        first_loss(model, plan, cache=False) for plan in (PLANS[name], PLANS["two blocks"])
    )
    kept_of(model).rows.fill_(1.0)  # spoiled: who uses it shows it
    assert abs(first_loss(model, PLANS[name]) - right) > 1e-2
    assert first_loss(model, PLANS["two blocks"]) == pytest.approx(right_below, abs=1e-5)


def add_to(name):
    def change(model):
        model.get_parameter(name).data[
            TRAIN.encoded_texts[0][0] if name == "tok_emb.weight" else 3
        ] += 0.01

    return change


def take_a_mask(model):
    model.trf_blocks[1].att.causal = False


def give_four_heads(model):
    model.cfg["n_heads"] = 4
    for block in model.trf_blocks:
        block.att.num_heads = 4


TEXTS = TRAIN.data["Text"].tolist()
CHANGES = {  # what is done to the model, and what is asked for then
    "a weight of a token": (add_to("tok_emb.weight"), {}),
    "a weight of a position": (add_to("pos_emb.weight"), {}),
    "a weight of the first block": (add_to("trf_blocks.0.ff.layers.2.bias"), {}),
    "a weight of the last frozen block": (add_to("trf_blocks.1.norm2.shift"), {}),
    "the heads": (give_four_heads, {}),
    "the causal mask": (take_a_mask, {}),
    "a word": (None, {"train": data(TEXTS[0] + " sorry", *TEXTS[1:], max_length=TRAIN.max_length)}),
    "the order": (None, {"train": data(*reversed(TEXTS))}),
    "the position": (None, {"position": "last_token"}),
    "the precision": (None, {"precision": "bfloat16"}),
}


@pytest.mark.parametrize(("change", "settings"), CHANGES.values(), ids=CHANGES)
def test_what_is_kept_is_not_used_when_anything_below_the_boundary_differs(change, settings):
    model = classifier()
    tune(copy.deepcopy(model))
    kept_of(model).rows.fill_(1.0)
    if change:
        change(model)
    loss = first_loss(model, **settings)
    forget()
    assert loss == pytest.approx(first_loss(model, **settings), abs=1e-6)


def test_what_is_kept_is_not_used_when_an_adapter_below_the_boundary_differs():
    plain, messages = classifier(), TRAIN.encoded_texts
    models = [
        FreezePlan.lora(3, rank=2, alpha=alpha).apply(copy.deepcopy(plain)) for alpha in (4, 8)
    ]
    for model in models:
        for block in model.trf_blocks:
            torch.nn.init.constant_(block.ff.layers[2].lora_A.default.weight, 0.1)
            torch.nn.init.constant_(block.ff.layers[2].lora_B.default.weight, 0.1)
    models[0].load_state_dict(models[1].state_dict())  # alike but for alpha
    models.append(copy.deepcopy(models[1]))
    torch.nn.init.constant_(models[2].trf_blocks[0].ff.layers[2].lora_B.default.weight, 0.2)
    for model in (plain, *models):
        kept = frozen_outputs(model, messages, None, 2)
        with torch.no_grad():
            right = model.trf_blocks[:2](model.embed(torch.tensor(messages[:1])))
        assert_near(kept.of(0), right[0], 1e-5)


def test_positions_without_a_mask_share_all_but_the_last_blocks_output():
    model = without_causal_mask(classifier())
    assert len({id(kept_of(model, 2, position=position)) for position in POSITIONS}) == 1
    outputs = {position: kept_of(model, 3, position=position).rows for position in POSITIONS}
    of_all = outputs.pop("mean").view(len(TRAIN), TRAIN.max_length, 8)
    for position, rows in outputs.items():
        _, places = rows_and_places(model, TRAIN.encoded_texts, position)
        assert_near(rows, of_all[range(len(TRAIN)), places], 1e-5)


def test_a_stop_between_two_slices_leaves_no_half_filled_table(monkeypatch):
    monkeypatch.setattr(training, "TOKENS_AT_ONCE", 20)
    steps = frozen_outputs_steps(classifier(), TRAIN.encoded_texts, None, 2)
    assert 0 < next(filter(None, steps)) < len(TRAIN) and torch.is_grad_enabled()
    steps.close()
    assert frozen_cache._cache == []
    done = [*filter(None, frozen_outputs_steps(classifier(), TRAIN.encoded_texts, None, 2))]
    assert sum(done) == len(TRAIN) and len(done) > 5 and len(frozen_cache._cache) == 1


def test_what_a_shallower_model_kept_at_its_end_does_not_serve_a_deeper_one():
    deep, shallow = classifier(n_layers=4), classifier()
    shallow.load_state_dict(
        {name: tensor for name, tensor in deep.state_dict().items() if "trf_blocks.3" not in name}
    )
    tune(shallow, FreezePlan.head_only(3))
    right = first_loss(deep, FreezePlan.book(4), cache=False)
    assert first_loss(deep, FreezePlan.book(4)) == pytest.approx(right, abs=1e-5)


# --- where it lies ---


def test_a_gpu_without_bfloat16_gets_float16(monkeypatch):
    monkeypatch.setattr(
        torch.cuda, "get_device_capability", lambda device: (7, 5) if device.index == 0 else (8, 0)
    )
    monkeypatch.setattr(torch.backends.mps, "is_macos_or_newer", lambda major, minor: False)
    devices = [
        torch.device("cuda:0"),
        torch.device("cuda:1"),
        torch.device("mps"),
        torch.device("cpu"),
    ]
    assert [precision_on(d, "bfloat16") for d in devices] == [
        "float16",
        "bfloat16",
        "float16",
        "bfloat16",
    ]
    assert {precision_on(d, "float32") for d in devices} == {"float32"}


def test_weights_in_bfloat16_have_a_fingerprint():
    model = classifier().bfloat16()
    assert len(fingerprints(model, TRAIN.encoded_texts, None, 2, "float32")) == 3


def test_to_forget_gives_the_memory_back():
    kept = kept_of(classifier())
    assert kept_of(classifier()) is kept
    rows = weakref.ref(kept.rows)
    del kept
    assert rows() is not None
    forget()
    assert rows() is None


def test_memory_holds_what_was_kept_last(monkeypatch, tmp_path):
    model = classifier()
    on_disk = kept_of(model, 2, VALIDATION, folder=tmp_path)
    first, second = kept_of(model, 0), kept_of(model, 1)
    monkeypatch.setattr(frozen_cache, "MEMORY_LIMIT", 2 * first.rows.nbytes)
    third = kept_of(model, 2)
    assert kept_of(model, 2) is third and kept_of(model, 1) is second
    assert kept_of(model, 2, VALIDATION) is on_disk  # to give that up would make no room in memory
    assert kept_of(model, 0) is not first


def tables_on_disk(folder: Path) -> int:
    return Path("/proc/self/maps").read_text().count(str(folder))


linux = pytest.mark.skipif(
    not Path("/proc/self/maps").exists(), reason="only Linux tells which files are in use"
)


@linux
def test_the_disk_holds_a_few_tables_and_not_one_for_all_that_was_ever_kept(tmp_path):
    for count in range(1, 13):
        kept_of(classifier(), 0, data("see" + " you" * count), folder=tmp_path)
    assert 2 <= tables_on_disk(tmp_path) <= 8


@linux
@pytest.mark.parametrize("too_large", [True, False], ids=["beyond the limit", "a folder given"])
def test_what_is_kept_on_disk_gives_the_same_numbers_and_the_space_back(
    too_large, tmp_path, monkeypatch
):
    right = tune(classifier(), cache=False).step_losses
    if too_large:
        monkeypatch.setattr(frozen_cache, "MEMORY_LIMIT", 1000)
        monkeypatch.setattr(frozen_cache.tempfile, "tempdir", str(tmp_path))
    for _ in range(2):  # the second time it is there already
        assert_near(
            tune(classifier(), cache="auto" if too_large else str(tmp_path)).step_losses,
            right,
            1e-5,
        )
        assert tables_on_disk(tmp_path) == 2  # of the training and of the validation messages
    forget()
    assert tables_on_disk(tmp_path) == 0 and list(tmp_path.iterdir()) == []


@contextmanager
def small_disk(folder: Path):
    """Let `folder` be a disk of 64 kB."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root on Linux can mount a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def small_files(folder: Path):
    """Let no file grow beyond 64 kB."""
    resource = pytest.importorskip(
        "resource", reason="there is no way to limit a file's size on Windows"
    )
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64_000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("limit", [small_disk, small_files])
def test_a_disk_without_room_is_an_error_that_says_what_to_do_and_leaves_nothing(limit, tmp_path):
    many, model = made_up(600, seed=2), classifier()
    with limit(tmp_path):
        with pytest.raises(
            OSError, match="no room for the .* give cache= a folder with more room, or False"
        ) as caught:
            tune(model, train=many, cache=tmp_path)
        assert (
            str(tmp_path) in str(caught.value)
            and list(tmp_path.iterdir()) == []
            and not model.training
        )
    for parameter, before in zip(model.parameters(), classifier().parameters(), strict=True):
        assert torch.equal(parameter, before)


TABLES = """
import sys, torch
from workshop.fast import frozen_outputs
from tests.test_fine_tuning import TRAIN, classifier
outputs = frozen_outputs(classifier(), TRAIN.encoded_texts, None, 2, folder=sys.argv[1])
print(outputs.rows.double().sum().item())
"""


def test_processes_that_fill_one_folder_at_once_do_not_meet(tmp_path):
    command = [sys.executable, "-c", TABLES, str(tmp_path)]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    sums = [float(process.communicate()[0]) for process in processes]
    here = frozen_outputs(classifier(), TRAIN.encoded_texts, None, 2).rows.double().sum().item()
    assert sums == pytest.approx([here] * 3, abs=1e-3)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("causal", [True, False])
def test_a_block_without_gradient_puts_out_what_it_does_with_one(causal):
    model = classifier(context_length=300)
    if not causal:
        without_causal_mask(model)
    x = torch.randn(3, 300, TINY["emb_dim"])
    with_gradient = run_blocks(model, x, None, 0, 3)
    assert with_gradient.requires_grad
    with torch.no_grad():
        found = run_blocks(model, x, None, 0, 3)
    torch.testing.assert_close(found, with_gradient.detach(), atol=1e-5, rtol=1e-5)
