"""The finished classifier answers, refuses, survives a save that fails, and comes back the same."""

import contextlib
import hashlib
import json
import os
import signal
import stat
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch.utils.data import DataLoader

from helpers import training
from helpers.classify import FORMAT, KEY, SpamClassifier, TextClassifier, classify_review
from helpers.config import gpt_config
from helpers.data import SpamDataset, load_splits, pad
from helpers.freezing import FreezePlan, replace_head
from helpers.loading import load_pretrained
from helpers.lora import is_adapter, merge
from helpers.model import GPTModel, without_causal_mask
from helpers.tokenizer import encode_message, get_tokenizer
from helpers.training import POSITIONS, class_logits
from tests.conftest import TINY, random_model
from workshop import fast
from workshop.fast import load_or_train, trained_from

TOPICS = ("bank", "delivery", "family", "work", "ads & games")
TEXTS = [
    "You won!",
    "see you at eight",
    "🎉🎉",
    "<b>hi</b>",
    "<|endoftext|>",
    "free",
    "ok then, call me tomorrow",
]


def model(num_classes: int = 2, seed: int = 0, **changes) -> GPTModel:
    made = replace_head(random_model(TINY | changes, seed), num_classes)
    with torch.no_grad():
        made.out_head.weight.normal_()
    return made


def classifier(position="last_token", seed=0, **changes) -> SpamClassifier:
    return SpamClassifier(model(2, seed, **changes), 20, position=position, about={"model": "tiny"})


def topics(labels=TOPICS, position="last_token", **settings) -> TextClassifier:
    return TextClassifier(model(len(labels)), labels, 20, position=position, **settings)


# --- answers ---


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize(
    ("num_classes", "tokens_at_once", "mask"),
    [(2, 4096, "causal"), (7, 25, "none")],
)
def test_each_text_gets_the_name_of_the_class_whose_logit_is_largest_in_any_order(
    num_classes, position, tokens_at_once, mask, monkeypatch
):
    monkeypatch.setattr(training, "TOKENS_AT_ONCE", tokens_at_once)
    labels = tuple(f"class {number}" for number in range(num_classes))
    named = topics(labels, position)
    if mask == "none":
        without_causal_mask(named.model)
    rows = torch.tensor([pad(encode_message(text, get_tokenizer()), 20) for text in TEXTS])
    with torch.no_grad():
        expected = class_logits(named.model, rows, position)
    logits = named.logits(TEXTS)
    assert logits.shape == (7, num_classes) and logits.dtype == torch.float32
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(named.logits(TEXTS[::-1]), expected.flip(0), atol=1e-5, rtol=0)
    torch.testing.assert_close(named.probabilities(TEXTS), logits.softmax(dim=1))
    answers = [labels[number] for number in expected.argmax(dim=1)]
    assert named.classify_many(TEXTS) == answers
    assert [named.classify(text) for text in TEXTS] == answers
    assert named.classify_many(pd.Series(TEXTS)) == answers


def test_every_class_can_be_the_answer():
    named = topics()
    for number, label in enumerate(TOPICS):
        with torch.no_grad():
            named.model.out_head.bias.copy_(1000.0 * torch.eye(len(TOPICS))[number])
        assert named.classify_many(TEXTS) == [label] * len(TEXTS)


def test_no_messages_have_no_labels():
    assert classifier().classify_many([]) == [] and classifier().probabilities([]).shape == (0, 2)


@pytest.mark.parametrize("position", ["last", "last_token"])
def test_a_short_message_beside_a_long_one_gets_what_it_gets_alone_without_its_padding(position):
    spam_filter = classifier(position, context_length=200)
    spam_filter.max_length = 200
    texts = [*TEXTS, "word" + " word" * 199]
    seen = []
    spam_filter.model.tok_emb.register_forward_hook(lambda _, i, out: seen.append(i[0].numel()))
    probabilities = spam_filter.probabilities(texts)
    if position == "last_token":
        assert sum(seen) <= 200 + 7 * max(len(encode_message(t, get_tokenizer())) for t in TEXTS)
    alone = torch.cat([spam_filter.probabilities([text]) for text in texts])
    torch.testing.assert_close(probabilities, alone, atol=1e-5, rtol=0)


