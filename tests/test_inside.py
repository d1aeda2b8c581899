"""What happens inside a classifier, as two other implementations and a hand-made model have it."""

import pytest
import torch
from captum.attr import FeatureAblation
from sklearn.decomposition import PCA
from transformers import GPT2LMHeadModel

from helpers.config import END_OF_TEXT, gpt_config
from helpers.freezing import replace_head
from helpers.model import GPTModel, without_causal_mask
from helpers.training import POSITIONS, class_logits, class_probabilities, class_vectors
from tests.conftest import TINY, random_model
from tests.test_parity import ours, random_params, transformers_model
from workshop.inside import (
    attention_and_answers,
    attention_weights,
    class_after_each_block,
    main_directions,
    token_influence,
)

CONFIGS = {
    "tiny": TINY,
    "one head, one block": TINY | {"n_heads": 1, "n_layers": 1},
    "nano": gpt_config("gpt2-nano (12M)"),
}
MESSAGE = [11, 500, 11, 42, 7000, 3, 3, 3]
PADDED = [*MESSAGE, END_OF_TEXT, END_OF_TEXT, END_OF_TEXT]


@pytest.fixture
def model() -> GPTModel:
    """A classifier whose every tensor is random; its answers are far from sure and from equal."""
    return classifier()


def classifier(num_classes: int = 2, cfg: dict = TINY, seed: int = 0) -> GPTModel:
    model = random_model(cfg, seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 3
        replace_head(model, num_classes).out_head.weight *= 10
    return model.eval()


def hooks_of(model) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def ids(*rows: list[int]) -> torch.Tensor:
    return torch.tensor(rows)


# --- where it looks -------------------------------------------------------------------------------


@pytest.mark.parametrize("cfg", CONFIGS.values(), ids=CONFIGS)
def test_attention_equals_transformers_attention_on_the_same_weights(cfg):
    flat, nested = random_params(cfg)
    other: GPT2LMHeadModel = transformers_model(cfg, flat)
    other.set_attn_implementation("eager")
    rows = torch.randint(cfg["vocab_size"], (2, 20), generator=torch.Generator().manual_seed(1))
    weights = attention_weights(ours(cfg, nested), rows)
    with torch.no_grad():
        expected = torch.stack(other(rows, output_attentions=True).attentions)
    assert weights.shape == (cfg["n_layers"], 2, cfg["n_heads"], 20, 20)
    torch.testing.assert_close(weights, expected, atol=1e-5, rtol=0)
    assert expected.std() > 1e-3  # not all alike


def test_each_row_of_attention_sums_to_1_and_the_future_gets_exactly_nothing(model):
    weights = attention_weights(model, ids(MESSAGE, MESSAGE[::-1]))
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(3, 2, 2, 8), atol=1e-6, rtol=0)
    assert (weights.triu(diagonal=1) == 0).all() and (weights.tril()[..., -1, :] > 0).all()


def test_without_the_causal_mask_the_future_gets_attention_too(model):
    weights = attention_weights(without_causal_mask(model), ids(MESSAGE))
    assert (weights > 0).all()


def test_dropout_changes_no_attention_and_the_model_is_left_as_it_was(model):
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first = attention_weights(model, ids(MESSAGE))
    for block in model.trf_blocks:
        block.att.dropout.p = 0.5
    model.train()
    assert torch.equal(attention_weights(model, ids(MESSAGE)), first)
    assert not model.training and hooks_of(model) == 0
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.state_dict().items())


def test_no_hook_stays_behind_where_the_model_refuses_the_tokens(model):
    for look in (attention_weights, class_after_each_block):
        with pytest.raises(ValueError, match="there is no token 60000"):
            look(model, ids([60000]))
        assert hooks_of(model) == 0


# --- what tips it ---------------------------------------------------------------------------------


def ablation_by_captum(model: GPTModel, row: list[int], position: str) -> torch.Tensor:
    """Captum's influence: on a mask of ones, one for each token, whose zeros delete tokens."""
    label = class_logits(model, ids(row), position)[0].argmax()

    def log_odds(present: torch.Tensor) -> torch.Tensor:
        found = []
        for mask in present:
            kept = ids([token for token, here in zip(row, mask, strict=True) if here])
            p = class_probabilities(model, kept, position)[0, label].double()
            found.append((p / (1 - p)).log())
        return torch.stack(found)

    return FeatureAblation(log_odds).attribute(torch.ones(1, len(row)), baselines=0)[0]


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("row", [MESSAGE, PADDED, [5, 6]], ids=["message", "padded", "two"])
@pytest.mark.parametrize("num_classes", [2, 4])
def test_influence_equals_captums_ablation(row, position, num_classes):
    model = classifier(num_classes)
    influence = token_influence(model, row, position)
    expected = ablation_by_captum(model, row, position).float()
    assert influence.shape == (len(row),) and influence.dtype == torch.float32
    torch.testing.assert_close(influence, expected, atol=2e-5, rtol=0)
    assert expected.abs().max() > 0.02 or position == "first" or len(row) == 2


