"""`make demo`: a real run on real data, through the real programs, from nothing to early stopping.

It starts a daemon of its own in .demo/home, follows configs/overnight.yaml to its end, says where everything lies, and
takes the daemon down. It works without a terminal. Ctrl+C leaves the run with a checkpoint; closing the terminal leaves
it training. Either way the next `make demo` goes on with it instead of starting a new one.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo import build_digits, build_patches
from demo.report import describe_run

PROJECT = Path(__file__).resolve().parent.parent
DATA = PROJECT / "configs/data"
CONFIGURATION = PROJECT / "configs/overnight.yaml"
DETACHED = 130  # what trainctl exits with after Ctrl+C


def main() -> int:
    """Run the demo. The exit code is that of the run, as `trainctl wait` would give it."""
    given = arguments()
    noisy_error = build_data()
    if given.data:
        return 0
    daemon = Daemon(given.home.absolute())
    daemon.start()
    try:
        with interrupts_left_to_children():
            code = daemon.follow_run()
        if code != DETACHED and (run := daemon.latest_run()):
            print(describe_run(run, noisy_error), flush=True)
    finally:
        daemon.stop()
    if code == DETACHED:
        print("demo: the run has stopped at a checkpoint; `make demo` goes on from there")
    return code


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo.run", description=__doc__)
    parser.add_argument("--data", action="store_true", help="only build the data of configs/, into configs/data/")
    parser.add_argument(
        "--home", type=Path, default=PROJECT / ".demo/home", help="where the demo's daemon keeps its state"
    )
    return parser.parse_args()


def build_data() -> float:
    """Build the data of configs/ anew; returns the mean squared error of the noisy validation patches."""
    patches = build_patches.build(DATA / "mri_patches.h5")
    digits = build_digits.build(DATA / "digits.parquet")
    validation = patches.is_validation == 1
    print(
        f"demo: {len(validation)} patches of an MRI scan, {validation.sum()} of them for validation, "
        f"and {len(digits)} digits in {DATA.relative_to(PROJECT)}",
        flush=True,
    )
    return float(((patches.noisy[validation] - patches.clean[validation]) ** 2).mean())


@dataclass(frozen=True)
class Daemon:
    """The demo's own daemon, reached through the installed programs only, as a person would."""

    home: Path

    def start(self) -> None:
        """Start it, unless an earlier demo whose terminal was closed has left it at work."""
        if self.call("trainctl", "status", quietly=True).returncode == 0:
            return
        self.home.mkdir(parents=True, exist_ok=True)
        if self.call("trainerd", "up", "--detach", "--home", str(self.home)).returncode != 0:
            raise SystemExit("demo: the daemon did not start")

    def stop(self) -> None:
        """Take it down; a run that trains commits a checkpoint first."""
        self.call("trainerd", "down", "--home", str(self.home))

    def follow_run(self) -> int:
        """Follow the run that an earlier demo has left unfinished, else a new one; returns trainctl's exit code."""
        runs = json.loads(self.call("trainctl", "list", "-o", "json", quietly=True).stdout)
        unfinished = [run["id"] for run in runs if run["ended_at"] is None]
        if unfinished:
            print(f"demo: run {unfinished[0]} of the last demo goes on", flush=True)
            return self.call("trainctl", "follow", str(unfinished[0])).returncode
        return self.call("trainctl", "submit", str(CONFIGURATION), "--follow").returncode

    def latest_run(self) -> dict[str, Any] | None:
        """The newest run as `trainctl show` prints it; None where no run was ever accepted."""
        shown = self.call("trainctl", "show", "latest", "-o", "json", quietly=True)
        return json.loads(shown.stdout) if shown.returncode == 0 else None

    def call(self, program: str, *words: str, quietly: bool = False) -> subprocess.CompletedProcess[str]:
        """Run one of the installed programs against this daemon, with its output shown or (quietly) taken."""
        environment = {**os.environ, "TRAINERD_HOME": str(self.home)}
        environment.pop("TRAINERD_SOCKET", None)
        executable = Path(sys.executable).with_name(program)
        return subprocess.run([executable, *words], env=environment, capture_output=quietly, text=True, check=False)


@contextmanager
def interrupts_left_to_children() -> Iterator[None]:
    """Let Ctrl+C reach trainctl only, which detaches. A handler, not SIG_IGN: that one children would inherit."""
    previous = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


if __name__ == "__main__":
    sys.exit(main())
