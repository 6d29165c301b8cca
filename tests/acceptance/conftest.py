"""One real daemon for all acceptance tests, on a home of its own, and the real trainctl against it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from live_daemon import LiveDaemon

from tests.small_disk import small_disk

SHORT = """\
name: short
data:
  kind: synthetic
  samples: 256
  inputs: {shape: [16]}
  targets: {shape: [1]}
  split: {val: 0.25, seed: 0}
  batch_size: 32
model: {name: mlp, args: {hidden: [16]}}
loss: {name: mse}
optimizer: {name: adamw, lr: 1e-3}
trainer: {max_epochs: 3, device: cpu}
resources: {cpus: 1}
"""
ENDLESS = SHORT.replace("short", "endless").replace("max_epochs: 3", "max_epochs: 1000000")


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveDaemon]:
    daemon = LiveDaemon(tmp_path_factory.mktemp("home"))
    yield daemon
    daemon.terminate()


@pytest.fixture(autouse=True)
def _daemon_is_up(request: pytest.FixtureRequest) -> None:
    """A test that fails while it has the daemon down fails alone."""
    if "daemon" in request.fixturenames and not request.getfixturevalue("daemon").is_up():
        request.getfixturevalue("daemon").start()


@pytest.fixture(scope="session")
def small_daemon() -> Iterator[LiveDaemon]:
    """A daemon whose home is a small disk of its own, and lies where every user can get to (root only)."""
    with small_disk(megabytes=16) as home:
        daemon = LiveDaemon(home)
        yield daemon
        daemon.terminate()


@pytest.fixture
def short(tmp_path: Path) -> Path:
    """A run that has ended in a moment."""
    return _written(tmp_path / "short.yaml", SHORT)


@pytest.fixture
def endless(tmp_path: Path, daemon: LiveDaemon) -> Iterator[Path]:
    """A run that goes on until it is stopped; what is left of it is stopped after the test."""
    yield _written(tmp_path / "endless.yaml", ENDLESS)
    daemon.trainctl("stop", "--all", "--no-checkpoint")


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
