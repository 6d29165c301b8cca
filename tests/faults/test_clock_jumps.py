"""The wall clock is set a year ahead or back while runs train: it is for people, and nothing is decided by it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import psutil
import pytest
from mixed_runs import CRASHING, CRASHING_NET
from test_random_kills import ENDLESS, SHORT

from tests.acceptance.live_daemon import LiveDaemon
from tests.frozen_trainer import events
from tests.polling import poll
from trainerd.contracts.processes import is_alive
from trainerd.contracts.run_directory import RunDirectory

pytestmark = pytest.mark.system
LIBRARY = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"  # Debian package libfaketime
BACKOFF_SECONDS = 4.0


class WallClock:
    """The wall clock of a daemon, and of it alone: what it shows beside the true time can be changed at any moment."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.set("+0")
        self.environment = {
            "LD_PRELOAD": LIBRARY,
            "FAKETIME_TIMESTAMP_FILE": str(path),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",  # the times of files are the kernel's
        }

    def set(self, offset: str) -> None:
        """Another file in the place of the old one: no process ever reads half an offset."""
        new = self._path.with_name("new offset")
        new.write_text(offset + "\n")
        new.rename(self._path)


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WallClock:
    clock = WallClock(tmp_path / "offset")
    for name, value in clock.environment.items():
        monkeypatch.setenv(name, value)
    return clock


@pytest.fixture
def daemon(tmp_path: Path, clock: WallClock) -> Iterator[LiveDaemon]:
    home = tmp_path / "home"
    home.mkdir()
    (home / "trainerd.toml").write_text("slots = 2\n")
    daemon = LiveDaemon(home)
    yield daemon
    daemon.trainctl("kill", "--all")
    parts = psutil.Process(daemon.pid).children()
    psutil.Process(daemon.pid).kill()  # libfaketime breaks Python's sleep, with which it would wait for its parts
    daemon.await_death()
    poll(lambda: not any(is_alive(part.pid) for part in parts), "the parts end by themselves", seconds=60)


@pytest.fixture
def configurations(tmp_path: Path) -> Path:
    (tmp_path / "crashing_net.py").write_text(CRASHING_NET)
    crashing = CRASHING.replace(
        "max_failures: 2, backoff_seconds: 0.1", f"max_failures: 3, backoff_seconds: {BACKOFF_SECONDS}"
    )
    for name, text in (("short", SHORT), ("endless", ENDLESS), ("crashing", crashing)):
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


@pytest.mark.parametrize("offset", ["+365d", "-365d", "-1h"])
def test_nothing_times_out_is_killed_reordered_or_waits_for_a_year(
    daemon: LiveDaemon, clock: WallClock, configurations: Path, offset: str
) -> None:
    """One run trains, one waits for its retry, two wait in the queue; one more is submitted after the jump."""
    training = daemon.submit(configurations / "endless.yaml")
    crashing = daemon.submit(configurations / "crashing.yaml")
    queued = [daemon.submit(configurations / "short.yaml") for _ in range(2)]
    step = daemon.await_step(training, 1)["step"]
    poll(lambda: waits_for_its_second_retry(daemon, crashing), "a run waits for its retry")

    clock.set(offset)

    after_the_jump = daemon.submit(configurations / "short.yaml")
    poll(lambda: daemon.look_at(crashing)["state"] == "failed", "the retry has come", seconds=30)
    assert daemon.look_at(crashing)["attempt"] == 3
    assert daemon.trainctl("wait", *queued, after_the_jump, "--timeout", "30").returncode == 0
    starts = [first_start(daemon, run) for run in [*queued, after_the_jump]]
    assert starts == sorted(starts), "in the order of the queue"
    shown = daemon.await_step(training, step + 100)
    assert (shown["state"], shown["attempt"]) == ("running", 1)
    assert 0 <= shown["beat_age_seconds"] < 60
    assert daemon.trainctl("pause", training).returncode == 0
    assert abs(jump_seen(daemon, training)) > 3000, "the trainer's wall clock has jumped"
    assert daemon.trainctl("resume", training).returncode == 0


def waits_for_its_second_retry(daemon: LiveDaemon, run: str) -> bool:
    shown = daemon.look_at(run)
    return bool(shown["state"] == "retrying" and shown["attempt"] == 2)


def first_start(daemon: LiveDaemon, run: str) -> str:
    """All of them started behind the jump."""
    return str(events(RunDirectory(daemon.home / "runs" / run), "starting")[0]["time"])


def jump_seen(daemon: LiveDaemon, run: str) -> float:
    """Seconds between the trainer's start and its pause, as it has written them down."""
    started, *_, paused = events(RunDirectory(daemon.home / "runs" / run), "started", "paused")
    return (datetime.fromisoformat(paused["time"]) - datetime.fromisoformat(started["time"])).total_seconds()
