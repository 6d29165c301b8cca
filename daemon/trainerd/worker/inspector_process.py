"""What an inspector does between its fork and its answer. Runs in the child only, once."""

from __future__ import annotations

import math
import os
import resource
from pathlib import Path

from trainerd.contracts.messages import Connection, Inspect
from trainerd.contracts.processes import set_process_title
from trainerd.worker.inspector import inspect

_MEMORY_BYTES = 8 << 30  # beyond what it shares with its host; a check computes on fake tensors and reads samples


def be_inspector(request: Inspect, connection: Connection, disk: Path) -> int:
    """Check `request` within its limits and answer with one line on `connection`. Returns the exit code.

    What user code prints goes to the worker host's standard error, never into the conversation.
    """
    os.dup2(2, 1)
    set_process_title("trainerd inspector")
    _limit(request.limit_seconds)
    connection.socket.settimeout(None)
    connection.send(inspect(request, disk))
    return 0


def _limit(seconds: float) -> None:
    """Bound processor time and private memory; the host's deadline bounds the time on the clock.

    RLIMIT_AS cannot do it: torch reserves far more addresses than it uses.
    """
    processor_seconds = math.ceil(seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (processor_seconds, processor_seconds))
    memory = _data_bytes() + _MEMORY_BYTES
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (memory if hard == resource.RLIM_INFINITY else min(memory, hard), hard))


def _data_bytes() -> int:
    """What counts against RLIMIT_DATA already: writable private memory, inherited from the host for the most part."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData:"))
    return int(line.split()[1]) << 10
