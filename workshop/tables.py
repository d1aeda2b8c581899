"""Tables and words in HTML, beside a picture of the model: what a widget shows of a report."""

from collections.abc import Iterable, Sequence
from html import escape

from helpers.freezing import GradientReach, ParameterReport, PartCount, Shape
from workshop.pictures.model import MARK, fold


def html_table(header: Sequence[str], rows: Iterable[Sequence[str]], caption: str) -> str:
    """Return a plain HTML table, which also stands where nothing is live.

    The first cell of a row is its heading.
    """
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "".join(f"<tr>{_cells(row)}</tr>" for row in rows)
    return (
        f"<table><caption>{escape(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _cells(row: Sequence[str]) -> str:
    first, *rest = row
    cells = "".join(f"<td>{escape(cell)}</td>" for cell in rest)
    return f'<th scope="row">{escape(first)}</th>{cells}'


def parts_table(
    report: ParameterReport, shapes: tuple[Shape, ...] = (), reach: GradientReach | None = None
) -> str:
    """Return the report as an HTML table from output to input, like the picture.

    Equal blocks share a row.
    """
    rows = [
        (
            row.name,
            f"{row.parameters:,}",
            f"{row.trainable:,}",
            row.state,
            str(row.shape or ""),
            row.role(reach) or "–",
        )
        for row in reversed(fold(report, shapes))
    ]
    percent = f"{report.percent:.2f} % trainable"
    totals = ("total", f"{report.total:,}", f"{report.trainable:,}", percent, "", "")
    header = ("part", "parameters", "trainable", "state", "puts out", "gradient")
    return html_table(header, [*rows, totals], "The parts of the model, output first")


def toggle_text(count: PartCount) -> str:
    """Return the words on a part's button, in columns: mark, name, parameters, state."""
    return f"{MARK[count.state]:<2} {count.part:<18} {count.parameters:>13,}  {count.state}"


def big_number(value: str, what: str) -> str:
    """Return a figure and, smaller, what it counts, as HTML."""
    return f"<b>{escape(value)}</b> {escape(what)}"


def say_problem(error: Exception) -> str:
    """Return as HTML why a message can't be shown."""
    return (
        f'<p role="alert">{escape(str(error))}. '
        "The picture shows the last message that the model could take.</p>"
    )