def test_bfloat16_gives_nearly_the_same_probabilities_and_another_precision_is_refused():
    spam_filter = classifier()
    exact, rough = spam_filter.probabilities(TEXTS), spam_filter.probabilities(TEXTS, "bfloat16")
    assert 0 < (exact - rough).abs().max() < 0.05 and rough.dtype == torch.float32
    with pytest.raises(ValueError, match="not 'float64'"):
        spam_filter.probabilities(TEXTS, "float64")


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_a_model_in_another_precision_answers_too(dtype):
    spam_filter = classifier()
    expected = spam_filter.probabilities(TEXTS)
    spam_filter.model.to(dtype)
    probabilities = spam_filter.probabilities(TEXTS)
    assert probabilities.dtype == torch.float32
    torch.testing.assert_close(probabilities, expected, atol=0.02, rtol=0)


def test_the_books_function_and_the_class_agree_on_the_last_position():
    spam_filter = classifier("last")
    ham, spam = spam_filter.logits(TEXTS).T
    spam_filter.model.out_head.bias.data[0] += (spam - ham).median() + 1e-3  # about half is spam
    labels = spam_filter.classify_many(TEXTS)
    assert set(labels) == {"ham", "spam"}
    for text, label in zip(TEXTS, labels, strict=True):
        answer = classify_review(text, spam_filter.model, get_tokenizer(), "cpu", max_length=20)
        assert answer == {"spam": "spam", "ham": "not spam"}[label]
    spam_filter.max_length = 6
    text = "free free free free free free"  # without a length given there is no padding
    answer = classify_review(text, spam_filter.model, get_tokenizer(), "cpu")
    assert answer == {"spam": "spam", "ham": "not spam"}[spam_filter.classify(text)]


def test_the_books_function_refuses_a_model_that_cannot_tell_spam_from_ham():
    for wrong, outputs in ((random_model(TINY), "50,257"), (model(3), "3")):
        with pytest.raises(
            ValueError, match=f"has {outputs} outputs, and .* needs 2.* replace_head"
        ):
            classify_review("hello", wrong, get_tokenizer(), "cpu")
    damaged = model()
    damaged.trf_blocks[0].att.out_proj.bias.data[0] = torch.nan
    with pytest.raises(ValueError, match="answer is not a number: its weights are damaged"):
        classify_review("hello", damaged, get_tokenizer(), "cpu")


def test_a_thousand_words_are_truncated_and_the_reader_is_told():
    spam_filter = classifier()
    with pytest.warns(UserWarning, match="has 1001 tokens; only its first 20 are read"):
        label = spam_filter.classify("word " * 1000)
    assert label == spam_filter.classify(("word " * 20).strip())
    with pytest.warns(UserWarning, match="only its first 32 are read"):
        classify_review("word " * 1000, spam_filter.model, get_tokenizer(), "cpu")


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_an_empty_message_is_refused(text):
    with pytest.raises(ValueError, match="the message is empty"):
        classifier().classify(text)
    with pytest.raises(ValueError, match="the message is empty"):
        classify_review(text, classifier().model, get_tokenizer(), "cpu")


@pytest.mark.parametrize("wrong", [5, ["hi"], np.nan, None])
def test_what_is_no_text_is_refused(wrong):
    with pytest.raises(TypeError, match="must be a text, not"):
        classifier().classify_many(["hi", wrong])


@pytest.mark.parametrize("wrong", ["a text", None, pd.DataFrame({"Text": TEXTS}), {"Text": TEXTS}])
def test_what_is_no_list_of_texts_is_refused(wrong):
    with pytest.raises(TypeError, match=f"give a list of texts .* not a {type(wrong).__name__};"):
        classifier().classify_many(wrong)


# --- what a classifier is made of ---


def test_the_spam_classifier_is_the_text_classifier_of_ham_and_spam():
    two = model(2)
    spam_filter = SpamClassifier(two, 20, None, "last_token", {"model": "tiny"})
    named = TextClassifier(two, ["ham", "spam"], 20, position="last_token")
    assert isinstance(spam_filter, TextClassifier)
    assert spam_filter.labels == named.labels == ("ham", "spam")
    assert torch.equal(spam_filter.logits(TEXTS), named.logits(TEXTS))


