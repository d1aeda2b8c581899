"""The finished classifier answers, refuses, survives a save that fails, and comes back the same."""

import contextlib
import json
import signal
import warnings
from dataclasses import replace

import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader

from helpers.classify import FORMAT, KEY, SpamClassifier, TextClassifier, classify_review
from helpers.data import SpamDataset, load_splits, pad
from helpers.freezing import FreezePlan, replace_head
from helpers.loading import load_pretrained
from helpers.lora import is_adapter, merge
from helpers.model import GPTModel, without_causal_mask
from helpers.tokenizer import encode_message, get_tokenizer
from helpers.training import POSITIONS, TrainingSettings, class_logits
from tests.conftest import TINY, random_model
from workshop import fast, forward
from workshop.fast import load_or_train, save_classifier, trained_from
from workshop.forward import fast_logits

TOPICS = ("bank", "delivery", "family", "work", "ads & games")
TEXTS = ["You won!", "see you at eight", "🎉🎉", "<b>hi</b>", "<|endoftext|>", "free"]
TEXTS += ["ok then, call me tomorrow"]


def model(num_classes: int = 2, seed: int = 0, **changes) -> GPTModel:
    made = replace_head(random_model(TINY | changes, seed), num_classes)
    with torch.no_grad():
        made.out_head.weight.normal_()
    return made


def classifier(position="last_token", seed=0, **changes) -> SpamClassifier:
    return SpamClassifier(model(2, seed, **changes), 20, position=position, about={"model": "tiny"})


def topics(labels=TOPICS, position="last_token", **settings) -> TextClassifier:
    return TextClassifier(model(len(labels)), labels, 20, position=position, **settings)


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize(("num_classes", "mask"), [(2, "causal"), (7, "none")])
def test_each_text_gets_the_name_of_the_class_whose_logit_is_largest_in_any_order(
    num_classes, position, mask, monkeypatch, tmp_path
):
    monkeypatch.setattr("helpers.classify.BATCH_SIZE", 3)
    monkeypatch.setattr(forward, "TOKENS_ON_CPU", 25)
    monkeypatch.setattr(forward, "bfloat16_is_faster", lambda: True)
    labels = tuple(f"class {number}" for number in range(num_classes))
    named = topics(labels, position)
    if mask == "none":
        without_causal_mask(named.model)
    rows = [pad(encode_message(text, get_tokenizer()), 20) for text in TEXTS]
    with torch.no_grad():
        expected = class_logits(named.model, torch.tensor(rows), position)
    torch.testing.assert_close(fast_logits(named, rows), expected, atol=1e-5, rtol=0)
    rough = fast_logits(named, rows, "bfloat16")
    assert 0 < (rough - expected).abs().max() < 0.1 and rough.dtype == torch.float32
    logits = named.logits(TEXTS)
    assert logits.shape == (7, num_classes) and logits.dtype == torch.float32
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(named.logits(TEXTS[::-1]), expected.flip(0), atol=1e-5, rtol=0)
    torch.testing.assert_close(named.probabilities(TEXTS), logits.softmax(dim=1))
    answers = [labels[number] for number in expected.argmax(dim=1)]
    assert named.classify_many(TEXTS) == answers
    assert [named.classify(text) for text in TEXTS] == answers
    assert named.classify_many(pd.Series(TEXTS)) == answers and named.classify_many([]) == []
    loaded = TextClassifier.load(named.save(tmp_path / "topics"))
    assert loaded.position == position and torch.equal(loaded.logits(TEXTS), logits)


def test_the_books_function_and_the_class_agree_on_the_last_position():
    spam_filter = classifier("last")
    ham, spam = spam_filter.logits(TEXTS).T
    spam_filter.model.out_head.bias.data[0] += (spam - ham).median() + 1e-3  # about half is spam
    labels = spam_filter.classify_many(TEXTS)
    assert set(labels) == {"ham", "spam"}
    for text, label in zip(TEXTS, labels, strict=True):
        answer = classify_review(text, spam_filter.model, get_tokenizer(), "cpu", max_length=20)
        assert answer == {"spam": "spam", "ham": "not spam"}[label]


def book(text, model):
    return classify_review(text, model, get_tokenizer(), "cpu")


