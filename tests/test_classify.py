"""The finished classifier answers, refuses, survives a save that fails, and comes back the same."""

import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from helpers import classify
from helpers.classify import SpamClassifier, classify_review, load_or_train, trained_from
from helpers.freezing import replace_head
from helpers.tokenizer import get_tokenizer
from tests.conftest import ROOT, TINY, random_model

TEXTS = ["You won!", "see you at eight", "🎉🎉", "<b>hi</b>", "<|endoftext|>", "free", "ok then, call me tomorrow"]


def classifier(position="last_token", seed=0, **changes) -> SpamClassifier:
    model = random_model(TINY | changes, seed)
    torch.manual_seed(seed)
    replace_head(model)
    with torch.no_grad():
        model.out_head.weight.normal_()
    return SpamClassifier(model, max_length=20, position=position, about={"model": "tiny"})


@pytest.mark.parametrize("position", ["last", "last_token"])
def test_one_at_a_time_many_at_once_and_any_batch_size_agree(position):
    spam_filter = classifier(position)
    probabilities = spam_filter.probabilities(TEXTS)
    assert probabilities.shape == (7, 2) and probabilities.dtype == torch.float32
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(7))
    torch.testing.assert_close(probabilities, spam_filter.probabilities(TEXTS, batch_size=3), atol=1e-5, rtol=0)
    labels = spam_filter.classify_many(TEXTS)
    assert labels == [spam_filter.classify(text) for text in TEXTS]
    assert labels == [("ham", "spam")[int(p > 0.5)] for p in probabilities[:, 1]]
    assert spam_filter.classify_many([]) == []


def test_the_books_function_and_the_class_agree_on_the_last_position():
    spam_filter = classifier("last")
    for text in TEXTS:
        answer = classify_review(text, spam_filter.model, get_tokenizer(), "cpu", max_length=20)
        assert answer == {"spam": "spam", "ham": "not spam"}[spam_filter.classify(text)]
    assert classify_review("no length given", spam_filter.model, get_tokenizer(), "cpu") in ("spam", "not spam")


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
    assert (second.max_length, second.position, second.about) == (20, "last_token", {"model": "tiny"})
    assert second.model.cfg == TINY and not second.model.training
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["filter.safetensors"]


def test_a_save_that_fails_half_way_leaves_the_old_classifier_whole(tmp_path):
    pytest.importorskip("resource", reason="there is no way to limit a file's size on Windows")
    path = classifier().save(tmp_path / "filter.safetensors")
    before = path.read_bytes()
    code = (
        "import resource, signal; from tests.test_classify import classifier\n"
        "spam_filter = classifier(seed=1)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # as when the disk is full\n"
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
    with pytest.raises(ValueError, match="not a whole file of SpamClassifier.save"):
        SpamClassifier.load(path)
    for metadata in (None, {"spam_classifier": "[]"}, {"spam_classifier": '{"cfg": null}'}):
        save_file({"a": torch.ones(1)}, path, metadata=metadata)
        with pytest.raises(ValueError, match="not a whole file of SpamClassifier.save .*; delete it and train again"):
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


def test_the_classifier_of_section_6_7_is_loaded_only_if_it_is_the_one_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(classify, "fine_tuning_defaults", lambda _: {"lr": 1e-3, "weight_decay": 0.1, "num_epochs": 0})
    monkeypatch.chdir(tmp_path)
    path, names = tmp_path / "filter.safetensors", ("gpt2-nano (12M)", "sms-mini")
    first = load_or_train(path, *names)
    assert first.about == trained_from(*names) and first.max_length == 82
    written = path.stat().st_mtime_ns
    assert load_or_train(path, *names).about == first.about and path.stat().st_mtime_ns == written
    with pytest.warns(UserWarning, match="is another classifier: it stays"):
        assert load_or_train(path, *names, position="last_token").position == "last_token"
    with pytest.warns(UserWarning, match="is another classifier: it stays"):
        assert load_or_train(path, *names, seed=1).about["seed"] == "1"
    assert path.stat().st_mtime_ns == written
    path.write_bytes(b"damaged")
    with pytest.warns(UserWarning, match="it is trained again"):
        assert load_or_train(path, *names).about == first.about