@pytest.mark.parametrize(
    "labels",
    [
        (), ("bank",), "abcde", set("abcde"), None, ("bank", "work", "bank", "ads", "family"),
        ("bank", "", "work", "ads", "family"), ("bank", " \n", "work", "ads", "family"),
        ("bank", "work", 3, "ads", "family"),
    ],
)  # fmt: skip
def test_labels_that_are_not_different_texts_are_refused(labels):
    message = "labels must be a tuple of two or more different texts, one for each class, not "
    with pytest.raises(ValueError, match=message):
        TextClassifier(model(5), labels, 20)


def test_what_does_not_fit_the_model_is_refused():
    for labels in (("bank", "work"), (*TOPICS, "other")):
        message = f"head has 5 outputs, and a classifier of {len(labels)} classes .*replace_head"
        with pytest.raises(ValueError, match=message):
            TextClassifier(model(5), labels, 20)
    with pytest.raises(ValueError, match="50257 outputs, .* see replace_head"):
        SpamClassifier(random_model(TINY), 20)
    for max_length in (0, 33, 1.5, None):
        with pytest.raises(ValueError, match=f"whole number from 1 to 32 tokens, not {max_length}"):
            SpamClassifier(model(), max_length)
    with pytest.raises(ValueError, match="max_length"):
        classify_review("hello", model(), get_tokenizer(), "cpu", max_length=33)
    with pytest.raises(ValueError, match="position must be .*not 'middle'"):
        topics(position="middle")
    for about in ({"a": 1}, {1: "a"}):
        with pytest.raises(TypeError, match="about must be a dictionary of texts, not"):
            topics(about=about)
    without_bias = model()
    without_bias.out_head.bias = None
    with pytest.raises(ValueError, match="with a bias each; see replace_head"):
        SpamClassifier(without_bias, 20)


# --- save and load ---


def opened(path) -> tuple[dict, dict, dict]:
    """Return a file's metadata, the settings in it, and its tensors."""
    with safe_open(path, framework="pt") as file:
        metadata, names = file.metadata(), file.keys()
        return metadata, json.loads(metadata[KEY]), {name: file.get_tensor(name) for name in names}


def write(path, settings, tensors):
    save_file(tensors, path, metadata={KEY: json.dumps(settings)})
    return path


@pytest.fixture
def path(tmp_path):
    return topics().save(tmp_path / "topics.safetensors")


@pytest.mark.parametrize("labels", [TOPICS, ("ja 👍", 'she said "no"', "日本")])
def test_a_saved_classifier_comes_back_with_its_labels_in_their_order(labels, tmp_path):
    first = topics(labels, about={"model": "tiny", "what": "topics"})
    first.model.trf_blocks[1].att.causal = False
    second = TextClassifier.load(first.save(tmp_path / "new" / "topics.safetensors"))
    assert second.labels == labels and type(second) is TextClassifier
    assert (second.max_length, second.position, second.about) == (20, "last_token", first.about)
    assert [block.att.causal for block in second.model.trf_blocks] == [True, False, True]
    assert second.model.cfg == TINY and not second.model.training
    assert torch.equal(first.logits(TEXTS), second.logits(TEXTS))
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["topics.safetensors"]


@pytest.mark.parametrize(
    "plan",
    [
        FreezePlan.lora(3, rank=2, alpha=0.5),
        FreezePlan(3, {"out_head", "trf_blocks.2.ff"}, {"trf_blocks.0.ff", "trf_blocks.2.att"}, 3),
    ],
)
def test_a_saved_classifier_with_adapters_comes_back_with_them(plan, tmp_path):
    first = classifier()
    plan.apply(first.model)
    with torch.no_grad():
        for name, parameter in first.model.named_parameters():
            if is_adapter(name):
                parameter.normal_(std=0.3)
    second = SpamClassifier.load(first.save(tmp_path / "filter.safetensors"))
    assert torch.equal(first.probabilities(TEXTS), second.probabilities(TEXTS))
    head_and_adapters = FreezePlan(3, {"out_head"}, plan.adapted, plan.rank, plan.alpha)
    assert FreezePlan.of(second.model) == head_and_adapters
    merged = SpamClassifier(merge(second.model), 20, position="last_token")
    third = SpamClassifier.load(merged.save(tmp_path / "merged"))
    torch.testing.assert_close(
        third.probabilities(TEXTS), first.probabilities(TEXTS), atol=1e-5, rtol=0
    )


