"""Whether the kernel has killed a trainer for want of memory: it tells nobody, but counts such kills by cgroup.

cgroup v2: `oom_kill` in memory.events; v1: `oom_kill` in memory.oom_control; where neither is there (the root cgroup,
no controller), the whole machine's count in /proc/vmstat.
"""

from __future__ import annotations

from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_WHOLE_MACHINE = Path("/proc/vmstat")


class OomKills:
    """The count of the cgroup that a process is in, from when it was first looked at."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._counter: Path | None = None
        self._before = 0
        self.look()

    def look(self) -> None:
        """Note which cgroup the process is in, while it lives: it may have been moved since.

        (Of a zombie nobody can tell: with v1 it is shown in the root cgroup.)
        """
        counter = counter_of(self._pid)
        if counter is not None and counter != self._counter:
            self._counter, self._before = counter, _count(counter)

    def have_risen(self) -> bool:
        """Whether the kernel has killed something there since."""
        return self._counter is not None and _count(self._counter) > self._before


def counter_of(pid: int) -> Path | None:
    """The file that counts the OOM kills of the process's cgroup; None where the process is gone."""
    try:
        memberships = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return None
    return next((file for file in map(_counter_in, memberships) if file and file.is_file()), _WHOLE_MACHINE)


def _counter_in(membership: str) -> Path | None:
    """`membership` is a line of /proc/PID/cgroup: hierarchy, controllers, path (cgroups(7))."""
    hierarchy, controllers, path = membership.split(":", 2)
    if hierarchy == "0":
        return _CGROUPS / path.lstrip("/") / "memory.events"
    if "memory" in controllers.split(","):
        return _CGROUPS / "memory" / path.lstrip("/") / "memory.oom_control"
    return None


def _count(counter: Path) -> int:
    try:
        words = counter.read_text().split()
    except OSError:
        return 0
    return int(words[words.index("oom_kill") + 1]) if "oom_kill" in words else 0
