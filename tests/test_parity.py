"""The same weights give the same numbers in two independent implementations: transformers, and the
book's package.
"""

import importlib
import re

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from transformers import GPT2Config, GPT2LMHeadModel

from helpers.classify import classify_review
from helpers.config import gpt_config
from helpers.data import pad
from helpers.freezing import FreezePlan, replace_head
from helpers.loading import checkpoint_variables, load_weights_into_gpt
from helpers.model import GPTModel, generate_text_simple
from helpers.tokenizer import get_tokenizer
from helpers.training import train_classifier_simple
from tests.conftest import TINY

OURS = {  # OpenAI's and transformers' names → the book's
    "n_vocab": "vocab_size", "vocab_size": "vocab_size", "n_ctx": "context_length",
    "n_positions": "context_length", "n_embd": "emb_dim", "n_layer": "n_layers", "n_head": "n_heads",
}  # fmt: skip
ALL = [
    pytest.param(TINY, id="tiny"),
    pytest.param(TINY | {"n_heads": 1, "n_layers": 1}, id="one head"),
    pytest.param(TINY | {"vocab_size": 100, "emb_dim": 48, "n_heads": 6}, id="small vocabulary"),
    pytest.param(gpt_config("gpt2-nano (12M)"), id="nano"),
    pytest.param(gpt_config("gpt2-small (124M)"), id="124M", marks=pytest.mark.proof),
]


@pytest.fixture
def book():
    """The modules of the book's package; they need a numpy that Python 3.13 has no wheels for."""
    reason = "llms-from-scratch is not installed (Python 3.13)"
    package = pytest.importorskip("llms_from_scratch", reason=reason)
    for chapter in ("ch04", "ch05", "ch06"):
        importlib.import_module(f"llms_from_scratch.{chapter}")
    return package


def random_params(cfg: dict) -> tuple[dict, dict]:
    """Random weights in OpenAI's layout: flat by variable name, and nested as the book has them."""
    rng = np.random.default_rng(0)
    theirs = ("n_vocab", "n_ctx", "n_embd", "n_layer", "n_head")
    scale = 0.6 / cfg["emb_dim"] ** 0.5
    flat, nested = {}, {"blocks": [{} for _ in range(cfg["n_layers"])]}
    for variable in checkpoint_variables({name: cfg[OURS[name]] for name in theirs}):
        array = rng.standard_normal(variable.shape[-2:], dtype=np.float32) * scale
        if variable.name.endswith("/g"):
            array += 1
        flat[variable.name] = array
        tree = nested
        for key in variable.path[:-1]:
            tree = tree[key] if isinstance(tree, list) else tree.setdefault(key, {})
        tree[variable.path[-1]] = array
    return flat, nested


def ours(cfg, params) -> GPTModel:
    model = GPTModel(cfg)
    load_weights_into_gpt(model, params)
    return model.eval()


def transformers_model(cfg, flat) -> GPT2LMHeadModel:
    theirs = ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head")
    model = GPT2LMHeadModel(GPT2Config(**{name: cfg[OURS[name]] for name in theirs}))
    renamed = {}
    kinds = {"w": "weight", "g": "weight", "b": "bias"}
    for name, array in flat.items():
        key = re.sub(r"^model/(h(?=\d))?", lambda at: "h." if at[1] else "", name)
        head, _, last = key.replace("/", ".").rpartition(".")
        key = f"{head}.{kinds[last]}" if head else f"{last}.weight"
        renamed[f"transformer.{key}"] = torch.tensor(array)
    missing, unexpected = model.load_state_dict(renamed, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}
    model.tie_weights()
    return model.eval()


