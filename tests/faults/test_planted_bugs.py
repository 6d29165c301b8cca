"""The tests of faults find planted bugs: each protection is taken out of a whole daemon, and its test must fail.

(Four more are planted where they can be planted in a moment: a full disk without ballast, a checkpoint that nobody
verifies, one whose files or directory nobody syncs before a power cut, and each element of the state left out.)
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import test_crashes
import test_hangs
import test_interruptions_leave_nothing
import test_random_trainer_kills
import test_watchdog
from small_runs import write_run

from tests.acceptance.live_daemon import LiveDaemon

pytestmark = pytest.mark.system  # none of them needs root, but all take their time

PLANTED = Path(__file__).with_name("planted")
SETTINGS = f"""\
slots = 3
hang_seconds = {test_hangs.HANG_SECONDS}
watchdog_seconds = {test_watchdog.WATCHDOG_SECONDS}
"""


@contextmanager
def daemon_with(bug: str | None, home: Path) -> Iterator[LiveDaemon]:
    """A daemon whose processes all have this bug. What it leaves alive is ended here."""
    home.mkdir()
    (home / "trainerd.toml").write_text(SETTINGS)
    planted = {"PYTHONPATH": str(PLANTED), "PLANTED_BUG": bug} if bug else {}
    daemon = LiveDaemon(home, planted)
    try:
        yield daemon
    finally:
        for process in psutil.Process(daemon.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                process.resume()
        daemon.trainctl("kill", "--all", "--no-wait")
        daemon.terminate()
        for directory in (home / "runs").iterdir():
            for left_behind in test_interruptions_leave_nothing.processes_in(directory):
                os.kill(left_behind, signal.SIGKILL)


def fail_again_and_again(daemon: LiveDaemon, folder: Path) -> None:
    (folder / "crashing_net.py").write_text(test_crashes.CRASHING)
    run = test_crashes.submit_that_crashes(daemon, write_run(folder, "synthetic", "mlp"), "always", "exception")
    assert daemon.trainctl("wait", run, "--timeout", "6").returncode == 1


def hang(daemon: LiveDaemon, folder: Path) -> None:
    run = daemon.submit(write_run(folder, "synthetic", "cnn"))
    psutil.Process(daemon.await_step(run, 50)["pids"][0]).suspend()
    test_hangs.assert_hung_and_recovered(daemon, run, seen_within_seconds=8.0)


def be_killed(daemon: LiveDaemon, folder: Path) -> None:
    """A model with dropout, whose random numbers must go on where they were."""
    configuration = write_run(folder, "synthetic", "mlp")
    expected = test_random_trainer_kills.submit(daemon, configuration)
    run = test_random_trainer_kills.submit(daemon, configuration)
    os.kill(daemon.await_step(run, 100)["pids"][0], signal.SIGKILL)
    assert daemon.trainctl("wait", expected, run).returncode == 0
    directories = [daemon.directory(one) for one in (run, expected)]
    test_random_trainer_kills.assert_same_end(*directories)


def leave_processes_behind(daemon: LiveDaemon, folder: Path) -> None:
    test_interruptions_leave_nothing.test_when_the_order_returns_no_process_of_the_run_exists(daemon, folder, "pause")


def stop_the_supervisor(daemon: LiveDaemon, _folder: Path) -> None:
    stopped = test_watchdog.await_part(daemon, "supervisor")
    psutil.Process(stopped).suspend()
    test_watchdog.await_another(daemon, "supervisor", stopped, seconds=6.0)


TRIALS: dict[str, Callable[[LiveDaemon, Path], None]] = {
    "retry for ever": fail_again_and_again,
    "call every silence fine": hang,
    "draw other random numbers": be_killed,
    "leave processes alone": leave_processes_behind,
    "watch nobody": stop_the_supervisor,
}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("bug", TRIALS)
def test_a_daemon_without_this_protection_fails_its_test(tmp_path: Path, bug: str) -> None:
    with daemon_with(bug, tmp_path / "home") as daemon, pytest.raises(AssertionError):
        TRIALS[bug](daemon, tmp_path)


@pytest.mark.torture
@pytest.mark.parametrize("bug", TRIALS)
def test_a_daemon_with_it_passes(tmp_path: Path, bug: str) -> None:
    """Else the test above would show nothing."""
    with daemon_with(None, tmp_path / "home") as daemon:
        TRIALS[bug](daemon, tmp_path)
