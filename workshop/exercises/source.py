"""The course's own code on the page, folded: read from the files, so it is always the real one."""

import inspect
from html import escape


class Source:
    """The source of functions or classes, folded away until someone unfolds it."""

    def __init__(self, *things):
        self.names = [thing.__qualname__ for thing in things]
        self.text = "\n\n".join(inspect.getsource(thing).rstrip() for thing in things)

    def __repr__(self) -> str:
        return f"[folded: the course's {', '.join(self.names)}]"

    def _repr_html_(self) -> str:
        names = "</code>, <code>".join(self.names)
        return (
            f"<details><summary>The course's <code>{names}</code></summary>"
            f"<pre><code>{escape(self.text)}</code></pre></details>"
        )


show_source = Source
