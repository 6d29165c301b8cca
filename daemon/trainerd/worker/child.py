"""A child of the worker host: forked warm, in a Unix session of its own, dead as soon as its host is.

Holds what trainers and inspectors share between fork and exit. A child never returns into the host's frames.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass

from trainerd.contracts.processes import become_subreaper, die_with_parent

_HOST_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_HIGHEST_FD = 1 << 20


@dataclass(frozen=True)
class Child:
    """A living or unreaped child; `pidfd` becomes readable when it ends."""

    pid: int
    pidfd: int

    def fileno(self) -> int:
        return self.pidfd

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; one that has ended already gets none."""
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            return

    def reap(self) -> tuple[int | None, int | None]:
        """(exit code, None) or (None, signal) of a child that has ended; afterwards this record is used up."""
        end = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        os.close(self.pidfd)
        assert end is not None, "waitid without WNOHANG returns an end"
        return (end.si_status, None) if end.si_code == os.CLD_EXITED else (None, end.si_status)


def fork_child(become: Callable[[], int], keep_fds: Collection[int] = ()) -> Child:
    """Fork a child that does `become` and exits with what it returns; it inherits 0, 1, 2 and `keep_fds` alone.

    Signals wait from before the fork until the child has its own handlers, so that none of the child's reaches the
    host's wake-up descriptor. Raises OSError where the machine has no room for a process.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    host = os.getpid()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HOST_SIGNALS)
    try:
        pid = os.fork()
        if pid == 0:
            _live(become, keep_fds, host, before)
        return Child(pid, _open_pidfd(pid))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _open_pidfd(pid: int) -> int:
    """Where nobody could watch it or end it there is no child either. Raises OSError."""
    try:
        return os.pidfd_open(pid)
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def _live(become: Callable[[], int], keep_fds: Collection[int], host: int, mask: Collection[int]) -> None:
    """The child's whole life. Ends the process whatever happens, without unwinding the host's frames."""
    exit_code = 1
    try:
        die_with_parent(host, signal.SIGKILL)
        become_subreaper()  # whatever it starts stays below it, and falls to the host when it dies
        os.setsid()
        _leave_signals_of_host(mask)
        _close_all_but(keep_fds)
        exit_code = become()
    except BaseException:  # noqa: BLE001 - a trainer's or inspector's entry: nothing may unwind into the host
        traceback.print_exc()
    finally:
        _flush()
        os._exit(exit_code)


def _leave_signals_of_host(mask: Collection[int]) -> None:
    signal.set_wakeup_fd(-1)
    for number in _HOST_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _close_all_but(keep_fds: Collection[int]) -> None:
    """Whatever the host has open is its own: the socket, its connections, its other children, its lock."""
    lowest = 3
    for fd in sorted(keep_fds):
        os.closerange(lowest, fd)
        lowest = fd + 1
    os.closerange(lowest, _HIGHEST_FD)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue  # nobody is left to read it
