"""Opens a notebook in a real JupyterLab in headless Chromium."""

import importlib.util
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote
from urllib.request import Request, urlopen

import nbformat

from helpers.config import LEARNERS_FOLDER
from notebooks.build import NOTEBOOK_METADATA
from tests.conftest import ROOT

MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
FOUND = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome", MAC)]
CHROMIUM = next((path for path in FOUND if path), None)
PATIENCE = 120  # seconds for what a press brings about, on a busy machine
FOLDERS = ("_CONFIG_DIR", "_DATA_DIR", "_RUNTIME_DIR", "LAB_SETTINGS_DIR", "LAB_WORKSPACES_DIR")
NO_POP_UP = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}
SETTINGS = {  # every cell is in the page, even out of sight, and nothing lies above the notebook
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": NO_POP_UP,
}
AXE = ROOT / ".overlays" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
COLOURS = ["color-contrast", "link-in-text-block"]  # axe's rules to which light or dark matters
VIOLATIONS = """async ({root, ...rules}) => {
    const {violations} = await axe.run(root ?? document, {resultTypes: ['violations'], ...rules});
    return violations.filter(({impact}) => ['serious', 'critical'].includes(impact))
        .flatMap(({id, nodes}) => nodes.map(node => [id, node.html, node.failureSummary]));
}"""
WITHIN = """([script, arg, seconds]) => {
    const late = new Error(`not done after ${seconds} s`);
    const clock = new Promise((_, reject) => setTimeout(() => reject(late), seconds * 1000));
    return Promise.race([eval(script)(arg), clock]);
}"""
READY = """async path => {
    const pause = () => new Promise(resolve => setTimeout(resolve, 20));
    const until = async found => { while (!found()) await pause(); };
    await until(() => window.jupyterapp?.shell.currentWidget?.context?.path === path);
    const {commands, restored, shell} = jupyterapp;
    const {context, revealed, sessionContext} = shell.currentWidget;
    await Promise.all([restored, context.ready, revealed, sessionContext.ready]);
    const {id, kernel} = sessionContext.session;
    await kernel.info;
    await until(() => commands.hasCommand('apputils:change-theme'));
    if (!shell.leftCollapsed) await commands.execute('application:toggle-left-area');
    // what a widget's callback raises is shown in no cell, only in JupyterLab's log
    window.complaints = [];
    kernel.iopubMessage.connect((_, {content, parent_header: {msg_type}}) => {
        if (msg_type === 'comm_msg' && content.traceback)
            complaints.push(["(a widget's callback)", content.traceback.join('\\n')]);
    });
    return id;
}"""
THEME = """async theme => {
    await jupyterapp.commands.execute('apputils:change-theme', {theme});
    const changing = () => document.body.dataset.jpThemeName !== theme
        || document.getElementById('jupyterlab-splash');
    while (changing()) await new Promise(resolve => setTimeout(resolve, 20));
}"""
SETTLED = """async () => {
    const {kernel} = jupyterapp.shell.currentWidget.sessionContext.session;
    for (let i = 0; i < 2; i++) {
        await kernel.requestKernelInfo();
        await new Promise(requestAnimationFrame);
    }
}"""
RUN = "() => jupyterapp.commands.execute('notebook:run-all-cells')"
COMPLAINTS = """() => {
    const stderr = output => output.name === 'stderr' && [output.text].flat().join('');
    const complaint = output => output.traceback?.join('\\n') ?? stderr(output);
    const cells = jupyterapp.shell.currentWidget.model.sharedModel.cells;
    return cells.flatMap(cell => (cell.outputs ?? []).map(complaint).filter(Boolean)
        .map(text => [cell.source, text])).concat(complaints);
}"""


def missing() -> str | None:
    """Why no notebook can be opened in a browser here, and the remedy; None where one can."""
    if importlib.util.find_spec("playwright") is None:
        return "Playwright is not installed: pip install playwright"
    where = "apt install chromium, or Google Chrome from google.com/chrome"
    return None if CHROMIUM else f"no Chromium: {where}"


