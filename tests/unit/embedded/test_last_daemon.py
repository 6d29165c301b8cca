"""Starting a daemon where the last one has not quite ended."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainerd.contracts.errors import AlreadyRunning
from trainerd.contracts.places import Home
from trainerd.embedded.last_daemon import wait_for_last_daemon

HOLD = """
import sys
from pathlib import Path
from trainerd.contracts.locks import PlaceLock
lock = PlaceLock(Path(sys.argv[1]), "worker host")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path, tmp_path / "control.sock")


@pytest.fixture
def worker_host(home: Home) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the worker host's place until its standard input is closed."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", HOLD, str(home.lock("worker"))]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_nothing_is_said_where_nobody_is_left(home: Home) -> None:
    said: list[str] = []

    wait_for_last_daemon(home, patience_seconds=0.0, say=said.append)

    assert said == []


def test_what_still_saves_is_named_once_and_waited_for(home: Home, worker_host: subprocess.Popen[str]) -> None:
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        assert worker_host.stdin is not None
        worker_host.stdin.close()

    wait_for_last_daemon(home, patience_seconds=60.0, say=say)

    [text] = said
    assert f"waiting for process {worker_host.pid} of the last daemon" in text
    assert worker_host.wait(10) == 0


def test_what_does_not_end_is_named_in_the_refusal(home: Home, worker_host: subprocess.Popen[str]) -> None:
    with pytest.raises(AlreadyRunning, match=f"trainerd worker .*process {worker_host.pid}"):
        wait_for_last_daemon(home, patience_seconds=0.0, say=lambda _: None)
