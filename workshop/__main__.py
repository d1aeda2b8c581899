"""Classify your own texts into your own classes: `python -m workshop train | classify | show`.

train      makes a classifier, in one file, of a table of texts and labels
classify   labels the texts of a file of any size, or lines as they come, in a CSV table
show       says what a classifier's file holds

A command that was interrupted resumes when it is given again. The same commands run on several
processes: `torchrun --nproc-per-node=2 -m workshop train …`.
"""

import argparse
import csv
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.config import MODEL_CONFIGS

if TYPE_CHECKING:  # torch takes seconds to import, so each command imports what it needs
    from helpers.classify import TextClassifier
    from workshop.processes import Processes

INTERRUPTED = 130  # a shell's exit code for Ctrl-C
HEADER = ("text", "label", "probability", "note")
EMPTY = "empty: nothing to classify"
FIGURES = "figures"  # the entry of `about` that is a table to print as it is
MOST_LABELS = 30  # that `show` names


class Parser(argparse.ArgumentParser):
    """An argparse parser that refuses in one line, with exit code 2."""

    def error(self, message: str) -> None:
        self.exit(2, f"{message}; --help says more\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line asks, and end the process with an exit code."""
    parser = Parser(prog="python -m workshop", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(required=True, metavar="train | classify | show")
    column = {"metavar": "COLUMN", "help": "their column, if its name does not tell"}

    command = commands.add_parser("train", help="make a classifier of a table of texts and labels")
    command.set_defaults(run=train)
    command.add_argument("path", metavar="FILE", help="CSV, TSV, JSON lines or Parquet")
    command.add_argument("--out", type=Path, required=True, help="the classifier, .safetensors")
    command.add_argument("--text", **column)
    command.add_argument("--label", **column)
    command.add_argument("--model", choices=MODEL_CONFIGS)
    for name, values in (
        (
            "--plan",
            'what is trained: "head only"; "LoRA, last block"; "LoRA, all blocks"; '
            '"last two blocks"; "everything" ("the book\'s choice")',
        ),
        ("--position", "first, last, last_token or mean (last_token)"),
        ("--balance", '"as they are", "class weights" or "undersampling" ("as they are")'),
        ("--precision", "float32 or bfloat16 (float32)"),
    ):
        command.add_argument(name, metavar="NAME", help=values)
    for name, default in (("--epochs", 5), ("--batch-size", 8), ("--seed", 123)):
        command.add_argument(name, metavar="NUMBER", type=int, help=f"({default})")
    command.add_argument("--lr", type=float, help="the learning rate (the model's own)")

    command = commands.add_parser("classify", help="label the texts of a file, or lines")
    command.set_defaults(run=classify)
    command.add_argument("classifier", type=Path, help="a file that train has saved")
    command.add_argument("path", metavar="FILE", nargs="?", default="-", help="a table, .txt, or -")
    command.add_argument("--out", type=Path, help="a CSV file (otherwise it is printed)")
    command.add_argument("--text", **column)
    command.add_argument("--precision", default="float32", help="float32 or bfloat16 (float32)")

    command = commands.add_parser("show", help="say what a classifier's file holds")
    command.set_defaults(run=show)
    command.add_argument("classifier", type=Path)

    options = vars(parser.parse_args(arguments))
    run(lambda: options.pop("run")(**options))


def run(command: Callable[[], int | None]) -> None:
    """Do `command` and end with its exit code; what it raises becomes one line, and code 1.

    That holds for what a user can do something about; any other error keeps its traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # closed
            stream.reconfigure(errors="backslashreplace")  # or printing a label may raise
    try:
        code = command() or 0
        if sys.stdout is not None:
            sys.stdout.flush()  # or a closed pipe is noticed after the end
    except BrokenPipeError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still to be written is for nobody
        sys.exit(f"{error.strerror}: nobody reads what is printed any more")
    except (ValueError, OSError, RuntimeError, FloatingPointError) as error:
        sys.exit(f"{error}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = INTERRUPTED
    sys.exit(code)


@contextmanager
def only_one(out: Path, processes: "Processes") -> Iterator[None]:
    """Let no other command write `out` in this block. Raises ValueError where one does already."""
    from filelock import FileLock, Timeout

    if processes.number > 0:  # the first one holds the lock for all
        yield
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    path = out.with_name(f"{out.name}.lock")
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(
            f"another command is writing {out}; wait for it, or name another file with --out"
        ) from None
    try:
        yield
    finally:
        lock.release()
        path.unlink(missing_ok=True)


# --- train ----------------------------------------------------------------------------------------


def train(path: str, out: Path, text: str | None, label: str | None, **settings) -> int:
    """Train with those `settings` that are not None, and write `out`; return the exit code.

    After each epoch the training is saved beside `out`, and the same command resumes from there.
    Raises ValueError or OSError for a table that can't be read, and where `out` exists and no
    training of it was interrupted.
    """
    from workshop.fast import with_bars
    from workshop.own import THIS, OwnSettings, OwnTraining, class_table, summary_table
    from workshop.processes import EpochCheckpoint, joined
    from workshop.texts import counted, read_texts, split_stratified

    chosen = {name: value for name, value in settings.items() if value is not None}
    settings = OwnSettings(**chosen)
    with joined() as processes, only_one(out, processes):
        is_first = processes.number == 0
        checkpoint_path = out.with_name(f"{out.name}.checkpoint")
        if out.exists() and not checkpoint_path.exists():
            raise ValueError(f"{out} exists already; delete it, or name another file with --out")
        table = read_texts(path, text, label)
        split = split_stratified(table, seed=settings.seed)
        training = OwnTraining(split, settings, processes)
        checkpoint = EpochCheckpoint(checkpoint_path, training.origin)
        if is_first:
            print(*table.report, *split.report, f"training: {training}", sep="\n", flush=True)
            if num_epochs := checkpoint.epochs():
                print(f"resuming after {counted(num_epochs, 'whole epoch')} ({checkpoint_path})")
        for _ in with_bars(training.steps(checkpoint), is_first and sys.stderr.isatty()):
            pass

        about = {"trained on": f"{table.source}, {len(split.train):,} texts"}
        if training.history.interrupted:
            whole = f"{counted(len(training.history.val_accs), 'whole epoch')} of {settings.epochs}"
            message = f"interrupted after {whole}; the same command resumes there"
            if (
                training.history.val_accs and processes.size == 1
            ):  # others may have stopped elsewhere
                training.classifier(about | {"interrupted": f"after {whole}"}).save(out)
                message += f", and {out} has the weights so far"
            print(message, file=sys.stderr)
            return INTERRUPTED
        if not is_first:
            return 0
        figures = training.figures()
        tables = f"{summary_table(figures)}\n\n{class_table(figures[THIS])}"
        training.classifier(about | {FIGURES: tables}).save(out)  # before printing can fail
        checkpoint.delete()
        print(*training.history.notes, sep="\n", end="\n" if training.history.notes else "")
        print(f"\non the {len(split.test):,} test texts, which are not trained on:\n\n{tables}")
        if training.num_cut:
            were = counted(training.num_cut, "test text was", "test texts were")
            longest = f"the longest training text, {training.train.max_length:,} tokens"
            print(f"\n{were} truncated to the length of {longest}")
        print(f"\nsaved: {out}; to use it: python -m workshop classify {out} FILE")
    return 0


# --- classify -------------------------------------------------------------------------------------


def classify(
    classifier: Path, path: str, out: Path | None, text: str | None, precision: str
) -> None:
    """Label the texts of a file, or the lines of standard input, where `path` is "-".

    The rows are printed, or written to `out`. `text` names the column, as in `read_pieces`. Raises
    what reading a file raises, FileExistsError for an `out` that exists already, and OSError where
    it can't be written.
    """
    from helpers.checks import one_of
    from helpers.classify import TextClassifier
    from helpers.download import file_sha256
    from helpers.training import PRECISIONS, get_device
    from workshop.processes import joined
    from workshop.texts import read_lines, read_pieces

    one_of("precision", precision, PRECISIONS)
    if out is not None and out.exists():
        raise FileExistsError(f"{out} exists already; delete it, or name another file with --out")
    model = TextClassifier.load(classifier)
    model.model.to(get_device())
    with joined() as processes:
        if path == "-":
            if sys.stdin is None or text is not None:
                raise ValueError("--text needs a file: standard input is read line by line")
            pieces = read_lines(sys.stdin.buffer)
        else:
            report: list[str] = []  # what can't be read is said before the first text is classified
            sizes = [len(piece) for piece in read_pieces(path, report, text)]
            if processes.number == 0 and report:
                print(*report, sep="\n", file=sys.stderr)
            if out is not None:
                with only_one(out, processes):
                    # another classifier, input or setting does not resume what is there
                    identity = (file_sha256(classifier), file_sha256(path), text, precision)
                    mark = sha256(repr(identity).encode()).hexdigest()[:8]
                    classify_file(model, path, out, text, precision, sizes, mark, processes)
                return
            pieces = read_pieces(path, [], text)
        if processes.size > 1:
            raise ValueError("several processes need a file to read, and one to write with --out")
        # past Python's own buffer, which would fail once more at the end
        with open(1, "wb", closefd=False) if out is None else out.open("xb") as file:
            file.write(csv_lines([HEADER]))
            file.flush()
            for piece in pieces:
                file.write(csv_lines(rows(model, piece, precision)))
                file.flush()


def classify_file(
    model: "TextClassifier",
    path: str | Path,
    out: Path,
    text: str | None,
    precision: str,
    sizes: list[int],
    mark: str,
    processes: "Processes",
) -> None:
    """Write the rows of a file's texts, which come in pieces of these `sizes`, to `out`.

    Process k takes the pieces k, k + size, … and appends their rows to a part file, from which the
    same command resumes after the last whole piece; `mark` in its name tells it from another
    command's. The first process joins the parts.
    """
    from tqdm import tqdm

    from helpers.download import whole_file
    from workshop.texts import read_pieces

    number, size = processes.number, processes.size
    own_sizes = sizes[number::size]
    parts = [out.with_name(f"{out.name}.{mark}-{k}-of-{size}.part") for k in range(size)]
    try:
        num_done = _whole_pieces(parts[number], own_sizes)
        own_pieces = islice(read_pieces(path, [], text), number, None, size)
        bar = tqdm(total=sum(own_sizes), unit=" texts", disable=True if number else None)
        with bar, parts[number].open("ab") as file:
            for k, piece in enumerate(own_pieces):
                if k >= num_done:
                    file.write(csv_lines(rows(model, piece, precision)))
                    file.flush()
                bar.update(len(piece))
        processes.wait()
        if number > 0:
            return
        with whole_file(out) as whole, whole.open("wb") as file:
            file.write(csv_lines([HEADER]))
            readers = [csv.reader(part.open(encoding="utf-8", newline="")) for part in parts]
            for k, num_rows in enumerate(sizes):
                file.write(csv_lines(islice(readers[k % size], num_rows)))
        for part in parts:
            part.unlink()
    except OSError as error:
        raise OSError(
            f"{out} can't be written ({error}); the rows so far are in {parts[number]}, and the "
            "same command resumes there"
        ) from error


def _whole_pieces(part: Path, sizes: list[int]) -> int:
    """Return how many pieces are whole in a part file, and delete what a kill left behind them."""
    num_pieces = num_rows = num_quotes = position = end = 0
    with part.open("a+b") as file:
        file.seek(0)
        for line in file:
            position += len(line)
            num_quotes += line.count(b'"')  # odd inside a cell of several lines
            if line.endswith(b"\n") and num_quotes % 2 == 0:
                num_rows += 1
            if num_pieces < len(sizes) and num_rows == sizes[num_pieces]:
                num_pieces, num_rows, end = num_pieces + 1, 0, position
        file.truncate(end)
    return num_pieces


def rows(model: "TextClassifier", texts: list[str], precision: str) -> list[tuple[str, ...]]:
    """Return text, label, the label's probability and a note for each text.

    An empty text has neither label nor probability, and a note that says so; so has one that is
    longer than the classifier reads.
    """
    from helpers.data import pad
    from helpers.tokenizer import encode_message
    from workshop.fast import fast_logits
    from workshop.texts import LONGEST_TEXT

    limit = model.max_length
    encoded = {}
    for number, text in enumerate(texts):
        if text.strip():
            encoded[number] = encode_message(text[:LONGEST_TEXT], model.tokenizer)
    token_ids = [pad(ids, limit) for ids in encoded.values()]
    probabilities = fast_logits(model, token_ids, precision).softmax(dim=-1).tolist()
    found = [(text, "", "", EMPTY) for text in texts]
    for (number, ids), of_classes in zip(encoded.items(), probabilities, strict=True):
        text, best = texts[number], max(of_classes)
        note = ""
        if len(ids) > limit:
            more_than = "more than " if len(text) > LONGEST_TEXT else ""
            note = f"{more_than}{len(ids):,} tokens; the first {limit:,} were read"
        found[number] = (text, model.labels[of_classes.index(best)], f"{best:.4f}", note)
    return found


def csv_lines(table: Iterable[Sequence[str]]) -> bytes:
    """Return rows as lines of CSV (RFC 4180); csv.writer leaves a lone \\r without quotation marks."""
    lines = []
    for row in table:
        cells = []
        for cell in row:
            if re.search('[",\r\n]', cell):
                cell = '"' + cell.replace('"', '""') + '"'
            cells.append(cell)
        lines.append(",".join(cells) + "\n")
    return "".join(lines).encode()


# --- show -----------------------------------------------------------------------------------------


def show(classifier: Path) -> None:
    """Print what a classifier is: its labels, its model's sizes, and what was saved along with it.

    A character that a terminal would obey is shown escaped.
    """
    from helpers.classify import TextClassifier

    loaded = TextClassifier.load(classifier)
    cfg, labels, about = loaded.model.cfg, loaded.labels, dict(loaded.about)
    figures = about.pop(FIGURES, "")
    named = "; ".join(labels[:MOST_LABELS])
    if len(labels) > MOST_LABELS:
        named += f"; and {len(labels) - MOST_LABELS:,} more"
    num_parameters = sum(parameter.numel() for parameter in loaded.model.parameters())
    lines = [
        str(classifier),
        f"{len(labels):,} classes: {named}",
        f"position: {loaded.position}; a text is truncated after {loaded.max_length:,} tokens",
        f"the model: {cfg['n_layers']} blocks, {cfg['n_heads']} heads, {cfg['emb_dim']:,} numbers "
        f"for each token, a context of {cfg['context_length']:,} tokens, "
        f"{num_parameters:,} parameters",
    ]
    lines += [f"{name}: {value}" for name, value in about.items()]
    if figures:
        lines += ["", figures, ""]
    lines.append(
        "All this stands in the file, and loading checks nothing beyond it: not that these are the "
        "texts it was trained on, nor that its figures were measured."
    )
    shown = ""
    for character in "\n".join(lines):
        if character != "\n" and not character.isprintable():
            character = character.encode("unicode_escape").decode()
        shown += character
    print(shown)


if __name__ == "__main__":
    main()
