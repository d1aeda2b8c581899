"""The course as pages: `make site` shows the notebooks as they are saved, and executes none.

The pages need nothing from the net: scripts, fonts and the search come with the theme.
"""

import re
import shutil
from html import unescape

from docutils import nodes
from sphinx.util.osutil import relative_uri

project = "GPT-2 as a spam classifier"
extensions = ["myst_nb"]
html_theme = "sphinx_book_theme"
html_title = project
templates_path = ["templates"]
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_use_index = False
html_context = {"default_mode": "auto"}  # light or dark, as the reader has it
html_theme_options = {
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "footer_content_items": [],
}

# the course's folder is the source, so that a link leads where it leads on GitHub
root_doc = "README"
include_patterns = [
    "*.md",
    "notebooks/*.ipynb",
    "helpers/**/*.md",
    "workshop/**/*.md",
    "tests/*.md",
]
exclude_patterns = ["**/.*", "site"]
CONTENTS = """

```{toctree}
:hidden:
:glob:
:caption: The chapter
notebooks/06_[1-9]*
```

```{toctree}
:hidden:
:glob:
:caption: Appendices
notebooks/06_[A-Z]*
```

```{toctree}
:hidden:
:glob:
:caption: Behind the course
CONTRIBUTING
tests/*
helpers/**
workshop/**
```
"""

myst_enable_extensions = ["html_image"]  # a picture as the README has it
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_ipywidgets_js = {}  # what is live in a notebook shows its static form

BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
LABEL = re.compile(r'^<svg\b[^>]*\baria-label="([^"]*)"')


def add_contents(app, docname, source):
    """Put the order of the pages at the end of the first one."""
    if docname == root_doc:
        source[0] += CONTENTS


def draw_badge(app, doctree):
    """Let Colab's button be a link that the pages draw themselves, not a picture from the net."""
    for image in doctree.findall(nodes.image):
        if image["uri"] == BADGE:
            image.parent["classes"].append("colab")
            image.replace_self(nodes.Text(image["alt"]))


def say_pictures(app, doctree, docname):
    """Give a cell's picture the words that its file says of it, which a page would leave out, and a
    link to that file: on a phone a picture is too small to be read in its place.
    """
    page = app.builder.get_target_uri(docname)
    for image in [found for found in doctree.findall(nodes.image) if "alt" not in found]:
        label = LABEL.match((app.srcdir / image["uri"]).read_text("utf-8", errors="ignore"))
        image["alt"] = unescape(label[1]) if label else "a chart that the cell above draws"
        file = f"{app.builder.imagedir}/{app.env.images[image['uri']][1]}"
        link = nodes.reference(
            "", "", image.deepcopy(), refuri=relative_uri(page, file), internal=True
        )
        image.replace_self(link)


def call_folds_by_what_is_read(app, pagename, templatename, context, doctree):
    """Take a name from the fold of a cell that is other than the words that stand on it."""
    if "body" in context:
        context["body"] = context["body"].replace(' aria-label="Toggle hidden content"', "")


def begin_at_index(app, error):
    if not error:
        shutil.copy(app.outdir / f"{root_doc}.html", app.outdir / "index.html")


def setup(app):
    app.connect("source-read", add_contents)
    app.connect("doctree-read", draw_badge, priority=100)  # before the pictures are collected
    app.connect("doctree-resolved", say_pictures)
    app.connect("html-page-context", call_folds_by_what_is_read)
    app.connect("build-finished", begin_at_index)
