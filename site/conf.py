"""The published pages: `make site` shows the notebooks as they are saved, and executes none.

The pages need nothing from the network: scripts, fonts and the search are part of the theme.
"""

import re
import sys
from html import escape, unescape
from pathlib import Path
from textwrap import shorten

from docutils import nodes
from sphinx.util.osutil import relative_uri

COURSE = Path(__file__).parent.parent
sys.path.insert(0, str(COURSE))
REPOSITORY = (COURSE / "notebooks" / "repository.txt").read_text(encoding="utf-8").strip()
GITHUB = f"https://github.com/{REPOSITORY}"
HEART = "notebooks/06_5_classification_head"  # the page that the landing page leads to
COLAB = f"https://colab.research.google.com/github/{REPOSITORY}/blob/main/{HEART}.ipynb"
DESCRIPTION = (
    "A free course for chapter 6 of Build a Large Language Model (From Scratch): fine-tune GPT-2 "
    "to tell spam from ham, and see what each choice trains, costs and achieves."
)

project = "GPT-2 as a spam classifier"
language = "en"
extensions = ["myst_nb"]
html_theme = "sphinx_book_theme"
html_title = project
html_favicon = "static/favicon.svg"
templates_path = ["templates"]
html_static_path = ["site.css", "static"]
html_css_files = ["site.css"]
html_additional_pages = {"index": "landing.html", "try": "try.html"}
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_use_index = False
html_context = {"default_mode": "auto", "github": GITHUB, "colab": COLAB}  # auto: light or dark
html_theme_options = {
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "pygments_dark_style": "github-dark",  # in the theme's own one comments are the brightest
    "repository_url": GITHUB,
    "use_repository_button": True,
    "footer_content_items": ["course-footer.html"],
}

# the course's folder is the source, so that a link leads to the same page as on GitHub
root_doc = "README"
include_patterns = [
    "*.md",
    "site/pages/*.md",
    "notebooks/*.ipynb",
    "helpers/**/*.md",
    "workshop/**/*.md",
    "tests/*.md",
]
exclude_patterns = ["**/.*"]
suppress_warnings = ["toc.not_included"]  # pages for contributors are linked, not in the contents
CONTENTS = """

```{toctree}
:hidden:
:caption: Start
site/pages/install
```

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
:caption: More
site/pages/widgets
site/pages/own_texts
site/pages/data_and_model
site/pages/speed
site/pages/questions
```
"""

myst_heading_anchors = 3
nb_execution_mode = "off"
nb_ipywidgets_js = {}  # a widget shows its static form
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"

BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
OURS = 'class="fx-drawing"'  # of a drawing that workshop/pictures made
LABEL = re.compile(r'^<svg\b[^>]*\baria-label="([^"]*)"')
# what a cell prints where a learner has not done anything yet: on a page nothing can be done
NOTHING_DONE = re.compile(
    r"""Not\ (written\ |answered\ )?yet | exercises:\s+0\ of | \[a\ progress\ bar:""",
    re.VERBOSE,
)
# and what a widget says there
NO_RUN = re.compile(
    r"<p>No run yet\.</p>|\n?accuracy against trainable parameters: no run yet"
    r'|<p class="course-not-live">.*?</p>'
)
# the classes of a drawing's lines and texts that lie on its paper, and their colours in the dark
ON_PAPER = re.compile(r'<\w+ [^>]*class="(?:ink|way)"[^>]*>')
LIGHT, DARK = ("#333333", "#a3326e"), ("#d6d6d6", "#f0a0c8")


def add_contents(app, docname, source):
    """Put the order of the pages at the end of the root document."""
    if docname == root_doc:
        source[0] += CONTENTS


def use_own_badge(app, doctree):
    """Show Colab's button as a picture of ours, so that a page asks nothing of the network."""
    for image in doctree.findall(nodes.image):
        if image["uri"] == BADGE:
            image["uri"] = "/site/static/colab.svg"
            image["classes"].append("colab")


def drawing_of(app, image):
    """Return the text of the SVG file of an image, or "" for another kind of image."""
    path = app.srcdir / image["uri"]
    return path.read_text("utf-8") if path.suffix == ".svg" else ""


