"""What the course's commands have in common: how they refuse, and how they end.

The texts of a file of any size, in pieces, so that it never lies in memory whole.

A first look goes through all of it: what is wrong with the last line is said before the first one
is classified. What a file and a column may be is as in `helpers.data.read_texts`.

Label a file of texts of any size, or lines as they come.

What comes out is a CSV table with one row for each text, in their order. With an output file the
rows are made in shards, which lie in a folder beside it until all are there: a run that was killed
goes on after the last whole shard, and several processes share them out.

What a saved classifier is: its labels, its model's sizes, and what was saved along with it.

`python -m workshop train`: a table of texts and labels becomes a classifier in one file.

What is printed is a report on the table, a bar, and how good the classifier is on texts that it has
not met. After each epoch the training is kept in a folder beside the file, from which the same
command goes on.

Classify your own texts into your own classes: `python -m workshop train | classify | show`.

The same commands run on several processes: `torchrun --nproc-per-node=2 -m workshop train …`.
"""

import argparse
import codecs
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import chain, groupby
from pathlib import Path
from typing import BinaryIO

import torch

from helpers.classify import TextClassifier
from helpers.config import MODEL_CONFIGS
from helpers.data import pad
from helpers.download import file_sha256, whole_file
from helpers.lora import adapters_in
from helpers.tokenizer import encode_message
from helpers.training import POSITIONS, PRECISIONS, check_precision, get_device
from workshop.fast import Bars, count_of
from workshop.own import BALANCES, PLANS, THIS, OwnSettings, OwnTraining, class_table, summary_table
from workshop.processes import ALONE, EpochCheckpoint, Ranks, joined
from workshop.texts import (
    TEXT_NAMES,
    as_texts,
    csv_cells,
    encoding_of,
    find_column,
    header_of,
    json_object,
    kind_of_file,
    need_file,
    read_texts,
    separator_of,
    split_stratified,
)

INTERRUPTED = 130  # a shell's exit code for Ctrl-C


class Parser(argparse.ArgumentParser):
    """An argparse parser that refuses in one line, with exit code 2."""

    def error(self, message: str) -> None:
        self.exit(2, f"{message}; --help says more\n")


