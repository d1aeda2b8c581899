"""Classify your own texts into your own classes: `python -m workshop train | classify | show`.

train      makes a classifier, in one file, of a table of texts and labels
classify   labels the texts of a file of any size, or lines as they come, in a CSV table
show       says what a classifier's file holds

A command that was interrupted resumes when it is given again. The same commands run on several
processes: `torchrun --nproc-per-node=2 -m workshop train …`.
"""

import csv
import io
import os
import sys
from argparse import SUPPRESS, ArgumentParser
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext, suppress
from hashlib import sha256
from pathlib import Path

from helpers.config import MODEL_CONFIGS

# torch takes seconds to import, so each command imports what it needs

INTERRUPTED = 130  # a shell's exit code for Ctrl-C
HEADER = b"text,label,probability,note\r\n"
EMPTY = "empty: nothing to classify"
SETTINGS = (  # of `OwnSettings`
    ("--model", str, f"the pretrained model: {'; '.join(MODEL_CONFIGS)} (gpt2-nano (12M))"),
    (
        "--keep",
        str,
        'which classifier is kept: "bag of words", "transformer", "sum of both", or the one that is '
        '"best" on the validation texts ("best")',
    ),
    (
        "--plan",
        str,
        'which part of GPT-2 is trained: "head only"; "LoRA, last block"; "LoRA, all blocks"; "the book\'s '
        'choice"; "last two blocks" ("everything")',
    ),
    (
        "--position",
        str,
        "the position whose logits classify: first, last, last_token, mean or mean_tokens (mean_tokens)",
    ),
    ("--balance", str, '"as they are", "class weights" or "undersampling" ("as they are")'),
    ("--precision", str, "float32 or bfloat16 (float32)"),
    ("--epochs", int, "(8)"),
    ("--batch-size", int, "(16)"),
    ("--seed", int, "of the training; the split stays as it is (123)"),
    ("--lr", float, "the learning rate (the model's own)"),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line asks, and end the process with an exit code."""
    parser = ArgumentParser(prog="python -m workshop", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(required=True, metavar="train | classify | show")
    column = {"metavar": "COLUMN", "help": "the column's name, if it is not recognised"}

    command = commands.add_parser("train", help="make a classifier of a table of texts and labels")
    command.set_defaults(run=train)
    command.add_argument("path", metavar="FILE", help="CSV, TSV, JSON lines or Parquet")
    command.add_argument("--out", type=Path, required=True, help="the classifier, .safetensors")
    command.add_argument("--text", **column)
    command.add_argument("--label", **column)
    for name, kind, values in SETTINGS:
        command.add_argument(name, type=kind, help=values, default=SUPPRESS)
    command.add_argument(
        "--quick",
        dest="keep",
        action="store_const",
        const="bag of words",
        default=SUPPRESS,
        help="train the bag of words alone, in seconds",
    )

    command.add_argument(
        "--thorough",
        action="store_true",
        help="decide by five-fold cross-validation, which takes about six times as long",
    )

    command = commands.add_parser("classify", help="label the texts of a file, or lines")
    command.set_defaults(run=classify)
    command.add_argument("classifier", type=Path, help="a file that train has saved")
    command.add_argument("path", metavar="FILE", nargs="?", default="-", help="a table, .txt, or -")
    command.add_argument(
        "--out",
        type=Path,
        help="a CSV file (otherwise it is printed); import its columns "
        "as text into a spreadsheet, as a text that begins with = would be run as a formula",
    )
    command.add_argument("--text", **column)
    command.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])

    command = commands.add_parser("show", help="say what a classifier's file holds")
    command.set_defaults(run=show)
    command.add_argument("classifier", type=Path)
    command.add_argument(
        "--test",
        metavar="FILE",
        help="the table that it was trained on: measure it on the test texts, which no training saw",
    )

    options = vars(parser.parse_args(arguments))
    run(lambda: options.pop("run")(**options))


def run(command: Callable[[], int | None]) -> None:
    """Do `command` and end with its exit code; what it raises becomes one line, and code 1.

    That holds for what a user can do something about; any other error keeps its traceback.
    """
    for stream in filter(None, (sys.stdout, sys.stderr)):  # a closed one is None
        stream.reconfigure(errors="backslashreplace")  # or printing a label may raise
    try:
        code = command() or 0
        if sys.stdout:
            sys.stdout.flush()  # or a closed pipe is noticed after the end
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still to be written is for nobody
        sys.exit("nobody reads what is printed any more")
    except (ValueError, OSError, RuntimeError, FloatingPointError) as error:
        # a wrong argument is wrong in all processes that torchrun has started: the first says so
        is_first = os.environ.get("RANK", "0") == "0"
        sys.exit(f"{error}" if is_first or not isinstance(error, ValueError) else 1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = INTERRUPTED
    sys.exit(code)


def refuse_to_replace(out: Path) -> None:
    """Raise FileExistsError for a file or a folder that is there already."""
    if out.is_dir():
        raise FileExistsError(f"{out} is a folder; name a file in it with --out")
    if out.exists():
        raise FileExistsError(f"{out} exists already; delete it, or name another file with --out")


# --- train ----------------------------------------------------------------------------------------


def train(path: str, out: Path, text: str | None, label: str | None, **settings) -> int | None:
    """Train with those `settings` that are given, and write `out`; return an exit code other than 0.

    After each epoch the training is saved beside `out`, and the same command resumes from there.
    Raises ValueError or OSError for a table that can't be read, and where `out` exists and no
    training of it was interrupted.
    """
    from helpers.download import one_at_a_time
    from workshop.fast import with_bars
    from workshop.own import OwnSettings, OwnTraining
    from workshop.processes import EpochCheckpoint, joined
    from workshop.texts import counted, read_texts, split_stratified

    settings = OwnSettings(**settings)
    with joined() as processes, one_at_a_time(out) if processes.number == 0 else nullcontext():
        is_first = processes.number == 0
        checkpoint_path = out.with_name(f"{out.name}.checkpoint")
        if not checkpoint_path.exists():
            refuse_to_replace(out)
        table = read_texts(path, text, label)
        split = split_stratified(table)
        training = OwnTraining(split, settings, processes)
        checkpoint = EpochCheckpoint(checkpoint_path, training.origin)
        if is_first:
            print(*table.report, *split.report, *training.report(), sep="\n", flush=True)
            if num_epochs := checkpoint.epochs():
                print(f"resuming after {counted(num_epochs, 'whole epoch')} ({checkpoint_path})")
        show_bars = is_first and sys.stderr.isatty()
        for _ in with_bars(training.steps(checkpoint), show_bars):
            pass

        history = training.history
        if history and history.interrupted:
            whole = f"after {counted(len(history.val_accs), 'whole epoch')} of {settings.epochs}"
            print(f"interrupted {whole}; the same command resumes there", file=sys.stderr)
            return INTERRUPTED
        if is_first:
            classifier, _, choice = training.finish(table, out.parent)
            classifier.save(out)  # before printing can fail
            checkpoint_path.unlink(missing_ok=True)
            print(*(history.notes if history else ()), choice, sep="\n")
            print(
                f"saved: {out}; to use it: python -m workshop classify {out} FILE\n"
                f"to measure it once, at the end: python -m workshop show {out} --test {path}"
            )


# --- classify -------------------------------------------------------------------------------------


def classify(
    classifier: Path, path: str, out: Path | None, text: str | None, precision: str
) -> None:
    """Label the texts of a file, or the lines of standard input, where `path` is "-".

    The rows are printed, or written to `out`. `text` names the column, as in `read_pieces`. Raises
    what reading a file raises, FileExistsError for an `out` that exists already, and OSError where
    it can't be written.
    """
    from helpers.download import file_sha256
    from workshop.own import OwnClassifier
    from workshop.texts import read_lines, read_pieces

    if out:
        refuse_to_replace(out)
    model = OwnClassifier.load(classifier)
    if path == "-":
        if text is not None:
            raise ValueError("--text needs a file: standard input is read line by line")
        if sys.stdin is None:
            raise ValueError("standard input is closed: name a file, or send lines")
        pieces = read_lines(sys.stdin.buffer)
    else:
        report = []  # what can't be read is said before the first text is classified
        num_texts = sum(map(len, read_pieces(path, report, text)))
        for sentence in report:
            print(sentence, file=sys.stderr)
        pieces = read_pieces(path, [], text)
        if out:
            # another classifier, input or setting does not resume what is there
            identity = repr((file_sha256(classifier), file_sha256(path), text, precision))
            mark = sha256(identity.encode()).hexdigest()[:8]
            parts = out.with_name(f"{out.name}.{mark}.parts")
            classify_pieces(model, pieces, num_texts, out, parts, precision)
            return
    # past Python's own buffer, which would fail once more at the end
    with open(1, "wb", closefd=False) if out is None else out.open("xb") as file:
        file.write(HEADER)
        file.flush()
        for piece in pieces:
            file.write(rows(model, piece, precision))
            file.flush()


def classify_pieces(
    model, pieces: Iterable[list[str]], num_texts: int, out: Path, parts: Path, precision: str
) -> None:
    """Write the rows of all texts to `out`; `model` is an OwnClassifier.

    Process k writes each of the pieces k, k + size, … to a file in the folder `parts`, from which
    the same command resumes. The first process joins them.
    """
    from tqdm import tqdm

    from helpers.download import one_at_a_time, whole_file
    from workshop.processes import joined

    with joined() as processes, one_at_a_time(out) if processes.number == 0 else nullcontext():
        with tqdm(total=num_texts, unit=" texts", disable=processes.number > 0 or None) as bar:
            for number, piece in enumerate(pieces):
                part = parts / f"{number:09}.csv"
                if number % processes.size == processes.number and not part.exists():
                    with whole_file(part) as file:
                        file.write_bytes(rows(model, piece, precision))
                bar.update(len(piece))
        processes.sum(0.0)  # waits for all of them
        if processes.number == 0:
            with whole_file(out) as whole, whole.open("wb") as file:
                file.write(HEADER)
                for part in sorted(parts.glob("*.csv")):
                    file.write(part.read_bytes())
            for part in parts.glob("*.csv"):
                part.unlink()
            with suppress(OSError):  # it holds something else, too
                parts.rmdir()


def rows(model, texts: list[str], precision: str) -> bytes:
    """Return text, label, the label's probability and a note for each text, as CSV (RFC 4180).

    `model` is an OwnClassifier. An empty text has neither label nor probability, and a note that
    says so; a text that is longer than GPT-2 reads has a note, too.
    """
    some = [text for text in texts if text.strip()]
    best = model.probabilities(some, precision).max(dim=-1)
    is_long = model.is_truncated(some)
    answers = zip(best.indices.tolist(), best.values.tolist(), is_long, strict=True)
    lines = io.StringIO()
    writer = csv.writer(lines)
    for text in texts:
        label, probability, note = "", "", EMPTY
        if text.strip():
            number, most, is_long = next(answers)
            label, probability, note = model.labels[number], f"{most:.4f}", ""
            if is_long:
                note = f"GPT-2 read only the first {model.gpt2.max_length:,} tokens"
        writer.writerow((text, label, probability, note))
    return lines.getvalue().encode()


# --- show -----------------------------------------------------------------------------------------


def show(classifier: Path, test: str | None) -> None:
    """Print what a classifier is, and how good it is on the test texts of the table `test`.

    What a terminal would obey is shown as �.
    """
    from workshop.own import OwnClassifier, describe_test

    loaded = OwnClassifier.load(classifier)
    lines = [str(classifier), *loaded.description()]
    if test:
        lines = describe_test(loaded, test, classifier.parent)
    lines.append(
        "All this stands in the file, and loading checks nothing beyond it: not that these are the "
        "texts it was trained on, nor that its figures were measured."
    )
    text = "\n".join(lines)
    print("".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text))


if __name__ == "__main__":
    main()
