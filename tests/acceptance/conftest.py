"""One real daemon for all acceptance tests, on a home of its own, and the real trainctl against it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_daemon import LiveDaemon, poll

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
    """`trainerd up` in a session of its own; SIGTERM at the end must end it with 0."""
    home = tmp_path_factory.mktemp("home")
    environment = {name: value for name, value in os.environ.items() if name != "TRAINERD_SOCKET"}
    environment |= {"TRAINERD_HOME": str(home), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with open(home / "up.log", "wb") as log:
        up = subprocess.Popen(["trainerd", "up"], env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        poll(
            lambda: "ready" in (home / "up.log").read_text() or up.poll() is not None,
            "the daemon gets ready",
            seconds=60,
        )
        assert up.poll() is None, (home / "up.log").read_text()
        yield LiveDaemon(home, environment, up.pid)
    finally:
        up.terminate()
        assert up.wait(timeout=60) == 0, (home / "up.log").read_text()


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
