"""A daemon that is up, and the ways in which people reach it: trainctl through pipes, and trainctl on a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from tests.polling import poll
from trainctl.daemon import Daemon
from trainerd.contracts.run_directory import RunDirectory

Json = dict[str, Any]


class LiveDaemon:
    """Orders and questions, each through a trainctl process of its own."""

    def __init__(self, home: Path, environment: Mapping[str, str] | None = None) -> None:
        self.home = home
        self.environment = {**own_environment(), **(environment or {}), "TRAINERD_HOME": str(home)}
        self.start()

    def start(self) -> None:
        """`trainerd up` in a session of its own; ready when this returns."""
        log_path = self.home / "up.log"
        with open(log_path, "wb") as log:
            self._up = subprocess.Popen(
                ["trainerd", "up"], env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        poll(
            lambda: "ready" in log_path.read_text() or self._up.poll() is not None, "the daemon gets ready", seconds=60
        )
        assert self._up.poll() is None, log_path.read_text()

    def is_up(self) -> bool:
        return self._up.poll() is None

    @property
    def pid(self) -> int:
        """Of `trainerd up`."""
        return self._up.pid

    def await_death(self) -> None:
        """However it ends."""
        self._up.wait(timeout=60)

    def await_end(self) -> None:
        """Whatever it was that asked it to end, it ends with 0."""
        assert self._up.wait(timeout=60) == 0, (self.home / "up.log").read_text()

    def terminate(self) -> None:
        self._up.terminate()
        self.await_end()

    def process(self, title: str) -> psutil.Process | None:
        """The living process of the daemon that `ps` shows as `title`."""
        children = psutil.Process(self._up.pid).children()
        return next((child for child in children if " ".join(child.cmdline()).startswith(title)), None)

    def trainctl(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        words = ["trainctl", *map(str, arguments)]
        return subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=60, check=False)

    def submit(self, *arguments: str | Path) -> str:
        """The id of a run that has been queued."""
        queued = self.trainctl("submit", *arguments)
        assert queued.returncode == 0, queued.stderr
        return queued.stdout.strip()

    def show(self, run: str) -> Json:
        shown = self.trainctl("show", run, "-o", "json")
        assert shown.returncode == 0, shown.stderr
        document: Json = json.loads(shown.stdout)
        return document

    def directory(self, run: str) -> RunDirectory:
        """Where the run's files are."""
        return RunDirectory(self.home / "runs" / run)

    def look_at(self, run: str) -> Json:
        """The same as `show`, without a process of its own: for looking again and again."""
        return Daemon([self.home / "control.sock"]).run(run)

    def await_step(self, run: str, step: int) -> Json:
        """The run once it has done at least `step` steps. (The step is live; the process is known a moment later.)"""

        def look() -> Json | None:
            found = self.look_at(run)
            assert found["state"] in ("queued", "starting", "running"), found
            return found if found["step"] >= step and found["pids"] else None

        found = poll(look, f"run {run} gets to step {step}")
        assert found is not None
        return found

    def metrics(self, run: str) -> list[Json]:
        return [json.loads(line) for line in self.trainctl("metrics", run, "-o", "jsonl").stdout.splitlines()]


@contextmanager
def daemon_with_settings(home: Path, settings: str) -> Iterator[LiveDaemon]:
    """A daemon on `home` with this trainerd.toml; it is down behind the block, whatever it was training."""
    (home / "trainerd.toml").write_text(settings)
    daemon = LiveDaemon(home)
    yield daemon
    if daemon.is_up():
        daemon.trainctl("stop", "--all", "--no-checkpoint")
        daemon.terminate()


def own_environment() -> dict[str, str]:
    """This process's environment, where `trainerd` and `trainctl` are the installed programs and know of no daemon."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRAINERD_")}
    return environment | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def what_is_queued(daemon: LiveDaemon) -> tuple[str, list[str]]:
    """Every run that the daemon knows, and every run directory."""
    directories = [path.name for path in (daemon.home / "runs").glob("*")]
    return daemon.trainctl("list", "--all", "-o", "id").stdout, sorted(directories)


class Terminal:
    """trainctl in a Unix session of its own, with a pseudo-terminal as its controlling terminal."""

    def __init__(self, daemon: LiveDaemon, *arguments: str | Path) -> None:
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        self.process = subprocess.Popen(
            ["trainctl", *map(str, arguments)],
            env={**daemon.environment, "TERM": "xterm"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self.shown = ""

    def read_until(self, text: str, seconds: float = 30.0) -> None:
        """Read what is shown until `text` has appeared."""
        deadline = time.monotonic() + seconds
        while text not in self.shown:
            left = deadline - time.monotonic()
            assert left > 0, f"{text!r} was not shown within {seconds} s:\n{self.shown}"
            if select.select([self._master], [], [], left)[0] and not self._read():
                raise AssertionError(f"trainctl ended before it showed {text!r}:\n{self.shown}")

    def press_ctrl_c(self) -> None:
        """What the key does: the terminal sends SIGINT to the whole foreground process group."""
        self.press("\x03")

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def read_to_the_end(self) -> int:
        """Read everything; trainctl's exit code."""
        while self._read():
            pass
        return self.process.wait(timeout=30)

    def close(self) -> int:
        """Close the window: the kernel sends SIGHUP to the session. trainctl's exit code, negative for a signal."""
        os.close(self._master)
        return self.process.wait(timeout=30)

    def _read(self) -> bytes:
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:  # EIO: nobody has the terminal open any more
            data = b""
        self.shown += data.decode("utf-8", "replace")
        return data