def test_influence_of_the_mean_without_the_causal_mask_equals_captums(model):
    without_causal_mask(model)
    for position in ("mean", "last"):
        torch.testing.assert_close(
            token_influence(model, MESSAGE, position),
            ablation_by_captum(model, MESSAGE, position).float(),
            atol=2e-5,
            rtol=0,
        )


def planted(token: int, position: str = "last") -> GPTModel:
    """A classifier that says class 1 where `token` is in the message, else class 0.

    Its one block does nothing but carry: each token's vector has a 1 in coordinate 0 if it is
    `token`, attention is spread evenly over what came before, and its value is taken as it is.
    """
    cfg = TINY | {"n_layers": 1, "n_heads": 1, "vocab_size": 100}
    model = replace_head(GPTModel(cfg))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.tok_emb.weight[:, 1] = 1.0
        model.tok_emb.weight[token, 0] = 4.0
        block = model.trf_blocks[0]
        block.norm1.scale.fill_(1.0)
        model.final_norm.scale.fill_(1.0)
        block.att.W_value.weight.copy_(torch.eye(8))
        block.att.out_proj.weight.copy_(torch.eye(8))
        model.out_head.weight[1, 0] = 10.0
        model.out_head.bias[1] = 2.2  # between what it says with the token and without
    return model


@pytest.mark.parametrize("place", [0, 3, 6])
def test_where_one_token_decides_its_influence_is_the_greatest_by_far(place):
    row = [10, 11, 12, 13, 14, 15, 16]
    row[place] = 99
    model = planted(99)
    assert class_probabilities(model, ids(row))[0].argmax() == 1
    influence = token_influence(model, row)
    others = torch.cat((influence[:place], influence[place + 1 :]))
    assert influence.argmax() == place and influence[place] > 5 * others.abs().max()


def test_a_token_that_speaks_against_the_answer_has_an_influence_below_zero():
    model = planted(99)
    with torch.no_grad():
        model.out_head.bias[0] = 60.0  # now it says class 0 all the same
    influence = token_influence(model, [10, 11, 99, 12])
    assert influence.argmin() == 2 and influence[2] < -1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_influence_in_another_precision_is_nearly_the_same(model, dtype):
    expected = token_influence(model, MESSAGE)
    found = token_influence(model.to(dtype), MESSAGE)
    assert found.dtype == torch.float32 and expected.abs().min() > 0.3
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0)


def test_equal_messages_run_once(model, monkeypatch):
    run = []
    monkeypatch.setattr(
        "helpers.inside.class_vectors",
        lambda model, rows, position: run.extend(rows) or class_vectors(model, rows, position),
    )
    influence = token_influence(model, PADDED)
    # the whole row, and one for each real token and one for the padding; the three 3s are alike
    assert len(run) == 1 + 6 + 1
    assert influence[5] == influence[6] == influence[7] and influence[8] == influence[10]


@pytest.mark.parametrize("position", ["last_token", "first"])
def test_padding_that_the_classifying_token_cannot_see_has_no_influence(model, position):
    influence = token_influence(model, PADDED, position)
    assert influence[8:].abs().max() < 1e-6
    torch.testing.assert_close(influence[:8], token_influence(model, MESSAGE, position))


# --- when it knows --------------------------------------------------------------------------------


def cut_after(model: GPTModel, blocks: int) -> GPTModel:
    """The same weights with the blocks above taken off by hand."""
    cut = replace_head(GPTModel(model.cfg))
    cut.load_state_dict(model.state_dict())
    cut.trf_blocks = cut.trf_blocks[:blocks]
    return cut.eval()


@pytest.mark.parametrize("position", POSITIONS)
def test_the_answer_after_each_block_is_that_of_a_model_cut_there(model, position):
    steps = class_after_each_block(model, ids(PADDED), position)
    assert steps.shape == (4, 2) and steps.dtype == torch.float32
    for blocks, probabilities in enumerate(steps):
        expected = class_probabilities(cut_after(model, blocks), ids(PADDED), position)[0]
        torch.testing.assert_close(probabilities, expected, atol=1e-6, rtol=0)
    whole = class_probabilities(model, ids(PADDED), position)[0]
    torch.testing.assert_close(steps[-1], whole, atol=1e-6, rtol=0)
    assert steps.std(dim=0).max() > 0.01 and hooks_of(model) == 0 and not model.training


