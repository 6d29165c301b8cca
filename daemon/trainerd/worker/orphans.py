"""What a subreaper does about processes that have fallen to it: sees that a child has ended, and kills what is left."""

from __future__ import annotations

import logging
import os
import signal

_log = logging.getLogger(__name__)


def kill_orphan(orphan: int) -> bool:
    """Whether it could be killed; a setuid program may belong to somebody else."""
    try:
        os.kill(orphan, signal.SIGKILL)
    except PermissionError as error:
        _log.warning("process %d, which a trainer or an inspector has left behind, lives on: %s", orphan, error)
        return False
    return True


def peek_at_end() -> int | None:
    """The PID of some child that has ended, left unreaped; None if there is none."""
    try:
        end = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return end.si_pid if end else None
