"""Execute, save and stamp the notebooks: `make run`, `make notebooks`, `make colab`.

Each notebook has a pair in `scripts/` (jupytext's py:percent format), which holds its cells and no
outputs. An error that a person can mend is a sentence, not a traceback. A file is never half
written.
"""

import argparse
import asyncio
import copy
import os
import re
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from tqdm import tqdm

# run as a script, Python searches this folder for imports, and not the course's
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from helpers.config import LEARNERS_FOLDER
from helpers.download import whole_file

FOLDER = Path(__file__).resolve().parent
NOTEBOOK_METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
SETUP = """\
import subprocess
import sys
from pathlib import Path

starts = [Path.cwd()]
if "__vsc_ipynb_file__" in globals():  # VS Code says where the notebook is
    starts.insert(0, Path(globals()["__vsc_ipynb_file__"]).parent)
folders = [folder for start in starts for folder in (start, *start.parents)]
folders.append(Path.cwd() / "course")
mark = "workshop/widgets/prediction.py"  # a file that only the course has
course = next((folder for folder in folders if (folder / mark).exists()), None)
if course is None and "google.colab" in sys.modules:
    # in Colab only this notebook is here
    repository = "https://github.com/{repository}.git"
    clone = ["git", "clone", "--quiet", "--depth=1", repository, "course"]
    subprocess.run(clone, check=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "-r", "course/requirements.txt"], check=True)
    course = Path.cwd() / "course"
if course is None:
    raise FileNotFoundError(
        f"The course's files are not in {Path.cwd()} or in a folder above it. "
        "Open this notebook inside the course's folder `notebooks`."
    )
sys.path.insert(0, str(course))"""
CHOICES = '''\
# bundled; or "gpt2-small (124M)" and larger ones, which are downloaded once
CHOOSE_MODEL = "gpt2-nano (12M)"
# bundled; or "sms-spam-collection", which is downloaded once from UCI
CHOOSE_DATA = "sms-mini"'''
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
# what tqdm leaves of a bar: "saving:   0%|   | 0/3 [00:00<?]"
BAR = re.compile(r"^(?P<what>[^:]*):?\s+\d+%\|.*$", re.DOTALL)
# between a text and a cell that defines something; ruff wants two
ONE_LINE_ABOVE_A_DEFINITION = re.compile(r"(?<!\n)\n\n(?=(?:#.*\n)+(?:def|class|async def|@) ?\w)")
# in JupyterLab, and on the course's pages
FOLDED_AWAY = {"jupyter": {"source_hidden": True}, "tags": ["hide-input"]}
SECONDS_A_CELL = 600
TEMPLATE = "owner/gpt2-classification-course"  # the address before any is stamped


class CannotBuild(Exception):
    """Says in a sentence what stands in the way, and what to do."""


def names() -> list[str]:
    """Return the notebooks' names, in chapter order, without an ending."""
    return sorted(path.stem for path in (FOLDER / "scripts").glob("*.py"))


def setup_cell() -> str:
    """Return the first code cell of every notebook, with the repository's present address."""
    stamped = (FOLDER / "repository.txt").read_text(encoding="utf-8").strip()
    return SETUP.replace("{repository}", stamped)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """Return the cells that hold code."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


# --- pairs ----------------------------------------------------------------------------------------


def to_script(notebook: nbformat.NotebookNode) -> str:
    """Return a notebook's cells in the py:percent format."""
    import jupytext  # `make run` does without it

    bare = copy.deepcopy(notebook)
    bare.metadata = nbformat.from_dict({"kernelspec": NOTEBOOK_METADATA["kernelspec"]})
    for cell in bare.cells:
        cell.metadata = _tags_of(cell)
    text = jupytext.writes(bare, fmt="py:percent")
    text = re.sub(r"^#\s+jupytext_version: .*\n", "", text, flags=re.MULTILINE)
    return ONE_LINE_ABOVE_A_DEFINITION.sub("\n\n\n", text)


