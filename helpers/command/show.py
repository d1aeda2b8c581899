"""What a saved classifier is: its labels, its model's sizes, and what was saved along with it."""

from pathlib import Path

from helpers.classify import TextClassifier

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
