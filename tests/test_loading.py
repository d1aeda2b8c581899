"""A checkpoint comes in whole and checked, or not at all."""

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers import loading
from helpers.config import BUNDLED_CHECKPOINT, MODEL_CONFIGS, gpt_config
from helpers.download import DownloadError
from helpers.freezing import replace_head
from helpers.loading import (
    FILES,
    HPARAMS,
    INDEX,
    TENSORS,
    checkpoint_variables,
    download_and_load_gpt2,
    load_pretrained,
    load_weights_into_gpt,
    read_checkpoint,
)
from helpers.model import GPTModel, generate_text_simple
from helpers.tokenizer import text_to_token_ids, token_ids_to_text
from tests import benchmarks
from tests.conftest import ROOT, TINY, random_model
from tests.server import Files, serve
from workshop.pretraining import save_openai_checkpoint

NANO = "gpt2-nano (12M)"


@pytest.fixture(scope="module")
def tiny_checkpoint(tmp_path_factory) -> Path:
    return save_openai_checkpoint(
        random_model(TINY), tmp_path_factory.mktemp("checkpoints") / "tiny", "float32"
    )


@pytest.fixture
def broken(tiny_checkpoint, tmp_path) -> Path:
    """A copy of the tiny checkpoint, to be damaged."""
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "broken"))


def write_variables(folder: Path, variables: dict[str, np.ndarray]) -> None:
    tf = loading.import_tensorflow()
    names = sorted(variables)
    for name in (INDEX, TENSORS):
        (folder / name).unlink()
    tensors = [tf.constant(variables[name]) for name in names]
    tf.raw_ops.SaveV2(
        prefix=str(folder / "model.ckpt"),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=tensors,
    )


def read_variables(folder: Path) -> dict[str, np.ndarray]:
    reader = loading.import_tensorflow().train.load_checkpoint(str(folder / "model.ckpt"))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def assert_equal_weights(one: GPTModel, other: GPTModel) -> None:
    weights, expected = one.state_dict(), other.state_dict()
    assert weights.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(weights[name], tensor), name


# --- the table ---


def test_the_table_says_where_a_variable_goes():
    settings = {"n_vocab": 50257, "n_ctx": 1024, "n_embd": 768, "n_layer": 12}
    table = {variable.name: variable for variable in checkpoint_variables(settings)}
    row = table["model/h3/attn/c_attn/w"]
    assert row.path == ("blocks", 3, "attn", "c_attn", "w") and row.shape == (1, 768, 2304)
    assert row.parameters == tuple(
        f"trf_blocks.3.att.W_{which}.weight" for which in ("query", "key", "value")
    )
    assert table["model/ln_f/b"].path == ("b",)
    assert table["model/ln_f/b"].parameters == ("final_norm.shift",)


def test_every_parameter_is_in_the_table_once_and_what_is_joined_splits_again():
    settings = {theirs: TINY[ours] for theirs, ours in HPARAMS.items()}
    weights, split = random_model(TINY).state_dict(), []
    for variable in checkpoint_variables(settings):
        values = variable.join(weights)
        assert values.shape == variable.shape
        for name, tensor in variable.split(values.reshape(variable.shape[-2:])).items():
            assert torch.equal(tensor, weights[name]), name
            split.append(name)
    assert sorted(split) == sorted(weights.keys() - {"out_head.weight"})


# --- writing and reading back ---


def test_a_saved_model_reads_back_to_the_bit(tiny_checkpoint):
    model, again = random_model(TINY), GPTModel(TINY)
    _, params = read_checkpoint(tiny_checkpoint)
    load_weights_into_gpt(again, params)
    assert_equal_weights(model, again)


def test_numpys_integers_are_sizes_too(tmp_path):
    sizes = {key: np.int64(TINY[key]) for key in ("emb_dim", "n_layers", "n_heads")}
    folder = save_openai_checkpoint(random_model(TINY | sizes), tmp_path / "model", "float32")
    again = GPTModel(TINY | sizes)
    load_weights_into_gpt(again, read_checkpoint(folder)[1])
    assert_equal_weights(again, random_model(TINY))


