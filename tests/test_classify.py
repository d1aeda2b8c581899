"""The finished classifier answers, refuses, survives a save that fails, and comes back the same."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import warnings

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch.utils.data import DataLoader

from helpers import classify, training
from helpers import classify as classifier_file
from helpers.classify import SpamClassifier, classify_review
from helpers.data import SpamDataset, load_splits, pad
from helpers.freezing import FreezePlan, replace_head
from helpers.loading import load_pretrained
from helpers.lora import is_adapter, merge
from helpers.model import without_causal_mask
from helpers.tokenizer import get_tokenizer
from helpers.training import POSITIONS, class_probabilities
from tests.conftest import ROOT, TINY, random_model
from workshop import fast
from workshop.fast import load_or_train, trained_from

TEXTS = [
    "You won!",
    "see you at eight",
    "🎉🎉",
    "<b>hi</b>",
    "<|endoftext|>",
    "free",
    "ok then, call me tomorrow",
]


def classifier(position="last_token", seed=0, **changes) -> SpamClassifier:
    model = random_model(TINY | changes, seed)
    torch.manual_seed(seed)
    replace_head(model)
    with torch.no_grad():
        model.out_head.weight.normal_()
    return SpamClassifier(model, max_length=20, position=position, about={"model": "tiny"})


@pytest.mark.parametrize("mask", ["causal", "none"])
@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("tokens_at_once", [4096, 25, 1])
def test_one_at_a_time_and_many_at_once_agree_in_any_order(
    position, tokens_at_once, mask, monkeypatch
):
    monkeypatch.setattr(training, "TOKENS_AT_ONCE", tokens_at_once)
    spam_filter, tokenizer = classifier(position), get_tokenizer()
    if mask == "none":
        without_causal_mask(spam_filter.model)
    ham, spam = spam_filter.probabilities(TEXTS).log().T
    spam_filter.model.out_head.bias.data[0] += (
        spam - ham
    ).median() + 1e-3  # now it calls about half of them spam
    probabilities = spam_filter.probabilities(TEXTS)
    assert probabilities.shape == (7, 2) and probabilities.dtype == torch.float32
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(7))
    odds = (
        spam_filter.logits(TEXTS).double().diff(dim=1)[:, 0]
    )  # exact where a probability is 0 or 1
    torch.testing.assert_close(odds.sigmoid(), probabilities[:, 1].double(), atol=1e-6, rtol=0)
    rows = torch.tensor([pad(tokenizer.encode(text, disallowed_special=()), 20) for text in TEXTS])
    alone = [class_probabilities(spam_filter.model, row.unsqueeze(0), position)[0] for row in rows]
    torch.testing.assert_close(probabilities, torch.stack(alone), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        spam_filter.probabilities(TEXTS[::-1]), torch.stack(alone[::-1]), atol=1e-5, rtol=0
    )
    labels = spam_filter.classify_many(TEXTS)
    assert labels == [spam_filter.classify(text) for text in TEXTS] and set(labels) == {
        "ham",
        "spam",
    }
    assert labels == [("ham", "spam")[int(p > 0.5)] for p in probabilities[:, 1]]


def test_no_messages_have_no_labels():
    assert classifier().classify_many([]) == [] and classifier().probabilities([]).shape == (0, 2)


@pytest.mark.parametrize("position", POSITIONS)
def test_short_messages_beside_one_of_1024_tokens_get_the_labels_that_they_get_alone(position):
    spam_filter = classifier(position, context_length=1024)
    spam_filter.max_length = 1024
    texts = [*TEXTS, "word" + " word" * 1023, "ok"]
    probabilities = spam_filter.probabilities(texts)
    alone = torch.cat([spam_filter.probabilities([text]) for text in texts])
    torch.testing.assert_close(probabilities, alone, atol=1e-5, rtol=0)
    seen = []
    spam_filter.model.tok_emb.register_forward_hook(
        lambda _, inputs, output: seen.append(inputs[0].numel())
    )
    spam_filter.classify_many(texts)
    if position == "last_token":  # beside the long message no short one is filled up
        tokens = [len(get_tokenizer().encode(text, disallowed_special=())) for text in texts]
        assert max(tokens) == 1024 and sum(seen) <= 1024 + 8 * max(tokens[:7])


def test_bfloat16_gives_nearly_the_same_probabilities_and_another_precision_is_refused():
    spam_filter = classifier()
    exact, rough = spam_filter.probabilities(TEXTS), spam_filter.probabilities(TEXTS, "bfloat16")
    assert 0 < (exact - rough).abs().max() < 0.05 and rough.dtype == torch.float32
    with pytest.raises(ValueError, match="not 'float64'"):
        spam_filter.probabilities(TEXTS, "float64")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_model_in_another_precision_answers_too(dtype):
    spam_filter = classifier()
    expected = spam_filter.probabilities(TEXTS)
    spam_filter.model.to(dtype)
    found = spam_filter.probabilities(TEXTS)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)


def test_the_books_function_and_the_class_agree_on_the_last_position():
    spam_filter = classifier("last")
    for text in TEXTS:
        answer = classify_review(text, spam_filter.model, get_tokenizer(), "cpu", max_length=20)
        assert answer == {"spam": "spam", "ham": "not spam"}[spam_filter.classify(text)]
    assert classify_review("no length given", spam_filter.model, get_tokenizer(), "cpu") in (
        "spam",
        "not spam",
    )


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_an_empty_message_is_refused(text):
    spam_filter = classifier()
    with pytest.raises(ValueError, match="the message is empty"):
        spam_filter.classify(text)
    with pytest.raises(ValueError, match="the message is empty"):
        classify_review(text, spam_filter.model, get_tokenizer(), "cpu")


def test_ten_thousand_words_are_cut_and_the_reader_is_told():
    spam_filter = classifier()
    with pytest.warns(UserWarning, match="has 10001 tokens; only its first 20 are read"):
        long = spam_filter.classify("word " * 10_000)
    assert long == spam_filter.classify(("word " * 20).strip())
    with pytest.warns(UserWarning, match="only its first 32 are read"):
        classify_review("word " * 10_000, spam_filter.model, get_tokenizer(), "cpu")


def test_what_is_no_message_is_refused():
    with pytest.raises(TypeError, match="must be a text, not None"):
        classifier().classify(None)
    with pytest.raises(TypeError, match="give a list of texts"):
        classifier().classify_many("a text")
    with pytest.raises(TypeError, match="give a list of texts, not None"):
        classifier().classify_many(None)


def test_a_classifier_is_not_made_from_parts_that_do_not_fit():
    model = random_model(TINY)
    with pytest.raises(ValueError, match="50257 outputs instead of 2; see replace_head"):
        SpamClassifier(model, 20)
    replace_head(model)
    for max_length in (0, 33, None):
        with pytest.raises(ValueError, match=f"whole number from 1 to 32 tokens, not {max_length}"):
            SpamClassifier(model, max_length)
    with pytest.raises(ValueError, match="position must be"):
        SpamClassifier(model, 20, position="middle")
    with pytest.raises(ValueError, match="max_length"):
        classify_review("hello", model, get_tokenizer(), "cpu", max_length=33)


# --- save and load ---


def test_a_saved_classifier_comes_back_the_same(tmp_path):
    first = classifier()
    second = SpamClassifier.load(first.save(tmp_path / "new" / "filter.safetensors"))
    assert torch.equal(first.probabilities(TEXTS), second.probabilities(TEXTS))
    assert (second.max_length, second.position, second.about) == (
        20,
        "last_token",
        {"model": "tiny"},
    )
    assert second.model.cfg == TINY and not second.model.training
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["filter.safetensors"]


@pytest.mark.parametrize("blocks_with_mask", [{0, 1, 2}, {1}, set()])
@pytest.mark.parametrize("position", POSITIONS)
def test_a_saved_classifier_comes_back_with_its_position_and_its_causal_masks(
    position, blocks_with_mask, tmp_path
):
    first = classifier(position)
    for number, block in enumerate(first.model.trf_blocks):
        block.att.causal = number in blocks_with_mask
    second = SpamClassifier.load(first.save(tmp_path / "filter.safetensors"))
    assert torch.equal(first.probabilities(TEXTS), second.probabilities(TEXTS))
    assert second.position == position


def adapted(plan: FreezePlan) -> SpamClassifier:
    spam_filter = classifier()
    plan.apply(spam_filter.model)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in spam_filter.model.named_parameters():
            if is_adapter(name):
                parameter.normal_(std=0.3)
    return spam_filter


@pytest.mark.parametrize(
    "plan",
    [
        FreezePlan.lora(3, 1),
        FreezePlan.lora(3, rank=2, alpha=0.5),
        FreezePlan(3, {"out_head", "trf_blocks.2.ff"}, {"trf_blocks.0.ff", "trf_blocks.2.att"}, 3),
    ],
)
def test_a_saved_classifier_with_adapters_comes_back_with_them(plan, tmp_path):
    first = adapted(plan)
    second = SpamClassifier.load(first.save(tmp_path / "filter.safetensors"))
    assert torch.equal(first.probabilities(TEXTS), second.probabilities(TEXTS))
    assert (first.probabilities(TEXTS) - classifier().probabilities(TEXTS)).abs().max() > 1e-4
    head_and_adapters = FreezePlan(3, {"out_head"}, plan.adapted, plan.rank, plan.alpha)
    assert FreezePlan.of(second.model) == head_and_adapters
    assert {parameter.device.type for parameter in second.model.parameters()} == {"cpu"}
    third = SpamClassifier.load(
        SpamClassifier(merge(second.model), 20, position="last_token").save(tmp_path / "merged")
    )
    torch.testing.assert_close(
        third.probabilities(TEXTS), first.probabilities(TEXTS), atol=1e-5, rtol=0
    )


def test_a_file_from_before_there_were_adapters_is_loaded(tmp_path):
    first = classifier()
    path = first.save(tmp_path / "filter.safetensors")
    with safe_open(path, framework="pt") as file:
        settings = json.loads(file.metadata()[classifier_file.KEY])
    del settings["adapters"]
    save_file(first.model.state_dict(), path, metadata={classifier_file.KEY: json.dumps(settings)})
    second = SpamClassifier.load(path)
    assert torch.equal(first.probabilities(TEXTS), second.probabilities(TEXTS))


@pytest.mark.parametrize(
    "changes",
    [
        {"rank": 10**12},
        {"rank": 0},
        {"rank": 4},  # the file's own is 8
        {"rank": "8"},
        {"alpha": float("nan")},
        {"alpha": None},
        {"adapted": []},  # but there are some
        {"adapted": ["trf_blocks.1"]},
        {"adapted": ["out_head"]},
        {"adapted": "trf_blocks.2"},
        {"adapted": 5},
        {"adapted": [["trf_blocks.2"]]},
        {"adapted": ["trf_blocks.2"] * 10**5 + ["trf_blocks.1000000000"]},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_adapters_that_are_not_those_of_the_file_are_refused(changes, tmp_path):
    model = adapted(FreezePlan.lora(3, 1))
    path = model.save(tmp_path / "filter.safetensors")
    with safe_open(path, framework="pt") as file:
        settings = json.loads(file.metadata()[classifier_file.KEY])
    for adapters in (settings["adapters"] | changes, [1], "x", 7):
        metadata = {classifier_file.KEY: json.dumps(settings | {"adapters": adapters})}
        save_file(model.model.state_dict(), path, metadata=metadata)
        with pytest.raises(ValueError, match="not a whole file of a classifier"):
            SpamClassifier.load(path)


def test_a_save_that_fails_half_way_leaves_the_old_classifier_whole(tmp_path):
    pytest.importorskip("resource", reason="there is no way to limit a file's size on Windows")
    path = classifier().save(tmp_path / "filter.safetensors")
    before = path.read_bytes()
    code = (
        "import resource, signal; from tests.test_classify import classifier\n"
        "spam_filter = classifier(seed=1)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        # as when the disk is full
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        f"spam_filter.save({str(path)!r})"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode != 0 and "File too large" in run.stderr, run.stderr
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["filter.safetensors"]


def test_a_missing_a_damaged_and_another_file_are_refused(tmp_path):
    path = tmp_path / "filter.safetensors"
    with pytest.raises(FileNotFoundError, match=r"filter.safetensors does not exist"):
        SpamClassifier.load(path)
    classifier().save(path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match="not a whole file of a classifier"):
        SpamClassifier.load(path)
    for metadata in (None, {"spam_classifier": "[]"}, {"spam_classifier": '{"cfg": null}'}):
        save_file({"a": torch.ones(1)}, path, metadata=metadata)
        with pytest.raises(
            ValueError,
            match="not a whole file of a classifier .*delete it and train again",
        ):
            SpamClassifier.load(path)


def test_a_model_of_nans_neither_answers_nor_replaces_a_good_file(tmp_path):
    path = classifier().save(tmp_path / "filter.safetensors")
    before = path.read_bytes()
    broken = SpamClassifier.load(path)
    with torch.no_grad():
        broken.model.final_norm.scale[0] = float("nan")
    with pytest.raises(ValueError, match="the model's answer is not a number"):
        broken.classify("hello")
    with pytest.raises(ValueError, match="final_norm.scale holds values that are not finite"):
        broken.save(path)
    assert path.read_bytes() == before
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file(broken.model.state_dict(), path, metadata=metadata)
    with pytest.raises(ValueError, match="final_norm.scale holds values that are not finite"):
        SpamClassifier.load(path)


@pytest.fixture
def quick(monkeypatch):
    """Section 6.7's training on 16 messages, for one epoch."""

    def few(name):
        return [
            DataLoader(SpamDataset(part[:16], get_tokenizer(), 82), 8) for part in load_splits(name)
        ]

    monkeypatch.setattr(fast, "create_dataloaders", few)
    monkeypatch.setattr(
        classify,
        "fine_tuning_defaults",
        lambda _: {"lr": 1e-3, "weight_decay": 0.1, "num_epochs": 1},
    )


