"""The shapes are those of a real forward pass."""

import pytest
import torch

from helpers.config import MODEL_CONFIGS, gpt_config
from helpers.freezing import classifier_without_weights, part_names, replace_head, trace_shapes
from tests.conftest import TINY, random_model


@pytest.mark.parametrize("name", MODEL_CONFIGS)
def test_every_size_is_traced_without_weights(name):
    cfg = gpt_config(name)
    shapes = {
        shape.part: shape.shape
        for shape in trace_shapes(classifier_without_weights(cfg), torch.ones(1, 4).long())
    }
    assert list(shapes) == ["token_ids", *part_names(cfg["n_layers"])]
    inside = (1, 4, cfg["emb_dim"])
    assert shapes["token_ids"] == (1, 4) and shapes["pos_emb"] == inside[1:]
    assert shapes["tok_emb"] == shapes["trf_blocks.0"] == shapes["final_norm"] == inside
    assert shapes["out_head"] == (1, 4, 2)


def test_a_live_model_gives_the_same_and_keeps_no_hooks():
    model, ids = (
        replace_head(random_model(TINY | {"drop_rate": 0.5}), 5),
        torch.ones(3, 7, dtype=torch.long),
    )
    assert trace_shapes(model, ids) == trace_shapes(classifier_without_weights(TINY, 5), ids)
    assert trace_shapes(model, ids)[-1].shape == tuple(model(ids).shape) == (3, 7, 5)
    with pytest.raises(ValueError, match="more than the context length"):
        trace_shapes(model, torch.ones(1, 33, dtype=torch.long))
    model.train()
    torch.manual_seed(0)
    first = torch.rand(1)
    torch.manual_seed(0)
    trace_shapes(model, ids)
    assert torch.equal(torch.rand(1), first)  # looking changes nothing that chance decides later
    assert not any(module._forward_hooks for module in model.modules())


def test_the_last_tokens_logits_are_the_shape_that_classifies_each_message():
    model, ids = replace_head(random_model(TINY), 5), torch.ones(3, 7, dtype=torch.long)
    plain, shapes = trace_shapes(model, ids), trace_shapes(model, ids, last_token=True)
    assert shapes[:-1] == plain and "last_token" not in {shape.part for shape in plain}
    assert shapes[-1].part == "last_token"
    assert shapes[-1].shape == tuple(model(ids)[:, -1, :].shape) == (3, 5)
    assert trace_shapes(classifier_without_weights(TINY, 5), ids, last_token=True) == shapes