def test_half_precision_and_numpys_numbers_come_back(tmp_path):
    made = model(drop_rate=np.float32(0), qkv_bias=np.bool_(True)).to(torch.bfloat16)
    first = SpamClassifier(made, np.int64(20))
    second = SpamClassifier.load(first.save(tmp_path / "filter.safetensors"))
    assert {parameter.dtype for parameter in second.model.parameters()} == {torch.bfloat16}
    assert torch.equal(first.logits(TEXTS), second.logits(TEXTS)) and second.max_length == 20


def test_a_file_of_an_earlier_version_without_a_checksum_is_read(tmp_path):
    first = classifier()
    settings = {  # written out, as that version wrote them
        "labels": ["ham", "spam"], "max_length": 20, "position": "last_token",
        "about": {"model": "tiny"}, "format": 1,
        "cfg": {
            "vocab_size": 50257, "context_length": 32, "drop_rate": 0.0, "qkv_bias": True,
            "emb_dim": 8, "n_layers": 3, "n_heads": 2,
        },
        "causal": [True, True, True],
        "adapters": {"adapted": [], "rank": 8, "alpha": 16.0},
    }  # fmt: skip
    path = tmp_path / "old.safetensors"
    metadata = {"text_classifier": json.dumps(settings)}
    save_file(first.model.state_dict(), path, metadata=metadata)
    for kind in (SpamClassifier, TextClassifier):
        read = kind.load(path)
        assert type(read) is kind and read.labels == ("ham", "spam")
        assert (read.max_length, read.position, read.about) == (20, "last_token", first.about)
        assert torch.equal(read.logits(TEXTS), first.logits(TEXTS))


@pytest.mark.parametrize("labels", [TOPICS, ("spam", "ham")])
def test_a_spam_classifier_is_not_made_of_other_classes(labels, tmp_path):
    path = topics(labels).save(tmp_path / "topics.safetensors")
    message = rf"topics.safetensors .*'{labels[0]}'.*, not \('ham', 'spam'\); TextClassifier.load"
    with pytest.raises(ValueError, match=message):
        SpamClassifier.load(path)


def test_a_file_of_a_later_version_is_named_as_that(path):
    _, _, tensors = opened(path)
    write(path, {"format": FORMAT + 1, "something": "new"}, tensors)
    message = f"topics.safetensors was made by a later version .* {FORMAT + 1}, .*newer version"
    for kind in (TextClassifier, SpamClassifier):
        with pytest.raises(ValueError, match=message):
            kind.load(path)


def test_the_file_can_be_read_by_whom_the_umask_allows(tmp_path):
    old = os.umask(0o027)
    try:
        path = topics().save(tmp_path / "topics.safetensors")
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


# --- files that are not what they say ---


def refused(path) -> str:
    """Return the message for a file that is refused."""
    with pytest.raises(ValueError, match="not a whole file of a classifier") as error:
        TextClassifier.load(path)
    assert path.name in str(error.value) and "delete" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", 0), ("format", "1"), ("labels", None), ("labels", "bank"), ("labels", TOPICS[:4]),
        ("labels", [*TOPICS[:4], "bank"]), ("labels", [1, 2, 3, 4, 5]), ("cfg", None), ("cfg", {}),
        ("max_length", 33), ("max_length", "20"), ("position", "middle"), ("about", {"model": 1}),
        ("about", ["model"]), ("causal", [True]), ("causal", None), ("adapters", None),
        ("adapters", {"adapted": ["trf_blocks.2"], "rank": 2, "alpha": 16.0}),  # there are none
        ("cfg", TINY | {"vocab_size": 50258}), ("cfg", TINY | {"emb_dim": 16}),
        ("cfg", TINY | {"n_layers": 2}), ("cfg", TINY | {"n_layers": 4}),
        ("cfg", TINY | {"n_heads": 3}), ("cfg", TINY | {"context_length": 31}),
        ("cfg", TINY | {"qkv_bias": False}), ("cfg", TINY | {"drop_rate": "none"}),
        ("cfg", TINY | {"emb_dim": 10**12}),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_the_files_tensors_are_refused(name, value, path):
    _, settings, tensors = opened(path)
    refused(write(path, settings | {name: value}, tensors))
    del settings[name]
    assert f"its settings lack '{name}'" in refused(write(path, settings, tensors))


