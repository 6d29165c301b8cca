"""One daemon for the tests of interruptions, where three runs train at the same time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from small_runs import SLOTS

from tests.acceptance.live_daemon import LiveDaemon


@pytest.fixture(scope="session")
def wide_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveDaemon]:
    home = tmp_path_factory.mktemp("wide")
    (home / "trainerd.toml").write_text(f"slots = {SLOTS}\n")
    daemon = LiveDaemon(home)
    yield daemon
    if daemon.is_up():
        daemon.trainctl("stop", "--all", "--no-checkpoint")
        daemon.terminate()


@pytest.fixture
def daemon(wide_daemon: LiveDaemon) -> LiveDaemon:
    """It is up, whatever the test before has done to it, and nothing is left to train."""
    if not wide_daemon.is_up():
        wide_daemon.start()
    wide_daemon.trainctl("stop", "--all", "--no-checkpoint")
    return wide_daemon