def run(command: Callable[[], int | None]) -> None:
    """Do `command` and end with its exit code; what it raises becomes one line, and code 1.

    That holds for what a user can do something about; any other error keeps its traceback.
    """
    try:
        code = command() or 0
        sys.stdout.flush()  # or a closed pipe is met after the end
    except BrokenPipeError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still to be written is for nobody
        sys.exit(f"{error.strerror or error}: nobody reads what is printed any more")
    except (ValueError, OSError, RuntimeError, FloatingPointError) as error:
        sys.exit(f"{error}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = INTERRUPTED
    sys.exit(code)


PIECE_ROWS = 1_000


PIECE_CHARACTERS = 2**22  # a piece of long texts ends here, whatever its number of rows


BLOCK = 2**16  # bytes read at once


@dataclass(frozen=True)
class TextFile:
    """A file with texts that has been looked at once.

    `kind` is "lines" where each line is a text, else "CSV", "TSV", "JSON lines" or "Parquet";
    `names` are the columns', `place` is that of the one with the texts. `encoding` is None for
    Parquet, `sha256` is that of the file's bytes, `rows` and `pieces` are their numbers.
    """

    path: Path
    kind: str
    encoding: str | None
    names: tuple[str, ...]
    place: int
    sha256: str
    rows: int = 0
    pieces: int = 0

    @property
    def column(self) -> str:
        """The name of the column with the texts; "" where each line is one."""
        return self.names[self.place] if self.names else ""


def look_at(path: str | Path, text: str | None = None) -> TextFile:
    """Read a file once from end to end, and say what is in it.

    It is a CSV, TSV or Parquet table or JSON lines, by the ending of its name, with the texts in
    the column `text` (None: one with a usual name). Of a ".txt" file each line is a text; with
    `text` given it is a TSV table. Raises OSError for what can't be opened, and ValueError for
    what can't be read, with the line.
    """
    path = need_file(path)
    is_lines = path.suffix.lower() == ".txt" and text is None
    kind = "lines" if is_lines else kind_of_file(path)
    encoding = None if kind == "Parquet" else encoding_of(path)
    names = {"lines": lambda: (), "Parquet": lambda: _parquet_names(path)}.get(
        kind, lambda: _names(path, kind, encoding)
    )()
    place = 0 if is_lines else _place(names, text, path)
    found = TextFile(path, kind, encoding, names, place, file_sha256(path))
    sizes = [len(piece) for piece in pieces(found)]
    return replace(found, rows=sum(sizes), pieces=len(sizes))


def _names(path: Path, kind: str, encoding: str) -> tuple[str, ...]:
    if kind != "JSON lines":
        return header_of(path, encoding, separator_of(path, encoding))
    names: dict[str, None] = {}
    for row in _objects(path, encoding):
        names.update(dict.fromkeys(row))
    return tuple(names)


def _place(names: tuple[str, ...], text: str | None, path: Path) -> int:
    try:
        return find_column(names, text, TEXT_NAMES, "text", str(path))
    except ValueError as error:
        raise ValueError(str(error).replace("text=…", "--text COLUMN")) from None


def pieces(source: TextFile) -> Iterator[list[str]]:
    """Yield the texts in order, in lists of PIECE_ROWS, fewer where they are long; a missing one is "".

    The pieces are the same each time. Blank lines of a table are no rows, as in pandas.
    """
    read = {"lines": _lines, "JSON lines": _values, "Parquet": _entries}
    return in_pieces(map(_encodable, read.get(source.kind, _cells)(source)))


def in_pieces(texts: Iterable[str]) -> Iterator[list[str]]:
    """Yield lists of PIECE_ROWS texts, fewer where they are long."""
    piece, characters = [], 0
    for text in texts:
        piece.append(text)
        characters += len(text)
        if len(piece) == PIECE_ROWS or characters >= PIECE_CHARACTERS:
            yield piece
            piece, characters = [], 0
    if piece:
        yield piece


def _encodable(text: str) -> str:
    """Return a text without halves of a surrogate pair, which UTF-8 can't write."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


# --- each kind of file -----------------------------------------------------------------------


def _lines(source: TextFile) -> Iterator[str]:
    with source.path.open(encoding=source.encoding) as file:
        yield from (line.removesuffix("\n") for line in file)


def _cells(source: TextFile) -> Iterator[str]:
    path, encoding = source.path, source.encoding
    separator = separator_of(path, encoding)
    for cells in csv_cells(path, encoding, separator, source.names, source.place, PIECE_ROWS):
        yield from as_texts(cells, source.column, str(path))


def _values(source: TextFile) -> Iterator[str]:
    for number, row in enumerate(_objects(source.path, source.encoding), start=1):
        yield from as_texts([row.get(source.column)], source.column, str(source.path), number)


def _objects(path: Path, encoding: str | None) -> Iterator[dict]:
    with path.open(encoding=encoding) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield json_object(path, number, line, _each_name_once)


def _each_name_once(pairs: list[tuple]) -> dict:
    if len(row := dict(pairs)) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two values are called {twice!r}")
    return row


def _entries(source: TextFile) -> Iterator[str]:
    import pyarrow

    first = 1
    try:
        file = _parquet(source.path)
        for batch in file.iter_batches(PIECE_ROWS, columns=[source.column]):
            yield from as_texts(batch.column(0).to_pylist(), source.column, str(source.path), first)
            first += len(batch)
    except (pyarrow.ArrowException, OSError) as error:
        raise _no_parquet(source.path, error) from None


def _parquet_names(path: Path) -> tuple[str, ...]:
    import pyarrow

    try:
        return tuple(_parquet(path).schema_arrow.names)
    except (pyarrow.ArrowException, OSError) as error:
        raise _no_parquet(path, error) from None


def _parquet(path: Path):
    from pyarrow.parquet import ParquetFile

    return ParquetFile(path, buffer_size=BLOCK)  # or a whole column of a row group is read at once


def _no_parquet(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path} is no whole Parquet file ({str(error).splitlines()[0]})")


# --- standard input --------------------------------------------------------------------------


def lines_as_they_come(file: BinaryIO) -> Iterator[list[str]]:
    """Yield the lines of a stream, without their ends, in lists of those that can be read by now.

    So a slow stream gives one at a time. They are UTF-8, or, where one can't be, cp1252; raises
    ValueError for a line that is neither.
    """
    number, rest = 0, b""
    while block := file.read1(BLOCK):
        *whole, rest = (rest + block).split(b"\n")
        yield from in_pieces(_line(line, number + i) for i, line in enumerate(whole, 1))
        number += len(whole)
    if rest:
        yield [_line(rest, number + 1)]


def _line(line: bytes, number: int) -> str:
    line = line.removesuffix(b"\r")
    if number == 1:
        line = line.removeprefix(codecs.BOM_UTF8)
    for encoding in ("utf-8", "cp1252"):
        try:
            return line.decode(encoding)
        except UnicodeDecodeError:
            pass
    raise ValueError(
        f"line {number:,} of standard input is text neither in UTF-8 nor in cp1252: {line[:20]!r}"
    )


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


FIGURES = "figures"  # the entry of `about` that is a text to print as it is


MOST_LABELS = 30


def described(classifier: TextClassifier, path: str | Path) -> str:
    """Return what a classifier from the file `path` is, in plain lines.

    A character that a terminal would obey is shown escaped.
    """
    cfg, labels = classifier.model.cfg, classifier.labels
    named = "; ".join(labels[:MOST_LABELS])
    if len(labels) > MOST_LABELS:
        named += f"; and {len(labels) - MOST_LABELS:,} more"
    parameters = sum(parameter.numel() for parameter in classifier.model.parameters())
    lines = [
        str(path),
        f"{len(labels):,} classes: {named}",
        f"position: {classifier.position}; a text is cut after {classifier.max_length:,} tokens",
        f"the model: {cfg['n_layers']} blocks, {cfg['n_heads']} heads, {cfg['emb_dim']:,} numbers "
        f"for each token, a context of {cfg['context_length']:,} tokens, {parameters:,} parameters",
    ]
    lines += [f"{name}: {text}" for name, text in classifier.about.items() if name != FIGURES]
    if FIGURES in classifier.about:
        lines += ["", classifier.about[FIGURES], ""]
    lines.append(
        "All this stands in the file, and loading checks nothing beyond it: not that these are the "
        "texts it was trained on, nor that its figures were measured."
    )
    return "".join(map(_visible, "\n".join(lines)))


def _visible(character: str) -> str:
    if character == "\n" or character.isprintable():
        return character
    return character.encode("unicode_escape").decode()


def checkpoint_folder(out: Path) -> Path:
    """Return where a training of `out` keeps its last whole epoch."""
    return out.with_name(f"{out.name}.checkpoint")


def train(
    path: str,
    out: Path,
    settings: OwnSettings,
    text: str | None = None,
    label: str | None = None,
    ranks: Ranks = ALONE,
    shard: bool = False,
) -> int:
    """Train as the settings say and write `out`; return the exit code.

    Raises ValueError or OSError for a table that can't be read, and where `out` is there already
    and no training of it is under way.
    """
    say = print if ranks.is_first else _say_nothing
    folder = checkpoint_folder(out)
    if out.exists() and not folder.exists():
        raise ValueError(f"{out} is there already; delete it, or name another file with --out")
    table = read_texts(path, text, label)
    split = split_stratified(table, seed=settings.seed)
    say(*table.report, *split.report, sep="\n")
    training = OwnTraining(split, settings, ranks, shard)
    say(f"training: {training.in_words}")
    ranks.same(path, training.origin["messages"])
    ranks.same("the settings", training.origin["settings"])
    checkpoint = EpochCheckpoint(folder, training.origin, ranks)
    if epochs := checkpoint.epochs():
        say(f"going on after {count_of(epochs, 'whole epoch')}, from {folder}")

    with Bars(settings.epochs, ranks.is_first and sys.stderr.isatty()) as bars:
        for progress in training.steps(checkpoint):
            bars.update(progress)
    say(*training.history.notes, sep="\n", end="\n" if training.history.notes else "")
    about = {"trained on": f"{table.source}, {len(split.train):,} texts"}
    if training.history.interrupted:
        _keep_interrupted(training, out, about, folder)
        return INTERRUPTED
    figures = training.figures()
    words = f"{summary_table(figures)}\n\n{class_table(figures[THIS])}"
    say(f"\non the {len(split.test):,} test texts, which it has not met:\n\n{words}")
    if cut := training.num_cut:
        longest = f"the longest training text, {training.train.max_length:,} tokens"
        say(f"\nof them {cut:,} {'was' if cut == 1 else 'were'} cut to the length of {longest}")
    if ranks.is_first:
        training.classifier(about | {"figures": words}).save(out)
    checkpoint.delete()
    say(f"\nsaved: {out}; to use it: python -m workshop classify {out} FILE")
    return 0


def _keep_interrupted(training: OwnTraining, out: Path, about: dict, folder: Path) -> None:
    """Save the weights of the last whole epoch, and say so."""
    epochs = len(training.history.val_accs)
    again = f"the same command goes on there (from {folder})"
    if not epochs:
        print("interrupted before the first epoch ended: nothing is saved", file=sys.stderr)
    elif training.ranks.size > 1:  # the others may have stopped at another place
        print(f"interrupted after {count_of(epochs, 'whole epoch')}: {again}", file=sys.stderr)
    else:
        whole = f"{count_of(epochs, 'whole epoch')} of {training.settings.epochs}"
        training.classifier(about | {"interrupted": f"after {whole}"}).save(out)
        print(f"interrupted after {whole}: {out} has its weights; {again}", file=sys.stderr)


def _say_nothing(*_, **__) -> None:
    """Another rank says it."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line asks, and end the process with an exit code."""
    chosen = _parser().parse_args(arguments)
    run(lambda: chosen.command(chosen))


def _parser() -> Parser:
    parser = Parser(prog="python -m helpers", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="train | classify | show")

    train = commands.add_parser("train", help="train a classifier on a table of texts and labels")
    train.set_defaults(command=_train)
    train.add_argument("file", help="CSV, TSV, JSON lines or Parquet, with texts and labels")
    train.add_argument("--out", type=Path, required=True, help="the classifier, .safetensors")
    _add_column(train, "--text", "texts")
    _add_column(train, "--label", "labels")
    default = OwnSettings()
    train.add_argument("--model", default=default.model, choices=MODEL_CONFIGS)
    train.add_argument("--plan", default=default.plan, choices=PLANS, help="what is trained")
    train.add_argument("--position", default=default.position, choices=POSITIONS)
    train.add_argument("--balance", default=default.balance, choices=BALANCES)
    train.add_argument("--precision", default=default.precision, choices=PRECISIONS)
    train.add_argument("--epochs", type=int, default=default.epochs)
    train.add_argument("--batch-size", type=int, default=default.batch_size)
    train.add_argument("--lr", type=float, help="the learning rate (the model's own)")
    train.add_argument("--seed", type=int, default=default.seed)
    train.add_argument(
        "--shard", action="store_true", help="split what is trained among torchrun's processes"
    )

    classify = commands.add_parser("classify", help="label the texts of a file, or lines")
    classify.set_defaults(command=_classify)
    classify.add_argument("classifier", type=Path, help="what train has saved")
    classify.add_argument("file", nargs="?", default="-", help="a table, .txt, or - for lines")
    classify.add_argument("--out", type=Path, help="a CSV file (else it is printed)")
    _add_column(classify, "--text", "texts")
    classify.add_argument("--precision", default="float32", choices=PRECISIONS)

    show = commands.add_parser("show", help="say what is in a classifier's file")
    show.set_defaults(command=_show)
    show.add_argument("classifier", type=Path)
    return parser


def _add_column(parser: argparse.ArgumentParser, name: str, what: str) -> None:
    parser.add_argument(name, metavar="COLUMN", help=f"the column with the {what}, if not clear")


# what a command imports takes seconds, so --help does without


def _train(chosen: argparse.Namespace) -> int:
    pass

    settings = OwnSettings(
        chosen.model,
        chosen.plan,
        chosen.position,
        chosen.balance,
        chosen.epochs,
        chosen.batch_size,
        chosen.lr,
        chosen.precision,
        chosen.seed,
    )
    with joined() as ranks:
        return train(
            chosen.file, chosen.out, settings, chosen.text, chosen.label, ranks, chosen.shard
        )


def _classify(chosen: argparse.Namespace) -> None:
    from tqdm import tqdm

    from helpers.classify import TextClassifier

    pass
    pass

    with joined() as ranks:
        classifier = TextClassifier.load(chosen.classifier)
        classifier.model.to(get_device())
        if chosen.file == "-":
            lines = lines_as_they_come(sys.stdin.buffer)
            classify_lines(classifier, lines, precision=chosen.precision)
            return
        # None: only where there is a terminal
        with tqdm(unit=" rows", disable=None if ranks.is_first else True) as bar:

            def show(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            classify_file(
                classifier, chosen.file, chosen.out, chosen.text, chosen.precision, ranks, show
            )


def _show(chosen: argparse.Namespace) -> None:
    from helpers.classify import TextClassifier

    pass

    print(described(TextClassifier.load(chosen.classifier), chosen.classifier))


if __name__ == "__main__":
    main()
