"""Worker hosts in processes of their own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from worker_harness import Host


def start_stand_in(home: Path) -> Host:
    script = Path(__file__).with_name("stand_in_host.py")
    return Host(home, [sys.executable, str(script), str(home), "1.0"])


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """One host with stand-in trainers for all tests of a module."""
    host = start_stand_in(tmp_path_factory.mktemp("home"))
    yield host
    host.kill()


@pytest.fixture
def new_host(tmp_path: Path) -> Iterator[Host]:
    """A host with stand-in trainers for one test, which may end it."""
    host = start_stand_in(tmp_path)
    yield host
    host.kill()
