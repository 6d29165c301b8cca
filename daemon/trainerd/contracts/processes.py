"""What Linux knows about processes and Python does not wrap: parents that die, titles, sessions.

Light (standard library only) and without state. Sources: prctl(2), proc(5), setsid(2).
"""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_PARENT, _SESSION, _ARG_START, _ARG_END = 4, 6, 48, 49  # fields of /proc/PID/stat, counted from 1
_STATES = {"R": "running", "S": "asleep", "D": "waiting for a device", "T": "stopped", "t": "traced", "Z": "a zombie"}


def die_with_parent(parent: int, signal_number: signal.Signals) -> None:
    """Have the kernel send this process `signal_number` when process `parent` dies; exit where it is dead already.

    The kernel watches the thread that made this process, so `parent` has to fork from its main thread.
    """
    _prctl(_PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent:
        os._exit(128 + signal_number)


def become_subreaper() -> None:
    """Adopt the orphans among this process's descendants, so that none escapes from below it."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def set_process_title(title: str) -> None:
    """Show `title` in `ps -o args`, cut to the room of the command line, and its first 15 bytes in `ps -o comm`."""
    encoded = title.encode()
    _prctl(_PR_SET_NAME, encoded)
    fields = _fields_after_name("self")
    start, end = int(fields[_ARG_START - 3]), int(fields[_ARG_END - 3])
    # The kernel shows these bytes of our own stack as /proc/PID/cmdline; the last one has to stay NUL.
    ctypes.memset(start, 0, end - start)
    ctypes.memmove(start, encoded, min(len(encoded), end - start - 1))


def living_members_of_session(session: int) -> list[int]:
    """The processes of a Unix session that can still run: neither zombies nor dead."""
    return _living_processes(_SESSION, session)


def living_children_of(parent: int) -> list[int]:
    """The children of a process that can still run, adopted orphans included."""
    return _living_processes(_PARENT, parent)


def _living_processes(field: int, value: int) -> list[int]:
    """The processes that can still run and have this value in this field of /proc/PID/stat."""
    found = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            fields = _fields_after_name(entry.name)
        except OSError:
            continue  # it ended while we looked
        if int(fields[field - 3]) == value and fields[0] not in "ZX":
            found.append(int(entry.name))
    return found


def is_alive(pid: int) -> bool:
    """Whether a process `pid` exists and can still run."""
    try:
        return _fields_after_name(str(pid))[0] not in "ZX"
    except OSError:
        return False


def state_of(pid: int) -> str:
    """What a process does, in a word (proc(5))."""
    try:
        letter = _fields_after_name(str(pid))[0]
    except OSError:
        return "gone"
    return _STATES.get(letter, f"in state {letter}")


def name_of_signal(number: int) -> str:
    """SIGKILL for 9; most real-time signals have no name of their own."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _fields_after_name(pid: str) -> list[str]:
    """Fields 3 and later of /proc/PID/stat: the name before them may hold anything, so its last bracket counts."""
    return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()


def _prctl(option: int, argument: int | bytes) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    value = ctypes.c_char_p(argument) if isinstance(argument, bytes) else ctypes.c_ulong(argument)
    unused = ctypes.c_ulong(0)
    if libc.prctl(option, value, unused, unused, unused) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
