"""What the daemon costs while nothing trains: the resident memory of supervisor and control plane together.

Resident (VmRSS) counts pages that both share twice, so the goal is met with room to spare; the proportional share (Pss)
of each process is given beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figure import Figure
from benchmarks.own_daemon import own_daemon

GOAL_MEGABYTES = 150
PROCESSES = ("supervisor", "control")


def measure() -> Iterator[Figure]:
    with own_daemon() as daemon:
        daemon.call("trainctl", "status")
        pids = {name: int(daemon.home.lock(name).read_text()) for name in (*PROCESSES, "worker")}
        resident = {name: resident_megabytes(pid) for name, pid in pids.items()}
        shares = {name: proportional_megabytes(pid) for name, pid in pids.items()}
    yield Figure(
        "supervisor + control plane, resident",
        sum(resident[name] for name in PROCESSES),
        unit="MB",
        at_most=GOAL_MEGABYTES,
        parts={name: f"{resident[name]:.0f} MB resident, {shares[name]:.0f} MB proportional" for name in pids},
    )


def resident_megabytes(pid: int) -> float:
    """VmRSS of /proc/PID/status, in 10**6 bytes (proc_pid_status(5))."""
    return _kibibytes(Path(f"/proc/{pid}/status"), "VmRSS") * 1024 / 1e6


def proportional_megabytes(pid: int) -> float:
    """Pss of /proc/PID/smaps_rollup, in 10**6 bytes: shared pages divided among those that share them."""
    return _kibibytes(Path(f"/proc/{pid}/smaps_rollup"), "Pss") * 1024 / 1e6


def _kibibytes(path: Path, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", path.read_text(), re.MULTILINE)
    if found is None:
        raise ValueError(f"{path}: no line {name}")
    return int(found[1])