def test_float16_halves_the_file_and_comes_back_as_float32(tiny_checkpoint, tmp_path):
    folder = save_openai_checkpoint(random_model(TINY), tmp_path / "half")
    assert (folder / TENSORS).stat().st_size * 2 == (tiny_checkpoint / TENSORS).stat().st_size
    assert read_variables(folder)["model/wte"].dtype == np.float16
    again = GPTModel(TINY)
    load_weights_into_gpt(again, read_checkpoint(folder)[1])
    for name, tensor in random_model(TINY).state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor.half().float(), atol=0, rtol=0)


def test_the_layout_is_openais(tiny_checkpoint):
    variables = read_variables(tiny_checkpoint)
    assert len(variables) == 4 + 12 * TINY["n_layers"]
    assert variables["model/wte"].shape == (50257, 8) and variables["model/wpe"].shape == (32, 8)
    assert variables["model/h2/attn/c_attn/w"].shape == (1, 8, 24) and variables[
        "model/h0/mlp/c_fc/b"
    ].shape == (32,)
    query = random_model(TINY).trf_blocks[2].att.W_query.weight.detach().numpy()
    np.testing.assert_array_equal(variables["model/h2/attn/c_attn/w"][0, :, :8], query.T)
    assert sorted(path.name for path in tiny_checkpoint.iterdir()) == sorted(FILES)


def test_params_are_nested_as_in_the_book(tiny_checkpoint):
    settings, params = read_checkpoint(tiny_checkpoint)
    assert settings == {"n_vocab": 50257, "n_ctx": 32, "n_embd": 8, "n_head": 2, "n_layer": 3}
    assert set(params) == {"blocks", "wte", "wpe", "g", "b"} and len(params["blocks"]) == 3
    assert params["blocks"][0]["attn"]["c_attn"]["w"].shape == (8, 24)
    assert params["blocks"][2]["mlp"]["c_proj"]["w"].shape == (32, 8)
    assert params["blocks"][1]["ln_2"]["g"].shape == (8,) and params["g"].dtype == np.float32


def test_saving_never_deletes_what_is_no_checkpoint(tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.txt").touch()
    for place in (tmp_path / "work", tmp_path / "work" / "thesis.txt"):
        with pytest.raises(ValueError, match="something else than a checkpoint"):
            save_openai_checkpoint(random_model(TINY), place)
    for sibling in ("model.old", "model.part"):
        (tmp_path / sibling).mkdir()
    for _ in range(2):
        save_openai_checkpoint(random_model(TINY), tmp_path / "model")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "model",
        "model.old",
        "model.part",
        "work",
    ]
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["thesis.txt"]
    with pytest.raises(ValueError, match="qkv_bias"):
        save_openai_checkpoint(random_model(TINY | {"qkv_bias": False}), tmp_path / "new")


def test_saving_replaces_a_checkpoint_only_by_a_whole_one(tiny_checkpoint, tmp_path):
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "kept"))
    before = (folder / TENSORS).read_bytes()
    with pytest.raises(ValueError, match="dtype must be 'float16' or 'float32'"):
        save_openai_checkpoint(random_model(TINY), folder, "int8")
    large = random_model(TINY)
    with torch.no_grad():
        large.final_norm.shift[0] = 1e5
    with pytest.raises(ValueError, match="model/ln_f/b has values that are not finite in float16"):
        save_openai_checkpoint(large, folder)
    with pytest.raises(ValueError, match="out_head"):
        save_openai_checkpoint(replace_head(random_model(TINY)), folder)
    assert (folder / TENSORS).read_bytes() == before
    save_openai_checkpoint(random_model(TINY, seed=1), folder, "float32")
    assert (folder / TENSORS).read_bytes() != before
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


NAMES = ("course [2026]", "a\\b", "*?", "two words", "naïve café 课程")