def damaged() -> SpamClassifier:
    made = classifier()
    made.model.trf_blocks[0].att.out_proj.bias.data[0] = torch.nan
    return made


DAMAGED = "answer is not a number: its weights are damaged"
DIFFERENT = "must be different texts, one for each of .* 5"
REFUSED = [
    (DAMAGED, lambda: book("hello", damaged().model)),
    (DAMAGED, lambda: damaged().classify("hello")),
    (DAMAGED, lambda: fast_logits(damaged(), [[5, 6]])),
    ("the message is empty", lambda: classifier().classify(" \n")),
    ("must be a text, not", lambda: classifier().classify_many(["hi", float("nan")])),
    ("give a list of texts .* not a str;", lambda: classifier().classify_many("a text")),
    ("not a DataFrame;", lambda: classifier().classify_many(pd.DataFrame({"Text": TEXTS}))),
    (DIFFERENT, lambda: TextClassifier(model(5), TOPICS[:4], 20)),
    (DIFFERENT, lambda: TextClassifier(model(5), ("bank", "work", "bank", "ads", "family"), 20)),
    ("whole number from 1 to 32 tokens, not 33", lambda: SpamClassifier(model(), 33)),
    ("has 3 outputs, and .* 2, for ham and spam", lambda: book("hello", model(3))),
    ("has 50,257 outputs, and .* 2.* replace_head", lambda: book("hello", random_model(TINY))),
]


@pytest.mark.parametrize(("message", "ask"), REFUSED)
def test_what_cannot_be_answered_is_refused_with_the_reason(message, ask):
    with pytest.raises((ValueError, TypeError), match=message):
        ask()


def test_a_thousand_words_are_truncated_and_the_reader_is_told():
    spam_filter = classifier()
    with pytest.warns(UserWarning, match="has 1001 tokens; only its first 20 are read"):
        label = spam_filter.classify("word " * 1000)
    assert label == spam_filter.classify(("word " * 20).strip())
    with pytest.warns(UserWarning, match="only its first 32 are read"):
        book("word " * 1000, spam_filter.model)


@pytest.fixture
def path(tmp_path):
    return topics().save(tmp_path / "topics.safetensors")


def test_a_saved_classifier_comes_back_with_its_labels_in_their_order(tmp_path):
    labels = ("ja 👍", 'she said "no"', "日本")
    first = topics(labels, about={"model": "tiny", "what": "topics"})
    first.model.trf_blocks[1].att.causal = False
    second = TextClassifier.load(first.save(tmp_path / "new" / "topics.safetensors"))
    assert second.labels == labels and type(second) is TextClassifier
    assert (second.max_length, second.position, second.about) == (20, "last_token", first.about)
    assert [block.att.causal for block in second.model.trf_blocks] == [True, False, True]
    assert second.model.cfg == TINY and not second.model.training
    assert torch.equal(first.logits(TEXTS), second.logits(TEXTS))
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["topics.safetensors"]


def test_a_saved_classifier_with_adapters_comes_back_with_them(tmp_path):
    adapted = {"trf_blocks.0.ff", "trf_blocks.2.att"}
    plan = FreezePlan(3, {"out_head", "trf_blocks.2.ff"}, adapted, 3, alpha=0.5)
    first = classifier()
    plan.apply(first.model)
    with torch.no_grad():
        for name, parameter in first.model.named_parameters():
            if is_adapter(name):
                parameter.normal_(std=0.3)
    second = SpamClassifier.load(first.save(tmp_path / "filter.safetensors"))
    assert torch.equal(first.probabilities(TEXTS), second.probabilities(TEXTS))
    assert FreezePlan.of(second.model) == FreezePlan(3, {"out_head"}, adapted, 3, alpha=0.5)
    merged = SpamClassifier(merge(second.model), 20, position="last_token")
    third = SpamClassifier.load(merged.save(tmp_path / "merged"))
    probabilities = third.probabilities(TEXTS), first.probabilities(TEXTS)
    torch.testing.assert_close(*probabilities, atol=1e-5, rtol=0)


