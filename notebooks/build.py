"""Execute, save and stamp the notebooks: `make run`, `make notebooks`, `make colab`.

Each notebook has a pair in `scripts/` (jupytext's py:percent format), which holds its cells and no
outputs.
"""

import argparse
import re
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from tqdm import tqdm

FOLDER = Path(__file__).parent
NOTEBOOK_METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
CHOICES = """\
CHOOSE_MODEL = "gpt2-nano (12M)"  # bundled; or "gpt2-small (124M)" and up: downloaded once
CHOOSE_DATA = "sms-mini"  # bundled; or "sms-spam-collection": downloaded once from UCI"""
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
BAR = re.compile(
    r"^(?P<what>[^:]*):?\s+\d+%\|.*$", re.DOTALL
)  # what tqdm leaves of a bar: "saving:   0%|   | 0/3 [00:00<?]"


def names(folder: Path = FOLDER) -> list[str]:
    """Return the notebooks' names, in chapter order, without an ending."""
    return sorted(path.stem for path in (folder / "scripts").glob("*.py"))


# --- pairs ----------------------------------------------------------------------------------------


def to_script(notebook: nbformat.NotebookNode) -> str:
    """Return a notebook's cells in the py:percent format."""
    bare = nbformat.v4.new_notebook(metadata={"kernelspec": NOTEBOOK_METADATA["kernelspec"]})
    for cell in notebook.cells:
        new = {"code": nbformat.v4.new_code_cell, "markdown": nbformat.v4.new_markdown_cell}[
            cell.cell_type
        ]
        tags = cell.metadata.get("tags")
        bare.cells.append(new(cell.source, metadata={"tags": tags} if tags else {}))
    text = jupytext.writes(bare, fmt="py:percent")
    return re.sub(r"^#\s+jupytext_version: .*\n", "", text, flags=re.MULTILINE)


def script_of(name: str, folder: Path = FOLDER) -> str:
    return (folder / "scripts" / f"{name}.py").read_text(encoding="utf-8")


def in_step(name: str, folder: Path = FOLDER) -> bool:
    """Say whether a notebook and its script hold the same cells."""
    path = folder / f"{name}.ipynb"
    return path.exists() and to_script(nbformat.read(path, 4)) == script_of(name, folder)


# --- execute and save -----------------------------------------------------------------------------


def execute(notebook: nbformat.NotebookNode, bar: tqdm, folder: Path = FOLDER) -> float:
    """Run all cells in place, as a learner would from the notebook's own folder; return the seconds
    it took.
    """
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        extra_arguments=["--IPKernelApp.log_level=40"],  # no advice about how the kernel is reached
        resources={"metadata": {"path": str(folder)}},
        coalesce_streams=True,  # one piece of text for what is printed, however it arrived
        on_cell_complete=lambda **_: bar.update(),
    )
    start = time.perf_counter()
    client.execute()
    return time.perf_counter() - start


