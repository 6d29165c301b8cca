"""One daemon for the tests of interruptions, where three runs train at the same time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from small_runs import SLOTS

from tests.acceptance.live_daemon import LiveDaemon, daemon_with_settings


@pytest.fixture(scope="session")
def wide_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveDaemon]:
    with daemon_with_settings(tmp_path_factory.mktemp("wide"), f"slots = {SLOTS}\n") as daemon:
        yield daemon


@pytest.fixture
def daemon(wide_daemon: LiveDaemon) -> LiveDaemon:
    """It is up, whatever the test before has done to it, and nothing is left to train."""
    if not wide_daemon.is_up():
        wide_daemon.start()
    wide_daemon.trainctl("stop", "--all", "--no-checkpoint")
    return wide_daemon
