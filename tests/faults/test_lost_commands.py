"""The command log can be damaged or lost at any moment: nobody goes on with it, and everybody says what can be done.

It cannot be made anew: it alone knows what people have asked for. Runs that train are not disturbed.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from losses import LOSSES
from test_random_kills import ENDLESS, SHORT

from tests.acceptance.live_daemon import LiveDaemon
from tests.polling import poll
from trainerd.contracts.run_directory import run_ids

LOG = "commands.sqlite"
A_FEW = ("deleted", "first page overwritten", "tail overwritten")  # each costs a restart
REMEDIES = ("put a sound copy of this file back (with its -wal file)", "Put the right one back (with its -wal file)")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveDaemon]:
    """With three completed runs, one that waits, and one that trains; and with `sound`, a copy of its command log."""
    folder = tmp_path_factory.mktemp("configurations")
    for name, text in (("short", SHORT), ("endless", ENDLESS)):
        (folder / f"{name}.yaml").write_text(text)
    daemon = LiveDaemon(tmp_path_factory.mktemp("home"))
    completed = [daemon.submit(folder / "short.yaml") for _ in range(3)]
    assert daemon.trainctl("wait", *completed).returncode == 0
    daemon.submit(folder / "short.yaml", "--hold")
    daemon.submit(folder / "endless.yaml")
    daemon.terminate()
    shutil.copytree(daemon.home, folder / "sound", ignore=shutil.ignore_patterns("*.sock", "*.corrupt-*"))
    daemon.start()
    yield daemon
    daemon.terminate()


@pytest.fixture
def sound(daemon: LiveDaemon, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home as it was when its daemon was down."""
    return next(tmp_path_factory.getbasetemp().glob("configurations*/sound"))


@pytest.fixture
def home(sound: Path, tmp_path: Path) -> Path:
    return shutil.copytree(sound, tmp_path / "home")


@pytest.mark.dies("the command log: lost, or an older copy")
@pytest.mark.parametrize(("part", "loss"), [("up", "overwritten"), *(("control", loss) for loss in LOSSES)])
def test_a_daemon_does_not_start_on_a_damaged_command_log(daemon: LiveDaemon, home: Path, part: str, loss: str) -> None:
    """It names the file and what can be done, and leaves it as it is. Without its control plane no daemon comes up."""
    LOSSES[loss](home / LOG)
    damaged = (home / LOG).read_bytes() if (home / LOG).exists() else None

    words, environment = ["trainerd", part], {**daemon.environment, "TRAINERD_HOME": str(home)}
    refused = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)

    assert refused.returncode == {"up": 69, "control": 1}[part], refused.stderr
    assert str(home / LOG) in refused.stderr
    assert any(remedy in refused.stderr for remedy in REMEDIES), refused.stderr
    assert damaged is None or (home / LOG).read_bytes() == damaged


@pytest.mark.dies("the command log: lost, or an older copy")
@pytest.mark.parametrize(
    "loss", [loss if loss in A_FEW else pytest.param(loss, marks=pytest.mark.torture) for loss in LOSSES]
)
def test_a_daemon_that_is_up_takes_no_order_into_a_damaged_command_log(
    daemon: LiveDaemon, sound: Path, tmp_path: Path, loss: str
) -> None:
    """Runs train on and are shown as before; once the log has been put back as the daemon says, orders are taken."""
    (tmp_path / "short.yaml").write_text(SHORT)
    before = daemon.trainctl("list", "--all", "-o", "id").stdout
    step = await_training(daemon)
    LOSSES[loss](daemon.home / LOG)

    refused = daemon.trainctl("submit", tmp_path / "short.yaml")

    assert refused.returncode == 1, refused
    assert str(daemon.home / LOG) in refused.stderr
    assert REMEDIES[0] in refused.stderr
    assert daemon.trainctl("list", "--all", "-o", "id").stdout == before
    assert await_training(daemon, step) > step
    daemon.terminate()
    put_back(sound, daemon.home)
    daemon.start()
    assert daemon.trainctl("list", "--all", "-o", "id").stdout == before
    assert await_training(daemon, step) > step


def await_training(daemon: LiveDaemon, behind_step: int = 0) -> int:
    """The step of the run that trains, once it is behind the given one."""

    def look() -> int:
        [run] = daemon.trainctl("list", "-o", "id", "--state", "running").stdout.split() or [""]
        return int(daemon.look_at(run)["step"]) if run else 0

    return poll(lambda: step if (step := look()) > behind_step else 0, "a run trains")


def put_back(sound: Path, home: Path) -> None:
    for path in home.glob(f"{LOG}*"):
        path.unlink()
    shutil.copy(sound / LOG, home / LOG)


@pytest.mark.dies("the command log: lost, or an older copy")
def test_a_home_that_has_lost_command_log_and_state_never_shows_an_empty_queue_in_silence(
    daemon: LiveDaemon, home: Path
) -> None:
    """There is nothing left to tell what the run directories are: status says so until an order is given."""
    for database in (LOG, "state.sqlite"):
        LOSSES["deleted"](home / database)

    bare = LiveDaemon(home)

    try:
        status = bare.trainctl("status").stdout
        assert f"{home / 'runs'} holds {len(run_ids(home / 'runs'))} run directories" in status
        assert "put the command log back" in status
        assert "put the command log back" in (home / "up.log").read_text()
    finally:
        bare.terminate()
    assert len(run_ids(home / "runs")) == 5
