"""Into the background: a fork in a Unix session of its own, whose caller waits until it is ready."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from trainerd.contracts.errors import ExitCode


def run_detached(work: Callable[[Callable[[], None]], int], log: Path) -> int:
    """Do `work` in the background with its output in `log`; 0 once it calls the function that it is given.

    Returns in the caller only: the background process exits with what `work` returns. Where that comes first, so does
    this; an end before it was ready is never a 0.
    """
    ready, announce = os.pipe()
    sys.stderr.flush()
    background = os.fork()
    if background == 0:
        os.close(ready)
        _live_in_background(work, announce, log)
    os.close(announce)
    if os.read(ready, 1):
        return 0
    _, status = os.waitpid(background, 0)
    exit_code = os.waitstatus_to_exitcode(status)
    return exit_code if exit_code > 0 else ExitCode.FAILED


def _live_in_background(work: Callable[[Callable[[], None]], int], announce: int, log: Path) -> None:
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)

    def announce_ready() -> None:
        os.write(announce, b"\n")
        os.close(announce)

    sys.exit(work(announce_ready))
