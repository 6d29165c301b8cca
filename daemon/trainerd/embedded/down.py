"""`trainerd down`: asks the daemon of a home to end, and waits for it."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable

from trainerd.contracts.locks import holder_of
from trainerd.contracts.places import Home


def stop_daemon(home: Home, say: Callable[[str], None]) -> int:
    """End the daemon of `home` if there is one; returns 0 once there is none."""
    pid = holder_of(home.lock("up"))
    if pid is None:
        say(f"no daemon runs on {home.path}")
        return 0
    try:
        daemon = os.pidfd_open(pid)
        signal.pidfd_send_signal(daemon, signal.SIGTERM)
    except ProcessLookupError:
        say(f"the daemon of {home.path} has just ended")
        return 0
    say(f"waiting for process {pid}: every run commits a checkpoint first")
    select.select([daemon], [], [])
    os.close(daemon)
    say(f"the daemon of {home.path} has ended; trainerd up goes on with its runs")
    return 0
