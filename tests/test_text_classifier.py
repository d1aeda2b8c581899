"""A classifier of any classes answers by their names, and its file is trusted with nothing."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from helpers.classify import FORMAT, KEY, OLD_KEY, SpamClassifier, TextClassifier
from helpers.data import pad
from helpers.download import whole_file
from helpers.freezing import FreezePlan, replace_head
from helpers.loading import LARGEST_HEADER
from helpers.model import GPTModel, without_causal_mask
from helpers.tokenizer import encode_message, get_tokenizer
from helpers.training import POSITIONS, class_logits
from tests.conftest import ROOT, TINY, random_model

LABELS = ("bank", "delivery", "family", "work", "ads & games")
TEXTS = ["You won!", "see you at eight", "🎉🎉", "free", "ok then, call me tomorrow"]


def model(num_classes: int = len(LABELS), seed: int = 0) -> GPTModel:
    made = replace_head(random_model(TINY, seed), num_classes)
    with torch.no_grad():
        made.out_head.weight.normal_()
    return made


def classifier(labels=LABELS, position="last_token", **settings) -> TextClassifier:
    return TextClassifier(model(len(labels)), labels, 20, position=position, **settings)


# --- answers ---


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("num_classes", [2, 3, 7])
def test_each_text_gets_the_name_of_the_class_whose_logit_is_largest(num_classes, position):
    labels = tuple(f"class {number}" for number in range(num_classes))
    topics = classifier(labels, position)
    logits = topics.logits(TEXTS)
    assert logits.shape == (len(TEXTS), num_classes) and logits.dtype == torch.float32
    rows = torch.tensor([pad(encode_message(text, get_tokenizer()), 20) for text in TEXTS])
    with torch.no_grad():
        expected = class_logits(topics.model, rows, position)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(topics.probabilities(TEXTS), logits.softmax(dim=1))
    named = [labels[number] for number in expected.argmax(dim=1)]
    assert topics.classify_many(TEXTS) == named
    assert [topics.classify(text) for text in TEXTS] == named
    assert topics.labels == labels


def test_every_class_can_be_the_answer():
    topics = classifier()
    for number, label in enumerate(LABELS):
        with torch.no_grad():
            topics.model.out_head.bias.copy_(1000.0 * torch.eye(len(LABELS))[number])
        assert topics.classify_many(TEXTS) == [label] * len(TEXTS)


def test_the_spam_classifier_is_the_text_classifier_of_ham_and_spam():
    two = model(2)
    spam_filter = SpamClassifier(two, 20, None, "last_token", {"model": "tiny"})
    topics = TextClassifier(two, ["ham", "spam"], 20, position="last_token")
    assert isinstance(spam_filter, TextClassifier)
    assert spam_filter.labels == topics.labels == ("ham", "spam")
    assert spam_filter.classify_many(TEXTS) == topics.classify_many(TEXTS)
    assert torch.equal(spam_filter.logits(TEXTS), topics.logits(TEXTS))


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ((), r"two or more different texts, one for each class, not \(\)"),
        (("bank",), r"not \('bank',\)"),
        ("ab", "not 'ab'"),
        ({"bank", "work"}, r"not \{"),  # in no order
        (None, "not None"),
        (5, "not 5"),
        (("bank", "work", "bank", "ads", "family"), "'bank' is there more than once"),
        (("bank", "", "work", "ads", "family"), "number 1 is ''"),
        (("bank", " \n", "work", "ads", "family"), r"number 1 is ' \\n'"),
        (("bank", "work", 3, "ads", "family"), "number 2 is 3"),
        (("bank", "work", None, "ads", "family"), "number 2 is None"),
        (("bank", "work"), "head has 5 outputs instead of 2; see replace_head"),
        ((*LABELS, "other"), "head has 5 outputs instead of 6; see replace_head"),
    ],
)
def test_labels_that_are_not_one_name_for_each_output_are_refused(labels, said):
    with pytest.raises(ValueError, match=said):
        TextClassifier(model(), labels, 20)


def test_what_does_not_fit_the_model_is_refused():
    with pytest.raises(TypeError, match="model must be a classifier, not None"):
        TextClassifier(None, LABELS, 20)
    for max_length in (0, -1, 33, 1.5, "20", None, True):
        with pytest.raises(ValueError, match="max_length must be a whole number from 1 to 32"):
            TextClassifier(model(), LABELS, max_length)
    with pytest.raises(ValueError, match="position must be .*not 'middle'"):
        classifier(position="middle")
    for about in (5, {"a": 1}, {1: "a"}):
        with pytest.raises(TypeError, match="about must be a dictionary of texts, not"):
            classifier(about=about)
    without_bias = model()
    without_bias.out_head.bias = None
    with pytest.raises(ValueError, match="head has no bias; see replace_head"):
        TextClassifier(without_bias, LABELS, 20)


# --- save and load ---


def opened(path) -> tuple[dict, dict]:
    """Return a file's settings and its tensors."""
    with safe_open(path, framework="pt") as file:
        (text,) = file.metadata().values()
        return json.loads(text), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def write(path, settings, tensors, key=KEY):
    save_file(tensors, path, metadata={key: json.dumps(settings)})
    return path


