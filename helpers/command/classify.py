"""Label a file of texts of any size, or lines as they come.

What comes out is a CSV table with one row for each text, in their order. With an output file the
rows are made in shards, which lie in a folder beside it until all are there: a run that was killed
goes on after the last whole shard, and several processes share them out.
"""

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from itertools import chain, groupby
from pathlib import Path

import torch

from helpers.classify import TextClassifier
from helpers.command.pieces import BLOCK, PIECE_ROWS, TextFile, look_at, pieces
from helpers.data import pad
from helpers.device_and_precision import check_precision
from helpers.files import whole_file
from helpers.lora import adapters_in
from helpers.ranks import ALONE, Ranks
from helpers.tokenizer import encode_message

SHARD_PIECES = 10  # 10,000 rows; fewer where texts are long
HEADER = b"text,label,probability,note\n"
EMPTY = "empty: nothing to classify"
BELONGS_TO = "of.json"  # in a folder of shards: what they belong to
Write = Callable[[bytes], None]


def standard_output(data: bytes) -> None:
    """Write to standard output at once, past Python's buffer, which at its end would fail again.

    Raises BrokenPipeError when nobody reads it any more, another OSError when it can't be written.
    """
    left = memoryview(data)
    try:
        while left:
            left = left[os.write(1, left) :]
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(f"standard output can't be written: {error.strerror}") from error


def classify_lines(
    classifier: TextClassifier,
    lines: Iterable[list[str]],
    write: Write = standard_output,
    precision: str = "float32",
) -> None:
    """Write the header and a row for each line, each list of lines as soon as it comes.

    `lines` are such as `pieces.lines_as_they_come` yields. Raises ValueError for another precision.
    """
    check_precision(precision)
    write(HEADER)
    for piece in lines:
        write(rows(classifier, piece, precision))


def classify_file(
    classifier: TextClassifier,
    path: str | Path,
    out: str | Path | None = None,
    text: str | None = None,
    precision: str = "float32",
    ranks: Ranks = ALONE,
    show: Callable[[int, int], None] = lambda done, total: None,
    write: Write = standard_output,
) -> None:
    """Label the texts of a file and write the rows to `out`, or with `write` where there is none.

    `path` and `text`, its column, are as in `pieces.look_at`; `show` hears how many of all rows are
    done. Until `out` is whole its rows lie in shards in the folder `OUT.parts`. Shards of the same
    classifier, file and settings that lie there already are not made again. Of those that are left
    each of the `ranks` makes its own, and the first one joins them.

    Raises what `look_at` raises; FileExistsError for an `out` that is there already; ValueError for
    another precision, for shards of something else and where the ranks differ; OSError when a file
    can't be written.
    """
    check_precision(precision)
    if out is None and ranks.size > 1:
        raise ValueError("several processes can't share standard output; name a file with --out")
    source = look_at(path, text)
    if out is None:
        show(0, source.rows)
        classify_lines(classifier, _shown(pieces(source), source.rows, show), write, precision)
        return
    shards = _Shards.of(Path(out), classifier, source, precision)
    ranks.same("the input", source.sha256)
    ranks.same("the classifier or a setting", json.dumps(shards.belongs_to))
    try:
        _make_and_join(shards, classifier, source, precision, ranks, show)
    except OSError as error:
        if not error.strerror:
            raise  # it says what it has to say
        raise OSError(
            f"{out} can't be written: {error.strerror}; what is done lies in {shards.folder}, and "
            "the same command goes on from there"
        ) from error


def _shown(
    parts: Iterable[list[str]], total: int, show: Callable[[int, int], None]
) -> Iterator[list[str]]:
    """Yield the pieces, and show how many rows are done when the next one is asked for."""
    done = 0
    for piece in parts:
        yield piece
        done += len(piece)
        show(done, total)


# --- rows ------------------------------------------------------------------------------------


def rows(classifier: TextClassifier, texts: list[str], precision: str = "float32") -> bytes:
    """Return the rows `text,label,probability,note` of some texts, in UTF-8.

    The probability is the label's. An empty text has neither, and a note that says so; so has one
    that is longer than the classifier reads.
    """
    limit = classifier.max_length
    encoded = {
        i: encode_message(text, classifier.tokenizer)
        for i, text in enumerate(texts)
        if text.strip()
    }
    token_ids = [pad(ids, limit) for ids in encoded.values()]
    probabilities = classifier.logits_of_tokens(token_ids, precision).softmax(dim=-1)
    best = probabilities.max(dim=-1)
    answers = dict(zip(encoded, zip(*(part.tolist() for part in best), strict=True), strict=True))
    lines = []
    for i, text in enumerate(texts):
        if i not in answers:
            lines.append((text, "", "", EMPTY))
            continue
        probability, number = answers[i]
        count = len(encoded[i])
        cut = f"{count:,} tokens; the first {limit:,} were read" if count > limit else ""
        lines.append((text, classifier.labels[number], f"{probability:.4f}", cut))
    return "".join(",".join(map(_cell, line)) + "\n" for line in lines).encode()