@pytest.fixture(params=NAMES)
def oddly_named(request, tmp_path) -> Path:
    """A folder whose name means something to TensorFlow, or nothing at all."""
    folder = tmp_path / request.param / "model"
    try:
        folder.parent.mkdir()
    except (OSError, ValueError):
        pytest.skip("this system knows no such name")
    return folder


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    """The folder in which the code's temporary files are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_a_folder_with_any_name_can_be_saved_to_and_read(oddly_named, temporary):
    save_openai_checkpoint(random_model(TINY, seed=1), oddly_named)
    save_openai_checkpoint(random_model(TINY), oddly_named, "float32")
    again, here = GPTModel(TINY), os.getcwd()
    load_weights_into_gpt(again, read_checkpoint(oddly_named)[1])
    assert_equal_weights(again, random_model(TINY))
    assert os.getcwd() == here and not list(temporary.iterdir())
    assert [path.name for path in oddly_named.parent.iterdir()] == ["model"]


@pytest.mark.skipif(sys.platform != "linux", reason="this system has names in Unicode only")
def test_a_name_that_is_not_unicode_can_be_read_and_saving_says_what_to_do(tmp_path):
    folder, odd = (
        save_openai_checkpoint(random_model(TINY), tmp_path / "plain"),
        tmp_path / "\udcff",
    )
    odd.mkdir()
    params = read_checkpoint(shutil.move(folder, odd))[1]
    assert len(params["blocks"]) == 3
    with pytest.raises(OSError, match="unicode.*; choose another folder"):
        save_openai_checkpoint(random_model(TINY), odd / "new")
    assert [path.name for path in odd.iterdir()] == ["plain"]


@pytest.mark.parametrize("name", ["course [2026]", "a\\b"])
def test_the_nano_loads_in_a_course_folder_with_any_name(name, tmp_path, monkeypatch):
    if os.sep == "\\" and "\\" in name:
        pytest.skip("Windows knows no such name")
    bundled = shutil.copytree(BUNDLED_CHECKPOINT, tmp_path / name / "12M")
    monkeypatch.setattr(loading, "BUNDLED_CHECKPOINT", bundled)
    monkeypatch.chdir(bundled.parent)
    first, later = load_pretrained(NANO), load_pretrained(NANO)  # the copy: below the folder, too
    assert (tmp_path / name / "gpt2" / "12M" / "model.safetensors").exists()
    assert_equal_weights(first, later)


@pytest.mark.parametrize("lacking", [("symlink",), ("symlink", "link")])
def test_an_odd_name_is_read_where_the_system_allows_no_links(lacking, tmp_path, monkeypatch):
    folder = save_openai_checkpoint(random_model(TINY), tmp_path / "course [2026]", "float32")

    def refuse(*_):
        raise OSError("a required privilege is not held by the client")

    for function in lacking:
        monkeypatch.setattr(os, function, refuse)
    again = GPTModel(TINY)
    load_weights_into_gpt(again, read_checkpoint(folder)[1])
    assert_equal_weights(again, random_model(TINY))


def test_where_no_plain_name_is_to_be_had_the_remedy_is_named(tmp_path, monkeypatch):
    folder = save_openai_checkpoint(random_model(TINY), tmp_path / "course [2026]")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with pytest.raises(ValueError, match=r"can't read from .*\[2026\].* TMPDIR to another folder"):
        read_checkpoint(folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)


# --- what is wrong with a checkpoint is said ---


def test_missing_extra_and_misshapen_variables_are_all_named(broken):
    variables = read_variables(broken)
    variables["model/extra"] = variables.pop("model/h1/ln_1/g")
    variables["model/wpe"] = variables["model/wpe"][:16]
    write_variables(broken, variables)
    with pytest.raises(ValueError) as caught:
        read_checkpoint(broken)
    for part in (
        "model/h1/ln_1/g is missing",
        "model/extra is not part",
        "model/wpe is (16, 8) instead of (32, 8)",
    ):
        assert part in str(caught.value)


def test_hparams_of_another_size_are_noticed(broken):
    settings = json.loads((broken / "hparams.json").read_text(encoding="utf-8"))
    (broken / "hparams.json").write_text(json.dumps(settings | {"n_embd": 16, "n_layer": 4}))
    with pytest.raises(ValueError, match=r"doesn't fit its hparams.json: model/h3/.* and \d+ more"):
        read_checkpoint(broken)


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"n_vocab": 50257}', '{"n_vocab": -1}', '{"n_vocab": true}']
)
def test_broken_hparams_are_named(broken, text):
    (broken / "hparams.json").write_text(text)
    with pytest.raises(ValueError, match="hparams.json"):
        read_checkpoint(broken)


@pytest.mark.parametrize("name", ["hparams.json", INDEX, TENSORS])
def test_a_missing_file_is_named(broken, name):
    (broken / name).unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(name)):
        read_checkpoint(broken)


@pytest.mark.parametrize("name", [INDEX, TENSORS])
def test_a_file_cut_short_is_noticed(broken, name):
    os.truncate(broken / name, (broken / name).stat().st_size // 2)
    with pytest.raises(
        ValueError,
        match="damaged or cut short .*; if it was downloaded, delete .*broken and load again; else",
    ):
        read_checkpoint(broken)


def test_a_changed_byte_is_noticed(broken):
    content = bytearray((broken / TENSORS).read_bytes())
    content[1000] ^= 255
    (broken / TENSORS).write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        read_checkpoint(broken)


def test_weights_that_are_not_numbers_are_refused(broken):
    variables = read_variables(broken)
    variables["model/h0/mlp/c_fc/w"][0, 1, 2] = np.nan
    write_variables(broken, variables)
    with pytest.raises(ValueError, match="model/h0/mlp/c_fc/w .* not finite"):
        read_checkpoint(broken)


def test_weights_for_another_model_are_refused_before_anything_changes(tiny_checkpoint):
    _, params = read_checkpoint(tiny_checkpoint)
    model = random_model(TINY | {"n_layers": 4, "context_length": 16}, seed=3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(
        ValueError, match=r"pos_emb.weight is \(32, 8\) in the checkpoint, \(16, 8\) in the model"
    ):
        load_weights_into_gpt(model, params)
    with pytest.raises(ValueError, match="trf_blocks.3.att.W_key.bias is missing"):
        load_weights_into_gpt(model, params)
    del params["blocks"][0]["attn"]["c_attn"]["w"]
    with pytest.raises(ValueError, match="params lack blocks/0/attn/c_attn/w"):
        load_weights_into_gpt(model, params)
    with pytest.raises(
        ValueError, match="wte of the checkpoint's params is NoneType, not an array"
    ):
        load_weights_into_gpt(model, params | {"wte": None})
    del params["blocks"]
    with pytest.raises(ValueError, match=r"trf_blocks.0.att.W_key.bias is missing"):
        load_weights_into_gpt(model, params)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_weights_that_are_not_numbers_are_refused_from_params_too(tiny_checkpoint):
    _, params = read_checkpoint(tiny_checkpoint)
    params["blocks"][1]["mlp"]["c_fc"]["b"][0] = np.inf
    with pytest.raises(ValueError, match="blocks/1/mlp/c_fc/b .* not finite"):
        load_weights_into_gpt(random_model(TINY), params)


def test_params_that_are_not_the_books_are_answered_in_a_sentence(tiny_checkpoint):
    settings, params = read_checkpoint(tiny_checkpoint)
    model = random_model(TINY, seed=3)
    for wrong, error, words in (
        ((settings, params), TypeError, "must be the dictionary of read_checkpoint, not tuple"),
        (params | {"blocks": None}, ValueError, "blocks .* is None, not a list"),
        (params | {"blocks": [None]}, ValueError, "lack blocks/0/ln_1/g"),
        (params | {"g": torch.ones(8)}, ValueError, "g .* is Tensor, not an array"),
        (params | {"g": np.array(list("abcdefgh"))}, ValueError, "g .* holds <U1 instead of numb"),
        (params | {"g": np.ones(7)}, ValueError, r"g .* shape \(7,\); .* it must be \(8,\)"),
        (params | {"g": np.full(8, 1e300)}, ValueError, "g .* values that are not finite"),
        (params | {"wpe": np.ones((0, 8))}, ValueError, r"wpe .* the shape \(0, 8\)"),
    ):
        with pytest.raises(error, match=words):
            load_weights_into_gpt(model, wrong)
    assert_equal_weights(model, random_model(TINY, seed=3))


@pytest.mark.parametrize("size", ["142M", "gpt2-small (124M)", "", None])
def test_a_size_with_a_typo_is_answered_with_the_choices(size, tmp_path):
    with pytest.raises(ValueError, match=r"unknown model size .*'124M'"):
        download_and_load_gpt2(size, tmp_path)
    assert not list(tmp_path.iterdir())


# --- the bundled model, and the quick copy ---


def test_the_bundled_nano_is_whole_and_writes_what_its_provenance_says():
    settings, params = download_and_load_gpt2("12M")
    assert settings["n_layer"] == 6 and params["wte"].shape == (50257, 192)
    model = GPTModel(gpt_config(NANO))
    load_weights_into_gpt(model, params)
    text = token_ids_to_text(
        generate_text_simple(model.eval(), text_to_token_ids("Every effort moves you"), 8, 1024)
    )
    assert text.startswith("Every effort moves you to help me find a bus to go")
    assert sum(p.numel() for p in model.parameters()) - model.out_head.weight.numel() == 12_515_520
    for name in FILES:
        assert (BUNDLED_CHECKPOINT / name).exists()


def test_the_second_load_needs_no_tensorflow_and_gives_the_same_model(tmp_path):
    first = load_pretrained(NANO, tmp_path)
    assert not first.training and {p.dtype for p in first.parameters()} == {torch.float32}
    assert {p.requires_grad for p in first.parameters()} == {True}
    assert all(p.is_contiguous() for p in first.parameters())
    assert len({p.untyped_storage().data_ptr() for p in first.parameters()}) == len(
        list(first.parameters())
    )
    code = (
        "import sys, torch; from helpers.loading import load_pretrained\n"
        f"model = load_pretrained({NANO!r}, {str(tmp_path)!r})\n"
        "assert 'tensorflow' not in sys.modules\n"
        "print(sum(p.double().sum().item() for p in model.parameters()))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert float(out.stdout) == pytest.approx(
        sum(p.double().sum().item() for p in first.parameters())
    )
    assert out.stderr == ""


def test_triton_of_torchs_cuda_builds_survives_a_checkpoint_being_read(tmp_path):
    pytest.importorskip("triton", reason="this torch is a CPU build, which has no triton")
    code = (
        "from helpers.loading import load_pretrained\n"
        f"load_pretrained({NANO!r}, {str(tmp_path)!r})\n"
        "import triton, torch; torch.optim.AdamW([torch.ones(1)])"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_importing_the_helpers_imports_no_tensorflow_and_only_widgets_imports_ipywidgets():
    names = [
        f"helpers.{path.stem}"
        for path in (ROOT / "helpers").glob("[!_]*.py")
        if path.stem != "widgets"
    ]
    names += [f"helpers.nano.{path.stem}" for path in (ROOT / "helpers/nano").glob("[!_]*.py")]
    modules = ", ".join(names)
    code = f"import sys, {modules}\nassert not {{'tensorflow', 'ipywidgets'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_a_changed_checkpoint_is_read_again_even_with_its_old_time(tmp_path, monkeypatch):
    monkeypatch.setitem(
        MODEL_CONFIGS, "gpt2-small (124M)", {k: TINY[k] for k in ("emb_dim", "n_layers", "n_heads")}
    )
    monkeypatch.setitem(loading.gpt_config.__globals__["BASE_CONFIG"], "context_length", 32)
    folder = save_openai_checkpoint(random_model(TINY), tmp_path / "124M", "float32")
    first = load_pretrained("gpt2-small (124M)", tmp_path)
    times = (folder / TENSORS).stat()
    changed = random_model(TINY)
    with torch.no_grad():
        changed.trf_blocks[0].norm1.shift[0] += 1
    variables = read_variables(save_openai_checkpoint(changed, tmp_path / "changed", "float32"))
    write_variables(folder, variables)  # in place, so that the quick copy stays
    os.utime(folder / TENSORS, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert (folder / "model.safetensors").exists()
    second = load_pretrained("gpt2-small (124M)", tmp_path)
    assert not torch.equal(first.trf_blocks[0].norm1.shift, second.trf_blocks[0].norm1.shift)


def test_a_folder_with_another_size_inside_is_refused_by_name(tmp_path):
    save_openai_checkpoint(random_model(TINY), tmp_path / "124M")
    with pytest.raises(
        ValueError, match=r"not that of 'gpt2-small \(124M\)': n_ctx=32 \(not 1024\)"
    ):
        load_pretrained("gpt2-small (124M)", tmp_path)


def test_a_copy_that_cannot_be_kept_is_a_warning_not_a_failure(tmp_path):
    (tmp_path / "12M").write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="could not be kept"):
        assert load_pretrained(NANO, tmp_path).cfg["n_layers"] == 6


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="tells the memory on Linux only")
def test_a_first_load_holds_the_weights_once_in_memory(tmp_path):
    """0.3 times the weights is TensorFlow's own; `benchmarks` measures a larger model."""
    code = benchmarks.LOAD_FIRST.format(name=NANO, folder=str(tmp_path))
    peak = benchmarks.measure(code)[1]
    assert (tmp_path / "12M" / "model.safetensors").exists()
    assert peak <= 1.5