def test_tensors_that_are_not_the_models_are_refused(path):
    _, settings, tensors = opened(path)
    head, shift = tensors["out_head.weight"], tensors["final_norm.shift"]
    for changes, message in (
        (
            {"out_head.weight": head[:4].clone()},
            "out_head.weight is (4, 8), and by the settings it",
        ),
        ({"out_head.weight": head.T.contiguous()}, "it is (5, 8)"),
        ({"final_norm.shift": shift.long()}, "final_norm.shift holds torch.int64"),
        ({"final_norm.shift": shift * torch.nan}, "final_norm.shift holds values that are not fin"),
        ({"thesis": torch.ones(3)}, "thesis is (3,), and by the settings it is not there"),
    ):
        assert message in refused(write(path, settings, tensors | changes))
    del tensors["final_norm.shift"]
    assert "final_norm.shift is missing, and" in refused(write(path, settings, tensors))


def test_a_file_that_is_cut_short_or_is_something_else_is_refused(path):
    whole = path.read_bytes()
    for content in (
        *(whole[:length] for length in (0, 7, 500, len(whole) // 2, len(whole) - 1)),
        whole + b"\0",
        b"label,text\nbank,your card is blocked\n" * 100,
        (2).to_bytes(8, "little") + b"{}",
    ):
        path.write_bytes(content)
        refused(path)
    save_file({"tok_emb.weight": torch.ones(3, 2)}, path, metadata={"format": "pt"})
    assert "it holds no settings of a classifier" in refused(path)
    refused(path.parent)  # a folder
    with pytest.raises(FileNotFoundError, match="no.safetensors does not exist; train"):
        TextClassifier.load(path.parent / "no.safetensors")
    path.write_bytes(whole)
    assert TextClassifier.load(path).labels == TOPICS


def test_one_bit_that_changed_in_the_weights_is_found(path):
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
    assert "its weights are not those that were saved" in refused(path)


def test_the_checksum_is_that_of_the_tensors_bytes(path):
    metadata, _, tensors = opened(path)
    content = b"".join(tensors[name].numpy().tobytes() for name in sorted(tensors))
    assert metadata["sha256"] == hashlib.sha256(content).hexdigest()


def test_the_books_pth_becomes_a_classifier_by_the_three_lines_that_the_message_gives(tmp_path):
    path = tmp_path / "review_classifier.pth"
    torch.save(model().state_dict(), path)
    message = refused(path)
    assert "written by torch.save" in message
    names = {"GPTModel": GPTModel, "replace_head": replace_head, "gpt_config": lambda name: TINY}
    assert "gpt_config('gpt2-small (124M)')" in message and gpt_config("gpt2-small (124M)")
    names |= {"torch": torch, "SpamClassifier": SpamClassifier}
    lines = message.splitlines()[-3:]
    exec("\n".join(lines).replace("max_length=120", "max_length=20"), names)
    assert torch.equal(names["classifier"].logits(TEXTS), SpamClassifier(model(), 20).logits(TEXTS))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_not_called_damaged(path):
    path.chmod(0)
    with pytest.raises(PermissionError, match="Permission denied.*topics.safetensors"):
        TextClassifier.load(path)


def test_a_denied_permission_is_passed_on_as_it_is(path, monkeypatch):
    def denied(*_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("builtins.open", denied)  # as for a file of another user
    with pytest.raises(PermissionError, match="Permission denied.*topics.safetensors"):
        TextClassifier.load(path)


# --- saves that fail ---


def break_weights(named):
    named.model.final_norm.scale.data[0] = torch.nan


def take_a_block(named):
    named.model.trf_blocks = named.model.trf_blocks[:2]


def change_the_head(named):
    replace_head(named.model, 3)


def change_the_length(named):
    named.max_length = 33


def compile_the_model(named):
    named.model = torch.compile(named.model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (break_weights, "final_norm.scale holds values that are not finite; train again"),
        (take_a_block, "trf_blocks.2.att.W_key.bias is missing"),
        (change_the_head, r"out_head.bias is \(3,\), and by the settings it is \(5,\)"),
        (change_the_length, "max_length must be .* from 1 to 32 tokens, not 33"),
        pytest.param(  # slow: compiling imports much
            compile_the_model,
            "_orig_mod.* by the settings it is not there",
            marks=pytest.mark.proof,
        ),
    ],
)
def test_what_could_not_be_loaded_again_replaces_no_good_file(change, message, path):
    before = path.read_bytes()
    named = TextClassifier.load(path)
    change(named)
    with pytest.raises(ValueError, match=message):
        named.save(path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["topics.safetensors"]


def test_a_model_of_nans_does_not_answer():
    broken = classifier()
    break_weights(broken)
    with pytest.raises(ValueError, match="the model's answer is not a number"):
        broken.classify("hello")


def test_a_save_on_a_full_disk_names_the_file_and_leaves_the_old_classifier_whole(tmp_path):
    resource = pytest.importorskip("resource", reason="Windows can't limit a file's size")
    path = classifier().save(tmp_path / "filter.safetensors")
    before = path.read_bytes()
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # bytes, as on a full disk
    try:
        with pytest.raises(OSError, match=r"filter.safetensors can't be written: .*too large"):
            classifier(seed=1).save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["filter.safetensors"]


# --- the classifier of section 6.7 ---


@pytest.fixture
def quick(monkeypatch):
    """Section 6.7's training on 16 messages, for one epoch."""

    def few(name):
        return [
            DataLoader(SpamDataset(part[:16], get_tokenizer(), 82), 8) for part in load_splits(name)
        ]

    def one_epoch(cls, name, **changes):
        return cls(epochs=1, lr=1e-3, **changes)

    monkeypatch.setattr(fast, "create_dataloaders", few)
    monkeypatch.setattr(training.TrainingSettings, "for_model", classmethod(one_epoch))


NAMES = ("gpt2-nano (12M)", "sms-mini")


def test_the_classifier_of_section_6_7_is_trained_once_and_then_loaded(tmp_path, quick):
    path = tmp_path / "filter.safetensors"
    first = load_or_train(path, *NAMES)
    assert first.about == trained_from(*NAMES) and first.max_length == 82
    written = path.stat().st_mtime_ns
    assert load_or_train(path, *NAMES).about == first.about and path.stat().st_mtime_ns == written
    path.write_bytes(b"damaged")
    with pytest.warns(UserWarning, match="not a whole file .*It stays"):
        again = load_or_train(path, *NAMES)
    assert path.read_bytes() == b"damaged"
    weights = again.model.out_head.weight, first.model.out_head.weight  # by the seed alone
    torch.testing.assert_close(*weights, atol=1e-6, rtol=0)


class Trains(Exception):
    pass


@pytest.mark.parametrize(
    "name", ["settings", "code", "messages", "checkpoint", "seed", "model", "position"]
)
def test_a_classifier_trained_from_something_else_is_not_taken(name, tmp_path, monkeypatch):
    def begins_to_train(name):
        raise Trains

    monkeypatch.setattr(fast, "load_pretrained", begins_to_train)
    about = trained_from(*NAMES)
    position = "first" if name == "position" else "last"
    if name in about:
        about[name] = "other"
    path = SpamClassifier(model(), 20, position=position, about=about).save(tmp_path / "filter")
    before = path.read_bytes()
    with (
        pytest.warns(UserWarning, match=rf"it differs in: {name}\)\. It stays"),
        pytest.raises(Trains),
    ):
        load_or_train(path, *NAMES)
    assert path.read_bytes() == before


def test_messages_have_the_same_checksum_whatever_the_systems_line_ends(monkeypatch):
    here = trained_from(*NAMES)
    monkeypatch.setattr(os, "linesep", "\r\n")  # what Windows has, and pandas writes
    assert trained_from(*NAMES) == here


def test_a_training_that_is_interrupted_is_not_saved_as_the_classifier_of_section_6_7(
    tmp_path, monkeypatch, quick
):
    def interrupted_in_the_first_step(name):
        loaded = load_pretrained(name)
        loaded.final_norm.register_forward_hook(lambda *_: signal.raise_signal(signal.SIGINT))
        return loaded

    monkeypatch.setattr(fast, "load_pretrained", interrupted_in_the_first_step)
    with contextlib.suppress(KeyboardInterrupt), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load_or_train(tmp_path / "filter.safetensors", *NAMES)
    assert list(tmp_path.iterdir()) == []
