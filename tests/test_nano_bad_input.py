"""What goes wrong with the nano's text and training, and what must be said: two tables.

Each row is what is tried, the error and the words that it must hold: the value and the remedy. The
second table is of the commands, which say it in a line and exit. What is broken in the middle of a
save is in test_pretraining.py.
"""

import io
import lzma
import os
import pickle
import re
import sys
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.config import BUNDLED_CHECKPOINT
from tests.test_pretraining import CFG, RECIPE, TOKENS, run
from tools.nano import corpus, texting
from tools.nano.corpus import make_folder, read_dialogues, read_package, write
from tools.nano.mails import clean_email
from tools.nano.texting import read_member, sentences
from workshop import pretraining
from workshop.pretraining import (
    Recipe,
    encode_documents,
    held_out_figures,
    new_model,
    pretrain,
    read_documents,
    sample_candidates,
    split_documents,
    validation_losses,
)

NAN, INF = float("nan"), float("inf")
TYPE, VALUE = TypeError, ValueError


def with_text(folder: Path, content: bytes, name: str = "a.txt") -> Path:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    return folder


def with_loop(folder: Path) -> Path:
    (folder / "a.txt").symlink_to(folder / "a.txt")  # unreadable, even for root
    return folder


def in_the_way(folder: Path) -> Path:
    """A folder that can't be made, as a file has its name."""
    (folder / "file").write_text("mine")
    return folder / "file"


def saved(folder: Path, state) -> Path:
    torch.save(state, folder / "run.pt")
    return folder / "run.pt"


def whole_run(folder: Path) -> Path:
    run(state_path=folder / "run.pt")
    return folder / "run.pt"


def cut(path: Path, share: float = 0.5) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    return path


def with_another(name: str, value):
    def resume(folder: Path):
        path = whole_run(folder)
        torch.save(torch.load(path, weights_only=True) | {name: value}, path)
        return run(state_path=path)

    return resume


class _Bomb:
    """Unpickled without care, it makes a folder."""

    def __reduce__(self):
        return os.mkdir, ("exploded",)


def pickle_bomb(folder: Path) -> Path:
    (folder / "run.pt").write_bytes(pickle.dumps(_Bomb()))
    return folder / "run.pt"


