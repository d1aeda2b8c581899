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
import shutil
import sys
from argparse import SUPPRESS, ArgumentParser
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
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
        "--plan",
        str,
        'what is trained: "head only"; "LoRA, last block"; "LoRA, all blocks"; "last two blocks"; '
        '"everything" ("the book\'s choice")',
    ),
    ("--position", str, "what classifies: first, last, last_token or mean (last_token)"),
    ("--balance", str, '"as they are", "class weights" or "undersampling" ("as they are")'),
    ("--precision", str, "float32 or bfloat16 (float32)"),
    ("--epochs", int, "(5)"),
    ("--batch-size", int, "(8)"),
    ("--seed", int, "(123)"),
    ("--lr", float, "the learning rate (the model's own)"),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line asks, and end the process with an exit code."""
    parser = ArgumentParser(prog="python -m workshop", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(required=True, metavar="train | classify | show")
    column = {"metavar": "COLUMN", "help": "their column, if its name does not tell"}

    command = commands.add_parser("train", help="make a classifier of a table of texts and labels")
    command.set_defaults(run=train)
    command.add_argument("path", metavar="FILE", help="CSV, TSV, JSON lines or Parquet")
    command.add_argument("--out", type=Path, required=True, help="the classifier, .safetensors")
    command.add_argument("--text", **column)
    command.add_argument("--label", **column)
    for name, kind, values in SETTINGS:
        command.add_argument(name, type=kind, help=values, default=SUPPRESS)

    command = commands.add_parser("classify", help="label the texts of a file, or lines")
    command.set_defaults(run=classify)
    command.add_argument("classifier", type=Path, help="a file that train has saved")
    command.add_argument("path", metavar="FILE", nargs="?", default="-", help="a table, .txt, or -")
    command.add_argument("--out", type=Path, help="a CSV file (otherwise it is printed)")
    command.add_argument("--text", **column)
    command.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])

    command = commands.add_parser("show", help="say what a classifier's file holds")
    command.set_defaults(run=show)
    command.add_argument("classifier", type=Path)

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
        sys.exit(f"{error}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = INTERRUPTED
    sys.exit(code)


# --- train ----------------------------------------------------------------------------------------


def train(path: str, out: Path, text: str | None, label: str | None, **settings) -> int | None:
    """Train with those `settings` that are given, and write `out`; return an exit code other than 0.

    After each epoch the training is saved beside `out`, and the same command resumes from there.
    Raises ValueError or OSError for a table that can't be read, and where `out` exists and no
    training of it was interrupted.
    """
    from helpers.download import one_at_a_time
    from workshop.fast import with_bars
    from workshop.own import THIS, OwnSettings, OwnTraining, class_table, summary_table
    from workshop.processes import EpochCheckpoint, joined
    from workshop.texts import counted, read_texts, split_stratified

    settings = OwnSettings(**settings)
    with joined() as processes, one_at_a_time(out) if processes.number == 0 else nullcontext():
        is_first = processes.number == 0
        checkpoint_path = out.with_name(f"{out.name}.checkpoint")
        if out.exists() and not checkpoint_path.exists():
            raise ValueError(f"{out} exists already; delete it, or name another file with --out")
        table = read_texts(path, text, label)
        split = split_stratified(table, seed=settings.seed)
        training = OwnTraining(split, settings, processes)
        checkpoint = EpochCheckpoint(checkpoint_path, training.origin)
        if is_first:
            print(*table.report, *split.report, sep="\n")
            texts = f"{len(training.train):,} training, {len(split.validation):,} validation texts"
            print(f"training: {settings} · {texts}", flush=True)
            if num_epochs := checkpoint.epochs():
                print(f"resuming after {counted(num_epochs, 'whole epoch')} ({checkpoint_path})")
        show_bars = is_first and sys.stderr.isatty()
        for _ in with_bars(training.steps(checkpoint), show_bars):
            pass

        history = training.history
        about = {"trained on": f"{table.source}, {len(split.train):,} texts"}
        if history.interrupted:
            whole = f"after {counted(len(history.val_accs), 'whole epoch')} of {settings.epochs}"
            message = f"interrupted {whole}; the same command resumes there"
            if history.val_accs and processes.size == 1:  # others may have stopped elsewhere
                training.classifier(about | {"interrupted": whole}).save(out)
                message += f", and {out} has the weights so far"
            print(message, file=sys.stderr)
            return INTERRUPTED
        if is_first:
            figures = training.figures()
            tables = f"{summary_table(figures)}\n\n{class_table(figures[THIS])}"
            training.classifier(about | {"figures": tables}).save(out)  # before printing can fail
            checkpoint_path.unlink(missing_ok=True)
            num_texts = f"{len(split.test):,} test texts"
            print(*history.notes, f"\non the {num_texts}, which are not trained on:", sep="\n")
            print(f"\n{tables}\n")
            if training.num_cut:
                longest = f"the longest training text, {training.train.max_length:,} tokens"
                texts = counted(training.num_cut, "test text was", "test texts were")
                print(f"{texts} truncated to the length of {longest}\n")
            print(f"saved: {out}; to use it: python -m workshop classify {out} FILE")


# --- classify -------------------------------------------------------------------------------------


def classify(
    classifier: Path, path: str, out: Path | None, text: str | None, precision: str
) -> None:
    """Label the texts of a file, or the lines of standard input, where `path` is "-".

    The rows are printed, or written to `out`. `text` names the column, as in `read_pieces`. Raises
    what reading a file raises, FileExistsError for an `out` that exists already, and OSError where
    it can't be written.
    """
    from helpers.classify import TextClassifier
    from helpers.download import file_sha256
    from helpers.training import get_device
    from workshop.texts import read_lines, read_pieces

    if out and out.exists():
        raise FileExistsError(f"{out} exists already; delete it, or name another file with --out")
    model = TextClassifier.load(classifier)
    model.model.to(get_device())
    if path == "-":
        if text is not None:
            raise ValueError("--text needs a file: standard input is read line by line")
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
    """Write the rows of all texts to `out`; `model` is a TextClassifier.

    Process k writes each of the pieces k, k + size, … to a file in the folder `parts`, from which
    the same command resumes. The first process joins them.
    """
    from tqdm import tqdm

    from helpers.download import one_at_a_time, whole_file
    from helpers.training import get_device
    from workshop.processes import joined

    with joined() as processes, one_at_a_time(out) if processes.number == 0 else nullcontext():
        model.model.to(get_device())  # that of this process
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
            shutil.rmtree(parts, ignore_errors=True)


def rows(model, texts: list[str], precision: str) -> bytes:
    """Return text, label, the label's probability and a note for each text, as CSV (RFC 4180).

    `model` is a TextClassifier. An empty text has neither label nor probability, and a note that
    says so; so has one that is longer than the classifier reads.
    """
    from helpers.data import pad
    from helpers.tokenizer import encode_message
    from workshop.forward import fast_logits
    from workshop.texts import LONGEST_TEXT

    limit = model.max_length
    encoded = [encode_message(t[:LONGEST_TEXT], model.tokenizer) for t in texts if t.strip()]
    token_ids = [pad(ids, limit) for ids in encoded]
    best = fast_logits(model, token_ids, precision).softmax(dim=-1).max(dim=-1)
    answers = zip(encoded, best.indices.tolist(), best.values.tolist(), strict=True)
    lines = io.StringIO()
    writer = csv.writer(lines)
    for text in texts:
        label, probability, note = "", "", EMPTY
        if text.strip():
            ids, number, most = next(answers)
            label, probability = model.labels[number], f"{most:.4f}"
            note = f"only the first {limit:,} tokens were read" if len(ids) > limit else ""
        writer.writerow((text, label, probability, note))
    return lines.getvalue().encode()


# --- show -----------------------------------------------------------------------------------------


def show(classifier: Path) -> None:
    """Print what a classifier is: its labels, its model's sizes, and what was saved along with it.

    What a terminal would obey is shown as �.
    """
    from helpers.classify import TextClassifier
    from workshop.texts import listed

    loaded = TextClassifier.load(classifier)
    cfg, about = loaded.model.cfg, dict(loaded.about)
    figures = about.pop("figures", "")
    num_parameters = sum(parameter.numel() for parameter in loaded.model.parameters())
    lines = [
        f"{classifier}",
        f"{len(loaded.labels):,} classes: {listed(loaded.labels)}",
        f"position: {loaded.position}; a text is truncated after {loaded.max_length:,} tokens",
        f"the model: {cfg['n_layers']} blocks, {cfg['n_heads']} heads, {cfg['emb_dim']:,} numbers "
        f"for each token, a context of {cfg['context_length']:,} tokens, "
        f"{num_parameters:,} parameters",
        *(f"{name}: {value}" for name, value in about.items()),
        f"\n{figures}\n",
        "All this stands in the file, and loading checks nothing beyond it: not that these are the "
        "texts it was trained on, nor that its figures were measured.",
    ]
    text = "\n".join(lines)
    print("".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text))


if __name__ == "__main__":
    main()