def test_the_classifier_of_section_6_7_is_loaded_only_if_it_is_the_one_asked_for(
    tmp_path, monkeypatch, quick
):
    monkeypatch.chdir(tmp_path)
    path, names = tmp_path / "filter.safetensors", ("gpt2-nano (12M)", "sms-mini")
    first = load_or_train(path, *names)
    assert first.about == trained_from(*names) and first.max_length == 82
    written = path.stat().st_mtime_ns
    assert load_or_train(path, *names).about == first.about and path.stat().st_mtime_ns == written
    with pytest.warns(UserWarning, match="is another classifier .*It stays"):
        assert load_or_train(path, *names, position="last_token").position == "last_token"
    with pytest.warns(UserWarning, match="is another classifier .*differs in: seed.*It stays"):
        other = load_or_train(path, *names, seed=1)
    assert other.about["seed"] == "1"
    assert not torch.equal(other.model.out_head.weight, first.model.out_head.weight)
    for name, value in {"settings": "{}", "code": "other"}.items():
        SpamClassifier(first.model, 82, about=first.about | {name: value}).save(
            tmp_path / "changed.safetensors"
        )
        with pytest.warns(UserWarning, match=f"differs in: {name}"):
            load_or_train(tmp_path / "changed.safetensors", *names)
    assert path.stat().st_mtime_ns == written
    path.write_bytes(b"damaged")
    with pytest.warns(UserWarning, match="not a whole file .*It stays"):
        assert load_or_train(path, *names).about == first.about