def zip_bomb(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "run.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("run/data.pkl", b"\0" * 50_000_000)
    return folder / "run.pt"


def tarball(folder: Path, name: str, content: bytes) -> Path:
    with tarfile.open(folder / "package.tgz", "w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return folder / "package.tgz"


def package_of(content: bytes):
    return lambda folder: tarball(folder, "package/data/a.json", content)


def dialogues(folder: Path) -> Path:
    (folder / "d.xz").write_bytes(lzma.compress(os.urandom(1000).hex().encode()))
    return folder / "d.xz"


FUNCTIONS = {
    # how long to train, and how
    "no length": (lambda _: run(replace(RECIPE, steps=None)), VALUE, "by steps or by minutes"),
    "both lengths": (lambda _: run(minutes=1), VALUE, "not by both: steps=12, minutes=1"),
    "0 steps": (lambda _: Recipe(steps=0), VALUE, "steps .* from 1, not 0"),
    "half a step": (lambda _: Recipe(steps=0.5), VALUE, "steps must be a whole number .*not 0.5"),
    "minutes nan": (
        lambda _: run(replace(RECIPE, steps=None), minutes=NAN), VALUE, "minutes .* not nan",
    ),
    "minutes inf": (
        lambda _: run(replace(RECIPE, steps=None), minutes=INF), VALUE, "minutes .* not inf",
    ),
    "minutes -1": (
        lambda _: run(replace(RECIPE, steps=None), minutes=-1), VALUE, "minutes .* above 0 .*not -1"
    ),
    "minutes 1e308": (
        lambda _: run(replace(RECIPE, steps=None), minutes=1e308), VALUE, "to 1e.06, not 1e.308",
    ),
    "a negative rate": (lambda _: Recipe(lr=-1e-3), VALUE, "lr .* from 0, not -0.001"),
    "a rate of nan": (lambda _: Recipe(lr=NAN), VALUE, "lr must be a finite number"),
    "a rate in words": (lambda _: Recipe(lr="1e-3"), VALUE, "lr .* not '1e-3'"),
    "no lengths": (lambda _: Recipe(lengths=()), VALUE, r"a tuple such as .*, not \(\)"),
    "a length alone": (lambda _: Recipe(lengths=64), VALUE, "a tuple such as .*, not 64"),
    "a length of 0": (lambda _: Recipe(lengths=(0, 8)), VALUE, "a length .* from 1, not 0"),
    "0 tokens a step": (lambda _: Recipe(tokens_per_step=0), VALUE, "tokens_per_step .* not 0"),
    "a step below a sequence": (
        lambda _: Recipe(tokens_per_step=15, lengths=(16,)), VALUE, "can't hold .* 16; take more",
    ),
    "too few candidates": (
        lambda _: Recipe(candidates=63), VALUE, "63 candidates .* 4096 tokens; take at least",
    ),
    "a warm-up of -1": (lambda _: Recipe(warmup_steps=-1), VALUE, "warmup_steps .* not -1"),
    "a decay of -1": (lambda _: Recipe(weight_decay=-1), VALUE, "weight_decay .* not -1"),
    "a clip of 0": (lambda _: Recipe(clip=0), VALUE, "clip .* above 0, not 0"),
    "a negative seed": (lambda _: Recipe(seed=-1), VALUE, "seed .* from 0 to .*, not -1"),
    "no validation": (lambda _: run(validate_every=0), VALUE, "validate_every .* not 0"),
    "too large a rate": (
        lambda _: run(replace(RECIPE, lr=1e30)), FloatingPointError, "take a smaller .* than 1e.30",
    ),
    # texts
    "no folder": (lambda f: read_documents(f / "no"), VALUE, "no .txt file in .*no; name a folder"),
    "a file for a folder": (
        lambda f: read_documents(with_text(f, b"hi") / "a.txt"), VALUE, "name a folder of texts",
    ),
    "a folder named a.txt": (
        lambda f: (f / "a.txt").mkdir() or read_documents(f), VALUE, "there is no .txt file",
    ),
    "one document": (
        lambda f: split_documents(read_documents(with_text(f, b"hi"))), VALUE,
        r"1 document\(s\) are too few.*more files",
    ),
    "empty files": (
        lambda f: split_documents(read_documents(with_text(f, b" \n"))), VALUE, r"0 document\(s\)",
    ),
    "UTF-16": (
        lambda f: read_documents(with_text(f, "hi".encode("utf-16"))), VALUE,
        "a.txt is not UTF-8 text .*; save it as UTF-8",
    ),
    "zero bytes": (lambda f: read_documents(with_text(f, b"a\0b")), VALUE, "zero bytes; move it"),
    "an unreadable file": (lambda f: read_documents(with_loop(f)), OSError, "a.txt can't be read"),
    "a text for a list": (lambda _: encode_documents("abc"), TYPE, "a list of texts, .*'abc'"),
    "nothing to encode": (lambda _: encode_documents([]), VALUE, "no documents to encode"),
    "a share of nan": (lambda _: split_documents(["a", "b"], NAN), VALUE, "held_out .* not nan"),
    "a share of 2": (lambda _: split_documents(["a", "b"], 2), VALUE, "from 0 to 1, not 2"),
    "a negative share": (lambda _: split_documents(["a", "b"], -1), VALUE, "held_out .* not -1"),
    "a list for tokens": (
        lambda _: pretrain(new_model(CFG), TOKENS.tolist(), TOKENS, RECIPE), TYPE,
        "training text .* encode_documents returns it, not list",
    ),
    "fractions for tokens": (
        lambda _: pretrain(new_model(CFG), TOKENS, TOKENS / 2, RECIPE), TYPE,
        "validation text .*ndarray of float64",
    ),
    "ids beyond the vocabulary": (
        lambda _: pretrain(new_model(CFG), TOKENS + 60_000, TOKENS, RECIPE), VALUE, "no token 60",
    ),
    "sequences beyond the context": (
        lambda _: run(replace(RECIPE, lengths=(64,))), VALUE,
        "64 tokens is longer than the model's context of 32; choose lengths up to 32",
    ),
    "a short text to validate on": (
        lambda _: validation_losses(new_model(CFG), TOKENS[:9], 16), VALUE, "9 tokens, .* of 17; ",
    ),
    "0 stretches to validate on": (
        lambda _: validation_losses(new_model(CFG), TOKENS, 16, 0), VALUE, "most .* not 0",
    ),
    "a short held-out text": (
        lambda _: held_out_figures(new_model(CFG), TOKENS[:32]), VALUE, "32 tokens, .* of 33",
    ),
    "1 candidate for 2 targets": (
        lambda _: sample_candidates(torch.tensor([[1, 2]]), 9, 1, 0), VALUE, "can't hold 2 targets",
    ),
    # saved runs
    "a place in a file": (
        lambda f: run(state_path=in_the_way(f) / "run.pt"), OSError,
        "nothing can be saved in .*file .*; name another folder",
    ),
    "a read-only place": (
        lambda f: run(state_path="/proc/nano/run.pt"), OSError, "nothing can be saved in /proc",
    ),
    "a folder for a run": (lambda f: run(state_path=f), OSError, "can't be read .*; move it away"),
    "a text for a run": (
        lambda f: run(state_path=with_text(f, b"hi") / "a.txt"), VALUE, "a.txt is not a saved run",
    ),
    "half a run": (lambda f: run(state_path=cut(whole_run(f))), VALUE, "a part of one .*; delete"),
    "most of a run": (lambda f: run(state_path=cut(whole_run(f), 0.99)), VALUE, "a part of one"),
    "a pickle bomb": (lambda f: run(state_path=pickle_bomb(f)), VALUE, "not a saved run"),
    "a bomb in torch's format": (
        lambda f: run(state_path=saved(f, {"kind": _Bomb()})), VALUE, "not a saved run",
    ),
    "a zip bomb": (lambda f: run(state_path=zip_bomb(f)), VALUE, "not a saved run"),
    "a tensor for a run": (
        lambda f: run(state_path=saved(f, torch.ones(3))), VALUE, "not a saved run",
    ),
    "a run of no kind": (lambda f: run(state_path=saved(f, {"kind": 1})), VALUE, "not a saved run"),
    "a run without weights": (with_another("model", {}), VALUE, "not a saved run, or only a part"),
    "a run of nan steps": (with_another("steps", NAN), VALUE, "not a saved run"),
    "a run of strange losses": (with_another("losses", ["x"]), VALUE, "not a saved run"),
    # the corpus
    "a damaged package": (
        lambda f: read_package(cut(package_of(os.urandom(9999).hex().encode())(f))), VALUE,
        "package.tgz is not a whole package .*; fetch it again",
    ),
    "a package of no JSON": (
        lambda f: read_package(package_of(b"{")(f)), VALUE, "package.tgz is not a whole package",
    ),
    "a page for a package": (
        lambda f: read_package(with_text(f, b"<html>", "p.tgz") / "p.tgz"), VALUE, "p.tgz is not",
    ),
    "cut dialogues": (lambda f: read_dialogues(cut(dialogues(f))), VALUE, "d.xz is not .*fetch"),
    "dialogues that are no .xz": (
        lambda f: read_dialogues(with_text(f, b"hi") / "a.txt"), VALUE, "a.txt is not a whole .xz",
    ),
    "a source without documents": (
        lambda f: write(f / "a.txt", [" "]), VALUE, "no documents are left for .*a.txt",
    ),
    "a text in a file": (
        lambda f: write(in_the_way(f) / "a.txt", ["hi"]), OSError, "name another --out",
    ),
    "a file for an --out": (lambda f: make_folder(in_the_way(f)), OSError, "name another --out"),
    "a package without sentences": (
        lambda f: read_member(package_of(b"{}")(f), "SENTENCES"), VALUE,
        "package.tgz holds no text SENTENCES .*fetch it again",
    ),
    "a table of two columns": (
        lambda _: list(sentences("1\t-\tHi\n2\t-")), VALUE, r"line 2 .* no third column: \['2'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", FUNCTIONS)
def test_a_function_says_what_is_wrong_and_what_to_do(what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wrong, kind, says = FUNCTIONS[what]
    if "/proc" in says and not Path("/proc/self").exists():
        pytest.skip("only Linux has such a place")
    with pytest.raises(kind) as caught:
        wrong(tmp_path)
    assert type(caught.value) is kind
    assert re.search(says, str(caught.value)) and "\n" not in str(caught.value)
    left = {path.name for path in tmp_path.iterdir()}
    assert left <= {"a.txt", "run.pt", "file", "package.tgz", "p.tgz", "d.xz"}  # nothing exploded


def test_a_saved_run_that_is_refused_stays_as_it_was(tmp_path):
    path = whole_run(tmp_path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="another recipe"):
        run(replace(RECIPE, seed=1), state_path=path)
    assert path.read_bytes() == before


def test_a_recipe_of_numpy_numbers_can_be_saved_and_gone_on_with(tmp_path):
    recipe = replace(RECIPE, steps=np.int64(12), lr=np.float64(1e-2), lengths=(np.int64(8), 16))
    _, progress = run(recipe, state_path=tmp_path / "run.pt")
    assert run(recipe, state_path=tmp_path / "run.pt")[1] == progress


def test_a_mark_that_an_editor_puts_before_a_text_is_no_part_of_it(tmp_path):
    assert read_documents(with_text(tmp_path, b"\xef\xbb\xbfhello")) == ["hello"]


def test_both_parts_of_a_split_hold_something_whatever_the_share():
    for share in (0, 0.5, 1):
        assert all(split_documents(["a", "b"], share))


@pytest.mark.parametrize("charset", ["no-such", "a\0b", "base64", "punycode", "undefined", ""])
def test_a_mail_in_an_encoding_that_is_none_is_read_all_the_same(charset):
    prose = b"I will be at the caf\xe9 on Monday and can bring the keys with me.".decode("latin-1")
    head = f'Content-Type: text/plain; charset="{charset}"\nContent-Transfer-Encoding: quoted-print'
    quoted = prose.replace("é", "=E9")
    assert clean_email(f"Subject: x\n{head}able\n\n{quoted}") == f"Subject: x\n\n{prose}"


# --- the commands ---

LONG = b"word " * 1200 + b"\n<|endoftext|>\n" + b"other " * 1200


def pretraining_on(folder: Path, *arguments) -> list:
    text = with_text(folder / "text", LONG)
    return ["--text", text, "--out", folder / "out", "--tokens-per-step", "1024", *arguments]


COMMANDS = {
    "minutes nan": (lambda f: pretraining_on(f, "--minutes", "nan"), "minutes .* not nan"),
    "0 minutes": (lambda f: pretraining_on(f, "--minutes", "0"), "minutes .* not 0"),
    "0 steps": (lambda f: pretraining_on(f, "--steps", "0"), "steps .* from 1, not 0"),
    "a negative rate": (
        lambda f: pretraining_on(f, "--steps", "1", "--lr", "-1"), "lr .* not -1",
    ),
    "0 tokens a step": (
        lambda f: pretraining_on(f, "--steps", "1", "--tokens-per-step", "0"), "tokens_per_step",
    ),
    "dropout nan": (
        lambda f: pretraining_on(f, "--steps", "1", "--dropout", "nan"), "drop_rate .* not nan",
    ),
    "an unknown model": (
        lambda f: pretraining_on(f, "--steps", "1", "--model", "gpt2"), "unknown model 'gpt2'",
    ),
    "one document": (
        lambda f: pretraining_on(f, "--steps", "1", "--text", with_text(f / "one", b"hi")),
        "too few",
    ),
    "a file for an --out": (
        lambda f: pretraining_on(f, "--steps", "1", "--out", in_the_way(f)),
        "nothing can be saved in .*file",
    ),
    "a read-only --out": (
        lambda f: pretraining_on(f, "--steps", "1", "--out", "/proc/nano"),
        "nothing can be saved in /proc/nano",
    ),
    "no checkpoint to start from": (
        lambda f: pretraining_on(f, "--steps", "1", "--start-from", f / "no"), "no.* missing",
    ),
    "a checkpoint of another shape": (
        lambda f: pretraining_on(
            f, "--steps", "1", "--model", "gpt2-small (124M)",
            "--start-from", BUNDLED_CHECKPOINT,
        ),
        "192.*768|768.*192",
    ),
    "--also in --text": (
        lambda f: pretraining_on(f, "--steps", "1", "--also", f / "text"), "would be held out",
    ),
    "--text in --also": (
        lambda f: pretraining_on(f, "--steps", "1", "--also", f), "would be trained on; move",
    ),
}  # fmt: skip


def said_by(module, arguments, monkeypatch) -> str:
    monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        module.main()
    return caught.value.code


@pytest.mark.parametrize("what", COMMANDS)
def test_pretraining_says_in_a_line_what_is_wrong(what, tmp_path, monkeypatch):
    arguments, says = COMMANDS[what]
    if "/proc" in says and not Path("/proc/self").exists():
        pytest.skip("only Linux has such a place")
    said = said_by(pretraining, arguments(tmp_path), monkeypatch)
    assert re.search(says, said) and "\n" not in said
    assert not (tmp_path / "out").exists()
    if (tmp_path / "file").exists():
        assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("module", "arguments", "says"),
    [
        (corpus, lambda f: ["--out", in_the_way(f)], "file can't be a folder .*another --out"),
        (
            corpus,
            lambda f: ["--out", f / "o", "--without", f / "no"],
            "no can't be read .*is the name right",
        ),
        (
            corpus,
            lambda f: ["--out", f / "o", "--dialogues", f / "no"],
            "no can't be read .*is the name right",
        ),
        (corpus, lambda f: ["--out", f / "o", "--dialogues", cut(dialogues(f))], "d.xz is not"),
        (texting, lambda f: ["--text", f, "--out", f / "o"], "no .txt file in"),
        (texting, lambda f: ["--text", with_text(f, b"hi"), "--out", f / "o"], "too few"),
        (
            texting,
            lambda f: ["--text", with_text(f / "text", LONG), "--out", in_the_way(f)],
            "file can't be a folder .*another --out",
        ),
    ],
)
def test_a_wrong_name_is_noticed_before_anything_is_fetched(
    module, arguments, says, tmp_path, monkeypatch
):
    monkeypatch.setenv("PATH", str(tmp_path))  # no npm
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    said = said_by(module, arguments(tmp_path), monkeypatch)
    assert re.search(says, said)
    assert not (tmp_path / "o").exists()
