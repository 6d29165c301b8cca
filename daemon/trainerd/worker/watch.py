"""The worker host's eye on one living trainer: is it silent, what does it use, what has killed it.

Looks at its pulse page and at /proc from outside, so it sees a trainer that holds the GIL, is stopped, or waits for a
disk. It takes the stacks of one that stalls, kills one that hangs, and cuts the log of one that says too much.
"""

from __future__ import annotations

import json
import logging
import os
import signal
from collections import deque
from pathlib import Path
from typing import Any

from trainerd.contracts.journal import now
from trainerd.contracts.messages import Start
from trainerd.contracts.outcome import CRASHED
from trainerd.contracts.pages import Phase, Pulse, read_pulse
from trainerd.contracts.processes import state_of
from trainerd.contracts.run_directory import RunDirectory
from trainerd.contracts.states import Reason
from trainerd.worker.child import Child
from trainerd.worker.ending import Ending
from trainerd.worker.liveness import Health, Liveness, PhaseTimes
from trainerd.worker.log_rotation import limit_log
from trainerd.worker.oom_kills import OomKills

_log = logging.getLogger(__name__)
_VITALS_SECONDS = 10.0  # between two points of the history
_VITALS_KEPT = 360  # points: the last hour
_STACKS_SECONDS = 1.0  # that a hung trainer gets for writing its stacks, before it is killed
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class TrainerWatch:
    """What is seen of one attempt. The host's loop calls `look` about once a second."""

    def __init__(self, start: Start, child: Child, times: PhaseTimes, hang_seconds: float) -> None:
        self._start = start
        self._child = child
        self._directory = RunDirectory(Path(start.run_dir))
        self._liveness = Liveness(times, hang_seconds)
        self._oom_kills = OomKills(child.pid)
        self._vitals: deque[dict[str, Any]] = deque(maxlen=_VITALS_KEPT)
        self._next_vitals_at = 0.0
        self._doomed_at: float | None = None  # when it was found hung
        self._cause: Ending | None = None
        self.health = Health.FINE

    def look(self, at: float) -> bool:
        """Look at it at `at` (time.monotonic()) and do what its silence calls for; whether its health has changed."""
        self._oom_kills.look()
        self._limit_log()
        pulse = read_pulse(self._directory.pulse_page, self._start.attempt)
        before = self.health
        health = self._liveness.look(pulse, at)
        self.health = health if self._doomed_at is None else Health.HUNG
        if at >= self._next_vitals_at or health is not before:
            self._next_vitals_at = at + _VITALS_SECONDS
            self._vitals.append(self._describe(pulse))
        if self._doomed_at is not None:
            self._kill_once_stacks_are_taken(at)
        elif health is Health.HUNG:
            self._doomed_at = at
            self._give_up(pulse)
        elif health is not before:
            self._tell(pulse)
        return self.health is not before

    def cause_of_kill(self) -> Ending | None:
        """Why it was killed (SIGKILL), as far as this host knows."""
        if self._cause is None and self._oom_kills.have_risen():
            why = "the kernel killed the trainer (SIGKILL): the machine, or its cgroup, was out of memory"
            return Ending(CRASHED, Reason.OUT_OF_MEMORY, why)
        return self._cause

    def is_saving(self, within_seconds: float) -> bool:
        """Whether it brings a checkpoint to disk, and has made progress with it not longer ago than this."""
        return self._liveness.phase is Phase.CHECKPOINT and self._liveness.silent_seconds < within_seconds

    def write_vitals(self) -> None:
        """Leave the history of this attempt in its run directory. Raises OSError."""
        self._directory.vitals(self._start.attempt).write_text(
            "".join(json.dumps(point) + "\n" for point in self._vitals)
        )

    def _limit_log(self) -> None:
        try:
            limit_log(self._directory)
        except OSError as error:
            _log.warning("run %d: its log cannot be cut: %s", self._start.run, error)

    def _describe(self, pulse: Pulse | None) -> dict[str, Any]:
        return {
            "time": now(),
            "step": pulse.step if pulse else None,
            "phase": self._phase(pulse),
            "silent_seconds": round(self._liveness.silent_seconds, 1),
            "resident_bytes": _resident_bytes(self._child.pid),
        }

    def _phase(self, pulse: Pulse | None) -> str:
        return (pulse.phase if pulse else Phase.OPENING).name.lower()

    def _tell(self, pulse: Pulse | None) -> None:
        run, attempt = self._start.run, self._start.attempt
        if self.health is Health.FINE:
            _log.info("run %d attempt %d shows signs of life again", run, attempt)
            return
        _log.warning("run %d attempt %d is stalled: %s", run, attempt, self._silence(pulse))
        self._ask_for_stacks(pulse)

    def _give_up(self, pulse: Pulse | None) -> None:
        """Take the stacks of a trainer that hangs; one that was stopped has to go on for that."""
        why = f"the trainer hung and was killed: {self._silence(pulse)}"
        self._cause = Ending(CRASHED, Reason.HANG, why)
        _log.error("run %d attempt %d: %s", self._start.run, self._start.attempt, why)
        self._ask_for_stacks(pulse)
        self._child.send(signal.SIGCONT)

    def _kill_once_stacks_are_taken(self, at: float) -> None:
        if self._doomed_at is not None and at >= self._doomed_at + _STACKS_SECONDS:
            self._child.send(signal.SIGKILL)

    def _ask_for_stacks(self, pulse: Pulse | None) -> None:
        """Write what is seen from outside, and have the trainer write its own stacks behind it (faulthandler).

        Without the file it has no handler yet, and SIGUSR1 would end it.
        """
        stacks_file = self._directory.stacks(self._start.attempt)
        if not stacks_file.exists():
            return
        try:
            with open(stacks_file, "a") as stacks:
                stacks.write(f"{now()} {self._silence(pulse)}; {_describe_process(self._child.pid)}\n")
        except OSError as error:
            _log.warning("run %d: %s", self._start.run, error)
        self._child.send(signal.SIGUSR1)

    def _silence(self, pulse: Pulse | None) -> str:
        where = f" at step {pulse.step}" if pulse and pulse.step else ""
        return f"no sign of life for {self._liveness.silent_seconds:.0f} s in phase {self._phase(pulse)}{where}"


def _describe_process(pid: int) -> str:
    """What the kernel says of it: its state, and what it waits for (proc(5), wchan)."""
    try:
        waits_for = Path(f"/proc/{pid}/wchan").read_text().strip("0\n")
    except OSError:
        waits_for = ""
    return f"process {pid} is {state_of(pid)}" + (f", waiting in {waits_for}" if waits_for else "")


def _resident_bytes(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError):
        return None
