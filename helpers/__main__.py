"""Classify your own texts into your own classes: `python -m helpers train | classify | show`.

The same commands run on several processes: `torchrun --nproc-per-node=2 -m helpers train …`.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from helpers.classifying_token import POSITIONS
from helpers.command_line import Parser, run
from helpers.config import MODEL_CONFIGS
from helpers.device_and_precision import PRECISIONS, get_device
from helpers.own_training import BALANCES, PLANS, OwnSettings
from helpers.ranks import joined


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
    from helpers.command.train import train

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
    from helpers.command.classify import classify_file, classify_lines
    from helpers.command.pieces import lines_as_they_come

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
    from helpers.command.show import described

    print(described(TextClassifier.load(chosen.classifier), chosen.classifier))


if __name__ == "__main__":
    main()
