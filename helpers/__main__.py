"""python -m helpers classify my.safetensors [FILE] [--out labels.csv]"""

import argparse
import sys

from tqdm import tqdm

from helpers.classify import TextClassifier
from helpers.command.classify import classify_file, classify_lines
from helpers.command.pieces import lines_as_they_come
from helpers.command.show import described
from helpers.ranks import joined


def main(arguments=None) -> None:
    parser = argparse.ArgumentParser(prog="python -m helpers")
    commands = parser.add_subparsers(dest="command", required=True)
    classify = commands.add_parser("classify")
    classify.add_argument("classifier")
    classify.add_argument("file", nargs="?", default="-")
    classify.add_argument("--out")
    classify.add_argument("--text")
    classify.add_argument("--precision", default="float32")
    commands.add_parser("show").add_argument("classifier")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "show":
            print(described(TextClassifier.load(chosen.classifier), chosen.classifier))
            return
        with joined() as ranks:
            classifier = TextClassifier.load(chosen.classifier)
            if chosen.file == "-":
                classify_lines(
                    classifier, lines_as_they_come(sys.stdin.buffer), precision=chosen.precision
                )
                return
            with tqdm(unit=" rows", disable=None if ranks.is_first else True) as bar:

                def show(done: int, total: int) -> None:
                    bar.total = total
                    bar.update(done - bar.n)

                classify_file(
                    classifier, chosen.file, chosen.out, chosen.text, chosen.precision, ranks, show
                )
    except (ValueError, OSError, RuntimeError) as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
