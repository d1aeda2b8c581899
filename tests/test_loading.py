"""A checkpoint comes in whole and checked, or not at all."""

import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers import loading
from helpers.config import BASE_CONFIG, BUNDLED_CHECKPOINT, MODEL_CONFIGS, gpt_config
from helpers.download import DownloadError
from helpers.freezing import replace_head
from helpers.loading import (
    FILES,
    INDEX,
    TENSORS,
    download_and_load_gpt2,
    load_pretrained,
    load_weights_into_gpt,
    read_checkpoint,
)
from helpers.model import GPTModel, generate_text_simple
from helpers.tokenizer import text_to_token_ids, token_ids_to_text
from tests.conftest import ROOT, TINY, random_model
from tests.server import Files, serve
from workshop.pretraining import save_openai_checkpoint

NANO, SMALL = "gpt2-nano (12M)", "gpt2-small (124M)"


@pytest.fixture(scope="module")
def tiny_checkpoint(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny"
    return save_openai_checkpoint(random_model(TINY), folder, "float32")


@pytest.fixture
def broken(tiny_checkpoint, tmp_path) -> Path:
    """A copy of the tiny checkpoint, to be damaged."""
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "broken"))


@pytest.fixture
def tiny_small(tiny_checkpoint, tmp_path, monkeypatch) -> Path:
    """A folder in which "124M" is as small as the tiny checkpoint."""
    sizes = {key: TINY[key] for key in ("emb_dim", "n_layers", "n_heads")}
    monkeypatch.setitem(MODEL_CONFIGS, SMALL, sizes)
    monkeypatch.setitem(BASE_CONFIG, "context_length", TINY["context_length"])
    shutil.copytree(tiny_checkpoint, tmp_path / "124M")
    return tmp_path


def read_variables(folder: Path) -> dict[str, np.ndarray]:
    reader = loading.import_tensorflow().train.load_checkpoint(str(folder / "model.ckpt"))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def write_variables(folder: Path, variables: dict[str, np.ndarray]) -> None:
    for name in (INDEX, TENSORS):
        (folder / name).unlink()
    names = sorted(variables)
    tensors, whole = [variables[name] for name in names], [""] * len(names)
    save = loading.import_tensorflow().raw_ops.SaveV2
    save(prefix=f"{folder}/model.ckpt", tensor_names=names, shape_and_slices=whole, tensors=tensors)


def assert_equal_weights(model: GPTModel, other: GPTModel) -> None:
    weights, expected = model.state_dict(), other.state_dict()
    assert weights.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(weights[name], tensor), name


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr[-2000:]
    return done.stdout


def test_a_saved_model_has_openais_layout_and_reads_back_in_float32(tmp_path):
    model = random_model(TINY).half().float()
    folder = save_openai_checkpoint(model, tmp_path / "model", "float16")
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    settings, params = read_checkpoint(folder)
    assert settings == {"n_vocab": 50257, "n_ctx": 32, "n_embd": 8, "n_head": 2, "n_layer": 3}
    assert set(params) == {"blocks", "wte", "wpe", "g", "b"} and len(params["blocks"]) == 3
    again = GPTModel(TINY)
    load_weights_into_gpt(again, params)
    assert {parameter.dtype for parameter in again.parameters()} == {torch.float32}
    assert_equal_weights(again, model)
    variables = read_variables(folder)
    assert len(variables) == 4 + 12 * TINY["n_layers"]
    assert variables["model/wte"].shape == (50257, 8) and variables["model/wpe"].shape == (32, 8)
    assert variables["model/h0/mlp/c_fc/b"].shape == (32,)
    attention = np.split(variables["model/h2/attn/c_attn/w"][0], 3, axis=-1)
    for matrix, values in zip(("W_query", "W_key", "W_value"), attention, strict=True):
        weight = getattr(model.trf_blocks[2].att, matrix).weight
        np.testing.assert_array_equal(values, weight.detach().numpy().T)


def test_saving_overwrites_a_checkpoint_and_no_other_file_and_refuses_another_head(broken):
    (broken / "thesis.txt").touch()
    before = (broken / TENSORS).read_bytes()
    with pytest.raises(ValueError, match="out_head"):
        save_openai_checkpoint(replace_head(random_model(TINY)), broken)
    assert (broken / TENSORS).read_bytes() == before
    save_openai_checkpoint(random_model(TINY, seed=1), broken, "float32")
    assert (broken / TENSORS).read_bytes() != before and (broken / "thesis.txt").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no such names")