def script_of(name: str, folder: Path = FOLDER) -> str:
    """Return a script's text; raise CannotBuild where it is not UTF-8."""
    path = folder / "scripts" / f"{name}.py"
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CannotBuild(f"{path} is not UTF-8 ({error}); save it as UTF-8") from error


def read(name: str, folder: Path = FOLDER) -> nbformat.NotebookNode:
    """Return the notebook; raise CannotBuild where there is none, or no whole one."""
    path = folder / f"{name}.ipynb"
    try:
        return nbformat.read(path, 4)
    except FileNotFoundError as error:
        raise CannotBuild(f"there is no {path}; make it from its script: FROM=py") from error
    except (ValueError, KeyError, AttributeError, nbformat.ValidationError) as error:
        reason = str(error).strip().split("\n")[0][:100]
        raise CannotBuild(
            f"{path} is no whole notebook ({reason}); make it anew from its script with FROM=py, "
            f"or take it back from git: git checkout -- {path.name}"
        ) from error


def in_step(name: str, folder: Path = FOLDER) -> bool:
    """Say whether a notebook and its script hold the same cells."""
    path = folder / f"{name}.ipynb"
    return path.exists() and to_script(read(name, folder)) == script_of(name, folder)


# --- execute and save -----------------------------------------------------------------------------


def execute(name: str, notebook: nbformat.NotebookNode, bar: tqdm) -> float:
    """Run all cells in place, as a learner would from the notebook's own folder.

    Returns the seconds that it took. Raises CannotBuild, with the notebook and the cell, where one
    raises or does not end.
    """
    client = NotebookClient(
        notebook,
        timeout=SECONDS_A_CELL,
        kernel_name="python3",
        extra_arguments=["--IPKernelApp.log_level=40"],  # no advice about how the kernel is reached
        resources={"metadata": {"path": str(FOLDER)}},
        coalesce_streams=True,  # one piece of text for what is printed, however it arrived
        on_notebook_start=lambda **_: _leave_sigint_to_python(),
        on_cell_start=lambda cell_index, **_: begun.append(cell_index + 1),
        on_cell_complete=lambda **_: bar.update(),
    )
    begun = [1]
    start = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory() as empty:  # without what a learner has kept
            client.execute(env={**os.environ, LEARNERS_FOLDER: empty})
    except CellExecutionError as error:
        raise CannotBuild(
            f"{name}, cell {begun[-1]} raised {error.ename}: {error.evalue}\n{error}"
        ) from error
    except CellTimeoutError as error:
        too_long = f"took more than {SECONDS_A_CELL} seconds"
        raise CannotBuild(f"{name}, cell {begun[-1]} {too_long}; shorten it") from error
    except DeadKernelError as error:
        raise CannotBuild(
            f"{name}, cell {begun[-1]}: the kernel died; was the memory full, or was it stopped?"
        ) from error
    except KeyboardInterrupt:
        client.shutdown_kernel = "immediate"  # it is still at work
        raise
    return time.perf_counter() - start


def _leave_sigint_to_python() -> None:
    """Take away nbclient's handler, so that an interruption is a KeyboardInterrupt here."""
    with suppress(NotImplementedError):  # Windows: there is none
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)