def tidy(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Strip what changes from run to run or needs a live kernel; raise ValueError for anything
    written to stderr.
    """
    notebook.metadata = nbformat.from_dict(NOTEBOOK_METADATA)
    for number, cell in enumerate(notebook.cells, start=1):
        cell.id = f"cell-{number:02d}"
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if cell.cell_type == "code":
            cell.outputs = [still for output in cell.outputs for still in _without_widget(output)]
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                raise ValueError(f"cell {number} wrote to stderr:\n{output['text']}")
            data = output.get("data", {})
            if bar := BAR.match(data.get("text/plain", "")):
                data["text/plain"] = f"[a progress bar: {bar['what'].strip()}]"
    return notebook


def _without_widget(output: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """Return what a widget sent along for pages where nothing is live: its picture and its table,
    one below the other.

    In one output they would be two forms of one thing, of which a page shows one.
    """
    data = output.get("data", {})
    if data.pop(WIDGET_VIEW, None) is None or "text/html" not in data:
        return [output]
    table = nbformat.v4.new_output("display_data", {"text/html": data.pop("text/html")})
    return [output, table]


def save(only: list[str], prefer: str | None) -> None:
    """Execute the notebooks and write them, tidied, with their scripts.

    Exits where a notebook and its script differ and `prefer` does not say which one holds.
    """
    chosen = [name.removesuffix(".ipynb") for name in only] or names()
    if unknown := set(chosen) - set(names()):
        sys.exit(
            f"no notebook is called {', '.join(sorted(unknown))}; there are {', '.join(names())}"
        )
    sources = {}
    for name in chosen:
        path = FOLDER / f"{name}.ipynb"
        if path.exists() and not in_step(name) and prefer is None:
            sys.exit(
                f"{name}: the notebook and its script differ; say which one holds: FROM=py or FROM=ipynb"
            )
        use_notebook = path.exists() and prefer == "ipynb"
        sources[name] = (
            nbformat.read(path, 4)
            if use_notebook
            else jupytext.reads(script_of(name), fmt="py:percent")
        )
    with tqdm(
        total=sum(_code_cells(source) for source in sources.values()), unit="cell", disable=None
    ) as bar:
        for name, notebook in sources.items():
            bar.set_description(name)
            for cell in notebook.cells:
                if cell.cell_type == "code":
                    cell.outputs, cell.execution_count = [], None
            execute(notebook, bar)
            _write(FOLDER / f"{name}.ipynb", nbformat.writes(tidy(notebook)) + "\n")
            _write(FOLDER / "scripts" / f"{name}.py", to_script(notebook))


def _write(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _code_cells(notebook: nbformat.NotebookNode) -> int:
    return sum(cell.cell_type == "code" for cell in notebook.cells)


def run() -> None:
    """Execute all notebooks in order, on the bundled pair, without saving them; end with a table of
    key figures.
    """
    notebooks = {name: nbformat.read(FOLDER / f"{name}.ipynb", 4) for name in names()}
    for notebook in notebooks.values():
        [cell for cell in notebook.cells if cell.cell_type == "code"][1].source = CHOICES
    rows = []
    with tqdm(total=sum(map(_code_cells, notebooks.values())), unit="cell", disable=None) as bar:
        for name, notebook in notebooks.items():
            bar.set_description(name)
            try:
                rows.append((name, execute(notebook, bar), key_figure(notebook)))
            except CellExecutionError as error:
                bar.close()
                sys.exit(f"{name} stopped:\n{error}")
    width = max(len(name) for name, _, _ in rows)
    print(f"{'notebook':<{width}}  seconds  key figure")
    for name, seconds, figure in rows:
        print(f"{name:<{width}}  {seconds:>7.1f}  {figure}")
    print(f"{'in all':<{width}}  {sum(seconds for _, seconds, _ in rows):>7.1f}")


def key_figure(notebook: nbformat.NotebookNode) -> str:
    """Return the last line printed by the cell tagged `key-figure`."""
    for cell in notebook.cells:
        if "key-figure" in cell.metadata.get("tags", []):
            return (
                "".join(output.get("text", "") for output in cell.outputs)
                .strip()
                .rpartition("\n")[2]
            )
    raise ValueError("no cell is tagged key-figure")


# --- Colab ----------------------------------------------------------------------------------------


def stamp(repository: str, root: Path = FOLDER.parent) -> list[Path]:
    """Put `owner/name` in the place of the repository's present address, everywhere; return the
    changed files.
    """
    if not re.fullmatch(
        r"[A-Za-z0-9-]+/[A-Za-z0-9._-]*[A-Za-z0-9_-]", repository
    ) or repository.endswith(".git"):
        raise ValueError(f"{repository!r} is not owner/name")
    place = root / "notebooks" / "repository.txt"
    old = place.read_text(encoding="utf-8").strip()
    address = re.compile(
        rf"(github\.com[/:]|/github/|githubusercontent\.com/){re.escape(old)}(?![\w-])"
    )
    changed = []
    for path in [
        root / "README.md",
        *root.glob("notebooks/*.ipynb"),
        *root.glob("notebooks/scripts/*.py"),
        place,
    ]:
        text = path.read_text(encoding="utf-8")
        new = f"{repository}\n" if path == place else address.sub(rf"\g<1>{repository}", text)
        if new != text:
            _write(path, new)
            changed.append(path)
    return changed


def main() -> None:
    parser = argparse.ArgumentParser(description="execute, save or stamp the notebooks")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="execute all in order, save nothing, print a table")
    saving = commands.add_parser("save", help="execute and save")
    saving.add_argument("names", nargs="*", help="only these (default: all)")
    saving.add_argument(
        "--from", dest="prefer", choices=("py", "ipynb"), help="which of a differing pair holds"
    )
    commands.add_parser("colab", help="stamp the repository's address").add_argument(
        "repository", metavar="owner/name"
    )
    arguments = parser.parse_args()
    if arguments.command == "run":
        run()
    elif arguments.command == "save":
        save(arguments.names, arguments.prefer)
    else:
        try:
            changed = stamp(arguments.repository)
        except ValueError as error:
            sys.exit(str(error))
        print(f"{len(changed)} files now name {arguments.repository}")


if __name__ == "__main__":
    main()