def test_a_compiled_model_is_saved_as_the_model_that_it_is_made_of(tmp_path):
    made = SpamClassifier(torch.compile(classifier().model), 20, position="last_token")
    again = SpamClassifier.load(made.save(tmp_path / "compiled.safetensors"))
    assert torch.equal(again.logits(TEXTS), classifier().logits(TEXTS))


def test_a_file_of_an_earlier_version_without_a_checksum_is_read(tmp_path):
    first, path = classifier(), tmp_path / "old.safetensors"
    settings = {  # written out, as that version wrote them
        "labels": ["ham", "spam"], "max_length": 20, "position": "last_token",
        "about": {"model": "tiny"}, "format": 1, "causal": [True, True, True],
        "cfg": {
            "vocab_size": 50257, "context_length": 32, "drop_rate": 0.0, "qkv_bias": True,
            "emb_dim": 8, "n_layers": 3, "n_heads": 2,
        },
        "adapters": {"adapted": [], "rank": 8, "alpha": 16.0},
    }  # fmt: skip
    metadata = {"text_classifier": json.dumps(settings)}
    save_file(first.model.state_dict(), path, metadata=metadata)
    read = SpamClassifier.load(path)
    expected = (("ham", "spam"), 20, "last_token", {"model": "tiny"})
    assert (read.labels, read.max_length, read.position, read.about) == expected
    assert torch.equal(read.logits(TEXTS), first.logits(TEXTS))


def change(path, **changes):
    """Write other settings into a file, beside the same tensors."""
    with safe_open(path, framework="pt") as file:
        settings = json.loads(file.metadata()[KEY]) | changes
    save_file(load_file(path), path, metadata={KEY: json.dumps(settings)})


def test_a_file_of_other_classes_or_of_a_later_version_is_named_as_that(path):
    topics(("spam", "ham")).save(path)
    message = r"topics.safetensors .*\('spam', 'ham'\), not \('ham', 'spam'\); TextClassifier.load"
    with pytest.raises(ValueError, match=message):
        SpamClassifier.load(path)
    change(path, format=FORMAT + 1, something="new")
    with pytest.raises(ValueError, match="topics.safetensors .*made by a later version"):
        TextClassifier.load(path)


def refused(path) -> str:
    """Return the message for a file that is refused."""
    with pytest.raises(ValueError, match="not a whole file of a classifier") as error:
        TextClassifier.load(path)
    assert path.name in str(error.value) and "delete" not in str(error.value)
    return str(error.value)


def test_a_file_that_is_cut_short_or_is_something_else_is_refused(path):
    whole = path.read_bytes()
    for content in (b"", whole[:500], whole[:-1], whole + b"\0", b"label,text\nbank,hi\n" * 100):
        path.write_bytes(content)
        refused(path)
    for position in (len(whole) - 1000, whole.index(b"family")):  # a weight, and a label
        flipped = bytearray(whole)
        flipped[position] ^= 1
        path.write_bytes(flipped)
        assert "its settings or weights are not those that were saved" in refused(path)
    adapters = {"adapted": ["trf_blocks.2"], "rank": 2, "alpha": 16.0}  # the file has none
    wrong = {"labels": TOPICS[:4], "max_length": 33, "cfg": {}, "adapters": adapters}
    for name, value in (*wrong.items(), ("cfg", TINY | {"emb_dim": 16})):
        path.write_bytes(whole)
        change(path, **{name: value})
        refused(path)
    save_file({"tok_emb.weight": torch.ones(3, 2)}, path, metadata={"format": "pt"})
    assert "it holds no settings of a classifier" in refused(path)
    for other in (path.parent / "no.safetensors", path.parent, "/dev/null"):
        with pytest.raises(FileNotFoundError, match=f"{other} does not exist or is no file; train"):
            TextClassifier.load(other)


def test_the_books_pth_becomes_a_classifier_by_the_three_lines_that_the_message_gives(tmp_path):
    path = tmp_path / "review_classifier.pth"
    torch.save(model().state_dict(), path)
    message = refused(path)
    assert "written by torch.save" in message and "gpt_config('gpt2-small (124M)')" in message
    names = {"GPTModel": GPTModel, "replace_head": replace_head, "gpt_config": lambda name: TINY}
    names |= {"torch": torch, "SpamClassifier": SpamClassifier}
    lines = "\n".join(message.splitlines()[-3:])
    exec(lines.replace("max_length=120", "max_length=20"), names)
    assert torch.equal(names["classifier"].logits(TEXTS), SpamClassifier(model(), 20).logits(TEXTS))


