"""The course's own code on the page, folded: read from the files, so it is always the real one."""

import inspect
from html import escape

from IPython.display import HTML


class Source(HTML):
    """The source of functions or classes, folded away until someone unfolds it."""

    def __init__(self, *things):
        self.names = [thing.__qualname__ for thing in things]
        text = "\n\n".join(inspect.getsource(thing).rstrip() for thing in things)
        super().__init__(
            f"<details><summary>The course's <code>{'</code>, <code>'.join(self.names)}</code>"
            f"</summary><pre><code>{escape(text)}</code></pre></details>"
        )

    def __repr__(self) -> str:
        return f"[folded: the course's {', '.join(self.names)}]"


show_source = Source
