"""Looks at a widget, or at what it shows of a CSS class, and presses its buttons: no browser."""

import asyncio
from xml.etree import ElementTree

import pytest

MARKS = [  # of each file with tests of widgets
    pytest.mark.usefixtures("no_callback_fails"),
    pytest.mark.filterwarnings("ignore:The `ipykernel.comm.Comm` class:DeprecationWarning"),
]
VIEW = "application/vnd.jupyter.widget-view+json"


def each(widget, css: str) -> list:
    """All shown widgets of a CSS class, in their order."""
    below = [found for child in getattr(widget, "children", ()) for found in each(child, css)]
    return [widget, *below] if css in widget._dom_classes else below


def one(widget, css: str):
    (widget,) = each(widget, css)
    return widget


def click(widget, words: str):
    """Click the one button whose description ends in `words`; return it."""
    buttons = each(widget, "fx-open") + each(widget, "fx-more")
    (button,) = [button for button in buttons if button.description.endswith(words)]
    button.click()
    return button


def choose(widget, css: str, name: str) -> None:
    buttons = each(one(widget, css), "fx-choice")
    (button,) = [button for button in buttons if button.description in (name, f"✓ {name}")]
    button.value = not button.value


def text_of(widget, css: str) -> str:
    """What can be read of HTML."""
    return "".join(ElementTree.fromstring(f"<p>{one(widget, css).value}</p>").itertext())


def rows(widget, css: str) -> list[list[str]]:
    """The cells of a table below its header."""
    table = ElementTree.fromstring(one(widget, css).value)
    return [["".join(cell.itertext()) for cell in row] for row in table.iterfind("tbody/tr")]


def static_form(widget, monkeypatch) -> dict:
    """What a page is sent where nothing is live; the widget's own view goes along."""
    sent = []
    monkeypatch.setattr("workshop.widgets.parts.display", lambda data, raw: sent.append(data))
    widget._ipython_display_()
    (data,) = sent
    view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    assert data.pop(VIEW) == view
    return data


def train_on_a_loop(widget, meanwhile) -> None:
    """Press Train where a loop runs, as in a kernel; do something between two slices; await it."""

    async def main():
        click(widget, "Train")
        assert widget._button.training is not None  # it has only begun
        await meanwhile()
        await widget._button.task

    asyncio.run(main())