@pytest.mark.parametrize("cfg", ALL)
def test_logits_continuation_and_classifier_equal_transformers(cfg):
    flat, nested = random_params(cfg)
    model, other = ours(cfg, nested), transformers_model(cfg, flat)
    ids = torch.randint(cfg["vocab_size"], (2, 20), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(model(ids), other(ids).logits, atol=1e-4, rtol=0)
    options = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    greedy = other.generate(ids[:1], max_new_tokens=6, **options)
    mine = generate_text_simple(model, ids[:1], 6, cfg["context_length"])
    assert mine.tolist() == greedy.tolist()

    torch.manual_seed(123)
    replace_head(model)
    other.lm_head = torch.nn.Linear(cfg["emb_dim"], 2)
    other.lm_head.load_state_dict(model.out_head.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(model(ids), other(ids).logits, atol=1e-4, rtol=0)


@pytest.mark.parametrize("cfg", ALL)
def test_logits_continuation_classifier_and_gradients_equal_the_book(cfg, book):
    _, nested = random_params(cfg)
    model, other = ours(cfg, nested), book.ch04.GPTModel(cfg)
    book.ch05.load_weights_into_gpt(other, nested)
    other.eval()
    ids = torch.randint(cfg["vocab_size"], (2, 20), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        torch.testing.assert_close(model(ids), other(ids), atol=1e-4, rtol=0)
    expected = book.ch04.generate_text_simple(other, ids[:1], 6, cfg["context_length"])
    mine = generate_text_simple(model, ids[:1], 6, cfg["context_length"])
    assert mine.tolist() == expected.tolist()

    torch.manual_seed(123)
    replace_head(model)
    torch.manual_seed(123)
    other.out_head = torch.nn.Linear(cfg["emb_dim"], 2)
    for one in (model, other):
        FreezePlan.book(cfg["n_layers"]).apply(one)
        torch.nn.functional.cross_entropy(one(ids)[:, -1, :], torch.tensor([0, 1])).backward()
    with torch.no_grad():
        torch.testing.assert_close(model(ids), other(ids), atol=1e-4, rtol=0)
    theirs = dict(other.named_parameters())
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == (theirs[name].grad is None), name
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, theirs[name].grad, atol=1e-4, rtol=1e-3)


def test_a_classifier_saved_by_the_book_loads_strictly_and_prints_the_same(book):
    other = book.ch04.GPTModel(TINY)
    other.out_head = torch.nn.Linear(TINY["emb_dim"], 2)
    assert "trf_blocks.0.att.mask" in other.state_dict()
    model = replace_head(GPTModel(TINY))
    model.load_state_dict(other.state_dict(), strict=True)
    assert not [name for name in model.state_dict() if "mask" in name]
    assert str(model) == str(other)
    _, nested = random_params(TINY)
    learners = book.ch04.GPTModel(TINY)  # a class from chapter 4, with its masks, is filled too
    load_weights_into_gpt(learners, nested)
    loaded = learners.trf_blocks[1].att.W_key.weight
    assert torch.equal(loaded, ours(TINY, nested).trf_blocks[1].att.W_key.weight)
    with pytest.raises(RuntimeError, match="att.surprise"):  # strict still means strict
        model.load_state_dict(other.state_dict() | {"trf_blocks.0.att.surprise": torch.ones(1)})


def test_fine_tuning_gives_the_numbers_of_the_books_loop(book, capsys):
    cfg = TINY | {"drop_rate": 0.1}
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(1000, (40, 12), generator=generator)
    data = [(row, torch.tensor(i % 2)) for i, row in enumerate(rows)]
    results = []
    of_the_book = book.ch04.GPTModel, book.ch06.train_classifier_simple
    for make, train in ((GPTModel, train_classifier_simple), of_the_book):
        torch.manual_seed(5)
        model = make(cfg)
        model.out_head = torch.nn.Linear(cfg["emb_dim"], 2)
        FreezePlan.book(cfg["n_layers"]).apply(model)
        loaders = DataLoader(data, 8, shuffle=True), DataLoader(data[:20], 8)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
        torch.manual_seed(6)
        results.append(train(model, *loaders, optimizer, "cpu", 2, eval_freq=3, eval_iter=2))
    (*mine, seen), (*theirs, seen_by_the_book) = results
    assert seen == seen_by_the_book == 80
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_classify_review_gives_the_books_answers(book, tiny):
    replace_head(tiny)
    other = book.ch04.GPTModel(TINY)
    other.out_head = torch.nn.Linear(TINY["emb_dim"], 2)
    texts = ["You won!", "see you at 8", "free " * 50, "ok", "call me", "🎉🎉", "<b>hi</b>", "milk"]
    arguments = get_tokenizer(), "cpu"
    rows = torch.tensor([pad(get_tokenizer().encode(text), 24) for text in texts])
    with torch.no_grad():  # a head that calls about half of them spam
        ham, spam = tiny(rows)[:, -1].T
        tiny.out_head.bias[0] += (spam - ham).median()
    other.load_state_dict(tiny.state_dict(), strict=False)
    with pytest.warns(UserWarning, match="only its first 24"):
        mine = [classify_review(text, tiny, *arguments, max_length=24) for text in texts]
    theirs = [book.ch06.classify_review(text, other, *arguments, max_length=24) for text in texts]
    assert mine == theirs and set(mine) == {"spam", "not spam"}