def test_attention_and_answers_from_one_pass_are_those_of_two(model):
    weights, steps = attention_and_answers(model, ids(PADDED), "last_token")
    assert torch.equal(weights, attention_weights(model, ids(PADDED)))
    assert torch.equal(steps, class_after_each_block(model, ids(PADDED), "last_token"))


# --- where messages lie ---------------------------------------------------------------------------


@pytest.mark.parametrize("position", POSITIONS)
def test_the_head_makes_the_logits_of_the_class_vectors(model, position):
    ragged = [MESSAGE, [5], [8, 9, 10], PADDED, MESSAGE[::-1]]
    if position == "mean":
        ragged = [MESSAGE, MESSAGE[::-1], [5] * 8]
    vectors = class_vectors(model, ragged, position)
    assert vectors.shape == (len(ragged), 8)
    with torch.no_grad():
        logits = model.out_head(vectors)
        for row, found in zip(ragged, logits, strict=True):
            expected = class_logits(model, ids(row), position)[0]
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_the_main_directions_are_those_of_sklearns_pca():
    vectors = torch.randn(60, 8, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 9)
    found = main_directions(vectors, count=3)
    pca = PCA(n_components=3, svd_solver="full").fit(vectors.double().numpy())
    torch.testing.assert_close(
        found.shares.double(), torch.tensor(pca.explained_variance_ratio_), atol=1e-5, rtol=0
    )
    theirs = torch.tensor(pca.transform(vectors.double().numpy())).abs()
    torch.testing.assert_close(found.place(vectors).double().abs(), theirs, atol=1e-4, rtol=0)
    assert (found.axes.amax(dim=1) == found.axes.abs().amax(dim=1)).all()  # the sign is set
    torch.testing.assert_close(found.axes @ found.axes.T, torch.eye(3), atol=1e-5, rtol=0)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda m: attention_weights(m, MESSAGE), TypeError, "token ids must be a torch.Tensor"),
        (lambda m: attention_weights(None, ids(MESSAGE)), TypeError, "model must be a GPTModel"),
        (lambda m: attention_weights(m, ids([1] * 33)), ValueError, "context length of 32"),
        (lambda m: token_influence(m, [5]), ValueError, "of 1 tokens none can be left out"),
        (lambda m: token_influence(m, []), ValueError, "of 0 tokens none can be left out"),
        (lambda m: token_influence(m, ids(MESSAGE)), ValueError, "token ids of one message"),
        (lambda m: token_influence(m, 5), ValueError, "token ids of one message"),
        (lambda m: token_influence(m, [0.5, 1.5]), ValueError, "token ids of one message"),
        (lambda m: token_influence(m, "hi"), ValueError, "token ids of one message"),
        (lambda m: token_influence(m, [None, 1]), ValueError, "token ids of one message"),
        (lambda m: token_influence(m, [True, False]), ValueError, "token ids of one message"),
        (lambda m: token_influence(m, MESSAGE, "end"), ValueError, "not 'end'"),
        (
            lambda m: token_influence(m, MESSAGE, label=2),
            ValueError,
            "label must be .*0 to 1, not 2",
        ),
        (lambda m: token_influence(m, [1] * 40), ValueError, "context length of 32"),
        (
            lambda m: class_after_each_block(m, ids(MESSAGE, MESSAGE)),
            ValueError,
            r"one message, \(1, n\), not \(2, 8\)",
        ),
        (
            lambda m: class_after_each_block(m, torch.tensor(MESSAGE)),
            ValueError,
            r"one message, \(1, n\), not \(8,\)",
        ),
        (lambda m: class_after_each_block(m, ids(MESSAGE), "end"), ValueError, "not 'end'"),
        (lambda m: class_vectors(m, [[1], []]), ValueError, "a message has no tokens"),
        (lambda m: class_vectors(m, [MESSAGE, [1]], "mean"), ValueError, "pad or cut them"),
        (lambda m: main_directions(torch.ones(5, 4)), ValueError, "all alike"),
        (lambda m: main_directions(torch.full((7, 4), 0.1)), ValueError, "all alike"),
        (lambda m: main_directions(torch.zeros(7, 4)), ValueError, "all alike"),
        (lambda m: main_directions(torch.full((7, 4), torch.nan)), ValueError, "not finite"),
        (lambda m: main_directions(ids(MESSAGE, PADDED[3:])), ValueError, "not torch.int64"),
        (lambda m: attention_and_answers(m, ids(MESSAGE, MESSAGE)), ValueError, "one message"),
        (lambda m: main_directions(torch.ones(1, 4)), ValueError, r"at least 2 .*\(1, 4\)"),
        (lambda m: main_directions([[1, 2]]), TypeError, "vectors must be a torch.Tensor"),
    ],
)
def test_what_cannot_be_looked_at_gets_a_sentence(model, call, error, words):
    with pytest.raises(error, match=words):
        call(model)
    assert hooks_of(model) == 0