@pytest.fixture
def path(tmp_path):
    return classifier().save(tmp_path / "topics.safetensors")


@pytest.mark.parametrize("labels", [LABELS, ("ja 👍", 'she said "no"', "日本", "\ud800")])
def test_a_saved_classifier_comes_back_with_its_labels_in_their_order(labels, tmp_path):
    first = classifier(labels, about={"model": "tiny", "what": "topics"})
    second = TextClassifier.load(first.save(tmp_path / "new" / "topics.safetensors"))
    assert second.labels == labels and type(second) is TextClassifier
    assert (second.max_length, second.position, second.about) == (20, "last_token", first.about)
    assert torch.equal(first.logits(TEXTS), second.logits(TEXTS))
    assert second.classify_many(TEXTS) == first.classify_many(TEXTS)
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["topics.safetensors"]


def test_adapters_masks_and_half_precision_come_back(tmp_path):
    first = classifier()
    FreezePlan.lora(3, 2, rank=2).apply(without_causal_mask(first.model))
    with torch.no_grad():
        for parameter in first.model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    first.model.to(torch.bfloat16)
    second = TextClassifier.load(first.save(tmp_path / "topics.safetensors"))
    assert torch.equal(first.logits(TEXTS), second.logits(TEXTS))
    assert not any(block.att.causal for block in second.model.trf_blocks)
    assert {parameter.dtype for parameter in second.model.parameters()} == {torch.bfloat16}
    assert FreezePlan.of(second.model) == FreezePlan.lora(3, 2, rank=2)


def test_either_class_reads_a_file_of_ham_and_spam(tmp_path):
    two = model(2)
    spam_filter = SpamClassifier(two, 20)
    read = TextClassifier.load(spam_filter.save(tmp_path / "spam.safetensors"))
    assert read.labels == ("ham", "spam") and type(read) is TextClassifier
    again = SpamClassifier.load(read.save(tmp_path / "again.safetensors"))
    assert type(again) is SpamClassifier
    assert torch.equal(again.logits(TEXTS), spam_filter.logits(TEXTS))


@pytest.mark.parametrize("labels", [LABELS, ("no", "yes"), ("spam", "ham")])
def test_a_spam_classifier_is_not_made_of_other_classes(labels, tmp_path):
    path = classifier(labels).save(tmp_path / "topics.safetensors")
    with pytest.raises(ValueError, match=f"topics.safetensors .*'{labels[0]}'") as refused:
        SpamClassifier.load(path)
    assert "not ('ham', 'spam'); TextClassifier.load reads it" in str(refused.value)
    assert "delete" not in str(refused.value)