@pytest.mark.parametrize("name", ["My Course [2026]", "naïve café"])
def test_the_nano_loads_in_a_course_folder_with_any_name(name, tmp_path, monkeypatch):
    bundled = shutil.copytree(BUNDLED_CHECKPOINT, tmp_path / name / "assets" / "12M")
    monkeypatch.setattr(loading, "BUNDLED_CHECKPOINT", bundled)
    (tmp_path / name / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / name / "notebooks")
    first, later = load_pretrained(NANO), load_pretrained(NANO)
    assert Path("gpt2", "12M", "model.safetensors").exists()
    assert_equal_weights(first, later)
    monkeypatch.chdir(tmp_path)
    if name != "naïve café":
        with pytest.raises(ValueError, match=r"can't read from .*in its path; rename that folder"):
            read_checkpoint(bundled)


def test_a_damaged_file_is_noticed_and_missing_extra_and_misshapen_variables_are_named(broken):
    variables = read_variables(broken)
    for name in ("hparams.json", INDEX, TENSORS):
        whole = (broken / name).read_bytes()
        says = "must give" if name == "hparams.json" else "damaged or not whole"
        (broken / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ValueError, match=f"{says}.*; if it was downloaded, delete .*broken"):
            read_checkpoint(broken)
        (broken / name).write_bytes(whole)
    content = bytearray(whole)
    content[1000] ^= 255
    (broken / TENSORS).write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        read_checkpoint(broken)
    variables["model/h0/mlp/c_fc/w"][0, 1, 2] = np.nan
    write_variables(broken, variables)
    with pytest.raises(ValueError, match="model/h0/mlp/c_fc/w .* not finite"):
        read_checkpoint(broken)
    variables["model/extra"] = variables.pop("model/h1/ln_1/g")
    variables["model/wpe"] = variables["model/wpe"][:16]
    write_variables(broken, variables)
    with pytest.raises(ValueError, match="doesn't fit its hparams.json: model/extra is") as caught:
        read_checkpoint(broken)
    for name in ("extra is (8,)", "h1/ln_1/g is absent instead of (8,)", "wpe is (16, 8) instead"):
        assert f"model/{name}" in str(caught.value)


def test_params_that_do_not_fit_are_refused_before_anything_changes(tiny_checkpoint):
    params, model = read_checkpoint(tiny_checkpoint)[1], random_model(TINY, seed=3)
    params["blocks"].pop()
    says = r"fit the model: trf_blocks.2.att.W_key.bias is absent instead of \(8,\); .*and 11 more"
    with pytest.raises(ValueError, match=says):
        load_weights_into_gpt(model, params)
    assert_equal_weights(model, random_model(TINY, seed=3))


def test_the_bundled_nano_is_whole_and_writes_what_its_provenance_says():
    settings, params = download_and_load_gpt2("12M")
    assert settings["n_layer"] == 6 and params["wte"].shape == (50257, 192)
    model = GPTModel(gpt_config(NANO))
    load_weights_into_gpt(model, params)
    ids = generate_text_simple(model.eval(), text_to_token_ids("Every effort moves you"), 8, 1024)
    assert token_ids_to_text(ids) == "Every effort moves you to help me find a bus to go"
    assert torch.equal(model.out_head.weight, model.tok_emb.weight)
    assert sum(p.numel() for p in model.parameters()) - model.out_head.weight.numel() == 12_515_520


def test_the_second_load_imports_no_tensorflow_and_gives_the_same_model(tmp_path):
    first = load_pretrained(NANO, tmp_path)
    parameters = list(first.parameters())
    assert not first.training and all(p.requires_grad for p in parameters)
    assert {p.dtype for p in parameters} == {torch.float32}
    helpers = [f"helpers.{path.stem}" for path in (ROOT / "helpers").glob("[!_]*.py")]
    code = f"""
import sys, {", ".join(helpers)}
model = helpers.loading.load_pretrained({NANO!r}, {str(tmp_path)!r})
assert not {{'tensorflow', 'peft', 'ipywidgets'}} & set(sys.modules)
print(sum(p.double().sum().item() for p in model.parameters()))"""
    total = sum(p.double().sum().item() for p in parameters)
    assert float(run(code)) == pytest.approx(total)


