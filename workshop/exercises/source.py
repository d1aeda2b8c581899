"""The course's own code on the page, folded: read from the files, so it is always the real one."""

import inspect
from html import escape


class Source:
    """The source of functions or classes, folded away until someone unfolds it."""

    def __init__(self, *things):
        self.text = "\n\n".join(inspect.getsource(thing).rstrip() for thing in things)
        self.names = [thing.__qualname__ for thing in things]

    def __repr__(self) -> str:
        return f"[folded: the course's {', '.join(self.names)}]"

    def _repr_html_(self) -> str:
        names = ", ".join(f"<code>{escape(name)}</code>" for name in self.names)
        return (
            f"<details><summary>The course's {names}</summary>"
            f"<pre><code>{escape(self.text)}</code></pre></details>"
        )


def show_source(*things) -> Source:
    """Return the source of functions or classes, to be shown folded.

    Raises TypeError for what has none, such as a number, OSError where it can't be found.
    """
    return Source(*things)
