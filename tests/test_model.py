"""The model behaves like GPT-2 and refuses what it can't take."""

import pytest
import torch

from helpers.config import MODEL_CONFIGS, gpt_config, model_size
from helpers.model import (
    GPTModel,
    generate_text_simple,
    has_causal_mask,
    part_names,
    without_causal_mask,
)
from tests.conftest import TINY, random_model


def test_a_token_sees_what_follows_it_only_without_the_causal_mask(tiny):
    ids = torch.tensor([[1, 2, 3, 4, 5], [1, 2, 3, 9, 9]])
    first, second = tiny(ids)
    torch.testing.assert_close(first[:3], second[:3], atol=1e-5, rtol=0)
    assert not torch.allclose(first[3:], second[3:], atol=1e-3) and has_causal_mask(tiny)
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


def test_the_parameters_have_the_books_names_and_the_head_its_own_weights():
    model = GPTModel(TINY | {"qkv_bias": False})
    names = dict(model.named_parameters())
    assert "trf_blocks.0.att.W_query.bias" not in names and "trf_blocks.0.att.W_key.weight" in names
    assert "trf_blocks.2.att.out_proj.bias" in names and "trf_blocks.2.ff.layers.2.bias" in names
    assert "out_head.bias" not in names and names["out_head.weight"] is not model.tok_emb.weight
    assert part_names(3)[1:4] == ("pos_emb", "trf_blocks.0", "trf_blocks.1")
    assert {name.partition(".")[0] for name in names} == {"trf_blocks"} | set(part_names(0))


def test_generation_appends_the_likeliest_token_and_forgets_beyond_the_context(tiny):
    ids = torch.arange(30).unsqueeze(0)
    longer = generate_text_simple(tiny, ids, max_new_tokens=5, context_size=32)
    assert longer.shape == (1, 35) and torch.equal(longer[:, :30], ids)
    assert longer[0, 30] == tiny(ids)[0, -1].argmax()
    assert longer[0, 34] == tiny(longer[:, 2:34])[0, -1].argmax()
    with pytest.raises(ValueError, match="33 tokens are more than the context length of 32; cut"):
        tiny(longer[:, :33])


def test_each_configuration_is_a_copy_and_a_mistyped_name_is_answered_with_the_choices():
    gpt_config("gpt2-small (124M)")["emb_dim"] = 1
    assert gpt_config("gpt2-small (124M)")["emb_dim"] == 768
    assert [model_size(name) for name in MODEL_CONFIGS] == ["12M", "124M", "355M", "774M", "1558M"]
    with pytest.raises(ValueError, match=r"the model must be .*'gpt2-small .*, not 'gpt2-smal \(1"):
        model_size("gpt2-smal (124M)")