def tidy(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Strip what changes from run to run or needs a live kernel, and fold cells away.

    These are the setup, and cells with the tag `hide-input`, whose code would give an answer away.

    Raises ValueError for anything written to stderr.
    """
    notebook.metadata = nbformat.from_dict(NOTEBOOK_METADATA)
    setup = next(iter(code_cells(notebook)), None)
    for number, cell in enumerate(notebook.cells, start=1):
        cell.id = f"cell-{number:02d}"
        cell.metadata = _tags_of(cell)
        if cell is setup:
            cell.metadata = nbformat.from_dict(FOLDED_AWAY)
        elif "hide-input" in cell.metadata.get("tags", []):
            cell.metadata = nbformat.from_dict(FOLDED_AWAY | cell.metadata)
        if cell.cell_type == "code":
            cell.outputs = [still for output in cell.outputs for still in _without_widget(output)]
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                raise ValueError(f"cell {number} wrote to stderr:\n{output['text']}")
            data = output.get("data", {})
            if bar := BAR.match(data.get("text/plain", "")):
                data["text/plain"] = f"[a progress bar: {bar['what'].strip()}]"
    return notebook


def _tags_of(cell: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return a cell's metadata with its tags alone."""
    tags = cell.metadata.get("tags")
    return nbformat.from_dict({"tags": tags} if tags else {})


def _without_widget(output: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """Return what a widget sent along for pages where nothing is live: its picture, if it has one,
    and its table, one below the other.

    In one output they would be two forms of one thing, of which a page shows one.
    """
    data = output.get("data", {})
    if data.pop(WIDGET_VIEW, None) is None or not {"text/html", "image/svg+xml"} <= set(data):
        return [output]
    table = nbformat.v4.new_output("display_data", {"text/html": data.pop("text/html")})
    return [output, table]


def chosen(asked: list[str]) -> list[str]:
    """Return the notebooks' names: those asked for, by name or by path, or all.

    Raises CannotBuild for one that is not there.
    """
    known = names()
    found = [re.sub(r"\.(ipynb|py)$", "", Path(name).name) for name in asked]
    if unknown := [name for name, plain in zip(asked, found, strict=True) if plain not in known]:
        raise CannotBuild(
            f"no notebook is called {', '.join(map(repr, unknown))}; there are {', '.join(known)}"
        )
    return list(dict.fromkeys(found)) or known


def source_of(name: str, prefer: str | None) -> nbformat.NotebookNode:
    """Return the cells to execute; raise CannotBuild where a pair differs and none was preferred.

    `prefer` is "py", "ipynb" or None.
    """
    if prefer == "ipynb":
        return read(name)
    if prefer is None and (FOLDER / f"{name}.ipynb").exists() and not in_step(name):
        raise CannotBuild(
            f"{name}: the notebook and its script differ; "
            "say which one holds: FROM=py or FROM=ipynb"
        )
    import jupytext

    return jupytext.reads(script_of(name), fmt="py:percent")


def save(asked: list[str], prefer: str | None) -> None:
    """Execute the notebooks and write each, tidied, with its script, as soon as it has run.

    Raises CannotBuild for what stands in the way, where it can before anything is executed.
    """
    sources = {name: source_of(name, prefer) for name in chosen(asked)}
    for folder in (FOLDER, FOLDER / "scripts"):
        if not os.access(folder, os.W_OK):
            raise CannotBuild(f"{folder} can't be written to; allow it, or work on a copy")
    with _bar_of(sources) as bar:
        for name, notebook in sources.items():
            bar.set_description(name)
            code = code_cells(notebook)
            for cell in code:
                cell.outputs, cell.execution_count = [], None
            if "hide-input" in code[0].metadata.get("tags", []):
                code[0].source = setup_cell()
            execute(name, notebook, bar)
            try:
                tidy(notebook)
            except ValueError as error:
                raise CannotBuild(f"{name}, {error}") from error
            script = FOLDER / "scripts" / f"{name}.py"
            # an error leaves both files of the pair as they were
            with whole_file(FOLDER / f"{name}.ipynb") as whole, whole_file(script) as whole_script:
                _write(whole, nbformat.writes(notebook) + "\n")
                _write(whole_script, to_script(notebook))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _bar_of(notebooks: dict[str, nbformat.NotebookNode]) -> tqdm:
    num_cells = sum(len(code_cells(notebook)) for notebook in notebooks.values())
    return tqdm(total=num_cells, unit="cell", disable=None)


def run(asked: list[str]) -> None:
    """Execute notebooks in order with the bundled model and data; print a row as each one ends.

    A row has the notebook's name, its seconds and its key figure. Nothing is saved. Raises
    CannotBuild where a notebook stops.
    """
    notebooks = {name: read(name) for name in chosen(asked)}
    for name, notebook in notebooks.items():
        code = code_cells(notebook)
        if len(code) < 2 or not any("key-figure" in cell.metadata.get("tags", []) for cell in code):
            raise CannotBuild(
                f"{name} needs a second code cell, for the two choices, and one tagged key-figure"
            )
        code[1].source = CHOICES
    width = max(map(len, notebooks))
    in_all = 0.0
    print(f"{'notebook':<{width}}  seconds  key figure", flush=True)
    with _bar_of(notebooks) as bar:
        for name, notebook in notebooks.items():
            bar.set_description(name)
            seconds = execute(name, notebook, bar)
            in_all += seconds
            bar.write(f"{name:<{width}}  {seconds:>7.1f}  {key_figure(notebook)}")
            sys.stdout.flush()
    print(f"{'in all':<{width}}  {in_all:>7.1f}")


def key_figure(notebook: nbformat.NotebookNode) -> str:
    """Return the last line printed by the cell tagged `key-figure`."""
    for cell in notebook.cells:
        if "key-figure" in cell.metadata.get("tags", []):
            printed = "".join(output.get("text", "") for output in cell.outputs)
            return printed.strip().rpartition("\n")[2]
    raise ValueError("no cell is tagged key-figure")


# --- Colab ----------------------------------------------------------------------------------------


def stamp(repository: str, root: Path = FOLDER.parent) -> list[Path]:
    """Put `owner/name` in the place of the repository's present address, everywhere.

    Pages that still carry the template's address, because they are new, get it too. Returns the
    changed files. Raises CannotBuild for what is no `owner/name`.
    """
    form = r"[A-Za-z0-9-]+/[A-Za-z0-9._-]*[A-Za-z0-9_-]"
    if not re.fullmatch(form, repository) or repository.endswith(".git"):
        raise CannotBuild(f"{repository!r} is not owner/name")
    place = root / "notebooks" / "repository.txt"
    stamped = place.read_text(encoding="utf-8").strip()
    old = "|".join(map(re.escape, {stamped, TEMPLATE}))
    address = re.compile(rf"(github\.com[/:]|/github/|githubusercontent\.com/)(?:{old})(?![\w-])")
    pages = [
        *root.glob("*.md"),
        *root.glob("notebooks/*.ipynb"),
        *root.glob("notebooks/scripts/*.py"),
    ]
    changed = []
    for path in [*pages, place]:  # the place last: if this is cut off, the next one goes on
        text = path.read_text(encoding="utf-8")
        new = f"{repository}\n" if path == place else address.sub(rf"\g<1>{repository}", text)
        if new != text:
            with whole_file(path) as whole:
                _write(whole, new)
            changed.append(path)
    return changed


def main() -> None:
    """Do what the command line asks; end in a sentence where that can't be done."""
    parser = argparse.ArgumentParser(description="execute, save or stamp the notebooks")
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run", help="execute in order, save nothing, print a table")
    saving = commands.add_parser("save", help="execute and save")
    for command in (running, saving):
        command.add_argument("names", nargs="*", help="only these (default: all)")
    saving.add_argument(
        "--from", dest="prefer", choices=("py", "ipynb"), help="which of a differing pair holds"
    )
    commands.add_parser("colab", help="stamp the repository's address").add_argument(
        "repository", metavar="owner/name"
    )
    arguments = parser.parse_args()
    try:
        if arguments.command == "run":
            run(arguments.names)
        elif arguments.command == "save":
            save(arguments.names, arguments.prefer)
        else:
            changed = stamp(arguments.repository)
            print(f"{len(changed)} files now name {arguments.repository}")
    except CannotBuild as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"{error}; what was saved before is whole")
    except KeyboardInterrupt:
        sys.exit("interrupted: what was saved before is whole, the rest is as it was")


if __name__ == "__main__":
    main()
