"""A daemon without a control plane, and a worker host without torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_worker_host import FakeWorkerHost
from supervisor_harness import Daemon


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path)
    yield daemon
    if daemon.supervisor is not None and daemon.supervisor.poll() is None:
        daemon.kill_supervisor()
    daemon.commands.close()


@pytest.fixture
def host(daemon: Daemon) -> Iterator[FakeWorkerHost]:
    host = FakeWorkerHost(daemon.home.worker_socket)
    yield host
    host.close()
