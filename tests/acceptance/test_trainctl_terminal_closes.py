"""Nothing that happens to a terminal reaches a trainer (the reason why this project exists)."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest
from live_daemon import LiveDaemon, Terminal

from tests.polling import poll


def assert_unharmed(daemon: LiveDaemon, before: dict[str, object]) -> None:
    """The trainer has kept its process, its steps go on rising, and its log and its points are unbroken."""
    run = str(before["id"])
    now = daemon.show(run)
    after = daemon.await_step(run, now["step"] + 20)
    assert (after["state"], after["attempt"], after["pids"]) == ("running", 1, before["pids"])
    epochs = [line.split()[1] for line in daemon.trainctl("logs", run).stdout.splitlines() if line.startswith("epoch ")]
    assert epochs == [f"{number}/1000000" for number in range(1, len(epochs) + 1)]
    steps = [point["step"] for point in daemon.metrics(run) if point["split"] == "val"]
    assert steps == list(range(6, steps[-1] + 1, 6))


@pytest.mark.dies("the terminal")
@pytest.mark.parametrize("verb", ["submit", "follow"])
def test_ctrl_c_detaches_and_says_how_to_stop_the_run(daemon: LiveDaemon, endless: Path, verb: str) -> None:
    terminal, before = watch(daemon, endless, verb)

    terminal.press_ctrl_c()

    assert terminal.read_to_the_end() == 130
    assert f"run {before['id']} goes on; stop it with: trainctl stop {before['id']}" in terminal.shown
    assert "Traceback" not in terminal.shown
    assert_unharmed(daemon, before)


@pytest.mark.dies("the terminal")
@pytest.mark.parametrize("verb", ["submit", "follow"])
def test_closing_the_terminal_ends_the_watching_only(daemon: LiveDaemon, endless: Path, verb: str) -> None:
    terminal, before = watch(daemon, endless, verb)

    assert terminal.close() == -signal.SIGHUP

    assert_unharmed(daemon, before)


def watch(daemon: LiveDaemon, configuration: Path, verb: str) -> tuple[Terminal, dict[str, object]]:
    """A terminal on which the live view of a run that trains is being shown, and the run."""
    if verb == "submit":
        terminal = Terminal(daemon, "submit", configuration, "--follow")
        terminal.read_until("is ")
        run = "latest"
    else:
        run = daemon.submit(configuration)
        daemon.await_step(run, 1)
        terminal = Terminal(daemon, "follow", run)
    terminal.read_until("steps/s")
    return terminal, daemon.await_step(run, 10)


@pytest.mark.dies("the control plane")
def test_watching_goes_on_when_the_control_plane_is_killed(daemon: LiveDaemon, endless: Path, tmp_path: Path) -> None:
    """Every epoch is shown once: none is lost and none is repeated. The run does not notice."""
    run = daemon.submit(endless)
    before = daemon.await_step(run, 10)
    shown = tmp_path / "shown"
    with open(shown, "wb") as output:
        watching = subprocess.Popen(["trainctl", "follow", run], env=daemon.environment, stdout=output)
    poll(lambda: "epoch 1/" in shown.read_text(), "the first epoch is shown")
    killed = daemon.process("trainerd control")
    assert killed is not None

    killed.kill()
    shown_until_then = len(shown.read_text())
    poll(lambda: len(shown.read_text()) > shown_until_then + 1000, "watching goes on")

    assert_unharmed(daemon, before)
    assert daemon.trainctl("stop", run).returncode == 0
    assert watching.wait(timeout=30) == 75
    epochs = [line.split()[1] for line in shown.read_text().splitlines() if line.startswith("epoch ")]
    assert epochs == [f"{number}/1000000" for number in range(1, len(epochs) + 1)]