@pytest.mark.parametrize("lacking", [(), ("causal",), ("causal", "adapters")])
def test_a_spam_classifier_that_was_saved_before_there_were_other_classes_is_read(
    lacking, tmp_path
):
    spam_filter = SpamClassifier(model(2), 20, position="last_token", about={"model": "tiny"})
    settings = {  # written out, as it was in those files
        "cfg": TINY,
        "max_length": 20,
        "position": "last_token",
        "about": {"model": "tiny"},
        "causal": [True, True, True],
        "adapters": {"adapted": [], "rank": 8, "alpha": 16.0},
    }
    settings = {name: value for name, value in settings.items() if name not in lacking}
    path = tmp_path / "old.safetensors"
    save_file(
        spam_filter.model.state_dict(), path, metadata={"spam_classifier": json.dumps(settings)}
    )
    for kind in (SpamClassifier, TextClassifier):
        read = kind.load(path)
        assert type(read) is kind and read.labels == ("ham", "spam")
        assert (read.max_length, read.position, read.about) == (20, "last_token", spam_filter.about)
        assert torch.equal(read.logits(TEXTS), spam_filter.logits(TEXTS))
        assert all(block.att.causal for block in read.model.trf_blocks)


@pytest.mark.parametrize("kind", [TextClassifier, SpamClassifier])
def test_a_file_of_a_later_version_is_named_as_that(kind, path):
    _, tensors = opened(path)
    for number in (FORMAT + 1, 10**12):
        write(path, {"format": number, "something": "new"}, tensors)
        said = f"topics.safetensors was made by a later version of the course: .* {number}, .*newer"
        with pytest.raises(ValueError, match=said) as refused:
            kind.load(path)
        assert "delete" not in str(refused.value)