def _cell(text: str) -> str:
    """Return a text as a cell of a CSV table (RFC 4180)."""
    return '"' + text.replace('"', '""') + '"' if re.search('[",\r\n]', text) else text


# --- shards ----------------------------------------------------------------------------------


class _Shards:
    """The folder with the rows of `out` until that is whole, and what they belong to."""

    def __init__(self, out: Path, belongs_to: dict, count: int):
        self.out, self.belongs_to, self.count = out, belongs_to, count
        self.folder = out.with_name(f"{out.name}.parts")

    @classmethod
    def of(
        cls, out: Path, classifier: TextClassifier, source: TextFile, precision: str
    ) -> "_Shards":
        """Return the shards of a run. Raises FileExistsError and ValueError as `classify_file`."""
        belongs_to = {
            "classifier": fingerprint(classifier),
            "input": source.sha256,
            "column": source.column,
            "precision": precision,
            "shard": [SHARD_PIECES, PIECE_ROWS],
        }
        count = -(-source.pieces // SHARD_PIECES)
        shards = cls(out, belongs_to, count)
        shards.check()
        if out.is_dir():
            raise IsADirectoryError(f"{out} is a folder; name a file")
        if out.exists() and not shards.were_joined():
            raise FileExistsError(f"{out} is there already; delete it, or name another file")
        return shards

    def path(self, number: int) -> Path:
        return self.folder / f"{number:06}.csv"

    def missing(self) -> list[int]:
        return [number for number in range(self.count) if not self.path(number).exists()]

    def check(self) -> None:
        """Raise ValueError where the folder holds something else."""
        found = [path.name for path in self.folder.glob("*")]
        if BELONGS_TO in found:
            try:
                saved = json.loads((self.folder / BELONGS_TO).read_text(encoding="utf-8"))
                differing = [
                    name for name in self.belongs_to if saved[name] != self.belongs_to[name]
                ]
            except (ValueError, TypeError, LookupError):
                differing = [BELONGS_TO]
        else:  # what a run that was killed in its first moment left behind is no harm
            differing = [name for name in found if not name.startswith(f"{BELONGS_TO}.")]
        if differing:
            raise ValueError(
                f"{self.folder} holds rows of something else (other: {', '.join(differing[:5])}); "
                "delete this folder, or name another file with --out"
            )

    def were_joined(self) -> bool:
        """Say whether `out` is what the shards make: a run was killed before it deleted them."""
        if not self.folder.exists() or self.missing():
            return False
        joined, written = self._joined(), _blocks(self.out)
        digests = []
        for blocks in (joined, written):
            digest = sha256()
            for block in blocks:
                digest.update(block)
            digests.append(digest.digest())
        return digests[0] == digests[1]

    def _joined(self) -> Iterator[bytes]:
        paths = map(self.path, range(self.count))
        return chain([HEADER], chain.from_iterable(map(_blocks, paths)))

    def join(self) -> None:
        """Write `out` and delete the shards."""
        with whole_file(self.out) as part, part.open("wb") as file:
            file.writelines(self._joined())
        shutil.rmtree(self.folder)


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block


def _make_and_join(
    shards: _Shards,
    classifier: TextClassifier,
    source: TextFile,
    precision: str,
    ranks: Ranks,
    show: Callable[[int, int], None],
) -> None:
    if ranks.is_first:
        with whole_file(shards.folder / BELONGS_TO) as part:
            part.write_text(json.dumps(shards.belongs_to), encoding="utf-8")
    ranks.wait()
    if not (shards.folder / BELONGS_TO).exists():
        raise ValueError(f"{shards.folder} is not seen by all processes; give them a shared folder")
    own = set(shards.missing()[ranks.number :: ranks.size])
    ranks.wait()  # all have seen the same shards missing, none has made one
    show(0, source.rows)
    numbered = enumerate(_shown(pieces(source), source.rows, show))
    for number, shard in groupby(numbered, key=lambda pair: pair[0] // SHARD_PIECES):
        if number in own:
            with whole_file(shards.path(number)) as part, part.open("wb") as file:
                for _, piece in shard:
                    file.write(rows(classifier, piece, precision))
    while shards.missing():  # a barrier would give up on a slow process
        time.sleep(0.2)  # seconds
    ranks.wait()
    if ranks.is_first:
        shards.join()


def fingerprint(classifier: TextClassifier) -> str:
    """Return what tells a classifier from one that may give other answers."""
    model = classifier.model
    settings = {
        "labels": classifier.labels,
        "max_length": classifier.max_length,
        "position": classifier.position,
        "cfg": model.cfg,
        "causal": [block.att.causal for block in model.trf_blocks],
        "adapters": sorted(adapters_in(model).items()),
    }
    digest = sha256(json.dumps(settings).encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()
