"""While the Lab trains, a real kernel, ours or Colab's, hears code and a press on Stop."""

import ast
import os
from contextlib import contextmanager

import pytest
from jupyter_client.manager import start_new_kernel

from tests.conftest import ROOT

OVERLAYS = ROOT / ".overlays"
KERNELS = {  # which overlays lie before what is installed → the versions that then are found
    (): (None, None),
    ("ipykernel6",): ("6.17.1", None),
    ("ipykernel6", "colab"): ("6.17.1", "7.7.1"),
}
SET_UP = """
import ipykernel, ipywidgets
from workshop.widgets import FreezeLab
from tests.labs import tiny_material
lab = FreezeLab(material=tiny_material())
lab._epochs.value = 50
lab._seeds.choose("5")
button = lab._button
train, stop = button.children[0].children
"""
SECONDS = 60  # for an answer; none is measured


class Kernel:
    """A kernel that runs code and takes clicks."""

    def __init__(self, client):
        self.client = client

    def run(self, code: str):
        """Run code; return what its last line, an expression, gives."""
        *lines, last = code.strip().splitlines()
        code, expressions = "\n".join([*lines, f"answer = {last}"]), {"answer": "answer"}
        settings = {"user_expressions": expressions, "reply": True, "timeout": SECONDS}
        reply = self.client.execute(code, **settings)["content"]
        assert reply["status"] == "ok", "\n".join(reply.get("traceback", []))
        return ast.literal_eval(reply["user_expressions"]["answer"]["data"]["text/plain"])

    def click(self, button: str) -> None:
        """Press a button, as a page does; nothing is waited for."""
        data = {"method": "custom", "content": {"event": "click"}, "buffers": []}
        content = {"comm_id": self.run(f"{button}.model_id"), "data": data}
        self.client.shell_channel.send(self.client.session.msg("comm_msg", content))

    def wait(self, condition: str) -> None:
        """Ask again and again, while the lab trains, until a condition holds."""
        for _ in range(SECONDS * 50):
            if self.run(f"import time; time.sleep(0.02)\nbool({condition})"):
                return
        raise AssertionError(f"never: {condition}")


@contextmanager
def kernel(overlays: tuple[str, ...]):
    path = os.pathsep.join(map(str, (*(OVERLAYS / name for name in overlays), ROOT)))
    environment = {**os.environ, "PYTHONPATH": path}
    settings = {"env": environment, "cwd": str(ROOT), "startup_timeout": SECONDS}
    settings["extra_arguments"] = ["--IPKernelApp.log_level=40"]
    manager, client = start_new_kernel(kernel_name="python3", **settings)
    try:
        yield Kernel(client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


@pytest.mark.parametrize(
    "overlays",
    [names if not names else pytest.param(names, marks=pytest.mark.proof) for names in KERNELS],
    ids=lambda names: "+".join(names) or "ours",
)
def test_a_press_on_stop_is_heard_while_it_trains_and_leaves_a_whole_epoch(overlays):
    if missing := [name for name in overlays if not (OVERLAYS / name).exists()]:
        pytest.skip(f"`make test` first installs .overlays/{missing[0]}")
    with kernel(overlays) as shell:
        versions = "(ipykernel.__version__, ipywidgets.__version__)"
        found = shell.run(SET_UP + versions)
        for version, expected in zip(found, KERNELS[overlays], strict=True):
            assert expected in (None, version)
        shell.click("train")
        shell.wait("button.histories and button.histories[-1].val_accs")  # while code is run
        shell.click("train")  # does nothing
        shell.click("stop")
        shell.wait("button.training is None")
        assert shell.run("lab.history.interrupted")
        assert shell.run("len(lab.history.step_losses) == 6 * len(lab.history.val_accs)")
        assert shell.run("lab.rows") == ()
        assert "Stopped" in shell.run("button.children[2].value")
        shell.run("lab._epochs.value = 1\nlab._seeds.choose('1')")
        shell.click("train")
        shell.wait("lab.rows")