def test_a_loaded_models_weights_are_its_own_and_never_written_into_the_copy(tmp_path):
    first, copy = load_pretrained(NANO, tmp_path), tmp_path / "12M" / "model.safetensors"
    before = copy.read_bytes()
    for model in (first, load_pretrained(NANO, tmp_path)):
        with torch.no_grad():
            model.out_head.weight += 1
            model.trf_blocks[0].att.W_query.bias += 1
        assert (model.out_head.weight - model.tok_emb.weight).min() > 0.99
    assert copy.read_bytes() == before
    again = load_pretrained(NANO, tmp_path)
    assert torch.equal(again.out_head.weight, again.tok_emb.weight)


def test_triton_of_torchs_cuda_builds_survives_a_checkpoint_being_read(tmp_path):
    pytest.importorskip("triton", reason="this torch is a CPU build, which has no triton")
    run(
        "from helpers.loading import load_pretrained\n"
        f"load_pretrained({NANO!r}, {str(tmp_path)!r})\n"
        "import triton, torch; torch.optim.AdamW([torch.ones(1)])"
    )


def test_a_changed_checkpoint_is_read_again_even_with_its_old_time(tiny_small, tmp_path):
    first = load_pretrained(SMALL, tiny_small)
    folder = tiny_small / "124M"
    times, variables = (folder / TENSORS).stat(), read_variables(folder)
    variables["model/h0/ln_1/b"] += 1
    write_variables(folder, variables)  # in place, so that the quick copy stays
    os.utime(folder / TENSORS, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert (folder / "model.safetensors").exists()
    shift = load_pretrained(SMALL, tiny_small).trf_blocks[0].norm1.shift
    assert torch.equal(shift, first.trf_blocks[0].norm1.shift + 1)


def test_a_damaged_or_foreign_copy_is_made_anew(tiny_small):
    copy = tiny_small / "124M" / "model.safetensors"
    expected = load_pretrained(SMALL, tiny_small)
    whole = copy.read_bytes()
    flipped = bytearray(whole)
    flipped[-1000] ^= 1
    for content in (b"", whole[:-1], flipped):
        copy.write_bytes(content)
        with pytest.warns(UserWarning, match=r"model.safetensors can't be used .*; the checkpoint"):
            assert_equal_weights(load_pretrained(SMALL, tiny_small), expected)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert_equal_weights(load_pretrained(SMALL, tiny_small), expected)


def test_a_checkpoint_is_downloaded_completed_by_the_mirror_and_then_left_alone(
    tiny_small, tmp_path
):
    contents = {name: (tiny_small / "124M" / name).read_bytes() for name in FILES}
    files = Files({f"/{side}/124M/{name}": contents[name] for side in "ab" for name in FILES})
    files.cuts[f"/a/124M/{TENSORS}"] = [1_000_000]
    files.statuses["/a/124M/hparams.json"] = 404
    with serve(files) as url:
        sources = (f"{url}/a", f"{url}/b")
        settings, _ = download_and_load_gpt2("124M", tmp_path / "gpt2", sources=sources)
        asked = list(files.requests)
        download_and_load_gpt2("124M", tmp_path / "gpt2", sources=sources)
    assert files.requests == asked  # a complete folder needs no network
    assert (f"/a/124M/{TENSORS}", "bytes=1000000-") in asked
    assert ("/b/124M/hparams.json", None) in asked and settings["n_embd"] == 8
    assert sorted(path.name for path in (tmp_path / "gpt2" / "124M").iterdir()) == sorted(FILES)
    assert_equal_weights(load_pretrained(SMALL, tmp_path / "gpt2"), random_model(TINY))


def test_what_stands_in_a_folders_way_is_named(tiny_checkpoint, tmp_path):
    says = r"checkpoint of GPT-2 355M is missing in .*355M[\s\S]*CHOOSE_MODEL = 'gpt2-nano"
    with pytest.raises(DownloadError, match=says):
        download_and_load_gpt2("355M", tmp_path, sources=("htp://nowhere",))
    shutil.copytree(tiny_checkpoint, tmp_path / "124M")
    says = r"not that of 'gpt2-small \(124M\)': n_ctx is 32 instead of 1024"
    with pytest.raises(ValueError, match=says):
        load_pretrained(SMALL, tmp_path)
    (tmp_path / "12M" / "model.safetensors" / "mine").mkdir(parents=True)
    kept, damaged = (pytest.warns(match=says) for says in ("could not be kept", "can't be used"))
    with damaged, kept:
        assert load_pretrained(NANO, tmp_path).cfg["n_layers"] == 6
    assert (tmp_path / "12M" / "model.safetensors" / "mine").exists()
