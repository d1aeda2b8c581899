"""The model behaves like GPT-2 and refuses what it can't take."""

import json

import numpy as np
import pytest
import torch

from helpers.config import BASE_CONFIG, MODEL_CONFIGS, gpt_config, model_size
from helpers.freezing import FreezePlan, parameter_report
from helpers.model import GPTModel, generate_text_simple, has_causal_mask, without_causal_mask
from tests.conftest import TINY, random_model


def test_a_token_does_not_see_what_follows_it(tiny):
    ids = torch.tensor([[1, 2, 3, 4, 5], [1, 2, 3, 9, 9]])
    first, second = tiny(ids)
    torch.testing.assert_close(first[:3], second[:3], atol=1e-5, rtol=0)
    assert not torch.allclose(first[3:], second[3:], atol=1e-3)


def test_without_the_causal_mask_a_later_token_changes_an_earlier_ones_row(tiny):
    ids = torch.tensor([[1, 2, 3, 4, 5], [1, 2, 3, 4, 9]])
    assert has_causal_mask(tiny)
    seeing = without_causal_mask(tiny)
    first, second = seeing(ids)
    assert seeing is tiny and not has_causal_mask(tiny)
    assert (first - second).abs().amax(dim=1).min() > 1e-4  # in the first row, too
    tiny.trf_blocks[1].att.causal = True
    assert not has_causal_mask(tiny)  # in the other blocks


def test_dropout_acts_in_training_mode_only():
    model = random_model(TINY | {"drop_rate": 0.5})
    ids = torch.tensor([[1, 2, 3]])
    assert torch.equal(model(ids), model(ids))
    model.train()
    assert not torch.equal(model(ids), model(ids))


def test_without_qkv_bias_there_is_none():
    names = dict(GPTModel(TINY | {"qkv_bias": False}).named_parameters())
    assert (
        "trf_blocks.0.att.W_query.bias" not in names and "trf_blocks.0.att.out_proj.bias" in names
    )


def test_too_many_tokens_are_refused_with_the_limit(tiny):
    tiny(torch.zeros(1, 32, dtype=torch.long))
    with pytest.raises(ValueError, match="33 tokens are more than the context length of 32"):
        tiny(torch.zeros(1, 33, dtype=torch.long))


@pytest.mark.parametrize("shape", [(3,), (1, 0), (1, 2, 3)])
def test_ids_of_another_shape_are_refused(tiny, shape):
    with pytest.raises(ValueError, match=r"\(batch, num_tokens\)"):
        tiny(torch.zeros(shape, dtype=torch.long))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool, torch.int16])
def test_ids_of_another_dtype_are_refused(tiny, dtype):
    with pytest.raises(TypeError, match=str(dtype)):
        tiny(torch.zeros(1, 2, dtype=dtype))


def test_heads_must_divide_the_embedding():
    with pytest.raises(ValueError, match="emb_dim=8 can't be split evenly among n_heads=3"):
        GPTModel(TINY | {"n_heads": 3})


@pytest.mark.parametrize(
    ("size", "value"), [("n_heads", 0), ("n_heads", -2), ("emb_dim", 8.0), ("n_layers", 0)]
)
def test_a_size_must_be_a_whole_number_from_one(size, value):
    with pytest.raises(ValueError, match=f"{size} must be a whole number from 1, not {value}"):
        GPTModel(TINY | {size: value})


def test_a_configuration_without_a_size_is_refused_by_its_name():
    with pytest.raises(ValueError, match="lacks emb_dim"):
        GPTModel(BASE_CONFIG | {"n_heads": 2, "n_layers": 1})


def test_generation_appends_the_likeliest_token_and_forgets_beyond_the_context(tiny):
    ids = torch.arange(30).unsqueeze(0)
    longer = generate_text_simple(tiny, ids, max_new_tokens=5, context_size=32)
    assert longer.shape == (1, 35)
    assert longer[0, 30] == tiny(ids)[0, -1].argmax()
    assert longer[0, 34] == tiny(longer[:, 2:34])[0, -1].argmax()


def test_each_configuration_is_a_copy():
    gpt_config("gpt2-small (124M)")["emb_dim"] = 1
    assert gpt_config("gpt2-small (124M)")["emb_dim"] == 768
    assert [model_size(name) for name in MODEL_CONFIGS] == ["12M", "124M", "355M", "774M", "1558M"]


def test_a_mistyped_model_name_is_answered_with_the_choices():
    with pytest.raises(
        ValueError,
        match=r"unknown model 'gpt2-smal \(124M\)'; choose one of .*'gpt2-small \(124M\)'",
    ):
        gpt_config("gpt2-smal (124M)")


@pytest.mark.parametrize("token_id", [-1, 50257, 2**40])
def test_a_token_id_outside_the_vocabulary_is_refused_by_its_number(tiny, token_id):
    with pytest.raises(ValueError, match=f"there is no token {token_id}: .* ids 0 to 50256"):
        tiny(torch.tensor([[1, token_id]]))


def test_sizes_out_of_numpy_are_as_good_as_pythons():
    numpy_sizes = {name: np.int64(value) for name, value in TINY.items() if type(value) is int}
    model = GPTModel(TINY | numpy_sizes)
    assert model.cfg == TINY and json.dumps(model.cfg)
    plan = FreezePlan.last_blocks(np.int64(3), np.int32(1))
    report = parameter_report(TINY | numpy_sizes, plan, np.int64(2))
    assert str(report) == str(parameter_report(TINY, FreezePlan.book(3)))