def header(tensors: dict, length: int | None = None) -> bytes:
    """The beginning of a safetensors file that says that it holds `tensors`."""
    text = json.dumps(tensors).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text


NANO_SIZE = 12_515_520


def claims(size: int) -> dict:
    """A tensor that takes `size` float32 numbers, in a file with the right fingerprint."""
    metadata = {"fingerprint": loading._fingerprint(BUNDLED_CHECKPOINT)}
    tensor = {"dtype": "F32", "shape": [size], "data_offsets": [0, 4 * size]}
    return {"__metadata__": metadata, "tok_emb.weight": tensor}


HOSTILE = {
    "an empty file": b"",
    "a text": b"cut short",
    "a pickle": pickle.dumps({"tok_emb.weight": [0.0] * 1000}),
    "a header as long as the memory": header({}, length=1 << 60),
    "a header of 90 MB that is there": header({"x": "y" * 90_000_000}),
    "a header that is not JSON": header({})[:8] + b"[[",
    "nested a million times": (10**6).to_bytes(8, "little") + b"[" * 10**6,
    "a tensor larger than the file": header(claims(10**12)),
    "sizes beyond 64 bits": header(claims(2**62)),
    "negative sizes": header(claims(-1)),
    "one number for an embedding": header(claims(1)) + bytes(4),
    "one tensor as large as all": header(claims(NANO_SIZE)) + bytes(4 * NANO_SIZE),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_copy_is_refused_and_made_anew(content, tmp_path):
    copy = tmp_path / "12M" / "model.safetensors"
    copy.parent.mkdir()
    copy.write_bytes(content)
    with pytest.warns(UserWarning, match=r"model.safetensors is not .*; the checkpoint is read"):
        first = load_pretrained(NANO, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_equal_weights(first, load_pretrained(NANO, tmp_path))
    assert [path.name for path in copy.parent.iterdir()] == ["model.safetensors"]


@pytest.mark.skipif(os.name != "posix", reason="this system's files have no holes")
def test_a_copy_that_claims_a_terabyte_takes_no_memory(tmp_path):
    copy = tmp_path / "12M" / "model.safetensors"
    copy.parent.mkdir()
    text = header(claims(1 << 38))
    copy.write_bytes(text)
    try:
        os.truncate(copy, len(text) + (1 << 40))  # a hole: the size is right, the disk stays empty
    except OSError:
        pytest.skip("this disk holds no file of a terabyte")
    with pytest.warns(UserWarning, match="has 1,099,511,.* bytes, of which"):
        load_pretrained(NANO, tmp_path)
    assert copy.stat().st_size < 1 << 30


def test_a_copy_cut_short_or_of_other_types_is_made_anew(tmp_path):
    first = load_pretrained(NANO, tmp_path)
    copy = tmp_path / "12M" / "model.safetensors"
    whole = copy.read_bytes()
    for content in (whole[:-1], whole[: len(whole) // 2], whole.replace(b'"F32"', b'"I32"')):
        copy.write_bytes(content)
        with pytest.warns(UserWarning, match="the checkpoint is read again"):
            assert_equal_weights(load_pretrained(NANO, tmp_path), first)
        assert copy.read_bytes() == whole


def test_a_folder_by_the_copys_name_is_a_warning_and_stays(tmp_path):
    (tmp_path / "12M" / "model.safetensors" / "mine").mkdir(parents=True)
    with pytest.warns(UserWarning) as caught:
        assert load_pretrained(NANO, tmp_path).cfg["n_layers"] == 6
    texts = [str(warning.message) for warning in caught]
    assert "it is not a file" in texts[0] and "could not be kept" in texts[1]
    assert (tmp_path / "12M" / "model.safetensors" / "mine").exists()
    assert [path.name for path in (tmp_path / "12M").iterdir()] == ["model.safetensors"]


READ_ONLY = """
import sys, warnings
from helpers.data import load_messages
from helpers.loading import load_pretrained
from tests.test_classify import classifier
folder = sys.argv[1]
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    print(load_pretrained("gpt2-nano (12M)", folder).cfg["n_layers"])
print(*(warning.message for warning in caught))
for attempt in (
    lambda: classifier().save(folder + "/a.safetensors"),
    lambda: load_messages("sms-spam-collection", folder, ["http://127.0.0.1:9/a.zip"]),
):
    try:
        attempt()
    except OSError as error:
        print(error)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no folders that can't be written")
def test_a_read_only_folder_is_a_warning_or_an_error_that_names_it_and_no_failure(tmp_path):
    folder, as_others = tmp_path / "12M", []
    folder.mkdir()
    if os.geteuid() == 0:  # root may write everywhere, unless this right is taken away
        if shutil.which("setpriv") is None:
            pytest.skip("root may write everywhere, and there is no setpriv to change that")
        as_others = ["setpriv", "--bounding-set=-dac_override"]
    for place in (folder, tmp_path):
        place.chmod(0o500)
    command = [*as_others, sys.executable, "-c", READ_ONLY, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    for place in (folder, tmp_path):
        place.chmod(0o700)
    assert done.returncode == 0, done.stderr[-2000:]
    layers, kept, saved, loaded = done.stdout.splitlines()
    assert layers == "6" and "model.safetensors could not be kept" in kept
    assert all("Permission denied" in said and str(tmp_path) in said for said in (saved, loaded))
    assert [path.name for path in tmp_path.iterdir()] == ["12M"] and not list(folder.iterdir())


def test_four_processes_that_load_first_at_once_all_get_the_weights(tmp_path):
    code = (
        "import sys, torch; from helpers.loading import import_tensorflow, load_pretrained\n"
        "import_tensorflow(); print('ready', flush=True); sys.stdin.readline()\n"
        f"model = load_pretrained({NANO!r}, {str(tmp_path)!r})\n"
        f"torch.save(model.state_dict(), {str(tmp_path)!r} + '/' + sys.argv[1])"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(i)], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for i in range(4)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0 and said == "", said
    expected = load_pretrained(NANO, tmp_path).state_dict()
    for i in range(4):
        for name, tensor in torch.load(tmp_path / str(i), weights_only=True).items():
            assert torch.equal(tensor, expected[name]), name
    assert [path.name for path in (tmp_path / "12M").iterdir()] == ["model.safetensors"]


# --- downloading a checkpoint of the real size ---


def test_124M_is_downloaded_resumed_completed_by_the_mirror_and_then_left_alone(tmp_path):
    cfg = gpt_config("gpt2-small (124M)")
    torch.manual_seed(0)
    model = GPTModel(cfg)
    with torch.no_grad():
        model.out_head.weight.copy_(model.tok_emb.weight)
    source = save_openai_checkpoint(model, tmp_path / "source")
    files = Files(
        {f"/{side}/124M/{name}": (source / name).read_bytes() for side in "ab" for name in FILES}
    )
    files.cuts[f"/a/124M/{TENSORS}"] = [100_000_000]
    files.statuses["/a/124M/hparams.json"] = 404
    with serve(files) as url:
        sources = (f"{url}/a", f"{url}/b")
        settings, params = download_and_load_gpt2("124M", tmp_path / "gpt2", sources=sources)
        asked = list(files.requests)
        download_and_load_gpt2("124M", tmp_path / "gpt2", sources=sources)
        assert files.requests == asked  # a complete folder needs no network
    assert (f"/a/124M/{TENSORS}", "bytes=100000000-") in asked and (
        "/b/124M/hparams.json",
        None,
    ) in asked
    assert settings == {"n_vocab": 50257, "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12}
    again = load_pretrained("gpt2-small (124M)", tmp_path / "gpt2")
    weight = model.trf_blocks[11].att.W_value.weight
    assert torch.equal(again.trf_blocks[11].att.W_value.weight, weight.half().float())
    np.testing.assert_array_equal(
        params["blocks"][11]["attn"]["c_attn"]["w"][:, 1536:].T, weight.half().float().detach()
    )
    assert sum(p.numel() for p in again.parameters()) == 163_037_184


def test_a_tokenizer_file_with_other_content_is_refused(tmp_path):
    files = Files({f"/124M/{name}": b"{}" for name in FILES})
    with (
        serve(files) as url,
        pytest.raises(DownloadError, match=r"encoder.json of GPT-2 124M[\s\S]*sha256"),
    ):
        download_and_load_gpt2("124M", tmp_path, sources=(url,))


def test_without_a_network_the_error_names_file_folder_and_the_offline_choice(tmp_path):
    with serve(Files()) as url:
        pass  # the server has gone again
    with pytest.raises(DownloadError) as caught:
        download_and_load_gpt2("355M", tmp_path, sources=(url,))
    for part in (
        "checkpoint of GPT-2 355M is missing",
        str(tmp_path / "355M"),
        "CHOOSE_MODEL = 'gpt2-nano (12M)'",
    ):
        assert part in str(caught.value)