def link_the_packages(folder: Path) -> Path:
    """Let the notebooks in a folder import what those of the course do; return the folder."""
    for name in ("helpers", "workshop", "tests"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def notebook_of(*sources: str) -> nbformat.NotebookNode:
    """A notebook with these code cells."""
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    return nbformat.v4.new_notebook(cells=cells, metadata=NOTEBOOK_METADATA)


class Address(NamedTuple):
    """Where a JupyterLab answers, and to whom."""

    port: int
    token: str

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/{quote(path)}?token={self.token}"


@contextmanager
def lab(folder: Path) -> Iterator[Address]:
    """A JupyterLab whose root is `folder`; it and its kernels end with the block."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = Address(free.getsockname()[1], secrets.token_hex(16))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        environment = {name: os.environ[name] for name in os.environ if "JUPYTER" not in name}
        environment.pop(LEARNERS_FOLDER, None)
        environment |= {f"JUPYTER{name}": str(Path(home, name)) for name in FOLDERS}
        # relative, as in the Makefile: in a folder such as "course [2026]" no extension is found
        environment["JUPYTER_PATH"] = "share/jupyter"
        settings = Path(environment["JUPYTERLAB_SETTINGS_DIR"], "@jupyterlab")
        for plugin, values in SETTINGS.items():
            file = settings / f"{plugin}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(values), encoding="utf-8")
        command = [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
            *("--expose-app-in-browser", f"--port={address.port}", "--ServerApp.port_retries=0"),
            *(f"--ServerApp.root_dir={folder}", f"--IdentityProvider.token={address.token}"),
        ]
        log = Path(home, "log")
        with log.open("w") as out:
            settings = {"stdout": out, "stderr": out, "start_new_session": True}
            server = subprocess.Popen(command, env=environment, cwd=sys.prefix, **settings)
        try:
            for _ in range(600):
                with suppress(OSError), urlopen(address.url("api/status"), timeout=5):
                    break
                assert server.poll() is None, log.read_text()
                time.sleep(0.1)
            yield address
        finally:
            server.terminate()  # it then ends its kernels, each a process group of its own
            with suppress(subprocess.TimeoutExpired):
                server.wait(15)
            server.kill()  # kernels notice that their parent is gone
            server.wait()


@contextmanager
def browser() -> Iterator:
    """A headless Chromium."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=1000 * PATIENCE)
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield chromium
        chromium.close()


def open_notebook(browser, address: Address, name: str, height: int):
    """The notebook's page in the light theme, its kernel ready and the file browser folded away.

    Closing the page ends the kernel.
    """
    size, clipboard = {"width": 1280, "height": height}, ["clipboard-read", "clipboard-write"]
    page = browser.new_page(viewport=size, has_touch=True, permissions=clipboard)
    page.set_default_timeout(1000 * PATIENCE)
    workspace = secrets.token_hex(4)  # with nothing else open
    page.goto(address.url(f"lab/workspaces/{workspace}/tree/{name}"))
    session = page.evaluate(WITHIN, [READY, name, 60])

    def end_kernel(_) -> None:
        end = Request(address.url(f"api/sessions/{session}"), method="DELETE")
        with suppress(OSError), urlopen(end, timeout=30):
            pass  # where JupyterLab has already ended, so has the kernel

    page.on("close", end_kernel)
    set_theme(page, "light")
    return page


def set_theme(page, theme: str) -> None:
    """Show JupyterLab in its `"light"` or its `"dark"` theme."""
    page.evaluate(WITHIN, [THEME, f"JupyterLab {theme.title()}", 30])


def shows(found) -> None:
    """Wait until something is in sight, and all else that the kernel has sent with it.

    The kernel's answer to a question comes after all that it has sent before.
    """
    found.wait_for()
    found.page.evaluate(WITHIN, [SETTLED, None, PATIENCE])


@contextmanager
def opened(course: Path, name: str, ready: str, height: int = 1000) -> Iterator:
    """A notebook's page in a JupyterLab of its own, all cells run, what `ready` selects in sight.

    At the end no callback has failed.
    """
    with lab(course) as address, browser() as chromium:
        page = open_notebook(chromium, address, name, height=height)
        page.evaluate(WITHIN, [RUN, None, 180])
        check(page)
        page.locator(ready).last.wait_for()
        yield page
        check(page)
        page.close()


def tab_reaches_every_control(root) -> None:
    """From a widget's first control on, Tab goes through all that can be used, and then leaves it."""
    controls = root.locator("select, input, button:not([tabindex='-1']), summary, [role=slider]")
    usable = "all => all.filter(e => !e.disabled && e.checkVisibility()).length"
    expected, reached = controls.evaluate_all(usable), 1
    controls.first.focus()
    while root.evaluate("e => e.contains(document.activeElement)"):
        root.page.evaluate("document.activeElement.dataset.reached = true")
        root.page.keyboard.press("Tab")
        reached += 1
        assert reached <= expected + 1
    assert root.locator("[data-reached]").count() == expected


def assert_readable(root, picture: str) -> None:
    """No text of a widget is faint, if axe is here, and none of it is cut off."""
    if AXE.exists():
        root.page.evaluate(AXE.read_text(encoding="utf-8"))
        rules = {"root": root.element_handle(), "runOnly": COLOURS}
        assert root.page.evaluate(VIOLATIONS, rules) == [], picture
    assert root.evaluate("e => e.scrollWidth - e.clientWidth") <= 0, picture


def check(page) -> None:
    """Raise an AssertionError with what a cell or a widget's callback has complained of."""
    found = page.evaluate(COMPLAINTS)
    words = "\n\n".join(f"{source}\n-> {text}" for source, text in found)
    assert not found, re.sub(r"\x1b\[[\d;]*m", "", words)
