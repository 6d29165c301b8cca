"""A daemon of the benchmarks' own, in a temporary home, warm when it is handed over."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trainerd.contracts.places import Home, daemon_home


@dataclass(frozen=True)
class OwnDaemon:
    """A running daemon; `call` gives it orders as a person would."""

    home: Home

    def call(self, program: str, *words: str) -> str:
        """The standard output of one of the installed programs. Raises CalledProcessError if it fails."""
        executable = str(Path(sys.executable).with_name(program))
        places = {"TRAINERD_HOME": str(self.home.path), "TRAINERD_SOCKET": str(self.home.control_socket)}
        environment = {**os.environ, **places}
        return subprocess.run([executable, *words], env=environment, check=True, capture_output=True, text=True).stdout


@contextmanager
def own_daemon() -> Iterator[OwnDaemon]:
    """Start a daemon in a temporary home, and take it down at the end."""
    with tempfile.TemporaryDirectory() as folder:
        daemon = OwnDaemon(daemon_home({}, folder))
        daemon.call("trainerd", "up", "--detach", "--home", folder)
        try:
            yield daemon
        finally:
            daemon.call("trainerd", "down", "--home", folder)
