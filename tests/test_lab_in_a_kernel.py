"""While the Lab trains, a real kernel, ours or Colab's, hears code and a press on Stop."""

import ast
import os

import pytest
from jupyter_client.manager import run_kernel

from tests.conftest import ROOT

OVERLAYS = ROOT / ".overlays"
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


def run(client, code: str):
    """Run code; return what its last line, an expression, gives."""
    *lines, last = code.strip().splitlines()
    settings = {"user_expressions": {"answer": "answer"}, "reply": True, "timeout": SECONDS}
    reply = client.execute("\n".join([*lines, f"answer = {last}"]), **settings)["content"]
    assert reply["status"] == "ok", "\n".join(reply.get("traceback", []))
    return ast.literal_eval(reply["user_expressions"]["answer"]["data"]["text/plain"])


def click(client, button: str) -> None:
    """Press a button, as a page does; nothing is waited for."""
    data = {"method": "custom", "content": {"event": "click"}, "buffers": []}
    content = {"comm_id": run(client, f"{button}.model_id"), "data": data}
    client.shell_channel.send(client.session.msg("comm_msg", content))


def wait(client, condition: str) -> None:
    """Ask again and again, while the lab trains, until a condition holds."""
    for _ in range(SECONDS * 50):
        if run(client, f"import time; time.sleep(0.02)\nbool({condition})"):
            return
    raise AssertionError(f"never: {condition}")


@pytest.mark.parametrize(
    ("overlays", "versions"),  # what lies before the installed packages, and what is then found
    [
        ((), ()),
        pytest.param(("ipykernel6",), ("6.17.1",), marks=pytest.mark.proof),
        pytest.param(("ipykernel6", "colab"), ("6.17.1", "7.7.1"), marks=pytest.mark.proof),
    ],
)
def test_a_press_on_stop_is_heard_while_it_trains_and_leaves_a_whole_epoch(overlays, versions):
    if missing := [name for name in overlays if not (OVERLAYS / name).exists()]:
        pytest.skip(f"`make test` first installs .overlays/{missing[0]}")
    path = os.pathsep.join(map(str, (*(OVERLAYS / name for name in overlays), ROOT)))
    settings = {"env": {**os.environ, "PYTHONPATH": path}, "cwd": str(ROOT)}
    settings["extra_arguments"] = ["--IPKernelApp.log_level=40"]
    with run_kernel(kernel_name="python3", startup_timeout=SECONDS, **settings) as client:
        found = run(client, SET_UP + "(ipykernel.__version__, ipywidgets.__version__)")
        assert found[: len(versions)] == versions
        click(client, "train")
        wait(client, "button.histories and button.histories[-1].val_accs")  # while code is run
        click(client, "train")  # does nothing
        click(client, "stop")
        wait(client, "button.training is None")
        assert run(client, "lab.history.interrupted")
        assert run(client, "len(lab.history.step_losses) == 6 * len(lab.history.val_accs)")
        assert run(client, "lab.rows") == ()
        assert "Stopped" in run(client, "button.children[2].value")
        run(client, "lab._epochs.value = 1\nlab._seeds.choose('1')")
        click(client, "train")
        wait(client, "lab.rows")