def test_too_long_a_header_is_neither_read_nor_written(path):
    settings, tensors = opened(path)
    other = path.with_name("other.safetensors")
    write(other, settings | {"about": {"thesis": "x" * LARGEST_HEADER}}, tensors)
    assert "its header has 1,0" in refused(other, "a long header")
    other.unlink()
    before = path.read_bytes()
    topics = classifier(about={"thesis": "x" * LARGEST_HEADER})
    with pytest.raises(ValueError, match="header has 1,0.* bytes, .*shorten them"):
        topics.save(path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["topics.safetensors"]


# --- files that are not what they say ---

SIZES = [
    {"vocab_size": 50258}, {"vocab_size": 10**12}, {"vocab_size": 10**30}, {"vocab_size": -1},
    {"vocab_size": 50257.0}, {"vocab_size": "50257"}, {"vocab_size": None}, {"vocab_size": True},
    {"emb_dim": 16}, {"emb_dim": 10**12}, {"emb_dim": 0}, {"emb_dim": 8.5}, {"emb_dim": [8]},
    {"n_layers": 2}, {"n_layers": 4}, {"n_layers": 10**12}, {"n_layers": -3}, {"n_layers": 3.0},
    {"n_layers": "3"}, {"n_layers": None}, {"n_layers": float("nan")},
    {"context_length": 31}, {"context_length": 10**12}, {"context_length": -32},
    {"context_length": "32"}, {"context_length": float("inf")},
    {"n_heads": 3}, {"n_heads": 10**12}, {"n_heads": 0}, {"n_heads": 2.0},
    {"drop_rate": 2}, {"drop_rate": "none"}, {"qkv_bias": False},
]  # fmt: skip
SETTINGS = [
    {"format": 0}, {"format": -1}, {"format": 1.0}, {"format": "1"}, {"format": None},
    {"format": True}, {"format": [2]},
    {"labels": None}, {"labels": 5}, {"labels": "bank"}, {"labels": {}}, {"labels": []},
    {"labels": ["bank"]}, {"labels": LABELS[:4]}, {"labels": (*LABELS, "other")},
    {"labels": [*LABELS[:4], "bank"]}, {"labels": [*LABELS[:4], ""]}, {"labels": [1, 2, 3, 4, 5]},
    {"labels": [str(number) for number in range(50_000)]},
    {"cfg": None}, {"cfg": []}, {"cfg": 7}, {"cfg": {}}, {"cfg": "gpt2-nano (12M)"},
    {"max_length": 0}, {"max_length": 33}, {"max_length": 10**12}, {"max_length": 20.0},
    {"max_length": "20"}, {"max_length": None}, {"position": "middle"}, {"position": ["last"]},
    {"position": None}, {"about": 5}, {"about": {"model": 1}}, {"about": ["model"]},
    {"causal": [True]}, {"causal": [True] * 4}, {"causal": [1, 1, 1]}, {"causal": 10**12},
    {"causal": None}, {"adapters": None}, {"adapters": [1]},
    {"adapters": {"adapted": ["trf_blocks.2"], "rank": 10**12, "alpha": 16.0}},
    {"adapters": {"adapted": ["trf_blocks.2"], "rank": 2, "alpha": 16.0}},  # there are none
]  # fmt: skip


def test_settings_that_do_not_fit_the_files_tensors_are_refused(path):
    settings, tensors = opened(path)
    for size in SIZES:
        write(path, settings | {"cfg": settings["cfg"] | size}, tensors)
        refused(path, size)
    for changed in SETTINGS:
        write(path, settings | changed, tensors)
        refused(path, changed)
    for name in ("format", "labels", "cfg", "max_length", "position", "about"):
        without = {key: value for key, value in settings.items() if key != name}
        write(path, without, tensors)
        assert name in refused(path, name)
    for name in settings["cfg"]:
        without = {key: value for key, value in settings["cfg"].items() if key != name}
        write(path, settings | {"cfg": without}, tensors)
        assert name in refused(path, name)
    for anything in ([], 5, None, "settings", [settings]):
        write(path, anything, tensors)
        refused(path, anything)
    for text in ("", "{", "[" * 100_000, "9" * 10_000, '{"format": ' + "9" * 10_000 + "}"):
        save_file(tensors, path, metadata={KEY: text})
        refused(path, text[:20])
    write(path, settings, tensors)
    assert TextClassifier.load(path).labels == LABELS  # what was changed is all that was wrong


def refused(path, what) -> str:
    """Return what is said of a file that is refused."""
    with pytest.raises(ValueError, match="not a whole file of a classifier") as error:
        pytest.fail(f"{what} was read: {TextClassifier.load(path)}")
    assert "delete it and train again" in str(error.value), what
    return str(error.value)


def test_tensors_that_are_not_the_models_are_refused(path):
    settings, tensors = opened(path)
    head, shift = tensors["out_head.weight"], tensors["final_norm.shift"]
    for changed, said in (
        (
            {"out_head.weight": head[:4].clone()},
            r"out_head.weight has the shape \(4, 8\), .*\(5, 8\)",
        ),
        ({"out_head.weight": head.T.contiguous()}, r"shape \(8, 5\)"),
        ({"out_head.weight": head.flatten()}, r"shape \(40,\)"),
        ({"final_norm.shift": shift.long()}, "final_norm.shift is of I64, not of F16 or"),
        ({"final_norm.shift": shift.bool()}, "final_norm.shift is of BOOL"),
        ({"final_norm.shift": shift * torch.nan}, "final_norm.shift holds values that are not fin"),
        ({"thesis": torch.ones(3)}, "it has a tensor thesis, against its settings"),
        ({"trf_blocks.3.norm1.scale": torch.ones(8)}, "it has a tensor trf_blocks.3.norm1.scale"),
    ):
        write(path, settings, tensors | changed)
        with pytest.raises(ValueError, match=f"not a whole file .*{said}"):
            TextClassifier.load(path)
    for name in tensors:
        write(path, settings, {other: tensors[other] for other in tensors if other != name})
        assert name in refused(path, name) or name.startswith("trf_blocks")


def test_a_file_that_is_cut_short_or_is_something_else_is_refused(path):
    whole = path.read_bytes()
    for length in (0, 1, 7, 8, 9, 500, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        refused(path, f"{length} bytes")
    for content in (
        whole + b"\0",
        b"label,text\nbank,your card is blocked\n" * 100,
        b"PK\x03\x04" + bytes(1000),
        (2**60).to_bytes(8, "little") + b"{}",
        (10**8 - 1).to_bytes(8, "little") + bytes(10**6),
        (2).to_bytes(8, "little") + b"{}",
    ):
        path.write_bytes(content)
        refused(path, content[:20])
    for metadata in (None, {"format": "pt"}, {"fingerprint": "of a checkpoint"}, {OLD_KEY: "[]"}):
        save_file({"tok_emb.weight": torch.ones(3, 2)}, path, metadata=metadata)
        refused(path, metadata)
    refused(path.parent, "a folder")
    with pytest.raises(FileNotFoundError, match="no.safetensors does not exist; train"):
        TextClassifier.load(path.parent / "no.safetensors")
    path.write_bytes(whole)
    assert TextClassifier.load(path).labels == LABELS


LOADED_IN_LITTLE_MEMORY = """
import json, resource, sys
import torch
from helpers.classify import TextClassifier

def status(name):  # bytes
    with open("/proc/self/status") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith(name))

whole, *hostile = sys.argv[1:]
TextClassifier.load(whole)  # what is imported and made once is there now
limit = status("VmSize") + 2**30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
said, before = [], status("VmHWM")
for path in hostile:
    try:
        TextClassifier.load(path)
    except Exception as error:
        said.append(repr(error))
grown = status("VmHWM") - before
try:
    torch.empty(2**30)  # 4 GiB: the limit holds
    limited = False
except RuntimeError:
    limited = True
print(json.dumps([said, grown, limited]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to RLIMIT_AS")
def test_a_hostile_header_takes_no_memory(path):
    settings, tensors = opened(path)
    hostile = {
        "vocab_size": {"cfg": TINY | {"vocab_size": 10**9}},  # 32 GB
        "context_length": {"cfg": TINY | {"context_length": 10**9}},
        "emb_dim": {"cfg": TINY | {"emb_dim": 10**5}},  # 120 GB in each block
        "n_layers": {"cfg": TINY | {"n_layers": 10**9}},
        "rank": {"adapters": {"adapted": ["trf_blocks.2"], "rank": 10**9, "alpha": 1.0}},
    }
    files = [
        write(path.with_name(name), settings | changed, tensors)
        for name, changed in hostile.items()
    ]
    files.append(with_a_tensor_too_many(path, 50_000_000))  # 200 MB in the file, none on the disk
    run = subprocess.run(
        [sys.executable, "-c", LOADED_IN_LITTLE_MEMORY, path, *files],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    said, grown, limited = json.loads(run.stdout)
    assert limited and len(said) == len(files), said
    for sentence, wanted in zip(
        said,
        (
            "tok_emb.weight has the shape (50257, 8), and by its settings (1000000000, 8)",
            "pos_emb.weight has the shape (32, 8), and by its settings (1000000000, 8)",
            "tok_emb.weight has the shape (50257, 8), and by its settings (50257, 100000)",
            "n_layers must be a whole number from 1 to 3",
            "rank must be a whole number from 1 to 8, the shorter side of",
            "it has a tensor thesis, against its settings",
        ),
        strict=True,
    ):
        assert sentence.startswith("ValueError") and wanted in sentence, said
    assert grown < 40_000_000, grown  # bytes


def with_a_tensor_too_many(path, size):
    """Write the file at `path` with one more tensor of `size` float32 zeros, which take no room."""
    whole = path.read_bytes()
    end = 8 + int.from_bytes(whole[:8], "little")
    header, data = json.loads(whole[8:end]), whole[end:]
    header["thesis"] = {
        "dtype": "F32",
        "shape": [size],
        "data_offsets": [len(data), len(data) + 4 * size],
    }
    text = json.dumps(header).encode()
    with whole_file(path.with_name("thesis")) as part, part.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + data)
        file.truncate(8 + len(text) + len(data) + 4 * size)
    return path.with_name("thesis")
