"""One process of the embedded daemon: started, watched, and started again when it dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping

from trainerd.contracts.processes import die_with_parent, name_of_signal
from trainerd.contracts.silence import Silence

NAMES = ("supervisor", "control", "worker")

_STEADY_SECONDS = 1.0  # one that has come up, and has lived this long, did not die of its own start
_LONGEST_LOOK_SECONDS = 2.0
_SHORTEST_SECONDS = 0.1
_LONGEST_SECONDS = 10.0


def seconds_before_restart(waited_seconds: float, *, was_steady: bool) -> float:
    """How long to wait before a restart: longer each time while it dies at its start, not at all otherwise."""
    if was_steady:
        return 0.0
    return min(_LONGEST_SECONDS, max(_SHORTEST_SECONDS, waited_seconds * 2))


class Part:
    """A process `trainerd NAME` in a Unix session of its own, so that a terminal's Ctrl+C does not reach it.

    If the daemon that started it is killed, the kernel asks it to end in an orderly way (SIGTERM).
    """

    def __init__(self, name: str, environment: Mapping[str, str], watchdog_seconds: float | None) -> None:
        """`watchdog_seconds`: how long it may show no sign of life; None where it shows none."""
        self.name = name
        self._watchdog_seconds = watchdog_seconds
        self._silence = Silence(_LONGEST_LOOK_SECONDS)
        self.failed_starts = 0  # deaths in a row at the start
        self.has_come_up = False  # it listens
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0  # time.monotonic(), as the next
        self._restart_at = 0.0
        self._waited_seconds = 0.0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        daemon = os.getpid()
        self._started_at = time.monotonic()
        self.has_come_up = False
        self._silence = Silence(_LONGEST_LOOK_SECONDS)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "trainerd.main", self.name],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=lambda: die_with_parent(daemon, signal.SIGTERM),
        )

    def note_death(self) -> str | None:
        """Why it died, told once, and plans its restart; None while it lives or waits for the restart."""
        if self._process is None or self._process.poll() is None:
            return None
        exit_code = self._process.returncode
        was_steady = self.has_come_up and time.monotonic() - self._started_at >= _STEADY_SECONDS
        self.failed_starts = 0 if was_steady else self.failed_starts + 1
        self._waited_seconds = seconds_before_restart(self._waited_seconds, was_steady=was_steady)
        self._restart_at = time.monotonic() + self._waited_seconds
        self._process = None
        return f"was killed by {name_of_signal(-exit_code)}" if exit_code < 0 else f"exited with {exit_code}"

    def kill_if_silent(self, *, has_spoken: bool) -> float | None:
        """Count one look; where it has been silent for too long it is killed, and this returns for how long.

        One that comes up is given its time.
        """
        self._silence.look(time.monotonic(), has_spoken=has_spoken or not self.has_come_up)
        if self._watchdog_seconds is None or self._process is None or self._silence.seconds < self._watchdog_seconds:
            return None
        self._process.kill()
        silent_seconds, self._silence = self._silence.seconds, Silence(_LONGEST_LOOK_SECONDS)
        return silent_seconds

    def restart_if_due(self) -> None:
        if self._process is None and time.monotonic() >= self._restart_at:
            self.start()

    def ask_to_end(self) -> None:
        if self._process:
            self._process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float) -> bool:
        """Whether it has ended, at the latest after `seconds`."""
        try:
            if self._process:
                self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
