"""One daemon for all tests that can share one, a fresh home for those that cannot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from control_harness import Daemon, small_daemon

from trainerd.contracts.places import Home


@pytest.fixture(scope="package")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with small_daemon(make_home(tmp_path_factory.mktemp("shared"))) as shared:
        yield shared


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


def make_home(directory: Path) -> Home:
    path = directory / "home"
    path.mkdir()
    return Home(path, path / "control.sock")