def test_the_head_that_is_trained_depends_on_the_seed_alone(tmp_path, quick):
    weights = []
    for global_seed, name in ((1, "a"), (2, "b")):
        torch.manual_seed(global_seed)
        saved = load_or_train(tmp_path / name, "gpt2-nano (12M)", "sms-mini", seed=7)
        weights.append(saved.model.out_head.weight)
    torch.testing.assert_close(*weights, atol=1e-6, rtol=0)


def test_messages_have_the_same_checksum_whatever_the_systems_line_ends(monkeypatch):
    here = trained_from("gpt2-nano (12M)", "sms-mini")
    monkeypatch.setattr(os, "linesep", "\r\n")  # what Windows has, and pandas writes
    assert trained_from("gpt2-nano (12M)", "sms-mini") == here


def test_a_training_that_is_interrupted_is_not_saved_as_the_classifier_of_section_6_7(
    tmp_path, monkeypatch, quick
):
    def interrupted_in_the_first_step(name):
        model = load_pretrained(name)
        model.final_norm.register_forward_hook(lambda *_: signal.raise_signal(signal.SIGINT))
        return model

    monkeypatch.setattr(fast, "load_pretrained", interrupted_in_the_first_step)
    with contextlib.suppress(KeyboardInterrupt), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load_or_train(tmp_path / "filter.safetensors", "gpt2-nano (12M)", "sms-mini")
    assert list(tmp_path.iterdir()) == []


def test_a_file_whose_settings_would_take_for_ever_or_fill_the_memory_is_refused(tmp_path):
    path = classifier().save(tmp_path / "filter.safetensors")
    with safe_open(path, framework="pt") as file:
        settings = json.loads(file.metadata()[classifier_file.KEY])
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for size, value in (("n_layers", 10**9), ("emb_dim", 2**40), ("vocab_size", 10**12)):
        changed = settings | {"cfg": settings["cfg"] | {size: value}}
        save_file(state, path, metadata={classifier_file.KEY: json.dumps(changed)})
        with pytest.raises(ValueError, match="not a whole file of a classifier"):
            SpamClassifier.load(path)


def test_a_file_of_somebody_elses_is_never_overwritten(tmp_path, quick):
    path = tmp_path / "filter.safetensors"
    save_file({"thesis": torch.ones(3)}, path)
    before = path.read_bytes()
    with pytest.warns(UserWarning, match="It stays"):
        load_or_train(path, "gpt2-nano (12M)", "sms-mini")
    assert path.read_bytes() == before