def test_what_could_not_be_loaded_again_replaces_no_good_file(path):
    before = path.read_bytes()
    broken, other = TextClassifier.load(path), TextClassifier.load(path)
    broken.model.final_norm.scale.data[0] = torch.nan
    replace_head(other.model, 3)
    with pytest.raises(ValueError, match="final_norm.scale holds values that are not finite"):
        broken.save(path)
    with pytest.raises(RuntimeError, match="size mismatch for out_head.weight"):
        other.save(path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["topics.safetensors"]


def test_a_save_on_a_full_disk_leaves_the_old_classifier_whole(tmp_path):
    resource = pytest.importorskip("resource", reason="Windows can't limit a file's size")
    path = classifier().save(tmp_path / "filter.safetensors")
    before = path.read_bytes()
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # bytes, as on a full disk
    try:
        with pytest.raises(OSError, match="filter.* can't be written: .*too large"):
            classifier(seed=1).save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["filter.safetensors"]


@pytest.fixture
def quick(monkeypatch):
    """Section 6.7's training on 16 messages, for one epoch."""

    def few(name):
        parts = (SpamDataset(part[:16], get_tokenizer(), 82) for part in load_splits(name))
        return [DataLoader(part, 8) for part in parts]

    def one_epoch(name, **changes):
        return TrainingSettings(epochs=1, lr=1e-3, **changes)

    monkeypatch.setattr(fast, "create_dataloaders", few)
    monkeypatch.setattr(TrainingSettings, "for_model", one_epoch)


NAMES = ("gpt2-nano (12M)", "sms-mini")


def test_the_classifier_of_section_6_7_is_trained_once_and_no_other_is_taken(tmp_path, quick):
    path = tmp_path / "filter.safetensors"
    first = load_or_train(path, *NAMES)
    assert first.about == trained_from(*NAMES) and first.max_length == 82
    written = path.stat().st_mtime_ns
    assert load_or_train(path, *NAMES).about == first.about and path.stat().st_mtime_ns == written
    first.about["messages"] = "other"
    other = first.save(path).read_bytes()
    for content, reason in ((b"damaged", "not a whole file"), (other, r"in: messages\)\.")):
        path.write_bytes(content)
        with pytest.warns(UserWarning, match=f"{reason}.*It stays"):
            again = load_or_train(path, *NAMES)
        assert path.read_bytes() == content and again.about["messages"] != "other"
    weights = again.model.out_head.weight, first.model.out_head.weight  # by the seed alone
    torch.testing.assert_close(*weights, atol=1e-6, rtol=0)


def test_a_classifier_that_was_trained_otherwise_is_neither_loaded_nor_overwritten(tmp_path, quick):
    path = tmp_path / "filter.safetensors"
    settings = TrainingSettings.for_model("gpt2-nano (12M)", keep="best")
    head_only, longer = FreezePlan.head_only(6), replace(settings, seed=5)
    for origin in (trained_from(*NAMES, settings, head_only), trained_from(*NAMES, longer)):
        path.unlink(missing_ok=True)
        other = classifier()
        other.about = origin
        assert save_classifier(other, path) == save_classifier(other, path) == f"Saved in {path}."
        with pytest.warns(UserWarning, match="is another classifier"):
            trained = load_or_train(path, *NAMES)
        content = path.read_bytes()
        assert save_classifier(trained, path).startswith(f"Not saved: {path} is another classifier")
        assert path.read_bytes() == content


def test_a_training_that_is_interrupted_is_not_saved(tmp_path, monkeypatch, quick):
    def interrupted_in_the_first_step(name):
        loaded = load_pretrained(name)
        loaded.final_norm.register_forward_hook(lambda *_: signal.raise_signal(signal.SIGINT))
        return loaded

    monkeypatch.setattr(fast, "load_pretrained", interrupted_in_the_first_step)
    with contextlib.suppress(KeyboardInterrupt), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load_or_train(tmp_path / "filter.safetensors", *NAMES)
    assert list(tmp_path.iterdir()) == []