def hide_what_was_not_done(app, doctree, docname):
    """Remove the outputs that only say that a learner has not started."""
    for output in list(doctree.findall(nodes.container)):
        if "cell_output" not in output["classes"]:
            continue
        for part in list(output.children):
            said = part.astext()
            if isinstance(part, nodes.image):
                label = LABEL.match(drawing_of(app, part))
                said = label[1] if label else ""
            if NOTHING_DONE.match(said):
                output.remove(part)
        if not output.children:
            output.parent.remove(output)
    for raw in doctree.findall(nodes.raw):
        if NO_RUN.search(raw.astext()):
            raw.children = [nodes.Text(NO_RUN.sub("", raw.astext()))]


def describe_pictures(app, doctree, docname):
    """Give the picture of a cell its alternative text, a link to its file, and its dark form.

    myst-nb leaves the text out, and on a phone the picture is too small to be read. A drawing of
    the course gets a second picture, for dark pages, which `draw_in_the_dark` writes.
    """
    page = app.builder.get_target_uri(docname)
    for image in list(doctree.findall(nodes.image)):
        drawing = drawing_of(app, image)
        ours = OURS in drawing
        if "alt" in image and not ours:
            continue
        label = LABEL.match(drawing)
        words = unescape(label[1]) if label else "a chart that the cell above draws"
        image["alt"] = NO_RUN.sub("", image.get("alt", words))
        file = f"{app.builder.imagedir}/{app.env.images[image['uri']][1]}"
        address = relative_uri(page, file)
        link = nodes.reference("", "", image.deepcopy(), refuri=address, internal=True)
        forms = [link]
        if ours:
            link["classes"].append("only-light")
            dark = address.removesuffix(".svg") + ".dark.svg"
            picture = f'<img src="{dark}" alt="{escape(image["alt"])}">'
            linked = f'<a class="only-dark" href="{dark}">{picture}</a>'
            forms.append(nodes.raw("", linked, format="html"))
        image.replace_self(forms)


def draw_in_the_dark(app, error):
    """Write each drawing of the course once more, in light ink and without its white paper."""
    for path in Path(app.outdir, "_images").glob("*.svg"):
        drawing = path.read_text(encoding="utf-8")
        if OURS not in drawing or path.name.endswith(".dark.svg"):
            continue
        for shape in set(ON_PAPER.findall(drawing)):
            in_the_dark = shape
            for light, dark in zip(LIGHT, DARK, strict=True):
                in_the_dark = in_the_dark.replace(light, dark)
            drawing = drawing.replace(shape, in_the_dark)
        drawing = re.sub(r'(class="paper"[^>]*) fill="white"', r'\1 fill="none"', drawing)
        path.with_suffix(".dark.svg").write_text(drawing, encoding="utf-8")


def complete_page(app, pagename, templatename, context, doctree):
    """Fill in what the theme leaves out: a description, the landing page, and its neighbour."""
    paragraphs = [node.astext() for node in doctree.findall(nodes.paragraph)] if doctree else []
    text = next((text for text in paragraphs if len(text) > 40), DESCRIPTION).replace("\n", " ")
    sentences = re.match(r".{,240}\.(?= |$)", text)
    description = sentences[0] if sentences else shorten(text, 240, placeholder=" …")
    metatags = context.get("metatags", "")
    context["metatags"] = f'{metatags}\n<meta name="description" content="{escape(description)}">'
    if pagename == "index":
        from workshop.explorer import explorer_page

        context["explorer"] = explorer_page()
        context["titles"] = {name: app.env.titles[name].astext() for name in sorted(app.env.titles)}
    if pagename == "try":
        from workshop import explorer, live

        context["explorer"] = explorer.nano_explorer()
        context["page"] = live.module_text("try.mjs")
        context["worker"] = live.module_address("worker.mjs")
    previous = context.get("prev")
    if previous and previous["link"].endswith(f"{root_doc}.html"):
        context["prev"] = {"link": context["pathto"]("index"), "title": project}
    # the fold of a cell has no other name than the words that are seen on it
    if "body" in context:
        context["body"] = context["body"].replace(' aria-label="Toggle hidden content"', "")


def write_model(app, error):
    """Write what the page "try" loads: the bundled model with its tokenizer, and the messages."""
    from workshop.live import model_script

    Path(app.outdir, "_static", "model.js").write_text(model_script(), encoding="utf-8")


def setup(app):
    app.connect("source-read", add_contents)
    app.connect("doctree-read", use_own_badge, priority=100)  # before the pictures are collected
    app.connect("doctree-resolved", hide_what_was_not_done, priority=400)
    app.connect("doctree-resolved", describe_pictures)
    app.connect("html-page-context", complete_page)
    app.connect("build-finished", draw_in_the_dark)
    app.connect("build-finished", write_model)
