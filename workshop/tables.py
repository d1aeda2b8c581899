"""Tables and sentences in HTML: what a widget or a notebook shows beside a picture."""

from collections.abc import Iterable, Sequence
from html import escape

from helpers.freezing import GradientReach, ParameterReport, Shape
from workshop.pictures.model import fold


def html_table(header: Sequence[str], rows: Iterable[Sequence[str]], caption: str) -> str:
    """Return a plain HTML table, which is also shown where nothing is live.

    The first cell of a row is its heading.
    """
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = ""
    for first, *rest in rows:
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in rest)
        body += f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>'
    return (
        f"<table><caption>{escape(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def parts_table(
    report: ParameterReport, shapes: tuple[Shape, ...], reach: GradientReach | None
) -> str:
    """Return the report as an HTML table from output to input, like the picture.

    Equal blocks share a row.
    """
    rows = []
    for row in reversed(fold(report, shapes, reach)):
        cells = (f"{row.parameters:,}", f"{row.trainable:,}", row.state, str(row.shape or ""))
        rows.append((row.name, *cells, row.role or "–"))
    percent = f"{report.percent_text} trainable"
    rows.append(("total", f"{report.total:,}", f"{report.trainable:,}", percent, "", ""))
    header = ("part", "parameters", "trainable", "state", "output shape", "gradient")
    return html_table(header, rows, "The parts of the model, output first")


def status(text: str) -> str:
    """Return a text as HTML that a screen reader reads when it changes."""
    return f'<p role="status">{escape(text)}</p>'


def alert(text: str) -> str:
    """Return a text as HTML that a screen reader reads at once: what is wrong, and what to do."""
    return f'<p role="alert">{escape(text)}</p>'
